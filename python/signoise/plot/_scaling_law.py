"""A fitted law with its bands, the runs it was fitted to, and the target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from .._errors import SchemaError
from ._altair import altair
from ._frames import drawable, frame_of, inline, number, size
from ._theme import ACCENT, CATEGORIES, HEIGHT, INK, PAPER, WIDTH, axis, finish, quantity_axis, title

if TYPE_CHECKING:
    import altair as alt

_BANDS = (("prediction_low", "prediction_high", 0.15), ("low", "high", 0.3))


def scaling_law(
    curve: pl.DataFrame,
    *,
    x: str = "flops",
    y: str = "score",
    points: pl.DataFrame | None = None,
    target: pl.DataFrame | None = None,
    width: int = WIDTH,
    height: int = HEIGHT,
) -> alt.LayerChart:
    """A law's prediction along one input, with the band of the curve and the interval of a new run.

    Parameters
    ----------
    curve : DataFrame
        A result of `predict` at several places: `x`, ``predicted`` and, where they are defined, ``low, high`` (the
        curve) and ``prediction_low, prediction_high`` (a new run).
    x : str
        The input along which the curve runs; logarithmic.
    y : str
        What is predicted: the column of `points`, and the title of the axis.
    points : DataFrame, optional
        The runs that the law was fitted to, with columns `x` and `y`.
    target : DataFrame, optional
        A result of `predict` or `prediction_error`: ``predicted`` with its interval and, where it is known, ``actual``.
    width, height : int
        Pixels of the plotting area.

    Returns
    -------
    altair.LayerChart

    Examples
    --------
    >>> import polars as pl
    >>> import signoise as sn
    >>> runs = pl.DataFrame({"params": [1e8, 4e8, 1e9, 4e9] * 3, "tokens": [2e9] * 4 + [8e9] * 4 + [3.2e10] * 4})
    >>> runs = runs.with_columns(loss=1.7 + 400 * pl.col("params") ** -0.34 + 410 * pl.col("tokens") ** -0.28)
    >>> places = pl.DataFrame({"params": [1e8, 1e9, 1e10], "tokens": [3.2e10] * 3})
    >>> curve = sn.predict(runs, y="loss", at=places, interval="none")
    >>> chart = sn.plot.scaling_law(curve, x="params", y="loss", points=runs)
    """
    figure = "scaling_law"
    line = drawable(
        frame_of(curve, figure, "predict", (x, "predicted")), figure, (x, "predicted"), positive=(x,)
    ).sort(x)
    if line[x].n_unique() < 2:
        raise SchemaError(
            f"{figure} needs predictions at two places along {x} or more; give predict several in `at`"
        )
    alt = altair()
    across = alt.X(
        f"{x}:Q",
        scale=alt.Scale(type="log", nice=False, padding=12),
        axis=quantity_axis(x, tickCount=6),
    )

    def up(field: str) -> Any:
        return alt.Y(f"{field}:Q", scale=alt.Scale(zero=False), axis=axis(title=y))

    layers = []
    bands = [band for band in _BANDS if band[0] in line.columns and line[band[0]].count() > 1]
    for low, high, opacity in bands:
        area = alt.Chart(inline(line.drop_nulls([low, high]))).mark_area(color=ACCENT, opacity=opacity)
        layers.append(area.encode(x=across, y=up(low), y2=alt.Y2(high)))
    layers.append(
        alt.Chart(inline(line)).mark_line(color=ACCENT, strokeWidth=2).encode(x=across, y=up("predicted"))
    )
    if points is not None:
        runs = drawable(
            frame_of(points, figure, "the fitted table", (x, y)), figure, (x, y), positive=(x,)
        ).select(x, y)
        layers.append(
            alt.Chart(inline(runs))
            .mark_point(filled=True, color=INK, size=26, opacity=0.6)
            .encode(x=across, y=up(y))
        )
    said = ["dark band: the curve; light band: a new run" if len(bands) == 2 else ""]
    text = f"Curve of {y} predicted from {x}, from {number(line['predicted'][0])} to {number(line['predicted'][-1])}."
    if target is not None:
        goal = drawable(
            frame_of(target, figure, "predict or prediction_error", (x, "predicted")),
            figure,
            (x, "predicted"),
        )
        more, words = _target(goal, x, across, up)
        layers += more
        said.append("diamonds: predicted at the target; crosses: what came")
        text += f" {words}"
    return finish(alt.layer(*layers), title(f"Law of scale: {y}", said), text, width=width, height=height)


def _target(goal: pl.DataFrame, x: str, across: Any, up: Any) -> tuple[list[Any], str]:
    alt = altair()
    base = alt.Chart(inline(goal))
    layers = []
    if "prediction_low" in goal.columns:
        limits = alt.Chart(inline(goal.drop_nulls(["prediction_low", "prediction_high"])))
        layers.append(
            limits.mark_rule(color=CATEGORIES[1], strokeWidth=1.8).encode(
                x=across, y=up("prediction_low"), y2="prediction_high"
            )
        )
    diamond = base.mark_point(
        shape="diamond", filled=True, size=110, color=CATEGORIES[1], opacity=1, stroke=PAPER
    )
    layers.append(diamond.encode(x=across, y=up("predicted")))
    known = goal.filter(pl.col("actual").is_not_null()) if "actual" in goal.columns else goal.clear()
    if known.height:
        cross = alt.Chart(inline(known)).mark_point(shape="cross", size=90, color=INK, opacity=1, filled=True)
        layers.append(cross.encode(x=across, y=up("actual")))
    first = goal.row(0, named=True)
    words = f"At {size(first[x])} it predicts {number(first['predicted'])}"
    return layers, words + (
        f"; {number(first['actual'])} came." if known.height and first["actual"] is not None else "."
    )
