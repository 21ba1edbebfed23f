"""Faults as nmfkit explains them, of the types that scripts for scikit-learn expect."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from nmfkit.errors import DataError, UsageError


class ParameterError(UsageError, ValueError):
    """A parameter has a value that it cannot have, or does not fit the data."""


class MatrixError(DataError, ValueError):
    """The matrix holds what cannot be factorized."""


class NotInstalled(UsageError, ImportError):
    """Scikit-learn, or the plugin with the model, is not installed."""


def require_scikit_learn() -> None:
    """Raise `NotInstalled` where scikit-learn is missing."""
    if find_spec("sklearn") is None:
        raise NotInstalled(
            'nmfkit.estimators needs scikit-learn, which is not installed: pip install "nmfkit[sklearn]"'
        )


@contextmanager
def as_value_errors() -> Iterator[None]:
    """Let faults of parameters and data be `ValueError`s, too."""
    try:
        yield
    except ValueError:
        raise
    except UsageError as error:
        raise ParameterError(str(error)) from error
    except DataError as error:
        raise MatrixError(str(error)) from error
