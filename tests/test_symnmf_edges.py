"""Symmetric fits at the edge: matrices of one node, of no similarity, of any size; rules that go wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import nmfkit
from nmfkit.check import resolve
from nmfkit.errors import DataError, Incompatible, NmfkitError, UsageError
from nmfkit.problem import Problem
from nmfkit.registry import registry

RULES = (
    *("symhals", "symanls", "symmu", "symmu:0.25", "symmu:0.5", "symmu:damping=0.3", "fixedpoint", "pgd", "pgncg"),
    *("newton", "cd", "mu", "hals", "anls"),
)
IN_MEMORY = ("newton", "cd")
SCALES = (("float64", 1.0), ("float64", 1e60), ("float64", 1e-60), ("float32", 1e9), ("float32", 1e-9))
PAIRS = ("symhals", "symanls", "hals", "anls")


def fitted(a, rule, **options):
    options = {"rank": 2, "init": "random", "tol": 0, "max_sweeps": 10, "threads": 1, **options}
    return nmfkit.fit(a, model="symnmf", rule=rule, **options)


def _edge():
    a = np.zeros((5, 5))
    a[0, 4] = a[4, 0] = 3
    return a


def _spread(least, most):
    d = 10.0 ** np.linspace(least, most, 5)
    return np.outer(d, d)


AWKWARD = {
    "a node": np.array([[2.0]]),
    "a node unlike itself": np.array([[-2.0]]),
    "a pair": np.array([[0.0, 1], [1, 0]]),
    "a loop among empty rows": np.diag([0, 0, 5.0, 0]),
    "an edge": _edge(),
    "a diagonal": np.diag([1.0, 2, 3, 4]),
    "minus the identity": -np.eye(4),
    "negative entries alone": -np.ones((5, 5)),
    "hollow": np.ones((5, 5)) - np.eye(5),
    "identical rows": np.ones((5, 5)),
    "parts": np.kron(np.eye(3), np.ones((3, 3))),
    "a path's Laplacian": np.diag([1.0, 2, 2, 1]) - np.diag([1.0, 1, 1], 1) - np.diag([1.0, 1, 1], -1),
    "of all sizes": _spread(-3, 1),
}


@pytest.mark.parametrize("rule", RULES)
@given(
    name=st.sampled_from([*AWKWARD]),
    rank=st.sampled_from([1, 3]),
    init=st.sampled_from(["random", "eigen"]),
    diagonal=st.sampled_from(["keep", "ignore"]),
    scale=st.sampled_from(
        [("float64", 1.0), ("float64", 1e60), ("float64", 1e-60), ("float32", 1e9), ("float32", 1e-9)]
    ),
    is_sparse=st.booleans(),
)
def test_awkward_matrices_are_fitted_all_the_same(rule, name, rank, init, diagonal, scale, is_sparse):
    if rule in IN_MEMORY:
        diagonal = "keep"
    dtype, size = scale
    a = (AWKWARD[name] * size).astype(dtype)
    given_as = sp.csr_array(a) if is_sparse else a
    result = fitted(given_as, rule, rank=rank, init=init, model_options={"diagonal": diagonal})
    w, h = result.w.astype(np.float64), result.h.astype(np.float64)
    assert np.isfinite(w).all()
    assert np.isfinite(h).all()
    assert min(w.min(), h.min()) >= 0
    gap = a - w @ h
    if diagonal == "ignore":
        np.fill_diagonal(gap, 0)
    expected = 0.5 * np.sum(gap**2)
    if rule in PAIRS:
        expected += result.state.current["lam"] / 2 * np.sum((w - h.T) ** 2)
    terms = np.sum(a.astype(np.float64) ** 2) + np.sum((w @ h) ** 2)
    rounding = (1e-5 if dtype == "float32" else 1e-12) * terms
    assert abs(result.objective - expected) <= rounding
    assert np.diff(result.history.objective).max() <= rounding


@pytest.mark.parametrize("rule", ["symmu", "symmu:damping=0.3"])
def test_damped_steps_from_rows_that_are_far_too_small_do_not_count(rule):
    result = fitted(np.diag([4.0, 4]), rule, rank=1, w=np.array([[1e-3], [1e-3]]), max_sweeps=40)
    assert (np.diff(result.history.objective) <= 0).all()
    assert result.objective == pytest.approx(8, rel=1e-3)


def test_a_root_that_rises_does_not_count():
    a = np.array([[0.0, 235], [235, -0.7]])
    result = fitted(a, "symmu:0.5", rank=1, w=np.full((2, 1), 1e-7), max_sweeps=1)
    assert result.history.objective[1] <= result.history.objective[0]
    assert (result.w == 1e-7).all()


def test_gauss_newton_takes_gradients_that_have_no_square_in_single_precision():
    a = np.random.default_rng(0).random((6, 6)) * 1e10
    a = (a + a.T).astype(np.float32)
    wide, narrow = (fitted(x, "pgncg", max_sweeps=60) for x in (a.astype(np.float64), a))
    assert narrow.objective == pytest.approx(wide.objective, rel=1e-3)


# --- what is refused ------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10**6), n=st.integers(3, 40))
def test_a_cycle_of_directed_edges_is_noticed(seed, n):
    rng = np.random.default_rng(seed)
    a = rng.random((n, n))
    a += a.T
    i, j, k = rng.choice(n, 3, replace=False)
    for one, other in ((i, j), (j, k), (k, i)):  # rows and columns have the same sums
        a[one, other] += 0.5
    for form in (a, sp.csr_array(a)):
        with pytest.raises(DataError, match="not symmetric"):
            fitted(form, "symmu")


@pytest.mark.parametrize("name", ["w", "h"])
def test_starting_factors_are_not_negative_though_similarities_may_be(name):
    a = np.array([[1.0, -1], [-1, 1]])
    with pytest.raises(UsageError, match=f"starting factor {name} holds negative"):
        fitted(a, "symhals", **{name: -np.eye(2)})


# --- rules of others --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Down:
    """Steps down the gradient, of length `rate` / λmax(HᵀH)."""

    rate: float = 0.5

    monotone: ClassVar[bool] = False
    signed: ClassVar[bool] = True
    splits: ClassVar[bool] = False

    def begin(self, h, facts):
        return {}

    def step(self, h, product, gram, state):
        size = float(np.linalg.eigvalsh(gram)[-1])
        return np.maximum(h - h.dtype.type(self.rate / size) * (h @ gram.astype(h.dtype) - product), 0)

    def advance(self, state, objective):
        return state


class Lost(Down):
    """It loses its numbers."""

    def step(self, h, product, gram, state):
        return h * np.nan


class Short:
    """It has no `advance`."""

    monotone, signed, splits = False, True, False
    begin, step = Down.begin, Down.step


A = np.random.default_rng(0).random((12, 12))
A = A + A.T


def test_a_rule_of_one_s_own_is_taken():
    result = fitted(A, Down(), max_sweeps=200)
    assert result.objective == pytest.approx(fitted(A, "pgd", max_sweeps=200).objective, rel=0.05)


def test_a_rule_that_loses_its_numbers_ends_the_fit():
    with pytest.raises(NmfkitError, match="the objective is nan after sweep 1"):
        fitted(A, Lost())


def test_what_a_rule_lacks_is_told():
    with pytest.raises(Incompatible, match="for RowSteps it lacks advance"):
        fitted(A, Short())


def test_a_class_in_the_place_of_a_rule_is_refused():
    with pytest.raises(UsageError, match="rule Down is a class"):
        fitted(A, Down)


def test_every_rule_of_the_model_resolves_with_it():
    of_it = [r.name for r in registry().of_kind("rule") if r.spec.contract is not None and "symnmf" in r.spec.contract]
    assert len(of_it) >= 8
    for name in of_it:
        assert resolve(Problem(model="symnmf", ranks=(2,), rule=name)).problem.rule == name
