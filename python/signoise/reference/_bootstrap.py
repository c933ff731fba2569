"""Twin of ``rust/core/src/bootstrap.rs``: replicates by whole draws of instances, and intervals from replicates."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from .._errors import OptionError, ShapeError
from ._random import BOOTSTRAP, BOOTSTRAP_LAW, BOOTSTRAP_OUTER, BOOTSTRAP_WEIGHTS, Words
from ._segments import Floats, Offsets, check_length, segments

Addresses = NDArray[np.uint64]
Counts = NDArray[np.uint16]
_Law = tuple[int, Floats]  # an integer, and the probabilities from it on

SCHEMES = ("multinomial", "poisson", "moving_block", "stationary_block")
METHODS = ("percentile", "basic", "bca")

_THRESHOLDS, _LARGEST = 8, 24
_BLOCK = 1024
_NEGLIGIBLE = 1e-24


def bootstrap_counts(
    offsets: Offsets,
    units: Addresses,
    n_resamples: int,
    rng_seed: int,
    *,
    scheme: str = "multinomial",
    block_length: int = 1,
    threads: int | None = None,
) -> Counts:
    """How often each replicate holds each instance, a row a replicate."""
    del threads
    strata = _strata(offsets, units, scheme, block_length)
    counts = np.zeros((n_resamples, int(offsets[-1])), dtype=np.uint16)
    for replicate in range(n_resamples):
        for part, unit in strata:
            words = Words(rng_seed, BOOTSTRAP, replicate, unit)
            counts[replicate, part] = _drawn(words, part.stop - part.start, scheme, block_length)
    return counts


def bootstrap_means(
    totals: Floats,
    sizes: Floats | None,
    offsets: Offsets,
    units: Addresses,
    n_resamples: int,
    rng_seed: int,
    *,
    macro_mean: bool = False,
    scheme: str = "multinomial",
    block_length: int = 1,
    threads: int | None = None,
) -> Floats:
    """Replicates of the mean of each row, or of its ratio to sizes; or the mean of those of the strata."""
    del threads
    strata = _strata(offsets, units, scheme, block_length)
    _check_values(totals, sizes, offsets)
    counts = bootstrap_counts(
        offsets, units, n_resamples, rng_seed, scheme=scheme, block_length=block_length
    ).astype(float)
    sizes = np.ones(totals.shape[1]) if sizes is None else sizes
    above = [totals[:, part] @ counts[:, part].T for part, _ in strata]
    below = [counts[:, part] @ sizes[part] for part, _ in strata]
    nothing = np.zeros((len(totals), n_resamples))
    with np.errstate(invalid="ignore", divide="ignore"):
        if macro_mean:
            return sum((_ratio(a, b) for a, b in zip(above, below, strict=True)), nothing) / len(strata)
        return _ratio(sum(above, nothing), sum(below, nothing[:1]))


def bootstrap_bayesian(
    totals: Floats,
    sizes: Floats | None,
    offsets: Offsets,
    units: Addresses,
    n_resamples: int,
    rng_seed: int,
    *,
    threads: int | None = None,
) -> Floats:
    """Replicates of the mean of each row, or of its ratio to sizes, under Dirichlet(1, .., 1) weights: a row a row."""
    del threads
    strata = _strata(offsets, units, "multinomial", 1)
    _check_values(totals, sizes, offsets)
    sizes = np.ones(totals.shape[1]) if sizes is None else sizes
    found = np.full((len(totals), n_resamples), math.nan if not strata else 0.0)
    for replicate in range(n_resamples):
        for part, unit in strata:
            words = Words(rng_seed, BOOTSTRAP_WEIGHTS, replicate, unit)
            weights = np.array([-math.log(1 - words.uniform()) for _ in range(part.stop - part.start)])
            with np.errstate(invalid="ignore", divide="ignore"):
                ratio = _ratio(totals[:, part] @ weights, np.float64(sizes[part] @ weights))
            found[:, replicate] += ratio / len(strata)
    return found


def bootstrap_crossed(
    totals: Floats,
    sizes: Floats | None,
    row_offsets: Offsets,
    row_units: Addresses,
    offsets: Offsets,
    units: Addresses,
    n_resamples: int,
    rng_seed: int,
    *,
    scheme: str = "multinomial",
    block_length: int = 1,
    threads: int | None = None,
) -> Floats:
    """Replicates of models whose rows and instances are drawn independently: a row a model."""
    del threads
    counts = bootstrap_counts(
        offsets, units, n_resamples, rng_seed, scheme=scheme, block_length=block_length
    ).astype(float)
    models = _strata(row_offsets, row_units, "multinomial", 1)
    for values in (totals, *([] if sizes is None else [sizes])):
        _check_values(values, None, offsets)
        check_length("totals", len(values), int(row_offsets[-1]))
    sizes = np.ones(totals.shape) if sizes is None else sizes
    found = np.empty((len(models), n_resamples))
    for row, (part, unit) in zip(found, models, strict=True):
        for replicate, instances in enumerate(counts):
            words = Words(rng_seed, BOOTSTRAP_OUTER, replicate, unit)
            seeds = _drawn(words, part.stop - part.start, "multinomial", 1).astype(float)
            above, below = (seeds @ values[part] @ instances for values in (totals, sizes))
            row[replicate] = above / below if below else math.nan
    return found


def bootstrap_nested(
    values: Floats,
    offsets: Offsets,
    row_offsets: Offsets,
    units: Addresses,
    n_resamples: int,
    rng_seed: int,
    *,
    threads: int | None = None,
) -> Floats:
    """Replicates of models whose rows are drawn, and then instances of each row: a row a model."""
    del threads
    rows = [row for _, row in segments(values, offsets)]
    if not np.isfinite(values).all():
        raise OptionError("values must be finite")
    models = _strata(row_offsets, units, "multinomial", 1)
    check_length("row_offsets", int(row_offsets[-1]), len(rows))
    found = np.full((len(models), n_resamples), np.nan)
    for model, (part, unit) in zip(found, models, strict=True):
        if not rows[part] or not all(map(len, rows[part])):
            continue
        for replicate in range(n_resamples):
            words = Words(rng_seed, BOOTSTRAP_OUTER, replicate, unit)
            held: list[float] = []
            for _ in rows[part]:
                row = rows[part][words.below(len(rows[part]))]
                held += [row[words.below(len(row))] for _ in row]
            model[replicate] = np.mean(held)
    return found


def bootstrap_quantiles(
    values: Floats,
    probabilities: Floats,
    offsets: Offsets,
    units: Addresses,
    n_resamples: int,
    rng_seed: int,
    *,
    scheme: str = "multinomial",
    block_length: int = 1,
    threads: int | None = None,
) -> Floats:
    """Replicates of quantiles of each row: rows, probabilities, replicates."""
    del threads
    counts = bootstrap_counts(offsets, units, n_resamples, rng_seed, scheme=scheme, block_length=block_length)
    _check_values(values, None, offsets)
    if len(offsets) != 2:
        raise OptionError(f"offsets must be those of one stratum, got {len(offsets) - 1}")
    if not all(0 <= p <= 1 for p in probabilities):
        raise OptionError("probabilities must be from 0 to 1")
    found = np.full((len(values), len(probabilities), n_resamples), np.nan)
    for row, into in zip(values, found, strict=True):
        for replicate, count in enumerate(counts if len(row) else []):
            into[:, replicate] = np.quantile(np.repeat(row, count), probabilities)
    return found


def bootstrap_studentised(
    totals: Floats,
    sizes: Floats | None,
    offsets: Offsets,
    units: Addresses,
    n_resamples: int,
    rng_seed: int,
    *,
    threads: int | None = None,
) -> tuple[Floats, Floats]:
    """Replicates of the mean of each row, or of its ratio to sizes, and their standard errors."""
    del threads
    if len(offsets) != 2:
        raise OptionError(f"offsets must be those of one stratum, got {len(offsets) - 1}")
    values = bootstrap_means(totals, sizes, offsets, units, n_resamples, rng_seed)
    counts = bootstrap_counts(offsets, units, n_resamples, rng_seed)
    sizes = np.ones(totals.shape[1]) if sizes is None else sizes
    stderrs = np.full(values.shape, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        for into, row, thetas in zip(stderrs, totals, values, strict=True):
            for replicate, (count, theta) in enumerate(zip(counts, thetas, strict=True)):
                y, s = np.repeat(row, count), np.repeat(sizes, count)
                n = np.float64(len(y))
                into[replicate] = np.sqrt(((y - theta * s) ** 2).sum() * n / (n - 1)) / s.sum()
    return values, stderrs


def bootstrap_estimates(
    totals: Floats,
    sizes: Floats | None,
    offsets: Offsets,
    *,
    macro_mean: bool = False,
    threads: int | None = None,
) -> dict[str, Floats]:
    """Mean (or ratio to sizes) and acceleration of each row, the latter by leaving out one instance at a time."""
    del threads
    strata = _strata(offsets, np.zeros(max(len(offsets) - 1, 0), dtype=np.uint64), "multinomial", 1)
    _check_values(totals, sizes, offsets)
    sizes = np.ones(totals.shape[1]) if sizes is None else sizes

    def statistic(row: Floats, there: NDArray[np.bool_]) -> float:
        above = np.array([row[part][there[part]].sum() for part, _ in strata])
        below = np.array([sizes[part][there[part]].sum() for part, _ in strata])
        with np.errstate(invalid="ignore", divide="ignore"):
            if macro_mean:
                return float(_ratio(above, below).sum() / len(strata)) if strata else math.nan
            return float(_ratio(above.sum(), below.sum()))

    everything = np.ones(totals.shape[1], dtype=bool)
    accelerations: list[float] = []
    for row in totals:
        squares = cubes = 0.0
        for part, _ in strata:
            n = part.stop - part.start
            if n == 0:
                continue
            without = np.array(
                [
                    statistic(row, everything & (np.arange(len(row)) != i))
                    for i in range(part.start, part.stop)
                ]
            )
            d = (n - 1) / n * (without.mean() - without)
            squares += float((d**2).sum())
            cubes += float((d**3).sum())
        # What differs by its rounding alone does not vary.
        rounding = 4 * np.finfo(float).eps * abs(statistic(row, everything))
        varies = squares > totals.shape[1] * rounding**2
        accelerations.append(cubes / (6 * squares**1.5) if varies else math.nan)
    return {
        "estimate": np.array([statistic(row, everything) for row in totals], dtype=float),
        "acceleration": np.array(accelerations, dtype=float),
    }


def bootstrap_binomial(
    ones: Addresses,
    n: Addresses,
    units: Addresses,
    n_resamples: int,
    rng_seed: int,
    *,
    threads: int | None = None,
) -> Floats:
    """Replicates of shares of ones, by their law: a row a group."""
    del threads
    check_length("n", len(n), len(ones))
    laws: list[_Law] = []
    for k, size in zip(ones.tolist(), n.tolist(), strict=True):
        if k > size:
            raise OptionError(f"ones must be at most n, got {k} of {size}")
        laws.append(_binomial(size, k, size - k))
    return _draws(laws, n, units, n_resamples, rng_seed)


def bootstrap_trinomial(
    up: Addresses,
    down: Addresses,
    n: Addresses,
    units: Addresses,
    n_resamples: int,
    rng_seed: int,
    *,
    threads: int | None = None,
) -> Floats:
    """Replicates of differences of two shares over the same instances, by their law: a row a group."""
    del threads
    check_length("down", len(down), len(up))
    check_length("n", len(n), len(up))
    laws: list[_Law] = []
    for u, v, size in zip(up.tolist(), down.tolist(), n.tolist(), strict=True):
        if u + v > size:
            raise OptionError(f"up + down must be at most n, got {u} + {v} of {size}")
        laws.append(_difference(size, u, v))
    return _draws(laws, n, units, n_resamples, rng_seed)


def bootstrap_interval(
    values: Floats,
    estimates: Floats,
    accelerations: Floats,
    method: str,
    confidence_level: float,
    *,
    threads: int | None = None,
) -> dict[str, NDArray[np.float64] | NDArray[np.bool_]]:
    """Percentile, basic or bca interval of each row of replicates; bca falls back to percentile where it must."""
    del threads
    if method not in METHODS:
        raise OptionError(f"method has no entry {method!r}; known: {', '.join(METHODS)}")
    tail = _tail(confidence_level)
    _check_rows(values, estimates)
    check_length("accelerations", len(accelerations), len(estimates))
    rows: list[tuple[float, float, bool]] = []
    for row, estimate, acceleration in zip(values, estimates, accelerations, strict=True):
        limits: tuple[float, ...] = (tail, 1 - tail)
        fallback = False
        if np.isnan(row).any() or math.isnan(estimate):
            rows.append((math.nan, math.nan, False))
            continue
        if method == "bca":
            share = ((row < estimate).mean() + (row <= estimate).mean()) / 2
            fallback = not 0 < share < 1 or math.isnan(acceleration)
            if not fallback:
                bias = NormalDist().inv_cdf(share)
                z = [bias + NormalDist().inv_cdf(p) for p in limits]
                limits = tuple(NormalDist().cdf(bias + x / (1 - acceleration * x)) for x in z)
        low, high = np.quantile(row, limits)
        if method == "basic":
            low, high = 2 * estimate - high, 2 * estimate - low
        rows.append((low, high, fallback))
    table = np.array(rows, dtype=float).reshape(-1, 3)
    return {"low": table[:, 0], "high": table[:, 1], "fallback": table[:, 2].astype(bool)}


def bootstrap_t_interval(
    values: Floats,
    replicate_stderrs: Floats,
    estimates: Floats,
    stderrs: Floats,
    confidence_level: float,
    *,
    threads: int | None = None,
) -> dict[str, Floats]:
    """Studentised interval of each row of replicates: estimate - stderr * quantiles of (theta* - theta) / se*."""
    del threads
    tail = _tail(confidence_level)
    _check_rows(values, estimates)
    _check_rows(replicate_stderrs, estimates)
    check_length("replicate_stderrs", replicate_stderrs.size, values.size)
    check_length("stderrs", len(stderrs), len(estimates))
    with np.errstate(invalid="ignore", divide="ignore"):
        t = (values - estimates[:, None]) / replicate_stderrs
        limits = [
            np.quantile(row, [tail, 1 - tail]) if not np.isnan(row).any() else [np.nan] * 2 for row in t
        ]
    low, high = np.array(limits, dtype=float).reshape(-1, 2).T
    return {"low": estimates - stderrs * high, "high": estimates - stderrs * low}


def _strata(offsets: Offsets, units: Addresses, scheme: str, block_length: int) -> list[tuple[slice, int]]:
    bounds = [int(offset) for offset in offsets]
    if not bounds or bounds[0] != 0 or sorted(bounds) != bounds:
        raise ShapeError("offsets must rise from 0")
    if scheme not in SCHEMES:
        raise OptionError(f"scheme has no entry {scheme!r}; known: {', '.join(SCHEMES)}")
    check_length("units", len(units), len(bounds) - 1)
    for start, end in pairwise(bounds):
        if "block" in scheme and not 1 <= block_length <= max(1, end - start):
            raise OptionError(f"block_length must be from 1 to {end - start}, got {block_length}")
    return [(slice(*pair), unit) for pair, unit in zip(pairwise(bounds), units.tolist(), strict=True)]


def _check_values(totals: Floats, sizes: Floats | None, offsets: Offsets) -> None:
    check_length("totals", totals.shape[1] * len(totals), int(offsets[-1]) * len(totals))
    if sizes is not None:
        check_length("sizes", len(sizes), int(offsets[-1]))
    if not np.isfinite(totals).all() or not (sizes is None or np.isfinite(sizes).all()):
        raise OptionError("totals and sizes must be finite")


def _check_rows(values: Floats, estimates: Floats) -> None:
    if values.shape[1] == 0:
        raise OptionError("n_resamples must be at least 1, got 0")
    check_length("values", len(values), len(estimates))


def _tail(confidence_level: float) -> float:
    if not 0 < confidence_level < 1:
        raise OptionError(f"confidence_level must be between 0 and 1, got {confidence_level}")
    return (1 - confidence_level) / 2


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.where(below == 0, np.nan, np.divide(above, below))


def _drawn(words: Words, n: int, scheme: str, block_length: int) -> Counts:
    """Counts of n instances in one replicate."""
    if n == 0:
        return np.zeros(0, dtype=np.uint16)
    if scheme == "poisson":
        while not (counts := _poisson(words, n, 1.0)).any():
            pass
        return counts
    if scheme == "multinomial":
        return _multinomial(words, n)
    held = [words.below(n) if scheme == "stationary_block" else 0]
    if scheme == "stationary_block":
        while len(held) < n:
            renewed = words.uniform() < 1 / block_length
            held.append(words.below(n) if renewed else (held[-1] + 1) % n)
    else:
        starts = [words.below(n - block_length + 1) for _ in range(-(-n // block_length))]
        held = [start + i for start in starts for i in range(block_length)][:n]
    return np.bincount(held, minlength=n).astype(np.uint16)


def _multinomial(words: Words, n: int) -> Counts:
    """As many draws as instances: Poisson counts that are not too many, and single draws for what is missing."""
    splits = [j for j in range(2, 7) if n >= 16 * 4**j]
    counts = np.zeros(n, dtype=np.uint16)
    while splits:
        counts = _poisson(words, n, 1 - 0.5 ** splits[-1])
        if counts.sum() <= n:
            break
    missing = n - int(counts.sum())
    single: list[int] = []
    for word in _from_next_step(words):
        if len(single) == missing:
            break
        if word * n % 2**32 >= 2**32 % n:
            single.append(word * n >> 32)
    return counts + np.bincount(single, minlength=n).astype(np.uint16)


def _poisson(words: Words, n: int, mean: float) -> Counts:
    """Independent counts: 16 bits each, and 64 more where these do not decide."""
    thresholds, residual = _split(mean)
    steps = [words.step() for _ in range(-(-n // 32))]
    halves = np.concatenate(steps).astype("<u4").view("<u2")[:n]
    counts = np.searchsorted(thresholds, halves, side="right")
    for open_one in np.flatnonzero(counts == _THRESHOLDS):
        bits = words.double_word()
        counts[open_one] = sum(bits >= threshold for threshold in residual)
    return counts.astype(np.uint16)


def _from_next_step(words: Words) -> Iterator[int]:
    while True:
        yield from words.step().tolist()


@cache
def _split(mean: float) -> tuple[list[int], list[int]]:
    """Sums of floor(2^16 p_k), and of what that takes away as shares of 2^64; in the kernel's order."""
    probability = term = 1.0
    for k in range(1, 41):
        term *= -mean / k
        probability += term
    whole = rest = 0.0
    wholes: list[int] = []
    rests: list[float] = []
    for k in range(_LARGEST):
        share = probability * 65536.0
        whole += math.floor(share)
        rest += share - math.floor(share)
        wholes.append(int(whole))
        rests.append(rest)
        probability *= mean / (k + 1)
    return wholes[:_THRESHOLDS], [_bits(part / rest) for part in rests]


