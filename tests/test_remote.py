"""Every way to a remote store gives the blocks of the local one; what fails there is told, and secrets are not."""

from __future__ import annotations

import functools
import http.server
import os
import pickle
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
import zarr

from nmfkit.errors import SourceError, UsageError
from nmfkit.sources import fingerprint, open_source, remote
from nmfkit.sources.convert import convert
from nmfkit.sources.zarr_store import Place

fsspec = pytest.importorskip("fsspec")
cloudpickle = pytest.importorskip("cloudpickle")

SECRET = "correct-horse-battery"
KEY = {"headers": {"Authorization": SECRET}}
PLAIN = {"client_options": {"allow_http": True}, "retry_config": {"max_retries": 0}}
"""What obstore needs to speak http without TLS, and to give up at once."""


LOCKED: list[str] = []
"""Ends of paths that the server serves to nobody."""


class Files(http.server.SimpleHTTPRequestHandler):
    """A folder on the web: below `private`, only for those who know the secret; below `mute`, absence is refused."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        if self.path.startswith("/private") and self.headers.get("Authorization") != SECRET:
            self.send_error(403, f"you sent {self.headers.get('Authorization')}")
        elif self.path.endswith(tuple(LOCKED)):
            self.send_error(401, f"not by {self.headers.get('Authorization')}")
        elif self.path.startswith("/mute") and not Path(self.translate_path(self.path)).is_file():
            self.send_error(403)
        else:
            super().do_GET()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A web server on this machine: its `folder` and its `url`."""
    pytest.importorskip("aiohttp")
    folder = tmp_path_factory.mktemp("site")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield SimpleNamespace(folder=folder, url=f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def locked():
    yield LOCKED
    LOCKED.clear()


@pytest.fixture
def without_fsspec(monkeypatch):
    """As where fsspec lacks the package of a scheme."""

    def missing(uri, options):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(remote, "_by_fsspec", missing)


def matrix(m=40, n=7, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 4, (m, n)) * (rng.random((m, n)) < 0.6) * 1.0


def dense_zarr(path, x=None, version=3, rows=5, **options):
    x = matrix() if x is None else x
    array = zarr.create_array(path, shape=x.shape, chunks=(rows, 4), dtype=x.dtype, zarr_format=version, **options)
    array[:] = x
    return array


def csr_zarr(path, x=None, version=3, encoding="csr_matrix"):
    x = matrix() if x is None else x
    group = zarr.open_group(path, mode="w", zarr_format=version)
    compressed = sp.csr_array(x) if encoding == "csr_matrix" else sp.csc_array(x)
    group.attrs.update({"encoding-type": encoding, "encoding-version": "0.1.0", "shape": list(x.shape)})
    for name in ("data", "indices", "indptr"):
        part = getattr(compressed, name)
        group.create_array(name, shape=part.shape, chunks=(9,), dtype=part.dtype)[:] = part
    return group


WRITE = {"dense": dense_zarr, "csr": csr_zarr}


def same_blocks(source, local):
    assert (source.shape, source.dtype, source.nnz) == (local.shape, local.dtype, local.nnz)
    for target in (150, 10**6):
        assert source.bounds(target) == local.bounds(target)
        for lo, hi in source.bounds(target):
            np.testing.assert_array_equal(source.read(lo, hi).dense(), local.read(lo, hi).dense())


def elsewhere(source, without=()):
    """The fingerprint of a source that travelled to another process, where some packages are missing."""
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({list(without)}))\n"
        "import pickle; from nmfkit.sources import fingerprint\n"
        "print(fingerprint(pickle.loads(sys.stdin.buffer.read())))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], input=cloudpickle.dumps(source), capture_output=True, env=env
    )
    assert done.returncode == 0, done.stderr.decode()
    assert not done.stderr, done.stderr.decode()
    return done.stdout.decode().strip()


# --- the same blocks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("kind", WRITE)
def test_a_local_folder_by_fsspec(tmp_path, kind, version):
    WRITE[kind](tmp_path / "x.zarr", version=version)
    local = open_source(tmp_path / "x.zarr")
    uri = f"local://{tmp_path}/x.zarr"
    source = open_source(uri, storage_options={"auto_mkdir": False})
    assert source.uri == uri
    same_blocks(source, local)
    same_blocks(pickle.loads(pickle.dumps(source)), local)
    assert open_source(uri, dtype="float32").dtype == np.float32
    assert elsewhere(source) == fingerprint(local)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("kind", WRITE)
