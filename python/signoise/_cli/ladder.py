"""``signoise ladder``."""

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
        'signoise ladder results/ --train "params < 3e9" --target "params = 7e9" --outcome bits_per_byte',
        'signoise ladder scores.parquet --train "params < 3e9" --target "params > 5e9" '
        "--intermediate bits_per_byte --outcome acc -o ladder.csv",
    ),
)
@option.sources
@click.option("--train", metavar="SQL", required=True, help='Rows to learn from, e.g. "params < 3e9".')
@click.option("--target", metavar="SQL", required=True, help='Rows to predict, e.g. "params = 7e9".')
@click.option(
    "--intermediate", metavar="METRIC", help="A loss that scale foretells, and that foretells --outcome."
)
@click.option(
    "--outcome", metavar="METRIC", help="What is predicted in the end.  [every metric, in one step]"
)
@click.option("--step1", metavar="LAW", help="Law of scale.  [ladder_loss, ladder_accuracy, or their _flops]")
@click.option("--step2", metavar="LAW", help="Law of the outcome given the loss.  [ladder_sigmoid]")
@option.words_option("--x", "Columns of the inputs of --step1, in its order.  [those of their names]")
@option.where
@option.columns
@option.format
@option.by
@option.window
@click.option(
    "--skip",
    type=click.FloatRange(0, 1, max_open=True),
    metavar="SHARE",
    help="Of each run, left out of the second step.  [0.1]",
)
@click.option(
    "--smoothing", type=_COUNT, metavar="N", help="Trailing mean of checkpoints for the second step.  [5]"
)
@click.option(
    "--helper/--no-helper",
    default=None,
    help="Add to the second step that without loss all is right.  [for ladder_sigmoid]",
)
@option.chance
@click.option(
    "--interval",
    type=click.Choice(["jackknife", "bootstrap", "none"]),
    help="Over runs, through both steps.  [jackknife]",
)
@click.option("--last", type=_COUNT, metavar="N", help="Last checkpoints that refits choose from.  [6]")
@option.n_resamples
@option.rng_seed
@click.option(
    "--noise-window",
    type=click.IntRange(min=2),
    metavar="N",
    help="Last checkpoints that tell a target's noise.  [30]",
)
@click.option(
    "--noise-margin",
    type=click.Choice(["effective", "compat"]),
    help="By the effective number of checkpoints, or as published.  [effective]",
)
@option.confidence_level
@option.order
@option.groups
@option.duplicates
@click.option(
    "--check-units/--no-check-units",
    default=None,
    help="Refuse params and tokens in millions or billions.  [check]",
)
@option.writing
@option.running
@click.pass_obj
def ladder(session: Session, **options: Any) -> None:
    """Prediction error: can the scores of large runs be foretold from small ones?

    relative_error is signed, prediction_error its size; low and high bound the curve, prediction_low and
    prediction_high a new run, checkpoint_low and checkpoint_high what random checkpoints of the training runs
    make of it, rung_low and rung_high what leaving out one size does. target_noise is that of the target.
    """
    run_verb(session, "prediction_error", options, by=("task", "metric", "run"))
