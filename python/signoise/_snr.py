"""Signal, noise and their ratio: how well a benchmark separates models against how much its scores wobble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from . import _intervals
from ._encode import Duplicates, Encoded, Series, encode
from ._errors import OptionError
from ._kernels import kernels
from ._options import as_columns, check_choice, check_count, check_level, signature
from ._schema import predicate
from ._scores import Filter, Groups, Scores, load, note_key, warn_notes
from ._status import Statuses, chance_of, check_strict, flag_lists, metric_of

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

NOISES = ("within", "mean_sd", "pooled", "detrended", "successive_difference")
#: From this lag-1 autocorrelation on, a row is flagged: its checkpoints are worth less than half their number.
AUTOCORRELATED = 0.3
#: Fewer members than this make a signal a rough guess.
FEW_MEMBERS = 5


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

    def signature(self) -> str:
        """The settings as they travel with a result."""
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
        return signature(self.verb, **settings)


def _settings(
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
    check_count("window", window)
    check_level(confidence_level)
    check_choice("score", score, ("mean", "final"))
    if isinstance(autocorrelation, str):
        check_choice("autocorrelation", autocorrelation, ("pooled",))
    elif not 0.0 <= autocorrelation <= 0.95:
        raise OptionError(
            f'autocorrelation must be "pooled" or a number from 0 to 0.95, got {autocorrelation!r}'
        )
    if signal.startswith("compat:"):
        # The reference's computation is one whole; an explicit other setting would be a mixture nobody computed.
        for name, value, implied in (
            ("ddof", ddof, 0),
            ("noise", noise, "mean_sd"),
            ("score", score, "mean"),
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
    inputs = [columns[name] for name in ("n", "mean", "m2", "slope", "sxx", "residual", "successive")]
    combined = kernels().group_noise(*inputs, offsets, settings.noise, settings.ddof, threads=threads)
    run_n = columns["n"].astype(float)
    if isinstance(settings.autocorrelation, str):
        limit = kernels().t_quantile(
            np.full(n_groups, (1 + _intervals.TREND_LEVEL) / 2), combined["trend_df"]
        )
        with np.errstate(invalid="ignore"):
            trending = np.abs(combined["trend_t"]) > limit
        strata = _metric_strata(encoded)
        rho = _intervals.pooled_autocorrelation(run_n, columns["rho"], series.group, strata, trending)
    else:
        rho = np.full(n_groups, float(settings.autocorrelation))
    error = None
    if settings.interval_noise is not None:
        detrended = settings.interval_noise == "detrended"
        unbiased = kernels().group_noise(*inputs, offsets, settings.interval_noise, 1, threads=threads)
        usable = run_n >= (3 if detrended else 2)
        error = _intervals.checkpoint_error(
            unbiased["absolute"] ** 2,
            run_n[usable],
            series.group[usable],
            np.nan_to_num(rho, nan=0.0),
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
        rho=rho,
        error=error,
    )


def _metric_strata(encoded: Encoded) -> Ints:
    """Groups that share a metric share an autocorrelation estimate."""
    if "metric" not in encoded.groups.columns:
        return np.zeros(encoded.groups.height, dtype=np.intp)
    return encoded.groups["metric"].rank("dense").fill_null(0).to_numpy().astype(np.intp)


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


def _signal_side(encoded: Encoded, settings: Settings, mask: str | None, threads: int | None) -> _SignalSide:
    series = encoded.series(settings.window, mask, threads)
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
        spread=moments["max"] - moments["min"],
        sd=np.where(counts >= 2, sd, np.nan),
        replicate_variance=replicate_variance,
        replicate_df=replicate_df,
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


def _relative_to(mean: Floats, *, relative: bool) -> Floats:
    """Denominator of a relative form; NaN where it is zero, so that nothing infinite comes out."""
    if not relative:
        return np.ones(len(mean))
    return np.where(mean == 0, np.nan, np.abs(mean))


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
    last_n, last_offsets = _window_values(encoded, noise.series, settings.window, mask, n_groups)
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
    encoded: Encoded, series: Series, window: int, mask: str | None, n_groups: int
) -> tuple[Floats, NDArray[np.uintp]]:
    """All values in the windows of a group's series, in canonical order."""
    values, _, offsets, filled = encoded.select(mask)
    place = np.searchsorted(filled, series.block)
    ends = offsets[place + 1].astype(np.intp)
    counts = series.columns["n"].astype(np.intp)
    rows = np.concatenate(
        [np.arange(end - n, end) for end, n in zip(ends, counts, strict=True)] or [np.zeros(0, int)]
    )
    per_group = np.bincount(series.group, weights=counts, minlength=n_groups).astype(np.intp)
    del window
    return np.ascontiguousarray(values[rows]), np.concatenate([[0], np.cumsum(per_group)]).astype(np.uintp)


