"""A selection on disk: one zarr group, in which every fit appears whole, as it ends, or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import zarr

from nmfkit.blocks import Array
from nmfkit.errors import NmfkitError, StoreError
from nmfkit.selection.job import Fitted, Job
from nmfkit.sources.staging import check_output, local_path, reason, staged
from nmfkit.store import FORMAT

FITS = "fits"
DIGEST = "digest"
TOLERANCE = 1e-9
"""Relative difference of two sums over all entries below which the data are taken for the same."""


class SelectionStore:
    """The folder of one selection; fits are groups `fits/rank-R-replicate-N-whole` and `…-speckled`."""

    def __init__(self, path: str | Path) -> None:
        self.path = local_path(str(path))

    @classmethod
    def begin(
        cls,
        path: str | Path,
        identity: Mapping[str, Any],
        *,
        about: Mapping[str, Any],
        share: float | None = None,
        overwrite: bool = False,
        keep: Iterable[str] = (),
    ) -> SelectionStore:
        """The selection at `path`, a new one unless it is there; raises `StoreError` if it is of something else.

        `about` is stored with a new one, `share` once entries are hidden.
        """
        store = cls(path)
        if store.path.exists() and not overwrite:
            store.refuse_other(identity, share)
        else:
            check_output(store.path, overwrite=overwrite, keep=keep)
            attributes = {"nmfkit_format": FORMAT, "selection": dict(identity), **about}
            with staged(store.path, overwrite=overwrite) as aside:
                zarr.open_group(str(aside), mode="w", attributes=attributes).create_group(FITS)
        store.update(status="running", **({} if share is None else {"share": share}))
        return store

    @classmethod
    def open(cls, path: str | Path) -> SelectionStore:
        """An existing selection; raises `StoreError` where there is none."""
        store = cls(path)
        if not store.path.exists():
            raise StoreError(f"{path} does not exist")
        store.identity()
        return store

    def attributes(self) -> dict[str, Any]:
        """All attributes of the group."""
        try:
            return dict(zarr.open_group(str(self.path), mode="r").attrs.asdict())
        except (OSError, ValueError, KeyError) as error:
            raise StoreError(f"{self.path} is not a readable zarr group: {error}") from error

    def identity(self) -> dict[str, Any]:
        """What it is a selection of: the problem but for the rank, and the data."""
        found = self.attributes()
        if "selection" not in found:
            raise StoreError(f"{self.path} is no rank selection of nmfkit; choose another output")
        identity: dict[str, Any] = found["selection"]
        return identity

    def refuse_other(self, identity: Mapping[str, Any], share: float | None = None) -> None:
        """Raise `StoreError` naming all that differs from what is to be done now."""
        differing = differences(self.identity(), identity)
        was = self.attributes().get("share")
        if None not in (was, share) and was != share:
            differing.append(f"share was {was!r}, now {share!r}")
        if differing:
            raise StoreError(
                f"{self.path} holds fits of something else, and they cannot be mixed: {'; '.join(differing)}; choose "
                "another output, or remove it to begin anew, as select-rank --overwrite does"
            )

    def update(self, **attributes: Any) -> None:
        """Change attributes in one atomic write."""
        zarr.open_group(str(self.path), mode="r+").attrs.update(attributes)

    def has(self, job: Job) -> bool:
        """Whether this fit is done."""
        return (self.path / FITS / job.name).exists()

    def jobs(self) -> list[Job]:
        """Every fit that is done."""
        found = []
        for folder in (self.path / FITS).iterdir():
            pieces = folder.name.split("-")
            if len(pieces) == 5:
                found.append(Job(int(pieces[3]), int(pieces[1]), pieces[4] == "speckled"))
        return sorted(found)

    def put(self, fitted: Fitted) -> None:
        """Keep a fit: it is written aside and renamed, so that an interruption leaves all of it or nothing."""
        final = self.path / FITS / fitted.job.name
        aside = self.path / f".{fitted.job.name}.{uuid4().hex[:8]}"
        try:
            h, labels = np.ascontiguousarray(fitted.h), fitted.labels.astype(np.int32)
            attributes = {**fitted.figures, DIGEST: _digest(h, labels)}
            group = zarr.open_group(str(aside), mode="w", attributes=attributes)
            group.create_array("h", data=h)
            group.create_array("labels", data=labels)
            if not final.exists():
                aside.rename(final)
        except OSError as error:
            raise StoreError(f"cannot write {final}: {reason(error)}") from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def get(self, job: Job) -> Fitted:
        """A fit that is done; raises `StoreError` where it cannot be read, or is not what was written."""
        path = self.path / FITS / job.name
        try:
            group: Any = zarr.open_group(str(path), mode="r")
            figures, h, labels = group.attrs.asdict(), np.asarray(group["h"][...]), np.asarray(group["labels"][...])
            if figures.pop(DIGEST, None) != _digest(h, labels):
                raise ValueError("its arrays are not those that were written")
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise StoreError(f"{path} cannot be read: {error}; remove it, and it will be fitted again") from error
        return Fitted(job, figures, h, labels)


def _digest(*arrays: Array) -> str:
    """What tells the arrays from others: of a chunk that has gone missing zarr makes zeros without a word."""
    found = blake2b(digest_size=16)
    for array in arrays:
        found.update(array.tobytes())
    return found.hexdigest()


def differences(stored: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> list[str]:
    """What differs between two nested mappings, a sentence each; sums may differ by rounding."""
    found = []
    for name in sorted(set(stored) | set(now)):
        was, new, where = stored.get(name), now.get(name), f"{path}{name}"
        if isinstance(was, Mapping) and isinstance(new, Mapping):
            found += differences(was, new, f"{where}.")
        elif not _same(was, new):
            found.append(f"{where.replace('_', '-')} was {was!r}, now {new!r}")
    return found


def _same(was: Any, new: Any) -> bool:
    if isinstance(was, float) and isinstance(new, float):
        return abs(was - new) <= TOLERANCE * max(abs(was), abs(new))
    return bool(was == new)


def is_selection(path: str | Path) -> bool:
    """Whether a selection lies at `path`."""
    try:
        SelectionStore.open(path)
    except NmfkitError:
        return False
    return True
