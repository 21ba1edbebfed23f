"""Logarithms and powers of normal positive numbers that compilers turn into SIMD code.

Without branches and without library calls; 0, ∞, NaN and subnormal numbers are the callers' business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic, overload

from nmfkit.kernels.cpu.compiling import INLINE, inlined


def _bits_code(typing: Any, x: Any) -> Any:
    del typing
    return (types.int32 if x == types.float32 else types.int64)(x), _reinterpreted


def _float_code(typing: Any, bits: Any) -> Any:
    del typing
    return (types.float32 if bits == types.int32 else types.float64)(bits), _reinterpreted


def _reinterpreted(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return builder.bitcast(args[0], context.get_value_type(signature.return_type))


# Numba's own annotations describe the calls of these in Python, where nobody calls them.
bits: Any = intrinsic(_bits_code)
_float_of: Any = intrinsic(_float_code)

# x = 2^e m with √½ ≤ m < √2, and ln m = 2 atanh s, s = (m − 1) / (m + 1), |s| < 0.172: the series' next term is
# below 2e-9 of the sum in single precision (5 terms), 2e-17 in double (11 terms).


@inlined
def _log_single(x: Any) -> Any:
    b = bits(x)
    e = (b - np.int32(0x3F3504F3)) >> np.int32(23)
    m = _float_of(np.int32(b - (e << np.int32(23))))  # integers widen in every operation
    s = (m - np.float32(1)) / (m + np.float32(1))
    z = s * s
    tail = np.float32(1 / 7) + z * np.float32(1 / 9)
    series = np.float32(1) + z * (np.float32(1 / 3) + z * (np.float32(1 / 5) + z * tail))
    return np.float32(2) * s * series + np.float32(0.6931471805599453) * np.float32(e)


@inlined
def _mantissa(x: Any) -> Any:
    """e and ln m."""
    b = bits(x)
    e = (b - np.int64(0x3FE6A09E667F3BCD)) >> np.int64(52)
    m = _float_of(b - (e << np.int64(52)))
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    tail = 1 / 13 + z * (1 / 15 + z * (1 / 17 + z * (1 / 19 + z * (1 / 21))))
    series = 1.0 + z * (1 / 3 + z * (1 / 5 + z * (1 / 7 + z * (1 / 9 + z * (1 / 11 + z * tail)))))
    return e, 2.0 * s * series


@inlined
def _log_double(x: Any) -> Any:
    e, log_m = _mantissa(x)
    return log_m + 0.6931471805599453 * float(e)


def log(x: Any) -> Any:
    """Ln x for a normal x > 0, to a few units in the last place of its precision."""
    return np.log(x)


@overload(log, jit_options=INLINE, strict=False)
def _log(x: Any) -> Callable[..., Any]:
    if x == types.float32:
        return lambda x: _log_single(x)
    return lambda x: _log_double(x)


@inlined
def power(x: Any, p: Any) -> Any:
    """x^p for a normal x > 0 in double precision."""
    e, log_m = _mantissa(x)
    p_short = _whole(p * 1048576.0) * (1 / 1048576.0)  # its product with e is exact
    whole = p_short * float(e)
    n = _whole(whole)
    # 2^(p e) m^p = 2^n exp(g): the large part of p e is split without rounding.
    g = ((whole - n) + (p - p_short) * float(e)) * 0.6931471805599453 + p * log_m
    k = _whole(g * 1.4426950408889634)
    # ln 2 in two parts: k times the first is exact.
    g = (g - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10
    n = min(max(n + k, -2044.0), 2046.0)  # each half is a normal number; their product may be 0 or ∞
    half = _whole(0.5 * n)
    return _exp_series(g) * _two_to(half) * _two_to(n - half)


@inlined
def exp(x: Any) -> Any:
    """e^x in double precision, for −708 ≤ x ≤ 709."""
    k = _whole(x * 1.4426950408889634)
    g = (x - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10
    return _exp_series(g) * _two_to(k)


@inlined
def _whole(x: Any) -> Any:
    """The whole number next to |x| < 2⁵¹: above 2⁵² doubles have no fraction."""
    return (x + 6755399441055744.0) - 6755399441055744.0


@inlined
def _two_to(n: Any) -> Any:
    return _float_of((np.int64(n) + np.int64(1023)) << np.int64(52))


@inlined
def _exp_series(g: Any) -> Any:
    """Exp g for |g| ≤ ½ ln 2; the next term is below 5e-18."""
    tail = 1 / 40320 + g * (1 / 362880 + g * (1 / 3628800 + g * (1 / 39916800 + g * (1 / 479001600 + g / 6227020800))))
    head = 1 / 24 + g * (1 / 120 + g * (1 / 720 + g * (1 / 5040 + g * tail)))
    return 1.0 + g * (1.0 + g * (0.5 + g * (1 / 6 + g * head)))
