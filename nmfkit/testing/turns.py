"""Every function of a model that an executor calls, on one block: for a law to compare two places."""

from __future__ import annotations

from typing import Any

from nmfkit.blocks import Block
from nmfkit.loop import APART, is_closing, is_guarded, is_parted
from nmfkit.protocols import HasView, Parted, Rows, Shared
from nmfkit.stats import widen

ENCODE = {"encode.sweeps": 3, "encode.tol": 0.0}


def turns(model: Any, x: Block, rows: Rows, shared: Shared, passed: tuple[Rows, Shared]) -> dict[str, Any]:
    """What they give, by their names: of the state between two sweeps, and of what passes have `passed` on."""
    found = _sweep(model, x, shared, passed)
    if is_parted(model):
        found |= _turn(model, x, rows, shared)
    elif is_closing(model):
        found |= _closing(model, x, rows, model.closing_state(shared))
    if isinstance(model, HasView):
        y = model.view(x, shared)
        found["view"] = y.dense()
    coded, _ = model.encode(x, {}, {**shared, **ENCODE})
    return {**found, "encode": coded, "factors": model.factors(shared)}


def _sweep(model: Any, x: Block, shared: Shared, passed: tuple[Rows, Shared]) -> dict[str, Any]:
    new, stats = model.local(x, *passed)
    stats, state = widen(stats), passed[1]
    objective = float(model.objective(state, stats))
    found = {"local": new, "objective": objective, "apply": model.apply(state, stats)}
    if is_guarded(model):
        # Clearly on either side: on the edge, rounding decides.
        found["refused"] = [model.refused(shared, objective + more * (1 + abs(objective))) for more in (-1, 1)]
    return found


def _turn(model: Parted, x: Block, rows: Rows, shared: Shared) -> dict[str, Any]:
    """The turn of a group that is all rows, and what follows from it."""
    state = {name: value for name, value in shared.items() if name not in APART}
    new, stats = model.part(x, rows, state)
    left = widen(model.kept(state, widen(stats), shared["kept"][0] if "kept" in shared else None))
    bound = float(model.bound(state, left))
    renewed = model.renew(state, left, left, ends=True)
    return {
        "part": new,
        "bound": bound,
        "overshot": float(model.overshot(state, bound)),
        "renew": renewed,
        "retrace": model.retrace(renewed),
        "regrouped": model.regrouped(renewed),
        **_closing(model, x, rows, renewed),
    }


def _closing(model: Any, x: Block, rows: Rows, state: Shared) -> dict[str, Any]:
    new, stats = model.closing(x, rows, state)
    return {"closing": new, "closing objective": float(model.objective(state, widen(stats)))}
