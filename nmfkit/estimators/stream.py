"""Incremental fits: batches come one by one, and what they tell about H is kept as one sum of majorisers.

For a batch X_t, its rows W_t are fitted to the present H. The loss of the batch as a function of H then has a majoriser
that touches it at that H: ½ tr(H Qₜ Hᵀ)-like quadratics where the loss is quadratic, and S_p hᵖ / p for the powers p of
the loss's surrogate otherwise. Both refer to no point, so that they add: G ← φ G + G_t, and H is the minimiser of G and
the regularizers, or a step towards it. Neal & Hinton (1998); Cappé & Moulines, J. R. Stat. Soc. B 71(3), 2009; Mairal,
NIPS 2013.

With φ = (t / (t + 1))^k after t batches, batch s weighs (s / t)^k: the sum stands for about t / (k + 1) batches, ever
more of them, and the steps of H shrink as 1 / t, slowly enough to reach a minimum from anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from nmfkit.api import Warner
from nmfkit.arguments import make_problem
from nmfkit.blocks import Array
from nmfkit.check import Resolved, check_data, check_source, resolve
from nmfkit.errors import UsageError
from nmfkit.executors.machine import Machine
from nmfkit.executors.open import executing
from nmfkit.executors.rows import ResidentRows
from nmfkit.loop import Record, State
from nmfkit.probe import survey
from nmfkit.problem import part_text
from nmfkit.protocols import Executor, Parted, Relative, Shared, Source, Stats
from nmfkit.result import Result
from nmfkit.sources.observed import elsewhere, open_observed
from nmfkit.start import Given
from nmfkit.stats import add, times, widen

POWER = 6
"""k: how fast early batches fade where no factor is given."""

FIRST_ROUNDS, ROUNDS = 20, 3
"""How often the rows of the first batch, and of later ones, are fitted and H renewed in turns."""

SWEEPS, TOL = 50, 1e-3
"""Updates of a batch's rows of W at most, and the change of a row below which it needs no more."""

RULE = "online:visits=1"
"""The rule whose majorisers are kept."""

Fields = Callable[[float], dict[str, Any]]
"""The fields of the problem, with regularizers scaled to so many rows."""


@dataclass(frozen=True)
class Stream:
    """Where a stream of batches stands: the sum of what they have told, and the state of the fit after them."""

    steps: int
    total: Stats
    shared: Shared
    encoder: Result
    """A result of no rows: its H is what `transform` needs."""

    @property
    def h(self) -> Array:
        """H (rank, n)."""
        return cast(Array, self.shared["h"])


def advance(
    stream: Stream | None,
    x: Any,
    fields: Fields,
    *,
    h: Array | None = None,
    forget: float | None = None,
    missing: str = "none",
    machine: Machine,
) -> Stream:
    """The stream after one more batch `x` (rows, n); a new one starts from `h`, or from the problem's start.

    Raises `DataError` for what the batch holds, `UsageError` or `Incompatible` where the parts do not fit.
    """
    source = open_observed(x, dtype=None if stream is None else stream.h.dtype.name, missing=missing)
    fading = 0.0 if stream is None else faded(stream.steps, forget)
    before = None if stream is None else times(stream.total, fading)
    rows = source.shape[0] + (0.0 if before is None else before["rows"])
    plain, stepping = (_resolved(fields(rows), rule, source) for rule in ("auto", RULE))
    _refuse_relative(plain)
    check_source(plain, source)
    with executing(source, plain, machine, watcher=Warner()) as executor:
        probe = survey(executor.sweep, source, empty=stream is not None)
        if probe.nonzero:
            check_data(plain, probe, source.dtype)
        shared = _started(plain, executor, probe, h, source) if stream is None else stream.shared
        total: Stats = None
        for _ in range(FIRST_ROUNDS if stream is None else ROUNDS):
            total = _told(plain, stepping, executor, shared)
            total = total if before is None else add(total, before)
            shared = _renewed(stepping, shared, total)
    steps = 1 if stream is None else stream.steps + 1
    return Stream(steps, total, {**shared, "sweep": steps}, _encoder(plain, shared))


def _refuse_relative(plain: Resolved) -> None:
    """Raise `UsageError` for weights that are measured by the loss at the start of a fit: batches have none."""
    problem, parts = plain.problem, plain.ingredients
    named = zip((*problem.reg_w, *problem.reg_h), (*parts.reg_w, *parts.reg_h), strict=True)
    relative = [part_text(text) for text, part in named if isinstance(part, Relative) and part.relative]
    if relative:
        raise UsageError(
            f"the weight of {' and '.join(map(repr, relative))} is measured by the loss at the start of a fit, and "
            "batches have none: give an absolute weight (weight=absolute)"
        )


def faded(steps: int, forget: float | None) -> float:
    """φ: how much what `steps` batches have told counts once one more has come."""
    return (steps / (steps + 1)) ** POWER if forget is None else float(forget)


def _resolved(fields: dict[str, Any], rule: str, source: Source) -> Resolved:
    return resolve(make_problem(**fields, rule=rule), elsewhere=elsewhere(source))


def _started(plain: Resolved, executor: Executor, probe: Any, h: Array | None, source: Source) -> Shared:
    initializer = plain.initializer if h is None else Given(None, h, plain.initializer)
    _, shared = plain.model.start(initializer, executor.sweep, probe, plain.problem.seed, source.dtype)
    return {**shared, "constant": None}


def _told(plain: Resolved, stepping: Resolved, executor: Executor, shared: Shared) -> Stats:
    """What the batch tells about H once its rows of W are fitted to it."""
    rows, _ = executor.sweep(
        plain.model.encode, None, {**_prepared(plain, shared), "encode.sweeps": SWEEPS, "encode.tol": TOL}
    )
    model, state = cast(Parted, stepping.model), _prepared(stepping, shared)
    _, stats = executor.sweep(model.part, rows, state)
    return widen(model.kept(state, stats, None))


def _renewed(stepping: Resolved, shared: Shared, total: Stats) -> Shared:
    """The state with the H that `total` and the regularizers ask for, as if no sweep had gone before."""
    following = cast(Parted, stepping.model).renew({**shared, "rows": total["rows"]}, total, total, ends=False)
    return {**following, "constant": None, "from_residuals": False}


def _prepared(resolved: Resolved, shared: Shared) -> Shared:
    """`shared` with what the rule at hand prepares from H."""
    parts = resolved.ingredients
    return {**shared, "w.prepared": parts.rule.prepare(parts.loss, shared["h"].T)}


def _encoder(plain: Resolved, shared: Shared) -> Result:
    state = _prepared(plain, shared)
    rows = ResidentRows({"w": state["h"].T[:0]})
    at = State(rows, state, state, (Record(state["sweep"], float("nan"), 0.0),))
    return Result(plain.problem, at, (0, state["h"].shape[1]), {})
