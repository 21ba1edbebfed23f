"""The codes that a fit ends with."""

from __future__ import annotations

from nmfkit import kernels
from nmfkit.blocks import Array
from nmfkit_plugins.agd.decoding import Decoder, thresholded

CODES = ("nnls", "threshold")
"""Exact nonnegative least squares, or the decoder's own, which are cheaper and right only in the limit."""


def final_codes(kind: str, decoder: Decoder, v: Array, alpha: float, whole: int) -> Array:
    """Codes (rows, r) in float64 of samples whose decoded ones are `v`, on the components of `decoder`."""
    if kind == "threshold":
        return thresholded(v, alpha)
    return kernels.nnls(decoder.g, decoder.cross(v), whole=whole)
