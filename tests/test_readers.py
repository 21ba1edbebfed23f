"""Every file format gives the matrix that was written, with its names; damaged files are refused by line and column."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp
from nmfkit_plugins.files import nmfkit_readers

from nmfkit.errors import DataError, SourceError, UsageError
from nmfkit.hookspecs import ReaderSpec
from nmfkit.sources import open_source

DATA = Path(os.environ.get("NMFKIT_DATA", Path(__file__).parents[2] / "shared" / "data"))


def real(name):
    """A file of the real data sets, which do not come with the project."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is absent; set NMFKIT_DATA to the folder of data sets")
    return path


def matrix():
    return np.random.default_rng(0).integers(0, 3, (6, 4)) * 1.0


def whole(source):
    return source.read(0, source.shape[0]).dense()


# --- arrays and sparse matrices -----------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(tmp_path, order):
    np.save(tmp_path / "x.npy", np.asarray(matrix(), order=order))
    source = open_source(tmp_path / "x.npy")
    assert source.uri.endswith("x.npy")
    np.testing.assert_array_equal(whole(source), matrix())


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_a_damaged_npy_is_refused(tmp_path, content):
    np.save(tmp_path / "x.npy", matrix())
    stored = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(stored[:-8] if content is None else content)
    with pytest.raises(SourceError, match=r"x\.npy is no readable NumPy file: ") as told:
        open_source(tmp_path / "x.npy")
    assert "pickle" not in str(told.value)


def test_arrays_of_objects_are_refused_unread(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[None, 1]], dtype=object))
    with pytest.raises(SourceError, match=r"x\.npy is no readable NumPy file: .*Python objects"):
        open_source(tmp_path / "x.npy")
    np.savez(tmp_path / "x.npz", format="csr", shape=(1, 2), data=np.array([None]))
    with pytest.raises(SourceError, match=r"x\.npz is no readable NumPy file: it holds Python objects"):
        open_source(tmp_path / "x.npz")


@pytest.mark.parametrize("kind", [sp.csr_array, sp.csc_array, sp.coo_array])
def test_npz_of_scipy(tmp_path, kind):
    sp.save_npz(tmp_path / "x.npz", kind(matrix()))
    source = open_source(tmp_path / "x.npz")
    assert source.is_sparse
    np.testing.assert_array_equal(whole(source), matrix())


@pytest.mark.parametrize("kind", [sp.csr_array, sp.csc_array])
def test_npz_of_sparse_parts_with_labels_and_names(tmp_path, kind):
    x = kind(matrix())
    parts = {name: getattr(x, name) for name in ("data", "indices", "indptr", "shape")}
    np.savez(tmp_path / "x.npz", **parts, labels=np.arange(6), rows=np.array(list("abcdef")))
    source = open_source(tmp_path / "x.npz")
    np.testing.assert_array_equal(whole(source), matrix())
    assert source.row_names == tuple("abcdef")
    assert source.feature_names is None


def test_npz_of_several_matrices(tmp_path):
    x = sp.csr_array(matrix())
    parts = {f"attr_{name}": getattr(x, name) for name in ("data", "indices", "indptr", "shape")}
    np.savez(tmp_path / "x.npz", **parts, A=np.eye(3), y=np.arange(3), o=np.array([None]))
    with pytest.raises(SourceError, match=r"--key NAME. It holds: attr 6×4, A 3×3, y \(1-D int64\)"):
        open_source(tmp_path / "x.npz")
    np.testing.assert_array_equal(whole(open_source(tmp_path / "x.npz", key="attr")), matrix())
    np.testing.assert_array_equal(whole(open_source(tmp_path / "x.npz", key="A")), np.eye(3))
    for key, why in (("y", "is 1-D int64"), ("zz", "does not exist"), ("o", "is 1-D object")):
        with pytest.raises(UsageError, match=why):
            open_source(tmp_path / "x.npz", key=key)


def npy_bytes():
    buffer = io.BytesIO()
    np.save(buffer, matrix())
    return buffer.getvalue()


@pytest.mark.parametrize("content", [b"", b"nonsense", npy_bytes(), None])
def test_a_damaged_npz_is_refused(tmp_path, content):
    sp.save_npz(tmp_path / "x.npz", sp.csr_array(matrix()))
    stored = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(stored[:200] if content is None else content)
    with pytest.raises(SourceError, match=r"x\.npz is no readable NumPy file: ") as told:
        open_source(tmp_path / "x.npz")
    assert "pickle" not in str(told.value)


