"""What somebody says of single instances: whose label is wrong, which one was seen in training."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._errors import InsufficientDataError, ReadError, SchemaError
from .._schema import COLUMNS, find_columns

Floats = NDArray[np.float64]

#: What tells instances apart, as far as a table of marks says.
_PLACE = ("run", "task", "subtask", "instance_id")
_ROW = "__row"


class Marks:
    """One number an instance, and which of them found their instance among the scores."""

    def __init__(self, frame: pl.DataFrame, argument: str) -> None:
        self._frame = frame.with_row_index(_ROW)
        self._argument = argument
        self._keys = [name for name in _PLACE[:-1] if name in frame.columns]
        self._owners: dict[tuple[str | None, str | None], int] = {}
        self._owner = np.full(frame.height, -1, dtype=np.intp)
        self._asked = np.zeros(frame.height, dtype=bool)

    @property
    def per_run(self) -> bool:
        """Whether runs have marks of their own."""
        return "run" in self._keys

    @property
    def values(self) -> Floats:
        """All marks."""
        return self._frame["mark"].to_numpy()

    def of(self, labels: Mapping[str, str | None], items: pl.Series) -> Floats:
        """The mark of each item of a task, subtask (and run), NaN where it has none; a null label takes all."""
        mine = self._frame
        for name in self._keys:
            if labels.get(name) is not None:
                mine = mine.filter(pl.col(name) == labels[name])
        double = mine["instance_id"].is_duplicated()
        if double.any():
            raise SchemaError(
                f"{self._argument}: instance {mine['instance_id'].filter(double)[0]!r} is listed for several of "
                f"{', '.join(self._keys)}, which the scores do not tell apart; filter it"
            )
        self._asked[mine[_ROW].to_numpy()] = True
        found = items.to_frame("instance_id").join(
            mine.select("instance_id", "mark", _ROW), on="instance_id", how="left", maintain_order="left"
        )
        self._take(found[_ROW].drop_nulls().to_numpy(), labels)
        return found["mark"].fill_null(np.nan).to_numpy().astype(float)

    def left_out(self, *, strict: bool) -> str | None:
        """What to tell of marks without an instance in their task; an error where there are no others, or `strict`."""
        if not (self._owner >= 0).any():
            raise SchemaError(
                f"{self._argument}: none of its {len(self._owner)} instances is among those that the scores share (the "
                f"first is {_label(self._frame)}); compare task, subtask and instance_id with those of the scores"
            )
        lost = self._frame.filter(pl.Series(self._asked & (self._owner < 0)))
        if not lost.height:
            return None
        text = (
            f"{self._argument}: {lost.height} of {int(self._asked.sum())} instances are not among those that the "
            f"scores share, e.g. {_label(lost)}"
        )
        if strict:
            raise InsufficientDataError(f"{text}; leave them out or call with strict=False")
        return text

    def _take(self, rows: NDArray[Any], labels: Mapping[str, str | None]) -> None:
        """Note whose these marks are; one that would be of two subtasks is an error."""
        place = labels.get("task"), labels.get("subtask")
        owner = self._owners.setdefault(place, len(self._owners))
        taken = rows[(self._owner[rows] >= 0) & (self._owner[rows] != owner)]
        if len(taken):
            other = list(self._owners)[self._owner[taken[0]]]
            missing = [name for name, a, b in zip(("task", "subtask"), place, other, strict=True) if a != b]
            raise SchemaError(
                f"{self._argument}: {_label(self._frame[int(taken[0])])} is an instance of several "
                f"{' and '.join(f'{name}s' for name in missing)}; add the column {' and '.join(missing)}"
            )
        self._owner[rows] = owner


def open_marks(
    source: Any,
    argument: str,
    value: Sequence[str],
    *,
    default: float | None,
    yes_or_no: bool,
    per_run: bool = False,
) -> Marks:
    """Read a table of marks.

    Parameters
    ----------
    source
        A frame, anything with ``__arrow_c_stream__``, or the path of a table.
    argument
        What the verb calls it.
    value
        Names of the column of marks, the first that is there.
    default
        The mark of all rows where there is no such column; None where one is needed.
    yes_or_no
        The marks are true or false (1 or 0), and none is missing.
    per_run
        A column ``run`` (or ``model``) gives runs marks of their own.
    """
    raw = _opened(source, argument)
    found = find_columns(name for name in raw.columns if name not in value)
    if "instance_id" not in found:
        raise SchemaError(
            f"{argument}: the table has no column instance_id (it has {', '.join(raw.columns)}); it needs the columns "
            "of the scores that tell instances apart: task, subtask where there are any, instance_id"
        )
    wanted = _PLACE if per_run else _PLACE[1:]
    place = {name: found[name] for name in wanted if name in found}
    column = next((name for name in value if name in raw.columns), None)
    if column is None and default is None:
        raise SchemaError(
            f"{argument}: the table has no column {' or '.join(value)} (it has {', '.join(raw.columns)})"
        )
    if (
        column is None
        and yes_or_no
        and (said := [name for name in raw.columns if raw.schema[name] == pl.Boolean])
    ):
        raise SchemaError(
            f"{argument}: the table has no column {value[0]}, but {said[0]!r} holds true and false; rename it "
            f"{value[0]} if it says so, or leave it out"
        )
    frame = raw.select(
        *(pl.col(theirs).cast(COLUMNS[ours]).alias(ours) for ours, theirs in place.items()),
        (pl.lit(default) if column is None else _numbers(raw, column, argument)).alias("mark"),
    ).with_row_index(_ROW, 1)
    for name in ("task", "instance_id"):
        if name in frame.columns and frame[name].null_count():
            row = frame.filter(pl.col(name).is_null())[_ROW][0]
            raise SchemaError(f"{argument}: row {row} has no {place[name]}")
    if yes_or_no and column is not None:
        wrong = frame.filter(~pl.col("mark").is_in([0.0, 1.0]).fill_null(value=False))
        if wrong.height:
            shown = raw[column][int(wrong[_ROW][0]) - 1]
            raise SchemaError(
                f"{argument}: row {wrong[_ROW][0]}, column {column!r}: {shown!r} is neither true nor false"
            )
    return Marks(_once(frame, argument, column), argument)


def _label(frame: pl.DataFrame) -> str:
    row = frame.row(0, named=True)
    return ", ".join(f"{name} {row[name]!r}" for name in _PLACE if row.get(name) is not None)


def _once(frame: pl.DataFrame, argument: str, column: str | None) -> pl.DataFrame:
    """A row an instance; rows that contradict each other are an error."""
    key = [name for name in _PLACE if name in frame.columns]
    kept = frame.unique([*key, "mark"], keep="first", maintain_order=True)
    double = kept.filter(pl.struct(key).is_duplicated())
    if double.height:
        first = double.row(0, named=True)
        same = double.filter(pl.all_horizontal(pl.col(name).eq_missing(pl.lit(first[name])) for name in key))
        rows = " and ".join(str(row) for row in same[_ROW].head(2))
        raise SchemaError(
            f"{argument}: rows {rows} say different things of {_label(double)} in column {column!r}; keep one"
        )
    return kept.drop(_ROW)


def _numbers(raw: pl.DataFrame, column: str, argument: str) -> pl.Expr:
    dtype = raw.schema[column]
    if dtype == pl.Boolean or dtype.is_numeric():
        return pl.col(column).cast(pl.Float64)
    if dtype != pl.String:
        raise SchemaError(f"{argument}: column {column!r} holds {dtype}, not numbers or true and false")
    said = pl.col(column).str.strip_chars().str.to_lowercase()
    number = (
        pl.when(said.is_in(["true", "yes"])).then(1.0).when(said.is_in(["false", "no"])).then(0.0)
    ).otherwise(said.cast(pl.Float64, strict=False))
    rows = raw.select(number.alias("number"), pl.col(column).alias("text")).with_row_index(_ROW, 1)
    broken = rows.filter(pl.col("number").is_null() & pl.col("text").is_not_null())
    if broken.height:
        raise SchemaError(
            f"{argument}: row {broken[_ROW][0]}, column {column!r}: {broken['text'][0]!r} is no number and neither "
            "true nor false"
        )
    return number


def _opened(source: Any, argument: str) -> pl.DataFrame:
    if isinstance(source, pl.DataFrame):
        frame = source
    elif isinstance(source, pl.LazyFrame):
        frame = source.collect()
    elif hasattr(source, "__arrow_c_stream__"):
        frame = pl.DataFrame(source)
    elif isinstance(source, (str, os.PathLike)):
        frame = _read(Path(source), argument)
    else:
        raise SchemaError(
            f"{argument} must be a frame or the path of a table with the columns task, subtask where there are any, "
            f"instance_id, got {type(source).__name__}"
        )
    if not frame.height:
        raise SchemaError(f"{argument}: the table has no rows")
    return frame


def _read(path: Path, argument: str) -> pl.DataFrame:
    from .._readers._files import Found, head_of, kind_of
    from .._readers._report import ReadReport
    from .._readers._tables import read_raw

    file = Found(path, str(path), True)
    try:
        kind, reason = kind_of(file, head_of(file))
        if kind in ("parquet", "ipc", "ipc_stream", "csv", "tsv", "ndjson"):
            return read_raw(file, kind, ReadReport(strict=True), None).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ReadError(f"{argument}: {path} cannot be read: {str(error).splitlines()[0]}") from None
    raise ReadError(
        f"{argument}: {path} is no table in Parquet, Arrow IPC, CSV, TSV or NDJSON"
        + (f": {reason.replace('{s}', '')}" if reason else "")
    )
