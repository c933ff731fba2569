"""Averaging of checkpoints against pandas' rolling and exponentially weighted means."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import signoise as sn

pd = pytest.importorskip("pandas")

VALUES = st.one_of(st.floats(0, 1), st.sampled_from([None, math.nan]))


def curves(*values: list[float | None], **columns: Any) -> pl.DataFrame:
    return pl.concat(
        pl.DataFrame(
            {
                "run": [f"r{k}"] * len(series),
                "step": [100 * (i + 1) for i in range(len(series))],
                "task": ["t"] * len(series),
                "metric": ["acc"] * len(series),
                "value": series,
            },
            schema_overrides={"value": pl.Float64},
        )
        for k, series in enumerate(values)
    ).with_columns(**columns)


def by_pandas(series: list[float | None], how: str, window: int, least: int) -> list[tuple[int, float]]:
    """Step and smoothed value of every checkpoint that stays."""
    scores = pd.Series(series, dtype=float, index=[100 * (i + 1) for i in range(len(series))]).dropna()
    smooth = (
        scores.rolling(window, min_periods=1).mean()
        if how == "mean"
        else scores.ewm(alpha=2 / (window + 1), adjust=False).mean()
    )
    return list(smooth.items())[least - 1 :]


@given(
    st.lists(st.lists(VALUES, min_size=1, max_size=15), min_size=1, max_size=4),
    st.sampled_from(["mean", "ema"]),
    st.integers(1, 6),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_against_pandas(
    series: list[list[float | None]], how: Any, window: int, least: int, random: Any
) -> None:
    frame = curves(*series)
    order = list(range(frame.height))
    random.shuffle(order)
    found = sn.average_checkpoints(frame[order], window=window, how=how, min_checkpoints=least)
    for k, values in enumerate(series):
        mine = found.filter(run=f"r{k}").select("step", "value")
        expected = by_pandas(values, how, window, least)
        assert mine["step"].to_list() == [step for step, _ in expected]
        np.testing.assert_allclose(mine["value"], [value for _, value in expected], rtol=1e-12, atol=1e-15)


def test_no_checkpoint_looks_ahead() -> None:
    values = [0.1, 0.5, 0.2, 0.9, 0.4]
    for how in ("mean", "ema"):
        whole = sn.average_checkpoints(curves(values), window=3, how=how)
        for end in range(1, 6):
            assert_frame_equal(
                sn.average_checkpoints(curves(values[:end]), window=3, how=how), whole.head(end)
            )


def test_window_of_one_changes_nothing() -> None:
    frame = curves([0.1, 0.5, 0.2])
    for how in ("mean", "ema"):
        assert_frame_equal(sn.average_checkpoints(frame, window=1, how=how), frame)


def test_full_windows_alone() -> None:
    found = sn.average_checkpoints(curves([0.0, 0.3, 0.6, 0.9]), window=3, min_checkpoints=3)
    assert found.select("step", "value").rows() == [(300, pytest.approx(0.3)), (400, pytest.approx(0.6))]


def test_a_run_with_too_few_checkpoints_leaves_nothing() -> None:
    found = sn.average_checkpoints(curves([0.1], [0.1, 0.2]), window=2, min_checkpoints=2)
    assert found["run"].to_list() == ["r1"]


def test_the_tables_other_columns_stay() -> None:
    frame = curves(
        [0.1, 0.5],
        lab=pl.lit("x"),
        stderr=0.01,
        n=pl.lit(500, pl.Int64),
        source=pl.lit("f"),
        wall=pl.int_range(pl.len()),
    )
    found = sn.average_checkpoints(frame)
    assert found.columns == [name for name in frame.columns if name != "stderr"]
    assert_frame_equal(found.drop("value"), frame.drop("stderr", "value"))
    renamed = frame.rename({"run": "model", "step": "ckpt"})
    again = sn.average_checkpoints(renamed)
    assert again.select("model", "ckpt", "run", "step").rows() == [
        ("r0", 100, "r0", 100),
        ("r0", 200, "r0", 200),
    ]


def test_scores_are_kept_apart() -> None:
    low, high = curves([0.1, 0.2]), curves([0.8, 0.9])
    for column, values in (
        ("task", ("t", "u")),
        ("metric", ("acc", "acc_norm")),
        ("config", ("shots=0", "shots=5")),
        ("subtask", ("x", "y")),
        ("filter", ("strict", "flexible")),
    ):
        both = pl.concat(
            f.with_columns(pl.lit(v).alias(column)) for f, v in zip((low, high), values, strict=True)
        )
        found = sn.average_checkpoints(both).sort("value")
        assert found["value"].to_list() == pytest.approx([0.1, 0.15, 0.8, 0.85]), column


def test_runs_of_one_name_with_other_seeds_are_kept_apart() -> None:
    both = pl.concat([curves([0.1, 0.2], seed=1), curves([0.8, 0.9], seed=2)])
    assert sn.average_checkpoints(both)["value"].to_list() == pytest.approx([0.1, 0.15, 0.8, 0.85])


def test_order_by_tokens_by_step_and_by_any_column() -> None:
    frame = curves([0.1, 0.2, 0.4])
    reversed_tokens = frame.with_columns(tokens=1e9 - pl.col("step"))
    assert sn.average_checkpoints(reversed_tokens, window=2)["value"].to_list() == pytest.approx(
        [0.4, 0.3, 0.15]
    )
    by_step = sn.average_checkpoints(reversed_tokens, window=2, order="step")
    assert by_step["value"].to_list() == pytest.approx([0.1, 0.15, 0.3])
    clock = frame.with_columns(clock=pl.Series([3, 1, 2]))
    assert sn.average_checkpoints(clock, window=2, order="clock")["clock"].to_list() == [1, 2, 3]


def test_steps_are_numbers() -> None:
    frame = curves([0.0, 0.5, 1.0]).with_columns(step=pl.Series(["step9", "step10", "step1000"]))
    assert sn.average_checkpoints(frame, window=2)["value"].to_list() == [0.0, 0.25, 0.75]


def test_sorted_by_score_run_and_order() -> None:
    scores = sn.example_scores()
    found = sn.average_checkpoints(scores.sample(fraction=1.0, shuffle=True, seed=3))
    assert_frame_equal(found, found.sort("task", "metric", "run", "tokens"))
    assert_frame_equal(found, sn.average_checkpoints(scores), check_exact=True)


def test_an_infinite_loss_stays_infinite_while_it_is_in_the_window() -> None:
    frame = curves([1.0, math.inf, 2.0, 4.0]).with_columns(metric=pl.lit("perplexity"))
    found = sn.average_checkpoints(frame, window=2)["value"].to_list()
    assert found == [1.0, math.inf, math.inf, 3.0]
    bounded = sn.average_checkpoints(frame.with_columns(metric=pl.lit("acc")), window=2)
    assert bounded["value"].to_list() == [1.0, 1.5, 3.0]


def test_noise_falls_with_the_root_of_the_window() -> None:
    scores, _ = sn.simulate(tasks=1, recipes=40, params=(1e9,), checkpoints=60, step_noise=0.01, signal=0.0)
    smooth = sn.average_checkpoints(scores, window=4, min_checkpoints=4)
    ratio = (
        sn.noise(scores, window=10**6)["noise_absolute"].item()
        / sn.noise(smooth, window=10**6)["noise_absolute"].item()
    )
    assert ratio == pytest.approx(2.0, rel=0.1)


def test_instances_are_averaged_first() -> None:
    instances, _ = sn.simulate(tasks=1, recipes=2, params=(1e9,), checkpoints=4, instances=10)
    found = sn.average_checkpoints(instances, window=2)
    expected = sn.average_checkpoints(
        sn.aggregate(instances, by=("run", "step", "task", "metric")).rename({"mean": "value"}), window=2
    )
    assert_frame_equal(found.select("run", "step", "value"), expected.select("run", "step", "value"))
    assert "instance_id" not in found.columns


def test_groups_and_where() -> None:
    frame = pl.concat([curves([0.1, 0.3]), curves([0.3, 0.5], task=pl.lit("u"))])
    found = sn.average_checkpoints(frame, groups={"both": ["t", "u"]}, where="step >= 100", window=2)
    assert found.select("task", "value").rows() == [
        ("both", pytest.approx(0.2)),
        ("both", pytest.approx(0.3)),
    ]


def test_duplicates() -> None:
    frame = pl.concat([curves([0.1, 0.3]), curves([0.5])])
    with pytest.raises(sn.DuplicateKeyError, match=r"step=100.* has values 0\.1, 0\.5"):
        sn.average_checkpoints(frame)
    for how, first in (("first", 0.1), ("last", 0.5), ("mean", 0.3)):
        with pytest.warns(sn.DroppedRowsWarning, match=f"took the {how}"):
            found = sn.average_checkpoints(frame, duplicates=how)
        assert found["value"].to_list() == pytest.approx([first, (first + 0.3) / 2])


@pytest.mark.parametrize("wrong", [{"window": 0}, {"window": 2.5}, {"min_checkpoints": 0}, {"how": "median"}])
def test_misuse(wrong: dict[str, Any]) -> None:
    with pytest.raises(sn.OptionError):
        sn.average_checkpoints(curves([0.1, 0.2]), **wrong)
