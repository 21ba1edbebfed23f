"""What a sweep of deep-nmf costs beside one of the plain model with as many components in the first layer.

    python benchmarks/deep_sweep.py
    python benchmarks/deep_sweep.py --quick --json deep.json

Every fit has a process of its own. They take turns, and each counts its passes over the rows and its reads of X.
"""

import argparse
import json
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
from memory import peak, resident, settle
from tables import Table, number, show

DEEP = (40, 20, 10)
INIT_SWEEPS = 3
WARM = 1
"""Sweeps that are not timed: what is compiled, and what a fit does once."""


@dataclass(frozen=True)
class Fitted:
    """A model, its options and the rule, which a deep model does not take."""

    model: str
    rule: str = "auto"

    @property
    def ranks(self):
        return DEEP if self.model.startswith("deep") else DEEP[:1]


FITTED = {
    "nmf": Fitted("nmf", "mu"),
    "nmf, in turns": Fitted("nmf", "mu:joint=false"),
    "deep-nmf": Fitted(f"deep-nmf:init_sweeps={INIT_SWEEPS}"),
    "deep-nmf, no extrapolation": Fitted(f"deep-nmf:init_sweeps={INIT_SWEEPS},extrapolate=false"),
    "deep-nmf, columns of W": Fitted(f"deep-nmf:init_sweeps={INIT_SWEEPS},normalize=w"),
    "deep-nmf, components": Fitted(f"deep-nmf:components,init_sweeps={INIT_SWEEPS}"),
}
PLAIN = ("nmf", "nmf, in turns")


@dataclass(frozen=True)
class Spent:
    """Of one fit: the median second of a sweep; passes over the rows and reads of X in one; bytes beside the start."""

    seconds: float
    passes: float
    reads: float
    memory: int
    others: float


def dense(size):
    """Gamma factors with noise, 1,000 columns, so many bytes in float32."""
    rng = np.random.default_rng(0)
    w, h = rng.gamma(0.5, size=(size // 4000, 20)), rng.gamma(0.5, size=(20, 1000))
    low = w.astype(np.float32) @ h.astype(np.float32)
    return low * (rng.random(low.shape, np.float32) + np.float32(0.5))


def timed(name, data, sweeps, memory, threads, folder):
    """`Spent` of one fit of a matrix: of `data` bytes in memory, or in the store at the path `data`."""
    from sweeps import Fit, Others

    from nmfkit.check import resolve
    from nmfkit.executors.local import LocalExecutor
    from nmfkit.executors.machine import Machine
    from nmfkit.executors.open import local_plan
    from nmfkit.problem import Problem
    from nmfkit.sources import open_source

    class Counting(LocalExecutor):
        """Counts passes over the rows, and those that read X."""

        passes = reads = 0

        def sweep(self, *given, data=True, **options):
            self.passes, self.reads = self.passes + 1, self.reads + bool(data)
            return super().sweep(*given, data=data, **options)

    fitted = FITTED[name]
    resolved = resolve(Problem(model=fitted.model, loss="kl", ranks=fitted.ranks, rule=fitted.rule, tol=0))
    source = open_source(dense(data) if isinstance(data, int) else data)
    settle()
    before = resident()
    with Counting(source, local_plan(source, resolved, Machine(threads=threads, memory=memory)), scratch=folder) as at:
        fit = Fit(at, resolved)
        for _ in range(WARM):
            fit.sweep()
        settle()
        passes, reads, others = at.passes, at.reads, Others()
        seconds = [fit.sweep() for _ in range(sweeps)]
        spent = (at.passes - passes) / sweeps, (at.reads - reads) / sweeps
        return Spent(median(seconds), *spent, peak() - before, others.share())


def measured(data, given, memory, folder):
    """`Spent` of every fit in every round, in a process of its own that begins anew."""
    found = {name: [] for name in given.fits}
    for _ in range(given.rounds):
        for name in given.fits:
            with ProcessPoolExecutor(1, get_context("spawn")) as process:
                task = process.submit(timed, name, data, given.sweeps, memory, given.threads, folder)
                found[name].append(task.result())
    return found


def table(title, found):
    """Medians over rounds, the time over that of both plain fits."""
    middle = {name: median(one.seconds for one in spent) for name, spent in found.items()}
    rows = [
        [
            name, number(1000 * middle[name]), *(number(over(middle, name, plain), "×") for plain in PLAIN),
            number(median(one.reads for one in spent)), number(median(one.passes for one in spent)),
            number(max(one.memory for one in spent) / 2**20), f"{max(one.others for one in spent):.0%}",
        ]
        for name, spent in found.items()
    ]  # fmt: skip
    return Table(title, ("fit", "ms/sweep", "of nmf", "of in turns", "reads", "passes", "MiB", "others"), rows)


def over(middle, name, other):
    """The time of one over that of another, where both are there."""
    return middle[name] / middle[other] if other in middle else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--where", nargs="+", choices=("memory", "store"), default=("memory", "store"))
    parser.add_argument("--fits", nargs="+", choices=FITTED, default=list(FITTED))
    parser.add_argument("--rows", type=int, default=20_000, help="of the matrix in memory, of 1,000 columns")
    parser.add_argument("--size", default="2GB", help="of the matrix in the store, of 2,000 columns")
    parser.add_argument("--memory", default="200MiB", help="what a fit of that one may use")
    parser.add_argument("--folder", type=Path, help="keep the matrix there; otherwise it goes with a temporary folder")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sweeps", type=int, default=8, help="timed in each fit")
    parser.add_argument("--threads", type=int, default=None, help="as many as there are processors")
    parser.add_argument("--quick", action="store_true", help="small matrices and one round: do they run at all?")
    parser.add_argument("--json", type=Path, help="write every number there")
    given = parser.parse_args()
    if given.quick:
        given.rows, given.size, given.rounds, given.sweeps = 2000, "100MB", 1, 3
    cases = {}
    with tempfile.TemporaryDirectory(dir=given.folder) as scratch:
        folder = Path(scratch)
        if "memory" in given.where:
            cases[f"{given.rows:,} × 1,000 in memory, float32"] = measured(4000 * given.rows, given, None, folder)
        if "store" in given.where:
            path = str(stored(given, folder))
            cases[f"{given.size} in a store, memory {given.memory}"] = measured(path, given, given.memory, folder)
    show([table(title, found) for title, found in cases.items()])
    if given.json:
        every = {title: {n: [asdict(o) for o in s] for n, s in found.items()} for title, found in cases.items()}
        given.json.write_text(json.dumps(every, indent=1))


def stored(given, scratch):
    """The matrix in its store, made if it is not there yet."""
    from workload import write_matrix

    from nmfkit.executors.plan import parse_size
    from nmfkit.executors.resources import available_threads

    path = (given.folder or scratch) / f"deep-{given.size}.zarr"
    if not path.exists():
        write_matrix(path, parse_size(given.size), available_threads())
    return path


if __name__ == "__main__":
    main()
