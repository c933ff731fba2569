"""Opening the SOURCEs of a command."""

from __future__ import annotations

import contextlib
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import polars as pl

    from .._readers import Opened as Dumps
    from .._readers import ReadReport, Spool
    from .._store import ScoreStore
    from ._run import Session


@dataclass(frozen=True)
class Opened:
    """A score table, what reading it took, and the column names that still have to be declared to a verb."""

    frame: pl.LazyFrame | ScoreStore
    report: ReadReport
    columns: dict[str, str] | None


def open_dumps(
    session: Session,
    sources: Sequence[str],
    *,
    format: str = "auto",  # noqa: A002 (the option's name)
    columns: Mapping[str, str] | None = None,
    strict: bool | None = None,
    spool: Spool | None = None,
) -> Dumps:
    """Find what the sources hold, with progress; instances are not loaded yet."""
    from .._readers import open_source

    session.progress.say("reading")
    return open_source(
        sources[0] if len(sources) == 1 else list(sources),
        format=format,
        columns=columns,
        strict=bool(strict),
        progress=session.progress.files,
        spool=spool,
    )


def open_sources(
    session: Session,
    sources: Sequence[str],
    *,
    format: str = "auto",  # noqa: A002 (the option's name)
    columns: Mapping[str, str] | None = None,
    strict: bool | None = None,
    warn: bool = True,
) -> Opened:
    """Read files with progress; what was left out becomes a warning, and a self-check is told."""
    from .._store._verbs import StoreReport, as_store

    if (store := as_store(list(sources))) is not None:
        return Opened(store, StoreReport(store), None)
    opened = open_dumps(session, sources, format=format, columns=columns, strict=strict)
    frame = opened.frame()
    if warn:
        opened.report.warn()
        tell_checks(session, opened.report)
    # Tables keep their own columns beside ours, and verbs want to know which is which.
    names = frame.collect_schema().names()
    left = {theirs: ours for theirs, ours in (columns or {}).items() if theirs in names}
    session.progress.say("computing")
    return Opened(frame, opened.report, left or None)


def tell_checks(session: Session, report: ReadReport) -> None:
    """How many instances were read, and how many means equal the harness' own."""
    for line in report.instance_lines():
        session.note(line)


def split(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Options of a command, apart: for reading, for writing, and for the verb."""
    reading = {name: options.pop(name) for name in ("sources", "format", "columns")}
    writing = {name: options.pop(name) for name in ("output", "as_json")}
    return reading, writing, {name: value for name, value in options.items() if value is not None}


def check_known(verb: str, options: Mapping[str, Any], mode: str) -> None:
    """Options of a command with several verbs: one that this verb does not know is wrong usage, not passed over."""
    import signoise

    known = {*inspect.signature(getattr(signoise, verb)).parameters, "sources", "format", "output", "as_json"}
    strange = [name for name, value in options.items() if value is not None and name not in known]
    if strange:
        raise click.UsageError(f"--{strange[0].replace('_', '-')} has no meaning {mode}")


def run_verb(
    session: Session,
    name: str,
    options: dict[str, Any],
    *,
    by: tuple[str, ...] = (),
    whole: bool = True,
    spooled: bool = True,
    lines: Callable[[pl.DataFrame], Sequence[str]] | None = None,
) -> None:
    """Read, call the verb of the package with the options that were given, and show its table.

    A verb that does not need the whole table gets the dumps to load itself, large tables `spooled`. `lines` puts a
    result into sentences.
    """
    import signoise

    from ._output import Result, emit

    reading, writing, given = split(options)
    with given_scores(session, reading, given, whole=whole, spooled=spooled) as scores:
        table = getattr(signoise, name)(scores, **given)
    said = () if lines is None else lines(table)
    emit(session, Result(table, by=tuple(given.get("by", ())) or by, lines=said), **writing)


@contextlib.contextmanager
def given_scores(
    session: Session,
    reading: Mapping[str, Any],
    given: dict[str, Any],
    *,
    whole: bool,
    spooled: bool,
) -> Iterator[Any]:
    """What a verb gets of the sources; column names that it has to hear of go to `given`."""
    from .._store._verbs import as_store

    strict = given.get("strict")
    if (store := as_store(list(reading["sources"]))) is not None:
        yield store
        return
    if whole:
        opened = open_sources(session, **reading, strict=strict)
        if opened.columns is not None:
            given["columns"] = opened.columns
        yield opened.frame
        return
    from .._readers import Spool

    with contextlib.ExitStack() as closing:
        spool = Spool(given.get("by", ()), given.get("where")) if spooled else None
        if spool is not None:
            closing.enter_context(spool)
        dumps = open_dumps(session, **reading, strict=strict, spool=spool)
        dumps.row_progress = session.progress.rows
        session.progress.rows(0, dumps.report.rows)
        if dumps.tables and reading["columns"]:
            given["columns"] = reading["columns"]
        yield dumps
        tell_checks(session, dumps.report)
