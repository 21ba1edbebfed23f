"""The benchmarks against other software: workloads, judge, clock, solvers, report."""

from __future__ import annotations

import importlib
import json
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

FOLDER = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(FOLDER))  # as for the scripts themselves

workloads, course, solvers, report = map(importlib.import_module, ("workloads", "course", "solvers", "report"))

SHAPES = {
    "W1": (400, 40), "W2": (100, 40), "W3": (60, 30), "W4": (400, 200), "W5": (400, 200), "W6": (1797, 64),
    "W6kl": (1797, 64),
}  # fmt: skip


# --- workloads ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHAPES)
def test_a_workload_has_its_shape_and_a_start_of_its_size(name):
    work = workloads.make(name, dtype="float32", scale=0.02)
    m, n = SHAPES[name]
    assert (work.x.shape, work.w.shape, work.h.shape) == ((m, n), (m, work.rank), (work.rank, n))
    assert {work.x.dtype, work.w.dtype, work.h.dtype} == {np.dtype("float32")}
    assert sp.issparse(work.x) == (name in ("W4", "W5"))
    assert work.x.min() >= 0
    assert work.w.min() >= 0
    assert work.h.min() >= 0
    # The mean of |N(0, 1)| is √(2/π), so that W H has 2/π of the mean of X.
    assert np.mean(work.w @ work.h) == pytest.approx(2 / np.pi * work.x.mean(), rel=0.2)


def test_a_seed_makes_the_same_workload_again_and_another_one_another():
    first, same, other = (workloads.make("W2", seed, scale=0.02) for seed in (0, 0, 1))
    assert np.array_equal(first.x, same.x)
    assert np.array_equal(first.w, same.w)
    assert not np.array_equal(first.x, other.x)


def test_no_row_or_column_of_the_documents_is_empty():
    x = workloads.make("W4", scale=0.02).x
    assert x.getnnz(axis=0).min() > 0
    assert x.getnnz(axis=1).min() > 0


def test_rows_of_the_weighted_documents_have_norm_1():
    x = workloads.make("W5", scale=0.02).x
    np.testing.assert_allclose(np.sqrt(np.asarray(x.multiply(x).sum(axis=1))), 1)


@pytest.mark.parametrize("name", ["W2", "W4"])
def test_a_workload_comes_back_from_its_folder(name, tmp_path):
    work = workloads.make(name, dtype="float32", scale=0.02)
    workloads.save(work, tmp_path / name)
    back = workloads.load(tmp_path / name)
    assert (back.name, back.rank, back.beta) == (work.name, work.rank, work.beta)
    assert abs(back.x - work.x).max() == 0
    assert np.array_equal(back.w, work.w)


# --- the judge ------------------------------------------------------------------------------------------------

X = np.array([[2.0, 1.0], [0.0, 4.0]])
W, H = np.array([[1.0], [2.0]]), np.array([[1.0, 2.0]])  # W H = [[1, 2], [2, 4]]


def test_the_objective_is_that_computed_by_hand():
    assert workloads.objective(X, W, H, 2) == pytest.approx(0.5 * (1 + 1 + 4 + 0))
    # x log(x/y) − x + y, entry by entry
    assert workloads.objective(X, W, H, 1) == pytest.approx((2 * np.log(2) - 1) + (np.log(0.5) + 1) + 2 + 0)
    # x/y − log(x/y) − 1, with 1 in place of the zero
    assert workloads.objective(np.maximum(X, 1), W, H, 0) == pytest.approx(
        (2 - np.log(2) - 1) + 2 * (0.5 - np.log(0.5) - 1)
    )
    # (x³ + 2 y³ − 3 x y²) / 6
    assert workloads.objective(X, W, H, 3) == pytest.approx((4 + 5 + 16 + 0) / 6)


