"""Parquet tables are read by row groups as they were written, with the names that they hold."""

from __future__ import annotations

import pickle
import sys
import tracemalloc

import numpy as np
import pytest
from nmfkit_plugins.tables import parquet

from nmfkit.errors import DataError, SourceError, UsageError
from nmfkit.sources import open_source
from nmfkit.testing import SourceContract

pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

X = np.random.default_rng(0).integers(0, 9, (60, 5)) * 0.5
NAMES = tuple(f"s{i}" for i in range(60))
FEATURES = tuple("abcde")


def frame(dtype=np.float64, index=None):
    return pd.DataFrame(X.astype(dtype), columns=list(FEATURES), index=index)


def whole(source, target=2**20):
    return np.vstack([source.read(lo, hi).values for lo, hi in source.bounds(target)])


class TestParquet(SourceContract):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path):
        self.path = tmp_path / "x.parquet"
        frame(index=list(NAMES)).to_parquet(self.path, row_group_size=7)

    def make(self):
        return parquet.read(str(self.path))


@pytest.mark.parametrize("groups", [7, 60, 10**6])
@pytest.mark.parametrize("target", [1, 200, 2**30])
def test_it_is_streamed_by_row_groups(tmp_path, groups, target):
    frame(index=list(NAMES)).to_parquet(tmp_path / "x.parquet", row_group_size=groups)
    source = pickle.loads(pickle.dumps(open_source(tmp_path / "x.parquet")))
    assert not source.resident
    np.testing.assert_array_equal(whole(source, target), X)
    assert source.row_names == NAMES
    assert source.row_names[8:10] == ("s8", "s9")
    assert source.feature_names == FEATURES
    with pytest.raises(UsageError, match="single matrix"):
        open_source(tmp_path / "x.parquet", key="a")


def test_blocks_end_where_row_groups_do_unless_these_are_large(tmp_path):
    frame().to_parquet(tmp_path / "x.parquet", row_group_size=10)
    source = open_source(tmp_path / "x.parquet")
    row = 5 * 8
    assert source.bounds(25 * row) == [(0, 20), (20, 40), (40, 60)]
    assert source.bounds(10 * row) == [(lo, lo + 10) for lo in range(0, 60, 10)]
    assert source.bounds(2 * row) == [(lo, lo + 2) for lo in range(0, 60, 2)]


@pytest.mark.parametrize(
    ("index", "options", "names"),
    [
        (None, "", None),
        (pd.Index(NAMES, name="id"), "", NAMES),
        (pd.Index(range(5, 65)), "", None),
        (pd.Index([*range(59), 70]), "", (*map(str, range(59)), "70")),
        (pd.CategoricalIndex(NAMES), "", NAMES),
    ],
)
def test_the_index_of_pandas_names_the_rows(tmp_path, index, options, names):
    frame(index=index).to_parquet(tmp_path / "x.parquet", row_group_size=25)
    source = open_source(tmp_path / "x.parquet")
    assert source.row_names == names
    assert source.feature_names == FEATURES
    np.testing.assert_array_equal(whole(source), X)


@pytest.mark.parametrize("dtype", ["str", "category"])
def test_the_only_column_of_text_names_the_rows(tmp_path, dtype):
    table = frame().assign(name=pd.Series(NAMES, dtype=dtype), kind=list("xyz") * 20)
    path = tmp_path / "x.parquet"
    table.drop(columns="kind").to_parquet(path, row_group_size=25)
    assert open_source(path).row_names == NAMES
    table.to_parquet(path)
    with pytest.raises(
        SourceError, match=r"columns that are no numbers: name \(.*\), kind \(.*\); leave them out with"
    ):
        open_source(path)
    for options, names in (("drop=kind", NAMES), ("names=name,drop=kind", NAMES), ("drop=kind+name", None)):
        source = open_source(f"parquet,{options}:{path}")
        assert source.row_names == names
        np.testing.assert_array_equal(whole(source), X)
    assert open_source(f"parquet,names=name,drop=kind+a+b:{path}").feature_names == ("c", "d", "e")
    with pytest.raises(UsageError, match="no column 'zz'; it has a, b, c, d, e, name, kind"):
        open_source(f"parquet,drop=zz:{path}")


