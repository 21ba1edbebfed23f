"""What a sweep of deep-nmf costs: one read of X, and one sum over the blocks where H is normalized."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from deep_fits import deep

from nmfkit.executors.cache import BlockCache
from nmfkit.executors.local import LocalExecutor
from nmfkit.testing import Chunked

RNG = np.random.default_rng(2)
X = RNG.gamma(0.5, 1.0, (50, 4)) @ RNG.gamma(0.5, 1.0, (4, 30)) + 0.05
CHUNKS = [(0, 11), (11, 30), (30, 50)]
FEW, MANY = 4, 12


class Counted(Chunked):
    """A source that counts how often each block is read."""

    def __init__(self, x, chunks, **options):
        super().__init__(x, chunks, **options)
        self.reads = Counter()

    def read(self, lo, hi):
        self.reads[lo, hi] += 1
        return super().read(lo, hi)


@pytest.fixture
def passes(monkeypatch):
    """Passes over the rows, those of them that read X, and no block stays in memory from one to the next."""
    seen = Counter()
    real = LocalExecutor._over

    def over(self, numbers, run):
        seen["sums"] += 1
        seen["reads"] += bool(run.data)
        return real(self, numbers, run)

    monkeypatch.setattr(LocalExecutor, "_over", over)
    monkeypatch.setattr(BlockCache, "offer", lambda *given: None)
    return seen


def a_sweep(passes, is_sparse=False, **options):
    """(sums over blocks, reads of each block) of one sweep: what more sweeps take more."""
    found = []
    for sweeps in (FEW, MANY):
        source = Counted(X, CHUNKS, is_sparse=is_sparse)
        passes.clear()
        fit = deep(source, sweeps=sweeps, **options)
        assert fit.history.sweep[-1] == sweeps
        (reads,) = {source.reads[chunk] for chunk in CHUNKS}  # a few rows are looked at before
        assert passes["reads"] == reads
        found.append((passes["sums"], reads))
    (sums, reads), (more_sums, more_reads) = found
    return (more_sums - sums) / (MANY - FEW), (more_reads - reads) / (MANY - FEW)


@pytest.mark.parametrize("extrapolate", [False, True], ids=["plain", "ahead"])
@pytest.mark.parametrize("side", ["coefficients", "components"])
@pytest.mark.parametrize("beta", [-0.5, 0, 0.5, 1, 1.5, 2])
def test_one_read_and_one_sum_a_sweep(passes, beta, side, extrapolate):
    normalize = "h"
    model = {"side": side, "extrapolate": extrapolate}
    assert a_sweep(passes, beta=beta, normalize=normalize, model=model) == (1, 1)


@pytest.mark.parametrize("is_sparse", [False, True])
def test_one_read_of_sparse_data(passes, is_sparse):
    assert a_sweep(passes, is_sparse, beta=1) == (1, 1)


@pytest.mark.parametrize("volume", [(), ("minvol:1,delta=0.1",)], ids=["free", "volume"])
def test_columns_of_w_take_one_read_for_kullback_leibler(passes, volume):
    sums, reads = a_sweep(passes, beta=1, normalize="w", reg_w=list(volume))
    assert reads == 1
    assert 1 <= sums <= 45  # multipliers of three layers, each found in a few passes over rows alone


@pytest.mark.parametrize("beta", [0, 0.5, 1.5, 2])
def test_columns_of_w_take_two_reads_at_most(passes, beta):
    _, reads = a_sweep(passes, beta=beta, normalize="w")
    assert reads <= 2


def test_volume_takes_no_further_pass_where_h_is_normalized(passes):
    assert a_sweep(passes, beta=1, reg_w=["minvol:1,delta=0.1"]) == (1, 1)
