"""Dumps of lm-evaluation-harness: results files, and the samples (one row per instance and filter) beside them.

Told apart by keys, never by version. ``samples_<task>_<stamp>.jsonl`` belongs to the results file with the same
stamp in its folder; files without a stamp (0.4.2: ``<model arguments>_<task>.jsonl``, a JSON array in spite of its
name) to the results file beside them. Run, checkpoint, task, group, shots and limit come from there, so that keys of
instance rows equal those of result rows; without a results file they come from folder and file name.

Values of a row, at its top level:

    number or bool            the score of the instance
    [loglik, count]           bits_per_byte:                     value = -loglik/count/ln 2, weight = count
                              byte_perplexity, word_perplexity:  value = exp(-loglik/count), weight = count
    loglik                    perplexity (LAMBADA):              value = exp(-loglik)

so that the value of an instance is on the scale of its task's score: the score of bits per byte is
sum(value*weight)/sum(weight), that of a perplexity exp(sum(log(value)*weight)/sum(weight)). Anything else (pairs of
answer and reference for F1 or BLEU) belongs to a statistic of the whole corpus and is left out.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._metrics import aggregation
from ._choices import Answered, Choices, collected
from ._documents import OTHER_LAYOUT, load_document
from ._dump import Batch, Part
from ._files import clean, inner_extension, is_instance_row
from ._json_lines import ABSENT, ARRAY, BOOL, NULL, NUMBER, STRING, Field, Lines, read_lines, scan_lines
from ._lm_eval import Collector, is_results
from ._lm_eval_choices import answered
from ._lm_eval_names import STAMP, Evaluation, parse_place, time_stamp

if TYPE_CHECKING:
    from ._files import Found
    from ._report import ReadReport

FORMAT = "lm_eval"
LABEL = "lm-eval results"

SAMPLES = "lm_eval_samples"
"""How sample files are counted in the report."""

_SAMPLES = re.compile(
    r"samples_(?P<task>.+?)(?:_(?P<stamp>\d{4}-\d\d-\d\dT[-:.\d]+))?\.(?:jsonl|ndjson|json)(?:\.(?:gz|zst|zstd))?",
    re.DOTALL,
)
_ANY_NAME = re.compile(r"(?P<name>.+?)\.(?:jsonl|ndjson|json)(?:\.(?:gz|zst|zstd))?", re.DOTALL)
_ROW = re.compile(rb'\s*\[?\s*\{\s*"doc_id"\s*:\s*[^,{\[]{1,60},\s*"doc"\s*:')
_RESULTS = re.compile(rb'"results"\s*:\s*\{')

_SKIP = (
    *("doc", "target", "arguments", "resps", "prompt", "logits", "truth"),
    *("doc_hash", "prompt_hash", "target_hash"),
)
"""Fields that are checked to be sound JSON and not kept."""
_RESPONSES = "filtered_resps"
_NO_CHOICES = tuple(name for name in _SKIP if name not in ("target", "arguments", "resps"))
_OWN = {"doc_id", "filter", "metrics", _RESPONSES, *_SKIP}

_PAIR = r'^[\[\s]*"?(?:[-+\d.e]+|[-+]?(?:nan|inf(?:inity)?))"?\s*,\s*"?(?:true|false)"?\s*\]'
_BROKEN = r'\[\s*"?[-+]?(?:nan|inf(?:inity)?)"?\s*,\s*"?(?:true|false)"?\s*\]'
"""A log-likelihood and whether it was the model's first choice, and one that is no number."""
_STRANGE = "a score that is no number, among others that are, counts as missing; evaluate the task again"
_NO_NUMBER = (
    "a log-likelihood is nan or infinite; such choices still give scores of 0 or 1, which are kept: "
    "see whether the model is sound"
)

_NO_ID = "a sample must have a doc_id that is a number or a text"
_NAME_ARGUMENTS = ("pretrained", "model", "path", "peft", "delta", "engine")
_EXACT = 2.0**53

_NO_FILTER = ("none", "")
"""What the harness calls the filter that does nothing."""
_UNLABELLED = "rows of several filters without labels, and not one row for each filter of this instance"


