"""Successive projection finds the samples that lie furthest out, however X is stored and cut."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from nmfkit_plugins.starts import spa
from nmfkit_plugins.starts.spa import SPA
from scipy.optimize import nnls

import nmfkit
from nmfkit.blocks import Dense
from nmfkit.executors.local import LocalExecutor
from nmfkit.executors.plan import make_plan
from nmfkit.probe import Expected, survey
from nmfkit.testing import Chunked, mixtures, to_device, to_host
from nmfkit.testing import strategies as some

seeds = st.integers(0, 2**32)


def start(source, rank, part=None, seed=0, threads=1):
    """W and H to start from."""
    plan = make_plan(source, width=rank, dtype=source.dtype, elementwise=False, forms_product=False, threads=threads)
    with closing(LocalExecutor(source, plan)) as executor:
        probe = survey(executor.sweep, source, expected=Expected(signed=True))
        rows, h = (part or SPA()).start(executor.sweep, probe, rank, seed, source.dtype)
        return np.array(rows.read(0, source.shape[0])["w"]), h


def whole(x):
    return Chunked(x, [(0, len(x))])


def chosen_by_the_textbook(x, rank, *, divide):
    """The rows that are chosen by projecting all of X again and again."""
    sizes = np.abs(x).sum(axis=1, keepdims=True)
    rest = x / np.where(sizes > 0, sizes, 1) if divide else x.copy()
    found = []
    for _ in range(rank):
        found.append(int(np.argmax((rest**2).sum(axis=1))))
        u = rest[found[-1]]
        rest = rest - np.outer(rest @ u, u) / (u @ u)
    return found


@given(some.generic(least=5, most=12), st.integers(1, 4), st.booleans())
def test_the_samples_are_those_of_the_textbook(x, rank, divide):
    _, h = start(whole(x), rank, SPA("sum" if divide else "none"))
    np.testing.assert_array_equal(h, x[chosen_by_the_textbook(x, rank, divide=divide)])


@given(seeds, st.integers(2, 8))
def test_pure_samples_among_mixtures_are_found(seed, rank):
    rng = np.random.default_rng(seed)
    components = mixtures.dense_components(rank, 15, seed)
    weights = np.vstack([mixtures.dirichlet_weights(60, rank, seed, total=rank), np.eye(rank)])
    order = rng.permutation(len(weights))
    x = ((weights @ components) * rng.uniform(0.1, 10, (len(weights), 1)))[order]
    _, h = start(whole(x), rank)
    pure = x[np.argsort(order)[-rank:]]
    np.testing.assert_array_equal(h[np.lexsort(h.T)], pure[np.lexsort(pure.T)])


@given(seeds)
def test_rows_of_zeros_and_the_length_of_samples_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    x = rng.gamma(1.0, size=(12, 6))
    _, h = start(whole(x), 3)
    powers = 2.0 ** rng.integers(-8, 8, (12, 1))  # by which nothing is rounded
    longer = np.insert(x * powers, [0, 4, 4, 12], 0.0, axis=0)
    _, scaled = start(whole(longer), 3)
    np.testing.assert_allclose(scaled / scaled.sum(axis=1)[:, None], h / h.sum(axis=1)[:, None], rtol=1e-12)


@pytest.mark.parametrize("chunks", [[(0, 6)], [(0, 1), (1, 3), (3, 6)], [(i, i + 1) for i in range(6)]])
@pytest.mark.parametrize("threads", [1, 3])
def test_of_samples_equally_far_out_the_first_is_taken(chunks, threads):
    x = np.array([[1.0, 1], [4, 0], [2, 0], [0, 8], [0, 4], [4, 0]])
    _, h = start(Chunked(x, chunks), 2, threads=threads)
    np.testing.assert_array_equal(h, [[4, 0], [0, 8]])


@pytest.mark.parametrize("rank", [1, 4])
def test_x_is_read_once_for_each_component_and_once_for_the_codes(rank):
    x = mixtures.dirichlet_weights(40, 5, 0) @ mixtures.dense_components(5, 12, 0)
    source = whole(x)
    plan = make_plan(source, width=rank, dtype=x.dtype, elementwise=False, forms_product=False, threads=1)
    reads = []
    with closing(LocalExecutor(source, plan)) as executor:
        probe = survey(executor.sweep, source)

        def counted(*given, data=True, **more):
            reads.append(data)
            return executor.sweep(*given, data=data, **more)

        SPA().start(counted, probe, rank, 0, x.dtype)
    assert sum(reads) == rank + 1


@given(seeds, st.booleans())
def test_codes_are_nonnegative_least_squares(seed, signed):
    components = (mixtures.signed_components if signed else mixtures.dense_components)(4, 9, seed)
    x = mixtures.dirichlet_weights(25, 4, seed) @ components
    w, h = start(whole(x), 4)
    np.testing.assert_allclose(w, [nnls(h.T, row)[0] for row in x], atol=1e-8)


@given(seeds, st.integers(1, 4))
def test_what_x_has_no_samples_for_is_drawn(seed, rank):
    x = mixtures.dense_components(rank, 10, seed)[np.arange(20) % rank]
    w, h = start(whole(x), rank + 2, seed=seed)
    assert {tuple(row) for row in h[:rank]} == {tuple(row) for row in x}
    assert (h[rank:] > 0).all()
    assert np.linalg.matrix_rank(h) == rank + 2
    np.testing.assert_allclose(w @ h, x, rtol=1e-6)


def test_signed_samples_are_taken_as_they_are():
    """Dividing them would be no linear measure: mixtures that cancel would seem the furthest out."""
    components = mixtures.signed_components(10, 300, 0)
    x = np.vstack([mixtures.dirichlet_weights(400, 10, 0), np.eye(10)]) @ components
    found, taken, divided = (start(whole(x), 10, part)[1] for part in (SPA(), SPA("none"), SPA("sum")))
    np.testing.assert_array_equal(found, taken)
    np.testing.assert_array_equal(found[np.lexsort(found.T)], components[np.lexsort(components.T)])
    assert not np.array_equal(divided[np.lexsort(divided.T)], components[np.lexsort(components.T)])


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_float32_and_float64_choose_alike(kind):
    x = mixtures.dirichlet_weights(200, 8, 0) @ mixtures.sparse_components(8, 50, 0)
    for dtype in (np.float32, np.float64):
        data = x.astype(dtype) if kind == "dense" else sp.csr_array(x.astype(dtype))
        h = nmfkit.fit(data, rank=8, init="spa", max_sweeps=0, rule="hals").h
        assert h.dtype == dtype
        np.testing.assert_allclose(h, x[chosen_by_the_textbook(x, 8, divide=True)], rtol=1e-6)


def test_any_number_of_threads_and_blocks_gives_the_same():
    x = mixtures.dirichlet_weights(500, 6, 0) @ mixtures.dense_components(6, 30, 0)
    one = start(whole(x), 6)
    many = start(Chunked(x, [(lo, min(lo + 37, 500)) for lo in range(0, 500, 37)]), 6, threads=3)
    for found, expected in zip(many, one, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("is_sparse", [False, True])
def test_steps_run_where_arrays_are(is_sparse):
    x = mixtures.sparse_components(9, 7, 0)
    block = some.sparse(x) if is_sparse else Dense(x)
    direction, h = np.eye(7)[:, :1], mixtures.dense_components(3, 7, 0)
    rows, _ = here = spa.measured(block, {}, {"divides": True})
    there = spa.measured(to_device(block), {}, {"divides": True})
    assert_same(to_host(there), here)
    there = spa.shortened(to_device(block), to_device(rows), to_device({"direction": direction}))
    assert_same(to_host(there), spa.shortened(block, rows, {"direction": direction}))
    shared = {"h": h, "gram": h @ h.T}
    assert_same(to_host(spa.coded(to_device(block), {}, to_device(shared))), spa.coded(block, {}, shared))


def assert_same(found, expected):
    (rows, stats), (expected_rows, expected_stats) = found, expected
    for name in expected_rows:
        np.testing.assert_allclose(rows[name], expected_rows[name], rtol=1e-12)
    if stats:
        np.testing.assert_array_equal(stats["furthest"].beside, expected_stats["furthest"].beside)


def test_refused_options():
    with pytest.raises(ValueError, match="scale must be one of auto, sum, none, not 'l3'"):
        SPA("l3")
    with pytest.raises(nmfkit.UsageError, match="scale must be one of"):
        nmfkit.fit(np.ones((3, 3)), rank=1, init="spa:l3")
