"""When a fit has come to its end, and how a decrease of the objective is measured."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nmfkit.problem import Problem
from nmfkit.protocols import Ends, HasUnfitted, Model, Shared

if TYPE_CHECKING:
    from nmfkit.loop import Record

WINDOW = 10
"""Sweeps over which the relative decrease is measured, so that one slow sweep does not end a fit."""


@dataclass(frozen=True)
class Gauge:
    """By what it is judged whether a fit has converged.

    The first `least` sweeps say nothing. `unfitted` is the objective of no factors at all, where a model says so: then
    a decrease is small to what the factors explain, too, where that is less than the objective. Where a model
    `wanders`, a rise is a change like any other; elsewhere it is rounding, and the end.
    """

    least: int = 0
    unfitted: float = math.inf
    wanders: bool = False

    @classmethod
    def of(cls, model: Model, shared: Shared) -> Gauge:
        """That of `model` for the data of a state."""
        unfitted = model.unfitted(shared) if isinstance(model, HasUnfitted) else math.inf
        return cls(int(getattr(model, "least_sweeps", 0)), unfitted, not getattr(model, "monotone", True))

    def change(self, before: float, now: float) -> float:
        """What is small where a fit has converged."""
        return abs(before - now) if self.wanders else before - now

    def size(self, objective: float) -> float:
        """What a decrease of the objective is compared with."""
        return min(abs(objective), abs(self.unfitted - objective))


PLAIN = Gauge()
"""That of most models."""


def gain(before: float, now: float, unfitted: float = math.inf) -> float:
    """The decrease from one objective to another as a part of what `tol` compares it with; NaN where that is zero."""
    size = Gauge(unfitted=unfitted).size(now)
    return (before - now) / size if size > sys.float_info.min else math.nan


def reason_of(model: Model, fetch: Callable[[], Shared]) -> str | None:
    """The model's own reason to stop after a sweep, by the state that follows it, which `fetch` gives if asked for."""
    # Asking for a protocol takes as long as a sweep of a tiny matrix: most models need not be asked.
    if not getattr(model, "ends", False):
        return None
    return model.ended(fetch()) if isinstance(model, Ends) else None


def reason_to_stop(problem: Problem, records: Sequence[Record], seconds: float, gauge: Gauge = PLAIN) -> str | None:
    """ "converged", "max-sweeps", "time-limit", or None to go on; `seconds` of this run alone."""
    last = records[-1]
    if last.sweep >= problem.max_sweeps:
        return "max-sweeps"
    if problem.time_limit is not None and seconds >= problem.time_limit:
        return "time-limit"
    if problem.tol > 0 and len(records) > WINDOW + gauge.least:
        earlier = records[-1 - WINDOW].objective
        if gauge.change(earlier, last.objective) <= problem.tol * gauge.size(last.objective):
            return "converged"
    return None
