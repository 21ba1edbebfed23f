"""Deep topics: five themes, made of ten, made of twenty topics. KL on counts of words, all levels fitted at once."""

import gzip

import numpy as np
import scipy.sparse as sp
from cases import COLOURS, canvas, keep, options, well_known
from scipy.io import loadmat
from topics import documents

import nmfkit
from nmfkit.report import write_report

RANKS = (20, 10, 5)
CLASSES = {"BBC": RANKS, "classic": (16, 8, 4), "hitech": (24, 12, 6)}
"""Collections whose documents others have sorted, and ranks of which the last is their number of classes."""
WEIGHTS = {"coefficients": {"weights": "4+2+1", "raw": True}, "components": {"weights": "20+5+1"}}
"""The first layers count more, or the last ones draw all topics to a few. Layers of components are of other sizes."""
PUBLISHED = (107.5, 30, 22)
"""Leplat, Hien, Onwunta & Gillis, Neural Computation 36(11), 2024: loss on TDT2 in percent of the multilayer one."""


def main():
    given = options(__doc__, {"--tdt2": "a .mat file of TDT2-top30, X words × documents, to fit as the paper does"})
    if given.tdt2:
        tdt2(given.tdt2, 8 if given.quick else 500)
    else:
        collections(given.out, *((1, 8, ["BBC"]) if given.quick else (3, 200, CLASSES)))


def collections(out, seeds, sweeps, names):
    """The tree of one collection, and how well topics tell the classes of those that have some."""
    result = deep(documents(), RANKS, 0, sweeps, "coefficients")
    result.save(out / "run.zarr", overwrite=True)
    write_report(result, out / "report.html", overwrite=True)
    tree = grown(result)
    for line in told(result, tree):
        print(line)
    for name in names:
        if found := sorted_documents(name):
            judge(name, *found, CLASSES[name], seeds, sweeps)
    draw(out, result, tree)


def deep(x, ranks, seed, sweeps, side, **more):
    """Topics made of topics: X ≈ w1 h1, w1 ≈ w2 h2, w2 ≈ w3 h3, so that h2 mixes topics; or of h1 and h2 in turn."""
    options = {"side": side, "init_sweeps": sweeps, **WEIGHTS[side]}
    return nmfkit.fit(
        x, model="deep-nmf", loss="kl", ranks=ranks, seed=seed, max_sweeps=sweeps, model_options=options, **more
    )


def linked(result):
    """From each level but the last to the next: the part of each topic (column) that goes into each theme (row)."""
    factors = result.factors
    flows = [factors[f"w{i}"].sum(axis=0)[:, None] * factors[f"h{i}"] for i in range(2, len(RANKS) + 1)]
    return [flow / flow.sum(axis=0) for flow in flows]


def grown(result):
    """From each level but the last to the next: the theme that most of each topic goes into."""
    return [np.argmax(parts, axis=0) for parts in linked(result)]


def told(result, tree):
    """The tree from its root, a topic a line, the largest first."""
    words = np.array(result.feature_names)
    sizes = [level.coefficients.sum(axis=0) * level.components.sum(axis=1) for level in result.levels]

    def branch(level, k):
        h = result.levels[level].components[k]
        share = sizes[level][k] / sizes[level].sum()
        yield f"{'    ' * (2 - level)}topic {level + 1}.{k + 1}, {share:.0%}: {', '.join(words[np.argsort(-h)[:7]])}"
        if level:
            below = np.flatnonzero(tree[level - 1] == k)
            for j in below[np.argsort(-sizes[level - 1][below])]:
                yield from branch(level - 1, j)

    for k in np.argsort(-sizes[2]):
        yield from branch(2, k)


# --- the classes of others ----------------------------------------------------------------------------------


def sorted_documents(name):
    """The collection, the matrix in it, and the class of each document; None where it is not at hand."""
    if name == "BBC":
        file = well_known("documents/octis/BBC_News/corpus.tsv.gz")
        return file and (documents(), None, bbc_classes(file))
    file = well_known(f"documents/{name}.mat")
    key = {"classic": "X", "hitech": "dtm"}[name]
    return file and (file, key, loadmat(file, variable_names=["classid"])["classid"].ravel())


