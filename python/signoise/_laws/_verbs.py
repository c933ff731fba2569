"""The verbs `fit_scaling_law`, `predict` and `laws`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from .._errors import FitError, OptionError, SchemaError
from .._options import as_columns, check_choice, check_count, check_level, check_threads, signature
from .._schema import did_you_mean
from .._scores import Filter, Scores
from .._status import result_column
from ._fit import Fit, fit_groups, settings_of
from ._law import Floats, Law, Objective, find_law, registry
from ._points import Checkpoints, Grouped, Repeats, Source, read_points, variables_of
from ._status import REMEDIES, status_of
from ._uncertainty import INTERVALS, Interval, Spread, parameter_interval, prediction_intervals, spread_of

#: ``{"alpha": (0.3, 0.4)}``; None leaves a side open, equal ones hold the parameter.
Bounds = Mapping[str, tuple[float | None, float | None]]
#: Places to predict at: one mapping of inputs, several, or a table.
Places = Mapping[str, float] | Sequence[Mapping[str, float]] | pl.DataFrame


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
        Columns of the law's inputs, in its order. Default: columns of their names (``params``, ``tokens``, ...), or what
        they can be computed from (``flops`` = 6 x params x tokens).
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
        Of several values at one place ``"all"``, the ``"best"`` (lowest) or their ``"mean"``.
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
        Fewer points than parameters (``too_few``); no start has a finite sum, or the search ended before it settled
        (``not_converged``). A parameter at its bound (``at_bound``) has an estimate, whose interval means little.

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
    at fewer distinct places than the law has parameters, plus one, or on fewer than three rungs. ``collinear``: params and
    tokens grow together, and their exponents stand for each other. ``rung_effects``: residuals differ between rungs beyond chance;
    intervals then take whole rungs. ``one_start``: no other start came as low as the best.
    Intervals take the form for granted: no interval knows that another law may be the true one.

    References
    ----------
    Hoffmann et al. 2022, arXiv 2203.15556, D.2; Besiroglu et al. 2024, arXiv 2404.10102 (bootstrap); methods of each law
    in its ``source``.

    Examples
    --------
    >>> import polars as pl
    >>> import signoise as sn
    >>> runs = pl.DataFrame({"params": [1e8, 2e8, 4e8, 1e9, 2e9, 4e9] * 2, "tokens": [4e9] * 6 + [3.2e10] * 6})
    >>> runs = runs.with_columns(loss=1.7 + 400 * pl.col("params") ** -0.34 + 410 * pl.col("tokens") ** -0.28)
    >>> fit = sn.fit_scaling_law(runs, "chinchilla", y="loss", interval="none")
    >>> fit.filter(parameter="alpha")["estimate"].round(3).item()
    0.34
    """
    chosen = _law_of(law, bounds)
    _check(interval, n_resamples, confidence_level, threads)
    settings = settings_of(chosen, objective, delta, overestimate_penalty, threads)
    source = Source(
        scores,
        _names(x),
        y,
        by=None if by is None else as_columns(by),
        where=where,
        cluster=cluster,
        scale=scale,
        checkpoints=checkpoints,
        repeats=repeats,
        check_units=check_units,
        columns=columns,
        strict=strict,
        threads=threads,
    )
    grouped = read_points(source, chosen)
    fits = fit_groups(chosen, grouped.groups, settings)
    spreads = [
        spread_of(fit, grouped.label(index), interval, n_resamples, rng_seed)
        for index, fit in enumerate(fits)
    ]
    stamp = signature(
        "fit_scaling_law",
        law=chosen.name,
        objective=settings.objective,
        delta=settings.delta if settings.objective.startswith("huber") else None,
        interval=interval or "auto",
        resamples=n_resamples,
        rng=rng_seed,
        level=confidence_level,
        penalty=None if overestimate_penalty == 1 else overestimate_penalty,
        bounds=None if bounds is None else ",".join(sorted(bounds)),
        checkpoints=checkpoints,
        repeats=repeats,
    )
    table = _fit_rows(grouped, fits, spreads, confidence_level, stamp)
    _check_strict(table, grouped.by, strict=strict)
    return table


