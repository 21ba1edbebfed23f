"""Workers with GPUs, by dask-cuda: not in this version, which computes on processors only; this says what there is.

    python examples/cluster/gpu.py

dask-cuda (pip install dask-cuda, Linux with NVIDIA's driver) starts one worker for each GPU. A fit runs on such
workers, but on their processors, and the GPUs stay idle. What GPUs will need, once nmfkit computes on them: CuPy
(pip install 'nmfkit[cuda12]' or 'nmfkit[cuda13]', after the driver) on every worker, one worker for each GPU with a
thread or two, and H with the statistics of its update in the memory of each GPU.
"""

import sys

try:
    from dask_cuda.utils import get_n_gpus
except ImportError:
    raise SystemExit("this example needs dask-cuda: pip install dask-cuda") from None


def main():
    sys.exit(
        f"{get_n_gpus()} GPUs are here, and this version of nmfkit computes on processors only; "
        "for workers on the processors of this machine see local_workers.py"
    )


if __name__ == "__main__":
    main()
