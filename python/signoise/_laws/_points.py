"""From a table to the points that a law is fitted to: one row, one observation at one scale.

The table is a score table, whose metric `y` names, or any table with a column `y`. What cannot be a point is left
out and counted; what looks like a mistake of units is refused.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._errors import DroppedRowsWarning, OptionError, SchemaError
from .._options import check_choice
from .._readers._plain import read_plain
from .._readers._report import ReadReport
from .._schema import COLUMNS, SYNONYMS, did_you_mean, predicate
from .._scores import Filter, Scores, load, warn_joined
from ._law import Floats, Law

Checkpoints = Literal["all", "last"]
Repeats = Literal["all", "best", "mean"]

#: Where the middle value of a column must lie; anything else is in other units (millions, billions).
_PLAUSIBLE = {
    "params": (1e4, 1e15, "parameters"),
    "params_nonembedding": (1e4, 1e15, "parameters"),
    "tokens": (1e6, 1e17, "tokens"),
    "flops": (1e11, 1e29, "floating-point operations"),
}
#: Columns that can be computed where the table lacks them.
_DERIVED = {
    "flops": (("params", "tokens"), 6 * pl.col("params") * pl.col("tokens"), "6 x params x tokens"),
    "tokens_per_param": (("params", "tokens"), pl.col("tokens") / pl.col("params"), "tokens / params"),
    "tokens": (
        ("params", "tokens_per_param"),
        pl.col("params") * pl.col("tokens_per_param"),
        "params x ratio",
    ),
}
_OTHER_NAMES = {"learning_rate": ("lr",), "tokens_per_param": ("token_multiplier",), "loss": ()}
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

    @property
    def n(self) -> int:
        """Number of points."""
        return len(self.y)


@dataclass(frozen=True)
class Source:
    """Where points come from, and how rows become points: the options that all verbs on laws share."""

    scores: Scores
    x: tuple[str, ...]
    y: str | None
    by: tuple[str, ...] | None = None
    where: Filter = None
    cluster: str | None = None
    scale: str | None = None
    checkpoints: Checkpoints = "all"
    repeats: Repeats = "all"
    check_units: bool = True
    columns: Mapping[str, str] | None = None
    strict: bool = False
    threads: int | None = None


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
    inputs = _inputs(source.x, law)
    frame, by, notes = _table(source, inputs)
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
    xs = [f"__x{index}" for index in range(len(law.inputs))]
    place, run = pl.col("__place"), pl.col("__run")
    if source.checkpoints == "last":
        frame = frame.filter((place == place.max().over([*by, "__run"])) | place.is_null() | run.is_null())
    key = [*by, *xs]
    rows = frame.height
    frame = frame.unique([*key, "__y", "__run"])
    if frame.height < rows:
        notes.append(f"{rows - frame.height} rows repeat another one exactly and were left out")
    frame = _settle(frame, key, source, notes)
    if source.checkpoints == "all" and law.prepare is None:
        runs = frame.filter(run.is_not_null()).group_by([*by, "__run"]).len()
        several = runs.filter(pl.col("len") > 1)
        if several.height:
            most = several["len"].max()
            notes.append(
                f"{several.height} of {runs.height} runs have several checkpoints (up to {most}): all are points, and "
                "intervals take whole runs; checkpoints='last' keeps the last of each"
            )
    frame = frame.sort([*key, "__y", "__run"], nulls_last=True)
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
    return Points(label, inputs, variables, part["__y"].to_numpy(), cluster, scale, y_name, told)


def _codes(runs: pl.Series) -> NDArray[np.int64]:
    """Numbers of the runs in the order of their names; a point without one is a run of its own."""
    named = runs.rank("dense").cast(pl.Int64)
    first = 1 + int(cast("int | None", named.max()) or 0)
    alone = runs.is_null().cast(pl.Int64).cum_sum() - 1 + first
    codes = named.zip_with(runs.is_not_null(), alone).to_numpy()
    return np.unique(codes, return_inverse=True)[1].astype(np.int64)


def extrapolation(points: Points, variables: Mapping[str, Floats], n: int) -> Floats:
    """How many times beyond the points' range the farthest variable of each of n places lies; 1 inside."""
    ratio = np.ones(n)
    for name, fitted in points.variables.items():
        with np.errstate(all="ignore"):
            for far in (variables[name] / fitted.max(), fitted.min() / variables[name]):
                ratio = np.fmax(ratio, np.where(np.isfinite(far), far, 1.0))
    return ratio


def variables_of(law: Law, inputs: Mapping[str, Floats], run: NDArray[np.int64]) -> dict[str, Floats]:
    """What the formula speaks of, at points with these inputs."""
    return dict(inputs) if law.prepare is None else law.prepare(inputs, run)


# --- columns ----------------------------------------------------------------------------------------


