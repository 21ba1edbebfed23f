"""Volumes and sums where data, factors and weights are awkward: what is recorded is what can be computed by hand."""

from __future__ import annotations

import warnings
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from nmfkit_plugins.minvol.volume import MinimumVolume
from test_minvol import determinant, exact, logarithm

import nmfkit
from nmfkit.check import resolve
from nmfkit.errors import Caution, Incompatible
from nmfkit.problem import Problem

RNG = np.random.default_rng(8)


# --- the logarithm and its slope ----------------------------------------------------------------------------


def mended(lengths, dependent, zero):
    """Columns of such lengths, of which some may be multiples of others (exactly), and the first may be zero."""
    f = RNG.random((4, len(lengths))) * lengths
    if dependent:
        f[:, -1] = f[:, -2] * 2.0**-7
    if zero:
        f[:, 0] = 0
    return f


HIDDEN = [
    mended([1e3, 1e3, 1e3], True, True),
    mended([1e-3, 1e5, 1e5], True, False),
    mended([1e-3, 1e2, 1e5, 1e5], True, True),
    np.array([[3000.0, 0, 1000, 1021.9138041], [0, 0, 2000, 768598.89847316]]),
    np.array([[1000.0, 0, 1000, 186000], [0, 0, 0, 191598.89847316]]),
]


@pytest.mark.parametrize("delta", [1.0, 1e-2])
@pytest.mark.parametrize("f", HIDDEN, ids=range(len(HIDDEN)))
def test_columns_that_delta_hides_take_no_digits_from_long_dependent_ones(f, delta):
    part = MinimumVolume(1.0, delta=delta)
    expected = logarithm(determinant(exact(f, delta)))
    assert part.value(part.stat(f)) == pytest.approx(expected, rel=1e-11)


def inverse(rows):
    """That of a positive definite matrix of rational numbers."""
    size = range(len(rows))
    rows = [[*row, *(Fraction(i == j) for j in size)] for i, row in enumerate(rows)]
    for i in size:
        rows[i] = [v / rows[i][i] for v in rows[i]]
        for j in size:
            if j != i:
                rows[j] = [v - rows[j][i] * u for u, v in zip(rows[i], rows[j], strict=True)]
    return np.array([[float(v) for v in row[len(rows) :]] for row in rows])


@pytest.mark.parametrize("f", HIDDEN, ids=range(len(HIDDEN)))
def test_neither_does_the_inverse(f):
    part = MinimumVolume(0.5, delta=1e-2)
    expected = inverse(exact(f, 1e-2))
    scale = np.sqrt(np.diag(expected))
    off = (part.quadratic(f, part.stat(f)).q - expected) / scale / scale[:, None]
    assert np.abs(off).max() <= 1e-11


@settings(max_examples=40)
@given(st.floats(-12, -0.5), st.integers(0, 2**32))
def test_a_small_factor_keeps_its_digits_beside_delta(exponent, seed):
    f = np.random.default_rng(seed).random((6, 3)) * 10.0**exponent
    part = MinimumVolume(1.0, delta=1.0)
    above = determinant(exact(f, 1.0)) - 1  # in rational numbers
    assert part.value(part.stat(f)) == pytest.approx(np.log1p(float(above)), rel=1e-13)


# --- fits ---------------------------------------------------------------------------------------------------

M, N = 24, 10


def awkward(kind, rng):
    x = rng.random((M, 3)) ** 2 @ rng.random((3, N))
    if kind == "zero rows and columns":
        x[::4], x[:, 1] = 0, 0
    if kind == "duplicates":
        x[1::2], x[:, 2] = x[0], x[:, 0]
    if kind == "rank one":
        x = np.outer(rng.random(M) + 0.1, rng.random(N) + 0.1)
    if kind == "mostly zero":
        x = x * (rng.random(x.shape) < 0.2)
        x[0, 0] = 1
    return x


KINDS = ("plain", "zero rows and columns", "duplicates", "rank one", "mostly zero")
SUMS = ((), ("w", "sum-to-one"), ("w", "sum-to-one:rows"), ("h", "sum-to-one"), ("h", "sum-to-one:columns"))


@st.composite
def cases(draw):
    rule = draw(st.sampled_from(["mu", "mu:joint=false", "mu:extrapolate=false"]))
    beta = draw(st.sampled_from([0.5, 1, 1.5, 2]))
    scale = 10.0 ** draw(st.integers(-3, 3))
    delta = draw(st.sampled_from([1e-2, 1, 10])) * scale**2  # so that the determinant is well known by hand, too
    weight = draw(st.sampled_from(["relative", "authors", "absolute"]))
    volume = f"minvol:{draw(st.sampled_from([0, 0.1, 3]))},delta={delta},weight={weight}"
    regs = {"w": [], "h": []}
    for side in draw(st.sampled_from(["w", "h", "wh"])):
        regs[side].append(volume)
    if held := draw(st.sampled_from(SUMS)):
        regs[held[0]].append(held[1])
    options = {"loss": f"beta:{beta}", "rule": rule, "rank": draw(st.sampled_from([1, 3, N + 3]))}
    shape = draw(st.sampled_from(KINDS)), draw(st.booleans()), scale
    start = draw(st.sampled_from([None, "zeros", "equal columns"]))
    return beta, regs, options, shape, start, draw(st.integers(0, 1000))


