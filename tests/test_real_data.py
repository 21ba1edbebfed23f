"""Real matrices: the objective of scikit-learn's NMF from the same start, or a lower one."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp

import nmfkit
from nmfkit.errors import DataError
from nmfkit.sources import open_source

SWEEPS = 40
CASES = {
    "digits": ("sample:digits", None, 10),
    "python-docs": ("sample:python-docs", None, 8),
    "CBCL": ("faces/CBCL.mat", "X", 16),
    "classic": ("documents/classic.mat", None, 4),
    "hitech": ("documents/hitech.mat", "dtm", 6),
}


def matrix(name, request):
    """The whole matrix as it is stored: an array, or CSR."""
    path, key, rank = CASES[name]
    if not path.startswith("sample:"):
        path = request.getfixturevalue("data_dir") / path
    source = open_source(path, key=key, dtype="float64")
    block = source.read(0, source.shape[0])
    if source.is_sparse:
        return sp.csr_array((block.values, block.indices, block.indptr), shape=source.shape), rank
    return block.values, rank


def start(x, rank):
    rng = np.random.default_rng(0)
    scale = np.sqrt(x.mean() / rank)
    return scale * rng.random((x.shape[0], rank)) + 1e-3 * scale, scale * rng.random((rank, x.shape[1])) + 1e-3 * scale


def peer(x, rank, loss, w, h):
    """Scikit-learn's factors after as many iterations of its solver for the loss."""
    from sklearn.decomposition import non_negative_factorization
    from sklearn.exceptions import ConvergenceWarning

    solver, name = {"frobenius": ("cd", "frobenius"), "kl": ("mu", "kullback-leibler")}[loss]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a fixed number of iterations is the point
        w, h, _ = non_negative_factorization(
            x,
            w.copy(),
            h.copy(),
            n_components=rank,
            init="custom",
            solver=solver,
            beta_loss=name,
            tol=0,
            max_iter=SWEEPS,
        )
    return w, h


def objective(x, w, h, loss):
    """The loss by plain formulas, a few rows at a time."""
    total = 0.0
    for lo in range(0, x.shape[0], 500):
        rows = x[lo : lo + 500]
        rows = rows.toarray() if sp.issparse(rows) else rows
        y = w[lo : lo + 500] @ h
        if loss == "frobenius":
            total += 0.5 * np.sum((rows - y) ** 2)
        else:
            there = rows > 0
            total += np.sum(rows[there] * np.log(rows[there] / y[there])) - rows.sum() + y.sum()
    return total


@pytest.mark.parametrize("loss", ["frobenius", "kl"])
@pytest.mark.parametrize("name", CASES)
def test_as_low_as_scikit_learn_from_the_same_start(name, loss, request):
    x, rank = matrix(name, request)
    w, h = start(x, rank)
    ours = nmfkit.fit(x, loss=loss, rank=rank, w=w, h=h, max_sweeps=SWEEPS, tol=0)
    assert ours.objective == pytest.approx(objective(x, ours.w, ours.h, loss), rel=1e-9)
    assert ours.objective <= objective(x, *peer(x, rank, loss, w, h), loss) * (1 + 1e-9)
    # Sweeps that have nothing left to gain move by a rounding, up or down.
    assert np.diff(ours.history.objective).max() <= 1e-15 * ours.objective


@pytest.mark.parametrize("loss", ["frobenius", "kl"])
@pytest.mark.parametrize("name", ["digits", "python-docs", "hitech", "CBCL"])
def test_dense_sparse_blocked_and_stored_agree(name, loss, request, tmp_path):
    x, rank = matrix(name, request)
    dense, sparse = (x.toarray(), x) if sp.issparse(x) else (x, sp.csr_array(x))
    nmfkit.convert(dense, tmp_path / "dense.zarr", chunk_mb=0.2)
    nmfkit.convert(sparse, tmp_path / "sparse.zarr", chunk_mb=0.1)
    # How many rows a pilot takes depends on how many entries are stored, so a number is given.
    options = {"loss": loss, "rank": rank, "pilot": 50, "max_sweeps": 5, "tol": 0}
    reference = nmfkit.fit(dense, threads=1, **options)
    for other in (sparse, tmp_path / "dense.zarr", tmp_path / "sparse.zarr"):
        for memory in (None, "48MiB"):
            fit = nmfkit.fit(other, threads=2, memory=memory, **options)
            assert fit.objective == pytest.approx(reference.objective, rel=1e-10)
            np.testing.assert_allclose(fit.h, reference.h, rtol=1e-5, atol=1e-8 * reference.h.max())


def test_nndsvd_starts_below_random_on_digits():
    at_start = {
        i: nmfkit.fit("sample:digits", rank=10, init=i, max_sweeps=0).objective for i in ("random", "nndsvd", "nndsvda")
    }
    assert at_start["nndsvd"] < at_start["random"]
    assert at_start["nndsvda"] < at_start["random"]


def test_samson_is_fitted_to_the_floor_of_its_spectrum(data_dir):
    source = open_source(data_dir / "hyperspectral" / "samson_1.mat", key="V", dtype="float64")
    pixels = np.ascontiguousarray(source.read(0, source.shape[0]).values.T)
    singular = np.linalg.svd(pixels, compute_uv=False)
    floor = np.sqrt(np.sum(singular[3:] ** 2))  # no three components of whatever sign do better
    for init in ("random", "nndsvd"):
        fit = nmfkit.fit(pixels, rank=3, init=init, max_sweeps=500)
        assert floor <= np.sqrt(2 * fit.objective) <= 1.02 * floor


def test_signatures_with_names(data_dir):
    fit = nmfkit.fit(data_dir / "biology" / "counts_21breast.csv", loss="kl", rank=4)
    assert fit.shape == (21, 96)
    assert len(fit.row_names) == 21
    assert len(fit.feature_names) == 96


def test_real_zeros_under_itakura_saito_are_refused(data_dir):
    with pytest.raises(DataError, match="infinite where the matrix is zero"):
        nmfkit.fit(data_dir / "documents" / "classic.mat", loss="is", rank=4)
