"""Leading eigenpairs by passes over rows, and the start of a symmetric fit that is made of them."""

from __future__ import annotations

import gzip
import pickle

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from nmfkit_plugins.symnmf import range_finder
from nmfkit_plugins.symnmf.eigen import Eigen, longer_parts, pivots, towards_axes
from nmfkit_plugins.symnmf.range_finder import dominant_range, drawn, leading_eigenpairs, orthonormal, outside
from symmetric import planted

import nmfkit
from nmfkit.affinity.cut import normalized_cut
from nmfkit.affinity.similarity import similarity
from nmfkit.clustering.agreement import agreement
from nmfkit.clustering.assignments import clusters
from nmfkit.errors import Caution, Incompatible, UsageError
from nmfkit.executors.local import LocalExecutor
from nmfkit.executors.plan import make_plan
from nmfkit.probe import Expected, survey
from nmfkit.testing import Chunked
from nmfkit.testing.initializer import InitializerContract


class TestEachVectorForItself(InitializerContract):
    """The laws of a start, without turning."""

    def make(self):
        return Eigen(turn=False, passes=3)


class Products:
    """Products with a matrix, counted."""

    def __init__(self, a):
        self.a, self.count = a, 0

    def __call__(self, v):
        self.count += 1
        return self.a @ v


