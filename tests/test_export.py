"""What other tools read is what was fitted, to the last bit; and nobody's file is damaged."""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import COUNTS, QUICK
from typer.testing import CliRunner

import nmfkit
from nmfkit.cli.app import app
from nmfkit.errors import DataError, SourceError, StoreError, UsageError
from nmfkit.export import FORMATS, as_csv, as_h5ad, contents, into_h5ad
from nmfkit.export import export as write
from nmfkit.export.contents import Contents

M, N = COUNTS.shape
ROWS = [f"row, {i}" if i else 'the "first"' for i in range(M)]
FEATURES = [f"gène {j}" for j in range(N)]


@pytest.fixture(params=["float64", "float32"])
def fitted(request, tmp_path):
    """A run with names, of either precision."""
    anndata = pytest.importorskip("anndata")
    pd = pytest.importorskip("pandas")
    data = anndata.AnnData(COUNTS, obs=pd.DataFrame(index=ROWS), var=pd.DataFrame(index=FEATURES))
    return nmfkit.fit(data, out=tmp_path / "run.zarr", dtype=request.param, loss="kl", **QUICK)


@pytest.fixture
def nameless(tmp_path):
    return nmfkit.fit(COUNTS, out=tmp_path / "run.zarr", loss="kl", **QUICK)


def same(a, b):
    return np.asarray(a).dtype == b.dtype and np.array_equal(a, b)


# --- formats ------------------------------------------------------------------------------------------------


@pytest.fixture(params=[None, 1000], ids=["whole", "blocks"])
def blocks(request, monkeypatch):
    """Blocks of a few rows, too."""
    if request.param:
        monkeypatch.setattr(contents, "BLOCK", request.param)
        monkeypatch.setattr(as_csv, "CELLS", 7)


@pytest.mark.usefixtures("blocks")
def test_npz_is_read_by_numpy_without_pickle(fitted, tmp_path):
    write(fitted.path, tmp_path / "out", format="npz")
    with np.load(tmp_path / "out" / "factors.npz", allow_pickle=False) as found:
        assert same(found["w"], fitted.w)
        assert same(found["h"], fitted.h)
        assert found["rows"].tolist() == ROWS
        assert found["features"].tolist() == FEATURES
        assert found["history_objective"].tolist() == fitted.history.objective.tolist()
        assert json.loads(str(found["description"]))["problem"] == fitted.problem.as_json()
    write(fitted.path, tmp_path / "one.npz")
    assert same(nmfkit.open_source(tmp_path / "one.npz", key="w").read(0, M).dense(), fitted.w)


@pytest.mark.usefixtures("blocks")
def test_csv_is_read_by_pandas_and_by_nmfkit(fitted, tmp_path):
    pd = pytest.importorskip("pandas")
    write(fitted.path, tmp_path / "out", format="csv")
    dtype = fitted.w.dtype
    for name, factor, index, columns in (
        ("w", fitted.w, ROWS, [f"component_{k}" for k in range(1, 5)]),
        ("h", fitted.h, [f"component_{k}" for k in range(1, 5)], FEATURES),
    ):
        found = pd.read_csv(tmp_path / "out" / f"{name}.csv", index_col=0, float_precision="round_trip")
        assert np.array_equal(found.to_numpy().astype(dtype), factor)
        assert (found.index.tolist(), found.columns.tolist()) == (index, columns)
        source = nmfkit.open_source(tmp_path / "out" / f"{name}.csv")
        assert np.array_equal(source.read(0, len(index)).dense().astype(dtype), factor)
        assert (list(source.row_names), list(source.feature_names)) == (index, columns)
    history = pd.read_csv(tmp_path / "out" / "history.csv", float_precision="round_trip")
    assert history.objective.tolist() == fitted.history.objective.tolist()
    assert history.seconds.tolist() == fitted.history.seconds.tolist()


@pytest.mark.usefixtures("blocks")
def test_parquet_is_read_by_pandas(fitted, tmp_path):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    write(fitted.path, tmp_path / "out", format="parquet")
    w, h = (pd.read_parquet(tmp_path / "out" / f"{name}.parquet") for name in "wh")
    assert (w["row"].tolist(), h["feature"].tolist()) == (ROWS, FEATURES)
    assert same(w.drop(columns="row").to_numpy(), fitted.w)
    assert same(h.drop(columns="feature").to_numpy().T, fitted.h)
    assert list(w.columns) == ["row", "component_1", "component_2", "component_3", "component_4"]
    history = pd.read_parquet(tmp_path / "out" / "history.parquet")
    assert history.objective.tolist() == fitted.history.objective.tolist()


