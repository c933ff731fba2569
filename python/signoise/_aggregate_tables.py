"""Moments over tables that need not fit in memory: `aggregate` for sources of tables alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from ._duplicates import Duplicates, Settled
from ._moments import instance_moments
from ._readers import Opened, Spool
from ._schema import KEY, predicate
from ._scores import Filter, column_errors
from ._stream import can_stream, stream_parquet
from .engines import Engine
from .engines._engine import Local

Moments = tuple[pl.DataFrame, list[str]]


class _ResultRows(Exception):
    """Rows without an instance, beside which those of instances count, or which count alone."""


def aggregate_tables(
    opened: Opened,
    by: Sequence[str],
    *,
    columns: Mapping[str, str] | None,
    metrics: Sequence[str] | None,
    where: Filter,
    duplicates: Duplicates,
    engine: Engine,
    threads: int | None,
) -> Moments | None:
    """Moments by `by` and everything that must not be mixed, and what has to be said; None where it takes memory.

    The files are streamed as they are where their own columns are enough for that. Else, with a spool, their rows are
    written once more as they would be in memory, filtered and with our columns, and that file is streamed, which only
    this process can read.
    """
    if opened.planned or opened.results is not None or not opened.tables:
        return None

    def stream(
        paths: Sequence[Path],
        sources: Sequence[str] | None = None,
        columns: Mapping[str, str] | None = None,
        metrics: Sequence[str] | None = None,
        engine: Engine | None = None,
    ) -> Moments | None:
        settled = Settled(duplicates)

        def settle(rows: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
            if rows["instance_id"].null_count():
                raise _ResultRows
            return instance_moments(settled(rows), key, threads=threads)

        progress = opened.advance_rows if opened.row_progress is not None else None
        try:
            found = stream_parquet(
                paths,
                by,
                settle,
                columns=columns,
                metrics=metrics,
                sources=sources,
                progress=progress,
                engine=engine,
                threads=threads,
            )
        except _ResultRows:
            return None
        return None if found is None else (found.frame, settled.notes())

    found = None
    paths = [file.path for file in opened.parquet]
    if where is None and paths and _one_layout(opened):
        found = stream(paths, [file.label for file in opened.parquet], columns, metrics, engine)
    if found is not None or opened.spool is None:
        return found
    table = _as_in_memory(opened.frame(), by, where, metrics)
    if not can_stream(table.collect_schema(), by):
        return None
    path, results = _written(table, opened.spool)
    if path is None or (found := stream([path])) is None:
        return None
    beside = [f"{results} result rows beside instance rows were left out"] if results else []
    return found[0], beside + not_on(engine) + found[1]


def not_on(engine: Engine) -> list[str]:
    """What is said of rows that were added up in this process, though another place was asked for."""
    if isinstance(engine, Local):
        return []
    return [
        "engine: the rows were added up in this process; elsewhere are added up Parquet tables that are given as "
        "files, whole (no where=), with run, task and instance_id in columns of their own"
    ]


def _one_layout(opened: Opened) -> bool:
    """Whether all files have the same columns, of the same dtypes."""
    written = [] if opened.spool is None else opened.spool.parquet.values()
    layouts = {frozenset(pl.read_parquet_schema(path).items()) for path in written}
    return len(layouts | opened.layouts.seen) == 1


def _as_in_memory(
    table: pl.LazyFrame, by: Sequence[str], where: Filter, metrics: Sequence[str] | None
) -> pl.LazyFrame:
    """The rows that `load_instances` would take."""
    schema = table.collect_schema()
    condition = predicate(where, "where", schema)
    if condition is not None:
        table = table.filter(condition)
    if metrics is not None:
        table = table.filter(pl.col("metric").is_in(list(metrics)))
    wanted = dict.fromkeys([*KEY, *by, "value", "weight", "source"])
    return table.select(name for name in wanted if name in schema)


def _written(table: pl.LazyFrame, spool: Spool) -> tuple[Path | None, int]:
    """A file of the instance rows, None if there are none; and how many rows are none beside them."""
    with column_errors():
        path = spool.sink(table)
    rows = pl.scan_parquet(path, glob=False)
    count, results = (
        rows.select(pl.len(), pl.col("instance_id").null_count()).collect(engine="streaming").row(0)
    )
    if results == count:
        return None, results
    if results:
        path = spool.sink(rows.filter(pl.col("instance_id").is_not_null()))
    return path, results
