"""The verb `bootstrap`: an interval of every score from resampled instances."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._addresses import group_addresses
from ._bootstrap_crossed import Crossed, Nested, crossed, nested, sister_intervals
from ._bootstrap_options import BLOCKS, as_statistic, check_combination, design_of
from ._bootstrap_relations import RELATIONS, TO_BASELINE, check_relation, related
from ._bootstrap_replicates import Found, Plan, intervals, too_few
from ._bootstrap_samples import Sample, Samples, Sisters, load_samples
from ._bootstrap_series import bootstrap_series
from ._duplicates import Duplicates
from ._errors import OptionError
from ._mean_intervals import FEW_CLUSTERS, too_skewed
from ._options import as_columns, check_choice, check_count, check_level, signature
from ._schema import SCORE_IDENTITY
from ._scores import Filter, Scores
from ._status import Statuses, check_strict, flag_lists, result_column
from .engines import Engine
from .engines._engine import as_engine

#: Percentile intervals of means over fewer instances than this are too short.
FEW_INSTANCES = 50
#: The same inside each of several strata: variances of n instances come out smaller by (n - 1)/n.
FEW_IN_STRATUM = 20
#: Runs or checkpoints that are drawn: with fewer, percentile intervals are too short.
FEW_SISTERS = 5


@dataclass(frozen=True)
class _Drawn:
    """Intervals and what they rest on, an entry a row."""

    found: Found
    n: NDArray[np.intp]
    n_clusters: NDArray[np.intp]
    n_strata: NDArray[np.intp]
    effective_clusters: NDArray[np.float64]
    too_few: NDArray[np.bool_]
    few_in_stratum: NDArray[np.bool_]


def bootstrap(
    scores: Scores,
    *,
    statistic: Literal["mean", "median", "difference", "ratio", "rank"]
    | str
    | Callable[[NDArray[np.float64]], float] = "mean",
    baseline: str | None = None,
    method: Literal["percentile", "basic", "bca", "studentised", "t"] = "percentile",
    design: Literal["instances", "crossed", "nested", "moving_block", "stationary_block"] | None = None,
    over: Literal["seed", "step"] | None = None,
    across: str | Sequence[str] | None = None,
    weights: Literal["multinomial", "poisson", "bayesian"] = "multinomial",
    block_length: int | None = None,
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
    engine: str | Engine = "local",
    threads: int | None = None,
) -> pl.DataFrame:
    """Bootstrap interval of the score of each run, from its instances (and seeds, or checkpoints) drawn again.

    Parameters
    ----------
    scores, where, columns, duplicates, strict, threads
        As in `snr`; instance rows are needed.
    statistic
        ``"mean"`` (of a ratio metric the ratio of sums, of a perplexity exp of the mean logarithm), ``"median"``,
        ``"quantile:0.9"`` (interpolated as in NumPy; every instance counts once, whatever its weight);
        ``"difference"`` and ``"ratio"`` of the mean to that of `baseline`, ``"rank"`` of the mean among all runs (1 is
        best, equal means share the smaller); or a function of a NumPy array of values that returns a number. A
        function is called for every replicate with the values it
        holds, which is slow (``n_resamples`` calls a row) and needs memory for ``n_resamples`` times the number of
        instances.
    baseline
        Run that the others are compared with, on the instances that all runs of a group have, drawn for all of them
        at once.
    method
        ``"percentile"`` or ``"basic"``; ``"bca"`` and ``"studentised"`` for the design ``"instances"``, the latter for
        means without `stratify`; ``"t"`` for ``"crossed"`` and ``"nested"``: closed form, nothing is drawn.
    design
        What is drawn. ``"instances"``, the default: a row is one checkpoint. ``"crossed"``, the default with `over`:
        runs or checkpoints and, independently, the instances that all of them have. ``"nested"``: runs or checkpoints,
        then instances of each, where no two share one (refused elsewhere: its intervals would be far too short).
        ``"moving_block"``, ``"stationary_block"``: blocks of successive checkpoints of runs with at least 100 of them;
        instances stay as they are, and need not be there. Designs other than ``"instances"`` are for means, blocks for
        quantiles too.
    over
        ``"seed"``: a row is the mean over the last checkpoints of the runs that differ by their seed alone; ``"step"``:
        over the checkpoints of a run (those that `where` leaves).
    across
        With ``over="seed"``: columns that say which runs belong together. Default ``recipe`` where it is filled, else
        ``run``.
    weights
        How often a replicate holds an instance: ``"multinomial"``, as many draws as there are instances; ``"poisson"``,
        independent counts with mean 1; ``"bayesian"``, Dirichlet(1, .., 1) weights in place of counts, for means with
        ``"percentile"`` or ``"basic"`` limits of the design ``"instances"``.
    block_length
        Checkpoints in a block (their mean number, if stationary). Default: the rule of Politis and White, run by run.
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
    engine
        Where they are made: ``"local"``, ``"ray"``, or one of `signoise.engines`; the table has the same bits.

    Returns
    -------
    DataFrame
        A row for each run, checkpoint and score: ``run, step``, by-columns; ``n`` instances, ``n_clusters`` (equals
        `n` where they are independent), ``n_strata``; with `over` also ``n_seeds`` or ``n_checkpoints``; ``value`` of
        the statistic; ``stderr``, the standard deviation of the replicates; ``low, high``; ``n_missing, n_nan, status,
        flags, signature``. With ``over="seed"`` the columns of `across` stand for ``run, step``, with ``over="step"``
        there is no ``step``. Blocks: ``n_checkpoints, block_length`` for the counts of instances. ``"difference"`` and
        ``"ratio"``: ``baseline`` beside the labels, and no row for the baseline itself.

    Undefined when
        A stratum has fewer than 2 instances or clusters, or a row fewer than 2 seeds or checkpoints to draw
        (``too_few``: error and limits null). The limits coincide (``constant``: they are null, for an interval without
        width would claim that the score is known exactly, and 0 of 30 right is compatible with 11 %; `stderr` stays
        what it is, 0 where all replicates are equal). An infinite score, a function that returns NaN, or replicates
        without spread under ``"studentised"``, a ratio to 0 (``not_finite``). Ranks have limits that coincide: a rank
        that no replicate changes.

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
    (fewer than 30 effective clusters), ``few_seeds`` and ``few_checkpoints`` (fewer than 5 are drawn), ``unmatched``
    (instances that not all of them have were left out), ``poor_coverage`` (basic intervals of quantiles, .85 to .88),
    ``missing_values``, ``mixed_config``; docs/calibration.md has coverages.

    The design ``"instances"`` speaks of this checkpoint on other instances, ``"crossed"`` of other seeds too; these are
    drawn at the address of `across` (or the run), so that tasks share them. Its variance holds the interaction three
    times: 1.00 to 1.17 of the truth in simulations. With fewer than 5 seeds percentile limits are too narrow
    nevertheless; ``"t"`` (``V_s + V_i - V_e``, Satterthwaite's degrees of freedom) is not. ``over="step"`` takes
    checkpoints for independent: limits are too narrow where they are autocorrelated.

    ``"difference"``, ``"ratio"`` and ``"rank"`` are of means over the instances that all runs of a group have, drawn
    for all of them at once: a run that scores few instances narrows the comparison of all (``unmatched``). `compare`
    matches each pair of runs on its own, and tests. Limits of a rank say how ranks move from one draw of instances to
    the next; where runs are close they lean to the middle, and the sets of `rank` are those that hold true ranks.

    References
    ----------
    Efron and Tibshirani 1993, "An introduction to the bootstrap"; Efron 1987, "Better bootstrap confidence intervals",
    JASA 82; Miller 2024, "Adding error bars to evals", arXiv 2411.00640; Owen 2007, "The pigeonhole bootstrap", Annals
    of Applied Statistics 1; Rubin 1981, "The Bayesian bootstrap", Annals of Statistics 9; Politis and Romano 1994, "The
    stationary bootstrap", JASA 89; Politis and White 2004, Econometric Reviews 23, with the correction of 2009.

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
    where_drawn = as_engine(engine)
    check_level(confidence_level)
    check_choice("method", method, ("percentile", "basic", "bca", "studentised", "t"))
    check_choice("weights", weights, ("multinomial", "poisson", "bayesian"))
    check_count("n_resamples", n_resamples, 2)
    check_count("rng_seed", rng_seed, 0)
    if rng_seed >= 2**64:
        raise OptionError(f"rng_seed must be below 2**64, got {rng_seed}")
    strata = as_columns(stratify) if stratify else ()
    name, probability, function = as_statistic(statistic)
    chosen = design_of(design, over, across, block_length)
    check_combination(chosen, name, function, method, weights, strata, cluster)
    relation = name if function is None and name in RELATIONS else None
    check_relation(relation or "", baseline, chosen, method, weights)
    plan = Plan(
        name, probability, function, method, n_resamples, rng_seed, confidence_level, threads, weights
    )
    settings: dict[str, Any] = {
        "statistic": name,
        "baseline": baseline,
        "method": method,
        "design": None if chosen == "instances" else chosen,
        "over": over,
        "across": as_columns(across) if across else None,
        "weights": None if weights == "multinomial" else weights,
    }
    draws = {"n_resamples": n_resamples, "rng_seed": rng_seed, "level": confidence_level}
    if chosen in BLOCKS:
        return bootstrap_series(
            scores,
            plan,
            chosen,
            block_length,
            by=as_columns(by),
            where=where,
            order=order,
            columns=columns,
            duplicates=duplicates,
            strict=strict,
            engine=where_drawn,
            text=signature("bootstrap", **settings, block_length=block_length, order=order, **draws),
        )
    sisters = None
    if over is not None:
        sisters = Sisters(over, chosen == "nested", as_columns(across) if across else ())
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
        sisters=sisters,
        shared=relation is not None,
    )
    if strata and (name == "mean" or relation) and any(sample.logs for sample in loaded.samples):
        raise OptionError(
            "the mean over strata of a perplexity is not offered; leave it out (where=...), or leave out stratify"
        )
    if relation is not None:
        loaded, found = related(loaded, plan, as_columns(by), baseline, where_drawn)
        drawn = _over_instances(loaded.samples, found)
    else:
        drawn = _drawn(loaded, plan, sisters, where_drawn)
        found = drawn.found
    samples, labels = loaded.samples, loaded.labels
    defined = np.isfinite(found.value) & ((np.isfinite(found.low) & np.isfinite(found.high)) | found.constant)
    statuses = Statuses(len(samples))
    statuses.set("too_few", drawn.too_few)
    statuses.set("constant", found.constant)
    statuses.check_finite(~defined)
    left_out = loaded.counts.sum_horizontal().to_numpy() > 0
    flags = {
        "missing_values": left_out,
        "mixed_config": np.full(len(samples), "config" in loaded.joined),
        "few_instances": (drawn.n < FEW_INSTANCES) | drawn.few_in_stratum,
        "few_clusters": (drawn.n_clusters < drawn.n) & (drawn.effective_clusters < FEW_CLUSTERS),
        "few_seeds": (loaded.inside < FEW_SISTERS) & (over == "seed"),
        "few_checkpoints": (loaded.inside < FEW_SISTERS) & (over == "step"),
        "unmatched": loaded.unmatched > 0,
        "skewed": too_skewed(found.skewness, drawn.effective_clusters),
        "percentile_fallback": found.fallback,
        # Replicates of a quantile are a few sample values, whose mirror image about the estimate says nothing.
        "poor_coverage": np.full(len(samples), method == "basic" and probability is not None),
    }
    # One half of an interval would be taken for the whole.
    low, high = (np.where(defined, limit, np.nan) for limit in (found.low, found.high))
    texts = {
        kind: signature(
            "bootstrap",
            **settings,
            draws=kind,
            cluster=cluster,
            stratify=strata or None,
            order=order,
            **draws,
        )
        for kind in set(found.draws)
    }
    inside = {"seed": "n_seeds", "step": "n_checkpoints"}
    output = labels.with_columns(
        *([pl.lit(baseline).alias("baseline")] if relation in TO_BASELINE else []),
        pl.Series("n", drawn.n, dtype=pl.Int64),
        pl.Series("n_clusters", drawn.n_clusters, dtype=pl.Int64),
        pl.Series("n_strata", drawn.n_strata, dtype=pl.Int64),
        *([] if over is None else [pl.Series(inside[over], loaded.inside, dtype=pl.Int64)]),
        result_column("value", found.value),
        result_column("stderr", found.stderr),
        result_column("low", low),
        result_column("high", high),
        *loaded.counts,
        statuses.column(),
        flag_lists(flags, len(samples)),
        pl.Series("signature", [texts[kind] for kind in found.draws], dtype=pl.String),
    )
    check_strict(output, labels.columns, strict=strict)
    return output


