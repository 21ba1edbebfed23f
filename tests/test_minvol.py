"""Minimum volume: the log-determinant itself, the fits that it steers, and how its weight is measured."""

from __future__ import annotations

import warnings
from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
import scipy.sparse as sp
from clusters import cluster
from hypothesis import given, settings
from hypothesis import strategies as st
from nmfkit_plugins.minvol.volume import MinimumVolume

import nmfkit
from nmfkit.blocks import Dense
from nmfkit.check import cautions, resolve
from nmfkit.errors import Caution, UsageError
from nmfkit.executors.local import LocalExecutor
from nmfkit.executors.plan import make_plan
from nmfkit.loop import Watcher
from nmfkit.lowrank import LowRank
from nmfkit.probe import survey
from nmfkit.problem import Problem
from nmfkit.testing import Chunked
from nmfkit.testing import strategies as some
from nmfkit.testing.compare import roundoff

BETAS = (-0.5, 0, 0.5, 1, 1.5, 2)
NORMALISED = (
    {},
    {"reg_w": ["sum-to-one:rows"]},
    {"reg_w": ["sum-to-one"]},
    {"reg_h": ["sum-to-one"]},
    {"reg_h": ["sum-to-one:columns"]},
)
VOLUMES = ("minvol:0.2", "minvol:0.05,delta=0.5,weight=absolute", "minvol:1,delta=1e-6,weight=authors")


