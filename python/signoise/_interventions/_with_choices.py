"""Scores of any source, with the metrics that the choices of its dumps give beside the harness' own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from .._errors import ReadError
from .._readers import Opened, ReadReport, open_source
from .._readers._choices import ChoosingDump
from .._scores import Scores, open_paths
from .._store._verbs import as_store
from ._choice_metrics import of_opened

_SCORED = ("task", "subtask", "metric")


def with_choices(
    scores: Scores,
    metrics: Sequence[str],
    *,
    columns: Mapping[str, str] | None = None,
    instances: bool = False,
    strict: bool = False,
    threads: int | None = None,
) -> tuple[Any, Mapping[str, str] | None]:
    """The scores, of dumps with the given metrics of their choices where the harness has none of that name.

    With `instances` its results do not count, which are of no instance. Anything but paths, and paths without choices,
    comes back as it is. The second is what is left of `columns` to be declared.
    """
    if as_store(scores) is not None:
        return scores, columns
    opened = open_paths(scores, columns, strict=strict)
    if not isinstance(opened, Opened) or not _choosing(opened):
        return opened, columns
    rows, doubts = _of_choices(opened, metrics, strict=strict, threads=threads)
    frame = _stored(opened, rows)
    names = frame.collect_schema().names()
    for name in ("dropped", "doubtful"):
        told, more = getattr(opened.report, name), getattr(doubts, name)
        told |= {reason: entry for reason, entry in more.items() if reason not in told}
    opened.report.warn(stacklevel=4)
    left = {theirs: ours for theirs, ours in (columns or {}).items() if theirs in names}
    if rows is None:
        return frame, left or None
    held = frame.filter(pl.col("instance_id").is_not_null()) if instances else frame
    known = held.select(name for name in _SCORED if name in names).unique().collect()
    shared = [name for name in _SCORED if name in known.columns and name in rows.columns]
    new = rows.join(known.select(shared), on=shared, how="anti", nulls_equal=True, maintain_order="left")
    return pl.concat([frame, new.lazy()], how="diagonal_relaxed"), left or None


def _stored(opened: Opened, rows: pl.DataFrame | None) -> pl.LazyFrame:
    """What the harness scored; none of the rows where it only asked the model."""
    try:
        return opened.frame()
    except ReadError:
        if rows is None:
            raise
        return rows.clear().lazy()


def _choosing(opened: Opened) -> bool:
    return any(isinstance(planned.dump, ChoosingDump) for planned in opened.planned)


def _of_choices(
    opened: Opened, metrics: Sequence[str], *, strict: bool, threads: int | None
) -> tuple[pl.DataFrame | None, ReadReport]:
    """Rows of the choices of what is planned, read by readers of their own: reports count every row once."""
    again = open_source(opened.source, strict=strict)
    labels = {planned.part.file.label for planned in opened.planned}
    again.planned = [planned for planned in again.planned if planned.part.file.label in labels]
    rows, _ = of_opened(again, metrics, threads=threads)
    return rows, again.report