def claims(file: Found, head: bytes) -> bool:
    """Whether this is a results or a samples file of this harness."""
    name = file.name
    body = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not body:
        return _SAMPLES.fullmatch(name) is not None
    if not body.startswith((b"{", b"[")):
        return False
    if _ROW.match(body) is not None:
        return True
    if b'"doc_id"' in body and (
        _SAMPLES.fullmatch(name) or (b'"resps"' in body and b'"filtered_resps"' in body)
    ):
        return True
    return body.startswith(b"{") and _RESULTS.search(body) is not None and b'"config_general"' not in body


def is_samples(file: Found, head: bytes) -> bool:
    """Whether name and first keys both say that these are samples, so that no other harness can mean it."""
    return _ROW.match(head) is not None and _named(file.name) is not None


@lru_cache(maxsize=4096)
def _named(name: str) -> tuple[str, str | None] | None:
    """Task and time stamp that the name of a samples file tells; checkpoints have files of the same names."""
    match = _SAMPLES.fullmatch(name)
    return None if match is None else (match["task"], match["stamp"])


@dataclass(frozen=True)
class Note:
    """What the results file says of the samples of a task."""

    filters: tuple[str | None, ...] = (None,)
    """In the order in which 0.4.2 wrote their rows; None is no filter."""
    delimiter: str = " "
    """What stands between a question and each of its choices."""


