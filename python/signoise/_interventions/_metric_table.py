"""Scores of the metrics of each task, and which of these counts: what comparing and choosing metrics share."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._decision_sides import encode_sides
from .._decisions import side_scores
from .._duplicates import Duplicates
from .._encode import Encoded, encode
from .._errors import OptionError, SchemaError, SignoiseWarning
from .._measure import member_scores
from .._metrics import direction as direction_of
from .._metrics import is_accuracy
from .._options import as_columns
from .._schema import as_expression, did_you_mean
from .._scores import Filter, Groups, Scores, load, note_key, warn_notes
from ._choice_metrics import DEFAULT
from ._metric_differences import SignalRows
from ._with_choices import with_choices

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

#: What a task is usually judged by, in order: the first that it has is its primary metric.
PRIMARY = (
    *("primary_score", "acc_norm", "acc_per_char", "acc", "acc_raw", "accuracy", "exact_match"),
    *("pass@1", "pass_at_1"),
)


@dataclass(frozen=True)
class Pairs:
    """The primary metric of each group of one metric."""

    primary: Ints
    """Group of the primary metric of the same task; -1 without one."""

    @property
    def known(self) -> NDArray[np.bool_]:
        """Groups with another metric to be compared with."""
        return (self.primary >= 0) & (self.primary != np.arange(len(self.primary)))

    @property
    def partner(self) -> Ints:
        """The primary metric's group, or the group itself."""
        return np.where(self.primary >= 0, self.primary, np.arange(len(self.primary)))


@dataclass(frozen=True)
class MetricTable:
    """Encoded scores, a group for each task and metric."""

    frame: pl.DataFrame
    encoded: Encoded
    members: tuple[str, ...]
    left: Sequence[str]
    """Columns that the filters named and that left the key."""
    sides: Mapping[str, Filter]
    """``small``, and ``target`` beside it, where they are given."""
    pairs: Pairs
    wanted: Sequence[str] | None
    """Metrics that were asked for, with the primary ones that were named."""

    def signal_rows(self, window: int, threads: int | None) -> SignalRows:
        """What the SNR of each group is made of, on the small side where there is one."""
        series = self.encoded.series(window, "small" if self.sides else None, threads)
        shape = (len(self.encoded.groups), len(self.encoded.members))
        scores, group, member, _, _ = member_scores(series, "mean", shape[0], threads)
        dense = np.full(shape, np.nan)
        dense[group, member] = scores
        n = series.columns["n"].astype(float)
        with np.errstate(all="ignore"):
            variance = np.where(n >= 2, series.columns["m2"] / (n - 1), 0.0)
        sums, runs = np.zeros(shape), np.zeros(shape)
        np.add.at(sums, (series.group, series.member), variance)
        np.add.at(runs, (series.group, series.member), n >= 2)
        return SignalRows(np.where(np.isfinite(dense), dense, np.nan), sums, runs)

    def decision_scores(
        self, score: str, window: int, direction: Mapping[str, str] | None, threads: int | None
    ) -> tuple[Floats, Floats]:
        """Scores of the small side and the target, higher is better, ``(n_groups, n_members)``.

        NaN where there is none, or no name to match.
        """
        small, target = (
            self._dense(side_scores(self.encoded, name, score, window, self.left, direction, 0.0, threads))
            for name in self.sides
        )
        return small, target

    def _dense(self, side: Any) -> Floats:
        out = np.full((len(self.encoded.groups), len(self.encoded.members)), np.nan)
        out[side.group, side.member] = side.scores
        named = self.encoded.members.select(pl.all_horizontal(pl.all().is_not_null())).to_series().to_numpy()
        out[:, ~named] = np.nan
        return out


