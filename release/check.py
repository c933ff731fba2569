"""What is about to be released, looked at from outside: `make wheels` builds it into dist/ and runs this.

    python release/check.py dist                        # everything below
    python release/check.py dist --pythons 3.10 3.13    # or paths of interpreters

The sdist holds what a build needs and nothing else; the wheel is the one for all Pythons from 3.10 on (abi3), for any
Linux since glibc 2.17; both have sound metadata; and in a new environment of each Python that can be found the wheel
installs, plays `signoise demo` and passes `smoke.py`. What is not installed here is skipped, with the reason. Exit code
1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
WINDOWS = os.name == "nt"
#: Free-threaded builds (t) cannot load abi3 wheels; they are named so that the reason is printed.
PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14", "3.14t"]
TOP = {"Cargo.lock", "Cargo.toml", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
WITHIN = re.compile(
    r"(rust/(core|scan|py)/(Cargo\.toml|src/.+\.rs|tests/.+|README\.md)|python/signoise/.+\.(py|pyi|typed|css|js))"
)
NEEDED = {
    "rust/py/src/lib.rs",
    "rust/py/Cargo.toml",
    "python/signoise/__init__.py",
    "python/signoise/py.typed",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dist", type=Path)
    parser.add_argument("--pythons", nargs="*", default=PYTHONS)
    options = parser.parse_args()
    wheels, sdists = sorted(options.dist.glob("*.whl")), sorted(options.dist.glob("*.tar.gz"))
    if not wheels:
        sys.exit(f"{options.dist}: no wheel")
    wrong = [said for path in sdists for said in sdist(path)]
    wrong += [said for path in wheels for said in wheel(path)]
    wrong += [said for tool in tools([*map(str, wheels)], [*map(str, sdists)]) for said in ran(*tool)]
    native = [path for path in wheels if is_native(path.name)]
    if not native:
        skip("wheels are not installed", "none of them is for this system and processor")
    for path in native:
        for python in options.pythons:
            wrong += installed(path.resolve(), python)
    for said in wrong:
        print("WRONG", said)
    print(f"{len(wheels)} wheels, {len(sdists)} sdists: {f'{len(wrong)} wrong' if wrong else 'all is well'}")
    sys.exit(bool(wrong))


def sdist(path: Path) -> Iterator[str]:
    """Names in it: all that a build needs, nothing that it does not."""
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    yield from (f"{path.name} lacks {name}" for name in sorted((TOP | NEEDED) - names))
    yield from (f"{path.name} holds {name}" for name in sorted(names - TOP) if not WITHIN.fullmatch(name))
    print(f"{path.name}: {len(names)} files, {path.stat().st_size / 1e6:.1f} MB")


def wheel(path: Path) -> Iterator[str]:
    """One extension, for all Pythons; the licence; no file that is not the package's."""
    if "-cp310-abi3-" not in path.name:
        yield f"{path.name} is not for Python 3.10 and later"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    cores = [name for name in names if name.startswith("signoise/_core.") and not name.endswith(".pyi")]
    if len(cores) != 1:
        yield f"{path.name} has the extensions {cores}"
    if not any(name.endswith("/LICENSE") for name in names):
        yield f"{path.name} lacks LICENSE"
    foreign = [name for name in names if not re.match(r"signoise(-[\d.]+\w*\.dist-info|\.libs)?/", name)]
    yield from (f"{path.name} holds {name}" for name in foreign)
    print(f"{path.name}: {len(names)} files, {path.stat().st_size / 1e6:.1f} MB")


def tools(wheels: list[str], sdists: list[str]) -> Iterator[tuple[str, list[str], str]]:
    """Checks by others: name, arguments, what their output must say."""
    yield "twine", ["check", "--strict", *wheels, *sdists], "PASSED"
    yield "abi3audit", ["--strict", "--summary", *wheels], "0 ABI version mismatches and 0 ABI violations"
    for path in wheels:
        if "manylinux" in path:
            yield "auditwheel", ["show", path], r'consistent with the following platform tag: "manylinux_2_17'


def ran(name: str, arguments: list[str], expected: str) -> list[str]:
    """What is wrong by another tool, which may be missing."""
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if found is None:
        skip(name, f"it is not installed (pip install {name})")
        return []
    done = subprocess.run([found, *arguments], capture_output=True, text=True, check=False)
    said = " ".join((done.stdout + done.stderr).replace("\n", " ").split())
    if done.returncode == 0 and re.search(expected, said):
        print(f"{name}: {expected.strip(chr(34))}")
        return []
    return [f"{name} says: {said}"]


def is_native(name: str) -> bool:
    """Whether a wheel is for this system and processor."""
    system = {"linux": "linux", "darwin": "macosx", "win32": "win_"}.get(sys.platform, sys.platform)
    return system in name and name.endswith(f"{platform.machine().lower()}.whl")


def interpreter(python: str) -> str | None:
    """Path of a Python by its version: on the path, of pyenv, or the one that runs this."""
    if os.sep in python:
        return python
    if python == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    if found := shutil.which(f"python{python}"):
        # A shim of a version manager stands on the path whether or not there is a Python behind it.
        answers = subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0
        if answers:
            return found
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    loose = python.removesuffix("t")
    kept = [
        path
        for path in versions.glob(f"{loose}.*/bin/python")
        if python.endswith("t") == ("t" in path.parts[-3])
    ]
    return str(kept[-1]) if kept else None


def installed(wheel_path: Path, python: str) -> list[str]:
    """What is wrong with the wheel in a new environment of this Python."""
    found = interpreter(python)
    if python.endswith("t"):
        skip(
            f"Python {python}",
            "free-threaded builds cannot load abi3 wheels" + ("" if found else ", and none is here"),
        )
        return []
    if found is None:
        skip(f"Python {python}", "there is none here")
        return []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        programs = home / "venv" / ("Scripts" if WINDOWS else "bin")
        steps = [
            [found, "-m", "venv", "venv"],
            [
                str(programs / "python"),
                "-m",
                "pip",
                "install",
                "-q",
                "--disable-pip-version-check",
                str(wheel_path),
            ],
            [str(programs / "python"), "-m", "pip", "check"],
            [str(programs / "signoise"), "demo"],
            [str(programs / "python"), "-X", "dev", "-W", "error", str(HERE / "smoke.py")],
        ]
        environment = {
            name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")
        }
        for step in steps:
            done = subprocess.run(
                step, cwd=home, env=environment, capture_output=True, text=True, check=False
            )
            if done.returncode:
                return [f"Python {python}: {' '.join(step)}: {(done.stdout + done.stderr).strip()[-2000:]}"]
        print(f"Python {python}: {done.stdout.strip()}")
    return []


def skip(what: str, why: str) -> None:
    print(f"skipped: {what}: {why}")


if __name__ == "__main__":
    main()
