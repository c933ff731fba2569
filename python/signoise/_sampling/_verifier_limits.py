"""The verb `verifier_limits`: what resampling until an imperfect verifier passes can reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._bootstrap_replicates import Found, Plan, intervals, too_few
from .._bootstrap_samples import Sample
from .._duplicates import Duplicates
from .._errors import OptionError, SchemaError
from .._judged import Which, which_rows
from .._options import as_columns, check_choice, check_count, check_level, check_seed, signature
from .._schema import KEY
from .._scores import Filter, Scores, collect, open_filtered, warn_notes
from .._status import Statuses, check_strict, flag_lists, result_column
from ._draws import item_counts, sample_flags, sample_of
from ._pass_at_k import checked_tries
from ._samples import RepeatedSamples, load_repeated
from ._verifier import Estimator, correct_share, outcomes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: The verifier's verdict beside the score of a sample.
_PASSES = "__passes"


def verifier_limits(
    scores: Scores,
    *,
    passes: Which,
    correct: Which | None = None,
    k: int | Sequence[int] | None = None,
    per: Literal["k", "optimum"] = "k",
    wrong_cost: float = 0.0,
    try_cost: float = 0.0,
    estimator: Estimator = "unbiased",
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    order: str = "tokens",
    cluster: str | None = None,
    n_resamples: int = 1000,
    confidence_level: float = 0.95,
    rng_seed: int = 0,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Success, false positives and cost of sampling until an imperfect verifier passes, at most K times.

    Parameters
    ----------
    scores
        As in `snr`; rows of samples (``repeat``) with scores of 0 and 1 are needed.
    where, columns, duplicates, strict, threads
        As in `snr`.
    passes
        The verifier's verdict of each sample: a metric, a filter of its rows (``"task = 'humaneval'"``), or a column of
        0 and 1 beside the score.
    correct
        The truth: a metric or a filter of its rows (``"task = 'humaneval+'"``). Needed unless `passes` is a column;
        then the scores that `where` leaves.
    k
        Numbers of tries K. Default: 1, 2, 5 and 10, as far as there are samples. For ``per="optimum"`` the last K of
        the scan; default: the smallest number of samples of an item.
    per
        What a row is: a run and ``"k"``, or the ``"optimum"`` of a run.
    wrong_cost, try_cost
        What an incorrect sample that passes and each try cost, a correct one being worth 1 (lambda and kappa).
    estimator
        ``"unbiased"``, for K up to the number of samples of an item. ``"plug_in"``: observed rates taken for the true
        ones, for any K; biased: too little success, too much abstention and too many tries.
    by, order, cluster
        As in `bootstrap`. Columns that `correct` and `passes` speak of do not join samples; those of `correct` label
        the result.
    n_resamples, confidence_level, rng_seed
        Of the draws of items.

    Returns
    -------
    DataFrame
        A row for each run (and K): ``run, step``, by-columns; ``n_items``, ``n_passing`` of them with a sample that
        passes, ``n_samples_min`` of an item. For ``per="k"``: ``k, success, false_positive, abstention`` (they add to
        1), ``expected_tries, utility`` = success - wrong_cost false_positive - try_cost expected_tries, each with
        ``_low, _high``. For ``per="optimum"``: ``best_k``, the number of tries of highest utility (0: better not to
        try), with ``best_k_low, best_k_high``; ``utility`` there with ``utility_low, utility_high``; ``ceiling``, the
        success that no number of tries exceeds, with ``ceiling_low, ceiling_high``; ``precision``, the mean share of
        correct samples among those that pass, over items with such, with ``precision_low, precision_high``. Last
        ``n_missing, n_nan, status, flags, signature``.

    Undefined when
        Some item has fewer than K samples (``too_few_samples``, unless ``estimator="plug_in"``). Fewer than 2 items
        (``too_few``: limits null), equal values of all items (``constant``: limits null). Utility that is highest at
        the last K scanned (``at_bound``: more tries may be better; ``best_k`` is the first K of that utility, its
        limits null).

    Raises
    ------
    SchemaError
        For scores without samples, verdicts that are not 0 and 1, roles that no row has.
    OptionError
        For roles that overlap or mean several scores of one sample, and other options that cannot be used.

    Notes
    -----
    With p the probability that a sample of an item is correct and passes and f that it is incorrect and passes, K tries
    return a correct one with probability p (1 - (1-p-f)^K)/(p+f), which never exceeds p/(p+f): more tries find what
    passes, not what is correct. An item with p = f = 0 returns nothing, after K tries. Numbers are means over items:
    formulas of mean p and f would be wrong, as hard items have more false positives.

    Unbiased estimates: of all orders of an item's n samples, of which a pass correctly and b incorrectly, the first K
    are rejected in ``C(n-a-b, K)/C(n, K)``; else the first to pass is correct in a/(a+b) of them. ``a/(a+b)`` is
    unbiased for p/(p+f) among items with a pass. Of an item without one nothing is known: ``ceiling`` takes such items
    to return nothing for ever, so that the limit lies between it and ``ceiling + (n_items - n_passing)/n_items``.

    Limits are BCa limits over draws of items; of the optimum percentiles over draws, each with its own best K. The
    utility at the best K of the same data is too high by the choice, by little, as neighbouring K share their samples.
    Samples with a score or a verdict alone are left out, with a warning. Flags: ``few_instances`` (fewer than 50
    items), ``few_clusters``, ``skewed``, ``percentile_fallback``, ``missing_values``, ``mixed_config``.

    References
    ----------
    Stroebl, Kapoor, Narayanan 2024, "Inference scaling fLaws: the limits of LLM resampling with imperfect verifiers",
    arXiv 2411.17501.

    Examples
    --------
    >>> import polars as pl
    >>> import signoise as sn
    >>> samples = pl.DataFrame(
    ...     {
    ...         "run": "m",
    ...         "task": "code",
    ...         "metric": "plus",
    ...         "instance_id": ["a"] * 4 + ["b"] * 4,
    ...         "repeat": [0, 1, 2, 3] * 2,
    ...         "value": [1, 0, 0, 1, 0, 0, 0, 0],
    ...         "base": [1, 0, 1, 1, 1, 0, 0, 0],
    ...     }
    ... )
    >>> table = sn.verifier_limits(samples, passes="base", k=(1, 4))
    >>> table.select("k", "success", "false_positive", "abstention", "expected_tries").rows()
    [(1, 0.25, 0.25, 0.5, 1.0), (4, 0.3333333333333333, 0.6666666666666667, 0.0, 1.875)]
    """
    check_choice("per", per, ("k", "optimum"))
    check_choice("estimator", estimator, ("unbiased", "plug_in"))
    for name, value in (("wrong_cost", wrong_cost), ("try_cost", try_cost)):
        if not np.isfinite(value) or value < 0:
            raise OptionError(f"{name} must be a finite number of at least 0, got {value!r}")
    tries = None if k is None else checked_tries(k)
    if per == "optimum" and tries is not None and len(tries) > 1:
        raise OptionError(f'per="optimum" takes the last K of its scan as k, one number, got {k!r}')
    check_level(confidence_level)
    check_count("n_resamples", n_resamples, 2)
    check_seed(rng_seed)
    paired = _paired(scores, correct, passes, where, columns, strict=strict)
    loaded = load_repeated(
        paired,
        who="verifier_limits",
        by=as_columns(by),
        where=None,
        order=order,
        cluster=cluster,
        use=(_PASSES,),
        columns=None,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    tried = _Tried.of(loaded)
    plan = Plan("mean", None, None, "bca", n_resamples, rng_seed, confidence_level, threads)
    costs = (float(wrong_cost), float(try_cost))
    if per == "k":
        chosen = tried.usual_tries(loaded) if tries is None else tries
        result, key = _rows_by_k(loaded, tried, chosen, estimator, costs, plan), ["k"]
    else:
        result, key = _optima(loaded, tried, None if tries is None else tries[0], estimator, costs, plan), []
    text = signature(
        "verifier_limits",
        per=per,
        correct=correct,
        passes=passes,
        wrong_cost=wrong_cost,
        try_cost=try_cost,
        estimator=estimator,
        order=order,
        cluster=cluster,
        level=confidence_level,
        n_resamples=n_resamples,
        rng=rng_seed,
    )
    result = result.with_columns(pl.lit(text).alias("signature"))
    check_strict(result, [*loaded.labels.columns, *key], strict=strict)
    return result


# --- samples with a verdict ----------------------------------------------------------------------


def _paired(
    scores: Scores,
    correct: Which | None,
    passes: Which,
    where: Filter,
    columns: Mapping[str, str] | None,
    *,
    strict: bool,
) -> pl.DataFrame:
    """Rows of the truth, with the verdict of each sample beside its score."""
    frame, schema = open_filtered(scores, columns, where, strict=strict)
    if isinstance(passes, str) and passes in schema:
        truth = frame if correct is None else frame.filter(which_rows(correct, "correct", schema))
        rows = collect(truth.with_columns(pl.col(passes).cast(pl.Float64).alias(_PASSES)))
        if not rows.height:
            raise SchemaError(f"no rows are left of where={where!s} and correct={correct!s}")
    elif correct is None:
        raise OptionError(
            "passes means rows, so that correct must say which rows hold the truth (a metric or a filter); or name the "
            "column with the verdict beside each score"
        )
    else:
        rows = _joined(frame, {"correct": correct, "passes": passes}, schema)
    verdict = rows[_PASSES].fill_nan(None)
    if not verdict.drop_nulls().is_in([0.0, 1.0]).all():
        wrong = verdict.filter(verdict.is_not_null() & ~verdict.is_in([0.0, 1.0]))
        raise SchemaError(f"passes: verdicts are 0 or 1, got {wrong[0]}")
    if verdict.null_count():
        warn_notes([f"{verdict.null_count()} samples without a verdict were left out"], stacklevel=4)
    return rows.filter(verdict.is_not_null())


def _joined(frame: pl.LazyFrame, roles: Mapping[str, Which], schema: pl.Schema) -> pl.DataFrame:
    """Rows of the truth joined with those of the verifier, on all of the key that the roles do not speak of."""
    masks = {name: which_rows(which, name, schema) for name, which in roles.items()}
    named = {root for mask in masks.values() for root in mask.meta.root_names()}
    if "instance_id" in schema:
        frame = frame.filter(pl.col("instance_id").is_not_null())
    both = collect(frame.filter(masks["correct"] | masks["passes"]))
    if both.select((masks["correct"] & masks["passes"]).any()).item():
        raise OptionError("correct and passes both mean some rows; a row is either the truth or the verdict")
    sides = {name: both.filter(mask) for name, mask in masks.items()}
    for name, side in sides.items():
        if not side.height:
            raise SchemaError(
                f"{name}: no row of a sample is {roles[name]!s}; look at the values of {', '.join(sorted(named))}"
            )
    on = [name for name in KEY if name in schema and name not in named]
    verdicts = sides["passes"].select(*on, pl.col("value").alias(_PASSES)).unique()
    if verdicts.select(on).is_duplicated().any():
        raise OptionError(
            f'passes means several verdicts of one sample; say which one, e.g. passes="{roles["passes"]} AND ..", or '
            "number the samples in a column repeat"
        )
    rows = sides["correct"].join(verdicts, on=on, how="inner", nulls_equal=True, maintain_order="left")
    if not rows.height:
        raise SchemaError(
            f"no sample has a score and a verdict that agree on {', '.join(on)}; name in correct and passes what tells "
            "them apart"
        )
    alone = sides["correct"].height - rows.height, verdicts.height - rows.select(on).n_unique()
    if any(alone):
        warn_notes(
            [f"{alone[0]} scores without a verdict and {alone[1]} verdicts without a score were left out"], 4
        )
    return rows


class _Tried:
    """Samples of each item, and how many pass correctly and incorrectly."""

    def __init__(self, n: Ints, right: Ints, wrong: Ints) -> None:
        self.n = n
        self.right = right
        self.wrong = wrong

    @classmethod
    def of(cls, loaded: RepeatedSamples) -> _Tried:
        """Of rows of samples."""
        if loaded.rows is None:
            raise SchemaError(
                "verifier_limits needs rows of samples; counts of right ones do not say which pass"
            )
        item, count = loaded.rows["item"].to_numpy(), loaded.items.height
        value, passed = loaded.rows["value"].to_numpy(), loaded.rows[_PASSES].to_numpy()
        right, wrong = (
            np.bincount(item, weights=passed * of, minlength=count).astype(np.int64)
            for of in (value, 1 - value)
        )
        return cls(loaded.items["n"].to_numpy(), right, wrong)

    def usual_tries(self, loaded: RepeatedSamples) -> list[int]:
        """1, 2, 5 and 10, as far as some run has samples."""
        most = max(int(loaded.sizes(group).min()) for group in range(len(loaded)) if len(loaded.sizes(group)))
        return [k for k in (1, 2, 5, 10) if k <= most]


# --- tables --------------------------------------------------------------------------------------


def _rows_by_k(
    loaded: RepeatedSamples,
    tried: _Tried,
    tries: Sequence[int],
    estimator: Estimator,
    costs: tuple[float, float],
    plan: Plan,
) -> pl.DataFrame:
    """A row for each run and K."""
    found = outcomes(tried.n, tried.right, tried.wrong, tries, estimator)
    statistics = {
        "success": found.success,
        "false_positive": found.false_positive,
        "abstention": found.abstention,
        "expected_tries": found.tries,
        "utility": found.utility(*costs),
    }
    groups = np.repeat(np.arange(len(loaded)), len(tries))
    columns: dict[str, Any] = {}
    constant = np.ones(len(groups), dtype=bool)
    for name, values in statistics.items():
        samples = [sample_of(loaded, group, row) for group in range(len(loaded)) for row in values.T]
        limits = intervals(samples, plan)
        columns |= _with_limits(name, limits)
        constant &= limits.constant
        if name == "success":
            flags = sample_flags(loaded, groups, samples, limits)
            few = np.array([too_few(sample) for sample in samples], dtype=bool)
    short = [(loaded.sizes(group) < k).any() for group in range(len(loaded)) for k in tries]
    statuses = Statuses(len(groups))
    statuses.set("too_few", few)
    statuses.set("too_few_samples", np.array(short, dtype=bool) & (estimator == "unbiased"))
    statuses.set("constant", constant)
    return _labelled(loaded, tried, groups).with_columns(
        pl.Series("k", list(tries) * len(loaded), dtype=pl.Int64),
        *(result_column(name, values) for name, values in columns.items()),
        *loaded.counts[groups],
        statuses.column(),
        flag_lists(flags, len(groups)),
    )


def _optima(
    loaded: RepeatedSamples,
    tried: _Tried,
    largest: int | None,
    estimator: Estimator,
    costs: tuple[float, float],
    plan: Plan,
) -> pl.DataFrame:
    """A row for each run."""
    groups = np.arange(len(loaded))
    share = correct_share(tried.right, tried.wrong)
    ceilings = [sample_of(loaded, group, share) for group in groups.tolist()]
    ceiling = intervals(ceilings, plan)
    passing = np.where(tried.right + tried.wrong > 0, share, np.nan)
    precision = intervals([_present(loaded, group, passing) for group in groups.tolist()], plan)
    best = [
        _best(loaded, group, sample, tried, largest, estimator, costs, plan)
        for group, sample in zip(groups.tolist(), ceilings, strict=True)
    ]
    columns = {name: np.array([one[name] for one in best], dtype=float) for name in _BEST}
    statuses = Statuses(len(groups))
    statuses.set("too_few", np.array([too_few(sample) for sample in ceilings], dtype=bool))
    statuses.set("too_few_samples", np.array([one["short"] for one in best], dtype=bool))
    statuses.set("at_bound", np.array([one["at_bound"] for one in best], dtype=bool))
    statuses.set("constant", ceiling.constant & np.isnan(columns["utility_low"]))
    return _labelled(loaded, tried, groups).with_columns(
        *(
            pl.Series(name, [None if np.isnan(x) else int(x) for x in columns[name]], dtype=pl.Int64)
            for name in _BEST[:3]
        ),
        *(result_column(name, columns[name]) for name in _BEST[3:]),
        *(
            result_column(name, x)
            for name, x in (_with_limits("ceiling", ceiling) | _with_limits("precision", precision)).items()
        ),
        *loaded.counts,
        statuses.column(),
        flag_lists(sample_flags(loaded, groups, ceilings, ceiling), len(groups)),
    )


_BEST = ("best_k", "best_k_low", "best_k_high", "utility", "utility_low", "utility_high")


def _best(
    loaded: RepeatedSamples,
    group: int,
    sample: Sample,
    tried: _Tried,
    largest: int | None,
    estimator: Estimator,
    costs: tuple[float, float],
    plan: Plan,
) -> dict[str, Any]:
    """The number of tries of highest utility of a run, on all of its items and on draws of them."""
    part = slice(*loaded.starts[group : group + 2].tolist())
    sizes = loaded.sizes(group)
    row: dict[str, Any] = {**dict.fromkeys(_BEST, np.nan), "short": False, "at_bound": False}
    if not len(sizes):
        return row
    last = int(sizes.min()) if largest is None else largest
    if estimator == "unbiased" and last > sizes.min():
        return row | {"short": True}
    # No try at all has no utility and no cost.
    found = outcomes(tried.n[part], tried.right[part], tried.wrong[part], range(last + 1), estimator)
    values = found.utility(*costs)
    curve = values.mean(axis=0)
    # Rounding must not make the next of equal numbers the better one.
    best = curve >= curve.max() - 1e-12
    at = int(np.argmax(best))
    row |= {"best_k": at, "utility": curve[at], "at_bound": bool(best[-1])}
    if too_few(sample):
        return row
    counts = item_counts(
        np.diff(sample.members).astype(np.intp),
        int(sample.units[0]),
        plan.n_resamples,
        plan.rng_seed,
        plan.threads,
    )
    drawn = counts @ values / counts.sum(axis=1, keepdims=True)
    highest = drawn.max(axis=1)
    ends = 100 * np.array([1 - plan.level, 1 + plan.level]) / 2
    row["utility_low"], row["utility_high"] = np.percentile(highest, ends)
    if not row["at_bound"]:
        places = np.argmax(drawn >= highest[:, None] - 1e-12, axis=1)
        row["best_k_low"], row["best_k_high"] = np.percentile(places, ends, method="inverted_cdf")
    return row


def _present(loaded: RepeatedSamples, group: int, values: Floats) -> Sample:
    """The items of a group that have a value."""
    whole = sample_of(loaded, group, values)
    there = np.isfinite(whole.values)
    cluster = np.repeat(np.arange(len(whole.members) - 1), np.diff(whole.members).astype(np.intp))[there]
    sizes = np.unique(cluster, return_counts=True)[1]
    members = np.concatenate([[0], np.cumsum(sizes)]).astype(np.uintp)
    strata = np.array([0, len(sizes)], dtype=np.uintp)
    return replace(whole, values=whole.values[there], members=members, strata=strata)


def _labelled(loaded: RepeatedSamples, tried: _Tried, groups: NDArray[np.intp]) -> pl.DataFrame:
    """Labels and counts of rows."""
    passing = tried.right + tried.wrong > 0
    n_items = np.diff(loaded.starts)
    n_passing = [int(passing[start:end].sum()) for start, end in pairwise(loaded.starts.tolist())]
    sizes = [loaded.sizes(group) for group in range(len(loaded))]
    return loaded.labels[groups].with_columns(
        pl.Series("n_items", n_items[groups], dtype=pl.Int64),
        pl.Series("n_passing", n_passing, dtype=pl.Int64)[groups],
        pl.Series("n_samples_min", [int(own.min()) if len(own) else None for own in sizes], dtype=pl.Int64)[
            groups
        ],
    )


def _with_limits(name: str, found: Found) -> dict[str, Floats]:
    """A statistic and its limits, which one half of is never shown."""
    defined = np.isfinite(found.low) & np.isfinite(found.high)
    low, high = (np.where(defined, limit, np.nan) for limit in (found.low, found.high))
    return {name: found.value, f"{name}_low": low, f"{name}_high": high}
