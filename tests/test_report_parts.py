"""What the report is made of: residual sums, labels, references, layers, each against plain formulas."""

from __future__ import annotations

from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from nmfkit.blocks import CSR, Dense
from nmfkit.clustering.agreement import adjusted_rand, purity
from nmfkit.errors import SourceError, UsageError
from nmfkit.report.cards import peaks
from nmfkit.report.figures.samples import embedded
from nmfkit.report.figures.similarity import together
from nmfkit.report.html import Html, clean, el, join, shortened
from nmfkit.report.labels import MOST, labelled, read_labels
from nmfkit.report.layers import Layer, layers
from nmfkit.report.mixture import Mixture, mixture
from nmfkit.report.reference import cosines, matches, read_reference
from nmfkit.report.residuals import Measure, Side, _moments, _with_unstored
from nmfkit.report.thinned import SIDE, SMALL, Image, thinned
from nmfkit.weighed import Weighed

seeds = st.integers(0, 2**32 - 1)


# --- residuals ----------------------------------------------------------------------------------------------


def summed(step, block, u):
    rows, stats = step(block, {"w": u}, {})
    return rows["report"], _with_unstored(stats["sums"], step.layer.v)


def plain(x, y, weights):
    """The six sums by rows and by columns, as they are defined."""
    terms = [(x - y) ** 2, x**2, y**2, x, y, np.ones_like(x)]
    return tuple(np.stack([(weights * t).sum(axis=axis) for t in terms], axis=1) for axis in (1, 0))


@given(seed=seeds, kind=st.sampled_from(["dense", "sparse", "weighed", "weighed sparse", "absent"]))
def test_sums_are_those_of_the_formula(seed, kind):
    rng = np.random.default_rng(seed)
    m, n, r = rng.integers(1, 7, 3)
    x = rng.random((m, n)) * (rng.random((m, n)) < 0.5)
    u, v = rng.random((m, r)), rng.random((r, n))
    weights = np.ones((m, n))
    csr = sp.csr_array(x)
    sparse = CSR(csr.data, csr.indices.astype(np.int64), csr.indptr.astype(np.int64), int(n))
    block = Dense(x) if kind in ("dense", "weighed") else sparse
    if kind == "weighed":
        weights = rng.random((m, n)) * (rng.random((m, n)) < 0.7)
        block = Weighed(Dense(np.where(weights > 0, x, 0)), weights)
    elif kind == "weighed sparse":
        some = rng.random(len(csr.data)) * (rng.random(len(csr.data)) < 0.7)
        weights[x > 0] = some
        block = Weighed(sparse.like(np.where(some > 0, csr.data, 0)), some, 1.0)
    elif kind == "absent":
        weights = (x > 0).astype(float)
        block = Weighed(sparse, np.ones(len(csr.data)), 0.0)
    step = Measure(Layer("w", "h", v), *_moments(v))
    for found, wanted in zip(summed(step, block, u), plain(x * (weights > 0), u @ v, weights), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-11)


def test_what_is_zero_or_hidden_has_no_error():
    sums = np.zeros((3, 6))
    sums[0] = [1, 4, 1, 2, 1, 5]
    sums[1, 5] = 5
    side = Side(sums)
    assert (side.zero, side.hidden) == (1, 1)
    np.testing.assert_allclose(side.error, [0.5, np.nan, np.nan])
    np.testing.assert_allclose(side.surplus, [-0.5, np.nan, np.nan])


# --- labels -------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=40))
def test_agreement_is_that_of_scikit_learn(pairs):
    table = np.zeros((4, 5), np.int64)
    np.add.at(table, tuple(np.transpose(pairs)), 1)
    labels, groups = zip(*pairs, strict=True)
    assert adjusted_rand(table) == pytest.approx(adjusted_rand_score(labels, groups))
    assert 1 / 4 <= purity(table) <= 1


@given(st.lists(st.text(max_size=4), min_size=1, max_size=80))
def test_labels_of_any_texts(values):
    found = labelled(values)
    assert len(found.codes) == len(values)
    assert len(set(found.names)) == len(found.names) <= MOST
    counts = np.bincount(found.codes, minlength=len(found.names))
    if len(found.names) < MOST:
        assert (np.diff(counts) <= 0).all()
        texts = [clean(v).strip() or "(no label)" for v in values]
        assert [found.names[c] for c in found.codes] == texts


