"""Nested state as JSON plus a flat list of arrays, exactly reversible: what a checkpoint stores."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.lowrank import LowRank


def flatten(value: Any, arrays: list[Array]) -> Any:
    """The JSON form of `value`; its arrays are appended to `arrays` and stand as their index.

    Raises `TypeError` on what is neither a number, a string, None, an array, a LowRank nor a container of those.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, dict):
        return {"dict": {str(k): flatten(v, arrays) for k, v in value.items()}}
    if isinstance(value, LowRank):
        return {"lowrank": [flatten(value.u, arrays), flatten(value.v, arrays)]}
    if isinstance(value, tuple | list):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [flatten(v, arrays) for v in value]}
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    raise TypeError(f"a shared state holds a {type(value).__name__}, which a checkpoint cannot store")


def unflatten(text: Any, arrays: list[Array]) -> Any:
    """The value whose `flatten` gave `text` and `arrays`."""
    if not isinstance(text, dict):
        return text
    ((kind, content),) = text.items()
    if kind == "dict":
        return {name: unflatten(part, arrays) for name, part in content.items()}
    if kind == "array":
        return arrays[content]
    if kind == "float":
        return float(content)
    parts = [unflatten(part, arrays) for part in content]
    return LowRank(*parts) if kind == "lowrank" else tuple(parts) if kind == "tuple" else parts
