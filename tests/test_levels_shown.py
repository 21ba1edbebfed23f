"""What a person sees of a layered fit: scores, links, cautions, pictures and exports say what the factors say."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layered import TOPICS, layered, planted, random_levels
from pages import check
from typer.testing import CliRunner

import nmfkit
from nmfkit.cli.app import app
from nmfkit.errors import UsageError
from nmfkit.export import export
from nmfkit.report import weights, write_picture, write_report
from nmfkit.report.cautions import cautions
from nmfkit.report.figures import tree
from nmfkit.report.study import study
from nmfkit.score import score
from nmfkit.sources import ArraySource

SIDES = ("coefficients", "components")
BOTH = pytest.mark.parametrize("side", SIDES)
seeds = st.integers(0, 2**32 - 1)
X, PARTS = planted()
ROWS, FEATURES = [f"s{i}" for i in range(len(X))], [f"word{j}" for j in range(X.shape[1])]


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def ran(*arguments):
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("levels")
    np.savez(where / "x.npz", x=X, rows=ROWS, features=FEATURES)
    for side in SIDES:
        nmfkit.fit(
            where / "x.npz", key="x", model=f"deep-nmf:{side}", loss="kl", ranks=(6, 3), max_sweeps=150, seed=3,
            out=where / f"{side}.zarr",
        )  # fmt: skip
    nmfkit.fit(where / "x.npz", key="x", loss="kl", rank=3, max_sweeps=5, out=where / "flat.zarr")
    return where


def products(result):
    """Weights and components of each level, multiplied out from what is stored."""
    f = result.factors
    if "w2" in result.state.rows.read(0, 1):
        return [(f["w1"], f["h1"]), (f["w2"], f["h2"] @ f["h1"])]
    return [(f["w1"], f["h1"]), (f["w1"] @ f["w2"], f["h2"])]


def kl(x, y):
    return float(np.sum(x * np.log(x / y) - x + y))


def hoyer(vectors):
    n = vectors.shape[1]
    ratio = vectors.sum(axis=1) / np.linalg.norm(vectors, axis=1)
    return float(np.mean((np.sqrt(n) - ratio) / (np.sqrt(n) - 1)))


# --- score --------------------------------------------------------------------------------------------------


@BOTH
def test_scores_are_those_of_the_products(side, folder):
    result = nmfkit.load(folder / f"{side}.zarr")
    found = score(result)
    flat = kl(X, np.outer(X.sum(axis=1), X.sum(axis=0)) / X.sum())
    for at, (w, h) in zip(found.levels, products(result), strict=True):
        assert at.loss == pytest.approx(kl(X, w @ h), rel=1e-9)
        assert at.relative_error == pytest.approx(kl(X, w @ h) / flat, rel=1e-9)
        assert at.sparsity == pytest.approx(hoyer(h), rel=1e-9)
        np.testing.assert_allclose(at.shares, w.sum(axis=0) * h.sum(axis=1) / (w @ h).sum(), rtol=1e-9)
    assert (found.loss, found.shares) == (found.levels[0].loss, found.levels[0].shares)


@BOTH
def test_sparsity_of_each_factor_is_that_of_what_it_mixes(side, folder):
    result = nmfkit.load(folder / f"{side}.zarr")
    found, f = score(result), result.factors
    assert set(found.sparsity) == {"w1", "w2", "h1", "h2"}
    for name, value in found.sparsity.items():
        assert value == pytest.approx(hoyer(f[name].T if name[0] == "w" else f[name]), rel=1e-9)


@BOTH
def test_layers_add_up_to_the_objective(side, folder):
    found = score(folder / f"{side}.zarr")
    assert sum(at.weight * at.layer_loss for at in found.levels) == pytest.approx(found.objective, rel=1e-6)
    assert found.levels[0].layer_loss == pytest.approx(found.levels[0].loss, rel=1e-6)
    for at in found.levels:
        assert at.ratio == pytest.approx(at.layer_loss / at.layer_loss_at_start)


class Counted(ArraySource):
    """A matrix that counts the rows that were read."""

    rows_read = 0

    def read(self, lo, hi):
        Counted.rows_read += hi - lo
        return super().read(lo, hi)


@BOTH
def test_other_data_are_read_once_for_all_levels_and_fitted_first(side, folder):
    reads = {}
    for name in (side, "flat"):
        Counted.rows_read = 0
        found = score(folder / f"{name}.zarr", Counted(X[:40], uri="counted"), threads=1)
        reads[name] = Counted.rows_read
    assert reads[side] == reads["flat"]
    found = score(folder / f"{side}.zarr", X[:40])
    assert found.objective is None
    assert {(at.layer_loss, at.ratio, at.weight) for at in found.levels} == {(None, None, None)}
    own = [score(folder / f"{side}.zarr").levels[i].relative_error for i in (0, 1)]
    assert [at.relative_error for at in found.levels] == pytest.approx(own, abs=0.05)


@BOTH
def test_score_tells_every_level(side, folder):
    told = json.loads(ran("score", folder / f"{side}.zarr", "--json"))
    assert [(at["level"], at["rank"]) for at in told["levels"]] == [(1, 6), (2, 3)]
    shown = ran("score", folder / f"{side}.zarr")
    assert "loss / start" in shown
    assert "share in level 2" in shown
    assert "loss / start" not in ran("score", folder / f"{side}.zarr", folder / "x.npz", "--key", "x")
    assert json.loads(ran("score", folder / "flat.zarr", "--json"))["levels"] == []


# --- links --------------------------------------------------------------------------------------------------


@BOTH
@settings(max_examples=30)
@given(seed=seeds)
def test_links_share_out_what_components_add(side, seed):
    found = study(random_levels(np.random.default_rng(seed), side), data=False)
    for link, (before, after) in zip(found.links, pairwise(found.components), strict=True):
        assert link.parts.shape == (after.rank, before.rank)
        sums = link.parts.sum(axis=1)
        np.testing.assert_allclose(sums[sums > 0], 1)
        # A component whose links are all zero explains nothing, or lies on what nothing uses.
        np.testing.assert_allclose(link.flow.sum(axis=1)[sums > 0], after.shares[sums > 0])
        assert link.mixes == (side == "coefficients")


@BOTH
@settings(max_examples=30)
@given(seed=seeds)
def test_links_do_not_depend_on_how_factors_are_scaled(side, seed):
    rng = np.random.default_rng(seed)
    one = random_levels(rng, side)
    f, ranks = one.factors, (4, 3, 2)
    d = [np.diag(rng.uniform(0.1, 10, r)) for r in ranks]
    inverse = [np.linalg.inv(of) for of in d]
    if side == "coefficients":
        rows = {f"w{i + 1}": f[f"w{i + 1}"] @ inverse[i] for i in range(3)}
        shared = {"h1": d[0] @ f["h1"], "h2": d[1] @ f["h2"] @ inverse[0], "h3": d[2] @ f["h3"] @ inverse[1]}
    else:
        rows = {"w1": f["w1"] @ inverse[0]}
        shared = {"w2": d[0] @ f["w2"] @ inverse[1], "w3": d[1] @ f["w3"] @ inverse[2]}
        shared |= {f"h{i + 1}": d[i] @ f[f"h{i + 1}"] for i in range(3)}
    other = study(layered(side, rows, shared), data=False)
    for a, b in zip(study(one, data=False).links, other.links, strict=True):
        # Shares that are equal but for rounding may change places.
        np.testing.assert_allclose(np.sort(a.parts, axis=None), np.sort(b.parts, axis=None), atol=1e-9)


def test_links_of_normalised_factors_are_these_factors():
    rng = np.random.default_rng(0)
    shared = {"h1": rng.dirichlet(np.ones(7), 4), "h2": rng.dirichlet(np.ones(4), 2)}
    found = study(layered("coefficients", {"w1": rng.random((9, 4)), "w2": rng.random((9, 2))}, shared), data=False)
    before, after = found.components
    np.testing.assert_allclose(found.links[0].parts, shared["h2"][np.ix_(after.order, before.order)])


def test_links_of_mixed_components_are_by_what_they_are_used():
    rng = np.random.default_rng(0)
    w1, w2 = rng.random((9, 4)), rng.random((4, 2))
    found = study(layered("components", {"w1": w1}, {"w2": w2, "h1": rng.random((4, 7)), "h2": rng.random((2, 7))}),
                  data=False)  # fmt: skip
    before, after = found.components
    mass = (w1.sum(axis=0)[:, None] * w2).T[np.ix_(after.order, before.order)]
    np.testing.assert_allclose(found.links[0].parts, mass / mass.sum(axis=1, keepdims=True))


@BOTH
def test_planted_topics_are_linked_to_their_parts(side, folder):
    found = study(folder / f"{side}.zarr", data=False)
    parts = found.components[0]
    which = np.argmax(parts.v @ PARTS.T, axis=1)
    assert sorted(which) == list(range(6))
    linked = np.zeros((3, 6))
    linked[:, which] = found.links[0].parts
    pairs = {tuple(np.sort(np.argsort(-row)[:2])) for row in linked}
    assert pairs == {tuple(np.flatnonzero(topic)) for topic in TOPICS}
    assert np.sort(linked, axis=1)[:, -2:].sum(axis=1).min() > 0.9


def test_rows_are_read_once_for_all_levels(monkeypatch):
    result = random_levels(np.random.default_rng(0), "coefficients")
    monkeypatch.setattr(weights, "WINDOW", 8 * 9 * 2)  # two rows of all factors
    found = study(result, data=False)
    assert result.attributes["read"] == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 9)]
    for name, at in zip(("w1", "w2", "w3"), found.components, strict=True):
        w = result.factors[name][:, at.order]
        np.testing.assert_allclose(at.weights.sums, w.sum(axis=0))
        np.testing.assert_allclose(at.weights.gram, w.T @ w)


# --- the report ---------------------------------------------------------------------------------------------


@BOTH
def test_errors_of_all_levels_are_those_of_the_products(side, folder):
    found = study(folder / f"{side}.zarr")
    wanted = [np.linalg.norm(X - w @ h) / np.linalg.norm(X) for w, h in products(nmfkit.load(folder / f"{side}.zarr"))]
    assert found.residuals.errors == pytest.approx(wanted, rel=1e-9)


@BOTH
def test_the_page_shows_every_level_and_what_it_is_made_of(side, folder, tmp_path):
    told = write_report(folder / f"{side}.zarr", tmp_path / "a.html")
    page = check(tmp_path / "a.html")
    words = "".join(page.words)
    assert {"levels", "components-1", "components-2", "coefficients-2", "residuals"} <= set(page.ids)
    assert "Level 2: components" in words
    assert ("made of (level 1)" in words) == (side == "coefficients")
    assert ("goes into (level 1)" in words) == (side == "components")
    assert "each times its weight" in words
    strongest = np.argmax(told["levels"][1]["parts"][0])
    assert f"{strongest + 1} ({max(told['levels'][1]['parts'][0]):.2f})" in words
    scored = score(folder / f"{side}.zarr").levels
    for at, level in zip(told["levels"], scored, strict=True):
        assert at["layer_loss"] == level.layer_loss
        assert at["sparsity"] == pytest.approx(level.sparsity)
        assert [c["share"] for c in at["components"]] == pytest.approx(sorted(level.shares, reverse=True))


def test_a_flat_run_has_no_section_of_levels(folder, tmp_path):
    told = write_report(folder / "flat.zarr", tmp_path / "a.html")
    assert "levels" not in told
    assert "levels" not in check(tmp_path / "a.html").ids


def kinds(result):
    return {(c.kind, c.text) for c in cautions(study(result)) if c.kind in ("twins", "collinear", "dead")}


@BOTH
def test_a_level_that_repeats_itself_is_told(side):
    rng = np.random.default_rng(3)
    fine = random_levels(rng, side, m=40, n=30, ranks=(6, 2))
    assert kinds(fine) == set()
    f = {name: values.copy() for name, values in fine.factors.items()}
    f["w2"][:, 1] = 2 * f["w2"][:, 0]
    rows = {name: values for name, values in f.items() if len(values) == 40}
    ((kind, text),) = kinds(layered(side, rows, {name: f[name] for name in f if name not in rows}))
    assert kind == "collinear"
    assert text.startswith("Level 2: Collinear: the weights of components 1 and 2 (1.00)")
    assert "smaller weights of the deeper layers" in text


@BOTH
def test_twins_and_dead_components_are_told_with_their_level(side):
    fine = random_levels(np.random.default_rng(3), side, m=40, n=30, ranks=(4, 2))
    f = {name: values.copy() for name, values in fine.factors.items()}
    f["h1"][0] = 3 * f["h1"][1]
    f["h1"][2] = 0
    rows = {name: values for name, values in f.items() if len(values) == 40}
    told = kinds(layered(side, rows, {name: f[name] for name in f if name not in rows}))
    assert {text.partition(":")[0] for _, text in told} == {"Level 1"}
    assert {kind for kind, _ in told} == {"twins", "dead"}


def test_a_penalty_on_one_side_of_a_layered_fit_is_no_caution():
    result = nmfkit.fit(X, model="deep-nmf", loss="kl", ranks=(4, 2), reg_w=["l1:0.1"], max_sweeps=2)
    assert "one-sided" not in {c.kind for c in cautions(study(result))}


# --- the tree -----------------------------------------------------------------------------------------------


@given(seed=seeds, widths=st.lists(st.integers(1, 9), min_size=2, max_size=4))
def test_children_of_one_parent_stand_together(seed, widths):
    """Of a forest no lines need to cross, and none do."""
    rng = np.random.default_rng(seed)
    ranks = sorted(widths, reverse=True)
    flows = []
    for before, after in pairwise(ranks):
        parents = np.concatenate([rng.permutation(after), rng.integers(0, after, before - after)])
        flow = np.zeros((after, before))
        flow[rng.permuted(parents), np.arange(before)] = rng.uniform(0.5, 1, before)
        flows.append(flow)
    places = tree._places(flows, ranks)
    for at, rank in zip(places, ranks, strict=True):
        np.testing.assert_allclose(np.sort(at), (np.arange(rank) + 0.5) / rank - 0.5)
    for flow, before, after in zip(flows, places, places[1:], strict=False):
        parents = np.argmax(flow, axis=0)[np.argsort(before)]
        assert np.all(np.diff(after[parents]) >= 0)


@BOTH
@pytest.mark.parametrize("nodes", [5, 150])
@pytest.mark.parametrize("names", [True, False])
def test_trees_and_tables_are_drawn(side, nodes, names, monkeypatch, tmp_path):
    monkeypatch.setattr(tree, "NODES", nodes)
    odd = ["$x_", "日本語", "</svg>", "x" * 300, " ", "nul\0", "b"] if names else None
    result = random_levels(np.random.default_rng(0), side, features=odd)
    write_picture(result, tmp_path / "a.svg", kind="levels")
    assert b"</svg>" in (tmp_path / "a.svg").read_bytes()


def test_trees_of_images(folder, tmp_path):
    write_picture(folder / "components.zarr", tmp_path / "a.png", kind="levels")
    write_picture(folder / "components.zarr", tmp_path / "b.png", kind="levels", image_shape="6,8")
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


# --- single pictures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["components", "coefficients", "similarity", "residuals"])
def test_one_level_is_shown_at_a_time(kind, folder, tmp_path, monkeypatch):
    looked = []
    monkeypatch.setattr("nmfkit.report.study", lambda *a, **k: looked.append(study(*a, **k)) or looked[-1])
    shown = {}
    for level in ("1", "2", None):
        asked = () if level is None else ("--level", level)
        ran("plot", folder / "components.zarr", "-o", tmp_path / f"{level}.png", "--kind", kind, *asked)
        shown[level] = looked[-1].main.layer.level
    assert shown == {"1": 1, "2": 2, None: 1 if kind == "residuals" else 2}
    assert (tmp_path / "1.png").read_bytes() != (tmp_path / "2.png").read_bytes()


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("components", ("--kind", "components", "--level", "3"), "level 3 is not one of the run's levels, 1 to 2"),
        ("components", ("--kind", "levels", "--level", "1"), "shows the whole run"),
        ("components", ("--kind", "convergence", "--level", "1"), "shows the whole run"),
        ("components", ("--kind", "components", "--level", "0"), "greater than or equal to 1"),
        ("flat", ("--kind", "components", "--level", "1"), "the run has no levels"),
        ("flat", ("--kind", "levels"), "no links to show"),
    ],
)
def test_levels_that_are_refused(name, arguments, message, folder, tmp_path):
    done = run("plot", folder / f"{name}.zarr", "-o", tmp_path / "a.png", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (tmp_path / "a.png").exists()


def test_levels_below_the_first_are_refused(folder, tmp_path):
    with pytest.raises(UsageError, match="count from 1"):
        write_picture(folder / "components.zarr", tmp_path / "a.png", kind="components", level=-1)


# --- inspect and export -------------------------------------------------------------------------------------


@BOTH
def test_inspect_shows_the_levels(side, folder):
    told = json.loads(ran("inspect", folder / f"{side}.zarr", "--json"))
    one, two = told["levels"]
    assert one["factors"] == {"w1": [150, 6], "h1": [6, 48]}
    between = {"w2": [6, 3]} if side == "components" else {"h2": [3, 6]}
    assert {name: two["factors"][name] for name in between} == between
    assert two["rank"] == 3
    assert [len(rows) for rows in told["components"].values()] == [6, 3]
    shown = ran("inspect", folder / f"{side}.zarr")
    assert "at the start" in shown
    assert "levels" not in json.loads(ran("inspect", folder / "flat.zarr", "--json"))


def exported(path):
    """A table of text as its header, its first column, and its numbers."""
    lines = [line.split(",") for line in path.read_text("utf-8").splitlines()]
    return lines[0][1:], [line[0] for line in lines[1:]], np.array([line[1:] for line in lines[1:]], float)


@BOTH
def test_exports_name_components_by_their_level(side, folder, tmp_path):
    result = nmfkit.load(folder / f"{side}.zarr")
    export(result, tmp_path / "a")
    named = {i: [f"level_{i}_component_{k}" for k in range(1, r + 1)] for i, r in ((1, 6), (2, 3))}
    between = (named[2], named[1]) if side == "coefficients" else (named[2], FEATURES)
    wanted = {"w1": (ROWS, named[1]), "h1": (named[1], FEATURES), "h2": between}
    wanted["w2"] = (ROWS, named[2]) if side == "coefficients" else (named[1], named[2])
    if side == "coefficients":
        wanted["components_2"] = (named[2], FEATURES)
    assert {p.stem for p in (tmp_path / "a").glob("*.csv")} == {*wanted, "history"}
    values = {**result.factors, "components_2": products(result)[1][1]}
    for name, (lines, columns) in wanted.items():
        header, first, table = exported(tmp_path / "a" / f"{name}.csv")
        assert (header, first) == (columns, lines), name
        np.testing.assert_array_equal(table, values[name])


@BOTH
def test_other_formats_hold_every_factor(side, folder, tmp_path):
    pq, anndata = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("anndata")
    result = nmfkit.load(folder / f"{side}.zarr")
    export(result, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as archive:
        for name, f in result.factors.items():
            np.testing.assert_array_equal(archive[name], f)
    export(result, tmp_path / "p", format="parquet")
    assert pq.read_table(tmp_path / "p" / "h1.parquet").column_names[1] == "level_1_component_1"
    assert pq.read_table(tmp_path / "p" / "w2.parquet").column_names[1] == "level_2_component_1"
    export(result, tmp_path / "a.h5ad")
    found = anndata.read_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(found.obsm["X_nmf_w1"], result.factors["w1"])
    deepest = "nmf_components_2" if side == "coefficients" else "nmf_h2"
    np.testing.assert_array_equal(found.varm[deepest], products(result)[1][1].T)
    assert list(found.uns["nmfkit"]["factors"]) == (["h2"] if side == "coefficients" else ["w2"])


@BOTH
def test_factors_as_wide_as_the_data_are_not_taken_for_components(side, tmp_path):
    """With as many components as features, shapes alone would say that h2, or w2 turned round, belongs to these."""
    x = X[:, :6]
    result = nmfkit.fit(x, model=f"deep-nmf:{side}", loss="kl", ranks=(6, 3), max_sweeps=3)
    export(result, tmp_path / "a")
    name = "h2" if side == "coefficients" else "w2"
    header, _, _ = exported(tmp_path / "a" / f"{name}.csv")
    assert header[0].startswith("level_")
    assert len(study(result, data=False).components) == 2