def snr(
    scores: Scores,
    *,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    signal: str = "relative_dispersion",
    score: Literal["mean", "final"] = "mean",
    noise: str | None = None,
    population: Filter = None,
    noise_runs: Filter = None,
    relative: bool = True,
    across: str | Sequence[str] = "run",
    order: str = "tokens",
    window: int = 5,
    ddof: int | None = None,
    confidence_level: float = 0.95,
    autocorrelation: float | Literal["pooled"] = "pooled",
    groups: Groups = None,
    columns: Mapping[str, str] | None = None,
    chance: Mapping[str, float] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Signal-to-noise ratio of each benchmark.

    ``snr = signal / noise`` with ``signal = (max - min)/|mean|`` over the members' scores and ``noise`` the relative
    standard deviation of a run's last checkpoints. A benchmark with an SNR well above 1 can tell these members apart
    by one checkpoint; near 1 their order is luck.

    Parameters
    ----------
    scores
        A score table: Polars frame, anything with ``__arrow_c_stream__``, a path, a glob or a list of paths.
    by
        Columns of the key, one row of the result each. subtask, config and filter join with a warning where a group
        would otherwise mix several of their values.
    where
        Rows to use: a Polars expression or a SQL predicate over any column of the table.
    signal
        ``"relative_dispersion"``; ``"compat:<name>"`` for a variant exactly as the reference code computes it (implies
        ``ddof=0``, ``noise="mean_sd"`` and window means); ``"textbook:<name>"`` for its textbook form.
    score
        Score of a member: the mean of its last `window` checkpoints, or its ``"final"`` one.
    noise
        ``"within"`` (default): square root of the unweighted mean of the per-run variances. ``"mean_sd"``: mean of
        the per-run standard deviations. ``"pooled"``: standard deviation of all window values of all runs together
        (the spread between runs is in it: the reference's small-scale quirk). ``"detrended"``: residuals about each
        run's line. ``"successive_difference"``: von Neumann's estimate, a lower bound under autocorrelation.
    population, noise_runs
        Rows that make the signal and the noise, e.g. external models in a compute band against one reference run.
        Default: all rows for both.
    relative
        Divide each side by the absolute mean of its scores. ``False`` gives range and standard deviation in score
        units: the only meaningful choice for metrics that can cross zero.
    across
        What a member of the population is. A member with several runs (seeds) scores their mean.
    order
        Column that orders checkpoints; a run without it falls back to ``step``, then ``revision``.
    window
        Number of last checkpoints, those without a score left out.
    ddof
        Divisor n - ddof of variances; default 1.
    confidence_level
        Of ``snr_low, snr_high`` and their like.
    autocorrelation
        Lag-1 autocorrelation of checkpoint noise for the intervals: ``"pooled"`` over the runs of a group where they
        have 150 values, else over all groups of the call that share the metric, corrected for the bias of short
        runs; or a known value (0: independent checkpoints).
    groups
        ``{"mmlu57": "hendrycksTest-*"}``: tasks that become one, the unweighted mean within each checkpoint.
    columns
        ``{"theirs": "ours"}`` for columns that are not recognised.
    chance
        ``{"task": 0.25}``: chance levels beside the built-in ones.
    duplicates
        What to do where one key carries different values: ``"raise"``, or take ``"first"``, ``"last"`` or ``"mean"``.
    strict
        Raise where a statistic is undefined.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    DataFrame
        By-columns, then ``n_runs`` (members with a score), ``n_checkpoints`` (smallest number used), ``mean``
        (of the members' scores), ``signal, noise, snr`` (dimensionless if relative), their intervals,
        ``noise_absolute`` (score units), ``trend`` (mean slope, score units per checkpoint), ``autocorrelation``
        (the one used; null: too few values, taken as 0), ``n_missing, n_nan``, ``status``, ``flags``, ``signature``.

    Undefined when
        A group has fewer than 2 members, or no run with 2 values (``too_few``); all members are equal
        (``constant``: signal 0); the noise is exactly 0 (``zero_noise``: snr null); a mean is exactly 0
        (``zero_mean``: relative forms null). Undefined values are null, never 0.

    Raises
    ------
    SchemaError, DuplicateKeyError, OptionError
        For a table or an option that cannot be used.
    InsufficientDataError
        With ``strict=True``.

    Notes
    -----
    ``snr_low, snr_high`` hold the interval of the expected range of this many members over the noise, for members
    drawn from a normal population (random models): SNR / q with q quantiles of the studentised range. Simulated
    coverage at 95 %: .951 to .964 for 5 to 25 members; it is not robust to populations far from normal. It rests on
    the noise corrected for autocorrelation, which the estimate is not: where checkpoints are ``autocorrelated`` the
    plain SNR can lie above its interval.
    ``signal_low, signal_high`` are for these members (fixed models) and conservative; ``noise_low, noise_high`` are
    chi-square limits. All correct for autocorrelation. Variants, ``pooled`` and ``successive_difference`` have none.
    The range grows with the number of members: compare benchmarks at equal ``n_runs``.

    References
    ----------
    Heineman et al. 2025, "Signal and Noise", arXiv 2508.13144, section 2. Their code divides by n; ours by n - 1.

    Examples
    --------
    >>> import signoise as sn
    >>> table = sn.snr(sn.example_scores(), by=("task", "metric", "params"))
    >>> table.columns[:5]
    ['task', 'metric', 'params', 'n_runs', 'n_checkpoints']
    """
    settings = _settings(
        "snr",
        signal=signal,
        score=score,
        noise=noise,
        window=window,
        ddof=ddof,
        relative=relative,
        confidence_level=confidence_level,
        autocorrelation=autocorrelation,
        across=across,
        order=order,
        population=population,
        noise_runs=noise_runs,
    )
    return _measure(
        scores,
        settings,
        by=by,
        where=where,
        groups=groups,
        columns=columns,
        chance=chance,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )


def signal(
    scores: Scores,
    *,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    signal: str = "relative_dispersion",
    score: Literal["mean", "final"] = "mean",
    noise: str | None = None,
    population: Filter = None,
    noise_runs: Filter = None,
    relative: bool = True,
    across: str | Sequence[str] = "run",
    order: str = "tokens",
    window: int = 5,
    ddof: int | None = None,
    confidence_level: float = 0.95,
    autocorrelation: float | Literal["pooled"] = "pooled",
    groups: Groups = None,
    columns: Mapping[str, str] | None = None,
    chance: Mapping[str, float] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Signal of each benchmark: how far apart its members' scores are.

    ``signal = (max - min)/|mean|`` over the members' scores. Parameters are those of `snr`; `noise` and `noise_runs`
    feed the interval, the excess and the test.

    Returns
    -------
    DataFrame
        By-columns, ``n_runs, n_checkpoints, mean, signal, signal_low, signal_high``; ``signal_excess`` (standard
        deviation of the members beyond their own error, over the mean; times the expected range of this many normal
        values it compares with `signal`); ``range_p_value`` (probability of such a range if all were equal) and
        ``range_null`` (what "equal" means: ``equal_members`` where members have several runs, else ``equal_runs``,
        which does not speak of recipes); ``n_missing, n_nan, status, flags, signature``.

    Undefined when
        Fewer than 2 members (``too_few``), mean exactly 0 (``zero_mean``). Interval, excess and test are null where
        the error of a score is unknown.

    Notes
    -----
    The interval is for the range of the true scores of these members: ``[R - q s, R + t sqrt(2) s]`` with q of the
    studentised range, and s the error of one score. It covers at least its level (simulated .97 to 1.00 for 5 to 25
    members). The expected range grows with the number of members even where all are equal.

    References
    ----------
    Heineman et al. 2025, arXiv 2508.13144, section 2.

    Examples
    --------
    >>> import signoise as sn
    >>> sn.signal(sn.example_scores(), where="params = 150000000").columns[4:6]
    ['mean', 'signal']
    """
    settings = _settings(
        "signal",
        signal=signal,
        score=score,
        noise=noise,
        window=window,
        ddof=ddof,
        relative=relative,
        confidence_level=confidence_level,
        autocorrelation=autocorrelation,
        across=across,
        order=order,
        population=population,
        noise_runs=noise_runs,
    )
    return _measure(
        scores,
        settings,
        by=by,
        where=where,
        groups=groups,
        columns=columns,
        chance=chance,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )


def noise(
    scores: Scores,
    *,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    per: Literal["group", "run"] = "group",
    noise: str | None = None,
    noise_runs: Filter = None,
    relative: bool = True,
    across: str | Sequence[str] = "run",
    order: str = "tokens",
    window: int = 5,
    ddof: int | None = None,
    confidence_level: float = 0.95,
    autocorrelation: float | Literal["pooled"] = "pooled",
    groups: Groups = None,
    columns: Mapping[str, str] | None = None,
    chance: Mapping[str, float] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Noise of each benchmark: how much a run's score wobbles between its last checkpoints.

    ``noise = sd(last `window` checkpoints)/|mean|``, combined over runs as `noise` says. Parameters are those of
    `snr`.

    Parameters
    ----------
    scores, by, where, noise, noise_runs, relative, across, order, window, ddof, confidence_level, autocorrelation, \
groups, columns, chance, duplicates, strict, threads
        As in `snr`.
    per
        ``"group"``: one row a group. ``"run"``: one row a run, its noise over its own mean.

    Returns
    -------
    DataFrame
        By-columns, (``run``,) ``n_runs`` (runs that entered the noise), ``n_checkpoints, mean`` (of the pooled window
        values), ``noise, noise_absolute, noise_low, noise_high, trend, autocorrelation``, ``n_effective`` (independent
        checkpoints that a window is worth), ``n_missing, n_nan, status, flags, signature``.

    Undefined when
        No run has 2 values (``too_few``; 3 for ``detrended``), or the mean is exactly 0 (``zero_mean``: the absolute
        noise stays).

    Notes
    -----
    Successive checkpoints of one run are not replicates: a large seed effect can hide behind a small noise.

    References
    ----------
    Heineman et al. 2025, arXiv 2508.13144, section 2.

    Examples
    --------
    >>> import signoise as sn
    >>> sn.noise(sn.example_scores(), per="run", where="params = 150000000")["run"].n_unique()
    6
    """
    check_choice("per", per, ("group", "run"))
    settings = _settings(
        "noise",
        signal="relative_dispersion",
        score="mean",
        noise=noise,
        window=window,
        ddof=ddof,
        relative=relative,
        confidence_level=confidence_level,
        autocorrelation=autocorrelation,
        across=across,
        order=order,
        population=None,
        noise_runs=noise_runs,
    )
    if per == "run":
        if settings.noise == "pooled":
            raise OptionError('noise="pooled" is about several runs together; with per="run" use "within"')
        by = tuple(dict.fromkeys([*as_columns(by), *settings.across]))
    return _measure(
        scores,
        settings,
        by=by,
        where=where,
        groups=groups,
        columns=columns,
        chance=chance,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )


def _measure(
    scores: Scores,
    settings: Settings,
    *,
    by: str | Sequence[str],
    where: Filter,
    groups: Groups,
    columns: Mapping[str, str] | None,
    chance: Mapping[str, float] | None,
    duplicates: Duplicates,
    strict: bool,
    threads: int | None,
) -> pl.DataFrame:
    by = as_columns(by)
    filters = [
        f if isinstance(f, pl.Expr) else pl.sql_expr(f)
        for f in (settings.population, settings.noise_runs)
        if f is not None
    ]
    use = [*by, *settings.across, settings.order, *filters]
    table = load(scores, columns=columns, where=where, groups=groups, use=use, strict=strict, threads=threads)
    names = table.frame.columns
    masks = {
        name: predicate(value, name, names)
        for name, value in (("population", settings.population), ("noise_runs", settings.noise_runs))
        if value is not None
    }
    encoded = encode(
        table.frame, by=by, members=settings.across, order=settings.order, masks=masks, duplicates=duplicates
    )
    warn_notes(table.notes)
    note_key(encoded, by)
    return measure_encoded(encoded, settings, chance=chance, strict=strict, threads=threads)


def measure_encoded(
    encoded: Encoded,
    settings: Settings,
    *,
    chance: Mapping[str, float] | None = None,
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """The result table of `snr`, `signal` or `noise` on encoded scores."""
    noise_mask = "noise_runs" if "noise_runs" in encoded.masks else None
    signal_mask = "population" if "population" in encoded.masks else None
    noise_side = _noise_side(encoded, settings, noise_mask, threads)
    wants_signal, wants_noise = settings.verb != "noise", settings.verb != "signal"
    n_groups = len(encoded.groups)
    out: dict[str, Any] = {}
    statuses = Statuses(n_groups)
    statuses.set("duplicate_key", encoded.conflicts)

    noise_scale = _relative_to(noise_side.mean, relative=settings.relative)
    noise_value = noise_side.absolute / noise_scale
    level = settings.confidence_level
    nan = np.full(n_groups, np.nan)
    noise_low = noise_high = nan
    if noise_side.error is not None:
        noise_low, noise_high = (
            limit / noise_scale for limit in _intervals.spread_interval(noise_side.error, level)
        )
    used = noise_side.series
    n_checkpoints = _smallest(used, n_groups)
    mean, n_runs = noise_side.mean, noise_side.n_runs
    if wants_signal:
        side = _signal_side(encoded, settings, signal_mask, threads)
        mean, n_runs = side.mean, side.n
        if settings.noise_runs is None and settings.population is None:
            n_checkpoints = _smallest(side.series, n_groups)
        elif settings.verb == "signal":
            n_checkpoints = _smallest(side.series, n_groups)
        signal_scale = _relative_to(side.mean, relative=settings.relative)
        value = np.where(side.n >= 2, side.spread, np.nan) / signal_scale
        low = high = snr_low = snr_high = excess = p_value = nan
        tests: list[str | None] = [None] * n_groups
        if settings.variant is not None:
            value, noise_value = _variant(encoded, settings, side, noise_side, noise_mask, threads)
            value = np.where(side.n >= 2, value, np.nan)
        elif noise_side.error is not None:
            members = np.where(side.n >= 2, side.n, np.nan).astype(float)
            stderr, df, tests = _score_error(side, noise_side, settings)
            if settings.verb == "signal":
                low, high = _intervals.range_interval(side.spread, members, stderr, df, level)
                low, high = low / signal_scale, high / signal_scale
                p_value = _intervals.range_p_value(side.spread, members, stderr, df)
                excess = np.sqrt(np.maximum(0.0, side.sd**2 - stderr**2)) / signal_scale
            else:
                low, high = _intervals.range_interval(side.spread, members, stderr, df, level)
                low, high = low / signal_scale, high / signal_scale
                snr_low, snr_high = _intervals.ratio_interval(side.spread, members, noise_side.error, level)
                snr_low, snr_high = (limit * noise_scale / signal_scale for limit in (snr_low, snr_high))
        statuses.set("too_few", side.n < 2)
        if wants_noise:
            statuses.set("too_few", noise_side.n_runs < 1)
        statuses.set("constant", (side.n >= 2) & (side.spread == 0))
    else:
        statuses.set("too_few", noise_side.n_runs < 1)
    if wants_noise:
        statuses.set("zero_noise", noise_side.absolute == 0)
    if settings.relative:
        statuses.set("zero_mean", (mean == 0) | (wants_noise & (noise_side.mean == 0)))

    trend_limit = kernels().t_quantile(np.full(n_groups, (1 + level) / 2), noise_side.trend_df)
    with np.errstate(invalid="ignore"):
        trending = np.abs(noise_side.trend_t) > trend_limit
    out |= {"n_runs": n_runs, "n_checkpoints": n_checkpoints, "mean": mean}
    if settings.verb == "snr":
        with np.errstate(all="ignore"):
            ratio = np.where(noise_side.absolute == 0, np.nan, value / noise_value)
        out |= {"signal": value, "noise": noise_value, "snr": ratio, "snr_low": snr_low, "snr_high": snr_high}
        out |= {"signal_low": low, "signal_high": high, "noise_low": noise_low, "noise_high": noise_high}
        out |= {
            "noise_absolute": noise_side.absolute,
            "trend": noise_side.trend,
            "autocorrelation": noise_side.rho,
        }
        statuses.check_finite(~np.isfinite(ratio))
    elif settings.verb == "signal":
        out |= {"signal": value, "signal_low": low, "signal_high": high, "signal_excess": excess}
        out |= {"range_p_value": p_value, "range_null": pl.Series(tests, dtype=pl.String)}
        statuses.check_finite(~np.isfinite(value))
    else:
        out |= {"noise": noise_value, "noise_absolute": noise_side.absolute, "noise_low": noise_low}
        out |= {"noise_high": noise_high, "trend": noise_side.trend, "autocorrelation": noise_side.rho}
        rho = np.nan_to_num(noise_side.rho, nan=0.0)
        out |= {"n_effective": _intervals.effective_checkpoints(n_checkpoints.astype(float), rho)}
        statuses.check_finite(~np.isfinite(noise_value))
    statuses.blank(out, "duplicate_key")

    flags = {
        "few_checkpoints": n_checkpoints < settings.window,
        "trend": trending,
        "near_zero_mean": np.abs(mean) <= 3 * noise_side.absolute,
        "negative_mean": mean < 0,
        "missing_values": (encoded.n_missing + encoded.n_nan) > 0,
        "mixed_config": _mixed_config(encoded),
        "autocorrelated": (np.nan_to_num(noise_side.rho) >= AUTOCORRELATED) & (noise_side.absolute > 0),
    }
    if wants_signal:
        flags["few_members"] = side.n < FEW_MEMBERS
        flags["near_chance"] = _near_chance(encoded.groups, side, chance, level)
    table = _table(encoded.groups, out, encoded, statuses, flags, settings.signature())
    check_strict(table, encoded.by, strict=strict)
    return table


def _table(
    labels: pl.DataFrame,
    out: Mapping[str, Any],
    encoded: Encoded,
    statuses: Statuses,
    flags: Mapping[str, NDArray[np.bool_]],
    text: str,
) -> pl.DataFrame:
    columns = []
    for name, values in out.items():
        column = values if isinstance(values, pl.Series) else pl.Series(values=values)
        columns.append((column.fill_nan(None) if column.dtype.is_float() else column).alias(name))
    return labels.select(encoded.by).with_columns(
        *columns,
        pl.Series("n_missing", encoded.n_missing),
        pl.Series("n_nan", encoded.n_nan),
        statuses.column(),
        flag_lists(flags, len(labels)),
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
    labels: pl.DataFrame, side: _SignalSide, chance: Mapping[str, float] | None, level: float
) -> NDArray[np.bool_]:
    """The t interval of the mean over members covers the chance level."""
    expected = chance_of(labels, chance)
    n = side.n.astype(float)
    with np.errstate(all="ignore"):
        half = (
            kernels().t_quantile(np.full(len(n), (1 + level) / 2), np.maximum(n - 1, 1.0))
            * side.sd
            / np.sqrt(n)
        )
        return np.abs(side.mean - expected) <= half


__all__ = [
    "FEW_MEMBERS",
    "Settings",
    "measure_encoded",
    "member_scores",
    "metric_of",
    "noise",
    "signal",
    "snr",
]