@pytest.mark.usefixtures("blocks")
def test_h5ad_is_read_by_anndata(fitted, tmp_path):
    anndata = pytest.importorskip("anndata")
    write(fitted.path, tmp_path / "out.h5ad")
    found = anndata.read_h5ad(tmp_path / "out.h5ad")
    assert found.shape == (M, N)
    assert found.X is None
    assert (found.obs_names.tolist(), found.var_names.tolist()) == (ROWS, FEATURES)
    assert same(found.obsm["X_nmf"], fitted.w)
    assert same(found.varm["nmf"].T, fitted.h)
    told = found.uns["nmfkit"]
    assert told["objective"] == fitted.objective
    assert told["history"]["objective"].tolist() == fitted.history.objective.tolist()
    assert json.loads(told["problem"]) == fitted.problem.as_json()
    found.write_h5ad(tmp_path / "again.h5ad")


@pytest.mark.parametrize("form", FORMATS)
def test_names_that_nobody_knows_are_numbers_or_left_out(nameless, tmp_path, form):
    pytest.importorskip("pyarrow" if form == "parquet" else "h5py")
    made = write(nameless.path, tmp_path / "out", format=form)
    assert sorted(made.files) == sorted(str(p) for p in (tmp_path / "out").iterdir())
    described = json.loads((tmp_path / "out" / "run.json").read_text("utf-8"))
    assert (described["status"], described["shape"]) == ("done", [M, N])
    if form == "csv":
        lines = (tmp_path / "out" / "w.csv").read_text("utf-8").splitlines()
        assert lines[1].startswith("0,")
        assert np.array_equal(nmfkit.open_source(tmp_path / "out" / "w.csv").read(0, M).dense(), nameless.w)
    if form == "npz":
        with np.load(tmp_path / "out" / "factors.npz") as found:
            assert {"rows", "features"} & set(found.files) == set()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12), min_size=1))
def test_any_names_survive_npz(names):
    import tempfile
    import zipfile

    from nmfkit.export.as_npz import _put_names

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npz"
        with zipfile.ZipFile(path, "w") as archive:
            _put_names(archive, "rows", names)
        with np.load(path, allow_pickle=False) as found:
            assert found["rows"].tolist() == names


@given(st.lists(st.floats(0, width=32) | st.floats(0), min_size=1, max_size=30), st.sampled_from(["f4", "f8"]))
def test_numbers_survive_csv(values, dtype):
    with np.errstate(over="ignore"):
        table = np.array(values).astype(dtype)[:, None]
    texts = [cell for row in as_csv._texts(table) for cell in row]
    assert np.array_equal(np.array([float(t) for t in texts]).astype(dtype), table[:, 0])


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")), min_size=1, max_size=5))
def test_any_names_survive_csv(labels):
    with tempfile.TemporaryDirectory() as folder:
        as_csv._write(Path(folder) / "w.csv", labels, labels, iter([["1"] * len(labels)] * len(labels)))
        with (Path(folder) / "w.csv").open(encoding="utf-8", newline="") as file:
            header, *lines = list(csv.reader(file))
    assert header == ["", *labels]
    assert [line[0] for line in lines] == labels


def test_further_factors_go_along(nameless, tmp_path):
    """A model may have factors of any shape: those with n columns belong to the features."""
    result = nmfkit.load(nameless.path)

    class Deeper(Contents):
        @property
        def shared(self):
            return {"h1": result.h[:2], "h2": np.eye(4), "scale": np.arange(3.0), "alpha": np.float64(2)}

    deep = Deeper(result)
    (tmp_path / "csv").mkdir()
    as_csv.write(deep, tmp_path / "csv")
    assert {"w.csv", "h1.csv", "h2.csv", "scale.csv", "alpha.csv"} < {p.name for p in (tmp_path / "csv").iterdir()}
    assert np.array_equal(nmfkit.open_source(tmp_path / "csv" / "h2.csv").read(0, 4).dense(), np.eye(4))
    anndata = pytest.importorskip("anndata")
    as_h5ad.write(deep, tmp_path / "deep.h5ad")
    found = anndata.read_h5ad(tmp_path / "deep.h5ad")
    assert np.array_equal(found.varm["nmf_h1"].T, result.h[:2])
    assert np.array_equal(found.uns["nmfkit"]["factors"]["h2"], np.eye(4))


