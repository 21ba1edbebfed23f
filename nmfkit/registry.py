"""What is installed: loads entry points one by one, so that a broken plugin never takes the tool down."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

import pluggy

from nmfkit.errors import PluginError, UsageError
from nmfkit.hookspecs import GROUP, KINDS, Hooks, PartSpec, ReaderSpec
from nmfkit.parts import PartText, build, canonical, suggestion

SELECT = "NMFKIT_PLUGINS"
"""Environment variable: a comma list of the entry points or distributions to load; empty loads none."""


@dataclass(frozen=True)
class Registered:
    """A part on offer: its descriptor, kind, and where it comes from."""

    kind: str
    spec: PartSpec | ReaderSpec
    distribution: str
    version: str
    entry_point: str

    @property
    def name(self) -> str:
        """The name that users type, in canonical form."""
        return canonical(self.spec.name)

    def load(self) -> Any:
        """The factory, imported now; raises `PluginError` with the plugin's own traceback."""
        if not isinstance(self.spec.factory, str):
            return self.spec.factory
        module, _, attribute = self.spec.factory.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except Exception as error:
            raise PluginError(
                f"{self.kind} {self.name!r} of {self.distribution} {self.version} cannot be loaded from "
                f"{self.spec.factory!r}:\n{traceback.format_exc()}"
            ) from error

    def build(self, text: PartText, **given: Any) -> Any:
        """The part that `text` describes; `given` are parameters that are not the user's to write."""
        return build(self.load(), text, kind=self.kind, preset=self.spec.preset, given=given)


@dataclass(frozen=True)
class Broken:
    """A plugin, or one hook of it, that failed to load."""

    entry_point: str
    distribution: str
    version: str
    traceback: str

    @property
    def reason(self) -> str:
        """The last line of the traceback."""
        return self.traceback.strip().splitlines()[-1]


@dataclass
class Registry:
    """Every part of every loaded plugin, by kind and name, and the plugins that could not be loaded."""

    claims: dict[tuple[str, str], list[Registered]] = field(default_factory=dict)
    """Who claims each (kind, name or alias): one part, unless two plugins chose the same."""
    broken: list[Broken] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    """Version of each distribution that offers plugins."""

    def of_kind(self, kind: str) -> list[Registered]:
        """All parts of a kind, sorted by name."""
        found = {id(p): p for (k, _), parts in self.claims.items() if k == kind for p in parts}
        return sorted(found.values(), key=lambda p: (p.name, p.distribution))

    def readers(self) -> list[Registered]:
        """All readers; their `spec` is a `ReaderSpec`."""
        return self.of_kind("reader")

    def names(self, kind: str) -> list[str]:
        """All names of a kind, aliases included."""
        return sorted(name for k, name in self.claims if k == kind)

    def get(self, kind: str, name: str) -> Registered:
        """The part of that name; raises `UsageError` with close names, or `PluginError` where two claim it."""
        key = (kind, canonical(name))
        claims = self.claims.get(key, [])
        if not claims:
            raise UsageError(self._unknown(kind, name))
        if len(claims) > 1:
            raise PluginError(_doubled_message(key, claims))
        return claims[0]

    def find(self, name: str) -> list[Registered]:
        """Every part of that name, of whatever kind."""
        return [part for kind in KINDS for part in self.claims.get((kind, canonical(name)), [])]

    def build(self, kind: str, text: str, **given: Any) -> Any:
        """The part that `text` describes, e.g. `build("loss", "beta:0.5")`."""
        parsed = PartText.parse(text)
        return self.get(kind, parsed.name).build(parsed, **given)

    def _unknown(self, kind: str, name: str) -> str:
        if not self.claims:
            return f"no plugins are loaded, so {kind} {name!r} is unknown; " + (
                f"{SELECT} is set to {os.environ[SELECT]!r}, unset it or name the plugins you need"
                if SELECT in os.environ
                else "install the project (pip install -e .): an uninstalled checkout has none"
            )
        message = f"unknown {kind} {name!r}{suggestion(canonical(name), self.names(kind))}"
        others = [p.kind for p in self.find(name) if p.kind != kind]
        if others:
            message += f" ({name!r} is a {others[0]})"
        for broken in self.broken:
            message += (
                f"\nPlugin {broken.entry_point!r} of {broken.distribution} {broken.version} could not be loaded and "
                f"may be the one that offers it:\n{broken.traceback}"
            )
        return message


