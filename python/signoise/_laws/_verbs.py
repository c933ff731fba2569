"""The verbs `fit_scaling_law`, `predict` and `laws`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from .._options import as_columns
from .._scores import Filter, Scores
from ._columns import Checkpoints, Repeats
from ._fitted import Bounds, Places, fit_all
from ._law import Law, Objective, find_law, registry
from ._published import Coefficients, one_source, predictions
from ._status import check_strict
from ._uncertainty import Interval


def fit_scaling_law(
    scores: Scores,
    law: str | Law = "chinchilla",
    *,
    x: str | Sequence[str] | None = None,
    y: str | None = None,
    by: str | Sequence[str] | None = None,
    where: Filter = None,
    objective: Objective | None = None,
    delta: float | None = None,
    overestimate_penalty: float = 1.0,
    bounds: Bounds | None = None,
    checkpoints: Checkpoints = "all",
    repeats: Repeats = "all",
    cluster: str | None = None,
    scale: str | None = None,
    interval: Interval | None = None,
    n_resamples: int = 1000,
    rng_seed: int = 0,
    confidence_level: float = 0.95,
    check_units: bool = True,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Fit a scaling law to scores, with intervals of its parameters.

    Parameters
    ----------
    scores
        A score table in any form that verbs take, or any table (frame, file of Parquet, Arrow, CSV, JSON) with the
        columns `x` and `y`: a CSV of runs needs no task.
    law
        Name of a law (see `laws`), or a `Law`.
    x
        Columns of the law's inputs, in its order. Default: columns of their names (``params``, ``tokens``, ...), or
        what they can be computed from (``flops`` = 6 x params x tokens).
    y
        What is fitted: a column of the table, or a metric of a score table. Default: every metric of a score table.
    by
        Columns whose values are fitted apart. Default: ``("task", "metric")`` of a score table, nothing of others.
    where
        Rows to take: a Polars expression or SQL predicate.
    objective
        What is minimised: ``"huber_log"`` (Huber's function of log fitted - log observed, summed), ``"lsq"`` (sum of
        squares), ``"lsq_log"``, ``"huber"``, ``"l1"``, ``"l1_log"``. Default: the law's.
    delta
        Where Huber's function becomes linear. Default: the law's, 1e-3.
    overestimate_penalty
        Factor of residuals where the law lies above the observation: above 1 the fit runs along the lower edge.
    bounds
        ``{"alpha": (0.2, 0.5)}``; None leaves a side open, equal ones hold the parameter.
    checkpoints
        ``"all"`` rows of a run, or its ``"last"`` one by tokens (or step).
    repeats
        Of several values at one place ``"all"``, the ``"best"`` (highest of what is better when higher, else lowest) or
        their ``"mean"``.
    cluster
        Column that says which points depend on each other. Default: the run.
    scale
        Column that says on which rung a point stands. Default: params, or the first input.
    interval
        ``"bootstrap"`` of whole runs (percentiles), ``"jackknife"`` (one run left out at a time, Student's t),
        ``"parametric"`` (normal errors), ``"profile"`` (of sums of squares), ``"none"``. Default: bootstrap, with fewer
        than 10 runs jackknife.
    n_resamples, rng_seed
        Draws of the bootstrap, and their seed.
    confidence_level
        Of the intervals.
    check_units
        Refuse params, tokens and flops whose size says that they are in other units.
    columns
        ``{"theirs": "ours"}`` for columns that are not recognised.
    strict
        Raise `FitError` where a fit failed.
    threads
        Threads of the fit; the result is the same for any number.

    Returns
    -------
    DataFrame
        A row for each group and parameter: by-columns; ``law, parameter, estimate, low, high, at_bound``; ``objective``
        (the lowest sum), ``n_points, n_clusters, n_scales``; ``n_starts`` and ``n_starts_agree`` (whose sum is at most
        1e-4 of it above the lowest); ``residual_sd`` (in the space of the objective, n - p in the denominator);
        ``aicc, bic`` (of sums of squares, normal errors in that space); ``status, flags, signature``.

    Undefined when
        Fewer distinct points than parameters (``too_few``); no start has a finite sum, or the search ended before it
        settled (``not_converged``): all numbers of the fit are null. A parameter at
        its bound (``at_bound``) has an estimate, whose interval means little.

    Raises
    ------
    OptionError
        An unknown law, objective or parameter; logarithms of values that are not above 0.
    SchemaError
        A column that is not there, is no number, or is in units that cannot be right.
    FitError
        With `strict`, where a status is not ``ok``.

    Notes
    -----
    The best objective over all starts counts, never what an optimiser says of itself. ``few_scales``: the points stand
    at fewer distinct places than the law has parameters, plus one, or on fewer than three rungs. ``collinear``: params
    and tokens grow together, and their exponents stand for each other. ``rung_effects``: residuals differ between rungs
    beyond chance; intervals then take whole rungs. ``one_start``: no other start came as low as the best.
    ``not_unique``: another start ends as low at another curve (two recipes at each size, one above the other, leave
    every curve between them the same sum of absolute residuals; take an objective of squares, or fit them apart).
    ``bits_and_nats``: the residuals fall into two heaps as far apart as bits are from nats, and conversion of one makes
    the fit far better: some scores are probably in the other unit.
    Intervals take the form for granted: no interval knows that another law may be the true one.

    References
    ----------
    Hoffmann et al. 2022, arXiv 2203.15556, D.2; Besiroglu et al. 2024, arXiv 2404.10102 (bootstrap); of each law its
    ``source``.

    Examples
    --------
    >>> import polars as pl
    >>> import signoise as sn
    >>> runs = pl.DataFrame({"params": [1e8, 4e8, 1e9, 4e9] * 3, "tokens": [2e9] * 4 + [8e9] * 4 + [3.2e10] * 4})
    >>> runs = runs.with_columns(loss=1.7 + 400 * pl.col("params") ** -0.34 + 410 * pl.col("tokens") ** -0.28)
    >>> fit = sn.fit_scaling_law(runs, "chinchilla", y="loss", interval="none")
    >>> fit.filter(parameter="alpha")["estimate"].round(3).item()
    0.34
    """
    fitted = fit_all(
        scores,
        law,
        x=x,
        y=y,
        by=by,
        where=where,
        objective=objective,
        delta=delta,
        overestimate_penalty=overestimate_penalty,
        bounds=bounds,
        checkpoints=checkpoints,
        repeats=repeats,
        cluster=cluster,
        scale=scale,
        interval=interval,
        n_resamples=n_resamples,
        rng_seed=rng_seed,
        confidence_level=confidence_level,
        check_units=check_units,
        columns=columns,
        strict=strict,
        threads=threads,
    )
    table = fitted.parameters()
    fitted.check_strict(table, strict=strict)
    return table


