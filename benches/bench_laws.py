"""Scaling laws on planted ladders: `prediction_error` of 24 tasks, with and without refits to random checkpoints.

Answers are compared with the planted values first.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

import signoise as sn
from measure import interleaved, markdown, setting

if TYPE_CHECKING:
    from numpy.typing import NDArray

TASKS = 24
RESAMPLES = 1000
CHECKPOINTS = 72
SIZES = (1.9e8, 3.7e8, 7.6e8, 1.28e9, 3.2e9)
RATIOS = (10, 20, 40, 100, 200)
"""Tokens a parameter."""
TARGET = (6.9e9, 3.9e12)
NOISE = 2e-3


def loss(task: int, params: NDArray[np.float64], tokens: NDArray[np.float64]) -> NDArray[np.float64]:
    """The planted law of the intermediate metric."""
    return np.exp(6.0 - 0.37 * np.log(params)) + np.exp(7.3 - 0.37 * np.log(tokens)) + 0.4 + 0.01 * task


def accuracy(bits: NDArray[np.float64]) -> NDArray[np.float64]:
    """The planted law of the outcome."""
    return 1 - 0.65 / (1 + np.exp(-5 * (bits - 0.75)))


def ladder() -> pl.DataFrame:
    """25 runs and a target, with noise at every checkpoint."""
    rng = np.random.default_rng(0)
    share = np.arange(1, CHECKPOINTS + 1) / CHECKPOINTS
    parts = []
    for task in range(TASKS):
        for size, end in [(size, size * ratio) for size in SIZES for ratio in RATIOS] + [TARGET]:
            tokens = end * share
            bits = loss(task, np.full(CHECKPOINTS, size), tokens)
            bits *= np.exp(NOISE * rng.normal(size=CHECKPOINTS))
            scores = {"bits_per_byte": bits, "acc": accuracy(bits) + NOISE * rng.normal(size=CHECKPOINTS)}
            parts += [
                pl.DataFrame({"tokens": tokens, "value": values}).with_columns(
                    run=pl.lit(f"{size:.3g}-{end:.3g}"),
                    params=pl.lit(size),
                    task=pl.lit(f"task-{task:02d}"),
                    metric=pl.lit(metric),
                )
                for metric, values in scores.items()
            ]
    return pl.concat(parts)


def foretell(scores: pl.DataFrame, n_resamples: int, interval: str, threads: int) -> pl.DataFrame:
    return sn.prediction_error(
        scores,
        train="params < 6e9",
        target="params > 6e9",
        intermediate="bits_per_byte",
        outcome="acc",
        n_resamples=n_resamples,
        interval=interval,  # type: ignore[arg-type]
        threads=threads,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    print(setting(options.repeats))
    scores = ladder()
    print(f"{TASKS} tasks, 25 runs and a target of {CHECKPOINTS} checkpoints, {scores.height:,} rows\n")
    truth = accuracy(loss(np.arange(TASKS), np.array(TARGET[0]), np.array(TARGET[1])))  # type: ignore[arg-type]
    found = foretell(scores, 10, "none", options.threads)["predicted"].to_numpy()
    if not np.allclose(found, truth, rtol=0.02):
        raise SystemExit(f"predictions {found} are not those planted, {truth}")
    jobs = {
        "predictions and errors": lambda: foretell(scores, 0, "none", options.threads),
        f"and {RESAMPLES:,} refits to random checkpoints": lambda: foretell(
            scores, RESAMPLES, "none", options.threads
        ),
        "and intervals over runs and rungs": lambda: foretell(
            scores, RESAMPLES, "jackknife", options.threads
        ),
    }
    times = interleaved(jobs, options.repeats)
    rows = [
        {"job": name, "wall ms": f"{time.wall * 1e3:.0f}", "CPU ms": f"{time.cpu * 1e3:.0f}"}
        for name, time in times.items()
    ]
    print(markdown(rows))


if __name__ == "__main__":
    main()
