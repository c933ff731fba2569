"""Decision accuracy: does the order of the members at small scale hold at the target?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._addresses import group_addresses
from ._decision_instances import decisions_over_instances
from ._decision_rules import by_rule, without_each
from ._decision_sides import check_unmixed, columns_of_sides, load_sides, matched, note_unmatched
from ._duplicates import Duplicates
from ._encode import Encoded, Series
from ._errors import OptionError
from ._instance_cells import open_instances
from ._instance_intervals import FEW_INSTANCES, Draws, engine_of_draws
from ._intervals import checkpoint_error, effective_checkpoints, quantile_at
from ._kernels import kernels
from ._measure import check_autocorrelation, combined_noise, group_autocorrelation, member_scores
from ._metrics import require_direction
from ._options import as_columns, check_choice, check_count, check_level, check_seed, signature
from ._scores import Filter, Groups, Scores
from ._status import Statuses, check_strict, flag_lists, result_column
from .engines import Engine

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

TIES = ("half", "drop", "zero", "compat")
SCORES = ("final", "mean", "sample")
PAIRS = ("all", "weighted", "decidable")
#: Fewer members than this make a decision accuracy a rough guess.
FEW_MEMBERS = 8


@dataclass(frozen=True)
class Side:
    """Scores of the members on one side, higher is better, sorted by group and member."""

    series: Series
    scores: Floats
    group: Ints
    member: Ints
    sd: Floats
    """Standard deviation of each score from checkpoint noise; NaN where a run has one checkpoint."""
    pooled_sd: Floats
    """The same from the noise of all runs of the group, corrected for autocorrelation; NaN where no run has two."""
    runs: Ints
    """Offsets of the scores among the series: a score is the mean of its runs."""
    sign: Floats
    """+1 or -1 for each group."""
    window: int


def decision_accuracy(
    scores: Scores,
    *,
    small: Filter,
    target: Filter,
    match: str | Sequence[str] | None = None,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    score: Literal["final", "mean", "sample"] = "final",
    window: int = 5,
    window_small: int | None = None,
    window_target: int | None = None,
    ties: Literal["half", "drop", "zero", "compat"] = "half",
    pairs: Literal["all", "weighted", "decidable"] = "all",
    decidable_sd: float = 2.0,
    direction: Mapping[str, str] | None = None,
    order: str = "tokens",
    confidence_level: float = 0.95,
    autocorrelation: float | Literal["pooled"] = "pooled",
    instances: bool = False,
    cluster: str | None = None,
    rng_seed: int = 0,
    n_resamples: int = 1000,
    groups: Groups = None,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    engine: str | Engine = "local",
    threads: int | None = None,
) -> pl.DataFrame:
    """Share of pairs of members that small scale orders as the target does.

    Over all pairs i < j of the J members with scores a at small scale and b at the target:
    ``mean of (1 + sign(a_i - a_j) sign(b_i - b_j))/2``. One half is chance.

    Parameters
    ----------
    scores, by, where, order, groups, columns, duplicates, strict, threads
        As in `snr`. Columns named in `small` and `target` leave the key.
    small, target
        Filters on rows that make the two sides: ``"params = 150000000"``, ``"tokens <= 1.3e11"``, ``"shots = 0"``,
        ``"metric = 'bits_per_byte'"``. Each side takes each member's last checkpoints inside its filter.
    match
        Column or columns that join the two sides; default ``recipe`` where it is filled on both, else ``run``. A
        member with several runs on a side scores their mean.
    score
        ``"final"``: last checkpoint; ``"mean"``: mean of the last `window`; ``"sample"``: one random checkpoint of
        the last `window` for each member and side, in `n_resamples` trials.
    window, window_small, window_target
        Checkpoints for the mean, the sample and the checkpoint noise; one side's own beats the common one.
    ties
        Pairs tied on a side: ``"half"`` scores them 1/2, ``"drop"`` leaves them out, ``"zero"`` scores a pair tied on
        one side 0, ``"compat"`` is the reference's strict ``>`` over pairs in lexical order of the join key.
    pairs
        ``"all"``; ``"weighted"`` by the target's absolute difference; ``"decidable"``: only pairs whose target
        difference exceeds `decidable_sd` standard deviations of the target's checkpoint noise.
    direction
        ``{"metric": "higher" | "lower"}`` for metrics that are not known.
    confidence_level
        Of ``low, high`` and ``checkpoint_low, checkpoint_high``.
    autocorrelation
        Of checkpoint noise, for ``checkpoint_low, checkpoint_high``; as in `snr`.
    instances
        Add an interval over instances, whose rows (or store) are needed: ``instance_low, instance_high``.
    cluster, engine
        As in `bootstrap`, for the draws of instances.
    rng_seed, n_resamples
        Of the draws of instances, of checkpoint noise and of ``score="sample"``; each group has draws of its own, so
        groups do not affect each other.

    Returns
    -------
    DataFrame
        By-columns, ``n_members, n_pairs, n_ties`` (pairs tied on either side), ``decision_accuracy``, its limits over
        members ``low, high`` and over checkpoint noise ``checkpoint_low, checkpoint_high``, ``expected``
        (what-if: the decision accuracy to expect if checkpoint noise as large as each score's own were added to these
        scores; null where a run has one checkpoint), ``tau_a, tau_b``, ``status, flags, signature``. With `instances`
        also ``instance_low, instance_high, n_instances`` (those that all checkpoints in use have).

    Undefined when
        Fewer than 2 members are on both sides (``too_few``). Where all members are equal on a side (``constant``)
        every pair is tied. Intervals are null for weighted and decidable pairs; that over members needs 3 of them,
        that over checkpoint noise a run with 2 checkpoints on each side (else flag ``few_checkpoints``).

    Raises
    ------
    UnknownMetricError
        Where a metric's direction is not known.
    SchemaError, OptionError, DuplicateKeyError
        For a table or an option that cannot be used.

    Notes
    -----
    ``low, high`` speak of other members drawn like these: delete-one standard error on the logit scale with t quantiles
    of J - 1 degrees of freedom; ``[(alpha/2)^(1/floor(J/2)), 1]`` where all pairs agree. Members are left out, never
    pairs. Conservative (simulated .96 to 1.00 for 5 to 50 members). For ``"sample"`` they are the percentiles of the
    trials instead: checkpoint noise alone.

    ``checkpoint_low, checkpoint_high`` speak of these members at other checkpoints: estimate -+ z sd, cut to [0, 1],
    with the standard deviation over `n_resamples` draws of normal checkpoint noise on every score (for ``"sample"``:
    over the trials). Percentiles would be wrong, because noise pulls the decision accuracy of the draws towards one
    half. The noise is that of the last `window` checkpoints, pooled over the runs of a side; that of a mean is divided
    by the number of independent checkpoints that the window is worth. Both limits coincide where no draw changed an
    order. Like the estimate they are about scores with their noise: simulated coverage of what such scores show on
    average .92 to .97 (8 and 25 members, autocorrelations of 0 and .5), of the decision accuracy without noise, which
    is higher, .53 to .95.

    ``instance_low, instance_high`` speak of these members and checkpoints on other instances like these, as many of
    them: estimate -+ z sd over draws of instances that all members and both sides share. Simulated coverage .91 to .96
    (200 and 500 instances, 8 and 25 members).

    References
    ----------
    Magnusson et al. 2025, "DataDecide", arXiv 2504.11393; Heineman et al. 2025, arXiv 2508.13144, section 2.

    Examples
    --------
    >>> import signoise as sn
    >>> table = sn.decision_accuracy(
    ...     sn.example_scores(), small="params = 150000000", target="params = 1000000000"
    ... )
    >>> table["n_pairs"].unique().to_list()
    [15]
    """
    check_choice("score", score, SCORES)
    check_choice("ties", ties, TIES)
    check_choice("pairs", pairs, PAIRS)
    check_level(confidence_level)
    check_autocorrelation(autocorrelation)
    check_count("n_resamples", n_resamples)
    check_seed(rng_seed)
    if not isinstance(decidable_sd, (int, float)) or not decidable_sd >= 0:
        raise OptionError(f"decidable_sd must be a number of at least 0, got {decidable_sd!r}")
    for name, value in (("window", window), ("window_small", window_small), ("window_target", window_target)):
        if value is not None:
            check_count(name, value)
    if score == "sample" and (ties != "half" or pairs != "all"):
        raise OptionError(
            'score="sample" scores ties one half over all pairs; leave ties and pairs at their defaults'
        )
    if instances and (score == "sample" or pairs != "all" or groups):
        raise OptionError('instances=True is for score="final" or "mean" over all pairs, without groups')
    if pairs != "all" and ties != "half":
        raise OptionError(f'pairs={pairs!r} scores ties one half; leave ties at "half"')

    where_drawn = engine_of_draws(engine, instances=instances)
    by = as_columns(by)
    wanted = columns_of_sides(by, match, order, {"small": small, "target": target})
    draws = None
    if instances:
        scores, where, source = open_instances(
            scores,
            columns=columns,
            where=where,
            use=wanted,
            cluster=cluster,
            duplicates=duplicates,
            strict=strict,
            threads=threads,
        )
        each = where_drawn.threads_of(threads)
        draws = Draws(source, cluster, n_resamples, rng_seed, confidence_level, each, where_drawn)
    sides = load_sides(
        scores,
        small=small,
        target=target,
        match=match,
        by=by,
        where=where,
        order=order,
        groups=groups,
        columns=columns,
        opened=draws is not None,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    encoded, left, members = sides.encoded, sides.left, sides.members

    windows = {"small": window_small or window, "target": window_target or window}
    a, b = (
        side_scores(encoded, name, score, windows[name], left, direction, autocorrelation, threads)
        for name in windows
    )
    common_a, common_b = matched(a, b, encoded.members)
    note_unmatched(encoded, a, b, common_a, members, strict=strict)
    text = signature(
        "decision_accuracy",
        small=small,
        target=target,
        match=members,
        score=score,
        window=windows["small"] if len(set(windows.values())) == 1 else tuple(windows.values()),
        ties=ties,
        pairs=pairs if pairs != "decidable" else f"decidable:{decidable_sd}",
        order=order,
        interval={"sample": "sample_percentiles"}.get(score, "delete_one_member" if pairs == "all" else None),
        level=confidence_level,
        checkpoint_interval="normal" if pairs == "all" else None,
        autocorrelation=autocorrelation if pairs == "all" and score != "sample" else None,
        rng=rng_seed if pairs == "all" else None,
        n_resamples=n_resamples if pairs == "all" else None,
        instance_interval="normal" if draws else None,
        cluster=cluster,
    )
    out = _agreement(
        encoded,
        a,
        b,
        common_a,
        common_b,
        score=score,
        ties=ties,
        pairs=pairs,
        decidable_sd=decidable_sd,
        level=confidence_level,
        rng_seed=rng_seed,
        n_resamples=n_resamples,
        threads=threads,
    )
    if draws:
        in_sides = [(a, common_a), (b, common_b)]
        estimate = out["decision_accuracy"]
        limits = decisions_over_instances(
            encoded, in_sides, estimate, sides.frame, draws, score=score, ties=ties
        )
        out |= limits.columns()
    result = _result(encoded, out, a, b, common_a, common_b, score, text)
    check_strict(result, encoded.by, strict=strict)
    return result


def side_scores(
    encoded: Encoded,
    name: str,
    score: str,
    window: int,
    left: Sequence[str],
    direction: Mapping[str, str] | None,
    autocorrelation: float | str,
    threads: int | None,
) -> Side:
    """Scores of the members inside one mask."""
    series = encoded.series(window, name, threads)
    labels = encoded.heads[series.block]
    check_unmixed(series, labels, name, left)
    kind = "mean" if score == "mean" else "last"
    n_groups = len(encoded.groups)
    values, group, member, _, runs = member_scores(
        series, "mean" if kind == "mean" else "final", n_groups, threads
    )
    n = series.columns["n"].astype(float)
    with np.errstate(all="ignore"):
        variance = series.columns["m2"] / (n - 1)
        if score == "mean":
            variance = variance / n
        ends = np.concatenate([[0], np.cumsum(runs["n"].astype(np.intp))])
        total = np.add.reduceat(variance, ends[:-1]) if len(values) else variance
        sd = np.sqrt(total) / runs["n"]
        shared = _checkpoint_variance(
            encoded, series, name, autocorrelation, averaged=score == "mean", threads=threads
        )
        total = np.add.reduceat(shared, ends[:-1]) if len(values) else shared
        pooled_sd = np.sqrt(total) / runs["n"]
    sign = np.ones(n_groups)
    if "metric" in labels.columns:
        metric_of_group: dict[int, str] = dict(
            zip(series.group.tolist(), labels["metric"].to_list(), strict=True)
        )
        signs = require_direction(sorted({m for m in metric_of_group.values() if m is not None}), direction)
        for g, metric in metric_of_group.items():
            sign[g] = signs.get(metric, 1)
    return Side(series, values * sign[group], group, member, sd, pooled_sd, ends, sign, window)


def _checkpoint_variance(
    encoded: Encoded,
    series: Series,
    name: str,
    autocorrelation: float | str,
    *,
    averaged: bool,
    threads: int | None,
) -> Floats:
    """Variance of each run's score about its level from the checkpoint noise of its group; NaN where none is known."""
    combined = combined_noise(series, "within", 1, len(encoded.groups), threads)
    known = group_autocorrelation(encoded, series, combined, autocorrelation, name)
    run_n = series.columns["n"].astype(float)
    usable = run_n >= 2
    error = checkpoint_error(
        combined["absolute"] ** 2, run_n[usable], series.group[usable], known, detrended=False
    )
    variance = error.variance[series.group]
    return variance / effective_checkpoints(run_n, error.rho[series.group]) if averaged else variance


