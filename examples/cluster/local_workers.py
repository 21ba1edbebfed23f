"""Workers on this machine: a fit, its continuation and its score on one dask LocalCluster.

    python examples/cluster/local_workers.py --workers 2

Needs nothing but nmfkit. For one fit alone, `nmfkit.fit(..., workers=2)` starts the workers and ends them with the fit;
a cluster of your own stays, so that several fits share it. The same code serves every kind of dask cluster: pass its
client as `scheduler`.
"""

import argparse
import tempfile
from pathlib import Path

from counts import RANK, write
from distributed import Client, LocalCluster

import nmfkit
from nmfkit.score import score


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--workers", type=int, default=2)
    given = options.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(
            n_workers=given.workers, threads_per_worker=1, memory_limit="1GiB", dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        matrix, run = write(Path(folder) / "counts.zarr"), Path(folder) / "run.zarr"
        result = nmfkit.fit(matrix, loss="kl", rank=RANK, max_sweeps=10, out=run, scheduler=client)
        print(f"objective {result.objective:,.0f} after {result.history.sweep[-1]} sweeps on {given.workers} workers")
        result = nmfkit.resume(run, max_sweeps=15, scheduler=client)
        print(f"objective {result.objective:,.0f} after {result.history.sweep[-1]}, on the same workers")
        print(f"relative error {score(run, scheduler=client).relative_error:.3f}")


# Workers are new processes that load this file: without the guard, each would begin a fit of its own.
if __name__ == "__main__":
    main()
