"""Results files of lm-evaluation-harness, of every version, told apart by their keys.

``results.<task>`` maps metrics to numbers. In the 2022-23 layout (``results``, ``versions``, ``config``) a
key is ``acc`` and its error ``acc_stderr``; since 0.4 it is ``acc,none`` (metric, filter) and
``acc_stderr,none``, beside bookkeeping such as ``alias``. Groups stand in ``results`` beside their members:
they are left out, and name the task of the members.
"""

from __future__ import annotations

import json
import math
import re
from datetime import datetime, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import polars as pl

from .._names import ParsedName, parse_name, parse_size, split_checkpoint
from ._files import Found, clean
from ._report import ReadReport, Rerun

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# Three tables while reading, one row per file, per task of a file, and per score: most columns repeat far
# less often than scores, and appending them once is most of the speed.
_FILE_COLUMNS: dict[str, Any] = {
    "run": pl.String,
    "revision": pl.String,
    "step": pl.Int64,
    "tokens": pl.Float64,
    "params": pl.Int64,
    "seed": pl.Int64,
    "source": pl.String,
    "model": pl.String,
}
_TASK_COLUMNS: dict[str, Any] = {
    "_file": pl.UInt32,
    "task": pl.String,
    "subtask": pl.String,
    "config": pl.String,
    "n": pl.Int64,
    "task_version": pl.String,
}
_SCORE_COLUMNS: dict[str, Any] = {
    "_task": pl.UInt32,
    "metric": pl.String,
    "filter": pl.String,
    "value": pl.Float64,
    "stderr": pl.Float64,
    "higher_is_better": pl.Boolean,
}
COLUMNS = [
    *("run", "revision", "step", "tokens", "params", "seed", "task", "subtask", "config", "metric", "filter"),
    *("value", "stderr", "n", "source", "model", "task_version", "higher_is_better"),
]
"""The canonical columns this format can fill, then what it records besides (``model``: name as recorded)."""

_KEY = ["run", "revision", "step", "tokens", "seed", "task", "subtask", "config", "metric", "filter"]

_BOOKKEEPING = {"alias", "name", "sample_len", "sample_count", "samples", ""}
_NAME_ARGUMENTS = ("peft", "delta", "pretrained", "model", "path", "engine")
# Backends whose model argument `seed` is the seed of sampling; elsewhere it is the model's own.
_SAMPLING_SEED = re.compile(
    r"vllm|sglang|openai|completions|anthropic|gguf|ggml|textsynth|nemo|api", re.IGNORECASE
)
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d)[-:](\d\d)[-:](\d\d)(?:\.(\d{1,6}))?")
_SHOTS_WORDS = {word: n for n, word in enumerate(("zero", "one", "two", "three", "four", "five"))} | {
    "eight": 8,
    "ten": 10,
}
_SHOTS = re.compile(r"(\d+|" + "|".join(_SHOTS_WORDS) + r")[-_]?shots?", re.IGNORECASE)
_NO_VARIANT = ("result", "results", "eval", "evals", "output", "outputs")
_INT64 = 2**63


def is_results(document: Any) -> bool:
    """Whether a JSON document is a results file of this harness."""
    return (
        isinstance(document, dict)
        and isinstance(document.get("results"), dict)
        and isinstance(document.get("versions"), dict)
        and ("config" in document or "configs" in document)
        and "config_general" not in document  # lighteval
    )


