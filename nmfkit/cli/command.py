"""From a plain function to a command: dataclasses become options, faults become messages and exit codes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from inspect import Parameter, Signature, signature
from typing import Any, get_type_hints

import typer

from nmfkit.cli.faults import explained


def command(app: typer.Typer, name: str, function: Callable[..., None]) -> None:
    """Add `function` to `app` as `name`; each parameter that is a dataclass stands for the options that are its fields.

    One parameter is an `Output`, whose `verbose` says whether faults show their traceback.
    """
    hints = get_type_hints(function, include_extras=True)
    groups = {n: kind for n, kind in hints.items() if is_dataclass(kind) and isinstance(kind, type)}

    def run(**given: Any) -> None:
        with explained(verbose=given["verbose"]):
            grouped = {name: kind(**{f.name: given.pop(f.name) for f in fields(kind)}) for name, kind in groups.items()}
            function(**given, **grouped)

    parameters: list[Parameter] = []
    for parameter in signature(function).parameters.values():
        if parameter.name in groups:
            parameters += _options(groups[parameter.name])
        else:
            parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[parameter.name]))
    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    run.__name__, run.__doc__ = function.__name__, function.__doc__
    app.command(name)(run)


def _options(kind: type) -> list[Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        Parameter(f.name, Parameter.KEYWORD_ONLY, default=f.default, annotation=hints[f.name]) for f in fields(kind)
    ]
