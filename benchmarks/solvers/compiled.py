"""Solvers in Rust and numba."""

import numpy as np
from course import marks

from solvers.shapes import refitted, stepwise


def nmf_rs(method):
    """nmf-rs by one of its methods; `ehals` keeps a momentum, so it begins anew for every checkpoint."""

    def call(work, w, h, threads, iterations):
        import nmf_rs

        found = nmf_rs.nmf(
            work.x, rank=work.rank, method=method, W0=w, H0=h, max_iter=iterations, stop="max_iter", rescale=False,
            num_threads=threads,
        )  # fmt: skip
        return np.asarray(found.W), np.asarray(found.H)

    @refitted
    def once(work, threads, iterations):
        return call(work, work.w, work.h, threads, iterations)

    @stepwise
    def steps(work, threads):
        w, h, done = work.w, work.h, 0
        for mark in marks():
            w, h = call(work, w, h, threads, mark - done)
            done = mark
            yield mark, w, h

    return once if method == "ehals" else steps


@stepwise
def salamander(work, threads):
    """salamander's updates for KL, called one by one, since its models want annotated data. It has features as rows."""
    from salamander.models._utils_klnmf import update_WH

    del threads  # numba's, from the environment
    x = np.ascontiguousarray(work.x.T)
    w, h, done = np.ascontiguousarray(work.h.T), np.ascontiguousarray(work.w.T), 0
    for mark in marks():
        for _ in range(mark - done):
            w, h = update_WH(x, w, h)
        done = mark
        yield mark, h.T, w.T
