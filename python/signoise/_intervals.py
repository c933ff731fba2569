"""Normal-theory intervals of noise, signal and their ratio, elementwise over groups.

The estimands and their simulated coverage are stated in the docstrings of the verbs; quantiles come from kernels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._kernels import kernels

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
class CheckpointError:
    """Variance of one checkpoint's score about its run's level, by group, corrected for autocorrelation."""

    variance: Floats
    """sigma^2, score units squared."""
    df: Floats
    """Degrees of freedom of `variance`."""
    rho: Floats
    """Lag-1 autocorrelation used."""


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

    def chosen(self, rows: NDArray[np.bool_]) -> RunForms:
        """Some of them."""
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


def checkpoint_error(
    variance: Floats, run_n: Floats, run_group: Ints, autocorrelation: Autocorrelation, *, detrended: bool
) -> CheckpointError:
    """Correct the mean within-run variance of each group for the autocorrelation of its checkpoints.

    Where that is estimated, sigma^2 given rho is S(rho)/nu with nu degrees of freedom, and rho is as likely as its
    weights say: log sigma^2 has the mean of log(S/nu) over them, and its variance beside 2/nu, which together are worth
    2/variance degrees of freedom. (Short runs know rho badly, and sigma with it.)

    Parameters
    ----------
    variance
        Unweighted mean over runs of their unbiased variances, by group.
    run_n, run_group
        Checkpoints and group of each run that entered it.
    autocorrelation
        By group; unknown ones are taken for 0.
    detrended
        Each run also lost a slope; an estimated autocorrelation is then taken for the true one.
    """
    groups = len(variance)
    rho = np.nan_to_num(autocorrelation.rho, nan=0.0)
    factors = kernels().autocorrelation_factors(run_n, rho[run_group])
    f, nu = factors["f"], factors["nu"]
    if detrended:
        nu = nu * (run_n - 2) / (run_n - 1)
    runs = np.bincount(run_group, minlength=groups)
    total = np.bincount(run_group, weights=f, minlength=groups)
    with np.errstate(all="ignore"):
        # Satterthwaite over the runs; J runs of one length give J times the degrees of freedom of one.
        df = total**2 / np.bincount(run_group, weights=f**2 / nu, minlength=groups)
        corrected = variance / (total / runs)
        weights, squares, own = autocorrelation.weights, autocorrelation.squares, autocorrelation.df
        if weights is not None and squares is not None and own is not None and not detrended:
            logs = np.log(np.maximum(squares, np.finfo(float).tiny) / own[:, None])
            mean = (weights * logs).sum(axis=1)
            spread = (weights * (logs - mean[:, None]) ** 2).sum(axis=1)
            likely = np.isfinite(autocorrelation.rho) & (variance > 0)
            corrected = np.where(likely, np.exp(mean), corrected)
            df = np.where(likely, 2 / (2 / own + spread), df)
        return CheckpointError(corrected, df, rho)


def effective_checkpoints(n: Floats, rho: Floats) -> Floats:
    """Independent checkpoints that a window of n autocorrelated ones is worth: n (1 - rho)/(1 + rho), 1.5 to n."""
    return np.minimum(n, np.maximum(1.5, n * (1 - rho) / (1 + rho)))


def spread_interval(error: CheckpointError, level: float) -> tuple[Floats, Floats]:
    """Chi-square limits of sigma."""
    upper = quantile_at("chi2_quantile", (1 + level) / 2, error.df)
    lower = quantile_at("chi2_quantile", (1 - level) / 2, error.df)
    with np.errstate(all="ignore"):
        return np.sqrt(error.variance * error.df / upper), np.sqrt(error.variance * error.df / lower)


def range_interval(
    spread: Floats, members: Floats, stderr: Floats, df: Floats, level: float
) -> tuple[Floats, Floats]:
    """Limits of the range of the true scores of these members (fixed models)."""
    q = quantile_at("studentised_range_quantile", (1 + level) / 2, members, df)
    t = quantile_at("t_quantile", (1 + level) / 2, df)
    return np.maximum(0.0, spread - q * stderr), spread + t * np.sqrt(2.0) * stderr


def range_p_value(spread: Floats, members: Floats, stderr: Floats, df: Floats) -> Floats:
    """Probability of a range at least this large if all members had the same true score."""
    with np.errstate(all="ignore"):
        ratio = spread / stderr
    ratio = np.where(np.isfinite(ratio), ratio, np.nan)
    # The distribution function is good to 1e-12: smaller probabilities are 0 as far as anyone can tell.
    return np.clip(1.0 - kernels().studentised_range_cdf(ratio, members, df), 0.0, 1.0)


def ratio_interval(
    spread: Floats, members: Floats, error: CheckpointError, level: float
) -> tuple[Floats, Floats]:
    """Limits of (expected range of these many members) / sigma, in units of an absolute SNR (random models)."""
    with np.errstate(all="ignore"):
        snr = spread / np.sqrt(error.variance)
    units = kernels().expected_range(members)
    upper = quantile_at("studentised_range_quantile", (1 + level) / 2, members, error.df)
    lower = quantile_at("studentised_range_quantile", (1 - level) / 2, members, error.df)
    return snr * units / upper, snr * units / lower


def quantile_at(kernel: str, p: float, *parameters: Floats) -> Floats:
    """A quantile for each group, computed once for each combination of parameters: groups mostly share theirs."""
    order = np.lexsort(parameters)
    columns = [parameter[order] for parameter in parameters]
    new = np.ones(len(order), dtype=bool)
    if len(order):
        new[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    found = getattr(kernels(), kernel)(np.full(new.sum(), p), *(column[new] for column in columns))
    out = np.empty(len(order))
    out[order] = found[np.cumsum(new) - 1]
    return out
