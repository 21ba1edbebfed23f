"""What a contract and a law are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias
from unittest import SkipTest
from zlib import crc32

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

Drawn: TypeAlias = st.SearchStrategy[Any] | Callable[[Any], st.SearchStrategy[Any]]
"""A strategy, or a function of the contract that gives one (data that suit its part)."""


def law(*drawn: Drawn, examples: float = 1.0) -> Callable[[Callable[..., None]], Callable[[Any], None]]:
    """Turn a method of drawn arguments into one without any: hypothesis draws them when it is called.

    `examples` scales the profile's number of examples: below 1 for a costly law, above for one with many cases.
    """

    def decorate(method: Callable[..., None]) -> Callable[[Any], None]:
        def test(self: Any) -> None:
            strategies = st.tuples(*(s(self) if callable(s) else s for s in drawn))

            def holds(drawn: tuple[Any, ...]) -> None:
                method(self, *drawn)

            run = _settings(examples * self.share)(given(drawn=strategies)(holds))
            # A profile that repeats its cases takes them from the test's source, which is the same for all laws.
            (seed(crc32(method.__qualname__.encode()))(run) if settings().derandomize else run)()

        # Not functools.wraps: pytest would take the drawn arguments for fixtures.
        test.__name__, test.__qualname__ = method.__name__, method.__qualname__
        test.__doc__, test.__module__ = method.__doc__, method.__module__
        return test

    return decorate


def _settings(examples: float) -> settings:
    """The present profile's, without a clock: how long an example takes says nothing about a law."""
    return settings(
        max_examples=max(2, round(settings().max_examples * examples)),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


class Contract:
    """The laws of one kind of part; subclass it and let `make` return the part to be held to them."""

    share: float = 1.0
    """Scales the number of examples of every law: below 1 for a part that takes its time."""

    def make(self) -> Any:
        """The part under test, a new one each time."""
        raise NotImplementedError(f"{type(self).__name__}.make must return the part to check")

    @property
    def part(self) -> Any:
        """The part under test."""
        return self.make()

    @classmethod
    def laws(cls) -> list[str]:
        """The names of all laws."""
        return [name for name in dir(cls) if name.startswith("test_")]

    @classmethod
    def of(cls, make: Callable[[], Any]) -> Contract:
        """The contract of what `make` returns, for use without a subclass."""
        contract = cls()
        contract.make = make  # type: ignore[method-assign]
        return contract

    def needs(self, capability: type) -> Any:
        """The part if it has the capability; else the law does not apply."""
        part = self.part
        if not isinstance(part, capability):
            raise SkipTest(f"does not apply: not {(capability.__doc__ or '').splitlines()[0].rstrip('.')}")
        return part
