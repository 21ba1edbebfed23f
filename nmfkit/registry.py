"""What is installed: loads entry points one by one, so that a broken plugin never takes the tool down."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from nmfkit.errors import NmfkitError, PluginError, UsageError
from nmfkit.hookspecs import GROUP, KINDS, LIFECYCLE, Hooks, PartSpec, ReaderSpec
from nmfkit.observers import Observer, observers_of
from nmfkit.parts import PartText, build, canonical, suggestion

SELECT = "NMFKIT_PLUGINS"
"""Environment variable: a comma list of the entry points or distributions to load; empty loads none."""

FAULTS = (Exception, SystemExit)
"""What a plugin's code may raise without taking the tool down; Ctrl-C stays the user's."""


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
        with self._blamed(f"loaded from {self.spec.factory!r}"):
            return getattr(import_module(module), attribute)

    def build(self, text: PartText, **given: Any) -> Any:
        """The part that `text` describes; `given` are parameters that are not the user's to write.

        Raises `UsageError` for a text that does not fit, `PluginError` where the plugin's own code fails.
        """
        factory = self.load()
        with self._blamed(f"built from {str(text)!r}"):
            return build(factory, text, kind=self.kind, preset=self.spec.preset, given=given)

    @contextmanager
    def _blamed(self, done: str) -> Iterator[None]:
        """Run the plugin's code: what it prints goes to standard error, and its faults name it."""
        try:
            with redirect_stdout(sys.stderr):
                yield
        except (NmfkitError, MemoryError):
            raise
        except FAULTS as error:
            raise PluginError(
                f"{self.kind} {self.name!r} of {self.distribution} {self.version} cannot be {done}:\n"
                f"{traceback.format_exc()}"
            ) from error


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
    observers: list[Observer] = field(default_factory=list)
    """The functions that hear of fits."""
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
        _load_plugin(point, manager, found)
    for broken in found.broken:
        print(
            f"nmfkit: plugin {broken.entry_point!r} of {broken.distribution} {broken.version} is broken and left out: "
            f"{broken.reason} (see: nmfkit plugins list)",
            file=sys.stderr,
        )
    return found


def _load_plugin(point: EntryPoint, manager: pluggy.PluginManager, found: Registry) -> None:
    """Import a plugin and admit what each of its hooks offers; a hook that fails leaves the others standing."""
    distribution, version = _origin(point)
    found.versions[distribution] = version
    module: Any = None
    hooks: list[tuple[str, Callable[[], Any]]] = []
    with _isolated(point.name, distribution, version, found):
        module = point.load()
        manager.register(module, name=f"{distribution}:{point.name}")
        _warn_of_unknown_hooks(module, manager, f"{point.name} of {distribution}")
        hooks = list(_hooks(module, manager))
        found.observers += observers_of(module, manager, distribution, version, point.name)
    for kind, function in hooks:
        with _isolated(point.name, distribution, version, found):
            for spec in _descriptors(function(), kind):
                _admit(Registered(kind, spec, distribution, version, point.name), found)


@contextmanager
def _isolated(point: str, distribution: str, version: str, found: Registry) -> Iterator[None]:
    """Run a plugin's code: what it prints goes to standard error, and its faults are noted in `found`."""
    try:
        # Standard output is the command's: with --json, one line more makes it unreadable.
        with redirect_stdout(sys.stderr):
            yield
    except FAULTS:
        found.broken.append(Broken(point, distribution, version, traceback.format_exc()))


def _selected(points: Iterable[EntryPoint]) -> list[EntryPoint]:
    wanted = os.environ.get(SELECT)
    unique = {(p.name, p.value, _origin(p)[0]): p for p in points}
    if wanted is None:
        return list(unique.values())
    names = {canonical(n) for n in wanted.split(",") if n.strip()}
    return [p for p in unique.values() if {canonical(p.name), canonical(_origin(p)[0])} & names]


def _origin(point: EntryPoint) -> tuple[str, str]:
    """The distribution and version of an entry point; one that is half removed has lost its metadata."""
    try:
        name, version = (point.dist.name, point.dist.version) if point.dist else (None, None)
    except Exception:
        name, version = None, None
    return name or "(unknown)", version or "0"


