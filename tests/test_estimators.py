"""Estimators keep scikit-learn's contract, mean the same by the same parameters, and reach its objective."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import SkipTest

import numpy as np
import pytest
import scipy.sparse as sp

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install nmfkit[sklearn]")

from positive import RNG, X, divergence
from sklearn import decomposition
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

import nmfkit
from nmfkit.errors import DataError, UsageError
from nmfkit.estimators import NMF

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

LOSSES = ("frobenius", "kullback-leibler", "itakura-saito", 1.5, 0.5, 3)


def objective(x, e, loss):
    """Scikit-learn's objective, by its documentation, at what `e` was fitted to."""
    w, h, (m, n) = e.fit_transform(x), e.components_, x.shape
    a_w, a_h, rho = e.alpha_W, e.alpha_W if e.alpha_H == "same" else e.alpha_H, e.l1_ratio
    penalty = a_w * rho * n * w.sum() + a_h * rho * m * h.sum()
    penalty += 0.5 * a_w * (1 - rho) * n * np.sum(w**2) + 0.5 * a_h * (1 - rho) * m * np.sum(h**2)
    return divergence(x, w, h, loss) + penalty


# --- scikit-learn's own checks ------------------------------------------------------------------------------


def checks():
    """Scikit-learn's checks of an estimator, none left out."""
    for made in (NMF(), NMF(missing="nan"), NMF(n_components=2, loss="kl")):
        if hasattr(estimator_checks, "estimator_checks_generator"):
            found = estimator_checks.estimator_checks_generator(made)
        else:  # scikit-learn 1.5
            found = estimator_checks.check_estimator(made, generate_only=True)
        yield from (pytest.param(e, check, id=f"{made}-{check.func.__name__}") for e, check in found)


@pytest.mark.parametrize(("estimator", "check"), list(checks()))
@pytest.mark.filterwarnings("ignore")  # as scikit-learn runs them: they fit matrices that users are cautioned about
def test_contract(estimator, check):
    try:
        check(estimator)
    except SkipTest as reason:
        pytest.skip(str(reason))


def test_every_parameter_and_attribute_is_documented():
    text = (Path(__file__).parents[1] / "docs" / "estimators.md").read_text("utf-8")
    fitted = NMF(2).fit(X)
    named = [*NMF().get_params(), *(n for n in vars(fitted) if n.endswith("_") and not n.startswith("_"))]
    assert [name for name in named if f"`{name}`" not in text] == []


# --- scikit-learn's parameters mean the same ----------------------------------------------------------------


def test_every_parameter_of_scikit_learn_is_there_with_its_default():
    theirs, ours = decomposition.NMF().get_params(), NMF().get_params()
    theirs["n_components"] = "auto"  # scikit-learn 1.5 warned of it
    assert {name: ours[name] for name in theirs} == theirs


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("alphas", [{}, {"alpha_W": 0.02, "l1_ratio": 0.4}, {"alpha_W": 0.01, "alpha_H": 0.003}])
def test_the_objective_is_scikit_learns_and_no_higher(loss, alphas):
    solver = "cd" if loss == "frobenius" else "mu"
    asked = {"n_components": 4, "solver": solver, "beta_loss": loss, "random_state": 0, **alphas}
    ours, theirs = NMF(**asked), decomposition.NMF(**asked)
    reached = objective(X, ours, loss)
    np.testing.assert_allclose(ours.objective_, reached, rtol=1e-9)
    assert reached <= objective(X, theirs, loss) * 1.001


@pytest.mark.parametrize("init", [None, "random", "nndsvd", "nndsvda", "nndsvdar"])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array], ids=["dense", "sparse"])
def test_starts(init, kind):
    x = kind(X)
    asked = {"n_components": 4, "init": init, "random_state": 1, "max_iter": 1000, "tol": 1e-6}
    ours, theirs = NMF(**asked).fit(x), decomposition.NMF(**asked).fit(x)
    assert ours.reconstruction_err_ <= theirs.reconstruction_err_ * 1.001


def test_a_random_start_is_scikit_learns_number_by_number():
    from sklearn.decomposition._nmf import _initialize_nmf

    from nmfkit.estimators.starts import drawn

    for x in (X, X.astype(np.float32), sp.csr_matrix(X)):
        w, h = _initialize_nmf(x, 3, init="random", random_state=5)
        ours = drawn(x, 3, 5)
        np.testing.assert_allclose(ours["w"], w, rtol=1e-6)
        np.testing.assert_allclose(ours["h"], h, rtol=1e-6)


@pytest.mark.parametrize(("fill", "level"), [("mean", 1.0), ("random", 0.02)])
def test_nndsvd_fills_zeros_as_scikit_learn_does(fill, level):
    plain, filled = (nmfkit.fit(X, rank=4, init=f"nndsvd:{f}", max_sweeps=0, rule="hals") for f in ("none", fill))
    zeros = plain.h == 0
    assert zeros.any()
    np.testing.assert_array_equal(filled.h[~zeros], plain.h[~zeros])
    assert filled.h[zeros].max() <= X.mean() * level * 3
    assert filled.h[zeros].min() > 0


