"""Clusters of instances by difficulty: planted sorts are found, and the way by them foretells better than the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import signoise as sn
from bench_modules import bench_module
from signoise._errors import InsufficientDataError, OptionError, SchemaError
from signoise._interventions._difficulty_clusters import mean_shift, way_back

planted = bench_module("study_difficulty")


@pytest.fixture(scope="module")
def scores() -> pl.DataFrame:
    rng = np.random.default_rng(5)
    compute, rates = planted.simulated(rng, 300)
    found: pl.DataFrame = planted.table(compute, rng.binomial(100, rates) / 100)
    return found


# --- pieces ----------------------------------------------------------------------------------------------------


def test_mean_shift_finds_heaps_no_wider_than_the_radius() -> None:
    rng = np.random.default_rng(0)
    heaps = np.repeat([[0.1, 0.1, 0.1], [0.1, 0.5, 0.9], [0.9, 0.9, 0.9]], [60, 40, 20], axis=0)
    points = heaps + 0.02 * rng.standard_normal(heaps.shape)
    points[0] = [0.9, 0.1, 0.1]
    cluster = mean_shift(points, 0.1, 10)
    assert cluster.tolist() == [-1] + [0] * 59 + [1] * 40 + [2] * 20
    order = rng.permutation(len(points))
    assert np.array_equal(mean_shift(points[order], 0.1, 10), cluster[order])
    for number in range(3):
        own = points[cluster == number]
        assert np.sqrt(((own - own.mean(axis=0)) ** 2).mean(axis=1)).max() < 2 * 0.1
    assert (mean_shift(points, 0.1, 61) == -1).all()
    # A chain of near points is one mode to plain mean shift: here it is cut.
    chain = np.linspace(0, 1, 101)[:, None]
    pieces = mean_shift(chain, 0.1, 5)
    assert max(np.ptp(chain[pieces == number]) for number in range(pieces.max() + 1)) <= 0.2 + 1e-9


def test_the_way_back_is_the_curve_that_foretold() -> None:
    x = np.linspace(0.05, 0.6, 12)
    at = np.array([0.7, 0.95])
    assert way_back(x, 0.2 + 0.5 * x)(at) == pytest.approx(0.2 + 0.5 * at)
    bent = 1 - (1 - x) * (0.9 - 0.4 * x + 0.3 * x**2)
    assert way_back(x, bent)(at) == pytest.approx(1 - (1 - at) * (0.9 - 0.4 * at + 0.3 * at**2))
    assert way_back(np.full(5, 0.3), np.full(5, 0.5))(at) == pytest.approx(at + 0.2)


# --- planted benchmarks -------------------------------------------------------------------------------------------


def test_planted_sorts_are_found(scores: pl.DataFrame) -> None:
    clusters = sn.clustering_on_difficulty(scores, per="cluster")
    assert clusters["kind"].to_list()[:2] == ["predictable"] * 2
    rising = clusters.filter(kind="predictable").sort("first", descending=True)
    half_way = np.log10((rising["a"] / np.log(2)) ** (1 / rising["b"])).to_numpy()
    assert half_way == pytest.approx(planted.HALF_WAY, abs=0.1)
    assert rising["c"].to_list() == pytest.approx([planted.CEILING] * 2, abs=0.03)
    flat = clusters.filter(kind="flat")
    assert {round(value, 1) for value in flat["last"]} <= {0.0, 1.0}
    items = sn.clustering_on_difficulty(scores, per="item")
    assert items.height == 300
    assert items["cluster"].is_null().equals((items["kind"] == "unclustered").rename("cluster"))
    sizes = items.drop_nulls("cluster").group_by("cluster").len().sort("cluster")["len"]
    assert sizes.to_list() == clusters["n_instances"].to_list()


def test_the_target_is_foretold_better_than_by_the_whole(scores: pl.DataFrame) -> None:
    target = sn.clustering_on_difficulty(scores, hold_out=1, strict=True).row(0, named=True)
    assert target["extrapolation"] == pytest.approx(10**1.5)
    assert target["error"] == pytest.approx(target["predicted"] - target["score"])
    assert abs(target["error"]) < 0.02
    assert abs(target["whole_error"]) > 0.03
    # What is held out has no say.
    known = scores.filter(pl.col("run") != target["run"])
    ahead = sn.clustering_on_difficulty(known, hold_out=0, at=target["flops"]).row(0, named=True)
    for name in ("predicted", "whole", "subset", "n_clusters", "n_predictable"):
        assert ahead[name] == target[name]
    assert (ahead["run"], ahead["score"], ahead["error"]) == (None, None, None)


def test_repeats_are_averaged_and_order_does_not_matter(scores: pl.DataFrame) -> None:
    apart = pl.concat(
        [
            scores.with_columns(
                pl.lit(repeat, dtype=pl.Int32).alias("repeat"),
                (pl.col("value") + shift).clip(0, 1).alias("value"),
            )
            for repeat, shift in enumerate((-0.01, 0.01))
        ]
    )
    averaged = apart.group_by("run", "flops", "task", "metric", "instance_id", maintain_order=True).agg(
        pl.col("value").mean()
    )
    expected = sn.clustering_on_difficulty(averaged, hold_out=1)
    for rows in (apart, apart.sample(fraction=1, shuffle=True, seed=1)):
        found = sn.clustering_on_difficulty(rows, hold_out=1)
        assert found["predicted"].to_list() == pytest.approx(expected["predicted"].to_list(), rel=1e-9)
    assert sn.clustering_on_difficulty(averaged.reverse(), hold_out=1).equals(expected)


def test_groups_stand_alone_and_twins_agree(scores: pl.DataFrame) -> None:
    other = scores.with_columns(pl.lit("u").alias("task"), pl.col("value") ** 2)
    alone = sn.clustering_on_difficulty(scores, hold_out=1)
    both = sn.clustering_on_difficulty(pl.concat([other, scores]), hold_out=1)
    assert both.filter(task="t").equals(alone)
    few = scores.filter(pl.col("run") > "m06", pl.col("instance_id") < "i0060")
    twin = sn.reference.clustering_on_difficulty(few, hold_out=1)
    assert twin["predicted"][0] == pytest.approx(
        sn.clustering_on_difficulty(few, hold_out=1)["predicted"][0], rel=1e-6
    )


def test_other_models_calibrate_the_way_back_alone(scores: pl.DataFrame) -> None:
    known = scores.filter(pl.col("run") < "m12").with_columns(origin=pl.lit("ours"))
    others = scores.filter(pl.col("run") == "m12").with_columns(
        pl.lit("theirs").alias("origin"), pl.lit(None, dtype=pl.Float64).alias("flops")
    )
    plain = sn.clustering_on_difficulty(known, hold_out=1).row(0, named=True)
    helped = sn.clustering_on_difficulty(
        pl.concat([known, others]), hold_out=1, calibration="origin = 'theirs'"
    ).row(0, named=True)
    for name in ("subset", "whole", "n_models", "n_clusters"):
        assert helped[name] == plain[name]
    assert helped["predicted"] != plain["predicted"]


def test_bins_are_means_of_neighbours(scores: pl.DataFrame) -> None:
    fine = sn.clustering_on_difficulty(scores, hold_out=1, bins=99)
    assert fine.drop("signature").equals(sn.clustering_on_difficulty(scores, hold_out=1).drop("signature"))
    coarse = sn.clustering_on_difficulty(scores, hold_out=1, bins=4).row(0, named=True)
    assert coarse["n_clusters"] >= 2
    assert abs(coarse["error"]) < 0.05


def test_guess_rates_are_known_or_given(scores: pl.DataFrame) -> None:
    lifted = scores.with_columns(
        pl.lit("arc_easy").alias("task"), (0.25 + 0.75 * pl.col("value")).alias("value")
    )
    own = sn.clustering_on_difficulty(lifted, per="cluster")
    assert own.filter(kind="predictable")["limit"].min() > 0.25
    given = sn.clustering_on_difficulty(lifted.with_columns(task=pl.lit("x")), per="cluster", chance=0.25)
    assert given["a"].to_list() == own["a"].to_list()


# --- undefined ---------------------------------------------------------------------------------------------------


def test_what_is_undefined(scores: pl.DataFrame) -> None:
    few = sn.clustering_on_difficulty(scores.filter(pl.col("run") < "m05"))
    assert few["status"].unique().to_list() == ["too_few"]
    assert few.select("predicted", "whole").null_count().row(0) == (3, 3)
    level = sn.clustering_on_difficulty(scores.with_columns(pl.lit(0.5).alias("value")), hold_out=1)
    row = level.row(0, named=True)
    assert (row["status"], row["predicted"], row["n_predictable"]) == ("not_identified", None, 0)
    assert row["whole"] == pytest.approx(0.5, abs=1e-3)
    with pytest.raises(InsufficientDataError):
        sn.clustering_on_difficulty(scores.filter(pl.col("run") < "m05"), strict=True)
    lacking = scores.filter((pl.col("run") != "m03") | (pl.col("instance_id") != "i0007"))
    assert sn.clustering_on_difficulty(lacking)["n_unmatched"].to_list() == [1] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radius": 1.5}, "radius must be"),
        ({"chance": 1.0}, "chance must be"),
        ({"at": -1.0}, "at must be"),
        ({"per": "items"}, "per"),
        ({"min_instances": 1}, "min_instances"),
        ({"hold_out": -1}, "hold_out"),
    ],
)
def test_what_is_refused(scores: pl.DataFrame, options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        sn.clustering_on_difficulty(scores, **options)  # type: ignore[arg-type]


def test_tables_that_do_not_serve(scores: pl.DataFrame) -> None:
    with pytest.raises(SchemaError, match="from 0 to 1"):
        sn.clustering_on_difficulty(scores.with_columns(pl.col("value") * 100))
    with pytest.raises(SchemaError, match="compute"):
        sn.clustering_on_difficulty(scores.drop("flops"))
    with pytest.raises(SchemaError, match="instances"):
        sn.clustering_on_difficulty(scores.drop("instance_id"))


def test_published_losses_of_instances_make_one_cluster(shared: Path) -> None:
    """22 models: the right answer is so improbable to all that no instance stands out, and nothing is gained."""
    losses = pl.read_parquet(shared / "data" / "gemstones_item_losses_openbookqa.parquet")
    last = losses.filter(pl.col("step") == pl.col("step").max().over("model"))
    width, depth = (pl.col("model").str.extract(form).cast(pl.Float64) for form in (r"-(\d+)x", r"x(\d+)$"))
    table = last.select(
        pl.col("model").alias("run"),
        (width**2 * depth).alias("flops"),
        pl.lit("openbookqa").alias("task"),
        pl.lit("correct_prob").alias("metric"),
        pl.col("item").cast(pl.String).alias("instance_id"),
        (-pl.col("loss")).exp().cast(pl.Float64).alias("value"),
    )
    found = sn.clustering_on_difficulty(table, min_rise=0.005, min_explained=0.5)
    assert found["n_clusters"].to_list() == [1] * 3
    assert found["error"].to_list() == pytest.approx(found["whole_error"].to_list(), abs=1e-4)
    assert found["whole_error"].abs().max() < 0.006
