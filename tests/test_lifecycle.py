"""Plugins and watchers hear of a fit from its start to its end, and cannot change it."""

from __future__ import annotations

import dataclasses
import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import numpy as np
import pytest
from small import COUNTS, QUICK, X

import nmfkit
from nmfkit import FitDescription, FitEnd, hookimpl, registry
from nmfkit.hookspecs import LIFECYCLE, Hooks
from nmfkit.loop import Watcher


def listener(heard):
    """A module whose four hooks put what they hear into a list."""
    module = ModuleType("listener")

    @hookimpl
    def nmfkit_fit_started(fit):
        heard.append(("started", fit))

    @hookimpl
    def nmfkit_sweep_done(record, fit):
        heard.append(("sweep", record))

    @hookimpl
    def nmfkit_checkpoint(sweep):
        heard.append(("checkpoint", sweep))

    @hookimpl
    def nmfkit_fit_finished(fit, end):
        heard.append(("finished", end))

    for function in (nmfkit_fit_started, nmfkit_sweep_done, nmfkit_checkpoint, nmfkit_fit_finished):
        setattr(module, function.__name__, function)
    return module


@pytest.fixture
def install(monkeypatch):
    """Install modules as plugins that hear of fits, besides nothing else."""

    def put(*modules):
        observers = []
        for i, module in enumerate(modules):
            monkeypatch.setitem(sys.modules, f"listener_{i}", module)
            found = registry.load([EntryPoint(f"point-{i}", f"listener_{i}", "nmfkit")])
            assert not found.broken, found.broken[0].traceback
            observers += found.observers
        monkeypatch.setattr(registry.registry(), "observers", observers)

    return put


class Remembering(Watcher):
    def __init__(self, heard):
        self.heard = heard

    def started(self, fit):
        self.heard.append(("started", fit))

    def sweep(self, state):
        self.heard.append(("sweep", state.history[-1]))

    def checkpoint(self, sweep):
        self.heard.append(("checkpoint", sweep))

    def finished(self, end):
        self.heard.append(("finished", end))


def test_plugins_and_watchers_hear_the_same(install, tmp_path):
    heard, watched = [], []
    install(listener(heard))
    result = nmfkit.fit(
        COUNTS, out=tmp_path / "run.zarr", loss="kl", checkpoint_every=5, watcher=Remembering(watched), **QUICK
    )
    assert heard == watched
    kinds = [kind for kind, _ in heard]
    assert (kinds[0], kinds[-1], kinds.count("sweep")) == ("started", "finished", 16)
    assert [what for kind, what in heard if kind == "checkpoint"] == [5, 10]
    assert [r.objective for kind, r in heard if kind == "sweep"] == result.history.objective.tolist()
    fit, end = heard[0][1], heard[-1][1]
    assert (fit.out, fit.shape, fit.resumed_from) == (str(tmp_path / "run.zarr"), (60, 40), None)
    assert (fit.problem["rule"], fit.problem["ranks"]) == (result.problem.rule, (4,))
    assert (end.status, end.stopped_by, end.error) == ("done", "max-sweeps", None)
    assert end.record.objective == result.objective


def test_a_fit_that_goes_on_says_from_where(install, tmp_path):
    heard = []
    install(listener(heard))
    nmfkit.fit(X, out=tmp_path / "run.zarr", **QUICK)
    first = heard[0][1]
    heard.clear()
    nmfkit.resume(tmp_path / "run.zarr", X, max_sweeps=18)
    assert heard[0][1].resumed_from == 15
    assert heard[0][1].fit != first.fit
    assert [r.sweep for kind, r in heard if kind == "sweep"] == [16, 17, 18]
    heard.clear()
    nmfkit.resume(tmp_path / "run.zarr", X)
    assert heard == [], "nothing was fitted"


class Raising(Watcher):
    def __init__(self, error, at=3):
        self.error, self.at = error, at

    def sweep(self, state):
        if state.sweep == self.at:
            raise self.error


@pytest.mark.parametrize("out", [None, "run.zarr"])
@pytest.mark.parametrize(
    ("error", "status", "said"),
    [(KeyboardInterrupt(), "interrupted", None), (ValueError("odd"), "failed", "ValueError: odd")],
)
def test_a_fit_that_breaks_off_is_told_with_its_last_sweep(install, tmp_path, out, error, status, said):
    heard = []
    install(listener(heard))
    with pytest.raises((nmfkit.Interrupted, KeyboardInterrupt, ValueError)):
        nmfkit.fit(X, out=out and tmp_path / out, watcher=Raising(error), **QUICK)
    end = heard[-1][1]
    assert (end.status, end.stopped_by, end.error, end.record.sweep) == (status, None, said, 3)


def test_a_resumption_that_breaks_off_at_once_ends_where_it_began(install, tmp_path):
    class Refusing(Watcher):
        def stage(self, name):
            raise ValueError(name)

    heard = []
    nmfkit.fit(X, out=tmp_path / "run.zarr", **QUICK)
    install(listener(heard))
    with pytest.raises(ValueError, match=r"."):
        nmfkit.resume(tmp_path / "run.zarr", X, max_sweeps=18, watcher=Refusing())
    assert (heard[-1][1].status, heard[-1][1].record.sweep) == ("failed", 15)


