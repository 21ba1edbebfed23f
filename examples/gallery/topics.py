"""Topics: what are these documents about? KL on counts of words; sparse, the best of ten seeds."""

import numpy as np
from cases import COLOURS, canvas, keep, of_package, options, well_known

import nmfkit
from nmfkit.report import write_report


def documents():
    """News of the BBC, a story a line; or of Reuters, counted already, with words and titles in files beside it."""
    if file := well_known("documents/octis/BBC_News/corpus.tsv.gz"):
        return f"documents,column=1,min_df=5,max_df=0.5:{file}"
    return of_package("lda", "tests/reuters.ldac", instead="documents/octis/BBC_News/corpus.tsv.gz")


def main():
    given = options(__doc__)
    seeds, sweeps = (1, 10) if given.quick else (10, 300)
    fits = [
        nmfkit.fit(documents(), loss="kl", rank=10, reg_w="l1:0.1", reg_h="l1:0.1", seed=seed, max_sweeps=sweeps)
        for seed in range(seeds)
    ]
    result = min(fits, key=lambda fit: fit.objective)
    result.save(given.out / "run.zarr", overwrite=True)
    write_report(result, given.out / "report.html", overwrite=True)
    words, sizes = np.array(result.feature_names), result.w * result.h.sum(axis=1)
    titles = np.array(result.row_names) if result.row_names else np.arange(len(result.w))
    order = np.argsort(-sizes.sum(axis=0))
    for number, k in enumerate(order, 1):
        top = words[np.argsort(-result.h[k])[:7]]
        print(f"topic {number}: {', '.join(top)}\n    most in: {str(titles[np.argmax(sizes[:, k])])[:90]}")
    draw(given.out, words, result.h[order], sizes[:, order])


def draw(folder, words, h, sizes, top=8):
    """The words that weigh most in each topic, as parts of all words of that topic."""
    figure = canvas(8, 4.4)
    shares = sizes.sum(axis=0) / sizes.sum()
    for number, (ax, row, share) in enumerate(zip(figure.subplots(2, 5).flat, h, shares, strict=True), 1):
        best = np.argsort(-row)[:top]
        ax.barh(range(top), row[best] / row.sum(), color=COLOURS[0], height=0.72)
        ax.set(yticks=range(top), yticklabels=words[best], xticks=[], title=f"{number}: {share:.0%} of words")
        ax.tick_params(length=0)
        ax.invert_yaxis()
        ax.spines[["bottom", "left"]].set_visible(False)
    keep(figure, folder)


if __name__ == "__main__":
    main()
