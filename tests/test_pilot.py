"""A pilot gives a fit its start: which rows it takes, that only the start differs, that it is never the worse one."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import nmfkit
from nmfkit.blocks import CSR, Dense
from nmfkit.check import resolve
from nmfkit.loop import Watcher
from nmfkit.pilot import LEAST_GAIN, ROWS_PER_COMPONENT, Carries, share
from nmfkit.problem import Problem
from nmfkit.sample import Picked, is_picked, pick
from nmfkit.sources import open_source
from nmfkit.testing import strategies as some
from nmfkit.testing.chunked import Chunked

RNG = np.random.default_rng(4)
TALL = RNG.gamma(0.5, 2.0, (3000, 5)) @ RNG.gamma(0.5, 2.0, (5, 40)) * RNG.gamma(4, 0.25, (3000, 40))


class Stages(Watcher):
    def __init__(self):
        self.names = []

    def stage(self, name):
        self.names.append(name)


@given(st.integers(1, 400), st.floats(0.01, 1), st.data())
def test_rows_are_picked_whatever_the_blocks(m, part, data):
    x = RNG.random((m, 3)) * (RNG.random((m, 3)) < 0.6)
    chosen = is_picked(np.arange(m), part)
    assert abs(chosen.sum() - part * m) <= 4, "spread evenly: no stretch of rows has many more than its share"
    bounds = data.draw(some.chunkings(m))
    csr = sp.csr_array(x)
    for whole in (Dense(x), CSR(csr.data, csr.indices, csr.indptr, 3)):
        picked = sum((pick(whole.rows(a, b), part) for a, b in bounds), Picked())
        if not picked.pieces:
            assert not chosen.any()
            continue
        source = picked.source(m)
        assert source.shape == (chosen.sum(), 3)
        block = source.read(0, source.shape[0])
        assert np.array_equal(block.dense(), x[chosen])
        assert block.whole == m


def test_a_sample_holds_none_of_the_block_it_was_picked_from():
    x = RNG.random((1000, 20))
    (piece,) = pick(Dense(x), 0.05).pieces
    assert not np.shares_memory(piece.values, x)
    assert piece.values.base is None


def source_of(m, n, density=None):
    return open_source(np.ones((m, n), np.float32) if density is None else sp.random_array((m, n), density=density))


@pytest.mark.parametrize(
    ("shape", "rank", "density", "pays"),
    [
        ((1797, 64), 16, None, False),  # no sixfold of 320 rows
        ((9000, 900), 8, None, True),
        ((9000, 90), 8, None, False),  # over before it would have paid
        ((900, 9000), 8, None, False),
        ((60_000, 300), 8, 0.01, False),  # a sixth holds too few entries for H
        ((60_000, 300), 8, 0.3, True),
    ],
)
def test_a_pilot_is_flown_where_it_pays(shape, rank, density, pays):
    part = share(Problem(ranks=(rank,)), source_of(*shape, density))
    assert bool(part) == pays
    if pays:
        assert ROWS_PER_COMPONENT * rank <= round(part * shape[0]) <= shape[0] / LEAST_GAIN + 1


def test_a_number_of_rows_is_taken_as_it_is_and_none_is_none():
    source = source_of(100, 20)
    assert share(Problem(ranks=(2,), pilot="25"), source) == 0.25
    assert share(Problem(ranks=(2,), pilot="1000"), source) == 1
    assert share(Problem(ranks=(2,), pilot="none"), source) == 0
    with pytest.raises(nmfkit.UsageError, match="model 'nmf' cannot go on from the fit of some rows"):
        share(Problem(ranks=(2,), pilot="25"), source, carries=False)


@pytest.mark.parametrize("pilot", ["many", "-3", "0", "2.5", ""])
def test_anything_else_is_refused(pilot):
    with pytest.raises(nmfkit.UsageError, match="neither auto, nor none, nor a number of rows"):
        nmfkit.fit(TALL, rank=2, pilot=pilot)


def test_the_plain_model_carries():
    assert isinstance(resolve(Problem(ranks=(2,))).model, Carries)


@pytest.mark.parametrize("loss", ["frobenius", "kl", "is"])
def test_a_pilot_starts_lower(loss):
    stages = Stages()
    with_one = nmfkit.fit(TALL, rank=5, loss=loss, pilot=300, max_sweeps=2, tol=0, watcher=stages)
    without = nmfkit.fit(TALL, rank=5, loss=loss, pilot="none", max_sweeps=2, tol=0)
    assert "pilot" in stages.names
    assert with_one.history.objective[0] < without.history.objective[2]
    assert (np.diff(with_one.history.objective) <= 0).all()


@pytest.mark.parametrize("is_sparse", [False, True])
def test_blocks_and_threads_do_not_matter(is_sparse):
    x = np.floor(TALL).astype(float)
    whole = nmfkit.fit(sp.csr_array(x) if is_sparse else x, rank=3, loss="kl", pilot=200, max_sweeps=5, threads=1)
    bounds = [(lo, min(lo + 700, len(x))) for lo in range(0, len(x), 700)]
    parts = nmfkit.fit(Chunked(x, bounds, is_sparse=is_sparse), rank=3, loss="kl", pilot=200, max_sweeps=5, threads=2)
    assert np.allclose(parts.h, whole.h, rtol=1e-6)


def test_better_factors_that_are_given_are_kept():
    first = nmfkit.fit(TALL, rank=5, loss="kl", max_sweeps=300)
    again = nmfkit.fit(TALL, rank=5, loss="kl", w=first.w, h=first.h, pilot=100, max_sweeps=0)
    assert again.objective <= first.objective
    poor = nmfkit.fit(
        TALL, rank=5, loss="kl", w=np.ones((3000, 5)), h=np.ones((5, 40)) + RNG.random((5, 40)), pilot=100, max_sweeps=0
    )
    assert poor.objective < nmfkit.fit(TALL, rank=5, loss="kl", pilot="none", max_sweeps=3).objective


def test_a_sample_without_any_entry_leaves_the_start_as_it_is():
    x = np.zeros((400, 6))
    x[~is_picked(np.arange(400), 10 / 400)] = RNG.random((400, 6))[~is_picked(np.arange(400), 10 / 400)]
    assert np.isfinite(nmfkit.fit(x, rank=2, pilot=10, max_sweeps=3).objective)


def test_a_resumed_fit_knows_of_its_pilot(tmp_path):
    whole = nmfkit.fit(TALL, rank=4, pilot=200, max_sweeps=6, tol=0)
    nmfkit.fit(TALL, rank=4, pilot=200, max_sweeps=3, tol=0, out=tmp_path / "run.zarr")
    assert nmfkit.load(tmp_path / "run.zarr").problem.pilot == "200"
    assert np.array_equal(nmfkit.resume(tmp_path / "run.zarr", TALL, max_sweeps=6).h, whole.h)


def test_explain_tells_of_it():
    told = nmfkit.explain(np.ones((9000, 900), np.float32), rank=8)
    assert told.as_dict()["pilot_rows"] == 160
    assert "about 160 rows first" in str(told)
    assert nmfkit.explain(TALL, rank=8).as_dict()["pilot_rows"] == 0


def test_penalties_count_when_a_start_is_judged():
    x = TALL[:700]
    parts = {"rank": 4, "rule": "hals", "reg_w": ["l1:2"], "reg_h": ["l1:20"]}
    first = nmfkit.fit(x, max_sweeps=300, **parts)
    again = nmfkit.fit(x, w=first.w, h=first.h, pilot=60, max_sweeps=0, **parts)
    assert again.objective <= first.objective * (1 + 1e-9)


def test_a_sample_keeps_within_the_memory_allowed(tmp_path):
    nmfkit.convert(np.ones((20_000, 500), np.float32), tmp_path / "x.zarr")
    with pytest.raises(nmfkit.UsageError, match="ask for at most 4,194 rows"):
        nmfkit.fit(tmp_path / "x.zarr", rank=2, pilot=10_000, memory="64MiB")
    big = source_of(60_000, 5000)
    assert share(Problem(ranks=(20,)), big) > 0
    assert share(Problem(ranks=(20,)), big, memory=2**25) == 0
