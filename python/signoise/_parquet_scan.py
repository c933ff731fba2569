"""The compiled scan of Parquet files: in this process, or in partitions that an engine works on.

Rows are added up by units (consecutive row groups of one file), and units in their order: so partitions, which are
units that follow each other, may be worked on anywhere, and what they found merges to the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._kernels import kernels
from .engines import Engine
from .engines._engine import Local

#: Rows of a partition, at least and at most, but for what whole units make of it: work for about one to ten seconds.
_FEWEST, _MOST = 1 << 24, 1 << 27


@dataclass(frozen=True)
class ParquetScan:
    """Moments of groups of rows.

    Attributes
    ----------
    paths : list of str
        Files with one layout of columns.
    keys : list of str
        Columns that rows are grouped by; the first `by` of them name the groups of the result.
    inner : list of bool
        For each key whether it names the score rather than the checkpoint.
    values : list of str
        Columns of scores.
    identity : str
        Column that names the instances.
    constant : list of str
        Columns that must not vary.
    """

    paths: Sequence[str]
    keys: Sequence[str]
    by: int
    inner: Sequence[bool]
    values: Sequence[str]
    identity: str
    constant: Sequence[str]

    def run(
        self, engine: Engine, *, progress: Callable[[int], None] | None, threads: int | None
    ) -> dict[str, Any]:
        """The groups, as `aggregate_parquet` gives them; `progress` is told how many rows are done."""
        if isinstance(engine, Local):
            return kernels().aggregate_parquet(
                self.paths,
                self.keys,
                self.values,
                by=self.by,
                inner=self.inner,
                identity=self.identity,
                constant=self.constant,
                progress=None if progress is None else lambda rows, _: progress(rows),
                threads=threads,
            )
        plan = kernels().plan_parquet(
            self.paths, self.keys, inner=self.inner, identity=self.identity, threads=threads
        )
        partitions = _partitions(self.paths, plan, engine.shares)
        mapper = _Mapper(self, plan["kept"], engine.threads_of(threads))
        told = None if progress is None else lambda done, _: progress(done)
        states = engine.map(mapper, partitions, sizes=[part.n_rows for part in partitions], progress=told)
        return kernels().merge_parquet(
            states, len(self.values), by=self.by, inner=self.inner, kept=plan["kept"], threads=threads
        )


@dataclass(frozen=True)
class Partition:
    """Units that follow each other: of each the file, its first row, and its rows."""

    paths: tuple[str, ...]
    first: NDArray[np.uint64]
    rows: NDArray[np.uint64]

    @property
    def n_rows(self) -> int:
        """Rows of all its units."""
        return int(self.rows.sum())

    @property
    def name(self) -> str:
        """For messages."""
        last = "" if self.paths[-1] == self.paths[0] else f" to {self.paths[-1]}"
        return f"{self.n_rows:,} rows of {self.paths[0]}{last}"

    @property
    def path(self) -> str:
        """A file of it, which an engine may want to be near."""
        return self.paths[0]


def _partitions(paths: Sequence[str], plan: dict[str, NDArray[Any]], shares: int) -> list[Partition]:
    """Neighbouring units, cut where the rows reach another share of all."""
    rows = plan["rows"]
    if not len(rows):
        return []
    share = min(max(int(rows.sum()) // shares, _FEWEST), _MOST)
    # A unit belongs to the partition in which it begins.
    begins = (np.cumsum(rows) - rows) // share
    cuts = [0, *(np.flatnonzero(np.diff(begins)) + 1).tolist(), len(rows)]
    return [
        Partition(
            tuple(paths[file] for file in plan["file"][start:end]), plan["first"][start:end], rows[start:end]
        )
        for start, end in pairwise(cuts)
    ]


@dataclass(frozen=True)
class _Mapper:
    """The state of a partition; called in other processes."""

    scan: ParquetScan
    kept: bytes
    threads: int | None

    def __call__(self, partition: Partition) -> bytes:
        scan = self.scan
        return kernels().map_parquet(
            partition.paths,
            partition.first,
            partition.rows,
            scan.keys,
            scan.values,
            inner=scan.inner,
            kept=self.kept,
            identity=scan.identity,
            constant=scan.constant,
            threads=self.threads,
        )
