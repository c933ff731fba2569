"""Scores and noise of trailing averages of encoded scores: what the studies of checkpoint averaging share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .._decision_rules import by_rule, without_each
from .._decision_sides import check_unmixed, load_sides
from .._duplicates import Duplicates
from .._encode import Encoded, Series, encode
from .._errors import OptionError
from .._kernels import kernels
from .._measure import combined_noise, group_autocorrelation, member_scores
from .._metrics import require_direction
from .._options import as_columns, check_count
from .._scores import Filter, Groups, Scores, load, note_key, warn_notes
from ._averages import separated_variance

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Mask = NDArray[np.bool_]

SIDES = ("small", "target", "both")
#: Numbers of checkpoints that are averaged unless others are asked for.
WINDOWS = (1, 2, 3, 5, 10)


@dataclass(frozen=True)
class Study:
    """Encoded scores, and how they were asked for."""

    encoded: Encoded
    sided: bool
    """Whether there are two sides, with masks ``small`` and ``target``; else one, ``all``."""
    members: tuple[str, ...]
    left: Sequence[str]


@dataclass(frozen=True)
class Members:
    """One score a member, sorted by group and member."""

    scores: Floats
    group: Ints
    member: Ints
    offsets: NDArray[np.uintp]


@dataclass(frozen=True)
class Stretch:
    """The last checkpoints of each series of one selection."""

    series: Series
    values: Floats
    offsets: NDArray[np.uintp]

    @property
    def lengths(self) -> Ints:
        """Checkpoints of each series."""
        return np.diff(self.offsets).astype(np.intp)

    def smallest(self, n_groups: int) -> Ints:
        """The smallest number of checkpoints of a series of each group; 0 where it has none."""
        out = np.full(n_groups, np.iinfo(np.intp).max, dtype=np.intp)
        np.minimum.at(out, self.series.group, self.lengths)
        return np.where(out == np.iinfo(np.intp).max, 0, out)


def check_windows(windows: object) -> tuple[int, ...]:
    """Window sizes in rising order."""
    if isinstance(windows, int):
        windows = (windows,)
    if isinstance(windows, str) or not isinstance(windows, Sequence) or not windows:
        raise OptionError(f"windows must be numbers of checkpoints such as (1, 2, 3, 5, 10), got {windows!r}")
    for window in windows:
        check_count("windows", window)
    return tuple(sorted(set(windows)))


def open_study(
    scores: Scores,
    *,
    small: Filter,
    target: Filter,
    match: str | Sequence[str] | None,
    across: str | Sequence[str],
    by: str | Sequence[str],
    where: Filter,
    order: str,
    groups: Groups,
    columns: Mapping[str, str] | None,
    duplicates: Duplicates,
    strict: bool,
    threads: int | None,
) -> Study:
    """Load scores and encode them: two sides where filters for them are given, else all rows as one."""
    key = as_columns(by)
    if small is not None or target is not None:
        sides = load_sides(
            scores,
            small=small,
            target=target,
            match=match,
            by=key,
            where=where,
            order=order,
            groups=groups,
            columns=columns,
            duplicates=duplicates,
            strict=strict,
            threads=threads,
        )
        return Study(sides.encoded, True, sides.members, sides.left)
    if match is not None:
        raise OptionError("match joins small and target; without these, say across=... what a member is")
    members = as_columns(across)
    table = load(
        scores,
        columns=columns,
        where=where,
        groups=groups,
        use=[*key, *members, order],
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    encoded = encode(table.frame, by=key, members=members, order=order, duplicates=duplicates)
    warn_notes(table.notes)
    note_key(encoded, key)
    encoded = replace(encoded, masks={"all": np.ones(len(encoded.values), dtype=bool)})
    return Study(encoded, False, members, ())


def with_masks(study: Study, masks: Mapping[str, Mask]) -> Study:
    """The same scores with further selections of rows."""
    return replace(study, encoded=replace(study.encoded, masks={**study.encoded.masks, **masks}))


def up_to(encoded: Encoded, mask: str, at: float) -> Mask:
    """Rows of a selection up to a point of training.

    The point is a share of each series' last place in `order` where it is at most 1, else a place: tokens or steps.
    """
    rows = encoded.rows(mask)
    if at > 1:
        return rows & (encoded.positions <= at)
    place = np.where(rows, encoded.positions, -np.inf)
    last = np.maximum.reduceat(place, encoded.starts[:-1])
    # Places are products of step and batch size: a share of one may miss it by rounding.
    return rows & (encoded.positions <= np.repeat(last * at * (1 + 1e-12), np.diff(encoded.starts)))


def stretch(encoded: Encoded, mask: str, last: int, threads: int | None) -> Stretch:
    """The last checkpoints of a selection."""
    series = encoded.series(last, mask, threads)
    rows = encoded.window_rows(series, mask)
    ends = np.cumsum(series.columns["n"].astype(np.intp))
    return Stretch(series, encoded.values[rows], np.concatenate([[0], ends]).astype(np.uintp))


def averaged_scores(
    study: Study, mask: str, window: int, how: str, signs: Floats, threads: int | None
) -> Members:
    """Trailing average at the last checkpoint of each run, mean over the runs of a member; higher is better."""
    encoded = study.encoded
    series = encoded.series(window if how == "mean" else 1, mask, threads)
    scores = series.columns["mean"]
    if how == "ema":
        values, _, offsets, _ = encoded.select(mask)
        smoothed = np.empty(len(encoded.values))
        smoothed[encoded.rows(mask)] = kernels().trailing_ema(values, offsets, window, threads=threads)
        scores = smoothed[encoded.window_rows(series, mask, last=1)]
    chosen = replace(series, columns={"mean": scores})
    values, group, member, offsets, _ = member_scores(chosen, "mean", len(encoded.groups), threads)
    return Members(values * signs[group], group, member, offsets)


def signs_of(study: Study, mask: str, direction: Mapping[str, str] | None) -> Floats:
    """+1 or -1 for each group, by the direction of the metric on a side."""
    encoded = study.encoded
    series = encoded.series(1, mask)
    labels = encoded.heads[series.block]
    check_unmixed(series, labels, mask, study.left)
    out = np.ones(len(encoded.groups))
    if "metric" in labels.columns:
        names = labels["metric"].to_list()
        signs = require_direction(sorted({name for name in names if name is not None}), direction)
        out[series.group] = [signs.get(name, 1) for name in names]
    return out


def average_variance(stretched: Stretch, window: int, how: str) -> Floats:
    """Variance of an average for each series; NaN where a selection has fewer than two windows of it."""
    return separated_variance(stretched.values, stretched.offsets, window, how)


def mean_over_runs(values: Floats, group: Ints, n_groups: int) -> Floats:
    """Unweighted mean over the runs of each group that have a value; NaN where none has."""
    known = np.isfinite(values)
    with np.errstate(all="ignore"):
        total = np.bincount(group[known], weights=values[known], minlength=n_groups)
        return total / np.bincount(group[known], minlength=n_groups)


def autocorrelation_of(
    study: Study, stretched: Stretch, mask: str, given: float | str, threads: int | None
) -> tuple[Floats, dict[str, Floats]]:
    """Autocorrelation of each group (NaN where unknown), and the columns of `combined_noise`."""
    encoded, series = study.encoded, stretched.series
    combined = combined_noise(series, "within", 1, len(encoded.groups), threads)
    with np.errstate(all="ignore"):
        return group_autocorrelation(encoded, series, combined, given, mask).rho, combined


@dataclass(frozen=True)
class Agreement:
    """Decision accuracy of each group, and without each of its members."""

    value: Floats
    left_out: Floats
    """One entry a matched member."""
    offsets: NDArray[np.uintp]
    n_ties: Ints

    @property
    def n_members(self) -> Ints:
        """Members on both sides."""
        return np.diff(self.offsets).astype(np.intp)


def agreement(small: Members, target: Members, places: tuple[Ints, Ints], threads: int | None) -> Agreement:
    """Decision accuracy, ties one half, of the members at these places of the two sides."""
    n_groups = len(small.offsets) - 1
    in_small, in_target = places
    group = small.group[in_small]
    offsets = np.searchsorted(group, np.arange(n_groups + 1)).astype(np.uintp)
    counts = kernels().pair_agreement(
        np.ascontiguousarray(small.scores[in_small]),
        np.ascontiguousarray(target.scores[in_target]),
        offsets,
        threads=threads,
    )
    n = np.diff(offsets).astype(np.intp)
    with np.errstate(all="ignore"):
        value = np.where(n >= 2, by_rule(counts, "half"), np.nan)
        left_out = without_each(counts, n, group, "half")
    n_ties = counts["tied_small"] + counts["tied_target"] + counts["tied_both"]
    return Agreement(value, left_out, offsets, n_ties.astype(np.intp))
