"""The verb `mixed_effects`: statsmodels called directly, analysis of variance in closed form, and what it refuses."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM

import signoise as sn
from signoise import _mixed_effects


def crossed(
    seed: int = 0,
    *,
    items: int = 40,
    recipes: int = 2,
    seeds: int = 3,
    run_sd: float = 0.3,
    item_sd: float = 1.0,
) -> pl.DataFrame:
    """Losses with planted instance and run effects."""
    rng = np.random.default_rng(seed)
    runs = recipes * seeds
    y = 2 + 0.5 * (np.arange(runs) // seeds)[None, :] + run_sd * rng.normal(size=runs)[None, :]
    y = y + item_sd * rng.normal(size=items)[:, None] + rng.normal(size=(items, runs))
    item, run = np.indices(y.shape)
    return pl.DataFrame(
        {
            "instance_id": [f"i{i:03}" for i in item.ravel()],
            "run": [f"r{r:02}" for r in run.ravel()],
            "recipe": [f"c{r // seeds}" for r in run.ravel()],
            "value": y.ravel(),
        }
    ).with_columns(task=pl.lit("t"), metric=pl.lit("loss"))


def estimates(table: pl.DataFrame, term: str) -> np.ndarray:
    return table.filter(pl.col("term") == term)["estimate"].to_numpy()


def test_balanced_scores_in_closed_form() -> None:
    frame = crossed(recipes=4, seeds=1)
    y = frame.pivot(on="run", index="instance_id", values="value").drop("instance_id").to_numpy()
    n, k = y.shape
    residual = y - y.mean(0) - y.mean(1, keepdims=True) + y.mean()
    mse = (residual**2).sum() / ((n - 1) * (k - 1))
    between = y.mean(1).var(ddof=1) - mse / k
    table = sn.mixed_effects(frame, baseline="r00")
    assert table["term"].to_list() == ["run"] * 7 + ["instance_id", "residual"]
    assert estimates(table, "instance_id")[0] == pytest.approx(between, rel=1e-6)
    assert estimates(table, "residual")[0] == pytest.approx(mse, rel=1e-6)
    np.testing.assert_allclose(estimates(table, "run")[:4], y.mean(0), rtol=1e-9)
    np.testing.assert_allclose(table["stderr"][:4], np.sqrt((between + mse) / n), rtol=1e-4)
    row = table.row(4, named=True)
    paired = stats.ttest_rel(y[:, 1], y[:, 0])
    assert (row["level"], row["baseline"], row["df"]) == ("r01", "r00", (n - 1) * (k - 1))
    assert row["estimate"] == pytest.approx((y[:, 1] - y[:, 0]).mean(), rel=1e-9)
    assert row["stderr"] == pytest.approx(np.sqrt(2 * mse / n), rel=1e-5)
    expected = 2 * stats.t.sf(abs(row["estimate"]) / row["stderr"], row["df"])
    assert row["p_value"] == pytest.approx(expected, rel=1e-8)
    assert np.sign(row["estimate"]) == np.sign(paired.statistic)
    share = table.filter(pl.col("share").is_not_null())["share"]
    assert share.sum() == pytest.approx(1.0)


def test_crossed_and_unbalanced_as_statsmodels_fits_it() -> None:
    frame = crossed(3, items=30).sample(fraction=0.8, seed=1)
    table = sn.mixed_effects(frame, fixed="recipe", baseline="c0")
    assert table["term"].to_list() == ["recipe"] * 3 + ["instance_id", "run", "residual"]
    data = frame.select("value", "recipe", "run", item="instance_id").to_pandas()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        direct = MixedLM.from_formula(
            "value ~ 0 + C(recipe)",
            groups=np.ones(len(data)),
            vc_formula={"item": "0 + C(item)", "run": "0 + C(run)"},
            data=data,
        ).fit(method="bfgs", gtol=1e-7)
    np.testing.assert_allclose(estimates(table, "recipe")[:2], direct.fe_params, rtol=1e-5)
    np.testing.assert_allclose(table["stderr"][:2], direct.bse_fe, rtol=1e-3)
    components = [estimates(table, name)[0] for name in ("instance_id", "run", "residual")]
    np.testing.assert_allclose(components, [*direct.vcomp, direct.scale], rtol=1e-3)
    row = table.row(2, named=True)
    assert row["df"] == 6 - 2  # runs within recipes
    covariance = np.asarray(direct.cov_params())[:2, :2]
    assert row["stderr"] == pytest.approx(np.sqrt([1, -1] @ covariance @ [1, -1]), rel=1e-3)


def test_clusters_are_a_term_where_instances_share_one() -> None:
    frame = crossed(4, items=60, recipes=2, seeds=1)
    number = pl.col("instance_id").str.slice(1).cast(pl.Int64)
    shared = frame.with_columns(cluster=(number // 6).cast(pl.String))
    shared = shared.with_columns(value=pl.col("value") + 2 * (number // 6 % 3))
    table = sn.mixed_effects(shared)
    assert table["term"].to_list() == ["run", "run", "instance_id", "cluster", "residual"]
    assert table["n_levels"].to_list() == [2, 2, 60, 10, 120]
    assert estimates(table, "cluster")[0] > 1
    single = frame.with_columns(cluster=pl.col("instance_id"))
    assert "cluster" not in sn.mixed_effects(single)["term"].to_list()
    assert "cluster" not in sn.mixed_effects(shared, random="instance_id")["term"].to_list()


def test_a_variance_at_its_bound_is_zero() -> None:
    frame = crossed(2, items=30, recipes=3, seeds=1, item_sd=0.0)
    y = frame.pivot(on="run", index="instance_id", values="value").drop("instance_id").to_numpy()
    centred = y - y.mean(0)
    residual = centred - centred.mean(1, keepdims=True)
    assert centred.mean(1).var(ddof=1) < (residual**2).sum() / (29 * 2) / 3  # a negative component
    table = sn.mixed_effects(frame)
    assert table["status"].unique().to_list() == ["at_bound"]
    assert estimates(table, "instance_id")[0] == 0
    scale = (centred**2).sum() / (90 - 3)
    assert estimates(table, "residual")[0] == pytest.approx(scale)
    np.testing.assert_allclose(table["stderr"][:3], np.sqrt(scale / 30), rtol=1e-9)
    # one of two components: the rest is the model without it
    both = sn.mixed_effects(crossed(5, run_sd=0.0), fixed="recipe")
    if both["status"][0] == "at_bound":
        alone = sn.mixed_effects(crossed(5, run_sd=0.0), fixed="recipe", random="instance_id")
        assert estimates(both, "residual")[0] == pytest.approx(estimates(alone, "residual")[0])


def test_an_optimum_that_was_not_found_gives_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = MixedLM.fit

    def unfinished(self: Any, *args: Any, **options: Any) -> Any:
        found = fit(self, *args, **options)
        found.converged = False
        return found

    monkeypatch.setattr(MixedLM, "fit", unfinished)
    table = sn.mixed_effects(crossed())
    assert table["status"].unique().to_list() == ["not_converged"]
    assert (
        table.select("estimate", "stderr", "low", "high", "share").null_count().row(0) == (table.height,) * 5
    )
    with pytest.raises(sn.InsufficientDataError, match="not_converged"):
        sn.mixed_effects(crossed(), strict=True)


def test_undefined_models() -> None:
    one = sn.mixed_effects(crossed(recipes=1, seeds=1))
    assert one["status"].unique().to_list() == ["too_few"]  # instance and residual cannot be told apart
    same = sn.mixed_effects(crossed().with_columns(value=pl.lit(1.0)))
    assert same["status"].unique().to_list() == ["constant"]
    ratio = sn.mixed_effects(crossed(items=12).with_columns(weight=pl.lit(2.0)))
    assert ratio["status"].unique().to_list() == ["not_a_mean"]
    assert ratio["estimate"].null_count() == ratio.height


def test_other_keys_and_row_order() -> None:
    frame = crossed(items=20)
    two = pl.concat([frame, frame.with_columns(task=pl.lit("u"), value=pl.col("value") * 3)])
    table = sn.mixed_effects(two)
    first, second = (table.filter(pl.col("task") == task) for task in ("t", "u"))
    np.testing.assert_allclose(3 * first["stderr"], second["stderr"], rtol=1e-6)
    assert table.equals(sn.mixed_effects(two.sample(fraction=1.0, shuffle=True, seed=1)))
    assert_frame_equal(sn.reference.mixed_effects(frame), sn.mixed_effects(frame))


def test_impossible_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(sn.OptionError, match="random must name columns other than fixed"):
        sn.mixed_effects(crossed(), random=["run", "instance_id"])
    with pytest.raises(sn.SchemaError, match="run is never 'r99'"):
        sn.mixed_effects(crossed(), baseline="r99")
    with pytest.raises(sn.SchemaError, match="no column 'seed'"):
        sn.mixed_effects(crossed(), random=["instance_id", "seed"])
    with pytest.raises(sn.SchemaError, match="these scores have none"):
        sn.mixed_effects(sn.example_scores())
    with pytest.raises(sn.SchemaError, match="have no 'cluster'"):
        sn.mixed_effects(crossed().with_columns(cluster=pl.lit(None, dtype=pl.String)), random="cluster")
    monkeypatch.setattr(_mixed_effects, "LARGEST", 1000)
    with pytest.raises(sn.OptionError, match="rows x levels together, more than 1,000"):
        sn.mixed_effects(crossed(), fixed="recipe")


def test_without_statsmodels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "statsmodels.regression", None)
    with pytest.raises(sn.SignoiseError, match=r"pip install 'signoise\[mixed\]'"):
        sn.mixed_effects(crossed())
