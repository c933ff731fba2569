"""The benchmark table: sorted by buttons, filtered by name and verdict, readable without either."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

from ._markup import Markup, join, tag, text
from ._verdicts import NO, UNKNOWN, YES, Verdicts

_MARKS = {YES: "✓", NO: "✗", UNKNOWN: "?"}
_CLASSES = {YES: "yes", NO: "no", UNKNOWN: "unknown"}


@dataclass(frozen=True)
class _Column:
    """A column of the page: its heading, what a pointer is told, and what a cell sorts by and shows."""

    heading: str
    hint: str
    sort: str
    show: Callable[[dict[str, Any]], Any]
    number: bool = True


def number(value: float | None) -> str:
    """Three significant digits; nothing for what is undefined."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return str(value)
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _plain(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda row: number(row[name])


def _with_limits(name: str, low: str, high: str) -> Callable[[dict[str, Any]], Any]:
    def show(row: dict[str, Any]) -> Any:
        if row[name] is None or row.get(low) is None or row.get(high) is None:
            return number(row[name])
        return Markup(f"{number(row[name])} <small>{number(row[low])} to {number(row[high])}</small>")

    return show


def _columns(table: pl.DataFrame) -> list[_Column]:
    found = [
        _Column("Benchmark", "what the scores are of", "name", lambda row: row["name"], number=False),
        _Column("Separates", "is the range of the models more than noise", "verdict", _verdict, number=False),
        _Column(
            "SNR",
            "signal over noise, over all runs, with its interval",
            "snr",
            _with_limits("snr", "snr_low", "snr_high"),
        ),
        _Column(
            "SNR in scale",
            "median over sizes of the SNR among runs of equal size",
            "snr_within_scale",
            _plain("snr_within_scale"),
        ),
        _Column(
            "Decisions",
            "decision accuracy: share of pairs in the target's order, with limits over members",
            "decision_accuracy",
            _with_limits("decision_accuracy", "decision_low", "decision_high"),
        ),
        _Column(
            "Prediction error",
            "relative error of the largest runs' foretold scores",
            "prediction_error",
            _plain("prediction_error"),
        ),
        _Column(
            "Monotonicity", "mean Kendall tau of the learning curves", "monotonicity", _plain("monotonicity")
        ),
        _Column("Mean", "mean score", "mean", _plain("mean")),
        _Column("Signal", "range of the runs over their mean", "signal", _plain("signal")),
        _Column("Noise", "standard deviation between checkpoints over the mean", "noise", _plain("noise")),
        _Column("Runs", "runs with a score", "n_runs", lambda row: row["n_runs"]),
        _Column("Remarks", "status and flags", "remarks", lambda row: row["remarks"], number=False),
    ]
    return [column for column in found if column.sort in table.columns]


def _verdict(row: dict[str, Any]) -> Markup:
    word = row["verdict"]
    mark = f'<span class="mark {_CLASSES[word]}" aria-hidden="true">{_MARKS[word]}</span>'
    reason = f'<small class="reason">{text(row["reason"])}</small>' if row["reason"] else ""
    return Markup(f"{mark} {word}{reason}")


def table_section(judged: Verdicts, names: pl.Series) -> Markup:
    """The filters and the table."""
    remarks = pl.concat_list(
        pl.when(pl.col("status") != "ok")
        .then(pl.concat_list("status"))
        .otherwise(pl.lit([], dtype=pl.List(pl.String))),
        "flags",
    )
    table = judged.table.with_columns(
        names.alias("name"), remarks.list.unique(maintain_order=True).list.join(", ").alias("remarks")
    )
    columns = _columns(table)
    rows = [_row(row, columns) for row in table.iter_rows(named=True)]
    head = tag("tr", *(_heading(column, i) for i, column in enumerate(columns)))
    caption = tag(
        "caption",
        "Benchmarks, highest signal-to-noise ratio first. Small print: 95 % intervals, if not said otherwise.",
    )
    shown = tag("table", caption, tag("thead", head), tag("tbody", *rows), id="benchmarks")
    return join(
        _controls(table),
        tag("div", shown, class_="scroll", tabindex="0", role="region", aria_label="Benchmark table"),
    )


def _heading(column: _Column, index: int) -> Markup:
    button = tag(
        "button",
        column.heading,
        tag("span", "", class_="arrow", aria_hidden="true"),
        type="button",
        data_column=index,
    )
    started = "descending" if column.sort == "snr" else "none"
    return tag(
        "th",
        button,
        scope="col",
        class_="number" if column.number else None,
        aria_sort=started,
        title=column.hint,
    )


def _row(row: dict[str, Any], columns: list[_Column]) -> Markup:
    cells = []
    for i, column in enumerate(columns):
        kind = ' class="number"' if column.number else ""
        if column.number:
            value = row[column.sort]
            kind += f' data-sort="{"" if value is None else repr(value)}"'
        start, end = ('<th scope="row"', "</th>") if i == 0 else ("<td", "</td>")
        cells.append(f"{start}{kind}>{text(column.show(row))}{end}")
    return Markup(f'<tr data-verdict="{_CLASSES[row["verdict"]]}">{"".join(cells)}</tr>')


def _controls(table: pl.DataFrame) -> Markup:
    counts = {word: table.filter(verdict=word).height for word in (YES, NO, UNKNOWN)}
    options = [tag("option", f"all ({table.height})", value="")]
    options += [
        tag("option", f"{word} ({count})", value=_CLASSES[word]) for word, count in counts.items() if count
    ]
    return tag(
        "div",
        tag(
            "label",
            "Find ",
            tag("input", type="search", id="find", placeholder="name or remark", autocomplete="off"),
        ),
        tag("label", "Show ", tag("select", *options, id="show")),
        tag("output", f"{table.height} rows", id="count", aria_live="polite"),
        tag(
            "button",
            "Download CSV",
            type="button",
            class_="download",
            data_csv="csv-benchmarks",
            data_file="benchmarks.csv",
        ),
        class_="controls",
    )