def _agreement(
    encoded: Encoded,
    a: Side,
    b: Side,
    in_a: Ints,
    in_b: Ints,
    *,
    score: str,
    ties: str,
    pairs: str,
    decidable_sd: float,
    level: float,
    rng_seed: int,
    n_resamples: int,
    threads: int | None,
) -> dict[str, Any]:
    """Columns of the result, NaN where undefined."""
    n_groups = len(encoded.groups)
    small, target = np.ascontiguousarray(a.scores[in_a]), np.ascontiguousarray(b.scores[in_b])
    group = a.group[in_a]
    offsets = np.searchsorted(group, np.arange(n_groups + 1)).astype(np.uintp)
    counts = kernels().pair_agreement(small, target, offsets, threads=threads)
    n_pairs = counts["n_pairs"].astype(float)
    one = (counts["tied_small"] + counts["tied_target"]).astype(float)
    both = counts["tied_both"].astype(float)
    agree, disagree = counts["concordant"].astype(float), counts["discordant"].astype(float)
    n_members = np.diff(offsets).astype(np.intp)
    with np.errstate(all="ignore"):
        estimate = np.where(n_members >= 2, by_rule(counts, ties), np.nan)
        tau_a = np.where(n_members >= 2, (agree - disagree) / n_pairs, np.nan)
        untied_small = n_pairs - counts["tied_small"] - both
        untied_target = n_pairs - counts["tied_target"] - both
        tau_b = (agree - disagree) / np.sqrt(untied_small * untied_target)
    low = high = spread = np.full(n_groups, np.nan)
    if score == "sample":
        estimate, spread, low, high = _sampled(
            encoded,
            a,
            b,
            in_a,
            in_b,
            offsets,
            level=level,
            rng_seed=rng_seed,
            n_resamples=n_resamples,
            threads=threads,
        )
        estimate = np.where(n_members >= 2, estimate, np.nan)
    elif pairs == "weighted":
        estimate = kernels().agreement_weighted(small, target, offsets, threads=threads)["weighted"]
    elif pairs == "decidable":
        threshold = decidable_sd * _pooled_sd(b.sd[in_b], group, n_groups)
        decided = kernels().agreement_decidable(
            small, target, np.nan_to_num(threshold, nan=np.inf), offsets, threads=threads
        )
        estimate, n_pairs = decided["agreement"], decided["n_pairs"].astype(float)
    else:
        low, high = recipe_limits(counts, estimate, n_members, group, offsets, ties, level, threads)
        spread = kernels().noisy_agreement(
            small,
            target,
            a.pooled_sd[in_a],
            b.pooled_sd[in_b],
            offsets,
            group_addresses(encoded.groups.select(encoded.by)),
            n_resamples,
            rng_seed,
            threads=threads,
        )["sd"]
    # No run of the group has two checkpoints on a side.
    noiseless = np.isnan(a.pooled_sd[in_a] + b.pooled_sd[in_b])
    margin = quantile_at("t_quantile", (1 + level) / 2, np.full(n_groups, np.inf)) * spread
    expected = kernels().expected_agreement(
        small,
        target,
        np.ascontiguousarray(a.sd[in_a]),
        np.ascontiguousarray(b.sd[in_b]),
        offsets,
        threads=threads,
    )["expected"]
    return {
        "n_members": n_members,
        "n_pairs": n_pairs.astype(np.int64),
        "n_ties": (one + both).astype(np.int64),
        "decision_accuracy": estimate,
        "low": low,
        "high": high,
        "checkpoint_low": np.maximum(estimate - margin, 0.0),
        "checkpoint_high": np.minimum(estimate + margin, 1.0),
        "expected": np.where(n_members >= 2, expected, np.nan),
        "tau_a": tau_a,
        "tau_b": np.where(n_members >= 2, tau_b, np.nan),
        "noise_unknown": np.bincount(group[noiseless], minlength=n_groups) > 0,
        "constant": _constant(small, offsets, n_groups) | _constant(target, offsets, n_groups),
    }


