"""Models of which the best sweep counts, or whose last sweep is another one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nmfkit
from nmfkit.executors.rows import ResidentRows
from nmfkit.stats import Gathered, add, widen


class Wandering:
    """Its objectives are given; its row factor and its shared one are the number of the sweep."""

    takes = frozenset()
    row_factors = ("w",)
    elementwise = forms_product = False

    def __init__(self, objectives, *, keeps_best=False, closes=False):
        self.objectives, self.keeps_best, self.closes = objectives, keeps_best, closes

    def misfits(self):
        return []

    def start(self, initializer, sweep, probe, seed, dtype):
        return ResidentRows({"w": np.zeros((probe.shape[0], 1))}), {"t": 0}

    def local(self, x, rows, shared):
        return {"w": np.full((x.shape[0], 1), float(shared["t"]))}, {"value": 0.0}

    def apply(self, shared, stats):
        return {"t": shared["t"] + 1}

    def objective(self, shared, stats):
        return -1.0 if shared.get("closed") else float(self.objectives[shared["t"]])

    def closing_state(self, shared):
        return {**shared, "closed": True}

    def closing(self, x, rows, shared):
        return {"w": np.full((x.shape[0], 1), 100.0 + shared["t"])}, {"value": 0.0}

    def encode(self, x, rows, shared):
        return self.local(x, rows, shared)

    def factors(self, shared):
        return {"h": np.full((1, 2), float(shared["t"]))}


def fitted(model, sweeps, **options):
    return nmfkit.fit(np.ones((5, 2)), model=model, rank=1, max_sweeps=sweeps, tol=0, threads=1, **options)


@given(objectives=st.lists(st.integers(1, 9), min_size=2, max_size=8))
def test_the_best_sweep_is_what_counts(objectives):
    result = fitted(Wandering(objectives, keeps_best=True), len(objectives) - 1)
    lowest = np.minimum.accumulate(objectives)
    assert result.history.objective.tolist() == lowest.tolist()
    best = max(t for t, value in enumerate(objectives) if value <= min(objectives[: t + 1]))
    assert result.objective == min(objectives)
    assert (result.w == best).all()
    assert (result.h == best).all()


def test_without_it_the_last_sweep_counts():
    result = fitted(Wandering([3, 1, 2]), 2)
    assert result.objective == 2
    assert (result.w == 2).all()


@pytest.mark.parametrize("keeps_best", [False, True])
def test_the_closing_sweep_is_the_last_one(keeps_best):
    result = fitted(Wandering([5, 3, 4, 4], keeps_best=keeps_best, closes=True), 3)
    assert result.history.objective.tolist() == [5, 3, 3 if keeps_best else 4, -1]
    assert (result.w == 103).all()
    assert (result.h == 3).all()
    assert result.state.following == {"t": 3}


def test_a_fit_of_no_sweep_closes_at_once():
    result = fitted(Wandering([5], closes=True), 0)
    assert result.history.objective.tolist() == [-1]


def test_a_time_limit_closes_too():
    result = fitted(Wandering([5] * 10, closes=True), 9, time_limit=1e-9)
    assert result.stopped_by == "time-limit"
    assert result.history.objective.tolist() == [5, -1]


@given(sizes=st.lists(st.integers(0, 4), min_size=1, max_size=6), order=st.randoms())
def test_gathered_rows_come_back_in_their_order(sizes, order):
    rows = np.arange(sum(sizes) * 3.0, dtype=np.float32).reshape(-1, 3)
    edges = np.cumsum([0, *sizes])
    pieces = [Gathered.of(int(lo), rows[lo:hi]) for lo, hi in pairwise(edges)]
    order.shuffle(pieces)
    total = widen({"f": pieces[0]})
    for piece in pieces[1:]:
        total = add(total, {"f": piece})
    whole = total["f"].whole()
    assert whole.dtype == np.float32
    assert np.array_equal(whole, rows)
