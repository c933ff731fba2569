"""What every verb does first: take scores in any form, filter them, and bring them to one row per checkpoint."""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import polars as pl

from ._duplicates import check_duplicates, settled_or_doubled
from ._errors import RESULTS_TAKEN, DroppedRowsWarning, MixedKeyWarning, ReadError, SchemaError
from ._forks import note_work
from ._kernels import kernels
from ._no_rows import NoRowsLeft, no_rows_left
from ._options import check_threads
from ._schema import COLUMNS, KEY, did_you_mean, predicate, recognise
from ._segments import segment_offsets
from ._whole_file import system_error

if TYPE_CHECKING:
    from ._duplicates import Duplicates
    from ._encode import Encoded
    from ._readers import ReadReport, Spool

Scores: TypeAlias = (
    "pl.DataFrame | pl.LazyFrame | str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Any"
)
"""A score table: a Polars frame, anything with ``__arrow_c_stream__``, a path, a glob or a list of paths; a score store
or its path."""
Filter: TypeAlias = pl.Expr | str | None
Groups: TypeAlias = Mapping[str, str | Sequence[str]] | None


@dataclass(frozen=True)
class Table:
    """Result rows of a score table, and what it took to get them."""

    frame: pl.DataFrame
    notes: list[str] = field(default_factory=list)
    report: ReadReport | None = None


def open_paths(
    scores: Scores,
    columns: Mapping[str, str] | None = None,
    *,
    strict: bool = False,
    spool: Spool | None = None,
) -> Any:
    """Paths as `Opened`, dumps planned and not yet loaded; any other form as it is."""
    if isinstance(scores, (str, os.PathLike)) or (
        not hasattr(scores, "__arrow_c_stream__")
        and isinstance(scores, Iterable)
        and all(isinstance(item, (str, os.PathLike)) for item in scores)
    ):
        from ._readers import open_source

        return open_source(cast("Any", scores), columns=columns, strict=strict, spool=spool)
    return scores


def open_scores(
    scores: Scores, columns: Mapping[str, str] | None = None, *, strict: bool = False
) -> tuple[pl.LazyFrame, ReadReport | None]:
    """Any form of scores as a LazyFrame with our columns; a report where files were read."""
    note_work()
    from ._store._verbs import StoreReport, as_store, rows

    if (store := as_store(scores)) is not None:
        return rows(store), StoreReport(store)
    if isinstance(scores, pl.DataFrame):
        frame = scores.lazy()
    elif isinstance(scores, pl.LazyFrame):
        frame = scores
    elif hasattr(scores, "__arrow_c_stream__"):
        frame = pl.DataFrame(cast("Any", scores)).lazy()
    else:
        from ._readers import Opened

        opened = open_paths(scores, columns, strict=strict)
        if isinstance(opened, Opened):
            return opened.frame(), opened.report
        raise SchemaError(
            f"scores must be a Polars frame, a path or an object with __arrow_c_stream__ (pandas, pyarrow, DuckDB), "
            f"got {type(scores).__name__}"
        )
    return recognise(frame, columns), None


def open_filtered(
    scores: Scores, columns: Mapping[str, str] | None, where: Filter, *, strict: bool
) -> tuple[pl.LazyFrame, pl.Schema]:
    """Rows that satisfy `where`, for verbs that go on choosing among them, and the columns of the table."""
    frame, report = open_scores(scores, columns, strict=strict)
    if report is not None:
        report.warn(stacklevel=5)
    schema = frame.collect_schema()
    condition = predicate(where, "where", schema)
    return (frame if condition is None else frame.filter(condition)), schema


def load_instances(
    scores: Scores,
    *,
    columns: Mapping[str, str] | None = None,
    where: Filter = None,
    metrics: Sequence[str] | None = None,
    use: Sequence[pl.Expr | str] = (),
    strict: bool = False,
    threads: int | None = None,
) -> tuple[pl.DataFrame, list[str]]:
    """Instance rows, filtered; result rows where there are no instances at all."""
    rows, _ = rows_of(
        scores, columns, where, use, metrics=metrics, strict=strict, threads=threads, instances=True
    )
    if "instance_id" not in rows.columns or rows["instance_id"].null_count() == rows.height:
        return rows, []
    results = rows["instance_id"].null_count()
    notes = [f"{results} result rows beside instance rows were left out"] if results else []
    return rows.filter(pl.col("instance_id").is_not_null()), notes


