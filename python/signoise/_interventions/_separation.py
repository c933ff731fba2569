"""How often one checkpoint's score orders two members as their true scores do, from the spread of a population.

s2      variance of the members' mean scores over their last checkpoints
v       sigma2 / k, their noise: sigma2 of one checkpoint, k independent checkpoints that a window is worth
F       s2 / v, over its true value distributed as F with J - 1 and the noise's degrees of freedom
rel     tau2 / (tau2 + sigma2), tau2 = s2 - v: share of true variance in the score of one checkpoint
A       1/2 + asin(sqrt(rel))/pi for normally distributed members
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._intervals import checkpoint_error, effective_checkpoints, quantile_at, range_p_value
from .._kernels import kernels
from .._measure import combined_noise, group_autocorrelation
from .._variance_components import expected_accuracy
from ._smoothed import Study, averaged_scores

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Separation:
    """By group; NaN where fewer than 2 members or no run with 2 checkpoints are there."""

    accuracy: Floats
    low: Floats
    high: Floats
    p_value: Floats
    """Of a range at least so large if all members had one true score."""
    n_members: Ints


def separation(
    study: Study,
    window: int,
    level: float,
    threads: int | None,
    autocorrelation: float | str = "pooled",
) -> Separation:
    """Measure the members of a study of one side on their last `window` checkpoints."""
    encoded = study.encoded
    n_groups = len(encoded.groups)
    series = encoded.series(window, "all", threads)
    combined = combined_noise(series, "within", 1, n_groups, threads)
    members = averaged_scores(study, "all", window, "mean", np.ones(n_groups), threads)
    moments = kernels().segment_moments(members.scores, members.offsets, threads=threads)
    n = np.diff(members.offsets).astype(np.intp)
    with np.errstate(all="ignore"):
        rho = group_autocorrelation(encoded, series, combined, autocorrelation)
        several = series.columns["n"] >= 2
        error = checkpoint_error(
            combined["absolute"] ** 2,
            series.columns["n"][several].astype(float),
            series.group[several],
            rho,
            detrended=False,
        )
        length = np.bincount(series.group, weights=series.columns["n"], minlength=n_groups)
        worth = effective_checkpoints(length / np.bincount(series.group, minlength=n_groups), error.rho)
        noise = error.variance / worth
        ratio = moments["m2"] / (n - 1) / noise
        freedom = np.where(n >= 2, n - 1.0, np.nan)
        upper = quantile_at("f_quantile", (1 + level) / 2, freedom, error.df)
        lower = quantile_at("f_quantile", (1 - level) / 2, freedom, error.df)
        estimate, low, high = (_accuracy(f, worth) for f in (ratio, ratio / upper, ratio / lower))
        spread = np.where(n >= 2, moments["max"] - moments["min"], np.nan)
        p = range_p_value(spread, np.where(n >= 2, n, np.nan).astype(float), np.sqrt(noise), error.df)
    return Separation(estimate, low, high, p, n)


def _accuracy(ratio: Floats, worth: Floats) -> Floats:
    """A of an F ratio; NaN stays."""
    true = np.maximum(ratio - 1, 0.0) / worth
    share = np.where(np.isinf(true), 1.0, true / (true + 1))
    known = np.isfinite(share)
    return np.where(known, expected_accuracy(np.where(known, share, 0.0)), np.nan)
