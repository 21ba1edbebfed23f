"""What a training of the input-guided models begins with: widths, Glorot's numbers, and H of the data's size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nmfkit_plugins.mdsr.beginning import WITHIN, begun, glorot, scaled
from nmfkit_plugins.mdsr.widths import WIDE, hidden_in, parameters_in, sizes_of

SIZES = (48, 32, 16)
PAPER = {
    (64, 6): (44, 25, 6),
    (64, 16): (48, 32, 16),
    (64, 32): (53, 42, 32),
    (699, 174): (524, 349, 174),
    (59, 14): (44, 29, 14),
    (753, 188): (564, 376, 188),
    (32, 8): (24, 16, 8),
    (1682, 420): (1261, 841, 420),
}
"""Columns before folding and rank, and the widths of the authors' program for five data sets, and for digits."""


# --- widths -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "rank"), PAPER)
def test_widths_of_the_paper(n, rank):
    assert sizes_of("paper", rank, n, 3) == PAPER[n, rank]


@given(st.integers(1, 40), st.integers(1, 3000), st.integers(1, 5), st.sampled_from(["auto", "paper", "geometric"]))
def test_every_rule_leads_to_the_rank(rank, n, layers, text):
    sizes = sizes_of(text, rank, n, layers)
    assert len(sizes) == layers
    assert sizes[-1] == rank
    assert min(sizes) >= 1
    if rank <= n:
        assert list(sizes) == sorted(sizes, reverse=True)
        assert sizes[0] <= n


@pytest.mark.parametrize("text", ["48,32", "48+32", " 48 , 32 "])
def test_listed_widths_are_the_hidden_ones(text):
    assert sizes_of(text, 16, 64, 3) == SIZES


@pytest.mark.parametrize("text", ["", "wide", "48,", "0,3", "4.5", "-3", "48;32"])
def test_other_texts_are_no_widths(text):
    with pytest.raises(ValueError, match="auto, paper, geometric or whole numbers"):
        hidden_in(text)


def test_weights_do_not_grow_with_the_square_of_many_columns():
    assert sizes_of("auto", 16, 64, 3) == sizes_of("paper", 16, 64, 3)
    rank, n = 20, 20_000
    assert sizes_of("paper", rank, n, 3)[0] > 13_000
    assert sizes_of("auto", rank, n, 3) == sizes_of("geometric", rank, n, 3) == (80, 40, 20)
    assert sizes_of("auto", 200, 900, 3) == sizes_of("paper", 200, 900, 3), "no wider than four times the rank"
    assert max(WIDE, 4 * 200) >= sizes_of("paper", 200, 900, 3)[0] > WIDE


def test_parameters_are_counted():
    net = begun(64, SIZES, 0, np.float64)
    assert parameters_in(SIZES, 64) == sum(weights.size for weights in net.values())


# --- Glorot's numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fan_in", "fan_out"), [(64, 48), (112, 32), (16, 900)])
def test_their_deviation_is_glorots_and_none_is_far(fan_in, fan_out):
    drawn = glorot(fan_in, fan_out, (400, 200), np.random.default_rng(1))
    s = np.sqrt(2 / (fan_in + fan_out))
    assert np.std(drawn) == pytest.approx(s, rel=0.01)
    assert abs(np.mean(drawn)) < 0.02 * s
    assert 2.2 * s < np.abs(drawn).max() <= 2.274 * s
    assert round(2 / WITHIN, 4) == 2.2737


def test_a_layer_counts_what_it_reads_of_the_data_and_of_the_layer_before():
    n, sizes = 1500, (300, 200, 100)
    net = begun(n, sizes, 3, np.float64)
    edges = np.cumsum([0, *sizes])
    assert net["u"].shape == (n, 600)
    for i, (size, before) in enumerate(zip(sizes, (0, *sizes), strict=False), 1):
        s = np.sqrt(2 / (n + before + size))
        assert np.std(net["u"][:, edges[i - 1] : edges[i]]) == pytest.approx(s, rel=0.03)
        if before:
            assert net[f"v{i}"].shape == (before, size)
            assert np.std(net[f"v{i}"]) == pytest.approx(s, rel=0.03)
    assert np.std(net["h"]) == pytest.approx(np.sqrt(2 / (100 + n)), rel=0.03)


def test_seeds_differ_and_dtypes_do_not():
    one, same, other = (
        begun(20, (4, 3), 5, np.float64),
        begun(20, (4, 3), 5, np.float32),
        begun(20, (4, 3), 6, np.float64),
    )
    for name in one:
        assert same[name].dtype == np.float32
        np.testing.assert_array_equal(one[name].astype(np.float32), same[name])
        assert not np.any(one[name] == other[name])
    assert len(np.unique(np.concatenate([a.ravel() for a in one.values()]))) == sum(a.size for a in one.values())


# --- H of the data's size -----------------------------------------------------------------------------------


@given(st.integers(0, 99), st.integers(1, 5), st.integers(1, 6), st.booleans())
def test_the_product_has_the_data_s_means(seed, rank, n, signed):
    rng = np.random.default_rng(seed)
    g, w = rng.standard_normal((rank, n)), rng.random((7, rank))
    y = rng.standard_normal(n) if signed else rng.random(n)
    y[0] = 0
    h = scaled(g, y, w.mean(axis=0))
    np.testing.assert_allclose((w @ h).mean(axis=0), y, rtol=1e-10, atol=1e-14)
    assert (h[:, 0] == 0).all()
    assert (np.sign(h) == np.sign(y)).all()
    columns = y != 0
    np.testing.assert_allclose(
        h[:, columns] / h[0, columns], np.abs(g[:, columns] / g[0, columns]), rtol=1e-10, err_msg="ratios are G's"
    )


def test_units_that_never_fire_give_a_start_all_the_same():
    assert (scaled(np.ones((2, 3)), np.ones(3), np.zeros(2)) == 0).all()
