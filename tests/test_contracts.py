"""Every registered part holds the laws of its kind, on each of its examples."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp
import zarr
from distributed import Client, LocalCluster
from fake_device import PLACES, judged, laid_out
from hypothesis import Phase, settings
from nmfkit_plugins.beta.multiplicative import Multiplicative
from nmfkit_plugins.beta.norms import L2

from nmfkit.errors import UsageError
from nmfkit.executors.blobs import Blobs
from nmfkit.executors.cluster import ClusterExecutor
from nmfkit.executors.device.place import OnDevice
from nmfkit.executors.local import LocalExecutor
from nmfkit.executors.passport import Passport
from nmfkit.hookspecs import KINDS
from nmfkit.lowrank import LowRank
from nmfkit.registry import registry
from nmfkit.sources import open_source
from nmfkit.sources.zarr_store import Place
from nmfkit.testing import (
    Chunked,
    ExecutorContract,
    LawResult,
    LossContract,
    RegularizerContract,
    RuleContract,
    SourceContract,
    check_part,
    contract_for,
    examples_of,
)
from nmfkit.testing.fake_runtime import FakeRuntime
from nmfkit.testing.registered import contract_of

CONTRACTS = {
    (kind, text): contract_of(kind, text)
    for kind in KINDS
    for part in registry().of_kind(kind)
    for text in examples_of(part)
}


@pytest.mark.parametrize(
    ("kind", "text", "law"),
    [
        pytest.param(kind, text, law, id=f"{kind}-{text}-{law.removeprefix('test_')}")
        for (kind, text), contract in CONTRACTS.items()
        for law in contract.laws()
    ],
)
def test_registered(kind, text, law):
    getattr(CONTRACTS[kind, text], law)()


class TestLocalExecutor(ExecutorContract):
    """Threads of this process."""


class TestExecutorOnADevice(ExecutorContract):
    """The fake device, where X stays or passes through and rows are there or away, by the number of blocks."""

    share = 0.3

    @contextmanager
    def running(self, *given, **options):
        with ExitStack() as there:
            if (outer := getattr(self, "runtime", None)) is None:
                self.runtime = there.enter_context(FakeRuntime())
                there.enter_context(judged(self.runtime))
            try:
                yield there.enter_context(super().running(*given, **options))
            finally:
                self.runtime = outer

    def make(self, source=None, plan=None):
        needs = {"width": 4, "dtype": source.dtype, "elementwise": False, "forms_product": False}
        changes = list(PLACES.values())[len(plan.bounds) % len(PLACES)]
        device = laid_out(source, changes, **needs).device
        return LocalExecutor(source, replace(plan, device=device), place=OnDevice(self.runtime, device))


class TestClusterExecutor(ExecutorContract):
    """Dask workers, in this process so that each of the many small clusters' worth of laws costs little."""

    share = 0.4

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def client(cls, tmp_path_factory):
        cls.folder = str(tmp_path_factory.mktemp("blobs"))
        zarr.open_group(cls.folder, mode="w")
        with (
            LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
            Client(cluster) as cls.client,
        ):
            yield

    def make(self, source=None, plan=None):
        executor = ClusterExecutor(self.client, source, plan, passport=Passport.of_here())
        executor.work_in(Blobs(Place(self.folder), "work"))
        return executor

    def test_workers_share_blocks_however_many_rows_those_have(self):
        layout = (np.ones((44, 3)), [(0, 1), (1, 2), (2, 23), (23, 44)], tuple(range(i, i + 1) for i in range(4)), 1)
        with self.running(layout) as executor:
            owners = executor._placement.on(dict(self.client.nthreads()))
        assert owners[0] == owners[1] != owners[2] == owners[3]


X = np.arange(35.0).reshape(7, 5) * (np.arange(35).reshape(7, 5) % 3 > 0)

WRITERS = {
    ".npy": lambda path: np.save(path, X),
    ".npz": lambda path: sp.save_npz(path, sp.csr_array(X)),
    ".mtx": lambda path: scipy.io.mmwrite(path, sp.coo_array(X)),
    ".csv": lambda path: np.savetxt(path, X, delimiter=","),
    ".tsv": lambda path: np.savetxt(path, X, delimiter="\t"),
    ".mat": lambda path: scipy.io.savemat(path, {"x": X}),
}