class Collector:
    """Rows of many results files, column by column; one frame at the end."""

    def __init__(self, report: ReadReport) -> None:
        self._report = report
        self._files: list[tuple[Any, ...]] = []
        self._tasks: list[tuple[Any, ...]] = []
        self._scores: dict[str, list[Any]] = {name: [] for name in _SCORE_COLUMNS}
        self._stamps: dict[str, float | None] = {}
        self._checkpoints: dict[tuple[Any, ...], str] = {}
        self._repeated = False

    def add(self, file: Found, document: dict[str, Any]) -> None:
        """Append the rows of one file, or report why it has none."""
        results = document["results"]
        if not results:
            self._report.skip(file.label, "its `results` are empty: the run did not finish or had no task")
            return
        config = _mapping(document.get("config"))
        arguments = _model_arguments(config.get("model_args"))
        flat = not any(
            "," in key for scores in results.values() if isinstance(scores, dict) for key in scores
        )
        if flat and "configs" not in document:
            parsed, variant, folder_shots = _name_by_place(arguments, file.path, results)
        else:
            parsed, variant, folder_shots = (
                _name_by_record(document, config, arguments, file.path),
                None,
                None,
            )
        model = _recorded_name(document, arguments)
        seed = parsed.seed if parsed.seed is not None else _training_seed(config, arguments)
        run = clean(parsed.run or "unknown")
        revision = None if parsed.revision is None else clean(parsed.revision)
        params = _count(config.get("model_num_parameters"))
        rows = self._add_rows(file.label, document, variant, folder_shots)
        if rows == 0:
            self._report.skip(file.label, "no task has a score (for example a run that only predicts)")
            return
        self._files.append(
            (
                run,
                revision,
                parsed.step,
                parsed.tokens,
                params,
                seed,
                file.label,
                None if model is None else clean(model),
            )
        )
        self._report.files["lm_eval"] += 1
        self._report.rows += rows
        self._stamps[file.label] = _time_stamp(file.path.name, document)
        shots = _count(config.get("num_fewshot"), folder_shots)
        checkpoint = (run, revision, parsed.step, parsed.tokens, seed, variant, shots)
        self._repeated |= self._checkpoints.setdefault(checkpoint, file.label) != file.label

    def _add_rows(
        self, label: str, document: dict[str, Any], variant: str | None, folder_shots: int | None
    ) -> int:
        results = document["results"]
        config = _mapping(document.get("config"))
        configs = _mapping(document.get("configs"))
        shots_of, samples_of = _mapping(document.get("n-shot")), _mapping(document.get("n-samples"))
        versions, directions = _mapping(document["versions"]), _mapping(document.get("higher_is_better"))
        groups = Groups(_mapping(document.get("group_subtasks")), results)
        columns = self._scores
        task_at, metrics, filters = columns["_task"], columns["metric"], columns["filter"]
        values, errors, betters = columns["value"], columns["stderr"], columns["higher_is_better"]
        limit, before = config.get("limit"), len(values)
        for name, scores in results.items():
            if not isinstance(scores, dict):
                reason = "the scores of a task must be an object"
                self._report.drop(reason, label, column=f"results.{name}", found=scores)
                continue
            if groups.is_covered(name):
                continue
            roots = groups.roots(name)
            if len(roots) > 1:
                several = f"{name} belongs to several groups ({', '.join(roots)})"
                self._report.note(f"{several}: its task is the first by name, {roots[0]}")
            task_config = _mapping(configs.get(name))
            shots = _count(
                shots_of.get(name), config.get("num_fewshot"), task_config.get("num_fewshot"), folder_shots
            )
            samples = _mapping(samples_of.get(name))
            n = _count(samples.get("effective"), scores.get("sample_len"), samples.get("original"))
            version = versions.get(name)
            better = _directions(directions.get(name), task_config)
            at, first = len(self._tasks), len(values)
            for key, value in scores.items():
                metric, comma, filter_name = key.partition(",")
                if metric.endswith("_stderr") or metric.strip() in _BOOKKEEPING:
                    continue
                number = _number(value)
                if number is _NOT_A_NUMBER:
                    reason = "a score must be a number; lists, objects and text are left out"
                    self._report.drop(reason, label, column=f"results.{name}.{key}", found=value)
                    continue
                error = _number(scores.get(f"{metric}_stderr{comma}{filter_name}"))
                task_at.append(at)
                metrics.append(clean(metric))
                filters.append(None if filter_name in ("", "none") else clean(filter_name))
                values.append(number)
                errors.append(None if error is _NOT_A_NUMBER else error)
                betters.append(better.get(metric))
            if len(values) > first:
                task, subtask = (roots[0], clean(name)) if roots else (name, None)
                self._tasks.append(
                    (
                        len(self._files),
                        clean(task),
                        subtask,
                        _config_text(shots, limit, variant),
                        n,
                        None if version is None else clean(str(version)),
                    )
                )
        return len(values) - before

    def frame(self) -> pl.DataFrame | None:
        """All rows, re-runs resolved; None if there are none."""
        if not self._files:
            return None
        files = pl.DataFrame(self._files, schema=_FILE_COLUMNS, orient="row")
        tasks = pl.DataFrame(self._tasks, schema=_TASK_COLUMNS, orient="row")
        scores = pl.DataFrame(self._scores, schema=_SCORE_COLUMNS)
        tasks = tasks.hstack(files[tasks["_file"]])
        frame = scores.hstack(tasks[scores["_task"]]).select(COLUMNS)
        return self._newest(frame) if self._repeated else frame

    def _newest(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Of the rows with one key, those of the newest time stamp; equal stamps stay for the key check."""
        stamps = pl.DataFrame(
            {"source": list(self._stamps), "_stamp": list(self._stamps.values())},
            schema={"source": pl.String, "_stamp": pl.Float64},
        )
        frame = frame.with_row_index("_row").join(stamps, on="source", how="left", maintain_order="left")
        newest = frame.group_by(_KEY).agg(
            _newest=pl.col("_stamp").max(), _kept=pl.col("source").sort_by("_stamp", nulls_last=False).last()
        )
        frame = frame.join(newest, on=_KEY, how="left", nulls_equal=True, maintain_order="left")
        older = (pl.col("_stamp") < pl.col("_newest")).fill_null(value=False)
        lost = frame.filter(older).group_by(["run", "revision", "_kept", "source"], maintain_order=True).len()
        for run, revision, kept, source, rows in lost.iter_rows():
            self._report.reruns.append(Rerun(run, revision, kept, source, rows))
        left = frame.filter(~older).sort("_row").select(COLUMNS)
        if left.select(_KEY).is_duplicated().any():
            self._report.note(
                "some checkpoints were evaluated more than once and nothing tells which evaluation is newer: "
                "all rows are kept, and the duplicate rule applies"
            )
        return left


class Groups:
    """Which task a name in ``results`` belongs to.

    The outermost group is the task and the leaf the subtask. A name in several outermost groups goes to the
    first of them in lexical order, so that files agree whatever order they list their groups in.
    """

    def __init__(self, group_subtasks: dict[str, Any], results: dict[str, Any]) -> None:
        # A plain task may be listed as a group without members.
        self._members = {
            group: [member for member in members if isinstance(member, str) and member != group]
            for group, members in group_subtasks.items()
            if isinstance(members, list) and members
        }
        self._parents: dict[str, list[str]] = {}
        for group, members in self._members.items():
            for member in members:
                self._parents.setdefault(member, []).append(group)
        self._results = results

    def roots(self, name: str) -> list[str]:
        """Outermost groups above a name, in lexical order."""
        if name not in self._parents:
            return []
        return sorted(group for group in _reach(name, self._parents) if group not in self._parents)

    def is_covered(self, name: str) -> bool:
        """Whether this is a group's row that its own parts make superfluous."""
        if name not in self._members:
            return False
        return any(_has_score(self._results.get(part)) for part in _reach(name, self._members))


def _reach(start: str, edges: dict[str, list[str]]) -> set[str]:
    """All names that edges lead to; a circle (a damaged file) does no harm."""
    seen: set[str] = set()
    todo = list(edges.get(start, ()))
    while todo:
        name = todo.pop()
        if name not in seen and name != start:
            seen.add(name)
            todo += edges.get(name, ())
    return seen


# --- names


def _model_arguments(recorded: Any) -> dict[str, Any]:
    """Model arguments, written as ``a=b,c=d`` or (since 0.4.13) as an object."""
    if isinstance(recorded, dict):
        return recorded
    if not isinstance(recorded, str):
        return {}
    arguments: dict[str, Any] = {}
    last = None
    for piece in recorded.split(","):
        key, equals, value = piece.partition("=")
        if equals:
            last = key.strip()
            arguments[last] = value.strip()
        elif last is not None:  # a comma inside a value
            arguments[last] += "," + piece
    return arguments


def _recorded_name(document: dict[str, Any], arguments: dict[str, Any]) -> str | None:
    candidates = [document.get("model_name"), *(arguments.get(key) for key in _NAME_ARGUMENTS)]
    return next((name for name in candidates if isinstance(name, str) and name.strip()), None)


def _name_by_record(
    document: dict[str, Any], config: dict[str, Any], arguments: dict[str, Any], path: Path
) -> ParsedName:
    """From the recorded name and revision; from the folder where the name is nothing but a checkpoint."""
    name = _recorded_name(document, arguments)
    revision = _text(arguments.get("revision")) or _text(config.get("model_revision"))
    if name is None:
        name = path.parent.name or path.stem
    parsed = parse_name(name, revision, _place(path))
    if parsed.run is None:
        folder = next(
            (part for part in reversed(path.absolute().parts[1:-1]) if split_checkpoint(part)[0]), None
        )
        parsed = parse_name(f"{folder or path.stem}/{name}", revision)
    return parsed


def _name_by_place(
    arguments: dict[str, Any], path: Path, tasks: Iterable[str]
) -> tuple[ParsedName, str | None, int | None]:
    """The 2022-23 layout: (name, variant, shots) from folder, file name and model arguments.

    The run is the nearest folder, else the file name, that names the model of the arguments: it holds the
    same size and begins with one of its words. Folders below it and words of the file name that say neither
    model, task, shots nor step are the variant (``baseline``, ``intervention``). Where neither folder nor
    file names the model, the arguments do.
    """
    recorded = next((text for key in _NAME_ARGUMENTS if (text := _text(arguments.get(key)))), None)
    revision = _text(arguments.get("revision"))
    parts = path.absolute().parts[1:]
    folders, stem = parts[-5:-1], _strip_checkpoint(path.name.removesuffix(".json"))
    shots = next(
        (count for part in (*reversed(folders), stem) if (count := _shots_in(part)) is not None), None
    )
    parsed = parse_name(recorded or stem or path.stem, revision, _place(path))
    model = (parsed.run or "").rpartition("/")[2]
    at = next((at for at in reversed(range(len(folders))) if _names(folders[at], model)), None)
    if at is not None:
        run, below = folders[at], folders[at + 1 :]
    elif _names(stem, model):
        run, below = stem, ()
    else:
        return parsed, None, shots
    known = {*_words(run), *_NO_VARIANT}
    if len(names := list(tasks)) <= 5:  # a file per task may be named after it
        known.update(word for name in names for word in _words(name))
    left = [word for part in below for word in _words(_SHOTS.sub("", part))]
    if _sizes(stem) & _sizes(run):
        left += [word for word in _words(_SHOTS.sub("", stem)) if word not in known and not word.isdigit()]
    variant = "-".join(dict.fromkeys(left)) or None
    fresh = parse_name(run, parsed.revision)
    return (
        ParsedName(run, parsed.revision, parsed.step, parsed.tokens, fresh.params, parsed.seed, parsed.stage),
        variant,
        shots,
    )


def _place(path: Path) -> str:
    """File name and the two folders above it: further up, a number is more likely about something else."""
    return "/".join(path.absolute().parts[1:][-3:])


def _strip_checkpoint(stem: str) -> str:
    return split_checkpoint(stem)[0] or ""


@lru_cache(maxsize=4096)
def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in re.split(r"[-_ ]+", text) if word)


