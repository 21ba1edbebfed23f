"""The commands on real data: what they print, write and answer to scripts."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

import nmfkit
from nmfkit.check import resolve
from nmfkit.cli.app import app
from nmfkit.errors import UsageError
from nmfkit.registry import load
from nmfkit.score import hoyer, score


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def ran(*arguments):
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    return done


def answered(*arguments):
    """The JSON object that a command prints, and nothing else on standard output."""
    return strict(ran(*arguments, "--json").stdout)


def strict(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "digits.zarr"
    ran("fit", "sample:digits", "--rank", 8, "--max-sweeps", 30, "-o", path)
    return path


@pytest.fixture(scope="module")
def docs(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "docs.zarr"
    ran("fit", "sample:python-docs", "--rank", 4, "--loss", "kl", "--max-sweeps", 20, "-o", path)
    return path


# --- fit ----------------------------------------------------------------------------------------------------


def test_fit_says_what_came_out_and_how_to_look_at_it(tmp_path):
    done = ran("fit", "sample:digits", "--rank", 5, "--max-sweeps", 3, "-o", tmp_path / "a.zarr")
    for told in (
        "sample:digits",
        "objective",
        "3, the most that --max-sweeps allows",
        "nmfkit inspect",
        "nmfkit score",
    ):
        assert told in done.stdout
    assert done.stderr == "note: 3 of 64 columns are all zero; their columns of H go to zero\n"


def test_fit_agrees_with_the_python_door(tmp_path):
    path = tmp_path / "a.zarr"
    options = ["--loss", "kl", "--reg-h", "l1:0.1", "--reg-w", "l2:0.1", "--seed", 3, "--max-sweeps", 5]
    told = answered("fit", "sample:digits", "--rank", 4, *options, "--threads", 1, "-o", path)
    same = nmfkit.fit(
        "sample:digits", rank=4, loss="kl", reg_h=["l1:0.1"], reg_w=["l2:0.1"], seed=3, max_sweeps=5, threads=1
    )
    assert told["objective"] == same.objective
    assert np.array_equal(nmfkit.load(path).w, same.w)


def test_fit_answers_scripts(tmp_path):
    told = answered("fit", "sample:digits", "--rank", 3, "--max-sweeps", 2, "-o", tmp_path / "a.zarr")
    assert (told["status"], told["stopped_by"], told["sweeps"]) == ("done", "max-sweeps", 2)
    assert (told["rule"], told["problem"]["ranks"], told["source"]["shape"]) == ("hals", [3], [1797, 64])
    assert told["out"] == str(tmp_path / "a.zarr")
    assert told["seconds"] > 0
    assert told["objective"] == nmfkit.load(tmp_path / "a.zarr").objective


def test_quiet_says_nothing(tmp_path):
    done = ran("fit", "sample:digits", "--rank", 3, "--max-sweeps", 2, "-q", "-o", tmp_path / "a.zarr")
    assert done.output == ""


def test_overwrite_replaces_a_run(tmp_path):
    path = tmp_path / "a.zarr"
    ran("fit", "sample:digits", "--rank", 3, "--max-sweeps", 1, "-o", path)
    ran("fit", "sample:digits", "--rank", 4, "--max-sweeps", 1, "-o", path, "--overwrite")
    assert nmfkit.load(path).h.shape == (4, 64)


def test_starting_factors_come_from_files(tmp_path):
    generator = np.random.default_rng(0)
    w, h = generator.random((1797, 3)), generator.random((3, 64))
    np.save(tmp_path / "w.npy", w)
    np.save(tmp_path / "h.npy", h)
    starts = ["--start-w", tmp_path / "w.npy", "--start-h", tmp_path / "h.npy"]
    told = answered(
        "fit", "sample:digits", "--rank", 3, *starts, "--max-sweeps", 2, "--threads", 1, "-o", tmp_path / "a"
    )
    same = nmfkit.fit("sample:digits", rank=3, w=w, h=h, max_sweeps=2, threads=1)
    assert told["objective"] == same.objective


# --- configuration ------------------------------------------------------------------------------------------


def test_flag_beats_file_beats_default(tmp_path):
    config = tmp_path / "fit.toml"
    config.write_text(
        'source = "sample:digits"\nloss = "kl"\nrank = 7\nmax-sweeps = 2\nreg_h = ["l1:0.5"]\nseed = 4\nthreads = 1\n'
    )
    problem = answered("explain", "--config", config, "--rank", 5)["problem"]
    assert (problem["ranks"], problem["loss"], problem["reg_h"]) == ([5], "kl", ["l1:0.5"])
    assert (problem["max_sweeps"], problem["seed"], problem["init"]) == (2, 4, "random")


def test_a_run_may_come_from_a_file_alone(tmp_path):
    config = tmp_path / "fit.toml"
    out = tmp_path / "a.zarr"
    config.write_text(f'source = "sample:digits"\nout = {str(out)!r}\nranks = [3]\nmax_sweeps = 1\nreg-h = "l2:1"\n')
    ran("fit", "--config", config)
    assert nmfkit.load(out).problem.reg_h == ("l2:1",)


def test_every_fault_of_a_file_is_named_at_once(tmp_path):
    config = tmp_path / "fit.toml"
    config.write_text('los = "kl"\nrank = "many"\nseed = -1\nloss = 3\nreg-w = [1]\ncheckpoint-every = 0\n')
    done = run("fit", "sample:digits", "--config", config, "--rule", "halls", "-o", tmp_path / "a.zarr")
    assert done.exit_code == 2
    for told in (
        "7 things are wrong", "unknown field 'los'; did you mean 'loss'", "loss is 3", "reg-w is [1]",
        "checkpoint-every 0", "rank 'many'", "seed -1", "unknown rule 'halls'; did you mean 'hals'",
    ):  # fmt: skip
        assert told in done.stderr


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('overwrite = "false"', "overwrite is 'false', and true or false without quotes is needed"),
        ("overwrite = 0", "overwrite is 0, and true or false"),
        ("model-option = 3", "model-option is 3, and texts such as"),
        ("model-option = [3]", "model-option is [3], and texts such as"),
        ("model-option = {a = [1]}", "model-option is {'a': [1]}, and texts such as"),
        ('model-option = ["a"]', "model-option 'a' is not KEY=VALUE"),
        ("memory = true", "memory True is not a size"),
        ("memory = 1.5", "memory 1.5 is not a size"),
        ("threads = true", "threads True is not a whole number"),
        ('tol = "1e-3"', "tol '1e-3' is not a number"),
        ("seed = 1.0", "seed 1.0 is not a whole number"),
        ("max-sweeps = false", "max-sweeps False is not a whole number"),
        ("time-limit = 2020-01-01", "is not a number of seconds"),
        ("key = 1", "key is 1, and a text in quotes is needed"),
        ("ranks = [true]", "rank True is not a whole number"),
        ('overwrite = "no"\nmodel-option = 3', "2 things are wrong"),
    ],
)
def test_values_of_the_wrong_type_in_a_file_are_named(line, told, tmp_path):
    config, out = tmp_path / "fit.toml", tmp_path / "a.zarr"
    config.write_text(line + "\n")
    rank = [] if line.startswith("ranks") else ["--rank", 2]
    done = run("fit", "sample:digits", "--config", config, *rank, "-o", out)
    assert (done.exit_code, done.stdout) == (2, "")
    assert told in done.stderr
    assert not out.exists()


def test_a_file_may_allow_to_overwrite(tmp_path):
    config, out = tmp_path / "fit.toml", tmp_path / "a.zarr"
    config.write_text("overwrite = true\nrank = 2\nmax-sweeps = 1\nmemory = 100_000_000\n")
    for _ in range(2):
        ran("fit", "sample:digits", "--config", config, "-o", out)


def test_explain_shows_parts_and_layout():
    shown = ran("explain", "sample:python-docs", "--rank", 4, "--loss", "kl").stdout
    for told in ("Parts", "mu", "from nmfkit", "79 × 1,842", "Layout", "memory"):
        assert told in shown


# --- resume, transform, convert -----------------------------------------------------------------------------


def test_resume_continues_a_finished_run_exactly(tmp_path):
    short, long = tmp_path / "short.zarr", tmp_path / "long.zarr"
    common = ["fit", "sample:digits", "--rank", 4, "--tol", 0, "--threads", 1]
    ran(*common, "--max-sweeps", 4, "-o", short)
    ran(*common, "--max-sweeps", 9, "-o", long)
    told = answered("resume", short, "--max-sweeps", 9, "--threads", 1)
    assert told["sweeps"] == 9
    assert np.array_equal(nmfkit.load(short).w, nmfkit.load(long).w)
    assert np.array_equal(nmfkit.load(short).h, nmfkit.load(long).h)


def test_command_lines_can_be_copied_whatever_the_path(tmp_path):
    data, out = tmp_path / "my data.zarr", tmp_path / "it's a run.zarr"
    assert f"nmfkit fit {shlex.quote(str(data))} --rank N" in ran("convert", "sample:digits", data).stdout
    told = ran("fit", data, "--rank", 2, "--max-sweeps", 1, "-o", out).stdout
    for command in ("inspect", "score", "resume"):
        line = next(part for part in told.splitlines() if f"nmfkit {command}" in part)
        assert shlex.split(line[line.index("nmfkit") :])[:3] == ["nmfkit", command, str(out)]


def test_resume_of_a_finished_run_says_so(digits):
    assert "Nothing to do" in ran("resume", digits).stdout


def test_transform_writes_rows_and_inspect_shows_them(digits, tmp_path):
    out = tmp_path / "w.zarr"
    told = answered("transform", digits, "sample:digits", "-o", out)
    assert told["shape"] == [1797, 8]
    assert zarr.open_group(out, mode="r")["w"].shape == (1797, 8)
    assert answered("inspect", out)["kind"] == "transformed"
    assert "complete" in ran("inspect", out).stdout


@pytest.mark.parametrize(("sample", "kind"), [("sample:digits", "dense"), ("sample:python-docs", "csr")])
def test_what_convert_writes_fits_and_scores_as_the_original(sample, kind, tmp_path):
    data = tmp_path / "data.zarr"
    assert answered("convert", sample, data)["kind"] == kind
    options = ["--rank", 3, "--max-sweeps", 3, "--threads", 1]
    one = answered("fit", data, *options, "-o", tmp_path / "one.zarr")
    other = answered("fit", sample, *options, "-o", tmp_path / "other.zarr")
    assert one["objective"] == pytest.approx(other["objective"], rel=1e-12)
    assert answered("score", tmp_path / "one.zarr")["loss"] == pytest.approx(one["objective"])


# --- inspect and score --------------------------------------------------------------------------------------


def test_inspect_shows_a_source():
    told = answered("inspect", "sample:python-docs")
    assert (told["kind"], told["shape"], told["sparse"], told["fault"]) == ("source", [79, 1842], True, None)
    assert told["values"]["low"] == 0
    assert told["density"] == pytest.approx(told["nnz"] / (79 * 1842))
    shown = ran("inspect", "sample:digits").stdout
    assert "1,797 × 64" in shown
    assert "3 columns" in shown


@pytest.mark.parametrize(
    ("bad", "told"), [(np.nan, "NaN at row 2, column 1"), (-1.0, "negative entry at row 2, column 1")]
)
def test_inspect_reports_what_would_spoil_a_fit(bad, told, tmp_path):
    x = np.ones((4, 3))
    x[2, 1] = bad
    np.save(tmp_path / "x.npy", x)
    done = run("inspect", tmp_path / "x.npy")
    assert done.exit_code == 1
    assert "4 × 3" in done.stdout
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert told in strict(run("inspect", tmp_path / "x.npy", "--json").stdout)["fault"]


def test_inspect_shows_the_range_of_signed_data(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[1.0, -2], [0, 4]]))
    done = run("inspect", tmp_path / "x.npy")
    assert done.exit_code == 1
    assert "-2 to 4, mean 0.75, 75.0 % other than 0" in done.stdout
    told = strict(run("inspect", tmp_path / "x.npy", "--json").stdout)
    assert told["values"]["positive_entries"] is None
    assert told["fault"]


def test_inspect_shows_a_run_with_its_top_features(docs):
    told = answered("inspect", docs, "--top", 3)
    assert (told["kind"], told["status"], told["sweeps"]) == ("run", "done", 20)
    components = told["components"]["h"]
    assert [len(c) for c in components] == [3] * 4
    h, names = nmfkit.load(docs).h, nmfkit.load(docs).feature_names
    assert components[0][0]["feature"] == names[int(np.argmax(h[0]))]
    shown = ran("inspect", docs).stdout
    assert components[0][0]["feature"] in shown
    assert "loss kl" in shown


def test_score_of_frobenius_is_the_relative_error(digits):
    told, result = answered("score", digits), nmfkit.load(digits)
    x = nmfkit.open_source("sample:digits").read(0, 1797).dense()
    w, h = result.w, result.h
    assert told["relative_error"] == pytest.approx(np.linalg.norm(x - w @ h) / np.linalg.norm(x))
    assert told["objective"] == result.objective
    mass = w.sum(axis=0) * h.sum(axis=1)
    assert told["shares"] == pytest.approx(list(mass / mass.sum()))
    root = np.sqrt(len(w))
    of_w = (root - w.sum(axis=0) / np.linalg.norm(w, axis=0)) / (root - 1)
    assert told["sparsity"]["w"] == pytest.approx(of_w.mean())
    assert "relative error" in ran("score", digits).stdout


def test_score_of_another_loss_compares_with_the_sums(docs):
    told = answered("score", docs)
    x = nmfkit.open_source("sample:python-docs").read(0, 79).dense()
    flat = np.outer(x.sum(axis=1), x.sum(axis=0)) / x.sum()
    at = x > 0
    reference = np.sum(x[at] * np.log(x[at] / flat[at])) - x.sum() + flat.sum()
    assert told["relative_error"] == pytest.approx(told["loss"] / reference)
    assert 0 < told["relative_error"] < 1


def test_score_of_other_data_fits_their_rows_first(docs):
    own, other = answered("score", docs), answered("score", docs, "sample:python-docs")
    assert other["objective"] is None
    assert other["loss"] <= own["loss"]


@pytest.fixture
def lossless(monkeypatch):
    """A run whose model takes no loss and has the factors that a function makes of H."""

    def made(path, shared):
        result = nmfkit.fit("sample:digits", rank=3, max_sweeps=2)
        model = SimpleNamespace(
            factors=lambda _: shared(result.h), encode=None, elementwise=False, forms_product=False, row_factors=("w",)
        )
        resolved = replace(resolve(result.problem), model=model)
        monkeypatch.setattr(
            "nmfkit.score.resolve", lambda _: replace(resolved, ingredients=replace(resolved.ingredients, loss=None))
        )
        result.save(path)
        return path

    return made


def test_a_model_without_a_loss_is_judged_by_squares_under_its_own_names(lossless, tmp_path, monkeypatch):
    monkeypatch.setattr("nmfkit.score._own_source", lambda *_: nmfkit.open_source("sample:digits"))
    path = lossless(tmp_path / "a.zarr", lambda h: {"topics": h})
    judged, result = score(str(path)), nmfkit.load(path)
    assert set(judged.sparsity) == {"w", "topics"}
    assert judged.measure == "‖X − WH‖ / ‖X‖"
    assert judged.loss == pytest.approx(result.objective)


@pytest.mark.parametrize("shared", [lambda h: {"a": h, "b": h}, lambda h: {"h": h.T}, lambda h: {}])
def test_a_model_that_is_no_product_of_two_factors_is_not_scored(shared, lossless, tmp_path):
    with pytest.raises(UsageError, match=r"score judges a product of two factors.* model 'nmf' has w \(m, 3\)"):
        score(lossless(tmp_path / "a.zarr", shared))


def test_hoyer_knows_its_ends():
    assert hoyer(np.array([1.0]), np.array([1.0]), 9) == 1
    assert hoyer(np.array([9.0]), np.array([9.0]), 9) == pytest.approx(0)
    assert np.isnan(hoyer(np.array([1.0]), np.array([1.0]), 1))


# --- plugins ------------------------------------------------------------------------------------------------


def test_plugins_list_names_parts_and_distributions():
    told = answered("plugins", "list")
    listed = {(p["kind"], p["name"]) for p in told["plugins"]}
    assert {("loss", "kl"), ("rule", "hals"), ("regularizer", "l1"), ("model", "nmf"), ("reader", "csv")} <= listed
    assert all(p["distribution"] == "nmfkit" and p["summary"] for p in told["plugins"])
    assert {p["kind"] for p in answered("plugins", "list", "--kind", "loss")["plugins"]} == {"loss"}
    assert "Losses" in ran("plugins", "list").stdout


def test_plugins_info_shows_parameters_and_what_a_part_offers():
    (l1,) = answered("plugins", "info", "l1")["plugins"]
    assert [(p["name"], p["type"], p["required"]) for p in l1["parameters"]] == [("weight", "float", True)]
    assert any("HasSurrogate" in phrase for phrase in l1["offers"])
    (frobenius,) = answered("plugins", "info", "fro")["plugins"]
    assert any("HasGram" in phrase for phrase in frobenius["offers"])
    assert "inner: int = 4" in ran("plugins", "info", "hals").stdout
    (symmetric,) = answered("plugins", "info", "symnmf")["plugins"]
    assert symmetric["offers"] == ["takes init, rule", "of symmetric matrices alone", "of entries of either sign"]


def test_a_broken_plugin_is_listed_with_its_reason(monkeypatch):
    from importlib.metadata import EntryPoint

    broken = load([EntryPoint("hollow", "no_such_module_here", "nmfkit")])
    for module in ("plugins_list", "plugins_info", "plugins_check"):
        monkeypatch.setattr(f"nmfkit.cli.{module}.registry", lambda: broken)
    told = answered("plugins", "list")
    assert "no_such_module_here" in told["broken"][0]["reason"]
    assert "hollow" in ran("plugins", "list").stdout
    assert "Traceback" in run("plugins", "info", "hollow").stderr
    done = run("plugins", "check", "hollow")
    assert (done.exit_code, "broken" in done.stdout) == (1, True)


def test_plugins_check_prints_each_law_and_fails_with_one(monkeypatch):
    from nmfkit.testing.run import LawResult

    laws = [LawResult("l1:0.1", "test_pickles", True, ""), LawResult("l1:0.1", "test_is_convex", False, "it is not")]
    monkeypatch.setattr("nmfkit.testing.run.check_part", lambda _name: laws)
    done = run("plugins", "check", "l1")
    assert done.exit_code == 1
    assert done.stderr == ""
    for told in ("l1:0.1", "holds   pickles", "BROKEN  is convex", "it is not", "2 laws, 1 broken"):
        assert told in done.stdout
    told = strict(run("plugins", "check", "l1", "--json").stdout)
    assert (told["passed"], told["laws"][1]["message"]) == (False, "it is not")
    monkeypatch.setattr("nmfkit.testing.run.check_part", lambda _name: laws[:1])
    assert answered("plugins", "check", "l1")["passed"]


def test_plugins_check_without_names_leaves_the_built_in_parts_out():
    assert "--all" in ran("plugins", "check").stdout
