"""A matrix of which some entries are missing, or count more than others: blocks that carry weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, runtime_checkable

import numpy as np

from nmfkit.blocks import CSR, Array, Block, Dense
from nmfkit.errors import DataError, NmfkitError, UsageError
from nmfkit.sources.through import Through
from nmfkit.weighed import Weighed

if TYPE_CHECKING:
    from nmfkit.protocols import Source

MISSING = ("none", "nan", "absent")
"""What stands for a missing entry: nothing, NaN, or in a sparse matrix that no entry is stored."""

LARGEST = {"float32": 1e12, "float64": 1e90}
"""The largest weight by dtype: its product with data and factors has no overflow."""

WEIGHT_COST = 1.5
"""Bytes of a block with weights, for each byte of the block without: what X does not store may have weights, too."""


@runtime_checkable
class HasHidden(Protocol):
    """a mask that lists what it hides, for sparse matrices that it is never to be formed for."""

    def hidden(self, lo: int, hi: int) -> tuple[Array, Array]:
        """The hidden entries of rows `lo` … `hi`, along the rows: row numbers counted from `lo`, and columns."""
        ...


@dataclass(frozen=True)
class Observed(Through):
    """The matrix `of`, its entries weighed by those of `mask` (0 or other) and of `weights` (≥ 0), where given.

    `missing` is "none", "nan" (NaN is a missing entry) or "absent" (a sparse matrix knows what it stores, zeros too,
    and nothing else). A sparse mask or sparse weights know of the entries that they store alone, so that all others
    are missing. Blocks are `Weighed`, dense ones where a layer says something of every entry: what is left of all
    entries without those it hides, or counts less, is lost in rounding where it is little.
    """

    mask: Source | None = None
    weights: Source | None = None
    missing: str = "none"

    @property
    def dtype(self) -> Any:
        """That of the matrix."""
        return self.of.dtype

    @property
    def parts(self) -> dict[str, Source]:
        """The matrix, the mask and the weights, as far as there are any, by field."""
        parts = {"of": self.of, "mask": self.mask, "weights": self.weights}
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def elsewhere(self) -> float:
        """What an entry counts that blocks do not store."""
        return 0.0 if self.missing == "absent" or any(layer.is_sparse for layer in self._layers) else 1.0

    @property
    def is_sparse(self) -> bool:
        """Whether blocks are CSR."""
        return self.of.is_sparse and (self.elsewhere == 0 or not self._formed)

    @property
    def resident(self) -> bool:
        """False: blocks are put together when they are read."""
        return False

    @property
    def nnz(self) -> int | None:
        """About as many entries as its blocks store."""
        if self.of.nnz is None or not self.is_sparse:
            return None
        stored = [layer.nnz for layer in self._layers if layer.nnz is not None]
        return min(stored) if stored else self.of.nnz

    @property
    def weight_cost(self) -> float:
        """Bytes in memory for each byte of the matrix without weights."""
        return 1.0 + WEIGHT_COST

    @property
    def _layers(self) -> list[Source]:
        return [part for name, part in self.parts.items() if name != "of"]

    @property
    def _formed(self) -> list[Source]:
        """The layers that say something of every entry, one by one."""
        listed = self.of.is_sparse and isinstance(self.mask, HasHidden)
        return [x for x in self._layers if not (x.is_sparse or (listed and x is self.mask))]

    def bounds(self, target_bytes: int) -> list[tuple[int, int]]:
        """Row ranges of about `target_bytes`, weights included."""
        widest = next(iter(self._formed), self.of)
        return widest.bounds(max(1, int(target_bytes / self.weight_cost)))

    def read(self, lo: int, hi: int) -> Weighed:
        """Rows `lo` … `hi`; raises `DataError` for a mask with NaN, and weights that are negative or no numbers."""
        x = self.of.read(lo, hi)
        assert isinstance(x, Dense | CSR)
        layers = []
        gone = np.empty(0, np.int64)
        if self._lists(self.mask):
            rows, columns = self.mask.hidden(lo, hi)
            gone = rows * x.shape[1] + columns
        elif self.mask is not None:
            layers.append(_mapped(_decided(self.mask.read(lo, hi), self.mask.uri), lambda v: (v != 0).astype(x.dtype)))
        if self.weights is not None:
            layers.append(_mapped(self._checked(self.weights.read(lo, hi)), lambda v: v.astype(x.dtype)))
        if not self.is_sparse:
            return self._dense(x if isinstance(x, Dense) else Dense(x.dense(), x.first, x.whole), layers)
        assert isinstance(x, CSR)
        return self._kept(x, layers, gone) if self.elsewhere == 0 else self._spread(x, gone)

    def _lists(self, layer: Any) -> TypeGuard[HasHidden]:
        """Whether a mask need not be formed."""
        return self.is_sparse and isinstance(layer, HasHidden)

    def _checked(self, block: Block) -> Block:
        assert self.weights is not None
        v, most = block.values, LARGEST[np.dtype(self.dtype).name]
        if not v.size or (float(v.min()) >= 0 and float(v.max()) <= most):  # NaN passes neither
            return block
        at = int(np.argmax(~((v >= 0) & (v <= most)).ravel()))
        (row, column), value = block.place(at), float(v.ravel()[at])
        needed = "weights are finite and ≥ 0, 0 for an entry that is missing"
        if most < value < np.inf:
            needed = f"{np.dtype(self.dtype).name} computes with up to {most:g}: divide all weights by a constant"
        raise DataError(f"{self.weights.uri}: the weight at row {row}, column {column} is {value!r}; {needed}")

    def _dense(self, x: Dense, layers: list[Block]) -> Weighed:
        weights = np.ones_like(x.values)
        for layer in layers:
            weights *= layer.dense()
        if self.missing == "nan":
            weights[np.isnan(x.values)] = 0
        # Whatever stands where an entry is missing, NaN too, must not be seen.
        return Weighed(x.like(np.where(weights > 0, x.values, 0)), weights, binary=self.weights is None)

    def _kept(self, x: CSR, layers: list[Block], gone: Array) -> Weighed:
        """The entries that x and all sparse layers know of."""
        known = [*([x] if self.missing == "absent" else []), *(layer for layer in layers if isinstance(layer, CSR))]
        keys = _keys(known[0])
        for other in known[1:]:
            keys = keys[np.isin(keys, _keys(other), assume_unique=True)]
        values = _at(x, keys)
        weights = np.ones_like(values)
        for layer in layers:
            weights *= _at(layer, keys)
        weights[np.isin(keys, gone, assume_unique=True)] = 0
        return self._weighed(x, keys, x.n, values, weights, 0.0)

    def _spread(self, x: CSR, gone: Array) -> Weighed:
        """The entries that x stores, and those that a mask lists; all others count 1."""
        keys = np.union1d(_keys(x), gone)
        values = _at(x, keys)
        weights = np.ones_like(values)
        weights[np.searchsorted(keys, gone)] = 0
        return self._weighed(x, keys, x.n, values, weights, 1.0)

    def _weighed(self, x: CSR, keys: Array, n: int, values: Array, weights: Array, elsewhere: float) -> Weighed:
        if self.missing == "nan":
            weights = np.where(np.isnan(values), weights.dtype.type(0), weights)
        values = np.where(weights > 0, values, values.dtype.type(0))
        indptr = np.searchsorted(keys, np.arange(x.shape[0] + 1, dtype=np.int64) * n).astype(x.indptr.dtype)
        block = CSR(values, (keys % n).astype(x.indices.dtype), indptr, n, x.first, x.whole)
        return Weighed(block, weights, elsewhere, self.weights is None)


def observed(x: Source, *, mask: Any = None, weights: Any = None, missing: str = "none") -> Source:
    """`x` with what is known of its entries; itself where nothing is said.

    `mask` and `weights` are anything that `open_source` takes, of the shape of x. Raises `UsageError`, with all
    faults at once.
    """
    if mask is None and weights is None and missing == "none":
        return x
    from nmfkit.sources import open_source

    faults = []
    if missing not in MISSING:
        faults.append(f"missing {missing!r} is not one of {', '.join(MISSING)}")
    if missing == "absent" and not x.is_sparse:
        faults.append(f"missing absent: {x.uri} is dense, so every entry is stored; say --missing nan, or give a mask")
    if isinstance(x, Observed):
        faults.append(f"{x.uri} says already which of its entries are known")
    opened = {}
    for name, given in (("mask", mask), ("weights", weights)):
        if given is None:
            continue
        try:
            opened[name] = layer = open_source(given)
        except NmfkitError as error:
            raise type(error)(f"{name}: {error}") from error
        if layer.shape != x.shape:
            faults.append(
                f"{name} {layer.uri} is {layer.shape[0]} × {layer.shape[1]}, and {x.uri} is "
                f"{x.shape[0]} × {x.shape[1]}: each entry needs one"
            )
    if faults:
        raise UsageError("\n".join(faults))
    of = with_zeros(x) if missing == "absent" else x
    return Observed(of, **opened, missing=missing)


def with_zeros(x: Source) -> Source:
    """A sparse source with the zeros that it stores, where it can give them."""
    if isinstance(x, Through):
        from dataclasses import replace

        return replace(x, of=with_zeros(x.of))
    give = getattr(x, "with_zeros", None)
    return x if give is None else give()


def elsewhere(source: Source) -> float | None:
    """What an entry counts that blocks do not store, or None where every entry counts alike."""
    return source.elsewhere if isinstance(source, Observed) else None


def open_observed(
    x: Any,
    *,
    key: str | None = None,
    dtype: Any = None,
    storage_options: Mapping[str, Any] | None = None,
    mask: Any = None,
    weights: Any = None,
    missing: str = "none",
) -> Source:
    """`open_source`, and what is known of the entries."""
    from nmfkit.sources import open_source

    source = open_source(
        filled(x, missing), key=key, dtype=dtype, storage_options=storage_options, missing=holes(missing)
    )
    return observed(source, mask=mask, weights=weights, missing=missing)


def holes(missing: str) -> str:
    """What a reader is to take for missing numbers."""
    return "nan" if missing == "nan" else "none"


def filled(x: Any, missing: str) -> Any:
    """`x` with NaN where a masked array of NumPy is masked, if that stands for missing entries; else as it is."""
    if missing != "nan" or not isinstance(x, np.ma.MaskedArray):
        return x
    return np.ma.filled(x.astype(np.result_type(x.dtype, np.float32)), np.nan)


def describe_observed(source: Source) -> dict[str, Any] | None:
    """What a run stores of masks and weights; None where every entry counts alike."""
    if not isinstance(source, Observed):
        return None
    return {"missing": source.missing, **{name: part.uri for name, part in source.parts.items() if name != "of"}}


def data_places(described: Mapping[str, Any]) -> list[str]:
    """Where the data of a run lie, mask and weights among them, from what it stores of its source."""
    layers = described.get("observed") or {}
    return [str(described["uri"]), *(str(layers[name]) for name in ("mask", "weights") if name in layers)]


def places(source: Source) -> list[str]:
    """Where `source` is read from, mask and weights among it."""
    return data_places({"uri": source.uri, "observed": describe_observed(source)})


def observed_text(known: Mapping[str, Any]) -> str:
    """What `describe_observed` found, for people."""
    words = {"nan": "entries that are NaN are missing", "absent": "entries that are not stored are missing"}
    pieces = [words[known["missing"]]] if known["missing"] in words else []
    return ", ".join(pieces + [f"{name} {known[name]}" for name in ("mask", "weights") if name in known])


def known_missing(attributes: Mapping[str, Any]) -> str:
    """What stands for missing entries in the data of a run, from its attributes."""
    return str((attributes["source"].get("observed") or {}).get("missing", "none"))


def _decided(block: Block, uri: str) -> Block:
    """A block of a mask; raises `DataError` for NaN, which says neither."""
    unknown = np.isnan(block.values) if block.dtype.kind == "f" else np.empty(0, bool)
    if unknown.any():
        row, column = block.place(int(np.argmax(unknown.ravel())))
        raise DataError(f"{uri}: the mask at row {row}, column {column} is nan; 0 hides an entry, other numbers do not")
    return block


def _mapped(block: Block, change: Any) -> Block:
    return block.like(change(block.values))


def _keys(block: CSR) -> Array:
    """The number of each stored entry, counted along the rows; ascending."""
    rows = np.repeat(np.arange(block.shape[0], dtype=np.int64), np.diff(block.indptr))
    return rows * block.n + block.indices


def _at(block: Block, keys: Array) -> Array:
    """The entries of these numbers, 0 where nothing is stored."""
    if not isinstance(block, CSR):
        return block.dense().reshape(-1)[keys]
    stored = _keys(block)
    if not len(stored):
        return np.zeros_like(block.values, shape=keys.shape)
    at = np.minimum(np.searchsorted(stored, keys), len(stored) - 1)
    return np.where(stored[at] == keys, block.values[at], block.dtype.type(0))
