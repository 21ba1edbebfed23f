"""The look at the data before the first stage: how large codes are, and what is odd about the samples."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.errors import Caution
from nmfkit.protocols import Initializer, Rows, Shared, Stats, Sweep
from nmfkit.sample import is_picked
from nmfkit.start import Given
from nmfkit.stats import Gathered
from nmfkit_plugins.agd.decoding import Decoder
from nmfkit_plugins.agd.holdout import ENOUGH
from nmfkit_plugins.starts.nndsvd import NNDSVD
from nmfkit_plugins.starts.random import Random

SAMPLES = 10_000
"""Samples whose largest codes are gathered; medians of more differ by less than matters."""
FEW = 100
"""Samples below which nothing is said about their sums."""
UNEVEN = 3.0
"""Sums of samples that differ by more than this factor, among nine of ten, are those of raw counts."""


def needed(initializer: Initializer) -> Initializer:
    """What gives H; where that is given, rows of W cost no read of X, for nothing is made of them."""
    if isinstance(initializer, Given) and initializer.h is not None:
        return replace(initializer, other=Random())
    return initializer


def measured(x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
    """The largest code of each of some samples of a block, and the sum of its entries: (k, 2)."""
    del rows
    largest = np.max(Decoder.held(shared).decoded(x), axis=1)
    sums = x.dot(np.ones_like(x.values, shape=(x.shape[1], 1)))[:, 0].astype(np.float64, copy=False)
    numbers = x.first + np.arange(x.shape[0], like=largest)
    picked = np.nonzero(is_picked(numbers, shared["share"]))[0]
    return {}, {"seen": Gathered.of(x.first, np.stack([largest[picked], sums[picked]], axis=1))}


def seen(sweep: Sweep, decoder: Decoder, samples: int) -> Array:
    """What `measured` finds of about `SAMPLES` of the samples: largest codes and sums (k, 2), by one read of X."""
    shared = {**decoder._asdict(), "share": min(1.0, SAMPLES / samples)}
    _, stats = sweep(measured, None, shared)
    found: Array = stats["seen"].whole()
    return found


def scale_of(largest: Array) -> float:
    """The median largest code, of samples that have a positive one; 0 without any."""
    positive = largest[largest > 0]
    return float(np.median(positive)) if len(positive) else 0.0


def warn_of(sums: Array, signed: bool) -> None:
    """A `Caution` where samples are of very different size, as counts are; of signed data sums say nothing."""
    some = np.sort(sums[sums > 0])
    if signed or len(some) < FEW:
        return
    low, high = float(some[len(some) // 20]), float(some[len(some) - 1 - len(some) // 20])
    if high > UNEVEN * low:
        sentence = (
            f"the sums of the rows differ by a factor of {high / low:.3g} among nine of ten of them, and one threshold "
            "is for all: for model 'agd' divide each row by its sum first"
        )
        warnings.warn(sentence, Caution, stacklevel=2)


def cautions(initializer: Any, samples: int, share: float, rank: int) -> Sequence[str]:
    """What is known, before any look at the data of which a `share` is held out, to make recovery unlikely."""
    found = []
    if isinstance(initializer, Random | NNDSVD):
        found.append(
            "model 'agd' recovers components only from a start that is near them, and random ones or singular vectors "
            "are not: use init spa or hals, or give H (h=…)"
        )
    left = round(samples * (1 - share))
    if left < ENOUGH * rank:
        told = f"{left} rows are" if not share else f"about {left} rows, where {share:g} of them are held out, are"
        found.append(f"{told} few for {rank} components: below {ENOUGH} a component, model 'agd' seldom finds them")
    return found
