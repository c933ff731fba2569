"""The verb `self_consistency`: how often the majority of k answers is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._addresses import MAJORITY, group_addresses, uniforms
from .._bootstrap_replicates import Plan, intervals, too_few
from .._duplicates import Duplicates
from .._errors import SchemaError
from .._options import as_columns, check_choice, check_count, check_level, check_seed, signature
from .._schema import KEY, did_you_mean
from .._scores import Filter, Scores, collect, open_filtered
from .._status import Statuses, check_strict, flag_lists, result_column
from ._draws import sample_flags, sample_of
from ._majority import Ties, Votes, majority
from ._pass_at_k import checked_tries
from ._samples import RepeatedSamples, load_repeated

Floats = NDArray[np.float64]

_ANSWER, _COUNT = "__answer", "__count"


def self_consistency(
    scores: Scores,
    *,
    k: int | Sequence[int] | None = None,
    answer: str = "answer",
    count: str | None = None,
    ties: Ties = "uniform",
    per: Literal["k", "item"] = "k",
    n_orders: int = 200,
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
    """Score of the majority vote of k sampled answers (maj@k, self-consistency), averaged over items.

    Parameters
    ----------
    scores
        As in `snr`: rows of samples (``repeat``) with scores of 0 and 1 and a column of answers; or a row for each item
        and answer, with the column `count`.
    where, columns, duplicates, strict, threads
        As in `snr`.
    k
        Numbers of samples that vote. Default: 1, 2, 4, 8 .. and all of the item with fewest.
    answer
        Column of the answers, as text that is equal where they are: ``1/2`` and ``0.5`` are two answers. A sample
        without one (null) has no vote.
    count
        Column that says how many samples of the item gave this answer.
    ties
        Between the most frequent answers: ``"uniform"``, each is chosen with the same probability; ``"half"``, a tie of
        right and wrong ones counts one half. Nothing is drawn, expectations are exact.
    per
        What a row is: a run and ``"k"``, or an ``"item"`` of a run.
    n_orders
        Random orders of the samples of items with so many samples and answers that not all subsets can be gone
        through (above 1,000 samples; answers x k^3 above 3 million).
    by, order, cluster
        As in `bootstrap`.
    n_resamples, confidence_level, rng_seed
        Of the draws of items.

    Returns
    -------
    DataFrame
        For ``per="k"`` a row for each run and k: ``run, step``, by-columns, ``k``; ``n_items, n_samples_min`` of an
        item, ``n_simulated`` items by random orders; ``majority`` with ``stderr, low, high``; ``single``, the score of
        one sample (k = 1), and ``limit``, the share of items whose most frequent answer is right, which the vote tends
        to, with ``limit_low, limit_high``; ``n_missing, n_nan``.

        For ``per="item"`` a row for each run and item: ``instance_id, n_samples, n_answers`` different ones,
        ``single, mode_right`` (a tie counts as `ties` says), ``first_share`` and ``second_share`` of the samples for
        the two most frequent answers, ``rate`` I = -ln(1 - (sqrt p_1 - sqrt p_2)^2).

        Last ``status, flags, signature``.

    Undefined when
        Some item has fewer than k samples (``too_few_samples``). Fewer than 2 items (``too_few``: limits null), equal
        values of all (``constant``: limits null).

    Raises
    ------
    SchemaError
        For scores without samples or answers, and an answer of one item that is both right and wrong.

    Notes
    -----
    An item's vote is the mean over all subsets of k of its n samples (without replacement), unbiased for the vote of k
    new samples. It rises with k where the most frequent answer is right and falls where it is not, so that the limit is
    below 1 unless all modes are right. ``limit`` takes the most frequent of the n answers for the mode, which it is not
    always where two are close: look at the shares of items. ``rate`` says how fast the error of an item falls in the
    end, like exp(-n I): no more than that, as factors that fall slowly keep the error below this curve at any n that is
    sampled, and a mean over items with small margins falls by a power law.

    Limits are BCa limits over draws of items. Flags: ``few_instances`` (fewer than 50 items), ``few_clusters``,
    ``skewed``, ``percentile_fallback``, ``missing_values``, ``mixed_config``. Readers of dumps keep scores and no
    answers: join these (``filtered_resps`` in samples of lm-eval, ``scores.*.answer`` in logs of inspect).

    References
    ----------
    Wang et al. 2023, "Self-consistency improves chain of thought reasoning in language models", arXiv 2203.11171;
    arXiv 2511.12309 (the error as a function of k).

    Examples
    --------
    >>> import polars as pl
    >>> import signoise as sn
    >>> answers = pl.DataFrame(
    ...     {
    ...         "run": "m",
    ...         "task": "sums",
    ...         "metric": "exact_match",
    ...         "instance_id": ["a", "a", "b", "b", "b"],
    ...         "answer": ["7", "8", "1", "2", "3"],
    ...         "value": [1, 0, 1, 0, 0],
    ...         "times": [3, 2, 2, 2, 1],
    ...     }
    ... )
    >>> table = sn.self_consistency(answers, count="times", k=(1, 3, 5))
    >>> table.select("k", pl.col("majority").round(4), "limit").rows()
    [(1, 0.5, 0.75), (3, 0.5667, 0.75), (5, 0.75, 0.75)]
    """
    tries = None if k is None else checked_tries(k)
    check_choice("ties", ties, ("uniform", "half"))
    check_choice("per", per, ("k", "item"))
    check_count("n_orders", n_orders)
    check_level(confidence_level)
    check_count("n_resamples", n_resamples, 2)
    check_seed(rng_seed)
    loaded = load_repeated(
        _with_answers(scores, answer, count, where, columns, strict=strict),
        who="self_consistency",
        by=as_columns(by),
        where=None,
        order=order,
        cluster=cluster,
        use=(_ANSWER, _COUNT),
        columns=None,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    items = _Items(loaded, answer)
    if per == "k":
        plan = Plan("mean", None, None, "bca", n_resamples, rng_seed, confidence_level, threads)
        result, key = (
            _rows_by_k(items, items.usual_tries() if tries is None else tries, ties, n_orders, plan),
            ["k"],
        )
    else:
        result, key = _rows_by_item(items, ties), ["instance_id"]
    text = signature(
        "self_consistency",
        per=per,
        answer=answer,
        count=count,
        ties=ties,
        n_orders=n_orders,
        order=order,
        cluster=cluster,
        level=confidence_level,
        n_resamples=n_resamples,
        rng=rng_seed,
    )
    result = result.with_columns(pl.lit(text).alias("signature"))
    check_strict(result, [*loaded.labels.columns, *key], strict=strict)
    return result


def _with_answers(
    scores: Scores,
    answer: str,
    count: str | None,
    where: Filter,
    columns: Mapping[str, str] | None,
    *,
    strict: bool,
) -> pl.DataFrame:
    """Rows with their answer and how many samples gave it; those of one item numbered where they are counted."""
    frame, schema = open_filtered(scores, columns, where, strict=strict)
    for name, what in ((answer, "answer"), (count, "count")):
        if name is not None and name not in schema:
            raise SchemaError(
                f"self_consistency needs the answer of each sample, and the table has no column {name!r}"
                f"{did_you_mean(name, schema)}; name it with {what}=. Readers of dumps keep scores alone: join the "
                "answers (filtered_resps in samples of lm-eval, scores.*.answer in logs of inspect)"
            )
    counted = pl.lit(1, dtype=pl.Int64) if count is None else pl.col(count)
    frame = frame.with_columns(pl.col(answer).cast(pl.String).alias(_ANSWER), counted.alias(_COUNT))
    if count is None:
        return collect(frame)
    rows = collect(frame)
    numbers = rows[_COUNT].cast(pl.Float64, strict=False).fill_nan(None)
    if numbers.null_count() or ((numbers < 0) | (numbers != numbers.round())).any():
        raise SchemaError(f"count: column {count!r} must hold whole numbers of samples")
    key = [name for name in KEY if name in rows.columns and name != "repeat"]
    if rows.select(*key, _ANSWER).is_duplicated().any():
        raise SchemaError(f"some answers come in several rows of one item; add up their {count}")
    # Answers in place of samples: a number each, so that they are told apart.
    numbered = pl.col(_ANSWER).rank("ordinal").over(key).fill_null(0).cast(pl.Int32)
    return rows.with_columns(numbered.alias("repeat"), numbers.cast(pl.Int64).alias(_COUNT)).filter(
        pl.col(_COUNT) > 0
    )


class _Items:
    """Answers of the items of each run."""

    def __init__(self, loaded: RepeatedSamples, answer: str) -> None:
        if loaded.rows is None:
            raise SchemaError(
                "self_consistency needs rows of samples; counts of right ones do not say what was answered"
            )
        self.loaded = loaded
        found = loaded.rows.group_by("item", _ANSWER).agg(
            pl.col(_COUNT).sum(), pl.col("value").min().alias("low"), pl.col("value").max().alias("high")
        )
        mixed = found.filter((pl.col("low") < pl.col("high")) & pl.col(_ANSWER).is_not_null()).sort(
            "item", _ANSWER
        )
        if mixed.height:
            raise SchemaError(
                f"{mixed.height} answers are both right and wrong, first {mixed[_ANSWER][0]!r} of instance "
                f"{loaded.items['instance_id'][mixed['item'][0]]!r}; bring column {answer!r} to a form that is equal "
                "where answers are"
            )
        silent = found.filter(pl.col(_ANSWER).is_null())
        if (silent["high"] > 0).any():
            raise SchemaError(f"{int((silent['high'] > 0).sum())} items have right samples without an answer")
        self.n = np.bincount(
            found["item"].to_numpy(), weights=found[_COUNT].to_numpy(), minlength=loaded.items.height
        )
        self.n = self.n.astype(np.int64)
        given = found.filter(pl.col(_ANSWER).is_not_null()).sort("item", _ANSWER)
        bounds = np.searchsorted(given["item"].to_numpy(), np.arange(loaded.items.height + 1)).tolist()
        counts, right = given[_COUNT].to_numpy().astype(np.int64), given["high"].to_numpy() == 1.0
        self.votes = [
            Votes(counts[start:end], right[start:end], n)
            for (start, end), n in zip(pairwise(bounds), self.n.tolist(), strict=True)
        ]
        self.single = np.array([votes.counts[votes.right].sum() / votes.n for votes in self.votes])

    def sizes(self, group: int) -> NDArray[np.int64]:
        """Samples of the items of a run."""
        start, end = self.loaded.starts[group : group + 2].tolist()
        return self.n[start:end]

    def usual_tries(self) -> list[int]:
        """Powers of 2 and the number of samples of the item with fewest, of the run where that is most."""
        least = [int(self.sizes(group).min()) for group in range(len(self.loaded)) if len(self.sizes(group))]
        most = max(least, default=1)
        return sorted({*(2**power for power in range(most.bit_length())), *least})


def _rows_by_k(items: _Items, tries: Sequence[int], ties: Ties, n_orders: int, plan: Plan) -> pl.DataFrame:
    """A row for each run and k."""
    loaded = items.loaded
    simulated = np.array([not votes.is_cheap(max(tries)) for votes in items.votes], dtype=bool)
    # Runs and metrics of the same items share the random orders.
    units = group_addresses(loaded.items.select("instance_id"))
    values = np.array(
        [
            majority(
                votes, tries, ties, _orders(votes, int(unit), n_orders, plan.rng_seed) if drawn else None
            )
            for votes, unit, drawn in zip(items.votes, units, simulated, strict=True)
        ]
    ).reshape(-1, len(tries))
    modes = np.array([votes.at_mode(ties) for votes in items.votes])
    groups = np.repeat(np.arange(len(loaded)), len(tries))
    samples = [sample_of(loaded, group, row) for group in range(len(loaded)) for row in values.T]
    found = intervals(samples, plan)
    at_mode = [sample_of(loaded, group, modes) for group in range(len(loaded))]
    limit = intervals(at_mode, plan)
    single = intervals([sample_of(loaded, group, items.single) for group in range(len(loaded))], plan)
    sizes = [items.sizes(group) for group in range(len(loaded))]
    statuses = Statuses(len(groups))
    statuses.set("too_few", np.array([too_few(sample) for sample in samples], dtype=bool))
    statuses.set("too_few_samples", np.array([(own < k).any() for own in sizes for k in tries], dtype=bool))
    statuses.set("constant", found.constant)
    return loaded.labels[groups].with_columns(
        pl.Series("k", list(tries) * len(loaded), dtype=pl.Int64),
        pl.Series("n_items", [len(own) for own in sizes], dtype=pl.Int64)[groups],
        pl.Series("n_samples_min", [int(own.min()) if len(own) else None for own in sizes], dtype=pl.Int64)[
            groups
        ],
        pl.Series(
            "n_simulated",
            [int(simulated[start:end].sum()) for start, end in pairwise(loaded.starts.tolist())],
            dtype=pl.Int64,
        )[groups],
        *(
            result_column(name, numbers)
            for name, numbers in (
                *(
                    ("majority", found.value),
                    ("stderr", found.stderr),
                    ("low", found.low),
                    ("high", found.high),
                ),
                *(("single", single.value[groups]), ("limit", limit.value[groups])),
                *(("limit_low", limit.low[groups]), ("limit_high", limit.high[groups])),
            )
        ),
        *loaded.counts[groups],
        statuses.column(),
        flag_lists(sample_flags(loaded, groups, samples, found), len(groups)),
    )


def _orders(votes: Votes, unit: int, n_orders: int, rng_seed: int) -> Floats:
    """Random numbers that order the samples of an item, a row for each order."""
    return uniforms(rng_seed, MAJORITY, unit, n_orders * votes.n).reshape(n_orders, votes.n)


def _rows_by_item(items: _Items, ties: Ties) -> pl.DataFrame:
    """A row for each run and item."""
    loaded = items.loaded
    groups = np.repeat(np.arange(len(loaded)), np.diff(loaded.starts))
    shares = [np.sort(np.append(votes.counts, [0, 0]))[:-3:-1] / votes.n for votes in items.votes]
    first, second = np.array(shares).reshape(-1, 2).T
    flags = {
        "missing_values": (loaded.counts.sum_horizontal().to_numpy() > 0)[groups],
        "mixed_config": np.full(len(groups), "config" in loaded.joined),
    }
    return loaded.labels[groups].with_columns(
        loaded.items["instance_id"],
        pl.Series("n_samples", items.n, dtype=pl.Int64),
        pl.Series("n_answers", [len(votes.counts) for votes in items.votes], dtype=pl.Int64),
        result_column("single", items.single),
        result_column("mode_right", np.array([votes.at_mode(ties) for votes in items.votes])),
        result_column("first_share", first),
        result_column("second_share", second),
        result_column("rate", np.array([votes.rate() for votes in items.votes])),
        Statuses(len(groups)).column(),
        flag_lists(flags, len(groups)),
    )
