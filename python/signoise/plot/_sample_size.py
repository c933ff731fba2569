"""How few instances decide nearly as well as all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from ._altair import altair
from ._frames import drawable, frame_of, inline, number, one_group
from ._theme import ACCENT, CATEGORIES, HEIGHT, WIDTH, axis, finish, title

if TYPE_CHECKING:
    import altair as alt

_UNITS = {"snr": "SNR (no unit)", "decision_accuracy": "decision accuracy (share of pairs)"}


def sample_size(
    table: pl.DataFrame, *, y: str | None = None, width: int = WIDTH, height: int = HEIGHT
) -> alt.LayerChart:
    """SNR or decision accuracy of a benchmark by the number of its instances.

    Parameters
    ----------
    table : DataFrame
        A result of `sample_size` for one benchmark.
    y : {"decision_accuracy", "snr"}, optional
        What is drawn. Default: the decision accuracy where the table has it.
    width, height : int
        Pixels of the plotting area.

    Returns
    -------
    altair.LayerChart

    Examples
    --------
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=1, recipes=5, params=(1e9,), checkpoints=3, instances=200, signal=0.05)
    >>> chart = sn.plot.sample_size(sn.sample_size(scores, sizes=4, n_subsets=20))
    """
    figure = "sample_size"
    y = y or ("decision_accuracy" if "decision_accuracy" in getattr(table, "columns", ()) else "snr")
    every = frame_of(table, figure, "sample_size", ("size", y, f"{y}_sd"))
    name = one_group(every, figure)
    kept = drawable(every, figure, ("size", y)).sort("size")
    kept = kept.with_columns(sd_low=pl.col(y) - pl.col(f"{y}_sd"), sd_high=pl.col(y) + pl.col(f"{y}_sd"))
    if y == "decision_accuracy":
        kept = kept.with_columns(pl.col("sd_low", "sd_high").clip(0, 1))
    alt = altair()
    x = alt.X(
        "size:Q",
        scale=alt.Scale(type="log", nice=False, padding=8),
        axis=axis(title="instances, logarithmic", grid=False, format="~s"),
    )
    up = alt.Y(f"{y}:Q", scale=alt.Scale(zero=False), axis=axis(title=_UNITS.get(y, y)))
    layers = [
        alt.Chart(inline(kept.drop_nulls(["sd_low", "sd_high"])))
        .mark_area(color=ACCENT, opacity=0.22)
        .encode(x=x, y=alt.Y("sd_low:Q"), y2=alt.Y2("sd_high")),
        alt.Chart(inline(kept))
        .mark_line(color=ACCENT, strokeWidth=2, point={"size": 30, "filled": True})
        .encode(x=x, y=up),
    ]
    said = ["band: ± the standard deviation between sets of so many instances"]
    words = ""
    if y == "decision_accuracy" and "enough" in kept.columns and kept["enough"][0] is not None:
        first = kept.row(0, named=True)
        enough = alt.Chart(inline(kept.head(1)))
        if first["enough_low"] is not None and first["enough_high"] is not None:
            layers.append(
                enough.mark_rect(color=CATEGORIES[1], opacity=0.12).encode(
                    x=alt.X("enough_low:Q"), x2="enough_high"
                )
            )
            words = f" ({number(first['enough_low'])} to {number(first['enough_high'])})"
        layers.append(enough.mark_rule(color=CATEGORIES[1], strokeWidth=1.6).encode(x=alt.X("enough:Q")))
        words = f"{first['enough']} instances are enough{words}"
        said.append(f"vertical line: {words}, limits over members")
    ends = kept[y][0], kept[y][-1]
    text = (
        f"{_UNITS.get(y, y)} of {name} by number of instances, from {number(ends[0])} with {kept['size'][0]} to "
        f"{number(ends[1])} with {kept['size'][-1]}. {words}".strip()
    )
    return finish(
        alt.layer(*layers), title(f"How many instances: {name}", said), text, width=width, height=height
    )
