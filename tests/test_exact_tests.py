"""McNemar, Wilcoxon and equivalence tests: known values, SciPy, statsmodels and brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.weightstats import ttost_paired

from signoise import _exact_tests as exact
from signoise._errors import OptionError


def one(values: list[float]) -> exact.SignedRanks:
    return exact.wilcoxon_signed_rank(np.array(values, dtype=float), np.array([0, len(values)], np.uintp))


@pytest.mark.parametrize(
    ("method", "p"),
    [("exact", 0.041389), ("mid_p", 0.026604), ("chi2", 0.025347), ("chi2_corrected", 0.044171)],
)
def test_known_mcnemar(method: str, p: float) -> None:
    found = exact.mcnemar(np.array([15, 5]), np.array([5, 15]), method)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, p, rtol=0, atol=5.1e-7)


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_equals_statsmodels_and_the_binomial_test(b: int, c: int) -> None:
    table = [[0, b], [c, 0]]
    found = {name: float(exact.mcnemar(b, c, name)) for name in ("exact", "mid_p", "chi2", "chi2_corrected")}  # type: ignore[arg-type]
    if b + c == 0:
        assert set(found.values()) == {1.0}
        return
    assert found["exact"] == pytest.approx(stats.binomtest(b, b + c).pvalue, rel=1e-9)
    point = stats.binom.pmf(min(b, c), b + c, 0.5)
    assert found["mid_p"] == pytest.approx(2 * stats.binom.cdf(min(b, c), b + c, 0.5) - point, rel=1e-9)
    plain = statsmodels_mcnemar(table, exact=False, correction=False).pvalue
    assert found["chi2"] == pytest.approx(plain, rel=1e-9)
    if b != c:  # statsmodels lets the correction overshoot where b = c
        corrected = statsmodels_mcnemar(table, exact=False, correction=True).pvalue
        assert found["chi2_corrected"] == pytest.approx(corrected, rel=1e-9)
    else:
        assert found["chi2_corrected"] == found["mid_p"] == 1.0
    assert found["mid_p"] <= found["exact"]


def test_mcnemar_of_many_pairs_and_undefined_counts() -> None:
    found = exact.mcnemar(np.array([500_500.0, np.nan]), np.array([499_500.0, 1.0]), "exact")
    assert found[0] == pytest.approx(2 * stats.binom.cdf(499_500, 10**6, 0.5), rel=1e-9)
    assert np.isnan(found[1])
    with pytest.raises(OptionError, match="negative"):
        exact.mcnemar(np.array([-1]), np.array([1]))


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=50, unique=True), st.integers(0, 2**50))
def test_signed_ranks_without_ties_equal_scipy(sizes: list[int], signs: int) -> None:
    d = [size if signs >> i & 1 else -size for i, size in enumerate(sizes)]
    found = one(d)
    expected = stats.wilcoxon(d, method="exact")
    assert found.exact[0]
    assert found.n[0] == len(d)
    assert min(found.positive[0], found.negative[0]) == expected.statistic
    assert found.p_value[0] == pytest.approx(expected.pvalue, rel=1e-12)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9))
def test_signed_ranks_with_ties_equal_brute_force(d: list[int]) -> None:
    found = one(d)
    kept = np.array([x for x in d if x])
    if not len(kept):
        assert (found.n[0], found.p_value[0]) == (0, 1.0)
        return
    ranks = stats.rankdata(np.abs(kept))
    sums = [ranks[np.array(signs) > 0].sum() for signs in itertools.product([-1, 1], repeat=len(kept))]
    observed = ranks[kept > 0].sum()
    low = np.mean([s <= observed for s in sums])
    high = np.mean([s >= observed for s in sums])
    assert found.positive[0] == observed
    assert found.p_value[0] == pytest.approx(min(1, 2 * min(low, high)), rel=1e-12)


def test_many_signed_ranks_equal_scipys_approximation() -> None:
    rng = np.random.default_rng(2)
    d = rng.integers(-4, 6, 300).astype(float)
    found = one(d.tolist())
    expected = stats.wilcoxon(d, zero_method="wilcox", correction=False, method="asymptotic")
    assert not found.exact[0]
    assert found.p_value[0] == pytest.approx(expected.pvalue, rel=1e-9)


def test_rounding_makes_no_ranks() -> None:
    # 0.3 - 0.1, 0.1 + 0.1 and 0.2 are one size; 0.3 - 0.2 - 0.1 is nothing.
    clean, rounded = one([0.2, 0.2, -0.2, 0.5, 0.0]), one([0.3 - 0.1, 0.1 + 0.1, -0.2, 0.5, 0.3 - 0.2 - 0.1])
    assert clean.p_value[0] == rounded.p_value[0]
    assert rounded.n[0] == 4


def test_groups_stand_on_their_own() -> None:
    d = np.array([1.0, 2, -3, np.nan, 1, 0, 0])
    found = exact.wilcoxon_signed_rank(d, np.array([0, 3, 5, 5, 7], np.uintp))
    assert found.p_value[0] == one([1, 2, -3]).p_value[0]
    assert np.isnan(found.p_value[[1, 2]]).all()
    assert found.p_value[3] == 1.0


def test_equivalence_equals_statsmodels() -> None:
    rng = np.random.default_rng(3)
    a = rng.normal(0.5, 0.1, 60)
    b = a + rng.normal(0.005, 0.03, 60)
    d = a - b
    found = exact.equivalence(
        np.array([d.mean()]), np.array([stats.sem(d)]), np.array([59.0]), low=0.02, high=0.01
    )
    p, lower, upper = ttost_paired(a, b, -0.02, 0.01)
    assert found.p_value[0] == pytest.approx(p, rel=1e-9)
    assert found.p_above_low[0] == pytest.approx(lower[1], rel=1e-9)
    assert found.p_below_high[0] == pytest.approx(upper[1], rel=1e-9)
    worse = exact.non_inferiority(np.array([d.mean()]), np.array([stats.sem(d)]), np.array([59.0]), 0.02)
    assert worse[0] == pytest.approx(stats.ttest_1samp(d, -0.02, alternative="greater").pvalue, rel=1e-9)


@given(st.floats(-0.1, 0.1), st.floats(0.001, 0.1), st.integers(1, 500))
def test_equivalence_is_the_interval_inside_the_margin(estimate: float, stderr: float, df: int) -> None:
    found = exact.equivalence(np.array([estimate]), np.array([stderr]), np.array([float(df)]), 0.05)
    half = stats.t.ppf(0.95, df) * stderr
    inside = estimate - half > -0.05 and estimate + half < 0.05
    if abs(abs(estimate) + half - 0.05) > 1e-9:
        assert (found.p_value[0] < 0.05) == inside


def test_equivalence_without_error_and_with_a_wrong_margin() -> None:
    found = exact.equivalence(np.array([0.0, 1.0, np.nan]), np.zeros(3), np.full(3, 5.0), 0.1)
    np.testing.assert_array_equal(found.p_value, [0.0, 1.0, np.nan])
    with pytest.raises(OptionError, match="must be positive"):
        exact.equivalence(np.zeros(1), np.ones(1), np.ones(1), 0.0)
    with pytest.raises(OptionError, match="must be positive"):
        exact.non_inferiority(np.zeros(1), np.ones(1), np.ones(1), -1.0)
