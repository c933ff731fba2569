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
LEAST_VALUES = 30
#: With this many values a group's own estimate is good enough (standard error below 0.2 for windows of 5).
OWN_VALUES = 150
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


def pooled_autocorrelation(
    n: Floats, rho: Floats, group: Ints, stratum: Ints, trending: NDArray[np.bool_]
) -> Floats:
    """Lag-1 autocorrelation of each group, pooled over runs and corrected for the bias of short runs.

    A run of n checkpoints underestimates: E[rho_hat] is about rho - (1 + 3 rho)/n. Inverted and averaged with weights
    n - 3: sum(n rho_hat + 1) / sum(n - 3), clipped to [0, .95]. A group with at least 150 values stands on its own;
    a smaller one shares the estimate of all groups of its stratum (one metric), those with a plain trend left out,
    since a trend looks like autocorrelation. NaN below 30 values.

    Parameters
    ----------
    n, rho, group
        Checkpoints, raw lag-1 autocorrelation and group of each run.
    stratum, trending
        Stratum of each group, and whether it trends beyond doubt.
    """
    own, values = _corrected(n, rho, group, len(stratum))
    n_strata = int(stratum.max(initial=-1)) + 1
    steady = ~trending[group]
    shared, total = _corrected(n[steady], rho[steady], stratum[group[steady]], n_strata)
    everything, all_values = _corrected(n, rho, stratum[group], n_strata)
    shared = np.where(total >= LEAST_VALUES, shared, everything)
    total = np.maximum(total, all_values)
    pooled = np.where(total >= LEAST_VALUES, shared, np.nan)[stratum]
    return np.where((values >= OWN_VALUES) & ~trending, own, pooled)


def _corrected(n: Floats, rho: Floats, label: Ints, labels: int) -> tuple[Floats, Floats]:
    """Bias-corrected pooled estimate and number of values by label."""
    usable = (n >= 4) & np.isfinite(rho)
    n, rho, label = n[usable], rho[usable], label[usable]
    top = np.bincount(label, weights=n * rho + 1, minlength=labels)
    bottom = np.bincount(label, weights=n - 3, minlength=labels)
    with np.errstate(all="ignore"):
        values: Floats = np.bincount(label, weights=n, minlength=labels).astype(float)
        return np.clip(top / bottom, 0.0, 0.95), values


def checkpoint_error(
    variance: Floats, run_n: Floats, run_group: Ints, rho: Floats, *, detrended: bool
) -> CheckpointError:
    """Correct the mean within-run variance of each group for the autocorrelation of its checkpoints.

    Parameters
    ----------
    variance
        Unweighted mean over runs of their unbiased variances, by group.
    run_n, run_group
        Checkpoints and group of each run that entered it.
    rho
        Lag-1 autocorrelation by group (0: independent).
    detrended
        Each run also lost a slope.
    """
    groups = len(variance)
    factors = kernels().autocorrelation_factors(run_n, rho[run_group])
    f, nu = factors["f"], factors["nu"]
    if detrended:
        nu = nu * (run_n - 2) / (run_n - 1)
    runs = np.bincount(run_group, minlength=groups)
    total = np.bincount(run_group, weights=f, minlength=groups)
    with np.errstate(all="ignore"):
        # Satterthwaite over the runs; J runs of one length give J times the degrees of freedom of one.
        df = total**2 / np.bincount(run_group, weights=f**2 / nu, minlength=groups)
        return CheckpointError(variance / (total / runs), df, rho)


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
