"""What a block of the network may learn: three families of parameters, each an array (K, p), a row for a block."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from nmfkit.blocks import Array
from nmfkit_plugins.symnmf.net_blocks import Layer, identity

LEAST = 0.01
"""λ stays above this: the inversion layer is then Lipschitz, and no larger than 1 / (2 √λ)."""

DENSE_MOST = 2000
"""Rows up to which W (n, n) of every block is held in memory."""

THAW = 0.2
"""The part of the training before which thresholds stay 0: moved early, they can silence the network for good."""

A, B, RHO, BETA = range(4)
"""Columns of the numbers that blocks have."""


class Pulled(NamedTuple):
    """What came back to a block: the sums of `pulled`, λ̄, and where weights are learnt Q and P̄ whole."""

    sums: dict[str, Any]
    lam: float
    q: Array | None = None
    p_bar: Array | None = None


class Variant(Protocol):
    """A family of parameters."""

    transfers: ClassVar[bool]
    """Whether the parameters know nothing of n, of r and of the order of columns, and so fit any graph."""
    dense: ClassVar[bool]
    """Whether its products are with weights of its own instead of A."""
    rate: ClassVar[float]
    """The rate that serves, unless another is given."""

    def begin(self, blocks: int, rank: int, lam: float, matrix: Array | None) -> Array:
        """Parameters (K, p) with which each block is one plain iteration; `matrix` is A (n, n) where `dense`."""
        ...

    def layer(self, own: Array, like: Array) -> Layer:
        """The block of the parameters `own` (p,), for rows as those of `like` (n, r)."""
        ...

    def gradient(self, net: Array, back: Sequence[Pulled]) -> Array:
        """The gradient by every parameter (K, p), from what came `back` to each block."""
        ...

    def rates(self, net: Array, done: float, sizes: Array) -> Array:
        """Factors of the rate when so much of the training is `done`; `sizes` (K,) are mean entries of U_k.

        (K, p), or (K, 1) where all parameters of a block have the same.
        """
        ...


def bounded(rho: float) -> float:
    """λ of its parameter ρ: the least and log(1 + exp ρ)."""
    return LEAST + max(rho, 0.0) + math.log1p(math.exp(-abs(rho)))


def unbounded(lam: float) -> float:
    """The ρ of a λ above the least."""
    rest = lam - LEAST
    return rest + math.log(-math.expm1(-rest))


def _slope(rho: float) -> float:
    """That of λ by ρ."""
    return 0.5 * (1 + math.tanh(rho / 2))


def _numbers(blocks: int, lam: float, more: int) -> Array:
    """a = 1, b = λ, ρ and `more` zeros for each block."""
    net = np.zeros((blocks, 3 + more))
    net[:, A], net[:, B], net[:, RHO] = 1.0, lam, unbounded(lam)
    return net


def _fill(gradient: Array, net: Array, back: Sequence[Pulled]) -> None:
    """The gradient by a, b and ρ."""
    for k, pull in enumerate(back):
        gradient[k, A], gradient[k, B] = pull.sums["a"], pull.sums["b"]
        gradient[k, RHO] = pull.lam * _slope(float(net[k, RHO]))


@dataclass(frozen=True)
class Equivariant:
    """a, b, λ and R = I + β 11ᵀ / r: whatever is done to the order of nodes or columns is done to the result."""

    transfers: ClassVar[bool] = True
    dense: ClassVar[bool] = False
    rate: ClassVar[float] = 0.05

    def begin(self, blocks: int, rank: int, lam: float, matrix: Array | None) -> Array:
        """Four numbers a block."""
        del rank, matrix
        return _numbers(blocks, lam, 1)

    def layer(self, own: Array, like: Array) -> Layer:
        """R, from its one number."""
        rank = like.shape[1]
        mix = identity(rank, like) + like.dtype.type(float(own[BETA]) / rank)
        return Layer(bounded(float(own[RHO])), float(own[A]), float(own[B]), mix)

    def gradient(self, net: Array, back: Sequence[Pulled]) -> Array:
        """β̄ is the sum of R̄ over r."""
        found = np.zeros_like(net)
        _fill(found, net, back)
        for k, pull in enumerate(back):
            found[k, BETA] = float(np.sum(pull.sums["mix"])) / len(pull.sums["mix"])
        return found

    def rates(self, net: Array, done: float, sizes: Array) -> Array:
        """β moves all columns at once, so by less; ρ is on a scale of its own."""
        del done, sizes
        found = np.ones_like(net)
        found[:, RHO], found[:, BETA] = 2.0, 0.3
        return found


@dataclass(frozen=True)
class Mixing:
    """a, b, λ, R (r, r) and θ (r,): tied to the columns of the start that the network was trained from."""

    transfers: ClassVar[bool] = False
    dense: ClassVar[bool] = False
    rate: ClassVar[float] = 3e-3

    def begin(self, blocks: int, rank: int, lam: float, matrix: Array | None) -> Array:
        """R = I, θ = 0."""
        del matrix
        net = _numbers(blocks, lam, rank * rank + rank)
        net[:, 3 : 3 + rank * rank] = np.eye(rank).ravel()
        return net

    def layer(self, own: Array, like: Array) -> Layer:
        """As the parameters stand."""
        rank = like.shape[1]
        rest = own[3:].astype(like.dtype)
        mix, theta = rest[: rank * rank].reshape(rank, rank), rest[rank * rank :]
        return Layer(bounded(float(own[RHO])), float(own[A]), float(own[B]), mix, theta)

    def gradient(self, net: Array, back: Sequence[Pulled]) -> Array:
        """The sums as they are."""
        found = np.zeros_like(net)
        _fill(found, net, back)
        for k, pull in enumerate(back):
            found[k, 3:] = np.concatenate([pull.sums["mix"].ravel(), pull.sums["theta"]])
        return found

    def rates(self, net: Array, done: float, sizes: Array) -> Array:
        """θ waits, and then moves by a small part of what it is taken from."""
        found = np.ones_like(net)
        rank = math.isqrt(net.shape[1] - 3)  # r² + r parameters are R and θ
        found[:, 3 + rank * rank :] = 0.1 * sizes[:, None] if done >= THAW else 0.0
        return found


@dataclass(frozen=True)
class DenseWeights:
    """λ and W (n, n) in place of a A + b I: for graphs of up to 2,000 nodes, and for the one that it was trained on."""

    transfers: ClassVar[bool] = False
    dense: ClassVar[bool] = True
    rate: ClassVar[float] = 1e-3

    def begin(self, blocks: int, rank: int, lam: float, matrix: Array | None) -> Array:
        """W = A + λI."""
        del rank
        assert matrix is not None, "weights begin at A"
        first = (matrix + lam * np.eye(len(matrix), dtype=matrix.dtype)).ravel()
        own = np.concatenate([np.full(1, unbounded(lam), dtype=matrix.dtype), first])
        return np.tile(own, (blocks, 1))

    def layer(self, own: Array, like: Array) -> Layer:
        """As the parameters stand."""
        n = len(like)
        return Layer(bounded(float(own[0])), weights=own[1:].reshape(n, n))

    def gradient(self, net: Array, back: Sequence[Pulled]) -> Array:
        """W̄ = P̄ Qᵀ."""
        found = np.zeros_like(net)
        for k, pull in enumerate(back):
            found[k, 0] = pull.lam * _slope(float(net[k, 0]))
            assert pull.p_bar is not None, "weights need whole gradients"
            assert pull.q is not None, "weights need whole factors"
            found[k, 1:] = (pull.p_bar @ pull.q.T).ravel()
        return found

    def rates(self, net: Array, done: float, sizes: Array) -> Array:
        """One rate for all."""
        del done, sizes
        return np.ones_like(net, shape=(len(net), 1))


VARIANTS: dict[str, Variant] = {"equivariant": Equivariant(), "mixing": Mixing(), "dense": DenseWeights()}
"""By the name of the option."""
