"""What a GPU can do at best: copies on it and to it, and products of matrices, large ones and the workloads' own."""

import numpy as np
from gpu_clock import Row, seconds_of

GIB = 2**30
SQUARE = 8192
"""Side of the matrices whose product shows what the arithmetic can do."""


def copies(gpu, size=GIB) -> list[Row]:
    """Bytes a second on the GPU, where each is read and written, and between it and the host."""
    xp = gpu.xp
    a, b = xp.zeros(size // 4, np.float32), xp.zeros(size // 4, np.float32)
    there = xp.zeros(size, np.uint8)
    locked, paged = gpu.pinned(size), np.zeros(size, np.uint8)
    locked[...] = 1
    paged[...] = 1
    steps = {
        "copy on the GPU": (lambda: xp.copyto(b, a), 2),
        "a + b on the GPU": (lambda: xp.add(a, b, out=b), 3),
        "host to GPU, pinned": (lambda: gpu.upload(there, locked), 1),
        "host to GPU, pageable": (lambda: gpu.upload(there, paged), 1),
        "GPU to host, pinned": (lambda: gpu.download(there, locked), 1),
    }
    return [
        Row("ceiling", name, seconds=seconds_of(gpu, step), bytes=times * size) for name, (step, times) in steps.items()
    ]


def products(gpu, shapes, dtype, square=SQUARE) -> list[Row]:
    """Flops a second of X Hᵀ, Xᵀ W and W H for each (name, rows, n, rank), and of a large square product."""
    rows = [_product(gpu, f"GEMM {square}³", (square, square, square), dtype)]
    for name, m, n, r in shapes:
        for what, sides in (("X Hᵀ", (m, n, r)), ("Xᵀ W", (n, m, r)), ("W H", (m, r, n))):
            gpu.forget()
            rows.append(_product(gpu, f"{what} of {name}", sides, dtype, turned=what == "Xᵀ W"))
    return rows


def _product(gpu, what, sides, dtype, turned=False) -> Row:
    m, k, n = sides
    xp = gpu.xp
    a = xp.ones((k, m), dtype).T if turned else xp.ones((m, k), dtype)
    b, out = xp.ones((k, n), dtype), xp.empty((m, n), dtype)
    seconds = seconds_of(gpu, lambda: xp.matmul(a, b, out=out))
    return Row("ceiling", what, dtype, seconds, a.nbytes + b.nbytes + out.nbytes, 2.0 * m * n * k)


def bandwidth(rows) -> float:
    """Bytes a second on the GPU, the best of those measured."""
    return max(row.rate(row.bytes) for row in rows if row.what.endswith("on the GPU"))


def host_to_gpu(rows) -> float:
    """Bytes a second from page-locked memory."""
    return next(row.rate(row.bytes) for row in rows if row.what == "host to GPU, pinned")


def arithmetic(rows, dtype) -> float:
    """Flops a second of the large square product."""
    return next(row.rate(row.flops) for row in rows if row.what.startswith("GEMM") and row.dtype == dtype)
