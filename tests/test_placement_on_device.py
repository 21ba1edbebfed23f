"""Fits on a device are those of the host: whatever stays there or passes through, and within the memory it has."""

from __future__ import annotations

import re
from itertools import count

import numpy as np
import pytest
from fake_device import APART, PLACES, RESIDENT, ROWS_AWAY, STREAMED, device, eventually, fits_on_device

import nmfkit
from nmfkit.api import fit_problem
from nmfkit.errors import UsageError
from nmfkit.loop import is_closing, is_drawing, is_parted, is_phased
from nmfkit.probe import Expected
from nmfkit.score import score
from nmfkit.testing.chunked import Chunked
from nmfkit.testing.compare import assert_close
from nmfkit.testing.executor import doubled, product
from nmfkit.testing.mixes import texts
from nmfkit.testing.registered import contract_of

RNG = np.random.default_rng(3)
FULL = RNG.gamma(1.0, size=(9, 6)) + 0.1
HOLED = np.where(RNG.random(FULL.shape) < 0.3, 0, FULL)
CHUNKS = [(0, 2), (2, 5), (5, 6), (6, 9)]
SIZE = FULL.nbytes
COSTLY = 16
"""Of problems that differ in regularizers only, one of so many."""


def chosen(problems):
    """One problem of each loss and rule, and some with regularizers."""
    seen = set()
    for number, resolved in enumerate(problems):
        problem = resolved.problem
        ways = (str(problem.loss), str(problem.rule))
        if ways not in seen or number % COSTLY == 0:
            seen.add(ways)
            yield resolved


def cases():
    """(model, problem, place, whether X is sparse): every place for a model of one problem, in turn for the others."""
    turns = count()
    for model in texts("model"):
        problems = list(chosen(contract_of("model", model).problems))
        for resolved in problems * (len(PLACES) if len(problems) == 1 else 1):
            turn = next(turns)
            yield model, resolved, list(PLACES)[turn % 4], turn // 4 % 2 == 1


CASES = list(cases())


def named(case):
    model, resolved, place, is_sparse = case
    problem = resolved.problem
    parts = (model, problem.loss, problem.rule, *problem.reg_w, *problem.reg_h)
    return f"{'-'.join(map(str, parts))}-{place.replace(' ', '_')}-{'sparse' if is_sparse else 'dense'}"


def source(x, is_sparse=False):
    return Chunked(x, CHUNKS, is_sparse=is_sparse)


def assert_same(there, here, rtol=1e-10):
    assert_close(list(there.history.objective), list(here.history.objective), "objectives", rtol=rtol, atol=1e-13)
    assert_close(there.factors, here.factors, "factors", rtol=1e3 * rtol, atol=1e-13)


@pytest.mark.parametrize("case", CASES, ids=named)
def test_a_fit_is_that_of_the_host(case):
    _, resolved, place, is_sparse = case
    loss = resolved.ingredients.loss
    x = FULL if loss is not None and loss.needs_positive else HOLED
    given, problem = (x @ x.T if Expected.by(resolved.model).symmetric else x), resolved.problem.replace(max_sweeps=3)
    here = fit_problem(source(given, is_sparse), problem, threads=1)
    with fits_on_device(changes=PLACES[place]) as runtime:
        assert_same(fit_problem(source(given, is_sparse), problem, threads=1), here)
    assert runtime.count("buffer") == runtime.count("free")


def test_every_way_to_sweep_is_among_them():
    models = [resolved.model for _, resolved, *_ in CASES]
    for kind in (is_parted, is_phased, is_drawing, is_closing):
        assert any(map(kind, models)), kind.__name__


# --- other doors -----------------------------------------------------------------------------------------------

WEIGHTS = np.where(RNG.random(FULL.shape) < 0.3, 0, 1 + RNG.random(FULL.shape))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("is_sparse", [False, True])
def test_entries_may_be_missing_or_count_more(place, is_sparse):
    given = {"loss": "kl", "rank": 2, "max_sweeps": 4, "tol": 0, "threads": 1}
    given["weights"] = Chunked(WEIGHTS, CHUNKS, is_sparse=is_sparse)
    here = nmfkit.fit(source(HOLED, is_sparse), **given)
    with fits_on_device(changes=PLACES[place]):
        assert_same(nmfkit.fit(source(HOLED, is_sparse), **given), here)


