"""Solvers on PyTorch, on the CPU."""

import numpy as np
import scipy.sparse as sp
from course import marks

from solvers.shapes import refitted, stepwise


@stepwise
def torchnmf(work, threads):
    """torchnmf: multiplicative updates by automatic differentiation. Its H is our W, its W our H, turned."""
    import torch
    from torchnmf.nmf import NMF

    torch.set_num_threads(threads)
    x = as_tensor(torch, work.x)
    model = NMF(W=torch.tensor(np.ascontiguousarray(work.h.T)), H=torch.tensor(work.w))
    done = 0
    for mark in marks():
        model.fit(x, beta=work.beta, tol=0, max_iter=mark - done)
        done = mark
        yield mark, model.H.detach().numpy(), model.W.detach().numpy().T


def as_tensor(torch, x):
    if not sp.issparse(x):
        return torch.as_tensor(x)
    x = x.tocoo()
    places = torch.as_tensor(np.stack([x.row, x.col]).astype(np.int64))
    return torch.sparse_coo_tensor(places, torch.as_tensor(x.data), x.shape).coalesce()


LEAST = 10
"""Iterations of nmf-torch before it first looks at its error; a fit of fewer fails."""


def nmf_torch(method):
    """nmf-torch in batch mode; it takes no start but makes its own."""

    def once(work, threads, iterations):
        from nmf import run_nmf

        w, h, _ = run_nmf(
            work.x, work.rank, init="random", beta_loss=work.beta, algo=method, mode="batch", tol=1e-12,
            n_jobs=threads, random_state=0, batch_max_iter=iterations,
            fp_precision="float" if work.x.dtype == np.float32 else "double",
        )  # fmt: skip
        return np.asarray(w), np.asarray(h)

    return refitted(once, first=LEAST)
