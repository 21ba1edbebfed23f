"""A run on disk: one zarr v3 group with factors, history, problem and a checkpoint to continue from.

Nothing half-written is ever taken for a result. A new run is made aside and moved into place once its data are
known to be good. A checkpoint goes into a slot of its own, and one atomic write of an attribute makes it the
valid one. The final factors count only when `status` says `done`, which is written last.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import inf, isfinite
from pathlib import Path
from typing import Any, ClassVar, TypeGuard
from uuid import uuid4

import numpy as np
import zarr

from nmfkit import array_rows
from nmfkit.array_rows import ArrayRows, is_result, write_rows
from nmfkit.blocks import Array
from nmfkit.errors import SourceError, StoreError
from nmfkit.executors.blobs import Blobs
from nmfkit.executors.block_rows import BlockRows
from nmfkit.executors.each import Each, serially
from nmfkit.loop import Record, State
from nmfkit.protocols import Rows, RowStore
from nmfkit.sources.names import StoredNames
from nmfkit.sources.remote import Options, told
from nmfkit.sources.remote_output import remote_group
from nmfkit.sources.staging import reason, staged
from nmfkit.sources.uri import is_remote
from nmfkit.sources.zarr_store import Place
from nmfkit.sources.zarr_write import create, write_names
from nmfkit.tree_text import flatten, unflatten

FORMAT = 1
FINAL = "final"
"""The slot of a finished run; those of checkpoints on the way are `a` and `b` in turn."""

WORK = "checkpoint/work"
"""Where workers keep what they hand each other."""


@dataclass(frozen=True)
class StoredRows:
    """Rows of a run on disk, read as a fit continues or a result is loaded.

    `token` is that of the checkpoint they belong to: once the run at `path` holds another, reading is refused.
    """

    rows: RowStore
    path: str
    token: str
    options: Options | None = field(default=None, repr=False)

    lasting: ClassVar[bool] = False

    def read(self, lo: int, hi: int) -> Rows:
        """The rows `lo` … `hi`; raises `StoreError` where they cannot be read, or are no longer what was loaded."""
        if RunStore.open(self.path, options=self.options).token != self.token:
            raise StoreError(f"{self.path} has been fitted further or replaced since it was loaded; load it again")
        with _explained("read", self.path):
            return self.rows.read(lo, hi)

    def part(self, lo: int, hi: int) -> StoredRows:
        """What reads nothing but those rows."""
        return StoredRows(self.rows.part(lo, hi), self.path, self.token, self.options)


class RunStore:
    """The zarr group of one run."""

    def __init__(self, path: str, group: zarr.Group, options: Options | None = None) -> None:
        self.path, self.group, self.options = path, group, options
        self._seen = self.token  # that of the checkpoint which this process knows
        self._kept: RowStore | None = None  # the rows that the valid checkpoint refers to must not be removed

    # --- opening ---------------------------------------------------------------------------------------

    @classmethod
    def open(cls, path: str | os.PathLike[str], mode: Any = "r", options: Options | None = None) -> RunStore:
        """An existing run, at a path or a URI that `options` open; raises `StoreError` when there is none, or a newer
        format.
        """
        path = str(path) if is_remote(str(path)) else str(Path(path).expanduser())
        if not is_remote(path) and not Path(path).exists():
            raise StoreError(f"{path} does not exist")
        try:
            root = Place(path, options=options).writable() if is_remote(path) else path
            group = zarr.open_group(root, mode="r" if mode == "r" else "r+")
        except Exception as error:
            raise StoreError(f"{path} is not a readable zarr group: {told(error, options)}") from error
        if "problem" not in group.attrs:
            raise StoreError(
                f"{path} is no run of nmfkit: it holds no problem; make one with nmfkit fit SRC -o {shlex.quote(path)}"
            )
        if lacking := sorted({"status", "source", "versions", "layout"} - set(group.attrs)):
            raise StoreError(f"{path} is damaged: its attributes lack {', '.join(lacking)}")
        if int(str(group.attrs.get("nmfkit_format", 0))) > FORMAT:
            raise StoreError(f"{path} was written by a newer nmfkit (format {group.attrs['nmfkit_format']})")
        return cls(path, group, options)

    @classmethod
    @contextmanager
    def creating(
        cls,
        path: str | os.PathLike[str],
        attributes: Mapping[str, Any],
        *,
        overwrite: bool,
        options: Options | None = None,
    ) -> Iterator[RunStore]:
        """A new run to be written in the block; it takes the place of what was at `path` when the block ends well.

        At a URI, that goes first: there is nothing to rename there.
        """
        identity: dict[str, Any] = {"nmfkit_format": FORMAT, "status": "running"}
        if is_remote(str(path)):
            with _explained("write", str(path)):  # noqa: SIM117
                with remote_group(str(path), options, {**identity, **attributes}, overwrite=overwrite) as group:
                    yield cls(str(path), group, options)
            return
        with _explained("write", str(path)), staged(str(path), overwrite=overwrite) as aside:
            yield cls(str(path), zarr.open_group(str(aside), mode="w", attributes={**identity, **attributes}))

    def remove(self) -> None:
        """Take the whole run away."""
        Blobs(Place.of(self.group), "").clear()

    @property
    def attributes(self) -> dict[str, Any]:
        """The group's attributes: problem, source, status, objective, seed, versions, timings."""
        return dict(self.group.attrs.asdict())

    def update(self, **attributes: Any) -> None:
        """Change attributes in one atomic write."""
        with _explained("write", self.path):
            self.group.attrs.update(attributes)

    @property
    def slot(self) -> str | None:
        """The slot of the valid checkpoint, None while there is none; the rows of `final` are the result's."""
        return self._mark("slot")

    @property
    def token(self) -> str:
        """Changes with every checkpoint and result, so that what was loaded before notices."""
        return self._mark("token") or ""

    @property
    def kept(self) -> int | None:
        """The sweep of the valid checkpoint, None while there is none."""
        sweep = self._mark("sweep")
        return None if sweep is None else int(sweep)

    @property
    def unfitted(self) -> float:
        """That of the valid checkpoint's state."""
        return float(self._mark("unfitted") or inf)

    def _mark(self, name: str) -> str | None:
        value = self.group["checkpoint"].attrs.get(name) if "checkpoint" in self.group else None
        return None if value is None else str(value)

    @property
    def work(self) -> Blobs:
        """Where workers keep rows of W and shared states between sweeps."""
        return Blobs(Place.of(self.group), WORK)

    # --- checkpoints -----------------------------------------------------------------------------------

    def checkpoint(self, state: State, count: int, each: Each = serially) -> None:
        """Write `state` (of `count` rows) into a fresh slot, make that the valid one, drop the one before.

        Rows that workers keep in this run already are not copied, and stay for as long as the checkpoint is valid.
        Those of earlier sessions are removed.
        """
        with _explained("write a checkpoint to", self.path):
            self._refuse_taken_over()
            root = self.group.require_group("checkpoint")
            old = root.attrs.get("slot")
            slot = "b" if old == "a" else "a"
            group = root.create_group(slot, overwrite=True)
            if self._has(state.rows):
                _write_array(group, "edges", state.rows.edges)
                group.attrs.update({"session": state.rows.blobs.prefix, "generation": state.rows.generation})
            else:
                write_rows(group.create_group("rows"), state.rows, count, each)
            self._write_state(group, state)
            self._commit(slot, state)
            self._kept = state.rows
            if old is not None:
                del root[str(old)]
            self._clear_sessions(keep=state.rows.blobs.prefix if self._has(state.rows) else None)

    def _refuse_taken_over(self) -> None:
        """Raise `StoreError` where another process has gone on with this run."""
        if self._placed() and RunStore.open(self.path, options=self.options).token != self._seen:
            raise StoreError(
                f"another process has gone on with {self.path} meanwhile; this one stops, and leaves it as it is"
            )

    def _placed(self) -> bool:
        """Whether the run is where it belongs already, not aside."""
        return is_remote(self.path) or Path(Place.of(self.group).uri) == Path(self.path).resolve()

    def _clear_sessions(self, keep: str | None) -> None:
        """Remove what earlier sessions have left, and what this one has no use for."""
        for session in self.work.folders():
            if f"{WORK}/{session}" != keep:
                self.work.clear(session)

    def _has(self, rows: RowStore) -> TypeGuard[BlockRows]:
        """Whether `rows` lie in this run, where workers have written them."""
        return isinstance(rows, BlockRows) and rows.blobs.place == Place.of(self.group)

    def finish(
        self, state: State, count: int, factors: Mapping[str, Array], each: Each = serially, **attributes: Any
    ) -> None:
        """Write the result: factors, history, and what continuing it needs; `status` becomes done last.

        While the factors of an older result are overwritten, a checkpoint of the new one is the valid copy.
        """
        with _explained("write the result to", self.path):
            if not (self.slot == FINAL and self.kept == state.sweep):
                self._write_result(state, count, factors, each)
            done: dict[str, Any] = {"status": "done", "stopped_by": state.stopped_by}
            self.group.attrs.update({**done, "objective": state.objective, "sweeps": state.sweep, **attributes})

    def _write_result(self, state: State, count: int, factors: Mapping[str, Array], each: Each) -> None:
        if self.slot is not None:
            if self.slot == FINAL or self.kept != state.sweep:
                self.checkpoint(state, count, each)
            self.group.attrs.update({"status": "running"})
            state = replace(self.restore(), stopped_by=state.stopped_by)  # its rows are those of the slot now
        root = self.group.require_group("checkpoint")
        final = root.create_group(FINAL, overwrite=True)
        write_rows(self.group, state.rows, count, each, aside=final.create_group("rows"))
        for name, factor in factors.items():
            _write_array(self.group, name, factor)
        history = self.group.require_group("history")
        for name in ("sweep", "objective", "seconds"):
            _write_array(history, name, np.array([getattr(r, name) for r in state.history]))
        self._write_state(final, state)
        self._commit(FINAL, state)
        for slot in ("a", "b"):
            if slot in root:
                del root[slot]
        self._kept = None
        self.work.clear()

    def _commit(self, slot: str, state: State) -> None:
        """Make `slot` the valid one: a single atomic write."""
        token = uuid4().hex
        self._refuse_taken_over()
        mark: dict[str, Any] = {"slot": slot, "sweep": state.sweep, "token": token}
        unfitted = {"unfitted": state.unfitted} if isfinite(state.unfitted) else {}
        self.group.require_group("checkpoint").attrs.update({**mark, **unfitted})
        self._seen = token

    def restore(self) -> State:
        """The state of the valid checkpoint; raises `StoreError` when there is none."""
        with _explained("read a checkpoint of", self.path):
            slot = self.slot
            if slot is None:
                raise StoreError(
                    f"{self.path} was interrupted before its first checkpoint; fit it again with --overwrite"
                )
            group: Any = self.group[f"checkpoint/{slot}"]
            text = group.attrs["state"]
            arrays = [np.asarray(_array(group, f"arrays/{i}")[...]) for i in range(int(group.attrs["arrays"]))]
            return State(
                rows=StoredRows(self._rows(group, slot), self.path, self.token, self.options),
                current=unflatten(text["current"], arrays),
                following=unflatten(text["following"], arrays),
                history=_history(group),
                stopped_by=group.attrs.get("stopped_by"),
                unfitted=self.unfitted,
            )

    def records(self) -> tuple[Record, ...]:
        """The history up to the valid checkpoint or the result, without reading a factor; empty where none is kept."""
        with _explained("read the history of", self.path):
            slot = self.slot
            return () if slot is None else _history(self.group[f"checkpoint/{slot}"])

    def _rows(self, group: Any, slot: str) -> RowStore:
        if "generation" in group.attrs:
            blobs = Blobs(Place.of(self.group), str(group.attrs["session"]))
            return BlockRows(blobs, str(group.attrs["generation"]), np.asarray(_array(group, "edges")[:]))
        aside = Place.of(group.get("rows", group))
        result = Place.of(self.group) if slot == FINAL else aside
        names = group.attrs["row_factors"]
        return ArrayRows({name: (result if is_result(name) else aside).child(name) for name in names})

    def _write_state(self, group: zarr.Group, state: State) -> None:
        arrays: list[Array] = []
        text = {"current": flatten(state.current, arrays), "following": flatten(state.following, arrays)}
        folder = group.create_group("arrays")
        for i, array in enumerate(arrays):
            _write_array(folder, str(i), array)
        history = group.create_group("history")
        for name in ("sweep", "objective", "seconds"):
            _write_array(history, name, np.array([getattr(r, name) for r in state.history]))
        row_factors = sorted(state.rows.read(0, 1))
        group.attrs.update(
            {"state": text, "arrays": len(arrays), "row_factors": row_factors, "stopped_by": state.stopped_by}
        )

    # --- names -----------------------------------------------------------------------------------------

    def write_names(
        self, rows: Sequence[str] | None, features: Sequence[str] | None, columns: Sequence[str] | None = None
    ) -> None:
        """Store the names of rows and features where they are known, and those of H's columns where they are others."""
        with _explained("write", self.path):
            write_names(self.group, "rows", rows)
            write_names(self.group, "features", features)
            write_names(self.group, "columns", columns)

    def names(self, which: str) -> Sequence[str] | None:
        """The stored names of "rows", "features" or "columns", read when asked for."""
        if which not in self.group:
            return None
        array: Any = self.group[which]
        return StoredNames(Place.of(array), array.shape[0])


