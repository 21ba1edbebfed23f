"""A trained network on another graph."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from nmfkit.api import fit
from nmfkit.blocks import Array
from nmfkit.errors import UsageError
from nmfkit.protocols import Ingredients
from nmfkit.result import Result, load
from nmfkit_plugins.symnmf.net import SymNMFNet
from nmfkit_plugins.symnmf.net_trained import parameters_of


def apply(
    run: Result | str | os.PathLike[str], a: Any, *, rank: int | None = None, steps: int = 0, **options: Any
) -> Result:
    """The fit of another graph `a` (n', n') by the network that `run` has trained, an equivariant one.

    The graph may have another size and, by `rank`, another number of components than that of the run. The network
    gives the first H, plain iterations follow, and the best H of all is the result; with `steps`, the network is
    trained further, on `a`, before. `options` are those of `nmfkit.fit`: `out` only where `run` is on disk, for a run
    names what it came from. Raises `UsageError` where `run` has no such network, or is not on disk and `out` is given.
    """
    result = run if isinstance(run, Result) else load(run)
    net = parameters_of(result)
    ranks = result.problem.ranks if rank is None else (rank,)
    if result.path is None and options.get("out") is not None:
        raise UsageError("a run on disk names the run of its network by path: save that one first (run.save(PATH))")
    if result.path is None:
        model: Any = Known(Ingredients(None, None, (), (), ranks), blocks=len(net), steps=steps, network=net)
        return fit(a, model=model, ranks=ranks, **options)
    text = {"trained": result.path, "blocks": len(net), "steps": steps}
    return fit(a, model="symnmf-net", ranks=ranks, model_options=text, **options)


@dataclass(frozen=True, eq=False)
class Known(SymNMFNet):
    """A network that starts from the parameters `network` (K, 4)."""

    network: Array | None = None

    def known(self) -> Array | None:
        """These."""
        return self.network
