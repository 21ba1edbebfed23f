"""Workers as jobs of SLURM, by dask-jobqueue; a fit that goes on where an earlier one ended.

    python examples/cluster/slurm.py counts.zarr run.zarr --queue normal --jobs 4

Needs dask-jobqueue (pip install dask-jobqueue) in an environment that the nodes see under the same path, as they must
see the matrix and the folder of the run. The scheduler lives in this process: start it where the nodes can reach it
and where it may run for hours, if need be in a small job of its own. Jobs that end at their wall time are lost
workers; when all have ended, or this process has, run the same line again, and the fit goes on from its checkpoint.
"""

import argparse
from pathlib import Path

from distributed import Client

import nmfkit

try:
    from dask_jobqueue import SLURMCluster
except ImportError:
    raise SystemExit("this example needs dask-jobqueue: pip install dask-jobqueue") from None


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("src")
    options.add_argument("out")
    options.add_argument("--rank", type=int, default=20)
    options.add_argument("--loss", default="kl")
    options.add_argument("--queue", help="the partition; default: that of the site")
    options.add_argument("--jobs", type=int, default=4)
    options.add_argument("--cores", type=int, default=8, help="of a job")
    options.add_argument("--memory", default="32GiB", help="of a job")
    options.add_argument("--walltime", default="04:00:00")
    given = options.parse_args()
    # One worker with all the cores of a job: its threads share H, which several processes would each hold.
    with SLURMCluster(
        queue=given.queue, cores=given.cores, processes=1, memory=given.memory, walltime=given.walltime
    ) as cluster:
        cluster.scale(jobs=given.jobs)
        with Client(cluster) as client:
            client.wait_for_workers(given.jobs)  # a fit is laid out for the workers that are there when it begins
            if Path(given.out).exists():
                result = nmfkit.resume(given.out, scheduler=client)
            else:
                result = nmfkit.fit(given.src, rank=given.rank, loss=given.loss, out=given.out, scheduler=client)
    print(f"objective {result.objective:,.0f} after {result.history.sweep[-1]} sweeps ({result.stopped_by})")


if __name__ == "__main__":
    main()
