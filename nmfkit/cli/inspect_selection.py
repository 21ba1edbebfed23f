"""`nmfkit inspect` of the folder of a rank selection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from nmfkit.cli.options import Output
from nmfkit.cli.text import emit, facts, shape_text, table


def show_selection(path: str, attributes: Mapping[str, Any], output: Output) -> None:
    """Which fits are there, of what, and what they have come to."""
    from nmfkit.selection.store import SelectionStore

    jobs = SelectionStore(path).jobs()
    whole = Counter(job.rank for job in jobs if not job.speckled)
    speckled = Counter(job.rank for job in jobs if job.speckled)
    if output.json:
        fits = [{"rank": r, "whole": whole[r], "speckled": speckled[r]} for r in sorted(whole | speckled)]
        emit({"kind": "selection", "path": path, "fits": fits, **attributes})
    elif output.speaks:
        source, problem = attributes["source"], attributes["selection"]["problem"]
        lines = [("source", f"{source['uri']}, {shape_text(source['shape'])} {source['dtype']}")]
        lines += [("problem", f"{problem['model']}, loss {problem['loss']}, rule {problem['rule']}")]
        lines += [("hidden", f"{attributes['share']:g} of the entries")] if "share" in attributes else []
        lines += [("result", str(attributes.get("why", "none yet: the same command goes on")))]
        rows = [(str(rank), str(whole[rank]), str(speckled[rank])) for rank in sorted(whole | speckled)]
        print(f"{path}\n\n{facts(lines, '  ')}\n\n{table([('rank', 'whole fits', 'with hidden entries'), *rows])}")
