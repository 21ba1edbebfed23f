"""Reading curves: what was the best, who came near it when, what an iteration took."""

import json
import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

LEVELS = (0.05, 0.01, 0.001)
"""Shares of the best objective within which a fit is to come."""


@dataclass(frozen=True)
class Entry:
    """The repeats of one solver on one workload, as recorded; `best` is the lowest objective that anybody reached."""

    solver: str
    dtype: str
    threads: int
    best: float
    runs: list[dict[str, Any]]

    def to(self, level, clock) -> tuple[float, float]:
        """Seconds and iterations to the first checkpoint within `level`, medians; infinite where most never came."""
        found = [first_within(run["curve"], (1 + level) * self.best, clock, self.threads) for run in self.runs]
        seconds, iterations = zip(*found, strict=True)
        return median(seconds), median(iterations)

    def seconds_each(self, clock) -> float:
        """Seconds of an iteration."""
        return median(pace(run["curve"], clock, self.threads) for run in self.runs)

    def gap(self) -> float:
        """How far above the best it ended, as a share."""
        return median(run["curve"][-1][3] for run in self.runs) / self.best - 1

    def peak(self) -> float:
        """Bytes that it held at most, in its own process or in one that it started."""
        return median(max(run["memory"]["peak"], run["memory"]["elsewhere"]) for run in self.runs)

    def memory(self) -> float | None:
        """The data with all that the fit held besides, over the data and one pair of factors."""
        if any(run["memory"]["elsewhere"] > 0 for run in self.runs):
            return None  # how much of that process is R is not known
        return median(over_data(**run["memory"]) for run in self.runs)

    def curve(self, clock) -> list[tuple[float, float]]:
        """(seconds, share above the best) at each checkpoint that all repeats came to, medians."""
        points = zip(*(run["curve"][1:] for run in self.runs), strict=False)
        return [
            (median(seconds(p, clock, self.threads) for p in same), median(p[3] for p in same) / self.best - 1)
            for same in points
        ]


def read(paths) -> list[dict[str, Any]]:
    """The records of all files that hold a checkpoint at least."""
    lines = [line for path in paths for line in Path(path).read_text().splitlines() if line.strip()]
    return [record for record in map(json.loads, lines) if len(record["curve"]) > 1]


def entries(records) -> dict[tuple, list[Entry]]:
    """By (workload, scale, seed) and number of threads, one for each solver and precision."""
    lowest: dict[tuple, float] = defaultdict(lambda: math.inf)
    runs = defaultdict(list)
    for record in records:
        matrix = (record["workload"], record["scale"], record["seed"])
        lowest[matrix] = min(lowest[matrix], *(point[3] for point in record["curve"]))
        runs[matrix, record["threads"], record["solver"], record["dtype"]].append(record)
    found = defaultdict(list)
    for (matrix, threads, solver, dtype), same in sorted(runs.items(), key=lambda item: item[0]):
        found[*matrix, threads].append(Entry(solver, dtype, threads, lowest[matrix], same))
    return dict(found)


def seconds(point, clock, threads) -> float:
    """On the clock on the wall, or of the processor for each thread."""
    return point[1] if clock == "wall" else point[2] / threads


def first_within(curve, target, clock, threads) -> tuple[float, float]:
    """Seconds and iterations of the first checkpoint at or below `target`; nothing is interpolated."""
    for point in curve:
        if point[3] <= target:
            return seconds(point, clock, threads), point[0]
    return math.inf, math.inf


def pace(curve, clock, threads) -> float:
    """Seconds of an iteration from the first checkpoint to the last: what a fit costs once is left out."""
    first, last = curve[1], curve[-1]
    if len(curve) == 2:
        first = curve[0]
    return (seconds(last, clock, threads) - seconds(first, clock, threads)) / (last[0] - first[0])


def over_data(*, before, peak, data, factors, **_) -> float:
    return (data + factors + max(0, peak - before)) / (data + factors)
