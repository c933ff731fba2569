"""Scores of the same members on several benchmarks, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._duplicates import Duplicates
from .._encode import Encoded
from .._intervals import CheckpointError, checkpoint_error, effective_checkpoints
from .._measure import combined_noise, group_autocorrelation, member_scores
from .._options import check_choice, check_count, check_level
from .._scores import Filter, Groups, Scores
from ._smoothed import Study, open_study, signs_of

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Benchmarks:
    """A row for each benchmark, a column for each member; NaN where a member has no score."""

    study: Study
    scores: Floats
    """Higher is better, whatever the metric."""
    signs: Floats
    """+1 or -1 for each benchmark: what makes of `scores` the metric's own."""
    variances: Floats
    """Of each score, from the checkpoint noise of its benchmark; NaN where that is unknown."""
    df: Floats
    """Degrees of freedom of the variances of each benchmark."""

    @property
    def encoded(self) -> Encoded:
        """Labels of benchmarks (`groups`) and members."""
        return self.study.encoded

    @property
    def labels(self) -> pl.DataFrame:
        """The key of each benchmark."""
        return self.encoded.groups.select(self.encoded.by)

    @property
    def missing(self) -> Mask:
        """Benchmarks with rows that have no score."""
        return (self.encoded.n_missing + self.encoded.n_nan) > 0


def load_benchmarks(
    scores: Scores,
    *,
    by: str | Sequence[str],
    where: Filter,
    across: str | Sequence[str],
    score: str,
    window: int,
    direction: Mapping[str, str] | None,
    order: str,
    level: float,
    groups: Groups,
    columns: Mapping[str, str] | None,
    duplicates: Duplicates,
    strict: bool,
    threads: int | None,
) -> Benchmarks:
    """Scores of every member on every benchmark: the last checkpoint, or the mean of the last `window`."""
    check_choice("score", score, ("mean", "final"))
    check_count("window", window)
    check_level(level)
    study = open_study(
        scores,
        small=None,
        target=None,
        match=None,
        across=across,
        by=by,
        where=where,
        order=order,
        groups=groups,
        columns=columns,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    encoded = study.encoded
    shape = (len(encoded.groups), len(encoded.members))
    with np.errstate(all="ignore"):
        series = encoded.series(window, "all", threads)
        values, group, member, _, runs = member_scores(series, score, shape[0], threads)
        signs = signs_of(study, "all", direction)
        combined = combined_noise(series, "within", 1, shape[0], threads)
        known = group_autocorrelation(encoded, series, combined, "pooled", "all")
        n = series.columns["n"].astype(float)
        usable = n >= 2
        error: CheckpointError = checkpoint_error(
            combined["absolute"] ** 2, n[usable], series.group[usable], known, detrended=False
        )
        variance = error.variance[series.group]
        if score == "mean":
            variance = variance / effective_checkpoints(n, error.rho[series.group])
        # A member's score is the mean of its runs.
        count = runs["n"].astype(np.intp)
        total = np.add.reduceat(variance, np.cumsum(count) - count) if len(count) else variance
        table, variances = np.full((2, *shape), np.nan)
        table[group, member] = values * signs[group]
        variances[group, member] = total / count**2
    # Nobody is the same member as another without a name, and an infinite score has no distance to others.
    named = encoded.members.select(pl.all_horizontal(pl.all().is_not_null())).to_series().to_numpy()
    table[:, ~named] = np.nan
    table[~np.isfinite(table)] = np.nan
    return Benchmarks(study, table, signs, variances, error.df)
