import csv
from importlib.metadata import EntryPoint

import numpy as np
import pytest

import nmfkit
from nmfkit import registry
from nmfkit.loop import Watcher

X = np.random.default_rng(0).random((30, 12))
QUICK = {"rank": 3, "max_sweeps": 5, "tol": 0}


@pytest.fixture
def metrics(tmp_path, monkeypatch):
    """Fits with the plugin alone to listen; returns a function that reads its file."""
    found = registry.load([EntryPoint("metrics-csv", "nmfkit_metrics_csv", "nmfkit")])
    assert not found.broken
    monkeypatch.setattr(registry.registry(), "observers", found.observers)
    monkeypatch.setenv("NMFKIT_METRICS_CSV", str(tmp_path / "metrics.csv"))

    def read():
        with (tmp_path / "metrics.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    return read


def of(lines, metric):
    return [line["value"] for line in lines if line["metric"] == metric]


def test_a_fit_leaves_its_parameters_its_course_and_its_end(metrics, tmp_path):
    result = nmfkit.fit(X, out=tmp_path / "run.zarr", **QUICK)
    lines = metrics()
    assert len({line["run"] for line in lines}) == 1
    assert [float(v) for v in of(lines, "objective")] == result.history.objective.tolist()
    assert [int(line["step"]) for line in lines if line["metric"] == "objective"] == [0, 1, 2, 3, 4, 5]
    assert (of(lines, "rule"), of(lines, "rank")) == (["hals"], ["3"])
    assert (of(lines, "status"), of(lines, "stopped_by")) == (["done"], ["max-sweeps"])
    times = [float(line["wall_time"]) for line in lines]
    assert times == sorted(times)


def test_a_fit_that_goes_on_starts_where_it_was(metrics, tmp_path):
    nmfkit.fit(X, out=tmp_path / "run.zarr", **QUICK)
    nmfkit.resume(tmp_path / "run.zarr", X, max_sweeps=8)
    lines = metrics()
    second = [line for line in lines if line["run"] == lines[-1]["run"]]
    assert second[0]["step"] == "5"
    assert [line["step"] for line in second if line["metric"] == "objective"] == ["6", "7", "8"]
    assert [line["run"] for line in lines].count("run") == 0  # the header stands once, at the top


class Stopping(Watcher):
    def __init__(self, error):
        self.error = error

    def sweep(self, state):
        if state.sweep == 2:
            raise self.error


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), "interrupted"), (OSError("no"), "failed")])
def test_a_fit_that_ends_early_says_so(metrics, error, status):
    with pytest.raises(type(error)):
        nmfkit.fit(X, watcher=Stopping(error), **QUICK)
    assert of(metrics(), "status") == [status]


@pytest.mark.usefixtures("metrics")
def test_nothing_is_written_without_a_file_to_write_to(tmp_path, monkeypatch):
    monkeypatch.delenv("NMFKIT_METRICS_CSV")
    nmfkit.fit(X, **QUICK)
    assert list(tmp_path.iterdir()) == []
