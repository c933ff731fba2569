"""Whether a fit can be used, what to be careful about, and what to do."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import polars as pl

from .._errors import FitError
from ._fit import Fit, places, refit, values
from ._uncertainty import Spread

#: What to do about each status.
REMEDIES = {
    "too_few": "there are fewer distinct points than parameters; add runs, or hold parameters with bounds",
    "not_converged": "no start reached a stable optimum; look at units, give bounds, or try another law",
    "at_bound": "a parameter ended at its bound; widen it with bounds={'name': (None, None)}, or take a simpler law",
    "no_optimum": "the law gets better towards one end of the budget; look at the exponents, or bound them above 0",
    "no_crossing": "the curves do not meet in the range; widen it with within=(low, high)",
}
#: Statuses under which a fit says nothing: its parameters and predictions are null.
UNDEFINED = ("too_few", "not_converged")
#: Flags in the order in which they are listed.
FLAGS = (
    "few_scales",
    "collinear",
    "bits_and_nats",
    "one_start",
    "not_unique",
    "few_clusters",
    "rung_effects",
    "unidentified_replicates",
)
#: Rungs below which a law of scale is little more than a line through points.
_FEW_SCALES = 3
#: Correlation of logarithms above which two inputs cannot be told apart.
_COLLINEAR = 0.98
#: ln(1 / ln 2): how far losses in bits are above those in nats, as logarithms.
_LOG_BITS_PER_NAT = -math.log(math.log(2))
#: How far from that the heaps may lie, which a law draws together by bending, and what share of the squares may be left
#: when one heap is converted.
_NEARLY, _FAR_BETTER = 0.35, 0.1
#: Fits, each to the scores that the last one takes for bits.
_ROUNDS = 4
#: Points below which two heaps of residuals say nothing.
_TWO_HEAPS = 8
#: Share of the residuals' root mean square by which curves that fit equally well must differ to be different ones.
_DISTINCT = 0.1
#: Starts of which only one came lowest that are many.
_MANY_STARTS = 8


def status_of(fit: Fit, spread: Spread) -> tuple[str, tuple[str, ...]]:
    """The status of a fit and its flags."""
    n_places = int(places(fit.points).max()) + 1
    flags = set(spread.flags)
    n_scales = int(fit.points.scale.max()) + 1
    if n_places < fit.n_free + 1 or n_scales < _FEW_SCALES:
        flags.add("few_scales")
    if fit.found and _two_units(fit):
        flags.add("bits_and_nats")
    if _collinear(fit):
        flags.add("collinear")
    if fit.n_agree <= 1 and fit.n_starts >= _MANY_STARTS:
        flags.add("one_start")
    if fit.found and _not_unique(fit):
        flags.add("not_unique")
    if n_places < fit.n_free:
        status = "too_few"
    elif not fit.found or not fit.settled:
        status = "not_converged"
    elif fit.at_bound.any():
        status = "at_bound"
    else:
        status = "ok"
    return status, tuple(name for name in FLAGS if name in flags)


def check_strict(table: pl.DataFrame, by: Sequence[str], *, strict: bool, what: str = "fit") -> None:
    """Raise for the first row whose status is not ``ok``."""
    bad = table.filter(pl.col("status") != "ok")
    if strict and bad.height:
        row = bad.row(0, named=True)
        where = ", ".join(f"{name}={row[name]}" for name in by)
        remedy = REMEDIES.get(row["status"], "filter it out (where=...)")
        raise FitError(f"the {what}{' of ' * bool(where)}{where} is {row['status']!r}: {remedy}")


def _two_units(fit: Fit) -> bool:
    """Whether residuals fall into two heaps about as far apart as bits are from nats, and the fit to converted scores
    of one heap is far better.
    """
    fitted, y = fit.fitted, fit.points.y
    if fit.points.n < _TWO_HEAPS or not ((fitted > 0) & (y > 0)).all():
        return False
    residuals = np.log(fitted) - np.log(y)
    order = np.argsort(residuals)
    middle = 1 + int(np.argmax(np.diff(residuals[order])))
    in_bits, others = order[:middle], order[middle:]
    distance = residuals[others].mean() - residuals[in_bits].mean()
    if min(len(in_bits), len(others)) < 2 or abs(distance / _LOG_BITS_PER_NAT - 1) > _NEARLY:
        return False
    converted, left = y.copy(), residuals
    converted[in_bits] *= math.log(2)
    for _ in range(_ROUNDS):
        again = refit(fit, np.ones((1, fit.points.n)), converted[None])
        with np.errstate(all="ignore"):
            curve = np.log(values(fit.law, again, fit.points.variables, fit.points.n)[0])
        left = curve - np.log(converted)
        above = np.log(y) - curve
        converted = np.where(above > 0.5 * _LOG_BITS_PER_NAT, y * math.log(2), y)
    return bool(np.sum(left**2) < _FAR_BETTER * np.sum(residuals**2))


def _not_unique(fit: Fit) -> bool:
    """Whether another curve fits as well: sums of absolute values (Huber's of small delta) may have a flat bottom."""
    if np.array_equal(fit.other, fit.inner):
        return False
    curve = values(fit.law, fit.other[None], fit.points.variables, fit.points.n)[0]
    scale = np.sqrt(np.mean((fit.points.y - fit.fitted) ** 2))
    return bool(np.max(np.abs(curve - fit.fitted)) > _DISTINCT * scale)


def _collinear(fit: Fit) -> bool:
    """Whether two inputs grow together."""
    columns = [column for column in fit.points.variables.values() if (column > 0).all()]
    logs = [np.log(column) for column in columns]
    logs = [log for log in logs if np.ptp(log) > 0]
    if len(logs) < 2 or fit.points.n < 3:
        return False
    correlation = np.corrcoef(np.stack(logs))
    return bool((np.abs(correlation[np.triu_indices(len(logs), 1)]) > _COLLINEAR).any())
