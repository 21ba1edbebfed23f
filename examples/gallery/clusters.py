"""Clusters: pictures told apart by a symmetric factorization of the graph of their neighbours.

Handwritten digits as they come with scikit-learn. With NMFKIT_DATA, also COIL-20, 20 things on a turntable
(images/COIL20.mat), in a folder of its own.
"""

import warnings

import numpy as np
from cases import COLOURS, canvas, image, keep, of_package, options, well_known

import nmfkit
from nmfkit.clustering import agreement
from nmfkit.report import write_report

DIGITS, OBJECTS = (8, 8), (32, 32)
"""Pixels of a picture."""


def main():
    given = options(__doc__)
    seeds = 3 if given.quick else 20
    clusters(given.out, *digits(), DIGITS, seeds)
    if found := well_known("images/COIL20.mat"):
        (given.out / "coil20").mkdir(exist_ok=True)
        clusters(given.out / "coil20", *objects(found), OBJECTS, seeds)
    else:
        print("COIL-20 is left out: set NMFKIT_DATA to a folder that has images/COIL20.mat")


def digits():
    """1,797 pictures of 8 × 8 pixels, and the digit of each."""
    of_package("sklearn", "datasets/data/digits.csv.gz", install='"nmfkit[sklearn]"')
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)


def objects(path):
    """1,440 pictures of 32 × 32 pixels, stored by columns of pixels, and the thing on each."""
    from scipy.io import loadmat

    held = loadmat(path)
    upright = held["X"].reshape(-1, *OBJECTS).transpose(0, 2, 1).reshape(len(held["X"]), -1)
    return upright, held["Y"].ravel()


def clusters(folder, x, classes, size, seeds):
    """Fit, compare with two others and with starts at random, and draw."""
    rank = len(np.unique(classes))
    a = nmfkit.similarity(x, "knn")
    result = fitted(a, rank)
    result.save(folder / "run.zarr", overwrite=True)
    np.savetxt(folder / "classes.txt", classes, fmt="%d")
    write_report(result, folder / "report.html", a, labels=str(folder / "classes.txt"), overwrite=True)
    random = [fitted(a, rank, init="random", seed=seed) for seed in range(seeds)]
    right = {"symmetric": result.labels, "spectral": spectral(a, rank), "k-means": kmeans(x, rank)}
    right = {name: agreement(labels, classes).accuracy for name, labels in right.items()}
    tell(a, result, classes, random, right)
    draw(folder, a, result, x.reshape(-1, *size), random, right, classes)


def fitted(a, rank, **options):
    """A symmetric factorization; from its own start it takes a fraction of these sweeps."""
    return nmfkit.fit(a, model="symnmf", rank=rank, max_sweeps=200, tol=1e-5, **options)


def spectral(a, rank):
    """Scikit-learn's spectral clustering of the same graph."""
    from sklearn.cluster import SpectralClustering

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Graph is not fully connected")
        return SpectralClustering(rank, affinity="precomputed", random_state=0).fit_predict(a.toarray())


def kmeans(x, rank):
    """Scikit-learn's k-means of the pictures themselves, the best of ten."""
    from sklearn.cluster import KMeans

    return KMeans(rank, n_init=10, random_state=0).fit_predict(x)


def residual(a, result):
    """‖A − H Hᵀ‖ / ‖A‖, by products with A alone."""
    h, squares = result.w, float(np.sum(a.data**2))
    return np.sqrt(max(0.0, squares - 2 * np.sum(h * (a @ h)) + np.sum((h.T @ h) ** 2)) / squares)


def tell(a, result, classes, random, right):
    """What was found, in lines."""
    found = [agreement(one.labels, classes).accuracy for one in random]
    print(f"{a.shape[0]:,} pictures, {a.nnz:,} entries: {result.history.sweep[-1]} sweeps")
    print(f"residual {residual(a, result):.4f}, " + ", ".join(f"{name} {acc:.3f}" for name, acc in right.items()))
    print(f"starts at random: {np.mean(found):.3f} of {len(found)}, from {min(found):.3f} to {max(found):.3f}")


def draw(folder, a, result, pictures, random, right, classes):
    """The graph by cluster, pictures of each cluster, and how right they are."""
    figure = canvas(8, 6.4)
    top, bottom = figure.subfigures(2, 1, height_ratios=(3.4, 2.4))
    graph, strips = top.subplots(1, 2, width_ratios=(1, 1.3))
    image(graph, np.sqrt(by_cluster(a, result.labels)), "the graph, by cluster", cmap="Greys")
    image(strips, by_rows(pictures, result), "a row for each cluster: the surest, then the least sure", cmap="Greys")
    bars, starts = bottom.subplots(1, 2, width_ratios=(1, 1.6))
    shown = bars.barh(list(right)[::-1], list(right.values())[::-1], color=[*COLOURS[6:3:-2], COLOURS[0]])
    bars.bar_label(shown, fmt="%.3f", padding=2)
    bars.set(xlim=(0, 1), title="part in the right class")
    points = [(residual(a, one), agreement(one.labels, classes).accuracy) for one in random]
    starts.scatter(*zip(*points, strict=True), s=14, color=COLOURS[1], label="at random")
    own = residual(a, result), agreement(result.labels, classes).accuracy
    starts.scatter(*own, s=90, marker="*", color=COLOURS[0], label="eigenvectors")
    starts.set(xlabel="‖A − HHᵀ‖ / ‖A‖", ylabel="in the right class", title="what it starts from")
    starts.legend()
    keep(figure, folder, colours=64)


def by_cluster(a, labels, pixels=240):
    """The entries of A added up in squares of nodes, clusters one after the other."""
    order = np.argsort(labels, kind="stable")
    place = np.empty(len(order), int)
    place[order] = np.arange(len(order)) * pixels // len(order)
    entries, picture = a.tocoo(), np.zeros((pixels, pixels))
    np.add.at(picture, (place[entries.row], place[entries.col]), entries.data)
    return picture


def by_rows(pictures, result, count=16):
    """Half of a row are the pictures whose largest part is largest, half those where it is smallest."""
    rows, sure = [], result.memberships.max(axis=1)
    pictures = np.pad(pictures, ((0, 0), *2 * [(0, pictures.shape[1] // 8)]))
    for label in range(result.w.shape[1]):
        members = np.flatnonzero(result.labels == label)
        members = members[np.argsort(-sure[members])]
        picked = np.concatenate([members[: count // 2], members[-(count // 2) :]])
        rows.append(np.hstack([*pictures[picked], *np.zeros((count - len(picked), *pictures.shape[1:]))]))
    return np.vstack(rows)


if __name__ == "__main__":
    main()
