"""The verb `optimal_split`: how many parameters the encoder should have, and how many the decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from .._errors import OptionError
from .._options import signature
from .._scores import Filter, Scores
from .._status import result_column
from ._fit import Fit, outer
from ._fitted import Bounds, beside, fit_all
from ._law import Floats, Law, Objective, registry
from ._published import Coefficients, fitted_set, one_source, stamp
from ._status import UNDEFINED, status_of
from ._uncertainty import Interval, Spread, derived_interval


def optimal_split(
    scores: Scores | None = None,
    *,
    params: float | Sequence[float],
    parameters: Coefficients | None = None,
    x: str | Sequence[str] | None = None,
    y: str | None = None,
    by: str | Sequence[str] | None = None,
    where: Filter = None,
    objective: Objective | None = None,
    bounds: Bounds | None = None,
    cluster: str | None = None,
    interval: Interval | None = None,
    n_resamples: int = 1000,
    rng_seed: int = 0,
    confidence_level: float = 0.95,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Split parameters between encoder and decoder so that the loss is lowest.

    Parameters
    ----------
    scores
        As in `fit_scaling_law`, with the columns ``encoder_params, decoder_params`` and the loss `y`; None where
        `parameters` are given.
    params
        Parameters of both together, one number or several.
    parameters
        Coefficients of the law ``encoder_decoder`` in place of a fit: then there are no intervals.
    x, y, by, where, objective, bounds, cluster, columns
        As in `fit_scaling_law`.
    interval, n_resamples, rng_seed, confidence_level, strict, threads
        As in `fit_scaling_law`. ``interval="profile"`` is of parameters alone: a bootstrap takes its place.

    Returns
    -------
    DataFrame
        A row for each group and number of parameters: by-columns; ``params``; ``encoder_params, decoder_params`` and
        the ``predicted`` loss, each with ``_low, _high``; ``status, flags, signature``.

    Undefined when
        As the fit; an exponent that is not above 0, so that all should go to one side (``no_optimum``).

    Raises
    ------
    OptionError
        Neither scores nor parameters, or both; parameters that are missing or unknown; `params` not above 0.
    SchemaError, FitError
        As `fit_scaling_law`.

    Notes
    -----
    Of L = L_inf + a N_e^-p_e N_d^-p_d under N_e + N_d = N the lowest is at N_e = N p_e / (p_e + p_d), whatever N.

    References
    ----------
    Ghorbani et al. 2021, arXiv 2109.07740, section 3.

    Examples
    --------
    >>> import signoise as sn
    >>> law = {"L_inf": 1.0, "a": 90.0, "p_e": 0.12, "p_d": 0.18}
    >>> sn.optimal_split(parameters=law, params=1e9).select("encoder_params", "decoder_params").row(0)
    (400000000.0, 600000000.0)
    """
    law = registry()["encoder_decoder"]
    totals = np.atleast_1d(np.asarray(params, dtype=np.float64))
    if totals.ndim != 1 or not len(totals) or not (np.isfinite(totals) & (totals > 0)).all():
        raise OptionError(f"params must be a number above 0 or several such, got {params!r}")
    one_source(scores, parameters, "optimal_split")
    if parameters is not None:
        table = _split_rows(law, fitted_set(law, parameters), totals, None, confidence_level)
        return table.with_columns(signature=pl.lit(stamp("optimal_split", law, parameters)))
    assert scores is not None
    fitted = fit_all(
        scores,
        law,
        x=x,
        y=y,
        by=by,
        where=where,
        objective=objective,
        bounds=bounds,
        cluster=cluster,
        interval=interval,
        n_resamples=n_resamples,
        rng_seed=rng_seed,
        confidence_level=confidence_level,
        columns=columns,
        strict=strict,
        threads=threads,
    )
    tables = [
        beside(
            fitted.grouped.label(index),
            _split_rows(
                law,
                np.concatenate([fit.inner[None], spread.replicates]),
                totals,
                (fit, spread),
                confidence_level,
            ),
        )
        for index, (fit, spread) in enumerate(zip(fitted.fits, fitted.spreads, strict=True))
    ]
    told = signature("optimal_split", **fitted.settings)
    table = pl.concat(tables).with_columns(signature=pl.lit(told))
    fitted.check_strict(table, strict=strict)
    return table


def _split_rows(
    law: Law, sets: Floats, totals: Floats, fitted: tuple[Fit, Spread] | None, confidence_level: float
) -> pl.DataFrame:
    """A row a total; the first set of parameters is the estimate, the others replicates."""
    status, flags = status_of(*fitted) if fitted else ("ok", ())
    parts = dict(zip(law.names, outer(law, sets).T[:, :, None], strict=True))
    with np.errstate(all="ignore"):
        sound = (parts["p_e"] > 0) & (parts["p_d"] > 0)
        share = np.where(sound, parts["p_e"] / (parts["p_e"] + parts["p_d"]), np.nan)
        encoder, decoder = share * totals, (1 - share) * totals
        loss = parts["L_inf"] + parts["a"] * encoder ** -parts["p_e"] * decoder ** -parts["p_d"]
    missing = status not in UNDEFINED and not np.isfinite(share[0]).all()
    columns = [pl.Series("params", totals)]
    for name, both in {"encoder_params": encoder, "decoder_params": decoder, "predicted": loss}.items():
        estimate = np.full(len(totals), np.nan) if status in UNDEFINED else both[0]
        low = high = np.full(len(totals), np.nan)
        if fitted:
            low, high = derived_interval(fitted[1], estimate, both[1:], confidence_level)
        columns += [
            result_column(name, estimate),
            result_column(f"{name}_low", low),
            result_column(f"{name}_high", high),
        ]
    n = len(totals)
    return pl.DataFrame(
        [
            *columns,
            pl.Series("status", ["no_optimum" if missing else status] * n),
            pl.Series("flags", [list(flags)] * n, dtype=pl.List(pl.String)),
        ]
    )
