"""The arguments of the Python door, made a problem or refused."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np

from nmfkit.errors import UsageError
from nmfkit.problem import Problem


def make_problem(*, rank: Any = None, ranks: Any = None, **fields: Any) -> Problem:
    """The problem of `fit`'s arguments; what differs from the defaults counts as named by the user."""
    if rank is not None and ranks is not None:
        raise UsageError("give rank or ranks, not both")
    chosen = ranks if ranks is not None else rank
    if chosen is None:
        raise UsageError("no rank is given; use rank=N (--rank N): the number of components")
    for name in ("reg_w", "reg_h"):
        given = fields.get(name) or ()
        fields[name] = tuple(given) if isinstance(given, list | tuple) else (given,)
    fields["ranks"] = tuple(map(_integer, chosen)) if isinstance(chosen, list | tuple) else (_integer(chosen),)
    for name in ("seed", "max_sweeps"):
        fields[name] = _integer(fields[name]) if name in fields else getattr(Problem(), name)
    if fields.get("dtype") is not None:
        fields["dtype"] = _dtype_name(fields["dtype"])
    options = fields.get("model_options") or {}
    if not isinstance(options, Mapping):
        raise UsageError(f"model_options {options!r} is not a mapping of names to values")
    fields["model_options"] = {str(k): _option_text(v) for k, v in options.items()}
    default = Problem()
    named = frozenset(n for n, v in fields.items() if v is not getattr(default, n) and v != getattr(default, n))
    return Problem(**fields, named=named)


def _option_text(value: Any) -> str:
    """An option of a model as the command line has it: several values with a plus between them."""
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def refuse_odd_counts(**options: Any) -> None:
    """Raise `UsageError` unless every count that is given is a whole number of at least 1."""
    faults = [
        f"{name.replace('_', '-')} {value!r} is not a whole number ≥ 1"
        for name, value in options.items()
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1)
    ]
    if faults:
        raise UsageError("; ".join(faults))


def refuse_unstorable(problem: Problem) -> None:
    """Raise `UsageError` if a part is an object, which no run can hold as text."""
    parts = (problem.model, problem.loss, problem.rule, problem.init, *problem.reg_w, *problem.reg_h)
    objects = [repr(p) for p in parts if not isinstance(p, str)]
    if objects:
        raise UsageError(
            f"{', '.join(objects)} cannot be stored in a run, which holds parts as text: register them as a plugin, "
            "or fit without out="
        )


def _integer(value: Any) -> int:
    try:
        return value if isinstance(value, bool) else operator.index(value)  # Problem refuses a bool by name
    except TypeError:
        raise UsageError(f"{value!r} is not a whole number") from None


def _dtype_name(dtype: Any) -> str:
    try:
        return str(np.dtype(dtype).name)
    except TypeError:
        raise UsageError(f"dtype {dtype!r} is not one of float32, float64") from None
