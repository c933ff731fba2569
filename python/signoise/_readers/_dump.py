"""What the reader of a harness hands over: parts of a dump, and batches of their instance rows.

A harness writes one file for each evaluation (run, checkpoint, task), and all rows of a file share nearly every
column of the score table. So a reader first plans (`Dump.parts`: what each file holds, from its name, its header or
the results beside it, without reading its rows), and then loads parts in batches (`Dump.load`) with the metrics side
by side. Batches are what `scan_scores` lengthens, `aggregate` reduces and `ingest` stores; only a batch is in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._schema import COLUMNS
from ._files import Found

LABELS: dict[str, pl.DataType] = {
    name: COLUMNS[name]
    for name in (
        *("run", "revision", "step", "tokens", "flops", "params", "recipe", "seed"),
        *("task", "subtask", "config", "source"),
    )
}
"""Columns of the score table that are the same for all rows of a part."""


@dataclass(frozen=True)
class Part:
    """Instance rows of one evaluation: where they are and what they share.

    Attributes
    ----------
    file : Found
    labels : mapping
        Value of each of `LABELS` (absent = null). ``source`` defaults to the label of the file.
    size : int
        Bytes, to fill batches evenly.
    stamp : float or None
        When it was evaluated (seconds); of parts with equal labels (``source`` apart) the newest wins.
    note : Any
        What the reader needs to load it (a member of an archive, the names of its metrics); opaque to others.
    results : str or None
        ``source`` of the result rows that were computed from these instances; None: any of equal labels.
    """

    file: Found
    labels: Mapping[str, Any]
    size: int
    stamp: float | None = None
    note: Any = None
    results: str | None = None


@dataclass
class Batch:
    """Instance rows of some parts, metrics side by side.

    Attributes
    ----------
    parts : sequence of Part
    rows : DataFrame
        ``part`` (UInt32, index into ``parts``), ``instance_id`` (String), and where the format has them ``repeat``
        (Int32, from 0), ``cluster`` (String), ``filter`` (String, null = none), ``line`` (UInt32, from 1, for
        messages); then one Float64 column for each metric. Null = not scored, NaN = the tool wrote NaN. A row
        without any metric that its part knows stays: all its metrics are null.
    metrics : list of str
        Names of the metric columns. A part that does not know a metric has only nulls there; list which ones it
        knows in ``known`` if that cannot be told from its rows.
    weights : dict of str to str
        Metric -> column of ``rows`` with its weight (Float64), for ratio metrics: then the metric column holds the
        ratio of the instance, so that sum(value * weight)/sum(weight) is the score of the task.
    known : list of set of str, optional
        For each part the metrics it has; None: those with a value that is not null.
    distinct : bool
        Whether all rows that know a metric differ in labels, instance, filter, repeat or cluster. Found out after
        loading.
    """

    parts: Sequence[Part]
    rows: pl.DataFrame
    metrics: list[str]
    weights: dict[str, str] = field(default_factory=dict)
    known: list[set[str]] | None = None
    distinct: bool = False
    _codes: dict[str, NDArray[np.int64]] = field(default_factory=dict, repr=False)

    def codes(self, name: str) -> NDArray[np.int64]:
        """Numbers in the order of the texts of a column, from 1: equal for equal ones, 0 for null."""
        if name not in self._codes:
            column = self.rows[name]
            texts = column.drop_nulls().unique().sort()
            places = column.cast(pl.Enum(texts)).to_physical().cast(pl.Int64) + 1
            self._codes[name] = places.fill_null(0).to_numpy()
        return self._codes[name]

    def know_codes(self, name: str, codes: NDArray[np.int64]) -> None:
        """What `codes` is to say of a column, from a reader that has it already."""
        self._codes[name] = codes


class Dump(Protocol):
    """All files of one format below the given paths. Made with ``(files, report)``; problems go to the report."""

    def results(self) -> pl.DataFrame | None:
        """The tool's own aggregates as result rows (score-table columns), re-runs resolved; None if there are none.

        Key columns must equal those of the instance rows, so that the two can be compared.
        """
        ...

    def parts(self) -> list[Part]:
        """What there is to load, in path order. Opens headers only."""
        ...

    def load(self, parts: Sequence[Part]) -> Batch:
        """Instance rows of some parts. A damaged row is dropped and reported, a damaged file skipped and reported."""
        ...


@runtime_checkable
class FetchingDump(Protocol):
    """A dump that can read ahead: what takes long is done by another thread, and whatever is reported by `load`."""

    def fetch(
        self, parts: Sequence[Part], *, threads: int | None = None, stop: Callable[[], bool] | None = None
    ) -> Any:
        """What files of some parts hold. Touches nothing that `load` does; `stop` is asked whether to give up."""
        ...

    def load(self, parts: Sequence[Part], fetched: Any = None) -> Batch:
        """As `Dump.load`."""
        ...
