"""A forked process has none of the threads that its parent had started, and would wait for them for ever."""

from __future__ import annotations

import os

from ._errors import ForkError


class _State:
    used = False
    """This process, or the one it was forked from, has worked."""
    forked = False
    """It was forked from one that had."""


def _in_child() -> None:
    _State.forked = _State.used


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_in_child)


def note_work() -> None:
    """Work begins here, of Polars or of our core.

    Raises
    ------
    ForkError
        In a process that was forked after its parent had begun.
    """
    if _State.forked:
        raise ForkError(
            "this process was forked from one that had used signoise, and its threads stayed behind: start processes "
            'afresh, e.g. multiprocessing.get_context("spawn") or joblib\'s default'
        )
    _State.used = True
