"""Moments over Parquet tables of any size, in one pass: what `aggregate` does with tables too large for memory.

The compiled scan groups by the table's own columns. Here its labels become ours (names, sizes, steps, config), and
groups in which an instance may occur twice are read again row by row and settled like any table in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ._errors import UnsupportedScan
from ._metrics import missing_infinities
from ._parquet_scan import ParquetScan
from ._readers._signal_and_noise import BITS, is_signal_and_noise, metric_columns, tidy
from ._schema import COLUMNS, CONFIG_PARTS, KEY, find_columns, recognise, wide_metrics
from .engines._engine import Local

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from .engines import Engine

#: Which of our columns name a score rather than a checkpoint: the scan folds the two kinds apart.
_SCORE = ("task", "subtask", "config", "metric", "filter")
#: What never mixes silently in one group.
_NEVER_MIXED = ("task", "config", "metric", "filter")
#: Columns that part a group while its rows are counted: an instance may occur once in each part.
_PARTS = ("run", "revision", "step", "seed", "task", "subtask", "config", "metric", "filter")
_ROWS_AT_ONCE = 4_000_000
"""Rows of doubtful groups that are read again at a time."""

Settle = Callable[[pl.DataFrame, Sequence[str]], pl.DataFrame]


@dataclass(frozen=True)
class Streamed:
    """Groups of a stream.

    Attributes
    ----------
    frame : DataFrame
        By-columns, then ``n, n_missing, n_nan, mean, variance, min, max``; sorted by the by-columns.
    by : list of str
        Its by-columns: those asked for, and what `aggregate` never mixes.
    rows : int
        Rows read.
    reread : int
        Groups that were read again because an instance might have occurred in them twice.
    """

    frame: pl.DataFrame
    by: list[str]
    rows: int
    reread: int


def stream_parquet(
    paths: Sequence[Path],
    by: Sequence[str],
    settle: Settle,
    *,
    columns: Mapping[str, str] | None = None,
    metrics: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
    progress: Callable[[int], None] | None = None,
    engine: Engine | None = None,
    threads: int | None = None,
) -> Streamed | None:
    """Moments of the groups of Parquet tables, or None where the tables need the way through memory.

    Parameters
    ----------
    paths
        Files with one layout of columns.
    by
        Columns of the key, ours or the tables' own.
    settle
        Called with the rows of doubtful groups (our columns) and the by-columns; gives their moments.
    columns, metrics, threads
        As in `aggregate`.
    sources
        What the files are called in messages.
    progress
        Called with the number of rows done so far.
    engine
        Where rows are added up; groups that are doubtful are read again in this process.
    """
    schema = pl.read_parquet_schema(paths[0])
    plan = _plan(schema, by, columns, metrics)
    if plan is None:
        return None
    scan = ParquetScan(
        paths=[str(path) for path in paths],
        keys=list(plan.keys.values()),
        by=plan.n_by,
        inner=[name in _SCORE for name in plan.keys],
        values=plan.values,
        identity=plan.identity,
        constant=plan.constant,
    )
    try:
        found = scan.run(engine or Local(), progress=progress, threads=threads)
    except UnsupportedScan:
        return None
    labelled = _labels(found, plan, schema, columns)
    if labelled is None:
        return None
    doubtful = _doubtful(found, plan) if found["doubtful"].any() else pl.DataFrame()
    frame = _frame(found, plan, labelled)
    if doubtful.height:
        again = [settle(rows, plan.by) for rows in _read_again(paths, sources, doubtful, plan, columns)]
        keys = pl.concat([table.select(plan.by) for table in again])
        frame = frame.join(keys.unique(), on=plan.by, how="anti", nulls_equal=True, maintain_order="left")
        frame = pl.concat([frame, *(table.select(frame.columns) for table in again)]).sort(plan.by)
    return Streamed(frame, plan.by, int(found["rows"]), doubtful.height)


def can_stream(schema: Mapping[str, pl.DataType], by: Sequence[str]) -> bool:
    """Whether tables with these columns of ours need no way through memory, as far as columns can tell."""
    return _plan(schema, by, None, None) is not None


@dataclass(frozen=True)
class _Plan:
    keys: dict[str, str]
    """Name in the result -> the table's own, for every column that the scan groups by; those of the result first."""
    n_by: int
    by: list[str]
    values: list[str]
    """Columns of scores."""
    metrics: list[str] | None
    """Their names as metrics in a wide table; None where a column of the table names them."""
    metric: str | None
    """The one metric of a long table that has no column for it."""
    all_metrics: list[str]
    """Every metric column of a wide table."""
    identity: str
    constant: list[str]


