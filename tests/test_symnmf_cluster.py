"""Symmetric fits on workers are those of threads, with states too large to go along with tasks."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from clusters import cluster, deadline

import nmfkit
from nmfkit.executors.worker import INLINE

N, RANK = 1500, 8
FIT = {"model": "symnmf", "rank": RANK, "init": "random", "tol": 0, "max_sweeps": 6, "seed": 1}


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    upper = sp.random_array((N, N), density=0.02, rng=np.random.default_rng(0), format="csr")
    path = tmp_path_factory.mktemp("graph") / "a.zarr"
    nmfkit.convert(upper + upper.T, path, chunk_mb=0.05)
    assert 8 * N * RANK > INLINE
    return path


@pytest.fixture(scope="module")
def client():
    with cluster(workers=2, processes=False) as there:
        yield there


@pytest.mark.parametrize("rule", ["symhals", "fixedpoint", "pgncg", "cd", "lvs:always=yes"])
def test_workers_find_what_threads_find(rule, graph, client, tmp_path):
    here = nmfkit.fit(graph, rule=rule, threads=1, memory="64MiB", **FIT)
    out = tmp_path / "run.zarr"
    with deadline():
        there = nmfkit.fit(graph, rule=rule, scheduler=client, out=out, **FIT)
    np.testing.assert_allclose(there.history.objective, here.history.objective, rtol=1e-10)
    for name, f in here.factors.items():
        np.testing.assert_allclose(there.factors[name], f, rtol=1e-7, atol=1e-10, err_msg=name)
    left = [path.name for path in out.rglob("*") if "state" in path.parts or path.name.startswith("state")]
    assert not left, "states of sweeps are still there"


def test_what_is_gathered_is_told_before_work(graph):
    told = nmfkit.explain(graph, rule="symhals", **FIT)
    assert told.as_dict()["gathered_bytes"] == 8 * N * RANK
    assert f"all rows of a factor, {N:,} × {RANK}: 93.8 KiB, 2 times a sweep" in str(told)
    assert told.plan.reads == 2
    one = nmfkit.explain(graph, rule="fixedpoint", **FIT)
    assert "93.8 KiB a sweep" in str(one)
    assert nmfkit.explain(graph, rank=RANK).as_dict()["gathered_bytes"] == 0
