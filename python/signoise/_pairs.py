"""Differences between pairs of sides, in batches: on shared instances where there are any, else unpaired."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._exact_tests import mcnemar
from ._kernels import kernels
from ._matching import Sides
from ._mean_intervals import (
    ClusterError,
    Estimate,
    mean_estimate,
    p_value,
    paired_difference,
    unpaired_difference,
)
from .engines._engine import Engine, Made

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Mask = NDArray[np.bool_]
Test = Literal["auto", "exact", "t", "permutation"]

#: Instances that are stacked for one call of the kernels.
BATCH = 1 << 21
#: Differences that vary by less than this, relative to the scores, are all the same but for rounding.
ROUNDING = 1e-12


@dataclass
class Pairs:
    """One entry a pair; NaN where undefined."""

    group: Ints
    a: Ints
    b: Ints
    mean_a: Floats
    mean_b: Floats
    stderr_a: Floats
    stderr_b: Floats
    covariance: Floats
    stderr: Floats
    df: Floats
    n: Floats
    n_clusters: Floats
    effective_clusters: Floats
    design_effect: Floats
    skewness: Floats
    correlation: Floats
    variance_reduction: Floats
    unmatched_a: Floats
    unmatched_b: Floats
    only_a: Floats
    """Instances that only a solves, of 0/1 scores; NaN for other scores."""
    only_b: Floats
    p_flipped: Floats
    """p-value of random signs, or of random labels where no instance is shared; NaN where it was not asked for, or the
    score is no plain mean of instances.
    """
    equal: Mask
    """All scores are the same on both sides."""
    constant: Mask
    """All differences are the same, 0 or not."""
    paired: Mask

    @property
    def difference(self) -> Floats:
        return self.mean_a - self.mean_b

    def at(self, rows: Ints) -> Pairs:
        """Some of them."""
        return Pairs(**{f.name: getattr(self, f.name)[rows] for f in fields(Pairs)})

    def estimate(self) -> Estimate:
        """Differences with their errors."""
        return Estimate(
            value=self.difference,
            stderr=self.stderr,
            df=self.df,
            n=np.nan_to_num(self.n).astype(np.intp),
            n_clusters=np.nan_to_num(self.n_clusters).astype(np.intp),
            effective_clusters=self.effective_clusters,
            design_effect=self.design_effect,
            skewness=self.skewness,
        )

    def tested(self, test: Test) -> tuple[Floats, list[str]]:
        """Two-sided p-values of no difference, and the test that each is from."""
        p = p_value(self.estimate())
        names = np.where(self.paired, "t", "t_unpaired").astype(object)
        if test == "permutation":
            flipped = ~np.isnan(self.p_flipped)
            p = np.where(flipped, self.p_flipped, p)
            names[flipped] = np.where(self.paired, "sign_flip", "label_permutation")[flipped]
        elif test != "t":
            binary = ~np.isnan(self.only_a)
            method: Literal["mid_p", "exact"] = "mid_p" if test == "auto" else "exact"
            b, c = (np.where(binary, column, 0.0) for column in (self.only_a, self.only_b))
            p = np.where(binary, mcnemar(b, c, method), p)
            names[binary] = f"mcnemar_{method}"
        # Scores that never differ are no evidence of a difference, whatever their number.
        return np.where(self.equal, 1.0, p), names.tolist()


@dataclass
class Estimates:
    """Score of every group and side on all instances it has, or as its tool reports it; by (group, side)."""

    value: Floats
    stderr: Floats
    df: Floats
    n: Floats
    n_clusters: Floats
    effective_clusters: Floats
    design_effect: Floats
    skewness: Floats
    solved: Floats
    """Instances with score 1, of 0/1 scores of independent instances; NaN for other scores."""
    unmatched: Floats
    """Instances that were left out because another side lacks them; NaN where there are none at all."""
    from_instances: Mask

    def rows(self, rows: Ints) -> Estimates:
        """Some of them."""
        return Estimates(**{f.name: getattr(self, f.name)[rows] for f in fields(Estimates)})

    def at(self, rows: Ints) -> Estimate:
        """Some of them, as inputs of an unpaired difference."""
        return Estimate(
            value=self.value[rows],
            stderr=self.stderr[rows],
            df=self.df[rows],
            n=np.nan_to_num(self.n[rows]).astype(np.intp),
            n_clusters=np.nan_to_num(self.n_clusters[rows]).astype(np.intp),
            effective_clusters=self.effective_clusters[rows],
            design_effect=self.design_effect[rows],
            skewness=self.skewness[rows],
        )


@dataclass(frozen=True)
class Flips:
    """How random signs and labels are drawn."""

    n_resamples: int
    rng_seed: int
    units: NDArray[np.uint64]
    """Address of the draws of each group."""
    threads: int | None
    engine: Engine


@dataclass
class _Job:
    """One mean or difference over instances: where its scores stand."""

    row: int
    group: int
    a: Ints
    b: Ints
    items: Ints


def compare_sides(
    sides: Sides,
    pairs: Iterable[tuple[int, int, int]],
    error: ClusterError,
    *,
    together: bool = False,
    flips: Flips | None = None,
) -> Pairs:
    """Differences of the given (group, a, b).

    Parameters
    ----------
    together
        Use the instances that all sides of a group share, the same for every pair.
    flips
        Test by random signs (or labels) as well.
    """
    where = np.array(list(pairs), dtype=np.intp).reshape(-1, 3)
    out = _empty(where)
    jobs: list[_Job] = []
    for group, rows in _by_group(where[:, 0].tolist()):
        place = shared_by_all(sides.place(group)) if together else sides.place(group)
        for row in rows:
            ia, ib = place[:, where[row, 1]], place[:, where[row, 2]]
            both = np.flatnonzero((ia >= 0) & (ib >= 0))
            out.unmatched_a[row] = np.count_nonzero(ia >= 0) - len(both)
            out.unmatched_b[row] = np.count_nonzero(ib >= 0) - len(both)
            out.n[row] = len(both)
            out.paired[row] = len(both) > 0
            if len(both):
                _look(sides, out, row, ia[both], ib[both])
                jobs.append(_Job(row, group, ia[both], ib[both], sides.items[group] + both))
    for batch in _batches(sides, jobs):
        _fill_paired(sides, out, batch, error)
    if flips is not None:
        _flip(sides, out, jobs, flips)
    _fill_unpaired(sides, out, np.flatnonzero(~out.paired), error, together=together)
    if flips is not None:
        _relabel(sides, out, np.flatnonzero(~out.paired), flips)
    clustered = np.array([sides.clustered(group) for group in range(len(sides.groups))], dtype=bool)
    # McNemar's test takes instances for independent, and weights for 1.
    not_binary = ~out.paired | clustered[out.group] | sides.ratio[out.group] | sides.logs[out.group]
    out.only_a[not_binary] = out.only_b[not_binary] = np.nan
    return out


def side_estimates(sides: Sides, error: ClusterError, *, together: bool = False) -> Estimates:
    """Scores of all rows of ``sides.labels``."""
    labels = sides.labels
    size = labels.height
    nan = np.full(size, np.nan)
    floats = [f.name for f in fields(Estimates) if f.name != "from_instances"]
    out = Estimates(**{name: nan.copy() for name in floats}, from_instances=np.zeros(size, dtype=bool))
    jobs: list[_Job] = []
    sides_of = labels["side"].to_numpy()
    for group, rows in _by_group(labels["group"].to_list()):
        every = sides.place(group)
        place = shared_by_all(every) if together else every
        plain = not (sides.ratio[group] or sides.logs[group] or sides.clustered(group))
        for row in rows:
            own = place[:, sides_of[row]]
            has = np.flatnonzero(own >= 0)
            total = np.count_nonzero(every[:, sides_of[row]] >= 0)
            if total:
                out.unmatched[row] = total - len(has)
            if len(has):
                jobs.append(_Job(row, group, own[has], own[has], sides.items[group] + has))
                values = sides.value[own[has]]
                if plain and np.all((values == 0) | (values == 1)):
                    out.solved[row] = np.count_nonzero(values)
    for batch in _batches(sides, jobs):
        found = _estimate(sides, batch, error)
        at = np.array([job.row for job in batch], dtype=np.intp)
        for f in fields(Estimate):
            getattr(out, f.name)[at] = getattr(found, f.name)
        out.from_instances[at] = True
    result = labels["result"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    own = np.isnan(out.unmatched) & ~np.isnan(result)
    stderr = labels["stderr"].fill_null(np.nan).to_numpy()
    n = labels["n_result"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    out.value[own], out.stderr[own], out.n[own] = result[own], stderr[own], n[own]
    out.df[own] = np.where(n[own] >= 2, n[own] - 1, np.inf)
    return out


def _by_group(groups: Sequence[int]) -> Iterable[tuple[int, list[int]]]:
    """Groups, and the places where each stands."""
    rows: dict[int, list[int]] = {}
    for row, group in enumerate(groups):
        rows.setdefault(group, []).append(row)
    return rows.items()


def shared_by_all(place: Ints) -> Ints:
    """Only the instances that all sides have which have any."""
    present = place[:, (place >= 0).any(axis=0)]
    return np.where(np.asarray((present >= 0).all(axis=1))[:, None], place, -1)


def _empty(where: Ints) -> Pairs:
    size = len(where)
    columns = {
        f.name: np.zeros(size, dtype=bool) if f.type == "Mask" else np.full(size, np.nan)
        for f in fields(Pairs)
        if f.name not in ("group", "a", "b")
    }
    return Pairs(where[:, 0], where[:, 1], where[:, 2], **columns)


def _look(sides: Sides, out: Pairs, row: int, ia: Ints, ib: Ints) -> None:
    """What can be told of a pair without arithmetic."""
    a, b = sides.value[ia], sides.value[ib]
    d = a - b
    size = max(float(np.max(np.abs(a))), float(np.max(np.abs(b))))
    weighted = sides.ratio[out.group[row]]
    same_weights = not weighted or np.array_equal(sides.weight[ia], sides.weight[ib])
    out.equal[row] = same_weights and not d.any()
    out.constant[row] = same_weights and len(d) > 1 and size < np.inf and float(np.ptp(d)) <= ROUNDING * size
    # A first look at a few spares most pairs of real scores the look at all.
    if all(_binary(x[:64]) and _binary(x) for x in (a, b)):
        out.only_a[row], out.only_b[row] = np.count_nonzero(d > 0), np.count_nonzero(d < 0)


def _binary(x: Floats) -> bool:
    return bool(np.all((x == 0) | (x == 1)))


def _batches(sides: Sides, jobs: Sequence[_Job], most: int = BATCH) -> Iterable[list[_Job]]:
    """Jobs of one kind (weighted or not, clustered or not) whose instances fit into a batch."""
    kinds: dict[tuple[bool, bool], list[_Job]] = {}
    known: dict[int, tuple[bool, bool]] = {}
    for job in jobs:
        if job.group not in known:
            known[job.group] = (bool(sides.ratio[job.group]), sides.clustered(job.group))
        kinds.setdefault(known[job.group], []).append(job)
    for kind in kinds.values():
        batch: list[_Job] = []
        size = 0
        for job in kind:
            if batch and size + len(job.a) > most:
                yield batch
                batch, size = [], 0
            batch.append(job)
            size += len(job.a)
        if batch:
            yield batch


@dataclass(frozen=True)
class _Stack:
    """Instances of the jobs of a batch, one job after the other."""

    a: Ints
    b: Ints
    offsets: NDArray[np.uintp]
    clusters: Ints | None
    weighted: bool
    logs: Mask = field(repr=False)


def _stack(sides: Sides, batch: Sequence[_Job]) -> _Stack:
    group = batch[0].group
    items = np.concatenate([job.items for job in batch])
    offsets = np.concatenate([[0], np.cumsum([len(job.a) for job in batch])]).astype(np.uintp)
    return _Stack(
        np.concatenate([job.a for job in batch]),
        np.concatenate([job.b for job in batch]),
        offsets,
        sides.clusters[items] if sides.clusters is not None and sides.clustered(group) else None,
        bool(sides.ratio[group]),
        sides.logs[np.array([job.group for job in batch], dtype=np.intp)],
    )


def _estimate(sides: Sides, batch: Sequence[_Job], error: ClusterError) -> Estimate:
    """Scores of single sides."""
    stack = _stack(sides, batch)
    found = mean_estimate(
        sides.value[stack.a],
        stack.offsets,
        weights=sides.weight[stack.a] if stack.weighted else None,
        clusters=stack.clusters,
        error=error,
    )
    value = np.where(stack.logs, np.exp(found.value), found.value)
    # The error of exp(x) is exp(x) times that of x.
    stderr = np.where(stack.logs, value * found.stderr, found.stderr)
    return Estimate(
        value,
        stderr,
        found.df,
        found.n,
        found.n_clusters,
        found.effective_clusters,
        found.design_effect,
        found.skewness,
    )


def _fill_paired(sides: Sides, out: Pairs, batch: Sequence[_Job], error: ClusterError) -> None:
    stack = _stack(sides, batch)
    found = paired_difference(
        sides.value[stack.a],
        sides.value[stack.b],
        stack.offsets,
        weights_a=sides.weight[stack.a] if stack.weighted else None,
        weights_b=sides.weight[stack.b] if stack.weighted else None,
        clusters=stack.clusters,
        error=error,
    )
    rows = np.array([job.row for job in batch], dtype=np.intp)
    with np.errstate(all="ignore"):
        scale_a = np.where(stack.logs, np.exp(found.a.value), 1.0)
        scale_b = np.where(stack.logs, np.exp(found.b.value), 1.0)
        out.mean_a[rows] = np.where(stack.logs, scale_a, found.a.value)
        out.mean_b[rows] = np.where(stack.logs, scale_b, found.b.value)
        out.stderr_a[rows] = scale_a * found.a.stderr
        out.stderr_b[rows] = scale_b * found.b.stderr
        out.covariance[rows] = scale_a * scale_b * found.covariance
        variance = out.stderr_a[rows] ** 2 + out.stderr_b[rows] ** 2
        first_order = np.sqrt(np.maximum(variance - 2 * out.covariance[rows], 0.0))
        stderr = np.where(stack.logs, first_order, found.difference.stderr)
        # Rounding must not pass for a tiny error, and a tiny error for proof.
        exact = out.constant[rows] & (~stack.logs | out.equal[rows])
        stderr = np.where(exact & ~np.isnan(stderr), 0.0, stderr)
        out.stderr[rows] = stderr
        out.variance_reduction[rows] = np.where(variance > 0, 1 - stderr**2 / variance, np.nan)
    out.df[rows] = found.difference.df
    out.n_clusters[rows] = found.difference.n_clusters
    out.effective_clusters[rows] = found.difference.effective_clusters
    out.design_effect[rows] = found.difference.design_effect
    out.skewness[rows] = found.difference.skewness
    out.correlation[rows] = found.correlation


@dataclass(frozen=True)
class _Signed:
    """Differences whose signs are drawn, one comparison after the other."""

    differences: Floats
    offsets: NDArray[np.uintp]
    units: NDArray[np.uint64]

    def p_values(self, n_resamples: int, rng_seed: int, threads: int | None) -> Floats:
        """Of each comparison."""
        found = kernels().sign_flip_test(
            self.differences, self.offsets, self.units, n_resamples, rng_seed, threads=threads
        )
        return np.asarray(found["p_value"])


@dataclass(frozen=True)
class _Labelled:
    """Scores whose labels are drawn, one comparison after the other on each side."""

    a: Floats
    offsets_a: NDArray[np.uintp]
    b: Floats
    offsets_b: NDArray[np.uintp]
    units: NDArray[np.uint64]

    def p_values(self, n_resamples: int, rng_seed: int, threads: int | None) -> Floats:
        """Of each comparison."""
        found = kernels().label_permutation_test(
            self.a,
            self.offsets_a,
            self.b,
            self.offsets_b,
            self.units,
            n_resamples,
            rng_seed,
            threads=threads,
        )
        return np.asarray(found["p_value"])


def _p_values(tests: Sequence[_Signed | _Labelled], sizes: Sequence[float], flips: Flips) -> Iterator[Floats]:
    """Those of each of some tests, wherever they are made."""
    threads = flips.engine.threads_of(flips.threads)
    n_resamples, rng_seed = flips.n_resamples, flips.rng_seed
    return flips.engine.map(lambda test: test.p_values(n_resamples, rng_seed, threads), tests, sizes=sizes)


def _flip(sides: Sides, out: Pairs, jobs: Sequence[_Job], flips: Flips) -> None:
    """p-values of random signs of the differences, or of their sums over clusters."""
    plain = [job for job in jobs if not (sides.ratio[job.group] or sides.logs[job.group])]
    sizes = [float(len(job.a)) for job in plain]
    batches = list(_batches(sides, plain, min(BATCH, int(sum(sizes) / flips.engine.shares) + 1)))
    sizes = [float(sum(len(job.a) for job in batch)) for batch in batches]
    tests = Made(batches, lambda batch: _signed(sides, batch, flips))
    for batch, found in zip(batches, _p_values(tests, sizes, flips), strict=True):
        out.p_flipped[np.array([job.row for job in batch], dtype=np.intp)] = found


def _signed(sides: Sides, plain: Sequence[_Job], flips: Flips) -> _Signed:
    stack = _stack(sides, plain)
    d: Floats = sides.value[stack.a] - sides.value[stack.b]
    offsets = stack.offsets
    if stack.clusters is not None:
        job = np.repeat(np.arange(len(plain)), np.diff(offsets).astype(np.intp))
        label = job * (int(stack.clusters.max()) + 1) + stack.clusters
        labels, place = np.unique(label, return_inverse=True)
        d = np.bincount(place, weights=d).astype(np.float64)
        owner = labels // (int(stack.clusters.max()) + 1)
        offsets = np.searchsorted(owner, np.arange(len(plain) + 1)).astype(np.uintp)
    return _Signed(d, offsets, flips.units[np.array([job.group for job in plain], dtype=np.intp)])


def _relabel(sides: Sides, out: Pairs, rows: Ints, flips: Flips) -> None:
    """p-values of random labels of independent instances, where no instance is shared."""
    chosen: list[tuple[int, Floats, Floats]] = []
    for group, at in _by_group(out.group[rows].tolist()):
        if sides.ratio[group] or sides.logs[group] or sides.clustered(group):
            continue
        place = sides.place(group)
        for row in [int(rows[k]) for k in at]:
            ia, ib = place[:, out.a[row]], place[:, out.b[row]]
            if (ia >= 0).any() and (ib >= 0).any():
                chosen.append((row, sides.value[ia[ia >= 0]], sides.value[ib[ib >= 0]]))
    share = -(-len(chosen) // flips.engine.shares)
    parts = [chosen[start : start + share] for start in range(0, len(chosen), max(share, 1))]

    def labelled(part: Sequence[tuple[int, Floats, Floats]]) -> _Labelled:
        tested = np.array([row for row, _, _ in part], dtype=np.intp)
        return _Labelled(
            *_joined([a for _, a, _ in part]),
            *_joined([b for _, _, b in part]),
            flips.units[out.group[tested]],
        )

    sizes = [float(sum(len(a) + len(b) for _, a, b in part)) for part in parts]
    for part, found in zip(parts, _p_values(Made(parts, labelled), sizes, flips), strict=True):
        out.p_flipped[np.array([row for row, _, _ in part], dtype=np.intp)] = found


def _joined(parts: Sequence[Floats]) -> tuple[Floats, NDArray[np.uintp]]:
    """Values one after the other, and where each part begins."""
    ends = np.cumsum([len(part) for part in parts])
    return np.concatenate(parts), np.concatenate([[0], ends]).astype(np.uintp)


def _fill_unpaired(sides: Sides, out: Pairs, rows: Ints, error: ClusterError, *, together: bool) -> None:
    """Pairs without a shared instance: two independent estimates."""
    if not len(rows):
        return
    estimates = side_estimates(sides, error, together=together)
    place = {pair: row for row, pair in enumerate(sides.labels.select("group", "side").iter_rows())}
    at_a, at_b = (
        np.array([place[int(out.group[row]), int(side[row])] for row in rows], dtype=np.intp)
        for side in (out.a, out.b)
    )
    a, b = estimates.at(at_a), estimates.at(at_b)
    found = unpaired_difference(a, b)
    out.mean_a[rows], out.mean_b[rows] = a.value, b.value
    out.stderr_a[rows], out.stderr_b[rows] = a.stderr, b.stderr
    out.covariance[rows] = np.where(np.isnan(found.stderr), np.nan, 0.0)
    out.stderr[rows], out.df[rows] = found.stderr, found.df
    out.design_effect[rows] = found.design_effect
    out.skewness[rows] = found.skewness
    smaller = np.fmin(estimates.n[at_a], estimates.n[at_b])
    out.n[rows] = smaller
    out.n_clusters[rows] = np.fmin(estimates.n_clusters[at_a], estimates.n_clusters[at_b])
    out.effective_clusters[rows] = found.effective_clusters
    results = ~(estimates.from_instances[at_a] & estimates.from_instances[at_b])
    out.unmatched_a[rows[results]] = out.unmatched_b[rows[results]] = np.nan
