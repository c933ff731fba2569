"""The verb `pass_at_k`: how often k tries at an instance succeed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._bootstrap_replicates import Found, Plan, intervals, too_few
from .._bootstrap_samples import Sample
from .._duplicates import Duplicates
from .._errors import OptionError, SchemaError
from .._kernels import kernels
from .._options import as_columns, check_choice, check_count, check_level, check_seed, signature
from .._scores import Filter, Scores
from .._status import Statuses, check_strict, flag_lists, result_column
from ._beyond import Beyond, beyond_samples
from ._draws import sample_flags
from ._mixing import MIXINGS
from ._samples import RepeatedSamples, load_repeated

Floats = NDArray[np.float64]

_MOST = 2**32 - 1


def pass_at_k(
    scores: Scores,
    *,
    k: int | Sequence[int] = 1,
    estimator: Literal["unbiased", "plug_in", "compat"] = "unbiased",
    success: Literal["any", "all"] = "any",
    extrapolate: bool = False,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    order: str = "tokens",
    cluster: str | None = None,
    n_resamples: int = 10_000,
    confidence_level: float = 0.95,
    rng_seed: int = 0,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Estimate pass@k, the probability that one of k tries at an instance is right, averaged over instances.

    ``1 - C(n - c, k) / C(n, k)`` for an instance with n samples of which c are right: the share of all subsets of k
    samples that hold a right one.

    Parameters
    ----------
    scores, where, columns, duplicates, strict, threads
        As in `snr`; scores of 0 and 1. Instance rows with `repeat`, a store of such, or a table with a row for each
        instance: its number of samples (``n_samples``, ``n``) and of right ones (``n_correct``, ``c``), or a list of
        outcomes (``outcomes``).
    k
        One number of tries or several.
    estimator
        ``"unbiased"``; ``"plug_in"``: ``1 - (1 - c/n)^k``, biased (too low) where k is not far below n; ``"compat"``:
        as published code has it, which counts an instance as solved wherever fewer than k of its samples are wrong,
        also where it has fewer than k.
    success
        ``"any"`` try is right: pass@k. ``"all"`` k tries are right: pass^k, ``C(c, k) / C(n, k)`` or ``(c/n)^k``.
    extrapolate
        Where some instance has fewer than k samples, say what three distributions of success probabilities, fitted to
        all counts, expect of k further tries at each such instance.
    by
        Key beside the run and its checkpoint. The last checkpoint of each run is taken, among those that `where`
        leaves; with ``step`` (or another column of the checkpoint) in `by` all of them are.
    order
        Column that says which checkpoint is the last; where a run lacks it, ``step``.
    cluster
        Column that says which instances depend on each other. Default: the column ``cluster`` where it is filled;
        ``"instance_id"`` takes all instances for independent.
    n_resamples, confidence_level, rng_seed
        Of the bootstrap over instances, or clusters of them. Samples of an instance are never drawn apart from it.

    Returns
    -------
    DataFrame
        A row for each run, checkpoint, score and k: ``run, step``, by-columns, ``k``; ``n_items`` instances,
        ``n_samples_min`` and ``n_samples_max`` of one, ``n_short`` instances with fewer than k; ``pass_at_k``,
        ``stderr, low, high``; ``n_missing, n_nan`` samples left out; ``status, flags, signature``. With `extrapolate`
        also ``beta, zero_inflated_beta, logit_normal``, the three predictions where samples are too few, and
        ``beta_log_likelihood, ..``, mean log-likelihood of an instance that was left out of the fit (5 parts); then
        `pass_at_k` is their median with its `stderr`, and `low`, `high` span the limits of all three.

    Undefined when
        Some instance has fewer than k samples (``too_few_samples``), unless `estimator` is one of the others: nothing
        unbiased is known there. With `extrapolate` the status is ``extrapolated``, and `pass_at_k` is null where the
        predictions differ by more than two standard errors (flag ``models_differ``) or k is more than 100 times the
        mean number of samples (``far_beyond``); where no instance has two samples, or all samples of all are right, or
        wrong, nothing is known of what is beyond (``not_identified``). Fewer than 2 instances or clusters
        (``too_few``: error and limits null). All instances have one value (``constant``: limits null, for 0 of 30
        solved is compatible with some).

    Raises
    ------
    SchemaError
        For scores without instances, or other than 0 and 1; of several metrics those are left out, with a warning.
    OptionError
        For ``estimator="compat"`` with ``success="all"``, or an estimator with `extrapolate`.

    Notes
    -----
    Instances may have different numbers of samples. Errors come from drawing instances, whose estimates carry the
    noise of their samples with them: pooled samples would be taken for independent, which they are not. Draws are
    shared by all k and by runs over the same instances. Limits are percentiles. Flags: ``few_instances`` (fewer than
    50), ``skewed``, ``few_clusters``, ``missing_values``, ``mixed_config``.

    Extrapolation: the success probability of instances is taken to be beta distributed, the same beside a share of
    instances that are never solved, or with a normal logit; each by maximum likelihood. An instance with c right and w
    wrong samples then fails k further tries with probability ``E[p^c (1-p)^(w+k)] / E[p^c (1-p)^w]``. How many
    instances are never solved no sample tells: that is why there are three. Limits hold the scatter of instances, that
    of their probabilities given their samples, and the error of the parameters, on the scale of arcsin sqrt.

    References
    ----------
    Chen et al. 2021, "Evaluating large language models trained on code", arXiv 2107.03374, equation 1; Yao et al. 2024,
    "tau-bench", arXiv 2406.12045 (pass^k); Schaeffer et al. 2025, arXiv 2502.17578 (beta distributed probabilities).

    Examples
    --------
    >>> import polars as pl
    >>> import signoise as sn
    >>> counts = pl.DataFrame({"run": "m", "task": "code", "item": range(4), "n": 10, "c": [0, 3, 10, 1]})
    >>> table = sn.pass_at_k(counts, k=[1, 5])
    >>> table.select("k", pl.col("pass_at_k").round(4)).rows()
    [(1, 0.35), (5, 0.6042)]
    """
    check_choice("estimator", estimator, ("unbiased", "plug_in", "compat"))
    check_choice("success", success, ("any", "all"))
    if estimator == "compat" and success == "all":
        raise OptionError('estimator="compat" is for success="any"; nobody published another')
    if extrapolate and estimator != "unbiased":
        raise OptionError(f'extrapolate=True is for estimator="unbiased", got {estimator!r}')
    tries = checked_tries(k)
    check_level(confidence_level)
    check_count("n_resamples", n_resamples, 2)
    check_seed(rng_seed)
    loaded = load_repeated(
        scores,
        who="pass_at_k",
        by=as_columns(by),
        where=where,
        order=order,
        cluster=cluster,
        columns=columns,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    values = pass_values(loaded.items, tries, estimator, success, threads)
    plan = Plan("mean", None, None, "percentile", n_resamples, rng_seed, confidence_level, threads)
    samples = [
        loaded.sample(group, row[start:end])
        for group, (start, end) in enumerate(pairwise(loaded.starts.tolist()))
        for row in values
    ]
    found = intervals(samples, plan)
    beyond = beyond_samples(loaded, tries, values, plan, every=success == "all") if extrapolate else None
    output = _table(loaded, tries, samples, found, beyond, undefined=estimator == "unbiased")
    texts = {
        draws: signature(
            "pass_at_k",
            estimator=estimator,
            success=success,
            extrapolate=extrapolate or None,
            draws=draws,
            cluster=cluster,
            order=order,
            n_resamples=n_resamples,
            rng=rng_seed,
            level=confidence_level,
        )
        for draws in set(found.draws)
    }
    output = output.with_columns(
        pl.Series("signature", [texts[draws] for draws in found.draws], dtype=pl.String)
    )
    check_strict(output, [*loaded.labels.columns, "k"], strict=strict)
    return output


def checked_tries(k: int | Sequence[int]) -> list[int]:
    """Numbers of tries as a list without repeats, in the order given."""
    given = list(k) if isinstance(k, Iterable) and not isinstance(k, str) else [k]
    tries = list(dict.fromkeys(int(one) if isinstance(one, np.integer) else one for one in given))
    if not tries:
        raise OptionError("k must be a number of tries or several, got none")
    for number in tries:
        check_count("k", number)
        if number > _MOST:
            raise OptionError(f"k must be below 2**32, got {number}")
    return tries


def pass_values(
    items: pl.DataFrame, tries: Sequence[int], estimator: str, success: str, threads: int | None
) -> Floats:
    """Estimates of items, a row for each k."""
    if items.height and (most := int(items["n"].max())) > _MOST:  # type: ignore[arg-type]
        raise SchemaError(f"an instance has {most} samples; at most {_MOST} can be counted")
    values: Floats = kernels().pass_probabilities(
        items["n"].cast(pl.UInt32).to_numpy(),
        items["c"].cast(pl.UInt32).to_numpy(),
        np.array(tries, dtype=np.uint32),
        estimator=estimator,
        success=success,
        threads=threads,
    )
    return values


def _table(
    loaded: RepeatedSamples,
    tries: Sequence[int],
    samples: Sequence[Sample],
    found: Found,
    beyond: Beyond | None,
    *,
    undefined: bool,
) -> pl.DataFrame:
    """Groups x k; `undefined` where some instance has fewer than k samples."""
    rows = np.repeat(np.arange(len(loaded)), len(tries))
    sizes = [loaded.sizes(group) for group in range(len(loaded))]
    short = np.array([(own < k).sum() for own in sizes for k in tries], dtype=np.int64)
    n_items = np.diff(loaded.starts)[rows]
    statuses = Statuses(len(rows))
    statuses.set("too_few", np.array([too_few(sample) for sample in samples], dtype=bool))
    statuses.set("constant", found.constant)
    counts = loaded.counts[rows]
    flags = sample_flags(loaded, rows, samples, found)
    numbers = {"pass_at_k": found.value, "stderr": found.stderr, "low": found.low, "high": found.high}
    if beyond is None:
        statuses.set("too_few_samples", (short > 0) & undefined)
    else:
        own = (beyond.value, beyond.stderr, beyond.low, beyond.high)
        numbers = {
            name: np.where(beyond.short, there, values)
            for (name, values), there in zip(numbers.items(), own, strict=True)
        }
        for at, mixing in enumerate(MIXINGS):
            numbers[mixing.name] = beyond.predicted[:, at]
        for at, mixing in enumerate(MIXINGS):
            numbers[f"{mixing.name}_log_likelihood"] = beyond.log_likelihood[:, at]
        statuses.set("not_identified", beyond.short & ~beyond.identified)
        statuses.set("extrapolated", beyond.short & beyond.identified)
        flags |= {"models_differ": beyond.differ, "far_beyond": beyond.far}
    smallest, largest = (
        pl.Series([int(end(own)) if len(own) else None for own in sizes], dtype=pl.Int64)[rows]
        for end in (np.min, np.max)
    )
    return loaded.labels[rows].with_columns(
        pl.Series("k", np.tile(tries, len(loaded)), dtype=pl.Int64),
        pl.Series("n_items", n_items, dtype=pl.Int64),
        smallest.alias("n_samples_min"),
        largest.alias("n_samples_max"),
        pl.Series("n_short", short),
        *(result_column(name, values) for name, values in numbers.items()),
        *counts,
        statuses.column(),
        flag_lists(flags, len(rows)),
    )
