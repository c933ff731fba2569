"""The verb `anchor_items`: few instances that stand for all, and whether they beat random ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._addresses import group_addresses
from .._duplicates import Duplicates
from .._instances import Instances, load_last_instances
from .._item_statistics import FEW_RUNS
from .._kernels import kernels
from .._options import (
    as_columns,
    check_choice,
    check_count,
    check_level,
    check_seed,
    check_threads,
    signature,
)
from .._scores import Filter, Scores
from .._status import Statuses, check_strict, flag_lists, result_column
from ._anchors import ESTIMATORS, Draws, Fitted, Held, held_out
from ._jackknife import jackknife_stderr, t_margin
from ._right_wrong import MODELS, Answers, ItemModel, answers_of

Floats = NDArray[np.float64]

#: Fewest runs: two in each half of those that a fold leaves.
_FEWEST = 5


def anchor_items(
    scores: Scores,
    *,
    n_anchors: int = 100,
    model: Literal["2pl", "1pl"] = "2pl",
    per: Literal["estimator", "item"] = "estimator",
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    order: str = "tokens",
    n_folds: int = 5,
    n_resamples: int = 100,
    confidence_level: float = 0.95,
    rng_seed: int = 0,
    max_iterations: int = 500,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Choose anchor instances by an item response model, and compare them with random ones on other runs.

    Parameters
    ----------
    scores, by, where, columns, duplicates, strict, threads
        As in `snr`; instance rows are needed, with scores of 0 and 1. The last checkpoint of each run is taken.
    n_anchors
        Instances to choose; fewer where fewer of them differ (all that few runs answered alike are one to the model).
    model, max_iterations
        As in `item_response`, with its weak priors.
    per
        ``"estimator"``: errors on runs that were held out. ``"item"``: the anchors chosen on all runs.
    order
        Column that says which checkpoint is the last; where a run lacks it, ``step``.
    n_folds
        Parts of the runs, each held out once: model and anchors come from the others.
    n_resamples
        Random subsets, of as many instances as there are anchors.
    confidence_level
        Of the limits, over runs.
    rng_seed
        Of folds, starts of the clusters and random subsets.

    Returns
    -------
    DataFrame
        Per estimator, eight rows for each group: by-columns; ``n_runs``, ``n_instances`` that all of them have,
        ``n_anchors`` found (fewest of a fold); ``subset`` (``anchors``, ``random``) and ``estimator`` of a run's score
        on all instances: ``mean`` (anchors weighted by the size of their clusters), ``irt``, ``p_irt``, ``gp_irt``;
        ``error``, the mean over runs of the absolute error, with ``error_low, error_high``; ``error_sd`` between random
        subsets; ``gain``, the error of the mean of random subsets less this one, with ``gain_low, gain_high``;
        ``decision_accuracy`` (share of pairs of runs ordered as by all instances, ties one half), with
        ``decision_accuracy_low, decision_accuracy_high`` and ``decision_accuracy_sd`` between random subsets;
        ``n_unmatched`` instances that some run lacks, left out; ``status, flags, signature``. Numbers of random subsets
        are means over them. Per item, a row for each anchor: by-columns, ``instance_id``, ``weight`` (share of the
        instances in its cluster), ``n_runs, p_correct, discrimination, difficulty``.

    Undefined when
        Fewer than 5 runs, or no more instances than `n_anchors` (``too_few``). The score is no plain mean of instances
        (``not_a_mean``). The model did not converge (``not_converged``). Limits are null where all runs err alike, the
        gain for the random mean itself, standard deviations for anchors.

    Notes
    -----
    Clusters are those of k-means on (a, a b), the best of 5 starts; the anchor of a cluster is the instance nearest to
    its centre. ``irt`` is the mean over all instances of the probability to be right at the ability that the subset
    shows; ``p_irt`` takes the answers of the subset as they are and probabilities for the rest; ``gp_irt`` mixes it
    with the mean, ``l mean + (1 - l) p_irt``, ``l = b^2 / (b^2 + v/(4 n_anchors))``: b the mean error of ``irt`` on
    half of the training runs after a fit to the other half, v the mean over runs of the variance of an answer.
    Estimates of runs in different folds come from different models, which costs some order. Limits take runs for
    independent: near copies of a run in the training folds make every estimator look better than it will be on new
    ones. For a choice that was made elsewhere see `subset_control`.

    References
    ----------
    Maia Polo et al. 2024, "tinyBenchmarks: evaluating LLMs with fewer examples", arXiv 2402.14992, sections 3 and 4;
    Madaan et al. 2024, arXiv 2406.10229, section 4.2 (chosen subsets need random ones beside them).

    Examples
    --------
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=1, recipes=12, params=(1e9,), checkpoints=1, instances=60, item_noise=0.3)
    >>> scores = scores.with_columns(value=(scores["value"] > 0.5).cast(float))
    >>> table = sn.anchor_items(scores, n_anchors=10, n_folds=3, n_resamples=5)
    >>> table["subset"].to_list()[::4], table["estimator"].to_list()[:4]
    (['anchors', 'random'], ['mean', 'irt', 'p_irt', 'gp_irt'])
    >>> sn.anchor_items(scores, n_anchors=10, per="item")["weight"].sum().__round__(9)
    1.0
    """
    check_choice("model", model, MODELS)
    check_choice("per", per, ("estimator", "item"))
    for name, value, least in (
        ("n_anchors", n_anchors, 2),
        ("n_folds", n_folds, 2),
        ("n_resamples", n_resamples, 2),
        ("max_iterations", max_iterations, 1),
    ):
        check_count(name, value, least)
    check_level(confidence_level)
    check_seed(rng_seed)
    check_threads(threads)
    loaded = load_last_instances(
        scores,
        verb="anchor_items",
        by=as_columns(by),
        where=where,
        order=order,
        columns=columns,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    groups = loaded.labels.unique("group", keep="first", maintain_order=True).select(
        "group", *loaded.by, "plain"
    )
    drawn = [name for name in ("task", "subtask", "config") if name in groups.columns]
    units = group_addresses(groups.select(drawn)) if drawn else np.zeros(groups.height, dtype=np.uint64)
    how = ItemModel(model, "weak", max_iterations, threads)
    rows: list[dict[str, Any]] = []
    for answers, place in _with_places(loaded, groups):
        known = ~np.isnan(answers.scores).any(axis=0)
        common = {
            "place": place,
            "n_runs": len(answers.scores),
            "n_instances": int(known.sum()),
            "n_unmatched": int((~known).sum()),
        }
        draws = Draws(rng_seed, int(units[place]))
        x = answers.scores[:, known]
        lost = "ok" if groups["plain"][place] else "not_a_mean"
        if lost == "ok" and (len(x) < _FEWEST or x.shape[1] <= n_anchors):
            lost = "too_few"
        if per == "item":
            own = _chosen(x, answers.items[known], n_anchors, how, draws, lost)
        else:
            folds = min(n_folds, len(x))
            own = _errors(x, n_anchors, folds, n_resamples, confidence_level, how, draws, lost)
        rows += [common | row for row in own]
    text = signature(
        "anchor_items",
        n_anchors=n_anchors,
        model=model,
        per=per,
        order=order,
        n_folds=n_folds,
        n_resamples=n_resamples,
        rng=rng_seed,
        level=confidence_level,
    )
    result = _result(loaded, groups, rows, _ITEM if per == "item" else _ESTIMATOR, text)
    keys = [*loaded.by, *(("instance_id",) if per == "item" else ("subset", "estimator"))]
    check_strict(result, keys, strict=strict)
    return result


_ESTIMATOR: dict[str, Any] = {
    "n_runs": pl.Int64,
    "n_instances": pl.Int64,
    "n_anchors": pl.Int64,
    "subset": pl.String,
    "estimator": pl.String,
    **dict.fromkeys(("error", "error_low", "error_high", "error_sd"), pl.Float64),
    **dict.fromkeys(("gain", "gain_low", "gain_high"), pl.Float64),
    **dict.fromkeys((f"decision_accuracy{end}" for end in ("", "_low", "_high", "_sd")), pl.Float64),
    "n_unmatched": pl.Int64,
}
_ITEM: dict[str, Any] = {
    "instance_id": pl.String,
    **dict.fromkeys(("weight", "p_correct", "discrimination", "difficulty"), pl.Float64),
    "n_runs": pl.Int64,
    "n_instances": pl.Int64,
    "n_unmatched": pl.Int64,
}


def _with_places(loaded: Instances, groups: pl.DataFrame) -> list[tuple[Answers, int]]:
    place = {group: at for at, group in enumerate(groups["group"].to_list())}
    return [(answers, place[answers.group]) for answers in answers_of(loaded, "anchor_items")]


def _chosen(
    x: Floats, items: NDArray[Any], k: int, how: ItemModel, draws: Draws, lost: str
) -> list[dict[str, Any]]:
    """A row for each anchor chosen on all runs; one of nulls where there are none."""
    fitted = Fitted.of(x, how) if lost == "ok" else None
    if fitted is None or not fitted.converged:
        return [{"reason": lost if fitted is None else "not_converged"}]
    anchors = fitted.anchors(k, draws)
    return [
        {
            "instance_id": str(items[item]),
            "weight": float(weight),
            "p_correct": float(fitted.share[item]),
            "discrimination": float(fitted.discrimination[item]),
            "difficulty": float(fitted.difficulty[item]),
            "reason": "ok",
        }
        for item, weight in zip(anchors.items.tolist(), anchors.weights, strict=True)
    ]


def _errors(
    x: Floats,
    k: int,
    n_folds: int,
    n_resamples: int,
    level: float,
    how: ItemModel,
    draws: Draws,
    lost: str,
) -> list[dict[str, Any]]:
    """A row for each subset and estimator."""
    held = held_out(x, k, n_folds, n_resamples, how, draws) if lost == "ok" else None
    if held is None or not held.converged:
        reason = lost if held is None else "not_converged"
        return [
            {"subset": subset, "estimator": estimator, "reason": reason}
            for subset in ("anchors", "random")
            for estimator in ESTIMATORS
        ]
    control = np.abs(held.random[0] - held.full[:, None]).mean(axis=1)
    rows = []
    for subset, found in (("anchors", held.anchors[:, :, None]), ("random", held.random)):
        for estimator, estimates in zip(ESTIMATORS, found, strict=True):
            is_control = subset == "random" and estimator == "mean"
            numbers = _numbers(held, estimates, None if is_control else control, level)
            rows.append(
                {"subset": subset, "estimator": estimator, "n_anchors": held.size, "reason": "ok", **numbers}
            )
    return rows


def _numbers(held: Held, estimates: Floats, control: Floats | None, level: float) -> dict[str, float]:
    """Errors and order of the estimates (n_runs, n_draws), with limits over runs."""
    errors = np.abs(estimates - held.full[:, None])
    agreement = _agreement(estimates, held.full)
    runs = np.arange(len(held.full))
    without = np.array([_agreement(estimates[runs != run], held.full[runs != run]).mean() for run in runs])
    out: dict[str, float] = {}
    columns = {"error": errors.mean(axis=1)}
    if control is not None:
        columns["gain"] = control - columns["error"]
    for name, column in columns.items():
        stderr = column.std(ddof=1) / np.sqrt(len(column))
        margin = _margin(stderr if stderr > 0 else np.nan, len(runs), level)
        low = column.mean() - margin
        out |= {name: column.mean(), f"{name}_low": low, f"{name}_high": column.mean() + margin}
    out["error_low"] = max(out["error_low"], 0.0)
    value, margin = agreement.mean(), _margin(float(jackknife_stderr(without)), len(runs), level)
    out["decision_accuracy"] = value
    out["decision_accuracy_low"] = float(np.maximum(value - margin, 0.0))
    out["decision_accuracy_high"] = float(np.minimum(value + margin, 1.0))
    if estimates.shape[1] > 1:
        out["error_sd"] = errors.mean(axis=0).std(ddof=1)
        out["decision_accuracy_sd"] = agreement.std(ddof=1)
    return {name: float(number) for name, number in out.items()}


def _agreement(estimates: Floats, full: Floats) -> Floats:
    """Decision accuracy of each draw, ties one half."""
    target = np.ascontiguousarray(np.broadcast_to(full[:, None], estimates.shape))
    found: Floats = kernels().agreement_columns(np.ascontiguousarray(estimates), target)
    return found


def _margin(stderr: float, n_runs: int, level: float) -> float:
    return float(t_margin(np.array([stderr]), np.array([n_runs]), level)[0])


def _result(
    loaded: Instances,
    groups: pl.DataFrame,
    rows: Sequence[Mapping[str, Any]],
    schema: Mapping[str, Any],
    text: str,
) -> pl.DataFrame:
    table = pl.DataFrame(rows, schema={"place": pl.UInt32, **schema, "reason": pl.String})
    labels = groups[table["place"]]
    statuses = Statuses.of(table["reason"])
    flags = {
        "mixed_config": np.full(table.height, "config" in loaded.joined),
        "few_members": table["n_runs"].to_numpy() < FEW_RUNS,
        "unmatched": table["n_unmatched"].to_numpy() > 0,
    }
    numbers = [
        result_column(name, table[name].fill_null(np.nan).to_numpy()) if dtype == pl.Float64 else table[name]
        for name, dtype in schema.items()
    ]
    return pl.DataFrame(
        [
            *(labels[name] for name in loaded.by),
            *numbers,
            statuses.column(),
            flag_lists(flags, table.height),
        ]
    ).with_columns(pl.lit(text).alias("signature"))
