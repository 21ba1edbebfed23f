"""From stage to stage: the threshold, the noise that it must not fall below, and which stage is the result."""

from __future__ import annotations

import math
from typing import NamedTuple

NOISE = 1.5
"""The threshold stays above so many standard deviations of the noise of a code.

With random components of both kinds of weights and signals 1 to 300 times the noise, 1 to 2 came within twice the least
error that any threshold reached, or nearly; without a bound it was up to ten times that and more.
"""
ROUNDING = 32
"""What is left of the squares of X, in roundings of them, that is not taken for noise."""


def lowered(alpha: float, decay: float, floor: float) -> float:
    """The next threshold: smaller by `decay`, but not below `floor`, and never larger."""
    return max(alpha / decay, min(alpha, floor))


def noise_of_codes(
    squares: float, explained: float, shape: tuple[int, int], rank: int, spread: float, eps: float
) -> float:
    """The standard deviation of the noise in a decoded weight, 0 where it is no more than rounding.

    Of the `squares` of X (m, n), least-squares codes explain `explained`; what is left lies outside the span of the
    components, where noise has n − r of its n dimensions and the data have nothing once the span is right. Weights
    below the threshold do not enter: data without noise have none, whatever the threshold. `spread` is the standard
    deviation of a code of noise of variance 1, `eps` the rounding of the data.
    """
    m, n = shape
    left = squares - explained
    if n <= rank or left <= ROUNDING * eps * squares:
        return 0.0
    return math.sqrt(left / (m * (n - rank))) * spread


def most_of_noise(samples: int, dimensions: int) -> float:
    """How much larger than their mean the largest of the squared lengths of so many samples of noise may be.

    But for one case in twenty: for χ² of d dimensions P(χ²/d > 1 + 2√(t/d) + 2t/d) ≤ exp(−t) (Laurent & Massart, Annals
    of Statistics 28(5), 2000, Lemma 1).
    """
    if dimensions < 1:
        return math.inf
    part = math.log(20 * samples) / dimensions
    return 1 + 2 * math.sqrt(part) + 2 * part


class Held(NamedTuple):
    """The residuals ‖x − f H‖² of the held-out samples: how many, their sum, and the sum of their squares."""

    samples: float
    total: float
    squared: float

    @property
    def mean(self) -> float:
        """The mean residual, infinite without a sample."""
        return self.total / self.samples if self.samples else math.inf

    @property
    def error(self) -> float:
        """The standard error of that mean, 0 without a sample."""
        if not self.samples:
            return 0.0
        return math.sqrt(max(self.squared / self.samples - self.mean**2, 0.0) / self.samples)


class Bar(NamedTuple):
    """The least mean residual of the held-out samples so far, and its standard error."""

    least: float = math.inf
    error: float = 0.0

    def after(self, held: Held) -> Bar:
        """The bar with one stage more."""
        return Bar(held.mean, held.error) if held.mean < self.least else self

    def passed(self, held: Held, rounding: float) -> bool:
        """Whether a stage is not worse than the best one by more than chance, or by more than `rounding`.

        Of such stages the last one is taken: its threshold is the lowest. A residual alone says little on which of them
        has the components, for noise is fitted best without any threshold.
        """
        return not held.samples or held.mean <= self.least + self.error + rounding
