"""Classes that are known of rows: of an array or of a file, as numbers from 0."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.clustering.known import Known, known_labels, texts
from nmfkit.errors import UsageError

NO_CLASS = "-1"
"""The label that stands for none, as in scikit-learn, but beside 1 alone, where the two are classes."""


@dataclass(frozen=True)
class Classes:
    """The class of each row: `codes` (m,) counts them from 0 and is −1 where a row has none; `names` are theirs."""

    codes: Array = field(repr=False)
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def classes_of(given: Any, count: int, row_names: Sequence[str] | None = None) -> Classes:
    """The classes of `count` rows in an array (count,), or in a file that `known_labels` reads.

    None, NaN, masked and empty entries are no class, and −1 is none but beside 1 alone. Raises `UsageError` for
    what does not fit, `SourceError` for a file that cannot be read.
    """
    return coded(labels_of(given, count, row_names))


def labels_of(given: Any, count: int, row_names: Sequence[str] | None = None) -> Known:
    """The same as texts, before −1 and blanks are taken for no class."""
    if isinstance(given, str | os.PathLike):
        return known_labels(os.fspath(given), count, row_names)
    values = texts(given)
    if len(values) != count:
        raise UsageError(
            f"there are {len(values):,} labels and {count:,} rows; each row needs one, if only −1 for none"
        )
    return Known(values)


def coded(known: Known) -> Classes:
    """Texts as classes."""
    stripped = [v.strip() for v in known.values]
    none = {""} if set(stripped) - {""} == {NO_CLASS, "1"} else {"", NO_CLASS}
    names = sorted(set(stripped) - none)
    code = {name: i for i, name in enumerate(names)}
    return Classes(np.array([code.get(v, -1) for v in stripped], np.int64), tuple(names), known.notes)
