"""Consensus of replicates: density, clusters, and a run like any other."""

from __future__ import annotations

import json

import numpy as np
import pytest
from planted import planted
from typer.testing import CliRunner

import nmfkit
from nmfkit.cli.app import app
from nmfkit.errors import DataError, StoreError, UsageError
from nmfkit.score import score
from nmfkit.selection import schedule
from nmfkit.selection.consensus import beside
from nmfkit.selection.density import clustered, local_density
from nmfkit.selection.matching import directions, matched
from nmfkit.selection.store import SelectionStore

QUICK = {"replicates": 6, "max_sweeps": 150, "loss": "kl"}
X, H = planted(3, 0, "counts", (60, 40))


def noisy(rank=4, replicates=8, n=20, seed=0, noise=0.02, outliers=0):
    """Replicates of one set of components, shuffled and scaled; of some, one component is made up."""
    rng = np.random.default_rng(seed)
    h = rng.gamma(0.4, 1, (rank, n)) + 1e-3
    found = [np.abs(h * (1 + noise * rng.standard_normal(h.shape))) for _ in range(replicates)]
    for i in range(outliers):
        found[i][i % rank] = np.random.default_rng(seed + 100 + i).gamma(0.4, 1, n)
    return h, [f[rng.permutation(rank)] * rng.uniform(0.1, 10, (rank, 1)) for f in found]


# --- clusters -----------------------------------------------------------------------------------------------


def test_density_is_the_mean_distance_to_the_nearest_others():
    points = directions(np.random.default_rng(0).random((30, 5)))
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    expected = np.sort(distance, axis=1)[:, 1:4].mean(axis=1)
    np.testing.assert_allclose(local_density(points, 3), expected, atol=1e-7)


def test_density_strip_by_strip(monkeypatch):
    points = directions(np.random.default_rng(0).random((30, 5)))
    whole = local_density(points, 3)
    monkeypatch.setattr("nmfkit.selection.density.STRIP", 7)
    np.testing.assert_allclose(local_density(points, 3), whole, atol=1e-12)


def test_components_are_found_again():
    h, replicates = noisy()
    found = clustered(replicates)
    cosine = np.sum(directions(h) * directions(found.h)[matched(h, found.h)], axis=1)
    assert cosine.min() > 0.999
    np.testing.assert_allclose(found.h.sum(axis=1), 1)
    assert found.sizes == (8,) * 4
    assert min(found.silhouette) > 0.8


def test_medians_are_those_of_the_clusters():
    _, replicates = noisy()
    found = clustered(replicates)
    units = np.concatenate([directions(h) for h in replicates])
    for k in range(4):
        median = np.median(units[found.members == k], axis=0)
        np.testing.assert_allclose(found.h[k], median / median.sum())


def test_order_and_scale_do_not_matter():
    _, replicates = noisy(outliers=2)
    rng = np.random.default_rng(5)
    changed = [h[rng.permutation(4)] * rng.uniform(0.1, 10, (4, 1)) for h in replicates]
    one, other = clustered(replicates, threshold=0.2), clustered(changed, threshold=0.2)
    np.testing.assert_allclose(other.h[matched(one.h, other.h)], one.h, atol=1e-12)
    assert sorted(one.sizes) == sorted(other.sizes)


def test_outliers_are_dropped():
    h, replicates = noisy(outliers=2)
    found = clustered(replicates, threshold=0.2)
    assert int(np.sum(~found.kept)) == 2
    assert np.sum(found.sizes) == 30
    cosine = np.sum(directions(h) * directions(found.h)[matched(h, found.h)], axis=1)
    assert cosine.min() > 0.999
    assert clustered(replicates, threshold=2).kept.all()


def test_outliers_in_every_replicate_do_no_harm():
    h, replicates = noisy(replicates=12, outliers=12)
    found = clustered(replicates, threshold=0.2)
    assert int(np.sum(~found.kept)) == 12
    cosine = np.sum(directions(h) * directions(found.h)[matched(h, found.h)], axis=1)
    assert cosine.min() > 0.99


