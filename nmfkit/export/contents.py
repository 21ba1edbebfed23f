"""What there is to export of a result: factors by name, in blocks of rows where they are large."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nmfkit.array_rows import is_result
from nmfkit.blocks import Array
from nmfkit.clustering.assignments import clusters, parts, weighing
from nmfkit.levels import levels_of, product
from nmfkit.protocols import Level
from nmfkit.result import Result

FORMAT = 1
FEATURES = 0
"""What stands below level 1: the features themselves."""
MEMBERSHIPS = "memberships"
"""What rows of W scaled to the sum 1 are called."""
LABELS = "labels"
BLOCK = 4 * 2**20
"""Bytes of a row factor that are in memory at once."""


@dataclass(frozen=True)
class Contents:
    """The factors of a result, its names and its description."""

    result: Result

    @property
    def rows(self) -> int:
        """Rows of X, m."""
        return self.result.shape[0]

    @property
    def columns(self) -> int:
        """Features of X, n."""
        return self.result.shape[1]

    @cached_property
    def row_factors(self) -> dict[str, tuple[int, Any]]:
        """The columns and the dtype of each table that has a row for each row of X: factors, and memberships."""
        first = self.result.state.rows.read(0, 1)
        found = {name: (f.shape[1], f.dtype) for name, f in sorted(first.items()) if is_result(name)}
        return found | ({MEMBERSHIPS: found[self._weighing]} if self.is_grouping else {})

    @property
    def is_grouping(self) -> bool:
        """Whether the model groups the rows: then their memberships are beside its factors, and labels go along."""
        return bool(getattr(self.result.model, "symmetric", False))

    @cached_property
    def _weighing(self) -> str:
        return weighing(self.result)[0]

    def groups(self) -> Iterator[tuple[Array, Array]]:
        """The labels (k,) of one block of rows after the other, and the part that each row has in its group."""
        for _, part in self.blocks(MEMBERSHIPS):
            yield clusters(part), np.max(part, axis=1)

    @cached_property
    def shared(self) -> dict[str, Array]:
        """Every other factor, in memory; one with n columns, as H is, belongs to the features.

        Of a level whose components are a product of factors, that product is beside them, as `components_2`.
        """
        found = self.result.model.factors(self.result.state.current)
        made = {
            f"components_{i}": product(found, level.components)
            for i, level in enumerate(self._levels, 1)
            if len(level.components) > 1
        }
        return {name: np.asarray(f) for name, f in (found | made).items()}

    def of_features(self, name: str) -> bool:
        """Whether the columns of this shared factor are the features, or what the model makes of them."""
        if self._sides:
            return FEATURES in self._sides.get(name, ())
        factor = self.shared[name]
        return factor.ndim == 2 and factor.shape[1] == self.result.width

    def line_names(self, name: str, count: int) -> list[str]:
        """What the lines of a shared factor are called, so many."""
        return components(count, self._sides.get(name, (None, None))[0])

    def column_names(self, name: str, count: int) -> list[str]:
        """What the columns of a factor are called where they are not the features, so many."""
        return components(count, self._sides.get(name, (None, None))[1])

    @cached_property
    def _levels(self) -> tuple[Level, ...]:
        return levels_of(self.result.model, self.result.state.current)

    @cached_property
    def _sides(self) -> dict[str, tuple[int | None, int | None]]:
        """Of which level the lines and the columns of each factor are; none of a model without levels."""
        found: dict[str, tuple[int | None, int | None]] = {}
        for i, level in enumerate(self._levels, 1):
            found.setdefault(level.row, (None, i))
            for name in level.chain[-1:]:
                found.setdefault(name, (i - 1, i))
            inner = i - 1 if len(level.components) > 1 else FEATURES
            found.setdefault(level.components[0], (i, inner))
            found[f"components_{i}"] = (i, FEATURES)
        return found

    def blocks(self, name: str) -> Iterator[tuple[int, Array]]:
        """The first row and the entries of one block of a row factor after the other."""
        width, dtype = self.row_factors[name]
        factor = self._weighing if name == MEMBERSHIPS else name
        step = max(1, BLOCK // max(1, width * dtype.itemsize))
        for lo in range(0, self.rows, step):
            block = np.asarray(self.result.state.rows.read(lo, min(self.rows, lo + step))[factor])
            yield lo, parts(block) if name == MEMBERSHIPS else block

    @property
    def row_labels(self) -> Sequence[str] | range:
        """The names of the rows; numbers from 0 where they are unknown."""
        names = self.result.row_names
        return range(self.rows) if names is None else names

    @property
    def feature_labels(self) -> Sequence[str] | range:
        """The names of the features; numbers from 0 where they are unknown."""
        names = self.result.feature_names
        return range(self.columns) if names is None else names

    @property
    def column_labels(self) -> Sequence[str] | range:
        """The names of the columns of H: those of the features, or of what the model makes of them."""
        names = self.result.column_names
        return range(self.result.width) if names is None else names

    @property
    def made_columns(self) -> Sequence[str] | None:
        """The names of the columns of H where they are not the features."""
        return None if self.result.fits_columns else self.result.column_names

    @property
    def notes(self) -> tuple[str, ...]:
        """What may surprise."""
        if self.result.status == "done":
            return ()
        return (f"the run is not finished: this is its checkpoint after sweep {self.result.state.sweep}",)

    def text(self, **more: Any) -> str:
        """The description of the run as JSON: problem, source, objective, versions."""
        result = self.result
        attributes = result.attributes
        described = {
            "nmfkit_export": FORMAT,
            "run": result.path,
            "status": result.status,
            "stopped_by": result.stopped_by,
            "objective": result.objective,
            "sweeps": result.state.sweep,
            "shape": list(result.shape),
            "problem": result.problem.as_json(),
            "source": attributes["source"],
            "versions": attributes["versions"],
            "timings": attributes.get("timings"),
            **more,
        }
        return json.dumps(described, ensure_ascii=False, indent=2, default=str) + "\n"


def components(count: int, level: int | None = None) -> list[str]:
    """The names of so many components: component_1, component_2, …, or level_2_component_1, … of a level."""
    of = "" if level is None else f"level_{level}_"
    return [f"{of}component_{k}" for k in range(1, count + 1)]


def columns_of(factor: Array) -> Array:
    """A factor of whatever shape as a table; a vector is one column."""
    return factor.reshape(len(factor), -1) if factor.ndim else factor.reshape(1, 1)
