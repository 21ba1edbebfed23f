"""Rank selection: agreement of replicates, the advice, and fits that are kept."""

from __future__ import annotations

import errno
import json
import shutil

import numpy as np
import pytest
import zarr
from clusters import cluster
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import planted
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.spatial.distance import squareform
from typer.testing import CliRunner

import nmfkit
from nmfkit.cli.app import app
from nmfkit.cli.text import plain
from nmfkit.errors import DataError, StoreError, UsageError
from nmfkit.selection import schedule
from nmfkit.selection.agreement import consensus, cophenetic, dispersion, labels
from nmfkit.selection.job import carry_out
from nmfkit.selection.matching import directions, gathered, matched, silhouettes, similarity
from nmfkit.selection.ranks import parse_ranks
from nmfkit.selection.store import SelectionStore

QUICK = {"replicates": 3, "max_sweeps": 60}


def counts(rank=3, seed=0, shape=(40, 25)):
    return planted(rank, seed, "counts", shape)[0]


# --- agreement ----------------------------------------------------------------------------------------------

matrices = st.integers(2, 6).flatmap(
    lambda rank: st.tuples(st.just(rank), st.integers(0, 2**31), st.integers(rank, 12), st.integers(2, 5))
)


@given(matrices)
@settings(max_examples=40)
def test_agreement_does_not_depend_on_order_and_scale(case):
    rank, seed, n, replicates = case
    rng = np.random.default_rng(seed)
    components = [rng.gamma(0.5, 1, (rank, n)) + 1e-3 for _ in range(replicates)]
    shuffled = [rng.permutation(rank) for _ in components]
    changed = [h[p] * rng.uniform(0.1, 100, (rank, 1)) for h, p in zip(components, shuffled, strict=True)]
    assert similarity(changed) == pytest.approx(similarity(components), abs=1e-9)
    # Which replicate the clusters are gathered around is the same; only their order is another.
    np.testing.assert_allclose(
        np.sort(silhouettes(gathered(changed))), np.sort(silhouettes(gathered(components))), atol=1e-9
    )


def test_matching_finds_a_permutation():
    h = np.random.default_rng(0).gamma(0.5, 1, (6, 20))
    order = np.array([3, 1, 5, 0, 2, 4])
    np.testing.assert_array_equal(order[matched(h, h[order])], np.arange(6))
    assert similarity([h, h[order] * 7]) == pytest.approx(1)
    together = gathered([h, h[order], h[order[::-1]]])
    np.testing.assert_allclose(together, np.stack([directions(h)] * 3))
    np.testing.assert_allclose(silhouettes(together), 1)


def test_silhouettes_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    together = gathered([rng.gamma(0.5, 1, (4, 15)) for _ in range(5)])
    flat, clusters = together.reshape(20, 15), np.tile(np.arange(4), 5)
    samples = metrics.silhouette_samples(flat, clusters, metric="cosine")
    expected = [samples[clusters == k].mean() for k in range(4)]
    np.testing.assert_allclose(silhouettes(together), expected, atol=1e-9)


def test_zero_components_are_no_fault():
    h = np.zeros((3, 5))
    h[0, 0] = 1
    assert 0 <= similarity([h, h[::-1]]) <= 1
    assert np.isfinite(silhouettes(gathered([h, h]))).all()


def test_identical_replicates_have_cophenetic_correlation_and_dispersion_one():
    label = np.array([0, 1, 2, 0, 1, 1])
    c = consensus([label, (label + 1) % 3])
    assert cophenetic(c) == 1
    assert dispersion(c) == 1
    assert cophenetic(consensus([np.zeros(4, int)] * 3)) == 1


def test_cophenetic_correlation_is_that_of_brunet():
    rng = np.random.default_rng(2)
    c = consensus([rng.integers(0, 3, 12) for _ in range(8)])
    distances = squareform(1 - c, checks=False)
    expected, _ = cophenet(linkage(distances, "average"), distances)
    assert cophenetic(c) == pytest.approx(expected)
    assert 0 <= dispersion(c) < 1


def test_labels_do_not_depend_on_scale():
    rng = np.random.default_rng(3)
    w, h, scale = rng.random((30, 4)), rng.random((4, 9)), rng.uniform(0.01, 100, 4)
    np.testing.assert_array_equal(labels(w, h), labels(w * scale, h / scale[:, None]))


