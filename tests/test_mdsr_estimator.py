"""Input-guided estimators keep scikit-learn's contract, transform by one pass, and go on with data that come later."""

from __future__ import annotations

import pickle
from pathlib import Path
from unittest import SkipTest

import numpy as np
import pytest
import scipy.sparse as sp

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install nmfkit[sklearn]")

from input_guided import BOTH, FOLD, SIGNED, alike, fitted, made, trained
from nmfkit_plugins.mdsr import network_of
from positive import X
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

import nmfkit
from nmfkit.estimators import AGD, IGMDSR, NMF, ContinuingEstimator, IGMDSRRelaxed, estimator

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# --- scikit-learn's own checks ------------------------------------------------------------------------------


def checks():
    """Scikit-learn's checks of an estimator, none left out."""
    small = {"hidden_sizes": (3, 2), "max_iter": 3}
    for e in (
        IGMDSR(2, **small),
        IGMDSRRelaxed(2, output="relu", checkpoint="accuracy", preprocess="zscore-fold", **small),
    ):
        if hasattr(estimator_checks, "estimator_checks_generator"):
            found = estimator_checks.estimator_checks_generator(e)
        else:  # scikit-learn 1.5
            found = estimator_checks.check_estimator(e, generate_only=True)
        yield from (pytest.param(e, check, id=f"{type(e).__name__}-{check.func.__name__}") for e, check in found)


@pytest.mark.parametrize(("estimator", "check"), list(checks()))
@pytest.mark.filterwarnings("ignore")  # as scikit-learn runs them: they fit matrices that users are cautioned about
def test_contract(estimator, check):
    try:
        check(estimator)
    except SkipTest as reason:
        pytest.skip(str(reason))


# --- classes, parameters and tags ---------------------------------------------------------------------------


def test_the_classes_of_the_two_models():
    assert estimator("ig-mdsr-nmf") is IGMDSR
    assert estimator("ig-mdsr-rnmf") is IGMDSRRelaxed
    assert (IGMDSR._model, IGMDSRRelaxed._model) == ("ig-mdsr-nmf", "ig-mdsr-rnmf")
    assert issubclass(IGMDSR, ContinuingEstimator)
    assert not issubclass(AGD, ContinuingEstimator)
    names = set(IGMDSR().get_params())
    assert {"hidden_sizes", "layers", "batch_size", "rate", "output", "preset", "preprocess", "trained"} <= names
    assert not {"relaxed", "parts", "loss", "rule", "init", "reg_w", "reg_h"} & names


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"hidden_sizes": (9, 6)}, {"hidden_sizes": "9,6"}),
        ({"hidden_sizes": [9, 6]}, {"hidden_sizes": "9+6"}),
        ({"hidden_sizes": (5,)}, {"hidden_sizes": "5", "layers": 2}),
        ({"hidden_sizes": "geometric", "batch_size": 40}, {"hidden_sizes": "geometric", "batch_size": "40"}),
        ({"batch_size": 90}, {"batch_size": np.int64(90)}),
        ({"rate": 2e-3}, {"rate": "0.002"}),
        ({"patience": None}, {"patience": "none"}),
    ],
    ids=str,
)
def test_values_may_be_written_in_two_ways(one, other):
    alike(fitted(X, **one), fitted(X, **other))


def test_parameters_do_what_they_do_in_a_fit():
    options = {"hidden_sizes": "9,6", "batch_size": "full", "polish": "epoch"}
    result = nmfkit.fit(X, rank=4, model="ig-mdsr-nmf", model_options=options, max_sweeps=4, tol=0, seed=0)
    e = fitted(X, batch_size="full", polish="epoch")
    np.testing.assert_array_equal(e.components_, result.h)
    np.testing.assert_array_equal(e.fit_transform(X), result.w)
    assert (e.n_iter_, e.objective_) == (4, result.objective)


