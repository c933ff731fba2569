"""Prediction errors of unions of subtasks: how far the scores of large runs lie from a law of scale of small ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._laws import prediction_error
from .._schema import RUN_IDENTITY, predicate
from ._cube import Cube

Floats = NDArray[np.float64]

_UNION = "__union"


@dataclass(frozen=True)
class Ladder:
    """Runs of one task to learn from and to predict."""

    labels: pl.DataFrame
    """A row a run: the columns of its last checkpoint."""
    values: Floats
    """(n_runs, n_subtasks), means of the last checkpoints that have all subtasks."""
    train: pl.Expr | str
    target: pl.Expr | str
    direction: Mapping[str, str] | None
    order: str
    threads: int | None

    def errors(self, weights: Floats) -> Floats:
        """Mean over targets of the relative errors' sizes, of unions given by weights (n_unions, n_subtasks)."""
        n_unions = len(weights)
        if not self.labels.height:
            return np.full(n_unions, np.nan)
        shares = weights / weights.sum(axis=1, keepdims=True)
        scores = self.values @ shares.T
        frame = pl.concat([self.labels] * n_unions).with_columns(
            pl.Series("value", scores.T.ravel()),
            pl.Series("task", np.repeat(np.arange(n_unions), self.labels.height))
            .cast(pl.String)
            .str.zfill(9),
        )
        table = prediction_error(
            frame,
            train=self.train,
            target=self.target,
            by=("task", *(name for name in ("metric",) if name in frame.columns)),
            window=1,
            direction=self.direction,
            order=self.order,
            interval="none",
            n_resamples=0,
            check_units=False,
            threads=self.threads,
        )
        mean = table.group_by(pl.col("task").cast(pl.Int64).alias(_UNION)).agg(
            pl.col("prediction_error").sort().mean()
        )
        out = np.full(n_unions, np.nan)
        out[mean[_UNION].to_numpy()] = mean["prediction_error"].fill_null(np.nan).to_numpy()
        return out


def ladder_of(
    table: pl.DataFrame,
    task: Cube,
    *,
    train: pl.Expr | str,
    target: pl.Expr | str,
    window: int,
    direction: Mapping[str, str] | None,
    order: str,
    threads: int | None,
) -> Ladder:
    """The runs of a task, each with the mean of its last `window` checkpoints that have all subtasks."""
    schema = table.schema
    chosen = [
        predicate(side, name, schema) for name, side in (("ladder_train", train), ("ladder_target", target))
    ]
    mine = [pl.col(name).eq_missing(pl.lit(value)) for name, value in task.group.items()]
    usable = pl.col("value").is_not_null() & pl.col("value").is_not_nan()
    rows = table.filter(*mine, usable, pl.any_horizontal(side for side in chosen if side is not None))
    run = [name for name in RUN_IDENTITY if name in rows.columns]
    place = order if order in rows.columns and rows[order].null_count() < rows.height else "step"
    at = pl.col(place).rank("dense", descending=True).over(run)
    last = rows.filter(pl.col("subtask").n_unique().over(*run, place) == len(task.subtasks)).filter(
        at <= window
    )
    means = last.group_by(*run, "subtask").agg(pl.col("value").sort().mean())
    wide = means.pivot("subtask", index=run, values="value").sort(run, nulls_last=True)
    labels = last.sort(place, "subtask").group_by(run, maintain_order=True).last().sort(run, nulls_last=True)
    if not wide.height:
        return Ladder(labels, np.zeros((0, len(task.subtasks))), train, target, direction, order, threads)
    return Ladder(
        labels.drop("subtask", "value"),
        wide.select(task.subtasks).to_numpy().astype(float),
        train,
        target,
        direction,
        order,
        threads,
    )
