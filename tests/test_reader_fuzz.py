"""Whatever bytes a file holds, its reader gives a matrix or an error that names the file, in bounded memory."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import re
import resource
import zipfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reader_files import MAKERS, matrix

from nmfkit.errors import DataError, SourceError, UsageError
from nmfkit.executors import resources
from nmfkit.registry import registry
from nmfkit.sources import open_source

HEADROOM = 2**30
"""Address space that reading may take beside what the process has: far less than any header may claim."""

FREE = 2**26
"""What readers are told is free."""

WIDEST = 2**22
"""Bytes of a row above which no block is read: nothing reads rows that are wider than the memory."""

FEW, MANY = 15, int(os.environ.get("NMFKIT_FUZZ_EXAMPLES", 2000))

HUGE = [2**40, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1, 2**16 - 1, 0]


@contextmanager
def bounded_memory():
    """Refuse allocations beyond what is there and `HEADROOM`: a reader that tries fails by MemoryError."""
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (held + HEADROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(autouse=True)
def _little_memory(monkeypatch):
    monkeypatch.setattr(resources, "free_memory", lambda: FREE)


def refused_or_read(text, name, **given):
    """Open `text` and read both ends; whatever is refused must name the file `name`."""
    try:
        with bounded_memory():
            source = open_source(text, **given)
            if source.shape[1] * 8 > WIDEST:
                return None
            blocks = source.bounds(2**16) if source.shape[0] < 2**24 else []
            for lo, hi in {*blocks[:1], *blocks[-1:]}:
                block = source.read(lo, hi)
                assert block.shape == (hi - lo, source.shape[1])
            return source
    except (SourceError, DataError, UsageError) as error:
        told = str(error)
    assert name in told, f"the message does not name {name}: {told}"
    return None


# --- damage -------------------------------------------------------------------------------------------------


@cache
def good(maker):
    """The bytes of every file that the maker makes."""
    with TemporaryDirectory() as folder:
        maker.written(Path(folder))
        return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(Path(folder).rglob("*")) if f.is_file()}


def damaged(content):
    """Bytes near `content`: cut, with bits turned, with numbers made huge, with pieces lost or doubled."""
    places = st.integers(0, max(0, len(content) - 1))
    return st.one_of(
        st.builds(lambda at: content[:at], places),
        st.builds(lambda at: content[at:], places),
        st.builds(_turned, st.just(content), st.lists(st.tuples(places, st.integers(1, 255)), min_size=1, max_size=4)),
        st.builds(_overwritten, st.just(content), places, st.sampled_from(HUGE), st.sampled_from((1, 2, 4, 8)),
                  st.sampled_from(("little", "big"))),
        st.builds(_with_number, st.just(content), st.integers(0, 40), st.sampled_from(HUGE)),
        st.builds(lambda a, b: content[: min(a, b)] + content[max(a, b) :], places, places),
        st.builds(lambda a, piece: content[:a] + piece + content[a:], places, st.binary(min_size=1, max_size=8)),
        st.builds(lambda a, b: content[:a] + content[min(a, b) : max(a, b)] + content[a:], places, places),
    )  # fmt: skip


def _turned(content, changes):
    changed = bytearray(content)
    for at, bits in changes:
        if at < len(changed):
            changed[at] ^= bits
    return bytes(changed)


def _overwritten(content, at, number, size, order):
    number = (number & (2 ** (8 * size) - 1)).to_bytes(size, order)
    return content[:at] + number + content[at + size :]


def _with_number(content, which, number):
    """`content` with one of the numbers that are written in it as text replaced."""
    found = list(re.finditer(rb"[0-9]+", content[:20000]))
    if not found:
        return content + str(number).encode()
    match = found[which % len(found)]
    return content[: match.start()] + str(number).encode() + content[match.end() :]


def check_damage(maker, more):
    files = good(maker)
    content = more.draw(damaged(files[maker.name]), label="content")
    with TemporaryDirectory() as folder:
        text = maker.written(Path(folder))
        path = Path(folder, maker.name)
        path.write_bytes(content)
        # A fault may be that of the folder, or of the file beside.
        refused_or_read(text, Path(folder).name, missing=more.draw(st.sampled_from(("none", "nan"))))


LAX = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}


@pytest.mark.parametrize("maker", MAKERS, ids=str)
@settings(max_examples=FEW, derandomize=True, **LAX)
@given(more=st.data())
def test_damaged_files(maker, more):
    check_damage(maker, more)


@pytest.mark.slow
@pytest.mark.parametrize("maker", MAKERS, ids=str)
@settings(max_examples=MANY, **LAX)
@given(more=st.data())
def test_many_damaged_files(maker, more):
    check_damage(maker, more)


@pytest.mark.parametrize("maker", MAKERS, ids=str)
def test_good_files_are_read(maker, tmp_path):
    assert refused_or_read(maker.written(tmp_path), maker.name) is not None


def test_every_reader_of_files_is_damaged_here():
    built_in = {p.name for p in registry().readers() if p.distribution == "nmfkit" and not p.spec.schemes}
    assert built_in - {m.reader for m in MAKERS} == set()


@pytest.mark.parametrize("maker", MAKERS, ids=str)
def test_empty_files_and_those_of_other_formats(maker, tmp_path):
    text = maker.written(tmp_path)
    for content in (b"", b"\0", b"\0" * 4096, b"\xff" * 300, *(good(other)[other.name] for other in MAKERS)):
        (tmp_path / maker.name).write_bytes(content)
        refused_or_read(text, tmp_path.name)


# --- what somebody made on purpose --------------------------------------------------------------------------


class Trap:
    """Unpickled, it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_nothing_is_unpickled(tmp_path, name):
    trap = np.array([[Trap(tmp_path / "sprung")] * 2] * 2, dtype=object)
    if name == "x.npy":
        np.save(tmp_path / name, trap, allow_pickle=True)
    else:
        np.savez(tmp_path / name, x=trap, rows=trap)
    assert refused_or_read(tmp_path / name, name) is None
    (tmp_path / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    assert refused_or_read(tmp_path / name, name) is None
    assert not (tmp_path / "sprung").exists()


def npy_bytes(shape, dtype="<f8", content=b""):
    """An array as its header claims it, and what follows."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + content


def zipped(members, compression=zipfile.ZIP_DEFLATED):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return held.getvalue()


SHAPES = [(2**40, 4), (4, 2**40), (2**31, 2**31), (2**62, 4), (2**20, 2**10)]


@pytest.mark.parametrize("shape", SHAPES)
def test_arrays_that_claim_more_than_there_is(tmp_path, shape):
    (tmp_path / "x.npy").write_bytes(npy_bytes(shape, content=bytes(64)))
    assert refused_or_read(tmp_path / "x.npy", "x.npy") is None
    (tmp_path / "x.npz").write_bytes(zipped({"x.npy": npy_bytes(shape, content=bytes(64))}))
    assert refused_or_read(tmp_path / "x.npz", "x.npz") is None


def test_an_archive_that_unpacks_to_far_more(tmp_path):
    bomb = npy_bytes((2**17, 2**10), "|u1", bytes(2**27))
    (tmp_path / "x.npz").write_bytes(zipped({"x.npy": bomb}))
    with pytest.raises(SourceError, match=r"x\.npz: .* takes 128 MiB, and 64.0 MiB of memory are free"):
        open_source(tmp_path / "x.npz")
    (tmp_path / "x.npz").write_bytes(zipped({"x.npy": npy_bytes((2, 2), content=bytes(32)), "rows.npy": bomb}))
    assert refused_or_read(tmp_path / "x.npz", "x.npz", key="x").row_names is None


def test_members_whose_names_lead_elsewhere(tmp_path):
    names = ("../../x.npy", "/etc/x.npy", "a\\..\\x.npy")
    (tmp_path / "x.npz").write_bytes(zipped({name: npy_bytes((2, 2), content=bytes(32)) for name in names}))
    before = sorted(tmp_path.parent.rglob("*"))
    assert refused_or_read(tmp_path / "x.npz", "x.npz") is None
    assert sorted(tmp_path.parent.rglob("*")) == before


@pytest.mark.parametrize("first", ["coordinate real general\n{m} {n} {e}", "array real general\n{m} {n}"])
@pytest.mark.parametrize("sizes", [(2**40, 4, 1), (4, 2**40, 1), (4, 4, 2**40), (2**62, 2**62, 2)])
def test_matrix_market_files_that_claim_more_than_there_is(tmp_path, first, sizes):
    text = "%%MatrixMarket matrix " + first.format(m=sizes[0], n=sizes[1], e=sizes[2]) + "\n1 1 1\n"
    (tmp_path / "x.mtx").write_text(text)
    assert refused_or_read(tmp_path / "x.mtx", "x.mtx") is None


def test_tables_that_unpack_to_far_more(tmp_path):
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(b"1,2,3\n" * 2**23, 9))
    with pytest.raises(SourceError, match=r"x\.csv\.gz: "):
        open_source(tmp_path / "x.csv.gz")


def test_variables_of_matlab_that_claim_more_than_there_is(tmp_path):
    scipy.io.savemat(tmp_path / "x.mat", {"x": matrix()})
    stored = (tmp_path / "x.mat").read_bytes()
    for sides in ((2**31 - 1, 5), (2**31 - 1, 2**31 - 1), (-7, -5)):
        shape = np.array(sides, "<i4").tobytes()
        (tmp_path / "x.mat").write_bytes(stored.replace(np.array([7, 5], "<i4").tobytes(), shape))
        assert refused_or_read(tmp_path / "x.mat", "x.mat") is None


def test_datasets_that_claim_more_than_there_is(tmp_path):
    h5py = pytest.importorskip("h5py")
    for shape in ((2**40, 2**20), (2**30, 4)):
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file.create_dataset("x", shape, "f8", chunks=(2**10, 4))
        refused_or_read(tmp_path / "x.h5", "x.h5")


def test_files_of_the_other_byte_order_are_the_same(tmp_path):
    np.save(tmp_path / "x.npy", matrix().astype(">f4"))
    source = refused_or_read(tmp_path / "x.npy", "x.npy")
    np.testing.assert_array_equal(source.read(0, 7).values, matrix())
    np.savez(tmp_path / "x.npz", x=matrix().astype(">i8"))
    source = refused_or_read(tmp_path / "x.npz", "x.npz")
    np.testing.assert_array_equal(source.read(0, 7).values, matrix())
