"""The verb `seed_variance`: formulas on its rows, metrics side by side, undefined cases."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy import stats

import signoise as sn


def seeds(values: dict[str, list[float]], metric: str = "acc", **extra: Any) -> pl.DataFrame:
    """One checkpoint of each seed of each recipe."""
    return pl.concat(
        pl.DataFrame({"recipe": recipe, "seed": range(len(x)), "value": x}) for recipe, x in values.items()
    ).with_columns(
        run=pl.format("{}-{}", "recipe", "seed"),
        task=pl.lit("t"),
        metric=pl.lit(metric),
        **{name: pl.lit(value) for name, value in extra.items()},
    )


X = [0.31, 0.35, 0.30, 0.33, 0.37, 0.32]


def test_formulas_on_a_row() -> None:
    row = sn.seed_variance(seeds({"a": X, "b": [0.5, 0.6]}, stderr=0.02)).row(0, named=True)
    mean, sd = np.mean(X), np.std(X, ddof=1)
    assert (row["task"], row["metric"], row["recipe"], row["n_seeds"]) == ("t", "acc", "a", 6)
    assert (row["mean"], row["sd"], row["range"]) == pytest.approx((mean, sd, 0.07))
    assert row["snr_mean_over_std"] == pytest.approx(mean / sd)
    assert (row["mean_low"], row["mean_high"]) == pytest.approx(
        stats.t.interval(0.95, 5, mean, sd / np.sqrt(6))
    )
    chi = stats.chi2(5)
    limits = sd * np.sqrt(5 / chi.ppf([0.975, 0.025]))
    assert (row["sd_low"], row["sd_high"]) == pytest.approx(tuple(limits))
    assert row["stderr_items"] == pytest.approx(0.02)
    assert (row["status"], row["flags"]) == ("ok", [])
    population = sn.seed_variance(seeds({"a": X}), ddof=0).row(0, named=True)
    assert population["sd"] == pytest.approx(np.std(X))
    assert population["sd_low"] == pytest.approx(limits[0])  # limits are those of the true spread


def test_a_continuous_metric_beside_its_discrete_one() -> None:
    frame = pl.concat(
        [
            seeds({"a": X, "b": [0.5, 0.6, 0.55]}),
            seeds({"a": [0.11, 0.12, 0.115], "b": [0.2, 0.21, 0.2]}, metric="correct_prob"),
        ]
    )
    table = sn.seed_variance(frame, continuous={"acc": "correct_prob"})
    acc, other = table.filter(metric="acc"), table.filter(metric="correct_prob")
    assert acc["continuous"].to_list() == ["correct_prob"] * 2
    assert acc["snr_continuous"].to_list() == other["snr_mean_over_std"].to_list()
    np.testing.assert_allclose(acc["snr_gain"], other["snr_mean_over_std"] / acc["snr_mean_over_std"])
    assert other["snr_gain"].null_count() == 2
    assert sn.seed_variance(frame).columns == [
        c for c in table.columns if "continuous" not in c and c != "snr_gain"
    ]
    with pytest.raises(
        sn.SchemaError, match="no scores of metric 'corect_prob'; did you mean 'correct_prob'"
    ):
        sn.seed_variance(frame, continuous={"acc": "corect_prob"})
    with pytest.raises(sn.OptionError, match="keep metric in by"):
        sn.seed_variance(frame.filter(metric="acc"), by="task", continuous={"acc": "correct_prob"})


def test_checkpoints_and_instances() -> None:
    scores, _ = sn.simulate(tasks=1, recipes=2, seeds=4, params=(1e9,), checkpoints=6, instances=80)
    table = sn.seed_variance(scores, window=3)
    means = (
        scores.filter(pl.col("step") > 3000)
        .group_by("recipe", "seed")
        .agg(pl.col("value").mean())
        .sort("recipe", "seed")
    )
    expected = means.group_by("recipe", maintain_order=True).agg(pl.col("value").std())["value"]
    np.testing.assert_allclose(table["sd"], expected, rtol=1e-10)
    last = scores.filter(pl.col("step") == 6000).group_by("recipe", "seed").agg(pl.col("value").std())
    errors = last.group_by("recipe").agg(pl.col("value").mean() / np.sqrt(80)).sort("recipe")["value"]
    np.testing.assert_allclose(table["stderr_items"], errors, rtol=1e-10)
    assert table.equals(sn.seed_variance(scores.sample(fraction=1.0, shuffle=True, seed=1), window=3))
    assert_frame_equal(sn.reference.seed_variance(scores, window=3), table, rel_tol=1e-9)
    assert "few_checkpoints" in sn.seed_variance(scores, window=9)["flags"][0]


def test_sizes_are_no_seeds_and_runs_may_have_seeds() -> None:
    scores, _ = sn.simulate(tasks=1, recipes=2, seeds=3, params=(1e8, 1e9))
    table = sn.seed_variance(scores)
    assert table.select("recipe", "params", "n_seeds").rows() == [
        ("recipe-00", 100_000_000, 3),
        ("recipe-00", 1_000_000_000, 3),
        ("recipe-01", 100_000_000, 3),
        ("recipe-01", 1_000_000_000, 3),
    ]
    alone = seeds({"a": X}).with_columns(run=pl.col("recipe")).drop("recipe")
    assert sn.seed_variance(alone)["n_seeds"].to_list() == [6]


def test_undefined_rows() -> None:
    table = sn.seed_variance(seeds({"a": [0.3], "b": [0.2, 0.2], "c": [0.1, 0.3]}))
    assert table["status"].to_list() == ["too_few", "constant", "ok"]
    assert table["sd"].to_list()[:2] == [None, 0.0]
    assert table["mean"].to_list() == pytest.approx([0.3, 0.2, 0.2])
    assert table["snr_mean_over_std"].null_count() == 2
    assert table["sd_low"].null_count() == 2
    assert table["flags"].to_list() == [[], ["few_seeds"], ["few_seeds"]]
    with pytest.raises(sn.InsufficientDataError, match="too_few"):
        sn.seed_variance(seeds({"a": [0.3]}), strict=True)
