"""Which checkpoints are compared, and their scores instance by instance: what `compare` and `rank` work on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._duplicates import Duplicates, settle_duplicates
from ._encode import mixed
from ._errors import OptionError, SchemaError
from ._kernels import kernels
from ._last import last_checkpoints
from ._metrics import aggregation
from ._moments import with_usable
from ._no_rows import NoRowsLeft
from ._schema import COLUMNS, KEY, RUN_IDENTITY, SCORE_IDENTITY, did_you_mean
from ._scores import Filter, Scores, collect, rows_of, warn_notes
from ._segments import new_segments

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

#: What tells the checkpoints of a run apart.
_PLACE = ("run", "revision", "step")


@dataclass(frozen=True)
class Sides:
    """Instance scores of some checkpoints, called sides, group by group; repeats averaged within an instance."""

    by: tuple[str, ...]
    """Key of the groups, with the columns that joined it."""
    joined: tuple[str, ...]
    groups: pl.DataFrame
    labels: pl.DataFrame
    """One row a group and side: ``group, side, run, revision, step``, numbers that were left out, and the side's own
    result (``result, stderr, n_result``) where it has no instances there."""
    items: Ints
    """Offsets of the groups among instances."""
    cells: Ints
    """Offsets of the groups among scores, which stand by group, side and instance."""
    item: Ints
    """Number of the instance of each score."""
    side: Ints
    value: Floats
    """Scores as they are averaged: logarithms where `logs` says so."""
    weight: Floats
    clusters: Ints | None
    """Cluster of each instance; None without clusters."""
    ratio: NDArray[np.bool_]
    """Groups whose score is a ratio of sums over instances."""
    logs: NDArray[np.bool_]
    """Groups whose score is exp of a mean of logarithms: perplexities."""
    metric: list[str | None]
    """Of each group."""
    alone: int
    """Scores that only one side has, left out."""

    @property
    def count(self) -> int:
        """Number of sides."""
        return 1 + int(self.labels["side"].to_numpy().max(initial=-1))

    def place(self, group: int) -> Ints:
        """Where the score of each instance (row) by each side (column) of a group stands; -1 where there is none."""
        first, last = self.items[group], self.items[group + 1]
        start, end = self.cells[group], self.cells[group + 1]
        out = np.full((last - first, self.count), -1, dtype=np.intp)
        out[self.item[start:end] - first, self.side[start:end]] = np.arange(start, end)
        return out

    def clustered(self, group: int) -> bool:
        """Whether some instances of a group share a cluster."""
        if self.clusters is None:
            return False
        codes = self.clusters[self.items[group] : self.items[group + 1]]
        return len(np.unique(codes)) < len(codes)


def load_sides(
    scores: Scores,
    *,
    wanted: Sequence[str],
    others: bool,
    by: Sequence[str],
    where: Filter,
    metric: Sequence[str] | None,
    cluster: str | None,
    order: str,
    pool_subtasks: bool,
    columns: Mapping[str, str] | None,
    duplicates: Duplicates,
    strict: bool,
    threads: int | None,
) -> Sides:
    """Scores of the `wanted` checkpoints (``run`` or ``run@step``), and of the last ones of all `others`.

    A wanted checkpoint has its place in `wanted` as its number; others follow, by name of their run. Instances of all
    subtasks count alike where `pool_subtasks`, and make groups of their own otherwise.
    """
    chosen = Choice(list(wanted), others, tuple(by), order)
    rows, _ = rows_of(
        scores,
        columns,
        where,
        [*by, order, "cluster" if cluster is None else cluster],
        metrics=metric,
        strict=strict,
        threads=threads,
        instances=True,
        narrow=chosen.narrow,
    )
    rows, notes = settle_duplicates(rows, duplicates)
    rows = rows.join(chosen.kept, on=chosen.columns, nulls_equal=True)
    rows, more = _without_results_beside_instances(rows, chosen.scope)
    rows, alone = _shared(rows, chosen.scope, first=bool(wanted))
    apart = [name for name in SCORE_IDENTITY if name != "subtask" or not pool_subtasks]
    candidates = [name for name in apart if name in rows.columns and name not in by]
    joined = mixed(rows.select(*by, *candidates).unique(), by, candidates)
    warn_notes([*notes, *more], stacklevel=5)
    return _arrange(rows, (*by, *joined), joined, cluster, alone, threads)


class Choice:
    """Which checkpoints take which side, from the labels of a table.

    The last checkpoint is that of each score; `follow` names parts of a score that stay with the rest of it: one of an
    earlier checkpoint would be another model's score.
    """

    def __init__(
        self,
        wanted: Sequence[str],
        others: bool,
        by: tuple[str, ...],
        order: str,
        follow: Sequence[str] = ("subtask",),
    ) -> None:
        self._wanted = wanted
        self._others = others
        self._by = by
        self._order = order
        self._follow = follow
        self.kept = pl.DataFrame()
        self.columns: list[str] = []
        self.scope: list[str] = []

    def narrow(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """Leave the rows of all other checkpoints unread."""
        names = frame.collect_schema().names()
        self.scope = [
            name
            for name in dict.fromkeys([*self._by, *SCORE_IDENTITY])
            if name in names and name not in self._follow
        ]
        identity = [name for name in RUN_IDENTITY if name in names]
        self.columns = list(
            dict.fromkeys([*self.scope, *(c for c in (*_PLACE, self._order) if c in names), *identity])
        )
        labels = collect(frame.select(self.columns).unique())
        if not labels.height:
            raise NoRowsLeft
        labels = labels.sort(self.columns)
        parts = [self._find(labels, text) for text in self._wanted]
        if self._others:
            last = self._last(labels)
            for part in parts:
                last = last.join(part, on=self.columns, how="anti", nulls_equal=True, maintain_order="left")
            parts += sorted(last.partition_by("run"), key=lambda part: part["run"][0] or "")
        self.kept = pl.concat(
            part.with_columns(pl.lit(side, dtype=pl.Int64).alias("__side")) for side, part in enumerate(parts)
        )
        _check_one_run(self.kept, self.scope, identity)
        kept = self.kept.select(self.columns).unique()
        return frame.join(kept.lazy(), on=self.columns, how="semi", nulls_equal=True)

    def _find(self, labels: pl.DataFrame, text: str) -> pl.DataFrame:
        """Rows of one checkpoint given as ``run`` or ``run@step``."""
        runs = labels["run"].unique().drop_nulls().sort().to_list()
        if text in runs:
            return self._last(labels.filter(pl.col("run") == text))
        run, sign, at = text.rpartition("@")
        if not sign or run not in runs:
            shown = ", ".join(runs[:5]) + (f", .. ({len(runs)} in all)" if len(runs) > 5 else "")
            raise SchemaError(
                f"there is no run {run or text!r}{did_you_mean(run or text, runs)}; runs are {shown}"
            )
        own = labels.filter(pl.col("run") == run)
        same = [pl.col(name).cast(pl.String) == at for name in ("step", "revision") if name in own.columns]
        found = own.filter(pl.any_horizontal(same)) if same else own.clear()
        if not found.height:
            known = own["step"].unique().drop_nulls().sort().to_list() if "step" in own.columns else []
            shown = f"its steps are {', '.join(map(str, known[-5:]))}" if known else "it has no steps"
            raise SchemaError(f"run {run!r} has no checkpoint {at!r}; {shown}")
        return found

    def _last(self, labels: pl.DataFrame) -> pl.DataFrame:
        """The last checkpoint of each run in each score."""
        within = list(dict.fromkeys(["run", *self.scope]))
        return last_checkpoints(labels, self._order, run=["run"], within=within).select(self.columns)


def _check_one_run(kept: pl.DataFrame, scope: Sequence[str], identity: Sequence[str]) -> None:
    """A name that stands for several runs, or several checkpoints, has no score of its own."""
    rest = [name for name in kept.columns if name not in ("__side", *scope)]
    counts = kept.group_by("__side", *scope).agg(pl.col(rest).drop_nulls().n_unique())
    for name in [*(c for c in identity if c in rest), *(c for c in rest if c not in identity)]:
        if (several := counts.filter(pl.col(name) > 1)).height:
            side = several["__side"][0]
            rows = kept.filter(pl.col("__side") == side)
            values = ", ".join(str(value) for value in rows[name].drop_nulls().unique().sort().head(4))
            raise OptionError(
                f"run {rows['run'][0]!r} stands for several runs or checkpoints: {name} is {values}; filter one "
                "(where=...), or tell the runs apart by name"
            )


def _without_results_beside_instances(
    rows: pl.DataFrame, scope: Sequence[str]
) -> tuple[pl.DataFrame, list[str]]:
    """Leave out a tool's own aggregates where their instances are there."""
    if "instance_id" not in rows.columns:
        return rows, []
    instances = rows.filter(pl.col("instance_id").is_not_null())
    results = rows.filter(pl.col("instance_id").is_null())
    key = ["__side", *scope]
    alone = results.join(instances.select(key).unique(), on=key, how="anti", nulls_equal=True)
    beside = results.height - alone.height
    notes = [f"{beside} result rows beside instance rows were left out"] if beside else []
    return pl.concat([instances, alone]), notes


