"""From rows to the points that a law is fitted to: one row, one observation at one scale.

What cannot be a point is left out and counted; the same loss in bits and in nats is refused.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._errors import DroppedRowsWarning, SchemaError
from .._options import check_choice
from ._columns import AMOUNTS, Source, input_names, read_columns
from ._law import Floats, Law

#: Two values at the same place whose ratio is 1/ln 2 are the same loss in bits and in nats.
_BITS_PER_NAT = 1 / math.log(2)


@dataclass(frozen=True)
class Points:
    """The observations of one group, in the order of their inputs."""

    label: tuple[Any, ...]
    inputs: dict[str, Floats]
    """The columns that the user knows."""
    variables: dict[str, Floats]
    """What the formula speaks of."""
    y: Floats
    cluster: NDArray[np.int64]
    """Which run each point belongs to."""
    scale: NDArray[np.int64]
    """Which rung of the ladder each point stands on."""
    y_name: str = "y"
    """What the user calls what is observed."""
    told: bool = False
    """Whether the caller has said what depends on what: then nothing else is looked for."""
    rungs: Floats = field(default_factory=lambda: np.empty(0))
    """The amount that each rung stands for, lowest first."""

    @property
    def n(self) -> int:
        """Number of points."""
        return len(self.y)

    def take(self, rows: NDArray[np.intp]) -> Points:
        """Some of the points; runs and rungs are numbered anew."""
        stands, scale = np.unique(self.scale[rows], return_inverse=True)
        return replace(
            self,
            inputs={name: column[rows] for name, column in self.inputs.items()},
            variables={name: column[rows] for name, column in self.variables.items()},
            y=self.y[rows],
            cluster=np.unique(self.cluster[rows], return_inverse=True)[1].astype(np.int64),
            scale=scale.astype(np.int64),
            rungs=self.rungs[stands] if len(self.rungs) else self.rungs,
        )


@dataclass
class Grouped:
    """Points of every group, and the columns that tell groups apart."""

    by: tuple[str, ...]
    groups: list[Points]
    labels: pl.DataFrame
    notes: list[str] = field(default_factory=list)

    def label(self, index: int) -> pl.DataFrame:
        """What tells a group apart, as one row; it also addresses the draws of the group."""
        return self.labels[index : index + 1]


def read_points(source: Source, law: Law) -> Grouped:
    """The points of every group of a table."""
    check_choice("checkpoints", source.checkpoints, ("all", "last"))
    check_choice("repeats", source.repeats, ("all", "best", "mean"))
    frame, by, notes = read_columns(source, input_names(source.x, law))
    grouped = points_of(frame, law, source, by, notes)
    if grouped.notes:
        warnings.warn("; ".join(grouped.notes), DroppedRowsWarning, stacklevel=4)
    return grouped


def points_of(
    frame: pl.DataFrame, law: Law, source: Source, by: tuple[str, ...], notes: Sequence[str] = ()
) -> Grouped:
    """The points of rows that have the columns ``__x0.., __y, __run`` and those of `by`."""
    notes = list(notes)
    frame = _sound(frame, law, source.y or law.y, notes)
    if source.scale is not None:
        frame = _with(frame, "__scale", source.scale, notes)
    xs = [f"__x{index}" for index in range(len(law.inputs))]
    place, run = pl.col("__place"), pl.col("__run")
    if source.checkpoints == "last":
        frame = frame.filter((place == place.max().over([*by, "__run"])) | place.is_null() | run.is_null())
    key = [*by, *xs]
    rows = frame.height
    # In one order before anything is chosen or added up, whatever that of the table.
    frame = frame.sort([*key, "__y", "__run", "__scale", "__place"], nulls_last=True)
    frame = frame.unique([*key, "__y", "__run"], keep="first", maintain_order=True)
    if frame.height < rows:
        notes.append(f"{rows - frame.height} rows repeat another one exactly and were left out")
    frame = _settle(frame, key, source, law, notes)
    if source.checkpoints == "all" and law.prepare is None:
        runs = frame.filter(run.is_not_null()).group_by([*by, "__run"]).len()
        several = runs.filter(pl.col("len") > 1)
        if several.height:
            most = int(np.max(several["len"].to_numpy()))
            notes.append(
                f"{several.height} of {runs.height} runs have several checkpoints (up to {most}): all are points, and "
                "intervals take whole runs; checkpoints='last' keeps the last of each"
            )
    parts: list[tuple[tuple[Any, ...], pl.DataFrame]] = [((), frame)]
    if by:
        parts = list(frame.group_by(list(by), maintain_order=True))
    parts.sort(key=lambda part: tuple((value is None, value) for value in part[0]))
    name = source.y or law.y
    groups = [_group(label, part, law, xs, name, told=source.cluster is not None) for label, part in parts]
    schema = {name: frame.schema[name] for name in by}
    labels = (
        pl.DataFrame([group.label for group in groups], schema=schema, orient="row") if by else pl.DataFrame()
    )
    return Grouped(by, groups, labels, notes)


def _group(
    label: tuple[Any, ...], part: pl.DataFrame, law: Law, xs: Sequence[str], y_name: str, *, told: bool
) -> Points:
    inputs = {name: part[x].to_numpy() for name, x in zip(law.inputs, xs, strict=True)}
    cluster = _codes(part["__run"])
    scale = part["__scale"].rank("dense").to_numpy().astype(np.int64) - 1
    variables = variables_of(law, inputs, cluster)
    y, rungs = part["__y"].to_numpy(), np.unique(part["__scale"].to_numpy())
    return Points(label, inputs, variables, y, cluster, scale, y_name, told, rungs)


def _codes(runs: pl.Series) -> NDArray[np.int64]:
    """Numbers of the runs in the order of their names; a point without one is a run of its own."""
    named = runs.rank("dense").cast(pl.Int64)
    first = 1 + int(cast("int | None", named.max()) or 0)
    alone = runs.is_null().cast(pl.Int64).cum_sum() - 1 + first
    codes = named.zip_with(runs.is_not_null(), alone).to_numpy()
    return np.unique(codes, return_inverse=True)[1].astype(np.int64)


def extrapolation(points: Points, variables: Mapping[str, Floats], n: int) -> Floats:
    """How many times beyond the points' range the farthest variable of each of n places lies; 1 inside."""
    return beyond(points.variables, variables, n)