def recipe_limits(
    counts: Mapping[str, NDArray[Any]],
    estimate: Floats,
    n_members: Ints,
    group: Ints,
    offsets: NDArray[np.uintp],
    ties: str,
    level: float,
    threads: int | None,
) -> tuple[Floats, Floats]:
    """Recipe interval from the decision accuracies without each member in turn."""
    left_out = without_each(counts, n_members, group, ties)
    freedom = np.maximum(n_members - 1, 1).astype(float)
    critical = quantile_at("t_quantile", (1 + level) / 2, freedom)
    limits = kernels().jackknife_interval(estimate, left_out, critical, offsets, level, threads=threads)
    return limits["low"], limits["high"]


def _pooled_sd(sd: Floats, group: Ints, n_groups: int) -> Floats:
    """Root mean variance of a group's scores; NaN where none is known."""
    known = np.isfinite(sd)
    with np.errstate(all="ignore"):
        total = np.bincount(group[known], weights=sd[known] ** 2, minlength=n_groups)
        return np.sqrt(total / np.bincount(group[known], minlength=n_groups))


def _sampled(
    encoded: Encoded,
    a: Side,
    b: Side,
    in_a: Ints,
    in_b: Ints,
    offsets: NDArray[np.uintp],
    *,
    level: float,
    rng_seed: int,
    n_resamples: int,
    threads: int | None,
) -> tuple[Floats, Floats, Floats, Floats]:
    """Mean, sd and percentiles over trials that take one random checkpoint a member and side."""
    windows = []
    for name, side, chosen in (("small", a, in_a), ("target", b, in_b)):
        if len(side.series) != len(side.scores):
            raise OptionError(
                f'score="sample" needs one run a member, but {name} has members with several; '
                "match on run, or filter one seed (where=...)"
            )
        rows = encoded.window_rows(side.series.chosen(chosen), name)
        counts = side.series.columns["n"][chosen].astype(np.intp)
        windows += [
            encoded.values[rows] * np.repeat(side.sign[side.group[chosen]], counts),
            np.concatenate([[0], np.cumsum(counts)]).astype(np.uintp),
        ]
    out = kernels().sampled_agreement(
        *windows,
        offsets,
        group_addresses(encoded.groups.select(encoded.by)),
        n_resamples,
        rng_seed,
        threads=threads,
    )
    draws = out["draws"].reshape(-1, n_resamples)
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(draws, tails, axis=1) if len(draws) else (np.zeros(0), np.zeros(0))
    return out["mean"], out["sd"], low, high


