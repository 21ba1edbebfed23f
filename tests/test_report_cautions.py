"""What the report says before anything else: each caution where it is due, and none where it is not."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from pages import check, matrix

import nmfkit
from nmfkit.clustering import agreement
from nmfkit.errors import Interrupted
from nmfkit.loop import Watcher
from nmfkit.report import write_report
from nmfkit.report.cautions import cautions
from nmfkit.report.figures.samples import sample_map
from nmfkit.report.labels import MOST
from nmfkit.report.study import study


def test_dead_and_twin_components_are_named():
    x = matrix(20, 9)
    h = np.vstack([x[0], x[0] * 1.001, x[5], np.zeros(9)]) + 0.0
    result = nmfkit.fit(x, rank=4, rule="hals", w=np.ones((20, 4)), h=h, max_sweeps=0)
    found = study(result)
    told = {c.kind: c.text for c in cautions(found)}
    assert "component 4 is all zero" in told["dead"]
    assert found.main.order[3] == 3
    at = sorted(found.main.order.tolist().index(k) + 1 for k in (0, 1))
    assert f"{at[0]} and {at[1]} (1.00)" in told["twins"]
    assert "in memory" in told["no-data"]


def test_a_penalty_on_one_factor_is_a_caution():
    result = nmfkit.fit(matrix(20, 9), rank=2, reg_h=["l1:0.1"], max_sweeps=3)
    told = {c.kind: c.text for c in cautions(study(result))}
    assert "Only H is penalised (l1:0.1)" in told["one-sided"]
    both = nmfkit.fit(matrix(20, 9), rank=2, reg_h=["l1:0.1"], reg_w=["l2:0.1"], max_sweeps=3)
    assert "one-sided" not in {c.kind for c in cautions(study(both))}
    fixed = nmfkit.fit(matrix(20, 9), rank=2, loss="kl", reg_h=["sum-to-one", "l2:0.1"], max_sweeps=3)
    assert "one-sided" not in {c.kind for c in cautions(study(fixed))}


def test_a_hidden_row_is_a_caution_and_counts_for_nothing(tmp_path):
    x, mask = matrix(20, 9), np.ones((20, 9))
    mask[4] = 0
    mask[7, 2] = 0
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "mask.npy", mask)
    nmfkit.fit(tmp_path / "x.npy", rank=3, mask=str(tmp_path / "mask.npy"), max_sweeps=20, out=tmp_path / "hidden.zarr")
    found = study(tmp_path / "hidden.zarr")
    assert found.residuals.rows.hidden == 1
    assert "1 of 20 rows of the data are wholly hidden" in {c.kind: c.text for c in cautions(found)}["hidden-rows"]
    result = nmfkit.load(tmp_path / "hidden.zarr")
    error = np.linalg.norm(mask * (x - result.w @ result.h)) / np.linalg.norm(mask * x)
    assert found.residuals.error == pytest.approx(error, rel=1e-10)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_what_rounding_leaves_is_no_caution(shape, tmp_path):
    np.save(tmp_path / "x.npy", matrix(*shape, rank=1))
    nmfkit.fit(tmp_path / "x.npy", rank=1, out=tmp_path / "a.zarr")
    write_report(tmp_path / "a.zarr", tmp_path / "a.html")
    check(tmp_path / "a.html")
    assert cautions(study(tmp_path / "a.zarr")) == []
    assert "−0.0 %" not in (tmp_path / "a.html").read_text()


def test_an_objective_that_rose_is_a_caution():
    result = nmfkit.fit(matrix(30, 9), rank=2, max_sweeps=3)
    first = result.state.history[0]
    risen = replace(result.state.history[-1], objective=2 * first.objective)
    state = replace(result.state, history=(*result.state.history[:-1], risen))
    assert "rose" in [c.kind for c in cautions(study(replace(result, state=state)))]


def test_ten_sweeps_never_lower_the_objective_by_more_than_it_was():
    result = nmfkit.fit(matrix(30, 9), rank=2, tol=0, max_sweeps=12)
    objective = result.history.objective
    assert objective[1] > 2 * objective[-1]  # or this shows nothing
    first = next(c for c in cautions(study(result)) if c.kind == "not-converged")
    part = 100 * (1 - objective[-1] / objective[-11])
    told = float(re.search(r"lowered the objective by ([\d.]+) %", first.text).group(1))
    assert told == pytest.approx(part, abs=0.5)


def test_a_consensus_is_no_fit_that_did_not_converge(tmp_path):
    np.save(tmp_path / "x.npy", matrix(30, 12))
    made = nmfkit.consensus(tmp_path / "x.npy", 3, replicates=4, max_sweeps=50, out=tmp_path / "c.zarr")
    found = study(tmp_path / "c.zarr")
    told = cautions(found)
    assert told[0].kind == "consensus"
    assert not [c for c in told if c.command]
    write_report(tmp_path / "c.zarr", tmp_path / "c.html")
    check(tmp_path / "c.html")
    text = (tmp_path / "c.html").read_text()
    assert "Convergence" not in text
    assert "max-sweeps" not in text
    for size, width in zip(made.clusters.sizes, made.clusters.silhouette, strict=True):
        assert f'<td class="n">{size}</td><td class="n">{width:.2f}</td>' in text
    about = {**made.result.attributes["consensus"], "sizes": [4, 4, 1], "dropped": 3}
    other = study(replace(made.result, attributes={**made.result.attributes, "consensus": about}))
    assert [c.kind for c in cautions(other)][:3] == ["consensus", "dropped", "rare"]
    nmfkit.resume(tmp_path / "c.zarr", max_sweeps=2)
    assert "consensus" not in [c.kind for c in cautions(study(tmp_path / "c.zarr"))]
    assert "not-converged" in [c.kind for c in cautions(study(tmp_path / "c.zarr"))]


def test_pooled_labels_do_not_catch_the_eye(tmp_path):
    np.save(tmp_path / "x.npy", matrix(60, 9))
    nmfkit.fit(tmp_path / "x.npy", rank=3, out=tmp_path / "a.zarr", max_sweeps=10)
    (tmp_path / "labels.txt").write_text("".join(f"{i // 2 if i < 40 else i}\n" for i in range(60)))
    found = study(tmp_path / "a.zarr", labels=str(tmp_path / "labels.txt"))
    points = {c.get_label(): c for c in sample_map(found, found.main).axes[0].collections}
    assert len(points) == MOST
    assert np.ptp(points["all others"].get_facecolor()[0][:3]) == 0  # grey
    assert points["all others"].get_zorder() < min(c.get_zorder() for n, c in points.items() if n != "all others")


def test_other_data_are_no_reason_to_fit_anew(tmp_path):
    np.save(tmp_path / "x.npy", matrix(30, 9))
    nmfkit.fit(tmp_path / "x.npy", rank=2, out=tmp_path / "a.zarr")
    np.save(tmp_path / "x.npy", matrix(30, 9, seed=1))
    told = next(c.text for c in cautions(study(tmp_path / "a.zarr")) if c.kind == "no-data")
    assert told.endswith("are not those that the run was fitted to (30 × 9).")


@pytest.mark.parametrize("labels", ["a\n" * 10 + "\n" * 10, "".join(f"{i}\n" for i in range(200)), "\n" * 7])
def test_every_label_counts_and_no_blank_one(labels, tmp_path):
    count = len(labels.splitlines())
    np.save(tmp_path / "x.npy", matrix(count, 9))
    nmfkit.fit(tmp_path / "x.npy", rank=2, out=tmp_path / "a.zarr", max_sweeps=30)
    (tmp_path / "labels.txt").write_text(labels)
    made = write_report(tmp_path / "a.zarr", tmp_path / "a.html", labels=str(tmp_path / "labels.txt"))
    check(tmp_path / "a.html")
    run = nmfkit.load(tmp_path / "a.zarr")
    leading = np.argmax(run.w * run.h.sum(axis=1), axis=1)
    if made["labels"] is None:
        assert not labels.strip()
        return
    found = agreement(leading, labels.splitlines())
    measures = {"accuracy": found.accuracy, "nmi": found.nmi, "adjusted_rand": found.ari, "purity": found.purity}
    assert made["labels"] == measures
    assert found.compared == sum(map(bool, labels.splitlines()))


class Stops(Watcher):
    def sweep(self, state):
        if state.sweep == 14:
            raise KeyboardInterrupt


def test_an_interrupted_run_is_shown_as_its_last_checkpoint(tmp_path):
    np.save(tmp_path / "x.npy", matrix(30, 9))
    with pytest.raises(Interrupted):
        nmfkit.fit(tmp_path / "x.npy", rank=2, tol=0, out=tmp_path / "a.zarr", watcher=Stops(), checkpoint_every=5)
    found = study(tmp_path / "a.zarr")
    first = cautions(found)[0]
    assert (first.kind, first.command) == ("interrupted", f"nmfkit resume {tmp_path / 'a.zarr'}")
    write_report(tmp_path / "a.zarr", tmp_path / "a.html")
    check(tmp_path / "a.html")
