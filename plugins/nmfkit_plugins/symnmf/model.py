"""The symmetric model A ≈ H Hᵀ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from nmfkit import kernels
from nmfkit.blocks import Array, Block
from nmfkit.errors import DataError
from nmfkit.probe import Probe
from nmfkit.protocols import (
    HasGram,
    Incremental,
    Ingredients,
    Initializer,
    Majorises,
    Pass,
    Rows,
    RowStore,
    Shared,
    Stats,
    Sweep,
)
from nmfkit.sketch import Sketches
from nmfkit.ways import lacking
from nmfkit_plugins.symnmf.beginning import begun, not_below_zero
from nmfkit_plugins.symnmf.multiplicative import SymMU
from nmfkit_plugins.symnmf.one_factor import AtOnce, ByRows
from nmfkit_plugins.symnmf.pair import Adopted
from nmfkit_plugins.symnmf.rules import OwnSweeps, PairSteps, RowSteps, SymmetricRule, WholeSteps
from nmfkit_plugins.symnmf.two_factors import TwoFactors

DIAGONALS = ("keep", "ignore")


@dataclass(frozen=True)
class SymNMF:
    """min ½ ‖A − H Hᵀ‖² over H (n, r) ≥ 0, for a symmetric A (n, n) whose entries may be of either sign.

    Factors: w = H, a row for each node, and h = Hᵀ. Rules for a pair (`symhals`, `symanls`) have A ≈ U Vᵀ with
    w = U and h = Vᵀ, and their objective is ½ ‖A − U Vᵀ‖² + λ/2 ‖U − V‖²: both are H up to what that leaves.

    A is read in row panels. A rule for one factor takes one product with A a sweep, one for a pair two. Of the factor
    each row is where its panel is; what a product with A needs, all n rows, is the only thing that is gathered.
    With `diagonal` "ignore" the diagonal of A is of no account: each sweep has that of H Hᵀ in its place.
    Kuang, Ding & Park, SDM 2012; Kuang, Yun & Park, J. Global Optim. 62, 2015.
    """

    parts: Ingredients
    diagonal: str = "keep"

    takes: ClassVar[frozenset[str]] = frozenset({"rule", "init"})
    rule_type: ClassVar[type] = SymmetricRule
    signed: ClassVar[bool] = True
    symmetric: ClassVar[bool] = True
    start_from: ClassVar[str] = "eigen"
    elementwise: ClassVar[bool] = False
    forms_product: ClassVar[bool] = False
    row_factors: ClassVar[tuple[str, ...]] = ("w",)
    aside: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.diagonal not in DIAGONALS:
            raise ValueError(f"diagonal must be one of {', '.join(DIAGONALS)}, not {self.diagonal!r}")

    @classmethod
    def adopted(cls, rule: Any) -> Any:
        """An update rule for quadratics moves the pair, one that multiplies moves one factor; None for any other."""
        if isinstance(rule, Incremental | Sketches):
            return None
        if tuple(rule.needs) == (HasGram,):
            return Adopted(rule=rule)
        return SymMU(power=0.5) if isinstance(rule, Majorises) else None

    def misfits(self) -> Sequence[str]:
        """One rank is all it takes, and a rule that moves one factor or a pair."""
        ranks, rule = self.parts.ranks, self.parts.rule
        wrong = [f"model 'symnmf' takes one rank, and {len(ranks)} are given"] if len(ranks) != 1 else []
        if not isinstance(rule, RowSteps | WholeSteps | PairSteps):
            nearest = min((RowSteps, WholeSteps, PairSteps), key=lambda kind: len(lacking(rule, kind)))
            wrong.append(
                f"rule {rule!r} offers none of RowSteps, WholeSteps and PairSteps, by which symnmf moves H; for "
                f"{nearest.__name__} it lacks {', '.join(lacking(rule, nearest)) or 'a method in the place of a value'}"
            )
        if self.diagonal == "ignore" and getattr(rule, "keeps_matrix", False):
            wrong.append("diagonal 'ignore' is not for rules that keep A as it is in memory: use --rule symhals")
        return wrong

    @cached_property
    def _sweeps(self) -> ByRows | AtOnce | TwoFactors:
        rule, ignored = self.parts.rule, self.diagonal == "ignore"
        if isinstance(rule, OwnSweeps):
            own: TwoFactors = rule.sweeps(ignored)
            return own
        if isinstance(rule, PairSteps):
            return TwoFactors(ignored, rule)
        return ByRows(ignored, rule) if isinstance(rule, RowSteps) else AtOnce(ignored, rule)

    @property
    def phased(self) -> bool:
        """Whether a sweep takes passes before `local`: for a pair."""
        return self._sweeps.phased

    @property
    def reads(self) -> int:
        """Products with A a sweep."""
        return self._sweeps.reads

    @property
    def gathers(self) -> int:
        """One factor (n, r) for each product."""
        return self.reads

    @property
    def keeps_best(self) -> bool:
        """Where sweeps may raise the objective."""
        return not self.parts.rule.monotone

    # --- starting -------------------------------------------------------------------------------------------

    def start(
        self, initializer: Initializer, sweep: Sweep, probe: Probe, seed: int, dtype: Any
    ) -> tuple[RowStore, Shared]:
        """The starting factor, without rows of nodes that have no neighbour, and what the rule begins with.

        Raises `DataError` where the rule is not for negative entries.
        """
        if probe.low < 0 and not self.parts.rule.signed:
            raise DataError(
                f"A has negative entries (the least is {probe.low:.3g}), and the rule takes none: use --rule symhals"
            )
        return begun(self._sweeps, initializer, sweep, probe, self.parts.ranks[0], seed, dtype)

    # --- sweeping -------------------------------------------------------------------------------------------

    def phase(self, shared: Shared) -> Pass | None:
        """The other half of a pair's sweep, which comes first."""
        return self._sweeps.phase(shared)

    def after(self, shared: Shared, stats: Stats) -> Shared:
        """The state after it."""
        return self._sweeps.after(shared, stats)

    def local(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """Rows of the factor that the objective is of, and those of the next one for all to gather."""
        return self._sweeps.local(x, rows, shared)

    def apply(self, shared: Shared, stats: Stats) -> Shared:
        """The next factor and its Gram matrix."""
        return self._sweeps.apply(shared, stats)

    def objective(self, shared: Shared, stats: Stats) -> float:
        """½ ‖A − H Hᵀ‖², for a pair that of ½ ‖A − U Vᵀ‖² + λ/2 ‖U − V‖²; in float64."""
        return self._sweeps.objective(shared, stats)

    def refused(self, shared: Shared, objective: float) -> Shared | None:
        """The state to try next where the rule takes a step back."""
        return self._sweeps.refused(shared, objective)

    def unfitted(self, shared: Shared) -> float:
        """½ ‖A‖²: most graphs are far from low rank, and what H explains of them is a small part."""
        return 0.5 * float(shared["squares"])

    def scale(self, shared: Shared) -> float:
        """‖A‖² and ‖HᵀH‖²: the terms of the objective cancel where the fit is close."""
        return float(shared["squares"]) + float(np.sum(np.square(shared["gram"])))

    # --- fixed H --------------------------------------------------------------------------------------------

    def encode(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """Rows of new nodes from their similarities to those of the fit: nonnegative least squares on the fixed H."""
        del rows
        product = x.dot(shared["f"])
        w = kernels.nnls(shared["gram"], product, whole=x.whole)
        wide = w.astype(np.float64)
        inside = x.squares()
        value = 0.5 * (inside - 2 * float(np.sum(wide * product)) + float(np.sum((wide.T @ wide) * shared["gram"])))
        return {"w": w}, {"value": not_below_zero(value)}

    def factors(self, shared: Shared) -> dict[str, Array]:
        """{"h": (r, n)}."""
        return {"h": shared["f"].T}
