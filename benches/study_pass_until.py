"""Does `pass_until` find the pass rate, the law and the acceleration that were planted?

Pass rates: the mean of the estimator over simulated items, in Monte Carlo standard errors from the planted rate, beside
that of r/K. Laws: items with ``F = ln c - alpha ln N`` on five scales are tried until 2 successes or a budget; in each
design of how items differ, how often the test of emergence rejects, beside the plain test that takes a curve of means
that is concave beyond chance for acceleration; how often intervals hold; and how far the three predictions are off at
four times the largest scale.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
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
LAWS = ("task_law", "ipu", "mixture")


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


def replication(name: str, seed: int) -> list[float]:
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
    # With 19 simulated tables a test at 5 % rejects where the data are beyond all of them.
    law = sn.pass_until(scores, per="law", n_resamples=400, n_refits=19, rng_seed=seed).row(0, named=True)
    told = sn.pass_until(
        scores, per="prediction", predict=(TARGET,), n_resamples=400, n_refits=40, rng_seed=seed
    ).row(0, named=True)
    truth = rates[:, -1].mean()
    plain = law["curvature_high"] is not None and law["curvature_high"] < 0
    return [
        law["p_value"] <= 0.05,
        plain,
        law["alpha"] - ALPHA,
        law["instance_alpha"] - ALPHA,
        *(told[name] - truth for name in LAWS),
        *(told[f"{name}_low"] < truth < told[f"{name}_high"] for name in LAWS),
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


def law_table(designs: Sequence[str], replications: int, jobs: int) -> Iterator[str]:
    """Rejections, exponents and predictions by design, a line as soon as it is known."""
    yield (
        "| design | test rejects | plain test | alpha of the task law off by | of the mixture | "
        + " | ".join(f"{name} off by (rms) | holds" for name in LAWS)
        + " |"
    )
    yield "| --- " * 11 + "|"
    for name in designs:
        table = np.array(in_processes(partial(replication, name), range(replications), jobs), dtype=float)
        mean, rms = table.mean(axis=0), np.sqrt((table**2).mean(axis=0))
        cells = [name, *(f"{share:.3f}" for share in mean[:2]), *(f"{error:+.3f}" for error in mean[2:4])]
        for at in range(4, 7):
            cells += [f"{mean[at]:+.3f} ({rms[at]:.3f})", f"{mean[at + 3]:.2f}"]
        yield f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables of docs/tries.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--items", type=int, default=1_000_000, help="simulated items of each pass rate")
    parser.add_argument("--replications", type=int, default=200, help="tables of each design")
    parser.add_argument(
        "--designs", nargs="*", choices=DESIGNS, default=list(DESIGNS), help="of how items differ"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args(arguments)
    print(pass_rate_table(options.items), end="\n\n")
    for line in law_table(options.designs, options.replications, options.jobs):
        print(line, flush=True)


if __name__ == "__main__":
    main()
