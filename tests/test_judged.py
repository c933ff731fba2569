"""The verb `prediction_powered`: the formulas on its rows, differences, clusters and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy import stats

import signoise as sn


def judged(seed: int = 0, n: int = 300, labelled: int = 80, run: str = "a", p: float = 0.4) -> pl.DataFrame:
    """0/1 labels of the first instances, and a judge that is right 9 times of 10 and too kind by 5 points."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < p).astype(float)
    f = np.maximum(np.where(rng.random(n) < 0.9, y, 1 - y), rng.random(n) < 0.05)
    names = [f"i{i:04}" for i in range(n)]
    return pl.concat(
        pl.DataFrame({"instance_id": names[:k], "value": x[:k]}).with_columns(metric=pl.lit(metric))
        for metric, x, k in (("judge", f, n), ("human", y, labelled))
    ).with_columns(run=pl.lit(run), task=pl.lit("t"))


def columns(frame: pl.DataFrame, run: str = "a") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, the judge's scores beside them, and its other scores."""
    wide = frame.filter(run=run).pivot(on="metric", index="instance_id", values="value").sort("instance_id")
    labelled = wide.filter(pl.col("human").is_not_null())
    rest = wide.filter(pl.col("human").is_null())
    return labelled["human"].to_numpy(), labelled["judge"].to_numpy(), rest["judge"].to_numpy()


def ask(frame: Any, **options: Any) -> pl.DataFrame:
    return sn.prediction_powered(frame, **{"judge": "judge", "gold": "human", **options})


def test_formulas_on_a_row() -> None:
    frame = judged()
    y, f, rest = columns(frame)
    row = ask(frame).row(0, named=True)
    assert (row["task"], row["run"], row["n_labelled"], row["n_unlabelled"]) == ("t", "a", 80, 220)
    weight = np.cov(y, f)[0, 1] / ((1 + 80 / 220) * np.var(np.concatenate([f, rest]), ddof=1))
    value = y.mean() + weight * (rest.mean() - f.mean())
    error = np.sqrt(np.var(y - weight * f, ddof=1) / 80 + weight**2 * np.var(rest, ddof=1) / 220)
    assert (row["weight"], row["estimate"], row["stderr"]) == pytest.approx((weight, value, error), rel=1e-10)
    assert (row["mean_gold"], row["mean_judge_labelled"]) == pytest.approx((y.mean(), f.mean()))
    assert row["mean_judge"] == pytest.approx(np.concatenate([f, rest]).mean())
    assert row["stderr_gold"] == pytest.approx(stats.sem(y))
    assert row["n_effective"] == pytest.approx(80 * (stats.sem(y) / error) ** 2)
    assert row["n_effective"] > 120
    assert row["low"] < row["estimate"] < row["high"]
    assert (row["p_value"], row["baseline"], row["status"], row["flags"]) == (None, None, "ok", [])
    plain = ask(frame, weight=1.0).row(0, named=True)
    assert plain["estimate"] == pytest.approx(rest.mean() + (y - f).mean())
    assert "weight:1.0" in plain["signature"]


def test_difference_of_two_runs_on_shared_instances() -> None:
    frame = pl.concat([judged(1, run="a", p=0.6), judged(2, run="base", p=0.4)])
    frame = frame.filter(
        ~((pl.col("run") == "a") & (pl.col("metric") == "judge") & (pl.col("instance_id") == "i0299"))
    )
    (ya, fa, ra), (yb, fb, rb) = columns(frame, "a"), columns(frame, "base")
    y, f, rest = ya - yb, fa - fb, ra - rb[:-1]
    row = ask(frame, baseline="base", weight=1.0).row(0, named=True)
    assert (row["run"], row["baseline"], row["n_unmatched"]) == ("a", "base", 1)
    assert (row["n_labelled"], row["n_unlabelled"]) == (80, 219)
    expected = stats.ttest_ind(rest, -(y - f), equal_var=False)
    assert row["estimate"] == pytest.approx(rest.mean() + (y - f).mean())
    assert row["p_value"] == pytest.approx(expected.pvalue, rel=1e-8)
    assert row["p_adjusted"] == row["p_value"]
    assert row["flags"] == ["unmatched"]
    tuned = ask(frame, baseline="base").row(0, named=True)
    assert tuned["stderr"] <= row["stderr"]
    three = pl.concat([frame, judged(3, run="c")])
    table = ask(three, baseline="base")
    assert table["run"].to_list() == ["a", "c"]
    smallest = table["p_value"].arg_min()
    assert table["p_adjusted"][smallest] == pytest.approx(2 * table["p_value"][smallest])  # type: ignore[index]


def test_labels_without_a_judge_are_counted() -> None:
    frame = judged().filter(~((pl.col("metric") == "judge") & (pl.col("instance_id") < "i0010")))
    row = ask(frame).row(0, named=True)
    assert (row["n_labelled"], row["n_unlabelled"], row["n_unmatched"]) == (70, 220, 10)
    missing = judged().with_columns(value=pl.when(pl.col("instance_id") != "i0299").then("value"))
    row = ask(missing).row(0, named=True)
    assert (row["n_unlabelled"], row["n_missing"], row["flags"]) == (219, 1, ["missing_values"])


