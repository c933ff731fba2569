"""`ingest`: scores from anywhere into a store, once each."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import polars as pl

from .._errors import ReadError, SchemaError
from .._kernels import kernels
from .._options import check_threads
from .._readers import Opened, ReadReport, lengthen, open_source, read
from .._readers._files import Found, find, head_of, kind_of
from .._readers._formats import claimed_by
from .._readers._remote import localise
from .._readers._tables import read_remote_table
from .._schema import predicate
from .._scores import Filter, Scores, open_scores
from ..engines import Engine
from ..engines._engine import as_engine
from ._dense import Plan, Reading, add_dense, is_shuffled, plan_of, read_dense
from ._manifest import SourceFile
from ._rows import Taken, add_rows, with_all
from ._writer import Added, Dtype, Settle, StoreWriter

#: Bytes of source files that are committed together. Boundaries depend on the files that are left alone, so that an
#: ingest that was killed goes on with the same commits.
BATCH_BYTES = 64 * 2**20

#: Rows of tables on the short way that are committed together, and most files of them. Files whose rows come in no
#: order go together however many rows they have: cut up, each checkpoint's scores would lie in all the parts.
BATCH_ROWS = 1 << 24
BATCH_FILES = 256

#: Whether tables of instances in Parquet go the short way; the other one gives the same store.
DENSE = True

Progress = Callable[[int, int], None]


@dataclass
class Ingested:
    """What an ingest did.

    Attributes
    ----------
    store : Path
    files, known : int
        Files that were ingested now, and those that the store held already.
    rows : int
        Rows read.
    added : Added
        What came to the store: scores, checkpoints, units, instances; cells it held already, and those settled.
    report : ReadReport
        What was left out of the files, and why.
    notes : list of str
    """

    store: Path
    files: int = 0
    known: int = 0
    rows: int = 0
    added: Added = field(default_factory=Added)
    report: ReadReport = field(default_factory=ReadReport)
    notes: list[str] = field(default_factory=list)

    def summary(self) -> list[str]:
        """Plain lines."""
        added = self.added
        lines = []
        if self.files or self.known:
            lines.append(
                f"ingested {_plural(self.files, 'file')}"
                + (f"; {_plural(self.known, 'file')} known already" if self.known else "")
            )
        lines.append(
            f"{_plural(self.rows, 'row')} read, {_plural(added.scores, 'score')} stored: "
            f"{_plural(added.checkpoints, 'new checkpoint')}, {_plural(added.units, 'new unit')}, "
            f"{_plural(added.instances, 'new instance')}"
            + (f", {_plural(added.results, 'result row')}" if added.results else "")
        )
        if added.duplicates:
            lines.append(f"{_plural(added.duplicates, 'score')} were there already with the same value")
        if added.settled:
            lines.append(f"{_plural(added.settled, 'score')} differed from those there and were settled")
        left_out = [line for line in self.report.summary() if not line.startswith("read ")]
        return [*lines, *left_out, *(note for note in self.notes if note not in left_out)]

    def __str__(self) -> str:
        return "\n".join(self.summary())


def ingest(
    source: Scores,
    store: str | os.PathLike[str],
    *,
    dtype: Dtype = "auto",
    columns: Mapping[str, str] | None = None,
    metrics: Sequence[str] | None = None,
    where: Filter = None,
    duplicates: Settle = "raise",
    strict: bool = False,
    progress: Progress | None = None,
    engine: str | Engine = "local",
    threads: int | None = None,
) -> Ingested:
    """Put scores into a store: a directory with one dense checkpoint x instance matrix a task and metric.

    A store is made where there is none, and grows otherwise: new checkpoints, tasks and instances are added, scores
    that it holds already are counted. Files are remembered, so that ingesting them again does nothing. An ingest that
    is stopped, however, leaves whole commits; the next one goes on, to the same bytes as one that was never stopped.

    Parameters
    ----------
    source, columns, where, strict, threads
        As in `snr`.
    store
        Directory of the store.
    dtype
        What scores other than 0 and 1 (which take a bit) are kept in. ``"auto"``: float32 where that changes no score,
        else float64. ``"float32"`` rounds them, ``"float64"`` never does.
    metrics
        The only metrics to take.
    duplicates
        Where the store, or the source itself, has another value of the same score: ``"raise"``, or take the
        ``"first"`` or the ``"last"`` that was ingested.
    progress
        Called with (files done, files in all).
    engine
        Where the files of harnesses are read: ``"local"``, ``"ray"``, or one of `signoise.engines`, whose workers find
        them at the same paths. Tables are read, and everything is written, by this process; the store has the same
        bytes.

    Returns
    -------
    Ingested
        Counts, and what was left out; ``print`` it for a summary.

    Raises
    ------
    StoreError
        If another process is writing to the store, if the directory holds something else, or if it is damaged.
    DuplicateKeyError
        If a score differs from the one in the store; nothing of that commit is kept.
    ReadError, SchemaError
        As in `scan_scores`.

    Examples
    --------
    >>> import os, tempfile
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=1, recipes=2, params=(150_000_000,), checkpoints=2, instances=30)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     done = sn.ingest(scores, os.path.join(folder, "store"))
    ...     (done.added.checkpoints, done.added.instances)
    (4, 30)
    """
    check_threads(threads)
    readers = as_engine(engine)
    done = Ingested(Path(store))
    done.report.strict = strict
    choice = _Choice(columns, metrics, where)
    with StoreWriter(done.store, dtype=dtype, duplicates=duplicates, threads=threads) as writer:
        done.added = writer.added
        taken = Taken()
        if _is_paths(source):
            _ingest_files(writer, cast("Any", source), choice, done, taken, progress, readers, threads)
        else:
            frame, _ = open_scores(source, columns)
            add_rows(writer, choice.rows(frame), taken, duplicates=duplicates)
            writer.commit()
        done.rows += taken.rows
        done.added.duplicates += taken.duplicates
        done.notes += taken.notes
    done.report.warn()
    return done


def _is_paths(source: Any) -> bool:
    if isinstance(source, (str, os.PathLike)):
        return True
    if hasattr(source, "__arrow_c_stream__") or isinstance(source, (pl.DataFrame, pl.LazyFrame)):
        return False
    return isinstance(source, Iterable) and all(isinstance(item, (str, os.PathLike)) for item in source)


@dataclass(frozen=True)
class _Choice:
    """Which rows to take."""

    columns: Mapping[str, str] | None
    metrics: Sequence[str] | None
    where: Filter

    def label(self) -> str | None:
        """The choice as text; a file counts as ingested for the choice it was ingested with."""
        chosen = {
            "columns": dict(sorted(self.columns.items())) if self.columns else None,
            "metrics": sorted(self.metrics) if self.metrics is not None else None,
            "where": None if self.where is None else str(self.where),
        }
        chosen = {name: value for name, value in chosen.items() if value is not None}
        return json.dumps(chosen) if chosen else None

    def rows(self, frame: pl.LazyFrame) -> pl.DataFrame:
        """The chosen rows of a table with our columns."""
        condition = predicate(self.where, "where", frame.collect_schema())
        if condition is not None:
            frame = frame.filter(condition)
        if self.metrics is not None:
            frame = frame.filter(pl.col("metric").is_in(list(self.metrics)))
        return frame.collect()


def _ingest_files(
    writer: StoreWriter,
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    choice: _Choice,
    done: Ingested,
    taken: Taken,
    progress: Progress | None,
    engine: Engine,
    threads: int | None,
) -> None:
    with localise(source, done.report) as place:
        own = writer.path.resolve()
        files = [file for file in place.files if own not in file.path.resolve().parents]
        if not files and not place.tables:
            raise ReadError(f"{source}: there are no files to ingest")
        sources = _fingerprints(files, choice, threads)
        job = _Job(writer, choice, sources, done, taken, progress, len(files), engine, threads)
        job.known([file for file in files if writer.holds(sources[file.label])])
        tables, dumps = _apart(files, done.report)
        # Every file of a harness is looked at: what one says of itself may stand in another.
        if any(not writer.holds(sources[file.label]) for file in dumps):
            _ingest_dumps(job, dumps)
        new = [file for file in tables if not writer.holds(sources[file.label])]
        _ingest_tables(job, new, lone=len(files) == 1)
        for remote in place.tables:
            table = read_remote_table(remote, choice.columns, done.report)
            if table is not None:
                job.add(choice.rows(table))
                writer.commit()
    if not (done.files or done.known or taken.rows):
        found = [*done.report.ignored_lines(), *(f"{file}: {reason}" for file, reason in done.report.skipped)]
        raise ReadError(f"nothing could be ingested from {len(files)} files: {'; '.join(found[:5])}")


@dataclass
class _Job:
    """One call of `ingest` on files."""

    writer: StoreWriter
    choice: _Choice
    sources: Mapping[str, SourceFile]
    done: Ingested
    taken: Taken
    progress: Progress | None
    total: int
    engine: Engine
    threads: int | None = None
    finished: int = 0

    def known(self, files: Sequence[Found]) -> None:
        """Files that the store holds."""
        self.done.known = len(files)
        self.advance(len(files))
        for label, source in self.sources.items():
            if self.writer.changed(source) and not self.writer.holds(source):
                self.done.notes.append(
                    f"{label} has changed since it was ingested: scores that are new in it are added"
                )

    def advance(self, files: int) -> None:
        """So many files more are done."""
        self.finished += files
        if self.progress is not None:
            self.progress(self.finished, self.total)

    def add(self, rows: pl.DataFrame) -> None:
        """Rows of the score table, already chosen."""
        add_rows(self.writer, rows, self.taken, duplicates=self.writer.duplicates)

    def commit(self, files: Iterable[Found], mark: tuple[pl.DataFrame, int] | None = None) -> None:
        """Everything added so far; all scores of these files are in the store now."""
        listed = [self.sources[file.label] for file in files]
        fresh = [source for source in listed if not self.writer.holds(source)]
        self.writer.commit(fresh, mark=mark)
        self.done.files += len(fresh)
        self.advance(len(fresh))


def _apart(files: Sequence[Found], report: ReadReport) -> tuple[list[Found], list[Found]]:
    """Tables, and files of harnesses."""
    claimed = {file.label: _is_claimed(file, report) for file in files}
    return (
        [file for file in files if claimed[file.label] is False],
        [file for file in files if claimed[file.label]],
    )


def _is_claimed(file: Found, report: ReadReport) -> bool | None:
    """Whether a harness wrote the file; None if it cannot be opened, which is reported."""
    try:
        return claimed_by(file)[0] is not None
    except OSError as error:
        report.skip(file.label, f"cannot be opened: {error.strerror or error}")
        return None


def _ingest_dumps(job: _Job, files: Sequence[Found]) -> None:
    """Files of harnesses, batch by batch, checked against the harnesses' own numbers, which come first.

    A commit ends where no file is half read, so that what is left after it does not depend on it.
    """
    report = job.done.report
    opened = open_source([file.path for file in files], strict=report.strict)
    job.done.report = opened.report
    _tell(opened.report, report, {})
    by_path = {os.path.realpath(file.path): file for file in files}
    planned = [(one, by_path[os.path.realpath(one.part.file.path)]) for one in opened.planned]
    planned = [(one, file) for one, file in planned if not job.writer.holds(job.sources[file.label])]
    opened.planned = [one for one, _ in planned]
    new = [file for file in _that_were_read(opened, by_path) if not job.writer.holds(job.sources[file.label])]
    if opened.results is not None and new:
        # Before any file counts as ingested: some hold results and instances both.
        job.add(job.choice.rows(with_all(opened.results).lazy()))
        job.writer.commit()
    left = Counter(file.label for _, file in planned)
    begun: dict[str, Found] = {}
    for batch in opened.batches(target_bytes=BATCH_BYTES, engine=job.engine):
        job.add(job.choice.rows(with_all(lengthen(batch)).lazy()))
        for part in batch.parts:
            file = by_path[os.path.realpath(part.file.path)]
            begun[file.label] = file
            left[file.label] -= 1
        if all(left[label] == 0 for label in begun):
            job.commit(begun.values())
            begun.clear()
    job.commit(_that_were_read(opened, by_path))


def _that_were_read(opened: Opened, by_path: Mapping[str, Found]) -> list[Found]:
    """Files that were neither skipped nor passed over."""
    unread = {label for label, _ in opened.report.skipped}
    unread |= {label for labels in opened.report.ignored.values() for label in labels}
    paths = {os.path.realpath(file.path) for file in opened.files if file.label not in unread}
    return [file for path, file in by_path.items() if path in paths]


def _ingest_tables(job: _Job, files: Sequence[Found], *, lone: bool) -> None:
    """Tables in path order, some at a time: scores of the next ones are read while those of the last are written."""
    waiting: tuple[Reading, list[Found]] | None = None
    with ThreadPoolExecutor(1) as pool:
        for plan, batch in _planned(files, job.choice, job.sources):
            reading = _reading(job, plan, batch, pool)
            if waiting is not None and not _add_read(job, *waiting, reading, lone=lone):
                reading = _reading(job, plan, batch, pool)  # numbers have changed
            waiting = None
            if reading is None:
                _add_frames(job, batch, lone=lone)
            else:
                waiting = reading, batch
        if waiting is not None:
            _add_read(job, *waiting, None, lone=lone)


def _reading(job: _Job, plan: Plan | None, batch: Sequence[Found], pool: Executor) -> Reading | None:
    """Files on the short way; None for the other one."""
    if plan is None:
        return None
    paths = [file.path for file in batch]
    return read_dense(job.writer, paths, plan, job.choice.columns, job.threads, pool)


def _add_read(job: _Job, reading: Reading, batch: list[Found], after: Reading | None, *, lone: bool) -> bool:
    """Add and commit what was read, without the checkpoints of what comes `after`; False if it went the other way."""
    rows = add_dense(job.writer, reading, job.taken, job.threads)
    if rows is None:
        _add_frames(job, batch, lone=lone)
        return False
    job.done.report.files["table"] += len(batch)
    job.done.report.rows += rows
    job.commit(batch, None if after is None else after.mark)
    return True


def _add_frames(job: _Job, batch: Sequence[Found], *, lone: bool) -> None:
    """Files through data frames, and a commit."""
    kept: list[Found] = []
    for file in batch:
        frame = _read_table(file, job.choice, job.done.report, lone=lone)
        if frame is not None:
            job.add(job.choice.rows(frame))
            kept.append(file)
    job.commit(kept)
    job.advance(len(batch) - len(kept))


def _planned(
    files: Sequence[Found], choice: _Choice, sources: Mapping[str, SourceFile]
) -> Iterator[tuple[Plan | None, list[Found]]]:
    """Consecutive files that go one way, as many as are committed together."""
    waiting: list[Found] = []
    batch: list[Found] = []
    shared: Plan | None = None
    shuffled = False
    total = 0
    for file in files:
        plan, rows = _dense_plan(file, choice)
        full = total + rows > BATCH_ROWS and not shuffled
        if batch and (plan != shared or full or len(batch) == BATCH_FILES):
            yield shared, batch
            batch, total = [], 0
        if plan is None:
            waiting.append(file)
            continue
        yield from ((None, some) for some in _batches(waiting, sources))
        waiting = []
        if not batch:
            shared, shuffled = plan, is_shuffled(file.path, plan)
        batch.append(file)
        total += rows
    if batch:
        yield shared, batch
    yield from ((None, some) for some in _batches(waiting, sources))


def _dense_plan(file: Found, choice: _Choice) -> tuple[Plan | None, int]:
    """How the short way goes for a file, and its rows; None for the other way."""
    if not DENSE or choice.where is not None or kind_of(file, head_of(file))[0] != "parquet":
        return None, 0
    try:
        plan = plan_of(pl.read_parquet_schema(file.path), choice.columns, choice.metrics)
        if plan is None:
            return None, 0
        rows = int(pl.scan_parquet(file.path, glob=False).select(pl.len()).collect().item())
    except (pl.exceptions.PolarsError, OSError):
        return None, 0
    return (plan, rows) if rows else (None, 0)


def _fingerprints(files: Sequence[Found], choice: _Choice, threads: int | None) -> dict[str, SourceFile]:
    found = kernels().file_checksums([str(file.path) for file in files], whole=False, threads=threads)
    return {
        file.label: SourceFile(source=file.label, bytes=size, xxh3=checksum, selection=choice.label())
        for file, (size, checksum) in zip(files, found, strict=True)
    }


def _batches(files: Sequence[Found], sources: Mapping[str, SourceFile]) -> Iterator[list[Found]]:
    """Consecutive files up to a size."""
    batch: list[Found] = []
    total = 0
    for file in files:
        size = sources[file.label]["bytes"]
        if batch and total + size > BATCH_BYTES:
            yield batch
            batch, total = [], 0
        batch.append(file)
        total += size
    if batch:
        yield batch


def _read_table(file: Found, choice: _Choice, report: ReadReport, *, lone: bool) -> pl.LazyFrame | None:
    """A table with our columns; None where it cannot be read, which is reported."""
    kind, reason = kind_of(file, head_of(file))
    if kind == "empty":
        report.skip(file.label, reason)
        return None
    if kind == "other":
        report.ignore(file.label, reason)
        return None
    name = find([file.path])[0].label
    try:
        frame, found = read([file.path], columns=choice.columns, strict=report.strict)
    except (ReadError, SchemaError, OSError) as error:
        if lone or report.strict:
            raise
        report.skip(file.label, str(error).rpartition(f"skipped {name}: ")[2])
        return None
    _tell(report, found, {name: file})
    return frame


def _tell(report: ReadReport, found: ReadReport, labels: Mapping[str, Found]) -> None:
    """Add what one read left out to what is known, under the names of the whole ingest."""
    report.add(found, lambda label: labels[label].label if label in labels else label)


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}{'s' * (count != 1)}"


__all__ = ["Ingested", "ingest"]
