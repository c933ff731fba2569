"""``signoise report``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import _options as option
from ._printable import printable
from ._run import Command, Session
from ._source import open_sources, split

if TYPE_CHECKING:
    from .._report import Report


@click.command(
    cls=Command,
    examples=(
        "signoise report results/",
        "signoise report results/ --html report.html",
        "signoise report scores.parquet --where \"metric = 'acc'\" --group mmlu='mmlu_*' -o report.md",
    ),
)
@option.reading
@option.window
@option.filter_option("--small", "Small side of the decision accuracy.  [a size well below the largest]")
@option.filter_option("--target", "Target of the decision accuracy.  [the largest size]")
@option.direction
@option.confidence_level
@option.groups
@option.chance
@option.page
@option.writing
@option.running
@click.pass_obj
def report(session: Session, **options: Any) -> None:
    """Which benchmarks to trust: one row a benchmark, best signal-to-noise ratio first.

    snr is over all runs, snr_within_scale among runs of equal size; decision_accuracy is the share of pairs
    that a small scale orders as the target does; prediction_error how far the largest size lies from what a law
    of scale makes of the smaller ones; monotonicity that of the learning curves. The sentences below the table
    say which rows each number uses, and what was read and left out. --html writes all that with figures into one
    file that needs no network (pip install 'signoise[report]').
    """
    from .._errors import DroppedRowsWarning
    from .._report import make_report
    from ._output import Result, emit
    from ._run import in_options

    html = options.pop("html")
    reading, writing, given = split(options)
    if ("small" in given) != ("target" in given):
        raise click.UsageError("--small and --target go together: give both, or neither")
    strict = given.get("strict", False)
    opened = open_sources(session, **reading, strict=strict, warn=strict)
    if opened.columns is not None:
        given["columns"] = opened.columns

    def make() -> Report:
        made = make_report(opened.frame, **given, progress=session.progress.say)
        # Files were read here, so the report knows of rows alone; a store it knows itself.
        read = dict.fromkeys((*opened.report.summary(), *made.reading))
        return replace(made, reading=[in_options(line) for line in read])

    made = make() if html is None else _write(html, make)
    for warning in made.warnings:
        if strict and isinstance(warning, DroppedRowsWarning):
            raise warning
        session.warn(str(warning))
    lines = [made.headline, *made.populations, *made.reading]
    if html is not None:
        session.note(f"wrote the report to {html}")
    if html is None or writing["output"] is not None or writing["as_json"]:
        emit(session, Result(made.table, lines=[in_options(line) for line in lines]), **writing)
    else:
        click.echo(printable(in_options(made.headline)))


def _write(html: Path, make: Callable[[], Report]) -> Report:
    """The page, with the command that makes it again."""
    from .._html import write_page

    return write_page(html, make, command=" ".join(["signoise", *map(_quoted, sys.argv[1:])]))


def _quoted(word: str) -> str:
    """A word for a shell: in double quotes where these change nothing, as predicates hold single ones.

    Examples
    --------
    >>> print(_quoted("metric = 'acc'"), _quoted("$HOME"), _quoted("--where"))
    "metric = 'acc'" '$HOME' --where
    """
    plain = shlex.quote(word)
    return plain if plain == word or set(word) & set('"$`\\!') else f'"{word}"'
