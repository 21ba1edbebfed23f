"""The executor that a caller's options ask for."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from nmfkit import kernels
from nmfkit.check import Resolved
from nmfkit.executors.each import Each, serially
from nmfkit.executors.local import LocalExecutor
from nmfkit.executors.machine import Machine
from nmfkit.executors.place import Place
from nmfkit.executors.plan import Layout, Plan, make_plan, worker_budget
from nmfkit.executors.resources import free_memory
from nmfkit.loop import Watcher, is_parted, is_phased
from nmfkit.protocols import Draws, Executor, HasView, Model, Source, Wide
from nmfkit.sketch import columns
from nmfkit.sources.uri import is_remote

Output: TypeAlias = tuple[str | os.PathLike[str] | None, Mapping[str, Any] | None]
"""Where the output goes, and the storage options that open it there."""

if TYPE_CHECKING:
    from distributed import Client

    from nmfkit.executors.blobs import Blobs
    from nmfkit.executors.crew import Crew


@contextmanager
def executing(
    source: Source,
    resolved: Resolved,
    machine: Machine,
    *,
    out: str | os.PathLike[str] | None = None,
    options: Mapping[str, Any] | None = None,
    watcher: Watcher,
    layout: Layout | None = None,
) -> Iterator[Executor]:
    """The executor for a fit of `resolved` on `source`, laid out as `layout` if that is given.

    Scratch files lie beside `out`. Raises `UsageError` where the memory does not suffice, `ClusterError` where the
    workers cannot do it.
    """
    if machine.is_here:
        plan = local_plan(source, resolved, machine, layout=layout)
        place = _place(plan, machine)
        with (
            _announcing(watcher),
            LocalExecutor(source, plan, scratch=_beside(out), on_block=watcher.block, place=place) as executor,
        ):
            yield executor
        return
    with _on_cluster(source, resolved, machine, (out, options), watcher, layout) as executor:
        yield executor


@contextmanager
def _announcing(watcher: Watcher) -> Iterator[None]:
    """Let the watcher know when kernels are being compiled."""
    before, kernels.on_compile = kernels.on_compile, watcher.note
    try:
        yield
    finally:
        kernels.on_compile = before


@contextmanager
def spread(machine: Machine, *, out: str | os.PathLike[str] | None, watcher: Watcher) -> Iterator[Each]:
    """What runs independent calls that write `out`: this process, or workers that share its folder."""
    if machine.is_here:
        yield serially
        return
    # Imported here: dask takes half a second that a fit in this process need not wait for.
    from nmfkit.executors.calls import each_on
    from nmfkit.executors.crew import inspect_crew
    from nmfkit.executors.passport import Passport

    passport = Passport.of_here()
    with _staffed(machine, (out, None), watcher) as (client, blobs, _):
        crew = inspect_crew(client, passport, None, blobs, machine)
        watcher.crew(crew)
        yield partial(each_on, client, passport)


def local_plan(source: Source, resolved: Resolved, machine: Machine, *, layout: Layout | None = None) -> Plan:
    """The plan of a fit in this process: on its threads, or on a device."""
    needs = _needs(source, resolved)
    memory, threads = machine.memory_bytes(), machine.threads
    if not machine.on_gpu:
        return make_plan(source, **needs, memory=memory, threads=threads, layout=layout)
    from nmfkit.executors.device.budget import device_plan, memory_here

    budget = memory_here(machine.device_bytes())
    return device_plan(source, device_memory=budget, memory=memory, threads=threads, layout=layout, **needs)


def _place(plan: Plan, machine: Machine) -> Place | None:
    """The device that the plan is for; None without one."""
    if plan.device is None:
        return None
    from nmfkit.executors.device.place import OnDevice
    from nmfkit.executors.device.runtime import device_here

    return OnDevice(device_here(machine.device_bytes()), plan.device)


@contextmanager
def _on_cluster(
    source: Source,
    resolved: Resolved,
    machine: Machine,
    output: Output,
    watcher: Watcher,
    layout: Layout | None,
) -> Iterator[Executor]:
    from nmfkit.executors.calls import each_on
    from nmfkit.executors.cluster import ClusterExecutor
    from nmfkit.executors.crew import inspect_crew
    from nmfkit.executors.passport import Passport
    from nmfkit.executors.worker import CACHE_SHARE
    from nmfkit.sources.travel import is_cheap, travels, written

    with _staffed(machine, output, watcher) as (client, blobs, scratch):
        passport = Passport.of_here(sorted(resolved.distributions))
        ready = travels(source) and is_cheap(source)
        crew = inspect_crew(client, passport, source if ready else None, blobs, machine)
        watcher.crew(crew)
        if not ready:
            watcher.stage("staging")
            source = written(source, scratch, partial(each_on, client, passport))
        limit = _limit(machine, crew.memory, len(crew.threads))
        plan = _workers_plan(source, resolved, machine, crew, worker_budget(limit), layout)
        plan = replace(
            plan, cache_bytes=min(plan.cache_bytes, int(CACHE_SHARE * limit)), given_memory=machine.memory_bytes()
        )
        with ClusterExecutor(client, source, plan, passport=passport, blobs=blobs, watcher=watcher) as executor:
            yield executor


def _workers_plan(
    source: Source, resolved: Resolved, machine: Machine, crew: Crew, memory: int, layout: Layout | None
) -> Plan:
    needs, workers = _needs(source, resolved), len(crew.threads)
    if crew.device_memory is None:
        threads = min(crew.threads.values())
        return make_plan(source, **needs, memory=memory, threads=threads, layout=layout, workers=workers)
    from nmfkit.executors.device.budget import SHARE, device_plan

    budget = machine.device_bytes() or int(SHARE * crew.device_memory)
    return device_plan(source, device_memory=budget, memory=memory, layout=layout, workers=workers, **needs)


@contextmanager
def _staffed(machine: Machine, output: Output, watcher: Watcher) -> Iterator[tuple[Client, Blobs, Path]]:
    """A client, a place for blobs beside the output, and a scratch folder."""
    from nmfkit.executors.blobs import Blobs
    from nmfkit.executors.connect import connected
    from nmfkit.sources.zarr_store import Place

    watcher.stage("cluster")
    out, options = output
    with (
        connected(machine, watcher.note) as client,
        _scratch(out) as scratch,
    ):
        folder = Path(scratch).resolve()
        if out is None or not is_remote(str(out)):
            yield client, Blobs(Place(str(folder)), "work"), folder
            return
        place = Place(f"{str(out).rstrip('/')}.{folder.name.lstrip('.')}", options=options)
        try:
            yield client, Blobs(place, "work"), folder
        finally:
            Blobs(place, "").clear()


@contextmanager
def _scratch(out: str | os.PathLike[str] | None) -> Iterator[str]:
    """A folder beside `out` that is gone afterwards, though a task that is given up may still write there."""
    folder = Path(tempfile.mkdtemp(prefix=".nmfkit-", dir=_beside(out)))
    try:
        yield str(folder)
    finally:
        # Away at once, then apart: nobody writes into it in between.
        aside = folder.with_name(f"{folder.name}.removed")
        folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def _limit(machine: Machine, allowed: int | None, workers: int) -> int:
    """Bytes that each worker may use: what is asked for, what dask allows, and for local workers what is free."""
    limits = [allowed, machine.memory_bytes()]
    if machine.workers or not any(limits):
        limits.append(free_memory() // workers)
    return min(limit for limit in limits if limit)


def _needs(source: Source, resolved: Resolved) -> dict[str, Any]:
    return {
        "width": columns(resolved),
        "dtype": source.dtype,
        "elementwise": resolved.model.elementwise,
        "forms_product": resolved.model.forms_product,
        # A closing sweep keeps the rows that it started from, too.
        "row_copies": _copies(resolved.model.row_factors) + is_parted(resolved.model) + _aside(resolved.model),
        "groups": resolved.model.groups if is_parted(resolved.model) else 0,
        "reads": resolved.model.reads if is_phased(resolved.model) else 1,
        "shared_width": resolved.model.width(source.shape[1]) if isinstance(resolved.model, Wide) else None,
        "draws": isinstance(resolved.model, Draws) and resolved.model.draws,
        "views": isinstance(resolved.model, HasView) and resolved.model.elementwise,
    }


def _aside(model: Model) -> int:
    """How many copies of the rows the passes before a sweep keep."""
    return model.aside if is_phased(model) else 0


def _copies(row_factors: Sequence[str]) -> int:
    """How often the rows of a factor are kept, with what it goes on from: the most of any."""
    return max(Counter(name.partition(".")[0] for name in row_factors).values())


def _beside(out: str | os.PathLike[str] | None) -> Path | None:
    """The folder that `out` lies in, for scratch files on the same disk."""
    if out is None or is_remote(str(out)):
        return None
    folder = Path(out).expanduser().absolute().parent
    return folder if folder.is_dir() else None
