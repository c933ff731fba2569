"""Tables of text and Arrow as temporary Parquet files, in bounded memory and with the dtypes they have in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from polars.exceptions import ComputeError, PolarsError

from .._errors import SchemaError
from .._metrics import lookup
from .._schema import COLUMNS, find_columns

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from ._spool import Spool

_SAMPLE = 4_000
"""Rows of a CSV that tell its dtypes, unless a later one contradicts."""
_BLOCK = 1 << 24


def delimited(
    path: Path, separator: str, columns: Mapping[str, str] | None, spool: Spool
) -> pl.LazyFrame | None:
    """A CSV or TSV; None where some line is damaged."""

    def scan(rows: int | None, schema: Mapping[str, pl.DataType] | None = None) -> pl.LazyFrame:
        return pl.scan_csv(path, separator=separator, schema=schema, infer_schema_length=rows, glob=False)

    try:
        sample = scan(_SAMPLE).head(_SAMPLE).collect(engine="streaming")
        schema = _with_floats(sample.schema, columns)
        # What is empty in all rows of the sample could be anything.
        empty = [name for name in sample.columns if sample[name].null_count() == sample.height]
        target = _sink_unless_misled(scan(None, schema), columns, spool, empty)
        if target is None:
            target = _sink(scan(None, scan(None).collect_schema()), columns, spool)
    except (PolarsError, OSError):
        return None
    # The parser fills a short line with nulls, so a file cut in its last line would lose fields in silence.
    rows = int(pl.scan_parquet(target, glob=False).select(pl.len()).collect().item())
    if is_full(path, separator, rows, sample.width):
        return spool.scan(path, target)
    target.unlink()
    return None


def _sink_unless_misled(
    table: pl.LazyFrame, columns: Mapping[str, str] | None, spool: Spool, empty: Collection[str]
) -> Path | None:
    """Write a table with the dtypes of a sample; None where other rows contradict these or fill an empty column."""
    try:
        target = _sink(table, columns, spool, empty)
    except ComputeError as error:
        if "could not parse" in str(error):
            return None
        raise
    if _has_any(target, empty):
        target.unlink()
        return None
    return target


def _with_floats(schema: pl.Schema, columns: Mapping[str, str] | None) -> dict[str, pl.DataType]:
    """The schema of a sample, scores as floats even if the first ones are 0 and 1."""
    try:
        found = find_columns(schema, columns)
    except SchemaError:  # which the reader of tables raises
        return dict(schema)
    floats = {theirs for our, theirs in found.items() if COLUMNS.get(our) == pl.Float64}
    wide = "value" not in found
    return {
        name: pl.Float64()
        if dtype == pl.Int64 and (name in floats or (wide and lookup(name) is not None))
        else dtype
        for name, dtype in schema.items()
    }


def _sink(
    table: pl.LazyFrame, columns: Mapping[str, str] | None, spool: Spool, more: Collection[str] = ()
) -> Path:
    """Parse all columns, as a projection would not look at lines with too many fields, and write those needed."""
    schema = table.collect_schema()
    kept = spool.needed(schema, columns, more)
    if len(kept) < len(schema):
        table = table.map_batches(
            lambda rows: rows.select(kept),
            projection_pushdown=False,
            streamable=True,
            schema={name: schema[name] for name in kept},
        )
    return spool.sink(table)


def _has_any(path: Path, names: Collection[str]) -> bool:
    """Whether any of these columns has a value."""
    if not names:
        return False
    some = pl.any_horizontal(pl.col(name).is_not_null().any() for name in names)
    return bool(pl.scan_parquet(path, glob=False).select(some).collect(engine="streaming").item())


def is_full(path: Path, separator: str, rows: int, width: int) -> bool:
    """Whether every line has all its fields; files with quotes or compression are taken at their word."""
    seen = 0
    with path.open("rb") as handle:
        while block := handle.read(_BLOCK):
            if b'"' in block or block.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
                return True
            seen += block.count(separator.encode())
    return seen == (rows + 1) * (width - 1)


def lines(path: Path, columns: Mapping[str, str] | None, spool: Spool) -> pl.LazyFrame | None:
    """JSON Lines; None where some line is damaged."""
    try:
        # Any line may bring a field that no other one has.
        schema = pl.scan_ndjson(path, infer_schema_length=None).collect_schema()
        return plain(path, pl.scan_ndjson(path, schema=schema), columns, spool)
    except (PolarsError, OSError):
        return None


def plain(path: Path, table: pl.LazyFrame, columns: Mapping[str, str] | None, spool: Spool) -> pl.LazyFrame:
    """A table that needs no care."""
    kept = spool.needed(table.collect_schema(), columns)
    return spool.scan(path, spool.sink(table.select(kept)))
