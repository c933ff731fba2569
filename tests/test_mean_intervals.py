"""Means, differences and proportions: SciPy and statsmodels as oracles, published values, and invariances."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from signoise import _mean_intervals as mi
from signoise._errors import OptionError, ShapeError
from signoise._proportions import proportion_interval

GROUPS = np.array([0, 40, 41, 41, 100], dtype=np.uintp)


def offsets(*sizes: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.uintp)


def data(n: int = 100, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    clusters = rng.integers(0, 12, n)
    a = rng.normal(0.5, 0.2, n) + 0.1 * rng.normal(size=12)[clusters]
    return a, a + rng.normal(0.05, 0.1, n), clusters


def test_mean_interval_equals_scipy() -> None:
    x, _, _ = data()
    found = mi.mean_estimate(x, GROUPS)
    low, high = mi.interval(found, 0.95)
    for g, (start, end) in ((0, (0, 40)), (3, (41, 100))):
        expected = stats.ttest_1samp(x[start:end], 0.5)
        assert found.stderr[g] == pytest.approx(stats.sem(x[start:end]), rel=1e-12)
        assert (low[g], high[g]) == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-12)
        assert mi.p_value(found, 0.5)[g] == pytest.approx(expected.pvalue, rel=1e-9)
    z_low, _ = mi.interval(found, 0.95, "z")
    assert z_low[0] == pytest.approx(x[:40].mean() - stats.norm.ppf(0.975) * stats.sem(x[:40]), rel=1e-12)
    # one instance has a mean and no error, none has neither
    assert found.value[1] == x[40]
    assert np.isnan(found.stderr[1])
    assert np.isnan(low[1])
    assert np.isnan([found.value[2], found.stderr[2], low[2]]).all()


@pytest.mark.parametrize("error", ["CR0", "CR1"])
def test_cluster_errors_equal_statsmodels(error: str) -> None:
    x, _, clusters = data()
    found = mi.mean_estimate(x, offsets(100), clusters=clusters, error=error)
    fit = sm.OLS(x, np.ones(100)).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": error == "CR1"}
    )
    assert found.value[0] == pytest.approx(fit.params[0], rel=1e-12)
    assert found.stderr[0] == pytest.approx(fit.bse[0], rel=1e-12)
    assert found.df[0] == len(np.unique(clusters)) - 1


def test_cr3_is_the_jackknife_over_clusters() -> None:
    # Deleting cluster g moves the mean by R_g / (n - n_g), so CR3 is the jackknife about the full mean.
    x, _, clusters = data()
    found = mi.mean_estimate(x, offsets(100), clusters=clusters, error="CR3")
    labels = np.unique(clusters)
    left = np.array([x[clusters != label].mean() for label in labels])
    g = len(labels)
    assert found.stderr[0] ** 2 == pytest.approx((g - 1) / g * ((left - x.mean()) ** 2).sum(), rel=1e-11)


def test_published_design_effect_of_clusters() -> None:
    # DROP: 1.34 clustered against 0.44 (2411.00640, table 1); here the same identity by hand, two clusters of two.
    x = np.array([1.0, 1.0, 0.0, 0.0])
    found = mi.mean_estimate(x, offsets(4), clusters=np.array([3, 3, 9, 9]), error="CR0")
    # CLT variance 1/12; cluster sums +-1 give 2/16
    assert found.stderr[0] ** 2 == pytest.approx(2 / 16)
    assert found.design_effect[0] == pytest.approx((2 / 16) / (1 / 12))
    assert found.effective_clusters[0] == pytest.approx(2.0)
    assert found.few_clusters[0]


@given(st.integers(0, 2**32), st.integers(2, 60))
def test_singleton_clusters_are_independent_instances(seed: int, n: int) -> None:
    x = np.random.default_rng(seed).normal(size=n)
    plain = mi.mean_estimate(x, offsets(n))
    single = mi.mean_estimate(x, offsets(n), clusters=np.arange(n)[::-1])
    np.testing.assert_allclose(single.stderr, plain.stderr, rtol=1e-10)
    np.testing.assert_allclose(single.design_effect, 1.0, rtol=1e-10)
    assert not single.few_clusters[0]


def test_equal_cluster_labels_of_different_groups_are_different_clusters() -> None:
    x, _, clusters = data()
    together = mi.mean_estimate(x, offsets(50, 50), clusters=clusters)
    for g in range(2):
        part = slice(50 * g, 50 * g + 50)
        alone = mi.mean_estimate(x[part], offsets(50), clusters=clusters[part])
        assert together.stderr[g] == pytest.approx(alone.stderr[0], rel=1e-12)
        assert together.n_clusters[g] == alone.n_clusters[0]


def test_one_cluster_has_no_error() -> None:
    found = mi.mean_estimate(np.array([0.0, 1, 1]), offsets(3), clusters=np.zeros(3, int), error="CR3")
    assert found.value[0] == pytest.approx(2 / 3)
    assert np.isnan(found.stderr[0])


def test_effective_clusters_of_unequal_sizes() -> None:
    clusters = np.repeat([0, 1, 2], [8, 1, 1])
    found = mi.mean_estimate(np.arange(10.0), offsets(10), clusters=clusters)
    assert found.effective_clusters[0] == pytest.approx(100 / 66)


def test_ratio_of_sums_equals_the_survey_ratio_estimator() -> None:
    rng = np.random.default_rng(1)
    weights = rng.integers(5, 50, 200).astype(float)
    rates = rng.gamma(3, 0.3, 200)
    found = mi.mean_estimate(rates, offsets(200), weights=weights)
    totals = rates * weights
    ratio = totals.sum() / weights.sum()
    by_hand = np.sqrt(((totals - ratio * weights) ** 2).sum() / (200 * 199)) / weights.mean()
    assert found.value[0] == pytest.approx(ratio, rel=1e-12)
    assert found.stderr[0] == pytest.approx(by_hand, rel=1e-12)
    same = mi.mean_estimate(rates, offsets(200), weights=np.full(200, 7.0))
    assert same.stderr[0] == pytest.approx(stats.sem(rates), rel=1e-12)


def test_paired_difference_equals_scipy_and_its_parts_add_up() -> None:
    a, b, clusters = data()
    found = mi.paired_difference(a, b, offsets(100))
    expected = stats.ttest_rel(a, b)
    low, high = mi.interval(found.difference, 0.95)
    assert found.difference.value[0] == pytest.approx((a - b).mean(), rel=1e-10)
    assert (low[0], high[0]) == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-10)
    assert mi.p_value(found.difference)[0] == pytest.approx(expected.pvalue, rel=1e-8)
    assert found.correlation[0] == pytest.approx(np.corrcoef(a, b)[0, 1], rel=1e-12)
    assert found.covariance[0] == pytest.approx(np.cov(a, b)[0, 1] / 100, rel=1e-12)
    for error in ("CR0", "CR1", "CR3"):
        both = mi.paired_difference(a, b, offsets(100), clusters=clusters, error=error)
        total = both.a.stderr**2 + both.b.stderr**2 - 2 * both.covariance
        np.testing.assert_allclose(both.difference.stderr**2, total, rtol=1e-10)
        np.testing.assert_allclose(
            both.difference.stderr,
            mi.mean_estimate(a - b, offsets(100), clusters=clusters, error=error).stderr,
        )
        np.testing.assert_allclose(
            both.variance_reduction, 2 * both.covariance / (both.a.stderr**2 + both.b.stderr**2), rtol=1e-9
        )


def test_a_model_against_itself() -> None:
    x, _, _ = data()
    found = mi.paired_difference(x, x, offsets(100))
    assert found.difference.value[0] == 0
    assert found.difference.stderr[0] == 0
    assert found.correlation[0] == 1
    assert found.variance_reduction[0] == 1
    assert np.isnan(mi.p_value(found.difference)[0])
    constant = mi.paired_difference(np.ones(5), np.zeros(5), offsets(5))
    assert np.isnan([constant.correlation[0], constant.variance_reduction[0]]).all()


def test_unpaired_difference_equals_welch() -> None:
    a, b, _ = data()
    found = mi.unpaired_difference(mi.mean_estimate(a, offsets(100)), mi.mean_estimate(b[:30], offsets(30)))
    expected = stats.ttest_ind(a, b[:30], equal_var=False)
    assert found.df[0] == pytest.approx(expected.df, rel=1e-11)
    assert mi.p_value(found)[0] == pytest.approx(expected.pvalue, rel=1e-9)
    low, high = mi.interval(found, 0.95)
    assert (low[0], high[0]) == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-10)


@given(st.integers(0, 2**32), st.floats(-5, 5), st.floats(0.1, 10))
def test_shift_scale_and_order_of_instances_do_not_matter(seed: int, shift: float, scale: float) -> None:
    rng = np.random.default_rng(seed)
    a, b, clusters = data(60, seed)
    order = rng.permutation(60)
    first = mi.paired_difference(a, b, offsets(60), clusters=clusters)
    second = mi.paired_difference(
        scale * a[order] + shift, scale * b[order] + shift, offsets(60), clusters=clusters[order]
    )
    np.testing.assert_allclose(second.difference.value, scale * first.difference.value, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(second.difference.stderr, scale * first.difference.stderr, rtol=1e-9)
    np.testing.assert_allclose(second.correlation, first.correlation, rtol=1e-9)


def test_missing_scores_make_their_group_undefined_and_no_other() -> None:
    x, _, clusters = data()
    clean = mi.mean_estimate(x, offsets(50, 50), clusters=clusters)
    x[3] = np.nan
    found = mi.mean_estimate(x, offsets(50, 50), clusters=clusters)
    assert np.isnan(found.stderr[0])
    assert found.stderr[1] == clean.stderr[1]


def test_mismatched_arrays_are_refused() -> None:
    with pytest.raises(ShapeError, match="a has 3 instances and b has 2"):
        mi.paired_difference(np.zeros(3), np.zeros(2), offsets(3))
    with pytest.raises(ShapeError, match="clusters has 2 values, expected 3"):
        mi.mean_estimate(np.zeros(3), offsets(3), clusters=np.zeros(2, int))
    with pytest.raises(OptionError, match="error must be one of"):
        mi.mean_estimate(np.zeros(3), offsets(3), error="CR2")  # type: ignore[arg-type]


def test_clustered_coverage_where_few_clusters_is_down() -> None:
    # 60 clusters of unequal size: 95 % within what 2,000 replications can tell.
    rng = np.random.default_rng(5)
    sizes = np.ceil(rng.lognormal(0.5, 0.5, 60)).astype(int)
    clusters = np.repeat(np.arange(60), sizes)
    n, replications = len(clusters), 2000
    effects = rng.normal(0, 1, (replications, 60))[:, clusters]
    x = (effects + rng.normal(0, 1, (replications, n))).ravel()
    found = mi.mean_estimate(x, offsets(*[n] * replications), clusters=np.tile(clusters, replications))
    assert not found.few_clusters.any()
    low, high = mi.interval(found, 0.95)
    assert 0.93 <= np.mean((low <= 0) & (high >= 0)) <= 0.965


def test_skewness_of_estimates() -> None:
    rng = np.random.default_rng(9)
    x, y, n = rng.exponential(size=80), rng.gamma(4, size=50), 80
    mean = mi.mean_estimate(x, offsets(n))
    assert mean.skewness[0] == pytest.approx(stats.skew(x) / np.sqrt(n))
    # Sums of clusters take the place of instances, and a mean of one sign change its negative.
    clusters = np.repeat(np.arange(20), 4)
    sums = (x - x.mean()).reshape(20, 4).sum(axis=1)
    clustered = mi.mean_estimate(x, offsets(n), clusters=clusters)
    assert clustered.skewness[0] == pytest.approx((sums**3).sum() / (sums**2).sum() ** 1.5)
    assert mi.mean_estimate(-x, offsets(n)).skewness[0] == pytest.approx(-mean.skewness[0])
    # Third central moments of independent means add up.
    other = mi.mean_estimate(y, offsets(50))
    both = mi.unpaired_difference(mean, other)
    third = mean.skewness * mean.stderr**3 - other.skewness * other.stderr**3
    assert both.skewness[0] == pytest.approx((third / both.stderr**3)[0])
    paired = mi.paired_difference(x, np.zeros(n), offsets(n)).difference
    assert paired.skewness[0] == pytest.approx(mean.skewness[0])
    assert np.isnan(mi.mean_estimate(np.ones(5), offsets(5)).skewness[0])


def test_skewed_means_30_times_the_squared_skewness() -> None:
    def rare(ones: int, n: int) -> bool:
        found = mi.mean_estimate((np.arange(n) < ones).astype(float), offsets(n))
        return bool(found.skewed[0])

    # 50 ones of 1,000: g^2 = (1 - 2p)^2/(p (1 - p)) = 17.05, 30 g^2 = 512.
    assert [rare(25, 500), rare(26, 520)] == [True, False]
    assert not rare(1, 29)  # few instances are flagged as such


@pytest.mark.parametrize(
    ("seeds", "items", "sd"),
    [(5, 60, (0.5, 1, 1)), (10, 30, (0, 1, 2)), (8, 8, (1, 1, 0.5)), (20, 200, (0.1, 0.1, 1))],
)
def test_crossed_intervals_cover(seeds: int, items: int, sd: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(6)
    covered, variances = [], []
    for _ in range(1500):
        x = sd[0] * rng.normal(size=(seeds, 1)) + sd[1] * rng.normal(size=(1, items))
        found = mi.crossed_mean(x + sd[2] * rng.normal(size=(seeds, items)))
        low, high = mi.interval(found, 0.95)
        covered.append(low[0] <= 0 <= high[0])
        variances.append(found.stderr[0] ** 2)
    truth = sd[0] ** 2 / seeds + sd[1] ** 2 / items + sd[2] ** 2 / (seeds * items)
    assert 0.97 <= np.mean(variances) / truth <= 1.25
    assert 0.93 <= np.mean(covered) <= 0.975


def test_crossed_tables_without_two_of_each_are_undefined() -> None:
    found = mi.crossed_mean(np.array([[0.0, 1.0, 0.5]]))
    assert found.value[0] == 0.5
    assert np.isnan([found.stderr[0], found.df[0]]).all()
    assert np.isnan(mi.crossed_mean(np.array([[0.0, np.nan], [1.0, 1.0]])).stderr[0])
    flat = mi.crossed_mean(np.full((3, 4), 0.25))
    assert (flat.stderr[0], flat.df[0]) == (0.0, 2.0)


# --- proportions ----------------------------------------------------------------------------------

GOLDEN = {
    ("wilson", 8, 10): (0.490162, 0.943318),
    ("clopper_pearson", 8, 10): (0.443905, 0.974789),
    ("jeffreys", 8, 10): (0.497226, 0.955941),
    ("wilson", 0, 30): (0.0, 0.113513),
    ("clopper_pearson", 0, 30): (0.0, 0.115703),
    ("wilson", 82, 164): (0.424357, 0.575643),
    ("clopper_pearson", 82, 164): (0.421043, 0.578957),
}


@pytest.mark.parametrize(("case", "limits"), GOLDEN.items())
def test_known_proportion_intervals(case: tuple[str, int, int], limits: tuple[float, float]) -> None:
    method, k, n = case
    found = proportion_interval(np.array([k]), np.array([n]), 0.95, method)  # type: ignore[arg-type]
    assert (found[0][0], found[1][0]) == pytest.approx(limits, abs=6e-7)


@pytest.mark.parametrize(
    ("method", "theirs"), [("wilson", "wilson"), ("clopper_pearson", "beta"), ("jeffreys", "jeffreys")]
)
def test_proportion_intervals_equal_statsmodels(method: str, theirs: str) -> None:
    k, n = np.meshgrid([1, 3, 17, 29], [30, 164, 1000])
    low, high = proportion_interval(k, n, 0.9, method)  # type: ignore[arg-type]
    expected = proportion_confint(k.ravel(), n.ravel(), 0.1, method=theirs)
    np.testing.assert_allclose(low.ravel(), expected[0], rtol=1e-9)
    np.testing.assert_allclose(high.ravel(), expected[1], rtol=1e-9)


@pytest.mark.parametrize("method", ["wilson", "clopper_pearson", "jeffreys"])
@given(n=st.integers(1, 500), share=st.floats(0, 1))
def test_proportion_intervals_mirror_and_hold_the_estimate(method: str, n: int, share: float) -> None:
    k = round(n * share)
    low, high = proportion_interval(np.array([k, n - k]), np.array([n, n]), 0.95, method)  # type: ignore[arg-type]
    assert low[0] == pytest.approx(1 - high[1], abs=1e-12)
    assert 0 <= low[0] <= k / n <= high[0] <= 1


@pytest.mark.parametrize("n", [30, 164, 1000])
def test_exact_coverage_of_proportion_intervals(n: int) -> None:
    # Computed, not simulated: sum of the binomial probabilities of the counts whose interval holds p.
    k = np.arange(n + 1)
    grid = np.linspace(0.02, 0.98, 97)
    coverage = {}
    for method in ("wilson", "clopper_pearson", "jeffreys"):
        low, high = proportion_interval(k, np.full(n + 1, n), 0.95, method)  # type: ignore[arg-type]
        held = (low <= grid[:, None]) & (grid[:, None] <= high)
        coverage[method] = (stats.binom.pmf(k, n, grid[:, None]) * held).sum(axis=1)
    assert coverage["clopper_pearson"].min() >= 0.95
    assert 0.945 <= coverage["wilson"].mean() <= 0.96
    assert 0.94 <= coverage["jeffreys"].mean() <= 0.96


def test_proportions_without_trials_and_impossible_counts() -> None:
    low, high = proportion_interval(np.array([0.0]), np.array([0.0]), 0.95)
    assert np.isnan([low[0], high[0]]).all()
    with pytest.raises(OptionError, match="between 0 and the number of trials"):
        proportion_interval(np.array([3.0]), np.array([2.0]), 0.95)


# --- published items ------------------------------------------------------------------------------


def all_pairs(x: np.ndarray) -> mi.PairedDifference:
    """Every pair of the models in the rows."""
    pairs = np.array(list(itertools.combinations(range(len(x)), 2)))
    return mi.paired_difference(
        x[pairs[:, 0]].ravel(), x[pairs[:, 1]].ravel(), offsets(*[x.shape[1]] * len(pairs))
    )


def test_livecodebench_errors(shared: Path, oracle: Callable[[str], dict[str, Any]]) -> None:
    frame = (
        pl.read_parquet(shared / "data" / "livecodebench_items.parquet")
        .with_columns(pl.col("sample_id").fill_null("-"))
        .with_columns(again=pl.int_range(pl.len()).over("scenario", "model", "question_id", "sample_id"))
    )
    for scenario, expected in oracle("livecodebench_items").items():
        part = frame.filter(pl.col("scenario") == scenario)
        wide = part.pivot(on="model", index=["question_id", "sample_id", "again"], values="pass1_percent")
        x = wide.drop_nulls().select(expected["models"]).to_numpy().T / 100
        assert x.shape[1] == expected["n_common_items"]
        found = mi.mean_estimate(np.ascontiguousarray(x.ravel()), offsets(*[x.shape[1]] * len(x)))
        np.testing.assert_allclose(found.value, expected["mean_common"], rtol=1e-10)
        np.testing.assert_allclose(found.stderr, expected["se_common"], rtol=1e-10, atol=1e-18)
        pairs = all_pairs(x)
        assert pairs.difference.stderr.mean() == pytest.approx(expected["mean_paired_se"], rel=1e-10)
        assert pairs.difference.stderr.max() == pytest.approx(expected["max_paired_se"], rel=1e-10)
        if (found.stderr == 0).any():
            continue  # of constant models the published numbers hold correlations of rounding errors
        correlation = expected["mean_pairwise_item_correlation"]
        assert np.mean(pairs.correlation) == pytest.approx(correlation, rel=1e-10)


def test_gemstones_errors(shared: Path) -> None:
    expected = json.loads((shared / "oracles" / "gemstones_openbookqa_items.json").read_text())
    items = pl.read_parquet(shared / "data" / "gemstones_item_losses_openbookqa.parquet")
    frame = items.filter(pl.col("step") == expected["steps"][-1])
    wide = frame.pivot(on="model", index="item", values="loss").select(expected["models"])
    x = wide.to_numpy().astype(float).T
    found = mi.mean_estimate(np.ascontiguousarray(x.ravel()), offsets(*[x.shape[1]] * len(x)))
    np.testing.assert_allclose(found.stderr, expected["sampling_se_final"], rtol=1e-9)
    stderr = all_pairs(x).difference.stderr
    assert stderr.mean() == pytest.approx(expected["mean_paired_se_final"], rel=1e-9)