class Dump:
    """Results and samples below the given paths.

    Attributes
    ----------
    files : list of Found
    report : ReadReport
    """

    def __init__(self, files: Sequence[Found], report: ReadReport) -> None:
        self._report = report
        self._collector = Collector(report)
        self._samples: list[tuple[Found, str, str | None, str | None]] = []  # file, folder, task, stamp
        self._beside: dict[str, list[Evaluation]] = defaultdict(list)
        self._stamped: dict[tuple[str, str], Evaluation] = {}
        documents: list[Found] = []
        folders: set[str] = set()
        for file in files:
            named = _named(file.name)
            if named is not None or inner_extension(file.name) in (".jsonl", ".ndjson"):
                folder = os.path.dirname(file.file)
                folders.add(folder)
                self._samples.append((file, folder, *(named or (None, None))))
            else:
                documents.append(file)
        for file in documents:
            self._add_document(file, folders)

    def _add_document(self, file: Found, folders: set[str]) -> None:
        document = load_document(file, self._report)
        if document is None:
            return
        if not is_results(document):
            if isinstance(document, list) and document and is_instance_row(document[0]):
                self._samples.append((file, os.path.dirname(file.file), None, None))
            else:
                self._report.ignore(file.label, OTHER_LAYOUT)
            return
        evaluation = self._collector.add(file, document)
        folder = os.path.dirname(file.file)
        if evaluation is not None and folder in folders:
            self._beside[folder].append(evaluation)
            if (match := STAMP.search(file.name)) is not None:
                self._stamped[folder, match[0]] = evaluation

    def results(self) -> pl.DataFrame | None:
        """Rows of the results files, re-runs resolved."""
        return self._collector.frame()

    def parts(self) -> list[Part]:
        """One for each samples file."""
        known: dict[tuple[Any, ...], dict[str, Any]] = {}  # folders and evaluations are looked at once
        parts = []
        for file, folder, named, stamp in self._samples:
            evaluation, task, model = self._evaluation(file, folder, named, stamp)
            if evaluation is None:
                key: tuple[Any, ...] = (folder, model)
                if key not in known:
                    known[key] = _labels_of_folder(folder, model)
                labels = known[key] | {"task": clean(task), "source": file.label}
                seconds, results = None, None
                note = Note()
            else:
                key = (id(evaluation), task)
                if key not in known:
                    known[key] = _labels_of(evaluation, task)
                labels = known[key] | {"source": file.label}
                seconds, results = evaluation.stamp, evaluation.label
                note = Note(evaluation.filters(task), evaluation.delimiter(task))
            if stamp is not None:
                seconds = time_stamp(stamp) or seconds
            parts.append(Part(file, labels, os.stat(file.file).st_size, seconds, note, results))
        return parts

    def _evaluation(
        self, file: Found, folder: str, task: str | None, stamp: str | None
    ) -> tuple[Evaluation | None, str, str | None]:
        """The results file that a samples file belongs to, its task, and a model that its name tells."""
        if task is not None and stamp is not None:
            return self._stamped.get((folder, stamp)), task, None
        beside = self._beside.get(folder, ())
        if task is not None:
            return _only([evaluation for evaluation in beside if evaluation.knows(task)]), task, None
        match = _ANY_NAME.fullmatch(file.name)
        name = file.name if match is None else match["name"]
        ends = [(evaluation, end) for evaluation in beside if (end := _known_end(name, evaluation))]
        same = [pair for pair in ends if _words(name[: -len(pair[1])]) == _words(pair[0].arguments)]
        chosen = _only([evaluation for evaluation, _ in same or ends])
        if chosen is not None:
            return chosen, next(end for evaluation, end in ends if evaluation is chosen), None
        model, task = _old_name(name)
        return None, task, model

    def fetch(
        self, parts: Sequence[Part], *, threads: int | None = None, stop: Callable[[], bool] | None = None
    ) -> dict[str, Any]:
        """What `load` takes as `fetched`."""
        return scan_lines(
            [part.file for part in parts], skip=_SKIP, odd=[_RESPONSES], threads=threads, stop=stop
        )

    def load(self, parts: Sequence[Part], fetched: dict[str, Any] | None = None) -> Batch:
        """Rows of some samples files, metrics side by side."""
        lines = read_lines(
            [part.file for part in parts], self._report, skip=_SKIP, odd=[_RESPONSES], scanned=fetched
        )
        self._report.files[SAMPLES] += int(np.count_nonzero(np.bincount(lines.file)))
        self._report.instances += len(lines.line)
        self._doubt(parts, lines)
        lines, columns, codes = self._labelled(parts, lines)
        known = _known_metrics(parts, lines)
        metrics: list[str] = []
        weights: dict[str, str] = {}
        for name in sorted(set().union(*known)):
            knows = np.array([name in names for names in known])
            scores = _scores(name, lines, knows, len(parts))
            for at in np.flatnonzero(knows & ~scores.knows).tolist():
                known[at].discard(name)
                self._report.note(
                    f"metric {name}: its values are no numbers but what a statistic over all instances needs; "
                    f"instances are left out (first: {parts[at].file.label})",
                    about=f"metric {name}",
                )
            for at in np.unique(lines.file[scores.strange]):
                rows = np.flatnonzero(scores.strange & (lines.file == at))
                label, first = parts[at].file.label, int(rows[0])
                self._report.doubt(
                    _STRANGE, label, int(lines.line[first]), found=f"metric {name}", count=len(rows)
                )
            if scores.knows.any():
                metrics.append(name)
                columns[name] = scores.values
                if scores.weights is not None:
                    weights[name] = f"weight of {name}"
                    columns[weights[name]] = scores.weights
        for part, names in zip(parts, known, strict=True):
            if not names:
                self._report.note(
                    f"samples without a metric (a run that only predicts): {part.file.label} ..",
                    about="samples without a metric",
                )
        batch = Batch(parts, pl.DataFrame(columns), metrics, weights, known)
        if codes is not None:
            batch.know_codes("instance_id", codes)
        return batch

    def choices(self, parts: Sequence[Part]) -> Choices:
        """Log-likelihoods and texts of the choices of each instance."""
        lines = read_lines([part.file for part in parts], self._report, skip=_NO_CHOICES)
        self._report.files[SAMPLES] += int(np.count_nonzero(np.bincount(lines.file)))
        self._report.instances += len(lines.line)
        lines, columns, _ = self._labelled(parts, lines)
        delimiters = [parts[at].note.delimiter for at in lines.file]
        found, own = answered(lines, delimiters)
        for at, one in enumerate(found):
            if isinstance(one, str):
                where = parts[lines.file[at]].file.label
                self._report.drop(
                    one, where, int(lines.line[at]), found=f"doc_id {columns['instance_id'][at]}"
                )
        answers = [one if isinstance(one, Answered) else None for one in found]
        return collected(pl.DataFrame(columns), answers, own)

    def _labelled(
        self, parts: Sequence[Part], lines: Lines
    ) -> tuple[Lines, dict[str, pl.Series], NDArray[np.int64] | None]:
        """Rows whose instance and filter are known, these as columns, and the codes of the ids where they are free."""
        lines, ids, codes = self._with_id(parts, lines)
        filters, sound = _filters(parts, lines, ids)
        if not sound.all():
            for at in np.flatnonzero(~sound):
                where = parts[lines.file[at]].file.label
                self._report.drop(_UNLABELLED, where, int(lines.line[at]), found=f"doc_id {ids[int(at)]}")
            lines, ids, filters = lines.take(sound), ids.filter(sound), filters.filter(sound)
            codes = None
        columns = {
            "part": pl.Series(lines.file, dtype=pl.UInt32),
            "instance_id": ids,
            "filter": filters,
            "line": pl.Series(lines.line, dtype=pl.UInt32),
        }
        return lines, columns, codes

    def _with_id(
        self, parts: Sequence[Part], lines: Lines
    ) -> tuple[Lines, pl.Series, NDArray[np.int64] | None]:
        """Rows with an instance id, those ids, and their codes (`Batch.codes`) where these come for free."""
        field = lines.fields.get("doc_id") or Field.absent(len(lines.line))
        if (field.kind == NUMBER).all() and _whole(field.number).all():
            return lines, *_numbered(field.number.astype(np.int64))
        sound = (field.kind == STRING) | ((field.kind == NUMBER) & np.isfinite(field.number))
        for at in np.flatnonzero(~sound):
            self._report.drop(_NO_ID, parts[lines.file[at]].file.label, int(lines.line[at]))
        if not sound.all():
            lines = lines.take(sound)
            field = lines.fields.get("doc_id") or Field.absent(len(lines.line))
        whole = _whole(field.number)
        if whole.all():
            return lines, *_numbered(field.number.astype(np.int64))
        numbers = pl.Series(field.number)
        ids = pl.select(
            pl.when(pl.Series(whole))
            .then(numbers.cast(pl.Int64, strict=False).cast(pl.String))
            .otherwise(pl.coalesce(field.text, numbers.cast(pl.String)))
        ).to_series()
        return lines, ids, None

    def _doubt(self, parts: Sequence[Part], lines: Lines) -> None:
        """Tell of rows with responses that are no numbers, whatever their scores."""
        field = lines.fields.pop(_RESPONSES, None)
        if field is None:
            return
        rows = np.flatnonzero(field.kind)
        if not len(rows):
            return
        texts = field.text[rows].str.to_lowercase()
        rows = rows[(texts.str.contains(_PAIR) & texts.str.contains(_BROKEN)).to_numpy()]
        for at in np.unique(lines.file[rows]):
            mine = rows[lines.file[rows] == at]
            label, first = parts[at].file.label, int(mine[0])
            self._report.doubt(
                _NO_NUMBER, label, int(lines.line[first]), found=field.text[first], count=len(mine)
            )


