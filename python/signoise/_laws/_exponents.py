"""The verb `exponent_test`: is an exponent what theory says, or the same in two domains?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from .._errors import OptionError
from .._kernels import kernels
from .._options import signature
from .._schema import as_expression, did_you_mean
from .._scores import Filter, Scores
from .._status import result_column
from .._told import Told
from ._columns import Checkpoints, Repeats
from ._fit import Fit, outer
from ._fitted import Bounds, beside, fit_all, shared_groups
from ._law import Floats, Law, Objective, find_law
from ._status import FLAGS, UNDEFINED, status_of
from ._uncertainty import Interval, Spread, replicate_variance, spread_of

#: What exponents are tested against where nobody says: errors that average out, and features in superposition.
AGAINST = {"variance-limited": 1.0}
_NUMBERS = ("estimate", "variance", "own_df", "value", "difference_variance", "df")
#: Statuses of fits, the gravest first.
_GRAVEST = ("too_few", "not_converged", "at_bound", "ok")


def exponent_test(
    scores: Scores,
    law: str | Law = "power_law",
    *,
    against: float | Mapping[str, float] | None = None,
    a: Filter = None,
    b: Filter = None,
    parameter: str = "alpha",
    x: str | Sequence[str] | None = None,
    y: str | None = None,
    by: str | Sequence[str] | None = None,
    where: Filter = None,
    objective: Objective | None = "lsq_log",
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
    """Test an exponent of a fitted law against stated values, or against that of another set of runs.

    ``t = (estimate - value)/s``, s the standard deviation over refits to drawn (or left-out) runs.

    Parameters
    ----------
    scores, law
        As in `fit_scaling_law`.
    against
        A value, or several by name: ``{"1/3": 1/3}``. Default: 1, which is the exponent of dataset size or width where
        errors average out (variance-limited), and that of width where features are in superposition.
    a, b
        The rows of two domains (expressions or SQL), whose exponents are compared in the place of values.
    parameter
        The law's parameter.
    objective
        As in `fit_scaling_law`, None for the law's own. Default: least squares of logarithms, whose refits tell the
        variance of its estimates from few runs on.
    x, y, by, where, delta, overestimate_penalty, bounds, checkpoints, repeats, cluster, scale
        As in `fit_scaling_law`.
    interval, n_resamples, rng_seed, confidence_level, check_units, columns, strict, threads
        As in `fit_scaling_law`; ``"profile"`` and ``"none"`` have no refits, and no test.

    Returns
    -------
    DataFrame
        A row for each group and value: by-columns; ``law, parameter, hypothesis`` (name of the value, or ``a = b``);
        ``estimate, low, high``; ``value`` (stated, or the estimate of b); ``difference`` (estimate - value) with
        ``difference_low, difference_high``; ``statistic, df, p_value`` (two-sided); ``paired`` (whether a and b hold
        the same runs, which are then drawn together); ``n_points, n_clusters``; ``status, flags, signature``.

    Undefined when
        As the fit, the gravest of both sides; no refits, or an exponent held by its bounds: no test.

    Raises
    ------
    OptionError
        `against` beside a and b, or one of these alone; no such parameter; as `fit_scaling_law`.
    SchemaError, FitError
        As `fit_scaling_law`; no group has both sides.

    Notes
    -----
    Student's t with the degrees of freedom of the runs; of two sets of different runs Welch's. Simulated with
    ``pure_power_law`` and a true exponent, 6 to 12 runs, 300 problems each: rejected at 5 % in .04 to .06, equal ones
    of two domains in .03 to .05 (``huber_log``: .09 to .11 with fewer than ten runs, .03 with twelve).
    A law with a constant has far wider limits of its exponent than one without, and the constant decides what the
    exponent is: that of ``pure_power_law`` is biased towards 0 where losses have a floor. An exponent that does not
    differ from 1 does not show a regime; one that differs excludes it. Resolution-limited exponents tell the dimension
    d of the data: alpha is about 4/d (Bahri et al.).

    References
    ----------
    Bahri et al. 2021, arXiv 2102.06701 (regimes); Liu et al. 2025, arXiv 2505.10465 (superposition); Yao et al. 2024,
    arXiv 2410.12360 (exponents in and out of the training domain); Welch 1947.

    Examples
    --------
    >>> import polars as pl
    >>> import signoise as sn
    >>> tokens = pl.Series("tokens", [1e8 * 2**i for i in range(12)])
    >>> noise = pl.Series([1.01, 0.99, 1.0, 0.99] * 3)
    >>> runs = pl.DataFrame({"tokens": tokens, "loss": 5e6 * tokens**-0.9 * noise})
    >>> out = sn.exponent_test(runs, "pure_power_law", x="tokens", y="loss", against={"1": 1.0, "0.9": 0.9})
    >>> out.select("hypothesis", pl.col("p_value") < 0.01).rows()
    [('1', True), ('0.9', False)]
    """
    chosen = find_law(law)
    if parameter not in chosen.names:
        raise OptionError(
            f"parameter: law {chosen.name!r} has no {parameter!r}{did_you_mean(parameter, chosen.names)} "
            f"(it has {', '.join(chosen.names)})"
        )
    values = _values(against, a, b)
    told, fitted = Told(), {}
    conditions = {"": where} if a is None or b is None else _sides(a, b, where)
    for side, rows in conditions.items():
        with told.listen(f"{side}: " if side else ""):
            fitted[side] = fit_all(
                scores,
                chosen,
                x=x,
                y=y,
                by=by,
                where=rows,
                objective=objective,
                delta=delta,
                overestimate_penalty=overestimate_penalty,
                bounds=bounds,
                checkpoints=checkpoints,
                repeats=repeats,
                cluster=cluster,
                scale=scale,
                interval="none",
                n_resamples=n_resamples,
                rng_seed=rng_seed,
                confidence_level=confidence_level,
                check_units=check_units,
                columns=columns,
                strict=strict,
                threads=threads,
            )
    told.repeat()
    place = chosen.names.index(parameter)
    tables = []
    for label, fits in shared_groups(fitted):
        # Both sides are drawn from one address, so that the same runs are drawn together.
        spreads = [spread_of(fit, label, interval, n_resamples, rng_seed) for fit in fits.values()]
        sides = [_Exponent(fit, own, place) for fit, own in zip(fits.values(), spreads, strict=True)]
        tests = [_against(name, value, sides[0]) for name, value in values.items()] or [_between(*sides)]
        tables.append(beside(label, _table(chosen.name, parameter, tests, confidence_level)))
    first = next(iter(fitted.values()))
    stamp = signature(
        "exponent_test",
        parameter=parameter,
        against=[f"{name}={value:g}" for name, value in values.items()] or None,
        a=a,
        b=b,
        **(first.settings | {"interval": interval or "auto"}),
    )
    table = pl.concat(tables).with_columns(signature=pl.lit(stamp))
    first.check_strict(table, strict=strict)
    return table


def _values(against: float | Mapping[str, float] | None, a: Filter, b: Filter) -> dict[str, float]:
    """The stated values by name; none where two sides are compared."""
    if (a is None) != (b is None):
        raise OptionError("a and b go together: the rows of each domain, e.g. a=\"domain = 'code'\"")
    if a is not None:
        if against is not None:
            raise OptionError("against is for one set of runs; leave it out, or a and b")
        return {}
    named = AGAINST if against is None else against
    stated = named if isinstance(named, Mapping) else {f"{named:g}": named}
    found = {name: float(value) for name, value in stated.items()}
    if not found or not np.isfinite(list(found.values())).all():
        raise OptionError(f"against must be finite values, got {against!r}")
    return found


def _sides(a: str | pl.Expr, b: str | pl.Expr, where: Filter) -> dict[str, Filter]:
    both = {"a": as_expression(a, "a"), "b": as_expression(b, "b")}
    kept = None if where is None else as_expression(where, "where")
    return {side: rows if kept is None else kept & rows for side, rows in both.items()}


# --- tests ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Exponent:
    """A parameter of a fit, and its values over refits."""

    fit: Fit
    spread: Spread
    place: int

    @property
    def status(self) -> str:
        """The status of the fit."""
        return status_of(self.fit, self.spread)[0]

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags of the fit."""
        return status_of(self.fit, self.spread)[1]

    @property
    def estimate(self) -> float:
        """The value; NaN where the fit says nothing."""
        return np.nan if self.status in UNDEFINED else float(self.fit.estimates[self.place])

    @property
    def draws(self) -> Floats:
        """Its values over refits; none where a bound held it."""
        lower, upper = self.fit.law.inner_bounds
        free = lower[self.place] < upper[self.place] and self.status not in UNDEFINED
        replicates = self.spread.replicates[: None if free else 0]
        return outer(self.fit.law, replicates)[:, self.place] if len(replicates) else np.empty(0)

    @property
    def variance(self) -> float:
        """Variance of the estimate; NaN without refits."""
        return self.factor * float(replicate_variance(self.spread.kind, self.draws))

    @property
    def factor(self) -> float:
        """A bootstrap of points draws the residuals of least squares, which are smaller than the errors."""
        shrunk = self.spread.kind == "bootstrap" and self.spread.n_clusters == self.fit.points.n
        return self.fit.points.n / self.spread.df if shrunk and self.fit.settings.squares else 1.0


