"""From a frame of scores to contiguous series: the one place where rows are ordered, deduplicated and counted out.

A *series* is the checkpoints of one training run for one score, in training order. Rows that already stand together
in order, as dumps and score tables mostly do, are used where they are; anything else is sorted first. The series
themselves come out in the lexical order of their keys, so neither row order nor chunking can reach a result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._duplicates import Duplicates, check_duplicates, describe_conflicts, mean_of_present
from ._errors import DuplicateKeyError, SchemaError
from ._kernels import kernels
from ._metrics import lookup
from ._schema import KEY, RUN_IDENTITY, SCORE_IDENTITY, did_you_mean
from ._segments import new_segments

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Series:
    """Numbers of each non-empty series of one selection of rows, in canonical order."""

    group: Ints
    """Row of `Encoded.groups` that the series belongs to."""
    member: Ints
    """Row of `Encoded.members` that it belongs to."""
    block: Ints
    """Row of `Encoded.heads`: the labels of the series."""
    columns: dict[str, NDArray[Any]]
    """Columns of the kernel `window_summary`."""

    def __len__(self) -> int:
        return len(self.group)

    def chosen(self, places: Ints) -> Series:
        """Some of them."""
        columns = {name: column[places] for name, column in self.columns.items()}
        return Series(self.group[places], self.member[places], self.block[places], columns)


@dataclass(frozen=True)
class Encoded:
    """Scores as contiguous series, with the labels of their groups and members."""

    by: tuple[str, ...]
    """The key columns: those asked for and those that had to join."""
    joined: tuple[str, ...]
    """Columns that joined the key because groups would have mixed several of their values."""
    groups: pl.DataFrame
    """Labels of the groups (`by` columns), in lexical order."""
    members: pl.DataFrame
    """Labels of the members."""
    heads: pl.DataFrame
    """Every key column of every series, one row a series, in the order of `starts`."""
    values: Floats
    positions: Floats
    starts: NDArray[np.intp]
    """Series b is rows ``starts[b]:starts[b + 1]`` of `values`."""
    canonical: Ints
    """Series in canonical order."""
    group_of: Ints
    member_of: Ints
    usable: Mask
    """Rows with a score that statistics may use."""
    masks: dict[str, Mask]
    n_missing: Ints
    n_nan: Ints
    row: Ints | None
    """Row of the given frame behind each value; None where the rows are used as they stand."""
    conflicts: Mask
    """Groups in which one key carries different values (only with ``duplicates="status"``)."""
    stderr: Floats | None
    """The harness's own standard error over items, one a row; not finite where it is unknown."""
    notes: list[str] = field(default_factory=list)

    def item_stderr(self, mask: str | None = None) -> Floats:
        """Mean standard error over items of each group's scores; NaN where none is known."""
        n_groups = len(self.groups)
        if self.stderr is None:
            return np.full(n_groups, np.nan)
        known = self.rows(mask) & np.isfinite(self.stderr)
        group = np.repeat(self.group_of, np.diff(self.starts))[known]
        with np.errstate(all="ignore"):
            total = np.bincount(group, weights=self.stderr[known], minlength=n_groups)
            return total / np.bincount(group, minlength=n_groups)

    def rows(self, mask: str | None = None) -> Mask:
        """Usable rows, of one selection if it is named."""
        return self.usable if mask is None else self.usable & self.masks[mask]

    def select(self, mask: str | None = None) -> tuple[Floats, Floats, NDArray[np.uintp], Ints]:
        """Values, positions and offsets of the usable rows of one selection, and their non-empty series."""
        keep = self.rows(mask)
        if keep.all():
            filled = np.arange(len(self.starts) - 1)
            return self.values, self.positions, self.starts.astype(np.uintp), filled
        sizes = np.add.reduceat(keep, self.starts[:-1], dtype=np.intp)
        filled = np.flatnonzero(sizes)
        offsets = np.concatenate([[0], np.cumsum(sizes[filled])]).astype(np.uintp)
        return self.values[keep], self.positions[keep], offsets, filled

    def series(self, window: int, mask: str | None = None, threads: int | None = None) -> Series:
        """The last `window` checkpoints of each series of one selection, in numbers."""
        values, positions, offsets, filled = self.select(mask)
        columns = kernels().window_summary(values, positions, offsets, window, threads=threads)
        where = np.full(len(self.canonical), -1, dtype=np.intp)
        where[filled] = np.arange(len(filled))
        order = where[self.canonical]
        order = order[order >= 0]
        block = filled[order]
        return Series(
            group=self.group_of[block],
            member=self.member_of[block],
            block=block,
            columns={name: np.ascontiguousarray(column[order]) for name, column in columns.items()},
        )

    def window_rows(self, series: Series, mask: str | None = None, last: int | None = None) -> Ints:
        """Places in `values` of what the windows of these series hold, of their `last` checkpoints alone if given."""
        _, _, offsets, filled = self.select(mask)
        ends = offsets[np.searchsorted(filled, series.block) + 1].astype(np.intp)
        counts = series.columns["n"].astype(np.intp)
        if last is not None:
            counts = np.minimum(counts, last)
        starts = np.cumsum(counts) - counts
        return np.flatnonzero(self.rows(mask))[
            np.arange(counts.sum()) + np.repeat(ends - counts - starts, counts)
        ]


