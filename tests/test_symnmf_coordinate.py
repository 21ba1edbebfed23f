"""Coordinate descent for a symmetric matrix: coefficients and minima by brute force, entry after entry."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nmfkit_plugins.symnmf.coordinate import Coordinates
from symmetric import beginning, driven, facts_of, objective, similarity

from nmfkit import kernels
from nmfkit.blocks import Dense
from nmfkit.kernels import symmetric
from nmfkit.kernels.cpu import symmetric as compiled
from nmfkit.testing import strategies as some
from nmfkit.testing import to_device, to_host

BOTH = pytest.mark.parametrize("module", [symmetric, compiled], ids=["numpy", "compiled"])


def swept(module, a, h, inner=1):
    x = some.sparse(a)
    return module.symmetric_cd(x.values, x.indices, x.indptr, h, inner)


def quartic(a, b, x):
    return x**4 / 4 + a * x**2 / 2 + b * x


def minimum(a, b):
    """By the roots of the derivative."""
    roots = np.roots([1, 0, a, b])
    real = np.abs(roots.real[np.abs(roots.imag) <= 1e-6 * (1 + np.abs(roots))])
    return min([0.0, *real], key=lambda x: quartic(a, b, x))


@given(st.integers(0, 2**32), st.booleans())
def test_coefficients_are_those_of_the_objective(seed, signed):
    a = similarity(12, seed, signed)
    a += np.diag(np.random.default_rng(seed).random(12))
    h = beginning(a, 3, seed)
    i, j = seed % 12, seed % 3
    gram, changed = h.T @ h, h.copy()
    given_ = h[i, j], gram[j, j], h[i] @ h[i], a[i, i], h[i] @ gram[:, j], a[i] @ h[:, j]
    found = symmetric.coefficients(*given_)
    changed[i, j] = 0
    zero = objective(a, changed)
    for x in (0.3, 1.0, 1.7, h[i, j]):
        changed[i, j] = x
        assert 2 * quartic(*found, x) == pytest.approx(objective(a, changed) - zero, abs=1e-12 * max(zero, 1))


COEFFICIENTS = st.floats(-1e3, 1e3, allow_subnormal=False).map(lambda v: v if abs(v) > 1e-6 else 0.0)


@given(COEFFICIENTS, COEFFICIENTS, st.sampled_from([1e-6, 1.0, 1e6]))
def test_the_minimum_of_a_quartic(a, b, scale):
    a, b = a * scale**2, b * scale**3
    for find in (symmetric.quartic_minimum, compiled._quartic_minimum.py_func):
        x = find(a, b)
        assert x >= 0
        best = quartic(a, b, minimum(a, b))
        assert quartic(a, b, x) <= best + 1e-12 * (abs(best) + scale**4 * 1e-12)
        if x > 0:
            assert abs(x**3 + a * x + b) <= 1e-12 * (x**3 + abs(a) * x + abs(b))


@BOTH
@given(st.integers(0, 2**32), st.booleans())
def test_a_sweep_is_one_entry_after_the_other(module, seed, signed):
    a = similarity(12, seed, signed)
    h = beginning(a, 3, seed)
    expected = h.copy()
    for i in range(len(a)):
        for j in range(3):
            x, row, gram = expected[i, j], expected[i], expected.T @ expected
            own = x, gram[j, j], row @ row, a[i, i], row @ gram[:, j], a[i] @ expected[:, j]
            expected[i, j] = minimum(*symmetric.coefficients(*own))
    before = h.copy()
    np.testing.assert_allclose(swept(module, a, h), expected, atol=1e-7)
    np.testing.assert_array_equal(h, before)
    twice = swept(module, a, swept(module, a, h))
    np.testing.assert_allclose(swept(module, a, h, inner=2), twice, atol=1e-12)


@BOTH
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_never_rises_and_keeps_its_dtype(module, dtype):
    a = similarity(signed=True).astype(dtype)
    h = beginning(a).astype(dtype)
    h[:, 2] = 0
    values = [objective(a, h)]
    for _ in range(20):
        h = swept(module, a, h)
        values.append(objective(a, h))
    assert h.dtype == dtype
    assert np.all(np.diff(values) <= np.finfo(dtype).eps * np.sum(a * a))
    assert not h[[3, 11]].any()


@given(st.integers(0, 2**32))
def test_runs_on_a_device(seed):
    a = similarity(12, seed)
    h, x = beginning(a, 3, seed), some.sparse(a)
    there = kernels.symmetric_cd(*to_device((x.values, x.indices, x.indptr, h)))
    np.testing.assert_allclose(to_host(there), swept(compiled, a, h), atol=1e-10)


def test_the_table_calls_the_compiled_one(monkeypatch):
    a, used = similarity(), []
    monkeypatch.setattr(compiled, "symmetric_cd", lambda *given, f=compiled.symmetric_cd: used.append(1) or f(*given))
    x = some.sparse(a)
    parts = x.values, x.indices, x.indptr
    kernels.symmetric_cd(*parts, beginning(a, 2))
    assert not used
    kernels.symmetric_cd(*parts, beginning(a, 40))
    assert used


@pytest.mark.parametrize("signed", [False, True])
def test_dense_and_sparse_are_one_matrix(signed):
    a = similarity(signed=signed)
    whole, stored = (driven(Coordinates(2), a, beginning(a), 6, block)[-1] for block in (Dense, some.sparse))
    np.testing.assert_array_equal(whole[0], stored[0])


def test_what_it_keeps_can_be_stored():
    from nmfkit.tree_text import flatten

    a = similarity()
    assert flatten(Coordinates().begin(beginning(a), facts_of(a), some.sparse(a)), [])