def _shared(rows: pl.DataFrame, scope: Sequence[str], *, first: bool) -> tuple[pl.DataFrame, int]:
    """Rows of scores that several sides have (the first side among them); all rows if there are none."""
    sides = rows.group_by(scope).agg(
        pl.col("__side").n_unique().alias("__sides"), pl.col("__side").min().alias("__first")
    )
    kept = sides.filter((pl.col("__sides") > 1) & ((pl.col("__first") == 0) | (not first)))
    if not kept.height:
        return rows, 0
    return rows.join(
        kept.select(scope), on=list(scope), how="semi", nulls_equal=True
    ), sides.height - kept.height


def _arrange(
    rows: pl.DataFrame,
    by: tuple[str, ...],
    joined: tuple[str, ...],
    cluster: str | None,
    alone: int,
    threads: int | None,
) -> Sides:
    """Number groups and instances in the order of their labels, and average repeats."""
    if "instance_id" not in rows.columns:
        rows = rows.with_columns(pl.lit(None, dtype=pl.String).alias("instance_id"))
    rows = with_usable(rows)
    groups = rows.select(by).unique().sort(by) if by else pl.DataFrame({"__all": [None]})
    numbered = groups.with_row_index("__group")
    rows = rows.join(numbered, on=list(by), nulls_equal=True) if by else rows.with_columns(__group=0)
    item = [name for name in SCORE_IDENTITY if name in rows.columns and name not in by]
    repeat = [name for name in ("repeat",) if name in rows.columns]
    instances = rows.filter(pl.col("instance_id").is_not_null() & pl.col("__usable"))
    instances = instances.sort("__group", *item, "instance_id", "__side", *repeat)
    clusters, instances = _clusters(instances, item, cluster)
    metric = _metrics_of(rows, groups)
    logs = np.array([name is not None and aggregation(name) == "perplexity" for name in metric], dtype=bool)
    ratio = _ratio_groups(instances, metric, len(groups))
    starts = np.flatnonzero(new_segments(instances, ["__group", *item, "instance_id", "__side"]))
    new_item = new_segments(instances, ["__group", *item, "instance_id"])
    value = instances["value"].to_numpy()
    group = instances["__group"].to_numpy().astype(np.intp)
    if logs.any():
        with np.errstate(all="ignore"):
            value = np.where(logs[group], np.log(value), value)
    weight = (
        instances["weight"].fill_null(1.0).to_numpy()
        if "weight" in instances.columns
        else np.ones(instances.height)
    )
    if len(starts) < instances.height:
        offsets = np.concatenate([starts, [instances.height]]).astype(np.uintp)
        value, weight = (
            kernels().segment_moments(np.ascontiguousarray(column), offsets, threads=threads)["mean"]
            for column in (value, weight)
        )
    firsts = np.flatnonzero(new_item)
    side = instances["__side"].to_numpy()[starts].astype(np.intp)
    # Scores of one side next to each other: pairs read them in one go.
    n_sides = 1 + int(side.max(initial=0))
    place = np.argsort(group[starts] * n_sides + side, kind="stable")
    numbers = np.arange(len(groups) + 1)
    return Sides(
        by=by,
        joined=joined,
        groups=groups,
        labels=_labels(rows),
        items=np.searchsorted(group[firsts], numbers).astype(np.intp),
        cells=np.searchsorted(group[starts], numbers).astype(np.intp),
        item=(np.cumsum(new_item) - 1)[starts][place].astype(np.intp),
        side=side[place],
        value=value[place],
        weight=weight[place],
        clusters=None if clusters is None else clusters[firsts],
        ratio=ratio,
        logs=logs,
        metric=metric,
        alone=alone,
    )


