"""Differences between metrics of one task: decision accuracy, and signal-to-noise ratio.

Each replication is a task with two metrics, of which "acc" is primary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl

import signoise as sn

from .study import Bar, Cell, Floats, Row, Study, Tally, shares
from .suites import FAMILIES

METRICS = ("acc", "correct_prob")
WINDOW = 5
LEVEL = 100.0
"""Far from 0, where relative numbers mean nothing."""
#: Correlations over the population: of each metric with the target, and of one with the other.
APART, ALIKE = (0.7, 0.9, 0.8), (0.9, 0.95, 0.97)


def table(values: Floats, params: int) -> pl.DataFrame:
    """Scores ``(n_metrics, n_tasks, n_members, n_checkpoints)`` as a score table."""
    places = np.indices(values.shape).reshape(4, -1)
    return pl.DataFrame(
        {
            "run": pl.Series(places[2]).cast(pl.String),
            "step": places[3],
            "params": pl.repeat(params, values.size, dtype=pl.Int64, eager=True),
            "task": pl.Series(places[1]).cast(pl.String),
            "metric": pl.Series(np.array(METRICS)[places[0]]),
            "value": LEVEL + values.ravel(),
        }
    )


def gain_rows(
    study: Study, name: str, members: int, shared: float, rho: float = 0.0, family: str = "normal"
) -> Iterator[Row]:
    """Members' effects correlate by `shared` between the metrics, checkpoint noise by half of that."""
    rng = study.rng(name)
    tasks = study.fewer(4000)
    make: Callable[[Any, tuple[int, int]], Floats] = (
        FAMILIES[family] if family != "normal" else lambda rng, size: rng.normal(size=size)
    )
    both, own = make(rng, (tasks, members)), make(rng, (tasks, members))
    effects = np.stack([2 * both, shared * both + np.sqrt(1 - shared**2) * own])
    fresh = rng.normal(size=(2, tasks, members, WINDOW))
    fresh[1] = shared / 2 * fresh[0] + np.sqrt(1 - shared**2 / 4) * fresh[1]
    noise = fresh.copy()
    for at in range(1, WINDOW):
        noise[..., at] = rho * noise[..., at - 1] + np.sqrt(1 - rho**2) * fresh[..., at]
    found = sn.compare_metrics(table(effects[..., None] + noise, 1)).filter(~pl.col("is_primary"))
    lags = np.abs(np.subtract.outer(np.arange(WINDOW), np.arange(WINDOW)))
    error = float(np.mean(rho**lags)) if rho else 1 / WINDOW
    truth = 0.5 * np.log((1 + error) / (4 + error))
    tally = Tally()
    low, high = (found[f"snr_gain_{end}"].fill_null(np.nan).to_numpy() for end in ("low", "high"))
    tally.add(low, high, truth)
    cell = f"{members} members, effects correlated {shared}, autocorrelation {rho}"
    yield Row(
        "Metrics compared",
        "snr_gain",
        "log ratio of two metrics' sd of members over noise",
        cell if family == "normal" else f"{cell}, members {family}",
        bar=Bar.APPROXIMATE,
        domain="normal members",
        inside=family == "normal",
        flags=shares(found["flags"]),
        **tally.measured(),  # type: ignore[arg-type]
    )


def difference_rows(study: Study, name: str, members: int, correlations: Any) -> Iterator[Row]:
    """Scores of members at two sizes; what the primary metric shows at the larger is the target."""
    rng = study.rng(name)
    primary, other, between = correlations
    corner = np.array([[1, between, primary], [between, 1, other], [primary, other, 1]])
    draws = np.linalg.cholesky(corner) @ rng.normal(size=(3, study.fewer(4000) * members))
    scores = draws.reshape(3, -1, members, 1)
    rows = pl.concat([table(scores[:2], 1), table(scores[[2, 2]], 2)])
    found = sn.compare_metrics(rows, small="params = 1", target="params = 2").filter(~pl.col("is_primary"))
    truth = float(np.arcsin(other) - np.arcsin(primary)) / np.pi
    tally = Tally()
    low, high = (found[f"difference_{end}"].fill_null(np.nan).to_numpy() for end in ("low", "high"))
    tally.add(low, high, truth)
    yield Row(
        "Metrics compared",
        "difference of decision accuracies",
        "of two metrics for one target, over such members",
        f"{members} members, correlations with the target {primary} and {other}, with each other {between}",
        bar=Bar.CONSERVATIVE,
        domain="everywhere",
        inside=True,
        flags=shares(found["flags"], without=("few_checkpoints",)),
        **tally.measured(),  # type: ignore[arg-type]
    )


def cells() -> Iterator[Cell]:
    """All cells of this module."""

    def cell(name: str, run: Callable[..., Iterator[Row]], *args: object, **options: object) -> Cell:
        return Cell(name, lambda study: run(study, name, *args, **options))

    for members in (5, 8, 12, 25):
        for shared in (0.0, 0.7):
            yield cell(f"metric-gain/{members}/{shared}", gain_rows, members, shared)
        yield cell(f"metric-gain/{members}/0.7/autocorrelated", gain_rows, members, 0.7, rho=0.5)
    for members in (8, 25):
        yield cell(f"metric-gain/{members}/0.7/t4", gain_rows, members, 0.7, family="t4")
    for members in (5, 8, 12, 25):
        for word, correlations in (("apart", APART), ("alike", ALIKE)):
            yield cell(f"metric-difference/{members}/{word}", difference_rows, members, correlations)
