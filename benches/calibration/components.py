"""Variance components, and the power that a design promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl

import signoise as sn
from signoise._mean_intervals import mean_estimate, p_value, unpaired_difference
from signoise._variance import FEW_SEEDS
from signoise._variance_components import two_way

from .means import bernoulli
from .study import LEVEL, NO_VERB, Bar, Cell, Floats, Row, Study, Tally, rejections, shares
from .suites import LARGE, NOISE, suites
from .tables import batches, offsets

SEED_NOISE = 0.004


def seed_rows(
    study: Study,
    name: str,
    recipes: int,
    seeds: int,
    n: int,
    rho: float = 0.0,
    *,
    balanced: bool = True,
    seed_noise: float = SEED_NOISE,
) -> Iterator[Row]:
    """Seed and step variance; unbalanced: every third run has 3 checkpoints, every other recipe lacks a seed."""
    planted = {
        "recipes": recipes,
        "params": (LARGE,),
        "seeds": seeds,
        "checkpoints": n,
        "signal": 0.02,
        "seed_noise": seed_noise,
        "step_noise": NOISE,
        "autocorrelation": rho,
    }
    counted = {"seed": Tally(), "step": Tally()}
    flags = []
    for scores, _, _ in suites(study, name, recipes * seeds * n, **planted):
        table = scores
        if not balanced:
            recipe = pl.col("recipe").str.slice(len("recipe-")).cast(pl.Int64)
            short = ((recipe + pl.col("seed")) % 3 == 0) & (pl.col("step") > 3000)
            table = scores.filter(~short & ~((recipe % 2 == 1) & (pl.col("seed") == seeds - 1)))
        found = sn.variance(table, window=n)
        for part, tally in counted.items():
            low, high = (
                found[f"variance_{part}_{end}"].fill_null(np.nan).to_numpy() for end in ("low", "high")
            )
            tally.add(low, high, {"seed": seed_noise, "step": NOISE}[part] ** 2)
        flags.append(found["flags"])
    spare = recipes * (seeds - 1) - (0 if balanced else recipes // 2)
    design = f"{recipes} recipe{'s' * (recipes > 1)} x {seeds} seeds x {n} checkpoints"
    design += "" if balanced else ", unbalanced"
    design += f", autocorrelation {rho}" if rho else ""
    design += "" if seed_noise else ", no seed variance"
    for part, tally in counted.items():
        few = part == "seed" and spare < FEW_SEEDS
        yield Row(
            "Variance components",
            f"variance of {part}",
            {"seed": "variance between seeds of a recipe", "step": "variance between checkpoints of a run"}[
                part
            ],
            design,
            bar=Bar.APPROXIMATE if seed_noise or part == "step" else Bar.CONSERVATIVE,
            domain="4 spare runs, no autocorrelation" if part == "seed" else "no autocorrelation",
            inside=rho == 0 and not few,
            flags=shares(flags, without=("few_members",)),
            **tally.measured(),  # type: ignore[arg-type]
        )


def two_way_rows(study: Study, name: str, items: int, n: int) -> Iterator[Row]:
    """Instances x checkpoints of one run."""
    rng = study.rng(name)
    sd = {"instance": 0.4, "step": 0.03, "step x instance": 0.2}
    counted = {part: Tally() for part in sd}
    for _ in range(study.fewer(2000)):
        rows, columns = sd["instance"] * rng.normal(size=(items, 1)), sd["step"] * rng.normal(size=n)
        found = two_way(rows + columns + sd["step x instance"] * rng.normal(size=(items, n)), LEVEL)
        for (part, tally), component in zip(
            counted.items(), (found.rows, found.columns, found.residual), strict=True
        ):
            tally.add(component.low, component.high, sd[part] ** 2)
    for part, tally in counted.items():
        yield Row(
            "Variance components",
            f"variance of {part}, two-way table",
            f"variance of {part}",
            f"{items} instances x {n} checkpoints",
            bar=Bar.APPROXIMATE,
            domain="5 checkpoints, 30 instances",
            inside=True,
            flags=NO_VERB,
            **tally.measured(),  # type: ignore[arg-type]
        )


def power_row(
    study: Study, name: str, what: str, cell: str, design: dict[str, Any], simulate: Callable[..., Floats]
) -> Iterator[Row]:
    """Rejections of the test at the difference that the design says is detected with power 0.8."""
    plan = sn.power(**design).row(0, named=True)
    rng = study.rng(name)
    p = [simulate(rng, count, plan) for count in batches(study.replications, plan["n"])]
    yield Row(
        "Power",
        what,
        "chance to detect the stated difference",
        f"{cell}: n = {plan['n']}, difference {plan['mde']:.3f}",
        bar=Bar.POWER,
        domain="n >= 30",
        inside=plan["n"] >= 30,
        promise=plan["power"],
        **rejections(np.concatenate(p)),  # type: ignore[arg-type]
    )


def paired(rng: np.random.Generator, count: int, plan: dict[str, Any]) -> Floats:
    """p-values of t on normal differences."""
    n, k = plan["n"], plan["samples_a"]
    sd = np.sqrt(plan["variance_items"] + (plan["variance_samples_a"] + plan["variance_samples_b"]) / k)
    return p_value(mean_estimate(rng.normal(plan["mde"], sd, count * n), offsets(count, n)))


def unpaired(rng: np.random.Generator, count: int, plan: dict[str, Any]) -> Floats:
    """p-values of Welch's t on 0/1 scores about one half."""
    n, half = plan["n"], plan["mde"] / 2
    sides = [
        mean_estimate(bernoulli(0.5 + x).draw(rng, (count, n)).ravel(), offsets(count, n))
        for x in (half, -half)
    ]
    return p_value(unpaired_difference(*sides))