def bbc_classes(file):
    """What the last column says."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return np.unique([line.rstrip("\n").split("\t")[-1] for line in lines], return_inverse=True)[1]


def judge(name, x, key, classes, ranks, seeds, sweeps):
    """How well the topic that a document has most of tells its class: of the last level, and of a plain fit."""
    found = []
    for seed in range(seeds):
        last = [deep(x, ranks, seed, sweeps, side, key=key).levels[-1] for side in WEIGHTS]
        plain = nmfkit.fit(x, key=key, loss="kl", rank=ranks[-1], seed=seed, max_sweeps=2 * sweeps)
        pairs = [*((level.coefficients, level.components) for level in last), (plain.w, plain.h)]
        found.append([agreement(np.argmax(w * h.sum(axis=1), axis=1), classes) for w, h in pairs])
    for fit, (purity, nmi) in zip((*WEIGHTS, "plain"), np.mean(found, axis=0), strict=True):
        print(f"{name}, {fit}: purity {purity:.2f}, mutual information {nmi:.2f}", flush=True)


def agreement(topics, classes):
    """Purity, the part of documents in the class that is most frequent in their topic, and mutual information."""
    counts = np.zeros((topics.max() + 1, classes.max() + 1))
    np.add.at(counts, (topics, classes), 1)
    p = counts / counts.sum()
    a, b = p.sum(axis=1), p.sum(axis=0)
    independent = np.outer(a, b)
    information = np.sum(p[p > 0] * np.log(p[p > 0] / independent[p > 0]))
    return counts.max(axis=1).sum() / counts.sum(), 2 * information / (entropy(a) + entropy(b))


def entropy(p):
    """In nats."""
    return -np.sum(p[p > 0] * np.log(p[p > 0]))


# --- the collection of the paper ----------------------------------------------------------------------------


def tdt2(file, sweeps):
    """Words × documents as in the paper: the words that a plain fit finds in its topics, layers weighted 4, 2, 1."""
    x = sp.csr_array(loadmat(file)["X"]).astype(float)
    w = nmfkit.fit(x, rank=20, max_sweeps=sweeps).w
    x = x[np.unique(np.argsort(-w, axis=0)[:30])]
    x = x[:, np.asarray(x.sum(axis=0)).ravel() > 0]
    print(f"{x.shape[0]} words × {x.shape[1]} documents")
    apart = {"extrapolate": False, "joint": False}
    begun = {**WEIGHTS["coefficients"], **apart}
    at_once = nmfkit.fit(
        x, model="deep-nmf", loss="kl", ranks=RANKS, max_sweeps=sweeps, tol=0,
        model_options={"init_sweeps": sweeps, **begun},
    )  # fmt: skip
    multilayer = nmfkit.fit(
        x, model="deep-nmf", loss="kl", ranks=RANKS, max_sweeps=0, model_options={"init_sweeps": 2 * sweeps, **begun}
    )
    end = at_once.model.layer_losses(at_once.state.following).end
    start = multilayer.model.layer_losses(multilayer.state.following).start
    for level, (mine, theirs, published) in enumerate(zip(end, start, PUBLISHED, strict=True), 1):
        print(f"level {level}: {100 * mine / theirs:.1f} % of the multilayer loss; published {published} %")


# --- the picture --------------------------------------------------------------------------------------------


def draw(folder, result, tree, top=4):
    """The tree from left to right: themes, and what they are made of, by their words; lines are parts above a tenth."""
    figure = canvas(8, 5)
    ax = figure.subplots()
    words, places = np.array(result.feature_names), arranged(tree)
    theme = [np.arange(RANKS[2])[tree[1]][tree[0]], tree[1], np.arange(RANKS[2])]
    for level, (fitted, y) in enumerate(zip(result.levels, places, strict=True)):
        x = 1.3 * (2 - level)
        for k, h in enumerate(fitted.components):
            named = ", ".join(words[np.argsort(-h)[:top]])
            ax.text(x, y[k], named, va="center", fontsize=7, color=COLOURS[theme[level][k]])
        if level < 2:
            parts = linked(result)[level]
            for k, j in np.argwhere(parts > 0.1):
                ends = (x - 0.03, x - 0.4), (y[j], places[level + 1][k])
                ax.plot(*ends, color=COLOURS[theme[level + 1][k]], linewidth=4 * parts[k, j], alpha=0.5)
    ax.set(xlim=(0, 3.6), ylim=(RANKS[0], -1))
    ax.axis("off")
    keep(figure, folder)


def arranged(tree):
    """The height of each topic, by level: below its theme those that it is made of, it in their middle."""
    order = sorted(range(RANKS[0]), key=lambda j: (tree[1][tree[0][j]], tree[0][j]))
    leaves = np.argsort(order).astype(float)
    inner = centred(leaves, tree[0], RANKS[1])
    return [leaves, inner, centred(inner, tree[1], RANKS[2])]


def centred(heights, parents, count):
    """The mean height of the children of each; those without any lie evenly over the picture."""
    own = [heights[parents == k] for k in range(count)]
    return np.array([np.mean(h) if len(h) else (k + 0.5) * RANKS[0] / count for k, h in enumerate(own)])


if __name__ == "__main__":
    main()