def written(folder, name, text):
    (folder / name).write_text(text)
    return str(folder / name)


WANTED = ["a", "b", "a"]
FORMS = {
    "lines.txt": "a\nb\na\n",
    "headed.txt": "type\na\nb\na\n",
    "one.csv": "a\nb\na\n",
    "headed.csv": "type\na\nb\na\n",
    "named.csv": "cell,type\nz,a\nx,a\ny,b\n",
    "unnamed.tsv": "\ttype\n0\ta\n1\tb\n2\ta\n",
    "bom.csv": "\ufefftype\na\nb\na\n",
}


@pytest.mark.parametrize("name", FORMS)
def test_labels_in_every_form(name, tmp_path):
    found = read_labels(written(tmp_path, name, FORMS[name]), 3, ["x", "y", "z"])
    # The table that names the rows has them in another order.
    wanted = ["a", "b", "a"]
    assert [found.names[c] for c in found.codes] == wanted


def test_labels_in_arrays(tmp_path):
    np.save(tmp_path / "a.npy", np.array([b"a", b"b", b"a"]))
    np.savez(tmp_path / "b.npz", x=np.ones((3, 2)), kind=np.array(WANTED), other=np.arange(3))
    for text in ("a.npy", "b.npz:kind"):
        found = read_labels(str(tmp_path / text), 3, None)
        assert [found.names[c] for c in found.codes] == WANTED
    with pytest.raises(SourceError, match=r"choose a member, as b\.npz:kind"):
        read_labels(str(tmp_path / "b.npz"), 3, None)
    with pytest.raises(SourceError, match="it holds no 'none'"):
        read_labels(str(tmp_path / "b.npz:none"), 3, None)


@pytest.mark.parametrize(
    ("name", "text", "error", "message"),
    [
        ("a.txt", "a\nb\n", UsageError, "holds 2 labels and the run has 3 rows"),
        ("a.csv", "a,b\nc,d\ne,f\n", UsageError, r"several columns; choose one"),
        ("a.csv", "a,b\nc\n", SourceError, "line 2 has 1 cells, the first one 2"),
        ("a.csv", "", SourceError, "is empty"),
        ("a.csv", "cell,type\nx,a\nx,b\ny,b\nz,b\n", UsageError, "'x' stand in several lines"),
        ("a.csv:none", "cell,type\nx,a\ny,b\nz,b\n", UsageError, "has no column 'none'; it has cell, type"),
        ("a.txt:none", "a\nb\nc\n", UsageError, "so there is no column"),
        ("a.npy", "no array", SourceError, "cannot be read"),
        ("a.npz", "no archive", SourceError, "cannot be read"),
    ],
)
def test_labels_that_are_refused(name, text, error, message, tmp_path):
    written(tmp_path, name.partition(":")[0], text)
    with pytest.raises(error, match=message):
        read_labels(str(tmp_path / name), 3, ["x", "y", "z"])


def test_labels_in_pickles_are_never_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}, None, 3], dtype=object))
    with pytest.raises(SourceError, match="cannot be read"):
        read_labels(str(tmp_path / "a.npy"), 3, None)


@given(
    content=st.binary(max_size=80),
    suffix=st.sampled_from([".txt", ".csv", ".tsv", ".npy", ".npz", ".mat"]),
    magic=st.booleans(),
)
def test_any_bytes_are_labels_or_are_refused(content, suffix, magic, tmp_path_factory):
    start = {".npy": b"\x93NUMPY\x01\x00", ".npz": b"PK\x03\x04"}.get(suffix, b"") if magic else b""
    path = tmp_path_factory.getbasetemp() / f"fuzz{suffix}"
    path.write_bytes(start + content)
    try:
        found = read_labels(str(path), 2, ["x", "y"])
    except (SourceError, UsageError) as error:
        told = str(error)
    else:
        told = path.name
        assert len(found.codes) == 2
    assert path.name in told


