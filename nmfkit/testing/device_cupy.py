"""What the installed CuPy has, where there is one: it imports without a GPU, and its signatures can be asked for."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from inspect import Parameter, Signature
from operator import attrgetter
from types import ModuleType
from typing import Any

from nmfkit.testing.device_functions import FUNCTIONS, METHODS


@cache
def installed() -> ModuleType | None:
    """CuPy, or None."""
    try:
        import cupy
    except Exception:  # a broken installation fails in many ways, and none is the business of a test
        return None
    module: ModuleType = cupy
    return module


def function_signatures(name: str) -> list[Signature]:
    """Signatures that a call of NumPy's function `name` must fit: CuPy's as written down, and as installed."""
    return [_written(FUNCTIONS[name]), *_asked(found(name))]


def method_signatures(name: str) -> list[Signature]:
    """The same of a method of arrays, without `self`."""
    cupy = installed()
    text = _described(getattr(getattr(cupy, "ndarray", None), name, None))
    return [_written(METHODS[name]), *([] if text is None else [_written(text)])]


def found(name: str) -> Any:
    """CuPy's function `name`, None without CuPy; raises `TypeError` where CuPy has none."""
    cupy = installed()
    if cupy is None:
        return None
    try:
        return attrgetter(name)(cupy)
    except AttributeError:
        raise TypeError(f"the installed CuPy has no {name}") from None


@cache
def _asked(function: Callable[..., Any] | None) -> list[Signature]:
    """The signature of a function of CuPy's, where it tells of more than `**kwargs`."""
    try:
        signature = inspect.signature(function) if callable(function) else None
    except ValueError:  # a compiled function without one
        return []
    opaque = signature is None or any(p.kind is Parameter.VAR_KEYWORD for p in signature.parameters.values())
    return [] if opaque or signature is None else [signature]


@cache
def _described(method: Any) -> str | None:
    """The parameters of a compiled method, as the first line of its docstring has them."""
    first = (getattr(method, "__doc__", None) or "").partition("\n")[0]
    inside = first.partition("(")[2].rpartition(")")[0]
    named = [part.split(":")[0].strip() for part in inside.split(",")]
    return ", ".join(named[1:]) if named[0] == "self" else None


@cache
def _written(text: str) -> Signature:
    """A signature from names such as `a, axis=, *, dtype=None, *more`; types before the names are left out."""
    parameters: list[Parameter] = []
    kind: Any = Parameter.POSITIONAL_OR_KEYWORD
    for part in filter(None, (part.strip() for part in text.split(","))):
        name = part.partition("=")[0].split()[-1]
        if name == "*":
            kind = Parameter.KEYWORD_ONLY
            continue
        default = None if "=" in part else Parameter.empty
        if name.startswith("*"):
            parameters.append(Parameter(name[1:], Parameter.VAR_POSITIONAL))
            kind = Parameter.KEYWORD_ONLY
        else:
            parameters.append(Parameter(name, kind, default=default))
    return Signature(parameters)
