"""What a score's variance consists of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from ._altair import altair
from ._frames import drawable, ends, frame_of, inline, labelled, number, short_names, undrawn
from ._theme import BAND, CATEGORIES, WIDTH, axis, finish, legend, title

if TYPE_CHECKING:
    import altair as alt

_SOURCES = (
    ("share_members", "between models", CATEGORIES[0]),
    ("share_seed", "seed", CATEGORIES[1]),
    ("share_step", "checkpoint", CATEGORIES[4]),
)


def noise_sources(
    table: pl.DataFrame, *, most: int = 30, width: int = WIDTH, height: int | None = None
) -> alt.Chart:
    """Shares of the variance of one checkpoint's score: between models, seed, checkpoint.

    Parameters
    ----------
    table : DataFrame
        A result of `variance`.
    most : int
        Benchmarks at most, those with the largest share between models first.
    width, height : int, optional
        Pixels of the plotting area; the height follows the number of benchmarks.

    Returns
    -------
    altair.Chart

    Examples
    --------
    >>> import signoise as sn
    >>> chart = sn.plot.noise_sources(sn.variance(sn.example_scores(), where="params = 150000000"))
    """
    figure = "noise_sources"
    shares = [name for name, *_ in _SOURCES]
    every = labelled(frame_of(table, figure, "variance", shares)).unique(
        "label", keep="first", maintain_order=True
    )
    # Without sister runs the seed is unknown: its bar is absent, and the rest holds it.
    drawn = drawable(every, figure, ("share_members", "share_step"))
    kept = drawn.sort(["share_members", "label"], descending=[True, False]).head(most)
    left = drawn.height - kept.height
    names = list(short_names(kept["label"].to_list()).values())
    kept = kept.with_columns(pl.Series("name", names))
    long = kept.unpivot(shares, index="name", variable_name="source", value_name="share").drop_nulls("share")
    words = {name: word for name, word, _ in _SOURCES}
    long = long.with_columns(
        pl.col("source").replace_strict(words, return_dtype=pl.String),
        order=pl.col("source").replace_strict(
            {name: i for i, name in enumerate(shares)}, return_dtype=pl.Int64
        ),
    )
    alt = altair()
    present = [(word, colour) for _, word, colour in _SOURCES if word in set(long["source"])]
    chart = (
        alt.Chart(inline(long))
        .mark_bar(stroke=BAND, strokeWidth=0.4)
        .encode(
            x=alt.X(
                "share:Q",
                stack="zero",
                scale=alt.Scale(domain=[0, 1], nice=False),
                axis=axis(title="share of the variance of one checkpoint's score", format=".0%", tickCount=5),
            ),
            y=alt.Y("name:N", sort=names, axis=axis(title=None, grid=False)),
            color=alt.Color(
                "source:N",
                scale=alt.Scale(domain=[w for w, _ in present], range=[c for _, c in present]),
                legend=legend("Source", orient="top"),
            ),
            order=alt.Order("order:Q"),
            tooltip=[alt.Tooltip("name:N"), alt.Tooltip("source:N"), alt.Tooltip("share:Q", format=".1%")],
        )
    )
    no_seed = every["share_seed"].is_null().all()
    said = [
        "seed: unknown, no two runs differ in it alone; it is part of what is between models"
        if no_seed
        else "",
        f"{left} more benchmarks are not drawn" if left else "",
        undrawn(every, drawn),
    ]
    first, (least, _) = kept.row(0, named=True), ends(kept, "share_members")
    text = (
        f"Stacked bars of variance shares of {kept.height} benchmarks. Between models lies from "
        f"{number(least)} to {number(first['share_members'])} ({first['label']}) of the variance."
    )
    return finish(
        chart,
        title("Where a score's variance comes from", said),
        text,
        width=width,
        height=height or 20 * len(names),
    )
