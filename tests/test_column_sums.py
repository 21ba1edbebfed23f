"""Columns of W that keep their sums while W is sharded: the search by passes, and whole fits."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
from clusters import cluster
from hypothesis import given
from hypothesis import strategies as st
from nmfkit_plugins.beta.divergence import beta_divergence
from nmfkit_plugins.beta.multiplicative import Multiplicative
from nmfkit_plugins.beta.nmf import NMF
from nmfkit_plugins.minvol.sum_to_one import SumToOne
from nmfkit_plugins.minvol.volume import MinimumVolume

import nmfkit
from nmfkit.blocks import Dense
from nmfkit.check import resolve
from nmfkit.column_sums import ColumnStep, onto_totals
from nmfkit.errors import Incompatible
from nmfkit.executors.local import LocalExecutor
from nmfkit.executors.passes import passed
from nmfkit.executors.plan import make_plan
from nmfkit.executors.rows import ResidentRows
from nmfkit.loop import iterate
from nmfkit.pace import Pace
from nmfkit.probe import survey
from nmfkit.problem import Problem
from nmfkit.summed import held, searched
from nmfkit.surrogate import LOG
from nmfkit.testing import Chunked
from nmfkit.testing import strategies as some
from nmfkit.testing.chunked import Counted
from nmfkit.testing.compare import assert_close

# --- the step of one factor, in passes ------------------------------------------------------------------------

KINDS = (
    {1.0: 1, 0.0: -1},  # Kullback–Leibler
    {2.0: 1, 1.0: -1},  # Frobenius
    {1.5: 1, 0.5: -1},
    {1.0: 1, -0.5: -1},
    {2.0: 1, 1.0: 0, 0.0: -1},  # with a volume
    {LOG: 1, 1.0: 0, 0.0: -1},  # coupled to a layer below
    {2.0: 1, LOG: 1, 1.0: 0, -1 / 3: -1},
)


@dataclass(frozen=True)
class OneFactor:
    """A model whose sweep is the step of its only factor; the surrogate comes from the state, and W with it."""

    total: float
    reads: bool
    kept: bool

    phased, aside = True, 5

    @property
    def step(self):
        return ColumnStep("w", self.total, 1e-12, self.made, self.reads, self.kept)

    def made(self, x, rows, shared):
        assert x.shape[1] > 0 or not self.reads, "X is not there"
        here = slice(x.first, x.first + len(rows["w"]))
        return rows["w"], {p: c[here] if len(c) > 1 else c for p, c in shared["surrogate"].items()}

    def phase(self, shared):
        return self.step.phase(shared)

    def after(self, shared, stats):
        return self.step.after(shared, stats)


@st.composite
def factors(draw):
    """A factor, a surrogate of it that keeps the contract, and chunks of its rows."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    m, r = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    f = np.exp(rng.uniform(-draw(st.sampled_from((0, 3, 20))), 1, (m, r)))
    surrogate = {}
    for power, sign in draw(st.sampled_from(KINDS)).items():
        size = np.exp(rng.uniform(-4, 4, (m if draw(st.booleans()) else 1, r)))
        surrogate[power] = sign * size if sign else size * rng.choice([-1, 1], size.shape)
    return f, surrogate, draw(some.chunkings(m))


def plan_of(source, threads=1):
    plan = make_plan(source, width=2, dtype=source.dtype, elementwise=False, forms_product=False, threads=threads)
    return replace(plan, cache_bytes=0, shards=tuple(range(i, i + 1) for i in range(len(plan.bounds))))


@given(factors(), st.sampled_from((1.0, 7.5)), st.booleans(), st.booleans())
def test_a_step_in_passes_is_that_of_the_whole_factor(drawn, total, reads, kept):
    f, surrogate, chunks = drawn
    model, count = OneFactor(total, reads, kept), Counted.anew()
    with LocalExecutor(count.source(np.ones((len(f), 2)), chunks), plan_of(Chunked(f, chunks))) as executor:
        rows, state = passed(model, executor.sweep, ResidentRows({"w": f}), {"surrogate": surrogate})
        assert count.count() == reads * len(chunks)
    model.step.taken(Dense(np.ones((len(f), 2)), 0), rows.read(0, len(f)), state)
    new = np.concatenate(
        [model.step.taken(Dense(np.ones((hi - lo, 2)), lo), rows.read(lo, hi), state) for lo, hi in chunks]
    )
    assert_close(np.sum(new, axis=0), np.full(f.shape[1], total), "sums", rtol=1e-12)
    assert_close(new, held(surrogate, f, searched(surrogate, f, total, floor=1e-12)), "the step", rtol=1e-9)
    assert "w.search" not in model.step.ended(state)
    assert (reads or kept) == ("w.from" in rows.read(0, 1))


