"""Tables for CSV: every cell a text or a number, and none that a spreadsheet would run.

All CSV is guarded, that of ``-o`` as well as that of the page, as all of it may be opened by a double click. The remedy
is the usual one, an apostrophe before the text; it stays when the file is read again, since to take it off would hand
the formula on. Numbers are never touched. Parquet and JSON hold every name as it is.
"""

from __future__ import annotations

from typing import IO

import polars as pl

#: How a text begins that a spreadsheet takes for a formula; the last four are the same signs in full width.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def flat(table: pl.DataFrame) -> pl.DataFrame:
    """Nested and other unusual columns as text; lists joined by a semicolon."""
    columns = []
    for name, dtype in table.schema.items():
        column = pl.col(name)
        if isinstance(dtype, (pl.List, pl.Array)):
            as_list = column if isinstance(dtype, pl.List) else column.arr.to_list()
            columns.append(as_list.cast(pl.List(pl.String)).list.join(";"))
        elif isinstance(dtype, pl.Struct):
            columns.append(column.struct.json_encode())
        elif dtype == pl.Binary:
            columns.append(column.bin.encode("hex"))
        elif not (dtype.is_numeric() or dtype in (pl.Boolean, pl.String)):
            columns.append(column.cast(pl.String))
    return table.with_columns(columns)


def write_csv(table: pl.DataFrame, file: IO[bytes]) -> None:
    """Write a table; texts and names that look like formulas are quoted for spreadsheets."""
    guard = rf"^[{''.join(_FORMULA)}]".replace("-", r"\-")
    texts = [name for name, dtype in table.schema.items() if not dtype.is_numeric() and dtype != pl.Boolean]
    guarded = flat(table).with_columns(
        pl.when(pl.col(name).str.contains(guard)).then("'" + pl.col(name)).otherwise(pl.col(name)).alias(name)
        for name in texts
    )
    guarded.rename(lambda name: f"'{name}" if name.startswith(_FORMULA) else name).write_csv(file)
