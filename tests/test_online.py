"""The rule `online`: bounds that fall, exact ends, fewer reads, and the same fit wherever it is done."""

from __future__ import annotations

import numpy as np
import pytest
from clusters import cluster
from nmfkit_plugins.beta.online import Online
from small import COUNTS, X

import nmfkit
from nmfkit.blocks import Dense
from nmfkit.check import resolve
from nmfkit.errors import Incompatible, NmfkitError
from nmfkit.executors.cache import BlockCache
from nmfkit.executors.local import LocalExecutor
from nmfkit.executors.machine import Machine
from nmfkit.executors.open import local_plan
from nmfkit.loop import iterate
from nmfkit.lowrank import LowRank
from nmfkit.probe import survey
from nmfkit.problem import Problem
from nmfkit.protocols import Moment, Penalty, Term
from nmfkit.testing import Chunked
from nmfkit.testing.compare import assert_close, roundoff
from nmfkit.testing.device import to_device, to_host

CHUNKS = [(0, 5), (5, 6), (6, 20), (20, 31), (31, 44), (44, 52), (52, 60)]
BETAS = (0, 0.5, 1, 2, 3)
MIXES = ((), ("l1:0.3",), ("l2:0.3",), ("l1:0.3", "l2:0.3"))
FIT = {"rank": 4, "tol": 0, "pilot": "none", "threads": 1}


def chunked(x=X, is_sparse=False):
    return Chunked(x, CHUNKS, is_sparse=is_sparse)


def by_hand(model, x, w, h):
    parts = model.parts
    found = parts.loss.value(Dense(x), LowRank(w, h))
    for regularizers, f in ((parts.reg_w, w), (parts.reg_h, h.T)):
        found += sum(part.value(part.stat(f)) for part in regularizers)
    return found


def states(x, max_sweeps=6, **fields):
    """Each state of a fit with its rows."""
    resolved, source = resolve(Problem(ranks=(4,), max_sweeps=max_sweeps, tol=0.0, **fields)), chunked(x)
    with LocalExecutor(source, local_plan(source, resolved, Machine.of({"threads": 1}))) as executor:
        probe = survey(executor.sweep, source)
        rows, shared = resolved.model.start(resolved.initializer, executor.sweep, probe, 0, source.dtype)
        for state in iterate(resolved.model, executor, resolved.problem, rows, shared):
            yield resolved.model, state, state.rows.read(0, len(x))["w"], state.current["h"]


# --- what the history says ----------------------------------------------------------------------------------


@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "csr"])
@pytest.mark.parametrize(("reg_w", "reg_h"), [(w, h) for w in MIXES for h in MIXES])
@pytest.mark.parametrize(("rule", "beta"), [*(("online:mu", b) for b in BETAS), ("online:visits=1", 2), ("online", 2)])
def test_the_bound_never_rises_and_the_end_is_exact(rule, beta, reg_w, reg_h, is_sparse):
    if is_sparse and (beta == 0 or reg_w != reg_h):
        pytest.skip("a zero is infinitely far from anything, and half the mixes will do")
    x = COUNTS if is_sparse else X
    fitted = nmfkit.fit(
        chunked(x, is_sparse), loss=f"beta:{beta}", rule=rule, reg_w=reg_w, reg_h=reg_h, max_sweeps=12, **FIT
    )
    objectives, slack = fitted.history.objective, 10 * roundoff(fitted.model.parts.loss, Dense(x))
    rises = np.diff(objectives) > 1e-9 * np.abs(objectives[:-1]) + slack
    assert not rises.any(), objectives.tolist()
    assert_close(fitted.objective, by_hand(fitted.model, x, fitted.w, fitted.h), "objective, by hand", atol=slack)


@pytest.mark.parametrize("loss", ["kl", "beta:0.5", "beta:3", "frobenius"])
@pytest.mark.parametrize("mix", [(), ("l1:0.3", "l2:0.3")])
def test_what_is_recorded_on_the_way_is_a_bound_and_exact_for_quadratic_losses(loss, mix):
    for model, state, w, h in states(X, loss=loss, rule="online", reg_w=mix, reg_h=mix):
        found = by_hand(model, X, w, h)
        if loss == "frobenius" or state.stopped_by:
            assert_close(state.objective, found, f"the objective of sweep {state.sweep}", rtol=1e-9)
        else:
            assert state.objective >= found * (1 - 1e-12)


def test_a_very_close_fit_is_summed_up_from_residuals():
    exact = (X[:, :4] @ np.random.default_rng(1).random((4, 40))).astype(np.float32)
    fitted = nmfkit.fit(chunked(exact), rule="online", max_sweeps=400, **FIT)
    assert fitted.state.current["from_residuals"]
    assert_close(fitted.objective, by_hand(fitted.model, exact, fitted.w, fitted.h), "a tiny objective", rtol=1e-3)


