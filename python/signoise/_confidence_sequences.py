"""Confidence sequences: intervals of a mean that hold at all times at once, for an evaluation still running.

One may look after every instance and stop when one likes; the true mean stays inside at every time with the stated
probability. Instances must come in random order. Sequences lie along the last axis; any axes before it are separate
sequences.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._errors import OptionError
from ._options import check_count, check_level

Floats = NDArray[np.float64]

#: Bets never put more than this share of the capital at risk: at 1 a single instance could lose all of it.
_STAKE = 0.5


def empirical_bernstein_sequence(
    x: Floats,
    level: float = 0.95,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    population: int | None = None,
) -> tuple[Floats, Floats]:
    """Lower and upper limits of the mean of bounded scores after each instance: closed form, any distribution.

    Parameters
    ----------
    x
        Scores within `bounds`, shape (.., times).
    level
        Probability that the mean lies inside at all times.
    bounds
        Smallest and largest possible score, (-1, 1) for differences of two scores in [0, 1].
    population
        Instances of the whole benchmark where they are drawn from it without replacement; the mean is then that of
        the whole benchmark.

    Notes
    -----
    With scores rescaled to [0, 1], m_t and v_t running mean and variance with one imagined score 1/2 of variance 1/4,
    l_t = min(1/2, sqrt(2 log(2/alpha)/(v_{t-1} t log(1 + t)))): sum(l_i x_i)/sum(l_i) -+ (log(2/alpha) +
    sum((x_i - m_{i-1})^2 (-log(1 - l_i) - l_i)))/sum(l_i), all limits so far intersected. Without replacement, x_i
    becomes x_i + S_{i-1}/(N - i + 1), and l_i in the denominators l_i (1 + (i - 1)/(N - i + 1)).

    References
    ----------
    Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting", J. R. Stat. Soc. B 86,
    theorems 2 and 5 (arXiv 2010.09686).
    """
    y = _rescaled(x, level, bounds, population)
    mean, bet = _bets(y, level)
    penalty = np.cumsum((y - mean) ** 2 * (-np.log1p(-bet) - bet), axis=-1)
    before = np.cumsum(y, axis=-1) - y
    if population is None:
        drawn: Floats | float = 0.0
        rest: Floats | float = 0.0
    else:
        left = population - np.arange(y.shape[-1])
        drawn, rest = before / left, np.arange(y.shape[-1]) / left
    weight = np.cumsum(bet * (1 + rest), axis=-1)
    centre = np.cumsum(bet * (y + drawn), axis=-1) / weight
    margin = (np.log(2 / (1 - level)) + penalty) / weight
    return _intersected(centre - margin, centre + margin, bounds)


def betting_sequence(
    x: Floats,
    level: float = 0.95,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    population: int | None = None,
    resolution: int = 1000,
) -> tuple[Floats, Floats]:
    """Limits as in `empirical_bernstein_sequence`, narrower and dearer: the hedged capital process.

    Parameters
    ----------
    x, level, bounds, population
        As in `empirical_bernstein_sequence`.
    resolution
        Candidate means are tried at multiples of the range over this; limits are rounded outwards to one.

    Notes
    -----
    For a candidate m on [0, 1] one bets that the mean is larger: capital K_t = prod(1 + min(l_i, 1/(2m)) (x_i - m)),
    a martingale if m is the mean. m is excluded below once K_t/2 >= 1/alpha, and above by the same bet on 1 - x
    against 1 - m. K_t falls with m, so the largest excluded m is the lower limit. Without replacement m is replaced
    by the mean of what is left, (N m - S_{i-1})/(N - i + 1). Cost O(times x resolution).

    References
    ----------
    Waudby-Smith and Ramdas 2024, J. R. Stat. Soc. B 86, theorem 3 and section 5 (arXiv 2010.09686).
    """
    check_count("resolution", resolution, 2)
    y = _rescaled(x, level, bounds, population)
    _, bet = _bets(y, level)
    threshold = np.log(2 / (1 - level))
    shape = y.shape
    y, bet = y.reshape(-1, shape[-1]), bet.reshape(-1, shape[-1])
    low = np.array([_lower(*row, threshold, population, resolution) for row in zip(y, bet, strict=True)])
    high = 1 - np.array(
        [_lower(*row, threshold, population, resolution) for row in zip(1 - y, bet, strict=True)]
    )
    return _intersected(low.reshape(shape), high.reshape(shape), bounds)


def betting_limits(
    x: Floats,
    level: float = 0.95,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    population: int | None = None,
    resolution: int = 1000,
) -> tuple[float, float]:
    """The last limits of `betting_sequence` for one sequence, without those before.

    Excluded candidates lie below all others, so that the largest is found by halving: O(times x log(resolution)).
    """
    check_count("resolution", resolution, 2)
    y = _rescaled(x, level, bounds, population)
    _, bet = _bets(y, level)
    threshold = np.log(2 / (1 - level))
    low, high = (_last_excluded(side, bet, threshold, population, resolution) for side in (y, 1 - y))
    width = bounds[1] - bounds[0]
    return bounds[0] + width * low, bounds[0] + width * (1 - high)


def _last_excluded(
    y: Floats, bet: Floats, threshold: float, population: int | None, resolution: int
) -> float:
    """Largest candidate mean excluded from below by the last time; 0 where none is."""
    first, end = 0, resolution + 1  # all before `first` are excluded, none from `end` on
    while first < end:
        at = (first + end) // 2
        if len(_exclusion(y, bet, at / resolution, threshold, population)):
            first = at + 1
        else:
            end = at
    return max(first - 1, 0) / resolution


def _lower(y: Floats, bet: Floats, threshold: float, population: int | None, resolution: int) -> Floats:
    """Largest candidate mean excluded from below by each time."""
    times = len(y)
    first = np.full(resolution + 1, times)  # when each candidate was excluded
    for at in range(resolution + 1):
        broken = _exclusion(y, bet, at / resolution, threshold, population)
        if not len(broken):
            break  # larger candidates lose more
        first[at] = broken[0]
    low = np.zeros(times + 1)
    np.maximum.at(low, first, np.where(first < times, np.arange(resolution + 1) / resolution, 0.0))
    return np.maximum.accumulate(low[:times])


def _exclusion(
    y: Floats, bet: Floats, m: float, threshold: float, population: int | None
) -> NDArray[np.intp]:
    """Times at which the capital of the bet that the mean is above m excludes m."""
    mean = np.full(len(y), m)
    if population is not None:
        before = np.cumsum(y) - y
        mean = (population * m - before) / (population - np.arange(len(y)))
    with np.errstate(all="ignore"):
        steps = np.log1p(np.minimum(bet, _STAKE / mean) * (y - mean))
    # More was seen than the candidate allows for (the last digits of the sums aside).
    steps = np.where(mean < -1e-9, np.inf, np.where(mean <= 0, np.log1p(bet * y), steps))
    return np.flatnonzero(np.cumsum(steps) >= threshold)


def asymptotic_sequence(x: Floats, level: float = 0.95, *, tuned_at: int = 500) -> tuple[Floats, Floats]:
    """Limits of the mean of any scores after each instance, by the central limit theorem held at all times at once.

    Parameters
    ----------
    x
        Scores of finite variance, shape (.., times); no bounds are needed.
    level
        Probability, for large times, that the mean lies inside at all of them.
    tuned_at
        Number of instances at which the limits are tightest: where one expects to stop.

    Undefined when
        Fewer than 2 instances have come, or the scores do not vary yet (NaN).

    Notes
    -----
    mean -+ s_t sqrt(2 (t r + 1)/(t^2 r) log(sqrt(t r + 1)/alpha)), the two-sided normal mixture, with s_t the running
    standard deviation and r minimising the width at t = `tuned_at`: u = t r solves u = log(1 + u) + 2 log(1/alpha).
    Like any normal interval it is too narrow while t is small: with 0/1 scores start to look when some 15 of the
    rarer outcome have come (simulated coverage at 90 %: .94 from 30 instances on at p = .5; at p = .05 .93 from 300
    on, .87 from 100 on), or use a bounded sequence.

    References
    ----------
    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, "Time-uniform central limit theory and asymptotic confidence
    sequences", Annals of Statistics 52 (arXiv 2103.06476), theorem 2.2; Howard et al. 2021, Annals of Statistics 49.
    """
    check_level(level)
    check_count("tuned_at", tuned_at)
    x = np.asarray(x, dtype=float)
    alpha = 1 - level
    t = np.arange(1.0, x.shape[-1] + 1)
    mean = np.cumsum(x, axis=-1) / t
    start = x[..., :1]  # sums of squares about the first value lose fewer digits than about 0
    shifted = np.cumsum(x - start, axis=-1) / t
    with np.errstate(all="ignore"):
        variance = (np.cumsum((x - start) ** 2, axis=-1) / t - shifted**2) * t / (t - 1)
    sd = np.sqrt(np.where(variance > 0, variance, np.nan))
    spread = t * _mixture_scale(alpha, tuned_at)
    half = sd * np.sqrt(2 * (spread + 1) / (t * spread) * np.log(np.sqrt(spread + 1) / alpha))
    return mean - half, mean + half


def _mixture_scale(alpha: float, tuned_at: int) -> float:
    """The r that minimises the width at one time."""
    u = 2 * np.log(1 / alpha) + 1
    for _ in range(100):  # a contraction for u > 0
        u = np.log1p(u) + 2 * np.log(1 / alpha)
    return float(u) / tuned_at


def _rescaled(x: Floats, level: float, bounds: tuple[float, float], population: int | None) -> Floats:
    """Scores on [0, 1]."""
    check_level(level)
    low, high = bounds
    if not -np.inf < low < high < np.inf:
        raise OptionError(f"bounds must be two finite numbers, the smaller first, got {bounds!r}")
    x = np.asarray(x, dtype=float)
    outside = ~((x >= low) & (x <= high))
    if outside.any():
        raise OptionError(f"a score of {x[outside][0]!r} lies outside the bounds {bounds!r}")
    if population is not None:
        check_count("population", population)
        if population < x.shape[-1]:
            raise OptionError(f"{x.shape[-1]} instances cannot come from a population of {population}")
    return (x - low) / (high - low)


def _bets(y: Floats, level: float) -> tuple[Floats, Floats]:
    """Running mean before each score, and the bet on it, both from earlier scores alone."""
    t = np.arange(1.0, y.shape[-1] + 1)
    after = (0.5 + np.cumsum(y, axis=-1)) / (t + 1)
    variance_after = (0.25 + np.cumsum((y - after) ** 2, axis=-1)) / (t + 1)
    mean = np.concatenate([np.full_like(y[..., :1], 0.5), after[..., :-1]], axis=-1)
    variance = np.concatenate([np.full_like(y[..., :1], 0.25), variance_after[..., :-1]], axis=-1)
    bet = np.sqrt(2 * np.log(2 / (1 - level)) / (variance * t * np.log1p(t)))
    return mean, np.minimum(_STAKE, bet)


def _intersected(low: Floats, high: Floats, bounds: tuple[float, float]) -> tuple[Floats, Floats]:
    """All limits so far at once, within the bounds and back on the scale of the scores."""
    low = np.maximum.accumulate(np.clip(low, 0.0, 1.0), axis=-1)
    high = np.minimum.accumulate(np.clip(high, 0.0, 1.0), axis=-1)
    width = bounds[1] - bounds[0]
    return bounds[0] + width * low, bounds[0] + width * high
