"""What a goal takes: seeds, checkpoints or instances, from the one formula of a score's variance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from . import _variance_components as parts
from ._power import round_up

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Defaults of the goal.
ACCURACY, POWER = 0.95, 0.8
#: No more than this of anything is called reachable.
MOST = 1_000_000


@dataclass(frozen=True)
class Budget:
    """Components of each row and what is averaged; variances in score units squared, NaN where unknown."""

    seed: Floats
    step: Floats
    seed_item: Floats
    step_item: Floats
    items: Floats
    checkpoints: Floats
    seeds: Floats
    rho: Floats
    """Autocorrelation of checkpoints."""

    def error(
        self, *, items: Floats | None = None, checkpoints: Floats | None = None, seeds: Floats | None = None
    ) -> Floats:
        """Variance of a score, with other numbers of something."""
        found = parts.score_variance(
            self.items if items is None else items,
            parts.worth_at(self.checkpoints if checkpoints is None else checkpoints, self.rho),
            self.seeds if seeds is None else seeds,
            seed=self.seed,
            step=self.step,
            seed_item=self.seed_item,
            step_item=self.step_item,
        )
        return np.asarray(found, dtype=float)


def allowed_by_accuracy(members: Floats, accuracy: float) -> Floats:
    """Largest variance of a score with which two random members are ordered rightly so often."""
    share = np.sin(np.pi * (accuracy - 0.5)) ** 2
    return np.maximum(members, 0.0) * (1 - share) / share


def needs(budget: Budget, at_hand: Budget, allowed: Floats, *, no_seeds: Mask) -> dict[str, Any]:
    """Columns ``need_seeds, need_checkpoints, need_items, unreachable``.

    Parameters
    ----------
    budget
        What is averaged; of one of them the number is solved for while the others stay.
    at_hand
        The same with the parts that more instances reduce apart, for `need_items`.
    allowed
        Largest variance of a score that reaches the goal; NaN where it is unknown.
    no_seeds
        The variance between seeds is unknown.
    """
    with np.errstate(all="ignore"):
        seeds = np.where(no_seeds, np.nan, budget.error(seeds=np.ones_like(allowed)) / allowed)
        fixed = at_hand.error(items=np.full_like(allowed, np.inf))
        per_item = at_hand.error(items=np.ones_like(allowed)) - fixed
        items = np.where(
            fixed < allowed, per_item / (allowed - fixed), np.where(np.isnan(per_item), np.nan, np.inf)
        )
    solved = {
        "seeds": np.maximum(round_up(seeds), 1.0),
        "checkpoints": _checkpoints(budget, allowed),
        "items": np.maximum(round_up(items), 2.0),
    }
    known = {name: ~np.isnan(allowed) & ~np.isnan(count) for name, count in solved.items()}
    reached = {name: known[name] & (count <= MOST) for name, count in solved.items()}
    columns: dict[str, Any] = {
        f"need_{name}": pl.Series(np.where(reached[name], count, np.nan), nan_to_null=True).cast(pl.Int64)
        for name, count in solved.items()
    }
    lost = [
        [name for name in solved if known[name][row] and not reached[name][row]]
        for row in range(len(allowed))
    ]
    return columns | {"unreachable": pl.Series(lost, dtype=pl.List(pl.String))}


def _checkpoints(budget: Budget, allowed: Floats) -> Floats:
    """Fewest checkpoints whose mean is good enough, by halving; infinite where a million are not."""
    low, high = np.zeros_like(allowed), np.full_like(allowed, float(MOST))
    reachable = budget.error(checkpoints=high) <= allowed
    while (high - low > 1).any():
        middle = np.floor((low + high) / 2)
        enough = budget.error(checkpoints=np.maximum(middle, 1.0)) <= allowed * (1 + 1e-12)
        high, low = np.where(enough, middle, high), np.where(enough, low, middle)
    unknown = np.isnan(allowed) | np.isnan(budget.error())
    return np.where(unknown, np.nan, np.where(reachable, np.maximum(high, 1.0), np.inf))


def in_words(
    table: pl.DataFrame,
    *,
    accuracy: float | None,
    mde: float | None,
    power: float | None,
    most: int = 12,
) -> list[str]:
    """A sentence for each row about what its goal takes; None are the defaults of the verb."""
    if mde is None:
        goal = f"telling two members apart with {accuracy or ACCURACY:.4g} probability"
    else:
        goal = f"detecting a difference of {mde:.4g} with power {power or POWER:.4g}"
    by = table.columns[: table.columns.index("n_members")]
    lines = []
    for row in table.head(most).iter_rows(named=True):
        label = " ".join(str(row[name]) for name in by if row[name] is not None)
        lines.append(f"{label}: {_sentence(row, goal)}" if label else _sentence(row, goal))
    if table.height > most:
        lines.append(f"and {table.height - most} more")
    return lines


_SINGULAR = {"seeds": "seed", "checkpoints": "checkpoint", "items": "item"}


def _sentence(row: Mapping[str, Any], goal: str) -> str:
    reached, unknown = [], []
    for name, single in _SINGULAR.items():
        need = row[f"need_{name}"]
        if need is not None:
            reached.append(f"{need} {name if need > 1 else single}")
        elif name not in row["unreachable"]:
            unknown.append(name)
    now = [
        f"{row[name]} {name if row[name] > 1 else single}" for name, single in _SINGULAR.items() if row[name]
    ]
    text = f"{goal} takes {' or '.join(reached)}" if reached else f"{goal} is out of reach"
    if row["unreachable"]:
        text += f"; no number of {' or '.join(row['unreachable'])} alone is enough"
    if unknown:
        text += f"; how many {' or '.join(unknown)} cannot be told"
    return f"{text} (the others as now: {', '.join(now)})"