def _binomial(n: int, a: int, b: int) -> _Law:
    """Smallest count of n trials with odds a to b, and the probabilities from it on; in the kernel's order."""
    middle = min((n + 1) * a // max(a + b, 1), n)
    odds = a / b if b else math.inf
    below: list[float] = []
    above = [1.0]
    k, p = middle, 1.0
    while k > 0 and b > 0:
        p *= k / ((n - k + 1) * odds)
        k -= 1
        if p < _NEGLIGIBLE:
            break
        below.append(p)
    k, p = middle, 1.0
    while k < n:
        p *= (n - k) / (k + 1) * odds
        k += 1
        if p < _NEGLIGIBLE:
            break
        above.append(p)
    probabilities = np.array(below[::-1] + above)
    return middle - len(below), probabilities / np.cumsum(probabilities)[-1]


def _difference(n: int, up: int, down: int) -> _Law:
    """Smallest difference u - v, and the probabilities from it on: over all m = u + v."""
    fewest, differ = _binomial(n, up + down, n - up - down)
    most = fewest + len(differ) - 1
    probabilities = np.zeros(2 * most + 1)
    for m, outer in enumerate(differ, start=fewest):
        first, of_up = _binomial(m, up, down)
        at = 2 * (first + np.arange(len(of_up))) - m + most
        probabilities[at] += outer * of_up
    return -most, probabilities


def _draws(laws: list[_Law], n: Addresses, units: Addresses, n_resamples: int, rng_seed: int) -> Floats:
    check_length("units", len(units), len(laws))
    values = np.full((len(laws), n_resamples), np.nan)
    for row, (first, probabilities), size, unit in zip(values, laws, n.tolist(), units.tolist(), strict=True):
        cumulated = np.cumsum(probabilities)
        sums = [_bits(part / cumulated[-1]) for part in cumulated.tolist()]
        for block, start in enumerate(range(0, n_resamples, _BLOCK)):
            words = Words(rng_seed, BOOTSTRAP_LAW, block, unit)
            for replicate in range(start, min(start + _BLOCK, n_resamples)):
                entry = min(bisect_right(sums, words.double_word()), len(sums) - 1)
                row[replicate] = (first + entry) / size if size else math.nan
    return values


def _bits(share: float) -> int:
    return min(int(share * 2.0**64), 2**64 - 1)