@cache
def registry() -> Registry:
    """The registry of this process, loaded on first use."""
    return load(_selected(entry_points(group=GROUP)))


def load(points: Iterable[EntryPoint]) -> Registry:
    """A registry of the given entry points; broken ones are kept aside with their traceback, and warned about."""
    found = Registry()
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(Hooks)
    for point in points:
        distribution, version = _origin(point)
        found.versions[distribution] = version
        try:
            module = point.load()
            manager.register(module, name=f"{distribution}:{point.name}")
            _warn_of_unknown_hooks(module, manager, f"{point.name} of {distribution}")
        except Exception:
            found.broken.append(Broken(point.name, distribution, version, traceback.format_exc()))
            continue
        for registered in _collect(module, manager, found, point.name, distribution, version):
            _admit(registered, found)
    for broken in found.broken:
        print(
            f"nmfkit: plugin {broken.entry_point!r} of {broken.distribution} {broken.version} is broken and left out: "
            f"{broken.reason} (see: nmfkit plugins list)",
            file=sys.stderr,
        )
    return found


def _selected(points: Iterable[EntryPoint]) -> list[EntryPoint]:
    wanted = os.environ.get(SELECT)
    unique = {(p.name, p.value, _origin(p)[0]): p for p in points}
    if wanted is None:
        return list(unique.values())
    names = {canonical(n) for n in wanted.split(",") if n.strip()}
    return [p for p in unique.values() if {canonical(p.name), canonical(_origin(p)[0])} & names]


def _origin(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("(unknown)", "0")


def _collect(
    module: ModuleType,
    manager: pluggy.PluginManager,
    found: Registry,
    point: str,
    distribution: str,
    version: str,
) -> Iterator[Registered]:
    for kind, hook in KINDS.items():
        for implementation in getattr(manager.hook, hook).get_hookimpls():
            if implementation.plugin is not module:
                continue
            try:
                specs = [_descriptor(spec, kind) for spec in implementation.function() or []]
            except Exception:
                found.broken.append(Broken(point, distribution, version, traceback.format_exc()))
                continue
            for spec in specs:
                yield Registered(kind, spec, distribution, version, point)


def _descriptor(spec: Any, kind: str) -> PartSpec | ReaderSpec:
    expected = ReaderSpec if kind == "reader" else PartSpec
    if not isinstance(spec, expected):
        raise TypeError(f"{KINDS[kind]} returned {spec!r}, which is no {expected.__name__}")
    return spec


def _admit(new: Registered, found: Registry) -> None:
    for name in {new.name, *map(canonical, new.spec.aliases)}:
        found.claims.setdefault((new.kind, name), []).append(new)


def _doubled_message(key: tuple[str, str], claims: list[Registered]) -> str:
    who = " and ".join(f"{c.distribution} {c.version} (entry point {c.entry_point!r})" for c in claims)
    return (
        f"{key[0]} {key[1]!r} is offered by {who}; uninstall one, or choose with "
        f"{SELECT}=… (a comma list of the entry points to load)"
    )


def _warn_of_unknown_hooks(module: ModuleType, manager: pluggy.PluginManager, who: str) -> None:
    """Warn about marked functions that no hook is named for: a misspelt hook is otherwise silently ignored."""
    for name in dir(module):
        marked = manager.parse_hookimpl_opts(module, name)
        if marked is not None and name not in KINDS.values():
            warnings.warn(
                f"plugin {who} implements {name!r}, which is no hook of nmfkit{suggestion(name, KINDS.values())}",
                stacklevel=3,
            )
