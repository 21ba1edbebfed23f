"""Embeddings: which digits stay near those that look like them, when 64 pixels become 16 numbers.

Handwritten digits as they come with scikit-learn. Principal components, a plain factorization with its components as
they come and of length 1, and two in which a trained encoder makes the 16 numbers of a picture.
"""

import numpy as np
from cases import canvas, keep, of_package, options, plane

import nmfkit
from nmfkit.embedding import continuity, knn_accuracy, trustworthiness
from nmfkit.report import write_report

RANK = 16
MODELS = {"IG-MDSR-NMF": "ig-mdsr-nmf", "IG-MDSR-RNMF": "ig-mdsr-rnmf"}
"""W from 0 to 1 and H ≥ 0, and the same with H of either sign."""
DRAWN = ("PCA", "NMF, length 1", *MODELS)


def main():
    given = options(__doc__)
    x, digits = pictures()
    epochs, seeds = (10, 1) if given.quick else (200, 3)
    fits = {name: [fitted(x, model, epochs, seed) for seed in range(seeds)] for name, model in MODELS.items()}
    plain = [nmfkit.fit(x, rank=RANK, seed=seed) for seed in range(seeds)]
    codes = {"PCA": [principal(x)], "NMF": [(one.w, one.w @ one.h) for one in plain]}
    codes["NMF, length 1"] = [(even(one.w, one.h), one.w @ one.h) for one in plain]
    codes |= {name: [(one.w, one.w @ one.h) for one in of] for name, of in fits.items()}
    result = fits["IG-MDSR-NMF"][0]
    result.save(given.out / "run.zarr", overwrite=True)
    np.savetxt(given.out / "digits.txt", digits, fmt="%d")
    labels = str(given.out / "digits.txt")
    write_report(result, given.out / "report.html", x, labels=labels, image_shape="8,8", overwrite=True)
    found = {name: [judged(x, *one, digits) for one in of] for name, of in codes.items()}
    tell(x, found)
    draw(given.out, {name: codes[name][0][0] for name in DRAWN}, found, digits)


def pictures():
    """1,797 pictures of 8 × 8 pixels from 0 to 1, and the digit of each."""
    of_package("sklearn", "datasets/data/digits.csv.gz", install='"nmfkit[sklearn]"')
    from sklearn.datasets import load_digits

    x, digits = load_digits(return_X_y=True)
    return x / 16, digits


def fitted(x, model, epochs, seed):
    """A network trained for so many epochs; of these, the one with the lowest loss."""
    return nmfkit.fit(x, model=model, rank=RANK, max_sweeps=epochs, tol=0, seed=seed)


def even(w, h):
    """W with components of length 1. W H says nothing of their scales, and distances between rows of W go by them."""
    return w * np.linalg.norm(h, axis=1)


def principal(x):
    """The coordinates of each picture along the principal components, and what they make of it."""
    from sklearn.decomposition import PCA

    pca = PCA(RANK)
    w = pca.fit_transform(x)
    return w, pca.inverse_transform(w)


def judged(x, w, made, digits):
    """Relative error, trustworthiness and continuity of 5 neighbours, and how often these tell the digit."""
    error = np.linalg.norm(x - made) / np.linalg.norm(x)
    return error, trustworthiness(x, w), continuity(x, w), knn_accuracy(w, digits)


def tell(x, found):
    """A line for each, means over the seeds."""
    print(f"{len(x):,} pictures, {x.shape[1]} pixels, {RANK} numbers each\n")
    print(f"{'':14}{'relative error':>16}{'trustworthiness':>17}{'continuity':>12}{'digits told':>13}")
    for name, rows in found.items():
        error, trust, kept, told = np.mean(rows, axis=0)
        print(f"{name:14}{error:16.3f}{trust:17.4f}{kept:12.4f}{told:13.1%}")


def draw(folder, codes, found, digits):
    """Each embedding along its two widest directions, and the pictures whose neighbours are of another digit."""
    figure = canvas(8, 2.7)
    panels = figure.subplots(1, len(codes))
    for ax, (name, w) in zip(panels, codes.items(), strict=True):
        at, share = plane(w)
        ax.scatter(*at.T, c=digits, cmap="tab10", s=2, linewidths=0, alpha=0.7)
        astray = digits[nearest(w)] != digits[:, None]
        wrong = astray.sum(axis=1) > astray.shape[1] / 2
        ax.scatter(*at[wrong].T, s=5, color="black", linewidths=0)
        for digit in np.unique(digits):
            ax.annotate(str(digit), np.median(at[digits == digit], axis=0), weight="bold", ha="center", va="center")
        _, trust, _, told = np.mean(found[name], axis=0)
        ax.set(title=f"{name}\ntrustworthiness {trust:.3f}, {told:.1%} told", xticks=[], yticks=[])
        ax.set_xlabel(f"{share:.0%} of the variance; black: {wrong.sum()}")
    keep(figure, folder, colours=64)


def nearest(w, count=5):
    """The numbers of the nearest rows of W, of each row."""
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=count).fit(w).kneighbors(return_distance=False)


if __name__ == "__main__":
    main()
