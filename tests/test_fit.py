"""Fits end to end through the Python door: what comes back, from whatever kind of matrix."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from small import COUNTS, QUICK, RNG, X, halved_squares, same

import nmfkit
from nmfkit.errors import UsageError
from nmfkit.loop import Record
from nmfkit.problem import Problem
from nmfkit.stopping import Gauge, reason_to_stop

# --- what comes back ----------------------------------------------------------------------------------------


def test_the_objective_is_that_of_the_returned_factors():
    for sweeps in (0, 1, 7):
        r = nmfkit.fit(X, rank=4, max_sweeps=sweeps, tol=0)
        assert r.objective == pytest.approx(halved_squares(X, r), rel=1e-9)
        assert r.history.sweep.tolist() == list(range(sweeps + 1))
        assert r.history[-1].objective == r.objective
        assert (r.w.shape, r.h.shape, r.status, r.stopped_by) == ((60, 4), (4, 40), "done", "max-sweeps")
        assert r.w.min() >= 0
        assert r.h.min() >= 0


def test_regularizers_count_with_their_plain_definitions():
    r = nmfkit.fit(COUNTS, loss="kl", reg_w=["l1:0.3", "l2:0.2"], reg_h="l2:0.5", **QUICK)
    y = r.w @ r.h
    kl = np.sum(COUNTS * np.log(np.where(COUNTS > 0, COUNTS, 1) / y) - COUNTS + y)
    penalty = 0.3 * r.w.sum() + 0.1 * np.sum(r.w**2) + 0.25 * np.sum(r.h**2)
    assert r.objective == pytest.approx(kl + penalty, rel=1e-12)


def test_a_fit_repeats_bit_for_bit():
    one, two = (nmfkit.fit(COUNTS, loss="kl", seed=3, **QUICK) for _ in range(2))
    assert np.array_equal(one.w, two.w)
    assert np.array_equal(one.h, two.h)
    assert not np.array_equal(one.h, nmfkit.fit(COUNTS, loss="kl", seed=4, **QUICK).h)


def test_given_factors_are_the_start():
    w, h = RNG.random((60, 4)), RNG.random((4, 40))
    r = nmfkit.fit(X, w=w, h=h, rank=4, max_sweeps=0, rule="mu")
    assert np.array_equal(r.h, h)
    partly = nmfkit.fit(X, h=h, rank=4, max_sweeps=0, rule="mu")
    assert np.array_equal(partly.h, h)


@pytest.mark.parametrize(
    ("factors", "fault"),
    [
        ({"w": np.ones((60, 3))}, r"w has shape \(60, 3\), and the problem needs \(60, 4\)"),
        ({"h": -np.ones((4, 40))}, "h holds negative"),
        ({"h": np.full((4, 40), np.nan)}, "h holds negative or non-finite"),
    ],
)
def test_starting_factors_that_do_not_fit_are_refused(factors, fault):
    with pytest.raises(UsageError, match=fault):
        nmfkit.fit(X, rank=4, **factors)


def test_transform_of_the_training_rows_is_at_least_as_good_as_their_fit():
    r = nmfkit.fit(X, rank=4, max_sweeps=50)
    w = r.transform(X, max_sweeps=500, tol=1e-9)
    assert 0.5 * np.sum((X - w @ r.h) ** 2) <= r.objective * (1 + 1e-6)
    with pytest.raises(UsageError, match="the run has 40 features, and memory has 39"):
        r.transform(X[:, :39])


def test_transform_of_new_rows_with_zero_rows():
    r = nmfkit.fit(COUNTS, loss="kl", rank=4)
    w = r.transform(np.vstack([COUNTS[:3], np.zeros((1, 40))]))
    assert w.shape == (4, 4)
    assert w[3].max() < 1e-9
    assert nmfkit.fit(X, rank=2).transform(np.zeros((2, 40))).max() == 0


# --- the same matrix in every dress -------------------------------------------------------------------------

DRESSES = {
    "fortran": np.asfortranarray,
    "strided": lambda x: np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3],
    "reversed": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "csr": sp.csr_array,
    "csc": sp.csc_matrix,
    "coo": sp.coo_array,
    "int64": lambda x: x.astype(np.int64),
    "uint16": lambda x: x.astype(np.uint16),
}


@pytest.mark.parametrize("loss", ["frobenius", "kl", "beta:0.5"])
@pytest.mark.parametrize("dress", DRESSES)
def test_every_dress_gives_the_same_fit(dress, loss):
    worn = DRESSES[dress](COUNTS)
    before = worn.copy()
    fit = nmfkit.fit(worn, loss=loss, dtype="float64", **QUICK)
    same(fit, nmfkit.fit(COUNTS, loss=loss, **QUICK))
    changed = worn != before
    assert not (changed.nnz if sp.issparse(changed) else changed.any())


def test_read_only_and_mapped_arrays(tmp_path):
    np.save(tmp_path / "x.npy", X)
    locked = X.copy()
    locked.setflags(write=False)
    reference = nmfkit.fit(X, **QUICK)
    same(nmfkit.fit(locked, **QUICK), reference)
    same(nmfkit.fit(tmp_path / "x.npy", **QUICK), reference)
    same(nmfkit.fit(np.load(tmp_path / "x.npy", mmap_mode="r"), **QUICK), reference)


def test_bool_and_half_precision():
    mask = X > 1
    same(nmfkit.fit(mask, dtype="float64", **QUICK), nmfkit.fit(mask.astype(float), **QUICK))
    assert nmfkit.fit(X.astype(np.float16), **QUICK).w.dtype == np.float32
    assert nmfkit.fit(X.astype(np.float32), **QUICK).h.dtype == np.float32


def test_duplicates_unsorted_indices_and_explicit_zeros_are_summed_away():
    csr = sp.csr_array(COUNTS)
    rows, columns = np.repeat(np.arange(60), np.diff(csr.indptr)), csr.indices
    data = np.concatenate([csr.data / 2, csr.data / 2, np.zeros(5)])
    order = np.random.default_rng(0).permutation(len(data))
    i, j = np.concatenate([rows, rows, np.arange(5)])[order], np.concatenate([columns, columns, np.arange(5)])[order]
    by_row = np.argsort(i, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(i, minlength=60))])
    messy = sp.csr_array((data[order][by_row], j[by_row], indptr), shape=COUNTS.shape)
    assert not messy.has_canonical_format
    same(nmfkit.fit(messy, loss="kl", **QUICK), nmfkit.fit(COUNTS, loss="kl", **QUICK))


@pytest.mark.parametrize("loss", ["frobenius", "kl", "is"])
@pytest.mark.parametrize("shape", [(1, 7), (7, 1), (1, 1), (3, 5)])
def test_single_rows_columns_and_more_components_than_either(shape, loss):
    x = RNG.random(shape) + 0.1
    for init in ("random", "nndsvd", "nndsvda"):
        r = nmfkit.fit(x, loss=loss, rank=6, init=init, max_sweeps=30)
        assert np.isfinite(r.objective)
        assert r.w.shape == (shape[0], 6)


@pytest.mark.parametrize("loss", ["frobenius", "kl", "beta:0.5", "beta:1.5", "beta:3"])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
def test_zero_rows_and_columns(loss, kind):
    x = COUNTS.copy()
    x[[0, 17, 59]] = 0
    x[:, [3, 39]] = 0
    r = nmfkit.fit(kind(x), loss=loss, rank=4, max_sweeps=200)
    y = r.w @ r.h
    assert np.isfinite(r.objective)
    assert np.diff(r.history.objective).max() <= 1e-9 * r.history.objective[0]
    if loss != "beta:3":  # there the way to zero is slow
        assert max(y[[0, 17, 59]].max(), y[:, [3, 39]].max()) < 1e-2 * y.max()


@settings(max_examples=15)
@given(chunk=st.integers(1, 61), sparse=st.booleans(), loss=st.sampled_from(["frobenius", "kl", "beta:1.5"]))
def test_zarr_in_any_chunks_on_any_threads(tmp_path_factory, chunk, sparse, loss):
    path = tmp_path_factory.mktemp("z") / "x.zarr"
    if sparse:
        nmfkit.convert(sp.csr_array(COUNTS), path, chunk_mb=chunk * 40e-6)
    else:
        zarr.create_array(str(path), data=COUNTS, chunks=(chunk, 17))
    reference = nmfkit.fit(COUNTS, loss=loss, **QUICK)
    for threads, memory in ((1, None), (3, "1MiB")):
        same(nmfkit.fit(path, loss=loss, threads=threads, memory=memory, **QUICK), reference, 1e-8)


# --- stopping -----------------------------------------------------------------------------------------------


def history(*objectives):
    return [Record(i, o, 0.0) for i, o in enumerate(objectives)]


def test_reasons_to_stop():
    flat = history(*[5.0] * 11)
    assert reason_to_stop(Problem(), flat, 0) == "converged"
    assert reason_to_stop(Problem(), flat[:10], 0) is None
    assert reason_to_stop(Problem(tol=0), flat, 0) is None
    assert reason_to_stop(Problem(max_sweeps=10), flat, 0) == "max-sweeps"
    assert reason_to_stop(Problem(time_limit=1), history(2.0), 1.5) == "time-limit"
    assert reason_to_stop(Problem(tol=1e-2), history(*np.linspace(6, 5, 11)), 0) is None
    risen = history(*np.linspace(5, 6, 11))
    assert reason_to_stop(Problem(tol=1e-2), risen, 0) == "converged"
    assert reason_to_stop(Problem(tol=1e-2), risen, 0, Gauge(wanders=True)) is None
    assert reason_to_stop(Problem(tol=1e-2), flat, 0, Gauge(wanders=True)) == "converged"
    assert reason_to_stop(Problem(tol=1e-2), history(*np.linspace(6, 5.9, 11)), 0, Gauge(unfitted=6.1)) is None
    assert reason_to_stop(Problem(tol=1e-2), flat, 0, Gauge(least=1)) is None


def test_a_fit_converges_and_says_so():
    r = nmfkit.fit(X, rank=4, max_sweeps=5000)
    assert r.stopped_by == "converged"
    assert r.history.sweep[-1] < 5000


def test_the_time_limit_ends_a_fit():
    r = nmfkit.fit(X, rank=4, max_sweeps=10**6, tol=0, time_limit=0.05)
    assert r.stopped_by == "time-limit"


# --- numbers that are hard ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-9, 1e9])
@pytest.mark.parametrize(
    ("loss", "beta"), [("frobenius", 2), ("kl", 1), ("is", 0), ("beta:-1", -1), ("beta:0.5", 0.5), ("beta:3", 3)]
)
def test_a_fit_scales_with_its_data(scale, loss, beta):
    one, other = nmfkit.fit(X + 0.1, loss=loss, **QUICK), nmfkit.fit((X + 0.1) * scale, loss=loss, **QUICK)
    assert other.objective == pytest.approx(one.objective * scale**beta, rel=1e-6)
    np.testing.assert_allclose(other.w @ other.h / scale, one.w @ one.h, rtol=1e-5)


def test_the_objective_of_a_nearly_exact_float32_fit_is_right():
    rng = np.random.default_rng(1)
    x = (rng.random((500, 4)) @ rng.random((4, 60))).astype(np.float32)
    r = nmfkit.fit(x, rank=4, max_sweeps=400, tol=0)
    w, h = r.w.astype(float), r.h.astype(float)
    assert r.objective == pytest.approx(0.5 * np.sum((x - w @ h) ** 2), rel=1e-2)
    late = r.history.objective[200:]
    assert np.diff(late).max() <= 1e-3 * late[0]


def test_components_that_a_penalty_kills_do_not_stay_half_alive():
    x = np.random.default_rng(0).random((80, 60))
    for weight in (20, 1e6):
        penalties = {"reg_w": f"l1:{weight}", "reg_h": f"l1:{weight}"}
        hals, mu = (nmfkit.fit(x, rank=8, rule=rule, **penalties) for rule in ("hals", "mu"))
        assert hals.objective <= 0.5 * np.sum(x**2) * (1 + 1e-9)
        assert hals.objective <= mu.objective * 1.01


def test_rows_of_a_transform_do_not_depend_on_their_neighbours():
    r = nmfkit.fit(COUNTS, loss="kl", rank=4)
    alone = r.transform(COUNTS[:20])
    beside = r.transform(np.vstack([np.full((1, 40), 1e6), COUNTS[:20]]))[1:]
    np.testing.assert_allclose(beside, alone, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("rank", "rule"), [(6, "hals"), (15, "hals"), (6, "mu"), (15, "mu")])
def test_transform_of_the_fitted_data_finds_their_rows_again(rank, rule, dtype):
    rng = np.random.default_rng(0)
    x = (rng.random((500, 12)) @ rng.random((12, 80)) + 0.05).astype(dtype)
    result = nmfkit.fit(x, rank=rank, rule=rule)
    for sweeps in (200, 500):
        w = nmfkit.transform(result, x, max_sweeps=sweeps)
        assert 0.5 * np.sum((x - w @ result.h) ** 2) <= 1.05 * result.objective


@pytest.mark.parametrize("seed", range(3))
def test_a_float32_fit_ends_where_a_float64_one_does(seed):
    rng = np.random.default_rng(seed)
    x = rng.random((600, 10)) @ rng.random((10, 200)) + 0.4 * rng.random((600, 200))
    narrow, wide = (nmfkit.fit(x, dtype=d, rank=10, rule="hals", max_sweeps=400) for d in ("float32", "float64"))
    assert narrow.objective <= 1.02 * wide.objective
    assert np.diff(narrow.history.objective).max() <= 1e-4 * narrow.objective
