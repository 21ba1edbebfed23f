"""Input-guided estimators go on with data that come later, and so does any model that can."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import nnls

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install nmfkit[sklearn]")

from input_guided import BOTH, FOLD, SIGNED, alike, fitted, made, trained
from positive import X
from sklearn.base import clone

import nmfkit
from nmfkit import registry
from nmfkit.errors import UsageError
from nmfkit.estimators import ContinuingEstimator, IGMDSRRelaxed, estimator, models
from nmfkit.hookspecs import PartSpec
from nmfkit.protocols import Continues
from nmfkit.registry import Registered

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@BOTH
@pytest.mark.parametrize("more", [{"batch_size": 16}, FOLD, {"rate": 0.01}, {"dtype": "float32"}], ids=str)
def test_a_call_for_each_epoch_is_a_fit(kind, more):
    e, whole = trained(X, kind, **more), fitted(X, kind, checkpoint="last", **more)
    alike(e, whole)
    assert e.n_steps_ == 4
    assert e._encoder.state.current["adam"]["count"] == whole.result_.state.current["adam"]["count"]
    np.testing.assert_array_equal(e.transform(X), whole.transform(X))
    np.testing.assert_array_equal(e.components_, whole.components_)


def test_a_call_with_batches_of_all_rows_is_a_step():
    e = trained(X, times=3, batch_size="full")
    whole = fitted(X, batch_size="full", max_iter=3, checkpoint="last")
    alike(e, whole)
    assert e._encoder.state.current["adam"]["count"] == 3


def test_preprocessing_is_that_of_the_first_batch():
    e = trained(SIGNED[:30], times=1, **FOLD)
    first = {name: a.copy() for name, a in e._encoder.state.current["view"].items()}
    e.partial_fit(SIGNED[30:] * 3 + 1)
    for name, learnt in e._encoder.state.current["view"].items():
        np.testing.assert_array_equal(learnt, first[name])
    np.testing.assert_allclose(first["mean"], SIGNED[:30].mean(axis=0), rtol=1e-12, atol=1e-12)


def loss(e, x):
    return np.linalg.norm(x - e.inverse_transform(e.transform(x)))


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array, nmfkit.open_source], ids=["array", "sparse", "source"])
def test_batches_of_rows_train_for_all_of_them(form):
    x, options = X / X.std(), {"batch_size": 15, "rate": 9e-3}
    e = made(**options)
    for _ in range(30):
        for lo in (0, 30, 60):
            e.partial_fit(form(x[lo : lo + 30]))
    assert e.n_steps_ == 90
    assert loss(e, x) < 1.05 * loss(fitted(x, max_iter=30, **options), x)
    assert e.components_.min() >= 0


@BOTH
def test_polish_fits_h_to_the_rows_of_a_call(kind):
    x = X / X.std()
    e = trained(x, kind, times=2, polish="epoch", polish_sweeps=200)
    w = e.transform(x)
    best = np.linalg.lstsq(w, x, rcond=None)[0] if kind is IGMDSRRelaxed else np.stack([nnls(w, c)[0] for c in x.T]).T
    np.testing.assert_allclose(loss(e, x), np.linalg.norm(x - w @ best), rtol=1e-3)


def test_batches_go_on_from_a_fit_and_a_fit_starts_anew():
    e = fitted(X, checkpoint="last")
    alike_to = trained(X, times=6)
    e.partial_fit(X).partial_fit(X)
    alike(e, alike_to)
    assert e.n_steps_ == 2
    for name in ("result_", "objective_", "reconstruction_err_", "n_iter_"):
        assert not hasattr(e, name)
    again = pickle.loads(pickle.dumps(e))
    alike(again.partial_fit(X[:40]), e.partial_fit(X[:40]))
    alike(e.fit(X), fitted(X, checkpoint="last"))
    assert not hasattr(e, "n_steps_")


def test_a_batch_may_be_short_or_of_zeros():
    e = trained(X, times=1)
    e.partial_fit(X[:1]).partial_fit(np.zeros((4, 24)))
    assert e.n_steps_ == 3
    assert np.isfinite(e.transform(X)).all()


def test_single_precision_stays():
    e = trained(X.astype(np.float32), times=2)
    assert e.components_.dtype == e.transform(X.astype(np.float32)).dtype == np.float32
    assert e.partial_fit(X).components_.dtype == np.float32  # the network has one dtype


def test_batches_in_files(tmp_path):
    np.savez(tmp_path / "x.npz", first=np.ones((2, 2)), second=X.astype(np.float32))
    e = made(key="second").partial_fit(tmp_path / "x.npz").partial_fit(str(tmp_path / "x.npz"))
    alike(e, made().partial_fit(X.astype(np.float32)).partial_fit(X.astype(np.float32)))
    wide = made(key="second", dtype="float64").partial_fit(X).partial_fit(tmp_path / "x.npz")
    assert wide.components_.dtype == np.float64


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_what_no_batch_may_be(method):
    e = getattr(made(), method)(X)
    before = clone(e)
    for x, said in (
        (X[:, 1:], "X has 23 features, but IGMDSR is expecting 24 features"),
        (X[:0], "0 sample"),
        (np.where(X > 1, X, np.nan), "NaN"),
        (-X, "Negative values"),
        (nmfkit.open_source(-X), "negative"),
        (nmfkit.open_source(X[:, 1:]), "23 features"),
    ):
        with pytest.raises(ValueError, match=said):
            e.partial_fit(x)
    alike(e, getattr(before, method)(X))
    assert getattr(e, "n_steps_", 1) == 1


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"hidden_sizes": (8, 6)}, r"hidden_sizes was '9\+6' and is '8\+6'"),
        ({"preprocess": "zscore-fold"}, "preprocess was its default and is 'zscore-fold'"),
        ({"n_components": 3}, r"ranks was \(4,\) and is \(3,\)"),
    ],
    ids=str,
)
def test_parameters_of_a_training_stay(method, changed, said):
    e = getattr(made(), method)(X).set_params(**changed)
    with pytest.raises(ValueError, match=said) as caught:
        e.partial_fit(X)
    assert isinstance(caught.value, UsageError)
    alike(e.fit(X), fitted(X, **changed) if "n_components" not in changed else made(rank=3).fit(X))


def test_a_network_of_a_run_is_gone_on_with(tmp_path):
    e = fitted(X, checkpoint="last")
    e.result_.save(tmp_path / "run.zarr")
    later = made(trained=str(tmp_path / "run.zarr")).partial_fit(X)
    alike(later, trained(X, times=5))


# --- any model that goes on ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Means:
    """X ≈ 1 h with h the mean of all rows so far: what came before is in the state."""

    parts: Any

    takes: ClassVar[frozenset[str]] = frozenset()
    row_factors: ClassVar[tuple[str, ...]] = ("w",)
    elementwise: ClassVar[bool] = False
    forms_product: ClassVar[bool] = False

    def misfits(self):
        return []

    def start(self, initializer, sweep, probe, seed, dtype):
        h = np.zeros((1, probe.shape[1]), dtype)
        rows, _ = sweep(self.encode, None, {"h": h})
        return rows, {"h": h, "seen": 0}

    def encode(self, x, rows, shared):
        return {"w": np.ones((x.shape[0], 1), shared["h"].dtype)}, {}

    def local(self, x, rows, shared):
        w = self.encode(x, rows, shared)[0]["w"]
        return {"w": w}, {
            "sums": x.tdot(w).T,
            "rows": float(len(w)),
            "value": float(np.sum((x.dense() - shared["h"]) ** 2) / 2),
        }

    def apply(self, shared, stats):
        seen = shared["seen"] + stats["rows"]
        return {"h": (shared["h"] * shared["seen"] + stats["sums"]) / seen, "seen": seen}

    def objective(self, shared, stats):
        return stats["value"]

    def factors(self, shared):
        return {"h": shared["h"]}

    def onto(self, shared, rows):
        return shared


def test_any_model_that_goes_on_has_batches(monkeypatch):
    known = registry.registry()
    part = Registered("model", PartSpec("means", "a model for tests", Means), "tests", "1", "tests")
    monkeypatch.setattr(known, "claims", {**known.claims, ("model", "means"): [part]})
    monkeypatch.setattr(models, "_class_of", models._class_of.__wrapped__)
    kind = estimator("means")
    assert issubclass(kind, ContinuingEstimator)
    assert issubclass(Means, Continues)
    e = kind(1)
    for lo, hi in ((0, 20), (20, 70), (70, 90)):
        e.partial_fit(X[lo:hi])
    np.testing.assert_allclose(e.components_[0], X.mean(axis=0), rtol=1e-10)
    assert e.n_steps_ == 3
