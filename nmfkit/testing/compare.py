"""How the laws compare numbers, and nested statistics of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from nmfkit.blocks import Array, Block, Dense
from nmfkit.leaves import mapped
from nmfkit.lowrank import LowRank
from nmfkit.stats import Gathered, Least


def assert_close(left: Any, right: Any, what: str, *, rtol: float = 1e-9, atol: float = 0.0) -> None:
    """Two nests of numbers and arrays agree: each array within `atol` + `rtol` times its largest entry."""
    if isinstance(left, dict):
        assert left.keys() == right.keys(), f"{what}: {sorted(left)} and {sorted(right)}"
        for name, part in left.items():
            assert_close(part, right[name], f"{what}[{name!r}]", rtol=rtol, atol=atol)
    elif isinstance(left, tuple | list):
        assert len(left) == len(right), f"{what}: {len(left)} and {len(right)} parts"
        for i, (a, b) in enumerate(zip(left, right, strict=True)):
            assert_close(a, b, f"{what}[{i}]", rtol=rtol, atol=atol)
    elif isinstance(left, Gathered):
        assert_close(left.whole(), right.whole(), what, rtol=rtol, atol=atol)
    elif isinstance(left, Least):
        assert_close((left.value, left.beside), (right.value, right.beside), what, rtol=rtol, atol=atol)
    elif left is None or isinstance(left, str):
        assert left == right, f"{what}: {left!r} and {right!r}"
    else:
        _assert_arrays_close(as_array(left), as_array(right), what, rtol, atol)


def assert_equal_but_rounding(left: Any, right: Any, what: str, *, rtol: float, atol: float = 0.0) -> None:
    """Two nests of numbers agree that two places have computed, whose sums have different orders.

    Each entry within `atol` + `rtol` times the largest of all: where parts of a nest are made of each other, as those
    of a shared state are, the rounding of the large ones is seen in the small.
    """
    sizes = [0.0]
    mapped(right, lambda part: sizes.append(_largest(part)) if isinstance(part, np.ndarray | float) else part)
    assert_close(left, right, what, rtol=rtol, atol=atol + rtol * max(sizes))


def _largest(value: Any) -> float:
    finite = np.abs(as_array(value)[np.isfinite(value)]) if np.asarray(value).dtype.kind in "biuf" else np.zeros(0)
    return float(np.max(finite, initial=0.0))


def _assert_arrays_close(a: Array, b: Array, what: str, rtol: float, atol: float) -> None:
    assert a.shape == b.shape, f"{what}: shapes {a.shape} and {b.shape}"
    if not a.size:
        return
    same = (a == b) | (np.isnan(a) & np.isnan(b))  # equal infinities have no difference
    finite = np.abs(np.where(same, 0, a)), np.abs(np.where(same, 0, b))
    bound = atol + rtol * float(max(np.max(finite[0]), np.max(finite[1])))
    with np.errstate(invalid="ignore"):
        far = ~same & ~(np.abs(a - b) <= bound)
    assert not far.any(), f"{what}: {a[far][0]!r} and {b[far][0]!r} differ by more than {bound:.3g}"


def as_array(value: Any) -> Array:
    """A number, an array, a product or the entries of a block, in float64 on the host."""
    if isinstance(value, LowRank):
        value = value.form()
    elif isinstance(value, Dense) or hasattr(value, "tdot"):
        value = value.dense()
    return np.asarray(value, dtype=np.float64)


def roundoff(loss: Any, x: Block) -> float:
    """The error that float64 sums of the loss's terms cannot avoid, however small their sum is.

    The terms have the size of d(x, x / 2); near an exact fit they cancel.
    """
    dense = as_array(x)
    y = LowRank(dense / 2, np.eye(dense.shape[1]))
    return 1e-12 * float(loss.value(Dense(dense), y))