# --- ranks and advice ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ranks"),
    [
        ("2:5", (2, 3, 4, 5)),
        ("2:9:3", (2, 5, 8)),
        ("4,2,8", (2, 4, 8)),
        ("2:3,7", (2, 3, 7)),
        ("3", (3,)),
        ([5, 2], (2, 5)),
    ],
)
def test_ranks(text, ranks):
    assert parse_ranks(text) == ranks


@pytest.mark.parametrize(
    "text", ["", "0:3", "5:2", "2:9:0", "a", "2-5", "1.5", "1:2:3:4", [], [0], [True], [2.0], "1:99999"]
)
def test_odd_ranks_are_refused(text):
    with pytest.raises(UsageError, match="ranks"):
        parse_ranks(text)


# --- whole selections ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "loss", "rank"), [("counts", "kl", 4), ("gauss", "frobenius", 3)])
def test_finds_the_planted_rank(kind, loss, rank):
    x, _ = planted(rank, 0, kind, (80, 60))
    found = nmfkit.select_rank(x, f"{rank - 1}:{rank + 1}", loss=loss, replicates=4, max_sweeps=300)
    assert found.rank == rank, found.why
    assert found.advice.stable
    assert [r.rank for r in found.table] == [rank - 1, rank, rank + 1]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rank", [3, 5, 8, 12])
@pytest.mark.parametrize(("kind", "loss"), [("counts", "kl"), ("gauss", "frobenius")])
def test_finds_the_planted_rank_for_every_seed(kind, loss, rank, seed):
    found = nmfkit.select_rank(planted(rank, seed, kind)[0], range(max(2, rank - 3), rank + 5), loss=loss)
    assert found.rank == rank, found.why


@pytest.mark.slow
def test_rank_of_21_breast_cancers(data_dir):
    found = nmfkit.select_rank(data_dir / "biology" / "counts_21breast.csv", "2:10", loss="kl")
    assert 4 <= found.rank <= 6, found.why


@pytest.mark.parametrize("value", [1.0, 0.1])
@pytest.mark.parametrize("loss", ["frobenius", "kl"])
def test_a_constant_matrix_has_the_lowest_rank(value, loss):
    found = nmfkit.select_rank(np.full((12, 9), value), "1:3", loss=loss, **QUICK)
    assert found.rank == 1, found.why


@pytest.mark.parametrize("loss", ["frobenius", "kl"])
def test_data_of_exact_rank(loss):
    rng = np.random.default_rng(1)
    x = rng.gamma(0.3, 1, (20, 3)) @ rng.gamma(0.3, 1, (3, 15))
    found = nmfkit.select_rank(x, "2:4", loss=loss, replicates=3, max_sweeps=400)
    assert found.rank == 3, found.why


def test_a_matrix_of_which_nothing_is_hidden():
    found = nmfkit.select_rank(np.array([[3.0, 1.0], [1.0, 2.0]]), "1:2", share=1e-6, **QUICK)
    assert found.rank == 1
    assert np.isnan(found.table[0].relative)
    json.dumps(plain(found.as_dict()), allow_nan=False)


def test_interrupted_and_restarted_is_uninterrupted(tmp_path, monkeypatch):
    x, options = counts(), {"loss": "kl", **QUICK}
    straight = nmfkit.select_rank(x, "2:3", out=tmp_path / "a.zarr", threads=1, **options)
    done = []

    def stops(setting, job, halts):
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(job)
        return carry_out(setting, job, halts)

    with monkeypatch.context() as patch:
        patch.setattr(schedule, "carry_out", stops)
        with pytest.raises(KeyboardInterrupt):
            nmfkit.select_rank(x, "2:3", out=tmp_path / "b.zarr", threads=1, **options)
    assert len(SelectionStore(tmp_path / "b.zarr").jobs()) == 5
    again = nmfkit.select_rank(x, "2:3", out=tmp_path / "b.zarr", threads=2, **options)
    assert again.table[1:] == straight.table[1:]
    assert again.why == straight.why
    for job in SelectionStore(tmp_path / "a.zarr").jobs():
        one, other = (SelectionStore(tmp_path / name).get(job) for name in ("a.zarr", "b.zarr"))
        assert one.figures == other.figures
        np.testing.assert_array_equal(one.h, other.h)
    assert not [p for p in (tmp_path / "b.zarr").iterdir() if p.name.startswith(".")]


def test_a_failing_fit_ends_the_others_and_keeps_what_is_done(tmp_path, monkeypatch):
    def fails(setting, job, halts):
        if job.replicate == 1:
            raise DataError("no good")
        return carry_out(setting, job, halts)

    monkeypatch.setattr(schedule, "carry_out", fails)
    with pytest.raises(DataError, match="no good"):
        nmfkit.select_rank(counts(), "2:3", out=tmp_path / "s.zarr", threads=2, **QUICK)
    assert all(job.replicate != 1 for job in SelectionStore(tmp_path / "s.zarr").jobs())