def test_silhouettes_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    _, replicates = noisy(noise=0.5)
    found = clustered(replicates, threshold=2)
    units = np.concatenate([directions(h) for h in replicates])
    samples = metrics.silhouette_samples(units, found.members)
    expected = [samples[found.members == k].mean() for k in range(4)]
    np.testing.assert_allclose(found.silhouette, expected, atol=1e-6)


def test_too_few_alike_is_said():
    replicates = [np.random.default_rng(i).gamma(0.3, 1, (3, 40)) for i in range(6)]
    with pytest.raises(DataError, match="density threshold"):
        clustered(replicates, threshold=0.05)


# --- runs ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A file, the consensus of six replicates on it, and where that lies."""
    folder = tmp_path_factory.mktemp("consensus")
    np.save(folder / "x.npy", X)
    found = nmfkit.consensus(folder / "x.npy", 3, **QUICK, out=folder / "c.zarr")
    return folder, found


def test_the_objective_is_that_of_the_pair(made):
    folder, found = made
    run = nmfkit.load(folder / "c.zarr")
    y = run.w @ run.h
    loss = np.sum(np.where(X > 0, X * np.log(np.where(X > 0, X, 1) / y), 0) - X + y)
    assert run.objective == pytest.approx(loss, rel=1e-9)
    assert found.result.objective == run.objective
    np.testing.assert_allclose(run.h, found.clusters.h, atol=1e-12)


def test_it_is_nearly_as_good_as_the_best_replicate(made):
    _, found = made
    best = min(nmfkit.fit(X, rank=3, loss="kl", max_sweeps=2000, tol=1e-7, seed=s).objective for s in range(3))
    assert best < found.result.objective < 1.02 * best
    assert np.sum(directions(H) * directions(found.result.h)[matched(H, found.result.h)], axis=1).min() > 0.98


def test_w_is_fitted_to_h(made):
    _, found = made
    run = found.result
    # At a minimum over W ≥ 0 the gradient is 0 where w > 0, and ≥ 0 elsewhere.
    y = run.w @ run.h
    gradient = (1 - X / y) @ run.h.T
    assert np.max(np.abs(gradient * run.w)) < 1e-3 * np.max(run.w)


def test_the_run_is_like_any_other(made, tmp_path):
    folder, found = made
    run = nmfkit.load(folder / "c.zarr")
    assert run.status == "done"
    about = run.attributes["consensus"]
    assert about["replicates"] == 6
    assert about["components"] == 18
    assert sum(about["sizes"]) + about["dropped"] == 18
    assert score(run).loss == pytest.approx(run.objective)
    w = nmfkit.transform(folder / "c.zarr", X, tol=1e-8, max_sweeps=2000)
    np.testing.assert_allclose(w @ run.h, run.w @ run.h, rtol=1e-2, atol=1e-2)
    assert nmfkit.resume(folder / "c.zarr").state.sweep == 0  # nothing changes it unasked
    shown = CliRunner().invoke(app, ["inspect", str(folder / "c.zarr")])
    assert shown.exit_code == 0
    found.plot(tmp_path / "density.svg")
    assert (tmp_path / "density.svg").stat().st_size > 1000


def test_the_same_again_from_the_replicates_that_are_kept(made, tmp_path, monkeypatch):
    folder, found = made
    kept = beside(folder / "c.zarr")
    assert len(SelectionStore(kept).jobs()) == 6
    monkeypatch.setattr("nmfkit.selection.schedule.carry_out", None)  # no fit is done again
    again = nmfkit.consensus(None, 3, selection=kept, out=tmp_path / "again.zarr")
    np.testing.assert_array_equal(again.result.h, found.result.h)
    np.testing.assert_array_equal(again.result.w, found.result.w)
    assert again.replicates == 6


