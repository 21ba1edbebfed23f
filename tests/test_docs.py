"""The documentation says what there is, its code runs, and it builds."""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
import subprocess
import sys
from dataclasses import fields
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
from distributed.cli.dask_scheduler import main as scheduler
from distributed.cli.dask_worker import main as worker

import nmfkit
from nmfkit import errors, registry
from nmfkit.cli.app import app
from nmfkit.hookspecs import KINDS, LIFECYCLE, FitDescription, FitEnd, Hooks, PartSpec, ReaderSpec
from nmfkit.problem import Problem
from nmfkit.testing import Contract

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {str(path.relative_to(DOCS)): path.read_text("utf-8") for path in sorted(DOCS.rglob("*.md"))}
OF_CNMF = {
    "--output-dir", "--name", "--n-iter", "--worker-index", "--total-workers", "--components",
    "--local-density-threshold", "--local-neighborhood-size", "--show-clustering",
}  # fmt: skip
OF_SLURM = {"--nodes", "--ntasks-per-node", "--cpus-per-task", "--gpus-per-node", "--mem", "--time"}
OF_GPU_BENCHMARK = {"--check", "--rehearse", "--only", "--scale", "--cpu-sweeps", "--sweeps", "--size"}
PLUGIN_PAGES = [name for name in PAGES if name.startswith("plugins/") and Path(name).stem in KINDS]


def hooks():
    spec = importlib.util.spec_from_file_location("docs_hooks", DOCS / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands():
    """Every command by its full name, with the long and short names of its options."""

    def walk(command, path):
        if hasattr(command, "commands"):
            for name, below in command.commands.items():
                yield from walk(below, [*path, name])
        else:
            yield " ".join(path), [o for p in command.params for o in p.opts if o.startswith("-")]

    return dict(walk(typer.main.get_command(app), ["nmfkit"]))


def section(page, heading):
    """The text from a heading of the second level to the next one."""
    match = re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", PAGES[page], re.MULTILINE | re.DOTALL)
    assert match, f"{page} has no section {heading!r}"
    return match[1]


def mentions(text, name):
    return re.search(rf"`[^`\n]*(?<![\w-]){re.escape(name)}(?![\w-])[^`\n]*`", text)


# --- everything that there is, is told ----------------------------------------------------------------------


@pytest.mark.parametrize("hook", KINDS.values())
def test_hooks(hook):
    assert mentions(PAGES["plugins/index.md"], hook)


@pytest.mark.parametrize("hook", LIFECYCLE)
def test_hooks_that_listen_stand_with_their_arguments(hook):
    assert mentions(PAGES["plugins/index.md"], hook)
    arguments = [name for name in inspect.signature(getattr(Hooks, hook)).parameters if name != "self"]
    assert f"| `{hook}({', '.join(arguments)})` |" in section("plugins/lifecycle.md", "The hooks")


@pytest.mark.parametrize("told", [FitDescription, FitEnd])
def test_what_they_are_told(told):
    text = section("plugins/lifecycle.md", told.__name__)
    assert [f.name for f in fields(told) if not mentions(text, f.name)] == []


@pytest.mark.parametrize("spec", [PartSpec, ReaderSpec])
def test_descriptors(spec):
    text = section("plugins/index.md", spec.__name__)
    assert [f.name for f in fields(spec) if not mentions(text, f.name)] == []


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_have_a_page(kind):
    assert f"plugins/{kind}.md" in PAGES


def built_in():
    return [p for kind in KINDS for p in registry.registry().of_kind(kind) if p.distribution == "nmfkit"]


@pytest.mark.parametrize("part", built_in(), ids=lambda p: f"{p.kind}-{p.name}")
def test_built_in_parts(part):
    text = PAGES["files.md" if part.kind == "reader" else "choosing.md" if part.kind != "model" else "cli.md"]
    names = [part.name, *part.spec.aliases, *getattr(part.spec, "suffixes", ()), *getattr(part.spec, "schemes", ())]
    names = [n for n in names if n not in (".csv.gz", ".tsv.gz")]  # the page says “and their .gz”
    assert [n for n in names if not mentions(text, n)] == []


@pytest.mark.parametrize("command", commands())
def test_commands_and_options(command):
    text = section("cli.md", command) + section("cli.md", "Options of every command")
    assert [o for o in commands()[command] if not mentions(text, o)] == []


def test_options_of_the_application():
    group = typer.main.get_command(app)
    names = [o for p in group.params for o in p.opts if o.startswith("--")]
    assert [o for o in names if not mentions(PAGES["cli.md"], o)] == []


@pytest.mark.parametrize("page", [*PAGES, "README.md"])
def test_no_option_is_made_up(page):
    text = PAGES[page] if page in PAGES else (ROOT / page).read_text("utf-8")
    known = {o for options in commands().values() for o in options}
    known |= {o for p in typer.main.get_command(app).params for o in p.opts} | {"--help"}
    if page == "README.md":
        known |= {"--loss", "--rows"}
    if page == "gallery.md":
        known |= {"--no-deps"}  # pip's
    if page == "deep.md":
        known |= {"--tdt2"}  # of the script that it shows
    if page == "selection.md":
        known |= OF_CNMF
    if page in ("clusters.md", "gpu.md"):
        known |= {o for command in (scheduler, worker) for p in command.params for o in p.opts} | OF_SLURM
    if page == "gpu.md":
        known |= OF_GPU_BENCHMARK | {"--gpus"}  # docker's
    assert sorted(set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text)) - known) == []


