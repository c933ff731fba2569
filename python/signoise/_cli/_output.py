"""Results on their way out: a table to a terminal, plain text to a pipe, a file by its extension, JSON."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from .._whole_file import write_whole
from ._printable import printable, printable_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import polars as pl

    from ._run import Session

DIGITS = 4
"""Significant digits wherever a person reads; files for programs and JSON hold all."""

TERMINAL_ROWS = 200
"""More rows than this only make a terminal scroll."""

NOTHING = "-"
"""An undefined value, where a cell must not be empty."""

#: Columns that a narrow terminal loses, first to last; then any others from the right.
_LOST_FIRST = (
    "source",
    "range_null",
    "range_p_value",
    "n_nan",
    "n_missing",
    "signal_low",
    "signal_high",
    "noise_low",
    "noise_high",
    "n_effective",
    "noise_absolute",
    "autocorrelation",
    "trend",
    "signal_excess",
    "variance_seed_unclipped",
    "variance_runs",
    "variance_seed_low",
    "variance_seed_high",
    "variance_step_low",
    "variance_step_high",
    "variance_generation",
    "variance_seed_item",
    "variance_step_item",
    "variance_item",
    "stderr_new_items",
    "unreachable",
    "variance_members",
    "share_members",
    "share_seed",
    "share_step",
    "solved_for",
    "confidence_level",
    "design_effect",
    "variance_samples_a",
    "variance_samples_b",
    "n_unmatched_a",
    "n_unmatched_b",
    "n_unmatched",
    "n_clusters",
    "variance_reduction",
    "correlation",
    "test",
    "p_value",
    "step_a",
    "step_b",
)
_LOST_LAST = (
    "mean",
    "noise",
    "signal",
    "need_items",
    "need_checkpoints",
    "need_seeds",
    "expected_accuracy",
    "mde",
    "power",
    "flags",
    "value",
    "status",
    "items",
    "checkpoints",
    "seeds",
    "p_adjusted",
    "difference",
    "verdict",
    "p_best",
    "rank_high",
    "rank_low",
    "rank",
)
_NEVER_LOST = ("run", "task", "subtask", "metric", "snr", "decision_accuracy")
#: Labels go after everything else; those that are needed to tell rows apart never.
_LABELS = ("weight", "stderr", "n", "flops", "tokens", "seed", "recipe", "params")


@dataclass(frozen=True)
class Result:
    """What a command has to show."""

    table: pl.DataFrame
    by: tuple[str, ...] = ()
    """Label columns that no terminal is too narrow for, beside the usual ones."""
    opening: Sequence[str] = ()
    """Sentences above the table, where a person reads it."""
    lines: Sequence[str] = ()
    """Sentences below the table; messages where the table goes to a program."""
    said: tuple[str, ...] = ()
    """Columns that `opening` spells out: they are in files, and not shown again to a person."""


def emit(session: Session, result: Result, *, output: Path | None, as_json: bool) -> None:
    """Show or write a result as the options ask."""
    session.progress.stop()
    table = result.table
    if output is not None:
        write(table, output)
        session.note(f"wrote {table.height} row{'s' * (table.height != 1)} to {output}")
    if as_json:
        sys.stdout.flush()
        out = sys.stdout.buffer
        write_json(table, out)
        out.flush()
    if output is not None or as_json:
        for line in result.lines:
            session.note(line)
    elif sys.stdout.isatty():
        _print_terminal(result)
    else:
        _print_plain(result)


# --- files ----------------------------------------------------------------------------------------


def write(table: pl.DataFrame, path: Path) -> None:
    """Write a table by the extension of its file: whole or not at all."""
    writer = EXTENSIONS[path.suffix.lower()]
    write_whole(path, lambda file: writer(table, file))


def write_json(table: pl.DataFrame, file: IO[bytes]) -> None:
    """A list of row objects, one a line; numbers at full precision, null for what is undefined."""
    import polars as pl
    import polars.selectors as cs

    finite = table.with_columns(pl.when(cs.float().is_finite()).then(cs.float()))
    if not finite.height or not finite.width:
        file.write(b"[]\n")
        return
    rows = (
        finite.write_ndjson().rstrip("\n").replace("\n", ",\n")
    )  # a line break inside a text is written as \n
    file.write(b"[\n" + rows.encode() + b"\n]\n")


def _write_csv(table: pl.DataFrame, file: IO[bytes]) -> None:
    from .._csv import write_csv

    write_csv(table, file)


def _write_parquet(table: pl.DataFrame, file: IO[bytes]) -> None:
    table.write_parquet(file)


def _write_markdown(table: pl.DataFrame, file: IO[bytes]) -> None:
    shown, signature = _without_signature(table)
    cells = _Cells(shown, nothing="")
    lines = [
        _markdown_row([_escape_markdown(printable(name)) for name in shown.columns]),
        _markdown_row(["---:" if number else "---" for number in cells.numeric]),
        *(_markdown_row([_escape_markdown(cell) for cell in row]) for row in cells.rows),
    ]
    if signature:
        lines += ["", f"`{signature}`"]
    file.write(("\n".join(lines) + "\n").encode())


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape_markdown(text: str) -> str:
    for special in ("\\", "|", "*", "`", "<", "&", "[", "]"):
        text = text.replace(special, f"\\{special}")
    return text


def _write_latex(table: pl.DataFrame, file: IO[bytes]) -> None:
    shown, signature = _without_signature(table)
    cells = _Cells(shown, nothing="--")
    lines = [
        "% needs \\usepackage{booktabs}",
        *([f"% {signature}"] if signature else []),
        f"\\begin{{tabular}}{{{''.join('r' if number else 'l' for number in cells.numeric)}}}",
        "\\toprule",
        _latex_row([_escape_latex(printable(name)) for name in shown.columns]),
        "\\midrule",
    ]
    for row in cells.rows:
        pairs = zip(row, cells.numeric, strict=True)
        lines.append(
            _latex_row([_latex_number(cell) if number else _escape_latex(cell) for cell, number in pairs])
        )
    lines += ["\\bottomrule", "\\end{tabular}"]
    file.write(("\n".join(lines) + "\n").encode())


def _latex_row(cells: Sequence[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{special: f"\\{special}" for special in "&%$#_{}"},
}


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


def _latex_number(text: str) -> str:
    mantissa, _, exponent = text.partition("e")
    if exponent:
        return f"${mantissa} \\times 10^{{{int(exponent)}}}$"
    return f"${text}$" if text.startswith("-") and text[1:2].isdigit() else text


#: Extension -> writer.
EXTENSIONS: dict[str, Callable[[pl.DataFrame, IO[bytes]], None]] = {
    ".csv": _write_csv,
    ".json": write_json,
    ".parquet": _write_parquet,
    ".md": _write_markdown,
    ".tex": _write_latex,
}


# --- cells ----------------------------------------------------------------------------------------


class _Cells:
    """A table as text for people."""

    def __init__(self, table: pl.DataFrame, nothing: str) -> None:
        from .._csv import flat

        cells = flat(table)
        self.numeric = [dtype.is_numeric() for dtype in cells.dtypes]
        columns = [[_cell(value, nothing) for value in cells[name].to_list()] for name in cells.columns]
        self.rows = list(zip(*columns, strict=True)) if columns else []


def _cell(value: Any, nothing: str) -> str:
    if value is None or value == "":
        return nothing
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, str):
        return printable(value)
    return str(value)


def number(value: float) -> str:
    """Four significant digits."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    text = f"{value:.{DIGITS}g}"
    return "0" if text == "-0" else text