def _labels(rows: pl.DataFrame) -> pl.DataFrame:
    """One row a group and side; a result counts where there are no instances."""
    absent = [name for name in ("revision", "step", "stderr", "n") if name not in rows.columns]
    own = pl.col("instance_id").is_null()
    usable = own & pl.col("__usable")
    rows = rows.with_columns(pl.lit(None, dtype=COLUMNS[name]).alias(name) for name in absent)
    key = [name for name in KEY if name in rows.columns]
    several = rows.filter(usable & (usable.sum().over("__group", "__side") > 1)).select(key)
    if several.height:
        names = [name for name in key if several[name].n_unique() > 1]
        raise OptionError(
            f"run {several['run'][0]!r} has several results where one is compared, which differ in "
            f"{', '.join(names)}; filter one (where=...), or add it to by"
        )
    return (
        rows.sort("__group", "__side", *(name for name in _PLACE if name in rows.columns))
        .group_by("__group", "__side", maintain_order=True)
        .agg(
            *(pl.col(name).drop_nulls().first() for name in _PLACE),
            pl.col("__missing").sum().cast(pl.Int64).alias("n_missing"),
            pl.col("__nan").sum().cast(pl.Int64).alias("n_nan"),
            pl.col("value").filter(usable).first().alias("result"),
            pl.col("stderr").filter(usable).first().fill_nan(None),
            pl.col("n").filter(usable).first().alias("n_result"),
        )
        .rename({"__group": "group", "__side": "side"})
    )


