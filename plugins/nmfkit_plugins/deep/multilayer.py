"""The start of a deep fit: one plain factorization after the other, each of what the one before has left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.loop import State, iterate
from nmfkit.probe import Probe, survey
from nmfkit.problem import Problem
from nmfkit.protocols import Ingredients, RowStore, Sweep
from nmfkit.start import Given
from nmfkit_plugins.beta.nmf import NMF
from nmfkit_plugins.deep.layer_sweep import Advancing, RowSweep, Shape, WholeSweep, column_sums, named

TOL = 1e-4
"""A layer is done when ten sweeps lower its loss by less than this fraction."""


@dataclass(frozen=True)
class Multilayer:
    """min D(W_{ℓ−1}, W_ℓ H_ℓ) for one layer after the other, at most `sweeps` sweeps each.

    Either the rows of every H or the columns of every W sum to 1 then (`normalize`). Cichocki & Zdunek, Electronics
    Letters 42(16), 2006.
    """

    loss: Any
    rule: Any
    initializer: Any
    normalize: str
    sweeps: int
    seed: int
    dtype: Any

    def of_rows(self, sweep: Sweep, probe: Probe, ranks: tuple[int, ...]) -> tuple[RowStore, list[Array]]:
        """Rows {"w1": (rows, r₁), …} and H₁ … H_L, of which each layer factorizes the W of the one before."""
        rows, hs = self.first(sweep, probe, ranks[0])
        shapes = [(probe.shape[0], rank) for rank in ranks]
        for number, rank in enumerate(ranks[1:], start=2):
            carried = tuple(f"w{i}" for i in range(1, number))
            inner = RowSweep(sweep, rows, carried[-1], carried)
            look = survey(inner, Shape(shapes[number - 2]), empty=True)
            state = self._fitted(inner, look, rank, number)
            rows, h = self._normalized(sweep, state, f"w{number}", carried)
            hs.append(h)
        return rows, hs

    def first(self, sweep: Sweep, probe: Probe, rank: int) -> tuple[RowStore, list[Array]]:
        """Rows {"w1": (rows, r₁)} and [H₁] of the matrix itself."""
        rows, h = self._normalized(sweep, self._fitted(sweep, probe, rank, 1), "w1", ())
        return rows, [h]

    def below(self, matrix: Array, ranks: tuple[int, ...]) -> tuple[list[Array], list[Array]]:
        """The W's and H's of the layers after the first, whose left factor (p, r₁) is at hand."""
        ws, hs = [], []
        for number, rank in enumerate(ranks, start=2):
            sweep = WholeSweep(matrix)
            look = survey(sweep, Shape((len(matrix), matrix.shape[1])), empty=True)
            rows, h = self._normalized(sweep, self._fitted(sweep, look, rank, number), "w", ())
            matrix = rows.read(0, len(matrix))["w"]
            ws.append(matrix)
            hs.append(h)
        return ws, hs

    def _fitted(self, sweep: Sweep, probe: Probe, rank: int, number: int) -> State:
        model = NMF(Ingredients(self.loss, self.rule, (), (), (rank,)))
        first = self.initializer
        initializer = first if number == 1 or not isinstance(first, Given) else first.other
        rows, shared = model.start(initializer, sweep, probe, self.seed + number - 1, self.dtype)
        problem = Problem(max_sweeps=self.sweeps, tol=TOL)
        executor: Any = Advancing(sweep)
        for state in iterate(model, executor, problem, rows, shared):
            last = state
        return last

    def _normalized(self, sweep: Sweep, state: State, name: str, carried: tuple[str, ...]) -> tuple[RowStore, Array]:
        """The factors of a fit with sums of 1, the product being the same; components that are nowhere are spread."""
        h = np.asarray(state.current["h"])
        sums = np.sum(h, axis=1, dtype=np.float64) if self.normalize == "h" else column_sums(sweep, state.rows, "w")
        scale = np.where(sums > 0, sums, np.ones_like(sums))
        if self.normalize == "w":
            scale = 1 / scale
        rows = named(sweep, state.rows, "w", name, carried, scale)
        return rows, np.asarray(h / scale[:, None], dtype=h.dtype)
