"""The laws of a source: what a reader gives back."""

from __future__ import annotations

import pickle
from functools import cached_property
from typing import Any

import numpy as np
from hypothesis import strategies as st

from nmfkit.blocks import CSR, Array
from nmfkit.sources import ArraySource, fingerprint
from nmfkit.sources.checks import FLOATS
from nmfkit.testing.law import Contract, law

targets = st.one_of(st.integers(1, 4096), st.integers(1, 2**40))
"""Sizes of blocks in bytes that a plan may ask for."""


class SourceContract(Contract):
    """What every source must hold; `make` opens a matrix that fits in memory."""

    @cached_property
    def whole(self) -> Array:
        """Every entry, read at once."""
        source = self.part
        entries: Array = source.read(0, source.shape[0]).dense()
        return entries

    @law(targets)
    def test_bounds_tile_the_rows(self, target: int) -> None:
        source = self.part
        bounds = source.bounds(target)
        edges = [0, *(hi for _, hi in bounds)]
        assert [lo for lo, _ in bounds] == edges[:-1], "ranges do not follow each other"
        assert edges[-1] == source.shape[0], f"ranges end at {edges[-1]} of {source.shape[0]} rows"
        assert all(lo < hi for lo, hi in bounds), "a range is empty"

    @law(targets, st.data())
    def test_blocks_are_rows_of_the_whole(self, target: int, more: Any) -> None:
        source = self.part
        lo, hi = more.draw(st.sampled_from(source.bounds(target)), label="rows")
        block = source.read(lo, hi)
        assert block.first == lo, f"the block says that it starts at row {block.first}"
        assert block.shape == (hi - lo, source.shape[1]), f"the block has shape {block.shape}"
        assert block.dtype == source.dtype, f"the block is {block.dtype}, the source {source.dtype}"
        assert isinstance(block, CSR) == source.is_sparse, f"a {type(block).__name__} from is_sparse={source.is_sparse}"
        assert (block.dense() == self.whole[lo:hi]).all(), f"rows {lo}–{hi - 1} differ from those of the whole"

    def test_says_what_it_holds(self) -> None:
        source = self.part
        assert source.uri, "uri is empty"
        assert source.shape == self.whole.shape, f"shape {source.shape}, read {self.whole.shape}"
        assert source.dtype in FLOATS, f"dtype {source.dtype} is not one of float32, float64"
        assert (source.nnz is not None) == source.is_sparse, f"nnz is {source.nnz}, is_sparse {source.is_sparse}"
        if source.nnz is not None:
            read = source.read(0, source.shape[0])
            assert source.nnz == len(read.values), f"nnz is {source.nnz}, and {len(read.values)} entries are stored"

    def test_names_fit(self) -> None:
        source = self.part
        for what, names, length in zip(
            ("row", "feature"), (source.row_names, source.feature_names), source.shape, strict=True
        ):
            assert names is None or len(names) == length, f"{len(names)} {what} names for {length} {what}s"

    def test_pickles(self) -> None:
        source = self.part
        copy = pickle.loads(pickle.dumps(source))
        assert copy.shape == source.shape
        rows = min(3, source.shape[0])
        assert (copy.read(0, rows).dense() == self.whole[:rows]).all(), "the pickled source reads other rows"

    def test_fingerprint_is_that_of_its_content(self) -> None:
        source, changed = self.part, self.whole.copy()
        assert fingerprint(source) == fingerprint(self.part), "two readings have two fingerprints"
        changed[0, 0] += 1
        if not source.is_sparse:
            assert fingerprint(ArraySource(changed)) != fingerprint(ArraySource(np.array(self.whole)))
