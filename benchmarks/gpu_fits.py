"""Sweeps of the workloads on a GPU: against the least they can take, torchnmf on the same GPU, and the processors."""

import shutil
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import memory
import numpy as np
import scipy.sparse as sp
import workloads
from gpu_ceilings import arithmetic, bandwidth, host_to_gpu
from gpu_clock import Row, told
from peak import Sweeps
from sweeps import Place, rate, shared_out
from workload import read_alone, write_matrix

import nmfkit
from nmfkit.executors.plan import parse_size, size_text
from nmfkit.executors.resources import available_threads
from nmfkit.sources import open_source

WORKLOADS = ("W1", "W2", "W3", "W4", "W5")
SHAPES = {"W1": (20000, 2000, 32), "W2": (5000, 2000, 20), "W3": (3000, 1500, 20)}
"""Rows, columns and rank of the dense workloads at scale 1."""
WARM = 2
"""Sweeps before those that count: kernels are compiled in them, and memory is taken."""


def shapes(names, scale):
    """Name, rows, columns and rank of the dense ones among the workloads."""
    return [(name, int(m * scale), int(n * scale), r) for name, (m, n, r) in SHAPES.items() if name in names]


# --- one workload -------------------------------------------------------------------------------------------------


def sweeps(gpu, name, given, ceilings):
    """A row for each dtype."""
    whole = workloads.make(name, scale=given.scale)
    for dtype in given.dtype:
        try:
            work = as_type(whole, dtype)
            row = Row("sweep", title(work), dtype, seconds_on(work, given.sweeps, given.device))
            row.floor = floor(work, ceilings)
            row.bytes, row.flops = (sum(amounts) for amounts in zip(*steps(work), strict=True))
            yield beside(row, gpu, work, given)
        except Exception as error:  # the other rows are worth having
            yield told("sweep", f"{name} {dtype}", error)
        finally:
            gpu.forget()


def as_type(work, dtype):
    """The workload in another dtype."""
    return replace(work, x=work.x.astype(dtype), w=work.w.astype(dtype), h=work.h.astype(dtype))


def title(work) -> str:
    """Name, loss and size."""
    m, n = work.x.shape
    stored = f", {work.x.nnz:,} stored" if sp.issparse(work.x) else ""
    return f"{work.name} {work.loss}, {m:,} × {n:,}, rank {work.rank}{stored}"


def beside(row, gpu, work, given) -> Row:
    """The row with what others take for an iteration; a note says where they fail."""
    if given.cpu_sweeps:
        row.cpu = seconds_on(work, given.cpu_sweeps, None)
    if given.device:
        gpu.forget()
        try:
            row.torchnmf = of_torchnmf(work)
        except Exception as error:  # it has limits of its own, of memory for one
            row.note = f"torchnmf: {type(error).__name__}: {' '.join(str(error).split())[:80]}"
    return row


def seconds_on(work, count, device) -> float:
    """The median time of a sweep, whose objective the host has at its end."""
    watcher, more = Sweeps(), {} if device is None else {"device": device}
    nmfkit.fit(
        work.x, w=work.w, h=work.h, loss=work.loss, rank=work.rank, pilot="none", tol=0, max_sweeps=WARM + count,
        dtype=work.x.dtype.name, watcher=watcher, **more,
    )  # fmt: skip
    return median(watcher.seconds[WARM:])


def of_torchnmf(work) -> float:
    """Seconds of an iteration of torchnmf on the GPU: those of 19 less those of 9, so that what a call costs is out."""
    import torch
    from solvers.torch_based import as_tensor
    from torchnmf.nmf import NMF

    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, work.x.dtype.name))
    try:
        x = as_tensor(torch, work.x).cuda()
        model = NMF(W=torch.tensor(np.ascontiguousarray(work.h.T)), H=torch.tensor(work.w)).cuda()

        def fit(count):
            torch.cuda.synchronize()
            began = time.perf_counter()
            model.fit(x, beta=work.beta, tol=float("-inf"), max_iter=count)
            torch.cuda.synchronize()
            return time.perf_counter() - began

        fit(2)
        return median((fit(19) - fit(9)) / 10 for _ in range(3))
    finally:
        torch.set_default_dtype(before)
        x = model = None
        torch.cuda.empty_cache()


