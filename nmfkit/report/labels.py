"""Labels of samples, from a file that somebody else wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.clustering.classes import Classes, coded, labels_of
from nmfkit.clustering.known import Known
from nmfkit.report.html import clean

MOST = 30
"""Labels that are told apart; the rarest beyond them share one."""
UNLABELLED = "(no label)"
OTHERS = "(all others)"


@dataclass(frozen=True)
class Labels:
    """A label for each row: `names[codes[i]]` is that of row i, the most frequent first; `notes` say what was odd.

    `classes` are those that groups are compared with, none of them pooled.
    """

    codes: Array = field(repr=False)
    names: tuple[str, ...]
    classes: Classes = field(repr=False)
    notes: tuple[str, ...] = ()


def read_labels(given: Any, count: int, row_names: Sequence[str] | None) -> Labels:
    """The labels of `count` rows in an array, `FILE` or `FILE:COLUMN`, as `classes_of` reads them, with its errors."""
    known = labels_of(given, count, row_names)
    return labelled(known.values, known.notes)


def labelled(values: Sequence[str], notes: Sequence[str] = ()) -> Labels:
    """The labels of texts; blank ones are told apart, and those beyond `MOST` are pooled."""
    texts = [clean(v).strip() or UNLABELLED for v in values]
    said, counts = list(notes), Counter(texts)
    if blank := counts.get(UNLABELLED, 0):
        said.append(f"{blank:,} of {len(texts):,} samples have no label")
    if len(counts) == len(texts) > 1:
        said.append("every sample has a label of its own, so labels tell nothing about groups")
    if len(counts) == 1:
        said.append("all samples have the same label, so labels tell nothing about groups")
    names = [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    if len(names) > MOST:
        said.append(f"of {len(names):,} labels the {MOST - 1} most frequent are told apart, the others share one")
        names = [*names[: MOST - 1], OTHERS]
    code = {name: i for i, name in enumerate(names)}
    codes = np.array([code.get(t, len(names) - 1) for t in texts], np.int64)
    return Labels(codes, tuple(names), coded(Known(list(values))), tuple(said))
