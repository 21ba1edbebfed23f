"""What reaches a device array: NumPy functions, methods and attributes, as CuPy 14 has them.

Where CuPy is installed, its own signatures count as well (`device_cupy`).
"""

from __future__ import annotations

_LIKE = "dtype=, order=, subok=, shape="
_NEW = "dtype=, order="

FUNCTIONS: dict[str, str] = {
    **dict.fromkeys(("max", "min", "amax", "amin", "all", "any"), "a, axis=, out=, keepdims="),
    **dict.fromkeys(("sum", "prod", "mean", "argmax", "argmin"), "a, axis=, dtype=, out=, keepdims="),
    **dict.fromkeys(("zeros_like", "ones_like"), f"a, {_LIKE}"),
    "empty_like": f"prototype, {_LIKE}",
    "full_like": f"a, fill_value, {_LIKE}",
    **dict.fromkeys(("zeros", "ones", "empty"), f"shape, {_NEW}"),
    "full": f"shape, fill_value, {_NEW}",
    "eye": f"N, M=, k=, {_NEW}",
    "arange": "start, stop=, step=, dtype=",
    "asarray": "a, dtype=, order=, *, copy=",
    "array": "obj, dtype=, copy=, order=, subok=, ndmin=",
    "ascontiguousarray": "a, dtype=",
    "cumsum": "a, axis=, dtype=, out=",
    "trace": "a, offset=, axis1=, axis2=, dtype=, out=",
    **dict.fromkeys(("concatenate", "stack"), "tup, axis=, out=, *, dtype=, casting="),
    **dict.fromkeys(("dot", "outer"), "a, b, out="),
    **dict.fromkeys(("vdot", "kron"), "a, b"),
    "tensordot": "a, b, axes=",
    "where": "condition, x=, y=",
    "nonzero": "a",
    "broadcast_arrays": "*args",
    **dict.fromkeys(("tril", "triu"), "m, k="),
    "diag": "v, k=",
    "diagonal": "a, offset=, axis1=, axis2=",
    "transpose": "a, axes=",
    "moveaxis": "a, source, destination",
    "swapaxes": "a, axis1, axis2",
    "expand_dims": "a, axis",
    **dict.fromkeys(("squeeze", "flip"), "a, axis="),
    "roll": "a, shift, axis=",
    **dict.fromkeys(("sort", "argsort"), "a, axis=, kind="),
    "repeat": "a, repeats, axis=",
    "take": "a, indices, axis=, out=",
    "diff": "a, n=, axis=, prepend=, append=",
    "result_type": "*arrays_and_dtypes",
    **dict.fromkeys(("shape", "ndim"), "a"),
    "iscomplexobj": "x",
    "copy": "a, order=",
    "ravel": "a, order=",
    "reshape": "a, newshape, order=, *, copy=",
    "broadcast_to": "array, shape",
    **dict.fromkeys(("isclose", "allclose"), "a, b, rtol=, atol=, equal_nan="),
    "array_equal": "a1, a2, equal_nan=",
    "count_nonzero": "a, axis=",
    "einsum": "*operands, dtype=, optimize=",
    "searchsorted": "a, v, side=, sorter=",
    "bincount": "x, weights=, minlength=",
    "clip": "a, a_min, a_max, out=",
    "linalg.norm": "x, ord=, axis=, keepdims=",
    "linalg.qr": "a, mode=",
    "linalg.svd": "a, full_matrices=, compute_uv=",
    **dict.fromkeys(("linalg.eigh", "linalg.eigvalsh"), "a, UPLO="),
    **dict.fromkeys(("linalg.inv", "linalg.det", "linalg.slogdet", "linalg.cholesky"), "a"),
    "linalg.pinv": "a, rcond=",
    "linalg.solve": "a, b",
}
"""NumPy functions that reach a device array, each with the parameters of CuPy's; `=` marks those with a default."""

DESCRIBING = frozenset({"result_type", "shape", "ndim", "iscomplexobj"})
"""Functions that describe arrays: their result is plain Python."""

UFUNC_KEYWORDS = frozenset({"out", "dtype", "casting"})
"""What CuPy's ufuncs take; their `__call__` tells of no more than its `**kwargs`."""

ATTRIBUTES = frozenset({"shape", "dtype", "ndim", "size", "nbytes", "itemsize"})
FLAGS = frozenset({"c_contiguous", "f_contiguous", "owndata"})

METHODS: dict[str, str] = {
    **dict.fromkeys(("max", "min", "any", "all"), "axis=, out=, keepdims="),
    **dict.fromkeys(("sum", "prod", "mean"), "axis=, dtype=, out=, keepdims="),
    **dict.fromkeys(("argmax", "argmin"), "axis=, out=, dtype=, keepdims="),
    "cumsum": "axis=, dtype=, out=",
    **dict.fromkeys(("ravel", "copy"), "order="),
    "reshape": "*shape, order=, copy=",
    "transpose": "*axes",
    "dot": "b, out=",
    "squeeze": "axis=",
    "nonzero": "",
    "fill": "value",
    "astype": "dtype, order=, *, copy=",
    "diagonal": "offset=, axis1=, axis2=",
}
"""Methods that a device array shares with NumPy's, likewise."""
