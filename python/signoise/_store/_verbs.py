"""How verbs take a store: scores per checkpoint come from its moments, rows only where a filter speaks of instances."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import polars as pl

from .._errors import SchemaError
from .._metrics import aggregation
from .._no_rows import no_rows_left
from .._readers import ReadReport
from .._schema import KEY, as_expression, predicate
from . import _manifest as manifests
from ._moments import labelled_moments
from ._open import ScoreStore, open_store

#: Columns that only single instances have.
_OF_INSTANCES = frozenset({"instance_id", "repeat", "cluster", "value", "weight"})


def as_store(scores: Any) -> ScoreStore | None:
    """The store that is given, or whose path is; None for anything else.

    Raises
    ------
    SchemaError
        If a store is one of several sources.
    """
    if isinstance(scores, ScoreStore):
        return scores
    if isinstance(scores, (str, os.PathLike)):
        return open_store(scores) if manifests.is_store(scores) else None
    if isinstance(scores, (list, tuple)):
        stores = [item for item in scores if manifests.is_store(item)]
        if stores and len(scores) > 1:
            raise SchemaError(
                f"{stores[0]} is a score store, which cannot be mixed with other sources; ingest them into it first"
            )
        return open_store(stores[0]) if stores else None
    return None


def speaks_of_instances(where: pl.Expr | str | None, use: Sequence[pl.Expr | str] = ()) -> bool:
    """Whether a filter, or a column that a verb needs, can only be answered by single instances."""
    names = {item for item in use if isinstance(item, str)}
    for expression in [item for item in use if isinstance(item, pl.Expr)]:
        names |= set(expression.meta.root_names())
    if where is not None:
        names |= set(as_expression(where, "where").meta.root_names())
    return bool(names & _OF_INSTANCES)


def rows(store: ScoreStore) -> pl.LazyFrame:
    """Instance rows, and the result rows beside them."""
    results = store.results
    frame = store.scan()
    return pl.concat([frame, results.lazy()], how="diagonal_relaxed") if results.height else frame


def scores(store: ScoreStore, threads: int | None = None) -> tuple[pl.DataFrame, list[str]]:
    """One result row a checkpoint and score, and what has to be said of them; a tool's own results win."""
    from .._aggregate import joined_with_results

    table = labelled_moments(store, None, threads).drop("ratio")
    missing = int(table["n_missing"].sum()) + int(table["n_nan"].sum())
    notes = [f"{missing} instance rows have no score and were left out of their means"] if missing else []
    table = (
        table.rename({"mean": "value"})
        .drop("n_missing", "n_nan", "variance", "min", "max")
        .with_columns(pl.format("mean of {} instances", "n").alias("rolled_up"))
    )
    results = store.results
    if results.height:
        key = [name for name in KEY if name in table.columns and name in results.columns]
        return joined_with_results(table, results, key, (), notes)
    return table, notes


def stored_moments(
    store: ScoreStore,
    by: Sequence[str],
    apart: Sequence[str],
    *,
    metrics: Sequence[str] | None,
    where: pl.Expr | str | None,
    threads: int | None,
) -> tuple[pl.DataFrame, list[str]]:
    """Moments by `by` and the columns that must be kept `apart`, and what has to be said; no instance is looked at."""
    table = labelled_moments(store, metrics, threads)
    everything, results = table, store.results
    condition = predicate(where, "where", table.schema)
    if condition is not None:
        table = table.filter(condition)
        columns = [name for name in table.columns if name not in results.columns]
        results = results.with_columns(
            pl.lit(None, dtype=table.schema[name]).alias(name) for name in columns
        ).filter(condition)
    if metrics is not None:
        results = results.filter(pl.col("metric").is_in(list(metrics)))
    if not table.height:
        raise SchemaError(no_rows_left(where, metrics, everything))
    labels = [name for name in table.columns if name not in (*_MOMENTS, "ratio")]
    missing = [name for name in by if name not in labels]
    if missing:
        raise SchemaError(f"by: the table has no column {missing[0]!r} (it has {', '.join(labels)})")
    key = [*by, *(name for name in apart if name not in by)]
    notes = [f"{results.height} result rows beside instance rows were left out"] if results.height else []
    if _tells_apart(store, table, key):
        return table.select(*key, *_MOMENTS), notes
    return _pooled(table, key), notes


def _tells_apart(store: ScoreStore, table: pl.DataFrame, key: Sequence[str]) -> bool:
    """Whether each row is a group, told from checkpoints and units alone; False: perhaps not.

    Rows differ in checkpoint, unit, metric or filter.
    """

    def unique(rows: pl.DataFrame) -> bool:
        chosen = [name for name in key if name in rows.columns]
        return rows.height < 2 or (bool(chosen) and not rows.select(chosen).is_duplicated().any())

    slots = [name for name in ("metric", "filter") if name not in key]
    return (
        unique(store.checkpoints.drop("checkpoint"))
        and unique(store.unit_names)
        and all(table[name].n_unique() < 2 for name in slots)
    )


_MOMENTS = ("n", "n_missing", "n_nan", "mean", "variance", "min", "max", "weight")


def _pooled(table: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """Moments of the union of instances in each group of `key`.

    Deviations from the pooled mean are those within each part and those of the parts' means; perplexities are pooled
    as logarithms. A group with one part has its moments as they are.
    """
    if table.select(key).is_unique().all():
        return table.select(*key, *_MOMENTS)
    # Sums are taken in the order of the full key, which does not depend on the order of the ingests.
    table = table.sort([*key, *(name for name in KEY if name in table.columns and name not in key)])
    logs = pl.col("metric").is_in([m for m in table["metric"].unique() if aggregation(m) == "perplexity"])
    mean = pl.when("__log").then(pl.col("mean").log()).otherwise("mean")
    n = pl.col("n").cast(pl.Float64)
    weight = pl.when(pl.col("mean").is_not_null()).then(pl.when("ratio").then("weight").otherwise(n))
    ratio = pl.col("ratio").any()
    log = pl.col("__log").any()
    centre = pl.when(ratio).then((weight * mean).sum() / weight.sum()).otherwise((n * mean).sum() / n.sum())
    within = (pl.col("variance").fill_null(0.0) * (n - 1)).sum()
    between = (n * (mean - centre) ** 2).sum()
    alone = pl.len() == 1
    return (
        table.with_columns(logs.alias("__log"))
        .group_by(key, maintain_order=True)
        .agg(
            pl.col("n", "n_missing", "n_nan").sum(),
            pl.when(alone)
            .then(pl.col("mean").first())
            .otherwise(pl.when(log).then(centre.exp()).otherwise(centre))
            .alias("mean"),
            pl.when(alone)
            .then(pl.col("variance").first())
            .when(~ratio & ~log & (n.sum() >= 2))
            .then((within + between) / (n.sum() - 1))
            .alias("variance"),
            pl.col("min").min(),
            pl.col("max").max(),
            pl.when(ratio).then(weight.sum()).otherwise(1.0).alias("weight"),
        )
        .with_columns(pl.col("mean", "variance").fill_nan(None))
    )


class StoreReport(ReadReport):
    """In place of the report on files that were read."""

    def __init__(self, store: ScoreStore) -> None:
        super().__init__()
        self._line = repr(store).removeprefix("ScoreStore(").removesuffix(")")

    def summary(self) -> list[str]:
        """What the store holds."""
        return [f"score store {self._line}"]
