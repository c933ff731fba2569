"""What is asked of a subset of instances: the SNR, and the decision accuracy with and without each member."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._decision_instances import scores_of_replicates
from .._decision_rules import by_rule, without_each
from .._decision_sides import matched
from .._instance_intervals import Windows
from .._kernels import kernels
from .._measure import Settings, member_scores, snr_of_replicates
from .._rounding import rounded
from ._smoothed import Members, Study, signs_of

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class _Side:
    """Members of one side of the decision, and their runs."""

    members: Members
    windows: Windows
    n_runs: Ints
    """Of each member."""
    signs: Floats
    """+1 or -1 for each group."""

    def of(self, group: int, chosen: Ints, rows: Ints, replicates: Floats) -> Floats:
        """Scores of the chosen members of a group in each replicate, higher is better."""
        places = self.members.group == group
        found = scores_of_replicates(self.windows, self.n_runs[places], group, rows, replicates)
        return self.signs[group] * rounded(found[chosen - int(self.members.offsets[group])])


@dataclass(frozen=True)
class Answers:
    """What one set of subsets says: an entry for each subset."""

    snr: Floats
    decisions: Floats
    left_out: Floats
    """Decision accuracy without each member, (n_subsets, n_members)."""


class Question:
    """Everything that is asked of a subset of instances."""

    def __init__(
        self,
        study: Study,
        settings: Settings,
        direction: Mapping[str, str] | None,
        threads: int | None,
    ) -> None:
        encoded = study.encoded
        self._study, self._settings, self._threads = study, settings, threads
        mask = "small" if study.sided else None
        self.series = encoded.series(settings.window, mask, threads)
        self._own = Windows(encoded, self.series, mask)
        self._sides: list[_Side] = []
        self._places: tuple[Ints, Ints] | None = None
        if study.sided:
            self._sides = [self._side(name, direction) for name in ("small", "target")]
            first, second = (side.members for side in self._sides)
            self._places = matched(first, second, encoded.members)

    @property
    def windows(self) -> list[Windows]:
        """The scores that are needed."""
        return [self._own, *(side.windows for side in self._sides)]

    def n_members(self, group: int) -> int:
        """Members of a group: those on both sides, where there are two."""
        if self._places is None:
            return len(np.unique(self.series.member[self.series.group == group]))
        return int(np.count_nonzero(self._sides[0].members.group[self._places[0]] == group))

    def ask(self, group: int, rows: Ints, replicates: Floats) -> Answers:
        """Statistics of each replicate (column) of the scores in `rows`."""
        study, settings, n = self._study, self._settings, replicates.shape[1]
        snr = snr_of_replicates(
            study.encoded, settings, [self._own, self._own], group, rows, replicates, self._threads
        )
        if self._places is None:
            return Answers(snr, np.full(n, np.nan), np.zeros((n, 0)))
        mine = self._sides[0].members.group[self._places[0]] == group
        small, target = (
            side.of(group, places[mine], rows, replicates)
            for side, places in zip(self._sides, self._places, strict=True)
        )
        return Answers(snr, *self._agreement(small, target))

    def _agreement(self, small: Floats, target: Floats) -> tuple[Floats, Floats]:
        n_members, n = small.shape
        offsets = np.arange(n + 1, dtype=np.uintp) * np.uintp(n_members)
        counts = kernels().pair_agreement(
            np.ascontiguousarray(small.T).ravel(),
            np.ascontiguousarray(target.T).ravel(),
            offsets,
            threads=self._threads,
        )
        group = np.repeat(np.arange(n), n_members)
        left_out = without_each(counts, np.full(n, n_members), group, "half")
        if n_members < 2:
            return np.full(n, np.nan), np.full((n, n_members), np.nan)
        return by_rule(counts, "half"), left_out.reshape(n, n_members)

    def _side(self, name: str, direction: Mapping[str, str] | None) -> _Side:
        encoded, settings = self._study.encoded, self._settings
        series = encoded.series(settings.window, name, self._threads)
        n_groups = len(encoded.groups)
        values, group, member, offsets, runs = member_scores(series, settings.score, n_groups, self._threads)
        return _Side(
            Members(values, group, member, offsets),
            Windows(encoded, series, name, last=1 if settings.score == "final" else None),
            runs["n"].astype(np.intp),
            signs_of(self._study, name, direction),
        )
