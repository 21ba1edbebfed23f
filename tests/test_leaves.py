"""`mapped` reaches every array of nested values, and makes anew only what changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmfkit.blocks import CSR, Dense
from nmfkit.leaves import mapped
from nmfkit.lowrank import LowRank
from nmfkit.testing import strategies as some


class Pair(NamedTuple):
    one: object
    other: object


@dataclass(frozen=True)
class Record:
    part: object
    name: str = "x"


@dataclass(frozen=True)
class Steps:
    size: int

    def add(self, more):
        return self.size + more


@dataclass(frozen=True)
class Derived:
    part: object
    twice: object = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "twice", 2 * self.part)


numbers = st.integers(-5, 5) | st.none() | st.text(max_size=2)


def nested(leaves):
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, max_size=3).map(tuple),
            st.dictionaries(st.text(max_size=2), inner, max_size=3),
            st.builds(Pair, inner, inner),
            st.builds(Record, inner),
            st.builds(LowRank, inner, inner),
            st.builds(lambda a, b: partial(max, a, key=b), inner, inner),
        ),
        max_leaves=8,
    )


def leaves_of(value):
    found = []
    mapped(value, lambda leaf: (found.append(leaf), leaf)[1])
    return found


@given(nested(numbers))
def test_what_does_not_change_is_the_same_object(value):
    assert mapped(value, lambda leaf: leaf) is value


@given(nested(st.integers(-5, 5)))
def test_a_change_and_its_reverse(value):
    there = mapped(value, lambda leaf: leaf + 1 if type(leaf) is int else leaf)
    back = mapped(there, lambda leaf: leaf - 1 if type(leaf) is int else leaf)
    counted = [leaf for leaf in leaves_of(value) if type(leaf) is int]
    assert [leaf for leaf in leaves_of(there) if type(leaf) is int] == [leaf + 1 for leaf in counted]
    assert leaves_of(back) == leaves_of(value)
    assert type(there) is type(value) or not counted


@given(nested(numbers))
def test_the_value_itself_is_left_alone(value):
    before = leaves_of(value)
    mapped(value, lambda leaf: leaf if callable(leaf) else object())
    assert leaves_of(value) == before


def test_only_what_changed_is_made_anew():
    kept, changed = [1, 2], [3, "here"]
    there = mapped({"a": kept, "b": changed}, lambda leaf: 4 if leaf == 3 else leaf)
    assert there == {"a": [1, 2], "b": [4, "here"]}
    assert there["a"] is kept
    assert changed == [3, "here"]


@pytest.mark.parametrize("value", [(), [], {}, Pair(None, ()), 5, None, int, Record], ids=str)
def test_the_empty_and_the_bare(value):
    assert mapped(value, lambda leaf: leaf) is value


def test_blocks_keep_their_place():
    x = some.sparse(np.eye(3)[:, :2], first=4)
    for block in (Dense(np.ones((2, 2)), 3, 9), x):
        there = mapped(block, lambda a: a * 2 if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a)
        assert type(there) is type(block)
        assert (there.first, there.whole, there.shape) == (block.first, block.whole, block.shape)
        np.testing.assert_array_equal(there.dense(), 2 * block.dense())
    assert isinstance(there, CSR)
    assert there.indptr is x.indptr


def test_a_product_and_the_arguments_of_a_function():
    y = mapped(LowRank(np.ones((2, 1)), np.ones((1, 3))), lambda a: 2 * a)
    np.testing.assert_array_equal(y.form(), np.full((2, 3), 4.0))
    called = mapped(partial(Record(3).__class__, 7, name=Record(3)), lambda leaf: 4 if leaf == 3 else leaf)
    assert called() == Record(7, Record(4))
    assert mapped(partial(Steps(3).add, 1), lambda leaf: 4 if leaf == 3 else leaf)() == 5
    assert mapped(Steps(3).add, lambda leaf: 4 if leaf == 3 else leaf)(1) == 5
    step = mapped(partial(divmod, 7), lambda leaf: leaf + 2 if leaf == 7 else leaf)
    assert step(5) == (1, 4)
    assert mapped(partial(sorted, reverse=1), lambda leaf: 0 if leaf == 1 else leaf)([2, 1]) == [1, 2]


def test_what_a_record_derives_is_derived_anew():
    assert mapped(Derived(3), lambda leaf: leaf + 1 if type(leaf) is int else leaf) == Derived(4)