def _plan(
    schema: pl.Schema | Mapping[str, pl.DataType],
    by: Sequence[str],
    columns: Mapping[str, str] | None,
    metrics: Sequence[str] | None,
) -> _Plan | None:
    found = find_columns(schema, columns)
    wide: list[str] | None = None
    labels: dict[str, str] = {}
    every: list[str] = []
    if "value" not in found:
        every = wide_metrics(schema, found)
        labels = {name: name for name in every}
        if is_signal_and_noise(schema):
            bits = metric_columns(schema)
            labels = {name: bits.get(name, name) for name in every if name in bits or name not in BITS}
        # In the order of their labels, in which the result is sorted.
        wide = [name for name in labels if metrics is None or labels[name] in metrics]
        wide.sort(key=lambda name: labels[name])
        if not wide or "metric" in found:
            return None
    elif metrics is not None:
        return None
    if "instance_id" not in found or "weight" in found or not {"run", "task"} <= found.keys():
        return None
    parts = [] if "config" in found else [name for name in schema if name in dict(CONFIG_PARTS)]
    if parts:
        return None
    chosen: dict[str, str] = {}
    asked: list[str] = []
    named = wide is not None or "metric" not in found
    for name in by:
        if name == "metric" and named:
            asked.append(name)
            continue
        own = name if name in schema else None
        theirs = found.get(name) if name in COLUMNS else own
        if theirs is None or name in ("instance_id", "value", "repeat", "cluster", "source"):
            return None
        asked.append(name)
        chosen[name] = theirs
    for name in _NEVER_MIXED:
        if name in found and found[name] not in chosen.values():
            asked.append(name)
            chosen[name] = found[name]
    if named and "metric" not in asked:
        asked.append("metric")
    n_by = len(chosen)
    for name in _PARTS:
        if name in found and found[name] not in chosen.values():
            chosen[name] = found[name]
    values = wide if wide is not None else [found["value"]]
    metric = None if wide is not None or "metric" in found else found["value"]
    constant = [found["repeat"]] if "repeat" in found else []
    names = None if wide is None else [labels[name] for name in wide]
    return _Plan(chosen, n_by, asked, values, names, metric, every, found["instance_id"], constant)


def _labels(
    found: Mapping[str, Any],
    plan: _Plan,
    schema: Mapping[str, pl.DataType],
    columns: Mapping[str, str] | None,
) -> dict[str, pl.Series] | None:
    """Our labels for the codes of each by-column; None where two of theirs are one of ours."""
    labelled: dict[str, pl.Series] = {}
    keys = list(plan.keys.items())[: plan.n_by]
    for (name, theirs), labels in zip(keys, found["labels"], strict=True):
        table = _label_frame(theirs, labels, schema, plan.values[0])
        series = table[theirs] if name == theirs and name not in COLUMNS else None
        if series is None:
            series = recognise(table.lazy(), columns).select(name).collect().to_series()
        if series.n_unique() < len(series):
            return None
        labelled[name] = series
    return labelled


