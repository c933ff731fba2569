"""OLMES (oe-eval) output folders.

A folder holds one evaluation of one checkpoint. For each task it has ``task-NNN-<task>-metrics.json`` (scores) and
``-predictions.jsonl`` (instances); ``metrics-all.jsonl`` and ``metrics.json`` repeat the scores of all tasks, so a
score is taken from the first of these that has it. OLMES averages instances plainly, bits per byte too.

``logits_per_byte`` of older versions and ``bits_per_byte`` are one metric: -log2(e) * sum_logits / n_bytes, lower is
better. Dumps without either get it from the requests file, which holds the text of each choice.

Aggregates of other tasks (``task_config.metadata.num_tasks``, such as ``mmlu``) are left out beside their members,
which become subtasks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from .._names import ParsedName, parse_name, parse_size, split_checkpoint
from . import _olmes_choices, _olmes_predictions
from ._choices import Choices
from ._common import config_text, count_of, mapping, text_of
from ._dump import Batch, Part
from ._files import Found, clean, head_of
from ._json_lines import read_lines
from ._olmes_predictions import ALIASES, BOOKKEEPING, PRIMARY, Note, is_loss
from ._report import ReadReport
from ._rows import ResultRows, document_of, score_of, time_of, values_of

FORMAT = "olmes"
LABEL = "OLMES"
PREDICTIONS = "olmes_predictions"
"""How files of instances are counted in the report."""

_FILE = re.compile(
    r"(?P<stem>task-\d+-(?P<task>.+))-"
    r"(?P<kind>metrics|verbose-metrics|predictions|requests|recorded-inputs)\.jsonl?(?:\.gz|\.zstd?)?",
    re.DOTALL,
)
_LADDER = re.compile(r"(?P<recipe>.+)-(?P<size>\d+(?:\.\d+)?[MB])-\d+(?:\.\d+)?xC(?:-\d+)?", re.IGNORECASE)
_NO_SCORES = {
    "requests": "OLMES request file{s}, which hold no scores",
    "recorded-inputs": "OLMES request file{s}, which hold no scores",
    "verbose-metrics": "OLMES file{s} that repeat scores at length",
}


def claims(file: Found, head: bytes) -> bool:
    """Whether this is a file of an OLMES folder."""
    return _kind_of(file.path.name, head) is not None


def _kind_of(name: str, head: bytes) -> str | None:
    match = _FILE.fullmatch(name)
    if match is not None:
        return match["kind"]
    body = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not body.startswith(b"{"):
        return None
    first = body.split(b"\n", 1)[0]
    if {b'"native_id"', b'"doc_id"'} <= _keys_in(first):
        if b'"request_type"' in first:
            return "requests"
        if b'"metrics"' in first and b'"model_output"' in first:
            return "predictions"
    if b'"task_hash"' in body and b'"task_config"' in body and b'"metrics"' in body:
        return "all" if b'"task_hash"' in first else "metrics"
    if b'"all_primary_scores"' in body or (
        name.startswith("metrics.json") and b'"model_config"' in body and b'"tasks"' in body
    ):
        return "summary"
    return None


def _keys_in(line: bytes) -> set[bytes]:
    return {key for key in (b'"native_id"', b'"doc_id"') if key in line}


@dataclass(frozen=True)
class _Task:
    """One task of one folder: its labels, and its scores if the tool stored them."""

    labels: dict[str, Any]
    file: Found
    scores: dict[str, Any] = field(default_factory=dict)
    n: int | None = None
    stamp: float | None = None
    primary: str | None = None
    parts: int = 0
    """How many tasks this one is an aggregate of."""

    @property
    def key(self) -> tuple[Any, ...]:
        return (self.labels["task"], self.labels["config"])


class Dump:
    """All OLMES files below the given paths."""

    def __init__(self, files: Sequence[Found], report: ReadReport) -> None:
        self._report = report
        self._tasks: list[_Task] = []
        self._predictions: list[tuple[Found, _Task, Found | None]] = []
        folders: dict[Path, list[Found]] = {}
        for file in files:
            folders.setdefault(file.path.parent, []).append(file)
        for folder in folders.values():
            self._read_folder(folder)
        self._subtasks = _members(self._tasks)

    # --- planning

    def _read_folder(self, files: list[Found]) -> None:
        kinds: dict[str, list[Found]] = {}
        for file in files:
            match = _FILE.fullmatch(file.path.name)
            try:
                kind = (
                    match["kind"] if match else _kind_of(file.path.name, head_of(file, decompress_zstd=True))
                )
            except OSError as error:
                self._report.skip(file.label, f"cannot be opened: {error.strerror or error}")
                continue
            kinds.setdefault(kind or "other", []).append(file)
        for kind, reason in _NO_SCORES.items():
            for file in kinds.get(kind, []):
                self._report.ignore(file.label, reason)
        by_stem: dict[str, _Task] = {}
        tasks: dict[tuple[Any, ...], _Task] = {}
        for file in kinds.get("metrics", []):
            document = document_of(file, self._report)
            if document is None:
                continue
            task = self._task(document, file)
            if task is not None:
                self._report.files[FORMAT] += 1
                by_stem[_stem(file)] = task
                # Several indices for one task are several evaluations of it: the newest wins later.
                tasks[task.key] = task
                self._tasks.append(task)
        for file in (*kinds.get("all", []), *kinds.get("summary", [])):
            found = self._several(file)
            if found:
                self._report.files[FORMAT] += 1
            for task in found:
                known = tasks.get(task.key)
                if known is None or known.file is file:
                    # Lines of one file on one task are several evaluations: the newest wins later.
                    tasks[task.key] = task
                    self._tasks.append(task)
                elif _differ(known.scores, task.scores):
                    self._report.note(
                        f"{file.label}: its scores of {task.labels['task']} are not those of {known.file.label}, "
                        "which were taken"
                    )
        requests = {_stem(file): file for file in kinds.get("requests", [])}
        for file in kinds.get("predictions", []):
            stem = _stem(file)
            task = by_stem.get(stem) or self._by_name(file, tasks.values())
            labels = {**task.labels, "source": file.label}
            self._predictions.append((file, replace(task, labels=labels), requests.get(stem)))

    def _task(
        self, document: Any, file: Found, model: Mapping[str, Any] | None = None, column: str = ""
    ) -> _Task | None:
        """A task of a metrics document, or None after reporting why not."""
        document = mapping(document)
        scores, settings = document.get("metrics"), mapping(document.get("task_config"))
        metadata = mapping(settings.get("metadata"))
        name = (
            text_of(document.get("task_name"))
            or text_of(settings.get("task_name"))
            or text_of(document.get("alias"))
            or text_of(metadata.get("alias"))
        )
        if name is None or not isinstance(scores, dict):
            reason = "a task must have a name (task_name) and an object of metrics; evaluate it again"
            self._report.drop(reason, file.label, column=column)
            return None
        alias = text_of(metadata.get("alias")) or text_of(document.get("alias"))
        return _Task(
            labels={
                **_model_labels(mapping(document.get("model_config")) or model or {}, file.path),
                "task": clean(name),
                "config": config_text(
                    {
                        "shots": count_of(settings.get("num_shots")),
                        "limit": settings.get("limit"),
                        "variant": _variant(name, alias),
                    }
                ),
                "source": file.label,
            },
            file=file,
            scores=scores,
            n=count_of(document.get("num_instances")),
            stamp=time_of(document.get("current_date"), "%Y-%m-%d %H:%M:%S UTC", "%Y-%m-%d %H:%M:%S"),
            primary=text_of(settings.get("primary_metric")),
            parts=count_of(metadata.get("num_tasks")) or 0,
        )

    def _several(self, file: Found) -> list[_Task]:
        """Tasks of ``metrics-all.jsonl`` or ``metrics.json``."""
        if _is_lines(file):
            rows = read_lines([file], self._report)
            columns = {name: values_of(column) for name, column in rows.fields.items()}
            found = [
                self._task({name: columns[name][at] for name in columns}, file, column=f"line {line}")
                for at, line in enumerate(rows.line.tolist())
            ]
        else:
            document = document_of(file, self._report)
            if document is None:
                return []
            document = mapping(document)
            tasks = document.get("tasks")
            model = mapping(document.get("model_config"))
            found = [
                self._task(task, file, model, f"tasks.{at}")
                for at, task in enumerate(tasks if isinstance(tasks, list) else [])
            ]
        return [task for task in found if task is not None]

    def _by_name(self, file: Found, tasks: Iterable[_Task]) -> _Task:
        """The task of a predictions file without a metrics file of its own."""
        match = _FILE.fullmatch(file.path.name)
        name = match["task"] if match else file.path.name.partition(".")[0].removesuffix("-predictions")
        same = [task for task in tasks if task.labels["task"] == name and not task.parts]
        if len(same) == 1:
            return same[0]
        labels = {**_model_labels({}, file.path), "task": clean(name or "unknown"), "config": None}
        return _Task(labels=labels, file=file)

    def _placed(self, labels: dict[str, Any]) -> dict[str, Any]:
        """Labels with the task that an aggregate makes of a member."""
        aggregate = self._subtasks.get(labels["task"])
        return labels if aggregate is None else {**labels, "task": aggregate, "subtask": labels["task"]}

    # --- the protocol

    def results(self) -> pl.DataFrame | None:
        """Scores that OLMES stored, aggregates left out where their members are there."""
        rows = ResultRows(self._report)
        there = {(task.file.path.parent, self._subtasks.get(task.labels["task"])) for task in self._tasks}
        for task in self._tasks:
            if task.parts and (task.file.path.parent, task.labels["task"]) in there:
                continue
            labels = self._placed(task.labels)
            scores, errors = self._scores(task)
            for metric, value in scores.items():
                rows.add(labels, metric, value, stderr=errors.get(metric), n=task.n, stamp=task.stamp)
        frame = rows.frame()
        self._report.rows += 0 if frame is None else frame.height
        return frame

    def _scores(self, task: _Task) -> tuple[dict[str, float | None], dict[str, float | None]]:
        scores: dict[str, float | None] = {}
        errors: dict[str, float | None] = {}
        for name, value in task.scores.items():
            if BOOKKEEPING.fullmatch(name) or self._is_left_out(name, task):
                continue
            is_score, number = score_of(value)
            if not is_score:
                reason = "a score must be a number; lists, objects and text are left out"
                column = f"{task.labels['task']}.{name}"
                self._report.drop(reason, task.file.label, column=column, found=value)
            elif name.endswith("_stderr"):
                errors[ALIASES.get(name[:-7], name[:-7])] = number
            else:
                metric = ALIASES.get(name, name)
                if scores.get(metric) is None:
                    scores[metric] = number
        return scores, errors

    def _is_left_out(self, name: str, task: _Task) -> bool:
        """Whether this is a primary score that repeats a loss."""
        if name != PRIMARY or not is_loss(task.primary):
            return False
        self._report.note(f"{PRIMARY} is left out where it repeats a metric of which lower is better")
        return True

    def parts(self) -> list[Part]:
        """A part for each predictions file."""
        return [
            Part(
                file=file,
                labels=self._placed(task.labels),
                size=file.path.stat().st_size,
                stamp=task.stamp,
                note=Note(requests, task.primary, task.scores),
                results=task.file.label if task.scores else None,
            )
            for file, task, requests in sorted(self._predictions, key=lambda found: str(found[0].path))
        ]

    def load(self, parts: Sequence[Part]) -> Batch:
        """Instance rows; the key of an instance is ``native_id:doc_id``, as native ids repeat within a task."""
        batch, files, instances = _olmes_predictions.load(parts, self._report)
        self._report.files[PREDICTIONS] += files
        self._report.instances += instances
        return batch

    def choices(self, parts: Sequence[Part]) -> Choices:
        """Log-likelihoods and lengths of the choices of each instance."""
        choices, files, instances = _olmes_choices.load(parts, self._report)
        self._report.files[PREDICTIONS] += files
        self._report.instances += instances
        return choices


# --- names


def _model_labels(model: Mapping[str, Any], path: Path) -> dict[str, Any]:
    name = text_of(model.get("model"))
    revision = text_of(model.get("revision"))
    parts = path.absolute().parts[1:-1]
    place = "/".join(parts[-2:])
    parsed = parse_name(name or place or "unknown", revision, place)
    if parsed.run is None:  # `step8145-unsharded-hf`: what it is a checkpoint of stands before it
        kept = text_of(model.get("model_path")) or place
        folders = [part for part in kept.split("/") if part and split_checkpoint(part)[0]]
        parsed = parse_name(f"{folders[-1]}/{name}" if folders else f"unknown/{name}", revision, place)
    elif name is None:
        parsed = replace(parsed, run=_last_folder(parsed))
    run = clean(parsed.run or "unknown")
    ladder = _LADDER.fullmatch(run.rpartition("/")[2])
    return {
        "run": run,
        "revision": None if parsed.revision is None else clean(parsed.revision),
        "step": parsed.step,
        "tokens": parsed.tokens,
        "seed": parsed.seed,
        "recipe": ladder["recipe"] if ladder else None,
        "params": parse_size(ladder["size"]) if ladder else None,
        "subtask": None,
    }


def _last_folder(parsed: ParsedName) -> str | None:
    return parsed.run.rpartition("/")[2] if parsed.run else None


def _variant(name: str, alias: str | None) -> str | None:
    """What the alias says beyond the task: ``rc::olmes:full`` of ``arc_easy:rc::olmes:full``."""
    if alias is None or alias == name:
        return None
    return alias[len(name) :].strip(":") if alias.startswith(f"{name}:") else alias


def _members(tasks: Sequence[_Task]) -> dict[str, str]:
    """Member -> aggregate, where an aggregate of n tasks has exactly n of its name in one folder.

    ``mmlu_pro_law`` is one of ``mmlu_pro`` and not of ``mmlu``, so longer names go first. A folder in which
    every member stands decides for all folders: a killed run must not rename its tasks.
    """
    folders: dict[Path, list[_Task]] = {}
    for task in tasks:
        folders.setdefault(task.file.path.parent, []).append(task)
    found: dict[str, str] = {}
    for inside in folders.values():
        free = {task.labels["task"] for task in inside if not task.parts}
        for task in sorted(inside, key=lambda task: -len(task.labels["task"])):
            if not task.parts:
                continue
            core, colon, variant = task.labels["task"].partition(":")
            members = {
                name
                for name in free
                if name.startswith(f"{core}_") and name.partition(":")[2] == (variant if colon else "")
            }
            if len(members) == task.parts:
                free -= members
                found.update(dict.fromkeys(members, task.labels["task"]))
    return found


def _differ(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    for name in first.keys() & second.keys():
        (is_score, a), (_, b) = score_of(first[name]), score_of(second[name])
        if (
            is_score
            and a is not None
            and b is not None
            and not math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
        ):
            return not (math.isnan(a) and math.isnan(b))
    return False


def _stem(file: Found) -> str:
    match = _FILE.fullmatch(file.path.name)
    return match["stem"] if match else file.path.name


def _is_lines(file: Found) -> bool:
    return re.search(r"\.jsonl(?:\.gz|\.zstd?)?$", file.path.name) is not None
