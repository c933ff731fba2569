"""The plane of signal and noise: which benchmarks separate models, at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from ._altair import altair
from ._frames import drawable, ends, frame_of, inline, labelled, log_domain, number, undrawn
from ._points import MOST_NAMES, Scale, name_layers
from ._theme import ACCENT, BAND, HEIGHT, MUTED, SEQUENTIAL, TEXT, WIDTH, axis, finish, legend, title

if TYPE_CHECKING:
    import altair as alt

_NUMBERS = ("snr", "snr_low", "snr_high", "signal", "noise", "decision_accuracy")
_RATIOS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


def signal_noise_plane(table: pl.DataFrame, *, width: int = WIDTH, height: int = HEIGHT) -> alt.LayerChart:
    """Signal against noise of each benchmark on logarithmic axes, with lines of equal SNR.

    Parameters
    ----------
    table : DataFrame
        A result of `report` or `snr`: ``signal, noise`` and, for the colour, ``decision_accuracy`` (join that of
        `decision_accuracy` if you like). Benchmarks flagged ``near_chance`` are drawn hollow.
    width, height : int
        Pixels of the plotting area; names are placed for this size.

    Returns
    -------
    altair.LayerChart

    Examples
    --------
    >>> import signoise as sn
    >>> chart = sn.plot.signal_noise_plane(sn.report(sn.example_scores()))
    >>> chart.save("plane.svg")  # doctest: +SKIP
    """
    figure = "signal_noise_plane"
    every = labelled(frame_of(table, figure, "report or snr", ("signal", "noise")))
    kept = drawable(every, figure, ("signal", "noise"), positive=("signal", "noise"))
    numbers = [name for name in _NUMBERS if name in kept.columns]
    kept = kept.with_columns(_near_chance(kept)).select("label", "chance", *numbers)
    x = Scale(*log_domain(*ends(kept, "noise")), width, log=True)
    y = Scale(*log_domain(*ends(kept, "signal")), height, log=True, down=True)

    def placed(chart: Any, x_field: str, y_field: str) -> Any:
        return chart.encode(
            x=alt.X(
                f"{x_field}:Q",
                scale=x.altair(),
                axis=axis(
                    title="Noise: sd between checkpoints / mean (no unit)",
                    tickCount=6,
                    format="~g",
                    grid=False,
                ),
            ),
            y=alt.Y(
                f"{y_field}:Q",
                scale=y.altair(),
                axis=axis(
                    title="Signal: range of the models / mean (no unit)", tickCount=6, format="~g", grid=False
                ),
            ),
        )

    alt = altair()
    few = kept.height <= MOST_NAMES
    lines, names = _iso_lines(x, y, kept)
    layers = [
        placed(
            alt.Chart(inline(lines)).mark_line(color=BAND, strokeWidth=1.2, strokeDash=[5, 3]), "x", "y"
        ).encode(detail=alt.Detail("snr:N")),
        placed(
            alt.Chart(inline(names)).mark_text(
                color=MUTED, fontSize=TEXT - 1, align="right", baseline="top", dx=-4, dy=3
            ),
            "x",
            "y",
        ).encode(text=alt.Text("text:N")),
        *(
            placed(
                alt.Chart(inline(part)).mark_point(
                    size=70 if few else 24, strokeWidth=1.6 if few else 1, opacity=1
                ),
                "noise",
                "signal",
            ).encode(**_encodings(part))
            for part in _by_knowledge(kept)
        ),
        *name_layers(kept, "noise", "signal", x, y, placed, taken=names.select("x", "y", "text").rows()),
    ]
    return finish(
        alt.layer(*layers),
        title(
            "Signal and noise", ["hollow: near chance" if kept["chance"].any() else "", undrawn(every, kept)]
        ),
        _describe(kept),
        width=width,
        height=height,
    )


def _iso_lines(x: Scale, y: Scale, kept: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Lines of equal ratio clipped to the axes, and a name at the upper end of each."""
    lines, names = [], []
    for ratio in _RATIOS:
        left, right = max(x.low, y.low / ratio), min(x.high, y.high / ratio)
        if x.to_pixels(max(left, x.low)) > x.pixels - 40 or right <= left or x.to_pixels(right) < 60:
            continue  # too short to carry its name
        lines += [{"snr": ratio, "x": end, "y": end * ratio} for end in (left, right)]
        at = _away_from(kept, x, y, ratio, left, right)
        names.append({"x": at, "y": at * ratio, "text": f"SNR {ratio:g}"})
    schema = {"x": pl.Float64, "y": pl.Float64}
    return pl.DataFrame(lines, schema={"snr": pl.Float64, **schema}), pl.DataFrame(
        names, schema={**schema, "text": pl.String}
    )


