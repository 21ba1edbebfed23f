"""How a model takes rules: which are for it, what each becomes with its loss, and which one to choose."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nmfkit.errors import NmfkitError
from nmfkit.parts import PartText
from nmfkit.problem import Problem, part_text
from nmfkit.protocols import Chooses, HasProx, Ingredients, Model, OwnRules, UpdateRule
from nmfkit.registry import Registered, registry
from nmfkit.weighted import Weighted


@dataclass(frozen=True)
class Ways:
    """How a model takes rules, with its loss and its regularizers."""

    model: Any
    loss: Any
    reg_w: tuple[Any, ...]
    reg_h: tuple[Any, ...]

    @property
    def rule_type(self) -> type:
        """The protocol that its rules have."""
        found: type = getattr(self.model, "rule_type", UpdateRule)
        return found

    def become(self, rule: Any) -> Any:
        """The rule, or the one that it becomes for this loss and these regularizers."""
        return rule.chosen(self.loss, (*self.reg_w, *self.reg_h)) if isinstance(rule, Chooses) else rule

    def taken(self, rule: Any) -> Any:
        """The rule as the model uses it: what it becomes for this loss and these regularizers, or what it stands for.

        None where the model cannot use it.
        """
        rule = self.become(rule)
        if not isinstance(rule, self.rule_type) and isinstance(rule, UpdateRule) and isinstance(self.model, OwnRules):
            return self.model.adopted(rule)
        return rule

    def built(self, candidate: Registered) -> Any:
        """A registered rule as the model uses it; None where it is not for the model, or needs parameters."""
        try:
            rule = self.taken(candidate.build(PartText(candidate.name)))
        except NmfkitError:
            return None
        return rule if isinstance(rule, self.rule_type) else None


def foreign(problem: Problem, ways: Ways, rule: Any) -> list[str]:
    """Why a rule is not for the model: it is of another model's kind, or of none."""
    if isinstance(rule, ways.rule_type):
        return []
    text = repr(part_text(problem.rule)) if isinstance(problem.rule, str) else reprlib.repr(rule)
    model = part_text(problem.model)
    usable = ", ".join(r.name for r in registry().of_kind("rule") if ways.built(r) is not None) or "none"
    if rule is None:
        return [f"rule {text} is not one that model {model!r} can use; it takes {usable}"]
    kind = ways.rule_type.__name__
    lacks = ", ".join(lacking(rule, ways.rule_type))
    return [f"rule {text} is not a {kind}: it lacks {lacks}; model {model!r} takes {usable}"]


def rule_misfits(
    problem: Problem, rule: Any, name: str, loss: Any, reg_w: Sequence[Any], reg_h: Sequence[Any]
) -> list[str]:
    """Why a rule cannot be used with a loss and regularizers, by what it needs and what it accepts."""
    misfits = [
        f"rule {name!r} needs {phrase(need)} ({need.__name__}), and {loss_text(problem, loss)} is not one"
        for need in getattr(rule, "needs", ())
        if not isinstance(loss, need)
    ]
    accepts = tuple(getattr(rule, "accepts", ()))
    for factor, parts, texts in (("W", reg_w, problem.reg_w), ("H", reg_h, problem.reg_h)):
        usable = [(part, text) for part, text in zip(parts, texts, strict=True)]
        misfits += [
            f"rule {name!r} cannot use regularizer {part_text(text)!r} on {factor}: it takes "
            + " or ".join(f"{phrase(c)} ({c.__name__})" for c in accepts)
            for part, text in usable
            if not isinstance(part, accepts)
        ]
        others = tuple(c for c in accepts if c is not HasProx)
        only_prox = [part_text(t) for p, t in usable if isinstance(p, HasProx) and not isinstance(p, others)]
        if HasProx in accepts and len(only_prox) > 1:
            misfits.append(
                f"regularizers {' and '.join(map(repr, only_prox))} on {factor} act through proximal maps, "
                "which do not add: use one of them"
            )
    return misfits


def choose_rule(problem: Problem, ways: Ways, misfits: list[str]) -> tuple[str | None, Any]:
    """The rule of the highest preference that fits; if none does, why each of them does not."""
    reasons: list[str] = []
    candidates = sorted(registry().of_kind("rule"), key=lambda r: -_preference(r))
    for candidate in (c for c in candidates if _preference(c) > 0):
        try:
            rule = ways.become(candidate.build(PartText(candidate.name)))
        except NmfkitError as error:
            reasons.append(f"rule {candidate.name!r} of {candidate.distribution} cannot be used: {error}")
            continue
        if not isinstance(rule, ways.rule_type):
            continue  # those that a model adopts are for who asks for them
        wrong = rule_misfits(problem, rule, candidate.name, ways.loss, ways.reg_w, ways.reg_h)
        if not wrong:
            return candidate.name, rule
        reasons += wrong
    misfits += reasons or ["no update rule that may be chosen automatically is installed; name one with --rule"]
    return None, None


def _preference(registered: Registered) -> int:
    return int(getattr(registered.spec, "preference", 0))


def ways_out(problem: Problem, ways: Ways) -> list[str]:
    """The rules that would do with this loss and these regularizers, in a sentence; nothing where none would."""
    loss, reg_w, reg_h = ways.loss, ways.reg_w, ways.reg_h
    fitting: dict[str, Ingredients] = {}
    for candidate in registry().of_kind("rule"):
        rule = ways.built(candidate)
        if rule is not None and not rule_misfits(problem, rule, candidate.name, loss, reg_w, reg_h):
            fitting[candidate.name] = Ingredients(loss, rule, reg_w, reg_h, problem.ranks)
    if not fitting:
        return []
    # What the model has against all of them is said elsewhere; what it has against some, nowhere.
    fitting = {name: parts for name, parts in fitting.items() if not model_of(problem, parts).misfits()} or fitting
    parts = [loss_text(problem, loss)] + [
        f"{part_text(r)!r} on {factor}" for factor, rs in (("W", problem.reg_w), ("H", problem.reg_h)) for r in rs
    ]
    return [f"what would work with {', '.join(parts)}: --rule {' or --rule '.join(fitting)}"]


def model_of(problem: Problem, ingredients: Ingredients) -> Model:
    """The model that the problem names, built of these parts; an object as it is."""
    if not isinstance(problem.model, str):
        model: Model = problem.model(ingredients) if isinstance(problem.model, type) else problem.model
        return model
    parsed = PartText.parse(problem.model)
    options = tuple(parsed.options) + tuple(problem.model_options.items())
    built: Model = registry().get("model", parsed.name).build(replace(parsed, options=options), parts=ingredients)
    return built


def lacking(part: Any, protocol: type) -> list[str]:
    """What a part would need to have the protocol, by name."""
    names: Iterable[str] = getattr(protocol, "__protocol_attrs__", None) or [
        n for n in (*vars(protocol), *getattr(protocol, "__annotations__", {})) if not n.startswith("_")
    ]
    return sorted(n for n in names if not hasattr(part, n))


def loss_text(problem: Problem, loss: Any) -> str:
    """The loss of a problem for a message."""
    with_weights = " with missing entries or weights" if isinstance(loss, Weighted) else ""
    return f"loss {part_text(problem.loss)!r}{with_weights}"


def phrase(capability: type) -> str:
    """What a capability is, in words: the first line of its docstring."""
    return (capability.__doc__ or capability.__name__).splitlines()[0].rstrip(".")
