"""Scores as cubes: the last checkpoints of every run on every subtask of a task, and what each subtask weighs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._encode import Encoded
from .._errors import SchemaError
from .._schema import RUN_IDENTITY, SCORE_IDENTITY
from .._scores import matching_tasks

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Side:
    """Checkpoints of some rows of a table that have all subtasks of a task, by member, run and training order."""

    values: Floats
    """(n_checkpoints, n_subtasks)."""
    places: Ints
    """Where each of the values stands in `Encoded.values`."""
    starts: Ints
    """Where the checkpoints of each run begin, (n_runs + 1)."""
    member: Ints
    """Row of `Encoded.members` that each run belongs to."""
    n_incomplete: int
    """Checkpoints left out because some subtask has no score there."""
    metric: str | None
    """The metric of its scores; None where they have none or several."""

    def members(self, values: Floats, starts: Ints, score: str) -> Floats:
        """Scores of the members, (n_members, n_subtasks): means over their runs of window means or last values.

        `values` and `starts` are those of this side or of some of its checkpoints.
        """
        counts = np.diff(starts)
        means = np.add.reduceat(values, starts[:-1]) / counts[:, None]
        runs = values[starts[1:] - 1] if score == "final" else means
        firsts = self._firsts()
        return np.add.reduceat(runs, firsts) / np.diff(np.append(firsts, len(runs)))[:, None]

    def _firsts(self) -> Ints:
        return np.flatnonzero(np.append(True, self.member[1:] != self.member[:-1])[: len(self.member)])

    @property
    def labels(self) -> Ints:
        """Row of `Encoded.members` of each member, in order."""
        return self.member[self._firsts()]

    @property
    def of_run(self) -> Ints:
        """Number of each run's member among the members of this side."""
        return np.searchsorted(self.labels, self.member)


@dataclass(frozen=True)
class Cube:
    """One task: its subtasks in lexical order, and the sides that were asked for."""

    group: Mapping[str, object]
    """Labels of the task: columns of the key without the subtask."""
    subtasks: list[str]
    sides: dict[str, Side]
    n: Floats
    """Instances of each subtask; NaN where no row says."""
    rows: Ints
    """Row of `Encoded.groups` of each subtask."""


