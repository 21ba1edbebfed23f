"""nmfkit: nonnegative matrix factorization of matrices of any size, open to plugins.

    import nmfkit
    result = nmfkit.fit(X, loss="kl", rank=20)
    result.w, result.h, result.objective

Everything below is imported on first use, so that `import nmfkit` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "fit": "nmfkit.api",
    "resume": "nmfkit.api",
    "transform": "nmfkit.api",
    "explain": "nmfkit.api",
    "load": "nmfkit.api",
    "plugins": "nmfkit.api",
    "open_source": "nmfkit.sources",
    "convert": "nmfkit.api",
    "similarity": "nmfkit.affinity.similarity",
    "select_rank": "nmfkit.selection.select",
    "Selection": "nmfkit.selection.select",
    "consensus": "nmfkit.selection.consensus",
    "Consensus": "nmfkit.selection.consensus",
    "Problem": "nmfkit.problem",
    "Result": "nmfkit.result",
    "PartSpec": "nmfkit.hookspecs",
    "ReaderSpec": "nmfkit.hookspecs",
    "FitDescription": "nmfkit.hookspecs",
    "FitEnd": "nmfkit.hookspecs",
    "Watcher": "nmfkit.loop",
    "hookimpl": "nmfkit.hookspecs",
    "Caution": "nmfkit.errors",
    "NmfkitError": "nmfkit.errors",
    "UsageError": "nmfkit.errors",
    "Incompatible": "nmfkit.errors",
    "DataError": "nmfkit.errors",
    "SourceError": "nmfkit.errors",
    "StoreError": "nmfkit.errors",
    "ClusterError": "nmfkit.errors",
    "GpuError": "nmfkit.errors",
    "PluginError": "nmfkit.errors",
    "Interrupted": "nmfkit.errors",
}

__all__ = [
    "Caution",
    "ClusterError",
    "Consensus",
    "DataError",
    "FitDescription",
    "FitEnd",
    "GpuError",
    "Incompatible",
    "Interrupted",
    "NmfkitError",
    "PartSpec",
    "PluginError",
    "Problem",
    "ReaderSpec",
    "Result",
    "Selection",
    "SourceError",
    "StoreError",
    "UsageError",
    "Watcher",
    "__version__",
    "consensus",
    "convert",
    "explain",
    "fit",
    "hookimpl",
    "load",
    "open_source",
    "plugins",
    "resume",
    "select_rank",
    "similarity",
    "transform",
]

if TYPE_CHECKING:
    from nmfkit.affinity.similarity import similarity
    from nmfkit.api import convert, explain, fit, load, plugins, resume, transform
    from nmfkit.errors import (
        Caution,
        ClusterError,
        DataError,
        GpuError,
        Incompatible,
        Interrupted,
        NmfkitError,
        PluginError,
        SourceError,
        StoreError,
        UsageError,
    )
    from nmfkit.hookspecs import FitDescription, FitEnd, PartSpec, ReaderSpec, hookimpl
    from nmfkit.loop import Watcher
    from nmfkit.problem import Problem
    from nmfkit.result import Result
    from nmfkit.selection.consensus import Consensus, consensus
    from nmfkit.selection.select import Selection, select_rank
    from nmfkit.sources import open_source


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nmfkit' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
