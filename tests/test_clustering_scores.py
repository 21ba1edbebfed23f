"""Measures of the agreement of two groupings are scikit-learn's, and do not mind how groups are called."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nmfkit.clustering import agreement, classes_of
from nmfkit.clustering.agreement import accuracy, adjusted_rand, contingency, mutual_information, purity
from nmfkit.errors import UsageError

GROUPINGS = st.integers(1, 50).flatmap(
    lambda m: st.tuples(
        st.lists(st.integers(-1, 3), min_size=m, max_size=m), st.lists(st.integers(-1, 5), min_size=m, max_size=m)
    )
)
"""Classes and labels, −1 for none among them."""


@given(GROUPINGS)
def test_they_are_those_of_scikit_learn_on_what_has_a_class(pair):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    classes, labels = map(np.array, pair)
    some = classes >= 0
    assume(some.any() and set(classes.tolist()) != {-1, 1})
    found = agreement(labels, classes)
    true, ours = classes[some], labels[some]
    assert found.nmi == pytest.approx(metrics.normalized_mutual_info_score(true, ours), abs=1e-9)
    assert found.ari == pytest.approx(metrics.adjusted_rand_score(true, ours), abs=1e-12)
    assert found.ami == pytest.approx(metrics.adjusted_mutual_info_score(true, ours), abs=1e-10)
    table = metrics.cluster.contingency_matrix(true, ours)
    assert found.purity == table.max(axis=0).sum() / len(true)
    assert (found.compared, found.unlabelled) == (len(true), int(np.sum(~some)))
    assert (found.classes, found.clusters) == (len(np.unique(true)), len(np.unique(ours[ours >= 0])))
    assert found.unclustered == np.sum(ours == -1)


@given(GROUPINGS)
def test_accuracy_is_that_of_the_best_of_all_matchings(pair):
    classes, labels = (np.array(one) % 4 for one in pair)
    best = max(np.mean(np.array(order)[labels] == classes) for order in permutations(range(4)))
    assert accuracy(contingency(classes, labels)) == pytest.approx(best)


@given(GROUPINGS, st.randoms())
def test_they_do_not_depend_on_names_nor_on_order(pair, rng):
    classes, labels = map(np.array, pair)
    assume(len(set(classes.tolist()) - {-1}) > 1)
    codes = list(range(6))
    rng.shuffle(codes)
    order = list(range(len(labels)))
    rng.shuffle(order)
    renamed = np.where(labels < 0, -1, np.array(codes)[labels])[order]
    named = ["" if c < 0 else f"class {9 - c}" for c in classes[order]]
    one, other = agreement(labels, classes), agreement(renamed, named)
    for measure in ("accuracy", "nmi", "ari", "purity", "ami"):
        assert getattr(one, measure) == pytest.approx(getattr(other, measure), abs=1e-9)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40))
def test_the_same_grouping_is_1(labels):
    found = agreement(labels, [f"c{label}" for label in labels])
    assert (found.accuracy, found.purity, found.ari) == (1, 1, 1)
    assert (found.nmi, found.ami) == (pytest.approx(1), pytest.approx(1))


@pytest.mark.parametrize(
    ("classes", "labels", "wanted"),
    [
        ([0, 0, 0, 0], [0, 1, 2, 3], (0.25, 0.0, 0.0, 1.0)),  # one class, every row a group of its own
        ([0, 1, 2, 3], [0, 0, 0, 0], (0.25, 0.0, 0.0, 0.25)),  # one group
        ([0, 0, 0, 0], [7, 7, 7, 7], (1.0, 1.0, 1.0, 1.0)),
        ([5], [-1], (1.0, 1.0, 1.0, 1.0)),
        ([0, 0, 1, 1], [-1, -1, -1, -1], (0.5, 0.0, 0.0, 0.5)),  # in no group at all
    ],
)
def test_degenerate_groupings(classes, labels, wanted):
    table = contingency(np.array(classes), np.array(labels))
    found = (accuracy(table), mutual_information(table), adjusted_rand(table), purity(table))
    assert found == pytest.approx(wanted, abs=1e-12)


def test_more_groups_than_classes_leave_some_without_a_class():
    found = agreement([0, 0, 1, 1, 2, 2], ["a", "a", "a", "a", "b", "b"])
    assert found.accuracy == pytest.approx(4 / 6)
    assert (found.purity, found.classes, found.clusters) == (1, 2, 3)


@pytest.mark.parametrize(
    ("given", "codes"),
    [
        ([1.0, 2.0, np.nan], [0, 1, -1]),
        (["b", "", "a", " "], [1, -1, 0, -1]),
        ([3, -1, 4], [0, -1, 1]),
        ([-1, 1, 1], [0, 1, 1]),  # two classes that are called so
        (np.array([[2, 2, 9]]), [0, 0, 1]),
        (np.ma.masked_array([1, 2, 3], [False, True, False]), [0, -1, 1]),
        (np.array([b"x", b"y", b"x"]), [0, 1, 0]),
        ([None, "x"], [-1, 0]),
    ],
    ids=str,
)
def test_classes_of_arrays(given, codes):
    assert classes_of(given, len(codes)).codes.tolist() == codes


@pytest.mark.parametrize(
    ("labels", "classes", "said"),
    [
        ([0, 1], [0, 1, 2], "there are 3 labels and 2 rows"),
        ([0, 1], [-1, -1], "none of the 2 rows has a class"),
        ([0, 1], ["", ""], "none of the 2 rows has a class"),
        ([0, 1], np.zeros((2, 2)), "labels are a vector"),
        ([[0, 1]], classes_of([0, 1], 2), r"labels have the shape \(1, 2\)"),
    ],
    ids=str,
)
def test_what_cannot_be_compared(labels, classes, said):
    with pytest.raises(UsageError, match=said):
        agreement(labels, classes)
