"""Starting points: random rows, and NNDSVD by sweeps over the data."""

from __future__ import annotations

from nmfkit.hookspecs import PartSpec, hookimpl


@hookimpl
def nmfkit_initializers() -> list[PartSpec]:
    """The starting points of `--init`."""
    return [
        PartSpec(
            "random",
            "half-normal at the data's scale; any sharding gives the same",
            "nmfkit_plugins.starts.random:Random",
        ),
        PartSpec(
            "nndsvd",
            "from the leading singular vectors, with exact zeros",
            "nmfkit_plugins.starts.nndsvd:NNDSVD",
            examples=("nndsvd", "nndsvd:mean", "nndsvd:random"),
        ),
        PartSpec(
            "nndsvda",
            "nndsvd with its zeros filled by small positive numbers",
            "nmfkit_plugins.starts.nndsvd:NNDSVD",
            preset={"fill": "small"},
        ),
    ]
