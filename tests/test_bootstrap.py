"""The verb `bootstrap`: SciPy's intervals, the same draws by every path, bits that stay, undefined cases."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from polars.testing import assert_frame_equal
from scipy import stats

import signoise as sn
from signoise import reference
from strategies import score_tables

Floats = NDArray[np.float64]
LIMITS = ["low", "high"]
#: Of a limit from 10,000 replicates, in standard errors of the statistic: some 4 Monte Carlo errors of a 2.5 % point.
CLOSE = 0.15


def frame(values: Any, **columns: Any) -> pl.DataFrame:
    """Instance rows of one run and score."""
    return pl.DataFrame(
        {"run": "a", "step": 1, "task": "t", "metric": "score", "value": np.asarray(values, dtype=float)}
        | {"instance_id": [f"{i:05}" for i in range(len(values))]}
        | columns
    )


def quiet(scores: Any, **options: Any) -> pl.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        return sn.bootstrap(scores, **options)


def row_of(scores: Any, **options: Any) -> dict[str, Any]:
    found = quiet(scores, **options)
    assert found.height == 1, found
    return found.row(0, named=True)


def skewed(n: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).lognormal(0.0, 0.7, n)


def assert_close_to_scipy(
    row: dict[str, Any], data: Any, statistic: Any, method: str, **options: Any
) -> None:
    found = stats.bootstrap(data, statistic, method=method, n_resamples=10_000, rng=1, **options)
    error = float(found.standard_error)
    assert row["stderr"] == pytest.approx(error, rel=0.04)
    assert row["low"] == pytest.approx(found.confidence_interval.low, abs=CLOSE * error)
    assert row["high"] == pytest.approx(found.confidence_interval.high, abs=CLOSE * error)


# --- SciPy ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["percentile", "basic", "bca"])
def test_mean_of_real_values(method: Any) -> None:
    x = skewed(60)
    row = row_of(frame(x), method=method)
    assert row["value"] == pytest.approx(x.mean(), rel=1e-14)
    assert (row["status"], row["n"], row["n_clusters"], row["n_strata"]) == ("ok", 60, 60, 1)
    assert_close_to_scipy(row, (x,), np.mean, method)


@pytest.mark.parametrize("method", ["percentile", "basic", "bca"])
def test_share_of_ones(method: Any) -> None:
    x = np.arange(200) < 17
    row = row_of(frame(x), method=method)
    assert "|draws:binomial_law|" in row["signature"]
    assert row["stderr"] == pytest.approx(math.sqrt(17 / 200 * 183 / 200 / 200), rel=0.03)
    assert_close_to_scipy(row, (x.astype(float),), np.mean, method)


@pytest.mark.parametrize("method", ["percentile", "bca"])
@pytest.mark.parametrize(("name", "p"), [("median", 0.5), ("quantile:0.8", 0.8)])
def test_quantiles(name: str, p: float, method: Any) -> None:
    x = skewed(151, 3)
    row = row_of(frame(x), statistic=name, method=method)
    assert row["value"] == np.quantile(x, p)

    def quantile(data: Floats, axis: int = -1) -> Any:
        return np.quantile(data, p, axis=axis)

    # Few values lie near a limit: it jumps from one to the next.
    found = stats.bootstrap((x,), quantile, method=method, n_resamples=10_000, rng=1)
    for limit, expected in zip(LIMITS, found.confidence_interval, strict=True):
        assert row[limit] == pytest.approx(expected, abs=0.3 * float(found.standard_error))


@pytest.mark.parametrize("method", ["percentile", "basic", "bca"])
def test_whole_clusters_are_drawn(method: Any) -> None:
    rng = np.random.default_rng(5)
    sizes = rng.integers(1, 9, 40)
    cluster = np.repeat(np.arange(40), sizes)
    x = rng.normal(0, 1, 40)[cluster] + rng.normal(0, 0.3, len(cluster))
    row = row_of(frame(x, passage=[f"p{i}" for i in cluster]), cluster="passage", method=method)
    assert (row["n"], row["n_clusters"]) == (len(x), 40)
    assert "|draws:clusters|cluster:passage|" in row["signature"]
    totals = np.bincount(cluster, weights=x)

    def ratio(above: Floats, below: Floats, axis: int = -1) -> Any:
        return above.sum(axis=axis) / below.sum(axis=axis)

    assert_close_to_scipy(row, (totals, sizes.astype(float)), ratio, method, paired=True)


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_ratio_of_sums(method: Any) -> None:
    x, weight = skewed(80, 7), np.random.default_rng(8).integers(20, 900, 80).astype(float)
    row = row_of(frame(x, weight=weight).with_columns(metric=pl.lit("bits_per_byte")), method=method)
    assert row["value"] == pytest.approx((x * weight).sum() / weight.sum(), rel=1e-13)

    def ratio(above: Floats, below: Floats, axis: int = -1) -> Any:
        return above.sum(axis=axis) / below.sum(axis=axis)

    assert_close_to_scipy(row, (x * weight, weight), ratio, method, paired=True)


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_mean_of_the_means_of_strata(method: Any) -> None:
    parts = [skewed(30, 1), 3 + skewed(90, 2), 0.2 * skewed(45, 3)]
    subtask = np.repeat(["a", "b", "c"], [len(part) for part in parts])
    row = row_of(frame(np.concatenate(parts), subtask=subtask), stratify="subtask", method=method)
    assert row["n_strata"] == 3
    assert row["value"] == pytest.approx(np.mean([part.mean() for part in parts]), rel=1e-13)

    def macro(*parts: Floats, axis: int = -1) -> Any:
        return sum(part.mean(axis=axis) for part in parts) / len(parts)

    assert_close_to_scipy(row, tuple(parts), macro, method)


def test_studentised_by_hand() -> None:
    x = skewed(40, 11)
    row = row_of(frame(x), method="studentised")
    draws = np.random.default_rng(0).choice(x, (10_000, 40))
    t = (draws.mean(axis=1) - x.mean()) / stats.sem(draws, axis=1)
    error = stats.sem(x)
    high, low = x.mean() - error * np.quantile(t, [0.025, 0.975])
    assert row["low"] == pytest.approx(low, abs=CLOSE * error)
    # The upper limit rests on the long tail of t, where replicates are few.
    assert row["high"] == pytest.approx(high, abs=3 * CLOSE * error)


# --- the same draws by every path ------------------------------------------------------------------------------------


def designed() -> pl.DataFrame:
    """Two runs on two subtasks in clusters, real values."""
    rng = np.random.default_rng(2)
    parts = []
    for run in ("a", "b"):
        for subtask, n in (("u", 30), ("v", 21)):
            labels = [f"{subtask}{i:03}" for i in range(n)]
            cluster = [f"c{i // 3}" for i in range(n)]
            table = frame(rng.normal(0.5, 0.2, n), subtask=subtask, cluster=cluster)
            parts.append(table.with_columns(run=pl.lit(run), instance_id=pl.Series(labels)))
    return pl.concat(parts)


@pytest.mark.parametrize("method", ["percentile", "basic", "bca"])
@pytest.mark.parametrize("options", [{}, {"stratify": "subtask"}, {"cluster": "instance_id"}])
def test_a_function_gives_what_the_name_gives(method: Any, options: dict[str, Any]) -> None:
    # Clusters of equal size: the mean of what a replicate holds is the ratio of sums.
    scores, plan = designed(), {"method": method, "n_resamples": 300, **options}

    def p70(x: Floats) -> Any:
        return np.quantile(x, 0.7)

    for name, function in (("mean", np.mean), ("median", np.median), ("quantile:0.7", p70)):
        expected = quiet(scores, statistic=name, **plan)
        found = quiet(scores, statistic=function, **plan)
        # What is known to be doubtful of a mean or a quantile is not known of a function.
        assert_frame_equal(
            found.drop("signature", "flags"), expected.drop("signature", "flags"), rel_tol=1e-10
        )
    assert "|statistic:mean|" in quiet(scores, statistic=np.mean, **plan)["signature"][0]


def test_runs_on_the_same_instances_share_their_draws() -> None:
    number = np.arange(25.0)
    scores = pl.concat([frame(number), frame(number).with_columns(run=pl.lit("b"))])
    other = frame(number).with_columns(task=pl.lit("another"))
    seen: dict[str, list[bytes]] = {}
    for name, table in (("two runs", scores), ("another task", other)):
        held = seen.setdefault(name, [])

        def keep(x: Floats, held: list[bytes] = held) -> float:
            held.append(x.tobytes())
            return float(x.mean())

        quiet(table, statistic=keep, n_resamples=20)
    drawn = seen["two runs"][:20]
    assert len(set(drawn)) == 20
    assert seen["two runs"][20:40] == drawn
    assert not set(seen["another task"][:20]) & set(drawn)


def test_a_twin_gives_the_same() -> None:
    scores = pl.concat(
        [designed(), frame(np.arange(40) < 9, subtask="w", cluster=None)], how="diagonal_relaxed"
    )
    plans: list[dict[str, Any]] = [{"method": method} for method in ("percentile", "bca", "studentised")]
    plans.append({"statistic": "median", "method": "bca"})
    for options in plans:
        expected = quiet(scores, n_resamples=60, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", sn.SignoiseWarning)
            found = reference.bootstrap(scores, n_resamples=60, **options)
        assert_frame_equal(found, expected, rel_tol=1e-10)


# --- bits that stay --------------------------------------------------------------------------------------------------

PLANS: list[dict[str, Any]] = [
    {},
    {"method": "bca", "cluster": "instance_id"},
    {"method": "studentised"},
    {"statistic": "median", "method": "bca"},
    {"statistic": "quantile:0.9", "stratify": "subtask"},
    {"stratify": "subtask", "method": "bca"},
    {"statistic": np.std},
]


def shares(task: str, run: str) -> pl.DataFrame:
    return frame(np.arange(50) % 7 < 3, cluster=None, subtask=None).with_columns(
        task=pl.lit(task), run=pl.lit(run)
    )


def sorted_rows(table: pl.DataFrame, like: pl.DataFrame) -> pl.DataFrame:
    """The rows that `like` has, exactly as wide."""
    return table.join(like.select("run", "task"), on=["run", "task"], how="semi").select(like.columns)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: " ".join(map(str, plan)) or "default")
def test_other_rows_threads_and_row_order_change_no_bit(plan: dict[str, Any]) -> None:
    scores = pl.concat([designed(), shares("t2", "a"), shares("t2", "b")], how="diagonal_relaxed")
    options = {"n_resamples": 200, **plan}
    expected = quiet(scores, **options)
    for threads in (1, 2, 8):
        assert_frame_equal(quiet(scores, threads=threads, **options), expected, check_exact=True)
    shuffled = scores.sample(fraction=1.0, shuffle=True, seed=3)
    assert_frame_equal(quiet(shuffled, **options), expected, check_exact=True)
    assert_frame_equal(quiet(scores.lazy(), **options), expected, check_exact=True)
    # A task, a run and a metric more, and a run less.
    more = [
        shares("t3", "a"),
        designed().filter(run="a").with_columns(run=pl.lit("0"), value=pl.col("value") * 2 + 0.01),
        designed().with_columns(task=pl.lit("s")),
        shares("t2", "c").with_columns(value=pl.col("value") * 0.3),
    ]
    wider = quiet(pl.concat([scores, *more], how="diagonal_relaxed"), **options)
    assert_frame_equal(sorted_rows(wider, expected), expected, check_exact=True)
    fewer = quiet(scores.filter(pl.col("run") != "b"), **options)
    assert_frame_equal(fewer, expected.filter(run="a").select(fewer.columns), check_exact=True)


@given(scores=score_tables(infinite=True), plan=st.sampled_from(PLANS), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_tables_as_they_come(scores: pl.DataFrame, plan: dict[str, Any], seed: int) -> None:
    # Checkpoints of a curve taken for instances: gaps, infinities, perplexities, names of every kind.
    items = scores.with_columns(pl.col("step").cast(pl.String).alias("instance_id"), step=pl.lit(1, pl.Int64))
    items = items.drop("revision", "tokens", strict=False)
    options = {"n_resamples": 20, "duplicates": "mean", **plan}
    if "cluster" not in items.columns:
        options.pop("cluster", None)

    def outcome(table: pl.DataFrame) -> pl.DataFrame | str:
        try:
            return quiet(table, **options)
        except (sn.OptionError, sn.SchemaError) as error:  # strata of a perplexity, or no subtasks
            return str(error)

    found = outcome(items)
    again = outcome(items.sample(fraction=1.0, shuffle=True, seed=seed))
    if isinstance(found, str) or isinstance(again, str):
        assert str(found) == str(again)
        return
    assert_frame_equal(again, found, check_exact=True)
    for name in ("value", "stderr", *LIMITS):
        assert found[name].drop_nulls().is_finite().all()
    whole = found.filter(status="ok")
    assert whole.filter(pl.col("low") >= pl.col("high")).height == 0
    assert whole.filter(pl.any_horizontal(pl.col(LIMITS).is_null())).height == 0
    assert found.filter(pl.col("status") != "ok", pl.any_horizontal(pl.col(LIMITS).is_not_null())).height == 0


def test_another_seed_gives_other_draws() -> None:
    scores = frame(skewed(50))
    assert row_of(scores, rng_seed=1)["low"] != row_of(scores)["low"]


def test_many_runs_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = pl.concat([frame(skewed(20, i)).with_columns(run=pl.lit(f"r{i}")) for i in range(7)])
    expected = quiet(scores, n_resamples=100)
    monkeypatch.setattr("signoise._bootstrap_replicates.TOGETHER", 3)
    assert_frame_equal(quiet(scores, n_resamples=100), expected, check_exact=True)


# --- which rows ------------------------------------------------------------------------------------------------------


def test_last_checkpoints_unless_the_key_names_them() -> None:
    parts = [
        frame(skewed(30, 10 * step + (run == "b"))).with_columns(run=pl.lit(run), step=pl.lit(step))
        for run, steps in (("a", (1, 2, 10)), ("b", (1, 2)))
        for step in steps
    ]
    scores = pl.concat(parts)
    assert quiet(scores).select("run", "step").rows() == [("a", 10), ("b", 2)]
    every = quiet(scores, by=("task", "metric", "step"))
    assert every.columns[:5] == ["run", "step", "task", "metric", "n"]
    assert every.select("run", "step").rows() == [("a", 1), ("a", 2), ("a", 10), ("b", 1), ("b", 2)]
    earlier = quiet(scores, where="step <= 2")
    assert earlier.select("run", "step").rows() == [("a", 2), ("b", 2)]
    assert_frame_equal(earlier, every.filter(step=2), check_exact=True)
    # Tokens decide before steps.
    back = scores.with_columns(tokens=-pl.col("step").cast(pl.Float64))
    assert quiet(back)["step"].to_list() == [1, 1]
    assert quiet(back, order="step")["step"].to_list() == [10, 2]


def test_repeats_are_averaged_first() -> None:
    x = skewed(30)
    twice = pl.concat([frame(x - 0.1, repeat=0), frame(x + 0.1, repeat=1)])
    found, expected = row_of(twice), row_of(frame(x))
    assert found["n"] == 30
    assert [found[name] for name in LIMITS] == pytest.approx([expected[name] for name in LIMITS], rel=1e-12)


def test_perplexity_is_exp_of_the_mean_logarithm() -> None:
    x = 10 * skewed(40)
    found = row_of(frame(x).with_columns(metric=pl.lit("perplexity")), method="bca")
    logs = row_of(frame(np.log(x)), method="bca")
    for name in ("value", *LIMITS):
        assert found[name] == pytest.approx(math.exp(logs[name]), rel=1e-12)
    assert found["stderr"] == pytest.approx(found["value"] * logs["stderr"], rel=0.02)
    with pytest.raises(sn.OptionError, match="mean over strata of a perplexity"):
        sn.bootstrap(frame(x).with_columns(metric=pl.lit("perplexity")), stratify="task")


def test_results_beside_instances_are_left_out() -> None:
    result = frame([0.9]).with_columns(instance_id=pl.lit(None, pl.String), step=pl.lit(2))
    scores = pl.concat([frame(skewed(30)), result], how="vertical_relaxed")
    with pytest.warns(sn.DroppedRowsWarning, match="1 result rows were left out: they have no instances"):
        found = sn.bootstrap(scores, n_resamples=50)
    assert found.select("step", "n").rows() == [(1, 30)]


def test_columns_that_differ_join_the_key() -> None:
    scores = pl.concat([frame(skewed(30, i), config=f"shots={i}") for i in (0, 5)])
    with pytest.warns(sn.MixedKeyWarning, match="config joined the key"):
        found = sn.bootstrap(scores)
    assert found["config"].to_list() == ["shots=0", "shots=5"]
    assert all("mixed_config" in flags for flags in found["flags"])


def test_strata_may_be_tasks() -> None:
    scores = pl.concat([frame(skewed(30, i)).with_columns(task=pl.lit(f"t{i}")) for i in range(3)])
    row = row_of(scores, stratify="task")
    assert "task" not in row
    assert row["n_strata"] == 3
    assert row["value"] == pytest.approx(quiet(scores)["value"].to_numpy().mean(), rel=1e-12)


def test_a_store_and_its_frame_agree(tmp_path: Path) -> None:
    scores, _ = sn.simulate(tasks=2, recipes=2, params=(1e9,), checkpoints=3, instances=40)
    path = tmp_path / "scores.parquet"
    scores.write_parquet(path)
    sn.ingest(str(path), tmp_path / "store")
    expected = quiet(scores, n_resamples=50)
    assert expected["step"].unique().to_list() == [3000]
    means = sn.aggregate(scores, by=("run", "step", "task", "metric")).filter(step=3000)
    both = expected.join(means, on=["run", "task", "metric"], how="inner", suffix="_of_means")
    assert both.height == expected.height
    assert (both["value"] - both["mean"]).abs().max() < 1e-12  # type: ignore[operator]
    for source in (str(path), sn.open_store(tmp_path / "store")):
        found = quiet(source, n_resamples=50)
        assert_frame_equal(found, expected, check_exact=True)


# --- undefined -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["percentile", "basic", "bca", "studentised"])
@pytest.mark.parametrize("level", [0.0, 1.0, 0.3])
def test_equal_values_have_no_interval(level: float, method: Any) -> None:
    row = row_of(frame([level] * 40), method=method, n_resamples=200)
    assert row["value"] == pytest.approx(level)
    assert (row["low"], row["high"], row["status"]) == (None, None, "constant")
    assert row["stderr"] == 0.0
    with pytest.raises(sn.InsufficientDataError):
        sn.bootstrap(frame([level] * 40), method=method, n_resamples=200, strict=True)


def test_limits_that_coincide_are_no_interval() -> None:
    row = row_of(frame(np.arange(100) < 35), statistic="median")
    assert (row["value"], row["low"], row["status"]) == (0.0, None, "constant")


def test_one_instance_or_cluster_is_too_few() -> None:
    for row in (
        row_of(frame([0.4])),
        row_of(frame([0.3, 0.5], cluster="c")),
        row_of(frame([0.2, 0.4, 0.6], subtask=["u", "u", "v"]), stratify="subtask", statistic="median"),
    ):
        assert row["status"] == "too_few"
        assert row["value"] == pytest.approx(0.45 if row["n"] == 3 else 0.4)
        assert [row[name] for name in ("stderr", *LIMITS)] == [None] * 3
    assert row_of(frame([0.3, 0.5], cluster="c"), cluster="instance_id")["status"] == "ok"


def test_gaps_are_counted_out() -> None:
    scores = frame([0.0, 0.1, 0.4, math.nan, 0.9])
    row = row_of(scores.with_columns(value=pl.when(pl.col("value") != 0.0).then("value")))
    assert (row["n"], row["n_missing"], row["n_nan"]) == (3, 1, 1)
    assert row["flags"] == ["missing_values", "few_instances"]
    nothing = row_of(frame([math.nan, math.nan]))
    assert (nothing["n"], nothing["value"], nothing["status"]) == (0, None, "too_few")


def test_infinite_scores_and_undefined_functions() -> None:
    row = row_of(frame([1.0, 2.0, math.inf] * 5).with_columns(metric=pl.lit("perplexity")))
    assert (row["value"], row["low"], row["status"]) == (None, None, "not_finite")
    weightless = frame(skewed(9), weight=[0.0] * 9).with_columns(metric=pl.lit("bits_per_byte"))
    endless = weightless.with_columns(weight=math.inf)
    for scores in (weightless, endless):
        row = row_of(scores, n_resamples=20)
        assert (row["value"], row["low"], row["status"]) == (None, None, "not_finite")
    row = row_of(frame(skewed(9)), statistic=lambda _: math.nan, n_resamples=20)
    assert (row["value"], row["low"], row["status"]) == (None, None, "not_finite")


def test_flags_of_doubtful_intervals() -> None:
    few = row_of(frame(np.arange(60.0) % 11, cluster=[f"{i // 6}" for i in range(60)]))
    assert few["flags"] == ["few_clusters"]
    strata = frame(np.arange(65.0) % 11, subtask=["s"] * 46 + ["t"] * 19)
    assert row_of(strata.drop("subtask"))["flags"] == []
    assert row_of(strata, stratify="subtask")["flags"] == ["few_instances"]
    mirrored = row_of(frame(np.arange(60.0)), statistic="median", method="basic")
    assert mirrored["flags"] == ["poor_coverage"]
    heavy = np.linspace(0, 1, 60) ** 8
    assert row_of(frame(heavy))["flags"] == row_of(frame(heavy), method="bca")["flags"] == ["skewed"]
    assert row_of(frame(np.arange(100) < 8))["flags"] == ["skewed"]
    assert row_of(frame(np.arange(600) < 300))["flags"] == []
    # No instance moves the median when it is left out, so it has no acceleration.
    ones = frame(np.arange(100) < 45)
    found, plain = (row_of(ones, statistic="median", method=method) for method in ("bca", "percentile"))
    assert (found["flags"], plain["flags"]) == (["percentile_fallback"], [])
    assert [found[name] for name in LIMITS] == [plain[name] for name in LIMITS] == [0.0, 1.0]


def test_duplicates() -> None:
    scores = pl.concat([frame([0.1, 0.2, 0.4]), frame([0.1, 0.5, 0.4])])
    with pytest.raises(sn.DuplicateKeyError):
        sn.bootstrap(scores)
    with pytest.warns(sn.DroppedRowsWarning, match="took the last"):
        found = sn.bootstrap(scores, duplicates="last")
    assert found["value"].item() == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"statistic": "mode"}, "statistic must be"),
        ({"statistic": "quantile:2"}, "statistic must be"),
        ({"statistic": "quantile:x"}, "statistic must be"),
        ({"statistic": lambda x: x}, "must return one number"),
        ({"method": "bias"}, "method must be one of"),
        ({"n_resamples": 1}, "n_resamples must be"),
        ({"rng_seed": 2**64}, "rng_seed must be below"),
        ({"confidence_level": 1.0}, "confidence_level must be"),
        ({"method": "studentised", "statistic": "median"}, "studentised"),
        ({"method": "studentised", "stratify": "task"}, "studentised"),
    ],
)
def test_wrong_options_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(sn.OptionError, match=message):
        sn.bootstrap(frame(skewed(9)), **options)


def test_columns_that_are_not_there() -> None:
    wrong: list[dict[str, Any]] = [
        {"cluster": "passage"},
        {"stratify": "subtask"},
        {"by": ("task", "filter")},
    ]
    for options in wrong:
        with pytest.raises(sn.SchemaError, match="no column"):
            sn.bootstrap(frame(skewed(9)), **options)
    with pytest.raises(sn.SchemaError, match="draws instances, and these scores have none"):
        sn.bootstrap(sn.example_scores())
    with pytest.raises(sn.SchemaError, match="no rows are left after where"):
        sn.bootstrap(frame(skewed(9)), where="step > 1")
    with pytest.raises(sn.SchemaError, match="several values of 'cluster'"):
        sn.bootstrap(pl.concat([frame([0.1, 0.2], cluster=name, repeat=i) for i, name in enumerate("pq")]))
