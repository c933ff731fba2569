"""Scores instance by instance of chosen checkpoints, as a frame: what verbs over single instances work on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._duplicates import Duplicates, settle_duplicates
from ._encode import mixed
from ._errors import SchemaError
from ._kernels import kernels
from ._matching import Choice
from ._metrics import aggregation
from ._moments import with_usable
from ._schema import COLUMNS, SCORE_IDENTITY, did_you_mean
from ._scores import Filter, Scores, no_instances, rows_of, warn_joined, warn_notes
from ._segments import new_segments

#: Place of a row in the table, where the order of rows was asked for.
ROW = "__row"


@dataclass(frozen=True)
class Instances:
    """Instances of the last checkpoint of every run, group by group; repeats averaged within an instance."""

    by: tuple[str, ...]
    """Key of the groups, with the columns that joined it."""
    joined: tuple[str, ...]
    labels: pl.DataFrame
    """A row for each group and run, in this order: ``group, side``, key, ``run, step, n_missing, n_nan, plain``. Side 0
    is the baseline if there is one; `plain` says that the score is a plain mean of instances.
    """
    scores: pl.DataFrame
    """A row for each instance with a score: ``group, side, instance_id, value`` and columns that were asked for, in the
    order of the first three (with the parts in `apart` before the instance).
    """

    def __len__(self) -> int:
        return self.labels.height

    def parts(self) -> list[pl.DataFrame]:
        """Scores of each row of `labels`."""
        place = self.scores.select("group", "side").unique(maintain_order=True)
        pieces = self.scores.partition_by("group", "side", maintain_order=True)
        known = dict(zip(place.iter_rows(), pieces, strict=True))
        empty = self.scores.clear()
        return [known.get(key, empty) for key in self.labels.select("group", "side").iter_rows()]


def load_last_instances(
    scores: Scores,
    *,
    verb: str,
    by: Sequence[str],
    where: Filter,
    order: str,
    baseline: str | None = None,
    apart: Sequence[str] = (),
    use: Sequence[str] = (),
    rows_in_order: bool = False,
    columns: Mapping[str, str] | None,
    duplicates: Duplicates,
    strict: bool,
    threads: int | None,
) -> Instances:
    """Instances of the last checkpoint of each run and score; of all checkpoints where `by` names their step.

    Parameters
    ----------
    verb
        Who asks, for messages.
    baseline
        A checkpoint (``run`` or ``run@step``) that becomes side 0, beside the last ones of all other runs.
    apart
        Columns, such as ``metric``, that do not make groups; the scores of an instance are kept apart by them.
    use
        Further columns of an instance; of repeats the first that is there.
    rows_in_order
        Keep the place of each row in the table (`ROW`), that of its last one for an instance with repeats.
    """
    by = tuple(name for name in by if name != "run")
    wanted = [] if baseline is None else [baseline]
    chosen = Choice(wanted, others=True, by=by, order=order, follow=("subtask", *apart))

    def narrow(frame: pl.LazyFrame) -> pl.LazyFrame:
        names = frame.collect_schema().names()
        for name in by:
            if name not in names:
                raise SchemaError(
                    f"by: the table has no column {name!r}{did_you_mean(name, names)} (it has {', '.join(names)})"
                )
        if "instance_id" not in names:
            raise SchemaError(no_instances(f"{verb} works on instances"))
        return chosen.narrow(frame.with_row_index(ROW) if rows_in_order else frame)

    asked = [*by, order, *apart, *use]
    rows, _ = rows_of(
        scores, columns, where, asked, strict=strict, threads=threads, instances=True, narrow=narrow
    )
    rows, notes = settle_duplicates(rows, duplicates)
    rows = rows.join(chosen.kept, on=chosen.columns, nulls_equal=True)
    results = rows["instance_id"].null_count()
    if results == rows.height:
        raise SchemaError(no_instances(f"{verb} works on instances"))
    if results:
        notes = [*notes, f"{results} result rows were left out: {verb} takes instances"]
        rows = rows.filter(pl.col("instance_id").is_not_null())
    warn_notes(notes, stacklevel=5)
    candidates = [
        name for name in SCORE_IDENTITY if name in rows.columns and name not in by and name not in apart
    ]
    joined = mixed(rows.select(*by, *candidates).unique(), by, candidates)
    key = (*by, *joined)
    there = (*key, *apart, "instance_id", "value")
    carried = [name for name in use if name in rows.columns and name not in there]
    rows = _numbered(rows, key)
    found = Instances(
        key, joined, _labels(rows, key), _averaged(rows, apart, carried, rows_in_order=rows_in_order)
    )
    warn_joined(found.labels, joined, by)
    return found


def _numbered(rows: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """Rows with their group, marks of what statistics may use, and whether the score is a plain mean."""
    if "step" not in rows.columns:
        rows = rows.with_columns(pl.lit(None, dtype=COLUMNS["step"]).alias("step"))
    rows = with_usable(rows).rename({"__side": "side"})
    plain = pl.lit(value=True)
    if "weight" in rows.columns:
        plain &= (pl.col("weight").fill_null(1.0) == 1.0) | ~pl.col("__usable")
    if "metric" in rows.columns:
        names = [name for name in rows["metric"].unique().drop_nulls() if aggregation(name) == "perplexity"]
        plain &= ~pl.col("metric").is_in(names).fill_null(False)
    rows = rows.with_columns(plain.alias("__plain"))
    if not key:
        return rows.with_columns(pl.lit(0, dtype=pl.UInt32).alias("group"))
    groups = rows.select(key).unique().sort(key).with_row_index("group")
    return rows.join(groups, on=list(key), nulls_equal=True)


def _labels(rows: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    known = [name for name in ("run", "step") if name not in key]
    return (
        rows.group_by("group", "side", *key)
        .agg(
            *(pl.col(name).drop_nulls().first() for name in known),
            pl.col("__missing").sum().cast(pl.Int64).alias("n_missing"),
            pl.col("__nan").sum().cast(pl.Int64).alias("n_nan"),
            pl.col("__plain").all().alias("plain"),
        )
        .with_columns(pl.col("plain").all().over("group"))
        .sort("group", "side")
    )


def _averaged(
    rows: pl.DataFrame, apart: Sequence[str], carried: Sequence[str], *, rows_in_order: bool
) -> pl.DataFrame:
    """One row an instance: the mean of its repeats, whatever order they stand in."""
    key = ["group", "side", *(name for name in apart if name in rows.columns), "instance_id"]
    repeat = [name for name in ("repeat",) if name in rows.columns]
    more = [*carried, *([ROW] if rows_in_order else [])]
    rows = rows.filter("__usable").sort(*key, *repeat).select(*key, "value", *more)
    first = np.flatnonzero(new_segments(rows, key))
    if len(first) == rows.height:
        return rows
    offsets = np.concatenate([first, [rows.height]]).astype(np.uintp)
    mean: NDArray[np.float64] = kernels().segment_moments(rows["value"].to_numpy(), offsets)["mean"]
    last = [pl.col(ROW).max()] if rows_in_order else []
    extra = rows.group_by(key, maintain_order=True).agg(
        *(pl.col(name).drop_nulls().first() for name in carried), *last
    )
    return extra.with_columns(pl.Series("value", mean)).select(*key, "value", *more)
