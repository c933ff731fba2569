"""benches/tables.py keeps what benchmarks print, and makes the same page of it again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench_modules import BENCHES, bench_module

PRINTED = "signoise 0.1.0, 2 threads\n\n| verb | s |\n| --- | --- |\n| snr | 0.1 |\n| noise | 0.2 |\nequal\n"


def test_tables_are_rows_and_rows_are_tables() -> None:
    tables = bench_module("tables")
    blocks = tables.parsed(PRINTED)
    assert blocks == [
        "signoise 0.1.0, 2 threads",
        [{"verb": "snr", "s": "0.1"}, {"verb": "noise", "s": "0.2"}],
        "equal",
    ]
    facts = {
        "command": "python x",
        "date": "2026-01-01",
        "seconds": 1,
        "load": 0.0,
        "machine": tables.machine(),
    }
    figures = {
        "one": {**facts, "failed": None, "blocks": blocks},
        "two": {**facts, "failed": "no x", "blocks": []},
    }
    page = tables.page(figures)
    assert "| verb | s |\n| --- | --- |\n| snr | 0.1 |\n| noise | 0.2 |" in page
    assert "Failed: no x" in page


def test_the_page_comes_from_the_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = bench_module("tables")
    done = {
        "command": "c",
        "date": "d",
        "seconds": 1,
        "load": 0.0,
        "machine": tables.machine(),
        "failed": None,
    }
    monkeypatch.setattr(tables, "measured", lambda *_: {**done, "blocks": tables.parsed(PRINTED)})
    tables.main(["--to", str(tmp_path), "--only", "laws"])
    page = (tmp_path / "tables.md").read_text()
    assert list(json.loads((tmp_path / "figures.json").read_text())) == ["laws"]
    (tmp_path / "tables.md").unlink()
    tables.main(["--to", str(tmp_path), "--page"])
    assert (tmp_path / "tables.md").read_text() == page
    with pytest.raises(SystemExit):
        tables.main(["--to", str(tmp_path), "--only", "nonsense"])


def test_every_benchmark_is_in_it() -> None:
    there = {path.stem.removeprefix("bench_") for path in BENCHES.glob("bench_*.py")}
    assert set(bench_module("tables").BENCHES) == there - {"ray"}  # it needs a cluster
