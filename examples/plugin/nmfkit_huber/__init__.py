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
            examples=("huber", "huber:0.5"),
        )
    ]
