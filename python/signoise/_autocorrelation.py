"""Lag-1 autocorrelation of checkpoints, pooled over runs by restricted maximum likelihood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

#: Fewer values than this say nothing about autocorrelation.
LEAST_VALUES = 20
#: With this many values a group's own estimate is good enough (standard error below 0.2 for windows of 5).
OWN_VALUES = 150
#: Runs shorter than this say nothing about it either.
LEAST_LENGTH = 4
#: Values of an autocorrelation whose likelihoods are compared.
RHOS = np.linspace(0.0, 0.95, 96)
#: A group that trends this surely is no witness for the autocorrelation of others.
TREND_LEVEL = 0.999


@dataclass(frozen=True)
class RunForms:
    """What the likelihood of a run's autocorrelation needs: its n checkpoints x_t about their mean (or line), y_t."""

    n: Floats
    squares: Floats
    """Sum of y_t^2."""
    lagged: Floats
    """Sum of y_t y_{t+1}."""
    first: Floats
    """y_1."""
    last: Floats
    """y_n."""
    group: Ints
    line: bool = False
    """Whether each run has a slope of its own beside its level; y_t are then residuals about its least-squares line."""

    @classmethod
    def about_lines(cls, values: Floats, lengths: Ints, group: Ints, valid: NDArray[np.bool_]) -> RunForms:
        """Forms of consecutive runs of these lengths (1 or more) about their least-squares lines.

        Runs that are not `valid` have no sum of squares, so that nobody hears them.
        """
        ends = np.cumsum(lengths) - 1
        starts, n = ends - lengths + 1, lengths.astype(float)
        run = np.repeat(np.arange(len(n)), lengths)
        time = np.arange(len(values)) - starts[run] - (n[run] - 1) / 2
        with np.errstate(all="ignore"):
            about = values - (np.add.reduceat(values, starts) / n)[run]
            slope = np.add.reduceat(time * about, starts) / np.add.reduceat(time**2, starts)
            about = about - np.nan_to_num(slope)[run] * time
            lagged = np.append(about[1:] * about[:-1], 0.0)
            lagged[ends] = 0.0
            squares = np.where(valid, np.add.reduceat(about**2, starts), np.nan)
            sums = np.add.reduceat(lagged, starts)
        return cls(n, squares, sums, about[starts], about[ends], group, line=True)

    @property
    def df(self) -> Floats:
        """Degrees of freedom of each run."""
        return self.n - (2 if self.line else 1)

    def residual(self, rho: float) -> Floats:
        """Generalised sum of squares: the least ``(x - m)' R^-1 (x - m)`` over levels (lines) m, R_ij = rho^|i-j|."""
        ends = self.first + self.last
        own = (1 + rho**2) * self.squares - rho**2 * (self.first**2 + self.last**2) - 2 * rho * self.lagged
        own -= (1 - rho) * rho**2 * ends**2 / (self.n - (self.n - 2) * rho)
        if self.line:
            # Centred times u are orthogonal to 1 and to y, and R^-1 keeps them so to 1; what is left of u' R^-1 y
            # stands in the ends of the run.
            end = (self.n - 1) / 2
            slope = (self.first - self.last) * (rho**2 * end - rho * (end + 1))
            own -= slope**2 / self._times(rho)
        return own / (1 - rho**2)

    def _times(self, rho: float) -> Floats:
        """``(1 - rho^2) u' R^-1 u``."""
        end, squares = (self.n - 1) / 2, self.n * (self.n**2 - 1) / 12
        return (1 + rho**2) * squares - 2 * rho**2 * end**2 - 2 * rho * (squares - end**2 - end)

    def log_determinant(self, rho: float) -> Floats:
        """``log |R| + log 1' R^-1 1 + log u' R^-1 u``, the last for lines."""
        found = (self.n - 1) * np.log(1 - rho**2) + np.log((self.n - (self.n - 2) * rho) / (1 + rho))
        return found + np.log(self._times(rho) / (1 - rho**2)) if self.line else found

    def chosen(self, rows: NDArray[np.bool_] | Ints) -> RunForms:
        """Some of them, or all in another order."""
        columns = (self.n, self.squares, self.lagged, self.first, self.last)
        n, squares, lagged, first, last = (column[rows] for column in columns)
        return RunForms(n, squares, lagged, first, last, self.group[rows], self.line)


