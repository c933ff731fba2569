"""The verb `averaging_gain`: what averaging checkpoints does to noise, signal-to-noise ratio and decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._decision_sides import matched
from .._decisions import FEW_MEMBERS as FEW_DECIDING
from .._duplicates import Duplicates
from .._errors import OptionError
from .._intervals import quantile_at
from .._kernels import kernels
from .._measure import AUTOCORRELATED, FEW_MEMBERS, NEAR_ZERO, check_autocorrelation, relative_to
from .._options import as_columns, check_choice, check_count, check_level, signature
from .._scores import Filter, Groups, Scores
from .._status import Statuses, check_strict, flag_lists, result_column
from ._averages import HOWS, overlapping_variance, ratio_limits, variance_factor
from ._jackknife import jackknife_stderr, t_margin
from ._smoothed import (
    SIDES,
    WINDOWS,
    Agreement,
    Stretch,
    Study,
    agreement,
    autocorrelation_of,
    average_variance,
    averaged_scores,
    check_windows,
    mean_over_runs,
    open_study,
    signs_of,
    stretch,
    up_to,
    with_masks,
)

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class _Settings:
    how: str
    last: int
    relative: bool
    ddof: int
    level: float
    autocorrelation: float | str
    threads: int | None


def averaging_gain(
    scores: Scores,
    *,
    windows: Sequence[int] = WINDOWS,
    how: Literal["mean", "ema"] = "mean",
    small: Filter = None,
    target: Filter = None,
    side: str | Sequence[str] = "both",
    at: float | Sequence[float] | None = None,
    match: str | Sequence[str] | None = None,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    across: str | Sequence[str] = "run",
    last: int = 30,
    relative: bool = True,
    ddof: int = 1,
    direction: Mapping[str, str] | None = None,
    order: str = "tokens",
    confidence_level: float = 0.95,
    autocorrelation: float | Literal["pooled"] = "pooled",
    groups: Groups = None,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Noise, signal-to-noise ratio and decision accuracy with scores averaged over trailing checkpoints.

    ``noise_absolute`` is the standard deviation of an average: the root of half the mean squared difference between
    averages of one run that share no checkpoint (for window 1 that of `noise`).

    Parameters
    ----------
    scores, by, where, across, order, groups, columns, duplicates, strict, threads
        As in `snr`; `across` only without `small` and `target`.
    windows
        Numbers of checkpoints to average. Gains and ratios are against 1, whether it is among them or not.
    how
        ``"mean"`` of the last ones, or ``"ema"`` with weight 2/(window + 1) on the newest; never a look ahead.
    small, target, match, direction
        As in `decision_accuracy`; with both filters the table holds decisions too.
    side
        Where scores are averaged: ``"small"``, ``"target"`` or ``"both"``, or several of them. Noise and signal are
        those of the averaged side (of the small one for ``"both"``).
    at
        Points of training at which to stop, of the small side or, without sides, of all rows: shares of each run where
        at most 1, else places in `order` (tokens, or steps with ``order="step"``). Only checkpoints up to there are
        used, against the target's last ones.
    last
        Last checkpoints of each run that noise is measured over; 2 n of them are needed for a window of n.
    relative
        Noise and signal over the absolute mean, as in `snr`.
    ddof
        Divisor m - ddof of ``noise_overlapping``.
    confidence_level
        Of all limits.
    autocorrelation
        As in `snr`: for ``expected_autocorrelated`` and the limits of the ratio.

    Returns
    -------
    DataFrame
        By-columns, (``side``,) (``at``,) ``window``; ``n_runs, n_checkpoints`` (smallest number of a run);
        ``mean`` (of the members' averaged scores), ``noise`` (dimensionless if relative), ``noise_absolute`` (score
        units), ``noise_overlapping`` (standard deviation of the averages as they stand, which overlap: too small);
        ``expected_independent`` and ``expected_autocorrelated``: what single checkpoints promise,
        ``noise_absolute`` of window 1 times ``1/sqrt(n)`` or ``sqrt((1 + 2 sum of (1 - k/n) rho^k)/n)``;
        ``autocorrelation`` (null: too few values, taken as 0); ``noise_ratio`` (of the window to 1, same runs) with
        ``noise_ratio_low, noise_ratio_high``; ``signal``, ``snr`` of the averaged scores of the last checkpoints. With
        sides: ``n_members, n_ties, decision_accuracy``, and ``gain`` over window 1 with ``gain_low, gain_high``. Then
        ``status, flags, signature``.

    Undefined when
        No run has two windows of checkpoints, or fewer than 2 members are there (``too_few``; what is defined stays).
        Otherwise as `snr` and `decision_accuracy`. Limits of window 1 are null, and those of a gain where no member,
        left out, changes it.

    Raises
    ------
    UnknownMetricError
        With sides, where a metric's direction is not known.
    SchemaError, OptionError, DuplicateKeyError
        For a table or an option that cannot be used.

    Notes
    -----
    The smallest noise among windows, or the best decision accuracy, is chosen on the data that it is reported for:
    `choose_window` says what is left of it on others. ``noise_ratio`` has limits for normal checkpoints: simulated
    coverage .94 to .99 for 1 to 25 runs of 12 and 30 checkpoints, windows of 2 to 10 and autocorrelations of 0 and .5,
    if these are known. Limits of a gain speak of other members drawn like these: delete-one standard error of the
    paired difference with t quantiles of J - 1 degrees of freedom (simulated coverage .96 to .99 with 10 and 25
    members; with 6 at least .98 where there are any, but null in up to one table of six).

    Where runs have different numbers of checkpoints, a large window has the noise of the long runs alone: compare
    windows by ``noise_ratio``, which compares runs with themselves.

    This averages scores, not weights. A trend inside the last checkpoints counts as noise (flag ``trend``), and an
    average lags behind it.

    References
    ----------
    Heineman et al. 2025, "Signal and Noise", arXiv 2508.13144, section 5 (averaging checkpoints). Their moving average
    is ``noise_overlapping``.

    Examples
    --------
    >>> import signoise as sn
    >>> table = sn.averaging_gain(sn.example_scores(), by=("task", "metric", "params"), windows=(1, 3))
    >>> table.columns[:5]
    ['task', 'metric', 'params', 'window', 'n_runs']
    """
    sizes = check_windows(windows)
    check_choice("how", how, HOWS)
    sides = as_columns(side)
    for name in sides:
        check_choice("side", name, SIDES)
    if not sides or len(set(sides)) < len(sides):
        raise OptionError(f"side must name one or several of {', '.join(SIDES)}, got {side!r}")
    check_count("last", last, 2)
    check_count("ddof", ddof, 0)
    check_level(confidence_level)
    check_autocorrelation(autocorrelation)
    stops = _stops(at)
    study = open_study(
        scores,
        small=small,
        target=target,
        match=match,
        across=across,
        by=by,
        where=where,
        order=order,
        groups=groups,
        columns=columns,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    settings = _Settings(how, last, relative, ddof, confidence_level, autocorrelation, threads)
    text = signature(
        "averaging_gain",
        how=how,
        small=small,
        target=target,
        match=study.members if study.sided else None,
        across=None if study.sided else study.members,
        last=last,
        relative=relative,
        ddof=ddof,
        order=order,
        interval="normal_theory",
        gain_interval="delete_one_member" if study.sided else None,
        level=confidence_level,
        autocorrelation=autocorrelation,
    )
    early = "small" if study.sided else "all"
    parts = []
    for number, stop in enumerate(stops):
        stopped = study
        if stop is not None:
            stopped = with_masks(study, {early: up_to(study.encoded, early, stop)})
        stamp = (pl.lit(number).alias("__at"), pl.lit(stop, pl.Float64).alias("at"))
        # Infinite scores make undefined numbers; they become null with a status, not NumPy's warnings.
        with np.errstate(all="ignore"):
            found = _at_one_stop(stopped, sizes, sides, direction, settings, text)
        parts += [part.with_columns(stamp) for part in found]
    result = pl.concat(parts).sort("__group", "__side", "__at", "window", maintain_order=True)
    keys = [
        *study.encoded.by,
        *(["side"] if study.sided else []),
        *(["at"] if at is not None else []),
        "window",
    ]
    hidden = ("__group", "__side", "__at", "side", "at", "window")
    values = [name for name in result.columns if name not in keys and name not in hidden]
    result = result.select(*keys, *values)
    check_strict(result, keys, strict=strict)
    return result


def _stops(at: float | Sequence[float] | None) -> list[float | None]:
    if at is None:
        return [None]
    values = [at] if isinstance(at, (int, float)) else list(at)
    for value in values:
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < np.inf:
            raise OptionError(
                f"at must be shares of training up to 1, or tokens (steps) beyond, got {value!r}"
            )
    if not values:
        raise OptionError("at is empty; leave it out for the last checkpoints")
    return [float(value) for value in values]


def _at_one_stop(
    study: Study,
    sizes: Sequence[int],
    sides: Sequence[str],
    direction: Mapping[str, str] | None,
    settings: _Settings,
    text: str,
) -> list[pl.DataFrame]:
    """A frame for each side and window, a row a group."""
    n_groups = len(study.encoded.groups)
    labels = study.encoded.groups.select(study.encoded.by).with_row_index("__group")
    measured = {
        mask: _Noise(study, mask, settings)
        for mask in (dict.fromkeys(_noise_mask(side) for side in sides) if study.sided else ("all",))
    }
    decisions = _Decisions(study, direction, settings) if study.sided else None
    parts = []
    for number, side in enumerate(sides if study.sided else ("all",)):
        noise = measured[_noise_mask(side)]
        for window in sizes:
            statuses = Statuses(n_groups)
            columns, flags = noise.columns(window, statuses)
            if decisions is not None:
                more, few = decisions.columns(side, window, statuses)
                columns |= more
                flags |= few
            parts.append(
                labels.with_columns(
                    pl.lit(number).alias("__side"),
                    pl.lit(side).alias("side"),
                    pl.lit(window, pl.Int64).alias("window"),
                    *(result_column(name, values) for name, values in columns.items()),
                    statuses.column(),
                    flag_lists(flags, n_groups),
                    pl.lit(text).alias("signature"),
                )
            )
    return parts


def _noise_mask(side: str) -> str:
    return "small" if side == "both" else side


class _Noise:
    """Noise and signal of one selection."""

    def __init__(self, study: Study, mask: str, settings: _Settings) -> None:
        self._study, self._mask, self._settings = study, mask, settings
        self._stretch: Stretch = stretch(study.encoded, mask, settings.last, settings.threads)
        self._rho, self._combined = autocorrelation_of(
            study, self._stretch, mask, settings.autocorrelation, settings.threads
        )
        self._single = average_variance(self._stretch, 1, settings.how)
        self._smallest = self._stretch.smallest(len(study.encoded.groups))

    def columns(self, window: int, statuses: Statuses) -> tuple[dict[str, Any], dict[str, Mask]]:
        """Columns of one window, and flags."""
        study, settings, stretched = self._study, self._settings, self._stretch
        n_groups, group = len(study.encoded.groups), stretched.series.group
        rho = np.nan_to_num(self._rho, nan=0.0)
        variances = average_variance(stretched, window, settings.how)
        # A run whose score never changes has no noise, whatever rounding says about its averages.
        variances = np.where(self._single == 0, variances * 0.0, variances)
        enough = stretched.lengths >= 2 * window
        overlapping = overlapping_variance(
            stretched.values, stretched.offsets, window, settings.how, settings.ddof
        )
        members = averaged_scores(
            study, self._mask, window, settings.how, np.ones(n_groups), settings.threads
        )
        n = np.diff(members.offsets).astype(np.intp)
        moments = kernels().segment_moments(members.scores, members.offsets, threads=settings.threads)
        with np.errstate(all="ignore"):
            single = np.sqrt(mean_over_runs(self._single, group, n_groups))
            absolute = np.sqrt(mean_over_runs(variances, group, n_groups))
            # The ratio compares runs with themselves.
            same = np.sqrt(
                mean_over_runs(np.where(np.isfinite(variances), self._single, np.nan), group, n_groups)
            )
            ratio = np.where(same > 0, absolute / same, np.nan)
            low, high = ratio_limits(ratio, self._lengths(enough), window, settings.how, rho, settings.level)
            spread = np.where(n >= 2, moments["max"] - moments["min"], np.nan)
            noise = absolute / relative_to(self._combined["mean"], relative=settings.relative)
            signal = spread / relative_to(moments["mean"], relative=settings.relative)
            snr = np.where(absolute == 0, np.nan, signal / noise)
        columns = {
            "n_runs": n,
            "n_checkpoints": self._smallest,
            "mean": moments["mean"],
            "noise": noise,
            "noise_absolute": absolute,
            "noise_overlapping": np.sqrt(mean_over_runs(overlapping, group, n_groups)),
            "expected_independent": single
            * np.sqrt(variance_factor(window, settings.how, np.zeros(n_groups))),
            "expected_autocorrelated": single * np.sqrt(variance_factor(window, settings.how, rho)),
            "autocorrelation": self._rho,
            "noise_ratio": ratio,
            "noise_ratio_low": low,
            "noise_ratio_high": high,
            "signal": signal,
            "snr": snr,
        }
        statuses.set("too_few", np.isnan(absolute) | (n < 2))
        statuses.set("constant", (n >= 2) & (spread == 0))
        statuses.set("zero_noise", absolute == 0)
        if settings.relative:
            statuses.set("zero_mean", (moments["mean"] == 0) | (self._combined["mean"] == 0))
        statuses.check_finite(~np.isfinite(snr))
        return columns, self._flags(n, moments["mean"], absolute, window)

    def _lengths(self, enough: Mask) -> list[dict[int, int]]:
        """How many runs of each length every group has, of those that are long enough."""
        out: list[dict[int, int]] = [{} for _ in self._study.encoded.groups.iter_rows()]
        pairs = zip(
            self._stretch.series.group[enough].tolist(), self._stretch.lengths[enough].tolist(), strict=True
        )
        for group, length in pairs:
            out[group][length] = out[group].get(length, 0) + 1
        return out

    def _flags(self, n: NDArray[np.intp], mean: Floats, absolute: Floats, window: int) -> dict[str, Mask]:
        encoded = self._study.encoded
        limit = quantile_at("t_quantile", (1 + self._settings.level) / 2, self._combined["trend_df"])
        with np.errstate(invalid="ignore"):
            return {
                "few_checkpoints": self._smallest < 2 * window,
                "trend": np.abs(self._combined["trend_t"]) > limit,
                "near_zero_mean": np.abs(mean) <= NEAR_ZERO * absolute,
                "negative_mean": mean < 0,
                "missing_values": (encoded.n_missing + encoded.n_nan) > 0,
                "mixed_config": np.full(len(n), "config" in encoded.joined),
                "autocorrelated": (np.nan_to_num(self._rho) >= AUTOCORRELATED) & (absolute > 0),
                "few_members": n < FEW_MEMBERS,
            }


class _Decisions:
    """Decision accuracies of one study, each pair of windows computed once."""

    def __init__(self, study: Study, direction: Mapping[str, str] | None, settings: _Settings) -> None:
        self._study, self._settings = study, settings
        self._signs = {mask: signs_of(study, mask, direction) for mask in ("small", "target")}
        self._known: dict[tuple[int, int], Agreement] = {}

    def columns(self, side: str, window: int, statuses: Statuses) -> tuple[dict[str, Any], dict[str, Mask]]:
        """Columns of one side and window, and flags."""
        single = self._agreement(1, 1)
        averaged = self._agreement(
            window if side in ("small", "both") else 1, window if side in ("target", "both") else 1
        )
        n = averaged.n_members
        gain = averaged.value - single.value
        stderr = np.full(len(n), np.nan)
        if window > 1:
            change = averaged.left_out - single.left_out
            for group in range(len(n)):
                members = slice(int(averaged.offsets[group]), int(averaged.offsets[group + 1]))
                stderr[group] = jackknife_stderr(change[members])
        margin = t_margin(stderr, n, self._settings.level)
        statuses.set("too_few", n < 2)
        columns = {
            "n_members": n,
            "n_ties": averaged.n_ties,
            "decision_accuracy": averaged.value,
            "gain": gain,
            "gain_low": np.maximum(gain - margin, -1.0),
            "gain_high": np.minimum(gain + margin, 1.0),
        }
        return columns, {"few_members": n < FEW_DECIDING}

    def _agreement(self, small: int, target: int) -> Agreement:
        if (small, target) not in self._known:
            first, second = (
                averaged_scores(
                    self._study, mask, window, self._settings.how, self._signs[mask], self._settings.threads
                )
                for mask, window in (("small", small), ("target", target))
            )
            places = matched(first, second, self._study.encoded.members)
            self._known[small, target] = agreement(first, second, places, self._settings.threads)
        return self._known[small, target]
