"""Hypothesis without a clock and with the same cases in every run; where the data sets are."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "ci", max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", max_examples=500, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# Other plugins of this environment have tests of their own.
os.environ.setdefault("NMFKIT_PLUGINS", "nmfkit")

# A shell ignores Ctrl-C for what it starts in the background, and so would every process here: tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of public data sets: $NMFKIT_DATA, or beside the project."""
    folder = Path(os.environ.get("NMFKIT_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data sets at {folder}; set NMFKIT_DATA to their folder")
    return folder
