"""The doors: one hook for each kind of part, all returning lists of frozen descriptors.

A plugin is a module with some of these functions, marked `@hookimpl`, and an entry point in the group
`nmfkit`. A descriptor names its factory by text, so that listing plugins imports no NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pluggy

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
    """

    name: str
    summary: str
    factory: str | Callable[..., Any]
    preset: Mapping[str, Any] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    preference: int = 0


@dataclass(frozen=True)
class ReaderSpec:
    """A way to open one kind of file as a matrix.

    `suffixes` (`".mtx"`) and `schemes` (`"sample:"`) say which paths it opens; `factory` is a function
    `(path, *, key=None) -> Source`, or its `"package.module:attribute"`.
    """

    name: str
    summary: str
    factory: str | Callable[..., Any]
    suffixes: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    preset: Mapping[str, Any] = field(default_factory=dict)


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


KINDS: dict[str, str] = {
    "loss": "nmfkit_losses",
    "regularizer": "nmfkit_regularizers",
    "rule": "nmfkit_update_rules",
    "model": "nmfkit_models",
    "initializer": "nmfkit_initializers",
    "reader": "nmfkit_readers",
}
"""Each kind of part and the hook that collects it."""
