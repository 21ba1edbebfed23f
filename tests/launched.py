"""The kernels in CUDA C as functions of host arrays, run on the CPU: for tests of what every version must keep."""

from __future__ import annotations

import numpy as np
import pytest

from nmfkit.testing import to_device, to_host
from nmfkit.testing.cuda_on_cpu import compiler, kernels_on_cpu

needs_compiler = pytest.mark.skipif(compiler() is None, reason="there is no C++ compiler")


class Launched:
    """A module of launching functions with the signatures of their references; `f` alone of a function."""

    def __init__(self, module):
        self.module, self.__name__ = module, "launched"

    def __getattr__(self, name):
        return lambda *given: called(getattr(self.module, name), *given)


def called(kernel, *given):
    """What a kernel makes of host arrays, those that it writes to included; no other array may change."""
    there = {id(a): to_device(a) for a in given if isinstance(a, np.ndarray)}
    with kernels_on_cpu() as launch:
        result = to_host(kernel(launch, *(there.get(id(a), a) for a in given)))
    for a in given:
        if id(a) in there and a.flags.writeable:
            np.copyto(a, to_host(there[id(a)]))
    return result


def launched(module):
    """It as a parameter of a test, which is skipped where nothing compiles CUDA C."""
    return pytest.param(Launched(module), marks=needs_compiler)