def test_a_run_that_is_not_finished_is_exported_and_said(tmp_path):
    class Stopping(nmfkit.Watcher):
        def sweep(self, state):
            if state.sweep == 3:
                raise KeyboardInterrupt

    with pytest.raises(nmfkit.Interrupted):
        nmfkit.fit(COUNTS, out=tmp_path / "run.zarr", watcher=Stopping(), **QUICK)
    made = write(tmp_path / "run.zarr", tmp_path / "out")
    assert made.notes == ("the run is not finished: this is its checkpoint after sweep 3",)


def test_a_result_in_memory_is_exported_as_one_on_disk(tmp_path):
    result = nmfkit.fit(COUNTS, **QUICK)
    write(result, tmp_path / "one.npz")
    with np.load(tmp_path / "one.npz") as found:
        assert same(found["w"], result.w)


def test_no_more_than_a_block_of_rows_is_read_at_once(nameless, monkeypatch, tmp_path):
    monkeypatch.setattr(contents, "BLOCK", 10 * 4 * 8)
    result = nmfkit.load(nameless.path)
    read = []

    class Counting:
        lasting = False

        def read(self, lo, hi):
            read.append(hi - lo)
            return result.state.rows.read(lo, hi)

    counted = replace(result, state=replace(result.state, rows=Counting()))
    for form in FORMATS:
        write(counted, tmp_path / form, format=form)
    assert max(read) == 10


# --- where it goes --------------------------------------------------------------------------------------------


