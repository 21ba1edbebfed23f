"""Counts with five true components, written a band of rows at a time: the data of the other scripts here."""

import numpy as np
import zarr

FEATURES, RANK, BAND = 400, 5, 2000


def write(path, rows=16000):
    """A matrix of `rows` × 400 counts at `path`, in chunks of 500 whole rows."""
    rng = np.random.default_rng(0)
    h = 20 * rng.gamma(0.2, size=(RANK, FEATURES))
    x = zarr.create_array(str(path), shape=(rows, FEATURES), chunks=(BAND // 4, FEATURES), dtype="float32")
    for lo in range(0, rows, BAND):
        w = rng.gamma(1.0, size=(min(BAND, rows - lo), RANK))
        x[lo : lo + len(w)] = rng.poisson(w @ h)
    return path


if __name__ == "__main__":
    import sys

    write(sys.argv[1])