def test_clusters_of_one_are_none_and_doubled_instances_are_half() -> None:
    frame = judged()
    alone = ask(frame, weight=0.7).row(0, named=True)
    single = ask(frame.with_columns(cluster="instance_id"), weight=0.7).row(0, named=True)
    y, f, rest = columns(frame)
    # CR1 over all labelled: n/(n - 1) of both parts
    squares = np.var(y - 0.7 * f) / 80 + 0.49 * np.var(rest) / 220
    assert single["stderr"] == pytest.approx(np.sqrt(squares * 80 / 79), rel=1e-10)
    assert single["stderr"] == pytest.approx(alone["stderr"], rel=0.01)
    twice = pl.concat(
        frame.with_columns(cluster=pl.col("instance_id"), instance_id=pl.col("instance_id") + pl.lit(end))
        for end in ("x", "y")
    )
    doubled = ask(twice, weight=0.7).row(0, named=True)
    assert (doubled["n_labelled"], doubled["n_clusters"]) == (160, 80)
    assert doubled["stderr"] == pytest.approx(single["stderr"], rel=1e-10)
    assert doubled["stderr_gold"] == pytest.approx(stats.sem(y), rel=1e-10)
    independent = ask(twice, weight=0.7, cluster="instance_id").row(0, named=True)
    assert independent["stderr"] == pytest.approx(alone["stderr"] / np.sqrt(2), rel=0.01)
    assert "few_clusters" in ask(frame.with_columns(cluster=pl.col("instance_id").str.slice(-1)))["flags"][0]


def test_coverage_in_clusters() -> None:
    rng = np.random.default_rng(7)
    runs, clusters, size, kept = 300, 120, 4, 40
    shape = (runs, clusters, size)
    level = np.clip(0.5 + 0.25 * rng.normal(size=(runs, clusters, 1)), 0, 1)
    y = (rng.random(shape) < level).astype(float)
    truth = stats.norm.expect(lambda z: np.clip(0.5 + 0.25 * z, 0, 1))
    f = np.where(rng.random(shape) < 0.85, y, 1 - y)
    run, cluster, item = np.indices(shape).reshape(3, -1)
    frame = pl.DataFrame(
        {
            "run": run,
            "cluster": cluster,
            "instance_id": cluster * size + item,
            "judge": f.ravel(),
            "human": y.ravel(),
        }
    ).with_columns(pl.col("run", "cluster", "instance_id").cast(pl.String), task=pl.lit("t"))
    long = frame.unpivot(
        on=["judge", "human"], index=["run", "cluster", "instance_id", "task"], variable_name="metric"
    )
    long = long.filter((pl.col("metric") == "judge") | (pl.col("cluster").cast(pl.Int64) < kept))
    covered = {}
    for name in ("cluster", "instance_id"):
        table = ask(long, cluster=name)
        covered[name] = ((table["low"] <= truth) & (table["high"] >= truth)).mean()
    assert covered["cluster"] >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / runs)
    assert covered["instance_id"] < covered["cluster"]


def test_a_filter_names_the_judge() -> None:
    frame = judged().with_columns(
        filter=pl.when(pl.col("metric") == "judge").then(pl.lit("gpt")).otherwise(pl.lit("people")),
        metric=pl.lit("correct"),
    )
    row = sn.prediction_powered(frame, judge="filter = 'gpt'", gold=pl.col("filter") == "people")
    assert row.drop("signature").equals(ask(judged()).drop("signature"))
    other = pl.concat([frame, frame.filter(filter="gpt").with_columns(filter=pl.lit("gpt-2"))])
    with pytest.raises(
        sn.OptionError, match=r"judge means several scores of instance 'i0000', which differ in filter"
    ):
        sn.prediction_powered(other, judge="filter <> 'people'", gold="filter = 'people'")


def test_undefined_rows() -> None:
    row = ask(judged(labelled=1)).row(0, named=True)
    assert (row["status"], row["estimate"], row["n_labelled"]) == ("too_few", None, 1)
    assert row["mean_judge"] is not None
    whole = ask(judged(labelled=300)).row(0, named=True)
    assert (whole["status"], whole["n_unlabelled"], whole["estimate"]) == ("too_few", 0, None)
    assert whole["mean_gold"] == pytest.approx(columns(judged(labelled=300))[0].mean())
    same = judged().with_columns(value=pl.lit(1.0))
    row = ask(same).row(0, named=True)
    assert (row["status"], row["estimate"], row["low"], row["p_value"]) == ("constant", 1.0, None, None)
    ratio = judged().with_columns(weight=pl.lit(2.0))
    row = ask(ratio).row(0, named=True)
    assert (row["status"], row["estimate"], row["mean_gold"]) == ("not_a_mean", None, None)
    with pytest.raises(sn.InsufficientDataError):
        ask(same, strict=True)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"judge": "jugde"}, sn.SchemaError, "judge: no row is jugde; did you mean 'judge'"),
        ({"gold": "metric = 'none'"}, sn.SchemaError, "gold: no row is metric = 'none'"),
        ({"gold": "judge"}, sn.OptionError, "both mean some rows"),
        ({"weight": 2.0}, sn.OptionError, "weight must lie between 0 and 1"),
        ({"by": ("task", "metric")}, sn.OptionError, "leave both out of by"),
        ({"baseline": "a"}, sn.SchemaError, "no other run has scores where a has"),
        ({"adjust": "sidak"}, sn.OptionError, "adjust must be one of"),
    ],
)
def test_wrong_calls_are_told(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ask(judged(), **options)


def test_row_order_and_twins() -> None:
    frame = pl.concat([judged(1, run="a"), judged(2, run="b")])
    found = ask(frame, baseline="a")
    assert found.equals(ask(frame.sample(fraction=1.0, shuffle=True, seed=3), baseline="a"))
    assert_frame_equal(
        sn.reference.prediction_powered(frame, judge="judge", gold="human", baseline="a"), found
    )