def spectrum(values, seed=0):
    """A symmetric matrix with these eigenvalues, and its vectors."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))
    return (q * values) @ q.T, q


def started(a, rank, *, part=None, seed=0, chunks=None, is_sparse=False):
    """W and H that a fit would start from."""
    source = Chunked(a, chunks or [(0, len(a))], is_sparse=is_sparse)
    plan = make_plan(source, width=rank, dtype=a.dtype, elementwise=False, forms_product=False, threads=1)
    with LocalExecutor(source, plan) as executor:
        probe = survey(executor.sweep, source, expected=Expected(True, True))
        rows, h = (part or Eigen()).start(executor.sweep, probe, rank, seed, a.dtype)
        return np.array(rows.read(0, len(a))["w"]), h


def residual(a, w):
    return np.linalg.norm(a - w @ w.T) / np.linalg.norm(a)


# --- eigenpairs ---------------------------------------------------------------------------------------------


@given(st.integers(2, 60), st.integers(1, 6), st.integers(0, 2**32))
def test_they_are_those_of_lapack(n, count, seed):
    values = np.random.default_rng(seed).uniform(-3, 3, n)
    a, _ = spectrum(values, seed)
    count = min(count, n)
    found = leading_eigenpairs(Products(a), drawn(n, min(count + 4, n), seed, float), count, tol=1e-10, passes=200)
    np.testing.assert_allclose(found.values, np.sort(values)[::-1][:count], atol=1e-9)
    np.testing.assert_allclose(a @ found.vectors, found.vectors * found.values, atol=1e-8)
    np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(count), atol=1e-12)


def test_large_negative_values_do_not_stand_in_their_place():
    values = np.concatenate([[1.0, 0.9, 0.8], np.linspace(0.5, -0.5, 147), np.linspace(-90, -100, 50)])
    a, q = spectrum(values)
    found = leading_eigenpairs(Products(a), drawn(200, 6, 0, float), 3, tol=1e-8, passes=400)
    np.testing.assert_allclose(found.values, [1.0, 0.9, 0.8], atol=1e-6)
    np.testing.assert_allclose(np.abs(np.sum(found.vectors * q[:, :3], axis=0)), 1, atol=1e-6)


def test_equal_values_are_found_as_often_as_they_are():
    a, _ = spectrum(np.concatenate([[2.0, 2.0, 2.0, 1.5], np.linspace(1, 0, 96)]))
    found = leading_eigenpairs(Products(a), drawn(100, 8, 0, float), 4, tol=1e-9, passes=100)
    np.testing.assert_allclose(found.values, [2, 2, 2, 1.5], atol=1e-10)


def test_a_space_that_leads_nowhere_ends_the_search():
    product = Products(planted(rank=3)[0])
    found = leading_eigenpairs(product, drawn(60, 8, 0, float), 5, tol=0.0, passes=50)
    assert found.passes == product.count == 2
    np.testing.assert_allclose(found.values[3:], 0, atol=1e-9)


@pytest.mark.parametrize("passes", [1, 4])
def test_passes_are_bounded(passes):
    product = Products(spectrum(np.linspace(1, 0, 80))[0])
    found = leading_eigenpairs(product, drawn(80, 4, 0, float), 2, tol=0.0, passes=passes)
    assert found.passes == product.count == passes


def test_a_basis_is_cut_down_and_goes_on(monkeypatch):
    a, _ = spectrum(np.linspace(1, -1, 300))
    most = 0
    wide = np.linalg.eigh

    def watched(inner):
        nonlocal most
        most = max(most, len(inner))
        return wide(inner)

    monkeypatch.setattr(range_finder.np.linalg, "eigh", watched)
    found = leading_eigenpairs(Products(a), drawn(300, 6, 0, float), 3, tol=1e-6, passes=300)
    assert most == range_finder.BLOCKS * 6
    np.testing.assert_allclose(found.values, np.linspace(1, -1, 300)[:3], atol=1e-8)


@given(st.integers(1, 30), st.integers(1, 8), st.integers(0, 2**32))
def test_orthonormal_columns_give_the_array_again(n, width, seed):
    v = np.random.default_rng(seed).standard_normal((n, min(n, width)))
    v[:, -1] = v[:, 0]
    q, r = orthonormal(v, 1e-10)
    assert q.shape[1] <= max(1, v.shape[1] - 1)
    np.testing.assert_allclose(q @ r, v, atol=1e-9)
    np.testing.assert_allclose(q.T @ q, np.eye(q.shape[1]), atol=1e-12)


@given(st.integers(0, 2**32), st.floats(-14, 0))
def test_what_lies_outside_a_basis_is_orthogonal_to_it_however_little(seed, exponent):
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.standard_normal((40, 6)))
    v = basis @ rng.standard_normal((6, 4)) + 10**exponent * rng.standard_normal((40, 4)) * [1, 1e-2, 1e-4, 1e-6]
    q, r, c = outside(v, basis, 1e-15)
    np.testing.assert_allclose(basis.T @ q, 0, atol=1e-14)
    np.testing.assert_allclose(q.T @ q, np.eye(q.shape[1]), atol=1e-14)
    np.testing.assert_allclose(q @ r + basis @ c, v, atol=1e-13)


def test_a_range_is_as_good_as_its_number_of_columns_allows():
    values = np.concatenate([np.linspace(-5, 5, 10), 0.01 * np.linspace(-1, 1, 90)])
    a, _ = spectrum(values)
    product = Products(a)
    found = dominant_range(product, drawn(100, 15, 0, float), np.linalg.norm(a), tol=1e-3, passes=10)
    close = (found.vectors * found.values) @ found.vectors.T
    assert found.passes == product.count <= 4
    assert np.linalg.norm(a - close) < 0.02 * np.linalg.norm(a)
    outside = np.linalg.norm(a - a @ found.vectors @ found.vectors.T) / np.linalg.norm(a)
    assert found.error == pytest.approx(outside, abs=1e-6)


# --- the start ----------------------------------------------------------------------------------------------


@given(st.integers(1, 5), st.integers(0, 2**32))
def test_a_turned_product_is_turned_back(rank, seed):
    rng = np.random.default_rng(seed)
    h = rng.random((30, rank)) * 0.3
    h[rng.permutation(30)[:rank]] = 2 * np.eye(rank)
    turned = h @ np.linalg.qr(rng.standard_normal((rank, rank)))[0]
    back = turned @ towards_axes(turned)
    order = np.argsort(pivots(h)), np.argsort(pivots(turned))
    np.testing.assert_allclose(h[:, np.argmax(h[pivots(h)], axis=1)][:, order[0]], back[:, order[1]], atol=1e-7)


@given(st.integers(0, 2**32))
def test_the_sign_of_a_vector_is_of_no_account(seed):
    rng = np.random.default_rng(seed)
    v = rng.standard_normal((9, 4))
    v[:, 0] = np.concatenate([v[:4, 0], -v[:4, 0], [0.0]])  # both parts are as long
    np.testing.assert_array_equal(longer_parts(v), longer_parts(v * rng.choice([-1.0, 1.0], 4)))
    assert (np.linalg.norm(longer_parts(v), axis=0) >= np.linalg.norm(v, axis=0) / np.sqrt(2) - 1e-12).all()


@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize("chunks", [[(0, 1), (1, 40), (40, 60)], [(0, 30), (30, 60)]])
def test_other_chunks_start_the_same(chunks, is_sparse):
    a, _ = planted()
    a = a - 0.2 * np.outer(np.sin(np.arange(60)), np.sin(np.arange(60)))
    whole, parts = started(a, 4), started(a, 4, chunks=chunks, is_sparse=is_sparse)
    np.testing.assert_allclose(parts[0], whole[0], rtol=1e-7, atol=1e-9)
    np.testing.assert_array_equal(parts[1], parts[0].T)


def test_parts_of_a_graph_are_found_whatever_the_seed():
    a = np.kron(np.eye(4), np.ones((10, 10)))  # one eigenvalue, four times
    w, again = started(a, 4, seed=0)[0], started(a, 4, seed=1)[0]
    np.testing.assert_allclose(w, again, atol=1e-9)
    assert residual(a, w) < 0.05
    assert set(np.count_nonzero(w > 0.5, axis=0)) == {10}
    plain = [started(a, 4, seed=seed, part=Eigen(turn=False))[0] for seed in (0, 1)]
    assert np.abs(plain[0] - plain[1]).max() > 0.1


def test_components_beyond_the_positive_values_are_small_and_constant():
    a = np.diag([3.0, 2.0, -1.0, -2.0])
    w, _ = started(a, 4)
    assert np.ptp(w[:, 2:]) == 0 < w[0, 2] < 0.1
    np.testing.assert_allclose(np.sort(w.max(axis=0))[2:], np.sqrt([2, 3]), rtol=1e-9)
    assert started(a, 6)[0].shape == (4, 6)
    assert (started(-a @ a, 2)[0] > 0).all()


def test_single_precision_starts_close_to_double():
    a = planted()[0]
    w, _ = started(a.astype(np.float32), 4)
    assert w.dtype == np.float32
    np.testing.assert_allclose(w, started(a, 4)[0], atol=1e-4)


def test_it_pickles():
    assert pickle.loads(pickle.dumps(Eigen(turn=False))) == Eigen(turn=False)


def test_a_planted_product_is_found_from_it():
    a, _ = planted(200, 5)
    result = nmfkit.fit(a, model="symnmf", rank=5, max_sweeps=300, tol=0, threads=1)
    assert result.problem.init == "eigen"
    assert residual(a, result.w) < 1e-3


# --- refusals -----------------------------------------------------------------------------------------------


def test_no_passes_are_refused():
    with pytest.raises(ValueError, match="passes must be at least 1"):
        Eigen(passes=0)


def test_a_matrix_that_is_not_square_is_refused():
    with pytest.raises(UsageError, match="3 × 5: use --init nndsvda"):
        InitializerContract.of(Eigen).start(np.ones((3, 5)), 2)


def test_a_square_matrix_that_is_not_symmetric_is_refused():
    x = np.triu(np.ones((20, 20)))
    with pytest.raises(UsageError, match="not symmetric"):
        leading_eigenpairs(Products(x), drawn(20, 4, 0, float), 2, tol=1e-2, passes=9)
    with pytest.raises(UsageError, match="not symmetric"):
        dominant_range(Products(x), drawn(20, 4, 0, float), np.linalg.norm(x), tol=1e-3, passes=9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_kernel_whose_values_fall_to_rounding_is_symmetric_all_the_same(dtype):
    points = np.random.default_rng(0).random((200, 2))
    a = np.exp(-((points[:, None] - points) ** 2).sum(axis=2) / 18).astype(dtype)
    found = leading_eigenpairs(Products(a), drawn(200, 28, 0, dtype), 20, tol=1e-2, passes=60)
    exact = np.linalg.eigvalsh(a.astype(float))[::-1][:20]
    np.testing.assert_allclose(found.values, exact, atol=0.02 * exact[0])
    np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(20), atol=1e3 * np.finfo(dtype).eps)
    assert nmfkit.fit(a, model="symnmf", rank=20, max_sweeps=2, threads=1).w.any()


def test_a_model_of_any_matrix_does_not_take_it():
    with pytest.raises(Incompatible, match="init 'eigen' starts from a symmetric matrix, and model 'nmf' is for any"):
        nmfkit.fit(planted()[0], rank=3, init="eigen")


# --- real data ----------------------------------------------------------------------------------------------


def clustered(a, classes, rank, **options):
    result = nmfkit.fit(a, model="symnmf", rank=rank, max_sweeps=30, tol=0, threads=1, **options)
    return agreement(clusters(result.w), classes).accuracy, result


def test_digits_are_clustered_as_well_as_from_exact_eigenvectors():
    from sklearn.datasets import load_digits

    digits = load_digits()
    accuracy, _ = clustered(similarity(digits.data), digits.target, 10, rule="symhals:0.3")
    assert accuracy >= 0.80


def test_objects_are_clustered_as_well_as_from_exact_eigenvectors(data_dir):
    found = scipy.io.loadmat(data_dir / "images" / "COIL20.mat")
    accuracy, _ = clustered(similarity(found["X"]), found["Y"].ravel(), 20, rule="symhals:0.3")
    assert accuracy >= 0.787


def test_a_ready_similarity_of_objects_is_clustered_whatever_the_seed(data_dir):
    found = scipy.io.loadmat(data_dir / "graphs" / "symnmf_ACOIL20.mat")
    a = sp.csr_array(found["A"])
    for seed in (0, 1):
        accuracy, result = clustered(a, found["labels"].ravel(), 20, seed=seed)
        assert accuracy >= 0.82
        assert residual(a.toarray(), result.w) <= 0.9556


def departments(data_dir):
    """The normalised graph of who writes to whom."""
    with gzip.open(data_dir / "graphs" / "email-Eu-core.txt.gz") as lines:
        arcs = np.loadtxt(lines, dtype=int)
    a = np.zeros((1005, 1005))
    a[arcs[:, 0], arcs[:, 1]] = a[arcs[:, 1], arcs[:, 0]] = 1
    np.fill_diagonal(a, 0)
    return normalized_cut(sp.csr_array(a))


def test_departments_end_lower_than_from_random_starts(data_dir):
    a = departments(data_dir)
    fits = [
        nmfkit.fit(a, model="symnmf", rank=42, init=init, max_sweeps=15, tol=0, threads=1)
        for init in ("eigen", "random")
    ]
    assert fits[0].objective < 0.995 * fits[1].objective
    assert residual(a.toarray(), fits[0].w) < 0.8185


@pytest.mark.parametrize(
    ("rule", "sweeps", "reached"), [("lai:1,always=yes", 5, 0.8212), ("lvs:1,always=yes", 25, 0.83)]
)
def test_randomised_rules_fit_departments_from_random_starts(rule, sweeps, reached, data_dir):
    a = departments(data_dir)
    result = nmfkit.fit(a, model="symnmf", rank=42, rule=rule, init="random", max_sweeps=sweeps, tol=0, threads=1)
    assert residual(a.toarray(), result.w) < reached


def blocks(n, groups, degree, inside, seed=0):
    """The normalised graph of a stochastic block model, and the groups of its nodes."""
    rng = np.random.default_rng(seed)
    label = np.sort(rng.integers(0, groups, n))
    first, size = np.searchsorted(label, np.arange(groups)), np.bincount(label, minlength=groups)
    one = rng.integers(0, n, n * degree // 2)
    near = first[label[one]] + (rng.random(len(one)) * size[label[one]]).astype(int)
    other = np.where(rng.random(len(one)) < inside, near, rng.integers(0, n, len(one)))
    a = sp.coo_array((np.ones(len(one)), (one, other)), shape=(n, n)).tocsr()
    a = a + a.T
    a.data[:] = 1
    return normalized_cut(a), label


@pytest.mark.slow
def test_communities_of_a_large_sparse_graph_are_found_in_few_sweeps():
    a, label = blocks(20_000, 20, 10, 0.8)
    accuracy, _ = clustered(a, label, 20)
    assert accuracy >= 0.98
    for rule in ("lai", "lvs"):
        with pytest.warns(Caution, match="is left at plain symhals"):
            assert clustered(a, label, 20, rule=rule)[0] == accuracy
