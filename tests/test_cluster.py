"""A dask cluster and threads of this process: the same fits, starts, transforms and scores, to the last digits."""

from __future__ import annotations

import asyncio
import json
import re

import numpy as np
import pytest
import scipy.sparse as sp
from clusters import COUNTS, FIT, assert_identical, cluster, deadline, files
from distributed import Client
from typer.testing import CliRunner

import nmfkit
from nmfkit.check import resolve
from nmfkit.cli.app import app
from nmfkit.errors import ClusterError, Incompatible, StoreError, UsageError
from nmfkit.loop import Watcher
from nmfkit.problem import Problem
from nmfkit.registry import registry
from nmfkit.score import score

SPARSE = sp.random_array((3000, 1500), density=0.12, format="csr", rng=np.random.default_rng(1))
"""Seven blocks of a megabyte."""
KINDS = ("dense", "csr")
LOSSES = ("frobenius", "kl", "is", "beta:0.5")


BRIEFLY = {"compressed": "compressed:sweeps=10"}
"""Rules that would sweep so often that roundings, of sums in another order, decide which steps are taken back."""


def rules():
    """Every registered update rule with every loss and kind of data that it goes with."""
    for rule in registry().of_kind("rule"):
        for loss in LOSSES:
            try:
                resolve(Problem(model="nmf", loss=loss, ranks=(4,), rule=rule.name))
            except Incompatible:
                continue
            # Zeros have no Itakura–Saito divergence.
            name = BRIEFLY.get(rule.name, rule.name)
            yield from ((name, loss, kind) for kind in KINDS if (kind, loss) != ("csr", "is"))


@pytest.fixture(autouse=True)
def in_time():
    with deadline():
        yield


@pytest.fixture(scope="module")
def processes():
    """Two workers of one thread, each a process."""
    with cluster() as client:
        yield client


@pytest.fixture(scope="module")
def threads():
    """Two workers of one thread in this process."""
    with cluster(processes=False) as client:
        yield client


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    nmfkit.convert(COUNTS + 0.1, folder / "dense", chunk_mb=0.5)
    nmfkit.convert(SPARSE, folder / "csr", chunk_mb=0.5)
    return folder


def fitted(x, place=None, **more):
    machine = {"threads": 2} if place is None else {"scheduler": place}
    return nmfkit.fit(x, **{**FIT, "max_sweeps": 4, **machine, **more})


def assert_alike(a, b):
    """Two results, but for the order in which numbers were added."""
    np.testing.assert_allclose(a.history.objective, b.history.objective, rtol=1e-10)
    np.testing.assert_allclose(a.w, b.w, rtol=1e-7, atol=1e-10 * np.max(b.w))
    np.testing.assert_allclose(a.h, b.h, rtol=1e-7, atol=1e-10 * np.max(b.h))


# --- fits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "loss", "kind"), [*rules()])
def test_every_rule_gives_on_a_cluster_what_it_gives_here(processes, threads, stored, rule, loss, kind):
    here = fitted(stored / kind, rule=rule, loss=loss)
    there = fitted(stored / kind, processes, rule=rule, loss=loss)
    assert_alike(there, here)
    assert_identical(fitted(stored / kind, threads, rule=rule, loss=loss), there)


def test_a_run_in_the_place_of_a_larger_one_has_rows_of_its_own(threads, tmp_path):
    for count in (len(COUNTS), 40):
        run = fitted(COUNTS[:count], threads, out=tmp_path / "run", overwrite=True)
        assert_alike(run, fitted(COUNTS[:count]))


KNOWN = (np.random.default_rng(5).random(COUNTS.shape) < 0.7).astype(float)


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_missing_entries_give_on_a_cluster_what_they_give_here(processes, tmp_path, where):
    x, mask = COUNTS, KNOWN
    if where == "disk":
        nmfkit.convert(x, tmp_path / "x", chunk_mb=0.5)
        nmfkit.convert(mask, tmp_path / "mask", chunk_mb=0.3)
        x, mask = tmp_path / "x", tmp_path / "mask"
    for given in ({"mask": mask}, {"weights": mask}):
        assert_alike(fitted(x, processes, loss="kl", **given), fitted(x, loss="kl", **given))


def test_stored_zeros_are_known_on_a_cluster(processes):
    stored = sp.csr_array((COUNTS[KNOWN > 0], np.nonzero(KNOWN)), shape=COUNTS.shape)
    assert (stored.data == 0).any()
    known = {"loss": "kl", "missing": "absent"}
    assert_alike(fitted(stored, processes, **known), fitted(stored, **known))


