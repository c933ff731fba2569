"""The checked arguments of ``simulate``, and the addressed streams that its draws come from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, TypeVar, cast

import numpy as np

from ._errors import OptionError
from ._metrics import direction, lookup

Floats = np.ndarray[Any, np.dtype[np.float64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
PerTask = float | Sequence[float]

_SATURATION_RATE = 5.0


def _is_fraction(name: str) -> bool:
    metric = lookup(name)
    return metric is not None and (metric.low, metric.high) == (0.0, 1.0)


class Draws:
    """Streams of one counter-based generator, each found by its address."""

    def __init__(self, rng_seed: int) -> None:
        self._rng_seed = rng_seed
        self._bits = np.random.Philox(key=0)
        self._generator = np.random.Generator(self._bits)
        self._start: Any = self._bits.state

    def at(self, *address: str | int) -> np.random.Generator:
        """Return the generator at the start of this address's stream; good until the next call."""
        # One generator whose key is exchanged: building one for each address takes six times as long.
        digest = blake2b(repr((self._rng_seed, *address)).encode(), digest_size=16).digest()
        self._start["state"]["key"] = np.frombuffer(digest, dtype="<u8")
        self._bits.state = self._start
        return self._generator


@dataclass(frozen=True)
class Run:
    name: str
    recipe: int
    size: int
    seed: int


@dataclass(frozen=True)
class Suite:
    """Tasks and runs in output order; one array of length n_tasks per planted quantity."""

    tasks: list[str]
    metrics: list[str]
    recipes: list[str]
    sizes: list[int]
    runs: list[Run]
    seeds: int
    checkpoints: int
    instances: int
    fraction: Flags
    at_chance: Flags
    level: Floats
    direction: Floats
    progress: Floats
    """Share of the trend that each checkpoint still lacks, (n_checkpoints): 1 at the first, 0 at the last."""
    planted: dict[str, Floats]
    draws: Draws

    @classmethod
    def of(
        cls,
        *,
        tasks: int | Sequence[str],
        recipes: int | Sequence[str],
        params: float | Sequence[float],
        metric: str | Sequence[str],
        seeds: int,
        checkpoints: int,
        instances: int,
        chance_tasks: int | Sequence[str],
        level: float | Sequence[float | None] | None,
        trend_shape: str,
        per_task: dict[str, tuple[PerTask, float, float]],
        draws: Draws,
    ) -> Suite:
        task_names, recipe_names = _names("tasks", tasks, "task"), _names("recipes", recipes, "recipe")
        n_tasks = len(task_names)
        metrics: list[str] = _spread("metric", metric, n_tasks)
        for name in metrics:
            if not (_is_fraction(name) or direction(name) == -1):
                raise OptionError(
                    f"metric: found {name!r}, needed a known fraction (acc, exact_match, ..) or a metric where "
                    "lower is better (bits_per_byte, loss, ..)"
                )
        keys = list(zip(task_names, metrics, strict=True))
        _unique("tasks", keys)
        _unique("recipes", recipe_names)
        sizes = sorted(
            whole("params", size, 1)
            for size in (cast("list[float]", [params] if is_number(params) else params))
        )
        if not sizes:
            raise OptionError("params: found an empty list, needed at least one size")
        _unique("params", sizes)

        order = sorted(range(n_tasks), key=keys.__getitem__)
        planted = {
            name: np.array([number(name, x, low, high) for x in _spread(name, value, n_tasks)])[order]
            for name, (value, low, high) in per_task.items()
        }
        if instances and planted["grid"].any():
            raise OptionError(
                f"grid: found a grid with instances={instances}, needed 0 (items make their own)"
            )
        fraction = np.array([_is_fraction(metrics[i]) for i in order])
        at_chance = _chance_flags(chance_tasks, task_names)[order]
        if (at_chance & ~fraction).any():
            raise OptionError(
                "chance_tasks: found a metric without a chance level, needed fractions such as acc"
            )
        for name in ("signal", "size_gain", "trend", "item_noise"):  # every item is a guess
            planted[name] = np.where(at_chance, 0.0, planted[name])

        levels = np.empty(n_tasks)
        asked = _spread("level", level, n_tasks)
        for out, i in enumerate(order):
            low, width = (0.4, 0.3) if fraction[out] else (0.8, 0.4)
            given = asked[i]
            if given is None:
                levels[out] = low + width * draws.at("level", *keys[i]).random()
            else:
                levels[out] = number("level", given, 0.0, 1.0 if fraction[out] else math.inf)
        return cls(
            tasks=[task_names[i] for i in order],
            metrics=[metrics[i] for i in order],
            recipes=recipe_names,
            sizes=sizes,
            runs=_runs(recipe_names, sizes, seeds),
            seeds=seeds,
            checkpoints=checkpoints,
            instances=instances,
            fraction=fraction,
            at_chance=at_chance,
            level=np.where(at_chance, planted["chance"], levels),
            direction=np.where(fraction, 1.0, -1.0),
            progress=_still_to_learn(checkpoints, trend_shape),
            planted=planted,
            draws=draws,
        )

    @property
    def keys(self) -> Iterable[tuple[str, str]]:
        return zip(self.tasks, self.metrics, strict=True)


