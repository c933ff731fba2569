"""The report: its columns are the verbs' numbers, and its sentences say which rows they are about."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import signoise as sn
from signoise._report import Report, make_report


def quiet(verb: Any, *args: Any, **kwargs: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        return verb(*args, **kwargs)


@pytest.fixture(scope="module")
def example() -> Report:
    return make_report(sn.example_scores())


def text(made: Report) -> str:
    return "\n".join(made.lines)


def told(made: Report) -> list[str]:
    return [str(warning) for warning in made.warnings]


# --- the example


def test_the_columns_are_the_verbs_numbers(example: Report) -> None:
    scores = sn.example_scores()
    columns = [
        "task",
        "metric",
        "n_runs",
        "n_checkpoints",
        "mean",
        "signal",
        "noise",
        "snr",
        "snr_low",
        "snr_high",
    ]
    columns += ["status", "flags", "signature"]
    table = example.table.sort("task")
    assert_frame_equal(table.select(columns), sn.snr(scores).select(columns), check_exact=True)
    decided = sn.decision_accuracy(
        scores, small="params = 150000000", target="params = 1000000000", match="recipe"
    )
    assert_frame_equal(
        table.select("task", "n_members", "decision_accuracy", low="decision_low", high="decision_high"),
        decided.select("task", "n_members", "decision_accuracy", "low", "high"),
        check_exact=True,
    )
    curves = sn.smoothness(scores).group_by("task").agg(pl.col("monotonicity_tau").sort().mean()).sort("task")
    assert table["monotonicity"].to_list() == curves["monotonicity_tau"].to_list()


def test_within_scale_is_the_median_over_sizes(example: Report) -> None:
    sized = sn.snr(sn.example_scores(), by=("task", "metric", "params"), across="recipe")
    median = sized.group_by("task").agg(pl.col("snr").median(), pl.col("snr").count().alias("n")).sort("task")
    table = example.table.sort("task")
    assert table["snr_within_scale"].to_list() == median["snr"].to_list()
    assert table["n_scales"].to_list() == median["n"].to_list()


def test_sorted_by_snr_with_the_undefined_last(example: Report) -> None:
    ratios = example.table["snr"].to_list()
    defined = [value for value in ratios if value is not None]
    assert defined == sorted(defined, reverse=True)
    assert ratios[: len(defined)] == defined
    assert example.table["status"].to_list()[len(defined) :] == ["constant"]


def test_the_sentences_say_which_population(example: Report) -> None:
    said = text(example)
    assert example.lines[0] == example.headline
    assert example.headline.startswith("Of 6 benchmarks, 5 have a signal-to-noise ratio from ")
    assert "1 has none (1 constant)" in example.headline
    assert "all 12 runs of 2 sizes from 150M to 1B parameters together" in said
    assert "snr_within_scale: can I choose a recipe at a given size?" in said
    assert "among the 6 recipes of equal params" in said
    assert "does the order of the recipes at 150M hold at 1B?" in said
    assert "864 scores went into 6 rows" in said
    assert example.warnings == []


def test_window_and_level_reach_the_verbs() -> None:
    scores = sn.example_scores()
    made = make_report(scores, window=3, confidence_level=0.8)
    expected = sn.snr(scores, window=3, confidence_level=0.8)
    assert_frame_equal(
        made.table.sort("task").select("task", "snr", "snr_low"), expected.select("task", "snr", "snr_low")
    )
    assert "over their last 3 checkpoints" in text(made)


def test_row_order_leaves_no_trace(example: Report) -> None:
    shuffled = sn.example_scores().sample(fraction=1.0, shuffle=True, seed=5)
    assert_frame_equal(sn.report(shuffled, threads=2), example.table, check_exact=True)


def test_progress_hears_every_part() -> None:
    heard: list[str] = []
    make_report(sn.example_scores(), progress=heard.append)
    assert heard[0] == "reading"
    assert len(heard) == 6


# --- sides of the decision


def sides(scores: pl.DataFrame, **options: Any) -> str:
    made = quiet(make_report, scores, **options)
    return next(line for line in made.populations if line.startswith("decision_accuracy"))


def test_the_target_is_the_largest_size_and_small_at_most_a_quarter() -> None:
    scores, _ = sn.simulate(tasks=1, recipes=4, params=(1e7, 1e8, 2e8, 5e8, 1e9), checkpoints=3)
    assert "at 200M hold at 1B" in sides(scores)
    near = scores.filter(pl.col("params") >= 400_000_000)
    assert "at 500M hold at 1B" in sides(near)


def test_a_largest_size_of_other_recipes_is_passed_over() -> None:
    scores, _ = sn.simulate(tasks=1, recipes=4, params=(1e8, 1e9), checkpoints=3)
    alone = scores.head(3).with_columns(
        params=pl.lit(9_000_000_000, pl.Int64), run=pl.lit("x"), recipe=pl.lit("x")
    )
    assert "at 100M hold at 1B" in sides(pl.concat([scores, alone]))


def test_one_size_is_judged_by_stages_of_training() -> None:
    scores, _ = sn.simulate(tasks=2, recipes=4, params=(1e9,), checkpoints=10)
    line = sides(scores)
    half = scores["tokens"].max() / 2  # type: ignore[operator]
    assert f"after the first half of training (tokens <= {half:.4g}) hold at the end" in line
    table = sn.report(scores).sort("task")
    expected = sn.decision_accuracy(
        scores, small=f"tokens <= {half!r}", target=f"tokens > {half!r}", match="run"
    )
    assert table["decision_accuracy"].to_list() == expected["decision_accuracy"].to_list()
    assert "step <= " in sides(scores.drop("tokens"))


def test_given_sides() -> None:
    scores = sn.example_scores()
    options = {"small": "params = 150000000 AND step <= 6000", "target": "params = 1000000000"}
    assert f"small = {options['small']}, target = {options['target']}" in sides(scores, **options)
    found = sn.report(scores, **options).sort("task")
    expected = sn.decision_accuracy(scores, **options)
    assert found["decision_accuracy"].to_list() == expected["decision_accuracy"].to_list()
    for one, side in options.items():
        with pytest.raises(sn.OptionError, match="give both, or neither"):
            sn.report(scores, **{one: side})


def test_released_models_without_steps() -> None:
    released = pl.DataFrame(
        {
            "model": ["a", "b", "c"],
            "benchmark": ["arc"] * 3,
            "metric": ["acc"] * 3,
            "score": [0.4, 0.5, 0.6],
            "size": ["1B", "7B", "70B"],
        }
    )
    made = make_report(released)
    row = made.table.row(0, named=True)
    assert (row["status"], row["snr"], row["signal"]) == ("too_few", None, pytest.approx(0.4))
    assert "decision_accuracy: needs two sizes that share recipes, or two stages of training" in text(made)
    assert "no two runs have equal params" in text(made)
    assert "1 has none (1 too_few)" in made.headline
    with pytest.raises(sn.InsufficientDataError, match="too_few"):
        make_report(released, strict=True)


# --- difficult tables


def unknown_metric() -> pl.DataFrame:
    scores = sn.example_scores()
    vibes = scores.filter(task="sim_arc").with_columns(task=pl.lit("sim_vibes"), metric=pl.lit("vibes"))
    return pl.concat([scores, vibes])


def test_metrics_without_direction_are_described_but_not_ranked() -> None:
    made = make_report(unknown_metric())
    rows = {row["task"]: row for row in made.table.iter_rows(named=True)}
    assert rows["sim_vibes"]["snr"] == rows["sim_arc"]["snr"]
    assert rows["sim_vibes"]["decision_accuracy"] is None
    assert rows["sim_vibes"]["monotonicity"] is None
    assert "no direction is known for vibes" in text(made)
    declared = make_report(unknown_metric(), direction={"vibes": "higher"})
    rows = {row["task"]: row for row in declared.table.iter_rows(named=True)}
    assert rows["sim_vibes"]["decision_accuracy"] == rows["sim_arc"]["decision_accuracy"]
    assert "no direction is known" not in text(declared)


def test_nothing_but_unknown_metrics() -> None:
    made = make_report(unknown_metric().filter(metric="vibes"))
    assert made.table["snr"].null_count() == 0
    assert "decision_accuracy" not in made.table.columns


def test_instances_alone() -> None:
    instances, _ = sn.simulate(tasks=2, recipes=5, checkpoints=6, instances=40)
    results = sn.roll_up(instances).drop("rolled_up")
    assert_frame_equal(sn.report(instances), sn.report(results), check_exact=True)


def test_conflicting_duplicates_have_their_status() -> None:
    scores = sn.example_scores()
    last = scores.filter(task="sim_copa").tail(1)
    twice = pl.concat([scores, last.with_columns(value=pl.lit(0.123))])
    with pytest.warns(sn.SignoiseWarning, match=r"1 keys carry different values: .*task=sim_copa.*0\.123"):
        found = sn.report(twice)
    row = found.filter(task="sim_copa").row(0, named=True)
    assert row["status"] == "duplicate_key"
    assert [row[c] for c in ("signal", "noise", "snr", "decision_accuracy")] == [None] * 4
    others = pl.col("task") != "sim_copa"
    expected = sn.report(scores).filter(others)
    # The share of a conflicting group in the autocorrelation of its metric is gone with it.
    pooled = ("snr_low", "snr_high", "flags")
    assert_frame_equal(found.filter(others).drop(pooled), expected.drop(pooled), check_exact=True)
    alone = sn.report(scores.filter(others))
    assert_frame_equal(found.filter(others).select("snr_low"), alone.select("snr_low"), check_exact=True)
    with pytest.raises(sn.InsufficientDataError, match="duplicate_key"):
        quiet(sn.report, twice, where="task != 'sim_boolq'", strict=True)


def test_conflicting_instances_have_their_status() -> None:
    instances, _ = sn.simulate(tasks=2, recipes=4, checkpoints=5, instances=20)
    last = instances.tail(1)
    twice = pl.concat([instances, last.with_columns(value=1.0 - pl.col("value"))])
    made = make_report(twice)
    assert dict(made.table.select("task", "status").rows()) == {"task-00": "ok", "task-01": "duplicate_key"}
    assert any("instance_id=" in line for line in told(made))
    assert_frame_equal(
        made.table.filter(task="task-00").drop("snr_low", "snr_high", "flags"),
        sn.report(instances).filter(task="task-00").drop("snr_low", "snr_high", "flags"),
    )


def test_exact_duplicates_change_nothing_but_a_sentence(example: Report) -> None:
    scores = sn.example_scores()
    made = make_report(pl.concat([scores, scores.head(7)]))
    assert_frame_equal(made.table, example.table, check_exact=True)
    assert [line for line in told(made) if "exact duplicate" in line] == [
        "7 exact duplicate rows were dropped"
    ]


def test_what_loading_settled_is_told() -> None:
    instances, _ = sn.simulate(tasks=2, recipes=4, checkpoints=5, instances=20)
    results = sn.roll_up(instances).drop("rolled_up")
    holes = instances.with_columns(
        value=pl.when((pl.int_range(pl.len()) % 97) == 0).then(None).otherwise("value")
    )
    made = make_report(pl.concat([holes, results.head(3)], how="diagonal"))
    said = text(made)
    assert "instance rows have no score and were left out" in said
    assert "3 scores come as result and as instances: the result row was taken" in said
    assert all(isinstance(warning, sn.DroppedRowsWarning) for warning in made.warnings)
    incomplete = sn.example_scores().filter(~((pl.col("task") == "sim_arc") & (pl.col("step") == 1000)))
    grouped = make_report(incomplete, groups={"pair": ["sim_arc", "sim_copa"]})
    assert "pair: 12 of 144 checkpoints lack some of the 2 tasks" in text(grouped)


def test_warnings_come_once() -> None:
    scores = pl.concat(
        sn.example_scores().with_columns(config=pl.lit(f"shots={k}"), value=pl.col("value") * (1 - 0.1 * k))
        for k in range(2)
    )
    made = make_report(scores)
    assert len(told(made)) == len(set(told(made)))
    assert len([line for line in told(made) if "config joined the key" in line]) == 1
    assert made.table.columns[:3] == ["task", "metric", "config"] or "config" in made.table.columns
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sn.report(scores)
    assert [str(w.message) for w in caught] == told(made)
    assert all(issubclass(w.category, sn.SignoiseWarning) and w.filename == __file__ for w in caught)


def test_empty_after_where() -> None:
    with pytest.raises(sn.SchemaError, match="no rows are left after where=task = 'nope'"):
        sn.report(sn.example_scores(), where="task = 'nope'")


# --- real results


@pytest.fixture(scope="module")
def parquet(shared: Path) -> Path:
    return shared / "data" / "pythia_evals.parquet"


@pytest.fixture(scope="module")
def raw(shared: Path) -> Path:
    return shared / "data" / "pythia_raw"


def test_a_bare_path(parquet: Path) -> None:
    made = make_report(parquet)
    assert "read 132074 rows" in text(made)
    assert "read 1 table file" in text(made)
    assert made.table.height == made.table.select("task", "metric", "config").n_unique()
    frame = pl.read_parquet(parquet)
    expected = quiet(sn.snr, frame, by=("task", "metric", "config"))
    shown = ["task", "metric", "config", "n_runs", "mean", "signal", "noise", "snr", "status"]
    assert_frame_equal(made.table.select(shown).sort(shown[:3]), expected.select(shown).sort(shown[:3]))
    assert {"snr_within_scale", "decision_accuracy", "monotonicity"} <= set(made.table.columns)


def test_scanned_raw_results_equal_the_parquet(raw: Path, parquet: Path) -> None:
    key = ["source", "task", "metric"]
    scanned = sn.scan_scores(raw).collect()
    table = sn.scan_scores(parquet).collect().with_columns(pl.col("source").str.strip_prefix("evals/"))
    assert scanned.select(key).n_unique() == scanned.height == 5548
    joined = scanned.join(table, on=key, how="inner", suffix="_table")
    assert joined.height == scanned.height
    for column in ("value", "stderr", "step", "run"):
        assert joined[column].equals(joined[f"{column}_table"].alias(column), null_equal=True), column


def test_report_on_raw_results_equals_the_table(raw: Path, parquet: Path) -> None:
    scanned = sn.scan_scores(raw).collect()
    table = sn.scan_scores(parquet).collect().with_columns(pl.col("source").str.strip_prefix("evals/"))
    table = table.filter(pl.col("source").is_in(scanned["source"].unique().implode()))
    assert table.height == scanned.height
    # One number a checkpoint whatever else the table knows: runs, steps and settings as the files tell them.
    settings = scanned.select("source", "config", "run").unique()
    same = (
        table.drop("config", "run")
        .join(settings, on="source")
        .with_columns(pl.lit(None, pl.Float64).alias("tokens"))
    )
    by = ("task", "metric", "config")
    from_raw = quiet(make_report, raw)
    expected = quiet(sn.snr, same, by=by)
    shown = [*by, "n_runs", "n_checkpoints", "mean", "signal", "noise", "snr", "status"]
    assert from_raw.table.height > 300
    assert_frame_equal(
        from_raw.table.select(shown).sort(by, nulls_last=True),
        expected.select(shown).sort(by, nulls_last=True),
    )
    assert "read 37 lm-eval results files" in text(from_raw)
    assert "read 5548 rows" in text(from_raw)


def test_percent_under_the_name_of_a_fraction_is_told() -> None:
    frame = pl.DataFrame(
        {"run": ["a", "a", "b", "b"], "step": [1, 2, 1, 2], "task": "t", "acc": [50.0, 60.0, 70.0, 90.0]}
    )
    assert any(
        "acc: 1 mean scores lie outside 0 to 1 (one is 67.5)" in line for line in make_report(frame).lines
    )
    fractions = make_report(frame.with_columns(pl.col("acc") / 100)).lines
    assert not any("lie outside" in line for line in fractions)