def test_interrupted_and_restarted_is_uninterrupted(made, tmp_path, monkeypatch):
    _, found = made
    whole, done = schedule.carry_out, []

    def stops(setting, job, halts):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(job)
        return whole(setting, job, halts)

    with monkeypatch.context() as patch:
        patch.setattr(schedule, "carry_out", stops)
        with pytest.raises(KeyboardInterrupt):
            nmfkit.consensus(X, 3, **QUICK, threads=1, out=tmp_path / "c.zarr")
    assert not (tmp_path / "c.zarr").exists()
    assert len(SelectionStore(beside(tmp_path / "c.zarr")).jobs()) == 3
    again = nmfkit.consensus(X, 3, **QUICK, out=tmp_path / "c.zarr")
    np.testing.assert_array_equal(again.result.h, found.result.h)
    np.testing.assert_array_equal(again.result.w, found.result.w)


def test_replicates_of_a_selection_serve(tmp_path):
    nmfkit.select_rank(X, "2:3", replicates=4, loss="kl", max_sweeps=60, out=tmp_path / "s.zarr")
    found = nmfkit.consensus(X, 3, selection=tmp_path / "s.zarr")
    assert found.replicates == 4
    assert found.result.problem.loss == "kl"
    with pytest.raises(StoreError, match="memory"):
        nmfkit.consensus(None, 3, selection=tmp_path / "s.zarr")
    with pytest.raises(StoreError, match=r"data\.sums"):
        nmfkit.consensus(X[::-1].copy(), 3, selection=tmp_path / "s.zarr")


def test_other_replicates_are_refused(made):
    folder, _ = made
    with pytest.raises(StoreError, match="exists"):
        nmfkit.consensus(X, 3, **QUICK, out=folder / "c.zarr")
    # Replicates are never overwritten, so that is not what is advised.
    with pytest.raises(StoreError, match=r"problem\.loss.*; choose another output, or remove it to begin anew"):
        nmfkit.consensus(X, 3, replicates=6, loss="frobenius", max_sweeps=150, out=folder / "c.zarr", overwrite=True)


@pytest.mark.parametrize(
    "bad", [{"rank": 0}, {"replicates": 1}, {"density_threshold": 0}, {"density_threshold": 3}, {"neighbourhood": 1.5}]
)
def test_odd_arguments_are_refused(bad):
    with pytest.raises(UsageError):
        nmfkit.consensus(X, **{"rank": 3, **bad})


def test_missing_entries_stay_missing():
    x = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
    found = nmfkit.consensus(x, 3, **QUICK, missing="nan").result
    y, known = found.w @ found.h, ~np.isnan(x)
    terms = np.where(X > 0, X * np.log(np.where(X > 0, X, 1) / y), 0) - X + y
    assert found.objective == pytest.approx(terms[known].sum(), rel=1e-9)


# --- the command --------------------------------------------------------------------------------------------


def command(*words):
    return CliRunner().invoke(app, ["consensus", *map(str, words)], catch_exceptions=False)


def test_the_command(made, tmp_path):
    folder, found = made
    kept = beside(folder / "c.zarr")
    done = command(kept, "--rank", 3, "-o", tmp_path / "d.zarr", "--plot", tmp_path / "d.png")
    assert done.exit_code == 0, done.stderr
    assert "dropped" in done.stdout
    assert (tmp_path / "d.png").exists()
    told = json.loads(command(kept, "--rank", 3, "-o", tmp_path / "e.zarr", "--json").stdout)
    assert told["objective"] == found.result.objective
    assert told["replicates_at"] == str(kept)


def test_the_command_begins_from_data(made, tmp_path):
    folder, _ = made
    words = ("--loss", "kl", "--max-sweeps", 20, "--replicates", 2, "--density-threshold", 2, "-q")
    assert command(folder / "x.npy", "--rank", 2, "-o", tmp_path / "f.zarr", *words).exit_code == 0
    assert (tmp_path / "f.replicates.zarr").exists()


def test_the_command_refuses_what_a_selection_has_settled(made, tmp_path):
    folder, _ = made
    done = command(beside(folder / "c.zarr"), "--rank", 3, "--loss", "kl", "--seed", 1, "-o", tmp_path / "d.zarr")
    assert done.exit_code == 2
    assert "--loss, --seed" in done.stderr
