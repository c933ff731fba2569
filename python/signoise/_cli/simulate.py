"""``signoise simulate``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from . import _options as option
from ._run import Command, Session

if TYPE_CHECKING:
    from pathlib import Path

F = TypeVar("F", bound=Callable[..., Any])


def _count_or_names(_: click.Context, __: click.Parameter, value: str | None) -> int | list[str] | None:
    if value is None:
        return None
    return int(value) if value.isdecimal() else [name.strip() for name in value.split(",")]


def _sizes(_: click.Context, __: click.Parameter, value: str | None) -> list[int] | None:
    if value is None:
        return None
    from .._names import parse_size

    sizes = [parse_size(text.strip()) for text in value.split(",")]
    if None in sizes:
        wrong = value.split(",")[sizes.index(None)]
        raise click.BadParameter(f"{wrong!r} is no size; write a count (1400000000) or 150M,1B")
    return [size for size in sizes if size is not None]


def _names(_: click.Context, __: click.Parameter, value: str | None) -> str | list[str] | None:
    return None if value is None else (value.split(",") if "," in value else value)


def _numbers(_: click.Context, __: click.Parameter, value: str | None) -> float | list[float] | None:
    if value is None:
        return None
    try:
        numbers = [float(text) for text in value.split(",")]
    except ValueError:
        raise click.BadParameter(f"{value!r} is no number, nor a list of numbers such as 0.01,0.02") from None
    return numbers if len(numbers) > 1 else numbers[0]


def _per_task(name: str, text: str) -> Callable[[F], F]:
    """One number, or one a task."""
    return click.option(name, metavar="X[,X..]", callback=_numbers, help=text)


_COUNT = click.IntRange(min=1)


@click.command(
    cls=Command,
    examples=(
        "signoise simulate -o scores.parquet --truth truth.csv",
        "signoise simulate --tasks easy,hard --signal 0.05,0.01 --params 150M,1B --recipes 25 -o scores.csv",
    ),
)
@click.option("--tasks", metavar="N|NAMES", callback=_count_or_names, help="How many, or a,b,c.  [8]")
@click.option("--recipes", metavar="N|NAMES", callback=_count_or_names, help="How many, or a,b,c.  [10]")
@click.option("--params", metavar="SIZES", callback=_sizes, help="Model sizes.  [150M,1B]")
@click.option("--seeds", type=_COUNT, metavar="N", help="Runs of each recipe at each size.  [1]")
@click.option("--checkpoints", type=_COUNT, metavar="N", help="Checkpoints of each run.  [20]")
@click.option(
    "--instances", type=click.IntRange(min=0), metavar="N", help="Items of each task; 0: none.  [0]"
)
@click.option("--results/--no-results", default=None, help="With --instances, also the mean over items.")
@click.option("--metric", metavar="NAME[,NAME..]", callback=_names, help="One, or one a task.  [acc]")
@_per_task("--level", "Expected final score at 1B parameters.  [drawn]")
@_per_task("--size-gain", "Improvement for ten times the parameters.  [0.05]")
@_per_task("--signal", "Sd of the recipes' true effects.  [0.02]")
@_per_task("--scale-agreement", "Correlation of true effects between sizes.  [0.9]")
@_per_task("--seed-noise", "Sd between seeds.  [0]")
@_per_task("--step-noise", "Sd between checkpoints of a run.  [0.005]")
@_per_task("--autocorrelation", "Of successive checkpoints.  [0]")
@_per_task("--trend", "Improvement from first to last checkpoint.  [0]")
@click.option("--trend-shape", type=click.Choice(["saturating", "linear"]), help="[saturating]")
@_per_task("--item-noise", "Sd between items.  [0.15]")
@_per_task("--prediction-noise", "Sd of an item's score, for metrics that are no fraction.  [0.1]")
@_per_task("--grid", "Round scores to multiples of it: ties.  [0]")
@_per_task("--chance", "Chance level.  [0.25]")
@click.option(
    "--chance-tasks",
    metavar="N|NAMES",
    callback=_count_or_names,
    help="How many (last) tasks sit at chance.  [0]",
)
@click.option(
    "--tokens-per-param", type=float, metavar="X", help="Tokens of a finished run per parameter.  [100]"
)
@click.option("--step-size", type=_COUNT, metavar="N", help="Steps between checkpoints.  [1000]")
@option.rng_seed
@option.writing
@click.option(
    "--truth",
    metavar="FILE",
    callback=option.output_path,
    shell_complete=option.paths,
    help="Write the planted truth here.",
)
@option.without_strict
@click.pass_obj
def simulate(session: Session, truth: Path | None, **options: Any) -> None:
    """Scores whose signal, noise and decision accuracy are known.

    The columns are those of the score table; --truth holds a row for each task and size, with the true
    signal, noise, snr and decision accuracy.
    """
    import signoise

    from ._output import Result, emit, write

    writing = {name: options.pop(name) for name in ("output", "as_json")}
    session.progress.say("simulating")
    scores, planted = signoise.simulate(**option.given(options))
    if truth is not None:
        write(planted, truth)
        session.note(f"wrote {planted.height} rows to {truth}")
    emit(session, Result(scores, by=("step",)), **writing)
