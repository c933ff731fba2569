"""Designs of the verb `bootstrap`: seeds or checkpoints beside instances, blocks of checkpoints, random weights."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from polars.testing import assert_frame_equal
from scipy import stats

import signoise as sn
from signoise import reference
from signoise._block_length import block_length
from signoise.reference._random import BOOTSTRAP, Words

Floats = NDArray[np.float64]
LIMITS = ["low", "high"]


def seeds_of(table: Floats, recipe: str = "r", prefix: str = "i", **columns: Any) -> pl.DataFrame:
    """Instance rows of the runs of one recipe, a row of `table` each."""
    sisters, n = table.shape
    return pl.DataFrame(
        {
            "run": np.repeat([f"{recipe}-{s}" for s in range(sisters)], n),
            "recipe": recipe,
            "seed": np.repeat(np.arange(sisters), n),
            "step": 7,
            "task": "t",
            "metric": "score",
            "instance_id": [f"{prefix}{i:04}" for i in range(n)] * sisters,
            "value": table.ravel(),
        }
        | columns
    )


def own_items(table: Floats) -> pl.DataFrame:
    """The same where each run has instances of its own."""
    scores = seeds_of(table)
    return scores.with_columns(pl.concat_str("run", "instance_id").alias("instance_id"))


def two_way(rng: np.random.Generator, sisters: int, n: int, sds: tuple[float, float, float]) -> Floats:
    of_seed, of_item, of_cell = sds
    return (
        0.5
        + rng.normal(0, of_seed, (sisters, 1))
        + rng.normal(0, of_item, n)
        + rng.normal(0, of_cell, (sisters, n))
    )


def quiet(scores: Any, **options: Any) -> pl.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        return sn.bootstrap(scores, **options)


def row_of(scores: Any, **options: Any) -> dict[str, Any]:
    found = quiet(scores, **options)
    assert found.height == 1, found
    return found.row(0, named=True)


# --- crossed ---------------------------------------------------------------------------------------------------------


def test_seeds_crossed_with_instances_by_hand() -> None:
    table = two_way(np.random.default_rng(1), 6, 50, (0.1, 0.3, 0.2))
    row = row_of(seeds_of(table), over="seed")
    assert (row["recipe"], row["n"], row["n_clusters"], row["n_strata"], row["n_seeds"]) == (
        "r",
        50,
        50,
        1,
        6,
    )
    assert (row["status"], row["flags"]) == ("ok", [])
    assert "|design:crossed|over:seed|draws:instances|" in row["signature"]
    assert row["value"] == pytest.approx(table.mean(), rel=1e-13)
    rng = np.random.default_rng(2)
    seeds = rng.multinomial(6, [1 / 6] * 6, 10_000) / 6
    items = rng.multinomial(50, [1 / 50] * 50, 10_000) / 50
    replicates = np.einsum("bs,si,bi->b", seeds, table, items)
    error = replicates.std(ddof=1)
    assert row["stderr"] == pytest.approx(error, rel=0.04)
    for name, expected in zip(LIMITS, np.quantile(replicates, [0.025, 0.975]), strict=True):
        assert row[name] == pytest.approx(expected, abs=0.15 * error)


def test_variance_in_closed_form() -> None:
    table = two_way(np.random.default_rng(3), 5, 40, (0.1, 0.3, 0.2))
    row = row_of(seeds_of(table), over="seed", method="t")
    # Anova by hand.
    means, items = table.mean(axis=1), table.mean(axis=0)
    rest = table - means[:, None] - items + table.mean()
    v_s, v_i, v_e = means.var(ddof=1) / 5, items.var(ddof=1) / 40, (rest**2).sum() / (4 * 39) / 200
    variance = v_s + v_i - v_e
    df = variance**2 / (v_s**2 / 4 + v_i**2 / 39 + v_e**2 / (4 * 39))
    assert row["stderr"] == pytest.approx(math.sqrt(variance), rel=1e-12)
    assert [row[name] for name in LIMITS] == pytest.approx(
        stats.t(df, table.mean(), math.sqrt(variance)).interval(0.95), rel=1e-9
    )


@pytest.mark.parametrize("sds", [(0.05, 0.3, 0.1), (0.2, 0.3, 0.6), (0.0, 0.3, 0.3)], ids=str)
def test_variance_is_that_of_new_seeds_and_items(sds: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(17)
    sisters, n = 8, 60
    tables = [seeds_of(two_way(rng, sisters, n, sds), recipe=f"r{i:03}") for i in range(150)]
    of_seed, of_item, of_cell = (sd**2 for sd in sds)
    truth = of_seed / sisters + of_item / n + of_cell / (sisters * n)
    drawn = quiet(pl.concat(tables), over="seed", n_resamples=200)
    # Draws hold (S - 1)/S of the seeds' variance and the interaction three times.
    expected = of_seed / sisters * (1 - 1 / sisters) + of_item / n + 3 * of_cell / (sisters * n)
    assert (drawn["stderr"] ** 2).mean() == pytest.approx(expected, rel=0.12)
    closed = quiet(pl.concat(tables), over="seed", method="t")
    assert (closed["stderr"] ** 2).mean() == pytest.approx(truth, rel=0.12)
    for table in (drawn, closed):
        covered = table.filter(pl.col("low") <= 0.5, pl.col("high") >= 0.5).height / table.height
        assert covered > 0.86  # .95 but for 5 Monte Carlo errors


def test_checkpoints_crossed_with_instances() -> None:
    table = two_way(np.random.default_rng(4), 12, 30, (0.1, 0.3, 0.1))
    scores = seeds_of(table).with_columns(
        run=pl.lit("a"), step=pl.col("seed"), seed=pl.lit(0), recipe=pl.lit("r")
    )
    row = row_of(scores, over="step")
    assert (row["run"], row["n"], row["n_checkpoints"], "step" in row) == ("a", 30, 12, False)
    assert row["value"] == pytest.approx(table.mean(), rel=1e-13)
    seeds = row_of(seeds_of(table), over="seed")
    assert row["stderr"] == pytest.approx(seeds["stderr"], rel=0.05)
    late = row_of(scores, over="step", where="step >= 9")
    assert (late["n_checkpoints"], late["flags"]) == (3, ["few_checkpoints", "few_instances"])


def test_clusters_strata_and_weights_are_crossed_too() -> None:
    rng = np.random.default_rng(5)
    table = two_way(rng, 6, 60, (0.1, 0.2, 0.1))
    sizes = rng.integers(1, 6, 60).astype(float)
    labels = [f"c{i // 3:02}" for i in range(60)] * 6
    clustered = row_of(seeds_of(table, cluster=labels), over="seed")
    assert (clustered["n"], clustered["n_clusters"], clustered["flags"]) == (60, 20, ["few_clusters"])
    assert "|draws:clusters|" in clustered["signature"]
    # Clusters of equal size are instances whose score is the mean of the cluster.
    means = row_of(seeds_of(table.reshape(6, 20, 3).mean(axis=2)), over="seed")
    for name in ("value", "stderr", *LIMITS):
        assert clustered[name] == pytest.approx(means[name], rel=1e-10)
    closed = [
        row_of(scores, over="seed", method="t")
        for scores in (seeds_of(table, cluster=labels), seeds_of(table.reshape(6, 20, 3).mean(axis=2)))
    ]
    assert closed[0]["high"] == pytest.approx(closed[1]["high"], rel=1e-10)
    weighted = row_of(
        seeds_of(table, weight=np.tile(sizes, 6)).with_columns(metric=pl.lit("bits_per_byte")), over="seed"
    )
    assert weighted["value"] == pytest.approx((table @ sizes).mean() / sizes.sum(), rel=1e-12)
    subtask = np.tile(np.repeat(["u", "v"], [20, 40]), 6)
    macro = row_of(seeds_of(table, subtask=subtask), over="seed", stratify="subtask")
    assert macro["n_strata"] == 2
    assert macro["value"] == pytest.approx((table[:, :20].mean() + table[:, 20:].mean()) / 2, rel=1e-12)
    closed_macro = row_of(seeds_of(table, subtask=subtask), over="seed", stratify="subtask", method="t")
    assert macro["stderr"] == pytest.approx(closed_macro["stderr"], rel=0.2)
    lengths = np.exp(table)
    perplexity = row_of(seeds_of(lengths).with_columns(metric=pl.lit("perplexity")), over="seed")
    logs = row_of(seeds_of(table), over="seed")
    assert perplexity["high"] == pytest.approx(math.exp(logs["high"]), rel=1e-12)


def test_instances_that_a_seed_lacks_are_left_out() -> None:
    table = two_way(np.random.default_rng(6), 6, 40, (0.1, 0.3, 0.2))
    gap = (pl.col("seed") == 2) & pl.col("instance_id").is_in(["i0000", "i0031"])
    row = row_of(seeds_of(table).filter(~gap), over="seed")
    kept = np.delete(table, [0, 31], axis=1)
    assert (row["n"], row["flags"]) == (38, ["few_instances", "unmatched"])
    assert row["value"] == pytest.approx(kept.mean(), rel=1e-12)
    missing = row_of(seeds_of(table).with_columns(value=pl.when(~gap).then("value")), over="seed")
    assert (missing["n"], missing["n_missing"]) == (38, 2)
    assert missing["low"] == row["low"]


def test_seeds_have_members() -> None:
    table = two_way(np.random.default_rng(7), 4, 30, (0.1, 0.3, 0.2))
    scores = pl.concat([seeds_of(table), seeds_of(table + 0.1, recipe="s")])
    found = quiet(scores, over="seed")
    assert found.select("recipe", "n_seeds", "flags").rows() == [
        ("r", 4, ["few_seeds", "few_instances"]),
        ("s", 4, ["few_seeds", "few_instances"]),
    ]
    same = scores.with_columns(run=pl.col("recipe"), recipe=pl.lit(None, pl.String))
    by_run = quiet(same, over="seed")
    assert by_run["run"].to_list() == ["r", "s"]
    assert by_run["value"].to_list() == found["value"].to_list()
    family = quiet(scores.with_columns(family=pl.lit("f")), over="seed", across="family")
    assert family.select("family", "n_seeds").rows() == [("f", 8)]
    alone = row_of(scores.filter(seed=0, recipe="r"), over="seed")
    assert (alone["status"], alone["low"]) == ("too_few", None)
    assert alone["value"] == pytest.approx(table[0].mean(), rel=1e-12)


@pytest.mark.parametrize(
    "options",
    [{"over": "seed"}, {"over": "seed", "weights": "poisson"}, {"over": "seed", "method": "t"}],
    ids=["crossed", "poisson", "t"],
)
def test_other_rows_and_threads_change_no_bit_of_crossed_rows(options: dict[str, Any]) -> None:
    rng = np.random.default_rng(8)
    scores = seeds_of(two_way(rng, 5, 40, (0.1, 0.3, 0.2)))
    options = {"n_resamples": 200, **options}
    expected = quiet(scores, **options)
    for threads in (1, 2, 8):
        assert_frame_equal(quiet(scores, threads=threads, **options), expected, check_exact=True)
    shuffled = scores.sample(fraction=1.0, shuffle=True, seed=3)
    assert_frame_equal(quiet(shuffled, **options), expected, check_exact=True)
    more = [
        scores.with_columns(task=pl.lit("s")),
        seeds_of(two_way(rng, 3, 40, (0.1, 0.3, 0.2)), recipe="q"),
        seeds_of(two_way(rng, 4, 40, (0.1, 0.3, 0.2)), recipe="z"),
    ]
    wider = quiet(pl.concat([scores, *more]), **options)
    assert_frame_equal(wider.filter(recipe="r", task="t"), expected, check_exact=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        twin = reference.bootstrap(scores, **options)
    assert_frame_equal(twin, expected, rel_tol=1e-10)


# --- nested ----------------------------------------------------------------------------------------------------------


def test_seeds_with_items_of_their_own() -> None:
    table = np.random.default_rng(9).normal(0.5, 0.2, (8, 25)) + np.arange(8)[:, None] / 20
    scores = own_items(table)
    row = row_of(scores, over="seed", design="nested")
    assert (row["n"], row["n_seeds"], row["status"]) == (200, 8, "ok")
    rng = np.random.default_rng(10)
    which = rng.integers(0, 8, (10_000, 8))
    cells = rng.integers(0, 25, (10_000, 8, 25))
    replicates = table[which[:, :, None], cells].mean(axis=(1, 2))
    assert row["stderr"] == pytest.approx(replicates.std(ddof=1), rel=0.04)
    closed = row_of(scores, over="seed", design="nested", method="t")
    means = table.mean(axis=1)
    assert closed["stderr"] == pytest.approx(stats.sem(means), rel=1e-12)
    assert [closed[name] for name in LIMITS] == pytest.approx(
        stats.t(7, means.mean(), stats.sem(means)).interval(0.95), rel=1e-9
    )


def test_shared_items_are_not_nested_nor_own_ones_crossed() -> None:
    table = np.random.default_rng(11).normal(size=(6, 9))
    with pytest.raises(
        sn.OptionError, match=r"instance 'i0000' belongs to 6 of them.*choose design=\"crossed\""
    ):
        sn.bootstrap(seeds_of(table), over="seed", design="nested")
    with pytest.raises(
        sn.OptionError, match='no instance is there for all 6 of r, t, score; choose design="nested"'
    ):
        sn.bootstrap(own_items(table), over="seed")


# --- blocks of checkpoints -------------------------------------------------------------------------------------------


def series(x: Floats, run: str = "a", task: str = "t") -> pl.DataFrame:
    return pl.DataFrame({"run": run, "step": np.arange(len(x)), "task": task, "metric": "score", "value": x})


def autoregressive(n: int, rho: float, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    x[0] /= math.sqrt(1 - rho**2)
    for i in range(1, n):
        x[i] += rho * x[i - 1]
    return x


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_moving_blocks_by_a_plain_loop(statistic: Any) -> None:
    x = autoregressive(110, 0.6)
    row = row_of(series(x), design="moving_block", block_length=9, statistic=statistic, n_resamples=150)
    assert (row["n_checkpoints"], row["block_length"], row["status"]) == (110, 9, "ok")
    unit = int(sn._addresses.group_addresses(pl.DataFrame({"task": ["t"], "metric": ["score"]}))[0])
    replicates = []
    for replicate in range(150):
        words = Words(0, BOOTSTRAP, replicate, unit)
        starts = [words.below(102) for _ in range(13)]
        held = np.concatenate([x[start : start + 9] for start in starts])[:110]
        replicates.append(getattr(np, statistic)(held))
    assert row["stderr"] == pytest.approx(np.std(replicates, ddof=1), rel=1e-10)
    assert [row[name] for name in LIMITS] == pytest.approx(np.quantile(replicates, [0.025, 0.975]), rel=1e-10)


def test_stationary_blocks_by_a_plain_loop() -> None:
    x = autoregressive(100, 0.6)
    row = row_of(series(x), design="stationary_block", block_length=6, n_resamples=120)
    unit = int(sn._addresses.group_addresses(pl.DataFrame({"task": ["t"], "metric": ["score"]}))[0])
    replicates = []
    for replicate in range(120):
        words = Words(0, BOOTSTRAP, replicate, unit)
        at = [words.below(100)]
        while len(at) < 100:
            at.append(words.below(100) if words.uniform() < 1 / 6 else (at[-1] + 1) % 100)
        replicates.append(x[at].mean())
    assert row["stderr"] == pytest.approx(np.std(replicates, ddof=1), rel=1e-10)


@pytest.mark.parametrize("design", ["moving_block", "stationary_block"])
def test_blocks_know_of_autocorrelation(design: Any) -> None:
    rho, n = 0.7, 400
    truth = 1 / (1 - rho) / math.sqrt(n)
    scores = pl.concat([series(autoregressive(n, rho, i), run=f"r{i:02}") for i in range(40)])
    found = quiet(scores, design=design, n_resamples=400)
    independent = math.sqrt(1 / (1 - rho**2) / n)
    assert independent < 0.45 * truth
    assert found["stderr"].mean() == pytest.approx(truth, rel=0.2)  # blocks fall a little short
    assert found["block_length"].min() > 3  # type: ignore[operator]


def test_block_length_of_an_autoregression() -> None:
    # G / g of an AR(1) is 2 rho / (1 - rho^2).
    n, rho = 200_000, 0.5
    x = autoregressive(n, rho)
    for stationary, constant in ((True, 2.0), (False, 4 / 3)):
        expected = (2 / constant * (2 * rho / (1 - rho**2)) ** 2 * n) ** (1 / 3)
        assert block_length(x, stationary=stationary) == pytest.approx(expected, rel=0.05)
    noise = np.random.default_rng(1).normal(size=1000)
    assert block_length(noise, stationary=False) <= 6
    assert block_length(np.ones(200), stationary=True) == 1


def test_blocks_need_many_checkpoints() -> None:
    scores = pl.concat([series(autoregressive(120, 0.2)), series(autoregressive(99, 0.2), run="b")])
    with pytest.raises(sn.InsufficientDataError, match="needs 100 of them, and b, t, score has 99"):
        sn.bootstrap(scores, design="moving_block")
    with pytest.raises(
        sn.OptionError, match="at most the number of checkpoints, 120 of a, t, score, got 121"
    ):
        sn.bootstrap(scores, where="run = 'a'", design="moving_block", block_length=121)
    constant = row_of(series(np.full(100, 0.25)), design="moving_block", n_resamples=50)
    assert (constant["status"], constant["stderr"], constant["low"]) == ("constant", 0.0, None)


def test_blocks_of_other_runs_and_tasks_change_no_bit() -> None:
    scores = pl.concat([series(autoregressive(130, 0.5, i), run=f"r{i}") for i in range(3)])
    more = [
        series(autoregressive(130, 0.5, 9), run="r1", task="s"),
        series(autoregressive(100, 0.1), run="q"),
    ]
    options: dict[str, Any] = {"design": "stationary_block", "n_resamples": 100}
    expected = quiet(scores, **options)
    wider = quiet(pl.concat([scores, *more]).sample(fraction=1.0, shuffle=True, seed=1), **options, threads=2)
    assert_frame_equal(wider.filter(pl.col("run") != "q", task="t"), expected, check_exact=True)


# --- weights ---------------------------------------------------------------------------------------------------------


def test_dirichlet_weights_have_their_variance() -> None:
    x = np.random.default_rng(12).lognormal(size=80)
    row = row_of(seeds_of(x[None, :]), weights="bayesian")
    # Var(sum w x) under Dirichlet(1, .., 1) is the population variance over n + 1.
    assert row["stderr"] == pytest.approx(math.sqrt(x.var() / 81), rel=0.03)
    assert "|weights:bayesian|draws:instances|" in row["signature"]
    rng = np.random.default_rng(13)
    replicates = rng.dirichlet(np.ones(80), 20_000) @ x
    for name, expected in zip(LIMITS, np.quantile(replicates, [0.025, 0.975]), strict=True):
        assert row[name] == pytest.approx(expected, abs=0.12 * row["stderr"])
    # Two instances: the weight of one is uniform.
    pair = row_of(seeds_of(np.array([[0.0, 1.0]])), weights="bayesian")
    assert [pair[name] for name in LIMITS] == pytest.approx([0.025, 0.975], abs=0.01)


def test_poisson_weights_have_their_variance() -> None:
    x = np.random.default_rng(14).lognormal(size=300)
    row = row_of(seeds_of(x[None, :]), weights="poisson")
    assert row["stderr"] == pytest.approx(x.std() / math.sqrt(300), rel=0.04)
    # No binomial law for 0/1 scores: the number of draws varies.
    share = row_of(seeds_of((x[None, :] > 1).astype(float)), weights="poisson")
    assert "|weights:poisson|draws:instances|" in share["signature"]
    quantile = row_of(seeds_of(x[None, :]), weights="poisson", statistic="median", method="bca")
    called = row_of(seeds_of(x[None, :]), weights="poisson", statistic=np.median, method="bca")
    assert [quantile[name] for name in LIMITS] == pytest.approx([called[name] for name in LIMITS], rel=1e-10)


@pytest.mark.parametrize("weights", ["poisson", "bayesian"])
def test_weights_by_the_twin_clusters_and_strata(weights: Any) -> None:
    x = np.random.default_rng(15).normal(size=(2, 40))
    columns = {"subtask": ["u", "v"] * 40, "cluster": [f"c{i // 4}" for i in range(40)] * 2}
    scores = seeds_of(x, **columns)
    for stratify in (None, "subtask"):
        options: dict[str, Any] = {"weights": weights, "n_resamples": 60, "stratify": stratify}
        if stratify is None:
            scores = scores.drop("subtask")
        expected = quiet(scores, **options)
        assert_frame_equal(quiet(scores, threads=2, **options), expected, check_exact=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", sn.SignoiseWarning)
            assert_frame_equal(reference.bootstrap(scores, **options), expected, rel_tol=1e-10)
        scores = seeds_of(x, **columns)


# --- what is not offered ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"over": "run"}, "over must be one of"),
        ({"design": "pairs"}, "design must be one of"),
        ({"design": "crossed"}, 'say which: over="seed" or over="step"'),
        ({"design": "instances", "over": "seed"}, 'is for design="crossed" and "nested"'),
        ({"across": "recipe"}, 'goes with over="seed"'),
        ({"block_length": 3}, "block_length is for"),
        ({"design": "moving_block", "block_length": 0}, "block_length must be"),
        ({"weights": "gamma"}, "weights must be one of"),
        ({"weights": "bayesian", "statistic": "median"}, 'weights="bayesian" is for statistic="mean"'),
        ({"weights": "bayesian", "method": "bca"}, "no bias to correct"),
        ({"weights": "bayesian", "over": "seed"}, 'weights="bayesian" is for'),
        ({"weights": "poisson", "method": "studentised"}, "studentised"),
        ({"method": "t"}, 'method="t" is for'),
        ({"over": "seed", "method": "bca"}, "method='bca' is for design=\"instances\""),
        ({"over": "seed", "statistic": "median"}, "is for statistic=\"mean\", got 'median'"),
        ({"over": "seed", "statistic": np.mean}, "is for statistic=\"mean\", got 'mean'"),
        ({"design": "moving_block", "statistic": np.mean}, 'is for statistic="mean" and quantiles'),
        ({"design": "moving_block", "weights": "poisson"}, "weights='poisson' is for"),
        ({"design": "nested", "over": "seed", "stratify": "task"}, "stratify and cluster are for"),
    ],
)
def test_combinations_that_have_no_meaning_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(sn.OptionError, match=message):
        sn.bootstrap(seeds_of(np.random.default_rng(0).normal(size=(5, 9))), **options)
