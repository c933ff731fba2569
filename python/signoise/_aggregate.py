"""From instances to subtasks, tasks and suites: moments over instances, and the score table one level up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl

from ._duplicates import Duplicates, check_duplicates, settle_duplicates, settled_or_doubled
from ._errors import InsufficientDataError, SchemaError
from ._kernels import kernels
from ._metrics import aggregation, lookup
from ._moments import Floats, instance_moments, with_usable
from ._options import as_columns, check_choice, check_threads
from ._readers import Opened, Spool
from ._schema import COLUMNS, KEY, SCORE_IDENTITY
from ._scores import (
    Filter,
    Groups,
    Scores,
    constant_or_null,
    load,
    load_instances,
    open_paths,
    warn_joined,
    warn_notes,
)
from ._segments import segment_offsets
from ._store._verbs import as_store, speaks_of_instances, stored_moments
from .engines import Engine
from .engines._engine import as_engine

_BELOW_INSTANCE = ("instance_id", "repeat", "cluster")
_CARRIED = ("source",)
#: What moments over instances must not mix; subtasks may be pooled (micro) when the key leaves them out.
NEVER_MIXED = ("task", "config", "metric", "filter")


def aggregate(
    source: Scores,
    *,
    by: str | Sequence[str] = ("run", "step", "task", "metric"),
    metrics: str | Sequence[str] | None = None,
    where: Filter = None,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    engine: str | Engine = "local",
    threads: int | None = None,
) -> pl.DataFrame:
    """Moments over instances: count, mean, variance, extremes.

    Repeats (epochs, samples) of an instance are averaged first, then instances. A ratio metric's mean is
    ``sum(value * weight)/sum(weight)``, a perplexity's ``exp(sum(log(value) * weight)/sum(weight))``.

    Parameters
    ----------
    source, where, columns, duplicates, threads
        As in `snr`. Dumps of harnesses are read in batches: no more of them is in memory than the instances of one
        group, or 64 MiB of files. Parquet tables that name their instances are streamed, however large, and from 64 MiB
        on all other tables as well, by way of temporary Parquet files, unless there is a weight or several repeats of
        an instance.
    by
        Columns of the key. config and filter (and task, metric) join where a group would mix several of their
        values; subtasks left out of the key are pooled.
    metrics
        Names of the metrics to keep; default: all.
    strict
        Raise where a group has no instance with a score.
    engine
        Where files are read: ``"local"``, ``"ray"``, or one of `signoise.engines`, whose workers find them at the same
        paths; the table has the same bits. Workers load the files of harnesses, and add up those Parquet tables that
        are streamed as they are; all else is done in this process, with a warning.

    Returns
    -------
    DataFrame
        By-columns, ``n`` (instances with a score), ``n_missing`` and ``n_nan`` (scores left out, infinities of
        bounded metrics with the missing), ``mean, variance`` (divisor n - 1), ``min, max`` (of instance means).

    Undefined when
        No instance has a score (all null), one instance, a perplexity, a ratio with weights other than 1 (variance
        null).

    Notes
    -----
    Result rows beside instance rows are left out and counted; a table of result rows alone is taken as one instance a
    row.

    Examples
    --------
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=1, recipes=2, params=(150_000_000,), checkpoints=2, instances=30)
    >>> sn.aggregate(scores)["n"].to_list()
    [30, 30, 30, 30]
    """
    keys = as_columns(by)
    chosen = None if metrics is None else as_columns(metrics)
    check_duplicates(duplicates)
    check_threads(threads)
    where_added = as_engine(engine)
    store = as_store(source)
    with Spool(keys, where) as spool:
        scores = open_paths(source, columns, strict=strict, spool=spool) if store is None else store
        return _aggregate(
            scores,
            keys,
            chosen,
            where,
            columns,
            duplicates,
            strict=strict,
            engine=where_added,
            threads=threads,
        )


def _aggregate(
    scores: Any,
    keys: Sequence[str],
    chosen: Sequence[str] | None,
    where: Filter,
    columns: Mapping[str, str] | None,
    duplicates: Duplicates,
    *,
    strict: bool,
    engine: Engine,
    threads: int | None,
) -> pl.DataFrame:
    from ._aggregate_dumps import aggregate_dumps
    from ._aggregate_tables import aggregate_tables, not_on

    store = as_store(scores)
    table: pl.DataFrame | None = None
    notes: list[str] = []
    in_order = on_engine = False
    if store is not None and store.unit_names.height and not speaks_of_instances(where, keys):
        table, notes = stored_moments(store, keys, NEVER_MIXED, metrics=chosen, where=where, threads=threads)
    elif isinstance(scores, Opened):
        found = aggregate_dumps(
            scores,
            keys,
            metrics=chosen,
            where=where,
            duplicates=duplicates,
            engine=engine,
            threads=threads,
        )
        on_engine = found is not None
        if found is None:
            found = aggregate_tables(
                scores,
                keys,
                columns=columns,
                metrics=chosen,
                where=where,
                duplicates=duplicates,
                engine=engine,
                threads=threads,
            )
            in_order = on_engine = found is not None
        if found is not None:
            table, notes = found
            scores.report.warn()
    if table is None:
        frame, notes = load_instances(
            scores, columns=columns, where=where, metrics=chosen, use=keys, strict=strict, threads=threads
        )
        missing = [name for name in keys if name not in frame.columns]
        if missing:
            raise SchemaError(
                f"by: the table has no column {missing[0]!r} (it has {', '.join(frame.columns)})"
            )
        frame, settled = settle_duplicates(frame, duplicates)
        notes += settled
        finest = [*keys, *(name for name in NEVER_MIXED if name in frame.columns and name not in keys)]
        table = instance_moments(frame, finest, threads=threads)
    if not on_engine:
        notes += not_on(engine)
    joined = _mixing(table, keys)
    warn_joined(table, joined, keys)
    warn_notes(notes)
    values = ("n", "n_missing", "n_nan", "mean", "variance", "min", "max")
    key = [*keys, *joined]
    if not in_order or table.columns[: len(key)] != key:
        table = table.sort(key)
    table = table.select(*key, *values)
    if strict and (empty := table.filter(pl.col("n") == 0)).height:
        row = empty.select(*keys, *joined).row(0, named=True)
        raise InsufficientDataError(
            f"{empty.height} groups have no instance with a score, first {row}; filter them out (where=...) "
            "or call with strict=False"
        )
    return table


def _mixing(frame: pl.DataFrame, by: Sequence[str]) -> list[str]:
    candidates = [c for c in NEVER_MIXED if c in frame.columns and c not in by and frame[c].n_unique() > 1]
    if not candidates or not by:
        return candidates
    most = frame.group_by(list(by)).agg(pl.col(candidates).n_unique()).select(pl.col(candidates).max())
    return [name for name in candidates if (most[name][0] or 0) > 1]


def results_from_instances(
    frame: pl.DataFrame,
    split: Sequence[str] = (),
    duplicates: Duplicates = "raise",
    threads: int | None = None,
) -> tuple[pl.DataFrame, list[str]]:
    """One result row a checkpoint and score from its instance rows; tool results win where both exist.

    Columns in `split` that vary among the instances of a checkpoint divide them; any other column that varies has no
    value at the level of a checkpoint.
    """
    instances = frame.filter(pl.col("instance_id").is_not_null())
    results = frame.filter(pl.col("instance_id").is_null()).drop(
        [c for c in _BELOW_INSTANCE if c in frame.columns]
    )
    key = [name for name in KEY if name in frame.columns and name not in _BELOW_INSTANCE]
    carried = [
        c
        for c in frame.columns
        if c not in (*KEY, *_BELOW_INSTANCE, "value", "weight", "stderr", "n", *_CARRIED)
    ]
    if dividing := [name for name in carried if name in split]:
        kinds = instances.group_by(key).agg(pl.col(dividing).n_unique()).select(pl.col(dividing).max())
        dividing = [name for name in dividing if kinds[name][0] > 1]
        key += dividing
        carried = [name for name in carried if name not in dividing]

    def average(rows: pl.DataFrame) -> pl.DataFrame:
        return instance_moments(rows, key, threads=threads).rename({"mean": "value"})

    table, notes = settled_or_doubled(instances, duplicates, average)
    if carried:
        constant = instances.group_by(key).agg(constant_or_null(carried))
        # What varies everywhere belongs to instances; a column that was asked for stays whatever it holds.
        constant = constant.drop(
            c for c in carried if c not in split and constant[c].null_count() == constant.height
        )
        table = table.join(constant, on=key, how="left", nulls_equal=True, maintain_order="left")
    counted = table.unique(subset=key, keep="first", maintain_order=True)
    missing = sum(int(counted[column].sum()) for column in ("n_missing", "n_nan"))
    if missing:
        notes.append(f"{missing} instance rows have no score and were left out of their means")
    table = table.drop("n_missing", "n_nan", "variance", "min", "max").with_columns(
        pl.format("mean of {} instances", "n").alias("rolled_up")
    )
    if results.height:
        return joined_with_results(table, results, key, dividing, notes)
    return table, notes


def joined_with_results(
    table: pl.DataFrame,
    results: pl.DataFrame,
    key: Sequence[str],
    dividing: Sequence[str],
    notes: list[str],
) -> tuple[pl.DataFrame, list[str]]:
    """Scores made from instances beside a tool's own, which win where both exist; `notes` with what was said."""
    taken = _has_result(table, results, dividing)
    if taken.any():
        both = table.filter(taken).select(key).n_unique()
        notes = [*notes, f"{both} scores come as result and as instances: the result row was taken"]
    return pl.concat([results, table.filter(~taken)], how="diagonal_relaxed"), notes


