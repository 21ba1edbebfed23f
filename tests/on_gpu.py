"""What tests of a real device share: the device itself, or a reason to skip."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest

BENCHMARKS = str(Path(__file__).parents[1] / "benchmarks")
if BENCHMARKS not in sys.path:
    sys.path.insert(0, BENCHMARKS)  # workloads and kernels' arguments are those of the benchmarks

MARKS = [
    pytest.mark.gpu,
    pytest.mark.usefixtures("gpu"),
    # CuPy and what it stands on may be older or younger than NumPy, and say so.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
]


def cupy_or_skip():
    """CuPy with a GPU that computes; skips the test, with the reason, where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cupy = pytest.importorskip("cupy", reason="CuPy is not installed", exc_type=ImportError)
        if not cupy.cuda.is_available():
            pytest.skip("CuPy finds no GPU")
        float(cupy.ones(2).sum())
    return cupy
