"""What mkdocs runs on every page: markers become text taken from the source, so that it cannot drift.

| marker | becomes |
|---|---|
| `{{ source package.module:Name }}` | the source of a class or function |
| `{{ fields package.module:Name }}` | a table of a dataclass's fields, their types and defaults |
| `{{ doc package.module:Name }}` | the signature, the docstring and the public members |
| `{{ public package }}` | `doc` of every public name of a package |
| `{{ script path }}` | a script of the project, folded away |
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

MARKER = re.compile(r"^\{\{ (source|fields|doc|public) ([\w.]+)(?::(\w+))? \}\}$", re.MULTILINE)
SCRIPT = re.compile(r"^\{\{ script ([\w./-]+) \}\}$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with its markers replaced; called by mkdocs."""
    markdown = SCRIPT.sub(lambda m: script(Path(__file__).parents[1] / m[1]), markdown)
    return MARKER.sub(lambda m: WRITERS[m[1]](_find(m[2], m[3])), markdown)


def _find(module: str, name: str | None) -> Any:
    found = import_module(module)
    return getattr(found, name) if name else found


def source(thing: Any) -> str:
    """The source as a code block that no test runs: it is part of a module already."""
    return f"```py\n{inspect.getsource(thing).rstrip()}\n```"


def script(path: Path) -> str:
    """A whole script, shown when its summary is clicked."""
    code = path.read_text("utf-8").rstrip()
    return f'<details markdown="1"><summary>The script</summary>\n\n```py\n{code}\n```\n\n</details>'


def fields(thing: Any) -> str:
    """Name, type and default of each field."""
    rows = [f"| `{f.name}` | {_code(f.type)} | {_default(f)} |" for f in dataclasses.fields(thing)]
    return "\n".join(["| field | type | default |", "|---|---|---|", *rows])


def doc(thing: Any) -> str:
    """Signature, docstring, and the public members of a class with the first sentence of theirs."""
    text = [f"```py\n{_signature(thing)}\n```", inspect.getdoc(thing) or ""]
    if inspect.isclass(thing) and not issubclass(thing, Exception):
        rows = [f"| `{name}` | {summary} |" for name, summary in _members(thing)]
        text += ["\n".join(["| member | what |", "|---|---|", *rows])] if rows else []
    return "\n\n".join(text)


def public(package: Any) -> str:
    """Every public name of a package under a heading of its own, functions first, errors last."""
    things = {name: getattr(package, name) for name in package.__all__ if not name.startswith("__")}
    order = sorted(things, key=lambda n: (_rank(things[n]), n))
    shown = {n: doc(t) if hasattr(t, "__name__") else _value_doc(package, n) for n, t in things.items()}
    return "\n\n".join(f"### `{package.__name__}.{name}`\n\n{shown[name]}" for name in order)


def _value_doc(package: Any, name: str) -> str:
    """The text below a value in the module that defines it: values have no docstring of their own."""
    body = ast.parse(inspect.getsource(import_module(package._HOMES[name]))).body
    for statement, following in pairwise(body):
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
            return str(ast.literal_eval(following.value))
    raise ValueError(f"{name} has no text below it")


def _rank(thing: Any) -> int:
    if not inspect.isclass(thing):
        return 0
    return 2 if issubclass(thing, Exception) else 1


def _signature(thing: Any) -> str:
    """One parameter a line where there are many."""
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return f"class {thing.__name__}({thing.__bases__[0].__name__})"
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return str(getattr(thing, "__name__", thing))
    prefix = "class " if inspect.isclass(thing) else ""
    returns = "" if signature.return_annotation in (signature.empty, None) else f" -> {signature.return_annotation}"
    pieces = _unquoted(signature.replace(return_annotation=signature.empty))
    if len(pieces) > 90:
        pieces = "(\n" + "".join(f"    {line},\n" for line in _parameters(signature)) + ")"
    return f"{prefix}{thing.__name__}{pieces}{returns}"


def _parameters(signature: inspect.Signature) -> list[str]:
    lines: list[str] = []
    for p in signature.parameters.values():
        if p.kind is p.KEYWORD_ONLY and "*" not in lines:
            lines.append("*")
        lines.append(_unquoted(p))
    return lines


def _unquoted(signature: Any) -> str:
    """Annotations as they are written, which at run time are texts."""
    return re.sub(r": '([^']*)'", r": \1", str(signature))


def _members(thing: type) -> list[tuple[str, str]]:
    """Public properties and methods with their first sentence; fields stand in the signature."""
    found = []
    for name, member in vars(thing).items():
        target = getattr(member, "func", getattr(member, "__func__", member))
        if name.startswith("_") or not (callable(target) or isinstance(member, property)):
            continue
        summary = (inspect.getdoc(member) or "").partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")
        call = name if isinstance(member, property) or hasattr(member, "func") else f"{name}()"
        found.append((call, summary.strip()))
    return found


def _code(kind: Any) -> str:
    return f"`{kind if isinstance(kind, str) else getattr(kind, '__name__', kind)}`".replace("|", "\\|")


def _default(f: dataclasses.Field[Any]) -> str:
    if f.default is not dataclasses.MISSING:
        return f"`{f.default!r}`"
    return "none: it must be given" if f.default_factory is dataclasses.MISSING else f"`{f.default_factory()!r}`"


WRITERS = {"source": source, "fields": fields, "doc": doc, "public": public}