def _label_frame(
    theirs: str, labels: list[Any], schema: Mapping[str, pl.DataType], score: str
) -> pl.DataFrame:
    """A table with the schema of the source: one column holds its labels, one a score, the others nothing."""
    dtype = schema[theirs]
    if isinstance(dtype, (pl.Categorical, pl.Enum)):
        dtype = pl.String()
    filled = pl.Series(theirs, labels, dtype=pl.Int64 if dtype == pl.Boolean else dtype).cast(dtype)
    return pl.DataFrame(
        [
            filled
            if name == theirs
            # A wide table drops rows without a score.
            else pl.repeat(1 if name == score else None, len(labels), dtype=other, eager=True).alias(name)
            for name, other in schema.items()
            if name == theirs or not other.is_nested()
        ]
    )


def _frame(found: dict[str, Any], plan: _Plan, labelled: Mapping[str, pl.Series]) -> pl.DataFrame:
    """The groups, sorted by the by-columns; takes what was found apart, which may be as large."""
    scores = len(plan.values)
    codes = dict(zip(list(plan.keys)[: plan.n_by], found.pop("codes"), strict=True))
    labels = dict(labelled)
    wide = plan.metrics is not None
    if "metric" not in codes:
        labels["metric"] = pl.Series(plan.metrics or [plan.metric], dtype=pl.String)
        codes = {name: np.repeat(code, scores) for name, code in codes.items()}
        codes["metric"] = np.tile(np.arange(scores, dtype=np.uint32), len(found["doubtful"]))
    columns = _finish(found.pop("moments"), labels["metric"], codes["metric"], wide=wide)
    order = _order(plan.by, {name: _ranks(labels[name]) for name in plan.by}, codes)
    if wide:
        # As in memory, a wide table drops cells without a score.
        scored = columns["n"] + columns["n_missing"] + columns["n_nan"] > 0
        if not scored.all():
            order = np.flatnonzero(scored) if order is None else order[scored[order]]
    # Numbers first, which free what they were made of: labels are most of the table.
    numbers = {name: _column(name, _taken(columns.pop(name), order)) for name in list(columns)}
    keys = {name: labels[name][pl.Series(_taken(codes.pop(name), order))].alias(name) for name in plan.by}
    return pl.DataFrame({**keys, **numbers})


def _order(
    by: Sequence[str], ranks: Mapping[str, NDArray[np.uint32]], codes: Mapping[str, NDArray[np.uint32]]
) -> NDArray[np.intp] | None:
    """Where the rows of the sorted table stand; None where they are in order."""
    # The scan sorts by its labels, which is the order of ours as well unless names were parsed.
    if list(by) == list(codes) and all((ranks[name][1:] > ranks[name][:-1]).all() for name in by):
        return None
    return np.lexsort([ranks[name][codes[name]] for name in reversed(by)])


def _taken(values: NDArray[Any], order: NDArray[np.intp] | None) -> NDArray[Any]:
    return values if order is None else values[order]


def _ranks(labels: pl.Series) -> NDArray[np.uint32]:
    """Place of each label in the order of all; missing first, as Polars sorts."""
    return labels.rank("ordinal").fill_null(0).to_numpy().astype(np.uint32)


def _column(name: str, values: NDArray[Any]) -> pl.Series:
    return pl.Series(name, values, nan_to_null=True)


