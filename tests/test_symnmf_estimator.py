"""SymNMF keeps scikit-learn's contract, of similarities as of features, and gives what the fit itself holds."""

from __future__ import annotations

import pickle
from pathlib import Path
from unittest import SkipTest

import numpy as np
import pytest
import scipy.sparse as sp

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install nmfkit[sklearn]")

from sklearn.base import clone, is_clusterer
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks

import nmfkit
from nmfkit.errors import UsageError
from nmfkit.estimators import SymmetricEstimator, SymNMF, estimator

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

FEATURES, CLASSES = make_blobs(n_samples=90, centers=3, n_features=4, cluster_std=1.0, random_state=3)
NOISE = np.random.default_rng(0).random((60, 60))
BLOCKS = np.kron(np.eye(3), np.ones((20, 20))) + 0.05 * (NOISE + NOISE.T)
QUICK = {"max_iter": 60, "random_state": 0, "threads": 1}


# --- scikit-learn's own checks ------------------------------------------------------------------------------

OF_FEATURES = "it clusters 50 × 2 features, and this estimator takes similarities"


def checks():
    """Scikit-learn's checks of an estimator, none left out."""
    # Rows of the fit are those of `transform` where the fit has converged.
    similarities, features = SymNMF(2, tol=1e-9, max_iter=3000), SymNMF(3, affinity="knn:5,local=5")
    for made in (similarities, features):
        if hasattr(estimator_checks, "estimator_checks_generator"):
            found = estimator_checks.estimator_checks_generator(made)
        else:  # scikit-learn 1.5
            found = estimator_checks.check_estimator(made, generate_only=True)
        for e, check in found:
            marks = [pytest.mark.slow] if made is similarities else []
            if made is similarities and check.func.__name__ == "check_clustering":
                marks.append(pytest.mark.xfail(raises=ValueError, strict=True, reason=OF_FEATURES))
            yield pytest.param(e, check, id=f"{made.affinity}-{check.func.__name__}", marks=marks)


@pytest.mark.parametrize(("estimator", "check"), list(checks()))
@pytest.mark.filterwarnings("ignore")  # as scikit-learn runs them: they fit matrices that users are cautioned about
def test_contract(estimator, check):
    try:
        check(estimator)
    except SkipTest as reason:
        pytest.skip(str(reason))


# --- what it is ---------------------------------------------------------------------------------------------


def test_it_is_a_clusterer_of_similarities():
    e = SymNMF()
    assert isinstance(e, SymmetricEstimator)
    assert is_clusterer(e)
    assert (e.affinity, e.init, e.rule) == ("precomputed", "auto", "auto")
    assert estimator("symnmf") is type(e)
    assert e.__sklearn_tags__().input_tags.pairwise
    assert not e.__sklearn_tags__().input_tags.positive_only
    assert not SymNMF(affinity="knn").__sklearn_tags__().input_tags.pairwise
    assert hasattr(e, "transform")
    assert not hasattr(SymNMF(affinity="cosine"), "transform")


@pytest.mark.parametrize("rule", ["symhals", "symanls", "symmu", "fixedpoint"])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array], ids=["dense", "sparse"])
def test_what_a_fit_leaves(rule, kind):
    e = SymNMF(3, rule=rule, **QUICK)
    labels = e.fit_predict(kind(BLOCKS))
    result = e.result_
    np.testing.assert_array_equal(labels, e.labels_)
    np.testing.assert_array_equal(labels, result.labels)
    assert adjusted_rand_score(np.repeat(range(3), 20), labels) == 1
    np.testing.assert_array_equal(e.embedding_, result.w)
    np.testing.assert_array_equal(e.components_, result.h)
    np.testing.assert_allclose(e.reconstruction_err_, np.linalg.norm(BLOCKS - result.w @ result.h), rtol=1e-7)
    assert e.objective_ >= 0.5 * e.reconstruction_err_**2 * (1 - 1e-9)
    assert e.n_features_in_ == 60
    assert not hasattr(e, "affinity_matrix_")
    np.testing.assert_array_equal(clone(e).fit_transform(kind(BLOCKS)), e.embedding_)


