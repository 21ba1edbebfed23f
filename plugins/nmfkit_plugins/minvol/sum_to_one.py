"""Sums of a factor's entries that are fixed at 1."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from nmfkit.blocks import Array

OF = ("components", "rows", "columns")


@dataclass(frozen=True)
class SumToOne:
    """The entries of each component sum to 1: those of each column of W, or of each row of H.

    With `of` "rows" or "columns" it is those of each row or column of the matrix as it is stored: the rows of W are
    then shares of a whole. Not a penalty but a constraint: a step goes to the best factor that holds it (Leplat,
    Gillis & Idier, SIAM J. Matrix Anal. Appl. 42(2), 2021). Raises `ValueError` for another `of`.
    """

    of: str = "components"
    _across: bool = field(default=False, repr=False)

    total: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        if self.of not in OF:
            raise ValueError(f"sums are of {', '.join(OF[:-1])} or {OF[-1]}, not {self.of!r}")

    @property
    def across(self) -> bool:
        """Whether the entries of each row of F sum to 1, and not those of each of its columns."""
        return self._across

    def of_factor(self, name: str) -> SumToOne:
        """The constraint on F = W (`name` "w"), or on F = Hᵀ ("h")."""
        across = self.of == ("rows" if name == "w" else "columns")
        return replace(self, _across=across)

    def stat(self, f: Array) -> tuple[()]:
        """Nothing."""
        del f
        return ()

    def value(self, stat: tuple[()]) -> float:
        """0: factors hold the constraint."""
        del stat
        return 0.0

    def onto(self, f: Array) -> Array:
        """F divided by its sums; entries that are all zero become equal ones."""
        axis = 1 if self.across else 0
        wide = f.astype(np.float64, copy=False)
        sums = np.sum(wide, axis=axis, keepdims=True)
        shares = wide / np.where(sums > 0, sums, np.ones_like(sums))
        filled: Array = np.where(sums > 0, shares, np.full_like(shares, 1.0 / f.shape[axis]))
        return filled.astype(f.dtype, copy=False)
