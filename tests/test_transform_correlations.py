"""Correlations of instances with compute: against SciPy, instance by instance, and on a planted family of models."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

import signoise as sn
from signoise._errors import InsufficientDataError, OptionError, SchemaError
from signoise.reference import choice_metrics as reference_metrics

METRICS = {
    "logp_vocab": "sum_logits_corr",
    "p_vocab": "correct_prob",
    "p_choices": "norm_correct_prob",
    "accuracy": "acc_raw",
    "brier": "brier_score",
}


def family(models: int = 12, items: int = 60, seed: int = 0, wrong: float = 0.5) -> pl.DataFrame:
    """Log-likelihoods of the right choice that rise with log compute, those of three wrong ones less, and noisily."""
    rng = np.random.default_rng(seed)
    compute = 10.0 ** np.linspace(18, 22, models)
    gain = np.log10(compute) - 20
    frames = []
    for item in range(items):
        base = rng.normal(-6, 1.5)
        right = base + 0.8 * gain + rng.normal(0, 0.15, models)
        others = rng.normal(-6.5, 1, (3, 1)) + wrong * gain + rng.normal(0, 0.4, (3, models))
        choices = np.vstack([right, others]).T.ravel()
        offsets = np.arange(models + 1, dtype=np.int64) * 4
        out = reference_metrics(choices, offsets, np.zeros(models, dtype=np.int64))
        frames += [
            pl.DataFrame(
                {
                    "run": [f"m{k:02}" for k in range(models)],
                    "flops": compute,
                    "task": "arc",
                    "metric": name,
                    "instance_id": str(item),
                    "value": out[name],
                }
            )
            for name in (*METRICS.values(), "sum_logits_incorr")
        ]
    return pl.concat(frames)


@pytest.fixture(scope="module")
def scores() -> pl.DataFrame:
    return family()


def matrix(scores: pl.DataFrame, metric: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Log compute, and scores (n_instances, n_models)."""
    rows = scores.filter(pl.col("metric") == metric).sort("instance_id", "run")
    n = rows["run"].n_unique()
    return np.log(rows["flops"].to_numpy()[:n]), rows["value"].to_numpy().reshape(-1, n)


def row(table: pl.DataFrame, stage: str, statistic: str) -> dict[str, Any]:
    chosen = (pl.col("stage") == stage) & (pl.col("statistic") == statistic)
    return table.row(by_predicate=chosen, named=True)


SCIPYS = {
    "pearson": stats.pearsonr,
    "spearman": stats.spearmanr,
    "kendall": stats.kendalltau,
}


@pytest.mark.parametrize("stage", METRICS)
@pytest.mark.parametrize("statistic", SCIPYS)
def test_distributions_are_those_of_scipys_correlations(
    scores: pl.DataFrame, stage: str, statistic: str
) -> None:
    found = row(sn.transform_correlations(scores), stage, statistic)
    x, y = matrix(scores, METRICS[stage])
    varying = np.ptp(y, axis=1) > 0
    sign = -1 if stage == "brier" else 1
    each = np.array([sign * SCIPYS[statistic](x, one)[0] for one in y[varying]])
    assert (found["n_instances"], found["n_checkpoints"]) == (60, 12)
    assert found["n_constant"] == np.count_nonzero(~varying)
    assert found["share_undefined"] == pytest.approx(1 - varying.mean())
    assert found["mean"] == pytest.approx(each.mean(), abs=1e-9)
    for name, level in {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}.items():
        assert found[name] == pytest.approx(np.quantile(each, level), abs=1e-9)
    grid = np.array(found["grid"])
    assert len(grid) == 21
    # Ranks take few values, some of them on the grid but for the last digit.
    clear = np.abs(each[:, None] - grid).min(axis=0) > 1e-9
    survival = (each[:, None] > grid).mean(axis=0)
    np.testing.assert_allclose(np.array(found["survival"])[clear], survival[clear])


def test_the_slope_of_the_wrong_choices(scores: pl.DataFrame) -> None:
    found = row(sn.transform_correlations(scores), "incorrect", "slope")
    _, right = matrix(scores, "sum_logits_corr")
    _, wrong = matrix(scores, "sum_logits_incorr")
    each = [stats.linregress(x, y).slope for x, y in zip(right, wrong, strict=True)]
    assert found["median"] == pytest.approx(np.median(each), rel=1e-9)
    assert found["metric"] == "sum_logits_incorr"
    assert row(sn.transform_correlations(family(wrong=0.0)), "incorrect", "slope")["median"] < found["median"]


def test_stages_lose_the_signal_in_the_expected_order(scores: pl.DataFrame) -> None:
    table = sn.transform_correlations(scores)
    medians = [
        row(table, stage, "pearson")["median"] for stage in ("logp_vocab", "p_vocab", "p_choices", "accuracy")
    ]
    assert medians == sorted(medians, reverse=True)
    ranks = [row(table, stage, "spearman")["median"] for stage in ("logp_vocab", "p_vocab")]
    assert ranks[0] == pytest.approx(ranks[1], abs=1e-12)
    assert table["stage"].unique(maintain_order=True).to_list() == [*METRICS, "incorrect"]


