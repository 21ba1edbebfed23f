"""Minimum volume: the log-determinant of a factor as a regularizer, and sums of its entries fixed at 1."""

from __future__ import annotations

from nmfkit.hookspecs import PartSpec, hookimpl

_HERE = "nmfkit_plugins.minvol"


@hookimpl
def nmfkit_regularizers() -> list[PartSpec]:
    """The volume, and the constraint that gives it a scale."""
    return [
        PartSpec(
            "minvol",
            "λ ln det(FᵀF + δI): components that enclose the data tightly",
            f"{_HERE}.volume:MinimumVolume",
            aliases=("minimum-volume", "logdet"),
            examples=("minvol:0.1,weight=absolute", "minvol:0.1,delta=0.01"),
        ),
        PartSpec(
            "sum-to-one",
            "a constraint: the entries of each component sum to 1, or those of each row or column",
            f"{_HERE}.sum_to_one:SumToOne",
            examples=("sum-to-one", "sum-to-one:rows", "sum-to-one:columns"),
        ),
    ]