def predict(
    scores: Scores,
    law: str | Law = "chinchilla",
    *,
    at: Places,
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
    scores, law, x, y, by, where, objective, delta, overestimate_penalty, bounds, checkpoints, repeats, cluster, scale, \
interval, n_resamples, rng_seed, confidence_level, check_units, columns, strict, threads
        As in `fit_scaling_law`. ``interval="profile"`` is of parameters alone.
    at
        Where: ``{"params": 7e9, "tokens": 4e12}``, a list of such, or a table with these columns (and the `by` columns
        where places differ between groups). A column named as `y` or ``actual`` holds what came out.
    target_noise
        Standard deviation of the target's own checkpoint noise, in the space of the residuals (of logarithms: relative),
        where the residuals of the fit do not hold it already.

    Returns
    -------
    DataFrame
        A row for each group and place: by-columns, the inputs; ``predicted``; ``low, high`` (where the curve is),
        ``prediction_low, prediction_high`` (where a new observation falls: curve, residual and target noise); ``actual,
        relative_error`` = (predicted - actual)/\\|actual\\|; ``extrapolation`` (how many times beyond the fitted range the
        farthest input lies; 1 inside); ``status, flags, signature``.

    Undefined when
        As the fit; intervals without degrees of freedom.

    Raises
    ------
    OptionError, SchemaError, FitError
        As `fit_scaling_law`; `at` without one of the inputs.

    Notes
    -----
    Both intervals are value -/+ t s in the space of the residuals: s^2 is the variance of the curve over the replicates,
    for a new observation plus the residual variance within and between runs. They are conditional on the form.
    An extrapolation of more than ten times is flagged ``extrapolated``.

    References
    ----------
    As `fit_scaling_law`.

    Examples
    --------
    >>> import polars as pl
    >>> import signoise as sn
    >>> runs = pl.DataFrame({"params": [1e8, 2e8, 4e8, 1e9, 2e9, 4e9] * 2, "tokens": [4e9] * 6 + [3.2e10] * 6})
    >>> runs = runs.with_columns(loss=1.7 + 400 * pl.col("params") ** -0.34 + 410 * pl.col("tokens") ** -0.28)
    >>> out = sn.predict(runs, "chinchilla", y="loss", at={"params": 7e9, "tokens": 1.4e11}, interval="none")
    >>> out["predicted"].round(3).item()
    2.2
    """
    chosen = _law_of(law, bounds)
    _check(interval, n_resamples, confidence_level, threads)
    if not (np.isfinite(target_noise) and target_noise >= 0):
        raise OptionError(f"target_noise must be 0 or above, got {target_noise!r}")
    settings = settings_of(chosen, objective, delta, overestimate_penalty, threads)
    source = Source(
        scores,
        _names(x),
        y,
        by=None if by is None else as_columns(by),
        where=where,
        cluster=cluster,
        scale=scale,
        checkpoints=checkpoints,
        repeats=repeats,
        check_units=check_units,
        columns=columns,
        strict=strict,
        threads=threads,
    )
    grouped = read_points(source, chosen)
    names = _names(x) or tuple(chosen.inputs)
    places = _places(at, names, grouped, y)
    fits = fit_groups(chosen, grouped.groups, settings)
    stamp = signature(
        "predict",
        law=chosen.name,
        objective=settings.objective,
        delta=settings.delta if settings.objective.startswith("huber") else None,
        interval=interval or "auto",
        resamples=n_resamples,
        rng=rng_seed,
        level=confidence_level,
        noise=target_noise or None,
        checkpoints=checkpoints,
        repeats=repeats,
    )
    tables = []
    for index, fit in enumerate(fits):
        label = grouped.label(index)
        here = places if not grouped.by else _of_group(places, label)
        spread = spread_of(fit, label, interval, n_resamples, rng_seed)
        if here.height:
            tables.append(_prediction_rows(fit, spread, label, here, names, confidence_level, target_noise))
    if not tables:
        raise SchemaError("at: no place belongs to any group; look at the values of the by-columns")
    table = pl.concat(tables).with_columns(signature=pl.lit(stamp))
    _check_strict(table, grouped.by, strict=strict)
    return table


def laws() -> pl.DataFrame:
    """The laws that can be fitted: those that ship, and those registered in this process.

    Returns
    -------
    DataFrame
        A row a law: ``law, question, formula, inputs, y, parameters`` (in the order of the fit), ``n_starts`` (null where
        they depend on the data), ``objective, source``.

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
            }
        )
    return pl.DataFrame(rows, schema_overrides={"n_starts": pl.Int64})


