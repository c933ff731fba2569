"""``signoise snr`` and ``signoise noise``."""

from __future__ import annotations

from typing import Any

import click

from . import _options as option
from ._run import Command, Session
from ._source import run_verb


@click.command(
    cls=Command,
    examples=(
        'signoise snr results/ --where "params = 150000000"',
        "signoise snr scores.parquet --by task,metric,params --window 10 -o snr.csv",
        "signoise snr scores.csv --columns mix=recipe --signal compat:mpd",
    ),
)
@option.reading
@option.by
@option.signal
@click.option(
    "--score",
    type=click.Choice(["mean", "final"]),
    help="Score of a member: window mean or last checkpoint.  [mean]",
)
@option.noise
@option.population
@option.noise_runs
@option.relative
@option.across
@option.order
@option.window
@option.ddof
@option.confidence_level
@option.autocorrelation
@option.instances
@option.groups
@option.chance
@option.duplicates
@option.writing
@option.running
@click.pass_obj
def snr(session: Session, **options: Any) -> None:
    """Signal-to-noise ratio of each benchmark.

    How far apart the runs score (signal: range over mean), against how much a run's score wobbles between
    its last checkpoints (noise: sd over mean). Well above 1, one checkpoint tells the runs apart; near 1,
    their order is luck. snr_low and snr_high bound it; a dash is undefined, and status says why.
    """
    run_verb(session, "snr", options)


@click.command(
    cls=Command,
    examples=(
        "signoise noise results/ --noise detrended",
        "signoise noise scores.parquet --per run --where \"task = 'arc_easy'\" --absolute",
    ),
)
@option.reading
@option.by
@click.option("--per", type=click.Choice(["group", "run"]), help="A row a group, or a row a run.  [group]")
@option.noise
@option.noise_runs
@option.relative
@option.across
@option.order
@option.window
@option.ddof
@option.confidence_level
@option.autocorrelation
@option.groups
@option.chance
@option.duplicates
@option.writing
@option.running
@click.pass_obj
def noise(session: Session, **options: Any) -> None:
    """How much a score wobbles between the last checkpoints of a run.

    noise is the sd of the last checkpoints over their mean, noise_absolute the sd in score units; trend is
    the slope per checkpoint, autocorrelation that of successive checkpoints, n_effective what a window is
    worth.
    """
    run_verb(session, "noise", options)
