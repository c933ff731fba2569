"""Learning-rate sensitivity: by hand, on planted parabolas with their intervals, and on a published sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import signoise as sn
from signoise._errors import InsufficientDataError, OptionError, SchemaError


def sweep(rates: list[float], losses: list[float], **more: Any) -> pl.DataFrame:
    return pl.DataFrame({"lr": rates, "loss": losses}).with_columns(
        **{name: pl.lit(value) for name, value in more.items()}
    )


def only(table: pl.DataFrame) -> dict[str, Any]:
    assert table.height == 1
    return table.row(0, named=True)


def test_a_curve_by_hand() -> None:
    """Two decades: above the optimum by 1, 0, 3, so (1 + 0)/2 and (0 + 3)/2 over the halves."""
    found = only(sn.learning_rate_sensitivity(sweep([1e-4, 1e-3, 1e-2], [4.0, 3.0, 6.0])))
    assert found["sensitivity"] == pytest.approx((0.5 + 1.5) / 2)
    assert (found["best"], found["best_rate"]) == (3.0, pytest.approx(1e-3))
    assert (found["low_rate"], found["high_rate"]) == (pytest.approx(1e-4), pytest.approx(1e-2))
    assert (found["n_rates"], found["n_runs"], found["low"], found["high"], found["status"]) == (
        *(3, 3),
        *(None, None, "ok"),
    )


def test_the_initial_loss_is_the_worst() -> None:
    table = sweep([1e-4, 1e-3, 1e-2, 1e-1], [4.0, 3.0, 50.0, float("inf")])
    found = only(sn.learning_rate_sensitivity(table, initial_loss=11.0))
    assert found["sensitivity"] == pytest.approx((0.5 + 4.0 + 8.0) / 3)
    assert found["n_diverged"] == 2
    lost = only(sn.learning_rate_sensitivity(table))
    assert (lost["status"], lost["sensitivity"]) == ("not_finite", None)
    # Without the last rate no loss is infinite.
    assert only(sn.learning_rate_sensitivity(table, rates=(1e-4, 1e-2), initial_loss=11.0))["n_diverged"] == 1


def test_a_range_cuts_the_curve() -> None:
    table = sweep([1e-4, 1e-3, 1e-2], [4.0, 3.0, 6.0])
    found = only(
        sn.learning_rate_sensitivity(table.vstack(sweep([10**-2.5], [4.5])), rates=(10**-3.5, 10**-2.5))
    )
    assert found["n_rates"] == 2  # of three that a curve needs
    assert found["status"] == "too_few"
    finer = sweep([1e-4, 10**-3.5, 1e-3, 10**-2.5, 1e-2], [4.0, 3.5, 3.0, 4.5, 6.0])
    whole = only(sn.learning_rate_sensitivity(finer))["sensitivity"]
    assert whole == pytest.approx(1.0)
    part = only(sn.learning_rate_sensitivity(finer, rates=(10**-3.75, 10**-2.25)))
    assert part["sensitivity"] == pytest.approx((0.75 * 0.375 + 0.75 * 1.125) / 1.5)
    assert only(sn.learning_rate_sensitivity(finer, rates=(1e-5, 1e-2)))["status"] == "too_few"


def test_a_parabola_has_its_integral() -> None:
    place = np.linspace(np.log(1e-4), np.log(1e-1), 2001)
    centre, curvature = np.log(2e-3), 0.05
    losses = 2.5 + curvature * (place - centre) ** 2
    found = only(sn.learning_rate_sensitivity(sweep(np.exp(place).tolist(), losses.tolist())))
    ends = place[[0, -1]] - centre
    exact = curvature * (ends[1] ** 3 - ends[0] ** 3) / 3 / np.ptp(place)
    assert found["sensitivity"] == pytest.approx(exact, rel=1e-5)


def test_limits_are_those_of_a_weighted_sum() -> None:
    rng = np.random.default_rng(0)
    rates = np.repeat([1e-4, 1e-3, 1e-2, 1e-1], 3)
    means = np.repeat([4.0, 3.0, 3.5, 6.0], 3)
    losses = means + 0.1 * rng.standard_normal(12)
    found = only(sn.learning_rate_sensitivity(sweep(rates.tolist(), losses.tolist())))
    weights = np.array([0.5, 1, 1, 0.5]) / 3 - [0, 1, 0, 0]
    by_rate = losses.reshape(4, 3)
    assert found["sensitivity"] == pytest.approx(weights @ by_rate.mean(axis=1))
    error = np.sqrt((weights**2).sum() / 3 * by_rate.var(axis=1, ddof=1).mean())
    half = 2.3060041350333704 * error  # t of 8 degrees of freedom
    assert (found["low"], found["high"]) == pytest.approx(
        (found["sensitivity"] - half, found["sensitivity"] + half)
    )
    assert found["df"] == 8


@pytest.mark.parametrize(("curvature", "scatter"), [(0.02, 0.003), (0.002, 0.003)])
def test_limits_hold_the_planted_value(curvature: float, scatter: float) -> None:
    rng = np.random.default_rng(1)
    place = np.linspace(np.log(1e-4), np.log(1e-1), 9)
    centre = np.log(3e-3) + 0.3 * (rng.random(300) - 0.5)
    curves = curvature * (place - centre[:, None]) ** 2
    truth = np.trapezoid(curves, place) / np.ptp(place) - curves.min(axis=1)
    losses = 3 + curves[:, :, None] + scatter * rng.standard_normal((300, 9, 3))
    table = pl.DataFrame(
        {
            "sweep": np.repeat(np.arange(300), 27),
            "lr": np.tile(np.repeat(np.exp(place), 3), 300),
            "loss": losses.ravel(),
        }
    )
    found = sn.learning_rate_sensitivity(table, by="sweep")
    held = ((found["low"].to_numpy() <= truth) & (truth <= found["high"].to_numpy())).mean()
    assert 0.925 <= held <= 0.99


def test_optima_at_the_end_are_told() -> None:
    falling = sn.learning_rate_sensitivity(sweep([1e-4, 1e-3, 1e-2], [5.0, 4.0, 3.0]))
    assert (only(falling)["status"], only(falling)["sensitivity"]) == ("at_bound", 1.0)
    with pytest.raises(InsufficientDataError):
        sn.learning_rate_sensitivity(sweep([1e-4, 1e-3], [5.0, 4.0]), strict=True)


def test_scores_better_when_higher_are_turned_round() -> None:
    table = pl.DataFrame(
        {
            "run": ["a", "b", "c"],
            "lr": [1e-4, 1e-3, 1e-2],
            "task": "t",
            "metric": "acc",
            "value": [0.3, 0.5, 0.1],
        }
    )
    found = only(sn.learning_rate_sensitivity(table, y="acc", by=("task", "metric")))
    assert found["sensitivity"] == pytest.approx((0.1 + 0.2) / 2)
    assert found["best"] == 0.5


def test_rows_and_units_do_not_matter() -> None:
    rng = np.random.default_rng(3)
    rates = np.repeat(np.geomspace(1e-4, 1e-1, 7), 2)
    losses = 3 + 0.05 * np.log(rates / 2e-3) ** 2 + 0.01 * rng.standard_normal(14)
    table = pl.DataFrame({"lr": rates, "loss": losses, "params": 1e8, "run": [f"r{at}" for at in range(14)]})
    found = sn.learning_rate_sensitivity(table, by="params")
    assert sn.learning_rate_sensitivity(table.reverse(), by="params").equals(found)
    other = table.with_columns(pl.col("lr") * 7, pl.col("loss") * 10 + 3)
    scaled = sn.learning_rate_sensitivity(other, by="params")
    for name in ("sensitivity", "low", "high"):
        assert scaled[name][0] == pytest.approx(10 * found[name][0])
    both = pl.concat([other.with_columns(params=pl.lit(2e8)), table])
    assert sn.learning_rate_sensitivity(both, by="params").filter(params=1e8).equals(found)
    # Of a run with several rows the last counts.
    early = table.with_columns(step=pl.lit(1), loss=pl.lit(9.0))
    late = table.with_columns(step=pl.lit(2))
    assert sn.learning_rate_sensitivity(pl.concat([early, late]), by="params").equals(found)


@pytest.mark.parametrize(
    ("options", "message", "error"),
    [
        ({"rates": (1e-2, 1e-3)}, "rates must be", OptionError),
        ({"initial_loss": float("nan")}, "initial_loss", OptionError),
        ({"x": "lrr"}, "did you mean", SchemaError),
        ({"by": "size"}, "no column 'size'", SchemaError),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=message):
        sn.learning_rate_sensitivity(sweep([1e-4, 1e-3, 1e-2], [5.0, 4.0, 3.0]), **options)
    with pytest.raises(SchemaError, match="0 or less"):
        sn.learning_rate_sensitivity(sweep([0.0, 1e-3, 1e-2], [5.0, 4.0, 3.0]))


def test_longer_training_forgives_more_on_a_published_sweep(shared: Path) -> None:
    runs = pl.read_parquet(shared / "data" / "steplaw_dense.parquet").rename({"params_nonemb": "params"})
    tuned = runs.filter(pl.col("loss") == pl.col("loss").min().over("params", "tokens", "lr"))
    table = sn.learning_rate_sensitivity(tuned, by=("params", "tokens"), rates=(5e-4, 1e-2))
    assert table["status"].value_counts(sort=True).rows() == [("ok", 14), ("at_bound", 2), ("too_few", 1)]
    smallest = table.sort("params", "tokens").head(4)["sensitivity"].to_list()
    assert smallest == pytest.approx([0.0399, 0.0122, 0.0094, 0.0053], abs=1e-4)
    assert smallest == sorted(smallest, reverse=True)
