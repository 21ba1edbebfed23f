"""A clock for what a GPU does, and a row of the table that `gpu.py` prints."""

import time
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

FLUSH = 2**28
"""Bytes that are written before each try: more than any cache of a GPU holds."""


class Gpu:
    """CuPy's present GPU."""

    def __init__(self):
        import cupy

        self.xp = cupy
        self._scratch = None
        found = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
        self.name = found["name"].decode()
        self.facts = {"name": self.name, "memory": found["totalGlobalMem"], "l2": found["l2CacheSize"]}

    def pinned(self, size):
        """Page-locked memory of the host, as bytes."""
        return np.frombuffer(self.xp.cuda.alloc_pinned_memory(size), np.uint8, size)

    def upload(self, target, source):
        """Copy host memory into an array of the GPU."""
        target.set(source)

    def download(self, source, target):
        """Copy an array of the GPU into host memory."""
        source.get(out=target)

    def once(self, step, given) -> float:
        """Seconds between the moment before `step(*given)` and the one after, on the GPU, with cold caches."""
        if self._scratch is None:
            self._scratch = self.xp.empty(FLUSH, self.xp.uint8)
        self._scratch.fill(0)
        self.finish()
        first, last = self.xp.cuda.Event(), self.xp.cuda.Event()
        first.record()
        step(*given)
        last.record()
        last.synchronize()
        return self.xp.cuda.get_elapsed_time(first, last) / 1e3

    def finish(self):
        """Wait for all that is under way."""
        self.xp.cuda.Device().synchronize()

    def forget(self):
        """Give back what arrays that are gone have left, and bound nobody by what a fit was allowed."""
        self._scratch, pool = None, self.xp.get_default_memory_pool()
        pool.set_limit(size=0)
        pool.free_all_blocks()
        self.xp.get_default_pinned_memory_pool().free_all_blocks()


class Rehearsal:
    """NumPy in the place of CuPy, to see that all of it runs."""

    xp, name, facts = np, "no GPU: a rehearsal", {}

    def pinned(self, size):
        return np.empty(size, np.uint8)

    def upload(self, target, source):
        target[...] = source

    def download(self, source, target):
        target[...] = source

    def once(self, step, given) -> float:
        began = time.perf_counter()
        step(*given)
        return time.perf_counter() - began

    def finish(self):
        pass

    def forget(self):
        pass


def seconds_of(gpu, step, prepare=tuple, repeats=7) -> float:
    """The median of some tries after one that compiles and warms up; each has arguments that are made before."""
    return median([gpu.once(step, prepare()) for _ in range(repeats + 1)][1:])


@dataclass
class Row:
    """A line of the table: what it tells is None where it does not apply; `floor` is the least number of seconds.

    `bytes` and `flops` are what cannot be avoided; `plain`, `torchnmf` and `cpu` are seconds of others for the same.
    """

    part: str
    what: str
    dtype: str = ""
    seconds: float | None = None
    bytes: float | None = None
    flops: float | None = None
    floor: float | None = None
    plain: float | None = None
    torchnmf: float | None = None
    cpu: float | None = None
    note: str = ""

    def rate(self, amount) -> float | None:
        """How much of it is done in a second."""
        return None if amount is None or not self.seconds else amount / self.seconds

    def over(self, other, *, inverse=False) -> float | None:
        """These seconds over the others; with `inverse` the others over these."""
        if not other or not self.seconds:
            return None
        return other / self.seconds if inverse else self.seconds / other


def told(part, what, error) -> Row:
    """A row for what failed, so that the rest of the table is there all the same."""
    text = " ".join(str(error).split())
    return Row(part, what, note=f"{type(error).__name__}: {text[:160]}")


def cells(row: Row) -> dict[str, Any]:
    """The numbers of a row under their heads."""
    return {
        "ms": _scaled(row.seconds, 1e3),
        "GB/s": _scaled(row.rate(row.bytes), 1e-9),
        "TFLOP/s": _scaled(row.rate(row.flops), 1e-12),
        "of floor": row.over(row.floor),
        "over plain": row.over(row.plain, inverse=True),
        "over torchnmf": row.over(row.torchnmf, inverse=True),
        "over CPU": row.over(row.cpu, inverse=True),
    }


def _scaled(value, scale):
    return None if value is None else value * scale