@pytest.mark.parametrize("law", SourceContract.laws())
@pytest.mark.parametrize("suffix", [s for r in registry().readers() for s in r.spec.suffixes])
def test_file_readers(tmp_path, suffix, law):
    if suffix not in WRITERS:
        pytest.skip(f"no small {suffix} file is written here: its reader has tests of its own")
    path = str(tmp_path / f"x{suffix}")
    WRITERS[suffix](path)
    contract = SourceContract.of(lambda: open_source(path))
    assert (contract.whole == X).all()
    getattr(contract, law)()


@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize("law", SourceContract.laws())
def test_the_kits_own_source(law, is_sparse):
    getattr(SourceContract.of(lambda: Chunked(X, [(0, 3), (3, 7)], is_sparse=is_sparse)), law)()


# --- the kit itself: it finds what is wrong -----------------------------------------------------------------


@pytest.fixture
def as_found():
    """Cases that break a law are shown as they were found: looking for the smallest takes longest."""
    before = settings.get_current_profile_name()
    settings.register_profile("as found", settings(), phases=[Phase.generate])
    settings.load_profile("as found")
    yield
    settings.load_profile(before)


class Crooked:
    """Half the squared error with every kind of fault."""

    needs_positive = True
    pattern_only = False

    def value(self, x, y):
        return np.float64(0.5 * np.sum((x.dense() - np.asarray(y.form())) ** 2)) + 1.0

    def split(self, x, y):
        x.values[...] *= 2
        return LowRank(2 * y.u, y.v), x

    def surrogate(self, halves):
        return {2.0: halves.pos, 1.5: -halves.neg}


FAULTS = {
    "test_value_adds_up_over_row_blocks",
    "test_needs_positive_tells_the_truth",
    "test_split_is_the_derivative",
    "test_surrogate_keeps_the_sign_contract",
    "test_runs_on_a_device",
    "test_float32_stays_float32",
    "test_leaves_its_inputs_alone",
}


@pytest.mark.usefixtures("as_found")
@pytest.mark.parametrize("law", sorted(FAULTS))
def test_a_crooked_loss_is_found_out(law):
    contract = LossContract.of(Crooked)
    with pytest.raises((AssertionError, TypeError)):
        getattr(contract, law)()


class Overshooting(Multiplicative):
    """The square of the right step, which rows share."""

    def update(self, f, loss, prepared, gathered, penalty, moment):
        right = super().update(f, loss, prepared, gathered, penalty, moment)
        return right * right / np.maximum(f, 1e-300) * (1 + 1e-3 * len(f))


@pytest.mark.usefixtures("as_found")
@pytest.mark.parametrize(
    "law", ["test_objective_never_rises", "test_rows_do_not_see_each_other", "test_a_stationary_point_stays"]
)
def test_a_crooked_rule_is_found_out(law):
    with pytest.raises(AssertionError):
        getattr(RuleContract.of(Overshooting), law)()


class Lopsided(L2):
    """L2 with a majoriser of half its slope, and a statistic that is no sum."""

    def stat(self, f):
        return float(np.max(f)) ** 2

    def surrogate(self, f, stat):
        return {2.0: 0.5 * self.weight * f}


@pytest.mark.usefixtures("as_found")
@pytest.mark.parametrize(
    "law",
    [
        "test_statistic_adds_up_over_row_blocks",
        "test_surrogate_touches_the_penalty",
        "test_surrogate_lies_above_the_penalty",
    ],
)
def test_a_crooked_regularizer_is_found_out(law):
    with pytest.raises(AssertionError):
        getattr(RegularizerContract.of(lambda: Lopsided(1.0)), law)()


def test_check_part_runs_without_pytest():
    results = check_part("l1", examples=5)
    assert {r.part for r in results} == {"l1:0.1"}
    assert all(r.passed for r in results)
    assert LawResult("l1:0.1", "test_pickles", True) in results
    skipped = next(r for r in results if r.law == "test_prox_beats_its_rivals")
    assert skipped.message.startswith("does not apply: not a regularizer with a proximal map")


def test_check_part_takes_a_value():
    assert {r.part for r in check_part("l2:3", examples=2)} == {"l2:3"}


def test_check_part_tells_of_a_part_without_examples():
    (only,) = check_part("npy")
    assert "examples" in only.message


def test_check_part_names_what_is_close():
    with pytest.raises(UsageError, match="did you mean 'l1'"):
        check_part("l11")


def test_no_kind_is_without_a_contract():
    assert [contract_for(kind).laws() for kind in KINDS]
    with pytest.raises(UsageError, match="no kind"):
        contract_for("colour")
