"""Recovery: the components that data were made of, by agd, HALS, ANLS and MU; where zeros tell, and where not.

X = W H is made here, so that the components H are known. Every method begins at the same warm start: each component
with some of all others in it. Drawn is the total correlation error, how far a method is from the truth, over time.
"""

import time

import numpy as np
from cases import COLOURS, canvas, keep, options
from nmfkit_plugins.agd.recovery import correlation_error

import nmfkit
from nmfkit import Watcher, kernels
from nmfkit.report import write_report
from nmfkit.testing import mixtures

COMPONENTS = {
    "positive everywhere": mixtures.dense_components,
    "of either sign": mixtures.signed_components,
    "80 % zeros": mixtures.sparse_components,
}
WEIGHTS = {"Dirichlet": mixtures.dirichlet_weights, "CTM": mixtures.correlated_weights}
METHODS = ("agd", "hals", "anls", "mu", "anls, H free")
STYLE = dict(zip(METHODS, COLOURS, strict=False))
LEAST = 1e-17
"""Errors below are drawn here: they are rounding."""
BARS = 24
"""Features of the one component that is drawn."""


def main():
    given = options(__doc__)
    rank, features, sweeps = (10, 60, 20) if given.quick else (40, 300, 150)
    found = {}
    for weights, draw_weights in WEIGHTS.items():
        for kind, draw_components in COMPONENTS.items():
            truth = draw_components(rank, features, 0)
            x, start = draw_weights(50 * rank, rank, 0) @ truth, mixtures.warm_start(truth, 0)
            found[weights, kind] = truth, {name: fitted(name, x, start, truth, sweeps) for name in methods(kind)}
            for name, (curve, _) in found[weights, kind][1].items():
                seconds, error = curve[-1]
                print(f"{weights}, {kind}: {name} ends at {error:.1e} in {seconds:.1f} s", flush=True)
            if len(found) == 1:
                from_samples(x, truth, sweeps, given.out)
    draw(given.out, found)


def from_samples(x, truth, sweeps, folder):
    """Nothing given: the model's own start, the samples that lie furthest out."""
    result = nmfkit.fit(x, model="agd", rank=len(truth), max_sweeps=sweeps, tol=0)
    print(f"the same from extreme samples: agd ends at {correlation_error(truth, result.h):.1e}", flush=True)
    result.save(folder / "run.zarr", overwrite=True)
    write_report(result, folder / "report.html", x, overwrite=True)


def methods(kind):
    """Those that there are: factorizations with H ≥ 0 need X ≥ 0."""
    return ("agd", "anls, H free") if kind == "of either sign" else METHODS


def fitted(name, x, start, truth, sweeps):
    """Seconds and error after each sweep, and the components at the end."""
    if name == "anls, H free":
        return free(x, start, truth, sweeps // 3)
    if name == "agd":
        begin = {"model": "agd", "h": start}
    else:  # without what is negative in the start
        least = 1e-9 if name == "mu" else 0.0
        w = kernels.nnls(start @ start.T, x @ start.T)
        begin = {"rule": name, "w": np.maximum(w, least), "h": np.maximum(start, least)}
    curve = Curve(truth)
    result = nmfkit.fit(x, rank=len(truth), max_sweeps=sweeps, tol=0, watcher=curve, **begin)
    return curve.points, result.h


class Curve(Watcher):
    """Seconds and error after each sweep of a fit."""

    def __init__(self, truth):
        self.truth, self.points = truth, []

    def sweep(self, state):
        self.points.append((state.history[-1].seconds, correlation_error(self.truth, state.current["h"])))


def free(x, h, truth, sweeps):
    """W by nonnegative, H by plain least squares, in turns: what the paper compares with."""
    begun, points = time.perf_counter(), []
    for _ in range(sweeps):
        w = kernels.nnls(h @ h.T, x @ h.T)
        h = np.linalg.lstsq(w, x, rcond=None)[0]
        points.append((time.perf_counter() - begun, correlation_error(truth, h)))
    return points, h


def draw(folder, found):
    """For each kind of component the errors over time, for both kinds of weights, and a piece of one component."""
    figure = canvas(8, 6.4)
    rows = figure.subplots(3, 3, height_ratios=(2, 2, 1))
    for axes, weights in zip(rows, WEIGHTS, strict=False):
        for ax, kind in zip(axes, COMPONENTS, strict=True):
            for name, (curve, _) in found[weights, kind][1].items():
                seconds, errors = np.array(curve).T
                ax.semilogy(seconds, np.maximum(errors, LEAST), color=STYLE[name], linewidth=1.4, label=name)
            ax.set(ylim=(LEAST, 30), xlabel="seconds", title=f"{kind}; {weights}")
            ax.set_yticks([10.0**power for power in range(-16, 1, 4)], [f"1e{power}" for power in range(-16, 1, 4)])
        axes[0].set_ylabel("total correlation error")
    rows[0][2].legend(fontsize=7, loc="center right")
    for ax, kind in zip(rows[2], COMPONENTS, strict=True):
        piece(ax, *found["Dirichlet", kind])
    keep(figure, folder)


def piece(ax, truth, found):
    """The component that HALS is furthest from (grey) as agd and another method (lines) find it."""
    name = "hals" if "hals" in found else "anls, H free"
    at, other = nearest(truth, found[name][1])
    at = int(np.argmax(np.linalg.norm(at - other, axis=1)))
    ax.bar(np.arange(BARS), unit(truth)[at, :BARS], color="#CCCCCC", width=1.0)
    for method in (name, "agd"):
        line = nearest(truth, found[method][1])[1][at, :BARS]
        ax.step(np.arange(BARS), line, where="mid", color=STYLE[method], linewidth=1.4)
    ax.set(xticks=[], yticks=[], title=f"one component: agd, {name}")


def nearest(truth, h):
    """The true components of length 1, and the multiple of a row of `h` that is nearest to each."""
    truth, h = unit(truth), unit(h)
    cosine = truth @ h.T
    best = np.argmax(np.abs(cosine), axis=1)
    return truth, np.take_along_axis(cosine, best[:, None], axis=1) * h[best]


def unit(h):
    return h / np.linalg.norm(h, axis=1, keepdims=True)


if __name__ == "__main__":
    main()
