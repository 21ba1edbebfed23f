"""The benchmark of a GPU, rehearsed without one: kernels have cases, parts have rows, floors are those counted."""

from __future__ import annotations

import importlib
import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from on_gpu import BENCHMARKS

from nmfkit import kernels

assert BENCHMARKS
gpu, gpu_kernels, gpu_fits, workloads, clock = map(
    importlib.import_module, ("gpu", "gpu_kernels", "gpu_fits", "workloads", "gpu_clock")
)


def test_every_kernel_of_the_table_has_a_case():
    rows = [line.split("`")[1] for line in kernels.__doc__.splitlines() if line.startswith("| `")]
    assert {row.partition("(")[0] for row in rows} == {name.partition(" ")[0] for name in gpu_kernels.CASES}


@pytest.mark.parametrize("name", gpu_kernels.CASES)
def test_cases_give_on_the_host_what_they_mean(name):
    case = gpu_kernels.CASES[name]
    arguments = case.make(np.random.default_rng(0), gpu_kernels.Size(12, 9, 3, "float64", 0.5))
    expected = case.exact(*gpu_kernels.widened(arguments))
    for found, other in zip(case.run(*arguments), expected, strict=True):
        assert (found is None) == (other is None)
        if found is not None:
            np.testing.assert_allclose(found, other, rtol=1e-6, atol=1e-6)


def test_a_rehearsal_fills_the_table(tmp_path, capsys):
    out = tmp_path / "gpu.json"
    gpu.main(["--rehearse", "--workload", "W2", "W4", "--dtype", "float32", "--out", str(out)])
    printed = capsys.readouterr().out
    rows = json.loads(out.read_text())["rows"]
    assert {row["part"] for row in rows} == {"ceiling", "kernel", "sweep", "store"}
    assert [row["what"] for row in rows if row["note"] and row["part"] != "store"] == []
    assert all(row["seconds"] > 0 for row in rows)
    assert all(row["what"] in printed for row in rows)


def test_a_table_ends_with_what_failed():
    report = ElementTree.fromstring(
        "<testsuites><testsuite><testcase classname='a' name='b'/>"
        "<testcase classname='a' name='c'><failure/></testcase>"
        "<testcase classname='a' name='d'><skipped/></testcase></testsuite></testsuites>"
    )
    first, failed = gpu.counted(report, 2.0)
    assert first.note == "1 passed, 1 failed, 1 skipped"
    assert (failed.what, failed.note) == ("a::c", "failed")


def test_floors_count_each_factor():
    work = workloads.make("W2", dtype="float32", scale=0.02)  # 100 × 40, rank 20
    moved, done = gpu_fits.steps(work)[0]
    assert moved == 4 * (100 * 40 + 2 * 140 * 20)
    assert done == 2 * 2 * 100 * 40 * 20
    ceilings = [
        clock.Row("ceiling", "copy on the GPU", seconds=1.0, bytes=1e6),
        clock.Row("ceiling", "GEMM", "float32", 1.0, flops=1e6),
    ]
    assert gpu_fits.floor(work, ceilings) == pytest.approx(2 * done / 1e6)
