"""Keep inputs as tests: ``python fuzz/keep.py TARGET FILE ..`` adds files to ``fuzz/cases/TARGET.zip``."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

CASES = Path(__file__).resolve().parent / "cases"


def main(target: str, *files: str) -> None:
    """Members are called by their content, so that nothing is kept twice; the same inputs give the same bytes."""
    path = CASES / f"{target}.zip"
    members: dict[str, bytes] = {}
    if path.exists():
        with zipfile.ZipFile(path) as old:
            members = {name: old.read(name) for name in old.namelist()}
    for content in map(Path.read_bytes, map(Path, files)):
        members[hashlib.sha256(content).hexdigest()[:16]] = content
    CASES.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in sorted(members):
            new.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), members[name], zipfile.ZIP_DEFLATED, 9)


if __name__ == "__main__":
    main(*sys.argv[1:])
