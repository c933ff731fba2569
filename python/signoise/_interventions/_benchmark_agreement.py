"""The verb `benchmark_agreement`: do two benchmarks put the same members in the same order?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._decisions import FEW_MEMBERS
from .._duplicates import Duplicates
from .._intervals import quantile_at
from .._kernels import kernels
from .._options import signature
from .._scores import Filter, Groups, Scores
from .._status import Statuses, check_strict, flag_lists, result_column
from ._benchmarks import load_benchmarks

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


def benchmark_agreement(
    scores: Scores,
    *,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    across: str | Sequence[str] = "run",
    score: Literal["mean", "final"] = "mean",
    window: int = 5,
    direction: Mapping[str, str] | None = None,
    order: str = "tokens",
    confidence_level: float = 0.95,
    groups: Groups = None,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Kendall's rank correlation of every two benchmarks over the members that both have.

    ``tau = (agree - disagree)/sqrt((pairs - tied on a)(pairs - tied on b))`` over pairs of members (tau-b).

    Parameters
    ----------
    scores, where, across, window, order, groups, columns, duplicates, strict, threads
        As in `snr`.
    by
        What a benchmark is.
    score
        Of a member: ``"mean"`` of its last `window` checkpoints, or the ``"final"`` one.
    direction
        ``{"metric": "higher" | "lower"}`` for metrics that are not known: all are turned so that higher is better.
    confidence_level
        Of ``low, high``.

    Returns
    -------
    DataFrame
        A row for each two benchmarks: by-columns of the first with the ending ``_a`` and of the second with ``_b``,
        ``n_members, n_ties`` (pairs tied on either), ``tau, low, high, status, flags, signature``.

    Undefined when
        Fewer than 2 members have both (``too_few``); all are equal on one (``constant``). Limits need 3 members, and
        one that, left out, changes tau.

    Raises
    ------
    UnknownMetricError
        Where a metric's direction is not known.
    SchemaError, OptionError, DuplicateKeyError
        For a table or an option that cannot be used.

    Notes
    -----
    Members of very different size agree on anything: filter one size (``where="params = 1e9"``). ``low, high`` speak of
    other members drawn like these: delete-one standard error on Fisher's z scale with t quantiles of J - 1 degrees of
    freedom, as in `decision_accuracy`; ``[2 (alpha/2)^(1/floor(J/2)) - 1, 1]`` where all agree. Simulated coverage .96
    to .99 (8, 16 and 40 members, tau of 0 to .7).

    References
    ----------
    Kendall 1945, "The treatment of ties in ranking problems", Biometrika 33:239.

    Examples
    --------
    >>> import signoise as sn
    >>> table = sn.benchmark_agreement(sn.example_scores(), where="params = 1000000000")
    >>> table.columns[:6], table.height
    (['task_a', 'metric_a', 'task_b', 'metric_b', 'n_members', 'n_ties'], 15)
    """
    found = load_benchmarks(
        scores,
        by=by,
        where=where,
        across=across,
        score=score,
        window=window,
        direction=direction,
        order=order,
        level=confidence_level,
        groups=groups,
        columns=columns,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    first, second = np.triu_indices(len(found.scores), 1)
    out, unmatched = _taus(found.scores, first, second, confidence_level, threads)
    n = out["n_members"]
    statuses = Statuses(len(first))
    statuses.set("too_few", n < 2)
    statuses.set("constant", np.isnan(out["tau"]))
    missing = found.missing
    flags = {
        "few_members": n < FEW_MEMBERS,
        "missing_values": missing[first] | missing[second],
        "mixed_config": np.full(len(first), "config" in found.encoded.joined),
        "unmatched": unmatched,
    }
    text = signature(
        "benchmark_agreement",
        across=found.study.members,
        score=score,
        window=window,
        order=order,
        interval="delete_one_member",
        level=confidence_level,
    )
    labels = [
        found.labels[rows].select(pl.all().name.suffix(f"_{end}"))
        for rows, end in ((first, "a"), (second, "b"))
    ]
    result = pl.concat(labels, how="horizontal").with_columns(
        *(result_column(name, values) for name, values in out.items()),
        statuses.column(),
        flag_lists(flags, len(first)),
        pl.lit(text).alias("signature"),
    )
    check_strict(result, [name for label in labels for name in label.columns], strict=strict)
    return result


def _taus(
    scores: Floats, first: Ints, second: Ints, level: float, threads: int | None
) -> tuple[dict[str, Any], NDArray[np.bool_]]:
    """Columns of the result for these pairs of rows, and where some member lacks one of the two."""
    there = np.isfinite(scores)
    both = there[first] & there[second]
    unmatched = np.asarray((there[first] ^ there[second]).any(axis=1))
    n = both.sum(axis=1).astype(np.intp)
    offsets = np.concatenate([[0], np.cumsum(n)]).astype(np.uintp)
    a, b = (np.ascontiguousarray(scores[rows][both]) for rows in (first, second))
    group = np.repeat(np.arange(len(n)), n)
    counts = kernels().pair_agreement(a, b, offsets, threads=threads)
    difference = (counts["concordant"] - counts["discordant"]).astype(float)
    tied = [_tied_pairs(values, group, len(n)) for values in (a, b)]
    pairs = n * (n - 1) / 2.0
    with np.errstate(all="ignore"):
        tau = difference / np.sqrt((pairs - tied[0][0]) * (pairs - tied[1][0]))
        without = difference[group] - counts["member_concordant"] + counts["member_discordant"]
        rest = (n - 1) * (n - 2) / 2.0
        spans = [rest[group] - (of_group[group] - of_member) for of_group, of_member in tied]
        left_out = without / np.sqrt(spans[0] * spans[1])
    tau = np.where(np.isfinite(tau), np.clip(tau, -1.0, 1.0), np.nan)
    # The logarithm of odds of (1 + tau)/2 is twice Fisher's z of tau.
    share = (1 + np.where(np.isfinite(left_out), np.clip(left_out, -1.0, 1.0), np.nan)) / 2
    critical = quantile_at("t_quantile", (1 + level) / 2, np.maximum(n - 1, 1).astype(float))
    limits = kernels().jackknife_interval((1 + tau) / 2, share, critical, offsets, level, threads=threads)
    ties = counts["tied_small"] + counts["tied_target"] + counts["tied_both"]
    columns = {
        "n_members": n.astype(np.int64),
        "n_ties": ties.astype(np.int64),
        "tau": tau,
        "low": 2 * limits["low"] - 1,
        "high": 2 * limits["high"] - 1,
    }
    return columns, unmatched


def _tied_pairs(values: Floats, group: Ints, n_groups: int) -> tuple[Floats, Floats]:
    """Pairs of equal values in each group, and those with each value."""
    order = np.lexsort((values, group))
    new = np.ones(len(order), dtype=bool)
    new[1:] = (values[order][1:] != values[order][:-1]) | (group[order][1:] != group[order][:-1])
    number = np.cumsum(new) - 1
    of_value = np.empty(len(order))
    of_value[order] = np.bincount(number)[number] - 1.0
    return np.bincount(group, weights=of_value, minlength=n_groups) / 2, of_value
