"""Means of the members over parts of the instances, their covariances, and where a mixture of two parts is 0.

A part k gives instance i the weight w_ki (0: not in it), and member m the score

    s_mk = sum_i w_ki x_mi / sum_i w_ki

whose influence of instance i is ``psi_mki = w_ki (x_mi - s_mk) / sum_i w_ki``. With sums of these over clusters

    cov(s_mk, s_m'l) = sum_g psi_mkg psi_m'lg

times n_k/(n_k - 1) for n_k clusters in part k, or the root of both factors for two parts. A combination of parts that
share no instance is about parts of these sizes; a difference between all instances and a part of them is about other
instances like these, of which more or fewer fall into the part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._intervals import quantile_at

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

#: Means over fewer instances than this, and what their errors rest on, are rough.
FEW_IN_PART = 10
#: A variance below this share of what it was subtracted from is rounding.
_ROUNDING = 1e-13


@dataclass(frozen=True)
class PartMeans:
    """Scores of members on parts of the instances."""

    means: Floats
    """(n_parts, n_members)."""
    influence: Floats
    """Of clusters, (n_parts, n_members, n_clusters)."""
    counts: Ints
    """Clusters in each part."""

    def combined(self, factors: Mapping[int, float]) -> tuple[Floats, Floats]:
        """The sum of some parts times a factor each, (n_members, n_clusters) of influence and (n_members) of value."""
        value = sum(factor * self.means[part] for part, factor in factors.items())
        with np.errstate(all="ignore"):
            scale = np.sqrt(self.counts / (self.counts - 1.0))
            influence = sum(factor * scale[part] * self.influence[part] for part, factor in factors.items())
        return np.asarray(value), np.asarray(influence)


def joined(*parts: PartMeans) -> PartMeans:
    """Parts of several tables of scores of the same members and instances."""
    return PartMeans(
        np.concatenate([part.means for part in parts]),
        np.concatenate([part.influence for part in parts]),
        np.concatenate([part.counts for part in parts]),
    )


def part_means(values: Floats, weights: Floats, clusters: Ints) -> PartMeans:
    """Scores (n_members, n_items) on parts with weights (n_parts, n_items); NaN on an empty part."""
    n_clusters = int(clusters[-1]) + 1 if len(clusters) else 0
    starts = np.flatnonzero(np.diff(clusters, prepend=-1))
    with np.errstate(all="ignore"):
        sizes = weights.sum(axis=1)
        means = weights @ values.T / sizes[:, None]
        influence = weights[:, None, :] * (values[None] - means[:, :, None]) / sizes[:, None, None]
    counts = np.array([len(np.unique(clusters[row > 0])) for row in weights], dtype=np.intp)
    if n_clusters < len(clusters):
        influence = np.add.reduceat(influence, starts, axis=2)
    return PartMeans(means, influence, counts)


def pair_products(one: Floats, other: Floats) -> Floats:
    """Of the differences between the members of all pairs, in the order of ``triu_indices``, the products summed over
    clusters: variances where `one` is `other`, else covariances.
    """
    first, second = np.triu_indices(len(one), 1)
    cross = one @ other.T
    own = np.diag(cross)
    total = own[first] + own[second]
    found = total - cross[first, second] - cross[second, first]
    size_one, size_other = (np.sqrt((side**2).sum(axis=1)) for side in (one, other))
    scale = (size_one[first] + size_one[second]) * (size_other[first] + size_other[second])
    return np.where(np.abs(found) <= _ROUNDING * scale, 0.0, found)


@dataclass(frozen=True)
class Crossing:
    """Share of one part in a mixture of two at which a difference is 0; NaN where there is none in [0, 1]."""

    share: Floats
    low: Floats
    high: Floats


def crossing(
    clean: Floats, wrong: Floats, variances: tuple[Floats, Floats, Floats], df: Floats, level: float
) -> Crossing:
    """Where ``(1 - N) clean + N wrong`` is 0, and the shares at which it is not told from 0 (Fieller).

    Parameters
    ----------
    clean, wrong
        Differences at N = 0 and N = 1.
    variances
        Of the first, of the second, and their covariance.
    df
        Degrees of freedom of the t quantile.

    Returns
    -------
    Crossing
        `low` and `high` are the ends, within [0, 1], of the set of N with
        ``|(1 - N) clean + N wrong| <= t stderr(N)``; the set may have a gap between them where the two differences do
        not differ clearly. NaN where it is empty.
    """
    own, other, shared = variances
    step = wrong - clean
    with np.errstate(all="ignore"):
        share = np.where(np.sign(clean) * np.sign(wrong) <= 0, clean / -step, np.nan)
        share = np.where((clean == 0) & (wrong == 0), np.nan, share)
        t2 = quantile_at("t_quantile", (1 + level) / 2, df) ** 2
        # g(N) = c + b N + a N^2 <= 0
        c = clean**2 - t2 * own
        b = 2 * clean * step - t2 * 2 * (shared - own)
        a = step**2 - t2 * (own + other - 2 * shared)
        at_one = wrong**2 - t2 * other
        root = np.sqrt(np.maximum(b**2 - 4 * a * c, 0.0))
        # The stable form of both roots.
        q = -0.5 * (b + np.where(b < 0, -1.0, 1.0) * root)
        roots = np.stack([q / a, c / q])
        roots = np.where((b**2 >= 4 * a * c) & (roots >= 0) & (roots <= 1), roots, np.nan)
        first, last = np.fmin(*roots), np.fmax(*roots)
        low, high = np.where(c <= 0, 0.0, first), np.where(at_one <= 0, 1.0, last)
    known = np.isfinite(a + b + c)
    # Rounding must not put the crossing outside of its limits.
    low, high = (np.where(known, side, np.nan) for side in (np.fmin(low, share), np.fmax(high, share)))
    return Crossing(share + 0.0, low, high)
