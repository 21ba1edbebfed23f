"""Loading plugins one by one, and saying clearly what is missing, broken or doubled."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from nmfkit.errors import PluginError, UsageError
from nmfkit.hookspecs import PartSpec, hookimpl
from nmfkit.registry import load, registry


class Point:
    """An entry point of a made-up distribution."""

    def __init__(self, name, module, distribution="dist-of-" + "a", version="1.0"):
        self.name, self.value, self._module = name, name, module
        self.dist = type("Dist", (), {"name": distribution, "version": version})

    def load(self):
        if isinstance(self._module, Exception):
            raise self._module
        return self._module


def plugin(name, **hooks):
    module = ModuleType(name)
    for hook, result in hooks.items():

        def implementation(result=result):
            if isinstance(result, Exception):
                raise result
            return result

        implementation.__name__ = hook
        implementation.__signature__ = __import__("inspect").Signature()

        def call(implementation=implementation):
            return implementation()

        setattr(module, hook, hookimpl(_no_arguments(implementation)))
    return module


def _no_arguments(function):
    def call():
        return function()

    return call


def loss(name, **more):
    return PartSpec(name, "a loss", lambda: name, **more)


def test_built_in_parts_come_from_this_distribution():
    part = registry().get("loss", "KL")
    assert (part.distribution, part.name) == ("nmfkit", "kl")
    assert registry().get("loss", "itakura_saito").name == "is"


def test_a_plugin_that_cannot_be_imported_is_isolated(capsys):
    found = load(
        [Point("good", plugin("good", nmfkit_losses=[loss("mine")])), Point("bad", ImportError("no module zork"))]
    )
    assert found.get("loss", "mine").build.__self__.name == "mine"
    assert [b.entry_point for b in found.broken] == ["bad"]
    assert "no module zork" in capsys.readouterr().err
    with pytest.raises(UsageError, match="no module zork"):
        found.get("loss", "theirs")


def test_a_hook_that_raises_is_isolated(capsys):
    module = plugin("half", nmfkit_losses=[loss("mine")], nmfkit_models=ValueError("boom"))
    found = load([Point("half", module)])
    assert "mine" in found.names("loss")
    assert found.broken[0].reason == "ValueError: boom"
    assert "boom" in capsys.readouterr().err


def test_doubled_names_name_both_distributions():
    one = Point("a", plugin("a", nmfkit_losses=[loss("mine")]), "dist-a", "1.0")
    two = Point("b", plugin("b", nmfkit_losses=[loss("Mine")]), "dist-b", "2.0")
    found = load([one, two])
    with pytest.raises(PluginError, match=r"dist-a 1\.0 .* and dist-b 2\.0"):
        found.get("loss", "mine")


def test_an_alias_that_another_part_claims_is_refused():
    one = Point("a", plugin("a", nmfkit_losses=[loss("first", aliases=("short",))]), "dist-a")
    two = Point("b", plugin("b", nmfkit_losses=[loss("short")]), "dist-b")
    found = load([one, two])
    with pytest.raises(PluginError, match=r"dist-a .* and dist-b"):
        found.get("loss", "short")
    assert found.get("loss", "first").name == "first"


def test_an_unknown_hook_is_warned_about():
    with pytest.warns(UserWarning, match="'nmfkit_looses', which is no hook of nmfkit; did you mean 'nmfkit_losses'"):
        load([Point("typo", plugin("typo", nmfkit_looses=[]))])


def test_something_that_is_no_descriptor_is_a_broken_plugin(capsys):
    found = load([Point("odd", plugin("odd", nmfkit_losses=["huber"]))])
    assert "PartSpec" in found.broken[0].traceback
    capsys.readouterr()


def test_a_factory_that_cannot_be_imported_shows_its_traceback():
    found = load([Point("lazy", plugin("lazy", nmfkit_losses=[PartSpec("mine", "…", "no_such_module_at_all:Loss")]))])
    with pytest.raises(PluginError, match="No module named 'no_such_module_at_all'"):
        found.build("loss", "mine")


def test_no_plugins_at_all_says_how_to_install(monkeypatch):
    monkeypatch.setenv("NMFKIT_PLUGINS", "none")
    with pytest.raises(UsageError, match=r"NMFKIT_PLUGINS is set to 'none'"):
        load([]).get("loss", "kl")
    monkeypatch.delenv("NMFKIT_PLUGINS")
    with pytest.raises(UsageError, match=r"install the project"):
        load([]).get("loss", "kl")


def test_a_name_of_another_kind_is_pointed_out():
    with pytest.raises(UsageError, match="'l1' is a regularizer"):
        registry().get("loss", "l1")


@pytest.mark.parametrize(
    ("setting", "losses"), [("", "[]"), ("beta", "['beta', 'frobenius', 'is', 'kl']"), ("starts, files", "[]")]
)
def test_the_environment_selects_plugins(setting, losses):
    code = "from nmfkit.registry import registry; print([p.name for p in registry().of_kind('loss')])"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={"NMFKIT_PLUGINS": setting, "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == losses


def test_an_entry_point_without_a_distribution_is_no_fault():
    point = EntryPoint(name="beta", value="nmfkit_plugins.beta", group="nmfkit")
    assert "kl" in load([point]).names("loss")


def test_listing_imports_no_numpy():
    code = (
        "import sys; from nmfkit.registry import registry; registry(); "
        "print(sorted({'numpy', 'scipy', 'zarr', 'dask', 'numba'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
