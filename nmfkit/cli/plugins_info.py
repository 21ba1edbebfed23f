"""`nmfkit plugins info`."""

from __future__ import annotations

from dataclasses import is_dataclass
from inspect import Parameter, getdoc
from typing import Any, get_type_hints

from nmfkit import protocols
from nmfkit.cli.options import Output
from nmfkit.cli.plugins_list import as_dict, listeners
from nmfkit.cli.text import emit, facts
from nmfkit.errors import NmfkitError, PluginError, UsageError
from nmfkit.hookspecs import KINDS
from nmfkit.parts import PartText, canonical, parameters, suggestion
from nmfkit.probe import Expected
from nmfkit.registry import Registered, Registry, registry


def show(name: str, output: Output) -> None:
    """Print every part of that name, of whatever kind."""
    found = registry()
    parts = found.find(name)
    if not parts and (listening := listeners(found, name)):
        _show_listeners(listening, output)
        return
    if not parts:
        raise _absent(name, found)
    described = [_described(part) for part in parts]
    if output.json:
        emit({"plugins": described})
    elif not output.quiet:
        print("\n\n".join(_in_words(d) for d in described))


def _show_listeners(listening: list[dict[str, Any]], output: Output) -> None:
    if output.json:
        emit({"listeners": listening})
    elif not output.quiet:
        for one in listening:
            lines = [("from", f"{one['distribution']} {one['version']}"), ("hooks", ", ".join(one["hooks"]))]
            print(f"{one['entry_point']}, a plugin that hears of fits\n\n{facts(lines, '  ')}")


def _absent(name: str, found: Registry) -> NmfkitError:
    for broken in found.broken:
        if canonical(name) in (canonical(broken.entry_point), canonical(broken.distribution)):
            return PluginError(
                f"plugin {broken.entry_point!r} of {broken.distribution} {broken.version} cannot be loaded:\n"
                f"{broken.traceback.rstrip()}"
            )
    known = [n for kind in KINDS for n in found.names(kind)]
    return UsageError(f"unknown part {name!r}{suggestion(canonical(name), known)}")


def _described(part: Registered) -> dict[str, Any]:
    factory = part.load()
    preset = part.spec.preset
    # A model's ingredients and a reader's path come from nmfkit, not from the part's text.
    given = {"model": ["parts"], "reader": ["path", "key"]}.get(part.kind, [])
    free = {n: p for n, p in parameters(factory).items() if n not in preset and n not in given}
    return {
        **as_dict(part),
        "factory": part.spec.factory if isinstance(part.spec.factory, str) else repr(part.spec.factory),
        "parameters": [
            {
                "name": name,
                "type": _type(factory, name, p),
                "default": None if p.default is p.empty else p.default,
                "required": p.default is p.empty,
            }
            for name, p in free.items()
        ],
        "preset": dict(preset),
        "offers": _offers(part),
        "about": _about(factory),
    }


def _about(factory: Any) -> str:
    """What the part's docstring says, where somebody wrote one."""
    text = getdoc(factory) or ""
    # Python makes one of a dataclass's fields, which are told as parameters.
    made_up = is_dataclass(factory) and text.startswith(f"{getattr(factory, '__name__', '')}(")
    return "" if made_up else text


def _type(factory: Any, name: str, parameter: Parameter) -> str:
    try:
        target: Any = vars(factory)["__init__"] if isinstance(factory, type) else factory
        kind = get_type_hints(target).get(name, str)
    except (NameError, TypeError):
        kind = parameter.annotation
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")


def _offers(part: Registered) -> list[str]:
    """What the part says of itself to others, in the words of the protocols."""
    if part.kind == "model":
        return _of_model(part.load())
    built = _built(part)
    if built is None:
        return []
    offers = [_phrase(c) for c in _capabilities(part.kind) if isinstance(built, c)]
    if part.kind == "rule":
        offers += [f"for {_phrase(c)}" for c in getattr(built, "needs", ())]
        offers += [f"with {_phrase(c)}" for c in getattr(built, "accepts", ())]
        offers += ["never raises the objective"] if built.monotone else []
    return offers


def _of_model(model: Any) -> list[str]:
    """The ingredients that a model takes, and of what matrices it is."""
    takes, expected = sorted(getattr(model, "takes", ())), Expected.by(model)
    offers = [f"takes {', '.join(takes)}"] if takes else []
    offers += ["of symmetric matrices alone"] if expected.symmetric else []
    return offers + (["of entries of either sign"] if expected.signed else [])


def _built(part: Registered) -> Any:
    """The part as its first example writes it, or by its bare name; None if it needs more."""
    if part.kind == "reader":
        return None
    try:
        return part.build(PartText.parse(next(iter(part.spec.examples), part.name)))
    except NmfkitError:
        return None


def _capabilities(kind: str) -> list[type]:
    """The protocols whose description begins with that kind of part."""
    return [p for p in vars(protocols).values() if isinstance(p, type) and (p.__doc__ or "").startswith(f"a {kind} ")]


def _phrase(capability: type) -> str:
    return f"{(capability.__doc__ or '').splitlines()[0].rstrip('.')} ({capability.__name__})"


def _in_words(part: dict[str, Any]) -> str:
    written = [
        f"{p['name']}: {p['type']}" + (" (needed)" if p["required"] else f" = {p['default']}")
        for p in part["parameters"]
    ]
    written += [f"{name} = {value} (fixed)" for name, value in part["preset"].items()]
    lines = [
        ("parameters", "\n".join(written) or "none"),
        ("offers", "\n".join(part["offers"])),
        ("aliases", ", ".join(part["aliases"])),
        ("examples", ", ".join(part["examples"])),
        ("opens", ", ".join(part.get("opens", ()))),
        ("from", f"{part['distribution']} {part['version']} (entry point {part['entry_point']})"),
        ("factory", part["factory"]),
        ("about", part["about"]),
    ]
    shown = [(label, text) for label, text in lines if text]
    return f"{part['kind']} {part['name']}: {part['summary']}\n\n{facts(shown, '  ')}"
