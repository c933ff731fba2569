"""Signal and noise of unions of subtasks, for many unions and several samples of scores at once.

    x[r, c, s]  score of run r at checkpoint c on subtask s        m[j, s]  score of member j on subtask s
    union       u = sum_s w_s x_s / sum_s w_s,  w = 0 outside it   (1 within it, or its instances)
    signal      max_j u_j - min_j u_j,  over |mean_j u_j| if relative
    noise       "within": sqrt(mean_r w' C_r w) / sum w, "mean_sd": mean_r sqrt(w' C_r w) / sum w,
                over |mean of u over all runs and checkpoints| if relative

with C_r the covariance matrix of the subtasks over the checkpoints of run r. Everything about a sample that the SNR of
a union takes is linear or quadratic in w, so that unions cost a few small matrix products and never touch the scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

NOISES = ("within", "mean_sd")
#: Variances and ranges below this share of what they are made of are rounding of an exact 0.
_ROUNDING = 1e-14


@dataclass(frozen=True)
class Measured:
    """Numbers of unions, (n_samples, n_unions); NaN where undefined."""

    mean: Floats
    signal: Floats
    noise: Floats
    snr: Floats


@dataclass(frozen=True)
class Samples:
    """A batch of samples of scores on the same subtasks."""

    scores: Floats
    """Of members, (n_samples, n_members, n_subtasks)."""
    noise_mean: Floats
    """Of all values that make the noise, (n_samples, n_subtasks)."""
    covariance: Floats
    """(n_samples, n_parts, n_subtasks, n_subtasks): that of each run for "mean_sd", their mean for "within"."""
    shares: Floats
    """What each part counts, (n_samples, n_parts); sums to 1, NaN where no run has enough checkpoints."""
    relative: bool = True

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def n_subtasks(self) -> int:
        """Number of subtasks."""
        return self.scores.shape[2]

    def measure(self, weights: Floats) -> Measured:
        """Measure unions given by weights, (n_unions, n_subtasks) or (n_samples, n_unions, n_subtasks)."""
        weights = weights / weights.sum(axis=-1, keepdims=True)
        if weights.ndim == 2:
            weights = np.broadcast_to(weights, (len(self), *weights.shape))
        members = self.scores @ weights.swapaxes(1, 2)
        quadratic, largest = [], []
        for part in range(self.covariance.shape[1]):
            matrix = self.covariance[:, part]
            quadratic.append(((weights @ matrix) * weights).sum(axis=2))
            largest.append((weights**2 * np.diagonal(matrix, axis1=1, axis2=2)[:, None, :]).sum(axis=2))
        return combine(
            members,
            np.stack(quadratic, axis=1),
            np.stack(largest, axis=1),
            (weights @ self.noise_mean[:, :, None])[:, :, 0],
            self.shares,
            relative=self.relative,
        )


def combine(
    members: Floats, quadratic: Floats, largest: Floats, noise_mean: Floats, shares: Floats, *, relative: bool
) -> Measured:
    """Signal, noise and SNR from the parts of unions: (n_samples, n_members or n_parts, n_unions) each.

    `largest` is the size of what the variances `quadratic` are sums of, which tells rounding from a variance.
    """
    with np.errstate(all="ignore"):
        mean = members.mean(axis=1)
        signal = np.ptp(members, axis=1)
        signal = np.where(signal <= _ROUNDING * np.abs(members).max(axis=1), 0.0, signal)
        signal = np.full_like(signal, np.nan) if members.shape[1] < 2 else signal
        variance = np.where(quadratic <= _ROUNDING * largest, 0.0, quadratic)
        # A run that does not count has no variance, which must not reach the others.
        parts = np.where(shares[:, :, None] == 0.0, 0.0, np.sqrt(variance) * shares[:, :, None])
        noise = parts.sum(axis=1)
        if relative:
            signal, noise = signal / _scale(mean), noise / _scale(noise_mean)
        # Squares beyond the largest number say nothing of the noise.
        snr = np.where((noise == 0.0) | np.isinf(noise), np.nan, signal / noise)
    return Measured(mean, signal, noise, snr)


def _scale(mean: Floats) -> Floats:
    return np.where(mean == 0.0, np.nan, np.abs(mean))


def _zero_for_nan(values: Floats) -> Floats:
    """Zeros for what is not known; what is infinite stays so."""
    return np.nan_to_num(values, nan=0.0, posinf=np.inf, neginf=-np.inf)


@dataclass(frozen=True)
class Runs:
    """What the checkpoints of some runs say of their noise."""

    mean: Floats
    """Of each run's scores, (n_runs, n_subtasks)."""
    counts: Ints
    """Checkpoints of each run."""
    covariance: Floats
    """Of each run, (n_runs, n_subtasks, n_subtasks); NaN where it has too few checkpoints."""

    @classmethod
    def of(cls, values: Floats, starts: Ints, ddof: int) -> Runs:
        """From scores (n_checkpoints, n_subtasks) of runs that begin at `starts` (n_runs + 1)."""
        counts = np.diff(starts)
        size = values.shape[1]
        mean = np.full((len(counts), size), np.nan)
        covariance = np.full((len(counts), size, size), np.nan)
        for run, (start, end) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)):
            if end == start:
                continue
            # Shifted by the first, so that the variance of equal scores is exactly 0.
            shifted = values[start:end] - values[start]
            centre = shifted.mean(axis=0)
            mean[run] = values[start] + centre
            if end - start >= 2 and end - start > ddof:
                deviations = shifted - centre
                with np.errstate(all="ignore"):
                    covariance[run] = deviations.T @ deviations / (end - start - ddof)
        return cls(mean, counts, covariance)

    def samples(
        self,
        scores: Floats,
        chosen: NDArray[np.bool_],
        noise: Literal["within", "mean_sd"],
        *,
        relative: bool,
    ) -> Samples:
        """Samples of members' `scores` (n_samples, n_members, n_subtasks), each with the noise of its `chosen` runs.

        `chosen` is (n_samples, n_runs).
        """
        usable = ~np.isnan(self.covariance[:, 0, 0]) if self.covariance.shape[1] else np.zeros(0, dtype=bool)
        values = np.where(chosen, self.counts, 0).astype(float)
        counted = (chosen & usable).astype(float)
        with np.errstate(all="ignore"):
            noise_mean = values @ np.nan_to_num(self.mean) / values.sum(axis=1, keepdims=True)
            shares = counted / counted.sum(axis=1, keepdims=True)
        flat = _zero_for_nan(self.covariance).reshape(len(usable), -1)
        if noise == "within":
            size = self.mean.shape[1]
            with np.errstate(all="ignore"):
                pooled = (np.nan_to_num(shares) @ flat).reshape(-1, 1, size, size)
            return Samples(
                scores, noise_mean, pooled, np.where(counted.any(axis=1), 1.0, np.nan)[:, None], relative
            )
        # Only the runs that some sample counts, in the same places for all samples.
        each = np.broadcast_to(_zero_for_nan(self.covariance), (len(chosen), *self.covariance.shape))
        return Samples(scores, noise_mean, each, shares, relative)
