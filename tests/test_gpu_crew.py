"""Who may work on GPUs: each worker has one of its own, with memory enough, or the fit is refused before it begins."""

from __future__ import annotations

import itertools
import os
import sys
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from clusters import cluster, deadline
from stand_in_gpus import GIB, gpus
from test_device_options import cupy_of

import nmfkit
from nmfkit.errors import ClusterError, GpuError
from nmfkit.executors import local_workers as starting
from nmfkit.executors.device import asked
from nmfkit.executors.device import missing as lacks
from nmfkit.executors.device.asked import Gpu, GpuAsked, shared_gpus
from nmfkit.executors.device.one_each import dask_setup

X = np.random.default_rng(0).random((300, 20))


@pytest.fixture(autouse=True)
def in_time():
    with deadline():
        yield


@pytest.fixture(scope="module")
def client():
    with cluster(workers=2, processes=False) as there:
        yield there


def fit(client, **given):
    return nmfkit.fit(X, rank=2, max_sweeps=1, scheduler=client, device="gpu", **given)


THREE = {"device_memory": "3GiB"}


def refused(client, what, *, device_memory=None, **answers):
    """The faults of workers that answer so when they are asked `what`; none of them has opened its GPU."""
    with (
        gpus() as taken,
        mock.patch.object(asked, what, **answers),
        pytest.raises(ClusterError, match="cannot do this fit") as caught,
    ):
        fit(client, device_memory=device_memory)
    assert not taken
    return str(caught.value).splitlines()[1:]


def by_turns(*answers):
    """A function that gives one worker this answer and the next one that."""
    turns = itertools.cycle(answers)
    return lambda *_: next(turns)


# --- the workers of a cluster -----------------------------------------------------------------------------------


def test_workers_without_a_gpu_are_listed_with_what_they_lack(client):
    (line,) = refused(client, "missing", side_effect=by_turns([], ["CuPy is not installed: do"]))
    assert line.endswith(": CuPy is not installed: do")
    assert line.startswith("  - inproc://")
    (line,) = refused(client, "missing", return_value=["no driver is found"])
    assert line == "  - all 2 workers: no driver is found"


def test_a_worker_is_asked_for_the_memory_that_is_asked_for(client):
    seen = []
    refused(client, "missing", side_effect=lambda memory: [*seen, seen.append(memory), "too little"][-1:], **THREE)
    assert seen == [3 * GIB] * 2


def test_workers_do_not_share_a_gpu(client):
    (line,) = refused(client, "_identity", return_value="ab12 of here")
    assert line.startswith("  - all 2 workers: they share one GPU (ab12 of here): start one worker for each GPU")


def test_only_those_that_share_one_are_named():
    answers = {name: SimpleNamespace(gpu=Gpu(1, mark)) for name, mark in zip("abcd", "xyxz", strict=True)}
    answers |= {"e": ValueError("broken"), "f": SimpleNamespace(gpu=None)}
    (workers,) = shared_gpus(answers).values()
    assert workers == ["a", "c"]


def test_the_least_free_memory_decides(client):
    with gpus() as taken, mock.patch.object(asked, "free_bytes", side_effect=by_turns(2 * GIB, GIB)):
        fit(client)
    assert {place.plan.memory for place in taken} == {int(0.85 * GIB)}
    with gpus() as taken, mock.patch.object(asked, "free_bytes", side_effect=by_turns(2 * GIB, GIB)):
        fit(client, device_memory="100MiB")
    assert {place.plan.memory for place in taken} == {100 * 2**20}


def test_a_gpu_that_is_gone_between_two_questions_is_told():
    with gpus(), mock.patch.object(asked, "free_bytes", return_value=None):
        gpu, reasons = GpuAsked(None).answer()
    assert gpu is None
    assert len(reasons) == 1


@pytest.mark.parametrize(
    ("found", "mark"),
    [({"uuid": b"\x01\xab"}, "01ab"), ({"uuid": b"\0\0"}, "0000:07:00.0"), ({}, "0000:07:00.0")],
)
def test_a_gpu_is_told_from_all_others(monkeypatch, found, mark):
    cupy = SimpleNamespace(
        cuda=SimpleNamespace(
            Device=lambda: SimpleNamespace(id=0, pci_bus_id="0000:07:00.0"),
            runtime=SimpleNamespace(getDeviceProperties=lambda number: found),
        )
    )
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    assert asked._identity().startswith(f"{mark} of ")


# --- workers of our own -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("visible", "each"),
    [(None, ["0", "1"]), ("2,5", ["2", "5"]), ("GPU-1a2b, GPU-3c4d", ["GPU-1a2b", "GPU-3c4d"]), ("7", ["7"])],
)
def test_each_worker_sees_a_gpu_of_its_own(monkeypatch, visible, each):
    for number, own in enumerate(each):
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        dask_setup(SimpleNamespace(name=number))
        assert os.environ["CUDA_VISIBLE_DEVICES"] == own


class Started:
    """A cluster that only notes what it is asked for."""

    def __init__(self, **given):
        self.given, self.closed = given, False

    def close(self):
        self.closed = True


OURS, DEAF = "nmfkit.executors.device.one_each", "nmfkit.executors.deaf"


@pytest.mark.parametrize(
    ("on_gpus", "installed", "preload"),
    [(False, True, [DEAF]), (True, False, [DEAF, OURS]), (True, True, [DEAF])],
)
def test_dask_cuda_starts_workers_where_it_is_installed(monkeypatch, on_gpus, installed, preload):
    class Plain(Started):
        pass

    class Theirs(Started):
        pass

    monkeypatch.setattr(starting, "LocalCluster", Plain)
    monkeypatch.setattr(starting, "find_spec", lambda name: object() if installed else None)
    monkeypatch.setitem(sys.modules, "dask_cuda", SimpleNamespace(LocalCUDACluster=Theirs))
    with starting.local_workers(2, 3, GIB, gpus=on_gpus) as started:
        assert type(started) is (Theirs if on_gpus and installed else Plain)
        assert started.given["preload"] == preload
        assert (started.given["n_workers"], started.given["threads_per_worker"]) == (2, 3)
    assert started.closed


@pytest.mark.parametrize(
    ("visible", "found", "told"),
    [(None, 1, "3 workers want a GPU each, and one is here: start no more than 1 (--workers 1)"),
     ("2,5", 2, "3 workers want a GPU each, and 2 are here: start no more than 2 (--workers 2)")],
)  # fmt: skip
def test_more_workers_than_gpus_are_refused_before_any_starts(monkeypatch, visible, found, told):
    monkeypatch.setitem(sys.modules, "cupy", cupy_of(gpus=found))
    monkeypatch.setattr(lacks, "driver_version", lambda: 12090)
    monkeypatch.setattr(lacks, "version", lambda name: "14.2.0" if name == "cupy-cuda12x" else missing_one())
    monkeypatch.setattr(starting, "LocalCluster", None)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert lacks.visible_gpus() == (["0"] if visible is None else ["2", "5"])
    with pytest.raises(GpuError) as caught:
        nmfkit.fit(X, rank=2, workers=3, device="gpu")
    assert told in str(caught.value)


def missing_one():
    raise lacks.PackageNotFoundError
