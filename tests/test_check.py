"""Parts that do not fit together are refused before any work, every reason at once, with a way out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest
from nmfkit_plugins.beta.multiplicative import Multiplicative
from nmfkit_plugins.beta.norms import L1
from scipy.sparse import csr_array

import nmfkit
from nmfkit.check import cautions, resolve
from nmfkit.errors import DataError, Incompatible, UsageError
from nmfkit.problem import Problem
from nmfkit.protocols import HasProx

X = np.random.default_rng(0).random((9, 7))


@dataclass(frozen=True)
class OnlyProx:
    weight: float = 1.0

    def stat(self, f):
        return float(f.sum())

    def value(self, stat):
        return self.weight * stat

    def prox(self, f, step):
        return np.maximum(f - step * self.weight, 0)


@dataclass(frozen=True)
class Coupling(L1):
    weight: float = 1.0
    couples_rows: ClassVar[bool] = True


@dataclass(frozen=True)
class Proximal(Multiplicative):
    accepts: ClassVar[tuple[type, ...]] = (HasProx,)


def test_the_two_sentences_of_a_misfit_name_both_parties_the_reason_and_the_way_out():
    with pytest.raises(Incompatible) as caught:
        resolve(Problem(loss="kl", rule="hals", reg_w=(OnlyProx(),)))
    text = str(caught.value)
    assert "rule 'hals' needs a loss that is quadratic in each factor (HasGram), and loss 'kl' is not one" in text
    assert "rule 'hals' cannot use regularizer" in text
    assert len(caught.value.reasons) == 2
    with pytest.raises(Incompatible, match=r"what would work with loss 'kl': --rule mu"):
        resolve(Problem(loss="kl", rule="hals"))


def test_every_fault_of_the_request_is_named_at_once():
    with pytest.raises(UsageError) as caught:
        resolve(
            Problem(model="nmff", loss="kll", ranks=(0,), rule="muu", reg_w=("l1:-1",), reg_h=("l3",), init="randm")
        )
    text = str(caught.value)
    for fault in ("rank 0", "'nmff'", "'kll'", "'muu'", "finite number ≥ 0", "'l3'", "'randm'", "did you mean 'kl'"):
        assert fault in text
    assert text.startswith("7 things are wrong")


def test_auto_takes_the_fastest_rule_that_fits_and_says_which():
    assert resolve(Problem()).problem.rule == "hals"
    assert resolve(Problem(loss="kl")).problem.rule == "mu"
    assert resolve(Problem(loss="beta:2", reg_h=("l1:0.1", "l2:1"))).problem.rule == "hals"


def test_auto_without_a_fitting_rule_gives_every_reason():
    with pytest.raises(Incompatible) as caught:
        resolve(Problem(loss="kl", reg_h=(OnlyProx(),)))
    assert "'hals'" in str(caught.value)
    assert "'mu' cannot use regularizer" in str(caught.value)


def test_proximal_maps_do_not_add():
    with pytest.raises(Incompatible, match="act through proximal maps, which do not add"):
        resolve(Problem(rule=Proximal(), reg_w=(OnlyProx(), OnlyProx(2.0))))
    resolve(Problem(rule=Proximal(), reg_w=(OnlyProx(),), reg_h=(OnlyProx(),)))


def test_a_regularizer_that_couples_rows_acts_on_h_only():
    with pytest.raises(Incompatible, match="couples the rows of its factor, and the rows of W are sharded"):
        resolve(Problem(reg_w=(Coupling(),)))
    resolve(Problem(reg_h=(Coupling(),)))


def test_an_object_of_the_wrong_kind_says_what_it_lacks():
    with pytest.raises(Incompatible, match=r"loss .* is not a Loss: it lacks needs_positive, pattern_only"):
        resolve(Problem(loss=OnlyProx()))


def test_one_rank_for_the_plain_model():
    with pytest.raises(Incompatible, match="takes one rank, and 2 are given"):
        resolve(Problem(ranks=(3, 2)))


@dataclass(frozen=True)
class Fixed:
    """A model that fixes its own rule and loss."""

    parts: object
    takes: ClassVar[frozenset[str]] = frozenset({"init"})
    row_factors: ClassVar[tuple[str, ...]] = ("w",)
    options: dict = field(default_factory=dict)

    def misfits(self):
        return []


def test_a_model_refuses_only_what_the_user_named():
    resolve(Problem(model=Fixed))
    with pytest.raises(Incompatible) as caught:
        resolve(Problem.from_dict({"model": Fixed, "loss": "kl", "rule": "mu", "reg_w": ["l1:1"]}))
    assert len(caught.value.reasons) == 3
    assert "uses no loss: it fixes its own, so leave --loss out" in str(caught.value)


def test_unknown_model_options_are_named():
    with pytest.raises(UsageError, match="unknown parameter 'hidden'"):
        resolve(Problem(model_options={"hidden": "3"}))


def test_losses_that_need_positive_data_say_where_the_first_zero_is():
    x = X + 0.1
    x[4, 2] = 0
    with pytest.raises(DataError, match="the first at row 4, column 2"):
        nmfkit.fit(x, loss="is", rank=2)
    with pytest.raises(DataError, match="infinite where the matrix is zero"):
        nmfkit.fit(x, loss="beta:-1", rank=2)
    for door in (nmfkit.fit, nmfkit.explain):
        with pytest.raises(DataError, match=r"1 of its 63 entries are .where it stores no entry"):
            door(csr_array(x), loss="is", rank=2)


@pytest.mark.parametrize(
    ("problem", "shape", "sentence"),
    [
        (Problem(ranks=(8,)), (9, 7), "exceeds the smaller side"),
        (Problem(init="nndsvd", loss="kl"), (99, 70), "can hardly leave"),
        (Problem(reg_w=("l1:1",)), (99, 70), "only W is regularized"),
        (Problem(reg_h=("l1:1",)), (99, 70), "only H is regularized"),
    ],
)
def test_cautions(problem, shape, sentence):
    (found,) = cautions(resolve(problem), shape)
    assert sentence in found


def test_no_caution_without_need():
    assert cautions(resolve(Problem(init="nndsvda", loss="kl", reg_w=("l1:1",), reg_h=("l1:1",))), (99, 70)) == []
