"""Scores of the members of one group with wrong labels as they are, left out, and corrected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._adjust import Method, adjusted
from .._bootstrap_relations import ranks
from .._decision_rules import by_rule
from .._intervals import quantile_at
from .._kernels import kernels
from .._rounding import rounded
from ._item_scores import ItemScores
from ._part_means import Crossing, PartMeans, crossing, joined, pair_products, part_means

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Mask = NDArray[np.bool_]

#: Scores of all instances by the given labels, of those with a right label, of those with a wrong one; and by the
#: corrected labels of all that have one, and of the corrected instances alone.
_ALL, _CLEAN, _WRONG, _CORRECTED, _RELABELLED = range(5)
#: What a version is compared by: its part, and that of its wrong labels.
_PARTS = {"pruned": (_CLEAN, _WRONG), "corrected": (_CORRECTED, _RELABELLED)}


@dataclass(frozen=True)
class Draws:
    """How instances are drawn, and what the intervals are."""

    unit: int
    n_resamples: int
    rng_seed: int
    level: float
    threads: int | None


@dataclass(frozen=True)
class RunNumbers:
    """Of each member: score and rank before and after, and the paired difference."""

    original: Floats
    score: Floats
    stderr: Floats
    low: Floats
    high: Floats
    rank_original: Ints
    rank: Ints


@dataclass(frozen=True)
class PairNumbers:
    """Of each pair of members, in the order of ``triu_indices``."""

    original: Floats
    difference: Floats
    low: Floats
    high: Floats
    change: Floats
    change_low: Floats
    change_high: Floats
    p_value: Floats
    p_adjusted: Floats
    reordered: Mask
    flip: Crossing
    difference_clean: Floats


@dataclass(frozen=True)
class Agreement:
    """Of each column of two tables of scores."""

    decision_accuracy: Floats
    kept: Floats
    """Share of pairs in one order, a pair tied in both among them, tied in one of them one half."""
    tau: Floats
    """Kendall's b."""


