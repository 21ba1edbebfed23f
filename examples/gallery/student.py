"""Pupils: an evaluation of embeddings as Dutta & De made theirs, on the marks of 395 pupils in mathematics.

Student Performance (UCI), with the codes of the authors: NMFKIT_DATA must name a folder with tabular/student_mat.csv.

After their paper (arXiv 2405.13449) and public program: the table without its last mark, whether the pupil passed as
its class; z-scores, folded into nonnegative columns; layers of 24, 16 and 8 units, a quarter of the columns; parts of
75 and 25 % for nearest neighbours, naive Bayes, a perceptron and quadratic discriminants, each as it comes;
trustworthiness against the raw table; clusters by k-means on batches, Birch and a mixture of Gaussians.

Ours: seeds, and the mean and standard deviation over them; five splits for each; trustworthiness against z-scores as
well, for in the raw table two or three columns of large numbers decide who is near; principal components of the same
columns; plain NMF with components of length 1, for what is near in W goes by their scale; as many Gaussians as classes,
and no fuzzy c-means; no Jaccard index of labels, which depends on how clusters are numbered.
"""

import warnings

import numpy as np
from cases import canvas, keep, needed, options, plane

import nmfkit
from nmfkit.embedding import trustworthiness
from nmfkit.preprocessing import fold
from nmfkit.report import write_report

RANK = 8
MODELS = {
    "IG-NMF": ("ig-mdsr-nmf", {}),
    "IG-RNMF": ("ig-mdsr-rnmf", {}),
    "IG-RNMF relu": ("ig-mdsr-rnmf", {"output": "relu"}),
    "IG-NMF authors": ("ig-mdsr-nmf", {"preset": "authors"}),
    "IG-RNMF authors": ("ig-mdsr-rnmf", {"preset": "authors"}),
}
DRAWN = ("PCA", "NMF, length 1", "IG-NMF", "IG-RNMF")
NEAR = "trustworthiness and error"


def main():
    given = options(__doc__)
    x, passed = pupils(needed("tabular/student_mat.csv"))
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    seeds, splits, epochs = (1, 1, 20) if given.quick else (5, 5, 1500)
    rows, shown = {}, {}
    for seed in range(seeds):
        result, made = embeddings(x, z, seed, epochs)
        shown = shown or {name: made[name][0] for name in DRAWN}
        for name, (w, error) in made.items():
            near = {
                "of the table": trustworthiness(x, w),
                "of z-scores": trustworthiness(z, w),
                "relative error": error,
            }
            found = {NEAR: near, **classified(w, passed, seed, splits), **clustered(w, passed, seed)}
            rows.setdefault(name, []).append(found)
        if not seed:
            keep_run(given.out, result, x, passed)
    tell(rows, len(x), max(passed.mean(), 1 - passed.mean()))
    draw(given.out, shown, passed)


def pupils(path):
    """32 columns of numbers and codes, and whether each pupil passed."""
    with path.open(encoding="utf-8") as file:
        names = file.readline().strip().split(",")
        table = np.loadtxt(file, delimiter=",")
    used = [j for j, name in enumerate(names) if name not in ("G3", "Binary Class")]
    return table[:, used], table[:, names.index("Binary Class")].astype(int)


def embeddings(x, z, seed, epochs):
    """The run of the first model; by name W, and the relative error of what is made of it beside folded z-scores."""
    from sklearn.decomposition import PCA

    y = fold(z)
    pca = PCA(RANK)
    w = pca.fit_transform(y)
    made = {"raw table": (x, 0.0), "PCA": (w, error_of(pca.inverse_transform(w), y))}
    plain = nmfkit.fit(y, rank=RANK, seed=seed, max_sweeps=1000, tol=1e-6)
    made["NMF"] = plain.w, error_of(plain.w @ plain.h, y)
    made["NMF, length 1"] = plain.w * np.linalg.norm(plain.h, axis=1), made["NMF"][1]
    fits = {name: fitted(x, *model, seed, epochs) for name, model in MODELS.items()}
    for name, one in fits.items():
        of = one.w @ one.h
        made[name] = one.w, error_of(of if name == "IG-RNMF" else np.maximum(of, 0), y)
    return fits["IG-NMF"], made


def fitted(x, model, more, seed, epochs):
    """A network for the folded z-scores of x, which the model makes itself."""
    more = {"preprocess": "zscore-fold", "hidden_sizes": "paper", **more}
    return nmfkit.fit(x, model=model, rank=RANK, max_sweeps=epochs, tol=0, seed=seed, model_options=more)


