"""The verb `prediction_powered`: a judge's scores of many instances, corrected by the few that people labelled."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._adjust import Method, adjusted
from ._duplicates import Duplicates
from ._errors import OptionError, SchemaError
from ._instances import Instances, load_last_instances
from ._mean_intervals import FEW_CLUSTERS, interval, p_value
from ._options import as_columns, check_choice, check_level, signature
from ._prediction_powered import PredictionPowered, prediction_powered_mean
from ._schema import did_you_mean, predicate
from ._scores import Filter, Scores, open_filtered
from ._status import Statuses, check_strict, flag_lists, result_column

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Which: TypeAlias = str | pl.Expr

#: With fewer labels than this the estimated weight costs coverage.
FEW_LABELS = 50
#: Whether a row is of the judge or a label.
_ROLE = "__role"


def prediction_powered(
    scores: Scores,
    *,
    judge: Which,
    gold: Which,
    baseline: str | None = None,
    by: str | Sequence[str] = ("task",),
    where: Filter = None,
    order: str = "tokens",
    cluster: str | None = None,
    weight: float | None = None,
    adjust: Method = "holm",
    confidence_level: float = 0.95,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Scores by a judge, corrected by the instances that people labelled as well: prediction-powered inference.

    Parameters
    ----------
    scores, where, columns, duplicates, strict, threads
        As in `snr`; instance rows are needed.
    judge, gold
        Which rows are the judge's scores and which the labels: a metric, or a filter (``"filter = 'gpt'"``). Both
        must be on one scale: the labels' mean over all instances is what is estimated.
    baseline
        A checkpoint, as ``"run"`` or ``"run@step"``. Rows are then differences of every other run's scores from it, on
        instances that both have, with a test.
    by
        Key beside the run. The last checkpoint of each run is taken; with ``step`` in `by` all of them are.
    order
        Column that says which checkpoint is the last; where a run lacks it, ``step``.
    cluster
        Column that says which instances depend on each other: errors are then cluster-robust. Default: the column
        ``cluster`` where it is filled; ``"instance_id"`` takes all instances for independent.
    weight
        Of the judge, 0 (ignored) to 1 (as in plain prediction-powered inference). By default the one that makes the
        error smallest, estimated for each row (PPI++).
    adjust
        Of `p_adjusted`, for the number of rows: ``"holm"``, ``"bonferroni"``, ``"bh"``, ``"by"`` or ``"none"``.
    confidence_level
        Of `low` and `high`.

    Returns
    -------
    DataFrame
        A row for each group and run: by-columns; ``run, step, baseline`` (null without one); ``n_labelled`` instances
        with a label and the judge's score, ``n_unlabelled`` with the judge's alone, ``n_clusters`` of the labelled
        (equals ``n_labelled`` where they are independent), ``n_unmatched`` left out (no score by the judge, or not of
        both runs); ``mean_judge`` over all of them, ``mean_judge_labelled``, ``mean_gold``; ``estimate`` of the mean
        (or difference) that labels would have everywhere, ``stderr, low, high``; ``p_value`` of no difference and
        ``p_adjusted`` (null without a baseline); ``weight`` of the judge; ``stderr_gold`` of the labels alone, and
        ``n_effective``, the labels they would have to be for the error of `estimate`; ``n_missing, n_nan, status,
        flags, signature``.

    Undefined when
        Fewer than 2 labelled or 2 unlabelled instances, or 2 labelled clusters (``too_few``); no error at all
        (``constant``: interval and p null); scores that are no plain mean of instances (``not_a_mean``). Of these,
        ``mean_gold`` and ``mean_judge`` stay where they are defined.

    Raises
    ------
    SchemaError
        For scores without instances, and a judge or labels that are not there.
    OptionError
        Where `judge` or `gold` means several scores of one instance.

    Notes
    -----
    ``estimate = mean(gold) + weight (mean(judge, unlabelled) - mean(judge, labelled))``: the judge may be biased in any
    way, for its mistakes on labelled instances are taken off. Labelled instances must be a random sample of all: labels
    of the hardest ones correct the judge where it is worst. Repeats are averaged within an instance first. The
    interval is Student's, for large samples, and not cut off at the bounds of the metric. Flags: ``few_instances``
    (fewer than 50 labels: estimating the weight costs a little coverage), ``few_clusters`` (fewer than 30 effective
    clusters with labels), ``unmatched``, ``missing_values``, ``mixed_config``.

    References
    ----------
    Angelopoulos et al. 2023, "Prediction-powered inference", Science 382; Angelopoulos, Duchi and Zrnic 2023, "PPI++:
    efficient prediction-powered inference", arXiv 2311.01453.

    Examples
    --------
    >>> import polars as pl
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=1, recipes=2, params=(1e9,), checkpoints=1, instances=400, signal=0.2)
    >>> kind = scores.with_columns(metric=pl.lit("judge"), value=pl.max_horizontal("value", pl.lit(0.1)))
    >>> labels = scores.filter(pl.col("instance_id").cast(pl.Int64) % 4 == 0)
    >>> table = sn.prediction_powered(pl.concat([kind, labels]), judge="judge", gold="acc")
    >>> (table["n_effective"] > table["n_labelled"]).all()
    True
    """
    check_level(confidence_level)
    check_choice("adjust", adjust, ("holm", "bonferroni", "bh", "by", "none"))
    if {"metric", "filter"} & set(as_columns(by)):
        raise OptionError("judge and gold say which metric and filter are meant; leave both out of by")
    name = "cluster" if cluster is None else cluster
    loaded = load_last_instances(
        _with_roles(scores, judge, gold, where, columns, strict=strict),
        verb="prediction_powered",
        by=as_columns(by),
        where=None,
        order=order,
        baseline=baseline,
        apart=("metric", "filter", _ROLE),
        use=[name],
        columns=None,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    rows, samples = _samples(loaded, baseline, name)
    with np.errstate(all="ignore"):
        found, clustered = _estimates(samples, weight)
    text = signature(
        "prediction_powered",
        judge=judge,
        gold=gold,
        weight="tuned" if weight is None else weight,
        cluster=name if clustered else "none",
        adjust=adjust,
        level=confidence_level,
    )
    result = _result(loaded, rows, samples, found, baseline, adjust, confidence_level, text)
    check_strict(result, [*loaded.by, "run"], strict=strict)
    return result


# --- what is labelled -----------------------------------------------------------------------------


def _with_roles(
    scores: Scores,
    judge: Which,
    gold: Which,
    where: Filter,
    columns: Mapping[str, str] | None,
    *,
    strict: bool,
) -> pl.LazyFrame:
    """Rows of judge and labels, and which they are."""
    frame, schema = open_filtered(scores, columns, where, strict=strict)
    masks = {name: which_rows(which, name, schema) for name, which in (("judge", judge), ("gold", gold))}
    there = frame.select(
        *(mask.any().alias(name) for name, mask in masks.items()),
        (masks["judge"] & masks["gold"]).any().alias("both"),
    ).collect()
    if there["both"].item():
        raise OptionError("judge and gold both mean some rows; a score is either the judge's or a label")
    for name, which in (("judge", judge), ("gold", gold)):
        if not there[name].item():
            metrics = (
                frame.select(pl.col("metric").unique().sort()).collect()["metric"].drop_nulls().to_list()
            )
            raise SchemaError(
                f"{name}: no row is {which!s}{did_you_mean(str(which), metrics)}; metrics are "
                f"{', '.join(metrics[:8])}"
            )
    role = pl.when(masks["judge"]).then(pl.lit("judge")).when(masks["gold"]).then(pl.lit("gold"))
    return frame.with_columns(role.alias(_ROLE)).filter(pl.col(_ROLE).is_not_null())


def which_rows(which: Which, argument: str, schema: pl.Schema) -> pl.Expr:
    """Rows of a metric, which has no spaces or signs of comparison in its name, or of a filter."""
    if isinstance(which, str) and re.fullmatch(r"[^\s='\"()<>]+", which):
        return pl.col("metric") == which
    found = predicate(which, argument, schema)
    assert found is not None  # only a filter of None is none
    return found


@dataclass(frozen=True)
class _Sample:
    """Instances of one row of the result, or differences of two runs', in the order of their labels."""

    labelled: pl.DataFrame
    """``gold, judge, __cluster``."""
    unlabelled: pl.DataFrame
    """``judge, __cluster``."""
    n_unmatched: int


def _samples(loaded: Instances, baseline: str | None, cluster: str) -> tuple[Ints, list[_Sample]]:
    """Which labels of `loaded` make a row, and their samples."""
    sides = [_wide(part, cluster) for part in loaded.parts()]
    if baseline is None:
        return np.arange(len(sides)), [_split(side, 0) for side in sides]
    rows, samples = [], []
    own: dict[int, pl.DataFrame] = {}
    for row, (group, side) in enumerate(loaded.labels.select("group", "side").iter_rows()):
        if side == 0:
            own[group] = sides[row]
        elif group in own:
            both = sides[row].join(own[group], on="instance_id", suffix="_base", maintain_order="left")
            differences = both.select(
                "instance_id",
                *(pl.col(name) - pl.col(f"{name}_base") for name in ("judge", "gold")),
                pl.coalesce("__cluster", "__cluster_base").alias("__cluster"),
            )
            rows.append(row)
            samples.append(_split(differences, sides[row].height + own[group].height - 2 * both.height))
    if not rows:
        raise SchemaError(
            f"no other run has scores where {baseline} has; look at task, config and instance_id"
        )
    return np.array(rows, dtype=np.intp), samples


def _wide(part: pl.DataFrame, cluster: str) -> pl.DataFrame:
    """A row an instance: ``judge, gold`` (null where there is none) and its cluster."""
    key = ["instance_id", _ROLE]
    several = part.filter(part.select(key).is_duplicated())
    if several.height:
        names = [
            name for name in ("metric", "filter") if name in several.columns and several[name].n_unique() > 1
        ]
        raise OptionError(
            f"{several[_ROLE][0]} means several scores of instance {several['instance_id'][0]!r}, which differ in "
            f"{' and '.join(names)}; say which one, e.g. {several[_ROLE][0]}=\"metric = '..' AND filter = '..'\""
        )
    label = (
        pl.lit(None)
        if cluster not in part.columns or cluster in key
        else pl.col(cluster).drop_nulls().first()
    )
    return (
        part.group_by("instance_id")
        .agg(
            *(
                pl.col("value").filter(pl.col(_ROLE) == role).first().alias(role)
                for role in ("judge", "gold")
            ),
            label.cast(pl.String).alias("__cluster"),
        )
        .sort("instance_id")
    )


def _split(side: pl.DataFrame, n_unmatched: int) -> _Sample:
    judged = side.filter(pl.col("judge").is_not_null())
    labelled = pl.col("gold").is_not_null()
    return _Sample(
        judged.filter(labelled), judged.filter(~labelled), n_unmatched + side.height - judged.height
    )


# --- estimates ------------------------------------------------------------------------------------


def _estimates(samples: Sequence[_Sample], weight: float | None) -> tuple[PredictionPowered, bool]:
    """Estimates of all rows, and whether some instances share a cluster."""
    stacks = []
    for tables in ([s.labelled for s in samples], [s.unlabelled for s in samples]):
        offsets = np.concatenate([[0], np.cumsum([t.height for t in tables])]).astype(np.uintp)
        stacks.append((pl.concat(tables), offsets))
    (labelled, offsets), (rest, rest_offsets) = stacks
    codes = _clusters(pl.concat([labelled["__cluster"], rest["__cluster"]]))
    found = prediction_powered_mean(
        labelled["gold"].to_numpy(),
        labelled["judge"].to_numpy(),
        offsets,
        rest["judge"].to_numpy(),
        rest_offsets,
        weight=weight,
        clusters=None if codes is None else codes[: labelled.height],
        unlabelled_clusters=None if codes is None else codes[labelled.height :],
    )
    return found, codes is not None


def _clusters(labels: pl.Series) -> Ints | None:
    """Numbers of the clusters, an instance without one being its own; None without clusters."""
    if labels.null_count() == len(labels):
        return None
    codes = labels.rank("dense").cast(pl.Int64).to_numpy().astype(float)
    return np.where(np.isnan(codes), len(labels) + np.arange(1.0, len(labels) + 1), codes).astype(np.intp)


def _mean(tables: Sequence[pl.DataFrame], name: str) -> Floats:
    return np.array([np.nan if not t.height else t[name].mean() for t in tables], dtype=float)


def _result(
    loaded: Instances,
    rows: Ints,
    samples: Sequence[_Sample],
    found: PredictionPowered,
    baseline: str | None,
    adjust: Method,
    level: float,
    text: str,
) -> pl.DataFrame:
    labels = loaded.labels[rows]
    size = len(rows)
    estimate, alone = found.estimate, found.labels_alone
    plain = labels["plain"].to_numpy()
    labelled, rest = ([getattr(s, name) for s in samples] for name in ("labelled", "unlabelled"))
    n, more = (np.array([t.height for t in tables], dtype=np.int64) for tables in (labelled, rest))
    everything = [
        pl.concat([t.select("judge"), r.select("judge")]) for t, r in zip(labelled, rest, strict=True)
    ]
    few = (n < 2) | (more < 2) | (estimate.n_clusters < 2)
    constant = ~few & (estimate.stderr == 0)
    with np.errstate(all="ignore"):
        low, high = interval(estimate, level)
        p = np.where(constant | few | (baseline is None), np.nan, p_value(estimate))
        effective = n / estimate.design_effect
    statuses = Statuses(size)
    statuses.set("not_a_mean", ~plain)
    statuses.set("too_few", few)
    statuses.set("constant", constant)
    statuses.check_finite(~np.isfinite(estimate.stderr))
    unmatched = np.array([s.n_unmatched for s in samples], dtype=np.int64)
    flags = {
        "missing_values": (labels["n_missing"] + labels["n_nan"]).to_numpy() > 0,
        "mixed_config": np.full(size, "config" in loaded.joined),
        "few_instances": n < FEW_LABELS,
        "few_clusters": (estimate.n_clusters < n) & (estimate.effective_clusters < FEW_CLUSTERS),
        "unmatched": unmatched > 0,
    }
    columns: dict[str, Any] = {
        "baseline": pl.Series([baseline] * size, dtype=pl.String),
        "n_labelled": n,
        "n_unlabelled": more,
        "n_clusters": estimate.n_clusters.astype(np.int64),
        "n_unmatched": unmatched,
        "mean_judge": _mean(everything, "judge"),
        "mean_judge_labelled": _mean(labelled, "judge"),
        "mean_gold": alone.value,
        "estimate": estimate.value,
        "stderr": estimate.stderr,
        "low": np.where(constant, np.nan, low),
        "high": np.where(constant, np.nan, high),
        "p_value": p,
        "p_adjusted": adjusted(p, adjust),
        "weight": found.weight,
        "stderr_gold": alone.stderr,
        "n_effective": effective,
    }
    for name, values in columns.items():
        if isinstance(values, np.ndarray) and values.dtype.kind == "f":
            columns[name] = np.where(plain, values, np.nan)
    return pl.DataFrame(
        [
            *(labels[name] for name in dict.fromkeys([*loaded.by, "run", "step"])),
            *(result_column(name, values) for name, values in columns.items()),
            labels["n_missing"],
            labels["n_nan"],
            statuses.column(),
            flag_lists(flags, size),
        ]
    ).with_columns(pl.lit(text).alias("signature"))
