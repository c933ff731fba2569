"""pass@k of 10M items with 100 samples each, from counts and from raw samples, beside NumPy and the published loop.

NumPy in two versions: a factor of the product at a time for all items, as it is usually vectorised, and a table over
the number of right samples, which takes that all items have the same number of samples. The published function is
called item by item, on some of the items, its times multiplied. All must find the same means before a time is taken.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import numpy as np

from measure import interleaved, markdown, setting
from signoise import _core

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Counts = NDArray[np.uint32]
    Floats = NDArray[np.float64]
    Estimate = Callable[[Counts, Counts], Floats]

TRIES = (1, 5, 10, 100)


def raw_samples(items: int, width: int) -> NDArray[np.bool_]:
    """Samples of items from very hard to easy; a tenth of the items drawn, as their content does not matter."""
    rng = np.random.default_rng(0)
    drawn = -(-items // 10)
    found: NDArray[np.bool_] = rng.random((drawn, width), dtype=np.float32) < rng.beta(0.5, 1.0, (drawn, 1))
    return np.tile(found, (10, 1))[:items]


def ours(n: Counts, c: Counts, threads: int | None = None) -> Floats:
    found: Floats = _core.pass_probabilities(n, c, np.array(TRIES, dtype=np.uint32), threads=threads)
    return found.mean(axis=1)


def by_factors(n: Counts, c: Counts) -> Floats:
    """1 - prod_j (n - c - j) / (n - j), all items at once."""
    total, wrong = n.astype(np.float64), (n - c).astype(np.float64)
    out = np.empty((len(TRIES), len(n)))
    for row, k in enumerate(TRIES):
        failing = np.ones(len(n))
        for j in range(k):
            failing *= np.maximum(wrong - j, 0.0) / (total - j)
        out[row] = 1.0 - failing
    return out.mean(axis=1)


def by_table(n: Counts, c: Counts) -> Floats:
    """The same looked up: every item has n[0] samples."""
    right = np.arange(int(n[0]) + 1, dtype=np.uint32)
    width = np.full(len(right), n[0], dtype=np.uint32)
    out = np.empty((len(TRIES), len(c)))
    for row, k in enumerate(TRIES):
        with np.errstate(all="ignore"):
            factors = [np.maximum(width - right - float(j), 0.0) / (width - float(j)) for j in range(k)]
        np.take(1.0 - np.prod(factors, axis=0), c, out=out[row])
    return out.mean(axis=1)


def published(n: Counts, c: Counts) -> Floats:
    """Item by item, after the function in the appendix of arXiv 2107.03374."""

    def estimate(n: int, c: int, k: int) -> float:
        if n - c < k:
            return 1.0
        return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))

    pairs = list(zip(n.tolist(), c.tolist(), strict=True))
    return np.array([np.mean([estimate(a, b, k) for a, b in pairs]) for k in TRIES])


def counted(samples: NDArray[np.bool_], threads: int | None = None) -> tuple[Counts, Counts]:
    found = _core.sample_counts(samples, threads=threads)
    return found["n"], found["c"]


def summed(samples: NDArray[np.bool_]) -> tuple[Counts, Counts]:
    """NumPy's fastest: bytes summed in 32 bits."""
    right = samples.view(np.uint8).sum(axis=1, dtype=np.uint32)
    return np.full(len(right), samples.shape[1], dtype=np.uint32), right


def check(samples: NDArray[np.bool_]) -> None:
    n, c = counted(samples)
    if samples.shape[1] < max(TRIES):
        raise SystemExit(f"--samples must be at least {max(TRIES)}, the largest number of tries")
    for peer in (summed(samples), counted(samples.view(np.uint8), threads=1)):
        if not (np.array_equal(peer[0], n) and np.array_equal(peer[1], c)):
            raise SystemExit("counts differ")
    for estimate in (by_factors, by_table, published):
        if not np.allclose(estimate(n, c), ours(n, c), rtol=1e-12, atol=0.0):
            raise SystemExit(f"{estimate.__name__} finds {estimate(n, c)}, we find {ours(n, c)}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=10_000_000)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--loop", type=int, default=5_000, help="items of the published loop")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    print(setting(options.repeats))
    samples = raw_samples(options.items, options.samples)
    check(samples[: options.loop])
    n, c = counted(samples)
    few, share = slice(options.loop), options.items / min(options.loop, options.items)
    jobs: dict[str, dict[str, Callable[[], Any]]] = {
        "counts": {
            "2 threads": lambda: ours(n, c, 2),
            "1 thread": lambda: ours(n, c, 1),
            "NumPy, factors": lambda: by_factors(n, c),
            "NumPy, table": lambda: by_table(n, c),
            "published": lambda: published(n[few], c[few]),
        },
        "samples": {
            "2 threads": lambda: ours(*counted(samples, 2), 2),
            "1 thread": lambda: ours(*counted(samples, 1), 1),
            "NumPy, factors": lambda: by_factors(*summed(samples)),
            "NumPy, table": lambda: by_table(*summed(samples)),
            "published": lambda: published(*summed(samples[few])),
        },
    }
    rows = []
    for source, own in jobs.items():
        times = interleaved(own, options.repeats)
        first = times["1 thread"]
        for name, found in times.items():
            scale = share if name == "published" else 1.0
            rows.append(
                {
                    "from": source,
                    "pass@k": name,
                    "wall (s)": f"{scale * found.wall:.3g}",
                    "CPU (s)": f"{scale * found.cpu:.3g}",
                    "CPU over 1 thread": f"{scale * found.cpu / first.cpu:.3g}",
                }
            )
    print(markdown(rows))


if __name__ == "__main__":
    main()
