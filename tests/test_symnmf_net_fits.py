"""Fits by the unrolled network: its stages, wherever they run, and what carries over to another graph."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.sparse as sp
from clusters import cluster, deadline
from nmfkit_plugins.symnmf.net_apply import apply
from similar import blocks_graph, relative, similarities
from sklearn.metrics import adjusted_rand_score
from typer.testing import CliRunner

import nmfkit
from nmfkit.cli.app import app
from nmfkit.errors import UsageError
from nmfkit.testing import Chunked
from nmfkit.testing.registered import contract_of

GRAPH, GROUPS = blocks_graph((20, 15, 15))
MODEL = "symnmf-net"
QUICK = {"model": MODEL, "rank": 3, "tol": 0, "threads": 1}
VARIANTS = ("equivariant", "mixing", "dense")


def short(variant="equivariant", steps=4, **options):
    return {"variant": variant, "blocks": 2, "steps": steps, **options}


def same_fit(found, whole, tolerance=1e-9):
    np.testing.assert_allclose(found.history.objective, whole.history.objective, rtol=tolerance)
    np.testing.assert_allclose(found.w, whole.w, atol=1e-7 * float(whole.w.max()))


# --- wherever it runs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", ["test_every_layout_gives_the_same", "test_runs_on_a_device", "test_pickles"])
@pytest.mark.parametrize("variant", ["mixing", "dense"])
def test_the_laws_of_models_hold_for_every_variant(variant, law):
    getattr(contract_of("model", f"{MODEL}:{variant},blocks=2"), law)()


@pytest.fixture(scope="module")
def client():
    with cluster(workers=2, processes=False) as there:
        yield there


@pytest.mark.parametrize("variant", VARIANTS)
def test_workers_train_the_network_that_threads_train(variant, client):
    a = similarities(64, 3)
    fit = {**QUICK, "model_options": short(variant, steps=3), "max_sweeps": 6}
    whole = nmfkit.fit(a, **fit)
    same_fit(nmfkit.fit(Chunked(a, [(0, 9), (9, 40), (40, 64)]), **{**fit, "threads": 2}), whole)
    same_fit(nmfkit.fit(sp.csr_array(a), **fit), whole)
    fit.pop("threads")
    with deadline():
        same_fit(nmfkit.fit(a, **fit, scheduler=client), whole)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("at", [2, 3, 5])
def test_a_fit_that_goes_on_is_the_uninterrupted_one(variant, at, tmp_path):
    fit = {**QUICK, "model_options": short(variant)}
    whole = nmfkit.fit(GRAPH, **fit, max_sweeps=8)
    nmfkit.fit(GRAPH, **fit, max_sweeps=at, out=tmp_path / "run.zarr")
    found = nmfkit.resume(tmp_path / "run.zarr", GRAPH, max_sweeps=8, threads=1)
    assert list(found.history.objective) == list(whole.history.objective)
    assert (found.w == whole.w).all()


# --- the stages of a fit ------------------------------------------------------------------------------------


def test_without_training_blocks_and_sweeps_are_plain_iterations():
    a = similarities()
    rng = np.random.default_rng(4)
    h = rng.random((len(a), 3))
    fit = nmfkit.fit(a, **QUICK, w=h, h=h.T, model_options={"blocks": 3, "steps": 0}, max_sweeps=5)
    size, objectives = fit.state.following["scale"], []
    assert size == pytest.approx(np.linalg.norm(a, 2), rel=0.05)
    for _ in range(8):
        objectives.append(0.5 * np.sum((a - h @ h.T) ** 2))
        gram = h.T @ h / size
        h = np.maximum((a / size + 0.5 * np.eye(len(a))) @ h @ np.linalg.inv(gram + 0.5 * np.eye(3)), 0)
    expected = np.minimum.accumulate([objectives[0], *objectives[3:8]])
    np.testing.assert_allclose(fit.history.objective, expected, rtol=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("matrix", [GRAPH, similarities(noise=0.5)], ids=["graph", "signed"])
def test_training_betters_the_untrained_blocks(variant, matrix):
    fit = nmfkit.fit(matrix, **QUICK, init="random", model_options=short(variant, steps=25), max_sweeps=26)
    untrained, trained = fit.history.objective[1], fit.history.objective[26]
    assert trained < 0.999 * untrained
    assert fit.w.any()
    assert (fit.w == fit.h.T).all()
    assert fit.objective == min(fit.history.objective)
    assert 2 * fit.objective == pytest.approx(np.sum(np.square(matrix - fit.w @ fit.h)), rel=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
def test_steps_that_are_too_long_do_no_harm(variant):
    start = nmfkit.fit(GRAPH, **QUICK, model_options=short(variant, steps=0), max_sweeps=1)
    fit = nmfkit.fit(GRAPH, **QUICK, model_options=short(variant, steps=20, rate=0.99), max_sweeps=22)
    assert fit.w.any()
    assert np.isfinite(fit.w).all()
    assert fit.objective <= start.objective


def test_no_fit_has_converged_before_its_network_is_trained():
    options = short(steps=12)
    fit = nmfkit.fit(GRAPH, **{**QUICK, "tol": 0.9}, model_options=options)
    assert (fit.stopped_by, len(fit.history)) == ("converged", 12 + 1 + 10 + 1)


def test_more_sweeps_are_done_where_the_training_is_not_at_its_end(tmp_path):
    fit = {**QUICK, "tol": 0.9, "model_options": short(steps=20)}
    nmfkit.fit(GRAPH, **fit, max_sweeps=15, out=tmp_path / "run.zarr")
    found = nmfkit.resume(tmp_path / "run.zarr", GRAPH, max_sweeps=18, threads=1)
    assert (found.stopped_by, len(found.history)) == ("max-sweeps", 19)


# --- data ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_unit_of_the_matrix_is_of_no_account(variant):
    fit = {**QUICK, "model_options": short(variant), "max_sweeps": 6}
    small, large = nmfkit.fit(GRAPH, **fit), nmfkit.fit(GRAPH * 1e4, **fit)
    np.testing.assert_allclose(large.w, 1e2 * small.w, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_nodes_without_neighbours_belong_nowhere(variant):
    alone = sp.csr_array(sp.block_diag([GRAPH, sp.csr_array((2, 2))]))
    fit = nmfkit.fit(alone, **QUICK, model_options=short(variant, steps=10), max_sweeps=13)
    assert (fit.labels[-2:] == -1).all()
    assert (fit.labels[:-2] >= 0).all()


def test_groups_of_a_random_graph_are_found():
    graph, groups = blocks_graph((100, 150, 120, 130), within=0.3, between=0.03, seed=1)
    fit = nmfkit.fit(graph, model=MODEL, rank=4, model_options={"blocks": 4, "steps": 20}, threads=1)
    assert adjusted_rand_score(groups, fit.labels) > 0.95


@pytest.mark.parametrize("variant", VARIANTS)
def test_single_precision_comes_to_about_the_same(variant):
    fit = {**QUICK, "model_options": short(variant), "max_sweeps": 8}
    single, double = nmfkit.fit(GRAPH, **fit, dtype="float32"), nmfkit.fit(GRAPH, **fit)
    assert single.w.dtype == np.float32
    np.testing.assert_allclose(single.history.objective, double.history.objective, rtol=1e-3)


def test_new_nodes_are_placed_by_their_similarities():
    fit = nmfkit.fit(GRAPH, **QUICK, model_options=short(), max_sweeps=20)
    found = nmfkit.transform(fit, fit.w @ fit.h)
    np.testing.assert_allclose(found, fit.w, atol=1e-6 * float(fit.w.max()))


# --- another graph ------------------------------------------------------------------------------------------


def untrained_and_applied(run, graph, rank, seed=7):
    """What the network makes of a random start before and after training: ‖A − H Hᵀ‖ / ‖A‖."""
    fit = {"max_sweeps": 1, "tol": 0, "init": "random", "seed": seed, "threads": 1}
    options = {"blocks": run.model.blocks, "steps": 0}
    plain = nmfkit.fit(graph, model=MODEL, rank=rank, model_options=options, **fit)
    return relative(graph, plain.w), relative(graph, apply(run, graph, rank=rank, **fit).w)


def test_a_network_serves_another_graph_of_another_size():
    run = nmfkit.fit(
        GRAPH, **QUICK, init="random", model_options={"blocks": 3, "steps": 60, "rate": 0.1}, max_sweeps=60
    )
    other, _ = blocks_graph((40, 30, 30, 25), seed=5)
    untrained, applied = untrained_and_applied(run, other, 4)
    assert applied < untrained - 1e-3


def test_a_network_is_taken_from_a_run_by_path_and_by_command(tmp_path):
    at, other = tmp_path / "run.zarr", blocks_graph((12, 9), seed=6)[0]
    fit = {"max_sweeps": 4, "tol": 0, "threads": 1}
    run = nmfkit.fit(GRAPH, **QUICK, model_options=short(), max_sweeps=5)
    run.save(at)
    found = apply(run, other, rank=2, **fit)
    same_fit(apply(at, other, rank=2, **fit), found, tolerance=0)
    sp.save_npz(tmp_path / "other.npz", other)
    command = ["fit", str(tmp_path / "other.npz"), "--model", MODEL, "--rank", "2", "--max-sweeps", "4", "--tol", "0"]
    command += ["--model-option", f"trained={at}", "--model-option", "blocks=2", "-o", str(tmp_path / "o.zarr")]
    told = CliRunner().invoke(app, command)
    assert told.exit_code == 0, told.output
    same_fit(nmfkit.load(tmp_path / "o.zarr"), found)
    further = apply(at, other, rank=2, steps=2, max_sweeps=2, tol=0, out=tmp_path / "further.zarr")
    same_fit(nmfkit.resume(tmp_path / "further.zarr", other, max_sweeps=4), apply(run, other, rank=2, steps=2, **fit))
    assert json.loads(json.dumps(further.problem.to_dict()))["model_options"]["trained"] == str(at)


def test_what_has_no_network_for_other_graphs_is_refused(tmp_path):
    plain = nmfkit.fit(GRAPH, rank=2, max_sweeps=1)
    mixing = nmfkit.fit(GRAPH, **QUICK, model_options=short("mixing"), max_sweeps=2)
    for run in (plain, mixing):
        with pytest.raises(UsageError, match=r"no network to apply.*equivariant"):
            apply(run, GRAPH)
    with pytest.raises(UsageError, match=r"save that one first \(run\.save"):
        apply(nmfkit.fit(GRAPH, **QUICK, model_options=short(), max_sweeps=2), GRAPH, out=tmp_path / "other.zarr")
    run = nmfkit.fit(GRAPH, **QUICK, model_options=short(), max_sweeps=2, out=tmp_path / "run.zarr")
    with pytest.raises(UsageError, match="has 2 blocks, not 10: say blocks=2"):
        nmfkit.fit(GRAPH, **QUICK, model_options={"trained": run.path})
    with pytest.raises(UsageError, match="takes one rank"):
        nmfkit.fit(GRAPH, model=MODEL, ranks=(3, 2))


def test_weights_of_large_graphs_are_refused():
    large = sp.csr_array(sp.eye(2001))
    with pytest.raises(UsageError, match="2,001 × 2,001 weights in each of 2 blocks, and takes up to 2,000"):
        nmfkit.fit(large, **QUICK, init="random", model_options=short("dense"))


def test_large_weights_are_told_of_before_they_are_made():
    def told(variant, nodes):
        return nmfkit.explain(sp.csr_array(sp.eye(nodes)), model=MODEL, rank=3, model_options=short(variant)).cautions

    assert any("427 MiB for the weights of 2 blocks" in one for one in told("dense", 1414))
    assert not told("dense", 40)
    assert not told("mixing", 1414)


def test_the_factor_that_is_gathered_is_told():
    found = nmfkit.explain(GRAPH, model=MODEL, rank=3, model_options=short())
    assert "gathered         all rows of a factor, 50 × 3: 1.2 KiB, 4 times a sweep" in str(found)


# --- graphs of images ---------------------------------------------------------------------------------------


def images(data_dir, name):
    """The similarities of the images of a set, and how many things they show."""
    from scipy.io import loadmat

    found = loadmat(data_dir / "images" / f"{name}.mat")
    return nmfkit.similarity(found["X"].astype(float)), len(np.unique(found["Y"]))


@pytest.mark.slow
@pytest.mark.parametrize(("one", "other"), [("ORL", "COIL20"), ("COIL20", "ORL"), ("ORL", "ORL")])
def test_a_network_gets_further_on_images_that_it_has_not_seen(one, other, data_dir):
    graph, rank = images(data_dir, one)
    fit = {"model": MODEL, "init": "random", "tol": 0, "threads": 1}
    run = nmfkit.fit(graph, **fit, rank=rank, seed=1, max_sweeps=151)
    graph, rank = images(data_dir, other)
    found = [untrained_and_applied(run, graph, rank, seed) for seed in range(2, 5)]
    untrained, applied = np.mean(found, axis=0)
    assert applied < untrained - 0.005


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS[:2])
def test_a_trained_network_ends_with_the_plain_iterations_or_below(variant, data_dir):
    graph, rank = images(data_dir, "ORL")
    fit = {"model": MODEL, "rank": rank, "tol": 0, "threads": 1}
    trained = nmfkit.fit(graph, **fit, model_options={"variant": variant})
    plain = nmfkit.fit(graph, **fit, model_options={"steps": 0})
    assert relative(graph, trained.w) < relative(graph, plain.w) + 5e-4
