"""How the time of a sweep grows with rows, columns, rank, stored entries, β and threads.

    python benchmarks/growth.py
    python benchmarks/growth.py --quick --json growth.json

One quantity at a time is varied from a middle point; a number is the median of the sweeps of one fit, without the
first ones.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import median

import numpy as np
import scipy.sparse as sp

import nmfkit
from nmfkit.loop import Watcher

MIDDLE = {"m": 8000, "n": 1000, "rank": 20, "density": 0.02, "threads": 1}
AXES = {
    "m": (2000, 4000, 8000, 16000, 32000),
    "n": (250, 500, 1000, 2000, 4000),
    "rank": (5, 10, 20, 40, 80),
    "density": (0.005, 0.01, 0.02, 0.04, 0.08),
    "threads": (1, 2),
}
DENSE = ("frobenius", "kl", "is", "beta:0.5", "beta:0.7", "beta:1.5", "beta:3")
SPARSE = ("frobenius", "kl")


class Sweeps(Watcher):
    """Keeps when sweeps ended."""

    def __init__(self):
        self.ends = []

    def sweep(self, _state):
        self.ends.append(time.perf_counter())


def matrix(m, n, density, is_sparse):
    """Counts around a product of rank 10, all above zero if dense."""
    rng = np.random.default_rng(0)
    if is_sparse:
        return sp.random_array((m, n), density=density, format="csr", dtype=np.float32, rng=rng)
    low = rng.gamma(0.5, 2.0, (m, 10)).astype(np.float32) @ rng.gamma(0.5, 2.0, (10, n)).astype(np.float32)
    return low * rng.gamma(4, 0.25, (m, n)).astype(np.float32) + np.float32(0.01)


def seconds(loss, is_sparse, point, sweeps):
    """The median time of a sweep."""
    x = matrix(point["m"], point["n"], point["density"], is_sparse)
    watcher = Sweeps()
    nmfkit.fit(
        x, rank=point["rank"], loss=loss, pilot="none", tol=0, max_sweeps=sweeps, threads=point["threads"],
        watcher=watcher,
    )  # fmt: skip
    return median(np.diff(watcher.ends)[2:])


def rows(quick):
    """One dictionary for each point."""
    scale, sweeps = (0.25, 6) if quick else (1, 20)
    for is_sparse, losses in ((False, DENSE), (True, SPARSE)):
        for axis, values in AXES.items():
            if axis == "density" and not is_sparse:
                continue
            for loss in losses if axis in ("rank", "threads") else losses[:2]:
                for value in values:
                    point = {**MIDDLE, axis: value}
                    point |= {side: max(50, int(point[side] * scale)) for side in ("m", "n")}
                    took = seconds(loss, is_sparse, point, sweeps)
                    yield {"loss": loss, "sparse": is_sparse, "axis": axis, "value": value, "ms": 1000 * took}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="write every number there")
    parser.add_argument("--quick", action="store_true", help="a sixteenth of the entries, few sweeps")
    options = parser.parse_args()
    found, shown = [], None
    for row in rows(options.quick):
        group = (row["sparse"], row["axis"], row["loss"])
        if group != shown:
            kind = "sparse" if row["sparse"] else "dense"
            print(f"\n{kind} {row['loss']}, ms a sweep by {row['axis']}:", end=" ")
            shown = group
        print(f"{row['value']}: {row['ms']:.2f}", end="  ", flush=True)
        found.append(row)
    print()
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
