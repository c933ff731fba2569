"""Replicates of samples and their intervals: samples that share their draws go through the kernels together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ._bootstrap_samples import Sample
from ._errors import OptionError
from ._kernels import kernels
from .engines._engine import LOCAL, Engine

Floats = NDArray[np.float64]
Function = Callable[[Floats], float]

#: Samples that are drawn together, at most: their replicates are held at once.
TOGETHER = 128
#: Numbers that differ by less than this, relative to the largest replicate, are one value.
ONE_VALUE = 1e-12


@dataclass(frozen=True)
class Plan:
    """What is computed, checked."""

    statistic: str
    """Name, as it stands in signatures."""
    probability: float | None
    """Of a quantile."""
    function: Function | None
    """The caller's own statistic."""
    method: str
    n_resamples: int
    rng_seed: int
    level: float
    threads: int | None
    weights: str = "multinomial"
    """Law of the counts of instances."""


@dataclass(frozen=True)
class Found:
    """Columns of the result, NaN where undefined."""

    value: Floats
    stderr: Floats
    low: Floats
    high: Floats
    constant: NDArray[np.bool_]
    """The limits coincide."""
    fallback: NDArray[np.bool_]
    skewness: Floats
    """Of the value, where the acceleration of BCa is known; else NaN."""
    draws: list[str]
    """What was drawn: ``"binomial_law"``, ``"instances"`` or ``"clusters"``."""


@dataclass(frozen=True)
class Replicates:
    """Replicates of some samples, a row a sample."""

    values: Floats
    estimates: Floats
    accelerations: Floats
    errors: tuple[Floats, Floats] | None = None
    """Standard errors of the replicates and of the estimates, for the studentised interval."""


def intervals(samples: Sequence[Sample], plan: Plan, engine: Engine = LOCAL) -> Found:
    """Estimate and interval of each sample that has two clusters in each stratum."""
    count = len(samples)
    value, stderr, low, high, skewness = np.full((5, count), np.nan)
    constant, fallback = np.zeros((2, count), dtype=bool)
    draws = [_draws_of(sample, plan) for sample in samples]
    batches = list(_batches(samples, draws, plan))
    parts = [_Batch([samples[row] for row in rows], draws[rows[0]]) for rows in batches]
    of_batch = partial(_of_batch, plan=on_worker(plan, engine))
    for rows, found in zip(
        batches, engine.map(of_batch, parts, sizes=[part.size for part in parts]), strict=True
    ):
        value[rows], stderr[rows], low[rows], high[rows] = found.value, found.stderr, found.low, found.high
        constant[rows], fallback[rows], skewness[rows] = found.constant, found.fallback, found.skewness
    for row, sample in enumerate(samples):
        if np.isnan(value[row]) and len(sample.values):
            value[row] = _estimate(sample, plan)
    return Found(value, stderr, low, high, constant, fallback, skewness, draws)


def on_worker(plan: Plan, engine: Engine) -> Plan:
    """The plan as the engine's workers follow it."""
    return replace(plan, threads=engine.threads_of(plan.threads))


@dataclass(frozen=True)
class _Batch:
    """Samples that take the same draws."""

    samples: list[Sample]
    draws: str

    @property
    def size(self) -> float:
        """Numbers that are drawn for a replicate, and sums that are made of them."""
        if self.draws == "binomial_law":
            return float(len(self.samples))
        return float(len(self.samples[0].values) * (1 + len(self.samples)))


def _of_batch(batch: _Batch, plan: Plan) -> Found:
    drawn = _replicates(batch.samples, batch.draws, plan)
    limits = _limits(drawn, plan)
    replicates, estimates, ends = drawn.values, drawn.estimates, (limits["low"], limits["high"])
    if plan.probability is None and plan.function is None and batch.samples[0].logs:
        replicates, estimates = np.exp(replicates), np.exp(estimates)
        ends = np.exp(ends[0]), np.exp(ends[1])
    stderr, same, one = spreads(replicates, ends, plan.threads)
    low, high = (np.where(same | one, np.nan, end) for end in ends)
    fallback = np.logical_and(limits["fallback"], ~same)
    return Found(estimates, stderr, low, high, same | one, fallback, 6 * drawn.accelerations, [])