def load(
    scores: Scores,
    *,
    columns: Mapping[str, str] | None = None,
    where: Filter = None,
    groups: Groups = None,
    use: Sequence[pl.Expr | str] = (),
    keep_all: bool = False,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> Table:
    """Result rows with our columns, filtered; instance rows are averaged first.

    Parameters
    ----------
    scores, columns, where, groups
        As in every verb.
    use
        Further columns, or expressions over them, that the verb needs. Where one varies among the instances of a
        checkpoint, instances are averaged apart for each of its values.
    keep_all
        Keep every column of the table; what varies below the level of a row is null there.
    duplicates
        What to do where one key carries different values, for rows that are averaged here. All others are left to
        `encode`.
    """
    check_duplicates(duplicates)
    rows, report = rows_of(scores, columns, where, use, keep_all=keep_all, strict=strict, threads=threads)
    notes: list[str] = []
    if "instance_id" in rows.columns and rows["instance_id"].null_count() < rows.height:
        from ._aggregate import results_from_instances

        named = [] if keep_all else [name for item in use for name in _named(item, rows.schema)]
        rows, more = results_from_instances(
            rows, split=list(dict.fromkeys(named)), duplicates=duplicates, threads=threads
        )
        notes += more
    if groups:
        rows, more = merge_tasks(rows, groups, duplicates=duplicates, threads=threads)
        notes += more
    return Table(rows, notes, report)


def rows_of(
    scores: Scores,
    columns: Mapping[str, str] | None,
    where: Filter,
    use: Sequence[pl.Expr | str] = (),
    *,
    metrics: Sequence[str] | None = None,
    keep_all: bool = False,
    strict: bool = False,
    threads: int | None = None,
    instances: bool = False,
    narrow: Callable[[pl.LazyFrame], pl.LazyFrame] | None = None,
) -> tuple[pl.DataFrame, ReadReport | None]:
    """Rows that satisfy `where`, with our columns and those in `use`.

    Of a store these are scores per checkpoint, unless `instances` are asked for or the filter speaks of them. `narrow`
    may leave rows out before they are loaded, and raises `NoRowsLeft` where it finds none.
    """
    from ._store._verbs import StoreReport, as_store, speaks_of_instances
    from ._store._verbs import scores as stored_scores

    check_threads(threads)
    if (store := as_store(scores)) is not None and not (instances or speaks_of_instances(where, use)):
        stored, notes = stored_scores(store, threads)
        warn_notes(notes, stacklevel=6)
        frame = stored.lazy()
        report: ReadReport | None = StoreReport(store)
    else:
        frame, report = open_scores(scores if store is None else store, columns, strict=strict)
    schema = frame.collect_schema()
    names = schema.names()
    condition = predicate(where, "where", schema)
    everything = frame
    if condition is not None:
        frame = frame.filter(condition)
    if metrics is not None:
        frame = frame.filter(pl.col("metric").is_in(list(metrics)))
    wanted = dict.fromkeys([*KEY, "value", "weight", "stderr", "n", "source"])
    for item in use:
        asked = _named(item, schema)
        # Said here, where all columns are known; our own may be absent, and then it depends on the verb.
        unknown = [name for name in asked if name not in schema and name not in COLUMNS]
        if unknown:
            raise SchemaError(
                f"the table has no column {unknown[0]!r}{did_you_mean(unknown[0], names)} (it has {', '.join(names)})"
            )
        wanted.update(dict.fromkeys(asked))
    chosen = names if keep_all else [name for name in wanted if name in names]
    frame = frame.select(chosen)
    try:
        if narrow is not None:
            frame = narrow(frame)
        rows = collect(frame, in_memory=isinstance(scores, pl.DataFrame) or store is not None)
        if rows.height == 0:
            raise NoRowsLeft
    except NoRowsLeft:
        raise SchemaError(no_rows_left(where, metrics, everything)) from None
    if report is not None:
        report.warn(stacklevel=5)
    return rows, report


def no_instances(who: str) -> str:
    """The message where instances are needed and none are there; `who` says what needs them."""
    return (
        f"{who}, and these scores have none (no instance_id): read the samples of the harness beside its results, or "
        "store them with ingest"
    )


def _named(item: pl.Expr | str, schema: pl.Schema) -> list[str]:
    """Columns of a table that a name or an expression speaks of."""
    if isinstance(item, str):
        return [item]
    if item.meta.has_multiple_outputs():
        return pl.DataFrame(schema=schema).select(item).columns
    return item.meta.root_names()


def constant_or_null(names: Iterable[str]) -> list[pl.Expr]:
    """Aggregations that keep what is the same in all rows of a group: any one of several values would be a lie."""
    return [
        pl.when(pl.col(name).n_unique() == 1).then(pl.col(name).first()).otherwise(None).alias(name)
        for name in names
    ]


def collect(frame: pl.LazyFrame, *, in_memory: bool = False) -> pl.DataFrame:
    """The rows of a table; a column that cannot be read as what it must hold is said by name."""
    note_work()
    with column_errors():
        # Streaming would cut a table that is in memory already into pieces, and every column copied to join them.
        return frame.collect(engine="in-memory" if in_memory else "auto")


_UNREADABLE = (
    "the files behind this table could not be read to their end: they changed since then, or are damaged"
)
#: How Polars speaks of Parquet and Arrow files that are not what their footers say.
_OF_DAMAGE = ("out of specification", "out-of-spec", "view contained", "OutOfSpec")


@contextlib.contextmanager
def column_errors() -> Iterator[None]:
    """Errors of Polars over the content of a column as ours."""
    try:
        yield
    except SchemaError as error:  # ours, from inside an expression: Polars appends the expression to it
        raise SchemaError(str(error).split("\n")[0]) from None
    except (
        pl.exceptions.InvalidOperationError,
        pl.exceptions.ComputeError,
        pl.exceptions.OutOfBoundsError,
    ) as error:
        detail = str(error).split("\n")[0]
        if isinstance(error, pl.exceptions.OutOfBoundsError) or any(word in detail for word in _OF_DAMAGE):
            raise ReadError(f"{_UNREADABLE} ({detail})") from None
        raise SchemaError(
            f"a column cannot be read as what it must hold: {detail}. Cast it first, or declare another column "
            'with columns={"theirs": "ours"}'
        ) from None
    except OSError as error:
        if system_error(error) is not None:  # a file that is gone, no permission
            raise
        raise ReadError(f"{_UNREADABLE} ({error})") from None
    except pl.exceptions.PanicException:  # no Exception, and what it says is of no use to anybody
        raise ReadError(_UNREADABLE) from None


def note_key(encoded: Encoded, by: Sequence[str]) -> None:
    """Warn where columns joined the key, and where rows were dropped."""
    warn_joined(encoded.groups, encoded.joined, by)
    warn_notes(encoded.notes, stacklevel=5)


def warn_joined(frame: pl.DataFrame, joined: Sequence[str], by: Sequence[str]) -> None:
    """One warning for each column that joined the key."""
    for name in joined:
        values = frame[name].unique().drop_nulls().sort()
        shown = ", ".join(str(value) for value in values.head(3)) + (", .." if len(values) > 3 else "")
        warnings.warn(
            f"{name} joined the key ({', '.join(by)}): groups would have mixed {len(values)} values of it ({shown}); "
            f"filter it with where=..., or add it to by",
            MixedKeyWarning,
            stacklevel=5,
        )


def warn_notes(notes: Sequence[str], stacklevel: int = 4) -> None:
    """One warning for everything that was left out or settled, another for what was chosen without a loss."""
    choices = [note for note in notes if re.match(RESULTS_TAKEN, note)]
    for told in ([note for note in notes if note not in choices], choices):
        if told:
            warnings.warn("; ".join(told), DroppedRowsWarning, stacklevel=stacklevel)


def merge_tasks(
    frame: pl.DataFrame,
    groups: Mapping[str, str | Sequence[str]],
    duplicates: Duplicates = "raise",
    threads: int | None = None,
) -> tuple[pl.DataFrame, list[str]]:
    """Replace the named tasks by one: the unweighted mean of their scores within each checkpoint.

    A checkpoint that lacks one of the tasks, or holds a missing score of one, is left out and counted.
    """
    notes: list[str] = []
    tasks = frame["task"].unique().drop_nulls().sort().to_list()
    for name, pattern in groups.items():
        chosen = matching_tasks(name, pattern, tasks)
        said: dict[str, None] = {}  # where conflicts are kept rows are merged twice: say it once
        merge = partial(_merge_task, name=name, chosen=chosen, said=said, threads=threads)
        merged, more = settled_or_doubled(frame.filter(pl.col("task").is_in(chosen)), duplicates, merge)
        notes += [*more, *said]
        rest = frame.filter(~pl.col("task").is_in(chosen))
        frame = pl.concat([rest, merged], how="diagonal_relaxed")
    return frame, notes


def _merge_task(
    part: pl.DataFrame, *, name: str, chosen: Sequence[str], said: dict[str, None], threads: int | None
) -> pl.DataFrame:
    """One row a complete checkpoint; `said` hears what is left out."""
    key = [c for c in KEY if c in part.columns and c not in ("task", "subtask")]
    score = [c for c in ("config", "metric", "filter") if c in key]
    carried = [c for c in part.columns if c not in (*KEY, "value", "stderr", "n", "weight", "source")]
    # The table's own name for the task means the task: it takes the new name as well.
    aliases = [c for c in carried if part[c].dtype == pl.String and part[c].equals(part["task"])]
    expected = part.group_by(score).agg(pl.col("task").n_unique().alias("__expected"))
    part = part.sort([*key, "task"]).with_columns(
        (pl.col("value").is_not_null() & pl.col("value").is_not_nan()).alias("__there")
    )
    offsets = segment_offsets(part, key)
    means = kernels().segment_moments(
        part["value"].fill_null(float("nan")).to_numpy(), offsets, threads=threads
    )
    merged = (
        part.group_by(key, maintain_order=True)
        .agg(
            *constant_or_null(c for c in carried if c not in aliases),
            pl.col("__there").sum().cast(pl.Int64).alias("__n"),
            pl.len().alias("__rows"),
        )
        .with_columns(*(pl.lit(name).alias(c) for c in ("task", *aliases)), pl.Series("value", means["mean"]))
        .join(expected, on=score, how="left", nulls_equal=True, maintain_order="left")
    )
    repeated = merged.filter(pl.col("__rows") > pl.col("__expected"))
    if repeated.height:
        row = {k: v for k, v in repeated.select(key).row(0, named=True).items() if v is not None}
        raise SchemaError(
            f"groups: {repeated.height} checkpoints hold several scores of one task of {name!r}, e.g. at {row}; "
            "filter the rows you mean (where=...)"
        )
    for row in expected.filter(pl.col("__expected") < len(chosen)).sort(score).iter_rows(named=True):
        label = ", ".join(f"{c} {row[c]}" for c in score if row[c] is not None)
        said[
            f"{name}: only {row['__expected']} of {len(chosen)} tasks have {label}; their mean was taken"
        ] = None
    whole = merged.filter(pl.col("__n") == pl.col("__expected"))
    if whole.height < merged.height:
        said[
            f"{name}: {merged.height - whole.height} of {merged.height} checkpoints lack some of the "
            f"{len(chosen)} tasks and were left out"
        ] = None
    return whole.drop("__n", "__rows", "__expected")


def matching_tasks(name: str, pattern: str | Sequence[str], tasks: Sequence[str]) -> list[str]:
    if isinstance(pattern, str):
        chosen = [task for task in tasks if fnmatchcase(task, pattern)]
    else:
        unknown = [task for task in pattern if task not in tasks]
        if unknown:
            raise SchemaError(
                f"groups: {name!r} names {unknown[0]!r}, which is no task here{did_you_mean(unknown[0], tasks)}"
            )
        chosen = list(pattern)
    if not chosen:
        raise SchemaError(f"groups: {pattern!r} of {name!r} matches none of the {len(tasks)} tasks")
    return chosen
