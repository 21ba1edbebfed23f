"""Where a zarr node lies, and a store that notices chunks that are missing or cut short."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zarr
from zarr.abc.store import ByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore, MemoryStore, StorePath, WrapperStore, ZipStore

from nmfkit.errors import SourceError
from nmfkit.sources.remote import Options, RemoteStore, open_store, told
from nmfkit.sources.uri import is_remote

COMPLETE = "nmfkit_complete"
"""Attribute of an array whose every chunk was written: a missing one is then damage, not zeros."""

METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")
BLOSC_HEADER = 16


@dataclass(frozen=True)
class Place:
    """A node of a zarr store: its `uri` and the `path` inside; `store` only where no URI reopens it.

    `options` open the URI. They may hold secrets, so they travel with a place but are never shown.
    """

    uri: str
    path: str = ""
    store: Store | None = None
    options: Options | None = field(default=None, repr=False, hash=False)

    @classmethod
    def of(cls, node: Any) -> Place:
        """Where an open array or group lies."""
        store = node.store
        if isinstance(store, CheckedStore):
            store = store.inner
        if isinstance(store, LocalStore):
            return cls(str(Path(store.root).resolve()), node.path)
        if isinstance(store, RemoteStore):
            return cls(store.uri, node.path, None, store.options)
        return cls(str(store), node.path, store)

    def __str__(self) -> str:
        return f"{self.uri.rstrip('/')}/{self.path}" if self.path else self.uri

    def at(self, node: Any) -> Place:
        """The place of another node of the same store."""
        return Place(self.uri, node.path, self.store, self.options)

    def child(self, name: str) -> Place:
        """The node `name` below this one."""
        return Place(self.uri, f"{self.path}/{name}".lstrip("/"), self.store, self.options)

    def open(self) -> Any:
        """The array or group as it is; raises `SourceError` where there is none, or where it cannot be had."""
        try:
            return self._node(self._root())
        except SourceError:
            raise
        except FileNotFoundError as error:
            raise SourceError(self._absent()) from error
        except OSError as error:
            raise SourceError(f"{self}: {error}") from error
        except Exception as error:
            reason = f"{type(error).__name__}: {told(error, self.options)}"
            raise SourceError(f"{self} is not a readable zarr store: {reason}") from (None if self.options else error)

    def writable(self) -> Store:
        """The store that the node is in, for keys beside those of zarr; raises `SourceError` where it cannot be had."""
        root = self._root()
        return (LocalStore(root) if isinstance(root, str) else root).with_read_only(False)

    def _root(self) -> Any:
        if self.store is None and is_remote(self.uri):
            return open_store(self.uri, self.options)
        return self.store or self.uri

    def _node(self, root: Any) -> Any:
        try:
            return zarr.open(root, path=self.path, mode="r")
        except PermissionError:
            # A store that may not be listed refuses to tell that a key is absent: ask for those of version 3 alone.
            return zarr.open(root, path=self.path, mode="r", zarr_format=3)

    def open_array(self) -> zarr.Array[Any]:
        """The array, behind a store that notices damage."""
        plain = self.open()
        if not isinstance(plain, zarr.Array):
            raise SourceError(f"{self} is no zarr array")
        checked = CheckedStore(plain.store, complete=bool(plain.attrs.get(COMPLETE)), blosc=_has_blosc(plain))
        # Of the metadata that are at hand: a distant store would be asked for them once more.
        return zarr.Array(zarr.AsyncArray(plain.metadata, StorePath(checked, plain.path)))

    def _absent(self) -> str:
        if self.store is None and not is_remote(self.uri) and not Path(self.uri).exists():
            return f"{self.uri} does not exist"
        where = "; nothing is there that could be read" if is_remote(self.uri) else ""
        return f"{self} is no zarr array or group{where}"


class CheckedStore(WrapperStore[Store]):
    """A store that refuses damaged chunks that zarr itself would decode to zeros or to garbage.

    `complete`: every chunk must be there. `blosc`: chunks are Blosc frames, whose decoder reads beyond the
    end of a frame that was cut short.
    """

    def __init__(self, store: Store, *, complete: bool, blosc: bool) -> None:
        super().__init__(store)
        self._complete, self._blosc = complete, blosc

    @property
    def inner(self) -> Store:
        """The store below."""
        return self._store

    @property
    def distant(self) -> bool:
        """Whether an answer may take long, so that many chunks are best asked for at once."""
        return not isinstance(self._store, LocalStore | MemoryStore | ZipStore)

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
        if isinstance(byte_range, RangeByteRequest | SuffixByteRequest) and len(value) > _asked(byte_range):
            raise ValueError(f"chunk {key} came whole where a part was asked for: the server knows no byte ranges")
        wanted = self._expected(value, byte_range)
        if len(value) < wanted:
            raise ValueError(f"chunk {key} is cut short: {len(value)} of {wanted} bytes")
        return value

    def _expected(self, value: Buffer, byte_range: ByteRequest | None) -> int:
        if isinstance(byte_range, RangeByteRequest):
            return _asked(byte_range)
        if byte_range is not None or not self._blosc:
            return 0
        header = value.as_numpy_array()[:BLOSC_HEADER].tobytes()
        return int.from_bytes(header[12:16], "little") if len(header) == BLOSC_HEADER else BLOSC_HEADER


def _asked(part: RangeByteRequest | SuffixByteRequest) -> int:
    return part.suffix if isinstance(part, SuffixByteRequest) else part.end - part.start


def _has_blosc(array: zarr.Array[Any]) -> bool:
    """Whether chunks are stored as Blosc frames, in either version of the format."""
    metadata: Any = array.metadata
    codecs = getattr(metadata, "codecs", None) or (getattr(metadata, "compressor", None),)
    names = (getattr(c, "codec_name", None) or getattr(c, "codec_id", None) or type(c).__name__ for c in codecs)
    return any("blosc" in str(name).lower() for name in names)
