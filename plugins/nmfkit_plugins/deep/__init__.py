"""Layer-centric deep β-NMF: a chain of factorizations, each of a factor of the one before, all fitted at once."""

from __future__ import annotations

from nmfkit.hookspecs import PartSpec, hookimpl

_HERE = "nmfkit_plugins.deep"


@hookimpl
def nmfkit_models() -> list[PartSpec]:
    """The deep model."""
    return [
        PartSpec(
            "deep-nmf",
            "X ≈ W₁ H₁, W₁ ≈ W₂ H₂, …: levels of ever fewer components, all fitted at once",
            f"{_HERE}.model:DeepNMF",
            examples=(
                "deep-nmf:coefficients,init_sweeps=3",
                "deep-nmf:components,init_sweeps=3",
                "deep-nmf:coefficients,normalize=w,init_sweeps=3",
            ),
        )
    ]
