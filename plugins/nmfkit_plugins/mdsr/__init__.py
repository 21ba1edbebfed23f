"""Input-guided deep models: X ≈ W H with W made of X by a network (Dutta & De, arXiv 2405.13449)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nmfkit.hookspecs import PartSpec, hookimpl

if TYPE_CHECKING:
    from nmfkit.blocks import Array
    from nmfkit.result import Result

_MODEL = "nmfkit_plugins.mdsr.model:InputGuided"


@hookimpl
def nmfkit_models() -> list[PartSpec]:
    """The two models."""
    return [
        PartSpec(
            "ig-mdsr-nmf",
            "X ≈ W H with H ≥ 0 and W from 0 to 1, made of X by a trained encoder",
            _MODEL,
            preset={"relaxed": False},
            examples=(
                "ig-mdsr-nmf:batch_size=2,hidden_sizes=4+3",
                "ig-mdsr-nmf:authors",
                "ig-mdsr-nmf:preprocess=zscore-fold,polish=epoch",
            ),
        ),
        PartSpec(
            "ig-mdsr-rnmf",
            "the same with H of either sign, for data of either sign: closer to X, and components may cancel",
            _MODEL,
            preset={"relaxed": True},
            examples=(
                "ig-mdsr-rnmf:batch_size=full,checkpoint=last",
                "ig-mdsr-rnmf:output=relu,preprocess=zscore-fold",
            ),
        ),
    ]


def network_of(run: Result | str) -> dict[str, Array]:
    """The weights of a run of `ig-mdsr-nmf` or `ig-mdsr-rnmf`, or of the one at a path, by name.

    "u1" (N, r_1), "u2" (N, r_2), … read the data, "v2" (r_1, r_2), … the layer before, and "h" (r, N) is H: W of rows y
    is σ(y U_L + H_{L−1} V_L). N is the number of columns after preprocessing. Raises `UsageError` for another model.
    """
    from nmfkit_plugins.mdsr.trained import weights_of

    return weights_of(run)
