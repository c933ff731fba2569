"""Moments of every score in a store, at the speed of memory.

Parts go to the kernels as they are mapped, all in one call. What takes more than that is laid out densely first, some
checkpoints at a time: instances with repeats (averaged first), a checkpoint whose scores lie in several parts, scores
that are infinite.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._kernels import kernels
from .._metrics import aggregation, missing_infinities
from ._parts import Bytes, Floats, Held, Ids, PartFile, key_of, overlaid

if TYPE_CHECKING:
    from ._manifest import Column, Slot
    from ._open import ScoreStore

#: Cells laid out at a time.
_CELLS = 1 << 22

_FLOATS = ("mean", "variance", "min", "max", "weight", "ratio")
_COUNTS = ("n", "n_missing", "n_nan")


@dataclass(frozen=True)
class Group:
    """A score: a metric and filter of a unit, with the parts that hold its repeats."""

    unit: int
    metric: str
    filter: str | None
    held: list[Held]

    @property
    def repeats(self) -> list[int | None]:
        """Repeats in order."""
        found = {slot["repeat"] for _, slot in self.held}
        return sorted(found, key=lambda repeat: -1 if repeat is None else repeat)

    def plain(self) -> bool:
        """Whether each row of each part is one checkpoint's whole score."""
        if len(self.repeats) > 1 or aggregation(self.metric) == "perplexity":
            return False
        if any(not _plain_weights(slot) for _, slot in self.held):
            return False
        if len(self.held) == 1:
            return True
        ids = np.concatenate([file.checkpoints for file, _ in self.held])
        return len(np.unique(ids)) == len(ids)


def _plain_weights(slot: Slot) -> bool:
    weights = slot["weights"]
    if weights is None:
        return True
    scores = slot["scores"]
    if weights["kind"] == "bit" or scores["kind"] == "bit":
        return False
    # Weights are missing at most where scores are.
    return weights["validity"] is None or scores["validity"] is not None


def groups_of(store: ScoreStore, metrics: Sequence[str] | None = None) -> Iterator[Group]:
    """Scores of a store, unit by unit."""
    for at in range(store.unit_names.height):
        found: dict[tuple[str, str | None], list[Held]] = {}
        for file in store.parts(at):
            for slot in file.part["slots"]:
                metric, filter_, _ = key_of(slot)
                if metrics is None or metric in metrics:
                    found.setdefault((metric, filter_), []).append((file, slot))
        for (metric, filter_), held in found.items():
            yield Group(at, metric, filter_, held)


class _Table:
    """Columns that grow piece by piece."""

    def __init__(self) -> None:
        self.group: list[NDArray[np.int64]] = []
        self.checkpoint: list[Ids] = []
        self.columns: dict[str, list[NDArray[Any]]] = {name: [] for name in (*_COUNTS, *_FLOATS)}

    def add(self, group: int, checkpoints: Ids, columns: dict[str, NDArray[Any]]) -> None:
        self.group.append(np.full(len(checkpoints), group))
        self.checkpoint.append(checkpoints)
        for name, pieces in self.columns.items():
            pieces.append(columns[name])

    def finish(self) -> tuple[NDArray[np.int64], Ids, dict[str, NDArray[Any]]]:
        def joined(pieces: list[Any], dtype: Any) -> NDArray[Any]:
            return np.concatenate(pieces).astype(dtype, copy=False) if pieces else np.zeros(0, dtype=dtype)

        columns = {
            name: joined(pieces, np.int64 if name in _COUNTS else np.float64)
            for name, pieces in self.columns.items()
        }
        return joined(self.group, np.int64), joined(self.checkpoint, np.uint32), columns


