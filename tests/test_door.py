"""A path may name its reader and that reader's options; a folder is known by what it holds."""

from __future__ import annotations

import pickle
from importlib.metadata import EntryPoint

import numpy as np
import pytest

import nmfkit
from nmfkit import registry
from nmfkit.errors import SourceError, StoreError, UsageError
from nmfkit.hookspecs import ReaderSpec, hookimpl
from nmfkit.sources import ArraySource, open_source
from nmfkit.sources.columns import StoredByColumns
from nmfkit.sources.door import bare
from nmfkit.sources.observed import with_zeros
from nmfkit.sources.staging import check_output


def powers(path, *, key=None, rows: int = 3, base: float = 2.0):
    return ArraySource(base ** np.arange(rows * 2.0).reshape(rows, 2), uri=path)


def folder(path, *, key=None):
    return np.eye(2) + 1


def turned(path, *, key=None):
    raise StoredByColumns(path, ArraySource(np.eye(2), uri=path))


@hookimpl
def nmfkit_readers():
    return [
        ReaderSpec("powers", "for tests", powers, suffixes=(".pow",), aliases=("exponents",)),
        ReaderSpec("folder", "for tests", folder, holds=("index.tst",)),
        ReaderSpec("other-folder", "for tests", folder, holds=("index.tst", "more.tst")),
        ReaderSpec("turned", "for tests", turned),
        ReaderSpec("fixed", "for tests", powers, preset={"rows": 1}),
        ReaderSpec("scheme", "for tests", powers, schemes=("made:up",)),
    ]


@pytest.fixture(autouse=True)
def readers(monkeypatch, tmp_path):
    found = registry.load([EntryPoint("doors", __name__, "nmfkit")])
    known = registry.registry()
    monkeypatch.setattr(known, "claims", {**known.claims, **found.claims})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pow").touch()
    return tmp_path


def whole(text, **given):
    source = open_source(text, **given)
    return source.read(0, source.shape[0]).dense()


def test_options_are_converted_and_the_path_is_kept_absolute(readers):
    source = open_source("powers,rows=2,base=3:x.pow")
    assert source.uri == f"powers,rows=2,base=3:{readers / 'x.pow'}"
    np.testing.assert_array_equal(source.read(0, 2).values, [[1, 3], [9, 27]])
    assert pickle.loads(pickle.dumps(source)).uri == source.uri


def test_what_is_stored_opens_the_same_from_another_folder(readers, monkeypatch):
    source = open_source("powers,rows=2:x.pow")
    (readers / "elsewhere").mkdir()
    monkeypatch.chdir(readers / "elsewhere")
    again = open_source(source.uri)
    assert again.uri == source.uri
    assert again.shape == (2, 2)


def test_names_and_aliases_whatever_the_suffix(readers):
    (readers / "x.txt").touch()
    assert whole("exponents:x.txt").shape == (3, 2)
    assert whole("Powers,rows=1:x.txt").shape == (1, 2)
    assert open_source(f"powers:{readers}/x.txt").uri == f"powers:{readers}/x.txt"


def test_a_file_of_exactly_that_name_wins(readers):
    (readers / "powers,rows=1:x.pow").touch()
    source = open_source("powers,rows=1:x.pow")
    assert source.shape == (3, 2)
    assert source.uri == str(readers / "powers,rows=1:x.pow")
    assert open_source(source.uri).shape == (3, 2)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("powers,row=2:x.pow", "reader 'powers,row=2': unknown parameter 'row'; did you mean 'rows'"),
        ("powers,zzz=2,rows=two:x.pow", "unknown parameter 'zzz'; known: base, rows; rows='two': a whole number"),
        ("powers,rows=1,rows=2:x.pow", "rows is given twice"),
        ("powers,path=y:x.pow", "unknown parameter 'path'"),
        ("fixed,rows=2:x.pow", "unknown parameter 'rows'; known: base"),
        ("powers:", "'powers:' names the reader 'powers' and no path; write powers:PATH"),
        ("powers,:x.pow", "neither key=value"),
        ("pwers:x.pow", "unknown reader 'pwers'; did you mean 'powers'"),
        ("powers:s3://bucket/x.pow", "read from local disks only"),
        ("scheme:x.pow", "'x.pow' is nothing that scheme reads; known: made:up"),
    ],
)
def test_what_makes_no_sense_is_refused(text, why):
    with pytest.raises(UsageError) as told:
        open_source(text)
    assert why in str(told.value)


def test_an_absent_path_is_named(readers):
    with pytest.raises(SourceError, match=r"no\.pow does not exist"):
        open_source("powers:no.pow")
    with pytest.raises(UsageError, match="storage_options"):
        open_source("powers:x.pow", storage_options={"anon": True})


def test_schemes_go_on_as_they_are():
    assert whole("made:up").shape == (3, 2)
    assert open_source("scheme,rows=5:made:up").uri == "scheme,rows=5:made:up"


def test_what_is_stored_by_columns_says_so_under_the_same_name(readers):
    with pytest.raises(StoredByColumns) as told:
        open_source("turned:x.pow")
    assert told.value.turned.uri == f"turned:{readers / 'x.pow'}"


# --- folders ------------------------------------------------------------------------------------------------


