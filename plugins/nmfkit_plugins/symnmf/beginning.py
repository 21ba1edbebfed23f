"""The state that a symmetric fit begins with."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.executors.rows import ResidentRows
from nmfkit.probe import Probe
from nmfkit.protocols import Initializer, Rows, RowStore, Shared, Stats, Sweep
from nmfkit.start import Given
from nmfkit_plugins.symnmf.matrix import gathered_matrix, survey_panel
from nmfkit_plugins.symnmf.rules import Facts, Prepares


class Sweeps(Protocol):
    """How a rule's sweeps go, with what it begins."""

    @property
    def rule(self) -> Any:
        """The rule."""
        ...

    @property
    def ignored(self) -> bool:
        """Whether the diagonal of A is of no account."""
        ...

    @property
    def keeps_matrix(self) -> bool:
        """Whether A is to be kept in memory."""
        ...

    def begin(self, f: Array, facts: Facts, matrix: Block | None) -> Shared:
        """What of the state is its own."""
        ...


def begun(
    sweeps: Sweeps, initializer: Initializer, sweep: Sweep, probe: Probe, rank: int, seed: int, dtype: Any
) -> tuple[RowStore, Shared]:
    """Rows {"w"} and the state: the factor "f" (n, r), its Gram matrix, what is known of A, and the rule's own part."""
    f = factor_of(initializer, sweep, probe, rank, seed, dtype)
    _, found = sweep(survey_panel, None, {"ignored": sweeps.ignored})
    diagonal, empty = found["diagonal"].whole(), found["empty"].whole()
    f[empty[:, 0] > 0] = 0
    if isinstance(sweeps.rule, Prepares):
        f = np.array(sweeps.rule.prepared(f, sweep, probe, seed), dtype=dtype, order="C")
        f[empty[:, 0] > 0] = 0
    squares = probe.squares - (float(np.sum(np.square(diagonal, dtype=np.float64))) if sweeps.ignored else 0.0)
    f.flags.writeable = False
    facts = Facts(len(f), math.sqrt(max(squares, 0.0)), probe.high, probe.low, top_of(f, sweep), probe.nonzero)
    matrix = gathered_matrix(sweep) if sweeps.keeps_matrix else None
    shared = {
        "f": f,
        "gram": gram_of(f),
        "squares": squares,
        "diagonal": diagonal if sweeps.ignored else None,
        "empty": empty if bool(empty.any()) else None,
        "splits": probe.low < 0,
        "seed": seed,
        **sweeps.begin(f, facts, matrix),
    }
    return ResidentRows({"w": f}), shared


def factor_of(initializer: Initializer, sweep: Sweep, probe: Probe, rank: int, seed: int, dtype: Any) -> Array:
    """H (n, r) of an initializer: the h that it makes, or the w where only that was given."""
    rows, h = initializer.start(sweep, probe, rank, seed, dtype)
    only_w = isinstance(initializer, Given) and initializer.h is None
    return np.array(rows.read(0, probe.shape[0])["w"] if only_w else h.T, dtype=dtype, order="C")


def gram_of(f: Array) -> Array:
    """FᵀF (r, r) in float64."""
    wide = f.astype(np.float64, copy=False)
    gram: Array = wide.T @ wide
    return gram


def not_below_zero(value: float) -> float:
    """The value, or 0 where rounding has left it below; NaN stays what it is, for the fit to end with."""
    return 0.0 if value < 0 else value


def top_of(f: Array, sweep: Sweep) -> float:
    """The largest size of a Rayleigh quotient of A in the span of F; 1 where that is nothing."""
    _, stats = sweep(quotient, None, {"f": f})
    values, vectors = np.linalg.eigh(gram_of(f))
    used = values > values[-1] * 1e-12
    if not bool(used.any()):
        return 1.0
    whitened = vectors[:, used] / np.sqrt(values[used])
    top = float(np.max(np.abs(np.linalg.eigvalsh(whitened.T @ stats["middle"] @ whitened))))
    return top if top > 0 else 1.0


def quotient(x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
    """The step that adds up Fᵀ A F."""
    del rows
    f, m = shared["f"], x.shape[0]
    mine = f[x.first : x.first + m].astype(np.float64, copy=False)
    return {}, {"middle": mine.T @ x.dot(f).astype(np.float64, copy=False)}
