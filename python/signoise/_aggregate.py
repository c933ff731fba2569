"""From instances to subtasks, tasks and suites: moments over instances, and the score table one level up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._errors import InsufficientDataError, OptionError
from ._kernels import kernels
from ._metrics import lookup
from ._options import as_columns, check_choice
from ._schema import KEY
from ._scores import Filter, Groups, Scores, load, load_instances, segment_offsets, warn_joined, warn_notes

Floats = NDArray[np.float64]

_BELOW_INSTANCE = ("instance_id", "repeat", "cluster")
_CARRIED = ("source",)
#: What moments over instances must not mix; subtasks may be pooled (micro) when the key leaves them out.
_NEVER_MIXED = ("task", "config", "metric", "filter")


def aggregate(
    source: Scores,
    *,
    by: str | Sequence[str] = ("run", "step", "task", "metric"),
    where: Filter = None,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Moments over instances: count, mean, variance, extremes.

    Repeats (epochs, samples) of an instance are averaged first, then instances. A ratio metric's mean is
    ``sum(value * weight)/sum(weight)``.

    Parameters
    ----------
    source, where, columns, threads
        As in `snr`.
    by
        Columns of the key. config and filter (and task, metric) join where a group would mix several of their
        values; subtasks left out of the key are pooled.
    strict
        Raise where a group has no instance with a score.

    Returns
    -------
    DataFrame
        By-columns, ``n`` (instances with a score), ``n_missing`` and ``n_nan`` (scores left out, infinities of
        bounded metrics with the missing), ``mean, variance`` (divisor n - 1), ``min, max`` (of instance means).

    Undefined when
        No instance has a score (all null), one instance or a ratio metric (variance null).

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
    frame, notes = load_instances(
        source, columns=columns, where=where, use=keys, strict=strict, threads=threads
    )
    missing = [name for name in keys if name not in frame.columns]
    if missing:
        raise OptionError(f"by: the table has no column {missing[0]!r} (it has {', '.join(frame.columns)})")
    frame, duplicates = drop_exact_duplicates(frame)
    notes += duplicates
    joined = [name for name in _mixing(frame, keys) if name in _NEVER_MIXED]
    warn_joined(frame, joined, keys)
    warn_notes(notes)
    table = instance_moments(frame, [*keys, *joined], threads=threads)
    if strict and (empty := table.filter(pl.col("n") == 0)).height:
        row = empty.select(*keys, *joined).row(0, named=True)
        raise InsufficientDataError(
            f"{empty.height} groups have no instance with a score, first {row}; filter them out (where=...) "
            "or call with strict=False"
        )
    return table


def _mixing(frame: pl.DataFrame, by: Sequence[str]) -> list[str]:
    candidates = [c for c in _NEVER_MIXED if c in frame.columns and c not in by and frame[c].n_unique() > 1]
    if not candidates or not by:
        return candidates
    most = frame.group_by(list(by)).agg(pl.col(candidates).n_unique()).select(pl.col(candidates).max())
    return [name for name in candidates if (most[name][0] or 0) > 1]


def drop_exact_duplicates(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Rows that repeat another one's key and value, dropped and counted."""
    key = [name for name in (*KEY, "value") if name in frame.columns]
    unique = frame.unique(subset=key, keep="first", maintain_order=True)
    dropped = frame.height - unique.height
    return unique, ([f"{dropped} exact duplicate rows were dropped"] if dropped else [])


