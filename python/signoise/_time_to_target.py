"""The verb `time_to_target`: after how much training a score is reached, over trials of which some never get there."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._duplicates import Duplicates
from ._errors import OptionError
from ._kernels import kernels
from ._metrics import require_direction
from ._options import as_columns, check_count, check_level, signature
from ._run_series import encode_runs
from ._scores import Filter, Groups, Scores, load, note_key, warn_notes
from ._status import Statuses, check_strict, flag_lists, result_column

Floats = NDArray[np.float64]

#: Trials below which limits of a median are wide, or open.
FEW_TRIALS = 5


def time_to_target(
    scores: Scores,
    *,
    target: float | Mapping[str, float],
    consecutive: int = 1,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    across: str | Sequence[str] = "recipe",
    direction: Mapping[str, str] | None = None,
    order: str = "tokens",
    confidence_level: float = 0.95,
    groups: Groups = None,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Median training (tokens, steps, compute) until a score is reached, over trials; trials cut off count as such.

    ``S(t) = prod_(t_i <= t) (1 - d_i/n_i)``, the share of trials that have not reached the target by t: d_i reach it at
    t_i, of n_i that still train. The median is the first t with S(t) of a half or less.

    Parameters
    ----------
    scores, by, where, groups, columns, duplicates, strict, threads
        As in `snr`.
    target
        The score to reach; or one for each task: ``{"arc_easy": 0.6}``.
    consecutive
        Checkpoints in a row that must be as good: the first that is, of a noisy curve, may be so by luck.
    across
        What trials are of: runs that share these columns are trials of one procedure (``"recipe"``, ``"params"``);
        ``"run"`` gives every run a row.
    direction
        ``{"metric": "higher" | "lower"}`` for metrics that are not known.
    order
        What is counted: ``"tokens"`` (or ``step`` where there are none), or any other column, such as ``"flops"`` or
        hours.
    confidence_level
        Of ``low, high``.

    Returns
    -------
    DataFrame
        A row for each procedure: by-columns, `across` columns; ``target``; ``n_trials, n_reached``; ``median, low,
        high`` (in units of `order`); ``earliest``; ``longest`` (that any trial went on); ``status, flags, signature``.

    Undefined when
        Half of the trials or more stop without the target (``not_finite``: the median lies beyond what was trained); no
        checkpoint of a trial has a place (``too_few``). A limit that lies beyond the data is null.

    Raises
    ------
    OptionError, SchemaError, UnknownMetricError
        As `snr`; a task without a target.

    Notes
    -----
    Product-limit estimate with limits from its complementary log-log form (Greenwood's variance), all those t at which
    they hold a half. A target is reached at a checkpoint: between two of them it may have been earlier. Simulated, 5,
    10 and 30 trials, a quarter of them cut off early: limits hold the median (null taken for beyond the data) in .91,
    .96 and .96. Flags: ``few_seeds`` (fewer than 5 trials).

    References
    ----------
    Dahl et al. 2023, "Benchmarking neural network training algorithms", arXiv 2306.07179 (time to a target, median over
    trials); Kaplan and Meier 1958; Brookmeyer and Crowley 1982, "A confidence interval for the median survival time".

    Examples
    --------
    >>> import polars as pl
    >>> import signoise as sn
    >>> rows = [
    ...     ("web", f"web-{seed}", "t", "acc", step, 0.05 * step - 0.02 * seed)
    ...     for seed in range(5) for step in range(1, 9)
    ... ]
    >>> names = ["recipe", "run", "task", "metric", "step", "value"]
    >>> table = pl.DataFrame(rows, schema=names, orient="row")
    >>> sn.time_to_target(table, target=0.3).select("n_trials", "n_reached", "median", "earliest").rows()
    [(5, 5, 7.0, 6.0)]
    """
    check_count("consecutive", consecutive)
    check_level(confidence_level)
    by, members = as_columns(by), as_columns(across)
    table = load(
        scores,
        columns=columns,
        where=where,
        groups=groups,
        use=[*by, *members, order],
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    runs = list(dict.fromkeys([*members, "run"]))
    encoded, apart = encode_runs(table.frame, by=by, runs=runs, order=order, duplicates=duplicates)
    warn_notes(table.notes)
    note_key(encoded, by)
    labels = encoded.groups
    trials = _times(encoded.select(), encoded.group_of, labels, target, consecutive, direction)
    trials = trials.with_columns(
        pl.Series("__conflict", encoded.conflicts),
        pl.Series("__gaps", (encoded.n_missing + encoded.n_nan) > 0),
    )
    key = [name for name in labels.columns if name not in {*runs, *apart} or name in members]
    parts = trials.partition_by(key, maintain_order=True) if key else [trials]
    rows = [_median(part, confidence_level) for part in parts]
    numbers = (
        {name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]} if rows else {}
    )
    statuses = Statuses(len(parts))
    statuses.set("duplicate_key", numbers["conflict"] > 0)
    statuses.set("too_few", numbers["n_trials"] == 0)
    statuses.set("not_finite", np.isinf(numbers["median"]))
    for name in ("median", "low", "high", "earliest", "longest"):
        numbers[name] = np.where(numbers["conflict"] > 0, np.nan, numbers[name])
    flags = {
        "few_seeds": (numbers["n_trials"] > 0) & (numbers["n_trials"] < FEW_TRIALS),
        "missing_values": numbers["gaps"] > 0,
    }
    text = signature(
        "time_to_target",
        target=[f"{name}={value:g}" for name, value in target.items()]
        if isinstance(target, Mapping)
        else target,
        consecutive=consecutive,
        order=order,
        level=confidence_level,
    )
    result = pl.DataFrame(
        [
            *(pl.concat([part[name].head(1) for part in parts]) for name in key),
            result_column("target", numbers["target"]),
            *(pl.Series(name, numbers[name].astype(np.int64)) for name in ("n_trials", "n_reached")),
            *(
                result_column(name, numbers[name])
                for name in ("median", "low", "high", "earliest", "longest")
            ),
            statuses.column(),
            flag_lists(flags, len(parts)),
            pl.Series("signature", [text] * len(parts)),
        ]
    )
    check_strict(result, key, strict=strict)
    return result


