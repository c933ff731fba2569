"""The verb `pass_until`: pass rates of items that are sampled until they succeed, and how these grow with scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._bootstrap_replicates import Plan, intervals
from .._duplicates import Duplicates
from .._errors import OptionError, SchemaError
from .._options import as_columns, check_choice, check_count, check_level, check_seed, signature
from .._scores import Filter, Scores
from .._status import Statuses, check_strict, flag_lists, result_column
from ._draws import sample_flags, sample_of
from ._pass_until_laws import (
    LawPlan,
    law_groups,
    law_rows,
    prediction_rows,
    scale_column,
)
from ._samples import RepeatedSamples, load_repeated
from ._scale_laws import log_log
from ._stopped import Estimator, Tried, pass_rates, replayed

Floats = NDArray[np.float64]

#: Column that says which items were ended by the budget.
_CENSORED = "censored"
#: Items with some successes but fewer than required, all of them ending on one: so many are no accident.
_ENDING = 5
#: Items whose samples were stopped early differ from all of them: so many must for a comparison, and standard errors
#: from 0 that their mean must be for the order not to be random.
_ENOUGH_APART, _FAR = 20, 4.0


def pass_until(
    scores: Scores,
    *,
    required: int = 2,
    budget: int | None = None,
    estimator: Estimator = "unbiased",
    per: Literal["run", "law", "prediction"] = "run",
    scale: str = "params",
    predict: Sequence[float] = (),
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    order: str = "tokens",
    cluster: str | None = None,
    confidence_level: float = 0.95,
    n_resamples: int = 1000,
    n_refits: int = 200,
    rng_seed: int = 0,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Pass rate of items that are sampled until the r-th success or until a budget is spent, and its law of scale.

    Parameters
    ----------
    scores
        As in `snr`: instance rows with `repeat` and scores of 0 and 1 (a store, lists of outcomes), of which as many as
        the rule asks for are taken in the order of `repeat`; or a row for each item with its ``trials`` and
        ``successes`` under the rule, optionally ``censored`` (true where the budget ended them).
    where, columns, duplicates, strict, threads
        As in `snr`.
    required
        Successes r that end the sampling of an item.
    budget
        Trials that end it at the latest. Default: what is there of each item.
    estimator
        ``"unbiased"``: (r - 1)/(K - 1) of an item that succeeded for the r-th time in trial K (r = 1: 1 if K = 1, else
        0), s/N of one with s successes when the budget of N trials was spent. ``"mle"``: r/K and s/N, too high by about
        r/(r - 1) where pass rates are low.
    per
        What a row is: ``"run"``, a pass rate; ``"law"``, a group of runs along `scale`; ``"prediction"``, a group and a
        scale in `predict`.
    scale
        Column of N: ``"params"``, ``"flops"``, ``"tokens"`` or another number above 0 of each run.
    predict
        Scales to predict at, in the unit of `scale`.
    by, order, cluster
        As in `bootstrap`.
    confidence_level
        Of all limits.
    n_resamples
        Draws of items.
    n_refits
        Simulated tables behind `p_value`, and draws of items with another fit of the mixture behind its limits.
    rng_seed
        Of all draws.

    Returns
    -------
    DataFrame
        For ``per="run"`` a row for each run: ``run, step``, by-columns; `scale` where the table has it; ``n_items``,
        ``n_stopped`` (by their r-th success), ``n_trials`` in all; ``pass_until``, the mean over items, ``stderr, low,
        high``; ``log_log`` = ln(-ln pass_until) with ``log_log_low, log_log_high``; ``n_missing, n_nan``.

        For ``per="law"`` a row for each group, on the items that all its runs have: ``n_runs``, ``n_at_bound`` of them
        (pass rate 0 or 1, no part of the task law), ``n_items, n_unmatched``. The task law PU(N) = exp(-c N^-alpha), a
        least-squares line through ``log_log``: ``alpha, alpha_low, alpha_high, log_c``. ``curvature`` of ``log_log``
        against ln N with ``curvature_low, curvature_high`` (negative: accelerating), and ``curvature_mixture``, what
        differences between items alone make of it. The instance law, one alpha and any distribution of c over items:
        ``instance_alpha, instance_alpha_low, instance_alpha_high``. The test of emergence: ``z`` (positive:
        accelerating) and ``p_value``.

        For ``per="prediction"`` a row for each group and scale: the pass rate by ``task_law``, by ``ipu`` (a law fitted
        to each item on its own, then averaged) and by ``mixture`` (the instance law), each with ``_low, _high``;
        ``scale_ratio`` to the largest observed scale.

        Last ``status, flags, signature``.

    Undefined when
        Fewer than 2 items (limits), fewer than 2 scales with a pass rate inside (0, 1) (laws) or 3 (curvature), fewer
        than 3 scales at all (test) (``too_few``). The pass rate is 0 or 1 (``at_bound``: ``log_log`` is infinite, and
        limits would claim that the rate is known exactly), or the exponent of the mixture ended at its bound. All
        items have one rate (``constant``). All samples are there, and the first ones are right so much more often, or
        less, that their order cannot be random (``order_not_random``, more than 4 standard errors; numbers stay).
        Limits of a law need 95 % of draws in which it is defined.

    Raises
    ------
    SchemaError
        For scores that are not 0 and 1, samples that were stopped earlier than the rule says, no column `scale`.
    OptionError
        For options that cannot be used.

    Notes
    -----
    The estimator is unbiased for any pass rate, budget and r: it is the share of the possible orders of an item's
    trials that begin with a success. It needs the rule to be the one that stopped the sampling, or all samples: rows
    that end at the first success cannot be replayed for the second. Default r = 2: with r = 1 an item is 0 or 1. The
    order of `repeat` must be that of sampling: some dumps sort samples by how frequent they are. Where all of a fixed
    number of samples are there, `pass_at_k` with k = 1 uses them all and is better.

    Differences between items bend the curve of their mean although every item follows its straight law: ``log_log``
    is then concave, as if scaling accelerated. The test therefore is against the mixture: ``z`` is the score test of a
    bend that all items share, standardised, and ``p_value`` the share of tables at least as accelerating among
    `n_refits` simulated under the fitted mixture, the same rule and budget, each fitted again (the smallest is
    1/(n_refits + 1)). Its null has one alpha: where alpha differs between items the test errs on the safe side.
    Simulated size and power, and errors of the three predictions, are in docs/tries.md.

    Limits of pass rates are BCa limits over draws of items (flags ``few_instances`` below 50, ``skewed``,
    ``percentile_fallback``), of laws and predictions percentiles over draws of items that all runs share; runs are the
    given ones.

    References
    ----------
    Hu et al. 2024, "Predicting emergent abilities with infinite resolution evaluation", arXiv 2310.03262; Girshick,
    Mosteller and Savage 1946, "Unbiased estimates for certain binomial sampling problems", Annals of Mathematical
    Statistics 17.

    Examples
    --------
    >>> import polars as pl
    >>> import signoise as sn
    >>> tried = pl.DataFrame(
    ...     {"run": "a", "task": "code", "instance_id": ["1", "2", "3"], "trials": [5, 2, 100], "successes": [2, 2, 1]}
    ... )
    >>> table = sn.pass_until(tried)
    >>> table.select("n_stopped", pl.col("pass_until").round(4)).row(0)
    (2, 0.42)
    """
    check_count("required", required)
    if budget is not None:
        check_count("budget", budget)
    check_choice("estimator", estimator, ("unbiased", "mle"))
    check_choice("per", per, ("run", "law", "prediction"))
    check_level(confidence_level)
    check_count("n_resamples", n_resamples, 2)
    check_count("n_refits", n_refits, 2)
    check_seed(rng_seed)
    scales = _targets(predict, per)
    loaded = load_repeated(
        scores,
        who="pass_until",
        by=as_columns(by),
        where=where,
        order=order,
        cluster=cluster,
        of_items=(scale, _CENSORED),
        columns=columns,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    tried = _tried(loaded, required, budget)
    rates = pass_rates(tried.successes, tried.trials, required, estimator)
    text = signature(
        "pass_until",
        per=per,
        required=required,
        budget=budget,
        estimator=estimator,
        scale=None if per == "run" else scale,
        order=order,
        cluster=cluster,
        level=confidence_level,
        n_resamples=n_resamples,
        n_refits=None if per == "run" else n_refits,
        rng=rng_seed,
    )
    if per == "run":
        plan = Plan("mean", None, None, "bca", n_resamples, rng_seed, confidence_level, threads)
        result, key = _run_rows(loaded, tried, rates, required, scale, plan), loaded.labels.columns
    else:
        laws = LawPlan(required, budget, scale, n_resamples, n_refits, rng_seed, confidence_level, threads)
        groups = law_groups(loaded, tried, rates, laws)
        key = groups.key
        if per == "law":
            result = law_rows(groups, laws)
        else:
            result, key = prediction_rows(groups, laws, scales), [*key, scale]
    result = result.with_columns(pl.lit(text).alias("signature"))
    check_strict(result, key, strict=strict)
    return result


def _targets(predict: Sequence[float], per: str) -> Floats:
    """Scales to predict at."""
    if isinstance(predict, (int, float)):
        predict = [predict]
    try:
        scales = np.asarray(list(predict), dtype=float)
    except (TypeError, ValueError):
        raise OptionError(f"predict must be scales such as (1e9, 7e9), got {predict!r}") from None
    if not (np.isfinite(scales) & (scales > 0)).all():
        raise OptionError(f"predict must be finite scales above 0, got {predict!r}")
    if (per == "prediction") != bool(len(scales)):
        raise OptionError('predict is for per="prediction", which needs it: predict=(7e9,)')
    return np.unique(scales)


def _tried(loaded: RepeatedSamples, required: int, budget: int | None) -> Tried:
    """Successes and trials of each item under the rule."""
    items = loaded.items
    given = Tried(items["c"].to_numpy(), items["n"].to_numpy())
    if loaded.rows is not None:
        sizes = given.trials
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp)
        right = loaded.rows["value"].to_numpy() == 1.0
        tried = Tried(*replayed(right, offsets, required, budget))
        _check_whole(tried, right, offsets, required)
        return tried
    censored = given.successes < required
    if _CENSORED in items.columns:
        said = items[_CENSORED].cast(pl.Boolean).fill_null(value=False).to_numpy()
        _refuse(items, ~said & censored, f"fewer than {required} successes and were not censored", required)
    _refuse(items, given.successes > required, f"more than {required} successes", required)
    if budget is not None:
        _refuse(items, given.trials > budget, f"more trials than the budget of {budget}", required)
    return given


