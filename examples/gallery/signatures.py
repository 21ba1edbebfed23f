"""Signatures: which processes mutated these tumours? KL on counts, what many fits agree on, beside COSMIC."""

import numpy as np
from cases import canvas, keep, of_package, options, well_known

import nmfkit
from nmfkit.report import write_report

CLASSES = {
    "C>A": "#56B4E9", "C>G": "#000000", "C>T": "#D55E00", "T>A": "#999999", "T>C": "#009E73", "T>G": "#CC79A7"
}  # fmt: skip


def data(folder):
    """Tumours × kinds of mutation: 21 breast cancers, and the table of COSMIC's signatures, kinds alike in name."""
    if file := well_known("biology/counts_21breast.csv"):
        return file, file.with_name("cosmic_signatures_v2.csv")
    install = "--no-deps SigProfilerExtractor SigProfilerAssignment"
    other = "biology/counts_21breast.csv"
    stored = of_package("SigProfilerExtractor", "data/TextInput/Samples_SBS.txt", install, other)
    cosmic = of_package("SigProfilerAssignment", "data/Reference_Signatures/GRCh37", install, other)
    nmfkit.convert(f"tsv:{stored}", folder / "counts.zarr", transpose=True, overwrite=True)
    nmfkit.convert(f"tsv:{cosmic / 'COSMIC_v2_SBS_GRCh37.txt'}", folder / "cosmic.zarr", transpose=True, overwrite=True)
    return folder / "counts.zarr", folder / "cosmic.zarr"


def main():
    given = options(__doc__)
    counts, cosmic = data(given.out)
    replicates, sweeps = (4, 30) if given.quick else (50, 1000)
    found = nmfkit.consensus(counts, 6, loss="kl", replicates=replicates, max_sweeps=sweeps)
    result, silhouette = found.result, np.mean(found.clusters.silhouette)
    result.save(given.out / "run.zarr", overwrite=True)
    told = write_report(result, given.out / "report.html", reference=str(cosmic), overwrite=True)
    print(f"{result.shape[0]} tumours, {replicates} replicates, mean silhouette {silhouette:.3f}")
    for c in told["components"]:
        print(f"{c['share']:4.0%} of the mutations: {c['matched'].replace('_', ' ')}, cosine {c['cosine']:.3f}")
    draw(given.out, result, told["components"])


def kind(feature):
    """The class of a kind of mutation, which is written A[C>A]T or ACT>AAT."""
    before, _, after = feature.partition(">")
    return f"{before[-1]}>{after[0]}" if "[" in feature else f"{before[1]}>{after[1]}"


def draw(folder, result, components):
    """Each signature as 96 bars, the six classes in their usual order."""
    figure = canvas(8, 5.8)
    kinds = np.array([kind(feature) for feature in result.feature_names])
    order = np.concatenate([np.flatnonzero(kinds == name) for name in CLASSES])
    for ax, c in zip(figure.subplots(len(components), 1, sharex=True), components, strict=True):
        h = result.h[c["index"]][order]
        ax.bar(range(len(order)), h / h.sum(), color=[CLASSES[k] for k in kinds[order]], width=0.8)
        title = f"{c['share']:.0%} of the mutations · {c['matched'].replace('_', ' ')}, cosine {c['cosine']:.3f}"
        ax.set(yticks=[], xlim=(-1, len(order)), title=title)
    ax.set_xticks([8 + 16 * i for i in range(6)], CLASSES)
    ax.tick_params(length=0)
    keep(figure, folder)


if __name__ == "__main__":
    main()
