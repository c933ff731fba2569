"""What `advise` looks at: scores of tasks and of their subtasks, the metric that counts, two sides, instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from .._aggregate import roll_up
from .._duplicates import Duplicates
from .._errors import OptionError, UnknownMetricError
from .._options import as_columns
from .._report import known_directions, scale_sides
from .._schema import as_expression
from .._scores import Filter, Groups, Scores, load, rows_of
from .._store._verbs import as_store
from ._choice_metrics import DEFAULT
from ._cube import as_subtasks
from ._metric_table import primary_of
from ._with_choices import with_choices

#: What a benchmark is called by, beside its task.
LABELS = ("task", "metric", "config", "filter")


@dataclass(frozen=True)
class Suite:
    """The scores of one call, in the forms that its questions take."""

    tasks: pl.DataFrame
    """Rows at task level, all metrics of a known direction."""
    subtasks: pl.DataFrame | None
    """Rows of subtasks, of their task's primary metric; None where there are none."""
    primary: Mapping[str, str]
    """Primary metric of each task that has one."""
    sides: Mapping[str, Any]
    """Keywords ``small, target, match`` of the verbs; empty without sides."""
    instances: Scores | None
    """What holds instances, already filtered but for stores; None where there are none."""
    where: Filter
    """Filter that a store still needs."""
    compute: Mapping[str, float]
    """Share of each task in the evaluation compute of the suite: of its instances, else equal."""
    notes: list[str] = field(default_factory=list)

    @property
    def of_primary(self) -> pl.DataFrame:
        """Rows at task level of the primary metrics."""
        return self.tasks.filter(is_primary(self.primary))

    def at_small(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows of the small side, all without sides."""
        return frame.filter(as_expression(self.sides["small"], "small")) if self.sides else frame

    def members(self, frame: pl.DataFrame, across: tuple[str, ...]) -> tuple[str, ...]:
        """Columns that say what a member is."""
        if not self.sides:
            return across
        if self.sides["match"] is not None:
            return as_columns(self.sides["match"])
        filled = "recipe" in frame.columns and frame["recipe"].null_count() == 0
        return ("recipe",) if filled else ("run",)

    @property
    def member(self) -> str:
        """What a member is called in a sentence."""
        return "recipe" if self.sides.get("match") == "recipe" else "run"


def is_primary(primary: Mapping[str, str]) -> pl.Expr:
    """Rows of a task's primary metric."""
    chosen = pl.col("task").replace_strict(dict(primary), default=None, return_dtype=pl.String)
    return pl.col("metric") == chosen


def open_suite(
    scores: Scores,
    *,
    primary: str | Mapping[str, str] | None,
    small: Filter,
    target: Filter,
    match: str | Sequence[str] | None,
    across: str | Sequence[str],
    where: Filter,
    instances: bool,
    choices: bool,
    direction: Mapping[str, str] | None,
    order: str,
    groups: Groups,
    columns: Mapping[str, str] | None,
    duplicates: Duplicates,
    strict: bool,
    threads: int | None,
) -> Suite:
    """Read scores once and bring them to the levels that questions are asked at."""
    if (small is None) != (target is None):
        raise OptionError("small and target go together: give both, or neither for the default")
    if match is not None and small is None:
        raise OptionError("match joins small and target; without these, say across=... what a member is")
    expressions = [
        as_expression(side, name) for name, side in (("small", small), ("target", target)) if side is not None
    ]
    use: list[pl.Expr | str] = [*as_columns(match or ()), *as_columns(across), *expressions, order]
    if choices:
        scores, columns = with_choices(scores, DEFAULT, columns=columns, strict=strict, threads=threads)
    held: Scores | None = None
    left = where
    if (store := as_store(scores)) is not None:
        held = store if instances else None
    elif instances:
        rows, _ = rows_of(scores, columns, where, use, strict=strict, threads=threads, instances=True)
        if "instance_id" in rows.columns and rows["instance_id"].null_count() < rows.height:
            held = rows.filter(pl.col("instance_id").is_not_null())
        scores, columns, left = rows, None, None
    table = load(
        scores,
        columns=columns,
        where=left,
        use=use,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    parts = _with_subtasks(table.frame, groups)
    known, unknown = known_directions(
        roll_up(parts, duplicates=duplicates, strict=strict, threads=threads), direction
    )
    notes = [*table.notes]
    if unknown:
        notes.append(
            f"no direction is known for {', '.join(unknown)}, which are left out; declare it with "
            'direction={"name": "higher"} or --direction name=higher'
        )
    if not known.height:
        raise UnknownMetricError(
            f"no direction is known for {', '.join(unknown)}, so nothing can be said of better or worse; declare it "
            f'with direction={{"{unknown[0]}": "higher"}} or --direction {unknown[0]}=higher'
        )
    named = _primary(known, primary)
    below = None
    if "subtask" in parts.columns:
        below = parts.filter(pl.col("subtask").is_not_null() & is_primary(named))
        below = below if below.height else None
    sides = _sides(known, small, target, match)
    return Suite(known, below, named, sides, held, left, _compute(known), notes)


def _with_subtasks(frame: pl.DataFrame, groups: Groups) -> pl.DataFrame:
    """The rows, tasks of a group as subtasks of its name; tasks outside all groups stay."""
    if not groups:
        return frame
    origin, named = as_subtasks(frame, groups)
    rest = frame.filter(~pl.col("task").is_in(origin["task"].unique().to_list()))
    return pl.concat([rest, named], how="diagonal_relaxed")


def _primary(frame: pl.DataFrame, primary: str | Mapping[str, str] | None) -> dict[str, str]:
    """The metric that counts, of each task that has one."""
    found = {}
    for (task,), part in frame.group_by("task", maintain_order=True):
        metrics = part["metric"].drop_nulls().unique().sort().to_list()
        if task is not None and (name := primary_of(str(task), metrics, primary)) is not None:
            found[str(task)] = name
    if not found:
        names = frame["metric"].drop_nulls().unique().sort().to_list()
        raise OptionError(
            f"which metric counts is not known (there are {', '.join(names)}): name it, e.g. "
            f'primary="{names[0]}" or --primary {names[0]}'
        )
    return found


def _sides(
    frame: pl.DataFrame, small: Filter, target: Filter, match: str | Sequence[str] | None
) -> dict[str, Any]:
    """Keywords of the two sides; empty where all is of one scale."""
    if small is not None:
        return {"small": small, "target": target, "match": match}
    found = scale_sides(frame)
    return {} if found is None else {"small": found.small, "target": found.target, "match": found.match}


def _compute(frame: pl.DataFrame) -> dict[str, float]:
    """Share of each task in the instances of the suite; equal shares where one does not know its number."""
    tasks = frame.group_by("task", maintain_order=True).agg(pl.col("n").max()).drop_nulls("task")
    counts = dict(zip(tasks["task"].to_list(), tasks["n"].to_list(), strict=True))
    if any(n is None or n <= 0 for n in counts.values()):
        counts = dict.fromkeys(counts, 1)
    total = sum(counts.values())
    return {task: n / total for task, n in counts.items()}
