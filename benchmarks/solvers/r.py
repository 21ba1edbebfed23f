"""Solvers in R: a process of R has the clock, and leaves the factors of each checkpoint in files."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from solvers.shapes import stepwise

SCRIPT = Path(__file__).with_name("fit.R")


def version(library) -> str | None:
    """That of an R library; None where it is not installed, or R is not."""
    if shutil.which("Rscript") is None:
        return None
    question = f'cat(as.character(packageVersion("{library}")))'
    answer = subprocess.run(["Rscript", "-e", question], capture_output=True, text=True, check=False)
    return None if answer.returncode else answer.stdout


def in_r(name):
    """The solver that `fit.R` knows by that name."""

    @stepwise
    def steps(work, threads):
        m, n = work.x.shape
        with tempfile.TemporaryDirectory() as folder:
            write(work, Path(folder))
            asked = [name, folder, m, n, work.rank, threads]
            command, own = ["Rscript", SCRIPT, *map(str, asked)], os.environ | {"TMPDIR": folder}
            with subprocess.Popen(command, env=own, stdout=subprocess.PIPE, text=True) as process:
                try:
                    for line in process.stdout:
                        iterations, wall, cpu, peak = line.split()
                        w, h = (Path(folder) / f"{factor}-{iterations}" for factor in "wh")
                        yield (
                            int(iterations), np.fromfile(w).reshape(work.rank, m).T,
                            np.fromfile(h).reshape(n, work.rank).T, float(wall), float(cpu), int(peak),
                        )  # fmt: skip
                        w.unlink()
                        h.unlink()
                finally:
                    process.kill()

    return steps


def write(work, folder):
    """X, W and H as R has them: doubles by columns."""
    if sp.issparse(work.x):
        x = work.x.tocsc()
        x.sort_indices()
        x.indptr.astype(np.int32).tofile(folder / "pointers")
        x.indices.astype(np.int32).tofile(folder / "rows")
        x.data.astype(np.float64).tofile(folder / "values")
    else:
        work.x.T.astype(np.float64).tofile(folder / "x")
    work.w.T.astype(np.float64).tofile(folder / "w")
    work.h.T.astype(np.float64).tofile(folder / "h")
