"""Distributions of success probabilities over items, fitted to counts of right samples.

What such a distribution says of an item is a ratio of two moments ``E[p^c (1-p)^w]``: with k further tries of an item
with c right and w wrong samples, all fail with probability ``E[p^c (1-p)^(w+k)] / E[p^c (1-p)^w]``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._simplex import minimise

Floats = NDArray[np.float64]
#: From parameters, right and wrong samples to the logarithm of the moment.
LogMoment = Callable[[Floats, Floats, Floats], Floats]

_ln_gamma = np.frompyfunc(math.lgamma, 1, 1)
#: Nodes of the sums over a logit-normal, and how far below its peak (natural logarithm) an integrand is left out.
_NODES, _DEPTH = 256, 40.0
#: Halvings that find where it is that deep.
_HALVINGS = 24
#: Information of a parameter below which the likelihood is flat: it is as if at a bound.
_FLAT = 1e-2
#: Half of the widest logit that is looked at: beyond it a probability is 0 or 1 for any number of tries.
_WIDEST = 30.0


def _ln(x: Floats) -> Floats:
    return np.asarray(_ln_gamma(x), dtype=np.float64)


def _ln_beta(a: Floats, b: Floats) -> Floats:
    return _ln(a) + _ln(b) - _ln(a + b)


def beta_moment(theta: Floats, c: Floats, w: Floats) -> Floats:
    """Of a beta distribution; parameters are the logarithms of its two."""
    a, b = np.exp(theta[:2])
    return _ln_beta(a + c, b + w) - float(_ln_beta(np.array([a]), np.array([b]))[0])


def zero_inflated_moment(theta: Floats, c: Floats, w: Floats) -> Floats:
    """Of a beta distribution beside a share of items that are never solved; the third parameter is its logit."""
    never = -math.log1p(math.exp(-theta[2]))
    ever = -math.log1p(math.exp(theta[2]))
    some = ever + beta_moment(theta, c, w)
    return np.where(c > 0, some, np.logaddexp(never, some))


def logit_normal_moment(theta: Floats, c: Floats, w: Floats) -> Floats:
    """Of probabilities whose logit is normal; parameters are its mean and the logarithm of its standard deviation.

    The integrand is log-concave in the logit: it is summed on evenly spaced nodes between the places where it has
    fallen far enough, which for a smooth function is as good as exact.
    """
    centre, sd = float(theta[0]), math.exp(theta[1])

    def log_integrand(x: Floats) -> Floats:
        return c * x - (c + w) * np.logaddexp(0.0, x) - 0.5 * ((x - centre) / sd) ** 2

    def slope(x: Floats) -> Floats:
        return c - (c + w) / (1 + np.exp(-x)) - (x - centre) / sd**2

    # The peak lies where samples or the normal would have it, or between.
    own = np.clip(np.log(np.maximum(c, 1e-99)) - np.log(np.maximum(w, 1e-99)), -_WIDEST, _WIDEST)
    peak = _root(slope, np.minimum(own, centre), np.maximum(own, centre))
    top = log_integrand(peak)
    reach = sd * np.sqrt(2 * (_DEPTH - top))
    # Outwards from the peak on either side.
    outside = np.stack([centre - reach, centre + reach])
    share = _root(
        lambda t: log_integrand(peak + t * (outside - peak)) - top + _DEPTH, np.zeros((2, len(c))), np.ones(1)
    )
    left, right = peak + share * (outside - peak)
    x = np.linspace(left, right, _NODES)
    total = np.exp(log_integrand(x) - top).sum(axis=0) * (right - left) / (_NODES - 1)
    return top + np.log(total / (sd * math.sqrt(2 * math.pi)))


def _root(f: Callable[[Floats], Floats], low: Floats, high: Floats) -> Floats:
    """Where falling functions cross 0, by halving: the ends where they do not."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = f(middle) > 0
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return (low + high) / 2


@dataclass(frozen=True)
class Mixing:
    """A family of distributions."""

    name: str
    log_moment: LogMoment
    lower: Floats
    upper: Floats
    starts: Callable[[float, float], list[Floats]]
    """From the mean probability and the share of items without a right sample."""

    def log_likelihoods(self, theta: Floats, n: Floats, c: Floats) -> Floats:
        """Of each item."""
        ways = _ln(n + 1) - _ln(c + 1) - _ln(n - c + 1)
        return ways + self.log_moment(theta, c, n - c)

    def fit(self, n: Floats, c: Floats, items: Floats, start: Floats | None = None) -> Floats:
        """Maximum likelihood; `items` says how many there are of each pair."""
        mean = float((items * c).sum() / (items * n).sum())

        def height(theta: Floats) -> float:
            return -float(items @ self.log_moment(theta, c, n - c))

        def lowest(start: Floats, step: float) -> tuple[Floats, float]:
            return minimise(height, start, step=step, lower=self.lower, upper=self.upper)

        if start is not None:
            return lowest(start, 0.1)[0]
        starts = self.starts(mean, float(items[c == 0].sum() / items.sum()))
        best, _ = min((lowest(one, 0.5) for one in starts), key=lambda one: one[1])
        # Once more from there, as a simplex may collapse before it is where it should be.
        return lowest(best, 0.1)[0]

    def failure(self, theta: Floats, n: Floats, c: Floats, k: int, *, every: bool) -> Floats:
        """Probability that all of k further tries fail (`every`: that all succeed), given the samples of each item."""
        more = (c + k, n - c) if every else (c, n - c + k)
        return np.exp(np.minimum(self.log_moment(theta, *more) - self.log_moment(theta, c, n - c), 0.0))

    def covariance(self, theta: Floats, n: Floats, c: Floats, items: Floats) -> Floats:
        """Of the parameters: inverse of the observed information, in the directions in which the likelihood falls."""
        size = len(theta)
        steps = 1e-3 * np.eye(size)

        def height(x: Floats) -> float:
            return -float(items @ self.log_moment(x, c, n - c))

        information = np.array(
            [
                [
                    height(theta + a + b)
                    - height(theta + a - b)
                    - height(theta - a + b)
                    + height(theta - a - b)
                    for b in steps
                ]
                for a in steps
            ]
        ) / (4e-6)
        values, directions = np.linalg.eigh((information + information.T) / 2)
        sound = values > _FLAT
        found: Floats = (directions[:, sound] / values[sound]) @ directions[:, sound].T
        return found


def _beta_starts(mean: float, _: float) -> list[Floats]:
    return [np.log([mean * size, (1 - mean) * size]) for size in (0.5, 3.0, 30.0)]


def _zero_inflated_starts(mean: float, zeros: float) -> list[Floats]:
    share = min(max(zeros / 2, 0.01), 0.9)
    logit = math.log(share) - math.log1p(-share)
    return [np.append(start, logit) for start in _beta_starts(min(mean / (1 - share), 0.99), zeros)]


def _logit_normal_starts(mean: float, _: float) -> list[Floats]:
    return [np.array([math.log(mean) - math.log1p(-mean), math.log(sd)]) for sd in (0.5, 2.5)]


MIXINGS = (
    Mixing("beta", beta_moment, np.full(2, -12.0), np.full(2, 12.0), _beta_starts),
    Mixing(
        "zero_inflated_beta",
        zero_inflated_moment,
        np.array([-12.0, -12.0, -15.0]),
        np.array([12.0, 12.0, 15.0]),
        _zero_inflated_starts,
    ),
    Mixing(
        "logit_normal",
        logit_normal_moment,
        np.array([-_WIDEST, -5.0]),
        np.array([_WIDEST, 2.5]),
        _logit_normal_starts,
    ),
)
