"""Tables of instances in Parquet on the short way to matrices: no row of them is ever a row of a data frame.

The compiled scan finds checkpoints, units and instances from keys and ids, then puts scores into their cells. What it
finds becomes ours through `recognise`, label by label. Where a table needs more than that (instances that occur twice,
weights, repeats, a column of values), the caller takes the way through data frames; the store's content is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._errors import ReadError, SchemaError, UnsupportedScan
from .._kernels import kernels
from .._readers._signal_and_noise import is_signal_and_noise
from .._schema import COLUMNS, config_sources, find_columns, recognise, wide_metrics
from ._rows import Taken, order_of_unit
from ._writer import CHECKPOINT, UNIT, Matrix, StoreWriter, UnitKey

_WHOLE = (pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64())
_REAL = (pl.Float32(), pl.Float64())
#: What is wrong with a file is found out, and said, on the other way.
_OTHER_WAY = (UnsupportedScan, ReadError, SchemaError, OSError)
#: Rows that show whether they come in runs.
_PEEKED = 4096
#: Cells that are laid out at a time where rows come in no order.
CELLS = 1 << 26
#: What gives rows a meaning that one matrix a metric cannot hold, or makes other columns of columns.
_LONG = {"value", "metric", "filter", "repeat", "cluster", "weight", "params_nonembedding"}


@dataclass(frozen=True)
class Plan:
    """Which columns of a wide table of instances mean what; tables with equal plans go together."""

    schema: tuple[tuple[str, pl.DataType], ...]
    outer: tuple[str, ...]
    """Theirs that name a checkpoint."""
    inner: tuple[str, ...]
    """Theirs that name a unit."""
    identity: str
    values: tuple[str, ...]
    """Metrics, in the order of slots."""
    extras: tuple[str, ...]
    """Theirs that may be kept beside the checkpoints."""
    every: tuple[str, ...]
    """All columns of metrics."""


def plan_of(
    schema: Mapping[str, pl.DataType], columns: Mapping[str, str] | None, metrics: Sequence[str] | None
) -> Plan | None:
    """How to scan a table, or None where it needs the way through data frames."""
    try:
        found = find_columns(schema, columns)
    except SchemaError:
        return None
    if (
        is_signal_and_noise(schema)
        or _LONG & found.keys()
        or not {"run", "task", "instance_id"} <= found.keys()
    ):
        return None
    if "config" not in found and config_sources(name for name in schema if name not in found.values()):
        return None
    every = wide_metrics(schema, found)
    values = sorted(name for name in every if metrics is None or name in metrics)
    extras = [name for name in schema if name not in every and name not in COLUMNS and name != "checkpoint"]
    if not values or not all(_is_key(ours, schema[theirs]) for ours, theirs in found.items()):
        return None
    if not all(schema[name] in (pl.String(), pl.Boolean(), *_WHOLE, *_REAL) for name in extras):
        return None
    return Plan(
        tuple(schema.items()),
        tuple(dict.fromkeys(found[name] for name in CHECKPOINT if name in found)),
        tuple(found[name] for name in UNIT if name in found),
        found["instance_id"],
        tuple(values),
        tuple(extras),
        tuple(every),
    )


def _is_key(ours: str, dtype: pl.DataType) -> bool:
    """Whether a column of this type is read value by value; others are no keys, or are read as a whole."""
    if ours not in (*CHECKPOINT, *UNIT, "instance_id"):
        return True
    if ours in ("tokens", "flops") and dtype in _REAL:
        return True
    return dtype in _WHOLE or (dtype == pl.String() and ours != "seed")


@dataclass(frozen=True)
class Reading:
    """Files whose matrices are being read while others are written."""

    scan: Any
    plan: Plan
    units: list[UnitKey]
    number: NDArray[np.uint32]
    mark: tuple[pl.DataFrame, int]
    """Checkpoints before theirs."""
    first: Future[list[dict[str, Any]]]
    """Matrices of the first checkpoints, mostly of all."""


def read_dense(
    writer: StoreWriter,
    paths: Sequence[Path],
    plan: Plan,
    columns: Mapping[str, str] | None,
    threads: int | None,
    pool: Executor,
) -> Reading | None:
    """Number the checkpoints of some files and begin to read their scores; None (and nothing is numbered) where they
    need the way through data frames.
    """
    mark = writer.mark()
    try:
        scan = kernels().InstanceScan(
            [str(path) for path in paths],
            outer=list(plan.outer),
            inner=list(plan.inner),
            identity=plan.identity,
            values=list(plan.values),
            extras=list(plan.extras),
            cells=CELLS,
            threads=threads,
        )
        units = _units(scan, plan, columns)
        number = _numbers(writer, scan, plan, columns)
    except _OTHER_WAY:
        writer.forget_checkpoints(mark)
        return None
    if units is None or number is None:
        writer.forget_checkpoints(mark)
        return None
    return Reading(scan, plan, units, number, mark, pool.submit(scan.matrices, number, threads=threads))


def add_dense(writer: StoreWriter, reading: Reading, taken: Taken, threads: int | None) -> int | None:
    """Add the scores of files that were read to the next commit; their rows, or None (and nothing is added since the
    last commit, and checkpoints numbered since are forgotten) where they need the way through data frames.
    """
    scan, units, number = reading.scan, reading.units, reading.number
    rows = 0
    for first in range(0, len(number), scan.at_once):
        try:
            found = (
                reading.first.result() if first == 0 else scan.matrices(number, first=first, threads=threads)
            )
        except _OTHER_WAY:
            writer.reset(reading.mark)
            return None
        matrices = [_matrix(one, units[one["unit"]], reading.plan) for one in _in_order(scan, units, found)]
        rows += sum(matrix.count() for matrix in matrices)
        writer.add_matrices(matrices)
    taken.rows += rows
    taken.notes.update(dict.fromkeys(_notes(scan, reading.plan)))
    return int(scan.rows)


def is_shuffled(path: Path, plan: Plan) -> bool:
    """Whether rows come in no order, so that every file may hold scores of every checkpoint."""
    try:
        rows = pl.read_parquet(path, columns=[*plan.outer, *plan.inner], n_rows=_PEEKED, glob=False)
    except (pl.exceptions.PolarsError, OSError):
        return False
    runs = rows.select(pl.struct(pl.all()).rle_id().max()).item() or 0
    return 2 * runs > rows.height


def _in_order(scan: Any, units: Sequence[UnitKey], found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By the file that has a unit first, then by its name."""
    first = scan.first_files
    return sorted(found, key=lambda matrix: (first[matrix["unit"]], order_of_unit(units[matrix["unit"]])))


