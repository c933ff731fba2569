"""Tidy tables: Parquet, Arrow IPC, CSV, TSV, NDJSON and JSON lists of rows.

Only raw columns are read here; ``signoise._schema.recognise`` gives them their meaning. Parquet and IPC stay
lazy. Text formats are parsed at once, so that a bad line is reported with its number and not as a failure of
some later step: into memory, or with a `Spool` into temporary Parquet files.
"""

from __future__ import annotations

import csv
import io
import json
import zlib
from typing import TYPE_CHECKING, Any

import polars as pl
from polars.exceptions import PanicException, PolarsError

from .._errors import ReadError, SchemaError
from .._schema import find_columns, recognise
from . import _convert, _signal_and_noise, _wide
from ._files import INSTANCE_ROWS, Found, Kind, clean, is_instance_row
from ._json_lines import read_lines
from ._rows import values_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ._layouts import Layouts
    from ._remote import RemoteTable
    from ._report import ReadReport
    from ._spool import Spool


_BLOCK = 1 << 16


class NotATable(Exception):
    """The file holds something else; the text is its kind in ``ReadReport.ignored``."""


def read_table(
    file: Found,
    kind: Kind,
    columns: Mapping[str, str] | None,
    report: ReadReport,
    document: Any = None,
    spool: Spool | None = None,
    layouts: Layouts | None = None,
) -> pl.LazyFrame | Callable[[], pl.LazyFrame] | None:
    """One table with canonical column names, or None after reporting why not.

    With a `spool` no table need fit in memory, as long as nothing in it is damaged. With `layouts`, another Parquet
    table of one that was read before may come as a call that gives it: most are never looked at in this form.

    Raises
    ------
    SchemaError
        If its columns are not those of a score table.
    """

    def opened() -> pl.LazyFrame:
        if spool is None or kind == "parquet":
            return read_raw(file, kind, report, document)
        converted = _converted(file, kind, columns, spool)
        # What is damaged, and where, the way through memory can tell.
        return (
            spool.keep(file.path, read_raw(file, kind, report, document)) if converted is None else converted
        )

    if kind == "parquet" and layouts is not None:
        return _of_known_layout(file, columns, report, layouts)
    return _understood(file.label, kind, opened, columns, report)


def _of_known_layout(
    file: Found, columns: Mapping[str, str] | None, report: ReadReport, layouts: Layouts
) -> pl.LazyFrame | Callable[[], pl.LazyFrame] | None:
    if rows := layouts.rows_if_known(file.path):
        report.files["table"] += 1
        report.rows += rows
        return lambda: _recognised(pl.scan_parquet(file.path, glob=False), columns, file.label)
    raw = pl.scan_parquet(file.path, glob=False)
    table = _understood(file.label, "parquet", lambda: raw, columns, report)
    if table is not None:
        schema = raw.collect_schema()
        # Scores that may be text are looked at in every file.
        alike = (
            "value" not in find_columns(schema, columns) and _wide.checkpoint_columns(raw, columns) is None
        )
        layouts.keep(file.path, schema, alike=alike)
    return table


def read_remote_table(
    table: RemoteTable, columns: Mapping[str, str] | None, report: ReadReport
) -> pl.LazyFrame | None:
    """A Parquet table that stays where it is, like any other."""
    return _understood(table.label, "parquet", table.scan, columns, report)


def _understood(
    label: str,
    kind: Kind,
    opened: Callable[[], pl.LazyFrame],
    columns: Mapping[str, str] | None,
    report: ReadReport,
) -> pl.LazyFrame | None:
    try:
        raw = opened()
        names = raw.collect_schema().names()
        rows = int(raw.select(pl.len()).collect().item())
    except NotATable as found:
        report.ignore(label, str(found))
        return None
    except ReadError:  # strict
        raise
    except PanicException:  # no Exception, and what it says is of no use to anybody
        report.skip(label, f"cannot be read as {kind}: the file is damaged")
        return None
    except (PolarsError, OSError, ValueError, EOFError) as error:
        report.skip(label, f"cannot be read as {kind}: {first_line(error)}")
        return None
    if {"doc", "model_response", "metric"} <= set(names):
        report.ignore(label, INSTANCE_ROWS)
        return None
    if rows == 0:
        if all(file != label for file, _ in report.skipped):  # else why is told
            report.skip(label, "the table has no rows")
        return None
    table = _recognised(raw, columns, label)
    report.files["table"] += 1
    report.rows += rows
    return table