def as_subtasks(
    frame: pl.DataFrame, groups: Mapping[str, str | Sequence[str]] | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of subtasks as they came, and with the members of each group as subtasks of the group's name."""
    if groups:
        tasks = frame["task"].unique().drop_nulls().sort().to_list()
        origins, parts = [], []
        for name, pattern in groups.items():
            part = frame.filter(pl.col("task").is_in(matching_tasks(name, pattern, tasks)))
            origins.append(part)
            # A task that has subtasks of its own brings them along.
            own = pl.col("subtask") if "subtask" in part.columns else pl.lit(None, dtype=pl.String)
            both = pl.concat_str("task", own, separator="/")
            parts.append(
                part.with_columns(
                    pl.when(own.is_null()).then(pl.col("task")).otherwise(both).alias("subtask"),
                    pl.lit(name).alias("task"),
                )
            )
        return pl.concat(origins), pl.concat(parts)
    if "subtask" not in frame.columns or frame["subtask"].null_count() == frame.height:
        raise SchemaError(
            'no row has a subtask: name the tasks that are parts of one with groups={"name": "pattern-*"} '
            '(--group name=\'pattern-*\'), or declare the column of subtasks with columns={"theirs": "subtask"}'
        )
    rows = frame.filter(pl.col("subtask").is_not_null())
    return rows, rows


def cubes(encoded: Encoded, frame: pl.DataFrame, masks: Mapping[str, str | None], window: int) -> list[Cube]:
    """A cube for each task of rows encoded with the subtask in their key.

    Parameters
    ----------
    encoded, frame
        Encoded rows and the frame that they came from.
    masks
        Side -> selection of rows, as named in the call of `encode`.
    window
        Number of last checkpoints.
    """
    key = [name for name in encoded.by if name != "subtask"]
    task_of = _numbers(encoded.groups, key)
    scores = {*SCORE_IDENTITY, *encoded.by} - {*RUN_IDENTITY, *encoded.members.columns}
    run_of = _numbers(encoded.heads, [name for name in encoded.heads.columns if name not in scores])
    block = np.repeat(np.arange(len(encoded.starts) - 1), np.diff(encoded.starts))
    table = pl.DataFrame(
        {
            "task": task_of[encoded.group_of[block]],
            "group": encoded.group_of[block],
            "member": encoded.member_of[block],
            "run": run_of[block],
            "position": encoded.positions,
            "place": np.arange(len(block)),
        }
    )
    n = _instances(encoded, frame, block)
    found = []
    for task in range(int(task_of.max(initial=-1)) + 1):
        own = np.flatnonzero(task_of == task)
        rows = table.filter(pl.col("task") == task)
        sides = {name: _side(encoded, rows, len(own), mask, window) for name, mask in masks.items()}
        labels = encoded.groups.row(int(own[0]), named=True)
        subtasks = encoded.groups["subtask"].gather(own).to_list()
        found.append(Cube({name: labels[name] for name in key}, subtasks, sides, n[own], own))
    return found


def _numbers(labels: pl.DataFrame, columns: Sequence[str]) -> Ints:
    """The distinct labels in these columns, numbered in lexical order, by row."""
    if not columns:
        return np.zeros(labels.height, dtype=np.intp)
    distinct = labels.select(columns).unique().sort(columns).with_row_index("__number")
    rows = labels.select(columns).join(
        distinct, on=columns, how="left", nulls_equal=True, maintain_order="left"
    )
    return rows["__number"].to_numpy().astype(np.intp)


def _side(encoded: Encoded, rows: pl.DataFrame, n_subtasks: int, mask: str | None, window: int) -> Side:
    rows = rows.filter(pl.Series(encoded.rows(mask)[rows["place"].to_numpy()]))
    checkpoint = ["member", "run", "position"]
    doubled = rows.filter(pl.struct(*checkpoint, "group").is_duplicated())
    if doubled.height:
        first = doubled.row(0, named=True)
        raise SchemaError(
            f"some checkpoints hold several scores of one subtask, e.g. of "
            f"{encoded.groups.row(first['group'], named=True)} at {first['position']:g}; narrow the rows "
            "(where=..., or the filters of the sides)"
        )
    counted = rows.with_columns(pl.len().over(checkpoint).alias("__rows"))
    whole = counted.filter(pl.col("__rows") == n_subtasks).sort(*checkpoint, "group")
    n_incomplete = counted.select(checkpoint).n_unique() - whole.select(checkpoint).n_unique()
    # Within a run the last checkpoints, each with a row for every subtask.
    behind = pl.len().over("member", "run") - pl.int_range(pl.len()).over("member", "run")
    whole = whole.filter(behind <= window * n_subtasks)
    places = whole["place"].to_numpy().reshape(-1, n_subtasks)
    sizes = whole.group_by("member", "run", maintain_order=True).len()
    counts = sizes["len"].to_numpy().astype(np.intp) // n_subtasks
    return Side(
        values=encoded.values[places],
        places=places,
        starts=np.concatenate([[0], np.cumsum(counts)]),
        member=sizes["member"].to_numpy().astype(np.intp),
        n_incomplete=n_incomplete,
        metric=_metric(encoded, whole["place"].to_numpy()),
    )


def _metric(encoded: Encoded, places: Ints) -> str | None:
    if "metric" not in encoded.heads.columns or not len(places):
        return None
    blocks = np.unique(np.searchsorted(encoded.starts, places, side="right") - 1)
    names = encoded.heads["metric"][blocks].unique()
    return names[0] if len(names) == 1 else None


def _instances(encoded: Encoded, frame: pl.DataFrame, block: Ints) -> Floats:
    """Instances of each subtask: the most that a row has."""
    out = np.full(len(encoded.groups), np.nan)
    if "n" not in frame.columns:
        return out
    column = frame["n"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    n = column if encoded.row is None else column[encoded.row]
    known = np.isfinite(n)
    largest = np.full(len(out), -np.inf)
    np.maximum.at(largest, encoded.group_of[block[known]], n[known])
    return np.where(np.isfinite(largest), largest, np.nan)
