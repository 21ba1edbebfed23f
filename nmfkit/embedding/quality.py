"""How good the rows of W are as an embedding of those of X."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nmfkit.clustering import classes_of
from nmfkit.embedding.asked import NEIGHBOURS, SEED, counts_of, drawn, refuse_many, refuse_other_rows
from nmfkit.embedding.by_class import ByClass, by_class, labelled
from nmfkit.embedding.matrices import matrix_of, some_rows, whole_of
from nmfkit.embedding.preserved import Preserved, preserved
from nmfkit.loop import Watcher


@dataclass(frozen=True)
class Quality:
    """The quality of an embedding: what it keeps of neighbourhoods, and what it tells of known classes.

    `rows` of `whole` were compared, drawn by `seed` where they are fewer. `preserved` has an entry for X, and one for
    what the model makes of X where that is something else; empty where nobody asked. `classes` is None without known
    classes.
    """

    rows: int
    whole: int
    seed: int
    preserved: tuple[Preserved, ...] = ()
    classes: ByClass | None = None
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        return asdict(self)


def quality(
    x: Any,
    w: Any,
    classes: Any = None,
    *,
    neighbours: int | Sequence[int] = NEIGHBOURS,
    sample: int | str | None = None,
    seed: int = SEED,
    watcher: Watcher | None = None,
) -> Quality:
    """Trustworthiness and continuity of `w` (m, r) beside `x` (m, n), and what `w` tells of `classes`, if any.

    `x`, `w`, `neighbours`, `sample` and `seed` are those of `trustworthiness`, `classes` those of `knn_accuracy`.
    Without scikit-learn, or with too few rows of each class, a note says what is lacking. Raises `UsageError` for what
    does not fit, `DataError` for NaN and infinities.
    """
    asked, watcher = counts_of(neighbours), watcher or Watcher()
    one, other = matrix_of(x, "x"), matrix_of(w, "w")
    refuse_other_rows(one, other)
    whole = one.shape[0]
    rows = drawn(whole, sample, seed)
    refuse_many(asked, whole if rows is None else len(rows))
    known = None if classes is None else classes_of(classes, whole, one.row_names)
    classed = None if known is None else labelled(known, sample, seed)
    kept = preserved(some_rows(one, rows), some_rows(other, rows), asked, "X", watcher)
    told = None
    if known is not None and classed is not None:
        told = by_class(whole_of(some_rows(other, classed)), known.codes[classed], seed)
    return Quality(whole if rows is None else len(rows), whole, seed, (kept,), told)
