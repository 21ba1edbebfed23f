"""Scikit-learn estimators: `NMF` for scripts written for scikit-learn's, and one for every model that is installed.

| name | what |
|---|---|
| `NMF` | plain NMF with the parameters of `sklearn.decomposition.NMF`, and nmfkit's own |
| `DeepNMF`, `SymNMF`, `SymNMFNet`, `AGD`, `IGMDSR`, `IGMDSRRelaxed`, … | the models that plugins offer |
| `estimator` | the estimator class of any model, by the name that `--model` takes |

Names are looked up on first use. Without scikit-learn, or the model, that raises `NotInstalled`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {
    "NMF": "nmfkit.estimators.nmf",
    "ModelEstimator": "nmfkit.estimators.base",
    "ContinuingEstimator": "nmfkit.estimators.continuing",
    "LayeredEstimator": "nmfkit.estimators.layered",
    "SymmetricEstimator": "nmfkit.estimators.symmetric",
    "estimator": "nmfkit.estimators.models",
}

__all__ = ["NMF", "ContinuingEstimator", "LayeredEstimator", "ModelEstimator", "SymmetricEstimator", "estimator"]

if TYPE_CHECKING:
    from nmfkit.estimators.base import ModelEstimator
    from nmfkit.estimators.continuing import ContinuingEstimator
    from nmfkit.estimators.layered import LayeredEstimator
    from nmfkit.estimators.models import estimator
    from nmfkit.estimators.nmf import NMF
    from nmfkit.estimators.symmetric import SymmetricEstimator


def __getattr__(name: str) -> Any:
    if name != "estimator" and not name[0].isupper():  # modules, and what Python itself asks for
        raise AttributeError(f"module 'nmfkit.estimators' has no attribute {name!r}")
    from nmfkit.estimators.errors import require_scikit_learn

    require_scikit_learn()
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    from nmfkit.estimators.models import of_class_name

    return of_class_name(name)


def __dir__() -> list[str]:
    return sorted(__all__)
