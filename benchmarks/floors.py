"""What this machine can do: the rates of the steps that an iteration cannot do without, measured here and now.

python benchmarks/floors.py --threads 1 2 --out floors.json
"""

import argparse
import json
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import machine
import numpy as np
from tables import Table, number, show
from threadpoolctl import threadpool_limits

SQUARES, COUNTS = (20000, 2000, 32), (5000, 2000, 20)
"""Rows, columns and rank of W1 and W2."""

BLOCK = 128
"""Rows of W H at a time: the product and what becomes of it stay in the cache of a core."""

DOCUMENTS, WORDS, EACH, WIDTH = 20000, 10000, 88, 64
"""Rows, columns, stored entries a row and padded rank of a matrix like W4."""


def rates(dtype, threads, scale=1.0, repeats=7) -> dict[str, float]:
    """Flops, entries or bytes a second of each step; each thread has its share of the rows, and BLAS no others."""
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:

        def rate(amount, step, rows):
            return amount / fastest(pool, step, shares(rows, threads), repeats)

        return {**squares(rate, dtype, scale), **counts(rate, dtype, scale), **gather(rate, dtype, scale)}


def fastest(pool, step, parts, repeats) -> float:
    """Seconds of `step` on all parts at once, the least of some tries after one that warms up."""
    list(pool.map(step, parts))
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        list(pool.map(step, parts))
        took.append(time.perf_counter() - began)
    return min(took)


