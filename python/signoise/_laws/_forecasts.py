"""What laws, baselines and combinations of laws foretold of larger scales, each from smaller ones alone.

From every scale but the lowest, all larger ones are predicted (rolling origin). One step: the next larger scale. What a
combination uses at an origin - which law was best, weights, who is ahead - is known there: errors at earlier origins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ._law import Floats
from ._points import Points, beyond
from ._splits import BASELINES, LEAST_RUNGS, Outcome, Split, baseline

#: Combinations of laws: the one that was best so far, the median weighted by 1/MSE so far, that of laws near the best.
COMBINATIONS = ("selected", "weighted", "median")
#: What stands in where a law could not predict: the score that anyone knows.
_FALLBACK = BASELINES[0]
#: Mean squared relative errors below rounding are equal.
_ROUNDING = 1e-24
#: Predictions this near to each other, relatively, are one.
_SAME = 1e-4


def blocks(points: Points, most: int) -> Points:
    """Points on at most so many scales: neighbours are put together, so that each holds about as many points."""
    sizes = np.bincount(points.scale)
    if len(sizes) <= most:
        return points
    # Of thousands of scales first into some ten times as many as may stay.
    fine = ((np.cumsum(sizes) - 0.5 * sizes) / points.n * 10 * most).astype(np.int64)
    fine = np.unique(fine, return_inverse=True)[1] if len(sizes) > 10 * most else np.arange(len(sizes))
    block = _even_parts(np.bincount(fine, sizes).astype(np.float64), most)[fine]
    last = np.append(np.flatnonzero(np.diff(block)), len(block) - 1)
    return replace(points, scale=block[points.scale].astype(np.int64), rungs=points.rungs[last])


def _even_parts(sizes: Floats, n_parts: int) -> NDArray[np.int64]:
    """The part of each place, of so many runs of neighbours with the lowest sum of squared sizes."""
    n = len(sizes)
    below = np.concatenate([[0.0], np.cumsum(sizes)])
    total = below**2
    cuts = np.zeros((n_parts, n + 1), dtype=np.intp)
    for part in range(1, n_parts):
        # Of the first `end` places into one part more: where does the last part begin?
        sums = total[:, None] + (below[None, :] - below[:, None]) ** 2
        sums[np.tril_indices(n + 1)] = np.inf
        sums[:part] = np.inf
        cuts[part] = np.argmin(sums, axis=0)
        total = np.min(sums, axis=0)
    part_of = np.zeros(n, dtype=np.int64)
    end = n
    for part in range(n_parts - 1, 0, -1):
        begin = int(cuts[part, end])
        part_of[begin:end] = part
        end = begin
    return part_of


def origins(points: Points) -> list[Split]:
    """From each scale on, all larger ones."""
    n = int(points.scale.max()) + 1
    return [
        Split(
            "rolling",
            float(points.rungs[rung]),
            np.flatnonzero(points.scale < rung),
            np.flatnonzero(points.scale >= rung),
        )
        for rung in range(LEAST_RUNGS, n)
    ]


@dataclass(frozen=True)
class Forecasts:
    """Predictions of every contender from every origin."""

    points: Points
    splits: Sequence[Split]
    predicted: Mapping[str, Sequence[Floats]]
    """Of laws and baselines, an array an origin; NaN where there is none."""
    forms: Mapping[str, str]
    """The form of each law: laws of one form share a vote."""

    @classmethod
    def of(
        cls,
        points: Points,
        splits: Sequence[Split],
        laws: Mapping[str, Sequence[Outcome]],
        forms: Mapping[str, str],
    ) -> Forecasts:
        """From the outcomes of the laws; the baselines are added."""
        predicted = {name: [one.predicted for one in every] for name, every in laws.items()}
        for name in BASELINES:
            predicted[name] = [baseline(name, points, split).predicted for split in splits]
        whole = {
            name: [p if np.isfinite(p).all() else np.full_like(p, np.nan) for p in every]
            for name, every in predicted.items()
        }
        return cls(points, splits, whole, forms)

    @property
    def n(self) -> int:
        """Number of origins."""
        return len(self.splits)

    # --- errors ------------------------------------------------------------------------------------------

    def _relative(self, origin: int, predicted: Floats, rung: int) -> Floats:
        """Signed relative errors at the points of one scale; NaN where the score is 0."""
        test = self.splits[origin].test
        here = self.points.scale[test] == rung
        actual = self.points.y[test[here]]
        with np.errstate(all="ignore"):
            found = (predicted[here] - actual) / np.abs(actual)
        return np.where(np.isfinite(found), found, np.nan)

    def one_step(self, every: Sequence[Floats]) -> list[Floats]:
        """Signed relative errors at the next larger scale, an array an origin."""
        return [self._relative(i, every[i], LEAST_RUNGS + i) for i in range(self.n)]

    @cached_property
    def steps(self) -> dict[str, list[Floats]]:
        """One-step errors of laws and baselines."""
        return {name: self.one_step(every) for name, every in self.predicted.items()}

    def filled(self, errors: Sequence[Floats]) -> Floats:
        """Mean absolute one-step errors; where there is none, that of the last known score."""
        own, other = means(errors), means(self.steps[_FALLBACK])
        return np.where(np.isfinite(own), own, other)

    def skill(self, errors: Sequence[Floats], upto: int | None = None) -> float:
        """1 - mean error / that of the better baseline, over the first origins; NaN where that one made no error."""
        own = self.filled(errors)[:upto]
        bases = [means(self.steps[name])[:upto] for name in BASELINES]
        both = np.isfinite(own) & np.isfinite(bases).all(axis=0)
        least = min(float(base[both].sum()) for base in bases)
        return 1 - float(own[both].sum()) / least if least > 0 else np.nan

    def far(
        self, every: Sequence[Floats], amounts: Mapping[str, Floats], distance: float
    ) -> tuple[float, int]:
        """Mean absolute error at scales at least so many times beyond what was known, and how many such there are."""
        found = []
        for origin, split in enumerate(self.splits):
            known = {name: column[split.train] for name, column in amounts.items()}
            for rung in range(LEAST_RUNGS + origin, LEAST_RUNGS + self.n):
                there = np.flatnonzero(self.points.scale == rung)
                away = beyond(known, {name: c[there] for name, c in amounts.items()}, len(there))
                # The middle of a scale, not its farthest point, is as far as the scale is.
                if float(np.median(away)) >= distance:
                    error = mean(np.abs(self._relative(origin, every[origin], rung)))
                    found += [error] if np.isfinite(error) else []
        return (float(np.mean(found)), len(found)) if found else (np.nan, 0)

    # --- combinations ------------------------------------------------------------------------------------

    def shares(self, values: Mapping[str, Floats]) -> Floats:
        """Equal votes, shared by laws of one form and by those that say the same."""
        group = self.groups(values)
        votes = np.array([1 / group.count(one) for one in group])
        return votes / max(votes.sum(), 1.0)

    def groups(self, values: Mapping[str, Floats]) -> list[int]:
        """A number for each law, shared by laws of one form and by those that say the same."""
        heads: list[str] = []
        found: list[int] = []
        for name, own in values.items():
            alike = (
                place
                for place, head in enumerate(heads)
                if self.forms[head] == self.forms[name]
                or np.allclose(values[head], own, rtol=_SAME, atol=0.0)
            )
            found.append(next(alike, len(heads)))
            if found[-1] == len(heads):
                heads.append(name)
        return found

    def weights(self, values: Mapping[str, Floats], upto: int) -> Floats:
        """Votes divided by the mean squared error over the first origins."""
        votes = self.shares(values)
        mse = np.array([self._mean_square(name, upto) for name in values])
        if not np.isfinite(mse).all():
            return votes
        weights = votes / np.maximum(mse, _ROUNDING)
        found: Floats = weights / weights.sum()
        return found

    def _mean_square(self, name: str, upto: int) -> float:
        squares = [mean(one**2) for one in self.steps[name][:upto]]
        others = [mean(one**2) for one in self.steps[_FALLBACK][:upto]]
        return mean(np.array([a if np.isfinite(a) else b for a, b in zip(squares, others, strict=True)]))

    def best(self, names: Sequence[str], upto: int) -> str | None:
        """The law with the lowest mean error over the first origins."""
        totals = {name: mean(self.filled(self.steps[name])[:upto]) for name in names}
        known = [name for name in names if np.isfinite(totals[name])]
        return min(known, key=lambda name: totals[name]) if known else None

    def near(self, names: Sequence[str], upto: int) -> list[str]:
        """Laws better than both baselines over the first origins, and within a standard error of the best of them.

        The standard error is that of the best law's mean error over origins; with fewer than two there is none, and all
        laws that are better stay. Where none is, there is nothing to go by, and all stay.
        """
        ahead = [name for name in names if upto and self.skill(self.steps[name], upto) > 0]
        best = self.best(ahead, upto)
        if best is None:
            return list(names)
        errors = self.filled(self.steps[best])[:upto]
        errors = errors[np.isfinite(errors)]
        if len(errors) < 2:
            return ahead
        limit = errors.mean() + errors.std(ddof=1) / np.sqrt(len(errors))
        return [name for name in ahead if mean(self.filled(self.steps[name])[:upto]) <= limit]

    def combine(self, values: Mapping[str, Floats], upto: int, size: int) -> dict[str, Floats]:
        """The combinations of predictions at so many places, with what is known at the first origins.

        Beside them the lowest and the highest prediction of the laws near the best one.
        """
        able = {name: own for name, own in values.items() if np.isfinite(own).all()}
        if not able:
            return dict.fromkeys((*COMBINATIONS, "lowest", "highest"), np.full(size, np.nan))
        best = self.best(list(able), upto)
        near = {name: able[name] for name in self.near(list(able), upto)}
        front = np.stack(list(near.values()))
        middle = weighted_median(front, self.shares(near))
        return {
            "selected": middle if best is None else able[best],
            # A median, as one wild law would carry any mean away.
            "weighted": weighted_median(np.stack(list(able.values())), self.weights(able, upto)),
            "median": middle,
            "lowest": front.min(axis=0),
            "highest": front.max(axis=0),
        }

    @cached_property
    def combined(self) -> dict[str, list[Floats]]:
        """The combinations at every origin, with what was known there."""
        each = [
            self.combine({name: self.predicted[name][origin] for name in self.forms}, origin, len(split.test))
            for origin, split in enumerate(self.splits)
        ]
        return {name: [one[name] for one in each] for name in (*COMBINATIONS, "lowest", "highest")}

    @cached_property
    def covered(self) -> float:
        """Share of next larger points between the lowest and the highest prediction of laws near the best."""
        inside = []
        for origin, split in enumerate(self.splits):
            here = self.points.scale[split.test] == LEAST_RUNGS + origin
            actual = self.points.y[split.test[here]]
            low, high = (self.combined[side][origin][here] for side in ("lowest", "highest"))
            if np.isfinite(low).all():
                inside.append((low <= actual) & (actual <= high))
        return float(np.mean(np.concatenate(inside))) if inside else np.nan


def mean(values: Floats) -> float:
    """Mean of what is known."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else np.nan


def means(errors: Sequence[Floats]) -> Floats:
    """Mean absolute error of each origin."""
    return np.array([mean(np.abs(one)) for one in errors])


def weighted_median(values: Floats, weights: Floats) -> Floats:
    """Of each column the value at which half of the weight lies below; the middle of two where it is exactly half."""
    order = np.argsort(values, axis=0, kind="stable")
    ranked = np.take_along_axis(values, order, axis=0)
    below = np.cumsum(weights[order], axis=0)
    half: NDArray[np.bool_] = below >= 0.5 - 1e-12
    first = np.argmax(half, axis=0)
    columns = np.arange(values.shape[1])
    last = np.minimum(first + 1, len(values) - 1)
    exact = np.abs(below[first, columns] - 0.5) <= 1e-12
    upper = np.where(exact, ranked[last, columns], ranked[first, columns])
    return 0.5 * (ranked[first, columns] + upper)