@pytest.mark.parametrize("library", ["fsspec", "obstore"])
def test_http(site, kind, version, library, request):
    pytest.importorskip(library)
    if library == "obstore":
        request.getfixturevalue("without_fsspec")
    name = f"{library}-{kind}-{version}.zarr"
    WRITE[kind](site.folder / name, version=version)
    local = open_source(site.folder / name)
    source = open_source(f"{site.url}/{name}", storage_options=PLAIN if library == "obstore" else None)
    assert source.uri == f"{site.url}/{name}"
    same_blocks(source, local)
    assert elsewhere(source, ["aiohttp"] if library == "obstore" else []) == fingerprint(local)


@pytest.mark.parametrize("kind", WRITE)
def test_an_open_store_travels_as_it_is(tmp_path, kind):
    WRITE[kind](tmp_path / "x.zarr")
    stores = [zarr.storage.FsspecStore.from_url(f"local://{tmp_path}/x.zarr", read_only=True)]
    if obstore := pytest.importorskip("obstore.store"):
        stores.append(zarr.storage.ObjectStore(obstore.LocalStore(tmp_path / "x.zarr"), read_only=True))
    local = open_source(tmp_path / "x.zarr")
    for store in stores:
        source = open_source(zarr.open(store, mode="r"))
        same_blocks(source, local)
        assert elsewhere(source) == fingerprint(local)


def test_a_store_inside_an_archive_by_a_chain_of_schemes(tmp_path):
    with zarr.storage.ZipStore(tmp_path / "x.zip", mode="w") as store:
        dense_zarr(store)
    dense_zarr(tmp_path / "x.zarr")
    source = open_source(f"zip::local://{tmp_path}/x.zip")
    same_blocks(source, open_source(tmp_path / "x.zarr"))


def test_names_and_the_choice_of_a_matrix(site):
    np.savez(site.folder / "x.npz", X=matrix(), rows=[f"r{i}" for i in range(40)], features=list("abcdefg"))
    convert(site.folder / "x.npz", site.folder / "named.zarr", key="X")
    source = open_source(f"{site.url}/named.zarr")
    assert list(source.row_names)[:2] == ["r0", "r1"]
    assert tuple(pickle.loads(pickle.dumps(source)).feature_names) == tuple("abcdefg")
    zarr.open_group(site.folder / "layered.zarr", mode="w").create_group("layers")
    csr_zarr(site.folder / "layered.zarr" / "layers" / "counts")
    dense_zarr(site.folder / "layered.zarr" / "other")
    uri = f"{site.url}/layered.zarr"
    for key in ("counts", "layers/counts"):
        assert open_source(uri, key=key).is_sparse
    assert not open_source(uri).is_sparse
    with pytest.raises(UsageError, match=r"'zz' does not exist\. It holds: layers/counts 40×7, other 40×7"):
        open_source(uri, key="zz")


def test_a_server_that_lists_nothing_needs_a_key(site, without_fsspec):
    pytest.importorskip("obstore")
    zarr.open_group(site.folder / "silent.zarr", mode="w")
    csr_zarr(site.folder / "silent.zarr" / "a")
    uri = f"{site.url}/silent.zarr"
    assert open_source(uri, key="a", storage_options=PLAIN).is_sparse
    with pytest.raises(SourceError, match=r"silent\.zarr cannot be listed; name the matrix with --key"):
        open_source(uri, storage_options=PLAIN)
    with pytest.raises(UsageError, match=r"'b' does not exist\. The store does not tell what it holds"):
        open_source(uri, key="b", storage_options=PLAIN)


def test_many_small_chunks_are_fetched_together(tmp_path, monkeypatch):
    x = matrix(4000, 7)
    dense_zarr(tmp_path / "x.zarr", x, rows=50)
    monkeypatch.setattr("nmfkit.sources.zarr_read.FETCH_BYTES", 3000)
    source = open_source(f"local://{tmp_path}/x.zarr")
    for lo, hi in ((0, 4000), (13, 977), (49, 51)):
        np.testing.assert_array_equal(source.read(lo, hi).values, x[lo:hi])


# --- what goes wrong ----------------------------------------------------------------------------------------


