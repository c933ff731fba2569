"""Replications as tasks of a score table, so that one call of a verb judges many of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

import signoise as sn

from .study import Floats, shares

Offsets = NDArray[np.uintp]

ASKED = 200
"""Replications that are shown to a verb for its flags alone."""
BATCH = 2_000_000
"""Values that are drawn at once, about."""


def batches(replications: int, values: int) -> list[int]:
    """Replications of each batch, if one needs so many values."""
    each = max(1, min(replications, BATCH // values))
    return [min(each, replications - start) for start in range(0, replications, each)]


def offsets(replications: int, n: int) -> Offsets:
    """Of replications of one size."""
    return np.arange(0, replications * n + 1, n, dtype=np.uintp)


def table_of(
    runs: Mapping[str, Floats],
    bounds: Offsets,
    clusters: NDArray[np.intp] | None = None,
    most: int | None = None,
) -> pl.DataFrame:
    """Instance rows of (the first) replications, each a task: scores of the runs on shared instances."""
    first = len(bounds) - 1 if most is None else min(most, len(bounds) - 1)
    sizes = np.diff(bounds[: first + 1]).astype(int)
    end = int(bounds[first])
    keys = pl.DataFrame(
        {
            "task": pl.Series(np.repeat(np.arange(first), sizes)).cast(pl.String),
            "instance_id": pl.Series(np.concatenate([np.arange(size) for size in sizes])).cast(pl.String),
        }
    )
    if clusters is not None:
        keys = keys.with_columns(cluster=pl.Series(clusters[:end]).cast(pl.String))
    return pl.concat(
        keys.with_columns(
            run=pl.lit(run), step=pl.lit(1), metric=pl.lit("score"), value=pl.Series(values[:end])
        )
        for run, values in runs.items()
    )


def compare_flags(a: Floats, b: Floats, bounds: Offsets, clusters: NDArray[np.intp] | None = None) -> str:
    """What `compare` says of the first of these replications."""
    return shares(sn.compare(table_of({"a": a, "b": b}, bounds, clusters, ASKED))["flags"])


def mean_flags(x: Floats, bounds: Offsets, clusters: NDArray[np.intp] | None = None) -> str:
    """The same of a mean: the difference to a run that scores 0 everywhere."""
    return compare_flags(x, np.zeros_like(x), bounds, clusters)


def unpaired_flags(a: Floats, a_bounds: Offsets, b: Floats, b_bounds: Offsets) -> str:
    """What `compare` says of two runs on different instances; that they are unpaired is asked for."""
    sides = [table_of({"a": a}, a_bounds, most=ASKED), table_of({"b": b}, b_bounds, most=ASKED)]
    table = pl.concat(sides).with_columns(instance_id=pl.col("run") + pl.col("instance_id"))
    return shares(sn.compare(table)["flags"], without=("unpaired",))


def judged_flags(labels: Floats, bounds: Offsets, scored: Floats, rest: Floats, rest_bounds: Offsets) -> str:
    """What `prediction_powered` says of the first of these replications."""
    own = {"gold": labels, "judge": scored}
    parts = [
        table_of({"a": x}, bounds, most=ASKED).with_columns(metric=pl.lit(name)) for name, x in own.items()
    ]
    more = table_of({"a": rest}, rest_bounds, most=ASKED)
    parts.append(more.with_columns(metric=pl.lit("judge"), instance_id="more " + pl.col("instance_id")))
    return shares(sn.prediction_powered(pl.concat(parts), judge="judge", gold="gold")["flags"])


def bootstrap_flags(
    values: Floats,
    bounds: Offsets,
    clusters: NDArray[np.intp] | None = None,
    *,
    weight: Floats | None = None,
    subtask: NDArray[np.intp] | None = None,
    **options: Any,
) -> str:
    """What `bootstrap` says of the first of these replications."""
    table = table_of({"a": values}, bounds, clusters, ASKED)
    if weight is not None:
        table = table.with_columns(weight=weight[: table.height])
    if subtask is not None:
        table = table.with_columns(subtask=pl.Series(subtask[: table.height]).cast(pl.String))
    return shares(sn.bootstrap(table, n_resamples=10, **options)["flags"])
