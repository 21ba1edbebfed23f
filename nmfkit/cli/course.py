"""How the place of a fit reads: its stage, its sweep, its pace."""

from __future__ import annotations

from nmfkit.cli.text import duration

STAGES = {
    "": "beginning",
    "cluster": "asking the workers",
    "staging": "writing the data where workers can read them",
    "probe": "looking at the data",
    "start": "making the starting point",
    "pilot": "fitting a sample of the rows",
    "sketch": "fitting a sketch of the matrix",
    "calibrate": "measuring the weights of the regularizers",
    "sweeps": "first sweep",
    "transform": "transforming",
    "weights": "reading the rows of W",
    "residuals": "reading the data for the residuals",
    "pictures": "drawing",
    "write": "writing the result",
}
LONG = 5.0
"""Seconds from which on a stage is told with its time."""


def stage_text(name: str, seconds: float = 0.0) -> str:
    """The stage in words, and for how long it has been at it."""
    text = STAGES.get(name, name)
    return f"{text}, {duration(seconds)}" if seconds >= LONG else text


def place_text(sweep: int, most: int | None, left: float | None) -> str:
    """Which sweep it is, of how many, and the most time that is left."""
    of = f" of {most}" if most else ""
    return f"sweep {sweep}{of}" + ("" if left is None else f", at most {duration(left)} left")


def pace_text(seconds: float) -> str:
    """Sweeps a second, or the time of a sweep where that is long."""
    if seconds <= 0:
        return ""
    return f"{1 / seconds:.3g} sweeps/s" if seconds <= 10 else f"{duration(seconds)} a sweep"
