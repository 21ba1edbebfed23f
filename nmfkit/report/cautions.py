"""What somebody who looks at a result should know first, in plain words."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nmfkit.blocks import Array
from nmfkit.check import resolve
from nmfkit.cli.summary import consensus_of
from nmfkit.probe import Expected, empty_text
from nmfkit.problem import Problem, part_text
from nmfkit.protocols import Diagnoses, HasLevels, HasSums
from nmfkit.report.study import Components, Study
from nmfkit.result import Result
from nmfkit.stopping import WINDOW, Gauge

TWIN = 0.95
"""Cosine from which on two components count as one another's twin."""
DEAD = 1e-9
"""Share below which a component is dead: rules that zero traps keep entries a little above it."""
DROPPED, FEW = 0.1, 0.5
"""Of the components of a consensus' replicates, the part that may be dropped without a word; of the replicates, the
part in which a component should be found."""
REPEATS = (
    "A level that repeats itself says no more than one with fewer components: ask for a lower rank there, or for "
    "smaller weights of the deeper layers."
)
"""What twins within a level mean: a heavy layer pulls the one before it to its own, lower rank."""
SHOWN = 6
"""Components, pairs or names that a sentence lists at most."""


@dataclass(frozen=True)
class Caution:
    """A sentence or two on what is so, and the command that mends it, if one does; `kind` is a word for scripts."""

    kind: str
    text: str
    command: str | None = None


def cautions(study: Study) -> list[Caution]:
    """Everything of that kind, what matters most first."""
    return [
        *_of_consensus(study.result),
        *_unfinished(study.result),
        *(caution for found in _judged(study) for caution in _of_components(found, _level(study, found))),
        *_of_levels(study),
        *_of_model(study),
        *_of_data(study),
        *_of_problem(study.result),
        *_of_labels(study),
        *_of_absence(study),
    ]


def _of_consensus(result: Result) -> Iterator[Caution]:
    about = consensus_of(result)
    if about is None:
        return
    yield Caution(
        "consensus",
        f"This is a consensus of {about['replicates']:,} replicates, not a single fit: H is made of medians, and W is "
        "fitted to it.",
    )
    dropped, of, sizes = about["dropped"], about["components"], about["sizes"]
    if dropped > DROPPED * of:
        yield Caution(
            "dropped",
            f"{dropped:,} of {of:,} components of the replicates were dropped, because few others are like them: the "
            "rank may be too high.",
        )
    if few := [k for k, size in enumerate(sizes) if size < FEW * about["replicates"]]:
        yield Caution(
            "rare",
            f"Rare: of {len(sizes)} components, {len(few)} {'is' if len(few) == 1 else 'are'} found in fewer than half "
            f"of the replicates (index {', '.join(map(str, few[:SHOWN]))}{', …' if len(few) > SHOWN else ''}).",
        )


def _unfinished(result: Result) -> Iterator[Caution]:
    if consensus_of(result) is not None:
        return
    problem, sweeps = result.problem, result.state.sweep
    again = f"nmfkit resume {shlex.quote(result.path or 'RUN.zarr')}"
    history = result.history.objective
    left = ""
    if len(history) > WINDOW:
        gauge = Gauge(unfitted=result.state.unfitted)
        left = f"; the last {WINDOW} sweeps {_gain(float(history[-1 - WINDOW]), float(history[-1]), gauge)}"
    if result.stopped_by is None:
        yield Caution("interrupted", f"The run is not finished: this is its last checkpoint{left}.", again)
    elif result.stopped_by == "max-sweeps":
        yield Caution(
            "not-converged",
            f"Not converged: the fit stopped after {sweeps} sweeps, the most it was allowed{left} "
            f"(--tol {problem.tol:g} asks for {100 * problem.tol:g} %).",
            f"{again} --max-sweeps {max(1, 2 * sweeps)}",
        )
    elif result.stopped_by == "time-limit":
        yield Caution(
            "not-converged",
            f"Not converged: the time limit ended the fit{left}.",
            f"{again} --time-limit {problem.time_limit:g}",
        )
    if len(history) > 1 and history[-1] > np.min(history) + 1e-9 * abs(history[-1]) + _rounding(result):
        end, low = f"{history[-1]:.6g}", f"{np.min(history):.6g}"
        if end != low:
            yield Caution("rose", f"The objective ended at {end}, above its lowest value {low}.")


def _gain(before: float, now: float, gauge: Gauge) -> str:
    """What sweeps did to the objective, as a part of what it was, or of what the factors explain."""
    part = 100 * (before - now) / max(gauge.size(before), gauge.size(now), np.finfo(np.float64).tiny)
    if part <= 0:
        return "did not lower the objective"
    of = " of what the factors explain" if gauge.size(now) < abs(now) else ""
    return f"still lowered the objective by {f'{part:.2g}' if part < 10 else f'{part:.0f}'} %{of}"


def _rounding(result: Result) -> float:
    """What rounding may change of the objective: it is a difference of numbers of the size of the data's."""
    dtype = result.problem.dtype or result.attributes["source"]["dtype"]
    eps = np.finfo(dtype).eps if np.issubdtype(dtype, np.floating) else np.finfo(np.float64).eps
    squares = result.attributes["source"].get("sums", {}).get("squares", 0.0)
    return 100 * float(eps) * max(float(squares), float(np.max(np.abs(result.history.objective))))


def _judged(study: Study) -> Sequence[Components]:
    return study.components if study.has_levels else (study.main,)