def test_npz_with_names_as_objects_and_members_that_are_no_arrays(tmp_path):
    np.savez(tmp_path / "x.npz", x=matrix(), rows=np.array(list("abcdef"), dtype=object))
    with zipfile.ZipFile(tmp_path / "x.npz", "a") as archive:
        archive.writestr("readme.txt", "about x")
    source = open_source(tmp_path / "x.npz")
    np.testing.assert_array_equal(whole(source), matrix())
    assert source.row_names is None
    with pytest.raises(UsageError, match=r"'readme\.txt' is no array"):
        open_source(tmp_path / "x.npz", key="readme.txt")


@pytest.mark.parametrize("suffix", [".mtx", ".mtx.gz", ".MTX"])
@pytest.mark.parametrize("lay", [np.asarray, sp.coo_array])
def test_mtx(tmp_path, suffix, lay):
    scipy.io.mmwrite(tmp_path / "x.mtx", lay(matrix()))
    text = (tmp_path / "x.mtx").read_bytes()
    path = tmp_path / f"y{suffix}"
    path.write_bytes(gzip.compress(text) if suffix.endswith("gz") else text)
    np.testing.assert_array_equal(whole(open_source(path)), matrix())
    with pytest.raises(UsageError, match="single matrix"):
        open_source(path, key="a")


def test_a_damaged_mtx_is_refused_with_the_line(tmp_path):
    (tmp_path / "x.mtx").write_text("%%MatrixMarket matrix coordinate real general\n2 2 2\n1 1 3\n9 9 3\n")
    with pytest.raises(SourceError, match=r"x\.mtx.*Line 4"):
        open_source(tmp_path / "x.mtx")


# --- MATLAB -------------------------------------------------------------------------------------------------


def test_mat_chooses_the_only_matrix(tmp_path):
    x = matrix()
    scipy.io.savemat(tmp_path / "a.mat", {"X": x, "labels": np.arange(6), "names": np.array(["a"], object)})
    np.testing.assert_array_equal(whole(open_source(tmp_path / "a.mat")), x)
    scipy.io.savemat(tmp_path / "b.mat", {"X": sp.csc_array(x), "Y": x, "s": "text"})
    with pytest.raises(SourceError, match=r"--key NAME. It holds: X 6×4, Y 6×4, s \(char\)"):
        open_source(tmp_path / "b.mat")
    assert open_source(tmp_path / "b.mat", key="X").is_sparse
    with pytest.raises(UsageError, match="'s' is char, no matrix"):
        open_source(tmp_path / "b.mat", key="s")
    scipy.io.savemat(tmp_path / "c.mat", {"X": x * 1j})
    with pytest.raises(DataError, match="complex"):
        open_source(tmp_path / "c.mat")


def test_mat_of_other_versions_and_damage(tmp_path):
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM"
    (tmp_path / "new.mat").write_bytes(header + bytes(400))
    with pytest.raises(SourceError, match=r"new\.mat is no readable HDF5 file"):
        open_source(tmp_path / "new.mat")
    scipy.io.savemat(tmp_path / "cut.mat", {"X": matrix()})
    (tmp_path / "cut.mat").write_bytes((tmp_path / "cut.mat").read_bytes()[:200])
    with pytest.raises(SourceError, match=r"cut\.mat"):
        open_source(tmp_path / "cut.mat")


@pytest.mark.parametrize(
    ("name", "key", "shape", "nnz"),
    [
        ("documents/classic.mat", None, (7094, 41681), 223_839),
        ("documents/hitech.mat", None, (2301, 10080), 331_373),
        ("documents/3-sources.mat", "bbc", (169, 3560), None),
        ("faces/CBCL.mat", None, (361, 2429), None),
        ("images/USPS.mat", None, (256, 11000), None),
        ("hyperspectral/samson_1.mat", None, (156, 9025), None),
        ("biology/golub.npz", None, (38, 5000), None),
        ("ratings/movielens_small.npz", None, (3867, 610), 75_238),
        ("faces/olivetti.npz", None, (400, 4096), None),
        ("graphs/cora.npz", "attr", (2708, 1433), None),
        ("biology/cosmic_signatures_v2.csv", None, (30, 96), None),
        ("tabular/student_mat.csv", None, (395, 34), None),
    ],
)
def test_real_files(name, key, shape, nnz):
    source = open_source(real(name), key=key)
    assert source.shape == shape
    assert nnz is None or source.nnz == nnz
    x = whole(source)
    assert x.min() >= 0
    assert x.max() > 0


def test_a_real_table_has_its_names():
    source = open_source(real("biology/counts_21breast.csv"))
    assert source.shape == (21, 96)
    assert source.feature_names[:2] == ("ACA>AAA", "ACC>AAC")
    assert len(source.row_names) == 21
    assert whole(source).max() == 18171