def _constant(scores: Floats, offsets: NDArray[np.uintp], n_groups: int) -> NDArray[np.bool_]:
    moments = kernels().segment_moments(scores, offsets)
    return (moments["n"] >= 2) & (moments["max"] == moments["min"]) if n_groups else np.zeros(0, dtype=bool)


def _result(
    encoded: Encoded, out: dict[str, Any], a: Side, b: Side, in_a: Ints, in_b: Ints, score: str, text: str
) -> pl.DataFrame:
    n_groups = len(encoded.groups)
    statuses = Statuses(n_groups)
    statuses.set("duplicate_key", encoded.conflicts)
    statuses.set("too_few", out["n_members"] < 2)
    statuses.set("constant", out.pop("constant"))
    statuses.check_finite(~np.isfinite(out["decision_accuracy"]))
    statuses.blank(out, "duplicate_key")
    shallow = out.pop("noise_unknown")
    if score != "final":
        for side, chosen in ((a, in_a), (b, in_b)):
            short = side.series.columns["n"].astype(np.intp) < side.window
            touched = np.isin(
                side.series.group * (1 + len(encoded.members)) + side.series.member,
                side.group[chosen] * (1 + len(encoded.members)) + side.member[chosen],
            )
            shallow[side.series.group[short & touched]] = True
    flags = {
        "few_checkpoints": shallow,
        "few_members": out["n_members"] < FEW_MEMBERS,
        "missing_values": (encoded.n_missing + encoded.n_nan) > 0,
        "mixed_config": np.full(n_groups, "config" in encoded.joined),
    }
    if "n_instances" in out:
        flags["few_instances"] = out["n_instances"] < FEW_INSTANCES
    return encoded.groups.select(encoded.by).with_columns(
        *(result_column(name, values) for name, values in out.items()),
        statuses.column(),
        flag_lists(flags, n_groups),
        pl.lit(text).alias("signature"),
    )
