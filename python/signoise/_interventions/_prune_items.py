"""The verb `prune_items`: which instances carry the ranking, and would fewer of them do?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._duplicates import Duplicates
from .._errors import OptionError
from .._instance_intervals import FEW_INSTANCES, instance_addresses
from .._measure import FEW_MEMBERS
from .._metrics import lookup
from .._options import as_columns, check_choice, check_count, check_level, check_seed, signature
from .._scores import Filter, Scores
from .._status import Statuses, check_strict, flag_lists, metric_of, result_column
from ._filtering_gain import standard_error
from ._item_scores import ItemScores, ItemStudy, NoiseRows
from ._jackknife import t_margin
from ._pruning import LOGARITHMS, Judge, Plan, Pruned, Rule, pruned
from ._with_instances import open_with_instances

Floats = NDArray[np.float64]

RULES = ("discrimination", "difficulty")
#: Members of a half that can order items.
_LEAST = {"discrimination": 3, "difficulty": 2}
_COUNTS = ("n_members", "n_instances", "n_kept")
_NUMBERS = (
    *("value", "value_all", "value_random"),
    *("gain", "gain_low", "gain_high", "gain_in_sample", "optimism"),
    *("gain_random", "gain_random_low", "gain_random_high", "gain_random_in_sample"),
)


def prune_items(
    scores: Scores,
    *,
    rule: Literal["discrimination", "difficulty"] = "discrimination",
    keep: float | Sequence[float] = (0.25, 0.5, 0.75),
    small: Filter = None,
    target: Filter = None,
    match: str | Sequence[str] | None = None,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    across: str | Sequence[str] = "run",
    score: Literal["mean", "final"] = "mean",
    window: int = 5,
    n_splits: int = 20,
    n_random: int = 20,
    direction: Mapping[str, str] | None = None,
    order: str = "tokens",
    confidence_level: float = 0.95,
    rng_seed: int = 0,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Keep the instances that tell runs apart best, and judge them by runs that did not choose them.

    Parameters
    ----------
    scores, by, where, order, columns, duplicates, strict, threads
        As in `snr`; instance rows or a store are needed.
    rule
        ``"discrimination"``: instances whose scores correlate most over runs with the mean of all others, as in
        `item_statistics`. ``"difficulty"``: those whose mean score is nearest to the middle of the metric's scale (of a
        metric without one, to the middle instance's).
    keep
        Shares of the instances that are kept.
    small, target, match
        As in `decision_accuracy`: instances are chosen by scores at small scale, and judged by the decision accuracy of
        their small-scale scores for the target's scores on *all* instances.
    across
        What a member is, without `small` and `target`.
    score, window
        Of a member: the ``"mean"`` of its last `window` checkpoints, or its ``"final"`` one. The noise is between the
        last `window`.
    n_splits
        Random splits of the members into halves; each half chooses for the other.
    n_random
        Random subsets of each size in each split.
    direction
        ``{"metric": "higher" | "lower"}`` for metrics that are not known.
    confidence_level
        Of the limits of both gains.
    rng_seed
        Of splits, random subsets and ties.

    Returns
    -------
    DataFrame
        A row for each group, share and measure: by-columns, ``keep``, ``measure``; ``n_members, n_instances`` (those
        that all checkpoints in use have), ``n_kept``; ``value`` of the kept instances, chosen by one half of the
        members and judged on the other, ``value_all`` of all instances and ``value_random`` of random ones of equal
        number, means over the same halves; ``gain`` (value against all instances) and ``gain_random`` (against random
        ones), each with ``_low, _high`` and ``_in_sample``, where the half that is judged chose; ``optimism``,
        gain_in_sample - gain. Then ``n_splits`` that are defined, ``n_unmatched, status, flags, signature``.

        Measures: ``agreement`` (share of pairs of members that the subset orders as all instances do; ties one half),
        or ``decision_accuracy`` with sides; ``snr`` (range over noise, which has no unit), ``noise`` (root mean
        variance between checkpoints) and ``stderr`` (of a score over instances, mean over members). Gains of the last
        three are natural logarithms of ratios, their values geometric means.

    Undefined when
        Fewer than 6 members for discrimination, 4 for difficulty, or fewer than 2 instances (``too_few``); no run with
        2 checkpoints (``too_few``: snr, noise); a measure is 0 or not finite on all halves (``zero_noise``,
        ``constant``); scores are no plain means of instances (``not_a_mean``).

    Raises
    ------
    UnknownMetricError
        Where a metric's direction is not known.
    SchemaError, OptionError, DuplicateKeyError
        For a table or an option that cannot be used.

    Notes
    -----
    The gain is that of a choice by half of the members, for the other half; ranges grow with the number of members, so
    all values of a row are over equally many. Instances and checkpoints are the same for choice and judgement: the
    claim is about other members. Limits as in `filtering_gain`: t with one degree of freedom fewer than members, and
    the larger of two standard errors over splits.

    Simulated (12 runs, 120 items, half of them kept): the reported gain is within Monte Carlo error of that of the same
    rule on fresh runs, and its limits hold it in .96 to 1.00 of tables. Where no item is better than another the SNR
    seems to gain a factor of 1.17 in sample, and loses one of .82.

    A subset that discriminates well is not a shorter version of the benchmark: its scores are not those of the
    benchmark, and instances that all solve or none may be the point of it. Compare ``gain_random`` before ``gain``:
    fewer instances are noisier whatever they are.

    References
    ----------
    Madaan et al. 2024, "Quantifying Variance in Evaluation Benchmarks", arXiv 2406.10229, section 4 (pruned sets, which
    had more variance); Henrysson 1963, Psychometrika 28.

    Examples
    --------
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=1, recipes=12, params=(1e9,), checkpoints=3, instances=60, item_noise=0.3)
    >>> table = sn.prune_items(scores, keep=0.5, n_splits=4)
    >>> table.select("measure", "n_instances", "n_kept").rows()
    [('agreement', 60, 30), ('snr', 60, 30), ('noise', 60, 30), ('stderr', 60, 30)]
    """
    check_choice("rule", rule, RULES)
    check_choice("score", score, ("mean", "final"))
    check_count("window", window)
    check_count("n_splits", n_splits)
    check_count("n_random", n_random)
    check_level(confidence_level)
    check_seed(rng_seed)
    shares = _shares(keep)
    opened = open_with_instances(
        scores,
        small=small,
        target=target,
        match=match,
        across=across,
        by=as_columns(by),
        where=where,
        order=order,
        cluster="instance_id",
        columns=columns,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    study = ItemStudy(opened, score, window, threads)
    encoded = study.study.encoded
    signs = study.signs(direction)
    units = instance_addresses(encoded)
    metrics = metric_of(encoded.groups)
    rows: list[dict[str, Any]] = []
    for found, noise in study.groups_with_noise():
        group = found.group
        plan = Plan(n_splits, n_random, (rng_seed, int(units[group])))
        own = [float(side[group]) for side in signs]
        rows += _group(
            found, noise, own, Rule(rule, _middle(metrics[group])), shares, plan, confidence_level, threads
        )
    text = signature(
        "prune_items",
        rule=rule,
        small=small,
        target=target,
        match=study.study.members if study.study.sided else None,
        across=None if study.study.sided else study.study.members,
        score=score,
        window=window,
        n_splits=n_splits,
        n_random=n_random,
        order=order,
        rng=rng_seed,
        level=confidence_level,
    )
    result = _result(study, rows, text)
    check_strict(result, [*encoded.by, "keep", "measure"], strict=strict)
    return result


def _shares(keep: float | Sequence[float]) -> list[float]:
    given = [keep] if isinstance(keep, (int, float)) else keep
    if isinstance(given, str) or not isinstance(given, Sequence) or not given:
        raise OptionError(f"keep must be shares of the instances such as (0.25, 0.5), got {keep!r}")
    for share in given:
        if not isinstance(share, (int, float)) or isinstance(share, bool) or not 0 < share <= 1:
            raise OptionError(f"keep must be shares above 0 and up to 1, got {share!r}")
    return sorted({float(share) for share in given})


def _middle(metric: str | None) -> float | None:
    """The middle of a metric's scale, where it has one."""
    known = None if metric is None else lookup(metric)
    if known is None or known.low is None or known.high is None:
        return None
    return (known.low + known.high) / 2


def _group(
    found: ItemScores,
    noise: NoiseRows,
    signs: Sequence[float],
    rule: Rule,
    shares: Sequence[float],
    plan: Plan,
    level: float,
    threads: int | None,
) -> list[dict[str, Any]]:
    """A row for each share and measure of one group."""
    n_members, n = len(found.members), len(found.items)
    reason = found.reason
    if reason == "ok" and not (found.weights == 1).all():
        reason = "not_a_mean"
    if reason == "ok" and (n_members // 2 < _LEAST[rule.name] or n < 2):
        reason = "too_few"
    sizes = [min(n, max(2, round(share * n))) for share in shares]
    agreement = "decision_accuracy" if len(found.sides) > 1 else "agreement"
    measures: dict[str, Pruned | None] = dict.fromkeys((agreement, "snr", "noise", "stderr"))
    if reason == "ok":
        with np.errstate(all="ignore"):
            judge = Judge(found, noise, signs, threads)
            measures |= pruned(found, judge, rule, sizes, plan)
    wobbles = bool((noise.counts[noise.member >= 0] >= 2).any())
    out = []
    for at, share in enumerate(shares):
        for name, table in measures.items():
            row: dict[str, Any] = {
                "group": found.group,
                "keep": share,
                "measure": name,
                "n_members": n_members,
                "n_instances": n,
                "n_kept": sizes[at] if reason == "ok" else 0,
                "n_splits": 0,
                "n_unmatched": found.n_unmatched,
                "reason": reason,
            }
            if table is not None:
                numbers = _numbers(name, table, at, n_members, level)
                undefined = np.isnan(numbers["gain"])
                if undefined:
                    unknown = name in ("snr", "noise") and not wobbles
                    row["reason"] = (
                        "too_few" if unknown else "zero_noise" if name in ("snr", "noise") else "constant"
                    )
                row |= numbers
            out.append(row)
    return out


def _numbers(name: str, table: Pruned, at: int, n_members: int, level: float) -> dict[str, Any]:
    chosen, in_sample, random, whole = (
        part[at] for part in (table.chosen, table.in_sample, table.random, table.whole)
    )
    out: dict[str, Any] = {
        column: _mean(values, exponent=name in LOGARITHMS)
        for column, values in (("value", chosen), ("value_all", whole), ("value_random", random))
    }
    members = np.array([n_members], dtype=np.intp)
    for column, against in (("gain", whole), ("gain_random", random)):
        gains = chosen - against
        out[column] = _mean(gains)
        out[f"{column}_in_sample"] = _mean(in_sample - against)
        if (stderr := standard_error(gains)) is not None:
            margin = float(t_margin(np.array([stderr]), members, level)[0])
            out |= {f"{column}_low": out[column] - margin, f"{column}_high": out[column] + margin}
    out["optimism"] = out["gain_in_sample"] - out["gain"]
    out["n_splits"] = int(np.isfinite(chosen - whole).any(axis=1).sum())
    return out


def _mean(values: Floats, *, exponent: bool = False) -> float:
    """Over splits and halves that are defined."""
    known = values[np.isfinite(values)]
    if not len(known):
        return np.nan
    return float(np.exp(known.mean()) if exponent else known.mean())


def _result(study: ItemStudy, rows: Sequence[Mapping[str, Any]], text: str) -> pl.DataFrame:
    encoded = study.study.encoded
    schema: dict[str, Any] = {
        "group": pl.Int64,
        "keep": pl.Float64,
        "measure": pl.String,
        **dict.fromkeys(_COUNTS, pl.Int64),
        **dict.fromkeys(_NUMBERS, pl.Float64),
        "n_splits": pl.Int64,
        "n_unmatched": pl.Int64,
        "reason": pl.String,
    }
    table = pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)
    group = table["group"].to_numpy()
    statuses = Statuses.of(table["reason"])
    flags = {
        "few_members": table["n_members"].to_numpy() // 2 < FEW_MEMBERS,
        "few_instances": table["n_kept"].to_numpy() < FEW_INSTANCES,
        "missing_values": ((encoded.n_missing + encoded.n_nan) > 0)[group],
        "mixed_config": np.full(table.height, "config" in encoded.joined),
        "unmatched": table["n_unmatched"].to_numpy() > 0,
    }
    return encoded.groups.select(encoded.by)[group].with_columns(
        *(table[name] for name in ("keep", "measure", *_COUNTS)),
        *(result_column(name, table[name].fill_null(np.nan).to_numpy()) for name in _NUMBERS),
        table["n_splits"],
        table["n_unmatched"],
        statuses.column(),
        flag_lists(flags, table.height),
        pl.lit(text).alias("signature"),
    )
