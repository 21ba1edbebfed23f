"""Deep faces: three levels of parts, fitted at once, and what that gains over one factorization after the other."""

import numpy as np
from cases import canvas, image, keep, options, well_known
from faces import faces

import nmfkit
from nmfkit.report import write_report

RANKS = (80, 40, 20)
PUBLISHED = ((108.3, 58.5, 70.1), (26.8, 37.3, 50.6), (4.4, 22.1, 27.1))
"""Leplat, Hien, Onwunta & Gillis, Neural Computation 36(11), 2024, table 2: CBCL, 35 runs."""
PLAIN = {"extrapolate": False, "joint": False}


def main():
    given = options(__doc__)
    seeds, sweeps = (1, 6) if given.quick else (3, 1000)
    pictures, _ = faces()
    x = pictures.reshape(len(pictures), -1)
    rows, faster = [], []
    for seed in range(seeds):
        losses, components = multilayer(x, sweeps, seed)
        result = deep(x, sweeps, seed, **PLAIN)
        at_once = [level.components for level in result.levels]
        rows.append(compared(result, losses, components))
        faster.append(compared(deep(x, sweeps, seed), losses, components))
    result.save(given.out / "run.zarr", overwrite=True)
    shape = f"{pictures.shape[1]},{pictures.shape[2]}"
    write_report(result, given.out / "report.html", x, image_shape=shape, overwrite=True)
    tell(np.array(rows), np.array(faster), published=well_known("faces/CBCL.mat") is not None)
    draw(given.out, pictures.shape[1:], [components, at_once])


def multilayer(x, sweeps, seed):
    """One plain factorization after the other, of what the one before has left: losses, and components by level."""
    losses, components = [], []
    for rank in RANKS:
        fit = nmfkit.fit(x, loss="kl", rank=rank, rule="mu:extrapolate=no,joint=no", seed=seed, max_sweeps=sweeps)
        sums = fit.h.sum(axis=1)
        x, h = fit.w * sums, fit.h / sums[:, None]
        losses.append(fit.objective)
        components.append(h @ components[-1] if components else h)
    return losses, components


def deep(x, sweeps, seed, **model_options):
    """All levels at once: half of the sweeps for the multilayer start, half for the deep fit."""
    return nmfkit.fit(
        x, model="deep-nmf", loss="kl", ranks=RANKS, seed=seed, max_sweeps=sweeps // 2, tol=0,
        model_options={"init_sweeps": sweeps // 2, **model_options},
    )  # fmt: skip


def compared(result, losses, components):
    """By level: the loss in percent of the multilayer one, and how sparse the components are, of both."""
    end = result.model.layer_losses(result.state.following).end
    both = zip(components, (level.components for level in result.levels), strict=True)
    sparse = [(sparsity(before), sparsity(after)) for before, after in both]
    return [(100 * mine / theirs, *s) for mine, theirs, s in zip(end, losses, sparse, strict=True)]


def sparsity(components):
    """Hoyer's, in percent, the mean over components: 0 where all entries are alike, 100 where all but one are zero."""
    root = np.sqrt(components.shape[1])
    return 100 * np.mean((root - components.sum(axis=1) / np.linalg.norm(components, axis=1)) / (root - 1))


def tell(rows, faster, *, published):
    """The table: mean ± standard deviation over seeds, all in percent."""
    print("level  rank  error deep/multilayer  sparsity multilayer  sparsity deep")
    for level, rank in enumerate(RANKS):
        for name, values in (("", rows[:, level]), ("  extrapolated", faster[:, level])):
            mean, spread = values.mean(axis=0), values.std(axis=0)
            cells = "".join(f"{m:16.1f} ± {s:3.1f}" for m, s in zip(mean, spread, strict=True))
            print(f"{level + 1:5} {rank:5}{cells}{name}")
        if published:
            print(" " * 11 + "".join(f"{p:16.1f}      " for p in PUBLISHED[level]) + "  published")


def draw(folder, size, found, count=12):
    """Left one after the other, right at once: some components of each level, the deepest level at the bottom."""
    figure = canvas(8, 8 / (2 * count // 2) * 3 * 2 * size[0] / size[1] + 0.5)
    names = ("one factorization after the other", "all at once")
    for half, name, levels in zip(figure.subfigures(1, 2), names, found, strict=True):
        half.suptitle(name, fontsize=9)
        for part, components in zip(half.subfigures(3, 1), levels, strict=True):
            picked = np.linspace(0, len(components) - 1, count).astype(int)
            for ax, h in zip(part.subplots(2, count // 2).flat, components[picked], strict=True):
                image(ax, h.reshape(size), cmap="Greys")
    keep(figure, folder, colours=32)


if __name__ == "__main__":
    main()
