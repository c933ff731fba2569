"""Prediction-powered inference: a judge scores many instances, people label a few, and the labels correct the judge.

The judge may be as biased as it likes: its mistakes on labelled instances are subtracted, and the better it agrees with
the labels, the more its scores of unlabelled instances narrow the interval. Labelled instances must be a random sample
of all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._errors import OptionError, ShapeError
from ._kernels import kernels
from ._mean_intervals import Estimate, mean_estimate

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Offsets = NDArray[np.uintp]


@dataclass(frozen=True)
class PredictionPowered:
    """A corrected mean of every group; NaN where undefined."""

    estimate: Estimate
    """``n`` counts labels, ``design_effect`` is the variance over that of the labels alone (below 1: a gain)."""
    labels_alone: Estimate
    """Mean of the labels, what one would have without a judge."""
    weight: Floats
    """Weight of the judge (lambda): 0 ignores it, 1 trusts it as plain prediction-powered inference does."""


def prediction_powered_mean(
    labels: Floats,
    predictions: Floats,
    offsets: Offsets,
    unlabelled: Floats,
    unlabelled_offsets: Offsets,
    *,
    weight: float | None = None,
    clusters: Ints | None = None,
    unlabelled_clusters: Ints | None = None,
) -> PredictionPowered:
    """Mean of the labels over all instances, from a labelled sample and the judge's scores of the rest.

    Parameters
    ----------
    labels, predictions
        Label and judge's score of each labelled instance. For the difference of two models on shared instances give
        differences, of labels and of the judge's scores; differences of separate instances are
        `unpaired_difference` of two estimates.
    offsets
        Group g is ``labels[offsets[g]:offsets[g + 1]]``.
    unlabelled, unlabelled_offsets
        The judge's scores of instances without a label, in the same groups.
    weight
        Of the judge, 0 to 1; by default the one that makes the variance smallest, estimated for each group.
    clusters, unlabelled_clusters
        Label of the cluster of each instance; labelled and unlabelled instances of a group may share one.

    Undefined when
        A group has fewer than 2 labelled or 2 unlabelled instances (or labelled clusters), or a NaN.

    Notes
    -----
    mean(Y) + w (mean(F_unlabelled) - mean(F_labelled)) with variance Var(Y - w F)/n + w^2 Var(F_unlabelled)/N and
    w = cov(Y, F) / ((1 + n/N) Var(F)), clipped to [0, 1], Var(F) over both samples; 0 where the judge does not vary.
    Degrees of freedom are Welch's of the two terms; the interval is one for large samples (estimating w costs a little
    coverage below about 50 labels). Clustered: the estimate is a sum over instances, of (Y - w F - mean)/n and
    w (F - mean)/N; its variance G/(G - 1) times the sum of squares of the clusters' parts, G - 1 degrees of freedom,
    with G the clusters that have a label; w as before.

    References
    ----------
    Angelopoulos et al. 2023, "Prediction-powered inference", Science 382; Angelopoulos, Duchi and Zrnic 2023, "PPI++",
    arXiv 2311.01453, section 6.
    """
    if len(labels) != len(predictions):
        raise ShapeError(f"labels has {len(labels)} values and predictions {len(predictions)}")
    if len(offsets) != len(unlabelled_offsets):
        raise ShapeError("labelled and unlabelled instances must have the same groups")
    if (clusters is None) != (unlabelled_clusters is None):
        raise ShapeError("clusters are needed of labelled and unlabelled instances, or of neither")
    if weight is not None and not 0 <= weight <= 1:
        raise OptionError(f"weight must lie between 0 and 1, got {weight!r}")
    moments = kernels().segment_moments
    y, f = moments(labels, offsets), moments(predictions, offsets)
    rest = moments(unlabelled, unlabelled_offsets)
    n, more = y["n"].astype(float), rest["n"].astype(float)
    group = np.repeat(np.arange(len(n)), np.diff(offsets).astype(np.intp))
    with np.errstate(all="ignore"):
        enough = (n >= 2) & (more >= 2)
        if weight is None:
            product = (labels - y["mean"][group]) * (predictions - f["mean"][group])
            covariance = moments(product, offsets)["mean"] * n / (n - 1)
            # Sum of squares of both samples about their common mean.
            apart = (f["mean"] - rest["mean"]) ** 2 * n * more / (n + more)
            pooled = (f["m2"] + rest["m2"] + apart) / (n + more - 1)
            best = np.clip(covariance / ((1 + n / more) * pooled), 0.0, 1.0)
            used = np.where(pooled == 0, 0.0, best)
        else:
            used = np.full(len(n), float(weight))
        corrected = moments(labels - used[group] * predictions, offsets)
        first = corrected["m2"] / (n - 1) / n
        second = used**2 * rest["m2"] / (more - 1) / more
        variance = np.where(enough, first + second, np.nan)
        df = np.where(variance > 0, variance**2 / (first**2 / (n - 1) + second**2 / (more - 1)), n - 1)
    value = np.where(enough, corrected["mean"] + used * rest["mean"], np.nan)
    alone = mean_estimate(labels, offsets, clusters=clusters)
    if clusters is not None and unlabelled_clusters is not None:
        parts = (labels - used[group] * predictions - corrected["mean"][group]) / n[group]
        other = np.repeat(np.arange(len(more)), np.diff(unlabelled_offsets).astype(np.intp))
        others = (used / more)[other] * (unlabelled - rest["mean"][other])
        squares = _cluster_squares(
            np.concatenate([parts, others]),
            np.concatenate([group, other]),
            np.concatenate([clusters, unlabelled_clusters]),
            len(n),
        )
        g = alone.n_clusters.astype(float)
        with np.errstate(all="ignore"):
            variance = np.where(enough & (g >= 2), squares * g / (g - 1), np.nan)
        df = g - 1
    with np.errstate(all="ignore"):
        effect = np.where(alone.stderr > 0, variance / alone.stderr**2, np.nan)
        stderr = np.sqrt(variance)
    df = np.where(np.isnan(variance), np.nan, df)
    return PredictionPowered(
        estimate=Estimate(
            value,
            stderr,
            df,
            alone.n,
            alone.n_clusters,
            alone.effective_clusters,
            design_effect=effect,
            skewness=np.full(len(n), np.nan),
        ),
        labels_alone=alone,
        weight=np.where(enough, used, np.nan),
    )


def _cluster_squares(values: Floats, group: Ints, cluster: Ints, n_groups: int) -> Floats:
    """Sum of the squared cluster sums of each group."""
    _, label = np.unique(cluster, return_inverse=True)
    span = int(label.max(initial=0)) + 1
    codes, place = np.unique(group * span + label, return_inverse=True)
    sums = np.bincount(place, weights=values, minlength=len(codes))
    return np.bincount((codes // span).astype(np.intp), weights=sums**2, minlength=n_groups).astype(float)
