"""Models with several row factors and levels: results, transforms, starts, and what the commands say of them."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import zarr
from paired import OfComponents, OfRows
from small import X
from typer.testing import CliRunner

import nmfkit
from nmfkit import registry
from nmfkit.cli.app import app
from nmfkit.errors import UsageError
from nmfkit.executors.rows import ResidentRows
from nmfkit.hookspecs import PartSpec
from nmfkit.levels import at_every_level
from nmfkit.registry import Registered

BOTH = pytest.mark.parametrize("model", [OfRows, OfComponents])
OPTIONS = {"ranks": (4, 2), "max_sweeps": 10, "tol": 0, "threads": 1}


@pytest.fixture(scope="module")
def fitted():
    return {model: nmfkit.fit(X, model=model, **OPTIONS) for model in (OfRows, OfComponents)}


@pytest.fixture(params=[OfRows, OfComponents])
def paired(request, monkeypatch):
    """The name of a registered model of two levels."""
    known = registry.registry()
    part = Registered("model", PartSpec("paired", "a model for tests", request.param), "tests", "1", "tests")
    monkeypatch.setattr(known, "claims", {**known.claims, ("model", "paired"): [part]})
    return request.param


def run(*arguments, code=0):
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == code, done.output
    return done


# --- results ------------------------------------------------------------------------------------------------


def test_factors_come_in_the_order_of_the_model(fitted):
    assert list(fitted[OfRows].factors) == ["w1", "w2", "h1", "h2"]
    assert list(fitted[OfComponents].factors) == ["w1", "h1", "w2", "h2"]


@BOTH
@pytest.mark.parametrize("name", ["w", "h"])
def test_a_factor_that_is_not_there_is_named_with_those_that_are(fitted, model, name):
    with pytest.raises(UsageError, match=rf"no factor '{name}': result.factors has w1, .*h2; .* result.levels"):
        getattr(fitted[model], name)


def test_a_model_with_one_pair_has_no_levels():
    plain = nmfkit.fit(X, rank=2, max_sweeps=1)
    assert list(plain.factors) == ["w", "h"]
    with pytest.raises(UsageError, match="no levels: its factors are w, h"):
        _ = plain.levels


@BOTH
def test_every_level_is_coefficients_times_components(fitted, model):
    result = fitted[model]
    first, second = result.levels
    assert [level.number for level in result.levels] == [1, 2]
    assert [level.rank for level in result.levels] == [4, 2]
    np.testing.assert_array_equal(first.coefficients, result.factors["w1"])
    np.testing.assert_array_equal(first.components, result.factors["h1"])
    f = result.factors
    chained = f["w2"] if model is OfRows else f["w1"] @ f["w2"]
    np.testing.assert_array_equal(second.coefficients, chained)
    np.testing.assert_array_equal(second.components, f["h2"] @ f["h1"] if model is OfRows else f["h2"])


@BOTH
def test_components_of_levels_are_had_without_reading_rows(fitted, model, monkeypatch):
    again = nmfkit.Result(**{n: getattr(fitted[model], n) for n in ("problem", "state", "shape", "attributes")})
    monkeypatch.setattr(ResidentRows, "read", None)
    assert [level.components.shape for level in again.levels] == [(4, 40), (2, 40)]


# --- transform ----------------------------------------------------------------------------------------------


def expected(result, rows):
    """The coefficients at both levels, by hand, from the rows of w1."""
    second = rows @ (result.model.groups_of if isinstance(result.model, OfRows) else result.factors["w2"])
    return rows, second


@BOTH
def test_transform_gives_the_rows_of_every_level(fitted, model):
    result, names = fitted[model], ["w1", "w2" if model is OfRows else "level2"]
    made = result.transform(X[:20])
    assert list(made) == names == [level.name for level in result.levels]
    for found, wanted in zip(made.values(), expected(result, made["w1"]), strict=True):
        np.testing.assert_allclose(found, wanted)
    alone = nmfkit.fit(X, rank=4, max_sweeps=10, tol=0, threads=1).transform(X[:20])
    np.testing.assert_allclose(made["w1"], alone, rtol=1e-6, atol=1e-9)


@BOTH
def test_written_and_in_memory_agree(fitted, model, tmp_path):
    result, out = fitted[model], tmp_path / "new.zarr"
    made, written = result.transform(X[:9]), result.transform(X[:9], out=out)
    assert list(made) == list(written)
    for name, factor in made.items():
        assert isinstance(written[name], zarr.Array)
        np.testing.assert_array_equal(written[name][:], factor)
    group = zarr.open_group(out, mode="r")
    assert group.attrs["factors"] == list(made)
    assert sorted(n for n, _ in group.arrays()) == sorted(made)


@BOTH
def test_rows_of_a_transform_are_those_of_any_slicing(fitted, model):
    """What a worker is handed is what it would have read."""
    result = fitted[model]
    rows = at_every_level(result.state.rows, result.model, result.state.current)
    assert not any("." in name for name in rows.read(0, 1))
    whole = rows.read(5, 17)
    part = pickle.loads(pickle.dumps(rows.part(3, 20)))
    for name, f in part.read(5, 17).items():
        np.testing.assert_array_equal(f, whole[name])


# --- starting factors ---------------------------------------------------------------------------------------


def test_starting_factors_are_those_of_the_first_layer():
    w, h = np.ones((60, 4)), X[:4] + 0.1
    begun = nmfkit.fit(X, model=OfRows, w=w, h=h, rule="hals", **{**OPTIONS, "max_sweeps": 0})
    np.testing.assert_array_equal(begun.factors["h1"], h)
    with pytest.raises(UsageError) as caught:
        nmfkit.fit(X, model=OfRows, w=w[:, :2], h=h[:2], **OPTIONS)
    for name, wrong, right in (("w", (60, 2), (60, 4)), ("h", (2, 40), (4, 40))):
        text = f"starting factor {name} has shape {wrong}, and the problem needs {right}: starting factors are those of"
        assert f"{text} the first layer" in str(caught.value)


def test_starting_factors_for_a_model_with_a_start_of_its_own_are_refused():
    class Fixed(OfRows):
        takes = OfRows.takes - {"init"}

    with pytest.raises(UsageError, match="fixes its own starting point: leave starting factors out"):
        nmfkit.fit(X, model=Fixed, h=X[:4], **OPTIONS)


def test_of_one_pair_no_layer_is_spoken():
    with pytest.raises(UsageError, match=r"the problem needs \(60, 2\)$"):
        nmfkit.fit(X, rank=2, w=np.ones((60, 3)))


# --- commands -----------------------------------------------------------------------------------------------


@pytest.fixture
def stored(paired, tmp_path):
    np.save(tmp_path / "x.npy", X)
    out = tmp_path / "run.zarr"
    run("fit", tmp_path / "x.npy", "-o", out, "--model", "paired", "--ranks", "4,2", "--max-sweeps", 5)
    return out


def test_the_commands_show_every_level(stored, paired, tmp_path):
    new, second = tmp_path / "new.zarr", "w2" if paired is OfRows else "level2"
    told = json.loads(run("transform", stored, tmp_path / "x.npy", "-o", new, "--json").stdout)
    assert {name: f["shape"] for name, f in told["factors"].items()} == {"w1": [60, 4], second: [60, 2]}
    assert "shape" not in told
    told = json.loads(run("inspect", new, "--json").stdout)
    assert {name: f["shape"] for name, f in told["factors"].items()} == {"w1": [60, 4], second: [60, 2]}
    for words in (
        run("transform", stored, tmp_path / "x.npy", "-o", new, "--overwrite").stdout,
        run("inspect", new).stdout,
    ):
        lines = {line.split()[0]: line for line in words.splitlines() if line.strip()}
        assert lines["w1"].endswith("60 × 4")
        assert lines[second].endswith("60 × 2")


def test_inspect_shows_the_components_of_every_level(stored, paired):
    names = ["h1", "h2 h1" if paired is OfRows else "h2"]
    told = json.loads(run("inspect", stored, "--top", 3, "--json").stdout)["components"]
    assert [name for name in told if name in names] == names
    for level, name in zip(nmfkit.load(stored).levels, names, strict=True):
        best = [f"column {j}" for j in level.components.argmax(axis=1)]
        assert [row[0]["feature"] for row in told[name]] == best
    assert f"Largest entries of each row of {names[1].upper()}" in run("inspect", stored).stdout


def test_explain_counts_what_each_layer_works_on(paired, tmp_path):
    np.save(tmp_path / "x.npy", X)
    parts = ("--model", "paired", "--rule", "mu", "--loss", "kl", "--ranks", "4,2")
    told = json.loads(run("explain", tmp_path / "x.npy", *parts, "--json").stdout)
    rows_of_inner = 60 if paired is OfRows else 40
    assert told["operations_per_sweep"] == (60 * 40 * 4 + rows_of_inner * 4 * 2) * 8
    assert told["start_sweeps"] == 0
    copies = 3  # what is recorded, what follows from it, and the point ahead
    assert told["plan"]["w_bytes"] == 2 * 60 * 8 * copies * (4 + 2)


def test_explain_says_how_long_a_start_may_take(paired, monkeypatch):
    monkeypatch.setattr(paired, "start_sweeps", property(lambda model: 1234), raising=False)
    told = nmfkit.explain(X, model=paired, ranks=(4, 2))
    assert told.start_sweeps == 1234
    assert "at most 1,234 sweeps over X of the model's own come first" in str(told)


def test_a_transform_of_one_factor_is_told_by_its_name(tmp_path):
    np.save(tmp_path / "x.npy", X)
    run("fit", tmp_path / "x.npy", "-o", tmp_path / "run.zarr", "--rank", 3, "--max-sweeps", 2)
    told = json.loads(
        run("transform", tmp_path / "run.zarr", tmp_path / "x.npy", "-o", tmp_path / "new.zarr", "--json").stdout
    )
    assert (told["shape"], told["factors"]["w"]["shape"]) == ([60, 3], [60, 3])
