"""The text header of an ENVI image: fields `name = value`, of which lists stand in braces."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from nmfkit.errors import SourceError

LONGEST = 2**24
"""Bytes of the longest header: one of thousands of bands takes a hundredth."""

FIELD = re.compile(r"^[ \t]*([^=\n{};]+?)[ \t]*=[ \t]*(\{[^{}]*\}|\{|[^\n]*)", re.MULTILINE)


@dataclass(frozen=True)
class Header:
    """The fields of the header at `path`, by their names in lower case."""

    path: Path
    fields: dict[str, str]

    def text(self, name: str) -> str:
        """The field as it stands, empty where there is none."""
        return self.fields.get(name, "")

    def listed(self, name: str) -> list[str]:
        """The items of a list in braces."""
        inner = self.text(name).strip("{}").strip()
        return [item.strip() for item in inner.split(",")] if inner else []

    def number(self, name: str) -> float | None:
        """The field as a number, None where there is none; raises `ValueError`."""
        return float(self.text(name)) if self.text(name) else None

    def whole(self, name: str, default: int) -> int | None:
        """The field as a whole number from 0 on, `default` where there is none; None for anything else."""
        text = self.text(name)
        return (int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None) if text else default

    def count(self, name: str, default: int = 0) -> int:
        """A field in which nothing is wrong, `default` where there is none."""
        return int(self.text(name) or default)

    def faults_of_count(self, name: str) -> list[str]:
        """Why the field is no number from 1 on."""
        if not self.text(name):
            return [f"{name} is missing"]
        return [] if self.whole(name, 0) else [f"{name} = {self.text(name)} is no number from 1 on"]


def read_header(path: Path) -> Header:
    """The fields in the file at `path`; raises `SourceError` where it is no header of ENVI."""
    with path.open("rb") as file:
        content = file.read(LONGEST + 1)
    if len(content) > LONGEST:
        raise SourceError(f"{path} is too long for a header of ENVI")
    text = content.decode("utf-8", errors="replace").replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")
    first, _, rest = text.partition("\n")
    if first.strip() != "ENVI":
        raise SourceError(f"{path} is no header of ENVI: its first line is not 'ENVI'")
    found = {" ".join(name.lower().split()): value.strip() for name, value in FIELD.findall(rest)}
    if unclosed := [name for name, value in found.items() if value.startswith("{") and not value.endswith("}")]:
        raise SourceError(f"{path} is damaged or cut short: the list {unclosed[0]!r} does not end")
    return Header(path, found)
