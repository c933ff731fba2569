"""The verb `anchor_items`: clusters, estimators written out, no look at held-out runs, undefined cases."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy import special

import signoise as sn
from signoise._interventions._anchors import ESTIMATORS, Draws, Fitted, Subset, balances, held_out
from signoise._interventions._k_means import k_means
from signoise._interventions._right_wrong import ItemModel
from test_item_response import simulated, table

HOW = ItemModel("2pl", "weak", 500, None)
DRAWS = Draws(0, 1)


def test_k_means_finds_clusters_that_are_apart() -> None:
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [10, 0], [0, 10], [10, 10.0]])
    truth = rng.integers(0, 4, 200)
    points = centres[truth] + rng.normal(size=(200, 2))
    cluster, distance = k_means(points, np.ones(200), 4, rng.random((5, 4)))
    for one in range(4):
        assert len(np.unique(cluster[truth == one])) == 1
        own = points[truth == one]
        np.testing.assert_allclose(distance[truth == one], ((own - own.mean(axis=0)) ** 2).sum(axis=1))


def test_k_means_counts_weights_as_repeated_points() -> None:
    rng = np.random.default_rng(1)
    points, counts = rng.normal(size=(30, 2)), rng.integers(1, 4, 30)
    cluster, distance = k_means(points, counts.astype(float), 5, rng.random((5, 5)))
    for one in range(5):
        centre = np.average(points[cluster == one], axis=0, weights=counts[cluster == one])
        np.testing.assert_allclose(
            distance[cluster == one], ((points[cluster == one] - centre) ** 2).sum(axis=1)
        )
    each, apart = k_means(points, counts.astype(float), 30, rng.random((1, 30)))
    assert sorted(each) == list(range(30))
    assert apart.max() < 1e-25


def test_estimators_written_out() -> None:
    x, _, _, _ = simulated(0, 30, 25)
    model = Fitted.of(x[:20], HOW)
    subset = Subset(np.array([1, 4, 9, 20]), np.array([0.4, 0.3, 0.2, 0.1]))
    test = x[20:]
    found = dict(zip(ESTIMATORS, model.estimates(test, subset, 0.3), strict=True))
    a, b = model.discrimination, model.difficulty
    theta = HOW.abilities(test[:, subset.items], a[subset.items], b[subset.items])
    nodes = np.linspace(-8, 8, 4001)[:, None]
    for run in range(10):
        p = special.expit(a[subset.items] * (nodes - b[subset.items]))
        posterior = np.where(test[run, subset.items] == 1, p, 1 - p).prod(axis=1) * np.exp(
            -(nodes[:, 0] ** 2) / 2
        )
        assert theta[run] == pytest.approx((nodes[:, 0] * posterior).sum() / posterior.sum(), abs=1e-8)
        chances = special.expit(a * (theta[run] - b))
        rest = np.delete(chances, subset.items)
        performance = (test[run, subset.items].sum() + rest.sum()) / 25
        mean = test[run, subset.items] @ subset.weights
        for name, expected in (
            ("mean", mean),
            ("irt", chances.mean()),
            ("p_irt", performance),
            ("gp_irt", 0.3 * mean + 0.7 * performance),
        ):
            assert found[name][run] == pytest.approx(expected, abs=1e-8), name


def test_anchors_are_instances_with_the_weights_of_their_clusters() -> None:
    x, _, _, _ = simulated(1, 40, 80)
    found = sn.anchor_items(table(x), n_anchors=10, per="item")
    assert found.height == 10
    assert found["weight"].sum() == pytest.approx(1)
    np.testing.assert_allclose((found["weight"] * 80).round(), found["weight"] * 80, atol=1e-9)
    items = sn.item_response(table(x)).join(found, on="instance_id", how="inner", suffix="_anchor")
    assert items["difficulty"].to_list() == items["difficulty_anchor"].to_list()
    assert np.ptp(found["difficulty"].to_numpy()) > 2  # they span the scale
    # twelve items, but four patterns of answers: the model tells four apart
    few = np.tile(np.array([[1, 0, 1, 0], [1, 1, 0, 0], [0, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0.0]]), 3)
    few_found = sn.anchor_items(table(few), n_anchors=6, per="item")
    assert few_found.height == 4
    assert few_found["weight"].to_list() == [0.25] * 4


def test_held_out_runs_do_not_reach_their_own_estimates() -> None:
    x, _, _, _ = simulated(2, 20, 40)
    fold = DRAWS.folds(20, 4)
    assert np.bincount(fold).tolist() == [5, 5, 5, 5]
    before = held_out(x, 8, 4, 3, HOW, DRAWS)
    changed = x.copy()
    run = int(np.flatnonzero(fold == 0)[0])
    changed[run] = 1 - changed[run]
    after = held_out(changed, 8, 4, 3, HOW, DRAWS)
    others = (fold == 0) & (np.arange(20) != run)
    np.testing.assert_array_equal(after.anchors[:, others], before.anchors[:, others])
    np.testing.assert_array_equal(after.random[:, others], before.random[:, others])
    assert not np.array_equal(after.anchors[:, fold == 1], before.anchors[:, fold == 1])


def test_balance_of_gp_irt() -> None:
    x, _, _, _ = simulated(3, 40, 100)
    mine, control = balances(x, 20, HOW, DRAWS)
    assert 0 < mine < 1
    assert 0 < control < 1


def test_the_table_of_errors() -> None:
    x, _, _, _ = simulated(4, 40, 150)
    found = sn.anchor_items(table(x), n_anchors=15, n_resamples=30)
    assert found["subset"].to_list() == ["anchors"] * 4 + ["random"] * 4
    assert found["estimator"].to_list() == [*ESTIMATORS] * 2
    assert found["n_anchors"].unique().to_list() == [15]
    control = found.filter(subset="random", estimator="mean").row(0, named=True)
    assert (control["gain"], control["gain_low"]) == (None, None)
    others = found.filter(pl.col("gain").is_not_null())
    np.testing.assert_allclose(others["gain"], control["error"] - others["error"])
    assert found.filter(pl.col("error").is_between("error_low", "error_high")).height == 8
    assert found["error_sd"].is_null().to_list() == [True] * 4 + [False] * 4
    # A mean of 15 out of 150 answers errs by sqrt(2/pi) of its standard error, sampled without replacement.
    p = x.mean(axis=1)
    expected = np.sqrt(2 / np.pi * p * (1 - p) / 15 * (1 - 15 / 150)).mean()
    assert control["error"] == pytest.approx(expected, rel=0.1)
    # Where the model is true it helps.
    helped = found.filter(subset="random", estimator="p_irt").row(0, named=True)
    assert helped["gain_low"] > 0
    assert found["decision_accuracy"].is_between(0.7, 1).all()


def test_groups_rows_and_twins() -> None:
    frame = pl.concat(
        [table(simulated(seed, 8, 14)[0]).with_columns(task=pl.lit(name)) for seed, name in enumerate("tu")]
    )
    options = {"n_anchors": 4, "n_folds": 2, "n_resamples": 3}
    for per in ("estimator", "item"):
        found = sn.anchor_items(frame, per=per, **options)  # type: ignore[arg-type]
        shuffled = frame.sample(fraction=1.0, shuffle=True, seed=1)
        assert found.equals(sn.anchor_items(shuffled, per=per, threads=1, **options))  # type: ignore[arg-type]
        alone = sn.anchor_items(frame.filter(task="u"), per=per, **options)  # type: ignore[arg-type]
        assert alone.equals(found.filter(task="u"))
    found = sn.anchor_items(frame, **options)  # type: ignore[arg-type]
    alone = frame.filter(task="u")
    twin = sn.reference.anchor_items(alone, **options)  # type: ignore[arg-type]
    assert_frame_equal(twin, found.filter(task="u"), abs_tol=1e-4)
    other = sn.anchor_items(frame, rng_seed=1, **options)  # type: ignore[arg-type]
    assert other["error"].to_list() != found["error"].to_list()


def test_undefined_and_wrong() -> None:
    x, _, _, _ = simulated(5, 6, 30)
    found = sn.anchor_items(table(x[:4]), n_anchors=5)
    assert found["status"].unique().to_list() == ["too_few"]
    assert found["error"].null_count() == 8
    assert sn.anchor_items(table(x), n_anchors=30, per="item")["status"].to_list() == ["too_few"]
    holes = table(x).filter(~((pl.col("run") == "r000") & (pl.col("instance_id") < "i005")))
    row = sn.anchor_items(holes, n_anchors=5, n_resamples=2).row(0, named=True)
    assert (row["n_instances"], row["n_unmatched"]) == (25, 5)
    assert row["flags"] == ["few_members", "unmatched"]
    weighted = table(x).with_columns(weight=pl.lit(2.0))
    assert sn.anchor_items(weighted, n_anchors=5)["status"].unique().to_list() == ["not_a_mean"]
    with pytest.raises(sn.SchemaError, match="anchor_items works on scores that are 0 or 1"):
        sn.anchor_items(table(x / 2))
    with pytest.raises(sn.OptionError, match="n_anchors must be a whole number of at least 2"):
        sn.anchor_items(table(x), n_anchors=1)
    with pytest.raises(sn.InsufficientDataError, match="too_few"):
        sn.anchor_items(table(x[:3]), n_anchors=5, strict=True)