def _drawn(loaded: Samples, plan: Plan, sisters: Sisters | None, engine: Engine) -> _Drawn:
    samples = loaded.samples
    if sisters is None:
        return _over_instances(samples, intervals(samples, plan, engine))
    labels = loaded.labels
    tables: list[Crossed | Nested]
    if sisters.nested:
        if any(sample.weights is not None for sample in samples):
            raise OptionError(
                'design="nested" is for plain means, and these scores have weights; leave them out (where=...)'
            )
        units = group_addresses(labels)
        tables = [nested(sample, unit) for sample, unit in zip(samples, units, strict=True)]
    else:
        # Tasks share the draws of sisters.
        units = group_addresses(labels.select(name for name in labels.columns if name not in SCORE_IDENTITY))
        tables = [
            crossed(sample, int(inside), unit)
            for sample, inside, unit in zip(samples, loaded.inside, units, strict=True)
        ]
    return _Drawn(
        sister_intervals(tables, plan, engine),
        np.array([table.n for table in tables], dtype=np.intp),
        np.array([len(table.cluster_sizes) for table in tables], dtype=np.intp),
        np.array([table.n_strata for table in tables], dtype=np.intp),
        effective_clusters([table.cluster_sizes for table in tables]),
        np.array([table.too_few for table in tables], dtype=bool),
        np.zeros(len(tables), dtype=bool),
    )


def _over_instances(samples: Sequence[Sample], found: Found) -> _Drawn:
    return _Drawn(
        found,
        np.array([len(sample.values) for sample in samples], dtype=np.intp),
        np.array([len(sample.members) - 1 for sample in samples], dtype=np.intp),
        np.array([len(sample.units) for sample in samples], dtype=np.intp),
        effective_clusters([np.diff(sample.members) for sample in samples]),
        np.array([too_few(sample) for sample in samples], dtype=bool),
        _few_in_stratum(samples),
    )


def _few_in_stratum(samples: Sequence[Sample]) -> NDArray[np.bool_]:
    smallest = (np.diff(sample.strata).min(initial=FEW_IN_STRATUM) for sample in samples)
    several = (len(sample.strata) > 2 for sample in samples)
    return np.fromiter(several, dtype=bool) & (np.fromiter(smallest, dtype=np.intp) < FEW_IN_STRATUM)


def effective_clusters(sizes: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """Clusters of equal size that these are worth: 1 / sum of squared shares."""
    return np.array([(x.sum() / (x.astype(float) ** 2).sum()) * x.sum() if len(x) else 0.0 for x in sizes])