@pytest.fixture(params=["local", "fsspec", "obstore"])
def way(request, tmp_path):
    """A folder, the URI that leads to it, and the options that open it."""
    if request.param == "local":
        return SimpleNamespace(folder=tmp_path, url=f"local://{tmp_path}", options=None)
    site = request.getfixturevalue("site")
    if request.param == "obstore":
        pytest.importorskip("obstore")
        request.getfixturevalue("without_fsspec")
    folder = site.folder / tmp_path.name
    folder.mkdir(exist_ok=True)
    return SimpleNamespace(
        folder=folder, url=f"{site.url}/{tmp_path.name}", options=PLAIN if request.param == "obstore" else None
    )


def test_a_missing_chunk_and_one_cut_short_are_told_with_their_rows(way):
    convert(matrix(), way.folder / "x.zarr", chunk_mb=10 * 7 * 8 / 2**20)
    source = open_source(f"{way.url}/x.zarr", storage_options=way.options)
    chunk = way.folder / "x.zarr" / "X" / "c" / "1" / "0"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:30])
    with pytest.raises(SourceError, match=rf"{way.url}/x\.zarr/X: rows 0 … 19 cannot be read: .*X/c/1/0 is cut short"):
        source.read(0, 20)
    chunk.unlink()
    with pytest.raises(SourceError, match=r"x\.zarr/X: rows 0 … 39 cannot be read: .*chunk X/c/1/0 is missing"):
        source.read(0, 40)
    np.testing.assert_array_equal(source.read(20, 40).values, matrix()[20:])


def test_a_store_that_is_absent_or_broken_is_told_with_its_uri(way):
    with pytest.raises(SourceError, match=rf"{way.url}/absent\.zarr is no zarr array or group"):
        open_source(f"{way.url}/absent.zarr", storage_options=way.options)
    (way.folder / "broken.zarr").mkdir()
    (way.folder / "broken.zarr" / "zarr.json").write_text("{")
    with pytest.raises(SourceError, match=rf"{way.url}/broken\.zarr is not a readable zarr store"):
        open_source(f"{way.url}/broken.zarr", storage_options=way.options)


def test_a_store_that_is_gone_is_told_when_it_is_read(way):
    array = dense_zarr(way.folder / "x.zarr")
    array.attrs["nmfkit_complete"] = True
    text = pickle.dumps(open_source(f"{way.url}/x.zarr", storage_options=way.options))
    (way.folder / "x.zarr" / "zarr.json").unlink()
    with pytest.raises(SourceError, match=rf"{way.url}/x\.zarr is no zarr array"):
        pickle.loads(text).read(0, 1)


@pytest.mark.parametrize("library", ["fsspec", "obstore"])
def test_a_server_that_does_not_answer_is_told(library, request):
    pytest.importorskip(library)
    pytest.importorskip("aiohttp")
    if library == "obstore":
        request.getfixturevalue("without_fsspec")
    with pytest.raises(SourceError, match=r"http://127\.0\.0\.1:1/x\.zarr: .* cannot be fetched: "):
        open_source("http://127.0.0.1:1/x.zarr", storage_options=PLAIN if library == "obstore" else None)


def test_a_server_without_byte_ranges_is_told_where_they_are_needed(site):
    dense_zarr(site.folder / "shards.zarr", rows=5, shards=(20, 8))
    with pytest.raises(SourceError, match=r"rows 0 … \d+ cannot be read: .*the server knows no byte ranges"):
        open_source(f"{site.url}/shards.zarr").read(0, 3)


# --- access and secrets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WRITE)
def test_options_travel_with_the_source_and_are_never_shown(site, kind):
    WRITE[kind](site.folder / "private" / f"{kind}.zarr")
    source = open_source(f"{site.url}/private/{kind}.zarr", storage_options=KEY)
    assert elsewhere(source) == fingerprint(open_source(site.folder / "private" / f"{kind}.zarr"))
    place = Place("s3://bucket/x.zarr", options=KEY)
    store = source.place.open().store
    for shown in (source, source.place, place, place.child("a"), store):
        assert SECRET not in f"{shown} {shown!r}"
    assert place == Place("s3://bucket/x.zarr", options=dict(KEY))
    assert hash(place) == hash(Place("s3://bucket/x.zarr", options=dict(KEY)))
    assert Place.of(source.place.open()) == source.place
    assert place.child("a").at(SimpleNamespace(path="b")).options == KEY