def test_public_names():
    text = hooks().on_page_markdown(PAGES["reference.md"])
    assert [n for n in nmfkit.__all__ if not mentions(text, f"nmfkit.{n}")] == []


def test_errors_and_their_exit_codes():
    text = section("reference.md", "Exit codes and errors")
    for name, error in vars(errors).items():
        if isinstance(error, type) and issubclass(error, errors.NmfkitError):
            assert f"| `{name}` | {error.exit_code} |" in text


def test_exit_codes():
    for code in (0, 1, 2, 130):
        assert f"| {code} |" in section("cli.md", "Exit codes")


def test_run_store(tmp_path):
    import zarr

    text = section("reference.md", "The run store")
    nmfkit.fit("sample:python-docs", rank=2, max_sweeps=2, out=tmp_path / "run.zarr")
    run = zarr.open_group(tmp_path / "run.zarr", mode="r")
    arrays = [name for name, _ in run.members(max_depth=None) if not name.startswith("checkpoint")]
    attributes = [*run.attrs, *run.attrs["source"], *run.attrs["timings"]]
    assert [n for n in (*arrays, *attributes) if not mentions(text, n)] == []
    nmfkit.transform(tmp_path / "run.zarr", "sample:python-docs", out=tmp_path / "new.zarr")
    made = zarr.open_group(tmp_path / "new.zarr", mode="r")
    assert [n for n in (*made.array_keys(), *made.attrs) if not mentions(text, n)] == []


def test_defaults_are_those_of_the_problem():
    text, default = section("cli.md", "nmfkit fit"), Problem()
    for option, value in (("--max-sweeps", default.max_sweeps), ("--seed", default.seed), ("--init", default.init)):
        line = next(line for line in text.splitlines() if line.startswith(f"| `{option}"))
        assert str(value) in line.split("|")[-2]
    assert default.tol == 1e-4


# --- what it shows, runs ------------------------------------------------------------------------------------


@pytest.fixture
def plugin(request, tmp_path, monkeypatch):
    """The Python blocks of a page as one module, registered as a plugin, run in a folder of its own."""
    name = f"docs_{Path(request.param).stem}"
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGES[request.param], re.MULTILINE | re.DOTALL)
    (tmp_path / f"{name}.py").write_text("\n".join(blocks), "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    found = registry.load([EntryPoint(name, name, "nmfkit")])
    assert not found.broken, found.broken[0].traceback
    known = registry.registry()
    monkeypatch.setattr(known, "claims", {**known.claims, **found.claims})
    yield sys.modules[name], found
    del sys.modules[name]


@pytest.mark.parametrize("plugin", PLUGIN_PAGES, indirect=True, ids=PLUGIN_PAGES)
def test_worked_parts_hold_their_contract(plugin, request):
    module, found = plugin
    kind = Path(request.node.callspec.params["plugin"]).stem
    assert [part.kind for parts in found.claims.values() for part in parts] == [kind]
    contracts = [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, Contract)]
    (contract,) = (c for c in contracts if c.__module__ == module.__name__)
    laws = contract()
    for law in contract.laws():
        try:
            getattr(laws, law)()
        except pytest.skip.Exception:
            continue
        except Exception as error:
            if type(error).__name__ == "SkipTest":
                continue
            error.add_note(f"law {law} of {contract.__name__}")
            raise


@pytest.mark.parametrize("plugin", ["plugins/lifecycle.md"], indirect=True)
def test_the_worked_listener_hears_of_a_fit(plugin, monkeypatch):
    module, found = plugin
    assert [o.hook for o in found.observers] == ["nmfkit_sweep_done", "nmfkit_fit_finished"]
    monkeypatch.setattr(registry.registry(), "observers", found.observers)
    module.try_it()


def test_index_example_is_the_example_plugin():
    text = (ROOT / "examples/plugin/nmfkit_huber/__init__.py").read_text("utf-8")
    assert "PartSpec(" in text
    assert "nmfkit_losses" in text


# --- the README and the checks of the project say the same --------------------------------------------------


def readme_commands():
    return re.findall(r"^\$ (.+)$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)


def test_the_readmes_first_two_commands_are_those_of_the_checks():
    script = (ROOT / ".ci" / "run").read_text("utf-8").replace('"$venv"', ".venv").replace('"$out"/', "")
    first, second = readme_commands()[:2]
    assert first.startswith("python3 -m venv .venv && ")
    for piece in (*first.split(" && "), second):
        assert f"\n{piece}\n" in script, f".ci/run lacks {piece!r}"
    assert script.rstrip().endswith(second)


def test_checks_are_executable():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


@pytest.mark.skipif(find_spec("mkdocs") is None, reason="mkdocs is not installed: pip install nmfkit[docs]")
def test_builds_without_warnings(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "{{" not in (tmp_path / "reference.html").read_text("utf-8")
