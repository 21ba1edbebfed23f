"""Cells: which programs of genes are at work? KL on blood cells; the programs go back into the AnnData file."""

import warnings

import anndata
import numpy as np
from cases import canvas, keep, of_package, options

import nmfkit
from nmfkit.export import export
from nmfkit.report import write_report


def blood(folder):
    """700 cells with their types and UMAP, `raw` with all genes; scanpy's file is of an old kind, and written anew."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cells = anndata.read_h5ad(of_package("scanpy", "datasets/10x_pbmc68k_reduced.h5ad"))
    cells.write_h5ad(folder / "cells.h5ad")
    return folder / "cells.h5ad"


def main():
    given = options(__doc__)
    file = blood(given.out)
    result = nmfkit.fit(
        file, key="raw/X", loss="kl", rank=8, reg_w="l1:0.1", reg_h="l1:0.1",
        max_sweeps=20 if given.quick else 500, out=given.out / "run.zarr", overwrite=True,
    )  # fmt: skip
    write_report(result, given.out / "report.html", overwrite=True)
    export(result, given.out / "with_programs.h5ad", into=file, overwrite=True)

    cells = anndata.read_h5ad(given.out / "with_programs.h5ad")
    usage = cells.obsm["X_nmf"] * cells.varm["nmf"].sum(axis=0)
    usage /= usage.sum(axis=1, keepdims=True)
    genes, types = np.array(result.feature_names), cells.obs["bulk_labels"].astype(str).to_numpy()
    order = np.argsort(-usage.sum(axis=0))
    for number, k in enumerate(order, 1):
        mine = types == max(set(types), key=lambda name: usage[types == name, k].mean())
        print(f"program {number}: {', '.join(own(result.h, k, genes)[:6])}")
        print(f"    strongest in {types[mine][0]}: {usage[mine, k].mean():.0%}, elsewhere {usage[~mine, k].mean():.0%}")
    draw(given.out, cells.obsm["X_umap"], usage[:, order], [own(result.h, k, genes) for k in order])


def own(h, k, genes):
    """The genes that a program has more of than the others do, the strongest first."""
    shares = h / h.sum(axis=1, keepdims=True)
    return genes[np.argsort(shares[np.arange(len(h)) != k].max(axis=0) - shares[k])]


def draw(folder, umap, usage, names):
    """The cells as UMAP lays them out, coloured by how much each program makes of them."""
    figure = canvas(8, 4.3)
    axes = figure.subplots(2, len(names) // 2)
    for number, (ax, part, genes) in enumerate(zip(axes.flat, usage.T, names, strict=True), 1):
        front = np.argsort(part)
        dots = ax.scatter(*umap[front].T, c=part[front], s=5, cmap="viridis", vmin=0, vmax=1, linewidths=0)
        ax.set_title(f"{number}: {', '.join(genes[:3])}")
        ax.axis("off")
    figure.colorbar(dots, ax=axes, shrink=0.5, label="part of the cell").outline.set_visible(False)
    keep(figure, folder)


if __name__ == "__main__":
    main()