@lru_cache(maxsize=4096)
def _sizes(text: str) -> frozenset[int]:
    return frozenset(
        size for word in _words(text) if word[-1:].isalpha() and (size := parse_size(word)) is not None
    )


@lru_cache(maxsize=4096)
def _names(part: str, model: str) -> bool:
    """Whether a folder or file name names the model: all of it, or its size and its first word."""
    if part.lower() == model.lower():
        return bool(part)
    words = _words(part.lower())
    return (
        bool(_sizes(part) & _sizes(model))
        and words[0] in _words(model.lower())
        and words[0].isalpha()
        and parse_size(words[0]) is None
    )


def _shots_in(part: str) -> int | None:
    match = _SHOTS.search(part)
    if match is None:
        return None
    word = match[1].lower()
    return _SHOTS_WORDS[word] if word in _SHOTS_WORDS else int(word[:9])


# --- values


_NOT_A_NUMBER: Any = object()


def _number(value: Any) -> Any:
    """A float, None for null, or ``_NOT_A_NUMBER``."""
    if value is None:
        return None
    if isinstance(value, (int, float)):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return _NOT_A_NUMBER


def _has_score(scores: Any) -> bool:
    return isinstance(scores, dict) and any(
        key.partition(",")[0].strip() not in _BOOKKEEPING and isinstance(value, (int, float))
        for key, value in scores.items()
    )


