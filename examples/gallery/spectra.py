"""Spectra: what is the ground made of? KL on a hyperspectral image, each pixel of few materials."""

import numpy as np
from cases import COLOURS, canvas, image, keep, of_package, options, well_known
from scipy.io import loadmat

import nmfkit
from nmfkit.report import write_report


def scene():
    """An image, height × width × bands, its rank, and the known spectra: Samson, or Indian Pines without any."""
    if file := well_known("hyperspectral/samson_1.mat"):
        cube = loadmat(file)["V"].T.reshape(95, 95, -1).transpose(1, 0, 2)
        return cube, 3, loadmat(file.with_name("samson_end3.mat"))["M"].T
    file = of_package("tensorly", "datasets/data/Indian_pines_corrected.npy", instead="hyperspectral/samson_1.mat")
    radiance = np.maximum(np.load(file) - 1000.0, 0)  # stored as 1000 + 500 × radiance
    return radiance / radiance.max(), 5, None


def main():
    given = options(__doc__)
    cube, rank, truth = scene()
    cube = cube[::3, ::3] if given.quick else cube
    height, width, bands = cube.shape
    pixels = np.ascontiguousarray(cube.reshape(-1, bands))
    result = nmfkit.fit(
        pixels, loss="kl", rank=rank, reg_w="l1:1", reg_h="l2:1",
        max_sweeps=10 if given.quick else 500, tol=1e-6, out=given.out / "run.zarr", overwrite=True,
    )  # fmt: skip
    write_report(result, given.out / "report.html", pixels, image_shape=f"{height},{width}", overwrite=True)
    error = np.linalg.norm(pixels - result.w @ result.h) / np.linalg.norm(pixels)
    print(f"{height} × {width} pixels, {bands} bands, {rank} endmembers: relative error {error:.4f}")
    if truth is not None:
        for name, spectrum in zip(("rock", "tree", "water"), truth, strict=True):
            print(f"{name}: nearest endmember at {np.degrees(min(angle(spectrum, h) for h in result.h)):.1f}°")
    draw(given.out, result, (height, width))


def angle(a, b):
    """The spectral angle of two spectra."""
    return np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1))


def draw(folder, result, size):
    """Where each endmember lies, above what it looks like over the bands."""
    rank = len(result.h)
    figure = canvas(8, 8 / rank * size[0] / size[1] + 1.3)
    axes = figure.subplots(2, rank, height_ratios=(8 / rank, 1))
    order = np.argsort(-result.w.sum(axis=0) * result.h.sum(axis=1))
    for number, (ax, below, k) in enumerate(zip(*axes, order, strict=True), 1):
        high = np.quantile(result.w[:, k], 0.995)
        image(ax, result.w[:, k].reshape(size), f"endmember {number}", "cividis", high)
        below.fill_between(range(len(result.h[k])), result.h[k] * high, color=COLOURS[0], linewidth=0)
        below.set(yticks=[], ylim=(0, None), xlabel="band")
    keep(figure, folder, colours=24)


if __name__ == "__main__":
    main()
