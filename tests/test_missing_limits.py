"""Missing entries and weights at the limits: next to nothing known, weights far apart, layers that change."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from nmfkit_plugins.beta.divergence import beta_divergence
from observations import MASK, WEIGHTS, divergence
from small import COUNTS, QUICK, X, same

import nmfkit
from nmfkit.blocks import Dense
from nmfkit.errors import StoreError
from nmfkit.lowrank import LowRank
from nmfkit.sources import open_source
from nmfkit.weighed import Weighed
from nmfkit.weighted import weighted

FEW = np.random.default_rng(5).random(X.shape) < 0.02


@pytest.mark.parametrize("loss", ["frobenius", "kl", "beta:0.5"])
def test_little_is_left_of_a_sparse_matrix_without_loss(loss):
    # A row that is all hidden but for one entry, rows and columns that count next to nothing: no sum over what is
    # left may be had by taking what is hidden from the sum over everything.
    x = COUNTS.astype(np.float32)
    mask = MASK.copy()
    mask[3], mask[:, 5] = 0, 0
    mask[3, 5] = mask[3, np.argmax(x[3])] = 1
    weights = np.ones_like(X)
    weights[7], weights[:, 9] = 1e-9, 1e-8
    for given_ in ({"mask": FEW}, {"mask": mask}, {"weights": weights}):
        known = {"loss": loss, **QUICK, "seed": 2, **given_}
        fitted = nmfkit.fit(sp.csr_array(x), **known)
        same(fitted, nmfkit.fit(x, **known))
        assert (np.diff(fitted.history.objective) <= 1e-5 * fitted.history.objective[:-1]).all()


@pytest.mark.parametrize("loss", ["frobenius", "kl", "beta:0.5"])
def test_a_row_of_a_sparse_matrix_of_which_nearly_all_is_nan(loss):
    x = COUNTS.astype(np.float32)
    x[3, :], x[4, :] = np.nan, np.nan
    x[3, 5] = 2.0
    known = {"loss": loss, **QUICK, "missing": "nan", "max_sweeps": 30, "rule": "mu:extrapolate=no"}
    fitted = nmfkit.fit(sp.csr_array(x), **known)
    assert (np.diff(fitted.history.objective) <= 1e-5 * fitted.history.objective[:-1]).all()
    np.testing.assert_allclose(fitted.objective, nmfkit.fit(x, **known).objective, rtol=1e-3)


@pytest.mark.parametrize("beta", [-1, -0.5, 0, 0.5, 1.5, 3])
def test_what_is_missing_counts_exactly_nothing(beta):
    # Powers of a ŷ far from the data's scale are large: their differences are not zero but rounding.
    loss = beta_divergence(beta)
    rng = np.random.default_rng(0)
    w, h = (rng.random((40, 3)) + 0.1).astype(np.float32), (rng.random((3, 30)) + 0.1).astype(np.float32)
    x = (w @ h * rng.gamma(20, 0.05, (40, 30))).astype(np.float32)
    w[0], h[:, 1] = (1e-18, 1e9) if beta < 1 else (1e9, 1e-18)
    mask = np.ones_like(x)
    mask[0], mask[:, 1] = 0, 0
    block = Weighed(Dense(x * mask), mask, binary=True)
    y = LowRank(w, h)
    expected = np.sum((mask * divergence(*(a.astype(float) for a in (x, w @ h)), beta))[1:, [0, *range(2, 30)]])
    found = weighted(loss, 1.0)
    np.testing.assert_allclose(found.value(block, y), expected, rtol=1e-4)
    np.testing.assert_allclose(found.pulled(block, y, left=True, right=True).value, expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["mask", "weights"])
def test_another_mask_or_other_weights_are_noticed(tmp_path, name):
    np.save(tmp_path / "x.npy", COUNTS)
    layer = MASK if name == "mask" else WEIGHTS
    np.save(tmp_path / "layer.npy", layer)
    options = {"rank": 3, "loss": "kl", "tol": 0}
    nmfkit.fit(tmp_path / "x.npy", **{name: tmp_path / "layer.npy"}, **options, max_sweeps=3, out=tmp_path / "run.zarr")
    changed = layer.copy()
    zero = tuple(np.argwhere((COUNTS == 0) & (layer > 0))[0])  # no sum over the data changes with it
    changed[zero] = 0 if name == "mask" else 2 * layer[zero]
    np.save(tmp_path / "layer.npy", changed)
    with pytest.raises(StoreError, match="have changed"):
        nmfkit.resume(tmp_path / "run.zarr", max_sweeps=6)
    np.save(tmp_path / "layer.npy", layer)
    assert nmfkit.resume(tmp_path / "run.zarr", max_sweeps=6).state.sweep == 6


def test_mask_and_weights_are_never_overwritten(tmp_path):
    np.save(tmp_path / "x.npy", COUNTS)
    for name, layer in (("mask", MASK), ("weights", WEIGHTS)):
        nmfkit.convert(layer, tmp_path / f"{name}.zarr")
    known = {name: tmp_path / f"{name}.zarr" for name in ("mask", "weights")}
    fitted = nmfkit.fit(tmp_path / "x.npy", **known, **QUICK)
    for out in known.values():
        for write in (
            lambda out: nmfkit.fit(tmp_path / "x.npy", **known, **QUICK, out=out, overwrite=True),
            lambda out: nmfkit.transform(fitted, COUNTS, out=out, overwrite=True),
            lambda out: nmfkit.transform(fitted, tmp_path / "x.npy", **known, out=out, overwrite=True),
            lambda out: fitted.save(out, overwrite=True),
        ):
            with pytest.raises(StoreError, match="still needed"):
                write(out)
    np.testing.assert_array_equal(open_source(known["mask"]).read(0, 60).dense(), MASK)
