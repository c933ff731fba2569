"""The verb `confidence_sequence`: the array functions on its rows, coverage at all times, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import signoise as sn
from signoise import _confidence_sequences as cs


def table(values: dict[str, np.ndarray], metric: str = "acc", **extra: Any) -> pl.DataFrame:
    """Scores of runs on shared instances, in order of arrival."""
    return pl.concat(
        pl.DataFrame({"run": run, "instance_id": [f"i{i:04}" for i in range(len(x))], "value": x})
        for run, x in values.items()
    ).with_columns(task=pl.lit("t"), metric=pl.lit(metric), **{k: pl.lit(v) for k, v in extra.items()})


@pytest.fixture
def right() -> np.ndarray:
    return (np.random.default_rng(0).random(300) < 0.7).astype(float)


def test_rows_are_the_array_functions(right: np.ndarray) -> None:
    frame = table({"a": right, "b": 1 - right})
    for method, expected in (
        ("auto", cs.betting_sequence(right)),
        ("empirical_bernstein", cs.empirical_bernstein_sequence(right)),
        ("asymptotic", cs.asymptotic_sequence(right)),
    ):
        row = sn.confidence_sequence(frame, method=method).row(0, named=True)  # type: ignore[arg-type]
        assert (row["low"], row["high"]) == pytest.approx((expected[0][-1], expected[1][-1]), abs=1e-12)
        assert (row["run"], row["n"], row["status"]) == ("a", 300, "ok")
        assert row["mean"] == pytest.approx(right.mean())
    path = sn.confidence_sequence(frame, path=True, where="run = 'a'")
    assert path["n"].to_list() == list(range(1, 301))
    np.testing.assert_allclose(path["low"], cs.betting_sequence(right)[0], atol=1e-12)
    np.testing.assert_allclose(path["mean"], np.cumsum(right) / np.arange(1, 301), rtol=1e-12)


@pytest.mark.parametrize("population", [None, 260])
def test_last_betting_limits_without_those_before(population: int | None) -> None:
    rng = np.random.default_rng(1)
    for n in (1, 2, 7, 60, 250):
        for x in ((rng.random(n) < 0.9).astype(float), rng.random(n), np.zeros(n)):
            low, high = cs.betting_sequence(x, 0.9, population=population, resolution=100)
            found = cs.betting_limits(x, 0.9, population=population, resolution=100)
            assert found == pytest.approx((low[-1], high[-1]), abs=1e-12)


def test_differences_from_a_baseline_on_shared_instances(right: np.ndarray) -> None:
    other = np.where(np.random.default_rng(2).random(300) < 0.8, right, 1 - right)
    frame = table({"base": right, "a": other}, step=3)
    frame = frame.filter(~((pl.col("run") == "a") & (pl.col("instance_id") < "i0040")))
    row = sn.confidence_sequence(frame, baseline="base@3").row(0, named=True)
    d = (other - right)[40:]
    assert (row["run"], row["baseline"], row["n"], row["n_unmatched"]) == ("a", "base@3", 260, 40)
    assert row["flags"] == ["unmatched"]
    assert (row["bound_low"], row["bound_high"]) == (-1.0, 1.0)
    expected = cs.betting_limits(d, bounds=(-1.0, 1.0))
    assert (row["mean"], row["low"], row["high"]) == pytest.approx((d.mean(), *expected), abs=1e-12)


def test_an_instance_has_come_when_its_second_score_has() -> None:
    frame = pl.DataFrame(
        {
            "run": ["a", "b", "a", "b", "b", "a"],
            "instance_id": ["x", "y", "y", "z", "x", "z"],
            "value": [0.1, 0.2, 0.6, 0.3, 0.9, 0.4],
            "task": "t",
            "metric": "soft",
        }
    )
    path = sn.confidence_sequence(frame, baseline="b", path=True)
    # y at row 2, x at row 4, z at row 5
    np.testing.assert_allclose(path["mean"], np.cumsum([0.4, -0.8, 0.1]) / [1, 2, 3], atol=1e-12)


def test_a_column_says_when_instances_came(right: np.ndarray) -> None:
    frame = table({"a": right, "b": right[::-1]}).with_columns(at=pl.int_range(pl.len()).over("run"))
    first = sn.confidence_sequence(frame, arrival="at", path=True)
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=1)
    assert first.equals(sn.confidence_sequence(shuffled, arrival="at", path=True))
    rows = sn.confidence_sequence(frame, path=True)
    assert rows.drop("signature").equals(first.drop("signature"))
    with pytest.raises(sn.SchemaError, match="have no 'at'"):
        sn.confidence_sequence(frame.with_columns(at=pl.lit(None, dtype=pl.Int64)), arrival="at")


def test_repeats_make_one_instance_that_has_come_with_its_last() -> None:
    frame = pl.DataFrame(
        {
            "run": "a",
            "task": "t",
            "metric": "acc",
            "instance_id": ["x", "y", "x", "y", "z"],
            "repeat": [0, 0, 1, 1, 0],
            "value": [1.0, 1.0, 0.0, 1.0, 0.0],
        }
    )
    path = sn.confidence_sequence(frame, path=True)
    np.testing.assert_allclose(path["mean"], [0.5, 0.75, 0.5])


def test_bounds_follow_the_metric_or_the_caller(right: np.ndarray) -> None:
    losses = table({"a": 2 + right}, metric="loss")
    row = sn.confidence_sequence(losses).row(0, named=True)
    assert (row["method"], row["bound_low"], row["bound_high"]) == ("asymptotic", None, None)
    row = sn.confidence_sequence(losses, bounds=(2.0, 3.0)).row(0, named=True)
    assert row["method"] == "betting"
    assert row["low"] == pytest.approx(2 + cs.betting_limits(right)[0])
    with pytest.raises(sn.OptionError, match="needs bounded scores"):
        sn.confidence_sequence(losses, method="betting")
    with pytest.raises(sn.OptionError, match="run a, task t, metric acc: a score of 70 lies outside 0 to 1"):
        sn.confidence_sequence(table({"a": np.full(3, 70.0)}))
    points = sn.confidence_sequence(table({"a": np.full(3, 70.0)}), bounds=(0.0, 100.0))
    assert points["mean"].item() == 70.0


def test_the_whole_benchmark(right: np.ndarray) -> None:
    frame = table({"a": right})
    part = sn.confidence_sequence(frame, population={"t": 310}).row(0, named=True)
    endless = sn.confidence_sequence(frame).row(0, named=True)
    assert part["high"] - part["low"] < endless["high"] - endless["low"]
    with pytest.raises(sn.OptionError, match="300 instances cannot come from a population of 299"):
        sn.confidence_sequence(frame, population=299)


def test_limits_cover_at_all_times() -> None:
    rng = np.random.default_rng(5)
    frame = table({f"run{i:03}": (rng.random(250) < 0.6).astype(float) for i in range(150)})
    path = sn.confidence_sequence(frame, path=True, confidence_level=0.9, method="empirical_bernstein")
    inside = path.group_by("run").agg(((pl.col("low") <= 0.6) & (pl.col("high") >= 0.6)).all())
    assert inside["low"].mean() >= 0.9 - 3 * np.sqrt(0.09 / 150)  # type: ignore[operator]


def test_undefined_rows() -> None:
    status = lambda frame, **options: sn.confidence_sequence(frame, **options).row(0, named=True)  # noqa: E731
    sorted_by_subject = table({"a": np.repeat([0.0, 1.0], 2000)})
    row = status(sorted_by_subject)
    assert (row["status"], row["low"], row["high"], row["mean"]) == ("order_not_random", None, None, 0.5)
    row = status(table({"a": np.full(5, 2.0)}, metric="loss"))
    assert (row["status"], row["low"], row["flags"]) == ("constant", None, ["few_instances"])
    row = status(table({"a": np.array([2.0])}, metric="loss"))
    assert (row["status"], row["mean"]) == ("too_few", 2.0)
    row = status(table({"a": np.array([np.nan, np.nan])}))
    assert (row["status"], row["n"], row["mean"], row["n_nan"]) == ("too_few", 0, None, 2)
    assert row["flags"] == ["missing_values"]
    row = status(table({"a": np.array([2.0, 3.0])}, metric="bits_per_byte", weight=3.0))
    assert (row["status"], row["mean"]) == ("not_a_mean", None)
    with pytest.raises(sn.InsufficientDataError, match="not_a_mean"):
        status(table({"a": np.array([2.0, 3.0])}, metric="word_perplexity"), strict=True)
    row = status(table({"a": np.array([1.0, 0.0, 1.0])}, cluster="passage"))
    assert row["flags"] == ["clustered"]


def test_other_keys_and_checkpoints(right: np.ndarray) -> None:
    early = table({"a": 1 - right}, step=1)
    late = table({"a": right}, step=2)
    both = pl.concat([early, late])
    assert sn.confidence_sequence(both)["step"].to_list() == [2]
    every = sn.confidence_sequence(both, by=("task", "metric", "step"))
    assert every["step"].to_list() == [1, 2]
    assert every["mean"].to_list() == pytest.approx([1 - right.mean(), right.mean()])
    merged = sn.confidence_sequence(late, by=())
    assert merged.columns[:3] == ["run", "step", "baseline"]
    assert merged["method"].to_list() == ["asymptotic"]  # without the metric nothing is known of its bounds
    two = pl.concat([late, late.with_columns(subtask=pl.lit("x"))], how="diagonal")
    with pytest.warns(sn.MixedKeyWarning, match="subtask joined the key"):
        assert sn.confidence_sequence(two).height == 2
    result = late.head(1).with_columns(instance_id=pl.lit(None, dtype=pl.String), value=pl.lit(0.7))
    with pytest.warns(sn.DroppedRowsWarning, match="1 result rows were left out"):
        assert sn.confidence_sequence(pl.concat([late, result]))["n"].item() == 300


def test_impossible_calls(right: np.ndarray, tmp_path: Path) -> None:
    frame = table({"a": right})
    with pytest.raises(sn.SchemaError, match="these scores have none"):
        sn.confidence_sequence(sn.example_scores())
    with pytest.raises(sn.SchemaError, match="there is no run 'aa'"):
        sn.confidence_sequence(frame, baseline="aa")
    with pytest.raises(sn.SchemaError, match="no other run has a score that a has"):
        sn.confidence_sequence(frame, baseline="a")
    with pytest.raises(sn.SchemaError, match="by: the table has no column 'subtask'"):
        sn.confidence_sequence(frame, by="subtask")
    with pytest.raises(sn.OptionError, match="method must be one of"):
        sn.confidence_sequence(frame, method="normal")  # type: ignore[arg-type]
    with pytest.raises(sn.OptionError, match="population must be a whole number"):
        sn.confidence_sequence(frame, population=0)
    frame.write_parquet(tmp_path / "scores.parquet")
    sn.ingest(str(tmp_path / "scores.parquet"), str(tmp_path / "scores.store"))
    with pytest.raises(sn.SchemaError, match="does not keep the order"):
        sn.confidence_sequence(str(tmp_path / "scores.store"))


def test_the_twins_give_the_same_answer(right: np.ndarray) -> None:
    frame = table({"a": right, "b": 1 - right})
    assert_frame_equal(sn.reference.confidence_sequence(frame), sn.confidence_sequence(frame))
