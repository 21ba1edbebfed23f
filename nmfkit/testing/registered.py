"""From what is registered to the contracts that hold it."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from nmfkit.errors import UsageError
from nmfkit.hookspecs import KINDS, ReaderSpec
from nmfkit.parts import PartText
from nmfkit.registry import Registered, registry

if TYPE_CHECKING:
    from nmfkit.testing.law import Contract


def examples_of(registered: Registered) -> list[str]:
    """Texts of the part that its laws are run on: its own examples, else its bare name.

    A reader without examples gives those of its schemes that are whole names (`sample:digits`); one of files
    gives none.
    """
    spec = registered.spec
    if spec.examples:
        return list(spec.examples)
    if isinstance(spec, ReaderSpec):
        return [scheme for scheme in spec.schemes if not scheme.endswith(":")]
    return [registered.name]


def contract_for(kind: str) -> type[Contract]:
    """The contract of a kind of part; raises `UsageError` for what is none."""
    from nmfkit.testing.initializer import InitializerContract
    from nmfkit.testing.loss import LossContract
    from nmfkit.testing.model import ModelContract
    from nmfkit.testing.reader import SourceContract
    from nmfkit.testing.regularizer import RegularizerContract
    from nmfkit.testing.rule import RuleContract

    contracts: dict[str, type[Contract]] = {
        "loss": LossContract,
        "regularizer": RegularizerContract,
        "rule": RuleContract,
        "model": ModelContract,
        "initializer": InitializerContract,
        "reader": SourceContract,
    }
    if kind not in contracts:
        raise UsageError(f"{kind!r} is no kind of part; kinds are {', '.join(KINDS)}")
    return contracts[kind]


def contract_of(kind: str, text: str) -> Contract:
    """The contract of one example of a registered part, ready to run."""
    if own := _own_contract(kind, text):
        return own.of(lambda: text)
    return contract_for(kind).of(lambda: _made(kind, text))


def _own_contract(kind: str, text: str) -> type[Contract] | None:
    """The contract that the part names itself, where it does."""
    spec = None if kind == "reader" else registry().get(kind, PartText.parse(text).name).spec
    named = getattr(spec, "contract", "")
    return resolve_name(named) if named else None


def _made(kind: str, text: str) -> Any:
    if kind == "model":
        return text  # a model is built with its ingredients, fit by fit
    if kind == "reader":
        from nmfkit.sources import open_source

        return open_source(text)
    return registry().build(kind, text)
