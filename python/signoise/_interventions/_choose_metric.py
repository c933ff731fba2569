"""The verb `choose_metric`: which metric to decide by, and what that gains on members that did not choose it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._addresses import METRIC_SPLITS, group_addresses
from .._decisions import FEW_MEMBERS as FEW_DECIDING
from .._duplicates import Duplicates
from .._measure import FEW_MEMBERS
from .._options import check_choice, check_count, check_level, check_seed, signature
from .._scores import Filter, Groups, Scores
from .._status import Statuses, check_strict, flag_lists
from ._member_halves import (
    LEAST_MEMBERS,
    Choices,
    Values,
    agreement_values,
    log_snr_values,
    random_halves,
)
from ._metric_table import MetricTable, open_metrics, primary_in_words

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class _Options:
    """What is common to all groups."""

    deciding: bool
    n_splits: int
    rng_seed: int
    level: float


@dataclass(frozen=True)
class _Task:
    """One group without its metric: its primary metric first, then the others by name."""

    label: dict[str, object]
    metrics: list[str]
    rows: Ints
    """Group of each metric."""
    known: bool
    """Whether it has a primary metric."""


@dataclass(frozen=True)
class _Data:
    """Scores by group and member; NaN where there is none."""

    scores: Floats
    target: Floats | None
    """Of the metric itself at the target."""
    variance: Floats | None
    """Noise variance of a checkpoint's score; without a target."""

    def values(self, task: _Task) -> tuple[list[int], Ints, Values]:
        """Places of the metrics that can be chosen, the members, and the value of each metric on sets of them."""
        there = ~np.isnan(self.scores[task.rows])
        if self.target is not None:
            there &= ~np.isnan(self.target[task.rows[0]])
        if self.variance is not None:
            there &= ~np.isnan(self.variance[task.rows])
        # A metric that lacks members of the primary one cannot be compared with it.
        options = [place for place in range(len(task.rows)) if not (there[0] & ~there[place]).any()]
        members = np.flatnonzero(there[0])
        rows = task.rows[options]
        scores = self.scores[np.ix_(rows, members)]
        if self.target is not None:
            wanted = np.broadcast_to(self.target[task.rows[0], members], scores.shape)
            return options, members, agreement_values(scores, wanted)
        assert self.variance is not None  # one of the two is there
        return options, members, log_snr_values(scores, self.variance[np.ix_(rows, members)])


