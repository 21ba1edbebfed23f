"""Whether parts fit together: every misfit at once, each with its reason and a way out, before any work."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmfkit.errors import DataError, Incompatible, UsageError
from nmfkit.levels import layer_cautions
from nmfkit.loop import is_phased
from nmfkit.parts import PartText
from nmfkit.probe import Probe
from nmfkit.problem import Problem, is_auto, part_text
from nmfkit.protocols import (
    Cautions,
    HasLevels,
    HasSplit,
    HasSums,
    Ingredients,
    Initializer,
    Loss,
    Model,
    Regularizer,
    Sided,
    Source,
    Whole,
)
from nmfkit.registry import Registered, registry
from nmfkit.sources.observed import Observed, elsewhere
from nmfkit.ways import Ways, choose_rule, foreign, lacking, model_of, phrase, rule_misfits, ways_out
from nmfkit.weighted import HasTerms, weighted

FIELDS = {"loss": "loss", "rule": "rule", "reg-w": "reg_w", "reg-h": "reg_h", "init": "init"}
"""What a model may take, and the field of the problem that names it."""


START = "random"
"""The starting point of models that say nothing else."""

SCALES = {"float32": (1e-12, 1e12), "float64": (1e-90, 1e90)}
"""Mean entries whose third powers, up and down, stay within the range of a dtype: all that β from −1 to 3 needs."""


@dataclass(frozen=True)
class Resolved:
    """A problem with its parts built and found to fit.

    `problem` has `auto` replaced by the rule chosen; `origins` says which distribution each part came from, and
    `distributions` names them all.
    """

    problem: Problem
    model: Model
    initializer: Any
    ingredients: Ingredients
    origins: dict[str, str]
    distributions: frozenset[str] = frozenset()


def resolve(problem: Problem, *, elsewhere: float | None = None) -> Resolved:
    """Build every part and compare them; raises `UsageError` or `Incompatible` listing all faults at once.

    `elsewhere` is not None where entries have weights, and what those count that blocks do not store.
    """
    builder = _Builder()
    faults = problem.faults()
    model_factory = builder.factory("model", problem.model)
    takes: frozenset[str] = getattr(model_factory, "takes", frozenset(FIELDS))
    loss = builder.part("loss", problem.loss, "loss") if "loss" in takes else None
    reg_w = tuple(_sided(builder.part("regularizer", r, "reg-w"), "w") for r in problem.reg_w)
    reg_h = tuple(_sided(builder.part("regularizer", r, "reg-h"), "h") for r in problem.reg_h)
    if "init" in takes and is_auto(problem.init):
        problem = problem.replace(init=getattr(model_factory, "start_from", START))
    initializer = builder.part("initializer", problem.init, "init") if "init" in takes else None
    rule = None
    if "rule" in takes and not is_auto(problem.rule):
        rule = builder.part("rule", problem.rule, "rule")
    faults += builder.faults
    if faults:
        raise UsageError("\n".join(faults) if len(faults) == 1 else _listed(faults))
    misfits = _untaken(problem, takes)
    misfits += _wrong_kinds(loss, reg_w, reg_h, initializer)
    misfits += _one_sided(problem, model_factory, initializer)
    if elsewhere is not None and not misfits:
        misfits += _unweighable(problem, loss)
        loss = None if misfits else weighted(loss, elsewhere)
    ways = Ways(model_factory, loss, reg_w, reg_h)
    if rule is not None and not misfits:
        rule = ways.taken(rule)
        misfits += foreign(problem, ways, rule)
    if "rule" in takes and not misfits:
        if is_auto(problem.rule):
            chosen, rule = choose_rule(problem, ways, misfits)
            if chosen:
                problem = problem.replace(rule=chosen)
                builder.note("rule", registry().get("rule", chosen))
        else:
            misfits += rule_misfits(problem, rule, part_text(problem.rule), loss, reg_w, reg_h)
            if misfits:
                misfits += ways_out(problem, ways)
    misfits += _coupled_rows(problem, reg_w)
    misfits += _doubled_sums(problem, reg_w, reg_h)
    if misfits:
        raise Incompatible(misfits)
    ingredients = Ingredients(loss, rule, reg_w, reg_h, problem.ranks)
    model = model_of(problem, ingredients)
    if reasons := list(model.misfits()) or _both_ways(problem, model):
        raise Incompatible(reasons)
    return Resolved(problem, model, initializer, ingredients, builder.origins, frozenset(builder.distributions))


def resolve_for(source: Source, problem: Problem, resolved: Resolved) -> Resolved:
    """`resolved`, or the problem resolved anew where the source's entries have weights."""
    weights = elsewhere(source)
    return resolved if weights is None else resolve(problem, elsewhere=weights)


