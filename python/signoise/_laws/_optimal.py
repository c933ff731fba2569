"""The verb `compute_optimal`: how a law splits compute between parameters and tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from .._errors import OptionError
from .._options import signature
from .._scores import Filter, Scores
from .._status import result_column
from ._columns import Checkpoints, Repeats
from ._fit import Fit, outer, values
from ._fitted import Bounds, beside, fit_all
from ._forms.chinchilla import FORMULA
from ._law import Floats, Law, Objective, find_law
from ._points import extrapolation
from ._published import Coefficients, fitted_set, one_source, stamp
from ._status import UNDEFINED, status_of
from ._uncertainty import Interval, Spread, derived_interval

#: The amounts that a law may speak of where C = 6 N D says how they go together.
_AMOUNTS = ("params", "tokens", "tokens_per_param", "flops")
#: Tokens per parameter among which the search looks, as powers of ten.
_RATIOS = (-6.0, 8.0)
_GRID = 2001
_REFINEMENTS = 60
#: Step in log compute over which the exponent is taken where there is no closed form.
_STEP = 0.05


@dataclass(frozen=True)
class _Optimum:
    """Where the law is best for each set of parameters and each budget: (n_sets, n_budgets)."""

    params: Floats
    tokens: Floats
    value: Floats
    exponent: Floats


def compute_optimal(
    scores: Scores | None = None,
    law: str | Law = "chinchilla",
    *,
    flops: float | Sequence[float],
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
    rng_seed: int = 0,
    confidence_level: float = 0.95,
    check_units: bool = True,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Split a training budget between parameters and tokens as a law has it, C = 6 N D.

    Parameters
    ----------
    scores
        As in `fit_scaling_law`; None where `parameters` are given.
    law
        A law of ``params`` and ``tokens``, or of these by way of ``tokens_per_param`` or ``flops``.
    flops
        Compute of the training run, C; one budget or several.
    parameters
        Published coefficients in place of a fit, ``{"A": 406.4, ...}``, or the name of a set of the law's (see `laws`):
        then there are no intervals.
    x, y, by, where, objective, delta, overestimate_penalty, bounds
        As in `fit_scaling_law`.
    checkpoints, repeats, cluster, scale, interval, n_resamples, rng_seed, confidence_level, check_units, columns
        As in `fit_scaling_law`. ``interval="profile"`` is of parameters alone: a bootstrap takes its place.
    strict, threads
        As in `fit_scaling_law`.

    Returns
    -------
    DataFrame
        A row for each group and budget: by-columns; ``law, flops``; ``params, tokens, tokens_per_param`` of the best
        split, ``predicted`` there, and ``exponent`` d ln params / d ln flops, each but the law and the budget with
        ``_low, _high``; ``extrapolation`` (how many times beyond the fitted range the split lies; null without a fit);
        ``status, flags, signature``.

    Undefined when
        As the fit; the law falls (or rises) along the whole budget, so that no split is best (``no_optimum``).

    Raises
    ------
    OptionError
        A law of other amounts; parameters that are missing or unknown; neither scores nor parameters; a budget that is
        not above 0.
    SchemaError, FitError
        As `fit_scaling_law`.

    Notes
    -----
    With L = E + A N^-alpha + B D^-beta and G = (alpha A / (beta B))^(1 / (alpha + beta)): N = G (C/6)^(beta / (alpha +
    beta)), D = (C/6) / N. Other laws: the lowest value (of accuracies the highest) on 2,001 splits of 1e-6 to 1e8
    tokens per parameter, then golden sections; replicates take the vertex of the parabola through the best three.
    What counts as a parameter is what was fitted: with or without embeddings. Intervals hold for this form alone, and
    nothing is said of how flat the optimum is: look at ``predict`` on both sides.

    References
    ----------
    Hoffmann et al. 2022, arXiv 2203.15556, equation 4.

    Examples
    --------
    >>> import polars as pl
    >>> import signoise as sn
    >>> hoffmann = {"A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28, "E": 1.69}
    >>> out = sn.compute_optimal(parameters=hoffmann, flops=5.76e23)
    >>> out.select((pl.col("params", "tokens") / 1e9).round(1)).row(0)
    (32.2, 2982.3)
    """
    chosen = find_law(law)
    _check_law(chosen)
    budgets = _budgets(flops)
    one_source(scores, parameters, "compute_optimal")
    if parameters is not None:
        found = optimum(chosen, fitted_set(chosen, parameters), budgets)
        table = _rows(chosen, budgets, found, None, confidence_level)
        return table.with_columns(signature=pl.lit(stamp("compute_optimal", chosen, parameters)))
    assert scores is not None
    fitted = fit_all(
        scores,
        chosen,
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
    tables = []
    for index, (fit, spread) in enumerate(zip(fitted.fits, fitted.spreads, strict=True)):
        sets = np.concatenate([fit.inner[None], spread.replicates])
        found = optimum(fit.law, sets, budgets, threads)
        tables.append(
            beside(
                fitted.grouped.label(index),
                _rows(fit.law, budgets, found, (fit, spread), confidence_level),
            )
        )
    told = signature("compute_optimal", **fitted.settings)
    table = pl.concat(tables).with_columns(signature=pl.lit(told))
    fitted.check_strict(table, strict=strict)
    return table


# --- the optimum ------------------------------------------------------------------------------------


def optimum(law: Law, sets: Floats, budgets: Floats, threads: int | None = None) -> _Optimum:
    """The best split of each budget for each set of fitted parameters; NaN where none is best."""
    if law.formula == FORMULA:
        return _closed_form(outer(law, sets), law.names, budgets)
    params, value = _search(law, sets, budgets, threads)
    up, down = (_search(law, sets, budgets * np.exp(sign * _STEP), threads)[0] for sign in (1, -1))
    return _Optimum(params, budgets / (6 * params), value, np.log(up / down) / (2 * _STEP))


def _closed_form(sets: Floats, names: Sequence[str], budgets: Floats) -> _Optimum:
    a, b, alpha, beta, e = (sets[:, names.index(name), None] for name in ("A", "B", "alpha", "beta", "E"))
    with np.errstate(all="ignore"):
        sound = (a > 0) & (b > 0) & (alpha > 0) & (beta > 0)
        log_g = np.log(alpha * a / (beta * b)) / (alpha + beta)
        exponent = np.where(sound, beta / (alpha + beta), np.nan)
        params = np.exp(log_g + exponent * np.log(budgets / 6))
        tokens = budgets / (6 * params)
        value = e + a * params**-alpha + b * tokens**-beta
    return _Optimum(params, tokens, value, np.broadcast_to(exponent, params.shape))


def _search(law: Law, sets: Floats, budgets: Floats, threads: int | None) -> tuple[Floats, Floats]:
    """Params and value at the best split, from a grid of splits."""
    sign = -1.0 if law.rises(None) else 1.0
    params, best = (np.full((len(sets), len(budgets)), np.nan) for _ in range(2))
    for column, budget in enumerate(budgets):
        # D/N = C / (6 N^2): the grid is even in log N.
        most, least = (0.5 * (np.log(budget / 6) - np.log(10) * ratio) for ratio in _RATIOS)
        log_n = np.linspace(least, most, _GRID)
        heights = sign * values(law, sets, _split(law, log_n, budget), _GRID, threads)
        heights = np.where(np.isfinite(heights), heights, np.inf)
        at = np.argmin(heights, axis=1)
        inside = np.flatnonzero((at > 0) & (at < _GRID - 1))
        left, middle, right = (heights[inside, at[inside] + shift] for shift in (-1, 0, 1))
        with np.errstate(all="ignore"):
            shift = 0.5 * (left - right) / (left - 2 * middle + right)
            shift = np.where(np.isfinite(shift), shift, np.nan)
        params[inside, column] = np.exp(log_n[at[inside]] + shift * (log_n[1] - log_n[0]))
        best[inside, column] = sign * (middle - 0.25 * (left - right) * shift)
        if len(inside) and inside[0] == 0:
            around = log_n[at[0] - 1], log_n[at[0] + 1]
            params[0, column], best[0, column] = _golden(law, sets[:1], budget, around, sign, threads)
    return params, best


def _golden(
    law: Law, parameters: Floats, budget: float, around: tuple[float, float], sign: float, threads: int | None
) -> tuple[float, float]:
    """Golden sections in log N between two splits."""

    def height(log_n: float) -> float:
        return float(sign * values(law, parameters, _split(law, np.array([log_n]), budget), 1, threads)[0, 0])

    share = 0.5 * (np.sqrt(5) - 1)
    low, high = around
    inner_low, inner_high = high - share * (high - low), low + share * (high - low)
    at_low, at_high = height(inner_low), height(inner_high)
    for _ in range(_REFINEMENTS):
        if at_low <= at_high:
            high, inner_high, at_high = inner_high, inner_low, at_low
            inner_low = high - share * (high - low)
            at_low = height(inner_low)
        else:
            low, inner_low, at_low = inner_low, inner_high, at_high
            inner_high = low + share * (high - low)
            at_high = height(inner_high)
    middle = 0.5 * (low + high)
    return float(np.exp(middle)), sign * height(middle)


def _split(law: Law, log_params: Floats, budget: float) -> dict[str, Floats]:
    """The variables of a law on splits of a budget."""
    params = np.exp(log_params)
    tokens = budget / (6 * params)
    amounts = {
        "params": params,
        "tokens": tokens,
        "tokens_per_param": tokens / params,
        "flops": np.full_like(params, budget),
    }
    return {name: amounts[name] for name in law.variables}


# --- options ----------------------------------------------------------------------------------------


def _check_law(law: Law) -> None:
    names = tuple(law.variables)
    if law.prepare is not None or len(names) < 2 or not set(names) <= set(_AMOUNTS):
        raise OptionError(
            f"law {law.name!r} is of {', '.join(law.inputs)}: a split of compute needs a law of params and tokens "
            "(or tokens_per_param, flops with one of them)"
        )


def _budgets(flops: float | Sequence[float]) -> Floats:
    budgets = np.atleast_1d(np.asarray(flops, dtype=np.float64))
    if budgets.ndim != 1 or not len(budgets) or not (np.isfinite(budgets) & (budgets > 0)).all():
        raise OptionError(f"flops must be a budget above 0 or several such, got {flops!r}")
    return budgets


# --- rows -------------------------------------------------------------------------------------------


def _rows(
    law: Law, budgets: Floats, found: _Optimum, fitted: tuple[Fit, Spread] | None, confidence_level: float
) -> pl.DataFrame:
    """A row a budget; the first set of parameters is the estimate, the others replicates."""
    n = len(budgets)
    status, flags = status_of(*fitted) if fitted else ("ok", ())
    known = status not in UNDEFINED
    quantities = {
        "params": found.params,
        "tokens": found.tokens,
        "tokens_per_param": found.tokens / found.params,
        "predicted": found.value,
        "exponent": found.exponent,
    }
    columns = [pl.Series("law", [law.name] * n), pl.Series("flops", budgets)]
    for name, both in quantities.items():
        estimate = both[0] if known else np.full(n, np.nan)
        low = high = np.full(n, np.nan)
        if fitted:
            low, high = derived_interval(fitted[1], estimate, both[1:], confidence_level)
        columns += [
            result_column(name, estimate),
            result_column(f"{name}_low", low),
            result_column(f"{name}_high", high),
        ]
    far = np.full(n, np.nan)
    if fitted and known:
        split = [_split(law, np.log(found.params[0, [i]]), budget) for i, budget in enumerate(budgets)]
        variables = {name: np.concatenate([one[name] for one in split]) for name in law.variables}
        far = np.where(np.isfinite(found.params[0]), extrapolation(fitted[0].points, variables, n), np.nan)
    missing = known & ~np.isfinite(found.params[0])
    return pl.DataFrame(
        [
            *columns,
            result_column("extrapolation", far),
            pl.Series("status", ["no_optimum" if gone else status for gone in missing]),
            pl.Series(
                "flags",
                [[*flags, *(["extrapolated"] if ratio > 10 else [])] for ratio in far],
                dtype=pl.List(pl.String),
            ),
        ]
    )
