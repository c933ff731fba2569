"""Where the work of a verb is done: in this process, or on a cluster, to the same bits. See docs/scaling_out.md."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._engine import Engine, Local
    from ._ray import Ray

__all__ = ["Engine", "Local", "Ray"]

# Workers import this before they know how many threads they may have: Polars must wait.
_HOMES = {"Engine": "_engine", "Local": "_engine", "Ray": "_ray"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return value