def _count(*candidates: Any) -> int | None:
    """The first that is a count."""
    for value in candidates:
        if (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and 0 <= value < _INT64
            and value == int(value)
        ):
            return int(value)
    return None


def _training_seed(config: dict[str, Any], arguments: dict[str, Any]) -> int | None:
    if _SAMPLING_SEED.search(_text(config.get("model")) or ""):
        return None
    seed = arguments.get("seed")
    if isinstance(seed, str) and re.fullmatch(r"\d{1,18}", seed):
        seed = int(seed)
    return _count(seed)


def _config_text(shots: int | None, limit: Any, variant: str | None) -> str | None:
    """``name=value`` pairs in name order."""
    pairs = []
    if limit is not None:
        pairs.append(
            f"limit={limit:g}" if isinstance(limit, (int, float)) else f"limit={_one_word(str(limit))}"
        )
    if shots is not None:
        pairs.append(f"shots={shots}")
    if variant is not None:
        pairs.append(f"variant={_one_word(variant)}")
    return ",".join(pairs) or None


def _one_word(text: str) -> str:
    return clean(re.sub(r"[,=\s]+", "_", text))


def _directions(recorded: Any, task_config: dict[str, Any]) -> dict[str, bool]:
    """Metric to higher-is-better, as the dump has it."""
    if not recorded and not task_config:
        return {}
    found: dict[str, bool] = {}
    listed = task_config.get("metric_list")
    for entry in listed if isinstance(listed, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("higher_is_better"), bool):
            found[str(entry.get("metric"))] = entry["higher_is_better"]
    found.update(
        {metric: better for metric, better in _mapping(recorded).items() if isinstance(better, bool)}
    )
    return found


