"""Run directories of HELM (crfm-helm): instances, and the tool's statistics of them.

``benchmark_output/runs/<suite>/<scenario>:<arguments>/`` holds ``run_spec.json`` (what was run),
``per_instance_stats.json`` (a list of statistics for each instance, training trial and perturbation) and
``stats.json`` (the means of the trials' means). A trial draws other few-shot examples: it is our ``repeat``.

Most statistics are bookkeeping (tokens, run time, how a generation ended) and are left out. A statistic belongs to
a split and maybe a part of it, and to the original or to a perturbed input; the tool pools none of these. Splits
other than ``test`` stand in ``config``. Perturbed copies of instances are left out unless asked for, and then stand
in ``config`` too. Worst cases over perturbations are another thing than scores, and are left out always.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from .._names import parse_name
from ._common import (
    Columns,
    config_text,
    count_of,
    mapping,
    number_of,
    one_word,
    place,
    results_frame,
    text_of,
)
from ._dump import Batch, Part
from ._files import Found, clean
from ._json_document import Damaged, Document
from ._report import ReadReport

FORMAT = "helm"
LABEL = "HELM run"
PATTERNS = ("per_instance_stats.json", "run_spec.json", "stats.json")

MAX_SPEC_BYTES = 16 * 2**20
"""Of run_spec.json, which has a few kilobytes."""

_INSTANCES = "per_instance_stats.json"
_SPEC = "run_spec.json"
_STATS = "stats.json"
_BESIDE = (
    "scenario.json",
    "scenario_state.json",
    "instances.json",
    "display_requests.json",
    "display_predictions.json",
)

_PACKED = re.compile(r"\.(?:gz|zstd?)$")
_BOOKKEEPING = re.compile(
    r"num_.*|n_.*|max_prob|batch_size|prompt_truncated|finish_reason_.*|inference_.*|training_.*|estimated_.*"
    r"|predicted_index|.*_runtime|.*_cost|.*_tokens|.*_discrepancy|platt_.*|example_.*"
)
_NO_CONFIG = {"model", "model_deployment", "max_train_instances", "num_train_trials", "max_eval_instances"}
_BYTES = "num_bytes"
_LN2 = math.log(2.0)

_Context = tuple[str, str, str]
"""Split, part of the split, perturbation; empty = none."""


def claims(file: Found, head: bytes) -> bool:
    """Whether this file belongs to a run directory."""
    name = _PACKED.sub("", file.path.name)
    if name == _INSTANCES:
        return True
    if name == _SPEC:
        return b'"adapter_spec"' in head or b'"scenario_spec"' in head or not head.strip()
    if name in (_STATS, *_BESIDE):
        return any(_path(file.path.parent, beside).exists() for beside in (_SPEC, _INSTANCES))
    return False


def _path(folder: Path, name: str) -> Path:
    """Where a file of a run is: as it is written, or compressed."""
    paths = [folder / (name + packed) for packed in ("", ".gz", ".zst", ".zstd")]
    return next((path for path in paths if path.exists()), paths[0])


@dataclass
class _Run:
    """One run directory."""

    folder: Path
    label: str
    labels: dict[str, Any] = field(default_factory=dict)
    cap: int | None = None
    """Instances it was limited to."""
    instances: Found | None = None
    stats: list[tuple[_Context, str, dict[str, Any]]] = field(default_factory=list)
    contexts: list[_Context] = field(default_factory=list)
    counts: dict[_Context, int] = field(default_factory=dict)

    def of(self, context: _Context) -> dict[str, Any]:
        """Labels of one context."""
        split, part, perturbation = context
        pairs = {
            "split": None if split in ("", "test") else split,
            "sub_split": part or None,
            "perturbation": perturbation or None,
        }
        # A limit that the scenario did not reach changes nothing.
        count = self.counts.get(context, self.counts.get((split, part, "")))
        if self.cap is not None and (count is None or count >= self.cap):
            pairs["limit"] = str(self.cap)
        return self.labels | {"config": config_text(self.labels["config"] | pairs)}


@dataclass
class _Row:
    """Scores of one instance in one trial, and its bytes under ``_BYTES``."""

    part: int
    instance: str
    trial: int
    line: int
    values: dict[str, float | None]


class Dump:
    """All run directories of HELM below the given paths.

    Parameters
    ----------
    files : sequence of Found
        Any of the files of a run; the others are looked for beside them.
    report : ReadReport
    perturbed : bool
        Whether to read perturbed copies of instances too, with ``perturbation=<name>`` in ``config``.
    """

    def __init__(self, files: Sequence[Found], report: ReadReport, *, perturbed: bool = False) -> None:
        self._files = list(files)
        self._report = report
        self._perturbed = perturbed
        self._planned: list[_Run] | None = None

    def results(self) -> pl.DataFrame | None:
        """Means over trials of the statistics that are scores."""
        rows: list[dict[str, Any]] = []
        for run in self._plan():
            source = run.label + _path(run.folder, _STATS).name
            for context, name, stat in run.stats:
                if context[2] and not self._perturbed:
                    continue
                rows.append(
                    run.of(context)
                    | {
                        "metric": name,
                        "value": number_of(stat.get("mean")),
                        "n": run.counts.get(context),
                        "source": source,
                    }
                )
        self._report.rows += len(rows)
        return results_frame(rows)

    def parts(self) -> list[Part]:
        """One part for each run directory and split."""
        parts = []
        for run in self._plan():
            if run.instances is None:
                continue
            size = run.instances.path.stat().st_size
            parts += [
                Part(
                    run.instances,
                    run.of(context) | {"source": run.instances.label},
                    size // len(run.contexts),
                    None,
                    context,
                )
                for context in run.contexts
            ]
        return parts

    def load(self, parts: Sequence[Part]) -> Batch:
        """One row for each instance and trial."""
        known: list[set[str]] = [set() for _ in parts]
        by_file: dict[Path, dict[_Context, int]] = {}
        for at, part in enumerate(parts):
            by_file.setdefault(part.file.path, {})[part.note] = at
        files = {part.file.path: part.file for part in parts}
        columns = Columns()
        weights: list[float | None] = []
        for path, places in by_file.items():
            for row in self._rows(files[path], places):
                values, n_bytes = _with_bits_per_byte(row.values)
                columns.add(row.part, row.instance, values, line=row.line, repeat=row.trial)
                weights.append(n_bytes)
                known[row.part].update(values)
        frame = columns.frame()
        self._report.instances += frame.height
        names = list(columns.values)
        if any(weight is not None for weight in weights):
            frame = frame.with_columns(pl.Series("_bytes", weights, pl.Float64))
            return Batch(parts, frame, names, {"bits_per_byte": "_bytes"}, known)
        return Batch(parts, frame, names, known=known)

    def _rows(self, file: Found, places: dict[_Context, int]) -> list[_Row]:
        """Rows of one file. Each kind of metric writes entries of its own, which are joined here."""
        rows: dict[tuple[int, str, int], list[_Row]] = {}
        line = 0
        try:
            with Document(file.path) as document:
                for line, entry in enumerate(document.elements(), 1):
                    found = _entry(file, line, entry, self._report)
                    if found is None:
                        continue
                    instance, trial, by_context = found
                    for context, stats in by_context.items():
                        at = places.get(context)
                        if at is None:
                            continue
                        values = _values(file, line, stats, self._report)
                        same = rows.setdefault((at, instance, trial), [])
                        free = next((row for row in same if not row.values.keys() & values.keys()), None)
                        if free is None:
                            same.append(_Row(at, instance, trial, line, values))
                        else:
                            free.values.update(values)
        except OSError as error:
            self._report.skip(file.label, f"cannot be opened: {error.strerror or error}")
        except Damaged as error:
            if line:
                reason = "the file is cut or damaged here and read up to here; copy or evaluate it again"
                self._report.drop(reason, file.label, line + 1, found=str(error))
            else:
                self._report.skip(file.label, str(error))
        return [row for same in rows.values() for row in same]

    # --- planning

    def _plan(self) -> list[_Run]:
        if self._planned is None:
            self._planned = []
            folders: dict[Path, _Run] = {}
            for file in self._files:
                folder = file.path.parent
                if folder not in folders:
                    folders[folder] = _Run(folder, file.label[: len(file.label) - len(file.path.name)])
            for run in folders.values():
                if self._read_run(run):
                    self._planned.append(run)
                    self._report.files[FORMAT] += 1
        return self._planned

    def _read_run(self, run: _Run) -> bool:
        instances, stats = _path(run.folder, _INSTANCES), _path(run.folder, _STATS)
        if not instances.exists() and not stats.exists():
            self._report.skip(
                run.label + _SPEC, f"a run without {_INSTANCES} and {_STATS}: it did not finish"
            )
            return False
        self._read_spec(run)
        if stats.exists():
            self._read_stats(run, stats)
        if instances.exists():
            if instances.stat().st_size == 0:
                self._report.skip(run.label + _INSTANCES, "the file is empty (0 bytes)")
            else:
                run.instances = Found(instances, run.label + instances.name, explicit=False)
                if not run.contexts:
                    self._scan_contexts(run, run.instances)
        left = [context for context in run.contexts if context[2]]
        if left and not self._perturbed:
            run.contexts = [context for context in run.contexts if not context[2]]
            names = ", ".join(sorted({context[2] for context in left}))
            self._report.note(
                f"{run.label or run.folder.name}: perturbed copies of instances are left out ({names})"
            )
        return True

    def _read_spec(self, run: _Run) -> None:
        spec: dict[str, Any] = {}
        try:
            with Document(_path(run.folder, _SPEC), max_value=MAX_SPEC_BYTES) as document:
                spec = dict(document.members())
        except OSError:
            self._report.note(
                f"{run.label}{_SPEC}: absent; the name of the folder tells the model and the task"
            )
        except Damaged as error:
            self._report.skip(
                run.label + _SPEC, f"{error}; the name of the folder tells the model and the task"
            )
        name = text_of(spec.get("name")) or run.folder.name
        task, _, rest = name.partition(":")
        pairs = [pair.partition("=") for pair in rest.split(",")]
        given = {name: value for name, equals, value in pairs if equals}
        adapter = mapping(spec.get("adapter_spec"))
        arguments = {
            key: str(value)
            for key, value in mapping(mapping(spec.get("scenario_spec")).get("args")).items()
            if isinstance(value, (str, int, float)) and str(value)
        }
        if not spec:  # only the folder's name: what says nothing about the prompt is part of the scenario
            arguments = {key: value for key, value in given.items() if key not in (*_NO_CONFIG, "method")}
        model = text_of(adapter.get("model")) or given.get("model") or run.folder.name
        parsed = parse_name(model, None, place(run.folder / _STATS))
        variant = {
            key: value for key, value in given.items() if key not in _NO_CONFIG and key not in arguments
        }
        shots = count_of(adapter.get("max_train_instances"))
        if shots is None and given.get("max_train_instances", "").isdecimal():
            shots = int(given["max_train_instances"])
        run.cap = count_of(adapter.get("max_eval_instances"))
        run.labels = {
            "run": clean(parsed.run or run.folder.name),
            "revision": None if parsed.revision is None else clean(parsed.revision),
            "step": parsed.step,
            "tokens": parsed.tokens,
            "seed": parsed.seed,
            "task": clean(task),
            "subtask": _subtask(arguments),
            "config": {**variant, "shots": shots},
        }

    def _read_stats(self, run: _Run, path: Path) -> None:
        line = 0
        try:
            with Document(path) as document:
                for line, stat in enumerate(document.elements(), 1):
                    read = _read_stat(stat)
                    if read is None:
                        self._report.drop("a stat needs a name", run.label + _STATS, line, found=stat)
                        continue
                    context, name = read
                    if context is None:
                        continue
                    count, mean = count_of(stat.get("count", 1)), stat.get("mean")
                    if name == "num_instances":
                        run.counts[context] = int(number_of(mean) or 0)
                        continue
                    if _BOOKKEEPING.fullmatch(name) or count == 0 or number_of(mean) is None:
                        continue
                    if context not in run.contexts:
                        run.contexts.append(context)
                    run.stats.append((context, clean(name), stat))
        except OSError as error:
            self._report.skip(run.label + _STATS, f"cannot be opened: {error.strerror or error}")
        except Damaged as error:
            self._report.skip(run.label + _STATS, str(error))
            run.contexts.clear()

    def _scan_contexts(self, run: _Run, file: Found) -> None:
        """Contexts from the instances, where the run's statistics are absent or damaged."""
        seen: dict[_Context, set[str]] = {}
        quiet = ReadReport()
        try:
            with Document(file.path) as document:
                for line, entry in enumerate(document.elements(), 1):
                    found = _entry(file, line, entry, quiet)
                    if found is None:
                        continue
                    for context, stats in found[2].items():
                        if any(not _BOOKKEEPING.fullmatch(name) for name, _ in stats):
                            seen.setdefault(context, set()).add(found[0])
        except (OSError, Damaged):
            pass  # told when it is loaded
        run.contexts = sorted(seen) or [("test", "", "")]
        run.counts = {context: len(names) for context, names in seen.items()}


