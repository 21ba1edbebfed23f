"""Every picture of the documentation's gallery again, from data that come with packages.

pip install "nmfkit[plot,sklearn,h5ad,images,graphs,gallery]"
pip install --no-deps SigProfilerExtractor SigProfilerAssignment
python examples/gallery/pictures.py
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
CASES = (
    *("faces", "topics", "spectra", "audio", "signatures", "cells", "ratings"),
    *("deep_topics", "recovery", "clusters", "communities", "embedding"),
)
PICTURES = HERE.parents[1] / "docs" / "pictures"


def main():
    environment = {name: value for name, value in os.environ.items() if name != "NMFKIT_DATA"}
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            print(f"== {case}", flush=True)
            made = Path(folder, case)
            subprocess.run([sys.executable, HERE / f"{case}.py", "--out", made], env=environment, check=True)
            shutil.copyfile(made / "picture.png", PICTURES / f"{case}.png")


if __name__ == "__main__":
    main()
