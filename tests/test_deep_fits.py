"""Deep fits end to end: new rows, both precisions, zeros, one layer, workers, and data larger than the memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from clusters import cluster
from deep_fits import PLAIN, assert_falls, deep, hs, losses, oracle_of, ws
from oracles.divergence import divergence

import nmfkit
from nmfkit.errors import DataError, NmfkitError

RNG = np.random.default_rng(21)
X = RNG.gamma(0.5, 1.0, (70, 5)) @ RNG.gamma(0.5, 1.0, (5, 32)) + 0.02
COUNTS = RNG.poisson(3 * X).astype(float)


# --- new rows --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [1, *(pytest.param(beta, marks=pytest.mark.slow) for beta in (0.5, 1.5, 2))])
def test_transform_of_the_training_rows_finds_their_coefficients(beta):
    """For 1 ≤ β ≤ 2 the problem of all W at fixed H is convex, so that both come to the same minimum."""
    x = (X if beta < 1 else COUNTS)[:40]
    fit = deep(x, beta=beta, sweeps=1000)
    found = fit.transform(x, max_sweeps=3000, tol=1e-8)
    assert set(found) == {"w1", "w2", "w3"}
    oracle = oracle_of(fit, x, beta)
    fitted = oracle.objective()
    oracle.w = [np.asarray(found[name], float) for name in ("w1", "w2", "w3")]
    assert oracle.objective() == pytest.approx(fitted, rel=1e-4)
    assert oracle.objective() <= fitted * (1 + 1e-7)
    if beta >= 1:
        np.testing.assert_allclose(oracle.w[0] @ oracle.h[0], ws(fit)[0] @ hs(fit)[0], atol=2e-2 * x.max())


def test_transform_of_other_rows_lowers_the_weighted_loss():
    fit = deep(COUNTS[:50], beta=1, sweeps=100)
    new = COUNTS[50:]
    found = fit.transform(new, max_sweeps=2000, tol=1e-7)
    weights, data = losses(fit).weights, [new, found["w1"], found["w2"]]

    def weighted(scale):
        w = [f * np.exp(scale * RNG.standard_normal(f.shape)) for f in (found["w1"], found["w2"], found["w3"])]
        d = [new, *w[:-1]]
        return sum(v * divergence(a, b @ c, 1) for v, a, b, c in zip(weights, d, w, hs(fit), strict=True))

    assert [len(f) for f in data] == [20, 20, 20]
    best = weighted(0)
    for scale in (1e-3, 1e-2, 1e-1):
        assert best <= min(weighted(scale) for _ in range(5)) * (1 + 1e-6)


def test_transform_beside_components_gives_the_coefficients_of_every_level():
    fit = deep(COUNTS, beta=1, sweeps=100, model={"side": "components"})
    found = fit.transform(COUNTS, max_sweeps=1000, tol=1e-7)
    w = ws(fit)
    assert divergence(COUNTS, found["w1"] @ hs(fit)[0], 1) <= losses(fit).end[0] * (1 + 1e-6)
    np.testing.assert_allclose(found["level2"], found["w1"] @ w[1], rtol=1e-10)
    np.testing.assert_allclose(found["level3"], found["w1"] @ w[1] @ w[2], rtol=1e-10)


# --- precision, zeros, one layer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("extrapolate", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["ahead", "plain"])
def test_six_hundred_sweeps_in_float32_end_where_those_in_float64_do(extrapolate):
    options = {"sweeps": 600, "model": {"extrapolate": extrapolate}}
    single, double = (deep(COUNTS, (6, 3), dtype=d, **options) for d in ("float32", "float64"))
    assert single.factors["w1"].dtype == np.float32
    assert single.objective == pytest.approx(double.objective, rel=1e-5 if not extrapolate else 1e-4)
    assert_falls(single.history.objective, 1e-6)
    assert_falls(double.history.objective)


@pytest.mark.parametrize("normalize", ["h", "w"])
@pytest.mark.parametrize(("beta", "kind"), [(0.5, np.asarray), (1, np.asarray), (1, sp.csr_array), (2, sp.csr_array)])
def test_zero_rows_and_columns(beta, kind, normalize):
    x = COUNTS.copy()
    x[[0, 17, 69]] = 0
    x[:, [3, 31]] = 0
    fit = deep(kind(x), beta=beta, normalize=normalize, sweeps=60)
    assert_falls(fit.history.objective, 1e-9)
    y = ws(fit)[0] @ hs(fit)[0]
    assert max(y[[0, 17, 69]].max(), y[:, [3, 31]].max()) < 2e-2 * y.max()


@pytest.mark.parametrize("beta", [-0.5, 0])
def test_zeros_are_refused_where_the_loss_is_infinite(beta):
    with pytest.raises(DataError, match="infinite where the matrix is zero"):
        deep(COUNTS, beta=beta)


def test_sums_of_columns_of_w_are_refused_above_two():
    with pytest.raises(NmfkitError):
        deep(X, beta=3, normalize="w")
    assert np.isfinite(deep(X, beta=3, normalize="h").objective)


@pytest.mark.parametrize("beta", [0, 0.5, 1, 1.5, 2, 3])
def test_one_layer_is_plain_nmf_whose_rows_of_h_sum_to_one(beta):
    options = {"model": {**PLAIN, "raw": True, "weights": "1"}}
    at = {n: deep(X, (4,), beta=beta, sweeps=n, **options) for n in (0, 1, 30)}
    plain = nmfkit.fit(
        X, loss=f"beta:{beta}", rank=4, rule="mu:extrapolate=false,joint=false", reg_h=["sum-to-one:rows"],
        w=at[0].factors["w1"], h=at[1].factors["h1"], max_sweeps=29, tol=0, pilot="none", threads=1,
    )  # fmt: skip
    np.testing.assert_allclose(plain.history.objective, at[30].history.objective[1:], rtol=1e-9)
    np.testing.assert_allclose(plain.h, at[30].factors["h1"], rtol=0, atol=1e-8)


def test_a_deep_fit_repeats_bit_for_bit():
    one, two = (deep(COUNTS, seed=3, sweeps=9) for _ in range(2))
    for name in one.factors:
        assert np.array_equal(one.factors[name], two.factors[name])
    assert not np.array_equal(one.factors["h1"], deep(COUNTS, seed=4, sweeps=9).factors["h1"])


def test_a_deep_fit_goes_on_from_its_store(tmp_path):
    straight = deep(COUNTS, sweeps=12)
    deep(COUNTS, sweeps=5, out=tmp_path / "run")
    resumed = nmfkit.resume(tmp_path / "run", x=COUNTS, max_sweeps=12)
    np.testing.assert_allclose(resumed.history.objective, straight.history.objective, rtol=1e-12)
    for name, f in straight.factors.items():
        np.testing.assert_allclose(resumed.factors[name], f, rtol=1e-9, atol=1e-12)


# --- workers, and data larger than the memory ------------------------------------------------------------------


@pytest.fixture(scope="module")
def client():
    with cluster(2, processes=False) as found:
        yield found


@pytest.mark.parametrize(
    ("beta", "side", "normalize"),
    [
        (1, "coefficients", "h"), (1, "coefficients", "w"),
        *(
            pytest.param(beta, side, normalize, marks=pytest.mark.slow)
            for beta, side, normalize in [(1.5, "coefficients", "w"), (1, "components", "w"), (1.5, "components", "h")]
        ),
    ],
)  # fmt: skip
def test_workers_give_the_fit_of_this_process(tmp_path, client, beta, side, normalize):
    nmfkit.convert(COUNTS + 0.1, tmp_path / "x.zarr", chunk_mb=70 * 32 * 8 / 5 / 2**20)
    options = {"beta": beta, "normalize": normalize, "sweeps": 6, "init_sweeps": 6, "model": {"side": side}}
    here = deep(tmp_path / "x.zarr", **options)
    del options["model"]
    there = deep(
        tmp_path / "x.zarr", threads=None, scheduler=client, out=tmp_path / "run", model={"side": side}, **options
    )
    np.testing.assert_allclose(there.history.objective, here.history.objective, rtol=1e-9)
    for name, f in here.factors.items():
        np.testing.assert_allclose(there.factors[name], f, rtol=0, atol=1e-7 * f.max())


@pytest.mark.parametrize(("side", "normalize"), [("coefficients", "h"), ("coefficients", "w"), ("components", "h")])
def test_data_larger_than_the_memory_stream(tmp_path, side, normalize):
    rng = np.random.default_rng(0)
    x = (rng.random((24_000, 6)) @ rng.random((6, 500)) + 0.01).astype(np.float32)  # 46 MiB
    nmfkit.convert(x, tmp_path / "x.zarr", chunk_mb=1)
    size = x.nbytes
    del x
    # Compiled kernels and imports are no part of what is measured.
    options = {"normalize": normalize, "init_sweeps": 2, "memory": "16MiB", "model": {"side": side}}
    deep(tmp_path / "x.zarr", (4, 2), sweeps=1, **options)
    tracemalloc.start()
    fit = deep(tmp_path / "x.zarr", (4, 2), sweeps=3, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert_falls(fit.history.objective, 1e-6)
    assert peak < 24 * 2**20 < size
