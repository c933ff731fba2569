"""Repeated samples of instances, and how many of them are right: what the verbs of repeated sampling work on.

They come as instance rows with `repeat`, from a store, or from a table with a row for each instance: its number of
samples and of right ones, or a list of outcomes (`signoise._schema` knows both).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._addresses import group_addresses
from .._bootstrap_samples import PLACE, Checkpoints, Sample, drawn_labels, numbered, with_clusters
from .._duplicates import Duplicates, settle_duplicates
from .._encode import mixed
from .._errors import DuplicateKeyError, SchemaError
from .._metrics import lookup
from .._schema import COLUMNS, KEY, N_SAMPLES, RUN_IDENTITY, SCORE_IDENTITY
from .._scores import Filter, Scores, rows_of, warn_joined, warn_notes
from .._segments import new_segments

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

#: Shares of right samples are counts divided: how far a count may be from a whole number.
_ROUNDING = 1e-6
_REMEDY = "add the column that tells scores apart to by"


@dataclass(frozen=True)
class RepeatedSamples:
    """Samples of the instances of each row of a result, called group here."""

    labels: pl.DataFrame
    """``run, step``, key of each group, in lexical order."""
    joined: tuple[str, ...]
    """Columns that joined the key."""
    counts: pl.DataFrame
    """``n_missing, n_nan`` of each group: samples without a score, left out."""
    items: pl.DataFrame
    """A row for each instance with a score: ``group, instance_id, n`` samples, ``c`` right ones, ``__cluster`` and
    columns that were asked for; sorted by group, cluster and label, instances without a cluster first.
    """
    rows: pl.DataFrame | None
    """A row for each sample: ``item``, the row of `items`; ``repeat, value`` and columns that were asked for; sorted by
    item and repeat. None where only counts are known.
    """
    starts: Ints
    """Group g has items ``starts[g]:starts[g + 1]``."""
    units: NDArray[np.uint64]
    """Address of the draws of each group: runs and metrics of the same instances share it."""

    def __len__(self) -> int:
        return self.labels.height

    def part(self, group: int) -> pl.DataFrame:
        """The items of a group."""
        return self.items[int(self.starts[group]) : int(self.starts[group + 1])]

    def sizes(self, group: int) -> Ints:
        """Samples of each item of a group."""
        n: Ints = self.part(group)["n"].to_numpy()
        return n

    def sample(self, group: int, values: Floats) -> Sample:
        """A value for each item of a group, as `_bootstrap_replicates` draws them: whole clusters at a time."""
        part = self.part(group)
        own = part["__cluster"].is_null().to_numpy()
        members = np.append(np.flatnonzero(new_segments(part, ["__cluster"]) | own), part.height)
        return Sample(
            values=values,
            weights=None,
            members=members.astype(np.uintp),
            strata=np.array([0, len(members) - 1], dtype=np.uintp),
            units=self.units[group : group + 1],
            logs=False,
        )


def load_repeated(
    scores: Scores,
    *,
    who: str,
    by: Sequence[str],
    where: Filter,
    order: str,
    cluster: str | None,
    use: Sequence[str] = (),
    of_items: Sequence[str] = (),
    right_or_wrong: bool = True,
    columns: Mapping[str, str] | None,
    duplicates: Duplicates,
    strict: bool,
    threads: int | None,
) -> RepeatedSamples:
    """Samples of every run and score, of the last checkpoint of each run unless `by` names checkpoints.

    Parameters
    ----------
    who
        The verb, for messages.
    by, order, cluster
        As in `bootstrap`.
    use
        Columns of a sample beside its score.
    of_items
        Columns of an instance, where the table has them; of its samples' the first value that is there.
    right_or_wrong
        Scores must be 0 or 1. Metrics with others are left out where some have none, else it is an error.
    """
    every = not {*PLACE, order}.isdisjoint(by)
    by = [name for name in by if name not in ("run", "step")]
    needed = [*by, *use, *([] if cluster is None else [cluster])]
    who_needs = f"{who} works on samples of instances"
    choice = Checkpoints(by, order, (), every=every, needed=needed, who=who_needs)
    rows, _ = rows_of(
        scores,
        columns,
        where,
        [
            *(*by, *use, order, "cluster" if cluster is None else cluster),
            *(pl.col(f"^{re.escape(name)}$") for name in (N_SAMPLES, *of_items)),
        ],
        strict=strict,
        threads=threads,
        instances=True,
        narrow=choice.narrow,
    )
    rows, notes = _settled(rows, by, duplicates)
    if choice.results:
        notes.append(f"{choice.results} result rows were left out: they hold no samples")
    if right_or_wrong:
        rows, more = _right_or_wrong(rows, who)
        notes += more
    warn_notes(notes, stacklevel=5)
    if "step" not in rows.columns:
        rows = rows.with_columns(pl.lit(None, dtype=COLUMNS["step"]).alias("step"))
    given = ["run", "step", *by]
    candidates = [
        name
        for name in (*SCORE_IDENTITY, *RUN_IDENTITY, "revision")
        if name in rows.columns and name not in given
    ]
    joined = mixed(rows.select(*given, *candidates).unique(), given, candidates)
    found = _arranged(rows, [*given, *joined], joined, cluster, use, of_items)
    warn_joined(found.labels, joined, given)
    return found


def _settled(rows: pl.DataFrame, by: Sequence[str], duplicates: Duplicates) -> tuple[pl.DataFrame, list[str]]:
    """One row a sample, or an instance of which only counts are known."""
    key = [name for name in dict.fromkeys([*KEY, *by]) if name in rows.columns]
    counted = pl.col(N_SAMPLES).is_not_null() if N_SAMPLES in rows.columns else pl.lit(value=False)
    if duplicates == "raise":
        # Two samples without a number are two samples, however alike: to drop one would lose it in silence.
        numbered = pl.col("repeat").is_not_null() if "repeat" in rows.columns else pl.lit(value=False)
        nameless = rows.filter(~numbered & ~counted)
        nameless = nameless.filter(nameless.select(key).is_duplicated())
        if nameless.height:
            raise SchemaError(
                f"{nameless.select(key).n_unique()} instances, first {nameless['instance_id'].min()!r}, have several "
                f"rows that nothing tells apart: number their samples in a column repeat, or {_REMEDY}"
            )
    try:
        rows, notes = settle_duplicates(rows, duplicates, [*by, N_SAMPLES])
    except DuplicateKeyError as error:
        raise DuplicateKeyError(f"{error}, or {_REMEDY}") from None
    if N_SAMPLES in rows.columns:
        several = rows.filter(counted & rows.select(key).is_duplicated())
        if several.height:
            raise DuplicateKeyError(
                f"{several.select(key).n_unique()} instances have several counts of samples, first "
                f"{several['instance_id'].min()!r}; {_REMEDY}"
            )
    return rows, notes


def _right_or_wrong(rows: pl.DataFrame, who: str) -> tuple[pl.DataFrame, list[str]]:
    """Rows of metrics whose scores are 0 or 1, or shares of counted samples."""
    value = pl.col("value")
    plain = value.is_null() | value.is_nan() | (value == 0.0) | (value == 1.0)
    if N_SAMPLES in rows.columns:
        right = value * pl.col(N_SAMPLES)
        whole = ((right - right.round()).abs() <= _ROUNDING) & value.is_between(0.0, 1.0)
        plain = (
            pl.when(pl.col(N_SAMPLES).is_not_null() & value.is_not_nan())
            .then(whole.fill_null(value=True))
            .otherwise(plain)
        )
    metrics = rows["metric"].unique().drop_nulls().to_list()
    others = [name for name in metrics if (known := lookup(name)) and (known.low, known.high) != (0.0, 1.0)]
    wrong = rows.filter(~plain | pl.col("metric").is_in(others).fill_null(value=False))
    if not wrong.height:
        return rows, []
    out = wrong["metric"].unique().sort().to_list()
    rest = rows.filter(~pl.col("metric").is_in(out).fill_null(value=None in out))
    if rest.height:
        lost, names = rows.height - rest.height, ", ".join(map(str, out))
        return rest, [f"{lost} rows of {names} were left out: {who} takes scores of 0 and 1"]
    row = wrong.sort("metric", "instance_id").row(0, named=True)
    if row.get(N_SAMPLES) is not None:
        raise SchemaError(
            f"instance {row['instance_id']!r} has {row['value'] * row[N_SAMPLES]:.15g} right samples of "
            f"{row[N_SAMPLES]} ({wrong.height} such rows); a count is a whole number from 0 to that of the samples"
        )
    raise SchemaError(
        f"{who} works on samples that are right (1) or wrong (0), got {row['value']} of metric {row['metric']!r} for "
        f"instance {row['instance_id']!r} ({wrong.height} such scores); name a metric of right and wrong "
        "(where=\"metric = 'exact_match'\"). A share of right samples needs their number in a column n_samples"
    )


def _arranged(
    rows: pl.DataFrame,
    key: Sequence[str],
    joined: tuple[str, ...],
    cluster: str | None,
    use: Sequence[str],
    of_items: Sequence[str],
) -> RepeatedSamples:
    """Number groups and items in the order of their labels, so that no order of rows can reach a result."""
    rows, labels = numbered(rows, key, "group")
    rows = with_clusters(rows, ["group", "instance_id"], cluster)
    repeat = [name for name in ("repeat",) if name in rows.columns]
    rows = rows.sort("group", "__cluster", "instance_id", *repeat)
    counted = N_SAMPLES in rows.columns and rows[N_SAMPLES].null_count() < rows.height
    n = pl.col(N_SAMPLES).fill_null(1) if counted else pl.lit(1, dtype=pl.Int64)
    rows = rows.with_columns(n.alias("__n"), (pl.col("value") * n).round().alias("__c"))
    item = ["group", "__cluster", "instance_id"]
    items = rows.group_by(item, maintain_order=True).agg(
        pl.col("__n").sum().cast(pl.Int64).alias("n"),
        pl.col("__c").sum().cast(pl.Int64).alias("c"),
        *(pl.col(name).drop_nulls().first() for name in dict.fromkeys(of_items) if name in rows.columns),
    )
    heads = rows.filter(pl.Series(new_segments(rows, ["group"])))
    # Groups in which no sample has a score keep the address 0: they draw nothing.
    units = np.zeros(labels.height, dtype=np.uint64)
    units[heads["group"].to_numpy()] = group_addresses(drawn_labels(heads, ()))
    samples = None
    if not counted:
        samples = rows.select(
            pl.Series("item", np.cumsum(new_segments(rows, item)) - 1),
            *repeat,
            "value",
            *dict.fromkeys(use),
        )
    return RepeatedSamples(
        labels.select(key),
        joined,
        labels.select("n_missing", "n_nan"),
        items,
        samples,
        np.searchsorted(items["group"].to_numpy(), np.arange(labels.height + 1)).astype(np.intp),
        units,
    )