def drawn_together(samples: Sequence[Sample], plan: Plan) -> Iterator[list[int]]:
    """Rows whose samples are drawn from in one call, for statistics of several rows on the same draws."""
    return _batches(samples, ["clusters" if sample.clustered else "instances" for sample in samples], plan)


def replicates_of(batch: Sequence[Sample], plan: Plan) -> Replicates:
    """Means of samples that are drawn together, logarithms where the samples hold them."""
    return _means(batch, plan)


def limits_of(
    replicates: Floats, estimates: Floats, accelerations: Floats, plan: Plan
) -> dict[str, NDArray[np.float64]]:
    """Limits from replicates, a row each."""
    return _limits(Replicates(replicates, estimates, accelerations), plan)


def spreads(
    replicates: Floats, ends: tuple[Floats, Floats], threads: int | None
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_]]:
    """Standard deviation of each row of replicates; where its limits coincide; where all replicates are one value."""
    n_resamples = replicates.shape[1]
    offsets = np.arange(0, replicates.size + 1, n_resamples, dtype=np.uintp)
    moments = kernels().segment_moments(np.ravel(replicates), offsets, threads=threads)
    # Rounding lets replicates of one value differ in their last bits.
    largest = np.maximum(np.abs(moments["max"]), np.abs(moments["min"]))
    same: NDArray[np.bool_] = ends[1] - ends[0] <= ONE_VALUE * largest
    one: NDArray[np.bool_] = moments["max"] - moments["min"] <= ONE_VALUE * largest
    return np.where(one, 0.0, np.sqrt(moments["m2"] / (n_resamples - 1))), same, one


def too_few(sample: Sample) -> bool:
    """Fewer than two clusters in some stratum tell nothing of its spread."""
    return not len(sample.values) or bool((np.diff(sample.strata) < 2).any())


def _draws_of(sample: Sample, plan: Plan) -> str:
    """The mean of independent scores of 0 and 1 has a law in closed form; all else draws what it averages."""
    if sample.clustered:
        return "clusters"
    plain = plan.probability is None and plan.function is None and sample.weights is None and not sample.logs
    shares = (
        plain and plan.method != "studentised" and len(sample.strata) == 2 and plan.weights == "multinomial"
    )
    if shares and ((sample.values == 0) | (sample.values == 1)).all():
        return "binomial_law"
    return "instances"


def _batches(samples: Sequence[Sample], draws: Sequence[str], plan: Plan) -> Iterator[list[int]]:
    """Rows whose samples take the same draws."""
    alike: dict[tuple[object, ...], list[int]] = {}
    for row, sample in enumerate(samples):
        finite = np.isfinite(sample.values).all() and (
            sample.weights is None or np.isfinite(sample.weights).all()
        )
        if too_few(sample) or not finite:
            continue
        key: tuple[object, ...] = (draws[row],)
        if draws[row] != "binomial_law":
            key = (sample.units.tobytes(), sample.strata.tobytes(), sample.logs, *_shape(sample, plan))
        alike.setdefault(key, []).append(row)
    for rows in alike.values():
        for start in range(0, len(rows), TOGETHER):
            yield rows[start : start + TOGETHER]


def _shape(sample: Sample, plan: Plan) -> tuple[bytes, ...]:
    """What else the kernels want to be equal: sizes of the clusters and denominators."""
    if plan.probability is None and plan.function is None:
        sizes = _sizes(sample)
        return (b"" if sizes is None else sizes.tobytes(),)
    return (sample.members.tobytes(),)


def _sizes(sample: Sample) -> Floats | None:
    """Sum of the denominators of each cluster; None where all are 1."""
    if not sample.clustered:
        return sample.weights
    weights = np.ones(len(sample.values)) if sample.weights is None else sample.weights
    return np.add.reduceat(weights, sample.members[:-1].astype(np.intp))


def _totals(sample: Sample) -> Floats:
    values = sample.values if sample.weights is None else sample.values * sample.weights
    return np.add.reduceat(values, sample.members[:-1].astype(np.intp)) if sample.clustered else values