@pytest.mark.parametrize("beta", [1, 2])
def test_sparse_data_are_judged_as_dense_ones_and_in_any_blocks(beta):
    work = workloads.make("W4", scale=0.02)
    dense = workloads.objective(work.x.toarray(), work.w, work.h, beta)
    assert workloads.objective(work.x, work.w, work.h, beta) == pytest.approx(dense)
    assert workloads.objective(work.x, work.w, work.h, beta, block=7) == pytest.approx(dense)


def test_sparse_data_are_not_judged_where_zeros_need_the_product():
    with pytest.raises(ValueError, match="β 1 and 2"):
        workloads.objective(sp.csr_matrix(X), W, H, 0)


# --- solvers --------------------------------------------------------------------------------------------------


def followed(solver, work, tmp_path, most=12):
    """The curve of a solver up to `most` checkpoints."""
    on_course = course.Course(tmp_path, budget=60, most=most)
    with pytest.raises(course.Enough):
        solvers.find(solver).fit(work, 1, on_course)
    return on_course.judged(work)


@pytest.mark.parametrize(
    ("solver", "name"),
    [
        ("nmfkit", "W1"), ("nmfkit", "W2"), ("nmfkit", "W4"), ("nmfkit:mu", "W3"), ("nmfkit:hals", "W5"),
        ("sklearn-cd", "W1"), ("sklearn-mu", "W2"), ("sklearn-mu", "W4"),
    ],
)  # fmt: skip
def test_curves_of_solvers_fall_from_the_common_start(solver, name, tmp_path):
    work = workloads.make(name, dtype="float32", scale=0.02)
    curve = followed(solver, work, tmp_path)
    iterations, wall, _, values = zip(*curve, strict=True)
    assert iterations == (0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 29)
    assert values[0] == workloads.objective(work.x, work.w, work.h, work.beta)
    assert all(later < 1.01 * earlier for earlier, later in pairwise(values))
    assert values[-1] < 0.8 * values[0]
    assert all(later > earlier for earlier, later in pairwise(wall))


def test_checkpoints_of_nmfkit_hold_the_factors_of_their_sweep(tmp_path):
    import nmfkit

    work = workloads.make("W2", scale=0.02)
    curve = followed("nmfkit", work, tmp_path, most=5)
    result = nmfkit.fit(work.x, w=work.w, h=work.h, loss=work.loss, rank=work.rank, tol=0, max_sweeps=5)
    np.testing.assert_allclose([point[3] for point in curve[1:]], result.history.objective[1:])


def test_minibatches_are_fitted_anew_for_every_checkpoint(tmp_path):
    curve = followed("sklearn-minibatch", workloads.make("W1", scale=0.02), tmp_path, most=3)
    assert [point[0] for point in curve] == [0, 1, 2, 4]


def test_a_solver_says_what_it_does_not_do():
    counts, documents = (workloads.make(name, scale=0.02) for name in ("W2", "W4"))
    assert solvers.find("sklearn-cd").refuses(counts) == "it does not minimise kl"
    assert solvers.find("nn-fac-mu").refuses(documents) == "it takes no sparse matrix"
    assert solvers.find("nmfkit:mu").refuses(documents) is None
    assert solvers.Solver(print, ("no_such_module",)).missing() == ["no_such_module"]


def test_every_fit_has_a_process_and_leaves_a_line(tmp_path, monkeypatch, capsys):
    out = tmp_path / "curves.jsonl"
    asked = "--workload W2 --solver nmfkit sklearn-cd --scale 0.02 --budget 60 --most 3 --repeats 1 --out"
    monkeypatch.setattr(sys, "argv", ["against_peers.py", *asked.split(), str(out)])
    importlib.import_module("against_peers").main()
    (found,) = map(json.loads, out.read_text().splitlines())
    assert [point[0] for point in found["curve"]] == [0, 1, 2, 3]
    assert found["memory"]["peak"] >= found["memory"]["before"] > 0
    assert found["memory"]["data"] == 4 * 100 * 40
    assert "nmfkit" in found["versions"]
    assert capsys.readouterr().out.startswith("W2 nmfkit on 1 thread, 1.: 3 iterations")


