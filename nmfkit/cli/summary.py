"""What a fit leaves behind, in words: the result, or what an interruption left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from nmfkit.cli.options import Output
from nmfkit.cli.progress import Meter
from nmfkit.cli.text import duration, emit, facts, number, ranks_text, shape_text, shell
from nmfkit.errors import NmfkitError
from nmfkit.problem import part_text
from nmfkit.result import Result


def tell_fit(result: Result, meter: Meter, output: Output, since: int | None = None) -> None:
    """Print the end of a fit as JSON or in words; `since` is the sweep that it was resumed from."""
    if output.json:
        emit(as_json(result, meter))
    elif output.speaks:
        if since is not None and since == result.state.sweep:
            print("Nothing to do: the run is finished, and no option asks for more.\n")
        print(in_words(result))


def as_json(result: Result, meter: Meter) -> dict[str, object]:
    """What a script wants to know of a fit."""
    return {
        "status": result.status,
        "stopped_by": result.stopped_by,
        "objective": result.objective,
        "sweeps": result.state.sweep,
        "seconds": result.attributes.get("timings", {}).get("total_seconds"),
        "out": result.path,
        "rule": part_text(result.problem.rule) if "rule" in result.model.takes else None,
        "problem": result.problem.as_json(),
        "source": dict(result.attributes["source"]),
        "notes": meter.notes,
    }


def in_words(result: Result) -> str:
    """The parts, the objective, why the fit stopped, and what to do next."""
    problem, path = result.problem, result.path
    seconds = result.attributes.get("timings", {}).get("total_seconds", result.state.history[-1].seconds)
    title = f"{result.attributes['source']['uri']}, {shape_text(result.shape)}: {parts(result)}"
    done = facts(
        [
            ("objective", number(result.objective)),
            ("sweeps", f"{result.state.sweep}, {why(result)}"),
            ("time", duration(seconds)),
            ("run", str(path)),
        ],
        "  ",
    )
    steps = [("look at it", shell("nmfkit", "inspect", path)), ("judge it", shell("nmfkit", "score", path))]
    steps.append(("show it", shell("nmfkit", "report", path, "-o", f"{PurePath(str(path)).stem}.html")))
    again = shell("nmfkit", "resume", path)
    if result.stopped_by == "max-sweeps":
        more = max(1, 2 * max(result.state.sweep, problem.max_sweeps))
        steps.append(("go on", f"{again} --max-sweeps {more}"))
    elif result.stopped_by == "time-limit":
        steps.append(("go on", f"{again} --time-limit {problem.time_limit:g}"))
    return f"{title}\n\n{done}\n\n{facts(steps, '  ')}"


def parts(result: Result) -> str:
    """Model, rank, loss and rule in a few words."""
    problem, model = result.problem, result.model
    pieces = [part_text(problem.model), ranks_text(problem.ranks)]
    pieces += [f"{name} {part_text(getattr(problem, name))}" for name in ("loss", "rule") if name in model.takes]
    for name in ("reg_w", "reg_h"):
        pieces += [f"{part_text(part)} on {name[-1].upper()}" for part in getattr(problem, name)]
    return ", ".join(pieces)


def consensus_of(result: Result) -> Mapping[str, Any] | None:
    """What a run that `consensus` wrote holds about itself; None for a fit, one that went on from a consensus too."""
    about: Mapping[str, Any] | None = result.attributes.get("consensus")
    return about if result.state.sweep == 0 else None


def why(result: Result) -> str:
    """Why the fit stopped, as a clause."""
    problem = result.problem
    if (about := consensus_of(result)) is not None:
        return f"a consensus of {about['replicates']:,} replicates"
    reasons = {
        "converged": f"converged to --tol {problem.tol:g}",
        "max-sweeps": "the most that --max-sweeps allows",
        "time-limit": "stopped by the time limit",
    }
    own = f"ended by the model: {result.stopped_by}" if result.stopped_by else "not finished"
    return reasons.get(result.stopped_by or "", own)


def what_is_left(path: str | None, meter: Meter) -> str:
    """A sentence for a fit that Ctrl-C ended outside its sweeps or between two checkpoints."""
    if meter.name not in ("sweeps", "write"):
        return "interrupted before the first sweep; nothing was written"
    from nmfkit.store import RunStore

    try:
        state = RunStore.open(str(path)).restore()
    except NmfkitError:
        return f"interrupted in the first sweep; {path} holds no result yet"
    return f"interrupted; {path} holds sweep {state.sweep}; continue with: {shell('nmfkit', 'resume', path)}"
