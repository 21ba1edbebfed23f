"""Plans of a device's memory: their figures add up to it, and what is refused is told what would do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from stand_in_gpus import allowed

from nmfkit.errors import UsageError
from nmfkit.executors.device.budget import device_plan
from nmfkit.executors.plan import Layout, enough_text, parse_size, worker_budget
from nmfkit.sources import tiles
from nmfkit.testing.chunked import Unreadable

MIB = 2**20


class Told(Unreadable):
    """A source that is only as large as it says, in chunks of so many rows."""

    def __init__(self, shape, dtype, nnz, chunk):
        self._shape, self._dtype, self._nnz, self._chunk = shape, np.dtype(dtype), nnz, chunk
        self.is_sparse = nnz is not None

    shape = property(lambda self: self._shape)
    dtype = property(lambda self: self._dtype)
    nnz = property(lambda self: self._nnz)

    def bounds(self, target):
        if self.nnz is None:
            return tiles.by_chunks(self.shape, self.dtype.itemsize, self._chunk, target)
        row = max(1, self.nnz * (self.dtype.itemsize + 4) // self.shape[0] + 4)
        return tiles.even(self.shape[0], max(1, target // row))


@st.composite
def sources(draw):
    shape = draw(st.integers(1, 20_000)), draw(st.integers(1, 50_000))
    density = draw(st.none() | st.floats(0.001, 0.2))
    nnz = None if density is None else int(density * shape[0] * shape[1])
    return Told(shape, draw(st.sampled_from(["f4", "f8"])), nnz, draw(st.sampled_from([1, 100, 10_000, 10**6])))


NEEDS = st.fixed_dictionaries(
    {
        "width": st.sampled_from([1, 5, 20, 100]),
        "elementwise": st.booleans(),
        "forms_product": st.booleans(),
        "row_copies": st.integers(1, 3),
        "groups": st.sampled_from([0, 4]),
        "reads": st.integers(1, 3),
        "draws": st.booleans(),
        "views": st.booleans(),
    }
)
DEVICES = st.floats(16, 36).map(lambda power: int(2**power))
HOSTS = st.none() | st.floats(28, 37).map(lambda power: int(2**power))
COUNTS = st.sampled_from([0, 1, 2, 8])


def planned(source, needs, device_memory, memory, workers, layout=None):
    if workers:
        memory = worker_budget(memory or 2**34)
    given = {"device_memory": device_memory, "memory": memory, "workers": workers, "layout": layout, "threads": 4}
    return device_plan(source, dtype=source.dtype, **given, **needs)


def refusal(*given):
    """Why there is no plan; None where there is one."""
    try:
        planned(*given)
    except UsageError as error:
        return str(error)
    return None


@settings(max_examples=150, deadline=None)
@given(sources(), NEEDS, DEVICES, HOSTS, COUNTS)
def test_all_that_is_planned_has_room(source, needs, device_memory, memory, workers):
    try:
        plan = planned(source, needs, device_memory, memory, workers)
    except UsageError:
        assume(False)
    there, rows = plan.device, plan.device.rows_bytes if plan.device.rows_resident else 0
    passing = there.slots * there.slot_bytes
    taken = there.shared_bytes + rows + there.step_bytes + passing + there.cache_bytes + there.pattern_bytes
    assert taken <= there.memory == device_memory
    assert not (workers and there.rows_resident)
    assert len(plan.shards) >= min(len(plan.bounds), workers)
    if memory is not None or workers:
        staging = there.pieces * there.piece_bytes + (there.readers - 1) * 3 * there.block_bytes
        assert staging + plan.cache_bytes <= plan.memory


@settings(max_examples=100, deadline=None)
@given(sources(), NEEDS, DEVICES, COUNTS)
def test_what_a_refusal_names_of_the_device_is_enough(source, needs, device_memory, workers):
    if said := refusal(source, needs, device_memory, 2**40, workers):
        assert "--device-memory" in said
        planned(source, needs, allowed(said), 2**40, workers)


@settings(max_examples=100, deadline=None)
@given(sources(), NEEDS, HOSTS)
def test_what_a_refusal_names_of_the_host_is_enough(source, needs, memory):
    if said := refusal(source, needs, 2**40, memory, 0):
        assert "--device-memory" not in said
        planned(source, needs, 2**40, allowed(said), 0)


@settings(max_examples=60, deadline=None)
@given(sources(), NEEDS, HOSTS, st.sampled_from([1, 2, 8]))
def test_what_refusals_name_of_a_worker_leads_to_enough(source, needs, memory, workers):
    for _ in range(5):  # larger memory has larger blocks, which take some more
        if not (said := refusal(source, needs, 2**40, memory, workers)):
            return
        assert allowed(said) > (memory or 0)
        memory = allowed(said)
    planned(source, needs, 2**40, memory, workers)


@pytest.mark.parametrize("size", [1, 1023, 1025, 2**20 + 1, int(2.14 * MIB), int(99.96 * MIB), 2**40 - 1, 3 * 2**41])
def test_a_size_that_is_enough_is_never_rounded_down(size):
    assert size <= parse_size(enough_text(size)) <= 1.2 * size + 1


def test_the_layout_of_an_earlier_run_is_kept():
    source = Told((20_000, 1000), "f4", None, 10)
    needs = {"width": 5, "elementwise": False, "forms_product": False, "groups": 4, "draws": True}
    earlier = Layout(2 * MIB, 8, 100, 0, 4, 3)
    for workers in (0, 2):
        plan = planned(source, needs, 2**33, 2**33, workers, earlier)
        kept = plan.layout
        assert (kept.target, kept.groups, kept.pool, kept.shards) == (2 * MIB, 4, 3, 8)
        assert kept.tile_rows is None


def test_data_larger_than_the_device_are_drawn_from_the_host():
    source = Told((20_000, 4000), "f4", None, 100)
    needs = {"width": 5, "elementwise": False, "forms_product": False, "draws": True}
    plan = planned(source, needs, 64 * MIB, 2**33, 0)
    assert not plan.device.resident
    assert plan.device.cache_bytes < plan.source_bytes
    assert plan.layout.target <= 64 * MIB
