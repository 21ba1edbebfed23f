"""Images of one size side by side: the bands of one are followed by those of the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nmfkit.blocks import Dense
from nmfkit.errors import SourceError
from nmfkit.protocols import Source
from nmfkit.sources import tiles
from nmfkit.sources.about import About, about_of


def joined(path: str, images: Sequence[tuple[str, Source]]) -> Joined:
    """The images by name as one; raises `SourceError` naming two whose sizes differ."""
    first = about_of(images[0][1])
    for name, image in images[1:]:
        if (other := about_of(image)) != first:
            sizes = [f"{n} is {_size(a)}" for n, a in ((images[0][0], first), (name, other))]
            raise SourceError(f"{path}: {' and '.join(sizes)}; bands of one image have one size")
    return Joined(path, tuple(image for _, image in images), tuple(name for name, _ in images))


@dataclass(frozen=True)
class Joined:
    """The columns of `parts`, which have the same rows."""

    uri: str
    parts: tuple[Source, ...]
    names: tuple[str, ...] | None

    is_sparse = False
    resident = False
    nnz = None
    row_names = None

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels × bands of all."""
        return self.parts[0].shape[0], sum(part.shape[1] for part in self.parts)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that holds those of all."""
        return np.result_type(*(part.dtype for part in self.parts))

    @property
    def about(self) -> About | None:
        """The size of the image."""
        return about_of(self.parts[0])

    @cached_property
    def feature_names(self) -> tuple[str, ...] | None:
        """The names of the images, numbered where one has several bands."""
        return self.names and tuple(
            name if part.shape[1] == 1 else f"{name} {band}"
            for name, part in zip(self.names, self.parts, strict=True)
            for band in range(part.shape[1])
        )

    def bounds(self, target_bytes: int) -> list[tuple[int, int]]:
        """Row ranges of about `target_bytes` each."""
        return tiles.by_bytes(self.shape, self.dtype.itemsize, target_bytes)

    def read(self, lo: int, hi: int) -> Dense:
        """Pixels `lo` … `hi` of every part."""
        values = np.empty((hi - lo, self.shape[1]), self.dtype)
        start = 0
        for part in self.parts:
            values[:, start : start + part.shape[1]] = part.read(lo, hi).values
            start += part.shape[1]
        return Dense(values, lo)


def _size(about: About | None) -> str:
    return " × ".join(map(str, about.row_image)) if about and about.row_image else "no image"
