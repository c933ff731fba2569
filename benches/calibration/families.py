"""Many tests at once: family-wise error, false discoveries, and the ranks that models may have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl

import signoise as sn
from signoise import _core
from signoise._adjust import adjusted
from signoise._mean_intervals import mean_estimate, p_value

from .study import ALPHA, NO_VERB, Bar, Cell, Floats, Row, Study, shares
from .tables import batches, offsets, table_of

MODELS = 10
MEANS = np.linspace(0.4, 0.6, MODELS)
"""Of models that differ by less or more than can be seen."""
NORMAL_ENOUGH = "n >= 30 max(1, skewness^2)"


def _row(method: str, cell: str, domain: str, share: Sequence[Any], **more: Any) -> Row:
    """A row whose rate is the mean over replications of an error or of a success."""
    numbers = {"rate": float(np.mean(share)), "replications": len(share)}
    return Row(
        "Many tests", method, cell=cell, domain=domain, **({"bar": Bar.TEST, "inside": True} | numbers | more)
    )  # type: ignore[arg-type]


def family_rows(study: Study, name: str, true: int) -> Iterator[Row]:
    """20 tests (t, n = 50), of which `true` have no effect."""
    rng, n, tests = study.rng(name), 50, 20
    effects = np.where(np.arange(tests) < true, 0.0, 0.4)
    family_wise, discoveries = "family-wise error", "false discovery rate"
    found: dict[str, list[Floats]] = {"holm": [], "bonferroni": [], "bh": [], "by": []}
    for count in batches(study.replications, n * tests):
        d = effects[None, :, None] + rng.normal(size=(count, tests, n))
        p = p_value(mean_estimate(d.ravel(), offsets(count * tests, n)))
        family = np.repeat(np.arange(count), tests)
        for method, errors in found.items():
            rejected = adjusted(p, method, family).reshape(count, tests) <= ALPHA  # type: ignore[arg-type]
            false = rejected[:, :true].sum(axis=1)
            errors.append(
                false / np.maximum(rejected.sum(axis=1), 1) if method in ("bh", "by") else false > 0
            )
    for method, errors in found.items():
        shared = method in ("bh", "by")
        yield _row(
            method.upper() if shared else method.title(),
            f"20 tests, {true} without effect",
            "independent or positively dependent tests" if method == "bh" else "everywhere",
            np.concatenate(errors),
            estimand=discoveries if shared else family_wise,
        )


def all_pairs_rows(study: Study, name: str, n: int) -> Iterator[Row]:
    """45 comparisons of ten equal models on shared instances."""
    rng = study.rng(name)
    left, right = np.triu_indices(MODELS, 1)
    pairs = left.astype(np.uintp), right.astype(np.uintp)
    errors: dict[str, list[bool]] = {"max-T, single step": [], "max-T, step down": [], "Holm on paired t": []}
    for unit in range(study.fewer(2000)):
        x = rng.normal(size=n) + rng.normal(size=(MODELS, n))
        tests = _core.max_t_test(x, *pairs, unit, 1000, study.seed)
        p = p_value(mean_estimate((x[left] - x[right]).ravel(), offsets(len(left), n)))
        every = (tests["p_single_step"], tests["p_step_down"], adjusted(p, "holm"))
        for found, adjusted_p in zip(errors.values(), every, strict=True):
            found.append(bool((adjusted_p <= ALPHA).any()))
    cell = f"{MODELS} equal models, n = {n}"
    for method, found in errors.items():
        exchanged = method.startswith("max-T")
        yield _row(
            method,
            cell,
            "symmetric differences" if exchanged else NORMAL_ENOUGH,
            found,
            estimand="family-wise error",
            flags=NO_VERB if exchanged else "",
        )


def rank_rows(study: Study, name: str, kind: str, n: int, adjust: Literal["holm", "max_t"]) -> Iterator[Row]:
    """The verb `rank` on ten models."""
    rng, flags = study.rng(name), []
    held: list[bool] = []
    width: list[float] = []
    for count in batches(study.fewer(2000), 20 * MODELS * n):
        size = (MODELS, count, n)
        means = MEANS[:, None, None] if kind != "equal" else 0.5
        x = rng.random(size) < means if kind == "binary" else rng.normal(size=n) + rng.normal(means, 1, size)
        scores = table_of(
            {f"m{row}": values.ravel().astype(float) for row, values in enumerate(x)}, offsets(count, n)
        )
        # Draws matter for simultaneous intervals alone; else they are for P(best), which is not looked at.
        n_resamples = 1000 if adjust == "max_t" else 10
        found = sn.rank(scores, direction={"score": "higher"}, adjust=adjust, n_resamples=n_resamples)
        true = MODELS - pl.col("run").str.slice(1).cast(pl.Int64)
        if kind == "equal":
            right = (pl.col("rank_low") == 1) & (pl.col("rank_high") == MODELS)
        else:
            right = (pl.col("rank_low") <= true) & (true <= pl.col("rank_high"))
        tasks = found.group_by("task").agg(
            right.all(), (pl.col("rank_high") - pl.col("rank_low") + 1).mean().alias("width")
        )
        held += tasks["rank_low"].to_list()
        width += tasks["width"].to_list()
        flags.append(found["flags"])
    what = {
        "equal": "equal models",
        "normal": "models with means 0.4 to 0.6, sd 1",
        "binary": "models, 0/1, p from 0.4 to 0.6",
    }
    yield _row(
        f"rank sets of `rank` ({'Holm' if adjust == 'holm' else 'max-T'})",
        f"{MODELS} {what[kind]}, n = {n}",
        NORMAL_ENOUGH if adjust == "holm" else "n >= 100",
        held,
        inside=adjust == "holm" or n >= 100,
        estimand="true ranks of all models at once",
        bar=Bar.CONSERVATIVE,
        width=float(np.mean(width)),
        flags=shares(flags),
    )


def cells() -> Iterator[Cell]:
    """All cells of this module."""

    def cell(name: str, run: Callable[..., Iterator[Row]], *args: object) -> Cell:
        return Cell(name, lambda study: run(study, name, *args))

    for true in (20, 10):
        yield cell(f"many/family/{true}", family_rows, true)
    for n in (30, 164, 1000):
        yield cell(f"many/pairs/{n}", all_pairs_rows, n)
    for n in (30, 164):
        for kind in ("equal", "normal", "binary"):
            for adjust in ("holm", "max_t"):
                yield cell(f"many/ranks/{kind}/{n}/{adjust}", rank_rows, kind, n, adjust)