def _replicates(batch: Sequence[Sample], draws: str, plan: Plan) -> Replicates:
    if draws == "binomial_law":
        return _by_law(batch, plan)
    if plan.probability is None and plan.function is None:
        return _means(batch, plan)
    if plan.probability is not None and draws == "instances":
        return _quantiles(batch, plan.probability, plan)
    return _by_counts(batch, plan)


def _by_law(batch: Sequence[Sample], plan: Plan) -> Replicates:
    """The number of ones in a replicate is binomial: no instance is drawn."""
    ones = np.array([sample.values.sum() for sample in batch])
    n = np.array([float(len(sample.values)) for sample in batch])
    units = np.concatenate([sample.units for sample in batch])
    values = kernels().bootstrap_binomial(
        ones.astype(np.uint64),
        n.astype(np.uint64),
        units,
        plan.n_resamples,
        plan.rng_seed,
        threads=plan.threads,
    )
    p = ones / n
    with np.errstate(all="ignore"):
        # Sums of (x - p)^3 and (x - p)^2 over ones and zeros.
        accelerations = (1 - 2 * p) / (6 * np.sqrt(n * p * (1 - p)))
    return Replicates(values, p, np.where(np.isfinite(accelerations), accelerations, np.nan))


def _means(batch: Sequence[Sample], plan: Plan) -> Replicates:
    totals, sizes = np.stack([_totals(sample) for sample in batch]), _sizes(batch[0])
    strata, units, threads = batch[0].strata, batch[0].units, plan.threads
    macro = len(strata) > 2
    found = kernels().bootstrap_estimates(totals, sizes, strata, macro_mean=macro, threads=threads)
    estimates, accelerations = found["estimate"], found["acceleration"]
    if plan.weights == "bayesian":
        values = kernels().bootstrap_bayesian(
            totals, sizes, strata, units, plan.n_resamples, plan.rng_seed, threads=threads
        )
        return Replicates(values, estimates, accelerations)
    if plan.method != "studentised":
        values = kernels().bootstrap_means(
            totals,
            sizes,
            strata,
            units,
            plan.n_resamples,
            plan.rng_seed,
            macro_mean=macro,
            scheme=plan.weights,
            threads=threads,
        )
        return Replicates(values, estimates, accelerations)
    values, errors = kernels().bootstrap_studentised(
        totals, sizes, strata, units, plan.n_resamples, plan.rng_seed, threads=threads
    )
    n = totals.shape[1]
    size = np.ones(n) if sizes is None else sizes
    squares = np.array([((row - x * size) ** 2).sum() for row, x in zip(totals, estimates, strict=True)])
    own = np.sqrt(squares * n / (n - 1)) / size.sum()
    return Replicates(values, estimates, accelerations, (errors, own))


def _quantiles(batch: Sequence[Sample], probability: float, plan: Plan) -> Replicates:
    """Quantile, or the mean of those of the strata."""
    first, table = batch[0], np.stack([_raw(sample) for sample in batch])
    values = np.zeros((len(batch), plan.n_resamples))
    bounds = list(pairwise(first.strata.astype(np.intp).tolist()))
    for (start, end), unit in zip(bounds, first.units, strict=True):
        part = np.ascontiguousarray(table[:, start:end])
        offsets, units = np.array([0, end - start], dtype=np.uintp), np.array([unit], dtype=np.uint64)
        found = kernels().bootstrap_quantiles(
            part,
            np.array([probability]),
            offsets,
            units,
            plan.n_resamples,
            plan.rng_seed,
            scheme=plan.weights,
            threads=plan.threads,
        )
        values += found[:, 0, :] / len(bounds)
    estimates = np.array([_estimate(sample, plan) for sample in batch])
    accelerations = np.full(len(batch), np.nan)
    if plan.method == "bca":
        left_out = [
            [_quantiles_left_out(np.sort(row[start:end]), probability) for start, end in bounds]
            for row in table
        ]
        accelerations = np.array([_acceleration(parts) for parts in left_out])
    return Replicates(values, estimates, accelerations)


def _quantiles_left_out(x: Floats, probability: float) -> Floats:
    """Quantile of sorted values without the first, the second, .."""
    position = (len(x) - 2) * probability
    below = min(int(position), len(x) - 2)
    above = min(below + 1, len(x) - 2)
    out = np.arange(len(x))
    low, high = x[below + (out <= below)], x[above + (out <= above)]
    return low + (position - below) * (high - low)