def _refuse(items: pl.DataFrame, wrong: NDArray[np.bool_], what: str, required: int) -> None:
    if wrong.any():
        first = items["instance_id"][int(wrong.argmax())]
        raise SchemaError(
            f"{int(wrong.sum())} items, first {first!r}, have {what}: they were not sampled until {required} "
            "successes; say until how many with required=, or give rows of samples, which are stopped here "
            "(counts of a number of samples that was fixed are for pass_at_k)"
        )


def _check_whole(tried: Tried, right: NDArray[np.bool_], offsets: NDArray[np.intp], required: int) -> None:
    """Samples that were stopped at an earlier success than the required one tell a biased story of the later ones."""
    short = np.flatnonzero((tried.successes > 0) & (tried.successes < required))
    ends = offsets[:-1][short] + tried.trials[short]
    if len(short) < _ENDING or len(np.unique(tried.trials[short])) == 1 or not right[ends - 1].all():
        return
    found = int(tried.successes[short].max())
    raise SchemaError(
        f"all {len(short)} items with fewer than {required} successes end on a success: they were sampled until "
        f"{found}; say so with required={found}"
    )


def _out_of_order(loaded: RepeatedSamples, tried: Tried, required: int) -> NDArray[np.bool_]:
    """Runs whose samples, all of them there, are too far from a random order for the rule to be played back on them.

    In a random order an item's estimate and its share of all samples have one expectation.
    """
    items = loaded.items
    n, c = items["n"].to_numpy(), items["c"].to_numpy()
    goes_on = (tried.successes == required) & (n > tried.trials)
    apart = pass_rates(tried.successes, tried.trials, required, "unbiased") - c / np.maximum(n, 1)
    found = np.zeros(len(loaded), dtype=bool)
    for group, (start, end) in enumerate(pairwise(loaded.starts.tolist())):
        own = apart[start:end]
        # Where no item goes on after its last required success, sampling was stopped there: nothing to compare.
        if goes_on[start:end].any() and np.count_nonzero(own) >= _ENOUGH_APART:
            found[group] = abs(own.mean()) > _FAR * own.std(ddof=1) / np.sqrt(len(own))
    return found


