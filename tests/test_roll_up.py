"""One level up: instances to subtasks to tasks to a suite, macro and micro; and `groups=`, which names the task."""

from __future__ import annotations

import math
import statistics
import warnings
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import signoise as sn


def row(
    task: str, subtask: str | None, value: float | None, n: int | None = None, **more: Any
) -> dict[str, Any]:
    base = {"run": "a", "step": 1, "task": task, "subtask": subtask, "metric": "acc", "value": value, "n": n}
    return base | more


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(
        list(rows), schema_overrides={"subtask": pl.String, "value": pl.Float64, "n": pl.Int64}
    )


PARTS = frame(
    row("mmlu", "law", 0.2, 10),
    row("mmlu", "math", 0.6, 30),
    row("arc", None, 0.5, 60),
    row("boolq", None, 0.8, 100),
)


def quiet(verb: Any, *args: Any, **kwargs: Any) -> pl.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        return verb(*args, **kwargs)


def test_subtasks_become_their_task() -> None:
    found = sn.roll_up(PARTS).select("task", "value", "n", "rolled_up")
    assert found.rows() == [
        ("arc", 0.5, 60, None),
        ("boolq", 0.8, 100, None),
        ("mmlu", pytest.approx(0.4), 40, "macro mean of 2 subtasks"),
    ]
    micro = sn.roll_up(PARTS, how="micro").filter(task="mmlu")
    assert micro.select("value", "n", "rolled_up").row(0) == (
        pytest.approx(0.5),
        40,
        "micro mean of 2 subtasks",
    )


def test_tasks_become_a_suite() -> None:
    macro = sn.roll_up(PARTS, to="suite").row(0, named=True)
    # Tasks count once each, however many subtasks they have.
    assert macro["value"] == pytest.approx((0.4 + 0.5 + 0.8) / 3)
    assert (macro["task"], macro["n"], macro["rolled_up"]) == ("suite", 200, "macro mean of 3 tasks")
    micro = sn.roll_up(PARTS, to="suite", how="micro", suite="all").row(0, named=True)
    assert micro["value"] == pytest.approx((2 + 18 + 30 + 80) / 200)
    assert (micro["task"], micro["n"], micro["rolled_up"]) == ("all", 200, "micro mean of 3 tasks")


def test_every_score_of_the_suite_apart() -> None:
    more = pl.concat([PARTS, PARTS.with_columns(metric=pl.lit("acc_norm"), value=pl.col("value") / 2)])
    found = sn.roll_up(more, to="suite")
    assert found["metric"].to_list() == ["acc", "acc_norm"]
    assert found["value"][0] == pytest.approx(2 * found["value"][1])


def test_columns_of_the_table_stay_where_they_mean_something() -> None:
    labelled = PARTS.with_columns(
        lab=pl.lit("x"), topic=pl.Series(["a", "b", "c", "d"]), stderr=0.01, source=pl.lit("f.json")
    ).rename({"task": "benchmark"})
    task = sn.roll_up(labelled).filter(task="mmlu").row(0, named=True)
    assert (task["lab"], task["topic"], task["source"], task["benchmark"]) == ("x", None, "f.json", "mmlu")
    assert task["stderr"] is None  # of a part, not of the mean
    suite = sn.roll_up(labelled, to="suite")
    assert suite["benchmark"].to_list() == [None]
    assert suite["task"].to_list() == ["suite"]
    assert suite.columns.index("task") < suite.columns.index("value") < suite.columns.index("lab")


# --- from instances


def test_from_instances_up_all_levels() -> None:
    instances = pl.DataFrame(
        [
            {"run": "a", "step": 1, "task": task, "subtask": subtask, "metric": "acc", "instance_id": str(i)}
            | {"value": value}
            for task, subtask, values in (("m", "x", [1, 0, 0, 1]), ("m", "y", [1]), ("b", None, [0, 0, 1]))
            for i, value in enumerate(values)
        ],
        schema_overrides={"subtask": pl.String},
    )
    tasks = sn.roll_up(instances).select("task", "value", "n", "rolled_up").rows()
    assert tasks == [
        ("b", pytest.approx(1 / 3), 3, "mean of 3 instances"),
        ("m", 0.75, 5, "macro mean of 2 subtasks"),
    ]
    assert sn.roll_up(instances, how="micro").filter(task="m")["value"].item() == pytest.approx(3 / 5)
    suite = sn.roll_up(instances, to="suite", how="micro").row(0, named=True)
    # The micro mean of micro means is the mean over all instances.
    assert (suite["value"], suite["n"]) == (pytest.approx(4 / 8), 8)
    assert sn.roll_up(instances, to="suite")["value"].item() == pytest.approx((0.75 + 1 / 3) / 2)


