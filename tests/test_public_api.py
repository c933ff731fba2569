"""What the package promises: its names, its docstrings and the examples in them and in README."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import signoise as sn

ROOT = Path(__file__).resolve().parent.parent
PUBLIC = sorted(sn.__all__)
VERBS = [name for name in PUBLIC if inspect.isfunction(getattr(sn, name))]


def test_all_is_sorted_and_complete() -> None:
    assert sorted(sn.__all__, key=str.lower) == sorted(sn.__all__, key=str.lower)
    assert all(hasattr(sn, name) for name in sn.__all__)
    assert set(sn.__all__) <= set(dir(sn))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'snrr'"):
        sn.snrr  # noqa: B018


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_a_running_example(name: str) -> None:
    function = getattr(sn, name)
    tests = doctest.DocTestFinder(recurse=False).find(function, name, globs={})
    assert tests, f"{name} has no docstring"
    assert tests[0].examples, f"{name} has no example"
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        runner.run(tests[0])
    assert runner.failures == 0


def modules() -> list[str]:
    return [
        module.name
        for module in pkgutil.walk_packages(sn.__path__, "signoise.")
        if not module.name.endswith(("_core", "__main__"))
    ]


@pytest.mark.parametrize("module", modules())
def test_examples_in_modules(module: str) -> None:
    # Private functions may show an example too; it must be true.
    found = importlib.import_module(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        assert doctest.testmod(found, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


@pytest.mark.parametrize("name", VERBS)
def test_every_parameter_is_documented(name: str) -> None:
    function = getattr(sn, name)
    text = inspect.getdoc(function) or ""
    missing = [p for p in inspect.signature(function).parameters if not re.search(rf"\b{p}\b", text)]
    shared = "As in `snr`" in text or "Parameters are those of `snr`" in text
    assert not missing or (shared and set(missing) <= set(inspect.signature(sn.snr).parameters)), missing


def test_import_is_light() -> None:
    code = (
        "import sys, signoise; print([m for m in ('polars', 'numpy', 'rich', 'click') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_one_version() -> None:
    cargo = (ROOT / "Cargo.toml").read_text()
    declared = re.search(r'^version = "([^"]+)"', cargo, re.MULTILINE)
    assert declared is not None
    assert sn.__version__ == declared[1]


def test_errors_form_one_documented_hierarchy() -> None:
    for name in PUBLIC:
        item = getattr(sn, name)
        if inspect.isclass(item) and issubclass(item, Exception) and not issubclass(item, Warning):
            assert issubclass(item, sn.SignoiseError)
            assert item.__doc__
        elif inspect.isclass(item) and issubclass(item, Warning):
            assert issubclass(item, sn.SignoiseWarning)


def readme_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_python_in_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sn.example_scores().write_parquet("scores.parquet")
    blocks = readme_blocks("python")
    assert blocks
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        for block in blocks:
            exec(compile(block, "README.md", "exec"), {})


def test_output_in_readme_is_what_the_command_prints() -> None:
    blocks = [block for block in readme_blocks("console") if block.startswith("$ signoise demo")]
    assert blocks, "README shows no `signoise demo`"
    done = subprocess.run(
        [sys.executable, "-m", "signoise", "demo"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    shown = [line.rstrip() for line in blocks[0].splitlines()[1:]]
    printed = [line.rstrip() for line in done.stdout.splitlines()]
    assert shown == printed
