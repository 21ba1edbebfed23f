"""The laws of a model, by whole fits of small matrices with the parts that it accepts."""

from __future__ import annotations

import json
import pickle
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st

import nmfkit
from nmfkit.api import fit_problem
from nmfkit.blocks import Array, Block, Dense
from nmfkit.check import Resolved
from nmfkit.errors import DataError
from nmfkit.executors.draws import Batches
from nmfkit.executors.host import Host
from nmfkit.executors.passes import passed
from nmfkit.executors.rows import ResidentRows
from nmfkit.loop import is_parted, keeps_best
from nmfkit.lowrank import LowRank
from nmfkit.probe import Expected
from nmfkit.problem import Problem
from nmfkit.protocols import Calibrates, Draw, HasScale, HasView, Rows, RowStore, Shared, Stats, Step
from nmfkit.result import Result
from nmfkit.stats import widen
from nmfkit.testing import strategies as some
from nmfkit.testing.chunked import Chunked
from nmfkit.testing.compare import assert_close, assert_equal_but_rounding, roundoff
from nmfkit.testing.device import to_device, to_host
from nmfkit.testing.law import Contract, law
from nmfkit.testing.mixes import regularizer_mixes, resolved_or_none, texts
from nmfkit.testing.stand_in import StandIn, fitted
from nmfkit.testing.turns import turns

CONVEX = ("frobenius", "kl")
"""Losses whose problem in one factor has no poor minima, so that two ways to its end must meet."""

EVERYWHERE = ((False, 1), (False, 2), (True, 1), (True, 2))
"""Whether X is sparse, and threads."""


@dataclass(frozen=True)
class Posed:
    """A problem with its parts, shown by its text."""

    resolved: Resolved

    def __repr__(self) -> str:
        return f"Posed({self.resolved.problem.to_dict()})"


@st.composite
def posed(draw: Any, contract: ModelContract, *, convex: bool = False) -> tuple[Posed, Array]:
    """A problem that the model accepts, and data that it is defined for."""
    among = [r for r in contract.problems if not convex or r.problem.loss in CONVEX or r.ingredients.loss is None]
    resolved = draw(st.sampled_from(among))
    loss = resolved.ingredients.loss
    positive = loss is not None and loss.needs_positive
    x = draw(some.matrices(positive=positive, scales=(1.0, 1e3), shape=(draw(st.integers(2, 7)), draw(some.sides))))
    return Posed(resolved), _expected(some.with_something(x), resolved.model)


def _expected(x: Array, model: Any) -> Array:
    """`x` as the model expects its matrix: the similarities of its rows where that is symmetric."""
    return x @ x.T if Expected.by(model).symmetric else x


def after_passes(model: Any, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Shared]:
    """Rows and state as `local` gets them, by the passes of a phased model over the single block `x`."""
    bare, count = Dense(np.zeros_like(next(iter(rows.values())), shape=(x.shape[0], 0))), x.shape[0]

    def sweep(
        step: Step, rows: RowStore | None, shared: Shared, *, data: bool = True, tiles: bool = True
    ) -> tuple[RowStore, Stats]:
        del tiles
        new, stats = step(x if data else bare, rows.read(0, count) if rows else {}, shared)
        return ResidentRows(new), widen(stats)

    def drawn(step: Step, shared: Shared, draw: Draw) -> Stats:
        return widen(step(_batch(x, draw), {}, shared)[1])

    there, state = passed(model, sweep, ResidentRows(rows), shared, drawn)
    return there.read(0, count), state


def _batch(x: Block, draw: Draw) -> Block:
    """A batch of a matrix of one block, where that is."""
    here = to_host(x)
    (some,) = Batches(((0, x.shape[0]),), 0).of(draw)
    taken: Block = here.take(some.rows)
    return taken if isinstance(x.values, np.ndarray) else to_device(taken)


def posed_convex(contract: Any) -> Any:
    """Problems of which the rows' half is convex."""
    return posed(contract, convex=True)


