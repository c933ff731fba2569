"""Scores along training, with the window whose scatter is the noise."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from .._errors import InsufficientDataError, SchemaError, SignoiseWarning
from .._options import as_columns
from .._schema import SCORE_IDENTITY
from ._altair import altair
from ._frames import inline, labelled, short_names, size
from ._theme import (
    ACCENT,
    CATEGORIES,
    GRID,
    SEQUENTIAL,
    SMALL_HEIGHT,
    SMALL_WIDTH,
    axis,
    categories,
    finish,
    legend,
    panels,
    quantity_axis,
    title,
)

if TYPE_CHECKING:
    import altair as alt

    from .._scores import Filter, Scores


def training_curves(
    scores: Scores,
    *,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    window: int = 5,
    order: str = "tokens",
    most: int = 9,
    columns: int = 3,
    width: int = SMALL_WIDTH,
    height: int = SMALL_HEIGHT,
) -> alt.FacetChart:
    """Scores of every run along training, one panel a benchmark; the averaging window is shaded.

    Parameters
    ----------
    scores : table
        Scores, as every verb takes them.
    by, where, window, order
        As in `snr`: the band around the end of each run is the mean of its last `window` checkpoints plus and minus
        their standard deviation, which is what `noise` reports.
    most : int
        Panels at most; the first benchmarks in lexical order are drawn, and the subtitle says how many are not.
    columns, width, height : int
        Panels in a row, and their size in pixels.

    Returns
    -------
    altair.FacetChart

    Examples
    --------
    >>> import signoise as sn
    >>> chart = sn.plot.training_curves(sn.example_scores(), where="params = 150000000 AND task = 'sim_arc'")
    >>> chart.save("curves.pdf")  # doctest: +SKIP
    """
    from .._checkpoints import average_checkpoints
    from .._snr import noise

    with warnings.catch_warnings():  # the verbs say the same once more
        warnings.simplefilter("ignore", SignoiseWarning)
        single = average_checkpoints(scores, window=1, where=where, order=order)
        ends = noise(single, by=by, per="run", window=window, order=order)
    along = order if order in single.columns and single[order].count() else "step"
    if along not in single.columns or not single[along].count():
        raise SchemaError(
            f"training_curves needs checkpoints with {order} or step; these scores have neither"
        )
    keys = [name for name in dict.fromkeys((*as_columns(by), *SCORE_IDENTITY)) if name in ends.columns]
    points = labelled(single.filter(pl.col(along).is_not_null(), pl.col("value").is_finite()), more=keys)
    runs = points.group_by("label", "run").agg(pl.col(along).n_unique().alias("n"))
    panels_of = runs.filter(pl.col("n") >= 2)["label"].unique().sort().to_list()
    if not panels_of:
        raise InsufficientDataError("training_curves: no run has two checkpoints with a score")
    ends = ends.join(points.select(*keys, "label").unique(), on=keys, nulls_equal=True)
    names = panels_of[:most]
    short = short_names(names)
    points = points.filter(pl.col("label").is_in(names))
    rows = pl.concat(
        [_lines(points, along), _bands(points, ends, along, window), _shades(points, along, window)],
        how="diagonal_relaxed",
    ).with_columns(panel=pl.col("label").replace_strict(short, return_dtype=pl.String))
    said = [
        f"shaded: the last {window} checkpoints; bands: their mean ± sd, the noise",
        f"{len(panels_of) - most} more benchmarks are not drawn" if len(panels_of) > most else "",
    ]
    text = (
        f"{len(names)} panels of scores along {along}, a line for each of "
        f"{points['run'].n_unique()} runs, with bands of noise at the ends: {', '.join(names)}."
    )
    metrics = points["metric"].unique().to_list()
    chart = _panel(_Colours(points), along, f"score ({metrics[0]})" if len(metrics) == 1 else "score")
    chart = chart.properties(width=width, height=height)
    grid = panels(chart, inline(rows), list(short.values()), columns=columns)
    return finish(grid, title("Training curves", said), text, width=None, height=None)


class _Colours:
    """A colour a run where they are few, by size where sizes differ, else one colour."""

    def __init__(self, points: pl.DataFrame) -> None:
        runs = points["run"].unique().sort().to_list()
        sizes = points["params"].drop_nulls().unique().sort() if "params" in points.columns else pl.Series([])
        self.opacity = 0.9
        if len(runs) <= len(CATEGORIES):
            self.encoding: Any = altair().Color(
                "run:N",
                scale=categories(runs),
                legend=legend(None, orient="bottom", columns=4) if runs else None,
            )
        elif len(sizes) > 1:
            self.encoding = altair().Color(
                "params:Q",
                scale=altair().Scale(type="log", range=list(SEQUENTIAL)),
                legend=legend("Parameters", values=sizes.to_list(), labelExpr=_size_words(sizes)),
            )
            self.opacity = 0.7
        else:
            self.encoding, self.opacity = altair().value(ACCENT), 0.5


def _size_words(sizes: pl.Series) -> str:
    """An expression of Vega's that names sizes as we do."""
    words = " : ".join(f"datum.value == {value} ? '{size(value)}'" for value in sizes)
    return f"{words} : ''"


