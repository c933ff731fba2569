"""Resampling kernels beside SciPy and beside what a careful user writes with NumPy or numba: bootstrap intervals,
paired replicates, sign flips.

Every answer is compared first: limits and p-values within what the number of replicates leaves open.
"""

from __future__ import annotations

import argparse
import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

import signoise._core as core
from measure import interleaved, markdown, setting

if TYPE_CHECKING:
    from collections.abc import Callable

Floats = NDArray[np.float64]

N = 10_000
"""Instances."""
B = 10_000
"""Replicates, of the paired ones a tenth."""
ROWS = 100
"""Models of the paired ones."""
LEVEL = 0.95

OFFSETS = np.array([0, N], dtype=np.uintp)
UNITS = np.zeros(1, dtype=np.uint64)


def ours(values: Floats, method: str, threads: int) -> tuple[float, float]:
    """Limits of the mean."""
    row = values[None, :]
    replicates = core.bootstrap_means(row, None, OFFSETS, UNITS, B, 0, threads=threads)
    known = core.bootstrap_estimates(row, None, OFFSETS, threads=threads)
    limits = core.bootstrap_interval(
        replicates, known["estimate"], known["acceleration"], method, LEVEL, threads=threads
    )
    return float(limits["low"][0]), float(limits["high"][0])


def ours_by_law(values: Floats, threads: int) -> tuple[float, float]:
    ones = np.array([values.sum()], dtype=np.uint64)
    replicates = core.bootstrap_binomial(ones, np.array([N], dtype=np.uint64), UNITS, B, 0, threads=threads)
    low, high = np.quantile(replicates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def scipys(values: Floats, method: str) -> tuple[float, float]:
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=B, method=method, confidence_level=LEVEL, batch=100, rng=0
    ).confidence_interval
    return float(found.low), float(found.high)


def numbas(threads: int) -> Callable[[Floats], tuple[float, float]] | None:
    """Limits of the mean by a plain parallel loop over replicates; None without numba."""
    try:
        import numba
    except ImportError:
        return None
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))

    @numba.njit(parallel=True)
    def replicates(values: Floats, n_resamples: int) -> Floats:
        means = np.empty(n_resamples)
        for replicate in numba.prange(n_resamples):
            total = 0.0
            for _ in range(len(values)):
                # A Generator cannot be shared by numba's threads; each has a state of this kind.
                total += values[np.random.randint(len(values))]  # noqa: NPY002
            means[replicate] = total / len(values)
        return means

    def limits(values: Floats) -> tuple[float, float]:
        low, high = np.quantile(replicates(values, B), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)

    return limits


