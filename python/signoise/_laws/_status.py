"""Whether a fit can be used, what to be careful about, and what to do."""

from __future__ import annotations

import numpy as np

from ._fit import Fit
from ._uncertainty import Spread

#: What to do about each status.
REMEDIES = {
    "too_few": "there are fewer distinct points than parameters; add runs, or hold parameters with bounds",
    "not_converged": "no start reached a stable optimum; look at units, give bounds, or try another law",
    "at_bound": "a parameter ended at its bound; widen it with bounds={'name': (None, None)}, or take a simpler law",
}
#: Flags in the order in which they are listed.
FLAGS = (
    "few_scales",
    "collinear",
    "one_start",
    "few_clusters",
    "rung_effects",
    "unidentified_replicates",
)
#: Rungs below which a law of scale is little more than a line through points.
_FEW_SCALES = 3
#: Correlation of logarithms above which two inputs cannot be told apart.
_COLLINEAR = 0.98
#: Starts of which only one came lowest that are many.
_MANY_STARTS = 8


def status_of(fit: Fit, spread: Spread) -> tuple[str, tuple[str, ...]]:
    """The status of a fit and its flags."""
    places = len(np.unique(np.stack(list(fit.points.variables.values()), axis=1), axis=0))
    flags = set(spread.flags)
    n_scales = int(fit.points.scale.max()) + 1
    if places < fit.n_free + 1 or n_scales < _FEW_SCALES:
        flags.add("few_scales")
    if _collinear(fit):
        flags.add("collinear")
    if fit.n_agree <= 1 and fit.n_starts >= _MANY_STARTS:
        flags.add("one_start")
    if places < fit.n_free:
        status = "too_few"
    elif not fit.found or not fit.settled:
        status = "not_converged"
    elif fit.at_bound.any():
        status = "at_bound"
    else:
        status = "ok"
    return status, tuple(name for name in FLAGS if name in flags)


def _collinear(fit: Fit) -> bool:
    """Whether two inputs grow together."""
    columns = [column for column in fit.points.variables.values() if (column > 0).all()]
    logs = [np.log(column) for column in columns]
    logs = [log for log in logs if np.ptp(log) > 0]
    if len(logs) < 2 or fit.points.n < 3:
        return False
    correlation = np.corrcoef(np.stack(logs))
    return bool((np.abs(correlation[np.triu_indices(len(logs), 1)]) > _COLLINEAR).any())
