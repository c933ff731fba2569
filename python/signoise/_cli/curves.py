"""``signoise smoothness``."""

from __future__ import annotations

from typing import Any

import click

from . import _options as option
from ._run import Command, Session
from ._source import run_verb


@click.command(
    cls=Command,
    examples=(
        "signoise smoothness results/",
        "signoise smoothness scores.parquet --where \"task = 'hellaswag'\" --direction raw",
    ),
)
@option.reading
@option.by
@click.option("--per", type=click.Choice(["run"]), help="One row a run.  [run]")
@option.direction_or_raw
@option.across
@option.order
@option.autocorrelation
@option.rng_seed
@option.n_resamples
@option.groups
@option.duplicates
@option.writing
@option.running
@click.pass_obj
def smoothness(session: Session, **options: Any) -> None:
    """Does each run's learning curve rise steadily, or does it wander?

    monotonicity_sign and _tau run from -1 (falls) to 1 (rises), _p is the probability of such a tau by
    chance in any order of the checkpoints, _p_ar1 if they are as autocorrelated as seen; total_variation is
    the mean step between checkpoints, in score units, normalised by the range, and beyond the improvement.
    """
    run_verb(session, "smoothness", options)
