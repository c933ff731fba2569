"""``signoise power``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from . import _options as option
from ._run import Command, Session


def _list_of(
    kind: type, *, pair: bool = False
) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    """One number or several, separated by commas; a pair means the two models."""

    def parse(_: click.Context, __: click.Parameter, value: str | None) -> Any:
        if value is None:
            return None
        try:
            numbers = [kind(text) for text in value.split(",")]
        except ValueError:
            what = "a whole number" if kind is int else "a number"
            raise click.BadParameter(f"{value!r} is not {what}, nor several separated by commas") from None
        if pair and len(numbers) > 2:
            raise click.BadParameter(f"{value!r}: give one number, or two for the two models")
        return numbers[0] if len(numbers) == 1 else tuple(numbers) if pair else numbers

    return parse


def list_option(name: str, text: str, kind: type = float, *, pair: bool = False) -> Any:
    """An option of one number or several."""
    metavar = "X[,X]" if pair else ("N[,N..]" if kind is int else "X[,X..]")
    return click.option(name, metavar=metavar, callback=_list_of(kind, pair=pair), help=text)


@click.command(
    cls=Command,
    examples=(
        "signoise power --mde 0.03 --variance-items 0.111",
        "signoise power --n 164,500,1319 --p 0.5 --design unpaired",
        "signoise power --n 500 --mde 0.02 --p 0.6,0.62 --correlation 0.5 --json",
    ),
)
@list_option("--n", "Instances.", int)
@list_option("--mde", "Smallest true difference to detect, score units.")
@list_option("--power", "Probability to detect it.  [0.8]")
@list_option("--samples", "Generations of each instance; solved for if n, mde and power are given.  [1]", int)
@click.option(
    "--samples-b", type=click.IntRange(min=1), metavar="N", help="Of the second model.  [as the first]"
)
@click.option("--design", type=click.Choice(["paired", "unpaired"]), help="Same instances or not.  [paired]")
@list_option(
    "--variance-items", "Variance over instances: of differences, or (unpaired) of scores.", pair=True
)
@list_option("--variance-samples", "Variance between generations of an instance.  [0]", pair=True)
@list_option("--p", "Success probability of 0/1 scores, instead of --variance-items.", pair=True)
@click.option("--correlation", type=float, metavar="R", help="Of the models' 0/1 scores over instances.")
@click.option("--variance-seed", type=float, metavar="X", help="Variance between training seeds.  [0]")
@click.option("--variance-step", type=float, metavar="X", help="Variance between late checkpoints.  [0]")
@click.option("--seeds", type=click.IntRange(min=1), metavar="N", help="Training runs averaged.  [1]")
@click.option("--checkpoints", type=click.IntRange(min=1), metavar="N", help="Checkpoints averaged.  [1]")
@click.option("--design-effect", type=float, metavar="X", help="Factor for clustered instances.  [1]")
@option.confidence_level
@option.writing
@option.without_strict
@click.pass_obj
def power(session: Session, **options: Any) -> None:
    """How many instances tell two models apart, or what difference these can.

    Of --n, --mde and --power give two, or one with a power of 0.8, and get the third. Lists make a row for
    every combination. Status unreachable: no number is enough.
    """
    import signoise

    from ._output import Result, emit

    writing = {name: options.pop(name) for name in ("output", "as_json")}
    emit(session, Result(signoise.power(**option.given(options)), by=("n", "mde", "power")), **writing)