def _clusters(
    instances: pl.DataFrame, item: Sequence[str], cluster: str | None
) -> tuple[Ints | None, pl.DataFrame]:
    """Number of the cluster in each row; an instance without one is its own."""
    name = "cluster" if cluster is None else cluster
    if name not in instances.columns:
        if cluster is not None:
            raise SchemaError(f"cluster: the table has no column {cluster!r}")
        return None, instances
    key = ["__group", *item, "instance_id"]
    if name in key:
        labels = instances[name]
    else:
        several = instances.filter(pl.col(name).drop_nulls().n_unique().over(key) > 1)
        if several.height:
            row = several.row(0, named=True)
            raise SchemaError(
                f"cluster: instance {row['instance_id']!r} has several values of {name!r} over runs or repeats; "
                "a cluster is a property of the instance"
            )
        labels = instances.select(pl.col(name).drop_nulls().first().over(key)).to_series()
    if labels.null_count() == len(labels):
        return None, instances
    codes = labels.rank("dense").cast(pl.Int64).to_numpy(writable=True).astype(float)
    own = np.cumsum(new_segments(instances, key)) + float(len(labels))
    return np.where(np.isnan(codes), own, codes).astype(np.intp), instances


def _metrics_of(rows: pl.DataFrame, groups: pl.DataFrame) -> list[str | None]:
    """Metric of each group, part of the key or not."""
    if "metric" not in rows.columns:
        return [None] * len(groups)
    found = dict(rows.select("__group", "metric").unique(subset="__group").iter_rows())
    return [found.get(group) for group in range(len(groups))]


def _ratio_groups(instances: pl.DataFrame, metric: Sequence[str | None], n_groups: int) -> NDArray[np.bool_]:
    """Groups in which some weight differs from 1, or whose metric is known as a ratio and carries weights."""
    out = np.zeros(n_groups, dtype=bool)
    if "weight" not in instances.columns:
        return out
    weighted = instances.filter(pl.col("weight").is_not_null())
    for group, differs in weighted.group_by("__group").agg((pl.col("weight") != 1).any()).iter_rows():
        name = metric[group]
        out[group] = differs or (name is not None and aggregation(name) == "ratio")
    return out
