"""The study of a task's subtasks beside a literal port of the published loop: a mask, means, ranks at each step.

25 recipes with 30 checkpoints each at the target and one at a small scale, 57 subtasks of 14,000 instances in all:
unions in the order of SNR (and, second, greedy and backward too) with 10 random ones of each size, their SNR and
decision accuracy. We read a score store (and, third, Parquet); the loop has the scores as arrays already. Both give the
same orders and numbers first: on few instances of each subtask for every union, on all of them for some. The loop is
timed on some unions of each kind, evenly, and its times are multiplied.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

import signoise as sn
from measure import Times, interleaved, markdown, setting
from signoise import reference

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

RECIPES, CHECKPOINTS, SUBTASKS, INSTANCES, RANDOM = 25, 30, 57, 14_000, 10
#: Unions that the loop is timed on.
SIZES = (1, 15, 29, 43, 57)


def planted(instances: int) -> tuple[Floats, Floats, Ints]:
    """0/1 scores at the target (recipes, checkpoints, instances) and at small scale (recipes, instances), subtasks."""
    rng = np.random.default_rng(1)
    # Sizes as uneven as those of MMLU; every subtask has some instances.
    shares = np.exp(rng.normal(0, 0.7, SUBTASKS))
    counts = np.maximum(5, np.floor(shares / shares.sum() * instances).astype(int))
    counts[0] += instances - counts.sum()
    subtask = np.repeat(np.arange(SUBTASKS), counts)
    signal = rng.uniform(0.005, 0.05, SUBTASKS)
    recipe = 0.4 + signal * (0.7 * rng.normal(size=(RECIPES, 1)) + 0.7 * rng.normal(size=(RECIPES, SUBTASKS)))
    noisy = recipe[:, None] + 0.02 * rng.normal(size=(RECIPES, CHECKPOINTS, SUBTASKS))
    ease = rng.uniform(-0.2, 0.2, instances)
    target = np.empty((RECIPES, CHECKPOINTS, instances))
    for run in range(RECIPES):
        target[run] = rng.random((CHECKPOINTS, instances)) < noisy[run][:, subtask] + ease
    small = (rng.random((RECIPES, instances)) < recipe[:, subtask] + ease).astype(float)
    return target, small, subtask


def write(target: Floats, small: Floats, subtask: Ints, folder: Path) -> None:
    """The same scores as Parquet, a file a recipe."""
    items = pl.DataFrame(
        {
            "subtask": [f"subtask-{one:02}" for one in subtask],
            "instance_id": [f"{number:05}" for number in range(len(subtask))],
        }
    )
    for recipe in range(RECIPES):
        parts = [
            items.with_columns(
                pl.lit(f"recipe-{recipe:02}").alias("recipe"),
                pl.lit(params).cast(pl.Int64).alias("params"),
                pl.lit(step).cast(pl.Int64).alias("step"),
                pl.lit("suite").alias("task"),
                pl.lit("acc").alias("metric"),
                pl.Series("value", values),
                run=pl.lit(f"recipe-{recipe:02}-{params}"),
            )
            for params, scores in ((10, small[recipe][None]), (20, target[recipe]))
            for step, values in enumerate(scores)
        ]
        pl.concat(parts).write_parquet(folder / f"{recipe:02}.parquet")


def ours(source: Any, rules: tuple[str, ...], threads: int | None = None) -> pl.DataFrame:
    """The study."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        return sn.filter_subtasks(
            source,
            small="params = 10",
            target="params = 20",
            rules=rules,
            how="micro",
            window=CHECKPOINTS,
            n_random=RANDOM,
            threads=threads,
        )


def loop(target: Floats, small: Floats, subtask: Ints, union: list[int]) -> tuple[float, float]:
    """SNR and decision accuracy of one union, as published: a mask, means, ranks."""
    snr = reference.union_snr(target, subtask, union, how="micro")[2]
    return snr, reference.union_agreement(small, target[:, -1], subtask, union, how="micro")