def test_a_custom_start_is_gone_on_from():
    w, h = RNG.random((90, 3)) + 0.1, RNG.random((3, 24)) + 0.1
    e = NMF(init="custom", max_iter=1, tol=0).fit(X, W=w, H=h)
    again = nmfkit.fit(X, rank=3, w=w, h=h, max_sweeps=1, tol=0)
    assert e.n_components_ == 3
    np.testing.assert_allclose(e.components_, again.h)
    alone = NMF(3, init="custom", random_state=0).fit(X, H=h)  # W is drawn
    assert alone.components_.shape == (3, 24)
    with pytest.warns(RuntimeWarning, match="provided W or H are ignored"):
        NMF(3).fit(X, W=w, H=h)


def test_components_left_open():
    small = X[:, :4]
    assert NMF().fit(small).n_components_ == 4
    assert NMF(None).fit(small).n_components_ == 4


@pytest.mark.parametrize("solver", ["cd", "mu"])
def test_either_solver_takes_any_loss_and_the_rule_that_suits_it(solver):
    assert NMF(2, solver=solver).fit(X).result_.problem.rule == "hals"
    assert NMF(2, solver=solver, beta_loss=1).fit(X).result_.problem.rule == "mu"
    assert NMF(2, solver=solver, rule="scd", loss="kl").fit(X).result_.problem.rule == "scd"


def test_attributes():
    e = NMF(3, random_state=0).fit(X)
    assert e.components_.shape == (3, 24)
    assert (e.n_components_, e.n_features_in_, e.n_iter_) == (3, 24, e.result_.state.sweep)
    np.testing.assert_allclose(e.reconstruction_err_, np.linalg.norm(X - e.result_.w @ e.components_), rtol=1e-9)
    np.testing.assert_allclose(e.inverse_transform(e.transform(X)), e.transform(X) @ e.components_)
    assert list(e.get_feature_names_out()) == ["nmf0", "nmf1", "nmf2"]


def test_too_few_sweeps_are_warned_about_as_scikit_learn_does():
    with pytest.warns(ConvergenceWarning, match="Maximum number of iterations 2 reached"):
        NMF(3, max_iter=2).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        NMF(3, max_iter=2, tol=0).fit(X)


def test_verbose(capsys):
    NMF(3, max_iter=12, tol=0, verbose=1).fit(X)
    assert [line.split(" after")[0] for line in capsys.readouterr().out.splitlines()] == [
        "Sweep 000", "Sweep 010", "Sweep 012",
    ]  # fmt: skip


def test_shuffle_has_no_effect_and_says_so():
    with pytest.warns(nmfkit.Caution, match="shuffle has no effect"):
        shuffled = NMF(3, shuffle=True, random_state=0).fit(X)
    np.testing.assert_array_equal(shuffled.components_, NMF(3, random_state=0).fit(X).components_)


@pytest.mark.parametrize("state", [None, 4, np.random.RandomState(4)], ids=str)
def test_random_states(state):
    e = NMF(3, init="random", random_state=state)
    assert e.fit(X).objective_ > 0
    if isinstance(state, int):
        np.testing.assert_array_equal(e.components_, clone(e).fit(X).components_)


# --- what is wrong is said ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"solver": "pg"}, "solver 'pg' is not 'cd' or 'mu'"),
        ({"beta_loss": "huber"}, "beta_loss 'huber'"),
        ({"alpha_W": -1}, "alpha_W -1 is not a number ≥ 0"),
        ({"alpha_H": "other"}, "alpha_H 'other'"),
        ({"l1_ratio": 1.5}, "l1_ratio 1.5"),
        ({"max_iter": 0}, "max_iter 0"),
        ({"n_components": 0}, "n_components 0"),
        ({"n_components": 2.5}, "n_components 2.5"),
        ({"init": "nndsvda", "n_components": 25}, "can only be used when n_components"),
        ({"init": "custom"}, "needs starting factors"),
        ({"init": "sobol"}, "sobol"),
        ({"loss": "kl", "beta_loss": 0.5}, "both given"),
        ({"forget_factor": 2}, "forget_factor 2"),
        ({"tol": -1}, "tol -1"),
        ({"rule": "hals", "loss": "kl"}, "rule 'hals' needs"),
    ],
    ids=str,
)
def test_parameters_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said) as caught:
        NMF(**{"n_components": 2, **wrong}).fit(X)
    assert isinstance(caught.value, UsageError)


def test_all_faults_at_once():
    with pytest.raises(ValueError, match=r"(?s)solver.*l1_ratio.*max_iter"):
        NMF(2, solver="pg", l1_ratio=-1, max_iter=0).fit(X)


