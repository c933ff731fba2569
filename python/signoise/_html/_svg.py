"""A drawn chart as part of the page: in the page's colours, readable aloud, and without names that meet another's."""

from __future__ import annotations

import re

from ..plot._theme import BAND, GRID, INK, MUTED, PAPER
from ._markup import Markup, text

#: The theme's colours -> what the page makes of them in light and dark. Colours that carry data stay.
_COLOURS = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    BAND: "var(--band)",
    PAPER: "var(--card)",
    "white": "var(--card)",
}
_PAINT = re.compile(r'(fill|stroke)="(' + "|".join(map(re.escape, _COLOURS)) + ')"')
_OPENING = re.compile(r"<svg\b[^>]*>")
_SIZE = re.compile(r'\b(width|height)="([\d.]+)"')
_IDS = re.compile(r'\bid="([^"]+)"')
_TAG = re.compile(r"<[a-zA-Z][^>]*>")
#: What a reader aloud would be told of each single mark.
_ARIA = re.compile(r' (?:aria-[a-z]+|role)="[^"]*"')


def inline_svg(svg: str, *, name: str, words: str) -> Markup:
    """An ``<svg>`` element for the page; `name` is the page's for this figure, `words` say what it shows."""
    start = _OPENING.search(svg)
    if start is None:
        return Markup("")
    sizes = dict(_SIZE.findall(start.group()))
    width, height = (round(float(sizes.get(side, 0))) for side in ("width", "height"))
    body = _TAG.sub(_restyled, svg[start.end() :])
    for known in set(_IDS.findall(body)):
        body = body.replace(f'id="{known}"', f'id="{name}-{known}"').replace(
            f"url(#{known})", f"url(#{name}-{known})"
        )
    return Markup(
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}" aria-label="{text(words)}">{body}'
    )


def _restyled(tag: re.Match[str]) -> str:
    return _PAINT.sub(lambda found: f'{found[1]}="{_COLOURS[found[2]]}"', _ARIA.sub("", tag.group()))
