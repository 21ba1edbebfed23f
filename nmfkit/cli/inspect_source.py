"""What `nmfkit inspect` shows of a matrix."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import typer

from nmfkit.cli.options import Data, Here, Output
from nmfkit.cli.progress import Meter, watching
from nmfkit.cli.text import emit, facts, number, percent, shape_text
from nmfkit.errors import DataError
from nmfkit.executors.local import LocalExecutor
from nmfkit.executors.plan import make_plan, parse_size, size_text, source_bytes
from nmfkit.probe import Expected, Probe, survey
from nmfkit.protocols import Source
from nmfkit.sources import open_source
from nmfkit.sources.about import About, about_of


def show_source(path: str, data: Data, machine: Here, output: Output) -> None:
    """Print a matrix; exit code 1 where it cannot be factorized."""
    source = open_source(path, key=data.key, storage_options=data.storage_options)
    with watching(quiet=output.quiet) as meter:
        probe, fault = _looked(source, machine, meter)
    if output.json:
        emit(_as_json(source, probe, fault))
    elif not output.quiet:
        print(_in_words(source, probe))
    if fault is not None:
        sys.stdout.flush()
        print(f"error: {fault}", file=sys.stderr)
        raise typer.Exit(1)


def _looked(source: Source, machine: Here, meter: Meter) -> tuple[Probe | None, str | None]:
    """What the matrix looks like, None where it cannot be told, and what would spoil a fit."""
    fault = None
    for expected in (Expected(), Expected(signed=True)):
        try:
            return _probe(source, machine, meter, expected), fault
        except DataError as error:
            fault = fault or str(error)
    return None, fault


def _probe(source: Source, machine: Here, meter: Meter, expected: Expected) -> Probe:
    memory = None if machine.memory is None else parse_size(machine.memory)
    plan = make_plan(
        source, width=1, dtype=source.dtype, elementwise=False, forms_product=False, memory=memory,
        threads=machine.threads,
    )  # fmt: skip
    with LocalExecutor(source, plan, on_block=meter.block) as executor:
        meter.stage("probe")
        return survey(executor.sweep, source, expected=expected)


def _as_json(source: Source, probe: Probe | None, fault: str | None) -> dict[str, Any]:
    m, n = source.shape
    seen = None
    if probe is not None:
        seen = {
            "low": probe.low,
            "high": probe.high,
            "mean": probe.total / (m * n),
            "sum": probe.total,
            "positive_entries": probe.nonzero if probe.low >= 0 else None,
            "zero_rows": probe.row_zeros,
            "zero_columns": probe.column_zeros,
        }
    return {
        "kind": "source",
        "uri": source.uri,
        "shape": source.shape,
        "dtype": np.dtype(source.dtype).name,
        "sparse": source.is_sparse,
        "nnz": source.nnz,
        "density": None if source.nnz is None else source.nnz / (m * n),
        "bytes": source_bytes(source),
        "chunks": getattr(source, "chunks", None),
        "row_names": source.row_names is not None,
        "feature_names": source.feature_names is not None,
        "about": None if (about := about_of(source)) is None else about.to_dict(),
        "values": seen,
        "fault": fault,
    }


def _in_words(source: Source, probe: Probe | None) -> str:
    m, n = source.shape
    kind = "dense"
    if source.nnz is not None:
        kind = f"sparse, {source.nnz:,} stored entries ({percent(source.nnz / (m * n))})"
    lines = [
        ("shape", f"{shape_text(source.shape)} (rows × columns)"),
        ("entries", f"{np.dtype(source.dtype).name}, {kind}, {size_text(source_bytes(source))} in memory"),
    ]
    if (chunks := getattr(source, "chunks", None)) is not None:
        lines.append(("chunks", shape_text(chunks)))
    lines += [
        (label, _names(names)) for label, names in (("rows", source.row_names), ("columns", source.feature_names))
    ]
    lines += _about(about_of(source))
    if probe is not None:
        cells = m * n
        share = f"{percent(probe.nonzero / cells)} {'positive' if probe.low >= 0 else 'other than 0'}"
        mean = number(probe.total / cells)
        lines += [
            ("range", f"{number(probe.low)} to {number(probe.high)}, mean {mean}, {share}"),
            ("all zero", f"{probe.row_zeros:,} rows, {probe.column_zeros:,} columns"),
        ]
    return f"{source.uri}\n\n{facts(lines, '  ')}"


def _about(about: About | None) -> list[tuple[str, str]]:
    """What rows and features are, a line each."""
    if about is None:
        return []
    images = (("row image", about.row_image), ("feature image", about.feature_image))
    lines = [(label, f"{shape_text(image)} pixels") for label, image in images if image is not None]
    if (axis := about.axis) is not None:
        lines.append(
            ("axis", f"{axis.name}, {number(axis.values[0])} to {number(axis.values[-1])} {axis.unit}".rstrip())
        )
    return lines


def _names(names: Any) -> str:
    if names is None:
        return "without names"
    shown = ", ".join(str(n) for n in names[:4])
    return f"named {shown}" + (", …" if len(names) > 4 else "")
