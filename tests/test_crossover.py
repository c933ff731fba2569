"""Where one fitted curve overtakes another: crossings, their distribution, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

import signoise as sn

SIDES = {"a": "arch = 'lstm'", "b": "arch = 'gpt'"}


def curves(noise: float = 0.0, n: int = 14, gain: float = 180.0, seed: int = 1) -> pl.DataFrame:
    """Two power laws that cross at (gain / 20)^(1 / 0.05)."""
    flops = np.geomspace(1e17, 1e22, n)
    rng = np.random.default_rng(seed)
    lstm = 20 * flops**-0.05 * np.exp(noise * rng.standard_normal(n))
    gpt = gain * flops**-0.1 * np.exp(noise * rng.standard_normal(n))
    return pl.concat(
        [
            pl.DataFrame({"flops": flops, "loss": loss, "arch": arch})
            for arch, loss in (("lstm", lstm), ("gpt", gpt))
        ]
    )


def cross(table: pl.DataFrame, law: Any = "pure_power_law", **options: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {"x": "flops", "y": "loss", **SIDES, **options}
    return sn.crossover(table, law, **arguments).row(0, named=True)


def test_the_crossing_of_two_power_laws() -> None:
    row = cross(curves(), interval="none")
    assert row["crossing"] == pytest.approx(9**20, rel=1e-6)
    assert row["n_crossings"] == 1
    assert row["better"] == "b"
    assert row["largest"] == 1e22
    assert row["predicted_a"] == pytest.approx(20 * 1e22**-0.05, rel=1e-6)
    assert row["predicted_b"] == pytest.approx(180 * 1e22**-0.1, rel=1e-6)
    assert (row["low"], row["crosses"], row["better_share"]) == (None, None, None)
    assert (row["along"], row["extrapolation"], row["status"]) == ("flops", 1, "ok")


@pytest.mark.parametrize(("n", "interval"), [(14, None), (14, "parametric"), (7, None)])
def test_limits_hold_the_planted_crossing(n: int, interval: Any) -> None:
    row = cross(curves(0.02, n), interval=interval, n_resamples=300)
    assert row["low"] < 9**20 < row["high"]
    assert row["low"] < row["crossing"] < row["high"]
    assert row["crosses"] == 1
    assert row["better_share"] == 1
    assert ("few_clusters" in row["flags"]) == (n == 7)


def test_swapped_sides_cross_at_the_same_place() -> None:
    table = curves(0.01)
    first, second = cross(table, interval="none"), cross(table, interval="none", a=SIDES["b"], b=SIDES["a"])
    assert first["crossing"] == pytest.approx(second["crossing"], rel=1e-9)
    assert (first["better"], second["better"]) == ("b", "a")
    assert first["predicted_a"] == second["predicted_b"]


def test_no_crossing_in_the_range() -> None:
    row = cross(curves(0.005, gain=20.0), n_resamples=50)
    assert row["status"] == "no_crossing"
    assert (row["crossing"], row["low"], row["high"], row["n_crossings"]) == (None, None, None, 0)
    assert (row["crosses"], row["better"], row["better_share"]) == (0, "b", 1)


def test_a_crossing_ahead_of_the_data() -> None:
    table = curves().filter(pl.col("flops") < 1e19)
    assert cross(table, interval="none")["status"] == "ok"
    assert cross(table, interval="none", within=(1e17, 1e18))["status"] == "no_crossing"
    row = cross(table.filter(pl.col("flops") < 2e18), interval="none", within=(1e17, 1e23))
    assert row["crossing"] == pytest.approx(9**20, rel=1e-4)
    assert row["extrapolation"] == pytest.approx(9**20 / row["largest"], rel=1e-4)


def test_a_limit_that_many_replicates_pass_is_open() -> None:
    table = curves(0.05, seed=2).filter(pl.col("flops") < 3e19)
    row = cross(table, n_resamples=200, within=(1e17, 3e19), interval="parametric")
    assert 0.4 < row["crosses"] < 0.9
    assert row["low"] < row["crossing"]
    assert row["high"] is None
    assert "open_above" in row["flags"]


@pytest.mark.parametrize(
    ("along", "at", "want"),
    [
        ("params", {"tokens_per_param": 20.0}, 1e9),
        ("params", {"tokens": 2e10}, 1e9),
        ("flops", {"tokens_per_param": 20.0}, 6 * 20 * 1e18),
        ("flops", {"tokens": 2e10}, 6 * 1e9 * 2e10),
    ],
)
def test_laws_of_params_and_tokens_cross_along_a_line(along: str, at: dict[str, float], want: float) -> None:
    """The gains by tokens are equal, so the curves cross where the gains by parameters are."""
    params = np.repeat(np.geomspace(1e8, 4e9, 6), 4)
    tokens = params * np.tile([5.0, 20.0, 80.0, 320.0], 6)
    frames = []
    for arch, alpha in (("lstm", 0.25), ("gpt", 0.35)):
        loss = 1.8 + 400 * 1e9**-0.3 * (params / 1e9) ** -alpha + 2100 * tokens**-0.37
        frames.append(pl.DataFrame({"params": params, "tokens": tokens, "loss": loss, "arch": arch}))
    row = cross(pl.concat(frames), "hitchhiker", x=None, along=along, at=at, interval="none")
    assert row["crossing"] == pytest.approx(want, rel=1e-3)
    assert row["along"] == along


def test_accuracies_are_better_high() -> None:
    flops = np.geomspace(1e18, 1e22, 10)
    table = pl.concat(
        [
            pl.DataFrame({"flops": flops, "acc": 0.9 - gain * flops**-0.1, "arch": arch})
            for arch, gain in (("lstm", 30.0), ("gpt", 20.0))
        ]
    )
    row = cross(table, "ladder_accuracy_flops", y="acc", interval="none")
    assert row["better"] == "b"
    assert row["status"] == "no_crossing"


def test_groups_stand_apart_and_need_both_sides() -> None:
    table = pl.concat(
        [
            curves(0.01).with_columns(task=pl.lit("one")),
            curves(0.01, gain=150.0).with_columns(task=pl.lit("two")),
            curves(0.01).filter(arch="gpt").with_columns(task=pl.lit("three")),
        ]
    )
    out = sn.crossover(table, "pure_power_law", x="flops", y="loss", by="task", **SIDES, n_resamples=50)
    assert out["task"].to_list() == ["one", "two"]
    alone = sn.crossover(
        table.filter(task="two"), "pure_power_law", x="flops", y="loss", by="task", **SIDES, n_resamples=50
    )
    assert alone.row(0) == out.row(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"a": "flops > 1e18"}, "observations are on both sides"),
        ({"a": None}, "needs a and b"),
        ({"within": (1e20, 1e19)}, "within must be a range above 0"),
        ({"interval": "jackknife"}, "interval must be one of"),
        ({"law": "hitchhiker", "x": None}, "say along which the curves are compared"),
        ({"law": "hitchhiker", "x": None, "along": "params"}, "does not say what tokens is"),
        ({"law": "lr_annealing", "x": None}, "no common axis"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(sn.OptionError, match=message):
        cross(curves(), **options)


def test_sides_without_a_common_group() -> None:
    with pytest.raises(sn.SchemaError, match="no group has rows on both sides"):
        cross(curves(), by="arch", interval="none")


def test_warnings_say_which_side() -> None:
    gap = curves(0.01).filter(arch="gpt")[:1].with_columns(loss=pl.lit(None, dtype=pl.Float64))
    table = pl.concat([curves(0.01), gap])
    with pytest.warns(sn.DroppedRowsWarning, match="b: 1 rows without loss were left out"):
        cross(table, interval="none")
