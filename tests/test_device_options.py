"""The options that ask for a GPU: what they take, what is missing where none can be used, and what one would take."""

from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

import nmfkit
from nmfkit.cli.app import COMMANDS, app
from nmfkit.errors import GpuError, UsageError
from nmfkit.executors.device import missing as lacks
from nmfkit.executors.device.budget import device_plan
from nmfkit.executors.machine import Machine, here
from nmfkit.executors.transfer import BANDWIDTH, Transfer
from nmfkit.origin import changed_versions
from nmfkit.sources import open_source

GIB = 2**30
COMPUTING = ["fit", "explain", "resume", "transform", "score", "report", "plot", "select-rank", "consensus"]


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


# --- a CuPy that finds what a test says ---------------------------------------------------------------------


class CudaError(RuntimeError):
    """As CuPy tells what CUDA returns."""


def raising(error):
    def fail(*_):
        raise error

    return fail


class Cuda(SimpleNamespace):
    """`cupy.cuda`, whose libraries are looked for when they are asked for."""

    def __getattr__(self, name):
        raise ImportError(f"no {name}")


def cupy_of(*, driver=12090, built=12090, gpus=1, refusal=None, free=70 * GIB, capability="90", libraries=True):
    """A CuPy for CUDA `built` above a driver for CUDA `driver`; everything is well unless said otherwise."""
    count = raising(refusal) if refusal else lambda: gpus
    runtime = SimpleNamespace(
        CUDARuntimeError=CudaError,
        driverGetVersion=lambda: driver,
        runtimeGetVersion=lambda: built,
        getDeviceCount=count,
        getDeviceProperties=lambda number: {"name": b"Tesla K80"},
        memGetInfo=lambda: (free, 80 * GIB),
    )
    found = {"cublas": object(), "cusolver": object()} if libraries else {}
    version = (lambda: (12, 9)) if libraries else raising(RuntimeError("libnvrtc.so.12 not found"))
    cuda = Cuda(
        runtime=runtime,
        nvrtc=SimpleNamespace(getVersion=version),
        is_available=lambda: refusal is None and gpus > 0,
        Device=lambda: SimpleNamespace(id=0, compute_capability=capability),
        **found,
    )
    pool = SimpleNamespace(free_bytes=lambda: 2 * GIB)
    return SimpleNamespace(__version__="14.2.0", cuda=cuda, get_default_memory_pool=lambda: pool)


NO_DRIVER = CudaError("cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version")
NO_DEVICE = CudaError("cudaErrorNoDevice: no CUDA-capable device is detected")


@pytest.fixture
def machine(monkeypatch):
    """Sets up a machine: its CuPy (None: not installed), the CUDA of its driver, its distributions."""

    def set_up(cupy, driver=12090, **installed):
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        monkeypatch.setattr(lacks, "driver_version", lambda: driver)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        names = {name.replace("_", "-"): number for name, number in installed.items()}

        def version(name):
            if name not in names:
                raise PackageNotFoundError(name)
            return names[name]

        monkeypatch.setattr(lacks, "version", version)

    return set_up


# --- what is missing ----------------------------------------------------------------------------------------


def test_nothing_is_missing_where_all_is_there(machine):
    machine(cupy_of(), cupy_cuda12x="14.2.0")
    assert lacks.missing() == []
    assert lacks.missing(72 * GIB) == []  # what CuPy's own pool keeps is free, too
    assert lacks.free_bytes() == 72 * GIB
    assert Machine.ready({"device": "gpu"}).software == {"cupy-cuda12x": "14.2.0"}
    assert Machine.ready({}).software == {}


@pytest.mark.parametrize(
    ("driver", "told"),
    [
        (None, "pip install 'nmfkit[cuda13]', or 'nmfkit[cuda12]' where the driver is for CUDA 12"),
        (11080, "update NVIDIA's driver to one for CUDA 12 or later, then pip install 'nmfkit[cuda12]'"),
        (12040, "pip install 'nmfkit[cuda12]'"),
        (13000, "pip install 'nmfkit[cuda13]'"),
        (14010, "pip install 'nmfkit[cuda13]'"),
    ],
)
def test_the_extra_is_that_of_the_driver(machine, driver, told):
    machine(None, driver)
    first, *others = lacks.missing()
    assert first.startswith("CuPy is not installed: ")
    assert told in first
    assert [other.partition(":")[0] for other in others] == ["no driver of NVIDIA is found"] * (driver is None)


