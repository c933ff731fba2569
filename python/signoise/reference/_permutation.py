"""Twin of ``rust/core/src/permutation.rs``: sign flips, labels of two groups and the largest of many comparisons."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._errors import OptionError
from ._random import LABEL_PERMUTATION, SIGN_FLIP, Words
from ._segments import Floats, Offsets, check_length, check_positive, segments

#: How a p-value was found.
CLOSED_FORM, ENUMERATED, SAMPLED = range(3)

_LANES, _PART, _WORD = 16, 256, 32
_SAMPLED_BITS, _ENUMERATED_BITS = 26, 46

Addresses = NDArray[np.uint64]
Subset = NDArray[np.bool_]
Subsets = Iterator[Subset]


def sign_flip_test(
    values: Floats,
    offsets: Offsets,
    units: Addresses,
    n_resamples: int,
    rng_seed: int,
    *,
    threads: int | None = None,
) -> dict[str, NDArray[Any]]:
    """|sum d| of each group against |sum s d| with random signs s; z = sum d / sqrt(sum d**2).

    Differences of one magnitude: heads of fair coins. At most ``n_resamples`` sign patterns: all of them. Else
    ``n_resamples`` random ones and the observed one. ``units``: address of each group's flips.
    """
    del threads
    groups = [d for _, d in segments(values, offsets)]
    check_length("units", len(units), len(groups))
    check_positive("n_resamples", n_resamples)
    rows = _Columns()
    for d, unit in zip(groups, units, strict=True):
        if len(d) == 0 or not np.isfinite(d).all():
            rows.add(math.nan, math.nan, math.nan)
            continue
        statistic = sum(d)
        z = _ratio(statistic, math.sqrt(sum(d * d)))
        moving = d[d != 0]
        if _one_magnitude(moving):
            heads, n = int(np.sum(moving > 0)), len(moving)
            tails = sum(math.comb(n, k) for k in range(n + 1) if abs(2 * k - n) >= abs(2 * heads - n))
            rows.add(statistic, z, tails / 2**n)
            continue
        enumerated = 2 ** len(moving) <= n_resamples
        integers, error = _fixed(moving, _ENUMERATED_BITS) if enumerated else _fixed(d, _SAMPLED_BITS)
        least = abs(sum(integers)) - _slack(error, sum(map(abs, integers)))
        subsets = (
            _all_subsets(len(moving)) if enumerated else _flips(len(d), n_resamples, rng_seed, int(unit))
        )
        counted = [abs(sum(integers) - 2 * _sum(integers, subset)) >= least for subset in subsets]
        rows.count(statistic, z, counted, enumerated)
    return rows.columns()


def label_permutation_test(
    a: Floats,
    a_offsets: Offsets,
    b: Floats,
    b_offsets: Offsets,
    units: Addresses,
    n_resamples: int,
    rng_seed: int,
    *,
    threads: int | None = None,
) -> dict[str, NDArray[Any]]:
    """|mean a - mean b| of each group against that of random splits of its values into groups of these sizes.

    z = (mean a - mean b) / sqrt(s**2 (1 / n_a + 1 / n_b)), s**2 the variance of all values. Two distinct values: the
    hypergeometric law. At most ``n_resamples`` splits: all of them. Else random ones and the observed one.
    """
    del threads
    firsts = [values for _, values in segments(a, a_offsets)]
    seconds = [values for _, values in segments(b, b_offsets)]
    check_length("b_offsets", len(b_offsets), len(a_offsets))
    check_length("units", len(units), len(firsts))
    check_positive("n_resamples", n_resamples)
    rows = _Columns()
    for x, y, unit in zip(firsts, seconds, units, strict=True):
        pooled = np.concatenate([x, y])
        if len(x) == 0 or len(y) == 0 or not np.isfinite(pooled).all():
            rows.add(math.nan, math.nan, math.nan)
            continue
        n, m = len(pooled), min(len(x), len(y))
        statistic = sum(x) / len(x) - sum(y) / len(y)
        variance = sum((pooled - sum(pooled) / n) ** 2) / (n - 1)
        z = _ratio(statistic, math.sqrt(variance * (1 / len(x) + 1 / len(y))))
        pooled = pooled - (pooled.min() / 2 + pooled.max() / 2)
        if _one_magnitude(pooled[pooled != 0]) and (pooled.all() or not pooled.any()):
            ones, in_x = int(np.sum(pooled > 0)), int(np.sum(pooled[: len(x)] > 0))

            def off(k: int, n: int = n, size: int = len(x), ones: int = ones) -> int:
                return abs(n * k - size * ones)

            ways = {k: math.comb(ones, k) * math.comb(n - ones, len(x) - k) for k in range(len(x) + 1)}
            extreme = sum(count for k, count in ways.items() if off(k) >= off(in_x))
            rows.add(statistic, z, extreme / sum(ways.values()))
            continue
        enumerated = math.comb(n, m) <= n_resamples
        integers, error = _fixed(pooled, _ENUMERATED_BITS if enumerated else _SAMPLED_BITS)
        total = sum(integers)
        slack = _slack((n - m) * error, (n - m) * sum(map(abs, integers)))
        least = abs(n * sum(integers[: len(x)]) - len(x) * total) - slack
        subsets = _choices(n, m) if enumerated else _subsets(n, m, n_resamples, rng_seed, int(unit))
        counted = [abs(n * _sum(integers, subset) - m * total) >= least for subset in subsets]
        rows.count(statistic, z, counted, enumerated)
    return rows.columns()


def max_t_test(
    values: NDArray[np.float64],
    left: Offsets,
    right: Offsets,
    unit: int,
    n_resamples: int,
    rng_seed: int,
    *,
    threads: int | None = None,
) -> dict[str, NDArray[Any]]:
    """Tests of many comparisons of the same instances, alone and adjusted for their number (Westfall and Young 1993).

    Comparison c is row ``left[c]`` less row ``right[c]`` of a matrix of rows x instances, z = sum d / sqrt(sum d**2),
    and one pattern of signs flips all comparisons. ``p_value`` counts the flipped |z*_c| that reach |z_c|;
    ``p_single_step`` the largest flipped |z*| over all comparisons; ``p_step_down`` the largest over those whose |z|
    is not above, made to rise as |z| falls.
    """
    del threads
    family = _Family.make(values, left, right, n_resamples, rng_seed, unit)
    used = [c for c in range(len(left)) if family.finite[c]]
    order = sorted(used, key=lambda c: (-np.nan_to_num(abs(family.z[c])), c))
    flipped = family.flipped()
    out = {name: np.full(len(left), np.nan) for name in ("p_value", "p_single_step", "p_step_down")}
    before = 0.0
    for rank, c in enumerate(order):
        before = max(before, family.p(flipped[:, order[rank:]].max(axis=1) >= family.least[c]))
        out["p_value"][c] = family.p(flipped[:, c] >= family.least[c])
        out["p_single_step"][c] = family.p(flipped[:, order].max(axis=1) >= family.least[c])
        out["p_step_down"][c] = before
    return {
        "statistic": family.statistic,
        "z": family.z,
        **out,
        "draws": np.full(len(left), len(flipped), dtype=np.uint64),
        "method": np.full(len(left), ENUMERATED if family.enumerated else SAMPLED, dtype=np.uint8),
    }


def max_t_quantiles(
    values: NDArray[np.float64],
    left: Offsets,
    right: Offsets,
    confidence_level: float,
    unit: int,
    n_resamples: int,
    rng_seed: int,
    *,
    threads: int | None = None,
) -> dict[str, NDArray[Any]]:
    """Quantile of the largest flipped |z| over all comparisons, and over those that each row is part of.

    On residuals: critical values of simultaneous intervals. The k-th smallest, k = ceil(level (draws + 1)), infinite
    where there are fewer draws; NaN for a row without comparison.
    """
    del threads
    if not 0 < confidence_level < 1:
        raise OptionError(f"confidence_level must be above 0 and below 1, got {confidence_level}")
    family = _Family.make(values, left, right, n_resamples, rng_seed, unit)
    flipped = family.flipped()
    rank = math.ceil(confidence_level * (len(flipped) + 1) - 1e-9)

    def quantile(members: NDArray[np.bool_]) -> float:
        if not members.any():
            return math.nan
        return float(np.sort(flipped[:, members].max(axis=1))[rank - 1]) if rank <= len(flipped) else math.inf

    rows = [
        quantile(family.finite & ((np.asarray(left) == row) | (np.asarray(right) == row)))
        for row in range(len(values))
    ]
    return {
        "critical": np.array([quantile(family.finite)]),
        "row_critical": np.array(rows, dtype=np.float64),
        "root_sum_squares": family.root,
        "draws": np.array([len(flipped)], dtype=np.uint64),
    }


@dataclass
class _Family:
    """Comparisons of rows, in floats and in integers on one scale."""

    statistic: Floats
    root: Floats
    finite: NDArray[np.bool_]
    units: list[list[int]]
    inverse: Floats
    error: Floats
    least: Floats
    enumerated: bool
    subsets: Callable[[], Subsets]

    @classmethod
    def make(
        cls, values: Floats, left: Offsets, right: Offsets, n_resamples: int, rng_seed: int, unit: int
    ) -> _Family:
        check_positive("n_resamples", n_resamples)
        check_length("right", len(right), len(left))
        n_rows, n = values.shape
        for row in (*left, *right):
            if row >= n_rows:
                raise OptionError(f"left and right must be numbers of rows, got {row} of {n_rows}")
        enumerated = n < _WORD and 2**n <= n_resamples
        known = np.isfinite(values).all(axis=1) & (n > 0)
        bits = _ENUMERATED_BITS if enumerated else _SAMPLED_BITS
        scale = _scale(values[known].ravel(), bits)
        fixed = [
            _on_scale(row if ok else np.zeros(n), scale, bits) for row, ok in zip(values, known, strict=True)
        ]
        statistic, root, inverse, error, least = np.full((5, len(left)), np.nan)
        made = cls(
            statistic=statistic,
            root=root,
            finite=np.array([known[x] and known[y] for x, y in zip(left, right, strict=True)], dtype=bool),
            units=[[] for _ in left],
            inverse=inverse,
            error=error,
            least=least,
            enumerated=enumerated,
            subsets=lambda: _all_subsets(n) if enumerated else _flips(n, n_resamples, rng_seed, unit),
        )
        for c, (x, y) in enumerate(zip(left, right, strict=True)):
            made.units[c] = [p - q for p, q in zip(fixed[x][0], fixed[y][0], strict=True)]
            if not made.finite[c]:
                continue
            d = values[x] - values[y]
            made.statistic[c] = sum(d)
            norms = sum(math.sqrt(sum(row * row)) for row in (values[x], values[y]))
            made.root[c] = math.sqrt(sum(d * d))
            if made.root[c] <= 1e-12 * norms:  # rows that differ in their last digits alone do not differ
                made.root[c] = 0.0
            made.inverse[c] = 1 / (made.root[c] * scale) if made.root[c] > 0 else 0.0
            # Rounding errors flip too: 7 standard deviations of theirs are exceeded once in 2e10 flips.
            made.error[c] = 7 * sum(math.sqrt(sum(fixed[row][1] ** 2)) for row in (x, y))
            size = sum(abs(unit) for row in (x, y) for unit in fixed[row][0])
            made.least[c] = (abs(made.statistic[c]) * scale - _slack(0, size)) * made.inverse[c] * (1 - 1e-12)
        return made

    @property
    def z(self) -> Floats:
        return np.array(
            [_ratio(*pair) for pair in zip(self.statistic, self.root, strict=True)], dtype=np.float64
        )

    def flipped(self) -> Floats:
        """|z| of every comparison under every pattern."""
        integers = np.array(self.units, dtype=np.int64).reshape(len(self.units), -1)
        totals = integers.sum(axis=1)
        rows = [
            (np.abs(totals - 2 * integers[:, subset].sum(axis=1)) + self.error) * self.inverse
            for subset in self.subsets()
        ]
        return np.array(rows)

    def p(self, extreme: NDArray[np.bool_]) -> float:
        count = int(extreme.sum())
        return count / len(extreme) if self.enumerated else (count + 1) / (len(extreme) + 1)


@dataclass
class _Columns:
    """Results, one entry a group."""

    rows: list[tuple[float, float, float, int, int, int]] = field(default_factory=list)

    def add(self, statistic: float, z: float, p: float) -> None:
        self.rows.append((statistic, z, p, 0, 0, CLOSED_FORM))

    def count(self, statistic: float, z: float, counted: list[bool], enumerated: bool) -> None:
        extreme, draws = sum(counted), len(counted)
        p = extreme / draws if enumerated else (extreme + 1) / (draws + 1)
        self.rows.append((statistic, z, p, extreme, draws, ENUMERATED if enumerated else SAMPLED))

    def columns(self) -> dict[str, NDArray[Any]]:
        names = ("statistic", "z", "p_value", "extreme", "draws", "method")
        dtypes = (np.float64, np.float64, np.float64, np.uint64, np.uint64, np.uint8)
        return {
            name: np.array([row[k] for row in self.rows], dtype=dtype)
            for k, (name, dtype) in enumerate(zip(names, dtypes, strict=True))
        }


def _ratio(top: float, bottom: float) -> float:
    return top / bottom if bottom > 0 else math.nan


def _one_magnitude(values: Floats) -> bool:
    """Whether all are the same but for their signs and last digits."""
    sizes = np.abs(values)
    return len(sizes) == 0 or bool(sizes.max() - sizes.min() <= 1e-12 * sizes.max())


def _scale(values: Floats, bits: int) -> float:
    """The power of two that gives the largest of them ``bits`` bits before the point."""
    largest = float(np.abs(values).max(initial=0.0))
    exponent = math.frexp(largest)[1] - 1 if largest >= 2.0**-1022 else -1023
    return 2.0 ** min(max(bits - 1 - exponent, -1022), 1023)


def _on_scale(values: Floats, scale: float, bits: int) -> tuple[list[int], Floats]:
    """The values as integers, and how far off each is."""
    scaled = values * scale
    rounded = np.clip(np.rint(scaled), -(2.0**bits) + 1, 2.0**bits - 1)
    return [int(x) for x in rounded], np.abs(rounded - scaled)


def _fixed(values: Floats, bits: int) -> tuple[list[int], float]:
    """The values as integers on a scale of their own, and the sum of their rounding errors."""
    integers, errors = _on_scale(values, _scale(values, bits), bits)
    return integers, float(sum(errors))


def _slack(error: float, size: float) -> int:
    """How far below the observed statistic a permuted one still ties with it."""
    return math.ceil(2 * error) + math.floor(1e-12 * size)


def _sum(integers: list[int], subset: Subset) -> int:
    return sum(unit for unit, inside in zip(integers, subset, strict=True) if inside)


def _all_subsets(n: int) -> Subsets:
    """Every subset, the identity (the empty one) first."""
    for bits in product([False, True], repeat=n):
        yield np.array(bits[::-1], dtype=bool)


def _choices(n: int, m: int) -> Subsets:
    """Every subset of m."""
    for members in combinations(range(n), m):
        yield np.isin(np.arange(n), members)


def _blocks(purpose: int, n_resamples: int, rng_seed: int, unit: int) -> Iterator[tuple[Words, int]]:
    """The stream of each block of 16 replicates, and how many of them count."""
    for part in range(-(-n_resamples // _PART)):
        words = Words(rng_seed, purpose, part, unit)
        end = min(n_resamples, (part + 1) * _PART)
        for start in range(part * _PART, end, _LANES):
            yield words, min(_LANES, end - start)


def _biased_bits(words: Words, n: int, chance: int = 128) -> NDArray[np.bool_]:
    """Bits of 16 lanes x n instances, set with this chance of 256: 32 instances a word, its lowest bit first.

    A word a binary digit of the chance, from its last 1 on: united with what came before, or shared by both.
    """
    digits = f"{chance:08b}".rstrip("0")[::-1]
    made = []
    for _ in range(-(-n // _WORD)):
        word = np.zeros(_LANES, dtype=np.uint32)
        for digit in digits:
            fair = words.step()
            word = word | fair if digit == "1" else word & fair
        made.append(word)
    steps = np.array(made, dtype=np.uint32).reshape(-1, _LANES)
    bits = (steps[:, :, None] >> np.arange(_WORD, dtype=np.uint32)) & np.uint32(1)
    return bits.transpose(1, 0, 2).reshape(_LANES, -1)[:, :n].astype(bool)


def _flips(n: int, n_resamples: int, rng_seed: int, unit: int) -> Subsets:
    """Random subsets by fair bits."""
    for words, live in _blocks(SIGN_FLIP, n_resamples, rng_seed, unit):
        yield from _biased_bits(words, n)[:live]


def _subsets(n: int, m: int, n_resamples: int, rng_seed: int, unit: int) -> Subsets:
    """Random subsets of m: each instance with chance floor(256 m / n) / 256, then put right at random places."""
    chance = 256 * m // n
    for words, live in _blocks(LABEL_PERMUTATION, n_resamples, rng_seed, unit):
        lanes = _biased_bits(words, n, chance)
        for inside in lanes:
            while (count := int(inside.sum())) != m:
                place = words.below(n)
                if inside[place] != (count < m):
                    inside[place] = not inside[place]
        yield from lanes[:live]
