"""Sweeps of a pair with steps from a sample of the rows between those from all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.pace import rose
from nmfkit.protocols import Pass, Rows, Shared, Stats
from nmfkit_plugins.symnmf.beginning import gram_of
from nmfkit_plugins.symnmf.leverage import Sample, hybrid_sample, leverage_scores
from nmfkit_plugins.symnmf.pair import SymHALS, held_together
from nmfkit_plugins.symnmf.rules import Facts
from nmfkit_plugins.symnmf.two_factors import TwoFactors
from nmfkit_plugins.symnmf.worth import worth_it

PAYS, FILLED = 1000, 0.1
"""Entries that rows hold on average, or the fraction of all entries, from which on samples save time."""
GROWTH, MOST = 2.0, 0.5
"""How a sample grows where its steps have raised the objective, and the fraction of the rows that is too many."""


@dataclass(frozen=True)
class LvS(SymHALS):
    """LvS-SymNMF (Hayashi, Aksoy, Ballard & Park, SIAM J. Matrix Anal. Appl. 46(1), 2025): `symhals` from sampled rows.

    A sweep is `pairs` sweeps of both factors from a `sample` of the rows of A, a fraction of n drawn by leverage, and
    then an exact one, whose objective is the record. One that ends higher than the sweep before is undone, and the
    sample doubles; when it would be half of all rows, sweeps are exact from there on. So the fit ends where `symhals`
    may. It is for matrices that are dense or nearly so: where rows hold fewer than 1,000 entries and less than a tenth
    of all, every sweep is plain `symhals`, with a `Caution`, unless `always` is set.
    """

    sample: float = 0.2
    pairs: int = 2
    always: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.sample <= 1 or self.pairs < 1:
            raise ValueError(
                f"sample must be above 0 and at most 1, and pairs at least 1, not {self.sample} and {self.pairs}"
            )

    def sweeps(self, ignored: bool) -> FromSamples:
        """Its sweeps; the diagonal of A is of no account if `ignored`."""
        return FromSamples(ignored, self)

    def size(self, facts: Facts, rank: int) -> int:
        """Rows to begin with; 0 where samples do not pay."""
        least = min(PAYS, FILLED * facts.n)
        if not self.always and not worth_it("lvs", facts.entries, facts.n, least):
            return 0
        return min(facts.n, max(round(self.sample * facts.n), 2 * rank))


@dataclass(frozen=True)
class FromSamples(TwoFactors):
    """By a rule that moves one factor of a pair, first from a sample and then from all rows.

    The state holds both factors: "f" is V, and "other" U. A sweep that only reads what has been sampled takes the rows
    of A for its columns, which they are by symmetry: Σ A[rows]ᵀ (weights · V[rows]) over the panels.
    """

    rule: LvS

    @property
    def reads(self) -> int:  # type: ignore[override]  # a constant of other pairs
        """Products with A a sweep, those from samples as well."""
        return 2 + 2 * self.rule.pairs

    def begin(self, f: Array, facts: Facts, matrix: Block | None) -> Shared:
        """λ, both factors, and the size of the sample."""
        size = self.rule.size(facts, f.shape[1])
        return {**super().begin(f, facts, matrix), "other": f, "size": size, "draws": 0, "taken": 0, "last": None}

    def phase(self, shared: Shared) -> Pass | None:
        """The next step from a sample, or the exact one for U; samples wait for the first objective."""
        if not self._samples(shared):
            return super().phase(shared)
        sample, fixed = drawn_for(shared)
        return Pass(sampled_product, {"rows": sample.rows, "weighted": sample.weighted(fixed)}, True)

    def _samples(self, shared: Shared) -> bool:
        due = shared["taken"] < 2 * self.rule.pairs
        return due and shared["size"] > 0 and shared["last"] is not None and "u" not in shared

    def after(self, shared: Shared, stats: Stats) -> Shared:
        """The state with the factor that the step has moved."""
        if not self._samples(shared):
            return super().after(shared, stats)
        moved = "f" if shared["taken"] % 2 else "other"
        new = self._from_sample(shared[moved], stats["product"], shared)
        gram = gram_of(new) if moved == "f" else shared["gram"]
        return {**shared, moved: new, "gram": gram, "taken": shared["taken"] + 1}

    def _from_sample(self, f: Array, product: Array, shared: Shared) -> Array:
        """A factor after a step from the product of the sampled rows."""
        sample, other = drawn_for(shared)
        if self.ignored:
            product[sample.rows] -= shared["diagonal"][sample.rows] * sample.weighted(other)
            product += np.sum(f * other, axis=1, keepdims=True) * other
        q, c = held_together(sample.gram(other), product.astype(f.dtype), other, shared["lam"])
        return self.rule.update(f, q, c).astype(f.dtype, copy=False)

    def first_half(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """As of any pair, from the rows of U as samples have left them."""
        del rows
        return super().first_half(x, {"w": shared["other"][x.first : x.first + x.shape[0]]}, shared)

    def apply(self, shared: Shared, stats: Stats) -> Shared:
        """The next pair, and what its objective is to be compared with."""
        begun = {"other": shared["u"], "taken": 0, "draws": shared["draws"] + 1}
        return {**super().apply(shared, stats), **begun, "last": self.objective(shared, stats)}

    def refused(self, shared: Shared, objective: float) -> Shared | None:
        """The state before the sweep with a larger sample, where the objective has risen."""
        if shared["size"] == 0 or shared["last"] is None:
            return None
        if not rose(objective, shared["last"], float(shared["squares"]), float(np.finfo(shared["f"].dtype).eps)):
            return None
        size = int(GROWTH * shared["size"])
        return {**shared, "draws": shared["draws"] + 1, "size": size if size < MOST * len(shared["f"]) else 0}


def drawn_for(shared: Shared) -> tuple[Sample, Array]:
    """The sample of a step, and the factor that it is of: the one that the step does not move."""
    fixed = shared["other"] if shared["taken"] % 2 else shared["f"]
    start = float(np.random.default_rng([shared["seed"], 5, shared["draws"], shared["taken"]]).random())
    return hybrid_sample(leverage_scores(fixed), shared["size"], start), fixed


def sampled_product(x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
    """What the sampled rows among those of the block add to A[:, rows] times `weighted`."""
    del rows
    numbers = shared["rows"]
    here = (numbers >= x.first) & (numbers < x.first + x.shape[0])
    return {}, {"product": x.take(numbers[here] - x.first).tdot(shared["weighted"][here])}
