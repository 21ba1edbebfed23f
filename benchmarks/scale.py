"""Measure how sweeps on dask workers scale on this machine, what they cost besides, and model larger clusters from it.

python benchmarks/scale.py
python benchmarks/scale.py --quick --json scale.json
python benchmarks/scale.py --memory --size 8GB
"""

import argparse
import json
import os
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median

import costs as measured
from model import Cluster, Costs, limit, planned, sweep
from peak import peaks
from sweeps import (
    LOSSES,
    RANK,
    Fit,
    Others,
    Place,
    by_shards,
    crew,
    executor,
    few_large,
    halves,
    listed,
    moved,
    overheads,
    problem,
    slowest,
)
from workload import BLOCK_ROWS, COLUMNS, write_matrix

from nmfkit.errors import UsageError
from nmfkit.executors.blobs import Blobs
from nmfkit.executors.forecast import forecast
from nmfkit.executors.plan import parse_size, size_text
from nmfkit.executors.resources import available_threads
from nmfkit.executors.worker import CACHE_SHARE
from nmfkit.sources import open_source
from nmfkit.sources.head import Head
from nmfkit.sources.zarr_store import Place as StorePlace

PLACES = (Place(0, 1), Place(0, 2), Place(1, 1), Place(2, 1), Place(1, 2))
PAIR = Place(2, 1)
HUGE = (1_250_000_000, COLUMNS)
WORKERS = (16, 64, 256)
QUIET, PATIENCE = 0.05, 2
"""The share of the processors that others may take during a timed sweep; how often more are timed to find enough."""