def test_float32_is_kept_and_close_to_float64():
    one, other = (
        nmfkit.fit(chunked(COUNTS.astype(dtype)), loss="kl", rule="online", max_sweeps=10, **FIT)
        for dtype in ("float32", "float64")
    )
    assert one.w.dtype == one.h.dtype == np.float32
    assert_close(one.objective, other.objective, "in float32 and in float64", rtol=1e-3)


# --- where it goes, and how fast ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "batch", "loss"),
    [
        ("online:mu,parts=1,visits=1", "mu:extrapolate=no,joint=no", "kl"),
        ("online:mu,parts=1,visits=1", "mu:extrapolate=no", "beta:3"),
        ("online:parts=1,visits=1", "hals:extrapolate=no", "frobenius"),
    ],
)
@pytest.mark.parametrize("mix", [(), ("l1:0.3", "l2:0.3")])
def test_one_part_is_the_batch_rule(rule, batch, loss, mix):
    one, other = (nmfkit.fit(X, loss=loss, rule=r, reg_w=mix, reg_h=mix, max_sweeps=12, **FIT) for r in (rule, batch))
    assert_close(list(one.history.objective), list(other.history.objective), "objectives", rtol=1e-9)
    assert_close(one.factors, other.factors, "factors", rtol=1e-6)


@pytest.mark.parametrize(
    ("loss", "batch"), [("kl", "mu:extrapolate=no"), ("beta:0.5", "mu"), ("frobenius", "hals:extrapolate=no")]
)
def test_it_ends_where_the_batch_rule_ends(loss, batch):
    one = nmfkit.fit(chunked(COUNTS), loss=loss, rule="online", max_sweeps=1500, **FIT)
    other = nmfkit.fit(chunked(COUNTS), loss=loss, rule=batch, max_sweeps=3000, **FIT)
    assert one.objective <= other.objective * (1 + 1e-3)


class Counting(Chunked):
    """Counts the rows that are read."""

    rows_read = 0

    def read(self, lo, hi):
        self.rows_read += hi - lo
        return super().read(lo, hi)


def test_a_third_of_the_reads_suffices(monkeypatch):
    monkeypatch.setattr("nmfkit.executors.local.BlockCache", lambda budget: BlockCache(0))
    rng = np.random.default_rng(0)
    x = rng.poisson(rng.gamma(0.5, 2.0, (4000, 8)) @ rng.gamma(0.5, 2.0, (8, 300))).astype(np.float32)
    plain = Counting(x, [(lo, lo + 125) for lo in range(0, len(x), 125)])
    options = {"loss": "kl", "rank": 8, "tol": 0, "pilot": "none", "threads": 1, "memory": "8MiB"}
    goal = nmfkit.fit(plain, rule="mu:extrapolate=no", max_sweeps=30, **options).objective
    low, high = 1, 16
    while low < high:  # by halving: the objective of a fit falls with its sweeps
        middle = (low + high) // 2
        source = Counting(x, plain.chunks)
        reached = nmfkit.fit(source, rule="online", max_sweeps=middle, **options).objective <= goal
        low, high = (low, middle) if reached else (middle + 1, high)
    source = Counting(x, plain.chunks)
    fitted = nmfkit.fit(source, rule="online", max_sweeps=low, **options)
    assert fitted.objective <= goal
    assert source.rows_read <= plain.rows_read / 3, f"{source.rows_read} of {plain.rows_read} rows"


def test_a_sweep_that_ends_too_high_is_undone_and_groups_fade_no_more():
    fitted = nmfkit.fit(chunked(COUNTS), rule="online:hals", max_sweeps=60, **FIT)
    objectives = fitted.history.objective
    undone = np.flatnonzero(np.diff(objectives[:-1]) == 0)
    assert len(undone), "nothing was undone: this test needs other data"
    assert (objectives[undone[0] + 2 :] < objectives[undone[0]]).all()
    assert fitted.state.following["settled"]


@pytest.mark.parametrize("loss", ["kl", "is", "frobenius"])
def test_wherever_it_ends_it_ends_below_the_bound(loss):
    x = X if loss == "is" else COUNTS
    for sweeps in range(1, 16):
        objectives = nmfkit.fit(chunked(x), loss=loss, rule="online", max_sweeps=sweeps, **FIT).history.objective
        assert objectives[-1] <= objectives[-2], f"{objectives[-1]} after {objectives[-2]}, {sweeps} sweeps"


# --- one layout, one fit ------------------------------------------------------------------------------------


def same_fit(one, other):
    assert one.history.objective.tolist() == other.history.objective.tolist()
    assert_close(one.factors, other.factors, "factors", rtol=0)