def _has_result(table: pl.DataFrame, results: pl.DataFrame, dividing: Sequence[str]) -> pl.Series:
    """Rows of `table` whose score of that checkpoint is also among `results`.

    A run and step is a checkpoint; where both sides know revision or seed as well these must agree.
    """
    score = [
        c for c in ("run", "step", *SCORE_IDENTITY, *dividing) if c in table.columns and c in results.columns
    ]
    finer = [c for c in ("revision", "seed") if c in table.columns and c in results.columns]
    pairs = table.select(*score, *finer).with_row_index("__row")
    pairs = pairs.join(results.select(*score, *finer).unique(), on=score, how="inner", nulls_equal=True)
    for name in finer:
        pairs = pairs.filter(pl.col(name).eq(pl.col(f"{name}_right")).fill_null(True))
    return pl.int_range(table.height, eager=True).is_in(pairs["__row"].unique().implode())


def roll_up(
    scores: Scores,
    *,
    to: Literal["task", "suite"] = "task",
    how: Literal["macro", "micro"] = "macro",
    suite: str = "suite",
    where: Filter = None,
    groups: Groups = None,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """The score table one level up: subtasks become their task, or tasks one suite.

    Parameters
    ----------
    scores, where, groups, columns, duplicates, strict, threads
        As in `snr`.
    to
        ``"task"``: the subtasks of each task are averaged; rows without subtask stay. ``"suite"``: tasks (each first
        brought to task level) are averaged into one row per checkpoint, metric, config and filter.
    how
        ``"macro"``: unweighted mean of the parts. ``"micro"``: mean over instances, each part weighted by its number
        of instances ``n`` (of a ratio metric: by its ``weight``, the denominator, where that is known). Perplexities
        are averaged as logarithms; those of words, bytes or tokens need the ``weight``.
    suite
        Name of the suite's row.

    Returns
    -------
    DataFrame
        Score table of result rows, with ``n`` (instances, where all parts know theirs) and ``rolled_up``, which says
        how: ``macro mean of 57 subtasks``, ``mean of 500 instances``, null for rows that were results already. The
        table's other columns stay where they are the same in all parts.

    Raises
    ------
    InsufficientDataError
        ``how="micro"`` where a part does not know its number of instances or its denominator; a checkpoint that lacks
        parts, with ``strict=True`` (otherwise it is left out and counted).

    Examples
    --------
    >>> import signoise as sn
    >>> scores = sn.example_scores().filter(metric="acc")
    >>> sn.roll_up(scores, to="suite")["task"].unique().to_list()
    ['suite']
    """
    check_choice("to", to, ("task", "suite"))
    check_choice("how", how, ("macro", "micro"))
    table = load(
        scores,
        columns=columns,
        where=where,
        groups=groups,
        keep_all=True,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    notes = list(table.notes)
    frame, settled = settle_duplicates(table.frame, duplicates)
    notes += settled
    for name, dtype in (("n", pl.Int64()), ("rolled_up", pl.String())):
        if name not in frame.columns:
            frame = frame.with_columns(pl.lit(None, dtype=dtype).alias(name))
    if "subtask" in frame.columns:
        part = frame.filter(pl.col("subtask").is_not_null())
        if part.height:
            merged, more = _average_parts(part, "subtask", how, strict=strict, threads=threads)
            whole = frame.filter(pl.col("subtask").is_null())
            own = whole.join(merged, on=_level_key(merged, ()), how="semi", nulls_equal=True).height
            if own:
                notes.append(f"{own} task rows beside their subtasks were left out")
                whole = whole.join(merged, on=_level_key(merged, ()), how="anti", nulls_equal=True)
            notes += more
            frame = pl.concat([whole, merged], how="diagonal_relaxed")
    if to == "suite":
        frame, more = _average_parts(frame, "task", how, strict=strict, threads=threads)
        notes += more
        frame = frame.with_columns(pl.lit(suite).alias("task"))
    warn_notes(notes)
    key = [name for name in KEY if name in frame.columns]
    ours = [name for name in COLUMNS if name in frame.columns]
    return frame.select(*ours, *(name for name in frame.columns if name not in ours)).sort(key)


def _level_key(frame: pl.DataFrame, without: Sequence[str]) -> list[str]:
    return [c for c in KEY if c in frame.columns and c not in (*_BELOW_INSTANCE, "subtask", *without)]


def _average_parts(
    frame: pl.DataFrame, part: str, how: str, *, strict: bool, threads: int | None
) -> tuple[pl.DataFrame, list[str]]:
    """Mean over `part` within each checkpoint; checkpoints that lack parts are left out and counted."""
    key = _level_key(frame, (part,) if part == "task" else ())
    frame = with_usable(frame).sort([*key, part])
    stratum = [c for c in ("task", "config", "metric", "filter") if c in key]
    expected = frame.group_by(stratum).agg(pl.col(part).n_unique().alias("__expected"))
    found = frame.group_by(key, maintain_order=True).agg(pl.col("__usable").sum().alias("__found"))
    found = found.join(expected, on=stratum, how="left", nulls_equal=True, maintain_order="left")
    incomplete = found.filter(pl.col("__found") != pl.col("__expected"))
    notes = []
    if incomplete.height:
        first = {k: v for k, v in incomplete.select(key).row(0, named=True).items() if v is not None}
        text = f"{incomplete.height} of {found.height} checkpoints lack some {part}s and were left out, e.g. {first}"
        if strict:
            raise InsufficientDataError(text)
        notes.append(text)
        frame = frame.join(
            incomplete.select(key), on=key, how="anti", nulls_equal=True, maintain_order="left"
        )
    offsets = segment_offsets(frame, key)
    values = frame["value"].to_numpy()
    if how == "micro":
        weights = _instance_weights(frame, key, part)
        logs = frame["metric"].is_in(_perplexities(frame)).fill_null(value=False).to_numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.where(logs, np.log(values), values)
        means = kernels().segment_weighted_mean(values, weights, offsets, threads=threads)
        # The perplexity of all instances together is the weighted geometric mean.
        means = np.where(logs[offsets[:-1].astype(np.intp)], np.exp(means), means)
    else:
        means = kernels().segment_moments(values, offsets, threads=threads)["mean"]
    sums = [c for c in ("n", "weight") if c in frame.columns]
    replaced = ("value", "stderr", "subtask", "rolled_up", "__usable", "__missing", "__nan", part, *sums)
    carried = [c for c in frame.columns if c not in key and c not in replaced]
    merged = frame.group_by(key, maintain_order=True).agg(
        *constant_or_null(carried),
        *(pl.when(pl.col(c).null_count() == 0).then(pl.col(c).sum()).alias(c) for c in sums),
        pl.format(f"{how} mean of {{}} {part}s", pl.len()).alias("rolled_up"),
    )
    if "weight" in sums:
        # The sum is a denominator only of a micro mean of ratios; any other score counts once.
        ratio = frame.group_by(key, maintain_order=True).agg((pl.col("weight").fill_null(1) != 1).all())[
            "weight"
        ]
        merged = merged.with_columns(
            pl.when(ratio & (how == "micro")).then(pl.col("weight")).otherwise(1.0).alias("weight")
        )
    return merged.with_columns(pl.Series("value", means)), notes


def _perplexities(frame: pl.DataFrame) -> list[str]:
    """Metrics that combine as logarithms."""
    names = frame["metric"].unique().drop_nulls().sort()
    return [name for name in names if aggregation(name) == "perplexity"]


def _instance_weights(frame: pl.DataFrame, key: Sequence[str], part: str) -> Floats:
    """What each part counts in a mean over instances."""
    weights = pl.col("n").cast(pl.Float64)
    weight = pl.col("weight") if "weight" in frame.columns else pl.lit(None, dtype=pl.Float64)
    # Of words, bytes or tokens; that of LAMBADA is one of instances.
    ratios = [name for name in _perplexities(frame) if lookup(name) != lookup("perplexity")]
    unknown = frame.filter(pl.col("metric").is_in(ratios) & weight.is_null())
    if unknown.height:
        row = unknown.select(*key, part).row(0, named=True)
        raise InsufficientDataError(
            f'how="micro" weights the perplexity of each {part} by its denominator (words, bytes, tokens), which '
            f'{ {k: v for k, v in row.items() if v is not None} } does not know; use how="macro", give a column '
            'weight, or take the instances where there are some (where="instance_id IS NOT NULL")'
        )
    weights = pl.when(weight != 1).then(weight).otherwise(weights)
    column = frame.select(weights.alias("n")).to_series()
    if column.null_count():
        row = frame.filter(column.is_null()).select(*key, part).row(0, named=True)
        raise InsufficientDataError(
            f'how="micro" weights each {part} by its number of instances n, which '
            f"{ {k: v for k, v in row.items() if v is not None} } does not know; "
            'use how="macro", or give a column n'
        )
    return column.to_numpy()


__all__: Any = ["aggregate", "instance_moments", "results_from_instances", "roll_up"]
