"""How a look at a fit reads."""

from __future__ import annotations

import sys
from typing import Any

from nmfkit.cli.course import pace_text, place_text, stage_text
from nmfkit.cli.sparkline import sparkline
from nmfkit.cli.terminal import ramp_of, spelt
from nmfkit.cli.text import duration, facts, number, ranks_text, shape_text, shell
from nmfkit.errors import NmfkitError
from nmfkit.watch import Sighting

COLUMNS = 40
"""Blocks in the course of the objective."""


def as_json(found: Sighting) -> dict[str, Any]:
    """What a script wants to know."""
    return {
        "run": found.run,
        "status": found.status,
        "stopped_by": found.stopped_by,
        "stage": found.stage or None,
        "sweep": found.sweep,
        "max_sweeps": found.problem.get("max_sweeps"),
        "objective": found.objective,
        "seconds": found.seconds,
        "seconds_a_sweep": found.pace,
        "at_most_seconds_left": found.left,
        "seconds_since_heard": found.heard,
        "checkpoint": found.kept,
        "host": found.host,
        "pid": found.pid,
        "source": found.source,
        "shape": found.shape,
        "problem": dict(found.problem),
        "curve": found.curve,
    }


def in_words(found: Sighting) -> str:
    """All that is known, with the command that goes on where there is one."""
    lines = [("status", status_text(found)), ("fit", _problem(found))]
    if found.sweep is not None:
        lines.append(("sweep", progress_text(found)))
    elif found.status in ("running", "silent"):
        lines.append(("stage", stage_text(found.stage)))
    if found.objective is not None:
        lines.append(("objective", number(found.objective)))
    tol = float(found.problem.get("tol") or 0.0)
    if blocks := sparkline(found.curve, COLUMNS, tol, ramp_of(sys.stdout), found.unfitted):
        lines.append(("course", f"{blocks}  decrease, log scale" + (f"; lowest: tol {tol:g}" if tol else "")))
    if found.seconds is not None:
        lines.append(("time", duration(found.seconds)))
    if found.status != "done":
        lines.append(("kept", "nothing yet" if found.kept is None else f"sweep {found.kept}"))
    if found.status in ("gone", "interrupted") and found.kept is not None:
        lines.append(("go on", shell("nmfkit", "resume", found.run)))
    return spelt(f"{found.run}\n\n{facts(lines, '  ')}", sys.stdout)


def status_text(found: Sighting) -> str:
    """Whether it runs, and what was last heard."""
    heard = "" if found.heard is None else f"last sign of life {duration(found.heard)} ago"
    where = "" if found.host is None else f" (process {found.pid} on {found.host})"
    if found.status == "running":
        return f"running, {heard}{where}"
    if found.status == "silent":
        return f"silent: {heard}{where}" if heard else "unfinished, with no sign of life: probably killed"
    if found.status == "gone":
        return f"its process is gone without a word, {heard}{where}"
    if found.status == "interrupted":
        return "interrupted"
    reasons = {"converged": "converged", "max-sweeps": "at the most sweeps allowed", "time-limit": "at its time limit"}
    return f"done, {reasons.get(found.stopped_by or '', 'finished')}"


def progress_text(found: Sighting) -> str:
    """The sweep, of how many, the pace and what is left."""
    assert found.sweep is not None
    live = found.status in ("running", "silent")
    most = found.problem.get("max_sweeps") if live else None
    pieces = [place_text(found.sweep, most, found.left if live else None).removeprefix("sweep ")]
    if live and found.pace:
        pieces.append(pace_text(found.pace))
    if live and found.part and found.pace and found.pace > 1:
        pieces.append(f"{found.part:.0%} of the next done")
    return " · ".join(pieces)


def line_text(found: Sighting) -> str:
    """Where the fit is, in one line."""
    pieces = [place_line(found)]
    if found.objective is not None:
        pieces.append(f"objective {number(found.objective)}")
    if found.pace:
        pieces.append(pace_text(found.pace))
    if found.status != "running":
        pieces.append(status_text(found))
    return " · ".join(pieces)


def place_line(found: Sighting) -> str:
    """The stage before the first sweep, the sweep after it."""
    if found.sweep is None or found.stage == "write":
        return stage_text(found.stage)
    return place_text(found.sweep, found.problem.get("max_sweeps"), found.left)


def _problem(found: Sighting) -> str:
    problem = found.problem
    parts = f"{problem.get('model')}, {ranks_text(problem.get('ranks', ()))}"
    if _takes_loss(str(problem.get("model"))):
        parts += f", loss {problem.get('loss')}"
    # What is left to nmfkit is chosen by now, unless the model fixes its own.
    rule = "" if problem.get("rule") == "auto" else f", rule {problem.get('rule')}"
    return f"{found.source}, {shape_text(found.shape)}: {parts}{rule}"


def _takes_loss(model: str) -> bool:
    """Whether the loss of a problem means anything to its model; one that is not installed here is taken to have it."""
    from nmfkit.parts import PartText
    from nmfkit.registry import registry

    try:
        made = registry().get("model", PartText.parse(model).name).load()
    except NmfkitError:
        return True
    return "loss" in getattr(made, "takes", ("loss",))