def instance_moments(frame: pl.DataFrame, by: Sequence[str], threads: int | None = None) -> pl.DataFrame:
    """Moments of each group over instances, repeats of an instance averaged first; sorted by the key."""
    key = [name for name in by if name in frame.columns]
    instance = [name for name in KEY if name in frame.columns and name not in key and name != "repeat"]
    frame = with_usable(frame).sort(
        [*key, *instance, "repeat"] if "repeat" in frame.columns else [*key, *instance]
    )
    groups = segment_offsets(frame, key)
    usable = frame["__usable"].to_numpy()
    starts = groups[:-1].astype(np.intp)

    kept = frame.filter(pl.col("__usable"))
    items = segment_offsets(kept, [*key, *instance])
    means = kernels().segment_moments(kept["value"].to_numpy(), items, threads=threads)["mean"]
    per_row = np.concatenate([[0], np.cumsum(usable)])
    # Instances of a group: those whose first kept row lies among the group's rows.
    bounds = np.searchsorted(items[:-1], per_row[groups.astype(np.intp)]).astype(np.uintp)
    moments = kernels().segment_moments(means, bounds, threads=threads)
    ratio = _ratio_groups(frame, starts)
    mean = moments["mean"]
    if ratio.any():
        weights = kept["weight"].fill_null(1.0).to_numpy()[items[:-1].astype(np.intp)]
        weighted = kernels().segment_weighted_mean(
            means, np.ascontiguousarray(weights), bounds, threads=threads
        )
        mean = np.where(ratio, weighted, mean)
    n = moments["n"].astype(np.int64)
    with np.errstate(all="ignore"):
        variance = np.where((n >= 2) & ~ratio, moments["m2"] / (n - 1.0), np.nan)
    counts = {
        name: np.add.reduceat(frame[f"__{name}"].to_numpy(), starts, dtype=np.int64)
        if len(starts)
        else np.zeros(0, np.int64)
        for name in ("missing", "nan")
    }
    floats = {"mean": mean, "variance": variance, "min": moments["min"], "max": moments["max"]}
    return (
        frame[starts]
        .select(key)
        .with_columns(
            pl.Series("n", n),
            pl.Series("n_missing", counts["missing"]),
            pl.Series("n_nan", counts["nan"]),
            *(pl.Series(name, values).fill_nan(None) for name, values in floats.items()),
        )
    )


def with_usable(frame: pl.DataFrame) -> pl.DataFrame:
    """Mark scores that statistics may use, and count out the others: null, NaN, and infinities of bounded metrics."""
    bounded = (
        [m for m in frame["metric"].unique().drop_nulls() if _bounded(m)] if "metric" in frame.columns else []
    )
    infinite = pl.col("value").is_infinite().fill_null(False)
    missing = pl.col("value").is_null() | (infinite & pl.col("metric").is_in(bounded))
    nan = pl.col("value").is_nan().fill_null(False)
    return frame.with_columns(
        (~missing & ~nan).alias("__usable"), (missing | infinite).alias("__missing"), nan.alias("__nan")
    )


def _bounded(name: str) -> bool:
    metric = lookup(name)
    return metric is not None and metric.low is not None and metric.high is not None


def _ratio_groups(frame: pl.DataFrame, starts: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Groups of a ratio metric: some weight differs from 1, or the metric is known as one and carries weights."""
    if "weight" not in frame.columns or not len(starts):
        return np.zeros(len(starts), dtype=bool)
    weighted = (frame["weight"].fill_null(1.0) != 1.0).to_numpy()
    return np.logical_or.reduceat(weighted, starts)


def results_from_instances(frame: pl.DataFrame, threads: int | None = None) -> tuple[pl.DataFrame, list[str]]:
    """One result row a checkpoint and score from its instance rows; tool results win where both exist."""
    instances = frame.filter(pl.col("instance_id").is_not_null())
    results = frame.filter(pl.col("instance_id").is_null()).drop(
        [c for c in _BELOW_INSTANCE if c in frame.columns]
    )
    instances, notes = drop_exact_duplicates(instances)
    _refuse_conflicts(instances)
    key = [name for name in KEY if name in frame.columns and name not in _BELOW_INSTANCE]
    carried = [
        c
        for c in frame.columns
        if c not in (*KEY, *_BELOW_INSTANCE, "value", "weight", "stderr", "n", *_CARRIED)
    ]
    # Columns of the table that do not vary within a checkpoint ride along for filters.
    table = instance_moments(instances, key, threads=threads)
    if carried:
        constant = instances.group_by(key).agg(pl.col(c).first() for c in carried)
        table = table.join(constant, on=key, how="left", nulls_equal=True)
    missing = int(table["n_missing"].sum()) + int(table["n_nan"].sum())
    if missing:
        notes.append(f"{missing} instance rows have no score and were left out of their means")
    table = table.with_columns(pl.col("mean").alias("value")).drop(
        "n_missing", "n_nan", "mean", "variance", "min", "max"
    )
    if results.height:
        both = table.join(results.select(key), on=key, how="semi", nulls_equal=True).height
        if both:
            notes.append(f"{both} scores come as result and as instances: the result row was taken")
        table = table.join(results.select(key), on=key, how="anti", nulls_equal=True)
        table = pl.concat([results, table], how="diagonal_relaxed")
    return table, notes


def _refuse_conflicts(instances: pl.DataFrame) -> None:
    from ._encode import raise_conflicts

    key = [name for name in KEY if name in instances.columns]
    repeated = instances.filter(instances.select(key).is_duplicated())
    if repeated.height:
        raise_conflicts(repeated, key)


def roll_up(
    scores: Scores,
    *,
    to: Literal["task", "suite"] = "task",
    how: Literal["macro", "micro"] = "macro",
    suite: str = "suite",
    where: Filter = None,
    groups: Groups = None,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """The score table one level up: subtasks become their task, or tasks one suite.

    Parameters
    ----------
    scores, where, groups, columns, strict, threads
        As in `snr`.
    to
        ``"task"``: the subtasks of each task are averaged; rows without subtask stay. ``"suite"``: tasks (each first
        brought to task level) are averaged into one row per checkpoint, metric, config and filter.
    how
        ``"macro"``: unweighted mean of the parts. ``"micro"``: mean over instances, each part weighted by its number
        of instances ``n``.
    suite
        Name of the suite's row.

    Returns
    -------
    DataFrame
        Score table of result rows, with ``n`` (instances, where all parts know theirs) and ``rolled_up``, which says
        how: ``macro mean of 57 subtasks``.

    Raises
    ------
    InsufficientDataError
        ``how="micro"`` where a part does not know its number of instances; a checkpoint that lacks parts, with
        ``strict=True`` (otherwise it is left out and counted).

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
        scores, columns=columns, where=where, groups=groups, use=[pl.all()], strict=strict, threads=threads
    )
    notes = list(table.notes)
    frame = table.frame
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
    return frame.sort(key)


