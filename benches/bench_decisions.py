"""Resampled decision accuracies and SNRs beside a loop as researchers write it and beside vectorised NumPy.

Drawn checkpoints: the kernel against both, on the same draws first, where every trial must be equal. Instances: the
verbs on a score store against counts of draws and one matrix product, whose limits must be equal within what the number
of draws leaves open. The loop is timed on one cell and its times are multiplied.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import signoise as sn
import signoise._core as core
from measure import Times, interleaved, markdown, setting
from signoise.reference._decisions import _trial_words
from signoise.reference._random import CHECKPOINT_DRAW

if TYPE_CHECKING:
    from collections.abc import Callable

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

CELLS, MEMBERS, WINDOW, TRIALS = 270, 25, 5, 1000
TASKS, SMALL, TARGET = 24, 150_000_000, 1_000_000_000


def ours(cells: Floats, threads: int) -> Floats:
    """Trials of every cell; `cells` is (sides, cells, members, window)."""
    windows = np.arange(0, CELLS * MEMBERS * WINDOW + 1, WINDOW, dtype=np.uintp)
    members = np.arange(0, CELLS * MEMBERS + 1, MEMBERS, dtype=np.uintp)
    small, target = (side.ravel() for side in cells)
    units = np.arange(CELLS, dtype=np.uint64)
    found = core.sampled_agreement(
        small, windows, target, windows, members, units, TRIALS, 0, threads=threads
    )
    return found["draws"].reshape(CELLS, TRIALS)


def drawn(cell: int) -> Ints:
    """The checkpoints that the kernel draws in a cell: (trials, members, sides)."""
    words = _trial_words(0, CHECKPOINT_DRAW, cell, MEMBERS, TRIALS).astype(np.uint64)
    return (words * np.uint64(WINDOW) >> np.uint64(32)).astype(np.intp)


def loop(small: list[list[float]], target: list[list[float]], chosen: Ints | None = None) -> list[float]:
    """One cell as published: NumPy chooses a checkpoint of each model in turn, then whole tables are compared."""
    accuracies = []
    for trial in range(TRIALS):
        if chosen is None:
            a = np.array([np.random.choice(window) for window in small])  # noqa: NPY002 (as published)
            b = np.array([np.random.choice(window) for window in target])  # noqa: NPY002
        else:
            a, b = (
                np.array([window[at] for window, at in zip(side, chosen[trial, :, k], strict=True)])
                for k, side in enumerate((small, target))
            )
        small_wins, target_wins = (side[:, np.newaxis] > side[np.newaxis, :] for side in (a, b))
        upper = np.triu(np.ones_like(small_wins), k=1).astype(bool)
        accuracies.append(float(np.mean((small_wins == target_wins)[upper])))
    return accuracies


def vectorised(small: Floats, target: Floats, rng: np.random.Generator, chosen: Ints | None = None) -> Floats:
    """One cell in NumPy: ranks in 16 bits, members in rows and trials in columns, a pair of shifted rows at a time."""
    if chosen is None:
        chosen = rng.integers(0, WINDOW, (TRIALS, MEMBERS, 2))
    ranks = [np.unique(side, return_inverse=True)[1].reshape(side.shape) for side in (small, target)]
    a, b = (
        np.ascontiguousarray(side.astype(np.int16)[np.arange(MEMBERS), chosen[:, :, at]].T)
        for at, side in enumerate(ranks)
    )
    net = np.zeros(TRIALS, dtype=np.int32)
    for shift in range(1, MEMBERS):
        pairs = np.sign(a[shift:] - a[:-shift]) * np.sign(b[shift:] - b[:-shift])
        net += pairs.sum(axis=0, dtype=np.int16)
    return (1 + net / math.comb(MEMBERS, 2)) / 2


def sampling_jobs(threads: int) -> tuple[dict[str, Callable[[], Any]], dict[str, float]]:
    """Jobs, and how many times each has to run for all cells."""
    rng = np.random.default_rng(1)
    levels = rng.normal(0.5, 0.03, (1, CELLS, MEMBERS, 1))
    cells = levels + rng.normal(
        0, 0.01, (2, CELLS, MEMBERS, WINDOW)
    )  # no ties: the published rule has its own
    lists = cells[:, 0].tolist()
    trials = ours(cells, threads)
    for cell in (0, CELLS - 1):
        if not np.allclose(vectorised(*cells[:, cell], rng, drawn(cell)), trials[cell], rtol=0, atol=1e-12):
            raise SystemExit("the same draws give other decision accuracies in NumPy")
    if not np.allclose(loop(*lists, drawn(0)), trials[0], rtol=0, atol=1e-12):
        raise SystemExit("the same draws give other decision accuracies in the loop")
    jobs: dict[str, Callable[[], Any]] = {
        "signoise": lambda: ours(cells, threads),
        "signoise on one thread": lambda: ours(cells, 1),
        "vectorised NumPy": lambda: [vectorised(*cells[:, cell], rng) for cell in range(CELLS)],
        f"loop (one cell, times {CELLS})": lambda: loop(*lists),
    }
    return jobs, {name: CELLS if name.startswith("loop") else 1 for name in jobs}


def counts_and_product(cells: dict[int, Floats], rng: np.random.Generator) -> tuple[Floats, Floats]:
    """sd of log SNR and of decision accuracy for each task, from `cells` (tasks, members, window, instances)."""
    n = cells[SMALL].shape[-1]
    spreads = []
    i, j = np.triu_indices(MEMBERS, 1)
    for small, target in zip(cells[SMALL], cells[TARGET], strict=True):
        counts = rng.multinomial(n, np.full(n, 1 / n), TRIALS).astype(np.float32)
        a = (counts @ small.reshape(-1, n).T.astype(np.float32)).astype(float).reshape(
            TRIALS, MEMBERS, WINDOW
        ) / n
        b = (counts @ target[:, -1].T.astype(np.float32)).astype(float) / n
        log_snr = np.log(np.ptp(a.mean(axis=2), axis=1) / np.sqrt(a.var(axis=2, ddof=1).mean(axis=1)))
        signs = np.sign(a[:, i, -1] - a[:, j, -1]) * np.sign(b[:, i] - b[:, j])
        spreads.append((log_snr.std(ddof=1), ((1 + signs) / 2).mean(axis=1).std(ddof=1)))
    first, second = np.array(spreads).T
    return first, second


def store_intervals(store: sn.ScoreStore, threads: int) -> tuple[Floats, Floats]:
    """The same from the limits of the verbs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        snr = sn.snr(store, where=f"params = {SMALL}", instances=True, n_resamples=TRIALS, threads=threads)
        accuracy = sn.decision_accuracy(
            store,
            small=f"params = {SMALL}",
            target=f"params = {TARGET}",
            instances=True,
            n_resamples=TRIALS,
            threads=threads,
        )
    ratio = (snr["instance_high"] / snr["instance_low"]).to_numpy()
    low, middle = (accuracy[name].to_numpy() for name in ("instance_low", "decision_accuracy"))
    z = 1.959963984540054
    return np.log(ratio) / 2 / z, np.where(low > 0, (middle - low) / z, np.nan)


