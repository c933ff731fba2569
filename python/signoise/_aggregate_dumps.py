"""Moments over the instances of harness dumps, batch by batch: what `aggregate` gives on the whole table, bit for bit.

A group's rows lie in one batch, because the labels in the key are known before anything is loaded; so its moments are
final, and a batch can be forgotten. Rows are sorted by numbers that stand for their labels in the order of the labels,
and summed in the same order by the same kernels as those of a whole table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._aggregate import NEVER_MIXED
from ._duplicates import Duplicates, Settled
from ._errors import SchemaError
from ._metrics import aggregation, missing_infinities
from ._moments import VALUES, group_moments, instance_moments, moments_frame, sums_of_marks
from ._no_rows import no_rows_left
from ._readers import Batch, Opened, Part, lengthen
from ._readers._batches import filled_labels, known_metrics, label_values, labels_frame
from ._readers._plan import IDENTITY, Planned
from ._schema import COLUMNS, KEY, predicate
from ._scores import Filter
from .engines import Engine

Codes = NDArray[np.int64]


def aggregate_dumps(
    opened: Opened,
    by: Sequence[str],
    *,
    metrics: Sequence[str] | None,
    where: Filter,
    duplicates: Duplicates,
    engine: Engine,
    threads: int | None,
) -> tuple[pl.DataFrame, list[str]] | None:
    """Moments by `by` and everything that must not be mixed, and what has to be said.

    None where it takes the whole table: where tables or several formats may hold rows of one group, where the key goes
    below the instance or names columns of results only, and where there are no instances.
    """
    labels = filled_labels([planned.part for planned in opened.planned])
    known = {*labels, "metric", "filter"}
    if opened.tables or not opened.planned or any(name not in known for name in by):
        return None
    # Not the source: parts that differ in it alone must come together, too.
    own = [name for name in by if name in IDENTITY]
    if _spans_dumps(opened.planned, own):
        return None
    schema = _schema(opened, labels)
    condition = predicate(where, "where", schema)
    key = [*by, *(name for name in NEVER_MIXED if name in known and name not in by)]
    key = [name for name in key if name in labels or name in ("metric", "filter")]
    tables: list[pl.DataFrame] = []
    settled = Settled(duplicates)
    for batch in opened.batches(together=own, engine=engine, threads=threads):
        if metrics is not None:
            batch.metrics = [name for name in batch.metrics if name in metrics]
        if not batch.metrics or not batch.rows.height:
            continue
        if condition is None and batch.distinct:
            tables += _moments(batch, key, labels, threads)
            continue
        rows = lengthen(batch, labels)
        if "filter" not in rows.columns:
            rows = rows.with_columns(pl.lit(None, dtype=pl.String).alias("filter"))
        if condition is not None:
            rows = _with_all(rows, schema).filter(condition).select(rows.columns)
        if rows.height:
            tables.append(instance_moments(settled(rows), key, threads=threads))
    results = _results(opened, condition, metrics, schema)
    if not tables:  # no instance is left: results count as one instance a row
        if results is None or not results.height:
            raise SchemaError(no_rows_left(where, metrics))
        return instance_moments(settled(results), key, threads=threads), settled.notes()
    table = pl.concat([table.select(*key, pl.exclude(key)) for table in tables])
    table = table.with_columns(pl.col(VALUES).fill_nan(None))
    beside = 0 if results is None else results.height
    notes = [f"{beside} result rows beside instance rows were left out"] if beside else []
    return table, notes + settled.notes()


def _spans_dumps(planned: Sequence[Planned], labels: Sequence[str]) -> bool:
    """Whether two formats may hold instances of one group."""
    if all(one.dump is planned[0].dump for one in planned):
        return False
    homes: dict[tuple[Any, ...], int] = {}
    return any(
        homes.setdefault(tuple(map(one.part.labels.get, labels)), id(one.dump)) != id(one.dump)
        for one in planned
    )


def _schema(opened: Opened, labels: Sequence[str]) -> pl.Schema:
    """Columns that `Opened.frame` would have."""
    own = [*labels, "metric", "filter", "instance_id", "repeat", "cluster", "value", "weight"]
    columns = {} if opened.results is None else dict(opened.results.schema)
    return pl.Schema(columns | {name: COLUMNS[name] for name in own})


def _results(
    opened: Opened, condition: pl.Expr | None, metrics: Sequence[str] | None, schema: pl.Schema
) -> pl.DataFrame | None:
    """Result rows beside the instances, filtered as these are."""
    if opened.results is None:
        return None
    rows = _with_all(opened.results, schema)
    if condition is not None:
        rows = rows.filter(condition)
    if metrics is not None:
        rows = rows.filter(pl.col("metric").is_in(list(metrics)))
    return rows


def _with_all(rows: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """Rows with every column of the whole table, those that they lack null."""
    return rows.with_columns(
        pl.lit(None, dtype=schema[name]).alias(name) for name in schema if name not in rows.columns
    )


def _moments(
    batch: Batch, key: Sequence[str], labels: Sequence[str], threads: int | None
) -> list[pl.DataFrame]:
    """Moments of all metrics of a batch without repeated keys: one table, or none."""
    rows = batch.rows
    part = rows["part"].to_numpy()
    own = [name for name in key if name in labels]
    group, first_parts = _ranks(batch.parts, own)
    rest, _ = _ranks(batch.parts, [name for name in KEY if name in labels and name not in own])
    codes = [group[part]]
    if filtered := "filter" in rows.columns and rows["filter"].null_count() < rows.height:
        codes.append(batch.codes("filter"))
    depth = len(codes)
    codes.append(rest[part])
    codes += [batch.codes(name) for name in ("instance_id", "cluster") if name in rows.columns]
    repeat = rows["repeat"].fill_null(0).to_numpy() if "repeat" in rows.columns else None
    order, new_group, new_item = _sorted(codes, depth, repeat)
    item = np.cumsum(new_item) - 1
    known = known_metrics(batch)
    found: list[dict[str, NDArray[Any]]] = []
    firsts: list[NDArray[np.intp]] = []
    names: list[str] = []
    for at, metric in enumerate(batch.metrics):
        mine = known[:, at] if known[:, at].all() else known[part[order], at]
        every = bool(mine.all())
        kept = order if every else order[mine]
        if not len(kept):
            continue
        starts = _starts(new_group, mine, every=every)
        column = rows[metric]
        null = column.is_null().to_numpy()[kept] if column.null_count() else np.zeros(len(kept), dtype=bool)
        values = column.to_numpy()[kept]
        usable, missing, nan = usable_scores(metric, values, null)
        ratio, weights = np.zeros(len(starts), dtype=bool), None
        if metric in batch.weights:
            weights = rows[batch.weights[metric]].fill_null(1.0).to_numpy()[kept]
            ratio = np.logical_or.reduceat((weights != 1.0) & usable, starts)
        moments = group_moments(
            values,
            weights,
            usable,
            item if every else item[mine],
            np.concatenate([starts, [len(kept)]]).astype(np.uintp),
            ratio=ratio,
            logs=np.full(len(starts), aggregation(metric) == "perplexity"),
            threads=threads,
        )
        moments["n_missing"], moments["n_nan"] = sums_of_marks(missing, starts), sums_of_marks(nan, starts)
        found.append(moments)
        firsts.append(kept[starts])
        names += [metric] * len(starts)
    if not found:
        return []
    first = np.concatenate(firsts)
    keys = labels_frame(first_parts, own)[codes[0][first]].with_columns(
        pl.Series("metric", names),
        rows["filter"][first] if filtered else pl.lit(None, dtype=pl.String).alias("filter"),
    )
    together = {name: np.concatenate([moments[name] for moments in found]) for name in found[0]}
    return [moments_frame(keys.select(key), together)]


def usable_scores(
    metric: str, values: NDArray[np.float64], null: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """(usable, missing, NaN) of scores of one metric, by the rule of `with_usable`."""
    if np.isfinite(values).all() and not null.any():
        none = np.zeros(len(values), dtype=bool)
        return ~none, none, none
    nan = np.isnan(values) & ~null
    infinite = np.isinf(values)
    minus, plus = missing_infinities(metric)
    impossible = infinite & np.where(values < 0, minus, plus)
    return ~(null | nan | impossible), null | infinite, nan


def _starts(new_group: NDArray[np.bool_], mine: NDArray[np.bool_], *, every: bool) -> NDArray[np.intp]:
    """Where groups start among the rows that know a metric."""
    if every:
        return np.flatnonzero(new_group)
    number = np.cumsum(new_group)[mine]
    return np.flatnonzero(np.concatenate([np.ones(min(len(number), 1), bool), number[1:] != number[:-1]]))


def _ranks(parts: Sequence[Part], names: Sequence[str]) -> tuple[Codes, list[Part]]:
    """Each part's place among the distinct values of some labels in sorted order, null first; the first of each."""
    if not names:
        return np.zeros(len(parts), np.int64), list(parts[:1])
    found = list(zip(*(label_values(parts, name) for name in names), strict=True))
    first: dict[tuple[Any, ...], int] = {}
    for at, row in enumerate(found):
        first.setdefault(row, at)
    distinct = sorted(first, key=lambda row: [(value is not None, value) for value in row])
    place = {row: at for at, row in enumerate(distinct)}
    codes = np.fromiter(map(place.__getitem__, found), dtype=np.int64, count=len(found))
    return codes, [parts[first[row]] for row in distinct]


def _sorted(
    codes: Sequence[Codes], depth: int, repeat: NDArray[Any] | None
) -> tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.bool_]]:
    """Order of rows by codes, then repeat; where the first `depth` codes change in it, and where any does."""
    keys = list(codes) if repeat is None else [*codes, repeat.astype(np.int64)]
    # Rows of equal keys stay in order.
    row = np.arange(len(codes[0]), dtype=np.int64)
    bits = [int(key.max(initial=0)).bit_length() for key in [*keys, row]]
    if sum(bits) < 63 and all(int(key.min(initial=0)) >= 0 for key in keys):
        number = np.zeros(len(row), dtype=np.int64)
        for key, width in zip([*keys, row], bits, strict=True):
            number <<= width
            number |= key
        number.sort()
        order = (number & ((1 << bits[-1]) - 1)).astype(np.intp)
    else:
        order = np.lexsort(keys[::-1])
    changes = [np.zeros(len(order), dtype=bool), np.zeros(len(order), dtype=bool)]
    for at, code in enumerate(codes):
        ordered = code[order]
        changes[at >= depth][1:] |= ordered[1:] != ordered[:-1]
    group, item = changes
    group[:1] = True
    return order, group, group | item
