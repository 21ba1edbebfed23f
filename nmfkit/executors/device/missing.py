"""Why this process cannot compute on a GPU: all of it at once, each with what to install or to do."""

from __future__ import annotations

import ctypes
import os
import sys
import warnings
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from nmfkit.errors import GpuError
from nmfkit.executors.plan import size_text

if TYPE_CHECKING:
    from nmfkit.executors.machine import Machine

EXTRAS = {12: "cuda12", 13: "cuda13"}
"""The extra that brings CuPy, by the version of CUDA that a driver serves."""
DISTRIBUTIONS = ("cupy-cuda12x", "cupy-cuda13x", "cupy-cuda11x", "cupy", "cupy-rocm-7-0", "cupy-rocm-7-1")
"""What CuPy is installed as; they overwrite each other's files."""
LEAST_CUPY = 14
LEAST_CAPABILITY = {12: 70, 13: 75}
"""What a GPU has at least, by the version of CUDA: 7.0 is Volta, of 2017, 7.5 is Turing, of 2018."""
LIBRARIES = ("cublas", "cusolver")
"""CUDA's libraries that steps use by way of NumPy's functions."""
NO_DEVICE = "cudaErrorNoDevice"


def require(machine: Machine) -> None:
    """Raise `GpuError` with all that this process lacks for the work of `machine` on a GPU, or one for each worker."""
    if not machine.on_gpu:
        return
    reasons = missing(machine.device_bytes()) or _too_few(machine.workers or 1)
    if reasons:
        raise GpuError("--device gpu cannot be used here:\n" + "\n".join(f"  - {reason}" for reason in reasons))


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES would name each GPU that this process sees; for a process that has CuPy."""
    count = import_module("cupy").cuda.runtime.getDeviceCount()
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    return named[:count] if any(named) else [str(number) for number in range(count)]


def _too_few(workers: int) -> list[str]:
    found = len(visible_gpus())
    if workers <= found:
        return []
    there = "one is here" if found == 1 else f"{found} are here"
    return [f"{workers} workers want a GPU each, and {there}: start no more than {found} (--workers {found})"]


def missing(device_memory: int | None = None) -> list[str]:
    """Every reason why this process cannot compute on a GPU with `device_memory` bytes to use; none: it can."""
    cupy, reasons = _imported()
    if cupy is None:
        return reasons + _no_driver(driver_version())
    if not cupy.cuda.is_available():
        return [*reasons, *_no_gpu(cupy.cuda.runtime), *_libraries(cupy.cuda)]
    reasons += _libraries(cupy.cuda)
    try:
        return reasons + _too_old(cupy.cuda) + _too_full(cupy, device_memory)
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return [*reasons, f"the GPU cannot be used: {error}; nvidia-smi shows what state it is in"]


def free_bytes() -> int | None:
    """What is free of the memory of the GPU here, in bytes; None where none can be used."""
    if missing():
        return None
    return _free(import_module("cupy"))[0]


def driver_version() -> int | None:
    """The version of CUDA that NVIDIA's driver serves, as 12040 for 12.4; None where there is no driver."""
    served = ctypes.c_int()
    try:
        library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        failed = library.cuDriverGetVersion(ctypes.byref(served))
    except (OSError, AttributeError):
        return None
    return None if failed or not served.value else served.value


def _imported() -> tuple[Any, list[str]]:
    """CuPy, None where it does not load, and what is wrong with how it is installed."""
    doubled = _doubled()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of two distributions, which is told below
            cupy = import_module("cupy")
    except ModuleNotFoundError as error:
        if error.name == "cupy":
            return None, [f"CuPy is not installed: {_way_in(driver_version())}"]
        return None, [_broken(error), *doubled]
    except Exception as error:  # what a library of other versions than its neighbours raises, may be anything
        return None, [_broken(error), *doubled]
    if int(cupy.__version__.partition(".")[0]) < LEAST_CUPY:
        doubled.append(f"CuPy {cupy.__version__} is too old, and {LEAST_CUPY} or later is needed: {_instead()}")
    return cupy, doubled


def _broken(error: Exception) -> str:
    lines = [line.strip("= \t") for line in str(error).splitlines()]
    told = " ".join(line for line in lines if line)
    return f"CuPy is installed, but cannot be imported: {type(error).__name__}: {told}"


def _doubled() -> list[str]:
    """Two distributions of CuPy in one place."""
    found = [f"{name} {number}" for name, number in software().items()]
    if len(found) < 2:
        return []
    return [f"{' and '.join(found)} are both installed and overwrite each other's files: {_instead()}"]


