"""Intervals of a proportion from counts of successes, elementwise; ends of [0, 1] are never left."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ._errors import OptionError
from ._intervals import quantile_at
from ._kernels import kernels
from ._options import check_choice

Floats = NDArray[np.float64]
Method = Literal["wilson", "clopper_pearson", "jeffreys"]


def proportion_interval(
    successes: Floats, n: Floats, level: float, method: Method = "wilson"
) -> tuple[Floats, Floats]:
    """Interval of a success probability from k of n independent trials.

    Parameters
    ----------
    successes, n
        Counts of the same shape, 0 <= k <= n.
    level
        Confidence level, e.g. 0.95.
    method
        ``"wilson"``: score interval, close to its level on average over p. ``"clopper_pearson"``: exact, covers at
        least its level for every p. ``"jeffreys"``: equal-tailed posterior under Beta(1/2, 1/2), ends 0 and 1 at
        k = 0 and k = n, close to its level on average.

    Undefined when
        n is 0 (NaN).

    References
    ----------
    Brown, Cai and DasGupta 2001, "Interval estimation for a binomial proportion", Statistical Science 16.
    """
    check_choice("method", method, ("wilson", "clopper_pearson", "jeffreys"))
    k, n = np.asarray(successes, dtype=float), np.asarray(n, dtype=float)
    if np.any((k < 0) | (k > n)):
        raise OptionError("successes must lie between 0 and the number of trials")
    if method == "wilson":
        low, high = _wilson(k, n, level)
    else:
        shift = 0.5 if method == "jeffreys" else 0.0
        # Clopper-Pearson is Beta(k, n - k + 1) below and Beta(k + 1, n - k) above, Jeffreys Beta(k + 1/2, n - k + 1/2).
        low = _beta((1 - level) / 2, k + shift, n - k + 1 - shift)
        high = _beta((1 + level) / 2, k + 1 - shift, n - k + shift)
    low, high = np.where(k == 0, 0.0, low), np.where(k == n, 1.0, high)
    return np.where(n > 0, low, np.nan), np.where(n > 0, high, np.nan)


def _wilson(k: Floats, n: Floats, level: float) -> tuple[Floats, Floats]:
    z = quantile_at("t_quantile", (1 + level) / 2, np.array([np.inf]))[0]
    with np.errstate(all="ignore"):
        p = k / n
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return centre - half, centre + half


def _beta(p: float, a: Floats, b: Floats) -> Floats:
    quantiles = kernels().beta_quantile(np.full(a.size, p), np.ravel(a), np.ravel(b))
    return quantiles.reshape(a.shape)