@pytest.mark.parametrize(
    ("cupy", "told"),
    [
        (cupy_of(driver=0, refusal=NO_DRIVER), "no driver of NVIDIA is found: install it"),
        (cupy_of(driver=11040, refusal=NO_DRIVER), "driver is for CUDA 11.4, and this CuPy needs one for CUDA 12"),
        (
            cupy_of(driver=12020, built=13000, refusal=NO_DRIVER),
            "update the driver, or pip uninstall cupy-cuda13x, then pip install 'nmfkit[cuda12]'",
        ),
        (cupy_of(refusal=NO_DEVICE), "NVIDIA's driver finds no GPU: nvidia-smi -L lists"),
        (cupy_of(gpus=0), "NVIDIA's driver finds no GPU"),
        (
            cupy_of(refusal=CudaError("cudaErrorSystemNotReady: system not yet initialized")),
            "CUDA does not start: cuda",
        ),
        (cupy_of(capability="37"), "Tesla K80 has compute capability 3.7, and this CuPy needs 7.0 or higher"),
        (cupy_of(libraries=False), "does not find CUDA's cublas, cusolver, nvrtc: pip install 'nmfkit[cuda12]'"),
        (cupy_of(free=4 * GIB), "--device-memory asks for 8.0 GiB, and 6.0 GiB of the GPU's 80.0 GiB are free"),
    ],
)
def test_each_thing_that_is_missing_is_told_with_what_to_do(machine, cupy, told):
    machine(cupy, 12090 if cupy.cuda.runtime.runtimeGetVersion() < 13000 else 12020, cupy_cuda13x="14.2.0")
    (reason,) = lacks.missing(8 * GIB)
    assert told in reason


def test_all_reasons_are_told_at_once(machine):
    machine(cupy_of(refusal=NO_DEVICE, libraries=False), cupy_cuda12x="14.2.0", cupy_cuda13x="14.0.1")
    with pytest.raises(GpuError) as caught:
        lacks.require(Machine(device="gpu"))
    head, *reasons = str(caught.value).split("\n  - ")
    assert head == "--device gpu cannot be used here:"
    assert "cupy-cuda12x 14.2.0 and cupy-cuda13x 14.0.1 are both installed" in reasons[0]
    assert "pip uninstall cupy-cuda12x cupy-cuda13x, then pip install 'nmfkit[cuda12]'" in reasons[0]
    assert "finds no GPU" in reasons[1]
    assert "nvrtc" in reasons[2]
    assert len(reasons) == 3


@pytest.mark.parametrize("visible", ["", "-1"])
def test_hidden_gpus_are_told_as_hidden(machine, monkeypatch, visible):
    machine(cupy_of(refusal=NO_DEVICE))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert lacks.missing() == [
        f"CUDA_VISIBLE_DEVICES is {visible!r} and hides every GPU: unset it, or let it name one, as 0"
    ]


def test_a_gpu_that_fails_when_asked_is_told(machine):
    cupy = cupy_of()
    cupy.cuda.runtime.memGetInfo = raising(CudaError("cudaErrorDevicesUnavailable: busy or unavailable"))
    machine(cupy)
    (reason,) = lacks.missing()
    assert "cudaErrorDevicesUnavailable" in reason


def test_an_old_cupy_is_told(machine):
    machine(SimpleNamespace(**{**vars(cupy_of()), "__version__": "13.6.0"}), cupy_cuda11x="13.6.0")
    assert lacks.missing() == [
        "CuPy 13.6.0 is too old, and 14 or later is needed: pip uninstall cupy-cuda11x, then pip install "
        "'nmfkit[cuda12]'"
    ]


@pytest.mark.parametrize(
    "error",
    [
        ImportError("\n====\nFailed to import CuPy.\n\nOriginal error:\n  libfoo.so.1\n===="),
        ModuleNotFoundError("No module named 'numpy.core'", name="numpy.core"),
        ValueError("numpy.dtype size changed, may indicate binary incompatibility"),
    ],
)
def test_a_broken_cupy_is_told_with_its_error(machine, monkeypatch, error):
    machine(None)
    monkeypatch.setattr(lacks, "import_module", raising(error))
    (reason,) = lacks.missing()
    assert reason.startswith("CuPy is installed, but cannot be imported: ")
    assert "\n" not in reason
    assert str(error).split("\n")[-1].strip("=") in reason