def encode(
    frame: pl.DataFrame,
    *,
    by: Sequence[str],
    members: Sequence[str],
    order: str = "tokens",
    masks: Mapping[str, pl.Expr | None] | None = None,
    leave_key: Sequence[str] = (),
    duplicates: Duplicates = "raise",
) -> Encoded:
    """Order, deduplicate and label the rows of a score table.

    Parameters
    ----------
    frame
        Rows of the score table, result rows only.
    by
        Columns of the group key.
    members
        Columns whose values are the members of the population.
    order
        Column along which checkpoints are ordered; series without it fall back to `step`, then to `revision`.
    masks
        Named selections of rows.
    leave_key
        Columns that must neither join the key nor be complained about.
    duplicates
        What to do where one key carries different values.
    """
    check_duplicates(duplicates)
    # A table without tokens is ordered by its steps; any other order was asked for.
    orders = [order] if order != "tokens" else []
    for argument, names in (("by", by), ("across or match", members), ("order", orders)):
        for name in names:
            if name not in frame.columns:
                raise SchemaError(
                    f"{argument}: the table has no column {name!r}{did_you_mean(name, frame.columns)} "
                    f"(it has {', '.join(frame.columns)})"
                )
    for name in leave_key:
        by = [column for column in by if column != name]
    identity = [name for name in SCORE_IDENTITY if name in frame.columns and name not in by]
    runs = [name for name in RUN_IDENTITY if name in frame.columns]
    extra = [name for name in leave_key if name in frame.columns and name not in KEY and name != "value"]
    series_columns = list(dict.fromkeys([*by, *identity, *members, *runs, *extra]))
    # A checkpoint-level column can be a key (by=("task", "metric", "step")): it is one already then.
    along = [name for name in dict.fromkeys([order, "step"]) if name in frame.columns and name not in by]
    names = [f"__mask_{name}" for name in masks or {}]
    frame = frame.with_columns(
        (pl.lit(True) if mask is None else mask.fill_null(False)).alias(column)
        for column, mask in zip(names, (masks or {}).values(), strict=True)
    )
    needed = dict.fromkeys([*series_columns, *along, *KEY, "value", "stderr", "source", *names])
    frame = frame.select(name for name in needed if name in frame.columns).rechunk()
    frame = _null_incomplete(frame, along, series_columns)
    row, new, heads = _arrange(frame, series_columns, along)
    frame, row, new, conflicts, notes = _deduplicate(frame, row, new, series_columns, along, duplicates)
    starts = np.concatenate([np.flatnonzero(new), [len(new)]])

    joined = mixed(heads, by, [name for name in identity if name not in leave_key])
    by = (*by, *joined)
    ranked = heads.with_row_index("__block").sort(list(dict.fromkeys([*by, *members, *series_columns])))
    canonical = ranked["__block"].to_numpy().astype(np.intp)
    group_of, groups = _dense(ranked, by)
    member_of, member_labels = _dense(ranked.select("__block", *members).sort(list(members)), members)

    values, usable, n_missing, n_nan = _score_values(frame, row, starts, group_of, len(groups))
    conflicted = np.zeros(len(groups), dtype=bool)
    if conflicts.any():
        conflicted[group_of[np.searchsorted(starts, np.flatnonzero(conflicts), side="right") - 1]] = True
    return Encoded(
        by=by,
        joined=joined,
        groups=groups,
        members=member_labels,
        heads=heads,
        values=values,
        positions=_positions(frame, row, along, starts),
        starts=starts,
        canonical=canonical,
        group_of=group_of,
        member_of=member_of,
        usable=usable,
        masks={
            name: _take(frame[column].to_numpy(), row)
            for name, column in zip(masks or {}, names, strict=True)
        },
        n_missing=n_missing,
        n_nan=n_nan,
        row=row,
        conflicts=conflicted,
        stderr=_take(_coordinate(frame["stderr"]), row) if "stderr" in frame.columns else None,
        notes=notes,
    )


