"""Does `advise` claim a gain by selection where there is none, and find what is planted?

Suites of `signoise.simulate`. In "null" ones nothing can be gained by choosing: every metric of a task measures the
same members with equal noise, subtasks differ in nothing, and so do tasks. A false claim is any advice to switch a
metric, keep some subtasks or drop tasks; the share of suites with one must be at most 5 %, by Holm's correction over
everything that is tested. In "chance" ones members do not differ at all: benchmarks must not be kept, and "do not use"
is right. In "planted" ones a metric, subtasks and tasks are better by a known amount.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

import signoise as sn
from suites import in_processes

TASKS, PARTS, METRICS = 5, 6, ("acc", "f1", "bleu")
SELECTIONS = ("switch_metric", "filter_subtasks", "drop")


@dataclass(frozen=True)
class Design:
    """Standard deviations between members (true), between checkpoints, and of what is planted."""

    signal: float
    noise: float
    recipes: int
    sides: bool
    better: float = 1.0
    """Factor on the noise of the last metric, of half the subtasks and of half the tasks."""

    def suite(self, seed: int) -> pl.DataFrame:
        """Tasks in several metrics, and one that has subtasks."""
        params = (1e8, 1e9) if self.sides else (1e9,)
        shared: dict[str, Any] = {
            "recipes": self.recipes,
            "params": params,
            "checkpoints": 12,
            "level": 0.5,
            "signal": self.signal,
        }
        names = [f"t{i}" for i in range(TASKS)]
        worse = [self.noise if i % 2 else self.noise / self.better for i in range(TASKS)]
        parts = []
        for place, metric in enumerate(METRICS):
            noise = [sd / self.better for sd in worse] if place == len(METRICS) - 1 else worse
            # The same members: metrics share the true effects, whose draws are addressed by the task, and the seed of
            # their noise differs.
            true, _ = sn.simulate(tasks=names, step_noise=0.0, rng_seed=seed, **shared)
            wobble, _ = sn.simulate(
                tasks=names, step_noise=noise, rng_seed=seed + 1 + place, **{**shared, "signal": 0.0}
            )
            value = pl.Series("value", true["value"] + wobble["value"] - 0.5)
            parts.append(true.with_columns(value, pl.lit(metric).alias("metric")))
        below = [f"s{i}" for i in range(PARTS)]
        subtasks, _ = sn.simulate(
            tasks=below,
            step_noise=[self.noise * (1 if i % 2 else 1 / self.better) for i in range(PARTS)],
            rng_seed=seed + 9,
            **shared,
        )
        parts.append(subtasks.with_columns(subtask=pl.col("task"), task=pl.lit("parts")))
        return pl.concat(parts, how="diagonal_relaxed")


DESIGNS = {
    "null, 8 runs": Design(0.02, 0.01, 8, sides=False),
    "null, 16 runs": Design(0.02, 0.01, 16, sides=False),
    "null, two scales, 12 recipes": Design(0.02, 0.01, 12, sides=True),
    "null, two scales, 25 recipes, much noise": Design(0.01, 0.02, 25, sides=True),
    "chance, two scales, 16 recipes": Design(0.0, 0.01, 16, sides=True),
    "chance, 16 runs": Design(0.0, 0.01, 16, sides=False),
    "planted, 16 runs": Design(0.02, 0.02, 16, sides=False, better=3.0),
    "planted, two scales, 25 recipes": Design(0.02, 0.03, 25, sides=True, better=5.0),
}


def one_suite(name: str, number: int) -> dict[str, Any]:
    """What was advised in one suite."""
    design = DESIGNS[name]
    scores = design.suite(1_000_000 * list(DESIGNS).index(name) + 20 * number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        table = sn.advise(scores, per="question", window=4)
    advised = table.filter(pl.col("rank").is_not_null())["action"].to_list()
    asked = table["action"].to_list()
    counts = {f"{action}": advised.count(action) / max(asked.count(action), 1) for action in SELECTIONS}
    benchmarks = asked.count("keep")
    return counts | {
        "any selection": float(any(action in SELECTIONS for action in advised)),
        "average_checkpoints": advised.count("average_checkpoints")
        / max(asked.count("average_checkpoints"), 1),
        "keep": advised.count("keep") / benchmarks,
        "do_not_use": advised.count("do_not_use") / benchmarks,
        "any keep": float("keep" in advised),
    }


def study(name: str, suites: int, jobs: int) -> pl.DataFrame:
    """Rows of all suites of a design."""
    return pl.DataFrame(in_processes(partial(one_suite, name), range(suites), jobs))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suites", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--designs", nargs="*", choices=DESIGNS, default=list(DESIGNS))
    options = parser.parse_args(arguments)
    good = True
    for place, name in enumerate(options.designs):
        table = study(name, options.suites, options.jobs).mean()
        if not place:
            print(
                f"| {options.suites} suites each | {' | '.join(table.columns)} |\n{'| --- ' * (table.width + 1)}|"
            )
        print(f"| {name} | {' | '.join(f'{value:.3f}' for value in table.row(0))} |", flush=True)
        if name.startswith(("null", "chance")):
            good &= table["any selection"][0] <= 0.05
        if name.startswith("chance"):
            good &= table["any keep"][0] <= 0.05
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
