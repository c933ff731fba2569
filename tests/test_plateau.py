"""Plateaus of learning curves: slopes with autocorrelated errors, verdicts, and a watcher who looks again and again."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

import signoise as sn
from signoise._plateau import slope

DELTA = 0.02


def curves(values: Any, metric: str = "acc", steps: Any = None) -> pl.DataFrame:
    """A score table of curves, a row each."""
    values = np.atleast_2d(np.asarray(values, dtype=float))
    n_runs, n = values.shape
    steps = np.arange(1, n + 1) if steps is None else np.asarray(steps)
    return pl.DataFrame(
        {
            "run": np.repeat([f"r{index:03}" for index in range(n_runs)], n),
            "task": "t",
            "metric": metric,
            "step": np.tile(steps, n_runs),
            "value": values.ravel(),
        }
    )


def noisy(line: Any, n_runs: int, rho: float, sd: float = 0.01, seed: int = 0) -> np.ndarray:
    """A curve with AR(1) noise, several times."""
    draw = np.random.default_rng(seed).normal(size=(n_runs, len(line)))
    noise = draw.copy()
    for step in range(1, len(line)):
        noise[:, step] = rho * noise[:, step - 1] + np.sqrt(1 - rho**2) * draw[:, step]
    return np.asarray(line) + sd * noise


def judge(table: pl.DataFrame, **options: Any) -> pl.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        return sn.plateau(table, **{"delta": DELTA, **options})


STEPS = np.arange(1, 65)
RISING = 0.3 + 2 * DELTA * np.log2(STEPS)
FLAT = 0.5 + 0 * STEPS
LEVELLING = 0.7 - 0.4 * STEPS**-1.0


@pytest.mark.parametrize("rho", [0.0, 0.4, 0.9])
def test_slopes_are_generalised_least_squares(rho: float) -> None:
    draw = np.random.default_rng(1)
    logs, values = np.sort(draw.normal(size=12)), draw.normal(size=12)
    order = np.arange(12)
    inverse = np.linalg.inv(rho ** np.abs(order[:, None] - order[None, :]))
    basis = np.stack([np.ones(12), logs], axis=1)
    covariance = np.linalg.inv(basis.T @ inverse @ basis)
    estimate = covariance @ basis.T @ inverse @ values
    residual = values - basis @ estimate
    error = np.sqrt(covariance[1, 1] * (residual @ inverse @ residual) / 10)
    assert slope(logs, values, rho) == pytest.approx((estimate[1], error), rel=1e-9)
    if rho == 0:
        line = stats.linregress(logs, values)
        assert slope(logs, values, rho) == pytest.approx((line.slope, line.stderr), rel=1e-9)


def test_gain_and_its_interval_are_those_of_a_line() -> None:
    values = noisy(LEVELLING, 1, 0.0)
    row = judge(curves(values), autocorrelation=0.0, ahead=4.0).row(0, named=True)
    line = stats.linregress(np.log(STEPS[32:]), values[0, 32:])
    half = stats.t.ppf(0.975, 30) * line.stderr
    fold = np.log(4)
    assert row["n_checkpoints"] == 32
    assert (row["gain"], row["low"], row["high"]) == pytest.approx(
        (fold * line.slope, fold * (line.slope - half), fold * (line.slope + half))
    )
    assert row["p_value"] == pytest.approx(stats.t.cdf((line.slope - DELTA / fold) / line.stderr, 30))


def test_verdicts_of_planted_curves() -> None:
    made = np.concatenate(
        [noisy(line, 1, 0.3, 0.001, seed) for seed, line in enumerate((RISING, FLAT, LEVELLING))]
    )
    out = judge(curves(made))
    assert out["verdict"].to_list() == ["improving", "plateau", "plateau"]
    assert out["status"].to_list() == ["ok"] * 3
    first = out["plateau_at"].to_list()
    assert first[0] is None
    # What is flat from the beginning is seen earlier than what levels off.
    assert first[1] < first[2] <= 64
    wild = judge(curves(noisy(FLAT, 1, 0.3, 0.1)))
    assert wild["verdict"].item() == "undecided"


def test_how_often_it_errs() -> None:
    """A gain of just `delta` is called a plateau in 5 %, now or ever; what is flat mostly is one."""
    line = 0.3 + DELTA * np.log2(STEPS)
    for rho in (0.0, 0.5):
        out = judge(curves(noisy(line, 300, rho, seed=2)))
        for column, word in (("verdict", "plateau"), ("verdict", "improving")):
            assert 0.015 <= (out[column] == word).mean() <= 0.09, (rho, word)
        assert out["plateau_at"].is_not_null().mean() <= 0.08
        assert 0.92 <= ((out["low"] <= DELTA) & (out["high"] >= DELTA)).mean() <= 0.98
    assert (judge(curves(noisy(FLAT, 100, 0.0)))["verdict"] == "plateau").mean() > 0.85


def test_a_watcher_knows_nothing_of_what_comes() -> None:
    values = noisy(LEVELLING, 20, 0.0, 0.004)
    whole = judge(curves(values), autocorrelation=0.0)
    for end in (20, 40):
        known = judge(curves(values[:, :end], steps=STEPS[:end]), autocorrelation=0.0)
        for before, after in zip(known["plateau_at"], whole["plateau_at"], strict=True):
            assert before == after or (before is None and (after is None or after > end))
    # Looks: at 7, where the last half holds four checkpoints, and each time the steps have doubled.
    assert whole["n_looks"].unique().to_list() == [4]
    assert whole["plateau_at"].null_count() < 10
    assert all(
        min(abs(at - look) for look in (7, 14, 28, 56)) < 1e-6 for at in whole["plateau_at"].drop_nulls()
    )


def test_losses_fall_for_the_better() -> None:
    values = noisy(RISING, 3, 0.0)
    up, down = judge(curves(values)), judge(curves(3 - values, metric="loss"))
    names = ["gain", "low", "high", "p_value", "verdict", "plateau_at"]
    for name in names:
        a, b = up[name].to_list(), down[name].to_list()
        assert a == (pytest.approx(b) if name in names[:4] else b)
    unknown = curves(values, metric="mystery")
    with pytest.raises(sn.UnknownMetricError):
        judge(unknown)
    assert judge(unknown, direction={"mystery": "higher"})["verdict"].to_list() == up["verdict"].to_list()


def test_units_and_places_may_be_others() -> None:
    values = noisy(LEVELLING, 4, 0.3)
    out = judge(curves(values))
    scaled = judge(curves(7 + 3 * values, metric="bleu"), delta=3 * DELTA)
    assert scaled["gain"].to_numpy() == pytest.approx(3 * out["gain"].to_numpy())
    assert scaled["verdict"].to_list() == out["verdict"].to_list()
    later = judge(curves(values, steps=1000 * STEPS))
    assert later["gain"].to_numpy() == pytest.approx(out["gain"].to_numpy())
    shuffled = curves(values).sample(fraction=1.0, shuffle=True, seed=1)
    assert judge(shuffled).equals(out)


def test_what_is_undefined() -> None:
    flat = np.full(16, 0.25)
    row = judge(curves(flat)).row(0, named=True)
    assert (row["status"], row["gain"], row["verdict"], row["p_value"]) == ("constant", 0.0, None, None)
    three = judge(curves(noisy(FLAT, 1, 0.0)[:, :3], steps=[10, 11, 12]))
    assert (three["status"].item(), three["n_checkpoints"].item(), three["gain"].item()) == (
        "too_few",
        3,
        None,
    )
    # Eight checkpoints say nothing of their autocorrelation.
    eight = curves(noisy(FLAT, 1, 0.0)[:, :8])
    assert judge(eight)["status"].item() == "too_few"
    known = judge(eight, autocorrelation=0.0).row(0, named=True)
    assert (known["status"], known["flags"], known["n_checkpoints"]) == ("ok", ["few_checkpoints"], 4)
    # A place of 0 has no logarithm.
    from_zero = judge(curves(noisy(FLAT, 1, 0.0), steps=STEPS - 1), autocorrelation=0.0)
    assert from_zero["n_checkpoints"].item() == 32
    gaps = curves(noisy(FLAT, 2, 0.0)).with_columns(
        value=pl.when((pl.col("step") == 60) & (pl.col("run") == "r000")).then(None).otherwise("value")
    )
    found = judge(gaps)
    assert found["flags"].to_list() == [["missing_values"], []]
    assert found["n_checkpoints"].to_list() == [31, 32]
    with pytest.raises(sn.InsufficientDataError):
        judge(eight, strict=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delta": 0}, "delta must be above 0"),
        ({"delta": True}, "delta must be above 0"),
        ({"ahead": 1}, "ahead must be above 1"),
        ({"span": float("nan")}, "span must be above 1"),
        ({"autocorrelation": 1.0}, "autocorrelation must be"),
        ({"confidence_level": 95}, "confidence_level must be"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(sn.OptionError, match=message):
        judge(curves(FLAT), **options)


def test_on_published_curves(shared: Path) -> None:
    """Twice the tokens bring large models more than small ones, and no small one surely more than two points."""
    table = pl.read_parquet(shared / "data" / "pythia_evals.parquet").filter(
        pl.col("variant") == "main", pl.col("shots") == 0, pl.col("suite") == "pythia-v1"
    )
    table = table.filter(
        pl.col("metric") == "acc",
        pl.col("task").is_in(["arc_easy", "lambada_openai", "piqa", "sciq", "winogrande"]),
    ).select("task", "metric", "step", "tokens", "value", pl.col("model").alias("run"), "params_total")
    out = judge(table.drop("params_total"))
    sizes = table.select("run", "params_total").unique()
    joined = out.join(sizes, on="run").filter(pl.col("status") == "ok")
    small, large = joined.filter(pl.col("params_total") < 3e8), joined.filter(pl.col("params_total") > 2e9)
    assert min(small.height, large.height) >= 20
    assert large["gain"].mean() > small["gain"].mean()  # type: ignore[operator]
    assert (small["verdict"] == "improving").sum() == 0
    assert (small["verdict"] == "plateau").mean() > 0.5  # type: ignore[operator]
