"""Kernels in CUDA C run on the CPU: compiled by a C++ compiler with a stand-in for what a GPU brings along.

Every array is lent to a kernel as a copy with margins, so that a kernel which writes beside an array is found out, and
only what its signature does not call `const` comes back.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmfkit.kernels.cuda import WARP, compile_options, source_text, sources
from nmfkit.kernels.gpu import LAUNCHERS
from nmfkit.testing.device import StrictArray

Array = npt.NDArray[Any]

MARGIN = 64
"""Bytes on either side of a lent array."""
MOST_THREADS = 1024
"""Threads that a block may have."""
MOST_SHARED = 64 * 1024
"""Bytes of shared memory that a block may have on every GPU that the kernels are compiled for."""
SCALARS: dict[str, tuple[type, Any]] = {"q": (int, ctypes.c_longlong), "d": (float, ctypes.c_double)}
"""The type of a number in Python, and what carries it, for each letter of a signature."""
LETTERS = {"f": "float32", "d": "float64", "i": "int32", "q": "int64", "B": "uint8"}
"""The dtype of the arrays for each letter of a signature."""


def compiler() -> str | None:
    """The C++ compiler of this machine, if there is one."""
    return next(filter(None, map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))), None)


@contextmanager
def kernels_on_cpu() -> Iterator[OnCPU]:
    """Within it kernels on stand-in arrays are launched on the CPU."""
    own, before = OnCPU(), LAUNCHERS.get(StrictArray)
    LAUNCHERS[StrictArray] = own
    try:
        yield own
    finally:
        del LAUNCHERS[StrictArray]
        if before is not None:
            LAUNCHERS[StrictArray] = before


class OnCPU:
    """The launcher; `launched` lists the kernels that have run."""

    def __init__(self) -> None:
        self.launched: list[str] = []

    def __call__(
        self, source: str, kernel: str, threads: int, per_block: int, *args: Any, shared: int = 0, **types: str
    ) -> None:
        """Run a kernel, as `nmfkit.kernels.gpu.Launch` says; AssertionError where a GPU would not, or must not."""
        if threads <= 0:
            return
        assert per_block in range(WARP, MOST_THREADS + 1, WARP), f"{kernel}: {per_block} threads a block"
        assert shared <= MOST_SHARED, f"{kernel}: {shared} bytes of shared memory"
        library = _library(source, tuple(sorted(types.items())))
        signature = _signature(library, kernel)
        assert len(signature) == len(args), f"{kernel} takes {len(signature)} arguments, not {len(args)}"
        loans = _Loans(kernel)
        given = [loans.argument(kind, value) for kind, value in zip(signature, args, strict=True)]
        pointers = (ctypes.c_void_p * len(given))(*(ctypes.addressof(value) for value in given))
        blocks = -(-threads // per_block)
        run = getattr(library, f"run_{kernel}")
        stuck = run(ctypes.c_longlong(blocks), ctypes.c_int(per_block), ctypes.c_longlong(shared), pointers)
        assert not stuck, f"{kernel}: threads wait at a barrier that others never reach"
        loans.give_back()
        self.launched.append(kernel)


class _Loans:
    """The arrays of one launch, each copied once, however many arguments it is."""

    def __init__(self, kernel: str) -> None:
        self._kernel = kernel
        self._lent: dict[int, tuple[Array, Array, Array, bool]] = {}

    def argument(self, kind: str, value: Any) -> Any:
        if kind[0] == "s":
            return self._scalar(kind[1], value)
        return ctypes.c_void_p(None if value is None else self._lend(kind, _host(value)))

    def _scalar(self, letter: str, value: Any) -> Any:
        wanted, carrier = SCALARS[letter]
        assert type(value) is wanted, f"{self._kernel}: {value!r} for a number of type {wanted.__name__}"
        return carrier(value)

    def _lend(self, kind: str, array: Array) -> int:
        name = "uint8" if array.dtype == np.bool_ else array.dtype.name
        assert name == LETTERS[kind[1]], f"{self._kernel}: an array of {name} for {LETTERS[kind[1]]}"
        assert array.flags.c_contiguous, f"{self._kernel}: an array that is not contiguous"
        key = array.ctypes.data
        lent, margin, _, written = self._lent.get(key) or self._copied(array)
        self._lent[key] = lent, margin, array, written or kind[0] == "P"
        return int(lent.ctypes.data) + MARGIN

    def _copied(self, array: Array) -> tuple[Array, Array, Array, bool]:
        """A copy between margins that are no numbers, and other ones than those of any other array."""
        margin = np.full(MARGIN // 8, 2**64 - 1 - len(self._lent), np.uint64).view(np.uint8)
        return np.concatenate([margin, array.reshape(-1).view(np.uint8), margin]), margin, array, False

    def give_back(self) -> None:
        for lent, margin, array, written in self._lent.values():
            inner, own = lent[MARGIN:-MARGIN], array.reshape(-1).view(np.uint8)
            beside = np.concatenate([lent[:MARGIN], lent[-MARGIN:]]) == np.tile(margin, 2)
            assert beside.all(), f"{self._kernel} writes beside an array of shape {array.shape}"
            assert written or (own == inner).all(), f"{self._kernel} writes to an input"
            own[:] = inner


def _host(value: Any) -> Array:
    assert isinstance(value, StrictArray), f"{value!r} is no array of a stand-in device"
    return value._host


@cache
def _signature(library: Any, kernel: str) -> tuple[str, ...]:
    describe = getattr(library, f"signature_{kernel}")
    describe.restype = ctypes.c_char_p
    text = describe().decode()
    return tuple(text[i : i + 2] for i in range(0, len(text), 2))


@cache
def _library(source: str, types: tuple[tuple[str, str], ...]) -> Any:
    return ctypes.CDLL(str(_built(_program(source), compile_options(dict(types)))))


def _program(source: str) -> str:
    """The source between what a GPU brings along and an entry for each kernel that goes through its blocks."""
    header = files(__package__).joinpath("cuda_on_cpu.hpp").read_text("utf-8")
    kernels = next(s.kernels for s in sources() if s.name == source)
    return "\n".join([header, source_text(source), '#line 1 "entries"', *map(_entry, kernels)])


def _entry(kernel: str) -> str:
    return f"""
extern "C" const char *signature_{kernel}() {{ return shim::signature({kernel}); }}
extern "C" int run_{kernel}(long long blocks, int threads, long long shared, void **args) {{
    return shim::launch({kernel}, blocks, threads, shared, args);
}}"""


def _built(program: str, options: tuple[str, ...]) -> Path:
    """The library, compiled once for all processes: its file is named for its content."""
    command = compiler()
    assert command is not None, "there is no C++ compiler"
    flags = ("-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-function")
    name = hashlib.sha256("\0".join([program, *options, *flags]).encode()).hexdigest()[:32]
    folder = Path(tempfile.gettempdir()) / f"nmfkit-kernels-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if not (built := folder / f"{name}.so").exists():
        with tempfile.TemporaryDirectory(dir=folder) as own:
            text, made = Path(own) / "program.cpp", Path(own) / "program.so"
            text.write_text(program, "utf-8")
            done = subprocess.run(
                [command, *flags, *options, str(text), "-o", str(made)], capture_output=True, text=True
            )
            assert not done.returncode, done.stderr
            made.replace(built)  # at once, for another process may look for it
    return built
