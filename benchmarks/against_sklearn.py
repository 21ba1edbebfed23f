"""Time a sweep and the objective reached, against scikit-learn from the same start on the same data, in one run.

python benchmarks/against_sklearn.py --scale 0.1 --sweeps 20 --repeats 5 --threads 1
"""

import argparse
import statistics
import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.datasets import load_digits
from sklearn.decomposition import non_negative_factorization
from threadpoolctl import threadpool_limits

import nmfkit

BETA = {"frobenius": "frobenius", "kl": "kullback-leibler", "is": "itakura-saito"}
SHAPES = {
    "squares": (20000, 2000, 32, "frobenius"),
    "counts": (5000, 2000, 20, "kl"),
    "spectra": (3000, 1500, 20, "is"),
    "topics": (20000, 10000, 50, "kl"),
    "digits": (1797, 64, 16, "frobenius"),
    "digits-kl": (1797, 64, 16, "kl"),
}
"""Rows, columns, rank and loss at scale 1; digits are never scaled."""


@dataclass(frozen=True)
class Workload:
    name: str
    x: Any
    rank: int
    loss: str


def make(name, scale, seed):
    """The workload with `scale` times its entries, both sides shrunk alike."""
    m, n, rank, loss = SHAPES[name]
    if name.startswith("digits"):
        return Workload(name, load_digits().data.astype(np.float32), rank, loss)
    m, n = round(m * scale**0.5), round(n * scale**0.5)
    x = topics(m, n, rank, seed) if name == "topics" else dense(name, m, n, rank, seed)
    return Workload(name, x.astype(np.float32), rank, loss)


def dense(name, m, n, rank, seed):
    """Gamma factors with the noise that the loss is made for."""
    rng = np.random.default_rng(seed)
    y = rng.gamma(1.0, size=(m, rank)) @ rng.gamma(0.5, size=(rank, n))
    if name == "squares":
        return np.maximum(y + 0.1 * y.mean() * rng.standard_normal(y.shape), 0)
    if name == "counts":
        return rng.poisson(3 * y / y.mean())
    return y * rng.gamma(2.0, 0.5, y.shape) + 1e-6 * y.mean()


def topics(m, n, rank, seed):
    """Documents of about 100 words, each from a few topics over a vocabulary with frequent and rare words."""
    rng = np.random.default_rng(seed)
    frequency = 1 / np.arange(1, n + 1)
    words = rng.gamma(0.1, size=(rank, n)) * frequency
    words /= words.sum(axis=1, keepdims=True)
    mixtures = rng.dirichlet(np.full(rank, 0.1), m)
    rows = [rng.multinomial(rng.poisson(100), mixture @ words) for mixture in mixtures]
    x = sp.vstack([sp.csr_array(row[None]) for row in rows], format="csr")
    used = np.flatnonzero(x.sum(axis=0))
    return sp.csr_array(x[:, used])


def start(work, seed):
    rng = np.random.default_rng([seed, 1])
    m, n = work.x.shape
    size = np.sqrt(work.x.mean() / work.rank)
    return tuple(
        (size * np.abs(rng.standard_normal(shape))).astype(np.float32) for shape in ((m, work.rank), (work.rank, n))
    )


def objective(work, w, h):
    """The loss of W H in float64, the same sum for everyone; outside every clock."""
    w, h, total = w.astype(np.float64), h.astype(np.float64), 0.0
    for lo in range(0, len(w), 500):
        y = w[lo : lo + 500] @ h
        x = work.x[lo : lo + 500]
        x = (x.toarray() if sp.issparse(x) else x).astype(np.float64)
        if work.loss == "frobenius":
            total += 0.5 * np.sum((x - y) ** 2)
        elif work.loss == "kl":
            y = np.maximum(y, np.finfo(np.float64).tiny)
            total += np.sum(np.where(x > 0, x * np.log(np.maximum(x, 1e-300) / y), 0) - x + y)
        else:
            total += np.sum(x / y - np.log(x / y) - 1)
    return float(total)


def with_nmfkit(work, w, h, sweeps, threads):
    result = nmfkit.fit(
        work.x, loss=work.loss, rank=work.rank, w=w, h=h, max_sweeps=sweeps, tol=0, dtype="float32", threads=threads
    )
    return result.w, result.h


def with_sklearn(work, w, h, sweeps, threads):
    solver = "cd" if work.loss == "frobenius" else "mu"
    with threadpool_limits(threads), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return non_negative_factorization(
            work.x, W=w.copy(), H=h.copy(), n_components=work.rank, init="custom", solver=solver,
            beta_loss=BETA[work.loss], max_iter=sweeps, tol=0,
        )[:2]  # fmt: skip


def measure(work, given):
    """Median seconds a sweep of each, and the objectives; the two take turns, so that a busy moment hits both.

    A fit of one sweep is timed as well and taken off: what a fit costs once is no part of a sweep.
    """
    w, h = start(work, given.seed)
    runs = {"nmfkit": with_nmfkit, "scikit-learn": with_sklearn}
    seconds = {name: [] for name in runs}
    # The first call also compiles and loads what is needed.
    reached = {name: objective(work, *run(work, w, h, given.sweeps, given.threads)) for name, run in runs.items()}
    for _ in range(given.repeats):
        for name, run in runs.items():
            clock = [time.perf_counter()]
            for sweeps in (1, given.sweeps):
                run(work, w, h, sweeps, given.threads)
                clock.append(time.perf_counter())
            seconds[name].append((clock[2] - 2 * clock[1] + clock[0]) / (given.sweeps - 1))
    return {name: statistics.median(times) for name, times in seconds.items()}, reached


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--workload", choices=SHAPES, action="append", help="may be repeated; default: all")
    options.add_argument("--scale", type=float, default=0.05, help="share of the full matrices' entries")
    options.add_argument("--sweeps", type=int, default=20, help="at least 2")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    print(f"{given.sweeps} sweeps, median of {given.repeats}, {given.threads} thread(s), float32\n")
    heads = ("nmfkit ms", "sklearn ms", "speed", "objective")
    print(f"{'workload':<11}{'shape':<13}{'loss':<11}" + "".join(f"{head:>12}" for head in heads))
    for name in given.workload or SHAPES:
        work = make(name, given.scale, given.seed)
        seconds, reached = measure(work, given)
        mine, theirs = seconds["nmfkit"], seconds["scikit-learn"]
        shape = "×".join(map(str, work.x.shape))
        print(
            f"{name:<11}{shape:<13}{work.loss:<11}{1e3 * mine:>12.2f}{1e3 * theirs:>12.2f}{theirs / mine:>11.1f}×"
            f"{reached['nmfkit'] / reached['scikit-learn']:>12.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
