"""Files of MATLAB: images of three dimensions, and version 7.3 with everything transposed."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from nmfkit.errors import DataError, SourceError, UsageError
from nmfkit.sources import open_source
from nmfkit.sources.about import About, about_of

HEADER = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM"


def cube():
    return (np.arange(60).reshape(3, 4, 5) * 7 % 101).astype(np.uint16)


def whole(source):
    return source.read(0, source.shape[0]).dense()


def write_new(path, variables):
    """Variables as MATLAB writes them to version 7.3: HDF5 behind 512 bytes, every shape reversed."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, x in variables.items():
            if sp.issparse(x):
                _write_sparse(file.create_group(name), x)
            else:
                file[name] = np.asarray(x).T
                kind = {"float64": "double", "float32": "single", "bool": "logical"}
                file[name].attrs["MATLAB_class"] = np.bytes_(kind.get(str(x.dtype), str(x.dtype)))
        file.create_group("#refs#")["a"] = np.eye(2)
    with path.open("r+b") as file:
        file.write(HEADER)
    return path


def _write_sparse(group, x):
    group.attrs["MATLAB_class"], group.attrs["MATLAB_sparse"] = np.bytes_("double"), np.uint64(x.shape[0])
    x = sp.csc_array(x)
    group["jc"] = x.indptr.astype(np.uint64)
    if x.nnz:
        group["data"], group["ir"] = x.data, x.indices.astype(np.uint64)


def write_old(path, variables):
    scipy.io.savemat(path, variables)
    return path


WRITERS = pytest.mark.parametrize("write", [write_old, write_new])


@WRITERS
def test_an_image_of_many_bands(tmp_path, write):
    source = open_source(write(tmp_path / "x.mat", {"cube": cube(), "n": np.arange(5.0)}))
    np.testing.assert_array_equal(whole(source), cube().reshape(12, 5))
    assert about_of(source) == About(row_image=(3, 4))


@WRITERS
@pytest.mark.parametrize("x", [np.arange(12.0).reshape(3, 4), cube()[0], sp.csc_array(np.eye(3, 4)), cube()[0] > 50])
def test_matrices(tmp_path, write, x):
    source = open_source(write(tmp_path / "x.mat", {"x": x, "labels": np.ones((3, 1))}))
    np.testing.assert_array_equal(whole(source), x.toarray() if sp.issparse(x) else x)
    assert about_of(source) is None
    assert source.is_sparse == sp.issparse(x)


@WRITERS
def test_a_choice_between_an_image_and_a_matrix(tmp_path, write):
    path = write(tmp_path / "x.mat", {"cube": cube(), "truth": np.ones((3, 4)), "four": np.ones((2, 2, 2, 2))})
    with pytest.raises(SourceError, match=r"--key NAME. It holds: cube 3×4×5, truth 3×4, four \(4-D double\)"):
        open_source(path)
    assert open_source(path, key="cube").shape == (12, 5)
    assert open_source(path, key="truth").shape == (3, 4)
    with pytest.raises(UsageError, match="'four' is 4-D double, no matrix"):
        open_source(path, key="four")


def test_what_is_empty_or_no_number_in_version_7_3(tmp_path):
    path = write_new(tmp_path / "x.mat", {"x": np.ones((2, 3)), "none": sp.csc_array((4, 2))})
    with h5py.File(path, "r+") as file:
        file["text"] = np.array([[104], [105]], np.uint16)
        file["text"].attrs["MATLAB_class"] = np.bytes_("char")
        file.create_group("s")["a"] = np.eye(2)
    with pytest.raises(SourceError, match=r"It holds: none 4×2, x 2×3, s \(struct\), text \(char\)"):
        open_source(path)
    assert open_source(path, key="none").nnz == 0
    with pytest.raises(UsageError, match="'text' is char"):
        open_source(path, key="text")


def test_a_promise_that_no_file_keeps(tmp_path):
    path = tmp_path / "x.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("x", (2**20, 2**20), "f8", chunks=(2**10, 2**10))
    with path.open("r+b") as file:
        file.write(HEADER)
    with pytest.raises(SourceError, match=r"takes .* of memory are free|promises"):
        open_source(path)
    with h5py.File(path, "r+") as file:
        del file["x"]
        file.create_dataset("x", (2**13, 2**13), "f8", chunks=(2**10, 2**10))
    with pytest.raises(SourceError, match=r"x\.mat: /x promises 67,108,864 numbers"):
        open_source(path)


def test_complex_numbers_are_refused(tmp_path):
    with pytest.raises(DataError, match="complex"):
        open_source(write_old(tmp_path / "x.mat", {"x": cube() * 1j}))
