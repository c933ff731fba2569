"""``signoise compare`` and ``signoise rank``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from . import _options as option
from ._run import Command, Session
from ._source import run_verb

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

_BY = ("task", "metric", "run_a", "run_b")


def _compared(table: pl.DataFrame) -> Sequence[str]:
    from .._compare import in_words

    return in_words(table)


def _ranked(table: pl.DataFrame) -> Sequence[str]:
    from .._rank import in_words

    return in_words(table)


metric = click.option(
    "--metric", multiple=True, metavar="NAMES", callback=option.words, help="Metrics to compare.  [all]"
)
clusters = option.together(
    option.cluster,
    click.option(
        "--cluster-error",
        type=click.Choice(["CR0", "CR1", "CR3"]),
        help="Cluster-robust form; CR3 is on the safe side.  [CR1]",
    ),
)
subtasks = click.option(
    "--subtasks",
    type=click.Choice(["apart", "macro", "micro"]),
    help="A row each, their unweighted mean, or all instances alike.  [apart]",
)
test = click.option(
    "--test",
    type=click.Choice(["auto", "exact", "t"]),
    help="auto: McNemar's mid-p for 0/1 scores, else t; exact: exact McNemar; t: always t.  [auto]",
)
tests = option.together(
    click.option(
        "--test",
        type=click.Choice(["auto", "exact", "t", "permutation"]),
        help="auto: McNemar's mid-p for 0/1 scores, else t; exact: exact McNemar; t: always t; permutation: "
        "random signs of the differences, or labels.  [auto]",
    ),
    click.option(
        "--n-resamples", type=click.IntRange(min=1), metavar="N", help="Draws of a permutation test.  [10000]"
    ),
    option.rng_seed,
    option.engine,
)
adjust = click.option(
    "--adjust",
    type=click.Choice(["holm", "bonferroni", "bh", "by", "none"]),
    help="p-values for the number of tests.  [holm]",
)


@click.command(
    cls=Command,
    examples=(
        "signoise compare results/ --a org/alpha --b org/beta@5000 --metric acc",
        "signoise compare scores.parquet --baseline base --cluster passage_id -o compared.csv",
    ),
)
@option.reading
@click.option("--a", metavar="RUN[@STEP]", help="The first checkpoint; the run's last one without a step.")
@click.option("--b", metavar="RUN[@STEP]", help="The second.")
@click.option(
    "--baseline", metavar="RUN[@STEP]", help="Instead: compare every run with this one.  [all pairs]"
)
@metric
@option.by
@option.order
@clusters
@subtasks
@tests
@adjust
@click.option(
    "--power",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="P",
    help="Of mde, the difference that would have been detected.  [0.8]",
)
@option.confidence_level
@option.direction
@option.duplicates
@option.writing
@option.running
@click.pass_obj
def compare(session: Session, **options: Any) -> None:
    """Is the difference between two runs real?

    difference is a - b over the instances both have, low and high bound it; p_adjusted counts all rows of
    the table as tests; mde is the difference that would probably have been detected; correlation and
    variance_reduction say what comparing on the same instances was worth.
    """
    run_verb(session, "compare", options, by=_BY, lines=_compared)


@click.command(
    cls=Command,
    examples=(
        "signoise rank results/ --metric acc",
        "signoise rank scores.parquet --cluster passage_id --where \"task = 'drop'\" -o ranks.csv",
    ),
)
@option.reading
@metric
@option.by
@option.order
@clusters
@subtasks
@test
@click.option(
    "--adjust", type=click.Choice(["holm", "bonferroni", "max_t"]), help="For the pairs of one task.  [holm]"
)
@option.confidence_level
@option.direction
@click.option("--n-resamples", type=click.IntRange(min=1), metavar="N", help="Draws for p_best.  [10000]")
@option.rng_seed
@option.duplicates
@option.writing
@option.running
@click.pass_obj
def rank(session: Session, **options: Any) -> None:
    """Rank runs, and say which ranks each may truly have.

    rank_low and rank_high bound the rank, for all runs of a task at once, by pairwise tests on the instances
    that all runs have; p_best is the probability to be the best.
    """
    run_verb(session, "rank", options, by=("task", "metric", "run"), lines=_ranked)
