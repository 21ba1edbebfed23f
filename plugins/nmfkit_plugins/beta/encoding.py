"""Rows of W for data at hand, H being fixed: the W half of a sweep, repeated until no row moves."""

from __future__ import annotations

from typing import Any

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.lowrank import LowRank
from nmfkit.pace import Pace
from nmfkit.protocols import Extrapolates, Ingredients, Meeting, Moment, Penalty, Shared, Stats, Term, UpdatesRows

AWAKE = 0.5
"""Settled rows are left out of further work once no more than this part of the rows at work still moves."""


def encoded(parts: Ingredients, x: Block, shared: Shared) -> tuple[Array, float]:
    """Rows (rows, r) fitted to the H of `shared`, and their loss.

    At most `encode.sweeps` updates; a row that has moved by no more than `encode.tol` of its largest entry stays as it
    is, whatever its neighbours still do.
    """
    rule, h = parts.rule, shared["h"]
    whole = w = flat_start(x, h)
    rows, at_work, pace = np.arange(len(w), like=w).astype(np.intp), x, Pace()
    base, gathered, moving = w, None, w[:, :1] >= 0
    for _ in range(shared["encode.sweeps"]):
        new, gathered = _updated(parts, at_work, base, gathered, shared)
        new = np.where(moving, new, w)
        change = np.max(np.abs(new - w), axis=1, keepdims=True)
        base = further(rule, new, w, base, pace.weight)
        w, moving = new, moving & (change > shared["encode.tol"] * np.max(new, axis=1, keepdims=True))
        pace = pace.onward()
        left = int(np.count_nonzero(moving))
        if not left:
            break
        # What is gathered once is gathered for all rows.
        if left <= AWAKE * len(w) and not rule.gathers_once:
            whole[rows] = w
            awake = np.nonzero(moving[:, 0])[0]
            rows, at_work, w, base, moving = rows[awake], at_work.take(awake), w[awake], base[awake], moving[awake]
    whole[rows] = w
    here = Term.of(Meeting(parts.loss, x, LowRank(whole, h)))
    if gathered is None or not rule.gathers_once:
        return whole, here.value()
    # The products at hand give the loss, without forming ŷ.
    return whole, float(rule.constant(parts.loss, x) + rule.value(here, whole, shared["w.prepared"], gathered))


def _updated(parts: Ingredients, x: Block, base: Array, gathered: Stats, shared: Shared) -> tuple[Array, Stats]:
    """The next rows from `base`, and what was gathered for them."""
    loss, rule = parts.loss, parts.rule
    penalty = Penalty(parts.reg_w, shared["w.stats"])
    moment = Moment(shared["floor"], shared["sweep"], whole=x.whole)
    term = Term.of(Meeting(loss, x, LowRank(base, shared["h"]), left=True))
    if isinstance(rule, UpdatesRows):
        return rule.update_rows(base, term, shared["w.prepared"], penalty, moment), None
    gathered = gathered if rule.gathers_once and gathered is not None else rule.gather(term)
    new = rule.update(base, loss, shared["w.prepared"], gathered, penalty, moment)
    return new.astype(base.dtype, copy=False), gathered


def further(rule: Any, new: Array, w: Array, base: Array, weight: float) -> Array:
    """Where the next update of the rows begins: ahead, but for rows that the last start has led astray.

    Exact steps need no help. O'Donoghue & Candès, Foundations of Computational Mathematics 15, 2015: a step that
    goes back on the movement before it says that the way ahead was too long.
    """
    if rule.gathers_once or not (isinstance(rule, Extrapolates) and rule.extrapolate):
        return new
    astray = np.sum((base - new) * (new - w), axis=1, keepdims=True) > 0
    further: Array = np.where(astray, new, rule.ahead(new, w, weight))
    return further


def flat_start(x: Block, h: Array) -> Array:
    """Every component alike, at the scale that gives each row its own sum."""
    ones = np.ones_like(h, shape=(x.shape[1], 1))
    mass = x.dot(ones) / max(float(np.sum(h, dtype=np.float64)), float(np.finfo(h.dtype).tiny))
    w: Array = np.maximum(mass * np.ones_like(h[:, 0]), np.finfo(h.dtype).tiny)
    return w
