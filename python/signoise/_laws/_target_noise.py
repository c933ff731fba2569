"""How far the score of a target itself can be trusted: what its checkpoint noise makes of a prediction error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .._autocorrelation import TREND_LEVEL, RunForms, pooled_autocorrelation
from .._intervals import effective_checkpoints, quantile_at
from .._kernels import kernels
from ._law import Floats
from ._rungs import Curve

NoiseMargin = Literal["effective", "compat"]
MARGINS: tuple[NoiseMargin, ...] = ("effective", "compat")


def target_noise(
    curves: Sequence[Curve | None],
    predicted: Floats,
    strata: NDArray[np.intp],
    window: int,
    margin: NoiseMargin,
    confidence_level: float,
) -> tuple[Floats, Floats]:
    """Standard deviation of the relative errors against a target's last checkpoints, and the margin of their mean.

    Checkpoints of one run resemble each other: n of them are worth n (1 - rho)/(1 + rho), with rho pooled over the
    targets of a stratum. ``"compat"`` is t sd/sqrt(n) over one checkpoint fewer, as the reference's loop has it.
    """
    n_targets = len(curves)
    sd, half = np.full(n_targets, np.nan), np.full(n_targets, np.nan)
    window = max(window - 1, 1) if margin == "compat" else window
    last = [curve.values[-window:] if curve is not None else np.empty(0) for curve in curves]
    places = [curve.positions[-window:] if curve is not None else np.empty(0) for curve in curves]
    n = np.array([len(values) for values in last], dtype=np.float64)
    for index, values in enumerate(last):
        if len(values) >= 2 and np.all(values != 0):
            sd[index] = np.std((predicted[index] - values) / np.abs(values), ddof=1)
    if margin == "compat":
        return sd, quantile_at(
            "t_quantile", (1 + confidence_level) / 2, np.maximum(n - 1, 1.0)
        ) * sd / np.sqrt(n)
    offsets = np.concatenate([[0], np.cumsum(n)]).astype(np.uintp)
    columns = kernels().window_summary(
        np.ascontiguousarray(np.concatenate(last)),
        np.ascontiguousarray(np.concatenate(places)),
        offsets,
        window,
    )
    with np.errstate(all="ignore"):
        first = np.array([values[0] if len(values) else np.nan for values in last])
        runs = RunForms(
            n=n,
            squares=columns["m2"],
            lagged=np.nan_to_num(columns["rho"]) * columns["m2"],
            first=first - columns["mean"],
            last=columns["last"] - columns["mean"],
            group=np.arange(n_targets),
        )
    rho = np.nan_to_num(pooled_autocorrelation(runs, strata, _trending(columns, n)).rho, nan=0.0)
    with np.errstate(all="ignore"):
        worth = effective_checkpoints(n, rho)
        corrected = sd * np.sqrt((n - 1) / n / (1 - 1 / worth))
        half = quantile_at("t_quantile", (1 + confidence_level) / 2, worth - 1) * corrected / np.sqrt(worth)
    return sd, np.where(n >= 2, half, np.nan)


def _trending(columns: dict[str, Floats], n: Floats) -> NDArray[np.bool_]:
    """Whether the slope over the checkpoints is beyond doubt."""
    with np.errstate(all="ignore"):
        t = columns["slope"] * np.sqrt(columns["sxx"] / (columns["residual"] / (n - 2)))
    limit = quantile_at("t_quantile", (1 + TREND_LEVEL) / 2, np.maximum(n - 2, 1.0))
    return np.abs(np.nan_to_num(t, nan=0.0)) > limit
