"""Options of the commands that fit a matrix many times."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated

from nmfkit.cli.options import (
    DEVICE,
    DEVICE_MEMORY,
    KEY,
    MASK,
    MEMORY,
    MISSING,
    PERFORMANCE_REPORT,
    SCHEDULER,
    SCHEDULER_FILE,
    STORAGE_OPTION,
    THREADS,
    THREADS_PER_WORKER,
    WORKERS,
    FitOptions,
    _option,
)

if TYPE_CHECKING:
    from nmfkit.cli.config import Request

PLACE = ("memory", "threads", "workers", "threads_per_worker", "scheduler", "scheduler_file", "performance_report",
         "device", "device_memory")  # fmt: skip
"""Options that are no part of what is fitted."""
DATA = ("key", "storage_option")
SWEEPS = "1000"
"""Most sweeps of each fit: those of different ranks are to be compared, so all should converge."""


@dataclass(frozen=True)
class ReplicateOptions:
    """What `fit` takes and makes sense for many fits; None means that the user did not name it."""

    loss: Annotated[
        str | None, _option("--loss", metavar="PART", help="frobenius, kl, is, beta:0.5, … Default: frobenius.")
    ] = None
    rule: Annotated[
        str | None, _option("--rule", metavar="PART", help="Update rule of fits to all entries. Default: auto.")
    ] = None
    reg_w: Annotated[
        list[str] | None, _option("--reg-w", metavar="PART", help="Regularizer of W; may be repeated. Default: none.")
    ] = None
    reg_h: Annotated[
        list[str] | None, _option("--reg-h", metavar="PART", help="Regularizer of H; may be repeated. Default: none.")
    ] = None
    init: Annotated[
        str | None, _option("--init", metavar="PART", help="Starting point. Default: random, as replicates need it.")
    ] = None
    pilot: Annotated[
        str | None, _option("--pilot", metavar="ROWS", help="Rows to fit first: auto, none, a number. Default: auto.")
    ] = None
    seed: Annotated[
        str | None, _option("--seed", metavar="N", help="Seed; replicate r starts from N + r. Default: 0.")
    ] = None
    max_sweeps: Annotated[
        str | None, _option("--max-sweeps", metavar="N", help="Most sweeps of each fit. Default: 1000.")
    ] = None
    tol: Annotated[
        str | None,
        _option("--tol", metavar="X", help="A fit stops when ten sweeps gain less than this part. Default: 1e-4."),
    ] = None
    dtype: Annotated[
        str | None, _option("--dtype", metavar="TYPE", help="float32 or float64. Default: by the data.")
    ] = None
    memory: Annotated[str | None, MEMORY] = None
    threads: Annotated[str | None, THREADS] = None
    key: Annotated[str | None, KEY] = None
    storage_option: Annotated[list[str] | None, STORAGE_OPTION] = None
    mask: Annotated[str | None, MASK] = None
    missing: Annotated[str | None, MISSING] = None
    workers: Annotated[str | None, WORKERS] = None
    threads_per_worker: Annotated[str | None, THREADS_PER_WORKER] = None
    scheduler: Annotated[str | None, SCHEDULER] = None
    scheduler_file: Annotated[str | None, SCHEDULER_FILE] = None
    performance_report: Annotated[str | None, PERFORMANCE_REPORT] = None
    device: Annotated[str | None, DEVICE] = None
    device_memory: Annotated[str | None, DEVICE_MEMORY] = None

    def request(self, source: str, rank: int) -> Request:
        """A fit of `rank`, with everything that is wrong in one message."""
        from nmfkit.cli.config import read_request

        given = {f.name: getattr(self, f.name) for f in fields(self)}
        given["max_sweeps"] = given["max_sweeps"] or SWEEPS
        return read_request(source, FitOptions(rank=str(rank), **given), needs_out=False)

    def named(self) -> list[str]:
        """The options that say what is fitted, as far as they are named."""
        names = [f.name for f in fields(self) if f.name not in (*PLACE, *DATA) and getattr(self, f.name) is not None]
        return [f"--{name.replace('_', '-')}" for name in names]
