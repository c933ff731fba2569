"""Scores of members on single instances, group by group: what is asked when some instances are left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._decision_instances import scores_of_replicates
from .._decision_sides import matched
from .._instance_cells import Cells, Source
from .._instance_intervals import Windows, cells_by_group
from .._measure import member_scores
from ._smoothed import Members, Study, signs_of

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class ItemScores:
    """Scores of the members of one group on the instances that all of them share."""

    group: int
    members: Ints
    """Numbers among ``Encoded.members``."""
    sides: tuple[Floats, ...]
    """(n_members, n_items) for each side, as the metric has them; the members stand alike on all sides."""
    weights: Floats
    """Of each item; the score is sum(w x)/sum(w)."""
    clusters: Ints
    """Number of the cluster of each item."""
    items: pl.Series
    """``instance_id`` of each item."""
    n_unmatched: int
    """Instances that only some checkpoints have, left out."""
    reason: str
    """``ok``, or why there are no scores."""

    @property
    def clustered(self) -> bool:
        """Whether some items depend on each other."""
        return len(self.clusters) > 0 and int(self.clusters[-1]) + 1 < len(self.clusters)

    def keeping(self, chosen: Mask) -> ItemScores:
        """The same with some of the items alone."""
        return ItemScores(
            self.group,
            self.members,
            tuple(side[:, chosen] for side in self.sides),
            self.weights[chosen],
            np.unique(self.clusters[chosen], return_inverse=True)[1].astype(np.intp),
            self.items.filter(pl.Series(chosen)),
            self.n_unmatched,
            self.reason,
        )


@dataclass(frozen=True)
class NoiseRows:
    """The last checkpoints of the runs of one group, which say how far a score wobbles."""

    values: Floats
    """(n_checkpoints, n_items), run by run."""
    counts: Ints
    """Checkpoints of each run."""
    member: Ints
    """Place of each run's member among ``ItemScores.members``; -1 for a member that is not there."""


@dataclass(frozen=True)
class _Side:
    members: Members
    windows: Windows
    n_runs: Ints


class ItemStudy:
    """Scores of single instances behind a call of a verb."""

    def __init__(
        self,
        opened: tuple[Study, pl.DataFrame, Source],
        score: str,
        window: int,
        threads: int | None,
    ) -> None:
        """`opened` is what `open_with_instances` gives; `score` and `window` are as in `sample_size`."""
        self.study, self._frame, self._source = opened
        self._threads = threads
        study = self.study
        self._names = ("small", "target") if study.sided else ("all",)
        self._sides = [self._side(name, score, window) for name in self._names]
        self._window = window

    def signs(self, direction: Mapping[str, str] | None) -> list[Floats]:
        """+1 or -1 for each group, for each side: the direction of its metric."""
        return [signs_of(self.study, name, direction) for name in self._names]

    def labels(self, columns: Sequence[str]) -> pl.DataFrame:
        """What the instances of each group are scores of, a row a group: values of these columns, null without."""
        encoded = self.study.encoded
        first = np.zeros(len(encoded.groups), dtype=np.intp)
        first[encoded.group_of] = encoded.starts[:-1]
        rows = self._frame[first if encoded.row is None else encoded.row[first]]
        return rows.select(
            pl.col(name).cast(pl.String)
            if name in rows.columns
            else pl.lit(None, dtype=pl.String).alias(name)
            for name in columns
        )

    def groups(self) -> Iterator[ItemScores]:
        """Each group in order."""
        return self.beside(self._source)

    def groups_with_noise(self) -> Iterator[tuple[ItemScores, NoiseRows]]:
        """Each group in order, and the window of its runs on the first side."""
        places = self._matched()
        series = self.study.encoded.series(self._window, self._names[0], self._threads)
        noise = Windows(self.study.encoded, series, self._names[0])
        for group, rows, cells in self._cells(self._source, noise):
            found = self._one(group, rows, cells, places)
            yield found, _noise_rows(found, noise, rows, cells)

    def _cells(self, source: Source, *more: Windows) -> Iterator[tuple[int, Ints, Cells | None]]:
        windows = [*(side.windows for side in self._sides), *more]
        return cells_by_group(self.study.encoded, self._frame, windows, source)

    def beside(self, source: Source) -> Iterator[ItemScores]:
        """Scores of the same members from instances of another source, group by group."""
        places = self._matched()
        for group, rows, cells in self._cells(source):
            yield self._one(group, rows, cells, places)

    def _one(self, group: int, rows: Ints, cells: Cells | None, places: Sequence[Ints]) -> ItemScores:
        chosen = self._chosen(group, places)
        first = self._sides[0]
        own = np.flatnonzero(first.members.group == group)
        members = first.members.member[own][chosen[0]]
        reason = _reason(cells)
        if cells is None:
            nothing, empty = np.zeros((len(members), 0)), np.zeros(0, dtype=np.intp)
            sides = tuple(nothing for _ in self._sides)
            nobody = pl.Series([], dtype=pl.String)
            return ItemScores(group, members, sides, np.zeros(0), empty, nobody, 0, reason)
        n = cells.values.shape[1]
        sizes = np.diff(np.append(cells.clusters, n))
        sides = tuple(
            self._scores(side, group, rows, cells.values)[at]
            for side, at in zip(self._sides, chosen, strict=True)
        )
        if reason != "ok":
            sides = tuple(np.full(side.shape, np.nan) for side in sides)
        return ItemScores(
            group,
            members,
            sides,
            cells.weights[0],
            np.repeat(np.arange(len(sizes)), sizes),
            cells.items,
            cells.n_unmatched,
            reason,
        )

    def _matched(self) -> Sequence[Ints]:
        """Places of the members that stand on all sides."""
        if len(self._sides) == 1:
            return [np.arange(len(self._sides[0].members.scores))]
        first, second = (side.members for side in self._sides)
        return matched(first, second, self.study.encoded.members)

    def _chosen(self, group: int, places: Sequence[Ints]) -> list[Ints]:
        """The same within the members of one group."""
        mine = self._sides[0].members.group[places[0]] == group
        return [
            at[mine] - int(side.members.offsets[group]) for side, at in zip(self._sides, places, strict=True)
        ]

    def _scores(self, side: _Side, group: int, rows: Ints, values: Floats) -> Floats:
        return scores_of_replicates(
            side.windows, side.n_runs[side.members.group == group], group, rows, values
        )

    def _side(self, name: str, score: str, window: int) -> _Side:
        encoded = self.study.encoded
        series = encoded.series(window, name, self._threads)
        values, group, member, offsets, runs = member_scores(
            series, score, len(encoded.groups), self._threads
        )
        return _Side(
            Members(values, group, member, offsets),
            Windows(encoded, series, name, last=1 if score == "final" else None),
            runs["n"].astype(np.intp),
        )


def _noise_rows(found: ItemScores, noise: Windows, rows: Ints, cells: Cells | None) -> NoiseRows:
    series, own, counts = noise.of(found.group)
    place = {member: at for at, member in enumerate(found.members.tolist())}
    member = np.array([place.get(one, -1) for one in noise.series.member[series].tolist()], dtype=np.intp)
    if cells is None or found.reason != "ok":
        return NoiseRows(np.zeros((0, 0)), counts, member)
    return NoiseRows(cells.values[np.searchsorted(rows, own)], counts, member)


def _reason(cells: Cells | None) -> str:
    """Why these instances make no scores that are means with one weight an instance."""
    if cells is None or not cells.values.shape[1]:
        return "too_few"
    if cells.logs.any() or (cells.weights != cells.weights[:1]).any():
        return "not_a_mean"
    return "ok" if cells.finite else "not_finite"
