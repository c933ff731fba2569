"""Permutation kernels: published values, SciPy, the normal law, symmetries, and calibration under the null."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import signoise._core as core
from cases import offsets_of
from rank_sets import rank_sets, sets_of
from signoise import OptionError, ShapeError, reference

CLOSED_FORM, ENUMERATED, SAMPLED = range(3)
real = st.floats(-1e3, 1e3).filter(lambda x: x == 0 or abs(x) > 1e-3)


def sign_flip(d: Any, n_resamples: int = 10_000, rng_seed: int = 1, unit: int = 0) -> dict[str, Any]:
    found = core.sign_flip_test(
        np.asarray(d, dtype=float),
        offsets_of([len(d)]),
        np.array([unit], dtype=np.uint64),
        n_resamples,
        rng_seed,
    )
    return {name: column[0] for name, column in found.items()}


def labels(a: Any, b: Any, n_resamples: int = 10_000, rng_seed: int = 1) -> dict[str, Any]:
    found = core.label_permutation_test(
        np.asarray(a, dtype=float),
        offsets_of([len(a)]),
        np.asarray(b, dtype=float),
        offsets_of([len(b)]),
        np.zeros(1, dtype=np.uint64),
        n_resamples,
        rng_seed,
    )
    return {name: column[0] for name, column in found.items()}


def within(found: float, expected: float, draws: int, errors: float = 4.0) -> bool:
    return abs(found - expected) <= errors * math.sqrt(expected * (1 - expected) / draws) + 2 / draws


def scipys(samples: tuple[Any, ...], kind: str, n_resamples: int = 9999) -> float:
    def statistic(*x: Any, axis: int) -> Any:
        return np.mean(x[0], axis=axis) - (np.mean(x[1], axis=axis) if len(x) > 1 else 0)

    # SciPy doubles the smaller tail; both tests here are symmetric or look at |difference|.
    def size(*x: Any, axis: int) -> Any:
        return np.abs(statistic(*x, axis=axis))

    found = stats.permutation_test(
        samples,
        size,
        permutation_type=kind,
        vectorized=True,
        n_resamples=n_resamples,
        alternative="greater",
        rng=np.random.default_rng(5),
    )
    return float(found.pvalue)


class TestSignFlip:
    def test_published_discordant_pairs(self) -> None:
        found = sign_flip([1.0] * 15 + [-1.0] * 5 + [0.0] * 100)
        assert found["p_value"] == pytest.approx(0.041389, abs=5e-7)
        assert (found["method"], found["draws"], found["statistic"]) == (CLOSED_FORM, 0, 10)

    @given(st.integers(0, 3000), st.integers(0, 3000), st.sampled_from([1.0, 1 / 3, 0.7]))
    def test_one_magnitude_is_a_binomial_test(self, b: int, c: int, size: float) -> None:
        found = sign_flip([size] * b + [-size] * c + [0.0])
        expected = stats.binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
        assert found["p_value"] == pytest.approx(expected, rel=1e-9, abs=1e-300)

    @settings(max_examples=40)
    @given(st.lists(real, min_size=2, max_size=9))
    def test_every_pattern_equals_scipy(self, d: list[float]) -> None:
        found = sign_flip(d, 2 ** len(d))
        assert found["method"] in (CLOSED_FORM, ENUMERATED)
        assert found["p_value"] == pytest.approx(scipys((np.array(d),), "samples"), rel=1e-12)

    @given(st.lists(st.integers(-6, 6), min_size=1, max_size=9), st.integers(1, 20))
    def test_ties_of_fractions_are_ties(self, d: list[int], parts: int) -> None:
        # The same test on the integers themselves, and on scores whose differences have noise in the last digit.
        whole = sign_flip(d, 512)
        noisy = np.array(d) / parts + 0.7 - 0.7
        assert sign_flip(noisy, 512)["p_value"] == pytest.approx(whole["p_value"], rel=1e-12)
        sizes = [
            abs(sum(s * x for s, x in zip(signs, d, strict=True)))
            for signs in product([1, -1], repeat=len(d))
        ]
        assert whole["p_value"] == pytest.approx(np.mean(np.array(sizes) >= abs(sum(d))), rel=1e-12)

    @pytest.mark.parametrize("parts", [3, 7, 10])
    def test_random_patterns_miss_no_tie(self, parts: int) -> None:
        # Sums on a lattice that no power of two divides tie with the observed one about every tenth time.
        d = np.random.default_rng(parts).integers(-2, 3, 60)
        whole, fractions = sign_flip(d), sign_flip(d / parts + 0.7 - 0.7)
        assert whole["method"] == fractions["method"] == SAMPLED
        assert whole["extreme"] == fractions["extreme"]

    def test_random_patterns_equal_all_of_them_within_error(self) -> None:
        d = np.random.default_rng(0).normal(0.4, 1, 16)
        every, some = sign_flip(d, 2**16), sign_flip(d, 2**16 - 1)
        assert (every["method"], some["method"]) == (ENUMERATED, SAMPLED)
        assert within(some["p_value"], every["p_value"], 2**16)

    @pytest.mark.parametrize("n", [20, 31, 32, 33, 1000])
    def test_random_patterns_follow_scipys_and_the_normal_law(self, n: int) -> None:
        d = np.random.default_rng(n).normal(1.5 / math.sqrt(n), 1, n)
        found = sign_flip(d, 20_000)
        assert found["z"] == pytest.approx(d.sum() / math.sqrt((d**2).sum()))
        assert found["p_value"] == (found["extreme"] + 1) / (found["draws"] + 1)
        expected = scipys((d,), "samples", 20_000)
        assert within(found["p_value"], expected, 10_000, 4.5)
        if n == 1000:
            assert within(found["p_value"], math.erfc(abs(found["z"]) / math.sqrt(2)), 20_000, 4.5)

    @given(st.lists(real, min_size=15, max_size=40))
    def test_sign_scale_and_zeros_do_not_matter(self, d: list[float]) -> None:
        found = sign_flip(d, 300)
        for same in ([-x for x in d], [x * 2.0**-30 for x in d]):
            assert sign_flip(same, 300)["p_value"] == found["p_value"]
        # One more instance takes the next bit of its word; behind 32 of them it takes a word of its own, which moves
        # all draws after it: then the law alone stays (the next test).
        zeros = [0.0] * (1 if len(d) % 32 else 0)
        assert sign_flip([*d, *zeros], 300)["extreme"] == found["extreme"]

    @pytest.mark.parametrize("n", [31, 32, 64])
    def test_zeros_leave_the_law(self, n: int) -> None:
        d = np.random.default_rng(n).normal(0.3, 1, n)
        more = sign_flip([*d, *[0.0] * 40], 20_000)["p_value"]
        assert within(more, sign_flip(d, 20_000)["p_value"], 10_000, 4.5)

    def test_the_address_decides_and_nothing_else(self) -> None:
        rng = np.random.default_rng(3)
        d = rng.normal(0.1, 1, 300)
        alone = core.sign_flip_test(d, offsets_of([300]), np.array([9], dtype=np.uint64), 5000, 2)
        both = core.sign_flip_test(
            np.concatenate([rng.normal(0, 1, 50), d, d]),
            offsets_of([50, 300, 300]),
            np.array([4, 9, 10], dtype=np.uint64),
            5000,
            2,
        )
        assert alone["extreme"][0] == both["extreme"][1] != both["extreme"][2]
        assert sign_flip(d, 5000, rng_seed=2, unit=9)["extreme"] == alone["extreme"][0]
        assert sign_flip(d, 5000, rng_seed=3, unit=9)["extreme"] != alone["extreme"][0]

    def test_more_replicates_begin_with_the_fewer(self) -> None:
        d = np.random.default_rng(8).normal(0.1, 1, 64)
        counts = [sign_flip(d, b)["extreme"] for b in (100, 256, 257, 1000)]
        assert counts == sorted(counts)

    def test_undefined(self) -> None:
        for d in ([], [1.0, math.nan], [math.inf, 1.0]):
            assert math.isnan(sign_flip(d)["p_value"])
        assert sign_flip([0.0, 0.0])["p_value"] == 1
        assert sign_flip([5.0])["p_value"] == 1

    @pytest.mark.parametrize("size", [1e-310, 1e-200, 1e200, 1e300])
    def test_extreme_sizes(self, size: float) -> None:
        d = np.arange(-3, 8) * size
        assert 0 < sign_flip(d, 2048)["p_value"] <= 1
        if size > 1e-300:
            assert sign_flip(d, 2048)["p_value"] == sign_flip(np.arange(-3, 8), 2048)["p_value"]

    def test_misuse(self) -> None:
        with pytest.raises(OptionError, match="n_resamples must be at least 1, got 0"):
            sign_flip([1.0], 0)
        with pytest.raises(ShapeError, match="units has 1 values, expected 0"):
            core.sign_flip_test(np.empty(0), offsets_of([]), np.zeros(1, dtype=np.uint64), 10, 1)

    def test_p_is_uniform_under_the_null(self) -> None:
        rng = np.random.default_rng(11)
        groups, n = 1500, 40
        d = rng.standard_t(3, groups * n)
        found = core.sign_flip_test(d, offsets_of([n] * groups), np.arange(groups, dtype=np.uint64), 999, 7)[
            "p_value"
        ]
        assert stats.kstest(found, "uniform").pvalue > 0.01
        for alpha in (0.01, 0.05, 0.1):
            assert np.mean(found <= alpha) <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / groups)


class TestLabels:
    @settings(max_examples=40)
    @given(st.lists(real, min_size=2, max_size=5), st.lists(real, min_size=2, max_size=5))
    def test_every_split_equals_scipy(self, a: list[float], b: list[float]) -> None:
        found = labels(a, b)
        assert found["method"] in (CLOSED_FORM, ENUMERATED)
        expected = scipys((np.array(a), np.array(b)), "independent")
        assert found["p_value"] == pytest.approx(expected, rel=1e-12)

    @settings(max_examples=50)
    @given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
    def test_two_values_are_hypergeometric(self, a1: int, a0: int, b1: int, b0: int) -> None:
        if a1 + a0 == 0 or b1 + b0 == 0:
            return
        found = labels([0.9] * a1 + [0.2] * a0, [0.9] * b1 + [0.2] * b0)
        n, ones, m = a1 + a0 + b1 + b0, a1 + b1, a1 + a0
        k = np.arange(m + 1)
        far = np.abs(n * k - m * ones) >= abs(n * a1 - m * ones)
        assert found["p_value"] == pytest.approx(stats.hypergeom.pmf(k, n, ones, m)[far].sum(), rel=1e-9)
        assert found["method"] == CLOSED_FORM

    @pytest.mark.parametrize(("n_a", "n_b"), [(30, 30), (5, 60), (70, 25), (200, 210)])
    def test_random_splits_follow_scipys(self, n_a: int, n_b: int) -> None:
        rng = np.random.default_rng(n_a)
        a, b = rng.normal(0.4, 1, n_a), rng.normal(0, 1, n_b)
        found = labels(a, b, 20_000)
        assert found["method"] == SAMPLED
        assert within(found["p_value"], scipys((a, b), "independent", 20_000), 10_000, 4.5)
        assert found["statistic"] == pytest.approx(a.mean() - b.mean())
        spread = np.var([*a, *b], ddof=1) * (1 / n_a + 1 / n_b)
        assert found["z"] == pytest.approx((a.mean() - b.mean()) / math.sqrt(spread))

    @given(st.lists(real, min_size=8, max_size=20), st.lists(real, min_size=8, max_size=20))
    def test_shift_sign_and_scale_do_not_matter(self, a: list[float], b: list[float]) -> None:
        whole_a, whole_b = np.round(a), np.round(b)  # shifts of integers are exact
        found = labels(whole_a, whole_b, 300)
        for x, y in ((-whole_a, -whole_b), (whole_a + 512, whole_b + 512), (whole_a * 4, whole_b * 4)):
            assert labels(x, y, 300)["p_value"] == found["p_value"]

    def test_undefined(self) -> None:
        for a, b in (([], [1.0]), ([1.0], []), ([math.nan], [1.0])):
            assert math.isnan(labels(a, b)["p_value"])
        assert labels([1.0], [1.0])["p_value"] == 1
        assert math.isnan(labels([1.0], [1.0])["z"])

    def test_p_is_uniform_under_the_null(self) -> None:
        rng = np.random.default_rng(12)
        groups = 1000
        found = core.label_permutation_test(
            rng.exponential(size=groups * 12),
            offsets_of([12] * groups),
            rng.exponential(size=groups * 25),
            offsets_of([25] * groups),
            np.arange(groups, dtype=np.uint64),
            999,
            7,
        )["p_value"]
        assert stats.kstest(found, "uniform").pvalue > 0.01


def pairs(models: int) -> tuple[np.ndarray, np.ndarray]:
    left, right = np.triu_indices(models, 1)
    return left.astype(np.uintp), right.astype(np.uintp)


class TestMaxT:
    def test_one_comparison_is_the_paired_test(self) -> None:
        rows = np.random.default_rng(1).normal(0, 1, (2, 200)) + np.array([[0.15], [0.0]])
        one = np.zeros(1, dtype=np.uintp)
        found = core.max_t_test(rows, one, one + 1, 3, 5000, 1)
        expected = sign_flip(rows[0] - rows[1], 5000, 1, unit=3)
        for name in ("p_value", "p_single_step", "p_step_down"):
            assert found[name][0] == pytest.approx(expected["p_value"], abs=1.1 / 5001)
        assert found["z"][0] == pytest.approx(expected["z"], rel=1e-12)

    @pytest.mark.parametrize("n", [9, 80])
    def test_adjusted_p_by_the_book(self, n: int) -> None:
        rng = np.random.default_rng(n)
        rows = rng.normal(0, 1, (4, n)) + rng.normal(0, 1, n) + np.array([[0.0], [0.1], [0.5], [1.0]])
        left, right = pairs(4)
        found = core.max_t_test(rows, left, right, 0, 4000, 1)
        assert np.all(found["p_value"] <= found["p_step_down"] + 1e-15)
        assert np.all(found["p_step_down"] <= found["p_single_step"] + 1e-15)
        order = np.argsort(-np.abs(found["z"]))
        assert np.all(np.diff(found["p_step_down"][order]) >= 0)
        assert found["p_step_down"][order[0]] == found["p_single_step"][order[0]]
        # The same from NumPy's own signs.
        signs = np.array(list(product([1, -1], repeat=n))) if n == 9 else rng.choice([-1, 1], (20_000, n))
        d = rows[left] - rows[right]
        flipped = np.abs(signs @ d.T) / np.sqrt((d**2).sum(axis=1))
        largest = flipped.max(axis=1)
        for c, z in enumerate(np.abs(found["z"])):
            expected = np.mean(largest >= z * (1 - 1e-9))
            if n == 9:
                assert found["p_single_step"][c] == pytest.approx(expected, rel=1e-12)
                assert found["p_value"][c] == pytest.approx(
                    np.mean(flipped[:, c] >= z * (1 - 1e-9)), rel=1e-12
                )
            else:
                assert within(found["p_single_step"][c], expected, 4000, 4.5)

    def test_equal_rows_and_nan(self) -> None:
        rows = np.random.default_rng(2).normal(0, 1, (4, 30))
        rows[1] = rows[0] + 0.7 - 0.7
        rows[3, 5] = np.nan
        left, right = pairs(4)
        found = core.max_t_test(rows, left, right, 0, 500, 1)
        touched = right == 3
        assert np.isnan(found["p_single_step"]).tolist() == touched.tolist()
        assert found["p_value"][0] == found["p_single_step"][0] == found["p_step_down"][0] == 1
        assert math.isnan(found["z"][0])
        without = core.max_t_test(rows[:3].copy(), *pairs(3), 0, 500, 1)
        np.testing.assert_array_equal(found["p_step_down"][~touched], without["p_step_down"])

    def test_no_comparison_and_misuse(self) -> None:
        none = np.empty(0, dtype=np.uintp)
        assert len(core.max_t_test(np.ones((2, 5)), none, none, 0, 10, 1)["z"]) == 0
        empty = core.max_t_quantiles(np.ones((2, 5)), none, none, 0.9, 0, 10, 1)
        assert np.isnan([*empty["critical"], *empty["row_critical"]]).all()
        one = np.zeros(1, dtype=np.uintp)
        with pytest.raises(OptionError, match="2 of 2"):
            core.max_t_test(np.ones((2, 5)), one, one + 2, 0, 10, 1)
        with pytest.raises(OptionError, match="confidence_level"):
            core.max_t_quantiles(np.ones((2, 5)), none, none, 1.0, 0, 10, 1)

    def test_critical_values_are_those_of_normal_ranges(self) -> None:
        # Independent rows of one variance: the largest |z| of all pairs follows the studentised range.
        rows = np.random.default_rng(6).normal(0, 1, (5, 2000))
        rows -= rows.mean(axis=1, keepdims=True)
        found = core.max_t_quantiles(rows, *pairs(5), 0.95, 0, 20_000, 1)
        assert found["critical"][0] == pytest.approx(
            stats.studentized_range.ppf(0.95, 5, np.inf) / 2**0.5, rel=0.03
        )
        assert np.all(found["row_critical"] < found["critical"][0])
        assert np.all(found["row_critical"] > stats.norm.ppf(0.975))
        d = rows[0] - rows[1]
        assert found["root_sum_squares"][0] == pytest.approx(math.sqrt((d**2).sum()))

    def test_too_few_replicates_give_no_critical_value(self) -> None:
        rows = np.random.default_rng(6).normal(0, 1, (2, 40))
        assert math.isinf(core.max_t_quantiles(rows, *pairs(2), 0.95, 0, 18, 1)["critical"][0])
        assert math.isfinite(core.max_t_quantiles(rows, *pairs(2), 0.95, 0, 19, 1)["critical"][0])

    def test_any_false_rejection_is_rare(self) -> None:
        rng = np.random.default_rng(21)
        trials, alpha = 600, 0.1
        single = down = 0
        for trial in range(trials):
            rows = rng.standard_t(4, (5, 40)) + rng.normal(0, 1, 40)
            rows[4] += 2.0  # comparisons with it are true
            found = core.max_t_test(rows, *pairs(5), trial, 499, 1, threads=1)
            null = pairs(5)[1] != 4
            single += found["p_single_step"][null].min() <= alpha
            down += found["p_step_down"][null].min() <= alpha
        limit = alpha + 3 * math.sqrt(alpha * (1 - alpha) / trials)
        assert single / trials <= down / trials <= limit


class TestRankSets:
    def test_sets_count_who_is_told_apart(self) -> None:
        mean = np.array([3.0, 2.0, 1.9, 0.0])
        difference = mean[:, None] - mean
        low, high = sets_of(difference, np.full((4, 4), 0.5))
        assert (low.tolist(), high.tolist()) == ([1, 2, 2, 4], [1, 3, 3, 4])
        low, high = sets_of(difference, np.full((4, 4), np.nan))
        assert (low.tolist(), high.tolist()) == ([1] * 4, [4] * 4)

    @settings(max_examples=25)
    @given(st.integers(1, 6), st.integers(2, 60), st.integers(0, 2**32))
    def test_ranks_lie_in_their_sets(self, models: int, n: int, seed: int) -> None:
        scores = np.random.default_rng(seed).integers(0, 3, (models, n)).astype(float)
        every = rank_sets(scores, n_resamples=400)
        alone = rank_sets(scores, n_resamples=400, simultaneous=False)
        for sets in (every, alone):
            assert np.all((sets.low <= sets.rank) & (sets.rank <= sets.high))
            assert np.all((sets.low >= 1) & (sets.high <= models))
        assert np.all((every.low <= alone.low) & (alone.high <= every.high))

    def test_clusters(self) -> None:
        rng = np.random.default_rng(4)
        scores = rng.normal(0, 1, (4, 200)) + np.array([[0.0], [0.2], [0.6], [2.0]])
        free = rank_sets(scores)
        single = rank_sets(scores, np.arange(200)[::-1].copy())
        np.testing.assert_array_equal(single.low, free.low)
        np.testing.assert_array_equal(single.high, free.high)
        assert (free.low[3], free.high[3]) == (1, 1)
        repeated = rank_sets(np.repeat(scores, 3, axis=1), np.repeat(np.arange(200), 3))
        np.testing.assert_array_equal(repeated.high, free.high)
        np.testing.assert_allclose(repeated.critical, free.critical)
        blind = rank_sets(scores, np.zeros(200, dtype=int))
        assert (blind.low.tolist(), blind.high.tolist()) == ([1] * 4, [4] * 4)

    def test_misuse(self) -> None:
        with pytest.raises(ShapeError, match="finite"):
            rank_sets(np.array([[1.0, np.nan]]))
        with pytest.raises(ShapeError, match="clusters has 1 values, expected 2"):
            rank_sets(np.ones((2, 2)), np.zeros(1, dtype=int))

    def test_sets_hold_all_ranks_as_often_as_said(self) -> None:
        rng = np.random.default_rng(9)
        effect = np.array([0.0, 0.0, 0.3, 0.3, 0.8])
        # Equal models share their ranks: any order of them is right.
        best = np.array([4, 4, 2, 2, 1])
        worst = np.array([5, 5, 3, 3, 1])
        trials = 400
        held = 0
        for trial in range(trials):
            scores = rng.normal(0, 1, (5, 120)) + rng.normal(0, 1, 120) + effect[:, None]
            sets = rank_sets(scores, n_resamples=499, confidence_level=0.9, unit=trial, threads=1)
            held += bool(np.all((sets.low <= best) & (worst <= sets.high)))
        assert held / trials >= 0.9 - 3 * math.sqrt(0.9 * 0.1 / trials)


def test_twins_hold_the_definition() -> None:
    """The twin itself, against an enumeration that knows nothing of integers."""
    d = np.array([0.3, -0.1, 0.25, 0.4, 0.0, 0.07])
    found = reference.sign_flip_test(d, offsets_of([6]), np.zeros(1, dtype=np.uint64), 100, 1)
    sums = [abs(np.dot(signs, d)) for signs in product([1, -1], repeat=6)]
    assert found["p_value"][0] == np.mean(np.array(sums) >= abs(d.sum()) * (1 - 1e-12))


def test_columns_are_not_taken_for_rows() -> None:
    values = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    pair = np.array([0], dtype=np.uintp), np.array([1], dtype=np.uintp)
    with pytest.raises(ShapeError, match="ascontiguousarray"):
        core.max_t_test(values, *pair, 0, 100, 0)
    with pytest.raises(ShapeError, match="ascontiguousarray"):
        core.max_t_quantiles(values, *pair, 0.95, 0, 100, 0)
