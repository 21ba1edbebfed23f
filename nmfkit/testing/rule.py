"""The laws of an update rule, on every registered loss and mix of regularizers that it accepts."""

from __future__ import annotations

import pickle
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from hypothesis import strategies as st

from nmfkit.blocks import Array, Dense
from nmfkit.lowrank import LowRank
from nmfkit.protocols import Moment, Term
from nmfkit.stats import add, widen
from nmfkit.testing import strategies as some
from nmfkit.testing.compare import assert_close, assert_equal_but_rounding, roundoff
from nmfkit.testing.device import to_device, to_host
from nmfkit.testing.law import Contract, law
from nmfkit.testing.mixes import Mix, accepted_by
from nmfkit.testing.side import Side, sides_of
from nmfkit.testing.strategies import Case

FLOOR = 1e-16
"""The floor of rules that zero traps, relative to the root of the mean entry of X."""
SWEEPS = (0, 1000)
"""Sweeps done before an update: a rule may start otherwise than it goes on."""


@st.composite
def mixed(draw: Any, contract: RuleContract, *, smooth: bool = False) -> tuple[Mix, Case]:
    """A mix and data that its loss is defined for; factors hold zeros."""
    mix = replace(draw(st.sampled_from(contract.mixes)), sweep=draw(st.sampled_from(SWEEPS)))
    case = draw(some.cases(positive=mix.loss.needs_positive, smooth=smooth))
    return mix, replace(case, x=some.with_something(case.x))


def mixed_smoothly(contract: RuleContract) -> Any:
    """The same without zeros in the factors: float32 has no room for a product of floors."""
    return mixed(contract, smooth=True)


@st.composite
def mixed_exactly(draw: Any, contract: RuleContract) -> tuple[Mix, Case]:
    """A loss without regularizers, and an exact fit."""
    return draw(st.sampled_from([m for m in contract.mixes if not m.regularizers])), draw(some.exact_fits())


