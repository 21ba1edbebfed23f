"""An unrolled network for symmetric NMF, trained on the graph that it factorizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nmfkit import kernels
from nmfkit.blocks import Array, Block
from nmfkit.probe import Probe
from nmfkit.protocols import Ingredients, Initializer, Pass, Rows, RowStore, Shared, Stats, Sweep
from nmfkit_plugins.symnmf import net_adam
from nmfkit_plugins.symnmf.beginning import not_below_zero
from nmfkit_plugins.symnmf.net_blocks import Layer, crossed, fit_loss, inner, inverse
from nmfkit_plugins.symnmf.net_rows import OnRows, grams_of, whole_of
from nmfkit_plugins.symnmf.net_start import POWERS, begun, cautions_of
from nmfkit_plugins.symnmf.net_trained import parameters_of
from nmfkit_plugins.symnmf.net_variants import LEAST, VARIANTS, Pulled, Variant

STEPS = 150
"""Of the training, unless a trained network is given."""

DEEP = 0.5
"""γ of the deep supervision, where it costs no product."""

DURING = frozenset({"at", "wide", "grams", "masses", "pulls", "qs", "u", "u.cross"})
"""Names in the state that only the passes of one sweep know."""

TRAINING = frozenset({"v0", "v0.gram", "net", "adam"})
"""Names in the state that plain iterations need no more; the best network stays."""


@dataclass(frozen=True)
class SymNMFNet(OnRows):
    """min ½ ‖A − H Hᵀ‖² over H (n, r) ≥ 0 by K blocks of inversion, linear layer and ReLU with learnt weights.

    After Li, Kong & Lin, arXiv 2205.13214 (2022); reconstructed from the published abstract. Block k maps V to
    U = ReLU((a_k A + b_k I) V (VᵀV + λ_k I)⁻¹ R_k − 1 θ_kᵀ), which at first is one plain iteration: a = 1, R = I, θ = 0
    and b = λ = `lam`, in units of the spectral norm of A. `variant` says what is learnt: "equivariant" (a, b, λ and
    R = I + β 11ᵀ / r), "mixing" (a, b, λ, R, θ) or "dense" (W (n, n) in place of a A + b I, and λ).

    A sweep is one step of Adam on Σ_k γ^(K−k) L_k, where L_k = ¼ ‖A − U_k U_kᵀ‖² / ‖A‖² and γ = `deep`. It takes 2 K
    products with A, K forward and K backward, each from the rows of one panel, the only gather being a factor. After
    `steps` of them come plain iterations from the best H, one product each; the best H of all is the result. With
    `trained`, a run of this model, the network starts as that one ended, and is not trained unless `steps` says so.
    """

    parts: Ingredients
    variant: str = "equivariant"
    blocks: int = 10
    steps: int | None = None
    rate: float | None = None
    lam: float = 0.5
    deep: float | None = None
    trained: str | None = None

    takes: ClassVar[frozenset[str]] = frozenset({"init"})
    signed: ClassVar[bool] = True
    symmetric: ClassVar[bool] = True
    start_from: ClassVar[str] = "eigen"
    keeps_best: ClassVar[bool] = True
    elementwise: ClassVar[bool] = False
    forms_product: ClassVar[bool] = False
    phased: ClassVar[bool] = True
    row_factors: ClassVar[tuple[str, ...]] = ("w",)

    def __post_init__(self) -> None:
        faults = [
            (self.variant not in VARIANTS, f"variant must be one of {', '.join(VARIANTS)}, not {self.variant!r}"),
            (self.blocks < 1, f"blocks must be at least 1, not {self.blocks}"),
            (self.steps is not None and self.steps < 0, f"steps must be at least 0, not {self.steps}"),
            (self.rate is not None and not 0 < self.rate < 1, f"rate must be between 0 and 1, not {self.rate}"),
            (not LEAST < self.lam < math.inf, f"lam must be above {LEAST}, not {self.lam}"),
            (not 0 <= (self.deep or 0.0) <= 1, f"deep must be between 0 and 1, not {self.deep}"),
            (self.variant == "dense" and bool(self.deep), "deep must be 0 where variant is dense: it forms no A V"),
            (
                self.trained is not None and self.variant != "equivariant",
                f"trained needs variant equivariant: a network of variant {self.variant} is tied to its own graph",
            ),
        ]
        if wrong := [sentence for holds, sentence in faults if holds]:
            raise ValueError("; ".join(wrong))

    def misfits(self) -> Sequence[str]:
        """One rank is all it takes."""
        ranks = self.parts.ranks
        return [f"model 'symnmf-net' takes one rank, and {len(ranks)} are given"] if len(ranks) != 1 else []

    def cautions(self, initializer: Initializer, shape: tuple[int, int]) -> Sequence[str]:
        """How much memory weights of n × n take."""
        del initializer
        return cautions_of(self, shape[0])

    @property
    def training(self) -> int:
        """Steps of the training."""
        return self.steps if self.steps is not None else 0 if self.trained is not None else STEPS

    @property
    def supervision(self) -> float:
        """γ, by which the loss of a block weighs less than that of the next one."""
        known = 0.0 if self.family.dense else DEEP
        return known if self.deep is None else self.deep

    @property
    def least_sweeps(self) -> int:
        """The training, and what shows whether the plain iterations after it go on."""
        return self.training + 1

    @property
    def reads(self) -> int:
        """Products with A in a sweep that trains."""
        return 2 * self.blocks if self.training else self.blocks

    @property
    def gathers(self) -> int:
        """One factor (n, r) for each product."""
        return self.reads

    @property
    def aside(self) -> int:
        """What every block keeps for the way back: its rows, and those of its product."""
        return 2 * self.blocks

    @property
    def start_sweeps(self) -> int:
        """Products that measure A, and one with the start."""
        return POWERS + 3

    @property
    def family(self) -> Variant:
        """What the blocks learn."""
        return VARIANTS[self.variant]

    # --- starting -------------------------------------------------------------------------------------------

    def known(self) -> Array | None:
        """The parameters of the network that is given; raises `UsageError` where `trained` is no run with one."""
        return None if self.trained is None else parameters_of(self.trained, self.blocks)

    def start(
        self, initializer: Initializer, sweep: Sweep, probe: Probe, seed: int, dtype: Any
    ) -> tuple[RowStore, Shared]:
        """The start V₀ in units of the spectral norm of A, and the network.

        Raises `UsageError` where A is too large for weights of its own, or `trained` is no such run.
        """
        return begun(self, initializer, sweep, probe, seed, dtype)

    # --- sweeping -------------------------------------------------------------------------------------------

    def phase(self, shared: Shared) -> Pass | None:
        """The next block forward, or back; the last one of a sweep is `local`."""
        due = shared.get("at", 0) < self._turns(shared) - 1
        return Pass(self.turn, shared, data=True) if due else None

    def after(self, shared: Shared, stats: Stats) -> Shared:
        """The state with what that block has left."""
        return self._absorbed(shared, stats)

    def local(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """The last block of the sweep; the rows are those of the H that the sweep began with."""
        own = shared["f"][x.first : x.first + x.shape[0]]
        _, stats = self.iterated(x, shared) if self._polishes(shared) else self.turn(x, rows, shared)
        return {"w": own * math.sqrt(shared["scale"])}, stats

    def turn(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """One block of the network: forward in order, then back."""
        at, blocks = shared.get("at", 0), self.blocks
        if at < blocks:
            return self.forward(x, rows, shared, at)
        return {}, self.backward(x, rows, shared, 2 * blocks - 1 - at)

    def apply(self, shared: Shared, stats: Stats) -> Shared:
        """The H of this sweep's network, or of a plain iteration, and the network after a step."""
        if self._polishes(shared):
            return self._onward(shared, shared, stats["wide"].whole(), stats["gram"], None)
        done = self._absorbed(shared, stats)
        if not self._trains(shared):
            return self._onward(shared, done, done["wide"], done["grams"][-1], None)
        return self._learnt(self._onward(shared, done, done["u"], done["grams"][-1], done["u.cross"]), done)

    def objective(self, shared: Shared, stats: Stats) -> float:
        """½ ‖A − H Hᵀ‖² of the H that the sweep began with."""
        cross = stats["cross"] if self._polishes(shared) else shared["cross"]
        loss = fit_loss(float(cross), shared["gram"], shared["squares"])
        return not_below_zero(2 * loss * self.scale(shared))

    def scale(self, shared: Shared) -> float:
        """‖A‖²: the terms of the objective cancel where the fit is close."""
        return float(shared["squares"] * shared["scale"] ** 2)

    # --- the stages of a fit --------------------------------------------------------------------------------

    def _trains(self, shared: Shared) -> bool:
        return bool(shared["sweep"] < self.training)

    def _polishes(self, shared: Shared) -> bool:
        return bool(shared["sweep"] > self.training)

    def _turns(self, shared: Shared) -> int:
        if self._polishes(shared):
            return 1
        return 2 * self.blocks if self._trains(shared) else self.blocks

    def layer(self, shared: Shared, k: int) -> Layer:
        """Block number `k`: of the network in training, and then of the best one."""
        net = shared["net"] if self._trains(shared) else shared["best"]
        return self.family.layer(net[k], shared["f"])

    # --- the driver's part ----------------------------------------------------------------------------------

    def _absorbed(self, shared: Shared, stats: Stats) -> Shared:
        """The state after the block in turn: all rows that it made, and their sums."""
        at, wide = shared.get("at", 0), stats["wide"].whole()
        state = {**shared, "at": at + 1, "wide": wide}
        if at >= self.blocks:
            return self._pulled(state, stats, 2 * self.blocks - 1 - at)
        state["grams"] = (*grams_of(shared), stats["gram"])
        state["masses"] = (*shared.get("masses", ()), stats["mass"])
        if self.family.dense:
            layer = self.layer(shared, at)
            inverted = inverse(state["grams"][at], layer.lam).astype(wide.dtype)
            state["qs"] = (*shared.get("qs", ()), whole_of(shared) @ inverted)
        return {**state, "u": wide} if at == self.blocks - 1 else state

    def _pulled(self, state: Shared, stats: Stats, k: int) -> Shared:
        layer, sums = self.layer(state, k), {name: stats[name] for name in ("p", "mix", "theta", "a", "b")}
        s = sums["p"] @ inverse(state["grams"][k], layer.lam)
        whole = (state["qs"][k], state["wide"]) if self.family.dense else (None, None)
        pull = Pulled(sums, -float(np.trace(s)), *whole)
        state = {**state, "pulls": (pull, *state.get("pulls", ()))}
        return {**state, "u.cross": stats["cross"]} if k == self.blocks - 1 else state

    def _onward(self, shared: Shared, done: Shared, f: Array, gram: Array, cross: float | None) -> Shared:
        """The state for the next sweep with a new H, unless that is nothing: then the one before stays."""
        following = {name: value for name, value in done.items() if name not in DURING}
        following["sweep"] = shared["sweep"] + 1
        if self._polishes(following):
            following = {name: value for name, value in following.items() if name not in TRAINING}
        if not _alive(gram):
            return following | {"cross": shared["cross"] if cross is not None else None}
        return following | {"f": f, "gram": gram, "cross": cross}

    def _learnt(self, following: Shared, done: Shared) -> Shared:
        """The network after a step of Adam; one that has died, or left the numbers, is the best one again, slower."""
        gradient = self.family.gradient(done["net"], done["pulls"])
        loss = fit_loss(float(done["u.cross"]), done["grams"][-1], done["squares"])
        if not (_alive(done["grams"][-1]) and bool(np.isfinite(gradient).all())):
            back = done["best"]
            return following | {"net": back, "adam": net_adam.at_rest(back), "pace": following["pace"] / 2}
        if loss < following["best.loss"]:
            following |= {"best": done["net"], "best.loss": loss}
        sizes = self._sizes(done)
        factors = self.family.rates(done["net"], done["sweep"] / self.training, sizes)
        rate = (self.rate or self.family.rate) * following["pace"] * net_adam.cosine(done["sweep"], self.training)
        net, adam = net_adam.stepped(done["net"], gradient, done["adam"], rate * factors)
        return following | {"net": net, "adam": adam}

    def _sizes(self, done: Shared) -> Array:
        """The mean entry of each U_k, in the order of the blocks."""
        found = np.zeros_like(done["net"], shape=(self.blocks,))
        for k, mass in enumerate(done["masses"]):
            found[k] = mass / (done["f"].shape[0] * done["f"].shape[1])
        return found

    # --- fixed H --------------------------------------------------------------------------------------------

    def encode(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """Rows of new nodes from their similarities to those of the fit: nonnegative least squares on the fixed H."""
        del rows
        size = math.sqrt(shared["scale"])
        made, gram = x.dot(shared["f"] * size), shared["gram"] * shared["scale"]
        w = kernels.nnls(gram, made, whole=x.whole)
        inside = x.squares()
        value = 0.5 * (inside - 2 * inner(w, made) + float(np.sum(crossed(w, w) * gram)))
        return {"w": w}, {"value": not_below_zero(value)}

    def factors(self, shared: Shared) -> dict[str, Array]:
        """{"h": (r, n)}."""
        h: Array = shared["f"].T * math.sqrt(shared["scale"])
        return {"h": h}


def _alive(gram: Array) -> bool:
    """Whether a factor of this Gram matrix is finite, and not zero."""
    size = float(np.trace(gram))
    return math.isfinite(size) and size > 0