def _array(group: Any, path: str) -> Any:
    """An array of the run, behind a store that refuses chunks that are missing or cut short."""
    return Place.of(group[path]).open_array()


def _history(group: Any) -> tuple[Record, ...]:
    columns = [np.asarray(_array(group, f"history/{n}")[:]).tolist() for n in ("sweep", "objective", "seconds")]
    return tuple(Record(*row) for row in zip(*columns, strict=True))


def _write_array(group: zarr.Group, name: str, values: Array) -> None:
    values = np.asarray(values)
    if name in group:
        del group[name]
    row_bytes = max(1, values.nbytes // max(1, len(values))) if values.ndim else 1
    chunks = (min(len(values), max(1, array_rows.CHUNK // row_bytes)), *values.shape[1:]) if values.ndim else ()
    create(group, name, values.shape, chunks, values.dtype)[...] = values


@contextmanager
def _explained(doing: str, path: str) -> Iterator[None]:
    try:
        yield
    except (StoreError, KeyboardInterrupt):
        raise
    except SourceError as error:
        raise StoreError(f"cannot {doing} {path}: {error}") from error
    except OSError as error:
        raise StoreError(f"cannot {doing} {path}: {reason(error)}") from error
    except (KeyError, ValueError, RuntimeError) as error:
        raise StoreError(f"cannot {doing} {path}: {type(error).__name__}: {error}") from error