def labelled_moments(store: ScoreStore, metrics: Sequence[str] | None, threads: int | None) -> pl.DataFrame:
    """One row a checkpoint and score; ``ratio`` where the mean is that of a ratio metric."""
    groups = list(groups_of(store, metrics))
    table = _Table()
    mapped = _Mapped()
    dense: list[tuple[int, Ids]] = []
    for at, group in enumerate(groups):
        if group.plain():
            for file, slot in group.held:
                mapped.take(at, file, slot)
        else:
            dense.append((at, np.unique(np.concatenate([file.checkpoints for file, _ in group.held]))))
    dense += mapped.compute(table, threads)
    for at, checkpoints in dense:
        width = store.n_instances(groups[at].unit)
        step = max(1, _CELLS // max(1, width * len(groups[at].repeats)))
        for start in range(0, len(checkpoints), step):
            chosen = checkpoints[start : start + step]
            table.add(at, chosen, dense_moments(groups[at], chosen, width, threads))
    return _labelled(store, groups, *table.finish())


def _labelled(
    store: ScoreStore,
    groups: Sequence[Group],
    group: NDArray[np.int64],
    checkpoints: Ids,
    columns: dict[str, Any],
) -> pl.DataFrame:
    there = columns["n"] + columns["n_missing"] + columns["n_nan"] > 0
    if not there.all():
        group, checkpoints = group[there], checkpoints[there]
        columns = {name: values[there] for name, values in columns.items()}
    scores = pl.DataFrame(
        {
            "unit": [g.unit for g in groups],
            "metric": [g.metric for g in groups],
            "filter": [g.filter for g in groups],
        },
        schema={"unit": pl.UInt32, "metric": pl.String, "filter": pl.String},
    )
    units = store.unit_names[scores["unit"]]
    scores = pl.concat([units, scores.drop("unit")], how="horizontal")[group]
    return pl.concat(
        [
            store.checkpoints.drop("checkpoint")[checkpoints],
            scores,
            pl.DataFrame({name: columns[name] for name in _COUNTS}),
            pl.DataFrame({name: columns[name] for name in _FLOATS}).with_columns(
                pl.all().exclude("ratio").fill_nan(None), pl.col("ratio") > 0
            ),
        ],
        how="horizontal",
    )


class _Mapped:
    """Parts as the kernels take them."""

    def __init__(self) -> None:
        self.floats: list[tuple[int, PartFile, Slot]] = []
        self.bits: list[tuple[int, PartFile, Slot]] = []

    def take(self, group: int, file: PartFile, slot: Slot) -> None:
        (self.bits if slot["scores"]["kind"] == "bit" else self.floats).append((group, file, slot))

    def compute(self, table: _Table, threads: int | None) -> list[tuple[int, Ids]]:
        """Add all rows; those with infinities are handed back."""
        self._bits(table, threads)
        return self._floats(table, threads)

    def _bits(self, table: _Table, threads: int | None) -> None:
        found = _counts([(file, slot["scores"]) for _, file, slot in self.bits], threads)
        n, ones = found["n"].astype(np.float64), found["ones"].astype(np.float64)
        with np.errstate(all="ignore"):
            columns = {
                "n": found["n"].astype(np.int64),
                "n_missing": _not_scored([(file, slot) for _, file, slot in self.bits], threads),
                "n_nan": np.zeros(len(n), dtype=np.int64),
                "mean": ones / n,
                "variance": np.where(n > 1, ones * (n - ones) / n / (n - 1.0), np.nan),
                "min": np.where(n > 0, ones == n, np.nan),
                "max": np.where(n > 0, ones > 0, np.nan),
                "weight": np.ones(len(n)),
                "ratio": np.zeros(len(n)),
            }
        start = 0
        for group, file, _ in self.bits:
            rows = slice(start, start + file.rows)
            table.add(group, file.checkpoints, {name: values[rows] for name, values in columns.items()})
            start += file.rows

    def _floats(self, table: _Table, threads: int | None) -> list[tuple[int, Ids]]:
        matrices = [file.matrix(slot["scores"]) for _, file, slot in self.floats]
        validity = [file.validity(slot["scores"]) for _, file, slot in self.floats]
        found = kernels().matrix_moments(matrices, validity, threads=threads)
        n = found["n"].astype(np.float64)
        with np.errstate(all="ignore"):
            columns = {
                "n": found["n"].astype(np.int64),
                "n_missing": _not_scored([(file, slot) for _, file, slot in self.floats], threads),
                "n_nan": found["n_nan"].astype(np.int64),
                "mean": found["mean"].copy(),
                "variance": np.where(n > 1, found["m2"] / (n - 1.0), np.nan),
                "min": found["min"],
                "max": found["max"],
                "weight": np.ones(len(n)),
                "ratio": np.zeros(len(n)),
            }
        self._weigh(columns, threads)
        infinite = np.isinf(columns["min"]) | np.isinf(columns["max"])
        left: list[tuple[int, Ids]] = []
        start = 0
        for group, file, _ in self.floats:
            rows = slice(start, start + file.rows)
            piece = {name: values[rows] for name, values in columns.items()}
            checkpoints, odd = file.checkpoints, infinite[rows]
            if odd.any():
                left.append((group, checkpoints[odd]))
                checkpoints, piece = checkpoints[~odd], {name: values[~odd] for name, values in piece.items()}
            table.add(group, checkpoints, piece)
            start += file.rows
        return left

    def _weigh(self, columns: dict[str, NDArray[Any]], threads: int | None) -> None:
        """Weighted means in place of plain ones, where weights are more than ones."""
        starts = np.concatenate([[0], np.cumsum([file.rows for _, file, _ in self.floats])])
        chosen = [
            (at, file, slot, slot["weights"])
            for at, (_, file, slot) in enumerate(self.floats)
            if slot["weights"] is not None
        ]
        if not chosen:
            return
        weights = [file.matrix(column) for _, file, _, column in chosen if column is not None]
        found = kernels().matrix_weighted_means(
            [file.matrix(slot["scores"]) for _, file, slot, _ in chosen],
            weights,
            [file.validity(slot["scores"]) for _, file, slot, _ in chosen],
            threads=threads,
        )
        start = 0
        for (at, file, slot, _), weight in zip(chosen, weights, strict=True):
            rows = slice(int(starts[at]), int(starts[at]) + file.rows)
            new = slice(start, start + file.rows)
            start += file.rows
            scored = file.there(slot["scores"], np.arange(file.rows)) & ~np.isnan(file.matrix(slot["scores"]))
            ratio = ((weight != 1.0) & scored).any(axis=1)
            columns["mean"][rows] = np.where(ratio, found["mean"][new], columns["mean"][rows])
            columns["ratio"][rows] = ratio
            columns["weight"][rows] = np.where(ratio, found["weight"][new], 1.0)
            columns["variance"][rows] = np.where(ratio, np.nan, columns["variance"][rows])


def _counts(columns: Sequence[tuple[PartFile, Column]], threads: int | None) -> dict[str, NDArray[Any]]:
    bits: list[Bytes] = [file.matrix(column) for file, column in columns]
    return kernels().bit_matrix_counts(
        bits,
        [file.validity(column) for file, column in columns],
        np.array([file.rows for file, _ in columns], dtype=np.uintp),
        np.array([file.width for file, _ in columns], dtype=np.uintp),
        threads=threads,
    )


def _not_scored(held: Sequence[Held], threads: int | None) -> NDArray[np.int64]:
    """Cells that were in the source without a score, row by row."""
    columns = [(file, slot["not_scored"]) for file, slot in held]
    ones = _counts([(file, column) for file, column in columns if column is not None], threads)["ones"]
    pieces, start = [np.zeros(0, dtype=np.int64)], 0
    for file, column in columns:
        if column is None:
            pieces.append(np.zeros(file.rows, dtype=np.int64))
        else:
            pieces.append(ones[start : start + file.rows].astype(np.int64))
            start += file.rows
    return np.concatenate(pieces)


def dense_moments(group: Group, checkpoints: Ids, width: int, threads: int | None) -> dict[str, NDArray[Any]]:
    """Moments of some checkpoints, by the definition: repeats within an instance first, then instances.

    Perplexities are averaged as logarithms: the weighted geometric mean is that of all instances together.
    """
    no_minus, no_plus = missing_infinities(group.metric)
    logs = aggregation(group.metric) == "perplexity"
    shape = (len(checkpoints), width)
    total, weight_total, items = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    low, high = np.full(shape, np.inf), np.full(shape, -np.inf)
    n_nan = np.zeros(len(checkpoints), dtype=np.int64)
    n_missing = np.zeros(len(checkpoints), dtype=np.int64)
    ratio = np.zeros(len(checkpoints), dtype=bool)
    for repeat in group.repeats:
        held = [(file, slot) for file, slot in group.held if slot["repeat"] == repeat]
        cells = overlaid(held, checkpoints, width)
        nan = cells.there & np.isnan(cells.values)
        infinite = cells.there & np.isinf(cells.values)
        impossible = infinite & np.where(cells.values < 0, no_minus, no_plus)
        usable = cells.there & ~nan & ~impossible
        n_nan += nan.sum(axis=1)
        n_missing += cells.not_scored.sum(axis=1) + infinite.sum(axis=1)
        values = cells.values
        if logs:
            with np.errstate(all="ignore"):
                values = np.log(values)
        total += np.where(usable, values, 0.0)
        items += usable
        low = np.where(usable & (values < low), values, low)
        high = np.where(usable & (values > high), values, high)
        weights = np.ones(shape)
        if cells.weights is not None:
            given = ~np.isnan(cells.weights)
            weights = np.where(given, cells.weights, 1.0)
            ratio |= ((weights != 1.0) & usable).any(axis=1)
        weight_total += np.where(usable, weights, 0.0)
    with np.errstate(all="ignore"):
        # The mean of equal repeats is their value, without the rounding of their sum.
        means: Floats = np.where(low == high, low, total / items)
        weights = weight_total / items
    absent = items == 0
    # An instance whose repeats are both infinities has a mean of NaN, which is a value and no gap.
    validity = np.packbits(~absent, bitorder="little")
    found = kernels().matrix_moments([means], [validity], threads=threads)
    poisoned = found["n_nan"] > 0
    n = (~absent).sum(axis=1).astype(np.int64)
    mean = np.where(poisoned, np.nan, found["mean"])
    with np.errstate(all="ignore"):
        variance = np.where(n > 1, found["m2"] / (n - 1.0), np.nan)
    weight = np.ones(len(n))
    if ratio.any():
        weighted = kernels().matrix_weighted_means(
            [means], [np.where(absent, 0.0, weights)], [validity], threads=threads
        )
        mean = np.where(ratio, weighted["mean"], mean)
        weight = np.where(ratio, weighted["weight"], weight)
    least, most = (np.where(poisoned, np.nan, found[name]) for name in ("min", "max"))
    if logs:
        mean, least, most = np.exp(mean), np.exp(least), np.exp(most)
    return {
        "n": n,
        "n_missing": n_missing,
        "n_nan": n_nan,
        "mean": mean,
        "variance": np.where(poisoned | ratio | logs, np.nan, variance),
        "min": least,
        "max": most,
        "weight": weight,
        "ratio": ratio.astype(np.float64),
    }
