"""What `filter_subtasks` and `filtering_gain` share: their options, and scores made into cubes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._addresses import group_addresses
from .._duplicates import Duplicates
from .._encode import Encoded, encode
from .._errors import OptionError, SchemaError
from .._instance_cells import Source, open_instances
from .._options import as_columns, check_choice, check_count, check_seed
from .._schema import as_expression, predicate
from .._scores import Filter, Groups, Scores, load, note_key, warn_notes
from ._cube import Cube, as_subtasks, cubes
from ._halves import Recipe
from ._selection import RULES
from ._union import NOISES

Floats = NDArray[np.float64]
HOWS = ("macro", "micro")


@dataclass(frozen=True)
class Settings:
    """How unions are made and measured, checked."""

    rules: tuple[str, ...]
    how: str
    score: str
    noise: Literal["within", "mean_sd"]
    window: int
    ddof: int
    relative: bool
    n_random: int
    rng_seed: int
    across: tuple[str, ...]
    order: str
    population: Filter
    noise_runs: Filter

    def for_signature(self) -> dict[str, Any]:
        """As they travel with a result."""
        names = (
            "how",
            "score",
            "noise",
            "window",
            "ddof",
            "relative",
            "across",
            "order",
            "population",
            "noise_runs",
        )
        return {name: getattr(self, name) for name in names} | {
            "n_random": self.n_random,
            "rng": self.rng_seed,
        }


def check_settings(
    *,
    rules: str | Sequence[str],
    how: str,
    score: str,
    noise: Literal["within", "mean_sd"],
    window: int,
    ddof: int,
    relative: bool,
    n_random: int,
    rng_seed: int,
    across: str | Sequence[str],
    order: str,
    population: Filter,
    noise_runs: Filter,
) -> Settings:
    """Check the options that both verbs have."""
    rules = as_columns(rules)
    for rule in rules:
        check_choice("rules", rule, tuple(RULES))
    if not rules or len(set(rules)) < len(rules):
        raise OptionError(f"rules must name one rule or several different ones, got {rules!r}")
    check_choice("how", how, HOWS)
    check_choice("score", score, ("mean", "final"))
    check_choice("noise", noise, NOISES)
    check_count("window", window, 2)
    check_count("ddof", ddof, 0)
    check_count("n_random", n_random)
    check_seed(rng_seed)
    return Settings(
        rules,
        how,
        score,
        noise,
        window,
        ddof,
        relative,
        n_random,
        rng_seed,
        as_columns(across),
        order,
        population,
        noise_runs,
    )


@dataclass(frozen=True)
class Study:
    """Scores of subtasks, ready to be joined and measured."""

    settings: Settings
    by: tuple[str, ...]
    """Columns of the key, without the subtask."""
    joined: tuple[str, ...]
    cubes: list[Cube]
    encoded: Encoded
    rows: pl.DataFrame
    """The rows behind `encoded`, under the names of their instances."""
    table: pl.DataFrame
    """All rows of the call, subtasks under the names of their groups."""
    source: Source | None

    def recipe(self, cube: Cube) -> Recipe:
        """How samples of a cube are made."""
        settings = self.settings
        own = "noise" not in cube.sides
        population = cube.sides["population"]
        return Recipe(
            population,
            population if own else cube.sides["noise"],
            own,
            settings.score,
            settings.noise,
            settings.ddof,
            settings.relative,
        )

    def weights(self, cube: Cube) -> Floats:
        """What each subtask weighs in a union."""
        if self.settings.how == "macro":
            return np.ones(len(cube.subtasks))
        if not np.all(cube.n > 0):
            lacking = cube.subtasks[int(np.flatnonzero(~(cube.n > 0))[0])]
            raise SchemaError(
                f'how="micro" weighs subtasks by their instances, but {lacking!r} has neither n nor instance rows; '
                'use how="macro"'
            )
        return cube.n

    def units(self) -> list[int]:
        """The address of each task's draws."""
        labels = pl.DataFrame([dict(cube.group) for cube in self.cubes])
        return group_addresses(labels).tolist() if labels.width else [0] * len(self.cubes)

    def subtask_units(self) -> list[list[int]]:
        """The address of each subtask's instances, which metrics share."""
        out = []
        for cube in self.cubes:
            group = [value for name, value in cube.group.items() if name not in ("metric", "filter")]
            labels = pl.DataFrame({"group": [repr(group)] * len(cube.subtasks), "subtask": cube.subtasks})
            out.append(group_addresses(labels).tolist())
        return out

    def flags(self, cube: Cube) -> dict[str, bool]:
        """What to be careful about in one task."""
        counts = np.concatenate([np.diff(side.starts) for side in cube.sides.values()])
        return {
            "few_checkpoints": bool((counts < self.settings.window).any()),
            "missing_values": bool((self.encoded.n_missing + self.encoded.n_nan)[cube.rows].any()),
            "mixed_config": "config" in self.joined,
        }


