"""The same bits whatever the row order, the chunks, the other columns, the form of the frame and the threads."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import plain
import signoise as sn
from strategies import score_tables

SIDES = {"small": "params = 150000000", "target": "params = 1000000000"}
Verb = Callable[..., pl.DataFrame]


def _noise_per_run(scores: Any, **options: Any) -> pl.DataFrame:
    return sn.noise(scores, per="run", **options)


VERBS: dict[str, tuple[Verb, dict[str, Any]]] = {
    "snr": (sn.snr, {}),
    "snr, final over detrended": (sn.snr, {"score": "final", "noise": "detrended", "relative": False}),
    "snr, pooled across recipes": (
        sn.snr,
        {"noise": "pooled", "across": "recipe", "population": "step <= 600", "noise_runs": "step > 200"},
    ),
    "snr, compat": (sn.snr, {"signal": "compat:rel_mpd"}),
    "signal": (sn.signal, {"window": 3}),
    "signal, textbook": (sn.signal, {"signal": "textbook:mpsd"}),
    "noise": (sn.noise, {"noise": "successive_difference"}),
    "noise, per run": (_noise_per_run, {}),
    "decision_accuracy": (sn.decision_accuracy, SIDES),
    "decision_accuracy, mean": (sn.decision_accuracy, {**SIDES, "score": "mean", "ties": "compat"}),
    "decision_accuracy, sample": (sn.decision_accuracy, {**SIDES, "score": "sample", "n_resamples": 20}),
    "decision_accuracy, weighted": (sn.decision_accuracy, {**SIDES, "pairs": "weighted"}),
    "smoothness": (sn.smoothness, {}),
    "average_checkpoints": (sn.average_checkpoints, {"window": 3}),
    "average_checkpoints, ema": (sn.average_checkpoints, {"how": "ema"}),
    "averaging_gain": (sn.averaging_gain, {"windows": (1, 2), "how": "ema"}),
    "averaging_gain, decisions": (sn.averaging_gain, {**SIDES, "windows": 3, "at": (0.5, 1.0)}),
    "choose_window": (sn.choose_window, {**SIDES, "n_splits": 3}),
    "roll_up, task": (sn.roll_up, {}),
    "roll_up, suite": (sn.roll_up, {"to": "suite"}),
    "aggregate": (sn.aggregate, {}),
    "report": (sn.report, {}),
}


def run(name: str, scores: Any, **options: Any) -> pl.DataFrame:
    verb, fixed = VERBS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        return verb(scores, **fixed, **options)


def outcome(name: str, scores: Any, **options: Any) -> pl.DataFrame | str:
    """The table, or the error a table can have (such as conflicting parts)."""
    try:
        return run(name, scores, **options)
    except sn.SignoiseError as error:
        return type(error).__name__


def bits(frame: pl.DataFrame) -> dict[str, Any]:
    """Columns in which floats are compared as the 64 bits they are: 0 and -0, one NaN and another differ."""
    out: dict[str, Any] = {}
    for column in frame:
        if column.dtype == pl.Float64:
            raw = column.fill_null(0.0).to_numpy().view(np.uint64)
            out[column.name] = (column.is_null().to_list(), raw.tolist())
        else:
            out[column.name] = (column.dtype, column.to_list())
    return out


def assert_same_bits(found: pl.DataFrame | str, expected: pl.DataFrame | str, where: str) -> None:
    if isinstance(expected, str) or isinstance(found, str):
        assert found is expected or found == expected, where
        return
    assert found.columns == expected.columns, where
    left, right = bits(found), bits(expected)
    differing = [name for name in left if left[name] != right[name]]
    assert not differing, (where, differing, found.select(differing), expected.select(differing))
    assert found.equals(expected, null_equal=True), where


def in_chunks(frame: pl.DataFrame, size: int) -> pl.DataFrame:
    # Slices that touch would be joined into one chunk again.
    parts = [pl.DataFrame(frame[i : i + size].to_dict()).rechunk() for i in range(0, frame.height, size)]
    return pl.concat(parts, rechunk=False)


def few_variants(frame: pl.DataFrame, seed: int) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    yield "shuffled", frame.sample(fraction=1.0, shuffle=True, seed=seed), {}
    yield "reversed, in chunks", in_chunks(frame.reverse(), max(1, frame.height // 4)), {}
    yield "lazy, 8 threads", frame.lazy(), {"threads": 8}


def variants(frame: pl.DataFrame, seed: int) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    yield from few_variants(frame, seed)
    yield "sorted by value", frame.sort("value", "step", "task", maintain_order=True), {}
    yield "chunks", in_chunks(frame, max(1, frame.height // 4)), {}
    yield "arrow", frame.to_arrow(), {}
    names = frame.columns
    random.Random(seed).shuffle(names)
    yield "columns in another order", frame.select(names), {}
    for threads in (1, 2):
        yield f"{threads} threads", frame, {"threads": threads}


def check(name: str, frame: pl.DataFrame, make: Callable[..., Any] = variants, seed: int = 1) -> None:
    expected = outcome(name, frame)
    for where, scores, options in make(frame, seed):
        found = outcome(name, scores, **options)
        if isinstance(found, pl.DataFrame) and isinstance(expected, pl.DataFrame):
            # The score table comes back with its columns as they came.
            assert set(found.columns) == set(expected.columns)
            found = found.select(expected.columns)
        assert_same_bits(found, expected, where)


@given(scores=score_tables(scales=True, infinite=True), seed=st.integers(0, 1000))
@settings(max_examples=6)
@pytest.mark.parametrize("name", VERBS)
def test_tables_as_they_come(name: str, scores: pl.DataFrame, seed: int) -> None:
    if "sample" in name and "seed" in scores.columns:
        scores = scores.filter(pl.col("seed").fill_null(0) == 0)  # it takes one run a member
    check(name, scores, few_variants, seed)


@pytest.mark.parametrize("name", VERBS)
def test_the_example(name: str) -> None:
    scores = sn.example_scores()
    assert isinstance(outcome(name, scores), pl.DataFrame)
    assert in_chunks(scores, 100).n_chunks() > 1
    check(name, scores)


@cache
def many_tasks() -> pl.DataFrame:
    """Enough groups that every thread has work."""
    scores, _ = sn.simulate(
        tasks=60, recipes=5, params=(150_000_000, 1_000_000_000), checkpoints=7, rng_seed=2
    )
    return scores


@pytest.mark.parametrize("name", VERBS)
def test_threads_on_many_groups(name: str) -> None:
    expected = run(name, many_tasks(), threads=1)
    for threads in (2, 8, None):
        assert_same_bits(run(name, many_tasks(), threads=threads), expected, f"{threads} threads")


@cache
def instances() -> pl.DataFrame:
    scores, _ = sn.simulate(
        tasks=2, recipes=3, params=(150_000_000, 1_000_000_000), checkpoints=3, instances=12, rng_seed=4
    )
    value = pl.col("value")
    return scores.with_columns(
        value=pl.when(pl.int_range(pl.len()) % 17 == 0)
        .then(None)
        .otherwise(value + pl.int_range(pl.len()) % 7 / 10)
    )


@pytest.mark.parametrize("name", VERBS)
def test_instances(name: str) -> None:
    check(name, instances())


@pytest.mark.parametrize("name", VERBS)
def test_columns_that_say_nothing_change_nothing(name: str) -> None:
    scores = sn.example_scores()
    count = pl.int_range(pl.len())
    other = scores.with_columns(
        colour=pl.lit("green"), number=count, ratio=count / 7, lists=pl.concat_list(count), whole=pl.lit(None)
    )
    expected = run(name, scores)
    found = run(name, other)
    assert_same_bits(found.select(expected.columns), expected, "more columns")


@given(scores=score_tables(scales=True))
@settings(max_examples=3)
@pytest.mark.parametrize("name", [name for name in VERBS if "roll_up" not in name])
def test_where_is_a_filter_on_the_table(name: str, scores: pl.DataFrame) -> None:
    metric = scores["metric"][0]
    expected = outcome(name, scores.filter(metric=metric))
    assert_same_bits(outcome(name, scores, where=pl.col("metric") == metric), expected, "expression")
    assert_same_bits(outcome(name, scores, where=f"metric = '{metric}'"), expected, "SQL")


ALONE = {
    name: {"autocorrelation": 0.0}
    if name.startswith(("snr", "signal", "noise", "decision", "smoothness", "averaging"))
    else {}
    for name in VERBS
    if not name.startswith(("roll_up", "report"))
}


@given(scores=score_tables(scales=True, parts=False))
@settings(max_examples=3)
@pytest.mark.parametrize("name", ALONE)
def test_another_task_changes_no_other_row(name: str, scores: pl.DataFrame) -> None:
    expected = outcome(name, scores, **ALONE[name])
    one = scores.filter(task=scores["task"][0])
    copies = [one.with_columns(task=pl.lit(other)) for other in ("", "zzz")]
    found = outcome(name, pl.concat([copies[0], scores, copies[1]]), **ALONE[name])
    if isinstance(found, pl.DataFrame):
        found = found.filter(pl.col("task").is_in(scores["task"].unique().to_list()))
    assert_same_bits(found, expected, "more tasks")


@given(scores=score_tables(scales=True, duplicates=False), seed=st.integers(0, 1000))
@settings(max_examples=10)
@pytest.mark.parametrize("name", ["snr", "decision_accuracy", "smoothness", "average_checkpoints"])
def test_conflicts_settled_by_their_mean_know_no_order(name: str, scores: pl.DataFrame, seed: int) -> None:
    shift = pl.concat([scores.with_columns(pl.col("value") + k / 10) for k in range(3)])
    expected = run(name, shift, duplicates="mean")
    shuffled = shift.sample(fraction=1.0, shuffle=True, seed=seed)
    assert_same_bits(run(name, shuffled, duplicates="mean"), expected, "shuffled")


@given(scores=score_tables(scales=True, infinite=True))
@settings(max_examples=10)
def test_conflicts_reported_know_no_order(scores: pl.DataFrame) -> None:
    shift = pl.concat([scores, scores[:2].with_columns(pl.lit(0.123).alias("value"))])
    assert_same_bits(run("report", shift.reverse()), run("report", shift), "reversed")


@given(scores=score_tables(parts=False))
@settings(max_examples=10)
def test_zeros_of_either_sign_are_one_score(scores: pl.DataFrame) -> None:
    zero = scores.with_columns(pl.col("value") * 0.0)
    negative = scores.with_columns(pl.col("value") * -0.0)
    by = plain.identity(scores)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        both = [sn.snr(pl.concat(pair), by=by) for pair in ((zero, negative), (negative, zero))]
    assert_same_bits(both[0], both[1], "signs")
