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
        emit({"plugins": [as_dict(part) for part in parts], "broken": _broken(found)})
    elif not output.quiet:
        print("\n\n".join([*_sections(kinds, parts), *_faults(found)]))


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
    opens = [*getattr(part.spec, "suffixes", ()), *getattr(part.spec, "schemes", ())]
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