def test_a_fit_refused_by_its_data_is_told_too(install):
    heard = []
    install(listener(heard))
    with pytest.raises(nmfkit.DataError):
        nmfkit.fit(-X, **QUICK)
    assert [kind for kind, _ in heard] == ["started", "finished"]
    assert (heard[-1][1].status, heard[-1][1].record) == ("failed", None)


def test_what_plugins_hear_cannot_be_changed(install):
    heard = []
    install(listener(heard))
    nmfkit.fit(X, model_options={}, reg_h="l1:0.1", **QUICK)
    fit, record, end = heard[0][1], heard[1][1], heard[-1][1]
    for thing, field in ((fit, "out"), (record, "objective"), (end, "status")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, field, 0)
    with pytest.raises(TypeError):
        fit.problem["rule"] = "mu"
    assert all(not isinstance(value, list | dict | np.ndarray) for value in fit.problem.values())


@pytest.mark.parametrize("hook", LIFECYCLE)
@pytest.mark.parametrize("error", [RuntimeError("no disk"), SystemExit(3)], ids=["fault", "exit"])
def test_a_plugin_that_fails_is_told_once_and_harms_nobody(install, capsys, tmp_path, hook, error):
    heard = []
    bad, good = ModuleType("bad"), listener(heard)

    def fail(fit):
        print("on standard output")
        raise error

    setattr(bad, hook, hookimpl(fail, specname=hook))
    install(bad, good)
    alone = nmfkit.fit(COUNTS, out=tmp_path / "run.zarr", checkpoint_every=2, **QUICK)
    shown = capsys.readouterr()
    assert shown.out == ""
    told = [line for line in shown.err.splitlines() if line.startswith("nmfkit: ")]
    (line,) = told
    assert line.startswith("nmfkit: plugin 'point-0' of (unknown) 0 failed in " + hook)
    assert type(error).__name__ in line
    assert heard[-1][1].status == "done"
    install()
    assert np.array_equal(alone.w, nmfkit.fit(COUNTS, **QUICK).w)


def test_ctrl_c_in_a_plugin_stays_the_users(install):
    module = ModuleType("pressed")

    @hookimpl
    def nmfkit_sweep_done(record):
        if record.sweep == 4:
            raise KeyboardInterrupt

    module.nmfkit_sweep_done = nmfkit_sweep_done
    install(module)
    with pytest.raises(KeyboardInterrupt):
        nmfkit.fit(X, **QUICK)


def test_a_wrapper_is_refused_and_named(monkeypatch, capsys):
    module = ModuleType("wrapping")

    @hookimpl(wrapper=True)
    def nmfkit_fit_started(fit):
        return (yield)

    module.nmfkit_fit_started = nmfkit_fit_started
    monkeypatch.setitem(sys.modules, "wrapping", module)
    found = registry.load([EntryPoint("wrapping", "wrapping", "nmfkit")])
    assert found.observers == []
    assert "a wrapper has nothing to wrap here" in found.broken[0].reason
    assert "broken and left out" in capsys.readouterr().err


def test_a_hook_with_other_arguments_is_refused(monkeypatch, capsys):
    module = ModuleType("asking")
    module.nmfkit_sweep_done = hookimpl(lambda state: None, specname="nmfkit_sweep_done")
    monkeypatch.setitem(sys.modules, "asking", module)
    found = registry.load([EntryPoint("asking", "asking", "nmfkit")])
    assert (found.observers, len(found.broken)) == ([], 1)
    assert "state" in found.broken[0].traceback
    capsys.readouterr()


def test_a_misspelt_hook_is_told_with_the_close_name(monkeypatch):
    module = ModuleType("misspelt")

    @hookimpl
    def nmfkit_fit_finish(fit):
        """A slip."""

    module.nmfkit_fit_finish = nmfkit_fit_finish
    monkeypatch.setitem(sys.modules, "misspelt", module)
    with pytest.warns(UserWarning, match="did you mean 'nmfkit_fit_finished'"):
        registry.load([EntryPoint("misspelt", "misspelt", "nmfkit")])


def test_every_hook_of_the_family_is_a_specification():
    assert [name for name in LIFECYCLE if not hasattr(Hooks, name)] == []
    assert {f.name for f in dataclasses.fields(FitDescription)} >= {"fit", "out", "problem", "source", "shape"}
    assert {f.name for f in dataclasses.fields(FitEnd)} >= {"status", "stopped_by", "record", "error"}


def test_plugins_that_listen_are_listed(install):
    from typer.testing import CliRunner

    from nmfkit.cli.app import app

    install(listener([]))
    shown = CliRunner().invoke(app, ["plugins", "list"])
    assert shown.exit_code == 0
    assert "Plugins that hear of fits\n  point-0  nmfkit_fit_started, nmfkit_sweep_done" in shown.stdout
    shown = CliRunner().invoke(app, ["plugins", "info", "point-0"])
    assert (shown.exit_code, "point-0, a plugin that hears of fits" in shown.stdout) == (0, True)
