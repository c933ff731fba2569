"""Logs of inspect_ai: ``.eval`` archives and ``.json`` documents, with their samples.

An archive holds ``header.json`` (all but the samples) and ``summaries.json`` (a light record of each sample with its
scores), so the full samples are never opened. A run that was killed left neither: its journal
(``_journal/start.json``, ``_journal/summaries/<n>.json``) tells the same. A ``.json`` log is read sample by sample.

A scorer gives each sample a value: a number, a letter (C right, P in part, I wrong, N no answer), or an object with
several of these. ``filter`` is the scorer. The metric of an object is its key; that of a plain value is ``accuracy``
where the log takes the accuracy of it, else the name of the scorer (as in ``f1``, of which logs take the mean).

The tool first reduces the epochs of a sample (mean by default), then averages over samples. Only aggregates of
that kind carry the name of the metric of the instances. Another reducer stands in the name (``accuracy_pass_at_2``),
and other aggregates keep their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from .. import _core
from ._common import Columns, count_of, mapping, newest, number_of, results_frame
from ._dump import Batch, Part
from ._files import Found, clean
from ._inspect_header import Log, read_header
from ._json_document import Damaged, Document
from ._report import ReadReport

FORMAT = "inspect"
LABEL = "inspect log"
PATTERNS = ("*.eval",)

MAX_MEMBER_BYTES = 256 * 2**20
"""Of one member of an archive, unpacked. Summaries above it are read from the journal, piece by piece."""

_AT_ONCE = 32 * 2**20
"""Bytes of small members that are unpacked together."""

_HEADER = "header.json"
_SUMMARIES = "summaries.json"
_JOURNAL_START = "_journal/start.json"
_JOURNAL_PIECE = re.compile(r"_journal/summaries/(\d+)\.json")
_SAMPLE = re.compile(r"samples/.+\.json")
_JSON_LOG = re.compile(rb"\s*\{\s*\"version\"\s*:\s*\d")

_LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
_WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
_OUR_COLUMNS = frozenset({"part", "instance_id", "repeat", "cluster", "filter", "line"})


def claims(file: Found, head: bytes) -> bool:
    """Whether this is a log of inspect_ai: by its name, or by the first members or keys."""
    if file.path.name.lower().endswith(".eval"):
        return True
    if head.startswith(b"PK\x03\x04"):
        return _JOURNAL_START.encode() in head or _HEADER.encode() in head
    body = head.removeprefix(b"\xef\xbb\xbf")
    return (
        _JSON_LOG.match(body) is not None
        and b'"eval"' in body
        and (b'"task_id"' in body or b'"run_id"' in body)
    )


@dataclass(frozen=True)
class _Chosen:
    """Scorers of a log that make up a part."""

    log: Log
    scorers: list[str]
    others: list[str] | None
    """For the part that takes scorers nobody told of: those that belong to other parts. None: it takes no more."""


#: What is tallied in the report.
_FAILED = ("inspect sample", "failed in the harness or got no score, and count as missing")
_UNENDED = ("inspect log", "did not end in success; what they hold is read")


class Dump:
    """All logs of inspect_ai below the given paths."""

    def __init__(self, files: Sequence[Found], report: ReadReport) -> None:
        self._files = list(files)
        self._report = report
        self._planned: list[Log] | None = None

    def results(self) -> pl.DataFrame | None:
        """The tool's own aggregates, one row per scorer (or key of its values) and kind of aggregate."""
        logs = self._plan()
        frame = results_frame([row for log in logs for row in log.rows])
        if frame is None:
            return None
        # A log that gives way to a newer one is told once, for its samples.
        return newest(frame, None, stamps={log.file.label: log.stamp for log in logs})

    def parts(self) -> list[Part]:
        """For each log one part for its scorers of each set of metrics.

        A part with two sets would tell of missing scores where a scorer has never heard of the metric.
        """
        found = []
        for log in self._plan():
            sets: dict[tuple[str, ...], list[str]] = {}
            for scorer in log.named:
                sets.setdefault(log.metrics.get(scorer, ()), []).append(scorer)
            size = log.file.path.stat().st_size // max(1, len(sets))
            # The first takes scorers that the header does not tell of.
            for at, scorers in enumerate(sets.values() or [[]]):
                others = [name for name in log.named if name not in scorers] if at == 0 else None
                found.append(Part(log.file, log.labels, size, log.stamp, _Chosen(log, scorers, others)))
        return found

    def load(self, parts: Sequence[Part]) -> Batch:
        """One row for each sample, epoch and scorer."""
        columns = Columns()
        known: list[set[str]] = [set() for _ in parts]
        by_file: dict[str, list[int]] = {}
        for at, part in enumerate(parts):
            by_file.setdefault(part.file.label, []).append(at)
        for label, places in by_file.items():
            log: Log = parts[places[0]].note.log
            self._report.forget(*_FAILED, label)
            rows = _Rows(log, {at: parts[at].note for at in places}, columns, known, self._report)
            try:
                for sample in self._samples(log):
                    rows.add(sample)
            except OSError as error:
                self._report.skip(label, f"cannot be opened: {error.strerror or error}")
            except ValueError as error:
                if rows.line:
                    reason = "the log is cut or damaged here and read up to here; copy or evaluate it again"
                    self._report.drop(reason, label, rows.line + 1, found=str(error))
                else:
                    self._report.skip(label, str(error))
        frame = columns.frame()
        self._report.instances += frame.height
        return Batch(parts, frame, list(columns.values), known=known)

    # --- planning

    def _plan(self) -> list[Log]:
        if self._planned is None:
            self._planned = []
            for file in self._files:
                try:
                    log = self._open(file)
                except OSError as error:
                    self._report.skip(file.label, f"cannot be opened: {error.strerror or error}")
                    continue
                except ValueError as error:
                    self._report.skip(file.label, str(error))
                    continue
                self._planned.append(log)
                self._report.files[FORMAT] += 1
                self._report.rows += len(log.rows)
                if log.status != "success":
                    self._report.tally(*_UNENDED, file.label, f"status {log.status!r}")
        return self._planned

    def _open(self, file: Found) -> Log:
        with file.path.open("rb") as handle:
            magic = handle.read(4)
        if not magic:
            raise Damaged("the file is empty (0 bytes)")
        if magic.startswith(b"PK"):
            return self._open_archive(file)
        if file.path.name.lower().endswith(".eval"):
            raise Damaged("not an archive, though it is called .eval: the file is damaged; copy it again")
        return self._open_json(file)

    def _open_archive(self, file: Found) -> Log:
        sizes = {name: size for name, size, _ in _names(file.path)}
        header_name = next((name for name in (_HEADER, _JOURNAL_START) if name in sizes), None)
        if header_name is None:
            raise Damaged("an archive without header.json and without a journal: no log of inspect_ai")
        try:
            header = _parse(_member(file.path, header_name))
        except ValueError:
            if header_name == _JOURNAL_START or _JOURNAL_START not in sizes:
                raise
            header = _parse(_member(file.path, _JOURNAL_START))
        log = read_header(file, header, self._report)
        pieces = sorted(
            (int(match[1]), name) for name in sizes if (match := _JOURNAL_PIECE.fullmatch(name)) is not None
        )
        journal = tuple((name, sizes[name]) for _, name in pieces)
        samples = tuple((name, size) for name, size in sizes.items() if _SAMPLE.fullmatch(name))
        whole = sizes.get(_SUMMARIES, MAX_MEMBER_BYTES + 1)
        summaries = ((_SUMMARIES, whole),) if whole <= MAX_MEMBER_BYTES else ()
        sources = [source for source in (summaries, journal, samples) if source]
        log.members = sources[0] if sources else ()
        log.spare = sources[1] if len(sources) > 1 else ()
        return log

    def _open_json(self, file: Found) -> Log:
        header: dict[str, Any] = {}
        with Document(file.path) as document:
            try:
                for key, value in document.members(streamed=("samples", "reductions")):
                    if key == "samples":
                        # Results stand before the samples; what follows them is not needed.
                        if "eval" in header:
                            break
                        continue
                    if key != "reductions":
                        header[key] = value
            except Damaged:
                if "eval" not in header:
                    raise
        return read_header(file, header, self._report)

    # --- samples

    def _samples(self, log: Log) -> Iterator[Any]:
        if log.members is None:
            with Document(log.file.path) as document:
                for key, value in document.members(streamed=("samples", "reductions")):
                    if key == "samples":
                        yield value
                    elif key == "reductions":
                        break
                if document.replaced:
                    self._report.note(f"{log.file.label}: bytes that are not UTF-8 were met in texts")
            return
        yield from self._members(log, log.members, log.spare)

    def _members(
        self, log: Log, members: Sequence[tuple[str, int]], spare: Sequence[tuple[str, int]]
    ) -> Iterator[Any]:
        path = log.file.path
        for names in _bunches(members):
            try:
                texts: list[bytes | None] = list(
                    _core.archive_read(str(path), names, max_bytes=MAX_MEMBER_BYTES)
                )
            except ValueError:
                texts = [None] * len(names)
            for name, text in zip(names, texts, strict=True):
                try:
                    content = _parse(_member(path, name) if text is None else text)
                except ValueError as error:
                    if spare:
                        self._report.note(
                            f"{log.file.label}: {name} is damaged; read from the journal instead"
                        )
                        yield from self._members(log, spare, ())
                        return
                    reason = "a damaged member of the archive; copy the file again"
                    self._report.drop(reason, log.file.label, column=name, found=str(error))
                    continue
                if isinstance(content, list):
                    yield from content
                else:
                    yield content


