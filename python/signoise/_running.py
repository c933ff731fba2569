"""The verb `confidence_sequence`: what an evaluation that still runs says already, however often one looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from . import _confidence_sequences as sequences
from ._duplicates import Duplicates
from ._errors import OptionError, SchemaError
from ._instances import ROW, Instances, load_last_instances
from ._metrics import lookup
from ._options import as_columns, check_choice, check_count, check_level, signature
from ._scores import Filter, Scores
from ._status import Statuses, check_strict, flag_lists, metric_of, result_column

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Method = Literal["betting", "empirical_bernstein", "asymptotic"]
Bounds = tuple[float, float]

#: Limits from the central limit theorem are too narrow over fewer instances than this.
FEW_INSTANCES = 30


class _Limits(NamedTuple):
    """Mean and limits of one row, over so many instances; over 1, 2, .. of them with the path."""

    n: Ints
    mean: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class _Plan:
    """How limits are computed."""

    method: Method | Literal["auto"]
    bounds: Bounds | None
    population: int | Mapping[str, int] | None
    tuned_at: int
    path: bool
    level: float
    differences: bool

    def bounds_of(self, metric: str | None) -> Bounds | None:
        """Smallest and largest possible score, or difference of two; None where a side is open."""
        known = None if metric is None else lookup(metric)
        low, high = self.bounds or ((None, None) if known is None else (known.low, known.high))
        if low is None or high is None:
            return None
        return (low - high, high - low) if self.differences else (low, high)

    def population_of(self, task: str | None) -> int | None:
        """Instances of the whole benchmark."""
        if isinstance(self.population, Mapping):
            return None if task is None else self.population.get(task)
        return self.population


def confidence_sequence(
    scores: Scores,
    *,
    baseline: str | None = None,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    order: str = "tokens",
    arrival: str | None = None,
    method: Literal["auto", "betting", "empirical_bernstein", "asymptotic"] = "auto",
    bounds: tuple[float, float] | None = None,
    population: int | Mapping[str, int] | None = None,
    tuned_at: int = 500,
    path: bool = False,
    confidence_level: float = 0.95,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Intervals of an evaluation that still runs: they hold at all times at once, so that one may look and stop.

    Parameters
    ----------
    scores, where, columns, duplicates, strict, threads
        As in `snr`; instance rows are needed.
    baseline
        A checkpoint, as ``"run"`` or ``"run@step"``. Rows are then differences of every other run's scores from it, on
        instances that both have; an instance has come when its second score has.
    by
        Key beside the run. The last checkpoint of each run is taken; with ``step`` in `by` all of them are.
    order
        Column that says which checkpoint is the last; where a run lacks it, ``step``.
    arrival
        Column that says when an instance came: a time stamp or running number. Default: the order of the rows, which
        is that of the lines of the files; here it is no accident, as it is for every other verb.
    method
        ``"betting"``: for bounded scores, the narrowest. ``"empirical_bernstein"``: for bounded scores, in closed form.
        ``"asymptotic"``: by the central limit theorem, for any scores. ``"auto"``: betting where the metric is known to
        be bounded (or `bounds` say so), else asymptotic.
    bounds
        Smallest and largest possible score; by default those of the metric.
    population
        Instances of the whole benchmark (or a mapping from task to it), if these are drawn from it without
        replacement: the interval is then one of the score over the whole benchmark, and shrinks to it. ``asymptotic``
        does without, on the safe side.
    tuned_at
        Instances at which ``asymptotic`` limits are tightest: where one expects to stop.
    path
        A row for each number of instances so far, and not only the last.
    confidence_level
        Probability that the mean lies inside at all times.

    Returns
    -------
    DataFrame
        A row for each group and run (and with `path` each time): by-columns; ``run, step, baseline`` (null without
        one); ``n`` instances so far; ``mean`` of their scores or differences; ``low, high``; ``method``;
        ``bound_low, bound_high`` that were supposed (null for ``asymptotic``); ``n_unmatched`` instances that only one
        of run and baseline has; ``n_missing, n_nan, status, flags, signature``.

    Undefined when
        No instance, or under ``asymptotic`` fewer than 2 (``too_few``) or no two different scores yet (``constant``).
        The score is no plain mean of instances, but a ratio of sums or a perplexity (``not_a_mean``). The lower limit
        came to lie above the upper (``order_not_random``): scores before and after cannot be from one random order.

    Raises
    ------
    OptionError
        For a score outside the bounds, or more instances than the population.
    SchemaError
        For scores without instances; for a store without `arrival`, since stores keep no order of rows.

    Notes
    -----
    Instances must come in random order: the first 100 of a file sorted by subject say nothing of the rest. Shuffle
    before the evaluation starts. Repeats are averaged within an instance, which has come with its last. Instances must
    be independent: where some share a cluster the limits are too narrow (flag ``clustered``). Intervals are about twice
    as wide as one for a single look. Those of bounded scores are what all times so far leave together, so that the mean
    may come to lie outside; betting limits are rounded outwards to 1/1000 of the range. Missing scores are left out
    (flag ``missing_values``): if hard instances time out, easy ones are left. ``asymptotic`` holds for large numbers
    (flag ``few_instances`` below 30; with 0/1 scores start to look when some 15 of the rarer outcome have come).

    References
    ----------
    Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting", J. R. Stat. Soc. B 86;
    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, "Time-uniform central limit theory and asymptotic confidence
    sequences", Annals of Statistics 52.

    Examples
    --------
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=1, recipes=2, params=(1e9,), checkpoints=1, instances=400, signal=0.2)
    >>> so_far = scores.sample(fraction=0.5, shuffle=True, seed=0)
    >>> table = sn.confidence_sequence(so_far, population=400)
    >>> table.select("method", "status").row(0)
    ('betting', 'ok')
    >>> (table["low"] < table["mean"]).all()
    True
    """
    check_level(confidence_level)
    check_choice("method", method, ("auto", "betting", "empirical_bernstein", "asymptotic"))
    check_count("tuned_at", tuned_at)
    for size in population.values() if isinstance(population, Mapping) else [population]:
        if size is not None:
            check_count("population", size)
    _check_arrival(scores, arrival)
    plan = _Plan(
        method, bounds, population, tuned_at, path, confidence_level, differences=baseline is not None
    )
    loaded = load_last_instances(
        scores,
        verb="confidence_sequence",
        by=as_columns(by),
        where=where,
        order=order,
        baseline=baseline,
        use=["cluster", *([] if arrival is None else [arrival])],
        rows_in_order=arrival is None,
        columns=columns,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    labels, parts, unmatched = _pairs(loaded, baseline, arrival or ROW)
    found = [_limits(part, row, plan) for part, row in zip(parts, labels.iter_rows(named=True), strict=True)]
    text = signature(
        "confidence_sequence",
        method=method,
        bounds=bounds,
        population=population if isinstance(population, int) else "by_task" if population else None,
        tuned_at=tuned_at,
        arrival=arrival or "rows",
        level=confidence_level,
    )
    result = _result(loaded, labels, parts, found, unmatched, baseline, plan, text)
    check_strict(result, [*loaded.by, "run"], strict=strict)
    return result


def _check_arrival(scores: Scores, arrival: str | None) -> None:
    from ._store._verbs import as_store

    if arrival is None and as_store(scores) is not None:
        raise SchemaError(
            "a score store does not keep the order in which instances came; give the files, or arrival=COLUMN"
        )


def _pairs(
    loaded: Instances, baseline: str | None, arrival: str
) -> tuple[pl.DataFrame, list[pl.DataFrame], Ints]:
    """Labels of the rows, their scores (or differences) in order of arrival, and instances without a partner."""
    labels, parts = loaded.labels, loaded.parts()
    nulls = sum(part[arrival].null_count() for part in parts)
    if nulls:
        raise SchemaError(f"arrival: {nulls} instances have no {arrival!r}; when they came is not known")
    if baseline is None:
        sorted_parts = [part.sort(arrival, "instance_id") for part in parts]
        return labels, sorted_parts, np.zeros(len(parts), dtype=np.intp)
    keep, pairs, unmatched = [], [], []
    own: dict[int, pl.DataFrame] = {}
    for row, (group, side) in enumerate(labels.select("group", "side").iter_rows()):
        if side == 0:
            own[group] = parts[row]
        elif group in own:
            both = parts[row].join(own[group], on="instance_id", suffix="_baseline")
            later = pl.max_horizontal(arrival, f"{arrival}_baseline")
            difference = pl.col("value") - pl.col("value_baseline")
            keep.append(row)
            pairs.append(both.with_columns(difference.alias("value")).sort(later, "instance_id"))
            unmatched.append(parts[row].height + own[group].height - 2 * both.height)
    if not keep:
        raise SchemaError(
            f"no other run has a score that {baseline} has; look at task, config, metric and filter"
        )
    return labels[keep], pairs, np.array(unmatched, dtype=np.intp)


def _limits(part: pl.DataFrame, row: Mapping[str, Any], plan: _Plan) -> _Limits:
    """Limits of one row of the result."""
    x = part["value"].to_numpy()
    n = np.arange(1, len(x) + 1)
    if not len(x):
        n, x = np.zeros(1, dtype=np.intp), np.full(1, np.nan)
    method, bounds = _method(row.get("metric"), plan)
    with np.errstate(all="ignore"):
        mean = np.cumsum(x) / n
    if not len(part) or not row["plain"]:
        nothing = np.full(len(x), np.nan)
        mean = mean if row["plain"] else nothing
        found = _Limits(n, mean, nothing, nothing)
    elif bounds is None:
        found = _Limits(n, mean, *sequences.asymptotic_sequence(x, plan.level, tuned_at=plan.tuned_at))
    else:
        population = plan.population_of(row.get("task"))
        _check_scores(x, bounds, population, row)
        options: dict[str, Any] = {"bounds": bounds, "population": population}
        if method == "empirical_bernstein":
            limits = sequences.empirical_bernstein_sequence(x, plan.level, **options)
        elif plan.path:
            limits = sequences.betting_sequence(x, plan.level, **options)
        else:
            low, high = sequences.betting_limits(x, plan.level, **options)
            limits = np.full(len(x), low), np.full(len(x), high)
        found = _Limits(n, mean, *limits)
    if plan.path:
        return found
    return _Limits(found.n[-1:], found.mean[-1:], found.low[-1:], found.high[-1:])


def _method(metric: str | None, plan: _Plan) -> tuple[Method, Bounds | None]:
    """Method of a metric, and the bounds it supposes."""
    bounds = plan.bounds_of(metric)
    if plan.method == "asymptotic" or (plan.method == "auto" and bounds is None):
        return "asymptotic", None
    if bounds is None:
        raise OptionError(
            f'method="{plan.method}" needs bounded scores, and no bounds of metric {metric!r} are known; give '
            'bounds=(low, high), or method="auto"'
        )
    return "betting" if plan.method == "auto" else cast("Method", plan.method), bounds


def _check_scores(x: Floats, bounds: Bounds, population: int | None, row: Mapping[str, Any]) -> None:
    """Name the row whose scores contradict what was supposed."""
    label = ", ".join(
        f"{name} {row[name]}" for name in ("run", "task", "metric") if row.get(name) is not None
    )
    outside = x[~((x >= bounds[0]) & (x <= bounds[1]))]
    if len(outside):
        what = "difference" if bounds[0] == -bounds[1] else "score"
        raise OptionError(
            f"{label}: a {what} of {outside[0]:g} lies outside {bounds[0]:g} to {bounds[1]:g}; give bounds=(low, high) "
            "of the scores"
        )
    if population is not None and population < len(x):
        raise OptionError(f"{label}: {len(x)} instances cannot come from a population of {population}")


def _result(
    loaded: Instances,
    labels: pl.DataFrame,
    parts: Sequence[pl.DataFrame],
    found: Sequence[_Limits],
    unmatched: Ints,
    baseline: str | None,
    plan: _Plan,
    text: str,
) -> pl.DataFrame:
    place = np.repeat(np.arange(labels.height), [len(limits.n) for limits in found])
    n, mean, low, high = (np.concatenate(columns) for columns in zip(*found, strict=True))
    plain = labels["plain"].to_numpy()
    methods = [_method(metric, plan) for metric in metric_of(labels)]
    asymptotic = np.array([bounds is None for _, bounds in methods], dtype=bool)[place]
    crossed = low > high
    statuses = Statuses(len(place))
    statuses.set("not_a_mean", ~plain[place])
    statuses.set("too_few", n < np.where(asymptotic, 2, 1))
    statuses.set("order_not_random", crossed)
    statuses.set("constant", asymptotic & np.isfinite(mean) & np.isnan(low))
    statuses.check_finite(~np.isfinite(low))
    left_out = (labels["n_missing"] + labels["n_nan"]).to_numpy() > 0
    flags = {
        "missing_values": left_out[place],
        "mixed_config": np.full(len(place), "config" in loaded.joined),
        "few_instances": asymptotic & (n < FEW_INSTANCES),
        "clustered": np.array([_clustered(part) for part in parts], dtype=bool)[place],
        "unmatched": (unmatched > 0)[place],
    }
    bounds = [limits for _, limits in methods]
    columns: dict[str, Any] = {
        "baseline": pl.Series([baseline] * len(place), dtype=pl.String),
        "n": n.astype(np.int64),
        "mean": mean,
        "low": np.where(crossed, np.nan, low),
        "high": np.where(crossed, np.nan, high),
        "method": pl.Series([name for name, _ in methods], dtype=pl.String)[place],
        "bound_low": np.array([np.nan if b is None else b[0] for b in bounds])[place],
        "bound_high": np.array([np.nan if b is None else b[1] for b in bounds])[place],
        "n_unmatched": unmatched.astype(np.int64)[place],
    }
    rows = labels[place]
    return pl.DataFrame(
        [
            *(rows[name] for name in dict.fromkeys([*loaded.by, "run", "step"])),
            *(result_column(name, values) for name, values in columns.items()),
            rows["n_missing"],
            rows["n_nan"],
            statuses.column(),
            flag_lists(flags, len(place)),
        ]
    ).with_columns(pl.lit(text).alias("signature"))


def _clustered(part: pl.DataFrame) -> bool:
    """Whether some instances share a cluster."""
    return "cluster" in part.columns and part["cluster"].drop_nulls().is_duplicated().any()
