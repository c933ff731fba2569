"""`advise`: planted faults are found, nothing else is; families of tests, rank, cost, sentences, undefined, errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from polars.testing import assert_frame_equal
from scipy import stats
from statsmodels.stats.multitest import multipletests

import signoise as sn
from signoise._cli import main
from signoise._interventions._separation import separation
from signoise._interventions._smoothed import open_study

ONE = "params = 1000000000"


def planted(**kwargs: Any) -> pl.DataFrame:
    options = {"tasks": ["t"], "recipes": 16, "signal": 0.03, "step_noise": 0.004, "checkpoints": 12}
    return sn.simulate(**(options | kwargs))[0]  # type: ignore[arg-type]


def row_of(table: pl.DataFrame, **labels: Any) -> dict[str, Any]:
    found = table.filter(**labels)
    assert found.height == 1, found
    return found.row(0, named=True)


# --- what is planted is found


def test_benchmarks_of_use_and_of_none() -> None:
    scores = planted(tasks=["good", "luck"], recipes=24, signal=[0.05, 0.0])
    table = sn.advise(scores)
    assert table.select("rank", "task", "action").rows()[0] == (1, "luck", "do_not_use")
    keep = row_of(table, action="keep")
    decided = sn.decision_accuracy(
        scores.filter(task="good"), small="params = 150000000", target=ONE, match="recipe"
    ).row(0, named=True)
    assert (keep["effect"], keep["low"], keep["high"]) == tuple(
        decided[name] for name in ("decision_accuracy", "low", "high")
    )
    assert keep["measure"] == "decision_accuracy"
    # The level at which the interval begins to hold one half is the p-value.
    touching = sn.decision_accuracy(
        scores.filter(task="good"),
        small="params = 150000000",
        target=ONE,
        match="recipe",
        confidence_level=1 - keep["p_value"],
    )
    assert touching["low"][0] == pytest.approx(0.5, abs=1e-6)
    assert "do not use it at this scale" in table["advice"][0]
    assert f"{100 * keep['effect']:.0f} %" in keep["advice"]


def test_another_metric() -> None:
    sharp = planted(metric="bits_per_byte", step_noise=0.002)
    blunt = planted(metric="acc", step_noise=0.03, rng_seed=1)
    table = sn.advise(pl.concat([sharp, blunt]), where=ONE)
    row = row_of(table, action="switch_metric")
    chosen = sn.choose_metric(pl.concat([sharp, blunt]), where=ONE, match="run").row(0, named=True)
    assert (row["metric"], row["choice"], row["cost"]) == ("acc", "bits_per_byte", 0.0)
    assert (row["effect"], row["p_value"]) == pytest.approx((chosen["gain"], chosen["p_value"]))
    assert row["evidence"] == chosen["signature"].replace("|match", "|primary:t=acc|match")
    assert "decide by bits_per_byte instead of acc" in row["advice"]
    assert f"SNR times {np.exp(row['effect']):.2f}" in row["advice"]


def test_fewer_subtasks() -> None:
    names = [f"s{i}" for i in range(8)]
    scores = planted(
        tasks=names,
        params=1e9,
        recipes=24,
        signal=[0.06] * 3 + [0.004] * 5,
        step_noise=[0.003] * 3 + [0.05] * 5,
    )
    rows = scores.with_columns(subtask=pl.col("task"), task=pl.lit("mmlu"))
    table = sn.advise(rows)
    row = row_of(table, action="filter_subtasks")
    assert set(row["choice"].split(", ")) <= {"s0", "s1", "s2"}
    kept = len(row["choice"].split(", "))
    assert row["cost"] == pytest.approx(-(1 - kept / 8))
    assert 0 < row["effect"] <= row["effect_in_sample"] + 0.5
    # Named as groups they are subtasks as well.
    grouped = sn.advise(scores, groups={"mmlu": "s*"})
    assert row_of(grouped, action="filter_subtasks")["choice"] == row["choice"]
    # As tasks some of them are dropped from the suite's average.
    dropped = row_of(sn.advise(scores), action="drop")
    assert dropped["task"] == "suite"
    assert set(dropped["choice"].split(", ")) == set(names) - set(row["choice"].split(", "))
    assert dropped["cost"] == pytest.approx(-(8 - kept) / 8)


def test_averages_of_checkpoints() -> None:
    scores = planted(params=1e9, step_noise=0.03, checkpoints=30)
    row = row_of(sn.advise(scores), action="average_checkpoints")
    chosen = sn.choose_window(scores).row(0, named=True)
    assert int(row["choice"]) == chosen["window"] > 1
    assert (row["effect"], row["low"], row["high"]) == tuple(
        chosen[n] for n in ("gain", "gain_low", "gain_high")
    )
    assert row["cost"] == pytest.approx(chosen["window"] - 1)


def test_seeds() -> None:
    noisy = planted(params=(1e8, 1e9), seeds=4, seed_noise=0.02, step_noise=0.003)
    sides = {"small": "params = 100000000", "target": ONE, "match": "recipe"}
    row = row_of(sn.advise(noisy, **sides), action="add_seeds")
    parts = sn.variance(noisy.filter(params=100_000_000), across="recipe").row(0, named=True)
    step = parts["variance_step"]
    assert row["effect"] == pytest.approx(parts["variance_seed"] / (parts["variance_seed"] + step))
    assert row["low"] == pytest.approx(parts["variance_seed_low"] / (parts["variance_seed_low"] + step))
    calm = planted(params=(1e8, 1e9), seeds=4, step_noise=0.003)
    asked = row_of(sn.advise(calm, **sides, per="question"), action="add_seeds")
    assert (asked["rank"], asked["advice"]) == (None, None)
    assert asked["low"] == 0.0


def test_numbers_of_instances() -> None:
    options: dict[str, Any] = {"params": (1e8, 1e9), "checkpoints": 3, "recipes": 12, "instances": 400}
    sides = {"small": "params = 100000000", "target": ONE}
    rich = sn.advise(planted(signal=0.08, item_noise=0.01, prediction_noise=0.02, **options), **sides)
    row = row_of(rich, action="fewer_instances")
    assert int(row["choice"]) < 400
    assert row["cost"] == pytest.approx(-(1 - int(row["choice"]) / 400))
    poor = planted(signal=0.02, item_noise=0.05, prediction_noise=0.6, **options)
    table = sn.advise(poor, **sides, per="question")
    asked = row_of(table, action="add_instances")
    sizes = sn.sample_size(poor, **sides, score="final")
    half = sizes.sort((pl.col("size") - 200).abs()).row(0, named=True)
    assert asked["effect"] == pytest.approx(1 - half["kept"])
    assert asked["choice"] == "800"
    without = sn.advise(poor, **sides, per="question", instances=False)
    assert not set(without["action"]) & {"add_instances", "fewer_instances"}


# --- one scale: how often a checkpoint orders two members


def test_separation_is_an_f_test() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(0.5, 0.03, 5)[:, None] + rng.normal(0, 0.02, (5, 4))
    frame = pl.DataFrame(
        [
            {"run": f"r{i}", "step": j, "task": "t", "metric": "acc", "value": float(values[i, j])}
            for i in range(5)
            for j in range(4)
        ]
    )
    options = dict.fromkeys(("small", "target", "match", "where", "groups", "columns", "threads"))
    study = open_study(
        frame,
        across="run",
        by=("task", "metric"),
        order="tokens",
        duplicates="raise",
        strict=False,
        **options,
    )
    found = separation(study, 4, 0.95, None, 0.0)
    noise = values.var(axis=1, ddof=1).mean()
    ratio = values.mean(axis=1).var(ddof=1) / (noise / 4)

    def accuracy(f: float) -> float:
        true = max(f - 1, 0) / 4
        return 0.5 + np.arcsin(np.sqrt(true / (true + 1))) / np.pi

    assert found.accuracy[0] == pytest.approx(accuracy(ratio), abs=1e-9)
    assert found.low[0] == pytest.approx(accuracy(ratio / stats.f.ppf(0.975, 4, 15)), abs=1e-7)
    assert found.high[0] == pytest.approx(accuracy(ratio / stats.f.ppf(0.025, 4, 15)), abs=1e-7)
    spread = np.ptp(values.mean(axis=1)) / np.sqrt(noise / 4)
    assert found.p_value[0] == pytest.approx(stats.studentized_range.sf(spread, 5, 15), abs=1e-7)


# --- nothing where there is nothing


@pytest.mark.slow
def test_nothing_is_advised_where_the_interval_includes_no_effect() -> None:
    for seed in range(6):
        tasks = [f"t{i}" for i in range(5)]
        one = planted(tasks=tasks, recipes=8, signal=0.006, checkpoints=14, rng_seed=seed)
        two = planted(tasks=tasks, recipes=8, signal=0.006, checkpoints=14, rng_seed=100 + seed, metric="f1")
        table = sn.advise(pl.concat([one, two]), per="question")
        advised = table.filter(pl.col("rank").is_not_null())
        assert table["advice"].is_null().equals(table["rank"].is_null())
        assert advised["rank"].to_list() == list(range(1, advised.height + 1))
        tested = advised.filter(pl.col("family").is_not_null())
        assert (tested["p_adjusted"] <= 0.05).all()
        no_effect = pl.when(action="keep").then(0.5).otherwise(0.0)
        assert tested.select((pl.col("low") > no_effect).all()).item()
        refused = advised.filter(action="do_not_use")
        assert refused.select(((pl.col("low") <= 0.5) & (pl.col("high") < 0.8)).all()).item()
        for _, family in table.filter(pl.col("family").is_not_null()).group_by("family"):
            p = family.filter(pl.col("p_value").is_not_null())
            expected = multipletests(p["p_value"].to_numpy(), method="holm")[1]
            np.testing.assert_allclose(p["p_adjusted"].to_numpy(), expected, rtol=1e-12)


def test_row_order_threads_and_form_leave_no_trace(tmp_path: Path) -> None:
    scores = planted(tasks=["a", "b", "c", "d"], recipes=8, params=(1e8, 1e9), checkpoints=12, instances=40)
    expected = sn.advise(scores, per="question")
    shuffled = scores.sample(fraction=1.0, shuffle=True, seed=1)
    assert_frame_equal(sn.advise(shuffled, per="question", threads=1), expected, check_exact=True)
    sn.ingest(scores, tmp_path / "store", dtype="float64")
    stored = sn.advise(tmp_path / "store", per="question")
    numbers = ("effect", "low", "high", "effect_in_sample", "p_value", "p_adjusted", "cost")
    assert_frame_equal(stored, expected, rel_tol=1e-9)
    assert stored.select(pl.col(numbers).null_count()).equals(expected.select(pl.col(numbers).null_count()))


def test_scores_that_say_little() -> None:
    scores = planted(recipes=3, checkpoints=2)
    table = sn.advise(scores, per="question")
    assert set(table["action"]) == {"keep", "average_checkpoints"}
    assert table["rank"].null_count() == table.height
    assert sn.advise(scores).height == 0
    one = sn.advise(scores.filter(recipe="recipe-00", params=10**9), per="question")
    assert row_of(one, action="keep")["status"] == "too_few"
    with pytest.raises(sn.InsufficientDataError):
        sn.advise(scores, strict=True)


def test_misuse_is_said() -> None:
    scores = planted()
    with pytest.raises(sn.OptionError, match="go together"):
        sn.advise(scores, small=ONE)
    with pytest.raises(sn.OptionError, match="match joins small and target"):
        sn.advise(scores, match="run")
    with pytest.raises(sn.OptionError, match="useful must be an accuracy"):
        sn.advise(scores, useful=0.5)
    with pytest.raises(sn.OptionError, match="per must be one of"):
        sn.advise(scores, per="task")  # type: ignore[arg-type]
    unknown = scores.with_columns(metric=pl.lit("vibes"))
    with pytest.raises(sn.UnknownMetricError, match=r'direction=\{"vibes": "higher"\}'):
        sn.advise(unknown)
    directed = sn.advise(unknown, direction={"vibes": "higher"}, per="question")
    assert directed.filter(action="keep")["metric"].to_list() == ["vibes"]
    both = pl.concat([unknown, unknown.with_columns(metric=pl.lit("aura"))])
    with pytest.raises(sn.OptionError, match="which metric counts is not known"):
        sn.advise(both, direction={"vibes": "higher", "aura": "higher"})


# --- the command line


def test_command(tmp_path: Path) -> None:
    scores = tmp_path / "scores.parquet"
    planted(tasks=["good", "luck"], recipes=24, signal=[0.05, 0.0]).write_parquet(scores)
    ran = CliRunner().invoke(main, ["advise", str(scores), "--per", "question", "--json"])
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout) == json.loads(sn.advise(scores, per="question").write_json())
    shown = CliRunner().invoke(main, ["advise", str(scores)]).stdout
    assert shown.startswith("Of 2 benchmarks, 1 orders members better than a coin, 1 should not be used")
    assert "1. luck: do not use it at this scale." in shown
    assert "Keep 1 task, the surest first: good." in shown
    assert shown.count("do not use it at this scale") == 1
    assert "evidence" not in shown
