"""The verb `rank`: in what order do the runs stand, and how much of the order is sure?"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._addresses import RANK, group_addresses, uniforms
from ._adjust import adjusted
from ._compare import (
    FEW_INSTANCES,
    Subtasks,
    as_counts,
    check_errors,
    check_subtasks,
    cluster_name,
    nothing_shared,
    pairs_of,
)
from ._duplicates import Duplicates
from ._errors import DroppedRowsWarning, InsufficientDataError, SchemaError
from ._kernels import kernels
from ._matching import Sides, load_sides
from ._mean_intervals import FEW_CLUSTERS, ClusterError, interval
from ._metrics import require_direction
from ._options import as_columns, check_choice, check_count, check_level, signature
from ._pairs import Estimates, Pairs, Test, compare_sides, side_estimates
from ._proportions import proportion_interval
from ._rank_max_t import differ, residuals
from ._scores import Filter, Scores, warn_joined
from ._status import Statuses, check_strict, flag_lists, result_column
from ._strata import average_estimates, average_pairs, complete, whole_tasks

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Mask = NDArray[np.bool_]
Parts = dict[int, list[tuple[Ints, Floats]]]

#: Simultaneous intervals of all pairs are too short with few instances: of ten equal runs some are told apart in 9 % of
#: tables with 30 of them, in 5 % with 164.
FEW_FOR_MAX_T = 100
#: Draws this close, in standard errors, are ties: equal models differ by rounding.
TIE = 1e-9


def rank(
    scores: Scores,
    *,
    metric: str | Sequence[str] | None = None,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    order: str = "tokens",
    cluster: str | None = None,
    cluster_error: ClusterError = "CR1",
    subtasks: Subtasks = "apart",
    test: Literal["auto", "exact", "t"] = "auto",
    adjust: Literal["holm", "bonferroni", "max_t"] = "holm",
    confidence_level: float = 0.95,
    direction: Mapping[str, str] | None = None,
    n_resamples: int = 10_000,
    rng_seed: int = 0,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Rank runs by their last checkpoints, with the ranks that each may truly have.

    Parameters
    ----------
    scores, by, where, columns, duplicates, strict, threads
        As in `snr`. Runs are compared on the instances that all of them have; scores without instances through their
        own ``stderr`` (flag ``unpaired``).
    metric, order, cluster, cluster_error, subtasks, test
        As in `compare`; `test` is that of each pair. Macro means are over the subtasks that all runs have.
    adjust
        For the pairs of one group: ``"holm"`` or ``"bonferroni"`` of the p-values of `test`; ``"max_t"``: simultaneous
        intervals, whose critical value is that of the largest of all pairs under random signs of residuals (of
        clusters, where there are any). It knows how the pairs depend on each other, so its sets are shorter for many
        runs, but it rests on large numbers of instances or clusters; scores without instances are refused.
    confidence_level
        Of `low` and `high`, each on its own, and of the rank sets of all runs of a group together.
    direction
        ``{"metric": "higher" | "lower"}`` for metrics that are not known.
    n_resamples, rng_seed
        Draws for `p_best` with three runs or more, and for ``"max_t"``.

    Returns
    -------
    DataFrame
        A row for each group and run, best first: by-columns; ``run, step``; ``n`` instances; ``mean, stderr, low,
        high``; ``rank`` (1 is best, equal means share the smaller); ``rank_low, rank_high``, the ranks that the run may
        have; ``p_best``; ``n_unmatched`` (instances of the run that some other run lacks, left out), ``n_missing,
        n_nan``; ``status, flags, signature``.

    Undefined when
        A run has fewer than 2 instances, or there is no other run (``too_few``); a result has no stderr
        (``no_stderr``: its rank stands, all ranks are possible, and `p_best` is null in the whole group); a mean is
        infinite (``not_finite``).

    Raises
    ------
    UnknownMetricError
        For a metric without a direction.

    Notes
    -----
    ``rank_low`` is 1 + the number of runs that are significantly better in the pairwise tests of `compare` (or whose
    simultaneous interval lies above), all pairs of a group adjusted together; ``rank_high`` leaves out those
    significantly worse. What is kept is the family-wise error of a group: all true ranks lie in their sets at once
    with a probability of at least `confidence_level`. That takes 30 instances, with ``"max_t"`` 100 (with 30 all of ten
    equal runs are in their sets at .91); flag ``few_instances``. Groups are not adjusted for each other.
    ``p_best``: probability of the highest value under a normal distribution about the means with their covariance over
    instances, ties shared: exact for two runs, else from addressed draws. It is a summary of these scores, not a
    prior-free probability. ``low, high``: Wilson's interval for 0/1 scores of independent instances, else Student's.

    References
    ----------
    Mogstad, Romano, Shaikh and Wilhelm 2024, "Inference for ranks", Review of Economic Studies 91; Holm 1979; Westfall
    and Young 1993, "Resampling-based multiple testing".

    Examples
    --------
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=1, recipes=4, params=(1e9,), checkpoints=1, instances=500, signal=0.1)
    >>> sn.rank(scores).select("rank", "rank_low", "rank_high")["rank"].to_list()
    [1, 2, 3, 4]
    """
    check_level(confidence_level)
    check_choice("cluster_error", cluster_error, ("CR0", "CR1", "CR3"))
    check_subtasks(subtasks, by)
    check_choice("test", test, ("auto", "exact", "t"))
    check_choice("adjust", adjust, ("holm", "bonferroni", "max_t"))
    check_count("n_resamples", n_resamples)
    check_count("rng_seed", rng_seed, 0)
    sides = load_sides(
        scores,
        wanted=(),
        others=True,
        by=as_columns(by),
        where=where,
        metric=None if metric is None else as_columns(metric),
        cluster=cluster,
        order=order,
        pool_subtasks=subtasks == "micro",
        columns=columns,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    known = require_direction(sorted({name for name in sides.metric if name is not None}), direction)
    with np.errstate(all="ignore"):
        pairs, estimates = _estimated(sides, cluster_error)
        _tell_left_out(sides, estimates, strict=strict)
        parts = {group: [residuals(sides, group)] for group in range(len(sides.groups)) if adjust == "max_t"}
        if subtasks == "macro":
            sides, pairs, estimates, parts = _macro(sides, pairs, estimates, parts, strict=strict)
        signs = np.array([1 if name is None else known[name] for name in sides.metric], dtype=float)
        if adjust == "max_t":
            units = group_addresses(sides.groups)
            significant = differ(pairs, parts, units, confidence_level, n_resamples, rng_seed, threads)
        else:
            significant = _significant(pairs, test, adjust, 1 - confidence_level)
        standing = _standing(sides, pairs, estimates, signs, significant, n_resamples, rng_seed)
    warn_joined(sides.groups, [name for name in sides.joined if name in sides.by], as_columns(by))
    text = signature(
        "rank",
        subtasks=subtasks,
        test=test,
        adjust=adjust,
        cluster=cluster_name(sides, cluster),
        cluster_error=cluster_error if sides.clusters is not None else None,
        level=confidence_level,
        n_resamples=n_resamples,
        rng=rng_seed,
    )
    least = FEW_FOR_MAX_T if adjust == "max_t" else FEW_INSTANCES
    result = _result(sides, estimates, standing, confidence_level, least, text)
    check_strict(result, [*sides.by, "run"], strict=strict)
    return result


def _estimated(sides: Sides, error: ClusterError) -> tuple[Pairs, Estimates]:
    chosen = pairs_of(sides)
    if not chosen:
        raise SchemaError(nothing_shared(sides, ()))
    pairs = compare_sides(sides, chosen, error, together=True)
    check_errors(pairs)
    return pairs, side_estimates(sides, error, together=True)


def _macro(
    sides: Sides, pairs: Pairs, estimates: Estimates, parts: Parts, *, strict: bool
) -> tuple[Sides, Pairs, Estimates, Parts]:
    """Subtasks that all runs of a task have, averaged."""
    merged, task = whole_tasks(sides)
    kept = np.isin(np.arange(len(task)), complete(sides, task))
    if not kept.all():
        text = (
            f"{np.count_nonzero(~kept)} of {len(kept)} subtasks are not there for all runs and were left out"
        )
        if strict:
            raise InsufficientDataError(f"{text}; filter the runs (where=...) or call with strict=False")
        warnings.warn(text, DroppedRowsWarning, stacklevel=3)
    group = sides.labels["group"].to_numpy().astype(np.intp)
    whole = np.unique(task[kept])
    if len(whole) < len(merged.groups):
        raise InsufficientDataError(
            "no subtask of some task is there for all runs; filter the runs or tasks (where=...), or compare two runs"
        )
    some = replace(sides, labels=sides.labels.filter(pl.Series(kept[group])))
    return (
        whole_tasks(some)[0],
        average_pairs(pairs.at(np.flatnonzero(kept[pairs.group])), task),
        average_estimates(estimates.rows(np.flatnonzero(kept[group])), some, task),
        {
            int(whole_task): [
                part for g in np.flatnonzero(kept & (task == whole_task)) for part in parts.get(int(g), ())
            ]
            for whole_task in whole
        },
    )


def _significant(pairs: Pairs, test: Test, adjust: Literal["holm", "bonferroni"], alpha: float) -> Mask:
    """Pairs that differ by their own tests, all pairs of a group adjusted together."""
    p = pairs.tested(test)[0]
    p = np.where(pairs.paired & np.isnan(pairs.stderr), np.nan, p)
    return adjusted(p, adjust, pairs.group) <= alpha


@dataclass(frozen=True)
class _Standing:
    """Places by row of ``sides.labels``; NaN where undefined."""

    rank: Floats
    low: Floats
    high: Floats
    p_best: Floats


def _standing(
    sides: Sides,
    pairs: Pairs,
    estimates: Estimates,
    signs: Floats,
    significant: Mask,
    n_resamples: int,
    rng_seed: int,
) -> _Standing:
    lead = signs[pairs.group] * pairs.difference
    group = sides.labels["group"].to_numpy().astype(np.intp)
    side = sides.labels["side"].to_numpy().astype(np.intp)
    score = signs[group] * estimates.value
    units = group_addresses(sides.groups)
    runs = group_addresses(sides.labels.select("run"))
    size = len(group)
    out = _Standing(*(np.full(size, np.nan) for _ in range(4)))
    for g in range(len(sides.groups)):
        rows = np.flatnonzero((group == g) & np.isfinite(score))
        if len(rows) < 2:
            continue
        place = np.full(sides.count, -1, dtype=np.intp)
        place[side[rows]] = np.arange(len(rows))
        own = np.flatnonzero((pairs.group == g) & (place[pairs.a] >= 0) & (place[pairs.b] >= 0))
        a, b = place[pairs.a[own]], place[pairs.b[own]]
        won = significant[own] & (lead[own] > 0)
        lost = significant[own] & (lead[own] < 0)
        beaten = np.bincount(b[won], minlength=len(rows)) + np.bincount(a[lost], minlength=len(rows))
        beats = np.bincount(a[won], minlength=len(rows)) + np.bincount(b[lost], minlength=len(rows))
        out.rank[rows] = 1 + np.sum(score[rows][None, :] > score[rows][:, None], axis=1)
        out.low[rows] = 1 + beaten
        out.high[rows] = len(rows) - beats
        if len(rows) == 2:
            first = a[0] == 0
            z = (lead[own][0] if first else -lead[own][0]) / pairs.stderr[own][0]
            chance = 0.5 if lead[own][0] == 0 else float(kernels().normal_cdf(np.array([z]))[0])
            out.p_best[rows] = np.nan if np.isnan(pairs.stderr[own][0]) else (chance, 1 - chance)
            continue
        covariance = np.zeros((len(rows), len(rows)))
        covariance[a, b] = covariance[b, a] = pairs.covariance[own]
        covariance[a, a], covariance[b, b] = pairs.stderr_a[own] ** 2, pairs.stderr_b[own] ** 2
        addresses = [(int(units[g]), int(runs[row])) for row in rows]
        out.p_best[rows] = best_shares(score[rows], covariance, addresses, n_resamples, rng_seed)
    return out


def best_shares(
    score: Floats, covariance: Floats, addresses: Sequence[tuple[int, int]], n_resamples: int, rng_seed: int
) -> Floats:
    """Share of draws from a normal distribution in which each coordinate is the largest.

    Parameters
    ----------
    score, covariance
        Mean and covariance; NaN anywhere makes all shares NaN.
    addresses
        Unit and replicate of the draws of each coordinate: they do not depend on what other coordinates there are.
    """
    if not np.isfinite(covariance).all():
        return np.full(len(score), np.nan)
    normals = np.empty((n_resamples, len(score)))
    for column, (unit, replicate) in enumerate(addresses):
        uniform = uniforms(rng_seed, RANK, int(unit), n_resamples, int(replicate))
        normals[:, column] = kernels().normal_quantile(uniform)
    draws = score + normals @ _square_root(covariance).T
    tie = TIE * np.sqrt(np.max(np.diag(covariance)))
    best = draws >= draws.max(axis=1, keepdims=True) - tie
    return np.mean(best / best.sum(axis=1, keepdims=True), axis=0)


def _square_root(covariance: Floats) -> Floats:
    """Lower triangular L with L L' = covariance, which may be singular: equal runs."""
    size = len(covariance)
    root = np.zeros((size, size))
    for j in range(size):
        rest = covariance[j:, j] - root[j:, :j] @ root[j, :j]
        if rest[0] > 1e-12 * covariance[j, j]:
            root[j:, j] = rest / np.sqrt(rest[0])
    return root


def _tell_left_out(sides: Sides, estimates: Estimates, *, strict: bool) -> None:
    """Warn of instances that some run lacks."""
    lost = np.nan_to_num(estimates.unmatched)
    texts = []
    if lost.any():
        row = int(np.argmax(lost))
        group = sides.groups.row(int(sides.labels["group"][row]), named=True)
        label = ", ".join(f"{name} {group[name]}" for name in sides.by if group[name] is not None)
        texts.append(
            f"instances that not all runs have were left out, e.g. {label}: {lost[row]:.0f} of "
            f"{sides.labels['run'][row]}, which leaves {np.nan_to_num(estimates.n[row]):.0f}; leave out the runs that "
            "lack them (where=...)"
        )
    if sides.alone:
        texts.append(f"{sides.alone} scores that only one run has were left out")
    if texts and strict:
        raise InsufficientDataError(f"{'; '.join(texts)}, or call with strict=False")
    if texts:
        warnings.warn("; ".join(texts), DroppedRowsWarning, stacklevel=3)


def _result(
    sides: Sides, estimates: Estimates, standing: _Standing, level: float, least: int, text: str
) -> pl.DataFrame:
    size = sides.labels.height
    with np.errstate(all="ignore"):
        low, high = interval(estimates.at(np.arange(size)), level)
        binary = ~np.isnan(estimates.solved)
        solved = np.where(binary, estimates.solved, 0.0)
        wilson = proportion_interval(solved, np.where(binary, estimates.n, 1.0), level)
        low, high = (np.where(binary, own, limit) for own, limit in zip(wilson, (low, high), strict=True))
    few = np.isnan(estimates.value) | (estimates.from_instances & np.isnan(estimates.stderr))
    few &= ~np.isinf(estimates.value)
    unpaired = ~estimates.from_instances
    statuses = Statuses(size)
    statuses.set("too_few", few | (np.isnan(standing.rank) & ~np.isinf(estimates.value)))
    statuses.set("no_stderr", unpaired & np.isnan(estimates.stderr))
    statuses.check_finite(~np.isfinite(estimates.value))
    labels = sides.labels
    missing = (labels["n_missing"] + labels["n_nan"]).to_numpy() > 0
    flags = {
        "missing_values": missing,
        "mixed_config": np.full(size, "config" in sides.joined),
        "few_instances": estimates.n < least,
        "few_clusters": (estimates.n_clusters < estimates.n) & (estimates.effective_clusters < FEW_CLUSTERS),
        # Wilson's interval is for skewed scores as well.
        "skewed": ~binary & estimates.at(np.arange(size)).skewed,
        "unpaired": unpaired,
        "unmatched": np.nan_to_num(estimates.unmatched) > 0,
    }
    group = labels["group"].to_numpy().astype(np.intp)
    columns: dict[str, Any] = {
        "n": as_counts(estimates.n),
        "mean": estimates.value,
        "stderr": estimates.stderr,
        "low": low,
        "high": high,
        "rank": as_counts(standing.rank),
        "rank_low": as_counts(standing.low),
        "rank_high": as_counts(standing.high),
        "p_best": standing.p_best,
        "n_unmatched": as_counts(estimates.unmatched),
        "n_missing": labels["n_missing"],
        "n_nan": labels["n_nan"],
    }
    table = pl.DataFrame(
        [
            *(sides.groups[name][group] for name in sides.by),
            labels["run"],
            labels["step"],
            *(result_column(name, values) for name, values in columns.items()),
            statuses.column(),
            flag_lists(flags, size),
            pl.Series("__group", group),
        ]
    ).with_columns(pl.lit(text).alias("signature"))
    return table.sort("__group", "rank", "run", nulls_last=True, maintain_order=True).drop("__group")


def in_words(table: pl.DataFrame, most: int = 12) -> list[str]:
    """A sentence for each group of a ranking."""
    by = table.columns[: table.columns.index("run")]
    lines = []
    groups = table.partition_by(by, maintain_order=True) if by else [table]
    for group in groups[:most]:
        label = " ".join(str(group[name][0]) for name in by if group[name][0] is not None)
        ranked = group.filter(pl.col("rank").is_not_null())
        if not ranked.height:
            text = "no run can be ranked"
        else:
            first = ranked.row(0, named=True)
            rivals = ranked[1:].filter(pl.col("rank_low") == 1)["run"].to_list()
            chance = "" if first["p_best"] is None else f" (best with probability {first['p_best']:.2g})"
            shown = ", ".join(rivals[:4]) + (f" and {len(rivals) - 4} more" if len(rivals) > 4 else "")
            text = f"{first['run']} leads{chance}; " + (
                f"first could also be {shown}" if rivals else "no other run could be first"
            )
        lines.append(f"{label}: {text}" if label else text)
    if len(groups) > most:
        lines.append(f"and {len(groups) - most} more")
    return lines
