"""Layouts of Parquet files: thousands of files have one, so that one look serves them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from .._kernels import kernels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import polars as pl

    from ._files import Found

Layout: TypeAlias = "frozenset[tuple[str, pl.DataType]]"
"""Names and dtypes of the columns of a table."""


class Layouts:
    """What the local Parquet files of a source have in common.

    Parameters
    ----------
    files
        All files of the source, of any format.
    """

    def __init__(self, files: Sequence[Found] = ()) -> None:
        self.seen: set[Layout] = set()
        """Of the files that were looked at."""
        self._files = files
        self._footers: dict[Path, tuple[int, int]] | None = None
        self._alike: set[int] = set()

    def rows_if_known(self, path: Path) -> int:
        """Rows of a file that is written like one before of which `keep` was told that it is enough; else 0."""
        rows, number = self._footer(path)
        return rows if number in self._alike else 0

    def keep(self, path: Path, schema: Mapping[str, pl.DataType], *, alike: bool) -> None:
        """Keep the layout of a table; `alike` if whatever is true of it is true of all tables of that layout."""
        self.seen.add(frozenset(schema.items()))
        _, number = self._footer(path)
        if alike and number >= 0:
            self._alike.add(number)

    def _footer(self, path: Path) -> tuple[int, int]:
        if self._footers is None:
            # All at once, as the system reads many ends of files as fast as one.
            paths = [file.path for file in self._files]
            found = kernels().parquet_footers(paths)
            footers = zip(found["rows"].tolist(), found["layout"].tolist(), strict=True)
            self._footers = dict(zip(paths, footers, strict=True))
        return self._footers.get(path, (0, -1))
