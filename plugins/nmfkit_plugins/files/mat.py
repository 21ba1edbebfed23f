"""`.mat`: MATLAB files up to version 7."""

from __future__ import annotations

from typing import Any

from nmfkit.errors import SourceError
from nmfkit_plugins.files.containers import choose

NUMBERS = (
    "double",
    "single",
    "sparse",
    "logical",
    *(f"{u}int{b}" for u in ("", "u") for b in (8, 16, 32, 64)),
)


def read(path: str, *, key: str | None = None) -> Any:
    """The variable `key`, or the only one that is a matrix of numbers; others are not read."""
    from scipy.io import loadmat, whosmat

    try:
        variables = whosmat(path)
    except NotImplementedError:
        raise SourceError(
            f"{path} is a MATLAB v7.3 file (HDF5), which this reader does not know; save it in MATLAB with "
            "save(…, '-v7'), or read it with h5py and write an .npy or .npz"
        ) from None
    shapes = {name: shape for name, shape, kind in variables if kind in NUMBERS and len(shape) == 2}
    others = {
        name: f"{len(shape)}-D {kind}" if len(shape) > 2 else kind
        for name, shape, kind in variables
        if name not in shapes
    }
    name = choose(path, key, shapes, others)
    return loadmat(path, variable_names=[name])[name]