# --- the least that an iteration takes ----------------------------------------------------------------------------


def steps(work) -> list[tuple[float, float]]:
    """Bytes and flops of the update of each factor, by a method that reads X once for each and shares no step.

    What lies between the products (W H, ratios) could stay on the chip; factors are read and written once.
    """
    (m, n), r, item = work.x.shape, work.rank, work.x.dtype.itemsize
    entries, size = m * n, work.x.nbytes if not sp.issparse(work.x) else 0
    if sp.issparse(work.x):
        entries, size = work.x.nnz, work.x.data.nbytes + work.x.indices.nbytes + work.x.indptr.nbytes
    products = {"frobenius": 1, "kl": 2, "is": 3}[work.loss]
    moved = size + 2 * (m + n) * r * item
    return [(moved, 2.0 * products * entries * r)] * 2


def floor(work, ceilings) -> float:
    """Seconds of those steps at the rates measured: of each the memory's or the arithmetic's, whichever is more."""
    speed, flops = bandwidth(ceilings), arithmetic(ceilings, work.x.dtype.name)
    return sum(max(moved / speed, done / flops) for moved, done in steps(work))


# --- a matrix larger than the memory of the device that a fit may use ---------------------------------------------


def out_of_core(gpu, given, ceilings) -> list[Row]:
    """Reads of a matrix in a store, sweeps of it through a part of the GPU's memory, and sweeps of it held there."""
    folder = Path(tempfile.mkdtemp(dir=given.folder))
    try:
        path, threads = str(folder / "x.zarr"), available_threads()
        write_matrix(path, parse_size(given.size), threads)
        source = open_source(path)
        size = 4 * source.shape[0] * source.shape[1]
        shares = shared_out(source.bounds(2**26), threads)
        speed = rate(Place(0, threads), None, read_alone, shares, path)
        what = f"{size_text(size)}, float32"
        rows = [Row("store", f"zarr reads on {threads} threads, {what}", seconds=size / speed, bytes=size)]
        least = max(size / speed, size / host_to_gpu(ceilings))
        rows += [through(gpu, path, loss, size, given, least) for loss in ("frobenius", "kl")]
        rows.append(through(gpu, path, "frobenius", size, given, size / bandwidth(ceilings), held=True))
        return rows
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def through(gpu, path, loss, size, given, least, held=False) -> Row:
    """Sweeps of the matrix within the budgets, or `held` without any; the note tells the peaks."""
    gpu.forget()
    budgets = {} if held else {"memory": given.memory}
    if given.device:
        budgets["device"] = given.device
        if not held:
            budgets["device_memory"] = given.device_memory
    watcher, count = Sweeps(), max(3, given.sweeps // 4)
    with Peaks(gpu) as peaks:
        nmfkit.fit(path, loss=loss, rank=20, pilot="none", tol=0, max_sweeps=WARM + count, watcher=watcher, **budgets)
    what = f"{loss}, held" if held else f"{loss}, {given.device_memory} of the GPU, {given.memory} of the host"
    return Row("store", what, "float32", median(watcher.seconds[WARM:]), size, floor=least, note=str(peaks))


class Peaks(threading.Thread):
    """The most that CuPy's pool and this process held while it was entered, looked at again and again."""

    def __init__(self, gpu, pause=0.005):
        super().__init__(daemon=True)
        self._pool = getattr(gpu.xp, "get_default_memory_pool", None)
        self._pause, self._over = pause, threading.Event()
        self.gpu = self.host = 0

    def __enter__(self):
        memory.settle()
        self.before = memory.resident()
        self.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self.join()

    def run(self):
        while not self._over.wait(self._pause):
            self.look()
        self.look()

    def look(self):
        self.host = max(self.host, memory.resident() - self.before)
        if self._pool is not None:
            self.gpu = max(self.gpu, self._pool().total_bytes())

    def __str__(self):
        return f"peaks: GPU {size_text(self.gpu)}, host {size_text(self.host)}"
