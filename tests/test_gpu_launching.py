"""Who launches kernels on which arrays, what CuPy is asked for, and what the stand-in on the CPU refuses."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from launched import needs_compiler

from nmfkit.errors import NmfkitError
from nmfkit.kernels import gpu
from nmfkit.kernels.cuda import Source, compile_options, source_text, strided
from nmfkit.kernels.gpu import launcher
from nmfkit.testing import cuda_on_cpu, to_device
from nmfkit.testing.cuda_on_cpu import kernels_on_cpu


def test_arrays_of_the_host_and_of_two_kinds_have_no_launcher():
    here, there = np.ones(3), to_device(np.ones(3))
    assert launcher(here) is None
    assert launcher(there) is None
    with kernels_on_cpu() as own:
        assert launcher(there, there) is own
        assert launcher(here, there) is None
        assert launcher(there, here) is None
        assert launcher(here, here) is None
    assert launcher(there) is None


@pytest.mark.parametrize(("size", "blocks"), [(0, 1), (1, 1), (256, 1), (257, 2), (10**9, 4096)])
def test_strides_are_of_whole_blocks(size, blocks):
    assert strided(size) == 256 * blocks


# --- CuPy -----------------------------------------------------------------------------------------------------------


class Refused(Exception):
    pass


@pytest.fixture
def cupy(monkeypatch):
    """What the launcher uses of CuPy: modules made from source, their functions, the error of their compiler."""
    made = []

    class RawModule:
        def __init__(self, code, options):
            self.code, self.options, self.calls = code, options, []
            made.append(self)

        def compile(self):
            if "REFUSED" in "".join(self.options):
                raise Refused("dense.cu(7): error: no")

        def get_function(self, name):
            function = SimpleNamespace(max_dynamic_shared_size_bytes=0)
            return Function(self, name, function)

    class Function:
        def __init__(self, module, name, _):
            self.module, self.name, self.max_dynamic_shared_size_bytes = module, name, 49152

        def __call__(self, grid, block, args, shared_mem):
            self.module.calls.append((self.name, grid, block, args, shared_mem, self.max_dynamic_shared_size_bytes))

    fake = ModuleType("cupy")
    fake.RawModule, fake.made = RawModule, made
    fake.cuda = SimpleNamespace(compiler=SimpleNamespace(CompileException=Refused))
    fake.ndarray = type("ndarray", (), {"__module__": "cupy"})
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setattr(gpu, "LAUNCHERS", {})
    return fake


def test_cupy_compiles_each_combination_once_with_the_options_of_all(cupy):
    array = cupy.ndarray()
    launch = launcher(array, array)
    assert launch is launcher(cupy.ndarray())
    for _ in range(2):
        launch("dense", "kl_split", 1000, 256, array, 7, 0.5, None, REAL="float")
    launch("dense", "row_totals", 1, 32, array, REAL="float")
    launch("dense", "kl_split", 1, 32, array, REAL="double")
    single, double = cupy.made
    assert single.code == double.code == source_text("dense")
    assert single.options == compile_options({"REAL": "float"}) == ("--std=c++17", "-DREAL=float")
    assert double.options == compile_options({"REAL": "double"})
    name, grid, block, args, shared, _ = single.calls[0]
    assert (name, grid, block, shared) == ("kl_split", (4,), (256,), 0)
    assert args[0] is array
    assert [type(a) for a in args[1:]] == [np.int64, np.float64, np.uint64]
    assert [call[0] for call in single.calls] == ["kl_split", "kl_split", "row_totals"]


def test_cupy_launches_nothing_for_nothing(cupy):
    launcher(cupy.ndarray())("dense", "kl_split", 0, 256, REAL="float")
    assert not cupy.made


def test_cupy_is_asked_for_more_shared_memory_where_it_takes_more(cupy):
    launch = launcher(cupy.ndarray())
    for shared in (1000, 90_000):
        launch("sweeps", "hals", 1, 32, shared=shared, REAL="float")
    assert [call[4:] for call in cupy.made[0].calls] == [(1000, 49152), (90_000, 90_000)]


def test_a_source_that_does_not_compile_is_told(cupy):
    with pytest.raises(NmfkitError, match=r"(?s)dense\.cu \(REFUSED = yes\).*--device cpu.*dense\.cu\(7\): error: no"):
        launcher(cupy.ndarray())("dense", "kl_split", 1, 32, REFUSED="yes")


# --- the CPU --------------------------------------------------------------------------------------------------------


@pytest.fixture
def planted(monkeypatch):
    """A source of one kernel, `own`."""

    def plant(text, *args, threads=32, per_block=32, shared=0):
        monkeypatch.setattr(cuda_on_cpu, "source_text", lambda _: f"{source_text('dense')}\n{text}")
        monkeypatch.setattr(cuda_on_cpu, "sources", lambda: (Source("planted", ("own",), ({},)),))
        cuda_on_cpu._library.cache_clear()
        with kernels_on_cpu() as launch:
            launch("planted", "own", threads, per_block, *args, shared=shared, REAL="double")

    yield plant
    cuda_on_cpu._library.cache_clear()


COPY = "KERNEL own(const double *x, double *y, int64 n) { FOR_ENTRIES(i, n) y[i] = x[i]; }"


def pair(dtype=np.float64, size=70):
    return to_device(np.arange(size, dtype=dtype)), to_device(np.zeros(size, dtype))


@needs_compiler
def test_the_stand_in_runs_every_thread(planted):
    x, y = pair()
    planted(COPY, x, y, 70, threads=70)
    assert y.tolist() == x.tolist()


@needs_compiler
@pytest.mark.parametrize(
    ("args", "says"),
    [
        (lambda x, y: (x, y, 71), "writes beside an array"),
        (lambda x, y: (x, y), "takes 3 arguments, not 2"),
        (lambda x, y: (x, y, 70.0), "70.0 for a number of type int"),
        (lambda x, y: (*pair(np.float32), 70), "an array of float32 for float64"),
        (lambda x, y: (x[::2], y, 30), "not contiguous"),
        (lambda x, y: (np.zeros(70), y, 70), "no array of a stand-in device"),
    ],
)
def test_the_stand_in_refuses_what_a_gpu_would_not(planted, args, says):
    with pytest.raises(AssertionError, match=says):
        planted(COPY, *args(*pair()))


@needs_compiler
@pytest.mark.parametrize("per_block", [0, 33, 2048])
def test_the_stand_in_takes_blocks_of_whole_warps(planted, per_block):
    with pytest.raises(AssertionError, match="threads a block"):
        planted(COPY, *pair(), 70, per_block=per_block)


@needs_compiler
@pytest.mark.parametrize("barrier", ["__syncthreads()", "__syncwarp()", "y[0] = warp_sum(1.0)"])
def test_a_barrier_that_some_threads_never_reach_is_found(planted, barrier):
    text = f"KERNEL own(const double *, double *y, int64) {{ if (threadIdx.x == 5) return; {barrier}; y[0] = 1; }}"
    with pytest.raises(AssertionError, match="wait at a barrier that others never reach"):
        planted(text, *pair(), 70)


@needs_compiler
def test_a_write_to_an_input_by_a_detour_is_found(planted):
    text = "KERNEL own(const double *x, double *, int64) { *const_cast<double *>(x + 3) = 9; }"
    with pytest.raises(AssertionError, match="writes to an input"):
        planted(text, *pair(), 70)


@needs_compiler
def test_sums_of_warps_and_blocks(planted):
    x, y = pair(size=256)
    text = """
    KERNEL own(const double *x, double *y, int64) {
        const double warp = warp_sum(x[threadIdx.x]), block = block_sum(x[threadIdx.x]), more = block_sum(1);
        y[threadIdx.x] = threadIdx.x == 0 ? block + more : warp;
    }"""
    for _ in range(2):  # threads forth and back
        planted(text, x, y, 0, threads=256, per_block=256)
        found = np.array(y.tolist())
        assert found[0] == np.arange(256).sum() + 256
        np.testing.assert_array_equal(found[1:], np.arange(256).reshape(8, 32).sum(axis=1).repeat(32)[1:])


@needs_compiler
def test_shared_memory_is_that_of_a_block_and_has_a_size(planted):
    x, y = pair(size=128)
    text = """
    KERNEL own(const double *x, double *y, int64) {
        DYNAMIC_SHARED(double, turned);
        turned[blockDim.x - 1 - threadIdx.x] = x[thread_number()];
        __syncthreads();
        y[thread_number()] = turned[threadIdx.x];
    }"""
    planted(text, x, y, 0, threads=128, per_block=64, shared=64 * 8)
    np.testing.assert_array_equal(y.tolist(), np.arange(128).reshape(2, 64)[:, ::-1].ravel())
    with pytest.raises(AssertionError, match="bytes of shared memory"):
        planted(text, x, y, 0, shared=2**20)


@needs_compiler
def test_what_does_not_compile_is_told(planted):
    with pytest.raises(AssertionError, match=r"dense\.cu:\d+"):
        planted("KERNEL own(double *y) { y[0] = nothing; }", *pair())
