"""The documentation names everything that is public, and its links lead somewhere; `make docs` builds it."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from pathlib import Path

import signoise as sn
from signoise._cli import COMMANDS
from signoise._laws import _ladder_rows
from signoise._laws import _status as _law_status
from signoise._status import FLAGS, STATUSES

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
_DIRECTIVE = re.compile(r"^\.\. auto(?:function|class|exception|module):: signoise\.(\w+)$", re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)")


def test_every_public_name_is_in_the_reference_once() -> None:
    found = Counter(
        name for page in (DOCS / "api").glob("*.md") for name in _DIRECTIVE.findall(page.read_text())
    )
    assert found == Counter(sn.__all__)


def test_every_verb_and_command_has_its_question() -> None:
    named = set(re.findall(r"`([\w.-]+)[^`]*`", (DOCS / "questions.md").read_text()))
    verbs = {name for name in sn.__all__ if inspect.isfunction(getattr(sn, name))}
    assert (verbs | set(COMMANDS)) - named == set()


def test_every_status_and_flag_is_explained() -> None:
    explained = set(re.findall(r"`(\w+)`", (DOCS / "words.md").read_text()))
    statuses = {*STATUSES, *_law_status.REMEDIES}
    flags = {*FLAGS, *_law_status.FLAGS, *_ladder_rows.FLAGS}
    assert (statuses | flags) - explained == set()


def test_tests_that_pages_name_exist() -> None:
    named = [
        found
        for page in DOCS.glob("*.md")
        for found in re.findall(r"`(?:tests/)?(test_\w+\.py)::(test_\w+)", page.read_text(encoding="utf-8"))
    ]
    assert len(named) >= 20
    for file, name in named:
        assert f"def {name}(" in (DOCS.parent / "tests" / file).read_text(encoding="utf-8"), (file, name)


def test_links_to_files_lead_somewhere() -> None:
    pages = [
        *DOCS.rglob("*.md"),
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "benches/README.md")),
    ]
    links = [(page, target) for page in pages for target in _LINK.findall(page.read_text())]
    assert len(links) > 100
    assert [(page.name, target) for page, target in links if not (page.parent / target).exists()] == []
