"""Scores of single instances at some checkpoints, laid out in memory."""

from __future__ import annotations

import numpy as np

from .._metrics import missing_infinities
from ._moments import Group
from ._parts import Floats, Ids, overlaid


def averaged_cells(group: Group, checkpoints: Ids, width: int) -> tuple[Floats, Floats]:
    """Values and weights, repeats averaged within an instance; NaN where an instance has no usable score."""
    no_minus, no_plus = missing_infinities(group.metric)
    shape = (len(checkpoints), width)
    total, weight, items = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for repeat in group.repeats:
        cells = overlaid([held for held in group.held if held[1]["repeat"] == repeat], checkpoints, width)
        impossible = np.isinf(cells.values) & np.where(cells.values < 0, no_minus, no_plus)
        usable = cells.there & ~np.isnan(cells.values) & ~impossible
        total += np.where(usable, cells.values, 0.0)
        weights = np.ones(shape) if cells.weights is None else np.nan_to_num(cells.weights, nan=1.0)
        weight += np.where(usable, weights, 0.0)
        items += usable
    with np.errstate(all="ignore"):
        return total / items, weight / items