def _against(name: str, value: float, own: _Exponent) -> dict[str, Any]:
    """An exponent and a stated value."""
    return _row(name, own, value, own.variance, float(own.spread.df), (own,), paired=None)


def _between(a: _Exponent, b: _Exponent) -> dict[str, Any]:
    """The exponents of two domains."""
    if _same_runs(a, b):
        variance = a.factor * float(replicate_variance(a.spread.kind, a.draws - b.draws))
        return _row("a = b", a, b.estimate, variance, float(a.spread.df), (a, b), paired=True)
    first, second = a.variance, b.variance
    df = np.nan
    if first + second > 0:
        df = (first + second) ** 2 / (first**2 / a.spread.df + second**2 / b.spread.df)
    return _row("a = b", a, b.estimate, first + second, df, (a, b), paired=False)


def _same_runs(a: _Exponent, b: _Exponent) -> bool:
    """Whether both sides are of the same runs at the same places, and were drawn alike."""
    one, other = a.fit.points, b.fit.points
    if one.n != other.n or not np.array_equal(one.cluster, other.cluster):
        return False
    alike = all(np.array_equal(one.inputs[name], other.inputs[name]) for name in one.inputs)
    drawn = (a.spread.kind, a.spread.n_clusters, len(a.draws)) == (
        b.spread.kind,
        b.spread.n_clusters,
        len(b.draws),
    )
    return alike and drawn and a.spread.n_failed == b.spread.n_failed == 0


