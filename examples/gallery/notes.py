"""Notes: how many does a piano play? With more components than notes, minimum volume lets the surplus vanish."""

import numpy as np
from audio import note, recording
from cases import COLOURS, canvas, keep, options

import nmfkit
from nmfkit.report import write_report

RANK = 7
VOLUME = ("minvol:5,delta=1", "sum-to-one")
HEARD = 0.01
"""The part of the sound from which on a component counts."""


def main():
    given = options(__doc__)
    seeds, sweeps = (1, 10) if given.quick else (5, 1000)
    song = f"wav,frame=512,hop=256:{recording(given.out)}"
    for seed in reversed(range(seeds)):
        plain = fit(song, seed, sweeps, reg_h="sum-to-one")
        result = fit(song, seed, sweeps, reg_h=VOLUME)
        for name, found in (("plain", plain), ("minimum volume", result)):
            print(f"seed {seed}, {name}: {', '.join(heard(found))}")
    result.save(given.out / "run.zarr", overwrite=True)
    write_report(result, given.out / "report.html", overwrite=True)
    draw(given.out, plain, result)


def fit(song, seed, sweeps, **regularizers):
    """KL on magnitudes, spectra (the rows of H) that sum to 1."""
    return nmfkit.fit(song, loss="kl", rank=RANK, seed=seed, max_sweeps=sweeps, tol=0, **regularizers)


def heard(result):
    """Each component that can be heard, the loudest first: its note, and its part of the sound."""
    axis, loud, order = sounds(result)
    names = [f"{note(axis, result.h[k])} {loud[:, k].sum():.1%}" for k in order if loud[:, k].sum() >= HEARD]
    return [*names, f"{len(order) - len(names)} silent"]


def sounds(result):
    """Frequencies, how loud each component is at each moment as part of the whole, and components by loudness."""
    loud = result.w * result.h.sum(axis=1)
    loud = loud / loud.sum()
    return np.array(result.attributes["source"]["about"]["axis"]["values"]), loud, np.argsort(-loud.sum(axis=0))


def draw(folder, plain, result):
    """Each component: its spectrum, and how loud it is at each moment; left plain, right with minimum volume."""
    figure = canvas(8, 5)
    seconds = np.array([float(name.split()[0]) for name in result.row_names])
    halves = figure.subfigures(1, 2)
    for half, name, found in zip(halves, ("plain", "minimum volume"), (plain, result), strict=True):
        half.suptitle(name, fontsize=9)
        axes = half.subplots(RANK, 2, sharex="col", width_ratios=(1, 1.3))
        axis, loud, order = sounds(found)
        for (left, right), k, colour in zip(axes, order, COLOURS, strict=False):
            left.plot(axis, found.h[k] / found.h[k].max(), color=colour, linewidth=0.8)
            part = loud[:, k].sum()
            title = f"{note(axis, found.h[k])}, {part:.0%}" if part >= HEARD else "silent"
            left.set(xlim=(0, 3000), yticks=[], title=title)
            right.fill_between(seconds, loud[:, k] / loud.max(), color=colour, linewidth=0)
            right.set(xlim=(0, seconds[-1]), ylim=(0, 1), yticks=[])
        axes[-1, 0].set_xlabel("frequency (Hz)")
        axes[-1, 1].set_xlabel("time (s)")
    keep(figure, folder)


if __name__ == "__main__":
    main()
