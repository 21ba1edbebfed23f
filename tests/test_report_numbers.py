"""Numbers as the report writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmfkit.report.cards import rough_percentage
from nmfkit.report.figures.style import numbers, tick


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (1.0, "100%"),
        (0.1, "10%"),
        (0.0994, "9.9%"),
        (0.01, "1.0%"),
        (0.0012, "0.12%"),
        (0.00005, "0.01%"),
        (0.0, "<0.01%"),
    ],
)
def test_small_parts_are_told_from_nothing(part, text):
    assert rough_percentage(part) == text


@given(st.floats(0, 1))
def test_parts_have_room(part):
    assert len(rough_percentage(part)) <= 6


@given(st.integers(1, 500), st.integers(1, 40))
def test_axis_numbers_are_few_and_within(count, most):
    places = numbers(count, most)
    assert places[0] == 0
    assert len(places) <= most + 1
    assert sorted(set(places)) == places
    assert places[-1] < count


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (float("inf"), ""),
        (float("nan"), ""),
        (-0.25, "−0.25"),
        (1234.5, "1,234"),
        (20000, "20,000"),
        (2.5e6, "2.5×10⁶"),
        (1e-5, "10⁻⁵"),
        (3e-7, "3×10⁻⁷"),
    ],
)
def test_numbers_beside_axes(value, text):
    assert tick(value) == text
