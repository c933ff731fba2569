"""Does the way by predictable instances foretell a benchmark better than the law of the whole does?

600 simulated instances on 12 models over three decades of compute; the target has 32 times the most of it. A fifth of
the instances is hopeless, a tenth easy, a tenth follows nothing; the rest follows the law of a cluster, in two sorts
whose half-way points are 1.3 decades apart, .15 of a decade within a sort. Prints the tables of docs/items.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

import signoise as sn
from suites import in_processes

Floats = NDArray[np.float64]

SIZES, INSTANCES = 12, 600
HALF_WAY = (19.5, 20.8)
CEILING, EXPONENT = 0.05, 0.5
#: Samples an instance, radius, bins.
DESIGNS = (
    *((100, radius, None) for radius in (0.1, 0.15, 0.2, 0.3)),
    *((10, radius, None) for radius in (0.15, 0.2, 0.3)),
    (1, 0.5, None),
    (1, 0.35, 4),
)


def simulated(rng: np.random.Generator, instances: int = INSTANCES) -> tuple[Floats, Floats]:
    """Compute of the models, the target last, and pass rates of instances (rows)."""
    compute = 10.0 ** np.append(np.linspace(18, 21, SIZES), 22.5)
    sort = rng.choice(5, instances, p=(0.2, 0.1, 0.1, 0.3, 0.3))
    place = np.where(sort == 3, *HALF_WAY) + 0.15 * rng.standard_normal(instances)
    lawful = np.exp(-np.log(2) * (10.0 ** place[:, None] / compute) ** EXPONENT - CEILING)
    lawless = np.clip(0.5 + 0.3 * rng.standard_normal(lawful.shape), 0, 1)
    rates = np.where((sort == 2)[:, None], lawless, lawful)
    return compute, np.where((sort == 0)[:, None], 0.02, np.where((sort == 1)[:, None], 0.97, rates))


def table(compute: Floats, rates: Floats) -> pl.DataFrame:
    """Rows of instances with these pass rates."""
    n, models = rates.shape
    return pl.DataFrame(
        {
            "run": np.repeat([f"m{at:02d}" for at in range(models)], n),
            "flops": np.repeat(compute, n),
            "task": "t",
            "metric": "acc",
            "instance_id": [f"i{at:04d}" for at in range(n)] * models,
            "value": rates.T.ravel(),
        }
    )


def replication(design: tuple[int, float, int | None], seed: int) -> list[float]:
    """Errors by way of clusters and of the whole at the target."""
    samples, radius, bins = design
    rng = np.random.default_rng([seed, samples])
    compute, rates = simulated(rng)
    scores = table(compute, rng.binomial(samples, rates) / samples)
    found = sn.clustering_on_difficulty(scores, hold_out=1, radius=radius, bins=bins).row(0, named=True)
    return [np.nan if found[name] is None else found[name] for name in ("error", "whole_error")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--replications", type=int, default=50, help="tables of each design")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args(arguments)
    print(
        "| samples | radius | bins | clusters: rms error | whole: rms error | clusters nearer | undefined |"
    )
    print("| --- " * 7 + "|")
    for design in DESIGNS:
        errors = np.array(
            in_processes(partial(replication, design), range(options.replications), options.jobs)
        )
        defined = errors[np.isfinite(errors[:, 0])]
        rms = np.sqrt((defined**2).mean(axis=0))
        nearer = float((abs(defined[:, 0]) < abs(defined[:, 1])).mean())
        samples, radius, bins = design
        cells = [samples, radius, bins or "", *(f"{value:.3f}" for value in rms), f"{nearer:.2f}"]
        print(f"| {' | '.join(map(str, cells))} | {len(errors) - len(defined)} |", flush=True)


if __name__ == "__main__":
    main()
