"""What `nmfkit inspect` shows of a run, and of the output of transform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.cli.options import Output
from nmfkit.cli.summary import parts, why
from nmfkit.cli.text import duration, emit, facts, number, shape_text, shell, table
from nmfkit.result import Result, load
from nmfkit.sources.observed import observed_text


def show_run(path: str, top: int, options: Mapping[str, Any] | None, output: Output) -> None:
    """Print a run."""
    result = load(path, storage_options=options)
    factors = result.model.factors(result.state.current)
    wide = {name: f for name, f in factors.items() if f.ndim == 2 and f.shape[1] == result.shape[1]}
    features = {name: top_features(f, result.feature_names, top) for name, f in wide.items()}
    if output.json:
        emit(_as_json(path, result, features))
    elif not output.quiet:
        print(_in_words(path, result, features))


def top_features(h: Array, names: Sequence[str] | None, top: int) -> list[list[tuple[str, float]]]:
    """For each row of `h` (r, n), the names and weights of its `top` largest entries, the largest first."""
    found = []
    for row in h:
        order = np.argsort(-row, kind="stable")[:top]
        found.append([(names[j] if names else f"column {j}", float(row[j])) for j in order if row[j] > 0])
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
        "problem": result.problem.as_json(),
        "source": attributes["source"],
        "versions": attributes["versions"],
        "timings": attributes.get("timings"),
        "components": {
            name: [[{"feature": n, "weight": w} for n, w in row] for row in rows] for name, rows in features.items()
        },
    }


def _in_words(path: str, result: Result, features: dict[str, Any]) -> str:
    attributes, last = result.attributes, result.state.history[-1]
    versions = attributes["versions"]
    status = why(result) if result.stopped_by else f"interrupted; continue with: {shell('nmfkit', 'resume', path)}"
    lines = [
        ("source", f"{attributes['source']['uri']}, {shape_text(result.shape)} {attributes['source']['dtype']}"),
        *([("known", observed_text(known))] if (known := attributes["source"].get("observed")) else []),
        ("problem", parts(result)),
        ("objective", number(result.objective)),
        ("sweeps", f"{last.sweep}, {status}"),
        ("time", duration(last.seconds)),
        ("made with", ", ".join(f"{name} {version}" for name, version in versions.items())),
    ]
    blocks = [path, facts(lines, "  ")]
    for name, rows in features.items():
        if any(rows):
            listed = table((str(k), ", ".join(n for n, _ in row) or "(all zero)") for k, row in enumerate(rows))
            blocks.append(f"Largest entries of each row of {name.upper()}\n{listed}")
    return "\n\n".join(blocks)


def show_transformed(path: str, attributes: dict[str, Any], output: Output) -> None:
    """Print what transform wrote."""
    import zarr

    w: Any = zarr.open_group(path, mode="r").get("w")
    shape = list(w.shape) if w is not None else None
    made = {
        "kind": "transformed",
        "path": path,
        "status": attributes.get("status"),
        "shape": shape,
        "run": attributes["transform_of"],
        "source": attributes["source"],
        "versions": attributes["versions"],
    }
    if output.json:
        emit(made)
    elif not output.quiet:
        lines = [
            ("w", shape_text(shape) if shape else "missing"),
            ("status", "complete" if made["status"] == "done" else "not complete: transform was interrupted"),
            ("run", str(made["run"])),
            ("source", str(attributes["source"]["uri"])),
        ]
        print(f"{path}\n\n{facts(lines, '  ')}")