# --- options ----------------------------------------------------------------------------------------


def _law_of(law: str | Law, bounds: Bounds | None) -> Law:
    found = find_law(law)
    return found.with_bounds(bounds) if bounds else found


def _names(x: str | Sequence[str] | None) -> tuple[str, ...]:
    return () if x is None else as_columns(x)


def _check(interval: object, n_resamples: int, confidence_level: float, threads: int | None) -> None:
    if interval is not None:
        check_choice("interval", interval, INTERVALS)
    check_count("n_resamples", n_resamples, 2)
    check_level(confidence_level)
    check_threads(threads)


# --- rows -------------------------------------------------------------------------------------------


def _fit_rows(
    grouped: Grouped, fits: Sequence[Fit], spreads: Sequence[Spread], confidence_level: float, stamp: str
) -> pl.DataFrame:
    """A row for each group and parameter."""
    tables = []
    for index, (fit, spread) in enumerate(zip(fits, spreads, strict=True)):
        names = fit.law.names
        status, flags = status_of(fit, spread)
        known = fit.found and status != "too_few"
        low, high = parameter_interval(fit, spread, confidence_level)
        estimates = fit.estimates if known else np.full(len(names), np.nan)
        at_bound = fit.at_bound if known else np.zeros(len(names), dtype=bool)
        n, p = fit.points.n, fit.n_free
        sse = float(np.sum(fit.residuals() ** 2)) if known else np.nan
        sd = np.sqrt(sse / (n - p)) if known and n > p else np.nan
        aicc, bic = _criteria(sse, n, p) if known and fit.settings.squares else (np.nan, np.nan)
        label = grouped.label(index)
        part = pl.DataFrame(
            [
                pl.Series("law", [fit.law.name] * len(names)),
                pl.Series("parameter", names),
                result_column("estimate", estimates),
                result_column("low", low),
                result_column("high", high),
                pl.Series("at_bound", at_bound),
                result_column("objective", np.full(len(names), fit.objective if known else np.nan)),
                pl.Series("n_points", np.full(len(names), n)),
                pl.Series("n_clusters", np.full(len(names), spread.n_clusters)),
                pl.Series("n_scales", np.full(len(names), int(fit.points.scale.max()) + 1)),
                pl.Series("n_starts", np.full(len(names), fit.n_starts)),
                pl.Series("n_starts_agree", np.full(len(names), fit.n_agree)),
                result_column("residual_sd", np.full(len(names), sd)),
                result_column("aicc", np.full(len(names), aicc)),
                result_column("bic", np.full(len(names), bic)),
                pl.Series("status", [status] * len(names)),
                pl.Series("flags", [list(flags)] * len(names), dtype=pl.List(pl.String)),
            ]
        )
        tables.append(_beside(label, part))
    return pl.concat(tables).with_columns(signature=pl.lit(stamp))


def _beside(label: pl.DataFrame, part: pl.DataFrame) -> pl.DataFrame:
    """The by-columns of a group in front of its rows."""
    if not label.columns:
        return part
    repeated = label.select(pl.all().repeat_by(part.height).explode())
    return pl.concat([repeated, part], how="horizontal")


