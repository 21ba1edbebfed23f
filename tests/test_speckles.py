"""Entries hidden from a fit: the same wherever they are drawn, and judged exactly."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from planted import planted

import nmfkit
from nmfkit.check import resolve
from nmfkit.errors import DataError, UsageError
from nmfkit.executors.machine import Machine
from nmfkit.loop import Watcher
from nmfkit.problem import Problem
from nmfkit.selection import judge
from nmfkit.selection.job import Job, Setting, carry_out
from nmfkit.selection.judge import held_out
from nmfkit.selection.select import share_of
from nmfkit.selection.speckles import Speckles, Within
from nmfkit.sources import open_source
from nmfkit.sources.observed import observed


def counts(rank=3, seed=0, shape=(40, 25)):
    return planted(rank, seed, "counts", shape)[0]


# --- speckles -----------------------------------------------------------------------------------------------


@given(
    m=st.integers(1, 60),
    n=st.integers(1, 60),
    share=st.floats(0.001, 0.5),
    seed=st.integers(0, 2**40),
    cuts=st.lists(st.integers(0, 60), max_size=4),
)
def test_speckles_are_the_same_for_every_blocking(m, n, share, seed, cuts):
    mask = Speckles((m, n), share, seed, 1)
    whole = mask.read(0, m).values
    edges = sorted({0, m, *(c for c in cuts if c < m)})
    parts = [mask.read(a, b).values for a, b in pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    rows, columns = mask.hidden(0, m)
    assert set(np.unique(whole)) <= {0, 1}
    assert len(rows) == np.sum(whole == 0)
    assert not whole[rows, columns].any()


def test_many_rows_are_drawn_piece_by_piece(monkeypatch):
    mask = Speckles((50, 30), 0.2)
    whole = mask.read(0, 50).values
    monkeypatch.setattr("nmfkit.selection.speckles.CELLS", 100)
    np.testing.assert_array_equal(mask.read(0, 50).values, whole)


@pytest.mark.parametrize("share", [0.003, 0.1, 0.5])
def test_the_share_is_hidden_everywhere_alike(share):
    hidden = 1 - Speckles((2000, 500), share, seed=3).read(0, 2000).values
    cells = hidden.size
    assert abs(hidden.sum() - share * cells) < 5 * math.sqrt(share * (1 - share) * cells)
    for axis, length in ((0, 2000), (1, 500)):
        sums, spread = hidden.sum(axis=axis), math.sqrt(share * (1 - share) * length)
        assert np.max(np.abs(sums - share * length)) < 6 * spread + 1
    for edge in (hidden[:, :5], hidden[:, -5:]):
        assert abs(edge.mean() - share) < 5 * math.sqrt(share / edge.size)


def test_other_numbers_and_seeds_hide_other_entries():
    masks = [Speckles((40, 40), 0.3, seed, number).read(0, 40).values for seed in (0, 1) for number in (0, 1)]
    assert all(0.2 < np.mean(a != b) < 0.6 for i, a in enumerate(masks) for b in masks[:i])


@pytest.mark.parametrize("absent", [False, True])
def test_masks_that_list_what_they_hide_are_never_formed(absent, monkeypatch):
    x = sp.random_array((60, 40), density=0.2, rng=0)
    mask, missing = Speckles(x.shape, 0.2), "absent" if absent else "none"
    formed = nmfkit.fit(x, rank=2, loss="kl", max_sweeps=5, mask=mask.read(0, 60).values, missing=missing)
    monkeypatch.setattr(Speckles, "read", None)
    listed = nmfkit.fit(x, rank=2, loss="kl", max_sweeps=5, mask=mask, missing=missing)
    np.testing.assert_allclose(listed.history.objective, formed.history.objective, rtol=1e-12)
    np.testing.assert_allclose(listed.w @ listed.h, formed.w @ formed.h, rtol=1e-9)


def test_another_mask_hides_its_entries_too():
    other = np.ones((20, 10))
    other[3] = 0
    mask = Within(open_source(other), Speckles((20, 10), 0.2)).read(4, 20).values
    np.testing.assert_array_equal(mask, (Speckles((20, 10), 0.2).read(0, 20).values * other)[4:])


@pytest.mark.parametrize("share", [0, -0.1, 0.51, math.nan])
def test_odd_shares_are_refused(share):
    with pytest.raises(UsageError, match="share"):
        Speckles((2, 2), share)


def test_of_sparse_data_no_more_is_hidden_than_is_stored():
    x = sp.random_array((200, 100), density=0.02, rng=0)
    assert share_of(None, open_source(x)) == pytest.approx(0.02)
    assert share_of(None, open_source(x.toarray())) == 0.1
    assert share_of(0.3, open_source(x)) == 0.3


# --- held-out loss ------------------------------------------------------------------------------------------


def divergence(x, y, loss):
    if loss == "frobenius":
        return 0.5 * np.sum((x - y) ** 2)
    return np.sum(np.where(x > 0, x * np.log(np.where(x > 0, x, 1) / y), 0) - x + y)


@pytest.mark.parametrize("loss", ["kl", "frobenius"])
@pytest.mark.parametrize("kind", ["dense", "sparse", "nan", "absent", "mask"])
def test_held_out_loss_is_the_brute_force_sum(loss, kind):
    x = counts()
    known = np.ones_like(x)
    given_x, options = x, {}
    if kind == "nan":
        known = (np.random.default_rng(0).random(x.shape) > 0.2).astype(float)
        given_x, options = np.where(known > 0, x, np.nan), {"missing": "nan"}
    elif kind == "mask":
        known[5:9, ::2] = 0
        options = {"mask": open_source(known)}
    elif kind in ("sparse", "absent"):
        given_x = sp.csr_array(x)
        if kind == "absent":
            known, options = (x > 0).astype(float), {"missing": "absent"}
    source = open_source(given_x, missing="nan" if kind == "nan" else "none")
    setting = Setting(Problem(loss=loss, max_sweeps=5, pilot="none"), source, 0.2, {"threads": 1}, **options)
    figures = carry_out(setting, Job(1, 3, True)).figures
    problem, speckles = setting.of(Job(1, 3, True)), setting.speckles(1)
    fits = [
        nmfkit.fit(
            x, rank=3, loss=loss, mask=speckles.read(0, 40).values * known, seed=seed, max_sweeps=5, pilot="none"
        )
        for seed in (problem.seed, setting.of(Job(1, 3, True), 1).seed)
    ]
    best = min(fits, key=lambda fit: fit.objective)
    hidden = (Speckles(x.shape, 0.2, 0, 1).read(0, 40).values == 0) & (known > 0)
    seen = known * ~hidden
    assert figures["entries"] == hidden.sum()
    overall = np.sum(x * seen) / np.sum(seen)
    rows, columns = ((np.sum(x * seen, axis=a) + overall) / (np.sum(seen, axis=a) + 1) for a in (1, 0))
    plain = (np.outer(rows, columns) / overall)[hidden]
    predicted = np.maximum((best.w @ best.h)[hidden], 1e-3 * plain)
    assert figures["held_out"] == pytest.approx(divergence(x[hidden], predicted, loss), rel=1e-6)
    assert figures["plain"] == pytest.approx(divergence(x[hidden], plain, loss), rel=1e-9)


def test_rows_without_entries_are_judged_too():
    x = counts(shape=(30, 20))
    x[10:] = 0
    for missing, entries in (("none", None), ("absent", 0)):
        result = nmfkit.fit(x, rank=2, loss="kl", max_sweeps=3, pilot="none")
        source = observed(open_source(sp.csr_array(x)), missing=missing)
        mask = Speckles(x.shape, 0.2)
        parts = [source.read(a, b) for a, b in ((0, 10), (10, 30))]
        found = [judge._hidden(part, mask) for part in parts]
        assert len(found[1].values) == (entries if entries is not None else len(mask.hidden(10, 30)[0]))
        assert not found[1].values.any()
        assert held_out(result, source, mask, resolve(result.problem), Machine(threads=1), Watcher()).loss > 0


def test_held_out_loss_is_the_same_for_every_blocking():
    x = counts(shape=(200, 30))
    result = nmfkit.fit(x, rank=3, loss="kl", max_sweeps=5, pilot="none")
    mask, parts = Speckles(x.shape, 0.1), resolve(result.problem)

    class Cut:
        """X in blocks of seven rows."""

        def __init__(self, of):
            self.of = of

        def __getattr__(self, name):
            return getattr(self.of, name)

        def bounds(self, target):
            return [(lo, min(lo + 7, 200)) for lo in range(0, 200, 7)]

    found = [
        held_out(result, source, mask, parts, Machine(threads=1), Watcher())
        for source in (open_source(x), Cut(open_source(x)))
    ]
    assert found[0].entries == found[1].entries
    assert found[0].loss == pytest.approx(found[1].loss, rel=1e-12)
    assert found[0].plain == pytest.approx(found[1].plain, rel=1e-12)


def test_a_replicate_that_hides_everything_is_named():
    with pytest.raises(DataError, match=r"without the 0\.5 of its entries that replicate \d+ hides, the matrix"):
        nmfkit.select_rank(np.array([[3.0, 0.0]]), "1", share=0.5, replicates=20, max_sweeps=3)
