"""The verb `transform_correlations`: at which step from log-likelihood to accuracy does compute stop to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._duplicates import Duplicates, settle_duplicates
from .._errors import OptionError, SchemaError
from .._kernels import kernels
from .._metrics import direction as direction_of
from .._options import as_columns, check_count, signature
from .._schema import KEY, RUN_IDENTITY, SCORE_IDENTITY, did_you_mean
from .._scores import Filter, Scores, load_instances, no_instances, warn_notes
from .._status import Statuses, check_strict, flag_lists
from ._log_compute import log_compute
from ._with_choices import with_choices

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

#: From what the model says to what is reported: stage -> metric of `choice_metrics`.
STAGES = {
    "logp_vocab": "sum_logits_corr",
    "p_vocab": "correct_prob",
    "p_choices": "norm_correct_prob",
    "accuracy": "acc_raw",
    "brier": "brier_score",
}
INCORRECT, CORRECT = "sum_logits_incorr", "sum_logits_corr"
STATISTICS = ("pearson", "spearman", "kendall")
QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}
#: Fewer instances than this make a distribution a rough guess.
FEW_INSTANCES = 50


def transform_correlations(
    scores: Scores,
    *,
    stages: Mapping[str, str] | None = None,
    compute: str | None = None,
    by: str | Sequence[str] = ("task",),
    where: Filter = None,
    grid: Sequence[float] | None = None,
    min_checkpoints: int = 5,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    r"""Correlate each instance's score with compute, at every stage from log-likelihood to accuracy.

    For each instance, over the checkpoints of a family: the correlation of its score with log compute, of
    ``log p_vocab(correct)``, then ``p_vocab(correct)``, ``p_choices(correct) = p/sum p_choices``, accuracy, and Brier
    score; better scores count upwards in all of them. And the slope of the log-probability of the wrong choices
    together on that of the right one. A row of the table is the distribution over the instances of a task.

    Parameters
    ----------
    scores, where, columns, duplicates, strict, threads
        As in `snr`; instance rows are needed: dumps with log-likelihoods of choices, or what `choice_metrics` gives
        (with ``sum_logits_incorr`` among its `metrics` for the slope). Use `where` to choose checkpoints, e.g. the last
        of each run.
    stages
        ``{"stage": "metric"}``; default ``logp_vocab`` sum_logits_corr, ``p_vocab`` correct_prob, ``p_choices``
        norm_correct_prob, ``accuracy`` acc_raw, ``brier`` brier_score. Stages without scores have no rows.
    compute
        Column of compute, above 0. Default: ``flops`` where it is filled, else 6 x params x tokens.
    by
        Columns of the key: a task of one family of models each. Add a column that tells families apart.
    grid
        Correlations at which the survival function is given; default -1, -0.9, .., 1.
    min_checkpoints
        Fewest checkpoints with a finite score that an instance needs.

    Returns
    -------
    DataFrame
        A row for each group, stage and statistic: by-columns; ``stage, metric``; ``statistic`` (``pearson``,
        ``spearman``, ``kendall`` tau-b; ``slope`` of the stage ``incorrect``); ``n_checkpoints`` (of the family),
        ``n_instances``, ``n_defined``, ``n_constant`` (instances whose score never changes: most accuracies of easy
        and of hopeless ones), ``n_too_few``; ``share_undefined``; over the defined ones ``mean, q05, q25, median, q75,
        q95`` and ``survival``, the share of them above each point of ``grid`` (lists); ``status, flags, signature``.

    Undefined when
        An instance's score, or the compute of its checkpoints, never changes (counted in ``n_constant``), or fewer than
        `min_checkpoints` of its scores are finite (``n_too_few``). Without a defined instance the distribution is null:
        ``constant`` if all are constant, else ``too_few``.

    Raises
    ------
    SchemaError
        No instances, no compute, no scores of any stage.
    OptionError
        A stage whose metric has no direction.

    Notes
    -----
    Expected order of the distributions: log p_vocab as high as p_vocab or higher, then p_choices, then accuracy (Brier
    beside it). The first two differ for Pearson alone, as ranks do not see a logarithm. What p_choices loses depends on
    how the wrong choices move with the right one: with a slope of 1 everything cancels. Constant instances are left out
    of the distribution and not counted as 0: read ``share_undefined`` beside it. Checkpoints of one run are not
    independent, so no interval is given.

    References
    ----------
    Schaeffer et al. 2024, "Why Has Predicting Downstream Capabilities of Frontier AI Models with Scale Remained
    Elusive?", arXiv 2406.04391, sections 3 to 5.

    Examples
    --------
    >>> import polars as pl, signoise as sn
    >>> rows = [
    ...     (f"m{size}", 10.0**size, "arc", "sum_logits_corr", f"{item}", -10.0 / size + item)
    ...     for size in range(1, 7) for item in range(3)
    ... ]
    >>> names = ["run", "flops", "task", "metric", "instance_id", "value"]
    >>> table = sn.transform_correlations(pl.DataFrame(rows, schema=names, orient="row"))
    >>> table.select("statistic", "n_defined", pl.col("median").round(3)).rows()
    [('pearson', 3, 0.878), ('spearman', 3, 1.0), ('kendall', 3, 1.0)]
    """
    check_count("min_checkpoints", min_checkpoints, 3)
    by = as_columns(by)
    stages = dict(STAGES if stages is None else stages)
    signs = {metric: direction_of(metric) for metric in stages.values()}
    for metric, sign in signs.items():
        if sign is None:
            raise OptionError(f"stages: nothing says whether more of {metric!r} is better")
    points = np.round(np.linspace(-1, 1, 21), 10) if grid is None else np.asarray(grid, dtype=np.float64)
    metrics = list(dict.fromkeys([*stages.values(), CORRECT, INCORRECT]))
    place = ["flops", "params", "tokens"] if compute is None else [compute]
    scores, columns = with_choices(
        scores, metrics, columns=columns, instances=True, strict=strict, threads=threads
    )
    rows, notes = load_instances(
        scores,
        columns=columns,
        where=where,
        metrics=metrics,
        use=[*by, *(name for name in RUN_IDENTITY), *place],
        strict=strict,
        threads=threads,
    )
    warn_notes([*notes])
    if "instance_id" not in rows.columns or rows["instance_id"].null_count():
        raise SchemaError(no_instances("transform_correlations is about instances"))
    rows, notes = settle_duplicates(rows, duplicates)
    warn_notes(notes)
    for name in by:
        if name not in rows.columns:
            raise SchemaError(f"by: the table has no column {name!r}{did_you_mean(name, rows.columns)}")
    table = _Table.of(rows, by, compute)
    parts = []
    for stage, metric in stages.items():
        series = table.series(metric)
        if series is not None:
            sign = signs[metric] or 1
            for statistic in STATISTICS:
                values = sign * series.correlation(statistic, min_checkpoints)
                parts.append(table.summary(series, values, stage, statistic, points, min_checkpoints))
    together = table.beside(CORRECT, INCORRECT)
    if together is not None:
        values = together.slope(min_checkpoints)
        parts.append(table.summary(together, values, "incorrect", "slope", points, min_checkpoints))
    text = signature(
        "transform_correlations",
        stages=[f"{stage}={metric}" for stage, metric in stages.items()],
        compute=table.compute,
        min_checkpoints=min_checkpoints,
    )
    order = {stage: at for at, stage in enumerate([*stages, "incorrect"])}
    result = (
        pl.concat(parts)
        .with_columns(pl.lit(text).alias("signature"))
        .sort(*by, pl.col("stage").replace_strict(order), maintain_order=True)
    )
    check_strict(result, [*by, "stage", "statistic"], strict=strict)
    return result


@dataclass(frozen=True)
class _Series:
    """Scores of one metric, sorted by instance and checkpoint; only finite ones."""

    metric: str
    group: Ints
    """Group of each instance."""
    offsets: NDArray[np.uintp]
    """Scores of instance i are ``offsets[i]:offsets[i + 1]``; an instance may have none."""
    x: Floats
    y: Floats

    @property
    def sizes(self) -> Ints:
        """Scores of each instance."""
        return np.diff(self.offsets).astype(np.intp)

    @property
    def constant(self) -> NDArray[np.bool_]:
        """Instances whose score, or compute, never changes."""
        moments = [kernels().segment_moments(values, self.offsets) for values in (self.x, self.y)]
        return np.logical_or(*(part["max"] == part["min"] for part in moments))

    def correlation(self, statistic: str, least: int) -> Floats:
        """Of each instance; NaN where undefined."""
        if statistic == "kendall":
            values = self._kendall()
        elif statistic == "spearman":
            values = _pearson(self._ranks(self.x), self._ranks(self.y), self.offsets)
        else:
            values = _pearson(self.x, self.y, self.offsets)
        return np.where((self.sizes < least) | self.constant, np.nan, values)

    def slope(self, least: int) -> Floats:
        """Least squares of y on x; of each instance."""
        x, y = _centred(self.x, self.offsets), _centred(self.y, self.offsets)
        with np.errstate(all="ignore"):
            values = _sums(x * y, self.offsets) / _sums(x * x, self.offsets)
        return np.where((self.sizes < least) | self.constant, np.nan, values)

    def _ranks(self, values: Floats) -> Floats:
        instance = np.repeat(np.arange(len(self.sizes)), self.sizes)
        frame = pl.DataFrame({"value": values, "instance": instance})
        return frame.select(pl.col("value").rank("average").over("instance")).to_series().to_numpy()

    def _kendall(self) -> Floats:
        counts = kernels().pair_agreement(self.x, self.y, self.offsets)
        both = counts["tied_both"].astype(float)
        pairs = counts["n_pairs"].astype(float)
        with np.errstate(all="ignore"):
            untied = (pairs - counts["tied_small"] - both) * (pairs - counts["tied_target"] - both)
            return (counts["concordant"].astype(float) - counts["discordant"]) / np.sqrt(untied)


def _sums(values: Floats, offsets: NDArray[np.uintp]) -> Floats:
    moments = kernels().segment_moments(values, offsets)
    return np.nan_to_num(moments["mean"]) * np.diff(offsets).astype(float)


def _centred(values: Floats, offsets: NDArray[np.uintp]) -> Floats:
    means = kernels().segment_moments(values, offsets)["mean"]
    return values - np.repeat(means, np.diff(offsets).astype(np.intp))


def _pearson(x: Floats, y: Floats, offsets: NDArray[np.uintp]) -> Floats:
    x, y = _centred(x, offsets), _centred(y, offsets)
    with np.errstate(all="ignore"):
        together = _sums(x * y, offsets) / np.sqrt(_sums(x * x, offsets) * _sums(y * y, offsets))
    return np.clip(together, -1.0, 1.0)


@dataclass(frozen=True)
class _Table:
    """Instance rows with log compute, and the labels of groups."""

    rows: pl.DataFrame
    """``__group, __instance, __checkpoint, __x, metric, value``."""
    groups: pl.DataFrame
    checkpoints: Ints
    """Checkpoints of each group."""
    compute: str

    @staticmethod
    def of(rows: pl.DataFrame, by: Sequence[str], compute: str | None) -> _Table:
        logarithm, name = log_compute(rows, compute)
        instance = [c for c in (*SCORE_IDENTITY, "instance_id") if c in rows.columns and c != "metric"]
        checkpoint = [
            c
            for c in (*RUN_IDENTITY, "revision", "step", "tokens", "flops")
            if c in rows.columns and c in KEY
        ]
        groups = rows.select(by).unique().sort(by, nulls_last=True).with_row_index("__group")
        value = pl.col("value").fill_nan(None)
        kept = (
            rows.with_columns(logarithm.alias("__x"))
            .join(groups, on=by, how="left", nulls_equal=True)
            .with_columns(
                pl.struct("__group", *instance).rank("dense").alias("__instance"),
                pl.struct(checkpoint).rank("dense").alias("__checkpoint"),
            )
            .group_by("__group", "__instance", "__checkpoint", "metric", maintain_order=True)
            .agg(pl.col("__x").first(), value.mean())  # of repeats
            .sort("__instance", "__checkpoint")
        )
        count = kept.group_by("__group").agg(pl.col("__checkpoint").n_unique()).sort("__group")
        found = count["__checkpoint"].to_numpy().astype(np.intp)
        return _Table(kept, groups.drop("__group"), found, name)

    def series(self, metric: str) -> _Series | None:
        """Scores of one metric over log compute; None without any."""
        return self._series(self.rows.filter(pl.col("metric") == metric), metric, "__x", "value")

    def beside(self, x: str, y: str) -> _Series | None:
        """Scores of one metric over those of another at the same checkpoints."""
        on = ["__group", "__instance", "__checkpoint"]
        first, second = (self.rows.filter(pl.col("metric") == metric) for metric in (x, y))
        pairs = second.join(first.select(*on, pl.col("value").alias("__other")), on=on, maintain_order="left")
        return self._series(pairs, y, "__other", "value")

    @staticmethod
    def _series(rows: pl.DataFrame, metric: str, x: str, y: str) -> _Series | None:
        if not rows.height:
            return None
        instances = rows.group_by("__instance", maintain_order=True).agg(pl.col("__group").first())
        sound = rows.filter(pl.col(x).is_finite() & pl.col(y).is_finite())
        sizes = (
            instances.join(
                sound.group_by("__instance").len(), on="__instance", how="left", maintain_order="left"
            )
            .select(pl.col("len").fill_null(0))
            .to_series()
            .to_numpy()
        )
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.uintp)
        group = instances["__group"].to_numpy().astype(np.intp)
        columns = (np.ascontiguousarray(sound[name].to_numpy(), dtype=np.float64) for name in (x, y))
        return _Series(metric, group, offsets, *columns)

    def summary(
        self, series: _Series, values: Floats, stage: str, statistic: str, grid: Floats, least: int
    ) -> pl.DataFrame:
        """The distribution of an instance's statistic in each group that has the metric."""
        frame = pl.DataFrame(
            {
                "__group": series.group,
                "__value": pl.Series(values, nan_to_null=True),
                "__few": series.sizes < least,
                "__constant": (series.sizes >= least) & series.constant,
            }
        )
        value = pl.col("__value")
        found = (
            frame.group_by("__group")
            .agg(
                n_instances=pl.len().cast(pl.Int64),
                n_defined=value.count().cast(pl.Int64),
                n_constant=pl.col("__constant").sum().cast(pl.Int64),
                n_too_few=pl.col("__few").sum().cast(pl.Int64),
                share_undefined=value.is_null().mean(),
                mean=value.sort().mean(),
                **{name: value.quantile(level, "linear") for name, level in QUANTILES.items()},
                survival=pl.concat_list((value > point).mean() for point in grid.tolist()),
            )
            .sort("__group")
            .with_columns(
                survival=pl.when(pl.col("n_defined") > 0).then(pl.col("survival")),
                grid=pl.concat_list(pl.lit(point) for point in grid.tolist()),
            )
        )
        which = found["__group"].to_numpy().astype(np.intp)
        statuses = Statuses(found.height)
        undefined = (found["n_defined"] == 0).to_numpy()
        constant = undefined & (found["n_constant"] == found["n_instances"]).to_numpy()
        statuses.set("constant", constant)
        statuses.set("too_few", undefined & ~constant)
        flags: dict[str, Any] = {
            "few_instances": (found["n_defined"] < FEW_INSTANCES).to_numpy(),
            "missing_values": (found["n_too_few"] > 0).to_numpy(),
        }
        return self.groups[which].with_columns(
            pl.lit(stage).alias("stage"),
            pl.lit(series.metric).alias("metric"),
            pl.lit(statistic).alias("statistic"),
            pl.Series("n_checkpoints", self.checkpoints[which]),
            *found.drop("__group").get_columns(),
            statuses.column(),
            flag_lists(flags, found.height),
        )
