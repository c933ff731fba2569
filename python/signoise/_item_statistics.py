"""The verb `item_statistics`: how hard each instance is, and how well it tells runs apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._duplicates import Duplicates
from ._instances import Instances, load_last_instances
from ._options import as_columns, signature
from ._scores import Filter, Scores
from ._status import Statuses, check_strict, flag_lists, result_column

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: A correlation over fewer runs than this can be anything.
FEW_RUNS = 10
#: Scores that vary by less than this, relative to their size, are all the same but for rounding.
_ROUNDING = 1e-12


def item_statistics(
    scores: Scores,
    *,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    order: str = "tokens",
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Difficulty and discrimination of every instance over runs.

    Parameters
    ----------
    scores, by, where, columns, duplicates, strict, threads
        As in `snr`; instance rows are needed. The last checkpoint of each run is taken.
    order
        Column that says which checkpoint is the last; where a run lacks it, ``step``.

    Returns
    -------
    DataFrame
        A row for each group and instance: by-columns, ``instance_id``; ``n_runs`` that have a score of it;
        ``difficulty``, the mean of their scores (of right and wrong the share of right: easy instances have a high
        one); ``variance`` of their scores (divisor n - 1); ``discrimination``, the correlation over runs of the score
        with the run's mean over all other instances; ``n_instances`` that this mean is over, the instance included;
        ``status, flags, signature``.

    Undefined when
        Fewer than 2 runs (variance null) or 3, or no other instance (``too_few``: discrimination null). All runs score
        the instance the same, or the rest of the benchmark (``constant``: discrimination null).

    Notes
    -----
    The rest of the benchmark is the mean over instances that all runs of the group have, without the instance itself:
    with it, an instance would correlate with itself (the point-biserial correlation, corrected). Negative
    discrimination: better runs fail it; its label may be wrong. With the few runs that are usual, discrimination is
    noise to a large part, with a standard error near (1 - r^2)/sqrt(n_runs) (flag ``few_members`` below 10 runs):
    instances chosen by it are chosen by that noise, so judge them on other runs, and against random subsets of equal
    size. Repeats are averaged within an instance first.

    References
    ----------
    Madaan et al. 2024, "Quantifying Variance in Evaluation Benchmarks", arXiv 2406.10229, section 4; Henrysson 1963,
    "Correction of item-total correlations in item analysis", Psychometrika 28.

    Examples
    --------
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=1, recipes=12, params=(1e9,), checkpoints=1, instances=50, item_noise=0.3)
    >>> table = sn.item_statistics(scores)
    >>> table.height, table["n_runs"].unique().to_list()
    (50, [12])
    """
    loaded = load_last_instances(
        scores,
        verb="item_statistics",
        by=as_columns(by),
        where=where,
        order=order,
        columns=columns,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    parts = [_group(part) for part in loaded.scores.partition_by("group", maintain_order=True)]
    result = _result(loaded, pl.concat(parts), signature("item_statistics", order=order))
    check_strict(result, [*loaded.by, "instance_id"], strict=strict)
    return result


@dataclass(frozen=True)
class ItemStatistics:
    """Of each instance; NaN where undefined."""

    n_runs: NDArray[np.int64]
    difficulty: Floats
    variance: Floats
    discrimination: Floats
    n_instances: NDArray[np.int64]
    few: Mask
    """Too few runs or instances for a discrimination."""
    flat: Mask
    """All runs score the instance, or the rest of the benchmark, the same."""


def statistics_of_items(x: Floats) -> ItemStatistics:
    """Statistics of the instances (columns) over runs (rows), NaN where a run has no score."""
    there = ~np.isnan(x)
    n = there.sum(axis=0)
    complete = n == len(x)
    count = int(complete.sum())
    with np.errstate(all="ignore"):
        mean = np.where(there, x, 0.0).sum(axis=0) / n
        apart = np.where(there, x - mean, 0.0)
        squares = (apart**2).sum(axis=0)
        # Means of the others: of what all runs have, less the instance itself where it is one of these.
        total = x[:, complete].sum(axis=1)[:, None]
        others = np.where(complete, count - 1.0, float(count))
        rest = (total - np.where(complete, x, 0.0)) / others
        rest_mean = np.where(there, rest, 0.0).sum(axis=0) / n
        rest_apart = np.where(there, rest - rest_mean, 0.0)
        rest_squares = (rest_apart**2).sum(axis=0)
        flat = (squares <= n * (_ROUNDING * mean) ** 2) | (rest_squares <= n * (_ROUNDING * rest_mean) ** 2)
        correlation = (apart * rest_apart).sum(axis=0) / np.sqrt(squares * rest_squares)
    few = (n < 3) | (others < 1)
    return ItemStatistics(
        n.astype(np.int64),
        mean,
        np.where(n >= 2, squares / np.maximum(n - 1, 1), np.nan),
        np.where(few | flat, np.nan, np.clip(correlation, -1.0, 1.0)),
        (others + 1).astype(np.int64),
        few,
        flat,
    )


def _group(part: pl.DataFrame) -> pl.DataFrame:
    """Statistics of the instances of one group; NaN where undefined."""
    items, item = np.unique(part["instance_id"].to_numpy(), return_inverse=True)
    runs, run = np.unique(part["side"].to_numpy(), return_inverse=True)
    x = np.full((len(runs), len(items)), np.nan)
    x[run, item] = part["value"].to_numpy()
    found = statistics_of_items(x)
    return pl.DataFrame(
        {
            "instance_id": items,
            "n_runs": found.n_runs,
            "difficulty": found.difficulty,
            "variance": found.variance,
            "discrimination": found.discrimination,
            "n_instances": found.n_instances,
            "__few": found.few,
            "__flat": found.flat,
        },
        schema_overrides={"instance_id": pl.String},
    ).with_columns(pl.lit(part["group"][0]).alias("group"))


def _result(loaded: Instances, found: pl.DataFrame, text: str) -> pl.DataFrame:
    groups = loaded.labels.group_by("group", *loaded.by, maintain_order=True).agg(
        (pl.col("n_missing") + pl.col("n_nan")).sum().alias("left_out")
    )
    labels = found.select(pl.col("group").cast(groups.schema["group"])).join(
        groups, on="group", maintain_order="left"
    )
    statuses = Statuses(found.height)
    statuses.set("too_few", found["__few"].to_numpy())
    statuses.set("constant", found["__flat"].to_numpy())
    statuses.check_finite(~np.isfinite(found["discrimination"].to_numpy()))
    flags = {
        "missing_values": labels["left_out"].to_numpy() > 0,
        "mixed_config": np.full(found.height, "config" in loaded.joined),
        "few_members": found["n_runs"].to_numpy() < FEW_RUNS,
    }
    numbers: dict[str, Any] = {
        name: found[name].to_numpy()
        for name in ("n_runs", "difficulty", "variance", "discrimination", "n_instances")
    }
    return pl.DataFrame(
        [
            *(labels[name] for name in loaded.by),
            found["instance_id"],
            *(result_column(name, values) for name, values in numbers.items()),
            statuses.column(),
            flag_lists(flags, found.height),
        ]
    ).with_columns(pl.lit(text).alias("signature"))