def _entry(
    file: Found, line: int, entry: Any, report: ReadReport
) -> tuple[str, int, dict[_Context, list[tuple[str, dict[str, Any]]]]] | None:
    """(instance, trial, statistics by context) of one element, or None where it is dropped."""
    found = mapping(entry)
    name, trial = found.get("instance_id"), count_of(found.get("train_trial_index", 0))
    if isinstance(name, bool) or not isinstance(name, (str, int)):
        report.drop("an instance needs an instance_id", file.label, line, found=name)
        return None
    if trial is None or trial >= 2**31:
        reason = "train_trial_index must be a whole number from 0"
        report.drop(reason, file.label, line, found=found.get("train_trial_index"))
        return None
    stats = found.get("stats")
    if not isinstance(stats, list):
        report.drop("an instance needs a list of stats", file.label, line, found=stats)
        return None
    own = _perturbation(found.get("perturbation"))
    by_context: dict[_Context, list[tuple[str, dict[str, Any]]]] = {}
    for stat in stats:
        # Most are bookkeeping; the first tells where an instance without scores belongs.
        if by_context and (bare := _name_of(stat)) is not None and not _is_wanted(bare):
            continue
        read = _read_stat(stat)
        if read is None:
            report.drop("a stat needs a name", file.label, line, column="stats", found=stat)
            continue
        context, metric = read
        if context is None:
            continue
        if own and not context[2]:
            context = (context[0], context[1], own)
        by_context.setdefault(context, []).append((metric, stat))
    return clean(str(name)), trial, by_context