def _unweighable(problem: Problem, loss: Any) -> list[str]:
    """Why entries with weights, or missing ones, are not for this problem."""
    misfits = []
    if loss is None:
        misfits.append(f"model {part_text(problem.model)!r} has a loss of its own, which knows no missing entries")
    elif not isinstance(loss, HasSplit):
        misfits.append(
            f"missing entries and weights need {phrase(HasSplit)} ({HasSplit.__name__}), and loss "
            f"{part_text(problem.loss)!r} is not one"
        )
    if problem.pilot not in ("auto", "none"):
        misfits.append(f"a pilot of {problem.pilot} rows knows no missing entries; leave --pilot out")
    return misfits


def check_source(resolved: Resolved, source: Source, *, others: bool = False) -> None:
    """Refuse a source for what is known without reading it; raises `DataError` or `Incompatible`.

    With `others`, its rows are others than those of the fit.
    """
    loss, (m, n) = resolved.ingredients.loss, source.shape
    if m != n and not others and getattr(resolved.model, "symmetric", False):
        raise DataError(
            f"model {part_text(resolved.problem.model)!r} factorizes a symmetric matrix of similarities, and "
            f"{source.uri} is {m} × {n}: make one of its rows first, as with nmfkit convert --similarity knn"
        )
    if isinstance(source, Observed):
        _check_observed(resolved, source)
    elif loss is not None and loss.needs_positive and source.nnz is not None and source.nnz < m * n:
        raise DataError(_zeros(resolved, m * n - source.nnz, m * n, "where it stores no entry"))


def _check_observed(resolved: Resolved, source: Observed) -> None:
    loss = resolved.ingredients.loss
    if source.weights is not None and not isinstance(loss.loss, HasTerms):
        raise Incompatible(
            [
                f"weights need {phrase(HasTerms)} ({HasTerms.__name__}), and loss "
                f"{part_text(resolved.problem.loss)!r} is not one; a mask, or missing entries, would do"
            ]
        )


def check_data(resolved: Resolved, probe: Probe, dtype: Any = "float64") -> None:
    """Refuse data that the loss is not defined for, or of a scale beyond `dtype`; raises `DataError`."""
    mean = probe.size
    least, most = SCALES[np.dtype(dtype).name]
    if not least <= mean <= most:
        wider = ", or compute in dtype float64" if np.dtype(dtype) == np.float32 else ""
        raise DataError(
            f"the entries other than 0 are {mean:.3g} on average, and {np.dtype(dtype).name} computes with {least:g} "
            f"to {most:g}: multiply the data by a constant{wider}"
        )
    loss = resolved.ingredients.loss
    cells = probe.shape[0] * probe.shape[1] if probe.observed is None else int(probe.observed)
    if loss is not None and loss.needs_positive and probe.first_zero is not None:
        where = f"the first at row {probe.first_zero[0]}, column {probe.first_zero[1]}"
        raise DataError(_zeros(resolved, cells - probe.nonzero, cells, where))


def _zeros(resolved: Resolved, zeros: int, cells: int, where: str) -> str:
    return (
        f"loss {part_text(resolved.problem.loss)!r} is infinite where the matrix is zero, and {zeros:,} of its "
        f"{cells:,} entries are ({where}); add a small constant to the data, or use a β-divergence with β > 0, such as "
        "beta:0.5 or kl"
    )


def cautions(resolved: Resolved, shape: tuple[int, int]) -> list[str]:
    """What is allowed but worth knowing, in plain words."""
    problem, parts = resolved.problem, resolved.ingredients
    found = []
    top = max(parts.ranks)
    if top > min(shape):
        found.append(f"rank {top} exceeds the smaller side of the matrix ({min(shape)}): the factors are not unique")
    if getattr(resolved.initializer, "makes_zeros", False) and getattr(parts.rule, "traps_zeros", False):
        found.append(
            f"init {part_text(problem.init)!r} starts with exact zeros, which rule {part_text(problem.rule)!r} "
            "can hardly leave; use init nndsvda or random, or rule hals"
        )
    found += layer_cautions(resolved.model, parts.ranks)
    if isinstance(resolved.model, Cautions):
        found += resolved.model.cautions(resolved.initializer, shape)
    # Sums fix the scale; layers have some by themselves.
    free = not any(isinstance(part, HasSums) for part in (*parts.reg_w, *parts.reg_h))
    free = free and not isinstance(resolved.model, HasLevels)
    for one, other, names in (("W", "H", parts.reg_w), ("H", "W", parts.reg_h)):
        if names and free and not (parts.reg_h if one == "W" else parts.reg_w):
            found.append(
                f"only {one} is regularized: scaling {one} down and {other} up lowers the penalty at no cost; "
                f"regularize {other}, too"
            )
    return found


