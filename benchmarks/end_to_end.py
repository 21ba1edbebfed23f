"""What a fit costs from the command to the files: `nmfkit fit` against a script that uses scikit-learn.

python benchmarks/end_to_end.py --runs 5
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import median

import numpy as np
import scipy.sparse as sp
from machine import threads_of
from solvers.scikit_learn import NAMES
from tables import Table, number, show
from workloads import RECIPES, make, objective

SCRIPT, LAUNCH = (Path(__file__).with_name(name) for name in ("scikit_fit.py", "launch.py"))


@dataclass(frozen=True)
class Spent:
    """Of a whole process: seconds on the wall and of processors, its most bytes in memory; the objective reached."""

    wall: float
    cpu: float
    peak: int
    objective: float


@dataclass(frozen=True)
class Fit:
    """The workload that the matrix in `file` is of, and what both are asked."""

    work: object
    file: Path
    sweeps: int
    tol: float
    threads: int


def with_nmfkit(fit, folder):
    """The command, and how to read what it wrote."""
    out = folder / "run.zarr"
    command = [
        sys.executable, "-m", "nmfkit", "fit", fit.file, "-o", out, "--loss", fit.work.loss, "--rank", fit.work.rank,
        "--max-sweeps", fit.sweeps, "--tol", fit.tol, "--threads", fit.threads, "--quiet",
    ]  # fmt: skip

    def factors():
        import nmfkit

        result = nmfkit.load(out)
        return result.w, result.h

    return command, factors


def with_sklearn(fit, folder):
    """The command, and how to read what it wrote."""
    out = folder / "factors.npz"
    command = [
        sys.executable, SCRIPT, fit.file, out, "--loss", NAMES[fit.work.beta], "--rank", fit.work.rank,
        "--max-iter", fit.sweeps, "--tol", fit.tol,
    ]  # fmt: skip

    def factors():
        with np.load(out) as found:
            return found["w"], found["h"]

    return command, factors


SIDES = {"nmfkit": with_nmfkit, "scikit-learn": with_sklearn}


def run(side, fit) -> Spent:
    """One process, from its start to its end, and the factors that it left."""
    with tempfile.TemporaryDirectory() as folder:
        command, factors = side(fit, Path(folder))
        spent = Path(folder) / "spent.json"
        launched = [sys.executable, "-S", LAUNCH, spent, *command]
        subprocess.run(list(map(str, launched)), env=threads_of(fit.threads), check=True)
        reached = objective(fit.work.x, *factors(), fit.work.beta)
        return Spent(**json.loads(spent.read_text()), objective=reached)


def measure(fit, runs) -> dict[str, Spent]:
    """Medians of each side; they take turns, after a run of each that is not counted."""
    spent = {name: [] for name in SIDES}
    for number_of_run in range(runs + 1):
        for name, side in SIDES.items():
            found = run(side, fit)
            if number_of_run:  # the first one reads files that later ones find in memory, and compiles
                spent[name].append(found)
    return {name: medians(of) for name, of in spent.items()}


def medians(spent) -> Spent:
    return Spent(*(median(values) for values in zip(*map(astuple, spent), strict=True)))


def write(work, folder) -> Path:
    """The matrix as a file that both can read."""
    file = folder / f"{work.name}.{'npz' if sp.issparse(work.x) else 'npy'}"
    if sp.issparse(work.x):
        sp.save_npz(file, work.x)
    else:
        np.save(file, work.x)
    return file


def row(name, spent) -> list[list[str]]:
    """A line for each side, and one for nmfkit's over scikit-learn's."""
    sides = [
        [f"{name} {side}", number(of.wall), number(of.cpu), number(of.peak / 1e6), f"{of.objective:.6g}"]
        for side, of in spent.items()
    ]
    ours, theirs = (astuple(spent[side]) for side in SIDES)
    return [*sides, [f"{name} ratio", *(number(a / b, "×") for a, b in zip(ours, theirs, strict=True))]]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--workload", nargs="+", choices=RECIPES, default=["W6", "W1", "W4"], metavar="NAME")
    options.add_argument("--scale", type=float, default=0.25, help="of both sides of W1 … W5")
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--sweeps", type=int, default=200, help="at most, for both")
    options.add_argument("--tol", type=float, default=1e-4, help="each has its own stopping test; 0: all sweeps")
    given = options.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in given.workload:
            work = make(name, dtype="float32", scale=given.scale)
            fit = Fit(work, write(work, Path(folder)), given.sweeps, given.tol, given.threads)
            rows += row(name, measure(fit, given.runs))
    show([Table(f"Whole processes, median of {given.runs}", ("", "wall s", "CPU s", "peak MB", "objective"), rows)])


if __name__ == "__main__":
    main()
