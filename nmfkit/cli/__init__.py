"""The command line: `nmfkit`, `python -m nmfkit`.

Nothing here imports NumPy, zarr, dask or a plugin before a command runs, so that `--help` and shell completion
answer at once.
"""

from __future__ import annotations

import io
import os
import sys


def main() -> None:
    """Run the command line and leave the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal without β or × shows a question mark instead of a traceback.
            stream.reconfigure(errors="replace")
    try:
        # Of zarr's own threads, each keeps buffers of its own; ours already read several blocks at a time.
        os.environ.setdefault("ZARR_THREADING__MAX_WORKERS", "1")
        from nmfkit.cli.app import app

        app(prog_name="nmfkit")
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        sys.exit(130)
    finally:
        _flush()


def _flush() -> None:
    """Write what is buffered now: at the interpreter's exit, a closed pipe would print a traceback."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