class _Builder:
    """Builds parts one after the other and keeps every fault for one message."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.origins: dict[str, str] = {}
        self.distributions: set[str] = set()

    def note(self, role: str, registered: Registered) -> None:
        """Keep where the part of that role is from."""
        self.origins[role] = f"{registered.distribution} {registered.version}"
        self.distributions.add(registered.distribution)

    def part(self, kind: str, text: Any, role: str) -> Any:
        """The part, an object as it is; None with a fault noted when it cannot be built."""
        if isinstance(text, type):
            self.faults.append(f"{role} {text.__qualname__} is a class: pass one of its instances")
            return None
        if not isinstance(text, str):
            self.origins[role] = f"{type(text).__module__}.{type(text).__qualname__} (passed as an object)"
            return text
        try:
            parsed = PartText.parse(text)
            registered = registry().get(kind, parsed.name)
            part = registered.build(parsed)
        except UsageError as error:
            self.faults.append(str(error))
            return None
        self.note(role, registered)
        return part

    def factory(self, kind: str, text: Any) -> Any:
        """The factory of the part, not yet called."""
        if not isinstance(text, str):
            return text
        try:
            registered = registry().get(kind, PartText.parse(text).name)
        except UsageError as error:
            self.faults.append(str(error))
            return None
        self.note(kind, registered)
        return registered.load()


def _sided(part: Any, factor: str) -> Any:
    """The part as it acts on that factor."""
    return part.of_factor(factor) if isinstance(part, Sided) else part


def _listed(faults: Sequence[str]) -> str:
    return f"{len(faults)} things are wrong:\n" + "\n".join(f"  - {fault}" for fault in faults)


def _both_ways(problem: Problem, model: Model) -> list[str]:
    """Why a model that wants passes over all rows cannot go through groups of them."""
    if not (is_phased(model) and bool(getattr(model, "groups", 0))):
        return []
    return [
        f"model {part_text(problem.model)!r} sweeps by groups of blocks (Parted) and takes passes over all rows before "
        "a sweep (Phased): a sweep can be one or the other"
    ]


def _untaken(problem: Problem, takes: frozenset[str]) -> list[str]:
    return [
        f"model {part_text(problem.model)!r} uses no {option}: it fixes its own, so leave --{option} out"
        for option, name in FIELDS.items()
        if option not in takes and (name in problem.named or (name.startswith("reg") and getattr(problem, name)))
    ]


def _wrong_kinds(loss: Any, reg_w: Iterable[Any], reg_h: Iterable[Any], initializer: Any) -> list[str]:
    expected = [("loss", loss, Loss), ("init", initializer, Initializer)]
    expected += [("reg-w", r, Regularizer) for r in reg_w] + [("reg-h", r, Regularizer) for r in reg_h]
    return [
        f"{role} {reprlib.repr(part)} is not a {protocol.__name__}: it lacks {', '.join(lacking(part, protocol))}"
        for role, part, protocol in expected
        if part is not None and not isinstance(part, protocol)
    ]


def _one_sided(problem: Problem, model: Any, initializer: Any) -> list[str]:
    """Why a start for symmetric matrices is none for a model of any matrix."""
    if not getattr(initializer, "symmetric", False) or getattr(model, "symmetric", False):
        return []
    return [
        f"init {part_text(problem.init)!r} starts from a symmetric matrix, and model {part_text(problem.model)!r} is "
        "for any: use --init auto, or a model for symmetric ones"
    ]


def _coupled_rows(problem: Problem, reg_w: Sequence[Any]) -> list[str]:
    return [
        f"regularizer {part_text(text)!r} couples the rows of its factor, and the rows of W are sharded: "
        "it can act on H only (--reg-h)"
        for part, text in zip(reg_w, problem.reg_w, strict=True)
        if isinstance(part, Whole) and part.couples_rows
    ]


def _doubled_sums(problem: Problem, reg_w: Sequence[Any], reg_h: Sequence[Any]) -> list[str]:
    misfits = []
    for factor, parts, texts in (("W", reg_w, problem.reg_w), ("H", reg_h, problem.reg_h)):
        fixed = [part_text(text) for part, text in zip(parts, texts, strict=True) if isinstance(part, HasSums)]
        if len(fixed) > 1:
            misfits.append(
                f"{' and '.join(map(repr, fixed))} on {factor} fix sums of the same entries, and a step meets one "
                "of them: use one on W and one on H, or only one"
            )
    return misfits
