"""Decision accuracy against what it costs to decide."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import polars as pl

from ._altair import altair
from ._frames import drawable, ends, frame_of, inline, labelled, number, short_names, undrawn
from ._theme import CATEGORIES, HEIGHT, MUTED, WIDTH, axis, categories, finish, legend, quantity_axis, title

if TYPE_CHECKING:
    import altair as alt


#: Limits of more benchmarks than this hide each other.
MOST_LIMITS = 3


def decision_curve(
    table: pl.DataFrame, *, x: str = "flops", width: int = WIDTH, height: int = HEIGHT
) -> alt.LayerChart:
    """Decision accuracy of each benchmark as the small scale grows, with limits over members.

    Parameters
    ----------
    table : DataFrame
        Results of `decision_accuracy` for several small scales under each other, each with a column `x` that says what
        its small scale costs; or a result of `averaging_gain` with ``at``. Limits are drawn where the table has
        ``low, high`` for at most three benchmarks.
    x : str
        The column of the cost. All of it positive: a logarithmic axis, except for shares (``at``).
    width, height : int
        Pixels of the plotting area.

    Returns
    -------
    altair.LayerChart

    Examples
    --------
    >>> import polars as pl
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=2, recipes=8, params=(1e8, 3e8, 1e9))
    >>> def at(small):
    ...     table = sn.decision_accuracy(scores, small=f"params = {small}", target="params = 1000000000")
    ...     return table.with_columns(params=pl.lit(small))
    >>> chart = sn.plot.decision_curve(pl.concat([at(100_000_000), at(300_000_000)]), x="params")
    """
    figure = "decision_curve"
    every = labelled(frame_of(table, figure, "decision_accuracy", ("decision_accuracy", x)))
    kept = drawable(every, figure, ("decision_accuracy", x)).sort("label", x)
    names = kept["label"].unique().sort().to_list()
    short = short_names(names)
    kept = kept.with_columns(name=pl.col("label").replace_strict(short, return_dtype=pl.String))
    few = len(names) <= len(CATEGORIES)
    logarithmic = x != "at" and ends(kept, x)[0] > 0
    alt = altair()
    across = alt.X(
        "beside:Q",
        scale=alt.Scale(type="log" if logarithmic else "linear", nice=False, padding=14),
        axis=quantity_axis(x, tickCount=6, **({} if x == "at" else {"title": f"{x} of a small run"})),
    )
    colour = (
        alt.Color("name:N", scale=categories(list(short.values())), legend=legend(None))
        if few
        else alt.value(MUTED)
    )
    percent = axis(
        title="decision accuracy (share of pairs ordered as at the target)", format=".0%", tickCount=6
    )
    base = alt.Chart(inline(_dodged(kept, names, x, logarithmic))).encode(
        x=across, color=colour, detail=alt.Detail("label:N")
    )
    y = alt.Y("decision_accuracy:Q", scale=alt.Scale(domain=[0, 1], nice=False), axis=percent)
    layers = [
        alt.Chart(inline(pl.DataFrame({"coin": [0.5]})))
        .mark_rule(color=MUTED, strokeDash=[4, 3])
        .encode(y=alt.Y("coin:Q"))
    ]
    limits = len(names) <= MOST_LIMITS and {"low", "high"} <= set(kept.columns)
    if limits:
        band = base.transform_filter("isValid(datum.low) && isValid(datum.high)")
        layers.append(
            band.mark_rule(opacity=0.45, strokeWidth=1.5).encode(y=alt.Y("low:Q"), y2=alt.Y2("high"))
        )
    layers += [
        base.mark_line(strokeWidth=1.8, opacity=0.9 if few else 0.5).encode(y=y),
        base.mark_point(filled=True, size=45, opacity=0.95).encode(
            y=y, tooltip=[alt.Tooltip("label:N"), alt.Tooltip(f"{x}:Q"), alt.Tooltip("decision_accuracy:Q")]
        ),
    ]
    least, most = ends(kept.sort(x).group_by("label").last(), "decision_accuracy")
    text = (
        f"Lines of decision accuracy against {x} of {len(names)} benchmarks; at the largest cost from "
        f"{number(least)} to {number(most)}. The dashed line at one half is a coin toss."
    )
    said = ["dashed: a coin toss" + ("; bars: limits over members" if limits else ""), undrawn(every, kept)]
    return finish(
        alt.layer(*layers), title("Decision accuracy against compute", said), text, width=width, height=height
    )


def _dodged(kept: pl.DataFrame, names: list[str], x: str, logarithmic: bool) -> pl.DataFrame:
    """Few benchmarks stand a little beside each other, so that their limits can be told apart."""
    if len(names) > len(CATEGORIES):
        return kept.with_columns(pl.col(x).alias("beside"))
    order = {name: i - (len(names) - 1) / 2 for i, name in enumerate(names)}
    shift = pl.col("label").replace_strict(order, return_dtype=pl.Float64)
    low, high = ends(kept, x)
    if logarithmic:
        step = math.log10(high / low) / 100
        return kept.with_columns((pl.col(x) * 10 ** (shift * step)).alias("beside"))
    return kept.with_columns((pl.col(x) + shift * (high - low) / 100).alias("beside"))
