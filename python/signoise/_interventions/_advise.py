"""The verb `advise`: what to do about a suite of benchmarks, and nothing that its scores do not show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import polars as pl

from .._adjust import adjusted
from .._duplicates import Duplicates
from .._errors import OptionError
from .._options import as_columns, check_choice, check_count, check_level, check_seed, signature
from .._scores import Filter, Groups, Scores, warn_notes
from .._status import check_strict
from .._told import Told
from ._advice_findings import Finding, Settings, findings
from ._advice_source import LABELS, Suite, open_suite
from ._advice_words import ORDER, sentence
from ._metric_table import primary_in_words


def advise(
    scores: Scores,
    *,
    per: Literal["advice", "question"] = "advice",
    primary: str | Mapping[str, str] | None = None,
    small: Filter = None,
    target: Filter = None,
    match: str | Sequence[str] | None = None,
    across: str | Sequence[str] = "run",
    where: Filter = None,
    score: Literal["final", "mean"] = "final",
    window: int = 5,
    useful: float = 0.8,
    instances: bool = True,
    choices: bool = True,
    n_splits: int = 20,
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
    """What to do about these benchmarks, in ranked sentences, each with the effect measured where it was not chosen.

    Every benchmark is asked: does it order members better than a coin; does another metric, a part of its subtasks or
    an average of checkpoints do better; are its instances too many or too few; do seeds matter. Each question is asked
    once, of the verb that answers it out of sample, and there is advice only where the answer excludes no effect.

    Parameters
    ----------
    scores, where, window, order, groups, columns, duplicates, strict, threads
        As in `snr`. Tasks of a group become its subtasks.
    per
        ``"advice"``: rows to act upon; ``"question"``: everything that was asked, the evidence table.
    primary, choices
        As in `compare_metrics`: the metric that counts, and metrics of choices computed from dumps.
    small, target, match
        As in `decision_accuracy`. Default: two sizes that share recipes, else early against late training; without
        either benchmarks are judged at one scale, by what their checkpoints say.
    across
        What a member of the population is at one scale.
    score
        What decides: the last checkpoint, or the mean of the last `window`.
    useful
        Decision accuracy (or probability) that makes a benchmark worth its compute: it is advised against where the
        interval holds one half and ends below this.
    instances
        Use instance rows where there are any (of files all of them are held in memory).
    n_splits
        Random halves of each cross-fitted choice.
    direction
        ``{"metric": "higher" | "lower"}`` for metrics that are not known.
    confidence_level
        Of ``low, high``; 1 less it is the error of each family of tests.
    rng_seed
        Of splits and draws.

    Returns
    -------
    DataFrame
        ``rank`` (null where nothing is advised); ``task, metric, config, filter``; ``action``: ``do_not_use,
        switch_metric, filter_subtasks, drop`` (tasks, from the suite's average: task ``suite``), ``fewer_instances,
        average_checkpoints, add_instances, add_seeds, keep``; ``choice`` (metric, subtasks, tasks, window, number);
        ``advice``, the sentence; ``measure`` of the effect; ``effect, low, high``; ``effect_in_sample``, what it looks
        like on the scores that chose it; ``p_value``, ``p_adjusted`` within its ``family``; ``cost``, change of the
        suite's evaluation compute as a share of it (negative saves); ``n_members, status, evidence`` (signature of the
        verb behind the numbers), ``signature``.

        Measures: ``decision_accuracy`` (a share, or a gain of it); ``expected_accuracy``, the probability that one
        checkpoint orders two members as their true scores do; ``snr``, a gain as difference of natural logarithms;
        ``share_of_instances`` that keeps 95 % of the decision accuracy above one half; ``lost_with_fewer``, what of
        that is lost with about half of the instances; ``share_of_noise`` that lies between seeds.

    Undefined when
        As the verbs behind: `decision_accuracy`, `choose_metric`, `filtering_gain`, `choose_window`, `sample_size`,
        `variance`, whose ``status`` this is.

    Warns
    -----
    DroppedRowsWarning, MixedKeyWarning
        As the verbs do, each once.

    Notes
    -----
    Tests are adjusted by Holm's method in three families: whether benchmarks are better than a coin; all selections
    (metrics, subtasks, tasks), so that where no selection helps one is advised in at most 5 % of suites; and averages
    of checkpoints. Numbers of instances, seeds, and advice against a benchmark rest on their intervals alone. Each gain
    is that of choosing on half of the members; ``choice`` is what all of them choose.

    ``cost`` counts evaluations, not training: a task weighs by its instances, or equally where some task does not know
    their number. Averaging k checkpoints takes k - 1 more evaluations, and more instances or seeds as many again.

    "Do not use" is about this scale, these members and this metric: no member of this population can be told from
    another by it. It is silent where the interval is too wide to say so; ask for more members then.

    References
    ----------
    Holm 1979, Scand. J. Statistics 6. The share of suites with a false claim is measured by
    ``benches/study_advice.py``.

    Examples
    --------
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=2, recipes=24, signal=[0.05, 0.0], step_noise=0.005)
    >>> sn.advise(scores).select("rank", "task", "action").rows()
    [(1, 'task-01', 'do_not_use'), (2, 'task-00', 'keep')]
    """
    check_choice("per", per, ("advice", "question"))
    check_choice("score", score, ("final", "mean"))
    check_count("window", window)
    check_count("n_splits", n_splits, 2)
    check_level(confidence_level)
    check_seed(rng_seed)
    if not isinstance(useful, (int, float)) or isinstance(useful, bool) or not 0.5 < useful <= 1:
        raise OptionError(f"useful must be an accuracy above 0.5 (a coin) and up to 1, got {useful!r}")
    settings = Settings(
        window=window,
        score=score,
        order=order,
        across=as_columns(across),
        n_splits=n_splits,
        rng_seed=rng_seed,
        level=confidence_level,
        useful=useful,
        direction=direction,
        duplicates=duplicates,
        threads=threads,
    )
    # Many verbs look at the same table, and would say the same of it.
    told = Told()
    with told.listen():
        suite = open_suite(
            scores,
            primary=primary,
            small=small,
            target=target,
            match=match,
            across=across,
            where=where,
            instances=instances,
            choices=choices,
            direction=direction,
            order=order,
            groups=groups,
            columns=columns,
            duplicates=duplicates,
            strict=strict,
            threads=threads,
        )
        warn_notes(suite.notes)
        found = findings(suite, settings)
    told.repeat()
    text = signature(
        "advise",
        primary=primary_in_words(primary),
        small=suite.sides.get("small"),
        target=suite.sides.get("target"),
        match=suite.sides.get("match"),
        across=None if suite.sides else settings.across,
        score=score,
        window=window,
        useful=useful,
        n_splits=n_splits,
        rng=rng_seed,
        order=order,
        adjust="holm",
        level=confidence_level,
    )
    table = _table(found, suite, 1 - confidence_level).with_columns(pl.lit(text).alias("signature"))
    check_strict(table, ["task", "action"], strict=strict)
    return table.filter(pl.col("rank").is_not_null()) if per == "advice" else table


def _table(found: Sequence[Finding], suite: Suite, alpha: float) -> pl.DataFrame:
    families = sorted({finding.family for finding in found})
    p = np.array([np.nan if finding.p_value is None else finding.p_value for finding in found], dtype=float)
    tested = np.array([finding.family != "" for finding in found], dtype=bool)
    family = np.array([families.index(finding.family) for finding in found], dtype=np.intp)
    corrected = adjusted(np.where(tested, p, np.nan), "holm", family)
    advised = [
        _holds(finding, value, alpha) for finding, value in zip(found, corrected.tolist(), strict=True)
    ]
    rows = [
        {name: finding.label[name] for name in LABELS}
        | {
            "action": finding.action,
            "choice": finding.choice,
            "advice": sentence(finding, suite.member) if holds else None,
            "measure": finding.measure,
            "effect": finding.effect,
            "low": finding.low,
            "high": finding.high,
            "effect_in_sample": finding.in_sample,
            "p_value": finding.p_value,
            "p_adjusted": None if np.isnan(value) else value,
            "family": finding.family or None,
            "cost": finding.cost,
            "n_members": finding.n_members,
            "status": finding.status,
            "evidence": finding.evidence,
            "__advised": holds,
            "__order": ORDER.index(finding.action),
            "__distance": _distance(finding),
        }
        for finding, holds, value in zip(found, advised, corrected.tolist(), strict=True)
    ]
    table = pl.DataFrame(rows, schema=_SCHEMA).sort(
        pl.col("__advised").not_(),
        "__order",
        -pl.col("__distance"),
        "task",
        "config",
        "filter",
        nulls_last=True,
    )
    rank = pl.when(pl.col("__advised")).then(pl.int_range(1, pl.len() + 1, dtype=pl.Int64)).alias("rank")
    return table.select(rank, pl.exclude("^__.*$"))


_SCHEMA: dict[str, type[pl.DataType]] = {
    **dict.fromkeys((*LABELS, "action", "choice", "advice", "measure"), pl.String),
    **dict.fromkeys(("effect", "low", "high", "effect_in_sample", "p_value", "p_adjusted"), pl.Float64),
    "family": pl.String,
    "cost": pl.Float64,
    "n_members": pl.Int64,
    "status": pl.String,
    "evidence": pl.String,
    "__advised": pl.Boolean,
    "__order": pl.Int64,
    "__distance": pl.Float64,
}


def _holds(finding: Finding, p_adjusted: float, alpha: float) -> bool:
    """Whether the interval excludes no effect on the side that is advised, and the family's tests allow it."""
    if finding.low is None or finding.high is None or finding.effect is None:
        return False
    if finding.action == "do_not_use":
        return finding.high < finding.excludes
    if finding.action == "fewer_instances":
        return finding.high < finding.excludes
    if finding.family and not p_adjusted <= alpha:
        return False
    # A choice of what is already there is none.
    return finding.low > finding.excludes and (finding.choice is not None or finding.action == "keep")


def _distance(finding: Finding) -> float:
    """How far the nearer limit lies from no effect: what the advice is worth at least."""
    if finding.low is None or finding.high is None:
        return 0.0
    upwards = finding.action not in ("do_not_use", "fewer_instances")
    return finding.low - finding.excludes if upwards else finding.excludes - finding.high
