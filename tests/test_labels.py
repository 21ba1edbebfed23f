"""The group of each row is that of its largest weight, read by blocks, whatever the model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from positive import X

import nmfkit
from nmfkit.clustering import assignments
from nmfkit.clustering.assignments import clusters, parts
from nmfkit.errors import UsageError

WEIGHTS = arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 5)), elements=st.sampled_from([0, 0, 1, 2.5]))


@given(WEIGHTS, st.floats(0.01, 100))
def test_labels_point_at_a_largest_entry_whatever_the_scale_of_rows(w, scale):
    labels = clusters(w)
    for row, label in zip(w, labels, strict=True):
        assert (label == -1) == (not row.any())
        assert label == -1 or row[label] == row.max()
    np.testing.assert_array_equal(clusters(w * scale), labels)


@given(WEIGHTS)
def test_memberships_add_up_to_1_and_lead_where_labels_point(w):
    found, labels = parts(w), clusters(w)
    np.testing.assert_allclose(found.sum(axis=1), labels >= 0, atol=1e-12)
    assert (found >= 0).all()
    np.testing.assert_array_equal(clusters(found), labels)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    x = np.vstack([X, np.zeros((2, X.shape[1]))])
    path = tmp_path_factory.mktemp("labels") / "run.zarr"
    nmfkit.fit(x, rank=3, max_sweeps=5, tol=0, out=path)
    return nmfkit.load(path)


@pytest.mark.parametrize("size", [1, 60, 10**6])
def test_results_read_their_rows_by_blocks(stored, size, monkeypatch):
    monkeypatch.setattr(assignments, "BLOCK", size)
    most = max(1, size // (3 * stored.w.dtype.itemsize))
    read, asked = type(stored.state.rows).read, []

    def noted(self, lo, hi):
        asked.append(hi - lo)
        return read(self, lo, hi)

    monkeypatch.setattr(type(stored.state.rows), "read", noted)
    result = nmfkit.load(stored.path)
    np.testing.assert_array_equal(result.labels, clusters(stored.w))
    np.testing.assert_array_equal(result.memberships, parts(stored.w))
    assert max(asked) <= most
    assert result.labels.dtype == np.int64


def test_rows_of_zeros_belong_to_no_group(stored):
    w = stored.w.copy()
    assert (stored.labels[-2:] == np.where(w[-2:].any(axis=1), w[-2:].argmax(axis=1), -1)).all()
    fitted = nmfkit.transform(stored, np.zeros((2, X.shape[1])))
    assert clusters(fitted).tolist() == [-1, -1]
    assert not parts(fitted).any()


@pytest.mark.parametrize("side", ["coefficients", "components"])
def test_of_levels_it_is_the_first(side):
    options = {"side": side, "init_sweeps": "3"}
    result = nmfkit.fit(X, model="deep-nmf", ranks=(4, 2), max_sweeps=3, model_options=options)
    np.testing.assert_array_equal(result.labels, clusters(result.levels[0].coefficients))
    np.testing.assert_array_equal(result.memberships, parts(result.levels[0].coefficients))


def test_several_factors_of_the_rows_are_refused(stored, monkeypatch):
    monkeypatch.setattr(type(stored.model), "row_factors", ("w", "other", "w.aside"))
    with pytest.raises(UsageError, match="2 factors of the rows, w, other: take the argmax"):
        nmfkit.load(stored.path).labels  # noqa: B018
