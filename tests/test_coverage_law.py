"""The law of growing coverage: planted curves, its interval, what is undefined, and its place among the laws."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import optimize

import signoise as sn
from signoise import reference


def counts(n: Any, c: Any) -> pl.DataFrame:
    return pl.DataFrame(
        {"run": "m", "task": "math", "instance_id": [f"{at:06}" for at in range(len(c))], "n": n, "c": c}
    )


def beta_items(items: int, n: int, alpha: float = 0.4, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return counts(n, rng.binomial(n, rng.beta(alpha, 1.5, items)))


def test_parameters_equal_those_of_scipy() -> None:
    frame = beta_items(200, 60)
    tries = [1, 2, 4, 8, 16, 32, 60]
    row = sn.coverage_law(frame, k=tries, n_resamples=20).row(0, named=True)
    curve = sn.pass_at_k(frame, k=tries, n_resamples=2)["pass_at_k"].to_numpy()
    k = np.array(tries, dtype=float)
    (a, b), _ = optimize.curve_fit(lambda k, a, b: a * k**b, k, np.log(curve), p0=(-1, -0.5))
    assert (row["a"], row["b"]) == pytest.approx((a, b), rel=1e-6)
    assert row["residual"] == pytest.approx(np.sqrt(np.mean((a * k**b - np.log(curve)) ** 2)), rel=1e-6)
    assert (row["n_points"], row["n_samples_min"], row["status"], row["flags"]) == (7, 60, "ok", [])


def test_the_curve_is_followed() -> None:
    table = sn.coverage_law(beta_items(400, 200), at=[1, 50, 200], n_resamples=200)
    assert table["n_points"].unique().item() > 20
    assert ((table["predicted"] - table["pass_at_k"]).abs() < 0.02).all()
    law = table.row(0, named=True)
    assert law["a_low"] < law["a"] < law["a_high"] < 0
    assert law["b_low"] < law["b"] < law["b_high"] < 0
    assert np.exp(law["a"]) == pytest.approx(law["predicted"])


def test_intervals_hold_what_was_planted() -> None:
    # Suites are of other instances each; the planted law is that of very many of them.
    truth = sn.coverage_law(beta_items(50_000, 40, seed=99), n_resamples=2).row(0, named=True)
    suites = [beta_items(100, 40, seed=seed).with_columns(task=pl.lit(f"t{seed}")) for seed in range(60)]
    table = sn.coverage_law(pl.concat(suites), n_resamples=200)
    for name in ("a", "b"):
        held = (table[f"{name}_low"] <= truth[name]) & (truth[name] <= table[f"{name}_high"])
        assert held.sum() >= 51, name


def test_predictions_beyond_the_samples_are_flagged() -> None:
    table = sn.coverage_law(beta_items(60, 20), at=[20, 21], n_resamples=50)
    assert table["flags"].to_list() == [[], ["extrapolated"]]
    assert table["pass_at_k"].null_count() == 1
    assert (table["predicted_low"] < table["predicted"]).all()
    assert table["status"].to_list() == ["ok", "ok"]


def test_instances_with_different_numbers_of_samples() -> None:
    n = np.array([10, 20, 40] * 20)
    frame = counts(n, np.random.default_rng(0).binomial(n, 0.3))
    row = sn.coverage_law(frame, n_resamples=20).row(0, named=True)
    assert (row["n_samples_min"], row["n_points"]) == (10, 10)


@pytest.mark.parametrize(
    ("n", "c", "status"),
    [
        (2, [1, 2, 0] * 20, "too_few"),
        (10, [3], "too_few"),
        (10, [0] * 40, "constant"),
        (10, [10] * 40, "constant"),
        (10, [0, 10] * 20, "at_bound"),
    ],
)
def test_what_has_no_law(n: int, c: list[int], status: str) -> None:
    row = sn.coverage_law(counts(n, c), at=5, n_resamples=50).row(0, named=True)
    assert row["status"] == status
    if status != "at_bound":
        statistics = ("a", "b", "a_low", "b_high", "residual", "predicted", "predicted_low")
        assert [row[name] for name in statistics] == [None] * 7
    with pytest.raises(sn.InsufficientDataError, match=status):
        sn.coverage_law(counts(n, c), n_resamples=50, strict=True)


def test_nothing_depends_on_rows_around_or_threads() -> None:
    frame = beta_items(80, 30)
    table = sn.coverage_law(frame, n_resamples=50)
    twice = pl.concat([frame, frame.with_columns(run=pl.lit("a"), c=pl.lit(1, dtype=pl.Int64))])
    shuffled = twice.sample(fraction=1.0, shuffle=True, seed=1)
    assert sn.coverage_law(shuffled, n_resamples=50, threads=1).filter(run="m").equals(table)
    same = reference.coverage_law(frame, k=[1, 3, 10], n_resamples=3)
    ours = sn.coverage_law(frame, k=[1, 3, 10], n_resamples=3)
    for name in ("a", "a_low", "b", "b_high", "residual"):
        assert same[name].item() == pytest.approx(ours[name].item(), rel=1e-5)


def test_the_law_is_one_of_the_registry() -> None:
    tries = [1, 2, 5, 10, 30, 60]
    curve = sn.pass_at_k(beta_items(200, 60), k=tries, n_resamples=2)
    fit = sn.fit_scaling_law(curve.select("k", "pass_at_k"), "coverage", y="pass_at_k", interval="none")
    again = sn.coverage_law(beta_items(200, 60), k=tries, n_resamples=2).row(0, named=True)
    found = dict(fit.select("parameter", "estimate").iter_rows())
    assert found == pytest.approx({"a": again["a"], "b": again["b"]}, rel=1e-6)
    assert "coverage" in sn.laws()["law"].to_list()


def test_by_size() -> None:
    sizes = [
        beta_items(60, 20, alpha=alpha).with_columns(
            run=pl.lit(f"{n}B"), params=pl.lit(n * 10**9, dtype=pl.Int64)
        )
        for n, alpha in ((1, 0.2), (7, 0.8))
    ]
    table = sn.coverage_law(pl.concat(sizes), by=("task", "params"), n_resamples=20)
    assert table["params"].to_list() == [10**9, 7 * 10**9]
    assert table["a"][0] < table["a"][1] < 0


@pytest.mark.parametrize("options", [{"k": 0}, {"at": -1}, {"n_resamples": 1}, {"confidence_level": 2}])
def test_wrong_options(options: dict[str, Any]) -> None:
    with pytest.raises(sn.OptionError):
        sn.coverage_law(beta_items(10, 10), **options)
