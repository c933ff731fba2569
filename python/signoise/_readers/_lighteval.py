"""Results and details of lighteval.

``results/<model>/results_<stamp>.json`` maps ``<task>|<shots>`` to scores (older: ``<suite>|<task>|<shots>|<number>``)
beside averages of the tool's own making (``all``, ``<task>:_average``), which are left out. ``details/<model>/<stamp>/
details_<task>|<shots>_<stamp>.parquet`` has a row per document: ``doc`` (with its ``id``) and ``metric``, a field per
metric; before 0.11 a flatter table with ``metrics`` and no id, where the hash of the example stands in for it.

A task and its part are written ``task:part``. Rows come shuffled, so documents are known by their id only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from .._names import parse_name
from ._choices import Answered, Choices, collected
from ._common import (
    config_text,
    count_of,
    mapping,
    newest,
    number_of,
    place,
    results_frame,
    seconds_of,
    text_of,
)
from ._dump import Batch, Part
from ._files import Found, clean
from ._json_document import Damaged, Document
from ._lighteval_choices import COLUMNS as CHOICES
from ._lighteval_choices import answered, narrowed
from ._report import ReadReport

FORMAT = "lighteval"
LABEL = "lighteval"
PATTERNS = ("details_*.parquet", "results_*.json")

_STAMP = r"\d{4}-\d\d-\d\dT\d\d[-:]\d\d[-:]\d\d(?:\.\d+)?"
_RESULTS_NAME = re.compile(rf"results_(?P<stamp>{_STAMP})\.json(?:\.gz|\.zstd?)?")
_DETAILS_NAME = re.compile(rf"details_(?P<key>.+)_(?P<stamp>{_STAMP})\.parquet", re.DOTALL)
_OUR_COLUMNS = frozenset({"part", "instance_id", "repeat", "cluster", "filter", "line"})
_IN_TEXT = re.compile(
    r"['\"](?P<name>[^'\"]{1,200})['\"]\s*:\s*(?P<value>-?[\d.]+(?:e[-+]?\d+)?|True|False|nan|-?inf)\b",
    re.IGNORECASE,
)
_LN2 = math.log(2.0)
_POLARS = (pl.exceptions.PolarsError, pl.exceptions.PanicException)  # it panics at some damaged Parquet files


def claims(file: Found, head: bytes) -> bool:
    """Whether this is a results file or the details of a task."""
    name = file.path.name
    if head.startswith(b"PAR1"):
        return _DETAILS_NAME.fullmatch(name) is not None
    if not head.strip():
        return _DETAILS_NAME.fullmatch(name) is not None
    return b'"config_general"' in head[:4096] and head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")


@dataclass(frozen=True)
class _Task:
    """What the name of a task says."""

    suite: str | None
    task: str
    subtask: str | None
    shots: int | None


def parse_key(key: str) -> _Task:
    """Task, part and shots of ``task:part|shots`` or ``suite|task:part|shots|number``.

    Examples
    --------
    >>> parse_key("leaderboard|mmlu:anatomy|5|0").task, parse_key("leaderboard|mmlu:anatomy|5|0").shots
    ('mmlu', 5)
    >>> parse_key("gsm8k|4").suite is None
    True
    """
    pieces = key.split("|")
    numbers: list[int] = []
    while len(pieces) > 1 and re.fullmatch(r"\d{1,9}", pieces[-1]):
        numbers.insert(0, int(pieces.pop()))
    suite = pieces.pop(0) if len(pieces) > 1 else None
    task, _, subtask = "|".join(pieces).partition(":")
    return _Task(suite, task, subtask or None, numbers[0] if numbers else None)


def _without_numbers(key: str) -> str:
    """Name of a task without shots: configurations are listed so in older files."""
    return re.sub(r"(?:\|\d+)+$", "", key)


def _is_average(key: str) -> bool:
    return key == "all" or (parse_key(key).subtask or "").rpartition(":")[2] == "_average"


@dataclass
class _Run:
    """One evaluation of one model: what its results file says, or the folder of its details."""

    labels: dict[str, Any]
    limit: int | None = None
    stamp: float | None = None
    keys: set[str] = field(default_factory=set)
    """Tasks as they are written, to tell suites apart where two have the same task."""
    means: dict[str, dict[str, bool]] = field(default_factory=dict)
    """Task (as it is written, without shots) to its metrics, and whether the tool takes the mean of the documents."""
    better: dict[str, dict[str, bool]] = field(default_factory=dict)
    n: dict[str, int | None] = field(default_factory=dict)

    def of(self, key: str) -> dict[str, Any]:
        """Labels of one task."""
        task = parse_key(key)
        same = (task.task, task.subtask, task.shots)
        others = {
            other.suite
            for other in map(parse_key, self.keys)
            if (other.task, other.subtask, other.shots) == same
        }
        config = {
            "shots": task.shots,
            "limit": None if self.limit is None else str(self.limit),
            "suite": task.suite if len(others | {task.suite}) > 1 else None,
        }
        return self.labels | {
            "task": clean(task.task),
            "subtask": None if task.subtask is None else clean(task.subtask),
            "config": config_text(config),
        }


@dataclass(frozen=True)
class _Details:
    """A details file: its task as it is written, and the run it belongs to."""

    file: Found
    key: str
    run: _Run


class Dump:
    """All results and details of lighteval below the given paths."""

    def __init__(self, files: Sequence[Found], report: ReadReport) -> None:
        self._files = list(files)
        self._report = report
        self._runs: dict[tuple[str, str], _Run] | None = None
        self._rows: list[tuple[Found, _Run, dict[str, Any]]] = []
        self._details: list[_Details] = []

    def results(self) -> pl.DataFrame | None:
        """The tool's own scores, its averages left out."""
        self._plan()
        rows = [
            row | {"source": file.label}
            for file, run, scores in self._rows
            for row in self._scores(file, run, scores)
        ]
        self._report.rows += len(rows)
        frame = results_frame(rows)
        if frame is None:
            return None
        return newest(frame, self._report, stamps={file.label: run.stamp for file, run, _ in self._rows})

    def parts(self) -> list[Part]:
        """One part for each details file."""
        self._plan()
        return [
            Part(
                details.file,
                details.run.of(details.key) | {"source": details.file.label},
                details.file.path.stat().st_size,
                details.run.stamp,
                details,
            )
            for details in self._details
        ]

    def load(self, parts: Sequence[Part]) -> Batch:
        """One row for each document."""
        frames: list[pl.DataFrame] = []
        known: list[set[str]] = []
        weights: dict[str, str] = {}
        for at, part in enumerate(parts):
            try:
                frame, metrics = self._read(part.note)
            except (OSError, ValueError, *_POLARS) as error:
                self._report.skip(part.file.label, _reason(error))
                known.append(set())
                continue
            weights |= {name: f"_{name}" for name in metrics if f"_{name}" in frame.columns}
            self._report.files[FORMAT] += 1
            self._report.instances += frame.height
            frames.append(frame.select(pl.lit(at, pl.UInt32).alias("part"), pl.all()))
            known.append(set(metrics))
        names = list(dict.fromkeys(name for metrics in known for name in sorted(metrics)))
        columns = {"part": pl.UInt32, "instance_id": pl.String, "line": pl.UInt32}
        columns |= dict.fromkeys([*names, *weights.values()], pl.Float64)
        empty = pl.DataFrame(schema=columns)
        return Batch(parts, pl.concat([empty, *frames], how="diagonal"), names, weights, known)

    def choices(self, parts: Sequence[Part]) -> Choices:
        """Log-likelihoods, texts and tokens of the choices of each document."""
        columns = {"part": pl.UInt32, "instance_id": pl.String, "line": pl.UInt32}
        frames = [pl.DataFrame(schema=columns)]
        answers: list[Answered | None] = []
        for at, part in enumerate(parts):
            try:
                scan = pl.scan_parquet(part.file.path, glob=False)
                frame = self._documents(part.note, scan, narrowed(scan.collect_schema()))
            except (OSError, ValueError, *_POLARS) as error:
                self._report.skip(part.file.label, _reason(error))
                continue
            self._report.files[FORMAT] += 1
            self._report.instances += frame.height
            frames.append(frame.select(pl.lit(at, pl.UInt32).alias("part"), "instance_id", "line"))
            held = [frame[name] if name in frame.columns else [None] * frame.height for name in CHOICES]
            for line, one in enumerate(map(answered, *held), 1):
                if isinstance(one, str):
                    self._report.drop(one, part.file.label, line)
                answers.append(one if isinstance(one, Answered) else None)
        return collected(pl.concat(frames), answers, {})

    # --- planning

    def _plan(self) -> None:
        if self._runs is not None:
            return
        self._runs = {}
        details = []
        for file in self._files:
            match = _DETAILS_NAME.fullmatch(file.path.name)
            if match is not None:
                if file.path.stat().st_size == 0:
                    self._report.skip(file.label, "the file is empty (0 bytes)")
                else:
                    details.append((file, match["key"], match["stamp"]))
                continue
            try:
                self._read_results(file)
            except OSError as error:
                self._report.skip(file.label, f"cannot be opened: {error.strerror or error}")
            except Damaged as error:
                self._report.skip(file.label, str(error))
        for file, key, stamp in details:
            run = self._run_of(file, stamp)
            if "|" not in key:
                key = _recorded_task(file.path) or key  # noqa: PLW2901 (a name that a file system made safe)
            if _is_average(key):
                continue
            run.keys.add(key)
            self._details.append(_Details(file, key, run))

    def _read_results(self, file: Found) -> None:
        assert self._runs is not None
        with Document(file.path) as document:
            found = dict(document.members())
        general, scores = mapping(found.get("config_general")), found.get("results")
        if not isinstance(scores, dict) or not scores:
            raise Damaged("its `results` are empty: the run did not finish or had no task")
        settings = mapping(general.get("model_config"))
        name = text_of(general.get("model_name")) or text_of(settings.get("model_name"))
        match = _RESULTS_NAME.fullmatch(file.path.name)
        stamp = match["stamp"] if match is not None else file.label
        folder = _model_folder(file.path.parent, "results")
        run = _Run(
            _labels(name or folder, text_of(settings.get("revision")), place(file.path)),
            count_of(general.get("max_samples")),
            seconds_of(file.path.name),
        )
        for key, task in mapping(found.get("config_tasks")).items():
            _describe(run, key, mapping(task))
        run.keys.update(key for key in scores if not _is_average(key))
        self._runs[stamp, folder] = run
        self._rows.append((file, run, scores))
        self._report.files[FORMAT] += 1

    def _run_of(self, file: Found, stamp: str) -> _Run:
        """The run of a details file: that of the results with its stamp, else what the folders say."""
        assert self._runs is not None
        folder = file.path.parent
        if re.fullmatch(_STAMP, folder.name):
            folder = folder.parent
        model = _model_folder(folder, "details")
        run = self._runs.get((stamp, model))
        if run is None:
            same = [found for (other, _), found in self._runs.items() if other == stamp]
            run = same[0] if len(same) == 1 else None
        if run is None:
            run = _Run(_labels(model, None, place(folder / "_")), stamp=seconds_of(stamp))
            self._runs[stamp, model] = run
        return run

    def _scores(self, file: Found, run: _Run, results: dict[str, Any]) -> list[dict[str, Any]]:
        """Result rows of one file."""
        rows = []
        for key, scores in results.items():
            if _is_average(key):
                continue
            if not isinstance(scores, dict):
                reason = "the scores of a task must be an object"
                self._report.drop(reason, file.label, column=f"results.{key}", found=scores)
                continue
            for metric, value in scores.items():
                if metric.endswith("_stderr"):
                    continue
                number = number_of(value)
                if number is None and value is not None:
                    reason = "a score must be a number; lists, objects and text are left out"
                    self._report.drop(reason, file.label, column=f"results.{key}.{metric}", found=value)
                    continue
                rows.append(
                    run.of(key)
                    | {
                        "metric": clean(metric),
                        "value": number,
                        "stderr": number_of(scores.get(f"{metric}_stderr")),
                        "n": run.n.get(_without_numbers(key)),
                        "higher_is_better": run.better.get(_without_numbers(key), {}).get(metric),
                    }
                )
        return rows

    # --- documents

    def _read(self, details: _Details) -> tuple[pl.DataFrame, list[str]]:
        """Rows of one details file and its metrics."""
        scan = pl.scan_parquet(details.file.path, glob=False)
        schema = scan.collect_schema()
        column = next((name for name in ("metric", "metrics") if name in schema), None)
        if column is None:
            raise Damaged(
                f"no column 'metric' or 'metrics' (it has {', '.join(schema.names()[:10])}): no details of lighteval"
            )
        frame = self._documents(details, scan, [pl.col(column)])
        means = details.run.means.get(_without_numbers(details.key), {})
        values = self._values(details.file, frame, column, means)
        metrics = [name for name in values if not name.startswith("_") or name[1:] not in values]
        return frame.select("instance_id", "line").with_columns(**values), metrics

    def _documents(self, details: _Details, scan: pl.LazyFrame, columns: Sequence[pl.Expr]) -> pl.DataFrame:
        """Columns of a details file beside the id and the line of each document."""
        schema = scan.collect_schema()
        chosen = [_identifier(schema).alias("instance_id"), *columns]
        frame = scan.select(chosen).collect(engine="streaming").with_row_index("line", 1)
        names = pl.col("instance_id")
        if frame["instance_id"].null_count():
            self._report.note(
                f"{details.file.label}: documents without an id are numbered; those of another run may differ"
            )
            frame = frame.with_columns(names.fill_null((pl.col("line") - 1).cast(pl.String)))
        if "doc" not in schema:
            # The same example may come twice; its copies are told apart by their order.
            copy = pl.int_range(pl.len()).over("instance_id")
            frame = frame.with_columns(
                pl.when(copy > 0).then(names + "#" + (copy + 1).cast(pl.String)).otherwise(names)
            )
        return frame

    def _values(
        self, file: Found, frame: pl.DataFrame, column: str, means: Mapping[str, bool]
    ) -> dict[str, pl.Series]:
        """Columns of scores, and of weights under the name of the metric with a ``_`` before."""
        dtype = frame.schema[column]
        if dtype == pl.String:
            # Written like this where the values of the rows did not fit together.
            parsed = [_in_text(text) for text in frame[column]]
            found = list(dict.fromkeys(name for row in parsed for name in row))
            series = {name: pl.Series([row.get(name) for row in parsed], dtype=pl.Float64) for name in found}
        elif isinstance(dtype, pl.Struct):
            series = {name.name: frame[column].struct.field(name.name) for name in dtype.fields}
        else:
            raise Damaged(f"its column {column!r} holds {dtype} instead of scores")
        values: dict[str, pl.Series] = {}
        for name, held in series.items():
            ours = clean(f"metric_{name}" if name in _OUR_COLUMNS else name)
            pair = _pair(held)
            if pair is not None and name.endswith("bits_per_byte"):
                values[ours], values[f"_{ours}"] = pair
            elif not (held.dtype.is_numeric() or held.dtype in (pl.Boolean, pl.Null)):
                self._leave_out(file, name, "has no single number per document")
            elif means.get(name, True) is False:
                self._leave_out(file, name, "is no mean of documents")
            else:
                values[ours] = held.cast(pl.Float64)
        return values

    def _leave_out(self, file: Found, name: str, why: str) -> None:
        self._report.note(f"{file.label}: metric {name} {why}, so its documents are left out")