def divergence(x, y, beta):
    if beta == 2:
        return 0.5 * float(np.sum((x - y) ** 2))
    there = x > 0
    if beta == 1:
        return float(np.sum(y - x) + np.sum(x[there] * np.log(x[there] / y[there])))
    terms = np.sum((beta - 1) * y**beta) + np.sum(x[there] ** beta - beta * x[there] * y[there] ** (beta - 1))
    return float(terms) / (beta * (beta - 1))


def volume_of(f, text, factor):
    strength, delta, _ = text.removeprefix("minvol:").split(",")
    delta = float(delta.partition("=")[2])
    _, logarithm = np.linalg.slogdet(f.T @ f + delta * np.eye(f.shape[1]))
    return factor * float(strength) * logarithm


def off_sums(w, h, held):
    if not held:
        return 0.0
    f = w if held[0] == "w" else h.T
    across = held[1].partition(":")[2] == ("rows" if held[0] == "w" else "columns")
    return float(np.abs(f.sum(axis=1 if across else 0) - 1).max())


@settings(max_examples=60)
@given(cases())
def test_an_awkward_fit_never_rises_and_records_its_objective(case):
    beta, regs, options, (kind, is_sparse, scale), start, seed = case
    rng = np.random.default_rng(seed)
    x = awkward(kind, rng) * scale
    given_w, given_h = rng.random((M, options["rank"])), rng.random((options["rank"], N))
    if start == "zeros" and options["rank"] > 1:
        given_w[:, 0], given_h[-1] = 0, 0
    if start == "equal columns":
        given_w[:], given_h[:] = given_w[:, :1], given_h[:1]
    pair = {} if start is None else {"w": given_w, "h": given_h}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Caution)
        found = nmfkit.fit(
            sp.csr_array(x) if is_sparse else x, **options, reg_w=regs["w"], reg_h=regs["h"], max_sweeps=12, tol=0,
            threads=1, **pair,
        )  # fmt: skip
    w, h = np.asarray(found.w), np.asarray(found.h)
    assert off_sums(w, h, next(((s, t) for s in "wh" for t in regs[s] if t.startswith("sum")), ())) <= 1e-12
    loss = divergence(x, w @ h, beta)
    factors = found.state.current.get("weights") or {"w": [1.0] * 2, "h": [1.0] * 2}
    volumes = [
        volume_of(f, text, factor)
        for side, f in (("w", w), ("h", h.T))
        for text, factor in zip(regs[side], factors[side], strict=False)
        if text.startswith("minvol")
    ]
    size = loss + float(np.sum(np.abs(volumes))) + float(np.sum(np.abs(x) ** beta)) + float(np.sum(x * x)) * (beta == 2)
    assert abs(found.objective - loss - sum(volumes)) <= 1e-8 * size
    history = np.array([record.objective for record in found.state.history])
    assert np.diff(history).max() <= 1e-12 * size


@pytest.mark.parametrize("loss", ["kl", "frobenius", "is"])
@pytest.mark.parametrize("side", ["reg_w", "reg_h"])
def test_data_that_are_fitted_exactly_leave_the_volume_nothing_to_weigh(loss, side):
    w, h = RNG.random((30, 3)) + 0.1, RNG.random((3, 12)) + 0.1
    parts = {side: ["minvol:0.1", "sum-to-one"]}
    found = nmfkit.fit(w @ h, loss=loss, rule="mu", rank=3, w=w, h=h, tol=0, max_sweeps=20, threads=1, **parts)
    factors = found.state.current["weights"][side.removeprefix("reg_")]
    assert 0 <= factors[0] < 1e-12
    np.testing.assert_allclose(np.asarray(found.w) @ np.asarray(found.h), w @ h, rtol=1e-7)


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["frobenius", "kl", "is"])
def test_what_would_work_does(loss):
    with pytest.raises(Incompatible) as refused:
        resolve(Problem(loss=loss, rule="scd", reg_w=("sum-to-one",)))
    (hint,) = [line for line in str(refused.value).splitlines() if "what would work" in line]
    offered = [word.strip() for word in hint.split("--rule ")[1:]]
    assert offered
    for rule in offered:
        resolve(Problem(loss=loss, rule=rule.split()[0], reg_w=("sum-to-one",)))
