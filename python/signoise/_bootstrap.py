"""The verb `bootstrap`: an interval of every score from resampled instances."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._bootstrap_replicates import Plan, intervals, too_few
from ._bootstrap_samples import Sample, load_samples
from ._duplicates import Duplicates
from ._errors import OptionError
from ._mean_intervals import FEW_CLUSTERS, too_skewed
from ._options import as_columns, check_choice, check_count, check_level, signature
from ._scores import Filter, Scores
from ._status import Statuses, check_strict, flag_lists, result_column

#: Percentile intervals of means over fewer instances than this are too short.
FEW_INSTANCES = 50
#: The same inside each of several strata: variances of n instances come out smaller by (n - 1)/n.
FEW_IN_STRATUM = 20


def bootstrap(
    scores: Scores,
    *,
    statistic: Literal["mean", "median"] | str | Callable[[NDArray[np.float64]], float] = "mean",
    method: Literal["percentile", "basic", "bca", "studentised"] = "percentile",
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    order: str = "tokens",
    cluster: str | None = None,
    stratify: str | Sequence[str] | None = None,
    n_resamples: int = 10_000,
    confidence_level: float = 0.95,
    rng_seed: int = 0,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Bootstrap interval of the score of each run, from its instances resampled with replacement.

    Parameters
    ----------
    scores, where, columns, duplicates, strict, threads
        As in `snr`; instance rows are needed.
    statistic
        ``"mean"`` (of a ratio metric the ratio of sums, of a perplexity exp of the mean logarithm), ``"median"``,
        ``"quantile:0.9"`` (interpolated as in NumPy; every instance counts once, whatever its weight), or a function of
        a NumPy array of values that returns a number. A function is called for every replicate with the values it
        holds, which is slow (``n_resamples`` calls a row) and needs memory for ``n_resamples`` times the number of
        instances.
    method
        ``"percentile"``, ``"basic"``, ``"bca"`` or ``"studentised"``. The last is for means without `stratify`.
    by
        Key beside the run and its checkpoint. The last checkpoint of each run is taken, among those that `where`
        leaves; with ``step`` (or another column of the checkpoint) in `by` all of them are.
    order
        Column that says which checkpoint is the last; where a run lacks it, ``step``.
    cluster
        Column that says which instances depend on each other: whole clusters are drawn, inside strata. Default: the
        column ``cluster`` where it is filled; ``"instance_id"`` takes all instances for independent.
    stratify
        Columns such as ``"subtask"`` or ``"task"``: the score is then the mean over strata of the statistic of each
        (macro average), and instances are drawn inside strata. A column of `by` that is named here leaves the key.
    n_resamples
        Number of replicates.
    confidence_level
        Of `low` and `high`.
    rng_seed
        Of the draws.

    Returns
    -------
    DataFrame
        A row for each run, checkpoint and score: ``run, step``, by-columns; ``n`` instances, ``n_clusters`` (equals
        `n` where they are independent), ``n_strata``; ``value`` of the statistic; ``stderr``, the standard deviation
        of the replicates; ``low, high``; ``n_missing, n_nan, status, flags, signature``.

    Undefined when
        A stratum has fewer than 2 instances or clusters (``too_few``: error and limits null). The limits coincide
        (``constant``: they are null, for an interval without width would claim that the score is known exactly, and 0
        of 30 right is compatible with 11 %; `stderr` stays what it is, 0 where all replicates are equal). An infinite
        score, a function that returns NaN, or replicates without spread under ``"studentised"`` (``not_finite``).

    Notes
    -----
    Repeats are averaged within an instance first. The draws of a replicate have the address (`rng_seed`, replicate,
    hash of task, subtask and config): runs, checkpoints and metrics over the same instances share them, and a row has
    the same bits whatever other rows, threads or order of rows there are. The number of ones among independent 0/1
    scores is binomial, so their means are drawn from that law, exactly (but for ``"studentised"``); ``draws`` in
    the signature says ``binomial_law``, ``instances`` or ``clusters``. BCa: acceleration by leaving out one instance
    (or cluster) at a time; where it or the bias is undefined the percentile interval stands, flag
    ``percentile_fallback``. Other flags: ``few_instances`` (fewer than 50, or than 20 in one of several strata),
    ``skewed`` (of means: 30 or more, but fewer than 30 g^2 with g the skewness of their scores), ``few_clusters``
    (fewer than 30 effective clusters), ``poor_coverage`` (basic intervals of quantiles, .85 to .88),
    ``missing_values``, ``mixed_config``; docs/calibration.md has coverages. It is the instances that are drawn: what
    another seed or step would give is for `variance`.

    References
    ----------
    Efron and Tibshirani 1993, "An introduction to the bootstrap"; Efron 1987, "Better bootstrap confidence intervals",
    JASA 82; Miller 2024, "Adding error bars to evals", arXiv 2411.00640.

    Examples
    --------
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=1, recipes=2, params=(1e9,), checkpoints=2, instances=400)
    >>> table = sn.bootstrap(scores)
    >>> table.select("step", "n", "status").rows()
    [(2000, 400, 'ok'), (2000, 400, 'ok')]
    >>> (table["low"] < table["value"]).all()
    True
    """
    check_level(confidence_level)
    check_choice("method", method, ("percentile", "basic", "bca", "studentised"))
    check_count("n_resamples", n_resamples, 2)
    check_count("rng_seed", rng_seed, 0)
    if rng_seed >= 2**64:
        raise OptionError(f"rng_seed must be below 2**64, got {rng_seed}")
    strata = as_columns(stratify) if stratify else ()
    name, probability, function = _statistic(statistic)
    if method == "studentised" and (name != "mean" or strata):
        raise OptionError(
            'method="studentised" is for statistic="mean" without stratify: other standard errors are not known in '
            'closed form; choose method="bca"'
        )
    plan = Plan(name, probability, function, method, n_resamples, rng_seed, confidence_level, threads)
    loaded = load_samples(
        scores,
        by=as_columns(by),
        where=where,
        order=order,
        cluster=cluster,
        stratify=strata,
        columns=columns,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    samples, labels = loaded.samples, loaded.labels
    if strata and name == "mean" and any(sample.logs for sample in samples):
        raise OptionError(
            "the mean over strata of a perplexity is not offered; leave it out (where=...), or leave out stratify"
        )
    found = intervals(samples, plan)
    n = np.array([len(sample.values) for sample in samples], dtype=np.int64)
    n_clusters = np.array([len(sample.members) - 1 for sample in samples], dtype=np.int64)
    short = np.array([too_few(sample) for sample in samples], dtype=bool)
    defined = np.isfinite(found.value) & ((np.isfinite(found.low) & np.isfinite(found.high)) | found.constant)
    statuses = Statuses(len(samples))
    statuses.set("too_few", short)
    statuses.set("constant", found.constant)
    statuses.check_finite(~defined)
    effective = _effective_clusters(samples)
    left_out = loaded.counts.sum_horizontal().to_numpy() > 0
    flags = {
        "missing_values": left_out,
        "mixed_config": np.full(len(samples), "config" in loaded.joined),
        "few_instances": (n < FEW_INSTANCES) | _few_in_stratum(samples),
        "few_clusters": (n_clusters < n) & (effective < FEW_CLUSTERS),
        "skewed": too_skewed(found.skewness, effective),
        "percentile_fallback": found.fallback,
        # Replicates of a quantile are a few sample values, whose mirror image about the estimate says nothing.
        "poor_coverage": np.full(len(samples), method == "basic" and probability is not None),
    }
    # One half of an interval would be taken for the whole.
    low, high = (np.where(defined, limit, np.nan) for limit in (found.low, found.high))
    texts = {
        draws: signature(
            "bootstrap",
            statistic=name,
            method=method,
            draws=draws,
            cluster=cluster,
            stratify=strata or None,
            order=order,
            n_resamples=n_resamples,
            rng_seed=rng_seed,
            level=confidence_level,
        )
        for draws in set(found.draws)
    }
    output = labels.with_columns(
        pl.Series("n", n),
        pl.Series("n_clusters", n_clusters),
        pl.Series("n_strata", [len(sample.units) for sample in samples], dtype=pl.Int64),
        result_column("value", found.value),
        result_column("stderr", found.stderr),
        result_column("low", low),
        result_column("high", high),
        *loaded.counts,
        statuses.column(),
        flag_lists(flags, len(samples)),
        pl.Series("signature", [texts[draws] for draws in found.draws], dtype=pl.String),
    )
    check_strict(output, labels.columns, strict=strict)
    return output


def _statistic(
    statistic: str | Callable[[NDArray[np.float64]], float],
) -> tuple[str, float | None, Callable[[NDArray[np.float64]], float] | None]:
    """Name of a statistic, and its probability or its function."""
    if not isinstance(statistic, str) and callable(statistic):
        return getattr(statistic, "__qualname__", type(statistic).__name__), None, statistic
    if statistic == "mean":
        return "mean", None, None
    if statistic == "median":
        return "median", 0.5, None
    kind, sign, text = str(statistic).partition(":")
    if kind == "quantile" and sign:
        try:
            probability = float(text)
        except ValueError:
            probability = np.nan
        if 0 <= probability <= 1:
            return f"quantile:{probability:g}", probability, None
    raise OptionError(
        f'statistic must be "mean", "median", "quantile:p" with p from 0 to 1, or a function, got {statistic!r}'
    )


def _few_in_stratum(samples: Sequence[Sample]) -> NDArray[np.bool_]:
    smallest = (np.diff(sample.strata).min(initial=FEW_IN_STRATUM) for sample in samples)
    several = (len(sample.strata) > 2 for sample in samples)
    return np.fromiter(several, dtype=bool) & (np.fromiter(smallest, dtype=np.intp) < FEW_IN_STRATUM)


def _effective_clusters(samples: Sequence[Sample]) -> NDArray[np.float64]:
    """Clusters of equal size that these are worth: 1 / sum of squared shares."""
    sizes = (np.diff(sample.members).astype(float) for sample in samples)
    return np.array([size.sum() ** 2 / (size**2).sum() if len(size) else 0.0 for size in sizes])
