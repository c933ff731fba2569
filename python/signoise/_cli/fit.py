"""``signoise fit`` and ``signoise laws``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from . import _options as option
from ._run import Command, Session

if TYPE_CHECKING:
    from collections.abc import Sequence

_OBJECTIVES = ("huber_log", "lsq", "lsq_log", "huber", "l1", "l1_log")


def _places(_: click.Context, __: click.Parameter, value: Sequence[str]) -> list[dict[str, float]]:
    """``params=7e9,tokens=4e12``, sizes such as 7B among them; a place each."""
    from .._names import parse_size

    places = []
    for text in value:
        place: dict[str, float] = {}
        for part in text.split(","):
            name, sign, number = part.partition("=")
            if not sign or not name.strip():
                raise click.BadParameter(
                    f"{part!r} is not of the form NAME=NUMBER, e.g. params=7e9,tokens=4e12"
                )
            try:
                place[name.strip()] = float(number)
            except ValueError:
                size = parse_size(number.strip())
                if size is None:
                    raise click.BadParameter(f"{number!r} is no number; write 7e9 or 7B") from None
                place[name.strip()] = float(size)
        places.append(place)
    return places


def _bounds(
    _: click.Context, __: click.Parameter, value: Sequence[str]
) -> dict[str, tuple[float | None, float | None]] | None:
    """``alpha=0.2:0.5``; an empty side is open."""
    found: dict[str, tuple[float | None, float | None]] = {}
    for text in value:
        name, sign, limits = text.partition("=")
        low, colon, high = limits.partition(":")
        try:
            pair = tuple(float(side) if side.strip() else None for side in (low, high))
        except ValueError:
            sign = ""
        if not (sign and colon and name.strip()):
            raise click.BadParameter(f"{text!r} is not of the form NAME=LOW:HIGH, e.g. alpha=0.2:0.5 or E=0:")
        found[name.strip()] = pair[0], pair[1]
    return found or None


@click.command(
    cls=Command,
    examples=(
        "signoise fit runs.csv --law chinchilla --x params,tokens --y loss",
        'signoise fit runs.csv --law chinchilla --y loss --predict "params=7e9,tokens=4e12"',
        "signoise fit results/ --law power_law --x flops --y bits_per_byte --by task --checkpoints last -o fits.csv",
    ),
)
@option.sources
@click.option("--law", metavar="NAME", help="Which law; `signoise laws` lists them.  [chinchilla]")
@option.words_option("--x", "Columns of the law's inputs, in its order.  [those of their names]")
@click.option(
    "--y", metavar="NAME", help="What is fitted: a column, or a metric of a score table.  [every metric]"
)
@click.option(
    "--predict",
    multiple=True,
    metavar="PLACE",
    callback=_places,
    help='Where to predict, e.g. "params=7e9,tokens=4e12"; give it several times for several places.',
)
@option.where
@option.columns
@click.option(
    "--by", multiple=True, metavar="COLUMNS", callback=option.words, help="Fitted apart for each value."
)
@click.option("--objective", type=click.Choice(_OBJECTIVES), help="What is minimised.  [the law's]")
@click.option("--delta", type=float, metavar="X", help="Where Huber's function becomes linear.  [0.001]")
@click.option(
    "--overestimate-penalty",
    type=float,
    metavar="X",
    help="Factor of residuals where the law lies above.  [1]",
)
@click.option(
    "--bounds",
    multiple=True,
    metavar="NAME=LOW:HIGH",
    callback=_bounds,
    help="Bounds of a parameter, e.g. alpha=0.2:0.5; equal ones hold it.",
)
@click.option("--checkpoints", type=click.Choice(["all", "last"]), help="Of each run.  [all]")
@click.option(
    "--repeats", type=click.Choice(["all", "best", "mean"]), help="Of several values at one place.  [all]"
)
@click.option("--cluster", metavar="COLUMN", help="What makes points dependent.  [the run]")
@click.option("--scale", metavar="COLUMN", help="What makes a rung.  [params, else the first input]")
@click.option(
    "--interval",
    type=click.Choice(["bootstrap", "jackknife", "parametric", "profile", "none"]),
    help="Of runs; profile is of sums of squares.  [bootstrap; jackknife below 10 runs]",
)
@option.n_resamples
@click.option(
    "--target-noise", type=float, metavar="X", help="Checkpoint noise of the target, relative.  [0]"
)
@option.rng_seed
@option.confidence_level
@click.option(
    "--check-units/--no-check-units",
    default=None,
    help="Refuse params and tokens in millions or billions.  [check]",
)
@option.writing
@option.running
@click.pass_obj
def fit(session: Session, **options: Any) -> None:
    """Fit a scaling law to runs, and predict with it.

    SOURCE is a table of runs (it needs the columns of --x and --y, and no task) or any results. With --predict
    files and JSON hold both kinds of rows; `row` says which is which. Bounded by low and high is the curve, by
    prediction_low and prediction_high a new run.
    """
    from .._laws._fitted import fit_all
    from ._output import Result, emit

    sources = list(options.pop("sources"))
    writing = {name: options.pop(name) for name in ("output", "as_json")}
    places, noise = options.pop("predict"), options.pop("target_noise")
    given = option.given(options)
    law = given.pop("law", "chinchilla")
    session.progress.say("fitting")
    fitted = fit_all(sources[0] if len(sources) == 1 else sources, law, **given)
    strict = bool(given.get("strict"))
    table = fitted.parameters()
    fitted.check_strict(table, strict=strict)
    by = (*fitted.grouped.by, "parameter")
    if not places:
        emit(session, Result(table, by=by), **writing)
        return
    predictions = fitted.predictions(places, noise or 0.0)
    if writing["output"] is None and not writing["as_json"]:
        emit(session, Result(table, by=by), **writing)
        emit(session, Result(predictions, by=(*fitted.grouped.by, *fitted.names)), **writing)
        return
    emit(session, Result(_both(table, predictions)), **writing)


def _both(parameters: Any, predictions: Any) -> Any:
    """Both kinds of rows in one table."""
    import polars as pl

    kinds = {"parameter": parameters, "prediction": predictions}
    parts = [table.select(pl.lit(kind).alias("row"), pl.all()) for kind, table in kinds.items()]
    return pl.concat(parts, how="diagonal")


@click.command(cls=Command, examples=("signoise laws", "signoise laws --json"))
@option.writing
@option.without_strict
@click.pass_obj
def laws(session: Session, **writing: Any) -> None:
    """The scaling laws that can be fitted: formula, inputs, parameters, source."""
    import signoise

    from ._output import Result, emit

    emit(session, Result(signoise.laws(), by=("law", "formula")), **writing)