def _by_counts(batch: Sequence[Sample], plan: Plan) -> Replicates:
    """Any statistic, called for every replicate with the values it holds."""
    first = batch[0]
    counts = kernels().bootstrap_counts(
        first.strata,
        first.units,
        plan.n_resamples,
        plan.rng_seed,
        scheme=plan.weights,
        threads=plan.threads,
    )
    values = np.empty((len(batch), plan.n_resamples))
    for row, sample in zip(values, batch, strict=True):
        for replicate, count in enumerate(counts):
            row[replicate] = _estimate(sample, plan, count)
    estimates = np.array([_estimate(sample, plan) for sample in batch])
    accelerations = np.full(len(batch), np.nan)
    if plan.method == "bca":
        accelerations = np.array([_acceleration(_left_out(sample, plan)) for sample in batch])
    return Replicates(values, estimates, accelerations)


def _left_out(sample: Sample, plan: Plan) -> list[Floats]:
    """The statistic without each cluster of each stratum."""
    everything = np.ones(len(sample.members) - 1, dtype=np.intp)
    found = np.empty(len(everything))
    for cluster in range(len(everything)):
        everything[cluster] = 0
        found[cluster] = _estimate(sample, plan, everything)
        everything[cluster] = 1
    return [found[start:end] for start, end in pairwise(sample.strata.astype(np.intp).tolist())]


def _acceleration(left_out: Sequence[Floats]) -> float:
    """Skewness over six of the influence of clusters, from the statistic without each of them, stratum by stratum."""
    d = np.concatenate([(len(x) - 1) / len(x) * (x.mean() - x) for x in left_out])
    squares = float((d**2).sum())
    return float((d**3).sum()) / (6 * squares**1.5) if squares > 0 else np.nan


def _raw(sample: Sample) -> Floats:
    return np.exp(sample.values) if sample.logs else sample.values


def _estimate(sample: Sample, plan: Plan, counts: NDArray[np.integer] | None = None) -> float:
    """The statistic of the sample, or of what a replicate holds of it; with strata the mean over them."""
    if plan.probability is None and plan.function is None:
        return _plain_mean(sample)
    values = _raw(sample)
    if counts is None and not np.isfinite(values).all():
        return np.nan
    sizes = np.diff(sample.members).astype(np.intp)
    found = []
    for start, end in pairwise(sample.strata.astype(np.intp).tolist()):
        part = values[int(sample.members[start]) : int(sample.members[end])]
        if counts is not None:
            part = np.repeat(part, np.repeat(counts[start:end], sizes[start:end]))
        if plan.function is not None:
            found.append(_called(plan.function, part))
        elif plan.probability is not None:
            found.append(float(np.quantile(part, plan.probability)))
    return float(np.mean(found))


def _called(function: Function, values: Floats) -> float:
    result = np.asarray(function(values))
    if result.size != 1 or result.dtype.kind not in "fiub":
        raise OptionError(
            f"statistic must return one number for an array of values, got {result.dtype} of shape {result.shape}"
        )
    return float(result.reshape(()))


def _plain_mean(sample: Sample) -> float:
    """Mean of a sample that was not drawn from."""
    weights = np.ones(len(sample.values)) if sample.weights is None else sample.weights
    bounds = sample.members[sample.strata.astype(np.intp)].astype(np.intp).tolist()
    with np.errstate(all="ignore"):
        means = [
            (sample.values[start:end] * weights[start:end]).sum() / weights[start:end].sum()
            for start, end in pairwise(bounds)
        ]
        mean = float(np.mean(means))
        return float(np.exp(mean)) if sample.logs else mean


def _limits(drawn: Replicates, plan: Plan) -> dict[str, NDArray[np.float64]]:
    if drawn.errors is not None:
        found = kernels().bootstrap_t_interval(
            drawn.values, drawn.errors[0], drawn.estimates, drawn.errors[1], plan.level, threads=plan.threads
        )
        return dict(found) | {"fallback": np.zeros(len(drawn.estimates), dtype=bool)}
    return kernels().bootstrap_interval(
        drawn.values, drawn.estimates, drawn.accelerations, plan.method, plan.level, threads=plan.threads
    )
