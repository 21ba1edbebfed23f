"""`sample:digits`: the handwritten digits that come with scikit-learn, read without importing it."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from nmfkit.errors import SourceError
from nmfkit.sources import ArraySource
from nmfkit.sources.about import About
from nmfkit_plugins.files.containers import no_key

SIDE = 8


def read(path: str, *, key: str | None = None) -> ArraySource:
    """1797 images × 64 pixels, grey values 0 … 16."""
    no_key(path, key)
    spec = find_spec("sklearn")
    file = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz" if spec and spec.origin else None
    if file is None or not file.is_file():
        raise SourceError(
            "sample:digits comes with scikit-learn, which is not installed: pip install 'nmfkit[sklearn]'"
        )
    with gzip.open(file, "rt") as lines:
        pixels = np.loadtxt(lines, delimiter=",")[:, : SIDE * SIDE]
    names = tuple(f"pixel_{row}_{column}" for row in range(SIDE) for column in range(SIDE))
    return ArraySource(
        np.ascontiguousarray(pixels), uri=path, feature_names=names, about=About(feature_image=(SIDE, SIDE))
    )
