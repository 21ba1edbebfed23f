"""Every law on a registered part, without pytest."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from unittest import SkipTest

from hypothesis import settings

from nmfkit.errors import Caution, UsageError
from nmfkit.hookspecs import KINDS
from nmfkit.parts import PartText, suggestion
from nmfkit.registry import registry
from nmfkit.testing.law import Contract
from nmfkit.testing.registered import contract_of, examples_of

_PROFILE = "nmfkit-check"


@dataclass(frozen=True)
class LawResult:
    """Whether the part (its text) holds a law; `message` says why not, or why the law does not apply."""

    part: str
    law: str
    passed: bool
    message: str = ""


def check_part(name: str, *, examples: int = 50) -> list[LawResult]:
    """Run every law of the part called `name` on each of its examples, or on `name` alone if it has a value.

    `examples` is the number of cases that a law draws; the same ones in every run. Raises `UsageError` when no
    part has that name.
    """
    parsed = PartText.parse(name)
    found = registry().find(parsed.name)
    if not found:
        known = {known for kind in KINDS for known in registry().names(kind)}
        raise UsageError(f"no part is called {parsed.name!r}{suggestion(parsed.name, known)}")
    written = parsed.value is not None or parsed.options
    results = []
    for registered in found:
        texts = [str(parsed)] if written else examples_of(registered)
        if not texts:
            message = "nothing to run on: the part gives no examples (PartSpec.examples, ReaderSpec.examples)"
            results.append(LawResult(registered.name, "examples", True, message))
        for text in texts:
            results += _results(registered.kind, text, examples)
    return results


def _results(kind: str, text: str, examples: int) -> Iterator[LawResult]:
    contract = contract_of(kind, text)
    before = settings.get_current_profile_name()
    settings.register_profile(_PROFILE, max_examples=examples, derandomize=True, database=None, deadline=None)
    settings.load_profile(_PROFILE)
    try:
        for law in contract.laws():
            yield _result(contract, text, law)
    finally:
        settings.load_profile(before)


def _result(contract: Contract, text: str, law: str) -> LawResult:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", Caution)  # laws meet what users are cautioned about
            getattr(contract, law)()
    except SkipTest as reason:
        return LawResult(text, law, True, str(reason))
    except Exception as error:
        notes = "\n".join(getattr(error, "__notes__", ()))
        return LawResult(text, law, False, f"{type(error).__name__}: {error}\n{notes}".strip())
    return LawResult(text, law, True)