def _null_incomplete(frame: pl.DataFrame, along: Sequence[str], series: Sequence[str]) -> pl.DataFrame:
    """A series that lacks tokens (or steps) at some checkpoints is ordered without them if something else orders it."""
    partial = [name for name in along if 0 < frame[name].null_count() < frame.height]
    if not partial:
        return frame

    def orders(name: str) -> pl.Expr:
        return pl.col(name).is_not_null().all().over(series)

    expressions = []
    for name in partial:
        others = [
            c for c in (*along[along.index(name) + 1 :], "revision") if c in frame.columns and c != name
        ]
        if others:
            alone = orders(name) | ~pl.any_horizontal(orders(other) for other in others)
            expressions.append(pl.when(alone).then(pl.col(name)).alias(name))
    return frame.with_columns(expressions)


def _take(values: NDArray[Any], row: Ints | None) -> NDArray[Any]:
    """The values of these rows; of all rows as they stand where `row` is None."""
    return values if row is None else values[row]


def _coordinate(column: pl.Series, row: Ints | None = None) -> Floats:
    """An order column as floats; what is missing sorts first."""
    if column.dtype != pl.Float64:
        column = column.cast(pl.Float64)
    if column.null_count():
        column = column.fill_null(float("-inf"))
    return _take(column.to_numpy(), row)


def _arrange(
    frame: pl.DataFrame, series: Sequence[str], along: Sequence[str]
) -> tuple[Ints | None, Mask, pl.DataFrame]:
    """The rows series by series and each in order (None: as they stand), where series begin in that order, and labels.

    Only numbers are moved: labels are looked up once a series, by its first row.
    """
    labels = frame.select(series)
    new = new_segments(labels, series)
    starts = np.flatnonzero(new)
    # Among shuffled rows a series comes back soon: a look at the first few spares the look at all.
    few = labels[starts[:1000]] if len(starts) > 10_000 else None
    if few is None or not few.is_duplicated().any():
        heads = labels[starts]
        if not heads.is_duplicated().any() and _rises(frame, new, along):
            return None, new, heads
    row, new = _sort(frame, series, along)
    return row, new, labels[row[np.flatnonzero(new)]]


def _sort(frame: pl.DataFrame, series: Sequence[str], along: Sequence[str]) -> tuple[Ints, Mask]:
    """Rows sorted by series, in no particular order of those, and along each; and where series begin."""
    number = _series_numbers(frame, series)
    if along:
        position = _coordinate(frame[along[0]])
        row = _sort_by_number(number, np.argsort(position))
        new, position = _starts(number[row]), position[row]
        if np.all(new[1:] | (position[1:] > position[:-1])):
            return row, new
    # Some checkpoints stand at the same place: the other order columns decide, and then the rest of the key.
    rest = [name for name in KEY if name in frame.columns and name not in series and name not in along]
    keys = [pl.Series(number), *(frame[name] for name in along), *(_codes(frame[name]) for name in rest)]
    table = pl.DataFrame([key.alias(f"{i}") for i, key in enumerate(keys)])
    sorted_rows = table.select(pl.arg_sort_by(*table.columns, maintain_order=True)).to_series()
    row = sorted_rows.to_numpy().astype(np.intp)
    return row, _starts(number[row])


def _rises(frame: pl.DataFrame, new: Mask, along: Sequence[str]) -> bool:
    """Checkpoints rise within each block."""
    undecided = ~new[1:]
    for name in along:
        column = _coordinate(frame[name])
        before, after = column[:-1], column[1:]
        if np.any(undecided & (after < before)):
            return False
        undecided &= ~(after > before)
        if not undecided.any():
            return True
    # Equal in all of them: leave the verdict to the full sort, which also looks at the rest of the key.
    return not undecided.any()


def _starts(number: Ints) -> Mask:
    """True where a number differs from the one before."""
    new = np.ones(len(number), dtype=bool)
    new[1:] = number[1:] != number[:-1]
    return new


