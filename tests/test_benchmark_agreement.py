"""Agreement of benchmarks: SciPy and plain loops as oracles, limits that cover, undefined cases."""

from __future__ import annotations

import warnings
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy import stats

import signoise as sn
from signoise import reference
from signoise._interventions._benchmark_agreement import _taus
from signoise._interventions._correlations import correlations, fisher_limits
from strategies import score_tables

LARGE = "params = 1000000000"


def table(scores: dict[str, list[float | None]], **extra: Any) -> pl.DataFrame:
    """Two checkpoints of members m0, m1, .. on every task, equal where `wobble` is 0."""
    wobble = extra.pop("wobble", 0.0)
    rows = [
        {"run": f"m{i}", "step": step, "task": task, "metric": "acc", "value": value + step * wobble, **extra}
        for task, values in scores.items()
        for i, value in enumerate(values)
        if value is not None
        for step in (-1, 1)
    ]
    return pl.DataFrame(rows)


# --- Kendall between benchmarks --------------------------------------------------------------------


@given(seed=st.integers(0, 10_000), grid=st.sampled_from([0, 1]), members=st.integers(2, 12))
def test_tau_equals_scipy_and_the_loop(seed: int, grid: int, members: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.round(rng.normal(size=(3, members)), grid)
    x[rng.random(x.shape) < 0.1] = np.nan
    first, second = np.triu_indices(3, 1)
    out, unmatched = _taus(x, first, second, 0.95, None)
    for at, (i, j) in enumerate(combinations(range(3), 2)):
        both = np.isfinite(x[i]) & np.isfinite(x[j])
        assert out["n_members"][at] == both.sum()
        assert unmatched[at] == (np.isfinite(x[i]) != np.isfinite(x[j])).any()
        expected = reference.kendall(x[i][both], x[j][both])
        np.testing.assert_allclose(out["tau"][at], expected, atol=1e-12)
        if both.sum() >= 2:
            np.testing.assert_allclose(expected, stats.kendalltau(x[i][both], x[j][both])[0], atol=1e-12)


def test_limits_of_tau_leave_out_each_member() -> None:
    rng = np.random.default_rng(3)
    x = np.round(rng.normal(size=(2, 9)), 1)
    out, _ = _taus(x, np.array([0]), np.array([1]), 0.95, None)
    tau = out["tau"][0]
    left_out = np.array([reference.kendall(np.delete(x[0], i), np.delete(x[1], i)) for i in range(9)])
    stderr = np.sqrt(8 / 9 * ((left_out - left_out.mean()) ** 2).sum())
    margin = stats.t.ppf(0.975, 8) * stderr / (1 - tau**2)
    assert out["low"][0] == pytest.approx(np.tanh(np.arctanh(tau) - margin))
    assert out["high"][0] == pytest.approx(np.tanh(np.arctanh(tau) + margin))


@pytest.mark.parametrize("tau", [0.0, 0.6])
def test_limits_of_tau_cover(tau: float) -> None:
    rng = np.random.default_rng(1)
    n, r = 600, np.sin(np.pi / 2 * tau)
    z = rng.standard_normal((2 * n, 14))
    z[n:] = r * z[:n] + np.sqrt(1 - r * r) * z[n:]
    out, _ = _taus(z, np.arange(n), np.arange(n) + n, 0.95, None)
    assert 0.94 <= np.mean((out["low"] <= tau) & (tau <= out["high"])) <= 1.0


def test_every_two_benchmarks() -> None:
    frame = table({"a": [0.1, 0.2, 0.3, 0.4], "b": [0.4, 0.3, 0.2, 0.1], "c": [0.1, 0.3, 0.2, 0.4]})
    found = sn.benchmark_agreement(frame)
    assert found.select("task_a", "task_b", "tau").rows() == [
        ("a", "b", -1.0),
        ("a", "c", pytest.approx(2 / 3)),
        ("b", "c", pytest.approx(-2 / 3)),
    ]
    losses = pl.concat([frame.filter(task="a"), frame.filter(task="b").with_columns(metric=pl.lit("loss"))])
    assert sn.benchmark_agreement(losses)["tau"].to_list() == [1.0]
    assert sn.benchmark_agreement(losses, by="task", where="metric = 'acc'").height == 0


def test_undefined_agreement() -> None:
    found = sn.benchmark_agreement(table({"a": [0.1, 0.2, 0.3], "b": [0.5] * 3, "c": [None, None, 0.4]}))
    assert found["status"].to_list() == ["constant", "too_few", "too_few"]
    assert found["tau"].null_count() == found["low"].null_count() == 3
    assert "unmatched" in found["flags"][1]
    with pytest.raises(sn.InsufficientDataError):
        sn.benchmark_agreement(table({"a": [0.1, 0.2], "b": [0.5, 0.5]}), strict=True)
    with pytest.raises(sn.UnknownMetricError):
        sn.benchmark_agreement(table({"a": [0.1]}).with_columns(metric=pl.lit("wobble")))
    with pytest.raises(sn.OptionError, match="score must be"):
        sn.benchmark_agreement(sn.example_scores(), score="sample")


# --- pairs of members ------------------------------------------------------------------------------


def test_preferences_and_near_ties() -> None:
    frame = table({"a": [0.9, 0.1, 0.5], "b": [0.1, 0.9, 0.5], "c": [0.5, 0.5, 0.52]}, wobble=0.01)
    found = sn.benchmark_preferences(frame)
    assert found.select("run_a", "run_b", "n_benchmarks").rows() == [
        ("m0", "m1", 3),
        ("m0", "m2", 3),
        ("m1", "m2", 3),
    ]
    first = found.row(0, named=True)
    assert (first["prefer_a"], first["prefer_b"], first["n_ties"], first["share_a"]) == (1, 1, 1, 0.5)
    assert (first["clear_a"], first["clear_b"], first["n_near"], first["crossover"]) == (1, 1, 1, True)
    second = found.row(1, named=True)
    assert (second["prefer_a"], second["prefer_b"]) == (1, 2)
    # .02 apart at an sd of .014: a near tie.
    assert (second["clear_a"], second["clear_b"], second["n_near"]) == (1, 1, 1)
    noisy = sn.benchmark_preferences(table({"a": [0.9, 0.1], "b": [0.1, 0.9]}, wobble=0.3))
    assert (noisy["n_near"].item(), noisy["crossover"].item()) == (2, False)


def test_preferences_written_out() -> None:
    scores = sn.example_scores().filter(pl.sql_expr(LARGE))
    found = sn.benchmark_preferences(scores, across="recipe", score="final")
    last = scores.filter(pl.col("step") == pl.col("step").max())
    signed = last.with_columns(
        pl.when(metric="bits_per_byte").then(-pl.col("value")).otherwise("value").alias("value")
    )
    wide = signed.pivot("task", index="recipe", values="value").sort("recipe")
    x = wide.drop("recipe").to_numpy()
    for row, (i, j) in zip(found.iter_rows(named=True), combinations(range(6), 2), strict=True):
        assert (row["prefer_a"], row["prefer_b"]) == ((x[i] > x[j]).sum(), (x[i] < x[j]).sum())
        assert row["clear_a"] + row["clear_b"] + row["n_near"] == row["n_benchmarks"] == 6


def test_preferences_without_noise_or_benchmarks() -> None:
    single = table({"a": [0.1, 0.2]}).filter(step=1)
    row = sn.benchmark_preferences(single).row(0, named=True)
    assert (row["prefer_b"], row["clear_b"], row["crossover"]) == (1, None, None)
    apart = sn.benchmark_preferences(table({"a": [0.1, None], "b": [None, 0.2]})).row(0, named=True)
    assert (apart["status"], apart["share_a"], apart["n_benchmarks"]) == ("too_few", None, 0)


# --- the best ----------------------------------------------------------------------------------------


def test_near_best_written_out() -> None:
    rng = np.random.default_rng(8)
    values = np.array([0.5, 0.52, 0.6, 0.61])[:, None] + 0.01 * rng.standard_normal((4, 5))
    frame = pl.DataFrame(
        [
            {"run": f"m{i}", "step": t, "task": "a", "metric": "acc", "value": v}
            for i, row in enumerate(values)
            for t, v in enumerate(row)
        ]
    )
    found = sn.near_best(frame, score="final")
    final = values[:, -1]
    np.testing.assert_allclose(found["score"], final)
    np.testing.assert_allclose(found["gap"], final.max() - final)
    assert found["rank"].to_list() == stats.rankdata(-final, method="min").tolist()
    # 20 values say what the autocorrelation is; with few of them the margin is wider than without it.
    plain = stats.studentized_range.ppf(0.95, 4, 16) * np.sqrt(values.var(axis=1, ddof=1).mean())
    assert found["margin"].n_unique() == 1
    assert 0.9 * plain < found["margin"][0] < 2 * plain
    assert found["near"].to_list() == (found["gap"] <= found["margin"]).to_list()
    assert found["n_near"].unique().to_list() == [found["near"].sum()]


def test_near_best_of_losses_ties_and_undefined() -> None:
    frame = table({"a": [0.3, 0.1, 0.1]}, wobble=0.001).with_columns(metric=pl.lit("loss"))
    found = sn.near_best(frame)
    assert found["rank"].to_list() == [3, 1, 1]
    assert found["score"].to_list() == pytest.approx([0.3, 0.1, 0.1])
    assert found["near"].to_list() == [False, True, True]
    bare = sn.near_best(table({"a": [0.3, 0.1]}).filter(step=1))
    assert bare["status"].to_list() == ["too_few"] * 2
    assert bare["near"].null_count() == bare["n_near"].null_count() == bare["margin"].null_count() == 2
    assert bare["rank"].to_list() == [1, 2]


# --- correlations ------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10_000), n=st.integers(3, 20), grid=st.sampled_from([0, 3]))
def test_correlations_equal_scipy_and_the_loops(seed: int, n: int, grid: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = np.round(rng.normal(size=(2, n)), grid)
    found = correlations(x, y, np.ones((1, n)))
    for name in ("pearson", "spearman", "kendall"):
        np.testing.assert_allclose(found[name][0], getattr(reference, name)(x, y), atol=1e-9)
    if np.ptp(x) > 0 and np.ptp(y) > 0:
        expected = [stats.pearsonr(x, y)[0], stats.spearmanr(x, y)[0], stats.kendalltau(x, y)[0]]
        values = [found[name][0] for name in ("pearson", "spearman", "kendall")]
        np.testing.assert_allclose(values, expected, atol=1e-9)
        assert found["r2"][0] == pytest.approx(found["pearson"][0] ** 2)
    # Counts are repetitions.
    counts = rng.multinomial(n, np.full(n, 1 / n)).astype(float)
    repeated = [np.repeat(v, counts.astype(int)) for v in (x, y)]
    drawn = correlations(x, y, counts[None])
    for name in ("pearson", "spearman", "kendall"):
        np.testing.assert_allclose(drawn[name][0], getattr(reference, name)(*repeated), atol=1e-9)


def test_fisher_limits_are_scipys() -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal(20)
    y = x + rng.standard_normal(20)
    frame = pl.DataFrame({"task": [f"t{i:02}" for i in range(20)], "x": x, "y": y})
    found = sn.correlate(frame, "x", "y")
    expected = stats.pearsonr(x, y)
    limits = expected.confidence_interval(0.95)
    row = found.row(0, named=True)
    assert (row["measure"], row["n"], row["n_excluded"]) == ("pearson", 20, 0)
    assert (row["value"], row["low"], row["high"]) == pytest.approx((expected[0], limits.low, limits.high))
    r2 = found.row(1, named=True)
    assert (r2["low"], r2["high"]) == pytest.approx((limits.low**2, limits.high**2))
    assert all(found["bootstrap_low"] < found["value"])
    assert all(found["bootstrap_high"] > found["value"])
    low, high = fisher_limits("r2", 0.01, 20, 0.95)
    assert low == 0.0
    assert high > 0.01
    assert np.isnan(fisher_limits("kendall", 0.5, 4, 0.95)).all()


def test_exclusions_are_listed_and_logarithms_taken() -> None:
    frame = pl.DataFrame(
        {
            "task": ["a", "b", "c", "d", "e", "f"],
            "snr": [1.0, 10.0, 100.0, None, 0.0, float("inf")],
            "da": [0.5, 0.6, 0.7, 0.8, 0.9, float("nan")],
        }
    )
    found = sn.correlate(frame, "snr", "da", log10="snr")
    assert found["value"].to_list() == pytest.approx([1.0] * 4)
    assert found["n"].unique().to_list() == [3]
    assert found["excluded"][0].to_list() == [
        "task=d: snr is null",
        "task=e: snr is 0, which has no logarithm",
        "task=f: snr is inf",
    ]
    assert found["low"].null_count() == 4
    assert found["bootstrap_low"].null_count() == 4
    assert_frame_equal(found, sn.correlate(frame.reverse(), "snr", "da", log10=["snr"]))


def test_within_groups() -> None:
    rng = np.random.default_rng(2)
    frame = pl.DataFrame(
        {"task": [f"t{i}" for i in range(24)], "scale": [1, 2] * 12, "x": rng.random(24), "y": rng.random(24)}
    )
    found = sn.correlate(frame, "x", "y", by="scale", n_resamples=50)
    assert found.select("scale", "measure").rows()[:2] == [(1, "pearson"), (1, "r2")]
    one = sn.correlate(frame.filter(scale=2), "x", "y", by="scale", n_resamples=50)
    assert_frame_equal(found.filter(scale=2), one)
    other = sn.correlate(frame, "x", "y", by="scale", n_resamples=50, rng_seed=1)
    assert (other["bootstrap_low"] != found["bootstrap_low"]).any()


def test_undefined_correlations_and_wrong_calls() -> None:
    frame = pl.DataFrame({"task": list("abc"), "x": [1.0, 2.0, 3.0], "y": [0.5] * 3, "name": list("xyz")})
    flat = sn.correlate(frame, "x", "y")
    assert flat["status"].unique().to_list() == ["constant"]
    assert flat["value"].null_count() == 4
    assert sn.correlate(frame.head(1), "x", "y")["status"].unique().to_list() == ["too_few"]
    with pytest.raises(sn.InsufficientDataError):
        sn.correlate(frame, "x", "y", strict=True)
    with pytest.raises(sn.SchemaError, match="no column 'z'"):
        sn.correlate(frame, "x", "z")
    with pytest.raises(sn.SchemaError, match="must be numeric"):
        sn.correlate(frame, "x", "name")
    with pytest.raises(sn.SchemaError, match="must be a Polars DataFrame"):
        sn.correlate([1, 2], "x", "y")
    with pytest.raises(sn.OptionError, match="log10 names columns among"):
        sn.correlate(frame, "x", "y", log10="z")


# --- order and twins -----------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["benchmark_agreement", "benchmark_preferences", "near_best"])
def test_order_and_twins(verb: str) -> None:
    scores = sn.example_scores()
    found = getattr(sn, verb)(scores, where=LARGE)
    shuffled = scores.sample(fraction=1.0, shuffle=True, seed=4)
    assert found.equals(getattr(sn, verb)(shuffled, where=LARGE, threads=2))
    assert_frame_equal(getattr(sn.reference, verb)(scores, where=LARGE), found)


@given(scores=score_tables(scales=True, infinite=True), seed=st.integers(0, 100))
@settings(max_examples=8)
@pytest.mark.parametrize("verb", ["benchmark_agreement", "benchmark_preferences", "near_best"])
def test_tables_as_they_come(verb: str, scores: pl.DataFrame, seed: int) -> None:
    shuffled = scores.sample(fraction=1.0, shuffle=True, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        found = getattr(sn, verb)(scores)
        assert found.equals(getattr(sn, verb)(shuffled))
    for column in found.select(pl.col(pl.Float64)):
        assert column.drop_nulls().is_finite().all(), column.name
