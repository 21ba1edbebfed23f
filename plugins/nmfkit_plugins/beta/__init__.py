"""Plain β-NMF: the β-divergences, L1 and L2, the multiplicative and the HALS rule, the model `nmf`."""

from __future__ import annotations

from nmfkit.hookspecs import PartSpec, hookimpl

_HERE = "nmfkit_plugins.beta"


@hookimpl
def nmfkit_losses() -> list[PartSpec]:
    """The β-divergences under their own names, and any other by `beta:B`."""
    return [
        PartSpec(
            "frobenius",
            "half the squared error: Gaussian noise (β = 2)",
            f"{_HERE}.divergence:beta_divergence",
            preset={"beta": 2.0},
            aliases=("fro", "euclidean"),
        ),
        PartSpec(
            "kl",
            "Kullback–Leibler divergence: counts, Poisson noise (β = 1)",
            f"{_HERE}.divergence:beta_divergence",
            preset={"beta": 1.0},
            aliases=("kullback-leibler", "poisson"),
        ),
        PartSpec(
            "is",
            "Itakura–Saito divergence: power spectra, multiplicative noise (β = 0)",
            f"{_HERE}.divergence:beta_divergence",
            preset={"beta": 0.0},
            aliases=("itakura-saito",),
        ),
        PartSpec(
            "beta",
            "the β-divergence of any real β, as beta:0.5",
            f"{_HERE}.divergence:beta_divergence",
            examples=("beta:-1", "beta:0.5", "beta:1.5", "beta:3"),
        ),
    ]


@hookimpl
def nmfkit_regularizers() -> list[PartSpec]:
    """Penalties on the entries of one factor."""
    return [
        PartSpec("l1", "λ Σ f: few large entries", f"{_HERE}.norms:L1", aliases=("lasso",), examples=("l1:0.1",)),
        PartSpec(
            "l2",
            "½ λ Σ f²: no very large entries",
            f"{_HERE}.norms:L2",
            aliases=("ridge",),
            examples=("l2:0.1",),
        ),
    ]


@hookimpl
def nmfkit_update_rules() -> list[PartSpec]:
    """The classical rules, and those for counts and for data that are slow to read."""
    return [
        PartSpec(
            "mu",
            "multiplicative: any loss with a surrogate, any mix of regularizers, never rises",
            f"{_HERE}.multiplicative:Multiplicative",
            aliases=("multiplicative",),
            preference=10,
        ),
        PartSpec(
            "hals",
            "hierarchical alternating least squares: exact column steps for quadratic losses",
            f"{_HERE}.hals:HALS",
            examples=("hals", "hals:3,settle=0"),
            preference=20,
        ),
        PartSpec(
            "anls",
            "alternating nonnegative least squares: each factor exactly at its minimum, for quadratic losses",
            f"{_HERE}.anls:ANLS",
            aliases=("bpp",),
        ),
        PartSpec(
            "scd",
            "coordinate descent for counts: Newton steps in each entry of W, for kl",
            f"{_HERE}.scd:CoordinateDescent",
            aliases=("coordinate-descent",),
            examples=("scd", "scd:inner=1"),
        ),
        PartSpec(
            "online",
            "incremental: H is renewed several times a sweep, for fewer reads of data on disk",
            f"{_HERE}.online:Online",
            aliases=("incremental",),
            examples=("online", "online:mu,parts=3,visits=1", "online:hals,parts=3"),
        ),
        PartSpec(
            "compressed",
            "hals begun on a randomized sketch of the matrix: few reads of data that are slow to read",
            f"{_HERE}.compressed:Compressed",
            examples=("compressed", "compressed:power=1,oversample=4"),
        ),
    ]


@hookimpl
def nmfkit_models() -> list[PartSpec]:
    """The plain model."""
    return [PartSpec("nmf", "X ≈ W H", f"{_HERE}.nmf:NMF")]