def _panel(colour: _Colours, along: str, unit: str) -> Any:
    alt = altair()
    base = alt.Chart()
    x = alt.X(
        f"{along}:Q",
        axis=quantity_axis(along, tickCount=4),
        scale=alt.Scale(nice=False),
    )
    y = alt.Y("value:Q", scale=alt.Scale(zero=False), axis=axis(title=unit, tickCount=4, format=".3~g"))
    return alt.layer(
        base.transform_filter("datum.kind == 'window'")
        .mark_rect(color=GRID, opacity=0.6)
        .encode(x=alt.X("from:Q"), x2=alt.X2("to")),
        base.transform_filter("datum.kind == 'noise'")
        .mark_rect(opacity=0.3)
        .encode(
            x=alt.X("from:Q"), x2=alt.X2("to"), y=alt.Y("low:Q"), y2=alt.Y2("high"), color=colour.encoding
        ),
        base.transform_filter("datum.kind == 'score'")
        .mark_line(strokeWidth=1.2, opacity=colour.opacity)
        .encode(x=x, y=y, color=colour.encoding, detail=alt.Detail("run:N")),
    )


def _lines(points: pl.DataFrame, along: str) -> pl.DataFrame:
    kept = [name for name in ("label", "run", along, "value", "params") if name in points.columns]
    return points.select(*kept, kind=pl.lit("score")).sort("label", "run", along)


def _last(points: pl.DataFrame, along: str, window: int) -> pl.DataFrame:
    """From where to where each run's window goes."""
    ends = points.sort(along).group_by("label", "run", maintain_order=True)
    sizes = [pl.col("params").first()] if "params" in points.columns else []
    return ends.agg(pl.col(along).tail(window).min().alias("from"), pl.col(along).max().alias("to"), *sizes)


def _bands(points: pl.DataFrame, ends: pl.DataFrame, along: str, window: int) -> pl.DataFrame:
    noise = ends.filter(pl.col("noise_absolute").is_finite()).select("label", "run", "mean", "noise_absolute")
    limits = {
        "low": pl.col("mean") - pl.col("noise_absolute"),
        "high": pl.col("mean") + pl.col("noise_absolute"),
    }
    joined = _last(points, along, window).join(noise, on=["label", "run"])
    return joined.with_columns(**limits, kind=pl.lit("noise")).drop("mean", "noise_absolute")


def _shades(points: pl.DataFrame, along: str, window: int) -> pl.DataFrame:
    """One window a panel: that of the longest run."""
    longest = _last(points, along, window).sort("to", "run").group_by("label", maintain_order=True).last()
    return longest.select("label", "from", "to", kind=pl.lit("window"))
