"""``signoise subtasks``."""

from __future__ import annotations

from typing import Any

import click

from . import _options as option
from ._run import Command, Session
from ._source import open_sources, split

#: Options of one of the two verbs alone.
_OF_CURVES = ("small", "target", "match", "decision_score", "ladder_train", "ladder_target", "direction")
_OF_GAINS = ("sizes", "n_splits", "gap", "split_checkpoints", "split_instances", "cluster")
_BY = ("task", "metric", "rule", "size", "against", "n_subtasks")


def _sizes(ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[int, ...] | None:
    found = option.words(ctx, parameter, value)
    if found is None:
        return None
    if not all(word.isdigit() for word in found):
        raise click.BadParameter(f"{','.join(value)!r} holds something else than numbers; write 8,16")
    return tuple(int(word) for word in found)


splits = option.together(
    click.option(
        "--sizes",
        multiple=True,
        metavar="N,..",
        callback=_sizes,
        help="Numbers of subtasks beside the best one.  [a quarter, a half]",
    ),
    click.option("--n-splits", type=click.IntRange(min=2), metavar="N", help="Random halves.  [20]"),
    click.option(
        "--split-checkpoints",
        is_flag=True,
        default=None,
        help="Split checkpoints even where the noise is that of the members' own runs.",
    ),
    click.option(
        "--gap", type=click.IntRange(min=0), metavar="N", help="Checkpoints between blocks of them.  [1]"
    ),
    click.option(
        "--split-instances", is_flag=True, default=None, help="Split instances too: a gain on other ones."
    ),
    option.cluster,
)
decisions = option.together(
    option.filter_option("--small", "Rows of the scale decided at; --curves show decision accuracies."),
    option.filter_option("--target", "Rows of the scale decided for; SNR is measured there."),
    option.words_option("--match", "What joins the two.  [recipe, else run]"),
    click.option(
        "--decision-score",
        type=click.Choice(["final", "mean"]),
        help="Last checkpoint, or mean of the window.  [final]",
    ),
    option.filter_option(
        "--ladder-train", "Runs to learn a law of scale from; --curves show prediction errors."
    ),
    option.filter_option("--ladder-target", "Runs to predict by it."),
    option.direction,
)


@click.command(
    cls=Command,
    examples=(
        "signoise subtasks results/ --where \"metric = 'acc'\" --group mmlu='hendrycksTest-*'",
        "signoise subtasks scores.parquet --population 'flops > 1e22' --noise-runs \"run = 'ours'\" --window 30",
        "signoise subtasks scores.parquet --curves --small 'params = 150e6' --target 'params = 1e9' -o curves.csv",
    ),
)
@option.reading
@click.option(
    "--curves", is_flag=True, help="The table of unions of 1, 2, .. subtasks instead of that of gains."
)
@click.option(
    "--rules",
    multiple=True,
    metavar="NAMES",
    callback=option.words,
    help="snr, greedy, backward: how subtasks are chosen.  [all three]",
)
@click.option(
    "--how",
    type=click.Choice(["macro", "micro"]),
    help="Unions as unweighted means, or weighted by instances.  [macro]",
)
@option.groups
@option.by
@click.option(
    "--score",
    type=click.Choice(["mean", "final"]),
    help="Of a member: mean of the window, or the last.  [mean]",
)
@click.option(
    "--noise",
    type=click.Choice(["within", "mean_sd"]),
    help="How that of several runs is combined.  [within]",
)
@option.population
@option.noise_runs
@option.relative
@decisions
@splits
@click.option("--n-random", type=click.IntRange(min=1), metavar="N", help="Random unions a size.  [10]")
@option.across
@option.order
@option.window
@option.ddof
@option.confidence_level
@option.rng_seed
@option.duplicates
@option.writing
@option.running
@click.pass_obj
def subtasks(session: Session, curves: bool, **options: Any) -> None:
    """Which subtasks of a benchmark are worth keeping, and what does leaving out the others gain?

    The gain is out of sample: chosen on one half of the runs (and checkpoints, instances), judged on the
    other. gain is a difference of log SNR, gain_factor the ratio; gain_in_sample is what the scores that
    were chosen on would promise, optimism how much of that is illusion.
    """
    import signoise

    from .._interventions._words import in_words
    from ._output import Result, emit

    reading, writing, given = split(options)
    opened = open_sources(session, **reading, strict=given.get("strict"))
    if opened.columns is not None:
        given["columns"] = opened.columns
    of_gains = {name: value for name, value in given.items() if name not in _OF_CURVES}
    if "target" in given:
        of_gains = {"population": given["target"], "noise_runs": given["target"]} | of_gains
    gains = signoise.filtering_gain(opened.frame, **of_gains)
    table = signoise.filter_subtasks(
        opened.frame, **{name: value for name, value in given.items() if name not in _OF_GAINS}
    )
    by = gains.columns[: gains.columns.index("rule")]
    said = in_words(gains, table, by)
    emit(session, Result(table if curves else gains, by=(*by, *_BY), opening=said), **writing)
