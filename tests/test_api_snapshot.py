"""What others build on changes only on purpose: tests/api.txt is what there was when somebody last looked."""

from __future__ import annotations

import difflib

from api_snapshot import SNAPSHOT, lines


def test_nothing_public_changed_unseen() -> None:
    before = SNAPSHOT.read_text(encoding="utf-8").splitlines()
    after = lines()
    changes = [line for line in difflib.unified_diff(before, after, lineterm="", n=0) if line[0] in "+-"][2:]
    assert not changes, (
        "what is public changed:\n  " + "\n  ".join(changes) + "\n"
        "Lines with - may break somebody's code: docs/promises.md says in which release that may be.\n"
        "If it is meant, run\n"
        "  PYTHONPATH=python python tests/api_snapshot.py\n"
        "and commit tests/api.txt with the change and its line in CHANGELOG.md."
    )


def test_lines_are_told_apart_and_the_same_everywhere() -> None:
    found = SNAPSHOT.read_text(encoding="utf-8").splitlines()
    assert len(found) == len(set(found)) > 1000
    assert not [line for line in found if " at 0x" in line]
