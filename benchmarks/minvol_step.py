"""The exact step of minimum volume deep KL-NMF against alternating directions, at the same optimum.

    python benchmarks/minvol_step.py
    python benchmarks/minvol_step.py --rows 20000 --repeats 9

Both minimise one majoriser over W with columns that sum to 1, tied to the next layer. Alternating directions are the
corrected ones of `tests/oracles/admm.py`, in plain NumPy and SciPy on one thread, as nmfkit's step is.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
from tables import Table, number, show
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from oracles.admm import Subproblem, admm

from nmfkit.registry import registry
from nmfkit.summed import summed_root
from nmfkit.surrogate import LOG, plus

STEPS = 200
RHOS = (1.0, 10.0, 100.0)
"""Times λ; the one that ends lowest counts, since no one knows it before."""


@dataclass(frozen=True)
class Compared:
    """Seconds of either, and how far alternating directions end above the exact step, relative to the objective."""

    rows: int
    rank: int
    delta: float
    exact: float
    admm: float
    above: float
    sums: float
    """How far the exact step's columns are from 1."""
    admm_sums: float
    needed: int | None
    """Steps after which alternating directions are within 1e-8 of the exact objective."""


def exact(problem, part):
    """nmfkit's step: the loss, the tie to the next layer and the volume as surrogates, one multiplier a column."""
    loss = {1.0: np.broadcast_to(problem.s, problem.w.shape), 0.0: -problem.c}
    tie = {LOG: np.full_like(problem.w, problem.weight), 1.0: problem.weight * np.log(problem.w / problem.prior)}
    volume = part.surrogate(problem.w, part.stat(problem.w))
    return problem.w * summed_root(plus(loss, tie, volume), problem.w, 1.0, False)


def timed(function, repeats):
    """The last result, and the median of seconds."""
    seconds = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        found = function()
        seconds.append(time.perf_counter() - began)
    return found, median(seconds[1:])


def compared(rows, rank, delta, repeats):
    """Both on one problem."""
    problem = Subproblem.made(0, shape=(rows, 200), rank=rank, weight=1.0, alpha=0.5, delta=delta)
    part = registry().build("regularizer", f"minvol:{problem.alpha},delta={delta},weight=absolute")
    ours, seconds = timed(lambda: exact(problem, part), repeats)
    best = problem.objective(ours)
    rho = min(RHOS, key=lambda rho: distance(admm(problem, STEPS, rho * problem.weight), ours))
    theirs, their_seconds = timed(lambda: admm(problem, STEPS, rho * problem.weight), max(1, repeats // 3))
    return Compared(
        rows, rank, delta, seconds, their_seconds, (problem.objective(theirs) - best) / abs(best),
        float(np.abs(ours.sum(0) - 1).max()), float(np.abs(theirs.sum(0) - 1).max()),
        needed(problem, best, rho),
    )  # fmt: skip


def distance(w, reference):
    return float(np.abs(w - reference).max()) if np.isfinite(w).all() else np.inf


def needed(problem, best, rho, most=800):
    """The first power of two times 25 steps that is near enough."""
    steps = 25
    while steps <= most:
        if problem.objective(admm(problem, steps, rho * problem.weight)) - best <= 1e-8 * abs(best):
            return steps
        steps *= 2
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[200, 2000])
    parser.add_argument("--rank", type=int, nargs="+", default=[4, 20])
    parser.add_argument("--delta", type=float, nargs="+", default=[1.0, 0.01])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write every number there")
    given = parser.parse_args()
    with threadpool_limits(1):
        found = [compared(m, r, d, given.repeats) for m in given.rows for r in given.rank for d in given.delta]
    rows = [
        [
            f"{one.rows:,} × {one.rank}, δ = {one.delta:g}", number(1000 * one.exact), number(1000 * one.admm),
            number(one.admm / one.exact, "×"), f"{one.above:.1e}", str(one.needed or "more"),
            f"{one.sums:.0e}", f"{one.admm_sums:.0e}",
        ]
        for one in found
    ]  # fmt: skip
    heads = ("W", "exact ms", f"{STEPS} steps, ms", "faster", "above", "needed", "sums", "their sums")
    show([Table("A step of W", heads, rows)])
    if given.json:
        given.json.write_text(json.dumps([asdict(one) for one in found], indent=1))


if __name__ == "__main__":
    main()