@pytest.mark.parametrize("place", PLACES)
def test_rows_of_new_data_and_scores(place):
    fitted = nmfkit.fit(FULL, loss="kl", rank=2, max_sweeps=4, threads=1)
    here = nmfkit.transform(fitted, source(HOLED), threads=1), score(fitted, source(FULL), threads=1)
    with fits_on_device(changes=PLACES[place]):
        there = nmfkit.transform(fitted, source(HOLED), threads=1), score(fitted, source(FULL), threads=1)
    assert_close(there[0], here[0], "rows of new data", rtol=1e-8)
    assert_close(there[1].relative_error, here[1].relative_error, "the relative error", rtol=1e-10)


@pytest.mark.parametrize(
    ("rule", "place"),
    [*(("mu", place) for place in PLACES), *(("hals", place) for place in (RESIDENT, ROWS_AWAY)),
     *(("incremental", place) for place in (STREAMED, APART))],
)  # fmt: skip
def test_a_resumed_fit_is_the_uninterrupted_one(tmp_path, place, rule):
    given = {"rank": 2, "rule": rule, "tol": 0, "threads": 1}
    out = tmp_path / "run.zarr"
    with fits_on_device(changes=PLACES[place]):
        whole = nmfkit.fit(source(FULL), max_sweeps=6, **given)
        nmfkit.fit(source(FULL), max_sweeps=3, out=out, **given)
        resumed = nmfkit.resume(out, source(FULL), max_sweeps=6, threads=1)
    assert_close(list(resumed.history.objective), list(whole.history.objective), "objectives", rtol=0)
    assert_close(resumed.factors, whole.factors, "factors", rtol=0)


def test_a_fit_may_go_on_elsewhere(tmp_path):
    given = {"rank": 2, "rule": "mu", "tol": 0, "threads": 1}
    out, back = tmp_path / "there.zarr", tmp_path / "here.zarr"
    whole = nmfkit.fit(source(FULL), max_sweeps=6, **given)
    nmfkit.fit(source(FULL), max_sweeps=3, out=back, **given)
    with fits_on_device():
        nmfkit.fit(source(FULL), max_sweeps=3, out=out, **given)
        assert_same(nmfkit.resume(back, source(FULL), max_sweeps=6, threads=1), whole)
    assert_same(nmfkit.resume(out, source(FULL), max_sweeps=6, threads=1), whole)


def test_a_result_holds_nothing_of_the_device():
    with fits_on_device() as runtime:
        fitted = nmfkit.fit(source(FULL), rank=2, max_sweeps=2, threads=1)
        assert isinstance(fitted.state.rows.read(0, 9)["w"], np.ndarray)
        assert not any(map(runtime.holds, (fitted.w, fitted.h, *fitted.state.following.values())))


# --- what crosses over -----------------------------------------------------------------------------------------


def crossings(place, sweeps, is_sparse=False):
    """Bytes of copies (there, back) beside the computations, and all others there."""
    with fits_on_device(changes=PLACES[place]) as runtime:
        nmfkit.fit(source(HOLED, is_sparse), rank=2, rule="mu", loss="kl", max_sweeps=sweeps, tol=0, threads=1)
    return np.array([runtime.bytes_of("put"), runtime.bytes_of("take"), runtime.bytes_of("send")])


def csr_bytes(x):
    return np.count_nonzero(x) * 12 + 4 * (len(x) + len(CHUNKS))


def row_bytes():
    """Bytes of all rows that a sweep leaves: W, and what its rule goes on from."""
    state = nmfkit.fit(source(HOLED), rank=2, rule="mu", loss="kl", max_sweeps=3, tol=0, threads=1).state
    return sum(f.nbytes for f in state.rows.read(0, len(HOLED)).values())


@pytest.mark.parametrize("is_sparse", [False, True])
def test_what_stays_is_sent_once(is_sparse):
    x = csr_bytes(HOLED) if is_sparse else SIZE
    np.testing.assert_array_equal(crossings(RESIDENT, 3, is_sparse)[:2], [x, 0])
    np.testing.assert_array_equal(crossings(RESIDENT, 6, is_sparse), crossings(RESIDENT, 3, is_sparse))


@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize(("place", "rows"), [(STREAMED, 0), (ROWS_AWAY, 1)])
def test_what_passes_through_is_sent_once_a_sweep(place, rows, is_sparse):
    x = csr_bytes(HOLED) if is_sparse else SIZE
    rows *= row_bytes()
    found = crossings(place, 6, is_sparse) - crossings(place, 3, is_sparse)
    np.testing.assert_array_equal(found, [3 * (x + rows), 3 * rows, 0])


def test_rows_that_are_away_come_and_go_where_blocks_stay():
    found, rows = crossings(APART, 6) - crossings(APART, 3), row_bytes()
    np.testing.assert_array_equal(found, [3 * rows, 3 * rows, 0])