def choose_metric(
    scores: Scores,
    *,
    metrics: str | Sequence[str] | None = None,
    primary: str | Mapping[str, str] | None = None,
    small: Filter = None,
    target: Filter = None,
    match: str | Sequence[str] | None = None,
    by: str | Sequence[str] = ("task",),
    where: Filter = None,
    score: Literal["final", "mean"] = "final",
    window: int = 5,
    n_splits: int = 20,
    choices: bool = True,
    direction: Mapping[str, str] | None = None,
    order: str = "tokens",
    confidence_level: float = 0.95,
    rng_seed: int = 0,
    groups: Groups = None,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Choose the metric of each task on half of its members, and say what that gains on the other half.

    The best of many metrics looks better on the scores that it was chosen on than it is (`compare_metrics`,
    ``best_in_sample``). Here one half of the members chooses and the other judges, in both directions, over many random
    halves. With `small` and `target` the gain is one of decision accuracy for the primary metric at the target, else
    one of log SNR (range over standard deviation).

    Parameters
    ----------
    scores, metrics, primary, small, target, match, by, where, score, window, choices, direction, order, groups, \
columns, duplicates, strict, threads
        As in `compare_metrics`.
    n_splits
        Random splits into halves.
    confidence_level
        Of ``gain_low, gain_high``.
    rng_seed
        Of the splits; each group has its own.

    Returns
    -------
    DataFrame
        A row for each group: by-columns, ``measure`` (``decision_accuracy`` or ``snr``), ``primary``, ``n_members,
        candidates`` (metrics that have all members of the primary one, itself first); ``metric``, the best one for all
        members, and ``metric_share``, the share of the halves that chose it; ``gain_in_sample`` (of the metric that is
        best on the very half it is judged on), ``gain`` (of the one that the other half chose) over the primary metric
        with ``gain_low, gain_high`` and the two-sided ``p_value`` of no gain, ``optimism`` (difference of the two
        gains); ``status, flags, signature``.

    Undefined when
        There is one candidate or fewer than 4 members (``too_few``); a range or a noise is 0 on some half, for the SNR
        (``constant``, ``zero_noise``). Limits need 6 members; they and ``p_value`` are null where no member, left out,
        changes the gain, as where every half chose the primary metric.

    Raises
    ------
    OptionError, UnknownMetricError, SchemaError
        As `compare_metrics`.

    Notes
    -----
    ``gain`` is that of choosing on half of the members: with all of them one chooses better. Of equals the first
    candidate is chosen, so that the primary metric stays unless another is better.

    Limits: delete-one standard error of the whole procedure, with t quantiles of J - 1 degrees of freedom; they speak
    of other members like these.

    References
    ----------
    Heineman et al. 2025, arXiv 2508.13144, section 5; Stone 1974, "Cross-validatory choice and assessment of
    statistical predictions", JRSS B 36:111.

    Examples
    --------
    >>> import polars as pl, signoise as sn
    >>> sharp, _ = sn.simulate(tasks=["arc"], metric="bits_per_byte", recipes=12, step_noise=0.002)
    >>> blunt, _ = sn.simulate(tasks=["arc"], metric="acc", recipes=12, step_noise=0.02, rng_seed=1)
    >>> table = sn.choose_metric(pl.concat([sharp, blunt]), small="params = 150000000")
    >>> table.select("measure", "primary", "metric").row(0)
    ('snr', 'acc', 'bits_per_byte')
    """
    check_choice("score", score, ("final", "mean"))
    check_level(confidence_level)
    check_count("window", window)
    check_count("n_splits", n_splits)
    check_seed(rng_seed)
    table = open_metrics(
        scores,
        metrics=metrics,
        primary=primary,
        small=small,
        target=target,
        match=match,
        by=by,
        where=where,
        choices=choices,
        direction=direction,
        order=order,
        groups=groups,
        columns=columns,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    options = _Options(target is not None, n_splits, rng_seed, confidence_level)
    # Infinite scores make undefined numbers; they become null with a status, not NumPy's warnings.
    with np.errstate(all="ignore"):
        result = _choices(table, _data(table, score, window, direction, threads), options)
    text = signature(
        "choose_metric",
        metrics=table.wanted,
        primary=primary_in_words(primary),
        small=small,
        target=target,
        match=table.members,
        score=score if target is not None else None,
        window=window,
        n_splits=n_splits,
        rng=rng_seed,
        order=order,
        interval="delete_one_member",
        level=confidence_level,
    )
    result = result.with_columns(pl.lit(text).alias("signature"))
    by_columns = result.columns[: result.columns.index("measure")]
    result = result.sort(by_columns, maintain_order=True) if by_columns else result
    check_strict(result, by_columns, strict=strict)
    return result


def _data(
    table: MetricTable, score: str, window: int, direction: Mapping[str, str] | None, threads: int | None
) -> _Data:
    if "target" in table.sides:
        small, target = table.decision_scores(score, window, direction, threads)
        return _Data(small, target, None)
    rows = table.signal_rows(window, threads)
    return _Data(rows.scores, None, np.where(rows.runs > 0, rows.variance / rows.runs, np.nan))


def _tasks(table: MetricTable) -> list[_Task]:
    """What is left of the groups without their metric."""
    rest = [name for name in table.encoded.by if name != "metric"]
    groups = table.encoded.groups.select(*rest, "metric").with_columns(
        pl.int_range(pl.len()).alias("__group"),
        pl.Series("__other", table.pairs.primary != np.arange(len(table.pairs.primary))),
    )
    # Primary metrics first, then by name; groups without metric in the order in which they came.
    groups = groups.with_columns(__place=pl.col("__group").min().over(rest) if rest else pl.lit(0))
    groups = groups.sort("__place", "__other", "metric")
    parts = groups.group_by(rest, maintain_order=True) if rest else [((), groups)]
    out = []
    for values, part in parts:
        out.append(
            _Task(
                dict(zip(rest, values, strict=True)),
                part["metric"].to_list(),
                part["__group"].to_numpy().astype(np.intp),
                not bool(part["__other"][0]),
            )
        )
    return out


def _choices(table: MetricTable, data: _Data, options: _Options) -> pl.DataFrame:
    tasks = _tasks(table)
    schema = table.encoded.groups.schema
    rest = [name for name in table.encoded.by if name != "metric"]
    labels = pl.DataFrame(
        {name: [task.label[name] for task in tasks] for name in rest},
        schema={name: schema[name] for name in rest},
    )
    units = group_addresses(labels) if rest else np.zeros(1, dtype=np.uint64)
    n_tasks = len(tasks)
    choices = Choices(n_tasks)
    members = np.zeros(n_tasks, dtype=np.intp)
    metric: list[str | None] = [None] * n_tasks
    candidates: list[list[str]] = []
    unmatched, too_few, constant, silent = np.zeros((4, n_tasks), dtype=bool)
    for place, task in enumerate(tasks):
        chosen, common, values = data.values(task) if task.known else ([], np.zeros(0, dtype=np.intp), None)
        candidates.append([task.metrics[option] for option in chosen])
        unmatched[place] = task.known and len(chosen) < len(task.rows)
        n = members[place] = len(common)
        too_few[place] = n < LEAST_MEMBERS or len(chosen) < 2
        if too_few[place] or values is None:
            continue
        scores = data.scores[np.ix_(task.rows[chosen], common)]
        constant[place] = bool((np.ptp(scores, axis=1) == 0).any())
        if data.variance is not None:
            silent[place] = bool((data.variance[np.ix_(task.rows[chosen], common)].sum(axis=1) == 0).any())
        halves = random_halves(n, options.n_splits, options.rng_seed, METRIC_SPLITS, int(units[place]))
        choices.choose(place, values, values, halves)
        if (best := choices.best[place]) is not None:
            metric[place] = candidates[-1][best]
    statuses = Statuses(n_tasks)
    statuses.set("too_few", too_few)
    statuses.set("constant", constant & np.isnan(choices.gain))
    statuses.set("zero_noise", silent & np.isnan(choices.gain))
    statuses.check_finite(np.isnan(choices.gain))
    missing = table.encoded.n_missing + table.encoded.n_nan
    flags = {
        "missing_values": np.array([bool(missing[task.rows].any()) for task in tasks]),
        "few_members": members < (FEW_DECIDING if options.deciding else 2 * FEW_MEMBERS),
        "mixed_config": np.full(n_tasks, "config" in table.encoded.joined),
        "unmatched": unmatched,
        "no_primary": np.array([not task.known for task in tasks]),
    }
    primary = [task.metrics[0] if task.known else None for task in tasks]
    columns = [
        pl.Series("measure", ["decision_accuracy" if options.deciding else "snr"] * n_tasks),
        pl.Series("primary", primary, dtype=pl.String),
        pl.Series("n_members", members.astype(np.int64)),
        pl.Series("candidates", candidates, dtype=pl.List(pl.String)),
        pl.Series("metric", metric, dtype=pl.String),
        *choices.columns("metric_share", members, options.level),
        statuses.column(),
        flag_lists(flags, n_tasks),
    ]
    return pl.DataFrame([*labels.get_columns(), *columns])
