"""The two baselines of the speed comparison agree with each other and with the definitions."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from signoise._simulate import simulate

if TYPE_CHECKING:
    import polars as pl

pd = pytest.importorskip("pandas")

_path = Path(__file__).parents[1] / "benches" / "paper_loop.py"
_spec = importlib.util.spec_from_file_location("paper_loop", _path)
assert _spec is not None
assert _spec.loader is not None
paper_loop = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(paper_loop)

SIZES = (60_000_000, 150_000_000, 1_000_000_000)


def as_pandas(scores: pl.DataFrame) -> Any:
    return pd.DataFrame(scores.to_dict(as_series=False))


@pytest.mark.parametrize("grid", [0.0, 0.01])
def test_both_tables_are_equal(grid: float) -> None:
    scores, _ = simulate(tasks=3, recipes=7, params=SIZES, checkpoints=9, grid=grid)
    shuffled = scores.sample(fraction=1.0, shuffle=True, seed=1)
    paper = paper_loop.paper_table(as_pandas(shuffled), SIZES, SIZES[:2], SIZES[2])
    careful = paper_loop.careful_table(shuffled, SIZES, SIZES[:2], SIZES[2])
    assert list(paper.columns) == careful.columns
    assert paper["task"].tolist() == careful["task"].to_list()
    for column in careful.columns[1:]:
        np.testing.assert_allclose(paper[column], careful[column].to_numpy(), rtol=1e-12, err_msg=column)


def test_pooled_noise_holds_the_spread_between_recipes() -> None:
    scores, _ = simulate(tasks=1, recipes=25, checkpoints=9, step_noise=1e-5)
    row = paper_loop.careful_table(scores, SIZES[1:], SIZES[1:2], SIZES[2]).row(0, named=True)
    assert row["snr_1000000000"] < np.sqrt(50)
    assert row["snr_within_1000000000"] > 1000


@pytest.mark.parametrize(("target", "expected"), [([0.1, 0.2], 1.0), ([0.2, 0.1], 0.0)])
def test_ties_depend_on_the_order(target: list[float], expected: float) -> None:
    rows = [
        ("t", 1, "a", 1, 0.5),
        ("t", 1, "b", 1, 0.5),
        ("t", 2, "a", 1, target[0]),
        ("t", 2, "b", 1, target[1]),
    ]
    frame = pd.DataFrame(rows, columns=["task", "params", "recipe", "step", "value"])
    assert paper_loop.paper_decision_accuracy(frame, "t", 1, 2) == expected


def test_careful_table_refuses_incomplete_frames() -> None:
    scores, _ = simulate(tasks=1, recipes=3, params=SIZES, checkpoints=4)
    with pytest.raises(ValueError, match="needed 5"):
        paper_loop.careful_table(scores, SIZES, SIZES[:2], SIZES[2])
