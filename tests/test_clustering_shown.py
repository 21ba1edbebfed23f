"""Clusters in exports, scores and pages are those of the labels, and components of either sign are shown as such."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
import scipy.sparse as sp
from pages import check
from typer.testing import CliRunner

import nmfkit
from nmfkit.blocks import CSR, Dense
from nmfkit.cli.app import app
from nmfkit.clustering.assignments import clusters, parts
from nmfkit.report.clusters import clusters as group
from nmfkit.report.clusters import crossed
from nmfkit.score import score

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
    for (_, size, _, inside, members), index in zip(rows, order, strict=True):
        own = np.flatnonzero(run.labels == index)
        assert int(size) == len(own)
        strongest = own[np.argsort(-run.h[index, own], kind="stable")]
        assert members.split(", ") == [NAMES[i] for i in strongest]
        assert float(inside.removesuffix(" %")) == pytest.approx(100 * a[own][:, own].sum() / a[own].sum(), abs=0.1)
    assert "1 of 21 have no component at all" in page


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