def open_study(
    scores: Scores,
    settings: Settings,
    *,
    by: str | Sequence[str],
    where: Filter,
    use: Sequence[pl.Expr | str] = (),
    split_instances: bool = False,
    cluster: str | None = None,
    groups: Groups,
    columns: Mapping[str, str] | None,
    duplicates: Duplicates,
    strict: bool,
    threads: int | None,
) -> Study:
    """Load scores and make their cubes; `use` names further columns that the caller needs."""
    by = as_columns(by)
    if "subtask" in by:
        raise OptionError("by must not hold subtask: subtasks are what is chosen among")
    given = {"population": settings.population, "noise_runs": settings.noise_runs}
    filters = [as_expression(value, name) for name, value in given.items() if value is not None]
    wanted = [*by, *settings.across, settings.order, *filters, *use]
    source = None
    if split_instances:
        scores, where, source = open_instances(
            scores,
            columns=columns,
            where=where,
            use=wanted,
            cluster=cluster,
            duplicates=duplicates,
            strict=strict,
            threads=threads,
            who="split_instances=True splits instances",
        )
        columns = None
    loaded = load(
        scores,
        columns=columns,
        where=where,
        use=wanted,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    origin, table = as_subtasks(loaded.frame, groups)
    schema = table.schema
    masks = {name: predicate(value, name, schema) for name, value in given.items() if value is not None}
    measured = table
    if len(masks) == 2:
        # Rows on neither side, such as those of a small scale, make no benchmark of their own.
        used = pl.any_horizontal(mask.fill_null(False) for mask in masks.values() if mask is not None)
        chosen = table.select(used.alias("used")).to_series()
        origin, measured = origin.filter(chosen), table.filter(chosen)
        if not measured.height:
            raise SchemaError(
                f"no row satisfies population={settings.population!s} or noise_runs={settings.noise_runs!s}"
            )
    encoded = encode(
        measured,
        by=[*by, "subtask"],
        members=settings.across,
        order=settings.order,
        masks=masks,
        duplicates=duplicates,
    )
    warn_notes(loaded.notes)
    note_key(encoded, by)
    sides = {"population": "population" if "population" in masks else None}
    # Two filters that select the same rows are one.
    selections = [encoded.rows(name if name in masks else None) for name in ("population", "noise_runs")]
    if not np.array_equal(selections[0], selections[1]):
        sides["noise"] = "noise_runs" if "noise_runs" in masks else None
    found = cubes(encoded, measured, sides, settings.window)
    warn_notes(
        [
            f"{', '.join(str(value) for value in cube.group.values())}: {side.n_incomplete} checkpoints lack some of "
            f"the {len(cube.subtasks)} subtasks and were left out"
            for cube in found
            for side in cube.sides.values()
            if side.n_incomplete
        ]
    )
    key = tuple(name for name in encoded.by if name != "subtask")
    return Study(settings, key, encoded.joined, found, encoded, origin, table, source)
