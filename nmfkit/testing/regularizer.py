"""The laws of a regularizer."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any
from unittest import SkipTest

import numpy as np
from hypothesis import strategies as st

from nmfkit.blocks import Array
from nmfkit.gram import Gram
from nmfkit.protocols import HasEntrywise, HasProx, HasQuadratic, HasSums, HasSurrogate, Relative, Whole
from nmfkit.scaled import scaled
from nmfkit.stats import add, widen
from nmfkit.surrogate import gradient
from nmfkit.testing import strategies as some
from nmfkit.testing.compare import assert_close
from nmfkit.testing.device import to_device, to_host
from nmfkit.testing.law import Contract, law
from nmfkit.testing.side import majorant

EPSILON = 1e-5


class RegularizerContract(Contract):
    """What every regularizer must hold; the laws of a capability apply to regularizers that have it."""

    def penalty(self, f: Array) -> float:
        """The penalty of a whole factor."""
        return float(self.part.value(self.part.stat(f)))

    @law(some.chunked(some.factors()))
    def test_statistic_adds_up_over_row_blocks(self, drawn: Any) -> None:
        f, bounds = drawn
        if getattr(self.part, "couples_rows", False):
            return  # such a part is only ever given its whole factor
        total = widen(self.part.stat(f[slice(*bounds[0])]))
        for a, b in bounds[1:]:
            total = add(total, self.part.stat(f[a:b]))
        assert_close(self.part.value(total), self.penalty(f), "penalty of the summed statistics")

    @law(some.factors())
    def test_zero_has_a_finite_penalty(self, f: Array) -> None:
        # Of either sign: a logarithm is negative where the factor is small, and only differences count.
        value = self.penalty(np.zeros_like(f))
        assert np.isfinite(value), f"the penalty at zero is {value}"

    @law(some.factors(positive=True), st.integers(0, 2**32))
    def test_surrogate_touches_the_penalty(self, f: Array, seed: int) -> None:
        part = self.needs(HasSurrogate)
        surrogate = part.surrogate(f, part.stat(f))
        direction = f * np.random.default_rng(seed).uniform(-1, 1, f.shape)
        found = float(np.sum(gradient(surrogate) * direction))
        size = sum(float(np.sum(np.abs(c * direction))) for c in surrogate.values())
        self._assert_slope(f, direction, found, size)

    @law(some.factors(positive=True), st.integers(0, 2**32))
    def test_quadratic_touches_the_penalty(self, f: Array, seed: int) -> None:
        part = self.needs(HasQuadratic)
        quadratic = part.quadratic(f, part.stat(f))
        direction = f * np.random.default_rng(seed).uniform(-1, 1, f.shape)
        slope = f @ quadratic.q - quadratic.c
        size = float(np.sum((np.abs(f) @ np.abs(quadratic.q) + np.abs(quadratic.c)) * np.abs(direction)))
        self._assert_slope(f, direction, float(np.sum(slope * direction)), size)

    def _assert_slope(self, f: Array, direction: Array, found: float, size: float) -> None:
        ahead, behind = (self.penalty(f + s * EPSILON * direction) for s in (1, -1))
        slope = (ahead - behind) / (2 * EPSILON)
        atol = 1e-6 * size + 1e-13 * (abs(ahead) + abs(behind)) / EPSILON
        assert_close(found, slope, "the majoriser's slope and the penalty's", rtol=0, atol=atol)

    @law(some.factors(), st.data())
    def test_surrogate_lies_above_the_penalty(self, f: Array, more: Any) -> None:
        part = self.needs(HasSurrogate)
        t = more.draw(some.arrays(f.shape, some.multipliers), label="t")
        rise, size = majorant(part.surrogate(f, part.stat(f)), f, t)
        self._assert_above(self.penalty(f), self.penalty(f * t), rise, size)

    @law(some.factors(), st.data())
    def test_quadratic_lies_above_the_penalty(self, f: Array, more: Any) -> None:
        part = self.needs(HasQuadratic)
        other = more.draw(some.nonnegative(f.shape), label="another factor") * float(np.max(f, initial=0) or 1)
        quadratic = part.quadratic(f, part.stat(f))
        now, then = _quadratic(quadratic, f), _quadratic(quadratic, other)
        self._assert_above(self.penalty(f), self.penalty(other), then - now, abs(now) + abs(then))

    def _assert_above(self, now: float, then: float, majorised: float, size: float) -> None:
        rise = then - now
        slack = 1e-9 * (abs(rise) + size) + 1e-13 * (abs(now) + abs(then))  # the rounding of two large sums
        assert rise <= majorised + slack, f"the penalty rises by {rise!r}, its majoriser by {majorised!r}"

    @law(some.factors())
    def test_surrogate_keeps_the_sign_contract(self, f: Array) -> None:
        part = self.needs(HasSurrogate)
        for power, c in part.surrogate(f, part.stat(f)).items():
            assert power <= 1 or (c >= 0).all(), f"a negative coefficient at power {power} > 1"
            assert power >= 1 or (c <= 0).all(), f"a positive coefficient at power {power} < 1"

    @law(some.factors())
    def test_entrywise_weights_give_the_penalty(self, f: Array) -> None:
        part = self.needs(HasEntrywise)
        linear, square = part.entrywise()
        assert linear >= 0, "a negative weight"
        assert square >= 0, "a negative weight"
        found = linear * float(np.sum(f)) + 0.5 * square * float(np.sum(np.square(f)))
        assert_close(found, self.penalty(f), "λ₁ Σ f + ½ λ₂ Σ f², and the penalty")

    @law(some.factors(), st.floats(0.01, 100), st.data())
    def test_prox_beats_its_rivals(self, f: Array, step: float, more: Any) -> None:
        part = self.needs(HasProx)
        found = part.prox(f, step)
        assert (found >= 0).all(), "the proximal map has negative entries"
        rivals = [found * more.draw(some.arrays(f.shape, some.multipliers)), np.zeros_like(f), f]

        def cost(g: Array) -> float:
            return self.penalty(g) + float(np.sum(np.square(g - f))) / (2 * step)

        best = cost(found)
        for rival in rivals:
            assert best <= cost(rival) * (1 + 1e-9) + 1e-300, f"prox costs {best!r}, a rival {cost(rival)!r}"

    @law(some.factors())
    def test_sums_are_met_and_cost_nothing(self, f: Array) -> None:
        part = self.needs(HasSums)
        found, axis = part.onto(f), 1 if part.across else 0
        assert (found >= 0).all(), "a factor with the right sums has negative entries"
        assert_close(np.sum(found, axis=axis), np.full(f.shape[1 - axis], part.total), "sums", rtol=1e-12)
        sums = np.sum(f, axis=axis, keepdims=True)
        assert_close(found * sums, part.total * f, "proportions")
        assert_close(part.onto(found), found, "what has the right sums already", rtol=1e-12)
        assert self.penalty(found) == 0, "a constraint that is met has a penalty"

    @law(some.factors(positive=True), st.floats(1e-3, 1e3), st.floats(0.1, 10))
    def test_relative_weight_grows_with_the_loss(self, f: Array, loss: float, more: float) -> None:
        part = self.needs(Relative)
        factor, larger = (part.factor(c * loss, c * loss, part.stat(f)) for c in (1.0, more))
        assert np.isfinite(factor), f"a factor of {factor}"
        assert factor >= 0, f"a factor of {factor}"
        if part.relative:
            assert_close(larger, more * factor, "factor at a larger loss")
        else:
            assert (factor, larger) == (1, 1), "a weight that is none of the loss's is multiplied"

    @law(some.factors(), st.floats(0.1, 10))
    def test_multiples_are_multiples(self, f: Array, factor: float) -> None:
        part, stat = self.part, self.part.stat(f)
        multiple = scaled(part, factor)
        assert_close(multiple.value(multiple.stat(f)), factor * part.value(stat), "a multiple of the penalty")
        for capability in (HasSurrogate, HasQuadratic, HasEntrywise, HasProx, Whole):
            assert isinstance(multiple, capability) == isinstance(part, capability), f"{capability.__name__} differs"
        if isinstance(part, HasSurrogate):
            expected = {power: factor * c for power, c in part.surrogate(f, stat).items()}
            assert_close(multiple.surrogate(f, stat), expected, "surrogate of a multiple")
        if isinstance(part, HasQuadratic):
            assert_close(multiple.quadratic(f, stat), tuple(factor * c for c in part.quadratic(f, stat)), "quadratic")
        if isinstance(part, HasEntrywise):
            assert_close(multiple.entrywise(), tuple(factor * c for c in part.entrywise()), "weights of a multiple")
        if isinstance(part, HasProx):
            assert_close(multiple.prox(f, 0.5), part.prox(f, 0.5 * factor), "proximal map of a multiple")

    @law(some.factors())
    def test_runs_on_a_device(self, f: Array) -> None:
        host, device = self._everything(f), self._everything(to_device(f))
        assert_close(to_host(device), host, "on the device")

    def _everything(self, f: Array) -> list[Any]:
        part, stat = self.part, self.part.stat(f)
        found: list[Any] = [float(part.value(stat))]
        if isinstance(part, HasSurrogate):
            found += [dict(part.surrogate(f, stat))]
        if isinstance(part, HasQuadratic):
            found += [part.quadratic(f, stat)]
        if isinstance(part, HasProx):
            found += [part.prox(f, 0.5)]
        if isinstance(part, HasSums):
            found += [part.onto(f)]
        return found

    @law(some.factors())
    def test_float32_stays_float32(self, f: Array) -> None:
        f = f.astype(np.float32)
        part, stat = self.part, widen(self.part.stat(f))
        arrays: list[Any] = []
        if isinstance(part, HasSurrogate):
            arrays += part.surrogate(f, stat).values()
        if isinstance(part, HasQuadratic):
            arrays += part.quadratic(f, stat)
        if isinstance(part, HasProx):
            arrays += [part.prox(f, 0.5)]
        if isinstance(part, HasSums):
            arrays += [part.onto(f)]
        assert {a.dtype for a in arrays} <= {np.dtype(np.float32)}, f"{[a.dtype for a in arrays]}"

    @law(some.factors())
    def test_leaves_its_inputs_alone(self, f: Array) -> None:
        before = f.copy()
        self._everything(f)
        assert (f == before).all(), "the factor was changed in place"

    @law(some.factors())
    def test_pickles(self, f: Array) -> None:
        copy = pickle.loads(pickle.dumps(self.part))
        assert_close(copy.value(copy.stat(f)), self.penalty(f), "penalty of the pickled part", rtol=0)

    def test_refuses_weights_that_are_none(self) -> None:
        part: Any = self.part
        if not (dataclasses.is_dataclass(part) and hasattr(part, "weight")):
            raise SkipTest("does not apply: no dataclass with a weight")
        for weight in (-1.0, float("nan"), float("inf")):
            try:
                part.__class__(**{**_fields(part), "weight": weight})
            except ValueError:
                continue
            raise AssertionError(f"a weight of {weight} was accepted")


def _quadratic(quadratic: Gram, f: Array) -> float:
    return 0.5 * float(np.sum(f @ quadratic.q * f)) - float(np.sum(f * quadratic.c))


def _fields(part: Any) -> dict[str, Any]:
    return {f.name: getattr(part, f.name) for f in dataclasses.fields(part) if f.init}
