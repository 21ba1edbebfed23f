"""Hypothesis without a clock and with the same cases in every run; processes and threads; where the data sets are."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "ci", max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", max_examples=500, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# Tests in a process a core leave no cores for threads of linear algebra. Processes that this one starts inherit it;
# where all tests run in this one, it may have come too late, and threads are welcome.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Other plugins of this environment have tests of their own.
os.environ.setdefault("NMFKIT_PLUGINS", "nmfkit")

# A shell ignores Ctrl-C for what it starts in the background, and so would every process here: tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]
MOST_PROCESSES = 4
"""Tests start clusters of their own: more processes than these would want memory."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """How many processes run the tests: one a core for all of them, none but this for those asked for by name."""
    if config.args != config.getini("testpaths"):
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_PROCESSES) if cores > 1 else 0


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of public data sets: $NMFKIT_DATA, or beside the project."""
    folder = Path(os.environ.get("NMFKIT_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data sets at {folder}; set NMFKIT_DATA to their folder")
    return folder


@pytest.fixture(scope="module")
def gpu() -> Iterator[Any]:
    """CuPy, and a GPU to which `to_device` of the kit sends arrays meanwhile; a reason to skip where there is none."""
    from on_gpu import cupy_or_skip

    from nmfkit.testing.device import sent_by

    cupy = cupy_or_skip()
    with sent_by(cupy.array):
        yield cupy
