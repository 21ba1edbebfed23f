"""Single-cell files become cells × genes: loom, folders of 10x, and any matrix of an HDF5 file that keeps to itself."""

from __future__ import annotations

import gzip
import pickle
import tracemalloc
from contextlib import nullcontext

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp
import zarr
from nmfkit_plugins.cells import loom, tenx

from nmfkit.errors import Caution, DataError, SourceError, UsageError
from nmfkit.sources import open_source
from nmfkit.testing import SourceContract

h5py = pytest.importorskip("h5py")

X = np.random.default_rng(0).poisson(0.5, (60, 9)) * 1.0
CELLS = tuple(f"cell{i}" for i in range(60))
GENES = tuple(f"gene{j}" for j in range(9))


def whole(source, target=2**20):
    return np.vstack([source.read(lo, hi).dense() for lo, hi in source.bounds(target)])


# --- loom ---------------------------------------------------------------------------------------------------


def write_loom(path, x=X, chunks=(4, 7), **options):
    """As loompy lays it out: genes × cells, with attributes of rows and columns beside it."""
    with h5py.File(path, "w") as file:
        file.create_dataset("matrix", data=x.T, chunks=chunks, **options)
        file.create_dataset("layers/spliced", data=2 * x.T, chunks=chunks)
        file.create_dataset("layers/odd", data=np.array(list("ab"), "S"))
        file["row_attrs/Gene"] = np.array(GENES, dtype=object)
        file["row_attrs/Accession"] = np.array([f"E{g}" for g in GENES], "S")
        file["row_attrs/pairs"] = np.ones((9, 2))
        file["col_attrs/CellID"] = np.array(CELLS, "S")
    return path


class TestLoom(SourceContract):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path):
        self.path = write_loom(tmp_path / "x.loom")

    def make(self):
        return loom.read(str(self.path))


@pytest.mark.parametrize("target", [1, 700, 2**30])
@pytest.mark.parametrize("chunks", [(4, 7), (9, 60), None])
def test_loom_is_turned_and_streamed(tmp_path, target, chunks, monkeypatch):
    monkeypatch.setattr("nmfkit_plugins.cells.loom.BAND_BYTES", 100)
    write_loom(tmp_path / "x.loom", chunks=chunks, compression="gzip" if chunks else None)
    source = pickle.loads(pickle.dumps(open_source(tmp_path / "x.loom")))
    assert not source.resident
    assert source.shape == (60, 9)
    np.testing.assert_array_equal(whole(source, target), X)
    assert source.row_names == CELLS
    assert source.feature_names == GENES


def test_layers_and_attributes_of_loom_are_chosen(tmp_path):
    path = write_loom(tmp_path / "x.loom")
    for key in ("spliced", "layers/spliced"):
        np.testing.assert_array_equal(whole(open_source(path, key=key)), 2 * X)
    np.testing.assert_array_equal(whole(open_source(path, key="matrix")), X)
    assert open_source(f"loom,genes=Accession:{path}").feature_names[0] == "Egene0"
    with pytest.raises(UsageError, match=r"'zz' does not exist\. It holds: matrix 60×9, layers/spliced 60×9"):
        open_source(path, key="zz")
    with pytest.raises(UsageError, match="row_attrs has no 'zz'; it has Accession, Gene"):
        open_source(f"loom,genes=zz:{path}")
    with h5py.File(path, "a") as file:
        del file["col_attrs"]
    assert open_source(path).row_names is None


def test_loom_as_sparse(tmp_path, monkeypatch):
    monkeypatch.setattr("nmfkit_plugins.cells.loom.SPARSE_BYTES", 700)
    source = open_source(f"loom,sparse=true:{write_loom(tmp_path / 'x.loom')}")
    assert (source.is_sparse, source.nnz) == (True, np.count_nonzero(X))
    np.testing.assert_array_equal(whole(source), X)
    assert (source.row_names, source.feature_names) == (CELLS, GENES)


def test_names_of_loom_that_do_not_fit_are_refused(tmp_path):
    path = write_loom(tmp_path / "x.loom")
    with h5py.File(path, "a") as file:
        del file["row_attrs/Gene"]
        file["row_attrs/Gene"] = np.array(["a", "b"], "S")
    with pytest.raises(SourceError, match=r"x\.loom: row_attrs/Gene has 2 names for 9 genes"):
        open_source(path)