def _inputs(x: Sequence[str], law: Law) -> dict[str, str]:
    """The column of each input of a law."""
    if not x:
        if "x" in law.inputs:
            raise OptionError(
                f"law {law.name!r} is of one amount: say which column it is, e.g. x='flops' or --x flops"
            )
        return {name: name for name in law.inputs}
    if len(x) != len(law.inputs):
        raise OptionError(
            f"law {law.name!r} takes {len(law.inputs)} columns ({', '.join(law.inputs)}), x names "
            f"{len(x)}: {', '.join(x)}"
        )
    return dict(zip(law.inputs, x, strict=True))


def _table(source: Source, inputs: Mapping[str, str]) -> tuple[pl.DataFrame, tuple[str, ...], list[str]]:
    """The rows that may be points, with the inner columns, and the columns of the key."""
    plain = _plain(source)
    notes: list[str] = []
    if plain is not None:
        by = source.by or ()
        frame = plain
        condition = predicate(source.where, "where", frame.schema)
        if condition is not None:
            frame = frame.filter(condition)
        value = source.y
    else:
        by = ("task", "metric") if source.by is None else source.by
        wanted = [name for name in (*inputs.values(), *by, source.cluster, source.scale) if name]
        use = [name for name in wanted if name in COLUMNS]
        table = load(
            source.scores,
            columns=source.columns,
            where=source.where,
            use=use,
            keep_all=True,
            strict=source.strict,
            threads=source.threads,
        )
        notes += table.notes
        frame = table.frame
        if source.y is not None:
            metrics = frame["metric"].unique().drop_nulls().sort().to_list()
            if source.y not in metrics:
                raise SchemaError(
                    f"y: {source.y!r} is neither a column of the table nor one of its metrics"
                    f"{did_you_mean(source.y, [*metrics, *frame.columns])} (metrics: {', '.join(metrics)})"
                )
            frame = frame.filter(pl.col("metric") == source.y)
        joined = [
            name
            for name in ("subtask", "config", "filter")
            if name in frame.columns and name not in by and frame[name].n_unique() > 1
        ]
        warn_joined(frame, joined, by)
        by = (*by, *joined)
        value = "value"
    if frame.height == 0:
        raise SchemaError(f"no rows are left after where={source.where!s}; look at the values of its columns")
    for name in by:
        if name not in frame.columns:
            raise SchemaError(
                f"by: the table has no column {name!r}{did_you_mean(name, frame.columns)} (it has "
                f"{', '.join(frame.columns)})"
            )
    columns = {f"__x{index}": input_column(frame, name, notes) for index, name in enumerate(inputs.values())}
    columns["__y"] = _numbers(frame, value or "value")
    columns["__run"] = _runs(frame, source)
    columns["__scale"] = _scales(frame, source, inputs, columns)
    columns["__place"] = _places(frame)
    out = pl.DataFrame([*(frame[name] for name in by), *(c.alias(name) for name, c in columns.items())])
    if source.check_units:
        for index, name in enumerate(inputs.values()):
            check_plausible(name, out[f"__x{index}"])
    return out, by, notes


def _plain(source: Source) -> pl.DataFrame | None:
    """The table itself, where `y` is one of its columns."""
    if source.y is None:
        return None
    scores = source.scores
    if isinstance(scores, pl.LazyFrame):
        scores = scores.collect() if source.y in scores.collect_schema().names() else scores
    if isinstance(scores, pl.DataFrame):
        frame: pl.DataFrame | None = scores
    elif hasattr(scores, "__arrow_c_stream__"):
        frame = pl.DataFrame(scores)
    elif isinstance(scores, (str, os.PathLike)) or (
        isinstance(scores, Sequence) and all(isinstance(path, (str, os.PathLike)) for path in scores)
    ):
        report = ReadReport(strict=source.strict)
        frame = read_plain(scores, report)
        if frame is not None and source.y in frame.columns:
            report.warn(stacklevel=6)
    else:
        frame = None
    if frame is None or source.y not in frame.columns:
        return None
    renamed = {}
    for theirs, ours in (source.columns or {}).items():
        if theirs not in frame.columns:
            raise SchemaError(
                f"columns: the table has no column {theirs!r}{did_you_mean(theirs, frame.columns)} (it has "
                f"{', '.join(frame.columns)})"
            )
        renamed[theirs] = ours
    return frame.drop(
        [ours for ours in renamed.values() if ours in frame.columns and ours not in renamed]
    ).rename(renamed)


def _find(frame: pl.DataFrame, name: str) -> str | None:
    """The column that a name means."""
    for candidate in (name, *SYNONYMS.get(name, ()), *_OTHER_NAMES.get(name, ())):
        if candidate in frame.columns:
            return candidate
    return None


def input_column(frame: pl.DataFrame, name: str, notes: list[str]) -> pl.Series:
    """A column by its name, or computed of others."""
    found = _find(frame, name)
    if found is not None and not (name in _DERIVED and frame[found].null_count() == frame.height):
        return _numbers(frame, found, sizes=name in ("params", "params_nonembedding"))
    if name in _DERIVED:
        parts, formula, text = _DERIVED[name]
        places = [_find(frame, part) for part in parts]
        if all(places):
            notes.append(f"{name} was computed as {text}")
            made = [
                _numbers(frame, str(place), sizes=part == "params").alias(part)
                for part, place in zip(parts, places, strict=True)
            ]
            return pl.DataFrame(made).select(formula.alias(name))[name]
    raise SchemaError(
        f"x: the table has no column {name!r}{did_you_mean(name, frame.columns)} (it has {', '.join(frame.columns)}); "
        f'name it: x="YOURS" or --x YOURS'
    )