class RuleContract(Contract):
    """What every rule must hold."""

    @cached_property
    def mixes(self) -> list[Mix]:
        """What the laws combine the rule with; narrow it for a rule of a loss of its own."""
        found = list(accepted_by(self.part))
        assert found, "no registered loss fits this rule: override `mixes` with one that does"
        return found

    def lifted(self, mix: Mix, case: Case) -> tuple[Case, Moment]:
        """The case as a model would hand it over, and the moment: zeros lifted if they trap the rule, sums right."""
        floor = max(FLOOR * float(np.sqrt(np.mean(case.x))), float(np.finfo(case.w.dtype).tiny))
        if self.part.traps_zeros:
            case = replace(case, w=np.maximum(case.w, floor), h=np.maximum(case.h, floor))
        case = replace(case, w=mix.onto(case.w), h=mix.onto(case.h.T).T)
        return case, Moment(floor, mix.sweep)

    def update(self, mix: Mix, side: Side, moment: Moment) -> Array:
        """One update of the side's factor."""
        rule, term = self.part, side.term
        prepared = rule.prepare(mix.loss, term.other)
        new: Array = rule.update(side.f, mix.loss, prepared, rule.gather(term), mix.penalty(side.f), moment)
        return new

    @law(mixed, examples=3)
    def test_result_is_a_factor(self, drawn: Any) -> None:
        mix, case = drawn
        case, moment = self.lifted(mix, case)
        for x in some.blocks_of(case.x):
            for side in sides_of(mix.loss, x, case):
                new = self.update(mix, side, moment)
                assert new.shape == side.f.shape, f"shape {new.shape}"
                assert np.isfinite(new).all(), f"the new {side.name} is not finite"
                assert (new >= (moment.floor if self.part.traps_zeros else 0)).all(), (
                    f"the new {side.name} is too small"
                )

    @law(mixed, examples=6)
    def test_objective_never_rises(self, drawn: Any) -> None:
        mix, case = drawn
        if not self.part.monotone:
            return
        case, moment = self.lifted(mix, case)
        for x in some.blocks_of(case.x):
            for side in sides_of(mix.loss, x, case):
                new = self.update(mix, side, moment)
                before = side.value(side.f) + mix.value(side.f)
                after = side.value(new) + mix.value(new)
                slack = 1e-9 * abs(before) + roundoff(mix.loss, x)
                assert after <= before + slack, f"{side.name}: the objective rose from {before!r} to {after!r}"

    @law(mixed, st.data(), examples=3)
    def test_rows_do_not_see_each_other(self, drawn: Any, more: Any) -> None:
        mix, case = drawn
        if mix.couples_rows:
            return
        case, moment = self.lifted(mix, case)
        a, b = more.draw(st.sampled_from(more.draw(some.chunkings(len(case.x)))), label="rows")
        rule, h = self.part, case.h
        for x in some.blocks_of(case.x):
            whole = self.update(mix, sides_of(mix.loss, x, case)[0], moment)
            part = Term(mix.loss, x.rows(a, b), LowRank(case.w[a:b], h), h.T)
            prepared, penalty = rule.prepare(mix.loss, h.T), mix.penalty(case.w)
            rows = rule.update(case.w[a:b], mix.loss, prepared, rule.gather(part), penalty, moment)
            assert_close(rows, whole[a:b], f"rows {a}–{b - 1} alone and among all", rtol=1e-7)

    @law(mixed, st.data(), examples=3)
    def test_statistics_add_up_over_the_other_factors_rows(self, drawn: Any, more: Any) -> None:
        mix, case = drawn
        case, moment = self.lifted(mix, case)
        bounds = more.draw(some.chunkings(len(case.x)), label="chunks")
        rule, w, h = self.part, case.w, case.h
        for x in some.blocks_of(case.x):
            total: Any = None
            for a, b in bounds:
                term = Term(mix.loss, x.rows(a, b), LowRank(w[a:b], h), w[a:b], turned=True)
                part = (rule.prepare(mix.loss, w[a:b]), rule.gather(term))
                total = widen(part) if total is None else add(total, part)
            term = sides_of(mix.loss, x, case)[1].term
            assert_close(total, (rule.prepare(mix.loss, w), rule.gather(term)), "statistics summed over row blocks")
            new = rule.update(h.T, mix.loss, *total, mix.penalty(h.T), moment)
            assert np.isfinite(new).all(), "the update from summed statistics is not finite"

    @law(mixed_exactly, examples=2)
    def test_a_stationary_point_stays(self, drawn: Any) -> None:
        mix, case = drawn
        for side in sides_of(mix.loss, Dense(case.x), case):
            new = self.update(mix, side, Moment(1e-16, mix.sweep))
            assert_close(new, side.f, f"{side.name} at an exact fit, before and after", rtol=1e-6)

    @law(mixed, examples=3)
    def test_value_is_the_loss(self, drawn: Any) -> None:
        mix, case = drawn
        case, moment = self.lifted(mix, case)
        rule = self.part
        for x in some.blocks_of(case.x):
            for side in sides_of(mix.loss, x, case):
                new = self.update(mix, side, moment)
                prepared, gathered = rule.prepare(mix.loss, side.term.other), rule.gather(side.term)
                found = rule.constant(mix.loss, x) + rule.value(side.at(new), new, prepared, gathered)
                atol = 10 * roundoff(mix.loss, x)
                assert_close(found, side.value(new), "constant + value, and the loss", rtol=1e-8, atol=atol)

    @law(mixed, examples=2)
    def test_runs_on_a_device(self, drawn: Any) -> None:
        mix, case = drawn
        case, moment = self.lifted(mix, case)
        device = Case(to_device(case.x), to_device(case.w), to_device(case.h))
        for x in some.blocks_of(case.x):
            pairs = zip(sides_of(mix.loss, x, case), sides_of(mix.loss, to_device(x), device), strict=True)
            for here, there in pairs:
                new, found = self.update(mix, here, moment), to_host(self.update(mix, there, moment))
                # With the factor before: what is left of it may be its rounding.
                assert_equal_but_rounding([found, here.f], [new, here.f], f"{here.name} on the device", rtol=1e-6)

    @law(mixed_smoothly, examples=2)
    def test_float32_stays_float32(self, drawn: Any) -> None:
        mix, case = drawn
        case, moment = self.lifted(mix, case.astype(np.float32))
        for x in some.blocks_of(case.x):
            new = self.update(mix, sides_of(mix.loss, x, case)[0], moment)
            assert new.dtype == np.float32, f"the new factor is {new.dtype}"
            assert np.isfinite(new).all(), "the new factor is not finite"

    @law(mixed, examples=2)
    def test_leaves_its_inputs_alone(self, drawn: Any) -> None:
        mix, case = drawn
        case, moment = self.lifted(mix, case)
        x = Dense(case.x)
        for side in sides_of(mix.loss, x, case):
            prepared = self.part.prepare(mix.loss, side.term.other)
            gathered = self.part.gather(side.term)
            before = pickle.dumps((case, prepared, gathered))
            self.part.update(side.f, mix.loss, prepared, gathered, mix.penalty(side.f), moment)
            self.part.value(side.term, side.f, prepared, gathered)
            assert pickle.dumps((case, prepared, gathered)) == before, "an input was changed in place"

    @law(mixed)
    def test_pickles(self, drawn: Any) -> None:
        mix, case = drawn
        case, moment = self.lifted(mix, case)
        side = sides_of(mix.loss, Dense(case.x), case)[0]
        copy = type(self).of(lambda: pickle.loads(pickle.dumps(self.part)))
        assert_close(copy.update(mix, side, moment), self.update(mix, side, moment), "the pickled rule", rtol=0)  # type: ignore[attr-defined]
