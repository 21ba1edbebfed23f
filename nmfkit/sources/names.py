"""Names of rows and features in a zarr group: our own `rows` and `features`, or AnnData's `obs` and `var`."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import islice
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import zarr

from nmfkit.errors import Caution, SourceError
from nmfkit.sources.zarr_store import Place

WINDOW = 2**16
"""Names decoded together: whole chunks of about so many."""

KEPT = 16
"""Windows kept, the latest used: the names of all features of most matrices, few beside those of many rows."""


@dataclass(frozen=True, eq=False)
class StoredNames(Sequence[str]):
    """The names in a 1-D array of text of `length`, read by whole chunks when asked for; a slice is a tuple.

    Memory is that of `KEPT` windows however many names there are. Equal to any sequence of the same names. Raises
    `SourceError` where names cannot be read.
    """

    place: Place
    length: int

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[str, ...]: ...
    def __getitem__(self, at: int | slice) -> str | tuple[str, ...]:
        chosen = range(self.length)[at]
        if isinstance(chosen, int):
            return self._one(chosen)
        if chosen.step == 1:
            return tuple(islice(self._from(chosen.start), len(chosen)))
        return tuple(map(self._one, chosen))

    def __iter__(self) -> Iterator[str]:
        return self._from(0)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def _from(self, first: int) -> Iterator[str]:
        step = self._step
        for start in range(first - first % step, self.length, step):
            yield from self._window(start)[max(0, first - start) :].tolist()

    def _one(self, at: int) -> str:
        start = at - at % self._step
        return str(self._window(start)[at - start])

    def _window(self, start: int) -> npt.NDArray[Any]:
        """The names from `start` on, one step of them."""
        windows, lock = self._kept
        with lock:
            if start in windows:
                windows[start] = windows.pop(start)
                return windows[start]
        window = self._read(start, min(start + self._step, self.length))
        with lock:
            windows[start] = window
            if len(windows) > KEPT:
                del windows[next(iter(windows))]
        return window

    def _read(self, lo: int, hi: int) -> npt.NDArray[Any]:
        try:
            stored = np.asarray(self._array[lo:hi])
            # Text of NumPy's own takes a fraction of the memory of as many Python strings.
            text = np.dtypes.StringDType()
            return stored if stored.dtype == text else np.array([_text(v) for v in stored.tolist()], dtype=text)
        except SourceError:
            raise
        except Exception as error:
            raise SourceError(f"{self.place}: the names {lo} … {hi - 1} cannot be read: {error}") from error

    @cached_property
    def _array(self) -> zarr.Array[Any]:
        return self.place.open_array()

    @cached_property
    def _step(self) -> int:
        chunk = int(self._array.chunks[0])
        return chunk * max(1, WINDOW // chunk)

    @cached_property
    def _kept(self) -> tuple[dict[int, npt.NDArray[Any]], threading.Lock]:
        return {}, threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


class CategoricalNames(StoredNames):
    """Names in a group of AnnData that stores each text once."""

    @cached_property
    def _array(self) -> Any:
        return Coded(self.place)


@dataclass(frozen=True)
class Coded:
    """The texts of the categorical group at `place`, as an array."""

    place: Place

    def __getitem__(self, at: slice) -> npt.NDArray[Any]:
        return coded(self._categories, self._codes[at])

    @property
    def chunks(self) -> tuple[int, ...]:
        """Those of the codes."""
        return tuple(self._codes.chunks)

    @cached_property
    def _codes(self) -> Any:
        return self.place.child("codes").open_array()

    @cached_property
    def _categories(self) -> Any:
        return self.place.child("categories").open_array()[:]


Names = StoredNames | None


def row_names(root: Place, m: int) -> Names:
    """The names of `m` rows in the group at `root`, None where it has none."""
    return _names(root, "rows", "obs", m)


def feature_names(root: Place, n: int) -> Names:
    """The names of `n` features in the group at `root`, None where it has none."""
    return _names(root, "features", "var", n)


def _names(root: Place, own: str, frame: str, length: int) -> Names:
    group = root.open()
    try:
        node = _find(group, own, frame)
        if node is None:
            return None
        place, column = root.at(node), node["codes"] if _is_categorical(node) else node
        if column.ndim != 1:
            return None
        if column.shape != (length,):
            warnings.warn(
                f"{place} has {column.shape[0]} names for {length} {own}, so none is used", Caution, stacklevel=2
            )
            return None
        return StoredNames(place, length) if column is node else CategoricalNames(place, length)
    except Exception as error:
        raise SourceError(f"{root}: the names in {own!r} or {frame!r} cannot be read: {error}") from error


def _find(group: Any, own: str, frame: str) -> Any:
    """The array of names, wherever it lies."""
    if isinstance(node := group.get(own), zarr.Array):
        return node
    table = group.get(frame)
    if not isinstance(table, zarr.Group):
        return None
    index = table.get(str(table.attrs.get("_index", "_index")))
    # AnnData may keep the index with a mask of missing values beside it.
    if isinstance(index, zarr.Group) and not _is_categorical(index):
        index = index.get("values")
    return index if isinstance(index, zarr.Array) or _is_categorical(index) else None


def _is_categorical(node: Any) -> bool:
    """Whether texts are stored as numbers, each that of a text in a list."""
    return isinstance(node, zarr.Group) and all(
        isinstance(node.get(part), zarr.Array) for part in ("codes", "categories")
    )


def coded(categories: Any, codes: Any) -> npt.NDArray[Any]:
    """The texts that `codes` stand for, blank where they are missing; raises `ValueError` where there are no such."""
    codes = np.asarray(codes).astype(np.int64)
    if len(codes) and not -1 <= codes.min() <= codes.max() < len(categories):
        raise ValueError("codes lead to no category")
    texts = np.array([*map(_text, np.asarray(categories).tolist()), ""], np.dtypes.StringDType())
    return np.asarray(texts[codes])


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
