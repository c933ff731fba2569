"""Temporary Parquet files: what large tables of other formats become, so that all of them are streamed alike.

Polars' streaming engine reads the tables and writes the files, in bounded memory.
"""

from __future__ import annotations

import contextlib
import errno
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from polars.exceptions import PolarsError

from .._errors import OptionError, ReadError, SchemaError
from .._schema import COLUMNS, as_expression, find_columns, is_config_part, wide_metrics
from . import _signal_and_noise

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

LARGE_BYTES = 64 * 2**20
"""Sources of fewer bytes are read into memory."""
_ROWS = 1 << 18
"""Rows of a row group: some megabytes in memory, and enough for a dictionary to pay."""
_TELLING = ("doc", "model_response", "metric", *_signal_and_noise.TELLING, *_signal_and_noise.RENAMED)
"""Columns by which a table is recognised."""


class Spool:
    """A temporary folder of Parquet files, which `close`, or the end of the process, deletes.

    Parameters
    ----------
    by, where
        Columns of the key and filter of the verb: what neither these nor our columns name and is no metric (prompts,
        answers) is left out of the files.

    Attributes
    ----------
    parquet : dict of Path to Path
        Files of the source and what they became.
    """

    def __init__(self, by: Sequence[str] = (), where: pl.Expr | str | None = None) -> None:
        self.parquet: dict[Path, Path] = {}
        self._named: set[str] = set(by)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._files = 0
        if where is not None:
            with contextlib.suppress(OptionError):  # which the verb raises
                self._named.update(as_expression(where, "where").meta.root_names())

    def needed(
        self, schema: Mapping[str, pl.DataType], columns: Mapping[str, str] | None, more: Collection[str] = ()
    ) -> list[str]:
        """Columns of a table to keep: ours, those named, those in `more`, and what may be a metric."""
        try:
            ours = find_columns(schema, columns)
        except SchemaError:  # which the reader of tables raises
            return list(schema)
        if self._named - schema.keys() - COLUMNS.keys():  # the message about it lists all columns
            return list(schema)
        metrics = wide_metrics(schema, ours) if "value" not in ours else []
        kept = {*ours.values(), *self._named, *more, *_TELLING, *metrics}
        if "run" not in ours:  # there may be a column for each checkpoint
            kept.update(name for name, dtype in schema.items() if dtype.is_numeric() or dtype == pl.Boolean)
        return [name for name in schema if name in kept or is_config_part(name)]

    def sink(self, table: pl.LazyFrame) -> Path:
        """Write a table to a file of its own, in the order of its rows.

        Raises
        ------
        ReadError
            If there is no room for it.
        """
        target = self._next()
        try:
            with _told_of_room(target.parent):
                table.sink_parquet(target, compression="lz4", statistics=False, row_group_size=_ROWS)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        return target

    def keep(self, source: Path, table: pl.LazyFrame) -> pl.LazyFrame:
        """The same table from a file of its own, or as it is where Parquet cannot hold it."""
        try:
            target = self.sink(table)
        except PolarsError:
            return table
        return self.scan(source, target)

    def scan(self, source: Path, target: Path) -> pl.LazyFrame:
        """The table of a file that was written for `source`."""
        self.parquet[source] = target
        return pl.scan_parquet(target, glob=False)

    def close(self) -> None:
        """Delete the files."""
        self.parquet.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _next(self) -> Path:
        if self._folder is None:
            try:
                self._folder = tempfile.TemporaryDirectory(prefix="signoise-", ignore_cleanup_errors=True)
            except OSError as error:
                raise ReadError(
                    f"no folder for temporary files ({error.strerror or error}); name one with the "
                    "environment variable TMPDIR"
                ) from None
        self._files += 1
        return Path(self._folder.name) / f"{self._files}.parquet"


@contextlib.contextmanager
def _told_of_room(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, PolarsError) as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        if full or any(f"os error {code})" in str(error) for code in (errno.ENOSPC, errno.EDQUOT, 112)):
            raise ReadError(
                f"the disk of {folder} is full: large tables that are not Parquet need room for a temporary copy; "
                "choose another folder with the environment variable TMPDIR"
            ) from None
        raise
