"""The text of a part, `name`, `name:value` or `name:value,key=value`, and the part that it stands for."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from types import SimpleNamespace
from typing import Any, Union, get_args, get_origin, get_type_hints

from nmfkit.errors import UsageError


@dataclass(frozen=True)
class PartText:
    """A part as written: its name, the value after the colon if any, and the named options in order."""

    name: str
    value: str | None = None
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> PartText:
        """Read `name:value,key=value`; raises `UsageError` where the text has another form."""
        name, colon, rest = text.strip().partition(":")
        if not name.strip():
            raise UsageError(f"{text!r} names no part; write name, name:value or name:value,key=value")
        value, options = None, []
        for i, piece in enumerate(rest.split(",") if colon else []):
            key, equals, content = (p.strip() for p in piece.partition("="))
            if equals and key and content:
                options.append((key, content))
            elif i == 0 and key and not equals:
                value = key
            else:
                raise UsageError(f"{text!r}: {piece!r} is neither key=value nor a value right after the colon")
        return cls(canonical(name), value, tuple(options))

    def __str__(self) -> str:
        pieces = ([self.value] if self.value is not None else []) + [f"{k}={v}" for k, v in self.options]
        return self.name + (":" + ",".join(pieces) if pieces else "")


def canonical(name: str) -> str:
    """The form in which names are compared: lower case, dashes for underscores."""
    return name.strip().lower().replace("_", "-")


def suggestion(name: str, known: Any) -> str:
    """“; did you mean …?” with the close names, or the names there are."""
    known = sorted(known)
    close = get_close_matches(name, known, n=3, cutoff=0.6)
    if close:
        return f"; did you mean {' or '.join(map(repr, close))}?"
    return f"; known: {', '.join(known)}" if known else ""


def parameters(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The factory's parameters by name, those with a leading underscore left out."""
    signature = inspect.signature(factory)
    return {
        name: p
        for name, p in signature.parameters.items()
        if not name.startswith("_") and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }


def build(
    factory: Callable[..., Any],
    text: PartText,
    *,
    kind: str,
    preset: Mapping[str, Any] | None = None,
    given: Mapping[str, Any] | None = None,
) -> Any:
    """Call `factory` with the text's value (its first free parameter) and options, converted by annotation.

    Raises `UsageError` naming every unknown, doubled, missing or unreadable parameter at once.
    """
    preset, given = dict(preset or {}), dict(given or {})
    written = arguments(factory, text, what=f"{kind} {str(text)!r}", taken={*preset, *given})
    try:
        return factory(**preset, **given, **written)
    except ValueError as error:
        raise UsageError(f"{kind} {str(text)!r}: {error}") from error


def arguments(factory: Callable[..., Any], text: PartText, *, what: str, taken: Collection[str] = ()) -> dict[str, Any]:
    """The text's value and options as arguments of `factory`, converted by annotation; `taken` are not the user's.

    Raises `UsageError` that begins with `what` and names every fault at once.
    """
    free = {n: p for n, p in parameters(factory).items() if n not in taken}
    faults: list[str] = []
    written = _written(text, free, faults)
    converted: dict[str, Any] = {}
    hints = _hints(factory) if written else {}
    for name, content in written.items():
        try:
            converted[name] = convert(content, hints.get(name, str))
        except ValueError as error:
            faults.append(f"{name}={content!r}: {error}")
    missing = [n for n, p in free.items() if p.default is p.empty and n not in written]
    faults += [f"{n} is missing (write {text.name}:{n.upper()} or {text.name}:{n}=…)" for n in missing]
    if faults:
        raise UsageError(f"{what}: " + "; ".join(faults))
    return converted


def _written(text: PartText, free: Mapping[str, Any], faults: list[str]) -> dict[str, str]:
    written: dict[str, str] = {}
    if text.value is not None:
        if free:
            written[next(iter(free))] = text.value
        else:
            faults.append(f"it takes no value, and {text.value!r} is given")
    for key, content in text.options:
        name = key.replace("-", "_")
        if name not in free:
            faults.append(f"unknown parameter {key!r}{suggestion(name, free) or ' (it takes none)'}")
        elif name in written:
            faults.append(f"{key} is given twice")
        else:
            written[name] = content
    return written


def _hints(factory: Callable[..., Any]) -> dict[str, Any]:
    """The types of the parameters, as far as their names can be resolved where each was written."""
    if not inspect.isclass(factory):
        return _resolved(factory, getattr(factory, "__globals__", {}))
    hints: dict[str, Any] = {}
    for base in reversed(factory.__mro__):  # a dataclass inherits fields from other modules
        hints |= _resolved(base, vars(sys.modules[base.__module__]))
    return hints | _resolved(factory.__init__, getattr(factory.__init__, "__globals__", {}))


def _resolved(target: Any, names: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, hint in inspect.get_annotations(target).items():
        with suppress(NameError, TypeError):
            found |= get_type_hints(SimpleNamespace(__annotations__={name: hint}), globalns=names)
    return found


def convert(content: str, kind: Any) -> Any:
    """`content` as the annotated type: bool, int, float, str, or a tuple of them; raises `ValueError`."""
    if get_origin(kind) in (Union, types.UnionType):
        options = [k for k in get_args(kind) if k is not type(None)]
        if content.lower() == "none" and len(options) < len(get_args(kind)):
            return None
        kind = options[0]
    if get_origin(kind) is tuple:
        return tuple(convert(piece, get_args(kind)[0]) for piece in content.split("+"))
    if kind is bool:
        if content.lower() not in _TRUTH:
            raise ValueError("write true or false")
        return _TRUTH[content.lower()]
    if kind in (int, float):
        try:
            return kind(content)
        except ValueError:
            raise ValueError("a whole number is needed" if kind is int else "a number is needed") from None
    return content


_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
