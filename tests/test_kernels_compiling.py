"""Compiling: announced once, no deadlock among threads, kept on disk for the next process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from numba import njit

from nmfkit import kernels
from nmfkit.kernels.cpu import compiling

USE = """
import numpy as np
from nmfkit.kernels.cpu import sparse
indices, indptr = np.arange(3, dtype=np.int32), np.arange(4, dtype=np.int64)
for rank in (3, 20):
    w = np.ones((3, rank), np.float32)
    assert sparse.sampled_product(w, w.T.copy(), indices, indptr).tolist() == [rank] * 3
    stats = sparse._sampled(-(-rank // 16) * 16).stats
    print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


@pytest.fixture
def told(monkeypatch):
    said = []
    monkeypatch.setattr(kernels, "on_compile", said.append)
    announcer = next(a for a in compiling.event._registered["numba:compile"] if isinstance(a, compiling._Announcer))
    monkeypatch.setattr(announcer, "_spent", 0.0)
    monkeypatch.setattr(announcer, "_told", None)
    monkeypatch.setattr(compiling, "PATIENCE", 0.01)
    return said


def slow(name, body="x += 1.5 * x * x - x"):
    """A function of this package that takes a while to compile."""
    scope = {"__name__": f"nmfkit.{name}"}
    exec("def f(x):\n" + f"    {body}\n" * 300 + "    return x", scope)
    return njit(scope["f"])


def test_a_long_compilation_is_announced_once(told):
    slow("first")(1.0)
    slow("second")(1.0)
    assert len(told) == 1
    assert "once" in told[0]


def test_another_caller_is_told_again(told, monkeypatch):
    slow("first")(1.0)
    others = []
    monkeypatch.setattr(kernels, "on_compile", others.append)
    slow("second")(1.0)
    time.sleep(0.05)
    assert len(told) == len(others) == 1


def test_others_compile_in_silence(told):
    function = slow("first")
    function.py_func.__module__ = "elsewhere"
    function(1.0)
    time.sleep(0.05)
    assert not told


def test_nobody_listens_and_failures_pass(told, monkeypatch):
    monkeypatch.setattr(kernels, "on_compile", None)
    slow("first")(1.0)
    monkeypatch.setattr(kernels, "on_compile", told.append)
    with pytest.raises(Exception, match="unknown"):
        slow("second", "x = unknown(x)")(1.0)
    slow("third")(1.0)
    time.sleep(0.05)
    assert len(told) == 1


def test_threads_that_meet_at_a_first_call_wait_and_tell_once(told):
    function, gate, results = slow("first"), threading.Barrier(4), []

    def call():
        gate.wait(10)
        results.append(function(1.0))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == 4
    assert len(function.signatures) == 1
    assert len(told) == 1


def test_one_kernel_for_each_constant():
    made = []
    factory = compiling.per_constant(lambda constant: made.append(constant) or object())
    assert factory(16) is factory(16)
    assert factory(16) is not factory(32)
    assert made == [16, 32]


def test_without_a_folder_to_write_to(monkeypatch):
    def refuse(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    monkeypatch.setattr(compiling, "njit", refuse)

    def twice(x):
        return 2 * x

    assert compiling.compiled(twice)(np.float64(2)) == 4


@pytest.mark.slow
def test_compiled_kernels_are_kept_on_disk_for_each_constant(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}

    def run():
        done = subprocess.run([sys.executable, "-c", USE], env=environment, capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert run() == ["0", "1", "0", "1"]
    assert run() == ["1", "0", "1", "0"]