# --- tables -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rows", "features"),
    [
        ("1,2\n3,4\n", None, None),
        ("a,b\n1,2\n3,4\n", None, ("a", "b")),
        (",a,b\nr,1,2\ns,3,4\n", ("r", "s"), ("a", "b")),
        ("gene,2001,2002\nA,1,2\nB,3,4", ("A", "B"), ("2001", "2002")),
        (",2001,2002\nA,1,2\nB,3,4", ("A", "B"), ("2001", "2002")),
        ("a,2002\nA,1,2\nB,3,4", ("A", "B"), ("a", "2002")),  # R, whose names stand above the numbers only
        ("id,a,2020\nA,1,2\nB,3,4", ("A", "B"), ("a", "2020")),
        (",0,1\n0,1,2\n1,3,4\n", ("0", "1"), ("0", "1")),  # pandas, without names
        (",0,1\nA,1,2\n1,3,4\n", ("A", "1"), ("0", "1")),
        ("Na,Mg,NA\n1,2,3\n4,5,6\n", None, ("Na", "Mg", "NA")),
        ("r,1,2", ("r",), None),
        ("a,b\nr,1,2\ns,3,4\n", ("r", "s"), ("a", "b")),
        ('"x, y","b ""c"""\n1,2\n3,4\n', None, ("x, y", 'b "c"')),
        ("\ufeffa,b\r\n\r\n1, 2\r\n3,4e0\r\n", None, ("a", "b")),
        ("a#,b\n1,2\n3,4\n", None, ("a#", "b")),
        ("v\n1\n2\n", None, ("v",)),
        ("1,2\n", None, None),
    ],
)
@pytest.mark.parametrize(("suffix", "delimiter"), [(".csv", ","), (".tsv", "\t"), (".csv.gz", ","), (".tsv.gz", "\t")])
def test_tables(tmp_path, text, rows, features, suffix, delimiter):
    if delimiter == "\t":
        text = text.replace("x, y", "x; y").replace(",", "\t").replace("x; y", "x, y")
    path = tmp_path / f"x{suffix}"
    path.write_bytes(gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode())
    source = open_source(path)
    assert source.row_names == rows
    assert source.feature_names == features
    numbers = [line for line in text.replace('"', "").split("\n") if line.strip()][features is not None :]
    cells = [line.split(delimiter)[rows is not None :] for line in numbers]
    np.testing.assert_array_equal(whole(source), np.array(cells, float))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "x.csv is empty"),
        ("\n\n", "x.csv is empty"),
        ("a,b\n1,2\n3\n", "line 3: 1 cells where lines above have 2"),
        ("a,b\n1,2\n3,4,5\n", "line 3: 3 cells"),
        (",a,b\nr,1,2\ns,3,4,5\n", "line 3: 4 cells"),
        ("a,b\n1,2\n\n3,\n", "line 4, column 2: a blank cell is not a number"),
        ("a,b\n1,2\n3,x\n", "line 3, column 2: 'x' is not a number"),
        (",a,b\nr,1,2\ns,NA,4\n", "line 3, column 2: 'NA' is not a number"),
        ("a,b,c\n1,2\n3,4\n", "line 1: 3 names stand above 2 cells"),
        ("a,b\n", "not a number"),
        ("1,2\n,3\n", "line 2, column 1: a blank cell"),
        ("1,2,NA\n4,5,6\n7,8,9", "line 1, column 3: 'NA' is not a number, and a line with numbers in it names no col"),
        ("1,2,3x\n4,5,6\n", "line 1, column 3: '3x' is not a number, and a line with numbers"),
        ('1,"2,5"\n3,4\n', "line 1, column 2: '2,5' is not a number"),
        ("NA,2,3\n4,5,6\n", "line 1, column 1: 'NA' is not a number"),
        ("id,2019,2020\n1,2,3\n4,5,6\n", "line 1, column 1: 'id' is not a number, and a line with numbers"),
        (",2,3\n4,5,6\n", "line 1, column 1: a blank cell is not a number"),
        (",0,1\n0,5,6\n3,5,6\n", "line 1, column 1: a blank cell is not a number"),
        ("1,a,b\n1,2,3\n", "line 1, column 2: 'a' is not a number"),
        ("NA,NA\n1,2\n", "line 1, column 1: 'NA' is not a number"),
        ("a,b\nNA,2\n3,4\n", "line 2, column 1: 'NA' is not a number"),
        ("1,2\nr,3\n", "line 2, column 1: 'r' is not a number"),
    ],
)
def test_a_bad_cell_is_named_by_line_and_column(tmp_path, text, words):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(SourceError, match=words):
        open_source(tmp_path / "x.csv")


