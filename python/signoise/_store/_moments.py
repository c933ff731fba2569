"""Moments of every score in a store, at the speed of memory.

Parts go to the kernels as they are mapped, all in one call. What takes more than that is laid out densely first, some
checkpoints at a time: instances with repeats (averaged first), a checkpoint whose scores lie in several parts, scores
that are infinite.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._errors import StoreError
from .._kernels import kernels
from .._metrics import aggregation, missing_infinities
from ._parts import Bytes, Floats, Held, Ids, Mask, PartFile, key_of, overlaid

if TYPE_CHECKING:
    from ._manifest import Slot
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
        rows = sum(file.rows for file, _ in self.held)
        seen = np.zeros(1 + max(int(file.checkpoints.max()) for file, _ in self.held), dtype=bool)
        for file, _ in self.held:
            seen[file.checkpoints] = True
        return int(np.count_nonzero(seen)) == rows


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


Values: TypeAlias = "NDArray[Any] | float"
"""One entry a row, or one that all rows share."""


@dataclass
class _Rows:
    """Some rows of the answer."""

    group: list[int]
    """Of each run of rows."""
    checkpoints: list[Ids]
    """Of each run of rows."""
    columns: dict[str, Values]
    defined: bool = False
    """Whether every statistic is known to be a number."""

    @property
    def lengths(self) -> list[int]:
        """Rows of each run."""
        return [len(ids) for ids in self.checkpoints]

    def chosen(self, rows: Mask) -> _Rows:
        """Some of them."""
        ends = np.cumsum(self.lengths)[:-1]
        return _Rows(
            self.group,
            [ids[some] for ids, some in zip(self.checkpoints, np.split(rows, ends), strict=True)],
            {
                name: values[rows] if isinstance(values, np.ndarray) else values
                for name, values in self.columns.items()
            },
            self.defined,
        )


def _joined(pieces: Sequence[_Rows]) -> _Rows:
    if len(pieces) == 1:
        return pieces[0]

    def column(name: str) -> NDArray[Any]:
        each = [np.broadcast_to(piece.columns[name], sum(piece.lengths)) for piece in pieces]
        return np.concatenate([*each, np.zeros(0, dtype=np.int64 if name in _COUNTS else np.float64)])

    return _Rows(
        [group for piece in pieces for group in piece.group],
        [ids for piece in pieces for ids in piece.checkpoints],
        {name: column(name) for name in (*_COUNTS, *_FLOATS)},
        all(piece.defined for piece in pieces),
    )


class Plan:
    """What the moments of some metrics are made of. A store keeps it: its files never change."""

    def __init__(self, store: ScoreStore, metrics: Sequence[str] | None) -> None:
        self.groups = list(groups_of(store, metrics))
        self.floats, self.bits = _Floats(), _Bits()
        #: Groups that are laid out first.
        self.dense: list[tuple[int, Ids]] = []
        for at, group in enumerate(self.groups):
            if group.plain():
                for file, slot in group.held:
                    kind = slot["scores"]["kind"]
                    (self.bits if kind == "bit" else self.floats).take(at, group, file, slot)
            else:
                ids = np.unique(np.concatenate([file.checkpoints for file, _ in group.held]))
                self.dense.append((at, ids))
        self.scores = pl.DataFrame(
            [(group.unit, group.metric, group.filter) for group in self.groups],
            schema={"unit": pl.UInt32, "metric": pl.String, "filter": pl.String},
            orient="row",
        )


def labelled_moments(store: ScoreStore, metrics: Sequence[str] | None, threads: int | None) -> pl.DataFrame:
    """One row a checkpoint and score; ``ratio`` where the mean is that of a ratio metric."""
    plan = store.moments_plan(metrics)
    floats, dense = plan.floats.rows(threads), list(plan.dense)
    if not (_sums_up(floats.columns["min"]) and _sums_up(floats.columns["max"])):
        infinite = np.isinf(floats.columns["min"]) | np.isinf(floats.columns["max"])
        odd = floats.chosen(infinite)
        dense += [(at, ids) for at, ids in zip(odd.group, odd.checkpoints, strict=True) if len(ids)]
        floats = floats.chosen(~infinite)
    pieces = [plan.bits.rows(threads), floats]
    for at, checkpoints in dense:
        group = plan.groups[at]
        width = store.n_instances(group.unit)
        step = max(1, _CELLS // max(1, width * len(group.repeats)))
        for start in range(0, len(checkpoints), step):
            chosen = checkpoints[start : start + step]
            pieces.append(_Rows([at], [chosen], dense_moments(group, chosen, width, threads)))
    rows = _joined([piece for piece in pieces if sum(piece.lengths)])
    if not np.all(rows.columns["n"]):
        there = rows.columns["n"] + rows.columns["n_missing"] + rows.columns["n_nan"]
        rows = rows.chosen(np.asarray(there) > 0)
    return _labelled(store, plan, rows)


def _labelled(store: ScoreStore, plan: Plan, rows: _Rows) -> pl.DataFrame:
    scores = plan.scores
    codes = None
    if scores["metric"].n_unique() > 1 or scores["filter"].n_unique() > 1:
        codes = _spread(rows.group, rows.lengths)
    table = store.moments_labels([plan.groups[at].unit for at in rows.group], rows.checkpoints)
    table = table.with_columns(_gathered(scores[name], codes) for name in ("metric", "filter"))
    return table.with_columns(
        _column(name, rows.columns[name], defined=rows.defined) for name in (*_COUNTS, *_FLOATS)
    )


def _sums_up(values: Any) -> bool:
    """Whether all are finite, told by their sum, which takes less than a look at each; False: perhaps not."""
    with np.errstate(all="ignore"):
        return bool(np.isfinite(np.sum(values)))


def _column(name: str, values: Values, *, defined: bool) -> pl.Series | pl.Expr:
    if name == "ratio":
        found = pl.Series(name, values > 0) if isinstance(values, np.ndarray) else pl.lit(values > 0)
    elif not isinstance(values, np.ndarray):
        found = pl.lit(values, dtype=pl.Int64() if name in _COUNTS else pl.Float64())
    else:
        found = pl.Series(name, values)
        if name in _FLOATS and not defined and not _sums_up(values):
            found = found.fill_nan(None)
    return found.alias(name)


def labels_of(store: ScoreStore, units: Sequence[int], checkpoints: Sequence[Ids]) -> pl.DataFrame:
    """The checkpoint's columns and the unit's for runs of rows."""
    ids = np.concatenate([np.zeros(0, dtype=np.uint32), *checkpoints])
    if len(ids) and (beyond := int(ids.max())) >= store.checkpoints.height:
        raise StoreError(
            f"{store.path} is damaged: a part names checkpoint {beyond}, and there are {store.checkpoints.height}; "
            "verify() says which file"
        )
    codes = _spread(units, [len(run) for run in checkpoints])
    # A column to begin with tells how long the table is where all rows share a value, which is not laid out then.
    return (
        pl.DataFrame({"": ids})
        .with_columns(
            *(_gathered(column, ids) for column in store.checkpoints.drop("checkpoint")),
            *(_gathered(column, codes) for column in store.unit_names),
        )
        .drop("")
    )


def _spread(values: Sequence[int], lengths: Sequence[int]) -> Ids:
    return np.repeat(np.array(values, dtype=np.uint32), np.array(lengths, dtype=np.intp))


def _gathered(values: pl.Series, codes: Ids | None) -> pl.Series | pl.Expr:
    """Values by their places; None: they are all the same."""
    if codes is None or values.null_count() == len(values):
        return pl.lit(values[0] if len(values) else None, dtype=values.dtype).alias(values.name)
    return values.gather(pl.Series(codes))


class _Matrices:
    """Parts that the kernels take as they are mapped, with what they are called with."""

    def __init__(self) -> None:
        self.held: list[tuple[Group, PartFile, Slot]] = []
        self.group: list[int] = []
        self.checkpoints: list[Ids] = []
        self.values: list[NDArray[Any]] = []
        self.validity: list[Bytes | None] = []

    def take(self, at: int, group: Group, file: PartFile, slot: Slot) -> None:
        """One part more."""
        self.held.append((group, file, slot))
        self.group.append(at)
        self.checkpoints.append(file.checkpoints)
        self.values.append(file.matrix(slot["scores"]))
        self.validity.append(file.validity(slot["scores"]))

    def n_missing(self, threads: int | None) -> Values:
        """Cells that were in the source without a score, row by row."""
        columns = [(file, slot["not_scored"]) for _, file, slot in self.held]
        marked = [(file, column) for file, column in columns if column is not None]
        if not marked:
            return 0
        found = kernels().bit_matrix_counts(
            [file.matrix(column) for file, column in marked],
            [file.validity(column) for file, column in marked],
            *_shapes([file for file, _ in marked]),
            threads=threads,
        )
        ones = iter(np.split(found["ones"].astype(np.int64), np.cumsum([file.rows for file, _ in marked])))
        return np.concatenate(
            [
                np.zeros(file.rows, dtype=np.int64) if column is None else next(ones)
                for file, column in columns
            ]
        )


def _shapes(files: Sequence[PartFile]) -> tuple[NDArray[np.uintp], NDArray[np.uintp]]:
    return (
        np.array([file.rows for file in files], dtype=np.uintp),
        np.array([file.width for file in files], dtype=np.uintp),
    )


class _Bits(_Matrices):
    """0/1 scores."""

    def rows(self, threads: int | None) -> _Rows:
        """Their moments."""
        shapes = _shapes([file for _, file, _ in self.held])
        found = kernels().bit_matrix_moments(self.values, self.validity, *shapes, threads=threads)
        columns = {
            **found,
            "n": found["n"].view(np.int64),
            "n_missing": self.n_missing(threads),
            "n_nan": 0,
            "weight": 1.0,
            "ratio": 0.0,
        }
        # Two cells are enough for all of them.
        return _Rows(self.group, self.checkpoints, columns, bool(np.min(found["n"], initial=2) >= 2))


class _Floats(_Matrices):
    """Other scores."""

    def rows(self, threads: int | None) -> _Rows:
        """Their moments, infinities among them."""
        found = kernels().matrix_moments(self.values, self.validity, threads=threads)
        with np.errstate(all="ignore"):
            variance = np.divide(found["m2"], found["n"] - 1.0, out=found["m2"])
        columns = {
            "n": found["n"].view(np.int64),
            "n_missing": self.n_missing(threads),
            "n_nan": found["n_nan"].view(np.int64),
            "mean": found["mean"],
            "variance": variance,
            "min": found["min"],
            "max": found["max"],
            "weight": 1.0,
            "ratio": 0.0,
        }
        self._weigh(columns, threads)
        return _Rows(self.group, self.checkpoints, columns)

    def _weigh(self, columns: dict[str, Any], threads: int | None) -> None:
        """Weighted means in place of plain ones, where weights are more than ones."""
        starts = np.concatenate([[0], np.cumsum([file.rows for _, file, _ in self.held])])
        chosen = [at for at, (_, _, slot) in enumerate(self.held) if slot["weights"] is not None]
        if not chosen:
            return
        weights = [file.matrix(slot["weights"]) for _, file, slot in self.held if slot["weights"] is not None]
        found = kernels().matrix_weighted_means(
            [self.values[at] for at in chosen],
            weights,
            [self.validity[at] for at in chosen],
            threads=threads,
        )
        columns["weight"], columns["ratio"] = np.ones(starts[-1]), np.zeros(starts[-1])
        start = 0
        for at, weight in zip(chosen, weights, strict=True):
            _, file, slot = self.held[at]
            rows = slice(int(starts[at]), int(starts[at]) + file.rows)
            new = slice(start, start + file.rows)
            start += file.rows
            scored = file.there(slot["scores"], np.arange(file.rows)) & ~np.isnan(self.values[at])
            ratio = ((weight != 1.0) & scored).any(axis=1)
            columns["mean"][rows] = np.where(ratio, found["mean"][new], columns["mean"][rows])
            columns["ratio"][rows] = ratio
            columns["weight"][rows] = np.where(ratio, found["weight"][new], 1.0)
            columns["variance"][rows] = np.where(ratio, np.nan, columns["variance"][rows])


def dense_moments(group: Group, checkpoints: Ids, width: int, threads: int | None) -> dict[str, Values]:
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
