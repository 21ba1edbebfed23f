"""What blocks, sweeps and models hand each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from nmfkit.blocks import Array, Block

Stats: TypeAlias = Any
"""Additive statistics: a float, an array, a LowRank, or a tuple, list or dict of those."""

Rows: TypeAlias = dict[str, Array]
"""The rows of each row-sharded factor that belong to a block of X, by name: {"w": (rows, r)}."""

Shared: TypeAlias = dict[str, Any]
"""State that every block sees: shared factors by name, and what a model derives from them."""

Step: TypeAlias = Callable[[Block, Rows, Shared], tuple[Rows, Stats]]
"""A pure function of one block: (x, its rows, shared) -> (new rows, additive statistics)."""
