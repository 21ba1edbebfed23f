"""The kernels as CUDA C, kept as data, and beside it the functions that launch them.

A source says in comments `// NAME = choice, choice` which macros it takes. Scalars are `long long` or `double`;
arrays are contiguous, and those that a kernel does not write are `const`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

TYPES = {"float32": "float", "float64": "double", "int32": "int", "int64": "int64"}
"""The name in CUDA C of each dtype that kernels take."""
BLOCK = 256
"""Threads of a block, where nothing speaks for another number."""
WARP = 32
"""Lanes of a warp."""
BLOCKS = 4096
"""The most blocks of a launch that goes through its data in strides: by the size alone, for sums to repeat."""

_MACRO = re.compile(r"^// ([A-Z_]+) = (.+)$", re.MULTILINE)
_KERNEL = re.compile(r"^KERNEL (\w+)\(", re.MULTILINE)


@dataclass(frozen=True)
class Source:
    """A source: its `kernels`, and every combination of macros that it is compiled for."""

    name: str
    kernels: tuple[str, ...]
    combinations: tuple[Mapping[str, str], ...]


@cache
def sources() -> tuple[Source, ...]:
    """Every source, by its name."""
    names = sorted(f.name.removesuffix(".cu") for f in files(__name__).iterdir() if f.name.endswith(".cu"))
    return tuple(_source(name) for name in names if name != "prelude")


def _source(name: str) -> Source:
    text = _read(name)
    macros = {macro: re.split(r",\s*", choices.strip()) for macro, choices in _MACRO.findall(text)}
    combinations = tuple(dict(zip(macros, chosen, strict=True)) for chosen in product(*macros.values()))
    return Source(name, tuple(_KERNEL.findall(text)), combinations)


@cache
def source_text(name: str) -> str:
    """The source with the prelude, in one text whose messages count the source's own lines."""
    return f'#line 1 "prelude.cu"\n{_read("prelude")}\n#line 1 "{name}.cu"\n{_read(name)}'


def _read(name: str) -> str:
    return files(__name__).joinpath(f"{name}.cu").read_text("utf-8")


def compile_options(types: Mapping[str, str]) -> tuple[str, ...]:
    """What the compiler is told beside the processor it compiles for."""
    return ("--std=c++17", *(f"-D{name}={choice}" for name, choice in sorted(types.items())))


def c_type(dtype: Any) -> str:
    """The name in CUDA C of a dtype."""
    return TYPES[np.dtype(dtype).name]


def ready(a: Array, dtype: Any = None) -> Array:
    """`a` contiguous and of the dtype, itself where it is so already."""
    wanted = a if dtype is None else a.astype(dtype, copy=False)
    return wanted if wanted.flags.c_contiguous else np.ascontiguousarray(wanted, like=wanted)


def strided(size: int, per_block: int = BLOCK) -> int:
    """The number of threads that go through `size` entries in strides: whole blocks, one at least."""
    return per_block * max(1, min(BLOCKS, -(-size // per_block)))


def summed(parts: Array) -> float:
    """Σ parts, without dimensions and where they are: who needs a number waits for it, and nobody else."""
    total: float = np.sum(parts)
    return total
