"""AGD keeps scikit-learn's contract, takes data of either sign, and gives what the fit itself holds."""

from __future__ import annotations

from pathlib import Path
from unittest import SkipTest

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import nnls

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install nmfkit[sklearn]")

from sklearn.base import clone
from sklearn.utils import estimator_checks

import nmfkit
from nmfkit.estimators import AGD, estimator

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
H = RNG.normal(size=(4, 12))
X = RNG.dirichlet(np.full(4, 0.3), size=150) @ H
QUICK = {"random_state": 0, "threads": 1}


def checks():
    """Scikit-learn's checks of an estimator, none left out."""
    made = AGD(2)
    if hasattr(estimator_checks, "estimator_checks_generator"):
        found = estimator_checks.estimator_checks_generator(made)
    else:  # scikit-learn 1.5
        found = estimator_checks.check_estimator(made, generate_only=True)
    yield from (pytest.param(e, check, id=check.func.__name__) for e, check in found)


@pytest.mark.parametrize(("estimator", "check"), list(checks()))
@pytest.mark.filterwarnings("ignore")  # as scikit-learn runs them: they fit matrices that users are cautioned about
def test_contract(estimator, check):
    try:
        check(estimator)
    except SkipTest as reason:
        pytest.skip(str(reason))


def test_it_takes_data_of_either_sign():
    e = AGD(4)
    assert estimator("agd") is type(e)
    assert (e.init, e.codes) == ("auto", "nnls")
    assert not e.__sklearn_tags__().input_tags.positive_only
    assert (X < 0).any()


def test_what_a_fit_leaves():
    e = AGD(4, **QUICK)
    w = e.fit_transform(X)
    result = e.result_
    np.testing.assert_array_equal(w, result.w)
    np.testing.assert_array_equal(e.components_, result.h)
    assert (w >= 0).all()
    assert (e.components_ < 0).any()
    np.testing.assert_allclose(e.reconstruction_err_, np.linalg.norm(X - w @ e.components_), rtol=1e-3)
    assert e.reconstruction_err_ < 1e-3 * np.linalg.norm(X)
    assert result.problem.init == "spa"
    np.testing.assert_array_equal(clone(e).fit(X).components_, e.components_)


def test_transform_is_nonnegative_least_squares():
    e = AGD(4, **QUICK).fit(X)
    found = e.transform(X[:20])
    exact = np.array([nnls(e.components_.T, row)[0] for row in X[:20]])
    np.testing.assert_allclose(found, exact, atol=1e-6)
    np.testing.assert_allclose(e.inverse_transform(found), found @ e.components_)
    np.testing.assert_allclose(e.transform(sp.csr_array(X[:20])), found, atol=1e-9)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"alpha": -1}, "alpha must"),
        ({"n_components": (4, 2)}, "one rank"),
        ({"codes": "hard"}, "codes must"),
        ({"init": "sobol"}, "sobol"),
    ],
    ids=str,
)
def test_refusals(asked, said):
    with pytest.raises(ValueError, match=said):
        AGD(**{"n_components": 4, **QUICK, **asked}).fit(X)


def test_every_attribute_is_documented():
    text = (Path(__file__).parents[1] / "docs" / "estimators.md").read_text("utf-8")
    fitted = AGD(4, **QUICK).fit(X)
    named = [n for n in vars(fitted) if n.endswith("_") and not n.startswith("_")]
    assert [name for name in named if f"`{name}`" not in text] == []
    own = set(fitted.get_params()) - set(nmfkit.estimators.NMF().get_params())
    assert [name for name in own if f"`{name}`" not in text] == []