def _values(
    file: Found, line: int, stats: Sequence[tuple[str, dict[str, Any]]], report: ReadReport
) -> dict[str, float | None]:
    """Scores among the statistics; one that counted nothing has no value."""
    values: dict[str, float | None] = {}
    for name, stat in stats:
        if not _is_wanted(name):
            continue
        mean = stat.get("mean") if count_of(stat.get("count", 1)) != 0 else None
        value = number_of(mean)
        if value is None and mean is not None:
            report.drop("a score must be a number", file.label, line, column=name, found=mean)
        values[clean(name)] = value
    return values


def _with_bits_per_byte(found: Mapping[str, float | None]) -> tuple[dict[str, float | None], float | None]:
    """Scores with bits per byte where they can be told, and then the bytes."""
    values = {name: value for name, value in found.items() if name != _BYTES}
    logprob, n_bytes = values.get("logprob"), found.get(_BYTES)
    if logprob is None or n_bytes is None or not n_bytes > 0 or "bits_per_byte" in values:
        return values, None
    values["bits_per_byte"] = 0.0 - logprob / n_bytes / _LN2
    return values, n_bytes


@lru_cache(maxsize=4096)
def _is_wanted(name: str | None) -> bool:
    """Whether a statistic is a score, or the bytes that bits per byte are taken over."""
    return name is not None and (name == _BYTES or not _BOOKKEEPING.fullmatch(name))


