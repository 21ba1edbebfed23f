"""Which software made a result."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from nmfkit import __version__
from nmfkit.registry import registry


def versions() -> dict[str, str]:
    """Versions of nmfkit, of every loaded plugin's distribution, and of what does the arithmetic."""
    found = {"nmfkit": __version__, "python": platform.python_version(), **registry().versions}
    return found | _of_libraries()


@cache
def _of_libraries() -> dict[str, str]:
    """Those of what does the arithmetic; each takes a millisecond to look up, as long as some sweeps."""
    found = {}
    for name in ("numpy", "scipy", "zarr", "numba"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
