"""Audio: which notes does a piano play, and when? KL on the spectrogram; a component is a note, a row a moment."""

import wave

import numpy as np
from cases import COLOURS, canvas, keep, options, well_known

import nmfkit
from nmfkit.report import write_report

NAMES = ["C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B"]
TUNE = (64, 62, 60, 62, 64, 64, 64)  # Mary had a little lamb, as MIDI numbers


def recording(folder):
    """A piano, or the tune as the script plays it itself: partials that die away, and the knock of a hammer."""
    if file := well_known("audio/Mary.wav"):
        return file
    rate, rng, tones = 16000, np.random.default_rng(0), []
    t = np.arange(0, 0.6, 1 / rate)
    for tone in TUNE:
        hertz = 440 * 2 ** ((tone - 69) / 12)
        partials = [np.exp(-3 * k * t) / k**1.5 * np.sin(2 * np.pi * k * hertz * t) for k in range(1, 8)]
        hammer = 0.15 * np.exp(-80 * t) * rng.standard_normal(len(t))
        tones.append(np.sum(partials, axis=0) + hammer)
    with wave.open(str(folder / "tune.wav"), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((6000 * np.concatenate(tones)).astype("<i2").tobytes())
    return folder / "tune.wav"


def main():
    given = options(__doc__)
    result = nmfkit.fit(
        f"wav,frame=2048,hop=256:{recording(given.out)}", loss="kl", rank=4, reg_w="l1:1e-4", reg_h="l1:1e-4",
        max_sweeps=20 if given.quick else 300, out=given.out / "run.zarr", overwrite=True,
    )  # fmt: skip
    write_report(result, given.out / "report.html", overwrite=True)
    axis = np.array(result.attributes["source"]["about"]["axis"]["values"])
    seconds = np.array([float(name.split()[0]) for name in result.row_names])
    loud = result.w * result.h.sum(axis=1)
    order = np.argsort(-loud.sum(axis=0))
    names = [note(axis, result.h[k]) for k in order]
    for k, name in zip(order, names, strict=True):
        print(f"{name:15} {loud[:, k].sum() / loud.sum():.0%} of the sound")
    draw(given.out, axis, seconds, result.h[order], loud[:, order], names)


def note(axis, spectrum):
    """The note of the strongest frequency; a knock, where that one hardly stands out."""
    peak = np.arange(-1, 2) + min(max(1, spectrum.argmax()), len(axis) - 2)
    hertz = axis[peak] @ spectrum[peak] / spectrum[peak].sum()
    midi = round(69 + 12 * np.log2(hertz / 440))
    if spectrum.max() < 0.1 * spectrum.sum():
        return "the hammers"
    return f"{NAMES[midi % 12]}{midi // 12 - 1} ({hertz:.0f} Hz)"


def draw(folder, axis, seconds, h, loud, names):
    """Each component: its spectrum, and how loud it is at each moment."""
    figure = canvas(8, 3.6)
    axes = figure.subplots(len(h), 2, sharex="col", width_ratios=(1, 1.6))
    for (left, right), spectrum, course, name, colour in zip(axes, h, loud.T, names, COLOURS, strict=False):
        left.plot(axis, spectrum / spectrum.max(), color=colour, linewidth=1)
        left.set(xlim=(0, 3000), yticks=[], title=name)
        right.fill_between(seconds, course / loud.max(), color=colour, linewidth=0)
        right.set(xlim=(0, seconds[-1]), ylim=(0, 1), yticks=[])
    axes[-1, 0].set_xlabel("frequency (Hz)")
    axes[-1, 1].set_xlabel("time (s)")
    keep(figure, folder)


if __name__ == "__main__":
    main()
