"""How numbers, times and tables read, and how JSON is written."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def emit(value: Mapping[str, Any]) -> None:
    """Print one strict JSON object on standard output; NaN and infinities become null."""
    print(json.dumps(plain(value), ensure_ascii=False, allow_nan=False, indent=2))


def plain(value: Any) -> Any:
    """`value` in dicts, lists, strings and finite numbers."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, Iterable):
        return [plain(v) for v in value]
    return str(value)


def shell(*words: object) -> str:
    """A command line to copy: words are quoted where a shell would split or expand them."""
    return shlex.join(str(word) for word in words)


def facts(pairs: Iterable[tuple[str, str]], indent: str = "") -> str:
    """A line for each label and text, the texts aligned; further lines of a text stand under its first."""
    pairs = list(pairs)
    width = max((len(label) for label, _ in pairs), default=0) + 2
    return "\n".join(
        f"{indent}{label:<{width}}" + text.replace("\n", "\n" + indent + " " * width) for label, text in pairs
    )


def table(rows: Iterable[Sequence[str]], indent: str = "  ") -> str:
    """Rows of cells in columns as wide as their widest cell."""
    rows = [list(row) for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    return "\n".join(
        (indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()
        for row in rows
    )


def ranks_text(ranks: Sequence[int]) -> str:
    """(20,) as `rank 20`, (20, 10) as `ranks 20, 10`."""
    return f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}"


def shape_text(shape: Sequence[int]) -> str:
    """(1797, 64) as `1,797 × 64`."""
    return " × ".join(f"{side:,}" for side in shape)


def number(value: float) -> str:
    """Six digits, thousands set apart while the number is not too long: `412,346`, `1.23457e+12`."""
    return f"{value:,.6g}" if 1e-4 <= abs(value) < 1e6 or value == 0 else f"{value:.6g}"


def percent(share: float) -> str:
    """0.123 as `12.3 %`."""
    return f"{100 * share:.1f} %"


def duration(seconds: float) -> str:
    """A time in its two largest units: `0.84 s`, `2 min 5 s`, `1 h 3 min`."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