def _criteria(sse: float, n: int, p: int) -> tuple[float, float]:
    """AICc and BIC under normal errors, the variance being one more parameter."""
    k = p + 1
    if sse <= 0 or n - k - 1 <= 0:
        return np.nan, np.nan
    deviance = n * (np.log(2 * np.pi * sse / n) + 1)
    return deviance + 2 * k + 2 * k * (k + 1) / (n - k - 1), deviance + k * np.log(n)


def _prediction_rows(
    fit: Fit,
    spread: Spread,
    label: pl.DataFrame,
    places: pl.DataFrame,
    names: Sequence[str],
    confidence_level: float,
    target_noise: float,
) -> pl.DataFrame:
    inputs = {inner: places[name].to_numpy() for inner, name in zip(fit.law.inputs, names, strict=True)}
    n = places.height
    status, flags = status_of(fit, spread)
    variables = variables_of(fit.law, inputs, np.zeros(n, dtype=np.int64))
    found = prediction_intervals(fit, spread, variables, n, confidence_level, target_noise)
    if status in ("too_few", "not_converged") and not fit.found:
        found = {name: np.full(n, np.nan) for name in found}
    actual = places["__actual"].to_numpy()
    with np.errstate(all="ignore"):
        error = (found["predicted"] - actual) / np.abs(actual)
    ratio = _extrapolation(fit, variables, n)
    all_flags = [[*flags, *(["extrapolated"] if far > 10 else [])] for far in ratio]
    part = pl.DataFrame(
        [
            *(places[name] for name in names),
            *(result_column(name, found[name]) for name in found),
            result_column("actual", actual),
            result_column("relative_error", error),
            result_column("extrapolation", ratio),
            pl.Series("status", [status] * n),
            pl.Series("flags", all_flags, dtype=pl.List(pl.String)),
        ]
    )
    return _beside(label, part)


def _extrapolation(fit: Fit, variables: Mapping[str, Floats], n: int) -> Floats:
    """How many times beyond the fitted range the farthest variable lies."""
    ratio = np.ones(n)
    for name, fitted in fit.points.variables.items():
        with np.errstate(all="ignore"):
            for far in (variables[name] / fitted.max(), fitted.min() / variables[name]):
                ratio = np.fmax(ratio, np.where(np.isfinite(far), far, 1.0))
    return ratio


def _places(at: Places, names: Sequence[str], grouped: Grouped, y: str | None) -> pl.DataFrame:
    """The places to predict at, with a column of what came out."""
    if isinstance(at, pl.DataFrame):
        frame = at
    else:
        frame = pl.DataFrame([dict(at)] if isinstance(at, Mapping) else [dict(place) for place in at])
    if not frame.height:
        raise OptionError("at holds no place; give one, e.g. at={'params': 7e9, 'tokens': 4e12}")
    for name in names:
        if name not in frame.columns:
            raise OptionError(
                f"at: there is no {name!r}{did_you_mean(name, frame.columns)} (it has {', '.join(frame.columns)}); "
                f"a place needs {', '.join(names)}"
            )
    known = next((name for name in (y, "actual") if name and name in frame.columns), None)
    actual = pl.lit(None, dtype=pl.Float64) if known is None else pl.col(known).cast(pl.Float64)
    return frame.with_columns(
        *(pl.col(name).cast(pl.Float64) for name in names), actual.fill_null(np.nan).alias("__actual")
    )


def _of_group(places: pl.DataFrame, label: pl.DataFrame) -> pl.DataFrame:
    """The places of one group: all of them where they do not say whose they are."""
    shared = [name for name in label.columns if name in places.columns]
    return places.join(label.select(shared), on=shared, how="semi", nulls_equal=True) if shared else places


def _check_strict(table: pl.DataFrame, by: Sequence[str], *, strict: bool) -> None:
    """Raise for the first fit whose status is not ``ok``."""
    bad = table.filter(pl.col("status") != "ok")
    if strict and bad.height:
        row = bad.row(0, named=True)
        where = ", ".join(f"{name}={row[name]}" for name in by)
        raise FitError(
            f"the fit{' of ' * bool(where)}{where} is {row['status']!r}: {REMEDIES[row['status']]}"
        )
