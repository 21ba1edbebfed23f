"""What the rows of a matrix tell of known classes: their nearest rows, and their clusters."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.clustering import Agreement, Classes, agreement, classes_of
from nmfkit.embedding.asked import NEIGHBOURS, SEED, drawn, sample_of
from nmfkit.embedding.matrices import matrix_of, some_rows, whole_of
from nmfkit.errors import UsageError

FOLDS = 5
"""Parts of the rows, each of which is told by the others."""

STARTS = 10
"""Starts of k-means, of which the best counts."""


@dataclass(frozen=True)
class NearestRows:
    """The `accuracy` of telling the class of a row by its `neighbours` nearest rows in the other `folds` − 1 parts.

    `rows` have a class of at least `folds` rows; `largest` is the part of them in the largest class, which is the
    accuracy of always naming that one.
    """

    accuracy: float
    neighbours: int
    folds: int
    rows: int
    largest: float


@dataclass(frozen=True)
class ByClass:
    """`rows` of an embedding beside known classes; None for what cannot be told, and `notes` say why.

    `kmeans` is the agreement of clusters found by k-means, as many as classes, the best of `starts` starts.
    """

    rows: int
    knn: NearestRows | None
    kmeans: Agreement | None
    starts: int = STARTS
    notes: tuple[str, ...] = ()


def knn_accuracy(
    w: Any,
    classes: Any,
    neighbours: int = NEIGHBOURS,
    *,
    folds: int = FOLDS,
    sample: int | str | None = None,
    seed: int = SEED,
) -> float:
    """How often the class of a row of `w` (m, r) is that of most of its nearest rows, by cross-validation.

    The rows are parted into `folds`, each class evenly, in an order drawn by `seed`. The class of each row is told by
    its `neighbours` nearest rows of the other parts (`sklearn.neighbors.KNeighborsClassifier`, Euclidean distances);
    the mean of the parts' accuracies. `classes` is what `nmfkit.clustering.classes_of` takes. Rows without a class are
    left out, and those of a class of fewer than `folds` rows; `sample` as in `trustworthiness`, of rows with a class.
    Raises `UsageError` where too few are left, and without scikit-learn (the extra `sklearn`).
    """
    require_scikit_learn("k-NN accuracy")
    rows, codes = _labelled(w, classes, sample, seed)
    return nearest_rows(rows, codes, neighbours, folds, seed).accuracy


def kmeans_agreement(w: Any, classes: Any, *, sample: int | str | None = None, seed: int = SEED) -> Agreement:
    """How far clusters of the rows of `w` (m, r) agree with known classes: ARI, NMI, AMI, accuracy and purity.

    As many clusters as classes, by `sklearn.cluster.KMeans` with k-means++ and the best of 10 starts drawn by `seed`.
    `classes`, `sample` and errors as in `knn_accuracy`.
    """
    require_scikit_learn("k-means")
    rows, codes = _labelled(w, classes, sample, seed)
    return clusters_of(rows, codes, seed)


def by_class(w: Array, codes: Array, seed: int) -> ByClass:
    """Both of rows `w` (k, r) of classes `codes` (k,) ≥ 0, or a note on what cannot be had."""
    try:
        require_scikit_learn("k-NN accuracy and k-means of the rows of W")
    except UsageError as error:
        return ByClass(len(codes), None, None, notes=(str(error),))
    notes: tuple[str, ...] = ()
    knn: NearestRows | None = None
    try:
        knn = nearest_rows(w, codes, NEIGHBOURS, FOLDS, seed)
    except UsageError as error:
        notes = (str(error),)
    if knn is not None and knn.rows < len(codes):
        notes = (f"{len(codes) - knn.rows:,} rows of classes of fewer than {FOLDS} are left out of k-NN accuracy",)
    return ByClass(len(codes), knn, clusters_of(w, codes, seed), notes=notes)


def nearest_rows(w: Array, codes: Array, neighbours: int, folds: int, seed: int) -> NearestRows:
    """The k-NN accuracy of rows `w` (k, r) of classes `codes` (k,) ≥ 0; raises `UsageError` where they are too few."""
    counts = np.bincount(codes)
    there = counts[codes] >= folds
    count = int(np.count_nonzero(there))
    if np.count_nonzero(counts >= folds) < 2 or count - -(-count // folds) < neighbours:
        raise UsageError(
            f"k-NN accuracy by {folds} parts with {neighbours} neighbours needs two classes of {folds} rows or more, "
            f"and {neighbours} rows in all parts but one"
        )
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    parts = StratifiedKFold(folds, shuffle=True, random_state=seed)
    told = cross_val_score(KNeighborsClassifier(neighbours), w[there], codes[there], cv=parts)
    return NearestRows(float(told.mean()), neighbours, folds, count, float(counts.max() / count))


def clusters_of(w: Array, codes: Array, seed: int) -> Agreement:
    """The agreement of k-means clusters of rows `w` (k, r) with classes `codes` (k,) ≥ 0."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    count = len(np.unique(codes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different rows than classes
        found = KMeans(count, n_init=STARTS, random_state=seed).fit_predict(w)
    return agreement(found, Classes(codes, tuple(map(str, range(count)))))


def require_scikit_learn(what: str) -> None:
    """Raise `UsageError` where scikit-learn is missing."""
    if find_spec("sklearn") is None:
        raise UsageError(f'{what}: scikit-learn is not installed: pip install "nmfkit[sklearn]"')


def labelled(known: Classes, sample: Any, seed: int) -> Array:
    """The numbers of rows with a class, ascending, or so many of them as are drawn; `UsageError` where none has one."""
    there = np.flatnonzero(known.codes >= 0)
    if not len(there):
        raise UsageError(f"none of the {len(known.codes):,} rows has a class, so there is nothing to compare with")
    some = drawn(len(there), sample, seed)
    return there if some is None else there[some]


def _labelled(w: Any, classes: Any, sample: Any, seed: int) -> tuple[Array, Array]:
    sample_of(sample)
    source = matrix_of(w, "w")
    known = classes if isinstance(classes, Classes) else classes_of(classes, source.shape[0], source.row_names)
    if len(known.codes) != source.shape[0]:
        raise UsageError(f"w has {source.shape[0]:,} rows, and there are {len(known.codes):,} classes")
    numbers = labelled(known, sample, seed)
    return whole_of(some_rows(source, numbers)), known.codes[numbers]
