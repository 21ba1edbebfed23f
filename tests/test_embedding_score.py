"""`score` tells what the rows of W keep of neighbourhoods and of classes, wherever X is."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from positive import X
from typer.testing import CliRunner

import nmfkit
from nmfkit.blocks import Dense
from nmfkit.cli.app import app
from nmfkit.embedding import by_class as by_class_module
from nmfkit.embedding import of_run, quality
from nmfkit.errors import UsageError
from nmfkit.score import score
from nmfkit.sources.convert import convert
from nmfkit.testing import Chunked

CLASSES = np.arange(len(X)) % 3
QUICK = {"rank": 3, "max_sweeps": 5, "tol": 0}


@pytest.fixture(scope="module")
def fit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embedding")
    np.save(folder / "x.npy", X)
    nmfkit.fit(folder / "x.npy", out=folder / "run.zarr", **QUICK)
    return nmfkit.load(folder / "run.zarr")


def cuts(m, step):
    return [(lo, min(m, lo + step)) for lo in range(0, m, step)]


def told(*arguments):
    found = CliRunner().invoke(app, ["score", *map(str, arguments)])
    assert found.exit_code == 0, found.output
    return found.stdout


def test_what_is_asked_of_a_run_is_what_the_matrices_give(fit):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    found = score(fit, labels=CLASSES, neighbours=[5, 2]).embedding
    assert found == quality(X, fit.w, CLASSES, neighbours=[2, 5])
    assert (found.rows, found.whole) == (90, 90)
    some = score(fit, labels=CLASSES, neighbours="5", sample=40).embedding
    assert some == quality(X, fit.w, CLASSES, sample=40)
    assert (some.rows, some.classes.rows) == (40, 40)
    assert score(fit).embedding is None
    assert score(fit, labels=CLASSES).embedding.preserved == ()


def test_rows_without_a_class_are_compared_with_their_neighbours_all_the_same(fit):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    some = np.where(np.arange(90) < 50, CLASSES, -1)
    found = score(fit, labels=some, neighbours=5, sample=45).embedding
    assert found == quality(X, fit.w, some, sample=45)
    assert (found.rows, found.classes.rows) == (45, 45)
    assert found.preserved == score(fit, neighbours=5, sample=45).embedding.preserved


def test_data_in_a_store_or_in_blocks_are_the_same_data(fit, tmp_path):
    convert(nmfkit.open_source(X), tmp_path / "x.zarr", chunk_mb=0.002)
    run = nmfkit.fit(tmp_path / "x.zarr", out=tmp_path / "run.zarr", **QUICK)
    for sample in (None, 40, "all"):
        wanted = quality(X, run.w, neighbours=4, sample=sample).preserved
        assert score(run, neighbours=4, sample=sample).embedding.preserved == wanted
        assert score(run, neighbours=4, sample=sample, threads=2).embedding.preserved == wanted
    fitted = run.transform(X[:60], max_sweeps=200, tol=1e-5)
    wanted = quality(X[:60], fitted, neighbours=4).preserved[0].trustworthiness
    for given in (X[:60], Chunked(X[:60], cuts(60, 7))):
        found = score(run, given, neighbours=4).embedding
        assert found.preserved[0].trustworthiness == pytest.approx(wanted, abs=0.01)


def test_rows_that_do_not_fit_the_memory_are_fewer_or_read_by_blocks(fit, monkeypatch):
    apart = Chunked(X, cuts(90, 11))
    monkeypatch.setattr(of_run, "_row_bytes", lambda source: 2**20)
    monkeypatch.setattr("nmfkit.embedding.asked.ROWS", 80)
    few = score(fit, apart, neighbours=4, memory="400MiB").embedding
    assert (few.rows, few.notes) == (50, ("50 rows are drawn in place of 80, so that they fit the memory",))
    with pytest.raises(UsageError, match=r"a sample of 60 rows takes 60.0 MiB, and may take 50.0 MiB, .*--sample all"):
        score(fit, apart, neighbours=4, memory="400MiB", sample=60)
    with pytest.raises(UsageError, match="a sample of 80 rows"):
        score(fit, apart, neighbours=30, memory="400MiB")
    every = score(fit, apart, neighbours=4, memory="400MiB", sample="all").embedding
    assert every.preserved == score(fit, X, neighbours=4, sample="all", memory="400MiB").embedding.preserved


def test_a_model_with_several_levels_is_judged_by_the_first(tmp_path):
    run = nmfkit.fit(X, model="deep-nmf", rank=(4, 2), max_sweeps=3, tol=0)
    found = score(run, X, neighbours=5).embedding
    assert 0.5 < found.preserved[0].trustworthiness[0] <= 1


# --- models that embed, and models that factorize something else ---------------------------------------------


def test_a_model_that_embeds_is_judged_unasked(fit, monkeypatch):
    monkeypatch.setattr(type(fit.model), "embeds", True, raising=False)
    assert score(fit).embedding == quality(X, fit.w)
    assert score(fit, sample=30).embedding == quality(X, fit.w, sample=30)
    assert score(fit, neighbours=3).embedding == quality(X, fit.w, neighbours=3)
    assert score(fit, X[:10]).embedding is None  # too few for 5 neighbours
    monkeypatch.setattr(type(fit.model), "embeds", False)
    assert score(fit).embedding is None


@pytest.mark.parametrize("all_alike", [False, True])
def test_beside_x_and_beside_what_is_made_of_it(fit, monkeypatch, all_alike):
    scale = np.ones(X.shape[1]) if all_alike else np.logspace(0, 3, X.shape[1])
    model = type(fit.model)
    view = (lambda self, x, shared: x) if all_alike else lambda self, x, shared: Dense(x.dense() * scale, x.first)
    for name, value in (
        ("view", view),
        ("columns", lambda self, names: names),
        ("restored", lambda self, w, shared: w),
    ):
        monkeypatch.setattr(model, name, value, raising=False)
    found = score(fit, neighbours=[2, 5]).embedding.preserved
    sides = [("X", X)] if all_alike else [("X", X), ("view", X * scale)]
    assert [one.against for one in found] == [name for name, _ in sides]
    for one, (_, data) in zip(found, sides, strict=True):
        wanted = quality(data, fit.w, neighbours=[2, 5]).preserved[0]
        assert (one.trustworthiness, one.continuity) == (wanted.trustworthiness, wanted.continuity)
    text = told(fit.path, "--neighbours", "5")
    assert ("5 of Y" in text, "a few columns of large scale" in text) == (not all_alike, not all_alike)


# --- what is refused ------------------------------------------------------------------------------------------


def test_similarities_are_no_coordinates(monkeypatch):
    a = X[:40] @ X[:40].T
    run = nmfkit.fit(a, model="symnmf", **QUICK)
    with pytest.raises(UsageError, match="'symnmf' factorizes similarities, which are no coordinates"):
        score(run, a, neighbours=5)
    monkeypatch.setattr(type(run.model), "embeds", True, raising=False)
    assert score(run, a).embedding is None


def test_missing_entries_have_no_distance(monkeypatch):
    mask = np.random.default_rng(0).random(X.shape) < 0.9
    run = nmfkit.fit(X, mask=mask, **QUICK)
    with pytest.raises(UsageError, match=r"neighbours: .* missing or have weights"):
        score(run, X, mask=mask, neighbours=5)
    monkeypatch.setattr(type(run.model), "embeds", True, raising=False)
    assert score(run, X, mask=mask).embedding is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"neighbours": 45}, "neighbours 45: .* of 90 rows need fewer than 45"),
        ({"neighbours": 10, "sample": 20}, "neighbours 10: .* of 20 rows"),
        ({"neighbours": "5,none"}, "neighbours 'none' is not a whole number"),
        ({"neighbours": 5, "sample": "some"}, "sample 'some' is not"),
        ({"sample": 40}, "neighbours and labels .* give one of these"),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_data_are_read(fit, options, said, monkeypatch):
    monkeypatch.setattr("nmfkit.score.executing", None)
    with pytest.raises(UsageError, match=said):
        score(fit, **options)


def test_without_scikit_learn_labels_are_compared_with_groups_alone(fit, monkeypatch):
    monkeypatch.setattr(by_class_module, "find_spec", lambda name: None)
    found = score(fit, labels=CLASSES)
    assert found.clustering.compared == 90
    assert (found.embedding.classes.knn, found.embedding.classes.kmeans) == (None, None)
    assert "scikit-learn is not installed" in found.embedding.classes.notes[0]


# --- the command ----------------------------------------------------------------------------------------------


def test_the_command_on_the_digits(tmp_path):
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    digits = datasets.load_digits()
    np.save(tmp_path / "x.npy", digits.data / 16)
    np.save(tmp_path / "y.npy", digits.target)
    run = tmp_path / "run.zarr"
    nmfkit.fit(tmp_path / "x.npy", rank=16, out=run)
    asked = (run, "--labels", tmp_path / "y.npy", "--neighbours", "10,5", "--neighbours", "20")
    text, plain = told(*asked), json.loads(told(*asked, "--json"))["embedding"]
    (kept,) = plain["preserved"]
    assert (kept["against"], kept["neighbours"]) == ("X", [5, 10, 20])
    assert kept["trustworthiness"][0] > 0.97 > 0.95 < kept["trustworthiness"][2] < kept["trustworthiness"][0]
    for k, trust, other in zip((5, 10, 20), kept["trustworthiness"], kept["continuity"], strict=True):
        assert re.search(rf"^  {k} of X +{trust:.4f} +{other:.4f}$", text, re.MULTILINE)
    knn, kmeans = plain["classes"]["knn"], plain["classes"]["kmeans"]
    assert knn["accuracy"] > 0.85
    assert re.search(rf"5-NN accuracy +{knn['accuracy']:.4f} +\(the largest class has 0\.1018\)", text)
    for name, measure in (("adjusted Rand", "ari"), ("NMI", "nmi"), ("AMI", "ami")):
        assert re.search(rf"^    {name} +{kmeans[measure]:.4f}$", text, re.MULTILINE)
    assert kmeans["ari"] > 0.2
    some = told(run, "--neighbours", "5", "--sample", "500")
    assert "Neighbourhoods, of 500 of 1,797 rows" in some
    assert "Rows of W" not in some


def test_an_option_without_sense_ends_the_command(fit):
    for options in (["--neighbours", "0"], ["--sample", "40"], ["--neighbours", "45"]):
        assert CliRunner().invoke(app, ["score", fit.path, *options]).exit_code == 2


def test_plain_values(fit):
    found = score(fit, neighbours=5)
    assert found.as_dict()["embedding"] == found.embedding.as_dict()
