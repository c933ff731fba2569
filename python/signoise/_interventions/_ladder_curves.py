"""Prediction errors of unions of subtasks: how far the scores of large runs lie from a law of scale of small ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._errors import OptionError, SchemaError
from .._instance_intervals import Windows
from .._laws import prediction_error
from .._no_rows import no_row_satisfies
from .._schema import RUN_IDENTITY, as_expression, predicate
from .._scores import Filter
from ._cube import Cube
from ._smoothed import Study

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

_MASK = "ladder"
_OF_INSTANCES = ("instance_id", "repeat", "cluster", "value", "weight", "stderr", "n")


@dataclass(frozen=True)
class Rule:
    """Which runs are learnt from and which predicted, and how."""

    train: pl.Expr
    target: pl.Expr
    direction: Mapping[str, str] | None
    order: str
    threads: int | None

    #: Columns that a law of scale may need.
    INPUTS = ("params", "tokens", "flops")

    @property
    def used(self) -> list[pl.Expr | str]:
        """Columns and expressions that are needed of a table."""
        return [self.train, self.target, *self.INPUTS]

    def rows(self, schema: pl.Schema) -> pl.Expr:
        """Rows of either kind."""
        return pl.any_horizontal(self._sides(schema))

    def check(self, table: pl.DataFrame) -> None:
        """Refuse a filter that no row satisfies."""
        for name, side in (("ladder_train", self.train), ("ladder_target", self.target)):
            checked = predicate(side, name, table.schema)
            if checked is not None and not table.select(checked.any()).item():
                raise SchemaError(no_row_satisfies(name, side, table))

    def complete(self, runs: pl.DataFrame) -> bool:
        """Whether there are runs of both kinds."""
        found = runs.select(
            side.fill_null(False).any().alias(f"{i}") for i, side in enumerate(self._sides(runs.schema))
        )
        return bool(found.select(pl.all_horizontal(pl.all())).item())

    def _sides(self, schema: pl.Schema) -> list[pl.Expr]:
        sides = {"ladder_train": self.train, "ladder_target": self.target}
        return [found for name, side in sides.items() if (found := predicate(side, name, schema)) is not None]


def ladder_rule(
    train: Filter,
    target: Filter,
    *,
    direction: Mapping[str, str] | None,
    order: str,
    threads: int | None,
) -> Rule | None:
    """Both filters or neither; None without."""
    if train is None and target is None:
        return None
    if train is None or target is None:
        raise OptionError("ladder_train and ladder_target are both needed, or neither")
    return Rule(
        as_expression(train, "ladder_train"),
        as_expression(target, "ladder_target"),
        direction,
        order,
        threads,
    )


def ladder_errors(labels: pl.DataFrame, scores: Floats, rule: Rule) -> Floats:
    """Mean over targets of the relative errors' sizes, for each column of scores (n_runs, n); NaN where undefined.

    `labels` are the runs: a row each, with the columns of its last checkpoint.
    """
    n = scores.shape[1]
    out = np.full(n, np.nan)
    if not n or not rule.complete(labels):
        return out
    frame = pl.concat([labels] * n).with_columns(
        pl.Series("value", scores.T.ravel()),
        pl.Series("task", np.repeat(np.arange(n), labels.height)).cast(pl.String).str.zfill(9),
    )
    table = prediction_error(
        frame,
        train=rule.train,
        target=rule.target,
        by=("task", *(name for name in ("metric",) if name in frame.columns)),
        window=1,
        direction=rule.direction,
        order=rule.order,
        interval="none",
        n_resamples=0,
        check_units=False,
        threads=rule.threads,
    )
    mean = table.group_by(pl.col("task").cast(pl.Int64).alias("at")).agg(
        pl.col("prediction_error").sort().mean()
    )
    out[mean["at"].to_numpy()] = mean["prediction_error"].fill_null(np.nan).to_numpy()
    return out


@dataclass(frozen=True)
class Ladder:
    """Runs of one task to learn from and to predict."""

    labels: pl.DataFrame
    """A row a run: the columns of its last checkpoint."""
    values: Floats
    """(n_runs, n_subtasks), means of the last checkpoints that have all subtasks."""
    rule: Rule

    def errors(self, weights: Floats) -> Floats:
        """Those of unions given by weights (n_unions, n_subtasks)."""
        shares = weights / weights.sum(axis=1, keepdims=True)
        return ladder_errors(self.labels, self.values @ shares.T, self.rule)


def ladder_of(table: pl.DataFrame, task: Cube, rule: Rule, window: int) -> Ladder:
    """The runs of a task, each with the mean of its last `window` checkpoints that have all subtasks."""
    order = rule.order
    mine = [pl.col(name).eq_missing(pl.lit(value)) for name, value in task.group.items()]
    usable = pl.col("value").is_not_null() & pl.col("value").is_not_nan()
    rows = table.filter(*mine, usable, rule.rows(table.schema))
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
        return Ladder(labels, np.zeros((0, len(task.subtasks))), rule)
    values = wide.select(task.subtasks).to_numpy().astype(float)
    return Ladder(labels.drop("subtask", "value"), values, rule)


class Rungs:
    """Runs of each group of a study, to learn from and to predict, with scores on any instances."""

    def __init__(self, study: Study, frame: pl.DataFrame, window: int, rule: Rule) -> None:
        """`frame` has the rows behind the encoded scores."""
        rule.check(frame)
        encoded = study.encoded
        series = encoded.series(window, _MASK, rule.threads)
        self.windows = Windows(encoded, series, _MASK)
        last = encoded.window_rows(series, _MASK, last=1)
        labels = frame[last if encoded.row is None else encoded.row[last]]
        self._labels = labels.select(
            name for name in labels.columns if name not in _OF_INSTANCES and not name.startswith("__")
        )
        self._rule = rule

    def errors(self, group: int, rows: Ints, scores: Floats) -> Floats:
        """Those of the runs of a group for each column of the scores, which are of its `rows`, in rising order."""
        series, mine, counts = self.windows.of(group)
        starts = np.cumsum(counts) - counts
        labels = self._labels[series]
        if not len(counts):
            return np.full(scores.shape[1], np.nan)
        means = np.add.reduceat(scores[np.searchsorted(rows, mine)], starts, axis=0) / counts[:, None]
        return ladder_errors(labels, means, self._rule)
