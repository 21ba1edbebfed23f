"""Loading plugins one by one, and saying clearly what is missing, broken or doubled."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from types import FunctionType, ModuleType

import pytest

from nmfkit.errors import PluginError, UsageError
from nmfkit.hookspecs import PartSpec, ReaderSpec, hookimpl
from nmfkit.parts import PartText
from nmfkit.registry import load, registry


class Point:
    """An entry point of a made-up distribution."""

    def __init__(self, name, module, distribution="dist-of-" + "a", version="1.0"):
        self.name, self.value, self._module = name, name, module
        self.dist = type("Dist", (), {"name": distribution, "version": version})

    def load(self):
        if isinstance(self._module, BaseException):
            raise self._module
        return self._module() if isinstance(self._module, FunctionType) else self._module


def plugin(name, **hooks):
    module = ModuleType(name)
    for hook, result in hooks.items():

        def implementation(result=result):
            if isinstance(result, BaseException):
                raise result
            return result() if isinstance(result, FunctionType) else result

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


@pytest.mark.parametrize(
    ("hook", "returned", "told"),
    [
        ("nmfkit_losses", PartSpec(5, "", len), "name is 5, and a text without a colon"),
        ("nmfkit_losses", loss("a:b"), "name is 'a:b', and a text without a colon"),
        ("nmfkit_losses", loss(" "), "name is ' '"),
        ("nmfkit_losses", PartSpec("mine", None, len), "summary is None, and a text"),
        ("nmfkit_losses", PartSpec("mine", "", None), "factory is None, and a class, a function or the text"),
        ("nmfkit_losses", PartSpec("mine", "", "my_pkg.mine"), "factory is 'my_pkg.mine'"),
        ("nmfkit_losses", loss("mine", aliases=None), "aliases is None, and a tuple of texts"),
        ("nmfkit_losses", loss("mine", aliases="kl"), "aliases is 'kl'"),
        ("nmfkit_losses", loss("mine", aliases=(1,)), r"aliases is \(1,\)"),
        ("nmfkit_losses", loss("mine", examples="mine"), "examples is 'mine'"),
        ("nmfkit_losses", loss("mine", preset=[1]), r"preset is \[1\], and a mapping"),
        ("nmfkit_losses", loss("mine", preset={1: 2}), "preset is {1: 2}"),
        ("nmfkit_update_rules", loss("mine", preference="high"), "preference is 'high', and a whole number"),
        ("nmfkit_update_rules", loss("mine", preference=True), "preference is True"),
        ("nmfkit_update_rules", loss("mine", preference="1", aliases=5), "aliases is 5.*preference is '1'"),
        ("nmfkit_readers", ReaderSpec("mine", "", len, suffixes=".x"), "suffixes is '.x'"),
        ("nmfkit_readers", ReaderSpec("mine", "", len, suffixes=("",)), r"suffixes is \(''"),
        ("nmfkit_readers", ReaderSpec("mine", "", len, schemes=None), "schemes is None"),
        ("nmfkit_readers", loss("mine"), "which is no ReaderSpec"),
    ],
)
def test_a_descriptor_with_a_wrong_field_is_a_broken_plugin(hook, returned, told, capsys):
    found = load([Point("odd", plugin("odd", **{hook: [returned], "nmfkit_models": [loss("other")]}))])
    assert found.names("model") == ["other"]
    assert not found.names("loss")
    (broken,) = found.broken
    assert broken.reason.startswith("TypeError: ")
    assert re.search(told, broken.reason)
    capsys.readouterr()


@pytest.mark.parametrize("returned", [5, "huber", loss("mine"), [loss("mine"), None]])
def test_a_hook_that_returns_no_list_of_descriptors_is_broken(returned, capsys):
    found = load([Point("odd", plugin("odd", nmfkit_losses=returned))])
    assert "PartSpec" in found.broken[0].reason
    assert not found.names("loss")
    capsys.readouterr()


def test_a_hook_may_return_nothing():
    assert not load([Point("none", plugin("none", nmfkit_losses=None))]).broken


@pytest.mark.parametrize(
    "bad", [SystemExit(3), plugin("bad", nmfkit_losses=SystemExit(3))], ids=["when imported", "in a hook"]
)
def test_a_plugin_that_exits_is_isolated(bad, capsys):
    found = load([Point("bad", bad), Point("good", plugin("good", nmfkit_losses=[loss("mine")]))])
    assert found.names("loss") == ["mine"]
    assert found.broken[0].reason == "SystemExit: 3"
    assert "SystemExit: 3" in capsys.readouterr().err


def test_ctrl_c_while_a_plugin_loads_is_the_users():
    with pytest.raises(KeyboardInterrupt):
        load([Point("slow", KeyboardInterrupt())])


def test_what_plugins_print_goes_to_standard_error(capsys, tmp_path, monkeypatch):
    def imported():
        print("imported")
        return plugin("loud", nmfkit_losses=lambda: print("asked") or [lazy])

    (tmp_path / "loud_part.py").write_text("print('loaded')\ndef Loss():\n    print('built')\n    return 'the loss'\n")
    monkeypatch.syspath_prepend(tmp_path)
    lazy = PartSpec("mine", "", "loud_part:Loss")
    assert load([Point("loud", imported)]).build("loss", "mine") == "the loss"
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.split() == ["imported", "asked", "loaded", "built"]


@pytest.mark.parametrize("fault", [SystemExit(3), TypeError("of its own")])
def test_a_part_that_cannot_be_built_names_its_plugin(fault):
    def factory():
        raise fault

    found = load([Point("odd", plugin("odd", nmfkit_losses=[PartSpec("mine", "", factory)]), "dist-a", "1.0")])
    with pytest.raises(
        PluginError, match=r"loss 'mine' of dist-a 1\.0 cannot be built from 'mine':\n(.|\n)*" + str(fault)
    ):
        found.get("loss", "mine").build(PartText("mine"))


def test_a_factory_whose_module_exits_is_a_broken_plugin(tmp_path, monkeypatch):
    (tmp_path / "exiting_part.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(tmp_path)
    found = load([Point("lazy", plugin("lazy", nmfkit_losses=[PartSpec("mine", "", "exiting_part:Loss")]))])
    with pytest.raises(PluginError, match="SystemExit: 3"):
        found.build("loss", "mine")


def test_a_distribution_without_metadata_is_no_fault():
    found = load([Point("half-removed", plugin("a", nmfkit_losses=[loss("mine")]), None, None)])
    assert found.get("loss", "mine").distribution == "(unknown)"


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
