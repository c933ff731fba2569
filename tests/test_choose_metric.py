"""`choose_metric`: the definition written out, planted metrics, invariance, undefined cases, errors."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy import stats

import signoise as sn
from signoise._addresses import METRIC_SPLITS, group_addresses
from signoise._interventions._member_halves import random_halves

SIDES = {"small": "params = 100000000", "target": "params = 1000000000"}


def suite(members: int = 9, seed: int = 0, **noise: float) -> pl.DataFrame:
    """One task by several metrics; members are the same, noise is not."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 0.03, members)
    rows = []
    for metric, sd in noise.items():
        for params, member, step in itertools.product((100_000_000, 1_000_000_000), range(members), range(4)):
            rows.append(
                {
                    "run": f"r{member}-{params}",
                    "recipe": f"r{member}",
                    "params": params,
                    "step": step,
                    "task": "t",
                    "metric": metric,
                    "value": 0.5 + true[member] + rng.normal(0, sd),
                }
            )
    return pl.DataFrame(rows)


def agreement(small: list[float], target: list[float]) -> float:
    pairs = list(itertools.combinations(range(len(small)), 2))
    signs = [np.sign(small[i] - small[j]) * np.sign(target[i] - target[j]) for i, j in pairs]
    return float(np.mean([(1 + sign) / 2 for sign in signs]))


def last(scores: pl.DataFrame, metric: str, params: int) -> list[float]:
    rows = scores.filter(metric=metric, params=params, step=3).sort("recipe")
    return rows["value"].to_list()


def cross_fitted(
    scores: pl.DataFrame, metrics: list[str], halves: Any, members: list[int]
) -> tuple[float, float, list[str]]:
    """Gain, gain in sample and the metrics chosen, one member and pair at a time."""
    small = {name: last(scores, name, 100_000_000) for name in metrics}
    target = last(scores, metrics[0], 1_000_000_000)

    def value(name: str, chosen: list[int]) -> float:
        return agreement([small[name][i] for i in chosen], [target[i] for i in chosen])

    def best(chosen: list[int]) -> str:
        return max(metrics, key=lambda name: (value(name, chosen), -metrics.index(name)))

    gains, inside, picked = [], [], []
    for half in [*halves, *(~halves)]:
        choosing = [i for i in members if half[i]]
        judging = [i for i in members if not half[i]]
        gains.append(value(best(choosing), judging) - value(metrics[0], judging))
        inside.append(value(best(judging), judging) - value(metrics[0], judging))
        picked.append(best(choosing))
    return float(np.mean(gains)), float(np.mean(inside)), picked


def test_the_definition_written_out() -> None:
    scores = suite(acc=0.02, f1=0.015, exact_match=0.03)
    row = sn.choose_metric(scores, **SIDES, primary="acc", n_splits=4, rng_seed=5).row(0, named=True)
    metrics = ["acc", "exact_match", "f1"]
    assert row["candidates"] == metrics
    unit = int(group_addresses(pl.DataFrame({"task": ["t"]}))[0])
    halves = random_halves(9, 4, 5, METRIC_SPLITS, unit)
    gain, inside, picked = cross_fitted(scores, metrics, halves, list(range(9)))
    assert row["gain"] == pytest.approx(gain, abs=1e-12)
    assert row["gain_in_sample"] == pytest.approx(inside, abs=1e-12)
    assert row["optimism"] == pytest.approx(inside - gain, abs=1e-12)
    assert row["metric_share"] == picked.count(row["metric"]) / 8
    without = [
        cross_fitted(scores, metrics, halves, [i for i in range(9) if i != left])[0] for left in range(9)
    ]
    stderr = np.sqrt(8 / 9 * np.sum((np.array(without) - np.mean(without)) ** 2))
    margin = stats.t.ppf(0.975, 8) * stderr
    assert (row["gain_low"], row["gain_high"]) == pytest.approx((gain - margin, gain + margin), abs=1e-9)
    assert row["p_value"] == pytest.approx(2 * stats.t.sf(abs(gain) / stderr, 8), abs=1e-9)


