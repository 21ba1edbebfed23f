"""Data that many fits share, looked at once, and the fits that are done on them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import scipy.sparse as sp

from nmfkit.api import Warner
from nmfkit.arguments import refuse_unstorable
from nmfkit.blocks import CSR
from nmfkit.check import check_data, check_source, resolve
from nmfkit.executors.machine import Machine, MachineOptions
from nmfkit.executors.open import executing
from nmfkit.interrupts import noticed
from nmfkit.loop import Watcher
from nmfkit.origin import changed_versions, describe_data
from nmfkit.probe import Expected, Probe, survey
from nmfkit.problem import Problem
from nmfkit.protocols import HasGram, Source
from nmfkit.selection.job import Job, Setting
from nmfkit.selection.judge import reference
from nmfkit.selection.schedule import Layout, fit_all, one_cluster
from nmfkit.selection.store import SelectionStore
from nmfkit.sources import ArraySource, SparseSource, open_source
from nmfkit.sources.about import about_of
from nmfkit.sources.observed import data_places, filled, holes, with_zeros
from nmfkit.versions import versions

PLACE = ("uri", "key")
"""What may change about data that are still the same."""


@dataclass(frozen=True)
class Data:
    """What is to be fitted, as the caller names it."""

    x: Any
    key: str | None = None
    storage_options: Mapping[str, Any] | None = None
    mask: Any = None
    missing: str = "none"


@dataclass(frozen=True)
class Work:
    """The setting of the fits, what was found in the data, and where the fits are kept."""

    setting: Setting
    probe: Probe
    described: Mapping[str, Any]
    layout: Layout
    machine: Machine
    watcher: Watcher
    folder: Path
    overwrite: bool

    def fit(self, jobs: Sequence[Job]) -> SelectionStore:
        """Do those of the `jobs` that are not done yet; the store of them all."""
        store = SelectionStore.begin(
            self.folder, self._identity(), about=self._about(), share=self.setting.share, overwrite=self.overwrite,
            keep=data_places(self.described),
        )  # fmt: skip
        for caution in changed_versions(store.attributes()["versions"], self.versions):
            self.watcher.note(caution)
        # The order in which numbers are added is that of the first fits, wherever the others are done.
        layout = Layout(**store.attributes()["layout"])
        left = [job for job in sorted(jobs) if not store.has(job)]
        fit_all(self.setting, left, store, layout, self.machine, self.watcher)
        return store

    @property
    def versions(self) -> dict[str, str]:
        """The software that does the fits."""
        return versions() | self.machine.software

    def _identity(self) -> dict[str, Any]:
        """What fits must share to be compared: another one of it, and they are fits of something else."""
        problem = self.setting.problem.to_dict()
        del problem["ranks"]
        data = {name: value for name, value in self.described.items() if name not in PLACE}
        return {"problem": problem, "data": data}

    def _about(self) -> dict[str, Any]:
        """What is good to know besides."""
        return {"source": dict(self.described), "versions": self.versions, "layout": asdict(self.layout)}

    def scale(self) -> dict[str, Any]:
        """What relative errors are measured by, and the seed of the first replicate."""
        problem, source = self.setting.problem, self.setting.known
        resolved = self.setting.resolved(problem)
        loss = reference(source, resolved, self.probe.columns, self.machine, self.watcher)
        return {"loss": loss, "quadratic": isinstance(resolved.ingredients.loss, HasGram), "seed": problem.seed}


@contextmanager
def prepared(
    data: Data,
    problem: Problem,
    share: Any,
    *,
    out: str | os.PathLike[str] | None,
    overwrite: bool,
    watcher: Watcher | None,
    machine: MachineOptions,
) -> Iterator[Work]:
    """Everything that the fits need: data opened and checked, a cluster if one is named, a folder for the results.

    `share` is a function of the opened data, or None if no entries are to be hidden.
    """
    watcher, place = watcher or Warner(), Machine.ready(machine)
    resolve(problem)
    refuse_unstorable(problem)
    source = open_source(
        filled(data.x, data.missing), key=data.key, dtype=problem.dtype, storage_options=data.storage_options,
        missing=holes(data.missing),
    )  # fmt: skip
    mask = None if data.mask is None else open_source(data.mask)
    layout = Layout.of(source, problem.ranks[0], place)
    setting = Setting(problem, source, None, {}, mask, data.missing)
    check_source(setting.resolved(problem), setting.known)
    setting = Setting(problem, source, share(setting.known) if share else None, {}, mask, data.missing)
    with ExitStack() as stack:
        stack.enter_context(noticed())
        place = stack.enter_context(one_cluster(place, watcher))
        probe = _look(setting, place, watcher)
        described = describe_data(setting.known, probe, data.key)
        if layout.small:
            setting = Setting(problem, resident(source, data.missing), setting.share, {}, mask, data.missing)
        folder = Path(out) if out is not None else Path(stack.enter_context(_passing()))
        yield Work(setting, probe, described, layout, place, watcher, folder, overwrite)


def _look(setting: Setting, machine: Machine, watcher: Watcher) -> Probe:
    resolved, source = setting.resolved(setting.problem), setting.known
    with executing(source, resolved, machine, watcher=watcher) as executor:
        watcher.stage("probe")
        probe = survey(executor.sweep, executor.source, expected=Expected.by(resolved.model))
    check_data(resolved, probe, source.dtype)
    watcher.found(probe)
    for sentence in probe.notes():
        watcher.note(sentence)
    return probe


@contextmanager
def _passing() -> Iterator[str]:
    """A place for fits that nobody wants to keep."""
    with tempfile.TemporaryDirectory(prefix="nmfkit-") as folder:
        yield str(Path(folder) / "selection.zarr")


def resident(source: Source, missing: str = "none") -> Source:
    """A small source as a whole in memory, so that many fits need not read it again."""
    if source.resident:
        return source
    x = (with_zeros(source) if missing == "absent" else source).read(0, source.shape[0])
    of, names, features, about = source, source.row_names, source.feature_names, about_of(source)
    if isinstance(x, CSR):
        matrix = sp.csr_array((x.values, x.indices, x.indptr), shape=x.shape)
        return SparseSource(matrix, uri=of.uri, dtype=of.dtype, row_names=names, feature_names=features, about=about)
    return ArraySource(x.dense(), uri=of.uri, dtype=of.dtype, row_names=names, feature_names=features, about=about)
