"""``df.signoise.snr(...)``: every verb as a method of Polars frames that hold scores."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import polars as pl

import signoise

from ._schema import did_you_mean


class Namespace:
    """The verbs of signoise, given this frame as their scores."""

    def __init__(self, frame: pl.DataFrame | pl.LazyFrame) -> None:
        self._frame = frame

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not _takes_frame(name):
            known = [] if name.startswith("_") else _verbs()
            raise AttributeError(
                f"no verb of signoise that takes a frame is called {name!r}{did_you_mean(name, known)}"
            )
        verb = getattr(signoise, name)
        bound = partial(verb, self._frame)
        bound.__doc__ = verb.__doc__
        return bound

    def __dir__(self) -> list[str]:
        return _verbs()


def _takes_frame(name: str) -> bool:
    """Whether a public name is a verb whose first argument is a score table, or a table of results."""
    if name not in signoise.__all__ or not inspect.isfunction(verb := getattr(signoise, name)):
        return False
    return next(iter(inspect.signature(verb).parameters), None) in ("scores", "source", "table")


def _verbs() -> list[str]:
    return [name for name in signoise.__all__ if _takes_frame(name)]


def register() -> None:
    """Give frames the attribute ``signoise``."""
    pl.api.register_dataframe_namespace("signoise")(Namespace)
    pl.api.register_lazyframe_namespace("signoise")(Namespace)