def test_rows_of_zeros_have_no_label():
    padded = np.zeros((62, 62))
    padded[:60, :60] = BLOCKS
    e = SymNMF(3, **QUICK).fit(padded)
    assert e.labels_[60:].tolist() == [-1, -1]
    assert set(e.labels_[:60]) == {0, 1, 2}


def test_transform_fits_similarities_to_the_nodes_of_the_fit():
    e = SymNMF(3, tol=1e-10, max_iter=2000).fit(BLOCKS)
    np.testing.assert_allclose(e.transform(BLOCKS), e.embedding_, atol=1e-3)
    np.testing.assert_array_equal(np.argmax(e.transform(BLOCKS[[0, 25, 45]]), axis=1), e.labels_[[0, 25, 45]])
    np.testing.assert_allclose(e.inverse_transform(e.embedding_), e.embedding_ @ e.components_)
    assert list(e.get_feature_names_out()) == ["symnmf0", "symnmf1", "symnmf2"]


@pytest.mark.parametrize("affinity", ["knn", "knn:6,local=5", "cosine:8"])
def test_similarities_made_of_features(affinity):
    x = StandardScaler().fit_transform(FEATURES) if affinity.startswith("knn") else np.abs(FEATURES)
    e = SymNMF(3, affinity=affinity, **QUICK).fit(x)
    made = nmfkit.similarity(x, affinity)
    assert abs(e.affinity_matrix_ - made).max() == 0
    straight = SymNMF(3, **QUICK).fit(made)
    np.testing.assert_array_equal(e.labels_, straight.labels_)
    np.testing.assert_array_equal(e.embedding_, straight.embedding_)
    assert (e.n_features_in_, straight.n_features_in_) == (4, 90)
    if affinity == "knn":
        assert adjusted_rand_score(CLASSES, e.labels_) > 0.95


def test_in_a_pipeline_and_pickled():
    pipe = make_pipeline(StandardScaler(), SymNMF(3, affinity="knn", **QUICK))
    labels = pipe.fit_predict(FEATURES)
    assert adjusted_rand_score(CLASSES, labels) > 0.95
    again = pickle.loads(pickle.dumps(pipe))
    np.testing.assert_array_equal(again[-1].labels_, labels)
    np.testing.assert_array_equal(clone(pipe).fit_predict(FEATURES), labels)


@pytest.mark.parametrize(
    ("asked", "x", "said"),
    [
        ({}, FEATURES, "90 × 4"),
        ({}, BLOCKS + np.triu(BLOCKS), "not symmetric"),
        ({"affinity": "rbf"}, FEATURES, "rbf"),
        ({"affinity": "knn"}, FEATURES[:1], "1 sample"),
        ({"affinity": "knn"}, np.where(FEATURES > 0, FEATURES, np.nan), "NaN"),
        ({"n_components": (3, 2)}, BLOCKS, "one rank"),
        ({"rule": "online"}, BLOCKS, "online"),
        ({"diagonal": "drop"}, BLOCKS, "diagonal must be"),
    ],
    ids=lambda value: str(value) if not isinstance(value, np.ndarray) else "",
)
def test_refusals(asked, x, said):
    with pytest.raises(ValueError, match=said):
        SymNMF(**{"n_components": 3, **QUICK, **asked}).fit(x)


def test_faults_are_of_this_project_too():
    with pytest.raises(UsageError, match="rbf"):
        SymNMF(3, affinity="rbf").fit(FEATURES)


def test_every_attribute_is_documented():
    text = (Path(__file__).parents[1] / "docs" / "estimators.md").read_text("utf-8")
    fitted = SymNMF(3, affinity="knn", **QUICK).fit(FEATURES)
    named = [n for n in vars(fitted) if n.endswith("_") and not n.startswith("_")]
    assert [name for name in named if f"`{name}`" not in text] == []
    own = set(fitted.get_params()) - set(nmfkit.estimators.NMF().get_params())
    assert [name for name in own if f"`{name}`" not in text] == []


@pytest.mark.slow
def test_digits():
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    labels = SymNMF(10, affinity="knn", tol=1e-5).fit_predict(x)
    assert nmfkit.clustering.agreement(labels, y).accuracy >= 0.80
