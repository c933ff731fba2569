"""What `bootstrap` draws from: instances of each run and score in clusters and strata, with the addresses of draws.

Where a row of the result holds several runs or checkpoints, these are the outermost strata of its sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._addresses import group_addresses
from ._duplicates import Duplicates, settle_duplicates
from ._encode import mixed
from ._errors import OptionError, SchemaError
from ._instance_cells import perplexities
from ._kernels import kernels
from ._last import last_checkpoints
from ._moments import with_usable
from ._no_rows import NoRowsLeft
from ._schema import COLUMNS, RUN_IDENTITY, SCORE_IDENTITY, did_you_mean
from ._scores import Filter, Scores, collect, no_instances, rows_of, warn_joined, warn_notes
from ._segments import new_segments

Floats = NDArray[np.float64]
Offsets = NDArray[np.uintp]

Over = Literal["seed", "step"]

#: What tells the checkpoints of a run apart.
PLACE = ("step", "revision", "tokens", "flops")


@dataclass(frozen=True)
class Sample:
    """Instances of one row, repeats averaged, sorted by stratum, cluster and label."""

    values: Floats
    """Logarithms where `logs` says so."""
    weights: Floats | None
    """Denominators of a ratio; None for a plain mean."""
    members: Offsets
    """Clusters among the instances; each instance its own where they are independent."""
    strata: Offsets
    """Strata among the clusters."""
    units: NDArray[np.uint64]
    """Address of the draws of each stratum."""
    logs: bool
    """A perplexity, whose score is exp of the mean of logarithms."""

    @property
    def clustered(self) -> bool:
        """Whether some instances share a cluster."""
        return len(self.members) - 1 < len(self.values)


@dataclass(frozen=True)
class Samples:
    """A sample for each row of the result."""

    labels: pl.DataFrame
    """Labels of the rows, in lexical order."""
    joined: tuple[str, ...]
    counts: pl.DataFrame
    """``n_missing, n_nan`` of each row."""
    samples: list[Sample]
    inside: NDArray[np.intp]
    """Runs or checkpoints inside each row; 1 where these are not drawn."""
    unmatched: NDArray[np.intp]
    """Scores left out of each row because another of its runs or checkpoints has none for the instance."""


@dataclass(frozen=True)
class Sisters:
    """Runs or checkpoints that one row of the result holds."""

    over: Over
    nested: bool
    """Each has instances of its own; else all of them have the same."""
    across: tuple[str, ...]
    """Columns that say which runs differ by their seed alone; none: `recipe` where it is filled, else `run`."""


def load_samples(
    scores: Scores,
    *,
    by: Sequence[str],
    where: Filter,
    order: str,
    cluster: str | None,
    stratify: Sequence[str],
    columns: Mapping[str, str] | None,
    duplicates: Duplicates,
    strict: bool,
    threads: int | None,
    sisters: Sisters | None = None,
    shared: bool = False,
) -> Samples:
    """Instances of every run and score, of the last checkpoint of each run unless `by` names checkpoints.

    `shared`: only instances that all runs of a group have.
    """
    over = None if sisters is None else sisters.over
    every = over == "step" or not {*PLACE, order}.isdisjoint(by)
    apart = ["step"] if "step" in by else []
    by = [name for name in by if name not in ("run", "step", *stratify)]
    needed = [*by, *stratify, *(sisters.across if sisters else ())]
    choice = Checkpoints(
        by,
        order,
        stratify,
        every=every,
        needed=[*needed, *([] if cluster is None else [cluster])],
        who="bootstrap draws instances",
    )
    rows, _ = rows_of(
        scores,
        columns,
        where,
        [
            *by,
            order,
            *stratify,
            "cluster" if cluster is None else cluster,
            *(sisters.across if sisters else ()),
        ],
        strict=strict,
        threads=threads,
        instances=True,
        narrow=choice.narrow,
    )
    rows, notes = settle_duplicates(rows, duplicates)
    if choice.results:
        notes = [*notes, f"{choice.results} result rows were left out: they have no instances to draw"]
    warn_notes(notes, stacklevel=5)
    if "step" not in rows.columns:
        rows = rows.with_columns(pl.lit(None, dtype=COLUMNS["step"]).alias("step"))
    given, inside = _members(rows, sisters, by)
    candidates = [
        name
        for name in (*SCORE_IDENTITY, *RUN_IDENTITY, "revision")
        if name in rows.columns and name not in (*given, *stratify, *inside)
    ]
    joined = mixed(rows.select(*given, *candidates).unique(), given, candidates)
    if inside:
        rows = rows.with_columns(pl.struct(inside).rank("dense").alias("__sister"))
    within = (
        [*apart, *(name for name in (*given, *joined) if name not in ("run", "step"))] if shared else None
    )
    samples = _arrange(rows, [*given, *joined], joined, cluster, stratify, sisters, within, threads)
    warn_joined(samples.labels, joined, given)
    return samples


def _members(rows: pl.DataFrame, sisters: Sisters | None, by: Sequence[str]) -> tuple[list[str], list[str]]:
    """Columns that label a row of the result, and those that tell apart what is inside."""
    if sisters is None:
        return ["run", "step", *by], []
    if sisters.over == "step":
        return ["run", *by], [name for name in ("step", "revision") if name in rows.columns]
    filled = "recipe" in rows.columns and rows["recipe"].null_count() < rows.height
    across = sisters.across or (("recipe",) if filled else ("run",))
    told_apart: tuple[str, ...] = ("run", "recipe", "seed", "revision", "step")
    inside = [name for name in told_apart if name in rows.columns and name not in across]
    return list(dict.fromkeys([*across, *by])), inside


class Checkpoints:
    """Which checkpoints are drawn from: the last of each run in each score, or every one."""

    def __init__(
        self,
        by: Sequence[str],
        order: str,
        stratify: Sequence[str],
        *,
        every: bool,
        needed: Sequence[str],
        who: str,
    ) -> None:
        self._by = by
        self._order = order
        self._stratify = stratify
        self._every = every
        self._needed = needed
        self._who = who
        self.results = 0
        """Rows without an instance, which are left out."""

    def narrow(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """Leave the rows of all other checkpoints unread."""
        names = frame.collect_schema().names()
        for name in ("run", *self._needed):
            if name not in names:
                raise SchemaError(
                    f"the table has no column {name!r}{did_you_mean(name, names)} (it has {', '.join(names)})"
                )
        if "instance_id" not in names:
            raise SchemaError(no_instances(self._who))
        # Subtasks and strata follow their task: one of an earlier checkpoint would be another model's score.
        apart = ("subtask", *self._stratify)
        scope = [
            name
            for name in dict.fromkeys([*RUN_IDENTITY, *self._by, *SCORE_IDENTITY])
            if name in names and name not in apart
        ]
        columns = [name for name in dict.fromkeys([*scope, "step", "revision", self._order]) if name in names]
        result = pl.col("instance_id").is_null()
        labels = collect(frame.group_by(*columns, result.alias("__result")).agg(pl.len().alias("__rows")))
        if not labels.height:
            raise NoRowsLeft
        self.results = int(labels.filter("__result")["__rows"].sum())
        labels = labels.filter(~pl.col("__result"))
        if not labels.height:
            raise SchemaError(no_instances(self._who))
        frame = frame.filter(~result)
        if self._every:
            return frame
        run = [name for name in RUN_IDENTITY if name in names]
        last = last_checkpoints(labels, self._order, run=run, within=scope)
        return frame.join(last.select(columns).lazy(), on=columns, how="semi", nulls_equal=True)


def _arrange(
    rows: pl.DataFrame,
    key: Sequence[str],
    joined: tuple[str, ...],
    cluster: str | None,
    stratify: Sequence[str],
    sisters: Sisters | None,
    within: Sequence[str] | None,
    threads: int | None,
) -> Samples:
    """Number rows of the result and sort instances, so that no order of rows can reach the draws."""
    rows, labels = numbered(rows, key, "__row")
    inside, unmatched = np.ones(labels.height, dtype=np.intp), np.zeros(labels.height, dtype=np.intp)
    if sisters is not None:
        rows, inside, unmatched = _matched(rows, [*stratify, "instance_id"], labels.select(key), sisters)
    elif within is not None:
        rows, unmatched = _shared(rows, [*stratify, "instance_id"], labels.select(key), within)
    rows = with_clusters(rows, ["__row", *stratify, "instance_id"], cluster)
    outer = [] if sisters is None else ["__sister"]
    within = ["__row", *outer, *stratify, "__cluster", "instance_id"]
    rows = rows.sort(*within, *(name for name in ("repeat",) if name in rows.columns))
    first = np.flatnonzero(new_segments(rows, within))
    value, weight = rows["value"].to_numpy(), None
    logs = perplexities(rows)
    if logs.any():
        with np.errstate(all="ignore"):
            value = np.where(logs, np.log(value), value)
    if "weight" in rows.columns:
        weight = rows["weight"].fill_null(1.0).to_numpy()
    if len(first) < rows.height:
        offsets = np.concatenate([first, [rows.height]]).astype(np.uintp)
        value = kernels().segment_moments(value, offsets, threads=threads)["mean"]
        if weight is not None:
            weight = kernels().segment_moments(weight, offsets, threads=threads)["mean"]
    items, logs = rows[first], logs[first]
    cluster_starts = new_segments(items, within[:-1]) | items["__cluster"].is_null().to_numpy()
    stratum_starts = new_segments(items, within[:-2])
    units = np.zeros(items.height, dtype=np.uint64)
    units[stratum_starts] = group_addresses(drawn_labels(items.filter(pl.Series(stratum_starts)), stratify))
    bounds = np.searchsorted(items["__row"].to_numpy(), np.arange(labels.height + 1))
    samples = []
    for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        part = slice(start, end)
        members = np.append(np.flatnonzero(cluster_starts[part]), end - start).astype(np.uintp)
        strata = np.flatnonzero(stratum_starts[part])
        own = None if weight is None else weight[part]
        samples.append(
            Sample(
                values=value[part],
                weights=own if own is not None and (own != 1).any() else None,
                members=members,
                strata=np.append(np.searchsorted(members, strata), len(members) - 1).astype(np.uintp),
                units=units[part][strata],
                logs=bool(logs[part].any()),
            )
        )
    counts = labels.select("n_missing", "n_nan")
    return Samples(labels.select(key), joined, counts, samples, inside, unmatched)


def _matched(
    rows: pl.DataFrame, instance: Sequence[str], labels: pl.DataFrame, sisters: Sisters
) -> tuple[pl.DataFrame, NDArray[np.intp], NDArray[np.intp]]:
    """Instances that all sisters of a row have, or a check that no two have one; sisters, and scores left out."""
    inside = np.zeros(labels.height, dtype=np.intp)
    counted = rows.group_by("__row").agg(pl.col("__sister").n_unique())
    inside[counted["__row"].to_numpy()] = counted["__sister"].to_numpy()
    rows = rows.with_columns(
        pl.col("__sister").n_unique().over("__row").alias("__all"),
        pl.col("__sister").n_unique().over("__row", *instance).alias("__held"),
    )
    what = "runs" if sisters.over == "seed" else "checkpoints"

    def row_text(row: int) -> str:
        return ", ".join(str(value) for value in labels.row(row) if value is not None)

    if sisters.nested:
        shared = rows.filter(pl.col("__held") > 1)
        if shared.height:
            first = shared.sort("__row", *instance).row(0, named=True)
            raise OptionError(
                f'design="nested" is for {what} with instances of their own, and instance {first["instance_id"]!r} '
                f"belongs to {first['__held']} of them ({row_text(first['__row'])}): its intervals would be far too "
                'short; choose design="crossed"'
            )
        return rows, inside, np.zeros_like(inside)
    whole = rows.filter(pl.col("__held") == pl.col("__all"))
    apart = rows.filter(pl.col("__all") > 1).join(whole, on="__row", how="anti")
    if apart.height:
        row = int(apart["__row"].min())  # type: ignore[arg-type]
        advice = '; choose design="nested"' if (apart["__held"] == 1).all() else ""
        raise OptionError(
            f'design="crossed" is for {what} over the same instances, and no instance is there for all {inside[row]} '
            f"of {row_text(row)}{advice}"
        )
    left_out = np.bincount(rows["__row"].to_numpy(), minlength=labels.height)
    left_out -= np.bincount(whole["__row"].to_numpy(), minlength=labels.height)
    return whole, inside, left_out.astype(np.intp)


def _shared(
    rows: pl.DataFrame, instance: Sequence[str], labels: pl.DataFrame, within: Sequence[str]
) -> tuple[pl.DataFrame, NDArray[np.intp]]:
    """Instances that all rows of the result with the same columns `within` have, and scores left out of each."""
    group = pl.struct(within).rank("dense") if within else pl.lit(1, dtype=pl.UInt32)
    group_of = labels.select(group.alias("__group")).with_row_index("__row")
    size = group_of.group_by("__group").agg(pl.len().alias("__all"))
    rows = rows.join(group_of.join(size, on="__group"), on="__row", maintain_order="left")
    whole = rows.filter(pl.col("__row").n_unique().over("__group", *instance) == pl.col("__all"))
    held = np.bincount(rows["__row"].to_numpy(), minlength=labels.height)
    kept = np.bincount(whole["__row"].to_numpy(), minlength=labels.height)
    return whole.drop("__group", "__all"), (held - kept).astype(np.intp)


def numbered(rows: pl.DataFrame, key: Sequence[str], name: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows with a score and the number of their row of the result, in a column; and the labels of these, in order."""
    rows = with_usable(rows)
    counts = (pl.col(f"__{lost}").sum().cast(pl.Int64).alias(f"n_{lost}") for lost in ("missing", "nan"))
    labels = rows.group_by(key).agg(*counts).sort(key)
    numbers = labels.select(key).with_row_index(name)
    return rows.filter("__usable").join(numbers, on=list(key), nulls_equal=True), labels


def with_clusters(rows: pl.DataFrame, key: Sequence[str], cluster: str | None) -> pl.DataFrame:
    """The cluster of each instance as ``__cluster``; null where an instance is its own."""
    name = "cluster" if cluster is None else cluster
    if name == "instance_id" or name not in rows.columns:
        return rows.with_columns(pl.lit(None, dtype=pl.String).alias("__cluster"))
    label = pl.col(name).drop_nulls()
    several = rows.filter(label.n_unique().over(key) > 1)
    if several.height:
        raise SchemaError(
            f"cluster: instance {several['instance_id'].min()!r} has several values of {name!r} over its repeats; a "
            "cluster is a property of the instance"
        )
    return rows.with_columns(label.first().over(key).alias("__cluster"))


def drawn_labels(strata: pl.DataFrame, stratify: Sequence[str]) -> pl.DataFrame:
    """What says which instances these are: neither runs nor metrics, which share their draws."""
    names = dict.fromkeys(["task", "subtask", "config", *stratify])
    return strata.select(
        pl.col(name) if name in strata.columns else pl.lit(None).alias(name) for name in names
    )
