"""``signoise bench``."""

from __future__ import annotations

from typing import Any

import click

from . import _options as option
from ._run import Command, Session


@click.command(
    cls=Command,
    examples=(
        "signoise bench",
        "signoise bench scores.parquet --threads 1 -o bench.csv",
    ),
)
@click.argument("sources", metavar="[SOURCE]...", nargs=-1, shell_complete=option.paths)
@click.option(
    "--repeats", type=click.IntRange(min=1), metavar="N", help="Times each is run; the median counts.  [3]"
)
@option.writing
@option.threads
@option.without_strict
@click.pass_obj
def bench(session: Session, **options: Any) -> None:
    """The compiled kernels beside their NumPy twins, on your machine and, with SOURCE, your data.

    Seconds of each, their ratio, and whether the answers agree.
    """
    from .._bench import bench as run
    from ._output import Result, emit

    sources = list(options.pop("sources"))
    writing = {name: options.pop(name) for name in ("output", "as_json")}
    session.progress.say("timing")
    source = sources[0] if len(sources) == 1 else sources or None
    emit(session, Result(run(source, **option.given(options)), by=("what",)), **writing)
