"""``signoise roll-up`` and ``signoise aggregate``."""

from __future__ import annotations

from typing import Any

import click

from . import _options as option
from ._run import Command, Session
from ._source import run_verb


@click.command(
    name="roll-up",
    cls=Command,
    examples=(
        "signoise roll-up results/ --to task -o tasks.parquet",
        "signoise roll-up scores.parquet --to suite --where \"metric = 'acc'\"",
    ),
)
@option.reading
@click.option(
    "--to", type=click.Choice(["task", "suite"]), help="Subtasks to tasks, or all tasks to one.  [task]"
)
@click.option(
    "--how",
    type=click.Choice(["macro", "micro"]),
    help="Unweighted mean of the parts, or weighted by their instances.  [macro]",
)
@click.option("--suite", metavar="NAME", help="Name of the suite's row.  [suite]")
@option.groups
@option.duplicates
@option.writing
@option.running
@click.pass_obj
def roll_up(session: Session, **options: Any) -> None:
    """The score table one level up: subtasks become their task, or tasks one suite.

    The columns are those of the score table; rolled_up says what each value is the mean of.
    """
    run_verb(session, "roll_up", options)


@click.command(
    cls=Command,
    examples=(
        "signoise aggregate instances.parquet",
        "signoise aggregate instances.parquet --by run,task -o moments.csv",
        "signoise aggregate lm_eval_output/ --metrics acc,acc_norm",
        "signoise aggregate dumps/ --engine ray -o moments.parquet",
    ),
)
@option.reading
@click.option(
    "--by",
    multiple=True,
    metavar="COLUMNS",
    callback=option.words,
    help="One row for each value of these.  [run,step,task,metric]",
)
@option.metrics
@option.duplicates
@option.engine
@option.writing
@option.running
@click.pass_obj
def aggregate(session: Session, **options: Any) -> None:
    """Moments over instances: count, mean, variance, extremes.

    n counts instances with a score, repeats averaged first; variance has divisor n - 1. Results without
    instances count as one instance a row. Dumps of harnesses are read a few files at a time.
    """
    run_verb(session, "aggregate", options, whole=False)
