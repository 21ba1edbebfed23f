"""The memory that this process holds, and the most that it has held."""

import contextlib
import ctypes
import gc
import resource
from pathlib import Path

STATUS = Path("/proc/self/status")


def resident() -> int:
    """Bytes in memory now; the peak so far where the system does not tell."""
    return _status("VmRSS") or _largest()


def peak() -> int:
    """The most bytes since `settle`, or since the process began where that could not be forgotten."""
    return _status("VmHWM") or _largest()


def settle() -> bool:
    """Give back what is free, and let the peak begin anew; False where the system does not allow that."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError, TypeError):  # not every C library has it
        ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _status(field):
    if not STATUS.exists():
        return 0
    lines = STATUS.read_text().splitlines()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), 0)


def _largest():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
