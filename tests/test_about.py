"""What rows and features are, pixels or points of an axis, goes with the matrix wherever it goes."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
import zarr
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import nmfkit
from nmfkit.cli.app import app
from nmfkit.errors import DataError, SourceError
from nmfkit.sources import ArraySource, Cast, SparseSource, open_source
from nmfkit.sources.about import About, Axis, about_of
from nmfkit.sources.renamed import Renamed

SIDES = st.tuples(st.integers(1, 99), st.integers(1, 99))
AXES = st.builds(Axis, st.text(max_size=9), st.text(max_size=3), st.lists(st.floats(0, 1e6), min_size=1).map(tuple))
ABOUT = About(row_image=(2, 3), axis=Axis("wavelength", "nm", (400.0, 500.5, 600.0, 700.0)))


def cube(kind=ArraySource, about=ABOUT):
    x = np.arange(24.0).reshape(6, 4) % 5
    return kind(x if kind is ArraySource else sp.csr_array(x), about=about)


@given(st.builds(About, st.none() | SIDES, st.none() | SIDES, st.none() | AXES))
def test_json_and_back(about):
    stored = json.loads(json.dumps(about.to_dict()))
    assert About.from_dict(stored) == about
    assert bool(stored) == bool(about)
    assert None not in stored.values()


@given(st.builds(About, st.none() | SIDES, st.none() | SIDES))
def test_a_transpose_of_a_transpose(about):
    assert about.turned().turned() == about
    assert about.turned().row_image == about.feature_image


@pytest.mark.parametrize("stored", ["text", [], {"row_image": 3}, {"row_image": [1, 2, 3]}, {"axis": {"name": "x"}}])
def test_other_things_are_refused(stored):
    with pytest.raises(ValueError, match=r"describe|unpack"):
        About.from_dict(stored)


@pytest.mark.parametrize("kind", [ArraySource, SparseSource])
def test_sources_and_their_wrappers_pass_it_on(kind):
    source = cube(kind)
    wrapped = Renamed(Cast(source, np.dtype(np.float32)), "elsewhere")
    for each in (source, wrapped, pickle.loads(pickle.dumps(wrapped))):
        assert about_of(each) == ABOUT
    assert about_of(kind(sp.eye_array(2) if kind is SparseSource else np.eye(2))) is None
    assert about_of(object()) is None


@pytest.mark.parametrize("kind", [ArraySource, SparseSource])
def test_what_does_not_fit_is_refused(kind):
    wrong = About((2, 2), (1, 3), Axis("frequency", "Hz", (1.0,)))
    with pytest.raises(DataError, match=r"2 × 2 pixels does not fit 6 rows; .*1 × 3 .* features; an axis of 1 values"):
        cube(kind, wrong)


@pytest.mark.parametrize("kind", [ArraySource, SparseSource])
@pytest.mark.parametrize("transpose", [False, True])
def test_converted_and_opened_again(tmp_path, kind, transpose):
    nmfkit.convert(cube(kind), tmp_path / "x.zarr", transpose=transpose)
    assert about_of(open_source(tmp_path / "x.zarr")) == (ABOUT.turned() if transpose else ABOUT)
    nmfkit.convert(tmp_path / "x.zarr", tmp_path / "y.zarr", transpose=transpose)
    assert about_of(open_source(tmp_path / "y.zarr")) == (About((2, 3)) if transpose else ABOUT)


def test_attributes_of_others_are_let_be_and_damaged_ones_refused(tmp_path):
    nmfkit.convert(cube(about=None), tmp_path / "x.zarr")
    group = zarr.open_group(tmp_path / "x.zarr")
    assert "about" not in group.attrs
    for stored, why in (("nonsense", "cannot be read"), ({"row_image": [5, 5]}, "does not fit")):
        group.attrs["about"] = stored
        with pytest.raises(SourceError, match=rf"x\.zarr: the attribute 'about' {why}"):
            about_of(open_source(tmp_path / "x.zarr"))
    del group.attrs["nmfkit_format"]
    assert about_of(open_source(tmp_path / "x.zarr")) is None


def test_a_run_keeps_it(tmp_path):
    result = nmfkit.fit(cube(), rank=1, max_sweeps=2, out=tmp_path / "run.zarr")
    assert About.from_dict(nmfkit.load(tmp_path / "run.zarr").attributes["source"]["about"]) == ABOUT
    assert "axis" in result.attributes["source"]["about"]
    plain = nmfkit.fit(cube(about=None), rank=1, max_sweeps=2)
    assert "about" not in plain.attributes["source"]


def test_inspect_shows_it(tmp_path):
    nmfkit.convert(cube(), tmp_path / "x.zarr")
    shown = CliRunner().invoke(app, ["inspect", str(tmp_path / "x.zarr")]).stdout
    assert "2 × 3 pixels" in shown
    assert "wavelength, 400 to 700 nm" in shown
    told = json.loads(CliRunner().invoke(app, ["inspect", str(tmp_path / "x.zarr"), "--json"]).stdout)
    assert About.from_dict(told["about"]) == ABOUT
    told = json.loads(CliRunner().invoke(app, ["inspect", "sample:digits", "--json"]).stdout)
    assert told["about"] == {"feature_image": [8, 8]}