def _level_key(frame: pl.DataFrame, without: Sequence[str]) -> list[str]:
    return [c for c in KEY if c in frame.columns and c not in (*_BELOW_INSTANCE, "subtask", *without)]


def _average_parts(
    frame: pl.DataFrame, part: str, how: str, *, strict: bool, threads: int | None
) -> tuple[pl.DataFrame, list[str]]:
    """Mean over `part` within each checkpoint; checkpoints that lack parts are left out and counted."""
    key = _level_key(frame, (part,) if part == "task" else ())
    frame, notes = drop_exact_duplicates(frame)
    frame = with_usable(frame).sort([*key, part])
    stratum = [c for c in ("task", "config", "metric", "filter") if c in key]
    expected = frame.group_by(stratum).agg(pl.col(part).n_unique().alias("__expected")) if stratum else None
    usable = frame.filter(pl.col("__usable"))
    offsets = segment_offsets(usable, key)
    values = usable["value"].to_numpy()
    counts = (
        usable["n"].cast(pl.Float64)
        if "n" in usable.columns
        else pl.Series([None] * usable.height, dtype=pl.Float64)
    )
    if how == "micro":
        if counts.null_count():
            row = usable.filter(counts.is_null()).select(*key, part).row(0, named=True)
            raise InsufficientDataError(
                f'how="micro" weights each {part} by its number of instances n, which {row} does not know; '
                'use how="macro", or give a column n'
            )
        means = kernels().segment_weighted_mean(values, counts.to_numpy(), offsets, threads=threads)
    else:
        means = kernels().segment_moments(values, offsets, threads=threads)["mean"]
    firsts = usable[offsets[:-1].astype(np.int64)]
    starts = offsets[:-1].astype(np.intp)
    found = np.diff(offsets).astype(np.int64)
    total = np.add.reduceat(counts.fill_null(float("nan")).to_numpy(), starts) if len(starts) else np.zeros(0)
    merged = firsts.drop(
        "__usable", "__missing", "__nan", *(c for c in ("stderr", "weight", "subtask") if c in firsts.columns)
    )
    merged = merged.with_columns(
        pl.Series("value", means),
        pl.Series("n", total).fill_nan(None).cast(pl.Int64),
        pl.Series("__found", found),
        pl.format(f"{how} mean of {{}} {part}s", pl.Series("k", found)).alias("rolled_up"),
    )
    if expected is not None:
        merged = merged.join(expected, on=stratum, how="left", nulls_equal=True)
        incomplete = merged.filter(pl.col("__found") != pl.col("__expected"))
        if incomplete.height:
            text = (
                f"{incomplete.height} of {merged.height} checkpoints lack some {part}s and were left out, "
                f"e.g. {incomplete.select(key).row(0, named=True)}"
            )
            if strict:
                raise InsufficientDataError(text)
            notes.append(text)
            merged = merged.filter(pl.col("__found") == pl.col("__expected"))
        merged = merged.drop("__expected")
    return merged.drop("__found"), notes


__all__: Any = ["aggregate", "instance_moments", "results_from_instances", "roll_up"]