def _names(path: Path) -> list[tuple[str, int, int]]:
    try:
        return list(_core.archive_names(str(path)))
    except ValueError as error:
        raise Damaged(
            f"the archive is cut or damaged ({_reason(error, path)}); copy it again, or run the evaluation again"
        ) from None


def _member(path: Path, name: str) -> bytes:
    try:
        return bytes(_core.archive_read(str(path), [name], max_bytes=MAX_MEMBER_BYTES)[0])
    except ValueError as error:
        raise Damaged(
            f"{name} in the archive cannot be read ({_reason(error, path)}); copy it again"
        ) from None


def _reason(error: ValueError, path: Path) -> str:
    """The message without the path: the label of the file is told by the report."""
    return str(error).removeprefix(f"{path}: ")


def _parse(text: bytes) -> Any:
    try:
        return json.loads(text.decode("utf-8", "surrogateescape").removeprefix("\ufeff"))
    except RecursionError:
        raise Damaged("the JSON is nested too deeply") from None
    except ValueError as error:
        raise Damaged(f"not JSON: {error}") from None


def _bunches(members: Sequence[tuple[str, int]]) -> Iterator[list[str]]:
    """Names of members to unpack together."""
    names: list[str] = []
    total = 0
    for name, size in members:
        if names and total + size > _AT_ONCE:
            yield names
            names, total = [], 0
        names.append(name)
        total += size
    if names:
        yield names


