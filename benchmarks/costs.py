"""What one message, one task, one sum and one blob take, for the model of `model.py`."""

import time
from statistics import median

import numpy as np

from nmfkit.loop import concluded
from nmfkit.stats import add

REPEATS = 30


def seconds_of(action, repeats=REPEATS) -> float:
    """The median of `repeats` calls."""
    seconds = []
    for number in range(repeats):
        began = time.perf_counter()
        action(number)
        seconds.append(time.perf_counter() - began)
    return median(seconds)


def same(*given):
    """The task that does nothing."""
    return given[0] if given else None


def stamped(size):
    return np.ones(size // 8)


def size_of(array):
    return array.nbytes


def hop(client, length=20) -> float:
    """Seconds from the end of a task on one worker to the start of the one that waits for it on another."""
    workers = list(client.nthreads())

    def chain(_):
        future = client.submit(same, 0, pure=False)
        for i in range(length):
            future = client.submit(same, future, workers=[workers[i % len(workers)]], pure=False)
        future.result()

    return (seconds_of(chain, 7) - seconds_of(lambda _: client.submit(same, 0, pure=False).result(), 7)) / length


def network(client, size) -> float:
    """Bytes a second of an array of `size` bytes from one worker to another, besides what a small one takes."""
    one, other = list(client.nthreads())[:2]

    def fetched(size):
        seconds = []
        for _ in range(REPEATS):
            array = client.submit(stamped, size, workers=[one], pure=False)
            while not array.done():
                time.sleep(0.001)
            began = time.perf_counter()
            client.submit(size_of, array, workers=[other], pure=False).result()
            seconds.append(time.perf_counter() - began)
        return median(seconds)

    return size / max(1e-4, fetched(size) - fetched(8))


def blobs(client, blobs, state, rows) -> dict[str, float]:
    """Seconds to write or read a state (the mean of both), and to write, read and remove the rows of a block; on a
    worker."""
    return client.submit(_blobs, blobs, state, rows, pure=False).result()


def _blobs(blobs, state, rows):
    found = {
        "put state": seconds_of(lambda i: blobs.put_state(f"timed/state-{i}", state)),
        "get state": seconds_of(lambda i: blobs.get_state(f"timed/state-{i}")),
        "put rows": seconds_of(lambda i: blobs.put_rows(f"timed/rows-{i}", rows)),
        "get rows": seconds_of(lambda i: blobs.get_rows(f"timed/rows-{i}")),
        "delete": seconds_of(lambda i: blobs.delete(f"timed/rows-{i}")),
    }
    blobs.clear("timed")
    return found


def arithmetic(fit) -> dict[str, float]:
    """Seconds to add a byte of statistics to others, and to update the shared factors."""
    state = fit.executor.fetch(fit.state)
    _, stats = fit.executor.sweep(fit.model.local, fit.rows, state)
    total = np.ones(2**17)
    return {
        "add": seconds_of(lambda _: add(total, total)) / total.nbytes,
        "apply": seconds_of(lambda _: concluded(fit.model, state, stats)),
    }