def test_zeros_under_itakura_saito_are_a_value_error():
    with pytest.raises(ValueError, match="infinite where the matrix is zero") as caught:
        NMF(2, solver="mu", beta_loss="itakura-saito").fit(np.eye(4))
    assert isinstance(caught.value, DataError)


def test_without_scikit_learn():
    code = "import sys; sys.modules['sklearn'] = None; from nmfkit.estimators import NMF"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'pip install "nmfkit[sklearn]"' in done.stderr


# --- as part of a scikit-learn program ----------------------------------------------------------------------


def test_pipeline_grid_search_and_copies():
    y = (X[:, 0] > np.median(X[:, 0])).astype(int)
    pipe = make_pipeline(NMF(init="nndsvda", max_iter=30, threads=1), GaussianNB())
    search = GridSearchCV(pipe, {"nmf__n_components": [2, 4], "nmf__beta_loss": ["frobenius", 1]}, cv=2).fit(X, y)
    assert search.best_score_ > 0.6
    best = search.best_estimator_
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(best)).predict(X), best.predict(X))


def test_pandas():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=[f"f{i}" for i in range(24)], index=[f"s{i}" for i in range(90)])
    e = NMF(2).set_output(transform="pandas").fit(frame)
    assert list(e.feature_names_in_) == list(frame.columns)
    out = e.transform(frame)
    assert list(out.columns) == ["nmf0", "nmf1"]
    assert list(out.index) == list(frame.index)


SPARSE = [f"{form}_{kind}" for form in ("csr", "csc", "coo", "lil") for kind in ("matrix", "array")]


def forbid_densifying(monkeypatch):
    """Let no sparse matrix become an array, but for single rows."""
    for form in {name.split("_")[0] for name in SPARSE}:
        for kind in ("matrix", "array"):
            one = getattr(sp, f"{form}_{kind}")

            def toarray(self, *args, _own=one.toarray, **more):
                assert self.shape[0] <= 1, "the matrix was made dense"
                return _own(self, *args, **more)

            monkeypatch.setattr(one, "toarray", toarray)


@pytest.mark.parametrize("form", SPARSE)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_sparse(form, dtype, monkeypatch):
    x = np.where(np.median(X) < X, np.ceil(X), 0).astype(dtype)
    whole = NMF(3, solver="mu", beta_loss=1, random_state=0, max_iter=20).fit(x)
    made = getattr(sp, form)(x)
    forbid_densifying(monkeypatch)
    e = clone(whole).fit(made)
    np.testing.assert_allclose(e.components_, whole.components_, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(e.transform(made), whole.transform(x), rtol=1e-2, atol=1e-3)


# --- real data: scikit-learn's objective or lower -----------------------------------------------------------


def digits():
    from sklearn.datasets import load_digits

    return load_digits().data


def documents():
    source = nmfkit.open_source("sample:python-docs")
    block = source.read(0, source.shape[0])
    return sp.csr_matrix((block.values, block.indices, block.indptr), shape=source.shape)


def faces(folder):
    with np.load(folder / "faces" / "olivetti.npz", allow_pickle=False) as found:
        return found["X"].astype(np.float32) / 255 + np.float32(1e-3)


def no_worse(x, slack=1.0005, **asked):
    ours, theirs = NMF(random_state=0, **asked), decomposition.NMF(random_state=0, **asked)
    assert ours.fit(x).reconstruction_err_ <= theirs.fit(x).reconstruction_err_ * slack


@pytest.mark.parametrize("init", [None, "random", "nndsvd"])
def test_digits(init):
    no_worse(digits(), n_components=10, init=init)


@pytest.mark.parametrize("loss", ["frobenius", "kullback-leibler", "itakura-saito"])
def test_digits_by_multiplicative_updates(loss):
    no_worse(digits() + (1.0 if loss == "itakura-saito" else 0.0), n_components=8, solver="mu", beta_loss=loss)


@pytest.mark.parametrize(("solver", "loss"), [("cd", "frobenius"), ("mu", "kullback-leibler")])
def test_documents(solver, loss):
    no_worse(documents(), n_components=6, solver=solver, beta_loss=loss, max_iter=100)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["frobenius", "kullback-leibler", "itakura-saito"])
def test_faces(loss, data_dir):
    no_worse(faces(Path(data_dir)), n_components=12, solver="cd" if loss == "frobenius" else "mu", beta_loss=loss)


@pytest.mark.slow
def test_workers(tmp_path):
    np.save(tmp_path / "x.npy", X)
    e = NMF(3, init="nndsvda", workers=2).fit(os.fspath(tmp_path / "x.npy"))
    np.testing.assert_allclose(e.objective_, NMF(3, init="nndsvda").fit(X).objective_, rtol=1e-6)