@pytest.mark.parametrize(
    ("e", "positive"),
    [(IGMDSR(), True), (IGMDSR(output="relu"), True), (IGMDSR(**FOLD), False), (IGMDSRRelaxed(), False)],
    ids=str,
)
def test_tags_say_whether_negative_entries_are_taken(e, positive):
    assert e.__sklearn_tags__().input_tags.positive_only == positive
    assert e._more_tags()["requires_positive_X"] == positive
    assert clone(e).set_params(preprocess="zscore-fold")._expected.signed
    e = clone(e).set_params(n_components=4, max_iter=2)
    if positive:
        with pytest.raises(ValueError, match="Negative values in data"):
            e.fit(SIGNED)
    else:
        assert e.fit(SIGNED).transform(SIGNED).shape == (90, 4)


def test_tags_of_other_models_stand():
    assert NMF().__sklearn_tags__().input_tags.positive_only
    assert not AGD().__sklearn_tags__().input_tags.positive_only


@pytest.mark.parametrize(
    ("asked", "x", "said"),
    [
        ({"output": "tanh"}, X, "output must be"),
        ({"output": "tanh"}, SIGNED, "output must be"),  # not that entries are negative, which may be meant
        ({"hidden_sizes": (9, 0)}, X, "hidden_sizes must be"),
        ({"batch_size": 0, "rate": 3}, X, "(?s)batch_size must be.*rate must be"),
        ({"hidden_sizes": (9, 6), "layers": 2}, X, "layers must be 3"),
        ({"n_components": (4, 2)}, X, "one rank"),
        ({"n_components": 0}, X, "0"),
        ({"preprocess": "minmax"}, X, "minmax"),
        ({"clip": 3.0}, X, "clip"),
        (FOLD, X[:1], "1 sample"),
        (FOLD, np.ones((5, 3)), "constant"),
        ({}, np.where(X > 1, X, np.nan), "NaN"),
        ({"missing": "nan"}, np.where(X > 1, X, np.nan), "missing"),
    ],
    ids=lambda value: "" if isinstance(value, np.ndarray) else str(value),
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_refusals(asked, x, said, method):
    with pytest.raises(ValueError, match=said):
        getattr(made().set_params(**asked), method)(x)


# --- transform, and back ------------------------------------------------------------------------------------


def encoded(e, x):
    """W of rows by the formulas, from the weights of the network."""
    net, h = network_of(e._encoder), None
    view = e._encoder.state.current["view"]
    if view:
        scale = np.where(view["scale"] > 0, view["scale"], np.inf)
        z = (x - view["mean"]) / scale
        x = np.hstack((np.maximum(z, 0), np.maximum(-z, 0)))
    for i in range(1, 4):
        h = 1 / (1 + np.exp(-(x @ net[f"u{i}"] + (0 if h is None else h @ net[f"v{i}"]))))
    return h


CASES = [(IGMDSR, {}), (IGMDSR, FOLD), (IGMDSRRelaxed, {"output": "relu", **FOLD}), (IGMDSR, {"batch_size": "full"})]


@pytest.mark.parametrize(("kind", "options"), CASES, ids=str)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_transform_is_one_pass_through_the_network(kind, options, method):
    x = SIGNED if FOLD.items() <= options.items() else X
    e = getattr(made(kind, **options), method)(x[:60])
    w = e.transform(x[60:])
    np.testing.assert_allclose(w, encoded(e, x[60:]), rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(np.vstack([e.transform(row[None]) for row in x[60:]]), w, rtol=1e-10, atol=1e-15)
    e.set_params(max_iter=1, tol=1.0)
    np.testing.assert_array_equal(e.transform(x[60:]), w)
    np.testing.assert_allclose(e.transform(sp.csr_array(x[60:])), w, rtol=1e-9, atol=1e-15)


@BOTH
@pytest.mark.parametrize("ending", [{}, {"checkpoint": "accuracy"}, {"polish": "end"}, {"batch_size": "full"}], ids=str)
def test_rows_of_the_fit_are_those_of_transform(kind, ending):
    e = made(kind, **ending)
    np.testing.assert_allclose(e.fit_transform(X), e.transform(X), rtol=1e-10)
    np.testing.assert_allclose(e.inverse_transform(e.transform(X)), e.transform(X) @ e.components_, rtol=1e-10)


def test_what_is_restored_has_the_units_of_x():
    e = fitted(SIGNED, IGMDSRRelaxed, max_iter=60, rate=9e-3, batch_size=16, polish="end", **FOLD)
    assert e.components_.shape == (4, 48)
    w, view = e.transform(SIGNED), e.result_.state.current["view"]
    back = e.inverse_transform(w)
    y = w @ e.components_
    np.testing.assert_allclose(back, (y[:, :24] - y[:, 24:]) * view["scale"] + view["mean"], rtol=1e-10)
    np.testing.assert_allclose(back[:, 5], 2.5, rtol=1e-12)  # a constant column
    assert np.linalg.norm(SIGNED - back) < 0.6 * np.linalg.norm(SIGNED)
    np.testing.assert_allclose(e.inverse_transform(sp.csr_array(w)), back, rtol=1e-12)
    names = [f"column {i} {side}" for side in ("high", "low") for i in range(24)]
    assert e.result_.model.columns([f"column {i}" for i in range(24)]) == names


def test_relu_cuts_off_what_is_restored():
    e = fitted(X, IGMDSRRelaxed, output="relu", start="glorot", max_iter=2)
    y = e.transform(X) @ e.components_
    assert y.min() < 0
    np.testing.assert_allclose(e.inverse_transform(e.transform(X)), np.maximum(y, 0), rtol=1e-10)


@BOTH
@pytest.mark.parametrize("output", ["linear", "relu"])
@pytest.mark.parametrize("more", [{}, FOLD, {"checkpoint": "accuracy"}, {"checkpoint": "last"}], ids=str)
def test_the_error_is_that_of_what_is_factorized(kind, output, more):
    e = fitted(X, kind, output=output, start="glorot", **more)
    view = e.result_.state.current["view"]
    z = (X - view["mean"]) / view["scale"] if view else X
    y = np.hstack((np.maximum(z, 0), np.maximum(-z, 0))) if view else X
    product = e.transform(X) @ e.components_
    product = np.maximum(product, 0) if output == "relu" else product
    np.testing.assert_allclose(e.reconstruction_err_, np.linalg.norm(y - product), rtol=1e-9)
    np.testing.assert_allclose(e.objective_, e.reconstruction_err_**2 / 2, rtol=1e-9)


# --- in programs --------------------------------------------------------------------------------------------


def test_in_a_pipeline_grid_search_and_pickled():
    y = (X[:, 0] > np.median(X[:, 0])).astype(int)
    pipe = make_pipeline(IGMDSR(4, random_state=0, threads=1, max_iter=30, batch_size=16), KNeighborsClassifier(3))
    search = GridSearchCV(pipe, {"igmdsr__hidden_sizes": [(9, 6), "geometric"]}, cv=2).fit(X, y)
    assert search.best_score_ > 0.6
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict(X), search.predict(X))


def test_names():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=[f"f{i}" for i in range(24)])
    e = made(IGMDSRRelaxed).set_output(transform="pandas").fit(frame)
    assert list(e.transform(frame).columns) == [f"igmdsrrelaxed{i}" for i in range(4)]
    assert list(e.feature_names_in_) == list(frame.columns)


def test_every_parameter_and_attribute_is_documented():
    text = (Path(__file__).parents[1] / "docs" / "estimators.md").read_text("utf-8")
    left = [*vars(fitted(X)), *vars(trained(X, times=1))]
    named = [n for n in left if n.endswith("_") and not n.startswith("_")]
    named += set(IGMDSR().get_params()) - set(NMF().get_params())
    assert [name for name in named if f"`{name}`" not in text] == []


# --- real data ----------------------------------------------------------------------------------------------


def test_digits_keep_their_neighbours():
    """Rows of new digits lie by rows of the same digit, after a training batch by batch."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    e = IGMDSR(16, random_state=0, threads=1, batch_size=32, rate=3e-3)
    for _ in range(8):
        for rows in np.array_split(np.arange(1400), 4):
            e.partial_fit(x[rows] / 16)
    near = KNeighborsClassifier(5).fit(e.transform(x[:1400] / 16), y[:1400])
    assert near.score(e.transform(x[1400:] / 16), y[1400:]) > 0.9
