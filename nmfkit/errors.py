"""What can go wrong, by who can mend it; every message says what is wrong, where, and what would work."""

from __future__ import annotations

import shlex
from collections.abc import Iterable


class NmfkitError(Exception):
    """Any fault that nmfkit explains itself; the command line prints it without a traceback."""

    exit_code = 1


class UsageError(NmfkitError):
    """The request itself is off: an unknown name, a bad value, an option that does not apply (exit code 2)."""

    exit_code = 2


class Incompatible(UsageError):
    """Parts that do not fit together; `reasons` lists every misfit (exit code 2)."""

    def __init__(self, reasons: Iterable[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("These parts do not fit together:\n" + "\n".join(f"  - {r}" for r in self.reasons))

    def __reduce__(self) -> tuple[type[Incompatible], tuple[tuple[str, ...]]]:
        return (Incompatible, (self.reasons,))


class Caution(UserWarning):
    """What is allowed but worth knowing: a rank above the matrix's sides, all-zero rows, …"""


class DataError(NmfkitError):
    """The matrix holds what cannot be factorized: NaN, negative entries, nothing at all, …"""


class SourceError(NmfkitError):
    """The input cannot be read: missing, of an unknown kind, truncated or corrupt."""


class StoreError(NmfkitError):
    """A run or an output cannot be read or written."""


class ClusterError(NmfkitError):
    """The cluster is out of reach, lost, or runs other software than this process."""


class GpuError(NmfkitError):
    """No GPU can be used here, or its memory has run out; the message says what is missing and what to do."""


class PluginError(NmfkitError):
    """A plugin is broken, or two plugins claim one name."""


class Interrupted(NmfkitError):
    """The fit was stopped by the user after a checkpoint; `path` is the run to resume (exit code 130)."""

    exit_code = 130

    def __init__(self, path: str | None, sweep: int) -> None:
        self.path, self.sweep = path, sweep
        way_out = (
            f"continue with: nmfkit resume {shlex.quote(path)}" if path else "no output was named, so nothing was kept"
        )
        super().__init__(f"interrupted after sweep {sweep}; {way_out}")

    def __reduce__(self) -> tuple[type[Interrupted], tuple[str | None, int]]:
        return (Interrupted, (self.path, self.sweep))