OPTIONS = {
    "regularizers": {"reg_w": ["l1:0.1"], "reg_h": ["l2:0.2", "l1:0.05"]},
    "regularized hals": {"loss": "frobenius", "rule": "hals", "reg_w": ["l2:0.1"], "reg_h": ["l1:0.1"]},
    "nndsvd": {"init": "nndsvd"},
    "nndsvda": {"init": "nndsvda", "loss": "frobenius"},
    "spa": {"init": "spa", "loss": "frobenius"},
    "float32": {"dtype": "float32"},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_every_option_gives_on_a_cluster_what_it_gives_here(processes, stored, kind, options):
    here, there = fitted(stored / kind, **options), fitted(stored / kind, processes, **options)
    if options.get("dtype") == "float32":
        np.testing.assert_allclose(there.history.objective, here.history.objective, rtol=1e-5)
        assert there.w.dtype == np.float32
        return
    assert_alike(there, here)
    assert_identical(fitted(stored / kind, processes, **options), there)


@pytest.mark.parametrize("given", ["w", "h", "both"])
def test_starting_factors_travel_to_the_workers(processes, stored, given):
    start = fitted(stored / "dense", max_sweeps=1)
    factors = {name: getattr(start, name) for name in "wh" if given in (name, "both")}
    assert_alike(fitted(stored / "dense", processes, **factors), fitted(stored / "dense", **factors))


@pytest.mark.parametrize("x", [COUNTS, sp.csr_array(COUNTS)], ids=KINDS)
def test_data_in_memory_are_written_where_workers_read_them(processes, tmp_path, x):
    stages = []

    class Listening(Watcher):
        def stage(self, name):
            stages.append(name)

    there = fitted(x, processes, out=tmp_path / "run.zarr", watcher=Listening())
    assert_alike(there, fitted(x))
    assert "staging" in stages
    assert [p.name for p in tmp_path.iterdir()] == ["run.zarr"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_moves_between_here_and_a_cluster_bit_for_bit(processes, threads, stored, tmp_path, kind):
    whole = fitted(stored / kind, processes, out=tmp_path / "whole")
    moves = {"here": [{"threads": 2}], "alone": [{"threads": 1}], "threads": [{"scheduler": threads}],
             "back": [{"threads": 2}, {"scheduler": processes}]}  # fmt: skip
    for name, places in moves.items():
        fitted(stored / kind, processes, out=tmp_path / name, max_sweeps=1)
        for sweeps, place in zip([2, 4] if len(places) == 2 else [4], places, strict=True):
            moved = nmfkit.resume(tmp_path / name, max_sweeps=sweeps, **place)
        assert_identical(moved, whole)
        assert files(tmp_path / name) == files(tmp_path / "whole")
    began_here = fitted(stored / kind, out=tmp_path / "began", max_sweeps=2)
    assert began_here.history.sweep[-1] == 2
    assert_identical(nmfkit.resume(tmp_path / "began", max_sweeps=4, scheduler=processes), fitted(stored / kind))


def test_workers_of_more_threads_are_as_good(stored):
    with cluster(1, threads_per_worker=2) as client:
        there = fitted(stored / "dense", client)
        assert_alike(there, fitted(stored / "dense"))
        assert_identical(fitted(stored / "dense", client), there)


def test_workers_of_its_own_come_and_go_with_the_fit(processes, stored, tmp_path):
    crews = []

    class Meeting(Watcher):
        def crew(self, crew):
            crews.append(str(crew))

    there = nmfkit.fit(stored / "dense", **{**FIT, "max_sweeps": 4}, workers=2, threads_per_worker=1,
                       memory="1GiB", watcher=Meeting(), out=tmp_path / "run.zarr")  # fmt: skip
    assert re.match(r"2 workers \S+ 1 thread.* 1\.0 GiB each", crews[0])
    assert_alike(there, fitted(stored / "dense"))
    assert [p.name for p in tmp_path.iterdir()] == ["run.zarr"]


def test_an_address_in_the_environment_is_where_the_work_is_done(processes, stored, monkeypatch):
    crews = []

    class Meeting(Watcher):
        def crew(self, crew):
            crews.append(crew)

    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", processes.scheduler.address)
    options = {**FIT, "max_sweeps": 4}
    there = nmfkit.fit(stored / "dense", watcher=Meeting(), **options)
    assert set(crews[0].threads) == set(processes.nthreads())
    assert_identical(there, fitted(stored / "dense", processes.cluster))
    nmfkit.fit(stored / "dense", workers=0, watcher=Meeting(), **options)
    nmfkit.fit(stored / "dense", threads=1, watcher=Meeting(), **options)
    assert len(crews) == 1


def test_nothing_is_left_on_the_workers_when_a_fit_is_done(processes, stored):
    fitted(stored / "dense", processes)

    def kept(dask_worker):
        shelf = dask_worker.plugins["nmfkit"]
        return shelf.cache.used

    held = processes.run(kept)
    assert not processes.futures
    assert set(held.values()) == {0}


# --- what is done with fits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_transform_and_score_on_a_cluster_are_those_of_here(processes, stored, tmp_path, kind):
    run = fitted(stored / kind, out=tmp_path / "run.zarr")
    here = run.transform(stored / kind, threads=2, max_sweeps=5)
    there = run.transform(stored / kind, scheduler=processes, max_sweeps=5)
    np.testing.assert_allclose(there, here, rtol=1e-9, atol=1e-12 * np.max(here))
    written = run.transform(stored / kind, scheduler=processes, max_sweeps=5, out=tmp_path / "new.zarr")
    assert np.array_equal(written[:], there)
    for x in (None, stored / kind) if kind == "dense" else (None,):
        told, known = score(run, x, scheduler=processes), score(run, x, threads=2)
        assert told.objective == known.objective
        assert (told.loss, told.relative_error) == pytest.approx((known.loss, known.relative_error), rel=1e-9)
        assert told.shares == pytest.approx(known.shares, rel=1e-9)


def test_the_command_line_fits_resumes_scores_and_converts_on_a_cluster(processes, stored, tmp_path):
    def ran(*arguments):
        done = CliRunner().invoke(app, [str(a) for a in arguments])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    place = ["--scheduler", processes.scheduler.address, "--json"]
    fit = ["fit", stored / "dense", "--rank", 4, "--loss", "kl", "--tol", 0]
    ran(*fit, "--max-sweeps", 2, "-o", tmp_path / "run.zarr", *place)
    ran("resume", tmp_path / "run.zarr", "--max-sweeps", 4, *place)
    assert_identical(nmfkit.load(tmp_path / "run.zarr"), fitted(stored / "dense", processes))
    told = ran("score", tmp_path / "run.zarr", *place)
    assert told["loss"] == pytest.approx(score(tmp_path / "run.zarr").loss, rel=1e-9)
    ran("convert", stored / "csr", tmp_path / "csr.zarr", *place)
    assert_alike(fitted(tmp_path / "csr.zarr"), fitted(stored / "csr"))


# --- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"workers": 2, "scheduler": "tcp://127.0.0.1:1"}, "name different places"),
        ({"workers": 2, "threads": 2}, "threads are those of this process"),
        ({"workers": -1}, "workers -1 is not a whole number"),
        ({"threads_per_worker": 2}, "threads_per_worker goes with workers"),
    ],
)
def test_places_that_make_no_sense_are_refused_before_any_work(stored, options, told):
    with pytest.raises(UsageError, match=told):
        nmfkit.fit(stored / "dense", **FIT, **options)


