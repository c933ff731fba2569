"""Variance components of a score: training seed, checkpoint, instance and generation, and what averaging leaves.

A score of one checkpoint is taken as mean + seed + step + instance + (their interactions) + generation, all random and
uncorrelated but for lag-1 autocorrelation between successive checkpoints of a run. Estimates are by the method of
moments and unbiased, so that they can be negative; that value is kept beside the one clipped at 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._intervals import quantile_at
from ._kernels import kernels

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Offsets = NDArray[np.uintp]


@dataclass(frozen=True)
class Component:
    """One variance of every group, score units squared; NaN where undefined."""

    unclipped: Floats
    low: Floats
    high: Floats
    df: Floats
    """Degrees of freedom of the mean square that holds it."""

    @property
    def value(self) -> Floats:
        """The estimate, 0 where it came out negative."""
        return np.maximum(self.unclipped, 0.0)


@dataclass(frozen=True)
class SeedAndStep:
    """Between training seeds of one recipe, and between late checkpoints of one run."""

    seed: Component
    step: Component
    runs: Floats
    """Variance between the means of runs that share a cell: seed + step/checkpoints, as observed."""
    checkpoints: Floats
    """Independent checkpoints that a run's mean is worth, harmonic mean over the runs that have sister seeds."""


@dataclass(frozen=True)
class TwoWay:
    """Components of a complete table of rows x columns."""

    rows: Component
    columns: Component
    residual: Component
    """Interaction, with whatever varies within a cell."""


def seed_and_step(
    run_n: Floats,
    run_mean: Floats,
    run_ss: Floats,
    run_df: Floats,
    cell: Ints,
    group: Ints,
    n_groups: int,
    *,
    rho: Floats | None = None,
    level: float = 0.95,
) -> SeedAndStep:
    """Seed and step variance from runs, several of which share a cell (one recipe at one size, different seeds).

    Parameters
    ----------
    run_n, run_mean, run_ss, run_df
        Checkpoints of each run, their mean, the sum of squares about it (or about a trend) and its degrees of
        freedom (n - 1, or n - 2).
    cell, group
        Of each run; cells are numbered through all groups.
    rho
        Lag-1 autocorrelation of checkpoints by group; none by default.
    level
        Of the limits.

    Undefined when
        No run has 2 checkpoints (step and seed NaN); no cell has 2 runs (seed NaN). Runs without a value are left
        out.

    Notes
    -----
    MSE pools the variances within runs over their degrees of freedom n2; step = MSE/f with f the expectation of a
    sample variance over the true one under autocorrelation. With A the pooled variance of run means within cells
    (n1 = sum of runs - 1) and k_h the harmonic mean of the independent checkpoints k = n/(n - (n - 1) f) a mean is
    worth, seed = A - step/k_h. Limits of seed: modified large-sample method (simulated coverage .936 to .955,
    balanced and not); of step: chi-square.

    References
    ----------
    Burdick and Graybill 1992, "Confidence intervals on variance components", sections 3.3 and 4.4; Graybill and Wang
    1980, JASA 75.
    """
    rho = np.zeros(n_groups) if rho is None else rho
    used = (run_n >= 1) & np.isfinite(run_mean)
    run_n, run_mean, run_ss, run_df = (column[used] for column in (run_n, run_mean, run_ss, run_df))
    cell, group = cell[used], group[used]
    factors = kernels().autocorrelation_factors(np.maximum(run_n, 2.0), rho[group])
    f = np.where(run_n >= 2, factors["f"], 0.0)
    spread = run_df > 0

    def total(values: Floats, where: NDArray[np.bool_]) -> Floats:
        return np.bincount(group[where], weights=values[where], minlength=n_groups).astype(float)

    with np.errstate(all="ignore"):
        # A detrended run has lost a degree of freedom, and keeps that share of the effective ones.
        nu = factors["nu"] * run_df / (run_n - 1)
        n2 = total(run_df, spread)
        expected = total(f * run_df, spread)
        step = np.where(n2 > 0, total(run_ss, spread) / expected, np.nan)
        step_df = expected**2 / total((f * run_df) ** 2 / nu, spread)
        runs_of_cell = np.bincount(cell, minlength=int(cell.max(initial=-1)) + 1)
        sisters = runs_of_cell[cell] >= 2
        mean_of_cell = np.bincount(cell, weights=run_mean) / runs_of_cell
        cells = np.unique(cell[sisters])
        group_of_cell = np.zeros(len(runs_of_cell), dtype=np.intp)
        group_of_cell[cell] = group
        spare = runs_of_cell[cells] - 1.0
        n1 = np.bincount(group_of_cell[cells], weights=spare, minlength=n_groups).astype(float)
        between = total((run_mean - mean_of_cell[cell]) ** 2, sisters) / n1
        worth = worth_of(run_n, f)
        k = total(np.ones(len(group)), sisters) / total(1 / worth, sisters)
        low, high = difference_limits(k * between, step, n1, step_df, level)
        return SeedAndStep(
            seed=Component(between - step / k, low / k, high / k, np.where(n1 > 0, n1, np.nan)),
            step=_mean_square(step, step_df, level),
            runs=np.where(n1 > 0, between, np.nan),
            checkpoints=k,
        )