class ModelContract(Contract):
    """What every model must hold; `make` returns its text, or what else `fit` takes as `model=`."""

    ranks: tuple[tuple[int, ...], ...] = ((2,), (3, 2))
    """Ranks that are tried; those that the model refuses are left out."""

    @property
    def fixed(self) -> dict[str, Any]:
        """Fields of `Problem` that all problems have."""
        return {}

    @cached_property
    def problems(self) -> list[Resolved]:
        """Every combination of registered parts that the model accepts, one kind of part varied at a time."""
        base: dict[str, Any] = {"model": self.part, "max_sweeps": 4, "tol": 0.0, **self.fixed}
        varied: list[dict[str, Any]] = [{}]
        varied += [{"loss": loss, "rule": rule} for loss in texts("loss") for rule in ("auto", *texts("rule"))]
        for mix in regularizer_mixes()[1:]:
            varied += [
                {"loss": loss, "reg_w": w, "reg_h": h} for loss in CONVEX for w, h in ((mix, ()), ((), mix), (mix, mix))
            ]
        tried = [
            Problem(**base, **fields, ranks=ranks, named=frozenset(fields))
            for fields in ([{}] if self.fixed else varied)
            for ranks in self.ranks
        ]
        found = [resolved for problem in tried if (resolved := resolved_or_none(problem)) is not None]
        assert found, "the model accepts no combination of registered parts"
        return found

    def fit(self, resolved: Resolved, x: Any, **options: Any) -> Result:
        """A fit of the problem, without a word of where it is written; other data where a view makes nothing of `x`."""
        problem = resolved.problem.replace(**options.pop("changes", {}))
        try:
            return fit_problem(x, problem, threads=options.pop("threads", 1), **options)
        except DataError:
            if isinstance(resolved.model, HasView):
                reject()
            raise

    def product(self, result: Result) -> LowRank | None:
        """ŷ of a fit; override for factors other than W and H, None where there is no such thing."""
        factors = result.factors
        return LowRank(factors["w"], factors["h"]) if factors.keys() == {"w", "h"} else None

    def rounding(self, result: Result, x: Array) -> float:
        """What rounding may change the objective of a fit by: an exact fit leaves that alone."""
        loss, model = result.model.parts.loss if hasattr(result.model, "parts") else None, result.model
        if isinstance(model, HasScale):
            return 1e-12 * model.scale(result.state.current)
        # Of a model without a loss part, the data's squares are the scale.
        return roundoff(loss, Dense(x)) if loss is not None else 1e-13 * float(np.sum(np.square(x)))

    def acting(self, result: Result) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """The regularizers of W and of H as they acted at the end of a fit."""
        model = result.model
        if isinstance(model, Calibrates):
            return model.regularizers(result.state.current)
        return model.parts.reg_w, model.parts.reg_h  # type: ignore[attr-defined]  # a model with W and H has parts

    @law(posed, st.data(), examples=0.6)
    def test_every_layout_gives_the_same(self, drawn: Any, more: Any) -> None:
        resolved, x = drawn[0].resolved, drawn[1]
        chunks = more.draw(some.chunkings(len(x)), label="chunks")
        # By groups of blocks a fit depends on the blocks, and on nothing else.
        whole = self.fit(resolved, Chunked(x, chunks) if is_parted(resolved.model) else x)
        for is_sparse, threads in ((False, 1), (True, 1)) if is_parted(resolved.model) else EVERYWHERE:
            other = self.fit(resolved, Chunked(x, chunks, is_sparse=is_sparse), threads=threads)
            how = f"in {len(chunks)} chunks, sparse={is_sparse}, threads={threads}"
            self._assert_same_fit(other, whole, x, how)

    def _assert_same_fit(self, other: Result, whole: Result, x: Array, how: str) -> None:
        slack = self.rounding(whole, x)
        assert_close(list(other.history.objective), list(whole.history.objective), f"objectives {how}", atol=slack)
        for name, f in whole.factors.items():
            assert_close(other.factors[name], f, f"{name} {how}", rtol=1e-6)

    @law(posed)
    def test_factors_are_factors(self, drawn: Any) -> None:
        resolved, x = drawn[0].resolved, drawn[1]
        of_any_sign = Expected.by(resolved.model).signed_components
        for name, f in self.fit(resolved, x).factors.items():
            assert np.isfinite(f).all(), f"{name} is not finite"
            free = of_any_sign and name not in resolved.model.row_factors
            assert free or (f >= 0).all(), f"{name} has negative entries"
            assert f.dtype == x.dtype, f"{name} is {f.dtype}"

    @law(posed)
    def test_objective_is_that_of_the_factors(self, drawn: Any) -> None:
        resolved, x = drawn[0].resolved, drawn[1]
        result, parts = self.fit(resolved, x), resolved.ingredients
        y = self.product(result)
        if parts.loss is None or y is None:
            return
        found = parts.loss.value(Dense(x), y)
        for regularizers, f in zip(self.acting(result), (result.w, result.h.T), strict=True):
            found += sum(part.value(part.stat(f)) for part in regularizers)
        assert_close(result.objective, found, "objective, by hand", rtol=1e-8, atol=10 * roundoff(parts.loss, Dense(x)))

    @law(posed, st.data(), examples=2)
    def test_objective_never_rises(self, drawn: Any, more: Any) -> None:
        resolved, x = drawn[0].resolved, drawn[1]
        monotone = getattr(resolved.ingredients.rule or resolved.model, "monotone", True)
        if not (monotone or keeps_best(resolved.model)):
            return
        chunks = more.draw(some.chunkings(len(x)), label="chunks")
        result = self.fit(resolved, Chunked(x, chunks), changes={"max_sweeps": 8})
        objectives = result.history.objective
        slack = 1e-9 * np.abs(objectives[:-1]) + 10 * self.rounding(result, x)
        rises = np.diff(objectives) > slack
        assert not rises.any(), f"the objective rose: {objectives.tolist()}"

    @law(posed, examples=0.25)
    def test_a_resumed_fit_is_the_uninterrupted_one(self, drawn: Any) -> None:
        resolved, x = drawn[0].resolved, drawn[1]
        with tempfile.TemporaryDirectory() as folder:
            out = str(Path(folder) / "run.zarr")
            self.fit(resolved, x, out=out, changes={"max_sweeps": 2})
            resumed = nmfkit.resume(out, x, max_sweeps=5, threads=1)
            whole = self.fit(resolved, x, changes={"max_sweeps": 5})
            assert_close(list(resumed.history.objective), list(whole.history.objective), "objectives", rtol=0)
            assert_close(resumed.factors, whole.factors, "factors of the resumed fit", rtol=0)

    @law(posed)
    def test_the_problem_is_text(self, drawn: Any) -> None:
        resolved = drawn[0].resolved
        text = json.loads(json.dumps(resolved.problem.to_dict()))
        assert Problem.from_dict(text) == resolved.problem, "the problem does not survive as text"

    @law(posed_convex, examples=0.4)
    def test_transform_finds_the_rows_of_the_fit(self, drawn: Any) -> None:
        resolved, x = drawn[0].resolved, drawn[1]
        result, parts = self.fit(resolved, x), resolved.ingredients
        if parts.loss is None or result.factors.keys() != {"w", "h"}:
            return
        w, acting = nmfkit.transform(result, x, max_sweeps=5000, tol=1e-9, threads=1), self.acting(result)[0]

        def cost(w: Array) -> float:
            penalty = sum(part.value(part.stat(w)) for part in acting)
            return float(parts.loss.value(Dense(x), LowRank(w, result.h)) + penalty)

        found, fitted = cost(w), cost(result.w)
        slack = 1e-3 * abs(fitted) + 1e3 * roundoff(parts.loss, Dense(x))
        assert found <= fitted + slack, f"transform reaches {found!r}, the fit {fitted!r}"

    @law(posed, examples=0.4)
    def test_runs_on_a_device(self, drawn: Any) -> None:
        resolved, x = drawn[0].resolved, drawn[1]
        result, model = self.fit(resolved, x), resolved.model
        rows, shared, rounding = result.state.rows.read(0, len(x)), result.state.following, self.rounding(result, x)
        for block in some.blocks_of(x):
            given = after_passes(model, block, rows, shared)
            there_given = after_passes(model, to_device(block), to_device(rows), to_device(shared))
            here = turns(model, block, rows, shared, given)
            there = turns(model, to_device(block), to_device(rows), to_device(shared), there_given)
            for name, expected in here.items():
                slack = rounding if "objective" in name or name == "bound" else 0.0
                found = to_host(there[name])
                assert_equal_but_rounding(found, expected, f"{name} on the device", rtol=1e-6, atol=slack)

    @law(posed, st.booleans(), st.data(), examples=0.3)
    def test_fits_on_a_device(self, drawn: Any, is_sparse: bool, more: Any) -> None:
        resolved, x = drawn[0].resolved, drawn[1]
        source = Chunked(x, more.draw(some.chunkings(len(x)), label="chunks"), is_sparse=is_sparse)
        there, here = fitted(source, resolved, StandIn()), fitted(source, resolved, Host())
        assert there.error == here.error, f"{there.error or 'no error'} on the device, {here.error or 'none'} here"
        slack = 1e-12 * float(np.sum(np.square(x)))
        assert_close(there.objectives, here.objectives, "objectives on the device", rtol=1e-6, atol=slack)
        for name, f in (here.rows | here.factors).items():
            assert_close((there.rows | there.factors)[name], f, f"{name} of the fit on the device", rtol=1e-5)

    @law(posed, examples=0.4)
    def test_pickles(self, drawn: Any) -> None:
        resolved, x = drawn[0].resolved, drawn[1]
        state = self.fit(resolved, x).state
        rows = state.rows.read(0, len(x))
        given = after_passes(resolved.model, Dense(x), rows, state.following)
        step = pickle.loads(pickle.dumps(resolved.model.local))
        expected = resolved.model.local(Dense(x), *given)
        assert_close(step(Dense(x), *given), expected, "the pickled model's step", rtol=0)
