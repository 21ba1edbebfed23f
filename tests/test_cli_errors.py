"""What bad input gets on the command line: a message, an exit code, no traceback, and no output."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import nmfkit
from nmfkit.cli.app import app
from nmfkit.cli.faults import explained


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def refused(code, *arguments):
    done = run(*arguments)
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    assert done.stdout == ""
    return done.stderr


def spoiled(value):
    x = np.ones((6, 4))
    x[3, 2] = value
    return x


MATRICES = {
    "NaN at row 3, column 2": spoiled(np.nan),
    "infinite value at row 3, column 2": spoiled(np.inf),
    "negative entry at row 3, column 2": spoiled(-1.0),
    "all zero": np.zeros((6, 4)),
    "empty": np.zeros((0, 4)),
    "2 dimensions": np.ones(5),
    "complex": np.ones((3, 3), complex),
}


@pytest.mark.parametrize("told", MATRICES)
def test_unusable_matrices_are_refused_and_nothing_is_written(told, tmp_path):
    np.save(tmp_path / "x.npy", MATRICES[told])
    message = refused(1, "fit", tmp_path / "x.npy", "--rank", 2, "-o", tmp_path / "run.zarr")
    assert told in message
    assert [p.name for p in tmp_path.iterdir()] == ["x.npy"]


@pytest.mark.parametrize(
    ("code", "options", "told"),
    [
        (2, ["--rank", "0"], "rank 0 is not a whole number ≥ 1"),
        (2, ["--rank", "two"], "rank 'two' is not a whole number"),
        (2, [], "no rank is given"),
        (2, ["--rank", "2", "--ranks", "2,3"], "--rank and --ranks are both given"),
        (2, ["--rank", "2", "--reg-h", "l1:-1"], "weight must be a finite number ≥ 0"),
        (2, ["--rank", "2", "--reg-h", "l1:nan"], "weight must be a finite number ≥ 0"),
        (2, ["--rank", "2", "--reg-h", "l1"], "weight is missing"),
        (2, ["--rank", "2", "--reg-w", "l1:1,sharp=2"], "unknown parameter 'sharp'"),
        (2, ["--rank", "2", "--loss", "kll"], "unknown loss 'kll'; did you mean 'kl'"),
        (2, ["--rank", "2", "--rule", "hal"], "unknown rule 'hal'; did you mean 'hals'"),
        (2, ["--rank", "2", "--model", "nfm"], "unknown model 'nfm'; did you mean 'nmf'"),
        (2, ["--rank", "2", "--init", "nndsv"], "unknown initializer 'nndsv'; did you mean 'nndsvd'"),
        (2, ["--rank", "2", "--loss", "kl", "--rule", "hals"], "do not fit together"),
        (2, ["--rank", "2", "--memory", "plenty"], "'plenty' is not a size"),
        (2, ["--rank", "2", "--memory", "10B"], "too small"),
        (2, ["--rank", "2", "--threads", "0"], "threads 0 is not a whole number ≥ 1"),
        (2, ["--rank", "2", "--tol", "-1"], "tol -1 is not a number ≥ 0"),
        (2, ["--rank", "2", "--tol", "nan"], "tol nan is not a number ≥ 0"),
        (2, ["--rank", "2", "--dtype", "float16"], "dtype 'float16' is not one of"),
        (2, ["--rank", "2", "--model-option", "deep"], "model-option 'deep' is not KEY=VALUE"),
        (2, ["--rank", "2", "--model-option", "depth=3"], "unknown parameter 'depth'"),
        (2, ["--rank", "2", "--workers", "-1"], "workers -1 is not a whole number ≥ 0"),
        (2, ["--rank", "2", "--workers", "2", "--scheduler", "tcp://a:1"], "workers and scheduler name different"),
        (2, ["--rank", "2", "--device", "tpu"], "device 'tpu' is unknown; there are cpu and gpu"),
        (2, ["--rank", "2", "--config", "nowhere.toml"], "nowhere.toml cannot be read"),
        (2, ["--rank", "2", "--start-w", "sample:digits"], "starting factor w has shape (1797, 64)"),
        (1, ["--rank", "2", "--loss", "is"], "infinite where the matrix is zero"),
        (1, ["--rank", "2", "--start-w", "nowhere.npy"], "nowhere.npy does not exist"),
        (2, ["--rank", "2", "--key", "X"], "sample:digits"),
        (2, ["--rank", "2", "--los", "kl"], "No such option"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(code, options, told, tmp_path):
    out = tmp_path / "run.zarr"
    assert told in refused(code, "fit", "sample:digits", *options, "-o", out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--max-sweeps", "-3"], "max-sweeps -3 is not a whole number ≥ 0"),
        (["--tol", "-1"], "tol -1.0 is not a number ≥ 0"),
        (["--tol", "nan"], "tol nan is not a number ≥ 0"),
        (["--time-limit", "0"], "time-limit 0.0 is not a number of seconds > 0"),
        (["--threads", "0"], "threads 0 is not a whole number ≥ 1"),
        (["--memory", "plenty"], "'plenty' is not a size"),
        (["--checkpoint-every", "0"], "Invalid value for '--checkpoint-every'"),
    ],
)
def test_bad_options_of_resume_are_refused_even_where_there_is_nothing_to_do(options, told, tmp_path):
    out = tmp_path / "run.zarr"
    assert run("fit", "sample:digits", "--rank", 2, "--max-sweeps", 1, "-o", out).exit_code == 0
    assert told in refused(2, "resume", out, *options)
    if options[0] in ("--threads", "--memory"):
        assert told in refused(2, "score", out, *options)


def test_the_device_there_is_may_be_named(tmp_path):
    assert (
        run("fit", "sample:digits", "--rank", 2, "--max-sweeps", 1, "--device", "cpu", "-o", tmp_path / "a").exit_code
        == 0
    )


def test_all_faults_stand_in_one_message():
    message = refused(2, "fit", "sample:digits", "--rank", "0", "--loss", "kll", "--reg-h", "l1:-1", "--workers", "two")
    for told in ("5 things are wrong", "no output", "workers 'two'", "rank 0", "'kll'", "weight"):
        assert told in message


def test_an_output_must_be_named():
    assert "no output is named; add -o RUN.zarr" in refused(2, "fit", "sample:digits", "--rank", 2)


@pytest.mark.parametrize(
    ("code", "source", "told"),
    [
        (1, "nowhere.npy", "nowhere.npy does not exist"),
        (1, "nowhere.zarr", "nowhere.zarr"),
        (2, "sample:digit", "did you mean 'sample:digits'"),
    ],
)
@pytest.mark.parametrize("command", [["fit", "--rank", "2", "-o", "run.zarr"], ["inspect"], ["explain", "--rank", "2"]])
def test_missing_sources_are_named(code, source, told, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert told in refused(code, command[0], source, *command[1:])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_store_is_refused(tmp_path):
    assert "no zarr store" in refused(1, "inspect", tmp_path)
    assert str(tmp_path) in refused(1, "resume", tmp_path)
    assert refused(1, "score", tmp_path / "nowhere.zarr").endswith("does not exist\n")


def test_what_stands_at_the_output_is_left_alone(tmp_path):
    out = tmp_path / "run.zarr"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    assert "exists" in refused(1, "fit", "sample:digits", "--rank", 2, "-o", out)
    assert "leaves it alone" in refused(1, "fit", "sample:digits", "--rank", 2, "-o", out, "--overwrite")
    assert (out / "thesis.txt").read_text() == "years of work"


def test_an_output_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused(1, "fit", "sample:digits", "--rank", 2, "-o", tmp_path / "file" / "run.zarr")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    assert "cannot be written" in refused(1, "fit", "sample:digits", "--rank", 2, "-o", tmp_path / "run.zarr")


def test_a_traceback_comes_only_with_v():
    assert "Traceback" in run("fit", "nowhere.npy", "--rank", 2, "-o", "a.zarr", "-v").stderr


def test_what_nobody_foresaw_is_one_line(monkeypatch):
    monkeypatch.setattr("nmfkit.sources.open_source", lambda *_, **__: 1 / 0)
    monkeypatch.setattr("nmfkit.api.open_observed", lambda *_, **__: 1 / 0)
    message = refused(1, "explain", "sample:digits", "--rank", 2)
    assert message == "error: unexpected ZeroDivisionError: division by zero (run again with -v for the traceback)\n"
    assert "Traceback" in run("explain", "sample:digits", "--rank", 2, "-v").stderr


def test_a_file_that_the_system_refuses_is_named(capsys):
    with pytest.raises(typer.Exit), explained(verbose=False):
        raise PermissionError(13, "Permission denied", "locked/x.csv")
    assert capsys.readouterr().err == "error: locked/x.csv: Permission denied\n"


def test_interrupted_before_the_first_sweep_nothing_is_written(monkeypatch, tmp_path):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("nmfkit.api.survey", interrupt)
    message = refused(130, "fit", "sample:digits", "--rank", 2, "-o", tmp_path / "run.zarr")
    assert message == "interrupted before the first sweep; nothing was written\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_fit_resumes_bit_for_bit(number, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((600, 50)))
    out = tmp_path / "run.zarr"
    common = ["--rank", "5", "--loss", "kl", "--tol", "0", "--threads", "1"]
    fit = subprocess.Popen(
        [sys.executable, "-m", "nmfkit", "fit", tmp_path / "x.npy", *common, "--max-sweeps", "1000000",
         "--checkpoint-every", "1", "-o", out],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for_checkpoint(out, fit)
    fit.send_signal(number)
    told, message = fit.communicate(timeout=30)
    assert (fit.returncode, told) == (130, "")
    assert f"continue with: nmfkit resume {out}" in message
    assert "Traceback" not in message
    sweeps = nmfkit.load(out).state.sweep + 5
    assert run("resume", out, "--max-sweeps", sweeps, "--threads", 1).exit_code == 0
    whole = tmp_path / "whole.zarr"
    assert run("fit", tmp_path / "x.npy", *common, "--max-sweeps", sweeps, "-o", whole).exit_code == 0
    resumed, uninterrupted = nmfkit.load(out), nmfkit.load(whole)
    assert np.array_equal(resumed.w, uninterrupted.w)
    assert np.array_equal(resumed.h, uninterrupted.h)
    assert np.array_equal(resumed.history.objective, uninterrupted.history.objective)


def wait_for_checkpoint(out, process):
    metadata = out / "checkpoint" / "zarr.json"
    for _ in range(600):
        assert process.poll() is None, process.communicate()
        if metadata.exists() and '"slot"' in metadata.read_text():
            return
        time.sleep(0.05)
    raise AssertionError("no checkpoint within 30 s")


def test_a_closed_pipe_is_no_error_message():
    listing = subprocess.Popen(
        [sys.executable, "-m", "nmfkit", "plugins", "list", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert listing.stdout is not None
    listing.stdout.close()
    assert listing.stderr is not None
    assert listing.stderr.read() == ""
    listing.stderr.close()
    listing.wait(timeout=30)
