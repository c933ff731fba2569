"""Decision accuracy of unions of subtasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._decision_sides import encode_sides
from .._duplicates import Duplicates
from .._kernels import kernels
from .._metrics import require_direction
from ._cube import Cube, Side, cubes

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """Scores of the members of one task that stand on both sides, (n_members, n_subtasks); higher is better."""

    small: Floats
    target: Floats
    n_unmatched: int
    """Members that are not on both sides with all subtasks."""

    def agreement(self, weights: Floats) -> Floats:
        """Decision accuracy, ties one half, of unions given by weights (n_unions, n_subtasks); NaN below 2 members."""
        if len(self.small) < 2:
            return np.full(len(weights), np.nan)
        shares = (weights / weights.sum(axis=1, keepdims=True)).T
        # Unions that differ by rounding alone are tied.
        small, target = (
            np.ascontiguousarray(np.round(side @ shares, 12)) for side in (self.small, self.target)
        )
        return kernels().agreement_columns(small, target)


def matched_pairs(
    table: pl.DataFrame,
    tasks: Sequence[Cube],
    *,
    small: pl.Expr | str,
    target: pl.Expr | str,
    match: str | Sequence[str] | None,
    by: Sequence[str],
    score: str,
    window: int,
    direction: Mapping[str, str] | None,
    order: str,
    columns: Mapping[str, str] | None,
    duplicates: Duplicates,
) -> list[Pairs | None]:
    """Both sides of each task; None where no score of the task is on one of them."""
    sides = {"small": small, "target": target}
    placed = encode_sides(
        table,
        sides,
        by=[*by, "subtask"],
        match=match,
        order=order,
        columns=columns,
        duplicates=duplicates,
    )
    encoded = placed.encoded
    found = cubes(encoded, placed.frame, {name: name for name in sides}, window)
    key = [name for name in encoded.by if name != "subtask"]
    by_label = {tuple(cube.group[name] for name in key): cube for cube in found}
    out: list[Pairs | None] = []
    for task in tasks:
        cube = by_label.get(tuple(task.group.get(name) for name in key))
        out.append(None if cube is None or cube.subtasks != task.subtasks else _pairs(cube, score, direction))
    return out


def _pairs(cube: Cube, score: str, direction: Mapping[str, str] | None) -> Pairs:
    sides = [cube.sides[name] for name in ("small", "target")]
    if not all(len(side.member) for side in sides):
        nobody = np.zeros((0, len(cube.subtasks)))
        return Pairs(nobody, nobody, sum(len(side.labels) for side in sides))
    both = np.intersect1d(sides[0].labels, sides[1].labels)
    small, target = (_better_is_higher(side, score, direction)[np.isin(side.labels, both)] for side in sides)
    return Pairs(small, target, len(np.union1d(sides[0].labels, sides[1].labels)) - len(both))


def _better_is_higher(side: Side, score: str, direction: Mapping[str, str] | None) -> Floats:
    """Scores of the members of a side, those of a metric where lower is better negated."""
    sign = 1 if side.metric is None else require_direction([side.metric], direction)[side.metric]
    return sign * side.members(side.values, side.starts, score)
