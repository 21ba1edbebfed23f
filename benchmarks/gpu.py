"""What nmfkit makes of a GPU: its ceilings, every kernel, sweeps of the workloads, a matrix larger than its memory.

python benchmarks/gpu.py --check --out gpu.json
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict
from pathlib import Path

import gpu_ceilings
import gpu_fits
import gpu_kernels
import machine
from gpu_clock import Gpu, Rehearsal, Row, cells, told
from tables import NOTHING, Table, number

PARTS = ("ceilings", "kernels", "sweeps", "store")
ROOT = Path(__file__).resolve().parents[1]
HEADS = ("part", "what", "dtype", *cells(Row("", "")), "note")


# --- the tests ----------------------------------------------------------------------------------------------------


def checked(processes, more) -> list[Row]:
    """How many tests of a real GPU pass, and which do not."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        asked = [sys.executable, "-m", "pytest", "-m", "gpu", "-n", str(processes), f"--junit-xml={report}", *more]
        began = time.perf_counter()
        ended = subprocess.run(asked, cwd=ROOT, check=False)
        seconds = time.perf_counter() - began
        if not report.exists():
            return [Row("test", "pytest -m gpu", note=f"did not run: exit status {ended.returncode}")]
        return counted(ElementTree.parse(report).getroot(), seconds)


def counted(report, seconds) -> list[Row]:
    """The rows of a report in JUnit's format."""
    cases = list(report.iter("testcase"))
    ends = {kind: [c for c in cases if c.find(kind) is not None] for kind in ("failure", "error", "skipped")}
    failed = ends["failure"] + ends["error"]
    passed = len(cases) - len(failed) - len(ends["skipped"])
    note = f"{passed} passed, {len(failed)} failed, {len(ends['skipped'])} skipped"
    rows = [Row("test", "pytest -m gpu", seconds=seconds, note=note)]
    return rows + [Row("test", f"{c.get('classname')}::{c.get('name')}", note="failed") for c in failed]


# --- the measurements ---------------------------------------------------------------------------------------------


def measured(gpu, given) -> list[Row]:
    """The rows of all parts asked for; floors come from the ceilings, which are always measured."""
    shapes = gpu_fits.shapes(given.workload, given.scale)
    rows = gpu_ceilings.copies(gpu, given.copied)
    for dtype in given.dtype:
        rows += gpu_ceilings.products(gpu, shapes if "ceilings" in given.only else [], dtype, given.square)
    tell(rows)
    if "kernels" in given.only:
        bandwidth = gpu_ceilings.bandwidth(rows)
        for dtype in given.dtype:
            for name in gpu_kernels.CASES:
                rows.append(gpu_kernels.timed(gpu, name, dtype, bandwidth, given.shrunk))
                tell(rows[-1:])
    if "sweeps" in given.only:
        for name in given.workload:
            for row in gpu_fits.sweeps(gpu, name, given, rows):
                rows.append(row)
                tell([row])
    if "store" in given.only:
        try:
            rows += gpu_fits.out_of_core(gpu, given, rows)
        except Exception as error:  # what came before is still to be shown
            rows.append(told("store", "out of core", error))
        tell(rows[-4:])
    return rows


def tell(rows):
    """A line each as they come, on standard error: the table comes at the end."""
    for row in rows:
        numbers = ", ".join(f"{head} {number(value)}" for head, value in cells(row).items() if value is not None)
        print(f"{row.part}: {row.what} {row.dtype}: {numbers or row.note}", file=sys.stderr, flush=True)


def table(rows, title) -> Table:
    """All of it; columns in which nothing stands are left out."""
    texts = [[row.part, row.what, row.dtype, *map(number, cells(row).values()), row.note] for row in rows]
    some = [i for i, head in enumerate(HEADS) if any(text[i] not in ("", NOTHING) for text in texts) or head == "ms"]
    return Table(title, tuple(HEADS[i] for i in some), [[text[i] for i in some] for text in texts])


def plain_text(table) -> str:
    """The table for a page of text: columns aligned, whatever it is written to."""
    cells = [table.heads, *table.rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(table.heads))]
    left = {i for i, head in enumerate(table.heads) if head in ("part", "what", "dtype", "note")}
    lines = [
        "  ".join(c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in cells
    ]
    return "\n".join([table.title, "", *(line.rstrip() for line in lines)])


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="run the tests marked gpu first")
    parser.add_argument("--processes", default="8", help="of those tests (8)")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS, help="parts to measure; none: ceilings")
    parser.add_argument("--workload", nargs="+", choices=gpu_fits.WORKLOADS, default=list(gpu_fits.WORKLOADS))
    parser.add_argument("--dtype", nargs="+", choices=("float32", "float64"), default=["float32", "float64"])
    parser.add_argument("--scale", type=float, default=4.0, help="of both sides of the workloads (4)")
    parser.add_argument("--sweeps", type=int, default=20, help="timed sweeps of each fit (20)")
    parser.add_argument("--cpu-sweeps", type=int, default=3, help="timed sweeps on the processors (3); 0: none")
    parser.add_argument("--size", default="8GiB", help="of the matrix in a store (8GiB)")
    parser.add_argument("--device-memory", default="2GiB", help="that a fit of it may use (2GiB)")
    parser.add_argument("--memory", default="4GiB", help="of the host that it may use (4GiB)")
    parser.add_argument("--folder", type=Path, help="where that matrix is written (a temporary folder)")
    parser.add_argument("--rehearse", action="store_true", help="NumPy and processors in place of a GPU, tiny sizes")
    parser.add_argument("--out", type=Path, help="every number, as JSON")
    return parser


def settled(given):
    """Sizes that are no options of their own."""
    given.copied, given.square, given.shrunk = 2**30, gpu_ceilings.SQUARE, 1.0
    if given.rehearse:
        given.copied, given.square, given.shrunk = 2**20, 64, 0.01
        given.scale, given.size, given.sweeps, given.cpu_sweeps = min(given.scale, 0.02), "8MiB", 2, 1
        given.memory = "1GiB"
    given.device = None if given.rehearse else "gpu"
    return given


def main(arguments=None, more=()):
    given = settled(options().parse_args(arguments))
    rows = checked(given.processes, more) if given.check else []
    gpu = Rehearsal() if given.rehearse else Gpu()
    rows += measured(gpu, given)
    print(plain_text(table(rows, f"nmfkit on {gpu.name}, workloads at scale {given.scale:g}")))
    if given.out:
        facts = {"gpu": gpu.facts, "machine": machine.facts(), "versions": machine.versions(["cupy", "torchnmf"])}
        found = [asdict(row) | {"cells": cells(row)} for row in rows]
        given.out.write_text(json.dumps({**facts, "scale": given.scale, "rows": found}, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
