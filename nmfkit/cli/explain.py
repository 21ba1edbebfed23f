"""`nmfkit explain`."""

from __future__ import annotations

from nmfkit.cli.fit import SOURCE
from nmfkit.cli.options import FitOptions, Output


def explain(src: SOURCE = None, *, options: FitOptions, output: Output) -> None:
    """Say what fit would do with the same options: parts, blocks, memory, work; what does not fit. Runs nothing."""
    from nmfkit import api
    from nmfkit.cli.config import read_request
    from nmfkit.cli.text import emit

    request = read_request(src, options, needs_out=False)
    explanation = api.explain(
        request.source,
        problem=request.problem,
        out=request.out,
        key=request.key,
        storage_options=request.storage_options,
        mask=request.mask,
        weights=request.weights,
        missing=request.missing,
        **request.machine,
    )
    if output.json:
        emit(explanation.as_dict())
    elif not output.quiet:
        print(explanation)