def test_a_folder_is_known_by_what_it_holds_or_by_its_reader(readers):
    (readers / "data").mkdir()
    with pytest.raises(SourceError, match="is a directory without zarr metadata"):
        open_source("data")
    assert whole("folder:data").shape == (2, 2)
    (readers / "data" / "more.tst").touch()
    assert open_source("data").uri == str(readers / "data")
    (readers / "data" / "index.tst").touch()
    with pytest.raises(UsageError, match=r"several readers; name one: folder:data or other-folder:data"):
        open_source("data")
    assert whole("folder:data").shape == (2, 2)


def test_every_reader_turns_what_it_holds_in_memory(readers):
    (readers / "x.csv").write_text(",a,b,c\nr,1,0,3\ns,0,5,6\n")
    turned = open_source("csv,transpose=yes:x.csv")
    np.testing.assert_array_equal(turned.read(0, 3).values, [[1, 0], [0, 5], [3, 6]])
    assert (tuple(turned.row_names), tuple(turned.feature_names)) == (("a", "b", "c"), ("r", "s"))
    (readers / "x.mtx").write_text("%%MatrixMarket matrix coordinate real general\n2 3 2\n1 3 7\n2 1 0\n")
    sparse = open_source("mtx,transpose=true:x.mtx", dtype="float32")
    np.testing.assert_array_equal(sparse.read(0, 3).dense(), [[0, 0], [0, 0], [7, 0]])
    assert sparse.is_sparse
    assert sparse.dtype == np.float32
    assert with_zeros(sparse).nnz == 2
    np.testing.assert_array_equal(whole("powers,rows=2,transpose=no:x.pow"), whole("powers,rows=2:x.pow"))
    nmfkit.fit("csv,transpose=yes:x.csv", rank=1, max_sweeps=2, out="turned.zarr")
    assert nmfkit.resume("turned.zarr", max_sweeps=3).w.shape == (3, 1)
    with pytest.raises(UsageError, match="transpose='perhaps': write true or false"):
        open_source("csv,transpose=perhaps:x.csv")


def test_a_path_may_name_the_dataset(readers):
    np.savez(readers / "x.npz", a=np.eye(3), known=np.tri(3))
    np.testing.assert_array_equal(whole("npz,key=known:x.npz"), np.tri(3))
    np.testing.assert_array_equal(whole("npz,key=known:x.npz", key="a"), np.eye(3))
    fitted = nmfkit.fit("npz,key=a:x.npz", mask="npz,key=known:x.npz", rank=1, max_sweeps=3, out="known.zarr")
    assert nmfkit.resume("known.zarr", max_sweeps=4).objective <= fitted.objective
    with pytest.raises(UsageError, match="nowhere"):
        open_source("npz,key=nowhere:x.npz")


def test_what_is_streamed_is_not_turned(readers):
    h5py = pytest.importorskip("h5py")
    with h5py.File(readers / "x.h5", "w") as file:
        file["X"] = np.eye(3)
    with pytest.raises(UsageError, match="nmfkit convert --transpose"):
        open_source("h5ad,transpose=yes:x.h5")


# --- what nmfkit itself passes on ---------------------------------------------------------------------------


def test_missing_cells_are_nan_when_asked_for(readers):
    (readers / "x.csv").write_text("a,b,c\n1,,3\nNA,5,6\n")
    with pytest.raises(SourceError, match="line 2, column 2: a blank cell is not a number"):
        open_source("x.csv")
    wanted = [[1, np.nan, 3], [np.nan, 5, 6]]
    np.testing.assert_array_equal(whole("x.csv", missing="nan"), wanted)
    np.testing.assert_array_equal(whole("csv,missing=nan:x.csv"), wanted)
    np.testing.assert_array_equal(whole("csv,missing=nan:x.csv", missing="none"), wanted)
    assert whole("x.pow", missing="nan").shape == (3, 2)
    with pytest.raises(UsageError, match="missing='maybe' is unknown"):
        open_source("csv,missing=maybe:x.csv")


def test_missing_cells_beside_names_of_rows(readers):
    (readers / "x.tsv").write_text("\ta\tb\nr\t1\t?\nNA\t2\t3\n")
    source = open_source("x.tsv", missing="nan")
    assert source.row_names == ("r", "NA")
    np.testing.assert_array_equal(source.read(0, 2).values, [[1, np.nan], [2, 3]])
    (readers / "y.tsv").write_text("a\tb\n1\tone\n")
    with pytest.raises(SourceError, match="line 2, column 2: 'one' is not a number"):
        open_source("y.tsv", missing="nan")


# --- runs ---------------------------------------------------------------------------------------------------


def test_a_run_finds_its_data_again(readers, monkeypatch):
    nmfkit.fit("powers,rows=6,base=1.5:x.pow", rank=1, max_sweeps=2, tol=0, out="run.zarr")
    (readers / "elsewhere").mkdir()
    monkeypatch.chdir(readers / "elsewhere")
    result = nmfkit.resume(readers / "run.zarr", max_sweeps=4)
    assert len(result.history) > 3
    assert result.attributes["source"]["uri"] == f"powers,rows=6,base=1.5:{readers / 'x.pow'}"


def test_an_output_never_covers_the_data_behind_a_door(readers):
    assert bare("powers,rows=2:x.pow") == "x.pow"
    assert bare("sample:digits") == "sample:digits"
    with pytest.raises(StoreError, match="still needed"):
        check_output(readers, overwrite=True, keep=[open_source("powers:x.pow").uri])
