"""Workers as pods of Kubernetes, by dask-kubernetes and its operator; data and run in an object store.

    python examples/cluster/kube.py s3://bucket/counts.zarr s3://bucket/run.zarr --image registry.example/nmfkit \
        --secret s3-credentials

Needs dask-kubernetes (pip install dask-kubernetes), the dask operator in the Kubernetes cluster, and an image with
nmfkit[remote]. The secret holds what workers find in their environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, and
AWS_ENDPOINT_URL for a store of your own. This process needs the same environment, and the same versions of everything:
run it in a pod of the same image.
"""

import argparse

from distributed import Client

import nmfkit

try:
    from dask_kubernetes.operator import KubeCluster, make_cluster_spec
except ImportError:
    raise SystemExit("this example needs dask-kubernetes: pip install dask-kubernetes") from None


def specification(given):
    """What the operator is asked for: workers of one size, with the secret in their environment."""
    size = {"cpu": given.cpu, "memory": given.memory}
    spec = make_cluster_spec(
        name="nmfkit", image=given.image, n_workers=given.workers, resources={"requests": size, "limits": size}
    )
    (container,) = spec["spec"]["worker"]["spec"]["containers"]
    container["envFrom"] = [{"secretRef": {"name": given.secret}}]
    return spec


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("src")
    options.add_argument("out")
    options.add_argument("--image", required=True)
    options.add_argument("--secret", required=True)
    options.add_argument("--rank", type=int, default=20)
    options.add_argument("--loss", default="kl")
    options.add_argument("--workers", type=int, default=4)
    options.add_argument("--cpu", default="4", help="of a worker")
    options.add_argument("--memory", default="16Gi", help="of a worker")
    given = options.parse_args()
    with KubeCluster(custom_cluster_spec=specification(given)) as cluster, Client(cluster) as client:
        client.wait_for_workers(given.workers)  # a fit is laid out for the workers that are there when it begins
        result = nmfkit.fit(given.src, rank=given.rank, loss=given.loss, out=given.out, scheduler=client)
    print(f"objective {result.objective:,.0f} after {result.history.sweep[-1]} sweeps ({result.stopped_by})")


if __name__ == "__main__":
    main()
