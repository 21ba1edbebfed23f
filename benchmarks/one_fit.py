"""One fit of one solver, in a process of its own; `against_peers.py` starts it.

python benchmarks/one_fit.py '{"solver": …, "folder": …, "threads": 1, "budget": 10, "most": 60, "result": …}'
"""

import contextlib
import importlib
import json
import sys
import tempfile
from pathlib import Path

import machine
import memory
import scipy.sparse as sp
from course import Course, Enough
from solvers import find
from workloads import load


def main():
    asked = json.loads(sys.argv[1])
    solver = find(asked["solver"])
    work = load(asked["folder"])
    if missing := solver.missing():
        found = {"skipped": f"{', '.join(missing)} is not installed"}
    else:
        found = measure(solver, work, asked["threads"], asked["budget"], asked["most"])
    Path(asked["result"]).write_text(json.dumps(found))


def measure(solver, work, threads, budget, most) -> dict:
    """The curve of a fit, and the memory that it took.

    A fit up to its first checkpoint comes before, for all that is imported and compiled.
    """
    for module in solver.modules:
        importlib.import_module(module)
    began = machine.facts()
    with tempfile.TemporaryDirectory() as folder:
        run(solver, work, threads, Course(f"{folder}/warm", budget, most=1))
        from_now = memory.settle()
        before = memory.resident()
        course = Course(f"{folder}/timed", budget, most)
        run(solver, work, threads, course)
        taken = {"before": before, "peak": memory.peak(), "from_now": from_now, "elsewhere": course.peak_elsewhere}
        curve = course.judged(work)
    return {
        "curve": curve,
        "memory": taken | {"data": size_of(work.x), "factors": work.w.nbytes + work.h.nbytes},
        "versions": machine.versions(solver.modules) | solver.versions_in_r(),
        "machine": began,
    }


def run(solver, work, threads, course):
    """The fit, until the course has enough."""
    course.restart()
    with contextlib.suppress(Enough):
        solver.fit(work, threads, course)


def size_of(x) -> int:
    return x.data.nbytes + x.indices.nbytes + x.indptr.nbytes if sp.issparse(x) else x.nbytes


if __name__ == "__main__":
    main()
