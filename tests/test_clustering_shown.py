"""Clusters in exports, scores and pages are those of the labels, and components of either sign are shown as such."""

from __future__ import annotations

import csv
import io
import json
import re
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from pages import check
from typer.testing import CliRunner

import nmfkit
from nmfkit.blocks import CSR, Dense
from nmfkit.cli.app import app
from nmfkit.cli.progress import Quiet
from nmfkit.cli.sparkline import decreases
from nmfkit.clustering.assignments import clusters, parts
from nmfkit.errors import UsageError
from nmfkit.report import write_picture, write_report
from nmfkit.report.clusters import Clusters, crossed
from nmfkit.report.clusters import clusters as group
from nmfkit.report.figures.convergence import gains
from nmfkit.report.figures.ordered import APART, ordered, told
from nmfkit.report.figures.style import drawing, rendered
from nmfkit.report.study import study
from nmfkit.score import score
from nmfkit.stopping import gain
from nmfkit.watch import look

SIZES = (8, 7, 5)
NAMES = [f"node {i}" for i in range(sum(SIZES) + 1)]
"""Three groups, and a node without an edge."""


def graph():
    rng = np.random.default_rng(1)
    groups = np.repeat(range(3), SIZES)
    inside = groups[:, None] == groups[None, :]
    upper = np.triu(np.where(inside, rng.random((20, 20)) + 0.5, 0.3 * (rng.random((20, 20)) < 0.1)), 1)
    a = np.zeros((21, 21))
    a[:20, :20] = upper + upper.T
    return a


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clusters")
    a = graph()
    lines = [["", *NAMES], *([name, *map(repr, row.tolist())] for name, row in zip(NAMES, a, strict=True))]
    (folder / "a.csv").write_text("\n".join(map(",".join, lines)) + "\n")
    nmfkit.fit(folder / "a.csv", model="symnmf", rank=3, max_sweeps=100, out=folder / "run.zarr")
    return nmfkit.load(folder / "run.zarr")


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("signed")
    rng = np.random.default_rng(0)
    x = rng.dirichlet(np.full(3, 0.3), size=80) @ rng.normal(size=(3, 12))
    np.savetxt(folder / "x.csv", x, delimiter=",", fmt="%.17g")
    nmfkit.fit(folder / "x.csv", model="agd", rank=3, out=folder / "run.zarr")
    return nmfkit.load(folder / "run.zarr")


def invoke(*words):
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.output
    return done.stdout


# --- exports ------------------------------------------------------------------------------------------------


