"""Instance rows of dumps in batches that fit in memory, exact duplicates dropped, and as rows of the score table."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from .._schema import COLUMNS
from ..engines import Engine
from ..engines._engine import Local
from ._dump import LABELS, Batch, Dump, FetchingDump, Part
from ._elsewhere import Chunk, load_elsewhere
from ._files import is_packed_by_name
from ._plan import IDENTITY, Planned, identity, source_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._report import ReadReport

TARGET_BYTES = 64 * 2**20
"""Size of the files of a batch: enough for many small files at once, and little memory."""

PACKED = 8
"""How many times larger text is than its compressed file, roughly."""

_KEY = ("instance_id", "filter", "repeat", "cluster")
_EXACT = "rows that repeat another one exactly (a resumed or concatenated run)"


def batches(
    plan: Sequence[Planned],
    report: ReadReport,
    *,
    together: Sequence[str] = IDENTITY,
    target_bytes: int = TARGET_BYTES,
    engine: Engine | None = None,
    threads: int | None = None,
) -> Iterator[Batch]:
    """Load what is planned, about `target_bytes` of files at a time.

    Parts that are equal in the labels of `together` (default: all, ``source`` apart) come in one batch, however large,
    so that what is counted within a batch is final. Rows that repeat another one exactly are dropped and counted in
    `report`; rows of one key with different scores are kept, and said. Where the reader can, the next batch is fetched
    while one is worked on, unless there is but one thread. Another engine than this process loads batches side by side.
    """
    chunks = _chunks(plan, together, target_bytes)
    if engine is not None and not isinstance(engine, Local):
        yield from _elsewhere(plan, chunks, report, engine)
        return
    for batch in map(_loaded, chunks) if threads == 1 else _loaded_ahead(chunks, threads):
        yield without_repeats(batch, report)


def _elsewhere(
    plan: Sequence[Planned], chunks: Iterator[list[Planned]], report: ReadReport, engine: Engine
) -> Iterator[Batch]:
    dumps = list({id(planned.dump): planned.dump for planned in plan}.values())
    number = {id(dump): at for at, dump in enumerate(dumps)}

    def chunk(planned: list[Planned]) -> Chunk:
        dump, parts = _of(planned)
        return Chunk(number[id(dump)], parts, sum(map(_size, parts)))

    return load_elsewhere(dumps, map(chunk, chunks), report, engine)


def _loaded(chunk: list[Planned]) -> Batch:
    return load(*_of(chunk))


def load(dump: Any, parts: Sequence[Part]) -> Batch:
    """The rows of some parts, on this thread alone."""
    return dump.load(parts, dump.fetch(parts, threads=1)) if _fetches(dump) else dump.load(parts)


def _loaded_ahead(chunks: Iterator[list[Planned]], threads: int | None) -> Iterator[Batch]:
    """Batches in order, each fetched while the one before is worked on; only `Dump.load` says anything to a report."""
    stop = threading.Event()
    reader = ThreadPoolExecutor(1, thread_name_prefix="signoise-read")

    def begin(chunk: list[Planned]) -> tuple[Any, list[Part], Future[Any] | None]:
        dump, parts = _of(chunk)
        if _fetches(dump):
            return dump, parts, reader.submit(dump.fetch, parts, threads=threads, stop=stop.is_set)
        return dump, parts, None

    try:
        begun = map(begin, chunks)
        ahead = next(begun, None)
        while ahead is not None:
            (dump, parts, fetched), ahead = ahead, next(begun, None)
            yield dump.load(parts) if fetched is None else dump.load(parts, fetched.result())
    finally:
        stop.set()
        reader.shutdown(cancel_futures=True)


def _of(chunk: list[Planned]) -> tuple[Any, list[Part]]:
    return chunk[0].dump, [planned.part for planned in chunk]


def _fetches(dump: Dump) -> bool:
    return isinstance(dump, FetchingDump)


def _chunks(plan: Sequence[Planned], together: Sequence[str], target_bytes: int) -> Iterator[list[Planned]]:
    units: dict[tuple[Any, ...], list[Planned]] = {}
    for planned in plan:
        labels = planned.part.labels
        units.setdefault((id(planned.dump), *map(labels.get, together)), []).append(planned)
    chunk: list[Planned] = []
    size = 0
    for unit in units.values():
        if chunk and (size >= target_bytes or chunk[0].dump is not unit[0].dump):
            yield chunk
            chunk, size = [], 0
        chunk += unit
        size += sum(_size(planned.part) for planned in unit)
    if chunk:
        yield chunk


def _size(part: Part) -> int:
    return part.size * (PACKED if is_packed_by_name(part.file.name) else 1)


def units_of(parts: Sequence[Part]) -> NDArray[np.uint32]:
    """A number for each part, the same for equal labels."""
    numbers: dict[tuple[Any, ...], int] = {}
    return np.array([numbers.setdefault(identity(part), len(numbers)) for part in parts], dtype=np.uint32)


def known_metrics(batch: Batch) -> NDArray[np.bool_]:
    """Which part knows which metric, ``(n_parts, n_metrics)``."""
    known = np.zeros((len(batch.parts), len(batch.metrics)), dtype=bool)
    if batch.known is not None:
        for at, names in enumerate(batch.known):
            known[at] = [name in names for name in batch.metrics]
        return known
    part = batch.rows["part"].to_numpy()
    for column, name in enumerate(batch.metrics):
        known[part[batch.rows[name].is_not_null().to_numpy()], column] = True
    return known


def without_repeats(batch: Batch, report: ReadReport) -> Batch:
    """The batch without rows that repeat another one exactly; conflicts are kept and told of."""
    rows = batch.rows
    key = [name for name in _KEY if name in rows.columns and rows[name].null_count() < rows.height]
    units = units_of(batch.parts)[rows["part"].to_numpy()]
    if _all_distinct(batch, units, key):
        batch.distinct = True
        return batch
    keys = rows.select(key).insert_column(0, pl.Series("__unit", units))
    keys = keys.with_row_index("__row")
    doubled = keys.filter(keys.select("__unit", *key).is_duplicated())
    values = [*batch.metrics, *batch.weights.values()]
    together = doubled.hstack(rows[doubled["__row"]].select("part", "line", *values))
    first = together.unique(["__unit", *key, *values], keep="first", maintain_order=True)
    repeats = together.join(first.select("__row"), on="__row", how="anti", maintain_order="left")
    _report_each(repeats, batch, report)
    batch.distinct = _report_conflicts(first, key, batch, report)
    if not repeats.height:
        return batch
    keep = np.ones(rows.height, dtype=bool)
    keep[repeats["__row"].to_numpy()] = False
    kept = rows.filter(pl.Series(keep))
    return Batch(batch.parts, kept, batch.metrics, batch.weights, batch.known, batch.distinct)


def _all_distinct(batch: Batch, units: NDArray[np.uint32], key: Sequence[str]) -> bool:
    """Whether no two rows have equal keys; one number stands for each key where that is enough."""
    number, size = units.astype(np.int64), int(units.max(initial=0)) + 1
    for name in key:
        repeat = name == "repeat"
        code = batch.rows[name].fill_null(-1).cast(pl.Int64).to_numpy() + 1 if repeat else batch.codes(name)
        many = int(code.max(initial=0)) + 1
        size *= many
        if size >= 2**62 or int(code.min(initial=0)) < 0:
            return batch.rows.select(key).insert_column(0, pl.Series("__unit", units)).n_unique() == len(
                units
            )
        number = number * many + code
    if size <= 8 * len(units):  # a small table, faster than hashes
        return bool(np.bincount(number).max(initial=0) <= 1)
    return pl.Series(number).n_unique() == len(units)


def _report_each(repeats: pl.DataFrame, batch: Batch, report: ReadReport) -> None:
    shown = repeats.head(3)
    for part, line, instance in shown.select("part", "line", "instance_id").iter_rows():
        report.drop(_EXACT, source_of(batch.parts[part]), line or 0, found=f"instance {instance}")
    if repeats.height > shown.height:
        part = repeats["part"][shown.height]
        report.drop(_EXACT, source_of(batch.parts[part]), count=repeats.height - shown.height)


def _report_conflicts(rows: pl.DataFrame, key: list[str], batch: Batch, report: ReadReport) -> bool:
    """Keys left with several rows, where parts that know a metric give it different values.

    Returns whether no metric has two rows of one key: rows of parts that know different metrics do no harm.
    """
    if not batch.metrics:
        return True
    known = known_metrics(batch)[rows["part"].to_numpy()]
    rows = rows.with_columns(
        pl.Series(f"__knows {name}", known[:, at]) for at, name in enumerate(batch.metrics)
    )
    values = [pl.col(name).filter(pl.col(f"__knows {name}")) for name in batch.metrics]
    shared = rows.group_by("__unit", *key, maintain_order=True).agg(
        pl.col("part").get(1, null_on_oob=True),
        pl.col("line").get(1, null_on_oob=True),
        pl.any_horizontal(value.n_unique() > 1 for value in values).alias("__differs"),
        pl.any_horizontal(value.len() > 1 for value in values).alias("__several"),
    )
    conflicts = shared.filter("__differs")
    shown = conflicts.head(3)
    for part, line, instance in shown.select("part", "line", "instance_id").iter_rows():
        report.conflict(source_of(batch.parts[part]), line or 0, f"instance {instance}")
    report.conflicts.count += conflicts.height - shown.height
    return not shared["__several"].any()


def filled_labels(parts: Sequence[Part]) -> list[str]:
    """Labels that any part has, in order; those of the usual key always."""
    always = ("run", "step", "task", "source")
    return [
        name for name in LABELS if name in always or any(part.labels.get(name) is not None for part in parts)
    ]


def labels_frame(parts: Sequence[Part], names: Sequence[str]) -> pl.DataFrame:
    """One row for each part."""
    return pl.DataFrame({name: pl.Series(label_values(parts, name), dtype=LABELS[name]) for name in names})


def label_values(parts: Sequence[Part], name: str) -> list[Any]:
    """What each part has for a label."""
    return [source_of(part) if name == "source" else part.labels.get(name) for part in parts]


def lengthen(batch: Batch, labels: Sequence[str] | None = None) -> pl.DataFrame:
    """Rows of the score table: one for each instance and metric that its part knows.

    Parameters
    ----------
    batch
    labels
        Which of `LABELS` to give columns to; default: those that the parts of the batch fill.
    """
    rows = batch.rows
    names = filled_labels(batch.parts) if labels is None else list(labels)
    shared = labels_frame(batch.parts, names)
    part = rows["part"].to_numpy()
    own = [name for name in ("filter", "instance_id", "repeat", "cluster") if name in rows.columns]
    known = known_metrics(batch)
    pieces = []
    for at, metric in enumerate(batch.metrics):
        everywhere = bool(known[:, at].all())
        mine = rows if everywhere else rows.filter(pl.Series(known[part, at]))
        weight = pl.col(batch.weights[metric]) if metric in batch.weights else pl.lit(None, dtype=pl.Float64)
        pieces.append(
            mine.select(
                "part",
                *own,
                pl.lit(metric).alias("metric"),
                pl.col(metric).cast(pl.Float64).alias("value"),
                weight.fill_null(1.0).cast(pl.Float64).alias("weight"),
            )
        )
    if not pieces:
        pieces = [rows.clear().select("part", *own).with_columns(metric=pl.lit(""), value=0.0, weight=1.0)]
    long = pl.concat(pieces)
    long = long.hstack(shared[long["part"]])
    order = [name for name in COLUMNS if name in long.columns]
    return long.select(pl.col(name).cast(COLUMNS[name]) for name in order)
