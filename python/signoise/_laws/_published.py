"""Coefficients in place of a fit: those of a paper by their name, or any."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from .._errors import OptionError
from .._options import signature
from .._schema import did_you_mean
from .._status import result_column
from ._fit import inner, values
from ._fitted import Places, actual_and_error, places_of
from ._law import Floats, Law
from ._points import variables_of

#: Coefficients by name of the parameter, or the name of a set that was published.
Coefficients = Mapping[str, float] | str


def published_set(law: Law, name: str) -> Mapping[str, float]:
    """The published coefficients of a law that go by a name."""
    if name not in law.published:
        known = f"it has {', '.join(map(repr, law.published))}" if law.published else "it has none"
        raise OptionError(
            f"parameters: law {law.name!r} has no published set {name!r}{did_you_mean(name, tuple(law.published))} "
            f"({known})"
        )
    return law.published[name]


def fitted_set(law: Law, parameters: Coefficients) -> Floats:
    """What is fitted in the place of these coefficients (1, n_parameters)."""
    if isinstance(parameters, str):
        parameters = published_set(law, parameters)
    for name in parameters:
        if name not in law.names:
            raise OptionError(
                f"parameters: law {law.name!r} has no {name!r}{did_you_mean(name, law.names)} (it has "
                f"{', '.join(law.names)})"
            )
    missing = [name for name in law.names if name not in parameters]
    if missing:
        raise OptionError(f"parameters: law {law.name!r} needs {', '.join(missing)} too")
    return inner(law, np.array([[float(parameters[name]) for name in law.names]]))


def one_source(scores: Any, parameters: Any, verb: str) -> None:
    """Raise unless there are either scores to fit or coefficients."""
    if scores is not None and parameters is not None:
        raise OptionError("scores and parameters exclude each other: fit, or take published coefficients")
    if scores is None and parameters is None:
        raise OptionError(f"{verb} needs scores to fit, or parameters={{...}} of a published fit")


def stamp(verb: str, law: Law, parameters: Coefficients) -> str:
    """The signature of a result that no fit stands behind."""
    told = {"published": parameters} if isinstance(parameters, str) else dict(parameters)
    return signature(verb, law=law.name, **told)


def predictions(
    law: Law, parameters: Coefficients, at: Places, names: tuple[str, ...], y: str | None
) -> pl.DataFrame:
    """A row a place, as `predict` has it, without intervals."""
    found = fitted_set(law, parameters)
    names = names or tuple(law.inputs)
    places = places_of(at, names, y)
    inputs = {inner: places[name].to_numpy() for inner, name in zip(law.inputs, names, strict=True)}
    n = places.height
    nothing = np.full(n, np.nan)
    with np.errstate(all="ignore"):
        predicted = values(law, found, variables_of(law, inputs, np.zeros(n, dtype=np.int64)), n)[0]
    status = np.where(np.isfinite(predicted), "ok", "not_finite")
    return pl.DataFrame(
        [
            *(places[name] for name in names),
            result_column("predicted", predicted),
            *(result_column(name, nothing) for name in ("low", "high", "prediction_low", "prediction_high")),
            *actual_and_error(places, predicted),
            result_column("extrapolation", nothing),
            pl.Series("status", status.tolist(), dtype=pl.String),
            pl.Series("flags", [[] for _ in range(n)], dtype=pl.List(pl.String)),
            pl.Series("signature", [stamp("predict", law, parameters)] * n),
        ]
    )
