"""A spectrogram is SciPy's short-time Fourier transform of what the file holds, however that is coded."""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import wavfile
from scipy.signal import stft

import nmfkit
from nmfkit.errors import DataError, SourceError, UsageError
from nmfkit.sources import open_source
from nmfkit.sources.about import about_of
from nmfkit.testing import SourceContract

RATE = 8000


def tones(seconds=0.5):
    time = np.arange(int(seconds * RATE)) / RATE
    return 0.5 * np.sin(2 * np.pi * 500 * time) + 0.3 * np.sin(2 * np.pi * 2000 * time) * (time > seconds / 2)


def chunk(name, content, order="<"):
    return struct.pack(f"{order}4sI", name, len(content)) + content + bytes(len(content) % 2)


def wave_bytes(stored, *, tag=1, channels=1, width=2, order="<", extensible=False, before=b"", kind=None):
    """A file of the bytes of its samples, as a program might write it."""
    told = 0xFFFE if extensible else tag
    fmt = struct.pack(f"{order}HHIIHH", told, channels, RATE, RATE * channels * width, channels * width, 8 * width)
    if extensible:
        fmt += struct.pack(f"{order}HHIH", 22, 8 * width, 0, tag) + bytes(14)
    body = b"WAVE" + before + chunk(b"fmt ", fmt, order) + chunk(b"LIST", b"odd", order) + chunk(b"data", stored, order)
    return (kind or (b"RIFX" if order == ">" else b"RIFF")) + struct.pack(f"{order}I", len(body)) + body


def coded(sound, width, *, is_float=False, order="<"):
    """The bytes of the samples, and what they stand for once more."""
    if is_float:
        stored = sound.astype(f"{order}f{width}")
        return stored.tobytes(), stored.astype(float)
    if width == 1:
        stored = np.round(sound * 127 + 128).astype(np.uint8)
        return stored.tobytes(), (stored - 128.0) / 128
    whole = np.round(sound * (2.0 ** (8 * width - 1) - 1)).astype(np.int64)
    wide = whole.astype(f"{order}i8").view(np.uint8).reshape(-1, 8)
    part = wide[:, :width] if order == "<" else wide[:, 8 - width :]
    return part.tobytes(), whole / 2.0 ** (8 * width - 1)


def spectrum(sound, frame, hop):
    return np.abs(stft(sound, RATE, nperseg=frame, noverlap=frame - hop, boundary=None, padded=True)[2].T)


def whole(source):
    return source.read(0, source.shape[0]).dense()


CODINGS = [(w, f, o) for w, f in ((1, 0), (2, 0), (3, 0), (4, 0), (4, 1), (8, 1)) for o in "<>"]


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize(("width", "is_float", "order"), CODINGS)
def test_every_coding(tmp_path, width, is_float, order, extensible):
    stored, sound = coded(tones(), width, is_float=is_float, order=order)
    tag = 3 if is_float else 1
    content = wave_bytes(stored, tag=tag, width=width, order=order, extensible=extensible)
    (tmp_path / "x.wav").write_bytes(content)
    source = open_source(f"wav,frame=256,hop=100:{tmp_path / 'x.wav'}")
    assert source.dtype == (np.float32 if width <= 2 else np.float64)
    wanted = spectrum(sound, 256, 100)
    assert source.shape == wanted.shape
    np.testing.assert_allclose(whole(source), wanted, atol=1e-7 if width <= 2 else 1e-13)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 70), st.integers(2, 30), st.data())
def test_frames_of_any_length(tmp_path_factory, length, frame, more):
    frame = min(frame, length)
    hop = more.draw(st.integers(1, frame))
    sound = np.random.default_rng(length).uniform(-1, 1, length)
    path = tmp_path_factory.mktemp("wav") / "x.wav"
    wavfile.write(path, RATE, sound)
    source = open_source(f"wav,frame={frame},hop={hop},window=boxcar,power=2:{path}")
    padded = np.concatenate([sound, np.zeros(frame)])
    starts = range(0, max(1, length - frame + hop), hop)
    wanted = [np.abs(np.fft.rfft(padded[s : s + frame])) ** 2 / frame**2 for s in starts]
    np.testing.assert_allclose(whole(source), wanted, atol=1e-12)
    assert starts[-1] + frame >= length
    assert len(source.row_names) == len(wanted)


def test_channels_names_and_axis(tmp_path):
    left, right = tones(), np.roll(tones(), 99)
    wavfile.write(tmp_path / "x.wav", RATE, np.stack([left, right], axis=1).astype(np.float32))
    for channel, sound in (("mean", (left + right) / 2), ("1", left), ("2", right)):
        source = open_source(f"wav,channel={channel}:{tmp_path / 'x.wav'}")
        np.testing.assert_allclose(whole(source), spectrum(sound, 512, 256), atol=1e-7)
    assert source.row_names[:2] == ("0.032 s", "0.064 s")
    assert source.feature_names[:2] == ("0 Hz", "15.625 Hz")
    axis = about_of(source).axis
    assert (axis.name, axis.unit, axis.values[-1]) == ("frequency", "Hz", RATE / 2)
    assert len(axis.values) == source.shape[1]


