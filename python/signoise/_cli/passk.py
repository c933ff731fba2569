"""``signoise passk``."""

from __future__ import annotations

from typing import Any

import click

from . import _options as option
from ._run import Command, Session
from ._source import run_verb
from .power import list_option

_BY = ("task", "metric", "k")


@click.command(
    cls=Command,
    examples=(
        "signoise passk humaneval_eval_results.json --k 1,5,10",
        "signoise passk samples.parquet --k 8 --success all --by task,temperature -o passk.csv",
        "signoise passk samples.parquet --k 1,10,1000 --extrapolate",
    ),
)
@option.reading
@list_option("--k", "Numbers of tries.  [1]", int)
@click.option(
    "--estimator",
    type=click.Choice(["unbiased", "plug_in", "compat"]),
    help="Over all subsets of k samples; 1-(1-c/n)^k; or 1 where fewer than k samples are wrong.  [unbiased]",
)
@click.option(
    "--success",
    type=click.Choice(["any", "all"]),
    help="pass@k: any of k tries is right; pass^k: all of them are.  [any]",
)
@click.option(
    "--extrapolate",
    is_flag=True,
    default=None,
    help="Where samples are fewer than k: what three distributions of success probabilities expect.",
)
@option.by
@option.order
@option.cluster
@option.rng_seed
@click.option(
    "--n-resamples",
    type=click.IntRange(min=2),
    metavar="N",
    help="Draws of the instances for the interval.  [10000]",
)
@option.confidence_level
@option.duplicates
@option.writing
@option.running
@click.pass_obj
def passk(session: Session, **options: Any) -> None:
    """How often k tries at an instance succeed: pass@k, averaged over instances, with its interval.

    SOURCE holds instances with repeats (generations, epochs), or a row for each instance with its numbers of
    samples and of right ones (n_samples and n_correct, or n and c) or a list of outcomes. Where an instance
    has fewer than k samples nothing unbiased is known: status too_few_samples, unless --extrapolate.
    """
    run_verb(session, "pass_at_k", options, by=_BY)
