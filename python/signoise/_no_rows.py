"""What to say of a filter that no row satisfies: the values that are there, the nearest first."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

import polars as pl

from ._schema import as_expression

#: Values that a message lists of a column, and columns that it speaks of.
_VALUES, _COLUMNS = 5, 3


class NoRowsLeft(Exception):
    """Some rows were to be chosen among none; `rows_of` says why there are none."""


def no_rows_left(
    where: pl.Expr | str | None,
    metrics: Sequence[str] | None,
    table: pl.DataFrame | pl.LazyFrame | None = None,
) -> str:
    """The message where filters leave nothing of a table, which tells what is there if it is given."""
    text = "no rows are left"
    filters: list[pl.Expr | str] = []
    if metrics is not None:
        text += f" of metric {', '.join(metrics)}"
        filters.append(pl.col("metric").is_in(list(metrics)))
    if where is not None:
        text += f" after where={where!s}"
        filters.append(where)
    if not filters:
        return text
    if table is None:
        return f"{text}; look at the values of {'metric' if where is None else 'its columns'}"
    # With two filters, the first that leaves nothing by itself.
    alone = [
        one
        for one in filters
        if not table.lazy().filter(as_expression(one, "where")).limit(1).collect().height
    ]
    return f"{text}: {what_is_there((alone or filters)[0], table)}"


def no_row_satisfies(name: str, filters: pl.Expr | str | None, table: pl.DataFrame) -> str:
    """The message for an argument that selects no row of a table."""
    there = "the table has none" if filters is None else what_is_there(filters, table)
    return f"{name}: no row satisfies {filters!s}: {there}"


def what_is_there(filters: pl.Expr | str, table: pl.DataFrame | pl.LazyFrame) -> str:
    """A clause on the columns of a filter that no row of a table satisfies.

    ``task has no 'lambada'; did you mean 'lambada_openai'?`` where a text of the filter is nearly a value, else what
    the columns hold: ``params has 12 values: 70426624, 162322944, .. 12000000000``.
    """
    names = list(dict.fromkeys(as_expression(filters, "where").meta.root_names()))[:_COLUMNS]
    texts = _texts(filters, names)
    distinct = [table.lazy().select(pl.col(name).unique().sort()).collect()[name] for name in names]
    for values in distinct:
        if values.dtype != pl.String:
            continue
        known = values.drop_nulls().to_list()
        for text in texts:
            near = [] if text in known else difflib.get_close_matches(text, known, n=1, cutoff=0.6)
            if near:
                return f"{values.name} has no {text!r}; did you mean {near[0]!r}?"
    return "; ".join(_held(values) for values in distinct)


def _texts(filters: pl.Expr | str, names: list[str]) -> list[str]:
    """Texts in a filter that are no names of columns."""
    if isinstance(filters, str):
        found = [text.replace("''", "'") for text in re.findall(r"'((?:[^']|'')*)'", filters)]
    else:
        found = re.findall(r'"([^"]*)"', str(filters))
    return [text for text in found if text and text not in names]


def _held(values: pl.Series) -> str:
    """What a column holds, in a few words."""
    known = values.drop_nulls()
    if not len(known):
        return f"{values.name} is null everywhere"
    if not (values.dtype.is_numeric() or values.dtype in (pl.String, pl.Boolean)):
        return f"{values.name} is a column of {values.dtype}"
    shown = [
        f"{value:.15g}" if isinstance(value, float) else str(value) for value in known[:_VALUES].to_list()
    ]
    if len(known) == 1:
        return f"{values.name} is {shown[0]} everywhere"
    if len(known) <= _VALUES:
        return f"{values.name} is {', '.join(shown[:-1])} or {shown[-1]}"
    return f"{values.name} has {len(known)} values: {', '.join(shown[:-1])}, .. {known[-1]}"
