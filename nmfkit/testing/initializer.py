"""The laws of a starting point."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from contextlib import closing
from typing import Any, TypeAlias

import numpy as np
from hypothesis import strategies as st

from nmfkit.blocks import Array
from nmfkit.executors.host import Host
from nmfkit.executors.local import LocalExecutor
from nmfkit.executors.plan import make_plan
from nmfkit.probe import survey
from nmfkit.testing import strategies as some
from nmfkit.testing.chunked import Chunked
from nmfkit.testing.compare import assert_close
from nmfkit.testing.law import Contract, law
from nmfkit.testing.stand_in import StandIn

Matrices: TypeAlias = st.SearchStrategy[Array]

seeds = st.integers(0, 2**32)


def suited(contract: Contract, drawn: Matrices) -> Matrices:
    """Matrices as drawn; made symmetric where the part says that it is for such (`symmetric`)."""
    return drawn.map(some.mirrored) if getattr(contract.part, "symmetric", False) else drawn


def awkward(contract: Contract) -> Matrices:
    """Matrices of every kind that a fit takes."""
    return suited(contract, some.matrices()).map(some.with_something)


def generic(contract: Contract) -> Matrices:
    """Positive matrices without any structure."""
    return suited(contract, some.generic())


def in_chunks(contract: Contract) -> st.SearchStrategy[tuple[Array, list[tuple[int, int]]]]:
    """The same with a chunking of their rows."""
    return some.chunked(generic(contract))


class InitializerContract(Contract):
    """What every starting point must hold."""

    def start(
        self,
        x: Array,
        rank: int,
        seed: int = 0,
        chunks: Sequence[tuple[int, int]] | None = None,
        *,
        is_sparse: bool = False,
        part: Any = None,
        place: Host | None = None,
    ) -> tuple[Array, Array]:
        """W (m, rank) and H (rank, n) to start from, on the data in the given chunks."""
        source = Chunked(x, chunks or [(0, len(x))], is_sparse=is_sparse)
        plan = make_plan(source, width=rank, dtype=x.dtype, elementwise=False, forms_product=False, threads=1)
        with closing(LocalExecutor(source, plan, place=place)) as executor:
            probe = survey(executor.sweep, source)
            rows, h = (part or self.part).start(executor.sweep, probe, rank, seed, x.dtype)
            return np.array(rows.read(0, len(x))["w"]), h

    @law(awkward, some.ranks, st.booleans())
    def test_gives_factors(self, x: Array, rank: int, is_sparse: bool) -> None:
        w, h = self.start(x, rank, is_sparse=is_sparse)
        assert w.shape == (len(x), rank), f"W is {w.shape}"
        assert h.shape == (rank, x.shape[1]), f"H is {h.shape}"
        for name, f in (("W", w), ("H", h)):
            assert np.isfinite(f).all(), f"{name} is not finite"
            assert (f >= 0).all(), f"{name} has negative entries"
            assert f.any(), f"{name} is all zero"

    @law(awkward, some.ranks)
    def test_honours_the_dtype(self, x: Array, rank: int) -> None:
        for dtype in (np.float32, np.float64):
            found = {f.dtype for f in self.start(x.astype(dtype), rank)}
            assert found == {np.dtype(dtype)}, f"{found} from {np.dtype(dtype)} data"

    @law(in_chunks, some.ranks, seeds)
    def test_is_the_same_for_every_chunking(self, drawn: Any, rank: int, seed: int) -> None:
        x, chunks = drawn
        whole = self.start(x, rank, seed)
        assert_close(self.start(x, rank, seed, chunks), whole, "factors in chunks and at once", rtol=1e-6)
        assert_close(self.start(x, rank, seed, chunks, is_sparse=True), whole, "factors, sparse and dense", rtol=1e-6)

    @law(in_chunks, some.ranks, st.booleans(), examples=0.3)
    def test_runs_on_a_device(self, drawn: Any, rank: int, is_sparse: bool) -> None:
        x, chunks = drawn
        there = self.start(x, rank, 0, chunks, is_sparse=is_sparse, place=StandIn())
        here = self.start(x, rank, 0, chunks, is_sparse=is_sparse)
        assert_close(there, here, "factors found on a device and on the host", rtol=1e-6)

    @law(generic, some.ranks, seeds)
    def test_a_seed_repeats_its_start(self, x: Array, rank: int, seed: int) -> None:
        assert_close(self.start(x, rank, seed), self.start(x, rank, seed), "two starts of one seed", rtol=0)

    @law(generic, some.ranks)
    def test_seeds_matter_always_or_never(self, x: Array, rank: int) -> None:
        starts = [self.start(x, rank, seed) for seed in range(3)]
        differ = [not _alike(starts[a], starts[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
        assert all(differ) or not any(differ), "some seeds give the same start and others do not"

    @law(generic, some.ranks)
    def test_pickles(self, x: Array, rank: int) -> None:
        copy = pickle.loads(pickle.dumps(self.part))
        assert_close(self.start(x, rank, part=copy), self.start(x, rank), "the pickled part's start", rtol=0)


def _alike(one: tuple[Array, Array], other: tuple[Array, Array]) -> bool:
    return all(np.allclose(a, b, rtol=1e-6, atol=1e-6 * np.max(a)) for a, b in zip(one, other, strict=True))