def test_ranks_and_replicates_join(tmp_path):
    x = counts()
    nmfkit.select_rank(x, "2", out=tmp_path / "s.zarr", replicates=2, max_sweeps=30)
    more = nmfkit.select_rank(x, "2:3", out=tmp_path / "s.zarr", replicates=3, max_sweeps=30)
    assert more.table[1:] == nmfkit.select_rank(x, "2:3", replicates=3, max_sweeps=30).table[1:]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"loss": "kl"}, "problem.loss"),
        ({"seed": 1}, "problem.seed"),
        ({"share": 0.2}, "share"),
        ({"x": 1}, "data.sums"),
    ],
)
def test_fits_of_something_else_are_refused(tmp_path, change, told):
    x, options = counts(), {"replicates": 1, "max_sweeps": 5, "out": tmp_path / "s.zarr"}
    nmfkit.select_rank(x, "2", **options)
    before = SelectionStore(tmp_path / "s.zarr").attributes()
    if "x" in change:
        x, change = x.copy(), {}
        x[20, 3] += 1
    with pytest.raises(StoreError, match=told):
        nmfkit.select_rank(x, "2", **{**options, **change})
    assert SelectionStore(tmp_path / "s.zarr").attributes() == before
    nmfkit.select_rank(x, "2", **{**options, **change}, overwrite=True)


def test_large_matrices_are_fitted_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr(schedule, "SMALL", 0)
    np.save(tmp_path / "x.npy", counts())
    found = nmfkit.select_rank(tmp_path / "x.npy", "2:3", out=tmp_path / "s.zarr", threads=2, **QUICK)
    layout = SelectionStore(tmp_path / "s.zarr").attributes()["layout"]
    assert layout["threads"] == 2
    assert layout["memory"] > 0
    # The layout of the first fits is that of all others, wherever they are done.
    again = nmfkit.select_rank(tmp_path / "x.npy", "2:4", out=tmp_path / "s.zarr", threads=1, **QUICK)
    assert SelectionStore(tmp_path / "s.zarr").attributes()["layout"] == layout
    assert again.table[1] == found.table[1]


@pytest.mark.parametrize("large", [False, True])
def test_on_workers_it_is_the_same(tmp_path, monkeypatch, large):
    x, options = counts(), {"loss": "kl", **QUICK}
    here = nmfkit.select_rank(x, "2:3", **options)
    with cluster(processes=False) as client:
        if large:
            monkeypatch.setattr(schedule, "SMALL", 0)
        there = nmfkit.select_rank(x, "2:3", out=tmp_path / "s.zarr", scheduler=client, **options)
    for one, other in zip(here.table, there.table, strict=True):
        np.testing.assert_allclose(one.losses, other.losses, rtol=1e-6)
        assert one.silhouette == pytest.approx(other.silhouette, abs=1e-6)


def test_other_outputs_are_left_alone(tmp_path):
    nmfkit.fit(counts(), rank=2, max_sweeps=2, out=tmp_path / "run.zarr")
    with pytest.raises(StoreError, match="no rank selection"):
        nmfkit.select_rank(counts(), "2", out=tmp_path / "run.zarr", **QUICK)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(StoreError):
        nmfkit.select_rank(counts(), "2", out=tmp_path / "mine", overwrite=True, **QUICK)
    assert (tmp_path / "mine" / "file").exists()


def test_a_fit_that_cannot_be_read_is_named(tmp_path):
    options = {"replicates": 1, "max_sweeps": 5, "out": tmp_path / "s.zarr"}
    nmfkit.select_rank(counts(), "2", **options)
    shutil.rmtree(tmp_path / "s.zarr" / "fits" / "rank-2-replicate-0-whole" / "h")
    with pytest.raises(StoreError, match="rank-2-replicate-0-whole"):
        nmfkit.select_rank(counts(), "2", **options)


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
@pytest.mark.parametrize("array", ["h/c/0/0", "labels/c/0"])
def test_a_damaged_fit_is_refused_and_can_be_done_again(array, damage, tmp_path):
    options = {"replicates": 2, "max_sweeps": 5, "out": tmp_path / "s.zarr"}
    before = nmfkit.select_rank(counts(), "2", **options)
    fit = tmp_path / "s.zarr" / "fits" / "rank-2-replicate-1-whole"
    # Of a chunk that is not there zarr makes zeros.
    (fit / array).unlink() if damage is None else (fit / array).write_bytes(damage)
    with pytest.raises(StoreError, match=r"rank-2-replicate-1-whole cannot be read: .*remove it"):
        nmfkit.select_rank(counts(), "2", **options)
    shutil.rmtree(fit)
    assert nmfkit.select_rank(counts(), "2", **options).table[0].losses == before.table[0].losses


