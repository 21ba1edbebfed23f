"""Help, version and completion answer without loading the machinery."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from nmfkit import __version__
from nmfkit.cli.app import COMMANDS, PLUGINS, app

HEAVY = {
    "numpy", "scipy", "zarr", "dask", "distributed", "numba", "rich", "pandas", "pluggy", "nmfkit_plugins", "sklearn",
    "matplotlib", "cupy",
}  # fmt: skip
PROBE = """
import sys
from nmfkit.cli import main
failed = None
for arguments in {lines!r}:
    sys.argv = ["nmfkit", *arguments]
    try:
        main()
    except SystemExit as done:
        if done.code:
            failed = (arguments, done.code)
print(sorted(m.partition(".")[0] for m in sys.modules), failed, file=sys.stderr)
"""


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


def modules_after(lines, **environment):
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(lines=lines)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=60,
    )
    return done, done.stderr.splitlines()[-1]


def test_help_of_every_command_loads_nothing_heavy():
    lines = [["--help"], ["--version"], ["plugins", "--help"]]
    lines += [[name, "--help"] for name in COMMANDS] + [["plugins", name, "--help"] for name in PLUGINS]
    done, last = modules_after(lines)
    assert last.endswith("None")
    assert not {m for m in HEAVY if f"'{m}'" in last}
    assert f"nmfkit {__version__}" in done.stdout


def test_completion_loads_nothing_heavy():
    done, last = modules_after([[]], _NMFKIT_COMPLETE="complete_bash", COMP_WORDS="nmfkit fit --re", COMP_CWORD="2")
    assert not {m for m in HEAVY if f"'{m}'" in last}
    assert "--reg-w" in done.stdout


def test_module_runs_as_the_script_does():
    done = subprocess.run([sys.executable, "-m", "nmfkit", "--version"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"nmfkit {__version__}\n")


def test_no_arguments_show_the_commands():
    shown = run().output
    assert all(f"  {name} " in shown for name in COMMANDS)


@pytest.mark.parametrize("name", ["fit", "explain"])
def test_help_names_every_option_of_a_fit_and_its_default(name):
    shown = run(name, "--help").output
    options = (
        "--model --loss --rank --ranks --rule --reg-w --reg-h --init --seed --max-sweeps --tol --time-limit --dtype "
        "--memory --model-option --checkpoint-every --config --json --quiet --verbose --overwrite --out --threads "
        "--key --start-w --start-h --workers --threads-per-worker --scheduler --scheduler-file --performance-report "
        "--storage-option --device --device-memory"
    )
    assert [o for o in options.split() if o not in shown] == []
    for default in ("Default: frobenius", "Default: auto", "Default: 200", "Default: 1e-4", "Default: 0"):
        assert default in " ".join(shown.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_json_quiet_and_verbose(name):
    shown = run(name, "--help").output
    assert all(option in shown for option in ("--json", "-q", "-v"))


@pytest.mark.parametrize("name", ["fit", "resume", "transform", "score", "report", "plot", "convert", "explain"])
def test_commands_that_go_through_data_may_run_on_workers(name):
    shown = run(name, "--help").output
    options = (
        "--memory --threads --workers --threads-per-worker --scheduler --scheduler-file --performance-report "
        "--key --storage-option"
    )
    assert [o for o in options.split() if o not in shown] == []