def check(table: pl.DataFrame, target: Floats, small: Floats, subtask: Ints, sizes: tuple[int, ...]) -> None:
    """The numbers of some unions are those of the loop."""
    for (rule,), part in table.group_by("rule"):
        order = [int(name[-2:]) for name in part["subtask"]]
        for size in sizes:
            expected = loop(target, small, subtask, order[:size])
            found = part.filter(n_subtasks=size).select("snr", "decision_accuracy").row(0)
            if not np.allclose(found, expected, rtol=1e-9):
                raise SystemExit(f"{rule}, {size} subtasks: {found}, the loop says {expected}")


def check_orders(folder: Path) -> None:
    """All orders are those of the loop, on few instances."""
    target, small, subtask = planted(10 * SUBTASKS)
    write(target, small, subtask, folder)
    table = ours(folder, ("snr", "greedy", "backward"))
    for (rule,), part in table.group_by("rule"):
        order = reference.subtask_order(target, subtask, rule, how="micro")
        if [int(name[-2:]) for name in part["subtask"]] != order:
            raise SystemExit(f"{rule}: the loop has another order")
    check(table, target, small, subtask, tuple(range(1, SUBTASKS + 1)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--instances", type=int, default=INSTANCES)
    options = parser.parse_args()
    print(setting(options.repeats))
    with tempfile.TemporaryDirectory() as name:
        few, many, store = (Path(name) / part for part in ("few", "many", "store"))
        few.mkdir()
        many.mkdir()
        check_orders(few)
        target, small, subtask = planted(options.instances)
        write(target, small, subtask, many)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", sn.SignoiseWarning)
            sn.ingest(many, store)
        every = ("snr", "greedy", "backward")
        check(ours(store, every), target, small, subtask, (1, 20, SUBTASKS))
        print(f"{target.size + small.size:,} instance scores; all orders and numbers compared are equal\n")

        rng = np.random.default_rng(2)
        unions = [rng.permutation(SUBTASKS)[:size].tolist() for size in SIZES]
        jobs: dict[str, Callable[[], Any]] = {
            "snr": lambda: ours(store, ("snr",), options.threads),
            "all": lambda: ours(store, every, options.threads),
            "parquet": lambda: ours(many, every, options.threads),
            "loop": lambda: [loop(target, small, subtask, union) for union in unions],
            "loop of SNR": lambda: [
                reference.union_snr(target, subtask, union, how="micro") for union in unions
            ],
        }
        times = interleaved(jobs, options.repeats)
    # The sizes are even, so that their mean is that of all: an order has 57 unions, as many are measured alone, and
    # random ones are 10 a size; greedy and backward selection look at the SNR of 57 * 58 / 2 unions each.
    published = _scaled([(times["loop"], SUBTASKS * (1 + RANDOM)), (times["loop of SNR"], SUBTASKS)])
    steps = SUBTASKS * (SUBTASKS + 1) // 2
    stepwise = _scaled([(times["loop"], 2 * SUBTASKS), (times["loop of SNR"], 2 * steps)])
    whole = Times(published.wall + stepwise.wall, published.cpu + stepwise.cpu)
    rows = [
        *_rows("order by SNR, 10 random a size", [("signoise, store", times["snr"]), ("loop", published)]),
        *_rows(
            "greedy and backward too",
            [("signoise, store", times["all"]), ("signoise, Parquet", times["parquet"]), ("loop", whole)],
        ),
    ]
    print(markdown(rows))


def _scaled(parts: list[tuple[Times, int]]) -> Times:
    """Times of so many unions from those of the sample."""
    wall, cpu = (sum(getattr(time, kind) * n for time, n in parts) / len(SIZES) for kind in ("wall", "cpu"))
    return Times(wall, cpu)


def _rows(job: str, times: list[tuple[str, Times]]) -> list[dict[str, str]]:
    first = times[0][1]
    return [
        {
            "job": job,
            "by": name,
            "wall s": f"{time.wall:.2f}",
            "CPU s": f"{time.cpu:.2f}",
            "times, wall": f"{time.wall / first.wall:.0f}",
            "times, CPU": f"{time.cpu / first.cpu:.0f}",
        }
        for name, time in times
    ]


if __name__ == "__main__":
    main()