def _instead() -> str:
    """How the CuPy that is there gives way to the right one."""
    return f"pip uninstall {' '.join(software())}, then {_way_in(driver_version())}"


def software() -> dict[str, str]:
    """The version of CuPy, by the distribution that it is installed as; nothing where it is not installed."""
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _way_in(driver: int | None) -> str:
    """How CuPy is installed for this driver."""
    if driver is None:
        return (
            "pip install 'nmfkit[cuda13]', or 'nmfkit[cuda12]' where the driver is for CUDA 12 (nvidia-smi shows it "
            'as "CUDA Version")'
        )
    least = min(EXTRAS)
    if driver // 1000 < least:
        return f"update NVIDIA's driver to one for CUDA {least} or later, then pip install 'nmfkit[{EXTRAS[least]}]'"
    return f"pip install 'nmfkit[{EXTRAS[min(driver // 1000, max(EXTRAS))]}]'"


def _no_driver(driver: int | None) -> list[str]:
    if driver is not None:
        return []
    return [
        "no driver of NVIDIA is found: install it, so that nvidia-smi lists the GPUs; in a container, let the GPUs in "
        "(docker run --gpus all)"
    ]


def _libraries(cuda: Any) -> list[str]:
    """Libraries of CUDA that CuPy does not find."""
    absent = [name for name in LIBRARIES if not _loads(cuda, name)]
    try:
        cuda.nvrtc.getVersion()
    except Exception:  # the loader's own error, which has changed from version to version
        absent.append("nvrtc")
    if not absent:
        return []
    way_in, them = _way_in(cuda.runtime.runtimeGetVersion()), "it" if len(absent) == 1 else "them"
    return [
        f"CuPy does not find CUDA's {', '.join(absent)}: {way_in}, which brings {them} along, or set CUDA_PATH to "
        "where CUDA's toolkit is installed"
    ]


def _loads(cuda: Any, name: str) -> bool:
    try:
        getattr(cuda, name)
    except ImportError:
        return False
    return True


def _no_gpu(runtime: Any) -> list[str]:
    """Why the driver gives no GPU to this process."""
    driver, needed = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    if not driver:
        return _no_driver(None)
    if driver // 1000 < needed // 1000:
        major = needed // 1000
        other = f", or {_instead()}" if driver // 1000 in EXTRAS else ""
        return [
            f"NVIDIA's driver is for CUDA {_dotted(driver)}, and this CuPy needs one for CUDA {major}: update the "
            f"driver{other}"
        ]
    try:
        runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        if NO_DEVICE not in str(error):
            return [f"CUDA does not start: {error}; nvidia-smi shows whether the driver works"]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [f"CUDA_VISIBLE_DEVICES is {visible!r} and hides every GPU: unset it, or let it name one, as 0"]
    return [
        "NVIDIA's driver finds no GPU: nvidia-smi -L lists those that there are; in a batch job, ask for one "
        "(sbatch --gpus=1), in a container, let them in (docker run --gpus all)"
    ]


def _too_old(cuda: Any) -> list[str]:
    device = cuda.Device()
    served = cuda.runtime.runtimeGetVersion()
    versions = [least for version, least in LEAST_CAPABILITY.items() if version * 1000 <= served]
    least = max(versions, default=min(LEAST_CAPABILITY.values()))
    if (capability := int(device.compute_capability)) >= least:
        return []
    found = cuda.runtime.getDeviceProperties(device.id)["name"]
    name = found.decode() if isinstance(found, bytes) else found
    older = ", or use CuPy for CUDA 12 (pip install 'nmfkit[cuda12]')" if capability >= LEAST_CAPABILITY[12] else ""
    return [
        f"{name} has compute capability {capability // 10}.{capability % 10}, and this CuPy needs {least // 10}."
        f"{least % 10} or higher: let CUDA_VISIBLE_DEVICES name another GPU{older}"
    ]


def _too_full(cupy: Any, device_memory: int | None) -> list[str]:
    free, total = _free(cupy)
    if device_memory is None or device_memory <= free:
        return []
    return [
        f"--device-memory asks for {size_text(device_memory)}, and {size_text(free)} of the GPU's {size_text(total)} "
        "are free: ask for less, leave it out to use most of what is free, or end what else uses the GPU (nvidia-smi "
        "lists it)"
    ]


def _free(cupy: Any) -> tuple[int, int]:
    """Bytes that this process could have, of all; those that its own pool keeps for later among them."""
    free, total = cupy.cuda.runtime.memGetInfo()
    return free + cupy.get_default_memory_pool().free_bytes(), total


def _dotted(served: int) -> str:
    return f"{served // 1000}.{served % 1000 // 10}"
