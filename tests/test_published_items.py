"""Reference values computed from published scores of single instances, through the public verbs."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import signoise as sn

#: Oracle values are printed with 12 significant digits.
RELATIVE = 1e-9


# --- sampling seeds of five models ----------------------------------------------------------------


@pytest.fixture(scope="module")
def enem(shared: Path) -> pl.DataFrame:
    """180 items of each language and subject, 30 sampling seeds of each model; the k-th seed of an exam is run k."""
    frame = pl.read_parquet(shared / "data" / "enem_seeds.parquet").filter(pl.col("condition") == "default")
    exams = ["language", "subject", "model", "exam"]
    frame = frame.sort(*exams, "seed").with_columns(seed=pl.int_range(pl.len()).over(exams))
    rows = frame.select(
        "seed",
        "exam",
        recipe="model",
        run=pl.format("{}-{}", "model", "seed"),
        task=pl.format("{}|{}", "language", "subject"),
        metric=pl.lit("acc"),
        value=pl.col("pattern").str.split(""),
        place=pl.int_ranges(0, pl.col("pattern").str.len_chars()),
    ).explode("value", "place")
    return rows.with_columns(
        pl.col("value").cast(pl.Float64),
        instance_id=pl.format("{}-{}", "exam", pl.col("place").cast(pl.String).str.zfill(2)),
    ).drop("exam", "place")


def test_seeds_of_every_model(oracle: Any, enem: pl.DataFrame) -> None:
    table = sn.seed_variance(enem)
    population = sn.seed_variance(enem, ddof=0)
    for task, expected in oracle("enem_seed_variance").items():
        rows, other = (found.filter(task=task).sort("recipe") for found in (table, population))
        assert rows["recipe"].to_list() == expected["models"]
        assert rows["n_seeds"].unique().to_list() == [expected["n_replicates"]]
        np.testing.assert_allclose(rows["mean"], expected["mean"], rtol=RELATIVE)
        np.testing.assert_allclose(rows["sd"], expected["seed_sd_ddof1"], rtol=RELATIVE)
        np.testing.assert_allclose(other["sd"], expected["seed_sd_ddof0"], rtol=RELATIVE)
        np.testing.assert_allclose(1 / other["snr_mean_over_std"], expected["rel_seed_sd"], rtol=RELATIVE)
        np.testing.assert_allclose(rows["range"], expected["seed_range"], rtol=RELATIVE)
        # the binomial error divides by n, ours by n - 1
        n = expected["n_items"]
        binomial = rows["stderr_items"] * np.sqrt((n - 1) / n)
        np.testing.assert_allclose(binomial, expected["mean_binomial_se"], rtol=RELATIVE)


def test_items_of_every_model(oracle: Any, enem: pl.DataFrame) -> None:
    table = sn.item_statistics(enem, by=("task", "metric", "recipe"))
    for task, expected in oracle("enem_seed_variance").items():
        for at, model in enumerate(expected["models"]):
            rows = table.filter(task=task, recipe=model)
            between, within = rows["difficulty"].var(), rows["variance"].mean()
            assert rows.height == expected["n_items"]
            assert between == pytest.approx(expected["item_mean_variance"][at], rel=RELATIVE)
            assert within == pytest.approx(expected["mean_within_item_variance"][at], rel=RELATIVE)
            independent = np.sqrt(rows["variance"].sum()) / rows.height
            assert independent == pytest.approx(
                expected["expected_seed_sd_if_items_independent"][at], rel=RELATIVE
            )


def test_signal_of_models_over_the_noise_of_seeds(oracle: Any, enem: pl.DataFrame) -> None:
    # A model is a run here, and its seeds stand where checkpoints do.
    seeds = enem.with_columns(run=pl.col("recipe"), step=pl.col("seed")).drop("recipe", "seed")
    table = sn.snr(seeds, window=30, noise="mean_sd", ddof=0)
    means = sn.aggregate(seeds, by=("run", "step", "task", "metric")).select(
        "run", "step", "task", "metric", value="mean"
    )
    decisions = [
        sn.decision_accuracy(
            means,
            small=f"step = {k}",
            target="step >= 0",
            match="run",
            score="mean",
            window=30,
            ties="compat",
        ).sort("task")["decision_accuracy"]
        for k in range(30)
    ]
    tasks = sorted(means["task"].unique())
    for task, expected in oracle("enem_seed_variance").items():
        row = table.row(by_predicate=pl.col("task") == task, named=True)
        assert row["signal"] == pytest.approx(expected["signal_rel_dispersion"], rel=RELATIVE)
        assert row["noise"] == pytest.approx(expected["noise_mean_sd_over_mean"], rel=RELATIVE)
        assert row["snr"] == pytest.approx(expected["snr"], rel=RELATIVE)
        accuracy = np.mean([found[tasks.index(task)] for found in decisions])
        assert accuracy == pytest.approx(expected["single_seed_decision_accuracy"], rel=RELATIVE)


# --- published scores of single programming problems ----------------------------------------------


@pytest.fixture(scope="module")
def problems(shared: Path) -> pl.DataFrame:
    frame = pl.read_parquet(shared / "data" / "livecodebench_items.parquet")
    part = pl.col("sample_id").fill_null("-")
    again = pl.int_range(pl.len()).over("scenario", "model", "question_id", "sample_id")
    return frame.select(
        run="model",
        task="scenario",
        metric=pl.lit("pass@1"),
        instance_id=pl.format("{}|{}|{}", "question_id", part, again),
        value=pl.col("pass1_percent") / 100,
    )


def shared_items(frame: pl.DataFrame) -> pl.DataFrame:
    """Items that every model of the scenario has."""
    models = pl.col("run").n_unique()
    return frame.filter(models.over("task", "instance_id") == models.over("task"))


def test_means_and_pairs_of_models(oracle: Any, problems: pl.DataFrame) -> None:
    means = sn.aggregate(problems, by=("run", "task", "metric"))
    common = shared_items(problems)
    averages = sn.aggregate(common, by=("run", "task", "metric"))
    signals = sn.signal(averages.select("run", "task", "metric", value="mean"), window=1)
    for task, expected in oracle("livecodebench_items").items():
        rows = means.filter(task=task).sort("run")
        assert rows["run"].to_list() == expected["models"]
        assert rows["n"].to_list() == expected["n_items"]
        np.testing.assert_allclose(rows["mean"], expected["mean_all_items"], rtol=RELATIVE)
        own = averages.filter(task=task).sort("run")
        np.testing.assert_allclose(own["mean"], expected["mean_common"], rtol=RELATIVE)
        stderr = (own["variance"] / own["n"]).sqrt()
        np.testing.assert_allclose(stderr, expected["se_common"], rtol=RELATIVE, atol=1e-18)
        signal = signals.row(by_predicate=pl.col("task") == task, named=True)["signal"]
        assert signal == pytest.approx(expected["rel_dispersion"], rel=RELATIVE)
    for task in ("generation-2024-02-26", "repair"):
        expected = oracle("livecodebench_items")[task]
        pairs = sn.compare(common.filter(task=task), test="t", adjust="none")
        assert pairs.height == len(list(combinations(expected["models"], 2)))
        assert pairs["stderr"].mean() == pytest.approx(expected["mean_paired_se"], rel=RELATIVE)
        assert pairs["stderr"].max() == pytest.approx(expected["max_paired_se"], rel=RELATIVE)
        correlation = pairs["correlation"].mean()
        assert correlation == pytest.approx(expected["mean_pairwise_item_correlation"], rel=RELATIVE)


def test_one_half_of_the_items_decides_for_the_other(oracle: Any, problems: pl.DataFrame) -> None:
    # In percent the sums are exact, so that two models that tie in one half do.
    common = shared_items(problems).with_columns(
        value=(pl.col("value") * 100).round(1),
        rank=pl.col("instance_id").rank("dense").over("task").cast(pl.Int64),
    )
    half = pl.col("rank").max().over("task") // 2
    halves = common.with_columns(
        config=pl.when(pl.col("rank") <= half).then(pl.lit("first")).otherwise(pl.lit("second"))
    )
    scores = sn.aggregate(halves, by=("run", "task", "metric", "config"))
    table = sn.decision_accuracy(
        scores.select("run", "task", "metric", "config", value="mean"),
        small="config = 'first'",
        target="config = 'second'",
        ties="compat",
    )
    found = dict(table.select("task", "decision_accuracy").iter_rows())
    for task, expected in oracle("livecodebench_items").items():
        accuracy = expected["first_half_to_second_half_decision_accuracy"]
        assert found[task] == pytest.approx(accuracy, rel=RELATIVE), task


# --- losses of single items at many checkpoints ---------------------------------------------------


@pytest.fixture(scope="module")
def gemstones(shared: Path) -> tuple[dict[str, Any], pl.DataFrame]:
    expected = json.loads((shared / "oracles" / "gemstones_openbookqa_items.json").read_text())
    frame = pl.read_parquet(shared / "data" / "gemstones_item_losses_openbookqa.parquet")
    rows = frame.select(
        "step",
        "task",
        run="model",
        metric=pl.lit("loss"),
        instance_id=pl.col("item").cast(pl.String),
        value=pl.col("loss").cast(pl.Float64),
    )
    return expected, rows


def test_learning_curves_of_losses(gemstones: tuple[dict[str, Any], pl.DataFrame]) -> None:
    expected, rows = gemstones
    means = sn.aggregate(rows, by=("run", "step", "task", "metric"))
    curves = means.sort("run", "step").group_by("run", maintain_order=True).agg("mean")
    np.testing.assert_allclose(curves["mean"].to_list(), expected["mean_loss"], rtol=RELATIVE)
    scores = means.select("run", "step", "task", "metric", value="mean")
    noise = sn.noise(scores, per="run", ddof=0, window=5).sort("run")
    np.testing.assert_allclose(noise["noise"], expected["rel_noise_last5"], rtol=RELATIVE)
    signal = sn.signal(scores, score="final")["signal"].item()
    assert signal == pytest.approx(expected["rel_dispersion_final"], rel=RELATIVE)
    assert signal / noise["noise"].mean() == pytest.approx(expected["snr_mean_noise"], rel=RELATIVE)
    smooth = sn.smoothness(scores).sort("run")
    np.testing.assert_allclose(
        smooth["monotonicity_sign"], expected["monotonicity_sign"], rtol=RELATIVE, atol=1e-12
    )
    np.testing.assert_allclose(
        smooth["monotonicity_tau"], expected["monotonicity_kendall"], rtol=RELATIVE, atol=1e-12
    )


def test_items_by_their_ratio_and_what_the_best_decide(
    gemstones: tuple[dict[str, Any], pl.DataFrame],
) -> None:
    expected, rows = gemstones
    # Every item as a task of its own.
    items = rows.select("run", "step", "metric", "value", task="instance_id")
    table = sn.snr(items, score="final", noise="mean_sd", ddof=0, window=5)
    best = table.with_columns(pl.col("task").cast(pl.Int64)).sort("snr", "task", descending=[True, False])
    assert best["task"].head(20).to_list() == expected["items_by_snr"]
    top = expected["top_item_snr"]
    np.testing.assert_allclose(best["snr"].head(len(top)), top, rtol=RELATIVE)
    whole = sn.aggregate(rows, by=("run", "step", "task", "metric")).select(
        "run", "step", "task", "metric", value="mean", config=pl.lit("whole")
    )
    for size, subset in expected["subsets"].items():
        chosen = best["task"].head(int(size)).cast(pl.String)
        part = rows.filter(pl.col("instance_id").is_in(chosen.implode()))
        scores = sn.aggregate(part, by=("run", "step", "task", "metric")).select(
            "run", "step", "task", "metric", value="mean", config=pl.lit("part")
        )
        signal = sn.signal(scores, score="final")["signal"].item()
        assert signal == pytest.approx(subset["rel_dispersion"], rel=RELATIVE)
        noise = sn.noise(scores, per="run", ddof=0, window=5)["noise"].mean()
        assert noise == pytest.approx(subset["mean_rel_noise"], rel=RELATIVE)
        decided = sn.decision_accuracy(
            pl.concat([scores, whole]), small="config = 'part'", target="config = 'whole'", ties="compat"
        )
        accuracy = next(value for name, value in subset.items() if name.startswith("decision_accuracy"))
        assert decided["decision_accuracy"].item() == pytest.approx(accuracy, rel=RELATIVE)
        if int(size) > 1:
            control = sn.subset_control(rows, subset=chosen.to_list(), n_resamples=20)["value"]
            assert control[0] == pytest.approx(accuracy, rel=RELATIVE)
            assert control[1] == pytest.approx(subset["rel_dispersion"], rel=RELATIVE)