def _away_from(kept: pl.DataFrame, x: Scale, y: Scale, ratio: float, left: float, right: float) -> float:
    """Where on its line a name hides no point, as high up as may be."""
    points = [(x.to_pixels(a), y.to_pixels(b)) for a, b in kept.select("noise", "signal").iter_rows()]
    for tenths in range(8):
        at = right * (left / right) ** (tenths / 10)
        across, down = x.to_pixels(at), y.to_pixels(at * ratio)
        if not any(-60 < a - across < 8 and -8 < b - down < 24 for a, b in points):
            return at
    return right


def _encodings(kept: pl.DataFrame) -> dict[str, Any]:
    """Colour, hollow where near chance, and what a pointer is told."""
    alt = altair()
    encodings: dict[str, Any] = {"color": _colour(kept, shown=True), "tooltip": _tooltips(kept)}
    encodings["fill"] = _colour(kept, shown=False)
    if kept["chance"].any():
        encodings["fillOpacity"] = alt.condition(alt.datum.chance, alt.value(0), alt.value(0.85))
    return encodings


def _by_knowledge(kept: pl.DataFrame) -> list[pl.DataFrame]:
    """Apart where the decision accuracy is unknown: Vega leaves out points without a number for their colour."""
    if "decision_accuracy" not in kept.columns:
        return [kept]
    known = pl.col("decision_accuracy").is_finite().fill_null(value=False)
    return [part for part in (kept.filter(known), kept.filter(~known)) if part.height]


def _colour(part: pl.DataFrame, *, shown: bool) -> Any:
    alt = altair()
    if "decision_accuracy" not in part.columns:
        return alt.value(ACCENT)
    if not part["decision_accuracy"].count():
        return alt.value(MUTED)
    return alt.Color(
        "decision_accuracy:Q",
        scale=alt.Scale(range=list(SEQUENTIAL), domain=[0.5, 1], clamp=True),
        legend=legend("Decision accuracy", format=".0%", gradientLength=120) if shown else None,
    )


def _near_chance(table: pl.DataFrame) -> pl.Series:
    if "flags" not in table.columns:
        return pl.Series("chance", [False] * table.height)
    return table["flags"].list.contains("near_chance").fill_null(value=False).alias("chance")


def _tooltips(kept: pl.DataFrame) -> list[Any]:
    alt = altair()
    return [
        alt.Tooltip("label:N", title="benchmark"),
        *(alt.Tooltip(f"{name}:Q", format=".3~g") for name in _NUMBERS if name in kept.columns),
    ]


def _describe(kept: pl.DataFrame) -> str:
    ordered = kept.with_columns(ratio=pl.col("signal") / pl.col("noise")).sort("ratio", "label")
    worst, best = ordered.row(0, named=True), ordered.row(-1, named=True)
    return (
        f"Scatter plot of signal against noise of {kept.height} benchmarks on logarithmic axes. The largest ratio is "
        f"{number(best['ratio'])} ({best['label']}), the smallest {number(worst['ratio'])} ({worst['label']})."
    )
