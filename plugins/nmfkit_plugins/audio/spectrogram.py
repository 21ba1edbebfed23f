"""`.wav`: sound as the magnitudes of its short-time Fourier transform, computed as they are read."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from nmfkit.blocks import Dense
from nmfkit.errors import DataError, UsageError
from nmfkit.sources import tiles
from nmfkit.sources.about import About, Axis
from nmfkit.sources.checks import FLOATS, in_range
from nmfkit_plugins.audio.wave_file import WaveFile, open_wave
from nmfkit_plugins.files.containers import no_key

SECONDS = 0.064
"""Length of a frame where none is given: two tones a semitone apart at middle C differ in it by about one period."""

ROWS_AT_ONCE = 1024
"""Frames transformed together, for their transforms are twice as large as what becomes of them."""


def read(
    path: str, *, key: str | None = None, frame: int | None = None, hop: int | None = None, window: str = "hann",
    power: int = 1, channel: str = "mean",
) -> Spectrogram:  # fmt: skip
    """Frames × frequencies of the recording in `path`: |short-time Fourier transform| to the `power` 1 or 2.

    `frame` samples make a row (the power of two nearest to 64 ms), every `hop` samples a new one (half a frame).
    `window` is one of `scipy.signal.get_window` that needs no parameter; `channel` is `mean` or a number from 1.
    Magnitudes are scaled by the sum of the window, as in `scipy.signal.stft`. Raises `UsageError` for options that do
    not fit, `SourceError` for files that are damaged or compressed.
    """
    no_key(path, key)
    wave = open_wave(path)
    if wave.length == 0:
        raise DataError(f"{path} holds no samples")
    frame = min(_usual_frame(wave.rate), wave.length) if frame is None else frame
    hop = max(1, frame // 2) if hop is None else hop
    if faults := _faults(wave, frame, hop, window, power, channel):
        raise UsageError(f"{path}: {'; '.join(faults)}")
    return Spectrogram(path, wave, frame, hop, window, power, channel)


@dataclass(frozen=True)
class Spectrogram:
    """The frames of `wave` (m, frame // 2 + 1); the last one is filled up with silence."""

    uri: str
    wave: WaveFile
    frame: int
    hop: int
    window: str
    power: int
    channel: str

    is_sparse = False
    resident = False
    nnz = None

    @property
    def shape(self) -> tuple[int, int]:
        """Frames × frequencies."""
        return 1 + max(0, math.ceil((self.wave.length - self.frame) / self.hop)), self.frame // 2 + 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 for samples of 16 bits or fewer."""
        return FLOATS[self.wave.width > 2]

    @cached_property
    def row_names(self) -> tuple[str, ...]:
        """The middle of each frame in seconds."""
        digits = max(3, 1 + math.ceil(math.log10(self.wave.rate / self.hop)))
        return tuple(f"{(i * self.hop + self.frame / 2) / self.wave.rate:.{digits}f} s" for i in range(self.shape[0]))

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """The frequencies."""
        return tuple(f"{f:.6g} Hz" for f in self._frequencies())

    @cached_property
    def about(self) -> About:
        """The axis of frequencies."""
        return About(axis=Axis("frequency", "Hz", tuple(self._frequencies())))

    def bounds(self, target_bytes: int) -> list[tuple[int, int]]:
        """Row ranges of about `target_bytes` each."""
        return tiles.by_bytes(self.shape, self.dtype.itemsize, target_bytes)

    def read(self, lo: int, hi: int) -> Dense:
        """Frames `lo` … `hi`; raises `SourceError` where the file has been cut short meanwhile."""
        values = np.empty((hi - lo, self.shape[1]), self.dtype)
        for a, b in tiles.even(hi - lo, ROWS_AT_ONCE):
            magnitudes = self._magnitudes(lo + a, lo + b)
            with in_range(magnitudes, self.dtype, self.uri):
                values[a:b] = magnitudes
        return Dense(values, lo)

    def _magnitudes(self, lo: int, hi: int) -> npt.NDArray[np.float64]:
        from scipy.fft import rfft
        from scipy.signal import get_window

        start, stop = lo * self.hop, (hi - 1) * self.hop + self.frame
        sound = np.zeros(stop - start)
        heard = self.wave.read(start, min(stop, self.wave.length))
        sound[: len(heard)] = heard.mean(axis=1) if self.channel == "mean" else heard[:, int(self.channel) - 1]
        frames = np.lib.stride_tricks.sliding_window_view(sound, self.frame)[:: self.hop]
        weights = get_window(self.window, self.frame)
        magnitudes: npt.NDArray[np.float64] = np.abs(rfft(frames * (weights / weights.sum()), axis=1)) ** self.power
        return magnitudes

    def _frequencies(self) -> list[float]:
        frequencies: list[float] = np.fft.rfftfreq(self.frame, 1 / self.wave.rate).tolist()
        return frequencies

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


def _usual_frame(rate: int) -> int:
    return max(2, int(2 ** round(math.log2(max(1.0, SECONDS * rate)))))


def _faults(wave: WaveFile, frame: int, hop: int, window: str, power: int, channel: str) -> list[str]:
    """What of the options does not fit the recording."""
    faults = []
    if not 2 <= frame <= wave.length:
        faults.append(f"frame={frame} is not between 2 and the {wave.length} samples of the recording")
    elif not 1 <= hop <= frame:
        faults.append(f"hop={hop} is not between 1 and frame={frame}, so samples would be left out")
    if power not in (1, 2):
        faults.append(f"power={power} is neither 1 (magnitudes) nor 2 (power)")
    if channel != "mean" and not (channel.isdecimal() and 1 <= int(channel) <= wave.channels):
        faults.append(f"channel={channel} is neither mean nor a number from 1 to {wave.channels}")
    return faults + _faults_of_window(window)


def _faults_of_window(window: str) -> list[str]:
    from scipy.signal import get_window

    try:
        get_window(window, 8)
    except ValueError as error:
        return [f"window={window} is none of SciPy's windows without parameters ({error})"]
    return []
