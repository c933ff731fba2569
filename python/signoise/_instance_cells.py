"""The scores of single instances behind result rows, as matrices: from instance rows, or from a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._duplicates import Duplicates, settle_duplicates
from ._errors import SchemaError
from ._kernels import kernels
from ._metrics import aggregation
from ._moments import with_usable
from ._schema import KEY, did_you_mean
from ._scores import Filter, Scores, no_instances, rows_of
from ._segments import new_segments
from .engines._engine import Made

if TYPE_CHECKING:
    from ._store._open import ScoreStore

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

_BELOW = ("instance_id", "repeat")


@dataclass(frozen=True)
class Cells:
    """Scores of some result rows (rows) on the instances they share (columns, sorted by cluster and label)."""

    values: Floats
    """Logarithms where `logs` says so."""
    weights: Floats
    clusters: Ints
    """Where the columns of each cluster start; every column where instances are independent."""
    logs: NDArray[np.bool_]
    """Rows of a perplexity, whose score is exp of the mean of logarithms."""
    items: pl.Series
    """``instance_id`` of each column."""
    n_unmatched: int
    """Instances that some row has and another lacks, left out."""

    @property
    def finite(self) -> bool:
        """Whether all scores and weights are."""
        return bool(np.isfinite(self.values).all() and np.isfinite(self.weights).all())


class Source(Protocol):
    """Something that has instances."""

    def cells(self, needed: pl.DataFrame, bounds: Sequence[int]) -> Iterator[Cells | None]:
        """Those behind result rows, group by group; None for a group in which some row has none.

        `bounds` divides the rows, which have the columns of the key, into groups.
        """
        ...

    def parts(self, needed: pl.DataFrame, bounds: Sequence[int]) -> Sequence[Any]:
        """What `load` takes for each group: as little as where the cells lie, if every machine can read them."""
        ...

    @property
    def load(self) -> Callable[[Any], Cells | None]:
        """From one of the `parts` to its cells, perhaps on another machine."""
        ...


def open_instances(
    scores: Scores,
    *,
    columns: Mapping[str, str] | None,
    where: Filter,
    use: Sequence[pl.Expr | str],
    cluster: str | None,
    duplicates: Duplicates,
    strict: bool,
    threads: int | None,
    who: str = "instances=True draws instances",
) -> tuple[Scores, Filter, Source]:
    """Scores for a verb, the filter that they still need, and their instances; `who` says what needs these."""
    from ._store._verbs import as_store, speaks_of_instances

    store = as_store(scores)
    if (
        store is not None
        and not speaks_of_instances(where, use)
        and cluster in (None, "cluster", "instance_id")
    ):
        return store, where, _Stored(store, clustered=cluster != "instance_id")
    wanted = [*use, "cluster" if cluster is None else cluster]
    rows, _ = rows_of(scores, columns, where, wanted, strict=strict, threads=threads, instances=True)
    if "instance_id" not in rows.columns or rows["instance_id"].null_count() == rows.height:
        raise SchemaError(no_instances(who))
    if cluster is not None and cluster not in rows.columns:
        raise SchemaError(
            f"cluster: the table has no column {cluster!r}{did_you_mean(cluster, rows.columns)} "
            f"(it has {', '.join(rows.columns)})"
        )
    # The filter is done; what it named need not be there any more.
    return rows, None, _Rows(rows, "cluster" if cluster is None else cluster, duplicates, threads)


class _Rows:
    """Instance rows of a frame."""

    def __init__(self, rows: pl.DataFrame, cluster: str, duplicates: Duplicates, threads: int | None) -> None:
        rows, _ = settle_duplicates(rows.filter(pl.col("instance_id").is_not_null()), duplicates)
        self._rows = with_usable(rows).filter("__usable")
        self._threads = threads
        named = cluster in rows.columns and cluster != "instance_id"
        self._cluster = pl.col(cluster) if named else pl.lit(None, dtype=pl.String)

    def cells(self, needed: pl.DataFrame, bounds: Sequence[int]) -> Iterator[Cells | None]:
        yield from self.parts(needed, bounds)

    @property
    def load(self) -> Callable[[Any], Cells | None]:
        return _as_it_is

    def parts(self, needed: pl.DataFrame, bounds: Sequence[int]) -> Sequence[Cells | None]:
        key = [
            name
            for name in KEY
            if name in needed.columns and name in self._rows.columns and name not in _BELOW
        ]
        numbers = needed.select(key).with_row_index("__at")
        found = self._rows.join(numbers, on=key, how="inner", nulls_equal=True)
        optional = [name for name in ("repeat", "weight") if name in found.columns]
        found = found.select(
            "__at", "instance_id", "value", *optional, self._cluster.alias("__cluster")
        ).sort("__at", "instance_id", *(name for name in optional if name == "repeat"))
        first = np.flatnonzero(new_segments(found, ["__at", "instance_id"]))
        offsets = np.append(first, found.height).astype(np.uintp)
        logs = perplexities(needed)
        at = found["__at"].to_numpy()
        columns = {"value": found["value"].to_numpy()}
        columns["weight"] = (
            found["weight"].fill_null(1.0).to_numpy() if "weight" in optional else np.ones(len(at))
        )
        with np.errstate(all="ignore"):
            columns["value"] = np.where(logs[at], np.log(columns["value"]), columns["value"])
        if len(first) < found.height:
            columns = {
                name: kernels().segment_moments(column, offsets, threads=self._threads)["mean"]
                for name, column in columns.items()
            }
        items = found[first].select("__at", "instance_id", "__cluster").with_columns(**columns)
        places = np.searchsorted(items["__at"].to_numpy(), np.asarray(bounds)).tolist()

        def of_group(group: int) -> Cells | None:
            rows = slice(bounds[group], bounds[group + 1])
            return _shared(items[places[group] : places[group + 1]], rows.stop - rows.start, logs[rows])

        return Made(range(len(bounds) - 1), of_group)


def _as_it_is(cells: Cells | None) -> Cells | None:
    return cells


def _shared(items: pl.DataFrame, rows: int, logs: NDArray[np.bool_]) -> Cells | None:
    """The instances that every row has; rows sorted by result row and instance."""
    if items.select(pl.struct("__at", "instance_id").n_unique()).item() < items.height or not rows:
        return None
    held = items.filter(pl.len().over("instance_id") == rows)
    if not held.height:
        return None
    n = held.height // rows
    return _arranged(
        held["value"].to_numpy().reshape(rows, n),
        held["weight"].to_numpy().reshape(rows, n),
        held.head(n).select("instance_id", "__cluster"),
        logs,
        0 if held.height == items.height else items["instance_id"].n_unique() - n,
    )


def _arranged(
    values: Floats, weights: Floats, labels: pl.DataFrame, logs: NDArray[np.bool_], n_unmatched: int
) -> Cells:
    """Columns by cluster and label, so that the draws do not depend on how they came."""
    order = labels.select(pl.arg_sort_by("__cluster", "instance_id")).to_series().to_numpy()
    clusters = labels["__cluster"][order]
    new = np.ones(len(order), dtype=bool)
    if len(order) > 1:
        new[1:] = (clusters[1:] != clusters[:-1]).fill_null(True).to_numpy()
    return Cells(
        np.ascontiguousarray(values[:, order]),
        np.ascontiguousarray(weights[:, order]),
        np.flatnonzero(new),
        logs,
        labels["instance_id"][order],
        n_unmatched,
    )


def perplexities(rows: pl.DataFrame) -> NDArray[np.bool_]:
    """Rows whose score is exp of a mean of logarithms."""
    if "metric" not in rows.columns:
        return np.zeros(rows.height, dtype=bool)
    names = [name for name in rows["metric"].unique().drop_nulls() if aggregation(name) == "perplexity"]
    return rows["metric"].is_in(names).fill_null(False).to_numpy()


class _Stored:
    """Instances of a store, a unit at a time."""

    def __init__(self, store: ScoreStore, *, clustered: bool) -> None:
        from ._store._moments import groups_of

        self._store = store
        self._clustered = clustered
        self._groups = {(group.unit, group.metric, group.filter): group for group in groups_of(store)}

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process finds the groups itself: the store says where they lie."""
        return _stored, (self._store, self._clustered)

    def cells(self, needed: pl.DataFrame, bounds: Sequence[int]) -> Iterator[Cells | None]:
        checkpoint = _numbers(needed, self._store.checkpoints, "checkpoint")
        unit = _numbers(needed, self._store.unit_names.with_row_index("unit"), "unit")
        if checkpoint is None or unit is None:
            yield from (None for _ in bounds[1:])
            return
        filters = needed["filter"] if "filter" in needed.columns else pl.Series([None] * needed.height)
        scores = list(zip(unit, needed["metric"].to_list(), filters.to_list(), strict=True))
        logs = perplexities(needed)
        for start, end in pairwise(bounds):
            rows = slice(start, end)
            if (
                start == end
                or None in checkpoint[rows]
                or any(score not in self._groups for score in scores[rows])
            ):
                yield None
            else:
                ids = np.array(checkpoint[rows], dtype=np.uint32)
                yield self._group(scores[rows], ids, logs[rows])

    def parts(self, needed: pl.DataFrame, bounds: Sequence[int]) -> Sequence[pl.DataFrame]:
        return [needed[start:end] for start, end in pairwise(bounds)]

    @property
    def load(self) -> Callable[[Any], Cells | None]:
        return self._of_rows

    def _of_rows(self, needed: pl.DataFrame) -> Cells | None:
        return next(self.cells(needed, [0, needed.height]))

    def _group(
        self, scores: Sequence[Any], checkpoints: NDArray[np.uint32], logs: NDArray[np.bool_]
    ) -> Cells | None:
        from ._store._cells import averaged_cells

        blocks: list[tuple[Ints, Floats, Floats, pl.DataFrame]] = []
        seen: list[pl.Series] = []
        for score in dict.fromkeys(scores):
            rows = np.array([at for at, other in enumerate(scores) if other == score])
            group = self._groups[score]
            labels = self._store.instances(group.unit)
            values, weights = averaged_cells(group, checkpoints[rows], labels.height)
            absent = np.isnan(values)
            some: NDArray[np.bool_] = ~np.all(absent, axis=0)
            there = np.flatnonzero(~absent.any(axis=0))
            seen.append(labels["instance_id"].filter(pl.Series(some)))
            cluster = pl.col("cluster") if self._clustered else pl.lit(None, dtype=pl.String)
            blocks.append(
                (
                    rows,
                    values[:, there],
                    weights[:, there],
                    labels[there].with_columns(cluster.alias("__cluster")),
                )
            )
        labels = blocks[0][3]
        for *_, others in blocks[1:]:
            labels = labels.join(
                others.select("instance_id"), on="instance_id", how="semi", maintain_order="left"
            )
        if not labels.height:
            return None
        values, weights = np.empty((2, len(scores), labels.height))
        for rows, own, own_weights, own_labels in blocks:
            number = own_labels.select("instance_id").with_row_index("__column")
            column = labels.join(number, on="instance_id", maintain_order="left")["__column"].to_numpy()
            values[rows], weights[rows] = own[:, column], own_weights[:, column]
        with np.errstate(all="ignore"):
            values = np.where(logs[:, None], np.log(values), values)
        n_unmatched = (seen[0] if len(seen) == 1 else pl.concat(seen).unique()).len() - labels.height
        return _arranged(values, weights, labels.select("instance_id", "__cluster"), logs, n_unmatched)


def _stored(store: ScoreStore, clustered: bool) -> _Stored:
    return _Stored(store, clustered=clustered)


def _numbers(needed: pl.DataFrame, labels: pl.DataFrame, number: str) -> list[int | None] | None:
    """The number of each row's label; None where the columns at hand do not tell labels apart."""
    shared = [name for name in labels.columns if name in needed.columns and name in KEY]
    if labels.select(shared).is_duplicated().any():
        return None
    found = needed.select(shared).join(
        labels.select(*shared, number), on=shared, how="left", nulls_equal=True, maintain_order="left"
    )
    return found[number].to_list()
