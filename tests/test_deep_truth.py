"""Deep NMF against a known truth, and against the figures of the paper.

Leplat, Hien, Onwunta & Gillis, Deep nonnegative matrix factorization with beta divergences, Neural Computation 36(11),
2024: table 2 and section 5.
"""

from __future__ import annotations

import os
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
from deep_fits import deep, hs, losses, ws
from oracles.synthetic import RANKS, distance, hoyer, two_layers

from nmfkit.sources import open_source

# --- a truth ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_deep_is_nearer_to_the_truth_than_multilayer_and_minimum_volume_nearer_still(seed):
    x, w1, w2 = two_layers(seed)
    options = {"seed": seed, "init_sweeps": 200, "sweeps": 300}
    fits = {
        "multilayer": deep(x, RANKS, seed=seed, init_sweeps=500, sweeps=0),
        "deep": deep(x, RANKS, **options),
        "volume": deep(x, RANKS, normalize="w", reg_w=["minvol:1,delta=1"], **options),
    }
    first, second = ({name: distance(ws(fit)[at], w) for name, fit in fits.items()} for at, w in ((0, w1), (1, w2)))
    assert second["multilayer"] > second["deep"] > second["volume"], second
    assert first["multilayer"] > first["deep"], first


# --- CBCL: table 2 -----------------------------------------------------------------------------------------------

PAPER = {
    "error": ((108.3, 1.1), (26.8, 3.2), (4.4, 0.3)),
    "multilayer": ((58.5, 0.6), (37.3, 1.0), (22.1, 1.0)),
    "deep": ((70.1, 1.2), (50.6, 2.6), (27.1, 2.9)),
}
"""Percent, mean and standard deviation of 35 runs, layer by layer."""


def sparsities(fit):
    """Percent of Hoyer's measure over the rows of H₁, H₂H₁, …"""
    h = hs(fit)
    return [100 * hoyer(reduce(np.matmul, reversed(h[: at + 1]))) for at in range(len(h))]


def table(x, ranks, seed, *, sweeps=500, **options):
    """Errors of the deep fit in percent of the multilayer one's after twice the sweeps, and both sparsities."""
    alone = deep(x, ranks, seed=seed, init_sweeps=2 * sweeps, sweeps=0, **options)
    both = deep(x, ranks, seed=seed, init_sweeps=sweeps, sweeps=sweeps, **options)
    ratios = 100 * np.divide(losses(both).end, losses(alone).start)
    return {"error": ratios, "multilayer": sparsities(alone), "deep": sparsities(both)}


@pytest.mark.slow
def test_cbcl_has_the_figures_of_the_paper(data_dir):
    source = open_source(data_dir / "faces" / "CBCL.mat", key="X", dtype="float64")
    faces = np.ascontiguousarray(source.read(0, source.shape[0]).values.T)
    assert faces.shape == (2429, 361)
    found = [table(faces, (80, 40, 20), seed, model={"extrapolate": False}, threads=None) for seed in range(3)]
    for what, layers in PAPER.items():
        for layer, (mean, deviation) in enumerate(layers):
            values = [one[what][layer] for one in found]
            assert abs(np.mean(values) - mean) <= 2 * deviation, (what, layer, values)


# --- TDT2, where it is at hand -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_tdt2_has_the_figures_of_the_paper():
    """X words × documents, 500 words; weights 4, 2, 1; the paper has 107.5, 30 and 22 percent in one run."""
    if "NMFKIT_TDT2" not in os.environ:
        pytest.skip("set NMFKIT_TDT2 to a file with 500 words × documents of TDT2")
    source = open_source(Path(os.environ["NMFKIT_TDT2"]), dtype="float64")
    words = source.read(0, source.shape[0]).dense()
    model = {"weights": "4+2+1", "raw": True}
    found = table(words[:, words.any(0)], (20, 10, 5), 0, model=model, threads=None)["error"]
    np.testing.assert_allclose(found, (107.5, 30, 22), rtol=0.15)
