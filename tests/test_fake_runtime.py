"""The fake device finds every fault that a real one would answer with wrong numbers, and no other."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from nmfkit.testing.device import StrictArray
from nmfkit.testing.fake_runtime import FakeRuntime
from nmfkit.testing.ordering import DeviceFault

ROW = np.arange(4.0)
SIZE = ROW.nbytes
HELD = []
"""Page-locked memory of a test, which copies may use for as long as it lasts."""


@pytest.fixture
def runtime():
    with FakeRuntime(2**20) as fake, fake.active():
        yield fake
    HELD.clear()


@pytest.fixture
def queue(runtime):
    return runtime.queue()


def pinned(runtime, values=ROW):
    host = runtime.pinned(values.nbytes).view(values.dtype)
    host[:] = values
    HELD.append(host)
    return host


def buffer(runtime, queue, size=SIZE):
    """A buffer that `queue` may fill."""
    made = runtime.buffer(size)
    runtime.wait(queue, runtime.mark())
    return made


def filled(runtime, queue, host):
    """A buffer, what lies in it, and the mark after which it is there."""
    room = buffer(runtime, queue)
    there = room.view(0, host.shape, host.dtype)
    runtime.put(there, host, queue)
    return room, there, runtime.mark(queue)


def on_host(array):
    return array._host.copy()


# --- what is allowed -------------------------------------------------------------------------------------------


def test_sends_and_fetches(runtime):
    for host in (ROW, ROW.reshape(2, 2).T, ROW[::2], np.arange(3), np.zeros((0, 3))):
        there = runtime.send(host)
        assert runtime.holds(there)
        assert not runtime.holds(host)
        np.testing.assert_array_equal(runtime.fetch(there), host)
        assert there.dtype == host.dtype


def test_a_copy_goes_there_and_back(runtime, queue):
    _, there, arrived = filled(runtime, queue, pinned(runtime))
    runtime.wait(None, arrived)
    twice = 2 * there
    back = pinned(runtime, 0 * ROW)
    runtime.wait(queue, runtime.mark())
    runtime.take(back, twice, queue)
    runtime.settle(runtime.mark(queue))
    np.testing.assert_array_equal(back, 2 * ROW)


def test_a_ring_of_one_buffer_is_used_again(runtime, queue):
    host = pinned(runtime)
    room, there, arrived = filled(runtime, queue, host)
    sums = []
    for turn in range(3):
        runtime.wait(None, arrived)
        sums.append(there.sum())
        runtime.wait(queue, runtime.mark())
        runtime.settle(arrived)
        host[:] = ROW + turn
        runtime.put(there, host, queue)
        arrived = runtime.mark(queue)
    runtime.settle(arrived)
    room.free()
    assert [float(runtime.fetch(s)) for s in sums] == [6.0, 6.0, 10.0]


def test_reads_beside_each_other_are_none_of_its_business(runtime, queue):
    array = 2 * runtime.send(ROW)
    back = pinned(runtime)
    runtime.wait(queue, runtime.mark())
    runtime.take(back, array, queue)
    other = array + 1
    runtime.settle(runtime.mark(queue))
    assert float(runtime.fetch(other)[0]) == 1.0


def test_views_and_descriptions_are_no_uses(runtime, queue):
    array = 2 * runtime.send(ROW.reshape(2, 2))
    runtime.wait(queue, runtime.mark())
    looked_at = array[1:].T.reshape(2).ravel()
    assert (len(looked_at), np.shape(array), np.zeros_like(array).shape) == (2, (2, 2), (2, 2))
    back = pinned(runtime, np.zeros(2))
    runtime.take(back, looked_at, queue)
    array[:1] = 5.0  # beside what is being copied
    runtime.settle(runtime.mark(queue))
    np.testing.assert_array_equal(back, [4.0, 6.0])


def test_copies_of_one_queue_wait_for_those_of_another_and_for_each_other(runtime, queue):
    other = runtime.queue()
    host, again = pinned(runtime), pinned(runtime, ROW + 1)
    _, there, arrived = filled(runtime, queue, host)
    runtime.wait(other, arrived)
    runtime.put(there, again, other)
    runtime.wait(None, runtime.mark(other))
    np.testing.assert_array_equal(runtime.fetch(there), ROW + 1)


# --- memory ----------------------------------------------------------------------------------------------------


def test_memory_counts(runtime):
    held = runtime.buffer(1000)
    array = runtime.send(ROW)
    assert runtime.memory() == (2**20 - 1000 - SIZE, 2**20)
    result = array[:2] + 1
    assert runtime.taken == 1000 + SIZE + 16
    del array
    held.free()
    assert (runtime.taken, runtime.kept) == (16, 0)
    del result
    assert (runtime.taken, runtime.peak, runtime.kept_peak) == (0, 1000 + SIZE + 16, 1000 + SIZE)


@pytest.mark.parametrize("ask", ["buffer", "send", "compute"])
def test_there_is_no_more_than_there_is(runtime, ask):
    host, array = np.zeros(2**16), runtime.send(ROW)
    taken = runtime.taken
    asking = {
        "buffer": lambda: runtime.buffer(2**20),
        "send": lambda: [runtime.send(host) for _ in range(3)],
        "compute": lambda: np.zeros_like(array, shape=(2**18,)),
    }
    with pytest.raises(MemoryError, match="left"):
        asking[ask]()
    assert runtime.taken == taken


def test_a_view_lies_in_its_buffer(runtime):
    held = runtime.buffer(SIZE)
    assert held.view(SIZE, (0, 3), float).shape == (0, 3)
    for offset, shape in ((8, (4,)), (-8, (1,)), (0, (5,))):
        with pytest.raises(DeviceFault, match="of a buffer of 32"):
            held.view(offset, shape, float)
    with pytest.raises(DeviceFault, match="begins at byte 4"):
        held.view(4, (1,), float)


@pytest.mark.parametrize("use", [lambda a: a + 1, lambda a: a.sum(), lambda a: a[a > 0], lambda a: a.fill(1.0)])
def test_memory_given_back_is_not_used(runtime, use):
    held = runtime.buffer(SIZE)
    array = held.view(0, (4,), float)
    held.free()
    with pytest.raises(DeviceFault, match="given back"):
        use(array)
    assert np.isnan(on_host(array)).all()
    for ask in (lambda: held.view(0, (4,), float), held.free, lambda: runtime.fetch(array)):
        with pytest.raises(DeviceFault, match="given back"):
            ask()


def test_memory_is_not_given_back_while_a_copy_may_use_it(runtime, queue):
    room, there, arrived = filled(runtime, queue, pinned(runtime))
    with pytest.raises(DeviceFault, match="freed, and the copies"):
        room.free()
    runtime.wait(None, arrived)
    assert there.shape == (4,)
    room.free()


def test_an_array_is_not_let_go_while_a_copy_may_use_it(runtime, queue):
    array, back = 2 * runtime.send(ROW), pinned(runtime)
    runtime.wait(queue, runtime.mark())
    runtime.take(back, array, queue)
    del array
    with pytest.raises(DeviceFault, match="let go"):
        runtime.mark()


def test_new_memory_may_be_what_computations_still_use(runtime, queue):
    there = runtime.buffer(SIZE).view(0, (4,), float)
    with pytest.raises(DeviceFault, match="not waited for the computations"):
        runtime.put(there, pinned(runtime), queue)


# --- waiting ---------------------------------------------------------------------------------------------------


def test_what_is_not_waited_for_is_poison_and_may_not_be_used(runtime, queue):
    _, there, arrived = filled(runtime, queue, pinned(runtime))
    assert np.isnan(on_host(there)).all()
    with pytest.raises(DeviceFault, match="read by the computations"):
        np.square(there)
    runtime.wait(queue, arrived)  # the queue, not the computations
    with pytest.raises(DeviceFault, match="not waited for the copies"):
        runtime.fetch(there)
    runtime.wait(None, arrived)
    np.testing.assert_array_equal(on_host(there), ROW)


def test_integers_are_poisoned_too(runtime, queue):
    _, there, _ = filled(runtime, queue, pinned(runtime, np.arange(4)))
    assert (on_host(there) == -1).all()


def test_what_comes_back_is_poison_until_it_is_settled(runtime, queue):
    array, back = 2 * runtime.send(ROW), pinned(runtime)
    runtime.wait(queue, runtime.mark())
    runtime.take(back, array, queue)
    arrived = runtime.mark(queue)
    runtime.wait(None, arrived)
    assert np.isnan(back).all()
    runtime.settle(arrived)
    np.testing.assert_array_equal(back, 2 * ROW)


def test_a_buffer_is_not_filled_while_computations_may_use_it(runtime, queue):
    host = pinned(runtime)
    _, there, arrived = filled(runtime, queue, host)
    runtime.wait(None, arrived)
    early = runtime.mark()
    assert (2 * there).shape == (4,)
    runtime.wait(queue, early)
    with pytest.raises(DeviceFault, match="written to by the copies"):
        runtime.put(there, host, queue)
    runtime.wait(queue, runtime.mark())
    runtime.put(there, host, queue)


def test_a_result_is_not_taken_before_it_is_there(runtime, queue):
    array, back = 2 * runtime.send(ROW), pinned(runtime)
    with pytest.raises(DeviceFault, match="read by the copies"):
        runtime.take(back, array, queue)


@pytest.mark.parametrize(
    "change", [lambda a: a.fill(0.0), lambda a: a.__setitem__(0, 1.0), lambda a: np.add(a, 1, out=a)]
)
def test_an_array_does_not_change_while_it_is_taken(runtime, queue, change):
    array, back = 2 * runtime.send(ROW), pinned(runtime)
    runtime.wait(queue, runtime.mark())
    runtime.take(back, array, queue)
    with pytest.raises(DeviceFault, match="written to by the computations"):
        change(array)
    runtime.settle(runtime.mark(queue))
    change(array)


@pytest.mark.parametrize("waits", [False, True])
def test_page_locked_memory_does_not_change_before_its_copy_is_settled(runtime, queue, waits):
    host = pinned(runtime)
    _, there, arrived = filled(runtime, queue, host)
    if waits:
        runtime.wait(None, arrived)  # which the host does not know to be over
    host[:] = 7
    with pytest.raises(DeviceFault, match="page-locked memory was changed"):  # noqa: PT012  # at the next call
        runtime.settle(arrived)
        runtime.mark()
    assert (on_host(there) == (ROW if waits else 7)).all()


def test_a_change_is_found_at_the_latest_when_the_device_is_left():
    fake = FakeRuntime()
    with pytest.raises(DeviceFault, match="was changed"), fake:  # noqa: PT012  # the end of the block is what raises
        with fake.active():
            host = pinned(fake)
            filled(fake, fake.queue(), host)
        host[:] = 7


def test_page_locked_memory_is_not_let_go_before_its_copy_is_settled(runtime, queue):
    filled(runtime, queue, pinned(runtime))
    HELD.clear()
    with pytest.raises(DeviceFault, match="page-locked memory was let go"):
        runtime.mark()


@pytest.mark.parametrize(
    ("target", "host"),
    [((4,), lambda r: ROW.copy()), ((2, 2), pinned), ((2,), lambda r: pinned(r)[::2])],
    ids=["not page-locked", "of another shape", "with gaps"],
)
def test_odd_copies_are_refused(runtime, queue, target, host):
    there = buffer(runtime, queue).view(0, target, float)
    with pytest.raises(DeviceFault, match=r"page-locked|in one copy|contiguous"):
        runtime.put(there, host(runtime), queue)


# --- numbers ---------------------------------------------------------------------------------------------------

NUMBERS = {
    "float": lambda a: float(a[0]),
    "int": lambda a: int(a[0]),
    "bool": lambda a: bool(a[0] > 0),
    "item": lambda a: a[0].item(),
    "tolist": lambda a: a.tolist(),
    "get": lambda a: a.get(),
    "mask": lambda a: a[a > 1],
    "nonzero": np.nonzero,
    "its method": lambda a: a.nonzero(),
}


@pytest.mark.parametrize("what", NUMBERS)
def test_numbers_are_for_steps(runtime, what):
    array = runtime.send(ROW)
    with runtime.stepping():
        NUMBERS[what](array)
    assert runtime.count("number") == 1
    with pytest.raises(DeviceFault, match="waits for the device"):
        NUMBERS[what](array)


def test_a_number_settles_what_came_before(runtime, queue):
    host = pinned(runtime)
    _, there, arrived = filled(runtime, queue, host)
    runtime.wait(None, arrived)
    with runtime.stepping():
        assert float(there.sum()) == 6.0
    host[:] = 7  # nothing reads it any more


# --- threads ---------------------------------------------------------------------------------------------------


def in_thread(function):
    found = []

    def run():
        try:
            found.append(function())
        except BaseException as error:  # whatever it is, the test is to see it
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize(
    "use",
    [
        lambda r, a: a + 1,
        lambda r, a: r.fetch(a),
        lambda r, a: r.send(ROW),
        lambda r, a: r.memory(),
        lambda r, a: r.mark(),
        lambda r, a: r.pinned(1),
        lambda r, a: StrictArray(ROW),
    ],
)
def test_a_thread_says_that_it_uses_the_device(runtime, use):
    array = runtime.send(ROW)
    error = in_thread(lambda: use(runtime, array))
    assert isinstance(error, DeviceFault)
    assert "not active" in str(error)

    def actively():
        with runtime.active():
            use(runtime, array[:0] if use(runtime, array) is None else array)

    runtime.settle(runtime.mark())
    assert in_thread(actively) is None


def test_threads_wait_for_each_other(runtime):
    array = runtime.send(ROW)

    def early():
        with runtime.active():
            return array + 1

    def late():
        with runtime.active():
            runtime.wait(None, made)
            return array + 1, runtime.mark()

    assert "not waited for the computations" in str(in_thread(early))
    made = runtime.mark()
    result, mark = in_thread(late)
    with pytest.raises(DeviceFault, match="not waited for"):
        runtime.fetch(result)
    runtime.wait(None, mark)
    np.testing.assert_array_equal(runtime.fetch(result), ROW + 1)


# --- the record ------------------------------------------------------------------------------------------------


def test_calls_are_recorded(runtime, queue):
    room, there, arrived = filled(runtime, queue, pinned(runtime))
    with runtime.stepping():
        runtime.send(ROW)
    runtime.wait(None, arrived)
    runtime.fetch(there)
    room.free()
    assert (runtime.bytes_of("put"), runtime.bytes_of("send", "fetch"), runtime.count("free")) == (SIZE, 2 * SIZE, 1)
    kinds = [call.kind for call in runtime.calls]
    assert kinds == ["pinned", "buffer", "wait", "put", "step", "send", "stepped", "wait", "fetch", "free"]
    assert [call.in_flight for call in runtime.calls if call.kind in ("step", "fetch")] == [1, 0]
    assert {call.queue for call in runtime.calls if call.kind == "put"} == {queue}