# --- samples to rows


class _Rows:
    """Rows of one log, each in the part of its scorer."""

    def __init__(
        self,
        log: Log,
        chosen: Mapping[int, _Chosen],
        columns: Columns,
        known: list[set[str]],
        report: ReadReport,
    ) -> None:
        self._log = log
        self._part: dict[str | None, int] = {
            scorer: at for at, part in chosen.items() for scorer in part.scorers
        }
        self._rest = next((at for at, part in chosen.items() if part.others is not None), None)
        self._elsewhere = {name for part in chosen.values() for name in part.others or ()} - self._part.keys()
        self._columns = columns
        self._known = known
        self._report = report
        self._names: dict[tuple[str, str], str] = {}
        self.line = 0

    def add(self, sample: Any) -> None:
        self.line += 1
        if not isinstance(sample, dict):
            self._drop("a sample must be an object; copy the log again", "", sample)
            return
        name = sample.get("id")
        if isinstance(name, bool) or not isinstance(name, (str, int, float)):
            self._drop("a sample needs an id (text or a number)", "id", name)
            return
        epoch = count_of(sample.get("epoch", 1))
        if epoch is None or not 1 <= epoch < 2**31:
            self._drop("the epoch of a sample must be a whole number from 1", "epoch", sample.get("epoch"))
            return
        log = self._log
        instance = clean(name if isinstance(name, str) else str(name))
        cluster = mapping(sample.get("metadata")).get(log.cluster) if log.cluster is not None else None
        group = (
            None if cluster is None else clean(cluster if isinstance(cluster, str) else json.dumps(cluster))
        )
        scores = mapping(sample.get("scores"))
        if not scores and sample.get("score") is not None:  # of the first version
            scores = {log.named[0] if log.named else "score": sample["score"]}
        if sample.get("error") or not scores:
            lacking = "error" if sample.get("error") else "no score"
            if not scores:
                self._report.tally(*_FAILED, log.file.label, f"sample {instance}, epoch {epoch}: {lacking}")
        scorers: list[str | None] = list(scores or log.named) or [None]
        for scorer in scorers:
            at = self._place(scorer)
            if at is None:
                continue
            values = self._values(scorer, scores[scorer]) if scorer is not None and scores else {}
            self._known[at].update(values)
            self._columns.add(
                at,
                instance,
                values,
                line=self.line,
                repeat=epoch - 1,
                cluster=group,
                scorer=None if scorer is None else clean(scorer),
            )

    def _place(self, scorer: str | None) -> int | None:
        """The part of a scorer; None where it is not asked for."""
        if scorer in self._part:
            return self._part[scorer]
        return None if scorer in self._elsewhere else self._rest

    def _values(self, scorer: str, score: Any) -> dict[str, float | None]:
        value = score.get("value") if isinstance(score, dict) else score
        if isinstance(value, dict):
            return {
                self._metric(scorer, key): self._number(f"{scorer}.{key}", item)
                for key, item in value.items()
            }
        if isinstance(value, list):
            self._drop(
                "a score that is a list has no single value; let the scorer return an object", scorer, value
            )
            return {}
        name = self._log.scorers.get(scorer)
        if name is None:
            # The log does not say how it aggregates this scorer.
            letter = isinstance(value, str) and value in _LETTERS
            name = self._log.scorers[scorer] = "accuracy" if letter else scorer
        return {self._metric(scorer, name): self._number(scorer, value)}

    def _metric(self, scorer: str, name: str) -> str:
        found = self._names.get((scorer, name))
        if found is None:
            found = clean(f"{scorer}_{name}" if name in _OUR_COLUMNS else name)
            self._names[scorer, name] = found
        return found

    def _number(self, column: str, value: Any) -> float | None:
        if value is None:
            return None
        number = _float_of(value)
        if number is None:
            self._drop(
                "a score must be a number or one of the letters C, P, I, N; others count as missing here, "
                "while inspect_ai counts them as 0",
                column,
                value,
            )
        return number

    def _drop(self, reason: str, column: str, found: Any) -> None:
        self._report.drop(reason, self._log.file.label, self.line, column=column, found=found)


def _float_of(value: Any) -> float | None:
    """A score as a number, as the tool converts it."""
    number = number_of(value)
    if number is not None or not isinstance(value, str):
        return number
    if value in _LETTERS:
        return _LETTERS[value]
    word = value.strip().lower()
    if word in _WORDS:
        return _WORDS[word]
    try:
        return float(word) if len(word) <= 400 and "_" not in word else None
    except ValueError:
        return None
