"""The deep model as a user meets it on the command line: what is fitted, shown, gone on with and refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from small import COUNTS
from typer.testing import CliRunner

import nmfkit
from nmfkit.cli.app import app

DEEP = ("--model", "deep-nmf", "--loss", "kl", "--model-option", "init_sweeps=20", "--threads", 1)
RANKS = ("--ranks", "8,4,2")


def run(*arguments, code=0):
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == code, done.output
    return done


def answered(*arguments):
    return json.loads(run(*arguments, "--json").stdout)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "counts.npy"
    np.save(path, COUNTS)
    return path


@pytest.fixture(scope="module")
def deep(data):
    path = data.parent / "deep.zarr"
    run("fit", data, "-o", path, *DEEP, *RANKS, "--max-sweeps", 6)
    return path


def test_ranks_stand_in_the_run_and_in_what_is_said_of_it(deep):
    result = nmfkit.load(deep)
    assert result.problem.ranks == (8, 4, 2)
    assert [level.components.shape for level in result.levels] == [(8, 40), (4, 40), (2, 40)]
    assert "deep-nmf, ranks 8, 4, 2, loss kl" in run("inspect", deep).stdout
    assert list(answered("inspect", deep)["components"]) == ["h1", "h2 h1", "h3 h2 h1"]


def test_no_rule_is_told_where_the_model_fixes_its_own(deep, data, tmp_path):
    assert answered("fit", data, "-o", tmp_path / "a.zarr", *DEEP, *RANKS, "--max-sweeps", 1)["rule"] is None
    assert "rule" not in run("watch", deep, "--once").stdout
    run("fit", data, "-o", tmp_path / "b.zarr", "--rank", 2, "--max-sweeps", 1)
    assert "rule hals" in run("watch", tmp_path / "b.zarr", "--once").stdout


@pytest.mark.parametrize("side", ["coefficients", "components"])
def test_going_on_is_as_if_it_had_never_stopped(data, tmp_path, side):
    asked = ("fit", data, *DEEP, *RANKS, "--model-option", f"side={side}", "--tol", 0)
    run(*asked, "-o", tmp_path / "a.zarr", "--max-sweeps", 9)
    run(*asked, "-o", tmp_path / "b.zarr", "--max-sweeps", 4)
    run("resume", tmp_path / "b.zarr", "--max-sweeps", 9)
    one, other = nmfkit.load(tmp_path / "a.zarr"), nmfkit.load(tmp_path / "b.zarr")
    np.testing.assert_array_equal(one.history.objective, other.history.objective)
    for name, factor in one.factors.items():
        np.testing.assert_array_equal(factor, other.factors[name])


def test_a_file_of_options(data, tmp_path):
    file = tmp_path / "deep.toml"
    file.write_text(
        f'source = "{data}"\nout = "{tmp_path / "deep.zarr"}"\nmodel = "deep-nmf"\nloss = "kl"\nranks = [6, 3]\n'
        'max-sweeps = 2\n[model-options]\nside = "components"\nweights = "4+1"\ninit-sweeps = 10\n',
        "utf-8",
    )
    run("fit", "--config", file)
    result = nmfkit.load(tmp_path / "deep.zarr")
    assert result.problem.ranks == (6, 3)
    assert (result.model.side, result.model.weights, result.model.init_sweeps) == ("components", (4.0, 1.0), 10)
    assert list(result.factors) == ["w1", "w2", "h1", "h2"]


@pytest.mark.parametrize(
    ("side", "names"), [("coefficients", ["w1", "w2", "w3"]), ("components", ["w1", "level2", "level3"])]
)
def test_new_rows_at_every_level(data, tmp_path, side, names):
    run("fit", data, "-o", tmp_path / "a.zarr", *DEEP, *RANKS, "--model-option", f"side={side}", "--max-sweeps", 6)
    told = answered("transform", tmp_path / "a.zarr", data, "-o", tmp_path / "new.zarr")
    assert {name: f["shape"] for name, f in told["factors"].items()} == dict(
        zip(names, ([60, 8], [60, 4], [60, 2]), strict=True)
    )
    result = nmfkit.load(tmp_path / "a.zarr")
    made = result.transform(COUNTS)
    for level in result.levels:
        y = made[level.name] @ level.components
        assert np.sum(np.abs(COUNTS - y)) < np.sum(np.abs(COUNTS - COUNTS.mean()))
    if side == "components":
        np.testing.assert_allclose(made["level3"], made["w1"] @ result.factors["w2"] @ result.factors["w3"])


@pytest.mark.parametrize("side", ["coefficients", "components"])
def test_missing_entries_have_no_say_at_any_level(side):
    known = np.random.default_rng(1).random(COUNTS.shape) < 0.8
    options = {"model": "deep-nmf", "loss": "kl", "ranks": (6, 3), "max_sweeps": 12, "tol": 0, "threads": 1}
    options["model_options"] = {"side": side, "init_sweeps": 10}
    one, other = (nmfkit.fit(x, mask=known, **options) for x in (COUNTS, np.where(known, COUNTS, 1e6)))
    assert (np.diff(one.history.objective) <= 1e-12 * one.history.objective[:-1]).all()
    made = one.transform(COUNTS, mask=known), one.transform(np.where(known, COUNTS, 1e6), mask=known)
    for level, again in zip(one.levels, other.levels, strict=True):
        np.testing.assert_array_equal(level.components, again.components)
        np.testing.assert_array_equal(*(found[level.name] for found in made))


def test_starting_factors_are_those_of_the_first_layer(data, tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "w.npy", rng.random((60, 8)))
    np.save(tmp_path / "h.npy", rng.random((8, 40)))
    start = ("--start-w", tmp_path / "w.npy", "--start-h", tmp_path / "h.npy")
    run("fit", data, "-o", tmp_path / "a.zarr", *DEEP, *RANKS, *start, "--max-sweeps", 2)
    run("fit", data, "-o", tmp_path / "b.zarr", *DEEP, *RANKS, "--max-sweeps", 2)
    given, drawn = nmfkit.load(tmp_path / "a.zarr"), nmfkit.load(tmp_path / "b.zarr")
    assert given.objective != drawn.objective
    wrong = run("fit", data, "-o", tmp_path / "c.zarr", *DEEP, "--ranks", "4,2", *start, code=2)
    assert "starting factor w has shape (60, 8), and the problem needs (60, 4)" in wrong.stderr
    assert "those of the first layer" in wrong.stderr


def test_explain_tells_of_layers_and_of_the_start(data):
    told = answered("explain", data, *DEEP, *RANKS)
    assert told["start_sweeps"] == 20
    assert told["operations_per_sweep"] == 8 * (60 * 40 * 8 + 60 * (8 * 4 + 4 * 2))
    words = run("explain", data, *DEEP, *RANKS).stdout
    assert "ranks       8, 4, 2" in words
    assert "at most 20 sweeps over X of the model's own come first" in words


@pytest.mark.parametrize(
    ("ranks", "said"),
    [
        ("4", "one rank makes one layer"),
        ("4,6,2", "layer 2 has 6 components, no fewer than the 4 of layer 1"),
        ("4,4", "let the ranks fall"),
    ],
)
def test_odd_ranks_are_fitted_with_a_word_of_caution(data, tmp_path, ranks, said):
    told = answered("fit", data, "-o", tmp_path / "a.zarr", *DEEP, "--ranks", ranks, "--max-sweeps", 1)
    assert any(said in note for note in told["notes"])


def test_falling_ranks_and_a_penalty_on_one_factor_are_nothing_to_say(data, tmp_path):
    """Sums of the model's own fix the scale."""
    told = answered("fit", data, "-o", tmp_path / "a.zarr", *DEEP, *RANKS, "--reg-w", "l1:0.1", "--max-sweeps", 1)
    assert told["notes"] == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--ranks", "8,4", "--rule", "hals"), "uses no rule: it fixes its own, so leave --rule out"),
        (("--ranks", "8,0"), "rank 0 is not a whole number ≥ 1"),
        (("--ranks", "8,x"), "rank 'x' is not a whole number ≥ 1"),
        (("--ranks", "8,4", "--rank", "3"), "--rank and --ranks are both given"),
        (("--ranks", "8,4", "--pilot", "20"), "model 'deep-nmf' cannot go on from the fit of some rows"),
        (("--ranks", "8,4", "--model-option", "sides=components"), "unknown parameter 'sides'; did you mean 'side'?"),
        (("--ranks", "8,4", "--model-option", "side=rows"), "side must be coefficients or components"),
        (("--ranks", "8,4", "--model-option", "weights=1+2+3"), "weights has 3 numbers, and there are 2 layers"),
        (("--ranks", "8,4", "--reg-h", "sum-to-one"), "keeps sums of 1 by itself"),
    ],
)
def test_refusals(data, tmp_path, options, text):
    done = run("fit", data, "-o", tmp_path / "a.zarr", *DEEP, *options, code=2)
    assert text in " ".join(done.stderr.split())
    assert not (tmp_path / "a.zarr").exists()


def test_the_plain_model_points_to_the_deep_one(data, tmp_path):
    assert "--model deep-nmf" in run("fit", data, "-o", tmp_path / "a.zarr", *RANKS, code=2).stderr
