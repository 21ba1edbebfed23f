"""The laws of a loss whose entries have weights: what masks and missing entries make of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from nmfkit.blocks import Array, Dense
from nmfkit.lowrank import LowRank
from nmfkit.protocols import HasSplit
from nmfkit.terms import pulled_back
from nmfkit.testing import strategies as some
from nmfkit.testing.compare import assert_close, roundoff
from nmfkit.testing.device import to_device, to_host
from nmfkit.testing.law import Contract, law
from nmfkit.testing.side import majorant, sides_of
from nmfkit.weighed import Weighed
from nmfkit.weighted import HasTerms, weighted


def masked(contract: Any) -> Any:
    """A case, and a mask (1: known, 0: missing) of its size."""
    cases = some.cases(positive=contract.part.needs_positive)
    return cases.flatmap(lambda case: st.tuples(st.just(case), some.masks(case.x.shape)))


def weighed(contract: Any) -> Any:
    """A case, and weights ≥ 0 of its size, several of them whole numbers."""
    cases = some.cases(positive=contract.part.needs_positive)
    whole = st.sampled_from([0.0, 1.0, 2.0, 3.0])
    return cases.flatmap(lambda case: st.tuples(st.just(case), some.arrays(case.x.shape, whole)))


class WeighedLossContract(Contract):
    """What a loss must hold where entries have weights."""

    @law(weighed)
    def test_terms_add_up_to_the_value(self, drawn: Any) -> None:
        loss, (case, weights) = self.needs(HasTerms), drawn
        terms = loss.terms(case.x, case.y.form())
        dense = Dense(case.x)
        assert_close(float(np.sum(terms)), loss.value(dense, case.y), "Σ terms and value", atol=roundoff(loss, dense))
        for block, loss_of in _forms(loss, case, weights, binary=False):
            expected = float(np.sum(weights * np.where(weights > 0, terms, 0)))
            atol = 10 * roundoff(loss, dense)
            assert_close(loss_of.value(block, case.y), expected, "Σ ω d", rtol=1e-8, atol=atol)

    @law(masked)
    def test_missing_entries_do_not_count(self, drawn: Any) -> None:
        loss, (case, mask) = self.needs(HasSplit), drawn
        known = mask > 0
        line = case.x[known].reshape(1, -1), case.y.form()[known].reshape(1, -1)
        expected = float(loss.value(Dense(line[0]), LowRank(np.ones((1, 1)), line[1]))) if known.any() else 0.0
        atol = 10 * roundoff(loss, Dense(case.x))
        for block, loss_of in _forms(loss, case, mask):
            assert_close(loss_of.value(block, case.y), expected, "the value of known entries", rtol=1e-8, atol=atol)

    @law(weighed)
    def test_halves_are_those_of_the_loss_times_the_weights(self, drawn: Any) -> None:
        loss, (case, weights) = self.needs(HasSplit), drawn
        whole = [np.asarray(_formed(half)) for half in loss.split(Dense(case.x), case.y)]
        halves = [half * weights for half in whole]
        for block, loss_of in _forms(loss, case, weights, binary=False):
            split = loss_of.split(block, case.y)
            for turned, other in ((False, case.h.T), (True, case.w)):
                found = pulled_back(split, other, turned).formed()
                expected = [(half.T if turned else half) @ other for half in halves]
                # Sums over what counts may be what is left of sums over all entries: those are what is rounded.
                sizes = [_most(part, other, turned) for part in halves]
                slacks = [
                    1e-9 * size + 1e-14 * _most(part, other, turned) for part, size in zip(whole, sizes, strict=True)
                ]
                for name, one, two, slack in zip(found._fields, found, expected, slacks, strict=True):
                    assert_close(one, two, f"{name} with weights", rtol=1e-8, atol=slack)

    @law(masked)
    def test_one_pass_with_weights_gives_what_two_give(self, drawn: Any) -> None:
        loss, (case, mask) = self.needs(HasSplit), drawn
        for block, loss_of in _forms(loss, case, mask):
            for left, right in ((True, False), (False, True), (True, True), (False, False)):
                pulls = loss_of.pulled(block, case.y, left=left, right=right)
                if pulls is None:
                    continue
                atol = 10 * roundoff(loss, Dense(case.x))
                assert_close(pulls.value, loss_of.value(block, case.y), "value in one pass", rtol=1e-8, atol=atol)
                split = loss_of.split(block, case.y)
                for asked, found, other, turned in (
                    (left, pulls.left, case.h.T, False),
                    (right, pulls.right, case.w, True),
                ):
                    assert (found is not None) or not asked
                    if found is not None:
                        two = pulled_back(split, other, turned).formed()
                        assert_close(list(found.formed()), list(two), "halves in one pass", rtol=1e-8)

    @law(weighed, st.data())
    def test_surrogate_lies_above_the_loss_with_weights(self, drawn: Any, more: Any) -> None:
        loss, (case, weights) = self.needs(HasSplit), drawn
        binary = not isinstance(loss, HasTerms)
        weights = (weights > 0).astype(weights.dtype) if binary else weights
        for block, loss_of in _forms(loss, case, weights, binary=binary):
            for side in sides_of(loss_of, block, case):
                t = more.draw(some.arrays(side.f.shape, some.multipliers), label=f"t of {side.name}")
                now, then = side.value(side.f), side.value(side.f * t)
                rise, size = majorant(loss_of.surrogate(side.halves()), side.f, t)
                slack = 1e-9 * (abs(now) + abs(then) + size) + 10 * roundoff(loss, Dense(case.x))
                assert then - now <= rise + slack, f"{side.name}: rises by {then - now!r}, its majoriser {rise!r}"

    @law(masked)
    def test_weights_run_on_a_device(self, drawn: Any) -> None:
        loss, (case, mask) = self.needs(HasSplit), drawn
        for block, loss_of in _forms(loss, case, mask):
            found = []
            for x, y in ((block, case.y), (to_device(block), to_device(case.y))):
                split = loss_of.split(x, y)
                halves = [_formed(half.dot(y.v.T)) for half in split] + [_formed(half.T.dot(y.u)) for half in split]
                found.append([float(loss_of.value(x, y)), *halves])
            # Where most is missing, a sum over all entries is taken back nearly whole.
            slack = 10 * roundoff(loss, Dense(case.x)) + 1e-15 * abs(float(loss.value(Dense(case.x), case.y)))
            assert_close(to_host(found[1]), found[0], "on the device", atol=slack)


def _forms(loss: Any, case: some.Case, weights: Array, *, binary: bool = True) -> list[tuple[Weighed, Any]]:
    """The same data and weights in every form that blocks have, and the loss that goes with each.

    Dense; sparse with all weights at hand; sparse, where what is not stored counts 1, and where it is missing.
    """
    x = np.where(weights > 0, case.x, 0)
    some_known = some.patterned(x, weights > 0)
    changed = some.patterned(x, (x != 0) | (weights != 1))
    return [
        (Weighed(Dense(x), weights, binary=binary), weighted(loss, 1.0)),
        (Weighed(some_known, weights[weights > 0], 0.0, binary), weighted(loss, 0.0)),
        (Weighed(changed, weights[(x != 0) | (weights != 1)], 1.0, binary), weighted(loss, 1.0)),
    ]


def _formed(half: Any) -> Any:
    if isinstance(half, LowRank):
        return half.form()
    return half.dense() if hasattr(half, "dense") else half


def _most(half: Array, other: Array, turned: bool) -> float:
    """The largest of the sums that a half gives where nothing in it cancels."""
    return float(np.max((np.abs(half.T if turned else half) + 1e-300) @ other))
