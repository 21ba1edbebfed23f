"""Runs at a URI: fitted there, interrupted, continued, loaded and replaced as those in folders are."""

from __future__ import annotations

import numpy as np
import pytest
from clusters import cluster
from small import COUNTS, QUICK

import nmfkit
from nmfkit.errors import StoreError, UsageError
from nmfkit.loop import Watcher

pytest.importorskip("fsspec", reason="URIs are opened by fsspec")

OPTIONS = {"auto_mkdir": True}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def uri(tmp_path):
    return f"local://{tmp_path}/run.zarr"


@pytest.fixture(params=["here", "workers"])
def place(request):
    """What tells a fit where its work is done."""
    if request.param == "here":
        yield {}
        return
    with cluster() as client:
        yield {"scheduler": client}


def test_a_run_at_a_uri_is_that_in_a_folder(tmp_path, uri, place):
    x = np.tile(COUNTS, (150, 1))
    nmfkit.convert(x, tmp_path / "x.zarr", chunk_mb=0.5)
    options = {"loss": "kl", "rank": 4, "tol": 0}
    whole = nmfkit.fit(tmp_path / "x.zarr", max_sweeps=6, **options, **place)
    nmfkit.fit(tmp_path / "x.zarr", max_sweeps=3, out=uri, storage_options=OPTIONS, **options, **place)
    r = nmfkit.resume(uri, max_sweeps=6, storage_options=OPTIONS, **place)
    again = nmfkit.load(uri, storage_options=OPTIONS)
    for run in (r, again):
        assert np.array_equal(run.w, whole.w)
        assert np.array_equal(run.h, whole.h)
    assert names(tmp_path) == ["run.zarr", "x.zarr"], "something is left beside the run"
    assert names(tmp_path / "run.zarr" / "checkpoint") == ["final", "zarr.json"]
    new = f"local://{tmp_path}/new.zarr"
    w = nmfkit.transform(uri, tmp_path / "x.zarr", out=new, storage_options=OPTIONS, **place)
    assert np.array_equal(w[:], nmfkit.transform(whole, tmp_path / "x.zarr"))


def test_what_stands_at_a_uri_is_replaced_only_if_it_is_ours_and_that_is_asked_for(tmp_path, uri):
    nmfkit.fit(COUNTS, out=uri, storage_options=OPTIONS, **QUICK)
    with pytest.raises(StoreError, match="exists; choose another name or pass --overwrite"):
        nmfkit.fit(COUNTS, out=uri, storage_options=OPTIONS, **QUICK)
    replaced = nmfkit.fit(COUNTS, out=uri, storage_options=OPTIONS, overwrite=True, **{**QUICK, "rank": 2})
    assert nmfkit.load(uri, storage_options=OPTIONS).w.shape == replaced.w.shape == (60, 2)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("mine")
    with pytest.raises(StoreError, match="no output of nmfkit"):
        nmfkit.fit(COUNTS, out=f"local://{tmp_path}/notes", storage_options=OPTIONS, overwrite=True, **QUICK)
    assert (tmp_path / "notes" / "diary.txt").read_text() == "mine"


def test_a_run_must_not_lie_around_its_data(tmp_path):
    nmfkit.convert(COUNTS, tmp_path / "runs" / "x.zarr")
    x = f"local://{tmp_path}/runs/x.zarr"
    with pytest.raises(StoreError, match="overlaps"):
        nmfkit.fit(x, out=f"local://{tmp_path}/runs", storage_options=OPTIONS, **QUICK)


def test_a_uri_that_cannot_be_written_is_refused_before_any_work(uri):
    with pytest.raises(UsageError, match="nothing can be written there"):
        nmfkit.fit(COUNTS, out="https://example.org/run.zarr", **QUICK)
    with pytest.raises(StoreError, match="cannot be written"):
        nmfkit.fit(COUNTS, out=uri, **QUICK)  # without auto_mkdir there is no folder to write into


class Breaking(Watcher):
    """Fails after a sweep."""

    def sweep(self, state):
        if state.sweep == 4:
            raise ZeroDivisionError("no good")


def test_a_fit_that_fails_keeps_its_last_sweep_and_says_so(uri):
    with pytest.raises(ZeroDivisionError) as caught:
        nmfkit.fit(COUNTS, out=uri, storage_options=OPTIONS, watcher=Breaking(), **QUICK)
    assert "sweep 4 is kept; continue from it with: nmfkit resume" in caught.value.__notes__[-1]
    resumed = nmfkit.resume(uri, COUNTS, storage_options=OPTIONS)
    assert np.array_equal(resumed.w, nmfkit.fit(COUNTS, **QUICK).w)
