"""Rows of JSON Lines files as columns, and what was wrong with the others.

The scan itself is `signoise._core.read_json_lines`; here its columns get one form, and its problems go to the report.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._kernels import kernels

if TYPE_CHECKING:
    from ._files import Found
    from ._report import ReadReport

ABSENT, NULL, BOOL, NUMBER, STRING, ARRAY, OBJECT = range(7)
"""Kinds of a JSON value."""


@dataclass(frozen=True)
class Field:
    """One top-level field over all rows.

    Attributes
    ----------
    kind : ndarray of uint8
        `ABSENT` to `OBJECT` for each row.
    number : ndarray of float64
        Numbers, and booleans as 0 and 1; NaN elsewhere.
    text : Series of str
        Strings, arrays and objects as their JSON, whole numbers beyond 2**53 as their digits; null elsewhere.
    texts : Series of str
        The same, of rows with the same text one after the other once.
    place : ndarray of uint32
        Which of `texts` each row has.

    All but ``kind`` are made when asked for.
    """

    kind: NDArray[np.uint8]
    _number: NDArray[np.float64] | None = field(default=None, repr=False)
    _texts: Any = field(default=None, repr=False)
    """A list, or anything that Polars takes without a copy; None where no row has a text."""
    _place: NDArray[np.uint32] | None = field(default=None, repr=False)

    @cached_property
    def number(self) -> NDArray[np.float64]:
        return np.full(len(self.kind), np.nan) if self._number is None else self._number

    @cached_property
    def text(self) -> pl.Series:
        return self.texts.gather(self.place)

    @cached_property
    def texts(self) -> pl.Series:
        return pl.Series([None] if self._texts is None else self._texts, dtype=pl.String)

    @cached_property
    def place(self) -> NDArray[np.uint32]:
        return np.zeros(len(self.kind), np.uint32) if self._place is None else self._place

    @staticmethod
    def absent(rows: int) -> Field:
        """A field that no row has."""
        return Field(np.zeros(rows, np.uint8))

    def take(self, rows: NDArray[np.bool_]) -> Field:
        """Of some of the rows."""
        number = None if self._number is None else self._number[rows]
        return Field(self.kind[rows], number, self.texts, self.place[rows])

    def one_text(self) -> str | None:
        """The text that all rows have, if it is one and the same."""
        if self._texts is None or not len(self.kind):
            return None
        first = self.texts[int(self.place[0])]
        if first is None or len(self.texts) == 1:
            return first
        return first if (self.texts == first).fill_null(value=False).to_numpy()[self.place].all() else None


@dataclass(frozen=True)
class Lines:
    """Sound rows of several files, in file order.

    Attributes
    ----------
    file : ndarray of uint32
        Index into the files.
    line : ndarray of uint32
        Where the row starts, from 1.
    fields : dict of str to Field
    """

    file: NDArray[np.uint32]
    line: NDArray[np.uint32]
    fields: dict[str, Field]

    def take(self, rows: NDArray[np.bool_]) -> Lines:
        """Some of the rows."""
        fields = {name: field.take(rows) for name, field in self.fields.items()}
        return Lines(self.file[rows], self.line[rows], fields)


def scan_lines(
    files: Sequence[Found],
    *,
    skip: Sequence[str] = (),
    odd: Sequence[str] = (),
    threads: int | None = None,
    stop: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """What the kernel finds in files, for `read_lines`; nobody is told of anything, so that any thread may do it."""
    return kernels().read_json_lines(
        [os.fspath(file.file) for file in files], skip=list(skip), odd=list(odd), threads=threads, stop=stop
    )


def read_lines(
    files: Sequence[Found],
    report: ReadReport,
    *,
    skip: Sequence[str] = (),
    odd: Sequence[str] = (),
    scanned: dict[str, Any] | None = None,
) -> Lines:
    """Rows of files, those that cannot be read dropped and reported.

    Parameters
    ----------
    files
    report
        A damaged row is dropped there, a file without a sound row skipped.
    skip
        Fields that are not wanted; they are checked and not kept.
    odd
        Fields of which only texts are kept that hold ``nan`` or ``inf``.
    scanned
        What `scan_lines` found in these files.
    """
    read = scan_lines(files, skip=skip, odd=odd) if scanned is None else scanned
    found = np.bincount(read["file"], minlength=len(files))
    for at, line, reason, excerpt in read["problems"]:
        if line == 0 and not found[at]:
            report.skip(files[at].label, reason)
        else:
            report.drop(reason, files[at].label, line, found=excerpt)
    told = Counter(at for at, *_ in read["problems"])
    if (more := read["n_problems"] - len(read["problems"])) > 0:
        report.drop("rows that are no sound JSON, beside those named", files[0].label, count=more)
    for at in np.flatnonzero(found == 0).tolist():
        if not told[at]:
            report.skip(files[at].label, "it holds no rows")
    fields = {
        name: Field(of["kind"], of["number"], of["text"], of["place"]) for name, of in read["fields"].items()
    }
    return Lines(read["file"], read["line"], fields)