def predict(
    scores: Scores | None = None,
    law: str | Law = "chinchilla",
    *,
    at: Places,
    parameters: Coefficients | None = None,
    x: str | Sequence[str] | None = None,
    y: str | None = None,
    by: str | Sequence[str] | None = None,
    where: Filter = None,
    objective: Objective | None = None,
    delta: float | None = None,
    overestimate_penalty: float = 1.0,
    bounds: Bounds | None = None,
    checkpoints: Checkpoints = "all",
    repeats: Repeats = "all",
    cluster: str | None = None,
    scale: str | None = None,
    interval: Interval | None = None,
    n_resamples: int = 1000,
    target_noise: float = 0.0,
    rng_seed: int = 0,
    confidence_level: float = 0.95,
    check_units: bool = True,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Fit a scaling law and say what it predicts, with a band for the curve and an interval for a new run.

    Parameters
    ----------
    scores, law, x, y, by, where, objective, delta, overestimate_penalty, bounds
        As in `fit_scaling_law`; no scores where `parameters` are given.
    parameters
        Coefficients in place of a fit: ``{"c": 1.79, ...}``, or the name of a set of the law's that was published (see
        `laws`). Then there are no intervals, and of the other options `at`, `x` and `y` count.
    checkpoints, repeats, cluster, scale, interval, n_resamples, rng_seed, confidence_level, check_units, columns
        As in `fit_scaling_law`.
    strict, threads
        As in `fit_scaling_law`. ``interval="profile"`` is of parameters alone.
    at
        Where: ``{"params": 7e9, "tokens": 4e12}``, a list of such, or a table with these columns (and the `by` columns
        where places differ between groups). A column named as `y` or ``actual`` holds what came out.
    target_noise
        Standard deviation of the target's own checkpoint noise, in the space of the residuals (of logarithms:
        relative), where the residuals of the fit do not hold it already.

    Returns
    -------
    DataFrame
        A row for each group and place: by-columns, the inputs; ``predicted``; ``low, high`` (where the curve is),
        ``prediction_low, prediction_high`` (where a new observation falls: curve, residual and target noise); ``actual,
        relative_error`` = (predicted - actual)/abs(actual); ``extrapolation`` (how many times beyond the fitted range
        the farthest input lies; 1 inside); ``status, flags, signature``.

    Undefined when
        As the fit; intervals without degrees of freedom.

    Raises
    ------
    OptionError, SchemaError, FitError
        As `fit_scaling_law`; `at` without one of the inputs; neither scores nor parameters, or both.

    Notes
    -----
    Both intervals are value -/+ t s in the space of the residuals: s^2 is the variance of the curve over the
    replicates, for a new observation plus the residual variance within and between runs. They are conditional on the
    form. An extrapolation of more than ten times is flagged ``extrapolated``.

    References
    ----------
    As `fit_scaling_law`.

    Examples
    --------
    >>> import polars as pl
    >>> import signoise as sn
    >>> runs = pl.DataFrame({"params": [1e8, 4e8, 1e9, 4e9] * 3, "tokens": [2e9] * 4 + [8e9] * 4 + [3.2e10] * 4})
    >>> runs = runs.with_columns(loss=1.7 + 400 * pl.col("params") ** -0.34 + 410 * pl.col("tokens") ** -0.28)
    >>> out = sn.predict(runs, "chinchilla", y="loss", at={"params": 7e9, "tokens": 1.4e11}, interval="none")
    >>> out["predicted"].round(3).item()
    2.19
    >>> batch = sn.predict(law="step_law_batch", parameters="Step Law", at={"tokens": 1e11})["predicted"]
    >>> (batch / 1e6).round(3).item()
    1.108
    """
    one_source(scores, parameters, "predict")
    if parameters is not None:
        names = () if x is None else as_columns(x)
        table = predictions(find_law(law), parameters, at, names, y)
        check_strict(table, (), strict=strict)
        return table
    assert scores is not None
    fitted = fit_all(
        scores,
        law,
        x=x,
        y=y,
        by=by,
        where=where,
        objective=objective,
        delta=delta,
        overestimate_penalty=overestimate_penalty,
        bounds=bounds,
        checkpoints=checkpoints,
        repeats=repeats,
        cluster=cluster,
        scale=scale,
        interval=interval,
        n_resamples=n_resamples,
        rng_seed=rng_seed,
        confidence_level=confidence_level,
        check_units=check_units,
        columns=columns,
        strict=strict,
        threads=threads,
    )
    table = fitted.predictions(at, target_noise)
    fitted.check_strict(table, strict=strict)
    return table


def laws() -> pl.DataFrame:
    """The laws that can be fitted: those that ship, and those registered in this process.

    Returns
    -------
    DataFrame
        A row a law: ``law, question, formula, inputs, y, parameters`` (in the order of the fit), ``n_starts``
        (null where they depend on the data), ``objective, source``, and ``published``: names of sets of
        coefficients that `predict` and `compute_optimal` take.

    Examples
    --------
    >>> import signoise as sn
    >>> sn.laws().filter(law="chinchilla")["n_starts"].item()
    4500
    """
    rows = []
    for law in registry().values():
        grid = None if law.starts else int(np.prod([len(p.starts) for p in law.parameters]))
        rows.append(
            {
                "law": law.name,
                "question": law.question,
                "formula": law.formula,
                "inputs": ", ".join(f"{name} ({unit})" for name, unit in law.inputs.items()),
                "y": law.y,
                "parameters": ", ".join(law.names),
                "n_starts": grid,
                "objective": law.objective,
                "source": law.source,
                "published": list(law.published),
            }
        )
    return pl.DataFrame(rows, schema_overrides={"n_starts": pl.Int64, "published": pl.List(pl.String)})