def test_what_stands_there_is_replaced_only_if_it_is_an_export_and_that_is_asked_for(nameless, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    write(nameless.path, out, format="npz")  # an empty folder is as good as none
    with pytest.raises(StoreError, match="exists; choose another name or pass --overwrite"):
        write(nameless.path, out)
    write(nameless.path, out, format="csv", overwrite=True)
    assert {p.name for p in out.iterdir()} == {"w.csv", "h.csv", "history.csv", "run.json"}
    (out / "diary.txt").write_text("mine")
    with pytest.raises(StoreError, match="holds other files"):
        write(nameless.path, out, overwrite=True)
    assert (out / "diary.txt").read_text() == "mine"
    mine = tmp_path / "mine.npz"
    np.savez(mine, w=np.ones(3))
    with pytest.raises(StoreError, match="no export of nmfkit"):
        write(nameless.path, mine, overwrite=True)
    with pytest.raises(StoreError, match="lies inside the zarr store"):
        write(nameless.path, tmp_path / "run.zarr" / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.npz", "out", "run.zarr"]


@pytest.mark.parametrize("name", ["data.npz", "data.h5ad", "data"])
def test_the_data_of_the_run_are_never_replaced(nameless, tmp_path, name):
    pytest.importorskip("h5py")
    out = tmp_path / name
    write(nameless.path, out)  # an export, so that nothing but what it is needed for protects it
    held = {"data.npz": out, "data.h5ad": f"{out}", "data": out / "w.csv"}[name]
    key = {"data.npz": "w", "data.h5ad": "obsm/X_nmf", "data": None}[name]
    again = nmfkit.fit(held, key=key, out=tmp_path / "again.zarr", **{**QUICK, "rank": 2})
    before = out.stat().st_ino
    with pytest.raises(StoreError, match="still needed"):
        write(again.path, out, overwrite=True)
    assert out.stat().st_ino == before


def test_an_archive_that_describes_itself_is_no_export(nameless, tmp_path):
    mine = tmp_path / "mine.npz"
    np.savez(mine, x=np.ones(3), description=np.array('{"title": "mine"}'))
    with pytest.raises(StoreError, match="no export of nmfkit"):
        write(nameless.path, mine, overwrite=True)


def test_an_export_that_fails_leaves_nothing_or_the_older_one(nameless, tmp_path, monkeypatch):
    out = tmp_path / "out"
    write(nameless.path, out)
    before = (out / "w.csv").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(as_csv, "_write", full)
    for place in (out, tmp_path / "other"):
        with pytest.raises(StoreError, match="cannot be written: the disk is full"):
            write(nameless.path, place, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "run.zarr"]
    assert (out / "w.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "no output is given"),
        ({"out": "o", "format": "xlsx"}, "format 'xlsx' is not one of npz, csv, parquet, h5ad"),
        ({"out": "o.npz", "format": "csv"}, "format csv does not write such a file"),
        ({"out": "o", "in_place": True}, "add --into FILE.h5ad"),
        ({"into": "a.h5ad"}, "name the copy of a.h5ad"),
        ({"into": "a.h5ad", "out": "b.h5ad", "in_place": True}, "changes a.h5ad itself, and -o names a copy"),
        ({"into": "a.h5ad", "out": "b.h5ad", "format": "csv"}, "format csv cannot go into a.h5ad"),
        ({"into": "a.h5ad", "out": "b"}, "should end in .h5ad"),
        ({"out": "s3://bucket/out"}, "this is written to a local directory"),
    ],
)
def test_what_does_not_go_together_is_refused(nameless, given, told):
    with pytest.raises(UsageError, match=told):
        write(nameless.path, given.pop("out", None), **given)


@pytest.mark.parametrize(("form", "module", "extra"), [("parquet", "pyarrow", "parquet"), ("h5ad", "h5py", "h5ad")])
def test_a_library_that_is_missing_is_named_with_its_extra(nameless, tmp_path, monkeypatch, form, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=rf'needs {module}.*pip install "nmfkit\[{extra}\]"'):
        write(nameless.path, tmp_path / "out", format=form)
    assert [p.name for p in tmp_path.iterdir()] == ["run.zarr"]


# --- into an AnnData file -------------------------------------------------------------------------------------


def cells(path, rows=ROWS, features=FEATURES, **more):
    """A file as a session leaves it, with other things in it."""
    anndata = pytest.importorskip("anndata")
    pd = pytest.importorskip("pandas")
    sparse = pytest.importorskip("scipy.sparse")
    obs = pd.DataFrame({"batch": pd.Categorical(["a", "b"] * (len(rows) // 2) + ["a"] * (len(rows) % 2))}, index=rows)
    x = sparse.csr_matrix(np.resize(COUNTS, (len(rows), len(features))))
    data = anndata.AnnData(x, obs=obs, var=pd.DataFrame(index=features))
    data.obsm["X_pca"] = np.ones((len(rows), 2))
    data.layers["counts"] = x.copy()
    data.uns["session"] = {"params": {"n": 3}}
    data.write_h5ad(path, **more)
    return path


@pytest.mark.parametrize("in_place", [False, True])
def test_factors_go_into_a_file_that_keeps_all_else(fitted, tmp_path, in_place):
    anndata = pytest.importorskip("anndata")
    file = cells(tmp_path / "cells.h5ad")
    before = file.read_bytes()
    file.chmod(0o640)
    place = {"in_place": True} if in_place else {"out": tmp_path / "new.h5ad"}
    made = write(fitted.path, into=file, **place)
    assert made.notes == ()
    new = file if in_place else tmp_path / "new.h5ad"
    if not in_place:
        assert file.read_bytes() == before
    found = anndata.read_h5ad(new)
    assert same(found.obsm["X_nmf"], fitted.w)
    assert same(found.varm["nmf"].T, fitted.h)
    assert np.array_equal(found.X.toarray(), COUNTS)
    assert set(found.obsm) == {"X_pca", "X_nmf"}
    assert (set(found.layers), found.uns["session"]["params"]["n"]) == ({"counts"}, 3)
    assert found.obs["batch"].tolist()[:2] == ["a", "b"]
    assert new.stat().st_mode & 0o777 == 0o640
    assert {p.name for p in tmp_path.iterdir()} == {"run.zarr", "cells.h5ad", new.name}
    with pytest.raises(StoreError, match=r"holds obsm/X_nmf, varm/nmf, uns/nmfkit already; pass --overwrite"):
        write(fitted.path, into=new, in_place=True)
    write(fitted.path, into=new, in_place=True, overwrite=True)


def test_a_file_that_factors_went_into_is_no_export(fitted, tmp_path):
    anndata = pytest.importorskip("anndata")
    mine, copy, worked_on = (tmp_path / f"{name}.h5ad" for name in ("mine", "copy", "worked_on"))
    file = cells(mine)
    write(fitted.path, into=file, in_place=True)
    write(fitted.path, copy, into=file, overwrite=True)
    anndata.read_h5ad(copy).write_h5ad(worked_on)
    changed = cells(tmp_path / "changed.h5ad")
    write(fitted.path, into=copy, out=changed.with_name("second.h5ad"), overwrite=True)
    for own in (mine, worked_on):
        before = own.read_bytes()
        with pytest.raises(StoreError, match="no export of nmfkit"):
            write(fitted.path, own, overwrite=True)
        with pytest.raises(StoreError, match="no export of nmfkit"):
            write(fitted.path, own, into=changed, overwrite=True)
        assert own.read_bytes() == before
    write(fitted.path, copy, into=changed, overwrite=True)  # one that export made is replaced
    write(fitted.path, into=copy, in_place=True, overwrite=True)
    with pytest.raises(StoreError, match="no export of nmfkit"):  # it has been named as the user's own
        write(fitted.path, copy, overwrite=True)


def test_a_file_that_is_read_only_is_copied_and_not_changed(fitted, tmp_path, monkeypatch):
    file = cells(tmp_path / "cells.h5ad")
    file.chmod(0o444)
    write(fitted.path, tmp_path / "new.h5ad", into=file)
    assert (tmp_path / "new.h5ad").stat().st_mode & 0o777 == 0o644
    before = file.read_bytes()
    monkeypatch.setattr(into_h5ad.os, "access", lambda *_: False)  # who may do all, as root, is told no
    with pytest.raises(StoreError, match="may not be written; write a copy of it"):
        write(fitted.path, into=file, in_place=True)
    assert file.read_bytes() == before


def test_what_leads_to_another_file_is_refused(fitted, tmp_path):
    h5py = pytest.importorskip("h5py")
    file, other = cells(tmp_path / "cells.h5ad"), tmp_path / "other.h5"
    with h5py.File(other, "w") as made:
        made.create_group("obsm")
    with h5py.File(file, "r+") as changed:
        del changed["obsm"]
        changed["obsm"] = h5py.ExternalLink("other.h5", "/obsm")
    before = other.read_bytes()
    with pytest.raises(SourceError, match=r"obsm leads to another file, other\.h5"):
        write(fitted.path, into=file, in_place=True)
    assert other.read_bytes() == before


def test_names_stored_as_numbers_of_texts_are_matched(fitted, tmp_path):
    h5py = pytest.importorskip("h5py")
    file = cells(tmp_path / "cells.h5ad")
    with h5py.File(file, "r+") as changed:
        name = changed["obs"].attrs["_index"]
        del changed[f"obs/{name}"]
        changed[f"obs/{name}/categories"] = np.array(ROWS, dtype=object)
        changed[f"obs/{name}/codes"] = np.arange(M, dtype="i1")[::-1]
    write(fitted.path, into=file, in_place=True)
    with h5py.File(file) as found:
        assert np.array_equal(found["obsm/X_nmf"][:], fitted.w[::-1])


@pytest.mark.parametrize(("name", "told"), [("none.h5ad", "does not exist"), (".", "is no file")])
def test_a_file_that_is_not_there_is_told(fitted, tmp_path, name, told):
    with pytest.raises(SourceError, match=told):
        write(fitted.path, into=tmp_path / name, in_place=True)


def test_what_somebody_writes_into_the_file_meanwhile_is_kept(fitted, tmp_path, monkeypatch):
    file = cells(tmp_path / "cells.h5ad")

    def put(*_):
        file.write_bytes(b"newer")

    monkeypatch.setattr(into_h5ad, "put_factors", put)
    with pytest.raises(StoreError, match="changed meanwhile"):
        write(fitted.path, into=file, in_place=True)
    assert file.read_bytes() == b"newer"


def test_a_damaged_file_is_refused_and_untouched(fitted, tmp_path):
    file = cells(tmp_path / "cells.h5ad")
    whole, names = file.read_bytes(), b"row, 1"
    at = whole.index(names)
    file.write_bytes(whole[: at - 64] + b"\xff" * 96 + whole[at + 32 :])
    before = file.read_bytes()
    with pytest.raises((SourceError, DataError)):
        write(fitted.path, into=file, in_place=True)
    assert file.read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"run.zarr", "cells.h5ad"}


def test_another_order_of_names_is_realigned_and_said(fitted, tmp_path):
    anndata = pytest.importorskip("anndata")
    rng = np.random.default_rng(0)
    rows, features = rng.permutation(M), rng.permutation(N)
    file = cells(tmp_path / "cells.h5ad", [ROWS[i] for i in rows], [FEATURES[j] for j in features])
    made = write(fitted.path, into=file, in_place=True)
    assert [note.split(" of ")[0] for note in made.notes] == ["the rows", "the features"]
    found = anndata.read_h5ad(file)
    assert np.array_equal(found.obsm["X_nmf"], fitted.w[rows])
    assert np.array_equal(found.varm["nmf"].T, fitted.h[:, features])


def test_a_run_without_names_goes_in_by_order_and_says_so(nameless, tmp_path):
    file = cells(tmp_path / "cells.h5ad")
    made = write(nameless.path, into=file, in_place=True)
    assert "the run has no names of rows" in made.notes[0]


@pytest.mark.parametrize(
    ("rows", "features", "told"),
    [
        (ROWS[:-1], FEATURES, "59 observations × 40 variables, and the run was fitted to 60 rows × 40 features"),
        (FEATURES, ROWS, "it is the transpose of what was fitted"),
        ([*ROWS[:-1], "stranger"], FEATURES, "'stranger', unknown to the run; the run has 'row, 59', unknown to the"),
        (ROWS, ["x", *FEATURES[1:]], "the features differ by the names in var"),
    ],
)
def test_a_file_of_other_cells_is_refused_and_untouched(fitted, tmp_path, rows, features, told):
    file = cells(tmp_path / "cells.h5ad", rows, features)
    before = file.read_bytes()
    with pytest.raises(DataError, match=told):
        write(fitted.path, into=file, in_place=True)
    assert file.read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"run.zarr", "cells.h5ad"}


def test_names_that_are_there_twice_are_no_way_to_realign():
    names = ["a", "b", "b"]
    with pytest.raises(DataError, match="some names are there twice \\('b'\\)"):
        into_h5ad._order(Path("x"), "row", "obs", names, ["b", "a", "b"])
    assert into_h5ad._order(Path("x"), "row", "obs", names, names) == (None, [])


@pytest.mark.parametrize("content", [b"", b"no HDF5", None])
def test_what_is_no_anndata_file_is_refused_and_untouched(fitted, tmp_path, content):
    h5py = pytest.importorskip("h5py")
    file = tmp_path / "x.h5ad"
    if content is None:
        with h5py.File(file, "w") as made:
            made["obs"] = np.arange(3)
    else:
        file.write_bytes(content)
    before = file.read_bytes()
    with pytest.raises(SourceError, match=r"cannot be read as an HDF5 file|is no AnnData file"):
        write(fitted.path, into=file, in_place=True)
    assert file.read_bytes() == before


def test_a_write_that_fails_leaves_the_file_as_it_was(fitted, tmp_path, monkeypatch):
    file = cells(tmp_path / "cells.h5ad")
    before = file.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(into_h5ad, "put_factors", full)
    with pytest.raises(StoreError, match="the disk is full"):
        write(fitted.path, into=file, in_place=True)
    assert file.read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"run.zarr", "cells.h5ad"}


def test_a_copy_is_never_the_file_itself(fitted, tmp_path):
    file = cells(tmp_path / "cells.h5ad")
    with pytest.raises(UsageError, match="is the file itself"):
        write(fitted.path, tmp_path / "sub" / ".." / "cells.h5ad", into=file, overwrite=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of scanpy are its own
def test_a_scanpy_session_goes_on(fitted, tmp_path):
    scanpy = pytest.importorskip("scanpy")
    file = cells(tmp_path / "cells.h5ad")
    write(fitted.path, into=file, in_place=True)
    data = scanpy.read_h5ad(file)
    scanpy.pp.neighbors(data, n_neighbors=5, use_rep="X_nmf")
    assert data.obsp["distances"].shape == (M, M)


# --- the command ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_the_command_says_what_it_wrote(nameless, tmp_path, form):
    pytest.importorskip("pyarrow" if form == "parquet" else "h5py")
    command = ["export", nameless.path, "-o", str(tmp_path / "out"), "--format", form]
    shown = CliRunner().invoke(app, [*command, "--json"])
    assert shown.exit_code == 0
    found = json.loads(shown.stdout)
    assert found["format"] == form
    assert all(Path(file).exists() for file in found["files"])
    again = CliRunner().invoke(app, command)
    assert (again.exit_code, "--overwrite" in again.stderr) == (1, True)
    words = CliRunner().invoke(app, [*command, "--overwrite"])
    assert (words.exit_code, "run.json" in words.stdout) == (0, True)


def test_the_command_refuses_before_it_looks_for_the_run(tmp_path):
    shown = CliRunner().invoke(app, ["export", str(tmp_path / "no.zarr"), "--format", "xls"])
    assert shown.exit_code == 2
    assert "format 'xls' is not one of" in shown.stderr
