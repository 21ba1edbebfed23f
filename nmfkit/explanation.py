"""What a fit would do, in numbers and in words, without doing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from nmfkit.arguments import make_problem
from nmfkit.array_rows import is_result
from nmfkit.check import Resolved, cautions, check_source, resolve, resolve_for
from nmfkit.executors.machine import Machine, MachineOptions
from nmfkit.executors.open import local_plan
from nmfkit.executors.plan import Plan, size_text
from nmfkit.pilot import pilot_rows
from nmfkit.problem import Problem, part_text
from nmfkit.protocols import Gathers, HasLevels, Source, SweepsToStart, Tells
from nmfkit.sketch import Sketches
from nmfkit.sources.observed import describe_observed, observed_text, open_observed

if TYPE_CHECKING:
    from nmfkit.executors.forecast import Forecast
    from nmfkit.executors.transfer import Transfer


def explain(
    x: Any,
    *,
    key: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    mask: Any = None,
    weights: Any = None,
    missing: str = "none",
    problem: Problem | None = None,
    **fields: Any,
) -> Explanation:
    """What `fit` would do with the same arguments: parts and their origins, blocks, bytes, memory.

    It runs nothing, but where workers are to do it: these are asked whether they can, and sweep over a few blocks, from
    which the time of a sweep follows. A GPU need not be there: what it would take is computed, also for local workers
    with one each, which are not started.
    """
    out = fields.pop("out", None)
    for name in ("w", "h", "overwrite", "checkpoint_every", "watcher"):
        fields.pop(name, None)
    options = {name: fields.pop(name) for name in MachineOptions.__annotations__ if name in fields}
    place = Machine.of(options)  # type: ignore[arg-type]
    problem = problem or make_problem(**fields)
    resolved = resolve(problem)
    source = open_observed(
        x, key=key, dtype=problem.dtype, storage_options=storage_options, mask=mask, weights=weights, missing=missing
    )
    resolved = resolve_for(source, problem, resolved)
    check_source(resolved, source)
    notes = tuple(cautions(resolved, source.shape))
    if place.is_here or (place.on_gpu and place.workers):
        plan, transfer = _foreseen(source, resolved, place)
        first = pilot_rows(resolved, source, plan)
        return Explanation(resolved, describe_source(source), plan, notes, pilot_rows=first, transfer=transfer)
    from nmfkit.executors.forecast import forecasting
    from nmfkit.executors.transfer import Transfer

    with forecasting(source, resolved, place, out, storage_options) as (plan, crew, found):
        first = pilot_rows(resolved, source, plan)
        transfer = Transfer.of(plan, place)
        return Explanation(resolved, describe_source(source), plan, notes, crew, found, first, transfer)


def _foreseen(source: Source, resolved: Resolved, place: Machine) -> tuple[Plan, Transfer | None]:
    """The plan of this process or of one local worker, and what it takes of a GPU."""
    if not place.on_gpu:
        return local_plan(source, resolved, place), None
    from nmfkit.executors.transfer import Transfer, foreseen

    plan = foreseen(source, resolved, place)
    return plan, Transfer.of(plan, place)


@dataclass(frozen=True)
class Explanation:
    """Parts and where each is from, the source, the layout, the work of a sweep, and cautions; `str` is for people."""

    resolved: Resolved
    source: dict[str, Any]
    plan: Plan
    cautions: tuple[str, ...]
    crew: str | None = None
    forecast: Forecast | None = None
    pilot_rows: int = 0
    transfer: Transfer | None = None

    @property
    def operations_per_sweep(self) -> float:
        """Multiplications and additions of the products with X and ŷ in one sweep, of every layer.

        Of a model that counts them itself (`Tells`), all that it does.
        """
        m, n = self.source["shape"]
        ranks, model = self.resolved.problem.ranks, self.resolved.model
        if isinstance(model, Tells):
            return float(model.operations((m, n), self.source["nnz"]))
        entries = self.source["nnz"] if self.source["nnz"] is not None and not model.forms_product else m * n
        inner = 0
        if isinstance(model, HasLevels):
            # Only the first layer sees X; the others factorize the rows' factor of the one before, or the features'.
            side = n if sum(map(is_result, model.row_factors)) == 1 else m
            ranks, inner = ranks[:1], side * sum(above * below for above, below in pairwise(ranks))
        # Two products of X's size, and as many again for ŷ where it is evaluated, for each factor.
        return (float(entries) * sum(ranks) + inner) * (8 if model.elementwise else 4)

    @property
    def gathered_bytes(self) -> int:
        """Bytes of the rows of a factor that the model brings together in one place, 0 where it never does."""
        model, s = self.resolved.model, self.source
        if not isinstance(model, Gathers):
            return 0
        return int(s["shape"][0] * max(self.resolved.problem.ranks) * np.dtype(s["dtype"]).itemsize)

    @property
    def start_sweeps(self) -> int:
        """The most sweeps over X that the model's start takes, beside those of the initializer."""
        model = self.resolved.model
        return model.start_sweeps if isinstance(model, SweepsToStart) else 0

    @property
    def told(self) -> dict[str, str]:
        """What a fit is made of beside its parts, in the words of the model."""
        model, (m, n) = self.resolved.model, self.source["shape"]
        return dict(model.told((m, n))) if isinstance(model, Tells) else {}

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        problem = self.resolved.problem
        return {
            "problem": problem.to_dict(),
            "parts": dict(self.resolved.origins),
            "source": self.source,
            "plan": self.plan.describe(),
            "operations_per_sweep": self.operations_per_sweep,
            "cautions": list(self.cautions),
            "crew": self.crew,
            "pilot_rows": self.pilot_rows,
            "start_sweeps": self.start_sweeps,
            "told": self.told,
            "gathered_bytes": self.gathered_bytes,
            "forecast": None if self.forecast is None else self.forecast.as_dict(),
            "gpu": None if self.transfer is None else self.transfer.as_dict(),
        }

    def __str__(self) -> str:
        return "\n".join([*self._parts(), "", *self._data(), "", *self._layout(), *self._notes()])

    def _parts(self) -> list[str]:
        problem, origins = self.resolved.problem, self.resolved.origins
        lines = ["Parts"]
        for role, text in (
            ("model", problem.model),
            ("loss", problem.loss),
            ("rule", problem.rule),
            ("init", problem.init),
        ):
            if role in origins:
                lines.append(f"  {role:<12}{part_text(text):<24}from {origins[role]}")
        for role, texts in (("reg-w", problem.reg_w), ("reg-h", problem.reg_h)):
            lines += [f"  {role:<12}{part_text(t):<24}from {origins[role]}" for t in texts]
        label = "rank" if len(problem.ranks) == 1 else "ranks"
        lines.append(f"  {label:<12}{', '.join(map(str, problem.ranks))}")
        lines += [f"  {name:<12}{text}" for name, text in self.told.items()]
        if self.pilot_rows:
            lines.append(f"  {'pilot':<12}about {self.pilot_rows:,} rows first, whose H gives all of them their start")
        if self.start_sweeps:
            often = "one sweep" if self.start_sweeps == 1 else f"{self.start_sweeps:,} sweeps"
            comes = "comes" if self.start_sweeps == 1 else "come"
            lines.append(f"  {'start':<12}at most {often} over X of the model's own {comes} first")
        rule = self.resolved.ingredients.rule
        if isinstance(rule, Sketches):
            wanted = rule.sketching(max(problem.ranks))
            lines.append(
                f"  {'sketch':<12}{wanted.width} columns from {wanted.power + 1} reads, whose fit gives the start"
            )
        return lines

    def _data(self) -> list[str]:
        s = self.source
        kind = f"sparse, {s['nnz']:,} stored entries" if s["sparse"] else "dense"
        m, n = s["shape"]
        return [
            "Data",
            f"  {s['uri']}: {m:,} × {n:,} {s['dtype']}, {kind}, {size_text(self.plan.source_bytes)}",
            *([f"  known       {observed_text(s['observed'])}"] if "observed" in s else []),
        ]

    def _layout(self) -> list[str]:
        p = self.plan
        reads = (
            "none (X is in memory)"
            if p.resident
            else f"{size_text(p.bytes_per_sweep)}{_times(p.reads)} (cache {size_text(p.cache_bytes)})"
        )
        tile = f"tiles of {p.tile_rows:,} rows" if p.tile_rows else "whole blocks"
        groups = f" in {len(p.groups)} groups" if len(p.groups) > 1 else ""
        where = "in the run" if p.workers else "in memory" if p.rows_resident else "in scratch files"
        threads = (f"{_count(p.workers, 'worker')} of " if p.workers else "") + _count(p.threads, "thread")
        each = " for each worker" if p.workers else ""
        return [
            "Layout",
            *([] if self.crew is None else [f"  on {self.crew}"]),
            f"  {_count(len(p.bounds), 'block')} of at most {size_text(p.block_bytes)}, {tile}, "
            f"{_count(len(p.shards), 'shard')}{groups} on {threads}",
            f"  read per sweep   {reads}",
            *self._pool(),
            f"  work per sweep   {_scaled(self.operations_per_sweep)} operations",
            f"  memory           budget {size_text(p.memory)}{each}: shared factors and statistics "
            f"{size_text(p.shared_bytes)}, W {size_text(p.rows_bytes)} {where}",
            *([] if self.transfer is None else self.transfer.lines()),
            *self._gathered(),
            *([] if self.forecast is None else self.forecast.lines()),
        ]

    def _pool(self) -> list[str]:
        """How rows are shuffled where X does not fit the memory."""
        blocks = self.plan.layout.pool
        if not 0 < blocks < len(self.plan.bounds):
            return []
        return [f"  shuffled         blocks, then the rows of {blocks} of them at a time"]

    def _gathered(self) -> list[str]:
        """The bound of what is brought together, where a model needs all rows of a factor."""
        model, m = self.resolved.model, self.source["shape"][0]
        if not isinstance(model, Gathers):
            return []
        often = f", {model.gathers} times a sweep" if model.gathers > 1 else " a sweep"
        width, size = max(self.resolved.problem.ranks), size_text(self.gathered_bytes)
        return [f"  gathered         all rows of a factor, {m:,} × {width}: {size}{often}"]

    def _notes(self) -> list[str]:
        notes = list(self.cautions)
        if self.source["sparse"] and self.resolved.model.forms_product:
            m, n = self.source["shape"]
            factor = m * n / max(1, self.source["nnz"])
            problem, loss = self.resolved.problem, self.resolved.ingredients.loss
            one = f"model {part_text(problem.model)!r}" if loss is None else f"loss {part_text(problem.loss)!r}"
            many = f"about {factor:,.0f} times " + ("as many" if loss is None else "the work of kl on this matrix")
            notes.append(f"{one} needs every entry of WH, not only where X stores one: {many}")
        return ["", "Notes", *(f"  - {n}" for n in notes)] if notes else []


def _scaled(number: float) -> str:
    for power, word in ((12, "trillion"), (9, "billion"), (6, "million"), (3, "thousand")):
        if number >= 10**power:
            return f"{number / 10**power:.3g} {word}"
    return f"{number:.0f}"


def _times(reads: int) -> str:
    return f", {reads} times X" if reads > 1 else ""


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def describe_source(source: Source) -> dict[str, Any]:
    """Shape, dtype and kind of a source, in plain values."""
    known = describe_observed(source)
    return {
        **({} if known is None else {"observed": known}),
        "uri": source.uri,
        "shape": list(source.shape),
        "dtype": np.dtype(source.dtype).name,
        "sparse": source.is_sparse,
        "nnz": source.nnz,
    }
