"""Tables as they are: the columns of a file under their own names, for verbs that need no score table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import polars as pl

from ._documents import load_document
from ._files import find, head_of, kind_of
from ._formats import claimed_by
from ._report import ReadReport
from ._tables import NotATable, is_records, read_raw

#: Where each row came from: the file, and its place below the header.
FILE, ROW = "__file", "__row"

Source = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def read_plain(source: Source, report: ReadReport) -> pl.DataFrame | None:
    """All tables of a source one below the other, with `FILE` and `ROW`; None where it holds anything but tables."""
    tables = []
    for file in find(source):
        module, head = claimed_by(file)
        kind, _ = kind_of(file, head or head_of(file))
        document: Any = None
        if kind == "json":
            document = load_document(file, report)
        if module is not None or kind in ("empty", "other") or (kind == "json" and not is_records(document)):
            return None
        try:
            table = read_raw(file, kind, report, document).collect()
            tables.append(
                table.with_columns(pl.lit(file.label).alias(FILE), pl.int_range(1, pl.len() + 1).alias(ROW))
            )
        except NotATable:
            return None
    return pl.concat(tables, how="diagonal_relaxed") if tables else None
