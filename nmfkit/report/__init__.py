"""A run as a page to look at, and as single pictures.

| module | what |
|---|---|
| `study` | everything that is shown, gathered once: `layers`, `weights`, `residuals`, `labels`, `reference`, `shapes` |
| `cautions` | what to know first, in plain words |
| `figures` | the pictures that matplotlib draws |
| `cards`, `sections`, `page` | the page |
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Unpack

from nmfkit.errors import UsageError
from nmfkit.executors.machine import Machine, MachineOptions
from nmfkit.loop import Watcher
from nmfkit.parts import suggestion
from nmfkit.report.cautions import cautions
from nmfkit.report.figures.style import drawing, rendered, say_indices
from nmfkit.report.links import levels_told
from nmfkit.report.output import check_file, write_file
from nmfkit.report.study import Components, Study, study
from nmfkit.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nmfkit.clustering import Agreement

__all__ = ["KINDS", "write_picture", "write_report"]

KINDS = ("convergence", "components", "coefficients", "residuals", "similarity", "levels")
"""The single pictures."""
OF_ONE_LEVEL = ("components", "coefficients", "residuals", "similarity")
"""Those that show one level at a time."""


def write_report(
    run: Result | str | os.PathLike[str],
    out: str | os.PathLike[str],
    x: Any = None,
    *,
    labels: Any = None,
    reference: str | None = None,
    image_shape: str | None = None,
    top: int = 8,
    overwrite: bool = False,
    key: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    watcher: Watcher | None = None,
    **machine: Unpack[MachineOptions],
) -> dict[str, Any]:
    """Write the report of `run` to the page `out`, and return what it found, in plain values.

    Residuals come from the data `x`, or from where the run found them. `labels` are an array (m,) or a path, as
    `score` takes them, `reference` is a path, and `image_shape` is "H,W"; `machine` as in `fit`. Raises `UsageError`
    for what does not fit the run, `StoreError` for what cannot be written.
    """
    path = check_file(out, kinds=(".html", ".htm"), overwrite=overwrite)
    from nmfkit.report.page import page

    with drawing():
        found = study(
            run, x, labels=labels, reference=reference, image_shape=image_shape, top=top, key=key,
            storage_options=storage_options, watcher=watcher, machine=Machine.ready(machine),
        )  # fmt: skip
        told = cautions(found)
        if watcher is not None:
            watcher.stage("pictures")
        content = page(found, told).encode()
    write_file(path, content)
    return {"out": str(out), "bytes": len(content), **_in_plain_values(found), "cautions": [vars(c) for c in told]}


def write_picture(
    run: Result | str | os.PathLike[str],
    out: str | os.PathLike[str],
    x: Any = None,
    *,
    kind: str,
    labels: Any = None,
    image_shape: str | None = None,
    top: int = 8,
    level: int | None = None,
    overwrite: bool = False,
    key: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    watcher: Watcher | None = None,
    **machine: Unpack[MachineOptions],
) -> dict[str, Any]:
    """Write one picture of `run` to `out`, a `.png`, `.svg` or `.pdf`; `kind` is one of `KINDS`.

    `level` counts from 1, next to the data: of a model with levels, the one to show. Default: the last one, for
    residuals the first. "levels" shows how all are linked. The rest is as in `write_report`.
    """
    if kind not in KINDS:
        raise UsageError(f"kind {kind!r} is unknown{suggestion(kind, KINDS)}; choose one of {', '.join(KINDS)}")
    if level is not None and kind not in OF_ONE_LEVEL:
        raise UsageError(f"kind {kind!r} shows the whole run, not one level of it; leave the level out")
    path = check_file(out, kinds=(".png", ".svg", ".pdf"), overwrite=overwrite)
    with drawing():
        found = study(
            run, x, labels=labels, image_shape=image_shape, top=top, level=_level(kind, level),
            data=kind == "residuals", key=key, storage_options=storage_options, watcher=watcher,
            machine=Machine.ready(machine),
        )  # fmt: skip
        figure = _drawn(kind)(found)
        if kind in ("coefficients", "similarity"):
            say_indices(figure, found.main.order.tolist())
        content = rendered(figure, path.suffix[1:].lower())
    write_file(path, content)
    return {"out": str(out), "bytes": len(content), "kind": kind}


def _level(kind: str, asked: int | None) -> int | None:
    """The level to look at, −1 for the last, or None for all of them, the first one before others."""
    if kind not in OF_ONE_LEVEL:
        return None
    if asked is not None and asked < 1:
        raise UsageError(f"level {asked} is no level; they count from 1, the one next to the data")
    return asked or (None if kind == "residuals" else -1)


def _drawn(kind: str) -> Callable[[Study], Figure]:
    from nmfkit.report.figures.convergence import convergence
    from nmfkit.report.figures.leftover import leftover
    from nmfkit.report.figures.samples import coefficients
    from nmfkit.report.figures.sheet import components
    from nmfkit.report.figures.similarity import similarity
    from nmfkit.report.figures.tree import levels

    pictures: tuple[Callable[[Study], Figure], ...] = (
        convergence, components, coefficients, leftover, similarity, levels,
    )  # fmt: skip
    return dict(zip(KINDS, pictures, strict=True))[kind]


def _in_plain_values(found: Study) -> dict[str, Any]:
    main = found.main
    values: dict[str, Any] = {
        "components": _listed(main),
        "relative_error": found.residuals.error if found.residuals else None,
    }
    if found.has_levels:
        pairs = zip(levels_told(found), found.components, strict=True)
        values["levels"] = [{**told, "components": _listed(at)} for told, at in pairs]
    for entry, match in zip(values["components"], main.matches, strict=False):
        entry |= {
            "matched": match.name,
            "cosine": match.cosine,
            "most_like": match.nearest,
            "most_like_cosine": match.nearest_cosine,
        }
    if found.labels is not None and main.weights is not None:
        values["labels"] = _measures(main.weights.agreement)
    return values


def _measures(found: Agreement | None) -> dict[str, float] | None:
    if found is None:
        return None
    return {"accuracy": found.accuracy, "nmi": found.nmi, "adjusted_rand": found.ari, "purity": found.purity}


def _listed(found: Components) -> list[dict[str, Any]]:
    """Number shown, index in the run and share of each component."""
    return [
        {"number": i, "index": int(k), "share": float(share)}
        for i, (k, share) in enumerate(zip(found.order, found.shares, strict=True), 1)
    ]