def beyond(known: Mapping[str, Floats], variables: Mapping[str, Floats], n: int) -> Floats:
    """How many times beyond the range of what is known the farthest variable of each of n places lies; 1 inside."""
    ratio = np.ones(n)
    for name, fitted in known.items():
        with np.errstate(all="ignore"):
            for far in (variables[name] / fitted.max(), fitted.min() / variables[name]):
                ratio = np.fmax(ratio, np.where(np.isfinite(far), far, 1.0))
    return ratio


def variables_of(law: Law, inputs: Mapping[str, Floats], run: NDArray[np.int64]) -> dict[str, Floats]:
    """What the formula speaks of, at points with these inputs."""
    return dict(inputs) if law.prepare is None else law.prepare(inputs, run)


# --- rows -----------------------------------------------------------------------------------------------


def _sound(frame: pl.DataFrame, law: Law, y_name: str, notes: list[str]) -> pl.DataFrame:
    """Rows that have every number; the rest is counted by what it lacks."""
    names = {f"__x{index}": name for index, name in enumerate(law.inputs)} | {"__y": y_name}
    for column, name in names.items():
        frame = _with(frame, column, name, notes, amount=name in AMOUNTS and column != "__y")
    if frame.height == 0:
        raise SchemaError(
            f"no row has all of {', '.join(names.values())}; look at the columns, or name others with x= and y="
        )
    return frame


def _with(
    frame: pl.DataFrame, column: str, name: str, notes: list[str], *, amount: bool = False
) -> pl.DataFrame:
    """Rows that have a number in a column, of an amount one above 0."""
    numbers = pl.col(column)
    flaws = {
        f"without {name}": numbers.is_null() | numbers.is_nan(),
        f"with infinite {name}": numbers.is_infinite(),
        f"with {name} of 0 or less": (numbers <= 0) & numbers.is_finite() & amount,
    }
    for flaw, rows in flaws.items():
        n = int(frame.select(rows.sum()).item())
        if n:
            notes.append(f"{n} rows {flaw} were left out")
    return frame.filter(numbers.is_finite() & ((numbers > 0) | (not amount)))


def _settle(
    frame: pl.DataFrame, key: Sequence[str], source: Source, law: Law, notes: list[str]
) -> pl.DataFrame:
    """What to do with several values at one place."""
    y = pl.col("__y")
    repeated = frame.group_by(key).agg(pl.len().alias("n"), low=y.min(), high=y.max()).filter(pl.col("n") > 1)
    if not repeated.height:
        return frame
    ratios = repeated.filter(pl.col("n") == 2).select((pl.col("high") / pl.col("low")).alias("r"))["r"]
    bits = int(((ratios - _BITS_PER_NAT).abs() < 1e-3).sum())
    if bits >= 2 and 2 * bits >= len(ratios):
        raise SchemaError(
            f"{bits} places have two values in the ratio 1.4427 = 1/ln 2: the same loss in bits and in nats; keep one "
            "of them (where=...)"
        )
    spread = ((pl.col("high") - pl.col("low")) / pl.col("low").abs()).max()
    widest = repeated.select(spread).item()
    if source.repeats == "best":
        rises = _rises(frame, source, law)
        best = pl.when(rises).then(y.max().over(key)).otherwise(y.min().over(key))
        frame = frame.filter(y == best).unique([*key, "__y"], keep="first", maintain_order=True)
        which = "highest" if rises.all() else "best" if rises.any() else "lowest"
        notes.append(f"{repeated.height} places have several values: the {which} of each was taken")
    elif source.repeats == "mean":
        frame = frame.group_by(key, maintain_order=True).agg(
            y.mean(), pl.col("__run").min(), pl.col("__scale").first(), pl.col("__place").max()
        )
        notes.append(f"{repeated.height} places have several values: their means were taken")
    elif widest is not None and widest > 0.05:
        notes.append(
            f"{repeated.height} places have several values, up to {widest:.0%} apart, and all were taken: if this is a "
            "sweep of settings, keep the best of each place with repeats='best'"
        )
    return frame


def _rises(frame: pl.DataFrame, source: Source, law: Law) -> pl.Series:
    """Of each row, whether more of what it observes is better."""
    if "metric" not in frame.columns:
        return pl.repeat(law.rises(source.y), frame.height, dtype=pl.Boolean, eager=True)
    return pl.Series([law.rises(metric) for metric in frame["metric"]], dtype=pl.Boolean)