@pytest.mark.parametrize("loss", ["kl", "frobenius"])
@pytest.mark.parametrize("reg", [(), ("l1:0.1",)])
def test_a_fit_that_ended_goes_on_as_if_it_had_not(tmp_path, loss, reg):
    options = {**FIT, "loss": loss, "rule": "online", "reg_w": reg, "reg_h": reg}
    out = str(tmp_path / "run")
    nmfkit.fit(chunked(COUNTS), out=out, max_sweeps=3, **options)
    for sweeps in range(4, 14) if loss == "frobenius" else (4, 5, 8, 13):  # of the fit with HALS, one is undone
        resumed = nmfkit.resume(out, chunked(COUNTS), max_sweeps=sweeps, threads=1)
    same_fit(resumed, nmfkit.fit(chunked(COUNTS), max_sweeps=13, **options))


def test_a_fit_that_converged_goes_on_when_more_is_asked_for(tmp_path):
    options = {**FIT, "loss": "kl", "rule": "online", "max_sweeps": 300}
    out = str(tmp_path / "run")
    first = nmfkit.fit(chunked(COUNTS), out=out, **{**options, "tol": 1e-2})
    assert first.stopped_by == "converged"
    assert_close(first.objective, by_hand(first.model, COUNTS, first.w, first.h), "objective, by hand")
    same_fit(nmfkit.resume(out, chunked(COUNTS), threads=1), first)
    whole = nmfkit.fit(chunked(COUNTS), **{**options, "tol": 1e-3})
    same_fit(nmfkit.resume(out, chunked(COUNTS), tol=1e-3, threads=1), whole)


def test_other_blocks_make_other_groups_and_the_objective_still_falls(tmp_path):
    options = {**FIT, "loss": "frobenius", "rule": "online", "reg_w": ("l2:0.1",)}
    out = str(tmp_path / "run")
    nmfkit.fit(chunked(COUNTS), out=out, max_sweeps=6, **options)
    before = nmfkit.load(out).history.objective
    halves = Chunked(COUNTS, [(0, 30), (30, 60)])
    after = nmfkit.resume(out, halves, max_sweeps=12, threads=1, memory="1GiB")
    assert len(after.history) == 13
    assert (np.diff(after.history.objective[5:]) <= 0).all(), after.history.objective.tolist()
    assert after.objective < before[-1]
    assert_close(after.objective, by_hand(after.model, COUNTS, after.w, after.h), "objective, by hand", rtol=1e-8)


def test_an_interrupted_fit_goes_on_from_its_bound(tmp_path):
    class Impatient(nmfkit.loop.Watcher):
        def sweep(self, state):
            if state.sweep == 4:
                raise KeyboardInterrupt

    options = {**FIT, "loss": "kl", "rule": "online", "max_sweeps": 9}
    out = str(tmp_path / "run")
    with pytest.raises(NmfkitError):
        nmfkit.fit(chunked(), out=out, watcher=Impatient(), **options)
    assert nmfkit.load(out).status == "interrupted"
    whole = nmfkit.fit(chunked(), **options)
    same_fit(nmfkit.resume(out, chunked(), threads=1), whole)


def test_an_interrupted_fit_that_has_converged_is_closed(tmp_path):
    class Impatient(nmfkit.loop.Watcher):
        def sweep(self, state):
            if state.sweep == last:
                raise KeyboardInterrupt

    options = {**FIT, "loss": "kl", "rule": "online", "max_sweeps": 300, "tol": 1e-2}
    whole = nmfkit.fit(chunked(COUNTS), **options)
    last = int(whole.history.sweep[-2])
    out = str(tmp_path / "run")
    with pytest.raises(NmfkitError):
        nmfkit.fit(chunked(COUNTS), out=out, watcher=Impatient(), **options)
    same_fit(nmfkit.resume(out, chunked(COUNTS), threads=1), whole)


def test_threads_and_workers_give_the_same_bits(tmp_path):
    rng = np.random.default_rng(3)
    x = rng.poisson(rng.gamma(0.5, 2.0, (1600, 4)) @ rng.gamma(0.5, 2.0, (4, 300))).astype(float)
    np.save(tmp_path / "x.npy", x)
    source, options = str(tmp_path / "x.npy"), {"loss": "kl", "rank": 4, "tol": 0, "rule": "online:parts=3"}
    first = nmfkit.fit(
        source, out=str(tmp_path / "run"), max_sweeps=1, memory="600MiB", threads=2, pilot="none", **options
    )
    assert first.attributes["layout"]["groups"] == 3
    fits = []
    with cluster(processes=False) as client:
        for machine in ({"threads": 1}, {"threads": 2}, {"scheduler": client}):
            out = str(tmp_path / str(len(fits)))
            first.save(out)
            nmfkit.resume(out, max_sweeps=3, **machine)
            fits.append(nmfkit.resume(out, max_sweeps=5, **machine))
    same_fit(fits[1], fits[0])
    same_fit(fits[2], fits[0])


