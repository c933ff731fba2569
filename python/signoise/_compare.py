"""The verb `compare`: is the difference between two runs real?"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._addresses import group_addresses
from ._adjust import Method, adjusted
from ._duplicates import Duplicates
from ._errors import DroppedRowsWarning, InsufficientDataError, OptionError, SchemaError
from ._matching import Sides, load_sides
from ._mean_intervals import FEW_CLUSTERS, ClusterError, interval
from ._metrics import direction as direction_of
from ._options import as_columns, check_choice, check_count, check_level, signature
from ._pairs import Flips, Pairs, Test, compare_sides
from ._power import detectable
from ._scores import Filter, Scores, warn_joined
from ._status import Statuses, check_strict, flag_lists, result_column
from ._strata import average_pairs, whole_tasks
from .engines import Engine
from .engines._engine import Local, as_engine

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

Subtasks = Literal["apart", "macro", "micro"]

#: Normal theory and Student's t are for means over more instances than this.
FEW_INSTANCES = 30
#: Significant digits in sentences.
DIGITS = 3


def compare(
    scores: Scores,
    *,
    a: str | None = None,
    b: str | None = None,
    baseline: str | None = None,
    metric: str | Sequence[str] | None = None,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    order: str = "tokens",
    cluster: str | None = None,
    cluster_error: ClusterError = "CR1",
    subtasks: Subtasks = "apart",
    test: Test = "auto",
    n_resamples: int = 10_000,
    rng_seed: int = 0,
    adjust: Method = "holm",
    power: float = 0.8,
    confidence_level: float = 0.95,
    direction: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    engine: str | Engine = "local",
    threads: int | None = None,
) -> pl.DataFrame:
    """Compare two runs, every run with a baseline, or all pairs of runs, on the instances they share.

    Parameters
    ----------
    scores, by, where, columns, duplicates, strict, threads
        As in `snr`. Instance rows are needed for paired comparisons; a score that has none is compared through its
        own ``stderr`` (flag ``unpaired``).
    a, b
        Two checkpoints, each as ``"run"`` (its last checkpoint of each score) or ``"run@step"`` (or
        ``"run@revision"``).
    baseline
        Instead: one checkpoint with which every other run's last one is compared. Without a, b and baseline all pairs
        of runs are compared.
    metric
        Metrics to compare; all by default.
    order
        Column that says which checkpoint is the last; where a run lacks it, ``step``.
    cluster
        Column that says which instances depend on each other (passages, subjects): errors are then cluster-robust.
        Default: the column ``cluster`` where it is filled; ``"instance_id"`` takes all instances for independent.
    cluster_error
        ``"CR0"``, ``"CR1"`` (times G/(G - 1)) or ``"CR3"`` (a jackknife over clusters, on the safe side).
    subtasks
        ``"apart"``: a row for each. ``"macro"``: the unweighted mean of those that both sides have, with instances
        drawn within each and t as the test; ``"micro"``: all instances of a task alike.
    test
        What `p_value` is from. ``"auto"``: McNemar's mid-p where all scores are 0 or 1 and instances independent,
        else Student's t; ``"exact"``: the exact McNemar test in its place, which is conservative; ``"t"``: always t;
        ``"permutation"``: as in `permutation_test`.
    n_resamples, rng_seed, engine
        Of ``test="permutation"``.
    adjust
        For the number of tests, which is the number of rows of this call: ``"holm"``, ``"bonferroni"`` (family-wise
        error), ``"bh"``, ``"by"`` (false discovery rate) or ``"none"``.
    power
        Of `mde`.
    confidence_level
        Of `low` and `high`, which are not adjusted, and of `mde`; 1 - confidence_level is the level of the verdict.
    direction
        ``{"metric": "higher" | "lower"}`` for metrics that are not known; without, the verdict says which is higher.

    Returns
    -------
    DataFrame
        A row for each group and pair: by-columns; ``run_a, step_a, run_b, step_b``; ``n`` shared instances; ``mean_a,
        mean_b`` over them; ``difference`` a - b with ``stderr, low, high``, score units; ``p_value`` of no difference,
        ``p_adjusted, test``; ``mde``, the true difference that is detected with `power`; ``correlation`` of the two
        sides' scores over instances; ``variance_reduction``, the share of the difference's variance that pairing
        saved; ``n_clusters, design_effect`` (variance over that of independent instances); ``n_unmatched_a,
        n_unmatched_b`` (instances with a score on one side only, left out), ``n_missing, n_nan``; ``verdict``:
        ``a is better``, ``b is better``, ``no difference shown`` (``a is higher``, .. without a direction);
        ``status, flags, signature``.

    Undefined when
        Fewer than 2 shared instances or clusters (``too_few``); all differences are the same (``constant``: no
        interval; p is 1 if they are all 0 and McNemar's for 0/1 scores); an unpaired side without stderr
        (``no_stderr``).

    Raises
    ------
    SchemaError
        For a run or checkpoint that is not there, scores that no two sides share, and tables with neither instances
        nor stderr.

    Notes
    -----
    Repeats are averaged within an instance first. Paired differences d_i: ``difference -+ t sqrt(var(d)/n)`` with n - 1
    degrees of freedom; in clusters ``stderr^2 = G/(G - 1) sum_g (sum of residuals of g)^2 / n^2`` with G - 1. Weighted
    metrics are ratios of sums and perplexities exp of mean logarithms, both to first order. The interval for 0/1 scores
    is Student's, so that it may disagree with McNemar's p near the level. Flags: ``few_clusters`` (fewer than 30
    effective clusters: a 95 % interval covers .88 to .92), ``few_instances`` (fewer than 30), ``skewed`` (30 or more,
    but fewer than 30 g^2 with g the skewness of their differences: an interval covers .78 to .93),
    ``unpaired``, ``unmatched``, ``missing_values``, ``mixed_config``. It is these two checkpoints that are compared,
    on instances like these: what another seed or step would give is for `variance`.

    References
    ----------
    Miller 2024, "Adding error bars to evals", arXiv 2411.00640; Fagerland, Lydersen and Laake 2013, BMC Medical
    Research Methodology 13:91; Holm 1979.

    Examples
    --------
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=1, recipes=2, params=(1e9,), checkpoints=1, instances=400, signal=0.2)
    >>> table = sn.compare(scores)
    >>> table.select("n", "test", "verdict").row(0)
    (400, 'mcnemar_mid_p', 'a is better')
    """
    where_drawn = as_engine(engine)
    if test != "permutation" and not isinstance(where_drawn, Local):
        raise OptionError('engine= says where permutations are drawn; give test="permutation" with it')
    check_level(confidence_level)
    check_choice("cluster_error", cluster_error, ("CR0", "CR1", "CR3"))
    check_subtasks(subtasks, by)
    check_choice("test", test, ("auto", "exact", "t", "permutation"))
    check_count("n_resamples", n_resamples)
    check_count("rng_seed", rng_seed, 0)
    check_choice("adjust", adjust, ("holm", "bonferroni", "bh", "by", "none"))
    if not 0 < power < 1:
        raise OptionError(f"power must be a fraction between 0 and 1, got {power!r}")
    if (a is None) != (b is None) or (a is not None and baseline is not None):
        raise OptionError("give both a and b, or baseline, or none of them for all pairs")
    wanted = [a, b] if a is not None and b is not None else [baseline] if baseline is not None else []
    sides = load_sides(
        scores,
        wanted=wanted,
        others=len(wanted) < 2,
        by=as_columns(by),
        where=where,
        metric=None if metric is None else as_columns(metric),
        cluster=cluster,
        order=order,
        pool_subtasks=subtasks == "micro",
        columns=columns,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    chosen = pairs_of(sides, with_baseline=baseline is not None)
    if not chosen:
        raise SchemaError(nothing_shared(sides, wanted))
    flips = None
    if test == "permutation":
        units = group_addresses(sides.groups.select(_drawn_for(sides.groups)))
        flips = Flips(n_resamples, rng_seed, units, threads, where_drawn)
    with np.errstate(all="ignore"):
        pairs = compare_sides(sides, chosen, cluster_error, flips=flips)
    check_errors(pairs)
    tell_left_out(sides, pairs, strict=strict)
    if subtasks == "macro":
        sides, task = whole_tasks(sides)
        pairs = average_pairs(pairs, task)
    warn_joined(sides.groups, [name for name in sides.joined if name in sides.by], as_columns(by))
    text = signature(
        "compare",
        subtasks=subtasks,
        test=test,
        n_resamples=n_resamples if flips is not None else None,
        rng=rng_seed if flips is not None else None,
        adjust=adjust,
        cluster=cluster_name(sides, cluster),
        cluster_error=cluster_error if sides.clusters is not None else None,
        level=confidence_level,
        power=power,
    )
    result = _result(sides, pairs, test, adjust, power, confidence_level, direction, text)
    check_strict(result, [*sides.by, "run_a", "run_b"], strict=strict)
    return result


def _drawn_for(groups: pl.DataFrame) -> list[str]:
    """Columns that say which instances are scored: scores of the same ones share their random signs."""
    return [name for name in ("task", "subtask", "config") if name in groups.columns]


def check_subtasks(subtasks: str, by: str | Sequence[str]) -> None:
    """Refuse to pool what the key keeps apart."""
    check_choice("subtasks", subtasks, ("apart", "macro", "micro"))
    if subtasks != "apart" and "subtask" in as_columns(by):
        raise OptionError(f'subtasks="{subtasks}" makes one score of all subtasks; leave subtask out of by')


def cluster_name(sides: Sides, cluster: str | None) -> str:
    """The column that made the clusters, for the signature."""
    return "none" if sides.clusters is None else cluster or "cluster"


def pairs_of(sides: Sides, *, with_baseline: bool = False) -> list[tuple[int, int, int]]:
    """(group, a, b) of every comparison."""
    found: list[tuple[int, int, int]] = []
    labels = sides.labels.group_by("group", maintain_order=True).agg(pl.col("side").sort())
    for group, present in labels.iter_rows():
        if with_baseline:
            pairs = [(side, 0) for side in present if side != 0] if 0 in present else []
        else:
            pairs = list(combinations(present, 2))
        found += [(group, first, second) for first, second in pairs]
    return found


def nothing_shared(sides: Sides, wanted: Sequence[str]) -> str:
    """Why there is no pair: what each side has scores of."""
    if sides.labels["side"].n_unique() < 2:
        run = sides.labels["run"][0]
        return f"there is nothing to compare with: the only checkpoint here is of run {run!r}"
    known = sides.labels.join(sides.groups.with_row_index("group"), on="group")
    rows = [known.filter(pl.col("side") == side) for side in known["side"].unique().sort().head(2)]
    names = [name for name in ("task", "config", "metric", "filter") if name in known.columns]
    unlike = [
        name for name in names if not rows[0][name].unique().sort().equals(rows[1][name].unique().sort())
    ]
    parts = []
    for side in rows:
        shown = [f"{n} {', '.join(map(str, side[n].unique().sort().head(3)))}" for n in unlike or names]
        parts.append(f"{side['run'][0]} has {'; '.join(shown)}")
    asked = " and ".join(wanted) if len(wanted) == 2 else "any two runs"
    return f"{asked} share no score: {', while '.join(parts)}"


def check_errors(pairs: Pairs) -> None:
    """Refuse a table that says nothing of errors."""
    if not pairs.paired.any() and np.isnan(pairs.stderr).all() and np.isfinite(pairs.difference).any():
        raise SchemaError(
            "nothing is known of the errors of the scores to compare: they share no instances, and at least one side "
            "has no stderr; give instance rows (instance_id), or results with a column stderr"
        )


def tell_left_out(sides: Sides, pairs: Pairs, *, strict: bool) -> None:
    """Warn of instances without a partner, and of scores that only one side has."""
    texts = []
    lost = np.where(pairs.paired, pairs.unmatched_a + pairs.unmatched_b, 0.0)
    if lost.any():
        row = int(np.argmax(lost))
        names = {
            side: name
            for side, name in sides.labels.select("side", "run").iter_rows()
            if side in (pairs.a[row], pairs.b[row])
        }
        key = sides.groups.row(int(pairs.group[row]), named=True)
        label = ", ".join(f"{name} {key[name]}" for name in sides.by if key[name] is not None)
        texts.append(
            f"instances with a score on one side only were left out of {np.count_nonzero(lost)} of {len(lost)} "
            f"comparisons, e.g. {label}: {pairs.n[row]:.0f} shared, {pairs.unmatched_a[row]:.0f} only in "
            f"{names[int(pairs.a[row])]} and {pairs.unmatched_b[row]:.0f} only in {names[int(pairs.b[row])]}"
        )
    if sides.alone:
        texts.append(f"{sides.alone} scores that only one side has were left out")
    if texts and strict:
        raise InsufficientDataError(
            f"{'; '.join(texts)}; filter them out (where=...) or call with strict=False"
        )
    if texts:
        warnings.warn("; ".join(texts), DroppedRowsWarning, stacklevel=3)


def _result(
    sides: Sides,
    pairs: Pairs,
    test: Test,
    adjust: Method,
    power: float,
    level: float,
    declared: Mapping[str, str] | None,
    text: str,
) -> pl.DataFrame:
    with np.errstate(all="ignore"):
        p, tests = pairs.tested(test)
        low, high = interval(pairs.estimate(), level)
        unknown = np.isnan(pairs.stderr) & np.isfinite(pairs.difference)
        nothing = ~pairs.paired & (np.isnan(pairs.mean_a) | np.isnan(pairs.mean_b))
        few = (pairs.n < 2) | (pairs.paired & unknown) | nothing
        p = np.where(few, np.nan, p)
        constant = ~few & (pairs.constant | (pairs.stderr == 0))
        p_adjusted = adjusted(p, adjust)
        mde = np.where(constant, np.nan, detectable(pairs.stderr, power, level))
    size = len(p)
    statuses = Statuses(size)
    statuses.set("too_few", few)
    statuses.set("no_stderr", ~pairs.paired & unknown)
    statuses.set("constant", constant)
    statuses.check_finite(~np.isfinite(pairs.difference) | np.isnan(pairs.stderr))
    ends = _ends(sides, pairs)
    left_out = {name: ends[f"{name}_a"] + ends[f"{name}_b"] for name in ("n_missing", "n_nan")}
    labels = sides.groups[pairs.group]
    flags = {
        "missing_values": (left_out["n_missing"] + left_out["n_nan"]).to_numpy() > 0,
        "mixed_config": np.full(size, "config" in sides.joined),
        "few_instances": pairs.n < FEW_INSTANCES,
        "few_clusters": (pairs.n_clusters < pairs.n) & (pairs.effective_clusters < FEW_CLUSTERS),
        "skewed": pairs.estimate().skewed,
        "unpaired": ~pairs.paired,
        "unmatched": pairs.paired & (pairs.unmatched_a + pairs.unmatched_b > 0),
    }
    columns: dict[str, Any] = {
        "n": as_counts(pairs.n),
        "mean_a": pairs.mean_a,
        "mean_b": pairs.mean_b,
        "difference": pairs.difference,
        "stderr": pairs.stderr,
        "low": np.where(constant, np.nan, low),
        "high": np.where(constant, np.nan, high),
        "p_value": p,
        "p_adjusted": p_adjusted,
        "test": pl.Series(tests, dtype=pl.String),
        "mde": mde,
        "correlation": pairs.correlation,
        "variance_reduction": np.where(pairs.paired, pairs.variance_reduction, np.nan),
        "n_clusters": as_counts(pairs.n_clusters),
        "design_effect": pairs.design_effect,
        "n_unmatched_a": as_counts(pairs.unmatched_a),
        "n_unmatched_b": as_counts(pairs.unmatched_b),
        **left_out,
        "verdict": _verdicts(
            pairs.difference, p_adjusted, 1 - level, [sides.metric[group] for group in pairs.group], declared
        ),
    }
    return pl.DataFrame(
        [
            *(labels[name] for name in sides.by),
            *(ends[name] for name in ("run_a", "step_a", "run_b", "step_b")),
            *(result_column(name, values) for name, values in columns.items()),
            statuses.column(),
            flag_lists(flags, size),
        ]
    ).with_columns(pl.lit(text).alias("signature"))


def _ends(sides: Sides, pairs: Pairs) -> pl.DataFrame:
    """What is known of both sides of every pair."""
    known = sides.labels.select("group", "side", "run", "step", "n_missing", "n_nan")
    parts = []
    for end, side in (("a", pairs.a), ("b", pairs.b)):
        asked = pl.DataFrame({"group": pairs.group, "side": side}).cast(
            {name: known.schema[name] for name in ("group", "side")}
        )
        rows = asked.join(known, on=["group", "side"], how="left", maintain_order="left")
        parts.append(rows.drop("group", "side").select(pl.all().name.suffix(f"_{end}")))
    return pl.concat(parts, how="horizontal")


def as_counts(values: Floats) -> pl.Series:
    """Whole numbers, null where undefined."""
    return pl.Series(values, nan_to_null=True).cast(pl.Int64)


def _verdicts(
    difference: Floats,
    p: Floats,
    alpha: float,
    metrics: Sequence[str | None],
    declared: Mapping[str, str] | None,
) -> pl.Series:
    """In words; null where the test is undefined."""
    signs = {name: None if name is None else direction_of(name, declared) for name in set(metrics)}
    out: list[str | None] = []
    for d, probability, metric in zip(difference.tolist(), p.tolist(), metrics, strict=True):
        sign = signs[metric]
        if np.isnan(probability):
            out.append(None)
        elif probability > alpha or d == 0:
            out.append("no difference shown")
        elif sign is None:
            out.append("a is higher" if d > 0 else "b is higher")
        else:
            out.append("a is better" if d * sign > 0 else "b is better")
    return pl.Series(out, dtype=pl.String)


def in_words(table: pl.DataFrame, most: int = 12) -> list[str]:
    """A sentence for each row of a comparison."""
    lines = []
    ends = ("run_a", "step_a", "run_b", "step_b")
    by = table.columns[: table.columns.index("run_a")]
    for row in table.head(most).iter_rows(named=True):
        label = " ".join(str(row[name]) for name in by if row[name] is not None)
        a, b = (
            row[run] if row[step] is None else f"{row[run]}@{row[step]}" for run, step in (ends[:2], ends[2:])
        )
        lines.append(f"{label}: {_sentence(row, a, b)}" if label else _sentence(row, a, b))
    if table.height > most:
        lines.append(f"and {table.height - most} more")
    return lines


def _sentence(row: Mapping[str, Any], a: str, b: str) -> str:
    verdict, difference = row["verdict"], row["difference"]
    if verdict is None:
        return f"{a} and {b} cannot be compared ({row['status']})"
    undirected = verdict == "no difference shown"
    sign = 1.0 if undirected or difference > 0 else -1.0  # a lead is said as a size, whichever way is better
    limits = (
        ""
        if row["low"] is None
        else f" ({{:.{DIGITS}g}} to {{:.{DIGITS}g}})".format(*sorted((sign * row["low"], sign * row["high"])))
    )
    size = f"{sign * difference:.{DIGITS}g}{limits}, p = {row['p_adjusted']:.2g}"
    if undirected:
        text = f"no difference shown between {a} and {b}: {size}"
        return (
            text if row["mde"] is None else f"{text}; one of {row['mde']:.2g} would probably have been seen"
        )
    winner, loser = (a, b) if verdict.startswith("a") else (b, a)
    return f"{winner} is {verdict[5:]} than {loser} by {size}"
