"""Readers of images, of one band or many; each is imported when used."""

from __future__ import annotations

from nmfkit.hookspecs import ReaderSpec, hookimpl


@hookimpl
def nmfkit_readers() -> list[ReaderSpec]:
    """Every reader of this package."""
    here = "nmfkit_plugins.images"
    return [
        ReaderSpec("envi", "ENVI image: pixels × bands, by blocks", f"{here}.envi:read", suffixes=(".hdr",)),
        ReaderSpec("tiff", "TIFF or GeoTIFF: pixels × bands", f"{here}.tiff:read", suffixes=(".tif", ".tiff")),
        ReaderSpec("images", "folder of pictures of one size: a row for each", f"{here}.pictures:read"),
    ]
