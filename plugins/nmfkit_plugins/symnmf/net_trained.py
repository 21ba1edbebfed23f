"""The parameters of a network that an earlier run has trained."""

from __future__ import annotations

from nmfkit.blocks import Array
from nmfkit.errors import UsageError
from nmfkit.result import Result, load


def parameters_of(run: Result | str, blocks: int | None = None) -> Array:
    """The best parameters (K, 4) that a run of an equivariant network has found.

    Raises `UsageError` where the run is of another kind, or has another number of blocks than `blocks`.
    """
    result = load(run) if isinstance(run, str) else run
    name, family = result.path or "the run", getattr(result.model, "family", None)
    if not getattr(family, "transfers", False):
        raise UsageError(
            f"{name} has no network to apply: it must be a fit with --model symnmf-net, variant equivariant, whose "
            "parameters know nothing of the graph"
        )
    best: Array = result.state.following["best"]
    if blocks not in (None, has := len(best)):
        raise UsageError(f"the network of {name} has {has} blocks, not {blocks}: say blocks={has}")
    return best
