"""Confidence sequences: simulated coverage at all times, the formulas written out, and what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from signoise import _confidence_sequences as cs
from signoise._errors import OptionError

BOUNDED = [cs.empirical_bernstein_sequence, cs.betting_sequence]


def always_inside(limits: tuple[np.ndarray, np.ndarray], truth: float, start: int = 0) -> np.ndarray:
    low, high = limits[0][:, start:], limits[1][:, start:]
    return ((low <= truth) & (truth <= high)).all(axis=1)


def test_empirical_bernstein_written_out() -> None:
    x = np.array([1.0, 0.0, 1.0, 1.0, 0.3])
    weights, top, penalty = 0.0, 0.0, 0.0
    best = [0.0, 1.0]
    seen: list[float] = []
    spread = [0.25]
    found = cs.empirical_bernstein_sequence(x, 0.9)
    for t, value in enumerate(x, start=1):
        mean = (0.5 + sum(seen)) / len([0.5, *seen])
        variance = sum(spread) / len(spread)
        bet = min(0.5, np.sqrt(2 * np.log(20) / (variance * t * np.log(1 + t))))
        weights, top = weights + bet, top + bet * value
        penalty += (value - mean) ** 2 * (-np.log(1 - bet) - bet)
        seen.append(value)
        spread.append((value - (0.5 + sum(seen)) / (t + 1)) ** 2)
        margin = (np.log(20) + penalty) / weights
        best = [max(best[0], top / weights - margin), min(best[1], top / weights + margin)]
        assert (found[0][t - 1], found[1][t - 1]) == pytest.approx(tuple(best), abs=1e-12)


@pytest.mark.parametrize("sequence", BOUNDED)
@pytest.mark.parametrize("p", [0.05, 0.5, 0.95])
def test_bounded_sequences_cover_at_all_times(sequence: object, p: float) -> None:
    rng = np.random.default_rng(1)
    x = (rng.random((150, 400)) < p).astype(float)
    options = {"resolution": 100} if sequence is cs.betting_sequence else {}
    limits = sequence(x, 0.9, **options)  # type: ignore[operator]
    assert always_inside(limits, p).mean() >= 0.9 - 3 * np.sqrt(0.09 / 150)
    assert (np.diff(limits[0]) >= 0).all()
    assert (np.diff(limits[1]) <= 0).all()


def test_betting_is_narrower_than_bernstein_and_both_shrink() -> None:
    rng = np.random.default_rng(2)
    x = rng.beta(8, 2, 2000)
    widths = {f.__name__: f(x, 0.95)[1] - f(x, 0.95)[0] for f in BOUNDED}
    assert widths["betting_sequence"][-1] < widths["empirical_bernstein_sequence"][-1] < 0.06
    # not far from what a single look would give
    assert widths["betting_sequence"][-1] < 4 * 2 * 1.96 * x.std() / np.sqrt(2000)


@pytest.mark.parametrize("sequence", BOUNDED)
def test_without_replacement_the_benchmark_ends_known(sequence: object) -> None:
    rng = np.random.default_rng(3)
    scores = (rng.random(150) < 0.7).astype(float)
    x = np.array([rng.permutation(scores) for _ in range(60)])
    options = {"resolution": 100} if sequence is cs.betting_sequence else {}
    limits = sequence(x, 0.9, population=150, **options)  # type: ignore[operator]
    endless = sequence(x, 0.9, **options)  # type: ignore[operator]
    assert always_inside(limits, scores.mean()).mean() >= 0.9 - 3 * np.sqrt(0.09 / 60)
    assert ((limits[1] - limits[0])[:, -1] < (endless[1] - endless[0])[:, -1]).all()


def test_a_whole_population_pins_its_mean() -> None:
    x = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    low, high = cs.betting_sequence(x, 0.95, population=5, resolution=100)
    # what is left can add at most one or nothing at all: the logical limits
    assert low[-1] >= 0.39
    assert high[-1] <= 0.81
    assert low[2] <= 0.6 <= high[2]


def test_differences_use_their_bounds() -> None:
    rng = np.random.default_rng(4)
    x = rng.choice([-1.0, 0.0, 1.0], 500, p=[0.1, 0.7, 0.2])
    for sequence in BOUNDED:
        low, high = sequence(x, 0.95, bounds=(-1.0, 1.0))
        half_low, half_high = sequence((x + 1) / 2, 0.95)
        np.testing.assert_allclose(low, 2 * half_low - 1, atol=1e-12)
        np.testing.assert_allclose(high, 2 * half_high - 1, atol=1e-12)


@pytest.mark.parametrize("sequence", BOUNDED)
@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=40))
def test_limits_mirror_and_later_scores_change_nothing(sequence: object, x: list[float]) -> None:
    options = {"resolution": 64} if sequence is cs.betting_sequence else {}
    values = np.array(x)
    low, high = sequence(values, 0.8, **options)  # type: ignore[operator]
    mirrored = sequence(1 - values, 0.8, **options)  # type: ignore[operator]
    np.testing.assert_allclose(mirrored[0], 1 - high, atol=1e-9)
    first = sequence(values[: len(x) // 2 + 1], 0.8, **options)  # type: ignore[operator]
    np.testing.assert_array_equal(first[0], low[: len(x) // 2 + 1])
    assert (low <= high).all()


def test_asymptotic_limits_written_out() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(3, 2, 50) + 1e6
    low, high = cs.asymptotic_sequence(x, 0.95, tuned_at=100)
    # Lambert's function gives the r that is found by iteration here
    r = (-special.lambertw(-(0.05**2) * np.exp(-1), -1).real - 1) / 100
    half = x.std(ddof=1) * np.sqrt(2 * (50 * r + 1) / (50**2 * r) * np.log(np.sqrt(50 * r + 1) / 0.05))
    assert (high[-1] - low[-1]) / 2 == pytest.approx(half, rel=1e-9)
    assert (low[-1] + high[-1]) / 2 == pytest.approx(x.mean(), rel=1e-12)
    assert np.isnan([low[0], high[0]]).all()
    flat = cs.asymptotic_sequence(np.ones(5))
    assert np.isnan(flat[0]).all()


def test_asymptotic_limits_are_tightest_where_they_are_tuned() -> None:
    x = np.tile([0.0, 1.0], 600)
    at = {
        tuned: np.diff(cs.asymptotic_sequence(x, tuned_at=tuned), axis=0)[0, 499] for tuned in (50, 500, 5000)
    }
    assert at[500] < min(at[50], at[5000])


@pytest.mark.parametrize(("p", "start"), [(0.05, 500), (0.5, 50)])
def test_asymptotic_limits_cover_after_a_start(p: float, start: int) -> None:
    rng = np.random.default_rng(6)
    x = (rng.random((1000, 1500)) < p).astype(float)
    inside = always_inside(cs.asymptotic_sequence(x, 0.9, tuned_at=500), p, start=start)
    assert inside.mean() >= 0.9 - 3 * np.sqrt(0.09 / 1000)
    # a plain interval looked at as often does not
    t = np.arange(1, 1501)
    mean = np.cumsum(x, axis=1) / t
    half = 1.645 * np.sqrt(p * (1 - p) / t)
    assert always_inside((mean - half, mean + half), p, start=start).mean() < 0.8


def test_impossible_input_is_refused() -> None:
    with pytest.raises(OptionError, match="outside the bounds"):
        cs.betting_sequence(np.array([0.5, 1.5]))
    with pytest.raises(OptionError, match="outside the bounds"):
        cs.empirical_bernstein_sequence(np.array([np.nan]))
    with pytest.raises(OptionError, match="two finite numbers"):
        cs.empirical_bernstein_sequence(np.array([0.5]), bounds=(1.0, 0.0))
    with pytest.raises(OptionError, match="cannot come from a population of 2"):
        cs.betting_sequence(np.zeros(3), population=2)
