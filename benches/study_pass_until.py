"""Does `pass_until` find the pass rate, the law and the acceleration that were planted?

Pass rates: the mean of the estimator over simulated items, in Monte Carlo standard errors from the planted rate, beside
that of r/K. Laws: items with ``F = ln c - alpha ln N`` on five scales are tried until 2 successes or a budget; in each
design of how items differ, how often the test of emergence rejects, beside the plain test that takes a curve of means
that is concave beyond chance for acceleration; how often intervals hold; and how far the three predictions are off at
four times the largest scale.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl

import signoise as sn
from signoise._sampling._scale_laws import bends, rate_at
from signoise._sampling._stopped import pass_rates, simulated
from suites import in_processes

SCALES = np.array([1e8, 2e8, 4e8, 8e8, 1.6e9])
TARGET = 6.4e9
ALPHA = 0.5
ITEMS, BUDGET, REQUIRED = 164, 1000, 2


@dataclass(frozen=True)
class Design:
    """How items differ, and whether all of them accelerate."""

    spread: float = 1.0
    """Standard deviation of ln c over items."""
    never: float = 0.0
    """Share of items that never succeed."""
    two_sorts: bool = False
    """Easy and hard items, 3 apart in ln c, in place of a normal ln c."""
    alpha_spread: float = 0.0
    """Standard deviation of ln alpha over items."""
    bend: float = 0.0
    """F of each item falls by this times the bend of ln N; positive is accelerating."""

    def rates(self, rng: np.random.Generator, scales: np.ndarray) -> np.ndarray:
        """Pass rates of items at scales."""
        x, seen = np.log(scales), np.log(SCALES)
        level = 1.0 + self.spread * rng.standard_normal(ITEMS)
        if self.two_sorts:
            level = np.where(rng.random(ITEMS) < 0.5, -0.5, 2.5)
        alpha = ALPHA * np.exp(self.alpha_spread * rng.standard_normal(ITEMS))
        curve = np.polynomial.Polynomial.fit(seen, bends(seen), 2)(x)
        rates = rate_at(level[:, None] - alpha[:, None] * (x - seen.mean()) - self.bend * curve)
        return np.where(rng.random(ITEMS)[:, None] < self.never, 0.0, rates)


DESIGNS = {
    "items alike": Design(spread=0.0),
    "ln c normal, sd 1": Design(),
    "ln c normal, sd 2": Design(spread=2.0),
    "easy and hard items": Design(two_sorts=True),
    "30 % never succeed": Design(never=0.3),
    "alpha differs by 30 %": Design(alpha_spread=0.3),
    "all items accelerate": Design(bend=0.05),
    "all items decelerate": Design(bend=-0.05),
}


def replication(name: str, n_refits: int, seed: int) -> list[float]:
    """What one simulated table gives."""
    rng = np.random.default_rng([seed, *name.encode()])
    rates = DESIGNS[name].rates(rng, np.append(SCALES, TARGET))
    shape = rates[:, :-1].shape
    successes, trials = simulated(rates[:, :-1], np.full(shape, BUDGET), rng.random((*shape, REQUIRED)))
    scores = pl.concat(
        pl.DataFrame(
            {
                "run": f"r{at}",
                "params": int(scale),
                "task": "t",
                "instance_id": [str(i) for i in range(ITEMS)],
                "trials": trials[:, at],
                "successes": successes[:, at],
            }
        )
        for at, scale in enumerate(SCALES)
    )
    options = {"n_resamples": 400, "n_refits": n_refits, "rng_seed": seed}
    law = sn.pass_until(scores, per="law", **options).row(0, named=True)
    told = sn.pass_until(scores, per="prediction", predict=(TARGET,), **options).row(0, named=True)
    truth = rates[:, -1].mean()
    plain = law["curvature_high"] is not None and law["curvature_high"] < 0
    return [
        law["p_value"] <= 0.05,
        plain,
        law["instance_alpha"] - ALPHA,
        law["instance_alpha_low"] < ALPHA < law["instance_alpha_high"],
        *(told[name] - truth for name in ("task_law", "ipu", "mixture")),
        *(told[f"{name}_low"] < truth < told[f"{name}_high"] for name in ("task_law", "ipu", "mixture")),
    ]


def pass_rate_table(items: int) -> str:
    """Errors of the estimators of pass rates."""
    lines = [
        "| pass rate | r | error of the estimator, Monte Carlo standard errors | r/K over the rate |",
        "| --- " * 4 + "|",
    ]
    for rate in (0.3, 0.05, 0.005):
        for required in (1, 2, 3, 5):
            rng = np.random.default_rng([required, int(rate * 1000)])
            tried = simulated(np.full(items, rate), np.full(items, 2000), rng.random((items, required)))
            found = pass_rates(*tried, required, "unbiased")
            error = (found.mean() - rate) / (found.std() / np.sqrt(items))
            ratio = pass_rates(*tried, required, "mle").mean() / rate
            lines.append(f"| {rate} | {required} | {error:.1f} | {ratio:.2f} |")
    return "\n".join(lines)


def law_table(replications: int, n_refits: int, jobs: int) -> str:
    """Rejections, intervals and predictions by design."""
    lines = [
        "| design | test rejects | plain test | alpha, error (sd) | holds | task law off by (rms) | holds | "
        "ipu | holds | mixture | holds |",
        "| --- " * 11 + "|",
    ]
    for name in DESIGNS:
        table = np.array(
            in_processes(partial(replication, name, n_refits), range(replications), jobs), dtype=float
        )
        mean, sd = table.mean(axis=0), table.std(axis=0)
        off = [f"{mean[at]:+.3f} ({np.sqrt((table[:, at] ** 2).mean()):.3f})" for at in (4, 5, 6)]
        cells = [
            *(name, f"{mean[0]:.3f}", f"{mean[1]:.3f}", f"{mean[2]:+.3f} ({sd[2]:.3f})", f"{mean[3]:.2f}"),
            *(cell for at in range(3) for cell in (off[at], f"{mean[7 + at]:.2f}")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables of docs/tries.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--items", type=int, default=1_000_000, help="simulated items of each pass rate")
    parser.add_argument("--replications", type=int, default=200, help="tables of each design")
    parser.add_argument("--refits", type=int, default=39, help="n_refits of the verb")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args(arguments)
    print(
        pass_rate_table(options.items),
        law_table(options.replications, options.refits, options.jobs),
        sep="\n\n",
    )


if __name__ == "__main__":
    main()
