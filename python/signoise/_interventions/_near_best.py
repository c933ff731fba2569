"""The verb `near_best`: which members does checkpoint noise leave as good as the best?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._bootstrap_relations import ranks
from .._duplicates import Duplicates
from .._intervals import quantile_at
from .._options import signature
from .._scores import Filter, Groups, Scores
from .._status import Statuses, check_strict, flag_lists, result_column
from ._benchmarks import load_benchmarks

Floats = NDArray[np.float64]


def near_best(
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
    """Members of each benchmark that its checkpoint noise does not tell from the best one.

    A member is near the best where its gap is at most ``q sqrt((v_best + v)/2)``: v the variances of the two scores, q
    the studentised range of all members.

    Parameters
    ----------
    scores, by, where, across, score, window, direction, order, groups, columns, duplicates, strict, threads
        As in `benchmark_agreement`.
    confidence_level
        Of all differences of a benchmark at once.

    Returns
    -------
    DataFrame
        A row for each benchmark and member with a score: by-columns, `across` columns, ``n_members``; ``score`` (as the
        metric has it), ``rank`` (1 is best, equals share the best one), ``gap`` to the best and ``margin`` (score
        units, not negative), ``near``, and ``n_near``, how many of the benchmark are; ``status, flags, signature``.

    Undefined when
        The benchmark has fewer than 2 members or no run with 2 checkpoints (``too_few``: margin, near, n_near null).

    Raises
    ------
    UnknownMetricError
        Where a metric's direction is not known.
    SchemaError, OptionError, DuplicateKeyError
        For a table or an option that cannot be used.

    Notes
    -----
    The member with the highest true score is among the near ones with at least probability `confidence_level`
    (simulated .99 to 1.00 for 5 and 25 members), as these are simultaneous intervals of all differences (Tukey and
    Kramer). The noise is that between checkpoints; `rank` speaks of other instances.

    References
    ----------
    Tukey 1953; Hsu 1996, "Multiple Comparisons", chapter 4 (comparisons with the best).

    Examples
    --------
    >>> import signoise as sn
    >>> table = sn.near_best(sn.example_scores(), where="params = 1000000000", across="recipe")
    >>> table.filter(task="sim_arc", near=True).height < table.filter(task="sim_mmlu", near=True).height
    True
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
    x, v = found.scores, found.variances
    there = np.isfinite(x)
    n = there.sum(axis=1)
    with np.errstate(all="ignore"):
        filled = np.where(there, x, -np.inf)
        best = filled.argmax(axis=1) if x.shape[1] else np.zeros(len(x), dtype=np.intp)
        rows = np.arange(len(x))
        gap = x[rows, best][:, None] - x if x.shape[1] else x
        q = quantile_at("studentised_range_quantile", confidence_level, n.astype(float), found.df)
        margin = q[:, None] * np.sqrt((v[rows, best][:, None] + v) / 2) if x.shape[1] else x
        margin = np.where(n[:, None] >= 2, margin, np.nan)
        near = there & (gap <= margin)
    rank = ranks(filled.T).T.astype(np.int64)
    unknown = np.isnan(margin)
    benchmark, member = np.nonzero(there)
    lost = unknown[benchmark, member]
    statuses = Statuses(len(benchmark))
    statuses.set("too_few", lost)
    flags = {
        "missing_values": found.missing[benchmark],
        "mixed_config": np.full(len(benchmark), "config" in found.encoded.joined),
    }
    known = pl.Series(~lost)
    text = signature(
        "near_best",
        across=found.study.members,
        score=score,
        window=window,
        order=order,
        level=confidence_level,
    )
    keys = found.labels[benchmark]
    members = found.encoded.members.select(found.study.members)[member]
    members = members.select(name for name in members.columns if name not in keys.columns)
    result = pl.concat([keys, members], how="horizontal").with_columns(
        pl.Series("n_members", n[benchmark]),
        result_column("score", x[benchmark, member] * found.signs[benchmark]),
        pl.Series("rank", rank[benchmark, member]),
        result_column("gap", gap[benchmark, member]),
        result_column("margin", margin[benchmark, member]),
        pl.when(known).then(pl.Series(near[benchmark, member])).alias("near"),
        pl.when(known).then(pl.Series(near.sum(axis=1)[benchmark])).alias("n_near"),
        statuses.column(),
        flag_lists(flags, len(benchmark)),
        pl.lit(text).alias("signature"),
    )
    check_strict(result, [*keys.columns, *members.columns], strict=strict)
    return result
