"""DeepNMF keeps scikit-learn's contract, and gives at every level what the fit itself holds."""

from __future__ import annotations

from pathlib import Path
from unittest import SkipTest

import numpy as np
import pytest
import scipy.sparse as sp

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install nmfkit[sklearn]")

from positive import X
from sklearn.base import clone
from sklearn.utils import estimator_checks

import nmfkit
from nmfkit.errors import Caution
from nmfkit.estimators import DeepNMF, LayeredEstimator

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SIDES = pytest.mark.parametrize("side", ["coefficients", "components"])
QUICK = {"loss": "kl", "max_iter": 15, "random_state": 0, "init_sweeps": 30, "threads": 1}


def checks():
    """Scikit-learn's checks of an estimator, none left out."""
    # Of squared error, 200 multiplicative sweeps leave more than the hundredth that these checks allow.
    rows, features = DeepNMF((3, 2), loss="kl"), DeepNMF((3, 2), loss="kl", side="components", normalize="w")
    for made, marks in ((rows, ()), (features, pytest.mark.slow)):
        if hasattr(estimator_checks, "estimator_checks_generator"):
            found = estimator_checks.estimator_checks_generator(made)
        else:  # scikit-learn 1.5
            found = estimator_checks.check_estimator(made, generate_only=True)
        named = ((e, check, f"{made.side}-{check.func.__name__}") for e, check in found)
        yield from (pytest.param(e, check, id=name, marks=marks) for e, check, name in named)


@pytest.mark.parametrize(("estimator", "check"), list(checks()))
@pytest.mark.filterwarnings("ignore")  # as scikit-learn runs them: they fit matrices that users are cautioned about
def test_contract(estimator, check):
    try:
        check(estimator)
    except SkipTest as reason:
        pytest.skip(str(reason))


@SIDES
def test_every_level_is_that_of_the_result(side):
    e = DeepNMF((6, 4, 2), side=side, **QUICK).fit(X)
    assert isinstance(e, LayeredEstimator)
    levels = e.result_.levels
    assert [c.shape for c in e.components_per_level_] == [(6, 24), (4, 24), (2, 24)]
    for level, components in zip(levels, e.components_per_level_, strict=True):
        np.testing.assert_array_equal(level.components, components)
    np.testing.assert_array_equal(e.components_, levels[-1].components)
    assert e.n_components_ == 2
    np.testing.assert_array_equal(clone(e).fit_transform(X), levels[-1].coefficients)


@SIDES
def test_transform_is_the_last_of_the_levels(side):
    e = DeepNMF((6, 4, 2), side=side, **QUICK).fit(X)
    found = e.transform_levels(X[:30])
    assert [f.shape for f in found] == [(30, 6), (30, 4), (30, 2)]
    np.testing.assert_array_equal(found[-1], e.transform(X[:30]))
    np.testing.assert_allclose(e.inverse_transform(found[-1]), found[-1] @ e.components_)
    straight = e.result_.transform(X[:30], max_sweeps=e.max_iter, tol=0.1 * e.tol)
    for ours, theirs in zip(found, straight.values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_its_errors_are_those_of_the_layers():
    e = DeepNMF((6, 4), **QUICK).fit(X)
    f = e.result_.factors
    y = f["w1"] @ f["h1"]
    first = float(np.sum(X * np.log(X / y) - X + y))
    np.testing.assert_allclose(e.reconstruction_err_, np.sqrt(2 * first), rtol=1e-9)
    losses = e.layer_losses_
    np.testing.assert_allclose(losses.end[0], first, rtol=1e-9)
    np.testing.assert_allclose(e.objective_, np.dot(losses.weights, losses.end), rtol=1e-9)
    assert len(losses.start) == len(losses.end) == 2


def test_a_single_number_is_one_layer_and_says_so():
    with pytest.warns(Caution, match="one rank makes one layer"):
        e = DeepNMF(3, **QUICK).fit(X)
    assert [f.shape for f in e.transform_levels(X)] == [(90, 3)]
    np.testing.assert_array_equal(e.transform(X), e.transform_levels(X)[0])


def test_parameters_reach_the_model():
    e = DeepNMF((6, 4), side="components", normalize="w", weights=(4, 1), raw=True, **QUICK).fit(X)
    model = e.result_.model
    assert (model.side, model.normalize, model.weights, model.raw) == ("components", "w", (4.0, 1.0), True)
    assert e.layer_losses_.weights == (4.0, 1.0)
    np.testing.assert_allclose(e.result_.factors["w2"].sum(axis=0), 1, rtol=1e-9)
    assert "rule" not in e.get_params()


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"n_components": ()}, "no rank is given"),
        ({"n_components": (3, 0)}, "rank 0 is not a whole number"),
        ({"n_components": "auto"}, "'auto' is not a whole number"),
        ({"weights": (1, 2)}, "weights has 2 numbers, and there are 3 layers"),
        ({"side": "rows"}, "side must be coefficients or components, not 'rows'"),
        ({"pilot": 20}, "model 'deep-nmf' cannot go on from the fit of some rows"),
    ],
)
def test_refusals(asked, text):
    with pytest.raises(ValueError, match=text):
        DeepNMF(**{"n_components": (6, 4, 2), **QUICK, **asked}).fit(X)


def test_kinds_of_data_and_precisions():
    whole = DeepNMF((5, 3), **QUICK).fit(X)
    sparse = DeepNMF((5, 3), **QUICK).fit(sp.csr_array(X))
    np.testing.assert_allclose(sparse.components_, whole.components_, rtol=1e-6)
    single = DeepNMF((5, 3), **QUICK).fit(X.astype(np.float32))
    assert {f.dtype for f in (*single.components_per_level_, *single.transform_levels(X[:5].astype("f4")))} == {
        np.dtype("f4")
    }
    named = DeepNMF((5, 3), **QUICK).set_output(transform="pandas").fit_transform(X)
    assert list(named.columns) == ["deepnmf0", "deepnmf1", "deepnmf2"]


def test_every_attribute_is_documented():
    text = (Path(__file__).parents[1] / "docs" / "estimators.md").read_text("utf-8")
    fitted = DeepNMF((4, 2), **QUICK).fit(X)
    named = [n for n in vars(fitted) if n.endswith("_") and not n.startswith("_")]
    assert [name for name in named if f"`{name}`" not in text] == []
    own = set(fitted.get_params()) - set(nmfkit.estimators.NMF().get_params())
    assert [name for name in own if f"`{name}`" not in text] == []