@given(st.text(), st.integers(4, 40))
def test_shortened_names_keep_both_ends(text, width):
    short, whole = shortened(text, width), clean(text).strip()
    assert 0 < len(short) <= width
    head, cut, tail = short.partition("…") if len(whole) > width else (short, "", "")
    assert not whole or (whole.startswith(head) and whole.endswith(tail))
    assert (cut == "") == (len(whole) <= width)


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (["a", "", " "], "2 of 3 samples have no label"),
        (["a", "b", "c"], "a label of its own"),
        (["a", "a"], "the same label"),
        ([str(i % 50) for i in range(100)], "of 50 labels the 29 most frequent"),
    ],
)
def test_odd_labels_are_told(values, note):
    assert any(note in told for told in labelled(values).notes)


# --- references ---------------------------------------------------------------------------------------------


@given(seed=seeds)
def test_the_assignment_has_the_largest_sum(seed):
    rng = np.random.default_rng(seed)
    r, k = rng.integers(1, 5, 2).tolist()
    v, known = rng.random((r, 6)), rng.random((k, 6))
    found = matches(v, SimpleNamespace(values=known, names=tuple(range(k))))
    cosine = cosines(v, known)
    most = max(
        sum(cosine[a, b] for a, b in zip(rows, columns, strict=False))
        for rows in permutations(range(r), min(r, k))
        for columns in permutations(range(k), min(r, k))
    )
    assert sum(m.cosine or 0 for m in found) == pytest.approx(most)
    assert len({m.name for m in found if m.cosine is not None}) == min(r, k)
    assert all(m.nearest_cosine == pytest.approx(row.max()) for m, row in zip(found, cosine, strict=True))


@given(seed=seeds)
def test_a_mixture_of_two_known_components_is_found(seed):
    rng = np.random.default_rng(seed)
    known = rng.gamma(0.3, 1.0, (6, 40)) + 1e-6
    a, b = rng.choice(6, 2, replace=False).tolist()
    share = float(rng.uniform(0.3, 0.7))
    sums = known.sum(axis=1)
    made = mixture(share * known[a] / sums[a] + (1 - share) * known[b] / sums[b], known, range(6))
    assert set(made.names[:2]) == {a, b}
    assert made.cosine == pytest.approx(1, abs=1e-6)
    assert sum(made.parts) == pytest.approx(1)
    assert list(made.parts) == sorted(made.parts, reverse=True)
    alone = mixture(known[a], known, range(6))
    assert (alone.names, alone.parts) == ((a,), (1.0,))
    assert mixture(0 * known[0], known, range(6)) == Mixture((), (), 0.0)


@given(seed=seeds)
def test_a_mixture_is_never_further_than_its_best_part(seed):
    rng = np.random.default_rng(seed)
    known, component = rng.random((4, 7)), rng.random(7)
    made = mixture(component, known, range(4))
    assert cosines(component[None], known).max() - 1e-9 <= made.cosine <= 1
    assert len(made.names) <= 3