def in_clusters(rng: np.random.Generator, count: int, plan: dict[str, Any]) -> Floats:
    """p-values of cluster-robust t, clusters of 10 with an intraclass correlation of 0.3."""
    n = plan["n"] // 10 * 10
    label = np.repeat(np.arange(count * n // 10), 10)
    sd = np.sqrt(plan["variance_items"])
    shared = np.sqrt(0.3) * rng.normal(size=count * n // 10)[label]
    x = plan["mde"] + sd * (shared + np.sqrt(0.7) * rng.normal(size=count * n))
    return p_value(mean_estimate(x, offsets(count, n), clusters=label))


def cells() -> Iterator[Cell]:
    """All cells of this module."""

    def cell(name: str, run: Callable[..., Iterator[Row]], *args: object, **options: object) -> Cell:
        return Cell(name, lambda study: run(study, name, *args, **options))

    for recipes, seeds in ((1, 3), (1, 5), (1, 10), (5, 2), (5, 3), (10, 3)):
        yield cell(f"variance/{recipes}x{seeds}", seed_rows, recipes, seeds, 5)
    for recipes, seeds in ((4, 3), (10, 3)):
        yield cell(f"variance/unbalanced/{recipes}x{seeds}", seed_rows, recipes, seeds, 8, balanced=False)
    yield cell("variance/no-seed", seed_rows, 5, 3, 5, seed_noise=0.0)
    for n in (5, 30):
        yield cell(f"variance/autocorrelated/{n}", seed_rows, 5, 3, n, 0.5)
    for n in (5, 10, 30):
        yield cell(f"variance/two-way/{n}", two_way_rows, 50, n)
    for n in (30, 164, 1000):
        design = {"n": n, "variance_items": 1 / 9}
        yield cell(f"power/paired/{n}", power_row, "paired t", "normal differences", design, paired)
    for mde in (0.03, 0.1):
        design = {"mde": mde, "variance_items": 1 / 9, "variance_samples": 1 / 6, "samples": 4}
        yield cell(
            f"power/samples/{mde}", power_row, "paired t", "normal differences, 4 samples", design, paired
        )
    for n in (164, 1000):
        design = {"n": n, "p": 0.5, "design": "unpaired"}
        yield cell(
            f"power/unpaired/{n}", power_row, "unpaired Welch t", "0/1 scores about 0.5", design, unpaired
        )
    for n in (300, 1000):
        design = {"n": n, "variance_items": 1 / 9, "design_effect": 3.7}
        yield cell(
            f"power/clusters/{n}", power_row, "clustered t, CR1", "clusters of 10", design, in_clusters
        )
