"""Batches of dumps loaded by an engine: workers read files, this process gets their rows and what was told of them."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..engines import Engine
from ._dump import Batch, Dump, Part
from ._report import ReadReport


@dataclass(frozen=True)
class Chunk:
    """Parts of one dump that come in one batch."""

    dump: int
    parts: Sequence[Part]
    size: int

    @property
    def name(self) -> str:
        """For messages."""
        files = list(dict.fromkeys(part.file.label for part in self.parts))
        return files[0] if len(files) == 1 else f"{files[0]} to {files[-1]} ({len(files)} files)"

    @property
    def path(self) -> str:
        """A file of it, which an engine may want to be near."""
        return str(self.parts[0].file.path)


def load_elsewhere(
    dumps: Sequence[Dump], chunks: Iterable[Chunk], report: ReadReport, engine: Engine
) -> Iterator[Batch]:
    """Batches in order, exact repeats dropped; `report` is told of each what it would be told here."""
    chunks = list(chunks)
    load = _Load(tuple(_packed(dump, report) for dump in dumps), report.strict)
    for batch, told in engine.map(load, chunks, sizes=[float(chunk.size) for chunk in chunks]):
        report.add(told)
        yield batch


@dataclass(frozen=True)
class _Load:
    """Loads a chunk; called in other processes."""

    dumps: Sequence[bytes]
    strict: bool

    def __call__(self, chunk: Chunk) -> tuple[Batch, ReadReport]:
        from ._batches import load, without_repeats

        # A dump of its own for each chunk, so that what is told does not depend on what was loaded before.
        told = ReadReport(strict=self.strict)
        dump: Any = _Unpickler(io.BytesIO(self.dumps[chunk.dump]), told).load()
        return without_repeats(load(dump, chunk.parts), told), told


class _Pickler(pickle.Pickler):
    """Leaves the report out, which every process has of its own."""

    def __init__(self, file: Any, report: ReadReport) -> None:
        super().__init__(file, protocol=5)
        self._report = report

    def persistent_id(self, obj: Any) -> str | None:
        return "report" if obj is self._report else None


class _Unpickler(pickle.Unpickler):
    """Puts a report in; of bytes that this package pickled in the process that called the engine."""

    def __init__(self, file: Any, report: ReadReport) -> None:
        super().__init__(file)
        self._report = report

    def persistent_load(self, pid: Any) -> ReadReport:
        del pid
        return self._report


def _packed(dump: Dump, report: ReadReport) -> bytes:
    file = io.BytesIO()
    _Pickler(file, report).dump(dump)
    return file.getvalue()
