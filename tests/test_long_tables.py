"""Long tables, one entry a line, become sparse matrices with the identifiers as names."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nmfkit_plugins.tables import long

from nmfkit.errors import Caution, SourceError, UsageError
from nmfkit.sources import open_source
from nmfkit.testing import SourceContract

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

FRAME = pd.DataFrame(
    {
        "user": ["ann", "bob", "ann", "cid"],
        "film": [30, 4, 4, 30],
        "stars": [5.0, 3.0, 0.5, 1.0],
        "time": [9, 8, 7, 6],
    }
)
X = np.array([[0.5, 5], [3, 0], [0, 1]])


def whole(source):
    return source.read(0, source.shape[0]).dense()


def put(path, text):
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def write(folder, kind):
    """The table in a file of that kind, and its path."""
    path = folder / f"x{kind}"
    if kind.startswith(".parquet"):
        FRAME.to_parquet(path)
    else:
        put(path, FRAME.to_csv(index=False, sep="\t" if ".tsv" in kind else ","))
    return path


class TestLong(SourceContract):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path):
        self.path = write(tmp_path, ".csv")

    def make(self):
        return long.read(str(self.path))


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".txt", ".csv.gz", ".parquet"])
@pytest.mark.parametrize("options", ["", ",row=user,column=film,value=stars", ",value=3", ",row=1,column=2"])
def test_every_kind_of_file(tmp_path, kind, options):
    source = open_source(f"long{options}:{write(tmp_path, kind)}")
    assert source.is_sparse
    assert source.row_names == ("ann", "bob", "cid")  # texts as they come
    assert source.feature_names == ("4", "30")  # whole numbers by value
    np.testing.assert_array_equal(whole(source), X)


@pytest.mark.parametrize("kind", [".csv", ".parquet"])
def test_columns_are_chosen_by_name_or_number(tmp_path, kind):
    path = write(tmp_path, kind)
    source = open_source(f"long,row=film,column=1,value=time:{path}")
    np.testing.assert_array_equal(whole(source), [[7, 8, 0], [9, 0, 6]])
    for options, words in (
        ("row=zz", r"no column 'zz' \(row=\); it has user, film, stars, time"),
        ("value=7", r"no column '7' \(value=\)"),
        ("row=2", "name three different"),
        ("repeats=often", "repeats='often' is none of refuse, sum, last"),
    ):
        with pytest.raises(UsageError, match=words):
            open_source(f"long,{options}:{path}")
    with pytest.raises(UsageError, match="single matrix"):
        open_source(f"long:{path}", key="a")


@pytest.mark.parametrize("text", ["u1\ti1\t3\t88\n", "u1::i1::3::88\n", "u1,i1,3,88\n", "u1;i1;3\n", "u1 i1 3\n"])
@pytest.mark.parametrize("head", ["", "# a comment\n\n"])
def test_files_without_a_header(tmp_path, text, head):
    source = open_source(f"long:{put(tmp_path / 'u.data', head + text)}")
    assert (source.row_names, source.feature_names, whole(source).tolist()) == (("u1",), ("i1",), [[3]])


def test_cells_in_quotes(tmp_path):
    path = put(tmp_path / "x.csv", '"Doe, J",film,3')
    source = open_source(f"long:{path}")
    assert source.row_names == ("Doe, J",)


def test_two_columns_are_events(tmp_path):
    path = put(tmp_path / "x.csv", "ann,tea\nbob,tea\nann,tea\n")
    with pytest.raises(
        SourceError, match=r"x\.csv, line 3: row 'ann', column 'tea' has a value already, from line 1 \(1 such"
    ):
        open_source(f"long:{path}")
    assert whole(open_source(f"long,repeats=sum:{path}")).tolist() == [[2], [1]]
    assert whole(open_source(f"long,repeats=last:{path}")).tolist() == [[1], [1]]
    FRAME[["user", "film"]][::2].to_parquet(tmp_path / "e.parquet")  # with an index that has no name
    assert whole(open_source(f"long:{tmp_path / 'e.parquet'}")).tolist() == [[1, 1]]


def test_texts_above_numbers_name_the_columns(tmp_path):
    with pytest.warns(Caution, match=r"x\.csv: the first line is read as names of columns: user, film"):
        source = open_source(f"long:{put(tmp_path / 'x.csv', 'user,film' + chr(10) + '7,8')}")
    assert (source.row_names, source.feature_names) == (("7",), ("8",))


entries = st.lists(st.tuples(st.integers(-3, 3), st.sampled_from("abc"), st.integers(1, 9)), min_size=1, max_size=25)


@given(entries, st.sampled_from(["sum", "last"]), st.sampled_from([".csv", ".parquet"]))
def test_it_is_the_pivot_of_pandas(tmp_path_factory, drawn, repeats, kind):
    frame = pd.DataFrame(drawn, columns=["r", "c", "v"])
    path = tmp_path_factory.mktemp("l") / f"x{kind}"
    frame.to_parquet(path) if kind == ".parquet" else frame.to_csv(path, index=False)
    pivot = frame.pivot_table("v", "r", "c", aggfunc=repeats, fill_value=0)[frame["c"].unique()]
    source = open_source(f"long,repeats={repeats}:{path}")
    np.testing.assert_array_equal(whole(source), pivot.to_numpy())
    assert source.row_names == tuple(map(str, pivot.index))
    assert source.feature_names == tuple(pivot.columns)


def test_values_of_several_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("nmfkit_plugins.tables.long_text.PART", 3)
    monkeypatch.setattr("nmfkit_plugins.tables.long_parquet.PART", 3)
    frame = pd.DataFrame({"r": np.arange(10) // 2, "c": np.arange(10) % 4, "v": np.arange(1, 11)})
    frame.to_csv(tmp_path / "x.csv", index=False)
    frame.to_parquet(tmp_path / "x.parquet", row_group_size=4)
    pivot = frame.pivot_table("v", "r", "c", fill_value=0).to_numpy()
    for kind in ("csv", "parquet"):
        np.testing.assert_array_equal(whole(open_source(f"long:{tmp_path / 'x'}.{kind}")), pivot)
    put(tmp_path / "again.csv", (tmp_path / "x.csv").read_text() + "\n0,0,5\n")
    with pytest.raises(
        SourceError, match=r"again\.csv, line 13: row '0', column '0' has a value already, from line 2 "
    ):
        open_source(f"long:{tmp_path / 'again.csv'}")


def test_an_index_of_several_columns_comes_first(tmp_path):
    FRAME.set_index(["user", "film"])[["stars"]].to_parquet(tmp_path / "x.parquet")
    np.testing.assert_array_equal(whole(open_source(f"long:{tmp_path / 'x.parquet'}")), X)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("user,film,stars\n", "holds no entries"),
        ("a\nb\n", "has 1 columns"),
        ("a,b,3\na,c\n", "line 2: 2 cells, 3 are needed"),
        ("a,b,3\n\n\na,c,x\n", "line 4, column 3: 'x' is not a number"),
        ("a,b,3\na,c,\n", "line 2, column 3: a blank cell is not a number"),
        ("a,b,3\n,c,1\n", "line 2, column 1: the name of the row is blank"),
        ("a,b,3\na,,1\n", "line 2, column 2: the name of the column is blank"),
    ],
)
def test_what_is_no_long_table(tmp_path, text, words):
    with pytest.raises(SourceError, match=rf"x\.csv.*{words}"):
        open_source(f"long:{put(tmp_path / 'x.csv', text)}")


def test_parquet_that_is_no_long_table(tmp_path):
    path = tmp_path / "x.parquet"
    for change, words in (
        ({"user": ["a", None, "c", "d"]}, r"x\.parquet, row 2: 'user' is missing"),
        ({"stars": list("abcd")}, "the values in 'stars' are (large_)?string"),
    ):
        FRAME.assign(**change).to_parquet(path)
        with pytest.raises(SourceError, match=words):
            open_source(f"long:{path}")
    FRAME[["user"]].to_parquet(path)
    with pytest.raises(UsageError, match="row, column and value are user"):
        open_source(f"long:{path}")


def test_a_value_that_is_missing_or_negative_is_left_to_the_probe(tmp_path):
    import nmfkit
    from nmfkit.errors import DataError

    for value, words in (("nan", "NaN"), ("-1", "negative")):
        path = put(tmp_path / "x.csv", f"a,b,1\nb,c,{value}\nc,b,2\n")
        with pytest.raises(DataError, match=words):
            nmfkit.fit(f"long:{path}", rank=1, max_sweeps=1)


def test_ratings_go_round(data_dir, tmp_path):
    films = open_source(data_dir / "ratings/movielens_small.npz")
    x = whole(films)
    i, j = np.nonzero(x)
    frame = pd.DataFrame({"userId": j + 1, "movieId": i + 1, "rating": x[i, j], "timestamp": 0})
    frame.sample(frac=1, random_state=0).to_csv(tmp_path / "ratings.csv", index=False)
    source = open_source(f"long:{tmp_path / 'ratings.csv'}")
    assert source.nnz == films.nnz
    assert source.row_names[:3] == ("1", "2", "3")
    np.testing.assert_array_equal(whole(source), x.T)


@pytest.mark.parametrize(
    ("door", "line"),
    [("long,repeats=sum", b"1,2,3\n"), ("edges", b"1 2 3\n"), ("documents", b"aa bb cc\n"), ("ldac", b"1 0:1\n")],
)
def test_archives_that_unpack_to_far_more_are_refused(tmp_path, monkeypatch, door, line):
    from nmfkit.executors import resources

    monkeypatch.setattr("nmfkit_plugins.files.lines.OFTEN", 2**18)
    monkeypatch.setattr(resources, "free_memory", lambda: 2**20)
    path = tmp_path / "bomb.csv.gz" if door != "documents" else tmp_path / "bomb.txt.gz"
    path.write_bytes(gzip.compress(line * 2**19, 1))
    with pytest.raises(SourceError, match=r"bomb\..*: (what|a) .* takes .*, and 1\.0 MiB of memory are free"):
        open_source(f"{door}:{path}")
    path.write_bytes(gzip.compress(b"1" * 2**27, 1))
    monkeypatch.setattr(resources, "free_memory", lambda: 2**40)
    with pytest.raises(SourceError, match=r"bomb\..*, line 1: more than 64 MiB without an end of line"):
        open_source(f"{door}:{path}")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a::b,c,3\nd::e,f,4\n", (("a::b", "d::e"), ("c", "f"))),
        ('a,"x;y;z;w",3\nb,c,4\n', (("a", "b"), ("x;y;z;w", "c"))),
        ("a, b\tc,,\t3\nd\te\t4\n", (("a, b", "d"), ("c,,", "e"))),
        ("a;b;3\nc,d;e;4\n", (("a", "c,d"), ("b", "e"))),
    ],
)
def test_what_parts_the_cells_is_what_comes_most_often(tmp_path, text, names):
    source = long.read(str(put(tmp_path / "x.txt", text)))
    assert (source.row_names, source.feature_names) == names
    assert np.array_equal(whole(source), [[3, 0], [0, 4]])


def test_two_delimiters_that_come_as_often_are_told(tmp_path):
    with pytest.warns(Caution, match="parted by ',', not by ';'"):
        assert long.read(str(put(tmp_path / "x.txt", "a;b,c\n"))).row_names == ("a;b",)


@pytest.mark.parametrize("first", ["u;i;3,5", "u;i;1_000", "u;i;NA", "u;i;-"])
def test_a_first_value_that_nobody_can_read_is_no_header(tmp_path, first):
    with pytest.raises(SourceError, match=r"line 1, column 3: .* is not a number"):
        long.read(str(put(tmp_path / "x.txt", f"{first}\nv;j;4\n")))


def test_quotes_that_do_not_end_are_refused(tmp_path):
    with pytest.raises(SourceError, match="line 2: the quotes are wrong"):
        long.read(str(put(tmp_path / "x.csv", 'a,b,3\nc,"d,4\ne,f,5\n')))


def test_dates_are_no_values_and_missing_names_no_names(tmp_path):
    frame = pd.DataFrame({"a": ["x", "y"], "b": ["u", "v"], "c": pd.to_datetime(["2020-01-01", "2021-01-01"])})
    frame.to_parquet(tmp_path / "x.parquet")
    with pytest.raises(SourceError, match="'c' are timestamp"):
        long.read(str(tmp_path / "x.parquet"))
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"a": [1.0, np.nan], "b": [b"u", b"v"], "c": [1, 2]}), tmp_path / "y.parquet")
    with pytest.raises(SourceError, match="row 2: 'a' is missing"):
        long.read(str(tmp_path / "y.parquet"))
    parquet.write_table(pyarrow.table({"a": [1.0, 2.5], "b": [b"u", b"v"], "c": [1, 2]}), tmp_path / "z.parquet")
    found = long.read(str(tmp_path / "z.parquet"))
    assert (found.row_names, found.feature_names) == (("1", "2.5"), ("u", "v"))