def test_refused_access_is_told_without_what_was_sent(site):
    dense_zarr(site.folder / "private" / "x.zarr")
    wrong = "wrong-horse-battery"
    for options in (None, {"headers": {"Authorization": wrong}}):
        with pytest.raises(
            SourceError, match=r"private/x\.zarr: access to 'zarr\.json' is refused .*storage_options"
        ) as e:
            open_source(f"{site.url}/private/x.zarr", storage_options=options)
        assert "403" in str(e.value)
        error = e.value
        while error is not None:
            assert wrong not in f"{error} {error!r}"
            error = error.__cause__


def test_access_that_is_lost_is_told_with_the_rows(site, locked):
    dense_zarr(site.folder / "private" / "lost.zarr")
    source = open_source(f"{site.url}/private/lost.zarr", storage_options=KEY)
    source.read(0, 1)
    locked.append("lost.zarr/c/1/0")
    with pytest.raises(
        SourceError, match=r"lost\.zarr: rows 3 … 9 cannot be read: .*access to 'c/1/0' is refused"
    ) as e:
        source.read(3, 10)
    assert SECRET not in str(e.value)
    again = replace(source, place=replace(source.place, options=None))
    with pytest.raises(SourceError, match=r"lost\.zarr: access to 'zarr\.json' is refused"):
        again.read(0, 1)


def test_a_bucket_that_may_not_be_listed_is_read_all_the_same(site):
    dense_zarr(site.folder / "mute" / "x.zarr")
    csr_zarr(site.folder / "mute" / "s.zarr")
    for name in ("x", "s"):
        local = open_source(site.folder / "mute" / f"{name}.zarr")
        same_blocks(open_source(f"{site.url}/mute/{name}.zarr"), local)


def test_messages_lose_every_value_of_the_options():
    options = {"key": "abcdef", "client_kwargs": {"token": ["abcdef-long", b"bytes-too"], "n": 3, "short": "ab"}}
    text = remote.told(ValueError("abcdef-long, abcdef, bytes-too, ab\n\nDebug source: abcdef"), options)
    assert text == "…, …, …, ab"
    assert remote.told(ValueError(), None) == "ValueError"


# --- what is missing, and what makes no sense ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("s3://bucket/x.zarr", "needs the package s3fs or obstore .pip install s3fs"),
        ("gs://bucket/x.zarr", "the package gcsfs or obstore"),
        ("https://host.invalid/x.zarr", "the package aiohttp or obstore"),
        ("simplecache::gcs://bucket/x.zarr", r"the package gcsfs \(pip install gcsfs\)"),
        ("odd://x.zarr", "needs another package: Install s3fs"),
    ],
)
def test_a_missing_package_is_named(uri, words, monkeypatch, without_fsspec):
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(SourceError, match=words):
        open_source(uri)


def test_an_unknown_scheme_is_told():
    with pytest.raises(SourceError, match=r"odd://x\.zarr cannot be opened: Protocol not known: odd"):
        open_source("odd://x.zarr")


def test_options_of_the_other_library_are_told(without_fsspec):
    pytest.importorskip("obstore")
    with pytest.raises(SourceError, match=r"cannot be opened by obstore: .*'secret'.*install s3fs") as told:
        open_source("s3://bucket/x.zarr", storage_options={"secret": SECRET})
    assert SECRET not in str(told.value)


@pytest.mark.parametrize("x", ["x.npy", "x.zarr", "file:///x.zarr", "sample:digits", matrix(), sp.csr_array(matrix())])
def test_options_of_what_is_not_remote_are_refused(x, tmp_path):
    with pytest.raises(UsageError, match="storage_options are for stores opened by a URI"):
        open_source(x, storage_options=KEY)
    with pytest.raises(UsageError, match="pass a dict"):
        open_source(x, storage_options="key=a")


def test_no_options_are_no_options(tmp_path):
    dense_zarr(tmp_path / "x.zarr")
    assert open_source(tmp_path / "x.zarr", storage_options={}).shape == (40, 7)
    with pytest.raises(UsageError, match="storage_options"):
        open_source(zarr.open(tmp_path / "x.zarr"), storage_options=KEY)


def test_files_of_other_kinds_are_read_from_local_disks_only():
    with pytest.raises(UsageError, match=r"https://host\.invalid/x\.npy: npy is read from local disks only"):
        open_source("https://host.invalid/x.npy")
