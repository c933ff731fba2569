"""Bootstrap kernels: the law of the counts, closed forms of the replicates' moments, SciPy on the same replicates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.stats._resampling import BootstrapResult

import signoise as sn
from signoise import _core as core

UNIT = np.array([5], dtype=np.uint64)


def whole(n: int) -> np.ndarray:
    return np.array([0, n], dtype=np.uintp)


def means(
    totals: Any, n_resamples: int = 2000, rng_seed: int = 1, sizes: Any = None, **options: Any
) -> np.ndarray:
    totals = np.atleast_2d(np.asarray(totals, dtype=float))
    offsets = options.pop("offsets", whole(totals.shape[1]))
    units = options.pop("units", np.arange(5, 4 + len(offsets), dtype=np.uint64))
    return core.bootstrap_means(totals, sizes, offsets, units, n_resamples, rng_seed, **options)


def counts(n: int, n_resamples: int = 2000, rng_seed: int = 1, **options: Any) -> np.ndarray:
    return core.bootstrap_counts(whole(n), UNIT, n_resamples, rng_seed, **options)


def close_to_variance(found: np.ndarray, expected: float) -> None:
    """The sample variance of normal-like replicates within five of its standard errors."""
    assert np.var(found, ddof=1) == pytest.approx(expected, rel=5 * np.sqrt(2 / len(found)))


# --- counts


@pytest.mark.parametrize("n", [1, 2, 30, 255, 256, 1023, 1024, 5000, 70_000])
def test_counts_are_those_of_n_draws(n: int) -> None:
    found = counts(n, max(4, 400_000 // n))
    assert found.dtype == np.uint16
    assert (found.sum(axis=1) == n).all()
    if n == 1:
        return
    # Each count is Binomial(n, 1/n); neighbours and halves are correlated as draws without favour are.
    cells = np.arange(7)
    expected = stats.binom.pmf(cells, n, 1 / n) * found.size
    expected = np.append(expected, found.size - expected.sum())
    observed = np.bincount(np.minimum(found.reshape(-1), 7), minlength=8)
    there = expected > 5
    # Cells of one replicate are dependent (their sum is fixed): the statistic is below chi-square.
    statistic = ((observed - expected)[there] ** 2 / expected[there]).sum()
    assert stats.chi2.sf(statistic, there.sum()) > 1e-3
    each = found.astype(float)
    half = each[:, : n // 2].sum(axis=1)
    share = (n // 2) / n
    spread = np.sqrt(n * share * (1 - share))
    assert abs(half.mean() - n * share) < 5 * spread / np.sqrt(len(half))
    if len(half) > 30:
        close_to_variance(half, spread**2)


def test_every_instance_is_drawn_alike() -> None:
    for n in (100, 1100):
        found = counts(n, 20_000).sum(axis=0)
        assert stats.chisquare(found).pvalue > 1e-3


def test_poisson_counts() -> None:
    found = counts(2000, 4000, scheme="poisson")
    observed = np.bincount(np.minimum(found.reshape(-1), 9), minlength=10)
    expected = stats.poisson.pmf(np.arange(10), 1.0) * found.size
    expected[9] = stats.poisson.sf(8, 1.0) * found.size
    merged = [np.append(x[:8], x[8:].sum()) for x in (observed, expected)]
    assert stats.chisquare(*merged).pvalue > 1e-3
    assert found.max() >= 9  # the tail that 16 bits do not resolve
    close_to_variance(found.sum(axis=1).astype(float), 2000.0)
    assert (counts(1, 500, scheme="poisson") >= 1).all()


def test_moving_blocks_are_blocks() -> None:
    n, length = 23, 5
    found = counts(n, 4000, scheme="moving_block", block_length=length)
    assert (found.sum(axis=1) == n).all()
    # Four whole blocks and one of three: the mean count of an instance is the number of starts that reach it.
    starts = n - length + 1
    reach = [sum(s <= i < s + length for s in range(starts)) * 4 for i in range(n)]
    reach = np.array(reach) + [sum(s <= i < s + 3 for s in range(starts)) for i in range(n)]
    np.testing.assert_allclose(found.mean(axis=0), reach / starts, atol=5 * np.sqrt(2 / 4000))
    assert (counts(n, 10, scheme="moving_block", block_length=n) == 1).all()


def test_blocks_of_one_are_single_draws() -> None:
    for scheme in ("moving_block", "stationary_block"):
        found = counts(50, 4000, scheme=scheme, block_length=1).astype(float)
        assert (found.sum(axis=1) == 50).all()
        assert found.var() == pytest.approx(1 - 1 / 50, rel=0.03)


def test_stationary_blocks_have_the_variance_of_politis_and_romano() -> None:
    n, length = 200, 8
    series = np.zeros(n)
    noise = np.random.default_rng(1).normal(size=n)
    for t in range(1, n):
        series[t] = 0.6 * series[t - 1] + noise[t]
    found = means(series, 8000, scheme="stationary_block", block_length=length)[0]
    centred = series - series.mean()
    circular = np.array([(centred * np.roll(centred, -lag)).mean() for lag in range(n)])
    q = 1 - 1 / length
    # Positions k apart are in one block with probability q^k, else independent.
    variance = (circular[0] + 2 * sum((1 - k / n) * q**k * circular[k] for k in range(1, n))) / n
    assert found.mean() == pytest.approx(series.mean(), abs=5 * np.sqrt(variance / 8000))
    close_to_variance(found, variance)


# --- replicates


@pytest.mark.parametrize("scheme", ["multinomial", "poisson", "moving_block", "stationary_block"])
@given(data=st.data())
@settings(max_examples=15)
def test_replicates_are_means_under_the_counts(scheme: str, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    n, rows = data.draw(st.integers(4, 700)), data.draw(st.integers(1, 9))
    binary = data.draw(st.booleans())
    totals = (rng.random((rows, n)) < 0.5).astype(float) if binary else rng.normal(size=(rows, n))
    sizes = rng.integers(1, 5, n).astype(float) if data.draw(st.booleans()) else None
    options = {"scheme": scheme, "block_length": 4}
    found = means(totals, 9, sizes=sizes, **options)
    c = counts(n, 9, **options).astype(float)
    below = c.sum(axis=1) if sizes is None else c @ sizes
    expected = totals @ c.T / below
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)
    if binary and sizes is None:
        np.testing.assert_array_equal(found, expected)


@given(st.integers(0, 2**32), st.integers(2, 600), st.integers(1, 12), st.booleans())
@settings(max_examples=25)
def test_a_model_has_the_same_bits_whoever_stands_beside_it(
    seed: int, n: int, rows: int, binary: bool
) -> None:
    rng = np.random.default_rng(seed)
    totals = (rng.random((rows, n)) < 0.5).astype(float) if binary else rng.normal(size=(rows, n))
    together = means(totals, 21)
    order = rng.permutation(rows)
    np.testing.assert_array_equal(means(totals[order], 21), together[order])
    for row in range(rows):
        np.testing.assert_array_equal(means(totals[row], 21)[0], together[row])
    with_real = means(np.vstack([totals, rng.normal(size=n)]), 21)
    np.testing.assert_array_equal(with_real[:-1], together)


@pytest.mark.parametrize("n_resamples", [1, 15, 16, 17, 64, 65, 200])
def test_more_replicates_begin_with_the_fewer(n_resamples: int) -> None:
    rng = np.random.default_rng(1)
    for rows in (1, 10):
        totals = rng.normal(size=(rows, 1500))
        np.testing.assert_array_equal(means(totals, n_resamples), means(totals, 300)[:, :n_resamples])
    found = core.bootstrap_binomial(UNIT, UNIT * 3, UNIT, n_resamples, 1)
    np.testing.assert_array_equal(
        found, core.bootstrap_binomial(UNIT, UNIT * 3, UNIT, 3000, 1)[:, :n_resamples]
    )


def test_threads_change_no_bit() -> None:
    totals = np.random.default_rng(2).normal(size=(5, 3000))
    first = means(totals, 150, threads=1)
    for threads in (2, 8):
        np.testing.assert_array_equal(means(totals, 150, threads=threads), first)


def test_another_stratum_moves_no_draw() -> None:
    a, b = np.random.default_rng(3).normal(size=(2, 40))
    offsets = np.array([0, 40, 80], dtype=np.uintp)
    both = means(np.concatenate([a, b]), 50, offsets=offsets, units=np.array([8, 9], dtype=np.uint64))[0]
    alone = [means(x, 50, units=np.array([u], dtype=np.uint64))[0] for x, u in ((a, 8), (b, 9))]
    np.testing.assert_allclose(both, (alone[0] + alone[1]) / 2, rtol=1e-13, atol=1e-14)


def test_variances_are_those_of_the_closed_forms() -> None:
    rng = np.random.default_rng(4)
    n_resamples = 20_000
    x = rng.gamma(2.0, 1.0, 400)
    found = means(x, n_resamples)[0]
    assert found.mean() == pytest.approx(x.mean(), abs=5 * x.std() / np.sqrt(400 * n_resamples))
    close_to_variance(found, np.var(x) / 400)
    # Clusters drawn whole: the ratio of sums, by its first-order variance.
    sizes = rng.integers(1, 20, 300).astype(float)
    totals = rng.normal(0.5, 0.2, 300) * sizes
    residual = totals - totals.sum() / sizes.sum() * sizes
    found = means(totals, n_resamples, sizes=sizes)[0]
    assert np.var(found) == pytest.approx((residual**2).sum() / sizes.sum() ** 2, rel=0.08)
    # Strata: variances add up, with the shares of the strata or with equal weights.
    parts = [rng.normal(0, 1, 50), rng.normal(3, 5, 200)]
    offsets = np.array([0, 50, 250], dtype=np.uintp)
    joined = np.concatenate(parts)
    of = [np.var(part) / len(part) for part in parts]
    overall = means(joined, n_resamples, offsets=offsets)[0]
    close_to_variance(overall, of[0] * 0.2**2 + of[1] * 0.8**2)
    macro = means(joined, n_resamples, offsets=offsets, macro_mean=True)[0]
    close_to_variance(macro, (of[0] + of[1]) / 4)
    assert macro.mean() == pytest.approx((parts[0].mean() + parts[1].mean()) / 2, abs=0.01)


def test_pairs_share_their_draws() -> None:
    rng = np.random.default_rng(5)
    easy = rng.normal(size=500)
    a, b = easy + rng.normal(0, 0.1, 500), easy + rng.normal(0, 0.1, 500)
    first, second = means([a, b], 10_000)
    close_to_variance(first - second, np.var(a - b) / 500)
    np.testing.assert_allclose(first - second, means(a - b, 10_000)[0], atol=1e-12)


def test_shift_and_scale() -> None:
    x = np.random.default_rng(6).normal(size=300)
    np.testing.assert_allclose(means(3 * x + 2, 50), 3 * means(x, 50) + 2, rtol=1e-12)
    np.testing.assert_array_equal(means(np.full(300, 0.25), 50), np.full((1, 50), 0.25))


def test_nothing_is_undefined() -> None:
    assert np.isnan(means(np.zeros((2, 0)), 3)).all()
    assert means(np.zeros((0, 4)), 3).shape == (0, 3)
    assert means(np.zeros((2, 4)), 0).shape == (2, 0)
    assert np.isnan(means([[1.0, 2.0]], 3, sizes=np.zeros(2))).all()
    empty_stratum = np.array([0, 2, 2], dtype=np.uintp)
    assert np.isnan(means([1.0, 2.0], 3, offsets=empty_stratum, macro_mean=True)).all()
    assert np.isfinite(means([1.0, 2.0], 3, offsets=empty_stratum)).all()


@pytest.mark.parametrize(
    ("totals", "options", "error"),
    [
        ([1.0, np.nan], {}, sn.OptionError),
        ([1.0, np.inf], {}, sn.OptionError),
        ([1.0, 2.0], {"sizes": np.ones(3)}, sn.ShapeError),
        ([1.0, 2.0], {"offsets": whole(3)}, sn.ShapeError),
        ([1.0, 2.0], {"units": np.arange(2, dtype=np.uint64)}, sn.ShapeError),
        ([1.0, 2.0], {"scheme": "jackknife"}, sn.OptionError),
        ([1.0, 2.0], {"scheme": "moving_block", "block_length": 3}, sn.OptionError),
        ([1.0, 2.0], {"scheme": "stationary_block", "block_length": 0}, sn.OptionError),
    ],
)
def test_misuse_is_named(totals: Any, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        means(totals, 3, **options)


def test_columns_are_not_taken_for_rows() -> None:
    with pytest.raises(sn.ShapeError, match="ascontiguousarray"):
        means(np.asfortranarray(np.ones((2, 3))), 3)


def test_golden() -> None:
    """Reported numbers: a change here is a change for every user."""
    assert counts(10, 2, rng_seed=17).tolist() == [
        [2, 0, 1, 2, 0, 0, 1, 1, 1, 2],
        [0, 1, 1, 2, 1, 1, 2, 1, 0, 1],
    ]
    found = means(np.arange(300) / 7, 3, rng_seed=17)[0]
    np.testing.assert_allclose(
        found, [20.841428571428573, 20.456666666666667, 20.352857142857143], rtol=1e-13
    )
    words = np.array([82], dtype=np.uint64)
    assert core.bootstrap_binomial(words, words * 2, UNIT, 3, 17)[0].tolist() == [
        82 / 164,
        88 / 164,
        83 / 164,
    ]


# --- the law of a share


@pytest.mark.parametrize(("ones", "n"), [(1, 2), (82, 164), (3, 1000), (9990, 10_000)])
def test_shares_are_binomial(ones: int, n: int) -> None:
    words = [np.array([x], dtype=np.uint64) for x in (ones, n)]
    found = np.rint(core.bootstrap_binomial(*words, UNIT, 200_000, 1)[0] * n).astype(int)
    law = stats.binom(n, ones / n)
    low, high = int(law.ppf(1e-3)), int(law.ppf(1 - 1e-3))
    observed = np.bincount(np.clip(found, low, high) - low, minlength=high - low + 1)
    cells = np.arange(low, high + 1)
    expected = law.pmf(cells)
    expected[0], expected[-1] = law.cdf(low), law.sf(high - 1)
    assert stats.chisquare(observed, expected * len(found)).pvalue > 1e-3


@pytest.mark.parametrize(
    ("up", "down", "n"), [(1, 1, 3), (40, 25, 164), (3, 0, 10), (0, 0, 5), (600, 900, 5000)]
)
def test_differences_are_trinomial(up: int, down: int, n: int) -> None:
    words = [np.array([x], dtype=np.uint64) for x in (up, down, n)]
    found = core.bootstrap_trinomial(*words, UNIT, 100_000, 1)[0] * n
    np.testing.assert_allclose(found, np.rint(found), atol=1e-9)
    draws = np.random.default_rng(1).multinomial(n, [up / n, down / n, 1 - (up + down) / n], 100_000)
    other = draws[:, 0] - draws[:, 1]
    low, high = np.quantile(other, [0.002, 0.998])
    table = [np.bincount((np.clip(np.rint(x), low, high) - low).astype(int)) for x in (found, other)]
    if len(table[0]) > 1:
        assert stats.chi2_contingency(table).pvalue > 1e-3
    else:
        assert (found == up - down).all()
    if n == 164:
        close_to_variance(found, up + down - (up - down) ** 2 / n)


def test_more_that_differ_than_there_are() -> None:
    with pytest.raises(sn.OptionError, match="5 \\+ 5 of 5"):
        core.bootstrap_trinomial(UNIT, UNIT, UNIT, UNIT, 3, 1)


def test_shares_that_cannot_vary() -> None:
    ones, n = np.array([0, 5, 0], dtype=np.uint64), np.array([4, 5, 0], dtype=np.uint64)
    found = core.bootstrap_binomial(ones, n, np.arange(3, dtype=np.uint64), 100, 1)
    assert (found[0] == 0).all()
    assert (found[1] == 1).all()
    assert np.isnan(found[2]).all()
    with pytest.raises(sn.OptionError, match="6 of 5"):
        core.bootstrap_binomial(UNIT + np.uint64(1), UNIT, UNIT, 3, 1)


def test_a_share_and_its_instances_agree() -> None:
    answers = (np.arange(1000) < 700).astype(float)
    by_law = core.bootstrap_binomial(UNIT * 140, UNIT * 200, UNIT, 20_000, 1)[0]
    assert stats.ks_2samp(by_law, means(answers, 20_000)[0]).pvalue > 1e-3


# --- intervals


@pytest.mark.parametrize("method", ["percentile", "basic", "BCa"])
@pytest.mark.parametrize("binary", [False, True])
def test_intervals_equal_scipys_on_the_same_replicates(method: str, binary: bool) -> None:
    rng = np.random.default_rng(8)
    x = (rng.random(60) < 0.8).astype(float) if binary else rng.gamma(1.0, 1.0, 60)
    values = means(x, 999)
    known = core.bootstrap_estimates(x[None], None, whole(60))
    found = core.bootstrap_interval(values, known["estimate"], known["acceleration"], method.lower(), 0.9)
    held = BootstrapResult(None, values[0], None)
    expected = stats.bootstrap(
        (x,), np.mean, n_resamples=0, bootstrap_result=held, method=method, confidence_level=0.9
    ).confidence_interval
    assert (found["low"][0], found["high"][0]) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert not found["fallback"][0]


def test_acceleration_of_a_ratio_of_clusters() -> None:
    rng = np.random.default_rng(9)
    sizes = rng.integers(1, 9, 40).astype(float)
    totals = sizes * rng.gamma(1.0, 1.0, 40)
    theta = np.array([(totals.sum() - y) / (sizes.sum() - s) for y, s in zip(totals, sizes, strict=True)])
    d = theta.mean() - theta
    found = core.bootstrap_estimates(totals[None], sizes, whole(40))
    assert found["estimate"][0] == pytest.approx(totals.sum() / sizes.sum(), rel=1e-14)
    assert found["acceleration"][0] == pytest.approx((d**3).sum() / (6 * (d**2).sum() ** 1.5), rel=1e-10)


def test_acceleration_of_two_samples_is_scipys() -> None:
    rng = np.random.default_rng(10)
    parts = [rng.gamma(1.0, 1.0, 30), rng.gamma(2.0, 1.0, 50)]
    joined, offsets = np.concatenate(parts)[None], np.array([0, 30, 80], dtype=np.uintp)
    values = means(joined, 999, offsets=offsets, macro_mean=True)
    known = core.bootstrap_estimates(joined, None, offsets, macro_mean=True)
    found = core.bootstrap_interval(values, known["estimate"], known["acceleration"], "bca", 0.95)
    expected = stats.bootstrap(
        parts,
        lambda a, b, axis=-1: (np.mean(a, axis=axis) + np.mean(b, axis=axis)) / 2,
        n_resamples=0,
        bootstrap_result=BootstrapResult(None, values[0], None),
        method="BCa",
    ).confidence_interval
    assert (found["low"][0], found["high"][0]) == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_bca_that_does_not_exist_is_percentile() -> None:
    values = np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]])
    estimates, accelerations = np.array([9.0, 0.0, 2.5]), np.array([0.01, 0.01, np.nan])
    found = core.bootstrap_interval(values, estimates, accelerations, "bca", 0.5)
    assert found["fallback"].all()
    np.testing.assert_allclose(found["low"], 1.75)
    np.testing.assert_allclose(found["high"], 3.25)


def test_constant_replicates_have_a_point() -> None:
    values, point = np.full((1, 10), 0.3), np.array([0.3])
    for method in ("percentile", "basic", "bca"):
        found = core.bootstrap_interval(values, point, np.array([np.nan]), method, 0.95)
        assert (found["low"][0], found["high"][0]) == (0.3, 0.3)
    assert np.isnan(core.bootstrap_estimates(np.full((1, 10), 0.3), None, whole(10))["acceleration"][0])


def test_studentised_interval_by_hand() -> None:
    rng = np.random.default_rng(11)
    values, stderrs = rng.normal(1.0, 0.1, (2, 500)), rng.gamma(9.0, 0.01, (2, 500))
    found = core.bootstrap_t_interval(values, stderrs, np.array([1.0, np.nan]), np.array([0.1, 0.1]), 0.9)
    low, high = np.quantile((values[0] - 1.0) / stderrs[0], [0.05, 0.95])
    assert found["low"][0] == pytest.approx(1.0 - 0.1 * high, rel=1e-12)
    assert found["high"][0] == pytest.approx(1.0 - 0.1 * low, rel=1e-12)
    assert np.isnan([found["low"][1], found["high"][1]]).all()


def test_studentised_replicates_of_a_mean() -> None:
    rng = np.random.default_rng(17)
    x = rng.gamma(1.0, 1.0, (3, 80)) + 1e6
    values, stderrs = core.bootstrap_studentised(x, None, whole(80), UNIT, 50, 1)
    np.testing.assert_allclose(values, means(x, 50, units=UNIT), rtol=1e-15)
    for held, of in zip(counts(80, 50), stderrs.T, strict=True):
        expected = stats.sem(np.repeat(x, held, axis=1), axis=1)
        np.testing.assert_allclose(of, expected, rtol=1e-8)  # a shift costs no more than its own digits
    alone = core.bootstrap_studentised(x[1:2], None, whole(80), UNIT, 50, 1)
    np.testing.assert_array_equal(alone[1][0], stderrs[1])
    two, units = np.array([0, 1, 80], dtype=np.uintp), np.arange(2, dtype=np.uint64)
    with pytest.raises(sn.OptionError, match="one stratum"):
        core.bootstrap_studentised(x, None, two, units, 5, 1)


@pytest.mark.parametrize("level", [0.0, 1.0, np.nan])
def test_confidence_levels_are_checked(level: float) -> None:
    one = np.ones(1)
    with pytest.raises(sn.OptionError, match="confidence_level"):
        core.bootstrap_interval(np.ones((1, 3)), one, one, "basic", level)
    with pytest.raises(sn.OptionError, match="method"):
        core.bootstrap_interval(np.ones((1, 3)), one, one, "bias", 0.9)
    with pytest.raises(sn.OptionError, match="n_resamples"):
        core.bootstrap_interval(np.ones((1, 0)), one, one, "basic", 0.9)


# --- rows drawn too, and quantiles


def test_crossed_variance_is_that_of_two_factors() -> None:
    rng = np.random.default_rng(12)
    seeds, n = 8, 300
    x = rng.normal(0, 1, (seeds, 1)) + rng.normal(0, 2, n) + rng.normal(0, 1.5, (seeds, n))
    found = core.bootstrap_crossed(x, None, whole(seeds), UNIT, whole(n), UNIT, 20_000, 1)[0]
    between_seeds = np.var(x.mean(axis=1)) / seeds
    between_items = np.var(x.mean(axis=0)) / n
    rest = np.var(x - x.mean(axis=1, keepdims=True) - x.mean(axis=0)) / (seeds * n)
    assert found.mean() == pytest.approx(x.mean(), abs=5 * found.std() / np.sqrt(20_000))
    close_to_variance(found, between_seeds + between_items + rest)


def test_crossed_with_one_row_is_the_plain_bootstrap() -> None:
    x = np.random.default_rng(13).normal(size=(4, 500))
    rows = np.arange(5, dtype=np.uintp)
    units = np.arange(4, dtype=np.uint64)
    found = core.bootstrap_crossed(x, None, rows, units, whole(500), UNIT, 40, 1)
    np.testing.assert_array_equal(found, means(x, 40, units=UNIT))
    one = core.bootstrap_crossed(x[2:3], None, whole(1), UNIT, whole(500), UNIT, 40, 1)
    np.testing.assert_array_equal(one[0], found[2])


def test_missing_cells_and_shared_rows() -> None:
    rng = np.random.default_rng(14)
    x = rng.normal(size=(3, 60))
    twice, offsets = np.vstack([x, x]), np.array([0, 3, 6], dtype=np.uintp)
    same = core.bootstrap_crossed(twice, None, offsets, UNIT.repeat(2), whole(60), UNIT, 30, 1)
    np.testing.assert_array_equal(same[0], same[1])
    other = core.bootstrap_crossed(
        twice, None, offsets, np.arange(2, dtype=np.uint64), whole(60), UNIT, 30, 1
    )
    assert (other[0] != other[1]).any()
    # Cells without a score and cells that do not exist are one thing.
    there = np.ones(x.shape)
    there[:, 50:] = 0
    found = core.bootstrap_crossed(x * there, there, whole(3), UNIT, whole(60), UNIT, 30, 1)
    counts_of = counts(60, 30).astype(float)
    seeds = np.array(
        [
            core.bootstrap_crossed(
                np.eye(3)[:, [i]].repeat(60, axis=1), None, whole(3), UNIT, whole(60), UNIT, 30, 1
            )[0]
            for i in range(3)
        ]
    )
    expected = np.einsum("sb,si,bi->b", seeds, x * there, counts_of) / np.einsum(
        "sb,si,bi->b", seeds, there, counts_of
    )
    np.testing.assert_allclose(found[0], expected, rtol=1e-12)
    assert np.isnan(core.bootstrap_crossed(x * 0, x * 0, whole(3), UNIT, whole(60), UNIT, 3, 1)).all()


def test_nested_variance() -> None:
    rng = np.random.default_rng(15)
    rows, n = 10, 40
    x = rng.normal(0, 1, (rows, 1)) + rng.normal(0, 2, (rows, n))
    offsets = np.arange(0, rows * n + 1, n, dtype=np.uintp)
    found = core.bootstrap_nested(x.reshape(-1), offsets, whole(rows), UNIT, 20_000, 1)[0]
    expected = np.var(x.mean(axis=1)) / rows + np.var(x, axis=1).mean() / (rows * n)
    assert found.mean() == pytest.approx(x.mean(), abs=5 * found.std() / np.sqrt(20_000))
    close_to_variance(found, expected)
    hole = np.array([0, 0, 2], dtype=np.uintp)
    assert np.isnan(core.bootstrap_nested(np.ones(2), hole, whole(2), UNIT, 3, 1)).all()


@given(st.integers(0, 2**32), st.integers(1, 400))
@settings(max_examples=20)
def test_quantiles_are_those_of_the_instances_held(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(size=(2, n)), 1)
    p = np.array([0.9, 0.5, rng.random()])
    found = core.bootstrap_quantiles(values, p, whole(n), UNIT, 5, 1)
    for held, of in zip(counts(n, 5), found.transpose(2, 0, 1), strict=True):
        for row, quantiles in zip(values, of, strict=True):
            np.testing.assert_allclose(
                quantiles, np.quantile(np.repeat(row, held), p), rtol=1e-13, atol=1e-15
            )


def test_quantiles_of_strata_are_refused() -> None:
    two, units = np.array([0, 1, 2], dtype=np.uintp), np.arange(2, dtype=np.uint64)
    with pytest.raises(sn.OptionError, match="one stratum"):
        core.bootstrap_quantiles(np.ones((1, 2)), np.array([0.5]), two, units, 3, 1)
    with pytest.raises(sn.OptionError, match="probabilities"):
        core.bootstrap_quantiles(np.ones((1, 2)), np.array([1.5]), whole(2), UNIT, 3, 1)


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_threads_change_no_bit_of_the_others(threads: int) -> None:
    x = np.random.default_rng(16).normal(size=(6, 90))
    rows, units = np.array([0, 2, 6], dtype=np.uintp), np.arange(2, dtype=np.uint64)
    calls = [
        lambda n: core.bootstrap_crossed(x, None, rows, units, whole(90), UNIT, 70, 1, threads=n),
        lambda n: core.bootstrap_nested(
            x.reshape(-1), np.arange(0, 541, 90, dtype=np.uintp), rows, units, 70, 1, threads=n
        ),
        lambda n: core.bootstrap_quantiles(x, np.array([0.5]), whole(90), UNIT, 70, 1, threads=n),
        lambda n: core.bootstrap_binomial(units, units + np.uint64(9), units, 3000, 1, threads=n),
        lambda n: core.bootstrap_trinomial(units, units, units + np.uint64(90), units, 3000, 1, threads=n),
        lambda n: core.bootstrap_interval(x, x[:, 0].copy(), x[:, 1] / 9, "bca", 0.9, threads=n)["low"],
    ]
    for call in calls:
        np.testing.assert_array_equal(call(threads), call(None))
