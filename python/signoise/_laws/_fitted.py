"""What the verbs on laws share: a law fitted to every group of a table, with its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from .._errors import OptionError, SchemaError
from .._options import as_columns, check_choice, check_count, check_level, check_threads, signature
from .._schema import did_you_mean
from .._scores import Filter, Scores
from .._status import result_column
from ._columns import Checkpoints, Repeats, Source
from ._fit import Fit, fit_groups, settings_of
from ._law import Floats, Law, Objective, find_law
from ._points import Grouped, extrapolation, read_points, variables_of
from ._status import UNDEFINED, check_strict, status_of
from ._uncertainty import INTERVALS, Interval, Spread, parameter_interval, prediction_intervals, spread_of

#: ``{"alpha": (0.3, 0.4)}``; None leaves a side open, equal ones hold the parameter.
Bounds = Mapping[str, tuple[float | None, float | None]]
#: Places to predict at: one mapping of inputs, several, or a table.
Places = Mapping[str, float] | Sequence[Mapping[str, float]] | pl.DataFrame


@dataclass(frozen=True)
class Fitted:
    """A law fitted to every group."""

    grouped: Grouped
    fits: list[Fit]
    spreads: list[Spread]
    names: tuple[str, ...]
    """What the user calls the inputs."""
    y: str | None
    confidence_level: float
    settings: dict[str, object]
    """What a signature says of the fit."""

    def parameters(self) -> pl.DataFrame:
        """A row for each group and parameter."""
        tables = [
            beside(self.grouped.label(index), _parameter_rows(fit, spread, self.confidence_level))
            for index, (fit, spread) in enumerate(zip(self.fits, self.spreads, strict=True))
        ]
        return pl.concat(tables).with_columns(signature=pl.lit(signature("fit_scaling_law", **self.settings)))

    def predictions(self, at: Places, target_noise: float = 0.0) -> pl.DataFrame:
        """A row for each group and place."""
        if not (np.isfinite(target_noise) and target_noise >= 0):
            raise OptionError(f"target_noise must be 0 or above, got {target_noise!r}")
        places = places_of(at, self.names, self.y)
        tables = []
        for index, (fit, spread) in enumerate(zip(self.fits, self.spreads, strict=True)):
            label = self.grouped.label(index)
            here = _of_group(places, label)
            if here.height:
                rows = _prediction_rows(fit, spread, here, self.names, self.confidence_level, target_noise)
                tables.append(beside(label, rows))
        if not tables:
            raise SchemaError("at: no place belongs to any group; look at the values of the by-columns")
        stamp = signature("predict", **self.settings, noise=target_noise or None)
        return pl.concat(tables).with_columns(signature=pl.lit(stamp))

    def check_strict(self, table: pl.DataFrame, *, strict: bool) -> None:
        """Raise for the first fit whose status is not ``ok``."""
        check_strict(table, self.grouped.by, strict=strict)


def fit_all(
    scores: Scores,
    law: str | Law,
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
) -> Fitted:
    """Fit a law to every group of a table; options as in `fit_scaling_law`."""
    chosen = find_law(law)
    if bounds:
        chosen = chosen.with_bounds(bounds)
    if interval is not None:
        check_choice("interval", interval, INTERVALS)
    check_count("n_resamples", n_resamples, 2)
    check_level(confidence_level)
    check_threads(threads)
    settings = settings_of(chosen, objective, delta, overestimate_penalty, threads)
    names = () if x is None else as_columns(x)
    source = Source(
        scores,
        names,
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
    told: dict[str, object] = {
        "law": chosen.name,
        "objective": settings.objective,
        "delta": settings.delta if settings.objective.startswith("huber") else None,
        "penalty": None if overestimate_penalty == 1 else overestimate_penalty,
        "bounds": None
        if bounds is None
        else sorted(f"{name}={low}..{high}" for name, (low, high) in bounds.items()),
        "checkpoints": checkpoints,
        "repeats": repeats,
        "interval": interval or "auto",
        "resamples": n_resamples,
        "rng": rng_seed,
        "level": confidence_level,
    }
    return Fitted(grouped, fits, spreads, names or tuple(chosen.inputs), y, confidence_level, told)


def shared_groups(fitted: Mapping[str, Fitted]) -> list[tuple[pl.DataFrame, dict[str, Fit]]]:
    """The groups that every side has, each with its label and the fits of the sides."""
    by_label = {
        side: {repr(one.grouped.label(index).rows()): fit for index, fit in enumerate(one.fits)}
        for side, one in fitted.items()
    }
    labels = next(iter(fitted.values())).grouped
    found = []
    for index in range(len(labels.groups)):
        label = labels.label(index)
        fits = {side: own[key] for side, own in by_label.items() if (key := repr(label.rows())) in own}
        if len(fits) == len(fitted):
            found.append((label, fits))
    if not found:
        raise SchemaError("no group has rows on both sides; look at a, b and the by-columns")
    return found


# --- rows -------------------------------------------------------------------------------------------


def _parameter_rows(fit: Fit, spread: Spread, confidence_level: float) -> pl.DataFrame:
    names = fit.law.names
    p = len(names)
    status, flags = status_of(fit, spread)
    known = status not in UNDEFINED
    low, high = parameter_interval(fit, spread, confidence_level) if known else np.full((2, p), np.nan)
    estimates = fit.estimates if known else np.full(p, np.nan)
    at_bound = fit.at_bound if known else np.zeros(p, dtype=bool)
    n, free = fit.points.n, fit.n_free
    sse = float(np.sum(fit.residuals**2)) if known else np.nan
    aicc, bic = criteria(fit) if known else (np.nan, np.nan)
    same = {
        "objective": fit.objective if known else np.nan,
        "n_points": n,
        "n_clusters": spread.n_clusters,
        "n_scales": int(fit.points.scale.max()) + 1,
        "n_starts": fit.n_starts,
        "n_starts_agree": fit.n_agree,
        "residual_sd": np.sqrt(sse / (n - free)) if known and n > free else np.nan,
        "aicc": aicc,
        "bic": bic,
    }
    return pl.DataFrame(
        [
            pl.Series("law", [fit.law.name] * p),
            pl.Series("parameter", names),
            result_column("estimate", estimates),
            result_column("low", low),
            result_column("high", high),
            pl.Series("at_bound", at_bound),
            *(result_column(name, np.full(p, value)) for name, value in same.items()),
            pl.Series("status", [status] * p),
            pl.Series("flags", [list(flags)] * p, dtype=pl.List(pl.String)),
        ]
    )


def beside(label: pl.DataFrame, part: pl.DataFrame) -> pl.DataFrame:
    """The by-columns of a group in front of its rows."""
    if not label.columns:
        return part
    repeated = label.select(pl.all().repeat_by(part.height).explode())
    return pl.concat([repeated, part], how="horizontal")


def criteria(fit: Fit) -> tuple[float, float]:
    """AICc and BIC under normal errors, the variance being one more parameter; NaN but for sums of squares."""
    if not fit.found or not fit.settings.squares:
        return np.nan, np.nan
    sse, n, k = float(np.sum(fit.residuals**2)), fit.points.n, fit.n_free + 1
    if sse <= 0 or n - k - 1 <= 0:
        return np.nan, np.nan
    deviance = n * (np.log(2 * np.pi * sse / n) + 1)
    return deviance + 2 * k + 2 * k * (k + 1) / (n - k - 1), deviance + k * np.log(n)


def _prediction_rows(
    fit: Fit,
    spread: Spread,
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
    if status in UNDEFINED:
        found = {name: np.full(n, np.nan) for name in found}
    ratio = extrapolation(fit.points, variables, n)
    all_flags = [[*flags, *(["extrapolated"] if far > 10 else [])] for far in ratio]
    return pl.DataFrame(
        [
            *(places[name] for name in names),
            *(result_column(name, found[name]) for name in found),
            *actual_and_error(places, found["predicted"]),
            result_column("extrapolation", ratio),
            pl.Series("status", [status] * n),
            pl.Series("flags", all_flags, dtype=pl.List(pl.String)),
        ]
    )


def actual_and_error(places: pl.DataFrame, predicted: Floats) -> tuple[pl.Series, pl.Series]:
    """What came out at places, and how far a prediction is from it."""
    actual = places["__actual"].to_numpy()
    with np.errstate(all="ignore"):
        error = (predicted - actual) / np.abs(actual)
    return result_column("actual", actual), result_column("relative_error", error)


def places_of(at: Places, names: Sequence[str], y: str | None) -> pl.DataFrame:
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
