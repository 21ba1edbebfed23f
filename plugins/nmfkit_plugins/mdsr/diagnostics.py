"""What to look at in a trained network: outputs that are dead, and codes that are saturated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nmfkit.blocks import Array
from nmfkit.errors import UsageError
from nmfkit.protocols import Stats
from nmfkit.result import Result, load
from nmfkit.stats import Least, add, widen

BELOW, ABOVE = 0.01, 0.99
"""Entries of W outside are saturated: σ is flat there, and learns next to nothing."""

MOST = 0.7
"""Part of the entries of W from which on a network is said to be saturated: half of them is usual."""

SHOWN = 6
"""Names of outputs that a sentence lists at most."""

TILE = 2**20
"""Entries of W H that are in memory at a time."""


@dataclass(frozen=True)
class Diagnosis:
    """What a run says of its network.

    `dead` (k,) are numbers of columns of Y that no row reaches: where output is relu, W H ≤ 0 on all rows, so that no
    gradient comes back, and elsewhere the column of H is all zero. A column of Y that is all zero is rightly dead.
    `below` and `above` are the shares of the entries of W under 0.01 and over 0.99, `mean` is their mean. `loss` is the
    mean square of Ŷ − Y over all entries.
    """

    dead: Array
    below: float
    above: float
    mean: float
    loss: float

    def sentences(self, columns: Sequence[str] | None = None) -> list[str]:
        """The same in plain words; `columns` are names of the columns of Y."""
        found = [f"loss per entry {self.loss:.6g}, mean entry of W {self.mean:.3g}"]
        if len(self.dead):
            found.append(f"{_outputs(self.dead)}: {_named(self.dead, columns)}")
        found.append(f"{100 * self.below:.1f} % of W are below {BELOW}, {100 * self.above:.1f} % above {ABOVE}")
        return found

    def faults(self, columns: Sequence[str] | None, empty: Array | None) -> list[str]:
        """What is wrong, a sentence or two each; `empty` (N,) tells columns of Y that are all zero, where known."""
        found, lost = [], self.dead if empty is None else self.dead[~empty[self.dead]]
        if len(lost):
            perhaps = ", and have something to fit" if empty is not None else " (right where the data are all zero)"
            found.append(
                f"{_outputs(lost)}{perhaps}: {_named(lost, columns)}. The fit is 0 there for every row, and where it "
                "is cut off, training cannot go on from that: try output=linear, start=scaled, or another seed."
            )
        if self.below + self.above > MOST:
            found.append(
                f"{100 * (self.below + self.above):.0f} % of the entries of W are below {BELOW} or above {ABOVE}: the "
                "encoder is saturated, and hardly learns any more. A lower rate may help, unit=auto or z-scores where "
                "the data are large numbers, and clip where z-scores are."
            )
        return found


def _outputs(dead: Array) -> str:
    return "1 output is dead" if len(dead) == 1 else f"{len(dead):,} outputs are dead"


def _named(dead: Array, columns: Sequence[str] | None) -> str:
    names = [str(j) if columns is None else columns[j] for j in dead[:SHOWN].tolist()]
    return ", ".join(names) + (f" and {len(dead) - SHOWN:,} more" if len(dead) > SHOWN else "")


def diagnosed(run: Result | str) -> Diagnosis:
    """The diagnosis of a run of `ig-mdsr-nmf` or `ig-mdsr-rnmf`, or of the one at a path, without reading X.

    Raises `UsageError` for a run of another model.
    """
    from nmfkit_plugins.mdsr.model import InputGuided

    result = load(run) if isinstance(run, str) else run
    model, current = result.model, result.state.current
    if not isinstance(model, InputGuided):
        raise UsageError("only runs of model ig-mdsr-nmf or ig-mdsr-rnmf have a network to look at")
    h, (m, _) = model.factors(current)["h"], result.shape
    step, total = max(1, TILE // h.shape[1]), None
    for lo in range(0, m, step):
        found = seen(result.state.rows.read(lo, min(m, lo + step))["w"], h)
        total = widen(found) if total is None else add(total, found)
    return _of(total, h, model.options.output, 2 * result.objective / (m * h.shape[1]))


def seen(w: Array, h: Array) -> Stats:
    """Additive statistics of some rows `w` (k, r) of W and of H (r, N)."""
    return {
        "count": float(w.size),
        "sum": float(np.sum(w, dtype=np.float64)),
        "below": float(np.count_nonzero(w < BELOW)),
        "above": float(np.count_nonzero(w > ABOVE)),
        "highest": Least(-np.max(w @ h, axis=0)),
    }


def _of(total: Stats, h: Array, output: str, loss: float) -> Diagnosis:
    count = float(total["count"])
    unreached = total["highest"].value >= 0 if output == "relu" else ~np.any(h, axis=0)
    below, above, mean = (float(total[name]) / count for name in ("below", "above", "sum"))
    return Diagnosis(np.flatnonzero(unreached), below, above, mean, loss)
