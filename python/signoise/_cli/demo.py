"""``signoise demo``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import _options as option
from ._run import Command, Session

if TYPE_CHECKING:
    from pathlib import Path


@click.command(
    cls=Command,
    examples=(
        "signoise demo",
        "signoise demo --json",
    ),
)
@option.writing
@option.without_strict
@click.pass_obj
def demo(session: Session, output: Path | None, as_json: bool) -> None:
    """Estimates beside the truth, on simulated benchmarks. Needs no file.

    snr and decision_accuracy as `signoise snr` and `signoise decisions` print them; a column true_.. holds
    what was planted.
    """
    from .._demo import demo as make
    from ._output import Result, emit

    session.progress.say("simulating")
    shown = make()
    result = Result(shown.table, opening=shown.opening, lines=shown.closing)
    emit(session, result, output=output, as_json=as_json)