@pytest.mark.parametrize(
    ("dtype", "read"),
    [("float32", "f4"), ("float64", "f8"), ("int64", "f8"), ("uint8", "f4"), ("bool", "f4"), ("float16", "f4")],
)
def test_types_of_numbers(tmp_path, dtype, read):
    frame(dtype).to_parquet(tmp_path / "x.parquet")
    source = open_source(tmp_path / "x.parquet")
    assert source.dtype == read
    np.testing.assert_array_equal(whole(source), X.astype(dtype).astype(read))
    mixed = frame().assign(a=X[:, 0].astype("float32"), b=X[:, 1].astype("int8"))
    mixed.to_parquet(tmp_path / "m.parquet")
    assert open_source(tmp_path / "m.parquet").dtype == np.float64


def test_missing_numbers_are_nan_and_told_as_such(tmp_path):
    import nmfkit

    table = frame().convert_dtypes(convert_integer=True)
    table.loc[3, "b"] = pd.NA
    table["f"] = pd.array([True, False, None] * 20, dtype="boolean")
    table.to_parquet(tmp_path / "x.parquet")
    x = whole(open_source(tmp_path / "x.parquet"))
    assert np.isnan(x[3, 1])
    assert np.isnan(x[2::3, 5]).all()
    assert np.isnan(x).sum() == 21
    with pytest.raises(DataError, match="NaN"):
        nmfkit.fit(str(tmp_path / "x.parquet"), rank=1, max_sweeps=1)


def test_numbers_that_do_not_fit_are_refused(tmp_path):
    frame().assign(a=1e300).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(DataError, match="outside the range of float32"):
        open_source(tmp_path / "x.parquet", dtype="float32").read(0, 60)


def test_a_folder_of_files_is_one_table(tmp_path):
    for i, part in enumerate(np.split(np.arange(60), [13, 13, 40])):
        frame(index=list(NAMES)).iloc[part].to_parquet(tmp_path / f"part-{i}.parquet")
    (tmp_path / "_SUCCESS").touch()
    source = open_source(f"parquet:{tmp_path}")
    np.testing.assert_array_equal(whole(source, 300), X)
    assert source.row_names == NAMES
    frame().rename(columns={"c": "z"}).to_parquet(tmp_path / "part-9.parquet")
    with pytest.raises(SourceError, match=r"part-9\.parquet has other columns .*: it lacks .*c.*; it adds z"):
        open_source(f"parquet:{tmp_path}")
    (tmp_path / "none").mkdir()
    with pytest.raises(SourceError, match="without files that end in"):
        open_source(f"parquet:{tmp_path / 'none'}")


def test_files_of_arrow_without_pandas(tmp_path):
    table = pa.table({"id": pa.array(NAMES), "a": X[:, 0], "a.b": X[:, 1]})
    pq.write_table(table, tmp_path / "x.pq", row_group_size=11)
    source = open_source(tmp_path / "x.pq")
    assert (source.row_names, source.feature_names) == (NAMES, ("a", "a.b"))
    np.testing.assert_array_equal(whole(source), X[:, :2])


def test_an_index_of_several_columns_is_refused(tmp_path):
    table = frame(index=pd.MultiIndex.from_product([range(6), range(10)], names=["p", "q"]))
    table.to_parquet(tmp_path / "x.parquet")
    with pytest.raises(SourceError, match="an index of several columns, p, q; parquet,names=NAME:FILE names one"):
        open_source(tmp_path / "x.parquet")
    assert open_source(f"parquet,names=p:{tmp_path / 'x.parquet'}").row_names[:11] == ("0",) * 10 + ("1",)


