"""How the twins walk over groups: the same checks as ``rust/core/src/parallel.rs``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._errors import OptionError, ShapeError

Floats: TypeAlias = NDArray[np.float64]
Offsets: TypeAlias = NDArray[np.uintp]


def segments(values: Floats, offsets: Offsets) -> Iterator[tuple[int, Floats]]:
    """Yield the start and the values of each segment ``offsets[g]:offsets[g + 1]``."""
    bounds = [int(offset) for offset in offsets]
    if not bounds or bounds[0] != 0 or bounds[-1] != len(values) or sorted(bounds) != bounds:
        raise ShapeError(f"offsets must rise from 0 to the number of values, {len(values)}")
    for start, end in pairwise(bounds):
        yield start, values[start:end]


def check_length(name: str, found: int, expected: int) -> None:
    """Raise ``ShapeError`` where an array has not the length it needs."""
    if found != expected:
        raise ShapeError(f"{name} has {found} values, expected {expected}")


def check_positive(name: str, value: int) -> None:
    """Raise ``OptionError`` where a count is below 1."""
    if value < 1:
        raise OptionError(f"{name} must be at least 1, got {value}")