def _series_numbers(frame: pl.DataFrame, series: Sequence[str]) -> Ints:
    """A whole number for each row, the same for rows of one series and for no others; in no particular order."""
    number = np.zeros(frame.height, dtype=np.intp)
    bits = 0
    for name in series:
        code = _labels_as_numbers(frame[name])
        width = int(code.max(initial=0)).bit_length()
        if bits + width > 62:
            number = np.unique(number, return_inverse=True)[1].astype(np.intp)
            bits = int(number.max(initial=0)).bit_length()
        if width:
            number = (number << width) | code
            bits += width
    return number


def _labels_as_numbers(column: pl.Series) -> Ints:
    """Small whole numbers that tell the values of a column apart, null among them."""
    if column.eq_missing(column.head(1)).all():
        return np.zeros(len(column), dtype=np.intp)
    if column.dtype == pl.String:
        code = column.cast(pl.Categorical).to_physical()
        code -= code.min()
    elif column.dtype.is_numeric() and not column.null_count():
        code = pl.Series(np.searchsorted(column.unique().sort().to_numpy(), column.to_numpy()))
    else:
        code = column.rank("dense")
    return (code.cast(pl.Int64) + 1).fill_null(0).to_numpy().astype(np.intp, copy=False)


def _sort_by_number(number: Ints, row: Ints) -> Ints:
    """Rows stably sorted by their numbers, 16 bits at a time: whole numbers that short are sorted by radix."""
    for shift in range(0, int(number.max(initial=0)).bit_length(), 16):
        digit = ((number >> shift) & 0xFFFF).astype(np.uint16)
        row = row[np.argsort(digit[row], kind="stable")]
    return row


def _codes(column: pl.Series) -> pl.Series:
    """A column that sorts like the given one and is cheap to sort by."""
    if column.dtype != pl.String:
        return column
    return column.cast(pl.Enum(column.drop_nulls().unique().sort())).to_physical()


def _deduplicate(
    frame: pl.DataFrame,
    row: Ints | None,
    new: Mask,
    series: Sequence[str],
    along: Sequence[str],
    duplicates: Duplicates,
) -> tuple[pl.DataFrame, Ints | None, Mask, Mask, list[str]]:
    """Drop exact duplicates, settle conflicting ones; the mask of conflicts stays for ``"status"``."""
    none = np.zeros(frame.height, dtype=bool)
    same = ~new
    for name in along:
        column = _coordinate(frame[name], row)
        same[1:] &= column[1:] == column[:-1]
        if not same.any():
            break
    if not same.any():
        return frame, row, new, none, []
    row = np.arange(frame.height) if row is None else row
    # Only rows that share series and checkpoint with a neighbour can be duplicates.
    touched = same.copy()
    touched[:-1] |= same[1:]
    key = [name for name in KEY if name in frame.columns]
    key = list(dict.fromkeys([*series, *key]))
    rows = frame[row[touched]].insert_column(0, pl.Series("__place", np.flatnonzero(touched)))
    rows = rows.with_columns(
        pl.col("__place").min().over(key).alias("__key"),
        (pl.col("value").is_first_distinct().over(key)).alias("__first"),
        pl.col("value").n_unique().over(key).alias("__values"),
    )
    exact = rows.filter(~pl.col("__first"))["__place"].to_numpy()
    conflicting = rows.filter(pl.col("__first") & (pl.col("__values") > 1))
    notes = [f"{len(exact)} exact duplicate rows were dropped"] if len(exact) else []
    drop = none.copy()
    drop[exact] = True
    conflicts = none
    if conflicting.height:
        if duplicates in ("raise", "status"):
            text = describe_conflicts(conflicting, key)
            if duplicates == "raise":
                raise DuplicateKeyError(text)
            notes.append(text)
            conflicts = none.copy()
            conflicts[conflicting["__place"].to_numpy()] = True
        else:
            frame, dropped = _settle(frame, row, conflicting, duplicates)
            drop[dropped] = True
            notes.append(
                f"{conflicting['__key'].n_unique()} keys carried different values: took the {duplicates} of each"
            )
    keep = ~drop
    return frame, row[keep], _still_new(new, keep), conflicts[keep], notes