def error_of(made, y):
    """‖made − y‖ / ‖y‖."""
    return np.linalg.norm(made - y) / np.linalg.norm(y)


def classified(w, passed, seed, splits):
    """By measure and classifier, the means over so many parts of 75 and 25 %; NaN where one cannot be had."""
    from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import train_test_split
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier

    found = {}
    for split in range(splits):
        parts = train_test_split(w, passed, test_size=0.25, random_state=1000 * seed + split)
        classifiers = {
            "5-NN": KNeighborsClassifier(5),
            "naive Bayes": GaussianNB(),
            "perceptron": MLPClassifier(random_state=seed),
            "QDA": QuadraticDiscriminantAnalysis(),
        }
        for name, classifier in classifiers.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # 200 iterations, as it comes
                found.setdefault(name, []).append(told(classifier, *parts))
    means = {name: np.mean(of, axis=0) for name, of in found.items()}
    measures = ("accuracy", "F1", "Cohen's kappa", "Matthews' correlation")
    return {measure: {name: of[i] for name, of in means.items()} for i, measure in enumerate(measures)}


def told(classifier, w, new, passed, right):
    """Accuracy, F1, Cohen's kappa and Matthews' correlation; NaN where a covariance is singular."""
    from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, matthews_corrcoef

    try:
        said = classifier.fit(w, passed).predict(new)
    except np.linalg.LinAlgError:  # of discriminants, where a class has too few rows or columns go together
        return [np.nan] * 4
    return [one(right, said) for one in (accuracy_score, f1_score, cohen_kappa_score, matthews_corrcoef)]


def clustered(w, passed, seed):
    """By measure and method, how far clusters of the rows of W agree with the classes."""
    from sklearn.cluster import Birch, MiniBatchKMeans
    from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, normalized_mutual_info_score
    from sklearn.mixture import GaussianMixture

    count = len(np.unique(passed))
    methods = {
        "k-means": MiniBatchKMeans(count, random_state=seed, n_init=3),
        "Birch": Birch(threshold=0.01, n_clusters=count),
        "Gaussians": GaussianMixture(count, init_params="random", random_state=seed),
    }
    measures = {
        "adjusted Rand index": adjusted_rand_score,
        "NMI": normalized_mutual_info_score,
        "AMI": adjusted_mutual_info_score,
    }
    labels = {name: method.fit_predict(w) for name, method in methods.items()}
    return {measure: {name: of(passed, labels[name]) for name in labels} for measure, of in measures.items()}


def keep_run(folder, result, x, passed):
    """The run and its report."""
    np.savetxt(folder / "passed.txt", passed, fmt="%d")
    result.save(folder / "run.zarr", overwrite=True)
    write_report(result, folder / "report.html", x, labels=str(folder / "passed.txt"), overwrite=True)


def tell(rows, count, largest):
    """A table for each measure, a line for each embedding: mean ± standard deviation over the seeds."""
    every = next(iter(rows.values()))
    print(f"{count} pupils, {RANK} numbers each, {len(every)} seeds; always naming the larger class: {largest:.3f}")
    for measure, columns in every[0].items():
        print(f"\n{measure:25}" + "".join(f"{column:>16}" for column in columns))
        for name, of in rows.items():
            found = [np.asarray([one[measure][column] for one in of]) for column in columns]
            print(f"{name:25}" + "".join(f"{cell(one):>16}" for one in found))


def cell(found):
    """Mean ± standard deviation."""
    return f"{found.mean():.3f} ± {found.std():.3f}" if np.isfinite(found).all() else "singular"


def draw(folder, shown, passed):
    """Each embedding along its two widest directions."""
    figure = canvas(8, 2.6)
    for ax, (name, w) in zip(figure.subplots(1, len(shown)), shown.items(), strict=True):
        at, share = plane(w)
        for value, colour, label in ((1, "#0072B2", "passed"), (0, "#D55E00", "failed")):
            ax.scatter(*at[passed == value].T, s=5, linewidths=0, color=colour, alpha=0.7, label=label)
        ax.set(title=name, xticks=[], yticks=[], xlabel=f"{share:.0%} of the variance")
    ax.legend(markerscale=2)
    keep(figure, folder, colours=64)


if __name__ == "__main__":
    main()
