"""What a fit is asked to do: presets, and options that win over them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nmfkit.preprocessing import Preprocessing
from nmfkit_plugins.mdsr.widths import RULES, hidden_in

PRESET = "preset"
"""An option that nobody gave: it is what the preset says."""

LAYERS = 3
"""Layers of the encoder, where neither their number nor their widths are given."""

PRESETS: dict[str, dict[str, str]] = {
    "default": {
        "hidden_sizes": "auto",
        "output": "linear",
        "start": "scaled",
        "batch_size": "auto",
        "rate": "auto",
        "unit": "auto",
        "checkpoint": "best",
        "patience": "none",
    },
    "authors": {
        "hidden_sizes": "paper",
        "output": "relu",
        "start": "glorot",
        "batch_size": "32",
        "rate": "0.001",
        "unit": "1",
        "checkpoint": "accuracy",
        "patience": "5",
    },
}
"""What each preset says of the options that it has a say in."""

CHOICES = {
    "output": ("linear", "relu"),
    "start": ("scaled", "glorot"),
    "checkpoint": ("best", "last", "accuracy"),
    "polish": ("none", "epoch", "end"),
}
"""Options that are one of some words."""

FEWEST, MOST_BATCHES = 32, 512
"""Rows of a batch at least, and batches of an epoch at most, where the number of rows is left to us."""

RATE, HIGHEST_RATE = 1e-3, 1e-2
"""The rate of the training for batches of `FEWEST` rows, and that of the largest ones."""

MOVE = 0.5
"""By how much one step of U may move what a unit reads of a mean row: where columns are many, steps add up."""

TINY, PLAIN_COLUMNS = 1e-7, 128
"""Adam's ε, and the number of columns above which it falls as gradients do, which are those of a mean over columns."""