def test_references_are_matched_by_name_and_turned(tmp_path):
    path = written(tmp_path, "known.csv", ",c,a,b\nS1,1,2,3\nS2,4,5,6\n")
    turned = written(tmp_path, "turned.csv", ",S1,S2\nc,1,4\na,2,5\nb,3,6\n")
    for given_path in (path, turned):
        found = read_reference(given_path, ("a", "b", "c"), 3)
        assert found.names == ("S1", "S2")
        np.testing.assert_array_equal(found.values, [[2, 3, 1], [5, 6, 4]])
    assert read_reference(path, None, 3).notes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (",a,b\nS1,1,2\n", "neither side fits the run's 3 features"),
        (",a,b,d\nS1,1,2,3\nS2,1,2,3\n", "lacks 1 of the run's 3 features: 'c'"),
        (",a,b,c\nS1,1,2,3\nS2,0,0,0\n", "all zero"),
    ],
)
def test_references_that_are_refused(text, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        read_reference(written(tmp_path, "known.csv", text), ("a", "b", "c"), 3)


def test_cosines_keep_their_range():
    a = np.array([[1e-200, 1e-200], [1e200, 1e200], [0, 0]])
    np.testing.assert_allclose(cosines(a, a)[:2, :2], 1)
    assert (cosines(a, a)[2] == 0).all()


# --- layers -------------------------------------------------------------------------------------------------


def of_factors(m, n, rows, shared):
    def read(lo, hi):
        return {name: f[lo:hi] for name, f in rows.items()}

    return SimpleNamespace(
        shape=(m, n),
        width=n,
        path=None,
        factors={**rows, **shared},
        state=SimpleNamespace(rows=SimpleNamespace(read=read), current={}),
        model=SimpleNamespace(factors=lambda current: shared),
    )


def test_factors_without_levels_are_paired_by_their_shapes():
    rng = np.random.default_rng(0)
    rows = {"w1": rng.random((6, 4)), "w2": rng.random((6, 2)), "w.going-on": rng.random((6, 9))}
    shared = {"a": rng.random((2, 5)), "core": rng.random((2, 4)), "b": rng.random((4, 5)), "bias": rng.random(5)}
    first, second = layers(of_factors(6, 5, rows, shared))
    assert (first.row, first.shared, second.row, second.shared) == ("w2", "a", "w1", "b")
    assert first.level is None


def test_a_symmetric_model_is_its_own_counterpart():
    f = np.random.default_rng(0).random((6, 2))
    (layer,) = layers(of_factors(6, 6, {"f": f}, {}))
    assert layer.row == "f"
    np.testing.assert_array_equal(layer.v, f.T)


def test_components_without_rows_and_rows_without_components():
    (layer,) = layers(of_factors(6, 5, {}, {"h": np.ones((2, 5))}))
    assert (layer.row, layer.rank) == (None, 2)
    with pytest.raises(UsageError, match="no factor with the 5 features"):
        layers(of_factors(6, 5, {"w": np.ones((6, 2))}, {}))


# --- small things -------------------------------------------------------------------------------------------


@given(st.text())
def test_text_never_becomes_markup(text):
    made = el("p", text, title=text)
    assert made.count("<") == 2
    assert "\n" not in made
    made.encode()
    assert join(Html("<b>"), text).startswith("<b>")


@given(st.integers(1, 700), st.integers(1, 700), st.sampled_from([1, 200]), st.booleans())
def test_thinned_images_are_small_and_keep_their_order(height, width, images, by_columns):
    numbers_, small = thinned(Image(height, width, by_columns), images)
    assert len(numbers_) == small.pixels
    assert max(small.height, small.width) <= (SIDE if images == 1 else SMALL)
    assert (np.diff(numbers_) > 0).all()
    assert numbers_[-1] < height * width


@given(st.integers(1, 500), st.integers(1, 500), st.booleans())
def test_a_thinned_image_is_the_image_at_every_so_many_pixels(height, width, by_columns):
    whole = np.arange(height * width).reshape(height, width)
    flat = whole.T.ravel() if by_columns else whole.ravel()
    numbers_, small = thinned(Image(height, width, by_columns))
    step = -(-max(height, width) // SIDE)
    np.testing.assert_array_equal(small.arranged(flat[numbers_]), whole[::step, ::step])


@given(seeds, st.integers(1, 12))
def test_an_order_holds_every_component_once(seed, r):
    v = np.random.default_rng(seed).random((r, 5))
    assert sorted(together(cosines(v, v)).tolist()) == list(range(r))


def test_like_components_stand_together():
    a, b = np.eye(4)[:2]
    v = np.array([a, b, a + 0.01, b + 0.01])
    order = together(cosines(v, v)).tolist()
    assert abs(order.index(0) - order.index(2)) == abs(order.index(1) - order.index(3)) == 1


@given(seeds, st.integers(1, 8))
def test_embedding_keeps_what_variance_it_says(seed, r):
    profiles = np.random.default_rng(seed).dirichlet(np.ones(r), 9)
    places, parts = embedded(profiles)
    roots = np.sqrt(profiles) - np.sqrt(profiles).mean(axis=0)
    total = np.sum(roots**2)
    if total > 1e-12:
        np.testing.assert_allclose(np.sum(places**2, axis=0), np.array(parts) * total, atol=1e-9)
    assert 0 <= sum(parts) <= 1 + 1e-9


def test_peaks_are_found_also_at_the_ends():
    assert peaks(np.array([5.0, 1, 3, 1, 0.2, 0.1, 4])) == [0, 6, 2]
    assert peaks(np.array([1.0, 1, 1])) == [1]