def _recognised(raw: pl.LazyFrame, columns: Mapping[str, str] | None, label: str) -> pl.LazyFrame:
    """A table with our columns."""
    names = raw.collect_schema().names()
    if _signal_and_noise.is_signal_and_noise(names):
        raw = _signal_and_noise.tidy(raw, columns)
    elif (wide := _wide.checkpoint_columns(raw, columns)) is not None:
        raw = _wide.lengthen(raw, wide)
    names = raw.collect_schema().names()
    value = find_columns(names, columns).get("value")
    if value is not None:
        _refuse_text(raw, value, label)
    table = recognise(raw, columns)
    own = "source" in table.collect_schema().names()
    return table if own else table.with_columns(source=pl.lit(label))


def _refuse_text(raw: pl.LazyFrame, column: str, label: str) -> None:
    """Say in which row of which file a score is no number, which a cast of the whole column cannot."""
    if raw.collect_schema()[column] != pl.String:
        return
    text = raw.select(column).with_row_index("row", 1)
    wrong = text.filter(
        pl.col(column).is_not_null() & pl.col(column).cast(pl.Float64, strict=False).is_null()
    )
    first = wrong.select(pl.len(), pl.col("row").first(), pl.col(column).first().alias("found"))
    count, row, found = first.collect(engine="streaming").row(0)
    if count:
        more = f" (and {count - 1} more)" if count > 1 else ""
        raise SchemaError(
            f"{label}, row {row} below the header, column {column!r}: {found!r} is no number{more}; correct it, "
            'leave the cell empty where there is no score, or declare another column with columns={"yours": "value"}'
        )


def _converted(
    file: Found, kind: Kind, columns: Mapping[str, str] | None, spool: Spool
) -> pl.LazyFrame | None:
    """The table as a temporary Parquet file, as far as its format can be streamed."""
    if kind in ("csv", "tsv"):
        return _convert.delimited(file.path, "," if kind == "csv" else "\t", columns, spool)
    if kind == "ndjson":
        return _convert.lines(file.path, columns, spool)
    if kind == "ipc":
        return _convert.plain(file.path, pl.scan_ipc(file.path, glob=False), columns, spool)
    return None


def read_raw(file: Found, kind: Kind, report: ReadReport, document: Any) -> pl.LazyFrame:
    """A table as the file has it."""
    if kind == "parquet":
        return pl.scan_parquet(file.path, glob=False)
    if kind == "ipc":
        return pl.scan_ipc(file.path, glob=False)
    if kind == "ipc_stream":
        return pl.read_ipc_stream(file.path).lazy()
    if kind in ("csv", "tsv"):
        return read_delimited(file, "," if kind == "csv" else "\t", report).lazy()
    if kind == "ndjson":
        return _lines(file, report).lazy()
    return records(document).lazy()


# --- delimited text


def read_delimited(file: Found, separator: str, report: ReadReport) -> pl.DataFrame:
    """A CSV or TSV, types inferred from all rows; lines with a wrong number of fields are dropped."""

    def parse(source: Path | io.BytesIO) -> pl.DataFrame:
        return pl.read_csv(source, separator=separator, infer_schema_length=None, glob=False)

    try:
        frame = parse(file.path)
    except (PolarsError, OSError):
        return _salvage(file, separator, report, parse)
    # The parser fills a short line with nulls, so a file cut in its last line would lose fields in silence.
    full = _convert.is_full(file.path, separator, frame.height, frame.width)
    return frame if full else _salvage(file, separator, report, parse)