@pytest.mark.parametrize("content", [b"", b"nonsense" * 200, None])
def test_a_damaged_loom_is_refused(tmp_path, content):
    path = write_loom(tmp_path / "x.loom")
    path.write_bytes(path.read_bytes()[:3000] if content is None else content)
    with pytest.raises(SourceError, match=r"x\.loom is no readable HDF5 file"):
        open_source(path)
    with h5py.File(path, "w") as file:
        file["matrix"] = np.array(list("ab"), "S")
    with pytest.raises(SourceError, match="is no loom file: it has no 2-D dataset 'matrix'"):
        open_source(path)


def test_a_damaged_chunk_of_loom_is_told(tmp_path):
    path = write_loom(tmp_path / "x.loom", compression="gzip")
    with h5py.File(path, "r") as file:
        place = file["matrix"].id.get_chunk_info(2)
    with path.open("r+b") as file:
        file.seek(place.byte_offset)
        file.write(b"\xff" * place.size)
    with pytest.raises(SourceError, match=r"x\.loom: matrix: cells 0 … 59: genes \d+ … \d+ cannot be read"):
        open_source(path).read(0, 60)


def test_loom_is_never_held_whole(tmp_path):
    x = np.zeros((4096, 512), "i2")
    x[::7] = 3
    write_loom(tmp_path / "x.loom", x, chunks=(64, 64))
    with h5py.File(tmp_path / "x.loom", "a") as file:
        del file["row_attrs"], file["col_attrs"]
    source = open_source(tmp_path / "x.loom")
    tracemalloc.start()
    total = sum(float(source.read(lo, hi).values.sum()) for lo, hi in source.bounds(2**18))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == x.sum()
    assert peak < 2**20 < x.nbytes


# --- folders of 10x -----------------------------------------------------------------------------------------


def write_10x(folder, *, version=3, prefix="", kinds=None, x=X, barcodes=CELLS):
    folder.mkdir(exist_ok=True)
    kinds = kinds or ["Gene Expression"] * len(GENES)
    extra = [f"\t{kind}" if version == 3 else "" for kind in kinds]
    features = "".join(f"ENS{j}\t{name}{more}\n" for j, (name, more) in enumerate(zip(GENES, extra, strict=True)))
    scipy.io.mmwrite(folder / f"{prefix}matrix.mtx", sp.coo_array(x.T.astype(int)))
    (folder / f"{prefix}barcodes.tsv").write_text("".join(f"{name}\n" for name in barcodes))
    (folder / f"{prefix}{'features' if version == 3 else 'genes'}.tsv").write_text(features)
    if version == 3:
        for path in list(folder.glob(f"{prefix}*.mtx")) + list(folder.glob(f"{prefix}*.tsv")):
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    return folder


