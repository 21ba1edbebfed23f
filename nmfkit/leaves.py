"""The arrays in nested values: blocks, statistics, shared states, rows, and whatever records a part makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from functools import partial
from types import MethodType
from typing import Any

from nmfkit.lowrank import LowRank


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """`value` with `change` of everything in it that is no container.

    Containers are dicts, lists, tuples and named tuples, frozen dataclasses (blocks and statistics among them),
    low-rank products, the arguments of a `functools.partial` and the object that a method belongs to; they are made
    anew only where something changed.
    """
    changed: Any
    if isinstance(value, dict):
        changed = {name: mapped(part, change) for name, part in value.items()}
        return changed if any(changed[name] is not part for name, part in value.items()) else value
    if isinstance(value, tuple | list):
        parts = [mapped(part, change) for part in value]
        if all(new is old for new, old in zip(parts, value, strict=True)):
            return value
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, LowRank):
        u, v = mapped(value.u, change), mapped(value.v, change)
        return value if u is value.u and v is value.v else LowRank(u, v)
    if isinstance(value, partial):
        function, args, keywords = mapped((value.func, value.args, value.keywords), change)
        same = function is value.func and args is value.args and keywords is value.keywords
        return value if same else partial(function, *args, **keywords)
    if isinstance(value, MethodType):
        owner = mapped(value.__self__, change)
        return value if owner is value.__self__ else getattr(owner, value.__name__)
    if is_dataclass(value) and not isinstance(value, type):
        return _record(value, change)
    return change(value)


def _record(value: Any, change: Callable[[Any], Any]) -> Any:
    new = {f.name: mapped(getattr(value, f.name), change) for f in fields(value) if f.init}
    new = {name: part for name, part in new.items() if part is not getattr(value, name)}
    return replace(value, **new) if new else value
