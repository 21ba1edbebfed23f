"""Metrics of every fit in one CSV file: a line each for run, step, wall time, metric and value."""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from nmfkit import FitDescription, FitEnd, hookimpl

if TYPE_CHECKING:
    from nmfkit.loop import Record

FILE = "NMFKIT_METRICS_CSV"
"""Environment variable: the file to write to. Nothing is written without it."""
COLUMNS = ("run", "step", "wall_time", "metric", "value")


@hookimpl
def nmfkit_fit_started(fit: FitDescription) -> None:
    """What an experiment tracker calls parameters, at step 0 or where the fit goes on."""
    parts = {name: fit.problem[name] for name in ("model", "loss", "rule", "seed")}
    ranks = ",".join(map(str, fit.problem["ranks"]))
    _write(fit, fit.resumed_from or 0, {**parts, "rank": ranks, "source": fit.source, "out": fit.out or ""})


@hookimpl
def nmfkit_sweep_done(fit: FitDescription, record: Record) -> None:
    """The course of the objective."""
    _write(fit, record.sweep, {"objective": record.objective, "seconds": record.seconds})


@hookimpl
def nmfkit_checkpoint(fit: FitDescription, sweep: int) -> None:
    """That the run on disk holds this sweep."""
    _write(fit, sweep, {"checkpoint": sweep})


@hookimpl
def nmfkit_fit_finished(fit: FitDescription, end: FitEnd) -> None:
    """How it ended."""
    step = end.record.sweep if end.record else fit.resumed_from or 0
    _write(fit, step, {"status": end.status, "stopped_by": end.stopped_by or "", "total_seconds": end.seconds})


def _write(fit: FitDescription, step: int, metrics: dict[str, object]) -> None:
    """Add lines to the file; the first fit writes the names of the columns above them."""
    name = os.environ.get(FILE)
    if not name:
        return
    now = f"{time.time():.6f}"
    with Path(name).open("a", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        if file.tell() == 0:
            out.writerow(COLUMNS)
        out.writerows((fit.fit, step, now, metric, value) for metric, value in metrics.items())
