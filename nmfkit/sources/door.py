"""Paths that name their reader and its options: `NAME[,key=value…]:PATH`, as `wav,frame=1024:song.wav`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmfkit.errors import SourceError, UsageError
from nmfkit.parts import PartText, arguments, canonical, convert, parameters
from nmfkit.sources.uri import is_remote, local_path

if TYPE_CHECKING:
    from nmfkit.registry import Registered

TRANSPOSE, KEY = "transpose", "key"
"""The options that every reader has."""
GIVEN = ("path", "key")
"""Parameters of a reader that come from nmfkit, not from its text."""


@dataclass(frozen=True)
class Door:
    """A reader that a path names, its options as written (`head` is all before the colon), and the path itself."""

    reader: Registered
    head: str
    path: str

    @property
    def uri(self) -> str:
        """The whole text again, which opens the same from any folder."""
        return f"{self.head}:{self.path}"

    @property
    def _text(self) -> PartText:
        return PartText.parse(self.head.replace(",", ":", 1))

    @property
    def transposes(self) -> bool:
        """Whether what is read is to be turned round, whoever reads it; raises `UsageError` for neither yes nor no."""
        given = self._own(TRANSPOSE)
        try:
            return given is not None and bool(convert(given, bool))
        except ValueError as error:
            raise UsageError(f"reader {self.head!r}: {TRANSPOSE}={given!r}: {error}") from error

    @property
    def key(self) -> str | None:
        """The dataset inside a container, where the text names one."""
        return self._own(KEY)

    def _own(self, option: str) -> str | None:
        given = [value for name, value in self._text.options if canonical(name) == option]
        return given[-1] if given else None

    def options(self, factory: Any) -> dict[str, Any]:
        """The reader's own options as arguments of `factory`; raises `UsageError` that names those it knows."""
        text = self._text
        text = replace(text, options=tuple(o for o in text.options if canonical(o[0]) not in (TRANSPOSE, KEY)))
        taken = {*GIVEN, *self.reader.spec.preset}
        return arguments(factory, text, what=f"reader {self.head!r}", taken=taken)


def door(text: str) -> Door | None:
    """The door that `text` is, its path made absolute; None for a plain path, and for a file of exactly that name."""
    head, rest = _cut(text)
    name = head.partition(",")[0]
    if not name or _exists(text):
        return None
    from nmfkit.registry import registry

    if ("reader", canonical(name)) not in registry().claims:
        return None
    reader = registry().get("reader", name)
    if not rest:
        raise UsageError(f"{text!r} names the reader {name!r} and no path; write {head}:PATH")
    if is_remote(rest):
        raise UsageError(
            f"{rest}: {reader.name} is read from local disks only; copy the file here, or convert it to zarr with "
            "nmfkit convert and put that store there"
        )
    return Door(reader, head, _located(rest, reader))


def _located(rest: str, reader: Registered) -> str:
    """The path as it is found from any folder; raises `UsageError` or `SourceError` where it leads nowhere."""
    spec: Any = reader.spec
    if rest.lower().startswith(tuple(s.lower() for s in spec.schemes)):
        return rest
    if spec.schemes and not spec.suffixes and not spec.holds:
        raise UsageError(f"{rest!r} is nothing that {reader.name} reads; known: {', '.join(spec.schemes)}")
    path = local_path(rest).absolute()
    if not path.exists():
        raise SourceError(f"{path} does not exist")
    return str(path)


def refuse_unknown(text: str) -> None:
    """Raise `UsageError` where `text` is a path that exists behind a name that no reader has."""
    head, rest = _cut(text)
    name = head.partition(",")[0]
    if name and "/" not in name and rest and _exists(rest):
        from nmfkit.registry import registry

        registry().get("reader", name)


def bare(text: str) -> str:
    """The path in `text`, which may name its reader before it."""
    head, rest = _cut(text)
    if _exists(text) or not head:
        return text
    from nmfkit.registry import registry

    return rest if ("reader", canonical(head.partition(",")[0])) in registry().claims else text


def _cut(text: str) -> tuple[str, str]:
    """What stands before and after the first colon; nothing where that is the scheme of a URI."""
    head, colon, rest = text.partition(":")
    return (head, rest) if colon and not is_remote(text) and not text.startswith("file://") else ("", "")


def _exists(text: str) -> bool:
    try:
        return Path(text).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # too long, a null byte, a home that is not known
        return False


def known(factory: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `options` that `factory` has a parameter for."""
    return {name: value for name, value in options.items() if name in parameters(factory)}
