"""The examples run as they stand, and the example plugin does what a plugin should."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import nmfkit
from nmfkit import registry

EXAMPLES = Path(__file__).parents[1] / "examples"
EXPECTED = {
    "digits.py": "objective ",
    "out_of_core.py": "the fit may use 16MiB",
    "topics.py": "topic 5: ",
}


def test_every_script_is_known():
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted(EXPECTED)


@pytest.mark.parametrize("script", EXPECTED)
def test_scripts(script, tmp_path):
    if script == "digits.py" and find_spec("sklearn") is None:
        pytest.skip("the digits come with scikit-learn")
    command = [sys.executable, "-W", "error", str(EXAMPLES / script)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert EXPECTED[script] in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_example_plugin_comes_in_by_the_door(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES / "plugin")
    found = registry.load([EntryPoint("huber", "nmfkit_huber", "nmfkit")])
    assert not found.broken
    known = registry.registry()
    monkeypatch.setattr(known, "claims", {**known.claims, **found.claims})
    x = np.random.default_rng(0).random((20, 9))
    result = nmfkit.fit(x, loss="huber:0.1", rank=2, reg_h="l1:0.1", reg_w="l2:0.1", max_sweeps=30)
    assert (np.diff(result.history.objective) <= 0).all()
    with pytest.raises(nmfkit.Incompatible, match="--rule mu"):
        nmfkit.fit(x, loss="huber", rank=2, rule="hals")
    with pytest.raises(nmfkit.UsageError, match="delta must be"):
        nmfkit.fit(x, loss="huber:0", rank=2)


def test_the_example_plugin_holds_the_contract(tmp_path):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", "pyproject.toml", "tests"]
    plugin = EXAMPLES / "plugin"
    environment = {
        **os.environ,
        "PYTHONPATH": str(plugin),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path),
    }
    done = subprocess.run(command, cwd=plugin, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