def _row(
    hypothesis: str,
    own: _Exponent,
    value: float,
    variance: float,
    df: float,
    sides: Sequence[_Exponent],
    *,
    paired: bool | None,
) -> dict[str, Any]:
    """A row, but for limits and p."""
    return {
        "hypothesis": hypothesis,
        "estimate": own.estimate,
        "variance": own.variance,
        "own_df": float(own.spread.df),
        "value": value,
        "difference_variance": variance,
        "df": df,
        "paired": paired,
        "n_points": sum(side.fit.points.n for side in sides),
        "n_clusters": sum(side.spread.n_clusters for side in sides[: 1 if paired else None]),
        "status": next(word for word in _GRAVEST if any(side.status == word for side in sides)),
        "flags": [flag for flag in FLAGS if any(flag in side.flags for side in sides)],
    }


def _table(
    law: str, parameter: str, rows: Sequence[Mapping[str, Any]], confidence_level: float
) -> pl.DataFrame:
    column = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in _NUMBERS}
    difference = column["estimate"] - column["value"]
    error = np.sqrt(column["difference_variance"])
    level = np.full(len(rows), 0.5 + confidence_level / 2)
    # Without refits there is no interval, whatever the degrees of freedom.
    df, own_df = (np.where(column[name] > 0, column[name], np.nan) for name in ("df", "own_df"))
    half = kernels().t_quantile(level, own_df) * np.sqrt(column["variance"])
    wide = kernels().t_quantile(level, df) * error
    with np.errstate(all="ignore"):
        statistic = difference / error
    numbers = {
        "estimate": column["estimate"],
        "low": column["estimate"] - half,
        "high": column["estimate"] + half,
        "value": column["value"],
        "difference": difference,
        "difference_low": difference - wide,
        "difference_high": difference + wide,
        "statistic": statistic,
        "df": np.where(np.isfinite(error), df, np.nan),
        "p_value": 2 * kernels().t_cdf(-np.abs(statistic), df),
    }
    return pl.DataFrame(
        [
            pl.Series("law", [law] * len(rows)),
            pl.Series("parameter", [parameter] * len(rows)),
            pl.Series("hypothesis", [row["hypothesis"] for row in rows], dtype=pl.String),
            *(result_column(name, own) for name, own in numbers.items()),
            pl.Series("paired", [row["paired"] for row in rows], dtype=pl.Boolean),
            *(
                pl.Series(name, [row[name] for row in rows], dtype=pl.Int64)
                for name in ("n_points", "n_clusters")
            ),
            pl.Series("status", [row["status"] for row in rows], dtype=pl.String),
            pl.Series("flags", [row["flags"] for row in rows], dtype=pl.List(pl.String)),
        ]
    )
