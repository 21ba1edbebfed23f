"""Whether a worker runs the same software as the process that asks it to work."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

ARITHMETIC = ("numpy", "scipy", "zarr", "numba", "dask", "distributed")
"""Packages whose versions decide the digits, or whether processes understand each other."""


@dataclass(frozen=True)
class Passport:
    """Versions that every worker must have: of nmfkit, of the plugins in use, of what does the arithmetic."""

    versions: tuple[tuple[str, str], ...]

    @classmethod
    def of_here(cls, distributions: Iterable[str] = ()) -> Passport:
        """That of this process, with the `distributions` of the plugins in use."""
        names = dict.fromkeys(("nmfkit", *distributions, *ARITHMETIC))
        found = ((name, installed(name)) for name in names)
        return cls((("python", python()), *((name, number) for name, number in found if number)))

    def faults(self) -> list[str]:
        """What is missing or different in this process."""
        wrong = []
        for name, wanted in self.versions:
            here = python() if name == "python" else installed(name)
            if here is None:
                wrong.append(f"{name} {wanted} is not installed")
            elif here != wanted:
                wrong.append(f"{name} is {here} there and {wanted} here")
        return wrong


def installed(name: str) -> str | None:
    """The version of a distribution, None where it is not installed."""
    if name == "nmfkit":
        from nmfkit import __version__

        return __version__
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def python() -> str:
    """The version of Python, as far as pickles depend on it."""
    return ".".join(platform.python_version_tuple()[:2])
