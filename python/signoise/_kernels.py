"""Which kernels a verb runs on: the compiled ones, or their NumPy twins inside `using_twins`.

There is no option for it on the verbs. ``signoise.reference.snr`` is ``signoise.snr`` with the twins underneath, for
reading, checking and timing.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from contextvars import ContextVar
from types import ModuleType
from typing import ParamSpec, TypeVar

from ._errors import DebugBuildWarning
from ._forks import note_work

P = ParamSpec("P")
R = TypeVar("R")

_twins: ContextVar[ModuleType | None] = ContextVar("signoise_twins", default=None)


@functools.cache
def _compiled() -> ModuleType:
    from . import _core

    if _core.BUILD_PROFILE == "debug":
        warnings.warn(
            "the compiled core is a debug build: right, but slow; build it with `maturin develop --release`",
            DebugBuildWarning,
            stacklevel=2,
        )
    return _core


def kernels() -> ModuleType:
    """The module that holds the kernels of the running call."""
    note_work()
    return _twins.get() or _compiled()


def on_twins() -> bool:
    """Whether the running call is one of `signoise.reference`."""
    return _twins.get() is not None


def with_twins(verb: Callable[P, R], twins: ModuleType) -> Callable[P, R]:
    """The same verb on the NumPy twins."""

    @functools.wraps(verb)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        token = _twins.set(twins)
        try:
            return verb(*args, **kwargs)
        finally:
            _twins.reset(token)

    return run