@dataclass(frozen=True)
class Autocorrelation:
    """Lag-1 autocorrelation of the checkpoints of each group."""

    rho: Floats
    """The most likely value, or the one given; NaN where there are too few values."""
    weights: Floats | None = None
    """How likely each value of `RHOS` is, a row a group; None: it is given."""
    squares: Floats | None = None
    """Generalised sum of squares of each group at each of them."""
    df: Floats | None = None
    """Degrees of freedom of the sums of squares."""


def pooled_autocorrelation(runs: RunForms, stratum: Ints, trending: NDArray[np.bool_]) -> Autocorrelation:
    """Restricted maximum likelihood of the lag-1 autocorrelation of each group, pooled over its runs.

    Runs have levels of their own, and groups variances: ``-nu/2 log S(rho) - 1/2 sum of log determinants`` for each
    group, with the generalised sum of squares S and nu = sum of (n - 1); it does not underestimate as the correlation
    of a short run does. Restricted to [0, .95]. A group with at least 150 values stands on its own; a smaller one
    shares the likelihood of all groups of its stratum (one metric), those with a plain trend left out, since a trend
    looks like autocorrelation. NaN below 20 values.

    Parameters
    ----------
    runs
        The runs; those with a sum of squares that is not finite are passed over.
    stratum, trending
        Stratum of each group, and whether it trends beyond doubt.
    """
    n_groups, n_strata = len(stratum), int(stratum.max(initial=-1)) + 1
    runs = runs.chosen(np.isfinite(runs.squares) & (runs.df >= 1))
    squares, likelihood = np.empty((2, n_groups, len(RHOS)))
    df: Floats = np.bincount(runs.group, weights=runs.df, minlength=n_groups).astype(float)
    for at, rho in enumerate(RHOS.tolist()):
        squares[:, at] = np.bincount(runs.group, weights=runs.residual(rho), minlength=n_groups)
        likelihood[:, at] = np.bincount(runs.group, weights=runs.log_determinant(rho), minlength=n_groups)
    varies = squares[:, 0] > 0
    with np.errstate(all="ignore"):
        # Rounding may leave a group of nearly equal values without a sum of squares.
        logs = np.log(np.maximum(squares, np.finfo(float).tiny))
        likelihood = np.where(varies[:, None], -(df[:, None] * logs + likelihood) / 2, 0.0)
    speaks = _telling_values(runs, n_groups) * varies
    steady = speaks * ~trending
    pooled, total = np.zeros((n_strata, len(RHOS))), np.zeros(n_strata)
    for values in (speaks, steady):
        # Groups that trend are heard only where the others are too few.
        own = np.bincount(stratum, weights=values, minlength=n_strata)
        heard = own >= LEAST_VALUES
        sums = np.zeros((n_strata, len(RHOS)))
        np.add.at(sums, stratum, likelihood * (values > 0)[:, None])
        pooled[heard], total[heard] = sums[heard], own[heard]
    alone = (speaks >= OWN_VALUES) & ~trending
    chosen = np.where(alone[:, None], likelihood, pooled[stratum])
    known = alone | (total[stratum] >= LEAST_VALUES)
    weights = np.exp(chosen - chosen.max(axis=1, keepdims=True))
    rho = np.where(known, _highest(chosen), np.nan)
    return Autocorrelation(rho, weights / weights.sum(axis=1, keepdims=True), squares, df)


def _telling_values(runs: RunForms, n_groups: int) -> Floats:
    """Values of each group in runs that are long enough to tell of autocorrelation."""
    long = runs.n * (runs.n >= LEAST_LENGTH)
    return np.bincount(runs.group, weights=long, minlength=n_groups).astype(float)


def _highest(likelihood: Floats) -> Floats:
    """The value of `RHOS`, and between its neighbours that of the parabola through the three, with the highest one."""
    at = np.clip(likelihood.argmax(axis=1), 1, len(RHOS) - 2)
    rows = np.arange(len(at))
    left, middle, right = (likelihood[rows, at + shift] for shift in (-1, 0, 1))
    with np.errstate(all="ignore"):
        shift = (left - right) / (left - 2 * middle + right) / 2
    shift = np.where(np.isfinite(shift) & (middle >= left) & (middle >= right), shift, 0.0)
    inside = RHOS[at] + shift * (RHOS[1] - RHOS[0])
    ends = likelihood.argmax(axis=1)
    return np.where((ends == 0) | (ends == len(RHOS) - 1), RHOS[ends], inside)
