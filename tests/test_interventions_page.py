"""The page on interventions: its examples run."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest

import signoise as sn

PAGE = Path(__file__).resolve().parent.parent / "docs" / "interventions.md"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.parametrize("number", range(len(blocks())))
def test_examples_of_the_page(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    block = blocks()[number]
    if "store/" in block:
        scores, _ = sn.simulate(tasks=1, recipes=6, params=(150e6, 1e9), checkpoints=2, instances=40)
        sn.ingest(scores, "store/")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        exec(compile(block, PAGE.name, "exec"), {})
