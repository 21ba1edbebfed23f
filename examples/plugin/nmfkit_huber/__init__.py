"""The Huber loss for nmfkit."""

from __future__ import annotations

from nmfkit import PartSpec, hookimpl


@hookimpl
def nmfkit_losses() -> list[PartSpec]:
    """One loss; its class is imported only when somebody uses it."""
    return [
        PartSpec(
            "huber",
            "squared error up to δ, absolute beyond: robust to outliers",
            "nmfkit_huber.huber:Huber",
            # Not 1 or 0.5: the contract compares with differences, which mean nothing where a residual is just δ.
            examples=("huber:0.7", "huber:2.3"),
        )
    ]
