"""Score tables as they come: ties, gaps, odd names, repeated keys, missing tokens, rows in any order."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
from hypothesis import strategies as st

from signoise._schema import COLUMNS

TASKS = ("arc", "arc_easy", "Größe", "任务", "a,b=c")
RUNS = ("alpha", "beta", "Ωmega", "run 4", "β|γ")
#: Bounded, one-sided, and unknown to the metric table.
METRICS = ("acc", "bits_per_byte", "perplexity")
#: Few values, so that ties, zero means and constant series are common.
GRID = (0.0, 0.25, 0.5, 0.5, 0.75, 1.0, -0.5, 0.1, 0.3)

ordinary = st.one_of(st.sampled_from(GRID), st.integers(1, 1000).map(lambda k: k / 1000))
gaps = st.sampled_from((None, math.nan))
infinities = st.sampled_from((math.inf, -math.inf))


def frame_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows of the score table with our dtypes, also where a column holds nothing but nulls."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pl.DataFrame(
        {name: [row.get(name) for row in rows] for name in names},
        schema={name: COLUMNS[name] for name in names},
        strict=False,
    )


@st.composite
def score_tables(
    draw: st.DrawFn,
    *,
    missing: bool = True,
    infinite: bool = False,
    duplicates: bool = True,
    seeds: bool = True,
    parts: bool = True,
    scales: bool = False,
    metrics: tuple[str, ...] = METRICS,
    min_runs: int = 1,
    shuffled: bool = True,
) -> pl.DataFrame:
    """A score table of up to 2 tasks, 4 runs, 7 checkpoints.

    Parameters
    ----------
    missing, infinite
        Whether values may be null or NaN, and infinite.
    duplicates
        Whether some rows come twice (exactly).
    seeds
        Whether a run's name may stand for several seeds.
    parts
        Whether subtask, config and filter may come, partly null.
    scales
        Whether rows have a recipe and one of two sizes, and run is their pair.
    """
    tasks = draw(st.lists(st.sampled_from(TASKS), min_size=1, max_size=2, unique=True))
    runs = draw(st.lists(st.sampled_from(RUNS), min_size=min_runs, max_size=4, unique=True))
    one_metric = draw(st.booleans())
    chosen = [draw(st.sampled_from(metrics))] if one_metric else list(metrics[:2])
    with_tokens = draw(st.sampled_from(("all", "some runs", "some checkpoints", "none")))
    with_seeds = seeds and draw(st.booleans())
    part = draw(st.sampled_from((None, "subtask", "config", "filter"))) if parts else None
    kinds = [ordinary, *([gaps] if missing else []), *([infinities] if infinite else [])]
    values = st.one_of(ordinary, *kinds)
    constant = draw(st.booleans()) and draw(st.booleans())
    fixed = draw(ordinary)

    rows: list[dict[str, Any]] = []
    for r, run in enumerate(runs):
        sizes = (150_000_000, 1_000_000_000) if scales else (None,)
        for size in sizes:
            for seed in range(2 if with_seeds and r == 0 else 1):
                steps = draw(st.lists(st.integers(1, 12), min_size=1, max_size=7, unique=True))
                for step in steps:
                    for task in tasks:
                        for metric in chosen:
                            for which in ("x", None) if part and r % 2 == 0 else (None,):
                                row: dict[str, Any] = {"run": run, "step": step * 100}
                                if with_tokens == "all":
                                    row["tokens"] = step * 2e6
                                elif with_tokens == "some runs":
                                    row["tokens"] = step * 2e6 if r else None
                                elif with_tokens == "some checkpoints":
                                    row["tokens"] = step * 2e6 if step % 3 else None
                                if scales:
                                    row |= {"run": f"{run}-{size}", "recipe": run, "params": size}
                                if with_seeds:
                                    row["seed"] = seed if r == 0 else None
                                if part:
                                    row[part] = which
                                row |= {"task": task, "metric": metric}
                                row["value"] = fixed if constant else draw(values)
                                rows.append(row)
    if duplicates and draw(st.booleans()):
        rows += draw(st.lists(st.sampled_from(rows), min_size=1, max_size=3))
    if shuffled:
        # One drawn number instead of a permutation: cheap, and it shrinks to the rows as they are.
        draw(st.randoms(use_true_random=False)).shuffle(rows)
    return frame_of(rows)
