"""The laws of a loss."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
from hypothesis import strategies as st

from nmfkit.blocks import Array, Block, Dense
from nmfkit.lowrank import LowRank
from nmfkit.protocols import Halves, HasEager, HasGram, HasJoint, HasPulled, HasSplit
from nmfkit.stats import add, widen
from nmfkit.surrogate import gradient
from nmfkit.terms import pulled_back
from nmfkit.testing import strategies as some
from nmfkit.testing.compare import as_array, assert_close, roundoff
from nmfkit.testing.device import to_device, to_host
from nmfkit.testing.law import law
from nmfkit.testing.side import majorant, sides_of
from nmfkit.testing.weighted import WeighedLossContract

EPSILON = 1e-5
"""Relative step of central differences: their errors of both kinds are then near 1e-10."""


def data(contract: Any, *, smooth: bool = True) -> Any:
    """Cases that the loss is defined for."""
    return some.cases(positive=contract.part.needs_positive, smooth=smooth or contract.part.needs_positive)


def chunked_data(contract: Any) -> Any:
    """The same with a chunking of the rows."""
    return some.chunked(data(contract))


class LossContract(WeighedLossContract):
    """What every loss must hold; the laws of a capability apply to losses that have it."""

    @law(chunked_data)
    def test_value_adds_up_over_row_blocks(self, drawn: Any) -> None:
        case, bounds = drawn
        for x in some.blocks_of(case.x):
            parts = [self.part.value(x.rows(a, b), LowRank(case.w[a:b], case.h)) for a, b in bounds]
            assert_close(sum(parts), self.part.value(x, case.y), "value", atol=roundoff(self.part, x))

    @law(chunked_data)
    def test_value_adds_up_over_column_blocks(self, drawn: Any) -> None:
        case, bounds = drawn
        turned, w, h = case.x.T, case.h.T, case.w.T
        for block in (Dense, some.sparse):
            whole = block(turned)
            parts = [self.part.value(block(turned[:, a:b]), LowRank(w, h[:, a:b])) for a, b in bounds]
            assert_close(sum(parts), self.part.value(whole, LowRank(w, h)), "value", atol=roundoff(self.part, whole))

    @law(lambda self: data(self, smooth=False))
    def test_sparse_blocks_mean_the_same_as_dense(self, case: some.Case) -> None:
        dense, csr = some.blocks_of(case.x)
        atol = roundoff(self.part, dense)
        assert_close(self.part.value(csr, case.y), self.part.value(dense, case.y), "value", atol=atol)
        if isinstance(self.part, HasSplit):
            for one, other in zip(sides_of(self.part, dense, case), sides_of(self.part, csr, case), strict=True):
                assert_close(one.halves(), other.halves(), f"halves pulled back to {one.name}")
        if isinstance(self.part, HasGram):
            assert_close(self.part.offset(csr), self.part.offset(dense), "offset")

    @law(lambda self: some.matrices(positive=self.part.needs_positive), st.data())
    def test_no_fit_is_better_than_the_exact_one(self, x: Array, more: Any) -> None:
        moved = x * more.draw(some.arrays(x.shape, some.multipliers))
        for block in some.blocks_of(x):
            exact = self.part.value(block, LowRank(x, np.eye(x.shape[1])))
            other = self.part.value(block, LowRank(moved, np.eye(x.shape[1])))
            assert exact <= other + roundoff(self.part, block), f"exact fit {exact!r}, another {other!r}"

    @law(some.cases(positive=True))
    def test_needs_positive_tells_the_truth(self, case: some.Case) -> None:
        x = case.x.copy()
        x[0, 0] = 0
        for block in some.blocks_of(x):
            value = self.part.value(block, case.y)
            said = self.part.needs_positive
            assert np.isfinite(value) != said, f"needs_positive is {said}, and the value at x = 0 is {value}"

    @law(data)
    def test_zeros_have_their_exact_value(self, case: some.Case) -> None:
        if self.part.needs_positive:
            return
        tiny = np.where(case.x == 0, 1e-200, case.x)
        exact, near = self.part.value(Dense(case.x), case.y), self.part.value(Dense(tiny), case.y)
        assert_close(exact, near, "value at 0 and close to 0", rtol=1e-8, atol=roundoff(self.part, Dense(case.x)))
        padded = LowRank(np.vstack((case.w, 0 * case.w)), case.h)
        for block in some.blocks_of(np.vstack((case.x, 0 * case.x))):
            found = self.part.value(block, padded)
            assert_close(found, exact, "value with rows of x = ŷ = 0", atol=roundoff(self.part, Dense(case.x)))

    @law(data, st.integers(0, 2**32))
    def test_split_is_the_derivative(self, case: some.Case, seed: int) -> None:
        loss, y = self.needs(HasSplit), case.y.form()
        direction = y * np.random.default_rng(seed).uniform(-1, 1, y.shape)
        for x in some.blocks_of(case.x):
            pos, neg = (as_array(half) for half in loss.split(x, case.y))
            assert (pos >= 0).all(), "pos has negative entries"
            assert (neg >= 0).all(), "neg has negative entries"
            eye = np.eye(y.shape[1])
            values = [loss.value(x, LowRank(y + s * EPSILON * direction, eye)) for s in (-1, 0, 1)]
            size = float(np.sum((pos + neg) * np.abs(direction)))
            found = float(np.sum((pos - neg) * direction))
            atol = 1e-6 * size + roundoff(loss, x) / EPSILON
            _assert_slope(found, values, atol, "pos − neg and the central difference of value")

    @law(data)
    def test_one_pass_gives_what_two_give(self, case: some.Case) -> None:
        loss = self.needs(HasPulled)
        for x in some.blocks_of(case.x):
            for left, right in ((True, False), (False, True), (True, True)):
                pulls = loss.pulled(x, case.y, left=left, right=right)
                if pulls is None:
                    continue
                value = loss.value(x, LowRank(case.w, case.h))
                assert_close(pulls.value, value, "value in one pass", rtol=1e-8, atol=roundoff(loss, x))
                for asked, found, side in zip((left, right), pulls[1:], sides_of(loss, x, case), strict=True):
                    assert (found is not None) or not asked, f"nothing for {side.name}"
                    if found is not None:
                        expected = pulled_back(loss.split(x, case.y), side.term.other, side.term.turned).formed()
                        for name, one, two in zip(expected._fields, found.formed(), expected, strict=True):
                            assert_close(one + 0 * two, two, f"{name} of {side.name} in one pass", rtol=1e-8)

    @law(data, st.data())
    def test_a_joint_surrogate_lies_above_the_loss_for_both_factors(self, case: some.Case, more: Any) -> None:
        loss = self.needs(HasJoint)
        t = [more.draw(some.arrays(f.shape, some.multipliers), label="t") for f in (case.w, case.h)]
        w, h = case.w * t[0], case.h * t[1]
        for x in some.blocks_of(case.x):
            of_w, of_h = sides_of(loss, x, case)
            rise_w, size_w = majorant(loss.surrogate(of_w.halves()), of_w.f, t[0])
            moved = loss.positive(LowRank(w, case.h)).T.dot(w).form()
            halves = Halves(moved, of_h.halves().neg)
            rise_h, size_h = majorant(loss.surrogate(halves), of_h.f, t[1].T)
            now, then = loss.value(x, case.y), loss.value(x, LowRank(w, h))
            slack = 1e-9 * (abs(now) + abs(then) + size_w + size_h) + roundoff(loss, x)
            assert then - now <= rise_w + rise_h + slack, f"the loss rises by {then - now!r}"

    @law(data)
    def test_an_eager_surrogate_touches_the_loss(self, case: some.Case) -> None:
        loss = self.needs(HasEager)
        for side in sides_of(loss, Dense(case.x), case):
            eager, sure = (gradient(make(side.halves())) for make in (loss.eager, loss.surrogate))
            assert_close(eager, sure, f"the slopes of both surrogates in {side.name}")

    @law(data)
    def test_surrogate_keeps_the_sign_contract(self, case: some.Case) -> None:
        loss = self.needs(HasSplit)
        for side in sides_of(loss, Dense(case.x), case):
            for power, c in loss.surrogate(side.halves()).items():
                assert power <= 1 or (c >= 0).all(), f"a negative coefficient at power {power} > 1"
                assert power >= 1 or (c <= 0).all(), f"a positive coefficient at power {power} < 1"

    @law(data, st.integers(0, 2**32))
    def test_surrogate_touches_the_loss(self, case: some.Case, seed: int) -> None:
        loss = self.needs(HasSplit)
        for x in some.blocks_of(case.x):
            for side in sides_of(loss, x, case):
                surrogate = loss.surrogate(side.halves())
                direction = side.f * np.random.default_rng(seed).uniform(-1, 1, side.f.shape)
                values = [side.value(side.f + s * EPSILON * direction) for s in (-1, 0, 1)]
                found = float(np.sum(gradient(surrogate) * direction))
                size = sum(float(np.sum(np.abs(c * direction))) for c in surrogate.values())
                atol = 1e-6 * size + roundoff(loss, x) / EPSILON
                _assert_slope(found, values, atol, f"Σ coefficients and the slope along {side.name}")

    @law(data, st.data())
    def test_surrogate_lies_above_the_loss(self, case: some.Case, more: Any) -> None:
        loss = self.needs(HasSplit)
        for x in some.blocks_of(case.x):
            for side in sides_of(loss, x, case):
                t = more.draw(some.arrays(side.f.shape, some.multipliers), label=f"t of {side.name}")
                now, then = side.value(side.f), side.value(side.f * t)
                rise, size = majorant(loss.surrogate(side.halves()), side.f, t)
                slack = 1e-9 * (abs(now) + abs(then) + size) + roundoff(loss, x)
                assert then - now <= rise + slack, (
                    f"{side.name}: the loss rises by {then - now!r}, its majoriser {rise!r}"
                )

    @law(chunked_data)
    def test_gram_form_is_the_loss(self, drawn: Any) -> None:
        loss, (case, bounds) = self.needs(HasGram), drawn
        for x in some.blocks_of(case.x):
            for name, f, linear, other in (("W", case.w, x, case.h.T), ("H", case.h.T, x.T, case.w)):
                q, c = loss.gram(other), loss.cross(linear, other)
                value = loss.offset(x) + 0.5 * float(np.sum(f.T @ f * q)) - float(np.sum(f * c))
                atol = 1e-12 * (loss.offset(x) + float(np.sum(f * c)))
                assert_close(value, loss.value(x, case.y), f"the quadratic in {name}", atol=atol)
            total: Any = None
            for a, b in bounds:
                part = (loss.gram(case.w[a:b]), loss.cross(x.rows(a, b).T, case.w[a:b]), loss.offset(x.rows(a, b)))
                total = widen(part) if total is None else add(total, part)
            whole = (loss.gram(case.w), loss.cross(x.T, case.w), loss.offset(x))
            assert_close(total, whole, "gram, cross and offset, summed over row blocks")

    @law(lambda self: data(self, smooth=False))
    def test_runs_on_a_device(self, case: some.Case) -> None:
        for x in some.blocks_of(case.x):
            host, device = self._everything(x, case.y), self._everything(to_device(x), to_device(case.y))
            assert_close(to_host(device), host, "on the device", atol=roundoff(self.part, x))

    def _everything(self, x: Block, y: LowRank) -> list[Any]:
        found: list[Any] = [float(self.part.value(x, y))]
        if isinstance(self.part, HasSplit):
            for pulled in (
                [half.dot(y.v.T) for half in self.part.split(x, y)],
                [half.T.dot(y.u) for half in self.part.split(x, y)],
            ):
                found += pulled
        if isinstance(self.part, HasGram):
            found += [self.part.gram(y.u), self.part.cross(x.T, y.u), float(self.part.offset(x))]
        return found

    @law(data)
    def test_float32_stays_float32(self, case: some.Case) -> None:
        narrow = case.astype(np.float32)
        for x in some.blocks_of(narrow.x):
            assert type(self.part.value(x, narrow.y)) is float, "value must be a Python float, summed in float64"
            if isinstance(self.part, HasSplit):
                for side in sides_of(self.part, x, narrow):
                    for power, c in self.part.surrogate(side.halves()).items():
                        assert c.dtype == np.float32, f"the coefficient at power {power} is {c.dtype}"
            if isinstance(self.part, HasGram):
                for a in (self.part.gram(narrow.w), self.part.cross(x.T, narrow.w)):
                    assert a.dtype == np.float32, f"the quadratic is {a.dtype}"

    @law(data)
    def test_leaves_its_inputs_alone(self, case: some.Case) -> None:
        for block in some.blocks_of(case.x):
            before = block.values.copy(), case.w.copy(), case.h.copy()
            self._everything(block, case.y)
            for was, now in zip(before, (block.values, case.w, case.h), strict=True):
                assert (was == now).all(), "an input was changed in place"

    @law(data)
    def test_pickles(self, case: some.Case) -> None:
        copy = pickle.loads(pickle.dumps(self.part))
        assert copy.value(Dense(case.x), case.y) == self.part.value(Dense(case.x), case.y)


def _assert_slope(found: float, values: list[float], atol: float, what: str) -> None:
    """`found` is the slope of three values a step apart, or lies between the slopes to the left and to the right.

    The two differ by more than the step where the derivative bends sharply, as Huber's does.
    """
    behind, here, ahead = values
    bend = abs(ahead - 2 * here + behind) / (2 * EPSILON)
    assert_close(found, (ahead - behind) / (2 * EPSILON), what, rtol=0, atol=atol + bend)
