"""What is released: one version, one wheel for all Pythons, pinned actions, licences, and checks that find faults."""

from __future__ import annotations

import importlib.util
import io
import re
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

import signoise as sn

ROOT = Path(__file__).resolve().parent.parent


def script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"release_{name}", ROOT / "release" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_wheel_serves_all_versions_of_python() -> None:
    cargo, project = (ROOT / "rust/py/Cargo.toml").read_text(), (ROOT / "pyproject.toml").read_text()
    assert 'features = ["abi3-py310"]' in cargo
    assert 'requires-python = ">=3.10"' in project


def test_the_citation_names_this_version() -> None:
    found = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert found is not None
    assert found[1] == sn.__version__


def test_actions_are_pinned_and_rights_are_few() -> None:
    text = (ROOT / ".github/workflows/wheels.yml").read_text()
    used = re.findall(r"uses: (.+)", text)
    assert len(used) >= 5
    assert [
        action for action in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)
    ] == []
    assert "\npermissions: {}\n" in text
    assert re.findall(r"(\w[\w-]*): write", text) == ["id-token"]
    assert "secrets." not in text
    targets = {"x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "x86_64-apple-darwin"}
    targets |= {"aarch64-apple-darwin", "x86_64-pc-windows-msvc", "aarch64-pc-windows-msvc"}
    assert set(re.findall(r" target: (\S+)\n", text)) == targets


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT OR Apache-2.0", True),
        ("MIT/Apache-2.0", True),
        ("(MIT OR GPL-3.0) AND Unicode-3.0", True),
        ("MIT AND GPL-3.0", False),
        ("(GPL-3.0 OR AGPL-3.0) AND MIT", False),
        ("none", False),
    ],
)
def test_licences_are_read_as_written(expression: str, *, allowed: bool) -> None:
    assert script("audit").is_allowed(expression) is allowed


def test_an_sdist_is_whole_and_holds_nothing_else(tmp_path: Path) -> None:
    check = script("check")
    path = tmp_path / "signoise-0.1.0.tar.gz"

    def made(names: set[str]) -> list[str]:
        with tarfile.open(path, "w:gz") as archive:
            for name in names:
                archive.addfile(tarfile.TarInfo(f"signoise-0.1.0/{name}"), io.BytesIO())
        return list(check.sdist(path))

    assert made(check.TOP | check.NEEDED) == []
    assert made((check.TOP | check.NEEDED) - {"Cargo.lock"}) == [f"{path.name} lacks Cargo.lock"]
    extra = {"tests/test_x.py", "python/signoise/_core.abi3.so"}
    assert made(check.TOP | check.NEEDED | extra) == [f"{path.name} holds {name}" for name in sorted(extra)]


def test_a_wheel_is_for_all_pythons_and_has_its_licence(tmp_path: Path) -> None:
    check = script("check")

    def made(tag: str, *names: str) -> list[str]:
        path = tmp_path / f"signoise-0.1.0-{tag}-linux_x86_64.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, "")
        return [said.removeprefix(f"{path.name} ") for said in check.wheel(path)]

    sound = ("signoise/_core.abi3.so", "signoise/__init__.py", "signoise-0.1.0.dist-info/licenses/LICENSE")
    assert made("cp310-abi3", *sound) == []
    assert made("cp312-cp312", *sound) == ["is not for Python 3.10 and later"]
    assert made("cp310-abi3", *sound[1:]) == ["has the extensions []"]
    assert made("cp310-abi3", *sound[:2], "tests/x.py") == ["lacks LICENSE", "holds tests/x.py"]
