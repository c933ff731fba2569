"""The verb `compare_metrics`: which metric of a task separates models, wobbles least and decides best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._decisions import FEW_MEMBERS, TIES
from .._duplicates import Duplicates
from .._encode import Encoded
from .._laws import prediction_error
from .._measure import check_settings, measure
from .._options import check_choice, check_count, check_level, signature
from .._scores import Filter, Groups, Scores
from .._status import FLAGS, check_strict, flag_lists
from ._ladder_curves import Rule, ladder_rule
from ._metric_differences import agreement, agreement_difference, snr_gain
from ._metric_table import MetricTable, Pairs, open_metrics, primary_in_words

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


def compare_metrics(
    scores: Scores,
    *,
    metrics: str | Sequence[str] | None = None,
    primary: str | Mapping[str, str] | None = None,
    small: Filter = None,
    target: Filter = None,
    match: str | Sequence[str] | None = None,
    by: str | Sequence[str] = ("task",),
    where: Filter = None,
    score: Literal["final", "mean"] = "final",
    window: int = 5,
    ties: Literal["half", "drop", "zero", "compat"] = "half",
    ladder_train: Filter = None,
    ladder_target: Filter = None,
    choices: bool = True,
    direction: Mapping[str, str] | None = None,
    order: str = "tokens",
    confidence_level: float = 0.95,
    groups: Groups = None,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    r"""Compare the metrics of each task: signal, noise, and how well each decides for the task's primary metric.

    ``difference`` = decision accuracy of a metric at small scale for the primary metric at the target, less that of the
    primary metric itself; ``snr_gain`` = log(SNR of the metric / SNR of the primary metric), range over standard
    deviation each, which has no unit and no origin. Both are paired: over the same members, with limits from leaving
    one member out of both at a time.

    Parameters
    ----------
    scores, where, order, groups, columns, duplicates, strict, threads
        As in `snr`. Of dumps also every metric that `choice_metrics` finds and the harness did not store.
    metrics
        Metrics to compare with the primary one; default all of a known direction.
    primary
        The metric that counts: one name, or ``{"task": "metric"}``. Default: the first of ``primary_score``,
        ``acc_norm``, ``acc_per_char``, ``acc``, ``acc_raw``, ``accuracy``, ``exact_match``, ``pass@1`` that a task has,
        else the first accuracy, else its only metric; a task with none of these is flagged ``no_primary``.
    small, target
        Filters on rows, as in `decision_accuracy`: where decisions are made, and what they are made for. Signal, noise
        and SNR are those of `small`. Without `small` they are those of all rows; without `target` there is no decision
        accuracy.
    match
        What a member is, on both sides; default with a `target` ``recipe`` where it is filled, else ``run``. A member
        with several runs scores their mean.
    by
        Columns of the key beside the metric.
    score
        Of `decision_accuracy`: last checkpoint, or the mean of the last `window`. The SNR takes the mean.
    window
        Last checkpoints.
    ties
        As in `decision_accuracy`.
    ladder_train, ladder_target
        Filters: runs to learn a scaling law from and runs to predict, each metric by itself as in `prediction_error`
        with its defaults. Without them there is no prediction error, which takes a second or so for each metric.
    choices
        Compute metrics of choices from dumps.
    direction
        ``{"metric": "higher" | "lower"}`` for metrics that are not known.
    confidence_level
        Of all limits.

    Returns
    -------
    DataFrame
        A row for each group and metric, the primary metric first: by-columns; ``metric, is_primary``; ``n_runs``
        (members of the SNR), ``n_checkpoints``; ``signal, noise, snr`` (relative, as in `snr`), ``snr_absolute`` (range
        over standard deviation, comparable between metrics); with `target` ``n_members, decision_accuracy`` (for the
        primary metric at the target), its limits ``low, high``, ``decision_accuracy_same`` (for this metric itself at
        the target), ``difference, difference_low, difference_high``; ``snr_gain, snr_gain_low, snr_gain_high`` (natural
        logarithm); with a ladder ``prediction_error`` (mean over targets of the relative errors' sizes);
        ``best_in_sample``; ``status, flags, signature``.

    Undefined when
        As in `snr` and `decision_accuracy`, whose ``status`` this is. Differences of the primary metric from itself are
        null, as are all where a group has no primary metric, limits with fewer than 3 members in common, and
        ``snr_gain`` where a noise or a range is 0.

    Raises
    ------
    OptionError
        `target` without `small`; filters that name the metric; tasks of which nothing says what their primary metric
        is.
    UnknownMetricError
        Where `metrics` names one whose direction is not known, and there is a `target`.
    SchemaError
        Metrics or columns that are not there.

    Notes
    -----
    ``best_in_sample`` marks the highest decision accuracy of a group (highest SNR without a `target`; ties: highest
    SNR). It is selected on these data: with many metrics the best looks better than it is. Judge a switch by other
    tasks, other sizes, or limits of ``difference`` that exclude 0 after allowing for the number of metrics.

    Limits speak of other members like these. Of ``difference``: -/+ t se, jackknife, t with J - 1 degrees of freedom;
    where no member's leaving changes it, -/+ (1 - (alpha/2)^(1/floor(J/2))). Simulated coverage at 95 %: .95 to 1.00 (5
    to 50 members; conservative below 25). Of ``snr_gain``, as of the ratio of the members' standard deviations over
    noise: .93 to .96 (5 to 50 members, windows of 5, autocorrelations of 0 and .5), .91 to .96 for effects with the
    tails of t with 4 degrees of freedom, where normal theory covers .85 to .93. That takes wide limits for few members:
    with 5, a factor of 3 to 6 either way.

    References
    ----------
    Heineman et al. 2025, "Signal and Noise", arXiv 2508.13144, section 5; Magnusson et al. 2025, "DataDecide", arXiv
    2504.11393, section 3.4.

    Examples
    --------
    >>> import polars as pl, signoise as sn
    >>> sharp, _ = sn.simulate(tasks=["arc"], metric="bits_per_byte", step_noise=0.002)
    >>> blunt, _ = sn.simulate(tasks=["arc"], metric="acc", step_noise=0.02, rng_seed=1)
    >>> table = sn.compare_metrics(pl.concat([sharp, blunt]), small="params = 150000000")
    >>> table.select("metric", "is_primary", "best_in_sample").rows()
    [('acc', True, False), ('bits_per_byte', False, True)]
    """
    check_choice("score", score, ("final", "mean"))
    check_choice("ties", ties, TIES)
    check_level(confidence_level)
    check_count("window", window)
    ladder = ladder_rule(ladder_train, ladder_target, direction=direction, order=order, threads=threads)
    table = open_metrics(
        scores,
        metrics=metrics,
        primary=primary,
        small=small,
        target=target,
        match=match,
        by=by,
        where=where,
        use=ladder.used if ladder else (),
        choices=choices,
        direction=direction,
        order=order,
        groups=groups,
        columns=columns,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    encoded, pairs = table.encoded, table.pairs
    measured = _measured(table, window=window, order=order, level=confidence_level)
    columns_of = _signal_columns(table, measured, window, confidence_level, threads)
    if target is not None:
        a, b = table.decision_scores(score, window, direction, threads)
        columns_of |= _decision_columns(a, b, pairs, ties, confidence_level, threads)
    text = signature(
        "compare_metrics",
        metrics=table.wanted,
        primary=primary_in_words(primary),
        small=small,
        target=target,
        match=table.members,
        score=score if target is not None else None,
        window=window,
        ties=ties if target is not None else None,
        order=order,
        ladder_train=ladder_train,
        ladder_target=ladder_target,
        interval="delete_one_member",
        level=confidence_level,
    )
    result = _result(encoded, measured, pairs, columns_of, table.wanted, text)
    if ladder is not None:
        errors = _ladder_errors(table.frame, result, ladder, encoded.by)
        at = result.columns.index("best_in_sample")
        result = result.insert_column(at, errors)
    result = _in_order(result, encoded.by)
    check_strict(result, encoded.by, strict=strict)
    return result


# --- signal and noise


def _measured(table: MetricTable, *, window: int, order: str, level: float) -> dict[bool, pl.DataFrame]:
    """What `snr` says of each group, relative and absolute."""
    encoded, small = table.encoded, table.sides.get("small")
    if small is not None:
        masks = dict.fromkeys(("population", "noise_runs"), encoded.masks["small"])
        encoded = replace(encoded, masks=masks)
    settings = check_settings(
        "snr",
        signal="relative_dispersion",
        score="mean",
        noise=None,
        window=window,
        ddof=None,
        relative=True,
        confidence_level=level,
        autocorrelation="pooled",
        across=table.members,
        order=order,
        population=small,
        noise_runs=small,
    )
    # Of the absolute form the SNR alone is used: its intervals need not be right.
    absolute = replace(settings, relative=False, autocorrelation=0.0)
    return {True: measure(encoded, settings), False: measure(encoded, absolute)}


def _signal_columns(
    table: MetricTable,
    measured: Mapping[bool, pl.DataFrame],
    window: int,
    level: float,
    threads: int | None,
) -> dict[str, Any]:
    pairs, rows = table.pairs, table.signal_rows(window, threads)
    other = rows.rows(pairs.partner)
    common = ~np.isnan(rows.scores) & ~np.isnan(other.scores)
    gain, low, high = snr_gain(rows, other, common, level)
    relative, absolute = measured[True], measured[False]
    out: dict[str, Any] = {
        name: relative[name] for name in ("n_runs", "n_checkpoints", "signal", "noise", "snr")
    }
    out["snr_absolute"] = absolute["snr"]
    compared = {"snr_gain": gain, "snr_gain_low": low, "snr_gain_high": high}
    return out | {name: _only(values, pairs.known) for name, values in compared.items()}


def _only(values: Floats, where: NDArray[np.bool_]) -> Floats:
    return np.where(where, values, np.nan)


# --- decisions


def _decision_columns(
    small: Floats, target: Floats, pairs: Pairs, ties: str, level: float, threads: int | None
) -> dict[str, Any]:
    wanted = np.where((pairs.primary >= 0)[:, None], target[pairs.partner], np.nan)
    other = small[pairs.partner]
    there = ~np.isnan(small) & ~np.isnan(wanted)
    cross = agreement(small, wanted, there, ties, threads)
    low, high = cross.limits(level, threads)
    same = agreement(small, target, ~np.isnan(small) & ~np.isnan(target), ties, threads)
    shared = there & ~np.isnan(other)
    difference = agreement_difference(
        agreement(small, wanted, shared, ties, threads),
        agreement(other, wanted, shared, ties, threads),
        level,
    )
    out: dict[str, Any] = {
        "n_members": cross.n_members,
        "decision_accuracy": cross.estimate,
        "low": low,
        "high": high,
        "decision_accuracy_same": same.estimate,
    }
    names = ("difference", "difference_low", "difference_high")
    out |= {name: _only(values, pairs.known) for name, values in zip(names, difference, strict=True)}
    out["__unmatched"] = (there & np.isnan(other)).any(axis=1)
    return out


# --- the table


def _result(
    encoded: Encoded,
    measured: Mapping[bool, pl.DataFrame],
    pairs: Pairs,
    columns: dict[str, Any],
    wanted: Sequence[str] | None,
    text: str,
) -> pl.DataFrame:
    unmatched = columns.pop("__unmatched", None)
    order = (
        *("n_runs", "n_checkpoints", "signal", "noise", "snr", "snr_absolute"),
        *("n_members", "decision_accuracy", "low", "high", "decision_accuracy_same"),
        *("difference", "difference_low", "difference_high"),
        *("snr_gain", "snr_gain_low", "snr_gain_high"),
    )
    numbers = [
        pl.Series(name, columns[name]).fill_nan(None)
        if isinstance(columns[name], np.ndarray) and columns[name].dtype.kind == "f"
        else pl.Series(name, columns[name])
        for name in order
        if name in columns
    ]
    found = measured[True]
    flags = {name: found["flags"].list.contains(name).to_numpy() for name in FLAGS}
    flags["no_primary"] = pairs.primary < 0
    status = found["status"]
    if unmatched is not None:
        flags["unmatched"] = unmatched
        flags["few_members"] |= columns["n_members"] < FEW_MEMBERS
        status = _decided(status, columns)
    table = encoded.groups.select(*(name for name in encoded.by if name != "metric"), "metric").with_columns(
        pl.Series("is_primary", pairs.primary == np.arange(len(pairs.primary))),
        *numbers,
        status,
        flag_lists(flags, len(pairs.primary)),
        pl.lit(text).alias("signature"),
    )
    if wanted is not None:
        table = table.filter(pl.col("is_primary") | pl.col("metric").is_in(wanted))
    rest = [name for name in encoded.by if name != "metric"]
    best = _best(table, rest)
    return table.insert_column(table.columns.index("status"), best)


def _decided(status: pl.Series, columns: Mapping[str, Any]) -> pl.Series:
    """The status of the SNR, or why there is no decision accuracy beside it."""
    undecided = pl.Series(np.isnan(columns["decision_accuracy"])) & (status == "ok")
    why = pl.when(pl.Series(columns["n_members"] < 2)).then(pl.lit("too_few")).otherwise(pl.lit("constant"))
    return pl.select(pl.when(undecided).then(why).otherwise(status).alias("status")).to_series()


def _best(table: pl.DataFrame, rest: Sequence[str]) -> pl.Series:
    """The metric that looks best in each group, on these very data."""
    worth = [name for name in ("decision_accuracy", "snr_absolute") if name in table.columns]
    known = pl.all_horizontal(pl.col(worth[0]).is_not_null())
    rank = pl.when(known).then(
        pl.struct(pl.col(name).fill_null(-1.0) for name in worth).rank("dense", descending=True)
    )
    ranked = table.with_columns(__rank=rank.over(rest) if rest else rank)
    lowest = pl.col("__rank").min().over(rest) if rest else pl.col("__rank").min()
    return ranked.select((pl.col("__rank") == lowest).fill_null(False).alias("best_in_sample")).to_series()


def _in_order(table: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Groups in lexical order, their primary metric first, the others by name."""
    rest = [name for name in by if name != "metric"]
    return table.sort(*rest, ~pl.col("is_primary"), "metric", maintain_order=True)


def _ladder_errors(
    frame: pl.DataFrame,
    result: pl.DataFrame,
    rule: Rule,
    by: Sequence[str],
) -> pl.Series:
    """Mean size of the relative errors with which targets are predicted, for each row."""
    errors = prediction_error(
        frame,
        train=rule.train,
        target=rule.target,
        by=by,
        direction=rule.direction,
        order=rule.order,
        interval="none",
        n_resamples=0,
        threads=rule.threads,
    )
    mean = errors.group_by(by).agg(pl.col("prediction_error").sort().mean())
    return result.join(mean, on=by, how="left", nulls_equal=True, maintain_order="left")["prediction_error"]
