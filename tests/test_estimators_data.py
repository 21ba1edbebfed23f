"""Estimators on what nmfkit opens, with missing entries, batch by batch, and for other models."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import scipy.sparse as sp

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install nmfkit[sklearn]")

from nmfkit_plugins.beta.nmf import NMF as Model
from positive import RNG, X, divergence
from sklearn.base import clone

import nmfkit
from nmfkit import estimators, registry
from nmfkit.errors import UsageError
from nmfkit.estimators import NMF, models
from nmfkit.hookspecs import PartSpec
from nmfkit.protocols import Ingredients
from nmfkit.registry import Registered

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# --- what nmfkit opens --------------------------------------------------------------------------------------


@pytest.fixture
def opened(tmp_path):
    """One matrix in every form that nmfkit opens itself."""
    import dask.array as da
    import zarr

    array = zarr.create_array(str(tmp_path / "x.zarr"), data=X, chunks=(20, 24))
    np.save(tmp_path / "x.npy", X)
    found = {"path": str(tmp_path / "x.npy"), "Path": tmp_path / "x.npy", "zarr": array}
    return {**found, "dask": da.from_array(X, chunks=(30, 24)), "source": nmfkit.open_source(X)}


@pytest.mark.parametrize("kind", ["path", "Path", "zarr", "dask", "source"])
def test_what_nmfkit_opens(kind, opened):
    x = opened[kind]
    e, plain = NMF(3, init="nndsvda").fit(x), NMF(3, init="nndsvda").fit(X)
    np.testing.assert_allclose(e.objective_, plain.objective_, rtol=1e-6)
    np.testing.assert_allclose(e.transform(x), e.transform(X), rtol=1e-6, atol=1e-9)
    assert e.n_features_in_ == 24
    assert NMF(3).partial_fit(x).components_.shape == (3, 24)
    with pytest.raises(ValueError, match="5 features, but NMF is expecting 24 features"):
        e.transform(nmfkit.open_source(X[:, :5]))


def test_anndata():
    anndata = pytest.importorskip("anndata")
    names = [f"gene{i}" for i in range(24)]
    data = anndata.AnnData(sp.csr_matrix(X))
    data.var_names, data.layers["twice"] = names, 2 * X
    e = NMF(3, random_state=0).fit(data)
    assert list(e.feature_names_in_) == names
    assert e.transform(data).shape == (90, 3)
    assert NMF(3, key="layers/twice", random_state=0).fit(data).objective_ > 2 * e.objective_
    with pytest.raises(ValueError, match="in another order"):
        e.transform(data[:, ::-1].copy())
    renamed = data.copy()
    renamed.var_names = [f"other{i}" for i in range(24)]
    with pytest.raises(ValueError, match="others than those"):
        e.transform(renamed)


def test_a_fit_can_be_stored_and_gone_on_with(tmp_path):
    np.savez(tmp_path / "x.npz", first=np.ones((2, 2)), second=X)
    e = NMF(3, key="second", random_state=0, max_iter=5, tol=0).fit(tmp_path / "x.npz")
    e.result_.save(tmp_path / "run.zarr")
    longer = nmfkit.resume(tmp_path / "run.zarr", max_sweeps=10)
    again = NMF(3, random_state=0, max_iter=10, tol=0).fit(X)
    np.testing.assert_allclose(longer.h, again.components_, rtol=1e-6)


def test_batches_of_other_features_are_refused():
    e = NMF(3).partial_fit(X[:30])
    with pytest.raises(ValueError, match="X has 23 features, but NMF is expecting 24 features"):
        e.partial_fit(X[:, 1:])
    with pytest.raises(ValueError, match="Negative values"):
        e.partial_fit(-X)
    assert e.n_steps_ == 1


# --- missing entries ----------------------------------------------------------------------------------------


def test_missing_entries_do_not_count():
    seen = RNG.random(X.shape) > 0.2
    spoiled = np.where(seen, X, np.nan)
    asked = {"random_state": 0, "init": "nndsvda", "max_iter": 30, "tol": 0}
    by_mask, by_nan = NMF(3, **asked).fit(X, mask=seen), NMF(3, missing="nan", **asked).fit(spoiled)
    np.testing.assert_allclose(by_mask.components_, by_nan.components_, rtol=1e-6)
    residual = np.where(seen, X - by_nan.result_.w @ by_nan.components_, 0)
    np.testing.assert_allclose(by_nan.reconstruction_err_, np.linalg.norm(residual), rtol=1e-6)
    other = np.where(np.isnan(spoiled), 1e3, spoiled)
    np.testing.assert_allclose(NMF(3, **asked).fit(other, mask=seen).components_, by_nan.components_, rtol=1e-6)
    assert np.isfinite(by_nan.transform(spoiled)).all()
    with pytest.raises(ValueError, match="NaN"):
        NMF(3).fit(spoiled)


# --- batches ------------------------------------------------------------------------------------------------


def passes(e, x, times, batches):
    for _ in range(times):
        for rows in np.array_split(np.arange(x.shape[0]), batches):
            e.partial_fit(x[rows])
    return e


CASES = [("frobenius", np.asarray), ("frobenius", sp.csr_array), (1, np.asarray), (1, sp.csr_array), (0.5, np.asarray)]


@pytest.mark.parametrize(("loss", "kind"), CASES)
def test_many_passes_approach_the_full_fit(loss, kind):
    asked = {"n_components": 5, "beta_loss": loss, "solver": "mu", "init": "nndsvda", "random_state": 0}
    e, whole = passes(NMF(**asked), kind(X), 25, 3), NMF(**asked, max_iter=500).fit(X)
    reached = divergence(X, e.transform(X), e.components_, loss)
    start = divergence(X, np.full((90, 1), X.mean()), np.ones((1, 24)), loss)
    assert reached - whole.objective_ < 0.02 * (start - whole.objective_)
    assert e.n_steps_ == 75


def test_one_batch_again_and_again_never_rises():
    e, last = NMF(4, init="random", random_state=0, forget_factor=1e-9), np.inf
    for _ in range(8):
        now = divergence(X, e.partial_fit(X).transform(X), e.components_, "frobenius")
        assert now <= last * (1 + 1e-9)
        last = now


def test_the_sum_of_batches_stands_for_their_rows():
    e = NMF(3, random_state=0, forget_factor=1.0, init="random")
    passes(e, X, 1, 3)
    assert e._stream.total["rows"] == 90
    # With nothing forgotten and the quadratic's own form, Σ XₜᵀWₜ and Σ WₜᵀWₜ are what a NumPy program would keep.
    assert e._stream.total["absolute"]["q"].shape == (3, 3)
    e.partial_fit(X[:30])
    assert e._stream.total["rows"] == 120
    fading = NMF(3, random_state=0, forget_factor=0.5, init="random")
    assert passes(fading, X, 1, 3)._stream.total["rows"] == 30 * (1 + 0.5 + 0.25)


def test_penalties_of_batches_are_scaled_by_rows():
    asked = {"n_components": 4, "alpha_W": 0.05, "l1_ratio": 0.5, "init": "nndsvda", "random_state": 0}
    whole, e = NMF(**asked, max_iter=500).fit(X), passes(NMF(**asked), X, 20, 3)
    w = e.transform(X)
    penalty = 0.05 * 0.5 * (24 * (w.sum() + 0.5 * np.sum(w**2)))
    penalty += 0.05 * 0.5 * (90 * (e.components_.sum() + 0.5 * np.sum(e.components_**2)))
    assert divergence(X, w, e.components_, "frobenius") + penalty < whole.objective_ * 1.03


def test_batches_go_on_from_a_fit_and_a_fit_starts_anew():
    e = NMF(3, random_state=0).fit(X)
    fitted = e.components_
    e.partial_fit(X[:45])
    assert not hasattr(e, "result_")
    assert np.abs(e.components_ - fitted).max() < np.abs(fitted).max()
    e.partial_fit(np.zeros((4, 24)))  # a batch may be empty of entries
    again = pickle.loads(pickle.dumps(e))
    np.testing.assert_array_equal(again.partial_fit(X).components_, e.partial_fit(X).components_)
    np.testing.assert_array_equal(e.fit(X).components_, fitted)
    assert not hasattr(e, "n_steps_")


def test_batches_of_single_precision_stay_so():
    e = passes(NMF(3, random_state=0), X.astype(np.float32), 1, 3)
    assert e.components_.dtype == np.float32
    assert e.transform(X.astype(np.float32)).dtype == np.float32


# --- other models -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scaled(Model):
    """NMF with two parameters of its own, of which one does something: at most so many components."""

    parts: Ingredients
    most: int = 3
    weights: tuple[float, ...] = (1.0, 2.0)

    takes: ClassVar[frozenset[str]] = frozenset({"loss", "rule", "reg-h", "init"})

    def misfits(self):
        return [f"at most {self.most} components"] if self.parts.ranks[0] > self.most else []


@pytest.fixture
def scaled(monkeypatch):
    known = registry.registry()
    part = Registered("model", PartSpec("symnmf", "a model for tests", Scaled), "tests", "1", "tests")
    monkeypatch.setattr(known, "claims", {**known.claims, ("model", "symnmf"): [part]})
    monkeypatch.setattr(models, "_class_of", models._class_of.__wrapped__)
    return estimators.estimator("symnmf")


def test_masked_entries_are_never_taken_for_known():
    hidden = RNG.random(X.shape) < 0.2
    masked = np.ma.array(np.where(hidden, 1e6, X), mask=hidden)
    options = {"n_components": 3, "random_state": 0, "max_iter": 20}
    e = NMF(missing="nan", **options).fit(masked)
    np.testing.assert_allclose(e.objective_, NMF(**options).fit(X, mask=~hidden).objective_)
    assert e.transform(masked).max() < 1e3
    for call in (NMF(**options).fit, NMF(**options).partial_fit, NMF(**options).fit(X).transform):
        with pytest.raises(ValueError, match=r"entries of X are masked: say missing='nan'"):
            call(masked)
    np.testing.assert_array_equal(NMF(**options).fit_transform(np.ma.array(X)), NMF(**options).fit_transform(X))


def test_hidden_entries_have_no_part_in_a_random_start():
    mask = RNG.random(X.shape) < 0.8
    spoilt = np.where(mask, X, 1e6)
    one, other = (NMF(3, init="random", random_state=0, max_iter=5).fit(x, mask=mask) for x in (X, spoilt))
    np.testing.assert_array_equal(one.components_, other.components_)


def test_batches_of_one_stream_have_one_loss():
    e = NMF(3, random_state=0).partial_fit(X).set_params(beta_loss="kullback-leibler")
    with pytest.raises(ValueError, match="so far were fitted with loss 'frobenius', and the loss is now 'kl'"):
        e.partial_fit(X)
    assert e.n_steps_ == 1


@pytest.mark.parametrize("asked", [{"reg_w": "minvol:0.5"}, {"reg_h": ["minvol:0.5", "l2:0.1"], "reg_w": "l1:0.1"}])
def test_the_error_is_without_regularizers_as_they_act(asked):
    """The weight of a volume is measured by the loss at the start, so its value alone does not say what it counts."""
    e = NMF(3, beta_loss="kullback-leibler", random_state=0, max_iter=20, **asked).fit(X)
    loss = divergence(X, e.result_.w, e.components_, "kullback-leibler")
    np.testing.assert_allclose(e.reconstruction_err_, np.sqrt(2 * loss), rtol=1e-9)
    assert abs(e.objective_ - loss) > 1e-3 * loss


def test_batches_take_no_weights_that_the_start_of_a_fit_would_measure():
    with pytest.raises(ValueError, match=r"the weight of 'minvol:0.5' is measured .* give an absolute weight"):
        NMF(3, reg_w="minvol:0.5").partial_fit(X)
    NMF(3, reg_w="minvol:0.5,weight=absolute", random_state=0).partial_fit(X)


@pytest.mark.parametrize("ranks", [np.array([2, 3]), "all", 2.0])
def test_ranks_that_are_none(ranks):
    with pytest.raises(ValueError, match="is neither a whole number ≥ 1, nor 'auto', nor None"):
        NMF(ranks).fit(X)


def test_a_registered_model_has_an_estimator(scaled):
    assert scaled.__name__ == "SymNMF"
    names = set(scaled().get_params())
    assert {"n_components", "loss", "rule", "reg_h", "init", "most", "weights", "max_iter", "memory"} <= names
    assert "reg_w" not in names
    e: Any = scaled(2, loss="kl", reg_h="l1:0.1", random_state=0, most=2, weights=(1.0, 3.0)).fit(X)
    assert e.result_.problem.model_options == {"most": "2", "weights": "1.0+3.0"}
    assert clone(e).get_params() == e.get_params()
    assert e.transform(X).shape == (90, 2)
    assert e.result_.problem.loss == "kl"
    with pytest.raises(ValueError, match="at most 3 components"):
        scaled(4).fit(X)
    with pytest.raises(TypeError, match="unexpected keyword"):
        scaled(reg_w="l1:1")


def test_models_by_the_name_of_their_class(scaled):
    assert estimators.SymNMF.__name__ == "SymNMF"
    assert estimators.SymNMF._model == "symnmf"


def test_models_that_are_not_installed(monkeypatch):
    monkeypatch.setitem(models.CLASSES, "Absent", "absent-nmf")
    said = (
        "model 'absent-nmf' is not installed; installed models: agd, deep-nmf, ig-mdsr-nmf, ig-mdsr-rnmf, nmf, symnmf"
    )
    with pytest.raises(ImportError, match=said) as caught:
        _ = estimators.Absent
    assert isinstance(caught.value, UsageError)
    with pytest.raises(ImportError, match="model 'absent-nmf'"):
        from nmfkit.estimators import Absent  # noqa: F401
    with pytest.raises(ImportError, match="model 'absent-nmf'"):
        estimators.estimator("absent-nmf")
    with pytest.raises(AttributeError, match="Nonsense"):
        _ = estimators.Nonsense
    assert estimators.estimator("nmf") is NMF
