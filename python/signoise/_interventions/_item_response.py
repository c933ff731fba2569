"""The verb `item_response`: how hard instances are, how well they tell runs apart, and how able the runs are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._duplicates import Duplicates
from .._instances import Instances, load_last_instances
from .._item_statistics import FEW_RUNS
from .._options import as_columns, check_choice, check_count, check_threads, signature
from .._scores import Filter, Scores
from .._status import Statuses, check_strict, flag_lists, result_column
from ._right_wrong import MODELS, PRIORS, Answers, ItemModel, answers_of, chances

Floats = NDArray[np.float64]


def item_response(
    scores: Scores,
    *,
    model: Literal["2pl", "1pl"] = "2pl",
    per: Literal["item", "run"] = "item",
    priors: Literal["weak", "none"] = "weak",
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    order: str = "tokens",
    max_iterations: int = 500,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Fit a logistic item response model to right and wrong answers.

    ``P(right) = 1 / (1 + exp(-a (theta - b)))``: a the discrimination and b the difficulty of the instance, theta the
    ability of the run, standard normal over runs.

    Parameters
    ----------
    scores, by, where, columns, duplicates, strict, threads
        As in `snr`; instance rows are needed, with scores of 0 and 1. The last checkpoint of each run is taken.
    model
        ``"2pl"``, or ``"1pl"``: all instances of a group share one discrimination.
    per
        A row for each instance, or for each run.
    priors
        ``"weak"``: log a has standard deviation 0.5 and b one of 2, about centres that are estimated. ``"none"``:
        maximum likelihood, with a of either sign, for hundreds of runs.
    order
        Column that says which checkpoint is the last; where a run lacks it, ``step``.
    max_iterations
        Of the EM algorithm, which stops when no a or a b changes by more than 1e-5.

    Returns
    -------
    DataFrame
        Per item: by-columns, ``instance_id``; ``n_runs`` that have a score of it, ``p_correct``, their mean;
        ``discrimination, discrimination_stderr, difficulty, difficulty_stderr``. Per run: by-columns, ``run, step``;
        ``n_items`` it has a score of, ``p_correct``, their mean; ``ability`` and ``ability_sd``, mean and standard
        deviation of its posterior; ``expected_score``, the mean over all instances of the group of the probability to
        be right at that ability. Then ``status, flags, signature``.

    Undefined when
        Fewer than 2 runs in the group, or a run without any score (``too_few``). The algorithm did not converge
        (``not_converged``). With ``priors="none"``: all runs have the instance right, or wrong (``constant``), or its
        likelihood has no maximum (``at_bound``: a grows without end where an instance divides the runs cleanly).

    Notes
    -----
    Marginal maximum likelihood (or posterior, with priors) by EM; abilities are summed over a lattice fine enough for
    the narrowest of them. The priors float: their centres follow the data, so that the abilities' standard normal sets
    the scale however many instances there are. With few runs discriminations are mostly their prior (flag
    ``few_members`` below 10 runs): 12 runs cannot tell 40,000 of them. Under weak priors a is positive: an instance
    that better runs fail has a small one; `item_statistics` has the sign. Standard errors come from the observed
    information of each instance (with its prior) as if the others were known; the discrimination of a 1PL has none.
    The model takes answers of a run for independent given its ability.

    References
    ----------
    Bock and Aitkin 1981, "Marginal maximum likelihood estimation of item parameters", Psychometrika 46; Mislevy 1986,
    "Bayes modal estimation in item response models", Psychometrika 51 (priors); Baker and Kim 2004, "Item response
    theory" (log a with 0.5, as other packages have it; 2 for b is ours, and wide); Liu, Rubin and Wu 1998, "Parameter
    expansion to accelerate EM", Biometrika 85; Louis 1982, JRSS B 44.

    Examples
    --------
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=1, recipes=12, params=(1e9,), checkpoints=1, instances=50, item_noise=0.3)
    >>> scores = scores.with_columns(value=(scores["value"] > 0.5).cast(float))
    >>> items = sn.item_response(scores)
    >>> items.sort("p_correct")["difficulty"].head(1).item() > items.sort("p_correct")["difficulty"].tail(1).item()
    True
    >>> sn.item_response(scores, per="run").height
    12
    """
    check_choice("model", model, MODELS)
    check_choice("per", per, ("item", "run"))
    check_choice("priors", priors, tuple(PRIORS))
    check_count("max_iterations", max_iterations)
    check_threads(threads)
    loaded = load_last_instances(
        scores,
        verb="item_response",
        by=as_columns(by),
        where=where,
        order=order,
        columns=columns,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    how = ItemModel(model, priors, max_iterations, threads)
    parts = [_group(answers, how, per) for answers in answers_of(loaded, "item_response")]
    text = signature("item_response", model=model, per=per, priors=priors, order=order)
    result = (_per_item if per == "item" else _per_run)(loaded, pl.concat(parts), text)
    keys = [*loaded.by, "instance_id" if per == "item" else "run"]
    check_strict(result, keys, strict=strict)
    return result


_ITEM_NUMBERS = ("discrimination", "discrimination_stderr", "difficulty", "difficulty_stderr")
_RUN_NUMBERS = ("ability", "ability_sd", "expected_score")


def _group(answers: Answers, how: ItemModel, per: str) -> pl.DataFrame:
    """Parameters of one group; NaN where undefined, with the reason."""
    x = answers.scores
    few = len(x) < 2
    fit = how.fit(x)
    lost = few or not fit["converged"]
    with np.errstate(all="ignore"):
        there = ~np.isnan(x)
        along = 0 if per == "item" else 1
        n = there.sum(axis=along)
        share = np.where(there, x, 0.0).sum(axis=along) / n
    reason = np.full(len(n), "too_few" if few else "not_converged" if lost else "ok", dtype=object)
    if per == "item":
        labels = {"instance_id": answers.items}
        numbers = {name: fit[name] for name in _ITEM_NUMBERS}
        if not lost:
            constant = np.isnan(fit["difficulty"])
            reason[constant], reason[fit["at_bound"]] = "constant", "at_bound"
    else:
        labels = {"side": answers.sides}
        numbers = {
            "ability": fit["ability"],
            "ability_sd": fit["ability_sd"],
            "expected_score": _expected(x, fit),
        }
    undefined = reason != "ok"
    numbers = {name: np.where(undefined, np.nan, values) for name, values in numbers.items()}
    return pl.DataFrame(
        {**labels, "n": n.astype(np.int64), "p_correct": share, **numbers, "reason": reason.astype(str)}
    ).with_columns(pl.lit(answers.group).alias("group"))


def _expected(x: Floats, fit: Mapping[str, Any]) -> Floats:
    """Mean chance over instances; one without parameters counts with its share of right answers."""
    with np.errstate(all="ignore"):
        p = chances(fit["ability"], fit["discrimination"], fit["difficulty"])
        share = np.nanmean(x, axis=0)
    return np.where(np.isnan(p), share, p).mean(axis=1)


def _per_item(loaded: Instances, found: pl.DataFrame, text: str) -> pl.DataFrame:
    groups = loaded.labels.group_by("group", *loaded.by, maintain_order=True).agg(
        (pl.col("n_missing") + pl.col("n_nan")).sum().alias("left_out"), pl.len().alias("n_members")
    )
    labels = found.select(pl.col("group").cast(groups.schema["group"])).join(
        groups, on="group", maintain_order="left"
    )
    return pl.DataFrame(
        [
            *(labels[name] for name in loaded.by),
            found["instance_id"],
            found["n"].alias("n_runs"),
            found["p_correct"],
            *(result_column(name, found[name].to_numpy()) for name in _ITEM_NUMBERS),
            *_end(loaded, found["reason"], labels),
        ]
    ).with_columns(pl.lit(text).alias("signature"))


def _per_run(loaded: Instances, found: pl.DataFrame, text: str) -> pl.DataFrame:
    labels = loaded.labels.with_columns(
        (pl.col("n_missing") + pl.col("n_nan")).alias("left_out"), pl.len().over("group").alias("n_members")
    )
    keys = {"group": labels.schema["group"], "side": labels.schema["side"]}
    # A run without any score is in the labels alone.
    rows = labels.select(*keys).join(
        found.with_columns(pl.col(name).cast(dtype) for name, dtype in keys.items()),
        on=list(keys),
        how="left",
        maintain_order="left",
    )
    shown = [name for name in ("run", "step") if name not in loaded.by]
    return pl.DataFrame(
        [
            *(labels[name] for name in (*loaded.by, *shown)),
            rows["n"].fill_null(0).alias("n_items"),
            rows["p_correct"],
            *(result_column(name, rows[name].fill_null(np.nan).to_numpy()) for name in _RUN_NUMBERS),
            *_end(loaded, rows["reason"].fill_null("too_few"), labels),
        ]
    ).with_columns(pl.lit(text).alias("signature"))


def _end(loaded: Instances, reasons: pl.Series, labels: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """Statuses and flags."""
    statuses = Statuses.of(reasons)
    flags = {
        "missing_values": labels["left_out"].to_numpy() > 0,
        "mixed_config": np.full(labels.height, "config" in loaded.joined),
        "few_members": labels["n_members"].to_numpy() < FEW_RUNS,
    }
    return statuses.column(), flag_lists(flags, labels.height)
