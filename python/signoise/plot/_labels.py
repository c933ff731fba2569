"""Names beside points without running into each other: placed here, always in the same way.

Points and labels are in pixels, y down. A label takes the first free place among eight around its point, then farther
out (with a thin line back). Labels without a free place are left out; those of crowded points go last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: Widths of letters of a sans-serif face, in font sizes, rounded up.
_NARROW, _USUAL, _CAPITAL, _WIDE = 0.3, 0.54, 0.7, 0.88
_ANGLES = (0, 180, 90, 270, 45, 315, 135, 225)
_RINGS = (8.0, 16.0, 28.0, 42.0)
_NEAR = 20.0
"""A label nearer than this needs no line to its point."""


@dataclass(frozen=True)
class Place:
    """Where a label stands: its left end and middle height; `line` where it is far from its point, to `end_x`."""

    index: int
    x: float
    y: float
    end_x: float
    line: bool


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


def place_labels(
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    *,
    width: float,
    height: float,
    font_size: float = 11,
    radius: float = 5,
    taken: Sequence[tuple[float, float, str]] = (),
) -> list[Place]:
    """Place labels in a plotting area; those that fit nowhere are missing from the answer.

    `taken` are texts that stand there already, by their upper right corners.

    Examples
    --------
    >>> [round(place.x) for place in place_labels([(50, 50), (50, 52)], ["a", "b"], width=100, height=100)]
    [58, 36]
    """
    dots = [_Box(x - radius, y - radius, x + radius, y + radius) for x, y in points]
    full = [_Box(x - text_width(text, font_size), y, x, y + font_size + 4) for x, y, text in taken]
    placed = []
    for index in sorted(range(len(points)), key=lambda i: (_crowd(points, i), points[i], i)):
        wide, high = text_width(texts[index], font_size), font_size + 1.0
        found = _free(
            points[index], wide, high, [*full, *(d for i, d in enumerate(dots) if i != index)], width, height
        )
        if found is None:
            continue
        box, distance = found
        full.append(box)
        end = min(max(points[index][0], box.left - 2), box.right + 2)
        placed.append(Place(index, box.left, (box.top + box.bottom) / 2, end, distance >= _NEAR))
    return sorted(placed, key=lambda place: place.index)


def text_width(text: str, font_size: float) -> float:
    """About so many pixels; never far too few."""
    return font_size * sum(map(_letter, text))


def _letter(letter: str) -> float:
    if letter in "iljtfrI.,:;|'!()[]-/ ":
        return _NARROW
    if letter in "mwMW@%" or ord(letter) > 0x2E7F:
        return _WIDE
    return _CAPITAL if letter.isupper() else _USUAL


def _crowd(points: Sequence[tuple[float, float]], index: int) -> int:
    x, y = points[index]
    return sum(abs(x - a) < 60 and abs(y - b) < 20 for a, b in points)


def _free(
    point: tuple[float, float],
    wide: float,
    high: float,
    obstacles: Sequence[_Box],
    width: float,
    height: float,
) -> tuple[_Box, float] | None:
    for distance in _RINGS:
        for angle in _ANGLES:
            box = _beside(point, wide, high, distance, angle)
            inside = box.left >= 0 and box.top >= 0 and box.right <= width and box.bottom <= height
            if inside and not any(box.meets(other) for other in obstacles):
                return box, distance
    return None


def _beside(point: tuple[float, float], wide: float, high: float, distance: float, angle: float) -> _Box:
    across, down = math.cos(math.radians(angle)), -math.sin(math.radians(angle))
    x, y = point[0] + distance * across, point[1] + distance * down
    left = x if across > 0.3 else (x - wide if across < -0.3 else x - wide / 2)
    top = y - high / 2 if abs(down) < 0.3 else (y - high if down < 0 else y)
    return _Box(left, top, left + wide, top + high)
