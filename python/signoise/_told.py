"""Warnings of several calls about one table, each said once."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


class Told:
    """What was said so far."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, type[Warning]], None] = {}

    @contextmanager
    def listen(self, prefix: str = "") -> Iterator[None]:
        """Keep what is said here; `prefix` tells which part of the table it is about."""
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            yield
        self._said |= dict.fromkeys((f"{prefix}{one.message}", one.category) for one in heard)

    def repeat(self) -> None:
        """Say each thing once, as the verb that calls this."""
        for text, category in self._said:
            warnings.warn(text, category, stacklevel=3)
