"""Tests on pairs without resampling: McNemar, Wilcoxon's signed ranks, equivalence and non-inferiority."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ._errors import OptionError
from ._kernels import kernels
from ._options import check_choice

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Offsets = NDArray[np.uintp]

#: Up to this many non-zero differences the null distribution of signed ranks is counted out, ties included.
EXACT_RANKS = 50
#: Differences this close, relative to the largest, are equal: 0.3 - 0.1 is not 0.2 in binary fractions.
TIE_TOLERANCE = 1e-12


def mcnemar(
    b: Floats, c: Floats, method: Literal["exact", "mid_p", "chi2", "chi2_corrected"] = "mid_p"
) -> Floats:
    """Two-sided p-value that two models solve equally many instances, from the instances only one of them solves.

    Parameters
    ----------
    b, c
        Instances solved by the first alone and by the second alone, any equal shape.
    method
        With m = min(b, c) and X binomial(b + c, 1/2): ``"exact"`` min(1, 2 P(X <= m)), conservative; ``"mid_p"``
        2 P(X <= m) - P(X = m), close to its level; ``"chi2"`` (b - c)^2/(b + c) and ``"chi2_corrected"``
        max(0, |b - c| - 1)^2/(b + c) against chi-square with 1 degree of freedom.

    Notes
    -----
    b + c = 0 gives 1: the models agree everywhere. With b = c the mid-p is 1.

    References
    ----------
    McNemar 1947, Psychometrika 12; Fagerland, Lydersen and Laake 2013, BMC Medical Research Methodology 13:91.
    """
    check_choice("method", method, ("exact", "mid_p", "chi2", "chi2_corrected"))
    b, c = np.broadcast_arrays(np.asarray(b, dtype=float), np.asarray(c, dtype=float))
    if np.any((b < 0) | (c < 0)):
        raise OptionError("counts of discordant pairs cannot be negative")
    n, m = b + c, np.minimum(b, c)
    if method in ("chi2", "chi2_corrected"):
        apart = np.abs(b - c) if method == "chi2" else np.maximum(0.0, np.abs(b - c) - 1)
        with np.errstate(all="ignore"):
            z = np.where(n > 0, apart / np.sqrt(n), 0.0)
        return 2 * kernels().normal_cdf(-z.ravel()).reshape(n.shape)
    below, upto = _half_binomial_cdf(m - 1, n), _half_binomial_cdf(m, n)
    # 2 P(X <= m) - P(X = m) = P(X <= m) + P(X <= m - 1)
    p = 2 * upto if method == "exact" else below + upto
    # b = c is 1 by symmetry, which rounding need not find.
    return np.where(np.isnan(n), np.nan, np.where(b == c, 1.0, np.minimum(1.0, p)))


def _half_binomial_cdf(k: Floats, n: Floats) -> Floats:
    """P(X <= k) for X binomial(n, 1/2) and k < n or n = 0: the beta distribution at 1/2 with shapes n - k and k + 1."""
    a, b = (n - k).ravel(), (k + 1).ravel()
    p = kernels().beta_cdf(np.full(n.size, 0.5), np.maximum(a, 0.5), np.maximum(b, 0.5)).reshape(n.shape)
    return np.where(k < 0, 0.0, np.where(k >= n, 1.0, p))


@dataclass(frozen=True)
class SignedRanks:
    """Wilcoxon's signed-rank test of every group."""

    n: Ints
    """Differences that are not 0."""
    positive: Floats
    """Sum of the ranks of positive differences."""
    negative: Floats
    p_value: Floats
    """Two-sided; 1 where all differences are 0."""
    exact: NDArray[np.bool_]
    """Whether the null distribution was counted out."""


