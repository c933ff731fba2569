"""Twin of ``rust/core/src/distributions``: quantiles and probabilities, one value at a time.

Slow and different on purpose: bracketing instead of Newton's method, textbook series and fractions,
Gauss–Legendre panels instead of the trapezoid rule, n x n matrices instead of trace identities.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ._segments import Floats, check_length

if TYPE_CHECKING:
    from collections.abc import Callable

_SQRT2 = math.sqrt(2.0)
_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def normal_cdf(x: Floats, *, threads: int | None = None) -> Floats:
    """P(Z <= x)."""
    del threads
    return _each(_normal_cdf, x)


def normal_quantile(p: Floats, *, threads: int | None = None) -> Floats:
    """The x with P(Z <= x) = p."""
    del threads
    return _each(_normal_quantile, p)


def t_cdf(t: Floats, df: Floats, *, threads: int | None = None) -> Floats:
    """P(T <= t) of Student's t with ``df`` degrees of freedom, which may be infinite."""
    del threads
    check_length("df", len(df), len(t))
    return _each(_t_cdf, t, df)


def t_quantile(p: Floats, df: Floats, *, threads: int | None = None) -> Floats:
    """The t with P(T <= t) = p."""
    del threads
    check_length("df", len(df), len(p))
    return _each(_t_quantile, p, df)


def f_quantile(p: Floats, df1: Floats, df2: Floats, *, threads: int | None = None) -> Floats:
    """The x with P(F <= x) = p; both degrees of freedom may be infinite."""
    del threads
    check_length("df1", len(df1), len(p))
    check_length("df2", len(df2), len(p))
    return _each(_f_quantile, p, df1, df2)


def beta_cdf(x: Floats, a: Floats, b: Floats, *, threads: int | None = None) -> Floats:
    """P(X <= x) of the beta distribution with shapes ``a`` and ``b``."""
    del threads
    check_length("a", len(a), len(x))
    check_length("b", len(b), len(x))
    return _each(_beta_cdf, x, a, b)


def beta_quantile(p: Floats, a: Floats, b: Floats, *, threads: int | None = None) -> Floats:
    """The x with P(X <= x) = p."""
    del threads
    check_length("a", len(a), len(p))
    check_length("b", len(b), len(p))
    return _each(_beta_quantile, p, a, b)


def chi2_quantile(p: Floats, df: Floats, *, threads: int | None = None) -> Floats:
    """The x with P(chi-square <= x) = p; ``df`` is finite."""
    del threads
    check_length("df", len(df), len(p))
    return _each(_chi2_quantile, p, df)


def studentised_range_cdf(q: Floats, members: Floats, df: Floats, *, threads: int | None = None) -> Floats:
    """P(range of ``members`` normals / independent sd with ``df`` degrees of freedom <= q)."""
    del threads
    check_length("members", len(members), len(q))
    check_length("df", len(df), len(q))
    return _each(_range_cdf, q, members, df)


def studentised_range_quantile(
    p: Floats, members: Floats, df: Floats, *, threads: int | None = None
) -> Floats:
    """The q with ``studentised_range_cdf`` = p."""
    del threads
    check_length("members", len(members), len(p))
    check_length("df", len(df), len(p))
    return _each(_range_quantile, p, members, df)


def autocorrelation_factors(n: Floats, rho: Floats, *, threads: int | None = None) -> dict[str, Floats]:
    """Expectation (over sigma^2) and degrees of freedom of the variance of n values with R_ij = rho^|i-j|.

    With C = I - 11'/n: f = tr(CR) / (n - 1), nu = tr(CR)^2 / tr(CRCR).
    """
    del threads
    check_length("rho", len(rho), len(n))
    out = np.full((2, len(n)), np.nan)
    for row, (count, r) in enumerate(zip(n, rho, strict=True)):
        if not (count >= 2 and count % 1 == 0 and 0 <= r < 1):
            continue
        if r == 0:
            out[:, row] = 1.0, count - 1.0
            continue
        index = np.arange(int(count))
        centre = np.eye(int(count)) - 1.0 / count
        product = centre @ r ** np.abs(index[:, None] - index[None, :])
        trace = float(np.trace(product))
        out[:, row] = trace / (count - 1.0), trace**2 / float(np.trace(product @ product))
    return {"f": out[0], "nu": out[1]}


def _each(function: Callable[..., float], *columns: Floats) -> Floats:
    return np.array([function(*map(float, row)) for row in zip(*columns, strict=True)], dtype=np.float64)


def _root(
    tails: Callable[[float], tuple[float, float]], p: float, q: float, low: float, high: float
) -> float:
    """Bisect for the point with lower tail p and upper tail q = 1 - p, comparing the smaller of the two."""
    while True:
        middle = 0.5 * (low + high)
        if not low < middle < high:
            return middle
        lower, upper = tails(middle)
        if lower < p if p <= q else upper > q:
            low = middle
        else:
            high = middle


