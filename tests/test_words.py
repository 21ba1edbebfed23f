"""Where arrays are is a matter of executors and kernels: nothing else speaks of devices, so nothing else knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORDS = re.compile(r"cupy|cuda|nvidia|nvrtc|(?<![a-z])devices?(?![a-z])|(?<![a-z])gpus?(?![a-z])", re.IGNORECASE)

KNOWING = ("nmfkit/executors/", "nmfkit/kernels/gpu.py", "nmfkit/kernels/cuda/", "nmfkit/testing/")
"""Where these words belong."""

ALLOWED = {
    "nmfkit/cli/": (
        r"\b(device|DEVICE)(_memory|_MEMORY)?\b",
        r'"Compute on processors, or on NVIDIA GPUs',
        r"Bound on what is used of a GPU's",
    ),
    "nmfkit/estimators/": (r"\bdevice(_memory)?\b",),
    "nmfkit/api.py": (r"where a GPU is asked for",),
    "nmfkit/errors.py": (r"No GPU can be used here",),
    "nmfkit/explanation.py": (r"A GPU need not be there", r"what it takes of a GPU", r'"gpu": '),
    "nmfkit/kernels/__init__.py": (
        r"from nmfkit\.kernels\.(cuda|gpu)",
        r"\bon_gpu\.",
        r"`gpu\.py` knows who launches",
    ),
    "nmfkit/": (r"\b(place|machine)\.(on|without)_gpu\b",),
    "nmfkit/report/page.py": (r"width=device-width",),
}
"""Lines beside those: options, what is told of them, what a `Machine` is asked, the table of kernels, and HTML."""


def lines_of_others():
    for path in sorted(p for folder in ("nmfkit", "plugins") for p in (ROOT / folder).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(KNOWING):
            yield from ((name, number, line) for number, line in enumerate(path.read_text().splitlines(), 1))


def is_allowed(name, line):
    return any(name.startswith(where) and any(re.search(p, line) for p in known) for where, known in ALLOWED.items())


def test_nothing_else_speaks_of_devices():
    found = [(name, number, line) for name, number, line in lines_of_others() if WORDS.search(line)]
    assert not [f"{name}:{number}: {line.strip()}" for name, number, line in found if not is_allowed(name, line)]


def test_nothing_is_allowed_that_is_not_there():
    found = [(name, line) for name, _, line in lines_of_others() if WORDS.search(line)]
    for where, patterns in ALLOWED.items():
        for pattern in patterns:
            assert any(name.startswith(where) and re.search(pattern, line) for name, line in found), (where, pattern)


@pytest.mark.parametrize("line", ["import cupy as cp", "# on CUDA devices", "gpu = 1", "a.device", "of a GPU's"])
def test_the_words_are_found(line):
    assert WORDS.search(line)


@pytest.mark.parametrize("line", ["a devised plan", "grouped", "undeviced"])
def test_other_words_are_not(line):
    assert not WORDS.search(line)


def test_plugins_may_not_speak_of_them_at_all():
    assert not any(name.startswith("plugins/") for name in ALLOWED)