def _without_signature(table: pl.DataFrame) -> tuple[pl.DataFrame, str | None]:
    """The signature is long; where all rows have the same one, it is said once."""
    if "signature" not in table.columns:
        return table, None
    distinct = table["signature"].unique()
    if len(distinct) > 1:
        return table, None
    text = distinct[0] if len(distinct) else None
    return table.drop("signature"), None if text is None else printable(text)


# --- stdout ---------------------------------------------------------------------------------------


def _print_plain(result: Result) -> None:
    """All rows and columns, aligned by spaces; no colour, no lines."""
    shown, signature = _without_signature(result.table.drop(result.said))
    cells = _Cells(shown, nothing=NOTHING)
    rows = [tuple(printable(name) for name in shown.columns), *cells.rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [*result.opening, ""] if result.opening else []
    for row in rows:
        parts = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, cells.numeric, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    if signature:
        lines += ["", f"signature: {signature}"]
    if result.lines:
        lines += ["", *result.lines]
    _echo(printable_lines("\n".join(lines)))


def _echo(text: str) -> None:
    """To stdout, whatever it can encode."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    click.echo(text.encode(encoding, "replace").decode(encoding))


def _print_terminal(result: Result) -> None:
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    shown, signature = _without_signature(result.table.drop(result.said))
    notes = []
    empty = [name for name in shown.columns if shown.height and shown[name].null_count() == shown.height]
    empty = [name for name in empty if name not in result.by]
    shown = shown.drop(empty)
    if empty:
        notes.append(f"without any value: {', '.join(empty)}")
    hidden_rows = max(0, shown.height - TERMINAL_ROWS)
    shown = shown.head(TERMINAL_ROWS)
    cells = _Cells(shown, nothing=NOTHING)
    widths = {
        name: max([cell_len(name), *(cell_len(row[i]) for row in cells.rows)])
        for i, name in enumerate(shown.columns)
    }
    kept = _fitting(widths, console.width, result.by)
    lost = len(shown.columns) - len(kept)
    more = [f"{hidden_rows} more rows"] * (hidden_rows > 0) + [f"{lost} more column{'s' * (lost != 1)}"] * (
        lost > 0
    )
    if more:
        notes.insert(0, f"{' and '.join(more)}: -o file.csv or --json shows all")

    for line in result.opening:
        console.print(Text(printable(line)))
    if result.opening:
        console.print()
    table = Table(
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold"
    )
    places = [i for i, name in enumerate(shown.columns) if name in kept]
    for i in places:
        table.add_column(
            Text(printable(shown.columns[i])),
            justify="right" if cells.numeric[i] else "left",
            overflow="fold",
        )
    for row in cells.rows:
        table.add_row(*(Text(row[i], style=_style(shown.columns[i], row[i])) for i in places))
    console.print(table)
    if signature or notes or result.lines:
        console.print()
    if signature:
        console.print(Text(f"signature: {signature}", style="dim"), soft_wrap=True)
    for note in notes:
        console.print(Text(printable(note), style="dim"), soft_wrap=True)
    for line in result.lines:
        console.print(Text(printable(line)))


def _fitting(widths: dict[str, int], width: int, by: Sequence[str]) -> list[str]:
    """Columns that fit a line, the least important ones left out."""
    safe = {*by, *_NEVER_LOST}
    candidates = [name for name in widths if name not in safe]
    ordinary = [name for name in candidates if name not in (*_LOST_FIRST, *_LABELS, *_LOST_LAST)]
    going = [
        *(name for name in _LOST_FIRST if name in candidates),
        *reversed(ordinary),
        *(name for name in _LABELS if name in candidates),
        *(name for name in _LOST_LAST if name in candidates),
    ]
    kept = list(widths)
    while going and sum(widths[name] + 2 for name in kept) - 2 > width:
        name = going.pop(0)
        # One limit of an interval without the other would be taken for more than it is.
        other = name.replace("low", "high") if "low" in name else name.replace("high", "low")
        for gone in {name, other} & set(kept):
            kept.remove(gone)
        going = [left for left in going if left != other]
    return kept


def _style(column: str, cell: str) -> str:
    if cell == NOTHING:
        return "dim"
    if column == "status":
        return "green" if cell == "ok" else "red"
    return "yellow" if column == "flags" else ""
