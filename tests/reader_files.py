"""A small good file for every reader of files, for tests that damage it: append yours to `MAKERS`."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import scipy.sparse as sp


@dataclass(frozen=True)
class Maker:
    """How a good file is made: `make` writes into an empty folder and returns the text that opens it.

    `reader` is the reader's name and `name` that of the file that is damaged.
    """

    reader: str
    name: str
    make: Callable[[Path], Any]
    label: str = ""

    def __str__(self) -> str:
        return f"{self.reader}{self.label and '-' + self.label}"

    def written(self, folder: Path) -> str:
        """The text that opens the file, which now lies in `folder`."""
        return str(self.make(folder) or folder / self.name)


def matrix() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4, (7, 5)) * 1.0


def _npy(folder: Path) -> None:
    np.save(folder / "x.npy", matrix())


def _npz(folder: Path) -> None:
    np.savez(folder / "x.npz", x=matrix(), rows=np.array(list("abcdefg")))


def _npz_sparse(folder: Path) -> None:
    sp.save_npz(folder / "x.npz", sp.csr_array(matrix()))


def _npz_parts(folder: Path) -> None:
    x = sp.csr_array(matrix())
    np.savez(folder / "x.npz", data=x.data, indices=x.indices, indptr=x.indptr, shape=x.shape)


def _mtx(folder: Path) -> None:
    scipy.io.mmwrite(folder / "x.mtx", sp.coo_array(matrix()))


def _mtx_dense(folder: Path) -> None:
    scipy.io.mmwrite(folder / "x.mtx", matrix())


def _mtx_gz(folder: Path) -> None:
    scipy.io.mmwrite(folder / "y.mtx", sp.coo_array(matrix()))
    (folder / "x.mtx.gz").write_bytes(gzip.compress((folder / "y.mtx").read_bytes()))


def _table(delimiter: str, name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        lines = [["", *"abcde"], *([f"r{i}", *map(str, row)] for i, row in enumerate(matrix()))]
        content = "\n".join(delimiter.join(line) for line in lines).encode()
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)

    return make


def _mat(folder: Path) -> None:
    scipy.io.savemat(folder / "x.mat", {"x": matrix(), "names": np.array(["a"], object), "s": {"t": 1}})


def _mat_compressed(folder: Path) -> None:
    scipy.io.savemat(folder / "x.mat", {"x": np.arange(24.0).reshape(2, 3, 4)}, do_compression=True)


def _mat_sparse(folder: Path) -> None:
    scipy.io.savemat(folder / "x.mat", {"x": sp.csc_array(matrix())})


def _mat_4(folder: Path) -> None:
    scipy.io.savemat(folder / "x.mat", {"x": matrix()}, format="4")


def _mat_73(folder: Path) -> None:
    import h5py

    with h5py.File(folder / "x.mat", "w", userblock_size=512) as file:
        file["x"] = matrix().T
        file["x"].attrs["MATLAB_class"] = np.bytes_("double")
    with (folder / "x.mat").open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def _h5ad(folder: Path) -> None:
    import anndata

    anndata.AnnData(sp.csr_array(matrix().astype(np.float32))).write_h5ad(folder / "x.h5ad")


def _h5_dense(folder: Path) -> None:
    import h5py

    with h5py.File(folder / "x.h5", "w") as file:
        file.create_dataset("x", data=matrix(), chunks=(3, 5), compression="gzip")


def _wav(folder: Path) -> None:
    scipy.io.wavfile.write(folder / "x.wav", 8000, (np.sin(np.arange(600)) * 9999).astype(np.int16))


def _envi(folder: Path) -> None:
    (folder / "x.img").write_bytes(np.arange(24, dtype="<u2").tobytes())
    (folder / "x.hdr").write_text(
        "ENVI\nsamples = 2\nlines = 3\nbands = 4\nheader offset = 0\ndata type = 12\ninterleave = bil\n"
        "byte order = 0\nwavelength = {1, 2, 3, 4}\nwavelength units = nm\ndata ignore value = 99\n"
    )


def _tiff(compression: str | None, name: str = "x.tif") -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        import tifffile

        image = np.arange(96, dtype=np.uint16).reshape(4, 6, 4)
        extra = [(42113, "s", 0, "-1", True)]
        tifffile.imwrite(
            folder / name, image, photometric="minisblack", planarconfig="contig", compression=compression,
            extratags=extra,
        )  # fmt: skip

    return make


def _tiff_folder(folder: Path) -> str:
    for name in ("x.tif", "y.tif"):
        _tiff(None, name)(folder)
    return f"tiff:{folder}"


def _images(suffix: str) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        from PIL import Image

        for i in range(2):
            Image.effect_noise((9, 8), 50).save(folder / f"{'xy'[i]}{suffix}")
        return f"images:{folder}"

    return make


def _loom(folder: Path) -> None:
    import h5py

    with h5py.File(folder / "x.loom", "w") as file:
        file.create_dataset("matrix", data=matrix().T, chunks=(2, 3), compression="gzip")
        file["row_attrs/Gene"] = np.array(list("abcde"), "S")
        file["col_attrs/CellID"] = np.array(list("abcdefg"), "S")


def _tenx(name: str) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        scipy.io.mmwrite(folder / "matrix.mtx", sp.coo_array(matrix().T.astype(int)))
        (folder / "barcodes.tsv").write_text("\n".join("abcdefg"))
        (folder / "features.tsv").write_text("".join(f"E{g}\t{g}\tGene Expression\n" for g in "vwxyz"))
        if name.endswith(".gz"):
            plain = folder / name.removesuffix(".gz")
            (folder / name).write_bytes(gzip.compress(plain.read_bytes()))
            plain.unlink()
        return str(folder)

    return make


def _long(name: str) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        content = b"user,film,stars\nann,30,5\nbob,4,3\nann,4,0.5\n"
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return f"long:{folder / name}"

    return make


def _parquet(folder: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    columns = dict(zip("abcde", matrix().T, strict=True))
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "x.parquet", row_group_size=3)


def _edges(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        content = b"# from to weight\na b 2\nb c 1\nc a 0.5\n"
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)

    return make


def _gml(folder: Path) -> None:
    nodes = "".join(f'  node [\n    id {i}\n    label "{n}"\n  ]\n' for i, n in enumerate("abc"))
    edges = "".join(f"  edge [\n    source {i}\n    target {j}\n    value 2\n  ]\n" for i, j in ((0, 1), (1, 2)))
    (folder / "x.gml").write_text(f"graph [\n  directed 0\n{nodes}{edges}]\n")


def _documents(folder: Path) -> str:
    (folder / "x.txt").write_text("the cat sat on the mat\nthe dog sat by the cat\na mat for a dog\n" * 2)
    return f"documents:{folder / 'x.txt'}"


def _documents_folder(folder: Path) -> str:
    for name, text in (("x.txt", "cat mat dog cat"), ("y.txt", "dog mat sat"), ("z.txt", "cat sat mat")):
        (folder / name).write_text(text)
    return f"documents:{folder}"


def _ldac(folder: Path) -> str:
    (folder / "x.ldac").write_text("2 0:1 3:2\n1 2:1\n1 1:5\n")
    (folder / "x.tokens").write_text("cat\ndog\nmat\nsat\n")
    (folder / "x.titles").write_text("A\nB\nC\n")
    return str(folder / "x.ldac")


MAKERS = [
    Maker("npy", "x.npy", _npy),
    Maker("npz", "x.npz", _npz),
    Maker("npz", "x.npz", _npz_sparse, "sparse"),
    Maker("npz", "x.npz", _npz_parts, "parts"),
    Maker("mtx", "x.mtx", _mtx),
    Maker("mtx", "x.mtx", _mtx_dense, "dense"),
    Maker("mtx", "x.mtx.gz", _mtx_gz, "gz"),
    Maker("csv", "x.csv", _table(",", "x.csv")),
    Maker("csv", "x.csv.gz", _table(",", "x.csv.gz"), "gz"),
    Maker("tsv", "x.tsv", _table("\t", "x.tsv")),
    Maker("mat", "x.mat", _mat),
    Maker("mat", "x.mat", _mat_compressed, "compressed"),
    Maker("mat", "x.mat", _mat_sparse, "sparse"),
    Maker("mat", "x.mat", _mat_4, "4"),
    Maker("mat", "x.mat", _mat_73, "7.3"),
    Maker("h5ad", "x.h5ad", _h5ad),
    Maker("h5ad", "x.h5", _h5_dense, "dense"),
    Maker("wav", "x.wav", _wav),
    Maker("envi", "x.hdr", _envi),
    Maker("tiff", "x.tif", _tiff(None)),
    Maker("tiff", "x.tif", _tiff("zlib"), "compressed"),
    Maker("tiff", "x.tif", _tiff_folder, "folder"),
    Maker("images", "x.png", _images(".png")),
    Maker("images", "x.jpg", _images(".jpg"), "jpeg"),
    Maker("images", "x.pgm", _images(".pgm"), "pgm"),
    Maker("loom", "x.loom", _loom),
    Maker("10x", "matrix.mtx", _tenx("matrix.mtx")),
    Maker("10x", "barcodes.tsv", _tenx("barcodes.tsv"), "barcodes"),
    Maker("10x", "features.tsv.gz", _tenx("features.tsv.gz"), "features"),
    Maker("long", "x.csv", _long("x.csv")),
    Maker("long", "x.csv.gz", _long("x.csv.gz"), "gz"),
    Maker("parquet", "x.parquet", _parquet),
    Maker("edges", "x.edges", _edges("x.edges")),
    Maker("edges", "x.edges.gz", _edges("x.edges.gz"), "gz"),
    Maker("gml", "x.gml", _gml),
    Maker("documents", "x.txt", _documents),
    Maker("documents", "x.txt", _documents_folder, "folder"),
    Maker("ldac", "x.ldac", _ldac),
    Maker("ldac", "x.tokens", _ldac, "tokens"),
]
"""One for each way in which a reader's files may be laid out."""
