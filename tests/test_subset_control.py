"""The verb `subset_control`: measures written out, exchangeability of random choices, undefined cases."""

from __future__ import annotations

from functools import partial
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import signoise as sn
from test_item_statistics import table as runs_by_items

table = partial(runs_by_items, metric="soft")


def scores(seed: int = 0, runs: int = 8, items: int = 30) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 0.5 + 0.1 * rng.normal(size=(runs, 1)) + 0.2 * rng.normal(size=(runs, items))


def measures(x: np.ndarray, columns: list[int]) -> list[float]:
    part = x[:, columns]
    means, whole = part.mean(axis=1), x.mean(axis=1)
    pairs = list(combinations(range(len(x)), 2))
    agree = [0.5 + 0.5 * np.sign((means[i] - means[j]) * (whole[i] - whole[j])) for i, j in pairs]
    stderr = part.std(axis=1, ddof=1) / np.sqrt(len(columns))
    return [np.mean(agree), np.ptp(means) / abs(means.mean()), stderr.mean()]


def names(columns: list[int]) -> list[str]:
    return [f"i{i:02}" for i in columns]


def test_measures_written_out() -> None:
    x, chosen = scores(), [0, 3, 4, 11, 12, 20, 29]
    found = sn.subset_control(table(x), subset=names(chosen))
    assert found["measure"].to_list() == ["decision_accuracy", "relative_dispersion", "stderr"]
    np.testing.assert_allclose(found["value"], measures(x, chosen), rtol=1e-10)
    assert found.select("n_runs", "n_instances", "n_chosen").unique().rows() == [(8, 30, 7)]
    # control: all subsets of 7 have these means, but for Monte Carlo error
    rng = np.random.default_rng(1)
    random = np.array([measures(x, rng.choice(30, 7, replace=False).tolist()) for _ in range(2000)])
    error = random.std(axis=0) * np.sqrt(1 / 1000 + 1 / 2000)
    assert (np.abs(found["control"].to_numpy() - random.mean(axis=0)) < 5 * error).all()
    inside = (random >= found["control_low"].to_numpy()) & (random <= found["control_high"].to_numpy())
    assert (inside.mean(axis=0) > 0.92).all()


def test_good_and_bad_choices() -> None:
    rng = np.random.default_rng(3)
    runs = np.linspace(0, 1, 12)[:, None]
    x = np.hstack([runs + 0.05 * rng.normal(size=(12, 15)), 0.5 + 2 * rng.normal(size=(12, 35))])
    good = sn.subset_control(table(x), subset=names(list(range(15))))
    assert good["p_value"][2] == pytest.approx(1 / 1001)  # none varies so little
    bad = sn.subset_control(table(x), subset=names(list(range(35, 50))))
    assert bad["p_value"][2] > 0.5
    assert (good["control"] - bad["control"]).abs().max() == 0  # the same random subsets


def test_ties_are_ties_whatever_the_rounding() -> None:
    x = np.array([[0.1, 0.2, 0.3, 0.9], [0.3, 0.2, 0.1, 0.7], [0.2, 0.2, 0.2, 0.8]])
    found = sn.subset_control(table(x), subset=["i00", "i01", "i02"], n_resamples=50)
    assert found["value"][0] == 0.5


def test_groups_row_order_and_seeds() -> None:
    frame = table(scores())
    two = pl.concat([frame, table(scores(1)).with_columns(task=pl.lit("u"))])
    found = sn.subset_control(two, subset=names([1, 2, 3, 4]))
    assert found.equals(
        sn.subset_control(two.sample(fraction=1.0, shuffle=True, seed=2), subset=names([4, 3, 2, 1]))
    )
    assert found.filter(task="t").equals(sn.subset_control(frame, subset=names([1, 2, 3, 4])))
    other = sn.subset_control(frame, subset=names([1, 2, 3, 4]), rng_seed=1)
    assert (other["value"] == found.filter(task="t")["value"]).all()
    assert (other["control"] != found.filter(task="t")["control"]).all()
    assert_frame_equal(sn.reference.subset_control(two, subset=names([1, 2, 3, 4])), found)


def test_undefined_rows_and_wrong_calls() -> None:
    frame = table(scores())
    whole = sn.subset_control(frame, subset=names(list(range(30))))
    assert whole["status"].unique().to_list() == ["constant"]
    assert whole["p_value"].null_count() == 3
    assert whole["value"][0] == 1
    one = sn.subset_control(frame, subset=["i03", "x"])
    assert (one["status"][0], one["n_chosen"][0], one["value"].null_count()) == ("too_few", 1, 3)
    alone = sn.subset_control(frame.filter(run="r00"), subset=names([1, 2]))
    assert alone["status"].unique().to_list() == ["too_few"]
    zero = sn.subset_control(table(np.array([[1.0, 1, 1], [-1.0, -1, -1]])), subset=names([0, 1]))
    assert zero["status"].to_list() == ["constant", "zero_mean", "constant"]
    lost = sn.subset_control(
        frame.filter((pl.col("run") != "r00") | (pl.col("instance_id") != "i05")), subset=names([1, 2])
    )
    assert lost.select("n_instances", "n_unmatched").row(0) == (29, 1)
    assert lost["flags"][0].to_list() == ["unmatched"]
    with pytest.raises(sn.SchemaError, match="none of its 2 instances"):
        sn.subset_control(frame, subset=["x", "y"])
    with pytest.raises(sn.OptionError, match="collection of instance_id"):
        sn.subset_control(frame, subset="i01")


def test_scores_that_are_no_plain_means_are_left_to_others() -> None:
    plain = table(scores())
    half = [f"i{i:02}" for i in range(15)]
    weighted = plain.with_columns(weight=pl.int_range(1, pl.len() + 1).cast(pl.Float64))
    found = sn.subset_control(weighted, subset=half, n_resamples=20)
    assert found["status"].unique().to_list() == ["not_a_mean"]
    assert found["value"].null_count() == found.height
    assert sn.subset_control(plain, subset=half, n_resamples=20)["status"].unique().to_list() == ["ok"]
