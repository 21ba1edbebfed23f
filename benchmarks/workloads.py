"""The matrices that solvers are compared on, where all of them start, and the one objective that judges them.

W1 … W6 are made from a seed; `faces` and `news` are read from the folder $NMFKIT_DATA, where there is one.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

TINY = 1e-16
"""The least that an entry of W H counts as where it is divided by, or its logarithm taken."""

LOSSES = {2.0: "frobenius", 1.0: "kl", 0.0: "is"}


@dataclass(frozen=True)
class Workload:
    """X (m, n), what is asked of it, and the start `w` (m, rank), `h` (rank, n)."""

    name: str
    x: Any
    rank: int
    beta: float
    w: np.ndarray
    h: np.ndarray

    @property
    def loss(self):
        return LOSSES[self.beta]


@dataclass(frozen=True)
class Recipe:
    """`make(rng, scale)` draws X, with numbers from the stream `stream` of a seed."""

    make: Callable
    rank: int
    beta: float
    stream: int


# --- dense ------------------------------------------------------------------------------------------------------


def gamma_factors(rng, m, n, rank):
    """Skewed factors, many entries of which are near zero: parts that overlap and can still be told apart."""
    w = rng.gamma(0.5, 2.0, (m, rank))
    return w, rng.gamma(0.5, 2.0, (rank, n))


def gaussian(rng, scale):
    """Low rank, and noise of a tenth of the mean; what falls below zero is zero."""
    w, h = gamma_factors(rng, int(20000 * scale), int(2000 * scale), 32)
    x = w @ h
    x += 0.1 * x.mean() * rng.standard_normal(x.shape)
    return np.maximum(x, 0, out=x)


def poisson(rng, scale):
    """Counts of mean 3."""
    w, h = gamma_factors(rng, int(5000 * scale), int(2000 * scale), 20)
    mean = w @ h
    mean *= 3.0 / mean.mean()
    return rng.poisson(mean).astype(np.float64)


def speckle(rng, scale):
    """Gamma noise that multiplies, as in power spectra."""
    w, h = gamma_factors(rng, int(3000 * scale), int(1500 * scale), 20)
    power = w @ h + 1e-3
    return power * rng.gamma(2.0, 0.5, power.shape) + 1e-9


def digits(rng, scale):
    """Handwritten digits that come with scikit-learn; never scaled."""
    del rng, scale
    from sklearn.datasets import load_digits

    return load_digits().data.astype(np.float64)


# --- sparse -----------------------------------------------------------------------------------------------------


def documents(rng, scale, topics=50, words_each=110):
    """Counts of words: documents of some length mix a few topics, over frequent and rare words."""
    m, n = int(20000 * scale), int(10000 * scale)
    frequency = 1.0 / np.arange(1, n + 1) ** 0.9
    share = np.maximum(frequency / frequency.sum() * n * 0.05, 1e-3)
    words = rng.gamma(share, 1.0, (topics, n)) + 1e-12
    words /= words.sum(axis=1, keepdims=True)
    mixtures = rng.dirichlet(np.full(topics, 0.1), m)
    lengths = words_each * rng.lognormal(-0.125, 0.5, m)
    counts = rng.poisson(mixtures * lengths[:, None])
    rows = [np.repeat(np.arange(m), counts[:, t]) for t in range(topics)]
    columns = [rng.choice(n, counts[:, t].sum(), p=words[t]) for t in range(topics)]
    return counted(rng, np.concatenate(rows), np.concatenate(columns), (m, n))


def counted(rng, rows, columns, shape):
    """Tokens as a CSR matrix; a row or column without any gets one, since some solvers divide by its sum."""
    m, n = shape
    bare_rows, bare_columns = np.setdiff1d(np.arange(m), rows), np.setdiff1d(np.arange(n), columns)
    rows = np.concatenate([rows, bare_rows, rng.integers(0, m, len(bare_columns))])
    columns = np.concatenate([columns, rng.integers(0, n, len(bare_rows)), bare_columns])
    x = sp.coo_matrix((np.ones(len(rows)), (rows, columns)), shape=shape).tocsr()
    x.sum_duplicates()
    return x


def weighted_documents(rng, scale):
    """The same documents as tf-idf, with rows of norm 1."""
    x = documents(rng, scale)
    inverse = np.log((1 + x.shape[0]) / (1 + np.bincount(x.indices, minlength=x.shape[1]))) + 1
    x = x @ sp.diags(inverse)
    norms = np.sqrt(np.asarray(x.multiply(x).sum(axis=1)).ravel())
    return sp.csr_matrix(sp.diags(1 / norms) @ x)


# --- from files -------------------------------------------------------------------------------------------------


def faces(rng, scale):
    """The Olivetti faces, an image a row."""
    del rng, scale
    with np.load(data_folder() / "faces" / "olivetti.npz") as file:
        return file["X"].astype(np.float64)


def news(rng, scale):
    """Counts of words in newspaper stories; words that no story has are left out."""
    del rng, scale
    from scipy.io import loadmat

    x = sp.csr_matrix(loadmat(data_folder() / "documents" / "hitech.mat")["dtm"].astype(np.float64))
    return x[:, np.flatnonzero(x.getnnz(axis=0))]


def data_folder():
    """Where real data are; raises `FileNotFoundError` where nobody has said."""
    folder = Path(os.environ.get("NMFKIT_DATA", ""))
    if not os.environ.get("NMFKIT_DATA") or not folder.is_dir():
        raise FileNotFoundError("real data are read from the folder $NMFKIT_DATA, and there is none")
    return folder


# --- all of them ------------------------------------------------------------------------------------------------

RECIPES = {
    "W1": Recipe(gaussian, 32, 2.0, 0),
    "W2": Recipe(poisson, 20, 1.0, 1),
    "W3": Recipe(speckle, 20, 0.0, 2),
    "W4": Recipe(documents, 50, 1.0, 4),
    "W5": Recipe(weighted_documents, 50, 2.0, 4),
    "W6": Recipe(digits, 16, 2.0, 5),
    "W6kl": Recipe(digits, 16, 1.0, 6),
    "faces": Recipe(faces, 25, 2.0, 7),
    "news": Recipe(news, 20, 1.0, 8),
}
START = 99
"""The stream of the start, apart from those of the data."""


def make(name, seed=0, dtype="float64", scale=1.0):
    """The workload `name`; `scale` shrinks both sides of W1 … W5."""
    recipe = RECIPES[name]
    x = recipe.make(np.random.default_rng([seed, recipe.stream]), scale)
    w, h = start(x, recipe.rank, seed)
    return Workload(name, x.astype(dtype), recipe.rank, recipe.beta, w.astype(dtype), h.astype(dtype))


def start(x, rank, seed):
    """|N(0, 1)| at the size that gives W H about the mean of X."""
    rng = np.random.default_rng([seed, START])
    size = np.sqrt(x.mean() / rank)
    w = size * np.abs(rng.standard_normal((x.shape[0], rank)))
    return w, size * np.abs(rng.standard_normal((rank, x.shape[1])))


def save(work, folder):
    """Write the workload, so that a process can have it without what making it leaves in memory."""
    folder = Path(folder)
    folder.mkdir(parents=True)
    if sp.issparse(work.x):
        sp.save_npz(folder / "x.npz", work.x, compressed=False)
    else:
        np.save(folder / "x.npy", work.x)
    np.save(folder / "w.npy", work.w)
    np.save(folder / "h.npy", work.h)
    (folder / "about.json").write_text(json.dumps({"name": work.name, "rank": work.rank, "beta": work.beta}))


def load(folder):
    """The workload that `save` wrote."""
    folder = Path(folder)
    x = sp.load_npz(folder / "x.npz") if (folder / "x.npz").exists() else np.load(folder / "x.npy")
    about = json.loads((folder / "about.json").read_text())
    return Workload(x=x, w=np.load(folder / "w.npy"), h=np.load(folder / "h.npy"), **about)


# --- the judge --------------------------------------------------------------------------------------------------


def objective(x, w, h, beta, block=1000):
    """Σ d(x, W H) in float64, some rows at a time; β = 2 is half the squared error."""
    w, h = np.asarray(w, np.float64), np.asarray(h, np.float64)
    if not sp.issparse(x):
        starts = range(0, x.shape[0], block)
        return float(sum(divergence(x[i : i + block].astype(np.float64), w[i : i + block] @ h, beta) for i in starts))
    if beta not in (1, 2):
        raise ValueError(f"sparse data are judged for β 1 and 2, not {beta}")
    stored = sum(on_pattern(x[i : i + block], w[i : i + block], h, beta) for i in range(0, x.shape[0], block))
    # Where x is 0, d is y²/2 or y: summed over all entries by the factors, without W H.
    everywhere = 0.5 * np.sum((w.T @ w) * (h @ h.T)) if beta == 2 else w.sum(axis=0) @ h.sum(axis=1)
    return float(stored + everywhere)


def divergence(x, y, beta):
    """Σ d(x, y) of dense blocks."""
    if beta == 2:
        return 0.5 * np.sum((x - y) ** 2)
    y = np.maximum(y, TINY)
    if beta == 1:
        some = x > 0
        return np.sum(x[some] * np.log(x[some] / y[some])) - x.sum() + y.sum()
    if beta == 0:
        return np.sum(x / y - np.log(x / y) - 1)
    return np.sum(x**beta + (beta - 1) * y**beta - beta * x * y ** (beta - 1)) / (beta * (beta - 1))


def on_pattern(x, w, h, beta):
    """What the stored entries of a CSR block add to Σ d(0, y)."""
    x = x.tocoo()
    values = x.data.astype(np.float64)
    y = np.einsum("ij,ij->i", w[x.row], h.T[x.col])
    if beta == 2:
        return 0.5 * (values @ values) - values @ y
    return np.sum(values * np.log(values / np.maximum(y, TINY)) - values)
