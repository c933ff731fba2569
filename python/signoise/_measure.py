"""Signal and noise of encoded scores: the two sides, their intervals, and the table they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from . import _intervals
from ._autocorrelation import TREND_LEVEL, Autocorrelation, RunForms, pooled_autocorrelation
from ._encode import Encoded, Series
from ._errors import OptionError
from ._instance_intervals import FEW_INSTANCES, Draws, Limits, Windows, instance_limits
from ._kernels import kernels
from ._options import as_columns, check_choice, check_count, check_level, signature
from ._scores import Filter
from ._status import Statuses, chance_of, check_strict, flag_lists, result_column

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
_Columns: TypeAlias = tuple[dict[str, Any], NDArray[np.bool_], dict[str, NDArray[np.bool_]]]

NOISES = ("within", "mean_sd", "pooled", "detrended", "successive_difference")
#: From this lag-1 autocorrelation on, a row is flagged: its checkpoints are worth less than half their number.
AUTOCORRELATED = 0.3
#: Fewer members than this make a signal a rough guess.
FEW_MEMBERS = 5
#: A mean within this many noises of 0 makes relative numbers meaningless.
NEAR_ZERO = 3.0


@dataclass(frozen=True)
class Settings:
    """Options of one call, checked."""

    verb: str
    signal: str
    score: str
    noise: str
    window: int
    ddof: int
    relative: bool
    confidence_level: float
    autocorrelation: float | str
    across: tuple[str, ...]
    order: str
    population: Filter
    noise_runs: Filter

    @property
    def variant(self) -> str | None:
        """Name of a signal variant that replaces the default definition."""
        return None if self.signal == "relative_dispersion" else self.signal

    @property
    def interval_noise(self) -> str | None:
        """The variance that intervals rest on, or None where the noise has no normal theory."""
        if self.variant is not None or self.noise in ("pooled", "successive_difference"):
            return None
        return "detrended" if self.noise == "detrended" else "within"

    def signature(self, draws: Draws | None = None) -> str:
        """The settings as they travel with a result, and how instances were drawn."""
        settings: dict[str, Any] = {}
        if self.verb != "noise":
            settings |= {"signal": self.signal, "score": self.score}
        settings |= {"noise": self.noise, "window": self.window, "ddof": self.ddof, "relative": self.relative}
        settings |= {"across": self.across, "order": self.order}
        settings |= {"population": self.population, "noise_runs": self.noise_runs}
        if self.interval_noise is not None:
            estimand = {"snr": "random_models_expected_range", "signal": "fixed_models", "noise": "sigma"}[
                self.verb
            ]
            settings |= {"interval": f"normal_theory_{estimand}", "level": self.confidence_level}
            settings |= {"autocorrelation": self.autocorrelation}
        if draws is not None:
            settings |= {"level": self.confidence_level, **draws.settings()}
        return signature(self.verb, **settings)


def check_autocorrelation(autocorrelation: float | str) -> None:
    """Raise ``OptionError`` where an autocorrelation is neither ``"pooled"`` nor a value that occurs."""
    if isinstance(autocorrelation, str):
        check_choice("autocorrelation", autocorrelation, ("pooled",))
    elif not isinstance(autocorrelation, (int, float)) or not 0.0 <= autocorrelation <= 0.95:
        raise OptionError(
            f'autocorrelation must be "pooled" or a number from 0 to 0.95, got {autocorrelation!r}'
        )


def check_settings(
    verb: str,
    *,
    signal: str,
    score: str,
    noise: str | None,
    window: int,
    ddof: int | None,
    relative: bool,
    confidence_level: float,
    autocorrelation: float | str,
    across: str | Sequence[str],
    order: str,
    population: Filter,
    noise_runs: Filter,
) -> Settings:
    """Check the options that `snr`, `signal` and `noise` share."""
    check_count("window", window)
    check_level(confidence_level)
    check_choice("score", score, ("mean", "final"))
    check_autocorrelation(autocorrelation)
    if signal.startswith("compat:"):
        # The reference's computation is one whole; an explicit other setting would be a mixture nobody computed.
        for name, value, implied in (
            ("ddof", ddof, 0),
            ("noise", noise, "mean_sd"),
            ("score", score, "mean"),
            ("relative", relative, True),
        ):
            if value is not None and value != implied:
                raise OptionError(
                    f"signal={signal!r} is the reference's computation and implies {name}={implied!r}; "
                    f"leave {name} out, or choose signal='relative_dispersion' with {name}={value!r}"
                )
        noise, ddof = "mean_sd", 0
    elif signal != "relative_dispersion" and not signal.startswith("textbook:"):
        raise OptionError(
            f"signal must be 'relative_dispersion', 'compat:<name>' or 'textbook:<name>', got {signal!r}"
        )
    noise = "within" if noise is None else noise
    ddof = 1 if ddof is None else ddof
    check_choice("noise", noise, NOISES)
    check_count("ddof", ddof, 0)
    return Settings(
        verb=verb,
        signal=signal,
        score=score,
        noise=noise,
        window=window,
        ddof=ddof,
        relative=relative,
        confidence_level=confidence_level,
        autocorrelation=autocorrelation,
        across=as_columns(across),
        order=order,
        population=population,
        noise_runs=noise_runs,
    )


@dataclass(frozen=True)
class _NoiseSide:
    """Noise of every group, NaN where undefined."""

    series: Series
    offsets: NDArray[np.uintp]
    n_runs: Ints
    mean: Floats
    absolute: Floats
    trend: Floats
    trend_t: Floats
    trend_df: Floats
    rho: Floats
    """Autocorrelation as estimated, NaN where there were too few values."""
    error: _intervals.CheckpointError | None


@dataclass(frozen=True)
class _SignalSide:
    """Scores of the members of every group."""

    series: Series
    scores: Floats
    """One score a member, sorted by group and member."""
    offsets: NDArray[np.uintp]
    n: Ints
    mean: Floats
    spread: Floats
    sd: Floats
    replicate_variance: Floats
    """Pooled variance of run scores within members with several runs; NaN where there are none."""
    replicate_df: Floats
    runs_per_member: Floats
    """Harmonic mean of the number of runs a member."""


def _group_offsets(group: Ints, n_groups: int) -> NDArray[np.uintp]:
    return np.searchsorted(group, np.arange(n_groups + 1)).astype(np.uintp)


def _noise_side(encoded: Encoded, settings: Settings, mask: str | None, threads: int | None) -> _NoiseSide:
    series = encoded.series(settings.window, mask, threads)
    n_groups = len(encoded.groups)
    offsets = _group_offsets(series.group, n_groups)
    columns = series.columns
    combined = combined_noise(series, settings.noise, settings.ddof, n_groups, threads)
    run_n = columns["n"].astype(float)
    detrended = settings.interval_noise == "detrended"
    autocorrelation = group_autocorrelation(
        encoded, series, combined, settings.autocorrelation, mask, line=detrended
    )
    error = None
    if settings.interval_noise is not None:
        unbiased = combined_noise(series, settings.interval_noise, 1, n_groups, threads)
        usable = run_n >= (3 if detrended else 2)
        error = _intervals.checkpoint_error(
            unbiased["absolute"] ** 2,
            run_n[usable],
            series.group[usable],
            autocorrelation,
            detrended=detrended,
        )
    return _NoiseSide(
        series=series,
        offsets=offsets,
        n_runs=combined["n_runs"].astype(np.intp),
        mean=combined["mean"],
        absolute=combined["absolute"],
        trend=combined["trend"],
        trend_t=combined["trend_t"],
        trend_df=combined["trend_df"],
        rho=autocorrelation.rho,
        error=error,
    )


def group_autocorrelation(
    encoded: Encoded,
    series: Series,
    combined: Mapping[str, Floats],
    autocorrelation: float | str,
    mask: str | None = None,
    *,
    line: bool = False,
) -> Autocorrelation:
    """Lag-1 autocorrelation of checkpoints by group: the value given, or pooled over runs; NaN where too few.

    About the mean of each run or, with `line`, about its trend, which would look like autocorrelation.
    """
    if not isinstance(autocorrelation, str):
        return Autocorrelation(np.full(len(encoded.groups), float(autocorrelation)))
    columns = series.columns
    n = columns["n"].astype(np.intp)
    rows = encoded.window_rows(series, mask)
    # Groups that are undefined for their duplicates must not speak for others.
    valid = ~encoded.conflicts[series.group]
    strata = metric_strata(encoded.groups)
    if line:
        forms = RunForms.about_lines(encoded.values[rows], n, series.group, valid)
        return pooled_autocorrelation(forms, strata, np.zeros(len(encoded.groups), dtype=bool))
    limit = _intervals.quantile_at("t_quantile", (1 + TREND_LEVEL) / 2, combined["trend_df"])
    with np.errstate(invalid="ignore"):
        trending = np.abs(combined["trend_t"]) > limit
    squares = np.where(valid, columns["m2"], np.nan)
    first = encoded.values[rows[np.cumsum(n) - n]]
    with np.errstate(all="ignore"):
        runs = RunForms(
            n=n.astype(float),
            squares=squares,
            lagged=np.nan_to_num(columns["rho"]) * squares,
            first=first - columns["mean"],
            last=columns["last"] - columns["mean"],
            group=series.group,
        )
    return pooled_autocorrelation(runs, strata, trending)


def metric_strata(groups: pl.DataFrame) -> Ints:
    """Groups that share a metric share an autocorrelation estimate."""
    if "metric" not in groups.columns:
        return np.zeros(groups.height, dtype=np.intp)
    return groups["metric"].rank("dense").fill_null(0).to_numpy().astype(np.intp)


def member_scores(
    series: Series, score: str, n_groups: int, threads: int | None = None
) -> tuple[Floats, Ints, Ints, NDArray[np.uintp], dict[str, Any]]:
    """One score a (group, member): the mean over the member's runs of their window mean or last value.

    Returns the scores, the group and member of each, the offsets that divide them into groups, and the moments of
    the run scores within each member.
    """
    values = series.columns["mean" if score == "mean" else "last"]
    new = np.ones(len(series), dtype=bool)
    new[1:] = (series.group[1:] != series.group[:-1]) | (series.member[1:] != series.member[:-1])
    firsts = np.flatnonzero(new)
    runs = np.concatenate([firsts, [len(series)]]).astype(np.uintp)
    moments = kernels().segment_moments(values, runs, threads=threads)
    group = series.group[firsts]
    return moments["mean"], group, series.member[firsts], _group_offsets(group, n_groups), moments


def _signal_side(encoded: Encoded, settings: Settings, series: Series, threads: int | None) -> _SignalSide:
    n_groups = len(encoded.groups)
    scores, group, _, offsets, runs = member_scores(series, settings.score, n_groups, threads)
    moments = kernels().segment_moments(scores, offsets, threads=threads)
    runs_n = runs["n"].astype(float)
    with np.errstate(all="ignore"):
        replicate_df = np.bincount(group, weights=runs_n - 1, minlength=n_groups)
        replicate_m2 = np.bincount(group, weights=runs["m2"], minlength=n_groups)
        counts = np.diff(offsets).astype(float)
        runs_per_member = counts / np.bincount(group, weights=1 / runs_n, minlength=n_groups)
        replicate_variance = np.where(replicate_df > 0, replicate_m2 / replicate_df, np.nan)
        sd = np.sqrt(moments["m2"] / (counts - 1))
    return _SignalSide(
        series=series,
        scores=scores,
        offsets=offsets,
        n=moments["n"].astype(np.intp),
        mean=moments["mean"],
        spread=np.where(counts >= 2, moments["max"] - moments["min"], np.nan),
        sd=np.where(counts >= 2, sd, np.nan),
        replicate_variance=replicate_variance,
        replicate_df=replicate_df.astype(float),
        runs_per_member=runs_per_member,
    )


def _score_error(
    signal: _SignalSide, noise: _NoiseSide, settings: Settings
) -> tuple[Floats, Floats, list[str | None]]:
    """Standard deviation of one member's score about its true value, its df, and what its range test tests.

    With several runs a member their spread says it all; otherwise only checkpoint noise is known.
    """
    error = noise.error
    if error is None:
        nan = np.full(len(signal.n), np.nan)
        return nan, nan, [None] * len(nan)
    n_groups = len(signal.n)
    rho = error.rho
    if settings.score == "mean":
        n = signal.series.columns["n"].astype(float)
        inverse = 1 / _intervals.effective_checkpoints(n, rho[signal.series.group])
        runs = np.bincount(signal.series.group, minlength=n_groups)
        with np.errstate(all="ignore"):
            share = np.bincount(signal.series.group, weights=inverse, minlength=n_groups) / runs
    else:
        share = np.ones(n_groups)
    replicated = np.isfinite(signal.replicate_variance)
    with np.errstate(all="ignore"):
        variance = np.where(replicated, signal.replicate_variance, error.variance * share)
        stderr = np.sqrt(variance / np.where(replicated, signal.runs_per_member, 1.0))
    tests: list[str | None] = ["equal_members" if seen else "equal_runs" for seen in replicated]
    return stderr, np.where(replicated, signal.replicate_df, error.df), tests


def relative_to(mean: Floats, *, relative: bool) -> Floats:
    """Denominator of a relative form; NaN where it is zero or infinite, so that no false 0 or infinity comes out."""
    if not relative:
        return np.ones(len(mean))
    return np.where((mean == 0) | np.isinf(mean), np.nan, np.abs(mean))


def _variant(
    encoded: Encoded,
    settings: Settings,
    signal: _SignalSide,
    noise: _NoiseSide,
    mask: str | None,
    threads: int | None,
) -> tuple[Floats, Floats]:
    """Signal and relative noise of a named variant."""
    n_groups = len(encoded.groups)
    columns = noise.series.columns
    with np.errstate(all="ignore"):
        step_noise = np.sqrt(columns["m2"] / (columns["n"] - np.float64(settings.ddof)))
        # The reference's "data noise": the spread of the members' scores.
        data_noise = kernels().segment_moments(signal.scores, signal.offsets, threads=threads)
        data_sd = np.sqrt(data_noise["m2"] / (data_noise["n"] - np.float64(settings.ddof)))
    last_n, last_offsets = _window_values(encoded, noise.series, mask, n_groups)
    defined = np.isfinite(step_noise) & (columns["n"] >= 2)
    out = kernels().signal_variant_groups(
        settings.variant,
        signal.scores,
        signal.offsets,
        last_n,
        last_offsets,
        np.ascontiguousarray(step_noise[defined]),
        _group_offsets(noise.series.group[defined], n_groups),
        np.nan_to_num(data_sd),
        np.arange(n_groups + 1, dtype=np.uintp),
        threads=threads,
    )
    return out["signal"], out["noise"]


def _window_values(
    encoded: Encoded, series: Series, mask: str | None, n_groups: int
) -> tuple[Floats, NDArray[np.uintp]]:
    """All values in the windows of a group's series, in canonical order."""
    rows = encoded.window_rows(series, mask)
    per_group = np.bincount(series.group, weights=series.columns["n"], minlength=n_groups).astype(np.intp)
    return encoded.values[rows], np.concatenate([[0], np.cumsum(per_group)]).astype(np.uintp)


