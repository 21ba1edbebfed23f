"""`images:FOLDER`: pictures of one size, a row for each, its pixels as features."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmfkit.errors import SourceError
from nmfkit.sources import ArraySource
from nmfkit.sources.about import About
from nmfkit_plugins.files.containers import affordable, no_key
from nmfkit_plugins.files.paths import shown, unreadable

FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".pgm": "PPM", ".ppm": "PPM", ".bmp": "BMP",
    ".tif": "TIFF", ".tiff": "TIFF",
}  # fmt: skip
"""What is read, and as what: nothing else that Pillow knows is tried, whatever a file holds."""

GREY = ("L", "I;16", "I;16B", "I", "F")
"""Pillow's modes of one number a pixel; any other is turned into grey values of 8 bits."""


def read(path: str, *, key: str | None = None) -> ArraySource:
    """Pictures × pixels of the folder `path` and the folders below it, by name; colours become grey values.

    Raises `SourceError` naming two pictures whose sizes differ, one that cannot be read, and links that lead elsewhere.
    """
    no_key(path, key)
    folder = Path(path)
    if not folder.is_dir():
        raise SourceError(f"{path} is no folder; name the one that holds the pictures: images:FOLDER")
    files = sorted(_files(folder))
    if not files:
        raise SourceError(f"{path} holds no pictures ({', '.join(FORMATS)})")
    first = _grey(files[0])
    affordable(path, len(files) * first.nbytes, f"{len(files)} pictures")
    pixels = np.empty((len(files), first.size), first.dtype)
    for row, file in enumerate(files):
        picture = _grey(file)
        _refuse_other(path, files[0], first, file, picture)
        pixels[row] = picture.ravel()
    names = tuple(shown(file.relative_to(folder)) for file in files)
    return ArraySource(pixels, uri=path, row_names=names, about=About(feature_image=first.shape))


def _files(folder: Path) -> Iterator[Path]:
    inside = folder.resolve()
    for parent, below, names in os.walk(folder, onerror=unreadable):
        below[:] = [name for name in below if not name.startswith(".")]
        for name in names:
            file = Path(parent, name)
            if file.suffix.lower() not in FORMATS or name.startswith("."):
                continue
            if not file.resolve().is_relative_to(inside):
                raise SourceError(f"{file} is a link that leads out of {folder}")
            yield file


def _grey(file: Path) -> npt.NDArray[Any]:
    """The grey values (H, W) of a picture."""
    with _opened(file) as picture:
        affordable(str(file), 4 * picture.width * picture.height, "the picture")
        if picture.mode == "1" or picture.mode not in GREY:
            picture = picture.convert("L")
        values: npt.NDArray[Any] = np.asarray(picture)
        return values


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise SourceError(f"{file}: pictures need the package pillow: pip install 'nmfkit[images]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", module="PIL")
            with Image.open(file, formats=(FORMATS[file.suffix.lower()],)) as picture:
                yield picture
    except UnidentifiedImageError:
        raise SourceError(f"{file} is no readable {FORMATS[file.suffix.lower()]} picture") from None
    except SourceError:
        raise
    except MemoryError:
        raise SourceError(f"{file} promises more than there is memory for") from None
    except Exception as error:
        raise SourceError(f"{file} cannot be read: {error or type(error).__name__}") from error


def _refuse_other(folder: str, one: Path, of_one: npt.NDArray[Any], two: Path, of_two: npt.NDArray[Any]) -> None:
    for what, a, b in (
        ("size", "×".join(map(str, of_one.shape)), "×".join(map(str, of_two.shape))),
        ("type of number", of_one.dtype, of_two.dtype),
    ):
        if a != b:
            raise SourceError(f"{folder}: pictures must have one {what}: {one.name} has {a}, and {two.name} has {b}")
