"""Laws held against scales they have not seen: splits, errors, baselines, weights."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import signoise as sn

LAWS = ["hitchhiker", "ladder_loss_flops"]


@pytest.fixture(scope="module")
def runs() -> pl.DataFrame:
    params = np.repeat(np.geomspace(1e8, 4e9, 5), 4)
    tokens = params * np.tile([5.0, 20.0, 80.0, 320.0], 5)
    noise = np.random.default_rng(5).normal(0, 0.004, len(params))
    loss = (1.8 + 480 * params**-0.35 + 2100 * tokens**-0.37) * np.exp(noise)
    return pl.DataFrame({"params": params, "tokens": tokens, "loss": loss})


def validate(table: pl.DataFrame, laws: Any, **options: Any) -> pl.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        return sn.validate_law(table, laws, y="loss", **options)


def test_the_ladder_of_the_paper_one_rung_ahead(shared: Path) -> None:
    """Known: all 25 points of the ladder predict the 7B target with 4.09 % error."""
    points = pl.read_parquet(shared / "data" / "ladder_arc_easy_points.parquet")
    out = validate(points, "ladder_loss", per="scale", methods="rolling", interval="none")
    row = out.filter(pl.col("law") == "ladder_loss", pl.col("n_train") == 25).row(0, named=True)
    assert row["scale"] == 6887575552
    assert row["predicted"] == pytest.approx(0.5547855, abs=1e-6)
    assert row["error"] == pytest.approx(0.0409, abs=5e-5)
    assert row["n_train_scales"] == 5
    assert row["covered"] is None


def test_a_split_is_a_fit_to_the_other_rows(runs: pl.DataFrame) -> None:
    rows = validate(runs, "hitchhiker", per="scale", interval="none")
    for method, keep in (
        ("leave_one_out", pl.lit(True)),
        ("rolling", pl.col("params") < 1.5e9),
    ):
        held = runs.filter((pl.col("params") / (1e8 * 40**0.75) - 1).abs() < 1e-9)
        train = runs.join(held, on=["params", "tokens"], how="anti").filter(keep)
        direct = sn.predict(train, "hitchhiker", y="loss", at=held, interval="none")
        row = rows.filter(pl.col("law") == "hitchhiker", pl.col("method") == method)
        row = row.filter((pl.col("scale") / (1e8 * 40**0.75) - 1).abs() < 1e-9).row(0, named=True)
        assert row["predicted"] == pytest.approx(direct["predicted"].mean(), rel=1e-6)
        assert row["error"] == pytest.approx(direct["relative_error"].abs().mean(), rel=1e-3)
        assert row["bias"] == pytest.approx(direct["relative_error"].mean(), rel=1e-3)
        assert (row["n_train"], row["n_test"]) == (train.height, 4)


def test_rolling_never_looks_ahead(runs: pl.DataFrame) -> None:
    """Scores above the rung that is predicted change nothing that is said of it."""
    largest = pl.col("params") == pl.col("params").max()
    changed = runs.with_columns(loss=pl.when(largest).then(pl.col("loss") * 1.5).otherwise("loss"))
    first, second = (
        validate(table, "hitchhiker", per="scale", methods="rolling", interval="none")
        for table in (runs, changed)
    )
    below = pl.col("scale") < 3.9e9
    assert first.filter(below)["predicted"].to_list() == pytest.approx(
        second.filter(below)["predicted"].to_list(), rel=1e-6
    )


def test_baselines_are_scores_that_are_known(runs: pl.DataFrame) -> None:
    rows = validate(runs, "hitchhiker", per="scale", methods="rolling", interval="none")
    for row in rows.filter(pl.col("law") == "predict_last").iter_rows(named=True):
        known = runs.filter(pl.col("params") < row["scale"] * 0.99).sort("params", "tokens")
        assert row["predicted"] == known["loss"][-1]
    for row in rows.filter(pl.col("law") == "predict_best").iter_rows(named=True):
        known = runs.filter(pl.col("params") < row["scale"] * 0.99)
        assert row["predicted"] == known["loss"].min()


def test_best_is_the_highest_where_scores_rise(runs: pl.DataFrame) -> None:
    rising = runs.select("params", "tokens", loss=1 - pl.col("loss") / 8)
    rows = validate(rising, "ladder_accuracy", per="scale", methods="rolling", interval="none")
    best = rows.filter(pl.col("law") == "predict_best")
    assert best["predicted"][0] == rising.filter(pl.col("params") < 6e8)["loss"].max()


def test_laws_side_by_side(runs: pl.DataFrame) -> None:
    out = validate(runs, LAWS, interval="none")
    scales = validate(runs, LAWS, per="scale", interval="none")
    assert out["law"].unique().sort().to_list() == sorted([*LAWS, "predict_last", "predict_best"])
    for row in out.iter_rows(named=True):
        own = scales.filter(pl.col("law") == row["law"], pl.col("method") == row["method"])
        assert row["error"] == pytest.approx(own["error"].mean())
        assert row["worst"] == pytest.approx(own["error"].max())
        assert row["n_scales"] == own.height
        assert row["n_points"] == 4 * own.height
    for method in ("leave_one_out", "rolling"):
        weights = dict(out.filter(pl.col("method") == method).select("law", "weight").iter_rows())
        # What planted the data is the better one.
        assert weights["hitchhiker"] > 0.9
        assert weights["hitchhiker"] + weights["ladder_loss_flops"] == pytest.approx(1)
        assert weights["predict_last"] is None
    fit = sn.fit_scaling_law(runs, "hitchhiker", y="loss", interval="none")
    assert out.filter(pl.col("law") == "hitchhiker")["aicc"][0] == pytest.approx(fit["aicc"][0], rel=1e-9)
    assert out.filter(pl.col("law") == "ladder_loss_flops")["bic"].null_count() == 2


def test_intervals_cover_what_was_planted(runs: pl.DataFrame) -> None:
    out = validate(runs, "hitchhiker", n_resamples=100)
    covered = out.filter(pl.col("law") == "hitchhiker")["covered"].to_list()
    assert all(share >= 0.85 for share in covered)


def test_columns_for_each_law(runs: pl.DataFrame) -> None:
    with_flops = runs.with_columns(flops=6 * pl.col("params") * pl.col("tokens"))
    out = validate(
        with_flops, ["hitchhiker", "power_law"], x={"power_law": "flops"}, methods="rolling", interval="none"
    )
    assert out.filter(pl.col("law") == "power_law")["n_scales"].item() == 3
    assert out["weight"].null_count() == 2


def test_laws_of_different_rows_have_no_weights(runs: pl.DataFrame) -> None:
    some = runs.with_row_index().with_columns(
        flops=pl.when(pl.col("index") != 7).then(6 * pl.col("params") * pl.col("tokens"))
    )
    out = validate(some, LAWS, methods="rolling", interval="none")
    assert out["weight"].null_count() == out.height


def test_too_few_scales(runs: pl.DataFrame) -> None:
    small = runs.filter(pl.col("params") < 3e8)
    out = validate(small, "hitchhiker", interval="none")
    assert set(out["status"]) == {"too_few"}
    assert out["error"].null_count() == out.height
    with pytest.raises(sn.FitError):
        validate(small, "hitchhiker", interval="none", strict=True)


def test_splits_without_enough_points_are_told(runs: pl.DataFrame) -> None:
    thin = runs.filter((pl.col("tokens") / pl.col("params") - 20).abs() < 1e-6)
    out = validate(thin, "ladder_loss_flops", methods="rolling", interval="none")
    row = out.filter(pl.col("law") == "ladder_loss_flops").row(0, named=True)
    assert row["n_scales"] == 2
    assert "skipped_scales" in row["flags"]


def test_what_is_said_of_the_table_is_said_once(runs: pl.DataFrame) -> None:
    with pytest.warns(sn.DroppedRowsWarning) as told:
        sn.validate_law(
            pl.concat([runs, runs.with_columns(loss=None)]),
            LAWS,
            y="loss",
            methods="rolling",
            interval="none",
        )
    texts = [str(one.message) for one in told]
    assert len(texts) == len(set(texts))
    assert any("20 rows without loss were left out" in text for text in texts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"law": ["chinchilla", "chinchilla"]}, "name each thing once"),
        ({"law": []}, "name each thing once"),
        ({"law": "chinchila"}, "there is no 'chinchila'.*chinchilla"),
        ({"methods": "loo"}, "methods must be one of"),
        ({"per": "rung"}, "per must be one of"),
        ({"bounds": {"alfa": (0, 1)}}, "no law here has a parameter 'alfa'.*alpha"),
    ],
)
def test_what_is_refused(runs: pl.DataFrame, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(sn.OptionError, match=message):
        sn.validate_law(runs, **{"law": "hitchhiker", "y": "loss", **arguments})