# --- the plan, the parts ------------------------------------------------------------------------------------


def planned(x, memory=None, threads=1, **fields):
    resolved = resolve(Problem(ranks=(8,), loss="kl", **fields))
    return local_plan(Chunked(x, [(i, i + 10) for i in range(0, len(x), 10)]), resolved, Machine.of(
        {"memory": memory, "threads": threads}
    ))  # fmt: skip


def test_the_plan_counts_the_statistics_of_groups_and_makes_fewer_where_memory_is_short():
    x = np.ones((320, 2000), dtype=np.float32)
    whole, wide, short = (
        planned(x, rule="mu"), planned(x, rule="online", memory="60MiB"), planned(x, rule="online", memory="5MiB")
    )  # fmt: skip
    assert len(whole.groups) == 1
    assert len(wide.groups) == 8
    assert wide.shared_bytes >= whole.shared_bytes + 8 * wide.statistics_bytes
    assert 1 <= len(short.groups) < 8
    assert len(short.groups) * short.statistics_bytes <= 5 * 2**20 / 4


def test_every_thread_has_a_shard_of_every_group():
    plan = planned(np.ones((100, 50), dtype=np.float32), rule="online", threads=2)
    assert min(map(len, plan.groups)) >= 2
    assert sorted(shard for group in plan.groups for shard in group) == list(range(len(plan.shards)))


def test_it_is_asked_for_by_name_and_becomes_what_suits_the_loss():
    assert resolve(Problem(loss="kl", rule="online")).ingredients.rule.base == "mu"
    chosen = resolve(Problem(loss="frobenius", rule="online", reg_h=("l1:0.1",)))
    assert chosen.ingredients.rule == Online("hals")
    assert chosen.problem.rule == "online"
    assert not isinstance(resolve(Problem(loss="kl")).ingredients.rule, Online)


def test_what_does_not_fit_is_refused():
    with pytest.raises(Incompatible, match="quadratic in each factor"):
        resolve(Problem(loss="kl", rule="online:hals"))
    for text in ("online:als", "online:parts=0", "online:visits=0", "online:fading=0", "online:fading=2"):
        with pytest.raises(NmfkitError, match="must be"):
            resolve(Problem(loss="kl", rule=text))


@pytest.mark.parametrize("beta", [-1, *BETAS, 1.5])
def test_an_absolute_majoriser_is_the_one_it_was_made_from(beta):
    loss = resolve(Problem(loss=f"beta:{beta}", rule="mu")).ingredients.loss
    rng, rule = np.random.default_rng(0), Online("mu")
    f, other = rng.random((40, 3)) + 0.1, rng.random((60, 3)) + 0.1
    y = LowRank(other, f.T)
    term = Term(loss, Dense(X), y, other, turned=True)
    gathered, moment = term.pulled(), Moment(1e-12)
    absolute = rule.absolute(f, loss, (), gathered)
    assert_close(
        rule.renewed(f, absolute, Penalty(), moment), rule.update(f, loss, (), gathered, Penalty(), moment), "at home"
    )
    away = f * np.exp(rng.normal(size=f.shape))
    above = loss.value(Dense(X), y) - rule.level(f, absolute)
    assert above + rule.level(away, absolute) >= loss.value(Dense(X), LowRank(other, away.T)) - 1e-9
    lowest = rule.renewed(away, absolute, Penalty(), moment)
    assert_close(lowest, rule.renewed(f, absolute, Penalty(), moment), "the minimum, from elsewhere", rtol=1e-6)


@pytest.mark.parametrize("loss", ["kl", "beta:0.5", "frobenius"])
def test_groups_run_on_a_device(loss):
    *_, (model, state, _, _) = states(X, loss=loss, rule="online", reg_w=("l1:0.1",), reg_h=("l2:0.1",))
    rows, kept = state.rows.read(0, len(X)), state.following["kept"]
    shared = {name: value for name, value in state.following.items() if name != "kept"}
    block = Dense(X)

    def turn(block, rows, shared, before):
        new, stats = model.part(block, rows, shared)
        left = model.kept(shared, stats, before)
        return new, left, model.bound(shared, left), model.renew(shared, left, left, ends=True)

    here = turn(block, rows, shared, kept[0])
    there = turn(*map(to_device, (block, rows, shared, kept[0])))
    for one, other, what in zip(there, here, ("rows", "what is left", "the bound", "the state"), strict=True):
        assert_close(to_host(one), other, f"{what} on the device", rtol=1e-6)
    closed = model.closing(*map(to_device, (block, rows, shared)))
    assert_close(to_host(closed), model.closing(block, rows, shared), "the closing sweep on the device", rtol=1e-6)