def _still_new(new: Mask, keep: Mask) -> Mask:
    """Starts of series after rows were dropped; the first row of a key is never dropped before another of it."""
    series = np.cumsum(new)[keep]
    return np.concatenate([[True], series[1:] != series[:-1]]) if len(series) else np.zeros(0, dtype=bool)


def _settle(frame: pl.DataFrame, row: Ints, conflicting: pl.DataFrame, how: str) -> tuple[pl.DataFrame, Ints]:
    """One row for each conflicting key: the first, the last, or the first with the mean value."""
    # "__order" is the row's place in the table as given; frames are sorted stably, so row order within a key is it.
    kept = conflicting.group_by("__key").agg(
        (pl.col("__place").max() if how == "last" else pl.col("__place").min()).alias("__keep"),
        mean_of_present().alias("__mean"),
    )
    dropped = conflicting.filter(~pl.col("__place").is_in(kept["__keep"].implode()))["__place"].to_numpy()
    if how == "mean":
        # Not by way of NumPy, where the nulls of other rows would become NaN.
        at = pl.Series(row[kept["__keep"].to_numpy()])
        frame = frame.with_columns(frame["value"].clone().scatter(at, kept["__mean"]))
    return frame, dropped


def mixed(heads: pl.DataFrame, by: Sequence[str], candidates: Sequence[str]) -> tuple[str, ...]:
    """Candidates of which some group holds more than one value."""
    varying = [name for name in candidates if heads[name].n_unique() > 1]
    if not varying or not by:
        return tuple(varying)
    most = heads.group_by(list(by)).agg(pl.col(varying).n_unique()).select(pl.col(varying).max())
    return tuple(name for name in varying if most[name][0] > 1)


def _dense(ranked: pl.DataFrame, columns: Sequence[str]) -> tuple[Ints, pl.DataFrame]:
    """Number the distinct labels of sorted rows; the numbers come back by block."""
    blocks = ranked["__block"].to_numpy()
    numbers = np.zeros(len(blocks), dtype=np.intp)
    if not columns:
        return numbers, pl.DataFrame({"__all": [None]})
    new = new_segments(ranked, columns)
    numbers[blocks] = np.cumsum(new) - 1
    return numbers, ranked.filter(pl.Series(new)).select(columns)


def _score_values(
    frame: pl.DataFrame, row: Ints | None, starts: Ints, group_of: Ints, n_groups: int
) -> tuple[Floats, Mask, Ints, Ints]:
    """Values with what is missing counted out, apart for null and NaN, by group."""
    column = frame["value"]
    values = _take(column.fill_null(float("nan")).to_numpy(), row)
    usable = np.isfinite(values)
    n_missing = np.zeros(n_groups, dtype=np.intp)
    n_nan = np.zeros(n_groups, dtype=np.intp)
    if not usable.all():
        null = _take(column.is_null().to_numpy(), row)
        infinite = np.isinf(values)
        unbounded = _unbounded(frame, row, np.flatnonzero(infinite))
        usable[unbounded] = True  # an infinite perplexity is a score; an infinite accuracy is not
        row_group = np.repeat(group_of, np.diff(starts))
        np.add.at(n_missing, row_group[null | infinite], 1)
        np.add.at(n_nan, row_group[np.isnan(values) & ~null], 1)
    return values, usable, n_missing, n_nan


def _unbounded(frame: pl.DataFrame, row: Ints | None, places: Ints) -> Ints:
    """Those of the places whose metric has no bound on the side of its infinite value."""
    if not len(places):
        return places
    rows = places if row is None else row[places]
    metrics, values = frame["metric"].gather(rows), frame["value"].gather(rows)
    open_ended = []
    for name, value in zip(metrics, values, strict=True):
        metric = None if name is None else lookup(name)
        open_ended.append(metric is None or (metric.high if value > 0 else metric.low) is None)
    return places[np.array(open_ended, dtype=bool)]


def _positions(frame: pl.DataFrame, row: Ints | None, along: Sequence[str], starts: Ints) -> Floats:
    """Where each checkpoint stands: tokens (or steps), or its number in the series where it has neither."""
    place: Floats | None = None
    for name in along:
        column = _coordinate(frame[name], row)
        place = column if place is None else np.where(np.isfinite(place), place, column)
        if np.isfinite(place).all():
            return place
    number = np.arange(starts[-1], dtype=float) - np.repeat(starts[:-1], np.diff(starts))
    return number if place is None else np.where(np.isfinite(place), place, number)
