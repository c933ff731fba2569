"""Every run against every other, with what is significant after allowing for the number of pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from .._errors import OptionError
from ._altair import altair
from ._frames import drawable, ends, frame_of, inline, one_group, short_names
from ._theme import BAND, DIVERGING, INK, PAPER, TEXT, axis, finish, legend, title

if TYPE_CHECKING:
    import altair as alt


def comparison_matrix(table: pl.DataFrame, *, level: float = 0.05, cell: int = 34) -> alt.LayerChart:
    """Differences between all pairs of runs (row minus column); those shown at `level` carry their sign.

    Parameters
    ----------
    table : DataFrame
        A result of `compare` for one benchmark. Significance is by ``p_adjusted``.
    level : float
        Family-wise level at which a difference counts as shown.
    cell : int
        Pixels of a cell.

    Returns
    -------
    altair.LayerChart

    Examples
    --------
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=1, recipes=4, params=(1e9,), checkpoints=1, instances=300, signal=0.1)
    >>> chart = sn.plot.comparison_matrix(sn.compare(scores))
    """
    figure = "comparison_matrix"
    if not 0 < level < 1:
        raise OptionError(f"level must lie between 0 and 1; found {level}")
    columns = ("run_a", "run_b", "mean_a", "mean_b", "difference", "p_adjusted")
    every = frame_of(table, figure, "compare", columns)
    name = one_group(every, figure)
    kept = drawable(every, figure, ("difference", "mean_a", "mean_b"))
    order = _by_mean(kept)
    pairs = pl.concat(
        [
            kept.select(row="run_a", column="run_b", difference="difference", p_adjusted="p_adjusted"),
            kept.select(
                row="run_b", column="run_a", difference=-pl.col("difference"), p_adjusted="p_adjusted"
            ),
        ]
    ).with_columns(
        shown=pl.col("p_adjusted").is_not_null() & (pl.col("p_adjusted") < level),
        sign=pl.when(pl.col("difference") > 0).then(pl.lit("+")).otherwise(pl.lit("−")),
    )
    short = short_names(order, 26)
    pairs = pairs.with_columns(pl.col("row", "column").replace(short))
    names = [short[run] for run in order]
    most = max(ends(pairs, "difference")[1], 1e-12)  # each pair is there both ways
    alt = altair()
    x = alt.X(
        "column:N",
        sort=names,
        scale=alt.Scale(domain=names),
        axis=axis(title="than this run", labelAngle=-40, grid=False),
    )
    y = alt.Y(
        "row:N", sort=names, scale=alt.Scale(domain=names), axis=axis(title="is this run better", grid=False)
    )
    colour = alt.Color(
        "difference:Q",
        scale=alt.Scale(scheme=DIVERGING, domain=[-most, most], reverse=True),
        legend=legend("Difference (score units)", gradientLength=120),
    )
    tooltip = [
        "row:N",
        "column:N",
        alt.Tooltip("difference:Q", format=".3~g"),
        alt.Tooltip("p_adjusted:Q", format=".2~g"),
    ]
    base = alt.Chart(inline(pairs)).encode(x=x, y=y)
    layers = [
        base.mark_rect(stroke=BAND, strokeWidth=0.5).encode(
            color=colour,
            opacity=alt.condition(alt.datum.shown, alt.value(1), alt.value(0.45)),
            tooltip=tooltip,
        ),
        base.transform_filter("datum.shown")
        .mark_text(fontSize=TEXT + 4, fontWeight="bold")
        .encode(
            text=alt.Text("sign:N"),
            color=alt.condition(f"abs(datum.difference) > {most / 2!r}", alt.value(PAPER), alt.value(INK)),
        ),
    ]
    count = kept.filter(pl.col("p_adjusted") < level).height
    unknown = every.height - kept.height
    said = [
        f"+ and −: shown at a family-wise level of {level:g} ({count} of {kept.height} pairs); pale: not shown",
        f"{unknown} pairs without a difference are empty" if unknown else "",
    ]
    return finish(
        alt.layer(*layers),
        title(f"Which runs differ: {name}", said),
        f"Matrix of differences between {len(order)} runs on {name}, best first: {', '.join(order)}. {count} of "
        f"{kept.height} pairs differ at a family-wise level of {level:g}.",
        width=cell * len(order),
        height=cell * len(order),
    )


def _by_mean(kept: pl.DataFrame) -> list[str]:
    """Runs by their mean score, best first; where lower is better, the lowest."""
    from .._metrics import direction

    means = pl.concat([kept.select(run="run_a", mean="mean_a"), kept.select(run="run_b", mean="mean_b")])
    sign = direction(kept["metric"][0]) if "metric" in kept.columns and kept["metric"][0] is not None else 1
    return (
        means.group_by("run")
        .agg(pl.col("mean").mean())
        .sort(["mean", "run"], descending=[sign != -1, False])["run"]
        .to_list()
    )
