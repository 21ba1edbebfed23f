"""`.hdr`: ENVI images, a text header with a raw file beside it, read by blocks of pixels.

The fields are those of NV5 Geospatial's description of ENVI header files.
"""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np

from nmfkit.errors import SourceError
from nmfkit.sources.about import About, Axis
from nmfkit_plugins.files.containers import no_key, refuse_unknown_missing
from nmfkit_plugins.images.cube import BY_BANDS, BY_LINES, BY_PIXELS, Cube
from nmfkit_plugins.images.envi_header import Header, read_header

TYPES = {1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 12: "u2", 13: "u4", 14: "i8", 15: "u8"}
"""NumPy's names of the data types."""

ENDINGS = ("", ".dat", ".img", ".raw", ".bin", ".bsq", ".bil", ".bip", ".cube")
"""How the raw file may end that lies beside NAME.hdr."""

UNITS = {"nanometers": "nm", "nanometer": "nm", "micrometers": "µm", "micrometer": "µm", "wavenumber": "cm⁻¹"}


def read(path: str, *, key: str | None = None, missing: str = "none") -> Cube:
    """The pixels × bands of the image whose header, or whose raw file, is `path`.

    Raises `SourceError` naming every fault of the header, and where the raw file has another length than it says.
    """
    no_key(path, key)
    refuse_unknown_missing(missing)
    header = read_header(_header_of(path))
    faults = _faults(header)
    if faults:
        raise SourceError(f"{header.path}: {'; '.join(faults)}")
    file = _raw_file(header)
    size = (header.count("lines"), header.count("samples"), header.count("bands"))
    stored = np.dtype((">" if header.count("byte order") else "<") + TYPES[header.count("data type")])
    offset = header.count("header offset")
    _refuse_other_length(header, file, offset + prod(size) * stored.itemsize)
    return Cube(
        path, str(file), stored, offset, header.text("interleave").lower(), size,
        header.number("data ignore value"), missing, _names(header), About(row_image=size[:2], axis=_axis(header)),
    )  # fmt: skip


def _faults(header: Header) -> list[str]:
    faults = [f for name in ("lines", "samples", "bands", "data type") for f in header.faults_of_count(name)]
    kind = header.count("data type") if not header.faults_of_count("data type") else None
    if kind is not None and kind not in TYPES:
        faults.append(f"data type {kind} is none of real numbers ({', '.join(map(str, TYPES))})")
    if header.text("interleave").lower() not in (BY_BANDS, BY_LINES, BY_PIXELS):
        faults.append(f"interleave {header.text('interleave')!r} is none of bsq, bil, bip")
    if header.whole("byte order", 0) not in (0, 1):
        faults.append(f"byte order {header.text('byte order')!r} is neither 0 nor 1")
    if header.whole("header offset", 0) is None:
        faults.append(f"header offset {header.text('header offset')!r} is no number of bytes")
    if header.text("file compression") not in ("", "0"):
        faults.append("the raw file is compressed; decompress it and set file compression = 0")
    if header.text("file type").lower() == "envi spectral library":
        faults.append("it is a spectral library, no image; export its spectra as a table")
    if any(n.strip() not in ("0", "") for n in header.listed("major frame offsets")):
        faults.append("major frame offsets are not supported")
    try:
        header.number("data ignore value")
    except ValueError:
        faults.append(f"data ignore value {header.text('data ignore value')!r} is no number")
    return faults + _faults_of_lists(header, header.whole("bands", 0))


def _faults_of_lists(header: Header, bands: int | None) -> list[str]:
    """Lists that have not one item for each band."""
    listed = {name: header.listed(name) for name in ("wavelength", "band names")}
    faults = [
        f"{len(items)} {'wavelengths' if name == 'wavelength' else name} for {bands} bands"
        for name, items in listed.items()
        if items and bands and len(items) != bands
    ]
    try:
        [float(item) for item in listed["wavelength"]]
    except ValueError as error:
        faults.append(f"the list of wavelengths: {error}")
    return faults


def _header_of(path: str) -> Path:
    """The header, from its own path or that of the raw file."""
    given = Path(path)
    if given.suffix.lower() == ".hdr":
        return given
    for header in (given.with_name(given.name + ".hdr"), given.with_suffix(".hdr")):
        if header.is_file():
            return header
    raise SourceError(f"{path}: an ENVI image needs its header beside it, {given.name}.hdr or {given.stem}.hdr")


def _raw_file(header: Header) -> Path:
    """The file of numbers: the one that the header names, if it lies beside it, else that of its name."""
    named = header.text("data file")
    if named:
        if Path(named).name != named or "\\" in named:
            raise SourceError(f"{header.path}: data file = {named} leads elsewhere; the raw file must lie beside it")
        names = [named]
    else:
        stem = header.path.name[: -len(header.path.suffix)]
        names = [stem + end for ending in ENDINGS for end in (ending, ending.upper())]
    for name in names:
        if (file := header.path.with_name(name)).is_file() and file != header.path:
            return file
    shown = named or f"{names[0]}, {names[2]}, {names[4]}, …"
    raise SourceError(f"{header.path}: the raw file ({shown}) does not lie beside its header")


def _refuse_other_length(header: Header, file: Path, wanted: int) -> None:
    held = file.stat().st_size
    if held != wanted:
        what = "cut short" if held < wanted else "too long"
        raise SourceError(f"{file} is {what}: {header.path.name} describes {wanted:,} bytes, and it has {held:,}")


def _axis(header: Header) -> Axis | None:
    values = tuple(float(item) for item in header.listed("wavelength"))
    unit = header.text("wavelength units")
    return Axis("wavelength", UNITS.get(unit.lower(), unit), values) if values else None


def _names(header: Header) -> tuple[str, ...] | None:
    if names := header.listed("band names"):
        return tuple(names)
    if (axis := _axis(header)) is None:
        return None
    return tuple(f"{value:g} {axis.unit}".rstrip() for value in axis.values)
