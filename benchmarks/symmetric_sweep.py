"""What a sweep of symmetric factorization costs beside the bare products of the matrix with its factor.

    python benchmarks/symmetric_sweep.py
    python benchmarks/symmetric_sweep.py --quick --json symmetric.json

A is the normalised cut of a random graph with communities (a stochastic block model), in a store. Every fit has a
process of its own, and they take turns.
"""

import argparse
import json
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
from memory import peak, resident, settle
from tables import Table, number, show

RULES = ("symhals", "symanls", "symmu", "fixedpoint", "pgd", "pgncg")
"""Those that need no more of A than products with it."""
OTHERS = ("cd", "lai:always=yes", "lvs:always=yes")
BARE = "A H alone"
INSIDE = 0.8
"""The part of the edges that stay in their community."""
WARM = 2
"""Sweeps that are not counted: what is compiled, and the first read."""


@dataclass(frozen=True)
class Spent:
    """Of one fit: the median second of a sweep, its products with A, the largest memory beside the start's."""

    seconds: float
    products: int
    memory: int
    others: float


def graph(nodes, edges, communities, seed=0):
    """Edges (2, k) between different nodes, none twice; node i is of community i modulo `communities`."""
    rng = np.random.default_rng(seed)
    count = int(1.03 * edges)
    one, any_other = rng.integers(0, nodes, count), rng.integers(0, nodes, count)
    mate = one % communities + communities * rng.integers(0, nodes // communities, count)
    other = np.where(rng.random(count) < INSIDE, mate, any_other)
    low, high = np.minimum(one, other), np.maximum(one, other)
    keys = np.unique(low[low != high] * nodes + high[low != high])
    keys = rng.permutation(keys)[:edges]
    return np.stack([keys // nodes, keys % nodes])


def stored(given, scratch):
    """The store with the normalised cut, made if it is not there yet."""
    from scipy.sparse import coo_array

    import nmfkit

    path = (given.folder or scratch) / f"graph-{given.nodes}-{given.edges}-{given.communities}.zarr"
    if not path.exists():
        ends = graph(given.nodes, given.edges, given.communities)
        a = coo_array((np.ones(ends.shape[1], np.float32), tuple(ends)), shape=2 * (given.nodes,)).tocsr()
        nmfkit.convert(a, path, similarity="graph:symmetric=max", dtype="float32")
    return path


def fitted(rule, path, given):
    """`Spent` of one fit: what its history says of every sweep."""
    from sweeps import Others

    import nmfkit

    settle()
    before, others = resident(), Others()
    result = nmfkit.fit(
        str(path), model="symnmf", rule=rule, rank=given.rank, init="random", tol=0, pilot="none",
        max_sweeps=WARM + given.sweeps, memory=given.memory, threads=given.threads,
    )  # fmt: skip
    seconds = np.diff(result.history.seconds)[WARM - 1 :]
    return Spent(float(np.median(seconds)), result.model.reads, peak() - before, others.share())


def bare(path, given):
    """`Spent` of products with the blocks of a fit by as many threads; they are read each time where a fit does."""
    from sweeps import Others
    from threadpoolctl import threadpool_limits

    from nmfkit.check import resolve
    from nmfkit.executors.machine import Machine
    from nmfkit.executors.open import local_plan
    from nmfkit.kernels import csr_dot
    from nmfkit.problem import Problem
    from nmfkit.sources import open_source

    settle()
    before, others, source = resident(), Others(), open_source(str(path))
    resolved = resolve(Problem(model="symnmf", ranks=(given.rank,), init="random"))
    plan = local_plan(source, resolved, Machine(threads=given.threads, memory=given.memory))
    n = source.shape[0]
    h = np.random.default_rng(0).random((n, given.rank), np.float32)
    product, most = np.empty_like(h), plan.tile_rows or n
    held = {at: source.read(*at) for at in plan.bounds} if size_of(source) <= plan.cache_bytes else {}

    def multiply(at):
        block = held[at] if held else source.read(*at)
        for lo in range(0, block.shape[0], most):
            tile = block.rows(lo, min(block.shape[0], lo + most))
            rows = slice(tile.first, tile.first + tile.shape[0])
            product[rows] = csr_dot(tile.values, tile.indices, tile.indptr, n, h, whole=n)

    seconds = []
    with ThreadPoolExecutor(plan.threads) as pool, threadpool_limits(1, "blas"):
        for _ in range(WARM + given.sweeps):
            h = h.copy()
            h.flags.writeable = False  # as a fit's: what kernels make of it is made once for all blocks
            began = time.perf_counter()
            list(pool.map(multiply, plan.bounds))
            seconds.append(time.perf_counter() - began)
    return Spent(median(seconds[WARM:]), 1, peak() - before, others.share())


def size_of(source):
    """Bytes of the matrix in memory: an entry and the number of its column, and where rows begin."""
    return source.nnz * (source.dtype.itemsize + 4) + 8 * source.shape[0]


def measured(path, given):
    """`Spent` of the products and of every rule in every round, in a process of its own that begins anew."""
    found = {name: [] for name in (BARE, *given.rules)}
    for _ in range(given.rounds):
        for name, spent in found.items():
            with ProcessPoolExecutor(1, get_context("spawn")) as process:
                task = process.submit(bare, path, given) if name == BARE else process.submit(fitted, name, path, given)
                spent.append(task.result())
    return found


def table(title, found):
    """Medians over rounds; a sweep over one product, and over as many as it takes."""
    one = median(spent.seconds for spent in found[BARE])
    rows = []
    for name, spent in found.items():
        middle, products = median(each.seconds for each in spent), spent[0].products
        rows.append([
            name, number(1000 * middle), str(products), number(middle / one, "×"),
            number(middle / one / products, "×"), number(max(each.memory for each in spent) / 2**20),
            f"{max(each.others for each in spent):.0%}",
        ])  # fmt: skip
    heads = ("rule", "ms/sweep", "products", "of one", "of its products", "MiB", "others")
    return Table(title, heads, rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", nargs="+", choices=(*RULES, *OTHERS), default=RULES, metavar="RULE")
    parser.add_argument("--nodes", type=int, default=1_000_000)
    parser.add_argument("--edges", type=int, default=20_000_000)
    parser.add_argument("--communities", type=int, default=20)
    parser.add_argument("--rank", type=int, default=20)
    parser.add_argument("--memory", default="4GiB", help="what a fit may use")
    parser.add_argument("--folder", type=Path, help="keep the matrix there; otherwise it goes with a temporary folder")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sweeps", type=int, default=7, help="timed in each fit")
    parser.add_argument("--threads", type=int, default=None, help="as many as there are processors")
    parser.add_argument("--quick", action="store_true", help="a small graph and one round: do they run at all?")
    parser.add_argument("--json", type=Path, help="write every number there")
    given = parser.parse_args()
    if given.quick:
        given.nodes, given.edges, given.rounds, given.sweeps = 20_000, 200_000, 1, 3
    if given.folder:
        given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=given.folder) as scratch:
        found = measured(stored(given, Path(scratch)), given)
    title = f"{given.nodes:,} nodes, {given.edges:,} edges, rank {given.rank}, float32, memory {given.memory}"
    show([table(title, found)])
    if given.json:
        every = {name: [asdict(each) for each in spent] for name, spent in found.items()}
        given.json.write_text(json.dumps(every, indent=1))


if __name__ == "__main__":
    main()
