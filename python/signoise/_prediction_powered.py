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
from ._mean_intervals import Estimate

Floats = NDArray[np.float64]
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

    Undefined when
        A group has fewer than 2 labelled or 2 unlabelled instances, or a NaN.

    Notes
    -----
    mean(Y) + w (mean(F_unlabelled) - mean(F_labelled)) with variance Var(Y - w F)/n + w^2 Var(F_unlabelled)/N and
    w = cov(Y, F) / ((1 + n/N) Var(F)), clipped to [0, 1], Var(F) over both samples; 0 where the judge does not vary.
    Degrees of freedom are Welch's of the two terms; the interval is one for large samples (estimating w costs a little
    coverage below about 50 labels).

    References
    ----------
    Angelopoulos et al. 2023, "Prediction-powered inference", Science 382; Angelopoulos, Duchi and Zrnic 2023, "PPI++",
    arXiv 2311.01453, section 6.
    """
    if len(labels) != len(predictions):
        raise ShapeError(f"labels has {len(labels)} values and predictions {len(predictions)}")
    if len(offsets) != len(unlabelled_offsets):
        raise ShapeError("labelled and unlabelled instances must have the same groups")
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
        plain = np.where(n >= 2, y["m2"] / (n - 1) / n, np.nan)
        effect = np.where(plain > 0, variance / plain, np.nan)
    value = np.where(enough, corrected["mean"] + used * rest["mean"], np.nan)
    count = y["n"].astype(np.intp)
    alone_effect = np.where(plain > 0, 1.0, np.nan)
    unknown = np.full(len(n), np.nan)  # the skewness
    return PredictionPowered(
        estimate=Estimate(
            value, np.sqrt(variance), np.where(enough, df, np.nan), count, count, n, effect, unknown
        ),
        labels_alone=Estimate(
            y["mean"], np.sqrt(plain), np.where(n >= 2, n - 1, np.nan), count, count, n, alone_effect, unknown
        ),
        weight=np.where(enough, used, np.nan),
    )
