"""From files to the score table, with a report of what was read and what was left out.

`open_source` finds the files and tells each one's format by its content. Files of a harness go to the module of that
harness, which plans what they hold (`_plan`) and loads it batch by batch (`_batches`), checked against the harness' own
numbers (`_selfcheck`). Tables go through ``signoise._schema.recognise``. `read` collects all of it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import polars as pl

from .._errors import OptionError, ReadError, SchemaError
from ..engines import Engine
from . import _tables
from ._batches import PACKED, TARGET_BYTES, batches, filled_labels, lengthen
from ._documents import OTHER_LAYOUT, load_document
from ._dump import Batch, Dump, Part
from ._files import Found, Source, is_packed_by_name, kind_of, reasons
from ._formats import FORMATS, LOOKED_FOR, Format, claimed_by
from ._layouts import Layouts
from ._plan import IDENTITY, Planned, plan
from ._remote import Localised, localise
from ._report import CheckFailure, Dropped, Place, ReadReport, Rerun
from ._selfcheck import SelfCheck
from ._spool import LARGE_BYTES, Spool

__all__ = [
    "FORMATS",
    "Batch",
    "CheckFailure",
    "Dropped",
    "Opened",
    "Part",
    "Place",
    "Planned",
    "ReadReport",
    "Rerun",
    "Spool",
    "lengthen",
    "open_source",
    "read",
]

Progress = Callable[[int, int], None]
Table: TypeAlias = "pl.LazyFrame | Callable[[], pl.LazyFrame]"


@dataclass
class Opened:
    """What a source holds, instances of dumps not yet loaded.

    Attributes
    ----------
    source
        As given.
    files : list of Found
    dumps : list of Dump
        One for each format found.
    tables : list of LazyFrame, or of calls that give one
    parquet : list of Found
        Where those tables are, as long as all are local Parquet files (those of `spool` included); else empty.
    results : DataFrame or None
        The harnesses' own aggregates, re-runs resolved.
    planned : list of Planned
        Parts of the dumps that are to be loaded.
    report : ReadReport
    progress, row_progress : callable, optional
        Called with (files done, files in all), and while tables are streamed with (rows done, rows in all).
    place : Localised
        Where files of URLs were fetched to; `Localised.close` deletes them.
    spool : Spool, optional
        Temporary files that stand for large tables.
    layouts : Layouts
        Those of the local Parquet files.
    """

    source: Source | Sequence[Source]
    files: list[Found]
    dumps: list[Dump]
    tables: list[Table]
    parquet: list[Found]
    results: pl.DataFrame | None
    planned: list[Planned]
    report: ReadReport
    progress: Progress | None = None
    row_progress: Progress | None = None
    place: Localised | None = None
    spool: Spool | None = None
    layouts: Layouts = field(default_factory=Layouts)
    _done: int = field(default=0)

    def batches(
        self,
        *,
        together: Sequence[str] = IDENTITY,
        target_bytes: int = TARGET_BYTES,
        engine: Engine | None = None,
        threads: int | None = None,
    ) -> Iterator[Batch]:
        """Load what is planned, and check it against the harnesses' own numbers.

        Parameters
        ----------
        together
            Labels of which parts with equal ones come in one batch.
        target_bytes
            Size of files to load at a time.
        engine
            Who loads them.
        threads
            How many may read.
        """
        check = SelfCheck(self.results, self.report)
        found = batches(
            self.planned,
            self.report,
            together=together,
            target_bytes=target_bytes,
            engine=engine,
            threads=threads,
        )
        for batch in found:
            check.add(batch)
            yield batch
            self.advance(len(batch.parts))
        check.finish()

    def advance(self, files: int) -> None:
        """So many files more are done."""
        self._done += files
        if self.progress is not None:
            self.progress(min(self._done, len(self.files)), len(self.files))

    def advance_rows(self, rows: int) -> None:
        """So many rows of the tables are done in all."""
        if self.row_progress is not None:
            self.row_progress(rows, self.report.rows)

    def frame(self) -> pl.LazyFrame:
        """Everything as one score table: results, instances, tables.

        Raises
        ------
        ReadError
            If that is nothing.
        """
        labels = filled_labels([planned.part for planned in self.planned])
        frames = self._frames([lengthen(batch, labels) for batch in self.batches()])
        if not frames:
            raise ReadError(_nothing(self))
        return frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal_relaxed")

    def _frames(self, instances: list[pl.DataFrame]) -> list[pl.LazyFrame]:
        frames = [] if self.results is None else [self.results.lazy()]
        instances = [frame for frame in instances if frame.height]
        if instances:
            frames.append(pl.concat(instances, how="diagonal").lazy())
        return [*frames, *(table() if callable(table) else table for table in self.tables)]


def read(
    source: Source | Sequence[Source],
    *,
    format: str = "auto",  # noqa: A002 (the public keyword)
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> tuple[pl.LazyFrame, ReadReport]:
    """Read scores from files.

    Parameters
    ----------
    source : path, glob or directory, or a list of them
        A directory is searched to the bottom, hidden files and folders left out. Each may be a URL (`_remote`).
    format : str
        ``auto`` tells each file's format by its content; another of `FORMATS` leaves files of others unread.
    columns : mapping of str to str, optional
        Columns of tables: theirs to ours.
    strict : bool
        Raise ``ReadError`` at the first problem instead of leaving out and reporting.
    progress : callable, optional
        Called with (files done, files in all).

    Returns
    -------
    LazyFrame
        One row per score: a harness' own results, instances, rows of tables. ``source`` is the file relative to the
        given path (a list: to the common folder).
    ReadReport

    Raises
    ------
    ReadError
        If a path does not exist or nothing could be read; with ``strict`` at the first problem.
    SchemaError
        If the only file is a table without the columns of scores.
    OptionError
        If ``format`` is none of those above.
    """
    opened = open_source(source, format=format, columns=columns, strict=strict, progress=progress)
    return opened.frame(), opened.report


def open_source(
    source: Source | Sequence[Source],
    *,
    format: str = "auto",  # noqa: A002 (the public keyword)
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    progress: Progress | None = None,
    spool: Spool | None = None,
) -> Opened:
    """Find what a source holds: tables and results are read, instances of dumps only planned.

    Parameters, errors
        As in `read`; a source without anything to read is found out by `Opened.frame`. With a `spool` the tables of
        a large source are not held in memory.
    """
    if format not in FORMATS:
        raise OptionError(f"format is {format!r}; it must be one of {', '.join(FORMATS)}")
    report = ReadReport(strict=strict)
    place = localise(source, report)
    files = place.files
    if spool is not None and not (place.tables or _is_large(files)):
        spool = None
    opened = Opened(source, files, [], [], [], None, [], report, progress, place=place, spool=spool)
    opened.layouts = Layouts(files)
    opened.advance(0)
    claimed: dict[str, tuple[Format, list[Found]]] = {}
    for file in files:
        head = b""
        try:
            module, head = claimed_by(file)
            if module is None:
                table = _read_table(file, head, format, columns, report, spool, opened.layouts)
            elif format in ("auto", module.FORMAT):
                claimed.setdefault(module.FORMAT, (module, []))[1].append(file)
                continue
            else:
                report.ignore(file.label, _unwanted(module.LABEL, format))
                table = None
        except OSError as error:
            report.skip(file.label, f"cannot be opened: {error.strerror or error}")
            table = None
        except SchemaError as error:
            if len(files) + len(place.tables) == 1 or strict:
                raise
            report.skip(file.label, str(error))
            table = None
        if table is not None:
            opened.tables.append(table)
            if head.startswith(b"PAR1"):
                opened.parquet.append(file)
            elif spool is not None and file.path in spool.parquet:
                opened.parquet.append(replace(file, file=spool.parquet[file.path]))
        opened.advance(1)
    for remote in place.tables if format in ("auto", "table") else []:
        table = _tables.read_remote_table(remote, columns, report)
        if table is not None:
            opened.tables.append(table)
    if len(opened.parquet) < len(opened.tables):
        opened.parquet.clear()
    results = []
    for module, own in claimed.values():
        dump = module.Dump(own, report)
        opened.dumps.append(dump)
        if (rows := dump.results()) is not None:
            results.append(rows)
    if results:
        opened.results = pl.concat(results, how="diagonal_relaxed") if len(results) > 1 else results[0]
    opened.planned = plan(opened.dumps, report)
    waiting = {planned.part.file.label for planned in opened.planned}
    opened.advance(sum(len(own) for _, own in claimed.values()) - len(waiting))
    return opened


def _is_large(files: Sequence[Found]) -> bool:
    size = 0
    for file in files:
        with contextlib.suppress(OSError):
            size += os.stat(file.file).st_size * (PACKED if is_packed_by_name(file.name) else 1)
        if size >= LARGE_BYTES:
            return True
    return False


def _read_table(
    file: Found,
    head: bytes,
    wanted: str,
    columns: Mapping[str, str] | None,
    report: ReadReport,
    spool: Spool | None,
    layouts: Layouts,
) -> Table | None:
    """A table, or None where the file was left out (and reported)."""
    kind, reason = kind_of(file, head)
    if kind == "empty":
        report.skip(file.label, reason)
    elif kind == "other":
        report.ignore(file.label, reason)
    elif kind == "json":
        return _read_json(file, wanted, columns, report, spool)
    elif wanted not in ("auto", "table"):
        report.ignore(file.label, _unwanted("table", wanted))
    else:
        return _tables.read_table(file, kind, columns, report, spool=spool, layouts=layouts)
    return None


def _read_json(
    file: Found,
    wanted: str,
    columns: Mapping[str, str] | None,
    report: ReadReport,
    spool: Spool | None,
) -> Table | None:
    document = load_document(file, report)
    if document is None:
        return None
    if _tables.is_records(document) and wanted in ("auto", "table"):
        try:
            return _tables.read_table(file, "json", columns, report, document, spool)
        except SchemaError:
            if file.explicit:
                raise
            # Harnesses write many lists of objects that were never meant as tables.
    report.ignore(file.label, OTHER_LAYOUT)
    return None


def _unwanted(label: str, wanted: str) -> str:
    return f"{label} file{{s}}, while format={wanted!r} was asked for"


def _nothing(opened: Opened) -> str:
    """Why nothing could be read, what was looked for, and what was found instead."""
    source, files, report = opened.source, opened.files, opened.report
    named = (
        str(source)
        if isinstance(source, str) or not isinstance(source, Sequence)
        else ", ".join(map(str, source))
    )
    looked = f"looked for {LOOKED_FOR}"
    if not files and not report.skipped:
        return f"{named}: the directory holds no files; {looked}"
    parts = [f"{named}: nothing could be read from {len(files)} file{'s' * (len(files) != 1)}; {looked}"]
    if report.skipped:
        parts.append(f"skipped {reasons(report.skipped)}")
    if report.ignored:
        parts.append("found " + ", ".join(report.ignored_lines()))
    parts += [line for line in report.summary() if line.startswith("dropped")]
    return "; ".join([*parts, *report.notes])
