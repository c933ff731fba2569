"""``signoise ingest``."""

from __future__ import annotations

from typing import Any

import click

from . import _options as option
from ._run import Command, Session


@click.command(
    cls=Command,
    examples=(
        "signoise ingest instances.parquet scores.store",
        "signoise ingest runs/ more/*.parquet scores.store --metrics acc,bits_per_byte",
        "signoise report scores.store",
    ),
)
@option.sources
@click.argument("store", metavar="STORE", shell_complete=option.paths)
@option.where
@option.columns
@option.words_option("--metrics", "The only metrics to take.  [all]")
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "float64"]),
    help="What scores other than 0 and 1 are kept in; auto never rounds.  [auto]",
)
@click.option(
    "--duplicates",
    type=click.Choice(["first", "last"]),
    help="What to take where the store, or the source, has another value of a score; otherwise an error.",
)
@option.engine
@option.running
@click.pass_obj
def ingest(session: Session, sources: tuple[str, ...], store: str, **options: Any) -> None:
    """Put instance scores into a store: a directory that every command takes, and reads at once.

    STORE is made where there is none and grows otherwise. Files that it holds already are passed over, so
    the same command again does nothing, and goes on where it was stopped.
    """
    from .._store import ingest as run
    from .._store import open_store

    done = run(
        sources[0] if len(sources) == 1 else list(sources),
        store,
        progress=session.progress.files,
        **option.given(options),
    )
    session.progress.stop()
    for line in done.summary():
        session.note(line)
    session.note(repr(open_store(store)))
