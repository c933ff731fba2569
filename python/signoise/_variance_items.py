"""What instances add to the variance of a score: components of instances x checkpoints and instances x seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from . import _variance_components as parts
from ._kernels import kernels
from ._metrics import aggregation
from ._moments import with_usable
from ._schema import RUN_IDENTITY
from ._segments import segment_offsets

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ItemParts:
    """Components by group, score units squared; NaN where undefined."""

    n_items: Floats
    """Fewest instances that all checkpoints of a run have."""
    step_item: Floats
    """Step x instance, generations inside."""
    seed_item: Floats
    """Seed x instance, unclipped."""
    item: Floats
    """Between instances within a run, unclipped."""
    generation: Floats
    """Between generations of one instance at one checkpoint."""


def item_parts(
    rows: pl.DataFrame,
    groups: pl.DataFrame,
    rho: Floats,
    *,
    by: Sequence[str],
    cells: Sequence[str],
    order: str,
    window: int,
) -> ItemParts:
    """Components of the groups from instance rows.

    Parameters
    ----------
    rows
        Instance rows without duplicates.
    groups, by
        Labels of the groups.
    rho
        Autocorrelation of checkpoints by group.
    cells
        Columns within which runs differ by their seed alone.
    order, window
        Which checkpoints count: the last `window` of each run along `order`.

    Notes
    -----
    Only metrics that are means over instances of equal weight have these parts. Instances that miss a checkpoint of
    their run (or one of its sister seeds, for seed x instance) are left out.
    """
    out = {name: np.full(len(groups), np.nan) for name in ItemParts.__annotations__}
    table = _cells(rows, groups, by, cells, order, window)
    if not table.height:
        return ItemParts(**out)
    starts = segment_offsets(table, ["__group"]).tolist()
    for start, end in pairwise(starts):
        group = int(table["__group"][start])
        found = _group_parts(table[start:end], 0.0 if np.isnan(rho[group]) else float(rho[group]))
        for name, value in found.items():
            out[name][group] = value
    return ItemParts(**out)


def _cells(
    rows: pl.DataFrame,
    groups: pl.DataFrame,
    by: Sequence[str],
    cells: Sequence[str],
    order: str,
    window: int,
) -> pl.DataFrame:
    """One row an instance and checkpoint: its mean and variance over generations, with the numbers of its labels."""
    rows = with_usable(rows).filter("__usable")
    if "metric" in rows.columns:
        metrics = [name for name in rows["metric"].unique().drop_nulls() if aggregation(name) == "mean"]
        rows = rows.filter(pl.col("metric").is_in(metrics))
    if "weight" in rows.columns:
        rows = rows.filter((pl.col("weight").fill_null(1.0) == 1.0).all().over(by) if by else True)
    runs = list(dict.fromkeys([*by, *cells, *(name for name in RUN_IDENTITY if name in rows.columns)]))
    along = [
        name for name in dict.fromkeys([order, "step", "revision"]) if name in rows.columns and name not in by
    ]
    item = [name for name in ("subtask", "instance_id") if name in rows.columns and name not in by]
    labels = groups.select(by).with_row_index("__group")
    cell = list(dict.fromkeys([*by, *cells]))
    value = pl.col("value").sort()  # the order of rows must not reach the last bits
    means = rows.group_by([*runs, *along, *item]).agg(value.mean(), value.var().alias("__variance"))
    return (
        # Without a key there is one group.
        (means.join(labels, on=list(by), nulls_equal=True) if by else means.with_columns(__group=0))
        .with_columns(
            pl.struct(runs).rank("dense").alias("__run"),
            pl.struct(cell).rank("dense").alias("__cell"),
            pl.struct(item).rank("dense").alias("__item"),
            (pl.struct(along).rank("dense", descending=True).over(runs) if along else pl.lit(1)).alias(
                "__at"
            ),
        )
        .filter(pl.col("__at") <= window)
        .sort("__group", "__cell", "__run", "__item", "__at")
    )


def _group_parts(table: pl.DataFrame, rho: float) -> dict[str, float]:
    """Components of one group, pooled over runs and cells by degrees of freedom."""
    within, between, seeds = _Pool(), _Pool(), _Pool()
    fewest = np.inf
    for _, cell in table.group_by("__cell", maintain_order=True):
        sisters: list[tuple[NDArray[np.intp], Floats]] = []
        worths, noises = [], []
        for _, run in cell.group_by("__run", maintain_order=True):
            labels, scores = _complete(run)
            fewest = min(fewest, len(labels))
            checkpoints = scores.shape[1]
            sisters.append((labels, scores.mean(axis=1)))
            if checkpoints < 2 or len(labels) < 2:
                continue
            f = float(
                kernels().autocorrelation_factors(np.array([float(checkpoints)]), np.array([rho]))["f"][0]
            )
            found = parts.two_way(scores)
            noise = float(found.residual.unclipped[0]) / f
            within.add(noise, float(found.residual.df[0]))
            # The residual of a mean over autocorrelated checkpoints is that of fewer independent ones.
            worth = float(parts.worth_of(np.array([float(checkpoints)]), np.array([f]))[0])
            between.add(float(scores.mean(axis=1).var(ddof=1)) - noise / worth, len(labels) - 1.0)
            worths.append(worth)
            noises.append(noise)
        if len(sisters) >= 2 and len(worths) == len(sisters):
            shared = sisters[0][0]
            for labels, _ in sisters[1:]:
                shared = np.intersect1d(shared, labels, assume_unique=True)
            if len(shared) >= 2:
                means = np.stack([m[np.searchsorted(labels, shared)] for labels, m in sisters], axis=1)
                found = parts.two_way(np.ascontiguousarray(means))
                left = float(np.mean(np.array(noises) / np.array(worths)))
                seeds.add(float(found.residual.unclipped[0]) - left, float(found.residual.df[0]))
    generation = table["__variance"].mean()
    return {
        "n_items": float(fewest),
        "step_item": within.mean(),
        "seed_item": seeds.mean(),
        "item": between.mean(),
        "generation": float(generation) if isinstance(generation, float) else np.nan,
    }


def _complete(run: pl.DataFrame) -> tuple[NDArray[np.intp], Floats]:
    """Instances of a run that all its checkpoints have, ascending, and their scores."""
    labels, row = np.unique(run["__item"].to_numpy(), return_inverse=True)
    _, column = np.unique(run["__at"].to_numpy(), return_inverse=True)
    scores = np.full((len(labels), int(column.max()) + 1), np.nan)
    scores[row, column] = run["value"].to_numpy()
    whole = ~np.isnan(scores).any(axis=1)
    return labels[whole].astype(np.intp), np.ascontiguousarray(scores[whole])


class _Pool:
    """A mean weighted by degrees of freedom; NaN of nothing."""

    def __init__(self) -> None:
        self._total = 0.0
        self._df = 0.0

    def add(self, value: float, df: float) -> None:
        if np.isfinite(value):
            self._total += df * value
            self._df += df

    def mean(self) -> float:
        return self._total / self._df if self._df else np.nan
