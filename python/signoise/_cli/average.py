"""``signoise average``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from . import _options as option
from ._run import Command, Session
from ._source import check_known, run_verb


def _numbers(kind: type[int] | type[float]) -> Any:
    def parse(_: click.Context, __: click.Parameter, value: Sequence[str]) -> tuple[float, ...] | None:
        found = [word.strip() for text in value for word in text.split(",")]
        try:
            return tuple(kind(word) for word in found) or None
        except ValueError:
            raise click.BadParameter(f"{','.join(value)!r} is no list of numbers such as 1,2,5") from None

    return parse


@click.command(
    cls=Command,
    examples=(
        "signoise average results/ --window 5 -o smoothed.parquet",
        "signoise average scores.parquet --how ema --window 8 --min-checkpoints 8 -o smoothed.csv",
        "signoise average scores.parquet --gain --windows 1,3,5,10",
        'signoise average scores.parquet --gain --small "params = 150000000" --target "params = 1e9" --side small',
        'signoise average scores.parquet --choose --small "params = 150000000" --target "params = 1e9"',
    ),
)
@option.reading
@option.window
@click.option(
    "--how", type=click.Choice(["mean", "ema"]), help="Trailing mean or exponential average.  [mean]"
)
@click.option(
    "--min-checkpoints",
    type=click.IntRange(min=1),
    metavar="N",
    help="Leave out checkpoints with fewer scores so far.  [1]",
)
@click.option(
    "--gain", is_flag=True, help="What averaging does to noise, SNR and decisions, in place of scores."
)
@click.option("--choose", is_flag=True, help="The best window, and its gain on scores it was not chosen on.")
@click.option(
    "--windows",
    multiple=True,
    metavar="N,N,..",
    callback=_numbers(int),
    help="Windows to compare.  [1,2,3,5,10]",
)
@option.filter_option("--small", "Rows to decide at, for --gain and --choose.")
@option.filter_option("--target", "Rows to decide for.")
@option.words_option("--match", "Columns that join the two sides.  [recipe where it is filled, else run]")
@click.option(
    "--side",
    multiple=True,
    metavar="SIDES",
    callback=option.words,
    help="Where scores are averaged: small, target, both; --gain takes several.  [both]",
)
@click.option(
    "--at",
    multiple=True,
    metavar="X",
    callback=_numbers(float),
    help="Stop at a share of training, or beyond 1 at tokens (steps by --order step); --gain takes several.",
)
@click.option(
    "--measure", type=click.Choice(["decision_accuracy", "snr"]), help="What to choose for.  [by --small]"
)
@click.option(
    "--split",
    type=click.Choice(["members_and_checkpoints", "members"]),
    help="What one half chooses on and the other is judged on.  [members_and_checkpoints]",
)
@click.option("--n-splits", type=click.IntRange(min=1), metavar="N", help="Random splits.  [20]")
@click.option(
    "--last", type=click.IntRange(min=2), metavar="N", help="Last checkpoints that are looked at.  [30]"
)
@option.by
@option.across
@option.relative
@option.ddof
@option.direction
@option.confidence_level
@option.autocorrelation
@option.rng_seed
@option.order
@option.groups
@option.duplicates
@option.writing
@option.running
@click.pass_obj
def average(session: Session, *, gain: bool, choose: bool, **options: Any) -> None:
    """Average checkpoints: the score table again, each value smoothed over those before it.

    The columns are those of the score table; value is the mean of the last checkpoints up to this one. With
    --gain a row for each window: noise, observed and expected, SNR, and with --small and --target decision
    accuracy. With --choose a row for each benchmark: the window, and its gain in and out of sample.
    """
    if gain and choose:
        raise click.UsageError("--gain and --choose make different tables; give one of them")
    verb = "averaging_gain" if gain else "choose_window" if choose else "average_checkpoints"
    mode = "with --gain" if gain else "with --choose" if choose else "without --gain or --choose"
    check_known(verb, options, mode)
    if choose:
        for name in ("side", "at"):
            if options[name] is not None:
                if len(options[name]) > 1:
                    raise click.UsageError(f"--choose takes one --{name}, got {len(options[name])}")
                options[name] = options[name][0]
    run_verb(session, verb, options)