def shares(rows, count) -> list[slice]:
    edges = [rows * i // count for i in range(count + 1)]
    return [slice(lo, hi) for lo, hi in pairwise(edges)]


def blocks(part, step=BLOCK):
    """The rows of a part, a block at a time."""
    return (slice(lo, min(lo + step, part.stop)) for lo in range(part.start, part.stop, step))


# --- dense --------------------------------------------------------------------------------------------------------


def squares(rate, dtype, scale) -> dict[str, float]:
    """The two products of W1, and how fast its X is copied."""
    m, n, k = int(SQUARES[0] * scale), int(SQUARES[1] * scale), SQUARES[2]
    rng = np.random.default_rng(0)
    x, w, h = (rng.random(shape).astype(dtype) for shape in ((m, n), (m, k), (k, n)))
    ht, other = np.ascontiguousarray(h.T), np.empty_like(x)
    return {
        "X Hᵀ": rate(2 * m * n * k, lambda part: x[part] @ ht, m),
        "Xᵀ W": rate(2 * m * n * k, lambda part: w[part].T @ x[part], m),
        "copy": rate(2 * x.nbytes, lambda part: np.copyto(other[part], x[part]), m),
    }


def counts(rate, dtype, scale) -> dict[str, float]:
    """The steps of W2, through a block of W H that each thread has in its cache."""
    m, n, k = int(COUNTS[0] * scale), int(COUNTS[1] * scale), COUNTS[2]
    rng = np.random.default_rng(0)
    x, w, h = (rng.random(shape).astype(dtype) + 1 for shape in ((m, n), (m, k), (k, n)))
    ht = np.ascontiguousarray(h.T)

    def blocked(step):
        def over(part):
            y = np.ones((BLOCK, n), dtype)
            for rows in blocks(part):
                step(rows, y[: rows.stop - rows.start])

        return over

    return {
        "W H": rate(2 * m * n * k, blocked(lambda rows, y: np.matmul(w[rows], h, out=y)), m),
        "R Hᵀ": rate(2 * m * n * k, blocked(lambda _, y: y @ ht), m),
        "Rᵀ W": rate(2 * m * n * k, blocked(lambda rows, y: w[rows].T @ y), m),
        "divide": rate(m * n, blocked(lambda rows, y: np.divide(x[rows], y, out=y)), m),
    }


# --- sparse -------------------------------------------------------------------------------------------------------


def gather(rate, dtype, scale) -> dict[str, float]:
    """Half an iteration on stored entries: y = w·h_j, then w' += h_j x / y; nothing where there is no numba."""
    try:
        step = compiled()
    except ImportError:
        return {}
    m, n = int(DOCUMENTS * scale), int(WORDS * scale)
    rng = np.random.default_rng(0)
    # Frequent and rare words, as in documents: rows of H that are met often stay in the cache.
    columns = np.minimum(n * rng.random((m, EACH)) ** 3, n - 1).astype(np.int32)
    x, w, h = (rng.random(shape).astype(dtype) + 1 for shape in ((m, EACH), (m, WIDTH), (n, WIDTH)))
    sums = np.zeros_like(w)
    done = 4 * columns.size * WIDTH
    return {"gather": rate(done, lambda part: step(x[part], columns[part], w[part], h, sums[part]), m)}


def compiled():
    """The loop, with the rank a constant that the compiler knows."""
    from numba import njit

    width = WIDTH

    @njit(nogil=True, fastmath=True)
    def step(x, columns, w, h, sums):
        for i in range(x.shape[0]):
            for p in range(x.shape[1]):
                row = h[columns[i, p]]
                y = w[i, 0] * row[0]
                for c in range(1, width):
                    y += w[i, c] * row[c]
                share = x[i, p] / y
                for c in range(width):
                    sums[i, c] += share * row[c]

    return step


# --- of an iteration ----------------------------------------------------------------------------------------------


def seconds_of(loss, shape, rank, stored, rate) -> float | None:
    """The least that an iteration of the plainest method takes: both factors updated, no step shared or left out."""
    product = 2 * shape[0] * shape[1] * rank
    if stored is not None:
        each = {"frobenius": 4, "kl": 8}[loss]
        return each * stored * rank / rate["gather"] if "gather" in rate else None
    if loss == "frobenius":
        return product / rate["X Hᵀ"] + product / rate["Xᵀ W"]
    # Each factor has its own W H, its own division, and for IS a second product, with 1 / (W H).
    back = {"kl": 1, "is": 2}[loss] * (product / rate["R Hᵀ"] + product / rate["Rᵀ W"])
    return 2 * product / rate["W H"] + 2 * shape[0] * shape[1] / rate["divide"] + back


def of_iteration(record, floors) -> float | None:
    """For a record of `against_peers.py`; None where the rates are not those of its size."""
    rate = floors["rates"].get(record["dtype"], {}).get(str(record["threads"]))
    if rate is None or record["scale"] != 1 or record["workload"] not in ("W1", "W2", "W3", "W4", "W5"):
        return None
    return seconds_of(record["loss"], record["shape"], record["rank"], record["stored"], rate)


SIZES = {
    "W1": ("frobenius", SQUARES[:2], 32, None),
    "W2": ("kl", COUNTS[:2], 20, None),
    "W3": ("is", (3000, 1500), 20, None),
    "W4": ("kl", (DOCUMENTS, WORDS), 50, 1_750_000),
    "W5": ("frobenius", (DOCUMENTS, WORDS), 50, 1_750_000),
}
"""Loss, shape, rank and about how many stored entries."""


def tables(found) -> list[Table]:
    """Rates in thousands of millions a second, and milliseconds of an iteration."""
    columns = [(dtype, threads) for dtype, of in found["rates"].items() for threads in of]
    heads = tuple(f"{dtype}, {threads} thread{'s'[: threads != '1']}" for dtype, threads in columns)
    every = [found["rates"][dtype][threads] for dtype, threads in columns]
    units = {"copy": "GB/s", "divide": "G/s"}
    rows = [
        [f"{name}, {units.get(name, 'GF/s')}", *(number(rate[name], scale=1e-9) for rate in every)] for name in every[0]
    ]
    floors = [[name, *(number(seconds_of(*size, rate), scale=1e3) for rate in every)] for name, size in SIZES.items()]
    return [Table("Rates", ("step", *heads), rows), Table("Floors, ms/iteration", ("workload", *heads), floors)]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    options.add_argument("--dtype", nargs="+", choices=("float32", "float64"), default=["float32", "float64"])
    options.add_argument("--scale", type=float, default=1.0, help="less only to see that all of it runs")
    options.add_argument("--out", type=Path, help="a JSON file for report.py")
    given = options.parse_args()
    found = {
        "machine": machine.facts(),
        "versions": machine.versions(["numba"]),
        "scale": given.scale,
        "rates": {d: {str(t): rates(d, t, given.scale) for t in given.threads} for d in given.dtype},
    }
    show(tables(found))
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
