"""``signoise metrics``."""

from __future__ import annotations

from typing import Any

import click

from . import _options as option
from ._run import Command, Session
from ._source import check_known, run_verb


@click.command(
    cls=Command,
    examples=(
        "signoise metrics results/ --by task --window 10",
        'signoise metrics results/ --small "params = 150000000" --target "params = 1e9" --primary acc_norm '
        "-o metrics.csv",
        'signoise metrics results/ --choose --small "params = 150000000" --target "params = 1e9"',
    ),
)
@option.sources
@click.option(
    "--choose", is_flag=True, help="The best metric of each task, and its gain on runs it was not chosen on."
)
@click.option(
    "--metric", "metrics", multiple=True, metavar="NAMES", callback=option.words, help="To compare.  [all]"
)
@option.primary
@click.option("--small", metavar="SQL", help="Rows to decide at; signal and noise are theirs.  [all rows]")
@click.option("--target", metavar="SQL", help='Rows to decide for, e.g. "params = 1e9".')
@option.words_option("--match", "What a member is.  [recipe where it is filled and --target given, else run]")
@option.where
@option.columns
@option.format
@click.option(
    "--by",
    multiple=True,
    metavar="COLUMNS",
    callback=option.words,
    help="Columns of the key beside the metric.  [task]",
)
@click.option("--score", type=click.Choice(["final", "mean"]), help="What decides.  [final]")
@option.window
@click.option(
    "--ties", type=click.Choice(["half", "drop", "zero", "compat"]), help="What a tied pair counts.  [half]"
)
@click.option("--ladder-train", metavar="SQL", help='Runs to learn a law from, e.g. "params < 1e9".')
@click.option("--ladder-target", metavar="SQL", help="Runs to predict by it.")
@click.option(
    "--choices/--no-choices",
    default=None,
    help="Compute metrics from the log-likelihoods of choices in dumps.  [choices]",
)
@click.option(
    "--n-splits", type=click.IntRange(min=1), metavar="N", help="Random halves, for --choose.  [20]"
)
@option.direction
@option.order
@option.confidence_level
@option.rng_seed
@option.groups
@option.duplicates
@option.writing
@option.running
@click.pass_obj
def metrics(session: Session, *, choose: bool, **options: Any) -> None:
    """Which metric of a task separates models, wobbles least and decides best?

    decision_accuracy is that of a metric at small scale for the primary metric at the target, difference what
    that is above the primary metric's own; snr_gain the logarithm of the ratio of the SNRs; both with limits
    over members. best_in_sample is selected on these data: it looks better than it is. With --choose a row for
    each task: the metric that half of the members choose, and its gain on the other half.
    """
    verb = "choose_metric" if choose else "compare_metrics"
    check_known(verb, options, "with --choose" if choose else "without --choose")
    run_verb(session, verb, options, by=("task", "metric"), whole=False, spooled=False)
