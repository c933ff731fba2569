"""What a read did: files by format, what was left out and why. Nothing is left out without a line here."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .._errors import DroppedRowsWarning, ReadError

_TOLD = ("skipped", "dropped", "doubtful", "conflicts", "re-runs", "self-check failed")
"""How the lines begin that are a warning."""
_CONFLICT = "instances come again with other scores; all are kept, and the duplicate rule applies"

_EXAMPLES = 3
"""How many first examples of a reason are kept and shown."""

FORMAT_LABELS = {"table": "table"}
"""Words for formats in "read 3 <words> files"; the readers add theirs."""


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
    """Rows left out, or told of, for one reason."""

    count: int = 0
    examples: list[Place] = field(default_factory=list)

    def add(self, other: Dropped) -> None:
        """Rows for the same reason, met later."""
        self.count += other.count
        self.examples += other.examples[: _EXAMPLES - len(self.examples)]


@dataclass(frozen=True)
class Rerun:
    """One checkpoint evaluated more than once: rows of ``superseded`` gave way to newer ones in ``kept``."""

    run: str
    revision: str | None
    kept: str
    superseded: str
    rows: int
    """How many rows gave way; 0 where a whole file of instances did, which then was not read."""


@dataclass(frozen=True)
class CheckFailure:
    """A mean over instances that is not the tool's own number: what of, where, ours, theirs, and both sizes."""

    file: str
    key: str
    ours: float | None
    theirs: float | None
    n_ours: int
    n_theirs: int | None

    def __str__(self) -> str:
        sizes = (
            f" (over {self.n_ours} and {self.n_theirs} instances)"
            if self.n_theirs not in (None, self.n_ours)
            else ""
        )
        return f"{self.key} in {self.file}: {self.ours!r} from instances, {self.theirs!r} by the tool{sizes}"


