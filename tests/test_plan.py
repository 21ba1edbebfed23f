"""Blocks, tiles and shards, and what the memory budget is spent on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmfkit.errors import UsageError
from nmfkit.executors.plan import MIB, make_plan, parse_size, size_text, source_bytes
from nmfkit.sources import open_source


class Stored:
    """A dense source of any size that reads nothing."""

    uri, dtype, is_sparse, nnz, resident = "stored", np.dtype("f4"), False, None, False
    row_names = feature_names = None

    def __init__(self, m, n):
        self.shape = (m, n)

    def bounds(self, target):
        step = max(1, target // (self.shape[1] * 4))
        return [(lo, min(self.shape[0], lo + step)) for lo in range(0, self.shape[0], step)]


def plan(source, **more):
    options = {"width": 10, "dtype": "f4", "elementwise": True, "forms_product": False, "threads": 2}
    return make_plan(source, **{**options, **more})


@given(m=st.integers(1, 10**7), n=st.integers(1, 5000), threads=st.integers(1, 16), memory=st.integers(8, 4096))
def test_shards_cover_every_block_once_and_the_budget_is_kept(m, n, threads, memory):
    try:
        layout = plan(Stored(m, n), memory=memory * MIB, threads=threads)
    except UsageError as refusal:
        layout, reason = None, str(refusal)
    if layout is None:
        assert "memory budget" in reason
        return
    assert [b for shard in layout.shards for b in shard] == list(range(len(layout.bounds)))
    spent = layout.shared_bytes + layout.cache_bytes + layout.threads * 3 * layout.block_bytes
    spent += layout.rows_bytes if layout.rows_resident else 0
    assert spent <= layout.memory
    assert 1 <= layout.threads <= threads


def test_a_budget_that_is_too_small_says_what_would_do():
    with pytest.raises(UsageError, match=r"allow --memory .* or more"):
        plan(Stored(10**6, 10**6), memory=16 * MIB)


def test_rows_spill_when_they_do_not_fit():
    big = Stored(10**7, 100)
    assert not plan(big, memory=128 * MIB).rows_resident
    assert plan(big, memory=4096 * MIB).rows_resident


def test_sparse_blocks_stay_whole_unless_the_product_is_formed():
    from scipy.sparse import random_array

    x = open_source(random_array((1000, 5000), density=0.01, rng=np.random.default_rng(0)))
    assert plan(x).tile_rows is None
    rows = plan(x, forms_product=True).tile_rows
    assert rows is not None
    assert rows * 5000 * 4 <= 2 * MIB


def test_sparse_blocks_are_taken_in_tiles_where_another_matrix_is_made_of_them():
    from scipy.sparse import random_array

    source = open_source(random_array((4000, 5000), density=0.05, rng=np.random.default_rng(0)))
    layout = plan(source, views=True)
    assert 1 < layout.tile_rows * source_bytes(source) / 4000 / MIB <= 4


def test_matrices_in_memory_are_not_read_again():
    layout = plan(open_source(np.ones((100, 10), dtype="f4")))
    assert layout.resident
    assert layout.bytes_per_sweep == 0
    assert source_bytes(open_source(np.ones((100, 10), dtype="f4"))) == 4000


@pytest.mark.parametrize(
    ("text", "size"), [("2GiB", 2**31), ("500MB", 5 * 10**8), ("1.5k", 1536), ("100", 100), (" 1 MiB ", 2**20), (7, 7)]
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "2 parsecs", "-1", "1e3"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UsageError, match="is not a size"):
        parse_size(text)


def test_sizes_for_people():
    assert [size_text(s) for s in (5, 1536, 3 * 2**30, 2**42)] == ["5 B", "1.5 KiB", "3.0 GiB", "4.0 TiB"]
