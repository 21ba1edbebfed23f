"""Fits of matrices with missing entries, and with weights: the objective of what is known, and nothing else."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.sparse as sp
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from observations import MASK, WEIGHTS, divergence
from small import COUNTS, QUICK, X, same

import nmfkit
from nmfkit.cli.app import app
from nmfkit.errors import DataError, Incompatible, StoreError, UsageError
from nmfkit.loop import Watcher
from nmfkit.score import score
from nmfkit.sources import open_source
from nmfkit.sources.observed import Observed, observed
from nmfkit.testing import Chunked
from nmfkit.testing import strategies as some
from nmfkit.testing.strategies import blocks_of

PLAIN = {"rule": "mu:extrapolate=no,joint=no"}
LOSSES = {"frobenius": 2.0, "kl": 1.0, "is": 0.0, "beta:0.5": 0.5, "beta:3": 3.0}


def start(x, rank):
    rng = np.random.default_rng(1)
    return rng.random((len(x), rank)) + 0.1, rng.random((rank, x.shape[1])) + 0.1


def oracle(x, weights, beta, w, h, sweeps):
    """W and H after so many plain multiplicative updates of both, and one more of W; Σ ω d_β at the end."""
    power = 1 / (2 - beta) if beta < 1 else 1 / (beta - 1) if beta > 2 else 1.0

    def halves(w, h):
        y = w @ h
        return weights * y ** (beta - 1), weights * x * y ** (beta - 2)

    for sweep in range(sweeps + 1):
        pos, neg = halves(w, h)
        w = w * ratio(neg @ h.T, pos @ h.T) ** power
        if sweep < sweeps:
            pos, neg = halves(w, h)
            h = h * ratio(w.T @ neg, w.T @ pos) ** power
    return w, h, float(np.sum(weights * divergence(x, w @ h, beta)))


def ratio(neg, pos):
    return np.divide(neg, pos, out=np.ones_like(neg), where=pos > 0)


# --- what is minimised --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "beta"), LOSSES.items())
def test_equals_multiplicative_updates_written_out(loss, beta):
    w, h = start(X, 4)
    for weights, given_ in ((MASK, {"mask": MASK}), (WEIGHTS, {"weights": WEIGHTS})):
        fitted = nmfkit.fit(X, loss=loss, **QUICK, **PLAIN, w=w, h=h, **given_)
        a, b, objective = oracle(X, weights, beta, w, h, QUICK["max_sweeps"])
        np.testing.assert_allclose(fitted.objective, objective, rtol=1e-10)
        np.testing.assert_allclose(fitted.w @ fitted.h, a @ b, rtol=1e-7)


@pytest.mark.parametrize("loss", ["frobenius", "kl", "beta:0.5"])
def test_every_way_to_say_it_is_the_same_fit(loss):
    hidden = np.where(MASK > 0, COUNTS, np.nan)
    known = {"loss": loss, **QUICK, "seed": 2}
    wanted = nmfkit.fit(COUNTS, mask=MASK, **known)
    w, h = start(X, 4)
    given_ = {**known, "w": w, "h": h}
    same(nmfkit.fit(hidden, missing="nan", **known), wanted)
    same(nmfkit.fit(np.ma.masked_invalid(hidden), missing="nan", **known), wanted)
    same(nmfkit.fit(COUNTS, weights=MASK, **known), wanted)
    same(nmfkit.fit(COUNTS, mask=MASK * 7 > 0, weights=np.ones_like(X), **known), wanted)
    same(nmfkit.fit(sp.csr_array(COUNTS), mask=MASK, **known), wanted)
    same(nmfkit.fit(hidden, mask=sp.csr_array(MASK), missing="nan", **known), wanted)
    same(nmfkit.fit(sp.csr_array(COUNTS), mask=sp.csr_array(MASK), **known), wanted)
    stored = sp.csr_array((COUNTS[MASK > 0], np.nonzero(MASK)), shape=X.shape)  # zeros among them
    assert (stored.data == 0).any()
    same(nmfkit.fit(stored, missing="absent", **given_), nmfkit.fit(COUNTS, mask=MASK, **given_))


def test_entries_that_are_not_stored_are_missing_for_itakura_saito_too():
    x = sp.csr_array(np.where(MASK > 0, X, 0))
    fitted = nmfkit.fit(x, loss="is", missing="absent", **QUICK)
    found = np.sum(MASK * divergence(X, fitted.w @ fitted.h, 0))
    np.testing.assert_allclose(fitted.objective, found, rtol=1e-9)
    with pytest.raises(DataError, match="infinite where the matrix is zero"):
        nmfkit.fit(sp.csr_array(np.where(MASK > 0, X, 0)), loss="is", **QUICK)


def test_stored_zeros_of_zarr_are_known(tmp_path):
    group = zarr.open_group(tmp_path / "x.zarr", mode="w")
    stored = sp.csr_array((COUNTS[MASK > 0], np.nonzero(MASK)), shape=X.shape)
    group.attrs.update({"encoding-type": "csr_matrix", "shape": list(X.shape)})
    for name in ("data", "indices", "indptr"):
        group.create_array(name, data=getattr(stored, name))
    known = {"loss": "kl", "missing": "absent", **QUICK}
    same(nmfkit.fit(tmp_path / "x.zarr", **known), nmfkit.fit(stored, **known))


@st.composite
def problems(draw, beta):
    x = some.with_something(draw(some.matrices(positive=beta <= 0)))
    weights = draw(some.masks(x.shape)) * draw(st.sampled_from([1.0, 2.5]))
    sparse = draw(st.booleans())
    return x, weights, draw(some.chunkings(len(x))), sparse, draw(some.ranks), draw(st.integers(0, 9))


@pytest.mark.parametrize("reg", [(), ("l1:0.3", "l2:0.3")], ids=["plain", "regularized"])
@pytest.mark.parametrize("rule", ["mu", "mu:extrapolate=no", "online:parts=2"])
@pytest.mark.parametrize("beta", [-1, 0, 0.5, 1, 1.5, 2, 3])
def test_objective_never_rises(beta, rule, reg):
    @settings(max_examples=max(3, settings().max_examples // 3))
    @given(problems(beta))
    def holds(drawn):
        x, weights, bounds, sparse, rank, seed = drawn
        if not (x * weights).any():
            return
        source = Chunked(x, bounds, is_sparse=sparse and beta > 0)
        fitted = nmfkit.fit(
            source, weights=weights, loss=f"beta:{beta}", rank=rank, rule=rule, reg_w=reg, reg_h=reg, seed=seed,
            max_sweeps=12, tol=0, threads=1,
        )  # fmt: skip
        found = fitted.history.objective
        assert np.isfinite(found).all()
        y = np.where(x > 0, x / 2, 1e-3)
        slack = 1e-9 * np.abs(found[:-1]) + 1e-11 * float(np.sum(weights * divergence(np.maximum(x, 1e-300), y, beta)))
        assert not (
            np.diff(found)[: -1 if "online" in rule else None] > slack[: -1 if "online" in rule else None]
        ).any()

    holds()


@given(some.matrices(), st.data())
def test_blocks_of_any_chunking_are_the_whole(x, more):
    weights = more.draw(some.masks(x.shape))
    bounds = more.draw(some.chunkings(len(x)))
    for sparse_x in (False, True):
        for layer in (weights, sp.csr_array(weights)):
            source = observed(Chunked(x, bounds, is_sparse=sparse_x), mask=layer)
            whole = source.read(0, len(x))
            np.testing.assert_array_equal(whole.dense(), x * weights)
            np.testing.assert_array_equal(whole.spread(), weights)
            rows, columns = whole.observed()
            np.testing.assert_array_equal(rows, weights.sum(axis=1))
            np.testing.assert_array_equal(columns, weights.sum(axis=0))
            for a, b in bounds:
                for block in (source.read(a, b), whole.rows(a, b)):
                    np.testing.assert_array_equal(block.dense(), (x * weights)[a:b])
                    np.testing.assert_array_equal(block.spread(), weights[a:b])


def test_missing_values_come_back():
    rng = np.random.default_rng(0)
    truth = rng.gamma(0.5, 1.0, (200, 4)) @ rng.gamma(0.5, 1.0, (4, 60))
    mask = rng.random(truth.shape) < 0.5
    fitted = nmfkit.fit(np.where(mask, truth, np.nan), missing="nan", rank=4, max_sweeps=3000, tol=1e-9)
    hidden = ~mask
    error = np.linalg.norm((fitted.w @ fitted.h - truth)[hidden]) / np.linalg.norm(truth[hidden])
    assert error < 0.02


# --- a fit goes on, and is used ---------------------------------------------------------------------------------


def test_resumes_exactly_and_is_scored_and_transforms(tmp_path):
    for name, values in (("x", COUNTS), ("mask", MASK)):
        np.save(tmp_path / f"{name}.npy", values)
    options = {"mask": tmp_path / "mask.npy", "loss": "kl", "rank": 4, "tol": 0}
    whole = nmfkit.fit(tmp_path / "x.npy", **options, max_sweeps=12)
    nmfkit.fit(tmp_path / "x.npy", **options, max_sweeps=5, out=tmp_path / "run.zarr")
    resumed = nmfkit.resume(tmp_path / "run.zarr", max_sweeps=12)
    assert resumed.objective == whole.objective
    np.testing.assert_array_equal(resumed.w, whole.w)
    np.testing.assert_allclose(score(tmp_path / "run.zarr").loss, whole.objective, rtol=1e-9)
    assert nmfkit.load(tmp_path / "run.zarr").attributes["source"]["observed"]["mask"].endswith("mask.npy")
    w = whole.transform(COUNTS, mask=MASK, tol=1e-9, max_sweeps=5000)
    again = np.sum(MASK * divergence(COUNTS, w @ whole.h, 1))
    assert again <= whole.objective * (1 + 1e-7)
    changed = np.load(tmp_path / "mask.npy")
    changed[5, 5] = 1 - changed[5, 5]
    np.save(tmp_path / "mask.npy", changed)
    with pytest.raises(StoreError, match="have changed"):
        nmfkit.resume(tmp_path / "run.zarr", max_sweeps=20)


def test_a_mask_in_memory_is_asked_for_again(tmp_path):
    np.save(tmp_path / "x.npy", COUNTS)
    options = {"loss": "kl", "rank": 4, "tol": 0}
    nmfkit.fit(tmp_path / "x.npy", mask=MASK, **options, max_sweeps=5, out=tmp_path / "run.zarr")
    with pytest.raises(StoreError, match="mask in memory; pass the same again"):
        nmfkit.resume(tmp_path / "run.zarr", max_sweeps=9)
    resumed = nmfkit.resume(tmp_path / "run.zarr", mask=MASK, max_sweeps=9)
    assert resumed.objective == nmfkit.fit(COUNTS, mask=MASK, **options, max_sweeps=9).objective
    with pytest.raises(StoreError, match="fitted without weights"):
        nmfkit.resume(tmp_path / "run.zarr", mask=MASK, weights=WEIGHTS, max_sweeps=10)


def test_transform_takes_missing_entries_as_the_fit_did():
    hidden = np.where(MASK > 0, COUNTS, np.nan)
    fitted = nmfkit.fit(hidden, missing="nan", loss="kl", **QUICK)
    np.testing.assert_array_equal(fitted.transform(hidden), fitted.transform(COUNTS, mask=MASK))
    with pytest.raises(DataError, match="NaN"):
        nmfkit.fit(COUNTS, loss="kl", **QUICK).transform(hidden)


def test_a_budget_of_memory_changes_nothing(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.poisson(2.0, (4000, 200)).astype(np.float32)
    mask = rng.random(x.shape) < 0.8
    zarr.create_array(tmp_path / "x.zarr", data=x, chunks=(250, 200))
    zarr.create_array(tmp_path / "mask.zarr", data=mask, chunks=(300, 200))
    options = {"loss": "kl", "rank": 3, "max_sweeps": 6, "tol": 0}
    fitted = nmfkit.fit(tmp_path / "x.zarr", mask=tmp_path / "mask.zarr", memory="6MB", **options)
    same(fitted, nmfkit.fit(x, mask=mask, **options), tolerance=1e-5)


# --- what is said ---------------------------------------------------------------------------------------------


def test_rows_and_columns_without_any_known_entry_are_told():
    mask = MASK.copy()
    mask[3], mask[:, 7] = 0, 0
    told = []

    class Listener(Watcher):
        def found(self, probe):
            told.extend(probe.notes())

    fitted = nmfkit.fit(COUNTS + 1, mask=mask, loss="kl", **QUICK, watcher=Listener())
    text = "\n".join(told)
    assert "1 of 60 rows have no entry that is known" in text
    assert "1 of 40 columns have no entry that is known" in text
    assert f"{int((mask == 0).sum()):,} of 2,400 entries are missing" in text
    assert "all zero" not in text
    assert np.isfinite(fitted.w).all()
    assert np.isfinite(fitted.h).all()


class Cubed:
    """A loss of no family: Σ |x − ŷ|³ / 3, which gives no terms one by one."""

    needs_positive, pattern_only = False, False

    def value(self, x, y):
        return float(np.sum(np.abs(x.dense() - y.form()) ** 3)) / 3

    def split(self, x, y):
        from nmfkit.blocks import Dense
        from nmfkit.protocols import Split

        rest = y.form() - x.dense()
        gap = np.abs(rest) * rest
        return Split(Dense(np.maximum(gap, 0)), Dense(np.maximum(-gap, 0)))

    def surrogate(self, halves):
        return {3.0: halves.pos, 0.0: -halves.neg}


def test_a_loss_of_ones_own_takes_masks_and_no_weights():
    fitted = nmfkit.fit(X, mask=MASK, loss=Cubed(), rule="mu:extrapolate=no", **QUICK)
    found = np.sum(MASK * np.abs(X - fitted.w @ fitted.h) ** 3) / 3
    np.testing.assert_allclose(fitted.objective, found, rtol=1e-9)
    with pytest.raises(Incompatible, match="gives its terms one by one"):
        nmfkit.fit(X, weights=WEIGHTS, loss=Cubed(), rule="mu", **QUICK)


REFUSALS = {
    "a mask of another shape": ({"mask": MASK[:, 1:]}, UsageError, r"mask memory is 60 × 39.*60 × 40"),
    "absent from a dense matrix": ({"missing": "absent"}, UsageError, "is dense, so every entry is stored"),
    "an unknown word": ({"missing": "zero"}, UsageError, "missing 'zero' is not one of none, nan, absent"),
    "hals": ({"mask": MASK, "rule": "hals"}, Incompatible, "quadratic.*missing entries or weights is not one"),
    "scd": ({"mask": MASK, "rule": "scd", "loss": "kl"}, Incompatible, "missing entries or weights is not one"),
    "compressed": ({"mask": MASK, "rule": "compressed"}, Incompatible, "missing entries or weights is not one"),
    "a pilot of its own": ({"mask": MASK, "pilot": 9}, Incompatible, "a pilot of 9 rows knows no missing entries"),
    "negative weights": ({"weights": MASK - 0.5}, DataError, r"weight at row 0, column \d+ is -0.5"),
    "weights that are NaN": ({"weights": np.where(MASK > 0, 1, np.nan)}, DataError, "is nan; weights are finite"),
    "a mask that is NaN": (
        {"mask": np.where(MASK > 0, 1, np.nan)},
        DataError,
        r"the mask at row 0, column \d+ is nan; 0 hides",
    ),
    "weights out of range": ({"weights": 1e20 * MASK, "dtype": "float32"}, DataError, r"divide all weights by"),
    "a mask that is text": ({"mask": MASK.astype(str)}, DataError, "mask: memory: entries are text"),
    "nothing known": ({"mask": np.zeros_like(X)}, DataError, "is all zero"),
    "all at once": ({"mask": X[1:], "weights": X[:, 1:]}, UsageError, r"(?s)mask.*59 × 40.*weights.*60 × 39"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_refuses(what):
    options, error, message = REFUSALS[what]
    with pytest.raises(error, match=message):
        nmfkit.fit(X, **{**QUICK, **options})


def test_what_works_is_named():
    with pytest.raises(Incompatible, match=r"what would work.*--rule mu"):
        nmfkit.fit(X, mask=MASK, rule="hals", **QUICK)
    assert nmfkit.fit(X, mask=MASK, **QUICK).problem.rule == "mu"


def test_nan_is_refused_unless_it_stands_for_something():
    with pytest.raises(DataError, match=r"NaN at row 0, column \d+.*--missing nan"):
        nmfkit.fit(np.where(MASK > 0, X, np.nan), **QUICK)


def test_sources_of_ones_own_are_taken():
    source = Observed(open_source(X), mask=open_source(MASK))
    same(nmfkit.fit(source, **QUICK), nmfkit.fit(X, mask=MASK, **QUICK))
    with pytest.raises(UsageError, match="says already"):
        nmfkit.fit(source, mask=MASK, **QUICK)


def test_dense_and_sparse_forms_report_the_same_sizes():
    for block in blocks_of(COUNTS):
        weighed = observed(open_source(COUNTS if block.values.ndim == 2 else sp.csr_array(COUNTS)), mask=MASK)
        assert weighed.read(0, 60).nbytes > block.nbytes


# --- the command line -----------------------------------------------------------------------------------------


def test_command_line(tmp_path, run_cli):
    table = [["", *(f"f{j}" for j in range(X.shape[1]))]]
    for i, row in enumerate(COUNTS):
        table.append([f"s{i}", *("NA" if not known else f"{v:g}" for v, known in zip(row, MASK[i], strict=True))])
    (tmp_path / "x.csv").write_text("\n".join(",".join(row) for row in table))
    np.save(tmp_path / "mask.npy", MASK)
    np.save(tmp_path / "x.npy", COUNTS)
    common = ["--loss", "kl", "--rank", "3", "--max-sweeps", "20", "--dtype", "float64", "--json"]
    by_nan = run_cli("fit", tmp_path / "x.csv", "--missing", "nan", "-o", tmp_path / "a.zarr", *common)
    by_mask = run_cli("fit", tmp_path / "x.npy", "--mask", tmp_path / "mask.npy", "-o", tmp_path / "b.zarr", *common)
    np.testing.assert_allclose(by_nan["objective"], by_mask["objective"], rtol=1e-9)
    for name in ("a", "b"):
        scored = run_cli("score", tmp_path / f"{name}.zarr", "--json")
        np.testing.assert_allclose(scored["loss"], by_mask["objective"], rtol=1e-9)
        assert 0 < scored["relative_error"] < 1
    assert run_cli("resume", tmp_path / "a.zarr", "--max-sweeps", "25", "--json")["sweeps"] == 25
    out = run_cli("transform", tmp_path / "a.zarr", tmp_path / "x.csv", "-o", tmp_path / "w.zarr", "--json")
    assert out["shape"] == [60, 3]
    explained = run_cli("explain", tmp_path / "x.npy", "--mask", tmp_path / "mask.npy", "--rank", "3", "--json")
    assert explained["problem"]["rule"] == "mu"


@pytest.fixture
def run_cli(capsys):
    from typer.main import get_command

    def run(*words):
        get_command(app).main([str(word) for word in words], standalone_mode=False)
        return json.loads(capsys.readouterr().out)

    return run


# --- real data --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "name"), [("kl", "kullback-leibler"), ("frobenius", "frobenius")])
def test_ratings_are_foretold_better_than_with_zeros_for_the_unknown(data_dir, loss, name):
    from sklearn.decomposition import NMF

    path = data_dir / "ratings" / "movielens_small.npz"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    source = open_source(path)
    block = source.read(0, source.shape[0])
    x = sp.csr_array((block.values.astype(float), block.indices, block.indptr), shape=source.shape)
    rows, columns = x.nonzero()
    held = np.random.default_rng(0).random(x.nnz) < 0.1
    train = sp.csr_array((x.data[~held], (rows[~held], columns[~held])), shape=x.shape)
    test = x.data[held]

    def error(w, h):
        found = np.einsum("ij,ji->i", w[rows[held]], h[:, columns[held]])
        return float(np.sqrt(np.mean((np.clip(found, 1, 5) - test) ** 2)))

    fitted = nmfkit.fit(
        train, loss=loss, rank=5, missing="absent", max_sweeps=150, tol=1e-5, reg_w="l2:1", reg_h="l2:1"
    )
    assert (np.diff(fitted.history.objective) <= 1e-9 * fitted.objective).all()
    peer = NMF(5, beta_loss=name, solver="mu", max_iter=150, init="random", random_state=0, tol=0)
    with np.errstate(all="ignore"):
        w = peer.fit_transform(train.tocsr())
    assert error(fitted.w, fitted.h) < 0.6 * error(w, peer.components_)
    weights = (train.toarray() > 0).astype(float)
    start_w, start_h = start(weights, 5)
    plain = nmfkit.fit(train, loss=loss, rank=5, missing="absent", max_sweeps=20, tol=0, w=start_w, h=start_h, **PLAIN)
    _, _, objective = oracle(train.toarray(), weights, LOSSES[loss], start_w, start_h, 20)
    np.testing.assert_allclose(plain.objective, objective, rtol=1e-8)
