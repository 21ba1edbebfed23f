"""Alternating gradient descent with thresholded decoding: recovery of components from data that mix them."""

from __future__ import annotations

from nmfkit.hookspecs import PartSpec, hookimpl


@hookimpl
def nmfkit_models() -> list[PartSpec]:
    """The model."""
    return [
        PartSpec(
            "agd",
            "X ≈ W H with sparse W ≥ 0 and H of either sign: components recovered by thresholded decoding",
            "nmfkit_plugins.agd.model:AGD",
            examples=("agd", "agd:holdout=0.3,nonneg=clip,reseed=1"),
        )
    ]