def wilcoxon_signed_rank(differences: Floats, offsets: Offsets) -> SignedRanks:
    """Wilcoxon's signed-rank test that differences are symmetric about 0.

    Parameters
    ----------
    differences
        Paired differences; zeros are dropped, equal absolute values share their mean rank.
    offsets
        Group g is ``differences[offsets[g]:offsets[g + 1]]``.

    Undefined when
        A group is empty or holds a NaN (p NaN).

    Notes
    -----
    Up to 50 non-zero differences the p-value is exact given the ranks, also with ties: all 2^n signs are counted by
    dynamic programming over sums of doubled ranks, p = min(1, 2 min(P(W <= w), P(W >= w))). Beyond, the normal
    approximation with the variance of the ranks at hand, sum(r^2)/4, and no continuity correction.

    References
    ----------
    Wilcoxon 1945, Biometrics Bulletin 1; Pratt 1959, JASA 54, on zeros.
    """
    bounds = offsets.astype(np.intp)
    n_groups = len(bounds) - 1
    n = np.zeros(n_groups, dtype=np.intp)
    positive, negative, z = (np.full(n_groups, np.nan) for _ in range(3))
    exact = np.full(n_groups, np.nan)
    for g in range(n_groups):
        d = differences[bounds[g] : bounds[g + 1]]
        if not len(d) or np.isnan(d).any():
            continue
        ranks, signs = _doubled_ranks(d)
        n[g] = len(ranks)
        up = int(ranks[signs > 0].sum())
        total = int(ranks.sum())
        positive[g], negative[g] = up / 2, (total - up) / 2
        if len(ranks) <= EXACT_RANKS:
            exact[g] = _exact_p(tuple(ranks.tolist()), min(up, total - up))
        else:
            z[g] = abs(up - total / 2) / np.sqrt(np.sum(ranks.astype(float) ** 2) / 4)
    approximate = 2 * kernels().normal_cdf(-z)
    counted = ~np.isnan(exact)
    return SignedRanks(n, positive, negative, np.where(counted, exact, approximate), counted)


def _doubled_ranks(d: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Twice the mean ranks of the absolute non-zero differences in ascending order, and their signs."""
    size = np.abs(d)
    kept = size > TIE_TOLERANCE * size.max()
    order = np.argsort(size[kept], kind="stable")
    size, signs = size[kept][order], np.sign(d[kept][order])
    if not len(size):
        return np.zeros(0, dtype=np.int64), signs
    starts = np.flatnonzero(np.concatenate([[True], np.diff(size) > TIE_TOLERANCE * size[1:]]))
    ends = np.concatenate([starts[1:], [len(size)]])
    # ranks start + 1 .. end have the mean (start + 1 + end)/2
    return np.repeat(starts + 1 + ends, ends - starts), signs


@lru_cache(maxsize=128)
def _exact_p(ranks: tuple[int, ...], smaller: int) -> float:
    """Two-sided p of the smaller sum of ranks, by counting the signs that lead to each sum (at most 2^50: exact)."""
    counts = np.zeros(sum(ranks) + 1)
    counts[0] = 1
    for rank in ranks:
        counts[rank:] += counts[:-rank].copy()
    return float(min(1.0, 2 * counts[: smaller + 1].sum() / 2.0 ** len(ranks)))


@dataclass(frozen=True)
class Equivalence:
    """One-sided tests of an estimate against both ends of a margin."""

    p_value: Floats
    """Of "the true value lies outside the margin": the larger of the two below."""
    p_above_low: Floats
    """Of "at or below -low": small means better than that."""
    p_below_high: Floats
    """Of "at or above high"."""


def equivalence(
    estimate: Floats, stderr: Floats, df: Floats, low: float, high: float | None = None
) -> Equivalence:
    """Two one-sided tests (TOST) that a difference lies within ``(-low, high)``.

    Parameters
    ----------
    estimate, stderr, df
        Difference, its standard error (score units) and degrees of freedom (may be infinite).
    low, high
        Margins, positive, score units; `high` defaults to `low`.

    Undefined when
        The error is NaN, or 0 with the estimate exactly at a margin.

    Notes
    -----
    At level alpha the test rejects where the 1 - 2 alpha interval lies inside the margins.

    References
    ----------
    Schuirmann 1987, J. Pharmacokinetics and Biopharmaceutics 15.
    """
    high = low if high is None else high
    for name, margin in (("low", low), ("high", high)):
        if not margin > 0:
            raise OptionError(f"the margin {name} must be positive, got {margin!r}")
    above, below = (
        _upper_tail(estimate + low, stderr, df),
        _upper_tail(high - np.asarray(estimate), stderr, df),
    )
    return Equivalence(np.maximum(above, below), above, below)


def non_inferiority(estimate: Floats, stderr: Floats, df: Floats, margin: float) -> Floats:
    """One-sided p-value of "worse by `margin` or more", for a difference of which larger is better.

    Small values say that the first model is at most `margin` worse; see `equivalence` for units and undefined cases.
    """
    if not margin > 0:
        raise OptionError(f"the margin must be positive, got {margin!r}")
    return _upper_tail(np.asarray(estimate) + margin, stderr, df)


def _upper_tail(distance: Floats, stderr: Floats, df: Floats) -> Floats:
    """P(T >= distance / stderr)."""
    with np.errstate(all="ignore"):
        t = np.asarray(distance, dtype=float) / stderr
    return kernels().t_cdf(-t, np.broadcast_to(np.asarray(df, dtype=float), t.shape).copy())
