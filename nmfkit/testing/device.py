"""`StrictArray`: a stand-in for an array on a device, as strict as CuPy, for machines without one.

Code that runs on it creates arrays only from arrays (`zeros_like`, `like=`) and takes no silent trip to the
host. What CuPy refuses beyond that is written down in `device_functions` and `device_rules`; where CuPy is installed,
functions and parameters that it lacks are refused, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import Signature
from typing import Any, NoReturn

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from nmfkit.blocks import Array
from nmfkit.leaves import mapped
from nmfkit.testing import device_cupy, device_rules
from nmfkit.testing.device_functions import ATTRIBUTES, DESCRIBING, FLAGS, FUNCTIONS, METHODS, UFUNC_KEYWORDS


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
        name, out = ufunc.__name__, kwargs.get("out", ())
        if refused := sorted(kwargs.keys() - UFUNC_KEYWORDS):
            raise TypeError(f"{name}() of a device array takes no {', '.join(refused)}")
        if len(out) > 1:
            raise TypeError(f"{name}() of a device array has one out at most")
        device_cupy.found(name)
        device_rules.check_operands(name, (*inputs, *out), _is_array)
        result = ufunc(*_to_inner(inputs), **_to_inner(kwargs))
        return out[0] if out else _to_outer(result)

    def __array_function__(self, func: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        del types
        name = f"{func.__module__}.{func.__name__}".removeprefix("numpy.")
        if name not in FUNCTIONS:
            raise TypeError(f"np.{name} is not among the functions that reach device arrays")
        given, *_ = [_bound(name, s, args, kwargs) for s in device_cupy.function_signatures(name)]
        device_rules.check_arguments(name, given, _is_array)
        if name in ("asarray", "array") and isinstance(args[0], np.ndarray):
            args = (args[0].copy(), *args[1:])  # it is sent there, by one who asked for it
            return _to_outer(func(*args, **kwargs))
        result = _computed(func, _to_inner(args), _to_inner(kwargs))
        return result if name in DESCRIBING else _to_outer(result)

    def __getitem__(self, key: Any) -> StrictArray:
        return StrictArray(np.asarray(self._host[_to_inner(key)]))

    def __setitem__(self, key: Any, value: Any) -> None:
        device_rules.check_masks(key, _is_array)
        device_rules.check_value(value, _is_array)
        self._host[_to_inner(key)] = _to_inner(value)

    def __imatmul__(self, other: Any) -> NoReturn:
        raise TypeError("@= does not work in place on device arrays")

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

    @property
    def flags(self) -> Any:
        """How it lies in memory."""
        return _Flags(self._host.flags)

    def __getattr__(self, name: str) -> Any:
        if name in ATTRIBUTES:
            return getattr(self._host, name)
        if name not in METHODS:
            raise AttributeError(f"a device array has no attribute {name!r}")
        method = getattr(self._host, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            given, *_ = [_bound(name, s, args, kwargs) for s in device_cupy.method_signatures(name)]
            device_rules.check_numbers(name, given, _is_array)
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


class _Flags:
    """What CuPy tells of an array's layout."""

    def __init__(self, flags: Any) -> None:
        self._flags = flags

    def __getattr__(self, name: str) -> bool:
        if name not in FLAGS:
            raise AttributeError(f"the flags of a device array have no {name!r}")
        return bool(getattr(self._flags, name))

    def __getitem__(self, name: str) -> bool:
        return self.__getattr__(name.lower())


def _is_array(value: Any) -> bool:
    return isinstance(value, StrictArray)


def _bound(name: str, signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments by name; raises `TypeError` for what CuPy's function does not take."""
    try:
        return signature.bind(*args, **kwargs).arguments
    except TypeError as error:
        raise TypeError(f"{name}() of a device array: {error}") from None


def _computed(func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """What NumPy makes of it, but that nothing is raised where a matrix is none for it: then it is as on a device.

    There the result is what its memory holds by then, and need not be other than finite.
    """
    try:
        return func(*args, **kwargs)
    except np.linalg.LinAlgError:
        if func is np.linalg.cholesky:
            return np.tril(args[0])
        if func in (np.linalg.inv, np.linalg.solve):
            return np.full_like(args[-1], np.nan)
        raise


def _to_inner(value: Any) -> Any:
    """`value` for NumPy to work on; a host array among device arrays is refused."""
    if isinstance(value, StrictArray):
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError(f"a host array of shape {value.shape} meets a device array")
    if isinstance(value, slice) and any(map(_is_array, (value.start, value.stop, value.step))):
        raise TypeError("a slice of a device array ends at a device array: int() of it first")
    if isinstance(value, dict):
        return {name: _to_inner(part) for name, part in value.items()}
    return type(value)(map(_to_inner, value)) if type(value) in (tuple, list) else value


def _to_outer(value: Any) -> Any:
    """NumPy's result as CuPy gives it: arrays, also for what NumPy makes a number, and tuples without names."""
    if isinstance(value, tuple | list):
        return (list if type(value) is list else tuple)(map(_to_outer, value))
    return StrictArray(np.asarray(value)) if isinstance(value, np.ndarray | np.generic | int | float) else value


_sends: list[Callable[[Array], Any]] = [lambda a: StrictArray(a.copy())]
"""How host arrays are copied; the last one counts, in every thread."""


@contextmanager
def sent_by(send: Callable[[Array], Any]) -> Iterator[None]:
    """Within it, `to_device` copies a host array by `send`, such as `cupy.array`: the laws run on that device."""
    _sends.append(send)
    try:
        yield
    finally:
        _sends.remove(send)


def to_device(value: Any) -> Any:
    """`value` with every host array in it on the stand-in device: blocks, products, records, nested containers."""
    return mapped(value, lambda a: _sends[-1](a) if isinstance(a, np.ndarray) else a)


def to_host(value: Any) -> Any:
    """`value` with every device array in it back on the host."""
    return mapped(value, lambda a: a.get() if _is_there(a) else a)


def _is_there(value: Any) -> bool:
    return _is_array(value) or hasattr(value, "__cuda_array_interface__")
