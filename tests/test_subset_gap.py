"""The verb `subset_gap`: gains written out, exact tests, the search over thresholds, undefined cases."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy import stats

import signoise as sn
from signoise import reference
from signoise._interventions._gap_tests import gap_tests
from test_item_statistics import skilled, table


def quiet(*args: Any, **kwargs: Any) -> pl.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        return sn.subset_gap(*args, **{"n_resamples": 99, **kwargs})


def names(count: int) -> list[str]:
    return [f"i{i:02}" for i in range(count)]


def marks(values: Any, **columns: Any) -> pl.DataFrame:
    values = np.asarray(values, dtype=float)
    frame = pl.DataFrame({"task": "t", "instance_id": names(len(values)), "contamination": values})
    return frame.with_columns(**columns)


def soft(seed: int = 0, runs: int = 4, items: int = 30) -> np.ndarray:
    return np.random.default_rng(seed).random((runs, items))


# --- written out


def test_gains_by_hand() -> None:
    x = np.array([[1, 1, 0, 0, 1, 1, 1, 1], [1, 0, 1, 0, 1, 0, 1, 0]], dtype=float)
    found = quiet(table(x), subset=names(4))
    assert found["score"].to_list() == [6 / 8, 4 / 8]
    assert found["score_clean"].to_list() == [0.5, 0.5]
    assert found["score_contaminated"].to_list() == [1.0, 0.5]
    assert found["gain"].to_list() == [0.25, 0.0]
    assert found.select("threshold", "n_instances", "n_clean", "n_contaminated").row(0) == (None, 8, 4, 4)
    # All subsets of 4 of the 8: what the gain's standard deviation is over.
    subsets = [np.mean(x[0]) - x[0, list(one)].mean() for one in itertools.combinations(range(8), 4)]
    assert found["z"][0] == pytest.approx(0.25 / np.std(subsets))
    assert found["p_value"][0] == pytest.approx(np.mean(np.array(subsets) >= 0.25 - 1e-12))


def test_the_error_of_a_subset_of_all() -> None:
    x = soft()
    clean = np.arange(30) < 18
    row = quiet(table(x, "soft"), subset=names(18)).row(2, named=True)
    s = x[2]
    own = np.where(clean, (s - s[clean].mean()) / 18, 0) * np.sqrt(18 / 17)
    influence = (s - s.mean()) / 30 * np.sqrt(30 / 29) - own
    assert row["stderr"] == pytest.approx(np.sqrt((influence**2).sum()))
    assert row["high"] - row["gain"] == pytest.approx(stats.t.ppf(0.975, 11) * row["stderr"])
    # Nearly that of the two parts, which share nothing, times the contaminated share.
    parts = 0.4 * np.hypot(stats.sem(s[clean]), stats.sem(s[~clean]))
    assert row["stderr"] == pytest.approx(parts, rel=0.05)


@pytest.mark.parametrize("alternative", ["greater", "two_sided"])
def test_right_and_wrong_are_tested_exactly(alternative: str) -> None:
    x = skilled(1, runs=6, items=40)
    found = quiet(table(x), subset=names(25), alternative=alternative)
    for row, s in zip(found.iter_rows(named=True), x, strict=True):
        a, b = int(s[25:].sum()), int(s[:25].sum())
        if alternative == "greater":
            expected = stats.fisher_exact([[a, 15 - a], [b, 25 - b]], alternative="greater").pvalue
        else:
            law = stats.hypergeom(40, a + b, 15)
            k = np.arange(16)
            far = np.abs(40 * k - 15 * (a + b)) >= abs(40 * a - 15 * (a + b))
            expected = law.pmf(k)[far].sum()
        assert row["p_value"] == pytest.approx(expected)
        assert row["p_adjusted"] == row["p_value"]


def test_random_orders_agree_with_scipys() -> None:
    x = soft(3)
    found = quiet(table(x, "soft"), subset=names(18), n_resamples=4000)
    for row, s in zip(found.iter_rows(named=True), x, strict=True):
        expected = stats.permutation_test(
            (s[18:], s[:18]),
            lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
            n_resamples=4000,
            alternative="greater",
            rng=np.random.default_rng(5),
            vectorized=True,
        ).pvalue
        assert row["p_value"] == pytest.approx(expected, abs=5 * np.sqrt(2 * 0.25 / 4000))


def test_the_search_over_thresholds_is_paid_for() -> None:
    """With 5 instances all 120 orders: the share of them whose largest z is as large."""
    values = np.array([[0.1, 0.5, 0.2, 0.9, 0.7]])
    counts = np.array([1, 2, 3, 4])

    def z(s: np.ndarray) -> np.ndarray:
        clean = np.cumsum(s)[:-1] / counts
        return (s.mean() - clean) / np.sqrt(s.var(ddof=1) * (1 / counts - 1 / 5))

    every = np.array([z(np.array(order)) for order in itertools.permutations(values[0])])
    found = gap_tests(values, np.arange(5), counts, (1, 2), 6000, two_sided=False)
    np.testing.assert_allclose(found.z[0], z(values[0]), rtol=1e-12)
    np.testing.assert_allclose(found.gain[0], values.mean() - np.cumsum(values[0])[:-1] / counts)
    error = 5 * np.sqrt(0.25 / 6000)
    single = (every >= found.z[0] - 1e-9).mean(axis=0)
    largest = (every.max(axis=1)[:, None] >= found.z[0] - 1e-9).mean(axis=0)
    np.testing.assert_allclose(found.p_value[0], single, atol=error)
    np.testing.assert_allclose(found.p_adjusted[0], largest, atol=error)
    both = gap_tests(values, np.arange(5), counts, (1, 2), 6000, two_sided=True)
    largest = (np.abs(every).max(axis=1)[:, None] >= np.abs(found.z[0]) - 1e-9).mean(axis=0)
    np.testing.assert_allclose(both.p_adjusted[0], largest, atol=error)


def test_thresholds() -> None:
    x = soft(4)
    marked = marks(np.repeat([0.0, 0.2, 0.2, 0.5, 0.9], 6))
    found = quiet(table(x, "soft"), contamination=marked).filter(run="r01")
    assert found["threshold"].to_list() == [0.0, 0.2, 0.5]
    assert found["n_clean"].to_list() == [6, 18, 24]
    for row in found.iter_rows(named=True):
        clean = marked["contamination"].to_numpy() <= row["threshold"]
        assert row["gain"] == pytest.approx(x[1].mean() - x[1, clean].mean())
        # A threshold is a subset, whatever others are looked at.
        alone = quiet(table(x, "soft"), subset=marked.filter(pl.Series(clean)).drop("contamination"))
        same = ["gain", "stderr", "low", "high", "z", "p_value"]
        assert_frame_equal(alone.filter(run="r01").select(same), pl.DataFrame([row]).select(same))
    assert found["best"].sum() == 1
    assert found.filter("best")["z"].item() == found["z"].max()
    assert (found["p_adjusted"] >= found["p_value"]).all()
    many = quiet(table(x, "soft"), contamination=marks(np.linspace(0, 1, 30)), thresholds=4).filter(run="r01")
    assert many["n_clean"].to_list() == [6, 12, 18, 24]
    given = quiet(table(x, "soft"), contamination=marked, thresholds=[0.9, -1, 0.3]).filter(run="r01")
    assert given["n_clean"].to_list() == [0, 18, 30]
    assert given["status"].to_list() == ["too_few", "ok", "too_few"]


def test_a_baseline_takes_the_difference_instance_by_instance() -> None:
    x = soft(5)
    options: dict[str, Any] = {"subset": names(18), "n_resamples": 99}
    one = quiet(table(x, "soft"), baseline="r03", **options)
    difference = table(x - x[3], "margin")
    expected = quiet(difference, **options)
    for name in ("stderr", "low", "high", "z", "p_value", "p_adjusted"):
        np.testing.assert_allclose(one[f"excess_{name}"][:3], expected[name][:3], rtol=1e-9)
    np.testing.assert_allclose(one["excess"][:3], one["gain"][:3] - one["gain"][3])
    assert one["excess"][3] is None
    # Among several references each is compared with the others.
    two = quiet(table(x, "soft"), baseline=["r02", "r03"], **options)
    np.testing.assert_allclose(two["excess"][0], one["gain"][0] - one["gain"][2:].mean())
    np.testing.assert_allclose(two["excess"][2], one["gain"][2] - one["gain"][3])
    with pytest.raises(sn.SchemaError, match="baseline: no run 'r30'; did you mean 'r03'"):
        quiet(table(x, "soft"), baseline="r30", **options)


def test_runs_may_have_a_contamination_of_their_own() -> None:
    x = soft(6, runs=2)
    both = [marks(np.random.default_rng(i).random(30), run=pl.lit(f"r0{i}")) for i in (0, 1)]
    found = quiet(table(x, "soft"), contamination=pl.concat(both), thresholds=[0.5])
    for i, row in enumerate(found.iter_rows(named=True)):
        alone = quiet(
            table(x, "soft"), contamination=both[i].drop("run"), thresholds=[0.5], where=f"run = 'r0{i}'"
        )
        assert row["gain"] == alone["gain"].item()
        assert row["p_value"] == alone["p_value"].item()
    with pytest.raises(sn.OptionError, match='contamination has a column run, which needs across="run"'):
        quiet(table(x, "soft"), contamination=pl.concat(both), across="task")


# --- planted contamination


def test_a_planted_contamination_is_found_and_nothing_where_there_is_none() -> None:
    rng = np.random.default_rng(8)
    seen = np.arange(200) >= 140
    chances = np.full((5, 200), 0.5) + 0.2 * seen  # these are easier for everyone
    chances[0, seen] = 1.0
    x = (rng.random(chances.shape) < chances).astype(float)
    frame = table(x).with_columns(instance_id=pl.Series(np.tile([f"i{i:03}" for i in range(200)], 5)))
    clean = [f"i{i:03}" for i in range(140)]
    found = quiet(frame, subset=clean, baseline=["r01", "r02", "r03", "r04"], n_resamples=999)
    assert found["p_value"].max() < 0.2  # type: ignore[operator]
    assert found["excess_p_value"][0] < 0.01
    assert found["excess_p_value"][1:].min() > 0.02  # type: ignore[operator]
    assert found["excess_low"][0] < 0.3 * 0.3 < found["excess_high"][0]


def test_the_level_holds_over_tables() -> None:
    """p-values of nothing: at most as many below .1 as there should be, and the best of 10 no more."""
    rng = np.random.default_rng(10)
    best, worst = [], []
    for seed in range(150):
        values = rng.random((1, 40))
        found = gap_tests(values, np.arange(40), np.arange(4, 40, 4), (seed, 0), 99, two_sided=False)
        best.append(found.p_adjusted.min())
        worst.append(found.p_value.min())
    assert np.mean(np.array(best) <= 0.1) <= 0.1 + 3 * np.sqrt(0.09 / 150)
    assert np.mean(np.array(worst) <= 0.1) > 0.2


# --- what else is in the table


def test_clusters_and_weights_are_tested_by_t() -> None:
    x = soft(7, runs=3, items=30)
    frame = table(x, "soft").with_columns(
        cluster=(pl.col("instance_id").str.slice(1).cast(pl.Int64) // 3).cast(pl.String)
    )
    found = quiet(frame, contamination=marks(np.repeat(np.arange(10), 3)), thresholds=[3, 6])
    row = found.row(0, named=True)
    assert row["z"] == pytest.approx(row["gain"] / row["stderr"])
    assert row["p_value"] == pytest.approx(stats.t.sf(row["z"], 11))
    assert row["p_adjusted"] == pytest.approx(min(1, 2 * row["p_value"]))
    assert "clustered" in row["flags"]
    # Clusters that lie in one part: their sums are what varies.
    s, clean = x[0].reshape(10, 3), np.arange(10) < 4
    own = np.where(clean[:, None], s - s[clean].mean(), 0).sum(axis=1) / 12 * np.sqrt(4 / 3)
    influence = (s - s.mean()).sum(axis=1) / 30 * np.sqrt(10 / 9) - own
    assert row["stderr"] == pytest.approx(np.sqrt((influence**2).sum()))
    independent = quiet(frame, contamination=marks(np.arange(30)), thresholds=[11], cluster="instance_id")
    assert independent["flags"][0].to_list() == []
    weights = np.arange(1, 31).astype(float)
    ratio = table(x, "bits_per_byte").with_columns(weight=pl.Series(np.tile(weights, 3)))
    lower = quiet(ratio, subset=names(18)).row(0, named=True)
    means = [np.average(x[0], weights=weights), np.average(x[0, :18], weights=weights[:18])]
    assert lower["gain"] == pytest.approx(means[1] - means[0])  # lower is better
    assert lower["z"] == pytest.approx(lower["gain"] / lower["stderr"])


def test_unknown_instances_are_left_out() -> None:
    x = soft(9)
    marked = marks([*np.linspace(0, 1, 20), *[np.nan] * 4])
    found = quiet(table(x, "soft"), contamination=marked, thresholds=[0.5])
    assert found.select("n_instances", "n_unknown").row(0) == (20, 10)
    alone = quiet(table(x[:, :20], "soft"), contamination=marked.head(20), thresholds=[0.5])
    assert_frame_equal(found.drop("n_unknown"), alone.drop("n_unknown"))
    listed = marks(np.zeros(20)).select("task", "instance_id", clean=pl.int_range(20) < 12)
    both = quiet(table(x, "soft"), subset=listed)
    assert both.select("n_instances", "n_clean", "n_unknown").row(0) == (20, 12, 10)


def test_groups_row_order_stores_and_twins(tmp_path: Path) -> None:
    frame = pl.concat([table(skilled(4)), table(skilled(5)).with_columns(task=pl.lit("u"))])
    one = marks(np.random.default_rng(0).random(25))
    marked = pl.concat([one, one.with_columns(task=pl.lit("u"))])
    options: dict[str, Any] = {"contamination": marked, "baseline": "r00", "thresholds": 3}
    found = quiet(frame, **options)
    shuffled = {**options, "contamination": marked.sample(fraction=1.0, shuffle=True, seed=1)}
    assert found.equals(quiet(frame.sample(fraction=1.0, shuffle=True, seed=2), **shuffled))
    assert found.filter(task="u").equals(quiet(frame.filter(task="u"), **options))
    assert_frame_equal(reference.subset_gap(frame, **options, n_resamples=99), found)
    sn.ingest(frame, tmp_path / "store")
    assert_frame_equal(quiet(tmp_path / "store", **options), found)
    assert found.sort("task", "run", "threshold").equals(found)
    other = quiet(frame, **options, rng_seed=1)
    assert other["z"].equals(found["z"])
    assert not other["p_adjusted"].equals(found["p_adjusted"])


def test_undefined_rows_and_wrong_calls() -> None:
    x = skilled(3, runs=3, items=20)
    x[1] = 1
    found = quiet(table(x), subset=names(12))
    assert found["status"].to_list() == ["ok", "constant", "ok"]
    assert found.select("gain", "z", "p_value", "best").row(1) == (0.0, None, None, False)
    every = quiet(table(x), subset=names(20))
    assert every["status"].unique().to_list() == ["too_few"]
    assert every.select("score", "score_contaminated", "gain").row(0) == (x[0].mean(), None, None)
    odd = quiet(table(np.exp(x), "perplexity"), subset=names(12))
    assert odd.select("status", "score").row(0) == ("not_a_mean", None)
    with pytest.raises(sn.InsufficientDataError, match="run=r01"):
        quiet(table(x), subset=names(12), strict=True)
    with pytest.raises(sn.OptionError, match="give either subset"):
        quiet(table(x))
    with pytest.raises(sn.OptionError, match="thresholds are for contamination"):
        quiet(table(x), subset=names(3), thresholds=[0.5])
    with pytest.raises(sn.OptionError, match="thresholds must be finite"):
        quiet(table(x), contamination=marks(np.arange(20)), thresholds=[np.nan])
    with pytest.raises(sn.SchemaError, match="contamination: the table has no column contamination or score"):
        quiet(table(x), contamination=marks(np.arange(20)).drop("contamination"))
    wrong = marks(np.arange(20)).with_columns(contamination=pl.lit("much"))
    with pytest.raises(
        sn.SchemaError, match="contamination: row 1, column 'contamination': 'much' is no number"
    ):
        quiet(table(x), contamination=wrong)
    with pytest.raises(sn.SchemaError, match="subset: none of its 2 instances"):
        quiet(table(x), subset=["a", "b"])
    with pytest.raises(sn.UnknownMetricError):
        quiet(table(x, "zorp"), subset=names(12))


def test_models_made_of_deepseek_have_seen_the_older_problems(shared: Path) -> None:
    """LeetCode problems of LiveCodeBench: those released before September 2023 help four models of sixteen."""
    frame = pl.read_parquet(shared / "data" / "livecodebench_items.parquet").filter(
        scenario="generation-2024-02-26", platform="leetcode"
    )
    rows = frame.select(
        run="model",
        task="scenario",
        metric=pl.lit("pass@1"),
        instance_id="question_id",
        value=pl.col("pass1_percent") / 100,
    )
    day = pl.from_epoch(pl.col("date_ms").min(), time_unit="ms")
    dates = frame.group_by(task="scenario", instance_id="question_id").agg(released=day)
    clean = dates.filter(pl.col("released") >= pl.datetime(2023, 9, 1)).drop("released")
    references = ["Claude-2", "Claude-Instant-1", "GPT-3.5-Turbo-0301", "GPT-4-0613", "GPT-4-Turbo-1106"]
    found = quiet(rows, subset=clean, baseline=references, n_resamples=999)
    assert found.select("n_instances", "n_clean").unique().rows() == [(169, 91)]
    kept = rows.join(clean, on=["task", "instance_id"], how="semi")
    expected = [
        part.group_by("run").agg(pl.col("value").mean()).sort("run")["value"] for part in (rows, kept)
    ]
    np.testing.assert_allclose(found["gain"], expected[0] - expected[1], rtol=1e-9)
    seen = found.sort("excess", descending=True)["run"].head(4).to_list()
    assert set(seen) == {"DSCoder-33b-Ins", "DSCoder-6.7b-Ins", "DSCoder-1.3b-Ins", "MagiCoderS-DS-6.7B"}
    clearly = found.filter(pl.col("excess_p_value") < 0.05 / 16)["run"].to_list()
    assert clearly == ["DSCoder-33b-Ins", "DSCoder-6.7b-Ins", "MagiCoderS-DS-6.7B"]
    assert found.filter(pl.col("excess_low") > 0)["run"].sort().to_list() == sorted(seen)
