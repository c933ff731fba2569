"""Signal, noise and their ratio: how well a benchmark separates models against how much its scores wobble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import polars as pl

from ._duplicates import Duplicates
from ._encode import encode
from ._errors import OptionError
from ._instance_cells import open_instances
from ._instance_intervals import Draws, engine_of_draws
from ._measure import Settings, check_settings, measure
from ._options import as_columns, check_choice, check_count, check_seed
from ._schema import as_expression, predicate
from ._scores import Filter, Groups, Scores, load, note_key, warn_notes
from .engines import Engine


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
    instances: bool = False,
    cluster: str | None = None,
    n_resamples: int = 1000,
    rng_seed: int = 0,
    groups: Groups = None,
    columns: Mapping[str, str] | None = None,
    chance: Mapping[str, float] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    engine: str | Engine = "local",
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
        have 150 values, else over all groups of the call that share the metric, by restricted maximum likelihood,
        which short runs do not bias; or a known value (0: independent checkpoints).
    instances
        Add an interval over instances, whose rows (or store) are needed: ``instance_low, instance_high``.
    cluster, n_resamples, rng_seed, engine
        As in `bootstrap`, for the draws of instances.
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
        With `instances` also ``instance_low, instance_high, n_instances`` (those that all checkpoints in use have).

    Undefined when
        A group has fewer than 2 members, or no run with 2 values (``too_few``); all members are equal
        (``constant``: signal 0); the noise is exactly 0 (``zero_noise``: snr null); a mean is exactly 0
        (``zero_mean``: relative forms null). Undefined values are null, never 0. The interval over instances is null
        where a checkpoint in use has no instances, or where some draw of them leaves no signal or no noise.

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
    coverage at 95 %: .92 to .97 for 5 to 40 members, windows of 5 and 30 and autocorrelations of 0, .5 and .8; it is
    not robust to populations far from normal. It rests on
    the noise corrected for autocorrelation, which the estimate is not: where checkpoints are ``autocorrelated`` the
    plain SNR can lie above its interval.
    ``signal_low, signal_high`` are for these members (fixed models) and conservative; ``noise_low, noise_high`` are
    chi-square limits. All correct for autocorrelation. Variants, ``pooled`` and ``successive_difference`` have none.
    The range grows with the number of members: compare benchmarks at equal ``n_runs``.

    ``instance_low, instance_high`` speak of these runs and checkpoints on other instances like these, as many of them:
    SNR times exp(-+ z sd) with the standard deviation of log(SNR) over draws of instances that all runs and checkpoints
    share. It is an interval of what so many instances show, not of the SNR with endlessly many, which is larger:
    instances add noise to every checkpoint, and the more of it the fewer they are. Percentiles of the draws, which
    carry that noise twice, would cover .42 to .78. Simulated coverage .92 to .96 (200 and 500 instances, 8 and 25
    runs).

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
    settings = check_settings(
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
    if instances and (settings.variant is not None or groups):
        raise OptionError('instances=True is for signal="relative_dispersion", without groups')
    where_drawn = engine_of_draws(engine, instances=instances)
    check_count("n_resamples", n_resamples, 2)
    check_seed(rng_seed)
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
        draws=(cluster, n_resamples, rng_seed, where_drawn) if instances else None,
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
    settings = check_settings(
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
    The interval is for the standard deviation of a checkpoint's score about its run's level. Autocorrelated checkpoints
    show less of it, so the interval is as wide as the likelihood of the autocorrelation leaves open: with 25 runs of 5
    checkpoints its ends are a factor of 1.4, 2.2 and 3.2 apart at autocorrelations of 0, .5 and .8. Simulated coverage
    at 95 %, for these and with windows of 30, over 5, 25 and 40 runs: .92 to .98. Below 20 values of a metric the
    autocorrelation is unknown (null) and taken for 0, which makes intervals of autocorrelated checkpoints too short.
    ``"detrended"`` takes the estimated autocorrelation for the true one.

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
    settings = check_settings(
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
    draws: tuple[str | None, int, int, Engine] | None = None,
) -> pl.DataFrame:
    """Measure a table; `draws` of instances: cluster, n_resamples, rng_seed and engine."""
    by = as_columns(by)
    given = {"population": settings.population, "noise_runs": settings.noise_runs}
    filters = [as_expression(value, name) for name, value in given.items() if value is not None]
    use: list[pl.Expr | str] = [*by, *settings.across, settings.order, *filters]
    drawn = None
    if draws is not None:
        cluster, n_resamples, rng_seed, engine = draws
        scores, where, source = open_instances(
            scores,
            columns=columns,
            where=where,
            use=use,
            cluster=cluster,
            duplicates=duplicates,
            strict=strict,
            threads=threads,
        )
        columns = None
        level, each = settings.confidence_level, engine.threads_of(threads)
        drawn = Draws(source, cluster, n_resamples, rng_seed, level, each, engine)
    table = load(
        scores,
        columns=columns,
        where=where,
        groups=groups,
        use=use,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    schema = table.frame.schema
    masks = {name: predicate(value, name, schema) for name, value in given.items() if value is not None}
    encoded = encode(
        table.frame, by=by, members=settings.across, order=settings.order, masks=masks, duplicates=duplicates
    )
    warn_notes(table.notes)
    note_key(encoded, by)
    return measure(
        encoded, settings, chance=chance, frame=table.frame, draws=drawn, strict=strict, threads=threads
    )
