"""``signoise variance``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from . import _options as option
from ._run import Command, Session
from ._source import run_verb
from .power import list_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl


@click.command(
    cls=Command,
    examples=(
        'signoise variance results/ --where "params = 150000000"',
        "signoise variance scores.parquet --seeds 1,3,5 --checkpoints 1,5 --items 500,2000 -o budget.csv",
    ),
)
@option.reading
@option.by
@option.words_option("--across", "What a member is; its runs differ by their seed.  [recipe, else run]")
@option.order
@option.window
@click.option(
    "--noise",
    type=click.Choice(["within", "detrended"]),
    help="Checkpoints about their mean or line.  [within]",
)
@option.autocorrelation
@click.option(
    "--instances/--no-instances", default=None, help="Use instance rows where there are any.  [yes]"
)
@list_option("--seeds", "Budget: runs of a member averaged.  [1]", int)
@list_option("--checkpoints", "Budget: checkpoints of a run averaged.  [1]", int)
@list_option("--items", "Budget: instances.  [those at hand]", int)
@click.option(
    "--accuracy",
    type=click.FloatRange(0.5, 1, min_open=True, max_open=True),
    metavar="X",
    help="Goal of the need_ columns: chance that two members are ordered rightly.  [0.95]",
)
@click.option("--mde", type=float, metavar="X", help="Goal instead: a difference to detect, score units.")
@click.option(
    "--power",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="X",
    help="Of the detectable difference.  [0.8]",
)
@option.confidence_level
@option.groups
@option.duplicates
@option.writing
@option.running
@click.pass_obj
def variance(session: Session, **options: Any) -> None:
    """What a score varies with: seeds, checkpoints, instances; and what a budget of them buys.

    stderr is the error of a member's score with that budget, mde the difference it can detect, reliability
    the share of true differences in the ranking, expected_accuracy the chance that two members are ordered
    rightly. need_seeds, need_checkpoints and need_items reach the goal, each alone. Flag no_seeds: the
    variance between training seeds is unknown and taken as 0.
    """

    def said(table: pl.DataFrame) -> Sequence[str]:
        from .._variance_needs import in_words

        return in_words(table, accuracy=options["accuracy"], mde=options["mde"], power=options["power"])

    run_verb(session, "variance", options, lines=said)
