"""The length of blocks for a series: the rule of Politis and White."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def block_length(x: Floats, *, stationary: bool) -> int:
    """Length (mean length, where blocks are of random length) that makes the error of the variance of a mean smallest.

    Parameters
    ----------
    x
        The series, in order.
    stationary
        Blocks of random length around the end; else of fixed length.

    Notes
    -----
    (2 G^2 / D)^(1/3) n^(1/3) with G = sum |k| w(k) R(k) and g = sum w(k) R(k) over lags k, R the autocovariance and w
    the flat-top window, 1 up to M/2 and down to 0 at M; D = 2 g^2 (stationary) or 4/3 g^2. M is twice the largest lag
    before max(5, sqrt(log10 n)) autocorrelations in a row lie within 2 sqrt(log10(n) / n). At most min(3 sqrt(n), n/3),
    at least 1, rounded to the nearest.

    References
    ----------
    Politis and White 2004, "Automatic block-length selection for the dependent bootstrap", Econometric Reviews 23;
    Patton, Politis and White 2009, correction, Econometric Reviews 28.
    """
    n = len(x)
    most = min(3 * math.sqrt(n), n / 3)
    d = x - x.mean()
    run = max(5, math.ceil(math.sqrt(math.log10(n))))
    lags = min(math.ceil(math.sqrt(n)) + run, n - 1)
    covariance = np.array([d[: n - k] @ d[k:] for k in range(lags + 1)]) / n
    if covariance[0] <= 0:
        return 1
    small = np.abs(covariance[1:]) < 2 * math.sqrt(math.log10(n) / n) * covariance[0]
    first = next((m for m in range(lags - run + 1) if small[m : m + run].all()), lags)
    m = min(2 * max(first, 1), lags)
    k = np.arange(1, m + 1)
    window = np.clip(2 * (1 - k / m), 0.0, 1.0)
    slope = 2 * float((k * window * covariance[1 : m + 1]).sum())
    density = float(covariance[0] + 2 * (window * covariance[1 : m + 1]).sum())
    if density <= 0:
        return max(1, math.floor(most))
    constant = 2.0 if stationary else 4 / 3
    best = (2 * slope**2 / (constant * density**2) * n) ** (1 / 3)
    return max(1, round(min(best, most)))
