"""`watched`: every use of a device array is told to an observer, as computed with, looked at, or made a number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol
from unittest import mock

import numpy as np

from nmfkit.blocks import Array
from nmfkit.testing.device import StrictArray
from nmfkit.testing.device_functions import DESCRIBING

NUMBERS = ("__float__", "__int__", "__bool__", "tolist", "item", "get")
"""What turns an array of the device into numbers of the host, and waits for it."""

COUNTED = frozenset({"nonzero"})
"""Functions whose result has a shape that only the entries tell: the host waits for it, too."""

LOOKING = DESCRIBING | {"zeros_like", "ones_like", "empty_like", "full_like"}
"""Functions that ask nothing about entries."""


class Observer(Protocol):
    """Hears of device arrays, in whatever thread they are used; what it raises reaches whoever uses them."""

    def made(self, array: StrictArray) -> None:
        """An array that lies in memory of its own, or in that of another one."""
        ...

    def read(self, array: StrictArray) -> None:
        """The entries are computed with."""
        ...

    def written(self, array: StrictArray) -> None:
        """The entries are replaced."""
        ...

    def waited_for(self, array: StrictArray, what: str) -> None:
        """The host asks for entries, by `what`, and waits."""
        ...


@contextmanager
def watched(observer: Observer) -> Iterator[None]:
    """Tell `observer` of everything that is done with device arrays of this process."""
    calls = {
        "__init__": _made,
        "__array_ufunc__": _ufunc,
        "__array_function__": _function,
        "__getitem__": _picked,
        "__setitem__": _assigned,
        "__getattr__": _attribute,
        **{name: _number(name) for name in NUMBERS},
    }
    with ExitStack() as patches:
        for name, told in calls.items():
            patches.enter_context(mock.patch.object(StrictArray, name, told(observer, getattr(StrictArray, name))))
        yield


def memory_of(array: Any) -> Array:
    """The array of the host that owns the memory in which `array` lies."""
    owner: Array = array._host if isinstance(array, StrictArray) else array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    return owner


def _made(observer: Observer, method: Callable[..., Any]) -> Callable[..., Any]:
    def made(self: StrictArray, host: Any) -> None:
        method(self, host)
        observer.made(self)

    return made


def _ufunc(observer: Observer, method: Callable[..., Any]) -> Callable[..., Any]:
    def called(self: StrictArray, ufunc: Any, how: str, *inputs: Any, **keywords: Any) -> Any:
        _tell(observer.read, inputs)
        _tell(observer.written, keywords.get("out"))
        return method(self, ufunc, how, *inputs, **keywords)

    return called


def _function(observer: Observer, method: Callable[..., Any]) -> Callable[..., Any]:
    def called(self: StrictArray, function: Any, types: Any, args: Any, keywords: Any) -> Any:
        result = method(self, function, types, args, keywords)
        for array in _arrays((args, keywords)) if function.__name__ not in LOOKING else ():
            _computed(observer, array, result)
            if function.__name__ in COUNTED:
                observer.waited_for(array, function.__name__)
        return result

    return called


def _picked(observer: Observer, method: Callable[..., Any]) -> Callable[..., Any]:
    def picked(self: StrictArray, key: Any) -> Any:
        result = method(self, key)
        _computed(observer, self, result)
        for index in _arrays(key):
            observer.read(index)
            if index.dtype == bool:
                observer.waited_for(index, "a mask as an index")
        return result

    return picked


def _assigned(observer: Observer, method: Callable[..., Any]) -> Callable[..., Any]:
    def assigned(self: StrictArray, key: Any, value: Any) -> None:
        _tell(observer.read, (key, value))
        observer.written(_part(self, key))
        method(self, key, value)

    return assigned


def _attribute(observer: Observer, method: Callable[..., Any]) -> Callable[..., Any]:
    def attribute(self: StrictArray, name: str) -> Any:
        found = method(self, name)
        return _method(observer, self, name, found) if callable(found) else found

    return attribute


def _method(observer: Observer, array: StrictArray, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    def called(*args: Any, **keywords: Any) -> Any:
        if name == "fill":
            observer.written(array)
        result = method(*args, **keywords)
        for part in _arrays((array, args, keywords)):
            _computed(observer, part, result)
        if name in COUNTED:
            observer.waited_for(array, name)
        return result

    return called


def _number(name: str) -> Callable[[Observer, Callable[..., Any]], Callable[..., Any]]:
    def told(observer: Observer, method: Callable[..., Any]) -> Callable[..., Any]:
        def number(self: StrictArray) -> Any:
            observer.waited_for(self, name)
            return method(self)

        return number

    return told


def _computed(observer: Observer, array: StrictArray, result: Any) -> None:
    """Tell that `array` was computed with, unless the result only looks at it in another way."""
    memory = memory_of(array)
    if not any(memory_of(part) is memory for part in _arrays(result)):
        observer.read(array)


def _part(array: StrictArray, key: Any) -> StrictArray:
    """What `key` names of the array, if that lies in one place; else all of it."""
    if next(_arrays(key), None) is not None:
        return array
    part = array._host[key]
    return StrictArray(part) if isinstance(part, np.ndarray) and memory_of(part) is memory_of(array) else array


def _tell(tell: Callable[[StrictArray], None], value: Any) -> None:
    for array in _arrays(value):
        tell(array)


def _arrays(value: Any) -> Iterator[StrictArray]:
    if isinstance(value, StrictArray):
        yield value
    elif isinstance(value, dict):
        yield from _arrays(tuple(value.values()))
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _arrays(part)
