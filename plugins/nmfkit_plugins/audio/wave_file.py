"""`.wav` files: where in them the samples lie, and the samples of a stretch of time.

The layout is that of RIFF (little-endian), RIFX (big-endian) and RF64 (more than 4 GiB; EBU Tech 3306).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from nmfkit.errors import SourceError

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
OTHERS = {2: "ADPCM", 6: "A-law", 7: "µ-law", 0x11: "IMA ADPCM", 0x31: "GSM", 0x50: "MPEG", 0x55: "MP3", 0xFF: "AAC"}
"""Codings that are compressed, by their tag."""

WIDTHS = {PCM: (1, 2, 3, 4), FLOAT: (4, 8)}
"""Bytes of a sample."""

UNKNOWN = 2**32 - 1
"""The size that is written where none is known yet: by RF64, which gives it elsewhere, and by programs that stream."""


@dataclass(frozen=True)
class WaveFile:
    """The samples of a file: `length` moments of `channels` at `rate` a second, from byte `offset` on."""

    path: str
    rate: int
    channels: int
    length: int
    offset: int
    width: int
    is_float: bool
    big_endian: bool

    def read(self, start: int, stop: int) -> npt.NDArray[np.float64]:
        """The moments `start` … `stop` of every channel (stop − start, channels), whole numbers scaled to ±1."""
        count = (stop - start) * self.channels
        with Path(self.path).open("rb") as file:
            file.seek(self.offset + start * self.channels * self.width)
            stored = file.read(count * self.width)
        if len(stored) < count * self.width:
            raise SourceError(f"{self.path} is cut short: the samples {start} … {stop - 1} cannot be read")
        return self._numbers(stored).reshape(-1, self.channels)

    def _numbers(self, stored: bytes) -> npt.NDArray[np.float64]:
        order = ">" if self.big_endian else "<"
        if self.is_float:
            return np.frombuffer(stored, f"{order}f{self.width}").astype(np.float64)
        if self.width == 1:  # the only width without a sign
            return (np.frombuffer(stored, np.uint8).astype(np.float64) - 128) / 128
        if self.width == 3:
            stored, width = _widened(stored, self.big_endian), 4
        else:
            width = self.width
        whole = np.frombuffer(stored, f"{order}i{width}").astype(np.float64)
        return whole / 2.0 ** (8 * width - 1)


def open_wave(path: str) -> WaveFile:
    """Where the samples of `path` lie; raises `SourceError` for what is damaged, cut short or compressed."""
    with Path(path).open("rb") as file:
        kind, _, form = struct.unpack("<4sI4s", _exactly(file, 12, path))
        if kind not in (b"RIFF", b"RIFX", b"RF64", b"BW64") or form != b"WAVE":
            raise SourceError(f"{path} is no WAVE file: it begins with {kind + form!r}")
        order = ">" if kind == b"RIFX" else "<"
        found = _chunks(file, order)
        size = Path(path).stat().st_size
    if missing := [name for name in ("fmt ", "data") if name not in found]:
        raise SourceError(
            f"{path} is damaged or cut short: it has no chunk {' and no chunk '.join(map(repr, missing))}"
        )
    return _described(path, found["fmt "][1], found["data"][0], _data_size(found, kind, order, size, path), order)


def _chunks(file: BinaryIO, order: str) -> dict[str, tuple[int, bytes, int]]:
    """Offset, first bytes and size of each chunk up to the samples, by name."""
    found: dict[str, tuple[int, bytes, int]] = {}
    while len(header := file.read(8)) == 8:
        name, size = struct.unpack(f"{order}4sI", header)
        offset = file.tell()
        found.setdefault(name.decode("latin-1"), (offset, file.read(min(size, 64)), size))
        if name == b"data":
            break
        file.seek(offset + size + size % 2)
    return found


def _data_size(found: dict[str, tuple[int, bytes, int]], kind: bytes, order: str, file_size: int, path: str) -> int:
    offset, _, size = found["data"]
    if size == UNKNOWN and kind in (b"RF64", b"BW64"):
        if len(found.get("ds64", (0, b"", 0))[1]) < 16:
            raise SourceError(f"{path} is damaged: an RF64 file needs the chunk 'ds64'")
        size = struct.unpack(f"{order}Q", found["ds64"][1][8:16])[0]
    elif size == UNKNOWN:
        return file_size - offset
    if offset + size > file_size:
        raise SourceError(f"{path} is cut short: it promises {size:,} bytes of samples and has {file_size - offset:,}")
    return size


def _described(path: str, stored: bytes, offset: int, size: int, order: str) -> WaveFile:
    if len(stored) < 16:
        raise SourceError(f"{path} is damaged: the chunk 'fmt ' has {len(stored)} bytes, and 16 are needed")
    tag, channels, rate, _, frame_bytes, _ = struct.unpack(f"{order}HHIIHH", stored[:16])
    if tag == EXTENSIBLE and len(stored) >= 26:
        (tag,) = struct.unpack(f"{order}H", stored[24:26])
    if tag not in WIDTHS:
        coding = f"compressed ({OTHERS[tag]})" if tag in OTHERS else f"coded in a way that is not known ({tag:#x})"
        raise SourceError(
            f"{path} is {coding}; write it as PCM first, as with: ffmpeg -i IN.wav -c:a pcm_s16le OUT.wav"
        )
    if channels == 0 or rate == 0 or frame_bytes % channels or frame_bytes // channels not in WIDTHS[tag]:
        raise SourceError(
            f"{path} is damaged: {channels} channels at {rate} Hz, {frame_bytes} bytes each moment, make no sound"
        )
    if size % frame_bytes:
        raise SourceError(f"{path} is cut short: its {size:,} bytes of samples are no multiple of {frame_bytes}")
    width = frame_bytes // channels
    return WaveFile(path, rate, channels, size // frame_bytes, offset, width, tag == FLOAT, order == ">")


def _widened(stored: bytes, big_endian: bool) -> bytes:
    """Numbers of 24 bits as 32 bits, 256 times as large."""
    wide = np.zeros((len(stored) // 3, 4), np.uint8)
    wide[:, slice(0, 3) if big_endian else slice(1, 4)] = np.frombuffer(stored, np.uint8).reshape(-1, 3)
    return wide.tobytes()


def _exactly(file: BinaryIO, count: int, path: str) -> bytes:
    stored = file.read(count)
    if len(stored) < count:
        raise SourceError(f"{path} is {'empty' if not stored else 'cut short: it has no header'}")
    return stored
