"""Parameters of scikit-learn's NMF, checked and put in nmfkit's terms."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from nmfkit.errors import Caution
from nmfkit.estimators.errors import ParameterError
from nmfkit.problem import part_text

LOSSES = {"frobenius": "frobenius", "kullback-leibler": "kl", "itakura-saito": "is"}
SOLVERS = ("cd", "mu")
INITS = {"random": "random", "nndsvd": "nndsvd", "nndsvda": "nndsvd:mean", "nndsvdar": "nndsvd:random"}
"""Scikit-learn's names, and what they are here."""


def faults(estimator: Any) -> list[str]:
    """What is wrong with the values of scikit-learn's parameters, one sentence each."""
    found = [
        f"{name} {getattr(estimator, name)!r} is not {' or '.join(map(repr, known))}"
        for name, known in (("solver", SOLVERS), ("beta_loss", LOSSES), ("alpha_H", ("same",)))
        if isinstance(getattr(estimator, name), str) and getattr(estimator, name) not in known
    ]
    if not isinstance(estimator.solver, str):
        found.append(f"solver {estimator.solver!r} is not 'cd' or 'mu'")
    if not isinstance(estimator.beta_loss, str) and not _is_number(estimator.beta_loss):
        found.append(f"beta_loss {estimator.beta_loss!r} is neither a number nor one of {', '.join(LOSSES)}")
    if not (estimator.init is None or isinstance(estimator.init, str)):
        found.append(f"init {estimator.init!r} is not a name: give factors to fit as W= and H=, with init='custom'")
    for name, most in (("alpha_W", math.inf), ("alpha_H", math.inf), ("l1_ratio", 1)):
        value = getattr(estimator, name)
        if not isinstance(value, str) and not (_is_number(value) and 0 <= value <= most):
            found.append(f"{name} {value!r} is not a number ≥ 0" + (f" and ≤ {most}" if most == 1 else ""))
    if isinstance(estimator.alpha_W, str) or isinstance(estimator.l1_ratio, str):
        found.append("alpha_W and l1_ratio are numbers")
    if not _is_count(estimator.max_iter):
        found.append(f"max_iter {estimator.max_iter!r} is not a whole number ≥ 1")
    if not (estimator.n_components is None or _is_auto(estimator.n_components) or _is_count(estimator.n_components)):
        found.append(f"n_components {estimator.n_components!r} is neither a whole number ≥ 1, nor 'auto', nor None")
    forget = estimator.forget_factor
    if not (forget is None or (_is_number(forget) and 0 < forget <= 1)):
        found.append(f"forget_factor {forget!r} is neither None nor a number > 0 and ≤ 1")
    if estimator.loss is not None and estimator.beta_loss != "frobenius":
        found.append(f"loss {estimator.loss!r} and beta_loss {estimator.beta_loss!r} are both given; leave one out")
    return found


def refuse(estimator: Any) -> None:
    """Raise `ParameterError` with every fault; say what is accepted and has no effect."""
    if found := faults(estimator):
        raise ParameterError("\n".join(found))
    if estimator.shuffle:
        warnings.warn("shuffle has no effect: rules of nmfkit visit components in order", Caution, stacklevel=5)


def refuse_other_loss(estimator: Any, before: Any) -> None:
    """Raise `ParameterError` where batches so far were judged by another loss: sums of the two mean nothing."""
    if (now := loss(estimator)) != before:
        raise ParameterError(
            f"the batches so far were fitted with loss {part_text(before)!r}, and the loss is now {part_text(now)!r}: "
            "go on with the same, or fit a clone anew"
        )


def loss(estimator: Any) -> Any:
    """`loss`, or what `beta_loss` means."""
    if estimator.loss is not None:
        return estimator.loss
    given = estimator.beta_loss
    return LOSSES[given] if isinstance(given, str) else f"beta:{float(given)!r}"


def rank(estimator: Any, n_features: int, h: Any) -> int:
    """The number of components: that of a given H, or of all features, where `n_components` leaves it open."""
    if _is_auto(estimator.n_components) and estimator.init == "custom" and h is not None:
        return len(h)
    return int(estimator.n_components) if _is_count(estimator.n_components) else n_features


def init(estimator: Any, rank: int, shape: tuple[int, int]) -> str:
    """The starting point by nmfkit's name; `custom` draws what is not given at random."""
    name = estimator.init
    few = rank <= min(shape)
    if name is None:
        name = "nndsvda" if few else "random"
    if name in INITS and name != "random" and not few:
        raise ParameterError(f"init = {name!r} can only be used when n_components <= min(n_samples, n_features)")
    return "random" if name == "custom" else INITS.get(name, name)


def regularizers(estimator: Any, shape: tuple[float, int]) -> dict[str, Sequence[Any]]:
    """`reg_w` and `reg_h`: α scaled by the data's size as scikit-learn does it, then those in nmfkit's terms.

    On W: α n (ρ Σ w + ½ (1 − ρ) Σ w²) with α = alpha_W and ρ = l1_ratio; on H: alpha_H and m.
    """
    m, n = shape
    alpha_h = estimator.alpha_W if estimator.alpha_H == "same" else estimator.alpha_H
    return {
        "reg_w": [*_elastic(n * float(estimator.alpha_W), estimator.l1_ratio), *_listed(estimator.reg_w)],
        "reg_h": [*_elastic(m * float(alpha_h), estimator.l1_ratio), *_listed(estimator.reg_h)],
    }


def _elastic(weight: float, ratio: float) -> list[str]:
    parts = {"l1": weight * float(ratio), "l2": weight * (1 - float(ratio))}
    return [f"{name}:{value!r}" for name, value in parts.items() if value > 0]


def _listed(parts: Any) -> Sequence[Any]:
    return parts if isinstance(parts, list | tuple) else (parts,)


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == "auto"


def _is_count(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | np.integer) and int(value) >= 1


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and bool(np.isfinite(value))
