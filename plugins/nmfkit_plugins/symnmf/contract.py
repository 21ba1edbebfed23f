"""The laws of a rule of symmetric factorization: those of the model, with that rule."""

from __future__ import annotations

from typing import Any

from nmfkit.testing import ModelContract


class SymmetricRuleContract(ModelContract):
    """What every rule of `symnmf` must hold, by whole fits; `make` returns its text."""

    share = 0.5  # the model's own contract draws the rest

    @property
    def part(self) -> Any:
        """The model that takes it."""
        return "symnmf"

    @property
    def fixed(self) -> dict[str, Any]:
        """The rule."""
        return {"rule": self.make()}