# --- which results file


def _only(found: Sequence[Evaluation]) -> Evaluation | None:
    """The one evaluation that is meant: the newest of one checkpoint, none where checkpoints differ."""
    if len({evaluation.checkpoint for evaluation in found}) != 1:
        return None
    return max(found, key=lambda evaluation: evaluation.stamp or -math.inf)


def _known_end(name: str, evaluation: Evaluation) -> str | None:
    """The task that a file name ends in: of all that fit, the longest."""
    at = -1
    while (at := name.find("_", at + 1)) >= 0:
        if evaluation.knows(name[at + 1 :]):
            return name[at + 1 :]
    return None


def _words(text: str) -> list[str]:
    """What a name says whatever its punctuation became."""
    return re.findall(r"[^\W_]+", text)


def _old_name(name: str) -> tuple[str | None, str]:
    """(model, task) of ``pretrained__org__model,seed__3_task``: the task begins at the first lone underscore."""
    value = re.split(r"__|,", name)[-1]
    task = value.partition("_")[2] or value
    for piece in name[: len(name) - len(task) - 1].split(","):
        key, joined, model = piece.partition("__")
        if joined and key in _NAME_ARGUMENTS:
            return model.replace("__", "/"), task
    return None, task


def _labels_of(evaluation: Evaluation, task: str) -> dict[str, Any]:
    place = evaluation.place(task)
    names = ("run", "revision", "step", "tokens", "params", "seed")
    labels = {name: getattr(evaluation, name) for name in names}
    return labels | {"task": place.task, "subtask": place.subtask, "config": place.config}