def table(heads, rows, names=1):
    """Columns as wide as they need to be; the first `names` of them are aligned on the left."""
    cells = [heads, *[[show(cell) for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    for row in cells:
        padded = [c.ljust(w) if i < names else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        print("  ".join(padded))
    print(flush=True)


def show(cell):
    if cell is None:
        return ""
    return f"{cell:,}" if isinstance(cell, int) else cell if isinstance(cell, str) else f"{cell:.3g}"


def ms(seconds):
    return f"{1000 * seconds:.1f}"


# --- measured --------------------------------------------------------------------------------------------------


def scaling(path, folder, given):
    """Sweeps and their halves at every place, `rounds` times in turn; weak scaling halves the matrix for one worker."""
    whole = open_source(path)
    found, probes = {}, {}
    for _ in range(given.rounds):
        for place in PLACES:
            with crew(place) as client:
                for half in (False, True)[: 2 if place == Place(1, 1) else 1]:
                    source = half_of(whole) if half else whole
                    for loss in LOSSES:
                        record = found.setdefault((loss, place, half), {})
                        for name, values in at_place(path, folder, place, client, source, loss, probes, given).items():
                            record.setdefault(name, []).extend(values)
    return found


def at_place(path, folder, place, client, source, loss, probes, given):
    """Seconds of sweeps, what of them no worker works, what others took; bytes a second of each half.

    A sweep that others disturbed is timed again, a few times; then the least disturbed ones count.
    """
    resolved, timed = problem(loss), []
    with executor(place, client, source, resolved, folder) as at:
        fit = Fit(at, resolved, probes.get(source.shape))
        probes[source.shape] = fit.probe
        fit.sweep()
        while len(timed) < PATIENCE * given.sweeps and sum(one[0] <= QUIET for one in timed) < given.sweeps:
            others = Others()
            seconds = fit.sweep()
            timed.append((others.share(), seconds, seconds - slowest(at) if client is not None else 0.0))
        shares, seconds, rest = zip(*sorted(timed)[: given.sweeps], strict=True)
        record = {"seconds": seconds, "besides": rest, "others": shares}
        if not isinstance(source, Head):
            record |= {name: [rate] for name, rate in halves(place, client, path, fit, 1).items()}
    return record


def half_of(source):
    rows = source.shape[0] // 2 // BLOCK_ROWS * BLOCK_ROWS
    step = source.chunks[0]
    return Head(source, max(step, rows // step * step))


def print_scaling(found, source):
    size = 4 * source.shape[0] * source.shape[1]
    rows = []
    for (loss, place, half), record in found.items():
        if half:
            continue
        seconds, read, arithmetic = (median(record[name]) for name in ("seconds", "read", "arithmetic"))
        here = median(found[loss, Place(0, place.in_all), False]["seconds"])
        rate = size / seconds
        rows.append((
            loss, str(place), seconds, rate / 1e9, f"{here / seconds:.2f}", read / 1e9, arithmetic / 1e9,
            f"{rate / min(read, arithmetic):.2f}", f"{rate / (1 / (1 / read + 1 / arithmetic)):.2f}",
            ms(median(record["besides"])) if place.workers else "", f"{median(record['others']):.0%}",
        ))  # fmt: skip
    heads = ("loss", "place", "s", "GB/s", "of here", "read", "arith.", "of slower", "of both", "besides ms", "others")
    table(heads, sorted(rows, key=lambda row: row[0]), names=2)
    rows = []
    for loss in LOSSES:
        one, two, half = (
            median(found[loss, place, is_half]["seconds"])
            for place, is_half in ((Place(1, 1), False), (PAIR, False), (Place(1, 1), True))
        )
        here = [median(found[loss, Place(0, t), False]["seconds"]) for t in (1, 2)]
        rows.append((loss, f"{one / two:.2f}", f"{half / two:.2f}", f"{here[0] / here[1]:.2f}"))
    table(("loss", "strong, 1 → 2 workers", "weak, 1 → 2 workers", "here, 1 → 2 threads"), rows)


def besides(path, folder, client, given):
    """Overheads, bytes moved, costs: all with two workers of one thread."""
    counts = [n for n in (10, 100, 1000, 10_000) if n <= given.most_blocks]
    source, found, others = open_source(path), {}, Others()
    found["overheads"] = overheads(client, PAIR, folder, counts, 5)
    found["few large"] = few_large(client, PAIR, folder, 9)
    found["by shards"] = by_shards(client, PAIR, folder, [n for n in (8, 64, 512) if n <= given.most_blocks], 5)
    found["listed"] = listed(client, PAIR, folder, (1000, 100 * given.most_blocks // 10), 3)
    with executor(PAIR, client, source, problem("frobenius"), folder) as at:
        fit = Fit(at, problem("frobenius"))
        found["moved"] = moved(client, fit, folder, 2)
        found["forecast"] = forecast(at, problem("frobenius")).as_dict()
        lo, hi = at.plan.bounds[0]
        found |= measured.arithmetic(fit)
        found["blobs"] = measured.blobs(
            client, Blobs(StorePlace(str(scratch(folder))), "work"), at.fetch(fit.state), fit.rows.read(lo, hi)
        )
    size = RANK * COLUMNS * 8
    found["hop"] = measured.hop(client)
    found["others"] = others.share()
    found["network"] = {size: measured.network(client, size), 2**26: measured.network(client, 2**26)}
    return found


def scratch(folder):
    """The store that the executor keeps blobs in."""
    return next(folder.glob(".nmfkit-*")).resolve()


def print_besides(found):
    print(f"other programs took {found['others']:.0%} of the processors during what follows\n")
    table(
        ("blocks of one entry", "step that does nothing, ms", "of it besides, ms", "rank 1, ms"),
        [(f"{o['blocks']:,}", ms(o["nothing"]), ms(o["besides"]), ms(o["rank 1"])) for o in found["overheads"]],
    )
    print(f"8 blocks of 2,000 × 2,000 that nobody touches: {ms(found['few large'])} ms\n")
    table(("shards that do nothing", "ms"), [(f"{n:,}", ms(s)) for n, s in found["by shards"].items()])
    moved, said = found["moved"], found["forecast"]
    pairs = (
        ("statistics, worker to worker", moved["sent"], said["statistics_moved_bytes"]),
        ("rows of W, to the store and back", 2 * moved["rows"], said["rows_moved_bytes"]),
        ("shared state, to the store and to the other worker", 2 * moved["state"], said["shared_state_moved_bytes"]),
    )
    table(("moved in a sweep", "measured", "forecast"), [(n, size_text(a), size_text(b)) for n, a, b in pairs])
    waits = {"from task to task": found["hop"], "update of H": found["apply"], "a block more": found["listed"]}
    costs = {**found["blobs"], **waits}
    table(("costs", "ms"), [(name, f"{1000 * seconds:.3g}") for name, seconds in costs.items()])
    rates = [(f"network, {size_text(size)}", rate / 1e9) for size, rate in found["network"].items()]
    table(("rates", "GB/s"), [*rates, ("adding statistics", 1e-9 / found["add"])])


# --- modelled --------------------------------------------------------------------------------------------------


def costs_of(found, record, stored):
    """The model's costs, all from two workers of one thread each: what a thread does while every processor is busy."""
    shards = found["by shards"]
    few, many = min(shards), max(shards)
    task = max(1e-5, (shards[many] - shards[few]) / (many - few) / 8 * 7)  # the tree makes 8 tasks of 7
    blobs = found["blobs"]
    return Costs(
        read=median(record["read"]) / PAIR.in_all,
        arithmetic=median(record["arithmetic"]) / PAIR.in_all,
        stored=stored,
        block=blobs["put rows"] + blobs["get rows"] + blobs["delete"],
        task=task,
        listed=found["listed"],
        hop=found["hop"],
        trip=max(0.0, found["few large"] - found["hop"] - 5 * task),
        add=found["add"],
        apply=found["apply"],
        blob=(blobs["put state"] + blobs["get state"]) / 2,
    )


def validate(scales, found, costs, shape):
    """Predicted and measured sweeps of the workers on this machine, which share its processors."""
    rows = []
    for loss in LOSSES:
        for place in (Place(1, 1), PAIR, Place(1, 2)):
            here = Cluster(
                place.workers, place.threads, available_threads() / place.workers, found["network"][2**26], 1e12
            )
            plan = planned(shape, RANK, place.workers, place.threads)
            parts, seconds = sweep(costs[loss], here, plan), median(scales[loss, place, False]["seconds"])
            rows.append((loss, str(place), parts.seconds, seconds, f"{parts.seconds / seconds:.2f}"))
    table(("loss", "place", "modelled s", "measured s", "ratio"), rows, names=2)
    return rows


def extrapolate(costs, given):
    """A sweep over 10 TB, with nothing of it kept in memory and with as much as the workers may keep."""
    rows, found = [], []
    size = 4 * HUGE[0] * HUGE[1]
    for loss in LOSSES:
        for kept in (False, True):
            for workers in WORKERS:
                cached = min(1.0, kept * CACHE_SHARE * given.worker_memory * workers / size)
                threads = given.worker_threads
                at = Cluster(workers, threads, threads, given.network, given.store, cached)
                parts = sweep(costs[loss], at, planned(HUGE, RANK, workers, threads))
                found.append({"loss": loss, "cluster": asdict(at), **asdict(parts), "seconds": parts.seconds})
                rows.append((
                    loss, f"{workers}", f"{cached:.0%}", parts.seconds, parts.read, parts.arithmetic, parts.shards,
                    ms(parts.sums), ms(parts.state), ms(parts.tasks),
                ))  # fmt: skip
    heads = ("loss", "workers", "kept", "s", "read s", "arith. s", "shards s", "sums ms", "state ms", "tasks ms")
    table(heads, rows)
    for loss in LOSSES:
        for cached in (0.0, 1.0):
            where = limit(costs[loss], replace(at, workers=1, cached=cached), HUGE, RANK)
            where = f"up to {where:,} workers" if where else "as far as the model looks"
            print(f"{loss}, {cached:.0%} kept: each doubling of the workers is worth a third or more {where}")
    print()
    return found


# --- the command line ------------------------------------------------------------------------------------------


def arguments():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--size", help="of the matrix; default: 4GB, with --memory 8 times what the workers may use")
    options.add_argument("--rounds", type=int, default=2, help="times that every place has its turn")
    options.add_argument("--sweeps", type=int, default=3, help="timed in each turn, after one that is not")
    options.add_argument("--quick", action="store_true", help="0.2 GB, one round: to see that all of it runs")
    options.add_argument("--folder", type=Path, help="where the matrix is kept, and taken from; default: not kept")
    options.add_argument("--json", type=Path, help="write everything that was measured there")
    options.add_argument("--memory", action="store_true", help="only the peak memory of 2 workers")
    options.add_argument("--limit", default="512MiB", help="of each worker with --memory")
    options.add_argument("--worker-threads", type=int, default=8, help="of each worker of the model")
    options.add_argument("--network", type=float, default=1.25e9, help="bytes a second of each worker of the model")
    options.add_argument("--store", type=float, default=100e9, help="bytes a second of the model's store, in all")
    options.add_argument("--worker-memory", type=float, default=128e9, help="bytes of each worker of the model")
    given = options.parse_args()
    given.most_blocks = 1000 if given.quick else 10_000
    if given.quick:
        given.rounds, given.sweeps = 1, 2
    try:
        standard = 16 * parse_size(given.limit) if given.memory else parse_size("200MB" if given.quick else "4GB")
        given.size = parse_size(given.size) if given.size else standard
    except UsageError as error:
        options.error(str(error))
    return given


def matrix(folder, size):
    """The path of the matrix of that size, made if it is not there, and a share of its bytes in the store."""
    path = folder / f"matrix-{size}.zarr"
    if not path.exists():
        began = time.perf_counter()
        write_matrix(path, size, available_threads())
        print(f"made in {time.perf_counter() - began:.0f} s")
    source = open_source(path)
    m, n = source.shape
    stored = sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) / (4 * m * n)
    print(f"{m:,} × {n:,} float32, {size_text(4 * m * n)}; in the store {stored:.0%} of that")
    return path, stored


def main():
    given = arguments()
    load = os.getloadavg()[0]
    print(f"{available_threads()} processors, load before {load:.2f}")
    with tempfile.TemporaryDirectory(prefix="scale-") as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        path, stored = matrix(folder, given.size)
        report = (memory if given.memory else everything)(path, Path(temporary), stored, given)
    if given.json:
        given.json.write_text(json.dumps({"load_before": load, "size": given.size, **report}, indent=1, default=str))


def everything(path, folder, stored, given):
    source = open_source(path)
    print("\nseconds of a sweep; the matrix lies in the system's page cache, no block is kept by nmfkit\n")
    scales = scaling(path, folder, given)
    print_scaling(scales, source)
    with crew(PAIR) as client:
        found = besides(path, folder, client, given)
    print_besides(found)
    costs = {loss: costs_of(found, scales[loss, PAIR, False], stored) for loss in LOSSES}
    print("the model against this machine\n")
    rows = validate(scales, found, costs, source.shape)
    print(
        f"modelled, not measured: {HUGE[0]:,} × {HUGE[1]:,} float32, rank {RANK}, workers of {given.worker_threads} "
        f"threads with {given.network / 1e9:.3g} GB/s and {given.worker_memory / 1e9:.3g} GB each, a store of "
        f"{given.store / 1e9:.3g} GB/s\n"
    )
    return {
        "scaling": [{"loss": k[0], "place": str(k[1]), "half": k[2], **v} for k, v in scales.items()],
        "besides": found,
        "costs": {loss: asdict(c) for loss, c in costs.items()},
        "validated": rows,
        "modelled": extrapolate(costs, given),
    }


def memory(path, folder, stored, given):
    del stored
    found = {}
    print(f"\npeak memory of 2 workers that may use {given.limit} each\n")
    for loss in LOSSES:
        peak = peaks(path, folder / loss, workers=2, threads=1, limit=given.limit, loss=loss, sweeps=3)
        found[loss] = asdict(peak)
    rows = [
        (
            loss, ", ".join(size_text(p) for p in peak["workers"]), f"{max(peak['workers']) / peak['limit']:.2f}",
            size_text(peak["client"]), len(peak["workers"]) - 2, median(peak["seconds"][1:]),
        )
        for loss, peak in found.items()
    ]  # fmt: skip
    table(("loss", "peaks", "of the limit", "this process", "restarts", "s a sweep"), rows)
    return found


if __name__ == "__main__":
    main()
