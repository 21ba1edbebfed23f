"""What `nmfkit inspect` shows of a run, and of the output of transform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.cli.options import Output
from nmfkit.cli.summary import parts, why
from nmfkit.cli.text import duration, emit, facts, number, shape_text, shell, table
from nmfkit.probe import Expected
from nmfkit.protocols import HasLevels
from nmfkit.result import Result, load
from nmfkit.sources.observed import observed_text


def show_run(path: str, top: int, options: Mapping[str, Any] | None, output: Output) -> None:
    """Print a run."""
    result = load(path, storage_options=options)
    what = "row" if Expected.by(result.model).symmetric else "column"
    features = {name: top_features(f, result.column_names, top, what) for name, f in over_features(result).items()}
    if output.json:
        emit(_as_json(path, result, features))
    elif not output.quiet:
        print(_in_words(path, result, features))


def over_features(result: Result) -> dict[str, Array]:
    """The components of each level, or the shared factors with as many columns as H."""
    if isinstance(result.model, HasLevels):
        return {" ".join(level.level.components): level.components for level in result.levels}
    factors = result.model.factors(result.state.current)
    return {name: f for name, f in factors.items() if f.ndim == 2 and f.shape[1] == result.width}


def top_features(
    h: Array, names: Sequence[str] | None, top: int, what: str = "column"
) -> list[list[tuple[str, float]]]:
    """For each row of `h` (r, n), the names and weights of its `top` entries of largest size, the largest first.

    Without names each is a `what` with its number.
    """
    found = []
    for row in h:
        order = np.argsort(-np.abs(row), kind="stable")[:top]
        found.append([(names[j] if names else f"{what} {j}", float(row[j])) for j in order if row[j]])
    return found


def _as_json(path: str, result: Result, features: dict[str, Any]) -> dict[str, Any]:
    attributes = result.attributes
    return {
        "kind": "run",
        "path": path,
        "status": result.status,
        "stopped_by": result.stopped_by,
        "objective": result.objective,
        "sweeps": result.state.sweep,
        "shape": result.shape,
        **({"factorized": [result.shape[0], result.width]} if result.is_viewed else {}),
        "problem": result.problem.as_json(),
        "source": attributes["source"],
        "versions": attributes["versions"],
        "timings": attributes.get("timings"),
        "components": {
            name: [[{"feature": n, "weight": w} for n, w in row] for row in rows] for name, rows in features.items()
        },
        **({"levels": told} if (told := _levels(result)) else {}),
    }


def _levels(result: Result) -> list[dict[str, Any]]:
    """Of each level the factors that make it, and the losses of its layer; nothing of a model without levels."""
    model, current = result.model, result.state.current
    if not isinstance(model, HasLevels):
        return []
    shapes = {name: list(f.shape) for name, f in model.factors(current).items()}
    shapes |= {name: [result.shape[0], f.shape[1]] for name, f in result.state.rows.read(0, 1).items()}
    losses = zip(model.levels(current), *model.layer_losses(result.state.following), strict=True)
    return [
        {
            "level": number,
            "rank": shapes[level.components[0]][0],
            "factors": {name: shapes[name] for name in (level.row, *level.chain, *level.components)},
            "layer_loss": end,
            "layer_loss_at_start": start,
            "weight": weight,
        }
        for number, (level, start, end, weight) in enumerate(losses, 1)
    ]


def _in_words(path: str, result: Result, features: dict[str, Any]) -> str:
    attributes, last = result.attributes, result.state.history[-1]
    versions = attributes["versions"]
    status = why(result) if result.stopped_by else f"interrupted; continue with: {shell('nmfkit', 'resume', path)}"
    lines = [
        ("source", f"{attributes['source']['uri']}, {shape_text(result.shape)} {attributes['source']['dtype']}"),
        *([("known", observed_text(known))] if (known := attributes["source"].get("observed")) else []),
        *_factorized(result),
        ("problem", parts(result)),
        ("objective", number(result.objective)),
        ("sweeps", f"{last.sweep}, {status}"),
        ("time", duration(last.seconds)),
        ("made with", ", ".join(f"{name} {version}" for name, version in versions.items())),
    ]
    blocks = [path, facts(lines, "  ")]
    if levels := _levels(result):
        head = ("level", "components", "factors", "layer's loss", "at the start", "weight")
        blocks.append(table([head, *map(_of_level, levels)]))
    for name, rows in features.items():
        if any(rows):
            listed = table((str(k), ", ".join(map(_signed, row)) or "(all zero)") for k, row in enumerate(rows))
            blocks.append(f"Largest entries of each row of {name.upper()}\n{listed}")
    return "\n\n".join(blocks)


def _factorized(result: Result) -> list[tuple[str, str]]:
    """What is factorized, where that is not the matrix itself."""
    shape = shape_text((result.shape[0], result.width))
    return [("factorized", f"{shape}, made of the source by the model")] if result.is_viewed else []


def _signed(entry: tuple[str, float]) -> str:
    """The name of an entry, after a minus where it is below 0."""
    return f"−{entry[0]}" if entry[1] < 0 else entry[0]


def _of_level(told: Mapping[str, Any]) -> list[str]:
    factors = " · ".join(f"{name} ({shape_text(shape)})" for name, shape in told["factors"].items())
    losses = (number(told[name]) for name in ("layer_loss", "layer_loss_at_start", "weight"))
    return [str(told["level"]), str(told["rank"]), factors, *losses]


def show_transformed(path: str, attributes: dict[str, Any], output: Output) -> None:
    """Print what transform wrote."""
    import zarr

    group: Any = zarr.open_group(path, mode="r")
    shapes = {name: list(group[name].shape) for name in attributes.get("factors", ["w"]) if name in group}
    only = {"shape": next(iter(shapes.values()), None)} if len(shapes) < 2 else {}
    made = {
        "kind": "transformed",
        "path": path,
        "status": attributes.get("status"),
        **only,
        "factors": {name: {"shape": shape} for name, shape in shapes.items()},
        "run": attributes["transform_of"],
        "source": attributes["source"],
        "versions": attributes["versions"],
    }
    if output.json:
        emit(made)
    elif not output.quiet:
        lines = [
            *([(name, shape_text(shape)) for name, shape in shapes.items()] or [("w", "missing")]),
            ("status", "complete" if made["status"] == "done" else "not complete: transform was interrupted"),
            ("run", str(made["run"])),
            ("source", str(attributes["source"]["uri"])),
        ]
        print(f"{path}\n\n{facts(lines, '  ')}")
