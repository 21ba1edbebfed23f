"""From options and a TOML file to a request; a flag beats the file, the file beats the default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from nmfkit.cli.options import FitOptions, stored_value
from nmfkit.errors import NmfkitError, UsageError
from nmfkit.parts import suggestion
from nmfkit.problem import Problem

if TYPE_CHECKING:
    from nmfkit.executors.machine import MachineOptions

PROBLEM = ("model", "loss", "rule", "reg_w", "reg_h", "init", "pilot", "seed", "max_sweeps", "tol",
           "time_limit", "dtype")  # fmt: skip
"""Options that are fields of a `Problem` under the same name."""
MACHINE = ("memory", "threads", "workers", "threads_per_worker", "scheduler", "scheduler_file", "performance_report",
           "device", "device_memory")  # fmt: skip
"""Options that say where the work is done."""
COUNTS = ("threads", "workers", "threads_per_worker")
NUMBERS = ("rank", "seed", "max_sweeps", "tol", "time_limit", "checkpoint_every", *COUNTS)
TEXTS = ("source", "out", "model", "loss", "rule", "init", "pilot", "dtype", "key", "start_w", "start_h", "scheduler",
         "scheduler_file", "performance_report", "mask", "weights", "missing", "device")  # fmt: skip
BOOLEANS = ("overwrite",)


@dataclass(frozen=True)
class Request:
    """A fit that the command line asks for."""

    source: str
    problem: Problem
    out: str | None
    overwrite: bool
    key: str | None
    storage_options: dict[str, Any] | None
    machine: MachineOptions
    checkpoint_every: int | None
    start_w: str | None
    start_h: str | None
    mask: str | None
    weights: str | None
    missing: str


def read_request(source: str | None, options: FitOptions, *, needs_out: bool) -> Request:
    """The request of a command line; raises `UsageError` with all faults of file, options and parts."""
    faults: list[str] = []
    flags = _flags(source, options, faults)
    file = _file(options.config, faults) if options.config is not None else {}
    given = _merged(file, flags, faults)
    problem = Problem.from_dict(
        {name: given[name] for name in PROBLEM if name in given}
        | {"ranks": given.get("ranks", ()), "model_options": given.get("model_options", {})}
    )
    faults += _faults(given, needs_out)
    if faults:
        raise UsageError(_listed(faults + _core_faults(problem)))
    values: dict[str, Any] = {f.name: given.get(f.name) for f in fields(Request)}
    values["storage_options"] = {k: stored_value(v) for k, v in given.get("storage_options", {}).items()} or None
    machine = {name: given[name] for name in MACHINE if name in given}
    values["missing"] = given.get("missing", "none")
    return Request(**{**values, "problem": problem, "overwrite": bool(given.get("overwrite")), "machine": machine})


def _flags(source: str | None, options: FitOptions, faults: list[str]) -> dict[str, Any]:
    """What the command line names, numbers read."""
    flags: dict[str, Any] = {f.name: getattr(options, f.name) for f in fields(options) if f.name != "config"}
    flags["source"] = source
    flags = {name: value for name, value in flags.items() if value is not None and value != []}
    flags |= {name: _number(flags[name]) for name in NUMBERS if name in flags}
    if "ranks" in flags:
        flags["ranks"] = [_number(piece) for piece in flags["ranks"].split(",") if piece.strip()]
    return _canonical(flags, "option", faults)


def _file(path: str, faults: list[str]) -> dict[str, Any]:
    """What the TOML file names."""
    import tomllib
    from pathlib import Path

    try:
        text = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        faults.append(f"{path} cannot be read: {error.strerror}")
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append(f"{path} is not TOML: {error}")
        return {}
    values = {name.replace("-", "_"): value for name, value in text.items()}
    for name in ("model_option", "storage_option"):
        if f"{name}s" in values:
            values[name] = values.pop(f"{name}s")
    known = {f.name for f in fields(FitOptions)} - {"config"} | {"source"}
    for name in [n for n in values if n not in known]:
        hint = suggestion(name, known).replace("_", "-")
        faults.append(f"{path}: unknown field {name.replace('_', '-')!r}{hint}")
        del values[name]
    _refuse_types(values, path, faults)
    return _canonical(values, f"{path}:", faults)


def _refuse_types(values: dict[str, Any], path: str, faults: list[str]) -> None:
    """Take out of `values` what is of the wrong type; numbers are judged later, by name, as those of options are."""
    wanted: dict[str, tuple[type, str]] = dict.fromkeys(TEXTS, (str, "a text in quotes"))
    wanted |= dict.fromkeys(BOOLEANS, (bool, "true or false without quotes"))
    for name, (kind, needed) in wanted.items():
        if name in values and not isinstance(values[name], kind):
            faults.append(f"{path}: {name.replace('_', '-')} is {values.pop(name)!r}, and {needed} is needed")
    for name in ("model_option", "storage_option"):
        if name in values and not _are_pairs(values[name]):
            option, shown = values.pop(name), name.replace("_", "-")
            what = repr(option) if name == "model_option" else f"a {type(option).__name__}"
            faults.append(f'{path}: {shown} is {what}, and texts such as "key=value" or a table are needed')


def _are_pairs(given: Any) -> bool:
    if isinstance(given, Mapping):
        return all(isinstance(value, str | bool | int | float) for value in given.values())
    return isinstance(given, str) or (isinstance(given, list) and all(isinstance(o, str) for o in given))


def _canonical(values: dict[str, Any], where: str, faults: list[str]) -> dict[str, Any]:
    """`rank` as `ranks`, and `model_option`, `storage_option` as the dicts `model_options`, `storage_options`."""
    if "rank" in values and "ranks" in values:
        both = "--rank and --ranks" if where == "option" else f"{where} rank and ranks"
        faults.append(f"{both} are both given; give one")
    if "rank" in values:
        values["ranks"] = values.pop("rank")
    for name in ("model_option", "storage_option"):
        given = values.pop(name, {})
        values[f"{name}s"] = dict(given) if isinstance(given, Mapping) else _pairs(given, f"{where} {name}", faults)
    return values


def _pairs(given: Any, what: str, faults: list[str]) -> dict[str, str]:
    """Texts KEY=VALUE as a dict; values may be secrets, so that faults name keys alone."""
    pairs = [text.partition("=") for text in ([given] if isinstance(given, str) else given)]
    what = what.replace("_", "-")
    faults += [f"{what} {k!r} is not KEY=VALUE" for k, equals, v in pairs if not (equals and k and v)]
    return {k.strip(): v.strip() for k, equals, v in pairs if equals}


def _merged(file: dict[str, Any], flags: dict[str, Any], faults: list[str]) -> dict[str, Any]:
    given = {**file, **flags}
    if flags.get("device") == "cpu" and "device_memory" not in flags:
        given.pop("device_memory", None)  # that of the GPU which the file asks for
    for name in ("model_options", "storage_options"):
        given[name] = {**file.get(name, {}), **flags.get(name, {})}
    for name in ("reg_w", "reg_h"):
        parts = given.get(name, ())
        parts = [parts] if isinstance(parts, str) else parts
        if not (isinstance(parts, list | tuple) and all(isinstance(p, str) for p in parts)):
            faults.append(f'{name.replace("_", "-")} is {parts!r}, and texts such as "l1:0.1" are needed')
            parts = ()
        if name in given:
            given[name] = list(parts)
    return given


def _faults(given: Mapping[str, Any], needs_out: bool) -> list[str]:
    """What is wrong beyond the problem itself."""
    from nmfkit.executors.machine import machine_faults
    from nmfkit.sources.observed import MISSING

    wrong = []
    if given.get("source") is None:
        wrong.append("no source is named; write it right after the command, as sample:digits or a path")
    if needs_out and given.get("out") is None:
        wrong.append("no output is named; add -o RUN.zarr")
    every = given.get("checkpoint_every", 1)
    if not isinstance(every, int) or isinstance(every, bool) or every < 1:
        wrong.append(f"checkpoint-every {every!r} is not a whole number ≥ 1")
    wrong += [fault.replace("_", "-") for fault in machine_faults({n: given[n] for n in MACHINE if n in given})]
    if (missing := given.get("missing", "none")) not in MISSING:
        wrong.append(f"missing {missing!r} is not one of {', '.join(MISSING)}")
    return wrong


def _core_faults(problem: Problem) -> list[str]:
    """What the core has against the problem, so that it goes into the same message."""
    from nmfkit.check import resolve

    try:
        resolve(problem)
    except NmfkitError as error:
        head, *reasons = str(error).split("\n  - ")
        return reasons or [head]
    return []


def _listed(faults: list[str]) -> str:
    if len(faults) == 1:
        return faults[0]
    return f"{len(faults)} things are wrong:\n" + "\n".join(f"  - {fault}" for fault in faults)


def _number(text: str) -> Any:
    """`text` as the number it is, else as it stands, for the problem to refuse by name."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
