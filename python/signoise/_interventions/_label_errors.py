"""The verb `label_errors`: what would the ranking be without the instances whose label is wrong?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._adjust import Method
from .._decisions import FEW_MEMBERS
from .._duplicates import Duplicates
from .._errors import OptionError, SchemaError
from .._instance_cells import open_instances
from .._instance_intervals import FEW_INSTANCES, instance_addresses
from .._intervals import quantile_at
from .._metrics import lookup
from .._options import as_columns, check_choice, check_count, check_level, check_seed, signature
from .._scores import Filter, Scores, warn_notes
from .._status import Statuses, check_strict, flag_lists, metric_of, result_column
from ._instance_marks import Marks, open_marks
from ._item_scores import ItemScores, ItemStudy
from ._metric_differences import agreement, agreement_difference
from ._part_means import FEW_IN_PART
from ._with_instances import open_with_instances
from ._wrong_labels import Draws, WrongLabels

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


_COUNTS = ("n_members", "n_instances", "n_errors")
_RANKING = (
    *("tau", "tau_low", "tau_high", "order_kept", "order_kept_low", "order_kept_high"),
    *(
        "n_pairs",
        "n_reordered",
        "n_reordered_clearly",
        "flip_prevalence",
        "flip_low",
        "flip_high",
        "next_flip",
    ),
)
_DECISIONS = (
    *("decision_accuracy_original", "decision_accuracy"),
    *("difference", "low", "high", "instance_low", "instance_high"),
)
_RUN = (
    "score_original",
    "score",
    "difference",
    "stderr",
    "low",
    "high",
    "rank_original",
    "rank",
    "rank_change",
)
_PAIR = (
    *("difference_original", "difference", "low", "high", "change", "change_low", "change_high"),
    *("p_value", "p_adjusted", "reordered", "flip_prevalence", "flip_low", "flip_high", "flip"),
)
#: Of all rows, as a table without rows needs to know.
_COMMON: dict[str, Any] = {
    **dict.fromkeys(("group", *_COUNTS, "n", "n_unmatched", "member", "member_b"), pl.Int64),
    "version": pl.String,
    "reason": pl.String,
    "clustered": pl.Boolean,
}
_WHOLE = {"n_pairs", "n_reordered", "n_reordered_clearly", "rank_original", "rank", "rank_change"}


def label_errors(
    scores: Scores,
    *,
    errors: pl.DataFrame | pl.LazyFrame | str | os.PathLike[str] | Any,
    corrected: Scores | None = None,
    unchecked: Literal["right", "leave_out"] = "right",
    per: Literal["task", "run", "pair"] = "task",
    small: Filter = None,
    target: Filter = None,
    match: str | Sequence[str] | None = None,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    across: str | Sequence[str] = "run",
    score: Literal["final", "mean"] = "final",
    window: int = 5,
    cluster: str | None = None,
    adjust: Method = "holm",
    direction: Mapping[str, str] | None = None,
    order: str = "tokens",
    confidence_level: float = 0.95,
    n_resamples: int = 1000,
    rng_seed: int = 0,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Rank runs again without the instances whose label is wrong, or with their labels corrected.

    Parameters
    ----------
    scores, by, where, order, columns, duplicates, strict, threads
        As in `snr`; instance rows or a store are needed.
    errors
        Instances whose label is wrong, a frame or the path of a table: ``task`` (and ``subtask``), ``instance_id``.
        With a column ``wrong`` of true and false it lists what was checked, and the true ones are the errors.
    corrected
        Scores under the corrected labels of these instances: a score table with the rows of `scores` again, same runs,
        metric and key. Wrong instances without a corrected score of every run are left out of the corrected version.
    unchecked
        Instances that `errors` does not list: ``"right"``, or ``"leave_out"`` of everything, where it lists what was
        checked.
    per
        What a row is: a ``"task"``, a ``"run"`` or a ``"pair"`` of runs.
    small, target, match
        As in `decision_accuracy`, for ``per="task"``: the decision accuracy with and without the wrong labels.
    across
        What a member is, without `small` and `target`.
    score, window
        Of a member: its ``"final"`` checkpoint, or the ``"mean"`` of its last `window`.
    cluster
        As in `bootstrap`: which instances depend on each other.
    adjust
        Of `p_adjusted`, for the number of pairs of a group and version, as in `compare`.
    direction
        ``{"metric": "higher" | "lower"}`` for metrics that are not known.
    confidence_level
        Of all limits.
    n_resamples, rng_seed
        Of the draws of instances; all versions and metrics of a task share them.

    Returns
    -------
    DataFrame
        A row for each group, ``version`` (``"pruned"``: wrong instances left out; ``"corrected"``) and what `per` says:
        by-columns, ``version, n_members, n_instances, n_errors`` of these, ``n`` in the version, ``prevalence``
        (n_errors/n_instances), ``ceiling`` (1 - prevalence: what a perfect model scores by the given labels; null for
        metrics that are no share of right answers). Then

        - for a task ``tau`` (Kendall's b) between the original ranking and the new one, ``order_kept`` (share of pairs
          of runs in the same order, a pair tied in one of them one half), each with ``_low, _high``; ``n_pairs``,
          ``n_reordered`` of them whose order is another, ``n_reordered_clearly`` where `p_adjusted` says so too;
          ``flip_prevalence``, the smallest of the pairs, with that pair's ``flip_low, flip_high``, and ``next_flip``,
          the smallest above `prevalence`;
        - for a task with `small` and `target` ``decision_accuracy_original, decision_accuracy``, their paired
          ``difference`` with limits over members ``low, high`` and over instances ``instance_low, instance_high``;
        - for a run ``score_original, score``, their paired ``difference`` with ``stderr, low, high``; ``rank_original,
          rank`` (1 is best, equals share the best), ``rank_change`` (positive: up);
        - for a pair (`across` columns ending ``_a, _b``) ``difference_original`` a - b, ``difference`` in the version
          with ``low, high``; ``change`` between these with ``change_low, change_high, p_value, p_adjusted``;
          ``reordered``; ``flip_prevalence`` with ``flip_low, flip_high``, and ``flip``, which says ``crosses`` or why
          there is none (``same_order``, ``tied``, ``no_errors``).

        Last ``n_unmatched`` (instances that only some runs have, left out), ``status, flags, signature``.

    Undefined when
        No instances are shared, or the version has none (``too_few``), or fewer than 2 members where pairs are asked
        for; the score is no mean with one weight an instance (``not_a_mean``: perplexities). Limits need 2 instances,
        those of `flip_prevalence` 2 with a right and 2 with a wrong label.

    Raises
    ------
    UnknownMetricError
        Where a metric's direction is not known.
    SchemaError, OptionError, DuplicateKeyError
        For tables or options that cannot be used.

    Notes
    -----
    **Prevalence of flips.** Were a share N of the labels wrong, and wrong ones like those at hand, a run would score
    ``(1 - N) clean + N wrong``, its means on instances with a right and with a wrong label. (The source raises N by
    leaving out instances with a right label at random: this is the expectation.) Two runs change places at
    ``N = c/(c - w)``, c and w their differences on both parts, if that lies in [0, 1]: below `prevalence`, the given
    labels have them in the wrong order already. Version ``corrected`` scores the wrong part by the corrected labels: it
    is what the runs would be worth if more instances were like these. Limits are Fieller's, all N at which the
    difference is not told from 0 (t, as many degrees of freedom as the smaller part has): they may exist without a
    crossing. The smallest of many crossings is smaller than it is in truth: look at its limits, per pair.

    **Intervals.** All speak of other instances like these, in clusters if they come so, except ``low, high`` of a
    decision accuracy's difference (other members, as in `compare_metrics`). Of runs and pairs: t, first order. Of
    ``tau`` and ``order_kept``: estimate -+ z standard deviations over draws of instances that both rankings share; with
    both limits at the estimate no draw changed an order. The limits of a run's difference rest on `n_errors` instances:
    flag ``few_instances`` below 10.

    Simulated coverage at 95 %: of ``flip_low, flip_high`` .95 to .96, of ``change_low, change_high`` .95 to .97 (80
    wrong of 400 instances, 20 of 1,000), of a run's ``low, high`` .98 to .99, as the number of wrong labels was given
    there; two runs whose difference does not change were told to in .05 (30 wrong of 300) and .00 of tables (6 wrong).

    Subtasks are groups of their own. To rank by all instances of a task alike, put the subtask into ``instance_id`` of
    scores and errors and leave the column out.

    That a label is wrong is taken for granted. Errors found by models that disagree with the label (confident learning)
    favour models like those; have people check them.

    References
    ----------
    Northcutt, Athalye, Mueller 2021, "Pervasive label errors in test sets destabilize machine learning benchmarks",
    arXiv 2103.14749, section 5; Fieller 1954, JRSS B 16:175.

    Examples
    --------
    >>> import polars as pl
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=["quiz"], recipes=4, params=(1e9,), checkpoints=1, instances=200)
    >>> wrong = pl.DataFrame({"task": "quiz", "instance_id": scores["instance_id"].unique().sort().head(10)})
    >>> table = sn.label_errors(scores, errors=wrong)
    >>> table.select("version", "n_instances", "n_errors", "n", "ceiling").row(0)
    ('pruned', 200, 10, 190, 0.95)
    """
    check_choice("unchecked", unchecked, ("right", "leave_out"))
    check_choice("per", per, ("task", "run", "pair"))
    check_choice("score", score, ("final", "mean"))
    check_choice("adjust", adjust, ("holm", "bonferroni", "bh", "by", "none"))
    check_count("window", window)
    check_count("n_resamples", n_resamples, 2)
    check_level(confidence_level)
    check_seed(rng_seed)
    sided = small is not None or target is not None
    if sided and per != "task":
        raise OptionError(f'small and target are for per="task", got per={per!r}')
    marks = open_marks(errors, "errors", ("wrong",), default=1.0, yes_or_no=True)
    if unchecked == "leave_out" and marks.values.all():
        raise OptionError(
            'unchecked="leave_out" needs errors to list what was checked, but all that it lists is wrong; add the rows '
            "that are right with a column wrong of true and false"
        )
    opened = open_with_instances(
        scores,
        small=small,
        target=target,
        match=match,
        across=across,
        by=as_columns(by),
        where=where,
        order=order,
        cluster=cluster,
        columns=columns,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    study = ItemStudy(opened, score, window, threads)
    relabelled = None
    if corrected is not None:
        _, _, source = open_instances(
            corrected,
            columns=columns,
            where=None,
            use=[],
            cluster="instance_id",
            duplicates=duplicates,
            strict=strict,
            threads=threads,
            who="corrected holds scores of instances",
        )
        relabelled = study.beside(source)
    signs = study.signs(direction)
    units = instance_addresses(study.study.encoded)
    tally = _Tally()
    versions = ("pruned",) if corrected is None else ("pruned", "corrected")
    rows: list[pl.DataFrame] = []
    with np.errstate(all="ignore"):
        for found in _marked(study, marks, relabelled, tally, leave_out=unchecked == "leave_out"):
            group = found.given.group
            draws = Draws(int(units[group]), n_resamples, rng_seed, confidence_level, threads)
            own = [float(side[group]) for side in signs]
            for version in versions:
                if per == "task":
                    rows.append(_task_row(found, version, own, draws, adjust, sided=sided))
                elif per == "run":
                    rows.append(_run_rows(found, version, own[0], confidence_level))
                else:
                    rows.append(_pair_rows(found, version, confidence_level, adjust))
    lost = marks.left_out(strict=strict)
    warn_notes([*([] if corrected is None else tally.notes()), *([lost] if lost else [])], stacklevel=3)
    text = signature(
        "label_errors",
        per=per,
        unchecked=unchecked,
        small=small,
        target=target,
        match=study.study.members if sided else None,
        across=None if sided else study.study.members,
        score=score,
        window=window if score == "mean" else None,
        order=order,
        cluster=cluster,
        adjust=adjust,
        level=confidence_level,
        n_resamples=n_resamples,
        rng=rng_seed,
    )
    result = _result(study, pl.concat(rows, how="diagonal_relaxed"), per, text, sided=sided)
    ends = {"task": [], "run": list(study.study.members), "pair": [f"{m}_a" for m in study.study.members]}[
        per
    ]
    check_strict(result, [*study.study.encoded.by, "version", *ends], strict=strict)
    return result


@dataclass
class _Tally:
    """What became of the corrected scores."""

    taken: int = 0
    unasked: int = 0

    def notes(self) -> list[str]:
        """What to tell of them; an error where none was of use."""
        if not self.taken:
            raise SchemaError(
                "corrected has no score of a wrong instance that all runs share; its rows need the run, step, task, "
                "metric and instance_id of those that they correct"
            )
        if not self.unasked:
            return []
        return [f"corrected: {self.unasked} instances that errors does not call wrong were left out"]


def _marked(
    study: ItemStudy, marks: Marks, relabelled: Iterator[ItemScores] | None, tally: _Tally, *, leave_out: bool
) -> Iterator[WrongLabels]:
    """Each group with its wrong labels."""
    labels = study.labels(("task", "subtask")).to_dicts()
    for whole in study.groups():
        second = None if relabelled is None else next(relabelled)
        mark = marks.of(labels[whole.group], whole.items)
        kept = ~np.isnan(mark) if leave_out else np.ones(len(mark), dtype=bool)
        found, mark = whole.keeping(kept), mark[kept]
        wrong = mark == 1.0
        corrected, replaced = None, np.zeros(len(wrong), dtype=bool)
        if second is not None:
            corrected, replaced, more = _with_corrections(found, wrong, second)
            tally.taken += int(replaced.sum())
            tally.unasked += more
        yield WrongLabels(found, wrong, corrected, replaced)


def _with_corrections(
    found: ItemScores, wrong: Mask, second: ItemScores
) -> tuple[tuple[Floats, ...], Mask, int]:
    """Scores with those under corrected labels in place, where these are, and how many were not asked for."""
    if second.reason != "ok" or not len(found.items):
        return found.sides, np.zeros(len(wrong), dtype=bool), 0
    place = (
        found.items.to_frame("item")
        .join(
            second.items.to_frame("item").with_row_index("at"), on="item", how="left", maintain_order="left"
        )["at"]
        .cast(pl.Int64)
        .fill_null(-1)
        .to_numpy()
    )
    replaced = wrong & (place >= 0)
    sides = []
    for side, corrected in zip(found.sides, second.sides, strict=True):
        values = side.copy()
        values[:, replaced] = corrected[:, place[replaced]]
        sides.append(values)
    return tuple(sides), replaced, int(((place >= 0) & ~wrong).sum())


def _common(found: WrongLabels, version: str, rows: int) -> dict[str, Any]:
    given = found.given
    return {
        "group": [given.group] * rows,
        "version": [version] * rows,
        "n_members": [len(given.members)] * rows,
        "n_instances": [len(given.items)] * rows,
        "n_errors": [int(found.wrong.sum())] * rows,
        "n": [found.n(version)] * rows,
        "n_unmatched": [given.n_unmatched] * rows,
        "clustered": [given.clustered] * rows,
        "reason": [_reason(found, version)] * rows,
    }


def _reason(found: WrongLabels, version: str) -> str:
    if found.given.reason == "ok" and (not found.n(version) or not len(found.given.members)):
        return "too_few"
    return found.given.reason


def _task_row(
    found: WrongLabels, version: str, signs: list[float], draws: Draws, adjust: Method, *, sided: bool
) -> pl.DataFrame:
    columns = _common(found, version, 1)
    if columns["reason"][0] == "ok" and columns["n_members"][0] < 2:
        columns["reason"] = ["too_few"]
    if columns["reason"][0] == "ok":
        numbers = (
            _decisions(found, version, signs, draws) if sided else _ranking(found, version, draws, adjust)
        )
        columns |= {name: [value] for name, value in numbers.items()}
    return pl.DataFrame(columns, schema_overrides=_COMMON)


def _ranking(found: WrongLabels, version: str, draws: Draws, adjust: Method) -> dict[str, Any]:
    observed, drawn = found.agreement(version, draws)
    pairs = found.pairs(version, draws.level, adjust)
    clearly = pairs.reordered & (pairs.p_adjusted <= 1 - draws.level)
    flip = pairs.flip
    out: dict[str, Any] = {"n_pairs": len(pairs.change)}
    estimates = (
        ("tau", observed.tau, drawn.tau, -1.0),
        ("order_kept", observed.kept, drawn.kept, 0.0),
    )
    for name, value, replicates, least in estimates:
        margin = _z(draws.level) * float(np.std(replicates, ddof=1))
        estimate = float(value[0])
        low, high = max(estimate - margin, least), min(estimate + margin, 1.0)
        out |= {name: estimate, f"{name}_low": low, f"{name}_high": high}
    out |= {"n_reordered": int(pairs.reordered.sum()), "n_reordered_clearly": int(clearly.sum())}
    if np.isfinite(flip.share).any():
        first = int(np.nanargmin(flip.share))
        prevalence = found.wrong.sum() / len(found.wrong)
        above = flip.share[flip.share > prevalence]
        out |= {
            "flip_prevalence": float(flip.share[first]),
            "flip_low": float(flip.low[first]),
            "flip_high": float(flip.high[first]),
            "next_flip": float(above.min()) if len(above) else np.nan,
        }
    return out


def _decisions(found: WrongLabels, version: str, signs: list[float], draws: Draws) -> dict[str, Any]:
    def agree(name: str) -> Any:
        one, other = (
            np.round(sign * found.scores(name, side)[None, :], 12) for side, sign in enumerate(signs)
        )
        return agreement(one, other, np.ones(one.shape, dtype=bool), "half", draws.threads)

    before, after = agree("original"), agree(version)
    difference, low, high = agreement_difference(after, before, draws.level)
    if not found.wrong.any():  # whoever the members are
        low = high = difference
    both = (signs[0], signs[1])
    drawn = found.decisions(version, both, draws) - found.decisions("original", both, draws)
    margin = _z(draws.level) * float(np.std(drawn, ddof=1))
    return {
        "decision_accuracy_original": float(before.estimate[0]),
        "decision_accuracy": float(after.estimate[0]),
        "difference": float(difference[0]),
        "low": float(low[0]),
        "high": float(high[0]),
        "instance_low": max(float(difference[0]) - margin, -1.0),
        "instance_high": min(float(difference[0]) + margin, 1.0),
    }


def _z(level: float) -> float:
    return float(quantile_at("t_quantile", (1 + level) / 2, np.array([np.inf]))[0])


def _run_rows(found: WrongLabels, version: str, sign: float, level: float) -> pl.DataFrame:
    columns = _common(found, version, len(found.given.members))
    columns["member"] = found.given.members
    if _reason(found, version) == "ok":
        runs = found.runs(version, sign, level)
        columns |= {
            "score_original": runs.original,
            "score": runs.score,
            "difference": runs.score - runs.original,
            "stderr": runs.stderr,
            "low": runs.low,
            "high": runs.high,
            "rank_original": runs.rank_original,
            "rank": runs.rank,
            "rank_change": runs.rank_original - runs.rank,
        }
    return pl.DataFrame(columns, schema_overrides=_COMMON)


def _pair_rows(found: WrongLabels, version: str, level: float, adjust: Method) -> pl.DataFrame:
    first, second = np.triu_indices(len(found.given.members), 1)
    columns = _common(found, version, len(first))
    columns |= {"member": found.given.members[first], "member_b": found.given.members[second]}
    if _reason(found, version) != "ok":
        return pl.DataFrame(columns, schema_overrides=_COMMON)
    pairs = found.pairs(version, level, adjust)
    crosses = np.isfinite(pairs.flip.share)
    why = "no_errors" if not found.wrong.any() else "same_order"
    tied = ~crosses & (pairs.difference_clean == 0) & found.wrong.any()
    columns |= {
        "difference_original": pairs.original,
        "difference": pairs.difference,
        "low": pairs.low,
        "high": pairs.high,
        "change": pairs.change,
        "change_low": pairs.change_low,
        "change_high": pairs.change_high,
        "p_value": pairs.p_value,
        "p_adjusted": pairs.p_adjusted,
        "reordered": pairs.reordered,
        "flip_prevalence": pairs.flip.share,
        "flip_low": pairs.flip.low,
        "flip_high": pairs.flip.high,
        "flip": np.where(crosses, "crosses", np.where(tied, "tied", why)).tolist(),
    }
    return pl.DataFrame(columns, schema_overrides=_COMMON)


def _result(study: ItemStudy, table: pl.DataFrame, per: str, text: str, *, sided: bool) -> pl.DataFrame:
    encoded = study.study.encoded
    group = table["group"].to_numpy()
    keys = encoded.groups.select(encoded.by)[group]
    names = {"task": _DECISIONS if sided else _RANKING, "run": _RUN, "pair": _PAIR}[per]
    statuses = Statuses.of(table["reason"])
    n, n_errors = table["n"].to_numpy(), table["n_errors"].to_numpy()
    flags = {
        "few_instances": (n < FEW_INSTANCES) | ((n_errors > 0) & (n_errors < FEW_IN_PART)),
        "missing_values": ((encoded.n_missing + encoded.n_nan) > 0)[group],
        "mixed_config": np.full(table.height, "config" in encoded.joined),
        "clustered": table["clustered"].to_numpy(),
        "unmatched": table["n_unmatched"].to_numpy() > 0,
    }
    if per == "task":
        flags["few_members"] = table["n_members"].to_numpy() < FEW_MEMBERS
    with np.errstate(all="ignore"):
        prevalence = n_errors / table["n_instances"].to_numpy()
    shares = np.array([_is_share(metric) for metric in metric_of(encoded.groups)], dtype=bool)[group]
    members = encoded.members.select(study.study.members)
    labels = []
    if per != "task":
        ends = {"member": ""} if per == "run" else {"member": "_a", "member_b": "_b"}
        labels = [
            members[table[column].to_numpy()][name].alias(f"{name}{end}")
            for column, end in ends.items()
            for name in members.columns
            if f"{name}{end}" not in keys.columns
        ]
    return keys.with_columns(
        table["version"],
        *labels,
        *(table[name] for name in (*_COUNTS, "n")),
        result_column("prevalence", prevalence),
        result_column("ceiling", np.where(shares, 1 - prevalence, np.nan)),
        *(_number(table, name) for name in names),
        table["n_unmatched"],
        statuses.column(),
        flag_lists(flags, table.height),
        pl.lit(text).alias("signature"),
    )


def _number(table: pl.DataFrame, name: str) -> pl.Series:
    if name in ("reordered", "flip"):
        dtype: Any = pl.Boolean if name == "reordered" else pl.String
    else:
        dtype = pl.Int64 if name in _WHOLE else pl.Float64
    if name not in table.columns:
        return pl.Series(name, [None] * table.height, dtype=dtype)
    column = table[name].cast(dtype)
    if dtype != pl.Float64:
        return column
    return result_column(name, column.fill_null(np.nan).to_numpy())


def _is_share(metric: str | None) -> bool:
    """Whether a perfect model scores 1 on every instance and 0 where the label is wrong."""
    known = None if metric is None else lookup(metric)
    return (
        known is not None
        and known.aggregate == "mean"
        and known.direction == "higher"
        and (known.low, known.high) == (0.0, 1.0)
    )
