"""A matrix larger than the memory that the fit may use: written block by block, then streamed.

    python examples/out_of_core.py --rows 40000 --memory 24MiB

The default is small enough to run in seconds; the same code serves a matrix of any size.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import zarr

import nmfkit

FEATURES, RANK, BAND = 400, 5, 2000


def write(path, rows):
    """Counts with `RANK` true components, a band of rows at a time."""
    rng = np.random.default_rng(0)
    h = rng.gamma(0.5, size=(RANK, FEATURES))
    x = zarr.create_array(str(path), shape=(rows, FEATURES), chunks=(BAND // 4, FEATURES), dtype="float32")
    for lo in range(0, rows, BAND):
        w = rng.gamma(1.0, size=(min(BAND, rows - lo), RANK))
        x[lo : lo + len(w)] = rng.poisson(w @ h)
    return x.nbytes


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=20000)
    options.add_argument("--memory", default="16MiB")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        matrix, run = Path(folder) / "counts.zarr", Path(folder) / "run.zarr"
        size = write(matrix, given.rows)
        print(f"X takes {size / 2**20:.0f} MiB, the fit may use {given.memory}\n")
        asked = {"loss": "kl", "rank": RANK, "memory": given.memory, "max_sweeps": 15}
        print(nmfkit.explain(matrix, **asked), end="\n\n")
        result = nmfkit.fit(matrix, out=run, **asked)
        print(f"objective {result.objective:,.0f} after {result.history.sweep[-1]} sweeps")


if __name__ == "__main__":
    main()
