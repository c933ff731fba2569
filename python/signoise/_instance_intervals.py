"""Limits of SNR and decision accuracy over instances: every score of a group recomputed on the same drawn instances.

Only the instances are drawn: runs and checkpoints are the given ones. The limits are estimate -+ z sd over the
replicates (of the logarithm for a ratio), never their percentiles: a replicate carries the noise of instances twice,
which pulls noise up and decision accuracy towards one half.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._addresses import group_addresses
from ._encode import Encoded, Series
from ._errors import OptionError
from ._instance_cells import Cells, Source
from ._intervals import quantile_at
from ._kernels import kernels
from .engines import Engine
from .engines._engine import Local, Made, as_engine

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

#: Intervals over fewer instances than this are rough.
FEW_INSTANCES = 30


@dataclass(frozen=True)
class Draws:
    """How instances are drawn."""

    source: Source
    cluster: str | None
    n_resamples: int
    rng_seed: int
    level: float
    threads: int | None
    """Of one group, wherever it is worked on."""
    engine: Engine

    def settings(self) -> dict[str, Any]:
        """For signatures."""
        return {
            "instance_interval": "normal",
            "cluster": self.cluster,
            "n_resamples": self.n_resamples,
            "rng": self.rng_seed,
        }


@dataclass(frozen=True)
class Limits:
    """One entry a group; NaN where undefined."""

    low: Floats
    high: Floats
    n_instances: Ints
    """Instances that all checkpoints of the group have."""

    def columns(self) -> dict[str, Any]:
        """As they stand in tables."""
        return {"instance_low": self.low, "instance_high": self.high, "n_instances": self.n_instances}


def engine_of_draws(engine: str | Engine, *, instances: bool) -> Engine:
    """The engine that draws instances; an error where none are drawn and another one than this process is named."""
    found = as_engine(engine)
    if not (instances or isinstance(found, Local)):
        raise OptionError("engine= says where instances are drawn; give instances=True with it")
    return found


class Windows:
    """Scores in the windows of some series, which are sorted by group."""

    def __init__(
        self, encoded: Encoded, series: Series, mask: str | None = None, *, last: int | None = None
    ) -> None:
        self.series = series
        self.rows = encoded.window_rows(series, mask, last)
        n = series.columns["n"].astype(np.intp)
        self._counts = n if last is None else np.minimum(n, last)
        self._starts = np.concatenate([[0], np.cumsum(self._counts)])

    def of(self, group: int) -> tuple[slice, Ints, Ints]:
        """Series of a group, their rows of `Encoded.values`, and how many each has."""
        first, end = np.searchsorted(self.series.group, [group, group + 1]).tolist()
        return slice(first, end), self.rows[self._starts[first] : self._starts[end]], self._counts[first:end]


def instance_addresses(encoded: Encoded) -> NDArray[np.uint64]:
    """An address for the draws of each group; metrics of the same instances share it."""
    return group_addresses(
        encoded.groups.select(name for name in encoded.by if name not in ("metric", "filter"))
    )


def cells_by_group(
    encoded: Encoded, frame: pl.DataFrame, windows: Sequence[Windows], source: Source
) -> Iterator[tuple[int, Ints, Cells | None]]:
    """Each group, its rows of ``encoded.values`` in rising order, and the scores of single instances behind them."""
    rows, bounds, needed = _rows_of_groups(encoded, frame, windows)
    for at, cells in enumerate(source.cells(needed, bounds)):
        yield at, rows[bounds[at] : bounds[at + 1]], cells


def _rows_of_groups(
    encoded: Encoded, frame: pl.DataFrame, windows: Sequence[Windows]
) -> tuple[Ints, list[int], pl.DataFrame]:
    """Rows of ``encoded.values`` that windows hold, group by group; where each group begins; what these rows are."""
    rows = np.unique(np.concatenate([side.rows for side in windows]))
    group = np.repeat(encoded.group_of, np.diff(encoded.starts))[rows]
    rows, group = rows[order := np.argsort(group, kind="stable")], group[order]
    bounds = np.searchsorted(group, np.arange(len(encoded.groups) + 1)).tolist()
    return rows, bounds, frame[rows if encoded.row is None else encoded.row[rows]]


def instance_limits(
    encoded: Encoded,
    frame: pl.DataFrame,
    windows: Sequence[Windows],
    statistic: Callable[[int, Ints, Floats], Floats],
    estimate: Floats,
    draws: Draws,
    *,
    logarithm: bool,
) -> Limits:
    """Limits of a statistic of each group.

    Parameters
    ----------
    frame
        The rows that were encoded, with the key that their instances have.
    windows
        What the statistic is made of.
    statistic
        From the number of a group, its rows of `encoded.values` in rising order and their replicates (a row each) to
        the statistic of each replicate.
    estimate
        The statistic of each group, which the limits are put about.
    logarithm
        On the scale of logarithms; else on its own, which ends at 0 and 1.
    """
    n_groups = len(encoded.groups)
    units = instance_addresses(encoded)
    spread, n_instances = np.full(n_groups, np.nan), np.zeros(n_groups, dtype=np.intp)
    rows, bounds, needed = _rows_of_groups(encoded, frame, windows)
    parts = draws.source.parts(needed, bounds)

    def group(at: int) -> _Group:
        return _Group(at, rows[bounds[at] : bounds[at + 1]], units[at : at + 1], parts[at])

    how = _How(
        draws.source.load, statistic, draws.n_resamples, draws.rng_seed, draws.threads, logarithm=logarithm
    )
    found = draws.engine.map(
        how.spread, Made(range(n_groups), group), sizes=np.diff(bounds).astype(float).tolist()
    )
    for at, (spread_of_group, n) in enumerate(found):
        spread[at], n_instances[at] = spread_of_group, n
    margin = quantile_at("t_quantile", (1 + draws.level) / 2, np.full(n_groups, np.inf)) * spread
    with np.errstate(all="ignore"):
        if logarithm:
            return Limits(estimate * np.exp(-margin), estimate * np.exp(margin), n_instances)
        return Limits(np.maximum(estimate - margin, 0.0), np.minimum(estimate + margin, 1.0), n_instances)


@dataclass(frozen=True)
class _Group:
    """One group, on its way to where it is worked on."""

    at: int
    rows: Ints
    unit: NDArray[np.uint64]
    part: Any
    """What the source loads its cells from."""


@dataclass(frozen=True)
class _How:
    """What is the same for all groups."""

    load: Callable[[Any], Cells | None]
    statistic: Callable[[int, Ints, Floats], Floats]
    n_resamples: int
    rng_seed: int
    threads: int | None
    logarithm: bool

    def spread(self, group: _Group) -> tuple[float, int]:
        """Standard deviation of the statistic over draws, NaN where it is undefined; number of instances."""
        cells = self.load(group.part)
        if cells is None:
            return np.nan, 0
        n = cells.values.shape[1]
        if len(cells.clusters) < 2 or not cells.finite:
            return np.nan, n
        with np.errstate(all="ignore"):
            values = self.statistic(group.at, group.rows, _replicates(cells, group.unit, self))
            return float(np.std(np.log(values) if self.logarithm else values, ddof=1)), n


def _replicates(cells: Cells, unit: NDArray[np.uint64], draws: _How) -> Floats:
    """Scores of every row (rows) on every draw of instances (columns)."""
    n = cells.values.shape[1]
    clustered = len(cells.clusters) < n
    strata = np.array([0, len(cells.clusters)], dtype=np.uintp)
    replicates = np.empty((len(cells.values), draws.n_resamples))
    for rows in _alike(cells.weights):
        weights = cells.weights[rows[0]]
        sizes, totals = (None if (weights == 1).all() else weights), cells.values[rows]
        totals = totals if sizes is None else totals * sizes
        if clustered:
            totals = np.add.reduceat(totals, cells.clusters, axis=1)
            sizes = np.add.reduceat(weights, cells.clusters)
        replicates[rows] = kernels().bootstrap_means(
            totals, sizes, strata, unit, draws.n_resamples, draws.rng_seed, threads=draws.threads
        )
    replicates[cells.logs] = np.exp(replicates[cells.logs])
    return replicates


def _alike(weights: Floats) -> Iterator[Ints]:
    """Rows that have the same weights."""
    if (weights == weights[:1]).all():
        yield np.arange(len(weights))
        return
    number = np.unique(weights, axis=0, return_inverse=True)[1].ravel()
    for one in range(int(number.max()) + 1):
        yield np.flatnonzero(number == one)