def _labels_of_folder(folder: str, model: str | None) -> dict[str, Any]:
    """Run and checkpoint by the names of file and folders: ``MODEL/step2500``, ``org__model``."""
    parsed = parse_place(Path(folder), model)
    return {
        "run": clean(parsed.run or "unknown"),
        "revision": None if parsed.revision is None else clean(parsed.revision),
        "step": parsed.step,
        "tokens": parsed.tokens,
        "seed": parsed.seed,
    }


# --- columns


def _whole(numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (np.abs(numbers) < _EXACT) & (numbers == np.floor(numbers))


def _numbered(ids: NDArray[np.int64]) -> tuple[pl.Series, NDArray[np.int64] | None]:
    """Whole numbers as texts, and the places of these in sorted order, from 1.

    Tasks number their instances from 0, so the same few numbers come again and again: each is made a text once.
    """
    high = int(ids.max(initial=0))
    if high >= max(2 * len(ids), _FEW) or ids.min(initial=0) < 0:
        return pl.Series(ids).cast(pl.String), None
    texts, place = (_few_number_texts if high < _FEW else _number_texts)(high.bit_length())
    return texts.gather(ids.astype(np.uint32)), place[ids]


def _number_texts(bits: int) -> tuple[pl.Series, NDArray[np.int64]]:
    """The numbers of so many bits as texts, and the places of these in sorted order, from 1."""
    texts = pl.select(pl.int_range(1 << bits)).to_series().cast(pl.String)
    place = np.empty(len(texts), dtype=np.int64)
    place[texts.arg_sort().to_numpy()] = np.arange(1, len(texts) + 1)
    return texts, place


_FEW = 1 << 16
_few_number_texts = lru_cache(maxsize=2)(_number_texts)
"""Of fewer than `_FEW` numbers, kept for the next batch."""


def _filters(parts: Sequence[Part], lines: Lines, ids: pl.Series) -> tuple[pl.Series, NDArray[np.bool_]]:
    """The filter of each row, and whether it is known; rows of 0.4.2 have no label."""
    rows = len(lines.line)
    field = lines.fields.get("filter") or Field.absent(rows)
    sound = np.ones(rows, dtype=bool)
    bare = field.kind != STRING
    one = field.one_text()
    if one is not None and not bare.any():
        return pl.Series([None if one in _NO_FILTER else one], dtype=pl.String).new_from_index(0, rows), sound
    named = field.texts
    filters = pl.select(pl.when(~named.is_in(_NO_FILTER)).then(named)).to_series().gather(field.place)
    if not bare.any():
        return filters, sound
    # One row for each filter and instance, in the order of the configuration.
    counted = pl.DataFrame({"file": lines.file, "id": ids}).select(
        nth=pl.int_range(pl.len()).over("file", "id"), rows=pl.len().over("file", "id")
    )
    nth, together = counted["nth"].to_numpy(), counted["rows"].to_numpy()
    of_config = np.full(rows, None, dtype=object)
    for at in np.unique(lines.file[bare]):
        names = parts[at].note.filters
        mine = bare & (lines.file == at)
        if len(names) == 1:
            of_config[mine] = names[0]
            continue
        sound &= ~mine | (together == len(names))
        mine &= sound
        of_config[mine] = np.array(names, dtype=object)[nth[mine]]
    told = pl.Series(of_config.tolist(), dtype=pl.String)
    return pl.select(pl.when(pl.Series(bare)).then(told).otherwise(filters)).to_series(), sound


def _known_metrics(parts: Sequence[Part], lines: Lines) -> list[set[str]]:
    """Metrics of each part: those that its rows list, else every field that is not the harness' own."""
    known: list[set[str]] = [set() for _ in parts]
    listing = lines.fields.get("metrics") or Field.absent(len(lines.line))
    lists = listing.kind == ARRAY
    if lists.any():
        # Nearly all rows of a file list the same: only those where the list changes are looked at.
        changes = np.ones(len(lists), dtype=bool)
        changes[1:] = (listing.place[1:] != listing.place[:-1]) | (lines.file[1:] != lines.file[:-1])
        at_rows = np.flatnonzero(lists & changes)
        texts = listing.texts.gather(listing.place[at_rows])
        for at, text in zip(lines.file[at_rows].tolist(), texts.to_list(), strict=True):
            known[at].update(_listed(text))
    silent = np.bincount(lines.file, minlength=len(parts)) > 0
    silent &= np.bincount(lines.file[lists], minlength=len(parts)) == 0
    if silent.any():
        for name, field in lines.fields.items():
            if name not in _OWN:
                there = np.bincount(lines.file[field.kind != ABSENT], minlength=len(parts)) > 0
                for at in np.flatnonzero(silent & there):
                    known[at].add(name)
    return known


@lru_cache(maxsize=4096)
def _listed(text: str) -> tuple[str, ...]:
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    return tuple(name for name in names if isinstance(name, str) and name not in _OWN)


@dataclass(frozen=True)
class _Scores:
    """Values of one metric, null in parts that do not know it."""

    values: pl.Series
    weights: pl.Series | None
    knows: NDArray[np.bool_]
    strange: NDArray[np.bool_]
    """Rows whose value is no number, in parts with others that are."""


def _scores(name: str, lines: Lines, knows: NDArray[np.bool_], n_parts: int) -> _Scores:
    rows = len(lines.line)
    field = lines.fields.get(name) or Field.absent(rows)
    values = field.number
    scored = (field.kind == NUMBER) | (field.kind == BOOL)
    other = ~scored & (field.kind > NULL)
    weights = None
    rule = aggregation(name)
    if name == "perplexity":
        with np.errstate(over="ignore"):
            values = np.exp(-values)  # of a log-likelihood
    if rule in ("ratio", "perplexity") and (pairs := field.kind == ARRAY).any():
        total, size = _pairs(field.text)
        pairs &= size.is_not_null().to_numpy() & total.is_not_null().to_numpy()
        n = np.where(pairs, size.fill_null(0.0).to_numpy(), np.nan)
        with np.errstate(all="ignore"):
            ratio = -total.fill_null(math.nan).to_numpy() / n
            ratio = ratio / math.log(2) if rule == "ratio" else np.exp(ratio)
        values = np.where(pairs, ratio, values)
        other &= ~pairs
        scored |= pairs & (n > 0)  # an empty document has no ratio
        weights = pl.select(pl.when(pl.Series(pairs)).then(pl.Series(n))).to_series()
    if knows.all() and scored.all():
        return _Scores(pl.Series(values), weights, knows, other)
    found = np.bincount(lines.file[scored], minlength=n_parts) > 0
    knows = knows & (found | (np.bincount(lines.file[other], minlength=n_parts) == 0))
    scored &= knows[lines.file]
    column = pl.Series(values)
    if not scored.all():
        column = pl.select(pl.when(pl.Series(scored)).then(column)).to_series()
    return _Scores(column, weights, knows, other & knows[lines.file])


def _pairs(text: pl.Series) -> tuple[pl.Series, pl.Series]:
    """``[-157.9, 194]`` as two numbers, null where there are not two."""
    bare = text.str.strip_chars("[] \t\r\n")
    comma = bare.str.find(",", literal=True)
    pieces = bare.str.slice(0, comma), bare.str.slice(comma + 1).str.strip_chars_start(" ")
    first, second = (piece.cast(pl.Float64, strict=False) for piece in pieces)
    if first.null_count() + second.null_count() > 2 * text.null_count():  # numbers in quotes, or no numbers
        first, second = (piece.str.strip_chars('" \t\r\n').cast(pl.Float64, strict=False) for piece in pieces)
    return first, second
