"""The course of one fit: a clock that stands still while the factors of a checkpoint are put aside.

They are judged when the fit is over, so that computing objectives disturbs neither its time nor its memory.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from workloads import objective


class Enough(Exception):
    """Raised inside a solver to end its fit: its time is up."""


def marks(first=1, growth=1.3) -> Iterator[int]:
    """The iterations at which factors are put aside: each of the first few, then about `growth` times as many."""
    iterations = first
    while True:
        yield iterations
        iterations = max(iterations + 1, round(growth * iterations))


class Course:
    """Checkpoints of a fit that may take `budget` seconds, and at most `most` of them; they lie in `folder`."""

    def __init__(self, folder, budget, most):
        self.folder, self.budget, self.most = Path(folder), budget, most
        self.folder.mkdir(parents=True, exist_ok=True)
        self.peak_elsewhere = 0
        self.points: list[tuple[int, float, float]] = []
        self.restart()

    def restart(self):
        """Let the clock run from nothing, for a fit that begins anew."""
        self.wall = self.cpu = 0.0
        self._run()

    def reached(self, iterations, w, h, wall=None, cpu=None, peak=0):
        """Put W and H after `iterations` aside.

        A solver in another process has its own `wall` and `cpu` clocks, and the `peak` of its memory.
        """
        self._hold()
        self.peak_elsewhere = max(self.peak_elsewhere, peak)
        if wall is not None:
            self.wall, self.cpu = wall, cpu
        np.save(self._file("w", len(self.points)), w)
        np.save(self._file("h", len(self.points)), h)
        self.points.append((iterations, self.wall, self.cpu))
        if self.wall >= self.budget or len(self.points) >= self.most:
            raise Enough
        self._run()

    def judged(self, work) -> list[list[float]]:
        """[iterations, wall, CPU seconds, objective] at the start and at every checkpoint."""
        curve = [[0, 0.0, 0.0, objective(work.x, work.w, work.h, work.beta)]]
        for number, point in enumerate(self.points):
            w, h = (np.load(self._file(name, number)) for name in "wh")
            curve.append([*point, objective(work.x, w, h, work.beta)])
        return curve

    def _file(self, name, number):
        return self.folder / f"{name}-{number}.npy"

    def _run(self):
        self._began = time.perf_counter(), time.process_time()

    def _hold(self):
        self.wall += time.perf_counter() - self._began[0]
        self.cpu += time.process_time() - self._began[1]
