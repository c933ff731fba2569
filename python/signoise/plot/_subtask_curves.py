"""Which subtasks to keep: the curve that everybody shows, and what of it is true."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from ._altair import altair
from ._frames import drawable, frame_of, inline, labelled, number, one_group
from ._theme import BAND, HEIGHT, INK, MUTED, WIDTH, axis, categories, finish, legend, title

if TYPE_CHECKING:
    import altair as alt

_RULES = {"snr": "by SNR alone", "greedy": "greedy", "backward": "backward"}


def subtask_curves(
    table: pl.DataFrame, *, y: str = "snr", width: int = WIDTH, height: int = HEIGHT
) -> alt.LayerChart:
    """SNR (or decision accuracy) of unions of a benchmark's subtasks by their number, beside random unions.

    Parameters
    ----------
    table : DataFrame
        A result of `filter_subtasks` for one benchmark.
    y : {"snr", "decision_accuracy"}
        What is drawn.
    width, height : int
        Pixels of the plotting area.

    Returns
    -------
    altair.LayerChart

    Examples
    --------
    >>> import polars as pl
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=5, recipes=6, params=(1e9,))
    >>> union = scores.with_columns(subtask="task", task=pl.lit("suite"))
    >>> chart = sn.plot.subtask_curves(sn.filter_subtasks(union))
    """
    figure = "subtask_curves"
    control = "control" if y == "snr" else "decision_control"
    low, high = f"{control}_low", f"{control}_high"
    every = frame_of(table, figure, "filter_subtasks", ("rule", "n_subtasks", y, control, low, high))
    name = one_group(every, figure, without=("subtask",))
    kept = drawable(every, figure, (y,)).with_columns(_rule_names())
    rules = kept["rule_name"].unique(maintain_order=True).to_list()
    random = (
        kept.filter(rule=kept["rule"][0]).drop_nulls([low, high]).select("n_subtasks", control, low, high)
    )
    alt = altair()
    x = alt.X(
        "n_subtasks:Q",
        axis=axis(title="subtasks in the union", tickMinStep=1, grid=False),
        scale=alt.Scale(nice=False),
    )
    unit = "SNR of the union (no unit)" if y == "snr" else "decision accuracy of the union (share of pairs)"
    scale = alt.Scale(zero=y == "snr")
    base = alt.Chart(inline(kept)).encode(
        x=x, color=alt.Color("rule_name:N", scale=categories(rules), legend=legend("Order"))
    )
    layers = [
        alt.Chart(inline(random))
        .mark_area(color=BAND, opacity=0.5)
        .encode(x=x, y=f"{low}:Q", y2=alt.Y2(high)),
        alt.Chart(inline(random))
        .mark_line(color=MUTED, strokeDash=[4, 3], strokeWidth=1.4)
        .encode(x=x, y=f"{control}:Q"),
        base.mark_line(strokeWidth=1.8).encode(y=alt.Y(f"{y}:Q", scale=scale, axis=axis(title=unit))),
        base.mark_point(filled=True, size=70).encode(y=f"{y}:Q").transform_filter("datum.best"),
    ]
    best = kept.sort(y, descending=True).row(0, named=True)
    text = (
        f"{unit} of {name} against the number of subtasks, a line for each of {len(rules)} orders. The highest is "
        f"{number(best[y])} with {best['n_subtasks']} subtasks ({best['rule_name']})."
    )
    said = ["dots: the best of each order, chosen on these scores; grey: random unions"]
    return finish(
        alt.layer(*layers), title(f"Fewer subtasks: {name}", said), text, width=width, height=height
    )


def subtask_gains(table: pl.DataFrame, *, width: int = WIDTH, height: int | None = None) -> alt.LayerChart:
    """What choosing subtasks seems to gain, beside what is left on scores that they were not chosen on.

    Parameters
    ----------
    table : DataFrame
        A result of `filtering_gain`.
    width, height : int, optional
        Pixels of the plotting area; the height follows the number of rows.

    Returns
    -------
    altair.LayerChart

    Examples
    --------
    >>> import polars as pl
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=5, recipes=8, params=(1e9,))
    >>> union = scores.with_columns(subtask="task", task=pl.lit("suite"))
    >>> chart = sn.plot.subtask_gains(sn.filtering_gain(union, n_splits=5))
    """
    figure = "subtask_gains"
    columns = ("rule", "size", "against", "gain", "low", "high", "gain_in_sample")
    every = frame_of(table, figure, "filtering_gain", columns).filter(size="best", against="full")
    kept = labelled(drawable(every, figure, ("gain", "gain_in_sample"))).with_columns(_rule_names())
    several = kept["label"].n_unique() > 1
    row = pl.concat_str("label", "rule_name", separator=" · ") if several else pl.col("rule_name")
    kept = kept.with_columns(
        row.alias("row"), *(pl.col(c).exp().alias(f"{c}_factor") for c in ("low", "high", "gain_in_sample"))
    )
    if "gain_factor" not in kept.columns:
        kept = kept.with_columns(gain_factor=pl.col("gain").exp())
    long = pl.concat(
        [
            kept.select("row", factor="gain_in_sample_factor", kind=pl.lit("where it was chosen")),
            kept.select("row", factor="gain_factor", kind=pl.lit("where it was not")),
        ]
    )
    alt = altair()
    y = alt.Y("row:N", sort=None, axis=axis(title=None, grid=False))
    x = alt.X(
        "factor:Q",
        scale=alt.Scale(type="log", nice=False, padding=16),
        axis=axis(title="SNR multiplied by (no unit, logarithmic)", format="~g", tickCount=6),
    )
    limits = kept.drop_nulls(["low", "high"])
    layers = [
        alt.Chart(inline(pl.DataFrame({"one": [1.0]})))
        .mark_rule(color=MUTED, strokeDash=[4, 3])
        .encode(x=alt.X("one:Q")),
        alt.Chart(inline(limits))
        .mark_rule(color=INK, strokeWidth=1.6)
        .encode(y=y, x=alt.X("low_factor:Q"), x2=alt.X2("high_factor")),
        alt.Chart(inline(long))
        .mark_point(filled=True, size=80, opacity=1)
        .encode(
            x=x,
            y=y,
            color=alt.Color(
                "kind:N",
                scale=categories(["where it was not", "where it was chosen"]),
                legend=legend("SNR gained", orient="bottom"),
            ),
        ),
    ]
    rows = kept["row"].n_unique()
    text = "; ".join(
        f"{a}: {number(b)} where it was chosen, {number(c)} where it was not"
        for a, b, c in kept.select("row", "gain_in_sample_factor", "gain_factor").iter_rows()
    )
    return finish(
        alt.layer(*layers),
        title("What is left of the gain", ["bars: limits of the gain where the subtasks were not chosen"]),
        f"Factors by which choosing subtasks multiplies the SNR. {text}.",
        width=width,
        height=height or 40 + 28 * rows,
    )


def _rule_names() -> pl.Expr:
    return (
        pl.col("rule")
        .replace_strict(_RULES, default=pl.col("rule"), return_dtype=pl.String)
        .alias("rule_name")
    )
