"""Loaded by worker processes that nmfkit starts on GPUs: each sees one of those that its parent sees."""

from __future__ import annotations

import os
from typing import Any


def dask_setup(worker: Any) -> None:
    """Called by dask when the worker starts; workers of one machine have the numbers from 0 for names."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    number = int(worker.name)
    os.environ["CUDA_VISIBLE_DEVICES"] = str(number) if named is None else named.split(",")[number].strip()