def test_a_planted_metric_is_found_by_its_snr() -> None:
    scores = suite(16, acc=0.02, f1=0.004)
    row = sn.choose_metric(scores, small=SIDES["small"], match="recipe").row(0, named=True)
    assert (row["measure"], row["primary"], row["metric"], row["metric_share"]) == ("snr", "acc", "f1", 1.0)
    assert row["gain_low"] > 0.5
    assert row["gain"] == pytest.approx(np.log(5), abs=0.6)
    # It is no choice where both are one.
    same = pl.concat([part := scores.filter(metric="acc"), part.with_columns(metric=pl.lit("f1"))])
    row = sn.choose_metric(same, small=SIDES["small"], match="recipe").row(0, named=True)
    assert (row["metric"], row["gain"], row["p_value"], row["gain_low"]) == ("acc", 0.0, None, None)


def test_row_order_and_other_tasks_leave_no_trace() -> None:
    scores = suite(acc=0.02, f1=0.015)
    other = suite(seed=1, acc=0.02, f1=0.015).with_columns(task=pl.lit("u"))
    for sides in (SIDES, {"small": SIDES["small"]}):
        alone = sn.choose_metric(scores, **sides)
        shuffled = pl.concat([other, scores]).sample(fraction=1.0, shuffle=True, seed=3)
        assert_frame_equal(
            sn.choose_metric(shuffled, **sides, threads=1).filter(task="t"), alone, check_exact=True
        )


def test_a_loss_is_a_metric_too() -> None:
    scores = suite(12, acc=0.02, f1=0.004)
    turned = scores.with_columns(
        metric=pl.col("metric").replace("f1", "bits_per_byte"),
        value=pl.when(pl.col("metric") == "f1").then(2 - pl.col("value")).otherwise("value"),
    )
    drop = ("metric", "candidates", "signature")
    plain = sn.choose_metric(scores, **SIDES).drop(drop)
    # Places of the two in the alphabet are those of acc and f1 again.
    assert_frame_equal(sn.choose_metric(turned, **SIDES).drop(drop), plain)


def test_without_a_key_there_is_one_row() -> None:
    scores = suite(acc=0.02, f1=0.015)
    alone = sn.choose_metric(scores, **SIDES, by=())
    assert alone.columns[0] == "measure"
    assert alone["metric"].to_list() == sn.choose_metric(scores, **SIDES)["metric"].to_list()


def test_what_cannot_be_chosen() -> None:
    scores = suite(acc=0.02, f1=0.015)
    few = sn.choose_metric(scores.filter(pl.col("recipe") < "r3"), **SIDES).row(0, named=True)
    assert (few["status"], few["gain"], few["metric"], few["n_members"]) == ("too_few", None, None, 3)
    alone = sn.choose_metric(scores.filter(metric="acc"), **SIDES).row(0, named=True)
    assert (alone["status"], alone["candidates"]) == ("too_few", ["acc"])
    lacking = scores.filter((pl.col("metric") == "acc") | (pl.col("recipe") != "r0"))
    row = sn.choose_metric(lacking, **SIDES).row(0, named=True)
    assert (row["candidates"], row["flags"]) == (["acc"], ["unmatched"])
    flat = scores.with_columns(value=pl.when(pl.col("metric") == "f1").then(0.5).otherwise("value"))
    row = sn.choose_metric(flat, small=SIDES["small"], match="recipe").row(0, named=True)
    assert (row["status"], row["gain"]) == ("constant", None)
    with pytest.raises(sn.InsufficientDataError, match="constant"):
        sn.choose_metric(flat, small=SIDES["small"], match="recipe", strict=True)


def test_misuse_is_said() -> None:
    scores = suite(acc=0.02, f1=0.015)
    with pytest.raises(sn.OptionError, match="target needs small"):
        sn.choose_metric(scores, target=SIDES["target"])
    with pytest.raises(sn.OptionError, match="n_splits"):
        sn.choose_metric(scores, n_splits=0)
    with pytest.raises(sn.SchemaError, match="no scores of metric 'f2'"):
        sn.choose_metric(scores, metrics=["f2"])