@pytest.mark.parametrize("place", [RESIDENT, STREAMED])
def test_copies_the_next_block_while_one_is_computed_on(place):
    with device(PLACES[place], source(FULL)) as (executor, runtime):
        seen = []

        def step(x, rows, shared):
            del rows, shared
            waited_for = min(len(CHUNKS), len(seen) + 2)
            assert eventually(lambda: runtime.count("put") >= waited_for), "nobody copies the next block meanwhile"
            seen.append(x.first)
            return {}, {"sum": np.sum(x.values)}

        _, stats = executor.sweep(step, None, {})
    assert seen == [lo for lo, _ in CHUNKS]
    assert_close(stats["sum"], np.sum(FULL), "the sum")


# --- memory ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["mu", "hals"])
@pytest.mark.parametrize(("m", "n", "rank", "share"), [(400, 45, 2, 0.1), (300, 60, 1, 1.5), (500, 40, 3, 4.0)])
def test_a_fit_keeps_to_its_memory(m, n, rank, share, rule):
    x = np.random.default_rng(m).gamma(1.0, size=(m, n))
    fit = {"rank": rank, "rule": rule, "max_sweeps": 1, "tol": 0, "threads": 1, "pilot": "none"}
    memory = int(share * x.nbytes)
    try:
        peak = peak_of(x, memory, fit)
    except UsageError as error:
        memory = bytes_in(str(error))
        peak = peak_of(x, memory, fit)
    assert peak <= memory


def peak_of(x, memory, fit):
    """The most bytes of a device of `memory` bytes that a fit took."""
    with fits_on_device(memory=memory, device_memory=memory) as runtime:
        nmfkit.fit(x, **fit)
    assert runtime.count("buffer") == runtime.count("free")
    return runtime.peak


def bytes_in(sentence):
    """What a refusal says would suffice."""
    found = re.search(r"allow ([\d.]+) (B|KiB|MiB|GiB) or more", sentence)
    assert found, sentence
    return int(float(found[1]) * {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}[found[2]])


def test_a_block_larger_than_most_has_room_somewhere():
    x = np.zeros((12, 50))
    x[:, 0], x[9:] = 1, 1
    chunks = [(i, i + 3) for i in range(0, 12, 3)]
    here = nmfkit.fit(Chunked(x, chunks, is_sparse=True), rank=1, max_sweeps=3, threads=1)
    for changes in PLACES.values():
        with fits_on_device(changes=changes):
            assert_same(nmfkit.fit(Chunked(x, chunks, is_sparse=True), rank=1, max_sweeps=3, threads=1), here)


# --- faults ----------------------------------------------------------------------------------------------------


class Torn(Chunked):
    """A source whose third block cannot be read while it is `torn`."""

    torn = False

    def read(self, lo, hi):
        if self.torn and lo == CHUNKS[2][0]:
            raise OSError("the disk is gone")
        return super().read(lo, hi)


def raising(error):
    def step(x, rows, shared):
        del shared
        if x.first == CHUNKS[1][0]:
            raise error
        return {"w": 0 * rows["w"]}, {}

    return step


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("error", [ZeroDivisionError("no good"), KeyboardInterrupt(), OSError("the disk is gone")])
def test_what_fails_spoils_nothing(place, error):
    v = np.ones((6, 2))
    told = []
    with device(PLACES[place], torn := Torn(FULL, CHUNKS)) as (executor, _):
        if isinstance(error, OSError) and "cache_bytes" not in PLACES[place]:
            torn.torn = True
            told.append(failing(lambda: executor.sweep(product, None, {"v": v}), OSError))
            torn.torn = False
        old, _ = executor.sweep(product, None, {"v": v})
        for _ in range(4):  # a buffer that is lost each time would soon be missed
            torn.torn = isinstance(error, OSError) and "cache_bytes" in PLACES[place]
            step = doubled if torn.torn else raising(error)
            told.append(failing(lambda step=step: executor.sweep(step, old, {}), type(error)))
            torn.torn = False
        assert_close(old.read(0, 9)["w"], FULL @ v, "the rows before")
        new, stats = executor.sweep(product, old, {"v": v})
        assert_close(stats["xtxv"], FULL.T @ (FULL @ v), "statistics of a sweep after the failure")
        assert_close(new.read(0, 9)["w"], FULL @ v, "rows of a sweep after the failure")
    assert len(told) >= 4


# --- what the tests share --------------------------------------------------------------------------------------


def failing(function, error):
    with pytest.raises(error) as caught:
        function()
    return caught  # with its traceback, as whoever looks at an error would keep it
