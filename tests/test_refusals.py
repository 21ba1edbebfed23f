"""What is refused, with its place and a way out, before anything is written."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from small import COUNTS, QUICK, X, same

import nmfkit
from nmfkit.errors import DataError, NmfkitError, StoreError, UsageError

# --- refusals -----------------------------------------------------------------------------------------------

BAD = {
    "NaN": (np.where(np.arange(2400).reshape(60, 40) == 123, np.nan, X), "NaN at row 3, column 3"),
    "inf": (np.where(np.arange(2400).reshape(60, 40) == 124, np.inf, X), "infinite value at row 3, column 4"),
    "minus inf": (np.where(np.arange(2400).reshape(60, 40) == 5, -np.inf, X), "infinite value at row 0, column 5"),
    "negative": (np.where(np.arange(2400).reshape(60, 40) == 81, -1e-9, X), "negative entry at row 2, column 1"),
    "all zero": (np.zeros((5, 4)), "all zero"),
    "no rows": (np.zeros((0, 4)), "no rows|empty|0"),
    "one axis": (np.ones(5), "1"),
    "three axes": (np.ones((2, 2, 2)), "3"),
    "complex": (X + 1j, "complex"),
    "text": (X.astype(str), "str|<U|text"),
    "objects": (X.astype(object), "object"),
}


SPARSE_TOO = ("NaN", "inf", "minus inf", "negative", "all zero", "complex")


@pytest.mark.parametrize(("what", "kind"), [(w, np.asarray) for w in BAD] + [(w, sp.csr_array) for w in SPARSE_TOO])
def test_bad_data_are_refused_with_their_place_and_no_output(tmp_path, what, kind):
    x, message = BAD[what]
    x = kind(x)
    with pytest.raises(NmfkitError, match=message) as caught:
        nmfkit.fit(x, out=tmp_path / "run.zarr", **QUICK)
    assert caught.value.exit_code in (1, 2)
    assert list(tmp_path.iterdir()) == []


def test_the_first_offending_entry_is_named_whatever_the_threads():
    x = np.tile(X, (500, 1))
    x[20_000, 7] = -1
    x[29_000, 3] = np.nan
    for threads in (1, 2, 5):
        with pytest.raises(DataError, match="row 20000, column 7"):
            nmfkit.fit(x, rank=2, threads=threads)


def test_an_objective_that_leaves_the_range_of_its_dtype_is_an_error():
    x = np.full((6, 5), 1e30, dtype=np.float32)
    with pytest.raises(NmfkitError, match="float64"):
        nmfkit.fit(x, loss="beta:3", rank=2)


@pytest.mark.parametrize(("scale", "dtype"), [(1e-30, "f4"), (1e30, "f4"), (1e-200, "f8"), (1e200, "f8")])
def test_scales_beyond_a_dtype_are_refused(scale, dtype):
    x = ((X + 0.1) * scale).astype(dtype)
    with pytest.raises(DataError, match="multiply the data by a constant"):
        nmfkit.fit(x, rank=2)


def test_cautions_are_warnings_in_python():
    with pytest.warns(nmfkit.Caution, match="rank 50 exceeds the smaller side"):
        nmfkit.fit(X, rank=50, max_sweeps=1)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"threads": "2"}, "threads '2'"),
        ({"threads": 1.5}, "threads 1.5"),
        ({"checkpoint_every": -1}, "checkpoint-every -1"),
        ({"memory": 1.5}, "1.5 is not a size"),
        ({"model_options": [1]}, "not a mapping"),
        ({"rank": True}, "rank True"),
        ({"rank": "3"}, "'3' is not a whole number"),
        ({"rank": 10**12}, "choose a lower rank"),
        ({"w": sp.csr_array(np.ones((60, 4)))}, "no real NumPy array"),
        ({"w": np.ones((60, 4)) + 1j}, "no real NumPy array"),
        ({"w": np.zeros((60, 4))}, "all zero"),
        ({"ranks": [3]}, "rank or ranks, not both"),
        ({"rank": None}, "no rank is given"),
    ],
)
def test_misuse_is_told(options, fault):
    with pytest.raises(UsageError, match=fault):
        nmfkit.fit(X, **{"rank": 4, **options})


def test_an_unwritable_output(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be written: .*Not a directory"):
        nmfkit.fit(X, out=tmp_path / "file" / "run.zarr", **QUICK)


def test_objects_of_ones_own_fit_in_memory_but_are_not_stored(tmp_path):
    from nmfkit_plugins.beta.divergence import KullbackLeibler

    r = nmfkit.fit(COUNTS, loss=KullbackLeibler(), **QUICK)
    same(r, nmfkit.fit(COUNTS, loss="kl", **QUICK))
    with pytest.raises(UsageError, match="register them as a plugin"):
        nmfkit.fit(COUNTS, loss=KullbackLeibler(), out=tmp_path / "r.zarr", **QUICK)
    with pytest.raises(StoreError, match="register them as a plugin"):
        r.save(tmp_path / "r.zarr")
