"""A running fit leaves a mark beside its run, and `nmfkit watch` reads it; nothing is left when it is done."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import COUNTS, QUICK
from typer.testing import CliRunner

import nmfkit
from nmfkit import marker
from nmfkit.cli import watch_loop
from nmfkit.cli.app import app
from nmfkit.errors import StoreError
from nmfkit.loop import Record, Watcher
from nmfkit.mark import POINTS, Mark, MarkFile, thinned
from nmfkit.watch import look

GONE = 2**22 + 1
"""More than the largest number of a process."""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(marker, "CALM", 0.01)
    monkeypatch.setattr(marker, "EVERY", 0.01)
    monkeypatch.setattr(marker, "EVERY_REMOTE", 0.01)
    monkeypatch.setattr(watch_loop, "EVERY_HERE", 0.01)


def run(*arguments):
    return CliRunner().invoke(app, ["watch", *map(str, arguments)])


def some_mark(**changes):
    known = {
        "fit": "f00", "host": "elsewhere", "pid": 7, "started": time.time() - 60, "written": time.time(), "every": 1.0,
        "problem": nmfkit.Problem(ranks=(4,)).as_json(), "source": "x.zarr", "shape": (60, 40), "stage": "sweeps",
        "sweep": 3, "objective": 2.5, "seconds": 30.0, "pace": 10.0, "part": 0.25, "left": 1970.0, "kept": 2,
        "curve": ((0, 9.0), (1, 4.0), (2, 3.0), (3, 2.5)),
    }  # fmt: skip
    return Mark(**{**known, **changes})


class Looking(Watcher):
    """Waits for a mark of a sweep, and looks."""

    def __init__(self, out, at=3):
        self.out, self.at, self.seen = out, at, None

    def sweep(self, state):
        if state.sweep == self.at:
            self.seen = seen(self.out, lambda found: found.sweep == self.at)


def seen(out, wanted, seconds=20.0):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            found = look(out)
        except StoreError:
            found = None
        if found is not None and wanted(found):
            return found
        time.sleep(0.005)
    raise AssertionError(f"not seen in time: {found}")


# --- the mark -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("remote", [False, True])
def test_a_running_fit_is_seen_before_its_run_is_there(tmp_path, remote):
    if remote:
        pytest.importorskip("fsspec")
    out = f"memory://{tmp_path.name}/runs/a.zarr" if remote else tmp_path / "runs" / "a.zarr"
    looking = Looking(out)
    result = nmfkit.fit(COUNTS, loss="kl", out=out, watcher=looking, **QUICK)
    found = looking.seen
    assert (found.status, found.sweep, found.stage, found.kept) == ("running", 3, "sweeps", None)
    assert found.objective == result.history.objective[3]
    assert found.curve == tuple(zip(range(4), result.history.objective[:4].tolist(), strict=True))
    assert (found.pid, found.shape, found.problem["loss"]) == (os.getpid(), (60, 40), "kl")
    assert MarkFile(out).read() is None, "the mark is gone with the fit"
    after = look(out)
    assert (after.status, after.stopped_by, after.sweep, after.heard) == ("done", "max-sweeps", 15, None)
    assert after.objective == result.objective
    if not remote:
        assert [p.name for p in (tmp_path / "runs").iterdir()] == ["a.zarr"]


def test_a_run_that_is_to_be_replaced_stays_and_the_new_fit_is_seen(tmp_path):
    out = tmp_path / "a.zarr"
    old = nmfkit.fit(COUNTS, out=out, **QUICK)

    class Checking(Looking):
        def sweep(self, state):
            super().sweep(state)
            assert nmfkit.load(out).objective == old.objective

    looking = Checking(out)
    nmfkit.fit(COUNTS, loss="kl", out=out, overwrite=True, watcher=looking, **QUICK)
    assert looking.seen.problem["loss"] == "kl"
    assert look(out).problem["loss"] == "kl"


class Breaking(Looking):
    def __init__(self, out, error):
        super().__init__(out)
        self.error = error

    def sweep(self, state):
        super().sweep(state)
        if state.sweep == self.at:
            raise self.error


def test_a_fit_that_breaks_off_before_it_holds_anything_leaves_nothing_behind(tmp_path):
    out = tmp_path / "new" / "deep" / "a.zarr"

    class First(Watcher):
        def stage(self, name):
            if name == "sweeps":
                seen(out, lambda found: found.sweep is None)
                raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        nmfkit.fit(COUNTS, out=out, watcher=First(), **QUICK)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError, match="does not exist, and no fit that writes it"):
        look(out)


def test_an_interrupted_fit_is_seen_as_one(tmp_path):
    out = tmp_path / "a.zarr"
    with pytest.raises(nmfkit.Interrupted):
        nmfkit.fit(COUNTS, out=out, watcher=Breaking(out, KeyboardInterrupt()), **QUICK)
    found = look(out)
    assert (found.status, found.sweep, found.kept, found.heard) == ("interrupted", 3, 3, None)
    shown = run(out)
    assert shown.exit_code == 1
    assert "was interrupted after sweep 3" in shown.stderr
    assert f"nmfkit resume {out}" in shown.stdout
    nmfkit.resume(out, COUNTS, watcher=(looking := Looking(out, at=9)))
    assert (looking.seen.status, looking.seen.kept) == ("running", 3)
    assert run(out).exit_code == 0


def test_marks_that_cannot_be_written_cost_nothing(tmp_path, monkeypatch):
    written = []

    def refuse(self, data):
        written.append(data)
        raise StoreError("the disk is full")

    monkeypatch.setattr(MarkFile, "_write_file", refuse)

    class Slow(Watcher):
        def sweep(self, state):
            until = time.monotonic() + 20
            while len(written) < 3 and time.monotonic() < until:
                time.sleep(0.005)

    result = nmfkit.fit(COUNTS, out=tmp_path / "a.zarr", watcher=Slow(), **QUICK)
    assert len(written) >= 3
    assert result.status == "done"


def test_only_the_mark_of_the_same_fit_is_taken_away(tmp_path):
    place = MarkFile(tmp_path / "a.zarr")
    place.write(some_mark(fit="other"))
    place.remove("mine")
    assert place.read().fit == "other"
    place.remove("other")
    assert place.read() is None


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=400), st.integers(2, 50))
def test_a_thinned_history_has_both_its_ends_and_keeps_its_order(objectives, most):
    history = [Record(i, f, 0.0) for i, f in enumerate(objectives)]
    points = thinned(history, most)
    assert points[0] == (0, objectives[0])
    assert points[-1] == (len(objectives) - 1, objectives[-1])
    assert len(points) == min(most, len(history))
    assert list(points) == sorted(set(points))
    assert all(objectives[sweep] == f for sweep, f in points)


def test_a_mark_survives_its_file(tmp_path):
    mark = some_mark(curve=tuple((i, 1 / (i + 1)) for i in range(POINTS)))
    place = MarkFile(tmp_path / "a.zarr")
    place.write(mark)
    assert place.read() == dataclasses.replace(mark, problem=json.loads(json.dumps(mark.problem)))
    assert [p.name for p in tmp_path.iterdir()] == [".a.zarr.progress"]


@given(st.binary(max_size=60) | st.sampled_from([b"{}", b"[]", b"null", b'{"fit": 3}']))
def test_what_is_no_mark_is_refused(data):
    with pytest.raises(ValueError, match=r"."):
        Mark.from_json(data)


@pytest.mark.parametrize("field", ["started", "written", "every", "shape", "curve", "problem", "pid", "sweep"])
@pytest.mark.parametrize("value", ["odd", {"a": 1}, [[1]]])
def test_a_mark_with_a_wrong_field_is_refused(field, value):
    found = json.loads(some_mark().to_json())
    if field == "problem" and isinstance(value, dict):
        value = 3
    with pytest.raises(ValueError, match=r"."):
        Mark.from_json(json.dumps({**found, field: value}).encode())


@pytest.mark.parametrize(
    "changes",
    [
        *({name: value} for name in ("written", "seconds", "pace", "left") for value in (float("nan"), float("inf"))),
        {"objective": "low"},
        {"shape": [60, [40]]},
        *({"problem": {name: value}} for name in ("ranks", "tol", "max_sweeps") for value in ([[1]], "x", -1.5, {})),
    ],
)
def test_a_mark_that_is_shown_holds_what_can_be_shown(tmp_path, changes):
    """Whatever passes is shown without a fault; the rest is refused with the place of the mark."""
    MarkFile(tmp_path / "a.zarr").write(some_mark(**changes))
    shown = run(tmp_path / "a.zarr", "--once")
    assert "unexpected" not in shown.stderr
    assert shown.exit_code == 0 or "is no progress mark" in shown.stderr


def test_a_mark_that_cannot_be_removed_costs_no_fit(tmp_path, monkeypatch):
    def stale(self, missing_ok=False):
        raise OSError(116, "Stale file handle")

    def unlucky(self, fit):
        with monkeypatch.context() as patch:
            patch.setattr("nmfkit.mark.Path.unlink", stale)
            remove(self, fit)

    remove = MarkFile.remove
    monkeypatch.setattr(MarkFile, "remove", unlucky)
    looking = Looking(tmp_path / "a.zarr")
    assert nmfkit.fit(COUNTS, out=tmp_path / "a.zarr", watcher=looking, **QUICK).status == "done"
    with pytest.raises(StoreError, match="cannot be removed: Stale file handle"):
        MarkFile(tmp_path / "a.zarr").remove(MarkFile(tmp_path / "a.zarr").read().fit)


# --- nmfkit watch -------------------------------------------------------------------------------------------


def test_one_look_in_words_and_as_json(tmp_path):
    MarkFile(tmp_path / "a.zarr").write(some_mark())
    shown = run(tmp_path / "a.zarr", "--once")
    assert shown.exit_code == 0
    for piece in ("running, last sign of life", "process 7 on elsewhere", "3 of 200", "at most 32 min", "sweep 2"):
        assert piece in shown.stdout
    assert "█" in shown.stdout
    found = json.loads(run(tmp_path / "a.zarr", "--json").stdout)
    assert (found["status"], found["sweep"], found["objective"], found["checkpoint"]) == ("running", 3, 2.5, 2)
    assert found["problem"]["ranks"] == [4]


@pytest.mark.parametrize(
    ("later", "changes", "status"),
    [
        (-1000, {}, "silent"),
        (-1000, {"every": 500.0}, "running"),
        (1000, {}, "running"),
    ],
)
def test_silence_is_told(tmp_path, later, changes, status):
    MarkFile(tmp_path / "a.zarr").write(some_mark(written=time.time() + later, **changes))
    assert look(tmp_path / "a.zarr").status == status


@pytest.mark.skipif(os.name != "posix", reason="signal 0 asks after a process under POSIX alone")
def test_a_process_of_this_machine_that_is_gone_is_told_at_once(tmp_path):
    import socket

    mark = some_mark(host=socket.gethostname(), pid=GONE, written=time.time() - 3, kept=None)
    MarkFile(tmp_path / "a.zarr").write(mark)
    shown = run(tmp_path / "a.zarr")
    assert shown.exit_code == 1
    assert "is gone without a word" in shown.stderr
    assert "nothing yet" in shown.stdout
    assert run(tmp_path / "a.zarr", "--once").exit_code == 0


def test_watching_gives_up_after_its_patience(tmp_path):
    MarkFile(tmp_path / "a.zarr").write(some_mark(written=time.time() - 1000, every=0.01))
    shown = run(tmp_path / "a.zarr", "--patience", 5)
    assert shown.exit_code == 1
    assert "no sign of life" in shown.stderr


@pytest.mark.parametrize("ahead", [0, 3600])
def test_a_mark_that_is_never_renewed_is_given_up_whatever_its_clock_says(tmp_path, ahead):
    MarkFile(tmp_path / "a.zarr").write(some_mark(written=time.time() + ahead, every=0.001))
    found = []
    with pytest.raises(nmfkit.NmfkitError, match="no sign of life"):
        found.extend(one.status for one in watch_loop.sightings(str(tmp_path / "a.zarr"), None, 0.1))
    assert found[-1] == "silent"


def test_a_process_of_a_number_that_none_can_have_is_not_asked_after(tmp_path):
    import socket

    MarkFile(tmp_path / "a.zarr").write(some_mark(host=socket.gethostname(), pid=10**30, written=time.time() - 3))
    assert look(tmp_path / "a.zarr").status == "running"


def test_a_clock_that_is_wrong_does_not_make_a_fit_silent(tmp_path, monkeypatch):
    place, looks = MarkFile(tmp_path / "a.zarr"), []

    def write(_seconds):
        looks.append(1)
        if len(looks) < 4:
            place.write(some_mark(written=1000.0 + len(looks)))
        else:
            place.remove("f00")

    write(0)
    monkeypatch.setattr(watch_loop.time, "sleep", write)
    found = []
    with pytest.raises(nmfkit.NmfkitError, match="has ended, and nothing of it is kept"):
        found.extend(one.status for one in watch_loop.sightings(str(tmp_path / "a.zarr"), None, 300))
    assert found == ["silent", "running", "running"]


def test_lines_of_json_follow_a_fit_until_it_is_done(tmp_path):
    out = tmp_path / "a.zarr"
    code = (
        "import sys, time, numpy as np, nmfkit\n"
        "from nmfkit import marker, Watcher\n"
        "marker.CALM = marker.EVERY = 0.02\n"
        "class Slow(Watcher):\n"
        "    def sweep(self, state): time.sleep(0.04)\n"
        "x = np.random.default_rng(0).random((60, 20))\n"
        "nmfkit.fit(x, rank=3, max_sweeps=30, tol=0, out=sys.argv[1], watcher=Slow())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(out)])
    try:
        seen(out, lambda found: True)
        shown = run(out, "--json", "--follow")
    finally:
        assert process.wait(60) == 0
    assert shown.exit_code == 0
    found = [json.loads(line) for line in shown.stdout.splitlines()]
    assert found[-1]["status"] == "done"
    assert len(found) > 2
    sweeps = [one["sweep"] for one in found if one["sweep"] is not None]
    assert sweeps == sorted(sweeps)
    assert all({**one, "seconds_since_heard": 0} for one in found)
    quiet = run(out, "-q")
    assert (quiet.exit_code, quiet.stdout, quiet.stderr) == (0, "", "")


def test_a_run_without_a_sign_of_life_says_so(tmp_path):
    from nmfkit.store import RunStore

    out = tmp_path / "a.zarr"
    nmfkit.fit(COUNTS, out=out, **QUICK)
    RunStore.open(out, mode="r+").update(status="running")
    assert look(out).status == "silent"
    shown = run(out, "--patience", 0)
    assert (shown.exit_code, "no sign of life" in shown.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--once", "--follow"], 2, "choose one"),
        (["--patience", "0"], 1, "does not exist, and no fit that writes it gives a sign of life"),
    ],
)
def test_what_cannot_be_watched_is_refused(tmp_path, arguments, code, told):
    shown = run(tmp_path / "no.zarr", *arguments)
    assert (shown.exit_code, shown.stdout) == (code, "")
    assert told in shown.stderr


def test_a_fit_that_was_just_started_is_waited_for(tmp_path, monkeypatch):
    out, waits = tmp_path / "a.zarr", []

    def start(_seconds):
        waits.append(1)
        if len(waits) == 3:
            nmfkit.fit(COUNTS, out=out, **QUICK)

    monkeypatch.setattr(watch_loop.time, "sleep", start)
    shown = run(out)
    assert (shown.exit_code, len(waits)) == (0, 3)
    assert "done, at the most sweeps allowed" in shown.stdout


def test_at_a_uri_nothing_is_nothing(tmp_path):
    pytest.importorskip("fsspec")
    with pytest.raises(StoreError, match="does not exist, and no fit"):
        look(f"memory://{tmp_path.name}/no.zarr")


def test_a_file_is_no_run(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"")
    with pytest.raises(StoreError, match="is a file, and a run is a folder"):
        look(tmp_path / "a.npy")


def test_a_damaged_mark_is_told(tmp_path):
    (tmp_path / ".a.zarr.progress").write_bytes(b"\x00")
    shown = run(tmp_path / "a.zarr", "--once")
    assert (shown.exit_code, "is no progress mark" in shown.stderr) == (1, True)


def test_other_stores_are_refused(tmp_path):
    nmfkit.convert(COUNTS, tmp_path / "x.zarr")
    shown = run(tmp_path / "x.zarr")
    assert (shown.exit_code, "is no run of nmfkit" in shown.stderr) == (1, True)
