"""Moments over instances: of a frame in canonical columns, and the arithmetic on sorted rows beneath it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._kernels import kernels
from ._metrics import aggregation, missing_infinities
from ._schema import KEY
from ._segments import segment_offsets

Floats = NDArray[np.float64]

COUNTS = ("n", "n_missing", "n_nan")
VALUES = ("mean", "variance", "min", "max", "weight")


def instance_moments(frame: pl.DataFrame, by: Sequence[str], threads: int | None = None) -> pl.DataFrame:
    """Moments of each group over instances, repeats of an instance averaged first; sorted by the key.

    ``weight`` is the denominator of a ratio metric's mean, else 1.
    """
    key = [name for name in by if name in frame.columns]
    instance = [name for name in KEY if name in frame.columns and name not in key and name != "repeat"]
    frame = with_usable(frame).sort(
        [*key, *instance, "repeat"] if "repeat" in frame.columns else [*key, *instance]
    )
    groups = segment_offsets(frame, key)
    starts = groups[:-1].astype(np.intp)
    sizes = np.diff(segment_offsets(frame, [*key, *instance]).astype(np.intp))
    weights = frame["weight"].fill_null(1.0).to_numpy() if "weight" in frame.columns else None
    moments = group_moments(
        frame["value"].fill_null(math.nan).to_numpy(),
        weights,
        frame["__usable"].to_numpy(),
        np.repeat(np.arange(len(sizes)), sizes.astype(np.intp)),
        groups,
        ratio=_ratio_groups(frame, starts),
        logs=_log_groups(frame, starts),
        threads=threads,
    )
    for name in ("missing", "nan"):
        moments[f"n_{name}"] = sums_of_marks(frame[f"__{name}"].to_numpy(), starts)
    table = moments_frame(frame[starts].select(key), moments)
    return table.with_columns(pl.col(VALUES).fill_nan(None))


def group_moments(
    values: Floats,
    weights: Floats | None,
    usable: NDArray[np.bool_],
    items: NDArray[np.intp],
    groups: NDArray[np.uintp],
    *,
    ratio: NDArray[np.bool_],
    logs: NDArray[np.bool_],
    threads: int | None = None,
) -> dict[str, NDArray[Any]]:
    """Moments over the instances of each group, of rows sorted by group, instance and repeat.

    Parameters
    ----------
    values, weights, usable
        Of each row; only usable ones count. Weights matter to ratio groups alone.
    items
        Number of the instance of each row, ascending.
    groups
        Offsets of the groups among the rows.
    ratio
        Groups with the mean sum(value*weight)/sum(weight).
    logs
        Groups of a perplexity, with the mean exp(mean of log(value)), weighted where it is a ratio as well: the
        weighted geometric mean is the perplexity of all instances together.

    Returns
    -------
    dict
        ``n, mean, variance, min, max`` and ``weight``, the denominator of a ratio's mean, else 1. NaN = undefined.
    """
    ends = groups.astype(np.intp)
    kept = values
    if not usable.all():
        per_row = np.concatenate([[0], np.cumsum(usable)])
        kept, items, ends = values[usable], items[usable], per_row[ends]
    if logs.any():
        with np.errstate(all="ignore"):
            kept = np.where(np.repeat(logs, np.diff(ends)), np.log(kept), kept)
    first = np.flatnonzero(np.concatenate([np.ones(min(len(items), 1), bool), items[1:] != items[:-1]]))
    repeated = len(first) < len(items)
    offsets = np.concatenate([first, [len(items)]]).astype(np.uintp)

    def item_means(values: Floats) -> Floats:
        if not repeated:
            return values + 0.0  # as the kernel has it, which knows no negative zero
        return kernels().segment_moments(values, offsets, threads=threads)["mean"]

    means = item_means(kept)
    # Instances of a group: those whose first kept row lies among the group's rows.
    bounds = (np.searchsorted(first, ends) if repeated else ends).astype(np.uintp)
    moments = kernels().segment_moments(means, bounds, threads=threads)
    mean, total = moments["mean"], np.ones(len(ratio))
    if weights is not None and ratio.any():
        weight = item_means(weights[usable])
        weighted = kernels().segment_weighted_mean(means, weight, bounds, threads=threads)
        mean = np.where(ratio, weighted, mean)
        sums = kernels().segment_moments(weight, bounds, threads=threads)
        total = np.where(ratio, sums["mean"] * sums["n"], total)
    n = moments["n"].astype(np.int64)
    low, high = moments["min"], moments["max"]
    with np.errstate(all="ignore"):
        variance = np.where((n >= 2) & ~ratio & ~logs, moments["m2"] / (n - 1.0), np.nan)
        if logs.any():
            mean, low, high = (np.where(logs, np.exp(column), column) for column in (mean, low, high))
    return {"n": n, "mean": mean, "variance": variance, "min": low, "max": high, "weight": total}


def sums_of_marks(marks: NDArray[np.bool_], starts: NDArray[np.intp]) -> NDArray[np.int64]:
    if not marks.any():
        return np.zeros(len(starts), np.int64)
    return np.add.reduceat(marks, starts, dtype=np.int64)


def moments_frame(keys: pl.DataFrame, moments: Mapping[str, NDArray[Any]]) -> pl.DataFrame:
    """Keys and moments side by side; NaN = undefined."""
    return pl.DataFrame([*keys, *(pl.Series(name, moments[name]) for name in (*COUNTS, *VALUES))])


def with_usable(frame: pl.DataFrame) -> pl.DataFrame:
    """Mark scores that statistics may use, and count out the others: null, NaN, and infinities beyond a bound."""
    metrics = frame["metric"].unique().drop_nulls().sort().to_list() if "metric" in frame.columns else []
    below, above = ([name for name in metrics if missing_infinities(name)[side]] for side in (0, 1))
    value = pl.col("value")
    infinite = value.is_infinite().fill_null(False)
    impossible = pl.lit(value=False)
    for names, beyond in ((above, value > 0), (below, value < 0)):
        if names:
            impossible |= infinite & beyond & pl.col("metric").is_in(names)
    missing = value.is_null() | impossible.fill_null(False)
    nan = value.is_nan().fill_null(False)
    return frame.with_columns(
        (~missing & ~nan).alias("__usable"), (missing | infinite).alias("__missing"), nan.alias("__nan")
    )


def _ratio_groups(frame: pl.DataFrame, starts: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Groups with denominators: a usable score has a weight other than 1. Without any, a ratio metric is a mean."""
    if "weight" not in frame.columns or not len(starts):
        return np.zeros(len(starts), dtype=bool)
    weighted = (
        frame.select((pl.col("weight").fill_null(1.0) != 1.0) & pl.col("__usable")).to_series().to_numpy()
    )
    return np.logical_or.reduceat(weighted, starts)


def _log_groups(frame: pl.DataFrame, starts: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Groups of a perplexity over instances; result rows are averaged as they are."""
    if "metric" not in frame.columns or "instance_id" not in frame.columns:
        return np.zeros(len(starts), dtype=bool)
    if frame["instance_id"].null_count() == frame.height:
        return np.zeros(len(starts), dtype=bool)
    metrics = frame["metric"].unique().drop_nulls().to_list()
    logs = [name for name in metrics if aggregation(name) == "perplexity"]
    return frame[starts]["metric"].is_in(logs).fill_null(False).to_numpy()
