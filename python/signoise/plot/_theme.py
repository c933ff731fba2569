"""One look for all figures: sizes, colours, axes and titles.

Nothing is set through Altair's global theme or a chart's ``config``: charts with a ``config`` cannot be layered or put
side by side, which is what users do with them next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._altair import altair

WIDTH, HEIGHT = 520, 340
"""Pixels of a figure's plotting area: two columns of a paper at 100 %."""
SMALL_WIDTH, SMALL_HEIGHT = 236, 150
"""The same of one of several small multiples."""

INK, MUTED, GRID, PAPER, BAND = "#1f2a37", "#5b6673", "#e2e6eb", "#ffffff", "#c9d2dc"
"""Text, secondary text, grid lines, what lies behind labels, bands and unknowns."""

CATEGORIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5ab5", "#8c6d31")
"""Okabe and Ito's colours for all kinds of sight, without their yellow (too faint on white) and black, and two more."""
ACCENT = CATEGORIES[0]
SEQUENTIAL = ("#d9a21b", "#8fae4b", "#3aa67f", "#2a8296", "#44589c")
"""Low to high: darker all the way for every kind of sight, and seen on white and on black."""
DIVERGING = "blueorange"

TEXT = 11
"""Font size of labels, pixels."""


def axis(**options: Any) -> Any:
    """An axis with a light grid."""
    defaults = {
        "gridColor": GRID,
        "domainColor": MUTED,
        "tickColor": MUTED,
        "labelColor": INK,
        "titleColor": INK,
        "labelFontSize": TEXT,
        "titleFontSize": TEXT + 1,
        "titleFontWeight": "normal",
        "labelLimit": 220,
    }
    return altair().Axis(**{**defaults, **options})


#: Vega's SI prefixes as people write sizes: 7B, not 7G.
_BIG = "replace(format(datum.value, '~s'), 'G', 'B')"


def quantity_axis(name: str, **options: Any) -> Any:
    """An axis of training tokens, parameters, compute or steps."""
    words = {
        "tokens": "training tokens",
        "params": "parameters",
        "flops": "compute (FLOPs)",
        "step": "optimizer step",
        "at": "share of training done",
    }
    form = {"flops": {"format": ".0e"}, "at": {"format": ".0%"}}.get(name, {"labelExpr": _BIG})
    return axis(**{"title": words.get(name, name), "grid": False, "labelOverlap": True, **form, **options})


def legend(title: str | None, **options: Any) -> Any:
    """A legend in the same type as the axes."""
    defaults = {
        "labelColor": INK,
        "titleColor": INK,
        "labelFontSize": TEXT,
        "titleFontSize": TEXT,
        "titleFontWeight": "normal",
        "labelLimit": 180,
        "titleLimit": 180,
        "symbolOpacity": 1,
    }
    return altair().Legend(title=title, **{**defaults, **options})


def title(text: str, subtitle: Sequence[str] = (), *, small: bool = False) -> Any:
    """A title at the left, with what must be said about the data below it."""
    lines = [line for line in subtitle if line]
    return altair().TitleParams(
        text=text,
        anchor="start",
        frame="group",
        color=INK,
        fontSize=TEXT + (1 if small else 3),
        fontWeight="bold",
        offset=6 if small else 10,
        **({"subtitle": lines, "subtitleColor": MUTED, "subtitleFontSize": TEXT} if lines else {}),
    )


def finish(
    chart: Any,
    heading: Any,
    description: str,
    *,
    width: int | None = WIDTH,
    height: int | None = HEIGHT,
) -> Any:
    """Give a chart its size, title, alt text and an open frame."""
    properties: dict[str, Any] = {"title": heading, "description": description}
    if width is not None and height is not None:
        properties |= {"width": width, "height": height, "view": altair().ViewBackground(stroke=None)}
    return chart.properties(**properties)


def panels(chart: Any, rows: Any, names: Sequence[str], *, columns: int) -> Any:
    """Draw a chart once for each value of ``panel``, with its own vertical axis; all rows in one table."""
    header = altair().Header(
        title=None, labelColor=INK, labelFontWeight="bold", labelFontSize=TEXT + 1, labelAnchor="start"
    )
    facet = altair().Facet("panel:N", sort=list(names), header=header)
    chart = chart.properties(view=altair().ViewBackground(stroke=None))
    return chart.facet(facet=facet, data=rows, columns=columns).resolve_scale(y="independent")


def categories(values: Sequence[str]) -> Any:
    """A colour for each of a few values."""
    return altair().Scale(
        domain=list(values), range=[CATEGORIES[i % len(CATEGORIES)] for i in range(len(values))]
    )
