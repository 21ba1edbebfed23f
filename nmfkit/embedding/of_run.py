"""The quality of the rows of W of a run: which rows are compared, and how they come together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.clustering import Classes
from nmfkit.embedding.asked import ALL, NEIGHBOURS, SEED, counts_of, picked, refuse_many, sample_of
from nmfkit.embedding.by_class import by_class, labelled
from nmfkit.embedding.matrices import Viewed, hidden, matrix_from, within
from nmfkit.embedding.preserved import Preserved, preserved
from nmfkit.embedding.quality import Quality
from nmfkit.embedding.ranks import sizes_within
from nmfkit.errors import UsageError
from nmfkit.executors.plan import size_text, source_bytes
from nmfkit.judging import Product
from nmfkit.loop import Watcher
from nmfkit.problem import part_text
from nmfkit.protocols import Embeds, Executor, HasView, Model, Rows, RowStore, Shared, Source, Stats, Step
from nmfkit.result import Result
from nmfkit.sample import Picked
from nmfkit.sources.array import ArraySource
from nmfkit.stats import Gathered

SHARE = 8
"""The rows of X that are drawn may take one of so many parts of the memory."""


@dataclass(frozen=True)
class Asked:
    """What is asked of the rows of a run: numbers of neighbours (none: nobody asks), known classes, how many rows."""

    neighbours: tuple[int, ...]
    known: Classes | None
    sample: int | str | None

    @classmethod
    def of(
        cls, result: Result, model: Model, source: Source, neighbours: Any, known: Classes | None, sample: Any
    ) -> Asked | None:
        """What `score` is asked, or a model that embeds its rows; None for nothing.

        Raises `UsageError` where that makes no sense for the model or the data.
        """
        count, m = sample_of(sample), source.shape[0]
        counts = () if neighbours is None else counts_of(neighbours)
        if counts:
            _refuse(result, model, source)
            refuse_many(counts, min(count or m, m))
        elif _embeds(model) and not hidden(source) and min(count or m, m) > 2 * NEIGHBOURS:
            counts = (NEIGHBOURS,)
        if counts or known is not None:
            return cls(counts, known, sample)
        if sample is not None:
            raise UsageError("sample says how many rows neighbours and labels are judged by; give one of these with it")
        return None


def _embeds(model: Model) -> bool:
    return isinstance(model, Embeds) and model.embeds and not getattr(model, "symmetric", False)


def _refuse(result: Result, model: Model, source: Source) -> None:
    """Raise `UsageError` where rows of X are no points with distances."""
    if getattr(model, "symmetric", False):
        raise UsageError(
            f"neighbours: trustworthiness compares distances between rows of X, and model "
            f"{part_text(result.problem.model)!r} factorizes similarities, which are no coordinates; "
            "nmfkit.embedding.trustworthiness compares its W with the data that the similarities were made of"
        )
    if reason := hidden(source):
        raise UsageError(f"neighbours: {reason}")


@dataclass(frozen=True)
class Bring:
    """The step that brings rows together: those of X numbered `of_x` (none: X stays where it is), and `of_w` of W."""

    of_x: Array | None
    of_w: Array
    product: Product
    encode: Step | None

    def __call__(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """Those of a block."""
        places = within(self.of_w, x)
        weights = self._weights(x, places, rows, shared)
        return {}, {"w": Gathered.of(x.first, weights), "x": self._data(x)}

    def _data(self, x: Block) -> Picked:
        if self.of_x is None or not len(places := within(self.of_x, x)):
            return Picked()
        return Picked((x.take(places),))

    def _weights(self, x: Block, places: Array, rows: Rows, shared: Shared) -> Array:
        if self.encode is None:
            return self.product.weights({self.product.row: rows[self.product.row][places]})
        if not len(places):
            return np.zeros_like(self.product.v, shape=(0, len(self.product.v)))
        fitted, _ = self.encode(x.take(places), {}, shared)
        return self.product.weights(fitted)


@dataclass(frozen=True)
class Brought:
    """The rows that are compared: of X, with those of W, and those of W that have a class, with their classes."""

    asked: Asked
    x: Source
    w: Array
    told: Array
    codes: Array
    whole: int
    memory: int
    notes: tuple[str, ...]

    def judged(self, model: Model, shared: Shared, watcher: Watcher) -> Quality:
        """What is asked of them."""
        counts = self.asked.neighbours
        kept = tuple(self._kept(counts, model, shared, watcher)) if counts else ()
        classes = by_class(self.told, self.codes, SEED) if self.asked.known is not None else None
        return Quality(len(self.w) if counts else len(self.told), self.whole, SEED, kept, classes, self.notes)

    def _kept(self, counts: tuple[int, ...], model: Model, shared: Shared, watcher: Watcher) -> Iterator[Preserved]:
        w, sizes = ArraySource(self.w, uri="W"), sizes_within(self.memory)
        yield preserved(self.x, w, counts, "X", watcher, sizes)
        if isinstance(model, HasView):
            viewed = Viewed(self.x, lambda block: model.view(block, shared))
            if not viewed.same:
                yield preserved(viewed, w, counts, "view", watcher, sizes)


def brought(
    asked: Asked, executor: Executor, source: Source, product: Product, rows: RowStore | None, encode: Step | None,
    shared: Shared,
) -> Brought:  # fmt: skip
    """One sweep that brings together what `asked` needs, within the memory of the executor's plan.

    Rows are those of a run, or fitted by `encode`. Where all rows are compared, and X is in memory already or would
    not fit there, it stays where it is. Raises `UsageError` where a sample that was asked for does not fit.
    """
    m, own = source.shape[0], np.arange(0)
    notes: list[str] = []
    if asked.neighbours:
        count = _fitting(asked, source, executor.plan.memory, notes)
        own = np.arange(m) if count == m else picked(m, count, SEED)
    stays = not len(own) or (len(own) == m and (source.resident or _most(source, executor.plan.memory) < m))
    classed = np.arange(0) if asked.known is None else labelled(asked.known, asked.sample, SEED)
    every = np.union1d(own, classed)
    _, stats = executor.sweep(Bring(None if stays else own, every, product, encode), rows, shared)
    w = stats["w"].whole()
    return Brought(
        asked,
        source if stays else matrix_from(list(stats["x"].pieces), source.uri),
        w[np.searchsorted(every, own)],
        w[np.searchsorted(every, classed)],
        classed if asked.known is None else asked.known.codes[classed],
        m,
        executor.plan.memory,
        tuple(notes),
    )


def _fitting(asked: Asked, source: Source, memory: int, notes: list[str]) -> int:
    """How many rows are compared: those asked for, all, or as many of the usual ones as fit the memory."""
    m, count = source.shape[0], sample_of(asked.sample)
    if not count or count >= m:
        return m
    most = _most(source, memory)
    if count <= most:
        return count
    if asked.sample is not None or most <= 2 * max(asked.neighbours):
        raise UsageError(
            f"a sample of {count:,} rows takes {size_text(count * _row_bytes(source))}, and may take "
            f"{size_text(memory / SHARE)}, one part in {SHARE} of the memory: draw fewer (--sample), allow more "
            f"(--memory), or compare all rows by blocks (--sample {ALL})"
        )
    notes.append(f"{most:,} rows are drawn in place of {count:,}, so that they fit the memory")
    return most


def _most(source: Source, memory: int) -> int:
    """How many rows of X may be drawn."""
    return int(memory / SHARE / max(1.0, _row_bytes(source)))


def _row_bytes(source: Source) -> float:
    return source_bytes(source) / source.shape[0]
