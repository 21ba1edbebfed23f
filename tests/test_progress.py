"""What a terminal shows of a fit: blocks that fall with the decrease, on any terminal, and nothing for quick fits."""

from __future__ import annotations

import io
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from nmfkit.cli import live, progress
from nmfkit.cli.course import pace_text, place_text, stage_text
from nmfkit.cli.sparkline import PLAIN, RAMP, bars, decreases, sparkline
from nmfkit.cli.terminal import ramp_of, spelt
from nmfkit.hookspecs import FitDescription
from nmfkit.loop import Record, State
from nmfkit.problem import Problem

CURVES = st.lists(st.floats(1e-3, 1e9), min_size=0, max_size=60).map(lambda fs: list(enumerate(fs)))


@given(CURVES, st.integers(1, 50), st.sampled_from([0.0, 1e-4, 1.0]), st.sampled_from([RAMP, PLAIN]))
def test_a_line_has_a_block_a_stretch_and_no_more(curve, columns, tol, ramp):
    line = sparkline(curve, columns, tol, ramp)
    assert len(line) == max(0, min(columns, len(curve) - 1))
    assert set(line) <= set(ramp)


@given(CURVES, st.floats(1e-3, 1e3), st.integers(1, 50))
def test_the_scale_of_the_objective_does_not_matter(curve, scale, columns):
    scaled = [(sweep, f * scale) for sweep, f in curve]
    assert decreases(scaled, columns) == pytest.approx(decreases(curve, columns), rel=1e-6, abs=1e-9)


@given(st.lists(st.floats(1e-12, 1e3), min_size=1, max_size=40), st.floats(0, 1e-2))
def test_larger_decreases_never_have_lower_blocks(values, tol):
    line = bars(values, tol)
    heights = [RAMP.index(block) for block in line]
    order = sorted(range(len(values)), key=lambda i: values[i])
    assert all(heights[a] <= heights[b] for a, b in pairwise(order))
    if tol:
        assert [height == 0 for height in heights] == [value <= tol for value in values]


def test_a_course_of_powers_falls_evenly():
    curve = [(k, 1 + 10.0**-k) for k in range(9)]
    heights = [RAMP.index(block) for block in sparkline(curve, 8)]
    assert heights == sorted(heights, reverse=True)
    assert len(set(heights)) > 5


@pytest.mark.parametrize("columns", [1, 7, 60])
def test_a_stretch_of_any_length_counts_as_ten_sweeps(columns):
    curve = [(k, 1e6 - k) for k in range(121)]
    assert decreases(curve, columns) == pytest.approx([10e-6] * columns, rel=1e-3)


def test_a_rise_and_a_standstill_have_the_lowest_block():
    assert sparkline([(0, 9.0), (1, 4.0), (2, 5.0), (3, 5.0), (4, 2.0)], 4, 1e-4)[1:3] == RAMP[0] * 2
    assert sparkline([(0, 5.0), (1, 5.0)], 4) == RAMP[0]
    assert sparkline([(0, 5.0)], 4) == ""


@pytest.mark.parametrize(("encoding", "ramp"), [("utf-8", RAMP), ("ascii", PLAIN), ("latin-1", PLAIN)])
def test_a_terminal_gets_what_it_can_show(encoding, ramp):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    assert ramp_of(stream) == ramp
    spelt("sweep 3 · objective 2 × 3", stream).encode(encoding)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (place_text(3, 200, 12.0), "sweep 3 of 200, at most 12 s left"),
        (place_text(3, None, None), "sweep 3"),
        (stage_text("probe"), "looking at the data"),
        (stage_text("probe", 61.0), "looking at the data, 1 min 1 s"),
        (pace_text(0.5), "2 sweeps/s"),
        (pace_text(90.0), "1 min 30 s a sweep"),
    ],
)
def test_words(text, wanted):
    assert text == wanted


# --- drawn ----------------------------------------------------------------------------------------------------


def fit_of(**fields):
    problem = Problem(ranks=(4,), max_sweeps=100, **fields).as_json()
    return FitDescription("f00", None, problem, "x.zarr", (60, 40), None, 0.0)


def history(sweeps):
    return tuple(Record(k, 1 + 0.5**k, 0.1 * k) for k in range(sweeps + 1))


def drawn(width, encoding="utf-8", sweeps=40, **fields):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, force_terminal=True, highlight=False, color_system=None)
    meter = live.Drawn(console, 100)
    meter._told -= 60
    meter.started(fit_of(**fields))
    meter.stage("sweeps")
    for last in range(sweeps + 1):
        meter.sweep(State(None, None, None, history(last)))
    console.print(meter)
    file.flush()
    return file.buffer.getvalue().decode(encoding)


@pytest.mark.parametrize("width", [20, 38, 60, 100])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_every_width_and_encoding_gets_three_lines_that_fit(width, encoding):
    lines = drawn(width, encoding).splitlines()
    assert len(lines) == 3
    assert all(len(line) <= width for line in lines)
    assert "sweep 40 of 100"[: width - 1] in lines[0]
    assert set(lines[2].split(" ")[0]) <= set(RAMP if encoding == "utf-8" else PLAIN)


def test_a_time_limit_bounds_what_is_left():
    assert "at most" in drawn(100)
    assert "at most 0.00 s left" in drawn(100, time_limit=1e-9)


def test_a_quick_fit_draws_nothing():
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=True, highlight=False)
    meter = live.Drawn(console, 100)
    meter.stage("sweeps")
    meter.sweep(State(None, None, None, history(3)))
    console.print(meter)
    assert file.getvalue().strip() == ""


def test_lines_are_sparse_where_there_is_no_terminal(capsys, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    meter = progress.Lines(100)
    meter.started(fit_of())
    meter.stage("sweeps")
    for last in range(60):
        now[0] += 0.5
        meter.sweep(State(None, None, None, history(last)))
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("sweep 9 of 100, at most ")


def test_a_fit_goes_on_where_nobody_reads_its_notes(monkeypatch):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(progress.sys, "stderr", Closed())
    meter = progress.Lines(100)
    meter.note("something")
    meter._told -= 60
    meter.sweep(State(None, None, None, history(3)))
    assert meter.done == 3


def test_a_stage_that_is_long_says_how_long(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    meter = progress.Lines(100)
    meter.stage("probe")
    now[0] += 75
    assert meter.line() == "looking at the data, 1 min 15 s"
    assert time.monotonic() == now[0]
