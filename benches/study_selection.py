"""Does `filtering_gain` report what a selection of subtasks is worth, and does selection find the good subtasks?

Suites of `signoise.simulate` with subtasks that differ in signal and noise, or in nothing ("null"). For each suite the
verbs run on it, and the same rules are applied to fresh data of the same kind: chosen on as many fresh recipes,
checkpoints and instances as a half has, judged on others as many. The mean reported gain must be the mean fresh gain
within 3 Monte Carlo standard errors, which the gain in sample is not; intervals must hold the mean fresh gain; gains
above 0 must not be claimed where there is nothing to gain; and the good subtasks must be found as often as by the same
ranking with the planted noise in place of the estimated one.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import polars as pl

import signoise as sn
from signoise._interventions._selection import RULES, nested_weights
from signoise._interventions._union import Runs, Samples
from suites import in_processes

SUBTASKS, GOOD, RECIPES = 18, 6, 16
NAMES = [f"s{i:02}" for i in range(SUBTASKS)]


@dataclass(frozen=True)
class Design:
    """Planted subtasks, the first of them good, and where the noise comes from."""

    signal: tuple[float, float]
    """Of good subtasks and of the others, standard deviation between recipes."""
    noise: tuple[float, float]
    """Standard deviation between checkpoints."""
    checkpoints: int
    instances: int
    one_noise_run: bool

    @property
    def options(self) -> dict[str, Any]:
        """Keywords of both verbs."""
        if not self.one_noise_run:
            return {"window": self.checkpoints}
        sides = {"population": "recipe != 'reference'", "noise_runs": "recipe = 'reference'"}
        return {"window": self.checkpoints, **sides}

    def suite(self, seed: int, recipes: int, checkpoints: int, instances: int) -> pl.DataFrame:
        """Scores of one suite."""
        return self._simulated(seed, recipes, checkpoints, instances)[0]

    def truth(self, seed: int) -> pl.DataFrame:
        """The planted numbers of the suite that the verbs see."""
        return self._simulated(seed, RECIPES, self.checkpoints, self.instances)[1]

    def _simulated(
        self, seed: int, recipes: int, checkpoints: int, instances: int
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        others = SUBTASKS - GOOD
        names = [f"recipe-{i:02}" for i in range(recipes)]
        scores, truth = sn.simulate(
            tasks=NAMES,
            recipes=[*names, "reference"] if self.one_noise_run else names,
            params=1e9,
            level=0.5,
            checkpoints=checkpoints,
            instances=instances,
            signal=[self.signal[0]] * GOOD + [self.signal[1]] * others,
            step_noise=[self.noise[0]] * GOOD + [self.noise[1]] * others,
            item_noise=0.1,
            rng_seed=seed,
        )
        return scores.rename({"task": "subtask"}).with_columns(task=pl.lit("suite")), truth

    def sample(self, seed: int) -> Samples:
        """Fresh scores, as many as a half has, ready to be measured."""
        blocks = (self.checkpoints - 2) // 2 if self.one_noise_run else self.checkpoints
        scores = self.suite(seed, RECIPES // 2, self.checkpoints, self.instances // 2)
        wide = (
            scores.group_by("recipe", "step", "subtask")
            .agg(pl.col("value").mean())
            .sort("recipe", "step", "subtask")["value"]
            .to_numpy()
            .reshape(-1, self.checkpoints, SUBTASKS)
        )
        members = wide[: RECIPES // 2].mean(axis=1)
        noisy = wide[-1:, :blocks] if self.one_noise_run else wide
        starts = np.arange(len(noisy) + 1) * noisy.shape[1]
        runs = Runs.of(noisy.reshape(-1, SUBTASKS), starts, 1)
        return runs.samples(members[None], np.ones((1, len(noisy)), dtype=bool), "within", relative=True)


DESIGNS = {
    "planted, items": Design((0.10, 0.03), (0.005, 0.02), 4, 30, one_noise_run=False),
    "null, items": Design((0.06, 0.06), (0.01, 0.01), 4, 30, one_noise_run=False),
    "planted": Design((0.02, 0.012), (0.006, 0.014), 5, 0, one_noise_run=False),
    "null": Design((0.02, 0.02), (0.01, 0.01), 5, 0, one_noise_run=False),
    "planted, one noise run": Design((0.02, 0.012), (0.006, 0.014), 30, 0, one_noise_run=True),
    "null, one noise run": Design((0.02, 0.02), (0.01, 0.01), 30, 0, one_noise_run=True),
}


def fresh_gains(design: Design, seeds: tuple[int, int]) -> dict[tuple[str, str], float]:
    """Gain of each rule and size: chosen on one fresh sample and judged on another, in both directions."""
    samples = [design.sample(seed) for seed in seeds]
    ones = np.ones(SUBTASKS)
    found: dict[tuple[str, str], list[float]] = {}
    for chooser, judge in (samples, samples[::-1]):
        for rule, order in RULES.items():
            nested = nested_weights(order(chooser, ones), ones)[0]
            curve = np.log(judge.measure(nested).snr[0])
            best = int(np.nanargmax(chooser.measure(nested).snr[0]))
            for size, place in (("best", best), (str(GOOD), GOOD - 1)):
                found.setdefault((rule, size), []).append(float(curve[place] - curve[-1]))
    return {key: float(np.mean(gains)) for key, gains in found.items()}


def by_known_variances(scores: pl.DataFrame, truth: pl.DataFrame) -> list[str]:
    """The best subtasks by the range of the recipes over the planted noise, which nobody has to estimate."""
    recipes = (
        scores.filter(pl.col("recipe") != "reference")
        .group_by("subtask", "recipe")
        .agg(pl.col("value").mean())
    )
    spread = recipes.group_by("subtask").agg(spread=pl.col("value").max() - pl.col("value").min())
    ratio = spread.join(truth, left_on="subtask", right_on="task").with_columns(
        snr=pl.col("spread") / pl.col("noise_absolute")
    )
    return ratio.sort("snr", descending=True)["subtask"].head(GOOD).to_list()


def one_suite(name: str, number: int) -> list[dict[str, Any]]:
    """Rows of one suite: a rule and size each."""
    design = DESIGNS[name]
    # Designs do not share draws, or their rows would err together.
    seeds = [1_000_000 * list(DESIGNS).index(name) + 3 * number + i for i in range(3)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        scores = design.suite(seeds[0], RECIPES, design.checkpoints, design.instances)
        gains = sn.filtering_gain(scores, sizes=GOOD, split_instances=design.instances > 0, **design.options)
        curves = sn.filter_subtasks(scores, n_random=1, **design.options)
    fresh = fresh_gains(design, (seeds[1], seeds[2]))
    known = by_known_variances(scores, design.truth(seeds[0]))
    rows = []
    for row in gains.filter(against="full").iter_rows(named=True):
        chosen = curves.filter(pl.col("n_subtasks") <= GOOD, rule=row["rule"])["subtask"].to_list()
        rows.append(
            {key: row[key] for key in ("rule", "size", "gain", "low", "high", "p_value", "gain_in_sample")}
            | {
                "suite": number,
                "fresh": fresh[row["rule"], row["size"]],
                "found": len(set(chosen) & set(NAMES[:GOOD])) / GOOD,
                "found_known": len(set(known) & set(NAMES[:GOOD])) / GOOD,
            }
        )
    return rows


def study(name: str, suites: int, jobs: int) -> pl.DataFrame:
    """Rows of all suites of a design."""
    parts = in_processes(partial(one_suite, name), range(suites), jobs)
    return pl.DataFrame([row for part in parts for row in part])


def summary(table: pl.DataFrame) -> list[dict[str, Any]]:
    """A row for each rule and size."""
    rows = []
    for (rule, size), part in table.group_by("rule", "size", maintain_order=True):
        n = part.height
        fresh = part["fresh"].mean()
        error = {name: (part[name] - part["fresh"]).std() / np.sqrt(n) for name in ("gain", "gain_in_sample")}
        rows.append(
            {
                "rule": rule,
                "size": size,
                "fresh": fresh,
                "gain": part["gain"].mean(),
                "z": (part["gain"].mean() - fresh) / error["gain"],
                "in sample": part["gain_in_sample"].mean(),
                "z in sample": (part["gain_in_sample"].mean() - fresh) / error["gain_in_sample"],
                "covers": part.select(pl.lit(fresh).is_between("low", "high").mean()).item(),
                "claims": (part["low"] > 0).mean(),
                "recall": part["found"].sum() / part["found_known"].sum(),
            }
        )
    return rows


def any_claim(table: pl.DataFrame) -> tuple[float, float]:
    """Share of suites with a gain claimed in some row: row by row, and with Holm's correction."""
    claims = []
    for _, part in table.group_by("suite"):
        p = np.sort(part["p_value"].to_numpy())
        better = part.filter(pl.col("gain") > 0)["p_value"]
        holm = 0.05 / (len(p) - np.arange(len(p)))
        rejected = np.cumprod(p <= holm).sum()
        limit = p[rejected - 1] if rejected else -1.0
        claims.append(((part["low"] > 0).any(), (better <= limit).any()))
    return tuple(np.mean(claims, axis=0).tolist())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suites", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--designs", nargs="*", choices=DESIGNS, default=list(DESIGNS))
    options = parser.parse_args(arguments)
    good = True
    for name in options.designs:
        table = study(name, options.suites, options.jobs)
        rows = summary(table)
        print(
            f"\n### {name}: {options.suites} suites\n\n| {' | '.join(rows[0])} |\n{'| --- ' * len(rows[0])}|"
        )
        for row in rows:
            print("| " + " | ".join(v if isinstance(v, str) else f"{v:.3f}" for v in row.values()) + " |")
        # Where the choice is all but sure, as of a known number of good subtasks, it is no illusion in sample either.
        good &= all(abs(row["z"]) <= 3 for row in rows)
        good &= all(abs(row["z in sample"]) > 3 for row in rows if row["size"] == "best")
        plain, holm = any_claim(table)
        print(
            f"\na gain is claimed in some row of {plain:.1%} of suites, with Holm's correction of {holm:.1%}"
        )
        if name.startswith("null"):
            good &= max(row["claims"] for row in rows) <= 0.05 and holm <= 0.05
        else:
            good &= max(row["recall"] for row in rows if row["rule"] == "snr") >= 0.95
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