def open_metrics(
    scores: Scores,
    *,
    metrics: str | Sequence[str] | None,
    primary: str | Mapping[str, str] | None,
    small: Filter,
    target: Filter,
    match: str | Sequence[str] | None,
    by: str | Sequence[str],
    where: Filter,
    use: Sequence[pl.Expr | str] = (),
    choices: bool,
    direction: Mapping[str, str] | None,
    order: str,
    groups: Groups,
    columns: Mapping[str, str] | None,
    duplicates: Duplicates,
    strict: bool,
    threads: int | None,
) -> MetricTable:
    """Load scores and encode them by task and metric; `use` names further columns that the caller needs."""
    if target is not None and small is None:
        raise OptionError('target needs small, e.g. small="params = 150000000", target="params = 1e9"')
    by = tuple(name for name in as_columns(by) if name != "metric")
    sides = {name: side for name, side in (("small", small), ("target", target)) if side is not None}
    expressions = {name: as_expression(side, name) for name, side in sides.items()}
    for name, expression in expressions.items():
        if "metric" in expression.meta.root_names():
            raise OptionError(f"{name} names the metric, which is what is compared; use metrics and primary")
    named = [primary] if isinstance(primary, str) else list((primary or {}).values())
    wanted = None if metrics is None else [*as_columns(metrics), *named]
    # What may turn out to be primary is needed, whatever is shown.
    needed = None if wanted is None else [*wanted, *(PRIMARY if primary is None else ())]
    if choices:
        computed = DEFAULT if needed is None else [name for name in DEFAULT if name in needed]
        scores, columns = with_choices(scores, computed, columns=columns, strict=strict, threads=threads)
    table = load(
        scores,
        columns=columns,
        where=where,
        groups=groups,
        use=[
            *by,
            *(as_columns(match) if match else ("recipe", "run")),
            order,
            *expressions.values(),
            *use,
        ],
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    warn_notes(table.notes)
    frame = _of_metrics(table.frame, needed, wanted or named, direction)
    key = [*by, "metric"]
    if sides:
        placed = encode_sides(
            frame,
            sides,
            by=key,
            match=match if match or target is not None else "run",
            order=order,
            columns=columns,
            duplicates=duplicates,
        )
        encoded, members, left = placed.encoded, placed.members, placed.left
    else:
        members, left = (as_columns(match) if match else ("run",)), []
        encoded = encode(frame, by=key, members=members, order=order, duplicates=duplicates)
    note_key(encoded, [name for name in key if name not in left])
    return MetricTable(frame, encoded, members, left, sides, _paired(encoded, primary), wanted)


def _of_metrics(
    frame: pl.DataFrame,
    needed: Sequence[str] | None,
    named: Sequence[str],
    direction: Mapping[str, str] | None,
) -> pl.DataFrame:
    """Rows of the metrics that are needed, those of a known direction if nothing says which."""
    known = frame["metric"].unique().drop_nulls().sort().to_list()
    for name in named:
        if name not in known:
            raise SchemaError(
                f"metrics, primary: there are no scores of metric {name!r}{did_you_mean(name, known)} (there are "
                f"{', '.join(known)})"
            )
    if needed is not None:
        return frame.filter(pl.col("metric").is_in(needed))
    unknown = [name for name in known if direction_of(name, direction) is None and name not in named]
    if unknown and len(unknown) < len(known):
        warnings.warn(
            f"metrics of no known direction are left out: {', '.join(unknown)}; declare it with "
            f'direction={{"{unknown[0]}": "higher"}} or --direction {unknown[0]}=higher, or name them in metrics',
            SignoiseWarning,
            stacklevel=4,
        )
        return frame.filter(~pl.col("metric").is_in(unknown))
    return frame


def _paired(encoded: Encoded, primary: str | Mapping[str, str] | None) -> Pairs:
    rest = [name for name in encoded.by if name != "metric"]
    groups = encoded.groups.select(*rest, "metric").with_row_index("__group")
    out = np.full(groups.height, -1, dtype=np.intp)
    for _, part in groups.group_by(rest, maintain_order=True) if rest else [((), groups)]:
        found = dict(zip(part["metric"].to_list(), part["__group"].to_list(), strict=True))
        task = part["task"][0] if "task" in part.columns else None
        name = primary_of(task, list(found), primary)
        if name is not None:
            out[part["__group"].to_numpy()] = found[name]
    if (out < 0).all():
        names = groups["metric"].unique().drop_nulls().sort().to_list()
        raise OptionError(
            f"which metric counts is not known (there are {', '.join(names)}): name it, e.g. "
            f'primary="{names[0]}" or --primary {names[0]}'
        )
    return Pairs(out)


def primary_of(task: str | None, names: Sequence[str], primary: str | Mapping[str, str] | None) -> str | None:
    """The primary metric of a task among those that it has, None where nothing says which it is."""
    if isinstance(primary, str):
        return primary if primary in names else None
    if primary is not None and task is not None and task in primary:
        return primary[task] if primary[task] in names else None
    listed = next((name for name in PRIMARY if name in names), None)
    accuracies = sorted(name for name in names if is_accuracy(name))
    if listed is not None or accuracies or len(names) == 1:
        return listed or (accuracies or list(names))[0]
    return None


def primary_in_words(primary: str | Mapping[str, str] | None) -> str | Sequence[str] | None:
    """As a signature has it."""
    return [f"{task}={name}" for task, name in primary.items()] if isinstance(primary, Mapping) else primary