def measure(
    encoded: Encoded,
    settings: Settings,
    *,
    chance: Mapping[str, float] | None = None,
    frame: pl.DataFrame | None = None,
    draws: Draws | None = None,
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """The result table of `snr`, `signal` or `noise` on encoded scores; `draws` are of the instances behind `frame`."""
    # Infinite scores and zero noise make undefined numbers; they become null with a status, not NumPy's warnings.
    with np.errstate(all="ignore"):
        return _measured(encoded, settings, chance, frame, draws, strict=strict, threads=threads)


def _measured(
    encoded: Encoded,
    settings: Settings,
    chance: Mapping[str, float] | None,
    frame: pl.DataFrame | None,
    draws: Draws | None,
    *,
    strict: bool,
    threads: int | None,
) -> pl.DataFrame:
    noise = _noise_side(encoded, settings, "noise_runs" if "noise_runs" in encoded.masks else None, threads)
    statuses = Statuses(len(encoded.groups))
    statuses.set("duplicate_key", encoded.conflicts)
    if settings.verb == "noise":
        columns, undefined, flags = _noise_columns(noise, settings, statuses)
    else:
        if encoded.masks:
            mask = "population" if "population" in encoded.masks else None
            members = encoded.series(settings.window, mask, threads)
        else:
            members = noise.series
        side = _signal_side(encoded, settings, members, threads)
        columns, undefined, flags = _signal_columns(encoded, side, noise, settings, statuses, threads)
        if draws is not None and frame is not None:
            limits = _over_instances(encoded, settings, members, noise.series, columns["snr"], frame, draws)
            columns |= limits.columns()
            flags["few_instances"] = limits.n_instances < FEW_INSTANCES
        flags["near_chance"] = _near_chance(encoded, side, chance, settings.confidence_level)
    statuses.check_finite(undefined)
    statuses.blank(columns, "duplicate_key")
    flags |= _common_flags(encoded, noise, columns, settings)
    table = _table(encoded, columns, statuses, flags, settings.signature(draws))
    check_strict(table, encoded.by, strict=strict)
    return table


def _over_instances(
    encoded: Encoded,
    settings: Settings,
    members: Series,
    noise_runs: Series,
    estimate: Floats,
    frame: pl.DataFrame,
    draws: Draws,
) -> Limits:
    """Limits of the SNR when other instances of the same kind are asked."""
    masks = [name if name in encoded.masks else None for name in ("population", "noise_runs")]
    sides = [
        Windows(encoded, series, mask) for series, mask in zip((members, noise_runs), masks, strict=True)
    ]

    threads = draws.threads

    def again(group: int, rows: Ints, replicates: Floats) -> Floats:
        return snr_of_replicates(encoded, settings, sides, group, rows, replicates, threads)

    return instance_limits(encoded, frame, sides, again, estimate, draws, logarithm=True)


def snr_of_replicates(
    encoded: Encoded,
    settings: Settings,
    sides: Sequence[Windows],
    group: int,
    rows: Ints,
    replicates: Floats,
    threads: int | None,
) -> Floats:
    """The SNR of a group with each replicate (column) of the scores in its `rows` of ``encoded.values``.

    `sides` hold the runs of the signal and of the noise; replicates stand for groups.
    """
    n = replicates.shape[1]
    signal_runs, noise_runs = (
        _replicated(encoded, side, group, rows, replicates, settings.window, threads) for side in sides
    )
    scores, _, _, offsets, _ = member_scores(signal_runs, settings.score, n, threads)
    moments = kernels().segment_moments(scores, offsets, threads=threads)
    combined = combined_noise(noise_runs, settings.noise, settings.ddof, n, threads)
    signal = (moments["max"] - moments["min"]) / relative_to(moments["mean"], relative=settings.relative)
    return signal / (combined["absolute"] / relative_to(combined["mean"], relative=settings.relative))


def _replicated(
    encoded: Encoded,
    side: Windows,
    group: int,
    rows: Ints,
    replicates: Floats,
    window: int,
    threads: int | None,
) -> Series:
    """The series of a group in each replicate of its scores, replicates as groups."""
    chosen, own, counts = side.of(group)
    n = replicates.shape[1]
    values = np.ascontiguousarray(replicates[np.searchsorted(rows, own)].T)
    offsets = np.concatenate([[0], np.cumsum(np.tile(counts, n))]).astype(np.uintp)
    positions = np.tile(encoded.positions[own], n)
    columns = kernels().window_summary(values.ravel(), positions, offsets, window, threads=threads)
    return Series(
        group=np.repeat(np.arange(n), len(counts)),
        member=np.tile(side.series.member[chosen], n),
        block=np.tile(side.series.block[chosen], n),
        columns=columns,
    )


def combined_noise(
    series: Series, estimator: str, ddof: int, n_groups: int, threads: int | None
) -> dict[str, NDArray[Any]]:
    """Noise of the runs of each group by one estimator."""
    names = ("n", "mean", "m2", "slope", "sxx", "residual", "successive")
    inputs = [series.columns[name] for name in names]
    return kernels().group_noise(
        *inputs, _group_offsets(series.group, n_groups), estimator, ddof, threads=threads
    )


def _too_short(noise: _NoiseSide, settings: Settings) -> NDArray[np.bool_]:
    """Groups in which no run has the values that its variance takes; infinite ones are another matter."""
    lost = settings.ddof + 1 if settings.noise == "detrended" else settings.ddof
    needed = max(3 if settings.noise == "detrended" else 2, lost + 1)
    short = np.ones(len(noise.mean), dtype=bool)
    short[noise.series.group[noise.series.columns["n"] >= needed]] = False
    return short


def _noise_columns(noise: _NoiseSide, settings: Settings, statuses: Statuses) -> _Columns:
    """Columns of `noise`, where they are undefined, and flags of its own."""
    scale = relative_to(noise.mean, relative=settings.relative)
    low, high = _noise_interval(noise, scale, settings)
    value = noise.absolute / scale
    n_checkpoints = _smallest(noise.series, len(noise.mean))
    statuses.set("too_few", _too_short(noise, settings))
    statuses.set("zero_noise", value == 0)
    statuses.set("zero_mean", settings.relative & (noise.mean == 0))
    columns = {
        "n_runs": noise.n_runs,
        "n_checkpoints": n_checkpoints,
        "mean": noise.mean,
        "noise": value,
        "noise_absolute": noise.absolute,
        "noise_low": low,
        "noise_high": high,
        "trend": noise.trend,
        "autocorrelation": noise.rho,
        "n_effective": _intervals.effective_checkpoints(
            n_checkpoints.astype(float), np.nan_to_num(noise.rho, nan=0.0)
        ),
    }
    return columns, ~np.isfinite(value), {}


def _signal_columns(
    encoded: Encoded,
    side: _SignalSide,
    noise: _NoiseSide,
    settings: Settings,
    statuses: Statuses,
    threads: int | None,
) -> _Columns:
    """Columns of `snr` or `signal`, where they are undefined, and flags of their own."""
    scale = relative_to(side.mean, relative=settings.relative)
    noise_scale = relative_to(noise.mean, relative=settings.relative)
    value, noise_value = side.spread / scale, noise.absolute / noise_scale
    if settings.variant is not None:
        mask = "noise_runs" if "noise_runs" in encoded.masks else None
        value, variant_noise = _variant(encoded, settings, side, noise, mask, threads)
        # The reference's noise belongs to its variants; a textbook signal stands over the noise asked for.
        noise_value = variant_noise if settings.signal.startswith("compat:") else noise_value
    value = np.where(side.n >= 2, value, np.nan)
    members = np.where(side.n >= 2, side.n, np.nan).astype(float)
    stderr, df, tests = _score_error(side, noise, settings)
    low, high = _intervals.range_interval(side.spread, members, stderr, df, settings.confidence_level)
    one_filter = settings.noise_runs is None and settings.population is None
    counted = side.series if one_filter or settings.verb == "signal" else noise.series
    columns: dict[str, Any] = {
        "n_runs": side.n,
        "n_checkpoints": _smallest(counted, len(side.n)),
        "mean": side.mean,
        "signal": value,
    }
    flags = {"few_members": side.n < FEW_MEMBERS}
    statuses.set("too_few", side.n < 2)
    statuses.set("constant", (side.n >= 2) & (side.spread == 0))
    statuses.set("zero_mean", settings.relative & (side.mean == 0))
    if settings.verb == "signal":
        columns |= {"signal_low": low / scale, "signal_high": high / scale}
        columns |= {"signal_excess": np.sqrt(np.maximum(0.0, side.sd**2 - stderr**2)) / scale}
        columns |= {"range_p_value": _intervals.range_p_value(side.spread, members, stderr, df)}
        columns |= {"range_null": pl.Series(tests, dtype=pl.String)}
        return columns, ~np.isfinite(value), flags

    statuses.set("too_few", _too_short(noise, settings))
    statuses.set("zero_noise", noise_value == 0)
    statuses.set("zero_mean", settings.relative & (noise.mean == 0))
    with np.errstate(all="ignore"):
        ratio = np.where(noise.absolute == 0, np.nan, value / noise_value)
    snr_low = snr_high = np.full(len(ratio), np.nan)
    if noise.error is not None:
        limits = _intervals.ratio_interval(side.spread, members, noise.error, settings.confidence_level)
        snr_low, snr_high = (limit * noise_scale / scale for limit in limits)
    noise_low, noise_high = _noise_interval(noise, noise_scale, settings)
    columns |= {"noise": noise_value, "snr": ratio, "snr_low": snr_low, "snr_high": snr_high}
    columns |= {"signal_low": low / scale, "signal_high": high / scale}
    columns |= {"noise_low": noise_low, "noise_high": noise_high, "noise_absolute": noise.absolute}
    columns |= {"trend": noise.trend, "autocorrelation": noise.rho}
    return columns, ~np.isfinite(ratio), flags


def _noise_interval(noise: _NoiseSide, scale: Floats, settings: Settings) -> tuple[Floats, Floats]:
    if noise.error is None:
        nan = np.full(len(scale), np.nan)
        return nan, nan
    low, high = _intervals.spread_interval(noise.error, settings.confidence_level)
    return low / scale, high / scale


def _common_flags(
    encoded: Encoded, noise: _NoiseSide, columns: Mapping[str, Any], settings: Settings
) -> dict[str, NDArray[np.bool_]]:
    limit = _intervals.quantile_at("t_quantile", (1 + settings.confidence_level) / 2, noise.trend_df)
    with np.errstate(invalid="ignore"):
        return {
            "few_checkpoints": columns["n_checkpoints"] < settings.window,
            "trend": np.abs(noise.trend_t) > limit,
            "near_zero_mean": np.abs(columns["mean"]) <= NEAR_ZERO * noise.absolute,
            "negative_mean": columns["mean"] < 0,
            "missing_values": (encoded.n_missing + encoded.n_nan) > 0,
            "mixed_config": _mixed_config(encoded),
            "autocorrelated": (np.nan_to_num(noise.rho) >= AUTOCORRELATED) & (noise.absolute > 0),
        }


def _table(
    encoded: Encoded,
    columns: Mapping[str, Any],
    statuses: Statuses,
    flags: Mapping[str, NDArray[np.bool_]],
    text: str,
) -> pl.DataFrame:
    return encoded.groups.select(encoded.by).with_columns(
        *(result_column(name, values) for name, values in columns.items()),
        pl.Series("n_missing", encoded.n_missing),
        pl.Series("n_nan", encoded.n_nan),
        statuses.column(),
        flag_lists(flags, len(encoded.groups)),
        pl.lit(text).alias("signature"),
    )


def _smallest(series: Series, n_groups: int) -> Ints:
    """Smallest number of checkpoints among a group's series; 0 where it has none."""
    smallest = np.full(n_groups, np.iinfo(np.intp).max, dtype=np.intp)
    np.minimum.at(smallest, series.group, series.columns["n"].astype(np.intp))
    return np.where(smallest == np.iinfo(np.intp).max, 0, smallest)


def _mixed_config(encoded: Encoded) -> NDArray[np.bool_]:
    """Groups that differ from another one in `config` alone, where it had to join the key."""
    if "config" not in encoded.joined:
        return np.zeros(len(encoded.groups), dtype=bool)
    rest = [name for name in encoded.by if name != "config"]
    return (
        encoded.groups.select(pl.len().over(rest) > 1 if rest else pl.lit(value=True)).to_series().to_numpy()
    )


def _near_chance(
    encoded: Encoded, side: _SignalSide, chance: Mapping[str, float] | None, level: float
) -> NDArray[np.bool_]:
    """The interval of the mean score covers the chance level.

    Over items where the table has standard errors: members share the items, so their mean errs like one of them.
    Else over members, which takes three: two members far apart would cover any level.
    """
    expected = chance_of(encoded.groups, chance)
    mask = "population" if "population" in encoded.masks else None
    n = side.n.astype(float)
    with np.errstate(all="ignore"):
        over_items = _intervals.quantile_at("t_quantile", (1 + level) / 2, np.full(len(n), np.inf))
        over_items = over_items * encoded.item_stderr(mask)
        over_members = _intervals.quantile_at("t_quantile", (1 + level) / 2, np.maximum(n - 1, 1.0))
        over_members = np.where(n >= 3, over_members * side.sd / np.sqrt(n), np.nan)
        return np.abs(side.mean - expected) <= np.where(np.isfinite(over_items), over_items, over_members)
