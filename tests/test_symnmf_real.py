"""Symmetric factorization of real graphs: known classes are found again from the default start, which knows no luck."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from similar import blocks_graph, relative
from typer.testing import CliRunner

import nmfkit
from nmfkit.blocks import CSR
from nmfkit.cli.app import app
from nmfkit.clustering import agreement
from nmfkit.errors import Caution
from nmfkit.sources import open_source


def of_source(path, key=None):
    """What a reader makes of a file, in compressed rows."""
    source = open_source(path, key=key, dtype="float64")
    block = source.read(0, source.shape[0])
    if source.is_sparse:
        return sp.csr_array((block.values, block.indices, block.indptr), shape=source.shape)
    return block.values


def digits(data_dir):
    """Handwritten digits, 8 × 8 pixels, by their neighbours."""
    x, y = pytest.importorskip("sklearn.datasets").load_digits(return_X_y=True)
    return nmfkit.similarity(x, "knn"), y


def objects(data_dir):
    """COIL-20: 20 things on a turntable, by their neighbours."""
    path = data_dir / "images/COIL20.mat"
    return nmfkit.similarity(of_source(path, "X"), "knn"), of_source(path, "Y").ravel()


def published(data_dir):
    """A matrix of similarities of the same pictures that somebody else has made."""
    path = data_dir / "graphs/symnmf_ACOIL20.mat"
    return of_source(path, "A"), of_source(path, "labels").ravel()


def mail(data_dir):
    """Who wrote to whom in a research institute, either way, but to themselves; the classes are departments."""
    a = of_source(f"edges:{data_dir / 'graphs/email-Eu-core.txt.gz'}")
    with pytest.warns(Caution, match="19 of 1,005 rows have no edge"):
        a = nmfkit.similarity(a, "graph:diagonal=drop")
    return a, np.loadtxt(data_dir / "graphs/email-Eu-core-department-labels.txt", dtype=int)[:, 1]


def football(data_dir):
    """Who played whom; the classes are conferences."""
    path = data_dir / "graphs/football.gml"
    graph = pytest.importorskip("networkx").read_gml(path, label="name")
    classes = [graph.nodes[name]["value"] for name in open_source(path).row_names]
    return nmfkit.similarity(of_source(path), "graph"), np.array(classes)


def karate(data_dir):
    """Friends in a club that split in two."""
    networkx = pytest.importorskip("networkx")
    graph = networkx.karate_club_graph()
    club = [graph.nodes[node]["club"] for node in graph]
    return nmfkit.similarity(networkx.to_scipy_sparse_array(graph, weight=None, dtype=float), "graph"), np.array(club)


def fitted(a, classes, rule="symhals", **options):
    """The fit with as many components as there are classes, from the default start."""
    return nmfkit.fit(a, model="symnmf", rank=len(np.unique(classes)), rule=rule, threads=1, **options)


# --- known classes ------------------------------------------------------------------------------------------

FOUND = {
    digits: ("accuracy", 0.800),
    objects: ("accuracy", 0.787),
    published: ("accuracy", 0.745),
    mail: ("accuracy", 0.539),
    football: ("nmi", 0.91),
    karate: ("accuracy", 0.94),
}
"""What of the classes is to be found again."""


@pytest.mark.parametrize("graph", FOUND)
@pytest.mark.parametrize("rule", ["symhals", "fixedpoint"])
def test_classes_are_found_again(graph, rule, data_dir):
    a, classes = graph(data_dir)
    measure, least = FOUND[graph]
    assert getattr(agreement(fitted(a, classes, rule).labels, classes), measure) >= least


@pytest.mark.parametrize("seed", range(3))
def test_communities_of_a_random_graph(seed):
    a, groups = blocks_graph((100,) * 5, 0.1, 0.01, seed)
    labels = fitted(nmfkit.similarity(a, "graph"), groups).labels
    assert agreement(labels, groups).ari > 0.95


def test_people_who_write_to_nobody_are_in_no_community(data_dir):
    a, classes = mail(data_dir)
    labels = fitted(a, classes).labels
    np.testing.assert_array_equal(labels < 0, a.sum(axis=1) == 0)
    assert np.count_nonzero(labels < 0) == 19


# --- residuals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("graph", "most"), [(digits, 0.9617), (published, 0.9558), (mail, 0.8223)])
def test_residuals(graph, most, data_dir):
    a, classes = graph(data_dir)
    assert relative(a, fitted(a, classes).w) <= most


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_random_start_ends_lower(seed, data_dir):
    a, classes = published(data_dir)
    at_random = fitted(a, classes, init="random", seed=seed, max_sweeps=100, tol=0)
    assert fitted(a, classes).objective < at_random.objective


def test_the_seed_changes_nothing_that_counts(data_dir):
    a, classes = published(data_dir)
    one, other = (fitted(a, classes, seed=seed) for seed in (0, 5))
    assert one.objective == pytest.approx(other.objective, rel=1e-5)
    assert agreement(one.labels, other.labels).accuracy > 0.99


def test_the_fixed_point_is_as_low_with_half_of_the_products(data_dir, monkeypatch):
    a, classes = published(data_dir)
    rows, product = [], CSR.dot

    def counted(block, *given):
        rows.append(block.shape[0])
        return product(block, *given)

    monkeypatch.setattr(CSR, "dot", counted)

    def told(rule):
        """The residual after 40 sweeps, and products with A in a sweep."""
        spent = []
        for sweeps in (20, 40):
            rows.clear()
            result = fitted(a, classes, rule, max_sweeps=sweeps, tol=0)
            spent.append(sum(rows) / a.shape[0])
        assert result.model.reads == (spent[1] - spent[0]) / 20
        return relative(a, result.w), result.model.reads

    (pair, two), (single, one) = told("symhals"), told("fixedpoint")
    assert (two, one) == (2, 1)
    assert abs(single - pair) < 0.002


@pytest.mark.parametrize("rule", ["symmu", "symmu:damping=0.5", "symmu:0.25", "symmu:0.3333", "symmu:0.5", "pgd"])
@pytest.mark.parametrize("graph", [published, mail])
def test_short_multiplicative_steps_never_rise(rule, graph, data_dir):
    a, classes = graph(data_dir)
    result = fitted(a, classes, rule, init="random", max_sweeps=60, tol=0)
    objectives = list(result.history.objective)
    assert all(after <= before * (1 + 1e-12) for before, after in pairwise(objectives))
    assert objectives[-1] < 0.98 * objectives[0]


# --- from the file to the page ------------------------------------------------------------------------------


def test_from_features_to_clusters_by_commands(tmp_path):
    x, y = pytest.importorskip("sklearn.datasets").load_digits(return_X_y=True)
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "y.txt").write_text("\n".join(map(str, y)) + "\n")
    graph, run, page = (tmp_path / name for name in ("graph.zarr", "run.zarr", "page.html"))
    invoke("convert", tmp_path / "x.npy", graph, "--similarity", "knn")
    invoke("fit", graph, "--model", "symnmf", "--rank", 10, "-o", run)
    told = json.loads(invoke("score", run, "--labels", tmp_path / "y.txt", "--json"))
    assert told["clustering"]["accuracy"] >= 0.800
    assert told["clustering"]["compared"] == len(y)
    invoke("report", run, "-o", page, "--labels", tmp_path / "y.txt")
    text = page.read_text("utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "<h2>Clusters" in text
    labels = nmfkit.load(run).labels
    assert agreement(labels, y).accuracy == told["clustering"]["accuracy"]


def invoke(*words):
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.output
    return done.stdout
