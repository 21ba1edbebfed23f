"""`StrictArray`: a stand-in for an array on a device, as strict as CuPy, for machines without one.

Code that runs on it creates arrays only from arrays (`zeros_like`, `like=`) and takes no silent trip to the
host. Where CuPy is installed (it imports without a GPU), functions that it lacks are refused, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from types import ModuleType
from typing import Any, NoReturn, TypeAlias

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from nmfkit.blocks import CSR, Array, Dense
from nmfkit.lowrank import LowRank
from nmfkit.stats import Gathered, Least
from nmfkit.testing.device_functions import ATTRIBUTES, DESCRIBING, FUNCTIONS, METHODS
from nmfkit.weighed import Weighed


class StrictArray(NDArrayOperatorsMixin):
    """An array that meets only its own kind and scalars, and goes to the host only when asked to."""

    def __init__(self, host: Array) -> None:
        self._host = host

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        del dtype, copy
        raise TypeError("a device array was turned into a NumPy array implicitly; create arrays from arrays (like=)")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__":
            raise TypeError(f"np.{ufunc.__name__}.{method} does not reach device arrays")
        _refuse_keywords(ufunc.__name__, kwargs, "out dtype casting")
        _refuse_unknown_to_cupy(ufunc.__name__)
        result = ufunc(*_to_inner(inputs), **_to_inner(kwargs))
        return kwargs["out"][0] if "out" in kwargs else _to_outer(result)

    def __array_function__(self, func: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        del types
        name = f"{func.__module__}.{func.__name__}".removeprefix("numpy.")
        if name not in FUNCTIONS:
            raise TypeError(f"np.{name} is not among the functions that reach device arrays")
        _refuse_keywords(name, kwargs, FUNCTIONS[name])
        _refuse_unknown_to_cupy(name)
        result = func(*_to_inner(args), **_to_inner(kwargs))
        return result if name in DESCRIBING else _to_outer(result)

    def __getitem__(self, key: Any) -> StrictArray:
        return StrictArray(np.asarray(self._host[_to_inner(key)]))

    def __setitem__(self, key: Any, value: Any) -> None:
        self._host[_to_inner(key)] = _to_inner(value)

    def __iter__(self) -> Iterator[StrictArray]:
        return (self[i] for i in range(len(self)))

    def __len__(self) -> int:
        return len(self._host)

    def __float__(self) -> float:
        return float(self._scalar("float"))

    def __int__(self) -> int:
        return int(self._scalar("int"))

    def __bool__(self) -> bool:
        return bool(self._scalar("bool"))

    def __index__(self) -> int:
        return int(self._scalar("index").__index__())

    def __repr__(self) -> str:
        return f"StrictArray({self._host!r})"

    def _scalar(self, what: str) -> Any:
        if self._host.ndim:
            raise TypeError(f"{what}() of a device array of shape {self._host.shape}")
        return self._host[()]

    @property
    def T(self) -> StrictArray:
        """The transpose, a view."""
        return StrictArray(self._host.T)

    def __getattr__(self, name: str) -> Any:
        if name in ATTRIBUTES:
            return getattr(self._host, name)
        if name not in METHODS:
            raise AttributeError(f"a device array has no attribute {name!r}")
        method = getattr(self._host, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            _refuse_keywords(name, kwargs, METHODS[name])
            return _to_outer(method(*_to_inner(args), **_to_inner(kwargs)))

        return call

    def tolist(self) -> Any:
        """The entries as Python numbers: an explicit trip to the host."""
        return self._host.tolist()

    def item(self) -> Any:
        """The one entry as a Python number."""
        return self._host.item()

    def get(self) -> Array:
        """The array on the host."""
        return self._host.copy()


def _refuse_keywords(name: str, given: dict[str, Any], known: str) -> None:
    if refused := sorted(given.keys() - set(known.split())):
        raise TypeError(f"{name}() of a device array takes no {', '.join(refused)}")


def _refuse_unknown_to_cupy(name: str) -> None:
    found: Any = _cupy()
    for step in name.split(".") if found is not None else ():
        found = getattr(found, step, None)
        if found is None:
            raise TypeError(f"the installed CuPy has no {name}")


@cache
def _cupy() -> ModuleType | None:
    try:
        import cupy
    except Exception:  # a broken installation fails in many ways, and none is the business of a test
        return None
    module: ModuleType = cupy
    return module


def _to_inner(value: Any) -> Any:
    """`value` for NumPy to work on; a host array among device arrays is refused."""
    if isinstance(value, StrictArray):
        return value._host
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError(f"a host array of shape {value.shape} meets a device array")
    if isinstance(value, dict):
        return {name: _to_inner(part) for name, part in value.items()}
    return type(value)(map(_to_inner, value)) if type(value) in (tuple, list) else value


def _to_outer(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return StrictArray(np.asarray(value))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_to_outer, value))
    return type(value)(map(_to_outer, value)) if isinstance(value, tuple | list) else value


_Leaf: TypeAlias = Callable[[Any], Any]


def to_device(value: Any) -> Any:
    """`value` with every host array in it on the stand-in device: blocks, products, nested containers."""
    return _carried(value, lambda a: StrictArray(a.copy()) if isinstance(a, np.ndarray) else a)


def to_host(value: Any) -> Any:
    """`value` with every device array in it back on the host."""
    return _carried(value, lambda a: a.get() if isinstance(a, StrictArray) else a)


def _carried(value: Any, leaf: _Leaf) -> Any:
    if isinstance(value, Dense):
        return replace(value, values=leaf(value.values))
    if isinstance(value, CSR):
        return replace(value, values=leaf(value.values), indices=leaf(value.indices), indptr=leaf(value.indptr))
    if isinstance(value, Weighed):
        return replace(value, x=_carried(value.x, leaf), weights=leaf(value.weights))
    if isinstance(value, LowRank):
        return LowRank(leaf(value.u), leaf(value.v))
    if isinstance(value, Least):
        return Least(leaf(value.value), leaf(value.beside))
    if isinstance(value, Gathered):
        return Gathered(tuple((first, leaf(rows)) for first, rows in value.pieces))
    if isinstance(value, dict):
        return {name: _carried(part, leaf) for name, part in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_carried(part, leaf) for part in value))
    if isinstance(value, tuple | list):
        return type(value)(_carried(part, leaf) for part in value)
    return leaf(value)