def test_a_full_disk_keeps_the_fits_that_are_done(tmp_path, monkeypatch):
    written, create = [], zarr.Group.create_array

    def full(self, name, **options):
        if len(written) == 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(name)
        return create(self, name, **options)

    options = {"replicates": 3, "max_sweeps": 20, "out": tmp_path / "s.zarr", "threads": 1}
    with monkeypatch.context() as patch:
        patch.setattr(zarr.Group, "create_array", full)
        with pytest.raises(StoreError, match="the disk is full"):
            nmfkit.select_rank(counts(), "2:3", **options)
    assert len(SelectionStore(tmp_path / "s.zarr").jobs()) == 3
    assert [p.name for p in (tmp_path / "s.zarr").iterdir() if p.name.startswith(".")] == []
    again = nmfkit.select_rank(counts(), "2:3", **options)
    assert again.table[1:] == nmfkit.select_rank(counts(), "2:3", replicates=3, max_sweeps=20).table[1:]


def test_named_rules_serve_fits_of_all_entries(tmp_path):
    found = nmfkit.select_rank(counts(), "2", rule="hals", replicates=2, max_sweeps=20, reg_h="l1:0.1", reg_w="l1:0.1")
    assert 0 < found.table[0].relative_error < 1


def test_relative_error_is_that_of_score(tmp_path):
    x = counts()
    np.save(tmp_path / "x.npy", x)
    for loss in ("kl", "frobenius"):
        found = nmfkit.select_rank(x, "2", loss=loss, replicates=2, max_sweeps=20).table[0]
        run = nmfkit.fit(tmp_path / "x.npy", rank=2, loss=loss, seed=found.best_seed, max_sweeps=20, threads=1)
        from nmfkit.score import score

        assert run.objective == pytest.approx(found.objective, rel=1e-12)
        assert score(run).relative_error == pytest.approx(found.relative_error, rel=1e-9)


@pytest.mark.parametrize("bad", [{"replicates": 0}, {"share": 0.7}, {"loss": "nope"}, {"ranks": "5:2"}, {"tol": -1}])
def test_odd_arguments_are_refused_before_any_work(tmp_path, bad):
    with pytest.raises(UsageError):
        nmfkit.select_rank(tmp_path / "not-there.npy", **{"ranks": "2:3", **bad})


# --- the command --------------------------------------------------------------------------------------------


def command(*words):
    return CliRunner().invoke(app, ["select-rank", *map(str, words)], catch_exceptions=False)


@pytest.fixture
def file(tmp_path):
    np.save(tmp_path / "x.npy", counts())
    return tmp_path / "x.npy"


def test_the_command_tells_and_draws(file, tmp_path):
    words = (file, "--ranks", "2:3", "--loss", "kl", "--replicates", 2, "--max-sweeps", 30, "-o", tmp_path / "s.zarr")
    done = command(*words, "--plot", tmp_path / "s.png")
    assert done.exit_code == 0, done.stderr
    assert "rank 3:" in done.stdout
    assert "←" in done.stdout
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
    again = json.loads(command(*words, "--json", "--plot", tmp_path / "s.png").stdout)
    assert again["rank"] == 3
    assert [r["rank"] for r in again["table"]] == [2, 3]
    assert again["table"][0]["decrease"] is None
    shown = CliRunner().invoke(app, ["inspect", str(tmp_path / "s.zarr")])
    assert again["why"] in shown.stdout
    told = json.loads(CliRunner().invoke(app, ["inspect", str(tmp_path / "s.zarr"), "--json"]).stdout)
    assert told["fits"] == [{"rank": r, "whole": 2, "speckled": 2} for r in (2, 3)]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--ranks", "3:2"], "ranks"),
        (["--ranks", "2", "--loss", "nope", "--seed", "x"], "nope"),
        (["--ranks", "2", "--share", "0.9"], "share"),
        (["--ranks", "2", "--plot", "fig.txt"], "fig.txt"),
    ],
)
def test_the_command_refuses(file, words, told):
    done = command(file, *words)
    assert done.exit_code == 2
    assert told in done.stderr