# --- the options --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"device": "tpu"}, "device 'tpu' is unknown; there are cpu and gpu"),
        ({"device": 0}, "device 0 is unknown"),
        ({"device_memory": "2GiB"}, "device_memory goes with device gpu"),
        ({"device": "cpu", "device_memory": "2GiB"}, "device_memory goes with device gpu"),
        ({"device": "gpu", "device_memory": "much"}, "device_memory 'much' is not a size"),
        ({"device": "gpu", "device_memory": -1}, "device_memory -1 is not a size"),
    ],
)
def test_odd_options_are_refused(options, told):
    with pytest.raises(UsageError) as caught:
        Machine.of(options)
    assert told in str(caught.value)


def test_options_make_a_machine_and_are_made_of_it():
    options = {"device": "gpu", "device_memory": "2GiB", "memory": 10**9, "workers": 2}
    machine = Machine.of(options)
    assert machine.on_gpu
    assert machine.device_bytes() == 2 * GIB
    assert machine.options == options
    assert Machine.of(here(options)).options == {**options, "workers": 0}
    assert machine.by("a client").options == {
        "device": "gpu", "device_memory": "2GiB", "memory": 10**9, "scheduler": "a client"
    }  # fmt: skip
    assert machine.without_gpu.options == {"memory": 10**9, "workers": 2}
    assert not any(Machine.of({"device": device}).on_gpu for device in ("cpu", None))


def test_options_are_judged_with_all_others():
    done = run(
        "fit", "sample:digits", "--rank", 2, "--device", "gpus", "--device-memory", "x", "--loss", "kll", "-o", "a"
    )
    assert done.exit_code == 2
    for told in ("device 'gpus'", "device-memory 'x'", "'kll'"):
        assert told in done.stderr


def test_options_come_from_a_file(tmp_path):
    (tmp_path / "a.toml").write_text('device = "gpu"\ndevice-memory = "lots"\n')
    done = run("explain", "sample:digits", "--rank", 2, "--config", tmp_path / "a.toml")
    assert done.exit_code == 2
    assert "device-memory 'lots' is not a size" in done.stderr
    (tmp_path / "a.toml").write_text("device = 1\n")
    done = run("explain", "sample:digits", "--rank", 2, "--config", tmp_path / "a.toml")
    assert "device is 1, and a text in quotes is needed" in done.stderr
    (tmp_path / "a.toml").write_text('device = "gpu"\ndevice-memory = "2GiB"\n')
    done = run("explain", "sample:digits", "--rank", 2, "--config", tmp_path / "a.toml", "--device", "cpu")
    assert (done.exit_code, "GPU" in done.stdout) == (0, False)


def test_commands_that_compute_take_them():
    for name in COMMANDS:
        shown = run(name, "--help").output
        assert ("--device-memory" in shown, "--device " in shown) == (name in COMPUTING,) * 2, name


@pytest.mark.parametrize("call", [nmfkit.convert, nmfkit.similarity])
def test_what_only_processors_do_refuses_a_gpu(call, tmp_path):
    with pytest.raises(UsageError, match="is the work of processors; leave out the device"):
        call("nowhere.npy", **({} if call is nmfkit.similarity else {"dst": tmp_path / "a"}), device="gpu")


# --- where there is none ------------------------------------------------------------------------------------


@pytest.fixture
def without(machine):
    """A machine with everything but a driver."""
    machine(cupy_of(driver=0, refusal=NO_DRIVER), None, cupy_cuda12x="14.2.0")


REFUSED = r"--device gpu cannot be used here:\n  - no driver of NVIDIA is found"


def test_a_fit_ends_with_the_reasons_before_anything_is_opened(without, tmp_path):
    done = run("fit", "nowhere.npy", "--rank", 3, "--start-w", "nowhere", "--device", "gpu", "-o", tmp_path / "x.zarr")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: --device gpu cannot be used here:\n  - no driver of NVIDIA is found")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "call",
    [
        lambda: nmfkit.fit("nowhere.npy", rank=2, device="gpu"),
        lambda: nmfkit.resume("nowhere.zarr", device="gpu"),
        lambda: nmfkit.transform("nowhere.zarr", "nowhere.npy", device="gpu"),
        lambda: nmfkit.select_rank("nowhere.npy", ranks=[2, 3], device="gpu"),
        lambda: nmfkit.consensus("nowhere.npy", 2, device="gpu"),
    ],
)
def test_so_does_every_function_that_computes(without, call):
    with pytest.raises(GpuError, match=REFUSED):
        call()


