"""What reaches a device array: NumPy functions, methods and attributes, as CuPy 14 has them."""

from __future__ import annotations

_REDUCTION = "axis out keepdims"
_LIKE = "dtype order shape"

FUNCTIONS: dict[str, str] = {
    **dict.fromkeys(("max", "min", "amax", "amin", "all", "any"), _REDUCTION),
    **dict.fromkeys(("sum", "prod", "mean", "argmax", "argmin"), f"dtype {_REDUCTION}"),
    **dict.fromkeys(("zeros_like", "ones_like", "empty_like", "full_like"), _LIKE),
    **dict.fromkeys(("zeros", "ones", "empty", "full"), "dtype order"),
    **dict.fromkeys(("cumsum", "trace"), "axis dtype out offset"),
    **dict.fromkeys(("concatenate", "stack"), "axis dtype"),
    **dict.fromkeys(("dot", "outer", "vdot", "tensordot", "kron", "where", "nonzero", "broadcast_arrays"), "axes"),
    **dict.fromkeys(("tril", "triu", "diag", "diagonal"), "k offset axis1 axis2"),
    **dict.fromkeys(("transpose", "moveaxis", "swapaxes", "expand_dims", "squeeze", "flip", "roll"), "axis axes shift"),
    **dict.fromkeys(("sort", "argsort", "repeat", "take", "diff"), "axis n kind"),
    **dict.fromkeys(("asarray", "array", "ascontiguousarray"), "dtype order copy"),
    **dict.fromkeys(
        ("result_type", "shape", "ndim", "copy", "iscomplexobj", "broadcast_to", "ravel", "reshape"), "order"
    ),
    **dict.fromkeys(("isclose", "allclose", "array_equal"), "rtol atol"),
    "count_nonzero": "axis",
    "einsum": "optimize",
    "eye": "M k dtype order",
    "arange": "dtype",
    "searchsorted": "side",
    "bincount": "weights minlength",
    "clip": "a_min a_max",
    **dict.fromkeys(("linalg.norm",), "axis ord keepdims"),
    **dict.fromkeys(("linalg.qr", "linalg.svd"), "mode full_matrices compute_uv"),
    **dict.fromkeys(("linalg.eigh", "linalg.eigvalsh", "linalg.inv", "linalg.solve", "linalg.pinv"), "UPLO"),
    **dict.fromkeys(("linalg.det", "linalg.slogdet", "linalg.cholesky"), ""),
}
"""NumPy functions that reach a device array, each with the keywords that CuPy understands."""

DESCRIBING = frozenset({"result_type", "shape", "ndim", "iscomplexobj"})
"""Functions that describe arrays: their result is plain Python."""

ATTRIBUTES = frozenset({"shape", "dtype", "ndim", "size", "nbytes", "itemsize", "flags"})
METHODS: dict[str, str] = {
    **dict.fromkeys(("max", "min", "any", "all"), _REDUCTION),
    **dict.fromkeys(("sum", "prod", "mean", "argmax", "argmin", "cumsum"), f"dtype {_REDUCTION}"),
    **dict.fromkeys(("ravel", "reshape", "copy", "transpose", "dot", "squeeze", "nonzero", "fill"), "order axis"),
    "astype": "order copy",
    "diagonal": "offset axis1 axis2",
}
