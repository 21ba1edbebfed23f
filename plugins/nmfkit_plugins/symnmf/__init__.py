"""Symmetric NMF: a similarity matrix as the product of one nonnegative factor with itself."""

from __future__ import annotations

from nmfkit.hookspecs import PartSpec, hookimpl

_HERE = "nmfkit_plugins.symnmf"
_LAWS = f"{_HERE}.contract:SymmetricRuleContract"


@hookimpl
def nmfkit_models() -> list[PartSpec]:
    """The symmetric models."""
    return [
        PartSpec(
            "symnmf",
            "A ≈ H Hᵀ for a symmetric A of similarities: clusters and communities",
            f"{_HERE}.model:SymNMF",
            examples=("symnmf", "symnmf:ignore"),
        ),
        PartSpec(
            "symnmf-net",
            "A ≈ H Hᵀ by an unrolled network that is trained on A, or was on another graph",
            f"{_HERE}.net:SymNMFNet",
            examples=("symnmf-net:blocks=2,steps=2",),
        ),
    ]


@hookimpl
def nmfkit_update_rules() -> list[PartSpec]:
    """The rules of `symnmf`."""
    return [
        PartSpec(
            "symhals",
            "for symnmf: columns of a pair of factors in turn, held together by a penalty",
            f"{_HERE}.pair:SymHALS",
            examples=("symhals", "symhals:0.5,inner=2"),
            preference=10,
            contract=_LAWS,
        ),
        PartSpec(
            "symanls",
            "for symnmf: exact nonnegative least squares for a pair of factors, held together by a penalty",
            f"{_HERE}.pair:SymANLS",
            contract=_LAWS,
        ),
        PartSpec(
            "symmu",
            "for symnmf: multiplicative, damped or by a power; mu stands for symmu:0.5",
            f"{_HERE}.multiplicative:SymMU",
            examples=("symmu", "symmu:0.25", "symmu:damping=0.3"),
            contract=_LAWS,
        ),
        PartSpec(
            "fixedpoint",
            "for symnmf: least squares cut off at 0, one product a sweep, nothing but matrix products",
            f"{_HERE}.fixed_point:FixedPoint",
            contract=_LAWS,
        ),
        PartSpec(
            "pgd",
            "for symnmf: projected gradient steps, as long as lower the objective enough",
            f"{_HERE}.projected_gradient:ProjectedGradient",
            aliases=("projected-gradient",),
            contract=_LAWS,
        ),
        PartSpec(
            "pgncg",
            "for symnmf: projected Gauss–Newton steps by conjugate gradients, few sweeps and one product each",
            f"{_HERE}.gauss_newton:GaussNewton",
            aliases=("gauss-newton",),
            contract=_LAWS,
        ),
        PartSpec(
            "newton",
            "for symnmf: projected Newton steps by columns, for some 3000 rows at most, A in memory",
            f"{_HERE}.newton:Newton",
            contract=_LAWS,
        ),
        PartSpec(
            "cd",
            "for symnmf: exact steps in one entry after the other, in order, A in memory",
            f"{_HERE}.coordinate:Coordinates",
            contract=_LAWS,
        ),
        PartSpec(
            "lai",
            "for symnmf: symhals on a low-rank approximation of A first, for dense matrices",
            f"{_HERE}.lai:LAI",
            contract=_LAWS,
        ),
        PartSpec(
            "lvs",
            "for symnmf: symhals with steps from rows sampled by leverage, for dense matrices",
            f"{_HERE}.lvs:LvS",
            examples=("lvs:pairs=1",),
            contract=_LAWS,
        ),
    ]


@hookimpl
def nmfkit_initializers() -> list[PartSpec]:
    """The starting point of the symmetric models."""
    return [
        PartSpec(
            "eigen",
            "for symmetric matrices: leading eigenvectors, turned towards nonnegative ones",
            f"{_HERE}.eigen:Eigen",
            examples=("eigen", "eigen:no"),
        )
    ]
