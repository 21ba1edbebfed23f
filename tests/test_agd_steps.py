"""The pieces of a stage of model `agd`: decoding, the step in the components, thresholds, held-out samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nmfkit_plugins.agd.decoding import Decoder, normalized, squares_of, thresholded
from nmfkit_plugins.agd.holdout import held_out, share_of
from nmfkit_plugins.agd.reseeding import due, furthest_of, idle_for, reseeded
from nmfkit_plugins.agd.stages import Bar, Held, lowered, most_of_noise, noise_of_codes
from nmfkit_plugins.agd.step import descended, official, powers

from nmfkit.blocks import Dense
from nmfkit.errors import UsageError
from nmfkit.testing import strategies as some

seeds = st.integers(0, 2**32 - 1)


def drawn(seed, rank=4, features=6, samples=9, unused=0):
    """Data, codes of which the last `unused` components have none, and components."""
    rng = np.random.default_rng(seed)
    z = np.maximum(rng.standard_normal((samples, rank)), 0)
    z[:, rank - unused :] = 0
    return rng.standard_normal((samples, features)), z, rng.standard_normal((rank, features))


def one_by_one(x, z, h, steps, eta):
    for _ in range(steps):
        h = h + eta * (z.T @ x - z.T @ z @ h)
    return h


# --- the step in the components ------------------------------------------------------------------------------


@given(seeds, st.integers(1, 60), st.integers(0, 3), st.floats(0.01, 1.9))
def test_the_closed_form_is_the_steps_one_by_one(seed, steps, unused, part):
    x, z, h = drawn(seed, unused=unused)
    s = z.T @ z
    largest = np.linalg.eigvalsh(s)[-1]
    found = descended(h, s, x.T @ z, steps, part / largest)
    np.testing.assert_allclose(found, one_by_one(x, z, h, steps, part / largest), rtol=1e-10, atol=1e-10)
    default = descended(h, s, x.T @ z, steps)
    np.testing.assert_allclose(default, one_by_one(x, z, h, steps, 1 / largest), rtol=1e-10, atol=1e-10)


@given(seeds, st.integers(0, 2))
def test_without_limit_it_is_least_squares_and_leaves_what_is_unused(seed, unused):
    x, z, h = drawn(seed, unused=unused, samples=30)
    used = 4 - unused
    found = descended(h, z.T @ z, x.T @ z, 10**9)
    solved = np.linalg.lstsq(z[:, :used], x, rcond=None)[0]
    np.testing.assert_allclose(found[:used], solved, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found[used:], h[used:], rtol=1e-9, atol=1e-9)


def test_without_any_code_components_stay():
    _, z, h = drawn(0, unused=4)
    assert (descended(h, z.T @ z, np.zeros((6, 4)), 50) == h).all()


@given(seeds, st.integers(-30, 30))
def test_the_step_knows_no_scale(seed, exponent):
    x, z, h = drawn(seed)
    scale = 2.0**exponent
    scaled = descended(h, scale**2 * (z.T @ z), scale * ((scale * x).T @ z), 50)
    np.testing.assert_allclose(scaled, descended(h, z.T @ z, x.T @ z, 50), rtol=1e-9, atol=1e-9)


@given(st.floats(0, 2), st.integers(1, 200))
def test_powers_are_those_of_a_geometric_sum(u, steps):
    p, gained = powers(np.array([u]), steps)
    np.testing.assert_allclose(p, (1 - u) ** steps, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(gained, np.sum((1 - u) ** np.arange(steps)), rtol=1e-9, atol=1e-9)


def test_small_curvatures_lose_no_digits():
    _, gained = powers(np.array([1e-11]), 50)
    assert gained[0] == pytest.approx(50 - 50 * 49 / 2 * 1e-11, rel=1e-14)


def test_the_official_step_is_refused_where_it_diverges():
    x, z, h = drawn(1)
    largest = np.linalg.eigvalsh(z.T @ z)[-1]
    scale = np.sqrt(16 / largest)  # 0.5 / 4 · 16 is 2, where steps go back and forth
    within, beyond = (scale * part * z for part in (0.999, 1.001))
    s = within.T @ within
    expected = one_by_one(x, within, h, 50, 0.125)
    np.testing.assert_allclose(descended(h, s, x.T @ within, 50, official(s)), expected, rtol=1e-9, atol=1e-9)
    with pytest.raises(UsageError, match="eta=auto"):
        official(beyond.T @ beyond)


# --- decoding ------------------------------------------------------------------------------------------------


@given(seeds, st.sampled_from([np.float32, np.float64]))
def test_decoding_is_least_squares(seed, dtype):
    x, _, h = drawn(seed)
    decoder = Decoder.of(normalized(h)[0].astype(dtype))
    v = decoder.decoded(Dense(x.astype(dtype)))
    solved = np.linalg.lstsq(decoder.h.astype(float).T, x.astype(dtype).T, rcond=None)[0].T
    rounding = 20 * np.finfo(dtype).eps * np.linalg.cond(decoder.h.astype(float)) ** 2
    np.testing.assert_allclose(v, solved, atol=rounding * np.abs(x).max())


@pytest.mark.parametrize("apart", [1e-2, 1e-5, 1e-9, 0.0])
def test_decoding_with_components_that_are_nearly_the_same(apart):
    rng = np.random.default_rng(0)
    h = rng.standard_normal((3, 8))
    h[2] = h[1] + apart * h[2]
    decoder = Decoder.of(normalized(h)[0])
    x = rng.random((5, 3)) @ decoder.h
    rounding = 1e-15 / apart if apart else 1e-12  # what the condition number makes of it
    np.testing.assert_allclose(decoder.decoded(Dense(x)) @ decoder.h, x, atol=rounding)


@given(seeds)
def test_the_residual_needs_no_other_product_with_the_data(seed):
    x, z, h = drawn(seed)
    decoder = Decoder.of(normalized(h)[0])
    cross = decoder.cross(decoder.decoded(Dense(x)))
    left = np.sum((x - z @ decoder.h) ** 2, axis=1)
    np.testing.assert_allclose(decoder.residuals(z, cross, squares_of(Dense(x))), left, atol=1e-9)
    np.testing.assert_allclose(decoder.above(z, cross) + 0.5 * np.sum(x**2), 0.5 * np.sum(left), atol=1e-9)


def test_squares_of_sparse_blocks():
    x = np.random.default_rng(0).poisson(0.5, (6, 9)).astype(np.float32)
    for block in some.blocks_of(x):
        np.testing.assert_allclose(squares_of(block), np.sum(x.astype(float) ** 2, axis=1))


def test_the_threshold_is_hard():
    assert thresholded(np.array([[-2.0, 0.2, 0.3, 5.0]]), 0.3).tolist() == [[0, 0, 0.3, 5.0]]


def test_components_of_zeros_stay():
    unit, lengths = normalized(np.array([[3.0, -4.0], [0.0, 0.0]]))
    assert unit.tolist() == [[0.6, -0.8], [0, 0]]
    assert lengths.tolist() == [[5], [0]]


# --- thresholds and noise ------------------------------------------------------------------------------------


@given(st.floats(1e-6, 1), st.floats(1, 3), st.floats(0, 2))
def test_the_threshold_never_rises_and_ends_at_its_floor(alpha, decay, floor):
    following = lowered(alpha, decay, floor)
    assert min(alpha, floor) <= following <= alpha
    assert following == max(alpha / decay, min(alpha, floor))


@pytest.mark.parametrize("sd", [1e-3, 0.1, 1.0])
def test_noise_is_told_from_what_the_components_explain(sd):
    rng = np.random.default_rng(0)
    h = normalized(rng.standard_normal((5, 40)))[0]
    decoder = Decoder.of(h)
    noise = sd * rng.standard_normal((2000, 40))
    x = rng.dirichlet(np.full(5, 0.3), 2000) @ h + noise
    v = decoder.decoded(Dense(x))
    explained = float(np.sum(v * decoder.cross(v)))
    found = noise_of_codes(float(np.sum(x**2)), explained, x.shape, 5, decoder.spread, 2.0**-52)
    assert found == pytest.approx(np.sqrt(np.mean(decoder.decoded(Dense(noise)) ** 2)), rel=0.05)


def test_without_noise_or_features_to_spare_there_is_none():
    assert noise_of_codes(1.0, 1.0 - 1e-15, (10, 8), 3, 1.0, 2.0**-52) == 0
    assert noise_of_codes(1.0, 0.5, (10, 3), 3, 1.0, 2.0**-52) == 0
    assert noise_of_codes(1.0, 1.0 - 1e-6, (10, 8), 3, 1.0, 2.0**-23) == 0
    assert noise_of_codes(1.0, 1.0 - 1e-6, (10, 8), 3, 1.0, 2.0**-52) > 0


# --- held-out samples ----------------------------------------------------------------------------------------


@given(st.integers(1, 300), st.data())
def test_held_out_samples_are_the_same_for_any_blocks(rows, data):
    x, at = np.zeros((rows, 2)), data.draw(st.integers(0, rows))
    whole = held_out(Dense(x), 0.2, x)
    pieces = [held_out(Dense(x[a:b], a), 0.2, x) for a, b in ((0, at), (at, rows))]
    assert (np.concatenate(pieces) == whole).all()
    assert abs(int(whole.sum()) - 0.2 * rows) < 3


def test_none_are_held_out_where_all_are_needed():
    assert share_of("auto", 112, 10) == 0.1
    assert share_of("auto", 111, 10) == 0
    assert share_of("0.3", 4, 10) == 0.3
    assert not held_out(Dense(np.zeros((50, 1))), 0.0, np.zeros(1)).any()


def held(*residuals):
    r = np.array(residuals)
    return Held(float(len(r)), float(r.sum()), float((r**2).sum()))


def test_the_last_stage_is_taken_that_is_not_worse_than_by_chance():
    first = held(1.0, 3.0)  # 2 ± 0.71
    bar = Bar().after(first)
    assert (bar.least, bar.error) == (2.0, pytest.approx(np.sqrt(0.5)))
    assert bar.passed(held(2.7, 2.7), 0.0)
    assert not bar.passed(held(2.8, 2.8), 0.0)
    assert bar.passed(held(2.8, 2.8), 0.1)
    assert bar.after(held(2.7, 2.7)) == bar
    assert bar.after(held(1.5, 1.5)) == Bar(1.5, 0.0)


def test_without_held_out_samples_every_stage_is_taken():
    bar = Bar().after(Held(0.0, 0.0, 0.0))
    assert bar == Bar()
    assert bar.passed(Held(0.0, 0.0, 0.0), 0.0)


# --- components without a code -------------------------------------------------------------------------------


def test_idle_stages_are_counted_in_a_row():
    assert idle_for(np.array([2.0, 3.0, 0.0]), np.diag([0.0, 1.0, 0.0])).tolist() == [3, 0, 1]


@pytest.mark.parametrize(
    ("idle", "patience", "chosen"),
    [
        ([3, 0, 2], [4, 4, 4], []),
        ([4, 0, 4], [4, 4, 4], [0]),
        ([4, 0, 5], [4, 4, 4], [2]),
        ([7, 0, 5], [8, 4, 4], [2]),
        ([99, 99, 99], [np.inf] * 3, []),
    ],
)
def test_one_component_at_a_time_gives_way(idle, patience, chosen):
    assert np.flatnonzero(due(np.array(idle), np.array(patience))).tolist() == chosen


@given(seeds, st.integers(1, 5))
def test_the_furthest_sample_takes_its_place(seed, cut):
    x, _, h = drawn(seed)
    residuals = np.random.default_rng(seed).random(len(x))
    found = furthest_of(Dense(x[:cut]), residuals[:cut]) + furthest_of(Dense(x[cut:], cut), residuals[cut:])
    sample = x[np.argmax(residuals)]
    new = reseeded(h, np.arange(4) == 1, found.beside)
    np.testing.assert_allclose(new[1], sample / np.linalg.norm(sample))
    assert (new[[0, 2, 3]] == h[[0, 2, 3]]).all()


@pytest.mark.parametrize("dimensions", [2, 10, 200])
def test_the_largest_of_noise_is_bounded(dimensions):
    noise = np.random.default_rng(0).chisquare(dimensions, (300, 500)).max(axis=1) / dimensions
    assert np.mean(noise <= most_of_noise(500, dimensions)) >= 0.95
    assert most_of_noise(500, 0) == np.inf
