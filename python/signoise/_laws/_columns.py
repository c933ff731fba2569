"""The columns that a law needs of a table: found by name or computed, as numbers, in plausible units.

The table is a score table, whose metric `y` names, or any table with a column `y`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import polars as pl

from .._errors import OptionError, SchemaError
from .._names import parse_size
from .._no_rows import no_rows_left
from .._readers._plain import FILE, ROW, read_plain
from .._readers._report import ReadReport
from .._schema import COLUMNS, SYNONYMS, did_you_mean, predicate, sizes_or_raise
from .._scores import Filter, Scores, load, warn_joined
from ._law import Law

Checkpoints = Literal["all", "last"]
Repeats = Literal["all", "best", "mean"]

#: Where the middle value of a column must lie; anything else is in other units (millions, billions).
_PLAUSIBLE = {
    "params": (1e4, 1e15, "parameters"),
    "params_nonembedding": (1e4, 1e15, "parameters"),
    "tokens": (1e6, 1e17, "tokens"),
    "flops": (1e11, 1e29, "floating-point operations"),
}
#: Columns that can be computed where the table lacks them.
DERIVED = {
    "flops": (("params", "tokens"), 6 * pl.col("params") * pl.col("tokens"), "6 x params x tokens"),
    "tokens_per_param": (("params", "tokens"), pl.col("tokens") / pl.col("params"), "tokens / params"),
    "tokens": (
        ("params", "tokens_per_param"),
        pl.col("params") * pl.col("tokens_per_param"),
        "params x ratio",
    ),
}
#: Single values this far below what the middle one may be are in other units too.
_FAR_BELOW = 1e-2
#: Amounts of which laws take powers: a run has more than none of them.
AMOUNTS = (
    *_PLAUSIBLE,
    *("tokens_per_param", "x", "unique_tokens", "batch_tokens", "min_steps", "samples", "pool_size", "share"),
    *("encoder_params", "decoder_params", "streams", "bits", "group_size", "environments"),
)
_OTHER_NAMES = {"learning_rate": ("lr",), "tokens_per_param": ("token_multiplier",), "loss": ()}


@dataclass(frozen=True)
class Source:
    """Where points come from, and how rows become points: the options that all verbs on laws share."""

    scores: Scores
    x: tuple[str, ...]
    y: str | None
    by: tuple[str, ...] | None = None
    where: Filter = None
    cluster: str | None = None
    scale: str | None = None
    checkpoints: Checkpoints = "all"
    repeats: Repeats = "all"
    check_units: bool = True
    columns: Mapping[str, str] | None = None
    strict: bool = False
    threads: int | None = None


def input_names(x: Sequence[str], law: Law) -> dict[str, str]:
    """The column of each input of a law."""
    if not x:
        if "x" in law.inputs:
            names = tuple("flops" if name == "x" else name for name in law.inputs)
            raise OptionError(
                f"law {law.name!r} is of any amount: say which column it is, e.g. "
                f"x={names if len(names) > 1 else names[0]!r} or --x {','.join(names)}"
            )
        return {name: name for name in law.inputs}
    if len(x) != len(law.inputs):
        raise OptionError(
            f"law {law.name!r} takes {len(law.inputs)} columns ({', '.join(law.inputs)}), x names "
            f"{len(x)}: {', '.join(x)}"
        )
    return dict(zip(law.inputs, x, strict=True))


@dataclass(frozen=True)
class Rows:
    """The rows of a table that may be points, before any column is looked at."""

    frame: pl.DataFrame
    by: tuple[str, ...]
    """The columns of the key."""
    value: str
    """The column of what is fitted."""
    notes: list[str]


def read_columns(
    source: Source, inputs: Mapping[str, str]
) -> tuple[pl.DataFrame, tuple[str, ...], list[str]]:
    """The rows that may be points, with the inner columns, and the columns of the key."""
    rows = read_rows(source, tuple(inputs.values()))
    return inner_columns(rows, source, inputs), rows.by, rows.notes


def read_rows(source: Source, wanted: Sequence[str] = ()) -> Rows:
    """The rows that may be points, with all columns of the table; `wanted` are those that must be read."""
    plain = _plain(source)
    notes: list[str] = []
    if plain is not None:
        by = source.by or ()
        frame = plain
        condition = predicate(source.where, "where", frame.drop(FILE, ROW, strict=False).schema)
        if condition is not None:
            everything, frame = frame, frame.filter(condition)
            if everything.height and not frame.height:
                raise SchemaError(no_rows_left(source.where, None, everything))
        value = source.y
    else:
        by = ("task", "metric") if source.by is None else source.by
        use = [name for name in (*wanted, *by, source.cluster, source.scale) if name in COLUMNS]
        table = load(
            source.scores,
            columns=source.columns,
            where=source.where,
            use=use,
            keep_all=True,
            strict=source.strict,
            threads=source.threads,
        )
        notes += table.notes
        frame = table.frame
        if source.y is not None:
            metrics = frame["metric"].unique().drop_nulls().sort().to_list()
            if source.y not in metrics:
                raise SchemaError(
                    f"y: {source.y!r} is neither a column of the table nor one of its metrics"
                    f"{did_you_mean(source.y, [*metrics, *frame.columns])} (metrics: {', '.join(metrics)})"
                )
            frame = frame.filter(pl.col("metric") == source.y)
        joined = [
            name
            for name in ("subtask", "config", "filter")
            if name in frame.columns and name not in by and frame[name].n_unique() > 1
        ]
        warn_joined(frame, joined, by)
        by = (*by, *joined)
        value = "value"
    if frame.height == 0:
        raise SchemaError("the table has no rows")
    for name in by:
        if name not in frame.columns:
            raise _absent("by", name, frame)
    return Rows(frame, by, value or "value", notes)


def inner_columns(rows: Rows, source: Source, inputs: Mapping[str, str]) -> pl.DataFrame:
    """The rows with the columns ``__x0.., __y, __run, __scale, __place`` and those of the key."""
    frame, notes = rows.frame, rows.notes
    _note_embeddings(frame, source, inputs, notes)
    columns = {f"__x{index}": input_column(frame, name, notes) for index, name in enumerate(inputs.values())}
    columns["__y"] = _numbers(frame, rows.value)
    columns["__run"] = _runs(frame, source)
    columns["__scale"] = _scales(frame, source, inputs, columns)
    columns["__place"] = _places(frame)
    out = pl.DataFrame([*(frame[name] for name in rows.by), *(c.alias(name) for name, c in columns.items())])
    if source.check_units:
        for index, name in enumerate(inputs.values()):
            check_plausible(name, out[f"__x{index}"])
    return out


def _plain(source: Source) -> pl.DataFrame | None:
    """The table itself, where `y` is one of its columns."""
    if source.y is None:
        return None
    scores = source.scores
    if isinstance(scores, pl.LazyFrame):
        scores = scores.collect() if source.y in scores.collect_schema().names() else scores
    if isinstance(scores, pl.DataFrame):
        frame: pl.DataFrame | None = scores
    elif hasattr(scores, "__arrow_c_stream__"):
        frame = pl.DataFrame(cast("Any", scores))
    elif isinstance(scores, (str, os.PathLike)) or (
        isinstance(scores, Sequence) and all(isinstance(path, (str, os.PathLike)) for path in scores)
    ):
        report = ReadReport(strict=source.strict)
        frame = read_plain(scores, report)
        if frame is not None and source.y in frame.columns:
            report.warn(stacklevel=7)
    else:
        frame = None
    if frame is None or source.y not in frame.columns:
        if frame is not None and not any(_find(frame, name) for name in ("run", "metric")):
            raise _absent("y", source.y, frame)
        return None
    renamed = {}
    for theirs, ours in (source.columns or {}).items():
        if theirs not in frame.columns:
            raise _absent("columns", theirs, frame)
        renamed[theirs] = ours
    hidden = [ours for ours in renamed.values() if ours in frame.columns and ours not in renamed]
    frame = frame.drop(hidden).rename(renamed)
    # Filters leave rows out: what is said of one must name its place in the table.
    return frame if ROW in frame.columns else frame.with_columns(pl.int_range(1, pl.len() + 1).alias(ROW))


def _find(frame: pl.DataFrame, name: str) -> str | None:
    """The column that a name means."""
    for candidate in (name, *SYNONYMS.get(name, ()), *_OTHER_NAMES.get(name, ())):
        if candidate in frame.columns:
            return candidate
    return None


def _absent(argument: str, name: str, frame: pl.DataFrame, remedy: str = "") -> SchemaError:
    """That a table lacks a column, and which it has."""
    known = [column for column in frame.columns if column not in (FILE, ROW)]
    return SchemaError(
        f"{argument}: the table has no column {name!r}{did_you_mean(name, known)} (it has {', '.join(known)}){remedy}"
    )


def input_column(frame: pl.DataFrame, name: str, notes: list[str]) -> pl.Series:
    """A column by its name, or computed of others."""
    found = _find(frame, name)
    if found is not None and not (name in DERIVED and frame[found].null_count() == frame.height):
        return _numbers(frame, found, sizes=name in ("params", "params_nonembedding"))
    if name in DERIVED:
        parts, formula, text = DERIVED[name]
        places = [_find(frame, part) for part in parts]
        if all(places):
            notes.append(f"{name} was computed as {text}")
            made = [
                _numbers(frame, str(place), sizes=part == "params").alias(part)
                for part, place in zip(parts, places, strict=True)
            ]
            return pl.DataFrame(made).select(formula.alias(name))[name]
    raise _absent("x", name, frame, '; name it: x="YOURS" or --x YOURS')


def _note_embeddings(
    frame: pl.DataFrame, source: Source, inputs: Mapping[str, str], notes: list[str]
) -> None:
    """Say which of two counts of parameters is taken, where nobody has chosen."""
    other = other_params(frame)
    if source.x or inputs.get("params") != "params" or other is None:
        return
    wanted = ",".join(other if name == "params" else name for name in inputs.values())
    notes.append(f"params were taken, not {other}; x={wanted!r} takes those")


def other_params(frame: pl.DataFrame) -> str | None:
    """The column of parameters without embeddings, where there is one of all parameters too."""
    return _find(frame, "params_nonembedding") if _find(frame, "params") is not None else None


def _numbers(frame: pl.DataFrame, name: str, *, sizes: bool = False) -> pl.Series:
    """A column as floats; texts among them are an error that names the row."""
    column = frame[name]
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        return column.cast(pl.Float64)
    if column.dtype != pl.String:
        raise SchemaError(
            f"column {name!r} holds {column.dtype}, not numbers; cast it first or name another one"
        )
    if sizes:
        try:
            return sizes_or_raise(column).cast(pl.Float64)
        except SchemaError as error:
            raise SchemaError(f"{_place(frame, _first_wrong(column), name)}: {error}") from None
    numbers = column.cast(pl.Float64, strict=False)
    wrong = (numbers.is_null() & column.is_not_null()).arg_true()
    if len(wrong):
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise SchemaError(
            f"{_place(frame, wrong[0], name)}: {column[wrong[0]]!r} is no number{more}; correct it, or leave the cell "
            "empty"
        )
    return numbers


def _place(frame: pl.DataFrame, row: int, name: str) -> str:
    """Where a cell stands for who wants to mend it."""
    if FILE in frame.columns:
        return f"{frame[FILE][row]}, row {frame[ROW][row]} below the header, column {name!r}"
    return f"column {name!r}, row {frame[ROW][row] if ROW in frame.columns else row + 1}"


def _first_wrong(sizes: pl.Series) -> int:
    """The first row that is no size."""
    return next(row for row, text in enumerate(sizes) if text is not None and parse_size(text) is None)


def _runs(frame: pl.DataFrame, source: Source) -> pl.Series:
    """What each point belongs to: points of one run share what is special to it."""
    name = source.cluster or _find(frame, "run")
    if source.cluster is not None and source.cluster not in frame.columns:
        raise _absent("cluster", source.cluster, frame)
    if name is None:
        return pl.Series([None] * frame.height, dtype=pl.String)
    return frame[name].cast(pl.String)


def _scales(
    frame: pl.DataFrame, source: Source, inputs: Mapping[str, str], columns: Mapping[str, pl.Series]
) -> pl.Series:
    """The rung of each point: its number of parameters, or whatever the law is of."""
    if source.scale is not None:
        if _find(frame, source.scale) is None and source.scale not in DERIVED:
            raise _absent("scale", source.scale, frame)
        return input_column(frame, source.scale, [])
    names = list(inputs.values())
    index = next((i for i, name in enumerate(names) if name in ("params", "params_nonembedding")), 0)
    return columns[f"__x{index}"]


def _places(frame: pl.DataFrame) -> pl.Series:
    for name in ("tokens", "step"):
        found = _find(frame, name)
        if found is not None and frame[found].dtype.is_numeric() and frame[found].null_count() < frame.height:
            return frame[found].cast(pl.Float64)
    return pl.Series([None] * frame.height, dtype=pl.Float64)


def check_plausible(name: str, values: pl.Series) -> None:
    """Raise where a column of sizes says that it, or some of it, is in other units."""
    if name not in _PLAUSIBLE:
        return
    low, high, unit = _PLAUSIBLE[name]
    values = values.filter(values.is_finite() & (values > 0))
    if not len(values):
        return
    middle = float(np.median(values.to_numpy()))
    remedy = "pass check_units=False (--no-check-units) where it is right"
    if not low <= middle <= high:
        direction = "billions or millions" if middle < low else "other units"
        raise SchemaError(
            f"{name}: the middle value is {middle:g}, which looks like {direction}; the law needs single {unit}. "
            f"Scale the column first, or {remedy}"
        )
    odd = values.filter((values < low * _FAR_BELOW) | (values > high))
    if len(odd):
        raise SchemaError(
            f"{name}: {len(odd)} of {len(values)} values, such as {odd[0]:g}, do not go with the others (middle value "
            f"{middle:g}); is the unit mixed? Scale them first, or {remedy}"
        )