class WrongLabels:
    """One group with its wrong labels, and the corrected scores of some of them."""

    def __init__(
        self, given: ItemScores, wrong: Mask, corrected: tuple[Floats, ...] | None, relabelled: Mask
    ) -> None:
        """`corrected` has the scores of `given.sides` by the right labels, where `relabelled`."""
        self.given, self.wrong, self.relabelled = given, wrong, relabelled
        weights = given.weights
        self._masks = {"original": np.ones(len(wrong), dtype=bool), "pruned": ~wrong}
        self._values = {"original": given.sides, "pruned": given.sides}
        if corrected is not None:
            self._masks["corrected"] = ~wrong | relabelled
            self._values["corrected"] = corrected
        parts = [
            part_means(given.sides[0], weights * np.array([~wrong | wrong, ~wrong, wrong]), given.clusters)
        ]
        if corrected is not None:
            masks = np.array([~wrong | relabelled, relabelled])
            parts.append(part_means(corrected[0], weights * masks, given.clusters))
        self._parts: PartMeans = joined(*parts)

    def n(self, version: str) -> int:
        """Instances of a version."""
        return int(self._masks[version].sum())

    def scores(self, version: str, side: int = 0) -> Floats:
        """Scores of the members on one side."""
        mask, values = self._masks[version], self._values[version][side]
        with np.errstate(all="ignore"):
            return values[:, mask] @ self.given.weights[mask] / self.given.weights[mask].sum()

    def runs(self, version: str, sign: float, level: float) -> RunNumbers:
        """A row for each member."""
        part, _ = _PARTS[version]
        difference, influence = self._parts.combined({part: 1.0, _ALL: -1.0})
        stderr = np.sqrt((influence**2).sum(axis=1))
        margin = self._t(min(self._parts.counts[[_ALL, part]]), level) * stderr
        original, score = (rounded(self.scores(name)) for name in ("original", version))
        before, after = (ranks(sign * side[:, None])[:, 0].astype(np.intp) for side in (original, score))
        return RunNumbers(
            self._parts.means[_ALL],
            self._parts.means[part],
            stderr,
            difference - margin,
            difference + margin,
            before,
            after,
        )

    def pairs(self, version: str, level: float, adjust: Method) -> PairNumbers:
        """A row for each pair of members."""
        part, wrong = _PARTS[version]
        counts = self._parts.counts
        first, second = np.triu_indices(len(self._parts.means[0]), 1)
        before, after = (rounded(self.scores(name)) for name in ("original", version))
        value, influence = self._parts.combined({part: 1.0})
        difference = value[first] - value[second]
        margin = self._t(counts[part], level) * np.sqrt(pair_products(influence, influence))
        moved, influence = self._parts.combined({part: 1.0, _ALL: -1.0})
        change, stderr = moved[first] - moved[second], np.sqrt(pair_products(influence, influence))
        change = np.where(stderr == 0, 0.0, change)
        df = np.full(len(change), min(counts[[_ALL, part]]) - 1.0)
        with np.errstate(all="ignore"):
            t = np.where(stderr > 0, change / stderr, np.where(change == 0, 0.0, np.nan))
            p = 2 * kernels().t_cdf(-np.abs(t), df)
        spread = self._t(min(counts[[_ALL, part]]), level) * stderr
        signs = [np.sign(side[first] - side[second]) for side in (before, after)]
        original = self._parts.means[_ALL]
        return PairNumbers(
            original[first] - original[second],
            difference,
            difference - margin,
            difference + margin,
            change,
            change - spread,
            change + spread,
            p,
            adjusted(p, adjust),
            signs[0] != signs[1],
            *self._crossing(wrong, level),
        )

    def agreement(self, version: str, draws: Draws) -> tuple[Agreement, Agreement]:
        """Of the ranking by a version with the original one: as they are, and on drawn instances."""
        names = ("original", version)
        before, after = (rounded(self.scores(name))[:, None] for name in names)
        found = _agreement(before, after, draws.threads)
        before, after = (rounded(self._replicates(name, 0, draws)) for name in names)
        return found, _agreement(before, after, draws.threads)

    def decisions(self, version: str, signs: tuple[float, float], draws: Draws) -> Floats:
        """Decision accuracy of small scale for the target on drawn instances."""
        small, target = (
            sign * rounded(self._replicates(version, side, draws)) for side, sign in enumerate(signs)
        )
        return _agreement(small, target, draws.threads).decision_accuracy

    def _crossing(self, wrong: int, level: float) -> tuple[Crossing, Floats]:
        """Where pairs change places, and their differences on instances with a right label."""
        counts = self._parts.counts
        (clean, own), (other, influence) = (self._parts.combined({part: 1.0}) for part in (_CLEAN, wrong))
        first, second = np.triu_indices(len(clean), 1)
        differences = [rounded(side)[first] - rounded(side)[second] for side in (clean, other)]
        scale = [side[first] - side[second] for side in (clean, other)]
        clean_difference, wrong_difference = (
            np.where(equal == 0, 0.0, exact) for equal, exact in zip(differences, scale, strict=True)
        )
        variances = (
            pair_products(own, own),
            pair_products(influence, influence),
            pair_products(own, influence),
        )
        df = np.full(len(first), min(counts[[_CLEAN, wrong]]) - 1.0)
        return crossing(clean_difference, wrong_difference, variances, df, level), clean_difference

    def _replicates(self, version: str, side: int, draws: Draws) -> Floats:
        """Scores of the members on drawn instances, (n_members, n_resamples); all versions share the draws."""
        clusters = self.given.clusters
        starts = np.flatnonzero(np.diff(clusters, prepend=-1))
        weights = self.given.weights * self._masks[version]
        values = np.where(self._masks[version], self._values[version][side], 0.0)
        totals = np.add.reduceat(values * weights, starts, axis=1)
        return kernels().bootstrap_means(
            np.ascontiguousarray(totals),
            np.add.reduceat(weights, starts),
            np.array([0, len(starts)], dtype=np.uintp),
            np.array([draws.unit], dtype=np.uint64),
            draws.n_resamples,
            draws.rng_seed,
            threads=draws.threads,
        )

    def _t(self, count: int, level: float) -> float:
        if count < 2:
            return np.nan
        return float(quantile_at("t_quantile", (1 + level) / 2, np.array([count - 1.0]))[0])


def _agreement(first: Floats, second: Floats, threads: int | None) -> Agreement:
    members, n = first.shape
    counts = kernels().pair_agreement(
        np.ascontiguousarray(first.T).ravel(),
        np.ascontiguousarray(second.T).ravel(),
        np.arange(n + 1, dtype=np.uintp) * np.uintp(members),
        threads=threads,
    )
    pairs, both = counts["n_pairs"].astype(float), counts["tied_both"]
    with np.errstate(all="ignore"):
        untied = (pairs - counts["tied_small"] - both) * (pairs - counts["tied_target"] - both)
        tau = (counts["concordant"] - counts["discordant"]) / np.sqrt(untied)
        one = counts["tied_small"] + counts["tied_target"]
        kept = (counts["concordant"] + both + one / 2) / pairs
        return Agreement(by_rule(counts, "half"), kept, tau)
