"""Parts as NumPy arrays: mapped, not read; and cells of several parts laid over each other."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._errors import StoreError
from ._manifest import Column, Part, Slot, Span

Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]
Bytes: TypeAlias = NDArray[np.uint8]
Ids: TypeAlias = NDArray[np.uint32]
SlotKey: TypeAlias = "tuple[str, str | None, int | None]"
"""Metric, filter, repeat."""

_DTYPES: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "float64": np.dtype("<f8")}


def key_of(slot: Slot) -> SlotKey:
    """What a slot holds scores of."""
    return slot["metric"], slot["filter"], slot["repeat"]


def _mapped(handle: int) -> mmap.mmap:
    if sys.version_info >= (3, 13):  # which need not keep every file open
        return mmap.mmap(handle, 0, access=mmap.ACCESS_READ, trackfd=False)
    return mmap.mmap(handle, 0, access=mmap.ACCESS_READ)


class PartFile:
    """A part on disk. Its arrays are views of the mapped file; nothing is read before it is looked at."""

    def __init__(self, path: str | os.PathLike[str], part: Part) -> None:
        self._path, self.part = os.fspath(path), part

    @property
    def path(self) -> Path:
        """Where it lies."""
        return Path(self._path)

    @cached_property
    def _bytes(self) -> Bytes:
        try:
            with open(self._path, "rb", buffering=0) as handle:
                size = os.fstat(handle.fileno()).st_size
                if size != self.part["bytes"]:
                    # A mapped file that is too short kills the process that looks at its end.
                    raise StoreError(
                        f"{self.path} is damaged: it has {size} bytes, and the manifest says {self.part['bytes']}"
                    )
                # Not NumPy's memmap, which takes ten times as long to make, and its slices twenty times.
                return np.frombuffer(_mapped(handle.fileno()), dtype=np.uint8)
        except OSError as error:
            raise StoreError(f"{self.path} cannot be opened: {error.strerror or error}") from None

    def _span(self, span: Span) -> Bytes:
        return self._bytes[span[0] : span[0] + span[1]]

    @property
    def rows(self) -> int:
        """Number of checkpoints."""
        return self.part["rows"]

    @property
    def width(self) -> int:
        """Number of instances."""
        return self.part["width"]

    @cached_property
    def checkpoints(self) -> Ids:
        """Checkpoint of each row."""
        return self._span(self.part["checkpoints"]).view(np.dtype("<u4"))

    @cached_property
    def bounds(self) -> tuple[int, int]:
        """First and last of its checkpoints' numbers; the file does not stay open for them."""
        found = PartFile(self._path, self.part).checkpoints
        return int(found.min()), int(found.max())

    def matrix(self, column: Column) -> NDArray[Any]:
        """Values as they lie in the file: (checkpoints, instances) floats, or packed bits in one dimension."""
        raw = self._span(column["values"])
        if column["kind"] == "bit":
            return raw
        return raw.view(_DTYPES[column["kind"]]).reshape(self.rows, self.width)

    def validity(self, column: Column) -> Bytes | None:
        """Packed bits that say which cells are there; None: all of them."""
        return None if column["validity"] is None else self._span(column["validity"])

    def there(self, column: Column, rows: NDArray[np.intp]) -> Mask:
        """Which cells of some rows are there."""
        bits = self.validity(column)
        return np.ones((len(rows), self.width), dtype=bool) if bits is None else self._unpacked(bits, rows)

    def values(self, column: Column, rows: NDArray[np.intp]) -> Floats:
        """Values of some rows; 0 where there is none."""
        matrix = self.matrix(column)
        if column["kind"] == "bit":
            return self._unpacked(matrix, rows).astype(np.float64)
        return matrix[rows].astype(np.float64)

    def _unpacked(self, bits: Bytes, rows: NDArray[np.intp]) -> Mask:
        if len(rows) and np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))):
            start, end = int(rows[0]) * self.width, (int(rows[-1]) + 1) * self.width
            return unpack(bits, start, end).reshape(len(rows), self.width)
        found = [unpack(bits, int(row) * self.width, (int(row) + 1) * self.width) for row in rows]
        return np.array(found, dtype=bool).reshape(len(rows), self.width)


def unpack(bits: Bytes, start: int, end: int) -> Mask:
    """Bits ``start:end`` as booleans."""
    held = np.unpackbits(bits[start // 8 : -(-end // 8)], bitorder="little")
    return held[start % 8 : start % 8 + end - start].view(bool)


@dataclass
class Cells:
    """Cells of some checkpoints (rows) and all instances (columns) of a slot."""

    values: Floats
    there: Mask
    """Which cells have a score."""
    not_scored: Mask
    """Which cells were in the source without a score."""
    weights: Floats | None = None
    """NaN where no weight was given."""


Held: TypeAlias = "tuple[PartFile, Slot]"


def overlaid(held: Sequence[Held], checkpoints: Ids, width: int) -> Cells:
    """Cells of some checkpoints from all parts that hold them; of two parts with the same cell the later one wins."""
    shape = (len(checkpoints), width)
    cells = Cells(np.zeros(shape), np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool))
    if any(slot["weights"] is not None for _, slot in held):
        cells.weights = np.full(shape, np.nan)
    order = np.argsort(checkpoints, kind="stable")
    for file, slot in held:
        at = np.searchsorted(checkpoints, file.checkpoints, sorter=order)
        targets = order[np.minimum(at, len(order) - 1)]
        rows = np.flatnonzero(checkpoints[targets] == file.checkpoints)
        targets, w = targets[rows], file.width
        there = file.there(slot["scores"], rows)
        without = there & False if slot["not_scored"] is None else file.values(slot["not_scored"], rows) > 0
        present = there | without
        cells.values[targets, :w] = np.where(
            present, file.values(slot["scores"], rows), cells.values[targets, :w]
        )
        cells.there[targets, :w] = np.where(present, there, cells.there[targets, :w])
        cells.not_scored[targets, :w] = np.where(present, without, cells.not_scored[targets, :w])
        if cells.weights is not None:
            weights = np.full(there.shape, np.nan)
            if (column := slot["weights"]) is not None:
                weights = np.where(file.there(column, rows), file.values(column, rows), np.nan)
            cells.weights[targets, :w] = np.where(present, weights, cells.weights[targets, :w])
    return cells
