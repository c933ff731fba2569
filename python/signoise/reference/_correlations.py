"""Twin of ``_interventions/_correlations.py`` and of Kendall's tau between benchmarks: pair by pair, rank by rank."""

from __future__ import annotations

import math
from itertools import combinations

from ._segments import Floats


def pearson(x: Floats, y: Floats) -> float:
    """Correlation of two columns; NaN where one does not vary."""
    n = len(x)
    mean_x, mean_y = sum(x) / n, sum(y) / n
    xx = sum((a - mean_x) ** 2 for a in x)
    yy = sum((b - mean_y) ** 2 for b in y)
    if len(set(x)) < 2 or len(set(y)) < 2:
        return math.nan
    return float(sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / math.sqrt(xx * yy))


def mean_ranks(values: Floats) -> list[float]:
    """Rank of each value from 1, equals share their mean."""
    return [sum(v < value for v in values) + (sum(v == value for v in values) + 1) / 2 for value in values]


def spearman(x: Floats, y: Floats) -> float:
    """Correlation of the ranks."""
    return pearson(mean_ranks(x), mean_ranks(y))  # type: ignore[arg-type]


def kendall(x: Floats, y: Floats) -> float:
    """Kendall's tau-b: agreeing less disagreeing pairs over the root of the untied pairs of each; NaN without any."""
    score = untied_x = untied_y = 0
    for i, j in combinations(range(len(x)), 2):
        a, b = (x[i] > x[j]) * 1 - (x[i] < x[j]) * 1, (y[i] > y[j]) * 1 - (y[i] < y[j]) * 1
        score += a * b
        untied_x += a != 0
        untied_y += b != 0
    return score / math.sqrt(untied_x * untied_y) if untied_x and untied_y else math.nan