def _times(
    selected: tuple[Floats, Floats, NDArray[np.uintp], NDArray[np.intp]],
    group_of: NDArray[np.intp],
    labels: pl.DataFrame,
    target: float | Mapping[str, float],
    consecutive: int,
    declared: Mapping[str, str] | None,
) -> pl.DataFrame:
    """The labels of runs with when each reached its target (null: never) and how long it went on (null: no place)."""
    signs = np.ones(len(labels))
    if "metric" in labels.columns:
        known = require_direction(labels["metric"].unique().drop_nulls().sort().to_list(), declared)
        signs = np.array([known.get(metric, 1) for metric in labels["metric"]], dtype=float)
    targets = _targets(labels, target)
    reached, longest = np.full((2, len(labels)), np.nan)
    values, places, offsets, filled = selected
    for series, (first, last) in zip(filled, itertools.pairwise(offsets.astype(np.intp)), strict=True):
        row = int(group_of[series])
        there = np.isfinite(places[first:last]) & np.isfinite(values[first:last])
        own, where = signs[row] * values[first:last][there], places[first:last][there]
        if not len(own):
            continue
        longest[row] = where[-1]
        good = own >= signs[row] * targets[row]
        # Good checkpoints among the last `consecutive`, at each of them.
        streaks = np.convolve(good, np.ones(consecutive))[: len(good)] == consecutive
        if streaks.any():
            reached[row] = where[int(np.argmax(streaks))]
    return labels.with_columns(
        pl.Series("__target", targets),
        result_column("__reached", reached),
        result_column("__longest", longest),
    )


def _targets(labels: pl.DataFrame, target: float | Mapping[str, float]) -> Floats:
    if not isinstance(target, Mapping):
        if isinstance(target, bool) or not isinstance(target, (int, float)) or not np.isfinite(target):
            raise OptionError(f"target must be a score, or one for each task, got {target!r}")
        return np.full(len(labels), float(target))
    tasks = labels["task"].to_list() if "task" in labels.columns else []
    missing = [task for task in dict.fromkeys(tasks) if task not in target]
    if missing or not tasks:
        raise OptionError(
            f"target: no score for {', '.join(map(str, missing[:5])) or 'a table without tasks'}"
        )
    return np.array([float(target[task]) for task in tasks])


def _median(part: pl.DataFrame, level: float) -> dict[str, float]:
    """Of the trials of one procedure; the median is infinite where it lies beyond the data."""
    part = part.with_columns(part["__longest"].is_not_null().alias("__there"))
    own = part.filter("__there")
    row = {
        "target": float(part["__target"][0]),
        "n_trials": float(own.height),
        "n_reached": float(own["__reached"].count()),
        "conflict": float(part["__conflict"].any()),
        "gaps": float(part["__gaps"].any()),
    }
    void = dict.fromkeys(("median", "low", "high", "earliest", "longest"), np.nan)
    if not own.height:
        return row | void
    reached = own["__reached"].is_not_null().to_numpy()
    times = own.select(pl.coalesce("__reached", "__longest")).to_series().to_numpy()
    place, low, high = survival_median(times, reached, level)
    return row | {
        "median": place,
        "low": low,
        "high": high,
        "earliest": float(times[reached].min()) if reached.any() else np.nan,
        "longest": float(own.select(pl.col("__longest").max()).item()),
    }


def survival_median(times: Floats, reached: NDArray[np.bool_], level: float) -> tuple[float, float, float]:
    """Median of times of which some are only known to be longer, with its limits; infinite beyond the data.

    Of equal times those that are reached come first.
    """
    events = np.unique(times[reached])
    at_risk = np.array([(times >= t).sum() for t in events], dtype=np.float64)
    fell = np.array([((times == t) & reached).sum() for t in events], dtype=np.float64)
    left = np.cumprod(1 - fell / at_risk)
    with np.errstate(all="ignore"):
        error = np.sqrt(np.cumsum(fell / (at_risk * (at_risk - fell)))) / np.abs(np.log(left))
        distance = (np.log(-np.log(left)) - np.log(np.log(2))) / error
    z = float(kernels().normal_quantile(np.array([0.5 + level / 2]))[0])
    # Where nobody is left the share is surely below a half.
    distance = np.where(left > 0, distance, np.inf)
    median = events[left <= 0.5]
    early, late = events[distance >= -z], events[distance > z]
    return tuple(float(found[0]) if len(found) else np.inf for found in (median, early, late))  # type: ignore[return-value]
