"""``signoise decisions``."""

from __future__ import annotations

from typing import Any

import click

from . import _options as option
from ._run import Command, Session
from ._source import run_verb

_COUNT = click.IntRange(min=1)


@click.command(
    cls=Command,
    examples=(
        'signoise decisions results/ --small "params = 150000000" --target "params = 1e9"',
        'signoise decisions scores.parquet --small "tokens <= 1e11" --target "tokens > 1e11" --match run',
    ),
)
@option.sources
@click.option("--small", metavar="SQL", required=True, help='Rows to decide at, e.g. "params = 150000000".')
@click.option("--target", metavar="SQL", required=True, help='Rows to decide for, e.g. "params = 1e9".')
@option.words_option("--match", "Columns that join the two sides.  [recipe where it is filled, else run]")
@option.where
@option.columns
@option.format
@option.by
@click.option(
    "--score",
    type=click.Choice(["final", "mean", "sample"]),
    help="Last checkpoint, window mean, or a random one of the window.  [final]",
)
@option.window
@click.option("--window-small", type=_COUNT, metavar="N", help="Window of the small side.")
@click.option("--window-target", type=_COUNT, metavar="N", help="Window of the target.")
@click.option(
    "--ties",
    type=click.Choice(["half", "drop", "zero", "compat"]),
    help="What a tied pair counts; compat: as the published code does.  [half]",
)
@click.option(
    "--pairs",
    type=click.Choice(["all", "weighted", "decidable"]),
    help="All pairs alike, by their difference at the target, or only those beyond its noise.  [all]",
)
@click.option(
    "--decidable-sd",
    type=click.FloatRange(min=0),
    metavar="X",
    help="Sds of noise that make a pair decidable.  [2]",
)
@option.direction
@option.order
@option.confidence_level
@option.autocorrelation
@option.instances
@option.groups
@option.duplicates
@option.writing
@option.running
@click.pass_obj
def decisions(session: Session, **options: Any) -> None:
    """Decision accuracy: does the order at small scale hold at the target?

    decision_accuracy is the share of pairs of members that both sides order alike (0.5 is chance), low and
    high bound it for other members like these, checkpoint_low and checkpoint_high for these at other
    checkpoints; expected is what to expect if the checkpoint noise were added once more; tau_a and tau_b are
    Kendall's.
    """
    run_verb(session, "decision_accuracy", options)