def test_invariances(scores: pl.DataFrame) -> None:
    table = sn.transform_correlations(scores)
    shuffled = scores.sample(fraction=1.0, shuffle=True, seed=1)
    assert sn.transform_correlations(shuffled).equals(table)
    other = scores.with_columns(
        pl.when(pl.col("metric") == "sum_logits_corr")
        .then(2 * pl.col("value") - 3)
        .otherwise("value")
        .alias("value")
    )
    again = sn.transform_correlations(other, compute="flops")
    for statistic in SCIPYS:
        before, after = (row(one, "logp_vocab", statistic) for one in (table, again))
        assert after["median"] == pytest.approx(before["median"], abs=1e-9)
    twins = sn.reference.transform_correlations(scores)
    assert twins["median"].to_list() == pytest.approx(table["median"].to_list(), abs=1e-9)


def test_constant_and_short_instances_are_counted_apart() -> None:
    rows = [
        (f"m{k}", 10.0**k, "arc", "acc_raw", item, value)
        for item, values in {
            "rises": [0.0, 0.0, 0.0, 1.0, 1.0, 1.0],
            "easy": [1.0] * 6,
            "short": [0.0, 1.0, math.nan, None, None, 1.0],
            "empty": [None] * 6,
        }.items()
        for k, value in enumerate(values, 1)
    ]
    names = ["run", "flops", "task", "metric", "instance_id", "value"]
    scores = pl.DataFrame(rows, schema=names, orient="row")
    found = row(sn.transform_correlations(scores), "accuracy", "pearson")
    assert [found[name] for name in ("n_instances", "n_defined", "n_constant", "n_too_few")] == [4, 1, 1, 2]
    assert found["share_undefined"] == 0.75
    assert found["flags"] == ["missing_values", "few_instances"]
    easy = sn.transform_correlations(scores, where="instance_id = 'easy'")
    assert set(easy["status"]) == {"constant"}
    assert easy["median"].null_count() == easy["survival"].null_count() == easy.height
    short = sn.transform_correlations(scores, where="instance_id = 'short'")
    assert set(short["status"]) == {"too_few"}
    with pytest.raises(InsufficientDataError):
        sn.transform_correlations(scores, where="instance_id = 'short'", strict=True)


def test_what_compute_is(scores: pl.DataFrame) -> None:
    sizes = scores.with_columns(params=(pl.col("flops") / 1e12).cast(pl.Int64), tokens=pl.lit(1e12 / 6)).drop(
        "flops"
    )
    found = sn.transform_correlations(sizes)
    assert "compute:6 params tokens" in found["signature"][0]
    one = row(found, "logp_vocab", "pearson")["median"]
    assert one == pytest.approx(row(sn.transform_correlations(scores), "logp_vocab", "pearson")["median"])
    with pytest.raises(SchemaError, match="the compute of some rows is not known"):
        sn.transform_correlations(scores.drop("flops"))
    with pytest.raises(SchemaError, match="must be above 0"):
        sn.transform_correlations(scores.with_columns(pl.col("flops") * 0))
    with pytest.raises(SchemaError, match="no column of numbers 'run'"):
        sn.transform_correlations(scores, compute="run")


def test_families_apart(scores: pl.DataFrame) -> None:
    both = pl.concat([scores.with_columns(family=pl.lit(name)) for name in ("a", "b")]).with_columns(
        run=pl.col("family") + pl.col("run")
    )
    table = sn.transform_correlations(both, by=["task", "family"])
    first, second = (table.filter(pl.col("family") == name).drop("family") for name in ("a", "b"))
    assert first.equals(second)
    assert first.equals(sn.transform_correlations(scores))


def test_refused(scores: pl.DataFrame) -> None:
    with pytest.raises(OptionError, match="'vibes' is better"):
        sn.transform_correlations(scores, stages={"x": "vibes"})
    with pytest.raises(SchemaError, match="about instances"):
        sn.transform_correlations(scores.drop("instance_id"))
    with pytest.raises(SchemaError, match="no rows are left"):
        sn.transform_correlations(scores, stages={"x": "f1"}, where="metric = 'acc_raw'")


def test_a_dump_within_one_run(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    for step in range(1, 8):
        rows = [
            {
                "doc_id": item,
                "doc": {},
                "target": 0,
                "arguments": [["Q", " a"], ["Q", " b"]],
                "filtered_resps": [[-8 + step - item / 9, False], [-5 + rng.normal(), False]],
            }
            for item in range(30)
        ]
        folder = tmp_path / "model" / f"step{step}"
        folder.mkdir(parents=True)
        (folder / "samples_toy.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    table = sn.transform_correlations(tmp_path, compute="step")
    assert row(table, "logp_vocab", "spearman")["median"] == 1.0
    assert row(table, "incorrect", "slope")["n_instances"] == 30