def fit(x, **options):
    """A fit without the caution that a penalty on one factor deserves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Caution)
        return nmfkit.fit(x, **{"tol": 0, "max_sweeps": 12, "threads": 1, **options})


def with_volume(normalised, side, volume):
    mixed = {"reg_w": [], "reg_h": [], **{name: list(parts) for name, parts in normalised.items()}}
    mixed[side].append(volume)
    return mixed


# --- the part -----------------------------------------------------------------------------------------------


def exact(f, delta):
    """FᵀF + δ I in rational numbers, rows of rows."""
    f = [[Fraction(float(v)) for v in row] for row in f]
    rank = range(len(f[0]))
    return [[sum(row[k] * row[j] for row in f) + (k == j) * Fraction(delta) for j in rank] for k in rank]


def determinant(rows):
    if len(rows) == 1:
        return rows[0][0]
    minors = ([row[:j] + row[j + 1 :] for row in rows[1:]] for j in range(len(rows)))
    return sum((-1) ** j * rows[0][j] * determinant(minor) for j, minor in enumerate(minors))


def logarithm(number):
    """ln of a rational number whose parts may exceed every float."""
    top, bottom = number.numerator, number.denominator
    return (
        np.log(top / 2 ** (top.bit_length() - 1))
        - np.log(bottom / 2 ** (bottom.bit_length() - 1))
        + np.log(2.0) * (top.bit_length() - bottom.bit_length())
    )


RNG = np.random.default_rng(5)
ONE = RNG.random((30, 1))
AWKWARD = {
    "ordinary": RNG.random((30, 3)),
    "long and short": RNG.random((30, 3)) * [1e3, 1.0, 1e-3],
    "nearly dependent": np.hstack((ONE, ONE + 1e-5 * RNG.random((30, 1)), RNG.random((30, 1)))),
    "dependent": np.hstack((ONE, 2 * ONE, ONE)),
    "more columns than rows": RNG.random((2, 4)),
    "sums of 1": np.apply_along_axis(lambda c: c / c.sum(), 0, RNG.random((300, 4))),
}


@pytest.mark.parametrize("delta", [1.0, 1e-2, 1e-6])
@pytest.mark.parametrize("kind", AWKWARD)
def test_the_value_is_the_logarithm_of_the_determinant(kind, delta):
    f = AWKWARD[kind]
    part = MinimumVolume(1.0, delta=delta)
    expected = logarithm(determinant(exact(f, delta)))
    lost = 1e-15 * float(np.sum(f * f)) / delta if kind == "nearly dependent" else 0.0  # a rounding of FᵀF
    slack = 1e-13 * (1 + abs(expected)) + lost
    assert abs(part.value(part.stat(f)) - expected) <= slack


@pytest.mark.parametrize("delta", [1.0, 1e-2, 1e-6])
@pytest.mark.parametrize("kind", ["ordinary", "long and short", "sums of 1", "more columns than rows"])
def test_the_majoriser_is_made_of_the_inverse(kind, delta):
    f = AWKWARD[kind]
    part = MinimumVolume(0.5, delta=delta)
    q = part.quadratic(f, part.stat(f)).q
    there = np.array([[float(v) for v in row] for row in exact(f, delta)])
    scale = np.sqrt(np.diag(there))
    off = scale[:, None] * (q @ there) / scale - np.eye(len(q))
    assert np.abs(off).max() < 1e-15 * max(1e3, 100 / delta)
    surrogate = part.surrogate(f, part.stat(f))
    np.testing.assert_allclose(surrogate[2.0] + surrogate[1.0], f @ q, atol=1e-12 * np.abs(surrogate[2.0]).max())


def test_the_least_value_is_that_of_zero():
    part = MinimumVolume(2.0, delta=0.1)
    f = RNG.random((9, 3))
    assert part.value(part.stat(0 * f)) == pytest.approx(2 * 3 * np.log(0.1))
    values = [part.value(part.stat(c * f)) for c in (0, 1e-3, 1, 10)]
    assert values == sorted(values)


def test_factors_that_have_left_the_range_have_no_finite_volume():
    part = MinimumVolume(1.0)
    assert part.value(part.stat(np.full((2, 2), np.inf))) == np.inf


# --- measured weights ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("weight", "base"), [("relative", np.e), ("authors", 10.0)])
def test_a_measured_weight_is_the_loss_over_the_logarithm(weight, base):
    part = MinimumVolume(1.0, delta=1e-3, weight=weight)
    stat = part.stat(AWKWARD["sums of 1"])
    logarithm = part.value(stat) / np.log(base)
    assert part.factor(7.0, 7.0, stat) * abs(logarithm) == pytest.approx(7.0)
    unequal = {"relative": 7.0, "authors": 70.0}[weight]
    assert part.factor(7.0, 70.0, stat) * abs(logarithm) == pytest.approx(unequal)


def test_a_logarithm_that_happens_to_be_near_zero_makes_no_large_weight():
    part = MinimumVolume(1.0, delta=1e-6)
    f = np.eye(6)[:, :3] * np.sqrt([2.0, 0.5, 1.0])  # ln 2 − ln 2 + 0
    assert abs(part.value(part.stat(f))) < 1e-5
    assert part.factor(1.0, 1.0, part.stat(f)) == pytest.approx(1 / 3)


def test_where_delta_hides_the_factor_the_weight_follows_its_size():
    part = MinimumVolume(1.0, delta=1.0)
    stat = part.stat(AWKWARD["sums of 1"])
    assert abs(part.value(stat)) < 0.1
    assert part.factor(1.0, 1.0, stat) * part.value(stat) == pytest.approx(1.0)
    assert np.isfinite(part.factor(1.0, 1.0, part.stat(np.zeros((5, 2)))))


X = RNG.gamma(0.7, size=(40, 4)) @ RNG.gamma(0.7, size=(4, 25)) + 1e-3


def started(options):
    """The model, and rows and state before and after its weights are measured."""
    resolved = resolve(Problem(ranks=(4,), **options))
    source = Chunked(X, [(0, 15), (15, 40)])
    plan = make_plan(source, width=4, dtype=np.float64, elementwise=True, forms_product=False, threads=1)
    with LocalExecutor(source, plan) as executor:
        model = resolved.model
        probe = survey(executor.sweep, source)
        rows, shared = model.start(resolved.initializer, executor.sweep, probe, 0, np.float64)
        before = model.regularizers(shared)
        rows, shared = model.calibrate(rows, shared, executor.sweep)
        return model, before, rows.read(0, 40)["w"], shared


@pytest.mark.parametrize("side", ["reg_w", "reg_h"])
@pytest.mark.parametrize("loss", ["kl", "frobenius", "is"])
def test_a_fit_begins_where_weight_and_loss_agree(loss, side):
    options = {"loss": loss, side: ("minvol:0.3,delta=0.01",), "reg_h" if side == "reg_w" else "reg_w": ("l2:0.1",)}
    model, before, w, shared = started(options)
    at = 0 if side == "reg_w" else 1
    f = (w, shared["h"].T)[at]
    assert before[at][0].value(before[at][0].stat(f)) == 0  # until it is measured
    (volume,) = model.regularizers(shared)[at]
    value = model.parts.loss.value(Dense(X), LowRank(w, shared["h"]))
    assert volume.value(volume.stat(f)) == pytest.approx(np.sign(volume.value(volume.stat(f))) * 0.3 * value, rel=1e-9)
    assert value < 0.5 * model.parts.loss.value(Dense(X), LowRank(np.full_like(w, X.mean()), np.full((4, 25), 0.25)))


def test_nothing_is_measured_where_no_weight_is_relative():
    class Heard(Watcher):
        def __init__(self):
            self.stages = []

        def stage(self, name):
            self.stages.append(name)

    for volume, measured in (("minvol:0.1", True), ("minvol:0.1,weight=absolute", False)):
        heard = Heard()
        nmfkit.fit(X, rank=3, reg_h=[volume, "l2:0.1"], reg_w="l2:0.1", max_sweeps=2, watcher=heard)
        assert ("calibrate" in heard.stages) == measured


@pytest.mark.parametrize("rule", ["mu", "hals", "online"])
def test_a_resumed_fit_keeps_the_weights(tmp_path, rule):
    options = {"rank": 3, "rule": rule, "reg_h": ["minvol:0.2"], "reg_w": ["l2:0.1"], "tol": 0}
    nmfkit.fit(X, out=tmp_path / "run.zarr", max_sweeps=3, **options)
    resumed = nmfkit.resume(tmp_path / "run.zarr", X, max_sweeps=7)
    whole = nmfkit.fit(X, max_sweeps=7, **options)
    assert resumed.model.regularizers(resumed.state.current) == whole.model.regularizers(whole.state.current)
    np.testing.assert_allclose(resumed.history.objective[-1], whole.history.objective[-1], rtol=1e-12)


@pytest.mark.parametrize("loss", ["frobenius", "kl"])
def test_a_relative_weight_is_free_of_the_scale_of_the_data(loss):
    options = {"loss": loss, "rank": 4, "rule": "mu", "reg_h": ["minvol:0.3", "sum-to-one"]}
    small, large = fit(X, **options), fit(1e4 * X, **options)
    np.testing.assert_allclose(small.h, large.h, atol=1e-6 * small.h.max())


# --- fits ---------------------------------------------------------------------------------------------------


@st.composite
def problems(draw, beta):
    x = some.with_something(draw(some.matrices(positive=beta <= 0, scales=(1.0, 1e3))))
    mixed = with_volume(
        draw(st.sampled_from(NORMALISED)), draw(st.sampled_from(("reg_w", "reg_h"))), draw(st.sampled_from(VOLUMES))
    )
    return Chunked(x, draw(some.chunkings(len(x)))), mixed, draw(some.ranks), draw(st.integers(0, 9))


def assert_never_rises(fitted, x):
    objectives = fitted.history.objective
    assert np.isfinite(objectives).all()
    loss = fitted.model.parts.loss
    reg_w, reg_h = fitted.model.regularizers(fitted.state.current)
    volumes = [p.value(p.stat(f)) for ps, f in ((reg_w, fitted.w), (reg_h, fitted.h.T)) for p in ps]
    slack = 1e-9 * (np.abs(objectives[:-1]) + np.sum(np.abs(volumes))) + 10 * roundoff(loss, Dense(x))
    assert not (np.diff(objectives) > slack).any(), objectives.tolist()


@pytest.mark.parametrize("beta", BETAS)
def test_objective_never_rises(beta):
    @given(problems(beta))
    def holds(drawn):
        source, mixed, rank, seed = drawn
        fitted = fit(source, loss=f"beta:{beta}", rank=rank, rule="mu", seed=seed, **mixed)
        assert_never_rises(fitted, source.x)

    holds()


@given(problems(2))
@settings(max_examples=60)
def test_objective_never_rises_by_column_steps(drawn):
    source, mixed, rank, seed = drawn
    free = {name: [p for p in parts if "sum" not in p] for name, parts in mixed.items()}
    assert_never_rises(fit(source, rank=rank, rule="hals", seed=seed, **free), source.x)


@pytest.mark.parametrize("rule", ["mu", "hals", "online"])
@pytest.mark.parametrize("side", ["reg_w", "reg_h"])
def test_sparse_and_dense_and_any_blocks_are_the_same(rule, side):
    x = X * (RNG.random(X.shape) < 0.4)
    mixed = with_volume({"reg_w": ["l2:0.1"], "reg_h": ["l2:0.1"]}, side, "minvol:0.2")
    bounds = [(0, 10), (10, 11), (11, 40)]
    one = fit(Chunked(x, bounds), rank=3, rule=rule, **mixed)
    many = fit(Chunked(x, bounds, is_sparse=True), rank=3, rule=rule, **mixed)
    np.testing.assert_allclose(many.history.objective, one.history.objective, rtol=1e-9)
    if rule != "online":
        whole = fit(sp.csr_array(x), rank=3, rule=rule, threads=2, **mixed)
        np.testing.assert_allclose(whole.history.objective, one.history.objective, rtol=1e-9)


def test_out_of_core_and_on_workers_are_the_same(tmp_path):
    x = np.tile(X, (30, 1))
    nmfkit.convert(x, tmp_path / "x.zarr", chunk_mb=0.02)
    options = {"rank": 3, "loss": "kl", "reg_h": ["minvol:0.2"], "reg_w": ["sum-to-one:rows"], "max_sweeps": 4}
    options |= {"pilot": "none", "tol": 0}
    here = nmfkit.fit(tmp_path / "x.zarr", threads=2, **options)
    with cluster(processes=False) as client:
        there = nmfkit.fit(tmp_path / "x.zarr", scheduler=client, out=tmp_path / "run.zarr", **options)
    np.testing.assert_allclose(there.history.objective, here.history.objective, rtol=1e-10)
    np.testing.assert_allclose(there.w.sum(axis=1), 1, rtol=1e-12)
    assert there.model.regularizers(there.state.current)[1][0].factor == pytest.approx(
        here.model.regularizers(here.state.current)[1][0].factor, rel=1e-10
    )
    whole = nmfkit.fit(x, threads=1, **options)
    np.testing.assert_allclose(whole.history.objective, here.history.objective, rtol=1e-9)


def test_float32_stays_float32_and_goes_the_same_way():
    options = {"rank": 3, "loss": "kl", "reg_h": ["minvol:0.2", "sum-to-one"], "max_sweeps": 40}
    wide, narrow = fit(X, **options), fit(X.astype(np.float32), **options)
    assert narrow.h.dtype == narrow.w.dtype == np.float32
    assert np.abs(narrow.h.sum(axis=1) - 1).max() < 1e-6
    assert narrow.objective == pytest.approx(wide.objective, rel=1e-3)
    rises = np.diff(narrow.history.objective)
    assert (rises <= 1e-5 * np.abs(narrow.history.objective[0])).all()


def planted(seed):
    """Mixtures of three spectra, none of them pure: every share is below 0.8."""
    rng = np.random.default_rng(seed)
    spectra = 0.2 + rng.random((3, 40))
    shares = rng.dirichlet(np.ones(3), 6000)
    shares = shares[shares.max(axis=1) < 0.8][:300]
    return shares @ spectra * (1 + 0.002 * rng.standard_normal((300, 40))), spectra


def angle(found, truth):
    """The mean angle between spectra, in the order that suits best."""
    found, truth = (f / np.linalg.norm(f, axis=1, keepdims=True) for f in (found, truth))
    angles = np.arccos(np.clip(found @ truth.T, -1, 1))
    return min(np.mean([angles[i, j] for i, j in enumerate(order)]) for order in permutations(range(len(truth))))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_least_volume_finds_what_is_nowhere_pure(seed):
    x, spectra = planted(seed)
    options = {"rank": 3, "rule": "mu", "reg_w": ["sum-to-one:rows"], "seed": seed, "max_sweeps": 400}
    plain = fit(x, **options)
    tight = fit(x, reg_h=["minvol:0.1,delta=1e-3"], **options)
    assert angle(tight.h, spectra) < 0.6 * angle(plain.h, spectra)


# --- new rows, cautions, refusals ---------------------------------------------------------------------------


def test_new_rows_pay_for_the_volume_that_they_would_add():
    fitted = fit(X, rank=3, loss="frobenius", reg_w=["minvol:0.5"], reg_h=["sum-to-one"], rule="mu", max_sweeps=200)
    again = fitted.transform(X, tol=1e-8, max_sweeps=2000)
    plain = fit(X, rank=3, loss="frobenius", reg_h=["sum-to-one"], rule="mu", h=fitted.h, max_sweeps=0)
    free = plain.transform(X, tol=1e-8, max_sweeps=2000)
    part = fitted.model.regularizers(fitted.state.current)[0][0]
    volume = [part.value(part.stat(w)) for w in (again, fitted.w)]
    assert volume[0] == pytest.approx(volume[1], rel=0.02)
    assert np.isfinite(free).all()


@pytest.mark.parametrize(
    ("reg_w", "reg_h", "warned"),
    [
        (["minvol:1"], [], True),
        ([], ["minvol:1"], True),
        (["minvol:1", "sum-to-one"], [], False),
        (["minvol:1"], ["sum-to-one"], False),
        (["sum-to-one:rows"], ["minvol:1"], False),
        (["sum-to-one"], [], False),
        (["minvol:1"], ["l2:1"], False),
    ],
)
def test_a_volume_without_a_scale_is_cautioned_against(reg_w, reg_h, warned):
    resolved = resolve(Problem(loss="kl", ranks=(3,), reg_w=tuple(reg_w), reg_h=tuple(reg_h)))
    assert any("is regularized" in sentence for sentence in cautions(resolved, (50, 40))) == warned


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("minvol:-1", "λ must be a finite number ≥ 0"),
        ("minvol:nan", "λ must be a finite number ≥ 0"),
        ("minvol:1,delta=0", "delta must be a finite number > 0"),
        ("minvol:1,delta=inf", "delta must be a finite number > 0"),
        ("minvol:1,weight=some", "relative, authors or absolute"),
        ("minvol", "strength is missing"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        nmfkit.fit(X, rank=2, reg_h=text)


def test_coordinate_descent_has_no_use_for_a_volume():
    with pytest.raises(UsageError, match=r"(?s)rule 'scd' cannot use regularizer 'minvol:1' on H.*--rule mu"):
        nmfkit.fit(X, loss="kl", rank=2, rule="scd", reg_h="minvol:1")
