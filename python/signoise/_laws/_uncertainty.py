"""How far a fit can be trusted: replicates of it over runs, and intervals from them.

Points of one run are one draw. Where runs hold a point each but the residuals differ between rungs beyond chance, whole
rungs are drawn. With ten or more of what is drawn replicates are a bootstrap, with fewer a delete-one jackknife.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._addresses import LAW_ERRORS, uniforms
from .._kernels import kernels
from ._fit import Fit, address, bootstrap, outer, refit, values
from ._law import Floats
from ._profile import profile_interval

Interval = Literal["bootstrap", "jackknife", "parametric", "profile", "none"]
INTERVALS: tuple[Interval, ...] = ("bootstrap", "jackknife", "parametric", "profile", "none")

#: Below this many clusters a bootstrap of them says little.
FEW_CLUSTERS = 10
#: Level of the test for rung effects.
_ALPHA = 0.05
#: Share of replicates that must be fits.
_ENOUGH = 0.9


@dataclass(frozen=True)
class Spread:
    """Replicates of a fit, and the residual variance."""

    kind: Interval
    replicates: Floats
    """Fitted parameters, a row a replicate; those without a fit are left out."""
    n_failed: int
    n_clusters: int
    df: int
    """Degrees of freedom of Student's t; 0 where there are none."""
    within: float
    """Variance of residuals of points, in the space of the objective."""
    between: float
    """Variance of what clusters add to all residuals of theirs."""
    flags: tuple[str, ...]

    def variance(self, replicates: Floats) -> Floats:
        """Variance of a statistic from its values in each replicate (n_replicates, ...)."""
        return replicate_variance(self.kind, replicates)


def replicate_variance(kind: Interval, replicates: Floats) -> Floats:
    """Variance of a statistic over jackknifed or drawn replicates (n_replicates, ...); NaN with fewer than two."""
    n = len(replicates)
    if n < 2:
        return np.full(replicates.shape[1:], np.nan)
    squares = np.sum((replicates - replicates.mean(axis=0)) ** 2, axis=0)
    return squares * (n - 1) / n if kind == "jackknife" else squares / (n - 1)


def spread_of(
    fit: Fit, label: pl.DataFrame, interval: Interval | None, n_resamples: int, rng_seed: int
) -> Spread:
    """Replicates of a fit; `label` is the row of its group, which addresses the draws."""
    points = fit.points
    cluster, flags = _clusters(fit)
    n_clusters = int(cluster.max()) + 1
    kind: Interval = interval or ("bootstrap" if n_clusters >= FEW_CLUSTERS else "jackknife")
    if n_clusters < FEW_CLUSTERS:
        flags = (*flags, "few_clusters")
    within, between = _residual_variances(fit, cluster)
    clustered = n_clusters < points.n
    df = n_clusters - 1 if clustered else points.n - fit.n_free
    nothing = np.empty((0, len(fit.inner)))
    if not fit.found or kind == "none" or df < 1:
        return Spread(kind, nothing, 0, n_clusters, max(df, 0), within, between, flags)
    if kind == "jackknife":
        weights = (cluster[None, :] != np.arange(n_clusters)[:, None]).astype(np.float64)
        replicates = refit(fit, weights)
    elif kind == "parametric":
        replicates = _parametric(fit, within + between, label, n_resamples, rng_seed)
    else:
        replicates = bootstrap(fit, cluster, label, n_resamples, rng_seed)
    usable = np.isfinite(replicates).all(axis=1)
    failed = int(np.sum(~usable))
    if np.mean(usable) < _ENOUGH:
        flags = (*flags, "unidentified_replicates")
        replicates = replicates[:0]
    else:
        replicates = replicates[usable]
    return Spread(kind, replicates, failed, n_clusters, df, within, between, flags)


def parameter_interval(fit: Fit, spread: Spread, confidence_level: float) -> tuple[Floats, Floats]:
    """Limits of the parameters; NaN where undefined, for parameters held on purpose, and at a bound."""
    p = len(fit.inner)
    low, high = np.full(p, np.nan), np.full(p, np.nan)
    if spread.kind == "profile" and fit.found:
        low, high = profile_interval(fit, confidence_level)
    elif len(spread.replicates) >= 2:
        if spread.kind == "jackknife":
            half = t_quantile(confidence_level, spread.df) * np.sqrt(spread.variance(spread.replicates))
            low, high = (outer(fit.law, (fit.inner + sign * half)[None])[0] for sign in (-1, 1))
        else:
            tail = 50 * (1 - confidence_level)
            replicates = outer(fit.law, spread.replicates)
            low, high = np.percentile(replicates, [tail, 100 - tail], axis=0)
    lower, upper = fit.law.inner_bounds
    fixed = lower >= upper
    low[fixed], high[fixed] = np.nan, np.nan
    natural = np.array([(parameter.lower, parameter.upper) for parameter in fit.law.parameters])
    return np.maximum(low, natural[:, 0]), np.minimum(high, natural[:, 1])


