"""The compliance kit on a real device: every law of devices, and every law of models whose fits run on a GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
from on_gpu import MARKS
from test_contracts import CONTRACTS

from nmfkit.executors.device.budget import device_plan
from nmfkit.executors.device.place import OnDevice
from nmfkit.executors.device.runtime import device_here
from nmfkit.executors.local import LocalExecutor
from nmfkit.testing import ExecutorContract, ModelContract

pytestmark = MARKS

ON_DEVICES = [
    pytest.param(contract, law, id=f"{kind}-{text}-{law.removeprefix('test_')}")
    for (kind, text), contract in CONTRACTS.items()
    for law in contract.laws()
    # Whole fits of degenerate data part from the first rounding on: those have laws of their own below.
    if "device" in law and law != "test_fits_on_a_device"
]


@pytest.mark.parametrize(("contract", "law"), ON_DEVICES)
def test_laws_of_devices(contract, law):
    getattr(contract, law)()


def on_gpu(contract):
    """The contract of the same model, whose fits are on a GPU and keep some threads for reading."""

    def fit(self, resolved, x, **options):
        return type(contract).fit(self, resolved, x, **{"device": "gpu", **options})

    made = type(f"{type(contract).__name__}OnGpu", (type(contract),), {"fit": fit, "share": 0.2 * contract.share})()
    made.make = contract.make
    return made


ELSEWHERE = (
    "test_a_resumed_fit_is_the_uninterrupted_one",
    "test_fits_on_a_device",
    "test_pickles",
    "test_runs_on_a_device",
    "test_the_problem_is_text",
)
"""Laws that compare with what processors do, to the last bit; those of devices; those of what no place changes."""

FITTING = [
    pytest.param(contract, law, id=f"{text}-{law.removeprefix('test_')}")
    for (_, text), contract in CONTRACTS.items()
    if isinstance(contract, ModelContract)
    for law in contract.laws()
    if law not in ELSEWHERE
]


@pytest.mark.parametrize(("contract", "law"), FITTING)
def test_laws_of_fits(contract, law):
    getattr(on_gpu(contract), law)()


class TestGpuExecutor(ExecutorContract):
    """A GPU of this process: its blocks pass through a ring of buffers, since none of them is allowed to stay."""

    share = 0.4

    def make(self, source=None, plan=None):
        whole = {"width": 2, "dtype": source.dtype, "elementwise": False, "forms_product": False}
        there = device_plan(source, device_memory=2**28, memory=None, **whole).device
        slot = there.block_bytes + there.rows_bytes
        there = replace(there, cache_bytes=0, resident=False, rows_resident=False, slot_bytes=slot)
        return LocalExecutor(source, replace(plan, device=there), place=OnDevice(device_here(), there))
