"""Row order never reaches a result: rows out of order are sorted into the same series."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from signoise import average_checkpoints, example_scores
from signoise._encode import Encoded, encode
from signoise._errors import DroppedRowsWarning, DuplicateKeyError


def series_of(encoded: Encoded) -> dict[tuple[object, ...], tuple[list[float], list[float]]]:
    """Values and positions of each series under its labels, in canonical order."""
    out = {}
    for block in encoded.canonical:
        part = slice(encoded.starts[block], encoded.starts[block + 1])
        out[encoded.heads.row(block)] = (encoded.values[part].tolist(), encoded.positions[part].tolist())
    return out


def encoded(frame: pl.DataFrame, **options: object) -> Encoded:
    return encode(frame, by=("task", "metric"), members=("run",), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_rows_make_the_same_series(seed: int) -> None:
    scores = example_scores()
    found = encoded(scores.sample(fraction=1.0, shuffle=True, seed=seed))
    expected = encoded(scores)
    assert list(series_of(found)) == list(series_of(expected))
    assert series_of(found) == series_of(expected)
    assert found.groups.equals(expected.groups)
    assert found.members.equals(expected.members)


def test_shuffled_rows_with_nulls_in_key_and_order() -> None:
    scores = example_scores().with_columns(
        pl.when(pl.col("task") == "sim_arc").then(None).otherwise("tokens").alias("tokens"),
        pl.when(pl.col("recipe") == "recipe-0").then(None).otherwise("recipe").alias("recipe"),
    )
    shuffled = encoded(scores.sample(fraction=1.0, shuffle=True, seed=3))
    assert series_of(shuffled) == series_of(encoded(scores))


def test_interleaved_series_are_gathered() -> None:
    scores = example_scores()
    interleaved = scores.sort("tokens", "task", "run")
    assert series_of(encoded(interleaved)) == series_of(encoded(scores))


def test_exact_duplicates_are_dropped_wherever_they_stand() -> None:
    scores = example_scores()
    doubled = pl.concat([scores, scores.head(50)])
    found = encoded(doubled)
    assert series_of(found) == series_of(encoded(scores))
    assert found.notes == ["50 exact duplicate rows were dropped"]


def test_conflicting_duplicates_are_settled_in_the_given_order() -> None:
    scores = example_scores().sample(fraction=1.0, shuffle=True, seed=4)
    again = scores.head(1).with_columns(pl.col("value") + 1)
    doubled = pl.concat([scores, again])
    with pytest.raises(DuplicateKeyError, match="1 keys carry different values"):
        encoded(doubled)
    value = scores["value"][0]
    for how, expected in (("first", value), ("last", value + 1), ("mean", value + 0.5)):
        kept = np.sort(encoded(doubled, duplicates=how).values)
        assert np.array_equal(kept, np.sort([*scores["value"][1:], expected]))


def test_masks_follow_the_rows() -> None:
    scores = example_scores().sample(fraction=1.0, shuffle=True, seed=5)
    found = encoded(scores, masks={"high": pl.col("value") > 0.5})
    assert np.array_equal(found.masks["high"], found.values > 0.5)


def test_duplicates_in_a_verb_that_numbers_its_rows() -> None:
    scores = example_scores()
    doubled = pl.concat([scores, scores.head(50)])
    with pytest.warns(DroppedRowsWarning, match="50 exact duplicate rows"):
        averaged = average_checkpoints(doubled)
    assert averaged.equals(average_checkpoints(scores))