def test_components_are_the_tones(tmp_path):
    time = np.arange(RATE) / RATE
    sound = np.sin(2 * np.pi * np.where(time < 0.5, 500, 2000) * time)
    wavfile.write(tmp_path / "x.wav", RATE, (sound * 32767).astype(np.int16))
    result = nmfkit.fit(f"wav,frame=256:{tmp_path / 'x.wav'}", rank=2, loss="kl", out=tmp_path / "run.zarr")
    loudest = {result.feature_names[k] for k in result.h.argmax(axis=1)}
    assert loudest == {"500 Hz", "2000 Hz"}
    assert nmfkit.load(tmp_path / "run.zarr").attributes["source"]["about"]["axis"]["unit"] == "Hz"


class TestSpectrogram(SourceContract):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path):
        wavfile.write(tmp_path / "x.wav", RATE, (tones(2) * 32767).astype(np.int16))
        type(self).path = tmp_path / "x.wav"

    def make(self):
        return open_source(f"wav,frame=64,hop=8:{self.path}")


# --- what is refused ----------------------------------------------------------------------------------------


GOOD = coded(tones(), 2)[0]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"RIFF", "is cut short: it has no header"),
        (b"OggS" + bytes(40), "is no WAVE file"),
        (wave_bytes(GOOD)[:30], "damaged or cut short: it has no chunk 'data'"),
        (wave_bytes(GOOD)[:-10], r"is cut short: it promises 8,000 bytes of samples and has 7,990"),
        (wave_bytes(GOOD[:-1]), "no multiple of 2"),
        (wave_bytes(GOOD, tag=0x55), r"is compressed \(MP3\); write it as PCM first"),
        (wave_bytes(GOOD, tag=0x1234), "not known"),
        (wave_bytes(GOOD, channels=0), "is damaged: 0 channels"),
        (wave_bytes(GOOD, width=7), "make no sound"),
        (wave_bytes(GOOD, kind=b"RF64").replace(b"data" + struct.pack("<I", 8000), b"data\xff\xff\xff\xff"), "ds64"),
    ],
)
def test_damaged_and_compressed_files(tmp_path, content, why):
    (tmp_path / "x.wav").write_bytes(content)
    with pytest.raises(SourceError, match=rf"x\.wav {why}|x\.wav .*{why}"):
        open_source(tmp_path / "x.wav")


def test_files_whose_size_was_not_known_when_they_began(tmp_path):
    stored, sound = coded(tones(), 2)
    unknown = wave_bytes(stored).replace(b"data" + struct.pack("<I", len(stored)), b"data\xff\xff\xff\xff")
    (tmp_path / "x.wav").write_bytes(unknown)
    np.testing.assert_allclose(whole(open_source(tmp_path / "x.wav")), spectrum(sound, 512, 256), atol=1e-7)
    large = wave_bytes(stored, kind=b"RF64", before=chunk(b"ds64", struct.pack("<QQQI", 0, len(stored), 0, 0)))
    large = large.replace(b"data" + struct.pack("<I", len(stored)), b"data\xff\xff\xff\xff") + b"junk"
    (tmp_path / "x.wav").write_bytes(large)
    np.testing.assert_allclose(whole(open_source(tmp_path / "x.wav")), spectrum(sound, 512, 256), atol=1e-7)


def test_silence_of_no_length(tmp_path):
    (tmp_path / "x.wav").write_bytes(wave_bytes(b""))
    with pytest.raises(DataError, match="holds no samples"):
        open_source(tmp_path / "x.wav")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("frame=1", "frame=1 is not between 2 and the 4000 samples"),
        ("frame=9999,power=3", "frame=9999 is not between.*; power=3 is neither"),
        ("hop=0", "hop=0 is not between 1"),
        ("frame=64,hop=65", "samples would be left out"),
        ("window=kaiser", "window=kaiser is none of SciPy's windows"),
        ("channel=2", "channel=2 is neither mean nor a number from 1 to 1"),
    ],
)
def test_options_that_do_not_fit(tmp_path, options, why):
    (tmp_path / "x.wav").write_bytes(wave_bytes(GOOD))
    with pytest.raises(UsageError, match=why):
        open_source(f"wav,{options}:{tmp_path / 'x.wav'}")


def test_a_file_cut_short_after_it_was_opened(tmp_path):
    (tmp_path / "x.wav").write_bytes(wave_bytes(GOOD))
    source = pickle.loads(pickle.dumps(open_source(tmp_path / "x.wav")))
    (tmp_path / "x.wav").write_bytes(wave_bytes(GOOD)[:-100])
    with pytest.raises(SourceError, match="cut short"):
        whole(source)


# --- real recordings ----------------------------------------------------------------------------------------

DATA = Path(os.environ.get("NMFKIT_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.mark.parametrize(
    ("name", "rank", "pitches"),
    [
        ("Mary.wav", 4, (262, 294, 330)),
        ("Prelude_Bach.wav", 13, (247, 262, 294, 330, 370, 392, 440, 523, 587, 659, 698, 784, 880)),
    ],
)
def test_components_of_a_piano_are_its_notes(name, rank, pitches):
    path = DATA / "audio" / name
    if not path.exists():
        pytest.skip(f"{path} is absent; set NMFKIT_DATA to the folder of data sets")
    source = open_source(path)
    frequencies = np.array(about_of(source).axis.values)
    result = nmfkit.fit(source, rank=rank, loss="kl")
    loudest = frequencies[result.h.argmax(axis=1)]
    assert all(np.abs(loudest - pitch).min() <= frequencies[1] for pitch in pitches)
