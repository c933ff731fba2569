"""The HTML report: one file that needs nothing else, neither a network nor a server."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING

from .._whole_file import write_whole
from ._render import Renderer

if TYPE_CHECKING:
    from .._report import Report


def write_page(
    path: str | os.PathLike[str],
    make: Callable[[], Report],
    *,
    command: str = "",
) -> Report:
    """Make a report and write its page, whole or not at all; `command` is what makes the page again.

    The process that draws starts first: it warms up while the report is computed.
    """
    with Renderer() as renderer:
        # Most of a report is computed outside the interpreter, which can import Altair meanwhile.
        importing = Thread(target=import_module, args=("altair",), daemon=True)
        importing.start()
        report = make()
        importing.join()
        from ._page import page

        text = page(report, renderer, command=command)
    write_whole(path, lambda file: file.write(text.encode()))
    return report


__all__ = ["write_page"]