def _finish(
    sums: Mapping[str, NDArray[Any]], metrics: pl.Series, code: NDArray[np.uint32], *, wide: bool
) -> dict[str, NDArray[Any]]:
    """What sums of finite scores mean beside infinite ones: beyond a bound of the metric those are missing."""
    if not (sums["n_plus"].any() or sums["n_minus"].any()):
        n = sums["n"].view(np.int64)
        with np.errstate(all="ignore"):
            variance = np.where(n >= 2, sums["m2"] / (n - 1.0), np.nan)
        none = n == 0
        return {
            "n": n,
            "n_missing": np.zeros_like(n) if wide else sums["n_null"].astype(np.int64),
            "n_nan": sums["n_nan"].astype(np.int64),
            "mean": sums["mean"],
            "variance": variance,
            "min": np.where(none, np.nan, sums["min"]) if none.any() else sums["min"],
            "max": np.where(none, np.nan, sums["max"]) if none.any() else sums["max"],
        }
    no_minus, no_plus = np.array([missing_infinities(name) for name in metrics]).reshape(-1, 2)[code].T
    infinite = sums["n_plus"] + sums["n_minus"]
    plus = np.where(no_plus, 0, sums["n_plus"])
    minus = np.where(no_minus, 0, sums["n_minus"])
    n = sums["n"] + plus + minus
    kept = (plus + minus) > 0
    with np.errstate(all="ignore"):
        mean = np.where(plus > 0, np.inf, 0.0) + np.where(minus > 0, -np.inf, 0.0)
        variance = np.where((n >= 2) & ~kept, sums["m2"] / (n - 1.0), np.nan)
    return {
        "n": n.astype(np.int64),
        # A wide table has no row where a score is missing.
        "n_missing": (infinite + (0 if wide else sums["n_null"])).astype(np.int64),
        "n_nan": sums["n_nan"].astype(np.int64),
        "mean": np.where(kept, mean, sums["mean"]),
        "variance": variance,
        "min": np.where(minus > 0, -np.inf, np.where(n > 0, sums["min"], np.nan)),
        "max": np.where(plus > 0, np.inf, np.where(n > 0, sums["max"], np.nan)),
    }


def _doubtful(found: Mapping[str, Any], plan: _Plan) -> pl.DataFrame:
    """Keys of the groups to read again, in the table's own columns, and how many rows each has."""
    at = np.flatnonzero(found["doubtful"])
    counts, first = found["moments"], at * len(plan.values)
    rows = sum(counts[name][first] for name in ("n", "n_null", "n_nan", "n_plus", "n_minus"))
    theirs = list(plan.keys.values())[: plan.n_by]
    return pl.DataFrame(
        [
            *(
                pl.Series(name, labels, strict=False).gather(codes[at])
                for name, labels, codes in zip(theirs, found["labels"], found["codes"], strict=True)
            ),
            pl.Series("__rows", rows),
        ]
    )


def _read_again(
    paths: Sequence[Path],
    sources: Sequence[str] | None,
    doubtful: pl.DataFrame,
    plan: _Plan,
    columns: Mapping[str, str] | None,
) -> Iterator[pl.DataFrame]:
    """Rows of doubtful groups in our columns, a bounded number of groups at a time."""
    source = pl.scan_parquet(list(paths), glob=False)
    schema = source.collect_schema()
    if sources is not None and "source" not in schema:
        source = pl.scan_parquet(list(paths), glob=False, include_file_paths="source")
        source = source.with_columns(pl.col("source").replace(list(map(str, paths)), list(sources)))
    drop = [name for name in plan.all_metrics if name not in plan.values]
    source = source.drop(drop)
    if is_signal_and_noise(schema):
        source = tidy(source, columns)
    keys = doubtful.drop("__rows")
    keys = keys.with_columns(
        pl.col(name).cast(pl.String if isinstance(schema[name], (pl.Categorical, pl.Enum)) else schema[name])
        for name in keys.columns
    )
    batch = doubtful["__rows"].cum_sum() // _ROWS_AT_ONCE
    for part in keys.with_columns(batch.alias("__batch")).partition_by("__batch", include_key=False):
        rows = source.with_columns(
            pl.col(name).cast(pl.String)
            for name in part.columns
            if isinstance(schema[name], (pl.Categorical, pl.Enum))
        ).join(part.lazy(), on=part.columns, how="semi", nulls_equal=True)
        rows = recognise(rows, columns)
        names = rows.collect_schema().names()
        wanted = dict.fromkeys([*KEY, *plan.by, "value", "weight", "source"])
        yield rows.select(name for name in wanted if name in names).collect(engine="streaming")
