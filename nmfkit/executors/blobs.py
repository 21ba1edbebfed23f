"""Named byte strings beside the arrays of a zarr store: what workers hand each other from sweep to sweep."""

from __future__ import annotations

import pickle
import shutil
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import cloudpickle
import numpy as np
from zarr.abc.store import Store
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore

from nmfkit.errors import StoreError
from nmfkit.protocols import Rows
from nmfkit.sources.zarr_store import Place


@dataclass(frozen=True)
class Blobs:
    """Byte strings under `prefix` in the store of the zarr group at `place`; written whole or not at all.

    A name is never given to two different contents, so that writing one again, however late, harms nothing. Raises
    `StoreError` where something cannot be read or written.
    """

    place: Place
    prefix: str

    def make(self) -> Blobs:
        """These, ready to be written to."""
        if isinstance(self._store, LocalStore):
            self._path("").mkdir(parents=True, exist_ok=True)
        return self

    def put(self, name: str, data: bytes) -> None:
        """Write `data` as `name`; refused where these were removed, as the work of a fit that has ended is."""
        try:
            if isinstance(self._store, LocalStore):
                self._put_file(name, data)
            else:
                sync(self._store.set(self._key(name), default_buffer_prototype().buffer.from_bytes(data)))
        except Exception as error:
            raise StoreError(f"{self._where(name)} cannot be written: {type(error).__name__}: {error}") from error

    def get(self, name: str) -> bytes:
        """What `name` holds."""
        try:
            if isinstance(self._store, LocalStore):
                # Not by way of zarr, whose few threads are busy decoding X.
                return self._path(name).read_bytes()
            found = sync(self._store.get(self._key(name), default_buffer_prototype()))
        except FileNotFoundError as error:
            raise StoreError(f"{self._where(name)} is missing") from error
        except Exception as error:
            raise StoreError(f"{self._where(name)} cannot be read: {type(error).__name__}: {error}") from error
        if found is None:
            raise StoreError(f"{self._where(name)} is missing")
        return found.to_bytes()

    def delete(self, name: str) -> None:
        """Remove `name`, if it is there."""
        try:
            sync(self._store.delete(self._key(name)))
        except FileNotFoundError:
            return
        except Exception as error:
            raise StoreError(f"{self._where(name)} cannot be removed: {type(error).__name__}: {error}") from error

    def clear(self, below: str = "") -> None:
        """Remove everything, or everything below the name `below`."""
        try:
            if isinstance(self._store, LocalStore):
                self._remove(self._path(below))
            else:
                sync(self._store.delete_dir(self._key(below).rstrip("/")))
        except FileNotFoundError:
            return
        except Exception as error:
            raise StoreError(f"{self._where(below)} cannot be removed: {type(error).__name__}: {error}") from error

    def folders(self) -> list[str]:
        """The first parts of all names."""
        try:
            return sorted(sync(_collected(self._store.list_dir(self._key("")))))
        except FileNotFoundError:
            return []
        except Exception as error:
            raise StoreError(f"{self._where('')} cannot be listed: {type(error).__name__}: {error}") from error

    def below(self, name: str) -> Blobs:
        """Those under a longer prefix."""
        return Blobs(self.place, f"{self.prefix}/{name}")

    # --- what is kept in them -----------------------------------------------------------------------------

    def put_rows(self, name: str, rows: Rows) -> None:
        """Write arrays by name, with checksums."""
        file = BytesIO()
        np.savez(file, allow_pickle=False, **rows)
        self.put(name, file.getvalue())

    def get_rows(self, name: str) -> Rows:
        """The arrays that were written as `name`; raises `StoreError` where they are damaged."""
        try:
            with np.load(BytesIO(self.get(name)), allow_pickle=False) as archive:
                return {key: archive[key] for key in archive.files}
        except StoreError:
            raise
        except Exception as error:
            raise StoreError(f"{self._where(name)} is damaged: {type(error).__name__}: {error}") from error

    def put_state(self, name: str, state: Any) -> None:
        """Write any picklable state, with a checksum."""
        data = cloudpickle.dumps(state, protocol=5)
        self.put(name, zlib.crc32(data).to_bytes(4, "little") + data)

    def get_state(self, name: str) -> Any:
        """The state that this very fit has written as `name`."""
        data = self.get(name)
        if zlib.crc32(data[4:]) != int.from_bytes(data[:4], "little"):
            raise StoreError(f"{self._where(name)} is damaged: its checksum does not match")
        return pickle.loads(memoryview(data)[4:])

    def _put_file(self, name: str, data: bytes) -> None:
        # Not by way of zarr, which makes every folder that is missing: a task that outlives its fit must not bring
        # back what was removed. Each call below fails where the folder above it is gone.
        folder = self._path("")
        *above, _ = name.split("/")
        for part in above:
            folder /= part
            try:
                folder.mkdir()
            except FileExistsError:
                continue
        aside = folder / f".{uuid4().hex}"
        aside.write_bytes(data)
        aside.replace(self._path(name))

    @staticmethod
    def _remove(path: Path) -> None:
        """Take a folder away at once, then apart: nobody writes into it in between."""
        aside = path.with_name(f".{path.name}.removed-{uuid4().hex[:8]}")
        path.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)

    def _path(self, name: str) -> Path:
        assert isinstance(self._store, LocalStore)
        return self._store.root / self._key(name)

    def _key(self, name: str) -> str:
        return "/".join(part for part in (self.place.path, self.prefix, name) if part)

    def _where(self, name: str) -> str:
        return f"{self.place.uri}/{self._key(name)}"

    @cached_property
    def _store(self) -> Store:
        try:
            return self.place.writable()
        except Exception as error:
            raise StoreError(str(error)) from error

    def __getstate__(self) -> dict[str, Any]:
        return {"place": self.place, "prefix": self.prefix}


async def _collected(names: AsyncIterator[str]) -> list[str]:
    return [name async for name in names]