def worth_of(n: Floats, f: Floats) -> Floats:
    """Independent checkpoints that the mean of n autocorrelated ones is worth; f as in `seed_and_step`."""
    return n / (n - (n - 1) * f)


def worth_at(n: Floats, rho: Floats) -> Floats:
    """Independent checkpoints that the mean of n is worth whose lag-1 autocorrelation is rho, in closed form.

    n^2 / (n + 2 sum_(j<n) (n - j) rho^j), as `worth_of`, for any n.
    """
    lost = rho * (n * (1 - rho) - (1 - rho**n)) / (1 - rho) ** 2
    return n**2 / (n + 2 * lost)


def difference_limits(
    msa: Floats, mse: Floats, n1: Floats, n2: Floats, level: float
) -> tuple[Floats, Floats]:
    """Limits of E[MSA] - E[MSE], at least 0, by the modified large-sample method; NaN where a side is undefined."""
    defined = (n1 > 0) & (n2 > 0) & np.isfinite(msa) & np.isfinite(mse)
    n1, n2 = np.where(defined, n1, np.nan), np.where(defined, n2, np.nan)
    infinite = np.where(defined, np.inf, np.nan)
    upper, lower = (1 + level) / 2, (1 - level) / 2
    g1, g2 = (1 - 1 / quantile_at("f_quantile", upper, n, infinite) for n in (n1, n2))
    h1, h2 = (1 / quantile_at("f_quantile", lower, n, infinite) - 1 for n in (n1, n2))
    f1, f2 = (quantile_at("f_quantile", p, n1, n2) for p in (upper, lower))
    with np.errstate(all="ignore"):
        g = ((f1 - 1) ** 2 - (g1 * f1) ** 2 - h2**2) / f1
        h = ((1 - f2) ** 2 - (h1 * f2) ** 2 - g2**2) / f2
        below = np.maximum(0.0, (g1 * msa) ** 2 + (h2 * mse) ** 2 + g * msa * mse)
        above = np.maximum(0.0, (h1 * msa) ** 2 + (g2 * mse) ** 2 + h * msa * mse)
    difference = msa - mse
    return np.maximum(0.0, difference - np.sqrt(below)), np.maximum(0.0, difference + np.sqrt(above))


def two_way(table: Floats, level: float = 0.95) -> TwoWay:
    """Components of one complete table, e.g. instances x checkpoints of a run, or instances x seeds.

    Parameters
    ----------
    table
        Rows x columns, without missing cells.
    level
        Of the limits.

    Undefined when
        There are fewer than 2 rows or columns, or a NaN (all NaN).

    Notes
    -----
    rows = (MS_rows - MSE)/n_columns, columns = (MS_columns - MSE)/n_rows, residual = MSE. For instances x checkpoints
    the columns are the step noise that no number of instances removes, and the residual is step x instance with the
    generation noise inside.
    """
    n, k = table.shape
    if n < 2 or k < 2 or not np.isfinite(table).all():
        nothing = Component(*(np.full(1, np.nan) for _ in range(4)))
        return TwoWay(nothing, nothing, nothing)
    centred = table - table.mean()
    row, column = centred.mean(axis=1), centred.mean(axis=0)
    residual = centred - row[:, None] - column[None, :]
    df = (n - 1) * (k - 1)
    mse = float((residual**2).sum()) / df
    return TwoWay(
        rows=_above(k * row.var(ddof=1), mse, n - 1, df, k, level),
        columns=_above(n * column.var(ddof=1), mse, k - 1, df, n, level),
        residual=_mean_square(np.array([mse]), np.array([float(df)]), level),
    )


def _above(msa: float, mse: float, n1: int, n2: int, size: int, level: float) -> Component:
    """The component in which a mean square exceeds the residual."""
    a, e, df, df2 = (np.array([float(x)]) for x in (msa, mse, n1, n2))
    low, high = difference_limits(a, e, df, df2, level)
    return Component((a - e) / size, low / size, high / size, df)


def _mean_square(variance: Floats, df: Floats, level: float) -> Component:
    """A variance that is a mean square itself, with chi-square limits."""
    upper, lower = (quantile_at("chi2_quantile", p, df) for p in ((1 + level) / 2, (1 - level) / 2))
    with np.errstate(all="ignore"):
        return Component(variance, variance * df / upper, variance * df / lower, df)


