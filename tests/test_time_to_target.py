"""Time to a target: by hand, SciPy's product-limit estimate with its limits, and published curves."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

import signoise as sn
from signoise._errors import OptionError, UnknownMetricError
from signoise._time_to_target import survival_median


def table(curves: dict[tuple[str, str], list[float]], metric: str = "acc") -> pl.DataFrame:
    rows = [
        (recipe, run, "t", metric, 10 * step, value)
        for (recipe, run), values in curves.items()
        for step, value in enumerate(values, start=1)
    ]
    return pl.DataFrame(rows, schema=["recipe", "run", "task", "metric", "step", "value"], orient="row")


def only(found: pl.DataFrame) -> dict[str, Any]:
    assert found.height == 1
    return found.row(0, named=True)


@pytest.mark.parametrize("n", [5, 12, 40])
@pytest.mark.parametrize("grid", [0.0, 0.25])
def test_median_and_limits_equal_scipys(n: int, grid: float) -> None:
    rng = np.random.default_rng([n, int(grid * 100)])
    for _ in range(20):
        times, cuts = rng.exponential(1.0, n), rng.exponential(2.0, n)
        if grid:
            times, cuts = np.ceil(times / grid) * grid, np.ceil(cuts / grid) * grid
        reached, times = times <= cuts, np.minimum(times, cuts)
        if not reached.any():
            continue
        curve = stats.ecdf(stats.CensoredData.right_censored(times, ~reached)).sf
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)
            limits = curve.confidence_interval(method="log-log")
        places, share = curve.quantiles, curve.probabilities

        def first(below: np.ndarray, places: np.ndarray = places) -> float:
            return float(places[below][0]) if below.any() else np.inf

        # Where nobody is left SciPy has no limits, and the share is surely below a half.
        low = np.where(share > 0, limits.low.probabilities, 0.0)
        high = np.where(share > 0, limits.high.probabilities, 0.0)
        found = survival_median(times, reached, 0.95)
        assert found == (first(share <= 0.5), first(low <= 0.5), first(high < 0.5))


def test_by_hand() -> None:
    scores = table(
        {
            ("web", "w1"): [0.1, 0.3, 0.5, 0.6],
            ("web", "w2"): [0.2, 0.5, 0.4, 0.7],
            ("web", "w3"): [0.1, 0.2],
            ("code", "c1"): [0.1, 0.1, 0.2, 0.5],
            ("code", "c2"): [0.1, 0.1, 0.2, 0.3],
        }
    )
    web = sn.time_to_target(scores, target=0.5)
    assert web.select("recipe", "n_trials", "n_reached", "median", "earliest", "longest").rows() == [
        ("code", 2, 1, 40.0, 40.0, 40.0),
        ("web", 3, 2, 30.0, 20.0, 40.0),
    ]
    # w3 stopped at 20, where one of three had arrived: the next halves what is left, (2/3)(0/1) = 0.
    assert web["flags"].to_list() == [["few_seeds"]] * 2
    streak = sn.time_to_target(scores, target=0.5, consecutive=2).filter(recipe="web").row(0, named=True)
    assert (streak["n_reached"], streak["median"]) == (1, 40.0)
    far = sn.time_to_target(scores, target=0.65).filter(recipe="code").row(0, named=True)
    assert (far["status"], far["median"], far["n_reached"]) == ("not_finite", None, 0)
    alone = sn.time_to_target(scores, target={"t": 0.5}, across="run").sort("run")
    assert alone["median"].to_list() == [40.0, None, 30.0, 20.0, None]
    assert sn.time_to_target(scores.reverse(), target=0.5).equals(web)


def test_losses_fall_to_their_target() -> None:
    losses = table({("a", "r1"): [3.0, 2.5, 2.4], ("a", "r2"): [3.1, 2.6, 2.5]}, metric="ce_loss")
    try:
        found = only(sn.time_to_target(losses, target=2.5))
    except UnknownMetricError:
        found = only(sn.time_to_target(losses, target=2.5, direction={"ce_loss": "lower"}))
    assert (found["median"], found["earliest"]) == (20.0, 20.0)


def test_scales_and_groups() -> None:
    rng = np.random.default_rng(0)
    curves = {("a", f"r{at}"): np.sort(rng.random(8)).tolist() for at in range(9)}
    scores = table(curves)
    found = sn.time_to_target(scores, target=0.6)
    moved = sn.time_to_target(
        scores.with_columns(pl.col("value") * 0.5 + 0.1, pl.col("step") * 3), target=0.4
    )
    for name in ("median", "low", "high", "earliest", "longest"):
        expected = found[name][0]
        assert moved[name][0] == (None if expected is None else pytest.approx(3 * expected))
    other = scores.with_columns(pl.lit("u").alias("task"), pl.col("value") ** 2)
    both = sn.time_to_target(pl.concat([other, scores]), target=0.6)
    assert both.filter(task="t").equals(found)
    assert only(found)["low"] <= only(found)["median"]


def test_gaps_and_wrong_targets() -> None:
    scores = table({("a", "r1"): [0.1, 0.2, 0.9]}).with_columns(
        pl.when(pl.col("step") == 30).then(None).otherwise(pl.col("value")).alias("value")
    )
    found = only(sn.time_to_target(scores, target=0.5))
    assert (found["n_reached"], found["longest"], "missing_values" in found["flags"]) == (0, 20.0, True)
    empty = only(sn.time_to_target(scores.with_columns(value=pl.lit(None, dtype=pl.Float64)), target=0.5))
    assert (empty["status"], empty["n_trials"]) == ("too_few", 0)
    with pytest.raises(OptionError, match="no score for t"):
        sn.time_to_target(scores, target={"u": 0.5})
    with pytest.raises(OptionError, match="target must be"):
        sn.time_to_target(scores, target=float("nan"))


def test_larger_models_of_pythia_need_fewer_tokens(shared: Path) -> None:
    scores = pl.read_parquet(shared / "data" / "pythia_evals.parquet").filter(
        suite="pythia-v1", variant="main", shots=0, task="lambada_openai", metric="acc"
    )
    by_size = scores.select(
        pl.col("model").alias("run"),
        pl.col("params_nonemb").alias("size"),
        "step",
        "tokens",
        "task",
        "metric",
        "value",
    )
    found = sn.time_to_target(by_size, target=0.4, across="size").sort("size")
    reached = found.filter(pl.col("n_reached") == 2)
    assert reached.height >= 4
    assert reached["median"].to_list() == sorted(reached["median"].to_list(), reverse=True)
    assert found.filter(n_reached=0)["status"].unique().to_list() == ["not_finite"]


def test_trials_of_a_column_that_is_not_there() -> None:
    table = pl.DataFrame(
        {"run": ["a"], "seed": [1], "task": ["t"], "metric": ["acc"], "step": [1], "value": [0.5]}
    )
    with pytest.raises(sn.SchemaError, match="across: the table has no column 'recipe'"):
        sn.time_to_target(table, target=0.4)
    with pytest.raises(sn.SchemaError, match="the table has no column 'rum'; did you mean 'run'"):
        sn.smoothness(table, across="rum")