@given(st.lists(st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=1, max_size=6), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_macro_and_micro_by_definition(parts: list[list[float]]) -> None:
    instances = pl.DataFrame(
        [
            {
                "run": "r",
                "task": "t",
                "subtask": f"s{k}",
                "metric": "acc",
                "instance_id": str(i),
                "value": value,
            }
            for k, part in enumerate(parts)
            for i, value in enumerate(part)
        ]
    )
    macro = sn.roll_up(instances)["value"].item()
    assert macro == pytest.approx(statistics.fmean(map(statistics.fmean, parts)), rel=1e-12)
    micro = sn.roll_up(instances, how="micro")["value"].item()
    assert micro == pytest.approx(statistics.fmean(v for part in parts for v in part), rel=1e-12)


def test_micro_mean_of_a_ratio_weighs_by_its_denominator() -> None:
    rows = [("x", 2.0, 10.0), ("x", 1.0, 30.0), ("y", 4.0, 60.0)]
    instances = pl.DataFrame(
        [
            {"run": "a", "step": 1, "task": "t", "subtask": subtask, "metric": "bits_per_byte"}
            | {"instance_id": str(i), "value": value, "weight": weight}
            for i, (subtask, value, weight) in enumerate(rows)
        ]
    )
    found = sn.roll_up(instances, how="micro").row(0, named=True)
    assert found["value"] == pytest.approx((20 + 30 + 240) / 100)
    assert (found["n"], found["weight"]) == (3, 100.0)
    assert sn.roll_up(instances)["value"].item() == pytest.approx((50 / 40 + 4) / 2)


def perplexities(metric: str, **columns: Any) -> pl.DataFrame:
    """Two documents in one part and one in the other: exp(-loglik/words)."""
    documents = [("x", -40.0, 10.0), ("x", -30.0, 30.0), ("y", -120.0, 60.0)]
    return pl.DataFrame(
        [
            {"run": "a", "step": 1, "task": "t", "subtask": subtask, "metric": metric, "instance_id": str(i)}
            | {"value": math.exp(-loglik / words), "weight": words}
            | columns
            for i, (subtask, loglik, words) in enumerate(documents)
        ]
    )


def test_micro_mean_of_perplexities_is_that_of_all_documents() -> None:
    words = perplexities("word_perplexity")
    found = sn.roll_up(words, how="micro").row(0, named=True)
    assert found["value"] == pytest.approx(math.exp(190 / 100), rel=1e-12)
    assert found["value"] == pytest.approx(sn.aggregate(words)["mean"].item(), rel=1e-12)
    assert (found["n"], found["weight"]) == (3, 100.0)
    # LAMBADA's counts instances, and so does any whose instances have no denominators.
    each = (40 / 10 + 30 / 30 + 120 / 60) / 3
    for metric, weight in (
        ("perplexity", None),
        ("ppl", None),
        ("perplexity", 1.0),
        ("word_perplexity", 1.0),
    ):
        plain = perplexities(metric, weight=weight).cast({"weight": pl.Float64})
        assert sn.roll_up(plain, how="micro")["value"].item() == pytest.approx(math.exp(each), rel=1e-12)
    # Parts count once each in the macro mean of scores, whatever they are.
    macro = sn.roll_up(words)["value"].item()
    assert macro == pytest.approx((math.exp(70 / 40) + math.exp(2)) / 2, rel=1e-12)


def test_micro_mean_of_stored_perplexities() -> None:
    stored = frame(row("t", "art", 4.0, 30), row("t", "law", 9.0, 10))
    lambada = stored.with_columns(metric=pl.lit("perplexity"))
    assert sn.roll_up(lambada, how="micro")["value"].item() == pytest.approx((4**3 * 9) ** 0.25, rel=1e-12)
    words = stored.with_columns(metric=pl.lit("word_perplexity"))
    with pytest.raises(
        sn.InsufficientDataError, match=r"denominator.*'subtask': 'art'.*give a column weight"
    ):
        sn.roll_up(words, how="micro")
    weighted = words.with_columns(weight=pl.Series([100.0, 300.0]))
    assert sn.roll_up(weighted, how="micro")["value"].item() == pytest.approx((4 * 9**3) ** 0.25, rel=1e-12)
    assert sn.roll_up(words)["value"].item() == 6.5


# --- what is missing


def two_checkpoints(value: float | None) -> pl.DataFrame:
    return pl.concat(
        [PARTS, PARTS.with_columns(step=pl.lit(2, pl.Int64), value=pl.col("value") / 2)]
    ).with_columns(
        value=pl.when((pl.col("step") == 2) & (pl.col("subtask") == "law")).then(value).otherwise("value")
    )


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_incomplete_checkpoints_are_left_out_and_counted(value: float | None) -> None:
    scores = two_checkpoints(value)
    with pytest.warns(sn.DroppedRowsWarning, match=r"1 of 2 checkpoints lack some subtasks.*'step': 2"):
        found = sn.roll_up(scores)
    assert found.filter(task="mmlu")["step"].to_list() == [1]
    assert found.filter(task="arc")["step"].to_list() == [1, 2]
    # Then the suite lacks a task there.
    with pytest.warns(sn.DroppedRowsWarning, match="1 of 2 checkpoints lack some tasks"):
        assert sn.roll_up(scores, to="suite")["step"].to_list() == [1]
    with pytest.raises(sn.InsufficientDataError, match="lack some subtasks"):
        sn.roll_up(scores, strict=True)


def test_a_checkpoint_without_any_score_is_incomplete_too() -> None:
    scores = two_checkpoints(0.1).with_columns(
        value=pl.when((pl.col("step") == 2) & (pl.col("task") == "mmlu")).then(None).otherwise("value")
    )
    with pytest.warns(sn.DroppedRowsWarning, match="1 of 2 checkpoints lack some subtasks"):
        assert sn.roll_up(scores).filter(task="mmlu")["step"].to_list() == [1]


def test_absent_parts_make_a_checkpoint_incomplete() -> None:
    scores = two_checkpoints(0.1).filter(~((pl.col("step") == 2) & (pl.col("subtask") == "law")))
    assert quiet(sn.roll_up, scores).filter(task="mmlu")["step"].to_list() == [1]


def test_micro_needs_the_number_of_instances() -> None:
    with pytest.raises(
        sn.InsufficientDataError, match=r"weights each subtask by its number of instances n, which"
    ):
        sn.roll_up(PARTS.drop("n"), how="micro")
    unknown = PARTS.with_columns(n=pl.when(pl.col("subtask") == "law").then(None).otherwise("n"))
    with pytest.raises(sn.InsufficientDataError, match="'subtask': 'law'"):
        sn.roll_up(unknown, how="micro")
    assert sn.roll_up(unknown).filter(task="mmlu")["n"].to_list() == [None]


def test_a_task_row_beside_its_subtasks_gives_way() -> None:
    beside = pl.concat([PARTS, frame(row("mmlu", None, 0.99, 40))])
    with pytest.warns(sn.DroppedRowsWarning, match="1 task rows beside their subtasks were left out"):
        found = sn.roll_up(beside)
    assert_frame_equal(found, sn.roll_up(PARTS))
    # Where the subtasks are incomplete the task's own row is all there is.
    kept = quiet(sn.roll_up, pl.concat([two_checkpoints(None), frame(row("mmlu", None, 0.9, step=2))]))
    assert kept.filter(task="mmlu").select("step", "value").rows() == [(1, pytest.approx(0.4)), (2, 0.9)]


def test_duplicates() -> None:
    with pytest.warns(sn.DroppedRowsWarning, match="1 exact duplicate rows were dropped"):
        assert_frame_equal(sn.roll_up(pl.concat([PARTS, PARTS.head(1)])), sn.roll_up(PARTS))
    conflicting = pl.concat([PARTS, frame(row("mmlu", "law", 0.4, 10))])
    with pytest.raises(sn.DuplicateKeyError, match=r"subtask=law.* has values 0\.2, 0\.4"):
        sn.roll_up(conflicting)
    for how, law in (("first", 0.2), ("last", 0.4), ("mean", 0.3)):
        found = quiet(sn.roll_up, conflicting, duplicates=how).filter(task="mmlu")
        assert found["value"].item() == pytest.approx((law + 0.6) / 2)


def test_two_values_of_one_part_do_not_stand_in_for_another() -> None:
    scores = two_checkpoints(0.1).filter(~((pl.col("step") == 2) & (pl.col("subtask") == "math")))
    scores = pl.concat([scores, frame(row("mmlu", "law", 0.4, 10, step=2))])
    with pytest.raises(sn.DuplicateKeyError):
        sn.roll_up(scores)
    assert quiet(sn.roll_up, scores, duplicates="mean").filter(task="mmlu")["step"].to_list() == [1]


@given(st.randoms(use_true_random=False))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_row_order_leaves_no_trace(random: Any) -> None:
    scores = two_checkpoints(0.1)
    order = list(range(scores.height))
    random.shuffle(order)
    for to in ("task", "suite"):
        assert_frame_equal(sn.roll_up(scores[order], to=to), sn.roll_up(scores, to=to), check_exact=True)


@pytest.mark.parametrize("wrong", [{"to": "subtask"}, {"how": "median"}])
def test_unknown_choices(wrong: dict[str, str]) -> None:
    with pytest.raises(sn.OptionError, match="must be one of"):
        sn.roll_up(PARTS, **wrong)


# --- groups=


def grouped(verb: Any, scores: pl.DataFrame, **kwargs: Any) -> pl.DataFrame:
    return verb(scores, groups={"know": ["arc", "boolq"]}, **kwargs)


def runs(**columns: Any) -> pl.DataFrame:
    """Two tasks to be merged and one beside them, three runs of four checkpoints."""
    rows = [
        row(task, None, 0.1 * k + 0.01 * step * (1 + i) + 0.02 * (step % 2), run=f"r{k}", step=step)
        for k in range(3)
        for step in range(1, 5)
        for i, task in enumerate(("arc", "boolq", "other"))
    ]
    return frame(*rows).drop("subtask", "n").with_columns(**columns)


def test_groups_are_the_mean_of_their_tasks_in_each_checkpoint() -> None:
    scores = runs()
    by_hand = (
        scores.filter(pl.col("task") != "other").group_by("run", "step", "metric").agg(pl.col("value").mean())
    ).with_columns(task=pl.lit("know"))
    by_hand = pl.concat([by_hand, scores.filter(task="other")], how="diagonal")
    assert_frame_equal(grouped(sn.snr, scores), sn.snr(by_hand), rel_tol=1e-12)
    assert_frame_equal(sn.snr(scores, groups={"know": "[ab]*"}), grouped(sn.snr, scores))


def test_incomplete_groups_are_left_out_and_counted() -> None:
    scores = runs().filter(~((pl.col("run") == "r0") & (pl.col("step") == 4) & (pl.col("task") == "arc")))
    with pytest.warns(sn.DroppedRowsWarning, match="know: 1 of 12 checkpoints lack some of the 2 tasks"):
        found = grouped(sn.noise, scores, per="run").filter(task="know")
    assert found["n_checkpoints"].to_list() == [3, 4, 4]


def test_a_metric_that_some_tasks_lack_is_announced() -> None:
    scores = pl.concat([runs(), runs().filter(task="arc").with_columns(metric=pl.lit("acc_norm"))])
    with pytest.warns(sn.DroppedRowsWarning, match="know: only 1 of 2 tasks have metric acc_norm"):
        grouped(sn.snr, scores)


def test_groups_by_the_tables_own_name_of_the_task() -> None:
    scores = runs().rename({"task": "benchmark"})
    found = grouped(sn.snr, scores, by=("benchmark", "metric"))
    assert found["benchmark"].to_list() == ["know", "other"]
    assert_frame_equal(found.rename({"benchmark": "task"}), grouped(sn.snr, runs()))


def test_groups_settle_duplicates() -> None:
    scores = runs()
    twice = pl.concat([scores, scores.head(1).with_columns(value=pl.lit(0.9))])
    with pytest.raises(sn.DuplicateKeyError, match="task=arc"):
        grouped(sn.snr, twice)
    assert_frame_equal(quiet(grouped, sn.snr, twice, duplicates="first"), grouped(sn.snr, scores))
    reported = quiet(grouped, sn.report, twice)
    assert dict(reported.select("task", "status").rows()) == {"know": "duplicate_key", "other": "ok"}


def test_groups_that_name_nothing() -> None:
    with pytest.raises(sn.SchemaError, match="'nope\\*' of 'x' matches none of the 3 tasks"):
        sn.snr(runs(), groups={"x": "nope*"})
    with pytest.raises(sn.SchemaError, match="names 'arcc', which is no task here; did you mean 'arc'"):
        sn.snr(runs(), groups={"x": ["arcc"]})


def test_groups_refuse_several_scores_of_one_task() -> None:
    parts = pl.concat([runs(subtask=pl.lit(part)) for part in ("x", "y")])
    with pytest.raises(sn.SchemaError, match="hold several scores of one task of 'know'"):
        grouped(sn.snr, parts)
