"""Unmixing: rock, trees and water, against their measured spectra; plain KL, minimum volume, and deep."""

import numpy as np
from cases import COLOURS, canvas, image, keep, needed, options
from scipy.io import loadmat
from scipy.optimize import linear_sum_assignment

import nmfkit
from nmfkit.report import write_report

NAMES = ("rock", "tree", "water")
SIZE = (95, 95)
DELTA = 1e-3
"""A tenth of the mean squared length of these spectra, whose 156 entries sum to 1."""


def scene(step):
    """Every `step`-th pixel of Samson, pixels × bands, and the spectra of its three materials."""
    file = needed("hyperspectral/samson_1.mat")
    pixels = np.maximum(loadmat(file)["V"].T[::step], 1e-9)
    return np.ascontiguousarray(pixels), loadmat(file.with_name("samson_end3.mat"))["M"].T


def main():
    given = options(__doc__)
    seeds, sweeps, step = (1, 10, 16) if given.quick else (2, 2000, 4)
    x, truth = scene(step)
    for seed in reversed(range(seeds)):
        fits = {name: fit(x, seed, sweeps) for name, fit in MODELS.items()}
        for name, result in fits.items():
            errors, _ = matched(spectra(result), truth)
            told = ", ".join(f"{n} {e:.1f}" for n, e in zip(NAMES, errors, strict=True))
            print(f"seed {seed}, {name:20}: {told}", flush=True)
    result = fits["minimum volume"]
    result.save(given.out / "run.zarr", overwrite=True)
    write_report(result, given.out / "report.html", x, overwrite=True)
    whole, _ = scene(1)
    draw(given.out, truth, {name: (spectra(fit), maps(fit, whole, sweeps // 10)) for name, fit in fits.items()})


def plain(x, seed, sweeps):
    """KL and nothing else; that the spectra sum to 1 only fixes their scale."""
    return nmfkit.fit(x, loss="kl", rank=3, reg_h="sum-to-one", seed=seed, max_sweeps=sweeps, tol=0)


def minimum_volume(x, seed, sweeps):
    """The same, with the volume of the spectra held small."""
    volume = [f"minvol:4,delta={DELTA}", "sum-to-one"]
    return nmfkit.fit(x, loss="kl", rank=3, reg_h=volume, seed=seed, max_sweeps=sweeps, tol=0)


def deep(x, seed, sweeps, reg_h=()):
    """Spectra made of two, below the three; rows of each h sum to 1."""
    return nmfkit.fit(
        x, model="deep-nmf:components", loss="kl", ranks=(3, 2), reg_h=reg_h, seed=seed, max_sweeps=sweeps // 2, tol=0
    )


def deep_minimum_volume(x, seed, sweeps):
    """Deep, with the volume of both levels held small."""
    return deep(x, seed, sweeps, reg_h=[f"minvol:10,delta={DELTA}"])


MODELS = {"plain": plain, "minimum volume": minimum_volume, "deep": deep, "deep minimum volume": deep_minimum_volume}


def spectra(result):
    """Three spectra, at the level next to the data."""
    return result.levels[0].components if "h1" in result.factors else result.h


def matched(h, truth):
    """The mean-removed spectral angle, 0 … 100, of each material and the component that stands for it; which one."""
    h, truth = (a - a.mean(axis=1, keepdims=True) for a in (h, truth))
    cosine = truth @ h.T / np.linalg.norm(truth, axis=1)[:, None] / np.linalg.norm(h, axis=1)
    angle = 100 / np.pi * np.arccos(np.clip(cosine, -1, 1))
    material, component = linear_sum_assignment(angle)
    return angle[material, component], component


def maps(result, pixels, sweeps):
    """How much of each spectrum is in every pixel, as parts of the pixel."""
    rows = result.transform(pixels, max_sweeps=max(sweeps, 1))
    rows = rows["w1"] if isinstance(rows, dict) else rows
    return rows / rows.sum(axis=1, keepdims=True)


def draw(folder, truth, found):
    """For each model: maps of the three materials, then spectra (coloured) over the measured ones (grey)."""
    figure = canvas(8, 1.6 * len(found))
    rows = figure.subfigures(len(found), 1)
    for row, (name, (h, parts)) in zip(rows, found.items(), strict=True):
        row.suptitle(name, fontsize=9, x=0.01, ha="left")
        axes = row.subplots(1, 6)
        errors, order = matched(h, truth)
        for number, (k, colour) in enumerate(zip(order, COLOURS, strict=False)):
            image(axes[number], parts[:, k].reshape(SIZE).T, NAMES[number], "cividis", 1)
            ax = axes[3 + number]
            ax.fill_between(range(truth.shape[1]), truth[number] / truth[number].max(), color="#CCCCCC", linewidth=0)
            ax.plot(h[k] / h[k].max(), color=colour, linewidth=1)
            ax.set(yticks=[], xticks=[], title=f"off by {errors[number]:.1f}")
    keep(figure, folder, colours=32)


if __name__ == "__main__":
    main()
