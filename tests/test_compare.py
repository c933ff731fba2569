"""The verb `compare`: SciPy and statsmodels as oracles, matching of instances, undefined cases, real dumps, the CLI."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy import stats
from statsmodels.stats.multitest import multipletests

import signoise as sn
from dumps import shared_dump
from signoise import reference
from signoise._cli import main
from signoise._compare import in_words
from signoise._exact_tests import mcnemar


def instances(runs: dict[str, Any], *, metric: str = "f1", **extra: Any) -> pl.DataFrame:
    """One row an instance; the scores of each run in the order of the instances."""
    parts = []
    for run, values in runs.items():
        size = len(values)
        columns = {
            name: value if isinstance(value, (list, np.ndarray)) else [value] * size
            for name, value in extra.items()
        }
        parts.append(
            pl.DataFrame(
                {
                    "run": [run] * size,
                    "step": [100] * size,
                    "task": ["t"] * size,
                    "metric": [metric] * size,
                    "instance_id": [f"i{i:04d}" for i in range(size)],
                    "value": pl.Series(values, dtype=pl.Float64),
                    **columns,
                }
            )
        )
    return pl.concat(parts, how="diagonal_relaxed")


def row_of(*args: Any, **options: Any) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        table = sn.compare(*args, **options)
    assert table.height == 1, table
    return table.row(0, named=True)


@pytest.fixture(scope="module")
def two() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(3)
    shared = rng.normal(0.5, 0.2, 80)
    return shared + rng.normal(0.03, 0.1, 80), shared + rng.normal(0, 0.1, 80)


# --- oracles -----------------------------------------------------------------------------------------


def test_paired_t_is_scipys(two: Any) -> None:
    a, b = two
    row = row_of(instances({"a": a, "b": b}))
    expected = stats.ttest_rel(a, b)
    limits = expected.confidence_interval(0.95)
    assert (row["run_a"], row["run_b"], row["n"], row["step_a"], row["test"]) == ("a", "b", 80, 100, "t")
    assert row["p_value"] == pytest.approx(expected.pvalue, rel=1e-9)
    assert (row["low"], row["high"]) == pytest.approx((limits.low, limits.high), rel=1e-9)
    assert row["difference"] == pytest.approx(a.mean() - b.mean())
    assert row["stderr"] == pytest.approx(stats.sem(a - b))
    assert row["correlation"] == pytest.approx(np.corrcoef(a, b)[0, 1])
    unpaired = stats.sem(a) ** 2 + stats.sem(b) ** 2
    assert row["variance_reduction"] == pytest.approx(1 - row["stderr"] ** 2 / unpaired)
    assert row["mde"] == pytest.approx((1.959964 + 0.841621) * row["stderr"], rel=1e-6)
    assert row["p_adjusted"] == row["p_value"]
    assert (row["status"], row["flags"]) == ("ok", [])


@pytest.mark.parametrize("given", [True, False])
def test_clustered_error_is_that_of_statsmodels(two: Any, given: bool) -> None:
    a, b = two
    passage = np.repeat(np.arange(16), 5)
    rng = np.random.default_rng(0)
    a = a + np.repeat(rng.normal(0, 0.1, 16), 5)
    name = "passage" if given else "cluster"
    frame = instances({"a": a, "b": b}, **{name: [f"p{i}" for i in passage]})
    row = row_of(frame, cluster="passage" if given else None)
    fit = sm.OLS(a - b, np.ones(80)).fit(cov_type="cluster", cov_kwds={"groups": passage}, use_t=True)
    # statsmodels' correction is G/(G - 1) (n - 1)/(n - k) with k = 1
    assert row["stderr"] == pytest.approx(fit.bse[0], rel=1e-9)
    assert row["p_value"] == pytest.approx(fit.pvalues[0], rel=1e-9)
    assert (row["low"], row["high"]) == pytest.approx(tuple(fit.conf_int()[0]), rel=1e-9)
    assert row["n_clusters"] == 16
    assert row["flags"] == ["few_clusters"]
    assert row["design_effect"] == pytest.approx((row["stderr"] / stats.sem(a - b)) ** 2)
    assert f"cluster:{name}" in row["signature"]
    alone = row_of(frame, cluster="instance_id")
    assert alone["stderr"] == pytest.approx(stats.sem(a - b))
    assert alone["n_clusters"] == 80


def test_right_or_wrong_scores_get_mcnemars_test() -> None:
    a = np.array([1] * 15 + [0] * 5 + [1] * 40 + [0] * 20)
    b = np.array([0] * 15 + [1] * 5 + [1] * 40 + [0] * 20)
    frame = instances({"a": a, "b": b}, metric="acc")
    found = {test: row_of(frame, test=test) for test in ("auto", "exact", "t")}  # type: ignore[arg-type]
    assert found["auto"]["p_value"] == pytest.approx(0.026604, abs=5e-7)
    assert found["exact"]["p_value"] == pytest.approx(0.041389, abs=5e-7)
    assert found["t"]["p_value"] == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-9)
    assert [row["test"] for row in found.values()] == ["mcnemar_mid_p", "mcnemar_exact", "t"]
    # instances that come in pairs are no independent trials
    clustered = row_of(
        frame.with_columns(cluster=pl.lit("c") + (pl.int_range(pl.len()).over("run") // 2).cast(pl.String))
    )
    assert clustered["test"] == "t"


def test_repeats_are_averaged_first() -> None:
    rng = np.random.default_rng(1)
    draws = rng.integers(0, 2, (2, 50, 4)).astype(float)
    parts = [
        instances({"a": draws[0, :, r], "b": draws[1, :, r]}, metric="acc", repeat=r).with_columns(
            pl.col("repeat").cast(pl.Int32)
        )
        for r in range(4)
    ]
    row = row_of(pl.concat(parts))
    expected = stats.ttest_rel(draws[0].mean(axis=1), draws[1].mean(axis=1))
    assert (row["n"], row["test"]) == (50, "t")
    assert row["p_value"] == pytest.approx(expected.pvalue, rel=1e-9)


def test_ratio_of_sums_to_first_order() -> None:
    rng = np.random.default_rng(2)
    weight = rng.integers(20, 200, 300).astype(float)
    a, b = rng.normal(1.0, 0.2, 300), rng.normal(1.05, 0.2, 300)
    frame = instances({"a": a, "b": b}, metric="bits_per_byte", weight=weight)
    row = row_of(frame)
    ratio = [np.average(x, weights=weight) for x in (a, b)]
    assert (row["mean_a"], row["mean_b"]) == pytest.approx(ratio)
    residual = ((a - ratio[0]) - (b - ratio[1])) * weight / weight.mean()
    assert row["stderr"] == pytest.approx(np.sqrt((residual**2).sum() / (300 * 299)))
    # brute force: leave one instance out
    keep = ~np.eye(300, dtype=bool)
    left = np.array([np.average((a - b)[k], weights=weight[k]) for k in keep])
    assert row["stderr"] == pytest.approx(np.sqrt(299 / 300 * ((left - left.mean()) ** 2).sum()), rel=0.02)
    assert row["verdict"] == "a is better"  # fewer bits


def test_perplexity_is_exp_of_mean_logarithms() -> None:
    rng = np.random.default_rng(5)
    a, b = (np.exp(rng.normal(2, 0.3, 200) + shift) for shift in (0.0, 0.1))
    row = row_of(instances({"a": a, "b": b}, metric="perplexity"))
    means = [np.exp(np.log(x).mean()) for x in (a, b)]
    assert (row["mean_a"], row["mean_b"]) == pytest.approx(means)
    keep = ~np.eye(200, dtype=bool)
    left = np.array([np.exp(np.log(a[k]).mean()) - np.exp(np.log(b[k]).mean()) for k in keep])
    assert row["stderr"] == pytest.approx(np.sqrt(199 / 200 * ((left - left.mean()) ** 2).sum()), rel=0.01)


# --- who is compared ---------------------------------------------------------------------------------


def checkpoints() -> pl.DataFrame:
    rng = np.random.default_rng(7)
    parts = [
        instances({run: rng.normal(0.5 + step / 1e4, 0.1, 40)}).with_columns(
            pl.lit(step, pl.Int64).alias("step")
        )
        for run in ("x", "y", "z")
        for step in (100, 200, 1000)
    ]
    return pl.concat(parts).sample(fraction=1.0, shuffle=True, seed=1)


def test_last_checkpoints_and_named_ones() -> None:
    frame = checkpoints()
    table = sn.compare(frame)
    assert table.select("run_a", "step_a", "run_b", "step_b").rows() == [
        ("x", 1000, "y", 1000),
        ("x", 1000, "z", 1000),
        ("y", 1000, "z", 1000),
    ]
    row = row_of(frame, a="z@200", b="x")
    assert (row["run_a"], row["step_a"], row["run_b"], row["step_b"]) == ("z", 200, "x", 1000)
    mirrored = row_of(frame, a="x", b="z@200")
    assert mirrored["difference"] == -row["difference"]
    assert mirrored["p_value"] == row["p_value"]
    own = row_of(frame, a="x@100", b="x@1000")
    assert (own["step_a"], own["step_b"]) == (100, 1000)
    against = sn.compare(frame, baseline="y@200")
    assert against.select("run_a", "step_a", "run_b", "step_b").rows() == [
        (run, 1000, "y", 200) for run in ("x", "y", "z")
    ]
    assert sn.compare(frame, baseline="y")["run_a"].to_list() == ["x", "z"]
    expected = multipletests(against["p_value"].to_numpy(), method="holm")[1]
    np.testing.assert_allclose(against["p_adjusted"], expected)


def test_a_run_whose_name_holds_the_sign() -> None:
    frame = instances({"org@x": np.arange(40.0), "org": np.arange(40.0) ** 0.5})
    assert row_of(frame, a="org@x", b="org@100")["run_a"] == "org@x"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"a": "x"}, "both a and b"),
        ({"a": "x", "b": "y", "baseline": "z"}, "both a and b"),
        ({"a": "x", "b": "yy"}, "no run 'yy'; did you mean 'y'"),
        ({"a": "x", "b": "y@300"}, "no checkpoint '300'; its steps are 100, 200, 1000"),
        ({"where": "run = 'x'"}, "nothing to compare with"),
        ({"where": "run = 'q'"}, "no rows are left"),
        ({"cluster": "passage"}, "no column 'passage'"),
        ({"power": 1.0}, "power"),
        ({"test": "z"}, "test must be one of"),
        ({"cluster": "run"}, "several values of 'run'"),
    ],
)
def test_misuse(options: dict[str, Any], message: str) -> None:
    with pytest.raises(sn.SignoiseError, match=message):
        sn.compare(checkpoints(), **options)


def test_a_column_that_cannot_be_read_is_named() -> None:
    frame = checkpoints().with_columns(pl.lit("none").alias("seed"), pl.lit("x").alias("tokens"))
    with pytest.raises(sn.SchemaError, match="cannot be read"):
        sn.compare(frame)


def test_one_name_for_several_runs() -> None:
    frame = instances({"a": np.arange(30.0), "b": np.arange(30.0)[::-1]}, seed=1)
    twice = pl.concat([frame, frame.with_columns(seed=pl.lit(2, pl.Int64), value=pl.col("value") + 1)])
    with pytest.raises(sn.OptionError, match="seed is 1, 2"):
        sn.compare(twice)
    assert sn.compare(twice, where="seed = 1").height == 1


def test_scores_that_are_not_alike_are_not_compared() -> None:
    frame = instances({"a": np.arange(30.0), "b": np.arange(30.0)[::-1]})
    config = pl.when(pl.col("run") == "a").then(pl.lit("shots=0")).otherwise(pl.lit("shots=5"))
    with pytest.raises(sn.SchemaError, match="a has config shots=0, while b has config shots=5"):
        sn.compare(frame.with_columns(config=config))
    both = pl.concat([frame.with_columns(config=pl.lit(c)) for c in ("shots=0", "shots=5")])
    with pytest.warns(sn.MixedKeyWarning, match="config joined"):
        table = sn.compare(both)
    assert table["config"].to_list() == ["shots=0", "shots=5"]
    assert table["flags"].to_list() == [["mixed_config"]] * 2


def test_instances_of_one_side_only_are_left_out_and_told(two: Any) -> None:
    a, b = two
    frame = instances({"a": a, "b": b})
    lost = frame.filter(~((pl.col("run") == "a") & pl.col("instance_id").is_in(["i0000", "i0001"])))
    lost = lost.filter(~((pl.col("run") == "b") & (pl.col("instance_id") == "i0079")))
    with pytest.warns(sn.DroppedRowsWarning, match="77 shared, 1 only in a and 2 only in b"):
        table = sn.compare(lost)
    row = table.row(0, named=True)
    assert (row["n"], row["n_unmatched_a"], row["n_unmatched_b"]) == (77, 1, 2)
    assert row["flags"] == ["unmatched"]
    assert row["p_value"] == pytest.approx(stats.ttest_rel(a[2:79], b[2:79]).pvalue, rel=1e-9)
    assert row["mean_a"] == pytest.approx(a[2:79].mean())
    with pytest.raises(sn.InsufficientDataError, match="77 shared"):
        sn.compare(lost, strict=True)
    gaps = frame.with_columns(
        value=pl.when((pl.col("run") == "a") & (pl.col("instance_id") == "i0003"))
        .then(None)
        .otherwise("value")
    )
    row = row_of(gaps)
    assert (row["n"], row["n_missing"], row["n_unmatched_b"]) == (79, 1, 1)
    assert row["flags"] == ["missing_values", "unmatched"]


def test_one_task_has_its_own_last_checkpoint_and_subtasks_follow_it() -> None:
    frame = checkpoints()
    other = frame.filter((pl.col("run") != "x") | (pl.col("step") < 1000)).with_columns(task=pl.lit("u"))
    table = sn.compare(pl.concat([frame, other]), a="x", b="y")
    assert table.select("task", "step_a", "step_b").rows() == [("t", 1000, 1000), ("u", 200, 1000)]


# --- subtasks ----------------------------------------------------------------------------------------


def suite(sizes: tuple[int, ...] = (30, 60, 200)) -> dict[str, tuple[Any, Any]]:
    rng = np.random.default_rng(9)
    return {f"s{i}": (rng.normal(0.1 * i, 0.2, n), rng.normal(0, 0.3, n)) for i, n in enumerate(sizes)}


def of_subtasks(parts: dict[str, tuple[Any, Any]]) -> pl.DataFrame:
    return pl.concat([instances({"a": a, "b": b}, subtask=name) for name, (a, b) in parts.items()])


def test_subtasks_apart_together_and_averaged() -> None:
    parts = suite()
    frame = of_subtasks(parts)
    with pytest.warns(sn.MixedKeyWarning, match="subtask joined"):
        apart = sn.compare(frame)
    assert apart["subtask"].to_list() == ["s0", "s1", "s2"]
    micro = row_of(frame, subtasks="micro")
    a, b = (np.concatenate([part[side] for part in parts.values()]) for side in (0, 1))
    assert micro["n"] == 290
    assert micro["p_value"] == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-9)
    macro = row_of(frame, subtasks="macro")
    d = [a - b for a, b in parts.values()]
    assert macro["difference"] == pytest.approx(np.mean([x.mean() for x in d]))
    variances = np.array([x.var(ddof=1) / len(x) for x in d])
    df = variances.sum() ** 2 / (variances**2 / np.array([len(x) - 1 for x in d])).sum()
    stderr = np.sqrt(variances.sum()) / 3
    assert macro["stderr"] == pytest.approx(stderr)
    assert macro["p_value"] == pytest.approx(2 * stats.t.sf(abs(macro["difference"]) / stderr, df), rel=1e-9)
    assert (macro["n"], macro["mean_a"]) == (
        290,
        pytest.approx(np.mean([a.mean() for a, _ in parts.values()])),
    )
    assert "subtask" not in macro
    assert "subtasks:macro" in macro["signature"]
    assert "subtasks:apart" in apart["signature"][0]
    with pytest.raises(sn.OptionError, match="leave subtask out of by"):
        sn.compare(frame, by=("task", "subtask"), subtasks="macro")


def test_macro_of_one_subtask_is_that_subtask() -> None:
    frame = of_subtasks(suite((50,)))
    one, macro = row_of(frame), row_of(frame, subtasks="macro")
    for name, value in one.items():
        if name not in ("signature", "subtask"):
            assert macro[name] == (pytest.approx(value) if isinstance(value, float) else value), name


def test_macro_of_right_or_wrong_scores_and_of_a_single_instance() -> None:
    rng = np.random.default_rng(2)
    bits = {f"s{i}": tuple(rng.integers(0, 2, (2, 40)).astype(float)) for i in range(4)}
    frame = of_subtasks(bits)  # type: ignore[arg-type]
    assert row_of(frame, subtasks="macro")["test"] == "t"
    assert row_of(frame, subtasks="micro")["test"] == "mcnemar_mid_p"
    alone = instances({"a": [1.0], "b": [0.0]}, subtask="s9")
    row = row_of(pl.concat([frame, alone]), subtasks="macro")
    assert (row["status"], row["stderr"]) == ("too_few", None)


# --- without instances -------------------------------------------------------------------------------


def results(**columns: Any) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "run": ["a", "b"],
            "step": [1, 1],
            "task": ["t", "t"],
            "metric": ["acc", "acc"],
            "value": [0.6, 0.5],
            **columns,
        }
    )


def test_results_are_compared_through_their_own_errors() -> None:
    row = row_of(results(stderr=[0.02, 0.03], n=[600, 278]))
    expected = stats.ttest_ind_from_stats(
        0.6, 0.02 * np.sqrt(600), 600, 0.5, 0.03 * np.sqrt(278), 278, equal_var=False
    )
    assert row["p_value"] == pytest.approx(expected.pvalue, rel=1e-9)
    assert row["stderr"] == pytest.approx(np.hypot(0.02, 0.03))
    assert (row["flags"], row["test"], row["n"]) == (["unpaired"], "t_unpaired", 278)
    assert row["correlation"] is None
    assert row["variance_reduction"] is None
    unknown = row_of(results(stderr=[0.02, 0.03]))
    assert unknown["p_value"] == pytest.approx(2 * stats.norm.sf(0.1 / np.hypot(0.02, 0.03)), rel=1e-9)
    assert unknown["n"] is None


def test_without_errors_nothing_can_be_said() -> None:
    for frame in (results(), results(stderr=[0.02, None])):
        with pytest.raises(sn.SchemaError, match="nothing is known of the errors"):
            sn.compare(frame)
    some = pl.concat(
        [results(stderr=[0.02, 0.02]), results(stderr=[0.02, None]).with_columns(task=pl.lit("u"))]
    )
    table = sn.compare(some)
    assert table["status"].to_list() == ["ok", "no_stderr"]
    assert table["p_value"].null_count() == 1
    assert table["difference"].null_count() == 0


def test_other_instances_are_an_unpaired_comparison(two: Any) -> None:
    a, b = two
    frame = instances({"a": a, "b": b})
    frame = frame.with_columns(instance_id=pl.col("run") + pl.col("instance_id"))
    row = row_of(frame)
    expected = stats.ttest_ind(a, b, equal_var=False)
    assert row["p_value"] == pytest.approx(expected.pvalue, rel=1e-9)
    assert (row["flags"], row["n_unmatched_a"]) == (["unpaired"], 80)


def test_instances_win_over_results(two: Any) -> None:
    a, b = two
    frame = instances({"a": a, "b": b})
    own = results(stderr=[0.1, 0.1]).with_columns(metric=pl.lit("f1"), step=pl.lit(100, pl.Int64))
    with pytest.warns(sn.DroppedRowsWarning, match="2 result rows beside instance rows"):
        table = sn.compare(pl.concat([frame, own], how="diagonal_relaxed"))
    assert table["flags"].to_list() == [[]]


# --- undefined ---------------------------------------------------------------------------------------


def test_equal_scores_are_no_evidence() -> None:
    same = np.linspace(0, 1, 40)
    row = row_of(instances({"a": same, "b": same}))
    assert (row["p_value"], row["status"], row["difference"], row["stderr"]) == (1.0, "constant", 0.0, 0.0)
    assert row["verdict"] == "no difference shown"
    assert row["low"] is None
    assert row["mde"] is None


def test_a_constant_lead_has_no_error_to_judge_it_by() -> None:
    same = np.linspace(0, 1, 40)
    row = row_of(instances({"a": same + 0.1, "b": same}))
    assert (row["status"], row["p_value"], row["verdict"]) == ("constant", None, None)
    assert row["difference"] == pytest.approx(0.1)
    assert row["stderr"] == 0.0
    # all solved against none solved: the binomial test still speaks
    row = row_of(instances({"a": np.ones(40), "b": np.zeros(40)}, metric="acc"))
    assert row["status"] == "constant"
    assert row["p_value"] == pytest.approx(float(mcnemar(40.0, 0.0)))
    assert row["verdict"] == "a is better"


@pytest.mark.parametrize("n", [1, 2, 29])
def test_few_instances(n: int) -> None:
    rng = np.random.default_rng(n)
    row = row_of(instances({"a": rng.normal(size=n), "b": rng.normal(size=n)}))
    assert row["status"] == ("too_few" if n < 2 else "ok")
    assert (row["p_value"] is None) == (n < 2)
    assert "few_instances" in row["flags"]


def test_skewed_differences() -> None:
    rng = np.random.default_rng(4)
    base = rng.normal(0.5, 0.1, 200)
    runs = {"a": base + rng.lognormal(0, 1.5, 200), "b": base, "c": base + rng.normal(0, 0.1, 200)}
    flags = dict(sn.compare(instances(runs), baseline="b").select("run_a", "flags").iter_rows())
    assert flags == {"a": ["skewed"], "c": []}
    # The mean over subtasks keeps what skewness its parts leave it.
    parts = [instances(runs).with_columns(subtask=pl.lit(name)) for name in ("s", "t")]
    macro = sn.compare(pl.concat(parts), a="a", b="b", subtasks="macro")
    assert macro["flags"].to_list() == [["skewed"]]
    apart = instances(runs).with_columns(instance_id=pl.col("run") + pl.col("instance_id"))
    assert row_of(apart, a="a", b="b")["flags"] == ["skewed", "unpaired"]


def test_nothing_but_gaps_keeps_its_row(two: Any) -> None:
    frame = instances({"a": two[0], "b": two[1]})
    row = row_of(frame.with_columns(value=pl.when(pl.col("run") == "a").then("value")))
    assert (row["status"], row["n_missing"], row["difference"], row["verdict"]) == ("too_few", 80, None, None)
    assert row["flags"] == ["missing_values", "unpaired"]


def test_one_cluster_is_too_few(two: Any) -> None:
    row = row_of(instances({"a": two[0], "b": two[1]}, cluster="c"))
    assert (row["status"], row["p_value"], row["stderr"]) == ("too_few", None, None)
    assert row["difference"] is not None


def test_infinite_scores() -> None:
    a = np.linspace(1, 2, 40)
    row = row_of(instances({"a": a, "b": np.where(a > 1.9, np.inf, a)}, metric="loss"))
    assert (row["status"], row["difference"], row["verdict"]) == ("not_finite", None, None)


def test_conflicting_duplicates(two: Any) -> None:
    frame = instances({"a": two[0], "b": two[1]})
    twice = pl.concat([frame, frame.with_columns(pl.col("value") + (pl.col("run") == "a").cast(pl.Float64))])
    with pytest.raises(sn.DuplicateKeyError):
        sn.compare(twice)
    first = row_of(twice, duplicates="first")
    assert first["difference"] == pytest.approx((two[0] - two[1]).mean())


def test_direction_decides_who_is_better(two: Any) -> None:
    a, b = two
    for metric, verdict in (("f1", "a is better"), ("loss", "b is better"), ("vibes", "a is higher")):
        assert row_of(instances({"a": a + 1, "b": b}, metric=metric))["verdict"] == verdict
    declared = row_of(instances({"a": a + 1, "b": b}, metric="vibes"), direction={"vibes": "lower"})
    assert declared["verdict"] == "b is better"


# --- invariance --------------------------------------------------------------------------------------


def test_row_order_threads_and_twins_do_not_matter() -> None:
    frame = checkpoints()
    table = sn.compare(frame)
    assert sn.compare(frame.sample(fraction=1.0, shuffle=True, seed=9)).equals(table)
    assert sn.compare(frame.lazy(), threads=2).equals(table)
    twin = sn.reference.compare(frame)
    for name in table.columns:
        if table[name].dtype.is_float():
            np.testing.assert_allclose(twin[name].to_numpy(), table[name].to_numpy(), rtol=1e-9)
        else:
            assert twin[name].equals(table[name]), name


def test_files_and_stores_give_what_frames_give(tmp_path: Path) -> None:
    frame = checkpoints()
    table = sn.compare(frame)
    frame.write_parquet(tmp_path / "scores.parquet")
    assert sn.compare(tmp_path / "scores.parquet").equals(table)
    sn.ingest(tmp_path / "scores.parquet", tmp_path / "scores.store")
    stored = sn.compare(sn.open_store(tmp_path / "scores.store"))
    assert stored.equals(table)


@given(
    st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=3, max_size=25),
    st.sampled_from([0.5, 2.0, 8.0]),
    st.integers(-8, 8),
)
def test_shift_scale_swap_and_relabelling(scores: list[tuple[int, int]], scale: float, shift: int) -> None:
    a, b = np.array(scores, dtype=float).T
    row = row_of(instances({"a": a, "b": b}, metric="vibes"))
    moved = row_of(instances({"a": scale * a + shift, "b": scale * b + shift}, metric="vibes"))
    swapped = row_of(instances({"a": b, "b": a}, metric="vibes"))
    assert moved["status"] == row["status"] == swapped["status"]
    for name in ("difference", "stderr", "low", "high", "mde"):
        factor = None if row[name] is None else pytest.approx(scale * row[name], rel=1e-9, abs=1e-9)
        assert moved[name] == factor
    if set(np.unique([a, b])) - {0, 1} and set(np.unique([scale * a + shift, scale * b + shift])) - {0, 1}:
        assert moved["p_value"] == (
            None if row["p_value"] is None else pytest.approx(row["p_value"], abs=1e-9)
        )
    assert swapped["difference"] == -row["difference"]
    assert swapped["p_value"] == row["p_value"]
    order = np.random.default_rng(len(a)).permutation(len(a))
    relabelled = row_of(instances({"a": a[order], "b": b[order]}, metric="vibes"))
    assert relabelled["stderr"] == (None if row["stderr"] is None else pytest.approx(row["stderr"], abs=1e-9))


def test_no_key_at_all(two: Any) -> None:
    a, b = two
    row = row_of(instances({"a": a, "b": b}), by=())
    assert row["p_value"] == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-9)
    assert row["verdict"] is not None
    assert sn.rank(instances({"a": a, "b": b, "c": a - 1}), by=()).height == 3


# --- calibration -------------------------------------------------------------------------------------


def test_rejections_without_a_difference() -> None:
    """400 pairs of equally good models: at most alpha and three standard errors, for 0/1 scores and in clusters."""
    rng = np.random.default_rng(11)
    pairs, n = 400, 60
    difficulty = rng.beta(1, 1, n)
    bits = (rng.random((pairs, 2, n)) < difficulty).astype(float)
    group = np.repeat(rng.normal(0, 0.2, (pairs, 2, n // 2)), 2, axis=2)
    real = rng.normal(0, 0.1, (pairs, 2, n)) + group
    rates = {}
    for name, values in (("acc", bits), ("f1", real)):
        frame = pl.DataFrame(
            {
                "run": np.tile(np.repeat(["a", "b"], n), pairs),
                "task": np.repeat([f"t{i:03d}" for i in range(pairs)], 2 * n),
                "metric": [name] * values.size,
                "instance_id": np.tile([f"{i}" for i in range(n)], 2 * pairs),
                "cluster": np.tile([f"c{i // 2}" for i in range(n)], 2 * pairs)
                if name == "f1"
                else [None] * values.size,
                "value": values.ravel(),
            },
            schema_overrides={"cluster": pl.String},
        )
        table = sn.compare(frame, adjust="none")
        rates[name] = np.mean(table["p_value"].to_numpy() <= 0.05)
        covered = np.mean((table["low"].to_numpy() <= 0) & (table["high"].to_numpy() >= 0))
        assert covered >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / pairs)
        if name == "f1":
            naive = sn.compare(frame, adjust="none", cluster="instance_id")
            assert np.mean(naive["p_value"].to_numpy() <= 0.05) > 0.12  # what ignoring clusters would do
    bound = 0.05 + 3 * np.sqrt(0.05 * 0.95 / pairs)
    assert max(rates.values()) <= bound
    assert min(rates.values()) > 0.01


def test_a_planted_difference_is_found_and_covered() -> None:
    scores, truth = sn.simulate(
        tasks=20,
        recipes=2,
        params=(1e9,),
        checkpoints=1,
        instances=500,
        signal=0.1,
        step_noise=0.0,
        rng_seed=4,
    )
    table = sn.compare(scores)
    assert truth.height == 20
    assert (table["verdict"] != "no difference shown").sum() >= 8
    again, _ = sn.simulate(
        tasks=20,
        recipes=2,
        params=(1e9,),
        checkpoints=1,
        instances=5_000,
        signal=0.1,
        step_noise=0.0,
        rng_seed=4,
    )
    true = sn.compare(again)["difference"].to_numpy()
    inside = (table["low"].to_numpy() <= true) & (true <= table["high"].to_numpy())
    assert inside.sum() >= 17


# --- real dumps --------------------------------------------------------------------------------------


def test_lm_eval_models_on_the_same_task() -> None:
    folder = shared_dump("lm_eval") / "v0.4.13"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        table = sn.compare(folder, a="org/alpha", b="org/beta@5000")
        frame = sn.scan_scores(folder).collect().filter(pl.col("instance_id").is_not_null())
    assert table["metric"].to_list() == [
        "acc",
        "acc_norm",
        "bits_per_byte",
        "byte_perplexity",
        "word_perplexity",
    ]
    assert table["status"].unique().to_list() == ["ok"]
    own = sn.scan_scores(folder).collect().filter(pl.col("instance_id").is_null() & (pl.col("step") == 5000))
    for row in table.iter_rows(named=True):
        for end in "ab":
            told = own.filter(run=row[f"run_{end}"], task=row["task"], metric=row["metric"])["value"].item()
            assert row[f"mean_{end}"] == pytest.approx(told, rel=1e-9)
    sides = [
        frame.filter(run=run, step=5000, metric="acc_norm", task="toy_mc").sort(
            pl.col("instance_id").cast(int)
        )["value"]
        for run in ("org/alpha", "org/beta")
    ]
    a, b = (side.to_numpy() for side in sides)
    row = table.row(by_predicate=pl.col("metric") == "acc_norm", named=True)
    assert row["stderr"] == pytest.approx(stats.ttest_rel(a, b)._standard_error)
    assert row["p_value"] == pytest.approx(float(mcnemar(((a > b).sum()), ((b > a).sum()))))


def test_inspect_epochs_and_clusters() -> None:
    folder = shared_dump("inspect_ai")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        row = sn.compare(folder, where="task = 'toy_choice'").row(0, named=True)
        frame = sn.scan_scores(folder).filter(pl.col("instance_id").is_not_null()).collect()
    means = (
        frame.filter(task="toy_choice")
        .filter(
            ((pl.col("run") == row["run_a"]) & (pl.col("step") == row["step_a"]))
            | ((pl.col("run") == row["run_b"]) & (pl.col("step") == row["step_b"]))
        )
        .group_by("run", "instance_id", "cluster")
        .agg(pl.col("value").mean(), pl.len())
    )
    assert means["len"].max() > 1  # epochs
    wide = means.pivot("run", index=["instance_id", "cluster"], values="value").sort("instance_id")
    d = (wide[row["run_a"]] - wide[row["run_b"]]).to_numpy()
    groups = wide["cluster"].rank("dense").to_numpy().astype(int)
    fit = sm.OLS(d, np.ones(len(d))).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
    assert row["n"] == len(d)
    assert row["stderr"] == pytest.approx(fit.bse[0], rel=1e-9)
    assert row["p_value"] == pytest.approx(fit.pvalues[0], rel=1e-9)


# --- command line ------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "scores.parquet"
    checkpoints().write_parquet(path)
    return str(path)


def test_the_command_prints_rows_and_sentences(file: str) -> None:
    done = CliRunner().invoke(main, ["compare", file, "--a", "x", "--b", "y@200", "--metric", "f1"])
    assert done.exit_code == 0, done.output
    assert "t f1: " in done.stdout
    assert " x@1000 " in done.stdout
    shown = CliRunner().invoke(main, ["compare", file, "--baseline", "y", "--json"])
    rows = json.loads(shown.stdout)
    assert [row["run_a"] for row in rows] == ["x", "z"]
    assert {
        "n",
        "mean_a",
        "mean_b",
        "difference",
        "stderr",
        "low",
        "high",
        "p_value",
        "p_adjusted",
        "mde",
    } <= set(rows[0])
    wrong = CliRunner().invoke(main, ["compare", file, "--a", "x"])
    assert wrong.exit_code == 1
    assert "both a and b" in wrong.stderr


def test_sentences(two: Any) -> None:
    a, b = two
    better = in_words(sn.compare(instances({"m": a + 1, "k": b}, metric="loss")))[0]
    assert better.startswith("t loss: k@100 is better than m@100 by 1.0")
    assert better.split("(")[1].startswith("1 to 1.06), p = ")
    same = in_words(sn.compare(instances({"m": a, "k": a})))[0]
    assert same == "t f1: no difference shown between k@100 and m@100: 0, p = 1"


def passages(rng: np.random.Generator, clusters: int, size: int, shift: float) -> pl.DataFrame:
    n = clusters * size
    shared = np.repeat(rng.normal(0, 1, clusters), size)
    return pl.DataFrame(
        {
            "run": np.repeat(["a", "b"], n),
            "task": "t",
            "metric": "margin",
            "instance_id": np.tile([f"i{i:04}" for i in range(n)], 2),
            "cluster": np.tile(np.repeat([f"p{i:03}" for i in range(clusters)], size), 2),
            "value": np.concatenate([shared + rng.normal(shift, 1, n), rng.normal(0, 1, n)]),
        }
    )


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("clusters", [9, 60])
def test_random_signs(clustered: bool, clusters: int) -> None:
    table = passages(np.random.default_rng(clusters), clusters, 1 if clusters == 9 else 4, 0.3)
    if not clustered:
        table = table.drop("cluster")
    found = sn.compare(table, test="permutation", n_resamples=20_000).row(0, named=True)
    a, b = (table.filter(pl.col("run") == run)["value"].to_numpy() for run in "ab")
    sums = (a - b).reshape(clusters, -1).sum(axis=1) if clustered else a - b
    expected = stats.permutation_test(
        (sums, np.zeros(len(sums))),
        lambda x, y, axis: (x - y).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20_000 if clusters > 9 else np.inf,
        rng=1,
    ).pvalue
    error = 0.0 if clusters == 9 else 6 * np.sqrt(2 * expected * (1 - expected) / 20_000)
    assert found["p_value"] == pytest.approx(expected, rel=1e-9, abs=error)
    assert found["test"] == "sign_flip"


def test_random_signs_of_right_or_wrong_scores_are_the_exact_binomial_test() -> None:
    rng = np.random.default_rng(2)
    table = (
        passages(rng, 50, 1, 0)
        .drop("cluster")
        .with_columns(metric=pl.lit("acc"), value=pl.Series(rng.integers(0, 2, 100).astype(float)))
    )
    flipped, exact = (sn.compare(table, test=test)["p_value"][0] for test in ("permutation", "exact"))
    assert flipped == pytest.approx(exact, rel=1e-12)


def test_random_signs_stay_with_their_scores() -> None:
    rng = np.random.default_rng(3)
    table = pl.concat([passages(rng, 40, 3, 0.1).with_columns(task=pl.lit(task)) for task in ("t", "u")])
    for frame in (table, table.drop("cluster")):
        alone = sn.compare(frame.filter(pl.col("task") == "u"), test="permutation")
        for other in (frame, frame.sample(fraction=1, shuffle=True, seed=1)):
            for threads in (1, 2, 8):
                found = sn.compare(other, test="permutation", threads=threads, adjust="none")
                assert found.filter(pl.col("task") == "u")["p_value"].item() == alone["p_value"].item()
    twin = reference.compare(table, test="permutation", n_resamples=500)
    assert_frame_equal(twin, sn.compare(table, test="permutation", n_resamples=500), rel_tol=1e-9)
    seeds = [sn.compare(table, test="permutation", rng_seed=seed)["p_value"][0] for seed in (0, 1)]
    assert seeds[0] != seeds[1]


def test_ratios_keep_students_test() -> None:
    table = passages(np.random.default_rng(4), 30, 1, 0).drop("cluster")
    weights = table.with_columns(
        metric=pl.lit("bits_per_byte"), value=pl.col("value").abs(), weight=pl.Series([3.0, 5.0] * 30)
    )
    found = sn.compare(weights, test="permutation").row(0, named=True)
    assert found["test"] == "t"
    assert found["p_value"] == sn.compare(weights, test="t")["p_value"][0]