def _still_to_learn(checkpoints: int, shape: str) -> Floats:
    if shape not in ("saturating", "linear"):
        raise OptionError(f"trend_shape: found {shape!r}, needed 'saturating' or 'linear'")
    if checkpoints == 1:
        return np.zeros(1)
    done = np.arange(checkpoints) / (checkpoints - 1)
    if shape == "saturating":
        done = np.expm1(-_SATURATION_RATE * done) / math.expm1(-_SATURATION_RATE)
    return 1.0 - done


def _runs(recipes: list[str], sizes: list[int], seeds: int) -> list[Run]:
    runs = [
        Run(f"{recipe}-{_size_name(size)}-seed{seed}", r, p, seed)
        for r, recipe in enumerate(recipes)
        for p, size in enumerate(sizes)
        for seed in range(seeds)
    ]
    _unique("recipes, params", [run.name for run in runs])
    return sorted(runs, key=lambda run: run.name)


def _size_name(size: int) -> str:
    """``150M``, ``1.4B``; all digits where a short name would not give the number back."""
    for unit, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if size >= unit:
            short = f"{size / unit:g}"
            return f"{short}{letter}" if round(float(short) * unit) == size else str(size)
    return str(size)


def _chance_flags(chance_tasks: int | Sequence[str], tasks: list[str]) -> Flags:
    if is_number(chance_tasks):
        count = whole("chance_tasks", chance_tasks, 0)
        if count > len(tasks):
            raise OptionError(f"chance_tasks: found {count}, needed at most the {len(tasks)} tasks")
        return np.arange(len(tasks)) >= len(tasks) - count
    wanted = [chance_tasks] if isinstance(chance_tasks, str) else list(cast("Sequence[str]", chance_tasks))
    for name in wanted:
        if name not in tasks:
            raise OptionError(f"chance_tasks: found {name!r}, needed one of the tasks")
    return np.array([name in wanted for name in tasks])


def _names(argument: str, value: int | Sequence[str], stem: str) -> list[str]:
    if is_number(value):
        return [f"{stem}-{i:02d}" for i in range(whole(argument, value, 1))]
    names = [value] if isinstance(value, str) else list(cast("Sequence[str]", value))
    if not names:
        raise OptionError(f"{argument}: found an empty list, needed a count or at least one name")
    for name in names:
        if not isinstance(name, str) or not name:
            raise OptionError(f"{argument}: found {name!r}, needed names that are non-empty strings")
    return names


def _unique(argument: str, values: Sequence[Any]) -> None:
    seen = set()
    for value in values:
        if value in seen:
            raise OptionError(f"{argument}: found {value!r} twice, needed distinct ones")
        seen.add(value)


def is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating))


def whole(argument: str, value: Any, low: int) -> int:
    """Whole number as int; 150e6 counts as one."""
    if not is_number(value) or isinstance(value, bool) or value != value // 1 or value < low:
        raise OptionError(f"{argument}: found {value!r}, needed a whole number of at least {low}")
    return int(value)


def number(argument: str, value: Any, low: float, high: float) -> float:
    if not is_number(value) or isinstance(value, bool) or not low <= value <= high or math.isinf(value):
        if math.isfinite(low) and math.isfinite(high):
            needed = f"a number between {low:g} and {high:g}"
        else:
            needed = "a finite number" + (f" of at least {low:g}" if math.isfinite(low) else "")
        raise OptionError(f"{argument}: found {value!r}, needed {needed}")
    return float(value)


_T = TypeVar("_T")


def _spread(argument: str, value: _T | Sequence[_T], n_tasks: int) -> list[_T]:
    """Give one value per task, repeating a single one."""
    if value is None or isinstance(value, str) or is_number(value):
        return [cast("_T", value)] * n_tasks
    values = list(cast("Sequence[_T]", value))
    if len(values) != n_tasks:
        raise OptionError(
            f"{argument}: found {len(values)} values, needed one, or one for each of {n_tasks} tasks"
        )
    return values
