"""Arguments that CuPy refuses, or takes otherwise than NumPy, although its signatures allow them.

| where | what CuPy does |
|---|---|
| any function or operator | a host array is refused, a 0-d one too (CuPy takes that in comparisons alone) |
| operators and ufuncs | scalars are int, float, bool, complex and NumPy's of those; lists and None are not |
| most functions | are methods of their first argument, so that lists of arrays and scalars fail |
| `…_like(shape=())` | an empty shape, or 0, counts as none: the result has the shape of the prototype |
| `concatenate`, `stack` | only device arrays, no lists of numbers among them |
| `where` | the condition is a device array |
| `searchsorted` | one value is an int or float of Python's, not of NumPy's integers |
| `repeat` | numbers of repeats are an int, a list, a tuple or a device array (from CuPy 14 on) |
| `sort`, `argsort` | the kind is None or "stable" |
| shapes, axes, ends of `arange` | numbers of the host: device arrays have no `__index__` |
| `linalg.solve` | stacks of matrices are not broadcast: both sides have the same leading shape |
| `linalg.cholesky`, `inv`, `solve` | no `LinAlgError`: what comes of a matrix that is none for it are other numbers |
| `linalg.eigh`, `svd`, `slogdet` | plain tuples, without names |
| `count_nonzero`, `allclose`, `array_equal` | 0-d device arrays |
| indices | device arrays, lists, slices of host integers; a 0-d device array is no end of a slice (no `__index__`) |
| assignment | scalars and device arrays; no lists, and one mask at most |
| `@=`, `ufunc.at`, `ufunc.reduce` | are not there |
| `flags` | contiguity and ownership alone |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nmfkit.testing.device_functions import FUNCTIONS

SCALARS = frozenset({int, float, bool, complex, *(np.dtype(c).type for c in "?bBhHiIlLqQefdFD")})
"""Types of the scalars that CuPy's ufuncs take."""

_MAKING = frozenset({"zeros", "ones", "empty", "full", "eye", "arange", "asarray", "array"})
_FREE = frozenset({"result_type", "shape", "ndim", "iscomplexobj", "broadcast_arrays", "isclose", "allclose", "einsum"})
_OTHERS = {
    **dict.fromkeys(("dot", "outer", "vdot", "kron", "tensordot", "linalg.solve"), ("b",)),
    "array_equal": ("a2",),
}
"""Parameters beside the first that must be device arrays."""


_NUMBERS = frozenset({"shape", "newshape", "axis", "axes", "axis1", "axis2", "offset", "k", "n", "shift", "M", "N"})


def check_operands(name: str, operands: tuple[Any, ...], is_array: Callable[[Any], bool]) -> None:
    """Refuse operands of the ufunc `name` that CuPy refuses."""
    for x in operands:
        if not (is_array(x) or type(x) in SCALARS):
            raise TypeError(f"{name} of a device array and {_told(x)}")


def check_arguments(name: str, given: dict[str, Any], is_array: Callable[[Any], bool]) -> None:
    """Refuse arguments, by their names, that CuPy's function `name` refuses or takes otherwise."""
    first = FUNCTIONS[name].partition(",")[0]
    needed = () if name in _MAKING | _FREE else (first, *_OTHERS.get(name, ()))
    for parameter in needed:
        for x in given[parameter] if parameter == "tup" else (given[parameter],):
            if not is_array(x):
                raise TypeError(f"{name} of device arrays meets {_told(x)} as {parameter}")
    check_numbers(name, given, is_array)
    if name in _SPECIAL:
        _SPECIAL[name](name, given, is_array)


def check_numbers(name: str, given: dict[str, Any], is_array: Callable[[Any], bool]) -> None:
    """Refuse device arrays for numbers that say how large something is, and along which axis."""
    for parameter in _NUMBERS & given.keys():
        value = given[parameter]
        if any(map(is_array, value if isinstance(value, tuple | list) else (value,))):
            raise TypeError(f"{name} of a device array has a number of the host as {parameter}: int() of it first")


def check_value(value: Any, is_array: Callable[[Any], bool]) -> None:
    """Refuse what cannot be assigned to entries of a device array."""
    if not (is_array(value) or type(value) in SCALARS):
        raise TypeError(f"{_told(value)} is assigned to entries of a device array")


def check_masks(key: Any, is_array: Callable[[Any], bool]) -> None:
    """Refuse an index of several masks, which CuPy assigns nothing to."""
    if sum(is_array(k) and k.dtype == bool for k in (key if isinstance(key, tuple) else (key,))) > 1:
        raise TypeError("several masks in one assignment to a device array")


def _told(x: Any) -> str:
    return f"a host array of shape {x.shape}" if isinstance(x, np.ndarray) else f"a {type(x).__name__}"


def _no_empty_shape(name: str, given: dict[str, Any], is_array: Callable[[Any], bool]) -> None:
    del is_array
    if given.get("shape") is not None and not given["shape"]:
        raise TypeError(f"{name}(shape={given['shape']!r}) has the shape of its prototype on a device")


def _fills(name: str, given: dict[str, Any], is_array: Callable[[Any], bool]) -> None:
    _no_empty_shape(name, given | {"shape": given.get("shape") or None} if name == "full" else given, is_array)
    check_value(given["fill_value"], is_array)


def _branches(name: str, given: dict[str, Any], is_array: Callable[[Any], bool]) -> None:
    if "x" in given or "y" in given:
        check_operands(name, (given.get("x"), given.get("y")), is_array)


def _stable(name: str, given: dict[str, Any], is_array: Callable[[Any], bool]) -> None:
    del is_array
    if given.get("kind") not in (None, "stable"):
        raise TypeError(f"{name} of a device array has no kind {given['kind']!r}")


def _values_looked_for(name: str, given: dict[str, Any], is_array: Callable[[Any], bool]) -> None:
    if not (is_array(given["v"]) or isinstance(given["v"], int | float)):
        raise TypeError(f"{name} in a device array looks for {_told(given['v'])}")


def _repeats(name: str, given: dict[str, Any], is_array: Callable[[Any], bool]) -> None:
    if not (is_array(given["repeats"]) or isinstance(given["repeats"], int | np.integer | list | tuple)):
        raise TypeError(f"{name} of a device array by {_told(given['repeats'])}")


def _weights(name: str, given: dict[str, Any], is_array: Callable[[Any], bool]) -> None:
    if given.get("weights") is not None and not is_array(given["weights"]):
        raise TypeError(f"{name} of a device array with {_told(given['weights'])} as weights")


def _host_ends(name: str, given: dict[str, Any], is_array: Callable[[Any], bool]) -> None:
    if any(is_array(x) for x in given.values()):
        raise TypeError(f"{name} on a device has ends of the host: int() of them first")


def _same_stack(name: str, given: dict[str, Any], is_array: Callable[[Any], bool]) -> None:
    del is_array
    a, b = given["a"], given["b"]
    if b.ndim != 1 and a.shape[:-1] != b.shape[:-1]:
        raise TypeError(f"{name} on a device does not broadcast {a.shape} and {b.shape}")


_SPECIAL: dict[str, Callable[[str, dict[str, Any], Callable[[Any], bool]], None]] = {
    **dict.fromkeys(("zeros_like", "ones_like", "empty_like"), _no_empty_shape),
    **dict.fromkeys(("full", "full_like"), _fills),
    "where": _branches,
    **dict.fromkeys(("sort", "argsort"), _stable),
    "searchsorted": _values_looked_for,
    "repeat": _repeats,
    "bincount": _weights,
    "arange": _host_ends,
    "linalg.solve": _same_stack,
}
