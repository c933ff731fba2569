"""The verb `optimal_mixture`: the shares of languages at which a weighted sum of their losses is lowest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from .._errors import OptionError
from .._options import signature
from .._schema import did_you_mean
from .._scores import Filter, Scores
from .._status import result_column
from ._fit import Fit, outer, values
from ._fitted import Bounds, fit_all
from ._law import Floats, Objective, registry
from ._published import fitted_set, one_source
from ._status import UNDEFINED, check_strict, status_of
from ._uncertainty import Interval, Spread, derived_interval

#: Halvings of the logarithm of the multiplier.
_HALVINGS = 200
#: Logarithm of the multiplier from its largest term on, below which no share is found.
_REACH = 60.0


def optimal_mixture(
    scores: Scores | None = None,
    *,
    params: float,
    tokens: float,
    weights: Mapping[str, float] | None = None,
    parameters: Mapping[str, Mapping[str, float]] | None = None,
    x: str | Sequence[str] | None = None,
    y: str | None = None,
    by: str = "language",
    where: Filter = None,
    objective: Objective | None = None,
    bounds: Bounds | None = None,
    interval: Interval | None = None,
    n_resamples: int = 1000,
    rng_seed: int = 0,
    confidence_level: float = 0.95,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Find the shares of languages (or of any domains) in the training data with the lowest weighted sum of losses.

    Parameters
    ----------
    scores
        As in `fit_scaling_law`, with the columns ``params, tokens, share``, the loss `y` and the language; None where
        `parameters` are given.
    params, tokens
        The model to be trained: parameters, training tokens.
    weights
        What the loss of each language counts. Default: 1 each.
    parameters
        Coefficients of the law ``multilingual`` for each language in place of fits: then there are no intervals.
    x, y, where, objective, bounds, columns
        As in `fit_scaling_law`.
    by
        The column of languages (families of languages, domains).
    interval, n_resamples, rng_seed, confidence_level
        As in `fit_scaling_law`; ``"bootstrap"`` (default) or ``"none"``.
    strict, threads
        As in `fit_scaling_law`.

    Returns
    -------
    DataFrame
        A row a language: its name, ``weight``; ``share`` (they add up to 1) and ``predicted`` loss at it, each with
        ``_low, _high``; ``status, flags, signature``.

    Undefined when
        The fit of any language is undefined: all shares are null, and `status` says of which. A language of weight 0
        gets a share of 0 and no loss.

    Raises
    ------
    OptionError
        Neither scores nor parameters, or both; weights that are negative, unknown or all 0; fewer than two languages.
    SchemaError, FitError
        As `fit_scaling_law`.

    Notes
    -----
    With L_i = K_i p_i^-gamma_i and K_i the loss at share 1, the sum of w_i L_i under sum p_i = 1 is lowest where
    p_i = (w_i gamma_i K_i / mu)^(1 / (1 + gamma_i)); mu is found by halving. Runs are drawn for each language apart.
    To normalise losses, weigh with 1 / K_i.

    References
    ----------
    He et al. 2024, arXiv 2410.12883, section 4.

    Examples
    --------
    >>> import signoise as sn
    >>> english = {"E": 1.5, "A": 300.0, "B": 800.0, "alpha": 0.33, "beta": 0.34, "gamma": 0.05}
    >>> laws = {"romance": english, "slavic": english | {"gamma": 0.1}}
    >>> sn.optimal_mixture(parameters=laws, params=1e9, tokens=1e11)["share"].round(2).to_list()
    [0.34, 0.66]
    """
    law = registry()["multilingual"]
    if interval not in (None, "bootstrap", "none"):
        raise OptionError(f"interval must be 'bootstrap' or 'none' for a mixture, got {interval!r}")
    if not (params > 0 and tokens > 0 and np.isfinite([params, tokens]).all()):
        raise OptionError(f"params and tokens must be above 0, got {params!r} and {tokens!r}")
    one_source(scores, parameters, "optimal_mixture")
    place = {"params": np.array([params]), "tokens": np.array([tokens]), "share": np.ones(1)}
    fitted: list[tuple[Fit, Spread]] = []
    if parameters is not None:
        names = list(parameters)
        sets = [fitted_set(law, parameters[name]) for name in names]
        told = signature("optimal_mixture", params=params, tokens=tokens, given=len(names))
    else:
        assert scores is not None
        found = fit_all(
            scores,
            law,
            x=x,
            y=y,
            by=by,
            where=where,
            objective=objective,
            bounds=bounds,
            interval=interval or "bootstrap",
            n_resamples=n_resamples,
            rng_seed=rng_seed,
            confidence_level=confidence_level,
            columns=columns,
            strict=strict,
            threads=threads,
        )
        names = found.grouped.labels[by].cast(pl.String).to_list()
        fitted = list(zip(found.fits, found.spreads, strict=True))
        sets = [np.concatenate([fit.inner[None], spread.replicates]) for fit, spread in fitted]
        told = signature("optimal_mixture", params=params, tokens=tokens, **found.settings)
    if len(names) < 2:
        raise OptionError(f"a mixture needs two languages or more, {by!r} has {len(names)}")
    weigh = _weights(names, weights)
    most = max(map(len, sets))
    sets = [np.concatenate([one, np.full((most - len(one), one.shape[1]), np.nan)]) for one in sets]
    with np.errstate(all="ignore"):
        losses = np.stack([values(law, one, place, 1, threads)[:, 0] for one in sets], axis=1)
        gammas = np.stack([outer(law, one)[:, law.names.index("gamma")] for one in sets], axis=1)
        shares = _shares(weigh * gammas * losses, gammas)
        reached = losses * shares**-gammas
    statuses = [status_of(*one)[0] for one in fitted] or ["ok"] * len(names)
    unknown = any(status in UNDEFINED for status in statuses) or not np.isfinite(shares[0]).all()
    quantities = {"share": shares, "predicted": reached}
    series = [pl.Series(by, names), result_column("weight", weigh)]
    for name, both in quantities.items():
        estimate = np.full(len(names), np.nan) if unknown else both[0]
        limits = np.full((2, len(names)), np.nan)
        for index, (_, spread) in enumerate(fitted):
            ends = derived_interval(spread, estimate[[index]], both[1:, [index]], confidence_level)
            limits[:, index] = [ends[0][0], ends[1][0]]
        series += [
            result_column(name, estimate),
            result_column(f"{name}_low", limits[0]),
            result_column(f"{name}_high", limits[1]),
        ]
    flags = [list(status_of(*one)[1]) for one in fitted] or [[] for _ in names]
    table = pl.DataFrame(
        [
            *series,
            pl.Series("status", statuses),
            pl.Series("flags", flags, dtype=pl.List(pl.String)),
            pl.Series("signature", [told] * len(names)),
        ]
    )
    check_strict(table, (by,), strict=strict)
    return table


def _weights(names: Sequence[str], weights: Mapping[str, float] | None) -> Floats:
    if weights is None:
        return np.ones(len(names))
    for name in weights:
        if name not in names:
            raise OptionError(
                f"weights: there is no {name!r}{did_you_mean(name, names)} (there are {', '.join(names)})"
            )
    found = np.array([float(weights.get(name, 0.0)) for name in names])
    if not (np.isfinite(found).all() and (found >= 0).all() and found.sum() > 0):
        raise OptionError(f"weights must be 0 or above and not all 0, got {dict(weights)}")
    return found


def _shares(gains: Floats, gammas: Floats) -> Floats:
    """Shares (n_sets, n_languages) that add up to 1, from w gamma K; NaN where a set has an unknown part."""
    logs = np.log(gains)
    low, high = logs.max(axis=1) - _REACH, logs.max(axis=1) + _REACH
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        above = np.exp((logs - middle[:, None]) / (1 + gammas)).sum(axis=1) > 1
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    shares: Floats = np.exp((logs - 0.5 * (low + high)[:, None]) / (1 + gammas))
    shares[~np.isfinite(shares).all(axis=1)] = np.nan
    return shares