def _pair(held: pl.Series) -> tuple[pl.Series, pl.Series] | None:
    """Bits per byte and bytes of documents that hold log-likelihoods and weights."""
    if not isinstance(held.dtype, pl.Struct):
        return None
    if not {"logprobs", "weights"} <= {entry.name for entry in held.dtype.fields}:
        return None
    logprobs, weights = held.struct.field("logprobs"), held.struct.field("weights")
    if isinstance(logprobs.dtype, pl.List):
        logprobs = logprobs.list.sum()
    if isinstance(weights.dtype, pl.List):
        weights = weights.list.sum()
    if not (logprobs.dtype.is_numeric() and weights.dtype.is_numeric()):
        return None
    weights = weights.cast(pl.Float64)
    return -logprobs.cast(pl.Float64) / weights / _LN2, weights


def _identifier(schema: pl.Schema) -> pl.Expr:
    """What tells documents apart: the id, else the hash of the example, else nothing."""
    doc, hashes = schema.get("doc"), schema.get("hash")
    if isinstance(doc, pl.Struct) and "id" in {entry.name for entry in doc.fields}:
        return pl.col("doc").struct.field("id").cast(pl.String)
    if "id" in schema:
        return pl.col("id").cast(pl.String)
    if isinstance(hashes, pl.Struct) and "example" in {entry.name for entry in hashes.fields}:
        return pl.col("hash").struct.field("example").cast(pl.String)
    return pl.lit(None, pl.String)


