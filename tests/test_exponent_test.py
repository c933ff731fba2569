"""Exponents against stated values, and of two domains against each other."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

import signoise as sn


def runs(exponent: float, n: int = 12, sd: float = 0.01, seed: int = 0, domain: str = "a") -> pl.DataFrame:
    tokens = np.geomspace(1e8, 1e10, n)
    noise = np.random.default_rng(seed).normal(0, sd, n)
    loss = 5e3 * tokens**-exponent * np.exp(noise)
    return pl.DataFrame({"tokens": tokens, "loss": loss, "domain": domain})


def ask(table: pl.DataFrame, law: str = "pure_power_law", **options: Any) -> pl.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        return sn.exponent_test(table, law, **{"x": "tokens", "y": "loss", "n_resamples": 200, **options})


TWO = {"a": "domain = 'a'", "b": "domain = 'b'"}


def test_a_jackknife_by_hand() -> None:
    """A pure power law by least squares of logarithms is a straight line."""
    table = runs(0.4, 8)
    row = ask(table, against=0.5).row(0, named=True)
    logs, losses = table["tokens"].log().to_numpy(), table["loss"].log().to_numpy()
    slope = -stats.linregress(logs, losses).slope
    left = np.array([-stats.linregress(np.delete(logs, i), np.delete(losses, i)).slope for i in range(8)])
    error = np.sqrt(7 / 8 * np.sum((left - left.mean()) ** 2))
    assert row["estimate"] == pytest.approx(slope, rel=1e-5)
    assert row["statistic"] == pytest.approx((slope - 0.5) / error, rel=1e-3)
    assert row["p_value"] == pytest.approx(2 * stats.t.sf(abs(slope - 0.5) / error, 6), rel=1e-2)
    half = stats.t.ppf(0.975, 6) * error
    assert (row["low"], row["high"]) == pytest.approx((slope - half, slope + half), rel=1e-4)
    assert (row["difference_low"], row["difference_high"]) == pytest.approx(
        (slope - 0.5 - half, slope - 0.5 + half), abs=1e-5
    )
    assert (row["df"], row["n_points"], row["n_clusters"], row["paired"]) == (6, 8, 8, None)


def test_planted_exponents() -> None:
    out = ask(runs(1.0), against={"variance-limited": 1.0, "1/3": 1 / 3})
    assert out["hypothesis"].to_list() == ["variance-limited", "1/3"]
    assert out["p_value"][0] > 0.05
    assert out["p_value"][1] < 1e-6
    assert ask(runs(0.4))["value"].to_list() == [1.0]
    assert ask(runs(0.4))["p_value"].item() < 1e-6
    floor = runs(0.5, 40, 0.001).with_columns(loss=pl.col("loss") + 0.2)
    with_floor = ask(floor, "power_law", against=0.5).row(0, named=True)
    assert with_floor["p_value"] > 0.01
    # Without it the floor passes for a small exponent.
    assert ask(floor, against=0.5)["estimate"].item() < 0.45


def test_two_domains() -> None:
    same = pl.concat([runs(0.4, seed=1), runs(0.4, 11, seed=2, domain="b")])
    row = ask(same, **TWO).row(0, named=True)
    assert (row["hypothesis"], row["paired"]) == ("a = b", False)
    assert row["p_value"] > 0.01
    sides = [ask(same, where=where, against=0.0).row(0, named=True) for where in TWO.values()]
    assert row["difference"] == pytest.approx(sides[0]["estimate"] - sides[1]["estimate"])
    variances = [(side["estimate"] / side["statistic"]) ** 2 for side in sides]
    assert row["statistic"] == pytest.approx(row["difference"] / np.sqrt(sum(variances)), rel=1e-6)
    welch = sum(variances) ** 2 / sum(v**2 / side["df"] for v, side in zip(variances, sides, strict=True))
    assert row["df"] == pytest.approx(welch, rel=1e-6)
    apart = pl.concat([runs(0.4), runs(0.45, seed=3, domain="b")])
    assert ask(apart, **TWO)["p_value"].item() < 1e-3


def test_the_same_runs_are_drawn_together() -> None:
    """What runs share cancels in the difference, and only there."""
    shared = np.random.default_rng(9).normal(0, 0.05, 12)
    both = pl.concat(
        [
            runs(exponent, sd=0.003, seed=seed, domain=domain).with_columns(
                loss=pl.col("loss") * np.exp(shared), run=pl.int_range(pl.len()).cast(pl.String)
            )
            for seed, (domain, exponent) in enumerate((("a", 0.4), ("b", 0.41)))
        ]
    )
    row = ask(both, **TWO).row(0, named=True)
    assert row["paired"]
    assert row["n_clusters"] == 12
    width = row["difference_high"] - row["difference_low"]
    assert width < 0.3 * (row["high"] - row["low"])
    assert row["difference_low"] <= -0.01 <= row["difference_high"]


def test_groups_and_other_parameters() -> None:
    tasks = pl.concat(
        [runs(0.4).with_columns(task=pl.lit("t")), runs(1.0, seed=4).with_columns(task=pl.lit("u"))]
    )
    out = ask(tasks, by="task")
    assert out["task"].to_list() == ["t", "u"]
    assert (out["p_value"] > 0.05).to_list() == [False, True]
    factor = ask(runs(0.4), parameter="A", against=5e3).row(0, named=True)
    assert factor["p_value"] > 0.01


def test_what_is_undefined() -> None:
    one = ask(runs(0.4, 1)).row(0, named=True)
    assert (one["status"], one["estimate"], one["p_value"]) == ("too_few", None, None)
    without = ask(runs(0.4), interval="none").row(0, named=True)
    assert without["estimate"] is not None
    assert (without["p_value"], without["low"], without["df"]) == (None, None, None)
    held = ask(runs(0.4), bounds={"alpha": (0.5, 0.5)}).row(0, named=True)
    assert (held["estimate"], held["p_value"]) == (0.5, None)
    half = pl.concat([runs(0.4), runs(0.4, 1, domain="b")])
    assert ask(half, **TWO)["status"].item() == "too_few"
    with pytest.raises(sn.FitError):
        ask(half, strict=True, **TWO)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parameter": "alfa"}, "no 'alfa'.*alpha"),
        ({"against": float("nan")}, "against must be finite"),
        ({"against": {}}, "against must be finite"),
        ({"a": "domain = 'a'"}, "a and b go together"),
        ({"against": 1.0, **TWO}, "against is for one set of runs"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(sn.OptionError, match=message):
        ask(runs(0.4), **options)


def test_no_group_has_both_sides() -> None:
    table = pl.concat(
        [runs(0.4).with_columns(task=pl.lit("t")), runs(0.4, domain="b").with_columns(task=pl.lit("u"))]
    )
    with pytest.raises(sn.SchemaError, match="no group has rows on both sides"):
        ask(table, by="task", **TWO)
