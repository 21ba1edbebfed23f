"""`.tif`: TIFF and GeoTIFF images, by blocks of pixels where they are not compressed; folders of them, a band each."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from nmfkit.errors import NmfkitError, SourceError, UsageError
from nmfkit.protocols import Source
from nmfkit.sources import ArraySource
from nmfkit.sources.about import About
from nmfkit.sources.checks import block_dtype, in_range
from nmfkit_plugins.files.containers import affordable, refuse_unknown_missing
from nmfkit_plugins.images.bands import Joined, joined
from nmfkit_plugins.images.cube import BY_BANDS, BY_PIXELS, Cube
from nmfkit_plugins.images.no_data import blank
from nmfkit_plugins.images.tiff_chain import refuse_broken_chain

SUFFIXES = (".tif", ".tiff")

NO_DATA = 42113
"""The tag in which GDAL writes the value that stands for no data."""


def read(path: str, *, key: str | None = None, missing: str = "none") -> Source:
    """The pixels × bands of the image in `path`: every axis that is neither height nor width makes bands.

    Pages of one size are bands, too; where there are several sizes, `key` is the number of one, from 0. A folder is
    read as one image, each of its files a band. Raises `SourceError` for damage, and for what does not fit together.
    """
    refuse_unknown_missing(missing)
    if Path(path).is_dir():
        files = sorted(f for f in Path(path).iterdir() if f.suffix.lower() in SUFFIXES)
        if not files:
            raise SourceError(f"{path} holds no TIFF files ({', '.join(SUFFIXES)})")
        return joined(path, [(f.stem, _read(str(f), key, missing)) for f in files])
    return _read(path, key, missing)


def _read(path: str, key: str | None, missing: str) -> Source:
    with _opened(path) as file:
        pages = [_image(path, file, series, missing) for series in _chosen(path, file, key)]
    return pages[0] if len(pages) == 1 else Joined(path, tuple(pages), None)


def _image(path: str, file: Any, series: Any, missing: str) -> Source:
    """The pixels × bands of one series of pages, mapped where it lies in one piece."""
    before, after = _axes(path, series)
    height, width = (int(s) for s in series.shape[len(before) : len(before) + 2])
    mark, about = _no_data(path, series), About(row_image=(height, width))
    if not series.keyframe.is_memmappable or series.dataoffset is None or (before and after):
        return _decoded(path, series, len(before), mark, missing, about)
    stored = np.dtype(series.dtype).newbyteorder(file.byteorder)
    size = (height, width, prod(int(s) for s in series.shape) // max(1, height * width))
    order = BY_BANDS if before else BY_PIXELS
    return Cube(path, path, stored, int(series.dataoffset), order, size, mark, missing, None, about)


def _decoded(path: str, series: Any, before: int, mark: float | None, missing: str, about: About) -> Source:
    """The image read whole, for its parts are compressed or scattered."""
    dtype = block_dtype(series.dtype, None, path)
    affordable(path, prod(series.shape) * 2 * (np.dtype(series.dtype).itemsize + dtype.itemsize), "the image")
    image = np.moveaxis(series.asarray(), (before, before + 1), (0, 1))
    stored = image.reshape(prod(image.shape[:2]), -1)
    if mark is None:
        return ArraySource(stored, uri=path, about=about)
    with in_range(stored, dtype, path):
        values = stored.astype(dtype)
    blank(stored, values, mark, missing=missing, where=path)
    return ArraySource(values, uri=path, about=about)


def _axes(path: str, series: Any) -> tuple[str, str]:
    """The axes before height and width, and those after them."""
    before, found, after = str(series.axes).partition("YX")
    if not found or "X" in before + after or "Y" in before + after:
        raise SourceError(f"{path}: axes {series.axes} are not those of an image, which has height and width")
    return before, after


def _chosen(path: str, file: Any, key: str | None) -> list[Any]:
    """The images that are meant: all that are no previews or masks, if they have one size, or that of number `key`."""
    found = [s for s in file.series if not (s.keyframe.is_reduced or s.keyframe.is_mask)] or list(file.series)
    listing = ", ".join(f"{i} ({'×'.join(map(str, s.shape))})" for i, s in enumerate(found))
    if key is not None:
        if key.isdecimal() and int(key) < len(found):
            return [found[int(key)]]
        raise UsageError(f"{path}: {key!r} is no number of an image. It holds: {listing}")
    if len({(tuple(s.shape), s.axes) for s in found}) > 1:
        raise SourceError(f"{path} holds images of several sizes; choose with --key NUMBER. It holds: {listing}")
    if not found:
        raise SourceError(f"{path} holds no image")
    return found


def _no_data(path: str, series: Any) -> float | None:
    tag = series.keyframe.tags.get(NO_DATA)
    if tag is None:
        return None
    text = str(tag.value).strip().strip("\0").strip()
    try:
        return float(text) if text else None
    except ValueError:
        raise SourceError(f"{path}: the value for no data, {text!r}, is no number") from None


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    try:
        import tifffile
    except ImportError as error:
        raise SourceError(f"{path}: TIFF files need the package tifffile: pip install 'nmfkit[images]'") from error
    refuse_broken_chain(path)
    try:
        with _quiet(logging.getLogger("tifffile")), tifffile.TiffFile(path) as file:
            yield file
    except NmfkitError:
        raise
    except MemoryError:
        raise SourceError(f"{path} promises more than there is memory for") from None
    except Exception as error:
        needs = "; pip install 'nmfkit[images]' installs it" if "imagecodecs" in str(error) else ""
        reason = str(error) or type(error).__name__
        raise SourceError(f"{path} is no readable TIFF file: {reason}{needs}") from error


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """What is wrong is told by an error; the log would say it twice."""
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before
