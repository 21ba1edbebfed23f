"""Where a zarr node lies, and a store that notices chunks that are missing or cut short."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr
from zarr.abc.store import ByteRequest, RangeByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore, WrapperStore

from nmfkit.errors import SourceError

COMPLETE = "nmfkit_complete"
"""Attribute of an array whose every chunk was written: a missing one is then damage, not zeros."""

METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")
BLOSC_HEADER = 16


@dataclass(frozen=True)
class Place:
    """A node of a zarr store: its `uri` and the `path` inside; `store` only where no URI reopens it."""

    uri: str
    path: str = ""
    store: Store | None = None

    @classmethod
    def of(cls, node: Any) -> Place:
        """Where an open array or group lies."""
        store = node.store
        if isinstance(store, LocalStore):
            return cls(str(Path(store.root).resolve()), node.path)
        return cls(str(store), node.path, store)

    def __str__(self) -> str:
        return f"{self.uri}/{self.path}" if self.path else self.uri

    def at(self, node: Any) -> Place:
        """The place of another node of the same store."""
        return Place(self.uri, node.path, self.store)

    def child(self, name: str) -> Place:
        """The node `name` below this one."""
        return Place(self.uri, f"{self.path}/{name}".lstrip("/"), self.store)

    def open(self) -> Any:
        """The array or group as it is; raises `SourceError` where there is none."""
        try:
            return zarr.open(self.store or self.uri, path=self.path, mode="r")
        except FileNotFoundError as error:
            raise SourceError(self._absent()) from error
        except ImportError as error:
            raise SourceError(f"{self}: reading this kind of URI needs another package: {error}") from error
        except Exception as error:
            raise SourceError(f"{self} is not a readable zarr store: {type(error).__name__}: {error}") from error

    def open_array(self) -> zarr.Array[Any]:
        """The array, behind a store that notices damage."""
        plain = self.open()
        if not isinstance(plain, zarr.Array):
            raise SourceError(f"{self} is no zarr array")
        checked = CheckedStore(plain.store, complete=bool(plain.attrs.get(COMPLETE)), blosc=_has_blosc(plain))
        return zarr.open_array(checked, path=plain.path, mode="r")

    def _absent(self) -> str:
        if self.store is None and "://" not in self.uri and not Path(self.uri).exists():
            return f"{self.uri} does not exist"
        return f"{self} is no zarr array or group"


class CheckedStore(WrapperStore[Store]):
    """A store that refuses damaged chunks that zarr itself would decode to zeros or to garbage.

    `complete`: every chunk must be there. `blosc`: chunks are Blosc frames, whose decoder reads beyond the
    end of a frame that was cut short.
    """

    def __init__(self, store: Store, *, complete: bool, blosc: bool) -> None:
        super().__init__(store)
        self._complete, self._blosc = complete, blosc

    def __str__(self) -> str:
        # What zarr itself would show, wrapping-file://…, is nothing that a user could open.
        return str(self._store.root) if isinstance(self._store, LocalStore) else str(self._store)

    def _with_store(self, store: Store) -> CheckedStore:
        return CheckedStore(store, complete=self._complete, blosc=self._blosc)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """The bytes of `key`; raises `ValueError` where a chunk is missing or short."""
        value = await self._store.get(key, prototype, byte_range)
        if key.rpartition("/")[2] in METADATA:
            return value
        if value is None:
            if self._complete:
                raise ValueError(f"chunk {key} is missing")
            return None
        wanted = self._expected(value, byte_range)
        if len(value) < wanted:
            raise ValueError(f"chunk {key} is cut short: {len(value)} of {wanted} bytes")
        return value

    def _expected(self, value: Buffer, byte_range: ByteRequest | None) -> int:
        if isinstance(byte_range, RangeByteRequest):
            return byte_range.end - byte_range.start
        if byte_range is not None or not self._blosc:
            return 0
        header = value.as_numpy_array()[:BLOSC_HEADER].tobytes()
        return int.from_bytes(header[12:16], "little") if len(header) == BLOSC_HEADER else BLOSC_HEADER


def _has_blosc(array: zarr.Array[Any]) -> bool:
    """Whether chunks are stored as Blosc frames, in either version of the format."""
    metadata: Any = array.metadata
    codecs = getattr(metadata, "codecs", None) or (getattr(metadata, "compressor", None),)
    names = (getattr(c, "codec_name", None) or getattr(c, "codec_id", None) or type(c).__name__ for c in codecs)
    return any("blosc" in str(name).lower() for name in names)
