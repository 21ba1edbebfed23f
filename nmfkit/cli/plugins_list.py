"""`nmfkit plugins list`."""

from __future__ import annotations

from typing import Any

from nmfkit.cli.options import Output
from nmfkit.cli.text import emit, table
from nmfkit.errors import UsageError
from nmfkit.hookspecs import KINDS
from nmfkit.parts import canonical, suggestion
from nmfkit.registry import Registered, Registry, registry

TITLES = {
    "loss": "Losses (--loss)",
    "regularizer": "Regularizers (--reg-w, --reg-h)",
    "rule": "Update rules (--rule)",
    "model": "Models (--model)",
    "initializer": "Starting points (--init)",
    "reader": "Readers",
}


def show(kind: str | None, output: Output) -> None:
    """Print all parts, or those of one kind."""
    if kind is not None and canonical(kind) not in KINDS:
        raise UsageError(f"unknown kind {kind!r}{suggestion(canonical(kind), KINDS)}")
    kinds = [canonical(kind)] if kind is not None else list(KINDS)
    found = registry()
    parts = [part for k in kinds for part in found.of_kind(k)]
    if output.json:
        emit({"plugins": [as_dict(part) for part in parts], "listeners": listeners(found), "broken": _broken(found)})
    elif not output.quiet:
        listening = [] if kind is not None else _listening(found)
        print("\n\n".join([*_sections(kinds, parts), *listening, *_faults(found)]))


def as_dict(part: Registered) -> dict[str, Any]:
    """A part in plain values."""
    described = {
        "kind": part.kind,
        "name": part.name,
        "summary": part.spec.summary,
        "aliases": list(part.spec.aliases),
        "examples": list(part.spec.examples),
        "distribution": part.distribution,
        "version": part.version,
        "entry_point": part.entry_point,
    }
    opens = [*getattr(part.spec, "suffixes", ()), *getattr(part.spec, "schemes", ()), *getattr(part.spec, "holds", ())]
    return described | ({"opens": opens} if opens else {})


def _sections(kinds: list[str], parts: list[Registered]) -> list[str]:
    # One width for all kinds, so that the columns run through.
    rows = [(p.kind, [p.name, p.spec.summary, f"{p.distribution} {p.version}"]) for p in parts]
    lines = table(row for _, row in rows).splitlines()
    sections = []
    for kind in kinds:
        own = [line for (k, _), line in zip(rows, lines, strict=True) if k == kind]
        sections.append("\n".join([TITLES.get(kind, kind), *(own or ["  none"])]))
    return sections


def listeners(found: Registry, name: str | None = None) -> list[dict[str, Any]]:
    """Each plugin that hears of fits, with its hooks; or those whose entry point or distribution has that name."""
    whose = dict.fromkeys((o.entry_point, o.distribution, o.version) for o in found.observers)
    if name is not None:
        whose = {w: None for w in whose if canonical(name) in (canonical(w[0]), canonical(w[1]))}
    return [
        {
            "entry_point": point,
            "distribution": distribution,
            "version": version,
            "hooks": [o.hook for o in found.observers if (o.entry_point, o.distribution) == (point, distribution)],
        }
        for point, distribution, version in whose
    ]


def _listening(found: Registry) -> list[str]:
    rows = [
        [one["entry_point"], ", ".join(one["hooks"]), f"{one['distribution']} {one['version']}"]
        for one in listeners(found)
    ]
    return [f"Plugins that hear of fits\n{table(rows)}"] if rows else []


def _broken(found: Registry) -> list[dict[str, str]]:
    return [
        {"entry_point": b.entry_point, "distribution": b.distribution, "version": b.version, "reason": b.reason}
        for b in found.broken
    ]


def _faults(found: Registry) -> list[str]:
    if not found.broken:
        return []
    rows = [[b.entry_point, b.reason, f"{b.distribution} {b.version}"] for b in found.broken]
    return [f"Broken (see: nmfkit plugins info NAME)\n{table(rows)}"]
