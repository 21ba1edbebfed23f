"""`nmfkit plugins check`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import typer

from nmfkit.cli.options import Output
from nmfkit.cli.text import emit
from nmfkit.errors import NmfkitError, UsageError
from nmfkit.hookspecs import KINDS
from nmfkit.parts import canonical, suggestion
from nmfkit.registry import Broken, Registered, Registry, registry

OWN = "nmfkit"
"""The distribution whose parts are built in."""


def show(names: list[str], everything: bool, output: Output) -> None:
    """Check the parts and print each law; exit code 1 if one fails or a plugin is broken."""
    found = registry()
    parts, broken = _chosen(names, everything, found)
    results = _checked({part.name for part in parts}) if parts else []
    passed = not broken and all(r["passed"] for r in results)
    if output.json:
        emit({"passed": passed, "laws": results, "broken": [_as_dict(b) for b in broken]})
    elif not output.quiet:
        print(_in_words(results, broken))
    if not passed:
        raise typer.Exit(1)


def _chosen(names: list[str], everything: bool, found: Registry) -> tuple[list[Registered], list[Broken]]:
    every = [part for kind in KINDS for part in found.of_kind(kind)]
    if not names:
        return [p for p in every if everything or canonical(p.distribution) != OWN], list(found.broken)
    parts: list[Registered] = []
    broken: list[Broken] = []
    for name in names:
        of_name = found.find(name) or [p for p in every if canonical(name) in _origins(p)]
        failed = [b for b in found.broken if canonical(name) in _origins(b)]
        if not of_name and not failed:
            known = {n for kind in KINDS for n in found.names(kind)} | {o for p in every for o in _origins(p)}
            raise UsageError(f"unknown part or plugin {name!r}{suggestion(canonical(name), known)}")
        parts += of_name
        broken += failed
    return parts, broken


def _origins(part: Registered | Broken) -> tuple[str, str]:
    return (canonical(part.entry_point), canonical(part.distribution))


def _checked(names: Iterable[str]) -> list[dict[str, Any]]:
    try:
        from nmfkit.testing.run import check_part
    except ModuleNotFoundError as error:
        raise NmfkitError(
            f"checking parts needs {error.name}, which is not installed: pip install 'nmfkit[test]'"
        ) from error
    return [
        {"part": r.part, "law": r.law, "passed": r.passed, "message": r.message}
        for name in sorted(names)
        for r in check_part(name)
    ]


def _as_dict(broken: Broken) -> dict[str, str]:
    return {
        "entry_point": broken.entry_point,
        "distribution": broken.distribution,
        "version": broken.version,
        "reason": broken.reason,
    }


def _in_words(results: list[dict[str, Any]], broken: list[Broken]) -> str:
    if not results and not broken:
        return "No parts beside the built-in ones are installed; nmfkit plugins check --all checks those, too."
    blocks = []
    for part in dict.fromkeys(r["part"] for r in results):
        laws = [line for r in results if r["part"] == part for line in _law(r)]
        blocks.append("\n".join([str(part), *laws]))
    blocks += [f"{b.entry_point} of {b.distribution} {b.version}\n  broken  {b.reason}" for b in broken]
    failed = sum(not r["passed"] for r in results)
    return "\n\n".join([*blocks, f"{len(results)} laws, {failed} broken" if failed else f"{len(results)} laws hold"])


def _law(result: dict[str, Any]) -> list[str]:
    """A law and how it stands; a law that holds and has a message is one that does not apply."""
    law = str(result["law"]).removeprefix("test_").replace("_", " ")
    told = str(result["message"] or "").strip().splitlines()
    if result["passed"]:
        return [f"  holds   {law}"] if not told else [f"  n/a     {law} ({told[0]})"]
    return [f"  BROKEN  {law}", *(f"          {line}" for line in told)]
