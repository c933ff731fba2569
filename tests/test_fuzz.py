"""A few cases of benches/fuzz.py: those that once were findings, and some at random."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("resource")  # limits of POSIX systems

#: Cases that raised raw errors: places of texts beyond their buffers, ends before the end, checkpoints that are not
#: there, panics of Polars, a manifest of nothing but brackets.
FOUND = {"table_arrow": [1, 55, 100958], "store": [100, 101229, 103074]}
TABLES = ["table_parquet", "table_arrow", "table_csv", "table_ndjson", "store"]


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benches"))
    try:
        import fuzz

        yield {target.name: target for target in fuzz.targets(tmp_path_factory.mktemp("seeds"))}
    finally:
        sys.path.pop(0)


@pytest.mark.filterwarnings("ignore::signoise.SignoiseWarning")
@pytest.mark.parametrize("name", TABLES)
def test_damaged_tables_and_stores_raise_our_errors(targets: dict[str, Any], name: str) -> None:
    import fuzz

    for case in [*FOUND.get(name, []), *range(2000, 2012)]:
        assert fuzz.run_case(targets[name], case) is None, case


@pytest.mark.filterwarnings("ignore::signoise.SignoiseWarning")
def test_damaged_dumps_raise_our_errors(targets: dict[str, Any], shared: Path) -> None:
    import fuzz

    assert shared.is_dir()
    for name in sorted(set(targets) - set(TABLES)):
        for case in range(3):
            assert fuzz.run_case(targets[name], case) is None, (name, case)
