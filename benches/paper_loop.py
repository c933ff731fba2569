"""Two baselines for the table of decision accuracies and SNRs: the loop researchers write, and a careful one.

``paper_table`` follows the published quick-start procedure step by step in pandas: boolean masks over the
whole frame for every task and size, a sub-frame per recipe, a strict ``>`` over the list of pairs.
``careful_table`` computes the same numbers with one Polars pass and NumPy arrays. Both return one row per
task with the same columns; pooled noise and the pair rule are the published ones, and ``snr_within`` is the
default of signoise (ddof 1).

Columns: ``task``; for each small size ``decision_accuracy_<params>`` (small against target); for each size

- ``signal_<params>``: relative dispersion of the recipes' window means;
- ``noise_<params>``, ``snr_<params>``: sd of all window values pooled (ddof 0) over their mean; ratio;
- ``noise_within_<params>``, ``snr_within_<params>``: root of the mean variance within recipes (ddof 1) over
  that mean, and the ratio.

Frames hold one metric and one seed, with columns ``task``, ``params``, ``recipe``, ``step``, ``value``.
"""

from __future__ import annotations

import time
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

WINDOW = 5


def paper_table(
    frame: pd.DataFrame, sizes: Sequence[int], small_sizes: Sequence[int], target: int
) -> pd.DataFrame:
    """Compute the table as the published loop does."""
    rows = []
    for task in sorted(frame["task"].unique()):
        row: dict[str, object] = {"task": task}
        for small in small_sizes:
            row[f"decision_accuracy_{small}"] = paper_decision_accuracy(frame, task, small, target)
        for size in sizes:
            row.update(paper_snr(frame, task, size))
        rows.append(row)
    return pd.DataFrame(rows)


def paper_decision_accuracy(frame: pd.DataFrame, task: str, small: int, target: int) -> float:
    small_scores = _final_scores(frame, task, small)
    target_scores = _final_scores(frame, task, target)
    agreements = []
    for first, second in combinations(small_scores.index, 2):
        small_says = small_scores[first] > small_scores[second]
        target_says = target_scores[first] > target_scores[second]
        agreements.append(small_says == target_says)
    return float(np.mean(agreements))


def _final_scores(frame: pd.DataFrame, task: str, size: int) -> pd.Series:
    selected = frame[(frame["task"] == task) & (frame["params"] == size)]
    return selected.sort_values("step").groupby("recipe")["value"].last()  # groupby sorts the recipes


def paper_snr(frame: pd.DataFrame, task: str, size: int) -> dict[str, float]:
    selected = frame[(frame["task"] == task) & (frame["params"] == size)]
    windows = []
    for recipe in sorted(selected["recipe"].unique()):
        run = selected[selected["recipe"] == recipe].sort_values("step")
        windows.append(run["value"].to_numpy()[-WINDOW:])
    scores = [np.mean(window) for window in windows]
    values = np.concatenate(windows)
    gaps = [abs(a - b) for a, b in combinations(scores, 2)]
    signal = max(gaps) / np.mean(scores)
    noise = np.std(values) / np.mean(values)
    within = np.sqrt(np.mean([np.var(window, ddof=1) for window in windows])) / np.mean(values)
    return {
        f"signal_{size}": float(signal),
        f"noise_{size}": float(noise),
        f"snr_{size}": float(signal / noise),
        f"noise_within_{size}": float(within),
        f"snr_within_{size}": float(signal / within),
    }


def careful_table(
    frame: pl.DataFrame, sizes: Sequence[int], small_sizes: Sequence[int], target: int
) -> pl.DataFrame:
    """Compute the same table with one filter, one sort and arrays (n_tasks, n_sizes, n_recipes, window)."""
    needed = sorted({*sizes, *small_sizes, target})
    keys = ["task", "params", "recipe"]
    # Group first, sort only the groups' own rows: the frame is never sorted whole.
    runs = (
        frame.lazy()
        .filter(pl.col("params").is_in(needed))
        .group_by(keys)
        .agg(pl.col("value").sort_by("step").tail(WINDOW))
        .sort(keys)
        .collect()
    )
    tasks = runs["task"].unique().sort()
    n_recipes = runs["recipe"].n_unique()
    shape = (len(tasks), len(needed), n_recipes)
    flat = runs["value"].explode(empty_as_null=True).to_numpy()
    if runs.height != np.prod(shape) or len(flat) != runs.height * WINDOW:
        raise ValueError(
            f"found {len(flat)} values of {runs.height} runs, needed {WINDOW} of {np.prod(shape)}"
        )
    windows = flat.reshape(*shape, WINDOW)

    scores = windows.mean(axis=3)
    pooled = windows.reshape(*shape[:2], -1)
    centre = pooled.mean(axis=2)
    signal = np.ptp(scores, axis=2) / scores.mean(axis=2)
    noise = pooled.std(axis=2) / centre
    within = np.sqrt(windows.var(axis=3, ddof=1).mean(axis=2)) / centre

    first, second = np.triu_indices(n_recipes, 1)
    wins = windows[:, :, first, -1] > windows[:, :, second, -1]
    at = {size: i for i, size in enumerate(needed)}
    columns: dict[str, pl.Series | np.ndarray] = {"task": tasks}
    for small in small_sizes:
        agree = wins[:, at[small]] == wins[:, at[target]]
        columns[f"decision_accuracy_{small}"] = agree.mean(axis=1)
    for size in sizes:
        i = at[size]
        columns[f"signal_{size}"] = signal[:, i]
        columns[f"noise_{size}"] = noise[:, i]
        columns[f"snr_{size}"] = signal[:, i] / noise[:, i]
        columns[f"noise_within_{size}"] = within[:, i]
        columns[f"snr_within_{size}"] = signal[:, i] / within[:, i]
    return pl.DataFrame(columns)


PAPER_PARAMS = tuple(round(millions * 1e6) for millions in (4, 20, 60, 90, 150, 300, 530, 750, 1000))
PAPER_SMALL = (150_000_000, 300_000_000, 750_000_000)
PAPER_TARGET = 1_000_000_000
PAPER_SNR_SIZES = PAPER_PARAMS[2:]


def paper_frame() -> pl.DataFrame:
    """Make scores of the paper's shape: 25 recipes x 9 sizes x 24 tasks x 72 checkpoints, 388,800 rows."""
    from signoise._simulate import simulate

    return simulate(tasks=24, recipes=25, params=PAPER_PARAMS, checkpoints=72, autocorrelation=0.3)[0]


def main() -> None:
    scores = paper_frame()
    frame = pd.DataFrame(scores.to_dict(as_series=False))
    tables = {}
    for name, table, data in (("paper_table", paper_table, frame), ("careful_table", careful_table, scores)):
        start = time.perf_counter()
        tables[name] = table(data, PAPER_SNR_SIZES, PAPER_SMALL, PAPER_TARGET)
        print(f"{name}: {time.perf_counter() - start:.3f} s, {len(data)} rows")
    found, expected = tables["careful_table"], tables["paper_table"]
    for column in found.columns[1:]:
        np.testing.assert_allclose(found[column].to_numpy(), expected[column].to_numpy(), rtol=1e-10)
    print("same numbers")


if __name__ == "__main__":
    main()