def prediction_intervals(
    fit: Fit,
    spread: Spread,
    variables: Mapping[str, Floats],
    n: int,
    confidence_level: float,
    target_noise: float = 0.0,
) -> dict[str, Floats]:
    """Value of the law, confidence band of the curve, and interval of a new observation, at n places.

    Both are taken in the space of the residuals: value -/+ t sqrt(V) and value -/+ t sqrt(V + s^2 + target noise^2), V
    the variance of the curve over the replicates and s^2 that of residuals, within and between clusters.
    """
    log = fit.settings.log
    with np.errstate(all="ignore"):
        predicted = values(fit.law, fit.inner[None], dict(variables), n)[0]
        curves = values(fit.law, spread.replicates, dict(variables), n) if len(spread.replicates) else None
        centre = np.log(predicted) if log else predicted
        out = {"predicted": predicted}
        names = ("low", "high", "prediction_low", "prediction_high")
        if curves is None or spread.df < 1:
            return out | {name: np.full(n, np.nan) for name in names}
        # A bootstrap draws the residuals of the fit: of least squares they are smaller than the errors by what it has
        # explained. Near medians, as Huber's function with a small delta gives, it is wide enough as it is.
        shrunk = spread.kind == "bootstrap" and spread.n_clusters == fit.points.n and fit.settings.squares
        factor = fit.points.n / spread.df if shrunk else 1.0
        curve = factor * spread.variance(np.log(curves) if log else curves)
        t = t_quantile(confidence_level, spread.df)
        new = spread.within + spread.between + target_noise**2
        for (low, high), variance in ((names[:2], curve), (names[2:], curve + new)):
            for name, sign in ((low, -1), (high, 1)):
                limit = centre + sign * t * np.sqrt(variance)
                out[name] = np.exp(limit) if log else limit
    return out


def derived_interval(
    spread: Spread, estimate: Floats, replicates: Floats, confidence_level: float
) -> tuple[Floats, Floats]:
    """Limits of what is computed from the parameters, from its logarithm: `replicates` has a row
    a replicate, `estimate` an entry a column.

    Percentiles of a bootstrap, Student's t about the estimate of a jackknife; NaN where too few replicates have one
    above 0.
    """
    nothing = np.full(estimate.shape, np.nan)
    known = np.isfinite(replicates) & (replicates > 0)
    if len(replicates) < 2 or spread.df < 1:
        return nothing, nothing
    enough = np.isfinite(estimate) & (known.mean(axis=0) >= _ENOUGH)
    logs = np.where(known, np.log(np.where(known, replicates, 1.0)), np.nan)
    low, high = nothing.copy(), nothing.copy()
    for place in np.flatnonzero(enough):
        column = logs[known[:, place], place]
        if spread.kind == "jackknife":
            half = t_quantile(confidence_level, spread.df) * np.sqrt(spread.variance(column))
            ends = np.log(estimate[place]) + np.array([-half, half])
        else:
            tail = 50 * (1 - confidence_level)
            ends = np.percentile(column, [tail, 100 - tail])
        low[place], high[place] = np.exp(ends)
    return low, high


def t_quantile(confidence_level: float, df: int) -> float:
    """Two-sided quantile of Student's t."""
    found = kernels().t_quantile(np.array([0.5 + confidence_level / 2]), np.array([float(df)]))
    return float(found[0])


def _clusters(fit: Fit) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """What is drawn: runs, or rungs where single runs share what is special to their rung."""
    points = fit.points
    if points.told or points.n > int(points.cluster.max()) + 1 or not fit.found:
        return points.cluster, ()
    n_scales = int(points.scale.max()) + 1
    if not 2 <= n_scales < points.n or points.n - n_scales < 2:
        return points.cluster, ()
    among, inside = _mean_squares(fit.residuals, points.scale)
    limit = kernels().f_quantile(
        np.array([1 - _ALPHA]), np.array([n_scales - 1.0]), np.array([float(points.n - n_scales)])
    )[0]
    if inside > 0 and among / inside > limit:
        return points.scale, ("rung_effects",)
    return points.cluster, ()


def _mean_squares(residuals: Floats, group: NDArray[np.int64]) -> tuple[float, float]:
    """Mean squares between and within groups."""
    n, k = len(residuals), int(group.max()) + 1
    sizes = np.bincount(group, minlength=k)
    means = np.bincount(group, residuals, k) / sizes
    among = float(np.sum(sizes * (means - residuals.mean()) ** 2)) / (k - 1)
    return among, float(np.sum((residuals - means[group]) ** 2)) / max(n - k, 1)


def _residual_variances(fit: Fit, cluster: NDArray[np.int64]) -> tuple[float, float]:
    """Variance of residuals of points, and of what their clusters share."""
    n, k = fit.points.n, int(cluster.max()) + 1
    if not fit.found or n <= fit.n_free:
        return np.nan, np.nan
    residuals = fit.residuals
    total = float(np.sum(residuals**2)) / (n - fit.n_free)
    if k == n or k < 2:
        return total, 0.0
    among, inside = _mean_squares(residuals, cluster)
    sizes = np.bincount(cluster)
    typical = (n - float(np.sum(sizes**2)) / n) / (k - 1)
    between = max(0.0, (among - inside) / typical)
    # What the parameters have taken from the residuals is given back in proportion.
    share = between / (between + inside) if between + inside > 0 else 0.0
    whole = max(total, between + inside)
    return whole * (1 - share), whole * share


def _parametric(fit: Fit, variance: float, label: pl.DataFrame, n_resamples: int, rng_seed: int) -> Floats:
    """Refits to the fitted values with normal errors of the residual variance."""
    points = fit.points
    uniform = uniforms(rng_seed, LAW_ERRORS, int(address(label)[0]), n_resamples * points.n)
    normal = kernels().normal_quantile(uniform).reshape(n_resamples, points.n)
    fitted = fit.fitted
    errors = np.sqrt(variance) * normal
    observed = fitted * np.exp(errors) if fit.settings.log else fitted + errors
    return refit(fit, np.ones((n_resamples, points.n)), observed)
