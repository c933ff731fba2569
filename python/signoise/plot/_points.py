"""Points of benchmarks with their names: the layers that two figures share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from ._altair import altair
from ._frames import inline, shorten
from ._labels import place_labels
from ._theme import INK, MUTED, PAPER, TEXT

MOST_NAMES = 100
"""A figure with more points than this names none."""


@dataclass(frozen=True)
class Scale:
    """One axis: from data to pixels and back."""

    low: float
    high: float
    pixels: float
    log: bool = False
    down: bool = False

    def to_pixels(self, value: float) -> float:
        """Pixels from the left or from the top."""
        share = (self._of(value) - self._of(self.low)) / (self._of(self.high) - self._of(self.low))
        return self.pixels * ((1 - share) if self.down else share)

    def from_pixels(self, pixels: float) -> float:
        """The data value there."""
        share = 1 - pixels / self.pixels if self.down else pixels / self.pixels
        value = self._of(self.low) + share * (self._of(self.high) - self._of(self.low))
        return 10**value if self.log else value

    def _of(self, value: float) -> float:
        return math.log10(value) if self.log else value

    def altair(self) -> Any:
        """The same for Altair."""
        return altair().Scale(type="log" if self.log else "linear", domain=[self.low, self.high], nice=False)


def name_layers(
    table: pl.DataFrame,
    x: str,
    y: str,
    x_scale: Scale,
    y_scale: Scale,
    encode: Callable[..., Any],
    *,
    taken: Sequence[tuple[float, float, str]] = (),
) -> list[Any]:
    """Labels beside points, with a thin line where they had to move away; nothing where there are too many.

    `encode` gives a chart its x and y: ``encode(chart, x_field, y_field)``. `taken` are texts that stand there already,
    by their upper right corners.
    """
    if table.height > MOST_NAMES:
        return []
    alt = altair()
    texts = [shorten(label) for label in table["label"]]
    points = [(x_scale.to_pixels(a), y_scale.to_pixels(b)) for a, b in table.select(x, y).iter_rows()]
    corners = [(x_scale.to_pixels(a), y_scale.to_pixels(b), text) for a, b, text in taken]
    places = place_labels(
        points, texts, width=x_scale.pixels, height=y_scale.pixels, font_size=TEXT, taken=corners
    )
    if not places:
        return []
    rows = pl.DataFrame(
        {
            "label": [texts[p.index] for p in places],
            "name_x": [x_scale.from_pixels(p.x) for p in places],
            "name_y": [y_scale.from_pixels(p.y) for p in places],
            "point_x": [table[x][p.index] for p in places],
            "point_y": [table[y][p.index] for p in places],
            "line_x": [x_scale.from_pixels(p.end_x) for p in places],
            "line": [p.line for p in places],
        }
    )
    layers = []
    lines = rows.filter("line")
    if lines.height:
        rule = alt.Chart(inline(lines)).mark_rule(color=MUTED, strokeWidth=0.6)
        layers.append(encode(rule, "point_x", "point_y").encode(x2=alt.X2("line_x"), y2=alt.Y2("name_y")))
    style = {"align": "left", "baseline": "middle", "fontSize": TEXT}
    halo = alt.Chart(inline(rows)).mark_text(**style, color=PAPER, stroke=PAPER, strokeWidth=3)
    text = alt.Chart(inline(rows)).mark_text(**style, color=INK)
    return [
        *layers,
        *(encode(layer, "name_x", "name_y").encode(text=alt.Text("label:N")) for layer in (halo, text)),
    ]
