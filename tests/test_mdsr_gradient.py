"""The gradient of the input-guided model is that of its loss, and a sum over rows, whatever holds the data."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from encoded import SIZES, blocks_of, data_of, layers_of, loss_of, net_of
from hypothesis import given
from hypothesis import strategies as st
from nmfkit_plugins.mdsr import encoder, gradient

from nmfkit.blocks import Dense
from nmfkit.preprocessing import Shifted
from nmfkit.testing import to_device, to_host
from nmfkit.testing.strategies import chunkings, sparse

OUTPUTS = ("linear", "relu")
KINDS = ("dense", "sparse", "shifted")
SIGNS = (False, True)
ROWS, COLUMNS = 6, 11
STEP = 1e-5

kinds = pytest.mark.parametrize("kind", KINDS)
outputs = pytest.mark.parametrize("output", OUTPUTS)
signs = pytest.mark.parametrize("signed", SIGNS)


def differences(y, net, output):
    """The gradient by central differences, entry by entry."""
    found = {}
    for name, weights in net.items():
        slopes = np.empty_like(weights)
        for at in np.ndindex(weights.shape):
            ahead, behind = ({**net, name: weights.copy()} for _ in range(2))
            ahead[name][at] += STEP
            behind[name][at] -= STEP
            slopes[at] = (loss_of(y, ahead, SIZES, output) - loss_of(y, behind, SIZES, output)) / (2 * STEP)
        found[name] = slopes
    return found


def assert_close(found, wanted, rtol):
    """Each array to within `rtol` of its largest entry."""
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert np.shape(found[name]) == np.shape(value), name
        assert np.max(np.abs(found[name] - value)) <= rtol * np.max(np.abs(value)), name


def weights_in(sums):
    return {name: value for name, value in sums.items() if name not in ("squares", "rows")}


@pytest.fixture(scope="module")
def slopes():
    y = data_of(ROWS, COLUMNS)
    nets = {signed: net_of(COLUMNS, signed=signed) for signed in SIGNS}
    return {(output, signed): differences(y, nets[signed], output) for output in OUTPUTS for signed in SIGNS}


@kinds
@outputs
@signs
def test_it_is_the_slope_of_the_loss(slopes, kind, output, signed):
    y, net = data_of(ROWS, COLUMNS), net_of(COLUMNS, signed=signed)
    product = layers_of(y, net, SIZES)[-1] @ net["h"]
    assert np.abs(product).min() > 10 * STEP, "the loss has a kink within reach of a difference"
    assert signed == bool((product < 0).any()), "what relu cuts off is among the cases"
    found = gradient.sums(blocks_of(y)[kind], net, SIZES, output)
    assert_close(weights_in(found), slopes[output, signed], 1e-6)
    assert found["squares"] == pytest.approx(loss_of(y, net, SIZES, output), rel=1e-12)
    assert found["rows"] == ROWS


@outputs
@pytest.mark.parametrize("rows", [1, 3, 8, 9, 40])
@signs
def test_it_is_the_same_by_entries_and_by_grams_in_any_number_of_rows(output, rows, signed):
    y, net = data_of(rows, COLUMNS), net_of(COLUMNS, signed=signed)
    entries = gradient._through_entries(Dense(y), net, SIZES, output)[1]
    for block in blocks_of(y).values():
        assert_close(gradient.sums(block, net, SIZES, output), entries, 1e-12)
        w, found = gradient.encoded(block, net, SIZES, output)
        assert_close(found, entries, 1e-12)
        np.testing.assert_allclose(w, layers_of(y, net, SIZES)[-1], rtol=1e-12)
        if output == "linear":
            assert_close(gradient._through_grams(block, net, SIZES)[1], entries, 1e-12)


@given(st.data(), st.integers(1, 12), st.sampled_from(KINDS), st.sampled_from(OUTPUTS), st.booleans())
def test_sums_over_blocks_are_those_of_all_rows(data, rows, kind, output, signed):
    x, net = blocks_of(data_of(rows, COLUMNS, seed=rows))[kind], net_of(COLUMNS, signed=signed)
    parts = [gradient.sums(x.rows(a, b), net, SIZES, output) for a, b in data.draw(chunkings(rows))]
    added = {name: sum(part[name] for part in parts) for name in parts[0]}
    assert_close(added, gradient.sums(x, net, SIZES, output), 1e-12)


@kinds
@outputs
@pytest.mark.parametrize("sizes", [(4,), (5, 3), (6, 5, 4, 3)])
def test_it_goes_through_any_number_of_layers(kind, output, sizes):
    y, net = data_of(ROWS, COLUMNS), net_of(COLUMNS, sizes, signed=True)
    found = gradient.sums(blocks_of(y)[kind], net, sizes, output)
    assert weights_in(found).keys() == net.keys()
    rng = np.random.default_rng(1)
    way = {name: rng.normal(size=weights.shape) for name, weights in net.items()}
    ahead, behind = ({name: net[name] + step * way[name] for name in net} for step in (STEP, -STEP))
    slope = (loss_of(y, ahead, sizes, output) - loss_of(y, behind, sizes, output)) / (2 * STEP)
    assert sum(np.sum(found[name] * way[name]) for name in net) == pytest.approx(slope, rel=1e-6)


@kinds
def test_layers_are_those_of_the_formulas(kind):
    y, net = data_of(ROWS, COLUMNS), net_of(COLUMNS)
    found = encoder.forward(blocks_of(y)[kind], net, SIZES)
    for layer, wanted in zip(found, layers_of(y, net, SIZES), strict=True):
        np.testing.assert_allclose(layer, wanted, rtol=1e-13)
    assert all(((layer > 0) & (layer < 1)).all() for layer in found)


@given(chunkings(COLUMNS), st.sampled_from(KINDS))
def test_columns_in_pieces_add_up_before_the_layers(pieces, kind):
    y, net = data_of(ROWS, COLUMNS), net_of(COLUMNS)
    read = sum(blocks_of(y[:, a:b])[kind].dot(net["u"][a:b]) for a, b in pieces)
    for layer, whole in zip(encoder.layers_of(read, net, SIZES), encoder.forward(Dense(y), net, SIZES), strict=True):
        np.testing.assert_allclose(layer, whole, rtol=1e-12)


def test_the_logistic_function_never_overflows():
    z = np.array([-1e300, -800.0, -2.0, 0.0, 0.5, 800.0, 1e300])
    np.testing.assert_allclose(encoder.logistic(z), [0, 0, 1 / (1 + np.exp(2)), 0.5, 1 / (1 + np.exp(-0.5)), 1, 1])
    assert encoder.logistic(z[2:5].astype(np.float32)).dtype == np.float32


@kinds
@outputs
@pytest.mark.parametrize("rows", [3, 30])
def test_float32_stays_float32_and_is_near(kind, output, rows):
    y, net = data_of(rows, COLUMNS), net_of(COLUMNS, signed=True)
    narrow = {name: weights.astype(np.float32) for name, weights in net.items()}
    found = gradient.sums(blocks_of(y.astype(np.float32))[kind], narrow, SIZES, output)
    assert {value.dtype for value in weights_in(found).values()} == {np.dtype(np.float32)}
    assert_close(found, gradient.sums(Dense(y), net, SIZES, output), 1e-5)


@outputs
@pytest.mark.parametrize("rows", [3, 30])
def test_what_is_given_stays_as_it_is(output, rows):
    y, net = data_of(rows, COLUMNS), net_of(COLUMNS, signed=True)
    kept, before = y.copy(), {name: weights.copy() for name, weights in net.items()}
    for block in blocks_of(y).values():
        gradient.sums(block, net, SIZES, output)
    np.testing.assert_array_equal(y, kept)
    for name, weights in net.items():
        np.testing.assert_array_equal(weights, before[name])


@outputs
@pytest.mark.parametrize("rows", [3, 30])
def test_it_runs_on_a_device(output, rows):
    y, net = data_of(rows, COLUMNS), net_of(COLUMNS, signed=True)
    for kind, block in blocks_of(y).items():
        there = Shifted(*map(to_device, (block.sparse, block.row))) if kind == "shifted" else to_device(block)
        found = gradient.sums(there, to_device(net), SIZES, output)
        assert_close(to_host(found), gradient.sums(block, net, SIZES, output), 1e-12)
        w = layers_of(y, net, SIZES)[-1]
        assert gradient.residual(there, to_device(w), to_device(net["h"]), output) == pytest.approx(
            gradient.residual(block, w, net["h"], output), rel=1e-12
        )


# --- the loss --------------------------------------------------------------------------------------------------


@kinds
@outputs
def test_the_residual_is_that_of_the_entries(kind, output):
    y, net = data_of(ROWS, COLUMNS), net_of(COLUMNS, signed=True)
    w = layers_of(y, net, SIZES)[-1]
    found = gradient.residual(blocks_of(y)[kind], w, net["h"], output)
    assert found == pytest.approx(loss_of(y, net, SIZES, output), rel=1e-12)


@kinds
@pytest.mark.parametrize("rows", [3, 7, 60])
def test_a_close_fit_keeps_its_digits_in_float32(kind, rows):
    net = net_of(COLUMNS, signed=True, dtype=np.float32)
    net["u"][:] = 0  # an encoder that reads nothing: W is the same for any data
    h, w = net["h"].astype(np.float64), encoder.forward(Dense(data_of(rows, COLUMNS)), net, SIZES)[-1]
    near = (w @ h + 1e-4 * data_of(rows, COLUMNS)).astype(np.float32)
    x, w = blocks_of(near)[kind], w.astype(np.float32)
    wanted = np.sum((w.astype(np.float64) @ h - near) ** 2)
    assert wanted < 1e-6 * np.sum(near**2)
    assert gradient.residual(x, w, net["h"], "linear") == pytest.approx(wanted, rel=1e-2, abs=0)
    assert gradient.sums(x, net, SIZES, "linear")["squares"] == pytest.approx(wanted, rel=1e-2, abs=0)


def test_the_residual_of_dense_data_does_not_cancel():
    rng = np.random.default_rng(0)
    w, h, away = rng.random((9, 4)), rng.random((4, COLUMNS)), 1e-10 * rng.random((9, COLUMNS))
    assert gradient.residual(Dense(w @ h + away), w, h, "linear") == pytest.approx(np.sum(away**2), rel=1e-4, abs=0)


@pytest.mark.parametrize("seed", range(10))
def test_a_perfect_fit_is_never_below_zero(seed):
    net = net_of(COLUMNS, seed=seed)
    net["u"][:] = 0
    w = np.repeat(encoder.forward(Dense(np.zeros((1, COLUMNS))), net, SIZES)[-1], 20, axis=0)
    y = w @ net["h"]
    for block in blocks_of(y).values():
        for found in (
            gradient.sums(block, net, SIZES, "linear")["squares"],
            gradient.residual(block, w, net["h"], "linear"),
        ):
            assert 0 <= found <= 1e-12 * np.sum(y**2)


@kinds
def test_squares_are_those_of_the_entries(kind):
    y = data_of(ROWS, COLUMNS)
    assert blocks_of(y)[kind].squares() == pytest.approx(np.sum(y**2), rel=1e-14)
    assert Dense(np.full((2, 2), 1e30, dtype=np.float32)).squares() == pytest.approx(4e60)


@outputs
@pytest.mark.parametrize("tile", [1, 30, 11 * 5])
def test_tiles_add_up(monkeypatch, output, tile):
    y, net = data_of(ROWS, COLUMNS), net_of(COLUMNS, signed=True)
    w = layers_of(y, net, SIZES)[-1]

    def found():
        x = Dense(y)
        sums = gradient._through_entries(x, net, SIZES, output)[1]
        return {**sums, "residual": gradient.residual(x, w, net["h"], output), "y": x.squares()}

    whole = found()
    monkeypatch.setattr(gradient, "TILE", tile)
    assert_close(found(), whole, 1e-13)


@pytest.mark.parametrize("factor", [0, -1])
def test_columns_that_are_zero_or_cut_off_everywhere_pull_at_nothing(factor):
    y, net = data_of(ROWS, COLUMNS), net_of(COLUMNS)
    net["h"][:] *= factor
    found = gradient.sums(Dense(y), net, SIZES, "relu")
    assert all(not value.any() for value in weights_in(found).values())
    assert found["squares"] == pytest.approx(np.sum(y**2))


# --- what it costs ---------------------------------------------------------------------------------------------


class Products:
    """A block that only multiplies, and counts how often."""

    is_full = False

    def __init__(self, y):
        self.shape, self.y, self.count = y.shape, y, 0

    def dot(self, b):
        self.count += 1
        return self.y @ b

    def tdot(self, b):
        self.count += 1
        return self.y.T @ b

    def squares(self):
        return float(np.sum(self.y**2))


@pytest.mark.parametrize("rows", [2, 6, 40])
def test_the_linear_output_takes_two_products_and_nothing_else(rows):
    x, net = Products(data_of(rows, COLUMNS)), net_of(COLUMNS)
    found = gradient.sums(x, net, SIZES, "linear")
    assert x.count == 2
    assert_close(found, gradient.sums(Dense(x.y), net, SIZES, "linear"), 1e-12)


@pytest.mark.parametrize("kind", ["sparse", "shifted"])
def test_nothing_of_the_size_of_the_data_is_made_where_it_is_sparse(kind):
    rows = columns = 2000
    y = np.zeros((rows, columns))
    y[np.arange(rows), np.arange(columns)] = 1.0
    x, net = sparse(y), net_of(columns, (4, 3, 2))
    x = x if kind == "sparse" else Shifted(x, np.full(columns, 0.1))
    w = np.full((rows, 2), 0.5)
    gradient.sums(x, net, (4, 3, 2), "linear")  # what is imported on the way counts for nothing
    tracemalloc.start()
    gradient.sums(x, net, (4, 3, 2), "linear")
    gradient.residual(x, w, net["h"], "linear")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < y.nbytes / 10
