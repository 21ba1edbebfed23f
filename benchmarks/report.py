"""Tables and plots of the curves that `against_peers.py` has measured.

python benchmarks/report.py curves.jsonl
python benchmarks/report.py curves.jsonl --floors floors.json --plots plots --markdown report.md
"""

import argparse
import json
import math
from pathlib import Path

from curves import LEVELS, entries, read
from floors import of_iteration
from solvers import is_peer
from tables import NOTHING, Table, number, show


def times(title, group, clock) -> Table:
    """Who came how near the best objective when, and how that compares with the best peer."""
    to = {id(entry): [entry.to(level, clock) for level in LEVELS] for entry in group}
    peers = [to[id(entry)] for entry in group if is_peer(entry.solver)]
    fastest = [min((peer[i][0] for peer in peers), default=math.inf) for i in range(len(LEVELS))]
    rows = []
    for entry in sorted(group, key=lambda e: ([seconds for seconds, _ in to[id(e)]][::-1], e.gap())):
        cells = [name_of(entry)]
        for (seconds, iterations), best in zip(to[id(entry)], fastest, strict=True):
            cells += [number(seconds), number(ratio(seconds, best), "×"), number(iterations)]
        rows.append([*cells, number(entry.gap(), " %", 100), str(len(entry.runs))])
    heads = [head for level in LEVELS for head in (f"{100 * level:g} %: s", "of peer", "its")]
    return Table(f"{title}: time to within", ("solver", *heads, "end", "runs"), rows)


def costs(title, group, alone, clock, floors) -> Table:
    """What an iteration and the memory cost; `alone` are the same solvers on one thread."""
    single = {(entry.solver, entry.dtype): entry for entry in alone}
    rows = []
    for entry in sorted(group, key=lambda e: e.seconds_each(clock)):
        each = entry.seconds_each(clock)
        floor = of_iteration(entry.runs[0], floors) if floors else None
        one = single.get((entry.solver, entry.dtype))
        speedup = one.seconds_each(clock) / each if one and entry.threads > 1 and each > 0 else None
        rows.append([
            name_of(entry), number(each, scale=1e3), number(each / floor if floor else None, "×"),
            number(entry.peak() / 1e6), number(entry.memory(), "×"), number(speedup, "×"),
        ])  # fmt: skip
    heads = ("solver", "ms/iteration", "of floor", "peak MB", "of data", "of 1 thread")
    return Table(f"{title}: costs", heads, rows)


def tables_of(records, clock="wall", floors=None) -> list[Table]:
    """Two tables for each workload and number of threads."""
    groups, found = entries(records), []
    for (workload, scale, seed, threads), group in sorted(groups.items()):
        alone = groups.get((workload, scale, seed, 1), [])
        title = title_of(workload, scale, seed, threads, group[0])
        found.append(times(title, group, clock))
        found.append(costs(title, group, alone, clock, floors))
    return found


def title_of(workload, scale, seed, threads, entry) -> str:
    record = entry.runs[0]
    size = " × ".join(f"{side:,}" for side in record["shape"])
    special = [f"scale {scale:g}"] * (scale != 1) + [f"seed {seed}"] * (seed != 0)
    parts = [f"{workload} ({record['loss']}, {size}, rank {record['rank']})", f"{threads} thread{'s'[: threads > 1]}"]
    return ", ".join([*parts, *special, f"best {entry.best:.7g}"])


def name_of(entry) -> str:
    return entry.solver if entry.dtype == "float32" else f"{entry.solver}, {entry.dtype}"


def ratio(seconds, best) -> float | None:
    """None where no peer came there, or at no cost."""
    return seconds / best if 0 < best < math.inf else None


def made_with(records) -> str:
    """One paragraph on machines and versions."""
    machines = sorted({f"{r['machine']['usable']} cores of {r['machine']['processor']}" for r in records})
    versions: dict[str, set[str]] = {}
    for record in records:
        for name, version in record["versions"].items():
            versions.setdefault(name, set()).add(version)
    versions.pop("libraries", None)
    told = ", ".join(f"{name} {' and '.join(sorted(of))}" for name, of in sorted(versions.items()))
    busiest = max(record["machine"]["load"] for record in records)
    return f"{'; '.join(machines)}. {told or NOTHING}. Load when a fit began: at most {busiest:.1f}."


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("curves", nargs="+", type=Path)
    options.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: processor seconds a thread")
    options.add_argument("--floors", type=Path, help="what floors.py wrote")
    options.add_argument("--plots", type=Path, help="folder for a picture of each workload")
    options.add_argument("--markdown", type=Path, help="file for the tables")
    given = options.parse_args()
    records = read(given.curves)
    floors = json.loads(given.floors.read_text()) if given.floors else None
    tables = tables_of(records, given.clock, floors)
    show(tables)
    print(made_with(records))
    if given.markdown:
        given.markdown.write_text("\n".join([*(table.markdown() for table in tables), made_with(records), ""]))
    if given.plots:
        from plots import plot

        given.plots.mkdir(parents=True, exist_ok=True)
        for key, group in entries(records).items():
            print(plot(key, group, given.clock, given.plots))


if __name__ == "__main__":
    main()
