"""docs/promises.md: every promise names a test (test_docs_site.py asks whether it exists); some are held here."""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path

import pytest

import signoise as sn

ROOT = Path(__file__).resolve().parent.parent
#: What verbs are about, and may be given by place; everything else is an option.
ABOUT = {
    "scores",
    "source",
    "table",
    "store",
    "train",
    "holdout",
    "law",
    "parameter",
    "at",
    "parameters",
    "x",
    "y",
}


def test_every_promise_names_its_test() -> None:
    tables = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8").split("| promise | test |")[1:]
    rows = [line for table in tables for line in table.split("\n\n")[0].splitlines()[2:]]
    assert len(rows) > 30
    assert [row for row in rows if ".py::test_" not in row.split("|")[-2]] == []


@pytest.mark.parametrize("name", [name for name in sn.__all__ if inspect.isfunction(getattr(sn, name))])
def test_options_go_by_name(name: str) -> None:
    parameters = list(inspect.signature(getattr(sn, name)).parameters.values())
    by_place = [parameter.name for parameter in parameters if parameter.kind is not parameter.KEYWORD_ONLY]
    assert len(by_place) <= 3
    assert by_place[1:] == [parameter for parameter in by_place[1:] if parameter in ABOUT]


def test_a_store_of_the_first_version_is_read(tmp_path: Path) -> None:
    """tests/stores/version-1 was written by signoise 0.1 and is never written again."""
    store = tmp_path / "store"
    shutil.copytree(Path(__file__).with_name("stores") / "version-1", store)
    sn.open_store(store).verify()
    rows = [
        (run, step, metric, n, pytest.approx(mean), pytest.approx(low), pytest.approx(high))
        for run, step, metric, n, mean, low, high in [
            ("a", 100, "acc", 6, 2 / 3, 0.0, 1.0),
            ("a", 100, "bits_per_byte", 6, 0.7, 0.6, 0.8),
            ("a", 200, "acc", 6, 1 / 3, 0.0, 1.0),
            ("a", 200, "bits_per_byte", 6, 0.8, 0.7, 0.9),
            ("b", 100, "acc", 6, 1 / 3, 0.0, 1.0),
            ("b", 100, "bits_per_byte", 6, 0.7 + 1 / 3, 0.6 + 1 / 3, 0.8 + 1 / 3),
            ("b", 200, "acc", 6, 2 / 3, 0.0, 1.0),
            ("b", 200, "bits_per_byte", 6, 0.8 + 1 / 3, 0.7 + 1 / 3, 0.9 + 1 / 3),
        ]
    ]
    found = sn.aggregate(store, by=("run", "step", "metric"))
    assert found.select("run", "step", "metric", "n", "mean", "min", "max").rows() == rows
    assert sn.open_store(store).scan().collect().height == 48