def _normal_cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / _SQRT2)


def _normal_quantile(p: float) -> float:
    if not 0 <= p <= 1:
        return math.nan
    if p in {0, 1}:
        return math.copysign(math.inf, p - 0.5)
    if p == 0.5:
        return 0.0
    tail = min(p, 1 - p)
    z = _root(lambda x: (_normal_cdf(x), _normal_cdf(-x)), tail, 1 - tail, -40.0, 0.0)
    return z if p < 0.5 else -z


def _gamma_tails(a: float, x: float) -> tuple[float, float]:
    """Regularised incomplete gamma functions P(a, x) and Q(a, x): series below the mean, fraction above."""
    factor = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        n = a
        while term > 1e-17 * total:
            n += 1
            term *= x / n
            total += term
        return factor * total, 1 - factor * total
    fraction = 0.0
    for i in range(int(40 + 30 * math.sqrt(a)), 0, -1):  # from the innermost term outwards
        fraction = i * (i - a) / (x + 2 * i + 1 - a - fraction)
    upper = factor / (x + 1 - a - fraction)
    return 1 - upper, upper


def _beta_tails(a: float, b: float, x: float, y: float) -> tuple[float, float]:
    """I_x(a, b), the regularised incomplete beta function, and its complement; y = 1 - x."""
    if x > (a + 1) / (a + b + 2):
        lower, upper = _beta_tails(b, a, y, x)
        return upper, lower
    if x == 0:
        return 0.0, 1.0
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    factor = math.exp(a * math.log(x) + b * math.log(y) - log_beta) / a
    fraction = 0.0
    for m in range(int(60 + 5 * math.sqrt(a + b)), 0, -1):
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        fraction = even / (1 + odd / (1 + fraction))
    first = -(a + b) * x / (a + 1)
    lower = factor / (1 + first / (1 + fraction))
    return lower, 1 - lower


def _f_tails(log_f: float, df1: float, df2: float) -> tuple[float, float]:
    ratio = math.exp(log_f) * df1 / df2
    return _beta_tails(df1 / 2, df2 / 2, ratio / (1 + ratio), 1 / (1 + ratio))


def _t_cdf(t: float, df: float) -> float:
    if math.isnan(t) or not df > 0:
        return math.nan
    if math.isinf(df) or math.isinf(t):
        return _normal_cdf(t)
    if t == 0:
        return 0.5
    lower, upper = _f_tails(2 * math.log(abs(t)), 1.0, df)
    return upper / 2 if t < 0 else 0.5 + lower / 2


def _t_quantile(p: float, df: float) -> float:
    if not (0 <= p <= 1 and df > 0):
        return math.nan
    if math.isinf(df) or p in {0, 0.5, 1}:
        return _normal_quantile(p)
    tail = 2 * min(p, 1 - p)
    log_square = _root(lambda u: _f_tails(u, 1.0, df), abs(2 * p - 1), tail, -300.0, 300.0)
    return math.copysign(math.exp(log_square / 2), p - 0.5)


def _f_quantile(p: float, df1: float, df2: float) -> float:
    if not (0 <= p <= 1 and df1 > 0 and df2 > 0):
        return math.nan
    if p in {0, 1}:
        return 0.0 if p == 0 else math.inf
    if math.isinf(df2):
        return 1.0 if math.isinf(df1) else _chi2_quantile(p, df1) / df1
    if math.isinf(df1):
        return df2 / _chi2_upper(1 - p, p, df2)
    return math.exp(_root(lambda u: _f_tails(u, df1, df2), p, 1 - p, -300.0, 300.0))


def _beta_cdf(x: float, a: float, b: float) -> float:
    if math.isnan(x) or not (0 < a < math.inf and 0 < b < math.inf):
        return math.nan
    if not 0 < x < 1:
        return 0.0 if x <= 0 else 1.0
    return _beta_tails(a, b, x, 1 - x)[0]


def _beta_quantile(p: float, a: float, b: float) -> float:
    if not (0 <= p <= 1 and 0 < a < math.inf and 0 < b < math.inf):
        return math.nan
    if p in {0, 1}:
        return p
    odds = math.exp(_root(lambda u: _f_tails(u, 2 * a, 2 * b), p, 1 - p, -300.0, 300.0)) * a / b
    return odds / (1 + odds)


def _chi2_quantile(p: float, df: float) -> float:
    if not (0 <= p <= 1 and 0 < df < math.inf):
        return math.nan
    if p in {0, 1}:
        return 0.0 if p == 0 else math.inf
    return _chi2_upper(p, 1 - p, df)


def _chi2_upper(p: float, q: float, df: float) -> float:
    """Chi-square quantile from both tail probabilities, so that neither has to be rounded."""
    highest = math.log(df + 100 * math.sqrt(df) + 2000)
    return 2 * math.exp(_root(lambda w: _gamma_tails(df / 2, math.exp(w)), p, q, -300.0, highest))


