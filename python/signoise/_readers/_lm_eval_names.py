"""What an evaluation of lm-evaluation-harness calls things: model, checkpoint, task and its group, shots, filters.

Results rows and the samples beside them take their names from here, so that their keys are equal.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .._names import ParsedName, parse_name, parse_size, split_checkpoint
from ._files import clean

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

BOOKKEEPING = {"alias", "name", "sample_len", "sample_count", "samples", ""}
_NAME_ARGUMENTS = ("peft", "delta", "pretrained", "model", "path", "engine")
# Backends whose model argument `seed` is the seed of sampling; elsewhere it is the model's own.
_SAMPLING_SEED = re.compile(
    r"vllm|sglang|openai|completions|anthropic|gguf|ggml|textsynth|nemo|api", re.IGNORECASE
)
STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d)[-:](\d\d)[-:](\d\d)(?:\.(\d{1,6}))?")
_SHOTS_WORDS = {word: n for n, word in enumerate(("zero", "one", "two", "three", "four", "five"))} | {
    "eight": 8,
    "ten": 10,
}
_SHOTS = re.compile(r"(\d+|" + "|".join(_SHOTS_WORDS) + r")[-_]?shots?", re.IGNORECASE)
_NO_VARIANT = ("result", "results", "eval", "evals", "output", "outputs")
_INT64 = 2**63


@dataclass(frozen=True)
class Place:
    """Where the scores of one task belong."""

    task: str
    subtask: str | None
    config: str | None


class Evaluation:
    """What a results document says about all of its scores.

    Attributes
    ----------
    run, revision, step, tokens, params, seed
        The checkpoint.
    model : str or None
        Its name as recorded.
    arguments : str
        The model arguments as written; sample files of 0.4.2 begin with them.
    stamp : float or None
        When it was evaluated, in seconds.
    label : str
        The results file.
    """

    def __init__(self, label: str, path: Path, document: dict[str, Any]) -> None:
        results = document["results"]
        config = mapping(document.get("config"))
        arguments = _model_arguments(config.get("model_args"))
        flat = not any(
            "," in key for scores in results.values() if isinstance(scores, dict) for key in scores
        )
        self.variant, self._folder_shots = None, None
        if flat and "configs" not in document:
            parsed, self.variant, self._folder_shots = _name_by_place(arguments, path, results)
        else:
            parsed = _name_by_record(document, config, arguments, path)
        model = _recorded_name(document, arguments)
        self.label = label
        self.run = clean(parsed.run or "unknown")
        self.revision = None if parsed.revision is None else clean(parsed.revision)
        self.step, self.tokens = parsed.step, parsed.tokens
        self.params = count(config.get("model_num_parameters"))
        self.seed = parsed.seed if parsed.seed is not None else _training_seed(config, arguments)
        self.model = None if model is None else clean(model)
        self.stamp = time_stamp(path.name, document)
        recorded = config.get("model_args")
        self.arguments = recorded if isinstance(recorded, str) else ""
        self.groups = Groups(mapping(document.get("group_subtasks")), results)
        self._limit, self._shots = config.get("limit"), config.get("num_fewshot")
        self._shots_of, self._configs = mapping(document.get("n-shot")), mapping(document.get("configs"))
        self._tasks = {*results, *self._configs}
        self._templated = isinstance(document.get("chat_template"), str)

    @property
    def checkpoint(self) -> tuple[Any, ...]:
        """What two evaluations of one checkpoint, prompted alike, share."""
        shots = count(self._shots, self._folder_shots)
        return (self.run, self.revision, self.step, self.tokens, self.seed, self.variant, shots)

    def knows(self, name: str) -> bool:
        """Whether this evaluation ran a task."""
        return name in self._tasks

    def place(self, name: str) -> Place:
        """Task, subtask and config of what ``results`` calls ``name``."""
        roots = self.groups.roots(name)
        shots = count(
            self._shots_of.get(name),
            self._shots,
            mapping(self._configs.get(name)).get("num_fewshot"),
            self._folder_shots,
        )
        task, subtask = (roots[0], clean(name)) if roots else (name, None)
        return Place(clean(task), subtask, config_text(shots, self._limit, self.variant))

    def delimiter(self, name: str) -> str:
        """What the harness puts between the question of a task and each of its choices."""
        told = mapping(self._configs.get(name)).get("target_delimiter")
        if self._templated:
            return ""  # a chat template brings its own
        return told if isinstance(told, str) else " "

    def filters(self, name: str) -> tuple[str | None, ...]:
        """Names of the filters of a task in the order in which 0.4.2 wrote their rows; None is no filter."""
        listed = mapping(self._configs.get(name)).get("filter_list")
        entries = listed if isinstance(listed, list) else []
        found = [entry.get("name") for entry in entries if isinstance(entry, dict)]
        return tuple(filter_name(text) for text in found if isinstance(text, str)) or (None,)


def filter_name(text: str) -> str | None:
    """The filter column: null where there is none."""
    return None if text in ("", "none") else clean(text)


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
        return any(has_score(self._results.get(part)) for part in _reach(name, self._members))


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


def parse_place(folder: Path, model: str | None) -> ParsedName:
    """A checkpoint by the folders that hold its samples: ``MODEL/step2500``, ``org__model``, and a model if known."""
    name = model or folder.absolute().name.replace("__", "/")
    parsed = parse_name(name, None, "/".join(folder.absolute().parts[1:][-2:]))
    if parsed.run is None:
        above = next((part for part in folder.absolute().parts[-2:0:-1] if split_checkpoint(part)[0]), None)
        parsed = parse_name(f"{(above or 'unknown').replace('__', '/')}/{name}")
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


NOT_A_NUMBER: Any = object()


def number(value: Any) -> Any:
    """A float, None for null, or ``NOT_A_NUMBER``."""
    if value is None:
        return None
    if isinstance(value, (int, float)):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return NOT_A_NUMBER


def has_score(scores: Any) -> bool:
    return isinstance(scores, dict) and any(
        key.partition(",")[0].strip() not in BOOKKEEPING and isinstance(value, (int, float))
        for key, value in scores.items()
    )


def count(*candidates: Any) -> int | None:
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
    return count(seed)


def config_text(shots: int | None, limit: Any, variant: str | None) -> str | None:
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


def directions(recorded: Any, task_config: dict[str, Any]) -> dict[str, bool]:
    """Metric to higher-is-better, as the dump has it."""
    if not recorded and not task_config:
        return {}
    found: dict[str, bool] = {}
    listed = task_config.get("metric_list")
    for entry in listed if isinstance(listed, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("higher_is_better"), bool):
            found[str(entry.get("metric"))] = entry["higher_is_better"]
    found.update({metric: better for metric, better in mapping(recorded).items() if isinstance(better, bool)})
    return found


def time_stamp(name: str, document: dict[str, Any] | None = None) -> float | None:
    """Seconds: the stamp of the file name (taken as UTC), else the recorded date."""
    match = STAMP.search(name)
    if match is not None:
        day, minute, second, fraction = match.groups()
        try:
            moment = datetime.strptime(f"{day}:{minute}:{second}", "%Y-%m-%dT%H:%M:%S").replace(
                tzinfo=timezone.utc
            )
            return moment.timestamp() + int((fraction or "0").ljust(6, "0")) / 1e6
        except ValueError:
            pass
    date = (document or {}).get("date")
    return float(date) if isinstance(date, (int, float)) and abs(date) < 1e15 else None


def mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None