def test_estimators_take_the_options(without):
    pytest.importorskip("sklearn")
    from nmfkit.estimators import NMF, SymNMF, estimator

    x = np.random.default_rng(0).random((8, 5))
    with pytest.raises(GpuError, match=REFUSED):
        NMF(2, device="gpu").fit(x)
    with pytest.raises(GpuError, match=REFUSED):
        NMF(2, device="gpu", workers=3).partial_fit(x)
    with pytest.raises(GpuError, match=REFUSED):
        SymNMF(2, affinity="cosine", device="gpu").fit(x)
    with pytest.raises(ValueError, match="device_memory goes with device gpu"):
        estimator("deep-nmf")(device_memory="1GiB").fit(x)


def test_the_software_of_a_run_says_whether_it_was_a_gpu():
    stored = {"numpy": "2.4", "cupy-cuda12x": "14.2.0"}
    assert changed_versions(stored, stored) == []
    (caution,) = changed_versions(stored, {"numpy": "2.5"})
    assert caution.endswith("numpy 2.4 is now 2.5, cupy-cuda12x 14.2.0 is no longer in use")


# --- what one would take ------------------------------------------------------------------------------------


def planned(shape, memory, **options):
    x = np.ones(shape, np.float32)
    needs = {"width": 4, "dtype": x.dtype, "elementwise": False, "forms_product": False}
    plan = device_plan(open_source(x), device_memory=memory, memory=None, **needs)
    return Transfer.of(plan, Machine(device="gpu", **options))


def test_what_crosses_over_is_what_does_not_stay(without):
    roomy, tight = planned((40_000, 100), GIB), planned((40_000, 100), 8 * 2**20)
    assert (roomy.plan.sent_per_sweep, roomy.seconds) == (0, 0)
    assert "nothing: X goes to the GPU once, and W stays there" in roomy.lines()[-1]
    assert "all of it stays there" in "\n".join(roomy.lines())
    assert tight.plan.sent_per_sweep > 0
    assert tight.seconds == tight.plan.sent_per_sweep / BANDWIDTH
    assert "stay there,\n                   the rest passes through" in "\n".join(tight.lines())
    assert "at 20 GB/s, assumed" in tight.lines()[-1]


def test_the_memory_is_said_to_be_what_it_is(machine):
    machine(None)
    assert "(assumed" in planned((100, 10), GIB).lines()[1]
    assert "(assumed" not in planned((100, 10), GIB, device_memory=GIB).lines()[1]
    machine(cupy_of())
    assert "most of what is free" in planned((100, 10), GIB).lines()[0]


def explained(*options):
    done = run("explain", "sample:digits", "--rank", 4, *options)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_explain_needs_no_gpu(without):
    told = json.loads(explained("--device", "gpu", "--device-memory", "1GiB", "--json"))["gpu"]
    assert (told["memory"], told["memory_is"], told["gpus"]) == (GIB, "given", 1)
    parts = ("shared_bytes", "step_bytes", "cache_bytes", "rows_bytes")
    assert 0 < sum(told[name] for name in parts) <= GIB
    assert told["transfer_seconds_per_sweep"] == told["sent_per_sweep"] / told["assumed_bytes_per_second"]
    text = explained("--device", "gpu")
    assert "  GPU              " in text
    assert "(assumed, as there is none to ask: see --device-memory)" in text
    assert json.loads(explained("--json"))["gpu"] is None


def test_explain_gives_each_local_worker_a_gpu_and_starts_none(without):
    one, each = (
        json.loads(explained("--device", "gpu", "--json", *workers))["gpu"] for workers in ((), ("--workers", 3))
    )
    assert (one["gpus"], each["gpus"]) == (1, 3)
    assert each["cache_bytes"] < one["cache_bytes"] < 4 * each["cache_bytes"]
    text = explained("--device", "gpu", "--workers", 3)
    assert "one each for 3 workers" in text
    assert "1,797 × 64 float64, dense, 898 KiB" in text


def test_too_little_memory_is_refused_with_what_would_do(without):
    done = run("explain", "sample:digits", "--rank", 4, "--device", "gpu", "--device-memory", "1KiB")
    assert done.exit_code == 2
    assert "(--device-memory)" in done.stderr
