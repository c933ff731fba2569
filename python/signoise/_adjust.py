"""Probabilities adjusted for the number of tests, by family; undefined ones pass through and count for nothing."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ._errors import OptionError, ShapeError
from ._options import check_choice

Floats = NDArray[np.float64]
Method = Literal["bonferroni", "holm", "bh", "by", "none"]


def adjusted(p: Floats, method: Method = "holm", family: NDArray[np.intp] | None = None) -> Floats:
    """Adjusted p-values in the order given: compare with alpha as if there were one test.

    Parameters
    ----------
    p
        Probabilities in [0, 1]; NaN (an undefined test) stays NaN and does not count as a test.
    method
        With p_(1) <= .. <= p_(m): ``"bonferroni"`` m p. ``"holm"`` max_{j<=i} (m - j + 1) p_(j): family-wise error
        under any dependence. ``"bh"`` min_{j>=i} m p_(j)/j: false discovery rate for independent or positively
        dependent tests. ``"by"`` the same times 1 + 1/2 + .. + 1/m, under any dependence. ``"none"`` as given. All
        are capped at 1.
    family
        Label of the family of each test; one family by default.

    References
    ----------
    Holm 1979, Scand. J. Statistics 6; Benjamini and Hochberg 1995, J. R. Stat. Soc. B 57; Benjamini and Yekutieli
    2001, Annals of Statistics 29.
    """
    check_choice("method", method, ("bonferroni", "holm", "bh", "by", "none"))
    p = np.asarray(p, dtype=float)
    if np.any((p < 0) | (p > 1)):
        raise OptionError("probabilities must lie between 0 and 1")
    if family is None:
        family = np.zeros(len(p), dtype=np.intp)
    elif len(family) != len(p):
        raise ShapeError(f"family has {len(family)} values, expected {len(p)}")
    out = np.full(len(p), np.nan)
    tested = ~np.isnan(p)
    for label in np.unique(family[tested]):
        rows = np.flatnonzero(tested & (family == label))
        rows = rows[np.argsort(p[rows], kind="stable")]
        out[rows] = _in_order(p[rows], method)
    return out


def _in_order(p: Floats, method: Method) -> Floats:
    """Adjusted p-values of one family in ascending order."""
    m = len(p)
    rank = np.arange(1, m + 1)
    if method == "bonferroni":
        p = m * p
    elif method == "holm":
        p = np.maximum.accumulate((m - rank + 1) * p)
    elif method in ("bh", "by"):
        scale = m * (1.0 if method == "bh" else float(np.sum(1 / rank)))
        p = np.minimum.accumulate((p * (scale / rank))[::-1])[::-1]
    return np.minimum(p, 1.0)
