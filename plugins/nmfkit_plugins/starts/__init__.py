"""Starting points: random rows; NNDSVD, extreme samples and a short fit, by sweeps over the data."""

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
        PartSpec(
            "spa",
            "the samples that lie furthest out, by successive projection",
            "nmfkit_plugins.starts.spa:SPA",
            examples=("spa", "spa:none"),
        ),
        PartSpec(
            "hals",
            "factors after a few sweeps of rule hals",
            "nmfkit_plugins.starts.hals:Fitted",
            examples=("hals:5",),
        ),
    ]
