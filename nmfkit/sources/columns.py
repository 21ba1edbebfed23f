"""Matrices that are stored by columns, which cannot be read by rows: refused, with what converts them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nmfkit.errors import SourceError

if TYPE_CHECKING:
    from nmfkit.protocols import Source


class StoredByColumns(SourceError):
    """The matrix is compressed by columns; `turned` is its transpose, which can be read, with its names.

    `convert` transposes it back.
    """

    def __init__(self, where: str, turned: Source) -> None:
        self.where, self.turned = where, turned
        super().__init__(
            f"{where} is compressed by columns (csc_matrix), so it cannot be read by rows; "
            "write a copy in rows with: nmfkit convert SRC DST.zarr"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.where, self.turned))