@pytest.mark.parametrize("cut", [0, 3, 100, -1, -40])
def test_damage_is_told(tmp_path, cut):
    frame().to_parquet(tmp_path / "x.parquet")
    stored = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "x.parquet").write_bytes(stored[:cut])
    with pytest.raises(SourceError, match=r"x\.parquet is no readable Parquet file"):
        open_source(tmp_path / "x.parquet")


def test_what_is_no_matrix(tmp_path):
    frame().iloc[:0].to_parquet(tmp_path / "none.parquet")
    with pytest.raises(DataError, match="empty, 0 rows"):
        open_source(tmp_path / "none.parquet")
    pd.DataFrame({"a": ["x"]}).to_parquet(tmp_path / "text.parquet")
    with pytest.raises(DataError, match="empty, 1 rows × 0 columns"):
        open_source(tmp_path / "text.parquet")
    pd.DataFrame({"a": [1.0], "t": [pd.Timestamp(0)], "l": [[1, 2]]}).to_parquet(tmp_path / "odd.parquet")
    with pytest.raises(SourceError, match=r"no numbers: t \(timestamp.*\), l \(list"):
        open_source(tmp_path / "odd.parquet")


def test_a_file_that_changes_or_goes_is_told(tmp_path):
    frame().to_parquet(tmp_path / "x.parquet")
    source = open_source(tmp_path / "x.parquet")
    frame().iloc[:30].to_parquet(tmp_path / "x.parquet")
    with pytest.raises(SourceError, match=r"x\.parquet: rows 0 … 59 are not all there"):
        source.read(0, 60)
    (tmp_path / "x.parquet").unlink()
    with pytest.raises(SourceError, match=r"x\.parquet is no readable Parquet file"):
        source.read(0, 60)


def test_reading_holds_little_besides_its_result(tmp_path):
    x = np.random.default_rng(0).random((2**16, 40))  # 20 MiB in 16 row groups
    pd.DataFrame(x, columns=[f"f{j}" for j in range(40)]).to_parquet(tmp_path / "x.parquet", row_group_size=2**12)
    source = open_source(tmp_path / "x.parquet")
    pa.default_memory_pool().release_unused()
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    for lo, hi in source.bounds(2**21):
        values = source.read(lo, hi).values
        assert (values == x[lo:hi]).all()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 2**21 + 2**20
    assert pa.total_allocated_bytes() - before < 2**20


def test_without_pyarrow_the_message_says_what_to_install(tmp_path, monkeypatch):
    frame().to_parquet(tmp_path / "x.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(SourceError, match=r"pip install 'nmfkit\[parquet\]'"):
        open_source(tmp_path / "x.parquet")


def test_what_looks_like_a_long_table_is_told(tmp_path):
    from nmfkit.errors import Caution

    table = pd.DataFrame({"user": np.arange(2000), "film": 1, "stars": 2.0})
    table.to_parquet(tmp_path / "x.parquet")
    with pytest.warns(Caution, match=r"2000 samples of user, film, stars; if each row is one entry .*, write long:"):
        open_source(tmp_path / "x.parquet")


def test_files_of_a_folder_have_a_type_that_holds_them_all(tmp_path):
    pq.write_table(pa.table({"a": pa.array([1, 2], pa.int8()), "b": [None, 4]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": [1.123456789012345, 2], "b": pa.nulls(2)}), tmp_path / "2.parquet")
    source = parquet.read(str(tmp_path))
    assert source.dtype == np.float64
    np.testing.assert_array_equal(
        source.read(0, 4).values, [[1, np.nan], [2, 4], [1.123456789012345, np.nan], [2, np.nan]]
    )
    pq.write_table(pa.table({"a": ["x"], "b": [3]}), tmp_path / "3.parquet")
    with pytest.raises(SourceError, match=r"3.parquet has columns of another kind"):
        parquet.read(str(tmp_path))
