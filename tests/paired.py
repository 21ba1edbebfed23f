"""Two models of two levels, small enough to see through: NMF, and its components put together in groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from nmfkit_plugins.beta.nmf import NMF

from nmfkit.protocols import Ingredients, LayerLosses, Level


def _renamed(rows, old, new):
    return {name.replace(old, new) if name.partition(".")[0] == old else name: f for name, f in rows.items()}


@dataclass(frozen=True)
class OfRows(NMF):
    """X ≈ w1 h1, and w1 ≈ w2 h2, where component k of w1 belongs to group k mod r2 of w2."""

    parts: Ingredients

    takes: ClassVar[frozenset[str]] = frozenset({"loss", "reg-w", "reg-h", "rule", "init"})

    @property
    def row_factors(self):
        return ("w1", "w2", *(name.replace("w", "w1", 1) for name in super().row_factors if "." in name))

    def misfits(self):
        ranks = self.parts.ranks
        return [] if len(ranks) == 2 else [f"model 'paired' takes two ranks, and {len(ranks)} are given"]

    @property
    def groups_of(self):
        first, second = self.parts.ranks
        return (np.arange(first)[:, None] % second == np.arange(second)).astype(float)

    def _with_groups(self, rows):
        found = _renamed(rows, "w", "w1")
        return {**found, "w2": found["w1"] @ self.groups_of.astype(found["w1"].dtype)}

    def _base(self, rows, shared):
        own = _renamed({n: f for n, f in rows.items() if n != "w2"}, "w1", "w")
        return own.get("w.ahead", own["w"])

    def admit(self, x, rows, shared):
        new, stats = NMF(self.parts).admit(x, rows, shared)
        return self._with_groups(new), stats

    def local(self, x, rows, shared):
        own = _renamed({n: f for n, f in rows.items() if n != "w2"}, "w1", "w")
        new, stats = NMF(self.parts).local(x, own, shared)
        return self._with_groups(new), stats

    def encode(self, x, rows, shared):
        new, stats = super().encode(x, rows, shared)
        return self._with_groups(new), stats

    def factors(self, shared):
        means = self.groups_of / np.maximum(self.groups_of.sum(axis=0), 1)
        return {"h1": shared["h"], "h2": means.T.astype(shared["h"].dtype)}

    def levels(self, shared):
        del shared
        return (Level("w1", (), ("h1",)), Level("w2", (), ("h2", "h1")))

    def layer_losses(self, following):
        del following
        return LayerLosses(start=(8.0, 4.0), end=(2.0, 1.0), weights=(1.0, 0.25))


class OfComponents(OfRows):
    """X ≈ w1 h1, and h1 ≈ w2 h2: the groups are of components alone, and a row has no factor of its own for them."""

    @property
    def row_factors(self):
        return tuple(name for name in super().row_factors if name != "w2")

    def _with_groups(self, rows):
        return _renamed(rows, "w", "w1")

    def factors(self, shared):
        means = self.groups_of / np.maximum(self.groups_of.sum(axis=0), 1)
        h2 = means.T.astype(shared["h"].dtype) @ shared["h"]
        return {"h1": shared["h"], "w2": self.groups_of.astype(shared["h"].dtype), "h2": h2}

    def levels(self, shared):
        del shared
        return (Level("w1", (), ("h1",)), Level("w1", ("w2",), ("h2",)))