# --- the report -----------------------------------------------------------------------------------------------


def record(solver, curve, *, threads=1, repeat=0, before=100, peak=150):
    return {
        "workload": "W2", "threads": threads, "solver": solver, "repeat": repeat, "dtype": "float32", "seed": 0,
        "scale": 1.0, "shape": [5000, 2000], "rank": 20, "loss": "kl", "stored": None, "curve": curve,
        "memory": {"before": before, "peak": peak, "elsewhere": 0, "data": 90, "factors": 10},
        "versions": {}, "machine": {"usable": 2, "processor": "some", "load": 0.0},
    }  # fmt: skip


OURS = [[0, 0, 0, 200.0], [1, 1.0, 0.9, 104.0], [3, 2.0, 1.8, 100.5], [5, 3.0, 2.7, 100.0]]
THEIRS = [[0, 0, 0, 200.0], [1, 2.0, 1.9, 150.0], [5, 6.0, 5.9, 104.9], [9, 10.0, 9.9, 101.0]]


def cells(table):
    return {row[0]: dict(zip(table.heads[1:], row[1:], strict=True)) for row in table.rows}


def test_the_report_compares_with_the_best_peer():
    times, costs = report.tables_of([record("nmfkit", OURS), record("torchnmf", THEIRS)])
    ours, theirs = times.rows
    assert ours == ["nmfkit", "1", "0.167×", "1", "2", "0.2×", "3", "3", "–", "5", "0 %", "1"]
    assert theirs == ["torchnmf", "6", "1×", "5", "10", "1×", "9", "–", "–", "–", "1 %", "1"]
    assert cells(costs)["nmfkit"] == {
        "ms/iteration": "500", "of floor": "–", "peak MB": "0.00015", "of data": "1.5×", "of 1 thread": "–",
    }  # fmt: skip
    assert cells(costs)["torchnmf"]["ms/iteration"] == "1,000"


def test_the_report_takes_medians_and_compares_threads():
    slower = [[i, 3 * wall, 3 * cpu, value] for i, wall, cpu, value in OURS]
    double = [[i, wall / 2, cpu, value] for i, wall, cpu, value in OURS]
    runs = [record("nmfkit", curve, repeat=i) for i, curve in enumerate((OURS, slower, slower))]
    found = report.tables_of([*runs, record("nmfkit", double, threads=2)])
    assert cells(found[0])["nmfkit"]["5 %: s"] == "3"
    assert cells(found[3])["nmfkit"]["of 1 thread"] == "6×"


def test_the_report_knows_the_floor():
    every = dict.fromkeys(("W H", "R Hᵀ", "Rᵀ W"), 4e10) | {"divide": 1e9}
    _, costs = report.tables_of(
        [record("nmfkit", OURS)], floors={"rates": {"float32": {"1": every}}}
    )  # four products of 0.4 GF and two divisions of 10 M entries: 60 ms
    assert cells(costs)["nmfkit"]["of floor"] == "8.33×"


def test_the_report_reads_files_and_writes_pages_and_pictures(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    lines = [json.dumps(r) for r in (record("nmfkit", OURS), record("torchnmf", THEIRS))]
    (tmp_path / "curves.jsonl").write_text("\n".join(lines) + "\n")
    page = tmp_path / "page.md"
    monkeypatch.setattr(
        sys, "argv", ["report.py", str(tmp_path / "curves.jsonl"), "--plots", str(tmp_path), "--markdown", str(page)]
    )
    report.main()
    assert "| torchnmf | 6 |" in page.read_text("utf-8")
    assert "torchnmf" in capsys.readouterr().out
    assert (tmp_path / "W2-1.svg").stat().st_size > 1000


def test_names_in_a_picture_do_not_overlap():
    pytest.importorskip("matplotlib")
    placed = importlib.import_module("plots").spread([0.1, 0.11, 0.5, 0.99, 0.995], space=0.1)
    assert min(np.diff(placed)) >= 0.1 - 1e-12
    assert max(placed) <= 1
