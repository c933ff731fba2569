"""Does the signal-to-noise ratio foretell the decision accuracy?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import polars as pl

from ._altair import altair
from ._frames import drawable, ends, frame_of, inline, labelled, log_domain, number, undrawn
from ._points import MOST_NAMES, Scale, name_layers
from ._theme import ACCENT, CATEGORIES, HEIGHT, WIDTH, axis, finish, title

if TYPE_CHECKING:
    import altair as alt


def snr_vs_decision_accuracy(
    table: pl.DataFrame, *, snr: str = "snr", width: int = WIDTH, height: int = HEIGHT
) -> alt.LayerChart:
    """Decision accuracy of each benchmark against its SNR, with the line of least squares on log10(SNR).

    Parameters
    ----------
    table : DataFrame
        A result of `report`, or of `snr` joined with one of `decision_accuracy`. The correlation in the subtitle is
        that of `correlate`.
    snr : str
        The column of the ratio, such as ``"snr_within_scale"``.
    width, height : int
        Pixels of the plotting area; names are placed for this size.

    Returns
    -------
    altair.LayerChart

    Examples
    --------
    >>> import signoise as sn
    >>> chart = sn.plot.snr_vs_decision_accuracy(sn.report(sn.example_scores()), snr="snr_within_scale")
    """
    figure = "snr_vs_decision_accuracy"
    every = labelled(frame_of(table, figure, "report", (snr, "decision_accuracy")))
    kept = drawable(every, figure, (snr, "decision_accuracy"), positive=(snr,))
    kept = kept.select("label", snr, "decision_accuracy")
    low, high = log_domain(*ends(kept, snr))
    x = Scale(low, high, width, log=True)
    floor = min(0.4, math.floor(ends(kept, "decision_accuracy")[0] * 10) / 10)
    y = Scale(floor, 1.04, height, down=True)

    def placed(chart: Any, x_field: str, y_field: str) -> Any:
        percent = axis(
            title="decision accuracy (share of pairs)", format=".0%", values=[i / 10 for i in range(11)]
        )
        return chart.encode(
            x=alt.X(
                f"{x_field}:Q", scale=x.altair(), axis=axis(title=f"{snr} (no unit)", format="~g", grid=False)
            ),
            y=alt.Y(f"{y_field}:Q", scale=y.altair(), axis=percent),
        )

    alt = altair()
    line, said = _fit(kept, snr, low, high)
    points = alt.Chart(inline(kept)).mark_point(
        filled=True, size=60 if kept.height <= MOST_NAMES else 20, color=ACCENT, opacity=0.85
    )
    layers = [
        placed(points, snr, "decision_accuracy").encode(
            tooltip=[alt.Tooltip("label:N"), alt.Tooltip(f"{snr}:Q"), alt.Tooltip("decision_accuracy:Q")]
        ),
        *name_layers(kept, snr, "decision_accuracy", x, y, placed),
    ]
    if line is not None:
        drawn = alt.Chart(inline(line)).mark_line(color=CATEGORIES[1], strokeWidth=1.6, clip=True)
        layers.insert(0, placed(drawn, "x", "y"))
    text = f"Scatter plot of decision accuracy against {snr} of {kept.height} benchmarks; {said}."
    return finish(
        alt.layer(*layers),
        title("Does the ratio foretell the decisions?", [said, undrawn(every, kept)]),
        text,
        width=width,
        height=height,
    )


def _fit(kept: pl.DataFrame, snr: str, low: float, high: float) -> tuple[pl.DataFrame | None, str]:
    """The line at both ends of the axis, and the correlation in words."""
    from .._interventions._correlate import correlate

    found = correlate(
        kept.rename({"label": "task"}), snr, "decision_accuracy", log10=snr, n_resamples=1
    ).filter(measure="pearson")
    r, least, most = found.select("value", "low", "high").row(0)
    if r is None:
        return None, "too few benchmarks, or values that do not vary, for a correlation"
    said = f"correlation with log10 of it: {number(r, 2)}"
    said += f" ({number(least, 2)} to {number(most, 2)})" if least is not None else ""
    moments = kept.select(
        a=pl.col(snr).log10().mean(),
        b=pl.col("decision_accuracy").mean(),
        s=pl.cov(pl.col(snr).log10(), "decision_accuracy") / pl.col(snr).log10().var(),
    ).row(0)
    middle, level, slope = moments
    ends = [low, high]
    return pl.DataFrame({"x": ends, "y": [level + slope * (math.log10(v) - middle) for v in ends]}), said
