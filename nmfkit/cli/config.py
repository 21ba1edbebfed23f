"""From options and a TOML file to a request; a flag beats the file, the file beats the default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from nmfkit.cli.options import FitOptions
from nmfkit.errors import NmfkitError, UsageError
from nmfkit.parts import suggestion
from nmfkit.problem import Problem

PROBLEM = ("model", "loss", "rule", "reg_w", "reg_h", "init", "seed", "max_sweeps", "tol", "time_limit", "dtype")
"""Options that are fields of a `Problem` under the same name."""
NUMBERS = ("rank", "seed", "max_sweeps", "tol", "time_limit", "threads", "checkpoint_every")
TEXTS = ("source", "out", "model", "loss", "rule", "init", "dtype", "key", "start_w", "start_h")
BOOLEANS = ("overwrite",)
ELSEWHERE = ("workers", "scheduler", "scheduler_file")


@dataclass(frozen=True)
class Request:
    """A fit that the command line asks for."""

    source: str
    problem: Problem
    out: str | None
    overwrite: bool
    key: str | None
    memory: str | int | None
    threads: int | None
    checkpoint_every: int | None
    start_w: str | None
    start_h: str | None


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
    return Request(**{**values, "problem": problem, "overwrite": bool(given.get("overwrite"))})


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
    if "model_options" in values:
        values["model_option"] = values.pop("model_options")
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
    if "model_option" in values and not _is_model_option(values["model_option"]):
        option = values.pop("model_option")
        faults.append(f'{path}: model-option is {option!r}, and texts such as "key=value" or a table are needed')


def _is_model_option(given: Any) -> bool:
    if isinstance(given, Mapping):
        return all(isinstance(value, str | bool | int | float) for value in given.values())
    return isinstance(given, str) or (isinstance(given, list) and all(isinstance(o, str) for o in given))


def _canonical(values: dict[str, Any], where: str, faults: list[str]) -> dict[str, Any]:
    """`rank` as `ranks`, `model_option` as the dict `model_options`."""
    if "rank" in values and "ranks" in values:
        faults.append(f"{where} rank and ranks are both given; give one".replace("option ", "--", 1))
    if "rank" in values:
        values["ranks"] = values.pop("rank")
    options = values.pop("model_option", {})
    if not isinstance(options, Mapping):
        pairs = [o.partition("=") for o in ([options] if isinstance(options, str) else options)]
        faults += [f"{where} model-option {k!r} is not KEY=VALUE" for k, equals, v in pairs if not (equals and k and v)]
        options = {k.strip(): v.strip() for k, equals, v in pairs if equals}
    return {**values, "model_options": dict(options)}


def _merged(file: dict[str, Any], flags: dict[str, Any], faults: list[str]) -> dict[str, Any]:
    given = {**file, **flags}
    given["model_options"] = {**file.get("model_options", {}), **flags.get("model_options", {})}
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
    from nmfkit.executors.plan import parse_size

    wrong = []
    if given.get("source") is None:
        wrong.append("no source is named; write it right after the command, as sample:digits or a path")
    if needs_out and given.get("out") is None:
        wrong.append("no output is named; add -o RUN.zarr")
    for name in ("threads", "checkpoint_every"):
        value = given.get(name, 1)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            wrong.append(f"{name.replace('_', '-')} {value!r} is not a whole number ≥ 1")
    if (memory := given.get("memory")) is not None:
        try:
            parse_size(memory)
        except UsageError as error:
            wrong.append(f"memory {error}")
    named = [f"--{name.replace('_', '-')}" for name in ELSEWHERE if given.get(name) is not None]
    if (device := given.get("device", "cpu")) != "cpu":
        named.append(f"--device {device}")
    if named:
        wrong.append(f"{', '.join(named)}: this version runs on threads of one machine (--threads N); leave it out")
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
