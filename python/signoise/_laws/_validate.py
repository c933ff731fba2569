"""The verb `validate_law`: laws fitted to some scales and held against the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
import polars as pl

from .._errors import OptionError
from .._options import check_choice, signature
from .._schema import did_you_mean
from .._scores import Filter, Scores
from .._status import result_column
from .._told import Told
from ._columns import Checkpoints, Repeats
from ._fit import Fit
from ._fitted import Bounds, Fitted, beside, criteria, fit_all
from ._law import Law, Objective, find_law
from ._points import Points
from ._splits import BASELINES, METHODS, Method, Outcome, baseline, outcome_status, outcomes, splits_of
from ._status import check_strict
from ._uncertainty import Interval

#: Columns of the inputs: of one law or of all, or for each law that needs others.
Inputs: TypeAlias = "str | Sequence[str] | Mapping[str, str | Sequence[str]]"


def validate_law(
    scores: Scores,
    law: str | Law | Sequence[str | Law] = "chinchilla",
    *,
    per: Literal["law", "scale"] = "law",
    methods: Method | Sequence[Method] = METHODS,
    x: Inputs | None = None,
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
    n_resamples: int = 200,
    rng_seed: int = 0,
    confidence_level: float = 0.95,
    check_units: bool = True,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Hold scaling laws against scales that they have not seen, beside each other and beside two baselines.

    Parameters
    ----------
    scores
        As in `fit_scaling_law`.
    law
        A law, or several to compare.
    per
        ``"law"``: a row for each law and method; ``"scale"``: a row for each scale left out, too.
    methods
        ``"leave_one_out"``: every scale in turn is predicted from all others; ``"rolling"``: from all smaller ones, as
        a target is predicted in earnest. At least two scales are learnt from.
    x
        As in `fit_scaling_law`; for several laws ``{"power_law": "flops", ...}`` where they need different columns.
    y, by, where, objective, delta, overestimate_penalty, checkpoints, repeats, cluster
        As in `fit_scaling_law`, the same for all laws.
    bounds
        As in `fit_scaling_law`; each law takes those of its own parameters.
    scale
        Column whose values are left out in turn. Default: params where one of the laws has it, else the first input.
    interval, n_resamples, rng_seed, confidence_level
        As in `fit_scaling_law`, for the prediction intervals of each split; ``"none"`` saves their time.
    check_units, columns, strict, threads
        As in `fit_scaling_law`.

    Returns
    -------
    DataFrame
        ``per="law"``: by-columns; ``law`` (also ``predict_last``, the score of the largest known model at its last
        place, and ``predict_best``, the best known score), ``method``; ``n_scales, n_points`` that were predicted;
        ``error`` (mean over scales of the mean absolute relative error), ``worst`` (of a scale), ``bias`` (the same
        mean with sign: above 0 predicts too much), ``covered`` (share of points inside their prediction interval);
        ``weight`` among the laws; ``aicc, bic`` of the fit to all points (of sums of squares); ``status, flags,
        signature``.
        ``per="scale"``: ``scale`` left out, ``n_train, n_train_scales, n_test``, the mean ``predicted`` and ``actual``,
        ``error, bias, covered``, ``extrapolation`` (as in `predict`) in the place of the sums.

    Undefined when
        A split leaves fewer distinct points than the law has parameters (``too_few``), or its fit does not settle
        (``not_converged``); of a law, where this is so of all splits, and flag ``skipped_scales`` where of some.
        Weights where laws were fitted to different points.

    Raises
    ------
    OptionError, SchemaError, FitError
        As `fit_scaling_law`; the same law twice; bounds of a parameter that none has.

    Notes
    -----
    ``weight`` is 1/MSE over its sum, MSE the mean over the scales that all laws predict of the mean squared relative
    error: a combination sum(weight x predicted) favours what has predicted well. With few scales it is itself noisy.
    Each split is fitted from the optimum of all points and up to 64 of the law's starts. ``error`` of ``rolling`` is
    the honest figure for extrapolation, but of one step: the target may be many steps away. Differences between laws
    below some 4 % of the loss may be the luck of training seeds (Choshen et al.).

    References
    ----------
    Choshen et al. 2024, arXiv 2410.11840 (baselines, absolute relative error); Bates and Granger 1969, The combination
    of forecasts (weights).

    Examples
    --------
    >>> import polars as pl
    >>> import signoise as sn
    >>> runs = pl.DataFrame({"params": [1e8, 2e8, 4e8, 1e9, 2e9] * 3, "tokens": [2e9] * 5 + [8e9] * 5 + [3.2e10] * 5})
    >>> runs = runs.with_columns(loss=1.7 + 400 * pl.col("params") ** -0.34 + 410 * pl.col("tokens") ** -0.28)
    >>> laws = ["hitchhiker", "ladder_loss_flops"]
    >>> out = sn.validate_law(runs, laws, y="loss", methods="rolling", interval="none")
    >>> out.select("law", pl.col("error").round(3)).rows()
    [('hitchhiker', 0.0), ('ladder_loss_flops', 0.016), ('predict_last', 0.076), ('predict_best', 0.076)]
    """
    chosen = [find_law(one) for one in ([law] if isinstance(law, (str, Law)) else law)]
    check_choice("per", per, ("law", "scale"))
    kinds: tuple[Method, ...] = (methods,) if isinstance(methods, str) else tuple(methods)
    for kind in kinds:
        check_choice("methods", kind, METHODS)
    names = [one.name for one in chosen]
    if not chosen or len(set(names)) < len(names) or not kinds:
        raise OptionError(f"law and methods must name each thing once, got {', '.join(names) or 'none'}")
    own_bounds = _bounds_of(chosen, bounds)
    if scale is None and any("params" in one.inputs for one in chosen):
        scale = None if len(chosen) == 1 else "params"
    # Every law reads the same table: what is to be said of it is said once.
    told = Told()
    with told.listen():
        fitted = [
            fit_all(
                scores,
                one,
                x=x.get(one.name) if isinstance(x, Mapping) else x,
                y=y,
                by=by,
                where=where,
                objective=objective,
                delta=delta,
                overestimate_penalty=overestimate_penalty,
                bounds=own_bounds[one.name],
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
            for one in chosen
        ]
    told.repeat()

    grouped = fitted[0].grouped
    tables = []
    for index in range(len(grouped.groups)):
        label = grouped.label(index)
        fits = _fits_of(fitted, label)
        found = {
            name: outcomes(
                fit, label, splits_of(fit.points, kinds), interval, n_resamples, rng_seed, confidence_level
            )
            for name, fit in fits.items()
        }
        points = grouped.groups[index]
        splits = splits_of(points, kinds)
        for name in BASELINES:
            found[name] = [baseline(name, points, split) for split in splits]
        rows = _by_scale(found) if per == "scale" else _by_law(found, fits, kinds)
        tables.append(beside(label, rows))
    stamp = signature(
        "validate_law",
        **(fitted[0].settings | {"law": names, "interval": interval or "auto", "per": per, "methods": kinds}),
    )
    table = pl.concat(tables).with_columns(signature=pl.lit(stamp))
    check_strict(table, [*grouped.by, "law", "method"], strict=strict)
    return table


def _bounds_of(laws: Sequence[Law], bounds: Bounds | None) -> dict[str, Bounds | None]:
    """The bounds of each law's own parameters."""
    known = [name for law in laws for name in law.names]
    for name in bounds or ():
        if name not in known:
            raise OptionError(f"bounds: no law here has a parameter {name!r}{did_you_mean(name, known)}")
    return {
        law.name: {name: pair for name, pair in (bounds or {}).items() if name in law.names} or None
        for law in laws
    }


def _fits_of(fitted: Sequence[Fitted], label: pl.DataFrame) -> dict[str, Fit]:
    """The fits of one group, by law; a law whose inputs the group lacks has none."""
    found = {}
    for one in fitted:
        for index, fit in enumerate(one.fits):
            if one.grouped.label(index).rows() == label.rows():
                found[fit.law.name] = fit
    return found


# --- rows -------------------------------------------------------------------------------------------


def _mean(values: Sequence[float]) -> float:
    known = np.array([value for value in values if np.isfinite(value)])
    return float(known.mean()) if len(known) else np.nan


def _by_scale(found: Mapping[str, Sequence[Outcome]]) -> pl.DataFrame:
    """A row for each law and split."""
    pairs = [(name, one) for name, outcomes in found.items() for one in outcomes]
    numbers = {
        "scale": [one.split.rung for _, one in pairs],
        "n_train": [len(one.split.train) for _, one in pairs],
        "n_train_scales": [one.n_rungs for _, one in pairs],
        "n_test": [len(one.split.test) for _, one in pairs],
        "predicted": [float(np.mean(one.predicted)) for _, one in pairs],
        "actual": [float(np.mean(one.actual)) for _, one in pairs],
        "error": [_mean(np.abs(one.relative).tolist()) for _, one in pairs],
        "bias": [_mean(one.relative.tolist()) for _, one in pairs],
        "covered": [one.covered for _, one in pairs],
        "extrapolation": [one.farthest for _, one in pairs],
    }
    return pl.DataFrame(
        [
            pl.Series("law", [name for name, _ in pairs], dtype=pl.String),
            pl.Series("method", [one.split.method for _, one in pairs], dtype=pl.String),
            *(
                result_column(name, np.array(values, dtype=np.int64 if name.startswith("n_") else np.float64))
                for name, values in numbers.items()
            ),
            pl.Series("status", [one.status for _, one in pairs], dtype=pl.String),
            pl.Series("flags", [list(one.flags) for _, one in pairs], dtype=pl.List(pl.String)),
        ]
    )


def _by_law(
    found: Mapping[str, Sequence[Outcome]], fits: Mapping[str, Fit], kinds: Sequence[Method]
) -> pl.DataFrame:
    """A row for each law and method."""
    rows = []
    for kind in kinds:
        own = {name: [one for one in every if one.split.method == kind] for name, every in found.items()}
        weights = _weights({name: own[name] for name in fits}, fits)
        for name, every in own.items():
            known = [one for one in every if np.isfinite(one.predicted).all()]
            errors = [_mean(np.abs(one.relative).tolist()) for one in known]
            aicc, bic = criteria(fits[name]) if name in fits else (np.nan, np.nan)
            status, flags = outcome_status(every)
            rows.append(
                {
                    "law": name,
                    "method": kind,
                    "n_scales": len(known),
                    "n_points": sum(len(one.actual) for one in known),
                    "error": _mean(errors),
                    "worst": max(errors, default=np.nan),
                    "bias": _mean([_mean(one.relative.tolist()) for one in known]),
                    "covered": _mean([one.covered for one in known for _ in one.actual]),
                    "weight": weights.get(name, np.nan),
                    "aicc": aicc,
                    "bic": bic,
                    "status": status,
                    "flags": list(flags),
                }
            )
    floats = ("error", "worst", "bias", "covered", "weight", "aicc", "bic")
    schema = dict.fromkeys(floats, pl.Float64) | {"flags": pl.List(pl.String)}
    table = pl.DataFrame(rows, schema_overrides=schema)
    return table.with_columns(result_column(name, table[name].to_numpy()) for name in floats)


def _weights(own: Mapping[str, Sequence[Outcome]], fits: Mapping[str, Fit]) -> dict[str, float]:
    """1/MSE of each law over their sum, on the scales that all predict; none where their points differ."""
    first = next(iter(fits.values())).points
    if not all(_same(first, fit.points) for fit in fits.values()):
        return {}
    squares = {
        name: {one.split.rung: float(np.mean(one.relative**2)) for one in every}
        for name, every in own.items()
    }
    able = {name: each for name, each in squares.items() if any(np.isfinite(list(each.values())))}
    if not able:
        return {}
    rungs = set.intersection(
        *({rung for rung, s in each.items() if np.isfinite(s)} for each in able.values())
    )
    if not rungs:
        return {}
    mse = {name: float(np.mean([each[rung] for rung in sorted(rungs)])) for name, each in able.items()}
    exact = [name for name, value in mse.items() if value == 0]
    if exact:
        return {name: float(name in exact) / len(exact) for name in mse}
    total = sum(1 / value for value in mse.values())
    return {name: 1 / value / total for name, value in mse.items()}


def _same(a: Points, b: Points) -> bool:
    """Whether two laws were fitted to the same observations on the same rungs; their order may differ."""
    if a.n != b.n or not np.array_equal(a.rungs, b.rungs):
        return False
    orders = [np.lexsort([points.y, points.scale]) for points in (a, b)]
    return all(
        np.array_equal(getattr(a, name)[orders[0]], getattr(b, name)[orders[1]]) for name in ("scale", "y")
    )