@dataclass(frozen=True)
class Generations:
    """Split of the variance over instances of a score; score units squared, NaN where undefined."""

    prediction: Floats
    """Between generations of one instance, mean over instances."""
    data_unclipped: Floats
    """Between instances' expected scores; negative where the generations alone explain more than was seen."""

    @property
    def data(self) -> Floats:
        """Variance between instances, 0 where it came out negative."""
        return np.maximum(self.data_unclipped, 0.0)


def generation_components(n: Floats, mean: Floats, m2: Floats, offsets: Offsets) -> Generations:
    """Prediction and data variance from instances with several generations.

    Parameters
    ----------
    n, mean, m2
        Generations of each instance, their mean and sum of squares about it.
    offsets
        Group g is the instances ``offsets[g]:offsets[g + 1]``.

    Undefined when
        No instance has 2 generations; data also with fewer than 2 instances.

    Notes
    -----
    prediction = mean_i s_i^2 over instances with at least 2 generations; data = Var(instance means) - mean_i s_i^2/K_i,
    where an instance with one generation takes the mean s^2. Both are unbiased. The error of the mean over instances
    is that of the instance means: n K scores are not n K independent ones.

    References
    ----------
    Miller 2024, arXiv 2411.00640, section 3; arXiv 2512.21326.
    """
    spread, each = _spread(n, m2, offsets)
    return Generations(spread, _variance(mean, offsets) - _mean(each / n, offsets))


def paired_generation_components(
    n_a: Floats, mean_a: Floats, m2_a: Floats, n_b: Floats, mean_b: Floats, m2_b: Floats, offsets: Offsets
) -> tuple[Generations, Generations]:
    """Components of the differences between two models on shared instances: (with prediction of a, of b).

    ``data`` of both is the variance over instances of the difference between expected scores, the `variance_items`
    of `power`; the predictions are its `variance_samples`.
    """
    spread_a, each_a = _spread(n_a, m2_a, offsets)
    spread_b, each_b = _spread(n_b, m2_b, offsets)
    noise = _mean(each_a / n_a + each_b / n_b, offsets)
    data = _variance(mean_a - mean_b, offsets) - noise
    return Generations(spread_a, data), Generations(spread_b, data)


def _spread(n: Floats, m2: Floats, offsets: Offsets) -> tuple[Floats, Floats]:
    """Mean variance between generations of each group, and the variance of each instance, the mean where unknown."""
    group = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets).astype(np.intp))
    several = n >= 2
    with np.errstate(all="ignore"):
        own = m2 / (n - 1)
        counts = np.bincount(group[several], minlength=len(offsets) - 1)
        spread = np.bincount(group[several], weights=own[several], minlength=len(offsets) - 1) / counts
    return spread, np.where(several, own, spread[group])


def _mean(values: Floats, offsets: Offsets) -> Floats:
    return kernels().segment_moments(values, offsets)["mean"]


def _variance(values: Floats, offsets: Offsets) -> Floats:
    moments = kernels().segment_moments(values, offsets)
    n = moments["n"].astype(float)
    with np.errstate(all="ignore"):
        return np.where(n >= 2, moments["m2"] / (n - 1), np.nan)


def score_variance(
    n: Floats | float,
    checkpoints: Floats | float,
    seeds: Floats | float,
    *,
    seed: Floats | float,
    step: Floats | float,
    seed_item: Floats | float = 0.0,
    step_item: Floats | float = 0.0,
    item: Floats | float = 0.0,
) -> Floats | float:
    """Variance of a score averaged over n instances, (effective) checkpoints and training seeds.

    ``[seed + seed_item/n + (step + step_item/n)/checkpoints]/seeds + item/n``, score units squared. `item` only where
    the claim is about new instances; models compared on the same ones share it.
    """
    per_run = seed + seed_item / n + (step + step_item / n) / checkpoints
    return per_run / seeds + item / n


def reliability(between: Floats | float, error: Floats | float) -> Floats | float:
    """Share of the variance between observed scores that is between true ones: 0 noise alone, 1 no noise."""
    with np.errstate(all="ignore"):
        return np.divide(between, np.add(between, error))


def expected_accuracy(*reliabilities: Floats | float) -> Floats | float:
    """Chance that two random models are ordered rightly by scores of this reliability.

    1/2 + asin(sqrt(r))/pi for normally distributed true scores and errors; with two reliabilities, the chance that
    two such noisy rankings agree on a pair, 1/2 + asin(sqrt(r1 r2))/pi.
    """
    product = np.prod(np.array(np.broadcast_arrays(*reliabilities)), axis=0)
    return 0.5 + np.arcsin(np.sqrt(np.clip(product, 0.0, 1.0))) / np.pi
