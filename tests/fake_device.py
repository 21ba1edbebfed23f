"""Fits on the fake device, through the doors that all fits come through."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import nmfkit.executors.local as local
import nmfkit.executors.open as opening
import nmfkit.executors.shard as shard
from nmfkit.executors.device.budget import device_plan
from nmfkit.executors.device.place import OnDevice
from nmfkit.executors.local import LocalExecutor
from nmfkit.testing.fake_runtime import FakeRuntime

RESIDENT, STREAMED, ROWS_AWAY, APART = "X and W stay", "X streams", "X streams, W away", "X stays, W away"
PLACES = {
    RESIDENT: {},
    STREAMED: {"cache_bytes": 0, "resident": False},
    ROWS_AWAY: {"cache_bytes": 0, "resident": False, "rows_resident": False},
    APART: {"rows_resident": False},
}
"""Ways to lay a fit out, as changes to the plan of a device that has room for everything."""


@contextmanager
def judged(runtime):
    """Only steps, and what concludes a sweep, turn arrays into numbers."""

    def told_where(rows, source, before=shard.told_where):
        @contextmanager
        def step():
            with runtime.stepping(), before(rows, source):
                yield

        return step()

    def advance(self, *given, before=LocalExecutor.advance):
        with runtime.numbers(allowed=True):
            return before(self, *given)

    def over(self, *given, before=LocalExecutor._over):
        with runtime.numbers(allowed=False):
            return before(self, *given)

    def add(total, stats, before=shard.add):
        with runtime.numbers(allowed=True):  # whether two products have a common factor is looked at
            return before(total, stats)

    with (
        mock.patch.object(shard, "add", add),
        mock.patch.object(shard, "told_where", told_where),
        mock.patch.object(local, "told_where", told_where),
        mock.patch.object(LocalExecutor, "advance", advance),
        mock.patch.object(LocalExecutor, "_over", over),
    ):
        yield


def laid_out(source, changes, *, device_memory=2**30, layout=None, memory=None, **needs):
    """The plan of a fit on a device, with `changes` to how the device's memory is used."""
    plan = device_plan(source, device_memory=device_memory, memory=memory, threads=2, layout=layout, **needs)
    divided = replace(plan.device, **changes)
    beside = 0 if divided.rows_resident else plan.device.rows_bytes + 256
    slot = beside + (0 if divided.resident else divided.block_bytes)
    return replace(plan, device=replace(divided, slot_bytes=slot))


@contextmanager
def fits_on_device(*, memory=2**30, device_memory=2**30, changes=None):
    """Whatever is fitted here is fitted on the fake device, which is empty again afterwards."""
    runtime = FakeRuntime(memory)

    def plan(source, resolved, machine, *, layout=None):
        needs = opening._needs(source, resolved)
        given = {"device_memory": device_memory, "memory": machine.memory_bytes(), "layout": layout}
        return laid_out(source, changes or {}, **given, **needs)

    def place(plan, machine):
        del machine
        return OnDevice(runtime, plan.device)

    with (
        runtime,
        judged(runtime),
        mock.patch.object(opening, "local_plan", plan),
        mock.patch.object(opening, "_place", place),
    ):
        yield runtime


@contextmanager
def device(changes, source):
    """An executor of `source` on the fake device, which is empty again afterwards, and that."""
    with FakeRuntime() as runtime, judged(runtime):
        needs = {"width": 2, "dtype": source.dtype, "elementwise": False, "forms_product": False}
        plan = laid_out(source, changes, **needs)
        with LocalExecutor(source, plan, place=OnDevice(runtime, plan.device)) as executor:
            yield executor, runtime
        assert runtime.count("buffer") == runtime.count("free")


def eventually(holds, seconds=20.0):
    """Whether `holds()` becomes true within so many seconds, which other threads have for it."""
    end = time.monotonic() + seconds
    while not (held := holds()) and time.monotonic() < end:
        time.sleep(1e-3)
    return held