@dataclass
class Tally:
    """Something that is met again and again: how often in each file, and where first."""

    what: str
    meaning: str
    first: str = ""
    counts: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        total, files = sum(self.counts.values()), len(self.counts)
        what = f"{self.what}s in {files} file{'s' * (files != 1)}" if total != 1 else self.what
        return f"{total} {what} {self.meaning} (first: {self.first})"


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
        Score rows read (results and tables), before any were dropped or superseded.
    instances : int
        Instance rows read from dumps, before any were dropped; one may hold several metrics.
    dropped : dict of reason to Dropped
    doubtful : dict of reason to Dropped
        Rows that are kept, though something beside their scores is not as it should be.
    conflicts : Dropped
        Instances that come several times with different scores; all are kept, and the duplicate rule applies.
    reruns : list of Rerun
    checked : int
        Task means over instances that were compared with the tool's own number.
    unchecked : int
        Task means without such a number, or with one that is no mean of instances.
    check_failures : list of CheckFailure
    """

    strict: bool = False
    files: Counter[str] = field(default_factory=Counter)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    ignored: dict[str, list[str]] = field(default_factory=dict)
    rows: int = 0
    instances: int = 0
    dropped: dict[str, Dropped] = field(default_factory=dict)
    doubtful: dict[str, Dropped] = field(default_factory=dict)
    conflicts: Dropped = field(default_factory=Dropped)
    reruns: list[Rerun] = field(default_factory=list)
    checked: int = 0
    unchecked: int = 0
    check_failures: list[CheckFailure] = field(default_factory=list)
    _noted: dict[str, str | Tally] = field(default_factory=dict, repr=False)
    """What each note is about, and the note."""

    def skip(self, file: str, reason: str) -> None:
        """Leave a whole file out."""
        if self.strict:
            raise ReadError(f"{file}: {reason}")
        self.skipped.append((file, reason))

    def ignore(self, file: str, kind: str) -> None:
        """Pass over a file that holds no results."""
        self.ignored.setdefault(kind, []).append(file)

    def drop(
        self, reason: str, file: str, row: int = 0, *, column: str = "", found: Any = "", count: int = 1
    ) -> None:
        """Leave rows out; ``reason`` says what is wrong and what to do about it."""
        self._count(self.dropped, reason, Place(file, row, column, _short(found)), count)

    def doubt(self, reason: str, file: str, row: int = 0, *, found: Any = "", count: int = 1) -> None:
        """Keep rows, and tell of them; ``reason`` says what is odd and what it may mean."""
        self._count(self.doubtful, reason, Place(file, row, "", _short(found)), count)

    def _count(self, among: dict[str, Dropped], reason: str, place: Place, count: int) -> None:
        if self.strict:
            raise ReadError(f"{place}: {reason}")
        entry = among.setdefault(reason, Dropped())
        entry.count += count
        if len(entry.examples) < _EXAMPLES:
            entry.examples.append(place)

    def conflict(self, file: str, row: int, found: str) -> None:
        """An instance that comes again with other scores."""
        place = Place(file, row, "", _short(found))
        if self.strict:
            raise ReadError(f"{place}: {_CONFLICT}")
        self.conflicts.count += 1
        if len(self.conflicts.examples) < _EXAMPLES:
            self.conflicts.examples.append(place)

    def fail_check(self, failure: CheckFailure) -> None:
        """A mean over instances differs from the tool's own."""
        if self.strict:
            raise ReadError(f"self-check: {failure}")
        self.check_failures.append(failure)

    def note(self, text: str, about: str | None = None) -> None:
        """Say something, once about the same."""
        self._noted.setdefault(about or text, text)

    def tally(self, what: str, meaning: str, file: str, where: str) -> None:
        """Count something that is met again and again, and say so in one note."""
        tally = self._tally(what, meaning)
        tally.first = tally.first or f"{file}, {where}"
        tally.counts[file] = tally.counts.get(file, 0) + 1

    def forget(self, what: str, meaning: str, file: str) -> None:
        """Forget what was counted in a file, which is read again."""
        self._tally(what, meaning).counts.pop(file, None)

    def _tally(self, what: str, meaning: str) -> Tally:
        tally = self._noted.setdefault(f"{what} {meaning}", Tally(what, meaning))
        assert isinstance(tally, Tally)
        return tally

    @property
    def notes(self) -> list[str]:
        """What was noted, in words."""
        return [str(note) for note in self._noted.values() if not isinstance(note, Tally) or note.counts]

    def add(self, other: ReadReport, name: Callable[[str], str] = str) -> None:
        """Add what another read was told after this one; `name` is what its files are called here."""
        self.files.update(other.files)
        self.rows += other.rows
        self.instances += other.instances
        for label, reason in other.skipped:
            self.skip(name(label), reason)
        for kind, labels in other.ignored.items():
            for label in labels:
                self.ignore(name(label), kind)
        for mine, theirs in ((self.dropped, other.dropped), (self.doubtful, other.doubtful)):
            for reason, entry in theirs.items():
                mine.setdefault(reason, Dropped()).add(entry)
        self.conflicts.add(other.conflicts)
        self.reruns += other.reruns
        self.checked += other.checked
        self.unchecked += other.unchecked
        self.check_failures += other.check_failures
        for about, note in other._noted.items():
            if isinstance(note, Tally):
                tally = self._tally(note.what, note.meaning)
                tally.first = tally.first or note.first
                tally.counts.update(note.counts)  # a file that was read again was counted again
            else:
                self.note(note, about)

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
        if self.rows or not self.instances:
            lines.append(f"read {self.rows} row{'s' * (self.rows != 1)}")
        lines += self._instance_counts()
        by_reason: dict[str, list[str]] = {}
        for file, reason in self.skipped:
            by_reason.setdefault(reason, []).append(file)
        for reason, files in by_reason.items():
            lines.append(f"skipped {len(files)} file{'s' * (len(files) != 1)}: {reason} ({_first(files)})")
        for word, among in (("dropped", self.dropped), ("doubtful:", self.doubtful)):
            for reason, entry in among.items():
                first = _first([str(place) for place in entry.examples])
                lines.append(f"{word} {entry.count} row{'s' * (entry.count != 1)}: {reason} ({first})")
        if self.conflicts.count:
            first = _first([str(place) for place in self.conflicts.examples])
            lines.append(f"conflicts: {self.conflicts.count} {_CONFLICT} ({first})")
        if self.reruns:
            total = sum(rerun.rows for rerun in self.reruns)
            unopened = sum(rerun.rows == 0 for rerun in self.reruns)
            named = [f"{rerun.superseded} gave way to {rerun.kept}" for rerun in self.reruns]
            older = [f"{total} older row{'s' * (total != 1)}"] * (total > 0)
            older += [f"{unopened} older file{'s' * (unopened != 1)} of instances"] * (unopened > 0)
            lines.append(
                f"re-runs: {' and '.join(older)} left out, the newest time stamp wins ({_first(named)})"
            )
        lines += self._check_lines()
        lines += [f"not read: {line}" for line in self.ignored_lines()]
        return lines + self.notes

    def instance_lines(self) -> list[str]:
        """What a user of dumps wants to know even if all went well: instances read, means checked."""
        return [*self._instance_counts(), *self._check_lines()[:1]]

    def _instance_counts(self) -> list[str]:
        return [f"read {self.instances} instance row{'s' * (self.instances != 1)}"] if self.instances else []

    def _check_lines(self) -> list[str]:
        """``self-check: 41 of 41 task means equal the tool's own``, and which do not."""
        if not self.checked and not self.unchecked:
            return []
        right = self.checked - len(self.check_failures)
        line = f"self-check: {right} of {self.checked} task means equal the tool's own"
        if self.unchecked:
            line += f"; {self.unchecked} have no such number to compare with"
        failed = _first([str(failure) for failure in self.check_failures])
        return [line] + [f"self-check failed: {failed}"] * bool(failed)

    def ignored_lines(self) -> list[str]:
        """``33 instance dumps, not read yet (first: samples_a.jsonl)``."""
        return [
            f"{len(files)} {kind.replace('{s}', 's' * (len(files) != 1))} (first: {files[0]})"
            for kind, files in sorted(self.ignored.items())
        ]

    def warn(self, stacklevel: int = 2) -> None:
        """One ``DroppedRowsWarning`` if something was left out or resolved, or a self-check failed."""
        told = [line for line in self.summary() if line.startswith(_TOLD)]
        if told:
            warnings.warn("; ".join(told), DroppedRowsWarning, stacklevel=stacklevel + 1)


def _first(items: list[str]) -> str:
    return "; ".join(items[:_EXAMPLES]) + ("; ..." if len(items) > _EXAMPLES else "")


def _short(found: Any, longest: int = 60) -> str:
    text = found if isinstance(found, str) else repr(found)
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 3] + "..."
