"""The verb `loss_trajectory`: the loss after S steps at any batch, where the critical batch depends on that loss."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from .._errors import OptionError
from .._options import signature
from .._schema import did_you_mean
from .._status import result_column
from ._fitted import Places, places_of
from ._law import Floats, registry
from ._published import Coefficients, fitted_set, published_set
from ._status import check_strict

#: Laws whose coefficients come together here.
_LAWS = ("kaplan_steps", "critical_batch")
_INPUTS = ("params", "steps", "batch_tokens")
#: Halvings of the logarithm of the loss: its last bits.
_HALVINGS = 120
#: Logarithm of the highest loss above that of unlimited steps that is looked for.
_HIGHEST = 50.0


def loss_trajectory(
    at: Places, parameters: Coefficients = "Kaplan et al. 2020", *, strict: bool = False
) -> pl.DataFrame:
    """Say what loss a model has after some steps at some batch, after Kaplan's laws of steps and critical batch.

    Parameters
    ----------
    at
        Where: ``{"params": 1e9, "steps": 1e5, "batch_tokens": 5e5}``, a list of such, or a table with these columns:
        parameters without embeddings, optimizer steps, tokens per step.
    parameters
        Coefficients of ``kaplan_steps`` and ``critical_batch`` together (``N_c, S_c, alpha_N, alpha_S, B_star,
        alpha_B``), or the name of a set that both have (see `laws`).
    strict
        Raise `FitError` where a loss is undefined.

    Returns
    -------
    DataFrame
        A row a place: ``params, steps, batch_tokens``; ``predicted`` loss L; ``critical_batch`` at it, in tokens;
        ``min_steps`` (how many steps would do at a very large batch) and ``min_tokens`` (how many tokens at a very
        small one); ``status, flags, signature``.

    Undefined when
        An input is not above 0 or not finite (``not_finite``).

    Raises
    ------
    OptionError
        A place without one of the inputs; coefficients that are missing or unknown.
    FitError
        With `strict`.

    Notes
    -----
    L = (N_c / N)^alpha_N + (S_c / S_min)^alpha_S with S_min = S / (1 + B_crit / B), and B_crit = B_star / L^(1 /
    alpha_B) depends on L: the right side falls where L grows, so that one L solves it, found by halving. S and B are
    those of a constant learning rate schedule as in the source; nothing is irreducible. Fit the parts in this order:
    ``batch_tradeoff`` for each of several losses, ``critical_batch`` to its ``B_crit``, then ``kaplan_steps``.

    References
    ----------
    Kaplan et al. 2020, arXiv 2001.08361, equations 1.4 to 1.6, 5.1 and 5.5; its replication on C4 (Su et al. 2024,
    arXiv 2403.06563), whose coefficients are unverified.

    Examples
    --------
    >>> import signoise as sn
    >>> out = sn.loss_trajectory([{"params": 1e8, "steps": 1e5, "batch_tokens": b} for b in (2**16, 2**19, 2**22)])
    >>> out["predicted"].round(3).to_list()
    [3.182, 2.933, 2.868]
    """
    chosen = _coefficients(parameters)
    places = places_of(at, _INPUTS, None)
    n, s, b = (places[name].to_numpy() for name in _INPUTS)
    with np.errstate(all="ignore"):
        loss = _solve(chosen, n, s, b)
        critical = _critical(chosen, loss)
        fewest, least = s / (1 + critical / b), b * s / (1 + b / critical)
    sound = np.isfinite(loss) & np.isfinite(fewest) & np.isfinite(least)
    told = {"published": parameters} if isinstance(parameters, str) else dict(chosen)
    columns = {"predicted": loss, "critical_batch": critical, "min_steps": fewest, "min_tokens": least}
    table = pl.DataFrame(
        [
            *(places[name] for name in _INPUTS),
            *(result_column(name, np.where(sound, values, np.nan)) for name, values in columns.items()),
            pl.Series("status", np.where(sound, "ok", "not_finite").tolist(), dtype=pl.String),
            pl.Series("flags", [[] for _ in n], dtype=pl.List(pl.String)),
            pl.Series("signature", [signature("loss_trajectory", **told)] * len(n)),
        ]
    )
    check_strict(table, _INPUTS, strict=strict, what="loss")
    return table


def _coefficients(parameters: Coefficients) -> dict[str, float]:
    """Those of both laws, checked."""
    laws = [registry()[name] for name in _LAWS]
    given: Mapping[str, float]
    if isinstance(parameters, str):
        given = {key: value for law in laws for key, value in published_set(law, parameters).items()}
    else:
        given = parameters
    known = [name for law in laws for name in law.names]
    for name in given:
        if name not in known:
            raise OptionError(
                f"parameters: there is no {name!r}{did_you_mean(name, known)} (needed: {', '.join(known)})"
            )
    for law in laws:
        fitted_set(law, {name: given[name] for name in law.names if name in given})
    return {name: float(given[name]) for name in known}


def _critical(c: Mapping[str, float], loss: Floats) -> Floats:
    return np.asarray(c["B_star"] * loss ** (-1 / c["alpha_B"]))


def _solve(c: Mapping[str, float], params: Floats, steps: Floats, batch: Floats) -> Floats:
    """The loss that both sides agree on, NaN where an input is not above 0."""
    floor = (c["N_c"] / params) ** c["alpha_N"]
    low, high = np.log(floor), np.log(floor) + _HIGHEST
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        loss = np.exp(middle)
        fewest = steps / (1 + _critical(c, loss) / batch)
        above = loss > floor + (c["S_c"] / fewest) ** c["alpha_S"]
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    sound = (params > 0) & (steps > 0) & (batch > 0)
    return np.where(sound, np.exp(0.5 * (low + high)), np.nan)