def test_an_asynchronous_client_is_refused(processes, stored):
    async def fit():
        async with Client(processes.scheduler.address, asynchronous=True, set_as_default=False) as client:
            nmfkit.fit(stored / "dense", **FIT, scheduler=client)

    with pytest.raises(UsageError, match="the client is asynchronous"):
        asyncio.run(fit())


def test_a_cluster_without_workers_is_told(stored, monkeypatch):
    monkeypatch.setattr("nmfkit.executors.connect.NO_WORKERS", 0.3)
    with cluster(0) as client, pytest.raises(ClusterError, match=r"no worker has come .* dask worker tcp://"):
        fitted(stored / "dense", client)


class Failing(Watcher):
    """Fails when a stage begins."""

    def __init__(self, at):
        self.at = at

    def stage(self, name):
        if name == self.at:
            raise ZeroDivisionError("no good")


def test_a_run_to_be_replaced_comes_back_where_the_new_one_cannot_be_made(processes, stored, tmp_path, monkeypatch):
    options = {"rank": 2, "max_sweeps": 2, "out": tmp_path / "run.zarr", "scheduler": processes}
    old = nmfkit.fit(stored / "dense", **options)

    def full(*given, **more):
        raise StoreError("the disk is full")

    monkeypatch.setattr("nmfkit.run.RunStore.creating", full)
    with pytest.raises(StoreError, match="the disk is full"):
        nmfkit.fit(stored / "dense", overwrite=True, **options)
    assert np.array_equal(nmfkit.load(tmp_path / "run.zarr").w, old.w)
    assert [p.name for p in tmp_path.iterdir()] == ["run.zarr"]


@pytest.mark.parametrize("stage", ["start", "sweeps"])
def test_a_run_to_be_replaced_comes_back_where_the_new_one_fails_before_it_holds_anything(
    processes, stored, tmp_path, stage
):
    path = stored / "dense"
    options = {"rank": 2, "max_sweeps": 2, "out": tmp_path / "run.zarr", "scheduler": processes}
    old = nmfkit.fit(path, **options)
    with pytest.raises(ZeroDivisionError):
        nmfkit.fit(path, overwrite=True, watcher=Failing(stage), **options)
    assert np.array_equal(nmfkit.load(tmp_path / "run.zarr").w, old.w)
    assert [p.name for p in tmp_path.iterdir()] == ["run.zarr"]
