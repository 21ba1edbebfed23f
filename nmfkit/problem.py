"""Everything a fit is, as text: what the command line, TOML files and the run store all hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from nmfkit.errors import UsageError
from nmfkit.parts import PartText, canonical, suggestion

DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Problem:
    """A factorization problem and how to stop, independent of the data and of the machine.

    Parts are texts (`"beta:0.5"`, `"l1:0.1"`) or part objects of one's own. `ranks` holds one rank, or one for
    each layer. `tol` stops the fit when ten sweeps lower the objective by less than this fraction of it, or of what the
    factors explain where a model says that this is less; `dtype` None keeps float32 data in float32 and computes in
    float64 otherwise. `time_limit` is in seconds. `pilot` says how many rows are fitted first to give all of them a
    start: "auto", "none", or a number.
    """

    model: Any = "nmf"
    loss: Any = "frobenius"
    ranks: tuple[int, ...] = (10,)
    rule: Any = "auto"
    reg_w: tuple[Any, ...] = ()
    reg_h: tuple[Any, ...] = ()
    init: Any = "auto"
    pilot: str = "auto"
    seed: int = 0
    max_sweeps: int = 200
    tol: float = 1e-4
    time_limit: float | None = None
    dtype: str | None = None
    model_options: Mapping[str, str] = field(default_factory=dict)
    named: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    """Which fields the user set: a model that does not use a part refuses it only when it was named."""

    def faults(self) -> list[str]:
        """What is wrong with the plain values, one sentence each."""
        wrong = []
        if not self.ranks:
            wrong.append("no rank is given; use --rank N (rank=N in Python)")
        wrong += [f"rank {r!r} is not a whole number ≥ 1" for r in self.ranks if not _whole(r, 1)]
        if self.pilot not in ("auto", "none") and not (str(self.pilot).isdecimal() and int(self.pilot) > 0):
            wrong.append(f"pilot {self.pilot!r} is neither auto, nor none, nor a number of rows ≥ 1")
        if not _whole(self.max_sweeps, 0):
            wrong.append(f"max-sweeps {self.max_sweeps!r} is not a whole number ≥ 0")
        if not _whole(self.seed, 0):
            wrong.append(f"seed {self.seed!r} is not a whole number ≥ 0")
        if not (_number(self.tol) and self.tol >= 0):
            wrong.append(f"tol {self.tol!r} is not a number ≥ 0")
        if self.time_limit is not None and not (_number(self.time_limit) and self.time_limit > 0):
            wrong.append(f"time-limit {self.time_limit!r} is not a number of seconds > 0")
        if self.dtype is not None and self.dtype not in DTYPES:
            wrong.append(f"dtype {self.dtype!r} is not one of {', '.join(DTYPES)}")
        return wrong

    def to_dict(self) -> dict[str, Any]:
        """The text form: plain strings, numbers and lists, without what is unset."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "named"}
        for name in ("model", "loss", "rule", "init"):
            plain[name] = part_text(plain[name])
        for name in ("reg_w", "reg_h"):
            plain[name] = [part_text(p) for p in plain[name]]
        plain["ranks"] = list(self.ranks)
        plain["model_options"] = dict(self.model_options)
        return {name: value for name, value in plain.items() if value is not None}

    @classmethod
    def from_dict(cls, text: Mapping[str, Any]) -> Problem:
        """The problem of a text form; raises `UsageError` naming every unknown field."""
        known = {f.name for f in fields(cls)} - {"named"}
        values = {name.replace("-", "_"): value for name, value in text.items()}
        if "rank" in values and "ranks" not in values:
            values["ranks"] = values.pop("rank")
        unknown = [f"{n!r}{suggestion(n, known)}" for n in values if n not in known]
        if unknown:
            raise UsageError("unknown field " + "; unknown field ".join(unknown))
        for name in ("reg_w", "reg_h"):
            if name in values:
                given = values[name]
                values[name] = (given,) if isinstance(given, str) else tuple(given)
        if "ranks" in values:
            given = values["ranks"]
            values["ranks"] = tuple(given) if isinstance(given, list | tuple) else (given,)
        if "model_options" in values:
            values["model_options"] = {str(k): str(v) for k, v in dict(values["model_options"]).items()}
        return cls(**values, named=frozenset(values))

    @classmethod
    def from_stored(cls, text: Mapping[str, Any]) -> Problem:
        """The problem of a run: `to_dict` wrote every field, so none of them counts as named by the user."""
        return replace(cls.from_dict(text), named=frozenset())

    def replace(self, **changes: Any) -> Problem:
        """The same problem with some fields changed."""
        return replace(self, **changes)

    def as_json(self) -> dict[str, Any]:
        """`to_dict` with every field, for machines."""
        return {**{k: None for k in asdict(Problem()) if k != "named"}, **self.to_dict()}


def part_text(part: Any) -> str:
    """The text of a part in canonical form; a part object of one's own stands as its repr."""
    return str(PartText.parse(part)) if isinstance(part, str) else repr(part)


def is_auto(part: Any) -> bool:
    """Whether the part, a rule or a start, is left to nmfkit."""
    return isinstance(part, str) and canonical(part) == "auto"


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
