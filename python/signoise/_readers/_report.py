"""What a read did: files by format, what was left out and why. Nothing is left out without a line here."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .._errors import DroppedRowsWarning, ReadError

_EXAMPLES = 3
"""How many first examples of a reason are kept and shown."""

FORMAT_LABELS = {"lm_eval": "lm-eval results", "table": "table"}


@dataclass(frozen=True)
class Place:
    """Where something was found: file, line (from 1; 0 = the whole file), column, and what stood there."""

    file: str
    row: int
    column: str
    found: str

    def __str__(self) -> str:
        where = self.file + (f", line {self.row}" if self.row else "")
        return where + (f", {self.column}" if self.column else "") + (f": {self.found}" if self.found else "")


@dataclass
class Dropped:
    """Rows left out for one reason."""

    count: int = 0
    examples: list[Place] = field(default_factory=list)


@dataclass(frozen=True)
class Rerun:
    """One checkpoint evaluated more than once: rows of ``superseded`` gave way to newer ones in ``kept``."""

    run: str
    revision: str | None
    kept: str
    superseded: str
    rows: int


@dataclass
class ReadReport:
    """What was read, left out, and resolved.

    Attributes
    ----------
    strict : bool
        Whether the first problem raises ``ReadError`` instead of being counted.
    files : Counter
        Files read, by format.
    skipped : list of (file, reason)
        Files that should have been readable and were not.
    ignored : dict of kind to files
        Files that are not results; no problem. A ``{s}`` in the kind is its plural.
    rows : int
        Rows read, before any were dropped or superseded.
    dropped : dict of reason to Dropped
    reruns : list of Rerun
    notes : list of str
    """

    strict: bool = False
    files: Counter[str] = field(default_factory=Counter)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    ignored: dict[str, list[str]] = field(default_factory=dict)
    rows: int = 0
    dropped: dict[str, Dropped] = field(default_factory=dict)
    reruns: list[Rerun] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def skip(self, file: str, reason: str) -> None:
        """Leave a whole file out."""
        if self.strict:
            raise ReadError(f"{file}: {reason}")
        self.skipped.append((file, reason))

    def ignore(self, file: str, kind: str) -> None:
        """Pass over a file that holds no results."""
        self.ignored.setdefault(kind, []).append(file)

    def drop(self, reason: str, file: str, row: int = 0, *, column: str = "", found: Any = "") -> None:
        """Leave rows out; ``reason`` says what is wrong and what to do about it."""
        place = Place(file, row, column, _short(found))
        if self.strict:
            raise ReadError(f"{place}: {reason}")
        entry = self.dropped.setdefault(reason, Dropped())
        entry.count += 1
        if len(entry.examples) < _EXAMPLES:
            entry.examples.append(place)

    def note(self, text: str) -> None:
        """Say something once."""
        if text not in self.notes:
            self.notes.append(text)

    @property
    def n_dropped(self) -> int:
        """Rows left out, re-runs not counted."""
        return sum(entry.count for entry in self.dropped.values())

    def summary(self) -> list[str]:
        """Plain lines: what was read, then what was left out and why."""
        lines = [
            f"read {count} {FORMAT_LABELS.get(name, name)} file{'s' * (count != 1)}"
            for name, count in sorted(self.files.items())
        ]
        lines.append(f"read {self.rows} row{'s' * (self.rows != 1)}")
        by_reason: dict[str, list[str]] = {}
        for file, reason in self.skipped:
            by_reason.setdefault(reason, []).append(file)
        for reason, files in by_reason.items():
            lines.append(f"skipped {len(files)} file{'s' * (len(files) != 1)}: {reason} ({_first(files)})")
        for reason, entry in self.dropped.items():
            first = _first([str(place) for place in entry.examples])
            lines.append(f"dropped {entry.count} row{'s' * (entry.count != 1)}: {reason} ({first})")
        if self.reruns:
            total = sum(rerun.rows for rerun in self.reruns)
            named = [f"{rerun.superseded} gave way to {rerun.kept}" for rerun in self.reruns]
            rows = f"{total} older row{'s' * (total != 1)} left out"
            lines.append(f"re-runs: {rows}, the newest time stamp wins ({_first(named)})")
        lines += [f"not read: {line}" for line in self.ignored_lines()]
        return lines + self.notes

    def ignored_lines(self) -> list[str]:
        """``33 instance dumps, not read yet (first: samples_a.jsonl)``."""
        return [
            f"{len(files)} {kind.replace('{s}', 's' * (len(files) != 1))} (first: {files[0]})"
            for kind, files in sorted(self.ignored.items())
        ]

    def warn(self, stacklevel: int = 2) -> None:
        """One ``DroppedRowsWarning`` if files were skipped, rows dropped or re-runs resolved."""
        told = [line for line in self.summary() if line.startswith(("skipped", "dropped", "re-runs"))]
        if told:
            warnings.warn("; ".join(told), DroppedRowsWarning, stacklevel=stacklevel + 1)


def _first(items: list[str]) -> str:
    return "; ".join(items[:_EXAMPLES]) + ("; ..." if len(items) > _EXAMPLES else "")


def _short(found: Any, longest: int = 60) -> str:
    text = found if isinstance(found, str) else repr(found)
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 3] + "..."
