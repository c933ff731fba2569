"""The verb `benchmark_preferences`: pairs of members whose order depends on the benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._duplicates import Duplicates
from .._intervals import quantile_at
from .._options import signature
from .._scores import Filter, Groups, Scores
from .._status import Statuses, check_strict, flag_lists, result_column
from ._benchmarks import Benchmarks, load_benchmarks

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


def benchmark_preferences(
    scores: Scores,
    *,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    across: str | Sequence[str] = "run",
    score: Literal["mean", "final"] = "mean",
    window: int = 5,
    direction: Mapping[str, str] | None = None,
    order: str = "tokens",
    confidence_level: float = 0.95,
    groups: Groups = None,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """How many benchmarks prefer one member of a pair, how many the other, and by more than checkpoint noise.

    Parameters
    ----------
    scores, by, where, across, score, window, direction, order, groups, columns, duplicates, strict, threads
        As in `benchmark_agreement`.
    confidence_level
        Of the differences that count as clear, over all benchmarks of a pair at once.

    Returns
    -------
    DataFrame
        A row for each two members: `across` columns with the endings ``_a`` and ``_b``; ``n_benchmarks`` that both
        have; ``prefer_a, prefer_b, n_ties``: benchmarks with the higher score for one, for the other, for neither;
        ``share_a`` (ties one half); ``clear_a, clear_b``: of these, by more than noise; ``n_near``: the benchmarks on
        which the two are a near tie, neither clear; ``crossover``: each is clearly ahead somewhere. Then ``status,
        flags, signature``.

    Undefined when
        No benchmark has both (``too_few``). ``clear_a, clear_b, n_near, crossover`` are null where no benchmark of the
        pair has a known noise (runs of 2 checkpoints); benchmarks without one are not counted there.

    Raises
    ------
    UnknownMetricError
        Where a metric's direction is not known.
    SchemaError, OptionError, DuplicateKeyError
        For a table or an option that cannot be used.

    Notes
    -----
    A difference is clear beyond ``t sqrt(v_a + v_b)``: v the variance of a score by the checkpoint noise of the
    benchmark over all members, corrected for autocorrelation; t two-sided at ``(1 - confidence_level)`` over the number
    of benchmarks, so that no benchmark calls two equal members different with probability `confidence_level`. That is
    for one pair: among many some are called so by chance. Other seeds may differ by more than checkpoints do.

    References
    ----------
    Marx, Calmon, Ustun 2020, "Predictive multiplicity in classification", ICML (models as good as the best that
    disagree).

    Examples
    --------
    >>> import signoise as sn
    >>> table = sn.benchmark_preferences(sn.example_scores(), where="params = 1000000000", across="recipe")
    >>> table.select("recipe_a", "recipe_b", "n_benchmarks").row(0)
    ('recipe-00', 'recipe-01', 6)
    """
    found = load_benchmarks(
        scores,
        by=by,
        where=where,
        across=across,
        score=score,
        window=window,
        direction=direction,
        order=order,
        level=confidence_level,
        groups=groups,
        columns=columns,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    out = _preferences(found, confidence_level)
    first, second = np.triu_indices(found.scores.shape[1], 1)
    statuses = Statuses(len(first))
    statuses.set("too_few", out["n_benchmarks"] == 0)
    flags = {
        "missing_values": np.full(len(first), bool(found.missing.any())),
        "mixed_config": np.full(len(first), "config" in found.encoded.joined),
        "unmatched": out.pop("unmatched"),
    }
    known = out.pop("known") > 0
    names = found.study.members
    labels = [
        found.encoded.members[rows].select(pl.col(name).alias(f"{name}_{end}") for name in names)
        for rows, end in ((first, "a"), (second, "b"))
    ]
    text = signature(
        "benchmark_preferences",
        by=found.encoded.by,
        score=score,
        window=window,
        order=order,
        level=confidence_level,
        adjust="bonferroni",
    )
    unknown = {
        name: pl.when(pl.Series(known)).then(pl.col(name))
        for name in ("clear_a", "clear_b", "n_near", "crossover")
    }
    result = (
        pl.concat(labels, how="horizontal")
        .with_columns(
            *(result_column(name, values) for name, values in out.items()),
            statuses.column(),
            flag_lists(flags, len(first)),
            pl.lit(text).alias("signature"),
        )
        .with_columns(**unknown)
    )
    check_strict(result, [name for label in labels for name in label.columns], strict=strict)
    return result


class _Critical:
    """Two-sided t quantiles of each benchmark, at a level shared by the benchmarks of a pair."""

    def __init__(self, df: Floats, level: float) -> None:
        self._df, self._level = df, level
        self._known: dict[int, Floats] = {}

    def of(self, n_benchmarks: Ints) -> Floats:
        """Quantiles, (n_benchmarks, n_pairs)."""
        for n in np.unique(n_benchmarks).tolist():
            if n not in self._known:
                p = 1 - (1 - self._level) / (2 * max(n, 1))
                self._known[n] = quantile_at("t_quantile", p, self._df)
        columns = [self._known[n] for n in n_benchmarks.tolist()]
        return np.stack(columns, axis=1) if columns else np.zeros((len(self._df), 0))


def _preferences(found: Benchmarks, level: float) -> dict[str, Any]:
    """Columns of `benchmark_preferences`, pairs in the order of ``triu_indices``; a member at a time."""
    x, v = found.scores, found.variances
    n_members = x.shape[1]
    parts: list[dict[str, Any]] = []
    critical = _Critical(found.df, level)
    for member in range(n_members):
        rest = slice(member + 1, n_members)
        with np.errstate(invalid="ignore"):
            gap, variance = x[:, [member]] - x[:, rest], v[:, [member]] + v[:, rest]
            there = np.isfinite(gap)
            known = there & np.isfinite(variance)
            n_known = known.sum(axis=0)
            clear = known & (np.abs(gap) > critical.of(n_known) * np.sqrt(variance))
        n, ahead, behind = there.sum(axis=0), (gap > 0).sum(axis=0), (gap < 0).sum(axis=0)
        clear_a, clear_b = (clear & (gap > 0)).sum(axis=0), (clear & (gap < 0)).sum(axis=0)
        with np.errstate(invalid="ignore"):
            share = (ahead + (n - ahead - behind) / 2) / n
        parts.append(
            {
                "n_benchmarks": n,
                "prefer_a": ahead,
                "prefer_b": behind,
                "n_ties": n - ahead - behind,
                "share_a": share,
                "clear_a": clear_a,
                "clear_b": clear_b,
                "n_near": n_known - clear_a - clear_b,
                "crossover": (clear_a > 0) & (clear_b > 0),
                "known": n_known,
                "unmatched": (np.isfinite(x[:, [member]]) ^ np.isfinite(x[:, rest])).any(axis=0),
            }
        )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


__all__: Sequence[str] = ["benchmark_preferences"]
