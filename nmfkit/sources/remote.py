"""Stores at a URI: opened by fsspec where it knows the way, else by obstore; what fails is told without secrets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from nmfkit.errors import SourceError

Options = Mapping[str, Any]

PACKAGES = {
    **dict.fromkeys(("http", "https"), "aiohttp"),
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), "adlfs"),
}
"""What fsspec needs for a scheme."""

BY_OBSTORE = frozenset(("http", "https", "s3", "s3a", "gs", "az", "abfs", "abfss", "adl"))
"""What obstore reads without fsspec."""

REFUSED = frozenset((401, 403, "401", "403"))
REFUSALS = frozenset(("PermissionDeniedError", "UnauthenticatedError", "NoCredentialsError", "DefaultCredentialsError"))
"""Faults of storage libraries that are no `PermissionError`, by name: the libraries may not be there to import."""

LONG = 4
"""Letters from which a value of the options is blotted out of messages; shorter ones are in every text."""


def open_store(uri: str, options: Options | None) -> RemoteStore:
    """The store at `uri`, not yet asked for anything; raises `SourceError` naming the package that it needs."""
    try:
        return RemoteStore(_by_fsspec(uri, options), uri, options)
    except ImportError as error:
        missing = told(error, options)
    except Exception as error:
        raise SourceError(f"{uri} cannot be opened: {told(error, options)}") from None
    scheme = uri.partition("://")[0]
    if scheme in BY_OBSTORE:
        try:
            return RemoteStore(_by_obstore(uri, options), uri, options)
        except ImportError:
            pass
        except BaseException as error:
            # What obstore, written in Rust, cannot make sense of ends in a panic, which is no Exception.
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            raise SourceError(
                f"{uri} cannot be opened by obstore: {told(error, options)} (storage_options are those of obstore "
                f"here; install {PACKAGES[scheme]} to open it by fsspec)"
            ) from None
    raise SourceError(f"{uri} needs {_wanted(scheme)}: {missing}")


def told(error: BaseException, options: Options | None) -> str:
    """What `error` says, without the dumps of internal state that follow, and without any value of the options."""
    text = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    # The longest first, for one value may hold another.
    for secret in sorted(_texts(options), key=len, reverse=True):
        text = text.replace(secret, "…")
    return text


class RemoteStore(WrapperStore[Store]):
    """A store that was opened by its URI: it shows that alone, and hides the options in whatever goes wrong."""

    def __init__(self, store: Store, uri: str, options: Options | None) -> None:
        super().__init__(store)
        self.uri, self.options = uri, options

    def __str__(self) -> str:
        return self.uri

    def __repr__(self) -> str:
        return f"RemoteStore({self.uri!r})"

    def _with_store(self, store: Store) -> RemoteStore:
        return RemoteStore(store, self.uri, self.options)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """The bytes of `key`, None where there are none; raises `OSError` where they cannot be had."""
        try:
            return await self._store.get(key, prototype, byte_range)
        except MemoryError:
            raise
        except Exception as error:
            raise self._fault(error, key) from None

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """What lies directly below `prefix`; raises `OSError` where the store does not tell."""
        try:
            async for name in self._store.list_dir(prefix):
                yield name.rstrip("/")  # as web servers link to folders
        except Exception as error:
            raise self._fault(error, prefix) from None

    def _fault(self, error: Exception, key: str) -> OSError:
        # No cause is kept: its text, and the frames that a debugger shows, hold what must stay hidden.
        if _refuses(error):
            return PermissionError(
                f"access to {key!r} is refused ({told(error, self.options)}); give credentials in storage_options, or "
                "where the library of this storage looks for them"
            )
        return OSError(f"{key!r} cannot be fetched: {type(error).__name__}: {told(error, self.options)}")


def _by_fsspec(uri: str, options: Options | None) -> Store:
    from zarr.storage import FsspecStore

    return FsspecStore.from_url(uri, storage_options=dict(options or {}), read_only=True)


def _by_obstore(uri: str, options: Options | None) -> Store:
    from obstore.store import from_url
    from zarr.storage import ObjectStore

    return ObjectStore(from_url(uri, **(options or {})), read_only=True)


def _refuses(error: Exception) -> bool:
    status = getattr(error, "status", None) or getattr(error, "code", None)
    return isinstance(error, PermissionError) or status in REFUSED or type(error).__name__ in REFUSALS


def _wanted(scheme: str) -> str:
    package = PACKAGES.get(scheme.rpartition("::")[2])
    if package is None:
        return "another package"
    if scheme not in BY_OBSTORE:
        return f"the package {package} (pip install {package})"
    return f"the package {package} or obstore (pip install {package}, or pip install 'nmfkit[remote]')"


def _texts(options: Any) -> set[str]:
    """Every text among the values, however deep."""
    if isinstance(options, Mapping):
        return set().union(*(_texts(value) for value in options.values()))
    if isinstance(options, list | tuple | set):
        return set().union(*(_texts(value) for value in options))
    text = options.decode(errors="replace") if isinstance(options, bytes) else options
    return {text} if isinstance(text, str) and len(text) >= LONG else set()
