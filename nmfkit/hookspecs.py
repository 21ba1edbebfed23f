"""The doors: one hook for each kind of part, all returning lists of frozen descriptors.

A plugin is a module with some of these functions, marked `@hookimpl`, and an entry point in the group
`nmfkit`. A descriptor names its factory by text, so that listing plugins imports no NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from nmfkit.loop import Record

GROUP = "nmfkit"
"""The entry-point group, and the name of the pluggy project."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)
"""Mark a function of a plugin module as the implementation of the hook it is named for."""


@dataclass(frozen=True)
class PartSpec:
    """One part that a plugin offers.

    `name` is what users type, `summary` one line for lists, `factory` the part's class or function, or
    `"package.module:attribute"` to import it only when used. `preset` fixes some of the factory's parameters
    (`kl` is the β-divergence with β = 1). `examples` are texts of the part as a user would write it (`"l1:0.1"`):
    the contracts run on each, and lists show them; a part that needs no value may leave them out. `preference`
    lets `--rule auto` choose an update rule: the highest one that fits wins, and 0 is never chosen automatically.
    `contract` names the class of the laws that hold the part (`"package.module:Class"`), where it is of a kind of its
    own, as a rule for one model only; its `make` returns the part's text.
    """

    name: str
    summary: str
    factory: str | Callable[..., Any]
    preset: Mapping[str, Any] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    preference: int = 0
    contract: str = ""


@dataclass(frozen=True)
class ReaderSpec:
    """A way to open one kind of file as a matrix.

    `suffixes` (`".mtx"`) and `schemes` (`"sample:"`) say which paths it opens, `holds` (`"matrix.mtx"`) which folders:
    those in which a file of such a name lies. Whatever its name, a path that begins with the reader's (`NAME:PATH`) is
    opened by it. `factory` is a function `(path, *, key=None) -> Source`, or its `"package.module:attribute"`; its
    further parameters are options that users write before the colon.
    """

    name: str
    summary: str
    factory: str | Callable[..., Any]
    suffixes: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    preset: Mapping[str, Any] = field(default_factory=dict)
    holds: tuple[str, ...] = ()


@dataclass(frozen=True)
class FitDescription:
    """A fit as those who listen hear of it; nothing in it can be changed.

    `fit` is its own mark, different for every fit. `out` is the run that it writes, None in memory. `problem` holds
    every field of `Problem` as text, with the rule that `auto` has chosen; `source` and `shape` (m, n) are those of
    the data. `resumed_from` is the sweep that it goes on from, None for a new one; `started` seconds since 1970.
    """

    fit: str
    out: str | None
    problem: Mapping[str, Any]
    source: str
    shape: tuple[int, int]
    resumed_from: int | None
    started: float


@dataclass(frozen=True)
class FitEnd:
    """How a fit has ended.

    `status` is "done", "interrupted" or "failed". `stopped_by` says what ended one that is done: "converged",
    "max-sweeps" or "time-limit"; `error` what went wrong with any other. `record` is the last row of its history, None
    before the first sweep; `seconds` is its time, reading and writing included.
    """

    status: str
    stopped_by: str | None
    record: Record | None
    seconds: float
    error: str | None = None


class Hooks:
    """Every hook that nmfkit calls; the method names are the functions a plugin module defines."""

    @hookspec
    def nmfkit_losses(self) -> list[PartSpec]:  # type: ignore[empty-body] # a specification has no body
        """Return losses, e.g. `[PartSpec("huber", "robust to outliers", "my_pkg.huber:Huber")]`."""

    @hookspec
    def nmfkit_regularizers(self) -> list[PartSpec]:  # type: ignore[empty-body] # a specification has no body
        """Return regularizers, e.g. `[PartSpec("l1", "sum of the entries", "my_pkg.norms:L1")]`."""

    @hookspec
    def nmfkit_update_rules(self) -> list[PartSpec]:  # type: ignore[empty-body] # a specification has no body
        """Return update rules, e.g. `[PartSpec("bpp", "block pivoting", "my_pkg.bpp:BPP", preference=5)]`."""

    @hookspec
    def nmfkit_models(self) -> list[PartSpec]:  # type: ignore[empty-body] # a specification has no body
        """Return models, e.g. `[PartSpec("convex", "H spans convex combinations", "my_pkg.convex:Convex")]`."""

    @hookspec
    def nmfkit_initializers(self) -> list[PartSpec]:  # type: ignore[empty-body] # a specification has no body
        """Return starting points, e.g. `[PartSpec("spa", "successive projections", "my_pkg.spa:SPA")]`."""

    @hookspec
    def nmfkit_readers(self) -> list[ReaderSpec]:  # type: ignore[empty-body] # a specification has no body
        """Return readers, e.g. `[ReaderSpec("loom", "loom files", "my_pkg.loom:read", suffixes=(".loom",))]`."""

    @hookspec
    def nmfkit_fit_started(self, fit: FitDescription) -> None:
        """Hear that a fit begins, before it looks at the data."""

    @hookspec
    def nmfkit_sweep_done(self, fit: FitDescription, record: Record) -> None:
        """Hear of a sweep: `record` has its `sweep`, `objective` and `seconds`."""

    @hookspec
    def nmfkit_checkpoint(self, fit: FitDescription, sweep: int) -> None:
        """Hear that `sweep` is kept in the run at `fit.out`."""

    @hookspec
    def nmfkit_fit_finished(self, fit: FitDescription, end: FitEnd) -> None:
        """Hear how the fit has ended: done, interrupted or failed."""


KINDS: dict[str, str] = {
    "loss": "nmfkit_losses",
    "regularizer": "nmfkit_regularizers",
    "rule": "nmfkit_update_rules",
    "model": "nmfkit_models",
    "initializer": "nmfkit_initializers",
    "reader": "nmfkit_readers",
}
"""Each kind of part and the hook that collects it."""

LIFECYCLE = ("nmfkit_fit_started", "nmfkit_sweep_done", "nmfkit_checkpoint", "nmfkit_fit_finished")
"""The hooks that hear of a fit, and cannot change it."""