class TestTenX(SourceContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.path = write_10x(tmp_path / "x")

    def make(self):
        return tenx.read(str(self.path))


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("door", ["", "10x:"])
def test_a_folder_of_10x(tmp_path, version, door):
    source = open_source(f"{door}{write_10x(tmp_path / 'x', version=version)}")
    assert source.is_sparse
    np.testing.assert_array_equal(whole(source), X)
    assert (source.row_names, source.feature_names) == (CELLS, GENES)
    assert open_source(f"10x,genes=ids:{tmp_path / 'x'}").feature_names[:2] == ("ENS0", "ENS1")
    with pytest.raises(UsageError, match="genes='both' is none of symbols, ids"):
        open_source(f"10x,genes=both:{tmp_path / 'x'}")


def test_kinds_of_features(tmp_path):
    kinds = ["Gene Expression"] * 7 + ["Antibody Capture"] * 2
    folder = write_10x(tmp_path / "x", kinds=kinds)
    with pytest.warns(
        Caution, match="7 of gene-expression, 2 of antibody-capture, and all are read; 10x,kind=gene-exp"
    ):
        np.testing.assert_array_equal(whole(open_source(folder)), X)
    source = open_source(f"10x,kind=antibody-capture:{folder}")
    np.testing.assert_array_equal(whole(source), X[:, 7:])
    assert source.feature_names == GENES[7:]
    with pytest.raises(UsageError, match="no features are of kind 'protein'; they are of gene-expression, antibody"):
        open_source(f"10x,kind=protein:{folder}")


def test_several_matrices_in_a_folder(tmp_path):
    for sample, x in (("GSM1_", X), ("GSM2_", 2 * X)):
        write_10x(tmp_path / "x", prefix=sample, x=x)
    with pytest.raises(SourceError, match=r"several matrices; choose one with --key NAME: GSM1_, GSM2_"):
        open_source(f"10x:{tmp_path / 'x'}")
    np.testing.assert_array_equal(whole(open_source(f"10x:{tmp_path / 'x'}", key="GSM2_")), 2 * X)
    with pytest.raises(UsageError, match="--key may be GSM1_, GSM2_"):
        open_source(f"10x:{tmp_path / 'x'}", key="GSM3_")


def test_folders_that_are_not_of_10x(tmp_path):
    folder = write_10x(tmp_path / "x")
    (folder / "barcodes.tsv.gz").unlink()
    with pytest.raises(SourceError, match=r"x lacks barcodes\.tsv\.gz, packed or not"):
        open_source(folder)
    (folder / "matrix.mtx.gz").unlink()
    with pytest.raises(SourceError, match="is no folder of 10x"):
        open_source(f"10x:{folder}")
    with pytest.raises(SourceError, match="is no folder; 10x reads one of"):
        open_source(f"10x:{folder / 'features.tsv.gz'}")
    write_10x(tmp_path / "short", barcodes=CELLS[:50])
    with pytest.raises(SourceError, match=r"matrix\.mtx\.gz has 60 columns, and barcodes\.tsv\.gz 50 lines: one of"):
        open_source(tmp_path / "short")
    (tmp_path / "short/matrix.mtx.gz").write_bytes(gzip.compress(b"%%MatrixMarket matrix\n"))
    with pytest.raises(SourceError, match=r"matrix\.mtx\.gz"):
        open_source(tmp_path / "short")


# --- HDF5 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.hdf5", "x.h5"])
def test_a_matrix_below_the_top_is_found_or_listed(tmp_path, name):
    with h5py.File(tmp_path / name, "w") as file:
        file["entry/data/counts"] = X
        file["entry/labels"] = np.arange(3)
    np.testing.assert_array_equal(whole(open_source(tmp_path / name)), X)
    with h5py.File(tmp_path / name, "a") as file:
        file["entry/other"] = X[:5]
    with pytest.raises(SourceError, match=r"--key NAME\. It holds: entry/data/counts 60×9, entry/other 5×9"):
        open_source(tmp_path / name)
    np.testing.assert_array_equal(whole(open_source(tmp_path / name, key="entry/other")), X[:5])


def test_names_that_do_not_fit_are_left_out_and_told(tmp_path):
    with h5py.File(tmp_path / "x.h5ad", "w") as file:
        file["X"] = X
        file["obs/_index"] = np.array(CELLS[:50], "S")
        file["var/_index"] = np.array(GENES, "S")
    with pytest.warns(Caution, match=r"x\.h5ad: obs/_index has 50 names for 60 rows, so none is used"):
        source = open_source(tmp_path / "x.h5ad")
    assert (source.row_names, source.feature_names) == (None, GENES)


def test_modalities_of_mudata(tmp_path):
    with h5py.File(tmp_path / "x.h5mu", "w") as file:
        for kind, x, names in (("rna", X, GENES), ("prot", X[:, :2], ("CD3", "CD4"))):
            file[f"mod/{kind}/X"] = x
            file[f"mod/{kind}/obs/_index"] = np.array(CELLS, "S")
            file[f"mod/{kind}/var/_index"] = np.array(names, "S")
        file["obs/_index"] = np.array(CELLS * 2, "S")
    for key in ("rna", "mod/rna", "mod/rna/X"):
        source = open_source(tmp_path / "x.h5mu", key=key)
        np.testing.assert_array_equal(whole(source), X)
        assert (source.row_names, source.feature_names) == (CELLS, GENES)
    with pytest.raises(SourceError, match=r"--key NAME\. It holds: mod/prot/X 60×2, mod/rna/X 60×9"):
        open_source(tmp_path / "x.h5mu")


def test_nothing_outside_the_file_is_read(tmp_path):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(X.tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["X"] = X
        file["names"] = np.array(CELLS, "S")
    layout = h5py.VirtualLayout((60, 9), "f8")
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "X", (60, 9))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["linked"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "X")
        file["soft"] = h5py.SoftLink("/linked")
        file.create_dataset("raw", (60, 9), "f8", external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
        file.create_virtual_dataset("virtual", layout)
    for key, place in (("linked", "other.h5"), ("soft", "other.h5"), ("raw", "secret.bin"), ("virtual", "other.h5")):
        with pytest.raises(SourceError, match=rf"x\.h5: {key} leads to another file, .*{place}, which is not read"):
            open_source(tmp_path / "x.h5", key=key)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["X"] = X
        file.create_group("obs")["_index"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "names")
    with pytest.raises(SourceError, match=r"obs/_index leads to another file"):
        open_source(tmp_path / "x.h5")
    path = write_loom(tmp_path / "x.loom")
    with h5py.File(path, "a") as file:
        del file["matrix"]
        file["matrix"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "X")
    with pytest.raises(SourceError, match="matrix leads to another file"):
        open_source(path)


def test_an_empty_loom_is_refused(tmp_path):
    with h5py.File(tmp_path / "x.loom", "w") as file:
        file["matrix"] = np.zeros((0, 5))
    with pytest.raises(DataError, match="empty, 5 rows × 0 columns"):
        open_source(tmp_path / "x.loom")


# --- names that are stored as numbers of texts ----------------------------------------------------------------


def categorical(group, codes, texts):
    """As AnnData lays out a categorical index, whose missing entries are −1."""
    group.attrs.update({"encoding-type": "categorical", "encoding-version": "0.2.0", "ordered": False})
    for name, values in (("codes", np.array(codes, np.int8)), ("categories", np.array(texts, "T"))):
        if isinstance(group, zarr.Group):
            group.create_array(name, data=values)
        else:
            group[name] = values.astype(object) if name == "categories" else values


def anndata_of(path, codes, texts):
    """A store of AnnData in zarr or HDF5, as the suffix says, with such names of its rows."""
    in_zarr = path.suffix == ".zarr"
    with nullcontext(zarr.open_group(path, mode="w")) if in_zarr else h5py.File(path, "w") as file:
        create = file.create_array if in_zarr else file.create_dataset
        create("X", data=np.arange(1.0, 9).reshape(4, 2))
        obs = file.create_group("obs")
        obs.attrs["_index"] = "names"
        categorical(obs.create_group("names"), codes, texts)
    return path


@pytest.mark.parametrize("suffix", [".zarr", ".h5ad"])
def test_names_stored_as_numbers_of_texts_are_read(tmp_path, suffix):
    source = pickle.loads(pickle.dumps(open_source(anndata_of(tmp_path / f"x{suffix}", [1, 0, -1, 1], ["a", "b"]))))
    assert source.row_names == ("b", "a", "", "b")
    assert (source.row_names[1], source.row_names[2:]) == ("a", ("", "b"))


@pytest.mark.parametrize("suffix", [".zarr", ".h5ad"])
def test_numbers_that_stand_for_no_text_are_refused(tmp_path, suffix):
    source = open_source(anndata_of(tmp_path / f"x{suffix}", [1, 0, 5, 1], ["a", "b"]))
    with pytest.raises(SourceError, match=r"names 0 … 3 cannot be read: codes lead to no category"):
        list(source.row_names)


@pytest.mark.parametrize("suffix", [".zarr", ".h5ad"])
def test_names_that_are_too_few_are_left_out_and_said(tmp_path, suffix):
    path = anndata_of(tmp_path / f"x{suffix}", [1, 0, 1], ["a", "b"])
    with pytest.warns(Caution, match="has 3 names for 4 rows, so none is used"):
        assert open_source(path).row_names is None


def test_a_folder_of_one_matrix_needs_no_key(tmp_path):
    with pytest.raises(UsageError, match="leave --key out"):
        open_source(write_10x(tmp_path / "x"), key="other")
