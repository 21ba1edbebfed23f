"""What a measurement was made on and with."""

import contextlib
import os
import platform
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

from threadpoolctl import threadpool_info

LIBRARIES = ("OMP", "OPENBLAS", "MKL", "NUMBA")


def threads_of(count) -> dict[str, str]:
    """The environment of a process whose libraries are to use `count` threads."""
    return os.environ | {f"{library}_NUM_THREADS": str(count) for library in LIBRARIES}


def facts() -> dict:
    """The machine, and how busy it was in the last minute."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.platform(),
        "load": os.getloadavg()[0],
    }


def processor() -> str:
    """Its name, as far as the system tells."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions(modules) -> dict[str, str]:
    """The versions of Python, NumPy, its BLAS, and what the modules were installed from."""
    found = {"python": platform.python_version()}
    owners = packages_distributions()
    for module in ("numpy", "scipy", *modules):
        for name in owners.get(module, [module]):
            with contextlib.suppress(PackageNotFoundError):
                found[name] = version(name)
    blas = [f"{library['internal_api']} {library['version']}" for library in threadpool_info()]
    return found | {"libraries": ", ".join(sorted(set(blas)))}