def _run_rows(
    loaded: RepeatedSamples, tried: Tried, rates: Floats, required: int, scale: str, plan: Plan
) -> pl.DataFrame:
    """A row for each run."""
    parts = [slice(start, end) for start, end in pairwise(loaded.starts.tolist())]
    samples = [sample_of(loaded, group, rates) for group in range(len(loaded))]
    found = intervals(samples, plan)
    n = np.diff(loaded.starts)
    at_bound = (found.value == 0.0) | (found.value == 1.0)
    defined = np.isfinite(found.low) & np.isfinite(found.high) & ~at_bound
    low, high = (np.where(defined, limit, np.nan) for limit in (found.low, found.high))
    statuses = Statuses(len(loaded))
    statuses.set("too_few", n < 2)
    statuses.set("order_not_random", _out_of_order(loaded, tried, required))
    statuses.set("at_bound", at_bound)
    statuses.set("constant", found.constant & ~at_bound)
    flags = sample_flags(loaded, np.arange(len(loaded)), samples, found)
    stopped = tried.successes >= required
    return loaded.labels.with_columns(
        *([] if scale in loaded.labels.columns else scale_column(loaded, scale)),
        pl.Series("n_items", n, dtype=pl.Int64),
        *(
            pl.Series(name, [int(values[part].sum()) for part in parts], dtype=pl.Int64)
            for name, values in (("n_stopped", stopped), ("n_trials", tried.trials))
        ),
        *(
            result_column(name, values)
            for name, values in (
                *(("pass_until", found.value), ("stderr", found.stderr), ("low", low), ("high", high)),
                *(
                    ("log_log", log_log(found.value)),
                    ("log_log_low", log_log(high)),
                    ("log_log_high", log_log(low)),
                ),
            )
        ),
        *loaded.counts,
        statuses.column(),
        flag_lists(flags, len(loaded)),
    )
