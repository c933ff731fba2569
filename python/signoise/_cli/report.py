"""``signoise report``."""

from __future__ import annotations

from typing import Any

import click

from . import _options as option
from ._run import Command, Session
from ._source import open_sources, split


@click.command(
    cls=Command,
    examples=(
        "signoise report results/",
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
@option.writing
@option.running
@click.pass_obj
def report(session: Session, **options: Any) -> None:
    """Which benchmarks to trust: one row a benchmark, best signal-to-noise ratio first.

    snr is over all runs, snr_within_scale among runs of equal size; decision_accuracy is the share of pairs
    that a small scale orders as the target does; prediction_error how far the largest size lies from what a law
    of scale makes of the smaller ones; monotonicity that of the learning curves. The sentences below the table
    say which rows each number uses, and what was read and left out.
    """
    from .._errors import DroppedRowsWarning
    from .._report import make_report
    from ._output import Result, emit
    from ._run import in_options

    reading, writing, given = split(options)
    if ("small" in given) != ("target" in given):
        raise click.UsageError("--small and --target go together: give both, or neither")
    strict = given.get("strict", False)
    opened = open_sources(session, **reading, strict=strict, warn=strict)
    if opened.columns is not None:
        given["columns"] = opened.columns
    made = make_report(opened.frame, **given, progress=session.progress.say)
    for warning in made.warnings:
        if strict and isinstance(warning, DroppedRowsWarning):
            raise warning
        session.warn(str(warning))
    # Files were read here, so the report knows of rows alone; a store it knows itself.
    read = dict.fromkeys((*opened.report.summary(), *made.reading))
    lines = [made.headline, *made.populations, *read]
    emit(session, Result(made.table, lines=[in_options(line) for line in lines]), **writing)