def _matrix(found: Mapping[str, Any], unit: UnitKey, plan: Plan) -> Matrix:
    slots = [(name, None, None) for name in plan.values]
    return Matrix(
        unit,
        found["checkpoints"],
        pl.Series(found["instances"]),
        dict(zip(slots, found["scores"], strict=True)),
        {slot: mask for slot, mask in zip(slots, found["there"], strict=True) if mask is not None},
    )


def _units(scan: Any, plan: Plan, columns: Mapping[str, str] | None) -> list[UnitKey] | None:
    """Task, subtask and config of each unit; None where they are not told apart."""
    codes = np.array(scan.units, dtype=np.uint32).reshape(-1, len(plan.inner))
    table = _recognised(
        plan, dict(zip(plan.inner, scan.labels[len(plan.outer) :], strict=True)), codes, columns
    )
    table = table.select(
        (pl.col(name) if name in table.columns else pl.lit(None)).cast(pl.String).alias(name) for name in UNIT
    )
    if table["task"].null_count() or table.is_duplicated().any():
        return None
    return table.rows()


def _numbers(
    writer: StoreWriter, scan: Any, plan: Plan, columns: Mapping[str, str] | None
) -> NDArray[np.uint32] | None:
    """Number of each checkpoint in the store, new ones in the order of files; None where they are not told apart."""
    codes = np.array(scan.checkpoints, dtype=np.uint32).reshape(-1, len(plan.outer))
    table = _recognised(plan, dict(zip(plan.outer, scan.labels, strict=False)), codes, columns)
    table = table.select(
        (pl.col(name) if name in table.columns else pl.lit(None)).cast(COLUMNS[name]).alias(name)
        for name in CHECKPOINT
    )
    if table["run"].null_count() or table.is_duplicated().any():
        return None
    seen = np.array(scan.seen, dtype=np.uint32).reshape(-1, 2)
    dtypes = dict(plan.schema)
    pairs = table[seen[:, 1]].with_columns(
        pl.Series("__file", seen[:, 0]),
        *(
            _typed(name, labels, dtypes[name]).gather(np.array(code, dtype=np.uint32))
            for name, (labels, varying, code) in zip(plan.extras, scan.extras, strict=True)
            if not all(varying)
        ),
    )
    varies = [varies for _, varies, _ in scan.extras]
    files = range(len(varies[0]) if varies else int(seen[:, 0].max()) + 1)

    def kept(file: int) -> tuple[str, ...]:
        return tuple(name for name, varying in zip(plan.extras, varies, strict=True) if not varying[file])

    for names, group in groupby(files, key=kept):
        some = pairs.filter(pl.col("__file").is_in(list(group))).sort("__file", *CHECKPOINT)
        writer.checkpoint_ids(some.select(*CHECKPOINT, *names))
    return writer.checkpoint_ids(table)


def _recognised(
    plan: Plan, labels: Mapping[str, list[Any]], codes: NDArray[np.uint32], columns: Mapping[str, str] | None
) -> pl.DataFrame:
    """Rows of labels with our columns beside theirs."""
    dtypes = dict(plan.schema)
    known = {
        name: _typed(name, values, dtypes[name]).gather(codes[:, at])
        for at, (name, values) in enumerate(labels.items())
    }
    height = len(codes)
    table = pl.DataFrame(
        [
            known[name]
            if name in known
            # A wide table drops rows without a score.
            else pl.repeat(1 if name == plan.values[0] else None, height, dtype=dtype, eager=True).alias(name)
            for name, dtype in plan.schema
            if name == plan.values[0] or name not in plan.every
        ]
    )
    return recognise(table.lazy(), columns).collect()


def _typed(name: str, labels: list[Any], dtype: pl.DataType) -> pl.Series:
    return pl.Series(name, labels, dtype=pl.Int64() if dtype == pl.Boolean() else dtype).cast(dtype)


def _notes(scan: Any, plan: Plan) -> list[str]:
    ours = (*plan.inner, plan.identity)
    return [
        f"column {name} varies within a checkpoint and was left out"
        for name, (_, varies, _) in zip(plan.extras, scan.extras, strict=True)
        if any(varies) and name not in ours
    ]