def _numbers(frame: pl.DataFrame, name: str, *, sizes: bool = False) -> pl.Series:
    """A column as floats; texts among them are an error that names the row."""
    column = frame[name]
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        return column.cast(pl.Float64)
    if column.dtype != pl.String:
        raise SchemaError(
            f"column {name!r} holds {column.dtype}, not numbers; cast it first or name another one"
        )
    if sizes:
        from .._schema import sizes_or_raise

        return sizes_or_raise(column).cast(pl.Float64)
    numbers = column.cast(pl.Float64, strict=False)
    wrong = (numbers.is_null() & column.is_not_null()).arg_true()
    if len(wrong):
        raise SchemaError(
            f"column {name!r}, row {wrong[0] + 1}: {column[wrong[0]]!r} is no number (and {len(wrong) - 1} more); "
            "correct it, or leave the cell empty"
        )
    return numbers


def _runs(frame: pl.DataFrame, source: Source) -> pl.Series:
    """What each point belongs to: points of one run share what is special to it."""
    name = source.cluster or _find(frame, "run")
    if source.cluster is not None and source.cluster not in frame.columns:
        raise SchemaError(
            f"cluster: the table has no column {source.cluster!r}{did_you_mean(source.cluster, frame.columns)} "
            f"(it has {', '.join(frame.columns)})"
        )
    if name is None:
        return pl.Series([None] * frame.height, dtype=pl.String)
    return frame[name].cast(pl.String)


def _scales(
    frame: pl.DataFrame, source: Source, inputs: Mapping[str, str], columns: Mapping[str, pl.Series]
) -> pl.Series:
    """The rung of each point: its number of parameters, or whatever the law is of."""
    if source.scale is not None:
        return input_column(frame, source.scale, [])
    names = list(inputs.values())
    index = next((i for i, name in enumerate(names) if name in ("params", "params_nonembedding")), 0)
    return columns[f"__x{index}"]


def _places(frame: pl.DataFrame) -> pl.Series:
    for name in ("tokens", "step"):
        found = _find(frame, name)
        if found is not None and frame[found].dtype.is_numeric() and frame[found].null_count() < frame.height:
            return frame[found].cast(pl.Float64)
    return pl.Series([None] * frame.height, dtype=pl.Float64)


def check_plausible(name: str, values: pl.Series) -> None:
    """Raise where the middle of a column of sizes says that it is in other units."""
    if name not in _PLAUSIBLE:
        return
    low, high, unit = _PLAUSIBLE[name]
    middle = values.filter(values.is_finite()).median()
    if isinstance(middle, float) and not low <= middle <= high:
        direction = "billions or millions" if middle < low else "other units"
        raise SchemaError(
            f"{name}: the middle value is {middle:g}, which looks like {direction}; the law needs single {unit}. "
            f"Scale the column first, or pass check_units=False (--no-check-units) where it is right"
        )


# --- rows -----------------------------------------------------------------------------------------------


def _sound(frame: pl.DataFrame, law: Law, y_name: str, notes: list[str]) -> pl.DataFrame:
    """Rows that have every number; the rest is counted by what it lacks."""
    names = {f"__x{index}": name for index, name in enumerate(law.inputs)} | {"__y": y_name}
    for column, name in names.items():
        numbers = pl.col(column)
        missing = int(frame.select((numbers.is_null() | numbers.is_nan()).sum()).item())
        infinite = int(frame.select(numbers.is_infinite().sum()).item())
        if missing:
            notes.append(f"{missing} rows without {name} were left out")
        if infinite:
            notes.append(f"{infinite} rows with infinite {name} were left out")
        if missing or infinite:
            frame = frame.filter(numbers.is_finite())
    if frame.height == 0:
        raise SchemaError(
            f"no row has all of {', '.join(names.values())}; look at the columns, or name others with x= and y="
        )
    return frame


def _settle(frame: pl.DataFrame, key: Sequence[str], source: Source, notes: list[str]) -> pl.DataFrame:
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
        frame = frame.filter(y == y.min().over(key)).unique([*key, "__y"])
        notes.append(f"{repeated.height} places have several values: the lowest of each was taken")
    elif source.repeats == "mean":
        frame = frame.group_by(key).agg(
            y.mean(), pl.col("__run").min(), pl.col("__scale").first(), pl.col("__place").max()
        )
        notes.append(f"{repeated.height} places have several values: their means were taken")
    elif widest is not None and widest > 0.05:
        notes.append(
            f"{repeated.height} places have several values, up to {widest:.0%} apart, and all were taken: if this is a "
            "sweep of settings, keep the best of each place with repeats='best'"
        )
    return frame
