"""An estimator class for every registered model, made from the model's own parameters."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any, get_type_hints

from nmfkit.errors import UsageError
from nmfkit.estimators.base import ModelEstimator
from nmfkit.estimators.continuing import ContinuingEstimator
from nmfkit.estimators.errors import NotInstalled, ParameterError
from nmfkit.estimators.layered import LayeredEstimator
from nmfkit.estimators.nmf import NMF
from nmfkit.estimators.symmetric import PRECOMPUTED, SymmetricEstimator
from nmfkit.parts import parameters
from nmfkit.protocols import Continues, HasLevels
from nmfkit.registry import Registered, registry

CLASSES = {
    "DeepNMF": "deep-nmf",
    "SymNMF": "symnmf",
    "SymNMFNet": "symnmf-net",
    "AGD": "agd",
    "IGMDSR": "ig-mdsr-nmf",
    "IGMDSRRelaxed": "ig-mdsr-rnmf",
}
"""Names of classes that do not spell the name of their model."""

PARTS = {"loss": ("loss", "frobenius"), "rule": ("rule", "auto"), "init": ("init", "auto")} | {
    "reg_w": ("reg-w", ()),
    "reg_h": ("reg-h", ()),
}
"""Parameters for the parts that a model may take: what it calls them, and their defaults."""

RANK, RANKS = 10, (10, 5)
"""`n_components` unless given, of a model with one level and of one with several."""

COMMON = {
    "tol": 1e-4,
    "max_iter": 200,
    "random_state": None,
    "verbose": 0,
    "pilot": "auto",
    "time_limit": None,
    "missing": "none",
    "dtype": None,
    "key": None,
    "memory": None,
    "threads": None,
    "workers": None,
    "threads_per_worker": None,
    "scheduler": None,
    "scheduler_file": None,
    "device": None,
    "device_memory": None,
}
"""Parameters that every estimator has, with their defaults."""


def estimator(model: str) -> type[ModelEstimator]:
    """The estimator class of the model that `--model` calls so; raises `NotInstalled` where no plugin offers it.

    Its parameters are `n_components` (one rank, or for a model of several layers a tuple of them), those of the parts
    that the model takes, the model's own, and those that all estimators share.
    """
    try:
        registered = registry().get("model", model)
    except UsageError as error:
        raise NotInstalled(_missing(model)) from error
    return _class_of(registered.name, _class_name(registered.name))


def of_class_name(name: str) -> type[ModelEstimator]:
    """The class called `name`: one of `CLASSES`, or a model whose name has the same letters."""
    if name in CLASSES:
        model = CLASSES[name]
        if model not in registry().names("model"):
            raise NotInstalled(_missing(model))
        return _class_of(model, name)
    for registered in registry().of_kind("model"):
        if name == _class_name(registered.name):
            return _class_of(registered.name, name)
    raise AttributeError(f"module 'nmfkit.estimators' has no attribute {name!r}")


def _missing(model: str) -> str:
    installed = ", ".join(r.name for r in registry().of_kind("model")) or "none"
    return f"model {model!r} is not installed; installed models: {installed}"


def _class_name(model: str) -> str:
    known = {text: name for name, text in CLASSES.items()}
    return known.get(model) or "".join("NMF" if p == "nmf" else p.capitalize() for p in model.split("-"))


@cache
def _class_of(model: str, name: str) -> type[ModelEstimator]:
    if model == "nmf":
        return NMF
    registered = registry().get("model", model)
    own, made = _own_parameters(registered), _made_by(registered.load())
    takes = getattr(made, "takes", frozenset(text for text, _ in PARTS.values()))
    home, ranks, first = _home(made)
    parts = {n: default for n, (text, default) in PARTS.items() if text in takes}

    def _model_options(self: Any) -> dict[str, str]:
        changed = {n: getattr(self, n) for n, default in own.items() if getattr(self, n) != default}
        return {n: _text(value) for n, value in changed.items()}

    doc = f"{registered.spec.summary}: model {model!r} as a scikit-learn transformer; see `{home.__name__}`."
    names = {"__doc__": doc, "__module__": "nmfkit.estimators", "_model": model, "_model_options": _model_options}
    constructor = _constructor({"n_components": ranks, **first, **parts, **own, **COMMON})
    return type(name, (home,), {**names, "__init__": constructor})


def _home(made: type) -> tuple[type[ModelEstimator], Any, dict[str, Any]]:
    """What an estimator of such a model is made from, its `n_components`, and parameters of that kind of model."""
    if getattr(made, "symmetric", False):
        return SymmetricEstimator, RANK, {"affinity": PRECOMPUTED}
    if issubclass(made, HasLevels):
        return LayeredEstimator, RANKS, {}
    return ContinuingEstimator if issubclass(made, Continues) else ModelEstimator, RANK, {}


def _made_by(factory: Any) -> type:
    """The class of the model: the factory itself, or what it says that it returns."""
    made = factory if isinstance(factory, type) else get_type_hints(factory).get("return")
    return made if isinstance(made, type) else type(factory)


def _constructor(defaults: dict[str, Any]) -> Any:
    """An `__init__` that keeps its arguments, the first one by position, too."""
    first, *others = defaults
    kinds = {first: inspect.Parameter.POSITIONAL_OR_KEYWORD, **dict.fromkeys(others, inspect.Parameter.KEYWORD_ONLY)}
    of_self = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    signature = inspect.Signature(
        [of_self, *(inspect.Parameter(n, kind, default=defaults[n]) for n, kind in kinds.items())]
    )

    def __init__(self: Any, *args: Any, **values: Any) -> None:
        bound = signature.bind(self, *args, **values)
        bound.apply_defaults()
        vars(self).update({n: value for n, value in bound.arguments.items() if n != "self"})

    __init__.__signature__ = signature  # type: ignore[attr-defined] # scikit-learn reads the parameters from it
    return __init__


def _own_parameters(registered: Registered) -> dict[str, Any]:
    """The model's parameters with their defaults; those that need a value have None."""
    preset = getattr(registered.spec, "preset", {})
    free = {n: p for n, p in parameters(registered.load()).items() if n != "parts" and n not in preset}
    if taken := sorted({"n_components", "affinity", *PARTS, *COMMON} & set(free)):
        raise ParameterError(f"model {registered.name!r} has parameters that every estimator has: {', '.join(taken)}")
    return {n: None if p.default is p.empty else p.default for n, p in free.items()}


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