def _time_stamp(name: str, document: dict[str, Any]) -> float | None:
    """Seconds: the stamp of the file name (taken as UTC), else the recorded date."""
    match = _STAMP.search(name)
    if match is not None:
        day, minute, second, fraction = match.groups()
        try:
            moment = datetime.strptime(f"{day}:{minute}:{second}", "%Y-%m-%dT%H:%M:%S").replace(
                tzinfo=timezone.utc
            )
            return moment.timestamp() + int((fraction or "0").ljust(6, "0")) / 1e6
        except ValueError:
            pass
    date = document.get("date")
    return float(date) if isinstance(date, (int, float)) and abs(date) < 1e15 else None


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def load(text: bytes) -> Any:
    """Parse JSON bytes, with the bare ``NaN`` and ``Infinity`` that the harness writes and a byte-order mark.

    Raises
    ------
    ValueError
        Saying in plain words what is wrong, and where.
    """
    try:
        return json.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8; save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        if error.pos >= len(error.doc.rstrip()) - 1 or error.msg.startswith("Unterminated"):
            where = f"line {error.lineno}, column {error.colno}"
            raise ValueError(
                f"the JSON ends too early, at {where}: the file was cut; copy or evaluate it again"
            ) from None
        raise ValueError(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("the JSON is nested too deeply to be a results file") from None
