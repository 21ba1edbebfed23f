"""Outputs at a URI: nothing can be renamed there, so that one is written in place and taken away where that fails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import zarr
from zarr.abc.store import Store
from zarr.core.sync import sync

from nmfkit.errors import SourceError, StoreError, UsageError
from nmfkit.sources.remote import Options, open_store, told


def check_remote(
    uri: str, options: Options | None, *, overwrite: bool = False, keep: Iterable[str | None] = ()
) -> None:
    """Raise `StoreError` if something stands at `uri` that may not be replaced, or nothing can be written there.

    With `overwrite`, only an output of nmfkit may be replaced; the URIs in `keep` must lie neither inside nor around.
    """
    if "::" in uri or uri.startswith(("http://", "https://")):
        raise UsageError(f"{uri}: nothing can be written there; name a folder or a bucket, as s3://bucket/run.zarr")
    for kept in keep:
        if kept is not None and _overlap(uri, kept):
            raise StoreError(f"{uri} overlaps {kept}, which is still needed; choose another output")
    store = _writable(uri, options)
    with _explained(uri, options):
        found = _attributes(store)
        if found is None and sync(store.is_empty("")):
            sync(store.set("nmfkit-probe", _buffer(b"can this be written?")))
            sync(store.delete("nmfkit-probe"))
            return
    if not overwrite:
        raise StoreError(f"{uri} exists; choose another name or pass --overwrite")
    if found is None or "nmfkit_format" not in found:
        raise StoreError(f"{uri} exists and is no output of nmfkit, so --overwrite leaves it alone; remove it yourself")


@contextmanager
def remote_group(
    uri: str, options: Options | None, attributes: Mapping[str, Any], *, overwrite: bool = False
) -> Iterator[zarr.Group]:
    """A new zarr group at `uri` that vanishes when the block does not end well; raises as `check_remote` does."""
    check_remote(uri, options, overwrite=overwrite)
    store = _writable(uri, options)
    with _explained(uri, options):
        sync(store.delete_dir(""))
        group = zarr.open_group(store, mode="w", attributes=dict(attributes))
    try:
        yield group
    except BaseException:
        with _explained(uri, options):
            sync(store.delete_dir(""))
        raise


def _writable(uri: str, options: Options | None) -> Store:
    try:
        return open_store(uri, options).with_read_only(False)
    except SourceError as error:
        raise StoreError(str(error)) from error


def _attributes(store: Store) -> dict[str, Any] | None:
    """Those of the group in `store`, None where there is none."""
    try:
        return dict(zarr.open_group(store, mode="r").attrs.asdict())
    except FileNotFoundError:
        return None


@contextmanager
def _explained(uri: str, options: Options | None) -> Iterator[None]:
    try:
        yield
    except (StoreError, KeyboardInterrupt):
        raise
    except Exception as error:
        # No cause is kept: it may show what the options hold.
        raise StoreError(f"{uri} cannot be written: {type(error).__name__}: {told(error, options)}") from None


def _buffer(data: bytes) -> Any:
    from zarr.core.buffer import default_buffer_prototype

    return default_buffer_prototype().buffer.from_bytes(data)


def _overlap(one: str, other: str) -> bool:
    a, b = one.rstrip("/") + "/", other.rstrip("/") + "/"
    return a.startswith(b) or b.startswith(a)
