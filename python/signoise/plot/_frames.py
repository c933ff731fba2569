"""From a verb's result to the rows of a figure: columns that must be there, names, and what cannot be drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl
import polars.selectors as cs

from .._errors import InsufficientDataError, SchemaError
from .._schema import SCORE_IDENTITY, did_you_mean
from ._altair import altair

LONGEST = 34
"""Letters of a name in a figure; the middle of longer ones is left out."""


def frame_of(table: Any, figure: str, verb: str, columns: Iterable[str]) -> pl.DataFrame:
    """Take a result of `verb` that has these columns."""
    if isinstance(table, pl.LazyFrame):
        table = table.collect()
    if not isinstance(table, pl.DataFrame):
        raise SchemaError(
            f"{figure} draws a result of {verb}, a Polars DataFrame; found {type(table).__name__}"
        )
    for name in columns:
        if name not in table.columns:
            raise SchemaError(
                f"{figure} needs the column {name!r}{did_you_mean(name, table.columns)}, which results of {verb} have; "
                f"this table has {', '.join(table.columns) or 'none'}"
            )
    return table


def drawable(
    table: pl.DataFrame, figure: str, columns: Sequence[str], *, positive: Sequence[str] = ()
) -> pl.DataFrame:
    """Keep the rows whose numbers can be drawn: nulls are left out, never drawn as 0, as is what has no logarithm."""
    keep = pl.all_horizontal(
        *(pl.col(name).cast(pl.Float64).is_finite().fill_null(value=False) for name in columns),
        *(pl.col(name).gt(0).fill_null(value=False) for name in positive),
    )
    kept = table.filter(keep)
    if not kept.height:
        reasons = _reasons(table)
        raise InsufficientDataError(
            f"{figure}: none of {table.height} rows has {' and '.join(columns)} to draw{reasons}"
        )
    return kept


def _reasons(table: pl.DataFrame) -> str:
    if "status" not in table.columns or not table.height:
        return ""
    counts = table["status"].fill_null("no status").value_counts(sort=True).rows()
    return f" (status: {', '.join(f'{count} {status}' for status, count in counts)})"


def undrawn(all_rows: pl.DataFrame, kept: pl.DataFrame, *, what: str = "benchmark") -> str:
    """Say in a line what a figure leaves out, and why; empty if nothing."""
    if kept.height == all_rows.height:
        return ""
    missing = all_rows.join(kept, on="label", how="anti")
    names = missing["label"].unique(maintain_order=True).to_list()
    if not names:
        return ""
    shown = ", ".join(shorten(name, 24) for name in names[:3]) + (", .." if len(names) > 3 else "")
    return f"not drawn, for want of a number: {len(names)} {what}{'s' * (len(names) != 1)} ({shown})"


def labelled(table: pl.DataFrame, *, more: Sequence[str] = (), without: Sequence[str] = ()) -> pl.DataFrame:
    """Add ``label``, the shortest name that tells the rows' benchmarks apart."""
    keys = [
        name
        for name in dict.fromkeys((*SCORE_IDENTITY, *more))
        if name in table.columns and name not in without
    ]
    if not keys:
        raise SchemaError(
            f"a figure names its rows by one of {', '.join(SCORE_IDENTITY)}; the table has none of them"
        )
    first = "task" if "task" in keys else keys[0]
    distinct = table.select(keys).unique()
    used = [first]
    for name in keys:
        if distinct.select(used).n_unique() == distinct.height:
            break
        if name not in used and distinct.select(*used, name).n_unique() > distinct.select(used).n_unique():
            used.append(name)
    label = pl.concat_str([_words(name) for name in used], separator=" · ", ignore_nulls=True)
    return table.with_columns(label.map_elements(printable, return_dtype=pl.String).alias("label"))


def _words(name: str) -> pl.Expr:
    return (
        pl.col(name).map_elements(size, return_dtype=pl.String)
        if name == "params"
        else pl.col(name).cast(pl.String)
    )


def printable(text: str) -> str:
    """A name without letters that steer what shows it."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def shorten(text: str, longest: int = LONGEST) -> str:
    """A name of at most so many letters."""
    if len(text) <= longest:
        return text
    tail = (longest - 2) // 2
    return f"{text[: longest - 2 - tail]}..{text[-tail:]}"


def short_names(names: Sequence[str], longest: int = LONGEST) -> dict[str, str]:
    """Each name shortened; two that would become one are numbered.

    Examples
    --------
    >>> short_names(["abcdefgh", "abcxxfgh", "b"], 6)
    {'abcdefgh': 'ab..gh', 'abcxxfgh': 'ab..gh (2)', 'b': 'b'}
    """
    found: dict[str, str] = {}
    used: set[str] = set()
    for name in dict.fromkeys(names):
        short = first = shorten(printable(name), longest)
        count = 1
        while short in used:
            count += 1
            short = f"{first} ({count})"
        used.add(short)
        found[name] = short
    return found


def one_group(table: pl.DataFrame, figure: str, *, without: Sequence[str] = ()) -> str:
    """The name of the only benchmark of a table; an error where there are several."""
    names = (
        labelled(table, without=without)["label"].unique(maintain_order=True).to_list()
        if table.height
        else []
    )
    if len(names) != 1:
        found = ", ".join(names[:3]) + (", .." if len(names) > 3 else "")
        raise SchemaError(
            f"{figure} draws one benchmark; found {len(names)}{f' ({found})' if names else ''}: "
            "choose one with table.filter(task=..., metric=...)"
        )
    return names[0]


def inline(table: pl.DataFrame) -> Any:
    """Rows inside the chart, as text: no limit on their number, and Altair need not walk through them.

    Numbers that JSON does not have are null, lists are text.
    """
    flat = table.drop("signature", strict=False).with_columns(
        pl.col(name).cast(pl.List(pl.String)).list.join(";")
        for name, dtype in table.schema.items()
        if isinstance(dtype, pl.List)
    )
    flat = flat.with_columns(pl.when(cs.float().is_finite()).then(cs.float()))
    alt = altair()
    return alt.InlineData(values=flat.write_json(), format=alt.JsonDataFormat(type="json"))


def ends(table: pl.DataFrame, column: str) -> tuple[float, float]:
    """The smallest and the largest value of a column without nulls."""
    low, high = table.select(low=pl.col(column).min(), high=pl.col(column).max()).row(0)
    return float(low), float(high)


def number(value: float | None, digits: int = 3) -> str:
    """A number in a sentence."""
    return "undefined" if value is None else f"{value:.{digits}g}"


def size(params: float) -> str:
    """A number of parameters or tokens as people write it."""
    for unit, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if params >= unit:
            return f"{params / unit:.3g}{letter}"
    return f"{params:.3g}"


def log_domain(low: float, high: float, *, room: float = 0.08) -> tuple[float, float]:
    """Limits of a logarithmic axis around these values, with some room."""
    span = max(math.log10(high / low), 0.3) * room
    return 10 ** (math.log10(low) - span), 10 ** (math.log10(high) + span)
