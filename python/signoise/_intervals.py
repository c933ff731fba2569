"""Normal-theory intervals of noise, signal and their ratio, elementwise over groups.

The estimands and their simulated coverage are stated in the docstrings of the verbs; quantiles come from kernels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._autocorrelation import Autocorrelation
from ._kernels import kernels

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class CheckpointError:
    """Variance of one checkpoint's score about its run's level, by group, corrected for autocorrelation."""

    variance: Floats
    """sigma^2, score units squared."""
    df: Floats
    """Degrees of freedom of `variance`."""
    rho: Floats
    """Lag-1 autocorrelation used."""


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
