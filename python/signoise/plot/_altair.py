"""Altair, which draws every figure: imported when a figure is asked for."""

from __future__ import annotations

from types import ModuleType

from .._errors import SignoiseError


def altair() -> ModuleType:
    """Return the module, or say what to install."""
    try:
        import altair
    except ImportError:
        raise SignoiseError(
            "figures are drawn by Altair, which is not installed; pip install 'signoise[report]'"
        ) from None
    return altair
