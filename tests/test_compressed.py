"""The rule that begins on a sketch: few reads, the true objective, and the optimum that HALS finds in many."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import scipy.sparse as sp
from nmfkit_plugins.beta.compressed import Compressed
from nmfkit_plugins.beta.divergence import Frobenius
from nmfkit_plugins.beta.hals import HALS
from nmfkit_plugins.beta.multiplicative import Multiplicative
from small import RNG, X, halved_squares

import nmfkit
from nmfkit.blocks import Dense
from nmfkit.check import resolve
from nmfkit.errors import Incompatible, UsageError
from nmfkit.executors.local import LocalExecutor
from nmfkit.executors.plan import make_plan
from nmfkit.loop import Watcher
from nmfkit.lowrank import LowRank, formed
from nmfkit.probe import survey
from nmfkit.problem import Problem
from nmfkit.sketch import Last, OnSketch, Sketches, make_sketch
from nmfkit.sources.array import ArraySource, SparseSource

M, N, RANK = 2000, 300, 8
CLEAN = RNG.gamma(0.5, 2.0, (M, RANK)) @ RNG.gamma(0.5, 2.0, (RANK, N))
DENSE = CLEAN + 0.5 * np.mean(CLEAN) * RNG.random((M, N))
SPARSE = sp.csr_array(RNG.poisson(0.3 * CLEAN).astype(float))
DATA = {"dense": DENSE, "csr": SPARSE}
POWER = Compressed().power


def counting(x):
    """A source of `x` that counts the rows it reads."""
    base = SparseSource if sp.issparse(x) else ArraySource

    class Counting(base):
        rows = 0

        def read(self, lo, hi):
            self.rows += hi - lo
            return super().read(lo, hi)

    return Counting(x)


class Listening(Watcher):
    """Keeps stages and notes."""

    def __init__(self):
        self.stages, self.notes = [], []

    def stage(self, name):
        self.stages.append(name)

    def note(self, sentence):
        self.notes.append(sentence)


def compressed(x, **more):
    return nmfkit.fit(x, **{"rule": "compressed", "rank": RANK, "max_sweeps": 2, "tol": 0, **more})


@pytest.fixture(scope="module", params=[(kind, dtype) for kind in DATA for dtype in ("float64", "float32")], ids=str)
def long_fit(request):
    kind, dtype = request.param
    x = DATA[kind].astype(dtype)
    return x, nmfkit.fit(x, rule="hals", rank=RANK, max_sweeps=100, tol=0, pilot="none")


# --- the fit --------------------------------------------------------------------------------------------------


def test_a_few_reads_do_what_hals_does_in_many(long_fit):
    x, hals = long_fit
    source, heard = counting(x), Listening()
    r = compressed(source, watcher=heard)
    assert r.objective <= 1.01 * hals.objective
    reads = 1 + (POWER + 1) + 3  # the probe, the sketch, two sweeps with their last look
    assert reads * M <= source.rows < reads * M + 100
    assert r.w.dtype == x.dtype
    assert heard.stages == ["probe", "start", "sketch", "sweeps"]
    assert len(heard.notes) == 1


def test_what_is_recorded_is_the_objective_of_the_data(long_fit):
    x, _ = long_fit
    r = compressed(x, reg_w="l1:0.02", reg_h="l2:0.3")
    whole = x.toarray() if sp.issparse(x) else x
    penalty = 0.02 * np.sum(r.w) + 0.15 * np.sum(r.h**2)
    assert r.objective == pytest.approx(halved_squares(whole, r) + penalty, rel=1e-9 if x.dtype == "f8" else 1e-4)
    assert r.history.sweep.tolist() == [0, 1, 2]
    assert (np.diff(r.history.objective) <= 1e-6 * r.objective).all()


@pytest.mark.parametrize(
    "penalties", [{"reg_w": "l1:0.5", "reg_h": "l1:0.5"}, {"reg_w": "l2:2", "reg_h": "l2:2"}], ids=str
)
def test_regularizers_act_on_the_sketch_too(penalties):
    hals = nmfkit.fit(DENSE, rule="hals", rank=RANK, max_sweeps=100, tol=0, pilot="none", **penalties)
    r = compressed(DENSE, max_sweeps=0, **penalties)
    assert r.objective <= 1.01 * hals.objective


@pytest.mark.parametrize("kind", DATA)
def test_threads_only_change_roundings(kind):
    one, two = (compressed(DATA[kind], threads=threads, seed=3) for threads in (1, 2))
    np.testing.assert_allclose(one.objective, two.objective, rtol=1e-8)
    again = compressed(DATA[kind], threads=2, seed=3)
    assert np.array_equal(again.w, two.w)
    assert np.array_equal(again.h, two.h)


@pytest.mark.parametrize("memory", ["24MiB", "3MiB"])
def test_data_stream_within_the_memory(tmp_path, memory):
    nmfkit.convert(DENSE, tmp_path / "x.zarr", chunk_mb=0.25)
    r = compressed(tmp_path / "x.zarr", memory=memory)
    assert r.objective == pytest.approx(compressed(DENSE).objective, rel=1e-6)


def test_resume_goes_on_with_sweeps_over_the_data(tmp_path):
    whole = compressed(DENSE, max_sweeps=6, out=tmp_path / "whole.zarr", checkpoint_every=1)
    compressed(DENSE, max_sweeps=3, out=tmp_path / "run.zarr")
    source, heard = counting(DENSE), Listening()
    resumed = nmfkit.resume(tmp_path / "run.zarr", source, max_sweeps=6, watcher=heard)
    assert np.array_equal(resumed.w, whole.w)
    assert np.array_equal(resumed.h, whole.h)
    assert resumed.history.objective.tolist() == whole.history.objective.tolist()
    assert "sketch" not in heard.stages
    assert source.rows < M * (1 + 3) + 100


def test_given_factors_stand_where_they_are_better():
    best = nmfkit.fit(X, rule="hals", rank=4, max_sweeps=400, tol=0)
    poor = Compressed(power=1, oversample=0, sweeps=1)
    r = nmfkit.fit(X, rule=poor, rank=4, w=best.w, h=best.h, max_sweeps=0)
    assert r.objective <= best.objective * (1 + 1e-9)
    bad = {"w": RNG.random((60, 4)), "h": RNG.random((4, 40))}
    before = nmfkit.fit(X, rule="hals", rank=4, max_sweeps=0, **bad)
    assert nmfkit.fit(X, rule="compressed", rank=4, max_sweeps=0, **bad).objective < 0.1 * before.objective


@pytest.mark.parametrize("shape", [(6, 40), (40, 6), (5, 5), (1, 7), (7, 1)])
def test_data_smaller_than_the_sketch(shape):
    x = RNG.random(shape)
    r = nmfkit.fit(x, rule="compressed", rank=3, max_sweeps=1)
    assert r.objective == pytest.approx(halved_squares(x, r), rel=1e-6, abs=1e-12)


def test_rows_and_columns_of_zeros():
    x = X.copy()
    x[7], x[:, 3] = 0, 0
    for data in (x, sp.csr_array(x)):
        r = nmfkit.fit(data, rule="compressed", rank=4, max_sweeps=3, tol=0)
        assert np.isfinite(r.w).all()
        assert r.w[7].max() <= 1e-12
        assert r.h[:, 3].max() <= 1e-12


def test_an_exact_fit_is_summed_up_from_residuals():
    x = CLEAN.astype(np.float32)
    r = compressed(x, max_sweeps=1, rule=Compressed(sweeps=400))
    assert r.objective <= 1e-6 * 0.5 * np.sum(x.astype(float) ** 2)


def test_a_pilot_that_is_asked_for_comes_first():
    heard = Listening()
    compressed(DENSE, pilot=200, watcher=heard)
    assert heard.stages == ["probe", "start", "pilot", "sketch", "sweeps"]


def test_explain_tells_of_the_sketch_and_of_no_pilot_beside_it(monkeypatch):
    monkeypatch.setattr("nmfkit.pilot.LEAST_WORK", 0)
    assert nmfkit.explain(DENSE, rule="hals", rank=RANK).pilot_rows > 0
    found = nmfkit.explain(DENSE, rule="compressed", rank=RANK)
    assert found.pilot_rows == 0
    assert "sketch      18 columns from 3 reads" in str(found)


def test_a_model_that_is_an_object_has_no_other_for_the_sketch():
    model = resolve(Problem(rule="compressed", ranks=(4,))).model
    with pytest.raises(UsageError, match="give the class NMF"):
        nmfkit.fit(X, model=model, rule="compressed", rank=4)
    assert nmfkit.fit(X, model=type(model), rule="compressed", rank=4, max_sweeps=1).objective > 0


# --- what is refused, what is chosen --------------------------------------------------------------------------


def test_other_losses_are_refused():
    with pytest.raises(Incompatible, match="rule 'compressed' needs a loss that is quadratic in each factor") as caught:
        nmfkit.fit(X, rule="compressed", loss="kl", rank=4)
    assert "--rule mu" in str(caught.value)


@pytest.mark.parametrize("wrong", [{"oversample": -1}, {"power": 0}, {"sweeps": 0}, {"inner": 0}], ids=str)
def test_options_out_of_range(wrong):
    with pytest.raises(ValueError, match="at least"):
        Compressed(**wrong)


def test_it_is_never_chosen_automatically():
    assert resolve(Problem(loss="frobenius", ranks=(4,))).problem.rule == "hals"
    assert isinstance(Compressed(), Sketches)
    assert not isinstance(HALS(), Sketches)


@dataclass(frozen=True)
class Either:
    """HALS where the loss and all regularizers allow it, the multiplicative rule elsewhere."""

    def chosen(self, loss, regularizers):
        return HALS() if isinstance(loss, Frobenius) and not regularizers else Multiplicative()


def test_a_rule_may_become_another():
    for loss, reg_h, rule in (
        ("frobenius", (), HALS),
        ("frobenius", ("l1:1",), Multiplicative),
        ("kl", (), Multiplicative),
    ):
        found = resolve(Problem(rule=Either(), loss=loss, reg_h=reg_h, ranks=(4,)))
        assert isinstance(found.ingredients.rule, rule)
    assert nmfkit.fit(X, rule=Either(), loss="kl", rank=4, max_sweeps=2).objective > 0


class Nothing:
    """A choice of what is no rule."""

    def chosen(self, loss, regularizers):
        return 3


def test_what_a_rule_becomes_must_be_one():
    with pytest.raises(Incompatible, match="rule 3 is not a UpdateRule"):
        resolve(Problem(rule=Nothing(), ranks=(4,)))


# --- the sketch -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("threads", [1, 2])
def test_the_sketch_is_a_projection_of_known_error(kind, threads):
    x = DATA[kind]
    source = SparseSource(x) if sp.issparse(x) else ArraySource(x)
    plan = make_plan(source, width=18, dtype="float64", elementwise=False, forms_product=False, threads=threads)
    whole = x.toarray() if sp.issparse(x) else x
    with LocalExecutor(source, plan) as executor:
        sketch = make_sketch(executor.sweep, survey(executor.sweep, source), 18, 1, 0, np.float64)
        a = sketch.rows.read(0, M)["sketch"]
    np.testing.assert_allclose(sketch.q.T @ sketch.q, np.eye(18), atol=1e-12)
    np.testing.assert_allclose(a, whole @ sketch.q, atol=1e-9)
    assert sketch.error == pytest.approx(np.linalg.norm(whole - a @ sketch.q.T) / np.linalg.norm(whole), rel=1e-6)
    best = math.sqrt(1 - np.sum(np.linalg.svd(whole, compute_uv=False)[:RANK] ** 2) / np.sum(whole**2))
    assert sketch.error <= best
    assert sketch.describe().endswith(f"from 2 reads of the data, differs from them by {sketch.error:.2%}")


def test_a_matrix_of_few_columns_is_its_own_sketch():
    source = ArraySource(X[:, :5].copy())
    plan = make_plan(source, width=9, dtype="float64", elementwise=False, forms_product=False)
    with LocalExecutor(source, plan) as executor:
        sketch = make_sketch(executor.sweep, survey(executor.sweep, source), 9, 2, 0, np.float64)
    assert (sketch.reads, sketch.error) == (1, 0)
    assert "from 1 read of" in sketch.describe()


def test_the_loss_on_a_sketch_is_that_of_the_matrix_it_stands_for():
    q = np.linalg.qr(RNG.standard_normal((40, 6)))[0]
    a, w, h = RNG.standard_normal((9, 6)), RNG.random((9, 3)), RNG.random((3, 40))
    loss, plain, whole, y = OnSketch(Frobenius(), q), Frobenius(), Dense(a @ q.T), LowRank(w, h)
    assert loss.value(Dense(a), y) == pytest.approx(plain.value(whole, y), rel=1e-12)
    assert loss.offset(Dense(a)) == pytest.approx(plain.offset(whole), rel=1e-12)
    np.testing.assert_allclose(loss.cross(Dense(a), h.T), plain.cross(whole, h.T), atol=1e-12)
    np.testing.assert_allclose(formed(loss.cross(Dense(a).T, w)), plain.cross(whole.T, w), atol=1e-12)
    np.testing.assert_allclose(loss.gram(w), plain.gram(w))


def test_the_last_answer_is_remembered():
    asked = []
    last = Last(lambda f: asked.append(f) or 2 * f)
    one, two = np.ones((2, 2)), np.zeros((2, 2))
    for f in (one, one.copy(), two, two, one):
        np.testing.assert_array_equal(last(f), 2 * f)
    assert len(asked) == 3