def _salvage(
    file: Found, separator: str, report: ReadReport, parse: Callable[[io.BytesIO], pl.DataFrame]
) -> pl.DataFrame:
    """Slow path for a damaged file: keep the whole lines."""
    # A byte that is not UTF-8 costs its line, not the file.
    text = _bytes(file, report).decode("utf-8-sig", "surrogateescape")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    kept = io.StringIO(newline="")
    writer = csv.writer(kept, delimiter=separator, lineterminator="\n")
    width = 0
    start = 1
    try:
        for fields in reader:
            line, start = start, reader.line_num + 1
            if not fields:
                continue
            width = width or len(fields)
            if not all(map(_is_sound, fields)):
                reason = "a line must be UTF-8; save the file as UTF-8"
                report.drop(reason, file.label, line, found=clean(separator.join(fields)))
            elif len(fields) == width:
                writer.writerow(fields)
            else:
                reason = f"a line must have as many fields as the header ({width}); repair or delete it"
                report.drop(reason, file.label, line, found=f"{len(fields)} fields")
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from None
    return parse(io.BytesIO(kept.getvalue().encode()))


def _is_sound(text: str) -> bool:
    return text.isascii() or not any("\udc80" <= letter <= "\udcff" for letter in text)


def _bytes(file: Found, report: ReadReport) -> bytes:
    """All of a file, decompressed; of one cut in the middle the whole lines."""
    data = file.path.read_bytes()
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        raise ValueError("a damaged zstd file, or text in it that is not plain; decompress it first")
    if not data.startswith(b"\x1f\x8b"):
        return data
    parts: list[bytes] = []
    try:
        while data.startswith(b"\x1f\x8b"):
            member = zlib.decompressobj(31)
            # Piece by piece, as what comes before damage is sound.
            for start in range(0, len(data), _BLOCK):
                parts.append(member.decompress(data[start : start + _BLOCK]))
                if member.eof:
                    data = member.unused_data + data[start + _BLOCK :]
                    break
            else:
                raise zlib.error("it ends too early")
    except zlib.error as error:
        reason = "the gzip data are damaged, and rows from there on are lost; copy the file again"
        report.drop(reason, file.label, found=str(error))
        text = b"".join(parts)
        return text[: text.rfind(b"\n") + 1]
    return b"".join(parts)


# --- JSON


def _lines(file: Found, report: ReadReport) -> pl.DataFrame:
    """One JSON object per line; lines that are none are dropped and named."""
    with file.path.open("rb") as handle:
        compressed = handle.read(4) == b"\x28\xb5\x2f\xfd"
    if compressed:
        try:
            return pl.scan_ndjson(file.path, infer_schema_length=None).collect()
        except (PolarsError, OSError):
            return _salvage_compressed(file, report)
    data = _bytes(file, report)
    try:
        frame = pl.read_ndjson(io.BytesIO(data), infer_schema_length=None)
    except PolarsError:
        # It refuses the whole file for a byte-order mark, a bare NaN, one cut line or one bad byte.
        return _salvage_lines(file, data, report)
    if is_instance_row(dict.fromkeys(frame.columns)):
        raise NotATable(INSTANCE_ROWS)
    return frame


def _salvage_lines(file: Found, data: bytes, report: ReadReport) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            reason = "a line must hold one JSON object; it is cut or damaged: repair or delete it"
            report.drop(reason, file.label, number, found=line[:200].decode("utf-8", "replace"))
    return records(rows)


def _salvage_compressed(file: Found, report: ReadReport) -> pl.DataFrame:
    """The same for Zstandard."""
    lines = read_lines([file], report)
    columns = {name: values_of(field) for name, field in lines.fields.items()}
    return records([dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)])


def is_records(document: Any) -> bool:
    """Whether a JSON document is a list of rows."""
    return isinstance(document, list) and bool(document) and all(isinstance(row, dict) for row in document)


def records(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows whose fields may drift in type from one to the next."""
    if rows and is_instance_row(rows[0]):
        raise NotATable(INSTANCE_ROWS)
    return pl.DataFrame(rows, infer_schema_length=None, strict=False) if rows else pl.DataFrame()


def first_line(error: BaseException) -> str:
    """What an error says, on one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
