"""Difference, ratio and rank in `bootstrap`: SciPy's paired intervals, identities between them, undefined cases."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from polars.testing import assert_frame_equal
from scipy import stats

import signoise as sn
from signoise._bootstrap_relations import ranks

Floats = NDArray[np.float64]
#: Of a limit from 10,000 replicates, in standard errors of the statistic.
CLOSE = 0.15


def table(scores: dict[str, Any], metric: str = "score", **columns: Any) -> pl.DataFrame:
    """Instance rows of several runs over the same instances."""
    return pl.concat(
        pl.DataFrame(
            {"run": run, "step": 1, "task": "t", "metric": metric, "value": np.asarray(values, dtype=float)}
            | {"instance_id": [f"{i:05}" for i in range(len(values))]}
            | columns
        )
        for run, values in scores.items()
    )


def two(n: int = 120, seed: int = 0) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    common = rng.lognormal(0.0, 0.7, n)
    return common + rng.lognormal(0.0, 0.5, n), common + rng.lognormal(0.2, 0.5, n)


@pytest.mark.parametrize("method", ["percentile", "basic", "bca"])
@pytest.mark.parametrize("statistic", ["difference", "ratio"])
def test_scipys_paired_intervals(statistic: str, method: Any) -> None:
    a, b = two()
    row = sn.bootstrap(table({"a": a, "b": b}), statistic=statistic, baseline="a", method=method).row(
        0, named=True
    )

    def to_baseline(x: Floats, y: Floats, axis: int = -1) -> Any:
        x, y = x.mean(axis=axis), y.mean(axis=axis)
        return y / x if statistic == "ratio" else y - x

    found = stats.bootstrap(
        (a, b), to_baseline, paired=True, method={"bca": "BCa"}.get(method, method), n_resamples=10_000, rng=1
    )
    error = float(found.standard_error)
    assert (row["run"], row["baseline"], row["n"], row["status"]) == ("b", "a", 120, "ok")
    assert row["value"] == pytest.approx(to_baseline(a, b), rel=1e-12)
    assert row["stderr"] == pytest.approx(error, rel=0.04)
    assert row["low"] == pytest.approx(found.confidence_interval.low, abs=CLOSE * error)
    assert row["high"] == pytest.approx(found.confidence_interval.high, abs=CLOSE * error)


def test_pairing_counts() -> None:
    a, b = two(400, 3)
    found = sn.bootstrap(table({"a": a, "b": b}), statistic="difference", baseline="a").row(0, named=True)
    compared = sn.compare(table({"a": a, "b": b}), a="b", b="a").row(0, named=True)
    assert found["value"] == pytest.approx(compared["difference"], rel=1e-12)
    assert found["stderr"] == pytest.approx(compared["stderr"], rel=0.03)
    apart = np.sqrt(a.var(ddof=1) / 400 + b.var(ddof=1) / 400)
    assert found["stderr"] < 0.9 * apart


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 60), st.integers(0, 2**32 - 1))
def test_the_other_way_round(n: int, seed: int) -> None:
    a, b = two(n, seed)
    scores = table({"a": a, "b": b})
    forth, back = (
        sn.bootstrap(scores, statistic="difference", baseline=base, n_resamples=200) for base in ("a", "b")
    )
    np.testing.assert_allclose(
        [forth["value"], forth["low"], forth["high"]],
        [-back["value"], -back["high"], -back["low"]],
        rtol=1e-9,
        atol=1e-12,
    )
    times = sn.bootstrap(scores, statistic="ratio", baseline="a", n_resamples=200)
    assert times["value"][0] == pytest.approx(b.mean() / a.mean(), rel=1e-12)
    assert times["low"][0] <= times["high"][0]


def test_other_runs_rows_and_threads_change_nothing() -> None:
    a, b = two(90, 5)
    rng = np.random.default_rng(0)
    scores = table({"a": a, "b": b})
    options: dict[str, Any] = {"statistic": "ratio", "baseline": "a", "n_resamples": 500}
    alone = sn.bootstrap(scores, **options, threads=1)
    more = sn.bootstrap(table({"a": a, "b": b, "c": rng.normal(size=90)}), **options, threads=2)
    assert_frame_equal(more.filter(pl.col("run") == "b"), alone, check_exact=True)
    shuffled = sn.bootstrap(scores.sample(fraction=1, shuffle=True, seed=1), **options)
    assert_frame_equal(shuffled, alone, check_exact=True)


def test_clusters_and_strata() -> None:
    a, b = two(60, 7)
    cluster = [f"c{i // 4}" for i in range(60)]
    subtask = [f"s{i // 40}" for i in range(60)]
    scores = table({"a": a, "b": b}, cluster=cluster, subtask=subtask)
    found = sn.bootstrap(
        scores, statistic="difference", baseline="a", stratify="subtask", method="bca", n_resamples=500
    ).row(0, named=True)
    gaps = b - a
    assert found["value"] == pytest.approx((gaps[:40].mean() + gaps[40:].mean()) / 2, rel=1e-12)
    assert (found["n_clusters"], found["n_strata"]) == (15, 2)
    # The difference of two runs is the mean of the differences of their instances: the same limits, drawn alike.
    same = sn.bootstrap(
        table({"b": gaps}, cluster=cluster, subtask=subtask),
        stratify="subtask",
        method="bca",
        n_resamples=500,
    ).row(0, named=True)
    for name in ("low", "high", "stderr"):
        assert found[name] == pytest.approx(same[name], rel=1e-9)


def test_ratio_metrics_and_perplexities() -> None:
    a, b = two(50, 9)
    weight = np.random.default_rng(1).integers(20, 900, 50).astype(float)
    scores = table({"a": a, "b": b}, metric="bits_per_byte", weight=weight)
    found = sn.bootstrap(scores, statistic="ratio", baseline="a", n_resamples=300)["value"][0]
    assert found == pytest.approx((b * weight).sum() / (a * weight).sum(), rel=1e-12)
    scores = table({"a": a, "b": b}, metric="perplexity")
    found = sn.bootstrap(scores, statistic="difference", baseline="a", n_resamples=300)["value"][0]
    assert found == pytest.approx(np.exp(np.log(b).mean()) - np.exp(np.log(a).mean()), rel=1e-12)


def test_ranks_of_runs() -> None:
    rng = np.random.default_rng(2)
    base = rng.normal(size=200)
    scores = {"best": base + 5, "worst": base - 5, "twin": base, "other_twin": base}
    rows = sn.bootstrap(table(scores, metric="margin"), statistic="rank", n_resamples=300)
    by_run = {row["run"]: row for row in rows.iter_rows(named=True)}
    assert [by_run[run]["value"] for run in ("best", "twin", "other_twin", "worst")] == [1, 2, 2, 4]
    assert all(by_run[run]["low"] == by_run[run]["value"] == by_run[run]["high"] for run in by_run)
    assert set(rows["status"]) == {"ok"}
    lower = sn.bootstrap(
        table({run: x + 20 for run, x in scores.items()}, metric="bits_per_byte"),
        statistic="rank",
        n_resamples=300,
    )
    assert dict(zip(lower["run"], lower["value"], strict=True)) == {
        "worst": 1,
        "twin": 2,
        "other_twin": 2,
        "best": 4,
    }


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_ranks_are_scipys(n: int, seed: int) -> None:
    scores = np.random.default_rng(seed).integers(0, 5, (n, 7)).astype(float)
    np.testing.assert_array_equal(ranks(scores), stats.rankdata(-scores, method="min", axis=0))


def test_ranks_of_close_runs_vary() -> None:
    a, b = two(60, 11)
    rows = sn.bootstrap(table({"a": a, "b": a + (b - b.mean()) * 0.1}, metric="margin"), statistic="rank")
    assert rows["low"].to_list() == [1, 1]
    assert rows["high"].to_list() == [2, 2]
    assert (rows["stderr"] > 0.3).all()


def test_instances_that_some_run_lacks() -> None:
    a, b = two(60, 13)
    scores = table({"a": a, "b": b}).filter(~((pl.col("run") == "a") & (pl.col("instance_id") < "00010")))
    found = sn.bootstrap(scores, statistic="difference", baseline="a", n_resamples=300).row(0, named=True)
    assert found["n"] == 50
    assert found["value"] == pytest.approx((b - a)[10:].mean(), rel=1e-12)
    assert "unmatched" in found["flags"]
    apart = scores.filter((pl.col("run") == "a") | (pl.col("instance_id") < "00010"))
    nothing = sn.bootstrap(apart, statistic="difference", baseline="a", n_resamples=300).row(0, named=True)
    assert (nothing["n"], nothing["value"], nothing["low"], nothing["status"]) == (0, None, None, "too_few")


def test_equal_runs_have_no_interval() -> None:
    a, _ = two(60, 15)
    found = sn.bootstrap(table({"a": a, "b": a}), statistic="difference", baseline="a", n_resamples=300)
    row = found.row(0, named=True)
    assert (row["value"], row["stderr"], row["low"], row["high"], row["status"]) == (
        0,
        0,
        None,
        None,
        "constant",
    )


def test_a_baseline_of_zero() -> None:
    a, _ = two(60, 17)
    found = sn.bootstrap(table({"a": np.zeros(60), "b": a}), statistic="ratio", baseline="a", n_resamples=300)
    row = found.row(0, named=True)
    assert (row["value"], row["low"], row["status"]) == (None, None, "not_finite")


def test_checkpoints_stay_apart_where_by_names_them() -> None:
    a, b = two(60, 19)
    later = table({"a": b, "b": a}).with_columns(step=pl.lit(2))
    scores = pl.concat([table({"a": a, "b": b}).with_columns(step=pl.lit(1)), later], how="vertical_relaxed")
    found = sn.bootstrap(
        scores, statistic="difference", baseline="a", by=("task", "metric", "step"), n_resamples=300
    )
    assert found["step"].to_list() == [1, 2]
    assert found["value"].to_list() == pytest.approx([(b - a).mean(), (a - b).mean()], rel=1e-12)


def test_baselines_that_are_not_there() -> None:
    a, b = two()
    scores = table({"run-a": a, "run-b": b})
    with pytest.raises(sn.SchemaError, match=r"no run 'run-c'; did you mean"):
        sn.bootstrap(scores, statistic="difference", baseline="run-c")
    elsewhere = table({"run-b": b}).with_columns(task=pl.lit("u"))
    with pytest.warns(
        sn.DroppedRowsWarning, match=r"1 rows were left out: their group has no scores of 'run-a'"
    ):
        found = sn.bootstrap(
            pl.concat([scores, elsewhere]), statistic="difference", baseline="run-a", n_resamples=200
        )
    assert found["task"].to_list() == ["t"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"statistic": "ratio"}, "baseline="),
        ({"statistic": "rank", "baseline": "a"}, 'for statistic="difference"'),
        ({"baseline": "a"}, 'for statistic="difference"'),
        ({"statistic": "rank", "method": "bca"}, "percentile"),
        ({"statistic": "difference", "baseline": "a", "method": "studentised"}, "studentised"),
        ({"statistic": "difference", "baseline": "a", "weights": "bayesian"}, "bayesian"),
        ({"statistic": "rank", "over": "seed"}, "crossed"),
    ],
)
def test_what_does_not_go_together(options: dict[str, Any], message: str) -> None:
    a, b = two()
    with pytest.raises(sn.OptionError, match=message):
        sn.bootstrap(table({"a": a, "b": b}), **options)
