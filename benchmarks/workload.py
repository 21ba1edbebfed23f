"""What `scale.py` works on: a matrix made block by block, blocks that cost nothing, the two halves of a sweep.

The functions at the end run here and on workers alike.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import zarr
from threadpoolctl import threadpool_limits

from nmfkit.blocks import Dense
from nmfkit.executors.rows import ResidentRows
from nmfkit.executors.shard import ShardRun
from nmfkit.sources import open_source
from nmfkit.sources.convert import convert

COLUMNS = 2000
BLOCK_ROWS = 4096


@dataclass(frozen=True)
class Plain:
    """What the sources below have in common: a dense float32 matrix without names, of blocks of `block` rows."""

    blocks: int
    block: int
    columns: int
    uri = "made up"
    is_sparse = resident = False
    nnz = row_names = feature_names = None
    dtype = np.dtype(np.float32)

    @property
    def shape(self):
        return (self.blocks * self.block, self.columns)

    def bounds(self, target_bytes):
        del target_bytes
        return [(i * self.block, (i + 1) * self.block) for i in range(self.blocks)]


@dataclass(frozen=True)
class Generated(Plain):
    """Gamma factors of rank 20 times noise between 0.5 and 1.5: nothing for the codec to find but exponents."""

    h: np.ndarray = field(repr=False)

    def read(self, lo, hi):
        rng = np.random.default_rng([1, lo])
        values = rng.gamma(1.0, size=(hi - lo, len(self.h))).astype(np.float32) @ self.h
        noise = rng.random(values.shape, np.float32)
        noise += 0.5
        values *= noise
        return Dense(values, lo)


@dataclass(frozen=True)
class Empty(Plain):
    """Blocks of ones that no time is spent on: every one is the same array."""

    def read(self, lo, hi):
        return Dense(np.broadcast_to(np.float32(1), (hi - lo, self.columns)), lo)


def nothing(x, rows, shared):
    """The step that does nothing."""
    del x, rows, shared
    return {}, 0.0


def write_matrix(path, size, threads):
    """About `size` bytes as `nmfkit convert` lays them out; holds a few blocks at a time."""
    h = np.random.default_rng(0).gamma(0.5, size=(20, COLUMNS)).astype(np.float32)
    source = Generated(max(1, round(size / (4 * COLUMNS * BLOCK_ROWS))), BLOCK_ROWS, COLUMNS, h)

    def each(function, items):
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(function, items))

    with threadpool_limits(1, "blas"):
        convert(source, path, each=each)


class Discard:
    """A place for rows that nobody wants."""

    def write(self, lo, rows):
        pass

    def block(self, lo, hi):
        pass


def read_alone(path, bounds):
    """Bytes and seconds of reading the blocks with zarr itself, one after another."""
    array = zarr.open_group(path, mode="r")["X"]
    size, began = 0, time.perf_counter()
    for lo, hi in bounds:
        size += array[lo:hi].nbytes
    return size, time.perf_counter() - began


def compute_alone(path, bounds, step, rows, shared, tile_rows):
    """Bytes and seconds of `step` over the blocks, which are in memory before the clock starts."""
    source = open_source(path)
    blocks = [(lo, hi, source.read(lo, hi)) for lo, hi in bounds]
    run = ShardRun(source, step, ResidentRows(*rows), shared, Discard(), tile_rows, lambda: True, lambda _: None)
    run(iter(blocks[:1]))
    began = time.perf_counter()
    run(iter(blocks))
    return sum(block.nbytes for _, _, block in blocks), time.perf_counter() - began