DAMAGED = {
    "text": b"not gzip",
    "cut off": gzip.compress(b"1,2\n" * 1000)[:-9],
    "not text": gzip.compress(b"\xff\xfe1,2"),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_archive_is_refused(tmp_path, content):
    (tmp_path / "x.csv.gz").write_bytes(content)
    with pytest.raises(SourceError, match=r"x\.csv\.gz"):
        open_source(tmp_path / "x.csv.gz")


# --- samples and the registry -------------------------------------------------------------------------------


def test_the_digits_are_those_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    source = open_source("sample:digits")
    np.testing.assert_array_equal(whole(source), datasets.load_digits().data)
    assert source.uri == "sample:digits"
    assert source.row_names is None
    assert source.feature_names[:2] == ("pixel_0_0", "pixel_0_1")


def test_without_scikit_learn_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr("nmfkit_plugins.files.digits.find_spec", lambda name: None)
    with pytest.raises(SourceError, match=r"nmfkit\[sklearn\]"):
        open_source("sample:digits")


def test_the_digits_do_not_import_scikit_learn():
    code = (
        "import sys; from nmfkit_plugins.files.digits import read; read('sample:digits');"
        "print([m for m in ('sklearn', 'zarr') if m in sys.modules])"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "[]"


def test_python_docs_is_a_named_sparse_matrix():
    source = open_source("sample:python-docs")
    m, n = source.shape
    assert source.is_sparse
    assert len(source.row_names) == m > 50
    assert len(source.feature_names) == n > 500
    assert list(source.feature_names) == sorted(source.feature_names)
    x = whole(source)
    assert (x.sum(axis=1) > 0).all()
    assert ((x > 0).sum(axis=0) >= 2).all()
    assert x[source.row_names.index("for"), source.feature_names.index("loop")] >= 2


class Fake:
    """A registered reader, as the registry gives it."""

    def __init__(self, factory, **spec):
        self.spec = ReaderSpec("fake", "for tests", factory, **spec)

    def load(self):
        return self.spec.factory


@pytest.fixture
def readers(monkeypatch):
    """The readers of a registry, to be filled by a test."""
    found = []
    monkeypatch.setattr("nmfkit.sources.files._readers", lambda: found)
    return found


def test_the_longest_suffix_wins_and_presets_are_passed(readers, tmp_path):
    readers.append(Fake(lambda path, *, key: np.eye(2), suffixes=(".gz",)))
    readers.append(Fake(lambda path, *, key, size: np.eye(size), suffixes=(".x.gz",), preset={"size": 3}))
    (tmp_path / "a.x.gz").touch()
    (tmp_path / "a.y.gz").touch()
    assert open_source(tmp_path / "a.x.gz").shape == (3, 3)
    assert open_source(tmp_path / "a.y.gz", dtype="float32").dtype == np.float32


def test_a_scheme_reaches_its_reader_whole(readers):
    readers.append(Fake(lambda path, *, key: np.full((2, 2), len(path)), schemes=("db://",)))
    source = open_source("db://table")
    assert source.uri == "db://table"
    assert whole(source)[0, 0] == len("db://table")


def test_a_reader_that_fails_is_a_source_error_with_its_reason(readers, tmp_path):
    def broken(path, *, key):
        raise KeyError("header")

    readers.append(Fake(broken, suffixes=(".bad",)))
    readers.append(Fake(lambda path, *, key: "text", suffixes=(".odd",)))
    (tmp_path / "x.bad").touch()
    (tmp_path / "x.odd").touch()
    with pytest.raises(SourceError, match=r"x\.bad cannot be read as fake: 'header'"):
        open_source(tmp_path / "x.bad")
    with pytest.raises(DataError, match="a str is no matrix"):
        open_source(tmp_path / "x.odd")


def test_listing_readers_imports_nothing_heavy():
    code = "import sys, nmfkit_plugins.files as f; f.nmfkit_readers(); print('numpy' in sys.modules)"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "False"
    assert len({spec.name for spec in nmfkit_readers()}) == len(nmfkit_readers())


def test_a_title_above_numbers_is_no_header_with_row_names(tmp_path):
    (tmp_path / "x.csv").write_text("# c\n1,2\n3,4\n")
    with pytest.raises(SourceError):
        open_source(tmp_path / "x.csv")
    (tmp_path / "r.csv").write_text("a,b\n1,5,2\n2,3,4\n")  # R's row names, numbered
    assert open_source(tmp_path / "r.csv").shape == (2, 2)
