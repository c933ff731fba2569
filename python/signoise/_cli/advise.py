"""``signoise advise``."""

from __future__ import annotations

from typing import Any

import click

from . import _options as option
from ._run import Command, Session
from ._source import given_scores, split


@click.command(
    cls=Command,
    examples=(
        "signoise advise results/",
        'signoise advise results/ --small "params = 150000000" --target "params = 1e9" -o advice.md',
        "signoise advise scores.parquet --group mmlu='mmlu_*' --per question -o evidence.csv",
    ),
)
@option.reading
@click.option(
    "--per",
    type=click.Choice(["advice", "question"]),
    help="What to act upon, or everything that was asked.  [advice]",
)
@option.primary
@option.filter_option("--small", "Rows to decide at.  [a size well below the largest, else early training]")
@option.filter_option("--target", "Rows to decide for.  [the largest size, else the end of training]")
@option.words_option("--match", "What joins the two.  [recipe where it is filled, else run]")
@option.across
@click.option("--score", type=click.Choice(["final", "mean"]), help="What decides.  [final]")
@option.window
@click.option(
    "--useful",
    type=float,
    metavar="X",
    help="Accuracy that a benchmark must at least be able to have.  [0.8]",
)
@click.option("--instances/--no-instances", default=None, help="Use instance rows.  [instances]")
@click.option(
    "--choices/--no-choices",
    default=None,
    help="Compute metrics from the log-likelihoods of choices in dumps.  [choices]",
)
@click.option("--n-splits", type=click.IntRange(min=2), metavar="N", help="Random halves.  [20]")
@option.direction
@option.order
@option.confidence_level
@option.rng_seed
@option.groups
@option.duplicates
@option.writing
@option.running
@click.pass_obj
def advise(session: Session, **options: Any) -> None:
    """What to do about these benchmarks: drop, keep, another metric, averages, more or fewer instances.

    Ranked sentences, each with the effect where it was not chosen, its interval and what it costs. There is
    no advice where the interval includes no effect; --per question shows everything that was asked.
    """
    import signoise

    from .._interventions._advice_words import headline, in_words, questions, scales
    from ._output import Result, emit
    from ._run import in_options

    reading, writing, given = split(options)
    if ("small" in given) != ("target" in given):
        raise click.UsageError("--small and --target go together: give both, or neither")
    per = given.pop("per", "advice")
    with given_scores(session, reading, given, whole=False, spooled=False) as scores:
        session.progress.say("asking")
        table = signoise.advise(scores, per="question", **given)
    result = Result(
        table if per == "question" else table.filter(table["rank"].is_not_null()),
        by=("task", "action", "choice"),
        opening=[headline(table), *in_words(table)],
        lines=[in_options(line) for line in (scales(table), *questions(table))],
        said=("advice", "evidence"),
    )
    emit(session, result, **writing)
