"""Licences and sources of all Rust that is compiled in, known holes of it and of the Python dependencies: `make audit`.

Licences are read from `cargo metadata`, without a network. Known holes come from `cargo audit` and `pip-audit`, which
need one; where they are not installed or reach nothing they are skipped, with the reason. Exit code 1 if anything is
wrong.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
#: What a wheel under Apache-2.0 may contain.
ALLOWED = {
    *(
        "0BSD",
        "Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC0-1.0",
        "MIT",
    ),
    *("Unicode-3.0", "Unlicense", "Zlib"),
}
REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"
#: How tools say that they found no way to their database.
UNREACHED = re.compile(
    r"connection|resolve|timed? ?out|network|proxy|unreachable|couldn't fetch|40[34]", re.IGNORECASE
)


def main() -> None:
    packages = compiled()
    wrong = [*licences(packages), *sources(packages)]
    wrong += tool("cargo-audit", ["audit", "--quiet"], "cargo install cargo-audit")
    wrong += holes_of_python()
    wrong += tool("cffconvert", ["--validate", "-i", str(ROOT / "CITATION.cff")], "pip install cffconvert")
    for said in wrong:
        print("WRONG", said)
    sys.exit(bool(wrong))


def compiled() -> list[dict[str, Any]]:
    """Crates that are in the extension or build it, without those of tests."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    packages = {package["id"]: package for package in found["packages"]}
    nodes = {node["id"]: node for node in found["resolve"]["nodes"]}
    todo = [ident for ident, package in packages.items() if package["name"] == "signoise-py"]
    seen: set[str] = set()
    while todo:
        if (ident := todo.pop()) not in seen:
            seen.add(ident)
            todo += [
                part["pkg"]
                for part in nodes[ident]["deps"]
                if any(kind["kind"] != "dev" for kind in part["dep_kinds"])
            ]
    return [packages[ident] for ident in sorted(seen)]


def licences(packages: list[dict[str, Any]]) -> Iterator[str]:
    """Crates under none of the licences allowed."""
    for package in packages:
        if not is_allowed(package["license"] or "none"):
            yield f"{package['name']} {package['version']} is under {package['license']}"
    counts = Counter(package["license"] for package in packages)
    print(
        f"licences of {len(packages)} crates: " + ", ".join(f"{n} {name}" for name, n in counts.most_common())
    )


def is_allowed(expression: str) -> bool:
    """Whether one may choose allowed licences under an SPDX expression; ``/`` is the old way to write OR.

    >>> is_allowed("(MIT OR GPL-3.0) AND Zlib"), is_allowed("MIT AND GPL-3.0"), is_allowed("GPL-2.0/MIT")
    (True, False, True)
    """
    text = expression.replace("/", " OR ")
    while inner := re.search(r"\(([^()]*)\)", text):
        text = text.replace(inner[0], "MIT" if is_allowed(inner[1]) else "none")
    return any(
        all(part.strip() in ALLOWED for part in choice.split(" AND ")) for choice in text.split(" OR ")
    )


def sources(packages: list[dict[str, Any]]) -> Iterator[str]:
    """Crates from elsewhere than crates.io and this repository."""
    for package in packages:
        here = Path(package["manifest_path"]).is_relative_to(ROOT)
        if package["source"] != REGISTRY and not here:
            yield f"{package['name']} {package['version']} comes from {package['source']}"


def holes_of_python() -> list[str]:
    """Known holes of the versions that an installation would choose today."""
    if (found := program("pip-audit", "pip install pip-audit")) is None:
        return []
    command = [found, "--progress-spinner", "off", "--format", "json", str(ROOT)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if not done.stdout.startswith("{"):
        print(f"skipped: pip-audit: {(done.stderr.strip() or 'no answer').splitlines()[-1]}")
        return []
    packages = json.loads(done.stdout)["dependencies"]
    # Where the database cannot be reached pip-audit leaves a package out and still ends well.
    asked = [package for package in packages if "vulns" in package]
    for package in packages:
        if "vulns" not in package:
            print(f"skipped: pip-audit of {package['name']}: {package.get('skip_reason')}")
    print(f"pip-audit: {len(asked)} of {len(packages)} packages were looked up")
    return [
        f"{package['name']} {package['version']}: {hole['id']}"
        for package in asked
        for hole in package["vulns"]
    ]


def program(name: str, install: str) -> str | None:
    """Where a program is, in this environment or on the path; says so if it is nowhere."""
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if found is None:
        print(f"skipped: {name}: it is not installed ({install})")
    return found


def tool(name: str, arguments: list[str], install: str) -> list[str]:
    """What another tool finds wrong."""
    if (found := program(name, install)) is None:
        return []
    done = subprocess.run([found, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    said = (done.stdout + done.stderr).strip()
    if done.returncode == 0:
        print(f"{name}: {said.splitlines()[-1] if said else 'nothing found'}")
        return []
    last = said.splitlines()[-1] if said else f"exit code {done.returncode}"
    if UNREACHED.search(last):
        print(f"skipped: {name}: it could not reach what it asks: {last}")
        return []
    return [f"{name} says: {said}"]


if __name__ == "__main__":
    main()