def _in_text(text: str | None) -> dict[str, float]:
    """Numbers of a Python dict that was written as text; nothing is evaluated."""
    found = {}
    for match in _IN_TEXT.finditer((text or "")[:10_000]):
        word = match["value"].lower()
        try:
            found[match["name"]] = (
                {"true": 1.0, "false": 0.0}[word] if word in ("true", "false") else float(word)
            )
        except ValueError:
            continue
    return found


def _recorded_task(path: Path) -> str | None:
    """Name of the task as the first document has it."""
    try:
        scan = pl.scan_parquet(path, glob=False)
        doc = scan.collect_schema().get("doc")
        if not isinstance(doc, pl.Struct) or "task_name" not in {entry.name for entry in doc.fields}:
            return None
        first = scan.select(pl.col("doc").struct.field("task_name")).head(1).collect()
    except (OSError, *_POLARS):
        return None  # told when it is loaded
    return text_of(first.item()) if first.height and first.schema["task_name"] == pl.String else None


def _describe(run: _Run, key: str, task: dict[str, Any]) -> None:
    """Directions and kinds of the metrics of a task."""
    listed = task.get("metrics", task.get("metric"))
    docs = count_of(task.get("effective_num_docs"), task.get("original_num_docs"))
    name = _without_numbers(key)
    run.n[name] = docs or None
    for metric in listed if isinstance(listed, list) else []:
        if not isinstance(metric, dict):
            continue
        better, corpus = metric.get("higher_is_better"), metric.get("corpus_level_fn")
        names = metric.get("metric_name")
        for one in names if isinstance(names, list) else [names]:
            if not isinstance(one, str):
                continue
            direction = better.get(one) if isinstance(better, dict) else better
            if isinstance(direction, bool):
                run.better.setdefault(name, {})[one] = direction
            how = corpus.get(one) if isinstance(corpus, dict) else corpus
            if isinstance(how, str):
                run.means.setdefault(name, {})[one] = "mean" in how.lower()


def _labels(model: str, revision: str | None, where: str) -> dict[str, Any]:
    parsed = parse_name(model, revision, where)
    return {
        "run": clean(parsed.run or model),
        "revision": None if parsed.revision is None else clean(parsed.revision),
        "step": parsed.step,
        "tokens": parsed.tokens,
        "seed": parsed.seed,
    }


def _model_folder(folder: Path, above: str) -> str:
    """Folders below the last ``results`` or ``details``: the name of the model; else the last folder."""
    parts = folder.absolute().parts[1:]
    below = [at for at, part in enumerate(parts) if part == above]
    return "/".join(parts[below[-1] + 1 :]) if below and below[-1] + 1 < len(parts) else folder.name


def _reason(error: BaseException) -> str:
    if isinstance(error, Damaged):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be opened: {error.strerror}"
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"not a sound Parquet file ({first}); copy or evaluate it again"