@dataclass(frozen=True)
class Options:
    """Options as they hold: `batch` None is automatic and 0 is all rows, `rate` and `unit` None are automatic."""

    relaxed: bool
    hidden_sizes: str
    layers: int
    output: str
    start: str
    batch: int | None
    rate: float | None
    unit: float | None
    preprocessing: Preprocessing
    checkpoint: str
    polish: str
    polish_sweeps: int
    patience: int | None
    trained: str | None
    plain: bool
    """Whether Adam's ε and rate are the same for any number of columns."""

    @property
    def full(self) -> bool:
        """Whether a step is made of all rows."""
        return self.batch == 0

    @property
    def gathers_cross(self) -> bool:
        """Whether `polish` needs WᵀW and WᵀY."""
        return self.polish != "none"

    @property
    def closes(self) -> bool:
        """Whether the weights to return are others than those that the training goes on from."""
        return self.checkpoint == "accuracy" or self.gathers_cross

    def rows(self, m: int) -> int:
        """Rows of a batch of `m` rows in all: the smallest power of two from 32 on that makes at most 512 batches."""
        if self.batch is not None:
            return min(self.batch, m) or m
        size = FEWEST
        while -(-m // size) > MOST_BATCHES:
            size *= 2
        return min(size, m)

    def step(self, m: int) -> float:
        """The rate for `m` rows: 10⁻³ · b / 32 where it is automatic, b rows being a batch, and at most 10⁻²."""
        return min(HIGHEST_RATE, RATE * self.rows(m) / FEWEST) if self.rate is None else self.rate

    def pace(self, m: int, reach: float) -> float:
        """The part of the rate that U is moved at, mean rows having a sum of entries of `reach` units."""
        most = self.step(m) * reach
        return 1.0 if self.plain or most <= MOVE else MOVE / most

    def measure(self, mean_square: float) -> float:
        """The unit for data Y of that mean square: twice its root where it is automatic, or 1 for standardized data."""
        if self.unit is not None:
            return self.unit
        return 1.0 if self.preprocessing.standardizes else 2 * math.sqrt(mean_square)

    def tiny(self, columns: int) -> float:
        """Adam's ε for N = `columns`: 10⁻⁷ · min(1, 128 / N), unless it is to be plain."""
        return TINY if self.plain else TINY * min(1.0, PLAIN_COLUMNS / columns)


def options_of(given: Mapping[str, Any], *, relaxed: bool) -> Options:
    """The options of a model from what was `given` by name; raises `ValueError` naming every fault."""
    preset = str(given["preset"])
    if preset not in PRESETS:
        raise ValueError(f"preset must be {' or '.join(PRESETS)}, not {preset!r}")
    text = {name: str(value) for name, value in given.items()}
    text |= {name: value for name, value in PRESETS[preset].items() if text[name] == PRESET}
    if wrong := list(_faults(text, given, relaxed)):
        raise ValueError("; ".join(wrong))
    return Options(
        relaxed=relaxed,
        hidden_sizes=text["hidden_sizes"],
        layers=given["layers"] or _layers(text["hidden_sizes"]),
        output=text["output"],
        start=text["start"],
        batch=_count(text["batch_size"], {"auto": None, "full": 0}),
        rate=None if text["rate"] == "auto" else float(text["rate"]),
        unit=None if text["unit"] == "auto" else float(text["unit"]),
        preprocessing=Preprocessing.parse(text["preprocess"], given["clip"]),
        checkpoint=text["checkpoint"],
        polish=text["polish"],
        polish_sweeps=given["polish_sweeps"],
        patience=_count(text["patience"], {"none": None}),
        trained=given["trained"],
        plain=preset == "authors",
    )


def _faults(text: Mapping[str, str], given: Mapping[str, Any], relaxed: bool) -> Iterator[str]:
    for name, known in CHOICES.items():
        if text[name] not in known:
            yield f"{name} must be {', '.join(known[:-1])} or {known[-1]}, not {text[name]!r}"
    yield from _faults_of_layers(text["hidden_sizes"], given["layers"])
    if not _is_count(text["batch_size"], "auto", "full"):
        yield f"batch_size must be auto, full or a whole number of at least 1, not {text['batch_size']!r}"
    if not _is_count(text["patience"], "none"):
        yield f"patience must be none or a whole number of at least 1, not {text['patience']!r}"
    if not _is_number(text["rate"], below=1):
        yield f"rate must be auto or a number between 0 and 1, not {text['rate']!r}"
    if not _is_number(text["unit"], below=math.inf):
        yield f"unit must be auto or a number above 0, not {text['unit']!r}"
    if given["polish_sweeps"] < 1:
        yield f"polish_sweeps must be at least 1, not {given['polish_sweeps']}"
    if relaxed and text["output"] == "relu" and text["polish"] in ("epoch", "end"):
        yield f"polish {text['polish']} needs output linear here: it solves for H, and relu cuts W H off"
    try:
        preprocessing = Preprocessing.parse(text["preprocess"], given["clip"])
    except ValueError as error:
        yield str(error)
        return
    if preprocessing.standardizes and not preprocessing.folds and (text["output"] == "relu" or not relaxed):
        why = "output relu makes none" if text["output"] == "relu" else "W H with H ≥ 0 has none"
        yield f"preprocess {preprocessing.text} makes negative entries, and {why}: use preprocess=zscore-fold"


def _faults_of_layers(hidden_sizes: str, layers: int | None) -> Iterator[str]:
    if layers is not None and layers < 1:
        yield f"layers must be at least 1, not {layers}"
    try:
        found = _layers(hidden_sizes)
    except ValueError as error:
        yield str(error)
        return
    if hidden_sizes not in RULES and layers is not None and layers >= 1 and found != layers:
        yield (
            f"hidden_sizes {hidden_sizes} are {found - 1} layers, and the last one, of as many units as the rank, "
            f"makes {found}: layers must be {found} or left out, not {layers}"
        )


def _layers(hidden_sizes: str) -> int:
    return LAYERS if hidden_sizes in RULES else len(hidden_in(hidden_sizes)) + 1


def _is_count(text: str, *words: str) -> bool:
    return text in words or (text.isdecimal() and int(text) >= 1)


def _count(text: str, words: Mapping[str, int | None]) -> int | None:
    return words[text] if text in words else int(text)


def _is_number(text: str, below: float) -> bool:
    try:
        return text == "auto" or 0 < float(text) < below
    except ValueError:
        return False
