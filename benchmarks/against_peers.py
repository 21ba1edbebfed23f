"""Compare nmfkit with other software: the same matrices, the same start, a loss curve for every fit.

python benchmarks/against_peers.py --workload W2 --solver nmfkit sklearn-mu torchnmf --budget 10 --out curves.jsonl
python benchmarks/report.py curves.jsonl
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import scipy.sparse as sp
from machine import threads_of
from solvers import SOLVERS, find
from workloads import RECIPES, make, save

ONE_FIT = Path(__file__).with_name("one_fit.py")


@dataclass(frozen=True)
class Case:
    """One fit to be measured."""

    workload: str
    threads: int
    solver: str
    repeat: int

    def __str__(self):
        return f"{self.workload} {self.solver} on {self.threads} thread{'s'[: self.threads > 1]}, {self.repeat + 1}."


def cases(given):
    """All fits: repeats outermost, so that a machine that changes its pace does so for everybody.

    Every repeat begins with another solver.
    """
    for repeat in range(given.repeats):
        turn = repeat % len(given.solver)
        for workload in given.workload:
            for threads in given.threads:
                for solver in given.solver[turn:] + given.solver[:turn]:
                    yield Case(workload, threads, solver, repeat)


def stored(given, folder) -> tuple[dict[str, dict], set[tuple[str, str]]]:
    """Write each workload into `folder`; what a record says about it, and which solvers are not made for which."""
    about, unfit = {}, set()
    for name in given.workload:
        work = make(name, given.seed, given.dtype, given.scale)
        save(work, folder / name)
        unfit |= {(name, solver) for solver in given.solver if find(solver).refuses(work)}
        about[name] = {
            "shape": work.x.shape, "rank": work.rank, "loss": work.loss,
            "stored": work.x.nnz if sp.issparse(work.x) else None,
        }  # fmt: skip
    return about, unfit


def fitted(case, given, folder) -> dict:
    """What `one_fit.py` found, or why it found nothing."""
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    asked = {
        "solver": case.solver, "folder": str(folder / case.workload), "threads": case.threads, "result": str(result),
        "budget": given.budget, "most": given.most,
    }  # fmt: skip
    python = given.python.get(case.solver, sys.executable)
    try:
        process = subprocess.run(
            [python, ONE_FIT, json.dumps(asked)], env=threads_of(case.threads), capture_output=True, text=True,
            timeout=given.patience, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"skipped": f"it was at work after {given.patience:g} s"}
    if process.returncode:
        last = (process.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return {"skipped": f"it failed: {last}"}
    return json.loads(result.read_text())


def measure(given, folder):
    """Append a line to the output for each fit; a solver that fails at a workload is not asked again."""
    try:
        about, hopeless = stored(given, folder)
    except FileNotFoundError as error:
        raise SystemExit(str(error)) from None
    settings = {"dtype": given.dtype, "seed": given.seed, "scale": given.scale, "budget": given.budget}
    for case in cases(given):
        if (case.workload, case.solver) in hopeless:
            continue
        found = fitted(case, given, folder)
        if "skipped" in found:
            hopeless.add((case.workload, case.solver))
            print(f"{case}: left out, {found['skipped']}", flush=True)
            continue
        with given.out.open("a") as out:
            out.write(json.dumps({**vars(case), **settings, **about[case.workload], **found}) + "\n")
        iterations, wall, _, objective = found["curve"][-1]
        print(f"{case}: {iterations} iterations, {wall:.2f} s, objective {objective:.7g}", flush=True)


def solver_name(text):
    try:
        find(text)
    except KeyError:
        raise argparse.ArgumentTypeError(f"there is no {text!r}; there are nmfkit:RULE, {', '.join(SOLVERS)}") from None
    return text


def interpreter(text):
    solver, _, path = text.partition("=")
    return solver_name(solver), path


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    synthetic = [name for name in RECIPES if name.startswith("W")]
    options.add_argument("--workload", nargs="+", choices=RECIPES, default=synthetic, metavar="NAME")
    options.add_argument("--solver", nargs="+", type=solver_name, default=list(SOLVERS), metavar="NAME")
    options.add_argument("--rule", nargs="+", default=[], help="nmfkit with these rules as well, as mu")
    options.add_argument("--threads", nargs="+", type=int, default=[1])
    options.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    options.add_argument("--budget", type=float, default=10, help="seconds of a fit")
    options.add_argument("--most", type=int, default=60, help="checkpoints of a fit")
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--scale", type=float, default=1.0, help="of both sides of W1 … W5")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--patience", type=float, default=900, help="seconds after which a process is ended")
    options.add_argument(
        "--python", nargs="+", type=interpreter, default=[], metavar="SOLVER=PATH",
        help="the Python that a solver is installed in, where it gets along with nobody else",
    )  # fmt: skip
    options.add_argument("--out", type=Path, default=Path("curves.jsonl"), help="lines are appended to it")
    given = options.parse_args()
    given.solver = [*given.solver, *(f"nmfkit:{rule}" for rule in given.rule)]
    given.python = dict(given.python)
    with tempfile.TemporaryDirectory() as folder:
        measure(given, Path(folder))


if __name__ == "__main__":
    main()
