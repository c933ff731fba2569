"""What averaging checkpoints does to the noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from ._altair import altair
from ._frames import drawable, frame_of, inline, labelled, short_names
from ._theme import ACCENT, CATEGORIES, MUTED, SMALL_HEIGHT, SMALL_WIDTH, axis, finish, legend, panels, title

if TYPE_CHECKING:
    import altair as alt

_LINES = (
    ("noise_ratio", "observed", ACCENT),
    ("independent", "if checkpoints were independent", MUTED),
    ("autocorrelated", "with their autocorrelation", CATEGORIES[1]),
)


def averaging_gain(
    table: pl.DataFrame,
    *,
    most: int = 9,
    columns: int = 3,
    width: int = SMALL_WIDTH,
    height: int = SMALL_HEIGHT,
) -> alt.FacetChart:
    """Noise of averages of n checkpoints relative to that of one, beside what it should be.

    Parameters
    ----------
    table : DataFrame
        A result of `averaging_gain`.
    most : int
        Panels at most.
    columns, width, height : int
        Panels in a row, and their size in pixels.

    Returns
    -------
    altair.FacetChart

    Examples
    --------
    >>> import signoise as sn
    >>> table = sn.averaging_gain(sn.example_scores(), by=("task", "metric", "params"), windows=(1, 2, 3))
    >>> chart = sn.plot.averaging_gain(table, most=2)
    """
    figure = "averaging_gain"
    needed = ("window", "noise_ratio", "noise_absolute", "expected_independent", "expected_autocorrelated")
    every = labelled(frame_of(table, figure, "averaging_gain", needed), more=("params", "side", "at"))
    kept = drawable(every, figure, ("noise_ratio",)).with_columns(
        independent=pl.col("expected_independent")
        / pl.col("expected_independent").sort_by("window").first().over("label"),
        autocorrelated=pl.col("expected_autocorrelated")
        / pl.col("expected_autocorrelated").sort_by("window").first().over("label"),
    )
    names = kept["label"].unique(maintain_order=True).to_list()
    left = len(names) - most
    said = [
        "bars: limits for normal checkpoints",
        f"{left} more benchmarks are not drawn" if left > 0 else "",
    ]
    ratios = (
        kept.filter(pl.col("label").is_in(names[:most]))
        .sort("window")
        .group_by("label", maintain_order=True)
        .last()
    )
    text = "Noise of averaged checkpoints relative to single ones; at the widest window " + ", ".join(
        f"{label}: {ratio:.2g} ({window})"
        for label, ratio, window in ratios.select("label", "noise_ratio", "window").iter_rows()
    )
    kept = kept.filter(pl.col("label").is_in(names[:most]))
    short = short_names(names[:most])
    chart = _panel().properties(width=width, height=height)
    grid = panels(chart, inline(_rows(kept, short)), list(short.values()), columns=columns)
    return finish(grid, title("Averaging checkpoints", said), f"{text}.", width=None, height=None)


def _rows(kept: pl.DataFrame, short: dict[str, str]) -> pl.DataFrame:
    """A row for each point of each line, and one for each interval."""
    kept = kept.with_columns(panel=pl.col("label").replace_strict(short, return_dtype=pl.String))
    lines = [kept.select("panel", "window", ratio=column, line=pl.lit(word)) for column, word, _ in _LINES]
    if {"noise_ratio_low", "noise_ratio_high"} <= set(kept.columns):
        lines.append(
            kept.select("panel", "window", low="noise_ratio_low", high="noise_ratio_high").drop_nulls(
                ["low", "high"]
            )
        )
    return pl.concat(lines, how="diagonal_relaxed")


def _panel() -> Any:
    alt = altair()
    base = alt.Chart()
    x = alt.X(
        "window:Q",
        axis=axis(title="checkpoints averaged", tickMinStep=1, grid=False),
        scale=alt.Scale(nice=False, zero=False, padding=8),
    )
    y = alt.Y("ratio:Q", axis=axis(title="noise / noise of one", tickCount=4))
    colour = alt.Color(
        "line:N",
        scale=alt.Scale(domain=[w for _, w, _ in _LINES], range=[c for *_, c in _LINES]),
        legend=legend(None, orient="bottom"),
    )
    observed = base.transform_filter(f"datum.line == '{_LINES[0][1]}'")
    return alt.layer(
        base.transform_filter("isValid(datum.high)")
        .mark_rule(color=ACCENT, strokeWidth=1.4, opacity=0.6)
        .encode(x=x, y=alt.Y("low:Q"), y2=alt.Y2("high")),
        base.transform_filter("isValid(datum.ratio)")
        .mark_line(strokeWidth=1.8)
        .encode(x=x, y=y, color=colour),
        observed.mark_point(filled=True, color=ACCENT, size=40, opacity=1).encode(x=x, y=y),
    )
