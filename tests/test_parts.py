"""The text of a part and the part that it stands for."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmfkit.errors import UsageError
from nmfkit.parts import PartText, build, convert, parameters, suggestion
from nmfkit.problem import Problem

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
VALUES = st.from_regex(r"[a-zA-Z0-9.+-]{1,8}", fullmatch=True)


@dataclass(frozen=True)
class Weighted:
    weight: float
    power: int = 2
    strict: bool = False
    label: str | None = None
    sizes: tuple[int, ...] = ()


@given(NAMES, st.none() | VALUES, st.dictionaries(NAMES, VALUES, max_size=3))
def test_text_round_trips(name, value, options):
    text = PartText(name, value, tuple(options.items()))
    assert PartText.parse(str(text)) == text


@pytest.mark.parametrize("text", ["", ":1", "a:,", "a:1,2", "a:x=1,2", "a:=1", "a:k="])
def test_other_forms_are_refused(text):
    with pytest.raises(UsageError):
        PartText.parse(text)


def test_values_are_converted_by_annotation():
    part = build(Weighted, PartText.parse("w:0.5,power=3,strict=yes,label=none,sizes=4+2"), kind="regularizer")
    assert part == Weighted(0.5, 3, True, None, (4, 2))


def test_every_fault_is_named_at_once():
    with pytest.raises(UsageError) as caught:
        build(Weighted, PartText.parse("w:power=x,strict=maybe,pover=1"), kind="regularizer")
    message = str(caught.value)
    for fault in (
        "a whole number is needed",
        "write true or false",
        "unknown parameter 'pover'",
        "'power'",
        "weight is missing",
    ):
        assert fault in message


def test_a_preset_cannot_be_written():
    with pytest.raises(UsageError, match=r"takes no value|unknown parameter"):
        build(lambda beta: beta, PartText.parse("kl:2"), kind="loss", preset={"beta": 1.0})


def test_a_value_that_the_part_refuses_is_a_usage_error():
    def factory(weight: float) -> float:
        raise ValueError("the weight must be positive")

    with pytest.raises(UsageError, match="the weight must be positive"):
        build(factory, PartText.parse("w:-1"), kind="regularizer")


def test_parameters_leave_out_private_ones():
    assert list(parameters(lambda a, _b=1, *, c=2: None)) == ["a", "c"]


def test_suggestion_names_close_ones_or_all():
    assert "did you mean 'kl'" in suggestion("kll", ["kl", "frobenius"])
    assert suggestion("zzz", ["kl", "is"]) == "; known: is, kl"
    assert suggestion("zzz", []) == ""


def test_convert_refuses_what_is_no_number():
    with pytest.raises(ValueError, match="a number is needed"):
        convert("abc", float)


@given(
    st.builds(
        Problem,
        loss=st.sampled_from(["kl", "beta:0.5", "frobenius"]),
        ranks=st.lists(st.integers(1, 50), min_size=1, max_size=3).map(tuple),
        reg_w=st.lists(st.sampled_from(["l1:0.1", "l2:2"]), max_size=2).map(tuple),
        reg_h=st.lists(st.sampled_from(["l1:0.1", "l2:2"]), max_size=2).map(tuple),
        seed=st.integers(0, 2**31),
        tol=st.floats(0, 1),
        time_limit=st.none() | st.floats(1, 1e6),
        dtype=st.sampled_from([None, "float32", "float64"]),
        model_options=st.dictionaries(NAMES, VALUES, max_size=2),
    )
)
def test_a_problem_round_trips_through_its_text(problem):
    assert Problem.from_dict(problem.to_dict()) == problem


def test_unknown_fields_of_a_problem_are_named_with_close_ones():
    with pytest.raises(UsageError, match=r"unknown field 'los'; did you mean 'loss'"):
        Problem.from_dict({"los": "kl"})


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"ranks": (0,)}, "rank 0"),
        ({"ranks": ()}, "no rank"),
        ({"ranks": (2.5,)}, "rank 2.5"),
        ({"max_sweeps": -1}, "max-sweeps -1"),
        ({"tol": float("nan")}, "tol nan"),
        ({"tol": -1}, "tol -1"),
        ({"time_limit": 0}, "time-limit 0"),
        ({"dtype": "int8"}, "dtype 'int8'"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_faults_of_plain_values(change, fault):
    (found,) = Problem(**change).faults()
    assert fault in found


def test_inherited_options_keep_types_that_another_module_knows():
    # The base's module imports names that this one does not have, and annotates a class variable with one of them.
    from nmfkit_plugins.beta.multiplicative import Multiplicative

    @dataclass(frozen=True)
    class Longer(Multiplicative):
        steps: "UnknownHere | int" = 1  # type: ignore[name-defined] # noqa: F821, UP037

    built = build(Longer, PartText.parse("longer:no,joint=no"), kind="rule")
    assert (built.extrapolate, built.joint) == (False, False)