_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(20)


def _panels(low: float, high: float, count: int) -> tuple[Floats, Floats]:
    """Nodes and weights of Gauss–Legendre quadrature on ``count`` panels of equal width."""
    edges = np.linspace(low, high, count + 1)
    half = np.diff(edges) / 2
    nodes = (edges[:-1] + half)[:, None] + half[:, None] * _POINTS
    return nodes.ravel(), (half[:, None] * _WEIGHTS).ravel()


_Z, _Z_WEIGHTS = _panels(-8.5, 8.5, 12)
_PHI = np.exp(-_Z * _Z / 2) / math.sqrt(2 * math.pi)
_UPPER = 0.5 * _erfc(_Z / _SQRT2)


def _known_sd_range_cdf(r: Floats, members: float) -> Floats:
    """W(r) = J int phi(z) (Phi(z) - Phi(z - r))^(J-1) dz, the range of J standard normals."""
    shifted = 0.5 * _erfc((_Z[None, :] - r[:, None]) / _SQRT2)
    return members * ((_Z_WEIGHTS * _PHI) * (shifted - _UPPER) ** (members - 1)).sum(axis=1)


def _range_cdf(q: float, members: float, df: float) -> float:
    """P(q) = int W(q s) f(s) ds over the density f of s = chi(df) / sqrt(df), on the axis w = log s."""
    if math.isnan(q) or not (2 <= members <= 1e6 and members % 1 == 0 and df > 0):
        return math.nan
    if q <= 0:
        return 0.0
    if math.isinf(q):
        return 1.0
    if df >= 1e10:
        return float(_known_sd_range_cdf(np.array([q]), members)[0])

    a = df / 2
    if df < 1e3:
        log_norm = a * math.log(a) - a - math.lgamma(a)
    else:  # Stirling's series, where the line above cancels
        log_norm = 0.5 * math.log(a / (2 * math.pi)) - 1 / (12 * a) + 1 / (360 * a**3)

    def log_density(w: Floats) -> Floats:
        return math.log(2.0) + log_norm + df * (w - np.expm1(2 * w) / 2)

    # Integrate where an upper bound of the integrand, W(r) < J (r / sqrt(2 pi))^(J-1), is not negligible.
    grid = np.linspace(-45.0, 4.0, 5000) / max(1.0, math.sqrt(df / 10))
    growth = math.log(members) + (members - 1) * (math.log(q / math.sqrt(2 * math.pi)) + grid)
    bound = log_density(grid) + np.minimum(0.0, growth)
    kept = grid[bound > bound.max() - 40]
    # W rises over a stretch that shrinks with J; k is as wide as the whole interval once df is large.
    nodes, weights = _panels(kept[0], kept[-1], 6 + int((kept[-1] - kept[0]) * members**0.3))
    ranges = q * np.exp(nodes)
    inside = ranges < 15.0  # W is 1 beyond
    known_sd = np.ones(len(nodes))
    known_sd[inside] = _known_sd_range_cdf(ranges[inside], members)
    return float((weights * np.exp(log_density(nodes)) * known_sd).sum())


def _range_quantile(p: float, members: float, df: float) -> float:
    if not (0 <= p <= 1) or math.isnan(_range_cdf(1.0, members, df)):
        return math.nan
    if p in {0, 1}:
        return 0.0 if p == 0 else math.inf
    # Regula falsi on log q with the Illinois rule: halve the weight of an end that stays.
    low, high = -1.0, 1.0
    while (below := _range_cdf(math.exp(low), members, df) - p) > 0:
        low -= 1.0
    while (above := _range_cdf(math.exp(high), members, df) - p) < 0:
        high += 1.0
    side = 0
    while high - low > 1e-14:
        middle = high - above * (high - low) / (above - below)
        value = _range_cdf(math.exp(middle), members, df) - p
        if abs(value) < 1e-15 or not low < middle < high:
            return math.exp(middle)
        if value < 0:
            low, below = middle, value
            above *= 0.5 if side < 0 else 1.0
            side = -1
        else:
            high, above = middle, value
            below *= 0.5 if side > 0 else 1.0
            side = 1
    return math.exp(0.5 * (low + high))


def expected_range(members: Floats, *, threads: int | None = None) -> Floats:
    """Mean range of each number of standard normal values: int (1 - Phi(x)^J - (1 - Phi(x))^J) dx."""
    del threads
    nodes, weights = np.polynomial.legendre.leggauss(200)
    x = np.concatenate([piece + 2 * nodes for piece in range(-14, 15, 4)])
    w = np.tile(2 * weights, len(x) // len(nodes))
    below = np.array([0.5 * math.erfc(-value / math.sqrt(2.0)) for value in x])
    above = below[::-1]
    out = [
        np.sum(w * (1 - below**j - above**j)) if 2 <= j <= 1e6 and j == int(j) else np.nan for j in members
    ]
    return np.array(out, dtype=float)