def counts_and_product(table: Floats) -> Floats:
    """Replicates of all rows: how often each instance is drawn, then one matrix product."""
    rng = np.random.default_rng(0)
    counts = np.empty((B // 10, N), dtype=np.float32)
    for replicate in counts:
        replicate[:] = np.bincount(rng.integers(0, N, N, dtype=np.int32), minlength=N)
    return (table.astype(np.float32) @ counts.T).astype(float) / N


def bits_and_product(differences: Floats) -> float:
    """p-value of random signs: bits as a matrix, then one product."""
    rng = np.random.default_rng(0)
    signs = np.unpackbits(rng.integers(0, 256, (B, N // 8), dtype=np.uint8), axis=1).astype(np.float32)
    sums = 2 * (signs @ differences.astype(np.float32)) - np.float32(differences.sum())
    return (1 + int(np.count_nonzero(np.abs(sums) >= abs(differences.sum()) * (1 - 1e-6)))) / (B + 1)


def ours_flipped(differences: Floats, threads: int) -> float:
    return float(core.sign_flip_test(differences, OFFSETS, UNITS, B, 0, threads=threads)["p_value"][0])


def scipys_flipped(differences: Floats) -> float:
    found = stats.permutation_test(
        (differences, np.zeros(N)),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=B,
        batch=100,
        rng=0,
    )
    return float(found.pvalue)


def close_limits(found: Any, expected: Any, spread: float) -> None:
    # A limit from B replicates has a standard error of sqrt(p (1 - p) / B) / density: 0.027 sd for 10,000.
    error = 6 * spread * math.sqrt(0.025 * 0.975 / B) / stats.norm.pdf(stats.norm.ppf(0.975))
    if not np.allclose(found, expected, rtol=0, atol=error):
        raise SystemExit(f"limits {found} and {expected} differ by more than {error:.2g}")


def close_spreads(found: Floats, expected: Floats, _: float) -> None:
    if not np.allclose(found.std(axis=1), expected.std(axis=1), rtol=6 * math.sqrt(1 / (B // 10))):
        raise SystemExit("the replicates spread differently")


def close_shares(found: float, expected: float, _: float) -> None:
    if abs(found - expected) > 6 * math.sqrt(2 * max(expected * (1 - expected), 1e-4) / B):
        raise SystemExit(f"p-values {found} and {expected} differ")


def cases(threads: int) -> list[tuple[str, dict[str, Callable[[], Any]], Callable[..., None], float]]:
    rng = np.random.default_rng(1)
    real = rng.lognormal(size=N)
    hits = (rng.random(N) < 0.4).astype(float)
    table = rng.normal(size=(ROWS, N))
    bits = (rng.random((ROWS, N)) < 0.4).astype(float)
    shift = rng.normal(0.01, 1, N)
    paired = partial(
        core.bootstrap_means, sizes=None, offsets=OFFSETS, units=UNITS, n_resamples=B // 10, rng_seed=0
    )
    error = math.sqrt(1 / N)
    loop = numbas(threads)
    peers = {} if loop is None else {"numba": partial(loop, real)}
    return [
        (
            "mean, percentile",
            {
                "signoise": lambda: ours(real, "percentile", threads),
                "signoise on one thread": lambda: ours(real, "percentile", 1),
                "SciPy": lambda: scipys(real, "percentile"),
                **peers,
            },
            close_limits,
            real.std() * error,
        ),
        (
            "mean, BCa",
            {"signoise": lambda: ours(real, "bca", threads), "SciPy": lambda: scipys(real, "BCa")},
            close_limits,
            real.std() * error,
        ),
        (
            "mean of 0/1 scores, percentile",
            {"signoise": lambda: ours_by_law(hits, threads), "SciPy": lambda: scipys(hits, "percentile")},
            close_limits,
            hits.std() * error,
        ),
        (
            f"paired replicates of {ROWS} models",
            {
                "signoise": lambda: paired(table, threads=threads),
                "signoise on one thread": lambda: paired(table, threads=1),
                "counts and product": lambda: counts_and_product(table),
            },
            close_spreads,
            error,
        ),
        (
            f"paired replicates of {ROWS} models, 0/1",
            {
                "signoise": lambda: paired(bits, threads=threads),
                "signoise on one thread": lambda: paired(bits, threads=1),
                "counts and product": lambda: counts_and_product(bits),
            },
            close_spreads,
            error,
        ),
        (
            "sign flips",
            {
                "signoise": lambda: ours_flipped(shift, threads),
                "bits and product": lambda: bits_and_product(shift),
                "SciPy": lambda: scipys_flipped(shift),
            },
            close_shares,
            error,
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    print(setting(options.repeats))
    print(f"{N:,} instances, {B:,} replicates ({B // 10:,} of the paired ones)\n")
    rows = []
    for name, jobs, check, spread in cases(options.threads):
        answers = {job: call() for job, call in jobs.items()}
        for answer in answers.values():
            check(answers["signoise"], answer, spread)
        times = interleaved(jobs, options.repeats)
        first = times["signoise"]
        rows += [
            {
                "job": name,
                "by": job,
                "wall ms": f"{time.wall * 1e3:.2f}",
                "CPU ms": f"{time.cpu * 1e3:.2f}",
                "times, wall": f"{time.wall / first.wall:.1f}",
                "times, CPU": f"{time.cpu / first.cpu:.1f}",
            }
            for job, time in times.items()
        ]
    print(markdown(rows))


if __name__ == "__main__":
    main()
