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

Source = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def read_plain(source: Source, report: ReadReport) -> pl.DataFrame | None:
    """All tables of a source one below the other; None where it holds anything but tables."""
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
            tables.append(read_raw(file, kind, report, document).collect())
        except NotATable:
            return None
    return pl.concat(tables, how="diagonal_relaxed") if tables else None
