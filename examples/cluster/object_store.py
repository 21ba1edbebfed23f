"""A matrix in an object store, read by local workers; a folder on disk stands in for the bucket.

    python examples/cluster/object_store.py
    python examples/cluster/object_store.py s3://bucket/counts.zarr --storage-option endpoint_url=https://s3.example

Needs fsspec (pip install 'nmfkit[remote]'), and s3fs or obstore for s3://. Workers open the store by themselves, each
with the storage options that are given here; credentials are better left to the environment of the workers
(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for s3), which local workers inherit from this process. The run could be
written to such a URI as well; here it goes to a temporary folder.
"""

import argparse
import tempfile
from pathlib import Path

from counts import RANK, write

import nmfkit

try:
    import fsspec  # noqa: F401
except ImportError:
    raise SystemExit("this example needs fsspec: pip install 'nmfkit[remote]'") from None


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("src", nargs="?", help="default: a folder that is opened as if it were remote")
    options.add_argument("--storage-option", action="append", default=[], metavar="KEY=VALUE")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        src = given.src or f"local://{write(Path(folder) / 'counts.zarr')}"
        result = nmfkit.fit(
            src,
            loss="kl",
            rank=RANK,
            max_sweeps=15,
            workers=2,
            storage_options=dict(text.split("=", 1) for text in given.storage_option) or None,
            out=Path(folder) / "run.zarr",
        )
    print(f"{src.partition('://')[0]}: objective {result.objective:,.0f} after {result.history.sweep[-1]} sweeps")


if __name__ == "__main__":
    main()
