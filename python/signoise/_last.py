"""The last checkpoint of each run."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


def last_checkpoints(
    labels: pl.DataFrame, order: str, *, run: Sequence[str], within: Sequence[str]
) -> pl.DataFrame:
    """Labels of the last checkpoint in each group of ``within``, by ``order``, then step, then revision.

    Parameters
    ----------
    labels
        A row for each checkpoint and score.
    order
        Column that orders checkpoints; where some checkpoints of a run (columns ``run``) lack it, steps order that run.
    """
    along: list[str] = [name for name in ("step", "revision") if name in labels.columns]
    if order in labels.columns and order not in along:
        place = pl.when(pl.col(order).is_not_null().all().over(run)).then(pl.col(order))
        labels, along = labels.with_columns(place.alias("__place")), ["__place", *along]
    if not along:
        return labels
    last = pl.struct(along).rank("dense", descending=True).over(within) == 1
    return labels.filter(last).drop("__place", strict=False)