def _hooks(module: Any, manager: pluggy.PluginManager) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The module's hooks, by the kind of part that they offer."""
    for kind, hook in KINDS.items():
        for implementation in getattr(manager.hook, hook).get_hookimpls():
            if implementation.plugin is module:
                yield kind, implementation.function


def _descriptors(returned: Any, kind: str) -> list[PartSpec | ReaderSpec]:
    """What a hook returned, each descriptor checked; nothing is admitted of a hook with one that is wrong."""
    if returned is None:
        return []
    if isinstance(returned, str | PartSpec | ReaderSpec) or not isinstance(returned, Iterable):
        raise TypeError(f"{KINDS[kind]} returned {returned!r}, and a list of {_expected(kind).__name__} is needed")
    return [_descriptor(spec, kind) for spec in returned]


def _descriptor(spec: Any, kind: str) -> PartSpec | ReaderSpec:
    """`spec` itself; raises `TypeError` naming every field of the wrong type."""
    if not isinstance(spec, _expected(kind)):
        raise TypeError(f"{KINDS[kind]} returned {spec!r}, which is no {_expected(kind).__name__}")
    wrong = [
        f"{name} is {getattr(spec, name)!r}, and {needed} is needed"
        for name, (fits, needed) in _FIELDS.items()
        if hasattr(spec, name) and not fits(getattr(spec, name))
    ]
    if wrong:
        raise TypeError(f"{KINDS[kind]} returned {spec!r}: {'; '.join(wrong)}")
    return spec


def _expected(kind: str) -> type[PartSpec | ReaderSpec]:
    return ReaderSpec if kind == "reader" else PartSpec


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and ":" not in value


def _is_factory(value: Any) -> bool:
    if isinstance(value, str):
        module, _, attribute = value.partition(":")
        return bool(module.strip() and attribute.strip())
    return callable(value)


def _is_texts(value: Any) -> bool:
    # A text alone would pass for the list of its letters.
    return isinstance(value, list | tuple) and all(isinstance(v, str) and v.strip() for v in value)


def _is_preset(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def _is_preference(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_NAMES = (lambda value: _is_texts(value) and all(map(_is_name, value)), "a tuple of texts without a colon")
_TEXTS = (_is_texts, "a tuple of texts")
_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (_is_name, "a text without a colon"),
    "summary": (lambda value: isinstance(value, str), "a text"),
    "factory": (_is_factory, 'a class, a function or the text "package.module:attribute"'),
    "preset": (_is_preset, "a mapping from names of parameters"),
    "aliases": _NAMES,
    "examples": _TEXTS,
    "suffixes": _TEXTS,
    "schemes": _TEXTS,
    "holds": _TEXTS,
    "preference": (_is_preference, "a whole number"),
}
"""What each field of a descriptor must be, as a test and in words."""


def _admit(new: Registered, found: Registry) -> None:
    for name in {new.name, *map(canonical, new.spec.aliases)}:
        found.claims.setdefault((new.kind, name), []).append(new)


def _doubled_message(key: tuple[str, str], claims: list[Registered]) -> str:
    who = " and ".join(f"{c.distribution} {c.version} (entry point {c.entry_point!r})" for c in claims)
    return (
        f"{key[0]} {key[1]!r} is offered by {who}; uninstall one, or choose with "
        f"{SELECT}=… (a comma list of the entry points to load)"
    )


def _warn_of_unknown_hooks(module: Any, manager: pluggy.PluginManager, who: str) -> None:
    """Warn about marked functions that no hook is named for: a misspelt hook is otherwise silently ignored."""
    for name in dir(module):
        marked = manager.parse_hookimpl_opts(module, name)
        if marked is not None and name not in (*KINDS.values(), *LIFECYCLE):
            warnings.warn(
                f"plugin {who} implements {name!r}, which is no hook of nmfkit"
                f"{suggestion(name, [*KINDS.values(), *LIFECYCLE])}",
                stacklevel=3,
            )