def table(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_csv_has_labels_and_memberships(run, tmp_path):
    invoke("export", run.path, "-o", tmp_path / "out")
    head, *lines = table(tmp_path / "out" / "labels.csv")
    assert head == ["", "label", "membership"]
    assert [line[0] for line in lines] == NAMES
    assert [int(line[1]) for line in lines] == run.labels.tolist()
    assert [float(line[2]) for line in lines] == run.memberships.max(axis=1).tolist()
    head, *lines = table(tmp_path / "out" / "memberships.csv")
    assert head == ["", "component_1", "component_2", "component_3"]
    np.testing.assert_array_equal(np.array(lines)[:, 1:].astype(float), run.memberships)
    assert {"labels.csv", "memberships.csv"} <= set(json.loads((tmp_path / "out" / "run.json").read_text())["files"])


def test_npz_and_parquet_have_them_too(run, tmp_path):
    invoke("export", run.path, "-o", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as found:
        np.testing.assert_array_equal(found["labels"], run.labels)
        np.testing.assert_array_equal(found["memberships"], run.memberships)
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install nmfkit[parquet]")
    invoke("export", run.path, "-o", tmp_path / "out", "--format", "parquet")
    columns = parquet.read_table(tmp_path / "out" / "labels.parquet").to_pydict()
    assert columns["row"] == NAMES
    assert columns["label"] == run.labels.tolist()
    assert columns["membership"] == run.memberships.max(axis=1).tolist()


def test_h5ad_has_the_memberships(run, tmp_path):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed: pip install nmfkit[h5ad]")
    invoke("export", run.path, "-o", tmp_path / "out.h5ad")
    with h5py.File(tmp_path / "out.h5ad") as file:
        np.testing.assert_array_equal(file["obsm/X_nmf_memberships"][:], run.memberships)


def test_models_that_do_not_group_have_neither(signed, tmp_path):
    invoke("export", signed.path, "-o", tmp_path / "out")
    assert not {"labels.csv", "memberships.csv"} & {p.name for p in (tmp_path / "out").iterdir()}


# --- scores -------------------------------------------------------------------------------------------------


def test_the_score_of_a_symmetric_run(run):
    found, a = score(run), graph()
    np.testing.assert_allclose(found.relative_error, np.linalg.norm(a - run.w @ run.h) / np.linalg.norm(a), rtol=1e-9)
    assert sum(found.shares) == pytest.approx(1)
    groups = [*np.repeat(["a", "b", "c"], SIZES), ""]
    against = score(run, labels=groups).clustering
    assert (against.accuracy, against.ari, against.unlabelled, against.unclustered) == (1, 1, 1, 0)
    assert run.labels[-1] == -1


def test_the_score_of_components_of_either_sign(signed):
    found, x = score(signed), np.loadtxt(signed.attributes["source"]["uri"], delimiter=",")
    w, h = signed.w, signed.h
    assert (h < 0).any()
    np.testing.assert_allclose(found.relative_error, np.linalg.norm(x - w @ h) / np.linalg.norm(x), rtol=1e-3)
    mass = w.sum(axis=0) * np.abs(h).sum(axis=1)
    np.testing.assert_allclose(found.shares, mass / mass.sum())
    ratio = np.abs(h).sum(axis=1) / np.linalg.norm(h, axis=1)
    np.testing.assert_allclose(found.sparsity["h"], np.mean((np.sqrt(12) - ratio) / (np.sqrt(12) - 1)))


# --- what is seen -------------------------------------------------------------------------------------------


def test_inspect_lists_entries_by_size_with_their_sign(signed):
    told = invoke("inspect", signed.path, "--top", "2")
    for k, row in enumerate(signed.h):
        top = np.argsort(-np.abs(row), kind="stable")[:2]
        names = ", ".join(f"{'−' if row[j] < 0 else ''}column {j}" for j in top)
        assert re.search(rf"^ +{k} +{names}$", told, re.MULTILINE)


def test_a_page_of_components_of_either_sign(signed, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install nmfkit[plot]")
    invoke("report", signed.path, "-o", tmp_path / "page.html")
    check(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert 'class="minus"' in page
    assert "over white" in page
    assert 'id="clusters"' not in page
    for kind in ("components", "similarity"):
        invoke("plot", signed.path, "--kind", kind, "-o", tmp_path / f"{kind}.png")


def rows_of(page):
    section = re.search(r'<section id="clusters">(.*?)</section>', page, re.DOTALL)[1]
    return [
        [re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)]
        for row in re.findall(r"<tr>(.*?)</tr>", section, re.DOTALL)
    ]


def test_a_page_shows_the_clusters(run, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install nmfkit[plot]")
    made = invoke("report", run.path, "-o", tmp_path / "page.html", "--top", "30", "--json")
    check(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    order = [entry["index"] for entry in json.loads(made)["components"]]
    rows = [row for row in rows_of(page) if len(row) == 5]
    a = graph()
    assert 'id="components"' not in page
    assert "columns" not in re.search(r'<section id="residuals">(.*?)</section>', page, re.DOTALL)[1]
    assert "sparsity of W" not in page
    assert "samples × features" not in page
    for (_, size, _, inside, members), index in zip(rows, order, strict=True):
        own = np.flatnonzero(run.labels == index)
        assert int(size) == len(own)
        strongest = own[np.argsort(-run.h[index, own], kind="stable")]
        assert members.split(", ") == [NAMES[i] for i in strongest]
        assert float(inside.removesuffix(" %")) == pytest.approx(100 * a[own][:, own].sum() / a[own].sum(), abs=0.1)
    assert "1 of 21 have no component at all" in page


@pytest.mark.parametrize("given", [list, np.array, str], ids=["list", "array", "file"])
def test_labels_on_a_page_agree_as_in_the_score(given, run, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install nmfkit[plot]")
    groups = [*np.repeat(["a", "b", "c"], SIZES).tolist(), "d"]
    groups[0], groups[1] = "b", ""
    (tmp_path / "groups.txt").write_text("\n".join(groups) + "\n")
    labels = tmp_path / "groups.txt" if given is str else given(groups)
    made = write_report(run, tmp_path / "page.html", labels=labels)
    against = score(run, labels=groups).clustering
    assert (against.compared, against.unlabelled, against.unclustered) == (20, 1, 1)
    wanted = {"accuracy": against.accuracy, "nmi": against.nmi, "purity": against.purity, "adjusted_rand": against.ari}
    assert made["labels"] == wanted
    told = re.sub(r"<[^>]*>", " ", (tmp_path / "page.html").read_text())
    assert re.search(rf"accuracy +{against.accuracy:.4f}", told)
    assert re.search(rf"NMI +{against.nmi:.4f}", told)
    write_picture(run, tmp_path / "map.png", kind="coefficients", labels=labels)


def test_labels_in_memory_that_do_not_fit_are_refused(run, tmp_path):
    with pytest.raises(UsageError, match="3 labels and 21 rows"):
        write_report(run, tmp_path / "page.html", labels=np.arange(3))


def test_nodes_have_one_name(run, tmp_path):
    found = study(run)
    assert [found.feature(i) for i in range(21)] == NAMES
    bare = study(nmfkit.fit(graph(), model="symnmf", rank=3, max_sweeps=2))
    assert bare.feature(7) == bare.row(7) == "row 7"


# --- the picture of the matrix ------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(200, 90, 9), (300,), (100, 100, 99, 0, 1), (5, 4, 1), (40,) * 7 + (1,) * 20])
@pytest.mark.parametrize("alone", [0, 2])
def test_numbers_beside_the_matrix_do_not_touch_and_the_last_one_is_there(sizes, alone):
    edges = np.concatenate([[0], np.cumsum(sizes)])
    side = int(edges[-1]) + alone
    places, names = told(Clusters(np.array(sizes), alone, [], edges), side)
    assert names[-1] == ("none" if alone else str(len(sizes)))
    assert names[0] == "1"
    assert all(b - a >= 0.8 * APART * side for a, b in pairwise(places))
    assert all(str(k + 1) in names for k, size in enumerate(sizes) if size > 0.1 * side)
    for place, name in zip(places, names, strict=True):
        k = len(sizes) if name == "none" else int(name) - 1
        assert edges[k] - 0.5 < place < [*edges[1:], side][k]


def test_nothing_of_the_matrix_is_cut_off(run):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install nmfkit[plot]")
    from matplotlib.image import imread

    with drawing():
        drawn = ordered(study(run).clusters)
        rendered(drawn, "svg")
        pixels = imread(io.BytesIO(rendered(drawn, "png")))[..., :3]
    assert all(np.all(edge == 1) for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))


# --- convergence --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """A run whose factors explain a small part."""
    path = tmp_path_factory.mktemp("slow") / "run.zarr"
    a = sp.random_array((60, 60), density=0.1, rng=np.random.default_rng(0)).toarray()
    nmfkit.fit(a + a.T, model="symnmf", rank=2, init="random", tol=1e-3, max_sweeps=500, out=path)
    return nmfkit.load(path)


def test_the_gain_crosses_the_tolerance_where_the_fit_stopped(slow):
    objective, tol = slow.history.objective, slow.problem.tol
    assert slow.stopped_by == "converged"
    found = gains(objective, slow.state.unfitted)
    assert found[-1] <= tol < found[-2]
    assert found[-1] > gains(objective)[-1]
    np.testing.assert_allclose(found, gains(objective) * objective[10:] / (slow.state.unfitted - objective[10:]))


def test_progress_and_courses_show_the_same_gain(slow):
    meter, state = Quiet(500), slow.state
    meter.sweep(state)
    last = gains(slow.history.objective, state.unfitted)[-1]
    assert f"change {last:.1e}" in meter.course()
    curve = [(r.sweep, r.objective) for r in state.history[-11:]]
    assert decreases(curve, 1, state.unfitted) == [pytest.approx(last)]
    assert look(slow.path).unfitted == state.unfitted == slow.model.unfitted(state.following)


def test_without_factors_the_gain_is_of_the_objective(signed):
    assert signed.state.unfitted == np.inf
    assert gain(3.0, 2.0) == 0.5
    assert np.isnan(gain(3.0, 0.0))
    assert gain(3.0, 2.0, 2.25) == 4.0


def test_without_the_data_there_is_no_picture(run):
    order = np.arange(3)
    found = group(run, order, run.h, None)
    assert (found.picture, found.inside) == (None, None)
    assert found.sizes.tolist() == [int(np.sum(run.labels == k)) for k in order]
    assert found.alone == 1
    for k, members in enumerate(found.members):
        assert (run.labels[members] == k).all()
        assert (np.diff(run.h[k, members]) <= 0).all()


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_entries_are_added_up_by_the_codes_of_their_row_and_column(kind):
    rng = np.random.default_rng(2)
    x = np.where(rng.random((9, 30)) < 0.4, rng.normal(size=(9, 30)), 0)
    rows, columns = rng.integers(0, 5, 9), rng.choice([0, 1, 2, 4], 30)
    csr = sp.csr_array(x)
    block = Dense(x, 0) if kind == "dense" else CSR(csr.data, csr.indices, csr.indptr, 30, 0)
    wanted = np.zeros((5, 5))
    np.add.at(wanted, (rows[:, None], columns[None, :]), x)
    np.testing.assert_allclose(crossed(block, rows, columns, 5), wanted, atol=1e-12)


def test_groups_in_pages_are_those_of_results(run):
    np.testing.assert_array_equal(run.labels, clusters(run.w))
    np.testing.assert_array_equal(run.memberships, parts(run.w))


def test_a_page_of_similarities_of_either_sign(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install nmfkit[plot]")
    groups = np.repeat(range(3), 5)
    a = np.where(groups[:, None] == groups[None, :], 1.0, -0.4)
    np.save(tmp_path / "a.npy", a)
    nmfkit.fit(tmp_path / "a.npy", model="symnmf", rank=3, out=tmp_path / "run.zarr")
    invoke("report", tmp_path / "run.zarr", "-o", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "Entries below 0 are red." in page
    assert [row[3] for row in rows_of(page) if len(row) == 5] == ["100.0 %"] * 3
