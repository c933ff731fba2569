"""The verb `permutation_test`: `compare` with p-values that suppose no distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from ._adjust import Method
from ._compare import Subtasks, compare
from ._duplicates import Duplicates
from ._scores import Filter, Scores
from .engines import Engine

#: Columns of `compare` that are about its interval, or repeat what follows from the others.
_LEFT_OUT = ("stderr", "low", "high", "mde", "correlation", "variance_reduction", "design_effect", "verdict")


def permutation_test(
    scores: Scores,
    *,
    a: str | None = None,
    b: str | None = None,
    baseline: str | None = None,
    metric: str | Sequence[str] | None = None,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    order: str = "tokens",
    cluster: str | None = None,
    subtasks: Subtasks = "apart",
    n_resamples: int = 10_000,
    rng_seed: int = 0,
    adjust: Method = "holm",
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    engine: str | Engine = "local",
    threads: int | None = None,
) -> pl.DataFrame:
    """Test differences between runs by exchanging their scores.

    Parameters
    ----------
    scores, a, b, baseline, metric, by, where, order, subtasks, adjust, columns, duplicates, strict, threads
        As in `compare`.
    cluster
        Column that says which instances depend on each other: the scores of whole clusters are exchanged. Default: the
        column ``cluster`` where it is filled; ``"instance_id"`` takes all instances for independent.
    n_resamples
        Draws, at most: all patterns are counted instead where there are no more of them than this.
    rng_seed
        Of the draws.
    engine
        Where they are made, as in `bootstrap`.

    Returns
    -------
    DataFrame
        A row for each group and pair: by-columns; ``run_a, step_a, run_b, step_b``; ``n`` shared instances (of
        unpaired sides, those of the smaller); ``mean_a, mean_b, difference``, score units; two-sided ``p_value``,
        ``p_adjusted`` for the number of rows; ``test``: ``sign_flip`` on shared instances, ``label_permutation``
        where none is shared, ``t`` or ``t_unpaired``; ``n_clusters, n_unmatched_a, n_unmatched_b, n_missing, n_nan,
        status, flags, signature``.

    Undefined when
        As in `compare`.

    Notes
    -----
    Shared instances: the two scores of an instance (or of a cluster) may have come from either run, so that each sign
    of its difference is as likely. No shared instance: any split of all scores into sides of these sizes is as
    likely. p is the share of patterns in which the difference is at least as far from 0 as it is; drawn patterns count
    themselves in, p = (1 + that number) / (1 + `n_resamples`). Scores of 0 and 1 need no draws: the number of signs is
    binomial, that of labels hypergeometric. Exchanging is for plain means: ratios of sums, perplexities, macro means of
    several subtasks, clusters without shared instances and scores known by ``stderr`` alone keep Student's t, as
    ``test`` says. Draws are addressed by `rng_seed`, task, subtask and config, so that no other row moves a p-value.

    References
    ----------
    Fisher 1935, "The design of experiments"; Phipson and Smyth 2010, "Permutation p-values should never be zero", SAGMB
    9:39.

    Examples
    --------
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=1, recipes=2, params=(1e9,), checkpoints=1, instances=400, signal=0.2)
    >>> sn.permutation_test(scores)["test"].item()
    'sign_flip'
    """
    table = compare(
        scores,
        a=a,
        b=b,
        baseline=baseline,
        metric=metric,
        by=by,
        where=where,
        order=order,
        cluster=cluster,
        subtasks=subtasks,
        test="permutation",
        n_resamples=n_resamples,
        rng_seed=rng_seed,
        adjust=adjust,
        columns=columns,
        duplicates=duplicates,
        strict=strict,
        engine=engine,
        threads=threads,
    )
    return table.drop(_LEFT_OUT).with_columns(signature=pl.lit(_signature(table["signature"][0])))


def _signature(text: str) -> str:
    """That of `compare`, without what only its interval depends on."""
    _, *parts = text.split("|")
    left_out = ("test:", "cluster_error:", "level:", "power:")
    return "|".join(["permutation_test", *(part for part in parts if not part.startswith(left_out))])
