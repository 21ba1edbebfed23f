"""Options that several commands share; None means that the user did not name it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nmfkit.errors import UsageError

if TYPE_CHECKING:
    from nmfkit.executors.machine import MachineOptions


def _option(*names: str, metavar: str | None = None, help: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(*names, metavar=metavar, help=help, show_default=False)
    return option


MEMORY = _option(
    "--memory",
    metavar="SIZE",
    help="Bound on blocks, cache and rows of W, or on all that a worker uses, as 2GiB. Default: half of what is free.",
)
THREADS = _option("--threads", metavar="N", help="Threads of this process. Default: one for each processor.")
WORKERS = _option("--workers", metavar="N", help="Start N local dask workers; 0: threads of this process.")
THREADS_PER_WORKER = _option(
    "--threads-per-worker", metavar="N", help="Threads of each of them. Default: the processors shared out."
)
SCHEDULER = _option(
    "--scheduler", metavar="ADDRESS", help="A running dask scheduler. Default: $DASK_SCHEDULER_ADDRESS, if set."
)
SCHEDULER_FILE = _option("--scheduler-file", metavar="FILE", help="The file that a running dask scheduler wrote.")
PERFORMANCE_REPORT = _option(
    "--performance-report", metavar="FILE", help="Write dask's record of the workers as a page (needs bokeh)."
)
DEVICE = _option("--device", metavar="cpu|gpu", help="Compute on processors, or on NVIDIA GPUs. Default: cpu.")
DEVICE_MEMORY = _option(
    "--device-memory", metavar="SIZE", help="Bound on what is used of a GPU's memory. Default: most of what is free."
)
STORAGE_OPTION = _option(
    "--storage-option",
    metavar="KEY=VALUE",
    help="For data at a URI, as endpoint_url=…; may be repeated; never stored.",
)
KEY = _option("--key", metavar="NAME", help="The dataset inside a container (.npz, .mat, .h5ad, zarr group).")
MASK = _option(
    "--mask", metavar="PATH", help="A matrix as large as SRC, 0 where an entry is missing. Default: none is."
)
WEIGHTS = _option(
    "--weights", metavar="PATH", help="A matrix as large as SRC: how much each entry counts. Default: all alike."
)
MISSING = _option(
    "--missing",
    metavar="WHAT",
    help="What else is missing: nan (entries that are NaN), absent (those that a sparse matrix does not store), none.",
)
OVERWRITE = _option("--overwrite", help="Replace an existing output of nmfkit.")


@dataclass(frozen=True)
class Output:
    """How a command talks."""

    json: Annotated[bool, _option("--json", help="One JSON object on standard output.")] = False
    quiet: Annotated[bool, _option("--quiet", "-q", help="No progress, notes or summary.")] = False
    verbose: Annotated[bool, _option("--verbose", "-v", help="Show the traceback of a fault.")] = False

    @property
    def speaks(self) -> bool:
        """Whether the result is told in words."""
        return not (self.json or self.quiet)


@dataclass(frozen=True)
class Here:
    """What a command may use of this machine; raises `UsageError` for what makes no sense, needed or not."""

    memory: Annotated[str | None, MEMORY] = None
    threads: Annotated[int | None, THREADS] = None

    def __post_init__(self) -> None:
        if any(value is not None for value in self.given().values()):
            from nmfkit.executors.machine import Machine

            Machine.of(self.given())

    def given(self) -> MachineOptions:
        """The options as the functions of nmfkit take them."""
        return {"memory": self.memory, "threads": self.threads}


@dataclass(frozen=True)
class Anywhere(Here):
    """Where a command does its work, and what it may use there."""

    workers: Annotated[int | None, WORKERS] = None
    threads_per_worker: Annotated[int | None, THREADS_PER_WORKER] = None
    scheduler: Annotated[str | None, SCHEDULER] = None
    scheduler_file: Annotated[str | None, SCHEDULER_FILE] = None
    performance_report: Annotated[str | None, PERFORMANCE_REPORT] = None

    def given(self) -> MachineOptions:
        """The options as the functions of nmfkit take them."""
        return {
            **super().given(),
            "workers": self.workers,
            "threads_per_worker": self.threads_per_worker,
            "scheduler": self.scheduler,
            "scheduler_file": self.scheduler_file,
            "performance_report": self.performance_report,
        }


@dataclass(frozen=True)
class OnAny(Anywhere):
    """Where a command that computes does its work, and on what."""

    device: Annotated[str | None, DEVICE] = None
    device_memory: Annotated[str | None, DEVICE_MEMORY] = None

    def given(self) -> MachineOptions:
        """The options as the functions of nmfkit take them."""
        return {**super().given(), "device": self.device, "device_memory": self.device_memory}


@dataclass(frozen=True)
class Data:
    """Which matrix in a container, and how its URI is opened."""

    key: Annotated[str | None, KEY] = None
    storage_option: Annotated[list[str] | None, STORAGE_OPTION] = None

    @property
    def storage_options(self) -> dict[str, Any] | None:
        """The storage options by name; raises `UsageError` for one that is not KEY=VALUE."""
        pairs = [text.partition("=") for text in self.storage_option or ()]
        # What stands after the sign may be a secret.
        if wrong := [key for key, sign, value in pairs if not (key and sign and value)]:
            raise UsageError(f"storage-option {', '.join(map(repr, wrong))} is not KEY=VALUE")
        return {key.strip(): stored_value(value) for key, _, value in pairs} or None


@dataclass(frozen=True)
class Known:
    """Which entries of the data are known, and how much they count."""

    mask: Annotated[str | None, MASK] = None
    weights: Annotated[str | None, WEIGHTS] = None
    missing: Annotated[str | None, MISSING] = None


def stored_value(text: Any) -> Any:
    """`true` and `false` as what they are, anything else as it stands."""
    return {"true": True, "false": False}.get(str(text).lower(), text)


@dataclass(frozen=True)
class FitOptions:
    """Everything that `fit` and `explain` take; numbers are texts, so that all faults go into one message."""

    out: Annotated[
        str | None, _option("--out", "-o", metavar="RUN.zarr", help="Where the run is written (needed by fit).")
    ] = None
    rank: Annotated[str | None, _option("--rank", metavar="N", help="Number of components (needed).")] = None
    ranks: Annotated[
        str | None, _option("--ranks", metavar="N,N,…", help="Ranks of the layers of a deep model, as 80,40,20.")
    ] = None
    model: Annotated[
        str | None,
        _option("--model", metavar="PART", help="The kind of factorization. Default: nmf, X ≈ W H."),
    ] = None
    loss: Annotated[
        str | None,
        _option("--loss", metavar="PART", help="frobenius, kl, is, beta:0.5, … Default: frobenius."),
    ] = None
    rule: Annotated[
        str | None,
        _option("--rule", metavar="PART", help="Update rule: mu, hals, … Default: auto, the fastest that fits."),
    ] = None
    reg_w: Annotated[
        list[str] | None,
        _option("--reg-w", metavar="PART", help="Regularizer of W, as l1:0.1; may be repeated. Default: none."),
    ] = None
    reg_h: Annotated[
        list[str] | None,
        _option("--reg-h", metavar="PART", help="Regularizer of H, as l1:0.1; may be repeated. Default: none."),
    ] = None
    init: Annotated[
        str | None,
        _option("--init", metavar="PART", help="Starting point: random, nndsvd, … Default: the model's (auto)."),
    ] = None
    pilot: Annotated[
        str | None,
        _option("--pilot", metavar="ROWS", help="Rows to fit first, for a start: auto, none, a number. Default: auto."),
    ] = None
    start_w: Annotated[
        str | None, _option("--start-w", metavar="PATH", help="A matrix (rows × rank) to start W from.")
    ] = None
    start_h: Annotated[
        str | None, _option("--start-h", metavar="PATH", help="A matrix (rank × columns) to start H from.")
    ] = None
    model_option: Annotated[
        list[str] | None,
        _option("--model-option", metavar="KEY=VALUE", help="A parameter of the model; may be repeated."),
    ] = None
    seed: Annotated[str | None, _option("--seed", metavar="N", help="Seed of the starting point. Default: 0.")] = None
    max_sweeps: Annotated[
        str | None, _option("--max-sweeps", metavar="N", help="Most sweeps over the data. Default: 200.")
    ] = None
    tol: Annotated[
        str | None,
        _option(
            "--tol",
            metavar="X",
            help="Stop when ten sweeps lower the objective by less than this fraction. Default: 1e-4.",
        ),
    ] = None
    time_limit: Annotated[
        str | None, _option("--time-limit", metavar="SECONDS", help="Stop after this time. Default: none.")
    ] = None
    dtype: Annotated[
        str | None,
        _option(
            "--dtype",
            metavar="TYPE",
            help="float32 or float64. Default: that of float data; float32 for small integers, else float64.",
        ),
    ] = None
    memory: Annotated[str | None, MEMORY] = None
    threads: Annotated[str | None, THREADS] = None
    checkpoint_every: Annotated[
        str | None,
        _option("--checkpoint-every", metavar="N", help="Sweeps between checkpoints. Default: one a minute."),
    ] = None
    key: Annotated[str | None, KEY] = None
    storage_option: Annotated[list[str] | None, STORAGE_OPTION] = None
    mask: Annotated[str | None, MASK] = None
    weights: Annotated[str | None, WEIGHTS] = None
    missing: Annotated[str | None, MISSING] = None
    config: Annotated[
        str | None,
        _option(
            "--config",
            metavar="FILE.toml",
            help="Options from a file, under the names they have here (also source = …); those given here win.",
        ),
    ] = None
    overwrite: Annotated[bool | None, OVERWRITE] = None
    workers: Annotated[str | None, WORKERS] = None
    threads_per_worker: Annotated[str | None, THREADS_PER_WORKER] = None
    scheduler: Annotated[str | None, SCHEDULER] = None
    scheduler_file: Annotated[str | None, SCHEDULER_FILE] = None
    performance_report: Annotated[str | None, PERFORMANCE_REPORT] = None
    device: Annotated[str | None, DEVICE] = None
    device_memory: Annotated[str | None, DEVICE_MEMORY] = None
