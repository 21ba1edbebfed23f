"""Who launches the kernels in CUDA C on an array: found by the array's type, without importing anything.

The functions that launch them (`dense`, `sparse`, …: the modules of `nmfkit.kernels.cuda`) are loaded when asked for.
Arrays of the host and stand-ins for others have no launcher. For CuPy's arrays the sources are compiled at their
first use, once for each process and combination of types.
"""

from __future__ import annotations

import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nmfkit.errors import NmfkitError
from nmfkit.kernels.cuda import TYPES, compile_options, source_text

if TYPE_CHECKING:
    from nmfkit.kernels.cuda import coordinates, dense, roots, solve, sparse, sweeps, symmetric

WRAPPERS = ("coordinates", "dense", "roots", "solve", "sparse", "sweeps", "symmetric")
"""The modules of functions that launch kernels."""

__all__ = [
    "LAUNCHERS",
    "TYPES",
    "Launch",
    "coordinates",
    "dense",
    "launcher",
    "roots",
    "solve",
    "sparse",
    "sweeps",
    "symmetric",
]

PLAIN_SHARED = 48 * 1024
"""Bytes of shared memory that a block has without asking."""


def __getattr__(name: str) -> Any:
    if name not in WRAPPERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"nmfkit.kernels.cuda.{name}")


class Launch(Protocol):
    """Runs a kernel on arrays of one kind."""

    def __call__(
        self, source: str, kernel: str, threads: int, per_block: int, *args: Any, shared: int = 0, **types: str
    ) -> None:
        """Run `kernel` of `source` with as many blocks of `per_block` threads as make `threads`.

        `args` are contiguous arrays, integers (`long long`), floats (`double`) and None (a null pointer), `shared`
        the bytes of dynamic shared memory of a block, and `types` the macros of the source.
        """
        ...


LAUNCHERS: dict[type, Launch] = {}
"""The launcher of each type of array; those of CuPy's arrays come in when the first of them is met."""


def launcher(*arrays: Any) -> Launch | None:
    """Who launches kernels on these arrays; None for arrays of the host, of two kinds, or without a launcher."""
    kind = type(arrays[0])
    if kind is np.ndarray or any(type(a) is not kind for a in arrays):
        return None
    if kind not in LAUNCHERS and kind.__module__.partition(".")[0] == "cupy":
        LAUNCHERS.setdefault(kind, _Modules())
    return LAUNCHERS.get(kind)


class _Modules:
    """Sources compiled by CuPy, each once for a combination of types, and launched on the current stream."""

    def __init__(self) -> None:
        self._functions: dict[tuple[Any, ...], Any] = {}
        self._modules: dict[tuple[Any, ...], Any] = {}
        self._lock = threading.Lock()

    def __call__(
        self, source: str, kernel: str, threads: int, per_block: int, *args: Any, shared: int = 0, **types: str
    ) -> None:
        if threads <= 0:
            return
        function = self._function(source, kernel, types)
        if shared > PLAIN_SHARED and shared > function.max_dynamic_shared_size_bytes:
            function.max_dynamic_shared_size_bytes = shared
        function((-(-threads // per_block),), (per_block,), tuple(map(_passed, args)), shared_mem=shared)

    def _function(self, source: str, kernel: str, types: dict[str, str]) -> Any:
        key = source, kernel, *sorted(types.items())
        found = self._functions.get(key)
        if found is None:
            with self._lock:
                found = self._functions[key] = self._module(source, types).get_function(kernel)
        return found

    def _module(self, source: str, types: dict[str, str]) -> Any:
        key = source, *sorted(types.items())
        if key not in self._modules:
            self._modules[key] = _compiled(source, types)
        return self._modules[key]


def _compiled(source: str, types: dict[str, str]) -> Any:
    import cupy

    module = cupy.RawModule(code=source_text(source), options=compile_options(types))
    try:
        module.compile()
    except cupy.cuda.compiler.CompileException as error:
        chosen = ", ".join(f"{name} = {choice}" for name, choice in sorted(types.items()))
        raise NmfkitError(
            f"the kernels of {source}.cu ({chosen}) do not compile for this GPU; "
            f"`--device cpu` does without them:\n{error}"
        ) from error
    return module


def _passed(value: Any) -> Any:
    """An argument as the kernel's signature has it: 64 bits each."""
    if value is None:
        return np.uint64(0)
    if isinstance(value, int):
        return np.int64(value)
    return np.float64(value) if isinstance(value, float) else value