def _name_of(stat: Any) -> str | None:
    """Bare name of a statistic."""
    name = stat.get("name") if isinstance(stat, dict) else None
    bare = name.get("name") if isinstance(name, dict) else None
    return bare if isinstance(bare, str) else None


def _read_stat(stat: Any) -> tuple[_Context | None, str] | None:
    """(context, name) of a statistic; None for the context of worst cases; None where it has no name."""
    name = mapping(mapping(stat).get("name"))
    metric = text_of(name.get("name"))
    if metric is None:
        return None
    perturbation = name.get("perturbation")
    if isinstance(perturbation, dict) and perturbation.get("computed_on", "perturbed") != "perturbed":
        return None, metric
    split, part = name.get("split"), name.get("sub_split")
    return (str(split or ""), str(part or ""), _perturbation(perturbation)), metric


def _perturbation(found: Any) -> str:
    """Name of a perturbation, with its seed where it has several."""
    if not isinstance(found, dict):
        return ""
    seed = found.get("seed")
    return one_word(found.get("name") or "unnamed") + (f"-{seed}" if isinstance(seed, int) else "")


def _subtask(arguments: dict[str, str]) -> str | None:
    """Arguments of a scenario: the value of a single one, else pairs in name order."""
    if len(arguments) == 1:
        return clean(next(iter(arguments.values())))
    return config_text(arguments)
