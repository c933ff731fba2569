"""The verb `rank`: rank sets from pairwise tests, P(best) beside integration, undefined cases, the command line."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from scipy import stats
from statsmodels.stats.multitest import multipletests

import signoise as sn
from dumps import shared_dump
from rank_sets import rank_sets
from signoise._addresses import group_addresses
from signoise._cli import main
from signoise._rank import best_shares, in_words
from test_compare import instances, results


def planted(
    levels: list[float], n: int = 200, seed: int = 0, noise: float = 0.3
) -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    items = rng.normal(0, 0.3, n)
    return {f"m{i}": level + items + rng.normal(0, noise, n) for i, level in enumerate(levels)}


def test_rank_sets_count_significant_pairs() -> None:
    runs = planted([0.5, 0.52, 0.7, 0.4])
    table = sn.rank(instances(runs))
    names = list(runs)
    pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    p = [stats.ttest_rel(runs[names[i]], runs[names[j]]).pvalue for i, j in pairs]
    rejected = multipletests(p, alpha=0.05, method="holm")[0]
    assert 0 < rejected.sum() < len(pairs)  # some pairs are open
    better = np.zeros((4, 4), dtype=bool)
    for (i, j), sure in zip(pairs, rejected, strict=True):
        first = runs[names[i]].mean() > runs[names[j]].mean()
        better[i, j], better[j, i] = sure and first, sure and not first
    for row in table.iter_rows(named=True):
        i = names.index(row["run"])
        assert (row["rank_low"], row["rank_high"]) == (1 + better[:, i].sum(), 4 - better[i].sum())
    assert table["rank"].to_list() == [1, 2, 3, 4]
    assert table["mean"].is_sorted(descending=True)
    limits = stats.t.interval(0.95, 199, runs["m2"].mean(), stats.sem(runs["m2"]))
    best = table.row(by_predicate=pl.col("run") == "m2", named=True)
    assert (best["low"], best["high"]) == pytest.approx(limits, rel=1e-9)
    assert table["status"].unique().to_list() == ["ok"]


def test_lower_is_better_turns_the_order() -> None:
    runs = planted([0.5, 0.9, 0.7])
    up, down = (sn.rank(instances(runs, metric=metric)) for metric in ("f1", "loss"))
    assert up["run"].to_list() == down["run"].to_list()[::-1] == ["m1", "m2", "m0"]
    assert down["rank"].to_list() == [1, 2, 3]
    with pytest.raises(sn.UnknownMetricError, match="vibes"):
        sn.rank(instances(runs, metric="vibes"))
    declared = sn.rank(instances(runs, metric="vibes"), direction={"vibes": "lower"}, by="task")
    assert declared["run"].to_list() == down["run"].to_list()


def test_probability_to_be_best_of_two_is_exact() -> None:
    runs = planted([0.5, 0.53])
    table = sn.rank(instances(runs))
    d = runs["m1"] - runs["m0"]
    expected = stats.norm.cdf(d.mean() / stats.sem(d))
    found = dict(table.select("run", "p_best").iter_rows())
    assert found["m1"] == pytest.approx(expected, rel=1e-12)
    assert found["m0"] + found["m1"] == pytest.approx(1.0)


def test_probability_to_be_best_of_three_is_an_orthant() -> None:
    runs = planted([0.5, 0.52, 0.54])
    table = sn.rank(instances(runs), n_resamples=40_000)
    values = np.array(list(runs.values()))
    covariance = np.cov(values) / values.shape[1]
    for i, run in enumerate(runs):
        contrast = np.delete(np.eye(3)[i] - np.eye(3), i, axis=0)
        mean, spread = contrast @ values.mean(axis=1), contrast @ covariance @ contrast.T
        expected = stats.multivariate_normal(-mean, spread).cdf(np.zeros(2))
        found = table.filter(run=run)["p_best"].item()
        assert found == pytest.approx(expected, abs=4 * np.sqrt(0.25 / 40_000))
    assert table["p_best"].sum() == pytest.approx(1.0)


def test_equal_runs_share() -> None:
    same = planted([0.5])["m0"]
    table = sn.rank(instances({"a": same, "b": same, "c": same - 1}))
    assert table["p_best"].to_list() == [0.5, 0.5, 0.0]
    assert table["rank"].to_list() == [1, 1, 3]
    assert table.select("rank_low", "rank_high").rows() == [
        (1, 3),
        (1, 3),
        (1, 3),
    ]  # a constant lead proves nothing
    pair = sn.rank(instances({"a": same, "b": same}))
    assert pair["p_best"].to_list() == [0.5, 0.5]


def test_draws_have_addresses() -> None:
    covariance = np.diag([1.0, 2.0, 3.0])
    addresses = [(1, 11), (1, 12), (1, 13)]
    two = best_shares(np.zeros(2), covariance[:2, :2], addresses[:2], 1000, 5)
    assert two.sum() == pytest.approx(1)
    np.testing.assert_array_equal(two, best_shares(np.zeros(2), covariance[:2, :2], addresses[:2], 1000, 5))
    far = best_shares(np.array([0.0, 0.0, -1e9]), covariance, addresses, 1000, 5)
    np.testing.assert_array_equal(far[:2], two)  # a hopeless third moves nobody's draws
    assert not np.array_equal(two, best_shares(np.zeros(2), covariance[:2, :2], addresses[:2], 1000, 6))
    assert np.isnan(best_shares(np.zeros(2), np.full((2, 2), np.nan), addresses[:2], 10, 0)).all()


def test_right_or_wrong_scores() -> None:
    rng = np.random.default_rng(4)
    difficulty = rng.random(150)
    runs = {
        f"m{i}": (rng.random(150) < difficulty + shift).astype(float)
        for i, shift in enumerate([0, 0.2, -0.2])
    }
    table = sn.rank(instances(runs, metric="acc"))
    pairs = sn.compare(instances(runs, metric="acc"))
    best = table.row(0, named=True)
    beaten = pairs.filter((pl.col("verdict") == "a is better") & (pl.col("run_a") == best["run"])).height
    beaten += pairs.filter((pl.col("verdict") == "b is better") & (pl.col("run_b") == best["run"])).height
    assert best["rank_high"] == 3 - beaten
    wilson = stats.binomtest(int(runs[best["run"]].sum()), 150).proportion_ci(method="wilson")
    assert (best["low"], best["high"]) == pytest.approx((wilson.low, wilson.high))


@pytest.mark.parametrize("adjust", ["holm", "max_t"])
def test_sets_hold_for_all_runs_at_once(adjust: Any) -> None:
    """200 tasks of 5 runs with two ties: any false order in at most 5 % and three standard errors."""
    levels = [0.5, 0.5, 0.55, 0.6, 0.6]
    frames = [
        instances(planted(levels, n=80, seed=seed, noise=0.1)).with_columns(task=pl.lit(f"t{seed:03d}"))
        for seed in range(200)
    ]
    draws = {"holm": 10, "max_t": 500}[adjust]
    table = sn.rank(pl.concat(frames), adjust=adjust, n_resamples=draws)
    # tied runs may have any rank of their block
    first = {"m3": 1, "m4": 1, "m2": 3, "m0": 4, "m1": 4}
    last = {"m3": 2, "m4": 2, "m2": 3, "m0": 5, "m1": 5}
    wrong = table.filter(
        (pl.col("rank_low") > pl.col("run").replace_strict(first))
        | (pl.col("rank_high") < pl.col("run").replace_strict(last))
    )
    assert wrong["task"].n_unique() / 200 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
    assert np.mean(table["rank_high"].to_numpy() - table["rank_low"].to_numpy()) < 2


def test_equal_runs_in_clusters_are_seldom_told_apart() -> None:
    """150 tasks of 6 equal runs in 40 clusters, where every order is false."""
    rng = np.random.default_rng(12)
    cluster = [f"c{i // 3:02}" for i in range(120)]
    frames = []
    for task in range(150):
        shared = rng.normal(0, 1, 120)
        own = np.repeat(rng.normal(0, 0.5, (6, 40)), 3, axis=1)
        runs = {f"m{i}": shared + own[i] + rng.normal(0, 0.2, 120) for i in range(6)}
        frames.append(instances(runs, cluster=cluster).with_columns(task=pl.lit(f"t{task:03}")))
    table = sn.rank(pl.concat(frames), adjust="max_t", n_resamples=500)
    wrong = table.filter((pl.col("rank_low") > 1) | (pl.col("rank_high") < 6))["task"].n_unique() / 150
    assert wrong <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 150)
    assert table["status"].unique().to_list() == ["ok"]


def test_simultaneous_intervals_are_those_of_rank_sets() -> None:
    runs = planted([0.5, 0.52, 0.55, 0.56, 0.4], n=150, seed=3)
    frame = instances(runs)
    table = sn.rank(frame, adjust="max_t").sort("run")
    unit = int(group_addresses(table.select("task", "metric").head(1))[0])
    expected = rank_sets(np.array(list(runs.values())), unit=unit)
    assert table["rank_low"].to_list() == expected.low.tolist()
    assert table["rank_high"].to_list() == expected.high.tolist()
    assert (expected.low > 1).any()
    clusters = np.arange(150) // 3
    clustered = sn.rank(
        instances(runs, cluster=[f"c{i:02}" for i in clusters]), adjust="max_t", cluster_error="CR1"
    ).sort("run")
    expected = rank_sets(np.array(list(runs.values())), clusters, unit=unit)
    assert clustered["rank_low"].to_list() == expected.low.tolist()
    # A loss turns the order, not what is sure.
    down = sn.rank(instances(runs, metric="loss"), adjust="max_t").sort("run")
    up = sn.rank(frame, adjust="max_t").sort("run")
    assert (down["rank_low"] + up["rank_high"]).to_list() == [6] * 5
    assert sn.rank(frame, adjust="max_t", threads=1).equals(sn.rank(frame, adjust="max_t", threads=2))


def test_many_runs_are_told_apart_better_by_simultaneous_intervals() -> None:
    runs = planted([0.5 + 0.04 * i for i in range(12)], n=120, seed=2, noise=0.2)
    widths = {}
    for adjust in ("bonferroni", "max_t"):
        table = sn.rank(instances(runs), adjust=adjust, n_resamples=2000)  # type: ignore[arg-type]
        widths[adjust] = (table["rank_high"] - table["rank_low"]).sum()
    assert widths["max_t"] <= widths["bonferroni"]


def test_simultaneous_intervals_of_macro_means() -> None:
    parts = [
        instances(planted([0.5, 0.7, 0.55], n=n, seed=n)).with_columns(subtask=pl.lit(f"s{n}"))
        for n in (60, 90, 150)
    ]
    macro, holm = (
        sn.rank(pl.concat(parts), subtasks="macro", adjust=adjust)  # type: ignore[arg-type]
        for adjust in ("max_t", "holm")
    )
    assert macro.select("run", "rank_low", "rank_high").equals(holm.select("run", "rank_low", "rank_high"))
    assert macro["rank_high"][0] == 1
    # Equal leads everywhere prove nothing, nor do equal runs.
    same = planted([0.5])["m0"]
    table = sn.rank(instances({"a": same, "b": same, "c": same - 1}), adjust="max_t")
    assert table.select("rank_low", "rank_high").rows() == [(1, 3)] * 3
    with pytest.raises(sn.OptionError, match="draws signs of instances that all runs share"):
        sn.rank(results(stderr=[0.02, 0.03]), adjust="max_t")


def test_runs_that_lack_instances() -> None:
    runs = planted([0.5, 0.6, 0.7])
    frame = instances(runs).filter((pl.col("run") != "m2") | (pl.col("instance_id") >= "i0050"))
    with pytest.warns(sn.DroppedRowsWarning, match="50 of m0, which leaves 150"):
        table = sn.rank(frame)
    assert table["n"].to_list() == [150] * 3
    assert dict(table.select("run", "n_unmatched").iter_rows()) == {"m0": 50, "m1": 50, "m2": 0}
    assert table.filter(run="m0")["mean"].item() == pytest.approx(runs["m0"][50:].mean())
    with pytest.raises(sn.InsufficientDataError, match="leaves 150"):
        sn.rank(frame, strict=True)
    apart = instances(runs).with_columns(instance_id=pl.col("run") + pl.col("instance_id"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        table = sn.rank(apart)
    assert table["status"].to_list() == ["too_few"] * 3
    assert table["rank"].null_count() == 3


def test_subtasks_of_a_task() -> None:
    parts = [
        instances(planted([0.5, 0.6, 0.55], n=n, seed=n)).with_columns(subtask=pl.lit(f"s{n}"))
        for n in (60, 90, 150)
    ]
    frame = pl.concat(parts)
    macro = sn.rank(frame, subtasks="macro")
    pairs = sn.compare(frame, subtasks="macro")
    for row in macro.iter_rows(named=True):
        means = frame.filter(run=row["run"]).group_by("subtask").agg(pl.col("value").mean())["value"]
        assert row["mean"] == pytest.approx(means.mean())
    won = pairs.filter(pl.col("verdict") != "no difference shown").height
    assert sum(macro["rank_low"] - 1) == sum(3 - macro["rank_high"]) == won > 0
    assert macro["n"].to_list() == [300] * 3
    assert sn.rank(frame, subtasks="micro")["n"].to_list() == [300] * 3
    gap = frame.filter((pl.col("run") != "m1") | (pl.col("subtask") != "s60"))
    with pytest.warns(sn.DroppedRowsWarning, match="1 of 3 subtasks"):
        assert sn.rank(gap, subtasks="macro")["n"].to_list() == [240] * 3
    with pytest.warns(sn.MixedKeyWarning, match="subtask joined"):
        assert sn.rank(frame).height == 9


def test_results_without_instances() -> None:
    table = sn.rank(results(stderr=[0.02, 0.03]))
    assert table["rank"].to_list() == [1, 2]
    assert table["flags"].to_list() == [["unpaired"]] * 2
    assert table["p_best"][0] == pytest.approx(stats.norm.cdf(0.1 / np.hypot(0.02, 0.03)))
    assert table["rank_high"].to_list() == [1, 2]  # z = 2.8
    three = pl.concat(
        [results(stderr=[0.02, 0.03]), results(stderr=[None, None]).head(1).with_columns(run=pl.lit("c"))]
    )
    table = sn.rank(three)
    assert dict(table.select("run", "status").iter_rows()) == {"a": "ok", "b": "ok", "c": "no_stderr"}
    row = table.row(by_predicate=pl.col("run") == "c", named=True)
    assert (row["rank_low"], row["rank_high"], row["p_best"]) == (1, 3, None)
    with pytest.raises(sn.SchemaError, match="nothing is known"):
        sn.rank(results())
    with pytest.raises(sn.SchemaError, match="nothing to compare with"):
        sn.rank(results(stderr=[0.1, 0.1]).head(1))


def test_infinite_and_single_scores() -> None:
    runs = planted([0.5, 0.6, 0.7])
    runs["m1"] = np.where(np.arange(200) == 3, np.inf, runs["m1"])
    table = sn.rank(instances(runs, metric="loss"))
    assert dict(table.select("run", "status").iter_rows()) == {"m0": "ok", "m1": "not_finite", "m2": "ok"}
    assert dict(table.select("run", "rank").iter_rows()) == {"m0": 1, "m1": None, "m2": 2}
    one = sn.rank(instances({"a": [0.3], "b": [0.4]}))
    assert one["status"].to_list() == ["too_few"] * 2


def test_skewed_scores() -> None:
    rng = np.random.default_rng(8)
    table = sn.rank(instances({"a": rng.lognormal(0, 1.5, 200), "b": rng.normal(size=200)}))
    assert dict(table.select("run", "flags").iter_rows()) == {"a": ["skewed"], "b": []}
    rare = {"a": (np.arange(100) < 3).astype(float), "b": (np.arange(100) < 4).astype(float)}
    assert sn.rank(instances(rare))["flags"].to_list() == [[], []]  # Wilson's intervals


def test_clusters_widen_the_sets() -> None:
    rng = np.random.default_rng(8)
    shift = np.repeat(rng.normal(0, 0.5, (2, 20)), 10, axis=1)
    runs = {"a": 0.1 + shift[0] + rng.normal(0, 0.05, 200), "b": shift[1] + rng.normal(0, 0.05, 200)}
    frame = instances(runs, cluster=[f"c{i // 10}" for i in range(200)])
    clustered, alone = sn.rank(frame), sn.rank(frame, cluster="instance_id")
    assert clustered["flags"].to_list() == [["few_clusters"]] * 2
    assert (clustered["stderr"] > 2 * alone["stderr"]).all()


def test_row_order_threads_and_twins_do_not_matter() -> None:
    frame = instances(planted([0.5, 0.55, 0.6]))
    table = sn.rank(frame)
    assert sn.rank(frame.sample(fraction=1.0, shuffle=True, seed=2), threads=2).equals(table)
    twin = sn.reference.rank(frame)
    for name in table.columns:
        if table[name].dtype.is_float():
            np.testing.assert_allclose(twin[name].to_numpy(), table[name].to_numpy(), rtol=1e-9)
        else:
            assert twin[name].equals(table[name]), name


def test_real_runs() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        table = sn.rank(shared_dump("lm_eval") / "v0.4.13", where="task = 'toy_mc'")
    assert table["run"].to_list() == ["org/beta", "org/alpha"] * 2
    assert table["n"].unique().to_list() == [120]
    assert table["p_best"][0] > 0.5


def test_command_and_sentences(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    instances(planted([0.5, 0.52, 0.9])).write_parquet(path)
    shown = CliRunner().invoke(main, ["rank", str(path), "--n-resamples", "100"])
    assert shown.exit_code == 0, shown.output
    assert "t f1: m2 leads (best with probability 1); no other run could be first" in shown.stdout
    rows = json.loads(CliRunner().invoke(main, ["rank", str(path), "--json"]).stdout)
    assert [row["rank"] for row in rows] == [1, 2, 3]
    even = in_words(sn.rank(instances(planted([0.5, 0.5, 0.5]))))
    assert "first could also be" in even[0]
