"""What somebody would write who fits a file with scikit-learn: the other side of `end_to_end.py`.

python benchmarks/scikit_fit.py counts.npz factors.npz --loss kullback-leibler --rank 20
"""

import argparse
import warnings

import numpy as np
import scipy.sparse as sp
from sklearn.decomposition import NMF


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("file")
    options.add_argument("out")
    options.add_argument("--loss", default="frobenius")
    options.add_argument("--rank", type=int, required=True)
    options.add_argument("--max-iter", type=int, default=200)
    options.add_argument("--tol", type=float, default=1e-4)
    given = options.parse_args()
    x = sp.load_npz(given.file) if given.file.endswith(".npz") else np.load(given.file)
    model = NMF(
        given.rank, init="random", solver="cd" if given.loss == "frobenius" else "mu", beta_loss=given.loss,
        max_iter=given.max_iter, tol=given.tol, random_state=0,
    )  # fmt: skip
    with warnings.catch_warnings(action="ignore"):
        w = model.fit_transform(x)
    np.savez(given.out, w=w, h=model.components_)


if __name__ == "__main__":
    main()
