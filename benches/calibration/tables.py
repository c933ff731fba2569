"""Replications as tasks of a score table, so that one call of a verb judges many of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

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


def instances(
    runs: Mapping[str, Floats], bounds: Offsets, clusters: NDArray[np.intp] | None = None
) -> pl.DataFrame:
    """Instance rows of the first replications, each a task: scores of the runs on shared instances."""
    first = min(ASKED, len(bounds) - 1)
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


def compare_flags(
    a: Floats, b: Floats, bounds: Offsets, clusters: NDArray[np.intp] | None = None, *, paired: bool = True
) -> str:
    """What `compare` says of these replications."""
    table = instances({"a": a, "b": b}, bounds, clusters)
    if not paired:
        names = pl.col("run") + "-" + pl.col("instance_id")
        table = table.with_columns(instance_id=names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        result = sn.compare(table)
    return shares(result["flags"], without=("unpaired",))


def bootstrap_flags(values: Floats, bounds: Offsets, clusters: NDArray[np.intp] | None = None) -> str:
    """What `bootstrap` says of these replications."""
    table = instances({"a": values}, bounds, clusters)
    return shares(sn.bootstrap(table, n_resamples=10)["flags"])