@given(st.integers(1, 9), st.integers(0, 99))
def test_rows_are_rescaled_to_their_totals(m, seed):
    f = np.random.default_rng(seed).random((m, 3))
    f[:, 1] = 0
    new = onto_totals(f, np.sum(f, axis=0, keepdims=True), 2.0, m)
    assert_close(np.sum(new, axis=0), np.full(3, 2.0), "totals", rtol=1e-12)
    assert_close(new[:, 0] * f[0, 0], f[:, 0] * new[0, 0], "proportions")
    assert_close(new[:, 1], np.full(m, 2.0 / m), "a column of nothing")


# --- whole fits ---------------------------------------------------------------------------------------------

BETAS = (-0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
RULES = ("mu", "mu:extrapolate=no", "mu:joint=no", "mu:joint=no,extrapolate=no")
VOLUME = MinimumVolume(0.2, 0.01)


def loss_of(beta):
    return {1.0: "kl", 2.0: "frobenius"}.get(beta, f"beta:{beta}")


def fitted(x, beta, rule="mu", volume=False, **more):
    reg_w = (SumToOne(), VOLUME) if volume else (SumToOne(),)
    options = {"rank": 2, "max_sweeps": 6, "tol": 0, "threads": 1, **more}
    return nmfkit.fit(x, loss=loss_of(beta), rule=rule, reg_w=reg_w, **options)


def matrix(draw, positive, least=2):
    x = draw(some.matrices(positive=positive, scales=(1.0, 1e3), shape=(draw(st.integers(least, 7)), draw(some.sides))))
    return some.with_something(x)


def slack_of(x, beta, objectives):
    # What the terms of the loss cannot be summed up to.
    scale = abs(beta_divergence(beta).terms(np.maximum(x, 1e-6), np.maximum(x, 1e-6) / 2)).sum()
    return 1e-9 * np.abs(objectives) + 1e-11 * scale


@given(st.data(), st.sampled_from(BETAS), st.sampled_from(RULES), st.booleans())
def test_sweeps_never_raise_the_objective_and_keep_the_sums(data, beta, rule, volume):
    x = matrix(data.draw, positive=beta <= 0)
    chunks = data.draw(some.chunkings(len(x)))
    result = fitted(Chunked(x, chunks), beta, rule, volume, max_sweeps=12)
    objectives = np.asarray(result.history.objective)
    assert (np.diff(objectives) <= slack_of(x, beta, objectives[:-1])).all(), objectives.tolist()
    assert_close(np.sum(result.w, axis=0), np.ones(2), "sums of columns", rtol=1e-12)
    assert (result.w >= 0).all()
    assert result.factors.keys() == {"w", "h"}


@given(st.data(), st.sampled_from(BETAS), st.sampled_from(RULES), st.booleans())
def test_every_layout_gives_the_same(data, beta, rule, volume):
    x = matrix(data.draw, positive=beta <= 0)
    chunks = data.draw(some.chunkings(len(x)))
    whole = fitted(x, beta, rule, volume)
    objectives = np.asarray(whole.history.objective)
    for is_sparse, threads in ((False, 2), (True, 1)):
        other = fitted(Chunked(x, chunks, is_sparse=is_sparse), beta, rule, volume, threads=threads)
        far = np.abs(np.asarray(other.history.objective) - objectives)
        assert (far <= slack_of(x, beta, objectives)).all(), (far, objectives)
        assert_close(other.factors, whole.factors, "factors", rtol=1e-6)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("beta", BETAS)
def test_a_sweep_reads_the_data_twice_or_once(beta, rule):
    rng, count = np.random.default_rng(1), Counted.anew()
    x, chunks = rng.gamma(1.0, 1.0, (12, 5)), [(0, 5), (5, 6), (6, 12)]
    problem = Problem(ranks=(2,), loss=loss_of(beta), rule=rule, reg_w=(SumToOne(),), max_sweeps=5, tol=0.0)
    resolved, source = resolve(problem), count.source(x, chunks)
    once = beta == 1.0 and "joint=no" not in rule
    with LocalExecutor(source, plan_of(source)) as executor:
        model = resolved.model
        probe = survey(executor.sweep, source)
        rows, shared = model.start(resolved.initializer, executor.sweep, probe, 0, x.dtype)
        before = count.count()
        for state in iterate(model, executor, problem, rows, shared):
            after = count.count()
            # After one look at the start, W's step waits for that of H.
            expected = 1 if once else 2
            assert after - before == expected * len(chunks), f"sweep {state.sweep}"
            before = after
    assert model.reads == expected
    assert model.phased
    assert not any(name.startswith(("w.from", "w.power")) for name in state.rows.read(0, 1))
    assert not {"w.search", "w.ahead.sums"} & state.following.keys()


def test_kullback_leibler_from_one_look_is_expectation_maximisation():
    rng = np.random.default_rng(4)
    x = rng.gamma(1.0, 1.0, (9, 6))
    w, h = rng.random((9, 3)), rng.random((3, 6))
    result = fitted(x, 1.0, "mu:extrapolate=no", rank=3, max_sweeps=7, w=w, h=h)
    w, h = w / w.sum(axis=0), h * w.sum(axis=0)[:, None]
    for _ in range(7):
        ratio = x / (w @ h)
        h, w = h * (w.T @ ratio), w * (ratio @ h.T)
        w /= w.sum(axis=0)
    assert_close(result.w, w, "W of Hofmann's updates", rtol=1e-9)


def test_without_a_volume_sums_cost_nothing():
    """Any pair of factors can be scaled to columns that sum to 1, so the best ones are as good as without."""
    rng = np.random.default_rng(5)
    x = rng.gamma(1.0, 1.0, (30, 3)) @ rng.gamma(1.0, 1.0, (3, 20))
    for beta in (0.5, 1.0, 2.0):
        free = nmfkit.fit(x, rank=3, loss=loss_of(beta), rule="mu", max_sweeps=300, tol=0, threads=1)
        summed = fitted(x, beta, rank=3, max_sweeps=300)
        assert summed.objective <= free.objective + 1e-3 * summed.history.objective[0]


@dataclass(frozen=True)
class Hasty(Multiplicative):
    """A rule that goes ahead much too far."""

    def ahead(self, f, past, weight):
        return super().ahead(f, past, 4 * weight)


@pytest.mark.parametrize("volume", [False, True])
@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("joint", [False, True])
def test_sweeps_that_go_too_far_are_undone(beta, joint, volume):
    """What a refused sweep has tried leaves no trace, and the next one is taken from known ground."""
    x = np.random.default_rng(3).gamma(1.0, 1.0, (8, 6))
    result = fitted(x, beta, Hasty(joint=joint), volume, rank=3, max_sweeps=30)
    assert Pace.of(result.state.following).refusals > 0, "the test tests nothing"
    objectives = np.asarray(result.history.objective)
    assert (np.diff(objectives) <= slack_of(x, beta, objectives[:-1])).all()
    assert_close(np.sum(result.w, axis=0), np.ones(3), "sums of columns", rtol=1e-12)


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_a_fit_goes_on_from_any_sweep_as_if_it_had_never_stopped(beta):
    x = np.random.default_rng(6).gamma(1.0, 1.0, (12, 5))
    problem = Problem(ranks=(2,), loss=loss_of(beta), rule="mu", reg_w=(SumToOne(), VOLUME), max_sweeps=9, tol=0.0)
    resolved, source = resolve(problem), Chunked(x, [(0, 5), (5, 12)])
    with LocalExecutor(source, plan_of(source)) as executor:
        probe = survey(executor.sweep, source)
        start = resolved.model.start(resolved.initializer, executor.sweep, probe, 0, x.dtype)
        start = resolved.model.calibrate(*start, executor.sweep)
        states = list(iterate(resolved.model, executor, problem, *start))
        for state in states[:-1]:
            going = iterate(resolved.model, executor, problem, state.rows, state.following, state.history)
            for expected, found in zip(states[state.sweep + 1 :], going, strict=True):
                assert found.objective == expected.objective
        assert (found.rows.read(0, 12)["w"] == states[-1].rows.read(0, 12)["w"]).all()


def test_single_precision_keeps_sums_to_its_own_rounding():
    x = np.random.default_rng(7).gamma(1.0, 1.0, (40, 9)).astype(np.float32)
    for beta in (0.0, 1.0, 2.0):
        result = fitted(x, beta, volume=True, max_sweeps=30)
        assert result.w.dtype == np.float32
        assert_close(np.sum(result.w, axis=0, dtype=float), np.ones(2), "sums of columns", rtol=1e-6)
        objectives = np.asarray(result.history.objective)
        assert (np.diff(objectives) <= 1e-5 * objectives[0]).all()


def test_missing_entries_take_two_reads_and_keep_the_sums():
    rng = np.random.default_rng(8)
    x = rng.gamma(1.0, 1.0, (20, 7))
    x[rng.random(x.shape) < 0.3] = np.nan
    for beta in (0.5, 1.0, 2.0):
        result = fitted(x, beta, missing="nan", max_sweeps=20)
        assert "w.neg" not in result.state.rows.read(0, 1), "one look does not give the positive half of W"
        assert_close(np.sum(result.w, axis=0), np.ones(2), "sums of columns", rtol=1e-12)
        objectives = np.asarray(result.history.objective)
        assert (np.diff(objectives) <= 1e-9 * objectives[:-1]).all()


def test_new_rows_have_no_sums_to_keep():
    x = np.random.default_rng(9).gamma(1.0, 1.0, (20, 7))
    result = fitted(x, 1.0, max_sweeps=50)
    w = nmfkit.transform(result, x[:3], threads=1)
    assert_close(w, result.w[:3], "rows of known data", rtol=0.1)


# --- elsewhere ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client():
    with cluster(workers=2, processes=False) as there:
        yield there


@pytest.mark.parametrize("rule", ["mu", "mu:joint=no"])
@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_a_cluster_gives_what_is_given_here(client, tmp_path, beta, rule):
    x = np.random.default_rng(10).gamma(1.0, 1.0, (600, 40))
    nmfkit.convert(x, tmp_path / "x.zarr", chunk_mb=0.05)
    source = tmp_path / "x.zarr"
    here = fitted(source, beta, rule, volume=True, max_sweeps=5, threads=2)
    there = fitted(source, beta, rule, volume=True, max_sweeps=5, scheduler=client, threads=None)
    assert_close(there.history.objective, here.history.objective, "objectives", rtol=1e-10)
    assert_close(there.w, here.w, "W", rtol=1e-7)


# --- words --------------------------------------------------------------------------------------------------


def test_explain_says_how_often_the_data_are_read(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.ones((400, 300)))
    for loss, reads in (("kl", 1), ("beta:0.5", 2)):
        told = nmfkit.explain(str(path), rank=2, loss=loss, rule="mu", reg_w=(SumToOne(),), memory="2MB", threads=1)
        assert told.as_dict()["plan"]["reads_per_sweep"] == reads
        assert told.as_dict()["plan"]["read_per_sweep_bytes"] % reads == 0
        assert bool(re.search(r"read per sweep .*, 2 times X", str(told))) == (reads == 2)
        assert told.plan.passed_bytes == reads * told.plan.source_bytes


class Secretive(Multiplicative):
    """A rule that does not say what it minimises."""

    majoriser = None


def test_a_rule_that_does_not_say_what_it_minimises_is_refused():
    rule = Secretive()
    problem = Problem(ranks=(2,), loss="kl", rule=rule, reg_w=(SumToOne(),))
    assert isinstance(resolve(problem.replace(rule="mu")).model, NMF)
    with pytest.raises(Incompatible, match=r"Majorises.*--rule mu"):
        resolve(problem)
