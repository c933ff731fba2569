"""Laws of the pass rate against scale, ``PU(N) = exp(-c N^-alpha)``: of the task, of each item, and of a mixture.

On ``x = ln N`` the law is a line, ``F = ln(-ln PU) = ln c - alpha x``. Twin: ``reference/_tries.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Beyond these F is a pass rate of 1 or 0 to the last digit that matters (exp(-exp(6.5)) is e^-665).
_LOWEST, _HIGHEST = -30.0, 6.5
#: Standard deviation of the normal penalty of an item's own law, in units of F over the observed scales: it holds
#: items without a finite optimum (all trials alike) and moves no other.
_PENALTY = 100.0


def log_log(rates: Floats) -> Floats:
    """F = ln(-ln rate); NaN at rates of 0 and 1."""
    with np.errstate(all="ignore"):
        f = np.log(-np.log(rates))
    return np.where(np.isfinite(f), f, np.nan)


def rate_at(f: Floats) -> Floats:
    """The pass rate at F."""
    return np.exp(-np.exp(np.clip(f, _LOWEST, _HIGHEST)))


def lines(x: Floats, f: Floats) -> tuple[Floats, Floats]:
    """Least-squares intercepts and slopes of F (a row each, scales in columns); NaN where a row has a NaN."""
    about = x - x.mean()
    slope = (f * about).sum(axis=-1) / (about**2).sum()
    return f.mean(axis=-1) - slope * x.mean(), slope


def curvatures(x: Floats, f: Floats) -> Floats:
    """Second derivative of the least-squares parabola through each row of F; negative: accelerating."""
    bend = bends(x)
    return 2 * (f * bend).sum(axis=-1) / (bend**2).sum()


def bends(x: Floats) -> Floats:
    """What is left of x^2 without its line."""
    u = x - x.mean()
    intercept, slope = lines(u, u**2)
    return u**2 - (intercept + slope * u)


# --- one item ------------------------------------------------------------------------------------


def item_laws(successes: Ints, trials: Ints, x: Floats) -> tuple[Floats, Floats]:
    """``ln c`` and ``alpha`` of each item (a row of successes and trials at every scale), by maximum likelihood.

    ``successes ln p + (trials - successes) ln(1 - p)`` is concave in both, the complementary log-log regression of the
    failures; Newton steps from a flat law.
    """
    centre, span = x.mean(), np.ptp(x)
    u = (x - centre) / span
    failures = trials - successes
    with np.errstate(all="ignore"):
        level = log_log((successes.sum(axis=1) + 0.5) / (trials.sum(axis=1) + 1.0))
    slope = np.zeros_like(level)
    for _ in range(100):
        first, second = _slopes_of_likelihood(successes, failures, level[:, None] + slope[:, None] * u)
        gradient = first.sum(axis=1) - level / _PENALTY**2, (first * u).sum(axis=1) - slope / _PENALTY**2
        a = -second.sum(axis=1) + _PENALTY**-2
        b = -(second * u).sum(axis=1)
        d = -(second * u**2).sum(axis=1) + _PENALTY**-2
        determinant = a * d - b**2
        steps = (
            np.stack([(d * gradient[0] - b * gradient[1]), (a * gradient[1] - b * gradient[0])]) / determinant
        )
        steps /= np.maximum(1.0, np.abs(steps).max(axis=0))
        level, slope = level + steps[0], slope + steps[1]
        if np.abs(steps).max(initial=0.0) < 1e-9:
            break
    alpha = -slope / span
    return level + alpha * centre, alpha


def _slopes_of_likelihood(successes: Ints, failures: Ints, f: Floats) -> tuple[Floats, Floats]:
    """First and second derivative of the log-likelihood of each cell by F."""
    hazard = np.exp(np.clip(f, _LOWEST, _HIGHEST))
    odds = 1 / np.expm1(hazard)  # p / (1 - p)
    first = -hazard * successes + failures * hazard * odds
    second = -hazard * successes + failures * hazard * odds * (1 - hazard * (1 + odds))
    return first, second


# --- a mixture of items --------------------------------------------------------------------------

#: Levels of F that items start at: their distance; the lowest, a pass rate of .998; and how far beyond the highest and
#: lowest F may be at the middle of the scales of items that succeed at the largest, or fail at the smallest, alone.
_LEVEL_STEP, _EASIEST, _ASIDE = 0.3, -6.0, 2.0
#: Steps of the EM algorithm between moves of the levels. It stops early, which smooths the shares: the same number of
#: steps for the data and for every replicate of them keeps the test honest.
_EM_STEPS, _MOVES = 10, 5

#: Where the exponent is looked for, and how well it is told, in units of F over the observed scales; and steps of the
#: search, of which it takes a handful.
_ALPHAS, _TOLERANCE, _SEARCH = (-2.0, 8.0), 2e-3, 50


@dataclass(frozen=True)
class Mixture:
    """Items that follow ``exp(-c_i N^-alpha)`` with one exponent and any distribution of c."""

    x: Floats
    """Scales, as logarithms."""
    alpha: float
    level: Floats
    """F of each sort of items at the mean of `x`, from items that always succeed to those that never do."""
    shares: Floats
    steepness: float
    """How fast the slope of the log-likelihood along alpha falls; NaN with the exponent at an end of its range."""

    @property
    def at_bound(self) -> bool:
        """Whether the exponent is at an end of its range."""
        return bool(np.isnan(self.steepness))

    def f(self, x: Floats) -> Floats:
        """F of each sort of items (rows) at scales (columns)."""
        return self.level[:, None] - self.alpha * (x - self.x.mean())

    def rates(self, x: Floats) -> Floats:
        """Their pass rates."""
        return rate_at(self.f(x))

    def mean_rates(self, x: Floats) -> Floats:
        """Pass rate over items at scales."""
        return self.shares @ self.rates(x)


def fit_mixture(
    successes: Ints, trials: Ints, x: Floats, *, counts: Floats | None = None, like: Mixture | None = None
) -> Mixture:
    """The exponent of highest likelihood, with the distribution of c that is likeliest with it (nonparametric).

    Parameters
    ----------
    successes, trials
        Of each item (rows) at each scale (columns).
    x
        Scales, as logarithms.
    counts
        How often each item is there.
    like
        A mixture that is similar: a quicker way to the same.
    """
    weights = np.ones(len(successes)) if counts is None else counts
    span, u = float(np.ptp(x)), x - x.mean()
    table = _Items(successes, trials, weights, x)

    def at(alpha: float) -> tuple[float, Mixture]:
        level, shares, joint = table.likeliest(alpha)
        first, _ = table.slopes(level, alpha, joint)
        # Levels and shares are at their best, so that the slope along alpha is the slope at these.
        return -float((first * u).sum()), Mixture(x, alpha, level, shares, np.nan)

    ends, tolerance = (_ALPHAS[0] / span, _ALPHAS[1] / span), _TOLERANCE / span
    if like is not None and (found := _by_secants(at, like, ends, tolerance)) is not None:
        return found
    slopes, mixtures = zip(*map(at, ends), strict=True)
    if slopes[0] > 0 > slopes[1]:
        return _between(at, ends, slopes, tolerance)
    return mixtures[0 if slopes[0] <= 0 else 1]


_At = Callable[[float], tuple[float, Mixture]]


def _by_secants(at: _At, like: Mixture, ends: tuple[float, float], tolerance: float) -> Mixture | None:
    """The mixture with a slope of 0, from a similar one; None where the way leads out of the range."""
    alpha, steepness = like.alpha, like.steepness
    slope, _ = at(alpha)
    for _ in range(_SEARCH):
        following = alpha + slope / steepness
        if not steepness > 0 or not ends[0] < following < ends[1]:
            return None
        before, slope_before, alpha = alpha, slope, following
        slope, mixture = at(alpha)
        if abs(alpha - before) < tolerance:
            return replace(mixture, steepness=steepness)
        steepness = (slope_before - slope) / (alpha - before)
    return None


def _between(at: _At, ends: tuple[float, float], slopes: tuple[float, float], tolerance: float) -> Mixture:
    """The mixture with a slope of 0 between one with a positive and one with a negative slope (Illinois method)."""
    (low, high), (rising, falling) = ends, slopes
    alpha, slope, kept = low, rising, 0
    for _ in range(_SEARCH):
        before, slope_before = alpha, slope
        alpha = (low * falling - high * rising) / (falling - rising)
        if alpha == before:
            break
        slope, mixture = at(alpha)
        steepness = (slope_before - slope) / (alpha - before)
        if abs(alpha - before) < tolerance:
            break
        # An end that stays for a second time loses half of its slope, or it would stay for ever.
        if slope > 0:
            low, rising, falling = alpha, slope, falling / (2 if kept > 0 else 1)
            kept = 1
        else:
            high, falling, rising = alpha, slope, rising / (2 if kept < 0 else 1)
            kept = -1
    return replace(mixture, steepness=steepness)


@dataclass(frozen=True)
class _Items:
    """Items to fit: successes, trials (rows of scales) and how often each is there."""

    successes: Ints
    trials: Ints
    weights: Floats
    x: Floats

    def likeliest(self, alpha: float) -> tuple[Floats, Floats, Floats]:
        """Levels and shares of highest likelihood with this exponent, and the share of each item in each level.

        The EM algorithm from equal shares at a grid of levels, which move to where they are likelier now and then.
        """
        most = max(int(self.trials.sum(axis=1).max()), 1)
        low, high = _EASIEST - _ASIDE, float(np.log(np.log(10.0 * most))) + _ASIDE
        grid = np.linspace(low, high, int(np.ceil((high - low) / _LEVEL_STEP)) + 1)
        level = np.concatenate([[_LOWEST], grid, [-_LOWEST]])
        shares = np.full(len(level), 1.0 / len(level))
        total = self.weights.sum()
        for move in range(_MOVES + 1):
            log = _log_likelihoods(self.successes, self.trials, level, alpha, self.x)
            likelihoods = np.exp(log - log.max(axis=1, keepdims=True))
            for _ in range(_EM_STEPS):
                shares = shares * ((self.weights / (likelihoods @ shares)) @ likelihoods) / total
            joint = likelihoods * shares
            joint *= (self.weights / joint.sum(axis=1))[:, None]
            if move < _MOVES:
                first, second = (slope.sum(axis=1)[1:-1] for slope in self.slopes(level, alpha, joint))
                step = np.where(second < 0, -first / np.minimum(second, -1e-9), 0.0)
                level[1:-1] += np.clip(step, -_LEVEL_STEP / 2, _LEVEL_STEP / 2)
        return level, shares, joint

    def slopes(self, level: Floats, alpha: float, joint: Floats) -> tuple[Floats, Floats]:
        """First and second derivative by F at each level and scale, items being shared out among levels."""
        f = level[:, None] - alpha * (self.x - self.x.mean())
        return _slopes_of_likelihood(joint.T @ self.successes, joint.T @ (self.trials - self.successes), f)


def _log_likelihoods(successes: Ints, trials: Ints, level: Floats, alpha: float, x: Floats) -> Floats:
    """Of each item (rows) at each level (columns)."""
    hazard = np.exp(np.clip(level[:, None] - alpha * (x - x.mean()), _LOWEST, _HIGHEST))
    failures = (trials - successes).astype(float)
    return failures @ np.log(-np.expm1(-hazard)).T - successes.astype(float) @ hazard.T


def acceleration_score(successes: Ints, trials: Ints, mixture: Mixture) -> float:
    """How the log-likelihood of the mixture rises if the F of all items bends downwards: positive is accelerating.

    Its derivative by b at 0, where F of an item is ``ln c - alpha x - b bend(x)``.
    """
    log = _log_likelihoods(successes, trials, mixture.level, mixture.alpha, mixture.x)
    joint = np.exp(log - log.max(axis=1, keepdims=True)) * mixture.shares
    joint /= joint.sum(axis=1, keepdims=True)
    items = _Items(successes, trials, np.ones(len(successes)), mixture.x)
    first, _ = items.slopes(mixture.level, mixture.alpha, joint)
    return -float((first * bends(mixture.x)).sum())