def instance_jobs(folder: Path, instances: int, threads: int) -> dict[str, Callable[[], Any]]:
    scores, _ = sn.simulate(
        tasks=TASKS,
        recipes=MEMBERS,
        params=(SMALL, TARGET),
        checkpoints=WINDOW,
        instances=instances,
        rng_seed=1,
    )
    sn.ingest(scores, folder)
    rows = scores.sort("params", "task", "recipe", "step", "instance_id")
    values = rows["value"].to_numpy().reshape(2, TASKS, MEMBERS, WINDOW, instances)
    cells = dict(zip((SMALL, TARGET), values, strict=True))
    store, rng = sn.open_store(folder), np.random.default_rng(2)
    for found, expected in zip(store_intervals(store, threads), counts_and_product(cells, rng), strict=True):
        known = np.isfinite(found)
        if not np.allclose(found[known], expected[known], rtol=6 / math.sqrt(TRIALS)):
            raise SystemExit(f"limits over instances differ: {found} and {expected}")
    return {
        "signoise": lambda: store_intervals(store, threads),
        "signoise on one thread": lambda: store_intervals(store, 1),
        "counts and product, from arrays": lambda: counts_and_product(cells, rng),
    }


def rows_of(job: str, times: dict[str, Times], factors: dict[str, float]) -> list[dict[str, str]]:
    """Rows of the table; times are multiplied by the factors."""
    first = times["signoise"]
    return [
        {
            "job": job,
            "by": name,
            "wall ms": f"{time.wall * factors.get(name, 1) * 1e3:.1f}",
            "CPU ms": f"{time.cpu * factors.get(name, 1) * 1e3:.1f}",
            "times, wall": f"{time.wall * factors.get(name, 1) / first.wall:.1f}",
            "times, CPU": f"{time.cpu * factors.get(name, 1) / first.cpu:.1f}",
        }
        for name, time in times.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--instances", type=int, default=500)
    options = parser.parse_args()
    print(setting(options.repeats))
    print(
        f"{CELLS} cells of {MEMBERS} members and {TRIALS:,} trials; {TASKS} tasks of {options.instances} instances\n"
    )
    jobs, factors = sampling_jobs(options.threads)
    rows = rows_of("drawn checkpoints", interleaved(jobs, options.repeats), factors)
    with tempfile.TemporaryDirectory() as folder:
        found = instance_jobs(Path(folder) / "store", options.instances, options.threads)
        rows += rows_of("limits over instances", interleaved(found, options.repeats), {})
    print(markdown(rows))


if __name__ == "__main__":
    main()
