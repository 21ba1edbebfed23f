"""What is wrong with the options of a fit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nmfkit_plugins.agd.codes import CODES
from nmfkit_plugins.agd.step import ETAS

if TYPE_CHECKING:
    from nmfkit_plugins.agd.model import AGD

NONNEG = ("false", "clip")
"""Components of either sign, or negative entries set to zero at the end."""


def faults(model: AGD) -> Iterator[str]:
    """One sentence for each option that is out of range."""
    if not 0 < model.alpha < math.inf:
        yield f"alpha must be a number above 0, not {model.alpha}"
    if not 1 <= model.decay < math.inf:
        yield f"decay must be a number of at least 1, not {model.decay}"
    if model.steps < 1:
        yield f"steps must be at least 1, not {model.steps}"
    if model.reseed < 0:
        yield f"reseed must be at least 0, not {model.reseed}"
    for name, value, known in (
        ("eta", model.eta, ETAS),
        ("nonneg", model.nonneg, NONNEG),
        ("codes", model.codes, CODES),
    ):
        if value not in known:
            yield f"{name} must be {' or '.join(known)}, not {value!r}"
    if not _is_number(model.floor, math.inf):
        yield f"floor must be auto or a number of at least 0, not {model.floor!r}"
    if not _is_number(model.holdout, 1):
        yield f"holdout must be auto or a number of at least 0 and below 1, not {model.holdout!r}"


def _is_number(text: str, below: float) -> bool:
    """Whether it is `auto`, or a number of at least 0."""
    if text == "auto":
        return True
    try:
        return 0 <= float(text) < below
    except ValueError:
        return False