def _level(study: Study, found: Components) -> str:
    """Where in a run with levels a sentence belongs."""
    return f"Level {found.layer.level}: " if study.has_levels else ""


def _of_components(found: Components, at: str) -> Iterator[Caution]:
    dead = [i + 1 for i, share in enumerate(found.shares) if share < DEAD]
    if dead:
        yield Caution(
            "dead",
            f"{at}Dead: {_numbers(dead)} {'is' if len(dead) == 1 else 'are'} all zero, so a lower rank, "
            f"{found.rank - len(dead)}, does as well.",
        )
    if pairs := twins(found, found.cosine):
        why = "The rank may be too high, or the fit has not settled." if not at else REPEATS
        yield Caution(
            "twins", f"{at}Twins: components {_pairs(pairs)} are nearly the same (cosine above {TWIN:g}). {why}"
        )


def _of_levels(study: Study) -> Iterator[Caution]:
    for found in study.components if study.has_levels else ():
        if found.cosine_of_w is not None and (pairs := twins(found, found.cosine_of_w)):
            over = "the samples" if found.layer.mixing is None else "the components of the level before"
            yield Caution(
                "collinear",
                f"{_level(study, found)}Collinear: the weights of components {_pairs(pairs)} over {over} are nearly "
                f"the same but for scale (cosine above {TWIN:g}). {REPEATS}",
            )


def _pairs(pairs: Sequence[tuple[int, int, float]]) -> str:
    listed = ", ".join(f"{a} and {b} ({c:.2f})" for a, b, c in pairs[:SHOWN])
    return listed + (f" and {len(pairs) - SHOWN} more pairs" if len(pairs) > SHOWN else "")


def twins(found: Components, cosine: Array) -> list[tuple[int, int, float]]:
    """Numbers shown and cosine of each pair that is nearly the same, the closest first; dead ones have no twin."""
    alive = found.shares >= DEAD
    pairs = np.argwhere(np.triu(cosine > TWIN, 1) & alive[:, None] & alive[None, :])
    listed = [(int(a) + 1, int(b) + 1, float(cosine[a, b])) for a, b in pairs]
    return sorted(listed, key=lambda pair: -pair[2])


def _of_model(study: Study) -> Iterator[Caution]:
    """What a model knows to look for in its runs."""
    model = study.result.model
    if not isinstance(model, Diagnoses):
        return
    left = study.residuals
    for text in model.diagnosis(study.result, None if left is None else left.columns.empty):
        yield Caution("model", text)


def _of_data(study: Study) -> Iterator[Caution]:
    left, weights = study.residuals, study.main.weights
    empty = left.rows.zero + left.rows.hidden if left else 0
    if weights and weights.dead > empty:
        yield Caution(
            "rows-without-components",
            f"{weights.dead:,} of {weights.count:,} rows have no component at all: nothing of them is explained.",
        )
    if left is None:
        return
    sides = ((left.rows, "rows", "W"), (left.columns, "columns", "H"))
    zero = empty_text(Expected.by(study.result.model).embeds)
    for side, name, factor in sides[:1] if study.symmetric else sides:
        count = len(side.sums)
        what = "what the model makes of the data" if study.result.is_viewed else "the data"
        if side.zero:
            yield Caution(
                f"zero-{name}",
                f"{side.zero:,} of {count:,} {name} of {what} are all zero; {zero[name]}.",
            )
        if side.hidden:
            yield Caution(
                f"hidden-{name}",
                f"{side.hidden:,} of {count:,} {name} of {what} are wholly hidden: nothing is known of them, and "
                f"their {name} of {factor} mean nothing.",
            )
    if not np.isfinite(left.error):
        yield Caution("not-finite", "The data now hold numbers that are not finite; residuals say nothing.")


def _of_problem(result: Result) -> Iterator[Caution]:
    problem, smaller = result.problem, min(result.shape[0], result.width)
    if bool(problem.reg_w) != bool(problem.reg_h) and not _holds_scale(result):
        one, other = ("W", "H") if problem.reg_w else ("H", "W")
        parts = ", ".join(part_text(p) for p in problem.reg_w or problem.reg_h)
        yield Caution(
            "one-sided",
            f"Only {one} is penalised ({parts}). Scale can move from {one} to {other} at no cost to the fit, so unless "
            f"{other} is bounded, the penalty shrinks {one} without making it any sparser. Penalise {other}, too.",
        )
    if _rank(problem) > smaller:
        yield Caution("rank", f"The rank, {_rank(problem)}, is above the smaller side of the matrix, {smaller}.")


def _holds_scale(result: Result) -> bool:
    """Whether sums of one factor are fixed, so that nothing can move between the two; those of levels always are."""
    parts = resolve(result.problem).ingredients
    return isinstance(result.model, HasLevels) or any(isinstance(p, HasSums) for p in (*parts.reg_w, *parts.reg_h))


def _rank(problem: Problem) -> int:
    return max(problem.ranks)


def _of_labels(study: Study) -> Iterator[Caution]:
    for about, given in (("labels", study.labels), ("reference", study.reference)):
        for note in given.notes if given else ():
            yield Caution(about, f"{note[0].upper()}{note[1:]}.")


def _of_absence(study: Study) -> Iterator[Caution]:
    if study.gone:
        yield Caution("no-data", f"No residuals are shown: {study.gone}.")


def _numbers(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:SHOWN]))
    more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
    return f"component {shown}" if len(numbers) == 1 else f"components {shown}{more}"
